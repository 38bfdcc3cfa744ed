//! Enough people said yes: what they said yes to is decided again, and given.
//!
//! MUSTs
//! 1. What holds back a run holds this back: a policy on its way, a ledger that is being compared with what was signed, a budget that is
//!    being counted (`begin_run` has the same lines; `nothing_is_asked_on_a_ledger_*`).
//! 2. The answers are used by the first decision about them, whatever comes of it (`approved_request_is_given_once_*`, host test `approvals`).
//! 3. An approver who is locked by then, or whose key the policy has no more, has said nothing (host test `signed`).

use jitsudo_core::approval::{Answer, Case, Limits, Unusable, asking};
use jitsudo_core::decision::{Decision, Denial, Terms};
use jitsudo_core::evaluate::evaluate_after;
use jitsudo_core::facts::{Fact, Facts};
use jitsudo_core::id::AccessId;
use jitsudo_ledger::Priority;
use jitsudo_link::approval::has_program;
use jitsudo_link::ask;
use jitsudo_link::facts::{About, Peer, Process};
use jitsudo_protocol::client::{FaultCode, FromDecider};
use jitsudo_protocol::digest;

use super::taking_up::differences;
use super::{Given, Told, Waiter, cannot};
use crate::client::fault;
use crate::daemon::Daemon;
use crate::record::Asked;
use crate::reviews::older_spawner;
use crate::words;
use crate::work::What;

impl Daemon {
    /// Looks at everything anew; what cannot be given yet waits, also for whoever is to use it.
    pub(crate) fn begin_activation(&mut self, id: &AccessId) {
        let Some(waiter) = self.approvals.waiters.get(id) else { return };
        let Some(client) = waiter.client().filter(|_| waiter.approved.is_some()) else { return };
        if self.loads.are_under_way() || self.heads.are_being_checked() {
            self.approvals.held.push(id.clone());
            return;
        }
        let hash = has_program(&waiter.act);
        let about = About { hash, ..ask::about(&waiter.act, self.policy.policy()) };
        let until_ms = self.now_ms().saturating_add(self.patience.work_ms);
        if let Some(client) = self.clients.get_mut(&client) {
            client.until_ms = Some(until_ms);
        }
        self.look(client, about, What::Activate(id.clone()));
    }

    /// Goes on with what was held back.
    pub(crate) fn resume_activations(&mut self) {
        for id in std::mem::take(&mut self.approvals.held) {
            self.begin_activation(&id);
        }
    }

    /// Facts of now are here: what was approved is decided again.
    pub(crate) fn activate(
        &mut self,
        client: u64,
        id: &AccessId,
        peer: Peer,
        facts: &Facts,
        process: Option<&Process>,
        told: &Told,
    ) {
        let Some(waiter) = self.approvals.waiters.get(id).filter(|waiter| waiter.client() == Some(client)) else {
            return;
        };
        if self.loads.are_under_way() || self.heads.are_being_checked() || self.is_counting() {
            self.approvals.held.push(id.clone());
            return;
        }
        let powerful = self.is_powerful(&waiter.facts) || self.is_powerful(facts);
        // Taken out: whatever comes of it, the answers are used.
        let Some(waiter) = self.take_waiter(id) else { return };
        let act_digest = digest::of_act(peer.uid, &waiter.act);
        let policy = self.policy.digest().unwrap_or_default().to_owned();
        let request = ask::request(&waiter.act);
        let asked = Asked { id, peer, facts, process, request: &request, digest: &act_digest, policy: &policy };
        if let Some(cause) = self.why_nothing_is_given() {
            self.record_withdrawn(id, None);
            return self.fail(client, words::untrusted_ledger(&cause));
        }
        match self.decided_again(&asked, &waiter, told, powerful) {
            Ok(terms) => self.give_approved(client, &asked, &terms, waiter),
            Err(denial) => {
                let who = super::name_of(&waiter.facts);
                self.tell_outcome(id, (&waiter.told, &who), None, "it is not given after all; nothing is left to do");
                // That it was asked for stands there already.
                let decided = asked.denied(&self.stamp(), &denial).into_iter().skip(1).collect();
                self.ledger.append(decided, Priority::Essential);
                let denied = words::denied(&denial, facts, &request, words::Recorded::As(id));
                self.answer(client, &[FromDecider::Denied(denied)]);
            }
        }
    }

    fn decided_again(&self, asked: &Asked<'_>, waiter: &Waiter, told: &Told, powerful: bool) -> Result<Terms, Denial> {
        if let Some(denial) = self.lock_denial(asked.facts) {
            return Err(denial);
        }
        let now = self.moment_of_now();
        let (policy, past) = (self.policy.policy(), self.ledger.state().past());
        let terms = match evaluate_after(policy, asked.facts, asked.request, past, now.at) {
            Decision::Allow(terms) => terms,
            Decision::Deny(denial) => return Err(*denial),
        };
        let Some((policy, asking)) = policy.zip(asking(policy, asked.facts, asked.request, past, now.at)) else {
            return Err(cannot("the rules have changed; ask again"));
        };
        let program = told.program.as_ref();
        let digest = self.digest_of(asked, (&waiter.act, &waiter.seal), program, &terms)?;
        if digest != waiter.digest {
            let changed = differences(waiter, asked, &waiter.act, program);
            let what =
                if changed.is_empty() { "the role, its terms or the host".to_owned() } else { changed.join(", ") };
            return Err(cannot(&format!("what was approved has changed since: {what}")));
        }
        let case =
            Case { policy, requester: asked.facts, asking: &asking, digest: &digest, since: waiter.since, powerful };
        let named = |given: &Given| given.signature.as_ref().is_none_or(|signature| signature.is_named(policy));
        let free = |given: &&Given| self.lock_of(&given.facts).is_none() && named(given);
        let answers: Vec<Answer<'_>> =
            waiter.said.iter().filter(free).map(|given| given.answer(&waiter.digest)).collect();
        let approved = waiter.approved.unwrap_or(now);
        case.may_activate(&answers, approved, (&waiter.terms, &terms), now).map_err(|why| match why {
            Unusable::Lapsed => cannot("it was not used in time"),
            Unusable::NotEnough => cannot("by what is known now the answers are not enough"),
            Unusable::Looser(terms) => {
                cannot(&format!("the rules give more by now than was approved: {}", terms.join(", ")))
            }
        })?;
        let limits = waiter.said.iter().filter(free).map(Given::limits);
        Ok(limits.fold(Limits::default(), Limits::and).narrow(*terms))
    }

    fn give_approved(&mut self, client: u64, asked: &Asked<'_>, terms: &Terms, waiter: Waiter) {
        let Fact::Is(Some(target)) = &asked.facts.target else {
            self.record_withdrawn(asked.id, None);
            let words = "cannot start it: the target account is not known";
            return self.fail(client, fault(FaultCode::UnknownTarget, words));
        };
        if terms.break_glass.is_some() && !self.spawner.has_reviews() {
            self.record_withdrawn(asked.id, None);
            return self.fail(client, older_spawner());
        }
        let until_ms = self.now_ms().saturating_add(self.patience.work_ms);
        if let Some(client) = self.clients.get_mut(&client) {
            client.until_ms = Some(until_ms);
        }
        self.write_start(client, asked, (terms, target), waiter.act, Some(waiter.seal));
    }
}
