//! Telling the service manager how a program fares (sd_notify(3)), without its library.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

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
        drop(manager);
        notify.send("WATCHDOG=1");
        Notify(None).send("READY=1");
        assert!(connect(b"relative").is_err());
    }
}
