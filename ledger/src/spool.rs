//! What was written while the writer could not be reached: one durable file an event, folded in later.
//!
//! A name is the caller's (`<session>.<n>`) and unique for ever: the writer's state remembers the names it folded, so that a
//! file that is found again after a crash between recording and removing changes nothing. The file gets mode 0640; its group
//! is the directory's (setgid), so that root's sessions write what the ledger's owner reads.
//!
//! MUSTs
//! 1. A reader sees a whole entry or none (`spooled_entry_is_whole_or_absent`).
//! 2. On a full disk an entry takes the place of a file that was written for that before (`full_disk_takes_entries_from_the_reserve`).
//! 3. Nothing that lies in the directory makes a reader follow, block or allocate without bound
//!    (`spool_listing_refuses_what_is_no_entry`).

use std::cmp::Ordering;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::storage;

/// Longest entry, bytes.
pub const MAX_ENTRY_BYTES: u64 = 64 << 10;
/// Longest name, bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Most entries that one listing gives; the rest comes with the next one.
pub const MAX_LISTED: usize = 1024;

/// Temporary files begin with this; readers pass over them.
const TEMPORARY: &str = ".new-";
/// Files that give their blocks to entries when the disk is full; like temporary ones, so that readers pass over them.
const RESERVE: &str = ".new-reserve.";
/// Length of each: entries that are longer wait for room.
const RESERVE_BYTES: usize = 4096;

/// A spooled entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spooled {
    /// Its file name.
    pub name: String,
    /// What was written: not checked, see [`crate::Body::new`].
    pub json: String,
    /// The uid that owns the file: the caller decides whom it believes.
    pub owner: u32,
}

/// What lies in a spool.
#[derive(Debug, Default)]
pub struct Listing {
    /// Entries by name; numbers between dots in the order of numbers.
    pub entries: Vec<Spooled>,
    /// What is no entry, and why; left where it is.
    pub refused: Vec<(String, String)>,
    /// There are more than [`MAX_LISTED`].
    pub more: bool,
}

/// Writes one entry so that it is there after a power cut, or not at all. An entry of the same name is never replaced.
///
/// # Errors
/// `InvalidInput` for a bad name or a too long text, `AlreadyExists`, or the system's.
pub fn write(dir: &Path, name: &str, json: &str) -> io::Result<()> {
    if !is_name(name) || json.len() as u64 > MAX_ENTRY_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name or the length is not a spool entry's"));
    }
    let place = dir.join(name);
    if place.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let temporary = dir.join(format!("{TEMPORARY}{name}"));
    // A leftover of the same writer, dead before its rename.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = match write_whole(&temporary, json) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            let _ = std::fs::remove_file(&temporary);
            write_in_reserve(dir, &temporary, json)
        }
        other => other,
    };
    let outcome = written.and_then(|()| std::fs::rename(&temporary, &place));
    if outcome.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    outcome.and_then(|()| sync_dir(dir))
}

