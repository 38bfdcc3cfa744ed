//! What follows by itself: the spawner's words, durable batches, the spool, and the clock.

use std::collections::BTreeMap;

use jitsudo_core::event::{EndCause, Ending, Entry, Event};
use jitsudo_core::id::SessionId;
use jitsudo_core::lends::Effect;
use jitsudo_core::state::{Access, Given};
use jitsudo_ledger::{AppendError, Priority, spool};
use jitsudo_link::spawner::{FromSpawner, LookFailure, Memory, ToSpawner};
use jitsudo_sys::syslog::Severity;

use crate::approvals::Told;
use crate::daemon::{Daemon, offset_ms, wall};
use crate::ledger::Written;
use crate::lines;
use crate::spawner::Offers;
use crate::unknown;
use crate::words;
use crate::work::{After, Pending, What};

/// Between two looks at the spool when nobody says that there is something.
const SPOOL_MS: u64 = 5_000;
/// Between two tries to mend the ledger.
const MEND_MS: u64 = 5_000;
/// A wall clock that moves further against the boot clock between two ticks was set.
const STEP_MS: i128 = 2_000;
/// A tick that comes later than this, milliseconds, was slept through, by the host or by this daemon.
const ASLEEP_MS: u64 = 10_000;
/// How long past its end an access without a word is still waited for.
const OVERDUE_MS: u64 = 60_000;

impl Daemon {
    /// What is done before the first client.
    pub(crate) fn begin(&mut self) {
        self.spawner.begin(self.now_ms());
        self.connect_spawner();
        if let Some(trouble) = self.policy.trouble() {
            let text = trouble.to_owned();
            self.tell(Severity::Error, &text);
        }
        self.ledger_opened();
        self.look_at_spool();
        let enrolled = if self.settings.host.is_some() { "" } else { " (not enrolled)" };
        self.notify.send(&format!("READY=1\nSTATUS=Deciding for {}{enrolled}", self.host));
    }

    fn ledger_opened(&mut self) {
        let cuts = self.ledger.take_cuts();
        let stamp = self.stamp();
        let entries: Vec<Entry> = cuts.into_iter().map(|event| stamp.entry(event)).collect();
        if !entries.is_empty() {
            self.ledger.append(entries, Priority::Essential);
        }
    }

    /// The spawner says something.
    pub(crate) fn spawner_said(&mut self, message: FromSpawner) {
        match message {
            FromSpawner::Ready { policy, memory, grants, reviews, extends, effects, tells, locks, knows, proves } => {
                let offers = Offers { grants, reviews, extends, effects, tells, locks: locks.is_some(), knows, proves };
                self.spawner.is_now_ready(policy.clone(), offers);
                locks.into_iter().for_each(|locks| self.agree_on_locks(locks));
                self.spawner_is_ready(policy.as_deref(), memory);
            }
            FromSpawner::Looked { number, peer, facts, process, program, inside } => {
                self.looked(
                    number,
                    peer,
                    *facts,
                    process.as_deref(),
                    Told { program: program.map(|one| *one), inside, hashed: false },
                );
            }
            FromSpawner::LookFailed { number, cause } => {
                if let Some(pending) = self.pending.remove(&number) {
                    if let What::Lock(locking) = pending.what {
                        self.lock_what_is_known(pending.client, locking);
                    } else if Self::is_unknown_user(&pending.what, &cause) {
                        self.give_unknown_user(pending.client);
                    } else {
                        self.fail(pending.client, words::look_fault(&cause));
                    }
                }
            }
            FromSpawner::Started { number, pid: _ } => {
                if let Some(pending) = self.pending.remove(&number) {
                    self.hand_over(pending.client);
                }
            }
            FromSpawner::StartRefused { number, cause, disagree } => {
                if let Some(pending) = self.pending.remove(&number)
                    && let What::Start(started) = pending.what
                {
                    self.start_refused(pending.client, started, &cause, disagree);
                }
            }
            FromSpawner::Applied { number, outcome } => self.applied(number, outcome),
            FromSpawner::Forgotten { number } => self.forgotten(number),
            FromSpawner::Signed { number, outcome } => self.signature_arrived(number, outcome),
            FromSpawner::Reviewed { number, outcome } => self.reviewed(number, outcome),
            FromSpawner::Unlocked { number, refused } => self.unlocked(number, refused),
            FromSpawner::Ending { number, known } => self.end_has_begun(number, known),
            FromSpawner::Proved { number, outcome } => self.proof_arrived(number, outcome),
            FromSpawner::Here { number, accounts } => self.people_are_here(number, accounts),
            FromSpawner::Told { number, told } => self.people_were_told(number, told),
            FromSpawner::SaidYes { session } => self.said_yes(&session),
            FromSpawner::Unknown { ids } => self.are_unknown(ids),
            FromSpawner::Spooled => self.look_at_spool(),
            FromSpawner::SessionGone { session } => {
                let now_ms = self.now_ms();
                self.gone.entry(session).or_insert(now_ms);
                self.look_at_spool();
            }
        }
    }

