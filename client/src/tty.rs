//! The user's terminal, by a description of our own: O_NONBLOCK on a shared one would break whoever has it next.
//!
//! MUSTs
//! 1. Modes are changed only in the foreground, or of a terminal that no job control of this process's is on, and given back on every
//!    way out (`Drop`).
//! 2. Where only a description is at hand that others share, it is left as it is, and nothing here waits for it longer than any program
//!    that writes there would.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use jitsudo_sys::files;
use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use jitsudo_sys::nix::unistd::{getpgrp, read, write};
use jitsudo_sys::terminal::{self, Modes, OutputProcessing};

/// Most bytes that are written at once by a shared description: a terminal that says it has room takes about so many (n_tty.c,
/// WAKEUP_CHARS).
const SHARED_BYTES: usize = 256;

/// The terminal that this program was called on.
#[derive(Debug)]
pub(crate) struct Tty {
    file: File,
    /// It is this process's controlling terminal.
    controlling: bool,
    /// The description is one of 0, 1 and 2, so reads and writes may wait.
    shared: bool,
    /// What the modes were before we changed them.
    before: Option<Modes>,
    output: OutputProcessing,
}

/// What came of reading or writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Moved {
    /// So many bytes.
    Bytes(usize),
    /// None now.
    Nothing,
    /// The terminal is gone.
    HungUp,
}

impl Tty {
    /// The controlling terminal, or whatever terminal is input, output or error; `None` without any.
    pub(crate) fn open() -> Option<Self> {
        let standard = files::standard();
        let reopened = || {
            standard.iter().filter(|one| terminal::is_terminal(**one)).find_map(|one| terminal::open_again(*one).ok())
        };
        // Called in a session of its own on a terminal of another account (setsid in a shell of su): the descriptor is all there is.
        let borrowed = || {
            let [input, output, error] = standard;
            let terminals = [output, error, input].into_iter().filter(|one| terminal::is_terminal(*one));
            terminals.into_iter().find_map(|one| one.try_clone_to_owned().ok()).map(File::from)
        };
        let own = terminal::open_controlling().ok();
        let controlling = own.is_some();
        let again = own.or_else(reopened);
        let shared = again.is_none();
        let file = again.or_else(borrowed)?;
        let [_, output, _] = standard;
        // Others in the pipeline write to the terminal as well: they count on its output processing.
        let output = if terminal::is_terminal(output) { OutputProcessing::Off } else { OutputProcessing::Kept };
        Some(Self { file, controlling, shared, before: None, output })
    }

    /// It is this process's own: job control works on it, and it can be asked on.
    pub(crate) fn is_controlling(&self) -> bool {
        self.controlling
    }

    /// This process group is the terminal's foreground group.
    pub(crate) fn is_foreground(&self) -> bool {
        terminal::foreground(self.file.as_fd()).is_ok_and(|group| group == getpgrp().as_raw())
    }

    /// A command that asks for the terminal may have it: in the foreground, or where there is no job control to ask.
    pub(crate) fn may_be_lent(&self) -> bool {
        !self.controlling || self.is_foreground()
    }

    /// Makes it raw; false when that is not possible.
    pub(crate) fn make_raw(&mut self) -> bool {
        if !self.may_be_lent() {
            return false;
        }
        let Ok(now) = Modes::of(self.file.as_fd()) else {
            return false;
        };
        // Raw already: what is to be given back is what was there before.
        let before = self.before.take().unwrap_or(now);
        let raw = before.raw(self.output).set(self.file.as_fd()).is_ok();
        self.before = Some(before);
        raw
    }

    /// Gives the modes back. In the background they are the shell's business by then.
    pub(crate) fn restore(&mut self) {
        if let Some(before) = self.before.take()
            && self.may_be_lent()
        {
            // Nothing can be done about a terminal that is gone.
            let _ = before.set(self.file.as_fd());
        }
    }

    /// The terminal turns newlines into carriage return and newline itself.
    pub(crate) fn adds_carriage_returns(&self) -> bool {
        Modes::of(self.file.as_fd()).is_ok_and(|modes| modes.adds_carriage_returns())
    }

    pub(crate) fn size(&self) -> terminal::Size {
        terminal::size(self.file.as_fd()).unwrap_or_default()
    }

    pub(crate) fn read(&self, buffer: &mut [u8]) -> Moved {
        if self.shared && !self.is_ready(PollFlags::POLLIN) {
            return Moved::Nothing;
        }
        moved(read(&self.file, buffer))
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> Moved {
        if !self.shared {
            return moved(write(&self.file, bytes));
        }
        if !self.is_ready(PollFlags::POLLOUT) {
            return Moved::Nothing;
        }
        match write(&self.file, bytes.get(..SHARED_BYTES).unwrap_or(bytes)) {
            // Opened for input alone: there is nowhere to write.
            Err(Errno::EBADF) => Moved::Bytes(bytes.len()),
            other => moved(other),
        }
    }

    fn is_ready(&self, flags: PollFlags) -> bool {
        let mut entry = [PollFd::new(self.file.as_fd(), flags)];
        // A hang-up is ready as well: the call says so at once.
        poll(&mut entry, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }
}

fn moved(outcome: Result<usize, Errno>) -> Moved {
    match outcome {
        Ok(0) => Moved::HungUp,
        Ok(count) => Moved::Bytes(count),
        Err(Errno::EAGAIN | Errno::EINTR) => Moved::Nothing,
        Err(_) => Moved::HungUp,
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        self.restore();
    }
}

impl AsFd for Tty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
