//! The one place of the harness that reads the clock.

use std::time::{Duration, Instant};

/// A moment after which waiting is given up.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// The moment `after` from now.
    #[must_use]
    pub fn after(after: Duration) -> Self {
        Self(now() + after)
    }

    /// What is left, zero when it has passed.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.0.saturating_duration_since(now())
    }

    /// Whether it has passed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}

/// Measures how long something took.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        Self(now())
    }

    /// The time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        now().saturating_duration_since(self.0)
    }
}

/// When the spawner itself ends what a session did not: after its end, a second of grace and five of patience.
pub const SPAWNER: (&str, Duration) = ("the spawner in its session's place", Duration::from_secs(6));
/// When the gate stops waiting for its daemon.
pub const GATE: (&str, Duration) = ("a gate that waits for its daemon", Duration::from_secs(5));

/// Prints how long it took; that long, it was not the first but the next mechanism that did it.
///
/// # Panics
/// Then.
#[track_caller]
pub fn not_by_the_next(what: &str, took: Duration, (next, then): (&str, Duration)) {
    println!("{what}: {took:?}");
    assert!(took < then, "{what}: {took:?}, as long as {next} would have taken");
}

/// Asks `ready` every few milliseconds until it says yes (`true`) or `within` is over (`false`).
pub fn wait_until(within: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let deadline = Deadline::after(within);
    loop {
        if ready() {
            return true;
        }
        if deadline.is_over() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[expect(clippy::disallowed_methods, reason = "the harness waits for real hosts; nothing here decides anything")]
fn now() -> Instant {
    Instant::now()
}
