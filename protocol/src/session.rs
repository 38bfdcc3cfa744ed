//! Between a client and its session, on the socket that came with the hand-over.
//!
//! The client checks that uid 0 sent every message; the session checks that every message comes from the requester's own process.
//! Order: the client sends the act again (`Act`, then `More`), with these descriptors attached to the first datagram:
//! standard input, output, error, the working directory (O_PATH), and last the terminal, if `options.terminal`.
//! The session answers [`FromSession::Started`] (with the terminal's byte stream attached, if there is one), reports stops,
//! and ends with [`FromSession::Ended`] or [`FromSession::Failed`].

use jitsudo_bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::act::{ActMore, ActStart};
use crate::client::Fault;
use crate::edit::{Kept, Returned, Told};

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

/// How the client wants its user to be asked for a password.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// sudo's prompt template with `%H %h %p %U %u %%`; at most 4 KiB. The session fills it in: the client knows no names.
    pub template: Bytes,
    /// `-p`: it replaces whatever a PAM module asks with, not only a plain `Password:`.
    pub overrides: bool,
}

/// First byte of an answer to [`FromSession::Ask`]: no JSON text begins with it.
const ANSWER: u8 = 0;
/// Longest answer, bytes (PAM_MAX_RESP_SIZE of Linux-PAM is 512, NUL included).
pub const MAX_ANSWER_BYTES: usize = 511;

/// The datagram of an answer: kept out of JSON, so that a secret has one copy, which its owner wipes.
#[must_use]
pub fn answer(text: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(1 + text.len());
    datagram.push(ANSWER);
    datagram.extend_from_slice(text);
    datagram
}

/// The answer in a datagram; `None` for any other message.
#[must_use]
pub fn read_answer(datagram: &[u8]) -> Option<&[u8]> {
    datagram.strip_prefix(&[ANSWER]).filter(|text| text.len() <= MAX_ANSWER_BYTES)
}

/// A datagram from the client to its session. The answer to [`FromSession::Ask`] is none of these: see [`answer`].
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
        /// How to ask for a password.
        prompt: Prompt,
        /// `--explain-env`: nothing runs; the command's variables are told, each with its cause.
        explain_env: bool,
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
    /// Instead of an [`answer`]: nothing was typed, or there is nobody to type (end of input, `-n`, no terminal).
    NoAnswer,
    /// `-e`: this content follows, in datagrams of its own.
    Returned(Returned),
    /// `-e`: nothing more comes.
    EditingDone {
        /// Something of it went wrong, the editor itself or a file.
        failed: bool,
    },
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
    /// A question of the host's PAM modules; [`answer`], [`ToSession::NoAnswer`] or [`ToSession::Signal`] follows. What came before it
    /// is dropped.
    Ask {
        /// The prompt, filled in; printed as it stands, without a newline.
        prompt: Bytes,
        /// What is typed is shown.
        echo: bool,
    },
    /// Text of the host's PAM modules, or of the retries, printed as it stands to standard error, with a newline.
    Text(String),
    /// Text for standard output, as it stands (`--explain-env`).
    Output(Bytes),
    /// The command is over: the raw wait status (wait(2)). Output on the stream is complete when the stream ends.
    Ended(i32),
    /// `-e`: a file was opened, or not; its content is attached as a sealed memfd.
    Told(Told),
    /// `-e`: what became of a returned file.
    Kept(Kept),
    /// It never started.
    Failed(Fault),
    /// A message of a later version.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_no_message_and_no_message_is_an_answer() {
        assert_eq!(read_answer(&answer(b"secret")).unwrap(), b"secret");
        assert_eq!(read_answer(&answer(b"")).unwrap(), b"");
        assert!(serde_json::from_slice::<ToSession>(&answer(b"{\"signal\":2}")).is_err());
        for message in [&br#"{"signal":2}"#[..], b"", b"x"] {
            assert_eq!(read_answer(message), None);
        }
        assert_eq!(read_answer(&answer(&[b'x'; MAX_ANSWER_BYTES + 1])), None);
    }
}