    fn spawner_is_ready(&mut self, policy: Option<&str>, memory: Option<Memory>) {
        let differs = policy != self.policy.digest();
        self.take_memory(memory);
        if differs {
            self.reload_policy();
        }
        if std::mem::take(&mut self.times.spawner_away_told) {
            self.tell(Severity::Notice, "jitsudo-spawn is back");
        }
        self.look_at_spool();
        self.ask_what_is_known_soon();
        self.end_what_is_locked();
        self.end_what_lapsed();
        self.spawner_is_back();
    }

    /// The connection to the spawner is lost. What waited for facts is told; what was being started may have begun, and its session
    /// says so in the spool.
    pub(crate) fn spawner_lost(&mut self, cause: &str) {
        let now_ms = self.now_ms();
        self.spawner.drop_connection(cause, now_ms);
        for pending in std::mem::take(&mut self.pending).into_values() {
            match pending.what {
                What::Lock(locking) => self.lock_what_is_known(pending.client, locking),
                What::Here { id, .. } | What::Tell(id) => self.not_delivered(&id, None, "", cause),
                _ => self.fail(pending.client, words::spawner_fault(cause)),
            }
        }
        self.heads_without_spawner();
        // Its socket outlives it: who begins it anew takes this connection.
        self.connect_spawner();
    }

    /// Reads the applied policy again, while others are served.
    pub(crate) fn reload_policy(&mut self) {
        self.loads.begin(&self.places.policy, self.places.root);
    }

    /// The policy is loaded: it is in force from now on, and the runs that waited for it go on.
    pub(crate) fn settle_policy(&mut self) {
        let Some(loaded) = self.loads.finished(&self.places.policy, self.places.root) else { return };
        self.policy = loaded;
        if let Some(trouble) = self.policy.trouble() {
            let text = trouble.to_owned();
            self.tell(Severity::Error, &text);
        }
        for (client, outcome) in std::mem::take(&mut self.loads.outcomes) {
            self.tell_applied(client, &outcome, true);
        }
        self.end_what_is_locked();
        self.end_what_lapsed();
        self.resume_held();
    }

    /// Goes on with the runs that waited for a policy, or for a look at the ledger; those that must wait on are held again.
    pub(crate) fn resume_held(&mut self) {
        self.resume_activations();
        for (client, act) in std::mem::take(&mut self.loads.held) {
            if self.clients.contains_key(&client) {
                self.begin_run(client, act);
            }
        }
    }

