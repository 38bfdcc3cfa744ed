//! Decider ⇄ spawner. Every message of the decider that concerns a client has that client's connection attached.

use jitsudo_core::event::{EndCause, Signed};
use jitsudo_core::facts::{Facts, Group};
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_core::name::Uid;
use jitsudo_protocol::act::{ActMore, ActStart};
use serde::{Deserialize, Serialize};

use crate::approval::{Handed, Seal, Yes};
use crate::facts::{About, Account, HashedProgram, Peer, Process, Proved};
use crate::locks::Locked;
use crate::notes::Note;

/// From the decider.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ToSpawner {
    /// Find out who is there and what is asked about. Attached: the connection.
    Look {
        /// Repeated in the answer.
        number: u64,
        /// What about.
        about: About,
    },
    /// Start this session. Attached: the connection. `More` datagrams with the same number follow for a long act.
    Start {
        /// Repeated in the answer.
        number: u64,
        /// What the decider decided and wrote.
        start: Box<Start>,
        /// The act, first datagram.
        act: Box<ActStart>,
    },
    /// A following datagram of a start's act.
    More {
        /// The start's number.
        number: u64,
        /// The datagram.
        more: ActMore,
    },
    /// Compile policy.d. Attached: the connection, whose peer must be uid 0.
    Apply {
        /// Repeated in the answer.
        number: u64,
        /// Only say what would be.
        dry_run: bool,
        /// Refuse anything but this digest.
        expect: Option<String>,
    },
    /// What is remembered of the peer's authentication goes. Attached: the connection.
    Forget {
        /// Repeated in the answer.
        number: u64,
        /// Everything of the account, not only what belongs to the peer's terminal.
        all: bool,
    },
    /// Have the host's key sign a durable line of the ledger. At most a few a minute, one at a time. Only to a spawner whose `Ready`
    /// told its memory: older ones do not know the order.
    Sign {
        /// Repeated in the answer.
        number: u64,
        /// Which line.
        wanted: Wanted,
    },
    /// Have the host's key sign this head although the ledger lacks the one that was signed last. Attached: the connection, whose
    /// peer must be uid 0.
    Acknowledge {
        /// Repeated in the answer.
        number: u64,
        /// Which line.
        wanted: Wanted,
    },
    /// End a role grant, or the sessions of another access, before its time. Only to a spawner whose `Ready` told that it has grants.
    EndGrant {
        /// Repeated in the answer.
        number: u64,
        /// Which.
        id: AccessId,
        /// Why.
        cause: EndCause,
    },
    /// The peer has reviewed a use of break-glass. Attached: the connection, which was looked at before. Only to a spawner whose `Ready` told
    /// that it has reviews.
    Review {
        /// Repeated in the answer.
        number: u64,
        /// Which.
        id: AccessId,
    },
    /// Find out which accounts are at a terminal of this host that takes messages. Only to a spawner whose `Ready` told that it tells people.
    WhoIsHere {
        /// Repeated in the answer.
        number: u64,
    },
    /// Write this on the terminals of these accounts that take messages (`mesg y`). Likewise.
    Tell {
        /// Repeated in the answer.
        number: u64,
        /// Accounts, by uid: at most 64.
        to: Vec<u32>,
        /// At most 2 KiB; lines end with `\n`, every other control character is shown as `?`.
        text: String,
    },
    /// Nothing may start for this account and its person from now on, and everything of them ends. Only to a spawner whose `Ready` told its
    /// locks. Nothing is answered.
    Lock {
        /// Its uid.
        uid: Uid,
        /// Its name, where that is known.
        user: Option<String>,
    },
    /// The peer ends a lock. Attached: the connection, whose peer is uid 0, or was looked at before. Likewise.
    Unlock {
        /// Repeated in the answer.
        number: u64,
        /// The uid.
        uid: Uid,
    },
    /// Of which of these accesses does the spawner know nothing? Only to a spawner whose `Ready` told that it says so.
    Known {
        /// Not over by the ledger; at most a few hundred, so that they fit a datagram.
        ids: Vec<AccessId>,
    },
    /// Somebody signed an answer elsewhere: whose it is; a yes is remembered. Attached: the connection of who hands it in. Only to a spawner
    /// whose `Ready` told that it proves.
    Prove {
        /// Repeated in the answer.
        number: u64,
        /// Which.
        handed: Box<Handed>,
    },
    /// These spool files are in the ledger, durably.
    Folded {
        /// Their names.
        names: Vec<String>,
    },
}

