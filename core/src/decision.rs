//! What a decision is: never a bool, always the terms or the reason.

use serde::{Deserialize, Serialize};

use crate::facts::Group;
use jitsudo_bytes::Bytes;

/// The outcome of [`crate::evaluate::evaluate`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[must_use]
pub enum Decision {
    /// Allowed on these terms. Authentication and approval, where the terms ask for them, are still to come.
    Allow(Box<Terms>),
    /// Not allowed.
    Deny(Box<Denial>),
}

/// How freshly the requester must have proved who they are; ordered weakest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// No proof asked.
    None,
    /// A proof given a while ago from the same terminal will do.
    Cached,
    /// Now.
    Fresh,
}

/// How much of a session is kept beyond argv and status; ordered weakest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// argv and status only.
    None,
    /// The programs executed.
    Activity,
    /// The terminal's output.
    Terminal,
}

/// Which working directory the command starts in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cwd {
    /// The caller's, where the caller could open it (the default).
    Caller,
    /// The target's home.
    Home,
    /// This directory.
    Path(Bytes),
    /// The caller's, or the one asked for with `-D`.
    Any,
}

/// How the chosen role's commands run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunAs {
    /// Names (with `*` allowed at the end) of caller variables kept beyond the default list.
    pub env_keep: Vec<String>,
    /// The rule can run everything: what the command line asks for (`-E`, `--preserve-env=`, `NAME=value`) passes, unless it chooses code.
    #[serde(default)]
    pub env_free: bool,
    /// Variables set by the role.
    pub env_set: Vec<(String, String)>,
    /// Working directory.
    pub cwd: Cwd,
    /// Umask to add to; `None` = the caller's joined with 022.
    pub umask: Option<u32>,
    /// `no-new-privs`.
    pub no_new_privs: bool,
    /// `leaves`: what the command leaves running belongs to the host afterwards.
    pub leaves: bool,
    /// The rule names commands, so the executable's whole chain must be out of others' reach.
    pub safe_chain: bool,
    /// `create`: `-e` may make files that do not exist yet.
    #[serde(default)]
    pub create: bool,
}

/// What an allowed request gets, every require joined in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Terms {
    /// Name of the one rule that gives it (`root-is-root` for the built-in one).
    pub rule: String,
    /// Where that rule stands: `10-web.toml:14`.
    pub source: String,
    /// The role that it gives.
    pub role: String,
    /// Longest window, seconds.
    pub window: u64,
    /// Longest time that one command may run, seconds.
    pub run_time: u64,
    /// An allowed command starts within this many seconds.
    pub start_by: u64,
    /// Proof of identity needed.
    pub auth: Auth,
    /// Persons whose approval is needed; 0 = none.
    pub approvals: u32,
    /// What is kept.
    pub record: Record,
    /// Stays recordable on a full disk.
    pub when_full: bool,
    /// Absolute end that `hours` with `cut`, or `not-after`, puts on it; RFC 3339.
    pub not_after: Option<jiff::Timestamp>,
    /// Seconds of grace that `at-end = {finish = …}` gives running programs past the end; 0 = none.
    pub finish: u64,
    /// How long before the end the requester is told, seconds; longest first.
    #[serde(default = "crate::join::warnings")]
    pub warn: Vec<u64>,
    /// A budget counts it: for how many seconds after its end.
    #[serde(default)]
    pub counted: Option<u64>,
    /// It is break-glass: who is told, and who reviews.
    #[serde(default)]
    pub break_glass: Option<Glass>,
    /// How it runs.
    pub run_as: RunAs,
    /// Places in argv that `<secret>` matched: recorded as their length.
    pub secret_arguments: Vec<usize>,
    /// Names of the requires that were joined in.
    pub joined: Vec<String>,
    /// Groups that the session's processes are lent, by id; of a role that is asked for: those of its sessions.
    #[serde(default)]
    pub groups: Vec<Group>,
}

/// What a break-glass rule says of its uses: names as the policy writes them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Glass {
    /// Who reviews each use, beside those with the duty `review`.
    pub reviewers: Vec<String>,
    /// Who is told of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tell: Vec<String>,
}

/// Why a request is not allowed. `Display`ed to the requester in two or three lines by the client; never names other people's rules.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Denial {
    /// The one fact that failed.
    pub cause: Cause,
    /// What the requester reads under the headline: what the own nearest role covers, what would help. At most 3 lines.
    pub detail: Vec<String>,
    /// For the ledger and for `policy explain` under the `policy` duty only: the deny or require that decided, by name.
    pub by: Option<String>,
}

/// The kinds of denial.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No policy was ever applied.
    NoPolicy,
    /// No rule covers it.
    NotCovered,
    /// A deny matched.
    Denied,
    /// A rule would cover it at another time.
    NotNow,
    /// The rule needs a reason, or a longer one, or another form.
    ReasonNeeded,
    /// The rule needs a ticket, or another form.
    TicketNeeded,
    /// The asked window is longer than the rule gives.
    WindowTooLong,
    /// The program, or a directory on the way, can be written by others.
    UnsafeProgram,
    /// The asked account or group does not exist here.
    UnknownTarget,
    /// A group that the role lends does not exist here, or could not be looked up.
    NoGroup,
    /// The program cannot be run: not found, not executable, not regular.
    Unrunnable(crate::facts::NoExecutable),
    /// A variable on the command line that the role does not let through.
    Environment,
    /// A working directory that the role does not let through.
    WorkingDirectory,
    /// An obligation that this kind of effect cannot honour.
    Obligation,
    /// The rule's budget is used up.
    BudgetUsed,
    /// An earlier use of break-glass has not been reviewed.
    ReviewNeeded,
    /// The rule needs something that this version cannot do yet.
    NotSupported,
    /// The account, or the person's, is locked.
    Locked,
    /// Other people are needed, and their answers cannot be had or do not give it.
    Approval,
}
