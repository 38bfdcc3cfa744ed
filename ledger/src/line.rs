//! One line of the ledger: its bytes, how they are made and how they are taken apart by position.
//!
//! MUSTs
//! 1. No byte of a line may change unnoticed: literals are compared, hex is lower case only, the rest is hashed
//!    (`audit_log_04_every_flipped_byte_is_found`).
//! 2. A body cannot bring its own `seq`, `prev`, `hash` or `snapshot` (`body_with_a_chain_field_is_refused`).

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer as _, Error as _, IgnoredAny, MapAccess, Visitor};
use sha2::{Digest, Sha256};

/// Longest body, bytes of its JSON.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// Version of the line and segment format that this crate writes, and the only one that it reads.
pub(crate) const FORMAT: u64 = 1;

const SEQ: &[u8] = b"{\"seq\":";
const PREV: &[u8] = b",\"prev\":\"";
const HASH: &[u8] = b"\",\"hash\":\"";
const END: &[u8] = b"\"}";
const SNAPSHOT: &[u8] = b"\"snapshot\":{\"format\":";
const SEGMENT: &[u8] = b",\"segment\":";
const STATE: &[u8] = b",\"state\":";
/// Bytes of `,"prev":"…","hash":"…"}`.
const TAIL_BYTES: usize = PREV.len() + 64 + HASH.len() + 64 + END.len();
/// Bytes of `"hash":"…"}`, which the hash does not cover.
const UNHASHED_BYTES: usize = HASH.len() - 2 + 64 + END.len();

/// A SHA-256 as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 64]);

impl Hash {
    /// What the very first line names as the one before it.
    pub const ZERO: Self = Self([b'0'; 64]);

    fn of(bytes: &[u8]) -> Self {
        let mut hex = [b'0'; 64];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(Sha256::digest(bytes)) {
            if let [high, low] = pair {
                *high = digit(byte >> 4);
                *low = digit(byte & 15);
            }
        }
        Self(hex)
    }

    fn from_hex(hex: &[u8; 64]) -> Option<Self> {
        hex.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).then_some(Self(*hex))
    }
}

const fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}
impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for Hash {
    type Err = Flaw;
    fn from_str(text: &str) -> Result<Self, Flaw> {
        text.as_bytes().try_into().ok().and_then(Self::from_hex).ok_or(Flaw::Malformed)
    }
}

/// A place in the chain: a line's number and hash. The head of a ledger is its last line's; told to others, it pins everything before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Head {
    /// Sequence number; 0 = before the first line.
    pub seq: u64,
    /// Hash of that line.
    pub hash: Hash,
}

impl Head {
    /// Before the first line.
    pub const START: Self = Self { seq: 0, hash: Hash::ZERO };
}

/// What is wrong with a line or segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// It does not have the form of a line.
    Malformed,
    /// Its hash is not that of its bytes: it was edited.
    Edited,
    /// Another number was due here: lines were removed, added or moved.
    Sequence {
        /// The number that was due.
        due: u64,
    },
    /// It does not follow the line before: `prev` is another hash.
    Unchained,
    /// The first line of a segment is not its snapshot, or a snapshot stands elsewhere.
    Snapshot,
    /// The format is of another version.
    Format {
        /// The version found.
        found: u64,
    },
    /// The file ends inside a line.
    Unfinished,
    /// Longer than any line may be.
    TooLong,
    /// A segment between others, or the first one, is not there.
    Missing,
    /// The file cannot be read, or is none of ours (a link, not regular).
    Unreadable(String),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("is not a ledger line"),
            Self::Edited => f.write_str("was changed: its hash is not that of its bytes"),
            Self::Sequence { due } => write!(f, "has the wrong number: {due} was due"),
            Self::Unchained => f.write_str("does not follow the line before it"),
            Self::Snapshot => f.write_str("is not where a snapshot belongs, or is none where one does"),
            Self::Format { found } => write!(f, "has format {found}, known is {FORMAT}"),
            Self::Unfinished => f.write_str("ends without a line break"),
            Self::TooLong => f.write_str("is longer than a line may be"),
            Self::Missing => f.write_str("is missing"),
            Self::Unreadable(why) => write!(f, "cannot be read: {why}"),
        }
    }
}
impl std::error::Error for Flaw {}

/// The caller's part of a line: a JSON object, at most [`MAX_BODY_BYTES`], one line, at least one key.
///
/// ```
/// use jitsudo_ledger::Body;
/// assert!(Body::new(r#"{"event":"closed"}"#.to_owned()).is_ok());
/// assert!(Body::new(r#"{"hash":"mine"}"#.to_owned()).is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Body(String);

/// Why a text is no body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BodyError {
    /// Longer than [`MAX_BODY_BYTES`].
    TooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// Not one JSON object with a key, on one line, from brace to brace.
    NotAnObject(String),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => write!(f, "cannot record an event of {bytes} bytes: at most {MAX_BODY_BYTES}"),
            Self::NotAnObject(why) => write!(f, "cannot record an event that is no plain JSON object: {why}"),
        }
    }
}
impl std::error::Error for BodyError {}

