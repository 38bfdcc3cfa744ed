//! Processes by descriptor: never signalled or awaited by a number that may have been used again (pidfd_open(2)).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Opens a descriptor for a live process. The pid may name another process by now: compare what identifies it afterwards.
///
/// # Errors
/// pidfd_open(2)'s: no such process.
pub fn open(pid: u32) -> io::Result<OwnedFd> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let number = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let number = i32::try_from(number).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call returned this new descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sends a signal to exactly that process (pidfd_send_signal(2)).
///
/// # Errors
/// It is gone (ESRCH), or not ours to signal.
pub fn signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: a null siginfo asks for the one that kill(2) would send; no memory of ours is touched.
    let outcome = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// True while the process has not ended (a zombie has).
#[must_use]
pub fn is_alive(pidfd: BorrowedFd<'_>) -> bool {
    let mut entry = [nix::poll::PollFd::new(pidfd, nix::poll::PollFlags::POLLIN)];
    matches!(nix::poll::poll(&mut entry, nix::poll::PollTimeout::ZERO), Ok(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn ended_process_is_seen_and_cannot_be_signalled() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = open(child.id()).unwrap();
        assert!(is_alive(pidfd.as_fd()));
        signal(pidfd.as_fd(), libc::SIGKILL).unwrap();
        child.wait().unwrap();
        assert!(!is_alive(pidfd.as_fd()));
        assert_eq!(signal(pidfd.as_fd(), 0).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
