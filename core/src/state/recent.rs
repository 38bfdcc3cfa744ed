//! The last few of something.

use std::collections::VecDeque;

use serde::{Deserialize, Deserializer, Serialize};

/// At most `MAX` values; a new one pushes the oldest out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct Recent<T, const MAX: usize>(VecDeque<T>);

impl<T, const MAX: usize> Recent<T, MAX> {
    /// Adds a value.
    pub fn push(&mut self, value: T) {
        self.0.push_back(value);
        while self.0.len() > MAX {
            self.0.pop_front();
        }
    }

    /// The values, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.0.iter()
    }

    /// The values to be changed, oldest first.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut T> {
        self.0.iter_mut()
    }
}

impl<T, const MAX: usize> Default for Recent<T, MAX> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Recent<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut values = VecDeque::deserialize(deserializer)?;
        // The bound may have been another one when it was written.
        while values.len() > MAX {
            values.pop_front();
        }
        Ok(Self(values))
    }
}
