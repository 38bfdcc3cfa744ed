//! The words of `-e` as absolute paths: policy, digest, record and the session all see the one plain spelling.
//!
//! MUST: a spelling is only shortened where that cannot change what it means; `..` behind a link would be another place
//! (`dots_behind_a_link_are_refused`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Makes a word absolute by a working directory (empty when there is none); why not, in words that follow the word.
pub(crate) fn absolute(word: &[u8], directory: &[u8]) -> Result<Vec<u8>, String> {
    if word.is_empty() {
        return Err("No such file or directory".to_owned());
    }
    if matches!(word.rsplit(|byte| *byte == b'/').next(), Some(b"" | b"." | b"..")) {
        return Err("not a regular file".to_owned());
    }
    let is_absolute = word.first() == Some(&b'/');
    if !is_absolute && directory.first() != Some(&b'/') {
        return Err("your working directory has no path: name the file by an absolute one".to_owned());
    }
    let before = if is_absolute { &b""[..] } else { directory };
    let mut path: Vec<u8> = Vec::new();
    for part in before.split(|byte| *byte == b'/').chain(word.split(|byte| *byte == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => {
                if !path.is_empty() && !is_directory(&path) {
                    return Err(
                        "`..` leads through a link or an unknown directory: name the file without it".to_owned()
                    );
                }
                let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                path.truncate(end);
            }
            name => {
                path.push(b'/');
                path.extend_from_slice(name);
            }
        }
    }
    Ok(path)
}

/// A directory itself, and not a link to one.
fn is_directory(path: &[u8]) -> bool {
    Path::new(OsStr::from_bytes(path)).symlink_metadata().is_ok_and(|found| found.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(word: &str, directory: &str) -> Result<String, String> {
        absolute(word.as_bytes(), directory.as_bytes()).map(|path| String::from_utf8(path).unwrap())
    }

    #[test]
    fn words_become_plain_absolute_paths() {
        for (word, directory, wanted) in [
            ("/etc/motd", "", "/etc/motd"),
            ("motd", "/etc", "/etc/motd"),
            ("./motd", "/etc", "/etc/motd"),
            ("//etc///./motd", "/x", "/etc/motd"),
            ("../etc/motd", "/usr", "/etc/motd"),
            ("/usr/share/../motd", "", "/usr/motd"),
            ("/../motd", "", "/motd"),
            ("motd", "/", "/motd"),
            ("-x", "/etc", "/etc/-x"),
        ] {
            assert_eq!(of(word, directory).unwrap(), wanted, "{word} in {directory}");
        }
        assert_eq!(absolute(b"\xff", b"/etc").unwrap(), b"/etc/\xff");
        for (word, directory) in [("", "/etc"), ("motd", ""), ("/etc/", ""), ("..", "/etc"), ("/etc/.", ""), ("/", "")]
        {
            assert!(of(word, directory).is_err(), "{word}");
        }
    }

    #[test]
    fn dots_behind_a_link_are_refused() {
        let folder = std::env::temp_dir().join(format!("jitsudo-dots-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("real")).unwrap();
        let _ = std::os::unix::fs::symlink("real", folder.join("link"));
        let folder = folder.canonicalize().unwrap();
        let here = folder.to_str().unwrap();
        assert_eq!(of("real/../x", here).unwrap(), format!("{here}/x"));
        assert!(of("link/../x", here).is_err());
        assert!(of("nothing/../x", here).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
