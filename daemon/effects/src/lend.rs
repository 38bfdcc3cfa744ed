//! Makes one change to the host for a role grant, and takes it back.
//!
//! MUSTs
//! 1. The note says that the change is ours before it is made, on disk where a reboot does not clear it (`note`, host tests).
//! 2. What the host had before is not ours and stays; what another live grant owns too stays for that one (`group_grant_02_*`).
//! 3. A change that cannot be read back is taken back at once, and the answer is no.
//! 4. Taking back waits for no record and, past a bound, for no lock.

use std::time::Duration;

use jitsudo_core::Timestamp;
use jitsudo_core::lends::Effect;
use jitsudo_core::name::Gid;
use jitsudo_link::notes::{Locked, Note, Noted, Notes};
use jitsudo_link::spawner::{Lent, TakenBack};
use jitsudo_sys::clock;

use crate::{membership, sudoers};

/// How long an order waits for the one before it. A tool that was orphaned holds the lock for 15 s at most: shadow's own patience.
const LOCK_PATIENCE: Duration = Duration::from_secs(17);

/// What the host looks like before an effect.
pub(crate) struct Before {
    /// It has to be made, or is there only by another grant of the same requester.
    pub(crate) ours: bool,
    /// Nothing has to be done for it.
    pub(crate) is_there: bool,
    /// The group's id, where it is about a group.
    pub(crate) gid: Option<Gid>,
}

/// What was taken back.
pub(crate) struct Removed {
    pub(crate) removed: bool,
    pub(crate) remark: Option<String>,
}

/// Makes the change.
pub(crate) fn apply(notes: &Notes, note: Note, effect: &Effect) -> Lent {
    match try_to_apply(notes, note, effect) {
        Ok(ours) => Lent::Done { ours },
        Err(cause) => Lent::Failed(cause),
    }
}

/// Takes it back.
pub(crate) fn undo(notes: &Notes, note: Note, effect: &Effect) -> TakenBack {
    match try_to_undo(notes, note, effect) {
        Ok(Removed { removed, remark }) => TakenBack::Done { removed, remark },
        Err(cause) => TakenBack::Failed(cause),
    }
}

fn try_to_apply(notes: &Notes, note: Note, effect: &Effect) -> Result<bool, String> {
    let lock = match effect {
        Effect::Membership(_) => Some(locked(notes)?),
        Effect::Sudoers(_) | Effect::Login(_) => None,
    };
    let all = notes.read_all().notes;
    let mut note = with_what_is_noted(note, &all);
    let before = match effect {
        Effect::Membership(group) => membership::look(&note, group, &all)?,
        Effect::Sudoers(_) => Before { ours: true, is_there: false, gid: None },
        Effect::Login(_) => return Err(format!("cannot lend {effect}: not supported yet")),
    };
    let noted = |applied| Noted { effect: effect.clone(), gid: before.gid, ours: before.ours, applied };
    note.set(noted(false));
    notes.write(&note).map_err(|error| format!("cannot note {effect} before it is lent: {error}"))?;
    jitsudo_sys::failpoint::reach("effects.noted");
    let made = match effect {
        Effect::Membership(_) if before.is_there => Ok(()),
        Effect::Membership(group) => membership::add(&note, group, lock.as_ref()),
        Effect::Sudoers(lines) => sudoers::put(&note, lines),
        Effect::Login(_) => Ok(()),
    };
    jitsudo_sys::failpoint::reach("effects.made");
    note.set(noted(true));
    let made = made.and_then(|()| notes.write(&note).map_err(|error| format!("cannot note {effect}: {error}")));
    match made {
        Ok(()) => {
            jitsudo_sys::failpoint::reach("effects.lent");
            Ok(before.ours)
        }
        Err(cause) => {
            // `undo` takes the lock itself.
            drop(lock);
            match try_to_undo(notes, note, effect) {
                Ok(_) => Err(cause),
                Err(left) => Err(format!("{cause}; and it cannot be taken back: {left}")),
            }
        }
    }
}

