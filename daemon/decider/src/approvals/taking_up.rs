//! A requester comes back for a request: after `--no-wait`, from another terminal, or because a connection was lost. The whole act is sent
//! again, and must be the one that was asked about.
//!
//! MUSTs
//! 1. It gives the digest that people were asked about, or nothing happens and the answer names what differs, never how
//!    (`lost_connection_has_thirty_seconds_*`, host test `approvals`).
//! 2. Only the account that asked takes it up (`request_of_another_is_none`).
//! 3. After a restart only what nobody had answered goes on: whose answers those were is not known here any more
//!    (`waiting_request_survives_a_restart_*`).

use jitsudo_core::approval::{Moment, asking};
use jitsudo_core::decision::{Decision, Denial};
use jitsudo_core::evaluate::evaluate_after;
use jitsudo_core::id::AccessId;
use jitsudo_core::state::Access;
use jitsudo_link::approval::{Seal, Wish};
use jitsudo_link::facts::HashedProgram;
use jitsudo_protocol::act::Act;
use jitsudo_protocol::client::{Denied, Fault, FaultCode, FromDecider};

use super::answering::refused;
use super::over::lapsed;
use super::{Presence, Told, Waiter, cannot};
use crate::daemon::Daemon;
use crate::record::Asked;
use crate::words;

impl Daemon {
    /// `--request ID CMD`; `asked` is how the attempt is recorded if it is none.
    pub(crate) fn take_up(&mut self, client: u64, asked: &Asked<'_>, act: Act, told: Told) {
        if self.weigh_first(client, &act, &told) {
            return;
        }
        let text = act.options.request.clone().unwrap_or_default();
        let own = |waiter: &Waiter| waiter.facts.requester.uid == asked.facts.requester.uid;
        let mut meant = self
            .approvals
            .waiters
            .iter()
            .filter(|(id, waiter)| own(waiter) && id.is_meant_by(&text))
            .map(|(id, _)| id.clone());
        let id = match (meant.next(), meant.next()) {
            (Some(id), None) => id,
            (None, _) if let Some(id) = self.revive(client, &text, asked, &act, &told) => id,
            _ => return self.say_what_became(client, &text, asked),
        };
        if let Err(denial) = self.is_same(&id, asked, &act, &told) {
            return self.deny(client, asked, &denial);
        }
        let Some(waiter) = self.approvals.waiters.get_mut(&id) else { return };
        let before = std::mem::replace(&mut waiter.presence, Presence::Here(client));
        // The session is told the act of the connection that it is given to.
        waiter.act = act;
        let approved = waiter.approved.is_some();
        if let Presence::Here(before) = before
            && before != client
        {
            self.answer(before, &[FromDecider::Denied(taken_up(&id))]);
        }
        if approved { self.begin_activation(&id) } else { self.begin_to_wait(&id) }
    }

    fn is_same(&self, id: &AccessId, asked: &Asked<'_>, act: &Act, told: &Told) -> Result<(), Denial> {
        let Some(waiter) = self.approvals.waiters.get(id) else { return Err(cannot("it waits no more")) };
        let again = Asked { id, ..*asked };
        let program = told.program.as_ref();
        let digest = self.digest_of(&again, (act, &waiter.seal), program, &waiter.terms);
        let changed = differences(waiter, &again, act, program);
        match digest {
            Ok(digest) if digest == waiter.digest && changed.is_empty() => Ok(()),
            Ok(_) | Err(_) if !changed.is_empty() => {
                Err(cannot(&format!("it is not what was asked as {}: {} differ", id.short(), changed.join(", "))))
            }
            Ok(_) => Err(cannot("the role, its terms or the host have changed since; ask again")),
            Err(denial) => Err(denial),
        }
    }

