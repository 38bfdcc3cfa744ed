//! Asking for a password, as sudo does: on the terminal, from standard input, or by a helper.
//!
//! MUSTs
//! 1. Echo is off before the prompt is seen, and back on every way out (`Quiet`; `echo_is_off_while_asked_and_back_afterwards`).
//! 2. What is typed has one copy, and that is wiped (`Secret`).
//! 3. `-S` reads no byte beyond the newline: the rest is the command's (`standard_input_is_read_up_to_the_newline`).
//! 4. A terminal that another job has is not read from: this process stops instead (host test `background_job_stops_and_asks_after_fg`).

mod askpass;
mod line;
mod secret;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use jitsudo_sys::nix::sys::signalfd::SignalFd;
use jitsudo_sys::{files, terminal};

use crate::options::{Asking, Source};
use crate::tty::Tty;

use line::{Line, Place};
pub(crate) use secret::Secret;

/// How long an answer may take: sudo's default.
const PATIENCE: Duration = Duration::from_secs(300);
/// sudo's words for an empty answer.
const NOTHING: &str = "no password was provided";

/// What came of asking.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// This.
    Answer(Secret),
    /// Nothing; what to say about it.
    Nothing(Vec<String>),
    /// Nothing, and sudo ends at once with these words.
    Over(String),
    /// The session has something to say: the question may be gone.
    SessionSpoke,
}

/// What interrupts an answer.
pub(crate) struct Interruptions<'a> {
    /// The signals that this process took.
    pub(crate) signals: &'a SignalFd,
    /// The socket to the session.
    pub(crate) session: BorrowedFd<'a>,
}

/// A question of the session's.
pub(crate) struct Question<'a> {
    /// Printed as it stands.
    pub(crate) prompt: &'a [u8],
    /// What is typed is shown.
    pub(crate) echo: bool,
}

/// Asks once, where the options say.
pub(crate) fn ask(
    question: &Question<'_>,
    asking: &Asking,
    tty: Option<&Tty>,
    interruptions: &Interruptions<'_>,
) -> Outcome {
    let tty = tty.filter(|tty| tty.is_controlling());
    let [input, _, error] = files::standard();
    let place = match (&asking.source, tty) {
        (Source::Stdin, _) => Place {
            input,
            output: Some(error),
            is_terminal: terminal::is_terminal(input),
            bell: false,
            patience: PATIENCE,
        },
        (Source::Askpass(None), _) => {
            return Outcome::Over("no askpass program specified, try setting SUDO_ASKPASS".to_owned());
        }
        (Source::Askpass(Some(helper)), _) | (Source::Terminal { helper: Some(helper) }, None) => {
            return askpass::ask(helper, question.prompt, PATIENCE, interruptions);
        }
        (Source::Terminal { .. }, Some(tty)) => Place {
            input: tty.as_fd(),
            output: Some(tty.as_fd()),
            is_terminal: true,
            bell: asking.bell,
            patience: PATIENCE,
        },
        (Source::Terminal { helper: None }, None) => {
            let line = "a terminal is required to read the password; either use the -S option to read from standard \
                        input or configure an askpass helper";
            return Outcome::Nothing(vec![line.to_owned()]);
        }
    };
    outcome(place.ask(question, interruptions))
}

/// A line, in sudo's words.
fn outcome(line: Line) -> Outcome {
    match line {
        Line::Read(secret) => Outcome::Answer(secret),
        Line::End => Outcome::Nothing(vec![NOTHING.to_owned()]),
        Line::TimedOut => Outcome::Nothing(vec!["timed out reading password".to_owned()]),
        Line::Cancelled | Line::Unreadable => Outcome::Nothing(vec![]),
        Line::SessionSpoke => Outcome::SessionSpoke,
    }
}
