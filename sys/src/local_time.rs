//! The host's own time of day (localtime(3)), for lines that people read.

/// Hour, minute, second in the host's zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeOfDay {
    /// 0..=23
    pub hour: u8,
    /// 0..=59
    pub minute: u8,
    /// 0..=60
    pub second: u8,
}

/// The local time of day at a moment, seconds since 1970; `None` when it cannot be broken down.
#[must_use]
pub fn of(seconds: i64) -> Option<TimeOfDay> {
    // SAFETY: zeroed memory is a valid tm.
    let mut broken_down: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call.
    let outcome = unsafe { libc::localtime_r(&raw const seconds, &raw mut broken_down) };
    if outcome.is_null() {
        return None;
    }
    let part = |value: libc::c_int| u8::try_from(value).ok();
    Some(TimeOfDay {
        hour: part(broken_down.tm_hour)?,
        minute: part(broken_down.tm_min)?,
        second: part(broken_down.tm_sec)?,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_minute_later_is_a_minute_later() {
        let (one, other) = (super::of(1_790_000_000).unwrap(), super::of(1_790_000_060).unwrap());
        assert_eq!((u32::from(one.minute) + 1) % 60, u32::from(other.minute));
        assert_eq!(one.second, other.second);
    }
}
