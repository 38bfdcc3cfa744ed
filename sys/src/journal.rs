//! journald's native protocol (systemd's "Native Journal Protocol"): named fields in one datagram, larger ones by memfd.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socket};

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// A way to journald that never blocks and needs no reconnecting: each entry names the socket anew.
#[derive(Debug)]
pub struct Journal {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl Journal {
    /// Makes the sending socket; journald need not be there yet.
    ///
    /// # Errors
    /// socket(2)'s.
    pub fn new(path: &Path) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let descriptor = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        Ok(Self { descriptor, path: path.to_path_buf() })
    }

    /// Sends one entry. Field names are `A-Z0-9_`; values may be any bytes.
    ///
    /// # Errors
    /// journald is away, or full (`WouldBlock`).
    pub fn send(&self, fields: &[(&str, &[u8])]) -> io::Result<()> {
        let mut entry = Vec::new();
        for (name, value) in fields {
            entry.extend_from_slice(name.as_bytes());
            if value.contains(&b'\n') {
                entry.push(b'\n');
                entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
            } else {
                entry.push(b'=');
            }
            entry.extend_from_slice(value);
            entry.push(b'\n');
        }
        let address = UnixAddr::new(&self.path)?;
        let sent = sendmsg(
            self.descriptor.as_raw_fd(),
            &[io::IoSlice::new(&entry)],
            &[],
            MsgFlags::MSG_NOSIGNAL,
            Some(&address),
        );
        match sent {
            Ok(_) => Ok(()),
            Err(Errno::EMSGSIZE | Errno::ENOBUFS) => self.send_by_memfd(&entry, &address),
            Err(errno) => Err(errno.into()),
        }
    }

    fn send_by_memfd(&self, entry: &[u8], address: &UnixAddr) -> io::Result<()> {
        let memfd = memfd_create(c"jitsudo-journal", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        let mut file = File::from(memfd);
        file.write_all(entry)?;
        let seals = nix::fcntl::SealFlag::all();
        nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_ADD_SEALS(seals))?;
        let numbers = [file.as_fd().as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&numbers)];
        sendmsg(self.descriptor.as_raw_fd(), &[], &rights, MsgFlags::MSG_NOSIGNAL, Some(address))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn fields_with_newlines_are_length_prefixed() {
        let folder = std::env::temp_dir().join(format!("jitsudo-journal-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        let _ = std::fs::remove_file(&path);
        let listener = UnixDatagram::bind(&path).unwrap();
        Journal::new(&path).unwrap().send(&[("MESSAGE", b"one"), ("TWO", b"a\nb")]).unwrap();
        let mut buffer = [0u8; 100];
        let length = listener.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"MESSAGE=one\nTWO\n\x03\0\0\0\0\0\0\0a\nb\n");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn audit_log_08_absent_journald_is_an_error_not_a_wait() {
        assert!(Journal::new(Path::new("/nonexistent/socket")).unwrap().send(&[("MESSAGE", b"x")]).is_err());
    }
}
