//! Requests that wait for other people: asked about, answered, activated, or over.
//!
//! A request lives here, in memory, for as long as it waits; what is durable of it stands in the ledger. Whoever says yes proves who they
//! are to a session, and the spawner counts the yes by itself.
//!
//! MUSTs
//! 1. Nobody is asked before that is durable, and nothing is given before the answers are (`approval_*` in `tests::approvals`).
//! 2. What was approved is decided again, by facts and policy of then, and only by a ledger that is the one that was signed
//!    (`approved_request_is_given_once_*`, `nothing_is_asked_on_a_ledger_*`).
//! 3. What nobody waits for any more is over (`approval_04_*`).

mod activating;
mod answering;
mod asking;
mod card;
mod over;
pub(crate) mod signed;
mod taking_up;
mod telling;

use std::collections::{BTreeMap, BTreeSet};

use jitsudo_core::approval::{
    Answer, Asking, Case, Limits, Moment, NotCounted, Proof, is_as_good_as_root, may_be_one_person,
};
use jitsudo_core::decision::{Cause, Denial, Terms};
use jitsudo_core::facts::Facts;
use jitsudo_core::id::AccessId;
use jitsudo_core::name::Uid;
use jitsudo_core::request::Kind;
use jitsudo_core::state::Access;
use jitsudo_link::approval::{Request, Seal, Wish, fingerprint};
use jitsudo_link::facts::{HashedProgram, Process};
use jitsudo_protocol::act::Act;
use jitsudo_protocol::client::{Fault, FaultCode};

use crate::daemon::{Daemon, wall};

/// What a look told beyond the facts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// The program's content, where it was asked for.
    pub(crate) program: Option<HashedProgram>,
    /// The peer is inside a session; `None` = it cannot be told.
    pub(crate) inside: Option<bool>,
    /// The content was asked for.
    pub(crate) hashed: bool,
}

/// Somebody's yes.
#[derive(Debug)]
pub(crate) struct Given {
    facts: Facts,
    inside: Option<bool>,
    window: Option<u64>,
    at: Moment,
    proof: Proof,
    /// It was signed elsewhere.
    signature: Option<BySignature>,
}

/// Which key of whose signed, as the policy writes both.
#[derive(Clone, Debug)]
struct BySignature {
    person: String,
    key: String,
}

impl Given {
    fn answer<'a>(&'a self, digest: &'a str) -> Answer<'a> {
        Answer { approver: &self.facts, inside: self.inside, proof: self.proof, digest, at: self.at }
    }

    fn limits(&self) -> Limits {
        Limits { window: self.window, record: None }
    }
}

/// Who is at the other end for a request that waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Presence {
    /// This client.
    Here(u64),
    /// Nobody, since then (CLOCK_BOOTTIME milliseconds): its connection was lost.
    Lost(u64),
    /// Nobody: its requester comes back for it.
    Kept,
}

/// A request that waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    presence: Presence,
    act: Act,
    facts: Facts,
    process: Option<Process>,
    asking: Box<Asking>,
    terms: Terms,
    digest: String,
    program: Option<HashedProgram>,
    seal: Seal,
    since: Moment,
    said: Vec<Given>,
    /// Who has looked at its card.
    seen: BTreeSet<String>,
    /// Who was told that it waits.
    told: BTreeSet<Uid>,
    /// How many rules let others step in already.
    escalated: usize,
    /// How often who has not answered was asked again.
    reminded: u64,
    /// Enough people have said yes, since then.
    approved: Option<Moment>,
    /// Memory of its act, as accounted for.
    bytes: usize,
}

impl Waiter {
    fn client(&self) -> Option<u64> {
        match self.presence {
            Presence::Here(client) => Some(client),
            Presence::Lost(_) | Presence::Kept => None,
        }
    }

    fn wish<'a>(&'a self, id: &'a AccessId) -> Wish<'a> {
        let Self { facts, process, program, act, terms, .. } = self;
        Wish { id, facts, process: process.as_ref(), program: program.as_ref(), act, terms }
    }

    /// Seconds left for answers.
    fn left(&self, now: Moment) -> u64 {
        let gone = now.boottime_ms.saturating_sub(self.since.boottime_ms) / 1000;
        self.asking.answer_by.saturating_sub(gone)
    }
}

/// Somebody proves who they are, to say yes.
#[derive(Debug)]
struct Saying {
    to: AccessId,
    given: Given,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Approvals {
    waiters: BTreeMap<AccessId, Waiter>,
    saying: BTreeMap<AccessId, Saying>,
    /// How many requests of each account others were told of, in which minute.
    rung: BTreeMap<Uid, (u64, u32)>,
    /// Approved, and held back by what holds back a run.
    held: Vec<AccessId>,
    /// What becomes of them is being written.
    settling: BTreeSet<AccessId>,
}

impl Daemon {
    /// One line for each of what the account of these facts may answer.
    pub(crate) fn cards_for(&self, approver: &Facts) -> Vec<serde_json::Value> {
        let seen = self.approvals.waiters.iter().filter(|(id, _)| self.may_answer(id, approver));
        let now = self.moment_of_now();
        seen.map(|(id, waiter)| card::line(id, waiter, &self.asked_of(waiter), &self.host, waiter.left(now))).collect()
    }

