//! Real hosts for tests: Debian with systemd, journald, logind, PAM, sshd and nginx, up in about two seconds.
//!
//! ```no_run
//! use jitsudo_tests::{Host, Options, Root};
//! # fn main() -> Result<(), jitsudo_tests::Error> {
//! let root = Root::debian("bookworm")?;
//! let host = Host::boot("web-1", &root, Options::default())?;
//! assert_eq!(host.sh("exit 7").output()?.status, 7);
//! let mut terminal = host.sh("read -p 'name? ' n; echo hello $n").as_user("alice").terminal()?;
//! terminal.expect("name? ")?;
//! terminal.send("alice\n")?;
//! terminal.expect("hello alice")?;
//! # Ok(())
//! # }
//! ```
//!
//! A host is a systemd-nspawn container in a mount namespace whose only cgroup hierarchy is cgroup2, on an overlay
//! over a cached root, with an ext4 disk and a network namespace of its own. Dropping it takes everything with it;
//! [`leftovers`] says what is still there. `docs/testing.md` tells what such a host can and cannot show.
#![forbid(unsafe_code)]

mod bed;
mod clock;
mod command;
mod error;
mod fault;
mod host;
mod layer;
pub mod life;
pub mod live;
pub mod points;
mod privileges;
mod root;
pub mod rows;
mod shell;
pub mod story;
mod terminal;
mod tool;

pub use bed::{clear_after_the_dead, leftovers, package_file, require_root};
pub use clock::{Deadline, GATE, SPAWNER, Stopwatch, not_by_the_next, wait_until};
pub use command::{HostCommand, Output};
pub use error::Error;
pub use fault::push_fault;
pub use host::{DiskFailure, Host, Options};
pub use layer::with_package;
pub use privileges::{audit, compared, violations};
pub use root::{Root, cache_folder};
pub use shell::Shell;
pub use terminal::Terminal;
