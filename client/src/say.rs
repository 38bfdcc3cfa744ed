//! What people and programs read from us: on standard error, in the form of the project's screens.

use std::fs::File;
use std::io::{self, Write as _};

use jitsudo_protocol::client::{Denied, Fault};
use jitsudo_sys::files;
use jitsudo_sys::nix::errno::Errno;

use crate::ending::End;
use crate::options::Called;

/// Speaks under the name that this program was called by.
pub(crate) struct Voice {
    called: Called,
    name: &'static str,
}

impl Voice {
    pub(crate) fn new(called: Called) -> Self {
        Self { called, name: called.name() }
    }

    /// For `jitctl request`, which is this program behind another name.
    pub(crate) fn of_jitctl() -> Self {
        Self { called: Called::Jitsudo, name: "jitctl" }
    }

    /// The name that it speaks under.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// `NAME: LINE`
    pub(crate) fn complain(&self, line: &str) {
        self.text(&format!("{}: {}\n", self.name, visible(line)));
    }

    /// `  hint: LINE`
    pub(crate) fn hint(&self, line: &str) {
        self.text(&format!("  hint: {}\n", visible(line)));
    }

    /// Text as it is.
    #[expect(clippy::unused_self, reason = "all that is said goes through the voice")]
    pub(crate) fn text(&self, text: &str) {
        // Nobody reads it when this fails.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// A line of the session's, with the name in front.
    pub(crate) fn notice(&self, line: &str) -> String {
        line.lines().map(|line| format!("{}: {}\n", self.name, visible(line))).collect()
    }

    pub(crate) fn denied(&self, denied: &Denied) {
        self.complain(&denied.headline);
        for line in &denied.detail {
            self.text(&format!("  {}\n", visible(line)));
        }
        // Who calls sudo for a command that is not there reads sudo's one line.
        let said = denied.detail.is_empty() && self.called != Called::Jitsudo;
        if let Some(hint) = denied.hint.as_ref().filter(|_| !said) {
            self.hint(hint);
        }
    }

    pub(crate) fn fault(&self, fault: &Fault) {
        self.complain(&fault.message);
        if let Some(hint) = &fault.hint {
            self.hint(hint);
        }
    }

    pub(crate) fn unreachable(&self, error: &io::Error) {
        self.complain(&format!("cannot reach jitsudod at {}: {}", crate::decider::SOCKET, words(error)));
        self.hint("systemctl status jitsudod");
    }
}

/// Control characters would move the reader's cursor: the daemon escapes them, and so do we.
pub(crate) fn visible(line: &str) -> String {
    line.chars().map(|one| if one.is_control() && one != '\t' { '?' } else { one }).collect()
}

/// An error's words, lower case and without its number.
pub(crate) fn words(error: &io::Error) -> String {
    let text = error.raw_os_error().map_or_else(|| error.to_string(), |errno| Errno::from_raw(errno).desc().to_owned());
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

/// Prints to standard output.
pub(crate) fn print(text: &str) -> End {
    print_bytes(text.as_bytes())
}

/// As [`print`].
pub(crate) fn print_bytes(text: &[u8]) -> End {
    match io::stdout().write_all(text).and_then(|()| io::stdout().flush()) {
        Ok(()) => End::Code(0),
        Err(_) => End::Code(1),
    }
}

/// `--status-fd`: one line a fact, for programs: `started ID.1`, then `exited N` or `signalled N`; or `denied`, `refused`,
/// `unanswered`, `unreachable`, `failed`; or `rescue`, after which root's command has this process's place.
pub(crate) struct StatusFd(File);

impl StatusFd {
    pub(crate) fn open(number: i32) -> io::Result<Self> {
        Ok(Self(files::take_passed(number)?.into()))
    }

    pub(crate) fn line(&self, line: &str) {
        // Whoever gave it and does not read it does not want to know.
        let _ = (&self.0).write_all(format!("{line}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_errors_are_lower_case_without_numbers() {
        assert_eq!(words(&io::Error::from_raw_os_error(111)), "connection refused");
        assert_eq!(words(&io::Error::from_raw_os_error(2)), "no such file or directory");
    }

    #[test]
    fn fd_tty_16_control_characters_of_others_do_not_reach_the_terminal() {
        assert_eq!(visible("a\u{1b}[2Jb\rc\u{9b}d"), "a?[2Jb?c?d");
        assert_eq!(Voice::new(Called::Sudo).notice("x\ny"), "sudo: x\nsudo: y\n");
    }
}
