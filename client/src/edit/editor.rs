//! The requester's own editor: which one, and its run as an ordinary child in the foreground, by the caller's ids and environment.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use jitsudo_sys::nix::sys::signal::{Signal, kill};
use jitsudo_sys::nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use jitsudo_sys::nix::unistd::{AccessFlags, Pid, access};
use jitsudo_sys::signals;

use crate::ending::End;

/// Asked in this order, as by sudo.
const VARIABLES: [&[u8]; 3] = [b"SUDO_EDITOR", b"VISUAL", b"EDITOR"];
/// Where none of them names one that exists: Debian's choice first.
const ELSE: [&str; 3] = ["/usr/bin/editor", "/usr/bin/nano", "/usr/bin/vi"];
/// How long a stop that is over already may be seen as one.
const SETTLE: std::time::Duration = std::time::Duration::from_millis(20);

/// An editor with its arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Editor {
    program: PathBuf,
    arguments: Vec<OsString>,
}

/// Finds the editor; in lines for the user why there is none.
pub(crate) fn find(environment: &[Vec<u8>]) -> Result<Editor, Vec<String>> {
    let value = |name: &[u8]| {
        let entry = environment.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="));
        entry.filter(|value| !value.is_empty())
    };
    let search = value(b"PATH").unwrap_or(b"/usr/local/bin:/usr/bin:/bin");
    for text in VARIABLES.iter().filter_map(|name| value(name)) {
        let mut words = split(text).into_iter();
        let Some(name) = words.next() else { continue };
        let arguments: Vec<OsString> = words.map(OsString::from_vec).collect();
        if arguments.iter().any(|word| word == "--") {
            // Behind it stand files, and those are ours to name (CVE-2023-22809).
            let text = String::from_utf8_lossy(text);
            return Err(vec![format!("ignoring editor: {text}"), "editor arguments may not contain \"--\"".to_owned()]);
        }
        if let Some(program) = program(&name, search) {
            return Ok(Editor { program, arguments });
        }
    }
    let found = ELSE.iter().map(Path::new).find(|path| is_executable(path));
    match found {
        Some(path) => Ok(Editor { program: path.to_owned(), arguments: Vec::new() }),
        None => Err(vec![format!("no editor found (editor path = {})", ELSE.join(":"))]),
    }
}

/// A name with a slash as it is, any other along PATH.
fn program(name: &[u8], search: &[u8]) -> Option<PathBuf> {
    let name = Path::new(OsStr::from_bytes(name));
    if name.as_os_str().as_bytes().contains(&b'/') {
        return is_executable(name).then(|| name.to_owned());
    }
    let folders = search.split(|byte| *byte == b':').map(|folder| if folder.is_empty() { b"." } else { folder });
    folders.map(|folder| Path::new(OsStr::from_bytes(folder)).join(name)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}

/// Splits at blanks, as sudo does: quotes keep blanks, a backslash keeps the next character, outside of single quotes.
fn split(text: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match (byte, quote) {
            (b'\\', None | Some(b'"')) => word.get_or_insert_default().extend(bytes.next()),
            (b'"' | b'\'', None) => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (_, Some(open)) if byte == open => quote = None,
            (b' ' | b'\t' | b'\n', None) => words.extend(word.take()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words
}

/// A running editor.
#[derive(Debug)]
pub(crate) struct Running(Pid);

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Nothing yet.
    None,
    /// It stopped: this program does the same.
    Stopped(Signal),
    /// It is over.
    Over(End),
}

impl Editor {
    /// Starts it on the copies, in this process group: the terminal's keys reach it as they reach any program in the foreground.
    pub(crate) fn start(&self, copies: &[PathBuf]) -> io::Result<Running> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(copies);
        let child = signals::unblock_in_child(&mut command).spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        Ok(Running(Pid::from_raw(pid)))
    }

    /// Its name for people.
    pub(crate) fn name(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }
}

impl Running {
    /// Looks without waiting.
    pub(crate) fn look(&self) -> Change {
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED | WaitPidFlag::WCONTINUED;
        match waitpid(self.0, Some(flags)) {
            Ok(WaitStatus::Exited(_, code)) => Change::Over(End::Code(u8::try_from(code & 0xff).unwrap_or(1))),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                Change::Over(End::Signal(u8::try_from(signal as i32).unwrap_or(1)))
            }
            Ok(WaitStatus::Stopped(_, signal)) => Change::Stopped(signal),
            Ok(_) => Change::None,
            // Reaped by nobody else: it cannot be lost, but an answer is due.
            Err(_) => Change::Over(End::Code(1)),
        }
    }

    /// Stops with it, and goes on with it. Ctrl-Z has stopped both already, and `fg` continued both: then nothing is to be done.
    pub(crate) fn stop_with_it(&self, signal: Signal) {
        std::thread::sleep(SETTLE);
        if matches!(waitpid(self.0, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WCONTINUED)), Ok(WaitStatus::Continued(_)))
        {
            return;
        }
        let _ = signals::stop_group(signal);
        self.signal(Signal::SIGCONT);
    }

    /// Passes a signal on; it is not reaped yet, so the number still means it.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill(self.0, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        split(text.as_bytes()).into_iter().map(|word| String::from_utf8(word).unwrap()).collect()
    }

    #[test]
    fn editors_are_split_into_words_as_sudo_does() {
        assert_eq!(words("vim -u NONE"), ["vim", "-u", "NONE"]);
        assert_eq!(words("  vim\t-R "), ["vim", "-R"]);
        assert_eq!(words(r#"sh -c "echo \"a b\" $0""#), ["sh", "-c", "echo \"a b\" $0"]);
        assert_eq!(words(r"sed -i s/w/W\ W/"), ["sed", "-i", "s/w/W W/"]);
        assert_eq!(words(r"x 'a \ b' ''"), ["x", r"a \ b", ""]);
        assert_eq!(words("   "), Vec::<String>::new());
        assert_eq!(words(r"x\"), ["x"]);
    }

    #[test]
    fn first_editor_that_exists_is_taken() {
        let find = |entries: &[&str]| {
            let environment: Vec<Vec<u8>> = entries.iter().map(|entry| entry.as_bytes().to_vec()).collect();
            super::find(&environment)
        };
        let found = |entries: &[&str]| find(entries).unwrap().program;
        let path = "PATH=/usr/bin:/bin";
        assert_eq!(found(&[path, "EDITOR=sed -i x", "VISUAL=cat", "SUDO_EDITOR=tail"]), Path::new("/usr/bin/tail"));
        assert_eq!(found(&[path, "EDITOR=sed -i x", "VISUAL=cat", "SUDO_EDITOR="]), Path::new("/usr/bin/cat"));
        assert_eq!(found(&[path, "EDITOR=/bin/sh -e", "VISUAL=no-such-editor"]), Path::new("/bin/sh"));
        assert_eq!(find(&[path, "EDITOR=/bin/sh -e"]).unwrap().arguments, ["-e"]);
        assert_eq!(find(&[path, "EDITOR=/usr/bin", "VISUAL=/etc/passwd"]).ok(), find(&[path]).ok());
    }

    #[test]
    fn edit_mode_02_arguments_that_would_name_files_are_refused() {
        let lines = find(&[b"EDITOR=/bin/sh -- /etc/passwd".to_vec()]).unwrap_err();
        assert_eq!(lines, ["ignoring editor: /bin/sh -- /etc/passwd", "editor arguments may not contain \"--\""]);
    }
}
