//! When to warn and when the time is over: pure, by both clocks.

use jitsudo_core::{SignedDuration, Timestamp};
use jitsudo_link::session::Spec;
use jitsudo_sys::clock::Moment;

/// The absolute end of a session, and which warnings were given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Schedule {
    ends_at: Timestamp,
    ends_boottime_ms: u64,
    /// How long what runs then may go on.
    finish_ms: u64,
    /// Milliseconds before the end, longest first.
    warnings: Vec<u64>,
    given: usize,
    told_to_finish: bool,
}

/// What is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// Nothing for so many milliseconds.
    Nothing(u64),
    /// So many seconds are left.
    Warning(u64),
    /// It is over, and what runs may finish within the time that the rule gives for that.
    Finish,
    /// It is over.
    Over,
}

impl Schedule {
    /// Of a session, from this moment on.
    pub(crate) fn of(spec: &Spec, now: Moment) -> Self {
        let end = (spec.ends_at, spec.ends_boottime_ms);
        Self::new(end, spec.finish_ms, &spec.warn, (now.wall_ns, now.boottime_ms))
    }

    /// Begins at a moment; warnings whose time has passed by then are not given. `warn`: seconds before the end, longest first.
    fn new(
        (ends_at, ends_boottime_ms): (Timestamp, u64),
        finish_ms: u64,
        warn: &[u64],
        (wall_ns, boottime_ms): (i128, u64),
    ) -> Self {
        let warnings = warn.iter().map(|seconds| seconds.saturating_mul(1000)).collect();
        let mut schedule =
            Self { ends_at, ends_boottime_ms, finish_ms, warnings, given: 0, told_to_finish: finish_ms == 0 };
        let left = schedule.left_ms(wall_ns, boottime_ms);
        schedule.given = schedule.warnings.iter().filter(|before| i128::from(**before) >= left).count();
        schedule
    }

    /// What is due now. A warning is due once.
    pub(crate) fn due(&mut self, wall_ns: i128, boottime_ms: u64) -> Due {
        let left = self.left_ms(wall_ns, boottime_ms);
        let Some(left) = u64::try_from(left).ok().filter(|left| *left > 0) else {
            return self.due_after(left);
        };
        match self.warnings.get(self.given) {
            Some(before) if left <= *before => {
                let seconds = before / 1000;
                self.given += 1;
                Due::Warning(seconds)
            }
            Some(before) => Due::Nothing(left - before),
            None => Due::Nothing(left),
        }
    }

    /// Whole seconds until the end.
    pub(crate) fn seconds_left(&self, wall_ns: i128, boottime_ms: u64) -> u64 {
        u64::try_from(self.left_ms(wall_ns, boottime_ms) / 1000).unwrap_or(0)
    }

    /// When it is over, wall clock.
    pub(crate) fn ends_at(&self) -> Timestamp {
        self.ends_at
    }

    /// When what runs then has to be gone, wall clock.
    pub(crate) fn processes_end_at(&self) -> Timestamp {
        let finish = SignedDuration::from_millis(i64::try_from(self.finish_ms).unwrap_or(i64::MAX));
        self.ends_at.checked_add(finish).unwrap_or(self.ends_at)
    }

    /// True once it is over.
    pub(crate) fn is_over(&self, wall_ns: i128, boottime_ms: u64) -> bool {
        self.left_ms(wall_ns, boottime_ms) <= 0
    }

    /// Moves the end; warnings are given anew before the new one. An earlier end than the present is none.
    pub(crate) fn extend(&mut self, (ends_at, ends_boottime_ms): (Timestamp, u64), wall_ns: i128, boottime_ms: u64) {
        if ends_at <= self.ends_at && ends_boottime_ms <= self.ends_boottime_ms {
            return;
        }
        self.ends_at = ends_at.max(self.ends_at);
        self.ends_boottime_ms = ends_boottime_ms.max(self.ends_boottime_ms);
        let left = self.left_ms(wall_ns, boottime_ms);
        self.given = self.warnings.iter().filter(|before| i128::from(**before) >= left).count();
    }

    fn due_after(&mut self, left: i128) -> Due {
        match u64::try_from(left + i128::from(self.finish_ms)) {
            Ok(left) if left > 0 && self.told_to_finish => Due::Nothing(left),
            Ok(left) if left > 0 => {
                self.told_to_finish = true;
                Due::Finish
            }
            _ => Due::Over,
        }
    }

