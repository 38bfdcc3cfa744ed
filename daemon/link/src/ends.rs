//! The absolute end of a command grant: computed by the decider before anything starts, and again by the spawner, which refuses a
//! later one.

use jitsudo_core::Timestamp;
use jitsudo_core::decision::Terms;
use jitsudo_core::facts::Facts;
use jitsudo_core::request::{Kind, Request};

/// How many seconds a command grant lasts from its start, `not_after` aside: the run-time; for a shell or a login the smaller of
/// run-time and window, and of the window that was asked for. `-T` shortens the run-time. A role lasts for its window. All that break-glass
/// gives lasts for the smaller of run-time and window.
#[must_use]
pub fn seconds(terms: &Terms, request: &Request, facts: &Facts) -> u64 {
    let is_glass = terms.break_glass.is_some();
    if request.kind == Kind::Role {
        let window = if is_glass { terms.window.min(terms.run_time) } else { terms.window };
        return request.window.map_or(window, |asked| asked.min(window));
    }
    let run_time = request.timeout.map_or(terms.run_time, |asked| asked.min(terms.run_time));
    if is_glass || is_shell(request, facts) {
        let window = request.window.map_or(terms.window, |asked| asked.min(terms.window));
        run_time.min(window)
    } else {
        run_time
    }
}

/// The absolute end of a command grant that starts `now`; never before `now`.
#[must_use]
pub fn at(terms: &Terms, request: &Request, facts: &Facts, now: Timestamp) -> Timestamp {
    let seconds = i64::try_from(seconds(terms, request, facts)).unwrap_or(i64::MAX);
    // An end beyond the calendar is no end that could be kept: then it is now.
    let end = now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(now);
    terms.not_after.map_or(end, |cap| end.min(cap)).max(now)
}

/// The same end on the boot clock.
#[must_use]
pub fn boottime_ms(ends_at: Timestamp, now: Timestamp, now_boottime_ms: u64) -> u64 {
    let left = u64::try_from(ends_at.duration_since(now).as_millis()).unwrap_or(0);
    now_boottime_ms.saturating_add(left)
}

/// The absolute end, by both clocks, of a session that starts `now` under a role which is held until `until`: as a command's own, and
/// never later than the role's.
#[must_use]
pub fn under(
    terms: &Terms,
    request: &Request,
    facts: &Facts,
    now: (Timestamp, u64),
    until: (Timestamp, u64),
) -> (Timestamp, u64) {
    let ends_at = at(terms, request, facts, now.0).min(until.0);
    (ends_at, boottime_ms(ends_at, now.0, now.1).min(until.1))
}

/// How many seconds past its end what runs may go on (`at-end = { finish = … }`). Not a shell, in which anything could be begun then, and
/// not what the requester gave an end by `-T`.
#[must_use]
pub fn finish(terms: &Terms, request: &Request, facts: &Facts) -> u64 {
    let may = matches!(request.kind, Kind::Command | Kind::Role) && request.timeout.is_none();
    if may && !is_shell(request, facts) { terms.finish } else { 0 }
}

/// The absolute end, by the wall clock, of what runs at an end; `None` when it is ended then.
#[must_use]
pub fn processes(ends_at: Timestamp, finish: u64) -> Option<Timestamp> {
    let finish = i64::try_from(finish).ok().filter(|seconds| *seconds > 0)?;
    ends_at.checked_add(jiff::SignedDuration::from_secs(finish)).ok()
}

