//! Role grants: held once their requester has proven who they are, ended, and closed when nothing is left.

use jitsudo_core::event::{EndCause, Event};
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_core::state::Ends;
use jitsudo_link::session::{SpawnerToSession, Spec};
use jitsudo_link::spawner::{FromSpawner, Start};
use jitsudo_protocol::act::Act;
use jitsudo_sys::clock;

use super::{GRACE_MS, Spawner};
use crate::escapes::Inside;
use crate::grants::Grant;
use crate::judge::Now;
use crate::record;

impl Spawner {
    /// The grant that a role request becomes once its requester has proven who they are.
    pub(super) fn grant_of(&self, start: &Start, spec: &Spec, act: &Act) -> Grant {
        let ends = Ends { at: start.ends_at, boottime_ms: start.ends_boottime_ms, boot: self.grants.boot().to_owned() };
        Grant {
            id: start.session.access.clone(),
            requester: spec.peer.uid,
            user: spec.requester.name.known().cloned(),
            rule: start.rule.clone(),
            role: start.role.clone(),
            reason: act.options.reason.clone(),
            ticket: act.options.ticket.clone(),
            groups: start.groups.iter().filter_map(|group| group.name.clone()).collect(),
            ends,
            first_end: None,
            ending: None,
        }
    }

    /// Who asks for a role has proven it: it is held from now on, and its session hears so, or why not.
    pub(super) fn proved(&mut self, session: &SessionId) {
        let id = &session.access;
        if let Some(extension) = self.grants.no_more(id) {
            return self.extend(session, &extension);
        }
        let moment = clock::now();
        let now = Now { wall: record::wall(moment), boottime_ms: moment.boottime_ms };
        let given = self.still_gives(id, now);
        if given.is_err() {
            self.grants.give_up(id);
        }
        let activated = given.and_then(|()| match self.grants.activate(id, now) {
            None => Err("nobody asked for it here".to_owned()),
            Some(activated) => activated.map(|grant| grant.role.clone()),
        });
        let activated = activated.and_then(|role| {
            if self.recorder.record(Event::Active { id: id.clone() }) {
                return Ok(role);
            }
            self.grants.close(id);
            Err("it cannot be recorded".to_owned())
        });
        let word = match activated {
            Ok(role) => SpawnerToSession::Activated { role },
            Err(cause) => {
                self.reviews.remove(id);
                self.recorder.record(Event::ActivationFailed { id: id.clone(), cause: cause.clone() });
                SpawnerToSession::NotActivated(cause)
            }
        };
        // An account that nobody looked at yet is looked at now.
        self.accounts.look_soon();
        // Before the requester hears of it: a command that follows finds it held.
        self.say_to_all(&FromSpawner::Spooled);
        // A session that is gone has no requester to tell; the grant is theirs all the same, and ends as it would.
        self.sessions.say(session, &word);
    }

    /// Begins the end of a role grant, or of the sessions of another access: rights first, then processes, then the record. False
    /// when there is nothing of that id.
    pub(super) fn end_grant(&mut self, id: &AccessId, cause: EndCause) -> bool {
        let known = self.grants.knows(id);
        let asked = self.grants.give_up(id);
        if asked {
            let cause = "it was ended before it was given".to_owned();
            self.recorder.record(Event::ActivationFailed { id: id.clone(), cause });
            self.say_to_all(&FromSpawner::Spooled);
        }
        let began = self.grants.begin_end(id, cause);
        self.escapes.access_ended(id, clock::boottime_ms());
        let ends = self.end_sessions(id, cause);
        self.logins.begin_end(id, clock::boottime_ms(), GRACE_MS);
        if began {
            self.recorder.record(Event::Ended { id: id.clone(), cause });
            self.say_to_all(&FromSpawner::Spooled);
        }
        known || ends
    }

    pub(super) fn end_sessions(&mut self, id: &AccessId, cause: EndCause) -> bool {
        self.sessions.end_all(id, cause, clock::boottime_ms(), GRACE_MS)
    }

    /// Goes on looking for what got away from sessions that have ended.
    pub(super) fn look_for_escapes(&mut self, now_ms: u64) {
        let whereabouts = self.sessions.whereabouts();
        let inside = whereabouts.as_ref().map(|inside| inside as Inside<'_>);
        let events = self.escapes.step(inside, now_ms);
        if !events.is_empty() {
            events.into_iter().for_each(|event| {
                self.recorder.record(event);
            });
            self.say_to_all(&FromSpawner::Spooled);
        }
    }

    /// Role grants that are ending, and of which nothing is left.
    pub(super) fn close_what_is_over(&mut self) {
        for (id, _) in self.grants.ending() {
            if !self.sessions.remains(&id) && !self.escapes.remains(&id) && !self.logins.remain(&id) {
                self.recorder.record(Event::Closed { id: id.clone() });
                self.grants.close(&id);
                self.say_to_all(&FromSpawner::Spooled);
            }
        }
    }
}
