//! Runs, from the act to the hand-over or the refusal.

use jitsudo_protocol::client::{FaultCode, FromDecider};
use jitsudo_protocol::digest;

use super::scene::{OnStart, Play, Scene, Seen, act, next, own, rules};

fn allowed() -> Play {
    Play { policy: Some(rules("")), ..Play::default() }
}

#[test]
fn allowed_run_is_durable_before_its_start_and_handed_over() {
    let mut scene = Scene::play("allowed", allowed());
    let client = scene.client();
    client.run(&["/usr/bin/id", "bob"]);
    assert!(matches!(next(&scene.seen), Seen::Look(about) if about.program == Some("/usr/bin/id".into())));
    let Seen::Start(start, sent, ledger) = next(&scene.seen) else { panic!("no start") };
    let Some(FromDecider::HandOver { session }) = client.hear() else { panic!("no hand-over") };
    assert_eq!(session, start.session.to_string());
    assert_eq!(*sent, act(&["/usr/bin/id", "bob"]));
    assert_eq!((start.requester, start.target, start.digest), (own(), 0, digest::of_act(own(), &sent)));
    assert_eq!((start.rule.as_str(), start.role.as_str()), ("ids", "ids"));
    for event in ["requested", "decided", "activating", "session_starting"] {
        assert!(ledger.contains(&format!("\"event\":\"{event}\"")), "{event} is durable before the start");
    }
    assert!(ledger.contains(&start.ends_at.to_string()) && ledger.contains(&start.ends_boottime_ms.to_string()));
    scene.end();
    assert_eq!(scene.events(), ["requested", "decided", "activating", "session_starting"]);
}

#[test]
fn request_in_the_moment_of_a_start_waits_for_the_spawners_first_word() {
    let scene = Scene::play("late", Play { greets_after: std::time::Duration::from_millis(200), ..allowed() });
    let client = scene.client();
    client.run(&["/usr/bin/id"]);
    let answer = client.hear();
    assert!(matches!(answer, Some(FromDecider::HandOver { .. })), "{answer:?}");
}

#[test]
fn silent_spawner_holds_nobody_up_for_long() {
    let patience = crate::places::Patience { spawner_ms: 20, tick_ms: 50, ..Default::default() };
    let silent = std::time::Duration::from_secs(3600);
    let scene = Scene::play("silent", Play { greets_after: silent, patience, ..allowed() });
    let client = scene.client();
    client.run(&["/usr/bin/id"]);
    let answer = client.hear();
    assert!(matches!(&answer, Some(FromDecider::Fault(fault)) if fault.code == FaultCode::Spawner), "{answer:?}");
}

#[test]
fn two_mebibytes_of_arguments_arrive_whole() {
    let scene = Scene::play("long", allowed());
    let words: Vec<String> = (0..20).map(|number| number.to_string().repeat(50_000)).collect();
    let mut argv = vec!["/usr/bin/id"];
    argv.extend(words.iter().map(String::as_str));
    let client = scene.client();
    let long = act(&argv);
    client.run_act(&long);
    next(&scene.seen);
    let Seen::Start(start, sent, _) = next(&scene.seen) else { panic!("no start") };
    assert_eq!((start.digest, &*sent), (digest::of_act(own(), &long), &long));
}

#[test]
fn host_without_a_policy_says_so_and_records_it() {
    let mut scene = Scene::play("no-policy", Play::default());
    let client = scene.client();
    client.run(&["/usr/bin/id"]);
    let Some(FromDecider::Denied(denied)) = client.hear() else { panic!("not denied") };
    assert_eq!(denied.headline, "this host has no rules yet");
    let hint = denied.hint.unwrap();
    assert!(hint.contains("`jitctl policy apply`"), "{hint}");
    let id = denied.id.unwrap();
    assert!(hint.ends_with(&id[20..]), "{hint}");
    scene.end();
    assert_eq!(scene.events(), ["requested", "decided"]);
}

#[test]
fn refused_run_names_what_was_asked_and_never_reaches_the_spawner_as_a_start() {
    let mut play = allowed();
    super::samples::program(&mut play.facts, "/usr/bin/systemctl");
    let scene = Scene::play("refused", play);
    let client = scene.client();
    client.run(&["systemctl", "restart", "ssh"]);
    let Some(FromDecider::Denied(denied)) = client.hear() else { panic!("not denied") };
    assert_eq!(denied.headline, "not allowed: /usr/bin/systemctl restart ssh as root on web-1");
    assert!(!denied.by_person);
    next(&scene.seen);
    assert!(scene.seen.try_recv().is_err());
}

