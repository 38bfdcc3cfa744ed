//! Questions: own things, others' with a duty, policy by root alone.

use jitsudo_core::facts::{Executable, Fact, NoExecutable};
use jitsudo_link::spawner::{Applied, ApplyOutcome};
use jitsudo_protocol::client::{Ask, FaultCode, FromDecider, Say};
use jitsudo_protocol::list::{Given, ListItem};

use super::scene::{Play, Scene, Seen, next, own, rules};

fn log(all: bool) -> Ask {
    Ask::Log { id: None, user: None, after: None, limit: 100, all, since: None }
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
    let one = Ask::Log { id: Some(id[20..].to_owned()), user: None, after: None, limit: 2, all: false, since: None };
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
        let ask = Ask::Log { id: None, user: None, after: None, limit, all: false, since: None };
        assert_eq!(client.ask(ask).unwrap_err().code, FaultCode::Malformed);
    }
    assert_eq!(client.ask(log(false)).unwrap(), Vec::<serde_json::Value>::new());
}

pub(crate) fn outcome() -> ApplyOutcome {
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
        ends: vec![],
        more_end: 0,
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

fn list(argv: &[&str], user: Option<&str>) -> Ask {
    let argv = argv.iter().map(|word| (*word).into()).collect();
    Ask::List { argv, target: None, group: None, user: user.map(str::to_owned) }
}

fn listed(scene: &Scene, ask: Ask) -> Vec<ListItem> {
    let items = scene.client().ask(ask).unwrap();
    items.into_iter().map(|item| serde_json::from_value(item).unwrap()).collect()
}

fn whose() -> ListItem {
    ListItem::Whose { user: "alice".into(), host: "web-1".into() }
}

#[test]
fn own_rights_are_listed_without_a_duty() {
    let scene = Scene::play("list", Play { policy: Some(rules("")), ..Play::default() });
    let items = listed(&scene, list(&[], None));
    let [ListItem::Whose { .. }, ListItem::Entry(entry)] = items.as_slice() else { panic!("{items:?}") };
    assert_eq!((entry.rule.as_str(), entry.role.as_str(), entry.auth.as_str()), ("ids", "ids", "none"));
    assert_eq!((&entry.users, entry.run_time), (&vec!["root".to_owned()], 43_200));
    assert_eq!(entry.gives, [Given::Command("/usr/bin/id".into()), Given::Command("/usr/bin/id ...".into())]);
    // By name it is the same question.
    assert_eq!(listed(&scene, list(&[], Some("alice"))), items);
    let command = listed(&scene, list(&["/usr/bin/id"], None));
    assert!(matches!(command.last(), Some(ListItem::Allowed { path }) if *path == "/usr/bin/id".into()), "{command:?}");
}

#[test]
fn info_leak_01_rights_of_others_need_the_duty_policy_and_existence_is_not_told() {
    let without = Scene::play("list-no-duty", Play { policy: Some(duty("\"see\"")), ..Play::default() });
    for user in ["bob", "no-such-user", "root", &"x".repeat(10_000)] {
        for argv in [&[][..], &["/usr/bin/id"]] {
            let answer = listed(&without, list(argv, Some(user)));
            assert_eq!(answer, [whose(), ListItem::NotYours]);
        }
    }
    let looked: Vec<_> = without
        .seen
        .try_iter()
        .filter_map(|seen| if let Seen::Look(about) = seen { Some(about) } else { None })
        .collect();
    assert!(looked.iter().all(|about| about.subject.is_none() && about.program.is_none()), "{looked:?}");
    let with = Scene::play("list-duty", Play { policy: Some(duty("\"policy\"")), ..Play::default() });
    assert!(matches!(listed(&with, list(&[], Some("bob")))[1], ListItem::Entry(_)));
}

#[test]
fn info_leak_01_a_file_that_is_not_there_and_one_that_is_not_allowed_have_one_answer() {
    let play = |name: &str, executable| {
        let mut play = Play { policy: Some(rules("")), ..Play::default() };
        play.facts.executable = Fact::Is(executable);
        Scene::play(name, play)
    };
    let found = super::samples::facts().executable.known().unwrap().clone().unwrap();
    let other = Executable { path: "/root/secret/x".into(), ..found };
    let there = listed(&play("there", Ok(other)), list(&["/root/secret/x"], None));
    assert_eq!(there, [whose(), ListItem::NotAllowed]);
    for cause in [NoExecutable::NotFound, NoExecutable::NotExecutable, NoExecutable::NotRegular] {
        assert_eq!(listed(&play("not-there", Err(cause)), list(&["/root/secret/x"], None)), there);
    }
    // Whom a rule would let run it, and who asks for a name of the public path, are told.
    for word in ["/usr/bin/id", "x"] {
        let told = listed(&play("gone", Err(NoExecutable::NotFound)), list(&[word], None));
        assert_eq!(told, [whose(), ListItem::NotFound]);
    }
}

#[test]
fn asking_records_no_request() {
    let scene = Scene::play("list-log", Play { policy: Some(rules("")), ..Play::default() });
    listed(&scene, list(&["/usr/bin/id"], None));
    listed(&scene, list(&["/usr/bin/passwd"], None));
    assert_eq!(scene.client().ask(log(false)).unwrap(), Vec::<serde_json::Value>::new());
}
