//! Root while there is no daemon: root needs no rule, and must not be locked out of its own host. It runs the command itself, and says
//! so in syslog.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use jitsudo_bytes::Bytes;
use jitsudo_protocol::act::ActKind;
use jitsudo_sys::nix::unistd::{geteuid, getuid};
use jitsudo_sys::syslog::{self, Severity, Syslog};
use jitsudo_sys::{files, terminal};

use crate::background::Starter;
use crate::ending::End;
use crate::options::Run;
use crate::say::{StatusFd, Voice, words};

/// Where commands are looked up, as in a session.
const SECURE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What the kernel shows while no login uid is set.
const UNSET: &str = "4294967295";

/// Runs the command in this process's place when the caller is root and no person is known behind it; `None` when it is not for us.
pub(crate) fn run_as_root(
    run: &Run,
    voice: &Voice,
    status: Option<&StatusFd>,
    starter: Option<&Starter>,
) -> Option<End> {
    if !getuid().is_root() || !geteuid().is_root() || !is_root_itself() {
        return None;
    }
    let as_root = matches!(run.user.as_deref(), None | Some("root" | "#0"));
    if !as_root
        || run.group.is_some()
        || matches!(run.kind, ActKind::Edit | ActKind::Validate | ActKind::Role | ActKind::Approve)
    {
        return None;
    }
    // Nobody would be there to keep the time.
    if run.timeout.is_some() {
        return None;
    }
    let mut command = command(run);
    let shown: Vec<String> = run.argv.iter().map(|word| Bytes(word.clone()).visible()).collect();
    let line = format!("jitsudod is away; root ran by itself: {} {}", kind(run.kind), shown.join(" "));
    let _ = Syslog::new(Path::new(syslog::SOCKET), "jitsudo").send(Severity::Warning, &line);
    if files::standard().into_iter().all(terminal::is_terminal) {
        let _ = writeln!(std::io::stderr(), "jitsudo: jitsudod is away: run by root itself, which syslog records");
    }
    // The command takes this process's place: nothing can be told after this.
    if let Some(status) = status {
        status.line("rescue");
    }
    if let Some(starter) = starter {
        starter.started();
    }
    let error = command.exec();
    let name = Bytes(command.get_program().as_bytes().to_vec()).visible();
    voice.complain(&format!("cannot execute {name}: {}", words(&error)));
    if let Some(status) = status {
        status.line("failed");
    }
    Some(End::Code(1))
}

/// No person is behind this root: the login uid is unset or root's own.
fn is_root_itself() -> bool {
    // A kernel that keeps none knows nobody else.
    std::fs::read_to_string("/proc/self/loginuid").map_or(true, |text| matches!(text.trim(), UNSET | "0"))
}

fn command(run: &Run) -> Command {
    let shell = |name: &str| {
        let path =
            std::env::var_os("SHELL").filter(|path| Path::new(path).is_absolute()).unwrap_or_else(|| "/bin/sh".into());
        let mut command = Command::new(path);
        if !name.is_empty() {
            command.arg0(name);
        }
        command
    };
    let mut command = match (run.kind, run.argv.split_first()) {
        (ActKind::Command | ActKind::Edit | ActKind::Validate, Some((program, rest))) => {
            let mut command = Command::new(find(program));
            command.arg0(OsStr::from_bytes(program)).args(rest.iter().map(|word| OsStr::from_bytes(word)));
            command
        }
        (ActKind::LoginShell, _) => {
            let mut command = shell("-sh");
            command.current_dir("/root");
            command
        }
        (
            ActKind::Shell | ActKind::Command | ActKind::Edit | ActKind::Validate | ActKind::Role | ActKind::Approve,
            _,
        ) => shell(""),
    };
    if matches!(run.kind, ActKind::Shell | ActKind::LoginShell) && !run.argv.is_empty() {
        // "$@" gives the shell the words as they are.
        command.args(["-c", "\"$@\"", "jitsudo"]).args(run.argv.iter().map(|word| OsStr::from_bytes(word)));
    }
    command.env("PATH", SECURE_PATH).env("SUDO_USER", "root").env("SUDO_UID", "0").env("SUDO_GID", "0");
    for assignment in &run.env_set {
        let mut parts = assignment.splitn(2, |byte| *byte == b'=');
        if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
        }
    }
    if let Some(directory) = &run.chdir {
        command.current_dir(OsStr::from_bytes(directory));
    }
    command
}

/// On the secure path, never the caller's.
fn find(program: &[u8]) -> std::path::PathBuf {
    let name = Path::new(OsStr::from_bytes(program));
    if program.contains(&b'/') {
        return name.to_path_buf();
    }
    let found = SECURE_PATH.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| Path::new("/").join("nonexistent").join(name))
}

fn kind(kind: ActKind) -> &'static str {
    match kind {
        ActKind::Command => "command",
        ActKind::Shell => "shell",
        ActKind::LoginShell => "login shell",
        ActKind::Edit => "edit",
        ActKind::Validate => "validate",
        ActKind::Role => "role",
        ActKind::Approve => "approve",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cmd_match_04_programs_are_found_on_the_secure_path_only() {
        assert!(find(b"sh").is_absolute());
        assert_eq!(find(b"./x"), Path::new("./x"));
        assert!(!find(b"no-such-program").exists());
    }
}
