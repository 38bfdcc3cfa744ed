//! What role grants change on the host: made one after another before a grant is held, taken back before its sessions end.
//!
//! MUSTs
//! 1. A grant is held only when all of it is made, read back and recorded (host tests `lent`).
//! 2. What is made goes first at the end, and is verified; what cannot be taken back is tried for ever, and said (host tests `lent`).
//! 3. Sessions do not live on because the host cannot be changed back (host tests `lent`).

use jitsudo_core::event::Event;
use jitsudo_core::id::AccessId;
use jitsudo_core::lends::Effect;
use jitsudo_link::notes::Noted;
use jitsudo_link::session::SpawnerToSession;
use jitsudo_link::spawner::{FromSpawner, Lent, TakenBack, Undone};
use jitsudo_sys::clock;

use super::Spawner;
use super::held::giving;
use crate::changes::{Came, Kind};
use crate::grants::Grant;
use crate::judge::Now;

/// How long sessions wait for the host to be changed back, milliseconds.
const TELL_MS: u64 = 500;
/// First pause before another try, milliseconds; twice as long each time.
const PAUSE_MS: u64 = 500;
/// Longest pause.
const LONGEST_PAUSE_MS: u64 = 8_000;
/// How often what cannot be taken back is recorded again, milliseconds.
const SHOUT_MS: u64 = 600_000;

impl Spawner {
    /// What an earlier spawner left: held ones stay, what was ending ends, what was being set up is taken back.
    pub(super) fn take_up_grants(&mut self) {
        for id in self.grants.activating() {
            self.fail_to_activate(&id, "jitsudo-spawn was started anew before it was given");
        }
        let mut after = After::default();
        let ending: Vec<AccessId> = self.grants.ending().map(|grant| grant.id.clone()).collect();
        for id in &ending {
            // One that cannot be read is whole again: a worker goes by it.
            self.grants.write_note(id);
            self.change_back(id, &mut after);
        }
        self.settle(after);
    }

    /// Makes the next change for a grant that is being set up; it is held when there is none. The host's picture comes before the first.
    pub(super) fn go_on(&mut self, id: &AccessId) {
        if self.waits_for_picture(id) {
            return;
        }
        match self.grants.next_effect(id) {
            Some((note, effect)) => {
                // Started at the end of this turn of the loop.
                self.changes.apply(note, effect);
            }
            None => self.hold(id),
        }
    }

    /// It will not be held: what was made is taken back first.
    pub(super) fn fail_to_activate(&mut self, id: &AccessId, cause: &str) {
        let fails = self.grants.change(id, |on_host| {
            on_host.to_make.clear();
            let fails = on_host.failed.is_none();
            on_host.failed.get_or_insert_with(|| cause.to_owned());
            fails
        });
        if fails == Some(true) {
            let mut after = After::default();
            self.change_back(id, &mut after);
            self.settle(after);
        }
    }

    /// Takes back what is noted of a grant that ends, or is not held after all. Its sessions wait for that, but not long.
    pub(super) fn change_back(&mut self, id: &AccessId, after: &mut After) {
        let now_ms = clock::boottime_ms();
        // What no worker has begun yet never is: nobody would take it back.
        self.changes.make_no_more(id);
        let is_busy = self.changes.is_busy_with(id);
        let Some(grant) = self.grants.find(id) else { return };
        if grant.on_host.noted.is_empty() && !is_busy {
            return self.is_changed_back(id, after);
        }
        let kind = kind_of(grant);
        self.grants.change(id, |on_host| on_host.tell_by_ms = Some(now_ms.saturating_add(TELL_MS)));
        // Started at the end of this turn of the loop: all that end in one moment are in one worker's hands.
        self.changes.undo(id, kind, now_ms, false);
    }

    /// Ends what is over: first all that is to be taken back goes to workers, together; records, which wait for the disk, come last.
    pub(super) fn end_what_is_over(&mut self, now: Now) {
        let due = self.grants.due(now);
        if due.is_empty() {
            return;
        }
        let mut after = After::default();
        for (id, cause) in due {
            self.begin_end(&id, cause, &mut after);
        }
        let came = self.changes.dispatch(now.boottime_ms);
        self.came(came);
        self.settle(after);
    }