/// What the decider decided. The spawner decides again by itself and refuses what does not agree.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The session.
    pub session: SessionId,
    /// Whom the decider takes the requester for.
    pub requester: u32,
    /// Digest of the act.
    pub digest: String,
    /// Digest of the policy that it decided by.
    pub policy: String,
    /// The rule that gives it.
    pub rule: String,
    /// The role.
    pub role: String,
    /// The target's uid.
    pub target: u32,
    /// The absolute end that was written, wall clock.
    pub ends_at: jitsudo_core::Timestamp,
    /// The absolute end that was written, CLOCK_BOOTTIME milliseconds.
    pub ends_boottime_ms: u64,
    /// Other people said yes to it; the spawner looks who, by its own table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Seal>,
    /// It is somebody's yes to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yes: Option<Yes>,
    /// It is given by the role grant that `session` names, which the spawner must hold.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Groups that it is lent, as they were written. A spawner that does not know this does not look groups up either, and so is
    /// never told any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// It is more time for the role grant that `session` names. Only to a spawner whose `Ready` told that it extends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extends: bool,
}

/// A line of the ledger that is to be signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The segment that it ends, for good; absent = the ledger's head.
    pub segment: Option<String>,
    /// Its number.
    pub seq: u64,
    /// Its hash, hex.
    pub hash: String,
}

/// What is remembered on the spawner's side of what was signed: what a ledger must contain to be the newest one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// Nothing was signed yet.
    Nothing,
    /// The newest head that was.
    Head(Box<SignedHead>),
    /// It cannot be told; in words. Nothing is given on the strength of that.
    Unreadable(String),
}

/// A head with its signature, as it stands in the memory's file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedHead {
    /// Number of the line.
    pub seq: u64,
    /// Its hash, hex.
    pub hash: String,
    /// Who signed it, and how.
    pub signed: Signed,
}

impl Memory {
    /// Reads the memory's file; `None` = there is none.
    #[must_use]
    pub fn read(file: Option<&[u8]>) -> Self {
        match file.map(serde_json::from_slice) {
            None => Self::Nothing,
            Some(Ok(head)) => Self::Head(Box::new(head)),
            Some(Err(error)) => Self::Unreadable(format!("it holds no signed head: {error}")),
        }
    }
}

/// What came of a `Sign` or `Acknowledge`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignOutcome {
    /// Signed, and (a head) remembered.
    Done(Box<Signed>),
    /// The ledger is not one that may be signed; in words.
    Refused(String),
    /// Trouble of our own, in words.
    Failed(String),
}

/// To the decider.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromSpawner {
    /// First message on a connection: what the decider needs to know of this host and this spawner.
    Ready {
        /// Digest of the applied policy as the spawner has it loaded; absent = none applied.
        policy: Option<String>,
        /// What was signed; absent = a spawner of an older version, which cannot have anything signed.
        #[serde(default)]
        memory: Option<Memory>,
        /// It holds role grants and ends what it is told to; false = a spawner of an older version.
        #[serde(default)]
        grants: bool,
        /// It keeps a list of break-glass that nobody has reviewed; false = a spawner of an older version.
        #[serde(default)]
        reviews: bool,
        /// It extends them; false = a spawner of an older version.
        #[serde(default)]
        extends: bool,
        /// It makes memberships and sudoers lines for them; false likewise.
        #[serde(default)]
        effects: bool,
        /// It tells people on their terminals; false likewise.
        #[serde(default)]
        tells: bool,
        /// Who is locked, as it knows by itself, at most [`crate::locks::MAX_TOLD`] of them; absent = a spawner of an older version.
        #[serde(default)]
        locks: Option<Vec<Locked>>,
        /// It says which accesses it knows nothing of; false likewise.
        #[serde(default)]
        knows: bool,
        /// It proves answers that were signed elsewhere; false likewise.
        #[serde(default)]
        proves: bool,
    },
    /// Answer to `Prove`: in words why not.
    Proved {
        /// The order's number.
        number: u64,
        /// What came of it.
        outcome: ProofOutcome,
    },
    /// Answer to `WhoIsHere`: those that could be looked up.
    Here {
        /// The question's number.
        number: u64,
        /// Their accounts.
        accounts: Vec<Account>,
    },
    /// Answer to `Tell`.
    Told {
        /// The order's number.
        number: u64,
        /// What came of it.
        told: Told,
    },
    /// Answer to `Look`.
    Looked {
        /// The question's number.
        number: u64,
        /// Who is there.
        peer: Peer,
        /// The facts.
        facts: Box<Facts>,
        /// What the command would inherit.
        process: Option<Box<Process>>,
        /// The program's content, where it was asked for.
        #[serde(default)]
        program: Option<Box<HashedProgram>>,
        /// The peer is inside a session of jitsudo's; absent: it cannot be told.
        #[serde(default)]
        inside: Option<bool>,
    },
    /// Answer to `Look`: nothing can be decided.
    LookFailed {
        /// The question's number.
        number: u64,
        /// Why.
        cause: LookFailure,
    },
    /// The session was handed to the client.
    Started {
        /// The start's number.
        number: u64,
        /// Process id of the session.
        pid: u32,
    },
    /// Not started.
    StartRefused {
        /// The start's number.
        number: u64,
        /// What does not agree or could not be done.
        cause: String,
        /// True when decider and spawner disagree (written as `spawner_refused`), false for plain trouble.
        disagree: bool,
    },
    /// Answer to `Apply`.
    Applied {
        /// The order's number.
        number: u64,
        /// What happened.
        outcome: ApplyOutcome,
    },
    /// Answer to `Forget`: nothing of it is remembered.
    Forgotten {
        /// The order's number.
        number: u64,
    },
    /// Answer to `Sign` and `Acknowledge`.
    Signed {
        /// The order's number.
        number: u64,
        /// What happened.
        outcome: SignOutcome,
    },
    /// Answer to `EndGrant`.
    Ending {
        /// The order's number.
        number: u64,
        /// There was something to end, and its end has begun.
        known: bool,
    },
    /// Answer to `Review`.
    Reviewed {
        /// The order's number.
        number: u64,
        /// What happened.
        outcome: ReviewOutcome,
    },
    /// Who is to say yes in this session has proven who they are: it counts here from now on.
    SaidYes {
        /// The session.
        session: SessionId,
    },
    /// Answer to `Unlock`: in words why not.
    Unlocked {
        /// The order's number.
        number: u64,
        /// Absent when it is done.
        refused: Option<String>,
    },
    /// Answer to `Known`: nobody holds these, nothing of them runs or is being started, no line for sudo of theirs is there, and nothing more
    /// will be said of them than lies in the spool. Not sent when there are none.
    Unknown {
        /// Which.
        ids: Vec<AccessId>,
    },
    /// A file was put into the spool.
    Spooled,
    /// A session's process is gone (it had written what it had to say).
    SessionGone {
        /// Which.
        session: SessionId,
    },
}

