//! Notes of what lives on the host for role grants: `ends/ID`, one JSON object each, written before the effect that it names.
//!
//! Whoever takes away reads them: the spawner, its workers, and `jitsudo-sweep` when no daemon lives. They lie in `/run`, which a reboot
//! clears; a note that names an effect which a reboot does not clear (an entry in the group file) is on disk too, and there first.
//!
//! MUSTs
//! 1. A note is there, on disk where a reboot would lose it, before its effect is (`effect_that_survives_*`).
//! 2. One that cannot be read hides no other, and is told (`garbage_*`).
//! 3. An effect is forgotten in `/run` first and on disk last: a crash between the two undoes it twice, never not at all.
//! 4. What was taken back is known on disk until it is on record: the copy is set aside, and goes with the note (`copy_is_set_aside_*`).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jitsudo_core::Timestamp;
use jitsudo_core::event::EndCause;
use jitsudo_core::id::AccessId;
use jitsudo_core::lends::Effect;
use jitsudo_core::name::{Gid, Uid};
use jitsudo_core::state::Ends;
use serde::{Deserialize, Serialize};

/// Notes that are gone with the boot.
pub const ENDS: &str = "/run/jitsudo/ends";
/// Copies of those whose effects outlive the boot.
pub const LASTING_ENDS: &str = "/var/lib/jitsudo/ends";
/// Where sudo reads what roles lend, by the line in `/etc/sudoers.d/jitsudo`.
pub const DROP_INS: &str = "/run/jitsudo/sudoers.d";
/// What follows the id in the name of a copy whose effects are taken back.
const SET_ASIDE: &str = ".undone";
/// Largest note taken, bytes.
pub const MAX_NOTE_BYTES: u64 = 64 << 10;
/// Most notes read from one directory.
const MAX_NOTES: usize = 200_000;
/// Taken while membership is looked at and changed: who owns an entry must not move meanwhile.
const LOCK: &str = ".lock";
/// How often a lock that is held is tried again.
const LOCK_STEP: Duration = Duration::from_millis(20);

/// What is noted of one role grant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Note {
    /// The access.
    pub id: AccessId,
    /// Enrolled name of the host, for what is recorded of its end.
    pub host: String,
    /// Its requester.
    pub uid: Uid,
    /// The requester's account as it was called when the grant began.
    pub user: String,
    /// The rule that gives it.
    #[serde(default)]
    pub rule: String,
    /// The role.
    #[serde(default)]
    pub role: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Groups that its sessions are lent; nothing of the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Boot id.
    pub boot: String,
    /// Its end, wall clock.
    pub ends_at: Timestamp,
    /// Its end, CLOCK_BOOTTIME milliseconds, on that boot.
    pub ends_boottime_ms: u64,
    /// What it changes on the host, and how far that is.
    #[serde(default)]
    pub effects: Vec<Noted>,
    /// It is being set up and nobody holds it yet: a spawner that finds it so takes back what was made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub activating: bool,
    /// Why it is ending, once it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<EndCause>,
    /// That it ended is on record.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
    /// The end that it began with, once it was extended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_end: Option<Timestamp>,
}

/// One effect of a note.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Noted {
    /// Which.
    pub effect: Effect,
    /// The group's id when it was looked at: what the entry is known by when the group is renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<Gid>,
    /// True from before it is made: it is to be undone. False while nothing was begun, and where the host had it before.
    pub ours: bool,
    /// It was read back.
    pub applied: bool,
}

impl Note {
    /// True when the grant is over by one of the three clocks.
    #[must_use]
    pub fn is_over(&self, wall: Timestamp, boottime_ms: u64, boot: &str) -> bool {
        Ends { at: self.ends_at, boottime_ms: self.ends_boottime_ms, boot: self.boot.clone() }.is_over(
            wall,
            boottime_ms,
            boot,
        )
    }

    /// What is noted of this effect.
    #[must_use]
    pub fn noted(&self, effect: &Effect) -> Option<&Noted> {
        self.effects.iter().find(|noted| noted.effect == *effect)
    }

