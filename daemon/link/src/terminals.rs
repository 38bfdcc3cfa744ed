//! Terminals of people on this host, as write(1) finds them: by what /dev says of them.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Most terminals that are looked at.
const MAX_TERMINALS: usize = 4096;
/// Mode bit that mesg(1) sets: whoever is in its group may write.
pub const TAKES_MESSAGES: u32 = 0o020;

/// A terminal that takes messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terminal {
    /// Its path.
    pub path: PathBuf,
    /// As people name it: `pts/3`, `tty1`.
    pub name: String,
    /// Whose it is.
    pub uid: u32,
}

/// Those that take messages (`mesg y`), by name. What cannot be looked at is none.
#[must_use]
pub fn open_ones() -> Vec<Terminal> {
    let consoles = named(Path::new("/dev"), "tty");
    let all = named(Path::new("/dev/pts"), "").into_iter().chain(consoles);
    all.take(MAX_TERMINALS).filter_map(open_one).collect()
}

/// Entries of a directory that are `prefix` and a number.
fn named(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let is_one = |name: &str| {
        let digits = name.strip_prefix(prefix).unwrap_or_default();
        !digits.is_empty() && digits.len() < 8 && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> =
        entries.filter(|entry| entry.file_name().to_str().is_some_and(is_one)).map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn open_one(path: PathBuf) -> Option<Terminal> {
    let data = fs::symlink_metadata(&path).ok()?;
    if !data.file_type().is_char_device() || data.mode() & TAKES_MESSAGES == 0 {
        return None;
    }
    let name = path.strip_prefix("/dev").ok()?.to_str()?.to_owned();
    Some(Terminal { path, name, uid: data.uid() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_terminals_are_looked_at_and_only_devices_taken() {
        let folder = std::env::temp_dir().join(format!("jitsudo-terminals-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for name in ["tty1", "ttyS0", "tty", "ptmx", "7", "tty123456789"] {
            fs::write(folder.join(name), "").unwrap();
        }
        assert_eq!(named(&folder, "tty"), [folder.join("tty1")]);
        assert_eq!(named(&folder, ""), [folder.join("7")]);
        assert_eq!(open_one(folder.join("tty1")), None, "a file is no terminal");
        fs::remove_dir_all(&folder).unwrap();
    }
}
