//! The environment of a command: what is set, what of the caller's is kept, and what never passes.
//!
//! MUST 1: it is built from lists of what may pass, never by removing from what came (`env_01_*`).
//! MUST 2: a value that begins with `()`, a name that is no plain name, a second entry of a name: dropped (`env_02_*`, `env_05_*`).
//! MUST 3: names that say who the command is or who asked come from the host's databases and the request alone (`env_10_*`).
//! MUST 4: variables that choose code are kept only by their exact name in `env-keep`, never by a pattern (`env_01_*`).
//!
//! The lists are sudo's (env.c, "env_reset" on): see sudoers(5), "Command environment".

mod lists;

use std::collections::BTreeMap;

use jitsudo_bytes::Bytes;

use crate::decision::RunAs;
use crate::facts::Target;
use crate::id::AccessId;
use crate::name::{Gid, Uid};

pub use lists::is_hostile;

/// Most variables that a caller may send.
pub const MAX_VARIABLES: usize = 1024;
/// Most bytes that they may have together.
pub const MAX_BYTES: usize = 256 * 1024;
/// Longest SUDO_COMMAND, bytes.
const MAX_COMMAND: usize = 4096;

/// Everything that decides the environment of one command.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The caller's environment as sent: `NAME=value` each, unchecked.
    pub caller: &'a [Bytes],
    /// `VAR=value` words of the command line, in order.
    pub assignments: &'a [Bytes],
    /// `NAME=value` entries that the PAM stack wants; they fill gaps and pass the same filter.
    pub pam: &'a [Bytes],
    /// The chosen role's `env-keep` and `env-set`.
    pub run_as: &'a RunAs,
    /// True only for the built-in rule `root-is-root`: a `*` then keeps hostile names as well.
    pub root_is_root: bool,
    /// As whom the command runs.
    pub target: &'a Target,
    /// The requester's uid, for SUDO_UID.
    pub uid: Uid,
    /// The requester's primary gid, for SUDO_GID.
    pub gid: Gid,
    /// The requester's account, for SUDO_USER and JITSUDO_USER.
    pub user: &'a str,
    /// The requester's home, for SUDO_HOME.
    pub home: &'a str,
    /// The program's path and its arguments, for SUDO_COMMAND.
    pub command: &'a [Bytes],
    /// The PATH that the command gets.
    pub secure_path: &'a str,
    /// Path of the session's terminal, if it has one, for SUDO_TTY.
    pub tty: Option<&'a str>,
    /// `-i`: only TERM and DISPLAY of the default lists survive.
    pub login: bool,
    /// The access, for JITSUDO_ID.
    pub id: &'a AccessId,
}

/// A caller's environment has too many variables or bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLarge {
    /// How many variables came.
    pub variables: usize,
    /// How many bytes they have.
    pub bytes: usize,
}

impl std::fmt::Display for TooLarge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the environment has {} variables and {} bytes; at most {MAX_VARIABLES} and {MAX_BYTES} are read",
            self.variables, self.bytes
        )
    }
}
impl std::error::Error for TooLarge {}

/// Refuses an environment that is not worth reading.
///
/// # Errors
/// [`TooLarge`] beyond [`MAX_VARIABLES`] or [`MAX_BYTES`].
pub fn check_size(caller: &[Bytes]) -> Result<(), TooLarge> {
    let bytes = caller.iter().map(|entry| entry.0.len()).fold(0usize, usize::saturating_add);
    if caller.len() > MAX_VARIABLES || bytes > MAX_BYTES {
        return Err(TooLarge { variables: caller.len(), bytes });
    }
    Ok(())
}

/// Builds the final environment, sorted by name, each name once.
#[must_use]
pub fn build(inputs: &Inputs<'_>) -> Vec<(Bytes, Bytes)> {
    let mut all: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let keeper = Keeper { keep: &inputs.run_as.env_keep, root_is_root: inputs.root_is_root, login: inputs.login };
    let caller = first_of_each(inputs.caller);
    for (name, value) in &caller {
        if keeper.keeps(name, value) {
            all.insert(name.to_vec(), value.to_vec());
        }
    }
    if let Some(prompt) = caller.get(&b"SUDO_PS1"[..])
        && !inputs.login
        && !prompt.starts_with(b"()")
    {
        all.insert(b"PS1".to_vec(), prompt.to_vec());
    }
    for (name, value) in first_of_each(inputs.pam) {
        if lists::may_come_from_pam(name) && lists::is_sound(name, value) {
            all.entry(name.to_vec()).or_insert_with(|| value.to_vec());
        }
    }
    for assignment in inputs.assignments {
        if let Some((name, value)) = split(&assignment.0)
            && keeper.keeps(name, value)
        {
            all.insert(name.to_vec(), value.to_vec());
        }
    }
    set_identity(inputs, &mut all);
    for (name, value) in &inputs.run_as.env_set {
        if !lists::is_ours(name.as_bytes()) {
            all.insert(name.as_bytes().to_vec(), value.as_bytes().to_vec());
        }
    }
    all.into_iter().map(|(name, value)| (Bytes(name), Bytes(value))).collect()
}

