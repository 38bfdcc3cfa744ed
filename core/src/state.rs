//! What the ledger's events add up to: which accesses there are, how far each one is, and which policy is in force.
//!
//! [`State::apply`] is total: a ledger may hold anything, and what cannot be (an ending without a beginning, a second
//! beginning) is noted as an [`Anomaly`] and changes nothing else. Time comes from the entries. The state stays small: what is
//! over is remembered only so far back, so that it can begin every ledger segment as a snapshot.
//!
//! MUSTs
//! 1. No event sequence panics or makes an access live that has no `activating` (`any_events_*`, `live_ones_all_have_an_activating`).
//! 2. Folding a spool file twice is folding it once (`same_spool_file_twice_changes_nothing`).
//! 3. Only an acknowledgement ends a roll-back (`only_an_acknowledgement_ends_a_roll_back`).
//! 4. A snapshot continues exactly as the state that it was taken of (`snapshot_continues_as_the_state_itself`).
//! 5. What waits for people is not activated before enough of them said yes, and ends once (`waiting`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{Concern, Entry, Event};
use crate::id::{AccessId, SessionId};
use crate::name::Uid;
use crate::past::Past;

mod access;
mod accesses;
mod advance;
mod counting;
mod pieces;
mod recent;
mod residues;
#[cfg(test)]
mod tests;
mod waiting;
#[cfg(test)]
mod waiting_tests;

pub use access::{Access, Allowed, Asked, Closed, Denied, Ended, Ends, Failed, Given, Left, Outcome, Session};
pub use pieces::{Pieces, read_piece};
pub use recent::Recent;
pub use residues::{LookedAt, MAX_RESIDUE_ITEMS, MAX_RESIDUES, MAX_WHOLE_RESIDUES, Residue};
pub use waiting::{
    Approved, Lapsed, MAX_WAITING, MAX_WAITING_OF_ACCOUNT, Refused, TooManyWait, Waiting, Withdrawn, Yes,
};

use accesses::Accesses;
use residues::MAX_LOOKED_AT;

/// Accesses that are over and still remembered.
pub const MAX_OVER: usize = 1000;
/// Accesses that were asked for or allowed and given nothing yet; the oldest beyond is dropped.
pub const MAX_PENDING: usize = 4096;
/// Spool names remembered so that a file found again changes nothing.
pub const MAX_SPOOLED: usize = 4096;
/// Anomalies remembered.
pub const MAX_ANOMALIES: usize = 100;
/// Accounts whose denials are counted one by one.
pub const MAX_DENIED_ACCOUNTS: usize = 1024;

/// The fold of a ledger.
///
/// ```
/// use jitsudo_core::state::State;
/// let state = State::default();
/// assert_eq!(state.live_accesses().count(), 0);
/// let snapshot = serde_json::to_string(&state).unwrap();
/// assert_eq!(serde_json::from_str::<State>(&snapshot).unwrap(), state);
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Every access that is not over.
    accesses: Accesses,
    /// Those that are, oldest first.
    over: Recent<Access, MAX_OVER>,
    policy: Option<PolicyInForce>,
    spooled: Recent<String, MAX_SPOOLED>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    locked: BTreeMap<Uid, Lock>,
    #[serde(default, skip_serializing_if = "Past::is_empty")]
    past: Past,
    denials: BTreeMap<Uid, u64>,
    denials_of_others: u64,
    rolled_back: Option<RollBack>,
    published: Option<Published>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    residues: BTreeMap<AccessId, Residue>,
    /// Those that somebody looked at, oldest first.
    #[serde(default)]
    looked_at: Recent<LookedAt, MAX_LOOKED_AT>,
    /// How many were forgotten before anybody looked at them.
    #[serde(default)]
    residues_forgotten: u64,
    anomalies: Recent<Anomaly, MAX_ANOMALIES>,
    anomaly_count: u64,
}

/// The policy that was applied last.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PolicyInForce {
    /// Its digest, hex.
    pub digest: String,
    /// Since when.
    pub since: jiff::Timestamp,
    /// Rules of all four kinds.
    pub rules: u64,
    /// Roles.
    pub roles: u64,
    /// Files that it came from.
    pub files: Vec<String>,
}

/// The ledger was found older than a head known elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RollBack {
    /// When that was noticed.
    pub at: jiff::Timestamp,
    /// Sequence known elsewhere.
    pub known: u64,
    /// Last sequence found.
    pub found: u64,
    /// When root acknowledged it; nothing is given before.
    #[serde(default)]
    pub acknowledged: Option<jiff::Timestamp>,
}

