//! What a grant may have left: a picture of the host from before it, compared with the host after it, and one event about that.
//!
//! It is what reached another manager than jitsudo (at, cron, systemd, containers) or outlives any process (setuid files, keys,
//! accounts). Whoever did it: a package manager of somebody else's in between is in the list too, and nothing here is proof.
//!
//! MUSTs
//! 1. Nothing is changed, entered over the network, or followed by a link (`links_and_foreign_file_systems_are_not_entered`).
//! 2. Files, time and what is told are bounded, and a bound that was met is said (`bounds_are_said`).
//! 3. What another live grant lends is not residue (`what_a_live_grant_lends_is_no_residue`).
//! 4. An event is written once for an access, however often this is begun (`spool` name).

mod accounts;
mod compare;
mod mounts;
mod picture;
mod places;
mod running;
mod setid;

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use jitsudo_core::Timestamp;
use jitsudo_core::event::{Actor, Entry, Event};
use jitsudo_core::id::AccessId;
use jitsudo_core::lends::Effect;
use jitsudo_core::residue::{Change, Item, Kind};
use jitsudo_link::notes::Notes;
use jitsudo_link::spawner::{LookedBack, Pictured};
use jitsudo_link::{BEFORE, SPOOL};
use jitsudo_sys::{clock, limits, trusted};

use accounts::Members;
use picture::Picture;

/// Largest picture, bytes.
const MAX_PICTURE_BYTES: u64 = 16 << 20;
/// Most items of one event.
const MAX_ITEMS: usize = 100;
/// Milliseconds for files with setuid and setgid.
const SETID_MS: u64 = 20_000;
/// Most files looked at for that.
const MAX_FILES: u64 = 3_000_000;

/// Takes a picture for these accesses, which begin about now.
pub(crate) fn before(ids: &[AccessId], since: (Timestamp, u64)) -> Pictured {
    let picture = Picture::take(Path::new("/"), since);
    match keep(Path::new(BEFORE), ids, &picture) {
        Ok(()) => Pictured::Done,
        Err(error) => Pictured::Failed(format!("cannot keep a picture of the host in {BEFORE}: {error}")),
    }
}

/// One file with a name for each.
fn keep(folder: &Path, ids: &[AccessId], picture: &Picture) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let fresh = folder.join(format!(".{}", std::process::id()));
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(&serde_json::to_vec(picture)?)?;
    let linked = ids.iter().try_for_each(|id| match fs::hard_link(&fresh, folder.join(id.as_str())) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    fs::remove_file(&fresh)?;
    linked
}

/// Compares the host with these accesses' pictures, writes what is to be told into the spool, and forgets the pictures.
pub(crate) fn after(host: &str, ids: &[AccessId]) -> LookedBack {
    // Nobody waits for it, and others may.
    let _ = limits::set_nice(19);
    let folder = Path::new(BEFORE);
    let pictures: Vec<(&AccessId, Result<Picture, String>)> = ids.iter().map(|id| (id, read(folder, id))).collect();
    let known = pictures.iter().filter_map(|(_, picture)| picture.as_ref().ok());
    let now = Picture::take(Path::new("/"), moment());
    let earliest = known.map(|picture| picture.since_ns(&now)).min();
    let setid = earliest.map(|since| setid::changed_since(&mounts::local(), since, SETID_MS, MAX_FILES));
    let (files, remark) = setid.unwrap_or_default();
    let lent = lent();
    let mut recorded = 0;
    for (id, picture) in pictures {
        let event = match picture {
            Ok(before) => {
                let mut items = compare::compare(&before, &now, &lent);
                items.extend(setid::since(&files, before.since_ns(&now)));
                event(id, items, remark.clone())
            }
            Err(why) => event(id, vec![unknown(why)], remark.clone()),
        };
        match event.map_or(Ok(false), |event| record(host, id, event).map(|()| true)) {
            Ok(told) => recorded += u32::from(told),
            // It is looked at again by the next spawner.
            Err(error) => return LookedBack::Failed(format!("cannot record what {id} may have left: {error}")),
        }
        // One that stays is looked at once more, and told once.
        let _ = fs::remove_file(folder.join(id.as_str()));
    }
    LookedBack::Done { recorded }
}

fn moment() -> (Timestamp, u64) {
    let moment = clock::now();
    (Timestamp::from_nanosecond(moment.wall_ns).unwrap_or(Timestamp::UNIX_EPOCH), moment.boottime_ms)
}

fn read(folder: &Path, id: &AccessId) -> Result<Picture, String> {
    let bytes = trusted::read(&folder.join(id.as_str()), MAX_PICTURE_BYTES).map_err(|error| error.to_string())?;
    let bytes = bytes.ok_or("there is no picture of it from before")?;
    serde_json::from_slice(&bytes).map_err(|error| format!("its picture cannot be read: {error}"))
}

/// Entries of the group file that live grants own.
fn lent() -> Members {
    let notes = Notes::default().read_all().notes;
    let ours = notes.iter().flat_map(|note| note.effects.iter().map(move |noted| (note, noted)));
    ours.filter_map(|(note, noted)| match &noted.effect {
        Effect::Membership(group) if noted.ours => Some((group.clone(), note.user.clone())),
        Effect::Membership(_) | Effect::Sudoers(_) | Effect::Login(_) => None,
    })
    .collect()
}

/// Somebody has to look all the more.
fn unknown(why: String) -> Item {
    let name = "the host could not be compared with what it was".into();
    Item { kind: Kind::Other, change: Change::Changed, name, detail: Some(why), at: None }
}

/// None when there is nothing to tell.
fn event(id: &AccessId, mut items: Vec<Item>, remark: Option<String>) -> Option<Event> {
    items.sort();
    items.dedup();
    let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
    items.truncate(MAX_ITEMS);
    (count > 0 || remark.is_some()).then(|| Event::Residue { id: id.clone(), items, count, remark })
}

fn record(host: &str, id: &AccessId, event: Event) -> io::Result<()> {
    let (wall, boottime_ms) = moment();
    let entry = Entry {
        host: host.to_owned(),
        boot: clock::boot_id().unwrap_or_default(),
        wall,
        boottime_ms,
        actor: Actor { program: "jitsudo-effects".to_owned(), uid: None, name: None },
        spool: None,
        late: false,
        event,
    };
    match jitsudo_ledger::spool::write(Path::new(SPOOL), &format!("residue.{id}"), &serde_json::to_string(&entry)?) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
