//! How an access moves: each transition consumes the state before, or gives it back and says why not.
//!
//! ```text
//! asked ─► allowed ─► activating ─► active ─► ended ─► closed
//!     └► denied  └──────┴────────────┴► failed
//! ```
//! What other people are asked about goes by `waiting` between allowed and activating.

use std::collections::BTreeMap;

use super::Impossible;
use super::access::{
    Access, Allowed, Closed, Denied, Ended, Ends, Failed, Given, Left, Outcome, Session, clipped, shortened,
};
use super::waiting::{Approved, Waiting};
use crate::event::{EndCause, Ending, Entry, Event};
use crate::facts::Group;
use crate::lends::Effect;
use crate::request::Kind;

/// Most sessions of one access that are remembered one by one.
const MAX_SESSIONS: usize = 1000;
/// Most names of programs left running.
const MAX_PROGRAMS: usize = 32;

impl Access {
    /// Moves on by an event that names this access, or stays as it was and says why.
    pub(super) fn advance(self, entry: &Entry) -> (Self, Result<(), Impossible>) {
        match &entry.event {
            Event::Decided { .. } => self.decide(entry),
            Event::Activating { ends_at, ends_boottime_ms, processes_end_at, groups, .. } => {
                let ends = Ends { at: *ends_at, boottime_ms: *ends_boottime_ms, boot: entry.boot.clone() };
                let finish = processes_end_at.map_or(0, |until| until.duration_since(*ends_at).as_secs());
                self.activate(entry.wall, ends, u64::try_from(finish).unwrap_or(0), groups.clone())
            }
            Event::ActivationFailed { cause, .. } => self.fail(entry.wall, cause),
            Event::Active { .. } => self.become_active(),
            Event::EffectApplied { effect, ours, .. } => self.lend(effect, *ours),
            Event::EffectUndone { effect, .. } => self.take_back(effect),
            Event::Extended { ends_at, ends_boottime_ms, .. } => {
                self.extend(Ends { at: *ends_at, boottime_ms: *ends_boottime_ms, boot: entry.boot.clone() })
            }
            // A login is the kernel's and logind's to list; what it was is in the record.
            Event::LoginOpened { .. } | Event::LoginClosed { .. } => {
                let outcome = if self.is_live() { Ok(()) } else { Err(Impossible::TooLate) };
                (self, outcome)
            }
            Event::Released { .. } => {
                // What follows from it is `ended`.
                let outcome = if self.is_live() { Ok(()) } else { Err(Impossible::TooLate) };
                (self, outcome)
            }
            Event::SessionStarting { .. } => self.start_session(entry),
            Event::Authenticated { .. }
            | Event::AuthenticationFailed { .. }
            | Event::SessionExit { .. }
            | Event::LeftRunning { .. }
            | Event::Signalled { .. }
            | Event::NotExtended { .. }
            | Event::Edited { .. } => {
                let mut access = self;
                let outcome = access.note_session(entry);
                (access, outcome)
            }
            Event::Asked { .. } => self.wait(entry),
            Event::Approved { .. } => self.approve(entry),
            Event::Refused { .. } => self.refuse(entry),
            Event::Lapsed { .. } => self.lapse(entry.wall),
            Event::Withdrawn { .. } => self.withdraw(entry.wall),
            Event::Ended { cause, .. } => self.end(entry.wall, *cause),
            Event::CleanupFailed { cause, .. } => self.remain(cause),
            Event::Closed { .. } => self.close(entry.wall),
            Event::Requested { .. }
            | Event::LoginRefused { .. }
            | Event::RescueUsed { .. }
            | Event::SpawnerRefused { .. }
            | Event::Locked { .. }
            | Event::Unlocked { .. }
            | Event::PolicyApplied { .. }
            | Event::PolicyRefused { .. }
            | Event::DenialsCounted { .. }
            | Event::ClockStepped { .. }
            | Event::ChainCut { .. }
            | Event::RolledBack { .. }
            | Event::Acknowledged { .. }
            | Event::SegmentSealed { .. }
            | Event::Residue { .. }
            | Event::ResidueAcknowledged { .. }
            | Event::Reviewed { .. }
            | Event::Escalated { .. }
            | Event::Reminded { .. }
            | Event::DeliveryFailed { .. }
            | Event::HeadPublished { .. } => (self, Err(Impossible::Again)),
        }
    }

