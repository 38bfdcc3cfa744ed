//! Extensions of roles that are held.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod scene;

use jitsudo_core::decision::{Auth, Cause, Denial};
use jitsudo_core::extension::{Extension, Now, Span, Wish, decide};
use jitsudo_core::held::Held;
use jitsudo_core::id::AccessId;
use jitsudo_core::name::Uid;
use jitsudo_core::past::{Past, Use};
use jitsudo_core::policy::Policy;
use jitsudo_core::state::Ends;
use scene::{alice, at, now};

const RULES: &str = r#"
[roles.web]
run = ["/usr/bin/nginx -t"]
[[allow]]
name = "web"
who = ["alice"]
roles = ["web"]
window = "1h"
auth = "fresh"
extend = { each = "15m", total = "40m" }
"#;

const HELD: Held<'static> = Held { rule: "web", role: "web", reason: Some("a good reason"), ticket: None };
const BOOT_MS: u64 = 1_000_000;

fn ends(minutes: i64) -> Ends {
    let seconds = minutes * 60;
    let at = now() + jitsudo_core::SignedDuration::from_secs(seconds);
    Ends { at, boottime_ms: BOOT_MS + u64::try_from(seconds).unwrap() * 1000, boot: "b".to_owned() }
}

fn clock() -> Now {
    Now { wall: now(), boottime_ms: BOOT_MS }
}

fn extended(policy: &Policy, ends: &Ends, first_end: &Ends, seconds: Option<u64>) -> Result<Extension, Box<Denial>> {
    let span = Span { ends, first_end: first_end.at };
    decide(policy, &alice(), HELD, span, Wish { seconds, reason: None }, &Past::default(), clock())
}

fn cause(policy: &Policy, held: Held<'_>) -> Cause {
    let (ends, first_end) = (ends(10), ends(10).at);
    let wish = Wish { seconds: Some(60), reason: None };
    let denial =
        decide(policy, &alice(), held, Span { ends: &ends, first_end }, wish, &Past::default(), clock()).unwrap_err();
    denial.cause.clone()
}

fn words(policy: &Policy, end: i64, first_end: i64, seconds: u64) -> String {
    extended(policy, &ends(end), &ends(first_end), Some(seconds)).unwrap_err().detail.join("; ")
}

#[test]
fn extension_moves_both_clocks_alike() {
    let policy = scene::policy(RULES);
    let extension = extended(&policy, &ends(10), &ends(10), Some(600)).unwrap();
    assert_eq!(extension.ends, ends(20));
    assert_eq!(extension.terms.auth, Auth::Fresh, "it is a decision as the first one was");
    // What was not asked for is what the rule gives at once.
    assert_eq!(extended(&policy, &ends(10), &ends(10), None).unwrap().ends, ends(25));
    // A wall clock that was set back makes the way to its end no longer, and no extension either.
    let back = Now { wall: at("2016-01-01T00:00:00Z"), boottime_ms: BOOT_MS };
    let (end, first_end) = (ends(10), ends(10).at);
    let wish = Wish { seconds: Some(60), reason: None };
    assert!(decide(&policy, &alice(), HELD, Span { ends: &end, first_end }, wish, &Past::default(), back).is_err());
}

#[test]
fn extension_is_capped_at_once_in_all_and_by_the_window() {
    let policy = scene::policy(RULES);
    assert_eq!(words(&policy, 10, 10, 16 * 60), "role web is extended by at most 15 min at once: ask with --for 15m");
    assert_eq!(
        words(&policy, 50, 20, 11 * 60),
        "role web is extended by at most 40 min in all, and 10 min of that is left"
    );
    assert_eq!(
        extended(&policy, &ends(40), &ends(10), None).unwrap().ends,
        ends(50),
        "shortened: it was not asked for"
    );
    assert_eq!(words(&policy, 50, 50, 11 * 60), "role web is held for at most 1 h from now: 10 min more fit into that");
    assert_eq!(extended(&policy, &ends(50), &ends(50), None).unwrap().ends, ends(60));
    let require = "[[require]]\nname = \"short\"\nroles = [\"web\"]\nwindow = \"12m\"\n";
    let policy = scene::policy(&format!("{RULES}{require}"));
    assert_eq!(extended(&policy, &ends(10), &ends(10), None).unwrap().ends, ends(12), "the joined window");
}