    /// Over by the earlier of the clocks: a wall clock that is set back lengthens nothing. Below zero: so long ago.
    fn left_ms(&self, wall_ns: i128, boottime_ms: u64) -> i128 {
        let wall = (self.ends_at.as_nanosecond() - wall_ns + 999_999).div_euclid(1_000_000);
        wall.min(i128::from(self.ends_boottime_ms) - i128::from(boottime_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i128 = 1_000_000_000;

    fn finishing(seconds: i64, finish_ms: u64, warn: &[u64]) -> Schedule {
        let ends_at = Timestamp::from_second(seconds).unwrap();
        Schedule::new((ends_at, u64::try_from(seconds).unwrap() * 1000), finish_ms, warn, (0, 0))
    }

    fn schedule(seconds: i64) -> Schedule {
        finishing(seconds, 0, &[300, 60])
    }

    #[test]
    fn warnings_come_once_each_and_then_the_end() {
        let mut schedule = schedule(1000);
        assert_eq!(schedule.due(0, 0), Due::Nothing(700_000));
        assert_eq!(schedule.due(700 * SECOND, 700_000), Due::Warning(300));
        assert_eq!(schedule.due(700 * SECOND, 700_000), Due::Nothing(240_000));
        assert_eq!(schedule.due(941 * SECOND, 941_000), Due::Warning(60));
        assert_eq!(schedule.due(999 * SECOND, 999_000), Due::Nothing(1000));
        assert_eq!(schedule.due(1000 * SECOND, 1_000_000), Due::Over);
    }

    #[test]
    fn extension_moves_the_end_and_its_warnings_and_shortens_nothing() {
        let mut schedule = schedule(1000);
        assert_eq!(schedule.due(700 * SECOND, 700_000), Due::Warning(300));
        schedule.extend((Timestamp::from_second(1600).unwrap(), 1_600_000), 800 * SECOND, 800_000);
        assert_eq!(schedule.ends_at(), Timestamp::from_second(1600).unwrap());
        assert_eq!(schedule.due(1000 * SECOND, 1_000_000), Due::Nothing(300_000));
        assert_eq!(schedule.due(1300 * SECOND, 1_300_000), Due::Warning(300));
        schedule.extend((Timestamp::from_second(1).unwrap(), 1000), 1301 * SECOND, 1_301_000);
        assert_eq!(schedule.due(1301 * SECOND, 1_301_000), Due::Nothing(239_000));
        assert_eq!(schedule.due(1600 * SECOND, 1_600_000), Due::Over);
    }

    #[test]
    fn short_session_has_no_warning_that_was_due_before_it_began() {
        let mut schedule = schedule(60);
        assert_eq!(schedule.due(SECOND, 1000), Due::Nothing(59_000));
        assert_eq!(self::schedule(120).due(0, 0), Due::Nothing(60_000));
    }

    #[test]
    fn warnings_are_the_rules_and_may_be_none() {
        assert_eq!(finishing(60, 0, &[30]).due(0, 0), Due::Nothing(30_000));
        assert_eq!(finishing(60, 0, &[]).due(0, 0), Due::Nothing(60_000));
        assert_eq!(finishing(60, 0, &[45, 30]).seconds_left(20 * SECOND, 20_001), 39);
    }

    #[test]
    fn what_may_finish_is_told_once_and_ends_by_a_bound_of_its_own() {
        let mut schedule = finishing(100, 30_000, &[]);
        assert_eq!(schedule.due(99 * SECOND, 99_000), Due::Nothing(1000));
        assert_eq!(schedule.due(100 * SECOND, 100_000), Due::Finish);
        assert_eq!(schedule.due(101 * SECOND, 101_000), Due::Nothing(29_000));
        assert_eq!(schedule.due(130 * SECOND, 130_000), Due::Over);
        // By whichever clock is first, as the end itself.
        assert_eq!(finishing(100, 30_000, &[]).due(0, 130_000), Due::Over);
        assert_eq!(finishing(100, 30_000, &[]).due(130 * SECOND, 0), Due::Over);
    }

    #[test]
    fn expiry_clock_03_suspended_hour_ends_a_session_of_ten_minutes_on_resume() {
        // CLOCK_BOOTTIME goes on while the host sleeps; the wall clock may not have been set yet.
        assert_eq!(schedule(600).due(SECOND, 3_600_000), Due::Over);
    }

    #[test]
    fn crash_recovery_09_snapshot_that_is_restored_later_is_over_at_the_first_look() {
        // The boot clock goes on from where the snapshot was; the wall clock knows of the time between.
        assert_eq!(schedule(600).due(86_400 * SECOND, 1000), Due::Over);
    }

    #[test]
    fn expiry_clock_02_clock_set_back_lengthens_nothing_and_set_forward_ends() {
        assert_eq!(schedule(1000).due(-5000 * SECOND, 1_000_000), Due::Over);
        assert_eq!(schedule(1000).due(1000 * SECOND, 1), Due::Over);
        assert_eq!(schedule(1000).due(5000 * SECOND, 1), Due::Over);
    }
}
