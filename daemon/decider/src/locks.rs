//! Locks: nothing starts for an account and its person, and everything of them ends at once.
//!
//! MUSTs
//! 1. Only the duty `lock` or uid 0 locks and unlocks; root itself cannot be locked; a locked account has no duty (host test `dos_10_*`).
//! 2. What runs ends before anything is recorded, and nothing starts from then on, recorded or not (`lock_ends_what_runs_first_*`).
//! 3. A lock ends only by an `unlocked` that is durable (`lock_survives_a_restart_*`), and in the spawner only by its own look at who asks.

use std::collections::BTreeSet;
use std::rc::Rc;

use jitsudo_core::decision::{Cause, Denial};
use jitsudo_core::duty::{Duty, duties};
use jitsudo_core::event::{EndCause, Event};
use jitsudo_core::facts::Facts;
use jitsudo_core::lock::{Account, is_same_person, of};
use jitsudo_core::name::Uid;
use jitsudo_core::state::{Access, Asked, Lock};
use jitsudo_ledger::{AppendError, Priority};
use jitsudo_link::locks::Locked;
use jitsudo_link::spawner::ToSpawner;
use jitsudo_protocol::client::{Fault, FaultCode, Order};
use serde_json::{Value, json};

use crate::client::{fault, malformed};
use crate::daemon::{Daemon, wall};
use crate::words;
use crate::work::{After, Pending, What};

/// Longest reason, letters.
const MAX_REASON: usize = 1000;
/// Longest name of an account, bytes.
const MAX_NAME_BYTES: usize = 256;

/// A lock that was ordered.
#[derive(Clone, Debug)]
pub(crate) struct Locking {
    /// Whom, as typed.
    user: String,
    reason: String,
    /// By whom.
    by: (Uid, Option<String>),
}

/// The end of a lock that was ordered.
#[derive(Clone, Debug)]
pub(crate) struct Unlocking {
    uid: Uid,
    user: Option<String>,
    /// By whom.
    by: (Uid, Option<String>),
}

impl Daemon {
    /// `jitctl lock`, `jitctl unlock`: root does, others once their facts show the duty.
    pub(crate) fn begin_lock(&mut self, client: u64, uid: Uid, order: Order) {
        let (user, reason) = match &order {
            Order::Lock { user, reason } => (user, Some(reason.trim())),
            Order::Unlock { user } => (user, None),
            Order::Release { .. }
            | Order::End { .. }
            | Order::Withdraw { .. }
            | Order::Refuse { .. }
            | Order::ApproveSigned { .. }
            | Order::AcknowledgeResidue { .. }
            | Order::Review { .. } => return,
        };
        if user.is_empty() || user.len() > MAX_NAME_BYTES {
            return self.fail(client, malformed("cannot lock: an account has a name of 1 to 256 bytes"));
        }
        if reason.is_some_and(|reason| reason.is_empty() || reason.chars().count() > MAX_REASON) {
            return self.fail(client, malformed("cannot lock: a reason of 1 to 1000 letters is needed"));
        }
        if uid == Uid(self.places.root) {
            return self.lock_or_unlock(client, order, (uid, Some("root".to_owned())));
        }
        let about = self.about(&[], &None, &None, None);
        self.look(client, about, What::Order(order));
    }

    /// The facts of who orders it are here.
    pub(crate) fn answer_lock(&mut self, client: u64, order: Order, facts: &Facts) {
        if !self.duties_of(facts).contains(&Duty::Lock) {
            let what = if matches!(order, Order::Unlock { .. }) { "unlock" } else { "lock" };
            let fault = Fault {
                code: FaultCode::Duty,
                message: format!("cannot {what}: that needs the duty `lock`, or root"),
                hint: Some("`jitctl release ID` gives back what is your own".to_owned()),
            };
            return self.fail(client, fault);
        }
        let by = (facts.requester.uid, facts.requester.name.known().cloned());
        self.lock_or_unlock(client, order, by);
    }

    fn lock_or_unlock(&mut self, client: u64, order: Order, by: (Uid, Option<String>)) {
        match order {
            Order::Lock { user, reason } => {
                self.find_account(client, Locking { user, reason: reason.trim().to_owned(), by });
            }
            Order::Unlock { user } => self.unlock(client, &user, by),
            Order::Release { .. }
            | Order::End { .. }
            | Order::Withdraw { .. }
            | Order::Refuse { .. }
            | Order::ApproveSigned { .. }
            | Order::AcknowledgeResidue { .. }
            | Order::Review { .. } => {}
        }
    }

