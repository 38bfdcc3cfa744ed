//! A timer on the boot clock: counts through suspend, ignores steps of the wall clock (timerfd_create(2)).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// Becomes readable at an absolute CLOCK_BOOTTIME moment.
#[derive(Debug)]
pub struct BootTimer(TimerFd);

impl BootTimer {
    /// Makes a timer that is not set.
    ///
    /// # Errors
    /// timerfd_create(2)'s.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Self(TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?))
    }

    /// Sets it to a moment in milliseconds of CLOCK_BOOTTIME; a moment in the past makes it readable at once.
    ///
    /// # Errors
    /// timerfd_settime(2)'s.
    pub fn set(&self, boottime_ms: u64) -> io::Result<()> {
        let at = TimeSpec::from_duration(Duration::from_millis(boottime_ms.max(1)));
        Ok(self.0.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?)
    }

    /// Takes the expiry, so that it is no longer readable.
    pub fn clear(&self) {
        let mut count = [0u8; 8];
        // Nothing to read is fine: somebody cleared it before.
        let _ = nix::unistd::read(&self.0, &mut count);
    }
}

impl AsFd for BootTimer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    #[test]
    fn moment_in_the_past_is_over_at_once() {
        let timer = BootTimer::new().unwrap();
        timer.set(1).unwrap();
        let mut entry = [PollFd::new(timer.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut entry, PollTimeout::from(1000u16)).unwrap(), 1);
        timer.clear();
        let mut entry = [PollFd::new(timer.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut entry, PollTimeout::ZERO).unwrap(), 0);
    }
}
