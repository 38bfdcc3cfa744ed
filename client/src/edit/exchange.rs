//! The messages of `-e` with the session: files in, files back. Only what uid 0 sends counts.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use jitsudo_protocol::act::Act;
use jitsudo_protocol::client::Fault;
use jitsudo_protocol::edit::{self, MAX_CHUNK_BYTES, Outcome, Returned, Told};
use jitsudo_protocol::session::{FromSession, ToSession};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::files;
use jitsudo_sys::nix::libc;
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use jitsudo_sys::nix::sys::signalfd::SignalFd;

use crate::decider::HandOver;
use crate::ending::End;
use crate::options::{Asking, Run};
use crate::prompt::{self, Interruptions, Question};
use crate::say::Voice;
use crate::session::tell_act;
use crate::tty::Tty;

/// A file as the session told of it.
pub(super) struct Opened {
    pub(super) told: Told,
    /// The sealed copy.
    pub(super) content: Option<File>,
}

/// Why it cannot go on.
pub(super) enum Lost {
    /// The session has said why.
    Fault(Fault),
    /// It is gone, or speaks in riddles.
    Gone,
    /// This signal came.
    Signal(u8),
    /// Trouble of our own.
    Own(String),
}

impl Lost {
    pub(super) fn words(&self) -> String {
        match self {
            Self::Fault(fault) => fault.message.clone(),
            Self::Gone => "the session is gone".to_owned(),
            Self::Signal(number) => format!("interrupted by signal {number}"),
            Self::Own(words) => words.clone(),
        }
    }

    pub(super) fn end(&self) -> End {
        match self {
            Self::Signal(number) => End::Signal(*number),
            Self::Fault(_) | Self::Gone | Self::Own(_) => End::Code(1),
        }
    }
}

/// The connection to the session.
pub(super) struct Exchange<'a> {
    channel: Channel,
    asking: &'a Asking,
    tty: Option<&'a Tty>,
    voice: &'a Voice,
    /// The session heard that there is no answer.
    declined: bool,
    /// What came while the screen was the editor's.
    held: VecDeque<FromSession>,
    open: bool,
}