    /// Which account is meant is the databases' word; while nobody can ask them, what the ledger knows will do.
    fn find_account(&mut self, client: u64, locking: Locking) {
        if number(&locking.user).is_some() {
            return self.lock_what_is_known(client, locking);
        }
        let Some(channel) = self.clients.get(&client).map(|client| Rc::clone(&client.channel)) else { return };
        let number = self.number();
        let about = self.about(&[], &None, &None, Some(locking.user.clone()));
        match self.spawner.order(&ToSpawner::Look { number, about }, Some(&channel)) {
            Ok(()) => {
                let until_ms = self.now_ms().saturating_add(self.patience.work_ms);
                self.pending.insert(number, Pending { client, what: What::Lock(locking), until_ms });
            }
            Err(_) => self.lock_what_is_known(client, locking),
        }
        self.watch_spawner();
    }

    /// The account is known.
    pub(crate) fn lock_found(&mut self, client: u64, locking: Locking, facts: &Facts) {
        let requester = &facts.requester;
        self.lock(client, requester.uid, requester.name.known().cloned(), locking);
    }

    /// The databases do not know it, or did not answer: an account that was deleted may have rights still.
    pub(crate) fn lock_what_is_known(&mut self, client: u64, locking: Locking) {
        let asked = self.ledger.state().all().map(Access::asked_for);
        let found = match number(&locking.user) {
            Some(uid) => Some((uid, asked.filter(|one| one.uid == uid).find_map(|one| one.user.clone()))),
            None => {
                let mut named = asked.filter(|one| one.user.as_deref() == Some(locking.user.as_str()));
                named.next().map(|one| (one.uid, one.user.clone()))
            }
        };
        match found {
            Some((uid, name)) => self.lock(client, uid, name, locking),
            None => {
                let shown = visible(&locking.user);
                let fault = Fault {
                    code: FaultCode::UnknownTarget,
                    message: format!("cannot lock {shown}: no such account here"),
                    hint: Some("`#UID` names an account that no database knows".to_owned()),
                };
                self.fail(client, fault);
            }
        }
    }

    fn lock(&mut self, client: u64, uid: Uid, user: Option<String>, locking: Locking) {
        if uid == Uid::ROOT {
            let fault = Fault {
                code: FaultCode::NotSupported,
                message: "cannot lock root: uid 0 needs no rule, so nothing here could hold it back".to_owned(),
                hint: Some("lock the persons who become root; their grants end".to_owned()),
            };
            return self.fail(client, fault);
        }
        let Locking { reason, by, .. } = locking;
        let lock = Lock { at: wall(self.moment), user: user.clone(), reason: reason.clone(), by: by.1.clone() };
        let again = self.lock_on(uid).is_some();
        if !again {
            self.locking.insert(uid, (lock, by.0));
        }
        self.tell_lock(uid, user.clone());
        let ended = self.end_what_is_locked();
        let item = json!({"user": user, "uid": uid, "locked": true, "ended": ended, "again": again});
        if again {
            return self.give_items(client, vec![item]);
        }
        let entry = self.stamp().entry_for(Some(by.0), by.1, Event::Locked { uid, user, reason });
        let ticket = self.ledger.append(vec![entry], Priority::Essential);
        self.after.insert(ticket, After::Locked { client, uid, item });
    }

    /// The record of a lock is durable, or is not: then it holds all the same, and is written as soon as can be.
    pub(crate) fn lock_recorded(&mut self, client: u64, uid: Uid, item: Value, outcome: Result<(), AppendError>) {
        match outcome {
            Ok(()) => {
                self.locking.remove(&uid);
                self.give_items(client, vec![item]);
            }
            Err(error) => {
                let fault = words::ledger_fault(&error);
                let message = format!("it is locked, and everything of it ends, but {}", fault.message);
                self.fail(
                    client,
                    Fault { message, hint: Some("it is recorded as soon as can be".to_owned()), ..fault },
                );
            }
        }
    }

    /// Tries again to record what could not be.
    pub(crate) fn record_locks(&mut self) {
        let under_way: BTreeSet<Uid> = self
            .after
            .values()
            .filter_map(|after| if let After::Locked { uid, .. } = after { Some(*uid) } else { None })
            .collect();
        let unwritten: Vec<(Uid, Lock, Uid)> = self
            .locking
            .iter()
            .filter(|(uid, _)| !under_way.contains(uid))
            .map(|(uid, (lock, by))| (*uid, lock.clone(), *by))
            .collect();
        for (uid, lock, by) in unwritten {
            let event = Event::Locked { uid, user: lock.user, reason: lock.reason };
            let entry = self.stamp().entry_for(Some(by), lock.by, event);
            let ticket = self.ledger.append(vec![entry], Priority::Essential);
            self.after.insert(ticket, After::Locked { client: 0, uid, item: Value::Null });
        }
    }