fn locked(notes: &Notes) -> Result<Locked, String> {
    let lock = notes.lock(LOCK_PATIENCE).map_err(|error| format!("cannot lock {}: {error}", notes.ends.display()))?;
    lock.ok_or_else(|| "another change to the host's groups takes too long: try again".to_owned())
}

fn try_to_undo(notes: &Notes, note: Note, effect: &Effect) -> Result<Removed, String> {
    // A drop-in is its grant's alone: it waits for nobody.
    let dropped = match effect {
        Effect::Sudoers(_) => Some(sudoers::remove(&note)?),
        Effect::Membership(_) | Effect::Login(_) => None,
    };
    // Without the lock only the ownership could be judged wrongly, and in the direction of taking away.
    let lock = notes.lock(LOCK_PATIENCE).ok().flatten();
    let all = notes.read_all().notes;
    let is_noted = all.iter().any(|one| one.id == note.id);
    let mut note = with_what_is_noted(note, &all);
    let nothing = Removed { removed: false, remark: None };
    let removed = match (dropped, effect, note.noted(effect)) {
        (Some(dropped), _, _) => dropped,
        (None, Effect::Membership(group), Some(noted)) if noted.ours => match other_owner(&note, noted, &all) {
            Some(other) => Removed { removed: false, remark: Some(format!("{} still has it", other.id)) },
            None => membership::remove(&note, group, noted.gid, lock.as_ref())?,
        },
        // Not noted, or the host had it before.
        (None, Effect::Membership(_) | Effect::Sudoers(_) | Effect::Login(_), _) => nothing,
    };
    jitsudo_sys::failpoint::reach("effects.unmade");
    note.forget(effect);
    if is_noted {
        notes.write(&note).map_err(|error| format!("{effect} is taken back, but cannot be struck out: {error}"))?;
    }
    jitsudo_sys::failpoint::reach("effects.forgotten");
    Ok(removed)
}

/// The order's note, with what was noted of effects that it does not name: the files know best.
fn with_what_is_noted(mut note: Note, all: &[Note]) -> Note {
    let stored = all.iter().find(|one| one.id == note.id);
    for noted in stored.into_iter().flat_map(|stored| &stored.effects) {
        if !note.noted(&noted.effect).is_some_and(|known| known.ours) {
            note.set(noted.clone());
        }
    }
    note
}

/// A grant of the same requester that has the same effect and is not over.
fn other_owner<'a>(note: &Note, noted: &Noted, all: &'a [Note]) -> Option<&'a Note> {
    let moment = clock::now();
    let wall = Timestamp::from_nanosecond(moment.wall_ns).unwrap_or(Timestamp::MAX);
    let boot = clock::boot_id().unwrap_or_default();
    all.iter().find(|other| {
        other.id != note.id
            && other.uid == note.uid
            && !other.is_over(wall, moment.boottime_ms, &boot)
            && owns(other, &noted.effect, noted.gid)
    })
}

/// True when any grant of this requester, over or not, says that the entry is its own.
pub(crate) fn is_lent_already(note: &Note, effect: &Effect, gid: Gid, all: &[Note]) -> bool {
    all.iter().any(|one| one.uid == note.uid && owns(one, effect, Some(gid)))
}

/// By the effect, or by the group's id: a group may have had another name when the other grant began.
fn owns(note: &Note, effect: &Effect, gid: Option<Gid>) -> bool {
    let is_same = |noted: &Noted| noted.effect == *effect || (gid.is_some() && noted.gid == gid);
    note.effects.iter().any(|noted| noted.ours && is_same(noted))
}

/// The lock's file for a tool to hold: if this worker is killed, the next one waits until the tool has ended.
pub(crate) fn held_by_tool(lock: Option<&Locked>) -> std::process::Stdio {
    lock.and_then(|lock| lock.0.try_clone().ok()).map_or_else(std::process::Stdio::null, std::process::Stdio::from)
}
