//! Logins to gated accounts that belong to a role that is held: each has a note in `/run/jitsudo/logins`, and ends with the role.
//!
//! What belongs to a login: everything in the scope that logind made for it, the process that asked with its descendants, and for an
//! account other than root what runs under its uid in the group of the process that asked, since it asked.
//!
//! MUSTs
//! 1. Nothing is signalled by a number that may have been used again: start time read once more with the pidfd held (`signal`).
//! 2. Nothing is killed for running as root, or for being of the caller's own session (`target_*`).
//! 3. A restarted spawner finds them again, and ends those whose role it does not hold any more (`Logins::load`).

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jitsudo_core::event::Event;
use jitsudo_core::id::AccessId;
use jitsudo_link::LOGINS;
use jitsudo_sys::nix::libc;
use jitsudo_sys::{descendants, pidfd, process};
use serde::{Deserialize, Serialize};

/// Largest note, bytes.
const MAX_NOTE_BYTES: u64 = 8 * 1024;
/// Where cgroups are.
const CGROUPS: &str = "/sys/fs/cgroup";
/// How long the scope of a new login is looked for often, milliseconds.
const YOUNG_MS: u64 = 5_000;
/// Pause between looks while a login is young or ending, milliseconds.
const OFTEN_MS: u64 = 100;

/// What is noted of one login.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Note {
    id: AccessId,
    account: String,
    uid: Option<u32>,
    service: String,
    /// The process that asked, and when it was started (clock ticks).
    pid: u32,
    start_ticks: u64,
    /// When it asked (clock ticks of the youngest process then).
    since_ticks: u64,
    /// Its group when it asked.
    group: Option<String>,
    /// The scope that logind gave it since.
    #[serde(default)]
    scope: Option<String>,
}

/// One login.
#[derive(Debug)]
struct Login {
    note: Note,
    /// Who asked, while that lives.
    asker: Option<OwnedFd>,
    young_until_ms: u64,
    /// When what is left is killed.
    kill_ms: Option<u64>,
    killed: u32,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    all: Vec<Login>,
}

impl Logins {
    /// Finds what an earlier spawner noted; and in words what of it nobody can read any more.
    pub(crate) fn load(now_ms: u64) -> (Self, Vec<String>) {
        let (mut all, mut trouble) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(LOGINS).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let text = jitsudo_sys::trusted::read(&entry.path(), MAX_NOTE_BYTES);
            let note = text.map_err(|error| error.to_string()).and_then(|text| {
                serde_json::from_slice::<Note>(&text.unwrap_or_default()).map_err(|error| error.to_string())
            });
            match note {
                Ok(note) => {
                    let asker = pidfd::open(note.pid).ok().filter(|_| starts(note.pid) == Some(note.start_ticks));
                    all.push(Login { note, asker, young_until_ms: now_ms, kill_ms: None, killed: 0 });
                }
                // By its number alone no process is signalled: it may be another's by now.
                Err(why) => trouble.push(format!(
                    "a login under a role may outlast it: its note {} cannot be read: {why}; see `loginctl`",
                    entry.path().display()
                )),
            }
        }
        (Self { all }, trouble)
    }

    /// The roles that logins belong to.
    pub(crate) fn roles(&self) -> BTreeSet<AccessId> {
        self.all.iter().map(|login| login.note.id.clone()).collect()
    }

    /// A login belongs to a role from now on. False when it cannot be noted: then it must not begin.
    pub(crate) fn open(
        &mut self,
        id: &AccessId,
        (account, uid, service): (&str, Option<u32>, &str),
        (pid, asker): (u32, OwnedFd),
        now_ms: u64,
    ) -> bool {
        let Some(start_ticks) = starts(pid) else { return false };
        let note = Note {
            id: id.clone(),
            account: account.to_owned(),
            uid,
            service: service.to_owned(),
            pid,
            start_ticks,
            since_ticks: ticks_now(),
            group: group_of(pid),
            scope: None,
        };
        if write(&note).is_err() {
            return false;
        }
        let young_until_ms = now_ms.saturating_add(YOUNG_MS);
        self.all.push(Login { note, asker: Some(asker), young_until_ms, kill_ms: None, killed: 0 });
        true
    }

    /// Begins the end of a role's logins: asked first, killed after the grace.
    pub(crate) fn begin_end(&mut self, id: &AccessId, now_ms: u64, grace_ms: u64) {
        for login in self.all.iter_mut().filter(|login| login.note.id == *id && login.kill_ms.is_none()) {
            login.find_scope();
            login.kill_ms = Some(now_ms.saturating_add(grace_ms));
            // A shell minds no TERM, but its terminal's end.
            login.signal(libc::SIGTERM);
            login.signal(libc::SIGHUP);
        }
    }

    /// The roles of whose logins anything is left.
    pub(crate) fn accesses(&self) -> impl Iterator<Item = &AccessId> {
        self.all.iter().map(|login| &login.note.id)
    }

    /// Looks after all of them; gives what is to be recorded.
    pub(crate) fn on_time(&mut self, now_ms: u64) -> Vec<Event> {
        let mut over = Vec::new();
        self.all.retain_mut(|login| {
            login.find_scope();
            if login.kill_ms.is_some_and(|kill_ms| kill_ms <= now_ms) {
                login.killed = login.killed.saturating_add(login.signal(libc::SIGKILL));
            }
            let is_left = login.asker_lives() || !login.targets().is_empty();
            if !is_left {
                let Note { id, account, pid, .. } = &login.note;
                let (id, account, pid) = (id.clone(), account.clone(), *pid);
                over.push(Event::LoginClosed { id, account, pid, killed: login.killed });
                let _ = fs::remove_file(place(&login.note));
            }
            is_left
        });
        over
    }

    /// How long nobody has to look, milliseconds; `None` when there is nothing to look after.
    pub(crate) fn pause_ms(&self, now_ms: u64) -> Option<u64> {
        let often = |login: &Login| login.kill_ms.is_some() || login.young_until_ms > now_ms;
        let pause = if self.all.iter().any(often) { OFTEN_MS } else { 1_000 };
        (!self.all.is_empty()).then_some(pause)
    }
}