    /// It gives again: that waits for its record.
    fn unlock(&mut self, client: u64, user: &str, by: (Uid, Option<String>)) {
        let meant = |(uid, lock): &(Uid, &Lock)| match number(user) {
            Some(number) => *uid == number,
            None => lock.user.as_deref() == Some(user),
        };
        let found = self.locks().find(meant).map(|(uid, lock)| (uid, lock.user.clone()));
        let Some((uid, name)) = found else {
            let fault = Fault {
                code: FaultCode::NotFound,
                message: format!("cannot unlock {}: it is not locked", visible(user)),
                hint: Some("`jitctl status` as root lists what is".to_owned()),
            };
            return self.fail(client, fault);
        };
        let unlocking = Unlocking { uid, user: name, by };
        if self.spawner.is_of_before_locks() {
            return self.record_unlocking(client, unlocking);
        }
        // It sees for itself who asks for that.
        let number = self.number();
        let Some(channel) = self.clients.get(&client).map(|client| Rc::clone(&client.channel)) else { return };
        match self.spawner.order(&ToSpawner::Unlock { number, uid }, Some(&channel)) {
            Ok(()) => {
                let until_ms = self.now_ms().saturating_add(self.patience.work_ms);
                self.pending.insert(number, Pending { client, what: What::Unlock(unlocking), until_ms });
            }
            Err(not_taken) => {
                let fault = self.not_taken(not_taken);
                self.fail(client, fault);
            }
        }
        self.watch_spawner();
    }

    /// The spawner has unlocked it, or says why not.
    pub(crate) fn unlocked(&mut self, number: u64, refused: Option<String>) {
        if !matches!(self.pending.get(&number), Some(Pending { what: What::Unlock(_), .. })) {
            return;
        }
        let Some(Pending { client, what: What::Unlock(unlocking), .. }) = self.pending.remove(&number) else { return };
        match refused {
            None => self.record_unlocking(client, unlocking),
            Some(cause) => {
                let words = format!("cannot unlock: jitsudo-spawn does not agree: {cause}");
                self.fail(client, fault(FaultCode::Internal, &words));
            }
        }
    }

    fn record_unlocking(&mut self, client: u64, Unlocking { uid, user, by }: Unlocking) {
        let item = json!({"user": user, "uid": uid, "locked": false});
        let entry = self.stamp().entry_for(Some(by.0), by.1, Event::Unlocked { uid, user });
        let ticket = self.ledger.append(vec![entry], Priority::Ordinary);
        self.after.insert(ticket, After::Unlocked { client, uid, item });
    }

    /// Away or too busy, it is told when it is there.
    fn tell_lock(&mut self, uid: Uid, user: Option<String>) {
        if self.spawner.has_locks() {
            let _ = self.spawner.order(&ToSpawner::Lock { uid, user }, None);
            self.watch_spawner();
        }
    }

    /// The spawner says whom it knows to be locked: each learns of the other's.
    pub(crate) fn agree_on_locks(&mut self, told: Vec<Locked>) {
        let known: BTreeSet<Uid> = told.iter().map(|one| one.uid).collect();
        let own: Vec<(Uid, Option<String>)> =
            self.locks().filter(|(uid, _)| !known.contains(uid)).map(|(uid, lock)| (uid, lock.user.clone())).collect();
        own.into_iter().for_each(|(uid, user)| self.tell_lock(uid, user));
        for Locked { uid, user, at } in told {
            if self.lock_on(uid).is_none() {
                // Whoever locked it did so in the last moment of another decider.
                let reason = "its record was lost; jitsudo-spawn knew of it".to_owned();
                self.locking.insert(uid, (Lock { at, user, reason, by: None }, Uid(self.places.root)));
            }
        }
        self.record_locks();
    }

    /// The record of an unlocking is durable, or is not.
    pub(crate) fn unlock_recorded(&mut self, client: u64, uid: Uid, item: Value, outcome: Result<(), AppendError>) {
        match outcome {
            Ok(()) => {
                self.locking.remove(&uid);
                self.give_items(client, vec![item]);
            }
            Err(error) => self.fail(client, words::ledger_fault(&error)),
        }
    }