    /// What time asks for: late workers, another try, and sessions that waited long enough.
    pub(super) fn lend_on_time(&mut self, now_ms: u64) {
        let came = self.changes.expire(now_ms);
        self.came(came);
        let mut after = After::default();
        for id in self.grants.to_tell(now_ms) {
            self.tell(&id, &mut after);
        }
        self.settle(after);
        let came = self.changes.dispatch(now_ms);
        self.came(came);
    }

    /// Workers have answered, or will not.
    pub(super) fn came(&mut self, all: Vec<Came>) {
        let mut after = After::default();
        for came in all {
            match came {
                Came::OfApply { id, effect, lent } => {
                    self.grants.look_at_note(&id);
                    match lent {
                        _ if !self.grants.is_activating(&id) => self.renewed(&id, effect, &lent, &mut after),
                        Lent::Done { ours } => {
                            let event = Event::EffectApplied { id: id.clone(), effect, ours };
                            let is_wanted = self.grants.find(&id).is_some_and(|grant| grant.on_host.failed.is_none());
                            if !self.recorder.record(event) {
                                self.fail_to_activate(&id, "it cannot be recorded");
                            } else if is_wanted {
                                self.go_on(&id);
                            }
                        }
                        Lent::Failed(cause) => self.fail_to_activate(&id, &cause),
                    }
                }
                Came::OfUndo(undone) => self.undone(undone, &mut after),
                Came::Nothing(id, why) => {
                    self.grants.look_at_note(&id);
                    self.try_again(&id, &why, &mut after);
                }
            }
        }
        self.settle(after);
    }

    /// The end of a role that is held has moved: what knows its end by itself is written anew.
    pub(super) fn renew(&mut self, id: &AccessId) {
        if let Some((note, effect)) = self.grants.lines_for_sudo(id) {
            self.changes.apply(note, effect);
        }
    }

    /// What could not be written anew is gone, or ends when it would have ended.
    fn renewed(&mut self, id: &AccessId, effect: Effect, lent: &Lent, after: &mut After) {
        let Lent::Failed(cause) = lent else { return };
        let is_there = self.grants.find(id).is_some_and(|grant| grant.lent().contains(&effect));
        self.recorder.say(&format!("{id}: {effect} cannot be written anew for a later end: {cause}"));
        if !is_there {
            after.records.push(Event::EffectUndone { id: id.clone(), effect, removed: true });
        }
    }

    /// After the ends of all of them: a record is a wait for the disk.
    pub(super) fn settle(&mut self, after: After) {
        if after.records.is_empty() {
            return;
        }
        let ended = |event: &Event| match event {
            Event::Ended { id, .. } => Some(id.clone()),
            _ => None,
        };
        let ended: Vec<Option<AccessId>> = after.records.iter().map(ended).collect();
        let recorded = self.recorder.record_all(after.records);
        for id in ended.into_iter().zip(recorded).filter_map(|(id, recorded)| id.filter(|_| recorded)) {
            self.grants.has_ended(&id);
        }
        for id in after.close {
            self.grants.close(&id);
        }
        self.say_to_all(&FromSpawner::Spooled);
    }

    /// What is gone, and what is left.
    fn undone(&mut self, undone: Undone, after: &mut After) {
        let Undone { id, effects } = undone;
        let Some(grant) = self.grants.find(&id) else { return };
        let (requester, noted) = (grant.requester, grant.on_host.noted.clone());
        let (mut left, mut gone) = (Vec::new(), Vec::new());
        for (effect, taken) in effects {
            match taken {
                TakenBack::Done { removed, remark: _ } => {
                    let own = noted.iter().find(|noted| noted.effect == effect && noted.ours);
                    if let (Effect::Membership(_), Some(gid)) = (&effect, own.and_then(|noted| noted.gid)) {
                        // New logins had it: what the group file does not give them any more goes.
                        self.escapes.membership_ended(&id, requester, gid.0, clock::boottime_ms());
                    }
                    gone.push(effect.clone());
                    after.records.push(Event::EffectUndone { id: id.clone(), effect, removed });
                }
                TakenBack::Failed(cause) => left.push(cause),
            }
        }
        let is_clean = self.grants.change(&id, |on_host| {
            on_host.noted.retain(|noted| !gone.contains(&noted.effect));
            on_host.noted.is_empty()
        });
        if is_clean == Some(true) {
            self.is_changed_back(&id, after);
        } else {
            let why = if left.is_empty() { "its note is gone".to_owned() } else { left.join("; ") };
            self.try_again(&id, &why, after);
        }
    }