/// The head that was told to journald and syslog last.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Published {
    /// Sequence.
    pub seq: u64,
    /// Hash, hex.
    pub head: String,
}

/// Nothing may start for an account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lock {
    /// Since when.
    pub at: jiff::Timestamp,
    /// The account's name then.
    pub user: Option<String>,
    /// Why.
    pub reason: String,
    /// Who locked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// An event that the state before it does not allow; it changed nothing else.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Anomaly {
    /// When the event says that it happened.
    pub at: jiff::Timestamp,
    /// The event's name.
    pub event: String,
    /// The access that it names.
    pub access: Option<AccessId>,
    /// Why it cannot be.
    pub why: Impossible,
}

/// Why an event cannot be, in the state before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Impossible {
    /// Nobody asked for that access, or it is forgotten.
    UnknownAccess,
    /// The access has no such session.
    UnknownSession,
    /// It happened already.
    Again,
    /// The access is not so far yet.
    TooEarly,
    /// The access is over, refused or ended.
    TooLate,
    /// It is an answer to something else.
    AnotherDigest,
    /// More wait than may; the oldest was dropped.
    TooMany,
}

/// What an id that somebody typed stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found<'a> {
    /// This one.
    One(&'a Access),
    /// None that is remembered.
    None,
    /// So many.
    Several(usize),
}

impl State {
    /// Adds one entry. Never fails: what cannot be is noted in [`State::anomalies`].
    pub fn apply(&mut self, entry: &Entry) {
        if let Some(name) = &entry.spool {
            if self.has_folded(name) {
                return;
            }
            self.spooled.push(name.clone());
        }
        if let Err(why) = self.take(entry).and_then(|()| self.count(entry)) {
            self.note(entry, why);
        }
    }

    fn take(&mut self, entry: &Entry) -> Result<(), Impossible> {
        match &entry.event {
            Event::Requested { id, .. } => self.ask(id, entry),
            Event::Decided { id, .. } => self.decide(id, entry),
            Event::Activating { id, .. }
            | Event::ActivationFailed { id, .. }
            | Event::Active { id }
            | Event::EffectApplied { id, .. }
            | Event::EffectUndone { id, .. }
            | Event::Extended { id, .. }
            | Event::Released { id, .. }
            | Event::LoginOpened { id, .. }
            | Event::LoginClosed { id, .. }
            | Event::Ended { id, .. }
            | Event::Closed { id }
            | Event::Asked { id, .. }
            | Event::Approved { id, .. }
            | Event::Refused { id, .. }
            | Event::Lapsed { id }
            | Event::Withdrawn { id }
            | Event::CleanupFailed { id, .. } => self.advance(id, entry),
            Event::SessionStarting { session, .. }
            | Event::Authenticated { session, .. }
            | Event::AuthenticationFailed { session, .. }
            | Event::SessionExit { session, .. }
            | Event::LeftRunning { session, .. }
            | Event::Signalled { session, .. }
            | Event::NotExtended { session, .. }
            | Event::Edited { session, .. } => self.advance(&session.access, entry),
            Event::PolicyApplied { policy, rules, roles, files, previous: _ } => {
                self.policy = Some(PolicyInForce {
                    digest: policy.clone(),
                    since: entry.wall,
                    rules: *rules,
                    roles: *roles,
                    files: files.clone(),
                });
                Ok(())
            }
            Event::Locked { uid, user, reason } => {
                let by = entry.actor.name.clone();
                let lock = Lock { at: entry.wall, user: user.clone(), reason: reason.clone(), by };
                self.locked.insert(*uid, lock);
                Ok(())
            }
            Event::Unlocked { uid, user: _ } => self.locked.remove(uid).map(drop).ok_or(Impossible::TooLate),
            Event::DenialsCounted { uid, count, seconds: _ } => {
                self.count_denials(*uid, *count);
                Ok(())
            }
            Event::RolledBack { known, found } => {
                self.rolled_back = Some(RollBack { at: entry.wall, known: *known, found: *found, acknowledged: None });
                Ok(())
            }
            Event::Acknowledged { concern: Concern::RolledBack, .. } => {
                if let Some(rolled_back) = &mut self.rolled_back {
                    rolled_back.acknowledged.get_or_insert(entry.wall);
                }
                Ok(())
            }
            Event::HeadPublished { head_seq, head, signed: _ } => {
                self.published = Some(Published { seq: *head_seq, head: head.clone() });
                Ok(())
            }
            // That not everything could be looked at stands in the ledger, and asks nobody for anything.
            Event::Residue { count: 0, .. } => Ok(()),
            Event::Residue { id, items, count, remark } => {
                self.found_residue(id, entry.wall, items, *count, remark.as_ref());
                Ok(())
            }
            Event::ResidueAcknowledged { id, reason } => self.look_at_residue(id, reason, entry),
            // Of an access that may be forgotten long since.
            Event::Reviewed { id, .. } => {
                if self.past.review(id) {
                    Ok(())
                } else {
                    Err(Impossible::TooLate)
                }
            }
            // Who was told of what waits changes nothing of it.
            Event::Escalated { .. } | Event::Reminded { .. } | Event::DeliveryFailed { .. } => Ok(()),
            Event::SpawnerRefused { .. }
            | Event::LoginRefused { .. }
            | Event::RescueUsed { .. }
            | Event::PolicyRefused { .. }
            | Event::ClockStepped { .. }
            | Event::ChainCut { .. }
            | Event::SegmentSealed { .. } => Ok(()),
        }
    }

