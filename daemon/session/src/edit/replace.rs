//! Puts edited content in a file's place: a new file beside it, made like the old one in everything, then one rename.
//!
//! MUSTs
//! 1. The file is still the one that was read, and untouched since, or nothing is written (`fs_race_07_swapped_file_is_not_written`).
//! 2. Owner, group, mode, ACL and every extended attribute stay, or nothing is written (`edit_mode_05_*`).
//! 3. A reader sees the old content or the new, whole; the new one is on disk before it is seen.
//! 4. The record is durable before the rename.

use std::ffi::CString;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use jitsudo_sys::attributes;
use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::nix::fcntl::{OFlag, RenameFlags, openat, renameat, renameat2};
use jitsudo_sys::nix::sys::stat::{Mode, fchmod, fstat};
use jitsudo_sys::nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fsync, unlinkat};
use jitsudo_sys::{files, random};

use super::place::{self, Place, Refusal, Rights, Seen, as_account};

/// Mode of a new file before the umask, as sudo(8) makes it.
const NEW_MODE: u32 = 0o644;
/// Attributes that the kernel derives from the content: the old ones would be wrong.
const DERIVED: [&[u8]; 2] = [b"security.ima", b"security.evm"];

/// What was written is on disk, or why that is not sure.
pub(super) type Durable = Result<(), Refusal>;

/// Writes `content` to the file of `path`, which was `place` when it was read. `record` makes the intent durable.
pub(super) fn write(
    path: &[u8],
    place: &Place,
    content: &[u8],
    rights: &Rights,
    record: impl FnOnce() -> Result<(), Refusal>,
) -> Result<Durable, Refusal> {
    check(path, place, rights)?;
    let temporary = temporary_name()?;
    let made = as_account(&rights.target, || prepare(place, &temporary, content, rights));
    let outcome = made.and_then(|()| record()).and_then(|()| {
        // Once more: a disk that is slow to sync left time for another change.
        check(path, place, rights)?;
        as_account(&rights.target, || rename(place, &temporary))
    });
    if outcome.is_err() {
        // It may not have been made at all.
        let _ = as_account(&rights.target, || {
            Ok(unlinkat(&place.directory, temporary.as_c_str(), UnlinkatFlags::NoRemoveDir)?)
        });
    }
    outcome.map(|()| sync(place.directory.as_fd()))
}

/// The path leads to the same directory and to the same, unchanged file as when it was read, by the same rules.
fn check(path: &[u8], place: &Place, rights: &Rights) -> Result<(), Refusal> {
    let now = place::open(path, rights)?;
    let same_directory = match (files::place(now.directory.as_fd()), files::place(place.directory.as_fd())) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    };
    let seen = |place: &Place| place.found.as_ref().map(|(_, seen)| *seen);
    match (seen(place), seen(&now)) {
        _ if !same_directory => Err(Refusal::new("its directory was replaced since it was read")),
        (None, Some(_)) => Err(Refusal::new("it was made by somebody else since")),
        (Some(_), None) => Err(Refusal::new("it was removed since it was read")),
        (before, after) if before == after => Ok(()),
        _ => Err(Refusal::new("it was changed since it was read")),
    }
}

fn temporary_name() -> Result<CString, Refusal> {
    let random = random::hex::<8>().map_err(|error| Refusal::of(&error))?;
    CString::new(format!(".jitsudo-{random}")).map_err(|_| Errno::EINVAL.into())
}

fn prepare(place: &Place, temporary: &CString, content: &[u8], rights: &Rights) -> Result<(), Refusal> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut file: File = openat(&place.directory, temporary.as_c_str(), flags, Mode::from_bits_truncate(0o600))?.into();
    file.write_all(content).map_err(|error| Refusal::of(&error))?;
    match &place.found {
        Some((old, seen)) => make_alike(old, seen, file.as_fd())?,
        None => fchmod(&file, Mode::from_bits_truncate(NEW_MODE & !rights.umask))?,
    }
    Ok(fsync(&file)?)
}

/// Owner, group, mode, attributes; then all of it is read back.
fn make_alike(old: &OwnedFd, seen: &Seen, new: BorrowedFd<'_>) -> Result<(), Refusal> {
    let cannot = |what: &str, words: &str| Refusal::new(format!("cannot keep its {what}: {words}"));
    let made = Seen::of(&fstat(new)?);
    if (made.uid, made.gid) != (seen.uid, seen.gid) {
        fchown(new, Some(Uid::from_raw(seen.uid)), Some(Gid::from_raw(seen.gid)))
            .map_err(|errno| cannot("owner and group", errno.desc()))?;
    }
    fchmod(new, Mode::from_bits_truncate(seen.mode)).map_err(|errno| cannot("mode", errno.desc()))?;
    let wanted = kept(old.as_fd())?;
    // What the directory gave the new one (a default ACL, a label) and the old one has not.
    for extra in kept(new)?.into_iter().filter(|one| !wanted.iter().any(|wanted| wanted.name == one.name)) {
        let _ = attributes::remove(new, &extra.name);
    }
    for attribute in &wanted {
        // What cannot be set may be there already: read back below.
        let _ = attributes::set(new, attribute);
    }
    let now = kept(new)?;
    let differs = |attribute: &&attributes::Attribute| !now.contains(attribute);
    let surplus = now.iter().find(|one| !wanted.contains(one));
    if let Some(lost) = wanted.iter().find(differs).or(surplus) {
        return Err(cannot("attribute", &String::from_utf8_lossy(lost.name.to_bytes())));
    }
    let now = Seen::of(&fstat(new)?);
    if (now.uid, now.gid) != (seen.uid, seen.gid) {
        return Err(cannot("owner and group", "they were changed by the file system"));
    }
    if now.mode != seen.mode {
        return Err(cannot("mode", "it was changed by the file system"));
    }
    Ok(())
}

