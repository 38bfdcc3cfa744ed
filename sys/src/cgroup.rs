//! One cgroup by a descriptor of its directory (cgroups(7)): what is in it, and ending that.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

/// A cgroup of the unified hierarchy.
#[derive(Debug)]
pub struct Cgroup {
    directory: OwnedFd,
    events: File,
}

impl Cgroup {
    /// Takes a descriptor of its directory.
    ///
    /// # Errors
    /// It is no cgroup directory.
    pub fn from_directory(directory: OwnedFd) -> io::Result<Self> {
        let events =
            File::from(openat(&directory, c"cgroup.events", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?);
        Ok(Self { directory, events })
    }

    /// The directory, for `CLONE_INTO_CGROUP`.
    #[must_use]
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Polls with POLLPRI when [`Cgroup::is_populated`] may have changed.
    #[must_use]
    pub fn events(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Any process in it or below it that has not ended.
    ///
    /// # Errors
    /// It is gone.
    pub fn is_populated(&self) -> io::Result<bool> {
        use std::io::{Seek as _, SeekFrom};
        let mut text = String::new();
        let mut events = &self.events;
        events.seek(SeekFrom::Start(0))?;
        events.read_to_string(&mut text)?;
        Ok(text.lines().any(|line| line == "populated 1"))
    }

    /// The processes in it and below it.
    ///
    /// # Errors
    /// It is gone.
    pub fn processes(&self) -> io::Result<Vec<u32>> {
        let mut found = Vec::new();
        collect(self.directory.as_fd(), 16, &mut found)?;
        Ok(found)
    }

    /// Kills all that is in it and below it, at once, whatever forks meanwhile (Linux 5.14).
    ///
    /// # Errors
    /// The kernel has no cgroup.kill, or the cgroup is gone.
    pub fn kill(&self) -> io::Result<()> {
        self.write(c"cgroup.kill", b"1")
    }

    /// Thaws it, so that its processes can take their signals.
    ///
    /// # Errors
    /// It is gone.
    pub fn thaw(&self) -> io::Result<()> {
        self.write(c"cgroup.freeze", b"0")
    }

    fn write(&self, name: &CStr, text: &[u8]) -> io::Result<()> {
        let file = openat(&self.directory, name, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        File::from(file).write_all(text)
    }
}

fn collect(directory: BorrowedFd<'_>, depth: u32, found: &mut Vec<u32>) -> io::Result<()> {
    let procs = openat(directory, c"cgroup.procs", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    File::from(procs).read_to_string(&mut text)?;
    found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    if depth == 0 {
        return Ok(());
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let listing = nix::dir::Dir::from_fd(openat(directory, c".", flags, Mode::empty())?)?;
    for entry in listing.into_iter().flatten() {
        if entry.file_type() != Some(nix::dir::Type::Directory) || entry.file_name().to_bytes().starts_with(b".") {
            continue;
        }
        // A group that was removed meanwhile has no processes.
        if let Ok(below) = openat(directory, entry.file_name(), flags, Mode::empty()) {
            let _ = collect(below.as_fd(), depth - 1, found);
        }
    }
    Ok(())
}

/// The path of this process's cgroup in its cgroup namespace; `None` without a unified hierarchy.
#[must_use]
pub fn own() -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::").map(ToOwned::to_owned))
}