    fn ask(&mut self, id: &AccessId, entry: &Entry) -> Result<(), Impossible> {
        if self.access(id).is_some() {
            return Err(Impossible::Again);
        }
        let asked = Access::asked(entry).ok_or(Impossible::UnknownAccess)?;
        self.accesses.insert(asked);
        if self.accesses.pending_count() <= MAX_PENDING {
            return Ok(());
        }
        // Ids begin with their time: the first one is the oldest. What people are asked about goes last.
        let unasked = self.accesses.pending().find(|access| !access.is_waiting());
        let oldest = unasked.or_else(|| self.accesses.pending().next()).map(|access| access.id().clone());
        if let Some(oldest) = oldest {
            self.accesses.remove(&oldest);
        }
        Err(Impossible::TooMany)
    }

    fn decide(&mut self, id: &AccessId, entry: &Entry) -> Result<(), Impossible> {
        self.advance(id, entry)?;
        if let Event::Decided { allowed: false, .. } = &entry.event
            && let Some(uid) = self.access(id).map(|access| access.asked_for().uid)
        {
            self.count_denials(uid, 1);
        }
        Ok(())
    }

    /// Moves one access on; one that is over by that goes to the others that are.
    fn advance(&mut self, id: &AccessId, entry: &Entry) -> Result<(), Impossible> {
        let Some(access) = self.accesses.remove(id) else {
            let late = self.over.iter_mut().rev().find(|access| access.id() == id).ok_or(Impossible::UnknownAccess)?;
            return late.note_late(entry);
        };
        let (access, outcome) = access.advance(entry);
        if access.is_over() {
            self.over.push(access);
        } else {
            self.accesses.insert(access);
        }
        outcome
    }

    fn count_denials(&mut self, uid: Uid, count: u64) {
        let counter = if self.denials.contains_key(&uid) || self.denials.len() < MAX_DENIED_ACCOUNTS {
            self.denials.entry(uid).or_default()
        } else {
            &mut self.denials_of_others
        };
        *counter = counter.saturating_add(count);
    }

    fn note(&mut self, entry: &Entry, why: Impossible) {
        self.anomaly_count = self.anomaly_count.saturating_add(1);
        self.anomalies.push(Anomaly {
            at: entry.wall,
            event: entry.event.name().to_owned(),
            access: entry.event.access().cloned(),
            why,
        });
    }

    /// An access that is not over, for [`Self::adopt`] of another fold of the same lines.
    #[must_use]
    pub fn share(&self, id: &AccessId) -> Option<Arc<Access>> {
        self.accesses.share(id)
    }

    /// Has an access in common with another fold of the same lines, where both know the same of it: it takes memory once.
    pub fn adopt(&mut self, access: &Arc<Access>) {
        self.accesses.adopt(access);
    }

    /// The access with this id, over or not, as far back as remembered.
    #[must_use]
    pub fn access(&self, id: &AccessId) -> Option<&Access> {
        self.accesses.get(id).or_else(|| self.over.iter().rev().find(|access| access.id() == id))
    }

