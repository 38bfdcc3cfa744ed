//! Reads a file that decides about rights: opened once, and believed only if nobody but root (or this very account) can write it.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Why a file is not to be read.
#[derive(Debug)]
pub enum UntrustedError {
    /// It cannot be opened or read.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Not a regular file of root's, or writable by group or others, or too large.
    NotRoots {
        /// Which.
        path: PathBuf,
        /// Its owner.
        uid: u32,
        /// Type and permission bits.
        mode: u32,
    },
}

impl fmt::Display for UntrustedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, cause } => write!(f, "cannot read {}: {cause}", path.display()),
            Self::NotRoots { path, uid, mode } => write!(
                f,
                "cannot trust {}: owned by uid {uid}, mode {:04o}; it must be a plain file that root alone can write",
                path.display(),
                mode & 0o7777
            ),
        }
    }
}
impl std::error::Error for UntrustedError {}

/// Reads it whole; `None` when there is none.
///
/// # Errors
/// See [`UntrustedError`].
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, UntrustedError> {
    let failed = |cause| UntrustedError::Io { path: path.to_path_buf(), cause };
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    let own = nix::unistd::geteuid().as_raw();
    let sound = metadata.is_file() && (metadata.uid() == 0 || metadata.uid() == own) && metadata.mode() & 0o022 == 0;
    if !sound || metadata.len() > limit {
        return Err(UntrustedError::NotRoots { path: path.to_path_buf(), uid: metadata.uid(), mode: metadata.mode() });
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn install_config_06_file_that_others_can_write_link_and_fifo_are_refused() {
        let folder = std::env::temp_dir().join(format!("jitsudo-trusted-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("x.toml");
        assert!(read(&path, 100).unwrap().is_none());
        std::fs::write(&path, "host = \"a\"").unwrap();
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        assert_eq!(read(&path, 100).unwrap().unwrap(), b"host = \"a\"");
        assert!(matches!(read(&path, 3), Err(UntrustedError::NotRoots { .. })), "too large");
        for open in [0o666, 0o664, 0o646] {
            mode(open);
            assert!(matches!(read(&path, 100), Err(UntrustedError::NotRoots { .. })), "{open:o}");
        }
        mode(0o644);
        std::os::unix::fs::symlink(&path, folder.join("link")).unwrap();
        assert!(read(&folder.join("link"), 100).is_err());
        nix::unistd::mkfifo(&folder.join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert!(read(&folder.join("fifo"), 100).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
