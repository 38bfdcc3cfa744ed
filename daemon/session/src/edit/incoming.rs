//! Content on its way in: never more than was announced, never more than the limit, for a file that is waited for.

use jitsudo_protocol::edit::{MAX_FILE_BYTES, Returned};

use super::Opened;

/// One file's content.
#[derive(Debug)]
pub(super) struct Incoming {
    number: u32,
    bytes: u64,
    content: Vec<u8>,
}

impl Incoming {
    /// Begins with what was announced.
    pub(super) fn begin(returned: Returned, files: &[Option<Opened>]) -> Result<Self, &'static str> {
        let file = usize::try_from(returned.number).ok().and_then(|place| files.get(place));
        if !file.is_some_and(Option::is_some) {
            return Err("a file came back that was not given, or came back before");
        }
        if returned.bytes > MAX_FILE_BYTES {
            return Err("a file came back that is larger than allowed");
        }
        // Grows as bytes come: what is only announced takes no memory.
        Ok(Self { number: returned.number, bytes: returned.bytes, content: Vec::new() })
    }

    /// Adds a datagram's bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        if (self.content.len() + bytes.len()) as u64 > self.bytes {
            return Err("more content came than was announced");
        }
        self.content.extend_from_slice(bytes);
        Ok(())
    }

    /// True when all that was announced is there.
    pub(super) fn is_whole(&self) -> bool {
        self.content.len() as u64 == self.bytes
    }

    /// Place in the act, and the content.
    pub(super) fn into_parts(self) -> (u32, Vec<u8>) {
        (self.number, self.content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::place::Place;
    use jitsudo_sys::nix::fcntl::{OFlag, open};
    use jitsudo_sys::nix::sys::stat::Mode;

    fn files() -> Vec<Option<Opened>> {
        let directory = open(c"/", OFlag::O_PATH, Mode::empty()).unwrap();
        vec![Some(Opened { place: Place { directory, name: c"x".into(), found: None }, before: None }), None]
    }

    #[test]
    fn edit_mode_02_only_a_given_file_comes_back() {
        let files = files();
        assert!(Incoming::begin(Returned { number: 0, bytes: 1 }, &files).is_ok());
        for number in [1, 2, u32::MAX] {
            assert!(Incoming::begin(Returned { number, bytes: 1 }, &files).is_err(), "{number}");
        }
    }

    #[test]
    fn dos_05_content_beyond_the_announced_or_the_limit_is_refused() {
        let files = files();
        assert!(Incoming::begin(Returned { number: 0, bytes: MAX_FILE_BYTES }, &files).is_ok());
        assert!(Incoming::begin(Returned { number: 0, bytes: MAX_FILE_BYTES + 1 }, &files).is_err());
        assert!(Incoming::begin(Returned { number: 0, bytes: u64::MAX }, &files).is_err());
        let mut incoming = Incoming::begin(Returned { number: 0, bytes: 3 }, &files).unwrap();
        incoming.take(b"ab").unwrap();
        assert!(!incoming.is_whole());
        assert!(incoming.take(b"cd").is_err());
        incoming.take(b"c").unwrap();
        assert!(incoming.is_whole());
        assert_eq!(incoming.into_parts(), (0, b"abc".to_vec()));
        assert!(Incoming::begin(Returned { number: 0, bytes: 0 }, &files).unwrap().is_whole());
    }
}
