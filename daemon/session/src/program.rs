//! What is executed: looked at once more just before, and with which words.
//!
//! MUSTs
//! 1. Every directory, link and file on the way is the one that was decided about (`cmd_match_05_swapped_program_is_not_executed`).
//! 2. Where the rule names commands, nothing on the way can be written by others (`program_that_others_can_write_is_not_executed`).
//! 3. Words reach a shell as they are: whatever a shell would read anew is quoted (`cmd_match_02_words_survive_the_shell`).

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use jitsudo_bytes::Bytes;
use jitsudo_core::facts::{Executable, Seen};
use jitsudo_protocol::act::{Act, ActKind};
use jitsudo_protocol::client::FaultCode;
use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::nix::sys::stat::SFlag;

use crate::failure::Failure;

/// Compares the whole chain with what was seen when the decision was made.
pub(crate) fn verify(executable: &Executable, safe_chain: bool) -> Result<(), Failure> {
    if let (true, Some(writable)) = (safe_chain, &executable.writable_by_others) {
        let message = format!("cannot execute {}: others can write {}", executable.path.visible(), writable.visible());
        return Err(Failure::cannot(FaultCode::Program, message, Errno::EPERM));
    }
    match executable.chain.iter().find(|seen| !is_same(seen, safe_chain)) {
        None => Ok(()),
        Some(seen) => {
            let message = format!(
                "cannot execute {}: {} was changed since the decision",
                executable.path.visible(),
                seen.path.visible()
            );
            Err(Failure::cannot(FaultCode::Program, message, Errno::ESTALE))
        }
    }
}

/// Device and inode; owner and mode where they matter; the change time of files and links, but not of directories: that of /run or
/// /usr/bin moves whenever anybody adds a file there, and each entry on the way is compared itself.
fn is_same(seen: &Seen, safe_chain: bool) -> bool {
    let path = Path::new(OsStr::from_bytes(&seen.path.0));
    let Ok(now) = std::fs::symlink_metadata(path) else {
        return false;
    };
    let ctime_ns = now.ctime().saturating_mul(1_000_000_000).saturating_add(now.ctime_nsec());
    let is_directory = SFlag::from_bits_truncate(now.mode()) & SFlag::S_IFMT == SFlag::S_IFDIR;
    (now.dev(), now.ino()) == (seen.device, seen.inode)
        && (is_directory || ctime_ns == seen.ctime_ns)
        && (!safe_chain || (now.uid(), now.mode()) == (seen.uid.0, seen.mode))
}

/// The words that the program gets, its name first.
pub(crate) fn arguments(executable: &Executable, act: &Act) -> Vec<Bytes> {
    match act.options.kind {
        ActKind::Command | ActKind::Edit | ActKind::Validate | ActKind::Role | ActKind::Approve => act.argv.clone(),
        ActKind::Shell => shell(executable.path.clone(), &act.argv),
        ActKind::LoginShell => {
            let name = executable.path.0.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            let mut login = b"-".to_vec();
            login.extend_from_slice(name);
            shell(Bytes(login), &act.argv)
        }
    }
}

fn shell(name: Bytes, words: &[Bytes]) -> Vec<Bytes> {
    if words.is_empty() {
        return vec![name];
    }
    let quoted: Vec<Vec<u8>> = words.iter().map(|word| quote(&word.0)).collect();
    vec![name, Bytes::from("-c"), Bytes(quoted.join(&b' '))]
}

/// Quotes as sudo does: a backslash before every character but letters, digits, `_`, `-` and `$`. Where a backslash would lose the
/// word (newline, the empty word) single quotes are used; bytes above 127 mean nothing to a shell.
fn quote(word: &[u8]) -> Vec<u8> {
    if word.is_empty() {
        return b"''".to_vec();
    }
    let mut out = Vec::with_capacity(word.len());
    for byte in word {
        match byte {
            b'\n' => out.extend_from_slice(b"'\n'"),
            plain if plain.is_ascii_alphanumeric() || b"_-$".contains(plain) || !plain.is_ascii() => out.push(*plain),
            special => out.extend_from_slice(&[b'\\', *special]),
        }
    }
    out
}