    /// The access that a person means: a whole id, its end (7 characters or more), or at least three of the six that people see,
    /// from their beginning. Upper case is taken as lower.
    #[must_use]
    pub fn find(&self, text: &str) -> Found<'_> {
        let mut meant = self.all().filter(|access| access.id().is_meant_by(text));
        match (meant.next(), meant.count()) {
            (None, _) => Found::None,
            (Some(one), 0) => Found::One(one),
            (Some(_), others) => Found::Several(others + 1),
        }
    }

    /// Everything remembered: what is not over by id, then what is, newest first.
    pub fn all(&self) -> impl Iterator<Item = &Access> {
        self.accesses.iter().chain(self.over.iter().rev())
    }

    /// Accesses that may have rights or processes on the host: set up, active, ended and not yet verified. By id.
    pub fn live_accesses(&self) -> impl Iterator<Item = &Access> {
        self.accesses.iter().filter(|access| access.is_live())
    }

    /// Role grants of an account that may be used now, by id.
    pub fn held_by(&self, uid: Uid) -> impl Iterator<Item = &Given> {
        self.accesses.roles_of(uid).filter_map(|access| match access {
            Access::Active(given) => Some(given),
            _ => None,
        })
    }

    /// Requests that wait for other people, or for being used once these have said yes, by id.
    pub fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.accesses.pending().filter_map(Access::waiting)
    }

    /// Whether one more request of an account may wait: nobody's questions crowd out another's.
    ///
    /// # Errors
    /// [`TooManyWait`] with the limit that is reached.
    pub fn may_wait(&self, uid: Uid) -> Result<(), TooManyWait> {
        let (mut all, mut own) = (0, 0);
        for waiting in self.waiting() {
            all += 1;
            own += usize::from(waiting.allowed.asked.uid == uid);
        }
        if own >= MAX_WAITING_OF_ACCOUNT {
            return Err(TooManyWait::OfAccount);
        }
        if all >= MAX_WAITING { Err(TooManyWait::InAll) } else { Ok(()) }
    }

    /// What was given before, as far as decisions read it.
    #[must_use]
    pub fn past(&self) -> &Past {
        &self.past
    }

    /// Role grants of an account that may have rights or processes on the host, by id.
    pub fn roles_of(&self, uid: Uid) -> impl Iterator<Item = &Access> {
        self.accesses.roles_of(uid)
    }

    /// Live accesses of other boots than this one, and those whose end came by `boottime_ms` on its clock: found without a walk through all.
    pub fn ended_by<'a>(&'a self, boot: &'a str, boottime_ms: u64) -> impl Iterator<Item = &'a Access> {
        self.accesses.ended_by(boot, boottime_ms)
    }

    /// Why nothing may start for an account, if so.
    #[must_use]
    pub fn lock_of(&self, uid: Uid) -> Option<&Lock> {
        self.locked.get(&uid)
    }

    /// Every locked account.
    pub fn locks(&self) -> impl Iterator<Item = (Uid, &Lock)> {
        self.locked.iter().map(|(uid, lock)| (*uid, lock))
    }

    /// Sessions of everything remembered, those of live accesses first.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.all().flat_map(Access::sessions)
    }

    /// One session.
    #[must_use]
    pub fn session(&self, id: &SessionId) -> Option<&Session> {
        self.access(&id.access)?.sessions().find(|session| session.id == *id)
    }

    /// The policy in force, if one was ever applied.
    #[must_use]
    pub fn policy(&self) -> Option<&PolicyInForce> {
        self.policy.as_ref()
    }

    /// True when the spool file of this name is folded in already.
    #[must_use]
    pub fn has_folded(&self, spool: &str) -> bool {
        self.spooled.iter().rev().any(|name| name == spool)
    }

    /// Denials of an account, listed and counted ones together.
    #[must_use]
    pub fn denials(&self, uid: Uid) -> u64 {
        self.denials.get(&uid).copied().unwrap_or_default()
    }

    /// The last time that the ledger was found older than a head known elsewhere.
    #[must_use]
    pub fn rolled_back(&self) -> Option<&RollBack> {
        self.rolled_back.as_ref()
    }

    /// The ledger was found older than a head known elsewhere, and nobody has acknowledged it: nothing may be given.
    #[must_use]
    pub fn unacknowledged(&self) -> Option<&RollBack> {
        self.rolled_back.as_ref().filter(|rolled_back| rolled_back.acknowledged.is_none())
    }

    /// The head that was told last.
    #[must_use]
    pub fn published(&self) -> Option<&Published> {
        self.published.as_ref()
    }

    /// The last anomalies, oldest first.
    pub fn anomalies(&self) -> impl Iterator<Item = &Anomaly> {
        self.anomalies.iter()
    }

    /// How many anomalies there were in all.
    #[must_use]
    pub fn anomaly_count(&self) -> u64 {
        self.anomaly_count
    }
}
