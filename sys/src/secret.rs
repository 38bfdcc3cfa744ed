//! What somebody typed in secret: one copy, wiped when it goes (explicit_bzero(3)).
//!
//! MUSTs
//! 1. The bytes are in one place on the heap; moving the value moves no byte of them.
//! 2. Nothing prints them.

use std::fmt;

/// Room of a secret, bytes: an answer, and the other short messages that may come instead of one.
const ROOM: usize = 1024;

/// A secret; wiped when dropped.
pub struct Secret {
    room: Box<[u8; ROOM]>,
    start: usize,
    end: usize,
}

impl Secret {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self { room: Box::new([0; ROOM]), start: 0, end: 0 }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.room.get(self.start..self.end).unwrap_or_default()
    }

    /// Leaves the first bytes out.
    #[must_use]
    pub fn without_first(mut self, count: usize) -> Self {
        self.start = self.start.saturating_add(count).min(self.end);
        self
    }

    /// The whole room, to be written into.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        self.room.as_mut_slice()
    }

    /// How much of the room was written.
    pub(crate) fn set_length(&mut self, length: usize) {
        (self.start, self.end) = (0, length.min(ROOM));
    }
}

impl Default for Secret {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        wipe(self.room.as_mut_slice());
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Overwrites bytes so that no compiler leaves it out.
pub fn wipe(bytes: &mut [u8]) {
    // SAFETY: pointer and length are those of a live, writable slice.
    unsafe { libc::explicit_bzero(bytes.as_mut_ptr().cast(), bytes.len()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_stays_in_one_place_and_is_never_printed() {
        let mut secret = Secret::new();
        secret.room()[..7].copy_from_slice(b"\0secret");
        secret.set_length(7);
        let before = secret.as_bytes().as_ptr();
        let secret = secret.without_first(1);
        assert_eq!(secret.as_bytes(), b"secret");
        assert_eq!(secret.as_bytes().as_ptr(), before.wrapping_add(1));
        assert!(!format!("{secret:?}").contains("secret"));
        assert_eq!(secret.without_first(9).as_bytes(), b"");
    }

    #[test]
    fn wiped_bytes_are_gone() {
        let mut bytes = *b"secret";
        wipe(&mut bytes);
        assert_eq!(bytes, [0; 6]);
    }
}
