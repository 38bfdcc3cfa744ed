//! More time for a role that is held, once who asks has proven it: recorded, then noted, then told to everything that runs under it.
//!
//! MUSTs
//! 1. The new end is durable before anything moves (host test `extension_moves_*`).
//! 2. A session ends by the new end only when it has said so; until then by the old one (`sessions::tests::session_that_does_not_answer_*`).
//! 3. What cannot be moved stays where it is, and is told.

use jitsudo_core::event::Event;
use jitsudo_core::id::SessionId;
use jitsudo_core::state::Ends;
use jitsudo_link::session::SpawnerToSession;
use jitsudo_link::spawner::{FromSpawner, Start};
use jitsudo_protocol::act::Act;
use jitsudo_sys::clock;

use super::{GRACE_MS, Spawner};
use crate::grants::Extension;
use crate::judge::Now;
use crate::record;

impl Spawner {
    /// The extension that a start becomes once its requester has proven who they are.
    pub(super) fn extension_of(&self, start: &Start, act: &Act) -> Extension {
        let ends = Ends { at: start.ends_at, boottime_ms: start.ends_boottime_ms, boot: self.grants.boot().to_owned() };
        let from = self.grants.end_of(&start.session.access).cloned();
        Extension {
            id: start.session.access.clone(),
            from,
            ends,
            policy: start.policy.clone(),
            reason: act.options.reason.clone(),
        }
    }

    /// Who asks has proven it.
    pub(super) fn extend(&mut self, session: &SessionId, extension: &Extension) {
        let word = match self.move_end(extension) {
            Ok(role) => SpawnerToSession::Activated { role, lent: Vec::new() },
            Err(cause) => SpawnerToSession::NotActivated(cause),
        };
        // Before the requester hears of it: whoever looks then sees the new end.
        self.say_to_all(&FromSpawner::Spooled);
        self.sessions.say(session, &word);
    }

    fn move_end(&mut self, extension: &Extension) -> Result<String, String> {
        let moment = clock::now();
        let now = Now { wall: record::wall(moment), boottime_ms: moment.boottime_ms };
        let Extension { id, from, ends, policy, reason } = extension;
        let grant = self.grants.usable(id, now).ok_or("it was over before you had proven who you are")?;
        if Some(&grant.ends) != from.as_ref() {
            return Err("it was extended by another request meanwhile".to_owned());
        }
        if self.applied.digest.as_deref() != Some(policy.as_str()) {
            return Err("other rules are in force since you asked: ask again".to_owned());
        }
        let (uid, user, rule, role) = (grant.requester, grant.user.clone(), grant.rule.clone(), grant.role.clone());
        let old = grant.ends.clone();
        let event = |ends: &Ends| Event::Extended {
            id: id.clone(),
            ends_at: ends.at,
            ends_boottime_ms: ends.boottime_ms,
            rule: Some(rule.clone()),
            policy: Some(policy.clone()),
            reason: reason.clone(),
        };
        if !self.recorder.record_for(uid, user.clone(), event(ends)) {
            return Err("it cannot be recorded".to_owned());
        }
        if let Err(error) = self.grants.extend(id, ends) {
            // On record it is longer than it is; that is put right, and until then is on the safe side.
            self.recorder.record_for(uid, user, event(&old));
            return Err(format!("its note cannot be written: {error}"));
        }
        self.renew(id);
        for (session, ends_at) in self.sessions.extend(id, ends, &old, now.boottime_ms) {
            self.not_extended(session, ends_at);
        }
        Ok(role)
    }

    /// Sessions that were told of a new end and did not answer.
    pub(super) fn give_up_on_the_silent(&mut self, now_ms: u64) {
        for (session, ends_at) in self.sessions.unanswered(now_ms) {
            self.not_extended(session, ends_at);
            self.say_to_all(&FromSpawner::Spooled);
        }
    }

    fn not_extended(&mut self, session: SessionId, ends_at: jitsudo_core::Timestamp) {
        self.recorder.record(Event::NotExtended { session, ends_at });
    }

    /// A session has the new end.
    pub(super) fn session_has_new_end(&mut self, session: &SessionId, ends_boottime_ms: u64) {
        self.sessions.extended(session, ends_boottime_ms, GRACE_MS);
    }
}
