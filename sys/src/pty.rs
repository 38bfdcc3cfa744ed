//! Pseudo-terminals (pty(7)), the slave opened without a path (TIOCGPTPEER, ioctl_tty(2)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, unlockpt};

/// Both ends of a new pseudo-terminal, close-on-exec.
#[derive(Debug)]
pub struct Pty {
    /// The end that reads what programs write; non-blocking.
    pub master: OwnedFd,
    /// The end that programs have.
    pub slave: OwnedFd,
    /// The slave's path, for PAM and `tty(1)`.
    pub name: String,
}

impl Pty {
    /// Makes one; the slave belongs to `owner` (write permission for the group that devpts gives it, as mesg(1) expects).
    ///
    /// # Errors
    /// No pseudo-terminal is left, or /dev/ptmx is missing.
    pub fn open(owner: u32) -> io::Result<Self> {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = peer(&master)?;
        let name = nix::pty::ptsname_r(&master)?;
        nix::unistd::fchown(&slave, Some(nix::unistd::Uid::from_raw(owner)), None)?;
        nix::sys::stat::fchmod(&slave, nix::sys::stat::Mode::from_bits_truncate(0o620))?;
        let master = master.as_fd().try_clone_to_owned()?;
        Ok(Self { master, slave, name })
    }
}

fn peer(master: &PtyMaster) -> io::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes open flags as an integer.
    let number = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    nix::errno::Errno::result(number)?;
    // SAFETY: the call returned this new descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::{self, Modes, OutputProcessing, Size};
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn slave_is_the_owners_and_has_the_size_that_was_set() {
        let pty = Pty::open(nix::unistd::getuid().as_raw()).unwrap();
        let metadata = std::fs::metadata(&pty.name).unwrap();
        assert_eq!(metadata.uid(), nix::unistd::getuid().as_raw());
        assert_eq!(metadata.mode() & 0o777, 0o620);
        let size = Size { rows: 33, columns: 101, width: 0, height: 0 };
        terminal::set_size(pty.master.as_fd(), size).unwrap();
        assert_eq!(terminal::size(pty.slave.as_fd()).unwrap(), size);
        assert!(terminal::is_terminal(pty.slave.as_fd()));
    }

    #[test]
    fn raw_modes_are_set_and_given_back() {
        let pty = Pty::open(nix::unistd::getuid().as_raw()).unwrap();
        let before = Modes::of(pty.slave.as_fd()).unwrap();
        assert!(before.adds_carriage_returns());
        before.raw(OutputProcessing::Off).set(pty.slave.as_fd()).unwrap();
        assert!(!Modes::of(pty.slave.as_fd()).unwrap().adds_carriage_returns());
        before.raw(OutputProcessing::Kept).set(pty.slave.as_fd()).unwrap();
        assert!(Modes::of(pty.slave.as_fd()).unwrap().adds_carriage_returns());
        before.set(pty.slave.as_fd()).unwrap();
        assert_eq!(Modes::of(pty.slave.as_fd()).unwrap(), before);
    }
}
