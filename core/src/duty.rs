//! Duties: what a person may see and stop of others. None implies another, or any right to run.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::conditions::{Manner, Setting};
use crate::facts::Facts;
use crate::identity::{self, Identity};
use crate::past;
use crate::pattern::Reading;
use crate::policy::Policy;
use crate::request::{Kind, Request};
use crate::truth::Truth;

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
///
/// A duty is given, so it is read as an allow is: what is not known does not hold, and a sandbox or unit must be named.
#[must_use]
pub fn duties(policy: Option<&Policy>, facts: &Facts, now: jiff::Timestamp) -> BTreeSet<Duty> {
    if identity::is_root_itself(facts) {
        return Duty::ALL.into_iter().collect();
    }
    let Some(policy) = policy else { return BTreeSet::new() };
    let request = nothing_asked();
    let setting = Setting {
        policy,
        facts,
        request: &request,
        past: &past::NOTHING,
        only: None,
        now,
        who: Identity::of(policy, facts),
    };
    let mut places = Vec::new();
    for key in setting.who.keys(Reading::Allow) {
        policy.index.duties.collect(key, &mut places);
    }
    places.sort_unstable();
    places.dedup();
    let rules = places.into_iter().filter_map(|place| policy.content.duties.get(usize::try_from(place).ok()?));
    let held = rules.filter(|rule| setting.judge(&rule.when, Manner::ALLOW, None) == Truth::True);
    held.flat_map(|rule| rule.may.iter().copied()).collect()
}

/// A request that asks for nothing: duties and offers have conditions, but no act.
pub(crate) fn nothing_asked() -> Request {
    Request {
        kind: Kind::Role,
        argv: Vec::new(),
        role: None,
        user: None,
        group: None,
        reason: None,
        ticket: None,
        window: None,
        timeout: None,
        break_glass: false,
        env_names: Vec::new(),
        cwd: None,
        terminal: true,
    }
}
