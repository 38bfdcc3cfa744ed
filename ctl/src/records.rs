//! What the decider's answers hold, as far as the screens read it (docs/json.md). Unknown fields are let pass, absent ones are none.

use jiff::Timestamp;
use jitsudo_bytes::Bytes;
use jitsudo_core::decision::{Denial, Record};
use jitsudo_core::event::{EndCause, Ending, Entry};
use jitsudo_core::facts::Group;
use jitsudo_core::id::AccessId;
use jitsudo_core::lends::Effect;
use jitsudo_core::offers::Offer;
use jitsudo_core::request::Kind;
use jitsudo_core::residue::Item;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;

/// Reads a value as the shape that is expected.
pub(crate) fn read<T: DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|error| Failure::Lost(format!("its answer cannot be read: {error}")))
}

/// Reads each value of a list.
pub(crate) fn read_all<T: DeserializeOwned>(values: &[Value]) -> Result<Vec<T>, Failure> {
    values.iter().map(|value| read(value.clone())).collect()
}

/// Where the requester stands.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Standing {
    /// Enrolled name of the host.
    pub(crate) host: String,
    /// Digest of the policy in force.
    pub(crate) policy: Option<String>,
    /// Running sessions.
    pub(crate) active: Vec<Session>,
    /// Roles that are held.
    pub(crate) grants: Vec<Grant>,
    /// What own grants may have left, not acknowledged yet.
    pub(crate) residue: Vec<Residue>,
    /// What may be asked for.
    pub(crate) offers: Vec<Offer>,
    /// Why nothing is given.
    pub(crate) locked: Option<Lock>,
}

/// A locked account.
#[derive(Debug, Deserialize)]
pub(crate) struct Lock {
    /// Its name.
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// Its uid.
    pub(crate) uid: u32,
    /// Since when.
    pub(crate) since: Timestamp,
    /// By whom.
    #[serde(default)]
    pub(crate) by: Option<String>,
    /// Why.
    #[serde(default)]
    pub(crate) reason: String,
}

/// What was asked, and what became of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    /// The access.
    pub(crate) id: String,
    /// When.
    #[serde(default)]
    pub(crate) at: Option<Timestamp>,
    /// Who.
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// Their uid.
    #[serde(default)]
    pub(crate) uid: Option<u32>,
    /// What kind.
    pub(crate) kind: Kind,
    /// Its words.
    #[serde(default)]
    pub(crate) argv: Vec<Bytes>,
    /// As whom, where that was said.
    #[serde(default)]
    pub(crate) target: Option<String>,
    /// The role.
    #[serde(default)]
    pub(crate) role: Option<String>,
    /// The rule that gave it.
    #[serde(default)]
    pub(crate) rule: Option<String>,
    /// Why.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// Ticket.
    #[serde(default)]
    pub(crate) ticket: Option<String>,
    /// Its absolute end.
    #[serde(default)]
    pub(crate) ends_at: Option<Timestamp>,
    /// How far it is.
    #[serde(default)]
    pub(crate) stage: String,
}

/// Everything of one access.
#[derive(Debug, Deserialize)]
pub(crate) struct Shown {
    /// What was asked.
    #[serde(flatten)]
    pub(crate) asked: Asked,
    /// What was decided.
    #[serde(default)]
    pub(crate) decision: Option<Decision>,
    /// Since when it is given.
    #[serde(default)]
    pub(crate) since: Option<Timestamp>,
    /// The end that it was given with.
    #[serde(default)]
    pub(crate) first_end: Option<Timestamp>,
    /// Changes to the host that are there for it.
    #[serde(default)]
    pub(crate) lent: Vec<Effect>,
    /// Those that were taken back.
    #[serde(default)]
    pub(crate) taken_back: Vec<Effect>,
    /// Groups that its sessions are lent.
    #[serde(default)]
    pub(crate) groups: Vec<Group>,
    /// What it may have left.
    #[serde(default)]
    pub(crate) residue: Option<Residue>,
    /// What could not be removed.
    #[serde(default)]
    pub(crate) not_clean: Option<String>,
    /// How it ended.
    #[serde(default)]
    pub(crate) ended: Option<End>,
    /// When it was verified that nothing remains.
    #[serde(default)]
    pub(crate) closed: Option<Timestamp>,
    /// Why nothing was given.
    #[serde(default)]
    pub(crate) failed: Option<String>,
    /// What other people were asked and said, as long as nothing was given.
    #[serde(default)]
    pub(crate) approval: Option<Approval>,
    /// What ran.
    #[serde(default)]
    pub(crate) sessions: Vec<Session>,
}

