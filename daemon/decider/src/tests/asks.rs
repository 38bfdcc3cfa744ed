//! Questions: own things, others' with a duty, policy by root alone.

use jitsudo_link::spawner::{Applied, ApplyOutcome};
use jitsudo_protocol::client::{Ask, FaultCode, FromDecider, Say};

use super::scene::{Play, Scene, Seen, next, own, rules};

fn log(all: bool) -> Ask {
    Ask::Log { id: None, user: None, after: None, limit: 100, all }
}

fn duty(may: &str) -> String {
    rules(&format!("[[duty]]\nwho = [\"#1000\", \"#{}\"]\nmay = [{may}]\n", own()))
}

fn after_a_run(name: &str, policy: String) -> Scene {
    let scene = Scene::play(name, Play { policy: Some(policy), ..Play::default() });
    let client = scene.client();
    client.run(&["/usr/bin/id"]);
    assert!(matches!(client.hear(), Some(FromDecider::HandOver { .. })));
    scene
}

#[test]
fn own_standing_sessions_and_log_need_no_duty() {
    let scene = after_a_run("own", rules(""));
    let client = scene.client();
    let standing = client.ask_one(Ask::Standing);
    assert_eq!((&standing["user"], &standing["host"]), (&"alice".into(), &"web-1".into()));
    assert_eq!(standing["active"][0]["rule"], "ids");
    assert_eq!(standing["offers"][0]["role"], "ids");
    assert_eq!(client.ask(Ask::Roles).unwrap()[0]["role"], "ids");
    let sessions = client.ask(Ask::Sessions { ended: true, all: false }).unwrap();
    assert_eq!((sessions.len(), &sessions[0]["argv"][0]), (1, &"/usr/bin/id".into()));
    let events = client.ask(log(false)).unwrap();
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["requested", "decided", "activating", "session_starting"]);
    let id = events[0]["id"].as_str().unwrap();
    let one = Ask::Log { id: Some(id[20..].to_owned()), user: None, after: None, limit: 2, all: false };
    assert_eq!(client.ask(one).unwrap().len(), 2);
}

#[test]
fn forgetting_goes_to_the_spawner_with_the_connection_and_is_answered_empty() {
    let scene = Scene::play("forget", Play::default());
    let client = scene.client();
    for all in [false, true] {
        client.say(Say::Forget { all });
        assert_eq!(client.hear(), Some(FromDecider::Answer { items: Vec::new(), more: false }));
        let told = next(&scene.seen);
        assert!(matches!(told, Seen::Forget { all: told, uid } if told == all && uid == own()), "{told:?}");
    }
    assert_eq!(scene.events(), [] as [&str; 0], "no event tells of it");
    let without = Scene::play("forget-away", Play { has_spawner: false, ..Play::default() });
    let client = without.client();
    client.say(Say::Forget { all: true });
    assert!(matches!(client.hear(), Some(FromDecider::Fault(fault)) if fault.code == FaultCode::Spawner));
}

#[test]
fn question_about_others_needs_its_duty() {
    let other = Some("bob".to_owned());
    let explain = Ask::Explain { argv: vec!["/usr/bin/id".into()], target: None, group: None, user: other };
    let questions = [log(true), Ask::Sessions { ended: false, all: true }, explain];
    let without = after_a_run("no-duty", rules(""));
    let client = without.client();
    for question in &questions {
        let fault = client.ask(question.clone()).unwrap_err();
        assert_eq!(fault.code, FaultCode::Duty, "{question:?}");
    }
    let with = after_a_run("duty", duty("\"see\", \"policy\""));
    let client = with.client();
    for question in &questions {
        assert!(!client.ask(question.clone()).unwrap().is_empty(), "{question:?}");
    }
}

