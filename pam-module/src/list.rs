//! Reads `/etc/jitsudo/gated`: opened once, checked by its descriptor, a piece at a time.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use jitsudo_login_wire::gated::{MAX_LIST_BYTES, Reader, Says};

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum List {
    /// There is none.
    Missing,
    /// It is not to be believed, and why. What its whole lines say still counts against an account.
    Damaged(Says, &'static str),
    /// It says this.
    Whole(Says),
}

/// Reads the list for one login.
pub(crate) fn read(path: &Path, mut reader: Reader<'_>) -> List {
    // Not followed, and not waited for: a fifo or a link in its place is damage.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let mut file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return List::Missing,
        Err(_) => return List::Damaged(reader.says(), "it cannot be opened"),
    };
    let Ok(metadata) = file.metadata() else { return List::Damaged(reader.says(), "it cannot be looked at") };
    if !metadata.is_file() {
        return List::Damaged(reader.says(), "it is no plain file");
    }
    let read = feed(&mut file, &mut reader);
    let says = reader.says();
    let folder = path.parent().map(fs::symlink_metadata);
    let is_ours = is_roots_alone(&metadata) && folder.is_some_and(|folder| folder.is_ok_and(|it| is_roots_alone(&it)));
    match read {
        _ if !is_ours => List::Damaged(says, "others than root can write it"),
        Err(cause) => List::Damaged(says, cause),
        Ok(()) if !says.is_whole => List::Damaged(says, "it is cut or changed"),
        Ok(()) => List::Whole(says),
    }
}

fn feed(file: &mut File, reader: &mut Reader<'_>) -> Result<(), &'static str> {
    let mut piece = [0; 4096];
    let mut total: u64 = 0;
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                reader.feed(piece.get(..count).unwrap_or_default());
                total = total.saturating_add(count as u64);
                if total > MAX_LIST_BYTES {
                    return Err("it is too long");
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err("it cannot be read"),
        }
    }
}

fn is_roots_alone(metadata: &Metadata) -> bool {
    metadata.uid() == 0 && metadata.mode() & 0o022 == 0
}
