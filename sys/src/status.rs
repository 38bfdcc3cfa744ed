//! What wait(2) says of children, as raw statuses.

use std::io;

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// exit(n)
    Exited(u8),
    /// Killed by this signal.
    Signalled(u8),
}

/// Takes the next change of any child, stops included, without waiting: its pid and raw status.
#[must_use]
pub fn next_change() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: there is room for one status.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED) };
    (pid > 0).then_some((pid, status))
}

/// The signal that stopped it, when the status is a stop.
#[must_use]
pub fn stopped_by(status: i32) -> Option<i32> {
    libc::WIFSTOPPED(status).then(|| libc::WSTOPSIG(status))
}

/// How it ended, when the status is an end.
#[must_use]
pub fn ending(status: i32) -> Ended {
    if libc::WIFSIGNALED(status) {
        Ended::Signalled(u8::try_from(libc::WTERMSIG(status)).unwrap_or(0))
    } else {
        Ended::Exited(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(255))
    }
}

/// Sends a signal to a process group.
///
/// # Errors
/// killpg(3)'s.
pub fn kill_group(group: i32, signal: i32) -> io::Result<()> {
    if group <= 1 {
        // 0 and 1 mean other things to kill(2).
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: takes two integers.
    nix::errno::Errno::result(unsafe { libc::killpg(group, signal) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_statuses_are_told_apart() {
        assert_eq!(ending(3 << 8), Ended::Exited(3));
        assert_eq!(ending(15), Ended::Signalled(15));
        assert_eq!(ending(0x80 | 11), Ended::Signalled(11));
        assert_eq!(stopped_by((libc::SIGTSTP << 8) | 0x7f), Some(libc::SIGTSTP));
        assert_eq!(stopped_by(0), None);
        assert!(kill_group(1, 0).is_err() && kill_group(0, 0).is_err());
    }
}
