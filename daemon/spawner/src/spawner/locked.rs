//! Locks: everything of a person ends at once, and nothing starts for them, whatever the decider says then.

use std::collections::BTreeSet;

use jitsudo_core::duty::{Duty, duties};
use jitsudo_core::event::EndCause;
use jitsudo_core::id::AccessId;
use jitsudo_core::name::Uid;
use jitsudo_link::spawner::FromSpawner;
use jitsudo_sys::channel::Channel;
use jitsudo_sys::clock;

use super::Spawner;
use super::orders::is_roots_request;
use crate::record;

impl Spawner {
    /// Taking away waits for nothing: it ends before it is written.
    pub(super) fn lock(&mut self, uid: Uid, user: Option<String>) {
        let kept = self.locks.add(uid, user, record::wall(clock::now()));
        let policy = self.applied.policy.as_ref();
        let holders = self.grants.holders();
        let names = |uid: u32| holders.get(&uid).into_iter().flatten().next().map(String::as_str);
        let reached = |uid: &u32| *uid != 0 && self.locks.reach(policy, *uid, names(*uid));
        let uids: BTreeSet<u32> = holders.keys().copied().chain(self.sessions.requesters()).filter(reached).collect();
        let mut all: BTreeSet<AccessId> = BTreeSet::new();
        for uid in uids {
            all.extend(self.grants.of(uid).map(|grant| grant.id.clone()));
            all.extend(self.sessions.accesses_of(uid));
            self.remembered.forget_all(uid);
        }
        for id in all {
            self.end_grant(&id, EndCause::Locked);
        }
        self.close_what_is_over();
        if let Err(cause) = kept {
            self.refuse_silently(&cause);
        }
    }

    pub(super) fn unlock(&mut self, decider: u64, number: u64, uid: Uid, connection: Option<&Channel>) {
        let refused = self.may_unlock(connection).and_then(|()| self.locks.remove(uid)).err();
        if let Some(cause) = &refused {
            self.refuse_silently(&format!("the decider had uid {} unlocked: {cause}", uid.0));
        }
        self.say(decider, &FromSpawner::Unlocked { number, refused });
    }

    fn may_unlock(&mut self, connection: Option<&Channel>) -> Result<(), String> {
        let connection = connection.ok_or("nobody asked for it")?;
        if is_roots_request(connection) {
            return Ok(());
        }
        let moment = clock::now();
        let look = self.looked.take(connection, moment.boottime_ms);
        let facts = look.ok_or("nobody on that connection was looked at")?.learnt.facts;
        let policy = self.applied.policy.as_ref();
        let has_duty = duties(policy, &facts, record::wall(moment)).contains(&Duty::Lock);
        if has_duty && self.locks.on(policy, &facts).is_none() {
            Ok(())
        } else {
            Err("whoever asked for it has no duty `lock`, or is locked".to_owned())
        }
    }
}
