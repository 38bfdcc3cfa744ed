//! When answers count, who may step in, what lapses.
//!
//! MUST: what takes away happens at the earliest of both clocks, what gives more at the latest (`clock_that_is_set_*`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Asking;

/// A moment by both clocks of one boot. An approval never outlives the boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Moment {
    /// Wall clock.
    pub at: Timestamp,
    /// CLOCK_BOOTTIME, milliseconds.
    pub boottime_ms: u64,
}

impl Moment {
    /// Whole seconds since then by the wall clock; 0 when that was set back.
    fn wall_seconds(self, since: Self) -> u64 {
        u64::try_from(self.at.duration_since(since.at).as_secs()).unwrap_or(0)
    }

    fn boot_seconds(self, since: Self) -> u64 {
        self.boottime_ms.saturating_sub(since.boottime_ms) / 1000
    }

    /// By the clock that cannot be set.
    pub(super) fn is_before(self, other: Self) -> bool {
        self.boottime_ms < other.boottime_ms
    }

    /// So many seconds have passed since then by one clock at least: for what takes away.
    fn is_past(self, since: Self, seconds: u64) -> bool {
        self.wall_seconds(since) >= seconds || self.boot_seconds(since) >= seconds
    }

    /// By both: for what gives more.
    pub(super) fn is_surely_past(self, since: Self, seconds: u64) -> bool {
        self.wall_seconds(since) >= seconds && self.boot_seconds(since) >= seconds
    }
}

impl Asking {
    /// The time for answers to a question of `since` is over.
    #[must_use]
    pub fn is_over(&self, since: Moment, now: Moment) -> bool {
        now.is_past(since, self.answer_by)
    }

    /// What was approved at `approved` may not be used any more.
    #[must_use]
    pub fn use_is_over(&self, approved: Moment, now: Moment) -> bool {
        now.is_before(approved) || now.is_past(approved, self.use_by)
    }

    /// Somebody may step in who could not before: how many rules say so by now.
    #[must_use]
    pub fn escalated(&self, since: Moment, now: Moment) -> usize {
        let steps = self.needs.iter().filter_map(|needed| needed.escalate.as_ref());
        steps.filter(|(after, _)| now.is_surely_past(since, *after)).count()
    }

    /// How many reminders are due by now.
    #[must_use]
    pub fn reminders(&self, since: Moment, now: Moment) -> u64 {
        let waited = now.boot_seconds(since).min(now.wall_seconds(since));
        self.remind.and_then(|every| waited.checked_div(every)).unwrap_or(0)
    }

    /// Milliseconds until something of the above may change, by the clock that cannot be set; `None` when the time for answers is over.
    #[must_use]
    pub fn next_ms(&self, since: Moment, now: Moment) -> Option<u64> {
        if self.is_over(since, now) {
            return None;
        }
        let waited = now.boottime_ms.saturating_sub(since.boottime_ms);
        let steps = self.needs.iter().filter_map(|needed| needed.escalate.as_ref()).map(|(after, _)| *after);
        let reminder = self.remind.map(|every| self.reminders(since, now).saturating_add(1).saturating_mul(every));
        let times = steps.chain(reminder).chain([self.answer_by]).map(|seconds| seconds.saturating_mul(1000));
        times.filter_map(|at| at.checked_sub(waited)).filter(|left| *left > 0).min()
    }
}
