//! What `jitsudo` and `jitctl` say to the daemon and to a session, and the digest of an act.
//!
//! Control is JSON in SOCK_SEQPACKET datagrams of at most [`MAX_DATAGRAM`] bytes; terminal bytes never enter a message.
//! Nothing in a message identifies anybody: identity is the kernel's word on the socket (unix(7), SCM_CREDENTIALS).
//!
//! MUSTs
//! 1. Sizes and counts are checked before anything is kept (`act::Assembler`, tests `dos_05_*`, `env_11_*`).
//! 2. An unknown field or message is refused, never skipped (`client::tests`).
//! 3. The digest covers every byte of the act, length-prefixed, so that no two acts share an encoding (`digest::tests`).
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod act;
pub mod client;
#[cfg(feature = "digest")]
pub mod digest;
pub mod edit;
pub mod list;
pub mod session;

/// Where the decider listens.
pub const SOCKET: &str = "/run/jitsudo/socket";

/// Largest datagram, bytes.
pub const MAX_DATAGRAM: usize = 64 * 1024;

/// The newest protocol version spoken here; the one before it is understood as well, from version 2 on.
pub const VERSION: u32 = 1;