#[test]
fn expiry_clock_08_any_length_and_any_number_of_renewals_stays_within_the_total() {
    let policy = scene::policy(RULES);
    for seconds in [0, 1_000_000_000 * 3600, u64::MAX] {
        assert!(extended(&policy, &ends(10), &ends(10), Some(seconds)).is_err(), "{seconds}");
    }
    // One second before the end, a thousand times.
    let (mut end, mut given) = (ends(1), 0);
    for _ in 0..1000 {
        let late =
            Now { wall: end.at - jitsudo_core::SignedDuration::from_secs(1), boottime_ms: end.boottime_ms - 1000 };
        let span = Span { ends: &end, first_end: ends(1).at };
        if let Ok(extension) =
            decide(&policy, &alice(), HELD, span, Wish { seconds: Some(60), reason: None }, &Past::default(), late)
        {
            end = extension.ends;
            given += 1;
        }
    }
    assert_eq!((end, given), (ends(41), 40));
}

#[test]
fn extension_is_capped_by_not_after_and_by_hours() {
    let until = |end: &str| RULES.replace("auth = \"fresh\"", &format!("not-after = \"{end}\""));
    let policy = scene::policy(&until("2026-11-20T12:20:00+01:00"));
    assert_eq!(extended(&policy, &ends(10), &ends(10), None).unwrap().ends, ends(20));
    assert!(
        words(&policy, 20, 20, 60).contains("is given until 2026-11-20T11:20:00Z"),
        "{}",
        words(&policy, 20, 20, 60)
    );
    assert_eq!(cause(&scene::policy(&until("2020-01-01T00:00:00Z")), HELD), Cause::NotNow);
    let hours = r#"hours = [{ days = "mon", start = "08:00", stop = "09:00", zone = "UTC" }]"#;
    assert_eq!(cause(&scene::policy(&RULES.replace("auth = \"fresh\"", hours)), HELD), Cause::NotNow);
}

#[test]
fn extension_is_capped_by_the_time_of_a_budget_and_is_no_further_use_of_it() {
    let policy =
        scene::policy(&RULES.replace("auth = \"fresh\"", "budget = { per = \"1d\", time = \"30m\", uses = 1 }"));
    let mut past = Past::default();
    let since = now() - jitsudo_core::SignedDuration::from_mins(10);
    assert!(past.count(Use {
        id: AccessId::new(1, [1; 10]),
        rule: "web".to_owned(),
        uid: Uid(1001),
        user: Some("alice".to_owned()),
        count: 1,
        since,
        newest: since,
        until: ends(10).at,
        keep: 86_400,
    }));
    let extended = |seconds| {
        let (end, first_end) = (ends(10), ends(10).at);
        decide(&policy, &alice(), HELD, Span { ends: &end, first_end }, Wish { seconds, reason: None }, &past, clock())
    };
    // Twenty of the thirty minutes are this grant's own.
    assert_eq!(extended(None).unwrap().ends, ends(20));
    assert!(extended(Some(660)).is_err());
}

#[test]
fn extension_needs_the_rule_that_gave_it() {
    let policy = scene::policy(RULES);
    for held in [Held { rule: "other", ..HELD }, Held { role: "other", ..HELD }] {
        assert_eq!(cause(&policy, held), Cause::NotCovered);
    }
    assert_eq!(cause(&scene::policy(&RULES.replace("\"alice\"", "\"bob\"")), HELD), Cause::NotCovered);
    let extends_nothing = RULES.replace("extend = { each = \"15m\", total = \"40m\" }", "");
    assert_eq!(cause(&scene::policy(&extends_nothing), HELD), Cause::NotCovered);
    let elsewhere = RULES.replace("auth = \"fresh\"", "hosts = [\"db-*\"]");
    assert_eq!(cause(&scene::policy(&elsewhere), HELD), Cause::NotCovered);
    let denied = format!("{RULES}[[deny]]\nname = \"no\"\nwho = [\"alice\"]\nroles = [\"web\"]\n");
    assert_eq!(cause(&scene::policy(&denied), HELD), Cause::Denied);
    let reason = format!("{RULES}[[require]]\nname = \"why\"\nroles = [\"web\"]\nreason = {{ min-length = 20 }}\n");
    assert_eq!(cause(&scene::policy(&reason), HELD), Cause::ReasonNeeded);
}

#[test]
fn rule_that_gives_more_at_once_than_in_all_is_refused() {
    let wrong = RULES.replace("total = \"40m\"", "total = \"10m\"");
    let errors = scene::compile(&wrong).unwrap_err();
    assert!(errors[0].message.contains("longer than all of them together"), "{}", errors[0].message);
}