/// What came of a `Tell`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Told {
    /// Terminals that took it.
    pub terminals: u32,
    /// Those that did not, at most 16.
    pub failed: Vec<Untold>,
}

/// Somebody who was not told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Untold {
    /// The account.
    pub uid: u32,
    /// Where, as `pts/3`; empty where nobody was told.
    pub to: String,
    /// Why not.
    pub cause: String,
}

/// What came of a `Prove`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofOutcome {
    /// It is that person's.
    Done(Box<Proved>),
    /// It counts for nothing; in words.
    Refused(String),
    /// Trouble of our own, in words.
    Failed(String),
}

/// What came of a `Review`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewOutcome {
    /// It does not wait here any more.
    Done {
        /// It did before.
        known: bool,
    },
    /// The peer may not; in words.
    Refused(String),
}

/// Why facts could not be had.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookFailure {
    /// NSS or a file system did not answer within two seconds.
    TimedOut,
    /// The peer is gone.
    PeerGone,
    /// The peer may not ask: uids differ, no account, foreign pid namespace; in words.
    Refused(String),
    /// The helper failed; in words.
    Failed(String),
    /// Too many questions wait.
    Busy,
}

/// What came of an `Apply`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplyOutcome {
    /// Compiled, and (unless a dry run) written and in force.
    Done(Box<Applied>),
    /// It has errors, or the files are not to be trusted: the rendered diagnostics.
    Refused {
        /// Rendered for a terminal, without colour; at most 32 KiB.
        text: String,
        /// How many errors.
        errors: u64,
    },
    /// Trouble of our own, in words.
    Failed(String),
}

/// A compiled policy, summed up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Applied {
    /// Its digest.
    pub policy: String,
    /// The digest of the one in force before.
    pub previous: Option<String>,
    /// Rules of all kinds.
    pub rules: u64,
    /// Roles.
    pub roles: u64,
    /// Its files.
    pub files: Vec<String>,
    /// Rendered warnings, at most 16 KiB.
    pub warnings: String,
    /// Names of rules that are new, gone, or changed against the one in force; each at most 100.
    pub added: Vec<String>,
    /// See `added`.
    pub removed: Vec<String>,
    /// See `added`.
    pub changed: Vec<String>,
    /// Roles that are held and would end, at most 100; of a dry run alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ends: Vec<WouldEnd>,
    /// How many more.
    #[serde(default)]
    pub more_end: u64,
}

/// A role that is held and would end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WouldEnd {
    /// The access.
    pub id: AccessId,
    /// Whose.
    pub user: String,
    /// The role.
    pub role: String,
}

