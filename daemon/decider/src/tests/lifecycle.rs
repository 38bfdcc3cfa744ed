//! Between the beginning of a grant and its end: extended, withdrawn, locked.

use jitsudo_core::event::EndCause;
use jitsudo_core::facts::Fact;
use jitsudo_core::name::Uid;
use jitsudo_link::locks::Locked;
use jitsudo_protocol::client::{Ask, Denied, Fault, FaultCode, FromDecider, Order, Say};

use super::grants::{held, role};
use super::scene::{Caller, Play, Scene, Seen, act, ledger_text, next, rules};

/// The person behind whoever runs the tests.
const ALICE: u32 = 1000;

fn play(more: &str) -> Play {
    let mut play = Play { policy: Some(rules(&format!("grant = \"role\"\n{more}"))), ..Play::default() };
    play.facts.requester.loginuid = Fact::Is(Some(Uid(ALICE)));
    play
}

fn lock(user: &str) -> Say {
    Say::Order(Order::Lock { user: user.to_owned(), reason: "left".to_owned() })
}

fn unlock() -> Say {
    Say::Order(Order::Unlock { user: format!("#{ALICE}") })
}

fn item(client: &Caller) -> serde_json::Value {
    match client.hear() {
        Some(FromDecider::Answer { mut items, .. }) => items.remove(0),
        other => panic!("no answer but {other:?}"),
    }
}

fn fault(client: &Caller) -> Fault {
    match client.hear() {
        Some(FromDecider::Fault(fault)) => fault,
        other => panic!("no fault but {other:?}"),
    }
}

fn denied(client: &Caller) -> Denied {
    match client.hear() {
        Some(FromDecider::Denied(denied)) => denied,
        other => panic!("no denial but {other:?}"),
    }
}

fn is_denied_as_locked(scene: &Scene) {
    for asked in [act(&["/usr/bin/id"]), role("ids")] {
        let client = scene.client();
        client.run_act(&asked);
        let denied = denied(&client);
        assert!(denied.headline.starts_with("locked: "), "{denied:?}");
        assert!(denied.detail[0].contains(" is locked by root since ") && denied.detail[0].ends_with("\"left\""));
    }
}

#[test]
fn lock_ends_what_runs_first_and_lets_nothing_start_until_it_is_over() {
    let (mut scene, id) = held("lock", play(""));
    let client = scene.client();
    client.say(lock(&format!("#{ALICE}")));
    assert!(matches!(next(&scene.seen), Seen::Lock(Uid(ALICE))), "the spawner first, which knows by itself then");
    let Seen::EndGrant(ended, cause) = next(&scene.seen) else { panic!("no end") };
    assert_eq!((ended, cause), (id, EndCause::Locked));
    let told = item(&client);
    assert_eq!((&told["uid"], &told["ended"], &told["again"]), (&ALICE.into(), &1.into(), &false.into()));
    is_denied_as_locked(&scene);
    assert_eq!(scene.client().ask_one(Ask::Standing)["locked"]["by"], "root");
    assert_eq!(scene.client().ask_one(Ask::Status)["locked"][0]["reason"], "left");
    let client = scene.client();
    client.say(Say::Ask(Ask::Roles));
    assert!(denied(&client).detail[0].contains("is locked by root"));
    client.say(lock(&format!("#{ALICE}")));
    assert_eq!(item(&client)["again"], true);
    client.say(unlock());
    assert_eq!(item(&client)["locked"], false);
    assert!(!scene.client().ask(Ask::Roles).unwrap().is_empty());
    client.say(unlock());
    assert_eq!(fault(&client).code, FaultCode::NotFound);
    client.say(lock("#0"));
    assert_eq!(fault(&client).code, FaultCode::NotSupported);
    scene.end();
    let text = ledger_text(&scene.folder.join("ledger"));
    assert_eq!((text.matches("\"event\":\"locked\"").count(), text.matches("\"event\":\"unlocked\"").count()), (1, 1));
}

#[test]
fn lock_survives_a_restart_and_ends_what_a_spawner_that_comes_back_still_has() {
    let (mut scene, id) = held("lock-before", play(""));
    let client = scene.client();
    client.say(lock(&format!("#{ALICE}")));
    item(&client);
    scene.end();
    let again = Scene::play("lock-after", Play { ledger: Some(scene.folder.join("ledger")), ..play("") });
    for _ in 0..10 {
        if let Seen::EndGrant(ended, cause) = next(&again.seen) {
            assert_eq!((ended, cause), (id, EndCause::Locked));
            return is_denied_as_locked(&again);
        }
    }
    panic!("it goes on");
}