/// What the databases and the request say; nothing above can override it.
fn set_identity(inputs: &Inputs<'_>, all: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
    let kept = |name: &str| inputs.run_as.env_keep.iter().any(|keep| keep == name);
    let target = inputs.target;
    // LOGNAME and USER travel together; kept means the requester's account, whatever the caller's variable says.
    let user = if kept("USER") || kept("LOGNAME") { inputs.user } else { &target.name };
    let home = if kept("HOME") && !inputs.login { inputs.home } else { &target.home };
    let mut set = |name: &str, value: &[u8]| {
        all.insert(name.as_bytes().to_vec(), value.iter().copied().filter(|byte| *byte != 0).collect());
    };
    set("LOGNAME", user.as_bytes());
    set("USER", user.as_bytes());
    set("HOME", home.as_bytes());
    set("SHELL", if target.shell.is_empty() { b"/bin/sh" } else { target.shell.as_bytes() });
    set("MAIL", format!("/var/mail/{}", target.name).as_bytes());
    set("PATH", inputs.secure_path.as_bytes());
    set("SUDO_USER", inputs.user.as_bytes());
    set("SUDO_UID", inputs.uid.0.to_string().as_bytes());
    set("SUDO_GID", inputs.gid.0.to_string().as_bytes());
    set("SUDO_HOME", inputs.home.as_bytes());
    let mut command = inputs.command.iter().map(|word| word.0.as_slice()).collect::<Vec<_>>().join(&b' ');
    command.truncate(MAX_COMMAND);
    set("SUDO_COMMAND", &command);
    if let Some(tty) = inputs.tty {
        set("SUDO_TTY", tty.as_bytes());
    }
    set("JITSUDO_ID", inputs.id.as_str().as_bytes());
    set("JITSUDO_USER", inputs.user.as_bytes());
    all.entry(b"TERM".to_vec()).or_insert_with(|| b"unknown".to_vec());
}

/// Splits `NAME=value`; `None` when it is not of that form or the name is no plain name.
fn split(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = entry.iter().position(|byte| *byte == b'=')?;
    let (name, value) = entry.split_at(at);
    let value = value.get(1..)?;
    (lists::is_name(name) && !value.contains(&0)).then_some((name, value))
}

/// The first well-formed entry of each name, as getenv(3) would find it.
fn first_of_each(entries: &[Bytes]) -> BTreeMap<&[u8], &[u8]> {
    let mut all = BTreeMap::new();
    for (name, value) in entries.iter().filter_map(|entry| split(&entry.0)) {
        all.entry(name).or_insert(value);
    }
    all
}

/// What of the caller's environment passes.
struct Keeper<'a> {
    keep: &'a [String],
    root_is_root: bool,
    login: bool,
}

impl Keeper<'_> {
    fn keeps(&self, name: &[u8], value: &[u8]) -> bool {
        if lists::is_ours(name) || value.starts_with(b"()") || !lists::is_name(name) {
            return false;
        }
        let by_role =
            lists::is_kept_by(name, self.keep) || (self.root_is_root && self.keep.iter().any(|keep| keep == "*"));
        let by_default =
            if self.login { matches!(name, b"TERM" | b"DISPLAY") } else { lists::is_kept_by_default(name) };
        (by_role || by_default) && lists::is_sound(name, value)
    }
}

/// True when a variable given on the command line passes under these `env-keep` names; its value is judged by [`build`].
pub(crate) fn may_pass(name: &[u8], keep: &[String]) -> bool {
    !lists::is_ours(name) && lists::is_name(name) && (lists::is_kept_by_default(name) || lists::is_kept_by(name, keep))
}
