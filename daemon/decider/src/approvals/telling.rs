//! People are told on their terminals: that they are asked, again when they are reminded, and what became of it, so that nobody works
//! twice. It is news and no authority: who may answer is decided when they do.
//!
//! MUSTs
//! 1. Nobody is told who may not answer (`approver_at_a_terminal_is_told_and_nobody_else`).
//! 2. What cannot be delivered is an event, and holds nothing up (`delivery_that_fails_is_recorded_*`).
//! 3. One account's requests ring nobody's bell without end (`dos_01_bell_*`).

use std::collections::BTreeSet;

use jitsudo_core::event::Event;
use jitsudo_core::facts::{Fact, Facts, NoExecutable, Requester};
use jitsudo_core::id::AccessId;
use jitsudo_core::name::{Gid, Uid};
use jitsudo_ledger::Priority;
use jitsudo_link::ask;
use jitsudo_link::facts::{Account, Entry};
use jitsudo_link::spawner::{ToSpawner, Told};

use super::{Waiter, name_of};
use crate::daemon::Daemon;
use crate::words;
use crate::work::{Pending, What};

/// Requests of one account that others are told of within a minute.
const MAX_A_MINUTE: u32 = 6;
/// Accounts that are told at once.
const MAX_TOLD: usize = 64;
/// Letters of a reason: with as many of an act, and four bytes each, a message fits.
const MAX_LETTERS: usize = 200;

impl Daemon {
    /// Finds out who may answer and is here, to tell them; `again` tells those too who were told before.
    pub(super) fn tell_asked(&mut self, id: &AccessId, again: bool) {
        let Some(requester) = self.approvals.waiters.get(id).map(|waiter| waiter.facts.requester.uid) else { return };
        if !self.spawner.can_tell() {
            return self.not_delivered(id, None, "", "jitsudo-spawn is away, or of an older version");
        }
        if !again && !self.may_ring(requester) {
            let cause = "this account asked too often within a minute: nobody is told of this one";
            return self.not_delivered(id, None, "", cause);
        }
        let number = self.number();
        self.order_telling(number, &ToSpawner::WhoIsHere { number }, What::Here { id: id.clone(), again });
    }

    fn may_ring(&mut self, requester: Uid) -> bool {
        let minute = self.now_ms() / 60_000;
        self.approvals.rung.retain(|_, (when, _)| *when == minute);
        let (_, count) = self.approvals.rung.entry(requester).or_insert((minute, 0));
        *count = count.saturating_add(1);
        *count <= MAX_A_MINUTE
    }

    fn order_telling(&mut self, number: u64, order: &ToSpawner, what: What) {
        match self.spawner.order(order, None) {
            Ok(()) => {
                let until_ms = self.now_ms().saturating_add(self.patience.work_ms);
                // Nobody waits for the answer: 0 is no client.
                self.pending.insert(number, Pending { client: 0, what, until_ms });
            }
            Err(not_taken) => {
                let cause = self.not_taken(not_taken).message;
                if let What::Here { id, .. } | What::Tell(id) = what {
                    self.not_delivered(&id, None, "", &cause);
                }
            }
        }
        self.watch_spawner();
    }

    /// These accounts are at terminals.
    pub(crate) fn people_are_here(&mut self, number: u64, accounts: Vec<Account>) {
        if !matches!(self.pending.get(&number), Some(Pending { what: What::Here { .. }, .. })) {
            return;
        }
        let Some(Pending { what: What::Here { id, again }, .. }) = self.pending.remove(&number) else { return };
        let Some(waiter) = self.approvals.waiters.get(&id).filter(|waiter| waiter.approved.is_none()) else { return };
        let answered: BTreeSet<Uid> = waiter.said.iter().map(|given| given.facts.requester.uid).collect();
        let is_new = |uid: &Uid| again || !waiter.told.contains(uid);
        let facts = accounts.into_iter().filter_map(|account| self.facts_of_account(account));
        let asked = facts.filter(|facts| self.is_asked(&id, facts)).map(|facts| facts.requester.uid);
        let to: BTreeSet<Uid> = asked.filter(|uid| is_new(uid) && !answered.contains(uid)).take(MAX_TOLD).collect();
        let text = self.news_of(&id, waiter);
        if let Some(waiter) = self.approvals.waiters.get_mut(&id) {
            waiter.told.extend(&to);
        }
        self.tell_people(&id, &to, text);
    }

