//! What policy says about amount: budgets, break-glass and its reviews, in the words that requesters read.

mod scene;

use jitsudo_core::decision::{Auth, Cause, Decision, Terms};
use jitsudo_core::evaluate::{evaluate, evaluate_after};
use jitsudo_core::facts::{Fact, Facts};
use jitsudo_core::id::AccessId;
use jitsudo_core::name::Uid;
use jitsudo_core::past::{Past, Unreviewed, Use};
use jitsudo_core::request::{Kind, Request};
use jitsudo_core::review::{NoReview, is_own, may_review};
use scene::{alice, at, now, policy, request};

const RULES: &str = r##"
[people.alice]
accounts = ["alice", "alice-adm", "#1077"]
[people.bob]
accounts = ["bob"]
[teams.security]
members = ["@bob", "%security"]
[roles.shell]
shell = true
[[allow]]
name = "day"
who = ["@alice"]
roles = ["shell"]
window = "1h"
budget = { per = "1d", time = "2h", uses = 3 }
[[allow]]
name = "fire"
who = ["@alice", "carol"]
roles = ["shell"]
window = "4h"
run-time = "10m"
auth = "none"
[allow.break-glass]
window = "15m"
reviewers = "@security"
tell = ["carol"]
[[duty]]
who = ["carol"]
may = ["review"]
"##;

fn shell(change: impl FnOnce(&mut Request)) -> Request {
    let mut asked = Request { reason: None, ..request(Kind::Shell) };
    change(&mut asked);
    asked
}

fn hours_ago(hours: i64) -> jiff::Timestamp {
    now() - jiff::SignedDuration::from_hours(hours)
}

/// Given by "day", from so many to so many hours ago.
fn given(number: u64, uid: u32, from: i64, to: i64) -> Use {
    Use {
        id: AccessId::new(number, [1; 10]),
        rule: "day".to_owned(),
        uid: Uid(uid),
        user: None,
        count: 1,
        since: hours_ago(from),
        newest: hours_ago(from),
        until: hours_ago(to),
        keep: 86_400,
    }
}

fn past(uses: &[Use]) -> Past {
    let mut past = Past::default();
    assert!(uses.iter().all(|one| past.count(one.clone())));
    past
}

fn decide(request: &Request, past: &Past) -> Result<Box<Terms>, (Cause, String)> {
    match evaluate_after(Some(&policy(RULES)), &alice(), request, past, now()) {
        Decision::Allow(terms) => Ok(terms),
        Decision::Deny(denial) => Err((denial.cause.clone(), denial.detail.join("\n"))),
    }
}

#[test]
fn budget_shortens_what_was_not_asked_for_and_refuses_what_was() {
    let plain = shell(|_| {});
    let terms = decide(&plain, &Past::default()).unwrap();
    assert_eq!((terms.window, terms.counted), (3600, Some(86_400)));
    // 1 h 30 min of 2 h were used: in the morning, and half of that by two at once.
    let used = past(&[
        given(1, 1001, 5, 4),
        given(2, 1001, 5, 4),
        Use { until: hours_ago(3), since: at("2026-11-20T08:30:00+01:00"), ..given(3, 1001, 4, 3) },
    ]);
    let three = decide(&plain, &used).unwrap_err();
    assert_eq!(
        three,
        (Cause::BudgetUsed, "role shell: 3 of 3 uses in 1 d are made; there is room again in 19 h".to_owned())
    );
    let used =
        past(&[given(1, 1001, 5, 4), Use { count: 0, since: at("2026-11-20T08:30:00+01:00"), ..given(3, 1001, 4, 3) }]);
    assert_eq!(decide(&plain, &used).unwrap().window, 1800);
    let asked = |seconds| shell(|request| request.window = Some(seconds));
    assert_eq!(decide(&asked(1800), &used).unwrap().window, 1800);
    let refused = decide(&asked(1801), &used).unwrap_err();
    assert_eq!(
        refused,
        (Cause::WindowTooLong, "role shell has left of its budget 30 min: ask with --for 30m".to_owned())
    );
}

#[test]
fn used_up_budget_says_what_is_used_and_when_there_is_room_again() {
    let used = past(&[given(1, 1001, 23, 21)]);
    let refused = decide(&shell(|_| {}), &used).unwrap_err();
    assert_eq!(
        refused,
        (Cause::BudgetUsed, "role shell: 2 h of 2 h in 1 d are used; there is room again in 1 h 1 min".to_owned())
    );
    // A minute of it has left the day behind: that much is given.
    let used = past(&[Use { since: now() - jiff::SignedDuration::from_mins(24 * 60 + 1), ..given(1, 1001, 24, 22) }]);
    assert!(decide(&shell(|_| {}), &used).is_err(), "two hours of it are within the day");
    let used = past(&[Use {
        since: now() - jiff::SignedDuration::from_mins(24 * 60 + 10),
        until: now() - jiff::SignedDuration::from_mins(22 * 60 + 10),
        ..given(1, 1001, 24, 22)
    }]);
    assert_eq!(decide(&shell(|_| {}), &used).unwrap().window, 600);
}

