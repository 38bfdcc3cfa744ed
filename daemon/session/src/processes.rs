//! The processes of the command: a cgroup's, or where none can be made all descendants of this process.
//!
//! MUSTs
//! 1. Nothing is signalled by a number that may have been used again: pidfd, membership read once more, signal.
//! 2. The session stays where the spawner put it: what PAM moved comes back or nothing runs (`Home`).

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};

use jitsudo_bytes::Bytes;
use jitsudo_link::session::Spec;
use jitsudo_sys::cgroup::{self, Cgroup};
use jitsudo_sys::nix::libc;
use jitsudo_sys::nix::unistd::{Pid, getpgid};
use jitsudo_sys::{descendants, pidfd};

use crate::failure::Failure;

/// Rounds of signalling where the kernel cannot do it at once: more can be born between two.
const ROUNDS: usize = 20;

/// Where the command's processes are found.
#[derive(Debug)]
pub(crate) enum Processes {
    /// In this cgroup.
    Cgroup(Cgroup),
    /// Below this process, their subreaper.
    Descendants,
}

impl Processes {
    /// The cgroup to clone the command into.
    pub(crate) fn directory(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Cgroup(group) => Some(group.directory()),
            Self::Descendants => None,
        }
    }

    /// Polls with POLLPRI when [`Self::is_empty`] may have changed.
    pub(crate) fn events(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Cgroup(group) => Some(group.events()),
            Self::Descendants => None,
        }
    }

    /// The live ones.
    pub(crate) fn list(&self) -> Vec<u32> {
        match self {
            Self::Cgroup(group) => group.processes().unwrap_or_default(),
            Self::Descendants => descendants::all(),
        }
    }

    /// None is left. A cgroup that cannot be read is not taken for empty.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Cgroup(group) => matches!(group.is_populated(), Ok(false)),
            Self::Descendants => descendants::all().is_empty(),
        }
    }

    /// Sends a signal to each; gives how many got it.
    pub(crate) fn signal(&self, signal: i32) -> u32 {
        self.signal_where(signal, |_| true)
    }

    /// Sends a signal to those of a process group. Never killpg(2): a terminal tells the number of its foreground group long after that
    /// has ended, when the number may be a stranger's.
    pub(crate) fn signal_group(&self, group: i32, signal: i32) -> u32 {
        let is_of_it = |pid: u32| {
            let pid = i32::try_from(pid).map(Pid::from_raw);
            pid.is_ok_and(|pid| getpgid(Some(pid)).is_ok_and(|found| found.as_raw() == group))
        };
        self.signal_where(signal, is_of_it)
    }

    fn signal_where(&self, signal: i32, wanted: impl Fn(u32) -> bool) -> u32 {
        let held: Vec<_> = self
            .list()
            .into_iter()
            .filter_map(|pid| Some((pid, pidfd::open(pid).ok()?)))
            .filter(|(pid, _)| wanted(*pid))
            .collect();
        let still: HashSet<u32> = self.list().into_iter().collect();
        let mut count = 0;
        for (pid, descriptor) in held {
            if still.contains(&pid) && pidfd::signal(descriptor.as_fd(), signal).is_ok() {
                count += 1;
            }
        }
        count
    }

    /// Kills all of them; gives how many there were.
    pub(crate) fn kill(&self) -> u32 {
        let count = u32::try_from(self.list().len()).unwrap_or(u32::MAX);
        if let Self::Cgroup(group) = self {
            // A frozen group keeps its dead.
            let _ = group.thaw();
            if group.kill().is_ok() {
                return count;
            }
        }
        for _ in 0..ROUNDS {
            if self.signal(libc::SIGKILL) == 0 {
                break;
            }
        }
        count
    }

    /// Names of the live ones, at most `limit`.
    pub(crate) fn names(&self, limit: usize) -> Vec<Bytes> {
        self.list().into_iter().filter_map(descendants::name).take(limit).map(Bytes).collect()
    }
}

/// The cgroup that the spawner put this process into.
pub(crate) struct Home {
    own: Option<String>,
    path: Option<String>,
}

impl Home {
    /// Reads it before PAM can move anything.
    pub(crate) fn of(spec: &Spec) -> Result<Self, Failure> {
        let own = cgroup::own();
        if let Some(path) = &spec.supervisor {
            let wanted = path.rsplit('/').next().map(|name| format!("/{name}"));
            if !own.as_deref().zip(wanted.as_deref()).is_some_and(|(own, wanted)| own.ends_with(wanted)) {
                let error = std::io::Error::other("it is not where the spawner says");
                return Err(Failure::trouble("find this session's cgroup", &error));
            }
        }
        Ok(Self { own, path: spec.supervisor.clone() })
    }

    /// Makes sure that this process is there still (pam_systemd moves what opens a session: tried with su -l).
    pub(crate) fn come_back(&self) -> Result<(), Failure> {
        if cgroup::own() == self.own {
            return Ok(());
        }
        if let Some(path) = &self.path {
            let moved = std::fs::write(format!("{path}/cgroup.procs"), std::process::id().to_string());
            if moved.is_ok() && cgroup::own() == self.own {
                return Ok(());
            }
        }
        let error = std::io::Error::other("a PAM module moved it");
        Err(Failure::trouble("stay in this session's cgroup", &error)
            .with_hint("take pam_systemd out of /etc/pam.d/jitsudo and jitsudo-i"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::process::Command;

    #[test]
    fn signal_ptrace_group_is_signalled_among_our_own_only() {
        let sleep = || Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let (mut wanted, mut other) = (sleep(), sleep());
        let group = i32::try_from(wanted.id()).unwrap();
        assert_eq!(Processes::Descendants.signal_group(group, libc::SIGTERM), 1);
        assert_eq!(wanted.wait().unwrap().signal(), Some(libc::SIGTERM));
        assert!(other.try_wait().unwrap().is_none());
        // A group that is nobody's of ours: process 1 stands for the stranger that got the number.
        assert_eq!(Processes::Descendants.signal_group(1, 0), 0);
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
