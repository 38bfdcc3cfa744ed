//! Role grants: which are held, until when, and how far the end of each is. Each has a note in `/run/jitsudo/ends`, written before it
//! counts and removed last: a restarted spawner, and whoever looks when there is none, finds it there; a reboot takes all of them away.
//!
//! MUSTs
//! 1. Nothing is held without its note (`grant_without_a_note_is_none`).
//! 2. A grant is over at the earliest of its two clocks and of another boot, for good (`grant_is_over_by_whichever_clock_is_first`).
//! 3. What a restarted spawner finds is held no longer than before, and what was ending ends (`restart_keeps_ends_and_endings`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use jitsudo_core::Timestamp;
use jitsudo_core::event::EndCause;
use jitsudo_core::id::AccessId;
use jitsudo_core::name::Uid;
use jitsudo_core::state::Ends;
use jitsudo_link::notes::{MAX_NOTE_BYTES, Note};
use serde::{Deserialize, Serialize};

use crate::judge::Now;

/// Most roles that one account holds or asks for at once.
pub(crate) const MAX_OF_ACCOUNT: usize = 64;

/// A role that somebody holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Grant {
    /// The access.
    pub(crate) id: AccessId,
    /// Whose.
    pub(crate) requester: u32,
    /// The account's name then.
    pub(crate) user: Option<String>,
    /// The rule that gave it.
    pub(crate) rule: String,
    /// The role.
    pub(crate) role: String,
    /// The reason that was given.
    pub(crate) reason: Option<String>,
    /// The ticket.
    pub(crate) ticket: Option<String>,
    /// Groups that its sessions are lent.
    pub(crate) groups: Vec<String>,
    /// Its absolute end.
    pub(crate) ends: Ends,
    /// The end that it was given with, once that was extended.
    pub(crate) first_end: Option<Timestamp>,
    /// Why it is ending, once it is.
    pub(crate) ending: Option<EndCause>,
}

impl Grant {
    fn is_over(&self, now: Now, boot: &str) -> bool {
        self.ends.is_over(now.wall, now.boottime_ms, boot)
    }
}

/// More time for a grant, which waits for the proof of who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Extension {
    /// The access.
    pub(crate) id: AccessId,
    /// The end that it was decided from.
    pub(crate) from: Option<Ends>,
    /// The new one.
    pub(crate) ends: Ends,
    /// Digest of the policy that it was decided by.
    pub(crate) policy: String,
    /// Why, where that was said.
    pub(crate) reason: Option<String>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Grants {
    notes: PathBuf,
    host: String,
    boot: String,
    /// Wait for the proof of who asks.
    asked: Vec<Grant>,
    held: Vec<Grant>,
    /// Those that were closed since somebody asked.
    over: Vec<AccessId>,
    /// Those that were not given.
    given_up: Vec<AccessId>,
    /// Wait likewise; at most one for each that is held.
    extensions: Vec<Extension>,
}

