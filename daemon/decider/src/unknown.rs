//! Accesses that the ledger takes for live and the spawner knows nothing of: a daemon died between the record and the start. Nothing was given,
//! and nobody else would ever say so; until it is said they would count as live, and break-glass would wait for a review that cannot be done.
//!
//! MUSTs
//! 1. Nothing that runs, or is being started, is called lost: the spawner is asked when what was on its way has arrived, and what it knows
//!    nothing of has as long for its last word in the spool as a session that is gone (`access_that_the_spawner_*`).
//! 2. `closed` only on the word of who has looked: the spawner knows of no process, cgroup, note, login or drop-in of it. Of the group file
//!    that word says nothing (`what_is_past_its_end_*`).

use std::collections::BTreeSet;

use jitsudo_core::event::{EndCause, Event};
use jitsudo_core::id::AccessId;
use jitsudo_core::lends::Effect;
use jitsudo_core::state::Access;
use jitsudo_link::spawner::ToSpawner;

use crate::daemon::Daemon;
use crate::follow::Clock;
use crate::work::What;

/// How long after its end something that is not closed is asked about, and how often, milliseconds.
const AGAIN_MS: u64 = 30_000;
/// Ids in one question: they fit a datagram.
const MAX_AT_ONCE: usize = 1_000;

impl Daemon {
    /// The spawner is there: it may be a new one, or this daemon is.
    pub(crate) fn ask_what_is_known_soon(&mut self) {
        let from_ms = self.now_ms().saturating_add(self.patience.last_word_ms);
        self.times.ask_known_ms = self.spawner.says_what_it_knows().then_some(from_ms);
    }

    /// Asks it, when it is time: once about all that is open, and from time to time about what is past its end and not closed. A note that is
    /// gone leaves nobody who would say so, once the last process under the grant is gone too.
    pub(crate) fn ask_what_is_known(&mut self, now_ms: u64) {
        let all = self.times.ask_known_ms.is_some_and(|from_ms| now_ms >= from_ms);
        if (!all && now_ms < self.times.ask_overdue_ms) || !self.spawner.says_what_it_knows() {
            return;
        }
        self.times.ask_overdue_ms = now_ms.saturating_add(AGAIN_MS);
        if all {
            self.times.ask_known_ms = None;
        }
        let under_way = self.being_started();
        let state = self.ledger.state();
        let open = state.live_accesses().filter(|access| all && is_open(access));
        let overdue = state.ended_by(&self.boot, now_ms.saturating_sub(AGAIN_MS));
        let here =
            open.chain(overdue).filter(|access| access.given().is_some_and(|given| given.ends.boot == self.boot));
        let ids: BTreeSet<AccessId> = here.map(|access| access.id().clone()).collect();
        let ids: Vec<AccessId> = ids.difference(&under_way).cloned().collect();
        for ids in ids.chunks(MAX_AT_ONCE) {
            // While it is away nobody answers; it is asked again when it is back.
            let _ = self.spawner.order(&ToSpawner::Known { ids: ids.to_vec() }, None);
        }
        self.watch_spawner();
    }

    /// It knows nothing of these.
    pub(crate) fn are_unknown(&mut self, ids: Vec<AccessId>) {
        let (now_ms, under_way) = (self.now_ms(), self.being_started());
        for id in ids {
            let Some(access) = self.ledger.state().access(&id).filter(|access| access.is_live()) else { continue };
            if under_way.contains(&id) {
                continue;
            }
            if !is_open(access) || access.given().is_some_and(jitsudo_core::state::Given::is_role) {
                self.unknown.entry(id).or_insert(now_ms);
            } else {
                for session in access.sessions() {
                    self.gone.entry(session.id.clone()).or_insert(now_ms);
                }
            }
        }
        self.look_at_spool();
    }

    fn being_started(&self) -> BTreeSet<AccessId> {
        let starting = self.pending.values().filter_map(|pending| match &pending.what {
            What::Start(started) => Some(started.session.access.clone()),
            _ => None,
        });
        starting.collect()
    }
}

/// True while it may be that nobody speaks of it any more: what has ended is closed by whoever looks at the host.
pub(crate) fn is_open(access: &Access) -> bool {
    matches!(access, Access::Activating(_) | Access::Active(_))
}

