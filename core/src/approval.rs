//! Approval: what the joined rules ask of other people, and whether the answers that were recorded are enough.
//!
//! Pure: who an approver is, how they proved it and when they answered is told by whoever asks. Nothing here gives a right: the answers
//! are one more condition of a decision that is made by [`crate::evaluate`], again, when the request is activated.
//!
//! MUSTs (invariants, not options: no policy can weaken them)
//! 1. Neither the person of the requester's uid nor of its loginuid counts, by whatever account (`approval_02_*`).
//! 2. For a service the people that run it are not enough by themselves (`run_by_alone_is_not_enough`).
//! 3. One person counts once, by whatever accounts (`approval_05_*`).
//! 4. No answer from inside a session, of root or of a service counts (`answer_from_inside_a_session_*`, `root_and_services_*`).
//! 5. A membership that jitsudo lent makes nobody an approver (`lent_membership_*`).
//! 6. While the requester holds what is as good as root, only signed answers count (`unsigned_answer_*`).
//! 7. An answer to anything but exactly this request counts for nothing (`approval_01_*`).
//! 8. What is not known never counts (`unknown_facts_never_help`); one more answer never takes a yes back (`more_answers_never_hurt`).

use serde::{Deserialize, Serialize};

use crate::conditions::Setting;
use crate::cover::Candidate;
use crate::decision::Auth;
use crate::evaluate::choose;
use crate::facts::Facts;
use crate::identity::{self, Identity};
use crate::join::{Joined, START_BY};
use crate::past::Past;
use crate::pattern::Reading;
use crate::policy::Policy;
use crate::request::{Kind, Request};
use crate::rule::Approvers;
use crate::subject::Subject;
use crate::truth::Truth;

mod activation;
mod binding;
mod card;
mod key;
mod person;
mod power;
mod seats;
mod times;

pub use activation::{Limits, Unusable, looser_than};
pub use binding::{Binding, File, Program, role_content};
pub use card::{Card, MAX_CARD_BYTES, SIGNATURE_NAMESPACE, Said, TooLongError};
pub use key::{ApprovalKey, KeyError, KeyKind, MAX_KEYS, MIN_RSA_BITS};
pub use person::{Signer, may_be_one_person, person_of, signers};
pub use power::is_as_good_as_root;
pub use times::Moment;

use person::Behind;
use seats::{Demand, Seats};

/// `answer-by` where no rule says otherwise, seconds.
pub const ANSWER_BY: u64 = 3600;
/// Most answers to one request that are looked at; more are not recorded.
pub const MAX_ANSWERS: usize = 64;

/// What the joined rules ask of other people for one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asking {
    needs: Vec<Needed>,
    /// Seconds within which enough people must have said yes.
    pub answer_by: u64,
    /// Seconds after that within which the request must be activated.
    pub use_by: u64,
    /// Whoever was asked and has not answered is asked again after each so many seconds.
    pub remind: Option<u64>,
    /// What proof an approver on this host must give.
    pub auth: Auth,
}

/// One rule's expression.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Needed {
    need: Approvers,
    /// After so many seconds these may answer as well.
    escalate: Option<(u64, Vec<Subject>)>,
}

/// What an allowed request waits for; `None` when nobody is to be asked. Ask only after [`crate::evaluate::evaluate_after`] has allowed it,
/// with the same past.
#[must_use]
pub fn asking(
    policy: Option<&Policy>,
    facts: &Facts,
    request: &Request,
    past: &Past,
    now: jiff::Timestamp,
) -> Option<Box<Asking>> {
    find(policy, facts, request, past, None, now)
}

/// As [`asking`], by the rule that [`crate::evaluate::evaluate_by`] was asked about.
#[must_use]
pub fn asking_by(
    policy: Option<&Policy>,
    facts: &Facts,
    request: &Request,
    past: &Past,
    rule: &str,
    now: jiff::Timestamp,
) -> Option<Box<Asking>> {
    find(policy, facts, request, past, Some(rule), now)
}

