//! The one place that reads clocks. Everything else takes time as an argument.
//!
//! A build for tests (feature `failpoints`) can be told that a clock was set, or that the host slept: `steps`.

#[cfg(feature = "failpoints")]
mod steps;

use std::io;

use nix::time::{ClockId, clock_gettime};

/// A moment by both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// CLOCK_REALTIME, nanoseconds since 1970.
    pub wall_ns: i128,
    /// CLOCK_BOOTTIME, milliseconds since boot, suspend included.
    pub boottime_ms: u64,
}

/// Reads both clocks.
#[must_use]
pub fn now() -> Moment {
    Moment { wall_ns: nanoseconds(ClockId::CLOCK_REALTIME), boottime_ms: boottime_ms() }
}

/// CLOCK_BOOTTIME in milliseconds.
#[must_use]
pub fn boottime_ms() -> u64 {
    u64::try_from(nanoseconds(ClockId::CLOCK_BOOTTIME) / 1_000_000).unwrap_or(0)
}

fn nanoseconds(clock: ClockId) -> i128 {
    // clock_gettime cannot fail for these two clocks on any kernel since 2.6.39; 0 would end every grant at once.
    let read =
        clock_gettime(clock).map_or(0, |time| i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec()));
    read + stepped_ns(clock)
}

/// A step that a test orders; there is none in what is shipped.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
fn stepped_ns(_clock: ClockId) -> i128 {
    0
}

#[cfg(feature = "failpoints")]
fn stepped_ns(clock: ClockId) -> i128 {
    let steps = steps::ordered();
    i128::from(if clock == ClockId::CLOCK_BOOTTIME { steps.boot } else { steps.wall }) * 1_000_000_000
}

/// The kernel's id of this boot.
///
/// # Errors
/// /proc is not mounted.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_go_forward() {
        let (one, other) = (now(), now());
        assert!(other.boottime_ms >= one.boottime_ms && one.boottime_ms > 0);
        assert!(other.wall_ns > 1_700_000_000_000_000_000);
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
