//! Telling the service manager how a program fares, and what to keep for it while it is away (sd_notify(3)), without its library.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

/// First descriptor that a manager passes (sd_listen_fds(3)).
const FIRST_PASSED: RawFd = 3;
/// Most descriptors taken from a manager.
const MAX_PASSED: RawFd = 65_536;

/// The way to the service manager, if one asked to be told.
#[derive(Debug)]
pub struct Notify(Option<(UnixDatagram, SocketAddr)>);

impl Notify {
    /// Takes the address from `NOTIFY_SOCKET`: a path, or an abstract name behind `@`.
    #[must_use]
    pub fn from_environment() -> Self {
        Self(std::env::var_os("NOTIFY_SOCKET").and_then(|name| connect(name.as_bytes()).ok()))
    }

    /// Sends lines such as `READY=1`. A manager that is away is no trouble of ours.
    pub fn send(&self, state: &str) {
        if let Some((socket, address)) = &self.0 {
            // A full queue only means that the manager was told enough.
            let _ = socket.send_to_addr(state.as_bytes(), address);
        }
    }

    /// Has the manager keep a socket under this name (ASCII, no colon): it is passed to the next start of the program, see [`passed`].
    /// One whose other end is closed is forgotten by itself. Without a manager, or room at one, nothing is kept.
    pub fn keep(&self, name: &str, descriptor: BorrowedFd<'_>) {
        let Some((socket, address)) = &self.0 else { return };
        let address = match (address.as_pathname(), address.as_abstract_name()) {
            (Some(path), _) => UnixAddr::new(path),
            (None, Some(name)) => UnixAddr::new_abstract(name),
            (None, None) => return,
        };
        let state = format!("FDSTORE=1\nFDNAME={name}");
        let (text, number) = ([IoSlice::new(state.as_bytes())], [descriptor.as_raw_fd()]);
        if let Ok(address) = address {
            let rights = [ControlMessage::ScmRights(&number)];
            let _ = sendmsg(socket.as_raw_fd(), &text, &rights, MsgFlags::MSG_NOSIGNAL, Some(&address));
        }
    }
}

/// What the manager passed to this program, in its order: number and name (sd_listen_fds_with_names(3)). Each number is to be taken once.
#[must_use]
pub fn passed() -> Vec<(RawFd, String)> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    listed(&variable("LISTEN_PID"), &variable("LISTEN_FDS"), &variable("LISTEN_FDNAMES"), std::process::id())
}

fn listed(pid: &str, count: &str, names: &str, own: u32) -> Vec<(RawFd, String)> {
    if pid != own.to_string() {
        return Vec::new();
    }
    let count = count.parse::<RawFd>().unwrap_or(0).clamp(0, MAX_PASSED);
    let names = names.split(':').map(str::to_owned).chain(std::iter::repeat(String::new()));
    (FIRST_PASSED..FIRST_PASSED.saturating_add(count)).zip(names).collect()
}

/// How often `WATCHDOG=1` is to be sent, if at all: half of what the manager allows (sd_watchdog_enabled(3)).
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    let ours = std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
    let microseconds: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (ours && microseconds > 0).then(|| Duration::from_micros(microseconds / 2))
}

fn connect(name: &[u8]) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.split_first() {
        Some((b'@', rest)) => SocketAddr::from_abstract_name(rest)?,
        Some((b'/', _)) => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn state_reaches_an_abstract_socket_and_a_missing_one_is_no_trouble() {
        let name = format!("jitsudo-notify-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let notify = Notify(Some(connect(format!("@{name}").as_bytes()).unwrap()));
        notify.send("READY=1");
        let mut buffer = [0u8; 32];
        let length = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
        let (kept, _other) = UnixDatagram::pair().unwrap();
        notify.keep("one", kept.as_fd());
        let length = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"FDSTORE=1\nFDNAME=one");
        drop(manager);
        notify.send("WATCHDOG=1");
        notify.keep("one", kept.as_fd());
        Notify(None).send("READY=1");
        assert!(connect(b"relative").is_err());
    }

    #[test]
    fn passed_descriptors_are_ours_alone_and_named_in_order() {
        let named = |numbers: &[(RawFd, &str)]| -> Vec<(RawFd, String)> {
            numbers.iter().map(|(number, name)| (*number, (*name).to_owned())).collect()
        };
        assert_eq!(listed("7", "2", "a.socket:session-1", 7), named(&[(3, "a.socket"), (4, "session-1")]));
        assert_eq!(listed("7", "2", "a", 7), named(&[(3, "a"), (4, "")]));
        for (pid, count) in [("8", "2"), ("", ""), ("7", "-1"), ("7", "x"), ("7", "99999999999")] {
            assert_eq!(listed(pid, count, "a", 7), [], "{pid} {count}");
        }
    }
}
