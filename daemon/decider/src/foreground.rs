//! `jitsudod --foreground`: without systemd, as root: makes the folders and sockets, starts the spawner and the decider, and ends with
//! whichever ends first. It serves nobody itself: the decider is a child that has become `_jitsudo` before it reads a byte.
//!
//! MUSTs
//! 1. Folders are taken by descriptor, never through a link, and have the owner and mode of design section 14 (`fs_race_01_*`).
//! 2. A daemon that is already there keeps its sockets (`session_end_08_*`).

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

use jitsudo_sys::channel::Channel;
use jitsudo_sys::child::{self, Child};
use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::nix::fcntl::OFlag;
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use jitsudo_sys::nix::sys::signal::Signal;
use jitsudo_sys::nix::sys::signalfd::SignalFd;
use jitsudo_sys::nix::sys::stat::{Mode, umask};
use jitsudo_sys::nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use jitsudo_sys::nix::unistd::{Gid, Uid, fchown, getpid, getuid};
use jitsudo_sys::{files, pidfd, signals};

use crate::start::{self, Failure};

/// How long a child may take to end, milliseconds.
const FAREWELL_MS: u64 = 5_000;

/// Keeps spawner and decider until one of them ends or a signal asks to.
pub(crate) fn keep() -> Result<(), Failure> {
    if !getuid().is_root() {
        return Err(Failure::Account("--foreground needs root".to_owned()));
    }
    files::fill_standard().map_err(Failure::io("open /dev/null"))?;
    // Started programs inherit the mask, and sessions theirs: it is empty until they are started.
    signals::unblock_all().map_err(Failure::io("unblock signals"))?;
    let (uid, gid) = start::account()?;
    for folder in folders(uid, gid) {
        prepare(&folder).map_err(Failure::io(format!("prepare {}", folder.path)))?;
    }
    let orders = listen(Path::new(jitsudo_link::SPAWNER_SOCKET), 0o600, uid)?;
    let clients = listen(Path::new(jitsudo_protocol::SOCKET), 0o666, 0)?;
    let program = Path::new(jitsudo_link::LIBEXEC).join("jitsudo-spawn");
    let spawner = child::start(&program, &[], &orders).map_err(Failure::io(format!("start {}", program.display())))?;
    let own = std::env::current_exe().map_err(Failure::io("find this program"))?;
    let decider = match child::start(&own, &["--unprivileged"], &clients) {
        Ok(decider) => decider,
        Err(error) => {
            spawner.end();
            return Err(Failure::io("start the decider")(error));
        }
    };
    let taken = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD];
    let ended = match signals::take(&taken) {
        Ok(signals) => wait(&signals, &spawner, &decider),
        Err(error) => {
            decider.end();
            spawner.end();
            return Err(Failure::io("take signals")(error));
        }
    };
    farewell(decider);
    farewell(spawner);
    let _ = fs::remove_file(jitsudo_protocol::SOCKET);
    let _ = fs::remove_file(jitsudo_link::SPAWNER_SOCKET);
    ended.map_or(Ok(()), |which| Err(Failure::Ended(which)))
}

/// Returns when somebody ended, which is named, or when a signal asks to end.
fn wait(signals: &SignalFd, spawner: &Child, decider: &Child) -> Option<&'static str> {
    loop {
        let mut entries = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(spawner.pidfd().as_fd(), PollFlags::POLLIN),
            PollFd::new(decider.pidfd().as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut entries, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
        let [signalled, spawner_ended, decider_ended] = entries.map(|entry| entry.any().unwrap_or(false));
        if spawner_ended {
            return Some("jitsudo-spawn");
        }
        if decider_ended {
            return Some("the decider");
        }
        if signalled && let Ok(Some(signal)) = signals.read_signal() {
            match i32::try_from(signal.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGHUP)) => {
                    // One that is gone shows above.
                    let _ = pidfd::signal(decider.pidfd().as_fd(), Signal::SIGHUP as i32);
                }
                Ok(Ok(Signal::SIGCHLD)) => adopt(),
                Ok(_) | Err(_) => return None,
            }
        }
    }
}

/// As the first process of a container: orphans of sessions are reaped. Our own children show by their pidfds all the same.
fn adopt() {
    if getpid().as_raw() != 1 {
        return;
    }
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}

