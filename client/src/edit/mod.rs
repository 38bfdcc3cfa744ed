//! `-e`: the session gives copies, the requester's own editor changes them, the session writes back what it returns.
//!
//! The way: [`prepare`] (plain absolute paths, an editor; before anything is asked for), [`attend`] (copies, editor, return), with
//! [`exchange`] for the messages. Words are those of the real sudoedit wherever it has some.
//!
//! MUSTs
//! 1. The editor is an ordinary child of the caller's: nothing here has a privilege that it could get (`editor`).
//! 2. An editor that fails writes nothing, and what cannot be written stays and is named (`edit_mode_03_*`, `edit_mode_05_*`).

mod copies;
mod editor;
mod exchange;
mod paths;

use std::fs::File;
use std::io::{IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use jitsudo_bytes::Bytes;
use jitsudo_protocol::act::Act;
use jitsudo_protocol::edit::Outcome;
use jitsudo_sys::nix::libc;
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use jitsudo_sys::nix::sys::signal::Signal;
use jitsudo_sys::nix::sys::signalfd::SignalFd;
use jitsudo_sys::signals;

use crate::decider::HandOver;
use crate::ending::End;
use crate::options::Run;
use crate::say::{StatusFd, Voice, words};
use crate::tty::Tty;
use copies::{Folder, shown};
use editor::{Change, Editor};
use exchange::{Exchange, Lost};

/// Signals that end this program, or its editor, unless our caller ignores them.
const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];
/// `si_code` of what the kernel sends: a key of the terminal, which reaches the editor as well.
const SI_KERNEL: i32 = 0x80;

/// What is known before anything is asked for.
pub(crate) struct Plan {
    /// The request with its words made absolute.
    pub(crate) run: Run,
    editor: Editor,
    /// The words as they were typed.
    typed: Vec<String>,
}

/// Makes the words absolute and finds the editor; says why not.
pub(crate) fn prepare(run: &Run, directory: &[u8], environment: &[Vec<u8>], voice: &Voice) -> Option<Plan> {
    let typed: Vec<String> = run.argv.iter().map(|word| Bytes(word.clone()).visible()).collect();
    let mut argv = Vec::new();
    for (word, name) in run.argv.iter().zip(&typed) {
        match paths::absolute(word, directory) {
            Ok(path) => argv.push(path),
            Err(cause) => {
                voice.complain(&format!("{name}: {cause}"));
                return None;
            }
        }
    }
    match editor::find(environment) {
        Ok(editor) => Some(Plan { run: Run { argv, ..run.clone() }, editor, typed }),
        Err(lines) => {
            lines.iter().for_each(|line| voice.complain(line));
            None
        }
    }
}

/// One file that is edited.
struct Edited {
    /// Place in the act.
    number: u32,
    /// As it was typed.
    name: String,
    /// The copy that the editor works on.
    copy: PathBuf,
    /// What the session read; `None` for a new file.
    original: Option<File>,
}

struct Session<'a> {
    plan: &'a Plan,
    exchange: Exchange<'a>,
    signals: SignalFd,
    voice: &'a Voice,
    failed: bool,
}

/// Edits with a session until all is given back.
pub(crate) fn attend(
    hand_over: HandOver,
    act: &Act,
    plan: &Plan,
    tty: Option<&Tty>,
    voice: &Voice,
    status: Option<&StatusFd>,
) -> End {
    let fail = |what: &str, error: &std::io::Error| {
        voice.complain(&format!("cannot {what}: {}", words(error)));
        End::Code(1)
    };
    let mut taken: Vec<Signal> = ENDING.into_iter().filter(|signal| !signals::is_ignored(*signal as i32)).collect();
    taken.push(Signal::SIGCHLD);
    let signals = match signals::take(&taken) {
        Ok(signals) => signals,
        Err(error) => return fail("take signals", &error),
    };
    let session = hand_over.session.clone();
    let exchange = match Exchange::begin(hand_over, act, &plan.run, tty, voice) {
        Ok(exchange) => exchange,
        Err(error) => return fail("talk to the session", &error),
    };
    let mut session_of = Session { plan, exchange, signals, voice, failed: false };
    let end = match session_of.edit(status, &session) {
        Ok(end) => end,
        Err(lost) => {
            session_of.exchange.say_lost(&lost);
            lost.end()
        }
    };
    if let Some(status) = status {
        status.line(&end.line());
    }
    end
}

