//! Role grants: held once their requester has proven who they are, ended, and closed when nothing is left.

use std::collections::BTreeSet;

use jitsudo_core::event::{EndCause, Event};
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_core::lends::{Effect, Lends};
use jitsudo_core::state::Ends;
use jitsudo_link::session::{SpawnerToSession, Spec};
use jitsudo_link::spawner::{FromSpawner, Start};
use jitsudo_protocol::act::Act;
use jitsudo_sys::clock;

use super::lend::After;
use super::{GRACE_MS, Spawner};
use crate::escapes::Inside;
use crate::grants::{Grant, OnHost};
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
            on_host: OnHost { to_make: self.lends(&start.role), ..OnHost::default() },
        }
    }

    /// What a role changes on the host, by the policy that is applied here.
    fn lends(&self, role: &str) -> Vec<Effect> {
        let mut effects =
            self.applied.policy.as_ref().map(|policy| Lends::of(policy, role).effects).unwrap_or_default();
        // The gate reads `login` from the table of held roles: nothing is to be made.
        effects.retain(|effect| !matches!(effect, Effect::Login(_)));
        effects
    }

    /// Who asks for a role has proven it: it is set up from now on, and its session hears when it is held, or why not.
    pub(super) fn proved(&mut self, session: &SessionId) {
        let id = &session.access;
        if let Some(extension) = self.grants.no_more(id) {
            return self.extend(session, &extension);
        }
        let now = now();
        if let Err(cause) = self.still_gives(id, now) {
            self.grants.give_up(id);
            return self.not_given(id, &cause);
        }
        match self.grants.begin(id, now) {
            Some(Ok(())) => self.go_on(id),
            Some(Err(cause)) => self.not_given(id, &cause),
            None => self.not_given(id, "nobody asked for it here"),
        }
    }

    /// The grant is held from now on, and its session hears so.
    pub(super) fn hold(&mut self, id: &AccessId) {
        if let Err(cause) = self.grants.may_be_held(id, now()) {
            return self.fail_to_activate(id, cause);
        }
        let policy = self.applied.policy.as_ref();
        let holder = self.grants.find(id).map(|grant| (grant.requester, grant.user.clone()));
        if holder.is_some_and(|(uid, user)| self.locks.reach(policy, uid, user.as_deref())) {
            return self.fail_to_activate(id, "its requester was locked meanwhile");
        }
        // What a restarted spawner finds being set up it takes back: the record comes first.
        if !self.recorder.record(Event::Active { id: id.clone() }) {
            return self.fail_to_activate(id, "it cannot be recorded");
        }
        let word = match self.grants.is_set_up(id) {
            Ok(grant) => SpawnerToSession::Activated { role: grant.role.clone(), lent: grant.lent() },
            Err(cause) => return self.fail_to_activate(id, &cause),
        };
        // An account that nobody looked at yet is looked at now.
        self.accounts.look_soon();
        // Before the requester hears of it: a command that follows finds it held.
        self.say_to_all(&FromSpawner::Spooled);
        // A session that is gone has no requester to tell; the grant is theirs all the same, and ends as it would.
        self.sessions.say(&giving(id), &word);
    }

    /// Nothing was given.
    pub(super) fn not_given(&mut self, id: &AccessId, cause: &str) {
        self.reviews.remove(id);
        self.recorder.record(Event::ActivationFailed { id: id.clone(), cause: cause.to_owned() });
        self.say_to_all(&FromSpawner::Spooled);
        self.sessions.say(&giving(id), &SpawnerToSession::NotActivated(cause.to_owned()));
    }

    /// Ends a role grant, or the sessions of another access: rights first, then processes, then the record. False when there is nothing
    /// of that id.
    pub(super) fn end_grant(&mut self, id: &AccessId, cause: EndCause) -> bool {
        let mut after = After::default();
        let known = self.begin_end(id, cause, &mut after);
        self.settle(after);
        known
    }

    /// The same; the caller records what is to be recorded.
    pub(super) fn begin_end(&mut self, id: &AccessId, cause: EndCause, after: &mut After) -> bool {
        if self.end_unpictured(id) {
            return true;
        }
        let known = self.grants.knows(id);
        let asked = self.grants.give_up(id);
        if asked {
            let cause = "it was ended before it was given".to_owned();
            after.records.push(Event::ActivationFailed { id: id.clone(), cause });
        }
        if self.grants.is_activating(id) {
            self.fail_to_activate(id, "it was ended before it was given");
            return true;
        }
        let begins = self.grants.begin_end(id, cause);
        if begins {
            self.change_back(id, after);
        }
        // Sessions of a role that is held end once the host is changed back. What finishes after the end of one, and the conversation about
        // one that was not held yet, end at once.
        if begins && !asked { known } else { self.end_sessions(id, cause) || known }
    }

    pub(super) fn end_sessions(&mut self, id: &AccessId, cause: EndCause) -> bool {
        self.escapes.access_ended(id, clock::boottime_ms());
        self.logins.begin_end(id, clock::boottime_ms(), GRACE_MS);
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
        let changed_back: Vec<&AccessId> =
            self.grants.ending().filter(|grant| grant.on_host.is_changed_back()).map(|grant| &grant.id).collect();
        if changed_back.is_empty() {
            return;
        }
        let remain: BTreeSet<&AccessId> =
            self.sessions.accesses().chain(self.escapes.accesses()).chain(self.logins.accesses()).collect();
        let over: Vec<AccessId> = changed_back.into_iter().filter(|id| !remain.contains(id)).cloned().collect();
        if over.is_empty() {
            return;
        }
        self.recorder.record_all(over.iter().map(|id| Event::Closed { id: id.clone() }).collect());
        over.iter().for_each(|id| self.grants.close(id));
        self.say_to_all(&FromSpawner::Spooled);
    }
}

/// The conversation in which a role is given.
pub(super) fn giving(id: &AccessId) -> SessionId {
    SessionId { access: id.clone(), number: 0 }
}

pub(super) fn now() -> Now {
    let moment = clock::now();
    Now { wall: record::wall(moment), boottime_ms: moment.boottime_ms }
}
