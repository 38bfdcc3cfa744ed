//! The signed text.

use std::fmt;

/// Keeps these signatures apart from every other use of SSH signatures; changes with the statement's form.
pub const NAMESPACE: &str = "jitsudo-ledger@v1";

/// Longest field, bytes.
const MAX_FIELD_BYTES: usize = 256;

/// What is said to end with the named line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Covers<'a> {
    /// The ledger, for now.
    Head,
    /// This segment, for good: its file name.
    Segment(&'a str),
}

/// One thing that a host's key says of its ledger.
///
/// ```
/// use jitsudo_seal::{Covers, Statement};
/// let hash = "ab".repeat(32);
/// let statement = Statement {
///     host: "web-1", key: "SHA256:x", covers: Covers::Head, seq: 812, hash: &hash, at: "2026-10-04T10:15:00Z",
/// };
/// let text = statement.text().unwrap();
/// assert!(text.starts_with("jitsudo ledger v1\nhost web-1\nkey SHA256:x\nhead\nevent 812 abab"));
/// assert!(text.ends_with("\ntime 2026-10-04T10:15:00Z\n"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Statement<'a> {
    /// The host's name.
    pub host: &'a str,
    /// Fingerprint of the key that says it.
    pub key: &'a str,
    /// The ledger, or one segment.
    pub covers: Covers<'a>,
    /// Number of the last line that is covered; all lines before it are covered with it, by the chain.
    pub seq: u64,
    /// Hash of that line: 64 lower-case hex digits.
    pub hash: &'a str,
    /// When it was said: RFC 3339, UTC.
    pub at: &'a str,
}

/// A field that cannot stand in a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnfitError {
    /// Which.
    pub field: &'static str,
}

impl fmt::Display for UnfitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot sign the ledger's head: its {} is not one short word", self.field)
    }
}
impl std::error::Error for UnfitError {}

impl Statement<'_> {
    /// The bytes that are signed.
    ///
    /// # Errors
    /// [`UnfitError`]: a field is empty, long, or holds a blank or control character; or the hash is none.
    pub fn text(&self) -> Result<String, UnfitError> {
        let fit = |field, word: &str| {
            let plain = word.chars().all(|letter| !letter.is_whitespace() && !letter.is_control());
            if plain && (1..=MAX_FIELD_BYTES).contains(&word.len()) { Ok(()) } else { Err(UnfitError { field }) }
        };
        fit("host", self.host)?;
        fit("key", self.key)?;
        fit("time", self.at)?;
        if self.hash.len() != 64 || !self.hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(UnfitError { field: "hash" });
        }
        let covers = match self.covers {
            Covers::Head => "head".to_owned(),
            Covers::Segment(name) => {
                fit("segment", name)?;
                format!("segment {name}")
            }
        };
        let Self { host, key, seq, hash, at, .. } = self;
        Ok(format!("jitsudo ledger v1\nhost {host}\nkey {key}\n{covers}\nevent {seq} {hash}\ntime {at}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn field_that_could_end_its_line_is_refused() {
        let hash = "0".repeat(64);
        let sound = Statement { host: "h", key: "k", covers: Covers::Segment("s"), seq: 1, hash: &hash, at: "t" };
        assert!(sound.text().is_ok());
        let long = "x".repeat(257);
        for bad in ["", "a b", "a\nhost b", "a\u{85}b", "a\u{2028}b", "a\0", &long] {
            assert_eq!(Statement { host: bad, ..sound }.text().unwrap_err().field, "host", "{bad:?}");
            assert_eq!(Statement { key: bad, ..sound }.text().unwrap_err().field, "key");
            assert_eq!(Statement { at: bad, ..sound }.text().unwrap_err().field, "time");
            assert_eq!(Statement { covers: Covers::Segment(bad), ..sound }.text().unwrap_err().field, "segment");
            assert_eq!(Statement { hash: bad, ..sound }.text().unwrap_err().field, "hash");
        }
        let upper = "A".repeat(64);
        assert_eq!(Statement { hash: &upper, ..sound }.text().unwrap_err().field, "hash");
    }

    type Fields = (String, String, Option<String>, u64, String, String);

    fn fields() -> impl Strategy<Value = Fields> {
        let word = "[a-z0-9 \n.:-]{0,6}";
        (word, word, proptest::option::of(word), 0u64..4, "[01]{64}", word)
    }

    fn text((host, key, segment, seq, hash, at): &Fields) -> Option<String> {
        let covers = segment.as_deref().map_or(Covers::Head, Covers::Segment);
        Statement { host, key, covers, seq: *seq, hash, at }.text().ok()
    }

    proptest! {
        #[test]
        fn two_statements_never_have_the_same_bytes(one in fields(), other in fields()) {
            if let (Some(first), Some(second)) = (text(&one), text(&other)) {
                prop_assert_eq!(first == second, one == other);
                prop_assert_eq!(first.lines().count(), 6);
            }
        }
    }
}
