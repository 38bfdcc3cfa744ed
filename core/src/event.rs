//! The closed list of ledger events (design: names and fields are stable; a new field is added, never renamed).

use serde::{Deserialize, Serialize};

use crate::approval::{Limits, Proof};
use crate::decision::{Denial, Glass, Record};
use crate::facts::{Group, Origin, Seen};
use crate::id::{AccessId, SessionId};
use crate::lends::Effect;
use crate::name::{Gid, Uid};
use crate::request::Kind;
use crate::residue::Item;
use jitsudo_bytes::Bytes;

/// Who caused an event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Actor {
    /// The program that wrote it: `jitsudod`, `jitsudo-spawn`, `jitsudo-session`, …
    pub program: String,
    /// The account behind it, where a person or service is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uid: Option<Uid>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
}

/// One event with everything but the chain's own fields; a ledger line is `{"seq", "host", "boot", "wall", "boottime_ms", "actor", "event", …, "prev", "hash"}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The host's enrolled name.
    pub host: String,
    /// Boot id (kernel's random/boot_id).
    pub boot: String,
    /// Wall clock when it happened, UTC, microseconds.
    pub wall: jiff::Timestamp,
    /// Milliseconds of CLOCK_BOOTTIME when it happened.
    pub boottime_ms: u64,
    /// Who.
    pub actor: Actor,
    /// Spool file that it was folded in from; makes folding idempotent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub spool: Option<String>,
    /// True when it was written to the spool and folded in more than five seconds later.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub late: bool,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// One session under a role that is held: what it runs, from where, until when.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Under {
    /// Kind.
    pub kind: Kind,
    /// argv, as in `requested`.
    pub argv: Vec<Bytes>,
    /// Words or bytes were cut from `argv`.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub argv_cut: bool,
    /// The program found, if any.
    pub program: Option<Bytes>,
    /// Working directory.
    pub cwd: Option<Bytes>,
    /// SHA-256 of the act, hex.
    pub digest: String,
    /// Digest of the policy that it was decided by, hex.
    pub policy: String,
    /// Controlling terminal's device number, 0 = none.
    pub tty: u64,
    /// Peer process id.
    pub pid: u32,
    /// Its own absolute end, wall clock; never later than the role's.
    pub ends_at: jiff::Timestamp,
    /// The same on CLOCK_BOOTTIME, milliseconds.
    pub ends_boottime_ms: u64,
    /// What runs at the end may finish until then, wall clock; absent: it is ended at `ends_at`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub processes_end_at: Option<jiff::Timestamp>,
}

/// How a command ended, from wait(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// exit(n)
    Exited(u8),
    /// Killed by this signal.
    Signalled(u8),
    /// It was never executed: errno of the failed step.
    NotStarted(i32),
}

/// What became of a file that was edited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EditOutcome {
    /// It is about to be replaced.
    Writing,
    /// It was replaced.
    Written,
    /// It was given back as it was read.
    Unchanged,
    /// It was not replaced.
    Failed,
}

/// A login to a gated account, as the PAM module told it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entrance {
    /// The account that was to be entered.
    pub account: String,
    /// Its uid.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub account_uid: Option<Uid>,
    /// The PAM service.
    pub service: String,
    /// The person, as the policy names them, or their account; absent when that could not be settled.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub person: Option<String>,
    /// How the person was settled: `owner`, `caller`, or how sshd authenticated the login, keys by their fingerprint's text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
    /// Terminal, as the service says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub terminal: Option<String>,
    /// Remote host, as the service says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remote_host: Option<String>,
    /// Remote user, as the other side says: nothing follows from it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remote_user: Option<String>,
    /// Process that asked.
    pub pid: u32,
}

impl std::fmt::Display for Entrance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} through {}", self.account, self.service)?;
        self.person.iter().try_for_each(|person| write!(f, " by {person}"))?;
        self.remote_host.iter().try_for_each(|host| write!(f, " from {host}"))
    }
}

