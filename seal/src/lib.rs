//! What a host's key signs of its ledger: which head, of which host, when. Pure: whoever calls brings the key, the clock and the files.
//!
//! # The bytes
//! A [`Statement`] is six lines of text, each ended by one line break:
//!
//! ```text
//! jitsudo ledger v1
//! host web-1
//! key SHA256:2YqSE2BqcXjEqPsnyTiMsOSmdLYNwXaPgDyhqVXqhcI
//! head                       (or, for a segment that was sealed: segment 00000001.jsonl)
//! event 812 9c1f…            (number and hash of the last line that it covers)
//! time 2026-10-04T10:15:00.123456Z
//! ```
//!
//! The signature is OpenSSH's (`ssh-keygen -Y sign`, PROTOCOL.sshsig) in the namespace [`NAMESPACE`], so that it can be verified
//! without any program of ours; it is written as the base64 of the armour, without the armour's first and last line.
//!
//! MUSTs
//! 1. No two statements have the same bytes: no field can hold a line break (`field_that_could_end_its_line_is_refused`).
//! 2. A signature proves one statement, by one key, in one namespace (`changed_statement_proves_nothing`, `audit_log_04_*`).
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod key;
mod statement;

pub use key::{HostKey, KeyError, ProofError, PublicKey};
pub use statement::{Covers, NAMESPACE, Statement, UnfitError};