    /// Does what had to wait for the disk.
    pub(crate) fn settle_ledger(&mut self) {
        for finished in self.ledger.finished() {
            let after = self.after.remove(&finished.ticket);
            let outcome = finished.outcome.map(|written| self.tell_written(written));
            match after {
                None => {}
                Some(After::Asked(id)) => self.question_recorded(&id, outcome),
                Some(After::Approved { id, enough, handed_by }) => self.yes_recorded(&id, enough, handed_by, outcome),
                Some(After::Start(prepared)) => {
                    let counts = prepared.counts;
                    self.recorded(*prepared, outcome);
                    // Who waited for it to be counted goes on.
                    if counts && !self.loads.are_under_way() {
                        self.resume_held();
                    }
                }
                Some(After::Reviewed { client, id }) => self.review_recorded(client, &id, outcome),
                Some(After::Spool(names)) => {
                    self.spool.settled(&names);
                    if outcome.is_ok() {
                        self.folded(names);
                    }
                    if !self.loads.are_under_way() {
                        self.resume_held();
                    }
                }
                Some(After::Applied { client, outcome }) if self.loads.are_under_way() => {
                    self.loads.outcomes.push((client, outcome));
                }
                Some(After::Applied { client, outcome }) => self.tell_applied(client, &outcome, true),
                Some(After::Lost) => {}
                Some(After::Told { client, item }) => match outcome {
                    Ok(()) => self.give_items(client, vec![item]),
                    Err(error) => self.fail(client, words::ledger_fault(&error)),
                },
                Some(After::Locked { client, uid, item }) => self.lock_recorded(client, uid, item, outcome),
                Some(After::Unlocked { client, uid, item }) => self.unlock_recorded(client, uid, item, outcome),
                Some(After::Acknowledged { client }) => self.acknowledgement_recorded(client, outcome),
            }
        }
        self.ledger_opened();
        self.tell_ledger_trouble();
    }

    fn tell_written(&mut self, written: Written) {
        for (seq, entry, json) in &written.lines {
            let access = entry.event.access().and_then(|id| self.ledger.state().access(id));
            let told = lines::of_entry(*seq, entry, json, access);
            self.outputs.tell(told);
        }
        if let Some(sealed) = written.sealed {
            self.segment_sealed(sealed);
        }
    }

    fn tell_ledger_trouble(&mut self) {
        match self.ledger.trouble().map(AppendError::to_string) {
            Some(trouble) if !self.times.ledger_trouble_told => {
                self.times.ledger_trouble_told = true;
                self.tell(Severity::Alert, &format!("{trouble}; nothing is given until that is mended"));
            }
            None if self.times.ledger_trouble_told => {
                self.times.ledger_trouble_told = false;
                self.tell(Severity::Notice, "the ledger takes records again");
            }
            Some(_) | None => {}
        }
    }

    fn folded(&mut self, names: Vec<String>) {
        jitsudo_sys::failpoint::reach("decider.folded");
        // While it is away the files stay, and are told of at the next look.
        let _ = self.spawner.order(&ToSpawner::Folded { names }, None);
        self.watch_spawner();
    }

    /// Folds in what lies in the spool.
    pub(crate) fn look_at_spool(&mut self) {
        self.times.spool_ms = self.now_ms().saturating_add(SPOOL_MS);
        let listing = match spool::read_dir(&self.places.spool) {
            Ok(listing) => listing,
            Err(error) => {
                let text = format!("cannot read the spool {}: {error}", self.places.spool.display());
                return self.tell(Severity::Error, &text);
            }
        };
        let plan = self.spool.plan(listing, self.ledger.state(), self.places.root, wall(self.moment));
        for (name, why) in plan.refused {
            self.tell(Severity::Error, &format!("spool file {name} is not folded in: {why}"));
        }
        for names in plan.already.chunks(256) {
            self.folded(names.to_vec());
        }
        for (names, entries) in plan.batches {
            let ticket = self.ledger.append(entries, Priority::Essential);
            self.after.insert(ticket, After::Spool(names));
        }
    }

    /// What the clock asks for.
    pub(crate) fn tick(&mut self) {
        let now_ms = self.now_ms();
        self.keep_awake(now_ms);
        self.keep_watchdog(now_ms);
        self.accept_again();
        self.look_at_front();
        self.resume_the_paused();
        self.drop_the_silent();
        self.drop_the_unanswered(now_ms);
        self.connect_spawner();
        self.spawner_is_still_away(now_ms);
        self.tell_spawner_away();
        self.watch_clock();
        for (uid, count, seconds) in self.limits.close_minutes(now_ms) {
            let event = Event::DenialsCounted { uid: jitsudo_core::name::Uid(uid), count, seconds };
            let entry = self.stamp().entry(event);
            self.ledger.append(vec![entry], Priority::Ordinary);
        }
        if now_ms >= self.times.spool_ms {
            self.look_at_spool();
        }
        if now_ms >= self.times.mend_ms {
            self.times.mend_ms = now_ms.saturating_add(MEND_MS);
            if self.ledger.mend() {
                self.ledger_opened();
                self.check_ledger();
            }
            self.look_again();
            self.record_locks();
            self.tell_ledger_trouble();
        }
        self.tend_approvals();
        self.ask_what_is_known(now_ms);
        self.end_the_lost(now_ms);
        self.tend_heads(now_ms);
    }

