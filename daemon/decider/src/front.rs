//! The clients' socket has a name in the file system. Who removes it shuts everybody out, and the daemon would never know: nobody comes.
//! It cannot be made again from here (the folder is root's); that it is gone is told, and `systemctl status jitsudod` says it.

use std::os::unix::fs::FileTypeExt as _;

use jitsudo_sys::syslog::Severity;

use crate::daemon::Daemon;

const GONE: &str =
    "nobody can ask: the socket is gone from the file system; `systemctl restart jitsudod.socket` makes it again";

impl Daemon {
    /// Says once that the socket is gone, and once that one is there again.
    pub(crate) fn look_at_front(&mut self) {
        let Some(path) = self.listener.bound_path() else { return };
        let is_gone = !std::fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket());
        if std::mem::replace(&mut self.times.front_gone_told, is_gone) == is_gone {
            return;
        }
        if is_gone {
            self.tell(Severity::Alert, GONE);
            self.notify.send(&format!("STATUS=Deciding for {}; {GONE}", self.host));
        } else {
            self.tell(Severity::Notice, "the socket is there again");
            self.notify.send(&format!("STATUS=Deciding for {}", self.host));
        }
    }
}
