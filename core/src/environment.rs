//! The environment of a command: what is set, what of the caller's is kept, and what never passes.
//!
//! MUST 1: it is built from lists of what may pass, never by removing from what came (`env_01_*`).
//! MUST 2: a value that begins with `()`, a name that is no plain name, a second entry of a name: dropped (`env_02_*`, `env_05_*`).
//! MUST 3: names that say who the command is or who asked come from the host's databases and the request alone (`env_10_*`).
//! MUST 4: variables that choose code are kept only by their exact name in `env-keep`, never by a pattern (`env_01_*`).
//!
//! The lists are sudo's (env.c, "env_reset" on): see sudoers(5), "Command environment".

mod lists;
mod making;

use std::collections::BTreeMap;

use jitsudo_bytes::Bytes;

use crate::decision::RunAs;
use crate::facts::Target;
use crate::id::AccessId;
use crate::name::{Gid, Uid};

pub use lists::is_hostile;
pub use making::{Cause, Explained};

use making::{Keeper, Making, by_pam};

/// Most variables that a caller may send.
pub const MAX_VARIABLES: usize = 1024;
/// Most bytes that they may have together.
pub const MAX_BYTES: usize = 256 * 1024;
/// Most bytes of arguments in SUDO_COMMAND.
const MAX_ARGUMENTS: usize = 4096;

/// Everything that decides the environment of one command.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The caller's environment as sent: `NAME=value` each, unchecked.
    pub caller: &'a [Bytes],
    /// `VAR=value` words of the command line, in order.
    pub assignments: &'a [Bytes],
    /// Names of `--preserve-env=`; `*` for `-E`.
    pub preserve: &'a [Bytes],
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
    /// Path of the requester's own terminal, if there is one, for SUDO_TTY (sudo 1.9.17).
    pub tty: Option<&'a str>,
    /// `-i`: a role's `env-keep` does not keep HOME.
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
    let kept = explain(inputs).into_iter().filter_map(|one| Some((one.name, one.value?)));
    kept.collect()
}

/// Says of every variable that was set, kept or dropped why it is so, sorted by name, each name once.
#[must_use]
pub fn explain(inputs: &Inputs<'_>) -> Vec<Explained> {
    let mut making = Making::default();
    let keeper = Keeper::of(inputs);
    let caller = first_of_each(inputs.caller);
    for (name, value) in &caller {
        making.judge(name, value, keeper.keeps(name, value, keeper.is_asked(name)));
    }
    for entry in inputs.caller.iter().filter(|entry| split(&entry.0).is_none()) {
        making.drop(name_of(&entry.0), Cause::NoPlainName);
    }
    if let Some(prompt) = caller.get(&b"SUDO_PS1"[..])
        && !prompt.starts_with(b"()")
    {
        making.set(b"PS1", prompt, Cause::KeptByDefault);
    }
    for (name, value) in first_of_each(inputs.pam) {
        if !making.has(name) {
            making.judge(name, value, by_pam(name, value));
        }
    }
    for entry in inputs.assignments {
        match split(&entry.0) {
            Some((name, value)) => making.judge(name, value, keeper.keeps(name, value, true)),
            None => making.drop(name_of(&entry.0), Cause::NoPlainName),
        }
    }
    set_identity(inputs, &mut making);
    for (name, value) in &inputs.run_as.env_set {
        if !lists::is_ours(name.as_bytes()) {
            making.set(name.as_bytes(), value.as_bytes(), Cause::SetByRole);
        }
    }
    making.finish()
}

/// Names of the caller's variables that were asked for by `-E` and are not there: the command line's own are refused before.
#[must_use]
pub fn not_preserved(inputs: &Inputs<'_>) -> Vec<Bytes> {
    if !inputs.preserve.iter().any(|name| name.0 == b"*") {
        return Vec::new();
    }
    // Every shell sets `_` for each command that it runs: nobody asked for it.
    let dropped = explain(inputs).into_iter().filter(|one| one.value.is_none() && one.name.0 != b"_");
    dropped.map(|one| one.name).collect()
}

