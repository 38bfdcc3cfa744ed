//! What a PAM module may not leave behind in this process: closed or exchanged descriptors, another uid, handlers, a mask.

use std::collections::BTreeSet;

use jitsudo_sys::nix::libc;
use jitsudo_sys::nix::sys::stat::{Mode, umask};
use jitsudo_sys::nix::unistd::{geteuid, getuid};
use jitsudo_sys::{child, files, signals};

use crate::record;

/// The process as it was before modules ran.
pub(crate) struct Before {
    descriptors: BTreeSet<(i32, String)>,
    uids: (u32, u32),
}

impl Before {
    /// Takes down what is.
    pub(crate) fn note() -> std::io::Result<Self> {
        Ok(Self { descriptors: files::open_descriptors()?, uids: uids() })
    }

    /// Puts back what can be, and ends this process where a module took away what it must not: its descriptors may be others' by now,
    /// so nothing is said on any of them. The decider records the access as lost.
    pub(crate) fn or_die(&self) {
        for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGALRM] {
            signals::reset(signal);
        }
        signals::ignore(libc::SIGPIPE);
        let _ = signals::unblock_all();
        umask(Mode::from_bits_truncate(0o077));
        if !self.is_same() {
            record::say_unattached("cannot go on: a PAM module changed this process's descriptors or uid");
            child::exit_now(70);
        }
    }

    fn is_same(&self) -> bool {
        uids() == self.uids && files::open_descriptors().is_ok_and(|now| self.descriptors.is_subset(&now))
    }
}

fn uids() -> (u32, u32) {
    (getuid().as_raw(), geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_or_exchanged_descriptor_is_noticed_and_a_new_one_is_not() {
        let (kept, gone) = std::io::pipe().unwrap();
        let before = Before::note().unwrap();
        let new = std::io::pipe().unwrap();
        assert!(before.is_same());
        drop(gone);
        assert!(!before.is_same());
        // The lowest free number is the one that was closed.
        let exchanged = std::io::pipe().unwrap();
        assert!(!before.is_same());
        drop((kept, new, exchanged));
    }
}
