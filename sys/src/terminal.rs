//! Terminals: sizes, modes, foreground groups (termios(3), ioctl_tty(2)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::termios::{
    FlushArg, InputFlags, LocalFlags, OutputFlags, SetArg, Termios, cfmakeraw, tcflush, tcgetattr, tcsetattr,
};
use nix::unistd::Pid;

/// Size of a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Size {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
}

/// Reads the size.
///
/// # Errors
/// Not a terminal, or hung up.
pub fn size(terminal: BorrowedFd<'_>) -> io::Result<Size> {
    let mut raw = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ fills one winsize, which is there.
    let outcome = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut raw) };
    nix::errno::Errno::result(outcome)?;
    Ok(Size { rows: raw.ws_row, columns: raw.ws_col, width: raw.ws_xpixel, height: raw.ws_ypixel })
}

/// Sets the size; the kernel tells the foreground group with SIGWINCH when it changed.
///
/// # Errors
/// Not a terminal, or hung up.
pub fn set_size(terminal: BorrowedFd<'_>, size: Size) -> io::Result<()> {
    let raw = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: size.width, ws_ypixel: size.height };
    // SAFETY: TIOCSWINSZ reads one winsize, which is there.
    let outcome = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const raw) };
    nix::errno::Errno::result(outcome)?;
    Ok(())
}

/// Makes it the controlling terminal of this process, which leads a session without one.
///
/// # Errors
/// TIOCSCTTY's: not a leader, or the terminal has a session.
pub fn make_controlling(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes an integer; 0 = do not steal.
    let outcome = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) };
    nix::errno::Errno::result(outcome)?;
    Ok(())
}

/// Which terminal it is: the device's number, also behind /dev/tty (TIOCGDEV, ioctl_tty(2); `_IOR('T', 0x32, unsigned int)`).
///
/// # Errors
/// TIOCGDEV's: no terminal, or one that was hung up.
pub fn device(terminal: BorrowedFd<'_>) -> io::Result<u32> {
    const TIOCGDEV: libc::c_ulong = 0x8004_5432;
    let mut number: libc::c_uint = 0;
    // SAFETY: TIOCGDEV writes one unsigned int to a place that is valid for the call.
    let outcome = unsafe { libc::ioctl(terminal.as_raw_fd(), TIOCGDEV, &raw mut number) };
    nix::errno::Errno::result(outcome)?;
    Ok(number)
}

/// The terminal's foreground process group.
///
/// # Errors
/// Not the controlling terminal.
pub fn foreground(terminal: BorrowedFd<'_>) -> io::Result<i32> {
    Ok(nix::unistd::tcgetpgrp(terminal)?.as_raw())
}

/// Makes a group of this session the foreground one. From the background the caller must have SIGTTOU blocked.
///
/// # Errors
/// The group is gone or in another session.
pub fn set_foreground(terminal: BorrowedFd<'_>, group: i32) -> io::Result<()> {
    Ok(nix::unistd::tcsetpgrp(terminal, Pid::from_raw(group))?)
}

/// True when it is a terminal that answers.
#[must_use]
pub fn is_terminal(descriptor: BorrowedFd<'_>) -> bool {
    nix::unistd::isatty(descriptor).unwrap_or(false)
}

/// A terminal's modes, to be kept and given back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Modes(Termios);

/// What raw mode leaves on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutputProcessing {
    /// Nothing: every byte goes out as it is.
    Off,
    /// Newlines are still turned into carriage return and newline, for others who write to the same terminal.
    Kept,
}

impl Modes {
    /// Reads the modes.
    ///
    /// # Errors
    /// Not a terminal, or hung up.
    pub fn of(terminal: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self(tcgetattr(terminal)?))
    }

    /// Sets them at once. From the background the kernel sends SIGTTOU unless that is blocked.
    ///
    /// # Errors
    /// Not a terminal, or hung up.
    pub fn set(&self, terminal: BorrowedFd<'_>) -> io::Result<()> {
        loop {
            match tcsetattr(terminal, SetArg::TCSANOW, &self.0) {
                Err(nix::errno::Errno::EINTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// The same with cfmakeraw(3) applied.
    #[must_use]
    pub fn raw(&self, output: OutputProcessing) -> Self {
        let mut modes = self.0.clone();
        let before = modes.output_flags;
        cfmakeraw(&mut modes);
        if output == OutputProcessing::Kept {
            modes.output_flags = before;
        }
        Self(modes)
    }

    /// The same with nothing shown that is typed, not even the newline.
    #[must_use]
    pub fn without_echo(&self) -> Self {
        let mut modes = self.0.clone();
        modes.local_flags.remove(LocalFlags::ECHO | LocalFlags::ECHONL);
        Self(modes)
    }

    /// What is typed is shown.
    #[must_use]
    pub fn shows_input(&self) -> bool {
        self.0.local_flags.contains(LocalFlags::ECHO)
    }

    /// Newlines written to it become carriage return and newline.
    #[must_use]
    pub fn adds_carriage_returns(&self) -> bool {
        self.0.output_flags.contains(OutputFlags::OPOST | OutputFlags::ONLCR)
    }

    /// Flow control by Ctrl-S is on (false in raw mode).
    #[must_use]
    pub fn has_flow_control(&self) -> bool {
        self.0.input_flags.contains(InputFlags::IXON)
    }
}

/// Throws away what was typed and not yet read. Unlike tcsetattr's TCSAFLUSH it does not wait for output, which Ctrl-S can hold up.
///
/// # Errors
/// Not a terminal, or hung up.
pub fn drop_input(terminal: BorrowedFd<'_>) -> io::Result<()> {
    Ok(tcflush(terminal, FlushArg::TCIFLUSH)?)
}

/// Opens this process's controlling terminal with a description of its own, non-blocking.
///
/// # Errors
/// It has none.
pub fn open_controlling() -> io::Result<std::fs::File> {
    open(std::path::Path::new("/dev/tty"))
}

/// Opens the terminal behind a descriptor anew, non-blocking, so that O_NONBLOCK is not set on a description that others share.
///
/// # Errors
/// It cannot be opened for reading and writing by this user.
pub fn open_again(terminal: BorrowedFd<'_>) -> io::Result<std::fs::File> {
    open(std::path::Path::new(&format!("/proc/self/fd/{}", terminal.as_raw_fd())))
}

fn open(path: &std::path::Path) -> io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)?;
    if is_terminal(file.as_fd()) { Ok(file) } else { Err(io::Error::from_raw_os_error(libc::ENOTTY)) }
}