    /// Whoever owes us a word slept too, when the host did: their time begins when ours does.
    fn keep_awake(&mut self, now_ms: u64) {
        let before_ms = std::mem::replace(&mut self.times.ticked_ms, now_ms);
        if now_ms.saturating_sub(before_ms) > self.patience.tick_ms.saturating_add(ASLEEP_MS) {
            self.times.awake_ms = now_ms;
        }
    }

    fn keep_watchdog(&mut self, now_ms: u64) {
        if let Some(every_ms) = self.times.watchdog_every_ms
            && now_ms >= self.times.watchdog_ms
        {
            self.times.watchdog_ms = now_ms.saturating_add(every_ms.saturating_sub(self.patience.tick_ms));
            self.notify.send("WATCHDOG=1");
        }
    }

    fn drop_the_unanswered(&mut self, now_ms: u64) {
        let over: Vec<u64> =
            self.pending.iter().filter(|(_, one)| one.until_ms <= now_ms).map(|(number, _)| *number).collect();
        for number in over {
            match self.pending.remove(&number) {
                Some(Pending { client, what: What::Lock(locking), .. }) => self.lock_what_is_known(client, locking),
                Some(Pending { what: What::Here { id, .. } | What::Tell(id), .. }) => {
                    self.not_delivered(&id, None, "", "jitsudo-spawn did not answer");
                }
                Some(pending) => self.fail(pending.client, words::look_fault(&LookFailure::TimedOut)),
                None => {}
            }
        }
    }

    fn tell_spawner_away(&mut self) {
        if self.spawner.policy().is_none() && !self.times.spawner_away_told {
            self.times.spawner_away_told = true;
            let text = format!("jitsudo-spawn is away ({}): nothing can be given", self.spawner.cause());
            self.tell(Severity::Warning, &text);
        }
    }

    fn watch_clock(&mut self) {
        let offset = offset_ms(self.moment);
        let by_ms = offset - std::mem::replace(&mut self.times.offset_ms, offset);
        if by_ms.abs() > STEP_MS {
            let by_ms = i64::try_from(by_ms).unwrap_or(i64::MAX);
            let entry = self.stamp().entry(Event::ClockStepped { by_ms });
            self.ledger.append(vec![entry], Priority::Essential);
        }
    }

    /// Accesses that nobody will say a word about any more: of another boot, of a session that is gone, long past their end.
    fn end_the_lost(&mut self, now_ms: u64) {
        let under_way = self.after.values().any(|after| matches!(after, After::Spool(_) | After::Lost));
        // A full disk still takes endings.
        let broken = self.ledger.trouble().is_some_and(|trouble| *trouble != AppendError::Full);
        if under_way || broken {
            return;
        }
        let stamp = self.stamp();
        let awake_ms = self.times.awake_ms;
        let clock = Clock { now_ms, awake_ms, boot: &self.boot, last_word_ms: self.patience.last_word_ms };
        let (state, gone) = (self.ledger.state(), &self.gone);
        // Of all others nobody has anything to say: they are not looked at.
        let overdue = state.ended_by(&self.boot, now_ms.saturating_sub(OVERDUE_MS));
        let of_gone = gone.keys().filter_map(|session| state.access(&session.access)).filter(|access| access.is_live());
        let concerned: BTreeMap<_, _> = overdue.chain(of_gone).map(|access| (access.id(), access)).collect();
        let lost = concerned.values().map(|access| last_words(access, &clock, gone));
        let unknown = self.unknown.iter().filter_map(|(id, since_ms)| Some((state.access(id)?, *since_ms)));
        let unknown = unknown.map(|(access, since_ms)| unknown::last_words(access, since_ms, &clock));
        let entries: Vec<Entry> = lost.chain(unknown).flatten().map(|event| stamp.entry(event)).collect();
        self.unknown.retain(|id, _| state.access(id).is_some_and(Access::is_live));
        self.gone.retain(|session, _| {
            let access = state.access(&session.access);
            access.is_some_and(|access| match access {
                Access::Activating(given) | Access::Active(given) => !given.is_role() || is_silent(access, session),
                _ => false,
            })
        });
        for batch in entries.chunks(256) {
            let ticket = self.ledger.append(batch.to_vec(), Priority::Essential);
            self.after.insert(ticket, After::Lost);
        }
    }
}

