//! Where a file to be edited is: its path walked one component at a time, as the target, and what is found there judged.
//!
//! MUSTs
//! 1. No link is followed, anywhere on the way (openat2(2), RESOLVE_NO_SYMLINKS, `link_on_the_way_is_refused`).
//! 2. Everything is looked up and opened with the target's ids and groups, nothing as root (`identity::acting_as`).
//! 3. No directory on the way can be written by the requester, who could put another file there (`fs_race_07_*`, CVE-2021-23239).
//! 4. Only a regular file with one name is opened, and only after it was seen to be one: opening a device can have effects, and a fifo
//!    would wait (`only_a_regular_file_with_one_name_is_opened`).
//! 5. A file that lends rights to whoever runs it is not edited: the requester's content would get them (`edit_mode_05_*`). The kernel
//!    takes file capabilities away when such a file is written to; a new file in its place would keep them.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use jitsudo_sys::identity::{Account, acting_as};
use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use jitsudo_sys::nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use jitsudo_sys::nix::sys::statfs::{FsType, fstatfs};
use jitsudo_sys::nix::unistd::{AccessFlags, faccessat};
use jitsudo_sys::{attributes, files};

/// Where a file's capabilities are kept.
const CAPABILITIES: &[u8] = b"security.capability";

/// Whose rights decide.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Rights {
    /// Files are opened and written as this account.
    pub(super) target: Account,
    /// This account must not be able to write a directory on the way; `None` for root, who can anyway.
    pub(super) requester: Option<Account>,
    /// Files that do not exist may be made.
    pub(super) create: bool,
    /// For new files.
    pub(super) umask: u32,
}

/// Why a file is not edited: words that follow its name, and what would help.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub(super) words: String,
    pub(super) hint: Option<String>,
}

impl Refusal {
    pub(super) fn new(words: impl Into<String>) -> Self {
        Self { words: words.into(), hint: None }
    }
    fn with_hint(self, hint: &str) -> Self {
        Self { hint: Some(hint.to_owned()), ..self }
    }
    /// The system's own words, as sudo(8) prints them.
    pub(super) fn of(error: &io::Error) -> Self {
        Self::new(
            error.raw_os_error().map_or_else(|| error.to_string(), |number| Errno::from_raw(number).desc().into()),
        )
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::new(errno.desc())
    }
}

/// What a file was when it was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: i64,
    pub(super) modified_ns: i64,
    pub(super) changed_ns: i64,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
}

impl Seen {
    pub(super) fn of(stat: &FileStat) -> Self {
        let ns = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            modified_ns: ns(stat.st_mtime, stat.st_mtime_nsec),
            changed_ns: ns(stat.st_ctime, stat.st_ctime_nsec),
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
        }
    }
}

/// A file that may be edited, or made.
#[derive(Debug)]
pub(super) struct Place {
    /// Its directory, O_PATH.
    pub(super) directory: OwnedFd,
    /// Its name there.
    pub(super) name: CString,
    /// The file, open for reading, and what it was; `None` when there is none yet.
    pub(super) found: Option<(OwnedFd, Seen)>,
}

/// Opens what an absolute path names.
pub(super) fn open(path: &[u8], rights: &Rights) -> Result<Place, Refusal> {
    let (directories, name) = components(path)?;
    let walked = as_account(&rights.target, || walk(&directories))?;
    if let Some(requester) = &rights.requester {
        as_account(requester, || refuse_writable(requester, &walked))?;
    }
    let directory = walked.into_iter().next_back().ok_or_else(|| Refusal::new("not a regular file"))?;
    let found = as_account(&rights.target, || {
        refuse_pseudo(directory.as_fd())?;
        let found = file(directory.as_fd(), &name, rights)?;
        // Replaced by a rename: the directory must let the target do that.
        match faccessat(&directory, c".", AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::AT_EACCESS) {
            Ok(()) => Ok(found),
            Err(errno) => Err(Refusal::new(format!("cannot write to its directory: {}", errno.desc()))),
        }
    })?;
    Ok(Place { directory, name, found })
}

/// Does something with the ids of an account; the words of a failure are those of `work`.
pub(super) fn as_account<T>(account: &Account, work: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    acting_as(account, || Ok(work())).map_err(|error| Refusal::of(&error))?
}

fn components(path: &[u8]) -> Result<(Vec<CString>, CString), Refusal> {
    let odd = || Refusal::new("only an absolute path without `.`, `..` and empty parts can be edited");
    let mut parts = path.split(|byte| *byte == b'/');
    if parts.next() != Some(b"") {
        return Err(odd());
    }
    let mut all = Vec::new();
    for part in parts {
        if matches!(part, b"" | b"." | b"..") {
            return Err(odd());
        }
        all.push(CString::new(part).map_err(|_| odd())?);
    }
    let name = all.pop().ok_or_else(odd)?;
    Ok((all, name))
}