#[test]
fn what_runs_counts_up_to_its_end_and_one_more_until_then_costs_nothing() {
    let running =
        Use { since: hours_ago(1), until: now() + jiff::SignedDuration::from_mins(20), ..given(1, 1001, 1, 0) };
    // 80 minutes are spoken for; 40 are free, after the 20 that are paid already.
    assert_eq!(decide(&shell(|_| {}), &past(std::slice::from_ref(&running))).unwrap().window, 3600);
    let all = Use { since: hours_ago(2), until: now() + jiff::SignedDuration::from_mins(20), ..running.clone() };
    assert!(decide(&shell(|_| {}), &past(&[all])).is_err(), "2 h 20 min");
    let most = Use {
        since: now() - jiff::SignedDuration::from_mins(100),
        until: now() + jiff::SignedDuration::from_mins(20),
        ..running
    };
    assert_eq!(
        decide(&shell(|_| {}), &past(std::slice::from_ref(&most))).unwrap().window,
        1200,
        "as long as the other one"
    );
    // An extension of it is no further use, and its time counts.
    let three = past(&[
        most.clone(),
        Use { id: AccessId::new(2, [1; 10]), ..given(2, 1001, 30, 29) },
        given(3, 1001, 3, 2),
        given(4, 1001, 3, 2),
    ]);
    assert!(decide(&shell(|_| {}), &three).is_err());
    let extending = past(&[
        Use { until: now() + jiff::SignedDuration::from_mins(5), since: hours_ago(1), ..most },
        given(3, 1001, 3, 2),
        Use { count: 1, ..given(4, 1001, 3, 2) },
    ]);
    assert!(decide(&shell(|_| {}), &extending).is_err(), "three uses");
    let extending = extending.for_extension_of(&AccessId::new(1, [1; 10]));
    assert!(decide(&shell(|_| {}), &extending).is_err(), "and no time: 65 + 60 min of 2 h");
}

#[test]
fn person_has_one_budget_whatever_the_account() {
    let others = past(&[given(1, 1077, 5, 3)]);
    assert_eq!(decide(&shell(|_| {}), &others).unwrap_err().0, Cause::BudgetUsed, "#1077 is alice too");
    let named = past(&[Use { user: Some("alice-adm".into()), ..given(1, 1002, 5, 3) }]);
    assert_eq!(decide(&shell(|_| {}), &named).unwrap_err().0, Cause::BudgetUsed);
    let bobs = past(&[Use { user: Some("bob".into()), ..given(1, 1005, 5, 3) }]);
    assert!(decide(&shell(|_| {}), &bobs).is_ok());
    let another_rule = past(&[Use { rule: "fire".into(), ..given(1, 1001, 5, 3) }]);
    assert!(decide(&shell(|_| {}), &another_rule).is_ok());
}

fn waiting(uid: u32, user: &str, loginuid: u32) -> Unreviewed {
    let id = AccessId::new(1, [1; 10]);
    let (uid, loginuid) = (Uid(uid), Some(Uid(loginuid)));
    Unreviewed { id, rule: "fire".into(), uid, user: Some(user.into()), loginuid, at: hours_ago(2), proven: true }
}

#[test]
fn break_glass_is_fresh_short_has_a_reason_and_asks_nobody() {
    let glass = shell(|request| (request.break_glass, request.reason) = (true, Some("db is down".into())));
    let terms = decide(&glass, &Past::default()).unwrap();
    assert_eq!((terms.rule.as_str(), terms.window, terms.auth, terms.approvals), ("fire", 900, Auth::Fresh, 0));
    let glass_terms = terms.break_glass.unwrap();
    assert_eq!((glass_terms.reviewers, glass_terms.tell), (vec!["@security".to_owned()], vec!["carol".to_owned()]));
    for reason in [None, Some(String::new()), Some("  ".to_owned())] {
        let glass = shell(|request| (request.break_glass, request.reason) = (true, reason));
        assert_eq!(decide(&glass, &Past::default()).unwrap_err().0, Cause::ReasonNeeded);
    }
    // Neither kind of rule answers the other kind of request.
    let only_glass =
        policy(&RULES.replace("name = \"day\"\nwho = [\"@alice\"]", "name = \"day\"\nwho = [\"nobody-here\"]"));
    assert!(matches!(evaluate(Some(&only_glass), &alice(), &shell(|_| {}), now()), Decision::Deny(_)));
    let only_day = policy(&RULES.replace("who = [\"@alice\", \"carol\"]", "who = [\"carol\"]"));
    assert!(matches!(evaluate(Some(&only_day), &alice(), &glass, now()), Decision::Deny(_)));
}

