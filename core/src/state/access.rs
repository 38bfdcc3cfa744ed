//! One access on its way from request to verified end: a struct a state, each transition consuming the one before.
//!
//! ```text
//! asked ─► allowed ─► activating ─► active ─► ended ─► closed
//!     └► denied  └──────┴────────────┴► failed
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Impossible;
use crate::decision::{Denial, Record};
use crate::event::{EndCause, Ending, Entry, Event};
use crate::facts::Origin;
use crate::id::{AccessId, SessionId};
use crate::name::{Gid, Uid};
use crate::request::Kind;
use jitsudo_bytes::Bytes;

/// Most bytes of an argv that the state keeps; the ledger has the rest.
const MAX_ARGV_BYTES: usize = 1024;
/// Most bytes of any other text that a requester chose.
const MAX_TEXT_BYTES: usize = 512;
/// Most sessions of one access that are remembered one by one.
const MAX_SESSIONS: usize = 1000;
/// Most names of programs left running.
const MAX_PROGRAMS: usize = 32;

/// An access, as far as it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Asked for, not decided.
    Asked(Asked),
    /// Allowed, nothing given.
    Allowed(Allowed),
    /// Not allowed: over.
    Denied(Denied),
    /// Its end is durable; it is being set up.
    Activating(Given),
    /// At least one session was begun.
    Active(Given),
    /// Setting up failed, nothing was given: over.
    Failed(Failed),
    /// Rights and processes are going.
    Ended(Ended),
    /// Verified that nothing remains: over.
    Closed(Closed),
}

/// What was asked, by whom.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// The access.
    pub id: AccessId,
    /// When.
    pub at: jiff::Timestamp,
    /// Boot id.
    pub boot: String,
    /// Requester's uid.
    pub uid: Uid,
    /// Requester's account.
    pub user: Option<String>,
    /// Audit login uid, if set.
    pub loginuid: Option<Uid>,
    /// Where from.
    pub origin: Option<Origin>,
    /// Kind.
    pub kind: Kind,
    /// argv, shortened to 1024 bytes.
    pub argv: Vec<Bytes>,
    /// Words or bytes of it are missing here.
    pub argv_cut: bool,
    /// The program found.
    pub program: Option<Bytes>,
    /// Target account asked for.
    pub target: Option<String>,
    /// Role asked for.
    pub role: Option<String>,
    /// Why, shortened to 512 bytes.
    pub reason: Option<String>,
    /// Ticket, shortened to 512 bytes.
    pub ticket: Option<String>,
    /// SHA-256 of the act, hex.
    pub digest: String,
    /// Controlling terminal's device number, 0 = none.
    pub tty: u64,
}

/// Allowed, on whose word.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Allowed {
    /// What was asked.
    pub asked: Asked,
    /// When it was decided.
    pub at: jiff::Timestamp,
    /// The rule that gives it.
    pub rule: Option<String>,
    /// Where it stands.
    pub source: Option<String>,
    /// The role.
    pub role: Option<String>,
    /// Digest of the policy, hex.
    pub policy: String,
}

/// Not allowed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Denied {
    /// What was asked.
    pub asked: Asked,
    /// When it was decided.
    pub at: jiff::Timestamp,
    /// Digest of the policy, hex.
    pub policy: String,
    /// Why.
    pub denial: Option<Denial>,
}

/// The absolute end of an access, and the boot that it holds on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ends {
    /// Wall clock, UTC.
    pub at: jiff::Timestamp,
    /// CLOCK_BOOTTIME, milliseconds.
    pub boottime_ms: u64,
    /// Boot id.
    pub boot: String,
}

impl Ends {
    /// True at the earliest of: boot-time clock at or past its deadline; wall clock at or past the end; another boot.
    ///
    /// ```
    /// use jitsudo_core::state::Ends;
    /// let at = jiff::Timestamp::from_second(1_800_000_000).unwrap();
    /// let ends = Ends { at, boottime_ms: 5000, boot: "b1".to_owned() };
    /// let before = jiff::Timestamp::from_second(1_700_000_000).unwrap();
    /// assert!(!ends.is_over(before, 4999, "b1"));
    /// assert!(ends.is_over(before, 5000, "b1"), "a clock set back does not lengthen");
    /// assert!(ends.is_over(at, 0, "b1"));
    /// assert!(ends.is_over(before, 0, "b2"));
    /// ```
    #[must_use]
    pub fn is_over(&self, wall: jiff::Timestamp, boottime_ms: u64, boot: &str) -> bool {
        boottime_ms >= self.boottime_ms || wall >= self.at || boot != self.boot
    }
}

/// Given, or about to be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Given {
    /// On whose word.
    pub allowed: Allowed,
    /// Since when it is being set up.
    pub since: jiff::Timestamp,
    /// Its absolute end.
    pub ends: Ends,
    /// Its sessions by number.
    pub sessions: BTreeMap<u32, Session>,
    /// What could not be removed, last try.
    pub unclean: Option<String>,
}

