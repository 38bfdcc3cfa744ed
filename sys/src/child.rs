//! Starts our own helpers: a program, its arguments, one socket as descriptor 3, nothing else of ours.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::channel::Channel;

/// The descriptor that the started program finds its socket on.
pub const SOCKET_NUMBER: RawFd = 3;

/// A started helper: known by pidfd, reaped by [`Child::reap`].
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    pidfd: OwnedFd,
}

/// Ends this process at once: no destructor, no handler.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes an integer and does not return.
    unsafe { libc::_exit(status) }
}

/// Starts a program with `socket` as its descriptor 3, /dev/null as its input, an environment of PATH alone, and our output and error.
///
/// # Errors
/// fork(2)'s and execve(2)'s.
pub fn start(program: &Path, arguments: &[&str], socket: &Channel) -> io::Result<Child> {
    let number = socket.as_raw_fd();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .current_dir("/");
    let hand_over = move || {
        let outcome = if number == SOCKET_NUMBER {
            // SAFETY: fcntl is async-signal-safe and takes integers only; the number is open here as it was in the parent.
            unsafe { libc::fcntl(number, libc::F_SETFD, 0) }
        } else {
            // SAFETY: dup2 is async-signal-safe and takes integers only; the number is open here as it was in the parent.
            unsafe { libc::dup2(number, SOCKET_NUMBER) }
        };
        if outcome < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: close_range takes integers only; it marks what lies above for exec, std's own error pipe too, which is meant to close.
        let marked = unsafe { libc::close_range(4, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) };
        if marked < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: the closure only makes async-signal-safe calls and allocates nothing, as pre_exec asks for between fork and exec.
    unsafe { command.pre_exec(hand_over) };
    let process = command.spawn()?;
    // The child is not reaped before `reap`, so its number still means it.
    let pidfd = crate::pidfd::open(process.id())?;
    Ok(Child { process, pidfd })
}

impl Child {
    /// Its process id; means this child until it is reaped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Readable when it has ended.
    #[must_use]
    pub fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Ends it by SIGKILL and reaps it.
    pub fn end(mut self) {
        // Both fail only when it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Takes its status if it has ended; true when it has.
    pub fn reap(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// It has ended, and not by exiting with status 0.
    pub fn has_failed(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(Some(status)) if !status.success())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helper_finds_its_socket_and_nothing_else() {
        let (ours, theirs) = Channel::pair().unwrap();
        let script = "ls -m /proc/self/fd >&3 3>&-";
        let mut child = start(Path::new("/bin/sh"), &["-c", script], &theirs).unwrap();
        drop(theirs);
        let said = ours.receive().unwrap().unwrap().bytes;
        let said = String::from_utf8(said).unwrap();
        // 3 is the listing's own here (the socket became its output), 10 the shell's copy.
        assert!(["0, 1, 2, 3", "0, 1, 10, 2, 3"].contains(&said.trim()), "{said}");
        while !child.reap() {
            std::thread::yield_now();
        }
    }
}
