//! What is asked for: the part of a request that a policy can see.

use serde::{Deserialize, Serialize};

use jitsudo_bytes::Bytes;

/// What kind of thing is to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One program with its arguments (`argv`).
    Command,
    /// `-s`, `-s CMD`: a shell, perhaps with a command line for it.
    Shell,
    /// `-i`, `-i CMD`: the target's login shell.
    LoginShell,
    /// `-e`: edit the files in `argv`.
    Edit,
    /// `jitctl request ROLE`: the whole role for a window.
    Role,
    /// `-v`: prove who you are, for anything that a rule lets you ask for; nothing runs.
    Validate,
    /// `jitctl approve ID`: say yes to another's request; no rule gives that.
    Approve,
}

/// A request as policy sees it. Who asks and where is in [`crate::facts::Facts`], never here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// What kind of thing.
    pub kind: Kind,
    /// The words as asked; `argv[0]` is compared through `Facts::executable`. Empty for a bare shell or a role.
    pub argv: Vec<Bytes>,
    /// `--role`: only this role is to be used.
    pub role: Option<String>,
    /// `-u`: an account name or `#id`, as asked.
    pub user: Option<String>,
    /// `-g`: a group name or `#id`, as asked.
    pub group: Option<String>,
    /// `-m`: why.
    pub reason: Option<String>,
    /// `--ticket`.
    pub ticket: Option<String>,
    /// `--for`, in seconds: the window asked for.
    pub window: Option<u64>,
    /// `-T`, in seconds: the command is to run no longer than this.
    pub timeout: Option<u64>,
    /// `--break-glass`.
    pub break_glass: bool,
    /// Names of variables given on the command line (`VAR=value`) or asked to be kept (`--preserve-env=`).
    pub env_names: Vec<Bytes>,
    /// `-D DIR`: a working directory asked for.
    pub cwd: Option<Bytes>,
    /// The session will have a terminal that can be recorded.
    pub terminal: bool,
}