    /// It waited before a restart of this daemon, and nobody had answered yet: it goes on.
    fn revive(&mut self, client: u64, text: &str, asked: &Asked<'_>, act: &Act, told: &Told) -> Option<AccessId> {
        let (policy, state, now) = (self.policy.policy()?, self.ledger.state(), self.moment_of_now());
        let mut meant = state.waiting().filter(|waiting| {
            let was = &waiting.allowed.asked;
            let open = !self.approvals.settling.contains(&was.id) && waiting.answer_by.boot == self.boot;
            open && was.uid == asked.facts.requester.uid && was.id.is_meant_by(text)
        });
        let (Some(waiting), None) = (meant.next().filter(|waiting| waiting.yes.is_empty()), meant.next()) else {
            return None;
        };
        let seal = Seal { nonce: nonce(&waiting.nonce)?, answer_by: waiting.answer_by.at };
        let (id, was) = (waiting.allowed.asked.id.clone(), waiting.digest.clone());
        let since = Moment { at: waiting.since, boottime_ms: waiting.since_boottime_ms };
        let Decision::Allow(terms) = evaluate_after(Some(policy), asked.facts, asked.request, state.past(), now.at)
        else {
            return None;
        };
        let asking = asking(Some(policy), asked.facts, asked.request, state.past(), now.at)?;
        let again = Asked { id: &id, ..*asked };
        let digest = self.digest_of(&again, (act, &seal), told.program.as_ref(), &terms).ok()?;
        if digest != was || asking.is_over(since, now) {
            return None;
        }
        let waiter = Waiter {
            presence: Presence::Here(client),
            act: act.clone(),
            facts: asked.facts.clone(),
            process: asked.process.cloned(),
            asking,
            terms: *terms,
            digest,
            program: told.program.clone(),
            seal,
            since,
            said: Vec::new(),
            seen: std::collections::BTreeSet::new(),
            told: std::collections::BTreeSet::new(),
            escalated: 0,
            reminded: 0,
            approved: None,
            bytes: self.clients.get_mut(&client).map(|client| std::mem::take(&mut client.held)).unwrap_or_default(),
        };
        self.approvals.waiters.insert(id.clone(), waiter);
        Some(id)
    }

    /// Nothing of that id waits: what became of it, where that is known.
    fn say_what_became(&mut self, client: u64, text: &str, asked: &Asked<'_>) {
        let own = self.ledger.state().all().filter(|access| access.asked_for().uid == asked.facts.requester.uid);
        let mut meant = own.filter(|access| access.id().is_meant_by(text));
        let denied = match (meant.next(), meant.next()) {
            (Some(Access::Refused(refusal)), None) => {
                let by = refusal.user.clone().unwrap_or_else(|| format!("#{}", refusal.uid.0));
                Some(refused(&refusal.waiting.allowed.asked.id, &words::visible(&by), &refusal.reason))
            }
            (Some(Access::Lapsed(lapse)), None) => {
                Some(lapsed(&lapse.waiting.allowed.asked.id, &lapse.waiting.approvers))
            }
            _ => None,
        };
        drop(meant);
        match denied {
            Some(denied) => self.answer(client, &[FromDecider::Denied(denied)]),
            None => {
                let shown = words::visible(text);
                let fault = Fault {
                    code: FaultCode::NotFound,
                    message: format!("cannot take up {shown}: nothing of that id of yours waits"),
                    hint: Some("`jitctl requests` shows what became of it".to_owned()),
                };
                self.fail(client, fault);
            }
        }
    }
}

/// What of an act, as it is asked for now, is not what people were asked about.
pub(super) fn differences(
    waiter: &Waiter,
    asked: &Asked<'_>,
    act: &Act,
    program: Option<&HashedProgram>,
) -> Vec<String> {
    let was = waiter.wish(asked.id);
    let is = Wish { facts: asked.facts, process: asked.process, program, act, ..was };
    jitsudo_link::approval::differences(&was, &is)
}

/// 16 bytes of hex.
fn nonce(hex: &str) -> Option<[u8; 16]> {
    let pairs = hex.as_bytes().chunks_exact(2).map(|pair| std::str::from_utf8(pair).ok());
    let bytes: Option<Vec<u8>> = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect();
    bytes?.try_into().ok()
}

fn taken_up(id: &AccessId) -> Denied {
    Denied {
        headline: "taken up elsewhere".to_owned(),
        detail: Vec::new(),
        hint: Some(format!("`jitctl show {}` tells what becomes of it", id.short())),
        id: Some(id.to_string()),
        by_person: false,
        unanswered: true,
    }
}
