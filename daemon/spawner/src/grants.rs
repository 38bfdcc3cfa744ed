//! Role grants: which are held, until when, and how far the end of each is. Each has a note in `/run/jitsudo/ends`, written before it
//! counts and removed last: a restarted spawner, and whoever looks when there is none, finds it there; a reboot takes all of them away.
//!
//! MUSTs
//! 1. Nothing is held without its note (`grant_without_a_note_is_none`).
//! 2. A grant is over at the earliest of its two clocks and of another boot, for good (`grant_is_over_by_whichever_clock_is_first`).
//! 3. What a restarted spawner finds is held no longer than before, and what was ending ends (`restart_keeps_ends_and_endings`).
//! 4. What was being set up when a spawner died is never held (`grant_that_was_being_set_up_is_not_held_after_a_restart`).

use std::collections::{BTreeMap, BTreeSet};

use jitsudo_core::Timestamp;
use jitsudo_core::event::EndCause;
use jitsudo_core::id::AccessId;
use jitsudo_core::lends::Effect;
use jitsudo_core::name::Uid;
use jitsudo_core::state::Ends;
use jitsudo_link::notes::{Note, Noted, Notes};

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
    /// What it changes on the host, and how far that is.
    pub(crate) on_host: OnHost,
}

/// What a grant changes on the host.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct OnHost {
    /// Still to be made, in this order.
    pub(crate) to_make: Vec<Effect>,
    /// Noted: made, or begun, and not taken back.
    pub(crate) noted: Vec<Noted>,
    /// It is being set up: nobody holds it yet.
    pub(crate) activating: bool,
    /// Why it will not be held; what was made is being taken back.
    pub(crate) failed: Option<String>,
    /// Its requester was told why it is not held, or its sessions were told to end.
    pub(crate) told: bool,
    /// That it ended is on record.
    pub(crate) ended: bool,
    /// When they are told at the latest, CLOCK_BOOTTIME milliseconds, though the host was not changed back yet.
    pub(crate) tell_by_ms: Option<u64>,
    /// Tries to change the host back that failed.
    pub(crate) tries: u32,
    /// When that was recorded last.
    pub(crate) shouted_ms: Option<u64>,
    /// An earlier spawner made it.
    pub(crate) found: bool,
}

impl OnHost {
    /// Nothing of it is there, and who had to hear of the end has.
    pub(crate) fn is_changed_back(&self) -> bool {
        self.told && self.noted.is_empty()
    }
}

impl Grant {
    /// What it has put on the host, for its requester to hear of.
    pub(crate) fn lent(&self) -> Vec<Effect> {
        self.on_host.noted.iter().map(|noted| noted.effect.clone()).collect()
    }

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
    notes: Notes,
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
    pub(crate) fn load(notes: Notes, host: &str, boot: &str) -> (Self, Vec<String>) {
        let listing = notes.read_all();
        let words = |(path, why): (std::path::PathBuf, String)| {
            format!("the note {} on a role grant cannot be used: {why}", path.display())
        };
        let trouble = listing.garbage.into_iter().map(words).collect();
        let held = listing.notes.into_iter().map(grant_of).collect();
        let (asked, over, given_up, extensions) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        (Self { notes, host: host.to_owned(), boot: boot.to_owned(), asked, held, over, given_up, extensions }, trouble)
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
        let usable = |grant: &&Grant| {
            grant.id == *id && grant.ending.is_none() && !grant.on_host.activating && !grant.is_over(now, &self.boot)
        };
        self.held.iter().find(usable)
    }

    /// Those that may be used now.
    pub(crate) fn all_usable(&self, now: Now) -> impl Iterator<Item = &Grant> {
        self.held.iter().filter(move |grant| grant.ending.is_none() && !grant.is_over(now, &self.boot))
    }

    /// Every one that is held or is ending.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Grant> {
        self.held.iter()
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
        let open = |grant: &Grant| grant.ending.is_none() && !grant.on_host.activating;
        let place = self.held.iter().position(|grant| grant.id == *id && open(grant)).ok_or_else(none)?;
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

