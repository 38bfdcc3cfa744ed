//! With the session: descriptors over, bytes both ways, signals, and the status at the end.
//!
//! MUSTs
//! 1. Only what uid 0 sends counts.
//! 2. The terminal is read only while this process has it and the command may have it.

mod relay;
mod telling;

use std::os::fd::AsFd;

use jitsudo_bytes::Bytes;
use jitsudo_protocol::act::Act;
use jitsudo_protocol::session::{FromSession, ToSession};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::nix::libc;
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use jitsudo_sys::nix::sys::signal::Signal;
use jitsudo_sys::nix::sys::signalfd::SignalFd;
use jitsudo_sys::{files, signals};

use crate::background::Starter;
use crate::decider::{self, HandOver};
use crate::ending::End;
use crate::jobs::{Action, Jobs};
use crate::options::{Asking, Run};
use crate::prompt::{self, Interruptions, Outcome, Question};
use crate::say::{self, StatusFd, Voice};
use crate::tty::Tty;
use relay::Relay;
pub(crate) use telling::tell_act;
use telling::{begins_in_background, input, send, size_of};

/// Signals that are passed on to the command, unless our caller ignores them.
const PASSED_ON: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGTSTP,
];

struct Attendant<'a> {
    channel: Channel,
    session: String,
    relay: Relay,
    jobs: Jobs,
    signals: SignalFd,
    asking: &'a Asking,
    /// Asked and not yet answered.
    question: Option<(Bytes, bool)>,
    /// The session heard that there is no answer.
    declined: bool,
    voice: &'a Voice,
    status: Option<&'a StatusFd>,
    starter: Option<Starter>,
    end: Option<End>,
}

/// What a session is attended to with.
pub(crate) struct Call<'a> {
    pub(crate) act: &'a Act,
    pub(crate) run: &'a Run,
    pub(crate) tty: Option<Tty>,
    pub(crate) voice: &'a Voice,
    pub(crate) status: Option<&'a StatusFd>,
    /// `-b`: this process is to be left alone with the command once that runs.
    pub(crate) starter: Option<Starter>,
}

/// Attends to a session until the command is over.
pub(crate) fn attend(hand_over: HandOver, call: Call<'_>) -> End {
    let Call { act, run, tty, voice, status, starter } = call;
    let HandOver { session, channel } = hand_over;
    let asking = &run.asking;
    let fail = |what: &str, error: &dyn std::fmt::Display| {
        voice.complain(&format!("cannot {what}: {error}"));
        End::Code(1)
    };
    // Blocked from here on: the command gets them, not we.
    let mut taken: Vec<Signal> = PASSED_ON.into_iter().filter(|signal| !signals::is_ignored(*signal as i32)).collect();
    taken.extend([Signal::SIGCONT, Signal::SIGWINCH]);
    let signals = match signals::take(&taken) {
        Ok(signals) => signals,
        Err(error) => return fail("take signals", &error),
    };
    if let Err(error) = channel.ask_for_credentials() {
        return fail("watch the session", &error);
    }
    let background = starter.is_some() || begins_in_background();
    let input = match input(starter.is_some()) {
        Ok(input) => input,
        Err(error) => return fail("open /dev/null", &error),
    };
    let input = input.as_ref().map_or(files::standard()[0], AsFd::as_fd);
    if let Err(error) = tell_act(&channel, act, run, input, tty.as_ref(), background) {
        return fail("talk to the session", &error);
    }
    // The terminal is never lent to what was sent into the background for good.
    let jobs = Jobs::new(tty.is_some() && starter.is_none(), background);
    let relay = Relay::new(tty);
    let mut attendant = Attendant {
        channel,
        session,
        relay,
        jobs,
        signals,
        asking,
        question: None,
        declined: false,
        voice,
        status,
        starter,
        end: None,
    };
    let end = attendant.until_the_end();
    let last = attendant.jobs.ended();
    attendant.carry_out(last);
    end
}

