//! The requester's private copies: where the editor works, and what is left when something cannot be written.
//!
//! MUSTs
//! 1. Nobody else reads or replaces a copy: mode 0600, in a directory of mode 0700 made for this run (`edit_mode_06_*`).
//! 2. What the editor leaves is read only if it is a plain file of the requester's with one name (`edit_mode_03_*`).

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use std::ffi::{OsStr, OsString};

use jitsudo_protocol::edit::MAX_FILE_BYTES;
use jitsudo_sys::nix::libc;
use jitsudo_sys::nix::unistd::geteuid;
use jitsudo_sys::random;

/// Longest name of a file, bytes (NAME_MAX).
const MAX_NAME_BYTES: usize = 255;
/// A longer ending is no suffix that an editor would look at.
const MAX_SUFFIX_BYTES: usize = 32;

/// A directory of this run's own; removed with what is left unneeded in it.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes one in /var/tmp, which outlives a reboot, else in TMPDIR or /tmp.
    pub(crate) fn make() -> io::Result<Self> {
        let own = std::env::var_os("TMPDIR").map(PathBuf::from).filter(|path| path.is_absolute());
        let bases = [Some(PathBuf::from("/var/tmp")), own, Some(PathBuf::from("/tmp"))];
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for base in bases.into_iter().flatten() {
            match Self::make_in(&base) {
                Ok(folder) => return Ok(folder),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn make_in(base: &Path) -> io::Result<Self> {
        let path = base.join(format!("jitsudo-edit.{}", random::hex::<4>()?));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Puts a copy there, empty where there is no content: its path.
    pub(crate) fn put(&self, original: &[u8], content: Option<&File>) -> io::Result<PathBuf> {
        let name = original.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let path = self.0.join(OsString::from_vec(name_of_copy(name, &random::hex::<4>()?)));
        let mut options = OpenOptions::new();
        let mut copy = options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(&path)?;
        if let Some(mut content) = content {
            content.rewind()?;
            io::copy(&mut content, &mut copy)?;
        }
        Ok(path)
    }

    /// Removes the directory if nothing is left in it.
    pub(crate) fn remove(self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// `nginx.conf` → `nginx.1a2b3c4d.conf`, so that an editor knows the kind of file by its ending.
fn name_of_copy(name: &[u8], random: &str) -> Vec<u8> {
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0);
    let (stem, suffix) = match dot {
        Some(dot) if name.len() - dot <= MAX_SUFFIX_BYTES => name.split_at(dot),
        Some(_) | None => (name, &b""[..]),
    };
    let room = MAX_NAME_BYTES - suffix.len() - random.len() - 1;
    [stem.get(..stem.len().min(room)).unwrap_or_default(), b".", random.as_bytes(), suffix].concat()
}

/// Reads what the editor has left.
pub(crate) fn read_back(path: &Path) -> Result<Vec<u8>, String> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(flags).open(path).map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => "not a regular file".to_owned(),
        _ => crate::say::words(&error),
    })?;
    let found = file.metadata().map_err(|error| crate::say::words(&error))?;
    if !found.is_file() || found.uid() != geteuid().as_raw() || found.nlink() != 1 {
        return Err("not a regular file of yours with one name".to_owned());
    }
    if found.len() > MAX_FILE_BYTES {
        return Err(format!("larger than the {} MiB that can be written", MAX_FILE_BYTES >> 20));
    }
    let mut content = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content).map_err(|error| crate::say::words(&error))?;
    Ok(content)
}

/// The bytes of a sealed copy.
pub(crate) fn content_of(mut copy: &File) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    copy.rewind()?;
    copy.read_to_end(&mut content)?;
    Ok(content)
}

/// A path for people.
pub(crate) fn shown(path: &OsStr) -> String {
    String::from_utf8_lossy(path.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn copies_keep_the_ending_that_editors_look_at() {
        let name = |name: &str| String::from_utf8(name_of_copy(name.as_bytes(), "1a2b3c4d")).unwrap();
        assert_eq!(name("nginx.conf"), "nginx.1a2b3c4d.conf");
        assert_eq!(name("sshd_config"), "sshd_config.1a2b3c4d");
        assert_eq!(name(".bashrc"), ".bashrc.1a2b3c4d");
        assert_eq!(name("a.tar.gz"), "a.tar.1a2b3c4d.gz");
        assert_eq!(name_of_copy(b"\xff.x", "r"), b"\xff.r.x");
        for long in ["x".repeat(255), format!("{}.conf", "x".repeat(250)), format!("a.{}", "x".repeat(253))] {
            assert!(name(&long).len() <= MAX_NAME_BYTES, "{long}");
        }
        assert!(name(&format!("{}.conf", "x".repeat(250))).ends_with(".1a2b3c4d.conf"));
    }

    #[test]
    fn edit_mode_06_copies_are_private() {
        let folder = Folder::make_in(&std::env::temp_dir()).unwrap();
        let copy = folder.put(b"/etc/nginx/nginx.conf", None).unwrap();
        assert_eq!(std::fs::metadata(&folder.0).unwrap().permissions().mode() & 0o7777, 0o700);
        assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o7777, 0o600);
        std::fs::remove_file(copy).unwrap();
        let path = folder.0.clone();
        folder.remove();
        assert!(!path.exists());
    }

    #[test]
    fn edit_mode_03_what_is_no_plain_file_is_not_read() {
        let folder = Folder::make_in(&std::env::temp_dir()).unwrap();
        let copy = folder.put(b"/x", None).unwrap();
        std::fs::write(&copy, "text").unwrap();
        assert_eq!(read_back(&copy).unwrap(), b"text");
        std::fs::hard_link(&copy, folder.0.join("other")).unwrap();
        assert!(read_back(&copy).is_err());
        std::fs::remove_file(&copy).unwrap();
        assert_eq!(read_back(&copy).unwrap_err(), "no such file or directory");
        std::os::unix::fs::symlink("other", &copy).unwrap();
        assert_eq!(read_back(&copy).unwrap_err(), "not a regular file");
        assert!(read_back(&folder.0).is_err());
        std::fs::remove_dir_all(&folder.0).unwrap();
    }
}