impl Session<'_> {
    fn edit(&mut self, status: Option<&StatusFd>, session: &str) -> Result<End, Lost> {
        let opened = self.exchange.files(self.plan.run.argv.len(), &self.signals)?;
        let trouble = |what: &str, error: &std::io::Error| Lost::Own(format!("cannot {what}: {}", words(error)));
        let folder = Folder::make().map_err(|error| trouble("make a private directory for the copies", &error))?;
        let mut files = Vec::new();
        for told in opened {
            let place = usize::try_from(told.told.number).unwrap_or(usize::MAX);
            let name = self.plan.typed.get(place).cloned().unwrap_or_default();
            if let Some(cause) = &told.told.refused {
                self.voice.complain(&format!("{name}: {cause}"));
                told.told.hint.iter().for_each(|hint| self.voice.hint(hint));
                self.failed = true;
                continue;
            }
            let path = self.plan.run.argv.get(place).map_or(&b""[..], Vec::as_slice);
            match folder.put(path, told.content.as_ref()) {
                Ok(copy) => files.push(Edited { number: told.told.number, name, copy, original: told.content }),
                Err(error) => {
                    for file in &files {
                        let _ = std::fs::remove_file(&file.copy);
                    }
                    folder.remove();
                    return Err(trouble("make a private copy", &error));
                }
            }
        }
        let end = if files.is_empty() {
            self.exchange.done(true)?;
            End::Code(1)
        } else {
            if let Some(status) = status {
                status.line(&format!("started {session}"));
            }
            self.run(&files)
        };
        folder.remove();
        Ok(end)
    }

    /// The editor, then what it has left.
    fn run(&mut self, files: &[Edited]) -> End {
        let copies: Vec<PathBuf> = files.iter().map(|file| file.copy.clone()).collect();
        let end = match self.plan.editor.start(&copies) {
            Ok(running) => self.wait_for(&running),
            Err(error) => {
                self.voice.complain(&format!("unable to execute {}: {}", self.plan.editor.name(), words(&error)));
                End::Code(1)
            }
        };
        self.exchange.say_held();
        for file in files {
            if end == End::Code(0) { self.give_back(file) } else { self.leave(file) }
        }
        let failed = self.failed || end != End::Code(0);
        if let Err(lost) = self.exchange.done(failed) {
            self.exchange.say_lost(&lost);
            self.failed = true;
        }
        if end == End::Code(0) && self.failed { End::Code(1) } else { end }
    }

    fn wait_for(&mut self, running: &editor::Running) -> End {
        loop {
            match running.look() {
                Change::Over(end) => return end,
                Change::Stopped(signal) => {
                    running.stop_with_it(signal);
                    continue;
                }
                Change::None => {}
            }
            let channel = if self.exchange.is_open() { PollFlags::POLLIN } else { PollFlags::empty() };
            let mut entries =
                [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN), PollFd::new(self.exchange.as_fd(), channel)];
            let waiting = if self.exchange.is_open() { &mut entries[..] } else { entries.split_at_mut(1).0 };
            // An interrupted wait is a short one.
            let _ = poll(waiting, PollTimeout::NONE);
            let said = entries.last().and_then(PollFd::revents).is_some_and(|came| !came.is_empty());
            while let Ok(Some(signal)) = self.signals.read_signal() {
                let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
                if number != libc::SIGCHLD
                    && signal.ssi_code != SI_KERNEL
                    && let Ok(signal) = Signal::try_from(number)
                {
                    running.signal(signal);
                }
            }
            if said && self.exchange.hold_one() && std::io::stderr().is_terminal() {
                // The screen is the editor's; what was said is shown after it.
                self.voice.text("\x07");
            }
        }
    }

    /// The editor failed: nothing is written, and what was changed stays.
    fn leave(&mut self, file: &Edited) {
        match copies::read_back(&file.copy) {
            Ok(content) if is_same(&content, file) => {
                self.voice.complain(&format!("{} unchanged", file.name));
                forget(&file.copy);
            }
            Ok(_) | Err(_) => {
                self.voice.complain(&format!("{} left unmodified", file.name));
                self.keep(&file.copy);
            }
        }
    }

    fn give_back(&mut self, file: &Edited) {
        let content = match copies::read_back(&file.copy) {
            Ok(content) => content,
            Err(cause) => {
                self.failed = true;
                self.voice.complain(&format!("{}: {cause}", shown(file.copy.as_os_str())));
                self.voice.complain(&format!("{} left unmodified", file.name));
                return;
            }
        };
        if is_same(&content, file) {
            self.voice.complain(&format!("{} unchanged", file.name));
            return forget(&file.copy);
        }
        if content.is_empty() && file.original.is_some() && !self.may_truncate(&file.name) {
            self.voice.complain(&format!("not overwriting {}", file.name));
            return forget(&file.copy);
        }
        match self.exchange.give_back(file.number, &content, &self.signals) {
            Ok(Outcome::Written) => forget(&file.copy),
            Ok(Outcome::Unchanged) => {
                self.voice.complain(&format!("{} unchanged", file.name));
                forget(&file.copy);
            }
            Ok(Outcome::Refused(cause)) => self.not_written(file, &cause),
            Err(lost) => self.not_written(file, &lost.words()),
        }
    }

    fn not_written(&mut self, file: &Edited, cause: &str) {
        self.failed = true;
        self.voice.complain(&format!("unable to write to {}: {cause}", file.name));
        self.keep(&file.copy);
    }

    fn keep(&self, copy: &Path) {
        if copy.symlink_metadata().is_ok() {
            self.voice.complain(&format!("contents of edit session left in {}", shown(copy.as_os_str())));
        }
    }

    fn may_truncate(&self, name: &str) -> bool {
        self.voice.text(&format!("{}: truncate {name} to zero bytes? (y/n) [n] ", self.voice.name()));
        let mut first = None;
        let mut byte = [0];
        // To the end of the line and no further: the rest is somebody else's.
        while matches!(std::io::stdin().lock().read(&mut byte), Ok(1)) && byte != *b"\n" {
            first = first.or(Some(byte));
        }
        matches!(first, Some([b'y' | b'Y']))
    }
}

fn is_same(content: &[u8], file: &Edited) -> bool {
    match &file.original {
        Some(original) => copies::content_of(original).is_ok_and(|original| original == content),
        None => content.is_empty(),
    }
}

fn forget(copy: &Path) {
    // A copy that cannot be removed is the requester's own, in their own directory.
    let _ = std::fs::remove_file(copy);
}
