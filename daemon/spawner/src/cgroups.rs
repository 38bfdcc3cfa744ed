//! The groups of a session below the spawner's own delegated one: `sup.N` for the session, `ID.n/cmd` for its command (cgroups(7)).
//!
//! A session is started before anybody knows its id, and moving a running process to another group waits for every processor of the
//! kernel (4 to 12 ms seen). So it goes into `sup.N` while nobody waits, and the note `/run/jitsudo/sessions/ID.n` says
//! whose it became and until when (an empty group would not do: systemd removes those when the unit restarts).

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Notes on running sessions, root's alone; gone at reboot, as they are.
const NOTES: &str = jitsudo_link::SESSIONS;

/// The spawner's own group, where sessions get theirs; `None` where no cgroup2 can be written.
pub(crate) fn base() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find_map(mount_of_cgroup2)?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = unified(&own)?;
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

    /// Makes them and notes the session's own group and when all is over; gives a descriptor of `cmd` to clone the command into.
    pub(crate) fn make(&self, supervisor: &Supervisor, until_ms: u64) -> io::Result<OwnedFd> {
        fs::create_dir(&self.path)?;
        if let Some(name) = self.path.file_name() {
            // Where it cannot be written a restarted spawner does not know this session; its own deadline still ends it.
            let _ = fs::write(Path::new(NOTES).join(name), format!("{} {until_ms}", supervisor.number));
        }
        fs::create_dir(self.path.join("cmd"))?;
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
        let removed = remove_tree(&self.path, 8).is_ok();
        if let Some(name) = self.path.file_name().filter(|_| removed) {
            // It may never have been written.
            let _ = fs::remove_file(Path::new(NOTES).join(name));
        }
        removed
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

/// Sessions that are noted, with or without groups: systemd removes empty groups of a unit whose process died.
pub(crate) fn noted() -> Vec<String> {
    let names = fs::read_dir(NOTES).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| jitsudo_core::id::SessionId::try_from(name.clone()).is_ok()).collect()
}

/// The session whose group a process is in, by /proc/PID/cgroup.
pub(crate) fn session_of(base: &Path, pid: u32) -> Option<String> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let theirs = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let session = below(unified(&own)?, unified(&theirs)?)?;
    base.join(session).is_dir().then(|| session.to_owned())
}

/// Whether a process is in a session's groups; `None` when that cannot be told.
pub(crate) fn is_inside(pid: u32) -> Option<bool> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let theirs = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    Some(below(unified(&own)?, unified(&theirs)?).is_some_and(is_of_session))
}

/// A group of a session's command, or of a session itself.
fn is_of_session(name: &str) -> bool {
    name.starts_with("sup.") || jitsudo_core::id::SessionId::try_from(name.to_owned()).is_ok()
}

/// The unified hierarchy's path in the text of a /proc/PID/cgroup.
fn unified(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// The first name of `path` below `own`. Both are whole paths: users make groups of any name below their own delegated one.
fn below<'a>(own: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(own.trim_end_matches('/'))?.strip_prefix('/')?;
    rest.split('/').next().filter(|name| !matches!(*name, "" | "." | ".."))
}

/// The group of a session's own process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Supervisor {
    number: u64,
}

impl Supervisor {
    /// Makes the next one; `at` makes its number new (the boot clock does).
    pub(crate) fn make(base: &Path, at: u64) -> io::Result<Self> {
        for number in at.. {
            match fs::create_dir(base.join(format!("sup.{number}"))) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other.map(|()| Self { number }),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The one that a session of an earlier spawner has, and when that session is over (CLOCK_BOOTTIME milliseconds).
    pub(crate) fn of(session: &str) -> Option<(Self, u64)> {
        let note = fs::read_to_string(Path::new(NOTES).join(session)).ok()?;
        let (number, until_ms) = note.split_once(' ')?;
        Some((Self { number: number.parse().ok()? }, until_ms.parse().ok()?))
    }

    /// Notes whose it is, and when that session is over now. Whole or not at all.
    pub(crate) fn note(&self, session: &str, until_ms: u64) -> io::Result<()> {
        let fresh = Path::new(NOTES).join(format!(".{session}"));
        fs::write(&fresh, format!("{} {until_ms}", self.number))?;
        fs::rename(fresh, Path::new(NOTES).join(session))
    }

    /// Those that an earlier spawner made.
    pub(crate) fn left_over(base: &Path) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(base) else {
            return Vec::new();
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| Some(Self { number: name.strip_prefix("sup.")?.parse().ok()? })).collect()
    }

    pub(crate) fn path(&self, base: &Path) -> PathBuf {
        base.join(format!("sup.{}", self.number))
    }

    /// A live process in it.
    pub(crate) fn process(&self, base: &Path) -> Option<u32> {
        let text = fs::read_to_string(self.path(base).join("cgroup.procs")).ok()?;
        text.lines().find_map(|line| line.parse().ok())
    }

    /// Kills what a PAM module left in it: it may hold the client's socket, and the client would wait for ever.
    pub(crate) fn kill(&self, base: &Path) {
        // Fails only when it is gone; what stays is removed later.
        let _ = fs::write(self.path(base).join("cgroup.kill"), "1");
    }

    /// Removes it; false while something is in it.
    pub(crate) fn remove(&self, base: &Path) -> bool {
        remove_tree(&self.path(base), 8).is_ok()
    }
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

    #[test]
    fn groups_of_sessions_are_told_from_others() {
        let session = format!("{}.1", jitsudo_core::id::AccessId::new(1, [1; 10]));
        assert!(is_of_session(&session) && is_of_session("sup.4"));
        assert!(!is_of_session("user.slice") && !is_of_session("probe") && !is_of_session("01jd.1"));
        assert_eq!(is_inside(std::process::id()), Some(false), "nobody is inside of itself");
    }

    #[test]
    fn peer_auth_12_group_of_the_same_name_elsewhere_is_no_session() {
        let own = "/system.slice/jitsudo-spawn.service";
        assert_eq!(below(own, "/system.slice/jitsudo-spawn.service/01jd.1/cmd"), Some("01jd.1"));
        for path in [
            "/user.slice/user-1000.slice/user@1000.service/jitsudo-spawn.service/01jd.1",
            "/user.slice/x/system.slice/jitsudo-spawn.service/01jd.1",
            "/system.slice/jitsudo-spawn.service2/01jd.1",
            "/system.slice/jitsudo-spawn.service",
            "/system.slice/jitsudo-spawn.service/..",
            "/../system.slice/jitsudo-spawn.service/01jd.1",
            "",
        ] {
            assert_eq!(below(own, path), None, "{path}");
        }
        // A container's own root is `/`.
        assert_eq!(below("/", "/01jd.1/sup"), Some("01jd.1"));
    }
}
