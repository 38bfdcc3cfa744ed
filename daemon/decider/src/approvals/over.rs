//! What waits ends without being given: taken back, locked, nobody's any more, out of time.
//!
//! MUSTs
//! 1. The end is told and written once, and nothing is given after it (`approval_04_*`, `approval_05_*`).
//! 2. A connection that is lost may come back within thirty seconds; what its requester gives up is over at once
//!    (`lost_connection_has_thirty_seconds_*`).

use jitsudo_core::event::Event;
use jitsudo_core::id::AccessId;
use jitsudo_core::name::Uid;
use jitsudo_core::state::Access;
use jitsudo_ledger::Priority;
use jitsudo_protocol::client::{Denied, FromDecider};
use serde_json::json;

use super::{Presence, Waiter, name_of};
use crate::daemon::Daemon;

impl Daemon {
    /// Takes a request out of those that wait; the memory of its act is the account's no more.
    pub(super) fn take_waiter(&mut self, id: &AccessId) -> Option<Waiter> {
        let waiter = self.approvals.waiters.remove(id)?;
        self.limits.release(waiter.facts.requester.uid.0, waiter.bytes);
        self.approvals.settling.insert(id.clone());
        Some(waiter)
    }

    /// Tells whoever waits for it, if somebody does.
    pub(super) fn tell_over(&mut self, waiter: &Waiter, denied: Denied) {
        if let Some(client) = waiter.client() {
            self.answer(client, &[FromDecider::Denied(denied)]);
        }
    }

    /// The client of a request is not there any more: it may come back for it.
    pub(crate) fn client_is_lost(&mut self, client: u64) {
        let now_ms = self.now_ms();
        for waiter in self.approvals.waiters.values_mut().filter(|waiter| waiter.client() == Some(client)) {
            waiter.presence = Presence::Lost(now_ms);
        }
    }

    /// A client gives up what it waits for.
    pub(crate) fn give_up(&mut self, client: u64) {
        let waits = |(_, waiter): &(&AccessId, &Waiter)| waiter.client() == Some(client);
        let own: Vec<AccessId> = self.approvals.waiters.iter().filter(waits).map(|(id, _)| id.clone()).collect();
        for id in own {
            self.withdraw_request(&id, None, "withdrawn");
        }
    }

    /// Takes back a request that waits, on somebody's word; true if it did.
    pub(crate) fn withdraw_request(
        &mut self,
        id: &AccessId,
        by: Option<(Uid, Option<String>)>,
        headline: &str,
    ) -> bool {
        let Some(waiter) = self.take_waiter(id) else { return false };
        let own = (waiter.facts.requester.uid, waiter.facts.requester.name.known().cloned());
        self.record_withdrawn(id, Some(by.unwrap_or(own)));
        let denied = Denied {
            headline: headline.to_owned(),
            detail: Vec::new(),
            hint: Some(format!("nothing was given; this is recorded as {}", id.short())),
            id: Some(id.to_string()),
            by_person: false,
            unanswered: true,
        };
        self.tell_outcome(id, (&waiter.told, &name_of(&waiter.facts)), None, "it was withdrawn; nothing is left to do");
        self.tell_over(&waiter, denied);
        true
    }

    /// The one request that waits, in memory or in the ledger alone, that an id means: of one account or of all.
    pub(crate) fn waiting_one(&self, id: &str, of: Option<Uid>) -> Option<AccessId> {
        let waiting = self.ledger.state().waiting().map(|waiting| &waiting.allowed.asked);
        let waits = waiting.filter(|asked| !self.approvals.settling.contains(&asked.id));
        let mut meant = waits.filter(|asked| of.is_none_or(|uid| asked.uid == uid) && asked.id.is_meant_by(id));
        let one = meant.next()?.id.clone();
        meant.next().is_none().then_some(one)
    }

    /// Takes back what waits, on the word of its requester or of somebody with the duty `end`.
    pub(crate) fn take_back(&mut self, id: &AccessId, by: Option<(Uid, Option<String>)>) -> serde_json::Value {
        let asked = self.ledger.state().access(id).map(Access::asked_for).cloned();
        let other = by.as_ref().and_then(|(_, name)| name.as_deref()).map(crate::words::visible);
        let headline = other.map_or_else(|| "withdrawn".to_owned(), |name| format!("withdrawn by {name}"));
        let own = asked.as_ref().map(|asked| (asked.uid, asked.user.clone()));
        if !self.withdraw_request(id, by.clone(), &headline) {
            self.record_withdrawn(id, by.or(own));
        }
        let role = asked.and_then(|asked| asked.role);
        json!({"id": id, "role": role, "cause": "withdrawn"})
    }

    pub(super) fn record_withdrawn(&mut self, id: &AccessId, by: Option<(Uid, Option<String>)>) {
        let (uid, name) = by.map_or((None, None), |(uid, name)| (Some(uid), name));
        let entry = self.stamp().entry_for(uid, name, Event::Withdrawn { id: id.clone() });
        self.ledger.append(vec![entry], Priority::Essential);
    }

