//! What the client passed: its standard descriptors, its working directory, its terminal.
//!
//! MUSTs
//! 1. Exactly the announced number of descriptors, else nothing runs (`wrong_number_of_descriptors_is_refused`).
//! 2. The caller's terminal never reaches the command: it is replaced by the session's (`fd_tty_terminal_is_replaced`, CVE-2016-2779).
//!    Another terminal that the caller opened as input or output is a device like any other, as with sudo: it controls nobody here, so
//!    nothing can be typed into it (TIOCSTI wants the controlling terminal, or CAP_SYS_ADMIN).
//! 3. Nothing of the caller's is closed while a command runs, pipes and terminals aside: a FUSE file answers the close when its daemon
//!    likes, a socket may linger, and the deadline would wait with it (`dos_file_is_not_closed_before_the_end`). The end of this process
//!    closes them.
//! 4. Directories and O_PATH descriptors are refused as input and output (`fd_tty_directory_or_path_is_refused`).

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use jitsudo_protocol::client::FaultCode;
use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::{files, terminal};

use crate::failure::Failure;

/// One of descriptors 0, 1, 2.
#[derive(Debug)]
pub(crate) enum Standard {
    /// It is the user's terminal: the command gets the session's.
    Terminal,
    /// A pipe: the command gets it, and nobody waits for its end because of this process.
    Pipe(OwnedFd),
    /// A file, socket or device: the command gets it untouched; this process keeps it.
    Kept(ManuallyDrop<OwnedFd>),
}

/// All that was passed.
#[derive(Debug)]
pub(crate) struct Descriptors {
    /// Input, output, error.
    pub(crate) standard: [Standard; 3],
    /// The working directory, O_PATH.
    pub(crate) directory: ManuallyDrop<OwnedFd>,
    /// The user's terminal.
    pub(crate) terminal: Option<OwnedFd>,
}

/// Sorts the descriptors that came with the act.
pub(crate) fn sort(descriptors: Vec<OwnedFd>, with_terminal: bool) -> Result<Descriptors, Failure> {
    let mut left = descriptors.into_iter();
    let (Some(input), Some(output), Some(error), Some(directory)) =
        (left.next(), left.next(), left.next(), left.next())
    else {
        return Err(wrong_number());
    };
    let terminal = left.next();
    if left.next().is_some() || terminal.is_some() != with_terminal {
        return Err(wrong_number());
    }
    if let Some(terminal) = &terminal {
        let path_only = files::is_path_only(terminal.as_fd()).unwrap_or(true);
        if path_only || !is_terminal(terminal.as_fd()) {
            return Err(Failure::refused(FaultCode::Malformed, "what was passed as the terminal is none"));
        }
    }
    let standard = [
        standard("standard input", input, terminal.as_ref())?,
        standard("standard output", output, terminal.as_ref())?,
        standard("standard error", error, terminal.as_ref())?,
    ];
    Ok(Descriptors { standard, directory: ManuallyDrop::new(directory), terminal })
}