/// `-s`, `-i`, or a program of /etc/shells without arguments.
fn is_shell(request: &Request, facts: &Facts) -> bool {
    match request.kind {
        Kind::Shell | Kind::LoginShell => true,
        Kind::Command => {
            let shell = facts.executable.known().and_then(|found| found.as_ref().ok()).is_some_and(|one| one.is_shell);
            shell && request.argv.len() == 1
        }
        Kind::Edit | Kind::Role | Kind::Validate | Kind::Approve => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn command_ends_after_its_run_time_and_shell_after_the_smaller_window() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let (terms, facts) = (samples::terms(), samples::facts());
        let mut request = samples::request(&["/usr/bin/id"]);
        assert_eq!(at(&terms, &request, &facts, now).to_string(), "2026-01-01T12:00:00Z");
        request.kind = Kind::Shell;
        assert_eq!(at(&terms, &request, &facts, now).to_string(), "2026-01-01T01:00:00Z");
        request.window = Some(60);
        assert_eq!(at(&terms, &request, &facts, now).to_string(), "2026-01-01T00:01:00Z");
        request.window = Some(u64::MAX);
        assert_eq!(at(&terms, &request, &facts, now).to_string(), "2026-01-01T01:00:00Z");
    }

    #[test]
    fn shell_of_etc_shells_without_arguments_is_a_shell() {
        let (terms, mut facts) = (samples::terms(), samples::facts());
        if let jitsudo_core::facts::Fact::Is(Ok(program)) = &mut facts.executable {
            program.is_shell = true;
        }
        assert_eq!(seconds(&terms, &samples::request(&["bash"]), &facts), 3600);
        assert_eq!(seconds(&terms, &samples::request(&["bash", "-c", "id"]), &facts), 43_200);
    }

    #[test]
    fn command_may_finish_and_a_shell_and_a_timeout_may_not() {
        let (mut terms, facts) = (samples::terms(), samples::facts());
        terms.finish = 7200;
        let mut request = samples::request(&["/usr/bin/id"]);
        assert_eq!(finish(&terms, &request, &facts), 7200);
        request.timeout = Some(60);
        assert_eq!(finish(&terms, &request, &facts), 0);
        request.timeout = None;
        for (kind, seconds) in [(Kind::Shell, 0), (Kind::LoginShell, 0), (Kind::Edit, 0), (Kind::Role, 7200)] {
            request.kind = kind;
            assert_eq!(finish(&terms, &request, &facts), seconds, "{kind:?}");
        }
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(processes(at, 0), None);
        assert_eq!(processes(at, 7200).unwrap().to_string(), "2026-01-01T02:00:00Z");
    }

    #[test]
    fn role_lasts_for_its_window_and_a_session_under_it_never_longer() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let (terms, facts) = (samples::terms(), samples::facts());
        let mut request = samples::request(&[]);
        request.kind = Kind::Role;
        assert_eq!(at(&terms, &request, &facts, now).to_string(), "2026-01-01T01:00:00Z");
        request.window = Some(1800);
        let until = at(&terms, &request, &facts, now);
        assert_eq!(until.to_string(), "2026-01-01T00:30:00Z");
        let command = samples::request(&["/usr/bin/id"]);
        let ends = |timeout, boottime_ms| {
            let command = Request { timeout, ..command.clone() };
            let (at, ms) = under(&terms, &command, &facts, (now, 1000), (until, boottime_ms));
            (at.to_string(), ms)
        };
        assert_eq!(ends(None, 1_801_000), ("2026-01-01T00:30:00Z".to_owned(), 1_801_000));
        assert_eq!(ends(None, 5000), ("2026-01-01T00:30:00Z".to_owned(), 5000));
        assert_eq!(ends(Some(60), 1_801_000), ("2026-01-01T00:01:00Z".to_owned(), 61_000));
    }

    #[test]
    fn not_after_caps_and_no_number_overflows() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut terms = samples::terms();
        let (request, facts) = (samples::request(&["/usr/bin/id"]), samples::facts());
        terms.not_after = Some("2026-01-01T03:00:00Z".parse().unwrap());
        assert_eq!(at(&terms, &request, &facts, now).to_string(), "2026-01-01T03:00:00Z");
        terms.not_after = Some("2025-01-01T03:00:00Z".parse().unwrap());
        assert_eq!(at(&terms, &request, &facts, now), now);
        terms.not_after = None;
        terms.run_time = u64::MAX;
        assert_eq!(at(&terms, &request, &facts, now), now);
        assert_eq!(boottime_ms(now, now, 7), 7);
        assert_eq!(boottime_ms(now + jiff::SignedDuration::from_secs(1), now, 7), 1007);
    }
}
