//! Byte strings that stay readable in JSON: UTF-8 as a string, anything else as `{"b64": "…"}`.

#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::fmt;

use serde::de::Error as _;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes from the kernel or a peer: an argument, a path, a variable. Any byte but NUL may occur; length is bounded by the protocol.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    /// Gives the bytes as text with everything unprintable escaped (`\n` as `\u{a}`, 0xff as `\xff`), for people.
    ///
    /// ```
    /// use jitsudo_bytes::Bytes;
    /// assert_eq!(Bytes(b"a\x1b[1m\xff".to_vec()).visible(), "a\\u{1b}[1m\\xff");
    /// ```
    #[must_use]
    pub fn visible(&self) -> String {
        let mut out = String::new();
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if is_plain(character) {
                    out.push(character);
                } else {
                    out.extend(character.escape_unicode());
                }
            }
            for byte in chunk.invalid() {
                out.push_str(&format!("\\x{byte:02x}"));
            }
        }
        out
    }

    /// Gives the text when the bytes are UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

/// True for characters that cannot move a cursor, hide, or reorder text (no controls, no bidirectional or zero-width marks).
#[must_use]
pub fn is_plain(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.visible())
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(text) = self.as_str() {
            serializer.serialize_str(text)
        } else {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry("b64", &base64_encode(&self.0))?;
            map.end()
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Shape {
    Text(String),
    Coded { b64: String },
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Shape::deserialize(deserializer)? {
            Shape::Text(text) => Ok(Self(text.into_bytes())),
            Shape::Coded { b64 } => base64_decode(&b64).map(Self).ok_or_else(|| D::Error::custom("not base64")),
        }
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Encodes with RFC 4648's standard alphabet and padding.
#[must_use]
pub fn base64_encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word =
            group.iter().enumerate().fold(0u32, |word, (place, byte)| word | (u32::from(*byte) << (16 - 8 * place)));
        for place in 0..4 {
            let six = (word >> (18 - 6 * place)) & 63;
            if place <= group.len() {
                out.push(char::from(ALPHABET.get(six as usize).copied().unwrap_or(b'=')));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// Decodes RFC 4648 base64 with padding; `None` for anything else, non-canonical endings included.
#[must_use]
pub fn base64_decode(text: &str) -> Option<Vec<u8>> {
    let body = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - body.len() > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(body.len() / 4 * 3 + 2);
    let mut word = 0u32;
    let mut bits = 0u32;
    for byte in body.bytes() {
        let six = ALPHABET.iter().position(|letter| *letter == byte)?;
        word = (word << 6) | u32::try_from(six).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from((word >> bits) & 255).ok()?);
            word &= (1 << bits) - 1;
        }
    }
    (word == 0 && (out.len() * 8).div_ceil(6) == body.len()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_json() {
        for length in 0..7 {
            for byte in 0..=255u8 {
                let bytes = Bytes(vec![byte; length]);
                let json = serde_json::to_string(&bytes).unwrap();
                assert_eq!(serde_json::from_str::<Bytes>(&json).unwrap(), bytes, "{json}");
            }
        }
    }

    #[test]
    fn base64_refuses_what_is_not_canonical() {
        for text in ["A", "AA", "AA=", "A===", "AB==", "AAB=", "AAA*", "AA==AA=="] {
            assert_eq!(base64_decode(text), None, "{text}");
        }
        assert_eq!(base64_decode("Zm9v").unwrap(), b"foo");
        assert_eq!(base64_decode("Zm8=").unwrap(), b"fo");
    }
}