/// Why a session or grant was ended from outside the command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// The command ended by itself and left nothing.
    Finished,
    /// Its absolute end came.
    WindowOver,
    /// The requester's client or terminal went away.
    ClientLost,
    /// It never started.
    NotStarted,
    /// It left programs that the role gives to the host.
    Released,
    /// The session that held it is gone without a word (kill -9, power).
    Lost,
    /// Its requester gave it back early.
    GivenBack,
    /// Somebody else ended it.
    EndedByOther,
    /// Its requester was locked.
    Locked,
    /// The policy in force does not give it any more.
    RuleGone,
    /// The requester's account is gone, or is another one.
    AccountGone,
    /// The host was started anew.
    Rebooted,
}

/// A head of the ledger, signed by the host's key (`docs/ledger.md` has the bytes). What was signed is kept as it was signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Signed {
    /// The host that the signer named.
    pub host: String,
    /// Fingerprint of its key, `SHA256:…`.
    pub key: String,
    /// When, by the signer's clock: RFC 3339, UTC.
    pub at: String,
    /// The signature: base64 of OpenSSH's form, on one line.
    pub signature: String,
}

/// What somebody looked at, and took responsibility for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concern {
    /// The ledger is older than a head known elsewhere, or another.
    RolledBack,
}

/// An event. The tag is `event`; the body's fields follow flat.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Somebody asked.
    Requested {
        /// The access.
        id: AccessId,
        /// Requester's uid.
        uid: Uid,
        /// Requester's account, if NSS knows it.
        user: Option<String>,
        /// Audit login uid, if set.
        loginuid: Option<Uid>,
        /// Where from, if known.
        origin: Option<Origin>,
        /// Kind of request.
        kind: Kind,
        /// argv as asked, secrets as `<secret:LENGTH>`, cut to 64 KiB in all and 4096 words (`argv_cut` says so).
        argv: Vec<Bytes>,
        /// Words or bytes were cut from `argv`.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        argv_cut: bool,
        /// The program found, if any.
        program: Option<Bytes>,
        /// Working directory.
        cwd: Option<Bytes>,
        /// Target account asked for.
        target: Option<String>,
        /// Role asked for.
        role: Option<String>,
        /// Why.
        reason: Option<String>,
        /// Ticket.
        ticket: Option<String>,
        /// SHA-256 of the act, hex.
        digest: String,
        /// Controlling terminal's device number, 0 = none.
        tty: u64,
        /// Peer process id.
        pid: u32,
        /// By break-glass.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        break_glass: bool,
    },
    /// The policy's word.
    Decided {
        /// The access.
        id: AccessId,
        /// True = allowed.
        allowed: bool,
        /// The rule that gives it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        rule: Option<String>,
        /// Where it stands.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        source: Option<String>,
        /// The role.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        role: Option<String>,
        /// Digest of the applied policy, hex.
        policy: String,
        /// Why not.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        denial: Option<Denial>,
        /// Requires that were joined.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        joined: Vec<String>,
        /// A budget counts it, for so many seconds after its end.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        counted: Option<u64>,
        /// It is break-glass: who is told, and who reviews.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        break_glass: Option<Glass>,
    },
    /// The grant is being set up; its absolute end is written before anything is given.
    Activating {
        /// The access.
        id: AccessId,
        /// Wall-clock end, UTC.
        ends_at: jiff::Timestamp,
        /// CLOCK_BOOTTIME end, milliseconds, on this boot.
        ends_boottime_ms: u64,
        /// What runs at the end may finish until then, wall clock; absent: it is ended at `ends_at`.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        processes_end_at: Option<jiff::Timestamp>,
        /// Groups that the sessions of a role are lent.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        groups: Vec<Group>,
    },
    /// A role grant's rights are there, all of them read back: its requester may use them until its end.
    Active {
        /// The access.
        id: AccessId,
    },
    /// One change to the host was made for a role grant, and read back.
    EffectApplied {
        /// The access.
        id: AccessId,
        /// Which.
        effect: Effect,
        /// False when the host had it before: then it stays at the end.
        ours: bool,
    },
    /// It was taken back, and that was read back.
    EffectUndone {
        /// The access.
        id: AccessId,
        /// Which.
        effect: Effect,
        /// False when it stays, because the host had it before or another grant shares it.
        removed: bool,
    },
    /// The end of a role grant moved, decided anew.
    Extended {
        /// The access.
        id: AccessId,
        /// Wall-clock end, UTC.
        ends_at: jiff::Timestamp,
        /// CLOCK_BOOTTIME end, milliseconds, on this boot.
        ends_boottime_ms: u64,
        /// The rule that gives it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        rule: Option<String>,
        /// Digest of the policy that it was decided by, hex.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        policy: Option<String>,
        /// Why, where another reason was given than for the role.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reason: Option<String>,
    },
    /// Its requester gives it back, or another ends it before its time: the actor. `ended` follows.
    Released {
        /// The access.
        id: AccessId,
        /// Another than its requester.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        by_other: bool,
        /// Why, where that was said.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reason: Option<String>,
    },
    /// Nothing may start for this account, and all that runs for it ends.
    Locked {
        /// The account.
        uid: Uid,
        /// Its name.
        user: Option<String>,
        /// Why.
        reason: String,
    },
    /// That is over.
    Unlocked {
        /// The account.
        uid: Uid,
        /// Its name.
        user: Option<String>,
    },
    /// Setting up failed; nothing was given.
    ActivationFailed {
        /// The access.
        id: AccessId,
        /// What failed, on what.
        cause: String,
    },
    /// A session is about to be started.
    SessionStarting {
        /// The session.
        session: SessionId,
        /// Target uid.
        uid: Uid,
        /// Target gid.
        gid: Gid,
        /// Target account.
        target: String,
        /// What is kept of it.
        record: Record,
        /// The files that the program was found through.
        chain: Vec<Seen>,
        /// What it is, where it is begun under a role that is held; else that stands in `requested`.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        under: Option<Box<Under>>,
        /// Groups that its processes are in beyond the target's own.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        groups: Vec<Group>,
    },
    /// The requester proved who they are. Written by the session, before anything is run.
    Authenticated {
        /// The session.
        session: SessionId,
        /// Whose proof.
        user: String,
        /// By a proof of a while ago on the same terminal; false = now.
        remembered: bool,
    },
    /// The requester did not prove who they are; nothing runs. Written by the session.
    AuthenticationFailed {
        /// The session.
        session: SessionId,
        /// Whose proof was asked for.
        user: String,
        /// Wrong proofs that were given.
        tries: u32,
        /// What ended it.
        cause: String,
    },
    /// The command ended. Written by the session.
    SessionExit {
        /// The session.
        session: SessionId,
        /// How.
        ending: Ending,
        /// Milliseconds that it ran.
        ran_ms: u64,
        /// The command's process id.
        pid: u32,
        /// The audit session that the kernel gave it.
        audit_session: Option<u32>,
        /// A step that failed before exec, in words.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        failed: Option<String>,
        /// What ran it where the kernel took it neither for a program nor for a script with an interpreter of its own.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        interpreter: Option<String>,
    },
    /// The command ended and these programs of it run on.
    LeftRunning {
        /// The session.
        session: SessionId,
        /// Names of the programs (at most 32).
        programs: Vec<Bytes>,
        /// How many there are.
        count: u32,
        /// Given to the host by the role.
        released: bool,
    },
    /// Processes of a session were signalled at its end.
    Signalled {
        /// The session.
        session: SessionId,
        /// How many.
        count: u32,
        /// The signal.
        signal: u8,
    },
    /// A gated account is entered under a role that is held.
    LoginOpened {
        /// The access.
        id: AccessId,
        /// Which account, by whom, from where.
        #[serde(flatten)]
        login: Box<Entrance>,
    },
    /// A login under a role that was held is over, and nothing of it is left.
    LoginClosed {
        /// The access.
        id: AccessId,
        /// The account that was entered.
        account: String,
        /// The process that asked then.
        pid: u32,
        /// Processes that had to be killed; they ended by themselves when it is 0.
        killed: u32,
    },
    /// A gated account was not entered.
    LoginRefused {
        /// Which account, by whom, from where.
        #[serde(flatten)]
        login: Box<Entrance>,
        /// Why not.
        cause: String,
    },
    /// A gated account that its service file calls a rescue account was entered without a grant.
    RescueUsed {
        /// Which account, from where.
        #[serde(flatten)]
        login: Box<Entrance>,
    },
    /// A file of an `-e`. `writing` is durable before the file is replaced, and `written` or `failed` follows it: a `writing` without
    /// either (power, kill -9) says what the file holds if it was replaced, and what if it was not.
    Edited {
        /// The session.
        session: SessionId,
        /// Its absolute path.
        path: Bytes,
        /// What became of it.
        outcome: EditOutcome,
        /// SHA-256 of what was read, hex; absent for a new file.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        before: Option<String>,
        /// SHA-256 of what is, or was to be, written.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        after: Option<String>,
        /// Bytes of it.
        bytes: u64,
        /// Why not.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        failed: Option<String>,
    },
    /// Rights are gone and processes too, or about to be.
    Ended {
        /// The access.
        id: AccessId,
        /// Why.
        cause: EndCause,
    },
    /// Verified: nothing of it remains.
    Closed {
        /// The access.
        id: AccessId,
    },
    /// Something of it could not be removed; tried again for ever.
    CleanupFailed {
        /// The access.
        id: AccessId,
        /// What.
        cause: String,
    },
    /// The spawner refused what the decider asked of it.
    SpawnerRefused {
        /// The access that was named, if one was.
        id: Option<AccessId>,
        /// What did not agree.
        cause: String,
    },
    /// A policy became the one in force.
    PolicyApplied {
        /// Its digest, hex.
        policy: String,
        /// Rules of all four kinds.
        rules: u64,
        /// Roles.
        roles: u64,
        /// Files that it came from.
        files: Vec<String>,
        /// The digest of the one before.
        previous: Option<String>,
    },
    /// A policy was offered and not taken.
    PolicyRefused {
        /// What is wrong with it, first error.
        cause: String,
        /// How many errors.
        errors: u64,
    },
    /// Denials beyond the limit for one account were counted, not listed.
    DenialsCounted {
        /// The account.
        uid: Uid,
        /// How many.
        count: u64,
        /// Over how many seconds.
        seconds: u64,
    },
    /// The wall clock moved against the boot clock.
    ClockStepped {
        /// By how many milliseconds; negative = back.
        by_ms: i64,
    },
    /// A torn last line was cut from the ledger at opening.
    ChainCut {
        /// The segment file.
        segment: String,
        /// Bytes that were cut (kept beside it).
        bytes: u64,
    },
    /// The ledger is older than a head known elsewhere, or has another line there; nothing is given until that is acknowledged.
    RolledBack {
        /// Sequence known elsewhere.
        known: u64,
        /// Last sequence found.
        found: u64,
    },
    /// Root looked at something that stops giving, and said why it may go on.
    Acknowledged {
        /// What.
        concern: Concern,
        /// Sequence that was known elsewhere.
        known: u64,
        /// Last sequence before the acknowledgement.
        found: u64,
        /// Why it may go on, in root's words.
        reason: String,
    },
    /// A segment was closed and the next one begun.
    SegmentSealed {
        /// Name of the closed segment.
        segment: String,
        /// Its last sequence.
        last_seq: u64,
        /// Its last hash, hex.
        head: String,
        /// Signed by the host's key; absent when that could not be had.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        signed: Option<Signed>,
    },
    /// The head was told to journald and syslog.
    HeadPublished {
        /// Sequence.
        head_seq: u64,
        /// Hash, hex.
        head: String,
        /// Signed by the host's key; absent when that could not be had.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        signed: Option<Signed>,
    },
    /// What is not on the host as it was before a grant: for people to look at until one of them has.
    Residue {
        /// The access.
        id: AccessId,
        /// What, at most 100.
        items: Vec<Item>,
        /// How many there are.
        count: u32,
        /// What could not be looked at.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        remark: Option<String>,
    },
    /// Somebody looked at that: the actor.
    ResidueAcknowledged {
        /// The access.
        id: AccessId,
        /// What was found, or done about it.
        reason: String,
    },
    /// Other people are asked to say yes to exactly this; nothing is given before they do.
    Asked {
        /// The access.
        id: AccessId,
        /// SHA-256 of what they are asked to say yes to (`docs/approvals.md`), hex.
        digest: String,
        /// Random bytes in it, hex.
        nonce: String,
        /// Who is asked, as the policy writes it.
        approvers: Vec<String>,
        /// The fewest persons that can give it.
        persons: u32,
        /// Answers count until then, wall clock.
        answer_by: jiff::Timestamp,
        /// The same on CLOCK_BOOTTIME, milliseconds.
        answer_by_boottime_ms: u64,
        /// Seconds within which it must be used once enough people have said yes.
        use_by: u64,
    },
    /// One of them said yes: the actor.
    Approved {
        /// The access.
        id: AccessId,
        /// The account that said so.
        uid: Uid,
        /// Its name.
        user: Option<String>,
        /// The person behind it, where the policy names one.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        person: Option<String>,
        /// What they said yes to.
        digest: String,
        /// How they proved who they are.
        proof: Proof,
        /// What they added to it.
        #[serde(skip_serializing_if = "is_unlimited", default)]
        limits: Limits,
        /// With it, everybody who is needed has said yes.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        enough: bool,
        /// It was signed elsewhere: the actor is then who handed it in.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        signed: Option<Box<SignedAnswer>>,
    },
    /// One of them said no: the actor. It is over.
    Refused {
        /// The access.
        id: AccessId,
        /// The account that said so.
        uid: Uid,
        /// Its name.
        user: Option<String>,
        /// The person behind it, where the policy names one.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        person: Option<String>,
        /// What they said no to.
        digest: String,
        /// Why, in their words.
        reason: String,
        /// It was signed elsewhere: the actor is then who handed it in.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        signed: Option<Box<SignedAnswer>>,
    },
    /// Not enough people said yes in time, or it was not used in time. It is over.
    Lapsed {
        /// The access.
        id: AccessId,
    },
    /// Its requester takes a request back that nothing was given for yet.
    Withdrawn {
        /// The access.
        id: AccessId,
    },

    /// Others may step in from now on, and are asked.
    Escalated {
        /// The access.
        id: AccessId,
        /// Who is asked by now, as the policy writes it.
        approvers: Vec<String>,
    },
    /// Whoever has not answered was asked again.
    Reminded {
        /// The access.
        id: AccessId,
    },
    /// Somebody who is asked could not be told of it. Nothing hangs on that.
    DeliveryFailed {
        /// The access.
        id: AccessId,
        /// The account; absent where nobody could be told at all.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        uid: Option<Uid>,
        /// Where, as `pts/3`; empty likewise.
        to: String,
        /// Why not.
        cause: String,
    },

    // What policy says about time and amount.
    /// Somebody looked at a use of break-glass: the actor, who is another person than its requester.
    Reviewed {
        /// The access.
        id: AccessId,
        /// What was found.
        note: String,
    },
    /// A session of an extended role did not take the new end in time: it ends at this one.
    NotExtended {
        /// The session.
        session: SessionId,
        /// Its end, wall clock.
        ends_at: jiff::Timestamp,
    },
}