/// It could not be set up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failed {
    /// On whose word.
    pub allowed: Allowed,
    /// When it failed.
    pub at: jiff::Timestamp,
    /// What failed, on what.
    pub cause: String,
    /// Sessions that were to begin.
    pub sessions: BTreeMap<u32, Session>,
}

/// Ended, not yet verified.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ended {
    /// What was given.
    pub given: Given,
    /// When it ended.
    pub at: jiff::Timestamp,
    /// Why.
    pub cause: EndCause,
}

/// Ended and verified.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Closed {
    /// How it ended.
    pub ended: Ended,
    /// When that was verified.
    pub at: jiff::Timestamp,
}

/// One command, shell or login.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// When it was begun.
    pub since: jiff::Timestamp,
    /// Target uid.
    pub uid: Uid,
    /// Target gid.
    pub gid: Gid,
    /// Target account.
    pub target: String,
    /// What is kept of it.
    pub record: Record,
    /// How its command ended; `None` while it runs, or until its word arrives.
    pub outcome: Option<Outcome>,
    /// Programs that it left.
    pub left: Option<Left>,
    /// Processes that were signalled at its end.
    pub signalled: u32,
}

/// How a session's command ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// When.
    pub at: jiff::Timestamp,
    /// How.
    pub ending: Ending,
    /// Milliseconds that it ran.
    pub ran_ms: u64,
    /// The command's process id.
    pub pid: u32,
    /// The audit session that the kernel gave it.
    pub audit_session: Option<u32>,
    /// A step that failed before exec.
    pub failed: Option<String>,
}

/// Programs that run on after their command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Left {
    /// Names, at most 32.
    pub programs: Vec<Bytes>,
    /// How many there are.
    pub count: u32,
    /// Given to the host by the role.
    pub released: bool,
}

impl Access {
    /// A new access from its `requested`; `None` for any other event.
    pub(super) fn asked(entry: &Entry) -> Option<Self> {
        let Event::Requested {
            id,
            uid,
            user,
            loginuid,
            origin,
            kind,
            argv,
            argv_cut,
            program,
            cwd: _,
            target,
            role,
            reason,
            ticket,
            digest,
            tty,
            pid: _,
        } = &entry.event
        else {
            return None;
        };
        let (argv, cut) = shortened(argv);
        Some(Self::Asked(Asked {
            id: id.clone(),
            at: entry.wall,
            boot: entry.boot.clone(),
            uid: *uid,
            user: user.clone(),
            loginuid: *loginuid,
            origin: origin.clone(),
            kind: *kind,
            argv,
            argv_cut: cut || *argv_cut,
            program: program.clone(),
            target: target.clone(),
            role: role.clone(),
            reason: reason.as_deref().map(clipped),
            ticket: ticket.as_deref().map(clipped),
            digest: digest.clone(),
            tty: *tty,
        }))
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &AccessId {
        &self.asked_for().id
    }

    /// What was asked, by whom.
    #[must_use]
    pub fn asked_for(&self) -> &Asked {
        match self {
            Self::Asked(asked) | Self::Denied(Denied { asked, .. }) => asked,
            Self::Allowed(allowed)
            | Self::Activating(Given { allowed, .. })
            | Self::Active(Given { allowed, .. })
            | Self::Failed(Failed { allowed, .. })
            | Self::Ended(Ended { given: Given { allowed, .. }, .. })
            | Self::Closed(Closed { ended: Ended { given: Given { allowed, .. }, .. }, .. }) => &allowed.asked,
        }
    }

    /// What was given, if anything ever was.
    #[must_use]
    pub fn given(&self) -> Option<&Given> {
        match self {
            Self::Activating(given) | Self::Active(given) => Some(given),
            Self::Ended(ended) | Self::Closed(Closed { ended, .. }) => Some(&ended.given),
            Self::Asked(_) | Self::Allowed(_) | Self::Denied(_) | Self::Failed(_) => None,
        }
    }

    /// Rights or processes of it may be on the host.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Activating(_) | Self::Active(_) | Self::Ended(_))
    }