/// What the databases and the request say; nothing above can override it.
fn set_identity(inputs: &Inputs<'_>, making: &mut Making) {
    let kept = |name: &str| inputs.run_as.env_keep.iter().any(|keep| keep == name);
    let target = inputs.target;
    // LOGNAME and USER travel together; kept means the requester's account, whatever the caller's variable says.
    let keeps_user = kept("USER") || kept("LOGNAME");
    let user = if keeps_user { inputs.user } else { &target.name };
    let keeps_home = kept("HOME") && !inputs.login;
    let home = if keeps_home { inputs.home } else { &target.home };
    let cause = |keeps: bool, name: &str| if keeps { Cause::KeptByRole(name.to_owned()) } else { Cause::Base };
    let mut set = |name: &str, value: &[u8], cause: Cause| {
        let value: Vec<u8> = value.iter().copied().filter(|byte| *byte != 0).collect();
        making.set(name.as_bytes(), &value, cause);
    };
    set("LOGNAME", user.as_bytes(), cause(keeps_user, if kept("LOGNAME") { "LOGNAME" } else { "USER" }));
    set("USER", user.as_bytes(), cause(keeps_user, if kept("USER") { "USER" } else { "LOGNAME" }));
    set("HOME", home.as_bytes(), cause(keeps_home, "HOME"));
    set("SHELL", if target.shell.is_empty() { b"/bin/sh" } else { target.shell.as_bytes() }, Cause::Base);
    set("MAIL", format!("/var/mail/{}", target.name).as_bytes(), Cause::Base);
    set("PATH", inputs.secure_path.as_bytes(), Cause::Base);
    set("SUDO_USER", inputs.user.as_bytes(), Cause::Base);
    set("SUDO_UID", inputs.uid.0.to_string().as_bytes(), Cause::Base);
    set("SUDO_GID", inputs.gid.0.to_string().as_bytes(), Cause::Base);
    set("SUDO_HOME", inputs.home.as_bytes(), Cause::Base);
    set("SUDO_COMMAND", &command(inputs.command), Cause::Base);
    if let Some(tty) = inputs.tty {
        set("SUDO_TTY", tty.as_bytes(), Cause::Base);
    }
    set("JITSUDO_ID", inputs.id.as_str().as_bytes(), Cause::Base);
    set("JITSUDO_USER", inputs.user.as_bytes(), Cause::Base);
    if !making.has(b"TERM") {
        making.set(b"TERM", b"unknown", Cause::Base);
    }
}

/// The program's path, then its arguments, of which sudo keeps so many bytes (host test `env_10_*_variables_are_those_of_sudo`).
fn command(words: &[Bytes]) -> Vec<u8> {
    let Some((program, arguments)) = words.split_first() else { return Vec::new() };
    let mut command = program.0.clone();
    if !arguments.is_empty() {
        let mut arguments = arguments.iter().map(|word| word.0.as_slice()).collect::<Vec<_>>().join(&b' ');
        arguments.truncate(MAX_ARGUMENTS);
        command.push(b' ');
        command.extend(arguments);
    }
    command
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

/// What stands before the first `=`, for the answer alone.
fn name_of(entry: &[u8]) -> &[u8] {
    entry.split(|byte| *byte == b'=').next().unwrap_or_default()
}

/// True when a variable that the command line names passes under these `env-keep` names; its value is judged by [`build`].
/// `free`: the rule can run everything.
pub(crate) fn may_pass(name: &[u8], keep: &[String], free: bool) -> bool {
    let by_default = lists::is_kept_by_default(name) || (free && !is_hostile(name));
    !lists::is_ours(name) && lists::is_name(name) && (by_default || lists::is_kept_by(name, keep).is_some())
}
