//! One role grant, and its note.

use jitsudo_core::Timestamp;
use jitsudo_core::event::EndCause;
use jitsudo_core::id::AccessId;
use jitsudo_core::lends::Effect;
use jitsudo_core::name::Uid;
use jitsudo_core::state::Ends;
use jitsudo_link::notes::{Note, Noted};

use crate::judge::Now;

/// A role that somebody holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Grant {
    /// The access.
    pub(crate) id: AccessId,
    /// Whose.
    pub(crate) requester: u32,
    /// The account's name then.
    pub(crate) user: Option<String>,
    /// The rule that gave it.
    pub(crate) rule: String,
    /// The role.
    pub(crate) role: String,
    /// The reason that was given.
    pub(crate) reason: Option<String>,
    /// The ticket.
    pub(crate) ticket: Option<String>,
    /// Groups that its sessions are lent.
    pub(crate) groups: Vec<String>,
    /// Its absolute end.
    pub(crate) ends: Ends,
    /// The end that it was given with, once that was extended.
    pub(crate) first_end: Option<Timestamp>,
    /// Why it is ending, once it is.
    pub(crate) ending: Option<EndCause>,
    /// What it changes on the host, and how far that is.
    pub(crate) on_host: OnHost,
}

/// What a grant changes on the host.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct OnHost {
    /// Still to be made, in this order.
    pub(crate) to_make: Vec<Effect>,
    /// Noted: made, or begun, and not taken back.
    pub(crate) noted: Vec<Noted>,
    /// It is being set up: nobody holds it yet.
    pub(crate) activating: bool,
    /// Why it will not be held; what was made is being taken back.
    pub(crate) failed: Option<String>,
    /// Its requester was told why it is not held, or its sessions were told to end.
    pub(crate) told: bool,
    /// That it ended is on record.
    pub(crate) ended: bool,
    /// When they are told at the latest, CLOCK_BOOTTIME milliseconds, though the host was not changed back yet.
    pub(crate) tell_by_ms: Option<u64>,
    /// Tries to change the host back that failed.
    pub(crate) tries: u32,
    /// When that was recorded last.
    pub(crate) shouted_ms: Option<u64>,
    /// An earlier spawner made it.
    pub(crate) found: bool,
}

impl OnHost {
    /// Nothing of it is there, and who had to hear of the end has.
    pub(crate) fn is_changed_back(&self) -> bool {
        self.told && self.noted.is_empty()
    }
}

impl Grant {
    /// What it has put on the host, for its requester to hear of.
    pub(crate) fn lent(&self) -> Vec<Effect> {
        self.on_host.noted.iter().map(|noted| noted.effect.clone()).collect()
    }

    pub(super) fn is_over(&self, now: Now, boot: &str) -> bool {
        self.ends.is_over(now.wall, now.boottime_ms, boot)
    }
}

/// More time for a grant, which waits for the proof of who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Extension {
    /// The access.
    pub(crate) id: AccessId,
    /// The end that it was decided from.
    pub(crate) from: Option<Ends>,
    /// The new one.
    pub(crate) ends: Ends,
    /// Digest of the policy that it was decided by.
    pub(crate) policy: String,
    /// Why, where that was said.
    pub(crate) reason: Option<String>,
}

/// What is noted of a grant.
pub(super) fn note_of(grant: &Grant, host: &str) -> Note {
    Note {
        id: grant.id.clone(),
        host: host.to_owned(),
        uid: Uid(grant.requester),
        user: grant.user.clone().unwrap_or_default(),
        rule: grant.rule.clone(),
        role: grant.role.clone(),
        reason: grant.reason.clone(),
        ticket: grant.ticket.clone(),
        groups: grant.groups.clone(),
        boot: grant.ends.boot.clone(),
        ends_at: grant.ends.at,
        ends_boottime_ms: grant.ends.boottime_ms,
        effects: grant.on_host.noted.clone(),
        activating: grant.on_host.activating,
        ending: grant.ending,
        ended: grant.on_host.ended,
        first_end: grant.first_end,
    }
}

/// The grant of a note that an earlier spawner wrote.
pub(super) fn grant_of(note: Note) -> Grant {
    let on_host = OnHost {
        noted: note.effects,
        activating: note.activating,
        ended: note.ended,
        found: true,
        ..OnHost::default()
    };
    Grant {
        id: note.id,
        requester: note.uid.0,
        user: Some(note.user).filter(|user| !user.is_empty()),
        rule: note.rule,
        role: note.role,
        reason: note.reason,
        ticket: note.ticket,
        groups: note.groups,
        ends: Ends { at: note.ends_at, boottime_ms: note.ends_boottime_ms, boot: note.boot },
        first_end: note.first_end,
        ending: note.ending,
        on_host,
    }
}

/// The session's and the decider's word for an account that holds it: whether it is still the same account.
pub(crate) fn is_of(grant: &Grant, uid: u32, user: Option<&str>) -> bool {
    grant.requester == uid && (grant.user.is_none() || user.is_none() || grant.user.as_deref() == user)
}

/// The wall clock and the boot clock of an end.
pub(crate) fn until(grant: &Grant) -> (Timestamp, u64) {
    (grant.ends.at, grant.ends.boottime_ms)
}