fn find(
    policy: Option<&Policy>,
    facts: &Facts,
    request: &Request,
    past: &Past,
    only: Option<&str>,
    now: jiff::Timestamp,
) -> Option<Box<Asking>> {
    let policy = policy?;
    if identity::is_root_itself(facts) || matches!(request.kind, Kind::Validate | Kind::Approve) {
        return None;
    }
    let setting = Setting { policy, facts, request, past, only, now, who: Identity::of(policy, facts) };
    let (joined, candidate) = choose(&setting).ok()?;
    Asking::of(&joined, &candidate).map(Box::new)
}

impl Asking {
    /// Joins what every rule asks for: all of it is needed, the shortest times and the strongest proof hold.
    fn of(joined: &Joined<'_>, candidate: &Candidate<'_>) -> Option<Self> {
        let all = joined.approvals();
        let mut needs: Vec<Needed> = Vec::new();
        for approval in all {
            match needs.iter_mut().find(|other| other.need == approval.need) {
                // Asked for in the same words twice: once is enough, and both must agree on who may step in.
                Some(other) if other.escalate != approval.escalate => other.escalate = None,
                Some(_) => {}
                None => needs.push(Needed { need: approval.need.clone(), escalate: approval.escalate.clone() }),
            }
        }
        if needs.is_empty() {
            return None;
        }
        let start_by = candidate.allow.start_by.unwrap_or(START_BY);
        Some(Self {
            needs,
            answer_by: all.iter().map(|approval| approval.answer_by.unwrap_or(ANSWER_BY)).min().unwrap_or(ANSWER_BY),
            use_by: all.iter().filter_map(|approval| approval.use_by).min().unwrap_or(start_by),
            remind: all.iter().filter_map(|approval| approval.remind).min(),
            auth: all.iter().map(|approval| approval.auth.unwrap_or(Auth::Fresh)).max().unwrap_or(Auth::Fresh),
        })
    }

    /// The fewest persons that can give it.
    #[must_use]
    pub fn persons(&self) -> u32 {
        self.needs.iter().map(|needed| needed.need.persons()).fold(0, u32::saturating_add)
    }

    /// Whoever is asked, as the policy writes it; with `escalated`, whoever may step in as well.
    #[must_use]
    pub fn asked(&self, policy: &Policy, escalated: bool) -> Vec<String> {
        let of_needs = self.needs.iter().flat_map(|needed| needed.need.named());
        let stepping_in = self.needs.iter().filter(|_| escalated).flat_map(|needed| &needed.escalate);
        let names = of_needs.chain(stepping_in.flat_map(|(_, by)| by));
        let mut names: Vec<String> = names.map(|subject| policy.subject_name(subject)).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// How an approver proved who they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// On this host: the kernel's word on their connection, and this proof to the host's PAM stack.
    Local(Auth),
    /// By a key that the policy names for that person; nobody on this host can make such an answer.
    Signed,
}

/// One yes, with what is known of who said it.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The approver's account, as the requester's is known: of a connection, or (signed) of the account that the key belongs to.
    pub approver: &'a Facts,
    /// It came from inside a session of jitsudo's; `None` = not known.
    pub inside: Option<bool>,
    /// How they proved who they are.
    pub proof: Proof,
    /// What they said yes to.
    pub digest: &'a str,
    /// When.
    pub at: Moment,
}

/// A request that waits for answers.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The policy in force.
    pub policy: &'a Policy,
    /// Who asks.
    pub requester: &'a Facts,
    /// What is asked of others, by that policy.
    pub asking: &'a Asking,
    /// Digest of the request's [`Binding`].
    pub digest: &'a str,
    /// When it was asked.
    pub since: Moment,
    /// The requester holds what is as good as root (see [`is_as_good_as_root`]).
    pub powerful: bool,
}