impl Grants {
    /// Finds what an earlier spawner left; and in words which notes cannot be used.
    pub(crate) fn load(notes: PathBuf, host: &str, boot: &str) -> (Self, Vec<String>) {
        let mut grants = Self {
            notes,
            host: host.to_owned(),
            boot: boot.to_owned(),
            asked: Vec::new(),
            held: Vec::new(),
            over: Vec::new(),
            given_up: Vec::new(),
            extensions: Vec::new(),
        };
        let mut trouble = Vec::new();
        for entry in fs::read_dir(&grants.notes).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(id) = name.parse::<AccessId>() else { continue };
            match read(&entry.path()) {
                Ok(grant) if grant.id == id => grants.held.push(grant),
                Ok(_) => trouble.push(format!("the note on role grant {name} is about another one")),
                Err(cause) => trouble.push(format!("the note on role grant {name} cannot be used: {cause}")),
            }
        }
        (grants, trouble)
    }

    /// The boot that these are of.
    pub(crate) fn boot(&self) -> &str {
        &self.boot
    }

    /// True for an id that stands for a role grant here.
    pub(crate) fn knows(&self, id: &AccessId) -> bool {
        self.asked.iter().chain(&self.held).any(|grant| grant.id == *id)
    }

    /// True for one that is held, or is ending.
    pub(crate) fn is_held(&self, id: &AccessId) -> bool {
        self.held.iter().any(|grant| grant.id == *id)
    }

    /// A grant that may be used now.
    pub(crate) fn usable(&self, id: &AccessId, now: Now) -> Option<&Grant> {
        let usable = |grant: &&Grant| grant.id == *id && grant.ending.is_none() && !grant.is_over(now, &self.boot);
        self.held.iter().find(usable)
    }

    /// Those that may be used now.
    pub(crate) fn all_usable(&self, now: Now) -> impl Iterator<Item = &Grant> {
        self.held.iter().filter(move |grant| grant.ending.is_none() && !grant.is_over(now, &self.boot))
    }

    /// True while this account may have one more.
    pub(crate) fn has_room_for(&self, uid: u32) -> bool {
        self.asked.iter().chain(&self.held).filter(|grant| grant.requester == uid).count() < MAX_OF_ACCOUNT
    }

    /// Waits for the proof of who asks.
    pub(crate) fn ask(&mut self, grant: Grant) {
        self.asked.push(grant);
    }

    /// Waits for the proof of who asks for more time.
    pub(crate) fn ask_more(&mut self, extension: Extension) {
        self.no_more(&extension.id);
        self.extensions.push(extension);
    }

    /// Who asks has proven it, or will not.
    pub(crate) fn no_more(&mut self, id: &AccessId) -> Option<Extension> {
        let place = self.extensions.iter().position(|extension| extension.id == *id)?;
        Some(self.extensions.swap_remove(place))
    }

    /// The end of one that is held.
    pub(crate) fn end_of(&self, id: &AccessId) -> Option<&Ends> {
        self.held.iter().find(|grant| grant.id == *id).map(|grant| &grant.ends)
    }

    /// Moves the end of one that is held. The note first: without it the end is where it was.
    pub(crate) fn extend(&mut self, id: &AccessId, ends: &Ends) -> std::io::Result<()> {
        let none = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let place = self.held.iter().position(|grant| grant.id == *id && grant.ending.is_none()).ok_or_else(none)?;
        let mut grant = self.held.get(place).cloned().ok_or_else(none)?;
        grant.first_end.get_or_insert(grant.ends.at);
        grant.ends = ends.clone();
        self.note(&grant)?;
        if let Some(held) = self.held.get_mut(place) {
            *held = grant;
        }
        Ok(())
    }

    /// Nothing will come of it any more; true when it still waited.
    pub(crate) fn give_up(&mut self, id: &AccessId) -> bool {
        let before = self.asked.len();
        self.asked.retain(|grant| grant.id != *id);
        let waited = self.asked.len() < before;
        self.given_up.extend(waited.then(|| id.clone()));
        waited
    }

    /// Who asks has proven it: the grant is held from now on. In words why not.
    pub(crate) fn activate(&mut self, id: &AccessId, now: Now) -> Option<Result<&Grant, String>> {
        let place = self.asked.iter().position(|grant| grant.id == *id)?;
        let grant = self.asked.swap_remove(place);
        if grant.is_over(now, &self.boot) {
            return Some(Err("its time was over before you had proven who you are".to_owned()));
        }
        jitsudo_sys::failpoint::reach("spawner.grant");
        if let Err(error) = self.note(&grant) {
            return Some(Err(format!("its note cannot be written: {error}")));
        }
        jitsudo_sys::failpoint::reach("spawner.grant.noted");
        self.held.push(grant);
        self.held.last().map(Ok)
    }

    /// Whose they are, and what the accounts were called.
    pub(crate) fn holders(&self) -> BTreeMap<u32, BTreeSet<String>> {
        let mut holders: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
        for grant in self.held.iter().filter(|grant| grant.ending.is_none()) {
            holders.entry(grant.requester).or_default().extend(grant.user.clone());
        }
        holders
    }

    /// Those of an account that may be used.
    pub(crate) fn of(&self, uid: u32) -> Vec<Grant> {
        self.held.iter().filter(|grant| grant.requester == uid && grant.ending.is_none()).cloned().collect()
    }

    /// Ends a grant earlier than it was to end.
    pub(crate) fn shorten(&mut self, id: &AccessId, at: Timestamp, now: Now) {
        let Some(grant) = self.held.iter_mut().chain(&mut self.asked).find(|grant| grant.id == *id) else { return };
        if at >= grant.ends.at {
            return;
        }
        grant.ends.at = at;
        grant.ends.boottime_ms =
            grant.ends.boottime_ms.min(jitsudo_link::ends::boottime_ms(at, now.wall, now.boottime_ms));
        let grant = grant.clone();
        if self.is_held(id) {
            // What takes away waits for no record.
            let _ = self.note(&grant);
        }
    }

    /// Those whose time is over and whose end has not begun.
    pub(crate) fn due(&self, now: Now) -> Vec<(AccessId, EndCause)> {
        let over = self.held.iter().filter(|grant| grant.ending.is_none() && grant.is_over(now, &self.boot));
        let cause = |grant: &Grant| {
            if grant.ends.boot == self.boot { EndCause::WindowOver } else { EndCause::Rebooted }
        };
        over.map(|grant| (grant.id.clone(), cause(grant))).collect()
    }

    /// Those whose end has begun.
    pub(crate) fn ending(&self) -> Vec<(AccessId, EndCause)> {
        self.held.iter().filter_map(|grant| grant.ending.map(|cause| (grant.id.clone(), cause))).collect()
    }

    /// Begins the end: nothing is given under it from now on. False when there is none, or it is ending already.
    pub(crate) fn begin_end(&mut self, id: &AccessId, cause: EndCause) -> bool {
        let Some(grant) = self.held.iter_mut().find(|grant| grant.id == *id && grant.ending.is_none()) else {
            return false;
        };
        grant.ending = Some(cause);
        let grant = grant.clone();
        // Taking away waits for no record: without it only a restarted spawner would know its first end alone.
        let _ = self.note(&grant);
        jitsudo_sys::failpoint::reach("spawner.end.noted");
        true
    }

    /// Nothing of it is left.
    pub(crate) fn close(&mut self, id: &AccessId) {
        self.held.retain(|grant| grant.id != *id);
        self.over.push(id.clone());
        // A note that stays ends the grant once more at the next start, which changes nothing.
        let _ = fs::remove_file(self.notes.join(id.as_str()));
        jitsudo_sys::failpoint::reach("spawner.closed");
    }

    /// When [`Self::due`] has something next, CLOCK_BOOTTIME milliseconds.
    pub(crate) fn next_end(&self) -> Option<u64> {
        self.held.iter().filter(|grant| grant.ending.is_none()).map(|grant| grant.ends.boottime_ms).min()
    }

    /// All of them.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &AccessId> {
        self.asked.iter().chain(&self.held).map(|grant| &grant.id)
    }

    /// Those that were closed, and those that were not given, each told once.
    pub(crate) fn gone(&mut self) -> (Vec<AccessId>, Vec<AccessId>) {
        (std::mem::take(&mut self.over), std::mem::take(&mut self.given_up))
    }

    /// True when there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn note(&self, grant: &Grant) -> std::io::Result<()> {
        let fresh = self.notes.join(format!(".{}", grant.id));
        let note = Note {
            id: grant.id.clone(),
            host: self.host.clone(),
            uid: Uid(grant.requester),
            user: grant.user.clone().unwrap_or_default(),
            rule: grant.rule.clone(),
            role: grant.role.clone(),
            reason: grant.reason.clone(),
            ticket: grant.ticket.clone(),
            groups: grant.groups.clone(),
            boot: grant.ends.boot.clone(),
            ends_at: grant.ends.at,
            ends_boottime_ms: grant.ends.boottime_ms,
            effects: Vec::new(),
        };
        let text = serde_json::to_vec(&Kept { note, ending: grant.ending, first_end: grant.first_end })?;
        // What an interrupted one left.
        let _ = fs::remove_file(&fresh);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(&text)?;
        fs::rename(&fresh, self.notes.join(grant.id.as_str()))
    }
}

