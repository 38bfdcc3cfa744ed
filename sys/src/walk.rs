//! Walks a path one component at a time without following anything unseen, and notes every directory, link and file on the way.
//!
//! MUSTs
//! 1. Every component is opened by descriptor with O_NOFOLLOW and described by that descriptor (`every_step_is_noted_in_order`).
//! 2. Links are followed by hand, at most [`MAX_LINKS`] (`loop_of_links_is_an_error`).
//! 3. Nothing but a directory is entered and nothing but a regular file is opened for reading, so no fifo or device can hold us up
//!    (`cmd_match_23_fifo_is_never_waited_for`).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

/// Most symbolic links followed, as the kernel's own limit.
pub const MAX_LINKS: usize = 40;
/// Longest path, bytes.
pub const MAX_PATH_BYTES: usize = 4096;

/// One thing on the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Its absolute path, directories resolved.
    pub path: Vec<u8>,
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Status change time, nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Type and permission bits.
    pub mode: u32,
}

impl Step {
    fn new(path: Vec<u8>, stat: &FileStat) -> Self {
        Self {
            path,
            device: stat.st_dev,
            inode: stat.st_ino,
            ctime_ns: stat.st_ctime.saturating_mul(1_000_000_000).saturating_add(stat.st_ctime_nsec),
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode,
        }
    }

    /// What kind of file it is.
    #[must_use]
    pub fn kind(&self) -> SFlag {
        SFlag::from_bits_truncate(self.mode & SFlag::S_IFMT.bits())
    }
}

/// A walk that arrived.
#[derive(Debug)]
pub struct Walk {
    /// Directories resolved, last component as asked: `/bin/sh` gives `/usr/bin/sh` where /bin is a link.
    pub path: Vec<u8>,
    /// Every directory, link and at last the file, in the order they were met.
    pub steps: Vec<Step>,
    /// The final file, opened with O_PATH.
    pub file: OwnedFd,
}

