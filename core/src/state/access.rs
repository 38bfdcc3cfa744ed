//! One access: a struct for each state that it can be in. How it moves is in `advance`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::decision::{Denial, Record};
use crate::event::{EndCause, Ending, Entry, Event};
use crate::facts::{Group, Origin};
use crate::id::{AccessId, SessionId};
use crate::lends::Effect;
use crate::name::{Gid, Uid};
use crate::request::Kind;
use jitsudo_bytes::Bytes;

use super::waiting::{Approved, Lapsed, Refused, Waiting, Withdrawn};

/// Most bytes of an argv that the state keeps; the ledger has the rest.
const MAX_ARGV_BYTES: usize = 1024;
/// Most bytes of any other text that a requester chose.
const MAX_TEXT_BYTES: usize = 512;

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
    /// Other people are asked.
    Waiting(Waiting),
    /// Enough of them said yes; nothing given.
    Approved(Approved),
    /// One of them said no: over.
    Refused(Refused),
    /// Nobody answered in time, or it was not used in time: over.
    Lapsed(Lapsed),
    /// Its requester took it back before anything was given: over.
    Withdrawn(Withdrawn),
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Audit login uid, if set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loginuid: Option<Uid>,
    /// Where from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Kind.
    pub kind: Kind,
    /// argv, shortened to 1024 bytes.
    pub argv: Vec<Bytes>,
    /// Words or bytes of it are missing here.
    pub argv_cut: bool,
    /// The program found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Bytes>,
    /// Target account asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Role asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Why, shortened to 512 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Ticket, shortened to 512 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Digest of the policy, hex.
    pub policy: String,
    /// A budget counts it, for so many seconds after its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<u64>,
    /// It is break-glass.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
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
    /// Seconds past it within which what runs then may finish; 0 = it is ended then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub finish: u64,
    /// The end that it was given with, once that was extended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_end: Option<jiff::Timestamp>,
    /// Changes to the host that were made for it and not taken back yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lent: Vec<Effect>,
    /// Those that were taken back since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken_back: Vec<Effect>,
    /// Groups that its sessions are lent, where it is a role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// Its sessions by number.
    pub sessions: BTreeMap<u32, Session>,
    /// What could not be removed, last try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unclean: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Given {
    /// When what runs at the end is ended, where that is later than the end; wall clock.
    #[must_use]
    pub fn processes_end_at(&self) -> Option<jiff::Timestamp> {
        let finish = i64::try_from(self.finish).ok().filter(|seconds| *seconds > 0)?;
        self.ends.at.checked_add(jiff::SignedDuration::from_secs(finish)).ok()
    }

    /// True for a role that is held until its end, false for one command.
    #[must_use]
    pub fn is_role(&self) -> bool {
        self.allowed.asked.kind == Kind::Role
    }

    /// The end that it was given with.
    #[must_use]
    pub fn first_end(&self) -> jiff::Timestamp {
        self.first_end.unwrap_or(self.ends.at)
    }
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
    /// What it runs, shortened to 1024 bytes, under a role that is held; else that is what was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<Bytes>>,
    /// Its own end, under a role that is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<jiff::Timestamp>,
    /// How its command ended; `None` while it runs, or until its word arrives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Programs that it left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_session: Option<u32>,
    /// A step that failed before exec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
            break_glass: _,
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
            Self::Asked(asked) | Self::Denied(Denied { asked, .. }) | Self::Withdrawn(Withdrawn { asked, .. }) => asked,
            Self::Waiting(waiting)
            | Self::Approved(Approved { waiting, .. })
            | Self::Refused(Refused { waiting, .. })
            | Self::Lapsed(Lapsed { waiting, .. }) => &waiting.allowed.asked,
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
            Self::Waiting(_) | Self::Approved(_) | Self::Refused(_) | Self::Lapsed(_) | Self::Withdrawn(_) => None,
        }
    }

    /// What is asked of other people, while it waits for them or for being used.
    #[must_use]
    pub fn waiting(&self) -> Option<&Waiting> {
        match self {
            Self::Waiting(waiting) | Self::Approved(Approved { waiting, .. }) => Some(waiting),
            _ => None,
        }
    }

    /// It waits for other people, or for being used once these have said yes.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting().is_some()
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
            || matches!(self, Self::Refused(_) | Self::Lapsed(_) | Self::Withdrawn(_))
    }

    /// Its sessions by number.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        let failed = match self {
            Self::Failed(failed) => Some(&failed.sessions),
            _ => None,
        };
        self.given().map(|given| &given.sessions).or(failed).into_iter().flat_map(BTreeMap::values)
    }

    pub(super) fn sessions_mut(&mut self) -> Option<&mut BTreeMap<u32, Session>> {
        match self {
            Self::Activating(given) | Self::Active(given) => Some(&mut given.sessions),
            Self::Ended(ended) | Self::Closed(Closed { ended, .. }) => Some(&mut ended.given.sessions),
            Self::Failed(failed) => Some(&mut failed.sessions),
            Self::Asked(_) | Self::Allowed(_) | Self::Denied(_) => None,
            Self::Waiting(_) | Self::Approved(_) | Self::Refused(_) | Self::Lapsed(_) | Self::Withdrawn(_) => None,
        }
    }
}

/// The first words, up to [`MAX_ARGV_BYTES`] in all; true when something is missing.
pub(super) fn shortened(argv: &[Bytes]) -> (Vec<Bytes>, bool) {
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

pub(super) fn clipped(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
