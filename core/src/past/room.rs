//! How much of a budget is used, how much is left, and when there is room again: whole seconds, each use rounded up.

use jiff::Timestamp;

use super::{Past, Unreviewed};
use crate::conditions::Setting;
use crate::hours::duration_in_words;
use crate::rule::Budget;

/// Time that is worth to be waited for, seconds.
const WORTH_WAITING: i64 = 60;

/// What counts for one person and rule.
#[derive(Debug)]
pub(crate) struct Counted {
    /// [since, until), merged, by time.
    given: Vec<(i64, i64)>,
    /// When, how many; by time.
    begun: Vec<(i64, u64)>,
}

/// What is left of a budget.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// So many seconds from now on, at most; without a bound where only uses are counted.
    Left(Option<u64>),
    /// Nothing, in words.
    None(String),
}

impl Counted {
    /// Of the requester, by this rule.
    pub(crate) fn of(past: &Past, setting: &Setting<'_>, rule: &str) -> Self {
        let own = past.uses.iter().filter(|one| {
            one.rule == rule && setting.who.shares_a_person(setting.policy, one.uid, one.user.as_deref())
        });
        let (mut given, mut begun) = (Vec::new(), Vec::new());
        for one in own {
            let up = i64::from(one.until.subsec_nanosecond() > 0);
            given.push((one.since.as_second(), one.until.as_second().saturating_add(up)));
            begun.push((one.newest.as_second(), one.count));
        }
        begun.sort_unstable();
        Self { given: merged(given), begun }
    }

    /// What is left at `now`.
    pub(crate) fn room(&self, budget: &Budget, now: Timestamp) -> Room {
        let (now, per) = (now.as_second(), i64::try_from(budget.per).unwrap_or(i64::MAX));
        let from = now.saturating_sub(per);
        let in_words = |seconds: i64| duration_in_words(u64::try_from(seconds).unwrap_or(0));
        let again = |at: i64| {
            // One second more, for what was rounded.
            let wait = at.saturating_add(per).saturating_sub(now).max(0).saturating_add(1);
            format!("; there is room again in {}", in_words(wait))
        };
        if let Some(most) = budget.uses {
            let counted: Vec<_> = self.begun.iter().filter(|(at, _)| *at > from).collect();
            let mut count = counted.iter().map(|(_, count)| *count).fold(0, u64::saturating_add);
            if count >= most {
                let words = format!("{count} of {most} uses in {} are made", in_words(per));
                let free = counted.iter().find_map(|(at, leave)| {
                    count = count.saturating_sub(*leave);
                    (count < most).then_some(*at)
                });
                return Room::None(format!("{words}{}", free.map(again).unwrap_or_default()));
            }
        }
        let Some(time) = budget.time.map(|time| i64::try_from(time).unwrap_or(i64::MAX)) else {
            return Room::Left(None);
        };
        let counted = || self.given.iter().map(|(since, until)| ((*since).max(from), *until));
        let used = counted().map(|(since, until)| until.saturating_sub(since).max(0)).fold(0, i64::saturating_add);
        // What runs is counted up to its end already: until then one more costs nothing.
        let paid_until =
            self.given.iter().find(|(since, until)| *since <= now && now < *until).map_or(now, |one| one.1);
        let left = time.saturating_sub(used).saturating_add(paid_until.saturating_sub(now));
        if left >= 1 {
            return Room::Left(u64::try_from(left).ok());
        }
        let mut over = used.saturating_sub(time.saturating_sub(time.min(WORTH_WAITING)));
        let free = counted().find_map(|(since, until)| {
            let length = until.saturating_sub(since).max(0);
            if over <= length {
                return Some(since.saturating_add(over));
            }
            over -= length;
            None
        });
        let words = format!("{} of {} in {} are used", in_words(used), in_words(time), in_words(per));
        Room::None(format!("{words}{}", free.map(again).unwrap_or_default()))
    }
}

impl Past {
    /// The requester's own uses of break-glass that wait for a review.
    pub(crate) fn unreviewed_of<'a>(&'a self, setting: &'a Setting<'_>) -> impl Iterator<Item = &'a Unreviewed> + 'a {
        self.unreviewed
            .values()
            .filter(|one| one.accounts().any(|(uid, user)| setting.who.shares_a_person(setting.policy, uid, user)))
    }
}

fn merged(mut intervals: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    intervals.sort_unstable();
    let mut all: Vec<(i64, i64)> = Vec::new();
    for (since, until) in intervals {
        match all.last_mut() {
            Some((_, end)) if since <= *end => *end = until.max(*end),
            _ => all.push((since, until)),
        }
    }
    all
}