    /// Nothing of it is on the host any more.
    fn is_changed_back(&mut self, id: &AccessId, after: &mut After) {
        self.tell(id, after);
        let Some(on_host) = self.grants.find(id).map(|grant| &grant.on_host) else { return };
        let Some(cause) = on_host.failed.clone() else { return };
        // Whoever waited long may have been told that it ended.
        let close = on_host.tries > 0 || on_host.found;
        self.reviews.remove(id);
        after.records.push(Event::ActivationFailed { id: id.clone(), cause });
        after.records.extend(close.then(|| Event::Closed { id: id.clone() }));
        after.close.push(id.clone());
    }

    /// Tells the sessions of a grant that it is over, or its requester that it is not given.
    fn tell(&mut self, id: &AccessId, after: &mut After) {
        let Some(grant) = self.grants.find(id).filter(|grant| !grant.on_host.told) else { return };
        let (failed, ending, grant_ended) = (grant.on_host.failed.clone(), grant.ending, grant.on_host.ended);
        let is_clean = grant.on_host.noted.is_empty();
        self.grants.change(id, |on_host| on_host.told = true);
        match (failed, ending) {
            (Some(cause), _) => {
                let left = if is_clean { "" } else { "; what was made is still being taken back" };
                self.sessions.say(&giving(id), &SpawnerToSession::NotActivated(format!("{cause}{left}")));
            }
            (None, Some(cause)) => {
                self.end_sessions(id, cause);
                if !grant_ended {
                    after.records.push(Event::Ended { id: id.clone(), cause });
                }
            }
            (None, None) => {}
        }
    }

    /// It may be there still: said once and then rarely, tried for ever.
    fn try_again(&mut self, id: &AccessId, why: &str, after: &mut After) {
        let now_ms = clock::boottime_ms();
        self.tell(id, after);
        let tried = self.grants.change(id, |on_host| {
            let pause_ms = PAUSE_MS.saturating_mul(1 << on_host.tries.min(8)).min(LONGEST_PAUSE_MS);
            on_host.tries = on_host.tries.saturating_add(1);
            let shouts = on_host.shouted_ms.is_none_or(|last_ms| now_ms >= last_ms.saturating_add(SHOUT_MS));
            if shouts {
                on_host.shouted_ms = Some(now_ms);
            }
            (pause_ms, shouts)
        });
        let Some((pause_ms, shouts)) = tried else { return };
        let kind = self.grants.find(id).map_or(Kind::GroupFile, kind_of);
        if shouts {
            after.records.push(Event::CleanupFailed { id: id.clone(), cause: why.to_owned() });
        }
        self.grants.write_note(id);
        self.changes.undo(id, kind, now_ms.saturating_add(pause_ms), true);
    }
}

/// What is being made and not noted yet may be anything.
fn kind_of(grant: &Grant) -> Kind {
    let noted = &grant.on_host.noted;
    let own_files = |noted: &Noted| matches!(noted.effect, Effect::Sudoers(_) | Effect::SudoersWithoutEnd(_));
    if !noted.is_empty() && noted.iter().all(own_files) { Kind::OwnFiles } else { Kind::GroupFile }
}

/// What is recorded once all is done that does not wait for it.
#[derive(Default)]
pub(super) struct After {
    pub(super) records: Vec<Event>,
    /// Whose notes go then.
    close: Vec<AccessId>,
}
