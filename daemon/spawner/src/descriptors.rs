//! Descriptors: as many as may be wanted, and some that nothing is given for, so that ends have theirs.
//!
//! MUST: what is given stops while there are descriptors left to take it away with (host test `spawner_that_can_start_nothing_*`).

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use jitsudo_sys::nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors wanted.
const WANTED: u64 = 16_384;
/// Kept for ends (workers, what is signalled, the spool), but no more than a quarter of all.
const FOR_ENDS: u64 = 256;

/// Three descriptors a session, one for each look: the usual soft limit of 1024 would be the limit of sessions. Where it may not be
/// raised the present one holds. Commands get their requester's limits, never these.
pub(crate) fn raise() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < WANTED
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(WANTED), hard);
    }
}

/// Whether something may be given that begins with this new descriptor: the kernel gives the lowest number that is free.
///
/// # Errors
/// The rest is for ends.
pub(crate) fn leave_room(new: &impl AsFd) -> io::Result<()> {
    let number = u64::try_from(new.as_fd().as_raw_fd()).unwrap_or(0);
    let (most, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if number.saturating_add(FOR_ENDS.min(most / 4)) < most {
        return Ok(());
    }
    Err(io::Error::other("too much runs here at once: the last descriptors are for ending it"))
}

/// True where the process or the host has no descriptor or memory left: nothing is wrong with whoever came.
pub(crate) fn are_used_up(error: &io::Error) -> bool {
    use jitsudo_sys::nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    error.raw_os_error().is_some_and(|errno| [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn last_descriptors_are_for_ends() {
        let (most, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let file = File::open("/dev/null").unwrap();
        leave_room(&file).unwrap();
        let number = u64::try_from(file.as_raw_fd()).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, number * 4 / 3, hard).unwrap();
        let refused = leave_room(&file);
        setrlimit(Resource::RLIMIT_NOFILE, most, hard).unwrap();
        assert!(refused.unwrap_err().to_string().contains("for ending it"));
    }
}
