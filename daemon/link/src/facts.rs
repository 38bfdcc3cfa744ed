//! Spawner ⇄ `jitsudo-facts`: one question a message, one answer a message, two seconds each.

use std::collections::BTreeSet;

use jitsudo_bytes::Bytes;
use jitsudo_core::facts::{Fact, Facts, Group, Requester};
use serde::{Deserialize, Serialize};

/// The peer of a connection by the kernel: SO_PEERCRED, held by a pidfd.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Peer {
    /// Process id in the daemon's pid namespace; 0 when it has none there.
    pub pid: u32,
    /// Effective uid at connect.
    pub uid: u32,
    /// Effective gid at connect.
    pub gid: u32,
}

/// What is to be found out. The peer's pidfd is attached to the message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Question {
    /// Who is at the other end.
    pub peer: Peer,
    /// What for.
    pub about: About,
    /// How these accounts stand now, by uid: nothing else is asked then, and no pidfd attached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<u32>,
    /// The accounts at terminals that take messages, likewise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub here: bool,
    /// Whose answer this is, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Box<Proof>>,
}

/// An answer that was signed elsewhere, and whose it would be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Proof {
    /// The text that was signed.
    pub card: String,
    /// The signature.
    pub signature: String,
    /// The keys of one person, as the policy writes them.
    pub keys: Vec<String>,
    /// Their accounts, by name or `#UID`.
    pub accounts: Vec<String>,
}

/// See [`Proof`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Proved {
    /// The key that made it, as the policy writes it.
    pub key: String,
    /// Those of the accounts that are there, and neither locked nor expired.
    pub accounts: Vec<Requester>,
}

/// The part of a question that the decider may choose.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct About {
    /// `-u`, as typed; absent = root (or the requester, when only a group is asked, or `own`).
    pub user: Option<String>,
    /// `-g`, as typed.
    pub group: Option<String>,
    /// `argv[0]`, when a program is to run.
    pub program: Option<Bytes>,
    /// `-s`: the program is the requester's shell. `-i`: the target's.
    pub shell: Option<WhichShell>,
    /// Words of the act that are absolute paths, with their index: whether root alone can move what they name.
    pub words: Vec<(usize, Bytes)>,
    /// Programs of denies, to be compared by device and inode.
    pub same_as: Vec<String>,
    /// Explain as if this account asked (its groups by NSS; nothing is known of a process). Never used for a start.
    pub subject: Option<String>,
    /// The target is the requester's own account, where neither `user` nor `group` is asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
    /// Groups that a role may lend, as the policy names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The program's content is to be digested: somebody is to say yes to it.
    #[serde(default)]
    pub hash: bool,
}

/// A file that is run, by place and content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hashed {
    /// Its path: directories resolved, last component as asked.
    pub path: Bytes,
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// SHA-256 of its content.
    pub sha256: [u8; 32],
}

/// A program, and what runs it where it is a script.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HashedProgram {
    /// The file.
    pub file: Hashed,
    /// Its interpreter.
    pub interpreter: Option<Hashed>,
}

/// Which account's shell is to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhichShell {
    /// The requester's login shell by NSS (the caller's `$SHELL` is not to be trusted with a privilege).
    Requester,
    /// The target's login shell by NSS.
    Target,
}

/// What a command inherits from its caller, read from the peer as root.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Process {
    /// Start time in clock ticks since boot (proc(5), stat field 22): with the pid it names one process.
    pub start_ticks: u64,
    /// Device number of the controlling terminal; 0 = none.
    pub tty: u64,
    /// Path of that terminal under /dev, for PAM and the record.
    pub tty_name: Option<String>,
    /// Nice value.
    pub nice: i32,
    /// CPUs that it may run on.
    pub cpus: Vec<u32>,
    /// Resource limits: (RLIMIT_ number, soft, hard).
    pub limits: Vec<(u32, u64, u64)>,
    /// SIGHUP is ignored (nohup).
    pub hangup_ignored: bool,
    /// umask of the process.
    pub umask: u32,
    /// Session id (setsid) of the process and the start time of that session's leader.
    pub leader: (u32, u64),
    /// Audit session id, if set.
    pub audit_session: Option<u32>,
    /// Inode of its mount namespace.
    pub mount_namespace: u64,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// All that could be learnt; host and labels are filled in by whoever evaluates.
    Learnt(Box<Learnt>),
    /// The peer is not one that may ask at all; nothing is evaluated.
    Refused(String),
    /// How accounts stand.
    Accounts(Vec<Account>),
    /// It is that person's.
    Proved(Box<Proved>),
}

/// One account as the databases have it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Account {
    /// What was asked for.
    pub uid: u32,
    /// What is there; nothing where no database has it.
    pub entry: Fact<Option<Entry>>,
}

/// See [`Account`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Primary group.
    pub gid: u32,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
    /// Every group that the databases list for it.
    pub groups: Fact<BTreeSet<Group>>,
    /// It stands in this host's own passwd(5).
    pub local: bool,
    /// It was locked, or is expired, by shadow(5).
    pub locked: Fact<bool>,
}

/// The facts of a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Learnt {
    /// For the evaluator.
    pub facts: Facts,
    /// For the session; absent for a `subject`.
    pub process: Option<Process>,
    /// The program's content, where it was asked for and could be read in time.
    #[serde(default)]
    pub program: Option<HashedProgram>,
    /// The peer is inside a session of jitsudo's; the spawner fills it in. `None`: it cannot be told.
    #[serde(default)]
    pub inside: Option<bool>,
}
