//! Bytes between the terminal and the session's stream: bounded, in order, processed once.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::nix::poll::PollFlags;
use jitsudo_sys::nix::sys::socket::{MsgFlags, recv, send};

use crate::cooked::Cooked;
use crate::tty::{Moved, Tty};

/// Most bytes that wait in one direction.
const ROOM_BYTES: usize = 64 * 1024;

/// What a poll entry stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Terminal,
    Stream,
}

/// What moving bytes showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    Going,
    TerminalLost,
}

/// The terminal, the stream, and what waits between them.
pub(super) struct Relay {
    tty: Option<Tty>,
    stream: Option<OwnedFd>,
    to_terminal: Vec<u8>,
    to_stream: Vec<u8>,
    cooked: Cooked,
    at_line_start: bool,
}

impl Relay {
    pub(super) fn new(tty: Option<Tty>) -> Self {
        Self {
            tty,
            stream: None,
            to_terminal: Vec::new(),
            to_stream: Vec::new(),
            cooked: Cooked::default(),
            at_line_start: true,
        }
    }

    /// The session's stream of terminal bytes.
    pub(super) fn begin(&mut self, stream: Option<OwnedFd>) {
        self.stream = stream;
    }

    pub(super) fn tty(&mut self) -> Option<&mut Tty> {
        self.tty.as_mut()
    }

    /// The terminal, to be looked at and asked on.
    pub(super) fn tty_only(&self) -> Option<&Tty> {
        self.tty.as_ref()
    }

    /// All output has reached the terminal.
    pub(super) fn is_over(&self) -> bool {
        self.stream.is_none() && (self.to_terminal.is_empty() || self.tty.is_none())
    }

    /// Nothing more is expected.
    pub(super) fn give_up(&mut self) {
        self.stream = None;
        self.to_terminal.clear();
    }

    /// What to poll for.
    pub(super) fn wants(&self, raw: bool) -> Vec<(Side, BorrowedFd<'_>, PollFlags)> {
        let mut wants = Vec::new();
        if let Some(tty) = &self.tty {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, raw && self.stream.is_some() && self.to_stream.len() < ROOM_BYTES);
            flags.set(PollFlags::POLLOUT, !self.to_terminal.is_empty());
            // Without anything wanted a hang-up is still told.
            wants.push((Side::Terminal, tty.as_fd(), flags));
        }
        if let Some(stream) = &self.stream {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, self.to_terminal.len() < ROOM_BYTES || self.tty.is_none());
            flags.set(PollFlags::POLLOUT, !self.to_stream.is_empty());
            wants.push((Side::Stream, stream.as_fd(), flags));
        }
        wants
    }

    /// Moves what can be moved.
    pub(super) fn move_bytes(&mut self, raw: bool, ready: &[(Side, PollFlags)]) -> Outcome {
        let came = |side| ready.iter().find(|(what, _)| *what == side).map_or(PollFlags::empty(), |(_, flags)| *flags);
        let (terminal, stream) = (came(Side::Terminal), came(Side::Stream));
        let ended = PollFlags::POLLHUP | PollFlags::POLLERR;
        if stream.intersects(PollFlags::POLLIN | ended) {
            self.read_stream();
        }
        let mut outcome = Outcome::Going;
        if terminal.contains(PollFlags::POLLIN) && raw {
            outcome = self.read_terminal();
        }
        if terminal.intersects(ended | PollFlags::POLLNVAL) {
            outcome = Outcome::TerminalLost;
        }
        self.write_stream();
        if self.write_terminal() == Outcome::TerminalLost {
            outcome = Outcome::TerminalLost;
        }
        if outcome == Outcome::TerminalLost {
            self.tty = None;
            self.to_terminal.clear();
            self.to_stream.clear();
        }
        outcome
    }

    /// Writes what waits as far as the terminal takes it now: before a stop.
    pub(super) fn flush(&mut self) {
        self.read_stream();
        self.write_terminal();
    }

    /// A line of our own on the terminal, behind the command's output; false without a terminal.
    pub(super) fn add_line(&mut self, text: &str) -> bool {
        if self.tty.is_none() {
            return false;
        }
        // What the command wrote before comes first.
        self.read_stream();
        let cooked = self.tty.as_ref().is_some_and(Tty::adds_carriage_returns);
        let newline = if cooked { "\n" } else { "\r\n" };
        if !self.at_line_start {
            self.to_terminal.extend_from_slice(newline.as_bytes());
        }
        self.to_terminal.extend_from_slice(text.replace('\n', newline).as_bytes());
        self.at_line_start = true;
        self.write_terminal();
        true
    }

    fn read_stream(&mut self) {
        let Some(stream) = &self.stream else { return };
        let mut buffer = [0u8; 16 * 1024];
        // Without a terminal the output goes nowhere.
        while self.to_terminal.len() < ROOM_BYTES {
            match recv(stream.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Ok(count) if count > 0 => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    self.at_line_start = bytes.last() == Some(&b'\n');
                    let Some(tty) = &self.tty else { continue };
                    if tty.adds_carriage_returns() {
                        self.to_terminal.extend(self.cooked.pass(bytes));
                    } else {
                        self.to_terminal.extend_from_slice(self.cooked.rest());
                        self.to_terminal.extend_from_slice(bytes);
                    }
                }
                Ok(_) | Err(_) => {
                    self.to_terminal.extend_from_slice(self.cooked.rest());
                    self.stream = None;
                    self.to_stream.clear();
                    return;
                }
            }
        }
    }

    fn write_stream(&mut self) {
        let Some(stream) = &self.stream else { return };
        while !self.to_stream.is_empty() {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(stream.as_raw_fd(), &self.to_stream, flags) {
                Ok(count) => drop(self.to_stream.drain(..count.min(self.to_stream.len()))),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                // Its end is read as the end of the output.
                Err(_) => self.to_stream.clear(),
            }
        }
    }

    fn read_terminal(&mut self) -> Outcome {
        let Some(tty) = &self.tty else { return Outcome::Going };
        let mut buffer = [0u8; 4096];
        match tty.read(&mut buffer) {
            Moved::Bytes(count) => {
                self.to_stream.extend_from_slice(buffer.get(..count).unwrap_or_default());
                Outcome::Going
            }
            Moved::Nothing => Outcome::Going,
            // In raw mode there is no end of file that one can type.
            Moved::HungUp => Outcome::TerminalLost,
        }
    }

    fn write_terminal(&mut self) -> Outcome {
        let Some(tty) = &self.tty else { return Outcome::Going };
        while !self.to_terminal.is_empty() {
            match tty.write(&self.to_terminal) {
                Moved::Bytes(count) => drop(self.to_terminal.drain(..count.min(self.to_terminal.len()))),
                Moved::Nothing => break,
                Moved::HungUp => return Outcome::TerminalLost,
            }
        }
        Outcome::Going
    }
}