/// Why a yes does not count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotCounted {
    /// It is an answer to something else, or what was asked has changed.
    AnotherDigest,
    /// It came after the time for answers, or before the question.
    NotInTime,
    /// Who the approver or the requester is, or where they came from, is not known.
    Unknown,
    /// uid 0 speaks for nobody.
    Root,
    /// A service is no human.
    Service,
    /// It came from inside a session.
    InsideSession,
    /// The approver came in as one person and acts as another.
    TwoPersons,
    /// It is the requester's own.
    OwnRequest,
    /// No rule asks this person.
    NotAsked,
    /// This person may step in, and it is too early for that.
    NotYet,
    /// The proof of who they are is weaker than the rule asks for.
    WeakProof,
    /// The requester is as good as root now, and could have made it up.
    NotSigned,
    /// This person has answered by another account.
    SamePerson,
}

/// One person who said yes, by one account or several.
struct Voice<'a> {
    behind: Behind<'a>,
    answers: Vec<&'a Answer<'a>>,
}

/// What the answers add up to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Each answer in its order: whether it counts.
    pub counted: Vec<Result<(), NotCounted>>,
    /// Everybody who is needed has said yes.
    pub enough: bool,
    /// They would be, were they not all people who run the service that asks.
    pub run_by_alone: bool,
}

