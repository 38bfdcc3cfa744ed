//! A ledger of opaque JSON lines: chained, segmented, recovered after any crash, verified without re-serialising anything.
//!
//! # The bytes
//! A ledger is a directory. Its lines stand in the segments `00000001.jsonl`, `00000002.jsonl`, … One line is
//!
//! ```text
//! {"seq":N,BODY,"prev":"P","hash":"H"}\n
//! ```
//!
//! * `N` counts from 1, over all segments, without a gap, decimal, no leading zero.
//! * `BODY` is the inner text of the JSON object that the caller gave, byte for byte ([`Body`]).
//! * `P` is the `H` of the line before, also across segments; 64 zeros in the very first line.
//! * `H` is the SHA-256 of the line's bytes from `{` up to and including the comma before `"hash"`, 64 lower-case hex digits.
//!
//! So the last 149 bytes of a line (without its newline) are the chain's, `H` covers all but the last 74, and both are found by
//! position. The first line of every segment is a snapshot, whose body is
//! `"snapshot":{"format":1,"segment":NUMBER,"state":STATE}`: the fold of all lines before, chained like any other line.
//!
//! Beside the segments lie `lock` (held by the one writer), `reserve` (space for what must be recordable on a full disk), and
//! `SEGMENT.OFFSET.torn` (what was cut from the end of a segment after a crash).
//!
//! # Who does what
//! [`Writer`] appends and recovers, [`Committer`] gives it a thread and group commit, [`verify()`] proves, [`read()`] and [`tail()`] list,
//! [`spool`] keeps what was written while the writer was away. The crate knows no event: the state is whatever the caller's
//! [`Fold`] makes of the lines.
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod commit;
mod error;
mod fold;
mod line;
mod proved;
mod read;
mod recover;
mod reserve;
mod segment;
pub mod spool;
mod storage;
mod verify;
mod writer;

pub use commit::Committer;
pub use error::{AppendError, OpenError};
pub use fold::{Fold, FoldError};
pub use line::{Body, BodyError, Flaw, Hash, Head, Line, MAX_BODY_BYTES};
pub use proved::Proved;
pub use read::{LineBuf, Lines, ReadError, read, tail};
pub use recover::Cut;
pub use storage::{Disk, Storage, StoredFile};
pub use verify::{Bad, HeadVerdict, Report, check_head, check_heads, verify};
pub use writer::{MAX_UNSYNCED_BYTES, Opened, Options, Priority, Receipt, Reopened, Sealed, Writer};
