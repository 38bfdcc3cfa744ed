//! Editing files (`-e`): the session reads, the client's user edits copies, the session writes back.
//!
//! After the act the session says one [`Told`] for each file of it, in order: with the content as a sealed memfd attached
//! ([`Told::copied`]), or why not. The client gives back what it wants written, file by file: one [`Returned`] and then its bytes in
//! datagrams of their own ([`chunk`]); each is answered by a [`Kept`]. It ends with `ToSession::EditingDone`, the session with `Ended`.
//!
//! A file is named by its place in the act, so no message can name another one than those that were decided about.

use serde::{Deserialize, Serialize};

/// Most files of one `-e`.
pub const MAX_FILES: usize = 64;
/// Largest file, bytes: 64 MiB.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// Most bytes of all files of one `-e`: 256 MiB.
pub const MAX_TOTAL_BYTES: u64 = 256 << 20;
/// Most bytes of content in one datagram.
pub const MAX_CHUNK_BYTES: usize = 60 * 1024;

/// First byte of a datagram of content: no JSON text begins with it.
const CHUNK: u8 = 1;

/// Session → client: what became of the opening of one file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Told {
    /// Place in the act's words.
    pub number: u32,
    /// The file does not exist yet; nothing is attached.
    pub fresh: bool,
    /// Why it cannot be edited, without its name: `editing symbolic links is not permitted`. Nothing is attached.
    pub refused: Option<String>,
    /// What would help.
    pub hint: Option<String>,
}

impl Told {
    /// True when a memfd with the content is attached.
    #[must_use]
    pub fn copied(&self) -> bool {
        !self.fresh && self.refused.is_none()
    }
}

/// Client → session: the content of one file follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Returned {
    /// Place in the act's words.
    pub number: u32,
    /// How many bytes follow, at most [`MAX_FILE_BYTES`].
    pub bytes: u64,
}

/// Session → client: what became of one returned file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// Place in the act's words.
    pub number: u32,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a returned file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The file holds it.
    Written,
    /// It is what the file holds already.
    Unchanged,
    /// The file is as it was; why, in words.
    Refused(String),
}

/// A datagram of content; at most [`MAX_CHUNK_BYTES`] of it.
#[must_use]
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(1 + bytes.len());
    datagram.push(CHUNK);
    datagram.extend_from_slice(bytes);
    datagram
}

/// The content in a datagram; `None` for any other message, an empty or an overlong one.
#[must_use]
pub fn read_chunk(datagram: &[u8]) -> Option<&[u8]> {
    datagram.strip_prefix(&[CHUNK]).filter(|bytes| !bytes.is_empty() && bytes.len() <= MAX_CHUNK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{ToSession, answer, read_answer};

    #[test]
    fn content_is_no_message_and_no_message_is_content() {
        assert_eq!(read_chunk(&chunk(b"x\n")).unwrap(), b"x\n");
        assert_eq!(read_chunk(&chunk(b"")), None);
        assert_eq!(read_chunk(&chunk(&vec![b'x'; MAX_CHUNK_BYTES + 1])), None);
        assert!(serde_json::from_slice::<ToSession>(&chunk(b"{\"signal\":2}")).is_err());
        assert_eq!(read_chunk(&answer(b"secret")), None);
        assert_eq!(read_answer(&chunk(b"text")), None);
        assert!(chunk(&vec![0; MAX_CHUNK_BYTES]).len() < crate::MAX_DATAGRAM);
    }
}
