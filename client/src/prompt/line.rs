//! One line from a terminal or from standard input. The terminal's own line editing (erase, kill, end of file) stays in force.
//!
//! MUST: a line that is given up leaves nothing of itself in the terminal (`pam_15_*`).

use std::os::fd::BorrowedFd;
use std::time::Duration;

use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::nix::libc;
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use jitsudo_sys::nix::sys::signal::Signal;
use jitsudo_sys::nix::unistd::{getpgrp, read, write};
use jitsudo_sys::terminal::{self, Modes};
use jitsudo_sys::{clock, signals};

use super::{Interruptions, Question, Secret};

/// Most bytes read of one line; what has no newline by then is no line.
const MAX_READ_BYTES: usize = 64 * 1024;
/// How long a terminal may refuse a piece of the prompt (Ctrl-S) before the wait for an answer begins without it.
const ROOM_MS: u16 = 1000;

/// Where it is asked and read.
pub(super) struct Place<'a> {
    pub(super) input: BorrowedFd<'a>,
    /// Where the prompt goes; `None` where a helper shows it.
    pub(super) output: Option<BorrowedFd<'a>>,
    /// The input is a terminal: echo, job control.
    pub(super) is_terminal: bool,
    /// `-B`
    pub(super) bell: bool,
    pub(super) patience: Duration,
}

/// What was read.
#[derive(Debug)]
pub(super) enum Line {
    Read(Secret),
    /// The end of the input, before any byte.
    End,
    TimedOut,
    /// A signal that means no.
    Cancelled,
    /// The terminal is gone, or can never be this job's.
    Unreadable,
    SessionSpoke,
}

/// What ended a wait for input.
enum Waited {
    Input,
    Signals,
    Session,
    TooLong,
}

/// What the signals that came ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    Nothing,
    /// Ctrl-Z.
    Stop,
    /// This process was stopped from outside and runs again: the modes and the line are whoever's now.
    Again,
    Cancel,
}

/// Echo is off while this lives.
struct Quiet<'a> {
    terminal: BorrowedFd<'a>,
    before: Option<Modes>,
}

impl<'a> Quiet<'a> {
    /// Turns echo off, if wanted, and drops what was typed before.
    fn new(terminal: BorrowedFd<'a>, echo: bool) -> Self {
        let before = Modes::of(terminal).ok().filter(|before| {
            // A terminal that shows nothing stays as it is, and is nobody's to restore.
            !echo && before.shows_input() && before.without_echo().set(terminal).is_ok()
        });
        // Fails only on a terminal that is gone, which the next read finds out.
        let _ = terminal::drop_input(terminal);
        Self { terminal, before }
    }

    /// What was typed of a line that nobody waits for any more: the terminal holds it for whoever reads next, and a shell would show it
    /// (CVE-2025-64170). In the background it is somebody else's line.
    fn drop_half_typed(&self) {
        if !is_in_background(self.terminal) {
            let _ = terminal::drop_input(self.terminal);
        }
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // In the background they are the shell's business by now.
        if let Some(before) = &self.before
            && !is_in_background(self.terminal)
        {
            let _ = before.set(self.terminal);
        }
    }
}

