//! A typed secret: one buffer, wiped when it goes.

use jitsudo_protocol::session::{self, MAX_ANSWER_BYTES};
use zeroize::Zeroizing;

/// What somebody typed.
pub(crate) struct Secret {
    bytes: Box<Zeroizing<[u8; MAX_ANSWER_BYTES]>>,
    length: usize,
}

impl Secret {
    pub(super) fn new() -> Self {
        Self { bytes: Box::new(Zeroizing::new([0; MAX_ANSWER_BYTES])), length: 0 }
    }

    /// Adds a byte; false when there is no room for it.
    pub(super) fn push(&mut self, byte: u8) -> bool {
        let place = self.bytes.get_mut(self.length);
        let has_room = place.is_some();
        if let Some(place) = place {
            *place = byte;
            self.length += 1;
        }
        has_room
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// As it is sent to the session; wiped as well.
    pub(crate) fn datagram(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(session::answer(self.bytes.get(..self.length).unwrap_or_default()))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_sent_as_it_is_bounded_and_never_shown() {
        let mut secret = Secret::new();
        b"pw\xff".iter().for_each(|byte| assert!(secret.push(*byte)));
        assert_eq!(session::read_answer(&secret.datagram()), Some(&b"pw\xff"[..]));
        assert_eq!(format!("{secret:?}"), "Secret");
        let mut long = Secret::new();
        assert_eq!((0..600).filter(|_| long.push(b'x')).count(), MAX_ANSWER_BYTES);
        assert_eq!(session::read_answer(&long.datagram()).map(<[u8]>::len), Some(MAX_ANSWER_BYTES));
    }
}