    /// An account as if it were at the other end: what is not known of it is unknown.
    fn facts_of_account(&self, account: Account) -> Option<Facts> {
        let Fact::Is(Some(Entry { name, gid, home, shell, groups, .. })) = account.entry else { return None };
        let uid = Uid(account.uid);
        let mut facts = Facts {
            host: String::new(),
            labels: BTreeSet::new(),
            requester: Requester {
                uid,
                gid: Gid(gid),
                name: Fact::Is(name.clone()),
                groups: groups.clone(),
                process_groups: groups,
                lent_groups: BTreeSet::new(),
                loginuid: Fact::Is(Some(uid)),
                login_name: Fact::Is(Some(name)),
                login_groups: Fact::Unknown,
                home: Fact::Is(home),
                shell: Fact::Is(shell),
            },
            origin: Fact::Unknown,
            target: Fact::Unknown,
            executable: Fact::Is(Err(NoExecutable::NotAsked)),
            rooted_arguments: BTreeSet::new(),
            lendable: std::collections::BTreeMap::new(),
            cwd: Fact::Unknown,
        };
        self.complete(&mut facts);
        Some(facts)
    }

    fn is_asked(&self, id: &AccessId, approver: &Facts) -> bool {
        let now = self.moment_of_now();
        self.lock_of(approver).is_none() && self.with_case(id, |case, _| case.is_asked(approver, now)).unwrap_or(false)
    }

    fn news_of(&self, id: &AccessId, waiter: &Waiter) -> String {
        let what = words::what(&waiter.facts, &ask::request(&waiter.act));
        let why = waiter.act.options.reason.as_ref().map_or_else(String::new, |reason| {
            format!("  why: {}\n", words::visible(reason).chars().take(MAX_LETTERS).collect::<String>())
        });
        let (short, who) = (id.short(), name_of(&waiter.facts));
        let left = jitsudo_core::hours::duration_in_words(waiter.left(self.moment_of_now()));
        format!(
            "jitsudo on {}: {who} asks for: {what}\n{why}  jitctl approve {short} · jitctl refuse {short} --reason TEXT · {left} left\n",
            self.host
        )
    }

    /// What became of it, to all who were told that it waits, but for who made it so.
    pub(super) fn tell_outcome(
        &mut self,
        id: &AccessId,
        (told, requester): (&BTreeSet<Uid>, &str),
        but: Option<Uid>,
        what: &str,
    ) {
        let to: BTreeSet<Uid> = told.iter().copied().filter(|uid| Some(*uid) != but).collect();
        let text = format!("jitsudo on {}: {} of {requester}: {what}\n", self.host, id.short());
        self.tell_people(id, &to, text);
    }

    fn tell_people(&mut self, id: &AccessId, to: &BTreeSet<Uid>, text: String) {
        if to.is_empty() {
            return;
        }
        if !self.spawner.can_tell() {
            return self.not_delivered(id, None, "", "jitsudo-spawn is away, or of an older version");
        }
        let number = self.number();
        let order = ToSpawner::Tell { number, to: to.iter().map(|uid| uid.0).take(MAX_TOLD).collect(), text };
        self.order_telling(number, &order, What::Tell(id.clone()));
    }

    /// What came of telling them.
    pub(crate) fn people_were_told(&mut self, number: u64, told: Told) {
        if !matches!(self.pending.get(&number), Some(Pending { what: What::Tell(_), .. })) {
            return;
        }
        let Some(Pending { what: What::Tell(id), .. }) = self.pending.remove(&number) else { return };
        for failed in told.failed {
            self.not_delivered(&id, Some(Uid(failed.uid)).filter(|uid| *uid != Uid::ROOT), &failed.to, &failed.cause);
        }
    }

    /// Somebody does not hear of it.
    pub(crate) fn not_delivered(&mut self, id: &AccessId, uid: Option<Uid>, to: &str, cause: &str) {
        let event = Event::DeliveryFailed { id: id.clone(), uid, to: to.to_owned(), cause: cause.to_owned() };
        let entry = self.stamp().entry(event);
        self.ledger.append(vec![entry], Priority::Ordinary);
    }

    /// Others may step in, or whoever has not answered is asked again.
    pub(super) fn ask_again(&mut self, id: &AccessId, escalated: bool) {
        let event = if escalated {
            let Some(waiter) = self.approvals.waiters.get(id) else { return };
            Event::Escalated { id: id.clone(), approvers: self.asked_of(waiter) }
        } else {
            Event::Reminded { id: id.clone() }
        };
        let entry = self.stamp().entry(event);
        self.ledger.append(vec![entry], Priority::Ordinary);
        self.tell_asked(id, !escalated);
        self.tell_waiting(id);
    }
}
