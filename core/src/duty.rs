//! Duties: what a person may see and stop of others. None implies another, or any right to run.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::policy::Policy;

/// One thing that a `[[duty]]` gives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// See others' requests, the log, sessions and timelines.
    See,
    /// Watch others' sessions live and replay recordings.
    Watch,
    /// End others' grants.
    End,
    /// Lock persons or the whole host.
    Lock,
    /// Review break-glass accesses.
    Review,
    /// Read, explain and compare all rules (never apply).
    Policy,
}

impl Duty {
    /// Every duty, in the order in which they are written.
    pub const ALL: [Self; 6] = [Self::See, Self::Watch, Self::End, Self::Lock, Self::Review, Self::Policy];
}

/// Gives the duties that the requester of `facts` has at `now`; `root-is-root` (uid 0 with no person's loginuid) has all.
#[must_use]
pub fn duties(policy: Option<&Policy>, facts: &Facts, now: jiff::Timestamp) -> BTreeSet<Duty> {
    let _ = (policy, facts, now);
    BTreeSet::new()
}
