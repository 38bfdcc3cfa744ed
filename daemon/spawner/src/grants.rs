//! Role grants: which are held, until when, and how far the end of each is. Each has a note in `/run/jitsudo/ends`, written before it
//! counts and removed last: a restarted spawner, and whoever looks when there is none, finds it there; a reboot takes all of them away.
//!
//! MUSTs
//! 1. Nothing is held without its note (`grant_without_a_note_is_none`).
//! 2. A grant is over at the earliest of its two clocks and of another boot, for good (`grant_is_over_by_whichever_clock_is_first`).
//! 3. What a restarted spawner finds is held no longer than before, and what was ending ends (`restart_keeps_ends_and_endings`).
//! 4. What was being set up when a spawner died is never held (`grant_that_was_being_set_up_is_not_held_after_a_restart`).

mod grant;
mod table;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jitsudo_core::Timestamp;
use jitsudo_core::event::EndCause;
use jitsudo_core::id::AccessId;
use jitsudo_core::lends::Effect;
use jitsudo_core::state::Ends;
use jitsudo_link::notes::{self, Note, Notes};

use crate::judge::Now;
pub(crate) use grant::{Extension, Grant, OnHost, is_of, until};
use grant::{grant_of, note_of};
use table::Table;

/// Most roles that one account holds or asks for at once.
pub(crate) const MAX_OF_ACCOUNT: usize = 64;

/// All of them.
#[derive(Debug)]
pub(crate) struct Grants {
    notes: Notes,
    host: String,
    boot: String,
    /// Wait for the proof of who asks.
    asked: Vec<Grant>,
    held: Table,
    /// Those that were closed since somebody asked.
    over: Vec<AccessId>,
    /// Those that were not given.
    given_up: Vec<AccessId>,
    /// Wait likewise; at most one for each that is held.
    extensions: Vec<Extension>,
}

impl Grants {
    /// Finds what an earlier spawner left; and in words which notes cannot be used. What a note no longer says is over: the grants of such
    /// notes, and of drop-ins that no note names, are ending.
    pub(crate) fn load(notes: Notes, drop_ins: &Path, host: &str, boot: &str, now: Now) -> (Self, Vec<String>) {
        let drop_ins = notes::drop_ins(drop_ins);
        let mut listing = notes.read_all();
        let doubtful = notes.doubtful(&listing);
        for note in listing.notes.iter_mut().filter(|note| doubtful.contains(&note.id)) {
            note.ending.get_or_insert(EndCause::Lost);
        }
        let unnamed = notes.unnamed(&listing, &drop_ins).into_iter();
        listing.notes.extend(unnamed.map(|id| notes::unknown(id, host, now.wall, now.boottime_ms, boot)));
        let words = |(path, why): (std::path::PathBuf, String)| {
            format!("the note {} on a role grant cannot be used: {why}", path.display())
        };
        let trouble = listing.garbage.into_iter().map(words).collect();
        let held = Table::of(listing.notes.into_iter().map(grant_of), boot);
        let (asked, over, given_up, extensions) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        (Self { notes, host: host.to_owned(), boot: boot.to_owned(), asked, held, over, given_up, extensions }, trouble)
    }

    /// The boot that these are of.
    pub(crate) fn boot(&self) -> &str {
        &self.boot
    }

    /// True for an id that stands for a role grant here.
    pub(crate) fn knows(&self, id: &AccessId) -> bool {
        self.asked.iter().any(|grant| grant.id == *id) || self.is_held(id)
    }

    /// True for one that is held, or is ending.
    pub(crate) fn is_held(&self, id: &AccessId) -> bool {
        self.held.get(id).is_some()
    }

    /// A grant that may be used now.
    pub(crate) fn usable(&self, id: &AccessId, now: Now) -> Option<&Grant> {
        self.held.get(id).filter(|grant| self.is_usable(grant, now))
    }

    /// Those that may be used now.
    pub(crate) fn all_usable(&self, now: Now) -> impl Iterator<Item = &Grant> {
        self.held.iter().filter(move |grant| self.is_usable(grant, now))
    }

    fn is_usable(&self, grant: &Grant, now: Now) -> bool {
        grant.ending.is_none() && !grant.on_host.activating && !grant.is_over(now, &self.boot)
    }