/// Every directory on the way, `/` first.
fn walk(names: &[CString]) -> Result<Vec<OwnedFd>, Refusal> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut walked = vec![openat(AT_FDCWD, c"/", flags, Mode::empty())?];
    for name in names {
        let Some(at) = walked.last() else { break };
        let next = step(at.as_fd(), name, flags).map_err(|errno| match errno {
            Errno::ELOOP => link(),
            Errno::ENOTDIR if is_link(at.as_fd(), name) => link(),
            other => other.into(),
        })?;
        walked.push(next);
    }
    Ok(walked)
}

fn link() -> Refusal {
    Refusal::new("editing through symbolic links is not permitted")
        .with_hint("name the file by its real path: realpath(1)")
}

fn is_link(at: BorrowedFd<'_>, name: &CString) -> bool {
    step(at, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .and_then(|one| fstat(&one))
        .is_ok_and(|stat| kind(&stat) == SFlag::S_IFLNK)
}

fn step(at: BorrowedFd<'_>, name: &CString, flags: OFlag) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_BENEATH;
    openat2(at, name.as_c_str(), OpenHow::new().flags(flags).resolve(resolve))
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// As the requester: who owns a directory, or may write to it, could put another file there. A sticky bit changes nothing about new names.
fn refuse_writable(requester: &Account, walked: &[OwnedFd]) -> Result<(), Refusal> {
    for directory in walked {
        let owned = fstat(directory)?.st_uid == requester.uid;
        if owned || faccessat(directory, c".", AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok() {
            return Err(Refusal::new("editing files in a writable directory is not permitted"));
        }
    }
    Ok(())
}

/// File systems whose files are the kernel's own: what is written there acts, and nothing there can be replaced.
const PSEUDO: [i64; 14] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0xcafe_4a11, // bpf
    0x6265_6570, // configfs
    0xde5e_81e4, // efivarfs
    0x6165_676c, // pstore
    0xf97c_ff8c, // selinuxfs
    0x4249_4e4d, // binfmt_misc
    0x1980_0202, // mqueue
];

fn refuse_pseudo(directory: BorrowedFd<'_>) -> Result<(), Refusal> {
    let FsType(magic) = fstatfs(directory)?.filesystem_type();
    if PSEUDO.contains(&magic) {
        Err(Refusal::new("it is a file of the kernel's and cannot be replaced"))
    } else {
        Ok(())
    }
}

/// As the target: the file, seen before it is opened.
fn file(directory: BorrowedFd<'_>, name: &CString, rights: &Rights) -> Result<Option<(OwnedFd, Seen)>, Refusal> {
    let path_only = match step(directory, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC) {
        Ok(found) => found,
        Err(Errno::ENOENT) if rights.create => return Ok(None),
        Err(Errno::ENOENT) => {
            return Err(Refusal::from(Errno::ENOENT)
                .with_hint("your role edits files that exist; with `create` it would make new ones"));
        }
        Err(errno) => return Err(errno.into()),
    };
    let before = fstat(&path_only)?;
    match kind(&before) {
        SFlag::S_IFREG => {}
        SFlag::S_IFLNK => return Err(Refusal::new("editing symbolic links is not permitted")),
        _ => return Err(Refusal::new("not a regular file")),
    }
    if before.st_nlink != 1 {
        return Err(Refusal::new("editing files with several names (hard links) is not permitted"));
    }
    let (place, around) = (files::place(path_only.as_fd()), files::place(directory));
    if place.map(|place| place.mount).ok() != around.map(|place| place.mount).ok() {
        return Err(Refusal::new("it is a mount point and cannot be replaced"));
    }
    if rights.target.uid != 0 && before.st_uid != rights.target.uid {
        let words = "it belongs to another account, whose file could not be kept as it is";
        return Err(Refusal::new(words).with_hint("edit it as its owner: -u"));
    }
    faccessat(directory, name.as_c_str(), AccessFlags::W_OK, AtFlags::AT_EACCESS | AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let opened = step(directory, name, flags)?;
    let stat = fstat(&opened)?;
    if (stat.st_dev, stat.st_ino) != (before.st_dev, before.st_ino) {
        return Err(Refusal::new("it was replaced at this moment"));
    }
    if lends_rights(opened.as_fd(), &stat)? {
        return Err(Refusal::new("it lends rights to whoever runs it, which other content would get")
            .with_hint("take them away first: chmod u-s,g-s, setcap -r"));
    }
    Ok(Some((opened, Seen::of(&stat))))
}

/// Set-user-ID, set-group-ID or file capabilities (capabilities(7)).
fn lends_rights(file: BorrowedFd<'_>, stat: &FileStat) -> Result<bool, Refusal> {
    let set_id = Mode::S_ISUID | Mode::S_ISGID;
    let all = attributes::of(file).map_err(|error| Refusal::of(&error))?;
    Ok(Mode::from_bits_truncate(stat.st_mode).intersects(set_id)
        || all.iter().any(|one| one.name.to_bytes() == CAPABILITIES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::{Path, PathBuf};

    fn rights(requester: Option<u32>, create: bool) -> Rights {
        let account = |uid| Account { uid, gid: uid, groups: vec![uid] };
        Rights { target: account(0), requester: requester.map(account), create, umask: 0o022 }
    }

    /// Below / itself: /tmp can be written by everybody.
    fn folder(name: &str) -> PathBuf {
        let path = PathBuf::from(format!("/jitsudo-edit-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        path
    }

    /// Ids are a thread's own: each look has a thread.
    fn look(path: &Path, rights: &Rights) -> Result<Place, String> {
        let (path, rights) = (path.as_os_str().as_bytes().to_vec(), rights.clone());
        std::thread::spawn(move || open(&path, &rights)).join().unwrap().map_err(|refusal| refusal.words)
    }

    fn is_root() -> bool {
        jitsudo_sys::nix::unistd::getuid().is_root()
    }

    #[test]
    fn odd_spellings_are_refused() {
        for path in ["", "etc/motd", "/etc/../etc/motd", "/etc//motd", "/etc/./motd", "/etc/motd/", "/", "/etc/mo\0td"]
        {
            assert!(components(path.as_bytes()).is_err(), "{path:?}");
        }
        let (directories, name) = components(b"/etc/\xff").unwrap();
        assert_eq!((directories.len(), name.as_bytes()), (1, &b"\xff"[..]));
    }

    #[test]
    fn link_on_the_way_is_refused() {
        if !is_root() {
            return;
        }
        let folder = folder("link");
        std::fs::create_dir(folder.join("real")).unwrap();
        std::fs::write(folder.join("real/file"), "x").unwrap();
        symlink("real", folder.join("dir")).unwrap();
        symlink("real/file", folder.join("file")).unwrap();
        let look = |name: &str| look(&folder.join(name), &rights(None, true));
        assert!(look("real/file").unwrap().found.is_some());
        assert_eq!(look("dir/file").unwrap_err(), "editing through symbolic links is not permitted");
        assert_eq!(look("file").unwrap_err(), "editing symbolic links is not permitted");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn only_a_regular_file_with_one_name_is_opened() {
        if !is_root() {
            return;
        }
        let folder = folder("kind");
        let fifo = CString::new(folder.join("fifo").as_os_str().as_bytes()).unwrap();
        jitsudo_sys::nix::unistd::mkfifo(fifo.as_c_str(), Mode::S_IRWXU).unwrap();
        std::fs::write(folder.join("one"), "x").unwrap();
        std::fs::hard_link(folder.join("one"), folder.join("two")).unwrap();
        let existing = rights(None, false);
        assert_eq!(look(&folder.join("fifo"), &existing).unwrap_err(), "not a regular file");
        assert_eq!(look(&folder, &existing).unwrap_err(), "not a regular file");
        assert_eq!(look(Path::new("/dev/null"), &existing).unwrap_err(), "not a regular file");
        assert!(look(&folder.join("one"), &existing).unwrap_err().contains("hard links"));
        std::fs::remove_file(folder.join("two")).unwrap();
        look(&folder.join("one"), &existing).unwrap();
        assert_eq!(look(&folder.join("new"), &existing).unwrap_err(), "No such file or directory");
        assert!(look(&folder.join("new"), &rights(None, true)).unwrap().found.is_none());
        assert!(look(Path::new("/proc/sys/kernel/hostname"), &existing).unwrap_err().contains("kernel"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn edit_mode_05_file_that_lends_rights_is_not_edited() {
        if !is_root() {
            return;
        }
        let folder = folder("lends");
        let path = folder.join("tool");
        let fresh = |mode| {
            let _ = std::fs::remove_file(&path);
            std::fs::write(&path, "old").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for (mode, edited) in [(0o755, true), (0o1755, true), (0o4755, false), (0o2755, false), (0o4644, false)] {
            fresh(mode);
            let found = look(&path, &rights(None, false));
            assert_eq!(found.is_ok(), edited, "{mode:o}");
            assert!(found.err().is_none_or(|words| words.contains("lends rights")), "{mode:o}");
        }
        fresh(0o755);
        // Revision 2, effective, cap_net_bind_service (10) permitted.
        let mut value = vec![1, 0, 0, 2, 0, 4, 0, 0];
        value.resize(20, 0);
        let capability = attributes::Attribute { name: c"security.capability".into(), value };
        attributes::set(std::fs::File::open(&path).unwrap().as_fd(), &capability).unwrap();
        assert!(look(&path, &rights(None, false)).unwrap_err().contains("lends rights"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn fs_race_07_directory_that_the_requester_can_write_is_refused() {
        if !is_root() {
            return;
        }
        let folder = folder("writable");
        std::fs::create_dir(folder.join("sub")).unwrap();
        std::fs::write(folder.join("sub/file"), "x").unwrap();
        let mode = |mode| std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
        let alice = rights(Some(60_001), false);
        look(&folder.join("sub/file"), &alice).unwrap();
        for writable in [0o777, 0o1777] {
            mode(writable);
            assert!(look(&folder.join("sub/file"), &alice).unwrap_err().contains("writable directory"), "{writable:o}");
        }
        mode(0o755);
        std::os::unix::fs::chown(&folder, Some(60_001), None).unwrap();
        mode(0o555);
        assert!(look(&folder.join("sub/file"), &alice).unwrap_err().contains("writable directory"), "owned");
        look(&folder.join("sub/file"), &rights(None, false)).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