    /// Notes an effect, in the place of what was noted of it.
    pub fn set(&mut self, new: Noted) {
        match self.effects.iter_mut().find(|noted| noted.effect == new.effect) {
            Some(noted) => *noted = new,
            None => self.effects.push(new),
        }
    }

    /// Forgets an effect.
    pub fn forget(&mut self, effect: &Effect) {
        self.effects.retain(|noted| noted.effect != *effect);
    }

    /// True when a reboot leaves some of it on the host.
    fn is_lasting(&self) -> bool {
        self.effects.iter().any(|noted| noted.effect.outlives_boot())
    }
}

/// Where notes lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notes {
    /// Gone with the boot.
    pub ends: PathBuf,
    /// On disk.
    pub lasting: PathBuf,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Listing {
    /// By id.
    pub notes: Vec<Note>,
    /// Files that hold no note, and why; left where they are.
    pub garbage: Vec<(PathBuf, String)>,
}

/// The drop-ins of sudo that lie in a folder, by the grants that they are of.
#[must_use]
pub fn drop_ins(folder: &Path) -> Vec<AccessId> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// What is noted of a grant of which nothing else is known: its drop-in is to go, whatever is in it.
#[must_use]
pub fn unknown(id: AccessId, host: &str, now: Timestamp, boottime_ms: u64, boot: &str) -> Note {
    let effect = Effect::Sudoers(Vec::new());
    Note {
        id,
        host: host.to_owned(),
        uid: Uid(u32::MAX),
        user: String::new(),
        rule: String::new(),
        role: String::new(),
        reason: None,
        ticket: None,
        groups: Vec::new(),
        boot: boot.to_owned(),
        ends_at: now,
        ends_boottime_ms: boottime_ms,
        effects: vec![Noted { effect, gid: None, ours: true, applied: false }],
        activating: false,
        ending: Some(EndCause::Lost),
        ended: false,
        first_end: None,
    }
}

/// The lock of [`Notes::lock`]; free when it and every copy of its file is closed.
#[derive(Debug)]
pub struct Locked(pub File);

impl Default for Notes {
    /// This host's.
    fn default() -> Self {
        Self { ends: ENDS.into(), lasting: LASTING_ENDS.into() }
    }
}

impl Notes {
    /// Writes a note whole, in the place of the one before. On return it is durable as far as its effects need it.
    ///
    /// # Errors
    /// The system's. Nothing may be changed on the host then.
    pub fn write(&self, note: &Note) -> io::Result<()> {
        let json = serde_json::to_vec(note)?;
        if note.is_lasting() {
            put(&self.lasting, &note.id, &json, true)?;
            put(&self.ends, &note.id, &json, false)
        } else {
            put(&self.ends, &note.id, &json, false)?;
            self.set_aside(&note.id)
        }
    }

    /// By a name alone: what a power cut undoes of it is undone whole.
    fn set_aside(&self, id: &AccessId) -> io::Result<()> {
        let path = self.lasting.join(id.as_str());
        unless_gone(&path, fs::rename(&path, self.set_aside_path(id)))
    }

    fn set_aside_path(&self, id: &AccessId) -> PathBuf {
        self.lasting.join(format!("{id}{SET_ASIDE}"))
    }

    /// Writes a note in `/run` alone, which waits for no disk: what it says of its effects must be on disk already where it has to be.
    ///
    /// # Errors
    /// The system's.
    pub fn write_till_boot(&self, note: &Note) -> io::Result<()> {
        put(&self.ends, &note.id, &serde_json::to_vec(note)?, false)
    }

