//! Which grants are to be ended now: pure.

use jitsudo_core::Timestamp;
use jitsudo_core::event::EndCause;
use jitsudo_core::state::Ends;
use jitsudo_link::notes::Note;

/// Milliseconds that the spawner has for an end before this program does it: it comes first when it lives.
const SPAWNERS_MS: u64 = 5_000;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    /// What is over.
    Over,
    /// Everything: jitsudo leaves this host.
    All,
}

/// By what a note is measured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Now {
    pub(crate) wall: Timestamp,
    pub(crate) boottime_ms: u64,
    pub(crate) boot: String,
}

/// Why a grant ends now; `None` when it does not.
pub(crate) fn cause(note: &Note, which: Which, now: &Now) -> Option<EndCause> {
    if note.boot != now.boot {
        return Some(EndCause::Rebooted);
    }
    let ends = Ends { at: note.ends_at, boottime_ms: note.ends_boottime_ms, boot: note.boot.clone() };
    if has_passed(&ends, now) {
        return Some(EndCause::WindowOver);
    }
    (which == Which::All).then_some(EndCause::EndedByOther)
}

/// An end that passed, and the spawner has had its time.
pub(crate) fn has_passed(ends: &Ends, now: &Now) -> bool {
    let spawners = jitsudo_core::SignedDuration::from_millis(SPAWNERS_MS.cast_signed());
    let wall = now.wall.checked_sub(spawners).unwrap_or(now.wall);
    ends.is_over(wall, now.boottime_ms.saturating_sub(SPAWNERS_MS), &now.boot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> Note {
        serde_json::from_str(
            r#"{"id":"01jd0000000000000000000000","host":"h","uid":1001,"user":"alice","boot":"b1",
                "ends_at":"2026-01-01T01:00:00Z","ends_boottime_ms":60000}"#,
        )
        .unwrap()
    }

    fn now(wall: &str, boottime_ms: u64, boot: &str) -> Now {
        Now { wall: wall.parse().unwrap(), boottime_ms, boot: boot.to_owned() }
    }

    #[test]
    fn expiry_clock_12_note_of_another_boot_is_over_at_once() {
        assert_eq!(cause(&note(), Which::Over, &now("2026-01-01T00:00:00Z", 1, "b2")), Some(EndCause::Rebooted));
    }

    #[test]
    fn each_clock_ends_and_the_spawner_comes_first() {
        let over = |wall, boottime_ms| cause(&note(), Which::Over, &now(wall, boottime_ms, "b1"));
        assert_eq!(over("2026-01-01T00:00:00Z", 64_999), None);
        assert_eq!(over("2026-01-01T00:00:00Z", 65_000), Some(EndCause::WindowOver));
        assert_eq!(over("2026-01-01T01:00:04Z", 1), None);
        assert_eq!(over("2026-01-01T01:00:05Z", 1), Some(EndCause::WindowOver));
        assert_eq!(
            over("1970-01-01T00:00:00Z", 65_000),
            Some(EndCause::WindowOver),
            "a clock set back lengthens nothing"
        );
    }

    #[test]
    fn removal_of_the_package_ends_what_is_not_over() {
        let live = now("2026-01-01T00:00:00Z", 1, "b1");
        assert_eq!(cause(&note(), Which::All, &live), Some(EndCause::EndedByOther));
        assert_eq!(cause(&note(), Which::Over, &live), None);
    }
}
