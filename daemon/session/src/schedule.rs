//! When to warn and when the time is over: pure, by both clocks.

use jitsudo_core::Timestamp;

/// When a warning is due before the end, milliseconds, and its words.
const WARNINGS: [(u64, &str); 2] = [(300_000, "5 minutes"), (60_000, "1 minute")];

/// The absolute end of a session, and which warnings were given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Schedule {
    ends_at: Timestamp,
    ends_boottime_ms: u64,
    given: usize,
}

/// What is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// Nothing for so many milliseconds.
    Nothing(u64),
    /// So much is left, in words.
    Warning(&'static str),
    /// It is over.
    Over,
}

impl Schedule {
    /// Begins at a moment; warnings whose time has passed by then are not given.
    pub(crate) fn new(ends_at: Timestamp, ends_boottime_ms: u64, wall_ns: i128, boottime_ms: u64) -> Self {
        let mut schedule = Self { ends_at, ends_boottime_ms, given: 0 };
        let left = schedule.left_ms(wall_ns, boottime_ms);
        schedule.given = WARNINGS.iter().filter(|(before, _)| *before >= left).count();
        schedule
    }

    /// What is due now. A warning is due once.
    pub(crate) fn due(&mut self, wall_ns: i128, boottime_ms: u64) -> Due {
        let left = self.left_ms(wall_ns, boottime_ms);
        if left == 0 {
            return Due::Over;
        }
        match WARNINGS.get(self.given) {
            Some((before, words)) if left <= *before => {
                self.given += 1;
                Due::Warning(words)
            }
            Some((before, _)) => Due::Nothing(left - before),
            None => Due::Nothing(left),
        }
    }

    /// Over by the earlier of the clocks: a wall clock that is set back lengthens nothing.
    fn left_ms(&self, wall_ns: i128, boottime_ms: u64) -> u64 {
        let wall = u64::try_from((self.ends_at.as_nanosecond() - wall_ns + 999_999).div_euclid(1_000_000)).unwrap_or(0);
        wall.min(self.ends_boottime_ms.saturating_sub(boottime_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i128 = 1_000_000_000;

    fn schedule(seconds: i64) -> Schedule {
        let ends_at = Timestamp::from_second(seconds).unwrap();
        Schedule::new(ends_at, u64::try_from(seconds).unwrap() * 1000, 0, 0)
    }

    #[test]
    fn warnings_come_once_each_and_then_the_end() {
        let mut schedule = schedule(1000);
        assert_eq!(schedule.due(0, 0), Due::Nothing(700_000));
        assert_eq!(schedule.due(700 * SECOND, 700_000), Due::Warning("5 minutes"));
        assert_eq!(schedule.due(700 * SECOND, 700_000), Due::Nothing(240_000));
        assert_eq!(schedule.due(941 * SECOND, 941_000), Due::Warning("1 minute"));
        assert_eq!(schedule.due(999 * SECOND, 999_000), Due::Nothing(1000));
        assert_eq!(schedule.due(1000 * SECOND, 1_000_000), Due::Over);
    }

    #[test]
    fn short_session_has_no_warning_that_was_due_before_it_began() {
        let mut schedule = schedule(60);
        assert_eq!(schedule.due(SECOND, 1000), Due::Nothing(59_000));
        assert_eq!(self::schedule(120).due(0, 0), Due::Nothing(60_000));
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
