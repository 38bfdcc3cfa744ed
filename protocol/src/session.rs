//! Between a client and its session, on the socket that came with the hand-over.
//!
//! The client checks that uid 0 sent every message; the session checks that every message comes from the requester's own process.
//! Order: the client sends the act again (`Act`, then `More`), with these descriptors attached to the first datagram:
//! standard input, output, error, the working directory (O_PATH), and last the terminal, if `options.terminal`.
//! The session answers [`FromSession::Started`] (with the terminal's byte stream attached, if there is one), reports stops,
//! and ends with [`FromSession::Ended`] or [`FromSession::Failed`].

use serde::{Deserialize, Serialize};

use crate::act::{ActMore, ActStart};
use crate::client::Fault;

/// Size of a terminal, as TIOCGWINSZ has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// A datagram from the client to its session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ToSession {
    /// The act again; descriptors 0, 1, 2, cwd and perhaps the terminal are attached.
    Act {
        /// First datagram of the act.
        act: Box<ActStart>,
        /// Size of the terminal.
        size: Size,
        /// The client's process group is the terminal's foreground group.
        foreground: bool,
        /// The command begins in the background of its pty (standard input or output is a pipe).
        background: bool,
    },
    /// A following datagram of the act.
    More(ActMore),
    /// The terminal changed its size.
    Resize(Size),
    /// The client runs again after a stop, or took the foreground for the command.
    Continue {
        /// The command gets its pty's foreground.
        foreground: bool,
    },
    /// The client got this signal from somebody and passes it on.
    Signal(i32),
}

/// A datagram from the session to the client.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromSession {
    /// The command runs; with `stream`, a stream socket of terminal bytes is attached.
    Started {
        /// Terminal bytes travel on the attached descriptor.
        stream: bool,
    },
    /// The command was stopped by this signal (SIGTSTP, SIGSTOP, SIGTTIN, SIGTTOU).
    Stopped(i32),
    /// A line for the requester's terminal: warnings before the end, what still runs.
    Notice(String),
    /// The command is over: the raw wait status (wait(2)). Output on the stream is complete when the stream ends.
    Ended(i32),
    /// It never started.
    Failed(Fault),
    /// A message of a later version.
    #[serde(other)]
    Unknown,
}