#[test]
fn unreviewed_use_keeps_the_next_one_from_its_person_and_from_nobody_else() {
    let glass = shell(|request| (request.break_glass, request.reason) = (true, Some("db is down".into())));
    for one in [waiting(1001, "alice", 1001), waiting(1077, "alice-adm", 1077), waiting(0, "root", 1001)] {
        let mut past = Past::default();
        past.wait_for_review(one);
        let (cause, words) = decide(&glass, &past).unwrap_err();
        assert_eq!(cause, Cause::ReviewNeeded);
        assert!(words.contains("of 2 h ago waits for its review by @security"), "{words}");
        assert!(decide(&shell(|_| {}), &past).is_ok(), "it keeps nothing else");
    }
    let mut past = Past::default();
    past.wait_for_review(waiting(1002, "bob", 1002));
    assert!(decide(&glass, &past).is_ok());
    past.wait_for_review(waiting(1001, "alice", 1001));
    let two = policy(&RULES.replace("window = \"15m\"", "window = \"15m\"\nuses = 2"));
    assert!(matches!(evaluate_after(Some(&two), &alice(), &glass, &past, now()), Decision::Allow(_)));
}

fn person(uid: u32, name: &str) -> Facts {
    let mut facts = alice();
    facts.requester.uid = Uid(uid);
    facts.requester.name = Fact::Is(name.to_owned());
    facts.requester.loginuid = Fact::Is(Some(Uid(uid)));
    facts.requester.login_name = Fact::Is(Some(name.to_owned()));
    facts
}

#[test]
fn nobody_reviews_their_own_use() {
    let policy = policy(RULES);
    let review = |facts: &Facts, one: &Unreviewed| may_review(Some(&policy), facts, one, now());
    let alices = waiting(1001, "alice", 1001);
    assert_eq!(review(&person(1002, "bob"), &alices), Ok(()), "by the rule");
    assert_eq!(review(&person(1003, "carol"), &alices), Ok(()), "by the duty");
    assert_eq!(review(&person(1004, "dave"), &alices), Err(NoReview::NotTheirs));
    assert_eq!(review(&person(1001, "alice"), &alices), Err(NoReview::Own));
    assert_eq!(review(&person(1077, "alice-adm"), &alices), Err(NoReview::Own));
    assert_eq!(
        review(&person(1003, "carol"), &waiting(1003, "carol", 1003)),
        Err(NoReview::Own),
        "a duty changes nothing"
    );
    // Behind another account: by su, or as root.
    let mut behind = person(1002, "bob");
    behind.requester.loginuid = Fact::Is(Some(Uid(1001)));
    behind.requester.login_name = Fact::Is(Some("alice".into()));
    assert_eq!(review(&behind, &alices), Err(NoReview::Own));
    let mut root = person(0, "root");
    root.requester.loginuid = Fact::Is(Some(Uid(1001)));
    root.requester.login_name = Fact::Is(Some("alice".into()));
    assert_eq!(review(&root, &alices), Err(NoReview::Own));
    root.requester.loginuid = Fact::Is(None);
    assert_eq!(review(&root, &alices), Ok(()), "root itself");
    assert!(!is_own(Some(&policy), &root, &waiting(0, "root", 1001)));
}

#[test]
fn unknown_reviewer_reviews_nothing() {
    let policy = policy(RULES);
    let alices = waiting(1001, "alice", 1001);
    let mut facts = person(1002, "bob");
    facts.requester.loginuid = Fact::Unknown;
    assert_eq!(may_review(Some(&policy), &facts, &alices, now()), Err(NoReview::Own));
    let mut facts = person(1002, "bob");
    facts.origin = Fact::Unknown;
    assert_eq!(may_review(Some(&policy), &facts, &alices, now()), Err(NoReview::NotTheirs));
    let mut facts = person(1002, "bob");
    (facts.requester.name, facts.requester.groups) = (Fact::Unknown, Fact::Unknown);
    assert!(may_review(Some(&policy), &facts, &alices, now()).is_err());
    assert!(may_review(None, &person(1002, "bob"), &alices, now()).is_err());
}