impl Case<'_> {
    /// Whether one answer counts by itself.
    ///
    /// # Errors
    /// The first thing that speaks against it.
    pub fn counts(&self, answer: &Answer<'_>) -> Result<(), NotCounted> {
        if answer.digest != self.digest || answer.digest.is_empty() {
            return Err(NotCounted::AnotherDigest);
        }
        if answer.at.is_before(self.since) || self.asking.is_over(self.since, answer.at) {
            return Err(NotCounted::NotInTime);
        }
        self.is_human_and_free(answer)?;
        match self.seats_of(answer.approver, Some(answer.at)) {
            (true, _) => {}
            (false, true) => return Err(NotCounted::NotYet),
            (false, false) => return Err(NotCounted::NotAsked),
        }
        match answer.proof {
            Proof::Signed => Ok(()),
            Proof::Local(_) if self.powerful => Err(NotCounted::NotSigned),
            Proof::Local(proof) if proof < self.asking.auth => Err(NotCounted::WeakProof),
            Proof::Local(_) => Ok(()),
        }
    }

    /// Whether this account may say no: whoever may be asked, now or later, and is not the requester. Taking away asks for less than giving.
    #[must_use]
    pub fn may_refuse(&self, approver: &Facts) -> bool {
        let (now, later) = self.seats_of(approver, None);
        !self.may_be_own(approver) && (now || later)
    }

    /// Whether this account is asked at this moment, as far as who it is says; whoever steps in later is not yet.
    #[must_use]
    pub fn is_asked(&self, approver: &Facts, at: Moment) -> bool {
        !self.may_be_own(approver) && self.seats_of(approver, Some(at)).0
    }

    fn may_be_own(&self, approver: &Facts) -> bool {
        match (Behind::of(approver), Behind::of(self.requester)) {
            (Some(approver), Some(requester)) => approver.may_be(&requester, self.policy),
            _ => true,
        }
    }

    /// Adds the answers up.
    #[must_use]
    pub fn tally(&self, answers: &[Answer<'_>]) -> Tally {
        let mut counted: Vec<Result<(), NotCounted>> = Vec::with_capacity(answers.len());
        let mut people: Vec<Voice<'_>> = Vec::new();
        for answer in answers.iter().take(MAX_ANSWERS) {
            counted.push(self.counts(answer).and_then(|()| {
                let behind = Behind::of(answer.approver).ok_or(NotCounted::Unknown)?;
                // By another account they are the same person, who may sit wherever one of the accounts may.
                if let Some(known) = people.iter_mut().find(|known| known.behind.may_be(&behind, self.policy)) {
                    known.answers.push(answer);
                    return Err(NotCounted::SamePerson);
                }
                people.push(Voice { behind, answers: vec![answer] });
                Ok(())
            }));
        }
        counted.resize(answers.len(), Err(NotCounted::NotInTime));
        let who = |fits: &dyn Fn(&Answer<'_>) -> bool| {
            let places = (0u32..).zip(&people).filter(|(_, voice)| voice.answers.iter().any(|answer| fits(answer)));
            places.fold(0u64, |mask, (place, _)| mask | 1u64.checked_shl(place).unwrap_or(0))
        };
        let mut demands = Vec::with_capacity(self.asking.needs.len());
        for needed in &self.asking.needs {
            demands.push(Demand::of(&needed.need, &|by| {
                who(&|answer| self.is_one_of(answer.approver, by) || self.steps_in(needed, answer.approver, answer.at))
            }));
        }
        let all = Seats::can_be_taken(&demands, None);
        let enough = match self.run_by() {
            None => all,
            Some(run_by) => {
                let beyond = who(&|answer| !self.runs_it(answer.approver, &run_by));
                all && Seats::can_be_taken(&demands, Some(beyond))
            }
        };
        Tally { counted, enough, run_by_alone: all && !enough }
    }

    /// Who runs the service that asks; `None` when it is no service.
    fn run_by(&self) -> Option<Vec<&Subject>> {
        let requester = Behind::of(self.requester)?;
        let services = self.policy.content.services.iter();
        let asking: Vec<_> = services.filter(|service| requester.may_be_in(self.policy, service.set)).collect();
        (!asking.is_empty()).then(|| asking.into_iter().flat_map(|service| &service.run_by).collect())
    }

    /// Whether an account is of somebody who does: named by itself, or by another account of the same person.
    fn runs_it(&self, approver: &Facts, run_by: &[&Subject]) -> bool {
        let who = Identity::of(self.policy, approver);
        let behind = Behind::of(approver);
        run_by.iter().any(|subject| {
            who.is(self.policy, subject, Reading::Deny) != Truth::False
                || behind.as_ref().is_none_or(|behind| behind.shares_a_person_with(self.policy, subject))
        })
    }

    /// The invariants about who speaks.
    fn is_human_and_free(&self, answer: &Answer<'_>) -> Result<(), NotCounted> {
        let (Some(approver), Some(requester)) = (Behind::of(answer.approver), Behind::of(self.requester)) else {
            return Err(NotCounted::Unknown);
        };
        if approver.is_root() {
            return Err(NotCounted::Root);
        }
        if !approver.is_named() {
            return Err(NotCounted::Unknown);
        }
        if self.policy.content.services.iter().any(|service| approver.may_be_in(self.policy, service.set)) {
            return Err(NotCounted::Service);
        }
        match (answer.inside, answer.proof) {
            // A key is used wherever it is; the kernel has no word on that.
            (_, Proof::Signed) | (Some(false), Proof::Local(_)) => {}
            (Some(true), Proof::Local(_)) => return Err(NotCounted::InsideSession),
            (None, Proof::Local(_)) => return Err(NotCounted::Unknown),
        }
        if approver.may_be(&requester, self.policy) {
            return Err(NotCounted::OwnRequest);
        }
        if !approver.is_one(self.policy) {
            return Err(NotCounted::TwoPersons);
        }
        Ok(())
    }

    /// Whether an account has a seat by the rules, or by stepping in: at that moment (`None`: at any), and later.
    fn seats_of(&self, approver: &Facts, at: Option<Moment>) -> (bool, bool) {
        let mut later = false;
        for needed in &self.asking.needs {
            if needed.need.named().into_iter().any(|subject| self.is_subject(approver, subject)) {
                return (true, false);
            }
            let Some((_, by)) = &needed.escalate else { continue };
            if self.is_one_of(approver, by) {
                if at.is_some_and(|at| self.steps_in(needed, approver, at)) {
                    return (true, false);
                }
                later = true;
            }
        }
        (false, later)
    }

    fn steps_in(&self, needed: &Needed, approver: &Facts, at: Moment) -> bool {
        let Some((after, by)) = &needed.escalate else { return false };
        at.is_surely_past(self.since, *after) && self.is_one_of(approver, by)
    }

    fn is_one_of(&self, approver: &Facts, by: &[Subject]) -> bool {
        by.iter().any(|subject| self.is_subject(approver, subject))
    }

    fn is_subject(&self, approver: &Facts, subject: &Subject) -> bool {
        Identity::of(self.policy, approver).is(self.policy, subject, Reading::Allow) == Truth::True
    }
}