    /// Removes a note: nothing of its grant is left. One that is gone already is fine.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self, id: &AccessId) -> io::Result<()> {
        remove(&self.ends, id)?;
        remove(&self.lasting, id)?;
        let aside = self.set_aside_path(id);
        unless_gone(&aside, fs::remove_file(&aside))
    }

    /// Puts copies of other boots back that were set aside: their grants may not be on record as ended, and what was taken back may be there
    /// again where the disk of the group file lost more. Of this boot the notes in `/run` say all.
    pub fn bring_back(&self, boot: &str) {
        let names = may_be_believed(&self.lasting).and_then(|()| fs::read_dir(&self.lasting));
        for name in names.into_iter().flatten().flatten().map(|entry| entry.file_name()) {
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(SET_ASIDE)) else { continue };
            let (aside, path) = (self.lasting.join(&name), self.lasting.join(id));
            // One that cannot be read is told under its own name.
            let is_of_this_boot = read(&aside, id).is_ok_and(|note| note.is_none_or(|note| note.boot == boot));
            if !is_of_this_boot && fs::symlink_metadata(&path).is_err() {
                let _ = fs::rename(&aside, &path);
            }
        }
    }

    /// Reads them all. A directory that is not there holds none; one that others can write is garbage as a whole.
    #[must_use]
    pub fn read_all(&self) -> Listing {
        let mut listing = Listing::default();
        let mut notes = BTreeMap::new();
        read_into(&mut listing, &mut notes, &self.ends);
        read_into(&mut listing, &mut notes, &self.lasting);
        listing.notes = notes.into_values().collect();
        listing
    }

    /// Reads those on disk alone: each membership that is lent is among them, for as long as it is.
    #[must_use]
    pub fn read_lasting(&self) -> Listing {
        let (mut listing, mut notes) = (Listing::default(), BTreeMap::new());
        read_into(&mut listing, &mut notes, &self.lasting);
        listing.notes = notes.into_values().collect();
        listing
    }

    /// What is noted of one grant, on disk and in `/run`; `None` when nothing is.
    ///
    /// # Errors
    /// In words why a note that is there cannot be used.
    pub fn of(&self, id: &AccessId) -> Result<Option<Note>, String> {
        let read = |folder: &Path| read(&folder.join(id.as_str()), id.as_str());
        match (read(&self.ends), read(&self.lasting)) {
            (Ok(Some(mut known)), Ok(Some(copy))) => {
                join(&mut known, copy);
                Ok(Some(known))
            }
            // A copy that can be read says what is to be taken back, as in a listing.
            (Ok(Some(one)), _) | (_, Ok(Some(one))) => Ok(Some(one)),
            (Err(why), _) | (_, Err(why)) => Err(why),
            (Ok(None), Ok(None)) => Ok(None),
        }
    }

    /// Grants of whose note in `/run` nothing is known any more, and drop-ins in this folder that no note names: what they lend is to go. A
    /// folder's drop-ins are to be looked at before the notes are read, since a note is there first. Where a note on disk cannot be read
    /// either nobody knows what there is to take back: that stays garbage, and is told.
    #[must_use]
    pub fn unnamed(&self, listing: &Listing, drop_ins: &[AccessId]) -> BTreeSet<AccessId> {
        let id_of = |path: &Path| path.file_name()?.to_str()?.parse::<AccessId>().ok();
        let garbage = |folder: &Path| {
            let of_folder = listing.garbage.iter().filter(move |(path, _)| path.parent() == Some(folder));
            of_folder.filter_map(|(path, _)| id_of(path)).collect::<BTreeSet<_>>()
        };
        let (mut ids, lasting) = (garbage(&self.ends), garbage(&self.lasting));
        ids.extend(drop_ins.iter().cloned());
        ids.retain(|id| !lasting.contains(id) && !listing.notes.iter().any(|note| note.id == *id));
        ids
    }

    /// Grants whose note in `/run` cannot be read though the copy on disk can: how far they are is not known.
    #[must_use]
    pub fn doubtful(&self, listing: &Listing) -> BTreeSet<AccessId> {
        let garbage = |id: &AccessId| listing.garbage.iter().any(|(path, _)| *path == self.ends.join(id.as_str()));
        listing.notes.iter().map(|note| &note.id).filter(|id| garbage(id)).cloned().collect()
    }

    /// Waits for the lock, no longer than `patience`; `None` when somebody held it all that time.
    ///
    /// # Errors
    /// The system's.
    pub fn lock(&self, patience: Duration) -> io::Result<Option<Locked>> {
        make(&self.ends)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.ends.join(LOCK))?;
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Locked(file))),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if waited >= patience => return Ok(None),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_STEP),
            }
            waited += LOCK_STEP;
        }
    }
}

