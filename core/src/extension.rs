//! The extension of a role that is held: a decision of its own, by the facts and the policy of the moment.
//!
//! MUSTs
//! 1. Only the rule that gave it extends it, and only whom it still means now (`extension_needs_the_rule_that_gave_it`).
//! 2. It is capped by what the rule gives at once and in all, and reaches no further than a fresh grant would
//!    (`extension_is_capped_*`, `expiry_clock_08_*`).
//! 3. No clock that was set makes it longer: both ends move by the same length (`extension_moves_both_clocks_alike`).

use jiff::{SignedDuration, Timestamp};

use crate::conditions::{Key, Manner, Setting};
use crate::cover::{Candidate, Cover};
use crate::decision::{Cause, Denial, Terms};
use crate::denial;
use crate::evaluate::Verdicts;
use crate::facts::Facts;
use crate::held::Held;
use crate::hours::{duration_as_typed, duration_in_words};
use crate::identity::Identity;
use crate::join::Joined;
use crate::past::Past;
use crate::policy::Policy;
use crate::request::Request;
use crate::state::Ends;
use crate::truth::Truth;

/// When it is asked: both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Wall clock.
    pub wall: Timestamp,
    /// CLOCK_BOOTTIME, milliseconds.
    pub boottime_ms: u64,
}

/// The end as it is, and as it was first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span<'a> {
    /// The present end.
    pub ends: &'a Ends,
    /// The end that it was given with.
    pub first_end: Timestamp,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wish<'a> {
    /// So many seconds more; none = what the rule gives.
    pub seconds: Option<u64>,
    /// Why, in the place of the reason that the role was asked for with.
    pub reason: Option<&'a str>,
}

/// An extension that is allowed.
#[derive(Clone, PartialEq, Debug)]
pub struct Extension {
    /// The terms, every require joined in: who has to prove what.
    pub terms: Box<Terms>,
    /// The new end.
    pub ends: Ends,
}

/// Decides. The denial says what failed, on what, and what would help.
///
/// # Errors
/// [`Denial`]: the rule is gone, does not mean this requester now, extends nothing, or not by so much.
pub fn decide(
    policy: &Policy,
    facts: &Facts,
    held: Held<'_>,
    span: Span<'_>,
    wish: Wish<'_>,
    past: &Past,
    now: Now,
) -> Result<Extension, Box<Denial>> {
    let request = Request {
        role: Some(held.role.to_owned()),
        reason: wish.reason.or(held.reason).map(str::to_owned),
        ticket: held.ticket.map(str::to_owned),
        ..crate::duty::nothing_asked()
    };
    let who = Identity::of(policy, facts);
    let setting = Setting { policy, facts, request: &request, past, only: None, now: now.wall, who };
    let candidate = candidate(&setting, held)?;
    let role = candidate.role;
    let denies = Verdicts::of(&setting, &policy.content.denies, &policy.index.denies);
    if let Some(name) = denies.first(&setting, Some(role)) {
        let words = "a rule of this host forbids this to you; no role of yours changes that";
        return Err(Box::new(Denial { cause: Cause::Denied, detail: vec![words.to_owned()], by: Some(name) }));
    }
    let mut joined = Joined::of(&candidate);
    let requires = Verdicts::of(&setting, &policy.content.requires, &policy.index.requires);
    for require in requires.matching(&setting, Some(role)) {
        joined.join(require, false);
    }
    joined.count_time(&setting, &candidate);
    joined.check(&setting, &candidate).map_err(|unmet| refusal(unmet.cause, unmet.words))?;
    let (allow, window) = (candidate.allow, joined.window());
    let Some((each, total)) = allow.extend else {
        let words =
            format!("rule {:?}, which gave role {}, extends nothing: ask anew when it is over", allow.name, held.role);
        return Err(refusal(Cause::NotCovered, words));
    };
    let terms = joined.terms(&setting, candidate);
    let caps = Caps { each, total, window, not_after: terms.not_after };
    let ends = caps.extended(held.role, span, wish.seconds, now)?;
    Ok(Extension { terms: Box::new(terms), ends })
}