    /// Who asks has proven it: the grant is set up from now on. In words why not.
    pub(crate) fn begin(&mut self, id: &AccessId, now: Now) -> Option<Result<(), String>> {
        let place = self.asked.iter().position(|grant| grant.id == *id)?;
        let mut grant = self.asked.swap_remove(place);
        // Until its note is there.
        self.given_up.push(id.clone());
        if grant.is_over(now, &self.boot) {
            return Some(Err("its time was over before you had proven who you are".to_owned()));
        }
        grant.on_host.activating = true;
        jitsudo_sys::failpoint::reach("spawner.grant");
        if let Err(error) = self.note(&grant) {
            return Some(Err(format!("its note cannot be written: {error}")));
        }
        jitsudo_sys::failpoint::reach("spawner.grant.noted");
        self.given_up.pop();
        self.held.push(grant);
        Some(Ok(()))
    }

    /// Lines for sudo, which know the end by themselves: to be written anew when it moves.
    pub(crate) fn lines_for_sudo(&self, id: &AccessId) -> Option<(Note, Effect)> {
        let grant = self.held.iter().find(|grant| grant.id == *id)?;
        let effect = grant.lent().into_iter().find(|effect| matches!(effect, Effect::Sudoers(_)))?;
        Some((note_of(grant, &self.host), effect))
    }

    /// The next change to the host that it needs, with its note; `None` when there is none.
    pub(crate) fn next_effect(&mut self, id: &AccessId) -> Option<(Note, Effect)> {
        let host = self.host.clone();
        let grant = self.find(id)?;
        let effect = grant.on_host.to_make.first().cloned()?;
        grant.on_host.to_make.remove(0);
        Some((note_of(grant, &host), effect))
    }