    /// Everything of everybody who is locked is over; says how much that was.
    pub(crate) fn withdraw_what_is_locked(&mut self) -> usize {
        let locked = |waiter: &Waiter| self.lock_denial(&waiter.facts).map(|denial| denial.detail.join("; "));
        let over: Vec<(AccessId, String)> = self
            .approvals
            .waiters
            .iter()
            .filter_map(|(id, waiter)| locked(waiter).map(|why| (id.clone(), why)))
            .collect();
        for (id, why) in &over {
            self.record_withdrawn(id, None);
            let Some(waiter) = self.take_waiter(id) else { continue };
            let denied = Denied {
                headline: "locked: nothing is given".to_owned(),
                detail: vec![why.clone()],
                hint: Some(format!("this is recorded as {}", id.short())),
                id: Some(id.to_string()),
                by_person: false,
                unanswered: false,
            };
            self.tell_outcome(
                id,
                (&waiter.told, &name_of(&waiter.facts)),
                None,
                "it was withdrawn; nothing is left to do",
            );
            self.tell_over(&waiter, denied);
        }
        over.len()
    }

    /// What the clock asks for.
    pub(crate) fn tend_approvals(&mut self) {
        let now = self.moment_of_now();
        let come_back_ms = self.patience.come_back_ms;
        let mut over = Vec::new();
        let (mut gone, mut again) = (Vec::new(), Vec::new());
        for (id, waiter) in &mut self.approvals.waiters {
            let is_over = match waiter.approved {
                None => waiter.asking.is_over(waiter.since, now),
                Some(approved) => waiter.asking.use_is_over(approved, now),
            };
            let is_gone = |since_ms: u64| now.boottime_ms >= since_ms.saturating_add(come_back_ms);
            let steps = waiter.asking.escalated(waiter.since, now);
            match waiter.presence {
                _ if is_over => over.push(id.clone()),
                Presence::Lost(since_ms) if is_gone(since_ms) => gone.push(id.clone()),
                Presence::Lost(_) | Presence::Here(_) | Presence::Kept if waiter.approved.is_none() => {
                    let reminders = waiter.asking.reminders(waiter.since, now);
                    let escalates = std::mem::replace(&mut waiter.escalated, steps) < steps;
                    let reminds = std::mem::replace(&mut waiter.reminded, reminders) < reminders;
                    again.extend(escalates.then(|| (id.clone(), true)));
                    again.extend(reminds.then(|| (id.clone(), false)));
                }
                Presence::Lost(_) | Presence::Here(_) | Presence::Kept => {}
            }
        }
        over.iter().for_each(|id| self.lapse(id));
        for id in gone {
            self.withdraw_request(&id, None, "withdrawn");
        }
        again.iter().for_each(|(id, escalated)| self.ask_again(id, *escalated));
        self.lapse_the_forgotten();
    }

    fn lapse(&mut self, id: &AccessId) {
        let Some(waiter) = self.take_waiter(id) else { return };
        let asked = self.policy.policy().map(|policy| waiter.asking.asked(policy, true)).unwrap_or_default();
        let entry = self.stamp().entry(Event::Lapsed { id: id.clone() });
        self.ledger.append(vec![entry], Priority::Essential);
        self.tell_outcome(id, (&waiter.told, &name_of(&waiter.facts)), None, "its time went by; nothing is left to do");
        self.tell_over(&waiter, lapsed(id, &asked));
    }

    /// What waits by the ledger, and nobody here knows of: it waited before a restart, and its client has had the time to come back.
    fn lapse_the_forgotten(&mut self) {
        let state = self.ledger.state();
        self.approvals.settling.retain(|id| state.access(id).is_some_and(Access::is_waiting));
        let come_back_by = self.since_ms.saturating_add(self.patience.come_back_ms);
        if self.now_ms() < come_back_by {
            return;
        }
        let forgotten = state.waiting().map(|waiting| waiting.allowed.asked.id.clone());
        let forgotten: Vec<AccessId> = forgotten
            .filter(|id| !self.approvals.waiters.contains_key(id) && !self.approvals.settling.contains(id))
            .collect();
        let stamp = self.stamp();
        for id in forgotten {
            self.ledger.append(vec![stamp.entry(Event::Lapsed { id: id.clone() })], Priority::Essential);
            self.approvals.settling.insert(id);
        }
    }
}

/// Nobody answered, for whoever asked.
pub(super) fn lapsed(id: &AccessId, asked: &[String]) -> Denied {
    Denied {
        headline: "nobody answered in time".to_owned(),
        detail: vec![format!("asked were {}", asked.join(", "))],
        hint: Some(format!("this is recorded as {}", id.short())),
        id: Some(id.to_string()),
        by_person: false,
        unanswered: true,
    }
}
