//! What `pam_jitsudo.so` and the daemon say to each other on `/run/jitsudo/login`, and the list `/etc/jitsudo/gated`.
//!
//! The module lives inside sshd, login, su and sudo. So nothing here allocates, depends on anything or can panic: messages are read
//! where they lie and written into a buffer of a fixed size.
//!
//! MUSTs
//! 1. Any bytes are a message or an error, in bounded time (`any_bytes_are_read_or_refused`, the fuzz target `login`).
//! 2. What is accepted is what would be written: one text for one meaning (`what_is_read_is_written_the_same`).
//! 3. A list is whole only with its last line, and that line's count (`list_that_is_cut_anywhere_is_not_whole`).
#![no_std]
#![forbid(unsafe_code)]

mod fields;
pub mod gated;
pub mod message;

pub use fields::{Buffer, ReadError, TooLong};

/// Where the module asks; root's, mode 0600.
pub const SOCKET: &str = "/run/jitsudo/login";
/// The list of gated accounts and services.
pub const GATED: &str = "/etc/jitsudo/gated";
/// Largest message, bytes.
pub const MAX_MESSAGE_BYTES: usize = 4096;
/// The version that is written. A reader takes this one and the one before it, once there is one.
pub const VERSION: u8 = 1;
/// The oldest version that is read.
pub const OLDEST: u8 = 1;
/// Longest name of an account, bytes: `LOGIN_NAME_MAX` of Linux without its NUL.
pub const MAX_NAME_BYTES: usize = 255;