    /// Why it must not be held any more, if so.
    pub(crate) fn may_be_held(&self, id: &AccessId, now: Now) -> Result<(), &'static str> {
        match self.held.iter().find(|grant| grant.id == *id) {
            None => Err("nobody asked for it here"),
            Some(grant) if grant.is_over(now, &self.boot) => Err("its time was over before it could be given"),
            Some(_) => Ok(()),
        }
    }

    /// It is held from now on. In words why not.
    pub(crate) fn is_set_up(&mut self, id: &AccessId) -> Result<&Grant, String> {
        let place = self.held.iter().position(|grant| grant.id == *id).ok_or("nobody asked for it here")?;
        let mut grant = self.held.get(place).cloned().ok_or("nobody asked for it here")?;
        grant.on_host.activating = false;
        self.note(&grant).map_err(|error| format!("its note cannot be written: {error}"))?;
        let held = self.held.get_mut(place).ok_or("nobody asked for it here")?;
        *held = grant;
        Ok(held)
    }

    /// The grant of an id that is set up, held or ending.
    pub(crate) fn find(&mut self, id: &AccessId) -> Option<&mut Grant> {
        self.held.iter_mut().find(|grant| grant.id == *id)
    }

    /// Looks up what a worker has noted.
    pub(crate) fn look_at_note(&mut self, id: &AccessId) {
        // One that cannot be read is no word on the host: what was known of it stands.
        if let Ok(Some(note)) = self.notes.of(id)
            && let Some(grant) = self.find(id)
        {
            grant.on_host.noted = note.effects;
        }
    }

    /// That it ended is on record; a restarted spawner need not say it again.
    pub(crate) fn has_ended(&mut self, id: &AccessId) {
        if let Some(grant) = self.find(id) {
            grant.on_host.ended = true;
            let note = grant.clone();
            let _ = self.notes.write_till_boot(&note_of(&note, &self.host));
        }
    }

    /// Writes the note again: a sweep may have taken it away.
    pub(crate) fn write_note(&self, id: &AccessId) {
        if let Some(grant) = self.held.iter().find(|grant| grant.id == *id) {
            // Without it the worker finds nothing to take back, which is told.
            let _ = self.note(grant);
        }
    }

    /// Those that are being set up, or were when an earlier spawner died.
    pub(crate) fn activating(&self) -> Vec<AccessId> {
        self.held.iter().filter(|grant| grant.on_host.activating).map(|grant| grant.id.clone()).collect()
    }

    /// True for one that is being set up.
    pub(crate) fn is_activating(&self, id: &AccessId) -> bool {
        self.held.iter().any(|grant| grant.id == *id && grant.on_host.activating)
    }

    /// Those whose sessions are to be told now, though what they changed on the host may be there still.
    pub(crate) fn to_tell(&self, now_ms: u64) -> Vec<AccessId> {
        let due = |grant: &&Grant| !grant.on_host.told && grant.on_host.tell_by_ms.is_some_and(|by_ms| by_ms <= now_ms);
        self.held.iter().filter(due).map(|grant| grant.id.clone()).collect()
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
        // While it is being set up its note is a worker's.
        if self.is_held(id) && !grant.on_host.activating {
            // What takes away waits for no record.
            let _ = self.note(&grant);
        }
    }

    /// Those whose time is over and whose end has not begun.
    pub(crate) fn due(&self, now: Now) -> Vec<(AccessId, EndCause)> {
        let open = |grant: &&Grant| grant.ending.is_none() && grant.on_host.failed.is_none();
        let over = self.held.iter().filter(open).filter(|grant| grant.is_over(now, &self.boot));
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
        // Taking away waits for no record and no disk: without it only a restarted spawner would know its first end alone.
        let _ = self.notes.write_till_boot(&note_of(&grant, &self.host));
        jitsudo_sys::failpoint::reach("spawner.end.noted");
        true
    }

    /// Nothing of it is left.
    pub(crate) fn close(&mut self, id: &AccessId) {
        self.held.retain(|grant| grant.id != *id);
        self.over.push(id.clone());
        // A note that stays ends the grant once more at the next start, which changes nothing.
        let _ = self.notes.remove(id);
        jitsudo_sys::failpoint::reach("spawner.closed");
    }

    /// When [`Self::due`] has something next, CLOCK_BOOTTIME milliseconds.
    pub(crate) fn next_end(&self) -> Option<u64> {
        let ends = self.held.iter().filter(|grant| grant.ending.is_none() && grant.on_host.failed.is_none());
        let tells = self.held.iter().filter(|grant| !grant.on_host.told).filter_map(|grant| grant.on_host.tell_by_ms);
        ends.map(|grant| grant.ends.boottime_ms).chain(tells).min()
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
        self.notes.write(&note_of(grant, &self.host))
    }
}

fn note_of(grant: &Grant, host: &str) -> Note {
    Note {
        id: grant.id.clone(),
        host: host.to_owned(),
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
        effects: grant.on_host.noted.clone(),
        activating: grant.on_host.activating,
        ending: grant.ending,
        ended: grant.on_host.ended,
        first_end: grant.first_end,
    }
}

