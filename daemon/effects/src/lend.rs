//! Makes one change to the host for a role grant, and takes it back.
//!
//! MUSTs
//! 1. The note says that the change is ours before it is made, on disk where a reboot does not clear it (`note`, host tests).
//! 2. What the host had before is not ours and stays; what another live grant owns too stays for that one (`group_grant_02_*`).
//! 3. A change that cannot be read back is taken back at once, and the answer is no.
//! 4. Taking back waits for no record and, past a bound, for no lock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jitsudo_core::Timestamp;
use jitsudo_core::id::AccessId;
use jitsudo_core::lends::Effect;
use jitsudo_core::name::{Gid, Uid};
use jitsudo_link::notes::{Locked, Note, Noted, Notes};
use jitsudo_link::spawner::{Lent, TakenBack, Undone};
use jitsudo_sys::clock;

use crate::group_lock;
use crate::membership::{self, Entry};
use crate::sudoers::{self, Lack};

/// How long an order waits for the one before it. A tool that was orphaned holds the lock for 15 s at most: shadow's own patience.
const LOCK_PATIENCE: Duration = Duration::from_millis(LOCK_PATIENCE_MS);
const LOCK_PATIENCE_MS: u64 = 17_000;

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
#[derive(Clone, Debug)]
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
        Effect::Sudoers(_) | Effect::SudoersWithoutEnd(_) | Effect::Login(_) => None,
    };
    let stored = notes.of(&note.id).ok().flatten();
    let mut note = with_what_is_noted(note, stored);
    let before = match effect {
        Effect::Membership(group) => membership::look(&note, group, &notes.read_lasting().notes)?,
        Effect::Sudoers(_) | Effect::SudoersWithoutEnd(_) => Before { ours: true, is_there: false, gid: None },
        Effect::Login(_) => return Err(format!("cannot lend {effect}: not supported yet")),
    };
    let noted = |applied| Noted { effect: effect.clone(), gid: before.gid, ours: before.ours, applied };
    note.set(noted(false));
    notes.write(&note).map_err(|error| format!("cannot note {effect} before it is lent: {error}"))?;
    jitsudo_sys::failpoint::reach_with("effects.noted", kind(effect));
    let made = match effect {
        Effect::Membership(_) if before.is_there => Ok(()),
        Effect::Membership(group) => membership::add(&note, group, lock.as_ref()),
        Effect::Sudoers(lines) => sudoers::put(&note, lines, Lack::IsRefused),
        Effect::SudoersWithoutEnd(lines) => sudoers::put(&note, lines, Lack::IsAccepted),
        Effect::Login(_) => Ok(()),
    };
    jitsudo_sys::failpoint::reach_with("effects.made", kind(effect));
    note.set(noted(true));
    let made = made.and_then(|()| notes.write(&note).map_err(|error| format!("cannot note {effect}: {error}")));
    match made {
        Ok(()) => {
            jitsudo_sys::failpoint::reach_with("effects.lent", kind(effect));
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

/// For points alone.
fn kind(effect: &Effect) -> &'static str {
    match effect {
        Effect::Membership(_) => "membership",
        Effect::Sudoers(_) | Effect::SudoersWithoutEnd(_) => "sudoers",
        Effect::Login(_) => "login",
    }
}

fn locked(notes: &Notes) -> Result<Locked, String> {
    let lock = notes.lock(LOCK_PATIENCE).map_err(|error| format!("cannot lock {}: {error}", notes.ends.display()))?;
    lock.ok_or_else(|| {
        let why = if group_lock::is_there() { group_lock::words() } else { "try again".to_owned() };
        format!("another change to the host's groups takes too long: {why}")
    })
}

fn try_to_undo(notes: &Notes, note: Note, effect: &Effect) -> Result<Removed, String> {
    let id = note.id.clone();
    // What another grant of it holds is judged by the files; a note that is nowhere is judged as it was given.
    let mut whole = with_what_is_noted(note, notes.of(&id).ok().flatten());
    if effect.sudoers_lines().is_some() && whole.noted(effect).is_none() {
        // A drop-in is its grant's alone: noted or not.
        whole.set(Noted { effect: effect.clone(), gid: None, ours: true, applied: false });
    }
    let mut outcome = None;
    undo_all(
        notes,
        vec![whole],
        |one| one == effect,
        LOCK_PATIENCE_MS,
        |undone| {
            outcome = undone.effects.into_iter().next();
        },
    );
    match outcome {
        // Nothing is noted of it.
        None => Ok(Removed { removed: false, remark: None }),
        Some((_, TakenBack::Done { removed, remark })) => Ok(Removed { removed, remark }),
        Some((_, TakenBack::Failed(cause))) => Err(cause),
    }
}

/// Takes back all that is noted of these grants.
pub(crate) fn undo_grants(notes: &Notes, ids: &[AccessId], patience_ms: u64, say: impl FnMut(Undone)) {
    let noted = ids.iter().filter_map(|id| notes.of(id).ok().flatten()).collect();
    undo_all(notes, noted, |_| true, patience_ms, say);
}

/// Takes back what is noted of these grants and meant: drop-ins first, which wait for nobody; then all memberships together. Whoever gave the
/// order may be slow to listen, so that nothing is said before all of it is done, or somebody else's lock has to be waited for.
fn undo_all(
    notes: &Notes,
    wanted: Vec<Note>,
    is_meant: impl Fn(&Effect) -> bool,
    patience_ms: u64,
    mut say: impl FnMut(Undone),
) {
    let (mut done, mut later) = (Vec::new(), Vec::new());
    for note in wanted {
        let mut effects = Vec::new();
        let meant: Vec<Noted> = note.effects.iter().filter(|noted| is_meant(&noted.effect)).cloned().collect();
        for noted in &meant {
            let taken = match &noted.effect {
                Effect::Sudoers(_) | Effect::SudoersWithoutEnd(_) => sudoers::remove(&note),
                // Nothing of the host: not lent by any version yet.
                Effect::Login(_) => Ok(Removed { removed: false, remark: None }),
                Effect::Membership(_) => continue,
            };
            effects.push((noted.effect.clone(), taken));
        }
        if meant.iter().any(|noted| matches!(noted.effect, Effect::Membership(_))) {
            later.push((note, meant, effects));
        } else {
            done.push((note, effects));
        }
    }
    let until_ms = clock::boottime_ms().saturating_add(patience_ms);
    let free = || notes.lock(Duration::ZERO).ok().flatten().filter(|_| !group_lock::is_there());
    let mut lock = if later.is_empty() { None } else { free() };
    let mut tell = |done: &mut Vec<(Note, Outcomes)>| {
        for (mut note, effects) in done.drain(..) {
            say(strike_out(notes, &mut note, effects));
        }
    };
    if lock.is_none() {
        tell(&mut done);
    }
    if later.is_empty() {
        return;
    }
    if lock.is_none() {
        // Without the lock only the ownership could be judged wrongly, and in the direction of taking away.
        lock = notes.lock(Duration::from_millis(until_ms.saturating_sub(clock::boottime_ms()))).ok().flatten();
    }
    let owners = Owners::of(notes);
    let ending: BTreeSet<AccessId> = later.iter().map(|(note, ..)| note.id.clone()).collect();
    let (mut entries, mut places) = (Vec::new(), Vec::new());
    for (place, (note, meant, effects)) in later.iter_mut().enumerate() {
        for noted in meant.iter() {
            let Effect::Membership(group) = &noted.effect else { continue };
            match noted.ours.then(|| owners.other(note, noted, &ending)) {
                // The host had it before.
                None => effects.push((noted.effect.clone(), Ok(Removed { removed: false, remark: None }))),
                Some(Some(other)) => {
                    let remark = Some(format!("{other} still has it"));
                    effects.push((noted.effect.clone(), Ok(Removed { removed: false, remark })));
                }
                Some(None) => {
                    entries.push(Entry::of(note, group, noted.gid));
                    places.push((place, noted.effect.clone()));
                }
            }
        }
    }
    let taken = membership::remove(&entries, lock.as_ref(), until_ms);
    for ((place, effect), taken) in places.into_iter().zip(taken) {
        if let Some((_, _, effects)) = later.get_mut(place) {
            effects.push((effect, taken));
        }
    }
    done.extend(later.into_iter().map(|(note, _, effects)| (note, effects)));
    tell(&mut done);
}

/// What came of each effect of a note.
type Outcomes = Vec<(Effect, Result<Removed, String>)>;

/// Strikes out of the note what is gone, where there is one.
fn strike_out(notes: &Notes, note: &mut Note, effects: Outcomes) -> Undone {
    let gone: Vec<Effect> =
        effects.iter().filter(|(_, taken)| taken.is_ok()).map(|(effect, _)| effect.clone()).collect();
    jitsudo_sys::failpoint::reach("effects.unmade");
    let struck = match notes.of(&note.id) {
        Ok(Some(mut stored)) => {
            gone.iter().for_each(|effect| stored.forget(effect));
            notes.write(&stored).map_err(|error| error.to_string())
        }
        Ok(None) => Ok(()),
        Err(why) => Err(why),
    };
    jitsudo_sys::failpoint::reach("effects.forgotten");
    let taken = |(effect, taken): (Effect, Result<Removed, String>)| {
        let word = match (taken, &struck) {
            (Ok(Removed { removed, remark }), Ok(())) => TakenBack::Done { removed, remark },
            (Ok(_), Err(why)) => TakenBack::Failed(format!("{effect} is taken back, but cannot be struck out: {why}")),
            (Err(why), _) => TakenBack::Failed(why),
        };
        (effect, word)
    };
    Undone { id: note.id.clone(), effects: effects.into_iter().map(taken).collect() }
}

/// The order's note, with what was noted of effects that it does not name: the files know best.
fn with_what_is_noted(mut note: Note, stored: Option<Note>) -> Note {
    for noted in stored.into_iter().flat_map(|stored| stored.effects) {
        if !note.noted(&noted.effect).is_some_and(|known| known.ours) {
            note.set(noted);
        }
    }
    note
}

/// Who holds memberships, by account: the notes on disk name each, those in `/run` say how far its grant is.
struct Owners<'a> {
    notes: &'a Notes,
    lent: BTreeMap<Uid, Vec<Note>>,
    wall: Timestamp,
    boottime_ms: u64,
    boot: String,
}

impl<'a> Owners<'a> {
    fn of(notes: &'a Notes) -> Self {
        let mut lent: BTreeMap<Uid, Vec<Note>> = BTreeMap::new();
        for note in notes.read_lasting().notes {
            lent.entry(note.uid).or_default().push(note);
        }
        let moment = clock::now();
        let wall = Timestamp::from_nanosecond(moment.wall_ns).unwrap_or(Timestamp::MAX);
        Self { notes, lent, wall, boottime_ms: moment.boottime_ms, boot: clock::boot_id().unwrap_or_default() }
    }

    /// A grant of the same requester that has the same effect, is not over, and does not end now.
    fn other(&self, note: &Note, noted: &Noted, ending: &BTreeSet<AccessId>) -> Option<AccessId> {
        let of_account = self.lent.get(&note.uid).into_iter().flatten();
        let others = of_account.filter(|other| other.id != note.id && !ending.contains(&other.id));
        others.filter(|other| owns(other, &noted.effect, noted.gid)).find_map(|other| {
            let known = self.notes.of(&other.id).ok().flatten()?;
            let is_live = known.ending.is_none() && !known.is_over(self.wall, self.boottime_ms, &self.boot);
            is_live.then_some(known.id)
        })
    }
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