/// Asks a child to end, then makes it.
fn farewell(mut child: Child) {
    let _ = pidfd::signal(child.pidfd().as_fd(), Signal::SIGTERM as i32);
    let until_ms = start::now_ms().saturating_add(FAREWELL_MS);
    while !child.reap() {
        let left = until_ms.saturating_sub(start::now_ms());
        if left == 0 {
            child.end();
            return;
        }
        let mut entry = [PollFd::new(child.pidfd().as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut entry, PollTimeout::from(u16::try_from(left).unwrap_or(u16::MAX)));
    }
}

/// A folder, its mode and its owner.
struct Folder {
    path: &'static str,
    mode: u32,
    uid: u32,
    gid: u32,
}

/// Design section 14, parents first.
fn folders(uid: u32, gid: u32) -> Vec<Folder> {
    let folder = |path, mode, uid, gid| Folder { path, mode, uid, gid };
    vec![
        folder("/run/jitsudo", 0o755, 0, 0),
        folder(jitsudo_link::SESSIONS, 0o700, 0, 0),
        folder(jitsudo_link::notes::ENDS, 0o700, 0, 0),
        folder(jitsudo_link::SUDOERS, 0o700, 0, 0),
        folder(jitsudo_link::LOGINS, 0o700, 0, 0),
        folder(jitsudo_link::marks::MARKS, 0o700, 0, 0),
        folder("/var/lib/jitsudo", 0o755, 0, 0),
        folder(jitsudo_link::notes::LASTING_ENDS, 0o700, 0, 0),
        folder(jitsudo_link::LEDGER, 0o700, uid, gid),
        folder("/var/lib/jitsudo/policy", 0o750, 0, gid),
        folder(jitsudo_link::SPOOL, 0o2750, 0, gid),
        folder("/var/lib/jitsudo/recordings", 0o700, 0, 0),
    ]
}

fn prepare(folder: &Folder) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder.path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let flags = (OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits();
    let handle = OpenOptions::new().read(true).custom_flags(flags).open(folder.path)?;
    settle(&handle, folder)
}

fn settle(handle: &File, folder: &Folder) -> io::Result<()> {
    let found = handle.metadata()?;
    if found.uid() != 0 && found.uid() != folder.uid {
        let text = format!("it belongs to uid {}, which is neither root nor uid {}", found.uid(), folder.uid);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    if (found.uid(), found.gid()) != (folder.uid, folder.gid) {
        fchown(handle, Some(Uid::from_raw(folder.uid)), Some(Gid::from_raw(folder.gid)))?;
    }
    if found.mode() & 0o7777 != folder.mode {
        handle.set_permissions(Permissions::from_mode(folder.mode))?;
    }
    Ok(())
}

/// Binds a socket in a folder that only root writes; a file that a dead daemon left is replaced.
fn listen(path: &Path, mode: u32, owner: u32) -> Result<Channel, Failure> {
    let failed = || Failure::io(format!("listen on {}", path.display()));
    if let Ok(found) = path.symlink_metadata() {
        if !found.file_type().is_socket() {
            return Err(failed()(io::Error::other("something else is there")));
        }
        if Channel::connect(path).is_ok() {
            return Err(failed()(io::Error::other("another daemon answers there")));
        }
        fs::remove_file(path).map_err(failed())?;
    }
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = Channel::listen(path);
    umask(before);
    let listener = listener.map_err(failed())?;
    std::os::unix::fs::lchown(path, Some(owner), None).map_err(failed())?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed())?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fs_race_01_link_in_the_place_of_a_folder_is_refused() {
        let outside = crate::tests::folder("foreground-outside");
        let inside = crate::tests::folder("foreground");
        let path = inside.join("run");
        std::os::unix::fs::symlink(&*outside, &path).unwrap();
        let path: &'static str = Box::leak(path.to_str().unwrap().to_owned().into_boxed_str());
        let own = getuid().as_raw();
        let folder = Folder { path, mode: 0o750, uid: own, gid: jitsudo_sys::nix::unistd::getgid().as_raw() };
        assert!(prepare(&folder).is_err());
        fs::remove_file(path).unwrap();
        prepare(&folder).unwrap();
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, 0o750);
        prepare(&folder).unwrap();
    }

    #[test]
    fn session_end_08_socket_of_a_living_daemon_is_not_stolen() {
        let folder = crate::tests::folder("foreground-socket");
        let path = folder.join("socket");
        let own = getuid().as_raw();
        let first = listen(&path, 0o600, own).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert!(listen(&path, 0o600, own).unwrap_err().to_string().contains("another daemon answers there"));
        drop(first);
        listen(&path, 0o666, own).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"").unwrap();
        assert!(listen(&path, 0o600, own).unwrap_err().to_string().contains("something else"));
    }
}
