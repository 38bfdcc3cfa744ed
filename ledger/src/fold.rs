//! How lines add up to a state: the caller's part.

use std::fmt;

use crate::line::Line;

/// Turns lines into a state and a state into a snapshot. `restore(snapshot(s))` must equal `s`.
pub trait Fold: Send {
    /// What the lines add up to.
    type State: Send;

    /// The state before any line.
    fn empty(&self) -> Self::State;

    /// The state that a snapshot holds (the JSON that [`Fold::snapshot`] gave, byte for byte).
    ///
    /// # Errors
    /// When the snapshot cannot be understood; the ledger is then not opened.
    fn restore(&self, snapshot: &[u8]) -> Result<Self::State, FoldError>;

    /// Adds one line, never a snapshot.
    ///
    /// # Errors
    /// When the line cannot be understood, as after a downgrade; the ledger is then not opened. Content that is merely
    /// impossible (an ending without a beginning) is for the state to note, not an error.
    fn apply(&self, state: &mut Self::State, line: &Line<'_>) -> Result<(), FoldError>;

    /// The state as one JSON value without line breaks.
    ///
    /// # Errors
    /// When it cannot be written down; the segment then grows on.
    fn snapshot(&self, state: &Self::State) -> Result<String, FoldError>;
}

/// Why a line or snapshot does not fold, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoldError(pub String);

impl fmt::Display for FoldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for FoldError {}