/// A note as it stands in its file.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    note: Note,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ending: Option<EndCause>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_end: Option<Timestamp>,
}

fn read(path: &std::path::Path) -> Result<Grant, String> {
    let text = jitsudo_sys::trusted::read(path, MAX_NOTE_BYTES).map_err(|error| error.to_string())?;
    let kept: Kept = serde_json::from_slice(&text.unwrap_or_default()).map_err(|error| error.to_string())?;
    let Kept { note, ending, first_end } = kept;
    Ok(Grant {
        id: note.id,
        requester: note.uid.0,
        user: Some(note.user).filter(|user| !user.is_empty()),
        rule: note.rule,
        role: note.role,
        reason: note.reason,
        ticket: note.ticket,
        groups: note.groups,
        ends: Ends { at: note.ends_at, boottime_ms: note.ends_boottime_ms, boot: note.boot },
        first_end,
        ending,
    })
}

/// The session's and the decider's word for an account that holds it: whether it is still the same account.
pub(crate) fn is_of(grant: &Grant, uid: u32, user: Option<&str>) -> bool {
    grant.requester == uid && (grant.user.is_none() || user.is_none() || grant.user.as_deref() == user)
}

/// The wall clock and the boot clock of an end.
pub(crate) fn until(grant: &Grant) -> (Timestamp, u64) {
    (grant.ends.at, grant.ends.boottime_ms)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn grant() -> Grant {
        Grant {
            id: "01jd0000000000000000000000".parse().unwrap(),
            requester: 1000,
            user: Some("alice".into()),
            rule: "web".into(),
            role: "web-operator".into(),
            reason: None,
            ticket: None,
            groups: vec!["docker".into()],
            ends: Ends { at: "2026-11-21T12:30:00Z".parse().unwrap(), boottime_ms: 1_800_000, boot: "b1".into() },
            first_end: None,
            ending: None,
        }
    }

    fn at(wall: &str, boottime_ms: u64) -> Now {
        Now { wall: wall.parse().unwrap(), boottime_ms }
    }

    fn early() -> Now {
        at("2026-11-21T12:00:00Z", 1000)
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("jitsudo-grants-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn held(name: &str) -> (Grants, PathBuf) {
        let folder = folder(name);
        let (mut grants, trouble) = Grants::load(folder.clone(), "h", "b1");
        assert!(trouble.is_empty() && grants.is_empty());
        grants.ask(grant());
        assert!(grants.usable(&grant().id, early()).is_none(), "not before the proof");
        assert_eq!(grants.activate(&grant().id, early()).unwrap().unwrap().role, "web-operator");
        (grants, folder)
    }

    #[test]
    fn grant_without_a_note_is_none() {
        let (mut grants, _) = Grants::load("/nonexistent/jitsudo".into(), "h", "b1");
        grants.ask(grant());
        assert!(grants.activate(&grant().id, early()).unwrap().unwrap_err().contains("cannot be written"));
        assert!(!grants.knows(&grant().id) && grants.activate(&grant().id, early()).is_none());
    }

    #[test]
    fn grant_is_over_by_whichever_clock_is_first() {
        let (grants, folder) = held("clocks");
        let id = grant().id;
        assert!(grants.usable(&id, early()).is_some() && grants.due(early()).is_empty());
        for over in [at("2026-11-21T12:30:00Z", 1000), at("2020-01-01T00:00:00Z", 1_800_000)] {
            assert!(grants.usable(&id, over).is_none());
            assert_eq!(grants.due(over), [(id.clone(), EndCause::WindowOver)]);
        }
        assert_eq!(grants.next_end(), Some(1_800_000));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn restart_keeps_ends_and_endings() {
        let (mut grants, folder) = held("restart");
        let id = grant().id;
        fs::write(folder.join("01jd0000000000000000000001"), "{").unwrap();
        if jitsudo_sys::nix::unistd::geteuid().is_root() {
            let (again, trouble) = Grants::load(folder.clone(), "h", "b1");
            assert_eq!((again.held.as_slice(), trouble.len()), ([grant()].as_slice(), 1));
            let (rebooted, _) = Grants::load(folder.clone(), "h", "b2");
            assert!(rebooted.usable(&id, early()).is_none());
            assert_eq!(rebooted.due(early()), [(id.clone(), EndCause::Rebooted)]);
        }
        let later = Ends { boottime_ms: 2_000_000, ..grant().ends };
        grants.extend(&id, &later).unwrap();
        grants.extend(&id, &Ends { boottime_ms: 2_100_000, ..later.clone() }).unwrap();
        if jitsudo_sys::nix::unistd::geteuid().is_root() {
            let (again, _) = Grants::load(folder.clone(), "h", "b1");
            assert_eq!(again.held[0].ends.boottime_ms, 2_100_000, "an extension is kept as well");
            assert_eq!(again.held[0].first_end, Some(grant().ends.at), "and what it began with");
        }
        assert!(grants.begin_end(&id, EndCause::GivenBack) && !grants.begin_end(&id, EndCause::Locked));
        assert!(grants.usable(&id, early()).is_none() && grants.due(at("2026-11-21T13:00:00Z", 1)).is_empty());
        if jitsudo_sys::nix::unistd::geteuid().is_root() {
            let (again, _) = Grants::load(folder.clone(), "h", "b1");
            assert_eq!(again.ending(), [(id.clone(), EndCause::GivenBack)]);
        }
        assert!(grants.extend(&id, &later).is_err(), "what is ending is not extended");
        grants.close(&id);
        assert!(!grants.knows(&id) && !folder.join(id.as_str()).exists());
        fs::remove_dir_all(folder).unwrap();
    }
}