    /// Takes what may still come when it is over: a session's last word from the spool, an ending that repeats the known.
    pub(super) fn note_late(&mut self, entry: &Entry) -> Result<(), Impossible> {
        match (&entry.event, &*self) {
            (
                Event::Authenticated { .. }
                | Event::AuthenticationFailed { .. }
                | Event::SessionExit { .. }
                | Event::LeftRunning { .. }
                | Event::Signalled { .. }
                | Event::NotExtended { .. }
                | Event::Edited { .. },
                _,
            ) => self.note_session(entry),
            (Event::Ended { .. } | Event::Closed { .. }, Self::Failed(_)) => Ok(()),
            (Event::Closed { .. } | Event::Decided { .. }, _) => Err(Impossible::Again),
            _ => Err(Impossible::TooLate),
        }
    }

    fn decide(self, entry: &Entry) -> (Self, Result<(), Impossible>) {
        let Event::Decided { allowed, rule, source, role, policy, denial, counted, break_glass, .. } = &entry.event
        else {
            return (self, Err(Impossible::Again));
        };
        let (at, policy) = (entry.wall, policy.clone());
        let asked = match self {
            Self::Asked(asked) => asked,
            waiting @ (Self::Waiting(_) | Self::Approved(_)) => return (waiting.decide_again(entry), Ok(())),
            other => return (other, Err(Impossible::Again)),
        };
        let next = if *allowed {
            Self::Allowed(Allowed {
                asked,
                at,
                rule: rule.clone(),
                source: source.clone(),
                role: role.clone(),
                policy,
                counted: *counted,
                break_glass: break_glass.is_some(),
            })
        } else {
            Self::Denied(Denied { asked, at, policy, denial: denial.clone() })
        };
        (next, Ok(()))
    }

    fn activate(
        self,
        since: jiff::Timestamp,
        ends: Ends,
        finish: u64,
        groups: Vec<Group>,
    ) -> (Self, Result<(), Impossible>) {
        match self {
            Self::Allowed(allowed) | Self::Approved(Approved { waiting: Waiting { allowed, .. }, .. }) => (
                Self::Activating(Given {
                    allowed,
                    since,
                    ends,
                    finish,
                    first_end: None,
                    lent: Vec::new(),
                    taken_back: Vec::new(),
                    groups,
                    sessions: BTreeMap::new(),
                    unclean: None,
                }),
                Ok(()),
            ),
            Self::Asked(_) | Self::Waiting(_) => (self, Err(Impossible::TooEarly)),
            Self::Activating(_) | Self::Active(_) => (self, Err(Impossible::Again)),
            Self::Denied(_) | Self::Failed(_) | Self::Ended(_) | Self::Closed(_) => (self, Err(Impossible::TooLate)),
            Self::Refused(_) | Self::Lapsed(_) | Self::Withdrawn(_) => (self, Err(Impossible::TooLate)),
        }
    }

    /// Only a role is active by a word of its own; a command is by its session.
    fn become_active(self) -> (Self, Result<(), Impossible>) {
        match self {
            Self::Activating(given) if given.is_role() => (Self::Active(given), Ok(())),
            Self::Asked(_) | Self::Allowed(_) | Self::Activating(_) => (self, Err(Impossible::TooEarly)),
            Self::Waiting(_) | Self::Approved(_) => (self, Err(Impossible::TooEarly)),
            Self::Refused(_) | Self::Lapsed(_) | Self::Withdrawn(_) => (self, Err(Impossible::TooLate)),
            Self::Active(_) => (self, Err(Impossible::Again)),
            Self::Denied(_) | Self::Failed(_) | Self::Ended(_) | Self::Closed(_) => (self, Err(Impossible::TooLate)),
        }
    }

    fn lend(mut self, effect: &Effect, ours: bool) -> (Self, Result<(), Impossible>) {
        let outcome = match &mut self {
            Self::Activating(given) | Self::Active(given) | Self::Ended(Ended { given, .. }) => {
                if ours && !given.lent.contains(effect) {
                    // Made anew with another end, where a role was extended.
                    given.taken_back.retain(|before| before != effect);
                    given.lent.push(effect.clone());
                }
                Ok(())
            }
            Self::Asked(_) | Self::Allowed(_) | Self::Waiting(_) | Self::Approved(_) => Err(Impossible::TooEarly),
            Self::Refused(_) | Self::Lapsed(_) | Self::Withdrawn(_) => Err(Impossible::TooLate),
            Self::Denied(_) | Self::Failed(_) | Self::Closed(_) => Err(Impossible::TooLate),
        };
        (self, outcome)
    }

    fn take_back(mut self, effect: &Effect) -> (Self, Result<(), Impossible>) {
        let outcome = match &mut self {
            Self::Activating(given) | Self::Active(given) | Self::Ended(Ended { given, .. }) => {
                if given.lent.contains(effect) {
                    given.lent.retain(|lent| lent != effect);
                    given.taken_back.push(effect.clone());
                }
                Ok(())
            }
            Self::Asked(_) | Self::Allowed(_) | Self::Waiting(_) | Self::Approved(_) => Err(Impossible::TooEarly),
            Self::Refused(_) | Self::Lapsed(_) | Self::Withdrawn(_) => Err(Impossible::TooLate),
            Self::Denied(_) | Self::Failed(_) | Self::Closed(_) => Err(Impossible::TooLate),
        };
        (self, outcome)
    }

