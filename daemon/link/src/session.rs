//! Spawner → `jitsudo-session`, on the inherited socket. The session may have been started long before (kept warm).

use std::net::IpAddr;

use jitsudo_core::Timestamp;
use jitsudo_core::decision::{Record, RunAs};
use jitsudo_core::event::EndCause;
use jitsudo_core::facts::{Executable, Requester, Target};
use jitsudo_core::id::SessionId;
use jitsudo_core::lends::Effect;
use jitsudo_core::name::Gid;
use jitsudo_protocol::act::Remember;
use serde::{Deserialize, Serialize};

use crate::facts::{Peer, Process};

/// All that a session needs. Attached, in this order: its end of the socket pair with the client, and a directory descriptor of the
/// cgroup `cmd` (absent where no cgroup could be made, see `cgroup`).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The session.
    pub session: SessionId,
    /// Enrolled name of the host.
    pub host: String,
    /// Digest of the act; the client's second telling must have it.
    pub digest: String,
    /// The client: every message on its socket must come from this process.
    pub peer: Peer,
    /// Who asks.
    pub requester: Requester,
    /// As whom.
    pub target: Target,
    /// What, as it was looked at. The session compares the whole chain once more. Absent where nothing is run as the target
    /// (`-e`, `-v`).
    pub executable: Option<Executable>,
    /// Whether the requester has still to prove who they are.
    pub authentication: Authentication,
    /// What the client asked of remembered authentications when this was decided: the act that it tells the session must ask the same.
    pub remember: Remember,
    /// Where the requester's login came from, as root recorded it: a literal address, for PAM.
    pub remote: Option<IpAddr>,
    /// How.
    pub run_as: RunAs,
    /// What is kept.
    pub record: Record,
    /// Arguments recorded as their length only.
    pub secret_arguments: Vec<usize>,
    /// Absolute end, wall clock.
    pub ends_at: Timestamp,
    /// Absolute end, CLOCK_BOOTTIME milliseconds, on this boot.
    pub ends_boottime_ms: u64,
    /// Milliseconds between TERM and KILL at the end.
    pub grace_ms: u64,
    /// Milliseconds past the absolute end within which what runs then may finish; 0 = it is ended at once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub finish_ms: u64,
    /// How long before the end the requester is told, seconds; longest first.
    #[serde(default)]
    pub warn: Vec<u64>,
    /// What the command inherits.
    pub process: Process,
    /// The session's cgroup (`…/ID.1`), an absolute path; the command is cloned into `cmd` below it.
    /// `None`: no cgroup can be made here; the session becomes child subreaper.
    pub cgroup: Option<String>,
    /// The cgroup that the session itself went into when it was started (`…/sup.N`), an absolute path; with `cgroup`.
    pub supervisor: Option<String>,
    /// PAM service: `jitsudo` or `jitsudo-i`.
    pub pam_service: String,
    /// Where commands are looked up and what the command's PATH is.
    pub secure_path: String,
    /// Directory for the session's events.
    pub spool: String,
    /// Directory for the mark of its command.
    #[serde(default = "marks")]
    pub marks: String,
    /// It runs under a role that is held: the end of the access is the spawner's to say, not the session's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Groups that the command is in beyond the target's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lent: Vec<Gid>,
    /// What was allowed starts before this, CLOCK_BOOTTIME milliseconds: who asks may be long at the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_by_ms: Option<u64>,
    /// The latest end that its run-time gives it, by both clocks: an extension of its role moves it no further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<(Timestamp, u64)>,
    /// It is the conversation in which a role that is held gets more time: what fails in it changes nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extends: bool,
}

/// What an older spawner means.
fn marks() -> String {
    crate::marks::MARKS.to_owned()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Spec {
    /// The absolute end by the wall clock of what runs: the session's own, and the time to finish after it.
    #[must_use]
    pub fn processes_end_at(&self) -> Timestamp {
        let finish = jiff::SignedDuration::from_millis(i64::try_from(self.finish_ms).unwrap_or(i64::MAX));
        self.ends_at.checked_add(finish).unwrap_or(self.ends_at)
    }
}

/// Spawner → session, after the spec, on the same socket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpawnerToSession {
    /// The role that was asked for is held from now on.
    Activated {
        /// Its name.
        role: String,
        /// What of the host was changed for it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lent: Vec<Effect>,
    },
    /// The yes counts.
    Approved,
    /// It is not; in words.
    NotActivated(String),
    /// End what runs, now.
    End(EndCause),
    /// The role under which it runs was extended: this is its end from now on.
    Extend {
        /// Wall clock.
        ends_at: Timestamp,
        /// When what runs then has to be gone, CLOCK_BOOTTIME milliseconds: the end, and the time to finish after it.
        ends_boottime_ms: u64,
    },
}

/// How the requester proves who they are, by the rule and by what the spawner remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authentication {
    /// The rule asks for none.
    NotNeeded,
    /// A proof of a while ago, on the same terminal, is remembered.
    Remembered,
    /// By the host's PAM stack, now.
    Needed,
}

/// Session → spawner, on the same socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromSessionToSpawner {
    /// A file was put into the spool.
    Spooled,
    /// What the command left running belongs to the host now (the role's `leaves`): it is not to be ended.
    Released,
    /// The requester's identity is settled, by a proof now or a remembered one, and the account may be used. Said once, and only where
    /// the spec wanted either.
    Authenticated,
    /// The audit session that the login uid which it wrote itself made: what carries it is its own. An older spawner does not listen.
    Audited(u32),
    /// Whoever asks for a role may have it, as far as PAM goes. Said once, and only where a role was asked for.
    Proved,
    /// It has the new end, or the part of it that its own run-time leaves, and ends by that.
    Extended {
        /// CLOCK_BOOTTIME milliseconds.
        ends_boottime_ms: u64,
    },
}
