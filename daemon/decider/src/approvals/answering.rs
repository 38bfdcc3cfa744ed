//! Yes and no: whose counts, and what is written of it.
//!
//! MUSTs
//! 1. A yes counts once its approver has proven who they are to a session (`yes_counts_after_its_proof` in the
//!    spawner, host test `approvals`).
//! 2. The digest that is said yes to is that of the card that was shown (host test `approvals`).

use jitsudo_core::approval::{NotCounted, Proof, person_of};
use jitsudo_core::decision::{Auth, Denial};
use jitsudo_core::event::{Event, SignedAnswer};
use jitsudo_core::facts::{Fact, Facts};
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_ledger::{AppendError, Priority};
use jitsudo_link::approval::{Yes, terms_of_yes};
use jitsudo_link::ends;
use jitsudo_link::spawner::Start;
use jitsudo_protocol::act::Act;
use jitsudo_protocol::client::{Denied, Fault};
use serde_json::json;

use super::{Given, Saying, Told, cannot, name_of};
use crate::daemon::{Daemon, wall};
use crate::record::Asked;
use crate::words;
use crate::work::{After, Prepared};

impl Daemon {
    /// Somebody who may answer looks at a card.
    pub(crate) fn show_card(&mut self, id: &str, facts: &Facts) -> Result<Option<serde_json::Value>, Fault> {
        let id = self.answerable(id, facts)?;
        let name = name_of(facts);
        if let Some(waiter) = self.approvals.waiters.get_mut(&id)
            && waiter.seen.insert(name)
        {
            self.tell_waiting(&id);
        }
        Ok(self.card_of(&id))
    }

    /// Somebody wants to say yes: whether it would count, before they have to prove who they are.
    pub(crate) fn hear_yes(&mut self, client: u64, asked: &Asked<'_>, act: Act, told: &Told) {
        let given = Given {
            facts: asked.facts.clone(),
            inside: told.inside,
            window: act.options.window,
            at: self.moment_of_now(),
            proof: Proof::Local(Auth::Fresh),
            signature: None,
        };
        let (to, shown) = match self.meant(&act, &given) {
            Ok(meant) => meant,
            Err(denial) => return self.deny(client, asked, &denial),
        };
        let Fact::Is(Some(target)) = &asked.facts.target else {
            return self.deny(client, asked, &cannot("the host's accounts cannot be looked up"));
        };
        let (terms, now) = (terms_of_yes(), wall(self.moment));
        let ends_at = ends::at(&terms, asked.request, asked.facts, now);
        let ends_boottime_ms = ends::boottime_ms(ends_at, now, self.now_ms());
        let entries = asked.given(&self.stamp(), &terms, target, ends_at, ends_boottime_ms);
        let start = Start {
            session: SessionId { access: asked.id.clone(), number: 1 },
            requester: asked.peer.uid,
            digest: asked.digest.to_owned(),
            policy: asked.policy.to_owned(),
            rule: terms.rule,
            role: terms.role,
            target: target.uid.0,
            ends_at,
            ends_boottime_ms,
            approved: None,
            yes: Some(Yes { to: to.clone(), digest: shown }),
            held: false,
            groups: Vec::new(),
            extends: false,
        };
        self.approvals.saying.insert(asked.id.clone(), Saying { to, given });
        let ticket = self.ledger.append(entries, Priority::Ordinary);
        self.after.insert(ticket, After::Start(Box::new(Prepared { client, act, start, counts: false })));
    }

    /// What a yes is to, and the digest that it was said to, if it would count.
    fn meant(&self, act: &Act, given: &Given) -> Result<(AccessId, String), Denial> {
        let words: Vec<Option<&str>> = act.argv.iter().map(jitsudo_bytes::Bytes::as_str).collect();
        let [Some(id), Some(shown)] = words.as_slice() else {
            return Err(cannot("it names no request and no card"));
        };
        let nothing = || cannot("nothing of that id waits for an answer of yours");
        let to = id.parse::<AccessId>().map_err(|_| nothing())?;
        let would_count = self.would_count(&to, given, shown).ok_or_else(nothing)?;
        // That it is their own is no news to a requester; whoever may not answer hears nothing of others'.
        if would_count != Err(NotCounted::OwnRequest) && !self.may_answer(&to, &given.facts) {
            return Err(nothing());
        }
        would_count.map_err(|why| cannot(not_counted(why)))?;
        Ok((to, (*shown).to_owned()))
    }

    /// The spawner counts somebody's yes.
    pub(crate) fn said_yes(&mut self, session: &SessionId) {
        let Some(Saying { to, given }) = self.approvals.saying.remove(&session.access) else { return };
        let given = Given { at: self.moment_of_now(), ..given };
        let Some(digest) = self.approvals.waiters.get(&to).map(|waiter| waiter.digest.clone()) else { return };
        if self.lock_of(&given.facts).is_some() || self.would_count(&to, &given, &digest) != Some(Ok(())) {
            return;
        }
        self.take_yes(&to, given, None);
    }

