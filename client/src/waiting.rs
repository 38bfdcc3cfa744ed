//! While other people are asked: who was, one live line, and what ends the waiting.
//!
//! MUSTs
//! 1. Ctrl-C, a terminal that hangs up and an order to end take the request back before this program ends (host test `approvals`).
//! 2. Without a terminal nothing is drawn; what others wrote reaches one only without its control characters (`live_line_*`).

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;

use jitsudo_protocol::VERSION;
use jitsudo_protocol::client::{Denied, FromClient, Say, Waiting};
use jitsudo_sys::channel::{Channel, Message};
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use jitsudo_sys::nix::sys::signal::Signal;
use jitsudo_sys::nix::sys::signalfd::SignalFd;
use jitsudo_sys::{clock, signals};

use crate::decider::{NoSession, next};
use crate::say::{Voice, visible};

/// What gives up the waiting, unless our caller ignores it.
const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];
/// Between two looks at the clock, milliseconds.
const TICK_MS: u16 = 1000;
/// How long the daemon's word on what was given up is waited for, milliseconds.
const LAST_WORD_MS: u64 = 3000;
/// How long a lost connection is tried again, milliseconds: as long as the daemon keeps the request.
const COME_BACK_MS: u64 = 30_000;
/// Columns that are drawn on.
const WIDTH: usize = 79;

/// What is known of the waiting.
pub(crate) struct Live<'a> {
    voice: &'a Voice,
    on_terminal: bool,
    waiting: Option<Waiting>,
    /// When it was said, CLOCK_BOOTTIME milliseconds.
    said_ms: u64,
    signals: Option<SignalFd>,
    /// Given up: the last word is waited for until then.
    over_ms: Option<u64>,
    /// Tried again until then.
    lost_ms: Option<u64>,
}

impl<'a> Live<'a> {
    pub(crate) fn new(voice: &'a Voice) -> Self {
        let on_terminal = io::stderr().is_terminal();
        Self { voice, on_terminal, waiting: None, said_ms: 0, signals: None, over_ms: None, lost_ms: None }
    }

    /// Other people are asked, or one of them has answered.
    pub(crate) fn heard(&mut self, waiting: Waiting) {
        if self.waiting.is_none() {
            let taken: Vec<Signal> = ENDING.into_iter().filter(|signal| !signals::is_ignored(*signal as i32)).collect();
            // Without them the signals do what they always do, and the request goes with the connection.
            self.signals = signals::take(&taken).ok();
            let short = waiting.id.get(20..).unwrap_or(&waiting.id);
            let line = format!("asked {} for: {}   {short}", waiting.asked.join(", "), waiting.what);
            self.voice.text(&format!("{}\n", visible(&line)));
        }
        self.lost_ms = None;
        self.said_ms = clock::boottime_ms();
        self.waiting = Some(waiting);
        self.draw();
    }