#[test]
fn crash_recovery_03_nothing_is_started_without_a_ledger() {
    let scene = Scene::play("no-ledger", Play { has_ledger: false, ..allowed() });
    let client = scene.client();
    client.run(&["/usr/bin/id"]);
    let Some(FromDecider::Fault(fault)) = client.hear() else { panic!("no fault") };
    assert_eq!(fault.code, FaultCode::Ledger);
    assert!(fault.message.starts_with("cannot record the request: "), "{}", fault.message);
    next(&scene.seen);
    assert!(scene.seen.try_recv().is_err(), "no start");
    let status = client.ask_one(jitsudo_protocol::client::Ask::Status);
    assert_eq!(status["ledger"]["sound"], false);
    // Mended, it gives again.
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).create(scene.folder.join("ledger")).unwrap();
    for _ in 0..200 {
        client.run(&["/usr/bin/id"]);
        match client.hear() {
            Some(FromDecider::HandOver { .. }) => return,
            Some(FromDecider::Fault(fault)) if fault.code == FaultCode::Ledger => {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("still no ledger");
}

#[test]
fn absent_spawner_is_a_fault_with_the_next_step() {
    let scene = Scene::play("no-spawner", Play { has_spawner: false, ..allowed() });
    let client = scene.client();
    client.run(&["/usr/bin/id"]);
    let Some(FromDecider::Fault(fault)) = client.hear() else { panic!("no fault") };
    assert_eq!(fault.code, FaultCode::Spawner);
    assert_eq!(fault.hint.as_deref(), Some("systemctl status jitsudo-spawn"));
}

#[test]
fn start_that_the_spawner_refuses_is_recorded_as_not_given() {
    let on_start = OnStart::Refuse { cause: "no\nmemory".into(), disagree: false };
    let mut scene = Scene::play("start-refused", Play { on_start, ..allowed() });
    let client = scene.client();
    client.run(&["/usr/bin/id"]);
    let Some(FromDecider::Fault(fault)) = client.hear() else { panic!("no fault") };
    assert_eq!((fault.code, fault.message.as_str()), (FaultCode::Spawner, "cannot start the command: no\\u{a}memory"));
    scene.end();
    assert_eq!(scene.events(), ["requested", "decided", "activating", "session_starting", "activation_failed"]);
}

#[test]
fn denials_of_a_flood_are_counted_not_listed() {
    let mut scene = Scene::play("denials", Play::default());
    let client = scene.client();
    let mut listed = 0;
    for _ in 0..30 {
        client.run(&["/usr/bin/id"]);
        match client.hear() {
            Some(FromDecider::Denied(denied)) => listed += usize::from(denied.id.is_some()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(listed, 20);
    scene.end();
    assert_eq!(scene.events().iter().filter(|name| *name == "requested").count(), 20);
}

#[test]
fn every_event_reaches_journald_with_its_fields() {
    let mut scene = Scene::play("journal", allowed());
    let client = scene.client();
    client.run(&["/usr/bin/id"]);
    assert!(matches!(client.hear(), Some(FromDecider::HandOver { .. })));
    scene.end();
    scene.journal.set_nonblocking(true).unwrap();
    let mut all = String::new();
    let mut buffer = vec![0u8; 65_536];
    while let Ok(length) = scene.journal.recv(&mut buffer) {
        all.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    for text in [
        "JITSUDO_EVENT=requested\n",
        "JITSUDO_EVENT=session_starting\n",
        "JITSUDO_RULE=ids\n",
        "JITSUDO_USER=alice\n",
        "SYSLOG_IDENTIFIER=jitsudod\n",
        "SYSLOG_FACILITY=10\n",
    ] {
        assert!(all.contains(text), "{text} in {all}");
    }
}

#[test]
fn spooled_events_are_folded_in_at_the_start_and_the_spawner_told() {
    use crate::record::Stamp;
    use jitsudo_core::event::Event;
    let stamp = Stamp { host: "h".into(), boot: "b".into(), wall: jitsudo_core::Timestamp::UNIX_EPOCH, boottime_ms: 1 };
    let entry = stamp.entry(Event::SpawnerRefused { id: None, cause: "x".into() });
    let spooled = vec![("spawn.b.1.1".to_owned(), serde_json::to_string(&entry).unwrap())];
    let mut scene = Scene::play("spool", Play { spooled, ..Play::default() });
    let Seen::Folded(names) = next(&scene.seen) else { panic!("not told") };
    assert_eq!(names, ["spawn.b.1.1"]);
    scene.end();
    let text = super::scene::ledger_text(&scene.folder.join("ledger"));
    assert_eq!(text.matches("spawner_refused").count(), 1);
    assert!(text.contains(r#""spool":"spawn.b.1.1","late":true"#), "{text}");
}