    /// Every lock, recorded or not yet.
    pub(crate) fn locks(&self) -> impl Iterator<Item = (Uid, &Lock)> {
        let fresh = self.locking.iter().map(|(uid, (lock, _))| (*uid, lock));
        let known = self.ledger.state().locks().filter(|(uid, _)| !self.locking.contains_key(uid));
        fresh.chain(known)
    }

    fn lock_on(&self, uid: Uid) -> Option<&Lock> {
        self.locks().find(|(locked, _)| *locked == uid).map(|(_, lock)| lock)
    }

    /// The lock that the requester of these facts is under.
    pub(crate) fn lock_of(&self, facts: &Facts) -> Option<(Uid, &Lock)> {
        of(self.policy.policy(), facts, self.locks())
    }

    /// Why nothing is given to them, if so.
    pub(crate) fn lock_denial(&self, facts: &Facts) -> Option<Denial> {
        self.lock_of(facts).map(|(uid, lock)| denial(uid, lock))
    }

    /// The duties of whom these facts are about; a locked account has none.
    pub(crate) fn duties_of(&self, facts: &Facts) -> BTreeSet<Duty> {
        if self.lock_of(facts).is_some() {
            return BTreeSet::new();
        }
        duties(self.policy.policy(), facts, wall(self.moment))
    }

    /// Whether what this access was asked by is locked, as far as the ledger knows who that was.
    pub(crate) fn is_locked(&self, asked: &Asked) -> bool {
        self.denial_of(asked).is_some()
    }

    /// The denial that follows from it.
    pub(crate) fn denial_of(&self, asked: &Asked) -> Option<Denial> {
        let policy = self.policy.policy();
        let own = Account { uid: asked.uid, name: asked.user.as_deref() };
        let login = asked.loginuid.map(|uid| Account { uid, name: None });
        let accounts = [Some(own), login];
        let reaches = |(uid, lock): &(Uid, &Lock)| {
            let locked = Account { uid: *uid, name: lock.user.as_deref() };
            accounts.iter().flatten().any(|account| is_same_person(policy, locked, *account))
        };
        self.locks().find(reaches).map(|(uid, lock)| denial(uid, lock))
    }

    /// Ends everything of everybody who is locked; says how much that was.
    pub(crate) fn end_what_is_locked(&mut self) -> usize {
        if self.locks().next().is_none() {
            return 0;
        }
        let withdrawn = self.withdraw_what_is_locked();
        let live = self.ledger.state().live_accesses().filter(|access| !matches!(access, Access::Ended(_)));
        let locked: Vec<Asked> = live.map(Access::asked_for).filter(|asked| self.is_locked(asked)).cloned().collect();
        for asked in &locked {
            // Nobody waits for the answer: 0 is no client.
            self.order_end(0, asked, EndCause::Locked);
        }
        locked.len().saturating_add(withdrawn)
    }

    /// The locks that somebody may hear of: root all of them, others their own.
    pub(crate) fn locks_for(&self, uid: Uid) -> Vec<Value> {
        let all = uid == Uid(self.places.root);
        self.locks().filter(|(locked, _)| all || *locked == uid).map(|(uid, lock)| item(uid, lock)).collect()
    }
}

/// A lock in the shape of docs/json.md.
pub(crate) fn item(uid: Uid, lock: &Lock) -> Value {
    json!({"user": lock.user, "uid": uid, "since": lock.at, "by": lock.by, "reason": lock.reason})
}

fn denial(uid: Uid, lock: &Lock) -> Denial {
    let who = lock.user.as_deref().map_or_else(|| format!("uid {}", uid.0), visible);
    let by = lock.by.as_deref().map_or_else(String::new, |by| format!(" by {}", visible(by)));
    let since = format!("{:.0}", lock.at).replace('T', " ").replace('Z', " UTC");
    let words = format!("{who} is locked{by} since {since}: \"{}\"", visible(&lock.reason));
    Denial { cause: Cause::Locked, detail: vec![words], by: None }
}

/// The uid of `#UID`.
fn number(user: &str) -> Option<Uid> {
    let digits = user.strip_prefix('#').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().map(Uid).filter(|uid| uid.is_account())
}

fn visible(text: &str) -> String {
    jitsudo_bytes::Bytes::from(text).visible()
}

/// What is said where an order does not fit the state of its access.
pub(crate) fn wrong_time(message: String, hint: &str) -> Fault {
    Fault { hint: Some(hint.to_owned()), ..fault(FaultCode::NotFound, &message) }
}