    /// The next message; meanwhile the line is kept up to date.
    pub(crate) fn next(&mut self, channel: &Channel, nonce: &str) -> Result<Message, NoSession> {
        while self.waiting.is_some() {
            if self.over_ms.is_some_and(|over_ms| clock::boottime_ms() >= over_ms) {
                return Err(NoSession::Denied(self.given_up()));
            }
            let mut entries = vec![PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
            entries.extend(self.signals.as_ref().map(|signals| PollFd::new(signals.as_fd(), PollFlags::POLLIN)));
            // An interruption is a look at the clock.
            let _ = poll(&mut entries, PollTimeout::from(TICK_MS));
            let ready = |place: usize| entries.get(place).and_then(PollFd::any).unwrap_or(false);
            let (heard, signalled) = (ready(0), ready(1));
            if signalled && self.takes_signal() && self.over_ms.is_none() {
                self.over_ms = Some(clock::boottime_ms().saturating_add(LAST_WORD_MS));
                let give_up = FromClient { nonce: nonce.to_owned(), version: VERSION, say: Say::GiveUp };
                let sent = serde_json::to_vec(&give_up).is_ok_and(|bytes| channel.send(&bytes, &[]).is_ok());
                if !sent {
                    return Err(NoSession::Denied(self.given_up()));
                }
            }
            if heard {
                break;
            }
            self.draw();
        }
        next(channel)
    }

    /// The request that is to be taken up again, while there is time for that; waits a moment first.
    pub(crate) fn comes_back(&mut self) -> Option<String> {
        let id = self.waiting.as_ref()?.id.clone();
        let now_ms = clock::boottime_ms();
        let until_ms = *self.lost_ms.get_or_insert(now_ms.saturating_add(COME_BACK_MS));
        if self.over_ms.is_some() || now_ms >= until_ms {
            return None;
        }
        self.clear();
        if self.on_terminal {
            self.voice.text("waiting · the daemon is away, trying again · Ctrl-C withdraws");
        }
        let mut entries: Vec<PollFd<'_>> =
            self.signals.iter().map(|signals| PollFd::new(signals.as_fd(), PollFlags::POLLIN)).collect();
        let _ = poll(&mut entries, PollTimeout::from(TICK_MS));
        let signalled = entries.first().and_then(PollFd::any).unwrap_or(false);
        // Nobody hears that it is given up: the daemon finds out by itself.
        (!(signalled && self.takes_signal())).then_some(id)
    }

    /// The waiting is over: the line goes, and on a terminal who made it so is said.
    pub(crate) fn end(&mut self, approved: bool) {
        self.clear();
        if let Some(waiting) =
            self.waiting.take().filter(|waiting| approved && self.on_terminal && !waiting.yes.is_empty())
        {
            self.voice.text(&format!("{}\n", visible(&format!("approved by {}", waiting.yes.join(" and ")))));
        }
    }

    fn takes_signal(&self) -> bool {
        self.signals.as_ref().is_some_and(|signals| matches!(signals.read_signal(), Ok(Some(_))))
    }

    fn given_up(&self) -> Denied {
        let id = self.waiting.as_ref().map(|waiting| waiting.id.clone());
        let hint = "the daemon did not answer; without its requester the request is over in 30 s".to_owned();
        let headline = "withdrawn".to_owned();
        Denied { headline, detail: Vec::new(), hint: Some(hint), id, by_person: false, unanswered: true }
    }

    fn draw(&self) {
        let Some(waiting) = self.waiting.as_ref().filter(|_| self.on_terminal) else { return };
        let gone = clock::boottime_ms().saturating_sub(self.said_ms) / 1000;
        self.voice.text(&format!("\r\u{1b}[K{}", line(waiting, waiting.left.saturating_sub(gone))));
    }

    fn clear(&self) {
        if self.on_terminal && self.waiting.is_some() {
            self.voice.text("\r\u{1b}[K");
        }
    }
}

/// `waiting · bob said yes · carol has seen it · 19:52 left · Ctrl-C withdraws`
fn line(waiting: &Waiting, left: u64) -> String {
    let mut parts = vec!["waiting".to_owned()];
    if !waiting.yes.is_empty() {
        parts.push(format!("{} said yes", waiting.yes.join(" and ")));
    }
    let seen: Vec<&str> = waiting.seen.iter().filter(|name| !waiting.yes.contains(name)).map(String::as_str).collect();
    match seen.len() {
        0 => {}
        1 => parts.push(format!("{} has seen it", seen.concat())),
        _ => parts.push(format!("{} have seen it", seen.join(" and "))),
    }
    let time = match (left / 3600, left / 60 % 60, left % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    };
    parts.push(format!("{time} left"));
    parts.push("Ctrl-C withdraws".to_owned());
    visible(&parts.join(" · ")).chars().take(WIDTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(yes: &[&str], seen: &[&str]) -> Waiting {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Waiting {
            id: "01k6q9v0zz0000000000k3v9tz".to_owned(),
            what: "a root shell".to_owned(),
            asked: vec!["@leads".to_owned()],
            persons: 2,
            yes: names(yes),
            seen: names(seen),
            left: 60,
        }
    }

    #[test]
    fn live_line_says_who_answered_who_looked_and_how_long_it_holds() {
        assert_eq!(line(&waiting(&[], &[]), 1192), "waiting · 19:52 left · Ctrl-C withdraws");
        assert_eq!(
            line(&waiting(&["bob"], &["bob", "carol"]), 4000),
            "waiting · bob said yes · carol has seen it · 1:06:40 left · Ctrl-C withdraws"
        );
    }

    #[test]
    fn live_line_stays_on_its_line_and_moves_no_cursor() {
        let text = line(&waiting(&["a\u{1b}[2J\n"], &[&"x".repeat(200)]), 5);
        assert!(text.chars().count() == WIDTH && !text.chars().any(char::is_control), "{text}");
    }
}