#[test]
fn peer_auth_08_duty_see_gives_no_rules_and_duty_policy_no_events() {
    let see = after_a_run("see", duty("\"see\""));
    let other = Some("bob".to_owned());
    let explain = Ask::Explain { argv: vec!["/usr/bin/id".into()], target: None, group: None, user: other };
    assert_eq!(see.client().ask(explain).unwrap_err().code, FaultCode::Duty);
    let policy = after_a_run("policy-duty", duty("\"policy\""));
    assert_eq!(policy.client().ask(log(true)).unwrap_err().code, FaultCode::Duty);
}

#[test]
fn own_request_is_explained() {
    let scene = Scene::play("explain", Play { policy: Some(rules("")), ..Play::default() });
    let explain = Ask::Explain { argv: vec!["/usr/bin/id".into()], target: None, group: None, user: None };
    let answer = scene.client().ask_one(explain);
    assert_eq!(answer["decision"]["allow"]["rule"], "ids");
    let empty = Ask::Explain { argv: vec![], target: None, group: None, user: None };
    assert_eq!(scene.client().ask(empty).unwrap_err().code, FaultCode::Malformed);
}

#[test]
fn limits_of_a_log_question_are_checked() {
    let scene = Scene::play("log-limits", Play::default());
    let client = scene.client();
    for limit in [0, 100_001, u32::MAX] {
        let ask = Ask::Log { id: None, user: None, after: None, limit, all: false };
        assert_eq!(client.ask(ask).unwrap_err().code, FaultCode::Malformed);
    }
    assert_eq!(client.ask(log(false)).unwrap(), Vec::<serde_json::Value>::new());
}

fn outcome() -> ApplyOutcome {
    ApplyOutcome::Done(Box::new(Applied {
        policy: "abc".into(),
        previous: None,
        rules: 1,
        roles: 1,
        files: vec!["10.toml".into()],
        warnings: String::new(),
        added: vec!["ids".into()],
        removed: vec![],
        changed: vec![],
    }))
}

#[test]
fn policy_is_applied_recorded_and_answered() {
    let mut scene = Scene::play("apply", Play { apply: Some(outcome()), ..Play::default() });
    let client = scene.client();
    let dry = client.ask_one(Ask::PolicyApply { dry_run: true, expect: None });
    assert_eq!((&dry["done"]["applied"], &dry["done"]["policy"]), (&false.into(), &"abc".into()));
    assert!(matches!(next(&scene.seen), Seen::Apply { dry_run: true }));
    let done = client.ask_one(Ask::PolicyApply { dry_run: false, expect: None });
    assert_eq!(done["done"]["applied"], true);
    scene.end();
    assert_eq!(scene.events(), ["policy_applied"]);
}

#[test]
fn run_after_an_apply_is_decided_by_the_new_policy() {
    let scene = Scene::play("apply-new", Play { apply: Some(outcome()), ..Play::default() });
    let client = scene.client();
    client.run(&["/usr/bin/id"]);
    assert!(matches!(client.hear(), Some(FromDecider::Denied(_))));
    super::scene::put_policy(&scene.folder, &rules(""));
    client.ask_one(Ask::PolicyApply { dry_run: false, expect: None });
    client.run(&["/usr/bin/id"]);
    assert!(matches!(client.hear(), Some(FromDecider::HandOver { .. })));
}

#[test]
fn policy_that_is_refused_is_recorded_as_such() {
    let apply = Some(ApplyOutcome::Refused { text: "error: x\n  more".into(), errors: 2 });
    let mut scene = Scene::play("apply-refused", Play { apply, ..Play::default() });
    let answer = scene.client().ask_one(Ask::PolicyApply { dry_run: false, expect: None });
    assert_eq!(answer["refused"]["errors"], 2);
    scene.end();
    assert_eq!(scene.events(), ["policy_refused"]);
}

#[test]
fn peer_auth_08_only_root_applies_a_policy() {
    // Whoever runs the test is not root to this daemon.
    let scene = Scene::play("apply-other", Play { root: own() + 1, has_spawner: false, ..Play::default() });
    let fault = scene.client().ask(Ask::PolicyApply { dry_run: true, expect: None }).unwrap_err();
    assert_eq!(fault.code, FaultCode::Duty);
}
