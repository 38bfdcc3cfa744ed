//! Tells people something on their terminals, as write(1) does.
//!
//! MUSTs
//! 1. Only terminals that are these accounts' own and take messages, judged by the descriptor that is written to (`nothing_but_*`).
//! 2. A terminal that is stopped, or full, holds nobody up: it is not told, and that is said (`full_terminal_*`).
//! 3. No control character but the line's end arrives (`control_characters_*`).

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use jitsudo_link::spawner::{Told, Untold};
use jitsudo_link::terminals::{self, TAKES_MESSAGES};
use jitsudo_sys::nix::libc;

/// Longest text, bytes.
const MAX_TEXT: usize = 2048;
/// Terminals that are written to at once.
const MAX_TERMINALS: usize = 256;
/// Failures that are told of.
const MAX_FAILED: usize = 16;

/// Writes on every terminal of these accounts that takes messages.
pub(crate) fn tell(to: &[u32], text: &str) -> Told {
    let to: BTreeSet<u32> = to.iter().copied().filter(|uid| *uid != 0).collect();
    let text = visible(text);
    let mut told = Told::default();
    for terminal in terminals::open_ones().into_iter().filter(|one| to.contains(&one.uid)).take(MAX_TERMINALS) {
        match write(&terminal.path, terminal.uid, &text) {
            Ok(()) => told.terminals = told.terminals.saturating_add(1),
            Err(_) if told.failed.len() >= MAX_FAILED => {}
            Err(error) => {
                let cause = if error.kind() == io::ErrorKind::WouldBlock {
                    "the terminal is stopped".to_owned()
                } else {
                    error.to_string()
                };
                told.failed.push(Untold { uid: terminal.uid, to: terminal.name, cause });
            }
        }
    }
    told
}

fn write(path: &Path, uid: u32, text: &str) -> io::Result<()> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let file = OpenOptions::new().write(true).custom_flags(flags).open(path)?;
    if !is_theirs(&file, uid)? {
        return Err(io::Error::other("it is another's by now, or takes no messages"));
    }
    // At once or not at all: half a message says the wrong thing.
    let written = (&file).write(text.as_bytes())?;
    if written < text.len() {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(())
}

fn is_theirs(file: &File, uid: u32) -> io::Result<bool> {
    let data = file.metadata()?;
    Ok(data.file_type().is_char_device() && data.uid() == uid && data.mode() & TAKES_MESSAGES != 0)
}

/// A bell, and lines that begin at the left also where the terminal is raw.
fn visible(text: &str) -> String {
    let cut = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= MAX_TEXT).last().unwrap_or(0);
    let text = if text.len() > MAX_TEXT { text.get(..cut).unwrap_or_default() } else { text };
    let shown = |one: char| if one.is_control() { '?' } else { one };
    let lines = text.lines().map(|line| line.chars().map(shown).collect::<String>());
    lines.fold("\r\n\u{7}".to_owned(), |all, line| all + &line + "\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn control_characters_are_shown_and_lines_begin_at_the_left() {
        assert_eq!(visible("a\u{1b}[2J\rb\nc\u{9b}1A\n"), "\r\n\u{7}a?[2J?b\r\nc?1A\r\n");
        assert!(visible(&"ä".repeat(5000)).len() <= MAX_TEXT + 8);
    }

    #[test]
    fn nothing_but_a_device_of_that_account_that_takes_messages_is_written_to() {
        let path = std::env::temp_dir().join(format!("jitsudo-tell-{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o620)).unwrap();
        let own = std::fs::metadata(&path).unwrap().uid();
        assert!(write(&path, own, "x").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        let link = path.with_extension("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert_eq!(write(&link, 0, "x").unwrap_err().raw_os_error(), Some(libc::ELOOP));
        // /dev/null is a device of root's, which takes messages of everybody; it is not this account's.
        assert!(write(Path::new("/dev/null"), 4_000_000, "x").is_err());
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(&link).unwrap();
    }

    #[test]
    fn full_terminal_holds_nobody_up() {
        let pair = jitsudo_sys::nix::pty::openpty(None, None).unwrap();
        let path = jitsudo_sys::nix::unistd::ttyname(&pair.slave).unwrap();
        let data = std::fs::metadata(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o620)).unwrap();
        write(&path, data.uid(), "hello").unwrap();
        let full = (0..10_000).find_map(|_| write(&path, data.uid(), &"x".repeat(1000)).err());
        assert_eq!(full.map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
    }
}
