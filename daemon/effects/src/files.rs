//! Reads the policy's files, each opened once and checked by its descriptor.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jitsudo_core::language::SourceFile;
use jitsudo_sys::nix::libc;

/// Largest policy file, bytes.
const MAX_FILE_BYTES: u64 = 10 * 1024 * 1024;
/// Most files in the directory.
const MAX_FILES: usize = 1_000;

/// Why the policy's files cannot be used.
#[derive(Debug)]
pub(crate) enum FilesError {
    /// The directory or a file cannot be opened or read.
    Open { path: PathBuf, cause: io::Error },
    /// Somebody but root owns it, or can write it.
    WritableByOthers { path: PathBuf, uid: u32, mode: u32 },
    /// Not a regular file.
    NotRegular { path: PathBuf },
    /// Larger than a policy file may be.
    TooLarge { path: PathBuf, bytes: u64 },
    /// More files than allowed.
    TooMany { path: PathBuf },
}

impl fmt::Display for FilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { path, cause } => write!(f, "cannot read policy {}: {cause}", path.display()),
            Self::WritableByOthers { path, uid, mode } => write!(
                f,
                "cannot trust policy {}: owned by uid {uid}, mode {:04o}; it and the directories above must be root's and writable by nobody else",
                path.display(),
                mode & 0o7777
            ),
            Self::NotRegular { path } => write!(f, "cannot read policy {}: not a regular file", path.display()),
            Self::TooLarge { path, bytes } => {
                write!(f, "cannot read policy {}: {bytes} bytes, the limit is {MAX_FILE_BYTES}", path.display())
            }
            Self::TooMany { path } => write!(f, "cannot read policy {}: more than {MAX_FILES} files", path.display()),
        }
    }
}

/// Reads every policy file of a directory, in the order of their names.
///
/// # Errors
/// The first thing that is not as it must be; see [`FilesError`].
pub(crate) fn read(directory: &Path) -> Result<Vec<SourceFile>, FilesError> {
    for above in directory.ancestors() {
        let opened = open(above, libc::O_DIRECTORY)?;
        check(above, &opened)?;
    }
    let open_error = |cause| FilesError::Open { path: directory.to_path_buf(), cause };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(open_error)? {
        let path = entry.map_err(open_error)?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(is_policy) {
            names.push(path);
        }
        if names.len() > MAX_FILES {
            return Err(FilesError::TooMany { path: directory.to_path_buf() });
        }
    }
    names.sort();
    names.iter().map(|path| read_file(path)).collect()
}

/// `*.toml`, but not hidden, backup or package-manager leftovers.
fn is_policy(name: &str) -> bool {
    let leftover = name.starts_with('.') || name.ends_with('~') || name.contains(".dpkg-") || name.contains(".rpm");
    name.ends_with(".toml") && !leftover
}

fn read_file(path: &Path) -> Result<SourceFile, FilesError> {
    let file = open(path, 0)?;
    let metadata = check(path, &file)?;
    if !metadata.is_file() {
        return Err(FilesError::NotRegular { path: path.to_path_buf() });
    }
    let too_large = |bytes| FilesError::TooLarge { path: path.to_path_buf(), bytes };
    if metadata.len() > MAX_FILE_BYTES {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|cause| FilesError::Open { path: path.to_path_buf(), cause })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(SourceFile { name: path.to_string_lossy().into_owned(), bytes })
}

/// Opens without following a last link and without waiting for a fifo.
fn open(path: &Path, flags: i32) -> Result<File, FilesError> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC | flags;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    opened.map_err(|cause| FilesError::Open { path: path.to_path_buf(), cause })
}

fn check(path: &Path, file: &File) -> Result<std::fs::Metadata, FilesError> {
    let metadata = file.metadata().map_err(|cause| FilesError::Open { path: path.to_path_buf(), cause })?;
    if metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
        return Err(FilesError::WritableByOthers {
            path: path.to_path_buf(),
            uid: metadata.uid(),
            mode: metadata.mode(),
        });
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_editors_and_package_tools_are_no_policy() {
        for name in [
            ".10.toml",
            "10.toml~",
            "10.toml.dpkg-old",
            "10.dpkg-new.toml",
            "10.toml.rpmsave",
            "10.rpmnew.toml",
            "README",
        ] {
            assert!(!is_policy(name), "{name}");
        }
        assert!(is_policy("10-web.toml"));
    }

    #[test]
    fn file_below_a_directory_that_others_write_is_refused() {
        let folder = std::env::temp_dir().join(format!("jitsudo-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        // The temporary directory is writable by everybody.
        assert!(matches!(read(&folder), Err(FilesError::WritableByOthers { .. } | FilesError::Open { .. })));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn policy_07_fifo_link_and_huge_file_are_refused_at_once() {
        let folder = std::env::temp_dir().join(format!("jitsudo-kinds-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let mode = jitsudo_sys::nix::sys::stat::Mode::from_bits_truncate(0o600);
        jitsudo_sys::nix::unistd::mkfifo(&folder.join("a.toml"), mode).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.join("b.toml")).unwrap();
        File::create(folder.join("c.toml")).unwrap().set_len(1 << 30).unwrap();
        let error = |name: &str| read_file(&folder.join(name)).unwrap_err();
        assert!(matches!(error("a.toml"), FilesError::NotRegular { .. }), "{}", error("a.toml"));
        assert!(matches!(error("b.toml"), FilesError::Open { .. }), "{}", error("b.toml"));
        assert!(matches!(error("c.toml"), FilesError::TooLarge { .. }), "{}", error("c.toml"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
