//! Pictures on disk: one file for all grants that began on a host that looked the same, and a name of it for each grant that says since when.
//!
//! A host with very many grants keeps few pictures: most look the same. The count of names is the kernel's own, of hard links.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use jitsudo_core::id::AccessId;
use jitsudo_protocol::digest;
use jitsudo_sys::trusted;

use super::picture::{Picture, Since};

/// Largest picture, bytes.
const MAX_PICTURE_BYTES: u64 = 16 << 20;
/// How often a picture is written for one grant.
const TRIES: u32 = 8;
/// In front of the name that a picture has beside those of its grants.
const PICTURE: &str = "picture.";

/// A grant's picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Kept {
    pub(super) since: Since,
    name: String,
}

/// Keeps a picture for these.
pub(super) fn keep(folder: &Path, ids: &[AccessId], since: Since, picture: &Picture) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let json = serde_json::to_vec(picture)?;
    let whole = folder.join(format!("{PICTURE}{}", digest::of_bytes(&json)));
    for id in ids {
        let name = folder.join(format!("{id}.{}.{}", since.wall_ns, since.boottime_ms));
        let mut tries = TRIES;
        loop {
            tries -= 1;
            put(folder, &whole, &json)?;
            match fs::hard_link(&whole, &name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => break,
                // A comparison tidied meanwhile: nobody had it yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries > 0 => {}
                other => break other?,
            }
        }
    }
    Ok(())
}

/// Writes a picture where it is not there yet.
fn put(folder: &Path, whole: &Path, json: &[u8]) -> io::Result<()> {
    if whole.exists() {
        return Ok(());
    }
    let fresh = folder.join(format!(".{}", std::process::id()));
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(json)?;
    jitsudo_sys::failpoint::reach("effects.picture.written");
    fs::rename(&fresh, whole)?;
    jitsudo_sys::failpoint::reach("effects.picture.renamed");
    Ok(())
}

/// All that are kept.
pub(super) fn names(folder: &Path) -> BTreeMap<AccessId, Kept> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let kept = |name: std::ffi::OsString| {
        let name = name.into_string().ok()?;
        let mut parts = name.split('.');
        let id = parts.next()?.parse().ok()?;
        let since = Since { wall_ns: parts.next()?.parse().ok()?, boottime_ms: parts.next()?.parse().ok()? };
        Some((id, Kept { since, name }))
    };
    names.filter_map(kept).collect()
}

/// Removes pictures that no grant has any more.
pub(super) fn tidy(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_picture = entry.file_name().to_string_lossy().starts_with(PICTURE);
        if is_picture && entry.metadata().is_ok_and(|metadata| metadata.nlink() == 1) {
            // One that stays costs its few kilobytes until the next time.
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Kept {
    /// The picture; in words why not.
    pub(super) fn read(&self, folder: &Path) -> Result<Picture, String> {
        let bytes = trusted::read(&folder.join(&self.name), MAX_PICTURE_BYTES).map_err(|error| error.to_string())?;
        let bytes = bytes.ok_or("its picture is gone")?;
        serde_json::from_slice(&bytes).map_err(|error| format!("its picture cannot be read: {error}"))
    }

    /// Its grant was compared.
    pub(super) fn forget(&self, folder: &Path) {
        // One that stays is compared once more, and told once.
        let _ = fs::remove_file(folder.join(&self.name));
    }
}
