//! What runs because of one login: everything in the scope that logind made for it, the process that asked for it with its descendants,
//! what carries the audit session that the login's own login uid made, and for an account other than root what runs under its uid in
//! the group of the process that asked, since it asked.
//!
//! MUSTs
//! 1. Nothing is signalled by a number that may have been used again: with the pidfd held the criterion and the start time are read once
//!    more (`signal_*`).
//! 2. Nothing is found for running as root, or for being of the caller's own session (`target_*`).

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;

use crate::{clock, descendants, pidfd, process};

/// Where cgroups are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// By what the processes of one login are found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Traces<'a> {
    /// The account that was entered.
    pub uid: Option<u32>,
    /// The process that asked.
    pub pid: u32,
    /// When that was started, clock ticks since boot.
    pub start_ticks: u64,
    /// When it asked, clock ticks since boot.
    pub since_ticks: u64,
    /// Its group when it asked.
    pub group: Option<&'a str>,
    /// The scope that logind gave it since.
    pub scope: Option<&'a str>,
    /// Its audit session when it asked.
    pub audit_before: Option<u32>,
    /// The audit session that its login made since.
    pub audit_session: Option<u32>,
}

impl Traces<'_> {
    /// True while the process that asked lives.
    #[must_use]
    pub fn asker_lives(&self) -> bool {
        let held = pidfd::open(self.pid);
        held.is_ok_and(|held| starts(self.pid) == Some(self.start_ticks) && pidfd::is_alive(held.as_fd()))
    }

    /// The scope of logind and the audit session that the process that asked has by now: both come after it asked. Each is known for good
    /// once it was seen; `None` as long as there is none of its own, or the process is gone.
    #[must_use]
    pub fn found_since(&self) -> (Option<String>, Option<u32>) {
        let group = group_of(self.pid).filter(|group| Some(group.as_str()) != self.group);
        let scope = group.filter(|group| is_scope_of(group, self.uid));
        let audit_session = process::audit_session(self.pid).ok().flatten().filter(|it| Some(*it) != self.audit_before);
        // Read first: what has its number now may be another.
        if self.asker_lives() { (scope, audit_session) } else { (None, None) }
    }

    /// What belongs to it and has not ended.
    #[must_use]
    pub fn targets(&self) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        if let Some(scope) = self.scope {
            collect(&Path::new(CGROUPS).join(scope.trim_start_matches('/')), &mut found, 4);
        }
        if self.asker_lives() {
            found.insert(self.pid);
            found.extend(descendants::of(self.pid));
        }
        if let Some(session) = self.audit_session {
            let of_it = |pid: &u32| matches!(process::audit_session(*pid), Ok(Some(its)) if its == session);
            found.extend(process::all().unwrap_or_default().into_iter().filter(of_it).filter(|pid| !is_dead(*pid)));
        }
        if let (Some(uid @ 1..), Some(group), None) = (self.uid, self.group, self.scope) {
            let mut beside = BTreeSet::new();
            collect(&Path::new(CGROUPS).join(group.trim_start_matches('/')), &mut beside, 0);
            found.extend(beside.into_iter().filter(|pid| is_since(*pid, uid, self.since_ticks)));
        }
        found
    }

    /// Sends a signal to each; gives how many got it.
    #[must_use]
    pub fn signal(&self, signal: i32) -> u32 {
        let held: Vec<_> =
            self.targets().into_iter().filter_map(|pid| Some((pid, starts(pid)?, pidfd::open(pid).ok()?))).collect();
        let still = self.targets();
        let sent = held.into_iter().filter(|(pid, start, descriptor)| {
            still.contains(pid) && starts(*pid) == Some(*start) && pidfd::signal(descriptor.as_fd(), signal).is_ok()
        });
        u32::try_from(sent.count()).unwrap_or(u32::MAX)
    }
}

/// Now, in the clock ticks that processes are dated by.
#[must_use]
pub fn ticks_now() -> u64 {
    // proc(5): hundredths of a second on every architecture that packages are made for.
    clock::boottime_ms() / 10
}

/// The group of a process in the unified hierarchy.
#[must_use]
pub fn group_of(pid: u32) -> Option<String> {
    let text = fs::read_to_string(process::path(pid, "cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
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

/// A process that has ended and waits for its parent: nothing of it runs.
fn is_dead(pid: u32) -> bool {
    pidfd::open(pid).map_or(true, |held| !pidfd::is_alive(held.as_fd()))
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

    #[test]
    fn target_of_root_is_no_other_process_of_root() {
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut asker = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let group = group_of(asker.id());
        let traces = Traces {
            uid: Some(0),
            pid: asker.id(),
            start_ticks: starts(asker.id()).unwrap(),
            since_ticks: 0,
            group: group.as_deref(),
            scope: None,
            audit_before: process::audit_session(asker.id()).unwrap(),
            audit_session: None,
        };
        assert_eq!(traces.targets(), BTreeSet::from([asker.id()]), "not the sleep beside it, nor this test");
        // Another process by that number, or one that ended, is not who asked.
        assert!(Traces { start_ticks: traces.start_ticks + 1, ..traces }.targets().is_empty());
        assert_eq!(traces.signal(libc::SIGKILL), 1);
        asker.wait().unwrap();
        assert!(traces.targets().is_empty() && traces.signal(libc::SIGKILL) == 0);
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