/// What decides whether an access is lost.
pub(crate) struct Clock<'a> {
    pub(crate) now_ms: u64,
    /// Since when we listen without a pause.
    pub(crate) awake_ms: u64,
    pub(crate) boot: &'a str,
    pub(crate) last_word_ms: u64,
}

impl Clock<'_> {
    /// True when we have listened for so long since then, and heard nothing.
    pub(crate) fn has_listened(&self, since_ms: u64, for_ms: u64) -> bool {
        self.now_ms >= since_ms.max(self.awake_ms).saturating_add(for_ms)
    }
}

/// What is to be written of an access that nobody else will write about.
fn last_words(access: &Access, clock: &Clock<'_>, gone: &BTreeMap<SessionId, u64>) -> Vec<Event> {
    let Some(given) = access.given() else { return Vec::new() };
    let id = || access.id().clone();
    let ended = match access {
        Access::Ended(_) => true,
        Access::Activating(_) | Access::Active(_) => false,
        Access::Asked(_) | Access::Allowed(_) | Access::Denied(_) | Access::Failed(_) | Access::Closed(_) => {
            return Vec::new();
        }
        Access::Waiting(_) | Access::Approved(_) | Access::Refused(_) | Access::Lapsed(_) | Access::Withdrawn(_) => {
            return Vec::new();
        }
    };
    if given.ends.boot != clock.boot {
        // No process and nothing in /run outlives a boot. What does is taken back by the sweep or the spawner: they say that it is gone.
        let cause = if given.is_role() { EndCause::Rebooted } else { EndCause::Lost };
        let end = (!ended).then(|| Event::Ended { id: id(), cause });
        let close = !given.lent.iter().any(Effect::outlives_boot);
        return end.into_iter().chain(close.then(|| Event::Closed { id: id() })).collect();
    }
    if given.is_role() {
        return words_of_role(access, given, clock, gone);
    }
    if ended {
        // Only whoever looks at the host may say that nothing remains.
        return Vec::new();
    }
    let had_a_word = access.sessions().all(|session| session.outcome.is_some());
    let silent_since = |since_ms: &u64| clock.has_listened(*since_ms, clock.last_word_ms);
    let is_gone = access.sessions().any(|session| gone.get(&session.id).is_some_and(silent_since));
    if is_gone {
        let cause = if had_a_word { EndCause::Finished } else { EndCause::Lost };
        // The spawner saw its group empty, or has written what could not be removed.
        let close = given.unclean.is_none().then(|| Event::Closed { id: id() });
        return [Event::Ended { id: id(), cause }].into_iter().chain(close).collect();
    }
    if !had_a_word && clock.has_listened(given.ends.boottime_ms, OVERDUE_MS) {
        return vec![Event::Ended { id: id(), cause: EndCause::Lost }];
    }
    Vec::new()
}

/// A role that is held ends by the spawner's word alone; its sessions may go without one.
fn words_of_role(access: &Access, given: &Given, clock: &Clock<'_>, gone: &BTreeMap<SessionId, u64>) -> Vec<Event> {
    let lost = access.sessions().filter(|session| {
        let since_ms = gone.get(&session.id).copied();
        session.outcome.is_none() && since_ms.is_some_and(|since_ms| clock.has_listened(since_ms, clock.last_word_ms))
    });
    let mut events: Vec<Event> = lost
        .map(|session| Event::SessionExit {
            session: session.id.clone(),
            ending: Ending::Signalled(9),
            ran_ms: 0,
            pid: 0,
            audit_session: None,
            failed: Some("its session is gone without a word".to_owned()),
            interpreter: None,
        })
        .collect();
    let open = matches!(access, Access::Activating(_) | Access::Active(_));
    if open && clock.has_listened(given.ends.boottime_ms, OVERDUE_MS) {
        events.push(Event::Ended { id: access.id().clone(), cause: EndCause::Lost });
    }
    events
}

