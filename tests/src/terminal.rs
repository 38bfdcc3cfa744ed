//! A terminal inside a host, with the harness as the person in front of it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, Winsize};

use crate::clock::{Deadline, wait_until};
use crate::error::{Error, io};
use crate::tool::code;

/// How long [`Terminal::expect`] waits: long enough for a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program on a pseudo-terminal of the host's own devpts, and everything it has written to it.
#[derive(Debug)]
pub struct Terminal {
    master: Arc<File>,
    child: Child,
    screen: Arc<Screen>,
    reader: Option<JoinHandle<()>>,
    /// Up to here [`Self::expect`] has consumed what was written.
    read: usize,
}

#[derive(Debug, Default)]
struct Screen {
    content: Mutex<Content>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// The last program of the host has closed it.
    hung_up: bool,
    /// The harness wants to close it.
    closing: bool,
}

impl Screen {
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Terminal {
    /// Opens a terminal in the host whose first process is `leader`, and lets `start` run a program on it.
    ///
    /// The host's own multiplexer is opened, so that the program finds its terminal as `/dev/pts/N`.
    pub(crate) fn open(leader: u32, start: impl FnOnce(OwnedFd) -> Result<Child, Error>) -> Result<Self, Error> {
        let multiplexer = format!("/proc/{leader}/root/dev/pts/ptmx");
        let master =
            File::options().read(true).write(true).open(&multiplexer).map_err(io(format!("open {multiplexer}")))?;
        rustix::pty::unlockpt(&master)
            .map_err(|error| Error::Io { what: "unlock a terminal".into(), source: error.into() })?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)
            .map_err(|error| Error::Io { what: "open a terminal".into(), source: error.into() })?;
        let child = start(slave)?;
        let (master, screen) = (Arc::new(master), Arc::new(Screen::default()));
        let (source, filled) = (Arc::clone(&master), Arc::clone(&screen));
        let reader = std::thread::spawn(move || fill(&filled, &source));
        let terminal = Self { master, child, screen, reader: Some(reader), read: 0 };
        terminal.resize(24, 80)?;
        Ok(terminal)
    }

    /// Types this; `"\n"` is the Enter key, `"\x03"` Ctrl-C.
    ///
    /// # Errors
    /// [`Error::Io`] when the terminal is gone.
    pub fn send(&mut self, text: &str) -> Result<(), Error> {
        (&*self.master).write_all(text.as_bytes()).map_err(io("type on the terminal"))
    }

    /// Waits until this text is written (after what the last call found); what stood before it, and the text.
    ///
    /// # Errors
    /// [`Error::TimedOut`] with everything not yet consumed, after twenty seconds or when the terminal is closed.
    pub fn expect(&mut self, text: &str) -> Result<String, Error> {
        let deadline = Deadline::after(PATIENCE);
        let mut content = self.screen.lock();
        loop {
            let fresh = content.bytes.get(self.read..).unwrap_or_default();
            if let Some(at) = fresh.windows(text.len().max(1)).position(|part| part == text.as_bytes()) {
                let end = at + text.len();
                let found = String::from_utf8_lossy(fresh.get(..end).unwrap_or_default()).into_owned();
                self.read += end;
                return Ok(found);
            }
            if deadline.is_over() || content.hung_up {
                let seen = String::from_utf8_lossy(fresh).into_owned();
                return Err(Error::TimedOut { what: format!("{text:?} on the terminal"), seen });
            }
            content =
                self.screen.grown.wait_timeout(content, deadline.left()).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a prompt that hides what is typed, and answers it.
    ///
    /// A prompt is written just before echo is turned off and typed input thrown away; so this waits for both.
    ///
    /// # Errors
    /// As [`Self::expect`]; [`Error::TimedOut`] also when echo stays on.
    pub fn answer_hidden(&mut self, prompt: &str, answer: &str) -> Result<(), Error> {
        self.expect(prompt)?;
        if !wait_until(PATIENCE, || self.echoes().is_ok_and(|echoes| !echoes)) {
            return Err(Error::TimedOut { what: "a terminal without echo".into(), seen: self.text() });
        }
        self.send(answer)?;
        self.send("\n")
    }

    /// Whether the terminal shows what is typed.
    ///
    /// # Errors
    /// [`Error::Io`] when the terminal is gone.
    pub fn echoes(&self) -> Result<bool, Error> {
        let modes = rustix::termios::tcgetattr(&*self.master)
            .map_err(|error| Error::Io { what: "read the terminal's modes".into(), source: error.into() })?;
        Ok(modes.local_modes.contains(LocalModes::ECHO))
    }

    /// Gives the terminal another size, as a person does who drags the window's corner.
    ///
    /// # Errors
    /// [`Error::Io`] when the terminal is gone.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<(), Error> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&*self.master, size)
            .map_err(|error| Error::Io { what: "resize the terminal".into(), source: error.into() })
    }

    /// Every byte written so far.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.screen.lock().bytes.clone()
    }

    /// Every byte written so far, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Waits for the program's end; its exit status (128 + N for signal N).
    ///
    /// # Errors
    /// [`Error::TimedOut`] with the screen when it still runs after `within`.
    pub fn wait(&mut self, within: Duration) -> Result<i32, Error> {
        let mut status = None;
        let ended = wait_until(within, || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        });
        match status {
            Some(status) if ended => Ok(code(status)),
            _ => Err(Error::TimedOut { what: "the end of the program on the terminal".into(), seen: self.text() }),
        }
    }
}

impl Drop for Terminal {
    /// Closes the terminal: the kernel hangs up on its session. The program gets two seconds to go.
    fn drop(&mut self) {
        self.screen.lock().closing = true;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        // The reader is gone, so this is the last descriptor: replacing it closes the terminal.
        if let Ok(nothing) = File::open("/dev/null") {
            self.master = Arc::new(nothing);
        }
        if !wait_until(Duration::from_secs(2), || matches!(self.child.try_wait(), Ok(Some(_)))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Moves what is written from the terminal to the screen until the last program has closed it, or the harness wants to.
fn fill(screen: &Screen, mut source: &File) {
    let mut buffer = [0; 4096];
    let glance = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    while !screen.lock().closing {
        let mut ends = [PollFd::new(&source, PollFlags::IN)];
        if !matches!(rustix::event::poll(&mut ends, Some(&glance)), Ok(1..)) {
            continue;
        }
        // EIO: no program has the terminal open any more.
        let Ok(count @ 1..) = source.read(&mut buffer) else { break };
        screen.lock().bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
        screen.grown.notify_all();
    }
    screen.lock().hung_up = true;
    screen.grown.notify_all();
}
