//! Why a ledger does not open, and why an append was not taken.

use std::{fmt, io};

use crate::fold::FoldError;
use crate::line::Flaw;

/// Why a ledger is not opened for writing. Every one of them leaves the files as they are, but for what a torn tail explains.
#[derive(Debug)]
pub enum OpenError {
    /// Another writer holds the lock.
    Locked,
    /// There are files of a ledger (`reserve`) but no segment: somebody removed them.
    Emptied,
    /// A segment is not sound in a way that no crash explains.
    Broken {
        /// The file.
        file: String,
        /// Line in it, from 1.
        line: u64,
        /// What.
        flaw: Flaw,
    },
    /// The caller's fold does not understand a line or snapshot.
    Fold {
        /// The file.
        file: String,
        /// Line in it, from 1.
        line: u64,
        /// Why.
        source: FoldError,
    },
    /// A file or the directory cannot be used.
    Io {
        /// What was tried, on what.
        what: String,
        /// The system's word.
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked => f.write_str("cannot open the ledger: another process writes it"),
            Self::Emptied => f.write_str("cannot open the ledger: its segments were removed"),
            Self::Broken { file, line, flaw } => write!(f, "cannot open the ledger: {file}:{line} {flaw}"),
            Self::Fold { file, line, source } => write!(f, "cannot open the ledger: {file}:{line}: {source}"),
            Self::Io { what, source } => write!(f, "cannot {what}: {source}"),
        }
    }
}
impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Fold { source, .. } => Some(source),
            Self::Broken { flaw, .. } => Some(flaw),
            Self::Locked | Self::Emptied => None,
        }
    }
}

/// Why nothing was recorded. After any of them the lines count as not written: nothing may be given on their strength. (Lines
/// whose sync failed may still be found in the file by a later recovery, never by this writer.)
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AppendError {
    /// No space is left, or only the reserve, which ordinary lines do not touch.
    Full,
    /// A write failed, now or earlier; nothing is taken until [`crate::Writer::reopen`] succeeds.
    Write(String),
    /// A sync failed, now or earlier; nothing is taken until [`crate::Writer::reopen`] succeeds.
    Sync(String),
    /// The new segment could not be made sure of, or a written line does not fold; nothing is taken until [`crate::Writer::reopen`] succeeds.
    Unsure(String),
    /// The batch is empty, or longer than [`crate::MAX_UNSYNCED_BYTES`].
    Unfit,
    /// Too many batches wait already; only ordinary ones are told so.
    Busy,
    /// The committer was stopped.
    Stopped,
}

impl AppendError {
    /// True when nothing will be taken until the ledger is reopened.
    #[must_use]
    pub fn needs_reopen(&self) -> bool {
        matches!(self, Self::Write(_) | Self::Sync(_) | Self::Unsure(_))
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("cannot write the ledger: no space left"),
            Self::Write(why) => write!(f, "cannot write the ledger: {why}"),
            Self::Sync(why) => write!(f, "cannot make the ledger durable: {why}"),
            Self::Unsure(why) => write!(f, "cannot go on writing the ledger: {why}"),
            Self::Unfit => f.write_str("cannot write the ledger: the batch is empty or too long"),
            Self::Busy => f.write_str("cannot write the ledger: too much is waiting"),
            Self::Stopped => f.write_str("cannot write the ledger: the writer was stopped"),
        }
    }
}
impl std::error::Error for AppendError {}

/// True for a full disk or an exhausted quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
