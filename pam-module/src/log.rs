//! Lines for the system log. Never waits: a log that hangs must not keep anybody out, or let anybody in late.

use std::fmt::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::text::Text;

const SOCKET: &str = "/dev/log";
const AUTHPRIV: u8 = 10;
const MAX_LINE_BYTES: usize = 1024;

/// How loud.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loudness {
    /// Somebody must look: the list is damaged, a rescue account entered.
    Alert = 1,
    /// Somebody was kept out.
    Notice = 5,
}

/// Writes a line; whether it arrives is the log's business.
pub(crate) fn line(loudness: Loudness, service: &[u8], words: fmt::Arguments<'_>) {
    let mut line = Text::<MAX_LINE_BYTES>::new();
    let service = crate::text::Visible(service);
    let priority = AUTHPRIV * 8 + loudness as u8;
    let _ = write!(line, "<{priority}>pam_jitsudo[{}]: {service}: {words}", std::process::id());
    if let Ok(socket) = UnixDatagram::unbound()
        && socket.set_nonblocking(true).is_ok()
    {
        let _ = socket.send_to(line.as_bytes(), Path::new(SOCKET));
    }
}