#[test]
fn lock_that_only_the_spawner_knows_holds_and_one_that_it_keeps_is_not_ended() {
    let locked = Locked { uid: Uid(ALICE), user: None, at: "2026-10-04T10:15:00Z".parse().unwrap() };
    let keeps_locked = Some("no duty".to_owned());
    let mut scene = Scene::play("lock-spawner", Play { locks: Some(vec![locked]), keeps_locked, ..play("") });
    let client = scene.client();
    client.run_act(&act(&["/usr/bin/id"]));
    assert!(denied(&client).detail[0].contains("its record was lost"));
    let client = scene.client();
    client.say(unlock());
    let asked =
        |seen| matches!(seen, Seen::Unlock(Uid(ALICE), by) if by == jitsudo_sys::nix::unistd::getuid().as_raw());
    assert!((0..10).any(|_| asked(next(&scene.seen))), "with the connection of who asks");
    let fault = fault(&client);
    assert!(fault.code == FaultCode::Internal && fault.message.contains("does not agree: no duty"), "{fault:?}");
    let client = scene.client();
    client.run_act(&act(&["/usr/bin/id"]));
    denied(&client);
    let recorded = || ledger_text(&scene.folder.join("ledger")).contains("\"event\":\"locked\"");
    let soon = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        recorded()
    });
    assert!(soon, "what the spawner knows is recorded");
    scene.end();
    let text = ledger_text(&scene.folder.join("ledger"));
    assert_eq!((text.matches("\"event\":\"locked\"").count(), text.matches("\"event\":\"unlocked\"").count()), (1, 0));
}

#[test]
fn lock_is_told_to_a_spawner_that_comes_and_ended_without_one_that_is_older() {
    let (mut scene, _) = held("lock-told", Play { locks: None, ..play("") });
    let client = scene.client();
    client.say(lock(&format!("#{ALICE}")));
    item(&client);
    scene.end();
    let ledger = Some(scene.folder.join("ledger"));
    let again = Scene::play("lock-later", Play { ledger, ..play("") });
    assert!((0..10).any(|_| matches!(next(&again.seen), Seen::Lock(Uid(ALICE)))));
    drop(again);
    let mut older =
        Scene::play("lock-older", Play { locks: None, ledger: Some(scene.folder.join("ledger")), ..play("") });
    let client = older.client();
    client.say(unlock());
    assert_eq!(item(&client)["locked"], false);
    older.end();
}

#[test]
fn extension_is_started_with_the_new_end_and_nothing_is_on_record_before() {
    let (scene, id) = held("extend", play("extend = { each = \"5m\", total = \"8m\" }\n"));
    let before = ledger_text(&scene.folder.join("ledger"));
    let end = scene.client().ask_one(Ask::Grants { all: false })["ends_at"].clone();
    let ask = |text: &str, window: Option<u64>| {
        let client = scene.client();
        let mut more = role("ids");
        more.options.role = None;
        more.options.extends = Some(text.to_owned());
        more.options.window = window;
        client.run_act(&more);
        client
    };
    let client = ask(id.short(), Some(120));
    let start = loop {
        if let Seen::Start(start, ..) = next(&scene.seen) {
            break start;
        }
    };
    assert_eq!((&start.session.access, start.session.number, start.extends), (&id, 0, true));
    let end: jitsudo_core::Timestamp = end.as_str().unwrap().parse().unwrap();
    assert_eq!(start.ends_at.duration_since(end).as_secs(), 120);
    assert!(matches!(client.hear(), Some(FromDecider::HandOver { .. })));
    assert_eq!(ledger_text(&scene.folder.join("ledger")), before);
    // Too much is denied, and recorded as what was asked.
    let denied = denied(&ask(id.short(), Some(6 * 60)));
    assert_eq!(denied.headline, format!("not extended: role ids ({})", id.short()));
    assert_eq!(denied.detail, ["role ids is extended by at most 5 min at once: ask with --for 5m"]);
    for (text, said) in [("zzzzzz", "you hold nothing of that id"), ("", "you hold nothing of that id")] {
        assert!(fault(&ask(text, None)).message.contains(said), "{text}");
    }
}

#[test]
fn withdrawing_is_for_what_was_not_given_yet() {
    let (mut scene, id) = held("withdraw", play(""));
    let client = scene.client();
    client.say(Say::Order(Order::Withdraw { id: id.short().to_owned() }));
    let fault = fault(&client);
    assert_eq!(fault.message, format!("cannot withdraw {}: it is given already", id.short()));
    // One that waits for its proof.
    client.run_act(&role("ids"));
    assert!(matches!(client.hear(), Some(FromDecider::HandOver { .. })));
    let client = scene.client();
    let asked = client.ask(Ask::Requests { all: false }).unwrap();
    let waiting = asked.iter().find(|one| one["stage"] == "waiting").unwrap();
    client.say(Say::Order(Order::Withdraw { id: waiting["id"].as_str().unwrap().to_owned() }));
    assert_eq!(item(&client)["id"], waiting["id"]);
    scene.end();
    assert_eq!(scene.events().iter().filter(|name| *name == "withdrawn").count(), 1);
}
