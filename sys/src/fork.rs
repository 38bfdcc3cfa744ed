//! fork(2), for a program with one thread.

use std::io;

use nix::unistd::ForkResult;

/// Which of the two this process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forked {
    /// The copy.
    Child,
    /// The one that was there before, and the copy's process id.
    Parent(i32),
}

/// Makes a copy of this process.
///
/// # Errors
/// fork(2)'s; `Unsupported` when this process has several threads: the copy would have one of them, and the others' locks for ever.
pub fn fork() -> io::Result<Forked> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    // SAFETY: this process has one thread, as just read, and only that one could start another: no lock is held by anybody else.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => Ok(Forked::Child),
        ForkResult::Parent { child } => Ok(Forked::Parent(child.as_raw())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_with_threads_is_not_copied() {
        // The harness runs this in a thread beside its own.
        assert_eq!(fork().unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
}
