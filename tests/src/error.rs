//! What can go wrong on the machine that carries the hosts.

use std::fmt;
use std::io;

/// Why the harness could not do what a test asked.
pub enum Error {
    /// The calling process is not root.
    NotRoot,
    /// The machine has no cgroup2 mount.
    NoCgroup2,
    /// A system call or a file operation failed.
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A program of the machine, or one in a host that had to succeed, failed.
    Failed {
        /// The command line.
        what: String,
        /// Its exit status (128 + N for signal N).
        status: i32,
        /// What it wrote, standard error last.
        output: String,
    },
    /// A host was not up in time, or its container ended.
    NotBooted {
        /// The host.
        name: String,
        /// The end of its console.
        console: String,
    },
    /// A host that must be up is down, or the reverse.
    WrongState {
        /// The host.
        name: String,
        /// What it would have to be.
        wanted: &'static str,
    },
    /// Something that was waited for did not come.
    TimedOut {
        /// What was waited for.
        what: String,
        /// What had been seen until then.
        seen: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRoot => write!(
                f,
                "cannot boot test hosts without root\nhint: run `cargo xtask test` as root; `cargo test` runs what needs none"
            ),
            Self::NoCgroup2 => {
                write!(
                    f,
                    "cannot boot test hosts: no cgroup2 is mounted\nhint: mount -t cgroup2 none /sys/fs/cgroup/unified"
                )
            }
            Self::Io { what, source } => write!(f, "cannot {what}: {source}"),
            Self::Failed { what, status, output } => write!(f, "`{what}` ended with {status}:\n{output}"),
            Self::NotBooted { name, console } => {
                write!(f, "host {name} did not boot; its console ends with:\n{console}")
            }
            Self::WrongState { name, wanted } => write!(f, "host {name} is not {wanted}"),
            Self::TimedOut { what, seen } => write!(f, "{what} did not come; seen until then:\n{seen}"),
        }
    }
}

/// As Display has it: `unwrap` in a test then says what is needed.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Names what an I/O error interrupted.
pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwrapped_error_tells_a_person_what_is_needed() {
        assert!(format!("{:?}", Error::NotRoot).contains("hint: run `cargo xtask test` as root"));
    }
}