    /// Every one that is held or is ending.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Grant> {
        self.held.iter()
    }

    /// True while this account may have one more.
    pub(crate) fn has_room_for(&self, uid: u32) -> bool {
        let asked = self.asked.iter().filter(|grant| grant.requester == uid).count();
        asked + self.held.of_account(uid).count() < MAX_OF_ACCOUNT
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
        self.held.get(id).map(|grant| &grant.ends)
    }

    /// Moves the end of one that is held. The note first: without it the end is where it was.
    pub(crate) fn extend(&mut self, id: &AccessId, ends: &Ends) -> std::io::Result<()> {
        let none = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let open = |grant: &&Grant| grant.ending.is_none() && !grant.on_host.activating;
        let mut grant = self.held.get(id).filter(open).cloned().ok_or_else(none)?;
        grant.first_end.get_or_insert(grant.ends.at);
        grant.ends = ends.clone();
        self.note(&grant)?;
        jitsudo_sys::failpoint::reach("spawner.extend.noted");
        self.held.insert(grant);
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
        self.held.insert(grant);
        Some(Ok(()))
    }

    /// Lines for sudo, which know the end by themselves: to be written anew when it moves.
    pub(crate) fn lines_for_sudo(&self, id: &AccessId) -> Option<(Note, Effect)> {
        let grant = self.held.get(id)?;
        let effect = grant.lent().into_iter().find(|effect| effect.sudoers_lines().is_some())?;
        Some((note_of(grant, &self.host), effect))
    }

    /// The next change to the host that it needs, with its note; `None` when there is none.
    pub(crate) fn next_effect(&mut self, id: &AccessId) -> Option<(Note, Effect)> {
        let effect = self.held.get(id)?.on_host.to_make.first().cloned()?;
        self.held.change(id, |grant| drop(grant.on_host.to_make.remove(0)));
        Some((note_of(self.held.get(id)?, &self.host), effect))
    }

    /// Why it must not be held any more, if so.
    pub(crate) fn may_be_held(&self, id: &AccessId, now: Now) -> Result<(), &'static str> {
        match self.held.get(id) {
            None => Err("nobody asked for it here"),
            Some(grant) if grant.is_over(now, &self.boot) => Err("its time was over before it could be given"),
            Some(_) => Ok(()),
        }
    }

    /// It is held from now on. In words why not.
    pub(crate) fn is_set_up(&mut self, id: &AccessId) -> Result<&Grant, String> {
        let mut grant = self.held.get(id).cloned().ok_or("nobody asked for it here")?;
        grant.on_host.activating = false;
        self.note(&grant).map_err(|error| format!("its note cannot be written: {error}"))?;
        jitsudo_sys::failpoint::reach("spawner.held.noted");
        self.held.insert(grant);
        self.held.get(id).ok_or_else(|| "nobody asked for it here".to_owned())
    }

    /// The grant of an id that is set up, held or ending.
    pub(crate) fn find(&self, id: &AccessId) -> Option<&Grant> {
        self.held.get(id)
    }

    /// Changes how far it is on the host; `None` when there is none of that id.
    pub(crate) fn change<T>(&mut self, id: &AccessId, change: impl FnOnce(&mut OnHost) -> T) -> Option<T> {
        self.held.change(id, |grant| change(&mut grant.on_host))
    }

    /// Looks up what a worker has noted.
    pub(crate) fn look_at_note(&mut self, id: &AccessId) {
        // One that cannot be read is no word on the host: what was known of it stands.
        if let Ok(Some(note)) = self.notes.of(id) {
            self.change(id, |on_host| on_host.noted = note.effects);
        }
    }

    /// That it ended is on record; a restarted spawner need not say it again.
    pub(crate) fn has_ended(&mut self, id: &AccessId) {
        self.change(id, |on_host| on_host.ended = true);
        if let Some(grant) = self.held.get(id) {
            let _ = self.notes.write_till_boot(&note_of(grant, &self.host));
            jitsudo_sys::failpoint::reach("spawner.ended.noted");
        }
    }

    /// Writes the note again: a sweep may have taken it away.
    pub(crate) fn write_note(&self, id: &AccessId) {
        if let Some(grant) = self.held.get(id) {
            // Without it the worker finds nothing to take back, which is told.
            let _ = self.note(grant);
        }
    }

    /// Those that are being set up, or were when an earlier spawner died.
    pub(crate) fn activating(&self) -> Vec<AccessId> {
        self.held.activating().cloned().collect()
    }

    /// True for one that is being set up.
    pub(crate) fn is_activating(&self, id: &AccessId) -> bool {
        self.held.get(id).is_some_and(|grant| grant.on_host.activating)
    }

    /// Those whose sessions are to be told now, though what they changed on the host may be there still.
    pub(crate) fn to_tell(&self, now_ms: u64) -> Vec<AccessId> {
        self.held.to_tell(now_ms).cloned().collect()
    }

    /// True while an account has one, or one of it is ending.
    pub(crate) fn is_any_of(&self, uid: u32) -> bool {
        self.held.is_of(uid)
    }

    /// Accounts that got their first one or lost their last, each told once.
    pub(crate) fn moved(&mut self) -> BTreeSet<u32> {
        self.held.moved()
    }

    /// What an account was called when it got what it holds.
    pub(crate) fn names_of(&self, uid: u32) -> BTreeSet<String> {
        let held = self.held.of_account(uid).filter(|grant| grant.ending.is_none());
        held.filter_map(|grant| grant.user.as_ref()).cloned().collect()
    }

    /// Whose they are, and what the accounts were called.
    pub(crate) fn holders(&self) -> BTreeMap<u32, BTreeSet<String>> {
        let mut holders: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
        for grant in self.held.iter().filter(|grant| grant.ending.is_none()) {
            holders.entry(grant.requester).or_default().extend(grant.user.clone());
        }
        holders
    }

    /// Those of an account whose end has not begun.
    pub(crate) fn of(&self, uid: u32) -> impl Iterator<Item = &Grant> {
        self.held.of_account(uid).filter(|grant| grant.ending.is_none())
    }

    /// Ends a grant earlier than it was to end.
    pub(crate) fn shorten(&mut self, id: &AccessId, at: Timestamp, now: Now) {
        let boottime_ms = jitsudo_link::ends::boottime_ms(at, now.wall, now.boottime_ms);
        let shortened = |grant: &mut Grant| {
            let is_shorter = at < grant.ends.at;
            if is_shorter {
                grant.ends.at = at;
                grant.ends.boottime_ms = grant.ends.boottime_ms.min(boottime_ms);
            }
            is_shorter
        };
        if let Some(asked) = self.asked.iter_mut().find(|grant| grant.id == *id) {
            shortened(asked);
        } else if self.held.change(id, shortened) == Some(true)
            // While it is being set up its note is a worker's.
            && let Some(grant) = self.held.get(id).filter(|grant| !grant.on_host.activating)
        {
            // What takes away waits for no record.
            let _ = self.note(grant);
        }
    }

    /// Those whose time is over and whose end has not begun.
    pub(crate) fn due(&self, now: Now) -> Vec<(AccessId, EndCause)> {
        let cause = |grant: &Grant| {
            if grant.ends.boot == self.boot { EndCause::WindowOver } else { EndCause::Rebooted }
        };
        self.held.due(now).into_iter().filter_map(|id| Some((id.clone(), cause(self.held.get(id)?)))).collect()
    }

    /// Those whose end has begun.
    pub(crate) fn ending(&self) -> impl Iterator<Item = &Grant> {
        self.held.ending()
    }

    /// Begins the end: nothing is given under it from now on. False when there is none, or it is ending already.
    pub(crate) fn begin_end(&mut self, id: &AccessId, cause: EndCause) -> bool {
        let is_open = |grant: &&Grant| grant.ending.is_none();
        if self.held.get(id).filter(is_open).is_none() {
            return false;
        }
        self.held.change(id, |grant| grant.ending = Some(cause));
        // Taking away waits for no record and no disk: without it only a restarted spawner would know its first end alone.
        let _ = self.held.get(id).map(|grant| self.notes.write_till_boot(&note_of(grant, &self.host)));
        jitsudo_sys::failpoint::reach("spawner.end.noted");
        true
    }

    /// Nothing of it is left.
    pub(crate) fn close(&mut self, id: &AccessId) {
        self.held.remove(id);
        self.over.push(id.clone());
        // A note that stays ends the grant once more at the next start, which changes nothing.
        let _ = self.notes.remove(id);
        jitsudo_sys::failpoint::reach("spawner.closed");
    }

    /// When [`Self::due`] has something next, CLOCK_BOOTTIME milliseconds.
    pub(crate) fn next_end(&self) -> Option<u64> {
        self.held.next()
    }

    /// All of them.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &AccessId> {
        self.asked.iter().chain(self.held.iter()).map(|grant| &grant.id)
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
