//! Other people are asked: what about is digested, written, and told to whoever waits for it.
//!
//! MUST: each account may have so many requests waiting, and all of them so many; what is on its way into the ledger counts
//! (`dos_01_requests_of_one_account_*`).

use jitsudo_core::approval::asking;
use jitsudo_core::decision::{Denial, Terms};
use jitsudo_core::event::Event;
use jitsudo_core::id::AccessId;
use jitsudo_core::name::Uid;
use jitsudo_core::state::{MAX_WAITING, MAX_WAITING_OF_ACCOUNT};
use jitsudo_ledger::{AppendError, Priority};
use jitsudo_link::approval::{Seal, has_program};
use jitsudo_link::ask;
use jitsudo_link::facts::About;
use jitsudo_protocol::act::Act;
use jitsudo_protocol::client::{Denied, FromDecider, Waiting};

use super::{Presence, Told, Waiter, cannot, card, name_of};
use crate::daemon::Daemon;
use crate::record::Asked;
use crate::words;
use crate::work::{After, What};

impl Daemon {
    /// What is asked of other people, before they are: the program's content is looked at first.
    pub(crate) fn ask_people(&mut self, client: u64, asked: &Asked<'_>, terms: &Terms, act: Act, told: Told) {
        if self.host_key().is_empty() {
            // A new host's key is made with the first signature.
            if self.have_key_made() {
                return self.loads.held.push((client, Box::new(act)));
            }
            let denial = cannot("this host has no key that an answer could be bound to; `jitctl status` says why");
            return self.deny(client, asked, &denial);
        }
        if self.weigh_first(client, &act, &told) {
            return;
        }
        match self.waiter(client, asked, terms, act, told) {
            Ok(waiter) if !card::fits(&self.card(asked.id, &waiter)) => {
                self.limits.release(asked.peer.uid, waiter.bytes);
                self.deny(client, asked, &cannot("it is too long to be shown whole to who would approve it"));
            }
            Ok(waiter) => self.record_question(asked, waiter),
            Err(denial) => self.deny(client, asked, &denial),
        }
    }

    /// True while the content of what is to run has still to be looked at.
    pub(super) fn weigh_first(&mut self, client: u64, act: &Act, told: &Told) -> bool {
        let first = has_program(act) && !told.hashed;
        if first {
            let about = About { hash: true, ..ask::about(act, self.policy.policy()) };
            self.look(client, about, What::Weigh(Box::new(act.clone())));
        }
        first
    }

    fn waiter(
        &mut self,
        client: u64,
        asked: &Asked<'_>,
        terms: &Terms,
        act: Act,
        told: Told,
    ) -> Result<Waiter, Denial> {
        let now = self.moment_of_now();
        let policy = self.policy.policy();
        let past = self.ledger.state().past();
        let Some((policy, asking)) = policy.zip(asking(policy, asked.facts, asked.request, past, now.at)) else {
            return Err(cannot("the rules ask nobody about it"));
        };
        if act.options.non_interactive && !act.options.no_wait {
            let names = asking.asked(policy, false).join(", ");
            return Err(cannot(&format!("approval is required ({names}), and -n does not wait for people")));
        }
        self.has_room(Uid(asked.peer.uid))?;
        let Ok(nonce) = jitsudo_sys::random::bytes::<16>() else {
            return Err(cannot("the kernel has no random bytes"));
        };
        let seconds = i64::try_from(asking.answer_by).map(jitsudo_core::SignedDuration::from_secs).unwrap_or_default();
        let seal = Seal { nonce, answer_by: now.at.checked_add(seconds).unwrap_or(now.at) };
        let digest = self.digest_of(asked, (&act, &seal), told.program.as_ref(), terms)?;
        // Its memory stays the account's for as long as it waits.
        let bytes = self.clients.get_mut(&client).map(|client| std::mem::take(&mut client.held)).unwrap_or_default();
        Ok(Waiter {
            presence: Presence::Here(client),
            act,
            facts: asked.facts.clone(),
            process: asked.process.cloned(),
            asking,
            terms: terms.clone(),
            digest,
            program: told.program,
            seal,
            since: now,
            said: Vec::new(),
            seen: std::collections::BTreeSet::new(),
            told: std::collections::BTreeSet::new(),
            escalated: 0,
            reminded: 0,
            approved: None,
            bytes,
        })
    }

