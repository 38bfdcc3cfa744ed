//! The decision.

use crate::decision::{Cause, Decision, Denial};
use crate::facts::Facts;
use crate::policy::Policy;
use crate::request::Request;

/// Decides a request under the applied policy (`None`: none was ever applied) at `now`.
pub fn evaluate(policy: Option<&Policy>, facts: &Facts, request: &Request, now: jiff::Timestamp) -> Decision {
    let _ = (policy, facts, request, now);
    Decision::Deny(Box::new(Denial { cause: Cause::NoPolicy, detail: Vec::new(), by: None }))
}
