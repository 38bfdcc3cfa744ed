//! What the host's modules may not do to the process that runs them: take for ever, or come back twice.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;

/// Time of the modules for one call, questions not counted: a hardware key or a push message is waited for, a hung server is not.
const MODULE_TIME: Duration = Duration::from_secs(60);
/// A timer that is set to nothing is off.
const OFF: Duration = Duration::ZERO;

/// Bounds of one transaction.
///
/// The timer sends SIGKILL, which no module can block or catch: who waits for a module cannot end it otherwise, for it runs in this
/// very thread. A fork has no timer of its parent's (timer_create(2)), so it is told apart by its process id.
pub(super) struct Bounds {
    timer: RefCell<Timer>,
    process: u32,
}

/// Modules are at work until this is dropped.
pub(super) struct Within<'a> {
    bounds: &'a Bounds,
    inner: Duration,
}

impl Bounds {
    pub(super) fn new() -> io::Result<Self> {
        let kill = SigevNotify::SigevSignal { signal: Signal::SIGKILL, si_value: 0 };
        let timer = Timer::new(ClockId::CLOCK_BOOTTIME, SigEvent::new(kill))?;
        Ok(Self { timer: RefCell::new(timer), process: std::process::id() })
    }

    /// Modules begin to work.
    pub(super) fn enter(&self) -> Within<'_> {
        self.set(MODULE_TIME);
        Within { bounds: self, inner: OFF }
    }

    /// Modules wait for somebody: this is not their time.
    pub(super) fn pause(&self) -> Within<'_> {
        self.check_process();
        self.set(OFF);
        Within { bounds: self, inner: MODULE_TIME }
    }

    fn set(&self, time: Duration) {
        // A relative timer fails only on a bad value.
        let expiration = Expiration::OneShot(TimeSpec::from_duration(time));
        let _ = self.timer.borrow_mut().set(expiration, TimerSetTimeFlags::empty());
    }

    /// A module forked and let the child return: there must not be two of us.
    fn check_process(&self) {
        if std::process::id() != self.process {
            // SAFETY: _exit runs no destructor and no handler: nothing that belongs to the parent is touched.
            unsafe { libc::_exit(0) };
        }
    }
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        self.bounds.check_process();
        self.bounds.set(self.inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(bounds: &Bounds) -> Option<Duration> {
        match bounds.timer.borrow().get().unwrap() {
            Some(Expiration::OneShot(left)) => Some(Duration::from(left)),
            _ => None,
        }
    }

    #[test]
    fn time_runs_while_modules_work_and_not_while_somebody_types() {
        let bounds = Bounds::new().unwrap();
        assert_eq!(left(&bounds), None);
        let within = bounds.enter();
        assert!(left(&bounds).unwrap() > MODULE_TIME / 2);
        let paused = bounds.pause();
        assert_eq!(left(&bounds), None);
        drop(paused);
        assert!(left(&bounds).unwrap() > MODULE_TIME / 2);
        drop(within);
        assert_eq!(left(&bounds), None);
    }
}