    /// Nothing more will become of it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Failed(_) | Self::Closed(_))
    }

    /// Its sessions by number.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        let failed = match self {
            Self::Failed(failed) => Some(&failed.sessions),
            _ => None,
        };
        self.given().map(|given| &given.sessions).or(failed).into_iter().flat_map(BTreeMap::values)
    }

    fn sessions_mut(&mut self) -> Option<&mut BTreeMap<u32, Session>> {
        match self {
            Self::Activating(given) | Self::Active(given) => Some(&mut given.sessions),
            Self::Ended(ended) | Self::Closed(Closed { ended, .. }) => Some(&mut ended.given.sessions),
            Self::Failed(failed) => Some(&mut failed.sessions),
            Self::Asked(_) | Self::Allowed(_) | Self::Denied(_) => None,
        }
    }

    /// Moves on by an event that names this access, or stays as it was and says why.
    pub(super) fn advance(self, entry: &Entry) -> (Self, Result<(), Impossible>) {
        match &entry.event {
            Event::Decided { .. } => self.decide(entry),
            Event::Activating { ends_at, ends_boottime_ms, .. } => {
                let ends = Ends { at: *ends_at, boottime_ms: *ends_boottime_ms, boot: entry.boot.clone() };
                self.activate(entry.wall, ends)
            }
            Event::ActivationFailed { cause, .. } => self.fail(entry.wall, cause),
            Event::SessionStarting { .. } => self.start_session(entry),
            Event::SessionExit { .. } | Event::LeftRunning { .. } | Event::Signalled { .. } => {
                let mut access = self;
                let outcome = access.note_session(entry);
                (access, outcome)
            }
            Event::Ended { cause, .. } => self.end(entry.wall, *cause),
            Event::CleanupFailed { cause, .. } => self.remain(cause),
            Event::Closed { .. } => self.close(entry.wall),
            Event::Requested { .. }
            | Event::SpawnerRefused { .. }
            | Event::PolicyApplied { .. }
            | Event::PolicyRefused { .. }
            | Event::DenialsCounted { .. }
            | Event::ClockStepped { .. }
            | Event::ChainCut { .. }
            | Event::RolledBack { .. }
            | Event::SegmentSealed { .. }
            | Event::HeadPublished { .. } => (self, Err(Impossible::Again)),
        }
    }

    /// Takes what may still come when it is over: a session's last word from the spool, an ending that repeats the known.
    pub(super) fn note_late(&mut self, entry: &Entry) -> Result<(), Impossible> {
        match (&entry.event, &*self) {
            (Event::SessionExit { .. } | Event::LeftRunning { .. } | Event::Signalled { .. }, _) => {
                self.note_session(entry)
            }
            (Event::Ended { .. } | Event::Closed { .. }, Self::Failed(_)) => Ok(()),
            (Event::Closed { .. } | Event::Decided { .. }, _) => Err(Impossible::Again),
            _ => Err(Impossible::TooLate),
        }
    }

    fn decide(self, entry: &Entry) -> (Self, Result<(), Impossible>) {
        let Event::Decided { allowed, rule, source, role, policy, denial, .. } = &entry.event else {
            return (self, Err(Impossible::Again));
        };
        let Self::Asked(asked) = self else {
            return (self, Err(Impossible::Again));
        };
        let (at, policy) = (entry.wall, policy.clone());
        let next = if *allowed {
            Self::Allowed(Allowed { asked, at, rule: rule.clone(), source: source.clone(), role: role.clone(), policy })
        } else {
            Self::Denied(Denied { asked, at, policy, denial: denial.clone() })
        };
        (next, Ok(()))
    }

    fn activate(self, since: jiff::Timestamp, ends: Ends) -> (Self, Result<(), Impossible>) {
        match self {
            Self::Allowed(allowed) => {
                (Self::Activating(Given { allowed, since, ends, sessions: BTreeMap::new(), unclean: None }), Ok(()))
            }
            Self::Asked(_) => (self, Err(Impossible::TooEarly)),
            Self::Activating(_) | Self::Active(_) => (self, Err(Impossible::Again)),
            Self::Denied(_) | Self::Failed(_) | Self::Ended(_) | Self::Closed(_) => (self, Err(Impossible::TooLate)),
        }
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
            Self::Asked(_) => (self, Err(Impossible::TooEarly)),
            _ => (self, Err(Impossible::TooLate)),
        }
    }

    fn start_session(self, entry: &Entry) -> (Self, Result<(), Impossible>) {
        let Event::SessionStarting { session: id, uid, gid, target, record, chain: _ } = &entry.event else {
            return (self, Err(Impossible::Again));
        };
        let mut given = match self {
            Self::Activating(given) | Self::Active(given) => given,
            Self::Asked(_) | Self::Allowed(_) => return (self, Err(Impossible::TooEarly)),
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
        let (Event::SessionExit { session: id, .. }
        | Event::LeftRunning { session: id, .. }
        | Event::Signalled { session: id, .. }) = &entry.event
        else {
            return Err(Impossible::Again);
        };
        let session = self.sessions_mut().ok_or(Impossible::TooEarly)?.get_mut(&id.number);
        let session = session.ok_or(Impossible::UnknownSession)?;
        match &entry.event {
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
            Self::Denied(_) | Self::Failed(_) | Self::Closed(_) => (self, Err(Impossible::TooLate)),
        }
    }
}

/// The first words, up to [`MAX_ARGV_BYTES`] in all; true when something is missing.
fn shortened(argv: &[Bytes]) -> (Vec<Bytes>, bool) {
    let mut room = MAX_ARGV_BYTES;
    let mut kept = Vec::new();
    for word in argv {
        if word.0.len() > room {
            if let Some(part) = word.0.get(..room).filter(|part| !part.is_empty()) {
                kept.push(Bytes(part.to_vec()));
            }
            return (kept, true);
        }
        // An empty word takes room too.
        room = room.saturating_sub(word.0.len().max(1));
        kept.push(word.clone());
    }
    (kept, false)
}

fn clipped(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