/// Spawner ⇄ `jitsudo-effects`, on the inherited socket: one order, one outcome of its kind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// Compile the files of policy.d and perhaps put the result in force: one [`ApplyOutcome`].
    ApplyPolicy {
        /// Only say what would be.
        dry_run: bool,
        /// Refuse anything but this digest.
        expect: Option<String>,
    },
    /// Sign a line of the ledger with the host's key, which is made when there is none: one [`SignOutcome`].
    Sign {
        /// The host's name, for the statement.
        host: String,
        /// Which line.
        wanted: Wanted,
        /// Root took responsibility for the ledger's lacking what was signed before.
        acknowledged: bool,
    },
    /// Make a change to the host for a role grant, noted before and read back after: one [`Lent`].
    ApplyEffect {
        /// The grant, with what was applied of it so far.
        note: Box<Note>,
        /// Which change.
        effect: jitsudo_core::lends::Effect,
    },
    /// Keep a picture of the host as it is before these grants: one [`Pictured`].
    Picture {
        /// Which.
        ids: Vec<AccessId>,
        /// When the first of them was asked for, wall clock.
        since: jitsudo_core::Timestamp,
        /// The same, CLOCK_BOOTTIME milliseconds.
        since_boottime_ms: u64,
    },
    /// Compare the host with those pictures, tell in the spool what is not as it was, and forget them: one [`LookedBack`].
    LookBack {
        /// The host's name, for what is recorded.
        host: String,
        /// Which.
        over: Vec<Over>,
        /// Grants that nothing came of: only to be forgotten.
        #[serde(default)]
        forget: Vec<AccessId>,
    },
    /// Write this on the terminals of these accounts that take messages: one [`Told`].
    Tell {
        /// Accounts, by uid.
        to: Vec<u32>,
        /// See [`ToSpawner::Tell`].
        text: String,
    },
    /// Take it back, and forget it in the note: one [`TakenBack`]. What is gone already is fine.
    UndoEffect {
        /// The grant.
        note: Box<Note>,
        /// Which change.
        effect: jitsudo_core::lends::Effect,
    },
    /// Take back all that is noted of these grants, many at once: one [`Undone`] for each, in any order.
    UndoGrants {
        /// Which.
        ids: Vec<AccessId>,
        /// How long another tool's lock is waited for, milliseconds.
        patience_ms: u64,
    },
}

/// What came of one grant of an `UndoGrants`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Undone {
    /// Which.
    pub id: AccessId,
    /// Each effect that was noted of it.
    pub effects: Vec<(jitsudo_core::lends::Effect, TakenBack)>,
}

/// What came of an `ApplyEffect`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lent {
    /// It is there, and was read back.
    Done {
        /// False when the host had it before: then it stays at the end.
        ours: bool,
    },
    /// It is not there, in words why; where the words say that it could not be taken back either, the note still names it.
    Failed(String),
}

/// A grant that is over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Over {
    /// Which.
    pub id: AccessId,
    /// When nothing of it was left, as far as that is known: what changed later is another's.
    #[serde(default)]
    pub closed: Option<jitsudo_core::Timestamp>,
}

/// What came of a `Picture`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pictured {
    /// It is kept.
    Done,
    /// It is not, in words why.
    Failed(String),
}

/// What came of a `LookBack`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookedBack {
    /// They were compared.
    Done {
        /// How many of them have something to tell, which is in the spool.
        recorded: u32,
    },
    /// Not all of them were, in words why.
    Failed(String),
}

/// What came of an `UndoEffect`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TakenBack {
    /// Nothing of it is there by this grant any more, and that was read back.
    Done {
        /// False when nothing was removed: the host had it before, another grant shares it, or it was gone.
        removed: bool,
        /// What is not as it was when it was lent: a renamed account, a group that is gone.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        remark: Option<String>,
    },
    /// It may still be there, in words why: to be tried again.
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_of_an_older_spawner_has_no_memory() {
        let ready: FromSpawner = serde_json::from_str(r#"{"ready":{"policy":null}}"#).unwrap();
        assert_eq!(
            ready,
            FromSpawner::Ready {
                policy: None,
                memory: None,
                grants: false,
                reviews: false,
                extends: false,
                effects: false,
                tells: false,
                locks: None,
                knows: false,
                proves: false
            }
        );
    }

    #[test]
    fn memory_that_is_not_whole_is_unreadable_and_not_nothing() {
        assert_eq!(Memory::read(None), Memory::Nothing);
        for damaged in ["", "{", "{}", "null", r#"{"seq":1}"#] {
            assert!(matches!(Memory::read(Some(damaged.as_bytes())), Memory::Unreadable(_)), "{damaged:?}");
        }
    }
}