/// What other people were asked and said.
#[derive(Debug, Deserialize)]
pub(crate) struct Approval {
    /// Who was asked, as the policy writes it.
    pub(crate) asked: Vec<String>,
    /// Answers count until then.
    pub(crate) answer_by: Timestamp,
    /// Who said yes.
    pub(crate) yes: Vec<Voice>,
    /// Who said no.
    #[serde(default)]
    pub(crate) refused: Option<Voice>,
}

/// Somebody's answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Voice {
    /// The account.
    pub(crate) uid: u32,
    /// Its name.
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// For at most so many seconds.
    #[serde(default)]
    pub(crate) window: Option<u64>,
    /// Why not.
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

/// A decision, summed up.
#[derive(Debug, Deserialize)]
pub(crate) struct Decision {
    /// Allowed.
    pub(crate) allowed: bool,
    /// Digest of the policy.
    #[serde(default)]
    pub(crate) policy: Option<String>,
    /// Where the rule stands.
    #[serde(default)]
    pub(crate) source: Option<String>,
    /// Why not.
    #[serde(default)]
    pub(crate) denial: Option<Denial>,
}

/// An end.
#[derive(Debug, Deserialize)]
pub(crate) struct End {
    /// When.
    pub(crate) at: Timestamp,
    /// Why.
    pub(crate) cause: EndCause,
}

/// What a grant may have left.
#[derive(Debug, Deserialize)]
pub(crate) struct Residue {
    /// The access.
    pub(crate) id: String,
    /// Whose it was.
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// Their uid.
    #[serde(default)]
    pub(crate) uid: Option<u32>,
    /// The role.
    #[serde(default)]
    pub(crate) role: Option<String>,
    /// When it was found.
    #[serde(default)]
    pub(crate) at: Option<Timestamp>,
    /// The first of them.
    #[serde(default)]
    pub(crate) items: Vec<Item>,
    /// How many there are.
    #[serde(default)]
    pub(crate) count: u64,
    /// What could not be looked at.
    #[serde(default)]
    pub(crate) remark: Option<String>,
    /// Who looked at it.
    #[serde(default)]
    pub(crate) acknowledged: Option<LookedAt>,
}

/// That somebody looked at what a grant may have left.
#[derive(Debug, Deserialize)]
pub(crate) struct LookedAt {
    /// When.
    pub(crate) at: Timestamp,
    /// Who.
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// Their uid.
    #[serde(default)]
    pub(crate) uid: Option<u32>,
    /// What they said of it.
    #[serde(default)]
    pub(crate) reason: String,
}

/// A role that is held.
#[derive(Debug, Deserialize)]
pub(crate) struct Grant {
    /// Its id.
    pub(crate) id: String,
    /// Whose.
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// Their uid.
    #[serde(default)]
    pub(crate) uid: Option<u32>,
    /// The role.
    #[serde(default)]
    pub(crate) role: Option<String>,
    /// Groups that its sessions are lent.
    #[serde(default)]
    pub(crate) groups: Vec<Group>,
    /// Changes to the host that are there for it.
    #[serde(default)]
    pub(crate) lent: Vec<Effect>,
    /// The rule that gave it.
    #[serde(default)]
    pub(crate) rule: Option<String>,
    /// The reason that was given.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// Its absolute end.
    #[serde(default)]
    pub(crate) ends_at: Option<Timestamp>,
    /// Until when what runs at the end may finish.
    #[serde(default)]
    pub(crate) processes_end_at: Option<Timestamp>,
    /// `activating`, `active`, `ending`.
    #[serde(default)]
    pub(crate) stage: Option<String>,
    /// What could not be taken back yet, and why.
    #[serde(default)]
    pub(crate) not_clean: Option<String>,
    /// Commands that run under it.
    #[serde(default)]
    pub(crate) sessions: Option<u64>,
}

