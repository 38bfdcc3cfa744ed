//! The groups of a session below the spawner's own delegated one: `ID.n/sup` for the session, `ID.n/cmd` for its command (cgroups(7)).

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The spawner's own group, where sessions get theirs; `None` where no cgroup2 can be written.
pub(crate) fn base() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find_map(mount_of_cgroup2)?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let base = mount.join(path.trim_start_matches('/'));
    // Delegated and writable, or not at all: tried, not guessed.
    let probe = base.join("probe");
    fs::create_dir(&probe).ok()?;
    fs::remove_dir(&probe).ok()?;
    Some(base)
}

/// The mount point of a mountinfo line, when it is of type cgroup2 (proc(5)).
fn mount_of_cgroup2(line: &str) -> Option<PathBuf> {
    let (left, right) = line.split_once(" - ")?;
    let kind = right.split(' ').next()?;
    let point = left.split(' ').nth(4)?;
    (kind == "cgroup2").then(|| PathBuf::from(point))
}

/// One session's groups.
pub(crate) struct Groups {
    path: PathBuf,
}

impl Groups {
    /// Names the groups of a session; makes nothing.
    pub(crate) fn of(base: &Path, session: &str) -> Self {
        Self { path: base.join(session) }
    }

    /// Makes them and puts the session's process into `sup`; gives a descriptor of `cmd` to clone the command into.
    pub(crate) fn make(&self, pid: u32) -> io::Result<OwnedFd> {
        fs::create_dir(&self.path)?;
        fs::create_dir(self.path.join("sup"))?;
        fs::create_dir(self.path.join("cmd"))?;
        fs::write(self.path.join("sup/cgroup.procs"), pid.to_string())?;
        Ok(fs::File::open(self.path.join("cmd"))?.into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// True while anything runs in `cmd`.
    pub(crate) fn is_populated(&self) -> bool {
        populated(&self.path.join("cmd"))
    }

    /// Kills all of `cmd`: for a session that died without doing so itself.
    pub(crate) fn kill(&self) -> io::Result<()> {
        // A frozen group would keep its dead.
        let _ = fs::write(self.path.join("cmd/cgroup.freeze"), "0");
        fs::write(self.path.join("cmd/cgroup.kill"), "1")
    }

    /// Removes the groups; false while something is in them.
    pub(crate) fn remove(&self) -> bool {
        remove_tree(&self.path, 8).is_ok()
    }
}

fn populated(path: &Path) -> bool {
    fs::read_to_string(path.join("cgroup.events")).is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
}

/// Removes a group and those below it (a command may have made some), deepest first.
fn remove_tree(path: &Path, depth: u32) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() && depth > 0 {
            remove_tree(&entry.path(), depth - 1)?;
        }
    }
    fs::remove_dir(path)
}

/// Sessions that an earlier spawner started and that have groups here still.
pub(crate) fn left_over(base: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(base) else {
        return Vec::new();
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| jitsudo_core::id::SessionId::try_from(name.clone()).is_ok()).collect()
}

/// The session whose group a process is in, by /proc/PID/cgroup.
pub(crate) fn session_of(base: &Path, pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let name = base.file_name()?.to_str()?;
    let mut parts = path.split('/');
    parts.by_ref().find(|part| *part == name)?;
    let session = parts.next()?;
    base.join(session).is_dir().then(|| session.to_owned())
}

/// A live process of a session's `sup` group.
pub(crate) fn supervisor(base: &Path, session: &str) -> Option<u32> {
    let text = fs::read_to_string(base.join(session).join("sup/cgroup.procs")).ok()?;
    text.lines().find_map(|line| line.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup2_is_found_among_other_mounts() {
        assert_eq!(
            mount_of_cgroup2("30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw"),
            Some("/sys/fs/cgroup".into())
        );
        assert_eq!(mount_of_cgroup2("30 23 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu"), None);
        assert_eq!(mount_of_cgroup2(""), None);
    }
}
