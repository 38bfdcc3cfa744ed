//! One question to the daemon, within five seconds or not at all.

use std::fmt;
use std::path::Path;

use jitsudo_login_wire::message::{Answer, Enter};
use jitsudo_login_wire::{Buffer, MAX_MESSAGE_BYTES, SOCKET};

use crate::ffi::{self, Connection, Moment, Trouble};

/// How long the daemon may take, milliseconds.
pub(crate) const PATIENCE_MS: u64 = 5_000;

/// Room for an answer, and for the byte that shows that it is too long.
pub(crate) type Room = [u8; MAX_MESSAGE_BYTES + 1];

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoAnswer {
    /// The question does not fit.
    TooLong,
    /// Whoever listens there is not root.
    NotRoot,
    /// The daemon is not there, or took too long.
    Away(Trouble),
    /// What it said is no answer.
    Nonsense(jitsudo_login_wire::ReadError),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the question is too long"),
            Self::NotRoot => write!(f, "the daemon's socket is not root's"),
            Self::Away(trouble) => write!(f, "the daemon does not answer: {trouble}"),
            Self::Nonsense(error) => write!(f, "the daemon's answer cannot be read: {error}"),
        }
    }
}

/// Asks, and waits for the answer.
pub(crate) fn ask<'room>(question: &Enter<'_>, room: &'room mut Room) -> Result<Answer<'room>, NoAnswer> {
    let until = Moment::now().after_ms(PATIENCE_MS);
    let connection = told(question, until)?;
    let length = connection.receive(room, until).map_err(NoAnswer::Away)?;
    Answer::read(room.get(..length).unwrap_or_default()).map_err(NoAnswer::Nonsense)
}

/// Tells, and waits for nothing.
pub(crate) fn tell(news: &Enter<'_>) {
    let _ = told(news, Moment::now());
}

fn told(question: &Enter<'_>, until: Moment) -> Result<Connection, NoAnswer> {
    let mut buffer = Buffer::default();
    question.write(&mut buffer).map_err(|_| NoAnswer::TooLong)?;
    let connection = Connection::to(Path::new(SOCKET), until).map_err(NoAnswer::Away)?;
    if connection.peer_uid() != Some(ffi::ROOT) {
        return Err(NoAnswer::NotRoot);
    }
    connection.send(buffer.as_bytes(), until).map_err(NoAnswer::Away)?;
    Ok(connection)
}