impl<'a> Exchange<'a> {
    pub(super) fn begin(
        hand_over: HandOver,
        act: &Act,
        run: &'a Run,
        tty: Option<&'a Tty>,
        voice: &'a Voice,
    ) -> io::Result<Self> {
        let channel = hand_over.channel;
        channel.ask_for_credentials()?;
        let [input, ..] = files::standard();
        tell_act(&channel, act, run, input, tty, false)?;
        Ok(Self { channel, asking: &run.asking, tty, voice, declined: false, held: VecDeque::new(), open: true })
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Waits until each of so many files was told of.
    pub(super) fn files(&mut self, count: usize, signals: &SignalFd) -> Result<Vec<Opened>, Lost> {
        let mut files: Vec<Opened> = Vec::new();
        while files.len() < count {
            let (mut told, mut content) = self.next_of_session(signals)?;
            while let FromSession::Ask { prompt, echo } = told {
                (told, content) = self.answer(&prompt.0, echo, signals)?;
            }
            if let FromSession::Told(told) = told {
                // Each once, in order; with a copy where it says so.
                if usize::try_from(told.number) != Ok(files.len()) || told.copied() != content.is_some() {
                    return Err(Lost::Gone);
                }
                files.push(Opened { told, content });
            }
        }
        Ok(files)
    }

    /// Asks the user, as before a command; gives what the session says next.
    fn answer(&mut self, prompt: &[u8], echo: bool, signals: &SignalFd) -> Result<(FromSession, Option<File>), Lost> {
        loop {
            let interruptions = Interruptions { signals, session: self.channel.as_fd() };
            match prompt::ask(&Question { prompt, echo }, self.asking, self.tty, &interruptions) {
                // A session that is gone is noticed when it is read from.
                prompt::Outcome::Answer(secret) => drop(self.channel.send(&secret.datagram(), &[])),
                prompt::Outcome::Nothing(lines) => {
                    lines.iter().for_each(|line| self.voice.complain(line));
                    self.declined = true;
                    self.say(&ToSession::NoAnswer)?;
                }
                prompt::Outcome::Over(line) => return Err(Lost::Own(line)),
                prompt::Outcome::SessionSpoke => {
                    let (told, content) = self.receive()?;
                    if !matches!(told, FromSession::Notice(_) | FromSession::Text(_)) {
                        return Ok((told, content));
                    }
                    // Words beside the question, which stands.
                    continue;
                }
            }
            return self.next_of_session(signals);
        }
    }

    /// Gives one file back: what became of it.
    pub(super) fn give_back(&mut self, number: u32, content: &[u8], signals: &SignalFd) -> Result<Outcome, Lost> {
        if let Some(lost) = self.ended_meanwhile() {
            return Err(lost);
        }
        self.say(&ToSession::Returned(Returned { number, bytes: content.len() as u64 }))?;
        for piece in content.chunks(MAX_CHUNK_BYTES) {
            if self.channel.send(&edit::chunk(piece), &[]).is_err() {
                break;
            }
        }
        loop {
            if let (FromSession::Kept(kept), _) = self.next_of_session(signals)?
                && kept.number == number
            {
                return Ok(kept.outcome);
            }
        }
    }

    /// Says that nothing more comes, and waits for the session's end.
    pub(super) fn done(&mut self, failed: bool) -> Result<(), Lost> {
        if let Some(lost) = self.ended_meanwhile() {
            return Err(lost);
        }
        self.say(&ToSession::EditingDone { failed })?;
        loop {
            if let (FromSession::Ended(_), _) = self.receive()? {
                return Ok(());
            }
        }
    }

    /// Takes a message while the editor runs, for later; true when it is one that people should know of.
    pub(super) fn hold_one(&mut self) -> bool {
        match self.read() {
            Ok((message, _)) => {
                let is_news = matches!(message, FromSession::Notice(_) | FromSession::Failed(_));
                self.held.push_back(message);
                is_news
            }
            Err(_) => {
                self.open = false;
                true
            }
        }
    }

    /// Shows what was held back.
    pub(super) fn say_held(&mut self) {
        let notices = self.held.iter().filter_map(|message| match message {
            FromSession::Notice(line) => Some(self.voice.notice(line)),
            _ => None,
        });
        notices.for_each(|text| self.voice.text(&text));
        self.held.retain(|message| matches!(message, FromSession::Failed(_)));
    }

    /// The last words about a session that is lost.
    pub(super) fn say_lost(&self, lost: &Lost) {
        match lost {
            Lost::Fault(fault) => self.voice.fault(fault),
            Lost::Gone if self.declined => self.voice.complain("a password is required"),
            Lost::Gone => crate::decider::say_gone(self.voice, "the session is gone without a word"),
            Lost::Signal(_) => {}
            Lost::Own(words) => self.voice.complain(words),
        }
    }

    fn ended_meanwhile(&mut self) -> Option<Lost> {
        match self.held.front() {
            Some(FromSession::Failed(fault)) => Some(Lost::Fault(fault.clone())),
            _ if !self.open => Some(Lost::Gone),
            _ => None,
        }
    }

    fn next_of_session(&mut self, signals: &SignalFd) -> Result<(FromSession, Option<File>), Lost> {
        loop {
            let mut entries =
                [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut entries, PollTimeout::NONE);
            let said = entries.last().and_then(PollFd::revents).is_some_and(|came| !came.is_empty());
            while let Ok(Some(signal)) = signals.read_signal() {
                if i32::try_from(signal.ssi_signo) != Ok(libc::SIGCHLD) {
                    return Err(Lost::Signal(u8::try_from(signal.ssi_signo).unwrap_or(1)));
                }
            }
            if said {
                return self.receive();
            }
        }
    }

    /// Takes one message, having said what is only to be said.
    fn receive(&mut self) -> Result<(FromSession, Option<File>), Lost> {
        let (told, content) = self.read()?;
        match told {
            FromSession::Failed(fault) => {
                self.held.push_front(FromSession::Failed(fault.clone()));
                return Err(Lost::Fault(fault));
            }
            FromSession::Notice(ref line) => self.voice.text(&self.voice.notice(line)),
            FromSession::Text(ref text) => self.voice.text(&format!("{text}\n")),
            _ => {}
        }
        Ok((told, content))
    }

    fn read(&mut self) -> Result<(FromSession, Option<File>), Lost> {
        let message = match self.channel.receive() {
            Ok(Some(message)) if message.sender.map(|sender| sender.uid) == Some(0) => message,
            Ok(_) | Err(_) => {
                self.open = false;
                return Err(Lost::Gone);
            }
        };
        let told = serde_json::from_slice(&message.bytes).map_err(|_| Lost::Gone)?;
        Ok((told, message.descriptors.into_iter().next().map(File::from)))
    }

    fn say(&self, message: &ToSession) -> Result<(), Lost> {
        let bytes = serde_json::to_vec(message).map_err(|error| Lost::Own(error.to_string()))?;
        self.channel.send(&bytes, &[]).map_err(|_| Lost::Gone)
    }
}

impl AsFd for Exchange<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
