//! Roles that are held: what is recorded, what starts under them, and who ends them.

use jitsudo_core::event::{EndCause, Entry, Event};
use jitsudo_core::id::AccessId;
use jitsudo_protocol::act::{Act, ActKind};
use jitsudo_protocol::client::{Ask, FaultCode, FromDecider, Order, Say};

use super::scene::{Play, Scene, Seen, act, next, own, put_policy, rules};
use crate::record::Stamp;

pub(crate) fn role(name: &str) -> Act {
    let mut role = act(&[]);
    role.options.kind = ActKind::Role;
    role.options.role = Some(name.to_owned());
    role.options.window = Some(600);
    role.options.reason = Some("roll out".to_owned());
    role
}

/// Only as a role, so that nothing runs without one.
fn only_held() -> Play {
    Play { policy: Some(rules("grant = \"role\"\n")), ..Play::default() }
}

fn active(id: &AccessId) -> String {
    let moment = jitsudo_sys::clock::now();
    let stamp = Stamp {
        host: "web-1".into(),
        boot: jitsudo_sys::clock::boot_id().unwrap(),
        wall: crate::daemon::wall(moment),
        boottime_ms: moment.boottime_ms,
    };
    let entry: Entry = stamp.entry(Event::Active { id: id.clone() });
    serde_json::to_string(&entry).unwrap()
}

/// A scene in which the role is held; its id.
pub(crate) fn held(name: &str, play: Play) -> (Scene, AccessId) {
    let scene =
        Scene::play(name, Play { patience: crate::places::Patience { tick_ms: 50, ..Default::default() }, ..play });
    let client = scene.client();
    client.run_act(&role("ids"));
    assert!(matches!(next(&scene.seen), Seen::Look(_)));
    let Seen::Start(start, sent, ledger) = next(&scene.seen) else { panic!("no start") };
    assert_eq!((start.session.number, start.held, *sent), (0, false, role("ids")));
    assert_eq!((start.rule.as_str(), start.role.as_str()), ("ids", "ids"));
    assert!(ledger.contains("\"event\":\"activating\"") && !ledger.contains("session_starting"));
    let id = start.session.access.clone();
    jitsudo_ledger::spool::write(&scene.folder.join("spool"), "spawn.b.1.1", &active(&id)).unwrap();
    for _ in 0..400 {
        if scene.client().ask(Ask::Grants { all: false }).unwrap().iter().any(|one| one["stage"] == "active") {
            while scene.seen.try_recv().is_ok() {}
            return (scene, id);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the role is not held");
}

/// What the spawner is told to start when this runs; `None` when it is denied.
fn start(scene: &Scene, act: &Act) -> Option<Box<jitsudo_link::spawner::Start>> {
    let client = scene.client();
    client.run_act(act);
    let answer = client.hear();
    loop {
        match scene.seen.try_recv() {
            Ok(Seen::Start(start, ..)) => return Some(start),
            Ok(_) => {}
            Err(_) => {
                assert!(matches!(answer, Some(FromDecider::Denied(_))), "{answer:?}");
                return None;
            }
        }
    }
}

#[test]
fn command_under_a_held_role_is_one_more_session_of_it_and_ends_no_later() {
    let (mut scene, id) = held("held", only_held());
    for number in 1..=2 {
        let start = start(&scene, &act(&["/usr/bin/id", "bob"])).unwrap();
        assert_eq!((&start.session.access, start.session.number, start.held), (&id, number, true));
        assert_eq!((start.rule.as_str(), start.role.as_str()), ("ids", "ids"));
        let grant = scene.client().ask_one(Ask::Grants { all: false });
        assert!(start.ends_at.to_string().as_str() <= grant["ends_at"].as_str().unwrap());
    }
    let mut another = act(&["/usr/bin/id"]);
    another.options.user = Some("bob".into());
    another.options.role = Some("others".into());
    assert!(start(&scene, &another).is_none(), "another role");
    scene.end();
    let text = super::scene::ledger_text(&scene.folder.join("ledger"));
    assert_eq!(text.matches("\"event\":\"session_starting\"").count(), 2);
    assert!(text.contains("\"under\":{\"kind\":\"command\",\"argv\":[\"/usr/bin/id\",\"bob\"]"), "{text}");
}

#[test]
fn nothing_starts_without_the_role() {
    let scene = Scene::play("not-held", only_held());
    assert!(start(&scene, &act(&["/usr/bin/id"])).is_none());
    let client = scene.client();
    client.run_act(&role("nobody-has-this"));
    let Some(FromDecider::Denied(denied)) = client.hear() else { panic!("not denied") };
    assert_eq!(denied.headline, "not allowed: role nobody-has-this on web-1");
}

#[test]
fn release_ends_and_is_recorded_with_its_actor() {
    let (mut scene, id) = held("release", only_held());
    let client = scene.client();
    client.say(Say::Order(Order::Release { id: id.short().to_owned() }));
    let Seen::EndGrant(ended, cause) = next(&scene.seen) else { panic!("no end") };
    assert_eq!((&ended, cause), (&id, EndCause::GivenBack));
    let Some(FromDecider::Answer { items, .. }) = client.hear() else { panic!("no answer") };
    assert_eq!((items[0]["id"].as_str(), items[0]["role"].as_str()), (Some(id.as_str()), Some("ids")));
    for unknown in ["zzzzzz", "", "01jd0000000000000000000000"] {
        client.say(Say::Order(Order::Release { id: unknown.to_owned() }));
        assert!(matches!(client.hear(), Some(FromDecider::Fault(fault)) if fault.code == FaultCode::NotFound));
    }
    scene.end();
    let text = super::scene::ledger_text(&scene.folder.join("ledger"));
    let released = text.lines().find(|line| line.contains("\"event\":\"released\"")).unwrap();
    assert!(released.contains(&format!("\"uid\":{}", own())), "{released}");
}

#[test]
fn rule_that_is_gone_ends_what_it_gave() {
    let (scene, id) = held("lapsed", Play { apply: Some(super::asks::outcome()), ..only_held() });
    put_policy(&scene.folder, &rules("grant = \"role\"\n").replace("name = \"ids\"", "name = \"other\""));
    scene.client().ask_one(Ask::PolicyApply { dry_run: false, expect: None });
    for _ in 0..10 {
        if let Seen::EndGrant(ended, cause) = next(&scene.seen) {
            assert_eq!((ended, cause), (id, EndCause::RuleGone));
            return;
        }
    }
    panic!("it goes on");
}
