//! What is known of a request's surroundings. Gathered as root by `jitsudo-facts`, never taken from a message.
//!
//! MUST: every fact is a value or unknown, and unknown never widens: it makes an allow not match and a require or deny match
//! (held by the property tests of `evaluate`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::name::{Gid, Uid};
use jitsudo_bytes::Bytes;

/// A fact: its value, or that it could not be learnt (in JSON: the bare value under `"is"`, or the string `"unknown"`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact<T> {
    /// Learnt from the kernel or the host's databases.
    Is(T),
    /// Not learnt: timed out, unreadable, not translatable.
    Unknown,
}

/// What an absent field of an older writer says: nothing is known.
fn unknown<T>() -> Fact<T> {
    Fact::Unknown
}

impl<T> Fact<T> {
    /// The value, if it is known.
    #[must_use]
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Unknown => None,
        }
    }
}

/// A group with its name on this host; `None` where NSS has no name for the id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Group {
    /// The id that counts.
    pub gid: Gid,
    /// Its name, exact bytes as UTF-8.
    pub name: Option<String>,
}

/// Who asks: the kernel's word on the peer, and what NSS says of that uid.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Requester {
    /// The uid that real, effective, saved and filesystem uid of the peer all equal (a difference is refused before any evaluation).
    pub uid: Uid,
    /// The primary gid of the peer process.
    pub gid: Gid,
    /// The account's name by NSS; unknown when NSS did not answer or has none.
    pub name: Fact<String>,
    /// Every group that the databases list for the account, primary included: complete, or unknown. This is what an allow reads.
    pub groups: Fact<BTreeSet<Group>>,
    /// The groups that the peer process carries now. A deny or require reads these as well.
    pub process_groups: Fact<BTreeSet<Group>>,
    /// Memberships that jitsudo itself lent: they count nowhere in `who`, teams or duties.
    pub lent_groups: BTreeSet<Gid>,
    /// The audit login uid: `Is(None)` when never set.
    pub loginuid: Fact<Option<Uid>>,
    /// The name of the loginuid's account.
    pub login_name: Fact<Option<String>>,
    /// Every group that the databases list for the loginuid's account: asked for only where uid 0 acts for a person, else unknown.
    #[serde(default = "unknown")]
    pub login_groups: Fact<BTreeSet<Group>>,
    /// The account's shell, home directory from NSS.
    pub home: Fact<String>,
    /// See `home`.
    pub shell: Fact<String>,
}

/// Where a request comes from, by the kernel and by what logind recorded as root under the peer's audit session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// The peer has a controlling terminal.
    pub terminal: bool,
    /// The peer is in another namespace or root than the spawner, or has NoNewPrivs or more seccomp filters.
    pub sandbox: bool,
    /// The peer is in this system service's cgroup.
    pub unit: Option<String>,
    /// A login recorded on this host's own console or seat.
    pub console: Fact<bool>,
    /// A login recorded as coming from elsewhere.
    pub ssh: Fact<bool>,
    /// The literal address recorded for it; unknown when only a name was recorded.
    pub address: Fact<Option<std::net::IpAddr>>,
}

/// The account that the command is to run as, resolved on this host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Target {
    /// Its uid.
    pub uid: Uid,
    /// Its name (`#1002` where NSS has none and an id was asked for).
    pub name: String,
    /// The primary gid that the command gets.
    pub gid: Gid,
    /// The name of that group, where one was asked for.
    pub group: Option<String>,
    /// Supplementary groups that the command gets.
    pub groups: Vec<Gid>,
    /// Home directory by NSS.
    pub home: String,
    /// Login shell by NSS.
    pub shell: String,
}

/// One file on the way to the program, as it was when it was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// Absolute path of this directory, link or file.
    pub path: Bytes,
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Status change time, nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Owner.
    pub uid: Uid,
    /// Type and permission bits.
    pub mode: u32,
}

/// The program that an `argv[0]` stands for, as the target user would find it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Executable {
    /// Directories resolved, last component kept as asked: what is compared with policy and what is executed.
    pub path: Bytes,
    /// Everything on the way, in order: directories, links, the final file, then the same for a `#!` interpreter.
    pub chain: Vec<Seen>,
    /// The first element of the chain that somebody but root (or the target) can write; `None` when there is none.
    pub writable_by_others: Option<Bytes>,
    /// The program is listed in /etc/shells.
    pub is_shell: bool,
    /// Which of the paths asked about (programs named by denies) are the same file by device and inode.
    pub same_file_as: BTreeSet<String>,
}

/// Why there is no executable to speak of. Each is an answer to the requester, not a policy decision.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoExecutable {
    /// Nothing of that name on the secure path, or no such file.
    NotFound,
    /// It exists and the target may not execute it.
    NotExecutable,
    /// A directory, fifo, device or other thing that is not a regular file.
    NotRegular,
    /// The request runs no program (edit, validate).
    NotAsked,
}

/// Everything that a decision may read beside the request and the time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// The enrolled name of the host, lower case, from jitsudod.toml.
    pub host: String,
    /// The labels of the host, from jitsudod.toml or a signed bundle.
    pub labels: BTreeSet<String>,
    /// Who asks.
    pub requester: Requester,
    /// Where from.
    pub origin: Fact<Origin>,
    /// As whom; `Is(None)` when the asked account or group does not exist here.
    pub target: Fact<Option<Target>>,
    /// What is to run.
    pub executable: Fact<Result<Executable, NoExecutable>>,
    /// Which words of the request's argv (by index, 0 = the program) are absolute paths all of whose directories exist, are reached
    /// through no link, and can be written by root alone. `<path:DIR>` in a role matches no other word.
    #[serde(default)]
    pub rooted_arguments: BTreeSet<usize>,
    /// The caller's working directory as its process has it, when readable.
    pub cwd: Fact<Bytes>,
    /// Groups that a role may lend, as the policy names them, and which one that is here: `Is(None)` when there is none, and absent
    /// when nobody asked, which counts as unknown.
    #[serde(default)]
    pub lendable: BTreeMap<String, Fact<Option<Gid>>>,
}

impl Facts {
    /// What is known of an account with no process behind it: where it would ask from, and for what, is not.
    #[must_use]
    pub fn of_account(host: String, labels: BTreeSet<String>, requester: Requester) -> Self {
        Self {
            host,
            labels,
            requester,
            origin: Fact::Unknown,
            target: Fact::Unknown,
            executable: Fact::Is(Err(NoExecutable::NotAsked)),
            rooted_arguments: BTreeSet::new(),
            cwd: Fact::Unknown,
            lendable: BTreeMap::new(),
        }
    }
}