    fn has_room(&self, uid: Uid) -> Result<(), Denial> {
        let waiters = &self.approvals.waiters;
        let own = waiters.values().filter(|waiter| waiter.facts.requester.uid == uid).count();
        // Both: what is on its way into the ledger, and what a restart left in it.
        if own >= MAX_WAITING_OF_ACCOUNT {
            return Err(cannot("too many of your requests wait already; `jitctl withdraw ID` takes one back"));
        }
        if waiters.len() >= MAX_WAITING || self.ledger.state().may_wait(uid).is_err() {
            return Err(cannot("too many requests wait already"));
        }
        Ok(())
    }

    fn record_question(&mut self, asked: &Asked<'_>, waiter: Waiter) {
        let asking = &waiter.asking;
        let event = Event::Asked {
            id: asked.id.clone(),
            digest: waiter.digest.clone(),
            nonce: waiter.seal.nonce.iter().map(|byte| format!("{byte:02x}")).collect(),
            approvers: self.asked_of(&waiter),
            persons: asking.persons(),
            answer_by: waiter.seal.answer_by,
            answer_by_boottime_ms: waiter.since.boottime_ms.saturating_add(asking.answer_by.saturating_mul(1000)),
            use_by: asking.use_by,
        };
        let stamp = self.stamp();
        let [requested, decided, _] = asked.granted(&stamp, &waiter.terms, waiter.seal.answer_by, 0);
        let ticket = self.ledger.append(vec![requested, decided, stamp.entry(event)], Priority::Ordinary);
        self.after.insert(ticket, After::Asked(asked.id.clone()));
        self.approvals.waiters.insert(asked.id.clone(), waiter);
    }

    /// The question is durable, or is not.
    pub(crate) fn question_recorded(&mut self, id: &AccessId, outcome: Result<(), AppendError>) {
        if let Err(error) = outcome {
            let client = self.take_waiter(id).and_then(|waiter| waiter.client());
            let fault = words::ledger_fault(&error);
            return client.into_iter().for_each(|client| self.fail(client, fault.clone()));
        }
        self.tell_asked(id, false);
        self.begin_to_wait(id);
    }

    /// Its client waits from now on, or goes and comes back for it.
    pub(super) fn begin_to_wait(&mut self, id: &AccessId) {
        let Some(waiter) = self.approvals.waiters.get_mut(id) else { return };
        let Some(client) = waiter.client() else { return };
        if !waiter.act.options.no_wait {
            if let Some(client) = self.clients.get_mut(&client) {
                client.until_ms = None;
            }
            return self.tell_waiting(id);
        }
        waiter.presence = Presence::Kept;
        let Some(waiting) = self.waiting_words(id) else { return };
        let denied = Denied {
            headline: format!("asked {} for: {}", waiting.asked.join(", "), waiting.what),
            detail: vec![format!(
                "the id is {id}; answers are taken for {}",
                jitsudo_core::hours::duration_in_words(waiting.left)
            )],
            hint: Some(format!("`jitsudo --request {} …` with the same command uses the approval", id.short())),
            id: Some(id.to_string()),
            by_person: false,
            unanswered: true,
        };
        self.answer(client, &[FromDecider::Denied(denied)]);
    }

    /// Says what it waits for.
    pub(super) fn tell_waiting(&mut self, id: &AccessId) {
        let client = self.approvals.waiters.get(id).and_then(Waiter::client);
        if let Some((client, waiting)) = client.zip(self.waiting_words(id)) {
            self.say(client, &FromDecider::Waiting(waiting));
        }
    }

    fn waiting_words(&self, id: &AccessId) -> Option<Waiting> {
        let waiter = self.approvals.waiters.get(id)?;
        let request = ask::request(&waiter.act);
        Some(Waiting {
            id: id.to_string(),
            what: words::what(&waiter.facts, &request),
            asked: self.asked_of(waiter),
            persons: waiter.asking.persons(),
            yes: waiter.said.iter().map(|given| name_of(&given.facts)).collect(),
            seen: waiter.seen.iter().cloned().collect(),
            left: waiter.left(self.moment_of_now()),
        })
    }
}