impl Place<'_> {
    /// Asks until there is a line, or a reason why there is none.
    pub(super) fn ask(&self, question: &Question<'_>, interruptions: &Interruptions<'_>) -> Line {
        loop {
            if self.is_terminal && is_in_background(self.input) {
                match stop(Signal::SIGTTIN, interruptions) {
                    Wanted::Again => continue,
                    Wanted::Cancel => return Line::Cancelled,
                    // Not stopped: nobody can ever give it to this job, and the kernel would say EIO.
                    Wanted::Nothing | Wanted::Stop => return Line::Unreadable,
                }
            }
            let quiet = self.is_terminal.then(|| Quiet::new(self.input, question.echo));
            self.prompt(question.prompt);
            let outcome = self.read(interruptions);
            if !matches!(outcome, Ok(Line::Read(_))) {
                quiet.iter().for_each(Quiet::drop_half_typed);
            }
            drop(quiet);
            // What was typed left the cursor behind the prompt.
            let ended = matches!(outcome, Ok(Line::End));
            if ended || (self.is_terminal && !(question.echo && matches!(outcome, Ok(Line::Read(_))))) {
                self.write(b"\n");
            }
            let wanted = match outcome {
                Ok(line) => return line,
                Err(Wanted::Stop) => stop(Signal::SIGTSTP, interruptions),
                Err(wanted) => wanted,
            };
            if wanted == Wanted::Cancel {
                return Line::Cancelled;
            }
        }
    }

    fn prompt(&self, prompt: &[u8]) {
        if self.bell {
            self.write(b"\x07");
        }
        self.write(prompt);
    }

    /// Nobody sees it when this fails; the answer may come all the same.
    fn write(&self, mut bytes: &[u8]) {
        let Some(output) = self.output else { return };
        while !bytes.is_empty() {
            match write(output, bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let mut room = [PollFd::new(output, PollFlags::POLLOUT)];
                    if poll(&mut room, PollTimeout::from(ROOM_MS)) == Ok(0) {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// Reads byte by byte: what follows the newline belongs to the command.
    fn read(&self, interruptions: &Interruptions<'_>) -> Result<Line, Wanted> {
        let patience_ms = u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX);
        let deadline_ms = clock::boottime_ms().saturating_add(patience_ms);
        let mut secret = Secret::new();
        for _ in 0..MAX_READ_BYTES {
            loop {
                match wait(self.input, deadline_ms, interruptions) {
                    Waited::Input => break,
                    Waited::TooLong => return Ok(Line::TimedOut),
                    Waited::Session => return Ok(Line::SessionSpoke),
                    Waited::Signals => match wanted(interruptions) {
                        Wanted::Nothing => {}
                        wanted => return Err(wanted),
                    },
                }
            }
            let mut byte = [0u8];
            match read(self.input, &mut byte) {
                Ok(0) if secret.is_empty() => return Ok(Line::End),
                Ok(0) => return Ok(Line::Read(secret)),
                Ok(_) if matches!(byte, [b'\n' | b'\r']) => return Ok(Line::Read(secret)),
                // What is too long is wrong; it is read to its end all the same.
                Ok(_) => {
                    let _ = secret.push(std::mem::take(&mut byte[0]));
                }
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(_) => return Ok(Line::Unreadable),
            }
        }
        Ok(Line::Unreadable)
    }
}

/// Another job has this terminal. One that is nobody's controlling terminal here has no jobs.
fn is_in_background(terminal: BorrowedFd<'_>) -> bool {
    terminal::foreground(terminal).is_ok_and(|group| group != getpgrp().as_raw())
}

fn wait(input: BorrowedFd<'_>, deadline_ms: u64, interruptions: &Interruptions<'_>) -> Waited {
    use std::os::fd::AsFd as _;
    loop {
        let left_ms = deadline_ms.saturating_sub(clock::boottime_ms());
        let mut entries = [
            PollFd::new(interruptions.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(interruptions.session, PollFlags::POLLIN),
            PollFd::new(input, PollFlags::POLLIN),
        ];
        let came = poll(&mut entries, PollTimeout::try_from(left_ms).unwrap_or(PollTimeout::MAX));
        let ready = |entry: Option<&PollFd<'_>>| entry.and_then(PollFd::any).unwrap_or(false);
        match came {
            _ if left_ms == 0 => return Waited::TooLong,
            _ if ready(entries.first()) => return Waited::Signals,
            _ if ready(entries.get(1)) => return Waited::Session,
            _ if ready(entries.get(2)) => return Waited::Input,
            // An interrupted wait, or the rest of a millisecond.
            _ => {}
        }
    }
}

/// Takes the signals that came.
fn wanted(interruptions: &Interruptions<'_>) -> Wanted {
    let mut wanted = Wanted::Nothing;
    while let Ok(Some(signal)) = interruptions.signals.read_signal() {
        wanted = match (wanted, i32::try_from(signal.ssi_signo).unwrap_or(0)) {
            (Wanted::Cancel, _) | (_, libc::SIGINT | libc::SIGQUIT | libc::SIGHUP | libc::SIGTERM | libc::SIGALRM) => {
                Wanted::Cancel
            }
            (_, libc::SIGTSTP) => Wanted::Stop,
            (Wanted::Nothing, libc::SIGCONT) => Wanted::Again,
            (before, _) => before,
        };
    }
    wanted
}

/// Stops this job; `Again` when it was stopped and runs again.
fn stop(signal: Signal, interruptions: &Interruptions<'_>) -> Wanted {
    if signals::stop_group(signal).is_err() {
        return Wanted::Nothing;
    }
    wanted(interruptions)
}

#[cfg(test)]
mod tests;
