//! The peer's process as root sees it: ids, limits, terminal, namespaces.

use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use jitsudo_bytes::Bytes;
use jitsudo_core::facts::Fact;
use jitsudo_link::facts::{Peer, Process};
use jitsudo_sys::{pidfd, process};

/// What was read of the peer.
pub(crate) struct Seen {
    /// /proc/PID/status and stat.
    pub(crate) status: process::Process,
    /// For the session.
    pub(crate) process: Process,
    /// Audit login uid; unknown when unreadable.
    pub(crate) loginuid: Fact<Option<u32>>,
    /// Namespaces or root differ from ours; unknown when unreadable.
    pub(crate) foreign: Fact<bool>,
    /// The unified cgroup's path.
    pub(crate) cgroup: Fact<String>,
    /// Working directory.
    pub(crate) cwd: Fact<Bytes>,
}

/// The namespaces that are compared with our own.
const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// Reads the peer; in words why it may not ask.
pub(crate) fn learn(peer: Peer, pidfd: BorrowedFd<'_>) -> Result<Seen, String> {
    let gone = || "the peer is gone".to_owned();
    if peer.pid == 0 {
        return Err("the peer has no process id here (another pid namespace)".to_owned());
    }
    let status = process::read(peer.pid).map_err(|_| gone())?;
    check_ids(peer, &status)?;
    let number = |file: &str| -> Fact<Option<u32>> {
        match std::fs::read_to_string(process::path(peer.pid, file)).map(|text| text.trim().parse::<u32>()) {
            Ok(Ok(u32::MAX)) => Fact::Is(None),
            Ok(Ok(number)) => Fact::Is(Some(number)),
            // A kernel without audit has no such file: nobody ever has a login uid there.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Fact::Is(None),
            _ => Fact::Unknown,
        }
    };
    let loginuid = number("loginuid");
    let audit_session = number("sessionid").known().copied().flatten();
    let leader_start = process::start_ticks(status.session).unwrap_or(0);
    let limits = (0..process::LIMITS)
        .filter_map(|resource| process::limit(peer.pid, resource).ok().map(|(soft, hard)| (resource, soft, hard)))
        .collect();
    let cwd = match std::fs::read_link(process::path(peer.pid, "cwd")) {
        Ok(path) => Fact::Is(Bytes(path.into_os_string().into_vec())),
        Err(_) => Fact::Unknown,
    };
    let seen = Seen {
        process: Process {
            start_ticks: status.start_ticks,
            tty: status.tty,
            tty_name: terminal_name(status.tty),
            nice: status.nice,
            cpus: status.cpus.clone(),
            limits,
            hangup_ignored: status.ignored_signals & 1 != 0,
            umask: status.umask,
            leader: (status.session, leader_start),
            audit_session,
            mount_namespace: jitsudo_sys::walk::identity(process::path(peer.pid, "ns/mnt").as_os_str())
                .map_or(0, |(_, inode)| inode),
        },
        loginuid,
        foreign: foreign(peer.pid),
        cgroup: cgroup(peer.pid),
        cwd,
        status,
    };
    // All of it was read by number; it counts only if that number meant the peer until now.
    if pidfd::is_alive(pidfd) { Ok(seen) } else { Err(gone()) }
}

fn check_ids(peer: Peer, status: &process::Process) -> Result<(), String> {
    let all = |ids: [u32; 4], id: u32| ids.iter().all(|other| *other == id);
    if !all(status.uids, peer.uid) || !all(status.gids, status.gids[0]) {
        return Err(format!(
            "real, effective, saved and file-system ids of process {} differ: a setuid or setgid program cannot ask for another",
            peer.pid
        ));
    }
    if !crate::uid(peer.uid).is_account() {
        return Err(format!("uid {} is not an account (another user namespace)", peer.uid));
    }
    Ok(())
}

