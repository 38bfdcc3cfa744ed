//! Puts files of root's where they belong, whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jitsudo_sys::nix::libc;

/// Replaces a file whole: this account's, of the directory's group, with this mode.
pub(crate) fn put(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (directory, temporary) = temporary(path)?;
    let write = || -> io::Result<()> {
        let file = write_new(&temporary, bytes)?;
        std::os::unix::fs::fchown(&file, None, Some(fs::metadata(directory)?.gid()))?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        jitsudo_sys::failpoint::reach("effects.file.synced");
        fs::rename(&temporary, path)?;
        jitsudo_sys::failpoint::reach("effects.file.renamed");
        File::open(directory)?.sync_all()
    };
    write().inspect_err(|_| {
        // The one before was not touched; a leftover is removed by the next try if this fails.
        let _ = fs::remove_file(&temporary);
    })
}

/// Puts a file where none is, mode 0600. One that is there already stays as it is, and this is an error (`AlreadyExists`).
pub(crate) fn put_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (directory, temporary) = temporary(path)?;
    let write = || -> io::Result<()> {
        write_new(&temporary, bytes)?.sync_all()?;
        // Unlike rename(2), link(2) never replaces.
        fs::hard_link(&temporary, path)
    };
    let written = write();
    let removed = fs::remove_file(&temporary);
    written.and(removed)?;
    File::open(directory)?.sync_all()
}

fn temporary(path: &Path) -> io::Result<(&Path, PathBuf)> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let stem = path.file_stem().ok_or(io::ErrorKind::InvalidInput)?;
    let temporary = directory.join(format!(".{}.new", stem.to_string_lossy()));
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok((directory, temporary)),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_replaced_whole_and_leaves_no_temporary_one() {
        let folder = crate::tests::folder("whole");
        let path = folder.join("applied.json");
        put(&path, b"one", 0o640).unwrap();
        put(&path, b"two", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(&*folder).unwrap().count(), 1);
    }

    #[test]
    fn file_that_is_there_is_never_replaced_by_a_new_one() {
        let folder = crate::tests::folder("new");
        let path = folder.join("host.key");
        put_new(&path, b"one").unwrap();
        assert_eq!(put_new(&path, b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(&*folder).unwrap().count(), 1);
    }

    #[test]
    fn fs_race_01_link_in_the_place_of_the_temporary_file_is_not_followed() {
        let folder = crate::tests::folder("link");
        let victim = folder.join("victim");
        fs::write(&victim, "kept").unwrap();
        std::os::unix::fs::symlink(&victim, folder.join(".applied.new")).unwrap();
        put(&folder.join("applied.json"), b"new", 0o640).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"kept");
    }
}