impl Body {
    /// Takes a serialised JSON object.
    ///
    /// # Errors
    /// [`BodyError::TooLong`]; [`BodyError::NotAnObject`] for anything else that would not give a sound line, a key of the
    /// chain's own (`seq`, `prev`, `hash`, `snapshot`) included.
    pub fn new(json: String) -> Result<Self, BodyError> {
        if json.len() > MAX_BODY_BYTES {
            return Err(BodyError::TooLong { bytes: json.len() });
        }
        if !is_one_line(&json) || !json.starts_with('{') || !json.ends_with('}') {
            return Err(BodyError::NotAnObject("not one line from brace to brace".to_owned()));
        }
        let mut reader = serde_json::Deserializer::from_str(&json);
        reader
            .deserialize_map(PlainKeys)
            .and_then(|()| reader.end())
            .map_err(|error| BodyError::NotAnObject(error.to_string()))?;
        Ok(Self(json))
    }

    /// The object as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn inner(&self) -> &[u8] {
        self.0.get(1..self.0.len().saturating_sub(1)).unwrap_or_default().as_bytes()
    }
}

/// True when no byte would end or hide part of a line (JSON escapes every control character inside strings).
pub(crate) fn is_one_line(json: &str) -> bool {
    json.bytes().all(|byte| byte >= 0x20)
}

struct PlainKeys;

impl<'de> Visitor<'de> for PlainKeys {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = 0;
        while let Some((key, _)) = map.next_entry::<std::borrow::Cow<'_, str>, IgnoredAny>()? {
            if matches!(&*key, "seq" | "prev" | "hash" | "snapshot") {
                return Err(A::Error::custom(format!("\"{key}\" is the ledger's own key")));
            }
            keys += 1;
        }
        if keys == 0 { Err(A::Error::custom("no key")) } else { Ok(()) }
    }
}

/// A line, taken apart but not yet proved.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    bytes: &'a [u8],
    inner: &'a [u8],
    /// Its number.
    pub seq: u64,
    /// The hash that it names as the line before's.
    pub prev: Hash,
    /// The hash that it gives itself.
    pub hash: Hash,
}

impl<'a> Line<'a> {
    /// Takes a line apart; `bytes` come without the newline. Proves nothing: see [`Line::is_intact`].
    ///
    /// # Errors
    /// [`Flaw::Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Flaw> {
        Self::taken_apart(bytes).ok_or(Flaw::Malformed)
    }

    fn taken_apart(bytes: &'a [u8]) -> Option<Self> {
        let (seq, rest) = number(bytes.strip_prefix(SEQ)?)?;
        let rest = rest.strip_prefix(b",")?;
        let (inner, tail) = rest.split_at_checked(rest.len().checked_sub(TAIL_BYTES)?)?;
        let (prev, tail) = tail.strip_prefix(PREV)?.split_first_chunk::<64>()?;
        let (hash, tail) = tail.strip_prefix(HASH)?.split_first_chunk::<64>()?;
        (tail == END && !inner.is_empty()).then_some(())?;
        Some(Self { bytes, inner, seq, prev: Hash::from_hex(prev)?, hash: Hash::from_hex(hash)? })
    }

    /// True when the hash is that of the bytes.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        let hashed = self.bytes.get(..self.bytes.len().saturating_sub(UNHASHED_BYTES)).unwrap_or_default();
        Hash::of(hashed) == self.hash
    }

    /// The whole line, a JSON object, without the newline.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Number and hash.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }

    /// True for the first line of a segment, which holds a state and no event.
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        self.inner.starts_with(b"\"snapshot\":")
    }

    /// The snapshot in it.
    pub(crate) fn snapshot(&self) -> Result<Snapshot<'a>, Flaw> {
        let (format, rest) = self.inner.strip_prefix(SNAPSHOT).and_then(number).ok_or(Flaw::Snapshot)?;
        if format != FORMAT {
            return Err(Flaw::Format { found: format });
        }
        let (segment, rest) = rest.strip_prefix(SEGMENT).and_then(number).ok_or(Flaw::Snapshot)?;
        let state = rest.strip_prefix(STATE).and_then(|rest| rest.strip_suffix(b"}")).ok_or(Flaw::Snapshot)?;
        Ok(Snapshot { segment, state })
    }
}

/// What the first line of a segment holds.
pub(crate) struct Snapshot<'a> {
    /// Number of the segment that it begins.
    pub(crate) segment: u64,
    /// The caller's JSON.
    pub(crate) state: &'a [u8],
}

/// A decimal number without leading zeros at the beginning, and the rest.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let digits = bytes.iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
    let (text, rest) = bytes.split_at_checked(digits)?;
    let value = std::str::from_utf8(text).ok()?.parse().ok()?;
    (digits == 1 || text.first() != Some(&b'0')).then_some((value, rest))
}