/// The same device, or one of them does not answer (hung up): then it is not risked.
fn is_same_terminal(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    match (terminal::device(one), terminal::device(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => true,
    }
}

/// A FUSE file can answer as a terminal does, but it is no device.
fn is_terminal(descriptor: BorrowedFd<'_>) -> bool {
    files::is_character_device(descriptor) && terminal::is_terminal(descriptor)
}

fn standard(what: &str, descriptor: OwnedFd, users: Option<&OwnedFd>) -> Result<Standard, Failure> {
    let descriptor = ManuallyDrop::new(descriptor);
    let refuse =
        |why: &str| Err(Failure::cannot(FaultCode::Malformed, format!("cannot use {what}: {why}"), Errno::EINVAL));
    match files::is_path_only(descriptor.as_fd()) {
        Ok(false) => {}
        Ok(true) | Err(_) => return refuse("it is opened only as a path"),
    }
    match files::is_directory(descriptor.as_fd()) {
        Ok(false) => {}
        Ok(true) | Err(_) => return refuse("it is a directory"),
    }
    if is_terminal(descriptor.as_fd()) {
        let Some(users) = users else {
            return refuse("it is a terminal that was not passed as one");
        };
        if !is_same_terminal(descriptor.as_fd(), users.as_fd()) {
            return Ok(Standard::Kept(descriptor));
        }
        drop(ManuallyDrop::into_inner(descriptor));
        return Ok(Standard::Terminal);
    }
    if files::is_fifo(descriptor.as_fd()) {
        return Ok(Standard::Pipe(ManuallyDrop::into_inner(descriptor)));
    }
    Ok(Standard::Kept(descriptor))
}

fn wrong_number() -> Failure {
    Failure::refused(FaultCode::Malformed, "the act came with a wrong number of descriptors")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_sys::pty::Pty;
    use std::fs::File;
    use std::os::unix::fs::OpenOptionsExt as _;

    fn null() -> OwnedFd {
        File::open("/dev/null").unwrap().into()
    }
    fn folder() -> OwnedFd {
        File::open("/").unwrap().into()
    }
    fn tty() -> OwnedFd {
        let pty = Pty::open(jitsudo_sys::nix::unistd::getuid().as_raw()).unwrap();
        // The master may go: the slave stays a terminal as long as it is not asked for input. Keep it all the same.
        std::mem::forget(pty.master);
        pty.slave
    }

    #[test]
    fn wrong_number_of_descriptors_is_refused() {
        for count in [0, 3, 5, 6] {
            let given = (0..count).map(|_| null()).collect();
            assert!(matches!(sort(given, false), Err(Failure::Refused { .. })), "{count}");
        }
        assert!(matches!(sort(vec![null(), null(), null(), folder()], true), Err(Failure::Refused { .. })));
        assert!(matches!(sort(vec![null(), null(), null(), folder(), null()], true), Err(Failure::Refused { .. })));
    }

    #[test]
    fn fd_tty_terminal_is_replaced() {
        let users = tty();
        let copy = users.try_clone().unwrap();
        let sorted = sort(vec![null(), copy, null(), folder(), users], true).unwrap();
        assert!(matches!(sorted.standard, [Standard::Kept(_), Standard::Terminal, Standard::Kept(_)]));
        assert!(sort(vec![null(), tty(), null(), folder()], false).is_err());
    }

    #[test]
    fn fd_tty_another_terminal_is_a_device_like_any_other() {
        let sorted = sort(vec![null(), tty(), tty(), folder(), tty()], true).unwrap();
        assert!(matches!(sorted.standard, [Standard::Kept(_), Standard::Kept(_), Standard::Kept(_)]));
    }

    #[test]
    fn dos_file_is_not_closed_before_the_end() {
        let (pipe, _writer) = std::io::pipe().unwrap();
        let file = tempfile();
        let number = std::os::fd::AsRawFd::as_raw_fd(&file);
        let sorted = sort(vec![pipe.into(), file, null(), folder()], false).unwrap();
        assert!(matches!(sorted.standard, [Standard::Pipe(_), Standard::Kept(_), Standard::Kept(_)]));
        drop(sorted);
        assert!(std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok());
    }

    fn tempfile() -> OwnedFd {
        File::open("/proc/self/comm").unwrap().into()
    }

    #[test]
    fn fd_tty_directory_or_path_is_refused() {
        assert!(sort(vec![folder(), null(), null(), folder()], false).is_err());
        let path =
            std::fs::OpenOptions::new().read(true).custom_flags(jitsudo_sys::nix::libc::O_PATH).open("/etc/shadow");
        assert!(
            sort(vec![null(), null(), path.unwrap().as_fd().try_clone_to_owned().unwrap(), folder()], false).is_err()
        );
    }
}