/// A use of break-glass that waits for a review.
#[derive(Debug, Deserialize)]
pub(crate) struct Review {
    /// The access.
    pub(crate) id: String,
    /// Whose.
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// Their uid.
    #[serde(default)]
    pub(crate) uid: Option<u32>,
    /// The rule that gave it.
    #[serde(default)]
    pub(crate) rule: String,
    /// The role.
    #[serde(default)]
    pub(crate) role: Option<String>,
    /// Why.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// When.
    #[serde(default)]
    pub(crate) at: Option<Timestamp>,
    /// It is not over.
    #[serde(default)]
    pub(crate) active: bool,
    /// It is the asker's own.
    #[serde(default)]
    pub(crate) own: bool,
}

/// One session.
#[derive(Debug, Deserialize)]
pub(crate) struct Session {
    /// `ID.n`.
    pub(crate) session: String,
    /// Who asked.
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// Their uid.
    #[serde(default)]
    pub(crate) uid: Option<u32>,
    /// As whom it runs.
    #[serde(default)]
    pub(crate) target: Option<String>,
    /// Its words; empty for a bare shell.
    #[serde(default)]
    pub(crate) argv: Vec<Bytes>,
    /// The rule that gave it.
    #[serde(default)]
    pub(crate) rule: Option<String>,
    /// The role.
    #[serde(default)]
    pub(crate) role: Option<String>,
    /// When it began.
    #[serde(default)]
    pub(crate) started: Option<Timestamp>,
    /// Its absolute end.
    #[serde(default)]
    pub(crate) ends_at: Option<Timestamp>,
    /// What is recorded.
    #[serde(default)]
    pub(crate) record: Option<Record>,
    /// How many of its programs run.
    #[serde(default)]
    pub(crate) running: Option<u64>,
    /// When it ended.
    #[serde(default)]
    pub(crate) ended: Option<Timestamp>,
    /// How it ended.
    #[serde(default)]
    pub(crate) ending: Option<Ending>,
}

/// The policy in force.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PolicyStatus {
    /// Its digest; none when none was ever applied.
    pub(crate) policy: Option<String>,
    /// Rules of all kinds.
    pub(crate) rules: Option<u64>,
    /// Roles.
    pub(crate) roles: Option<u64>,
    /// Its files.
    pub(crate) files: Vec<String>,
    /// When it was applied.
    pub(crate) applied_at: Option<Timestamp>,
    /// By whom.
    pub(crate) applied_by: Option<String>,
    /// Why the applied policy cannot be used.
    pub(crate) trouble: Option<String>,
}

/// What came of an apply.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Compiled, and (unless a dry run) in force.
    Done(Box<Applied>),
    /// It has errors.
    Refused {
        /// The compiler's text.
        text: String,
        /// How many.
        errors: u64,
    },
    /// Trouble of the daemon's own.
    Failed(String),
}