impl Walk {
    /// The final file's step.
    ///
    /// # Errors
    /// Never in practice: a walk has at least its final step.
    pub fn last(&self) -> io::Result<&Step> {
        self.steps.last().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

/// Walks an absolute path.
///
/// # Errors
/// openat(2)'s and readlinkat(2)'s; `FilesystemLoop`-like ELOOP for too many links; `InvalidInput` for a path that is not absolute,
/// empty, has a NUL or is too long.
pub fn walk(path: &[u8]) -> io::Result<Walk> {
    if path.first() != Some(&b'/') || path.len() > MAX_PATH_BYTES || path.contains(&0) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let directory_flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let root = openat(nix::fcntl::AT_FDCWD, "/", directory_flags | OFlag::O_DIRECTORY, Mode::empty())?;
    let mut steps = vec![Step::new(b"/".to_vec(), &fstat(&root)?)];
    let mut here: Vec<(Vec<u8>, OwnedFd)> = vec![(b"/".to_vec(), root)];
    // Components still to go, nearest last; `asked` marks the last component of the path that was asked for.
    let mut ahead: Vec<(Vec<u8>, bool)> = components(path, true);
    if ahead.is_empty() || path.ends_with(b"/") {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    let mut named = None;
    let mut links = 0;
    while let Some((name, asked)) = ahead.pop() {
        if name == b".." {
            if here.len() > 1 {
                here.pop();
            }
            continue;
        }
        let (at, directory) = here.last().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let full = join(at, &name);
        if asked {
            named = Some(full.clone());
        }
        let thing = openat(directory, OsStr::from_bytes(&name), directory_flags, Mode::empty())?;
        let step = Step::new(full.clone(), &fstat(&thing)?);
        let kind = step.kind();
        steps.push(step);
        if kind == SFlag::S_IFLNK {
            links += 1;
            if links > MAX_LINKS {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
            let target: OsString = readlinkat(thing.as_fd(), "")?;
            let target = target.into_vec();
            if target.first() == Some(&b'/') {
                here.truncate(1);
            }
            ahead.extend(components(&target, false));
        } else if ahead.is_empty() {
            return Ok(Walk { path: named.unwrap_or(full), steps, file: thing });
        } else if kind == SFlag::S_IFDIR {
            here.push((full, thing));
        } else {
            return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
        }
    }
    // The path ended in `..` or in a link to one: a directory.
    Err(io::Error::from_raw_os_error(libc::EISDIR))
}

fn components(path: &[u8], asked: bool) -> Vec<(Vec<u8>, bool)> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let mut parts: Vec<(Vec<u8>, bool)> = parts.map(|part| (part.to_vec(), false)).collect();
    if let Some(last) = parts.last_mut() {
        last.1 = asked;
    }
    parts.reverse();
    parts
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Reads the first bytes of a regular file that was walked to, to see a `#!` line; nothing else is ever opened.
///
/// # Errors
/// It is not a regular file, or cannot be read.
pub fn read_beginning(walk: &Walk, limit: usize) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    open(walk)?.take(limit as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens exactly the regular file that was walked to, for reading.
///
/// # Errors
/// It is not a regular file, or cannot be opened.
pub fn open(walk: &Walk) -> io::Result<std::fs::File> {
    use std::os::fd::AsRawFd as _;
    if walk.last()?.kind() != SFlag::S_IFREG {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // An O_PATH descriptor is read through its magic link: exactly this file, whatever the path says by now.
    std::fs::File::open(format!("/proc/self/fd/{}", walk.file.as_raw_fd()))
}

/// Device and inode of whatever a path leads to, links followed; `None` if nothing.
#[must_use]
pub fn identity(path: &OsStr) -> Option<(u64, u64)> {
    let stat = nix::sys::stat::fstatat(nix::fcntl::AT_FDCWD, path, AtFlags::empty()).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("jitsudo-walk-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        path.canonicalize().unwrap()
    }

    fn paths(walk: &Walk) -> Vec<String> {
        walk.steps.iter().map(|step| String::from_utf8_lossy(&step.path).into_owned()).collect()
    }

    #[test]
    fn every_step_is_noted_in_order() {
        let folder = folder("order");
        std::fs::create_dir(folder.join("real")).unwrap();
        std::fs::write(folder.join("real/tool-1"), "#!/bin/sh\n").unwrap();
        symlink("real", folder.join("bin")).unwrap();
        symlink("tool-1", folder.join("real/tool")).unwrap();
        let asked = folder.join("bin/./tool");
        let walk = walk(asked.as_os_str().as_bytes()).unwrap();
        let base = folder.to_str().unwrap();
        assert_eq!(walk.path, format!("{base}/real/tool").into_bytes(), "directories resolved, name as asked");
        let seen = paths(&walk);
        let tail: Vec<String> =
            ["", "/bin", "/real", "/real/tool", "/real/tool-1"].iter().map(|end| format!("{base}{end}")).collect();
        assert_eq!(seen[seen.len() - 5..], tail[..]);
        assert_eq!(read_beginning(&walk, 5).unwrap(), b"#!/bi");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn loop_of_links_is_an_error() {
        let folder = folder("loop");
        symlink("b", folder.join("a")).unwrap();
        symlink("a", folder.join("b")).unwrap();
        let error = walk(folder.join("a").as_os_str().as_bytes()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn cmd_match_23_fifo_is_never_waited_for() {
        let folder = folder("fifo");
        nix::unistd::mkfifo(&folder.join("f"), Mode::from_bits_truncate(0o755)).unwrap();
        let walk = walk(folder.join("f").as_os_str().as_bytes()).unwrap();
        assert!(read_beginning(&walk, 10).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn directories_files_as_directories_and_relative_paths_are_refused() {
        for path in [&b"/"[..], b"/usr/", b"usr/bin/true", b"", b"/etc/passwd/x", b"/usr/bin/..", b"/a\0b"] {
            assert!(walk(path).is_err(), "{}", String::from_utf8_lossy(path));
        }
        assert_eq!(walk(b"/usr/bin").unwrap().last().unwrap().kind(), SFlag::S_IFDIR);
    }

    #[test]
    fn dots_climb_the_real_directories() {
        assert_eq!(walk(b"/usr/../usr/bin/../bin/env").unwrap().path, b"/usr/bin/env");
        assert_eq!(walk(b"/../../usr/bin/env").unwrap().path, b"/usr/bin/env");
    }
}