/// Makes C strings; the protocol has refused NUL bytes before.
pub(crate) fn c_strings(strings: impl IntoIterator<Item = Vec<u8>>) -> Result<Vec<CString>, Failure> {
    let strings: Result<Vec<CString>, _> = strings.into_iter().map(CString::new).collect();
    strings.map_err(|_| Failure::refused(FaultCode::Malformed, "a NUL byte in an argument or variable"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_core::name::Uid;
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;
    use std::process::Command;

    fn seen(path: &Path) -> Seen {
        let found = std::fs::symlink_metadata(path).unwrap();
        Seen {
            path: Bytes::from(path.to_str().unwrap()),
            device: found.dev(),
            inode: found.ino(),
            ctime_ns: found.ctime() * 1_000_000_000 + found.ctime_nsec(),
            uid: Uid(found.uid()),
            mode: found.mode(),
        }
    }

    fn executable(name: &str) -> (PathBuf, Executable) {
        let folder = std::env::temp_dir().join(format!("jitsudo-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("tool");
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        let executable = Executable {
            path: Bytes::from(file.to_str().unwrap()),
            chain: vec![seen(&folder), seen(&file)],
            writable_by_others: None,
            is_shell: false,
            same_file_as: BTreeSet::new(),
        };
        (folder, executable)
    }

    #[test]
    fn cmd_match_05_swapped_program_is_not_executed() {
        let (folder, executable) = executable("swap");
        verify(&executable, true).unwrap();
        // Another entry beside it changes nothing.
        std::fs::write(folder.join("other"), "x").unwrap();
        verify(&executable, true).unwrap();
        std::fs::write(folder.join("new"), "#!/bin/sh\n").unwrap();
        std::fs::rename(folder.join("new"), folder.join("tool")).unwrap();
        assert!(verify(&executable, true).is_err());
        assert!(verify(&executable, false).is_err());
        std::fs::remove_file(folder.join("tool")).unwrap();
        assert!(verify(&executable, false).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn cmd_match_05_rewritten_program_is_not_executed() {
        let (folder, executable) = executable("rewrite");
        std::fs::write(folder.join("tool"), "#!/bin/sh\necho x\n").unwrap();
        assert!(verify(&executable, false).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn program_that_others_can_write_is_not_executed() {
        let (folder, mut executable) = executable("mode");
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(verify(&executable, true).is_err());
        verify(&executable, false).unwrap();
        executable.chain[0] = seen(&folder);
        executable.writable_by_others = Some(Bytes::from("/tmp"));
        assert!(verify(&executable, true).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn cmd_match_02_words_survive_the_shell() {
        let words: [&[u8]; 8] = [
            b"printf",
            b"%s\\0",
            b"a b",
            b"back\\",
            b"",
            b"quo'te\"",
            b"line\nline\n",
            b";*?[]{}()<>&|`~#!=%@^,:+\xff\xc3\xa9",
        ];
        let act: Vec<Bytes> = words.iter().map(|word| Bytes(word.to_vec())).collect();
        let made = shell(Bytes::from("/bin/sh"), &act);
        assert_eq!(made[1], Bytes::from("-c"));
        let output = Command::new("/bin/sh").arg("-c").arg(OsStr::from_bytes(&made[2].0)).output().unwrap();
        let want: Vec<u8> = words[2..].iter().flat_map(|word| word.iter().copied().chain([0])).collect();
        assert_eq!(output.stdout, want);
    }

    #[test]
    fn dollar_is_left_to_the_shell_as_sudo_does() {
        assert_eq!(quote(b"$HOME/a-b_c"), b"$HOME\\/a-b_c");
        assert_eq!(shell(Bytes::from("sh"), &[]), [Bytes::from("sh")]);
    }
}
