//! Who may review a use of break-glass: whom its rule names, or who has the duty `review`; never the person who used it.
//!
//! MUSTs
//! 1. Nobody reviews their own use, by whichever of their accounts (`nobody_reviews_their_own_use`).
//! 2. What is not known speaks against it (`unknown_reviewer_reviews_nothing`).

use jiff::Timestamp;

use crate::conditions::Setting;
use crate::duty::{Duty, duties, nothing_asked};
use crate::facts::{Fact, Facts};
use crate::identity::{self, Identity};
use crate::name::Uid;
use crate::past::{self, Unreviewed, accounts};
use crate::pattern::Reading;
use crate::policy::Policy;
use crate::truth::Truth;

/// Why somebody may not review a use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoReview {
    /// It is their own, or that cannot be told.
    Own,
    /// Neither the rule nor a duty says that they may.
    NotTheirs,
}

/// Whether the requester of `facts` may review this use at `now`.
///
/// # Errors
/// [`NoReview`] says why not.
pub fn may_review(policy: Option<&Policy>, facts: &Facts, one: &Unreviewed, now: Timestamp) -> Result<(), NoReview> {
    if is_own(policy, facts, one) {
        return Err(NoReview::Own);
    }
    let by_duty = || duties(policy, facts, now).contains(&Duty::Review);
    let by_rule = || policy.is_some_and(|policy| is_named(policy, facts, &one.rule, now));
    if by_rule() || by_duty() { Ok(()) } else { Err(NoReview::NotTheirs) }
}

/// Whether the use is one of the person who asks, or may be.
#[must_use]
pub fn is_own(policy: Option<&Policy>, facts: &Facts, one: &Unreviewed) -> bool {
    let requester = &facts.requester;
    let login = match (&requester.loginuid, requester.login_name.known()) {
        (Fact::Unknown, _) => return true,
        (Fact::Is(None), _) => None,
        (Fact::Is(Some(uid)), name) => Some((*uid, name.and_then(Option::as_deref))),
    };
    let asking = accounts((requester.uid, requester.name.known().map(String::as_str)), login);
    let is_one = |other: (Uid, Option<&str>)| {
        one.accounts().any(|used| match policy {
            Some(policy) => policy.are_one_person(other, used),
            None => other.0 == used.0 || (other.1.is_some() && other.1 == used.1),
        })
    };
    asking.into_iter().any(is_one)
}

/// Whether the rule that gave it names them, as it is now.
fn is_named(policy: &Policy, facts: &Facts, rule: &str, now: Timestamp) -> bool {
    let ordinary = facts.origin.known().is_some_and(|origin| !origin.sandbox && origin.unit.is_none());
    if identity::is_root_itself(facts) || !ordinary {
        // Root has the duty; a sandbox or a service would have to be named by one.
        return false;
    }
    let request = nothing_asked();
    let who = Identity::of(policy, facts);
    let setting = Setting { policy, facts, request: &request, past: &past::NOTHING, only: None, now, who };
    let rule = policy.content.allows.iter().find(|allow| allow.name == rule);
    let reviewers = rule.and_then(|allow| allow.break_glass.as_ref()).map(|glass| glass.reviewers.as_slice());
    let is = |subject| setting.who.is(policy, subject, Reading::Allow);
    Truth::any(reviewers.unwrap_or_default().iter().map(is)) == Truth::True
}