/// What is to be written of a role that nobody holds, and of what has ended and is nowhere.
pub(crate) fn last_words(access: &Access, since_ms: u64, clock: &Clock<'_>) -> Vec<Event> {
    let is_silent = clock.has_listened(since_ms, clock.last_word_ms);
    let Some(given) = access.given().filter(|_| access.is_live() && is_silent) else { return Vec::new() };
    let id = || access.id().clone();
    // Whether an entry of the group file is gone only whoever reads it can say.
    let close = (!given.lent.iter().any(Effect::outlives_boot)).then(|| Event::Closed { id: id() });
    let end = is_open(access).then(|| Event::Ended { id: id(), cause: EndCause::Lost });
    end.into_iter().chain(close).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Asked, Stamp};
    use crate::tests::samples;
    use jitsudo_core::Timestamp;
    use jitsudo_core::request::Kind;
    use jitsudo_core::state::State;
    use jitsudo_link::facts::Peer;

    /// A role that was decided on, and of which nobody heard since.
    fn asked(more: &[Event]) -> (AccessId, State) {
        let (id, facts, mut request) = (AccessId::new(1, [1; 10]), samples::facts(), samples::request(&[]));
        request.kind = Kind::Role;
        let peer = Peer { pid: 7, uid: 1000, gid: 1000 };
        let asked = Asked { id: &id, peer, facts: &facts, process: None, request: &request, digest: "d", policy: "p" };
        let stamp = Stamp { host: "h".into(), boot: "now".into(), wall: Timestamp::UNIX_EPOCH, boottime_ms: 1 };
        let target = facts.target.known().cloned().flatten().unwrap();
        let mut state = State::default();
        let entries = asked.given(&stamp, &samples::terms(), &target, Timestamp::UNIX_EPOCH, 1_000_000);
        entries.iter().for_each(|entry| state.apply(entry));
        more.iter().for_each(|event| state.apply(&stamp.entry(event.clone())));
        (id, state)
    }

    fn words(more: &[Event], now_ms: u64) -> Vec<&'static str> {
        let (id, state) = asked(more);
        let clock = Clock { now_ms, awake_ms: 0, boot: "now", last_word_ms: 10_000 };
        last_words(state.access(&id).unwrap(), 5_000, &clock).iter().map(Event::name).collect()
    }

    #[test]
    fn access_that_the_spawner_knows_nothing_of_has_ten_seconds_for_its_last_word() {
        assert_eq!(words(&[], 14_999), Vec::<&str>::new());
        assert_eq!(words(&[], 15_000), ["ended", "closed"]);
        let (id, _) = asked(&[]);
        // Its last word came; and what was lent is not called gone by who does not see the host.
        let failed = Event::ActivationFailed { id: id.clone(), cause: "x".to_owned() };
        assert_eq!(words(&[failed], 15_000), Vec::<&str>::new());
        let lent = Event::EffectApplied { id, effect: Effect::Membership("adm".to_owned()), ours: true };
        assert_eq!(words(&[lent], 15_000), ["ended"]);
    }

    #[test]
    fn what_is_past_its_end_and_nowhere_is_closed_unless_an_entry_of_the_group_file_may_be_left() {
        let (id, _) = asked(&[]);
        let applied = |effect| Event::EffectApplied { id: id.clone(), effect, ours: true };
        let ended = || Event::Ended { id: id.clone(), cause: EndCause::Lost };
        assert_eq!(words(&[ended()], 15_000), ["closed"]);
        assert_eq!(words(&[ended()], 14_999), Vec::<&str>::new());
        let lines = applied(Effect::Sudoers(vec!["/usr/bin/id".to_owned()]));
        assert_eq!(words(std::slice::from_ref(&lines), 15_000), ["ended", "closed"], "a drop-in would be known");
        assert_eq!(words(&[lines, ended()], 15_000), ["closed"]);
        let entry = applied(Effect::Membership("adm".to_owned()));
        assert_eq!(words(&[entry, ended()], 15_000), Vec::<&str>::new());
        assert_eq!(words(&[ended(), Event::Closed { id: id.clone() }], 15_000), Vec::<&str>::new());
    }
}