/// The rule that gave the role, with everything that it asks for holding now.
fn candidate<'a>(setting: &Setting<'a>, held: Held<'_>) -> Result<Candidate<'a>, Box<Denial>> {
    let policy: &'a Policy = setting.policy;
    let gone = || {
        let words =
            format!("rule {:?}, which gave role {}, is gone or does not mean you any more", held.rule, held.role);
        refusal(Cause::NotCovered, words)
    };
    let role = policy.role_named(held.role).ok_or_else(gone)?;
    let part = policy.role(role).ok_or_else(gone)?;
    let allows = policy.content.allows.iter();
    let allow = allows
        .filter(|allow| allow.name == held.rule && allow.roles.contains(&role) && allow.break_glass.is_none())
        .find(|allow| denial::is_own(setting, allow))
        .ok_or_else(gone)?;
    let (mut in_time, mut otherwise) = (true, true);
    setting.each(&allow.when, Manner::ALLOW, Some(role), &mut |key, truth| {
        let holds = truth == Truth::True;
        match key {
            Key::Hours | Key::NotBefore | Key::NotAfter => in_time &= holds,
            _ => otherwise &= holds,
        }
        true
    });
    if !otherwise {
        let words =
            format!("rule {:?}, which gave role {}, does not give it to you here and now", held.rule, held.role);
        return Err(refusal(Cause::NotCovered, words));
    }
    if !in_time {
        return Err(refusal(Cause::NotNow, denial::opening(setting, allow, held.role)));
    }
    Ok(Candidate { allow, role, part, role_name: &part.name, cover: Cover::default() })
}

fn refusal(cause: Cause, words: String) -> Box<Denial> {
    Box::new(Denial { cause, detail: vec![words], by: None })
}

/// What bounds an extension, seconds.
struct Caps {
    each: u64,
    total: u64,
    window: u64,
    not_after: Option<Timestamp>,
}

impl Caps {
    fn extended(&self, role: &str, span: Span<'_>, asked: Option<u64>, now: Now) -> Result<Ends, Box<Denial>> {
        let Span { ends, first_end } = span;
        if asked == Some(0) {
            return Err(refusal(Cause::WindowTooLong, format!("role {role} cannot be extended by nothing")));
        }
        // What was extended so far is the same length on both clocks.
        let total_left_ms = self.total.saturating_mul(1000).saturating_sub(milliseconds(first_end, ends.at));
        let reach_ms = self.window.saturating_mul(1000);
        let wall_room_ms = reach_ms.saturating_sub(milliseconds(now.wall, ends.at));
        let boot_room_ms = reach_ms.saturating_sub(ends.boottime_ms.saturating_sub(now.boottime_ms));
        let room_ms = wall_room_ms.min(boot_room_ms);
        let too_much = |words: String| Err(refusal(Cause::WindowTooLong, words));
        let each = self.each;
        if asked.is_some_and(|asked| asked > each) {
            let (most, typed) = (duration_in_words(each), duration_as_typed(each));
            return too_much(format!("role {role} is extended by at most {most} at once: ask with --for {typed}"));
        }
        let wanted_ms = asked.unwrap_or(each).saturating_mul(1000);
        if total_left_ms == 0 || (asked.is_some() && wanted_ms > total_left_ms) {
            let (total, left) = (duration_in_words(self.total), duration_in_words(total_left_ms / 1000));
            return too_much(format!("role {role} is extended by at most {total} in all, and {left} of that is left"));
        }
        if room_ms == 0 || (asked.is_some() && wanted_ms > room_ms) {
            let (window, room) = (duration_in_words(self.window), duration_in_words(room_ms / 1000));
            return too_much(format!("role {role} is held for at most {window} from now: {room} more fit into that"));
        }
        let mut by_ms = wanted_ms.min(total_left_ms).min(room_ms);
        if let Some(not_after) = self.not_after {
            by_ms = by_ms.min(milliseconds(ends.at, not_after));
            if by_ms == 0 {
                return Err(refusal(
                    Cause::NotNow,
                    format!("role {role} is given until {not_after:.0}, and ends then"),
                ));
            }
        }
        let by = SignedDuration::from_millis(i64::try_from(by_ms).unwrap_or(0));
        let moved = ends.at.checked_add(by).ok().zip(ends.boottime_ms.checked_add(by_ms));
        match moved {
            Some((at, boottime_ms)) if at > ends.at => Ok(Ends { at, boottime_ms, boot: ends.boot.clone() }),
            _ => too_much(format!("role {role} cannot be extended beyond the calendar")),
        }
    }
}

/// From one moment to a later one; 0 when it is not later.
fn milliseconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0)
}
