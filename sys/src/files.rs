//! What a descriptor is: which file on which mount, and whether it only names a path (statx(2), open(2)).

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{Mode, SFlag, fstat};

/// One file on one mount: two descriptors with equal places are the same file reached by the same mount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Major and minor number of the file system's device.
    pub device: (u32, u32),
    /// Inode number.
    pub inode: u64,
    /// The kernel's id of the mount (Linux 5.8).
    pub mount: u64,
}

/// Where an open descriptor (O_PATH too) is.
///
/// # Errors
/// statx(2)'s; `Unsupported` on kernels that do not tell the mount.
pub fn place(descriptor: BorrowedFd<'_>) -> io::Result<Place> {
    let mut raw = MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_EMPTY_PATH | libc::AT_NO_AUTOMOUNT;
    let mask = libc::STATX_BASIC_STATS | libc::STATX_MNT_ID;
    // SAFETY: an empty path with AT_EMPTY_PATH means the descriptor; there is room for one statx.
    let outcome = unsafe { libc::statx(descriptor.as_raw_fd(), c"".as_ptr(), flags, mask, raw.as_mut_ptr()) };
    nix::errno::Errno::result(outcome)?;
    // SAFETY: zeroed memory is a valid statx, and the call filled it.
    let raw = unsafe { raw.assume_init() };
    if raw.stx_mask & libc::STATX_MNT_ID == 0 {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    Ok(Place { device: (raw.stx_dev_major, raw.stx_dev_minor), inode: raw.stx_ino, mount: raw.stx_mnt_id })
}

/// The descriptor was opened with O_PATH: it gives access to nothing yet, and may name a file that its sender cannot open.
///
/// # Errors
/// fcntl(2)'s.
pub fn is_path_only(descriptor: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(OFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFL)?).contains(OFlag::O_PATH))
}

/// The descriptor is a directory.
///
/// # Errors
/// fstat(2)'s.
pub fn is_directory(descriptor: BorrowedFd<'_>) -> io::Result<bool> {
    let mode = SFlag::from_bits_truncate(fstat(descriptor)?.st_mode);
    Ok(mode & SFlag::S_IFMT == SFlag::S_IFDIR)
}

/// The descriptor is a pipe itself: closing it never waits, whoever made it.
#[must_use]
pub fn is_fifo(descriptor: BorrowedFd<'_>) -> bool {
    is_kind(descriptor, SFlag::S_IFIFO)
}

/// The descriptor is a character device, as every terminal is.
#[must_use]
pub fn is_character_device(descriptor: BorrowedFd<'_>) -> bool {
    is_kind(descriptor, SFlag::S_IFCHR)
}

fn is_kind(descriptor: BorrowedFd<'_>, kind: SFlag) -> bool {
    fstat(descriptor).is_ok_and(|found| SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == kind)
}

/// The descriptor is a pipe or a socket (ksh makes its pipes of socket pairs).
#[must_use]
pub fn is_pipe(descriptor: BorrowedFd<'_>) -> bool {
    let Ok(found) = fstat(descriptor) else { return false };
    let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
    kind == SFlag::S_IFIFO || kind == SFlag::S_IFSOCK
}

/// Opens a directory by path with O_PATH, and only when this process may search it: `fchdir` by anybody with more rights is then no
/// gain over `chdir` by this one.
///
/// # Errors
/// open(2)'s.
pub fn open_searchable(at: BorrowedFd<'_>, path: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = nix::fcntl::openat(at, path, flags, Mode::empty())?;
    // Resolving "." asks for search permission on the directory itself; opening it with O_PATH does not.
    nix::fcntl::openat(&directory, c".", flags, Mode::empty())?;
    Ok(directory)
}

/// Opens /dev/null on every one of descriptors 0, 1 and 2 that is closed, so that no later file becomes one of them.
///
/// # Errors
/// /dev/null cannot be opened.
pub fn fill_standard() -> io::Result<()> {
    for number in 0..3 {
        if is_open(number) {
            continue;
        }
        // SAFETY: a constant path; open(2) returns the lowest free number, which is this one: those below are open.
        let opened = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        nix::errno::Errno::result(opened)?;
    }
    Ok(())
}

/// Borrows descriptor 0, 1 or 2, which [`fill_standard`] made sure of.
#[must_use]
pub fn standard() -> [BorrowedFd<'static>; 3] {
    // SAFETY: 0, 1 and 2 are never closed by this process: they stay open for its whole life.
    [0, 1, 2].map(|number| unsafe { BorrowedFd::borrow_raw(number) })
}

/// Takes a descriptor number that the caller of this program passed on purpose (`--status-fd`).
///
/// # Errors
/// It is not open, or one of 0, 1, 2 (those are written to as they are).
pub fn take_passed(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC is sound on any number; the original stays with whoever has it.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    nix::errno::Errno::result(copy)?;
    // SAFETY: the call returned this new descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// The directory that a relative path begins at: this process's own.
#[must_use]
pub fn here() -> BorrowedFd<'static> {
    nix::fcntl::AT_FDCWD
}

/// A second descriptor of the same file description, close-on-exec.
///
/// # Errors
/// fcntl(2)'s.
pub fn duplicate(descriptor: &impl AsFd) -> io::Result<OwnedFd> {
    descriptor.as_fd().try_clone_to_owned()
}

/// The open descriptors of this process: number, and what the kernel calls a socket, pipe or anonymous file. Others are called `file`:
/// their names can change, and asking their file systems could wait for ever.
///
/// # Errors
/// /proc/self/fd cannot be read.
pub fn open_descriptors() -> io::Result<BTreeSet<(i32, String)>> {
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        // The directory's own descriptor is among them, and gone when it is asked for.
        let (Some(number), Ok(name)) = (number, std::fs::read_link(entry.path())) else { continue };
        let name = name.to_string_lossy().into_owned();
        let is_own = ["socket:[", "pipe:[", "anon_inode:"].iter().any(|kind| name.starts_with(kind));
        all.insert((number, if is_own { name } else { "file".to_owned() }));
    }
    // The listing has a number of its own, which is free again.
    all.retain(|(number, _)| is_open(*number));
    Ok(all)
}

fn is_open(number: i32) -> bool {
    // SAFETY: F_GETFD takes an integer and is sound on any number.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_directory_has_the_same_place_and_another_has_not() {
        let open = |path: &CStr| open_searchable(here(), path).unwrap();
        let (one, same, other) = (open(c"/usr"), open(c"/usr/../usr"), open(c"/usr/bin"));
        assert_eq!(place(one.as_fd()).unwrap(), place(same.as_fd()).unwrap());
        assert_ne!(place(one.as_fd()).unwrap(), place(other.as_fd()).unwrap());
        assert!(is_path_only(one.as_fd()).unwrap());
        assert!(is_directory(one.as_fd()).unwrap());
    }

    #[test]
    fn pipe_is_one_and_a_file_is_not() {
        let (read, _write) = std::io::pipe().unwrap();
        assert!(is_pipe(read.as_fd()));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(!is_pipe(file.as_fd()));
        assert!(!is_path_only(file.as_fd()).unwrap());
    }
}
