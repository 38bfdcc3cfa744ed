//! Files with set-user-ID or set-group-ID whose status changed since a moment: a walk over local file systems, bounded in files and time.

use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use jitsudo_bytes::Bytes;
use jitsudo_core::Timestamp;
use jitsudo_core::residue::{Change, Item, Kind};
use jitsudo_sys::clock;

use super::mounts::Local;

/// Looks at the clock after so many files.
const BETWEEN: u64 = 1024;
/// Most that are told.
const MAX_FOUND: usize = 1000;
const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;

/// One that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    path: PathBuf,
    mode: u32,
    uid: u32,
    gid: u32,
    ctime_ns: i128,
    born_ns: Option<i128>,
}

/// All whose status changed at or after a moment (nanoseconds), and in words what kept it from looking at everything.
pub(super) fn changed_since(local: &Local, since_ns: i128, within_ms: u64, most: u64) -> (Vec<Found>, Option<String>) {
    let until_ms = clock::boottime_ms().saturating_add(within_ms);
    let (mut found, mut looked) = (Vec::new(), 0_u64);
    let mut folders = local.roots.clone();
    while let Some(folder) = folders.pop() {
        // One that is gone, or may not be read, holds nothing for us.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            looked += 1;
            let is_late = looked % BETWEEN == 0 && clock::boottime_ms() >= until_ms;
            if is_late || looked > most || found.len() >= MAX_FOUND {
                let words = format!("not all files were looked at for setuid and setgid: {looked} were");
                return (found, Some(words));
            }
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                let path = entry.path();
                if !local.points.contains(&path) {
                    folders.push(path);
                }
            } else if kind.is_file()
                && let Ok(metadata) = entry.metadata()
                && metadata.mode() & (SETUID | SETGID) != 0
                && ctime_ns(&metadata) >= since_ns
            {
                found.push(one(entry.path(), &metadata));
            }
        }
    }
    (found, None)
}

fn ctime_ns(metadata: &Metadata) -> i128 {
    i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec())
}

fn one(path: PathBuf, metadata: &Metadata) -> Found {
    let born = metadata.created().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    Found {
        path,
        mode: metadata.mode(),
        uid: metadata.uid(),
        gid: metadata.gid(),
        ctime_ns: ctime_ns(metadata),
        born_ns: born.and_then(|born| i128::try_from(born.as_nanos()).ok()),
    }
}

/// Those that changed since another moment.
pub(super) fn since(found: &[Found], since_ns: i128) -> impl Iterator<Item = Item> {
    found.iter().filter(move |one| one.ctime_ns >= since_ns).map(move |one| {
        let of_user = (one.mode & SETUID != 0).then(|| format!("setuid, uid {}", one.uid));
        let of_group = (one.mode & SETGID != 0).then(|| format!("setgid, gid {}", one.gid));
        Item {
            kind: Kind::Setid,
            change: if one.born_ns.is_some_and(|born| born >= since_ns) { Change::New } else { Change::Changed },
            name: Bytes(one.path.clone().into_os_string().into_vec()),
            detail: Some([of_user, of_group].into_iter().flatten().collect::<Vec<_>>().join("; ")),
            at: Timestamp::from_nanosecond(one.ctime_ns).ok(),
        }
    })
}