fn grant_of(note: Note) -> Grant {
    let on_host = OnHost {
        noted: note.effects,
        activating: note.activating,
        ended: note.ended,
        found: true,
        ..OnHost::default()
    };
    Grant {
        id: note.id,
        requester: note.uid.0,
        user: Some(note.user).filter(|user| !user.is_empty()),
        rule: note.rule,
        role: note.role,
        reason: note.reason,
        ticket: note.ticket,
        groups: note.groups,
        ends: Ends { at: note.ends_at, boottime_ms: note.ends_boottime_ms, boot: note.boot },
        first_end: note.first_end,
        ending: note.ending,
        on_host,
    }
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
    use std::fs;
    use std::path::{Path, PathBuf};

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
            on_host: OnHost::default(),
        }
    }

    pub(crate) fn note() -> Note {
        note_of(&grant(), "h")
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
        fs::create_dir_all(folder.join("ends")).unwrap();
        folder
    }

    fn load(folder: &Path, boot: &str) -> (Grants, Vec<String>) {
        Grants::load(Notes { ends: folder.join("ends"), lasting: folder.join("lasting") }, "h", boot)
    }

    fn held(name: &str) -> (Grants, PathBuf) {
        let folder = folder(name);
        let (mut grants, trouble) = load(&folder, "b1");
        assert!(trouble.is_empty() && grants.is_empty());
        grants.ask(grant());
        assert!(grants.usable(&grant().id, early()).is_none(), "not before the proof");
        grants.begin(&grant().id, early()).unwrap().unwrap();
        assert!(grants.usable(&grant().id, early()).is_none(), "not before the host is changed for it");
        assert_eq!(grants.is_set_up(&grant().id).unwrap().role, "web-operator");
        (grants, folder)
    }

    #[test]
    fn grant_without_a_note_is_none() {
        let (mut grants, _) = load(Path::new("/nonexistent/jitsudo"), "b1");
        grants.ask(grant());
        assert!(grants.begin(&grant().id, early()).unwrap().unwrap_err().contains("cannot be written"));
        assert!(!grants.knows(&grant().id) && grants.begin(&grant().id, early()).is_none());
        assert!(grants.is_set_up(&grant().id).is_err());
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
        fs::write(folder.join("ends/01jd0000000000000000000001"), "{").unwrap();
        let (again, trouble) = load(&folder, "b1");
        let found = Grant { on_host: OnHost { found: true, ..OnHost::default() }, ..grant() };
        assert_eq!((again.held.as_slice(), trouble.len()), ([found].as_slice(), 1));
        let (rebooted, _) = load(&folder, "b2");
        assert!(rebooted.usable(&id, early()).is_none());
        assert_eq!(rebooted.due(early()), [(id.clone(), EndCause::Rebooted)]);
        let later = Ends { boottime_ms: 2_000_000, ..grant().ends };
        grants.extend(&id, &later).unwrap();
        grants.extend(&id, &Ends { boottime_ms: 2_100_000, ..later.clone() }).unwrap();
        let (again, _) = load(&folder, "b1");
        assert_eq!(again.held[0].ends.boottime_ms, 2_100_000, "an extension is kept as well");
        assert_eq!(again.held[0].first_end, Some(grant().ends.at), "and what it began with");
        assert!(grants.begin_end(&id, EndCause::GivenBack) && !grants.begin_end(&id, EndCause::Locked));
        assert!(grants.usable(&id, early()).is_none() && grants.due(at("2026-11-21T13:00:00Z", 1)).is_empty());
        let (again, _) = load(&folder, "b1");
        assert_eq!(again.ending(), [(id.clone(), EndCause::GivenBack)]);
        assert!(grants.extend(&id, &later).is_err(), "what is ending is not extended");
        grants.close(&id);
        assert!(!grants.knows(&id) && !folder.join("ends").join(id.as_str()).exists());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn grant_that_was_being_set_up_is_not_held_after_a_restart() {
        let folder = folder("set-up");
        let (mut grants, _) = load(&folder, "b1");
        let adm = Effect::Membership("adm".to_owned());
        let on_host = OnHost { to_make: vec![adm.clone()], ..OnHost::default() };
        grants.ask(Grant { on_host, ..grant() });
        grants.begin(&grant().id, early()).unwrap().unwrap();
        let (mut note, effect) = grants.next_effect(&grant().id).unwrap();
        assert!(note.activating && effect == adm && grants.next_effect(&grant().id).is_none());
        // As a worker notes it; and the spawner is gone.
        note.set(Noted { effect: adm, gid: None, ours: true, applied: true });
        grants.notes.write(&note).unwrap();
        let (again, _) = load(&folder, "b1");
        assert_eq!((again.activating(), again.usable(&grant().id, early())), (vec![grant().id], None));
        assert_eq!(again.held[0].lent().len(), 1, "it knows what to take back");
        // After a boot the copy on disk says the same.
        fs::remove_dir_all(folder.join("ends")).unwrap();
        let (rebooted, _) = load(&folder, "b2");
        assert_eq!((rebooted.activating().len(), rebooted.held[0].lent().len()), (1, 1));
        fs::remove_dir_all(folder).unwrap();
    }
}