    fn extend(mut self, ends: Ends) -> (Self, Result<(), Impossible>) {
        let outcome = match &mut self {
            Self::Active(given) if given.ends.boot == ends.boot => {
                given.first_end.get_or_insert(given.ends.at);
                // Sessions that were to end with it end with it still; one that did not hear of it has an event of its own.
                let old = Some(given.ends.at);
                let moved = given.sessions.values_mut().filter(|one| one.outcome.is_none() && one.ends_at == old);
                moved.for_each(|session| session.ends_at = Some(ends.at));
                given.ends = ends;
                Ok(())
            }
            Self::Asked(_) | Self::Allowed(_) | Self::Activating(_) => Err(Impossible::TooEarly),
            Self::Waiting(_) | Self::Approved(_) => Err(Impossible::TooEarly),
            Self::Refused(_) | Self::Lapsed(_) | Self::Withdrawn(_) => Err(Impossible::TooLate),
            Self::Active(_) | Self::Denied(_) | Self::Failed(_) | Self::Ended(_) | Self::Closed(_) => {
                Err(Impossible::TooLate)
            }
        };
        (self, outcome)
    }

    /// Nothing was given: that cannot be said any more once a command of it has ended by itself.
    fn fail(self, at: jiff::Timestamp, cause: &str) -> (Self, Result<(), Impossible>) {
        let ran = |session: &Session| {
            session.outcome.as_ref().is_some_and(|outcome| !matches!(outcome.ending, Ending::NotStarted(_)))
        };
        match self {
            Self::Allowed(allowed) => {
                (Self::Failed(Failed { allowed, at, cause: clipped(cause), sessions: BTreeMap::new() }), Ok(()))
            }
            Self::Activating(given) | Self::Active(given) if !given.sessions.values().any(ran) => {
                let Given { allowed, sessions, .. } = given;
                (Self::Failed(Failed { allowed, at, cause: clipped(cause), sessions }), Ok(()))
            }
            Self::Approved(Approved { waiting: Waiting { allowed, .. }, .. }) => {
                (Self::Failed(Failed { allowed, at, cause: clipped(cause), sessions: BTreeMap::new() }), Ok(()))
            }
            Self::Waiting(_) => (self, Err(Impossible::TooEarly)),
            Self::Asked(_) => (self, Err(Impossible::TooEarly)),
            _ => (self, Err(Impossible::TooLate)),
        }
    }

    fn start_session(self, entry: &Entry) -> (Self, Result<(), Impossible>) {
        let Event::SessionStarting { session: id, uid, gid, target, record, chain: _, under, groups: _ } = &entry.event
        else {
            return (self, Err(Impossible::Again));
        };
        let mut given = match self {
            Self::Activating(given) | Self::Active(given) => given,
            Self::Asked(_) | Self::Allowed(_) => return (self, Err(Impossible::TooEarly)),
            Self::Waiting(_) | Self::Approved(_) => return (self, Err(Impossible::TooEarly)),
            Self::Refused(_) | Self::Lapsed(_) | Self::Withdrawn(_) => return (self, Err(Impossible::TooLate)),
            Self::Denied(_) | Self::Failed(_) | Self::Ended(_) | Self::Closed(_) => {
                return (self, Err(Impossible::TooLate));
            }
        };
        if given.sessions.contains_key(&id.number) {
            return (Self::Active(given), Err(Impossible::Again));
        }
        given.sessions.insert(
            id.number,
            Session {
                id: id.clone(),
                since: entry.wall,
                uid: *uid,
                gid: *gid,
                target: target.clone(),
                record: *record,
                argv: under.as_ref().map(|under| shortened(&under.argv).0),
                ends_at: under.as_ref().map(|under| under.ends_at),
                outcome: None,
                left: None,
                signalled: 0,
            },
        );
        let mut outcome = Ok(());
        if given.sessions.len() > MAX_SESSIONS {
            // One that has ended goes first; if none has, the oldest number.
            let done = given.sessions.iter().find(|(_, session)| session.outcome.is_some()).map(|(number, _)| *number);
            if let Some(number) = done {
                given.sessions.remove(&number);
            } else {
                given.sessions.pop_first();
                outcome = Err(Impossible::TooMany);
            }
        }
        (Self::Active(given), outcome)
    }