/// Writes many entries, names and texts, with one sync for all; an outcome for each, as of [`write`].
///
/// `sync` makes all that was written to the file system of the file that it is given durable (syncfs(2)).
pub fn write_all(
    dir: &Path,
    entries: &[(String, String)],
    sync: impl FnOnce(&File) -> io::Result<()>,
) -> Vec<io::Result<()>> {
    let place = |name: &str| (dir.join(name), dir.join(format!("{TEMPORARY}{name}")));
    let begin = |(name, json): &(String, String)| -> io::Result<()> {
        let (place, temporary) = place(name);
        let fits = is_name(name) && json.len() as u64 <= MAX_ENTRY_BYTES;
        if !fits || place.symlink_metadata().is_ok() || temporary.symlink_metadata().is_ok() {
            // For `write` to say what it is, or to remove a leftover.
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        write_file(&temporary, json).map(drop).inspect_err(|_| drop(std::fs::remove_file(&temporary)))
    };
    let begun: Vec<bool> = entries.iter().map(|entry| begin(entry).is_ok()).collect();
    let synced = File::open(dir).and_then(|dir| sync(&dir));
    let named: Vec<bool> = entries
        .iter()
        .zip(begun)
        .map(|((name, _), begun)| {
            let (place, temporary) = place(name);
            let named = begun && synced.is_ok() && std::fs::rename(&temporary, place).is_ok();
            if begun && !named {
                let _ = std::fs::remove_file(&temporary);
            }
            named
        })
        .collect();
    let durable = sync_dir(dir);
    // What did not go that way goes alone, and says why not.
    let alone = |((name, json), named): (&(String, String), bool)| match (named, &durable) {
        (true, Ok(())) => Ok(()),
        (true, Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
        (false, _) => write(dir, name, json),
    };
    entries.iter().zip(named).map(alone).collect()
}

fn write_whole(path: &Path, json: &str) -> io::Result<()> {
    write_file(path, json)?.sync_all()
}

fn write_file(path: &Path, json: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)?;
    file.write_all(json.as_bytes())?;
    // Not by the umask's leave: it is the caller's, and sessions have all kinds.
    file.set_permissions(Permissions::from_mode(0o640))?;
    Ok(file)
}

/// Writes into blocks that are the directory's already.
fn write_in_reserve(dir: &Path, temporary: &Path, json: &str) -> io::Result<()> {
    if json.len() > RESERVE_BYTES {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let names = storage::names(dir)?;
    let reserve = names.iter().find(|name| name.starts_with(RESERVE)).ok_or(io::ErrorKind::StorageFull)?;
    std::fs::rename(dir.join(reserve), temporary)?;
    let mut file = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(temporary)?;
    file.write_all(json.as_bytes())?;
    file.set_len(json.len() as u64)?;
    file.set_permissions(Permissions::from_mode(0o640))?;
    file.sync_all()
}

/// Keeps so many files in reserve, for entries that are written while the disk is full.
///
/// # Errors
/// The system's; those that are there stay.
pub fn keep_reserve(dir: &Path, count: usize) -> io::Result<()> {
    for number in 0..count {
        let place = dir.join(format!("{RESERVE}{number}"));
        if place.symlink_metadata().is_ok() {
            continue;
        }
        // Zeros, not a hole and not blocks that are yet to be converted: rewriting them takes no space.
        let fresh = dir.join(format!("{TEMPORARY}fresh.reserve"));
        let _ = std::fs::remove_file(&fresh);
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(&fresh)?;
        let written = file.write_all(&[0; RESERVE_BYTES]).and_then(|()| file.sync_all());
        if let Err(error) = written.and_then(|()| std::fs::rename(&fresh, &place)) {
            let _ = std::fs::remove_file(&fresh);
            return Err(error);
        }
    }
    Ok(())
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY).open(dir)?.sync_all()
}

/// Lists the entries.
///
/// # Errors
/// When the directory cannot be listed; an empty listing when there is none.
pub fn read_dir(dir: &Path) -> io::Result<Listing> {
    let mut names = match storage::names(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
        other => other?,
    };
    names.retain(|name| !name.starts_with(TEMPORARY));
    names.sort_by(|one, other| in_order(one, other));
    let mut listing = Listing { more: names.len() > MAX_LISTED, ..Listing::default() };
    for name in names {
        if listing.entries.len() >= MAX_LISTED {
            break;
        }
        match entry(dir, &name) {
            Ok(entry) => listing.entries.push(entry),
            // Folded in by somebody else meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => listing.refused.push((name, error.to_string())),
        }
    }
    listing.more &= listing.entries.len() >= MAX_LISTED;
    Ok(listing)
}

fn entry(dir: &Path, name: &str) -> io::Result<Spooled> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    if !is_name(name) {
        return Err(invalid("the name is not an entry's"));
    }
    let file: File = storage::open_to_read(&dir.join(name))?;
    let owner = file.metadata()?.uid();
    let mut bytes = Vec::new();
    // Read with a bound of its own: the length that stat tells may change.
    file.take(MAX_ENTRY_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_ENTRY_BYTES {
        return Err(invalid("longer than an entry may be"));
    }
    let json = String::from_utf8(bytes).map_err(|_| invalid("not UTF-8"))?;
    Ok(Spooled { name: name.to_owned(), json, owner })
}

/// Removes an entry, after its line is durable. One that is gone already is fine.
///
/// # Errors
/// `InvalidInput` for a bad name, or the system's.
pub fn remove(dir: &Path, name: &str) -> io::Result<()> {
    if !is_name(name) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    match std::fs::remove_file(dir.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// True for `[a-z0-9][a-z0-9._-]*`, at most [`MAX_NAME_BYTES`].
#[must_use]
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= MAX_NAME_BYTES
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

/// By the parts between dots, numbers as numbers: `x.2` before `x.10`.
fn in_order(one: &str, other: &str) -> Ordering {
    let parts = |name: &str| -> Vec<(Option<u64>, String)> {
        name.split('.').map(|part| (part.parse().ok(), part.to_owned())).collect()
    };
    parts(one).cmp(&parts(other)).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_a_session_come_in_the_order_of_their_numbers() {
        let mut names = ["01k.1.10", "01k.1.2", "01j.7.1", "01k.1.1"];
        names.sort_by(|one, other| in_order(one, other));
        assert_eq!(names, ["01j.7.1", "01k.1.1", "01k.1.2", "01k.1.10"]);
    }

    #[test]
    fn full_disk_takes_entries_from_the_reserve() {
        let dir = std::env::temp_dir().join(format!("jitsudo-spool-reserve-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        keep_reserve(&dir, 2).unwrap();
        keep_reserve(&dir, 2).unwrap();
        assert_eq!(read_dir(&dir).unwrap().entries.len(), 0, "readers pass over it");
        let written = |name: &str, json: &str| {
            write_in_reserve(&dir, &dir.join(format!(".new-{name}")), json)?;
            std::fs::rename(dir.join(format!(".new-{name}")), dir.join(name))
        };
        assert_eq!(written("long", &"x".repeat(RESERVE_BYTES + 1)).unwrap_err().kind(), io::ErrorKind::StorageFull);
        written("one", "{\"one\":1}").unwrap();
        written("two", &"x".repeat(RESERVE_BYTES)).unwrap();
        assert_eq!(written("three", "{}").unwrap_err().kind(), io::ErrorKind::StorageFull);
        let listing = read_dir(&dir).unwrap();
        let seen: Vec<_> = listing.entries.iter().map(|entry| (entry.name.as_str(), entry.json.len())).collect();
        assert_eq!((seen.as_slice(), listing.refused.len()), ([("one", 9), ("two", RESERVE_BYTES)].as_slice(), 0));
        keep_reserve(&dir, 2).unwrap();
        written("three", "{}").unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn names_that_could_lead_elsewhere_are_none() {
        for bad in ["", ".", "..", ".new-x", "a/b", "A", "-x", "a b", "a\0", &"x".repeat(129)] {
            assert!(!is_name(bad), "{bad:?}");
        }
        assert!(is_name("01ky0000000000000000000000.1.3"));
    }
}