impl Attendant<'_> {
    fn until_the_end(&mut self) -> End {
        loop {
            if let Some(end) = self.end
                && self.relay.is_over()
            {
                return end;
            }
            match self.question.take() {
                Some(question) if self.end.is_none() => self.ask(question),
                _ => self.turn(),
            }
        }
    }

    fn ask(&mut self, (prompt, echo): (Bytes, bool)) {
        let interruptions = Interruptions { signals: &self.signals, session: self.channel.as_fd() };
        let question = Question { prompt: &prompt.0, echo };
        match prompt::ask(&question, self.asking, self.relay.tty_only(), &interruptions) {
            Outcome::Answer(secret) => {
                // Meanwhile the window may have been dragged, and the job sent to the foreground.
                if let Some(size) = self.relay.tty().map(|tty| size_of(tty)) {
                    let foreground = self.is_foreground();
                    self.say(&ToSession::Resize(size));
                    self.say(&ToSession::Continue { foreground });
                }
                // A session that is gone is noticed when it is read from.
                let _ = self.channel.send(&secret.datagram(), &[]);
            }
            Outcome::Nothing(lines) => {
                lines.iter().for_each(|line| self.voice.complain(line));
                self.declined = true;
                self.say(&ToSession::NoAnswer);
            }
            Outcome::Over(line) => {
                self.voice.complain(&line);
                self.fail();
            }
            Outcome::SessionSpoke => {
                self.turn();
                // It is asked again unless the session has asked something else, or nothing is asked any more.
                self.question = self.question.take().or(Some((prompt, echo)));
            }
        }
    }

    fn turn(&mut self) {
        let raw = self.jobs.is_raw();
        let mut entries = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let channel_open = self.end.is_none();
        if channel_open {
            entries.push(PollFd::new(self.channel.as_fd(), PollFlags::POLLIN));
        }
        let relay_at = entries.len();
        let wants = self.relay.wants(raw);
        entries.extend(wants.iter().map(|(_, descriptor, flags)| PollFd::new(*descriptor, *flags)));
        // An interrupted wait is a short one.
        let _ = poll(&mut entries, PollTimeout::NONE);
        let came = |place: usize| entries.get(place).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        let ready: Vec<_> =
            wants.iter().enumerate().map(|(place, (what, ..))| (*what, came(relay_at + place))).collect();
        let (signal, message) = (came(0), if channel_open { came(1) } else { PollFlags::empty() });
        drop(entries);
        drop(wants);
        if self.relay.move_bytes(raw, &ready) == relay::Outcome::TerminalLost {
            self.terminal_lost();
        }
        if !message.is_empty() {
            self.attend_to_session();
        }
        if !signal.is_empty() {
            self.attend_to_signals();
        }
    }

    fn attend_to_session(&mut self) {
        let message = match self.channel.receive() {
            Ok(Some(message)) => message,
            Ok(None) | Err(_) => return self.session_lost(),
        };
        if message.sender.map(|sender| sender.uid) != Some(0) {
            return self.session_lost();
        }
        let Ok(told) = serde_json::from_slice::<FromSession>(&message.bytes) else {
            return self.session_lost();
        };
        match told {
            FromSession::Started { stream } => {
                self.tell_status(&format!("started {}", self.session));
                if stream {
                    self.relay.begin(message.descriptors.into_iter().next());
                }
                let foreground = self.is_foreground();
                let actions = self.jobs.started(foreground);
                self.carry_out(actions);
                if let Some(starter) = &self.starter {
                    starter.started();
                }
            }
            FromSession::Stopped(signal) => {
                let foreground = self.relay.tty().is_some_and(|tty| tty.may_be_lent());
                let actions = self.jobs.stopped(signal, foreground);
                self.carry_out(actions);
            }
            FromSession::Notice(line) => {
                let text = self.voice.notice(&line);
                if !self.relay.add_line(&text) {
                    self.voice.text(&text);
                }
            }
            FromSession::Ask { prompt, echo } => self.question = Some((prompt, echo)),
            FromSession::Text(text) => self.voice.text(&format!("{text}\n")),
            // Only `--explain-env` has it; a closed output is the reader's affair.
            FromSession::Output(text) => drop(say::print_bytes(&text.0)),
            // Files belong to `-e`.
            FromSession::Told(_) | FromSession::Kept(_) => {}
            FromSession::Ended(raw) => {
                let end = End::of(raw);
                self.tell_status(&end.line());
                self.end = Some(end);
            }
            FromSession::Failed(fault) => {
                self.voice.fault(&fault);
                self.fail();
            }
            // A later version's news.
            FromSession::Unknown => {}
        }
    }

    fn tell_status(&self, line: &str) {
        if let Some(status) = self.status {
            status.line(line);
        }
    }

    fn session_lost(&mut self) {
        let last = self.jobs.ended();
        self.carry_out(last);
        if self.declined {
            self.voice.complain("a password is required");
        } else {
            decider::say_gone(self.voice, "the session is gone without a word about the command");
        }
        self.fail();
    }

    fn fail(&mut self) {
        self.relay.give_up();
        self.tell_status("failed");
        self.end = Some(End::Code(1));
    }

    fn terminal_lost(&mut self) {
        self.jobs.lost_terminal();
        if !signals::is_ignored(libc::SIGHUP) {
            // The session ends the command when this process is gone.
            self.say(&ToSession::Signal(libc::SIGHUP));
            self.relay.give_up();
            self.end = Some(End::Signal(u8::try_from(libc::SIGHUP).unwrap_or(1)));
        }
    }

    fn attend_to_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match i32::try_from(signal.ssi_signo).unwrap_or(0) {
                libc::SIGWINCH => self.carry_out(vec![Action::Size]),
                libc::SIGCONT => {
                    let foreground = self.is_foreground();
                    let actions = self.jobs.continued(foreground);
                    self.carry_out(actions);
                }
                other => self.say(&ToSession::Signal(other)),
            }
        }
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Raw => {
                    if let Some(tty) = self.relay.tty() {
                        // Not in the foreground any more: the next SIGCONT asks again.
                        tty.make_raw();
                    }
                }
                Action::Restore => {
                    if let Some(tty) = self.relay.tty() {
                        tty.restore();
                    }
                }
                Action::Size => {
                    if let Some(size) = self.relay.tty().map(|tty| size_of(tty)) {
                        self.say(&ToSession::Resize(size));
                    }
                }
                Action::Continue { foreground } => self.say(&ToSession::Continue { foreground }),
                Action::Signal(signal) => self.say(&ToSession::Signal(signal)),
                Action::Stop(signal) => {
                    self.relay.flush();
                    // In the background for good there is no shell that would continue it.
                    let really = self.starter.is_none() && self.stop(signal);
                    let foreground = self.is_foreground();
                    let actions = self.jobs.resumed(foreground, really);
                    self.carry_out(actions);
                }
            }
        }
    }

    /// Stops this process group; true when it was stopped and runs again.
    fn stop(&self, signal: i32) -> bool {
        let Ok(signal) = Signal::try_from(signal) else {
            return false;
        };
        if signals::stop_group(signal).is_err() {
            return false;
        }
        // What continued us waits to be read; it is answered here, so it is taken.
        let mut really = false;
        let mut others = Vec::new();
        while let Ok(Some(waiting)) = self.signals.read_signal() {
            match i32::try_from(waiting.ssi_signo).unwrap_or(0) {
                libc::SIGCONT => really = true,
                other => others.push(other),
            }
        }
        for other in others {
            if other != libc::SIGWINCH {
                self.say(&ToSession::Signal(other));
            }
        }
        really
    }

    fn is_foreground(&mut self) -> bool {
        self.relay.tty().is_some_and(|tty| tty.is_foreground())
    }

    /// A session that is gone is noticed when it is read from.
    fn say(&self, message: &ToSession) {
        let _ = send(&self.channel, message, &[]);
    }
}
