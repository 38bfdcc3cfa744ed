//! The system interface of jitsudo: the only crate with unsafe code, each block with its reason and a test.
//!
//! What nix wraps safely is used as it is, through [`nix`]; what it does not is here, a module an idea.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub use nix;

pub mod attributes;
pub mod cgroup;
pub mod channel;
pub mod child;
pub mod clock;
pub mod descendants;
pub mod environment;
pub mod failpoint;
pub mod files;
pub mod fork;
pub mod identity;
pub mod journal;
pub mod limits;
pub mod local_time;
pub mod login;
pub mod notify;
#[cfg(feature = "pam")]
pub mod pam;
pub mod pidfd;
pub mod process;
pub mod pty;
pub mod random;
pub mod secret;
pub mod signals;
pub mod spawn;
pub mod status;
pub mod syslog;
pub mod terminal;
pub mod timer;
pub mod trusted;
pub mod walk;
