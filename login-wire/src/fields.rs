//! A message: two bytes that say what it is, its version, its kind, then fields in the order of their tags, each once.
//!
//! A field is a tag, its length (two bytes, big end first) and its bytes. A reader passes over unknown tags of 128 and above and refuses
//! unknown ones below: so a newer writer says which of its additions may be missed.

use core::fmt;

use crate::{MAX_MESSAGE_BYTES, OLDEST, VERSION};

const MAGIC: [u8; 2] = *b"jl";
/// From here on a field may be passed over.
const MAY_BE_MISSED: u8 = 128;

/// Why bytes are no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadError {
    /// Longer than a message may be, or shorter than the shortest one.
    Length,
    /// It does not begin as a message does.
    NoMessage,
    /// Of a version that is not known here.
    Version(u8),
    /// Of another kind than was expected.
    Kind(u8),
    /// A field ends behind the message's end.
    Cut,
    /// Tags out of order, or one twice.
    Order(u8),
    /// A field that must be understood and is not known.
    Unknown(u8),
    /// A field that must be there and is not.
    Missing(u8),
    /// A field's value makes no sense.
    Value(u8),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => write!(f, "it is too short or longer than {MAX_MESSAGE_BYTES} bytes"),
            Self::NoMessage => write!(f, "it is no message of the gate"),
            Self::Version(version) => write!(f, "it is of version {version}, {OLDEST} to {VERSION} are known"),
            Self::Kind(kind) => write!(f, "it is of kind {kind}, which was not expected"),
            Self::Cut => write!(f, "it is cut"),
            Self::Order(tag) => write!(f, "field {tag} is out of order"),
            Self::Unknown(tag) => write!(f, "field {tag} is not known"),
            Self::Missing(tag) => write!(f, "field {tag} is missing"),
            Self::Value(tag) => write!(f, "field {tag} makes no sense"),
        }
    }
}
impl core::error::Error for ReadError {}

/// It would be longer than a message may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the message would be longer than {MAX_MESSAGE_BYTES} bytes")
    }
}
impl core::error::Error for TooLong {}

/// Room for one message.
#[derive(Clone, Debug)]
pub struct Buffer {
    bytes: [u8; MAX_MESSAGE_BYTES],
    length: usize,
}

impl Default for Buffer {
    fn default() -> Self {
        Self { bytes: [0; MAX_MESSAGE_BYTES], length: 0 }
    }
}

impl Buffer {
    /// What was written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Begins a message of this kind.
    pub(crate) fn begin(&mut self, kind: u8) -> Result<(), TooLong> {
        self.length = 0;
        self.put(&MAGIC)?;
        self.put(&[VERSION, kind])
    }

    /// Adds a field.
    pub(crate) fn field(&mut self, tag: u8, value: &[u8]) -> Result<(), TooLong> {
        let length = u16::try_from(value.len()).map_err(|_| TooLong)?;
        self.put(&[tag])?;
        self.put(&length.to_be_bytes())?;
        self.put(value)
    }

    /// Adds a field where there is a value.
    pub(crate) fn field_if(&mut self, tag: u8, value: Option<&[u8]>) -> Result<(), TooLong> {
        value.map_or(Ok(()), |value| self.field(tag, value))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let end = self.length.checked_add(bytes.len()).ok_or(TooLong)?;
        self.bytes.get_mut(self.length..end).ok_or(TooLong)?.copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }
}

/// What follows the kind of a message that is being read.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    last: Option<u8>,
}

impl<'a> Fields<'a> {
    /// The kind of a message, and its fields.
    pub(crate) fn of(bytes: &'a [u8]) -> Result<(u8, Self), ReadError> {
        let [first, second, version, kind, rest @ ..] = bytes else { return Err(ReadError::Length) };
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(ReadError::Length);
        }
        if [*first, *second] != MAGIC {
            return Err(ReadError::NoMessage);
        }
        if !(OLDEST..=VERSION).contains(version) {
            return Err(ReadError::Version(*version));
        }
        Ok((*kind, Self { rest, last: None }))
    }

    /// The next field, tags in ascending order.
    pub(crate) fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, ReadError> {
        let [tag, high, low, rest @ ..] = self.rest else {
            return if self.rest.is_empty() { Ok(None) } else { Err(ReadError::Cut) };
        };
        if self.last.is_some_and(|last| last >= *tag) {
            return Err(ReadError::Order(*tag));
        }
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, rest) = rest.split_at_checked(length).ok_or(ReadError::Cut)?;
        self.rest = rest;
        self.last = Some(*tag);
        Ok(Some((*tag, value)))
    }
}

/// The answer to a tag that a reader does not know.
pub(crate) fn unknown(tag: u8) -> Result<(), ReadError> {
    if tag >= MAY_BE_MISSED { Ok(()) } else { Err(ReadError::Unknown(tag)) }
}

/// A number of four bytes.
pub(crate) fn number(tag: u8, value: &[u8]) -> Result<u32, ReadError> {
    value.try_into().map(u32::from_be_bytes).map_err(|_| ReadError::Value(tag))
}