/// True when any namespace, or the root directory, is not ours.
fn foreign(pid: u32) -> Fact<bool> {
    for name in NAMESPACES {
        let file = format!("ns/{name}");
        let (Ok(theirs), own) =
            (std::fs::read_link(process::path(pid, &file)), std::fs::read_link(format!("/proc/self/{file}")))
        else {
            // A kernel without this kind has it nowhere.
            if std::fs::read_link(format!("/proc/self/{file}")).is_err() {
                continue;
            }
            return Fact::Unknown;
        };
        if own.is_ok_and(|own| own != theirs) {
            return Fact::Is(true);
        }
    }
    let root = jitsudo_sys::walk::identity(process::path(pid, "root").as_os_str());
    match (root, jitsudo_sys::walk::identity("/".as_ref())) {
        (Some(theirs), Some(own)) => Fact::Is(theirs != own),
        _ => Fact::Unknown,
    }
}

fn cgroup(pid: u32) -> Fact<String> {
    match std::fs::read_to_string(process::path(pid, "cgroup")) {
        // A hybrid host has v1 lines as well; the unified hierarchy's begins with `0::`.
        Ok(text) => Fact::Is(text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").to_owned()),
        Err(_) => Fact::Unknown,
    }
}

/// The path of a terminal by its device number: pts by arithmetic, others by sysfs.
fn terminal_name(device: u64) -> Option<String> {
    if device == 0 {
        return None;
    }
    let (major, minor) = (jitsudo_sys::nix::sys::stat::major(device), jitsudo_sys::nix::sys::stat::minor(device));
    if (136..=143).contains(&major) {
        return Some(format!("/dev/pts/{}", (major - 136) * 256 + minor));
    }
    let link = std::fs::read_link(format!("/sys/dev/char/{major}:{minor}")).ok()?;
    let name = link.file_name()?;
    name.as_bytes().is_ascii().then(|| format!("/dev/{}", name.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    fn own_status() -> process::Process {
        process::read(std::process::id()).unwrap()
    }

    #[test]
    fn peer_auth_03_ids_raised_after_connect_are_refused() {
        let mut status = own_status();
        let peer = Peer { pid: 7, uid: status.uids[0], gid: status.gids[0] };
        assert!(check_ids(peer, &status).is_ok());
        status.uids[1] = 4711;
        assert!(check_ids(peer, &status).is_err());
    }

    #[test]
    fn confused_deputy_06_setgid_wrapper_is_refused() {
        let mut status = own_status();
        status.gids[1] = 4711;
        let peer = Peer { pid: 7, uid: status.uids[0], gid: status.gids[0] };
        assert!(check_ids(peer, &status).unwrap_err().contains("setgid"));
    }

    #[test]
    fn peer_auth_10_overflow_uid_is_no_account() {
        let mut status = own_status();
        status.uids = [65534; 4];
        assert!(check_ids(Peer { pid: 7, uid: 65534, gid: 0 }, &status).unwrap_err().contains("namespace"));
    }

    #[test]
    fn peer_auth_11_peer_without_a_pid_here_is_refused() {
        let pidfd = pidfd::open(std::process::id()).unwrap();
        assert!(learn(Peer { pid: 0, uid: 0, gid: 0 }, pidfd.as_fd()).is_err());
    }

    #[test]
    fn peer_auth_04_peer_that_went_away_is_refused() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = pidfd::open(child.id()).unwrap();
        let own = own_status();
        let peer = Peer { pid: child.id(), uid: own.uids[0], gid: own.gids[0] };
        assert!(learn(peer, pidfd.as_fd()).is_ok());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(learn(peer, pidfd.as_fd()).is_err());
    }

    #[test]
    fn terminals_have_their_names() {
        assert_eq!(terminal_name(0), None);
        assert_eq!(terminal_name(jitsudo_sys::nix::sys::stat::makedev(136, 3)).as_deref(), Some("/dev/pts/3"));
        assert_eq!(terminal_name(jitsudo_sys::nix::sys::stat::makedev(137, 1)).as_deref(), Some("/dev/pts/257"));
    }
}