impl Login {
    fn asker_lives(&self) -> bool {
        self.asker.as_ref().is_some_and(|asker| pidfd::is_alive(asker.as_fd()))
    }

    /// logind moves who asked into a scope of its own when the session is opened, after the module has asked.
    fn find_scope(&mut self) {
        if self.note.scope.is_some() || !self.asker_lives() {
            return;
        }
        let found = group_of(self.note.pid).filter(|group| Some(group) != self.note.group.as_ref());
        self.note.scope = found.filter(|group| is_scope_of(group, self.note.uid));
        if self.note.scope.is_some() {
            // Without it a restarted spawner looks for it again, while who asked lives.
            let _ = write(&self.note);
        }
    }

    /// What belongs to it and has not ended.
    fn targets(&self) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        if let Some(scope) = &self.note.scope {
            collect(&Path::new(CGROUPS).join(scope.trim_start_matches('/')), &mut found, 4);
        }
        if self.asker_lives() {
            found.insert(self.note.pid);
            found.extend(descendants::of(self.note.pid));
        }
        if let (Some(uid @ 1..), Some(group), None) = (self.note.uid, &self.note.group, &self.note.scope) {
            let mut beside = BTreeSet::new();
            collect(&Path::new(CGROUPS).join(group.trim_start_matches('/')), &mut beside, 0);
            found.extend(beside.into_iter().filter(|pid| is_since(*pid, uid, self.note.since_ticks)));
        }
        found
    }

    /// Sends a signal to each; gives how many got it.
    fn signal(&self, signal: i32) -> u32 {
        let held: Vec<_> =
            self.targets().into_iter().filter_map(|pid| Some((pid, starts(pid)?, pidfd::open(pid).ok()?))).collect();
        let still = self.targets();
        let sent = held.into_iter().filter(|(pid, start, descriptor)| {
            still.contains(pid) && starts(*pid) == Some(*start) && pidfd::signal(descriptor.as_fd(), signal).is_ok()
        });
        u32::try_from(sent.count()).unwrap_or(u32::MAX)
    }
}

/// `session-N.scope` in the slice of the account, as logind names them.
fn is_scope_of(group: &str, uid: Option<u32>) -> bool {
    let Some(uid) = uid else { return false };
    let rest = group.strip_prefix(&format!("/user.slice/user-{uid}.slice/session-"));
    rest.and_then(|rest| rest.strip_suffix(".scope"))
        .is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn is_since(pid: u32, uid: u32, since_ticks: u64) -> bool {
    process::read(pid).is_ok_and(|found| found.uids.contains(&uid) && found.start_ticks >= since_ticks)
}

/// The live processes of a group and of those below it.
fn collect(group: &Path, found: &mut BTreeSet<u32>, depth: u32) {
    let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    // 0 is a process that this one cannot see.
    found.extend(procs.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0));
    for entry in fs::read_dir(group).into_iter().flatten().flatten().filter(|_| depth > 0) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found, depth - 1);
        }
    }
}

fn starts(pid: u32) -> Option<u64> {
    process::start_ticks(pid).ok()
}

/// Now, in the clock ticks that processes are dated by.
fn ticks_now() -> u64 {
    // proc(5): hundredths of a second on every architecture that packages are made for.
    jitsudo_sys::clock::boottime_ms() / 10
}

/// The group of a process in the unified hierarchy.
fn group_of(pid: u32) -> Option<String> {
    let text = fs::read_to_string(process::path(pid, "cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

fn place(note: &Note) -> PathBuf {
    Path::new(LOGINS).join(format!("{}.{}", note.id, note.pid))
}

fn write(note: &Note) -> std::io::Result<()> {
    let fresh = Path::new(LOGINS).join(format!(".{}.{}", note.id, note.pid));
    let _ = fs::remove_file(&fresh);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(&serde_json::to_vec(note)?)?;
    fs::rename(&fresh, place(note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_scope_is_of_the_account_and_of_logind() {
        assert!(is_scope_of("/user.slice/user-1002.slice/session-c1.scope", Some(1002)));
        assert!(is_scope_of("/user.slice/user-0.slice/session-46.scope", Some(0)));
        for (group, uid) in [
            ("/user.slice/user-1001.slice/session-4.scope", Some(1002)),
            ("/user.slice/user-1002.slice/session-4.scope", None),
            ("/user.slice/user-1002.slice/user@1002.service", Some(1002)),
            ("/user.slice/user-1002.slice/session-.scope", Some(1002)),
            ("/user.slice/user-1002.slice/session-4.scope/x", Some(1002)),
            ("/system.slice/ssh.service", Some(1002)),
            ("/", Some(0)),
        ] {
            assert!(!is_scope_of(group, uid), "{group}");
        }
    }

    #[test]
    fn target_beside_the_asker_is_of_the_account_and_younger() {
        let own = std::process::id();
        let read = process::read(own).unwrap();
        let [uid, ..] = read.uids;
        assert!(is_since(own, uid, read.start_ticks) && !is_since(own, uid, read.start_ticks + 1));
        assert!(!is_since(own, uid + 1, 0) && !is_since(u32::MAX, uid, 0));
    }
}