/// For `skip_serializing_if`.
fn is_unlimited(limits: &Limits) -> bool {
    *limits == Limits::default()
}

impl Event {
    /// Every name that this version writes and reads.
    pub const NAMES: [&str; 47] = [
        "requested",
        "decided",
        "activating",
        "activation_failed",
        "active",
        "effect_applied",
        "effect_undone",
        "extended",
        "released",
        "locked",
        "unlocked",
        "session_starting",
        "authenticated",
        "authentication_failed",
        "session_exit",
        "left_running",
        "signalled",
        "login_opened",
        "login_closed",
        "login_refused",
        "rescue_used",
        "edited",
        "ended",
        "closed",
        "cleanup_failed",
        "spawner_refused",
        "policy_applied",
        "policy_refused",
        "denials_counted",
        "clock_stepped",
        "chain_cut",
        "rolled_back",
        "acknowledged",
        "segment_sealed",
        "head_published",
        "residue",
        "residue_acknowledged",
        "asked",
        "approved",
        "refused",
        "lapsed",
        "withdrawn",
        "escalated",
        "reminded",
        "delivery_failed",
        "reviewed",
        "not_extended",
    ];

    /// Its name: what stands under `"event"`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Requested { .. } => "requested",
            Self::Decided { .. } => "decided",
            Self::Activating { .. } => "activating",
            Self::ActivationFailed { .. } => "activation_failed",
            Self::Active { .. } => "active",
            Self::EffectApplied { .. } => "effect_applied",
            Self::EffectUndone { .. } => "effect_undone",
            Self::Extended { .. } => "extended",
            Self::Released { .. } => "released",
            Self::Locked { .. } => "locked",
            Self::Unlocked { .. } => "unlocked",
            Self::SessionStarting { .. } => "session_starting",
            Self::Authenticated { .. } => "authenticated",
            Self::AuthenticationFailed { .. } => "authentication_failed",
            Self::SessionExit { .. } => "session_exit",
            Self::LeftRunning { .. } => "left_running",
            Self::Signalled { .. } => "signalled",
            Self::LoginOpened { .. } => "login_opened",
            Self::LoginClosed { .. } => "login_closed",
            Self::LoginRefused { .. } => "login_refused",
            Self::RescueUsed { .. } => "rescue_used",
            Self::Edited { .. } => "edited",
            Self::Ended { .. } => "ended",
            Self::Closed { .. } => "closed",
            Self::CleanupFailed { .. } => "cleanup_failed",
            Self::SpawnerRefused { .. } => "spawner_refused",
            Self::PolicyApplied { .. } => "policy_applied",
            Self::PolicyRefused { .. } => "policy_refused",
            Self::DenialsCounted { .. } => "denials_counted",
            Self::ClockStepped { .. } => "clock_stepped",
            Self::ChainCut { .. } => "chain_cut",
            Self::RolledBack { .. } => "rolled_back",
            Self::Acknowledged { .. } => "acknowledged",
            Self::SegmentSealed { .. } => "segment_sealed",
            Self::HeadPublished { .. } => "head_published",
            Self::Residue { .. } => "residue",
            Self::ResidueAcknowledged { .. } => "residue_acknowledged",
            Self::Asked { .. } => "asked",
            Self::Approved { .. } => "approved",
            Self::Refused { .. } => "refused",
            Self::Lapsed { .. } => "lapsed",
            Self::Withdrawn { .. } => "withdrawn",
            Self::Escalated { .. } => "escalated",
            Self::Reminded { .. } => "reminded",
            Self::DeliveryFailed { .. } => "delivery_failed",
            Self::Reviewed { .. } => "reviewed",
            Self::NotExtended { .. } => "not_extended",
        }
    }

    /// The access that it belongs to.
    #[must_use]
    pub fn access(&self) -> Option<&AccessId> {
        match self {
            Self::Requested { id, .. }
            | Self::Decided { id, .. }
            | Self::Activating { id, .. }
            | Self::ActivationFailed { id, .. }
            | Self::Active { id }
            | Self::EffectApplied { id, .. }
            | Self::EffectUndone { id, .. }
            | Self::Extended { id, .. }
            | Self::Released { id, .. }
            | Self::LoginOpened { id, .. }
            | Self::LoginClosed { id, .. }
            | Self::Ended { id, .. }
            | Self::Closed { id }
            | Self::Asked { id, .. }
            | Self::Approved { id, .. }
            | Self::Refused { id, .. }
            | Self::Lapsed { id }
            | Self::Withdrawn { id }
            | Self::Escalated { id, .. }
            | Self::Reminded { id }
            | Self::DeliveryFailed { id, .. }
            | Self::CleanupFailed { id, .. }
            | Self::Residue { id, .. }
            | Self::ResidueAcknowledged { id, .. }
            | Self::Reviewed { id, .. } => Some(id),
            Self::SessionStarting { session, .. }
            | Self::NotExtended { session, .. }
            | Self::Authenticated { session, .. }
            | Self::AuthenticationFailed { session, .. }
            | Self::SessionExit { session, .. }
            | Self::LeftRunning { session, .. }
            | Self::Signalled { session, .. }
            | Self::Edited { session, .. } => Some(&session.access),
            Self::SpawnerRefused { id, .. } => id.as_ref(),
            Self::PolicyApplied { .. }
            | Self::LoginRefused { .. }
            | Self::RescueUsed { .. }
            | Self::Locked { .. }
            | Self::Unlocked { .. }
            | Self::PolicyRefused { .. }
            | Self::DenialsCounted { .. }
            | Self::ClockStepped { .. }
            | Self::ChainCut { .. }
            | Self::RolledBack { .. }
            | Self::Acknowledged { .. }
            | Self::SegmentSealed { .. }
            | Self::HeadPublished { .. } => None,
        }
    }
}