/// A session of which nobody has said yet how it ended.
fn is_silent(access: &Access, session: &SessionId) -> bool {
    access.sessions().any(|one| one.id == *session && one.outcome.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Asked, Stamp};
    use crate::tests::samples;
    use jitsudo_core::Timestamp;
    use jitsudo_core::id::AccessId;
    use jitsudo_core::state::State;
    use jitsudo_link::facts::Peer;

    fn given(boot: &str) -> (AccessId, State) {
        let (id, facts, request) = (AccessId::new(1, [1; 10]), samples::facts(), samples::request(&["id"]));
        let peer = Peer { pid: 7, uid: 1000, gid: 1000 };
        let asked = Asked { id: &id, peer, facts: &facts, process: None, request: &request, digest: "d", policy: "p" };
        let stamp = Stamp { host: "h".into(), boot: boot.into(), wall: Timestamp::UNIX_EPOCH, boottime_ms: 1 };
        let target = facts.target.known().cloned().flatten().unwrap();
        let mut state = State::default();
        let entries = asked.given(&stamp, &samples::terms(), &target, Timestamp::UNIX_EPOCH, 1_000_000);
        entries.iter().for_each(|entry| state.apply(entry));
        (id, state)
    }

    fn words(state: &State, id: &AccessId, now_ms: u64, gone_ms: Option<u64>) -> Vec<&'static str> {
        words_of_one_awake_since(0, state, id, now_ms, gone_ms)
    }

    fn words_of_one_awake_since(
        awake_ms: u64,
        state: &State,
        id: &AccessId,
        now_ms: u64,
        gone_ms: Option<u64>,
    ) -> Vec<&'static str> {
        let session = SessionId { access: id.clone(), number: 1 };
        let gone = gone_ms.map(|since_ms| (session, since_ms)).into_iter().collect();
        let clock = Clock { now_ms, awake_ms, boot: "now", last_word_ms: 10_000 };
        state.live_accesses().flat_map(|access| last_words(access, &clock, &gone)).map(|event| event.name()).collect()
    }

    #[test]
    fn expiry_clock_12_access_of_another_boot_is_lost_and_closed() {
        let (id, state) = given("before");
        assert_eq!(words(&state, &id, 5, None), ["ended", "closed"]);
    }

    #[test]
    fn session_that_is_gone_has_ten_seconds_for_its_last_word() {
        let (id, state) = given("now");
        assert_eq!(words(&state, &id, 5_000, None), Vec::<&str>::new());
        assert_eq!(words(&state, &id, 14_999, Some(5_000)), Vec::<&str>::new());
        assert_eq!(words(&state, &id, 15_000, Some(5_000)), ["ended", "closed"]);
    }

    #[test]
    fn access_long_past_its_end_without_a_word_is_ended_not_closed() {
        let (id, state) = given("now");
        assert_eq!(words(&state, &id, 1_059_999, None), Vec::<&str>::new());
        assert_eq!(words(&state, &id, 1_060_000, None), ["ended"]);
    }

    #[test]
    fn host_that_slept_past_an_end_leaves_the_last_word_to_whom_it_belongs() {
        let (id, state) = given("now");
        let words = |now_ms, gone_ms| words_of_one_awake_since(9_000_000, &state, &id, now_ms, gone_ms);
        assert_eq!(words(9_059_999, None), Vec::<&str>::new());
        assert_eq!(words(9_060_000, None), ["ended"]);
        assert_eq!(words(9_009_999, Some(5_000)), Vec::<&str>::new());
        assert_eq!(words(9_010_000, Some(5_000)), ["ended", "closed"]);
    }
}