/// Adds the line of a body to `out`, newline included, and gives the new head.
pub(crate) fn encode(body: &Body, before: Head, out: &mut Vec<u8>) -> Head {
    encode_inner(&[body.inner()], before, out)
}

/// Adds the first line of a segment.
pub(crate) fn encode_snapshot(segment: u32, state: &str, before: Head, out: &mut Vec<u8>) -> Head {
    let opening = format!("\"snapshot\":{{\"format\":{FORMAT},\"segment\":{segment},\"state\":");
    encode_inner(&[opening.as_bytes(), state.as_bytes(), b"}"], before, out)
}

fn encode_inner(inner: &[&[u8]], before: Head, out: &mut Vec<u8>) -> Head {
    let start = out.len();
    let seq = before.seq.saturating_add(1);
    out.extend_from_slice(SEQ);
    out.extend_from_slice(seq.to_string().as_bytes());
    out.push(b',');
    for part in inner {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(PREV);
    out.extend_from_slice(&before.hash.0);
    out.extend_from_slice(b"\",");
    let hash = Hash::of(out.get(start..).unwrap_or_default());
    out.extend_from_slice(b"\"hash\":\"");
    out.extend_from_slice(&hash.0);
    out.extend_from_slice(END);
    out.push(b'\n');
    Head { seq, hash }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Body {
        Body::new(text.to_owned()).unwrap()
    }

    #[test]
    fn line_is_taken_apart_into_what_it_was_made_of() {
        let mut out = Vec::new();
        let first = encode(&body(r#"{"event":"a"}"#), Head::START, &mut out);
        let line = Line::parse(out.strip_suffix(b"\n").unwrap()).unwrap();
        assert_eq!((line.seq, line.prev, line.hash), (1, Hash::ZERO, first.hash));
        assert!(line.is_intact() && !line.is_snapshot());
        assert_eq!(line.inner, br#""event":"a""#);
        let value: serde_json::Value = serde_json::from_slice(line.bytes()).unwrap();
        assert_eq!(value["event"], "a");
        assert_eq!(value["hash"].as_str().unwrap(), first.hash.to_string());
    }

    #[test]
    fn hash_is_the_sha256_of_the_bytes_before_it() {
        let mut out = Vec::new();
        let head = encode(&body(r#"{"event":"a"}"#), Head::START, &mut out);
        let text = String::from_utf8(out).unwrap();
        let covered = text.split_at(text.rfind("\"hash\"").unwrap()).0;
        assert!(covered.ends_with("\","), "the comma before \"hash\" is covered");
        assert_eq!(head.hash, Hash::of(covered.as_bytes()));
        // Reference value of another implementation (sha256sum).
        assert_eq!(Hash::of(b"abc").to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn snapshot_gives_back_the_state_bytes() {
        let mut out = Vec::new();
        encode_snapshot(3, r#"{"a":[1,{}]}"#, Head::START, &mut out);
        let line = Line::parse(out.strip_suffix(b"\n").unwrap()).unwrap();
        let snapshot = line.snapshot().unwrap();
        assert!(line.is_snapshot());
        assert_eq!((snapshot.segment, snapshot.state), (3, br#"{"a":[1,{}]}"#.as_slice()));
    }

    #[test]
    fn body_with_a_chain_field_is_refused() {
        for key in ["seq", "prev", "hash", "snapshot", "h\\u0061sh"] {
            assert!(Body::new(format!("{{\"a\":1,\"{key}\":2}}")).is_err(), "{key}");
        }
        assert!(Body::new(r#"{"a":{"hash":1}}"#.to_owned()).is_ok(), "nested ones are the caller's");
    }

    #[test]
    fn body_that_is_no_single_object_is_refused() {
        for text in [
            "",
            "{}",
            "[]",
            "1",
            "{\"a\":1}{\"b\":2}",
            "{\"a\":1",
            " {\"a\":1}",
            "{\"a\":1} ",
            "{\"a\":\n1}",
            "{\"a\":1},\"x\":{}",
        ] {
            assert!(Body::new(text.to_owned()).is_err(), "{text}");
        }
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_BODY_BYTES));
        assert!(matches!(Body::new(long), Err(BodyError::TooLong { .. })));
    }

    #[test]
    fn numbers_are_strict() {
        assert_eq!(number(b"0,"), Some((0, b",".as_slice())));
        assert_eq!(number(b"18446744073709551615,").map(|(value, _)| value), Some(u64::MAX));
        for bad in [b"".as_slice(), b"01,", b"-1", b"99999999999999999999", b"x"] {
            assert_eq!(number(bad), None);
        }
    }

    #[test]
    fn upper_case_hash_is_not_the_same_hash() {
        assert!("A".repeat(64).parse::<Hash>().is_err());
        assert!("a".repeat(63).parse::<Hash>().is_err());
        assert!("a".repeat(64).parse::<Hash>().is_ok());
    }
}
