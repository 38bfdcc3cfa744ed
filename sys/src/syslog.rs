//! The local syslog socket (syslog(3), RFC 3164 as rsyslog's and journald's /dev/log take it), connected again when it was away.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Where syslog listens.
pub const SOCKET: &str = "/dev/log";
/// Facility authpriv.
const AUTHPRIV: u8 = 10;

/// Severity of a line (RFC 5424 section 6.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// Action must be taken at once.
    Alert = 1,
    /// Error.
    Error = 3,
    /// Warning.
    Warning = 4,
    /// Normal but significant.
    Notice = 5,
    /// Informational.
    Info = 6,
}

/// Longest line sent, bytes: what every syslog daemon takes whole by default.
pub const MAX_LINE_BYTES: usize = 7 * 1024;

/// A connection to the local syslog that never blocks.
#[derive(Debug)]
pub struct Syslog {
    path: PathBuf,
    tag: String,
    socket: Option<UnixDatagram>,
}

impl Syslog {
    /// Prepares; connects at the first line. `tag` is the program's name.
    #[must_use]
    pub fn new(path: &Path, tag: &str) -> Self {
        Self { path: path.to_path_buf(), tag: tag.to_owned(), socket: None }
    }

    /// Sends one line; control characters must have been escaped by the caller. No time is sent: the receiver's own, local and with
    /// its own format, is the one that its files are read by.
    ///
    /// # Errors
    /// Nobody listens, or the receiver is full; the next call connects again.
    pub fn send(&mut self, severity: Severity, line: &str) -> io::Result<()> {
        let mut cut = line.len().min(MAX_LINE_BYTES);
        while !line.is_char_boundary(cut) {
            cut -= 1;
        }
        let line = line.get(..cut).unwrap_or_default();
        let text = format!("<{}>{}[{}]: {line}", AUTHPRIV * 8 + severity as u8, self.tag, std::process::id());
        if let Some(socket) = &self.socket {
            match socket.send(text.as_bytes()) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => self.socket = None,
            }
        }
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(&self.path)?;
        socket.send(text.as_bytes())?;
        self.socket = Some(socket);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audit_log_08_restarted_syslog_is_found_again() {
        let folder = std::env::temp_dir().join(format!("jitsudo-syslog-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("log");
        let mut syslog = Syslog::new(&path, "jitsudod");
        assert!(syslog.send(Severity::Info, "lost").is_err());
        for round in 0..2 {
            let _ = std::fs::remove_file(&path);
            let listener = UnixDatagram::bind(&path).unwrap();
            syslog.send(Severity::Info, "line").unwrap();
            let mut buffer = [0u8; 100];
            let length = listener.recv(&mut buffer).unwrap();
            let text = format!("<86>jitsudod[{}]: line", std::process::id());
            assert_eq!(std::str::from_utf8(&buffer[..length]).unwrap(), text, "round {round}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn audit_log_07_long_line_is_cut_at_a_character() {
        let folder = std::env::temp_dir().join(format!("jitsudo-syslog-long-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("log");
        let listener = UnixDatagram::bind(&path).unwrap();
        Syslog::new(&path, "t").send(Severity::Info, &"é".repeat(5000)).unwrap();
        let mut buffer = vec![0u8; 20_000];
        let length = listener.recv(&mut buffer).unwrap();
        assert!(std::str::from_utf8(&buffer[..length]).is_ok());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