fn make(folder: &Path) -> io::Result<()> {
    // Not what lies above: that is everybody's to look into.
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn put(folder: &Path, id: &AccessId, json: &[u8], durable: bool) -> io::Result<()> {
    make(folder)?;
    let temporary = folder.join(format!(".{id}.new"));
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(json)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&temporary, folder.join(id.as_str()))?;
        if durable { File::open(folder)?.sync_all() } else { Ok(()) }
    };
    write().inspect_err(|_| {
        // What was there before was not touched.
        let _ = fs::remove_file(&temporary);
    })
}

fn remove(folder: &Path, id: &AccessId) -> io::Result<()> {
    let path = folder.join(id.as_str());
    unless_gone(&path, fs::remove_file(&path))
}

/// A failure to take away what is not there is none.
fn unless_gone(path: &Path, outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        // A disk that turned read-only says so before it looks whether there is something to remove.
        Err(error) => match fs::symlink_metadata(path) {
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        },
        Ok(()) => Ok(()),
    }
}

fn read_into(listing: &mut Listing, notes: &mut BTreeMap<AccessId, Note>, folder: &Path) {
    let mut garbage = |path: &Path, why: String| listing.garbage.push((path.to_path_buf(), why));
    let names = match may_be_believed(folder).and_then(|()| fs::read_dir(folder)) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return garbage(folder, error.to_string()),
    };
    let mut found = 0;
    for name in names.flatten().map(|entry| entry.file_name()) {
        let path = folder.join(&name);
        if name.as_encoded_bytes().starts_with(b".") || name.as_encoded_bytes().ends_with(SET_ASIDE.as_bytes()) {
            continue;
        }
        if found >= MAX_NOTES {
            garbage(&path, format!("there are more than {MAX_NOTES} notes"));
            break;
        }
        match name.to_str().ok_or_else(|| "its name is no id".to_owned()).and_then(|name| read(&path, name)) {
            Ok(Some(note)) => {
                found += 1;
                match notes.entry(note.id.clone()) {
                    Entry::Occupied(mut known) => join(known.get_mut(), note),
                    Entry::Vacant(place) => drop(place.insert(note)),
                }
            }
            Ok(None) => {}
            Err(why) => garbage(&path, why),
        }
    }
}

/// The copy on disk may be a step ahead of the note: what it owns is owned.
fn join(known: &mut Note, copy: Note) {
    for noted in copy.effects {
        if noted.ours && !known.noted(&noted.effect).is_some_and(|known| known.ours) {
            known.set(noted);
        }
    }
}

/// Fails for a directory that others than root, or who runs this, can write.
pub(crate) fn may_be_believed(folder: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(folder)?;
    let own = fs::metadata("/proc/self").map_or(0, |own| own.uid());
    if metadata.is_dir() && (metadata.uid() == 0 || metadata.uid() == own) && metadata.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is no directory that root alone can write"))
}

fn read(path: &Path, name: &str) -> Result<Option<Note>, String> {
    let Some(bytes) = contents(path, MAX_NOTE_BYTES)? else { return Ok(None) };
    let note: Note = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if note.id.as_str() == name { Ok(Some(note)) } else { Err("its name is not the id in it".to_owned()) }
}

/// The bytes of a note, `None` where there is none; in words why it cannot be used.
pub(crate) fn contents(path: &Path, most: u64) -> Result<Option<Vec<u8>>, String> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if !metadata.is_file() {
        return Err("it is no plain file".to_owned());
    }
    // A hundred thousand are read at a start: one call each for what is in it, and one for its end.
    let length = usize::try_from(metadata.len().min(MAX_NOTE_BYTES)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(length.saturating_add(1));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > most { Err("it is longer than a note may be".to_owned()) } else { Ok(Some(bytes)) }
}

#[cfg(test)]
mod tests;
