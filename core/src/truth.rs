//! Three-valued logic: what is not known never counts as held.

use serde::{Deserialize, Serialize};

/// A condition's verdict. Ordered so that *and* is the minimum and *or* the maximum.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    /// It does not hold.
    False,
    /// A fact that it needs is unknown.
    Unknown,
    /// It holds.
    True,
}

impl std::ops::Not for Truth {
    type Output = Self;
    fn not(self) -> Self {
        match self {
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
            Self::True => Self::False,
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

impl Truth {
    /// True when any holds; unknown when none holds and one is unknown.
    pub(crate) fn any(verdicts: impl Iterator<Item = Self>) -> Self {
        let mut best = Self::False;
        for verdict in verdicts {
            best = best.max(verdict);
            if best == Self::True {
                break;
            }
        }
        best
    }
}
