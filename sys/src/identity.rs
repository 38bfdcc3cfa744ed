//! Acting on files as somebody else for a moment, in a process of one thread (credentials(7), setfsuid(2)).
//!
//! MUSTs
//! 1. The root that comes back is whole: where it cannot be had back the process ends (`root_is_back_after_acting_as_another`).
//! 2. Nothing is opened before every id was changed and read back.

use std::io;

use nix::unistd::getgroups;

/// The ids that decide about files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// Does something with the file system ids and groups of an account. The process must be root and have one thread.
///
/// # Errors
/// The ids could not be taken (nothing was done), or what was done failed.
pub fn acting_as<T>(account: &Account, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = getgroups()?;
    let before: Vec<u32> = before.into_iter().map(|group| group.as_raw()).collect();
    set_groups(&account.groups)?;
    let taken = set_group(account.gid).and_then(|()| set_user(account.uid));
    let outcome = taken.and_then(|()| work());
    let back = set_user(0).and_then(|()| set_group(0)).and_then(|()| set_groups(&before));
    if back.is_err() {
        // Half an identity must not go on.
        std::process::abort();
    }
    outcome
}

/// setgroups(2) of this thread alone, as setfsuid(2) is (libc's wrapper would change every thread).
fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of one live slice of gid_t.
    let outcome = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    nix::errno::Errno::result(outcome)?;
    Ok(())
}

fn set_user(uid: u32) -> io::Result<()> {
    // SAFETY: setfsuid takes an integer.
    unsafe { libc::setfsuid(uid) };
    // setfsuid(2): it never says that it failed; asking with an invalid id (-1) gives the present one.
    // SAFETY: as above.
    let now = unsafe { libc::setfsuid(u32::MAX) };
    is(now, uid)
}

fn set_group(gid: u32) -> io::Result<()> {
    // SAFETY: setfsgid takes an integer.
    unsafe { libc::setfsgid(gid) };
    // SAFETY: as above; -1 is invalid and only asks.
    let now = unsafe { libc::setfsgid(u32::MAX) };
    is(now, gid)
}

fn is(now: libc::c_int, wanted: u32) -> io::Result<()> {
    if now.cast_unsigned() == wanted { Ok(()) } else { Err(io::Error::from(io::ErrorKind::PermissionDenied)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{here, open_searchable};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn root_is_back_after_acting_as_another() {
        if !nix::unistd::getuid().is_root() {
            return;
        }
        let folder = std::env::temp_dir().join(format!("jitsudo-identity-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        let path = std::ffi::CString::new(folder.to_str().unwrap()).unwrap();
        let alice = Account { uid: 60_001, gid: 60_001, groups: vec![60_001] };
        // Credentials are a thread's: this test's own thread is the one that changes.
        std::thread::spawn(move || {
            let refused = acting_as(&alice, || open_searchable(here(), &path)).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
            open_searchable(here(), &path).unwrap();
        })
        .join()
        .unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
