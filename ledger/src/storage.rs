//! Where segments live. Two implementations: [`Disk`], and the fault-injecting model of a disk in the tests.
//!
//! MUSTs
//! 1. No link is followed and nothing but a regular file is opened; a fifo never blocks
//!    (`crash_recovery_04_symlink_and_fifo_are_refused`).
//! 2. The writer uses only files of the directory's owner that nobody else can write
//!    (`crash_recovery_04_foreign_owner_or_mode_is_refused`).

use std::fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::OpenError;

/// A directory of files, as the writer needs it.
pub trait Storage: Send {
    /// An open file.
    type File: StoredFile;

    /// Names of everything in it, in any order.
    ///
    /// # Errors
    /// The system's.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// The system's; `PermissionDenied` for a file that is not soundly ours.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Opens a file for reading and writing, made or emptied.
    ///
    /// # Errors
    /// As [`Storage::open`].
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// Renames within the directory.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    ///
    /// # Errors
    /// The system's.
    fn sync_dir(&self) -> io::Result<()>;
}

/// A file, as the writer needs it.
pub trait StoredFile: Send {
    /// Its length, bytes.
    ///
    /// # Errors
    /// The system's.
    fn size(&self) -> io::Result<u64>;
    /// Reads at an offset; 0 = end.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at an offset, perhaps fewer bytes than given.
    ///
    /// # Errors
    /// The system's.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Cuts or extends.
    ///
    /// # Errors
    /// The system's.
    fn set_size(&self, size: u64) -> io::Result<()>;
    /// Makes content and length durable: fdatasync(2).
    ///
    /// # Errors
    /// The system's; after one the file's descriptor must not be used again.
    fn sync(&self) -> io::Result<()>;
}

/// Writes everything at an offset; one system call unless the system takes less.
pub(crate) fn write_all(file: &impl StoredFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A stored file as a stream from its beginning.
pub(crate) struct Stream<'a, F> {
    pub(crate) file: &'a F,
    pub(crate) offset: u64,
}

impl<F: StoredFile> io::Read for Stream<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// A directory on a real file system, held by lock.
#[derive(Debug)]
pub struct Disk {
    dir: PathBuf,
    owner: u32,
    handle: File,
    /// Held for its lock.
    _lock: File,
}

impl Disk {
    /// Takes the directory for the one writer. It must exist, be no link, and be writable only by its owner, who must be
    /// `owner` if one is given.
    ///
    /// # Errors
    /// [`OpenError::Locked`], [`OpenError::Io`].
    pub fn lock(dir: &Path, owner: Option<u32>) -> Result<Self, OpenError> {
        let what = || format!("use the ledger directory {}", dir.display());
        let handle = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY)
            .open(dir)
            .map_err(OpenError::io(what()))?;
        let metadata = handle.metadata().map_err(OpenError::io(what()))?;
        let expected = owner.unwrap_or_else(|| metadata.uid());
        check_owner(&metadata, expected).map_err(OpenError::io(what()))?;
        let mut options = writing();
        let lock = checked(options.create(true), &dir.join("lock"), Some(expected)).map_err(OpenError::io(what()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir: dir.to_owned(), owner: expected, handle, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked),
            Err(TryLockError::Error(source)) => Err(OpenError::Io { what: what(), source }),
        }
    }

    /// Makes a ledger directory, mode 0700; for tests and first starts. An existing one is left as it is.
    ///
    /// # Errors
    /// The system's.
    pub fn make_dir(dir: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }
}

fn writing() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

/// Opens for reading only: no links, regular files only. Works as another uid.
pub(crate) fn open_to_read(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    checked(&options, path, None)
}

fn checked(options: &OpenOptions, path: &Path, owner: Option<u32>) -> io::Result<File> {
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(refused("not a regular file".to_owned()));
    }
    if let Some(owner) = owner {
        check_owner(&metadata, owner)?;
    }
    Ok(file)
}

fn check_owner(metadata: &Metadata, owner: u32) -> io::Result<()> {
    if metadata.uid() != owner {
        return Err(refused(format!("it belongs to uid {}, not to the ledger's owner, uid {owner}", metadata.uid())));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(refused(format!("others can write it (mode {:04o})", metadata.mode() & 0o7777)));
    }
    Ok(())
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

impl Storage for Disk {
    type File = File;

    fn names(&self) -> io::Result<Vec<String>> {
        names(&self.dir)
    }
    fn open(&self, name: &str) -> io::Result<File> {
        checked(&writing(), &self.dir.join(name), Some(self.owner))
    }
    fn create(&self, name: &str) -> io::Result<File> {
        // Emptied only after the checks, so that no foreign file is ever cut.
        let mut options = writing();
        let file = checked(options.create(true), &self.dir.join(name), Some(self.owner))?;
        file.set_len(0)?;
        Ok(file)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.dir.join(from), self.dir.join(to))
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.dir.join(name))
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

impl StoredFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(self, bytes, offset)
    }
    fn set_size(&self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }
    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Names of everything in a directory; those that are not UTF-8 are none of ours.
pub(crate) fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}