/// An answer that was signed elsewhere: all that is needed to prove it again (`ssh-keygen -Y verify`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedAnswer {
    /// Fingerprint of the key, `SHA256:…`.
    pub key: String,
    /// The signature's armour without its first and last line, on one.
    pub signature: String,
    /// The text that was signed.
    pub card: String,
}

/// Why a line of the ledger is no entry.
#[derive(Debug)]
pub enum EntryError {
    /// The event is not on this version's list: a newer one wrote it. State cannot be folded without it, so a downgrade stops
    /// here and says what it met; going back to the newer version, or on from its next snapshot, is the way out.
    UnknownEvent {
        /// Its name.
        event: String,
    },
    /// The line is no JSON object, a field is missing or of another type.
    Malformed(serde_json::Error),
}

impl std::fmt::Display for EntryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownEvent { event } => {
                write!(f, "cannot read event {event:?}: this version does not know it, a newer one wrote it")
            }
            Self::Malformed(source) => write!(f, "cannot read event: {source}"),
        }
    }
}
impl std::error::Error for EntryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::UnknownEvent { .. } => None,
            Self::Malformed(source) => Some(source),
        }
    }
}

impl Entry {
    /// Reads an entry from a ledger line or a spooled one; the chain's own fields and fields of newer versions are passed over.
    ///
    /// # Errors
    /// [`EntryError::UnknownEvent`] for a name that is not in [`Event::NAMES`]; [`EntryError::Malformed`] for anything else.
    pub fn read(line: &[u8]) -> Result<Self, EntryError> {
        serde_json::from_slice(line).map_err(|error| {
            // Only on the way to the error: the name is read a second time.
            match serde_json::from_slice::<Tag>(line) {
                Ok(Tag { event }) if !Event::NAMES.contains(&event.as_str()) => EntryError::UnknownEvent { event },
                _ => EntryError::Malformed(error),
            }
        })
    }
}

/// The part of an entry that says which event it is.
#[derive(Deserialize)]
struct Tag {
    event: String,
}