    /// The card of one.
    pub(crate) fn card_of(&self, id: &AccessId) -> Option<serde_json::Value> {
        self.approvals.waiters.get(id).map(|waiter| self.card(id, waiter))
    }

    fn card(&self, id: &AccessId, waiter: &Waiter) -> serde_json::Value {
        card::whole(id, waiter, &self.asked_of(waiter), &self.host, waiter.left(self.moment_of_now()))
    }

    /// Who is asked, by now, as the policy writes it.
    fn asked_of(&self, waiter: &Waiter) -> Vec<String> {
        let escalated = waiter.asking.escalated(waiter.since, self.moment_of_now()) > 0;
        self.policy.policy().map(|policy| waiter.asking.asked(policy, escalated)).unwrap_or_default()
    }

    /// The one request that an id means, of those that this account may answer.
    pub(crate) fn answerable(&self, id: &str, approver: &Facts) -> Result<AccessId, Fault> {
        let open = self.approvals.waiters.keys().filter(|access| self.may_answer(access, approver));
        let mut meant = open.filter(|access| access.is_meant_by(id));
        let what = match (meant.next(), meant.next()) {
            (Some(one), None) => return Ok(one.clone()),
            (Some(_), _) => "more than one begins so",
            (None, _) => "nothing of that id waits for an answer of yours",
        };
        Err(Fault {
            code: FaultCode::NotFound,
            message: format!("cannot answer {}: {what}", jitsudo_bytes::Bytes::from(id).visible()),
            hint: Some("jitctl requests --to-approve".to_owned()),
        })
    }

    /// Whether this account may hear of a request at all.
    pub(crate) fn may_answer(&self, id: &AccessId, approver: &Facts) -> bool {
        self.lock_of(approver).is_none() && self.with_case(id, |case, _| case.may_refuse(approver)).unwrap_or(false)
    }

    fn moment_of_now(&self) -> Moment {
        Moment { at: wall(self.moment), boottime_ms: self.now_ms() }
    }

    /// Whether one more yes would count beside the others.
    fn would_count(&self, id: &AccessId, given: &Given, shown: &str) -> Option<Result<(), NotCounted>> {
        self.with_case(id, |case, waiter| {
            let others = waiter.said.iter().map(|other| other.answer(&waiter.digest));
            let answers: Vec<Answer<'_>> = others.chain([given.answer(shown)]).collect();
            case.tally(&answers).counted.pop().unwrap_or(Err(NotCounted::Unknown))
        })
    }

    fn with_case<T>(&self, id: &AccessId, look: impl FnOnce(&Case<'_>, &Waiter) -> T) -> Option<T> {
        let (waiter, policy) = self.approvals.waiters.get(id).zip(self.policy.policy())?;
        let case = Case {
            policy,
            requester: &waiter.facts,
            asking: &waiter.asking,
            digest: &waiter.digest,
            since: waiter.since,
            powerful: self.is_powerful(&waiter.facts),
        };
        Some(look(&case, waiter))
    }

    /// The requester holds what is as good as root, or something of theirs runs by it.
    fn is_powerful(&self, requester: &Facts) -> bool {
        let Some(policy) = self.policy.policy() else { return true };
        self.ledger.state().live_accesses().filter_map(Access::given).any(|given| {
            let (asked, role) = (&given.allowed.asked, given.allowed.role.as_deref().unwrap_or_default());
            asked.kind != Kind::Approve
                && asked.kind != Kind::Validate
                && may_be_one_person(policy, requester, asked.uid, asked.user.as_deref())
                && is_as_good_as_root(policy, role)
        })
    }

    /// The digest of a request that is `asked`; in words what is missing for it.
    fn digest_of(
        &self,
        asked: &crate::record::Asked<'_>,
        (act, seal): (&Act, &Seal),
        program: Option<&HashedProgram>,
        terms: &Terms,
    ) -> Result<String, Denial> {
        let Some(policy) = self.policy.policy() else { return Err(cannot("no policy is in force")) };
        let (host_key, boot) = (self.host_key(), &self.boot);
        let wish = Wish { id: asked.id, facts: asked.facts, process: asked.process, program, act, terms };
        let request = Request { host_key: &host_key, boot, seal, wish, policy };
        jitsudo_link::approval::digest_of(&request).map_err(|missing| cannot(&missing))
    }

    /// The fingerprint of the host's key; empty before there is one, and then nobody is asked.
    fn host_key(&self) -> String {
        std::fs::read_to_string(&self.places.host_key).ok().as_deref().and_then(fingerprint).unwrap_or_default()
    }
}

/// Nothing is given for want of other people's word.
fn cannot(detail: &str) -> Denial {
    Denial { cause: Cause::Approval, detail: vec![detail.to_owned()], by: None }
}

/// An account for people to read.
pub(crate) fn name_of(facts: &Facts) -> String {
    let requester = &facts.requester;
    requester
        .name
        .known()
        .map_or_else(|| format!("#{}", requester.uid.0), |name| jitsudo_bytes::Bytes::from(name.as_str()).visible())
}