fn kept(file: BorrowedFd<'_>) -> Result<Vec<attributes::Attribute>, Refusal> {
    let all = attributes::of(file).map_err(|error| Refusal::of(&error))?;
    Ok(all.into_iter().filter(|one| !DERIVED.contains(&one.name.to_bytes())).collect())
}

fn rename(place: &Place, temporary: &CString) -> Result<(), Refusal> {
    let (at, name) = (&place.directory, place.name.as_c_str());
    match place.found {
        Some(_) => Ok(renameat(at, temporary.as_c_str(), at, name)?),
        // A file that was made since is not replaced.
        None => Ok(renameat2(at, temporary.as_c_str(), at, name, RenameFlags::RENAME_NOREPLACE)?),
    }
}

/// As root: the target may be able to write a directory that it cannot read.
fn sync(directory: BorrowedFd<'_>) -> Durable {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let readable = openat(directory, c".", flags, Mode::empty())?;
    Ok(fsync(&readable)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_sys::identity::Account;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::path::{Path, PathBuf};

    fn rights() -> Rights {
        Rights { target: Account { uid: 0, gid: 0, groups: vec![0] }, requester: None, create: true, umask: 0o027 }
    }

    fn folder(name: &str) -> PathBuf {
        let path = PathBuf::from(format!("/jitsudo-replace-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        path
    }

    /// Opens, does something, writes; in a thread of its own, because ids are a thread's.
    fn written(path: &Path, content: &str, meanwhile: impl FnOnce() + Send + 'static) -> Result<(), String> {
        let (path, content) = (path.as_os_str().as_bytes().to_vec(), content.to_owned());
        let work = move || {
            let place = place::open(&path, &rights()).unwrap();
            meanwhile();
            write(&path, &place, content.as_bytes(), &rights(), || Ok(())).map(|durable| durable.unwrap())
        };
        std::thread::spawn(work).join().unwrap().map_err(|refusal| refusal.words)
    }

    fn names(folder: &Path) -> Vec<String> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn edit_mode_05_owner_mode_and_attributes_stay() {
        if !jitsudo_sys::nix::unistd::getuid().is_root() {
            return;
        }
        let folder = folder("alike");
        let path = folder.join("file");
        std::fs::write(&path, "old").unwrap();
        std::os::unix::fs::chown(&path, Some(60_001), Some(60_002)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o1651)).unwrap();
        let file = File::open(&path).unwrap();
        let note = attributes::Attribute { name: c"user.note".into(), value: b"kept".to_vec() };
        let has_attributes = attributes::set(file.as_fd(), &note).is_ok();
        let before = std::fs::metadata(&path).unwrap().ino();
        written(&path, "new", || {}).unwrap();
        let now = std::fs::metadata(&path).unwrap();
        assert_eq!((now.uid(), now.gid(), now.mode() & 0o7777), (60_001, 60_002, 0o1651));
        assert_ne!(now.ino(), before);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(attributes::of(File::open(&path).unwrap().as_fd()).unwrap().contains(&note), has_attributes);
        assert_eq!(names(&folder), ["file"]);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn fs_race_07_swapped_file_is_not_written() {
        if !jitsudo_sys::nix::unistd::getuid().is_root() {
            return;
        }
        let folder = folder("swap");
        let path = folder.join("file");
        type Change = fn(&Path);
        let meanwhile: [(&str, Change); 4] = [
            ("changed", |path| std::fs::write(path, "other").unwrap()),
            ("removed", |path| std::fs::remove_file(path).unwrap()),
            ("symbolic", |path| {
                std::fs::remove_file(path).unwrap();
                std::os::unix::fs::symlink("/etc/hostname", path).unwrap();
            }),
            ("directory was replaced", |path| {
                let folder = path.parent().unwrap();
                let aside = folder.with_extension("aside");
                std::fs::rename(folder, &aside).unwrap();
                std::fs::create_dir(folder).unwrap();
                std::fs::hard_link(aside.join("file"), path).unwrap();
                std::fs::remove_dir_all(aside).unwrap();
            }),
        ];
        for (words, change) in meanwhile {
            let _ = std::fs::remove_file(&path);
            std::fs::write(&path, "old").unwrap();
            let place = path.clone();
            let error = written(&path, "new", move || change(&place)).unwrap_err();
            assert!(error.contains(words), "{words}: {error}");
            assert!(names(&folder).iter().all(|name| name == "file"), "{:?}", names(&folder));
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn new_file_has_the_umask_and_never_replaces_another() {
        if !jitsudo_sys::nix::unistd::getuid().is_root() {
            return;
        }
        let folder = folder("new");
        let path = folder.join("file");
        written(&path, "new", || {}).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        let other = folder.join("other");
        let made = other.clone();
        let error = written(&other, "new", move || std::fs::write(&made, "theirs").unwrap()).unwrap_err();
        assert!(error.contains("somebody else"), "{error}");
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "theirs");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn without_a_record_nothing_is_written() {
        if !jitsudo_sys::nix::unistd::getuid().is_root() {
            return;
        }
        let folder = folder("record");
        let path = folder.join("file");
        std::fs::write(&path, "old").unwrap();
        let bytes = path.as_os_str().as_bytes().to_vec();
        let work = move || {
            let place = place::open(&bytes, &rights()).unwrap();
            write(&bytes, &place, b"new", &rights(), || Err(Refusal::new("no record"))).unwrap_err()
        };
        assert_eq!(std::thread::spawn(work).join().unwrap().words, "no record");
        assert_eq!(
            (std::fs::read_to_string(&path).unwrap(), names(&folder)),
            ("old".to_owned(), vec!["file".to_owned()])
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
