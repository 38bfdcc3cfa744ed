//! The one id of an access, shared by its request, approvals and grant.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Crockford's alphabet, lower case (no i, l, o, u).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A ULID in lower case: 48 bits of milliseconds since 1970, 80 random bits; 26 characters. People see the last six.
///
/// ```
/// use jitsudo_core::id::AccessId;
/// let id = AccessId::new(1_790_000_000_000, [7; 10]);
/// assert_eq!(id.as_str().len(), 26);
/// assert_eq!(id.as_str().parse::<AccessId>().unwrap(), id);
/// assert!(id.as_str().ends_with(id.short()));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessId([u8; 26]);

impl AccessId {
    /// Makes an id from milliseconds since 1970 (48 bits are used) and ten random bytes.
    #[must_use]
    pub fn new(milliseconds: u64, random: [u8; 10]) -> Self {
        let low = random.iter().fold(0u128, |word, byte| (word << 8) | u128::from(*byte));
        let value = (u128::from(milliseconds & 0xffff_ffff_ffff) << 80) | low;
        let mut text = [b'0'; 26];
        for (place, letter) in (0..26).rev().zip(&mut text) {
            let five = (value >> (5 * place)) & 31;
            *letter = ALPHABET.get(five as usize).copied().unwrap_or(b'0');
        }
        Self(text)
    }

    /// The whole id, 26 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Of the alphabet, and so of ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The six characters that people see and type.
    #[must_use]
    pub fn short(&self) -> &str {
        self.as_str().get(20..).unwrap_or_default()
    }

    /// True for what somebody types to mean it: the whole id, its end (7 characters or more), or at least three of the six that people see,
    /// from their beginning. Upper case is taken as lower.
    ///
    /// ```
    /// use jitsudo_core::id::AccessId;
    /// let id: AccessId = "01k6q9v0zz0000000000k3v9tz".parse().unwrap();
    /// assert!(["k3v", "K3V9TZ", "0k3v9tz", id.as_str()].iter().all(|text| id.is_meant_by(text)));
    /// assert!(["", "k3", "v9tz", "01k6q9", "k3v9tzz"].iter().all(|text| !id.is_meant_by(text)));
    /// ```
    #[must_use]
    pub fn is_meant_by(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        match text.len() {
            0..3 => false,
            3..7 => self.short().starts_with(&text),
            _ => self.as_str().ends_with(&text),
        }
    }
}

const fn is_of_alphabet(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'h' | b'j' | b'k' | b'm' | b'n' | b'p'..=b't' | b'v'..=b'z')
}

/// The text is not 26 characters of the lower-case ULID alphabet.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAnId;

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id has 26 characters of 0-9 and a-z without i, l, o, u")
    }
}
impl std::error::Error for NotAnId {}

impl FromStr for AccessId {
    type Err = NotAnId;
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let sound = text.len() == 26
            && text.bytes().all(is_of_alphabet)
            && text.as_bytes().first().is_some_and(|first| *first <= b'7');
        let bytes = text.as_bytes().try_into().map_err(|_| NotAnId)?;
        sound.then_some(Self(bytes)).ok_or(NotAnId)
    }
}
impl Serialize for AccessId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Without a copy: a start reads a hundred thousand.
impl<'de> Deserialize<'de> for AccessId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = AccessId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<AccessId, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}
impl fmt::Display for AccessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl fmt::Debug for AccessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One session of an access: `ID.1`, `ID.2`, …; `ID.0` is the conversation in which a role was given.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId {
    /// The access that the session belongs to.
    pub access: AccessId,
    /// Counts from 1; 0 for the giving of a role.
    pub number: u32,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.access, self.number)
    }
}
impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.to_string()
    }
}
impl TryFrom<String> for SessionId {
    type Error = NotAnId;
    fn try_from(text: String) -> Result<Self, NotAnId> {
        let (access, number) = text.split_once('.').ok_or(NotAnId)?;
        let plain = number == "0" || !number.starts_with('0');
        let sound = !number.is_empty() && plain && number.bytes().all(|byte| byte.is_ascii_digit());
        if !sound {
            return Err(NotAnId);
        }
        Ok(Self { access: access.parse()?, number: number.parse().map_err(|_| NotAnId)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_in_json_is_its_text_and_nothing_else_is_one() {
        assert!((0..=u8::MAX).all(|byte| is_of_alphabet(byte) == ALPHABET.contains(&byte)));
        let id = AccessId::new(1_790_000_000_000, [7; 10]);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<AccessId>(&json).unwrap(), id);
        for odd in ["\"\"", "\"81jd0000000000000000000000\"", "\"01jd000000000000000000000u\"", "7", "null", "{}"] {
            assert!(serde_json::from_str::<AccessId>(odd).is_err(), "{odd}");
        }
    }
}