    fn note_session(&mut self, entry: &Entry) -> Result<(), Impossible> {
        let (Event::Authenticated { session: id, .. }
        | Event::AuthenticationFailed { session: id, .. }
        | Event::SessionExit { session: id, .. }
        | Event::LeftRunning { session: id, .. }
        | Event::Signalled { session: id, .. }
        | Event::NotExtended { session: id, .. }
        | Event::Edited { session: id, .. }) = &entry.event
        else {
            return Err(Impossible::Again);
        };
        let gives = id.number == 0 && self.asked_for().kind == Kind::Role;
        if gives
            && matches!(
                entry.event,
                Event::Authenticated { .. } | Event::AuthenticationFailed { .. } | Event::Signalled { .. }
            )
        {
            // The conversation in which a role is given runs nothing: it is no session to be remembered.
            return Ok(());
        }
        let session = self.sessions_mut().ok_or(Impossible::TooEarly)?.get_mut(&id.number);
        let session = session.ok_or(Impossible::UnknownSession)?;
        match &entry.event {
            // Who it was is the request's; that it was proven stands in the ledger, and nothing is decided by it later.
            Event::Authenticated { .. } | Event::AuthenticationFailed { .. } => {}
            Event::SessionExit { ending, ran_ms, pid, audit_session, failed, .. } => {
                if session.outcome.is_some() {
                    return Err(Impossible::Again);
                }
                session.outcome = Some(Outcome {
                    at: entry.wall,
                    ending: *ending,
                    ran_ms: *ran_ms,
                    pid: *pid,
                    audit_session: *audit_session,
                    failed: failed.as_deref().map(clipped),
                });
            }
            Event::LeftRunning { programs, count, released, .. } => {
                let programs = programs.iter().take(MAX_PROGRAMS).cloned().collect();
                session.left = Some(Left { programs, count: *count, released: *released });
            }
            // The lines themselves are the record; nothing of the state depends on them.
            Event::Edited { .. } => {}
            Event::NotExtended { ends_at, .. } => session.ends_at = Some(*ends_at),
            Event::Signalled { count, .. } => session.signalled = session.signalled.saturating_add(*count),
            _ => return Err(Impossible::Again),
        }
        Ok(())
    }

    fn end(self, at: jiff::Timestamp, cause: EndCause) -> (Self, Result<(), Impossible>) {
        match self {
            Self::Activating(given) | Self::Active(given) => (Self::Ended(Ended { given, at, cause }), Ok(())),
            Self::Asked(_) | Self::Allowed(_) => (self, Err(Impossible::TooEarly)),
            Self::Ended(_) => (self, Err(Impossible::Again)),
            Self::Waiting(_) | Self::Approved(_) => (self, Err(Impossible::TooEarly)),
            Self::Refused(_) | Self::Lapsed(_) | Self::Withdrawn(_) => (self, Err(Impossible::TooLate)),
            Self::Denied(_) | Self::Failed(_) | Self::Closed(_) => (self, Err(Impossible::TooLate)),
        }
    }

    fn remain(self, cause: &str) -> (Self, Result<(), Impossible>) {
        let unclean = Some(clipped(cause));
        match self {
            Self::Activating(given) => (Self::Activating(Given { unclean, ..given }), Ok(())),
            Self::Active(given) => (Self::Active(Given { unclean, ..given }), Ok(())),
            Self::Ended(ended) => (Self::Ended(Ended { given: Given { unclean, ..ended.given }, ..ended }), Ok(())),
            Self::Asked(_) | Self::Allowed(_) => (self, Err(Impossible::TooEarly)),
            Self::Waiting(_) | Self::Approved(_) => (self, Err(Impossible::TooEarly)),
            Self::Refused(_) | Self::Lapsed(_) | Self::Withdrawn(_) => (self, Err(Impossible::TooLate)),
            Self::Denied(_) | Self::Failed(_) | Self::Closed(_) => (self, Err(Impossible::TooLate)),
        }
    }

    /// Only what has ended is closed: else it stays live, and whoever watches ends it again.
    fn close(self, at: jiff::Timestamp) -> (Self, Result<(), Impossible>) {
        match self {
            Self::Ended(mut ended) => {
                ended.given.unclean = None;
                (Self::Closed(Closed { ended, at }), Ok(()))
            }
            Self::Asked(_) | Self::Allowed(_) | Self::Activating(_) | Self::Active(_) => {
                (self, Err(Impossible::TooEarly))
            }
            Self::Waiting(_) | Self::Approved(_) => (self, Err(Impossible::TooEarly)),
            Self::Refused(_) | Self::Lapsed(_) | Self::Withdrawn(_) => (self, Err(Impossible::TooLate)),
            Self::Denied(_) | Self::Failed(_) | Self::Closed(_) => (self, Err(Impossible::TooLate)),
        }
    }
}