    /// A yes counts; `handed` says who handed it in where it was signed elsewhere.
    pub(super) fn take_yes(&mut self, to: &AccessId, given: Given, handed: Option<(u64, &Facts, SignedAnswer)>) {
        let Some(digest) = self.approvals.waiters.get(to).map(|waiter| waiter.digest.clone()) else { return };
        let enough = self.with_case(to, |case, waiter| {
            let others = waiter.said.iter().chain([&given]);
            let answers: Vec<_> = others.map(|given| given.answer(&waiter.digest)).collect();
            case.tally(&answers).enough
        });
        let enough = enough == Some(true);
        let requester = &given.facts.requester;
        let (uid, user) = (requester.uid, requester.name.known().cloned());
        let event = Event::Approved {
            id: to.clone(),
            uid,
            user: user.clone(),
            person: self.policy.policy().and_then(|policy| person_of(policy, &given.facts)).map(str::to_owned),
            digest,
            proof: given.proof,
            limits: given.limits(),
            enough,
            signed: handed.as_ref().map(|(_, _, signed)| Box::new(signed.clone())),
        };
        let by = handed.as_ref().map(|(_, by, _)| &by.requester);
        let actor = by.map_or((uid, user), |by| (by.uid, by.name.known().cloned()));
        let entry = self.stamp().entry_for(Some(actor.0), actor.1, event);
        let at = given.at;
        if let Some(waiter) = self.approvals.waiters.get_mut(to) {
            waiter.said.push(given);
            waiter.approved = enough.then_some(at);
        }
        let ticket = self.ledger.append(vec![entry], Priority::Ordinary);
        let handed_by = handed.map(|(client, _, _)| client);
        self.after.insert(ticket, After::Approved { id: to.clone(), enough, handed_by });
    }

    /// A yes is durable, or is not.
    pub(crate) fn yes_recorded(
        &mut self,
        id: &AccessId,
        enough: bool,
        handed_by: Option<u64>,
        outcome: Result<(), AppendError>,
    ) {
        if let (Some(client), Err(error)) = (handed_by, &outcome) {
            self.fail(client, words::ledger_fault(error));
        }
        if let Err(error) = outcome {
            // What is not on record counts for nothing, and who said so cannot say it again: all of it is asked anew.
            let client = self.take_waiter(id).and_then(|waiter| waiter.client());
            let fault = words::ledger_fault(&error);
            return client.into_iter().for_each(|client| self.fail(client, fault.clone()));
        }
        if let Some(client) = handed_by {
            let last = self.approvals.waiters.get(id).and_then(|waiter| waiter.said.last());
            let by = last.map(|given| name_of(&given.facts));
            self.give_items(client, vec![json!({"id": id, "approved": true, "by": by, "enough": enough})]);
        }
        self.tell_waiting(id);
        self.tell_of_yes(id, enough);
        if enough {
            self.begin_activation(id);
        }
    }

    fn tell_of_yes(&mut self, id: &AccessId, enough: bool) {
        let Some(waiter) = self.approvals.waiters.get(id) else { return };
        let Some(last) = waiter.said.last() else { return };
        let (uid, name) = (last.facts.requester.uid, name_of(&last.facts));
        let more = if enough { "nothing is left to do" } else { "more are needed" };
        let (to, who) = (waiter.told.clone(), name_of(&waiter.facts));
        self.tell_outcome(id, (&to, &who), Some(uid), &format!("{name} said yes; {more}"));
    }

    /// Somebody says no: it is over, and its requester hears why.
    pub(crate) fn refuse_request(
        &mut self,
        id: &AccessId,
        by: &Facts,
        reason: &str,
        handed: Option<(&Facts, SignedAnswer)>,
    ) {
        let Some(waiter) = self.take_waiter(id) else { return };
        let (uid, user) = (by.requester.uid, by.requester.name.known().cloned());
        let person = self.policy.policy().and_then(|policy| person_of(policy, by)).map(str::to_owned);
        let digest = waiter.digest.clone();
        let actor = handed.as_ref().map_or(&by.requester, |(by, _)| &by.requester);
        let (actor, name) = (actor.uid, actor.name.known().cloned());
        let signed = handed.map(|(_, signed)| Box::new(signed));
        let event = Event::Refused { id: id.clone(), uid, user, person, digest, reason: reason.to_owned(), signed };
        let entry = self.stamp().entry_for(Some(actor), name, event);
        self.ledger.append(vec![entry], Priority::Essential);
        let what = format!("{} said no; nothing is left to do", name_of(by));
        self.tell_outcome(id, (&waiter.told, &name_of(&waiter.facts)), Some(uid), &what);
        self.tell_over(&waiter, refused(id, &name_of(by), reason));
    }
}

/// Somebody's no, for whoever asked.
pub(super) fn refused(id: &AccessId, by: &str, reason: &str) -> Denied {
    Denied {
        headline: format!("{by} said no: {}", jitsudo_bytes::Bytes::from(reason).visible()),
        detail: Vec::new(),
        hint: Some(format!("this is recorded as {}", id.short())),
        id: Some(id.to_string()),
        by_person: true,
        unanswered: false,
    }
}

/// Why a yes does not count, for whoever says it.
fn not_counted(why: NotCounted) -> &'static str {
    match why {
        NotCounted::AnotherDigest => "it is not what your card shows; look at it again",
        NotCounted::NotInTime => "the time for answers is over",
        NotCounted::Unknown => "who you are, or where you came in, is not known here",
        NotCounted::Root => "root approves nothing; say yes as yourself",
        NotCounted::Service => "a service approves nothing",
        NotCounted::InsideSession => "nothing is approved from inside of a session of jitsudo",
        NotCounted::TwoPersons => "you came in as somebody else; say yes from a login of your own",
        NotCounted::OwnRequest => "it is your own request",
        NotCounted::NotAsked => "you are not asked",
        NotCounted::NotYet => "you are not asked yet",
        NotCounted::WeakProof => "a stronger proof of who you are is needed",
        NotCounted::NotSigned => "its requester is as good as root on this host now: only a signed answer counts",
        NotCounted::SamePerson => "you said yes already",
    }
}