/// A compiled policy, summed up.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Applied {
    /// Its digest.
    pub(crate) policy: String,
    /// The digest of the one in force before.
    pub(crate) previous: Option<String>,
    /// Rules of all kinds.
    pub(crate) rules: u64,
    /// Roles.
    pub(crate) roles: u64,
    /// Its files.
    pub(crate) files: Vec<String>,
    /// The compiler's warnings.
    pub(crate) warnings: String,
    /// Rules and roles that are new, gone, changed: `allow NAME`, `role NAME`.
    pub(crate) added: Vec<String>,
    /// See `added`.
    pub(crate) removed: Vec<String>,
    /// See `added`.
    pub(crate) changed: Vec<String>,
    /// Roles that are held and would end.
    pub(crate) ends: Vec<WouldEnd>,
    /// How many more.
    pub(crate) more_end: u64,
}

/// A role that is held and would end.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct WouldEnd {
    /// The access.
    pub(crate) id: String,
    /// Whose.
    pub(crate) user: String,
    /// The role.
    pub(crate) role: String,
}

/// The daemon's health.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    /// The decider's version.
    pub(crate) version: String,
    /// Enrolled name of the host.
    pub(crate) host: String,
    /// When it started.
    pub(crate) since: Option<Timestamp>,
    /// Digest of the policy in force.
    pub(crate) policy: Option<String>,
    /// The spawner.
    pub(crate) spawner: SpawnerStatus,
    /// The ledger.
    pub(crate) ledger: LedgerStatus,
    /// Why the applied policy cannot be used.
    pub(crate) policy_trouble: Option<String>,
    /// Where copies of events go.
    pub(crate) outputs: Outputs,
    /// Running sessions.
    pub(crate) sessions: Option<u64>,
    /// Open connections.
    pub(crate) connections: Option<u64>,
    /// Locked accounts, as far as one may hear of them.
    pub(crate) locked: Vec<Lock>,
    /// What grants may have left.
    pub(crate) residue: ResidueCounts,
}

/// After how many grants nobody has looked at what they may have left.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ResidueCounts {
    /// It can still be looked at.
    pub(crate) waiting: u64,
    /// Dropped unseen.
    pub(crate) forgotten: u64,
}

/// Where copies of events go: `up` or `down`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Outputs {
    /// journald.
    pub(crate) journald: String,
    /// The syslog daemon.
    pub(crate) syslog: String,
    /// Copies that were dropped since the daemon started; the ledger has them.
    pub(crate) lost: u64,
}

/// What the decider knows of its spawner.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SpawnerStatus {
    /// It is there.
    pub(crate) connected: bool,
}

/// How the ledger is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LedgerStatus {
    /// Sequence of its head.
    pub(crate) seq: u64,
    /// Hash of its head.
    pub(crate) hash: String,
    /// How many segments.
    pub(crate) segments: Option<u64>,
    /// It takes durable records.
    pub(crate) sound: bool,
    /// Why not, or why nothing is given.
    pub(crate) cause: Option<String>,
    /// What the host's key signed of it.
    pub(crate) signed: SignedStatus,
}

/// How the ledger is signed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SignedStatus {
    /// Fingerprint of the host's key, once it has signed something.
    pub(crate) key: Option<String>,
    /// The newest signed line.
    pub(crate) seq: Option<u64>,
    /// Why the last signature could not be had.
    pub(crate) trouble: Option<String>,
}

/// One line of the ledger.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its place in the chain.
    pub(crate) seq: u64,
    /// What it says; the bare object when it is of a later version.
    pub(crate) says: Result<Entry, Value>,
}

impl Line {
    /// Reads a line as the decider gives it.
    pub(crate) fn of(value: &Value) -> Self {
        let seq = value.get("seq").and_then(Value::as_u64).unwrap_or(0);
        Self { seq, says: serde_json::from_value(value.clone()).map_err(|_| value.clone()) }
    }

    /// When it happened.
    pub(crate) fn wall(&self) -> Option<Timestamp> {
        match &self.says {
            Ok(entry) => Some(entry.wall),
            Err(value) => value.get("wall")?.as_str()?.parse().ok(),
        }
    }

    /// The access that it belongs to.
    pub(crate) fn access(&self) -> Option<&AccessId> {
        self.says.as_ref().ok()?.event.access()
    }
}
