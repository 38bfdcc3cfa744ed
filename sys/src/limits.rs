//! Limits and nice value of this process (setrlimit(2), setpriority(2)).

use std::io;

use nix::errno::Errno;

/// A soft and a hard limit; `u64::MAX` = unlimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// What holds.
    pub soft: u64,
    /// How far an unprivileged process may raise it.
    pub hard: u64,
}

/// Reads a limit.
///
/// # Errors
/// No such resource.
pub fn of(resource: u32) -> io::Result<Limit> {
    let mut raw = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: there is room for one rlimit.
    Errno::result(unsafe { libc::getrlimit(resource, &raw mut raw) })?;
    Ok(Limit { soft: raw.rlim_cur, hard: raw.rlim_max })
}

/// Sets a limit.
///
/// # Errors
/// No such resource, or not allowed.
pub fn set(resource: u32, limit: Limit) -> io::Result<()> {
    let raw = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
    // SAFETY: reads one rlimit, which is there.
    Errno::result(unsafe { libc::setrlimit(resource, &raw const raw) })?;
    Ok(())
}

/// The nice value of this process.
#[must_use]
pub fn nice() -> i32 {
    // SAFETY: takes integers; it cannot fail for the calling process.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// Sets the nice value of this process.
///
/// # Errors
/// Not allowed.
pub fn set_nice(value: i32) -> io::Result<()> {
    // SAFETY: takes integers.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, value) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_that_was_set_is_read_back() {
        let before = of(libc::RLIMIT_CORE).unwrap();
        set(libc::RLIMIT_CORE, Limit { soft: 0, ..before }).unwrap();
        assert_eq!(of(libc::RLIMIT_CORE).unwrap(), Limit { soft: 0, ..before });
    }
}
