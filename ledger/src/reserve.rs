//! Space kept for what must be recordable on a full disk: the file `reserve`, filled, given back piece by piece.
//!
//! MUSTs
//! 1. Ordinary lines never use what was released: while the reserve is short they are refused
//!    (`crash_recovery_03_full_disk_records_endings_and_refuses_the_rest`).

use std::io;

use crate::error::{AppendError, is_full};
use crate::storage::{Storage, StoredFile as _, write_all};

/// The reserve's file.
const FILE: &str = "reserve";
/// Least that is released at once, and what is written at once.
const STEP_BYTES: u64 = 1 << 20;

pub(crate) struct Reserve {
    target: u64,
    held: u64,
}

impl Reserve {
    /// Finds what there is.
    pub(crate) fn find(storage: &impl Storage, target: u64) -> Self {
        let held = storage.open(FILE).and_then(|file| file.size()).unwrap_or(0);
        Self { target, held }
    }

    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// Fills the reserve; [`AppendError::Full`] when that cannot be done.
    pub(crate) fn fill(&mut self, storage: &impl Storage) -> Result<(), AppendError> {
        if self.held >= self.target {
            return Ok(());
        }
        self.try_fill(storage).map_err(|error| match is_full(&error) {
            true => AppendError::Full,
            false => AppendError::Write(format!("{FILE}: {error}")),
        })
    }

    fn try_fill(&mut self, storage: &impl Storage) -> io::Result<()> {
        let file = match storage.open(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => storage.create(FILE)?,
            other => other?,
        };
        self.held = file.size()?;
        while self.held < self.target {
            let step = STEP_BYTES.min(self.target - self.held);
            let outcome = write_all(&file, &filler(self.held, step), self.held);
            self.held = file.size()?;
            outcome?;
        }
        file.sync()
    }

    /// Shows that the disk takes something again: a step beyond the reserve is written, made durable and given back. [`AppendError::Full`]
    /// when it does not.
    pub(crate) fn probe(&mut self, storage: &impl Storage) -> Result<(), AppendError> {
        self.fill(storage)?;
        let tried = || -> io::Result<()> {
            let file = match storage.open(FILE) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => storage.create(FILE)?,
                other => other?,
            };
            let written = write_all(&file, &filler(self.held, STEP_BYTES), self.held).and_then(|()| file.sync());
            drop(file);
            // A descriptor on which something failed is never used again.
            storage.open(FILE)?.set_size(self.held)?;
            written
        };
        tried().map_err(|error| match is_full(&error) {
            true => AppendError::Full,
            false => AppendError::Write(format!("{FILE}: {error}")),
        })
    }

    /// Gives back at least so many bytes to the disk; false when there is nothing to give.
    pub(crate) fn release(&mut self, storage: &impl Storage, bytes: u64) -> bool {
        if self.held == 0 {
            return false;
        }
        let left = self.held.saturating_sub(bytes.max(STEP_BYTES));
        let released = storage.open(FILE).and_then(|file| {
            file.set_size(left)?;
            // Some file systems hand freed blocks out only after a commit.
            file.sync()
        });
        self.held = left;
        released.is_ok()
    }
}

/// Bytes that no file system compresses away or stores as a hole.
fn filler(seed: u64, bytes: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let words = (0..bytes.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(usize::try_from(bytes).unwrap_or(usize::MAX)).collect()
}
