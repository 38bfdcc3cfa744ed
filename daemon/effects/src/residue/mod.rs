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
mod kept;
mod mounts;
mod picture;
mod places;
mod running;
mod setid;

use std::io;
use std::path::Path;

use jitsudo_core::event::{Actor, Entry, Event};
use jitsudo_core::id::AccessId;
use jitsudo_core::lends::Effect;
use jitsudo_core::residue::{Change, Item, Kind};
use jitsudo_core::{SignedDuration, Timestamp};
use jitsudo_link::notes::Notes;
use jitsudo_link::spawner::{LookedBack, Over, Pictured};
use jitsudo_link::{BEFORE, SPOOL};
use jitsudo_sys::{clock, limits};

use accounts::Members;
use picture::{Picture, Since};

/// What another process wrote a moment later may be by the grant's word; and clocks are stepped.
const LATE: SignedDuration = SignedDuration::from_secs(2);
/// Most items of one event.
const MAX_ITEMS: usize = 100;
/// Milliseconds for files with setuid and setgid.
const SETID_MS: u64 = 20_000;
/// Most files looked at for that.
const MAX_FILES: u64 = 3_000_000;

/// Takes a picture for these accesses, which begin about now.
pub(crate) fn before(ids: &[AccessId], since: (Timestamp, u64)) -> Pictured {
    let since = Since { wall_ns: since.0.as_nanosecond(), boottime_ms: since.1 };
    match kept::keep(Path::new(BEFORE), ids, since, &Picture::take(Path::new("/"))) {
        Ok(()) => Pictured::Done,
        Err(error) => Pictured::Failed(format!("cannot keep a picture of the host in {BEFORE}: {error}")),
    }
}

/// Compares the host with these accesses' pictures, writes what is to be told into the spool, and forgets the pictures.
pub(crate) fn after(host: &str, over: &[Over], forget: &[AccessId]) -> LookedBack {
    // Nobody waits for it, and others may.
    let _ = limits::set_nice(19);
    let folder = Path::new(BEFORE);
    let kept = kept::names(folder);
    let (wall, boottime_ms) = moment();
    let now = Since { wall_ns: wall.as_nanosecond(), boottime_ms };
    let is = Picture::take(Path::new("/"));
    let earliest = over.iter().filter_map(|over| kept.get(&over.id)).map(|kept| kept.since.by_files(now)).min();
    let setid = earliest.map(|since| setid::changed_since(&mounts::local(), since, SETID_MS, MAX_FILES));
    let (files, remark) = setid.unwrap_or_default();
    let lent = lent();
    let mut recorded = 0;
    for Over { id, closed } in over {
        let before = kept.get(id).ok_or_else(|| "there is no picture of it from before".to_owned());
        let items = match before.and_then(|kept| Ok((kept.since, kept.read(folder)?))) {
            Ok((since, before)) => {
                let mut items = compare::compare(&before, &is, &lent);
                items.extend(setid::since(&files, since.by_files(now)));
                items.retain(|item| !is_later(item, *closed));
                items
            }
            Err(why) => vec![unknown(why)],
        };
        match event(id, items, remark.clone()).map_or(Ok(false), |event| record(host, id, event).map(|()| true)) {
            Ok(told) => recorded += u32::from(told),
            // It is looked at again by the next spawner.
            Err(error) => return LookedBack::Failed(format!("cannot record what {id} may have left: {error}")),
        }
        if let Some(kept) = kept.get(id) {
            kept.forget(folder);
        }
    }
    forget.iter().filter_map(|id| kept.get(id)).for_each(|kept| kept.forget(folder));
    kept::tidy(folder);
    LookedBack::Done { recorded }
}

fn moment() -> (Timestamp, u64) {
    let moment = clock::now();
    (Timestamp::from_nanosecond(moment.wall_ns).unwrap_or(Timestamp::UNIX_EPOCH), moment.boottime_ms)
}

/// Entries of the group file that live grants own.
fn lent() -> Members {
    let notes = Notes::default().read_all().notes;
    let ours = notes.iter().flat_map(|note| note.effects.iter().map(move |noted| (note, noted)));
    ours.filter_map(|(note, noted)| match &noted.effect {
        Effect::Membership(group) if noted.ours => Some((group.clone(), note.user.clone())),
        Effect::Membership(_) | Effect::Sudoers(_) | Effect::SudoersWithoutEnd(_) | Effect::Login(_) => None,
    })
    .collect()
}

/// Changed when nothing of the grant was there any more.
fn is_later(item: &Item, closed: Option<Timestamp>) -> bool {
    item.at.zip(closed).is_some_and(|(at, closed)| at.duration_since(closed) > LATE)
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
    let written =
        jitsudo_ledger::spool::write(Path::new(SPOOL), &format!("residue.{id}"), &serde_json::to_string(&entry)?);
    jitsudo_sys::failpoint::reach("effects.residue.recorded");
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
