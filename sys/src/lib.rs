//! The system interface of jitsudo: the only crate with unsafe code, each block with its reason and a test.
//!
//! What nix wraps safely is used as it is, through [`nix`]; what it does not is here, a module an idea.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub use nix;

pub mod channel;
pub mod child;
pub mod clock;
pub mod journal;
pub mod notify;
pub mod pidfd;
pub mod process;
pub mod random;
pub mod syslog;
pub mod timer;
pub mod walk;
