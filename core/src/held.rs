//! What a role grant gives while it is active: a command, shell or edit that the role which is held covers, under the rule that gave it.
//!
//! The proof of identity, the approvals, the reason, the ticket and the hours were the grant's; they are not asked for again. Everything else is
//! decided anew at each start: whether the rule is still there and still means this requester, what the role covers, and every
//! deny.
//!
//! MUSTs
//! 1. What is held never gives more than the role covers (`held_role_gives_only_what_it_covers`).
//! 2. A deny wins over what is held (`deny_wins_over_a_held_role`).
//! 3. A rule that is gone, or does not mean the requester any more, gives nothing (`held_role_whose_rule_is_gone_gives_nothing`).

use jiff::Timestamp;

use crate::conditions::{Key, Manner, Setting};
use crate::cover::Candidate;
use crate::decision::{Auth, Terms};
use crate::evaluate::{Verdicts, no_program, no_target};
use crate::facts::Facts;
use crate::identity::Identity;
use crate::join::Joined;
use crate::lends::{Effect, Lends};
use crate::past;
use crate::policy::Policy;
use crate::request::{Kind, Request};
use crate::rule::When;
use crate::truth::Truth;

/// A role that somebody holds by a grant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held<'a> {
    /// The rule that gave it.
    pub rule: &'a str,
    /// The role.
    pub role: &'a str,
    /// The reason that was given for it.
    pub reason: Option<&'a str>,
    /// The ticket.
    pub ticket: Option<&'a str>,
}

/// The terms of a request under a role that its requester holds; `None` when the role does not give it, and it has to be asked for by
/// itself.
#[must_use]
pub fn under(policy: &Policy, facts: &Facts, request: &Request, held: Held<'_>, now: Timestamp) -> Option<Box<Terms>> {
    let another = request.role.as_deref().is_some_and(|asked| asked != held.role);
    if another || request.break_glass || matches!(request.kind, Kind::Role | Kind::Validate | Kind::Approve) {
        return None;
    }
    if no_target(facts, request).or_else(|| no_program(facts, request)).is_some() {
        return None;
    }
    let request = Request {
        role: Some(held.role.to_owned()),
        reason: held.reason.map(str::to_owned),
        ticket: held.ticket.map(str::to_owned),
        window: None,
        ..request.clone()
    };
    let setting = Setting {
        policy,
        facts,
        request: &request,
        past: &past::NOTHING,
        only: None,
        now,
        who: Identity::of(policy, facts),
    };
    let role = policy.role_named(held.role)?;
    let role_name = policy.role(role)?.name.as_str();
    let denies = Verdicts::of(&setting, &policy.content.denies, &policy.index.denies);
    if denies.first(&setting, Some(role)).is_some() {
        return None;
    }
    let requires = Verdicts::of(&setting, &policy.content.requires, &policy.index.requires);
    let allows = setting.own_allows().into_iter().filter_map(|place| setting.allow(place));
    let allow = allows
        .filter(|allow| allow.name == held.rule && allow.roles.contains(&role))
        .find(|allow| setting.still_means(&allow.when, role))?;
    let parts = policy.parts_of(role);
    let covering = parts.filter_map(|(place, part)| {
        let cover = setting.cover(role, place, part).ok()?;
        Some(Candidate { allow, role, part, role_name, cover })
    });
    let candidate = covering.min_by(|one, other| one.part.name.cmp(&other.part.name))?;
    let mut joined = Joined::of(&candidate);
    for require in requires.matching(&setting, Some(role)) {
        joined.join(require, allow.break_glass.is_some());
    }
    joined.check(&setting, &candidate).ok()?;
    let terms = joined.terms(&setting, candidate);
    // Given once, with the role.
    Some(Box::new(Terms { auth: Auth::None, approvals: 0, ..terms }))
}

/// True when this policy certainly does not give this requester the role any more by that rule: it is gone, does not name the role, names others
/// or other hosts, is not in force yet or any more, or a deny takes the role from them. `facts` may know as little as the account; what is
/// unknown speaks for nothing here, and each start asks anew. Hours, also a deny's, say when something may start and end nothing by themselves.
#[must_use]
pub fn has_lapsed(policy: Option<&Policy>, facts: &Facts, held: Held<'_>, now: Timestamp) -> bool {
    let Some(policy) = policy else { return true };
    let Some(role) = policy.role_named(held.role) else { return true };
    let request = Request { role: Some(held.role.to_owned()), ..crate::duty::nothing_asked() };
    let setting = Setting {
        policy,
        facts,
        request: &request,
        past: &past::NOTHING,
        only: None,
        now,
        who: Identity::of(policy, facts),
    };
    let mut allows = policy.content.allows.iter();
    let given = allows.any(|allow| {
        allow.name == held.rule && allow.roles.contains(&role) && setting.means(&allow.when, role) != Truth::False
    });
    let denied = || {
        policy
            .content
            .denies
            .iter()
            .filter(|deny| deny.when.hours.is_empty())
            .any(|deny| setting.judge(&deny.when, Manner::deny(deny.only_this_path), Some(role)) == Truth::True)
    };
    !given || denied()
}

/// True when the role does not lend any more, by this policy, what was lent for it: groups to its sessions, changes to the host.
#[must_use]
pub fn lends_less<'a>(
    policy: &Policy,
    role: &str,
    groups: &[String],
    mut effects: impl Iterator<Item = &'a Effect>,
) -> bool {
    let lends = Lends::of(policy, role);
    groups.iter().any(|group| !lends.groups.contains(group)) || effects.any(|effect| !lends.effects.contains(effect))
}

/// The end that this policy puts on a role which is held by that rule, `now` being within its hours: `not-after`, hours that cut.
#[must_use]
pub fn ends_by(policy: &Policy, held: Held<'_>, now: Timestamp) -> Option<Timestamp> {
    let allow = policy.content.allows.iter().find(|allow| allow.name == held.rule)?;
    let cut = crate::hours::cut_at(&allow.when.hours, &policy.zones, now);
    [cut, allow.when.not_after].into_iter().flatten().min()
}

impl Setting<'_> {
    /// Whether an allow that gave a role would still mean this requester, here and for this act; when it may *start* something was
    /// the grant's own start.
    fn still_means(&self, when: &When, role: u32) -> bool {
        self.means(when, role) == Truth::True
    }

    fn means(&self, when: &When, role: u32) -> Truth {
        let mut means = Truth::True;
        self.each(when, Manner::ALLOW, Some(role), &mut |key, truth| {
            if key != Key::Hours {
                means = means.min(truth);
            }
            means != Truth::False
        });
        means
    }
}
