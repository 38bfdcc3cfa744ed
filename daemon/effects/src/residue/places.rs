//! Files that give rights or start programs by themselves: where they are, and what counts of them.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jitsudo_bytes::Bytes;
use jitsudo_core::residue::Kind;
use serde::{Deserialize, Serialize};

use super::mounts;

/// Most files of one place.
const MAX_FILES: usize = 5_000;
/// Most homes that are looked into.
const MAX_HOMES: usize = 5_000;

/// What counts of a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) kind: Kind,
    pub(super) inode: u64,
    pub(super) bytes: u64,
    pub(super) ctime_ns: i64,
    pub(super) mode: u32,
    pub(super) uid: u32,
}

/// By path.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(from = "Vec<(Bytes, Seen)>", into = "Vec<(Bytes, Seen)>")]
pub(super) struct Files(pub(super) BTreeMap<Vec<u8>, Seen>);

impl From<Vec<(Bytes, Seen)>> for Files {
    fn from(list: Vec<(Bytes, Seen)>) -> Self {
        Self(list.into_iter().map(|(path, seen)| (path.0, seen)).collect())
    }
}

impl From<Files> for Vec<(Bytes, Seen)> {
    fn from(files: Files) -> Self {
        files.0.into_iter().map(|(path, seen)| (Bytes(path), seen)).collect()
    }
}

/// Single files and folders, and how deep the folders are looked into.
const PLACES: &[(Kind, &str, u32)] = &[
    (Kind::Sudoers, "etc/sudoers", 0),
    (Kind::Sudoers, "etc/sudoers.d", 1),
    (Kind::Unit, "etc/systemd/system", 2),
    (Kind::Unit, "etc/systemd/user", 2),
    (Kind::Unit, "run/systemd/system", 2),
    (Kind::Unit, "run/systemd/transient", 1),
    (Kind::Unit, "usr/local/lib/systemd/system", 2),
    (Kind::Unit, "usr/lib/systemd/system", 1),
    (Kind::Unit, "etc/init.d", 1),
    (Kind::Unit, "etc/rc.local", 0),
    (Kind::Cron, "etc/crontab", 0),
    (Kind::Cron, "etc/anacrontab", 0),
    (Kind::Cron, "etc/cron.d", 1),
    (Kind::Cron, "etc/cron.hourly", 1),
    (Kind::Cron, "etc/cron.daily", 1),
    (Kind::Cron, "etc/cron.weekly", 1),
    (Kind::Cron, "etc/cron.monthly", 1),
    (Kind::Cron, "var/spool/cron/crontabs", 1),
    (Kind::Cron, "var/spool/cron", 1),
    (Kind::At, "var/spool/cron/atjobs", 1),
    (Kind::At, "var/spool/at", 1),
];

/// The same below a home directory.
const PLACES_OF_HOME: &[(Kind, &str, u32)] = &[
    (Kind::AuthorizedKeys, ".ssh/authorized_keys", 0),
    (Kind::AuthorizedKeys, ".ssh/authorized_keys2", 0),
    (Kind::Unit, ".config/systemd/user", 2),
];

/// All of them. Homes on another host, or that are mounted when they are looked at, are not entered.
pub(super) fn files(root: &Path, homes: &BTreeMap<PathBuf, String>) -> Files {
    let mut files = Files::default();
    for (kind, place, depth) in PLACES {
        look(&mut files, *kind, &root.join(place), *depth);
    }
    let foreign = mounts::foreign();
    let is_local = |home: &&PathBuf| !foreign.iter().any(|mount| home.starts_with(mount));
    for home in homes.keys().filter(is_local).take(MAX_HOMES) {
        let home = root.join(home.strip_prefix("/").unwrap_or(home));
        for (kind, place, depth) in PLACES_OF_HOME {
            look(&mut files, *kind, &home.join(place), *depth);
        }
    }
    files
}

fn look(files: &mut Files, kind: Kind, path: &Path, depth: u32) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    if !metadata.is_dir() {
        if !metadata.is_char_device() {
            files.0.insert(path.as_os_str().as_bytes().to_vec(), seen(kind, &metadata));
        }
        return;
    }
    if depth == 0 {
        return;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten().take(MAX_FILES);
    for name in entries.map(|entry| entry.file_name()) {
        // at counts in a file with a dot, and editors keep theirs there; sessions of logins are logind's.
        let passing = kind == Kind::Unit
            && [&b"session-"[..], b"user-", b"user@"].iter().any(|one| name.as_bytes().starts_with(one));
        if !passing && (kind == Kind::AuthorizedKeys || !name.as_bytes().starts_with(b".")) {
            look(files, kind, &path.join(std::ffi::OsString::from_vec(name.into_vec())), depth - 1);
        }
    }
}

trait Device {
    fn is_char_device(&self) -> bool;
}

impl Device for Metadata {
    /// systemd masks a unit by such a link's target; a device itself starts nothing.
    fn is_char_device(&self) -> bool {
        use std::os::unix::fs::FileTypeExt as _;
        self.file_type().is_char_device()
    }
}

fn seen(kind: Kind, metadata: &Metadata) -> Seen {
    Seen {
        kind,
        inode: metadata.ino(),
        bytes: metadata.len(),
        ctime_ns: metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec()),
        mode: metadata.mode(),
        uid: metadata.uid(),
    }
}
