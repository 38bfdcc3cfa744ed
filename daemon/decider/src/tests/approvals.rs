//! Requests that wait for other people: what is written first, who comes back for it, and what ends it. Who says yes needs a session, which
//! only a host has.

use jitsudo_core::facts::{Fact, Group};
use jitsudo_core::name::{Gid, Uid};
use jitsudo_link::facts::{Account, Entry};
use jitsudo_link::spawner::Memory;
use jitsudo_protocol::act::Act;
use jitsudo_protocol::client::{Ask, Denied, FaultCode, FromDecider, Order, Say, Waiting};

use super::grants::role;
use super::peers::{AS_CHILD, is_child};
use super::scene::{Caller, Play, Scene, Seen, ledger_text, next, rules};
use crate::places::Patience;

/// bob must say yes; whoever runs the tests is alice who became root.
fn play() -> Play {
    let policy = rules("grant = \"role\"\n[allow.approval]\nby = [\"bob\", \"%sre\"]\nanswer-by = \"10m\"\n");
    let mut play = Play { policy: Some(policy), ..Play::default() };
    play.facts.requester.loginuid = Fact::Is(Some(Uid(1000)));
    play
}

fn waits(client: &Caller) -> Waiting {
    match client.hear() {
        Some(FromDecider::Waiting(waiting)) => waiting,
        other => panic!("it does not wait but {other:?}"),
    }
}

fn denied(client: &Caller) -> Denied {
    match client.hear() {
        Some(FromDecider::Denied(denied)) => denied,
        other => panic!("no denial but {other:?}"),
    }
}

/// A client that waits, and for what.
fn waiting(scene: &Scene) -> (Caller, Waiting) {
    let client = scene.client();
    client.run_act(&role("ids"));
    let waiting = waits(&client);
    (client, waiting)
}

fn taken_up(id: &str) -> Act {
    let mut again = role("ids");
    again.options.request = Some(id.to_owned());
    again
}

/// Waits until these are the last events.
fn ends_with(scene: &Scene, names: &[&str]) {
    for _ in 0..400 {
        if scene.events().ends_with(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    panic!("{:?} does not end with {names:?}", scene.events());
}

#[test]
fn approval_04_nobody_is_asked_before_that_is_durable_and_who_gives_up_is_withdrawn() {
    let scene = Scene::play("asked", play());
    let (client, waiting) = waiting(&scene);
    assert_eq!(scene.events(), ["requested", "decided", "asked"]);
    assert_eq!((waiting.asked, waiting.persons, waiting.left), (vec!["%sre".to_owned(), "bob".to_owned()], 1, 600));
    client.say(Say::GiveUp);
    let over = denied(&client);
    assert!(over.unanswered && !over.by_person && over.headline == "withdrawn", "{over:?}");
    ends_with(&scene, &["asked", "withdrawn"]);
}

#[test]
fn giving_up_where_nothing_waits_is_out_of_turn() {
    let scene = Scene::play("give-up", play());
    let client = scene.client();
    client.say(Say::GiveUp);
    assert_eq!(client.fault_and_end().code, FaultCode::Malformed);
}

#[test]
fn lost_connection_has_thirty_seconds_and_comes_back_with_the_same_act_only() {
    let scene = Scene::play("lost", play());
    let (client, waiting) = waiting(&scene);
    drop(client);
    let client = scene.client();
    client.run_act(&taken_up(&waiting.id));
    assert_eq!(waits(&client).id, waiting.id);
    // Another reason is another request; the one that waits is as it was.
    let other = scene.client();
    let mut act = taken_up(&waiting.id);
    act.options.reason = Some("something else".to_owned());
    other.run_act(&act);
    let answer = denied(&other);
    assert!(answer.detail[0].ends_with("the reason differ") && !answer.detail[0].contains("roll out"), "{answer:?}");
    // Whoever comes second has it.
    let second = scene.client();
    second.run_act(&taken_up(&waiting.id));
    assert_eq!(waits(&second).id, waiting.id);
    assert_eq!(denied(&client).headline, "taken up elsewhere");
}

#[test]
fn lost_connection_that_does_not_come_back_is_withdrawn() {
    let patience = Patience { tick_ms: 50, come_back_ms: 200, ..Patience::default() };
    let scene = Scene::play("lost-for-good", Play { patience, ..play() });
    let (client, waiting) = waiting(&scene);
    drop(client);
    ends_with(&scene, &["asked", "withdrawn"]);
    let client = scene.client();
    client.run_act(&taken_up(&waiting.id));
    assert!(matches!(client.hear(), Some(FromDecider::Fault(fault)) if fault.code == FaultCode::NotFound));
}

#[test]
fn request_of_another_is_none() {
    let scene = Scene::play("others", play());
    let (_client, waiting) = waiting(&scene);
    for id in ["zzzzzz", "", "01jd0000000000000000000000", "\u{1b}[2J"] {
        let client = scene.client();
        client.run_act(&taken_up(id));
        assert!(matches!(client.hear(), Some(FromDecider::Fault(fault)) if fault.code == FaultCode::NotFound), "{id}");
    }
    // Its own requester may not answer it, and is told no more than anybody.
    let client = scene.client();
    client.say(Say::Order(Order::Refuse { id: waiting.id.clone(), reason: "no".to_owned(), signature: None }));
    assert!(matches!(client.hear(), Some(FromDecider::Fault(fault)) if fault.code == FaultCode::NotFound));
    assert_eq!(scene.client().ask(Ask::ToApprove).unwrap().len(), 0);
    assert_eq!(scene.client().ask_one(Ask::Show { id: waiting.id.clone() })["approval"]["persons"], 1);
    assert_eq!(scene.client().ask_one(Ask::Requests { all: false })["stage"], "waiting");
}

#[test]
fn no_wait_keeps_the_request_and_its_requester_takes_it_up_or_back() {
    let scene = Scene::play("no-wait", play());
    let client = scene.client();
    let mut act = role("ids");
    act.options.no_wait = true;
    client.run_act(&act);
    let answer = denied(&client);
    let id = answer.id.clone().unwrap();
    assert!(answer.unanswered && answer.headline.starts_with("asked %sre, bob for: "), "{answer:?}");
    drop(client);
    let client = scene.client();
    client.run_act(&taken_up(&id));
    assert_eq!(waits(&client).id, id);
    let order = scene.client();
    order.say(Say::Order(Order::Withdraw { id: id.clone() }));
    assert!(matches!(order.hear(), Some(FromDecider::Answer { items, .. }) if items[0]["cause"] == "withdrawn"));
    assert_eq!(denied(&client).headline, "withdrawn");
    ends_with(&scene, &["asked", "withdrawn"]);
    // -n does not wait for people at all.
    let client = scene.client();
    let mut act = role("ids");
    act.options.non_interactive = true;
    client.run_act(&act);
    assert!(denied(&client).detail[0].contains("-n does not wait for people"));
}

#[test]
fn lock_withdraws_what_waits_and_nothing_is_taken_up_under_it() {
    let scene = Scene::play("locked", play());
    let (client, waiting) = waiting(&scene);
    let order = scene.client();
    order.say(Say::Order(Order::Lock { user: format!("#{}", 1000), reason: "left".to_owned() }));
    assert!(matches!(order.hear(), Some(FromDecider::Answer { items, .. }) if items[0]["ended"] == 1));
    let over = denied(&client);
    assert!(over.headline.starts_with("locked") && over.detail[0].ends_with("\"left\""), "{over:?}");
    ends_with(&scene, &["asked", "withdrawn", "locked"]);
    let client = scene.client();
    client.run_act(&taken_up(&waiting.id));
    assert!(denied(&client).headline.starts_with("locked"));
}

#[test]
fn waiting_request_survives_a_restart_while_nobody_has_answered_it() {
    let mut scene = Scene::play("before", play());
    let (_client, waiting) = waiting(&scene);
    scene.end();
    let ledger = Some(scene.folder.join("ledger"));
    let patience = Patience { tick_ms: 50, come_back_ms: 3_000, ..Patience::default() };
    let again = Scene::play("after", Play { ledger, patience, ..play() });
    let client = again.client();
    client.run_act(&taken_up(&waiting.id));
    let back = waits(&client);
    assert_eq!((&back.id, back.left <= waiting.left), (&waiting.id, true));
    // Nobody comes back for it here.
    let ledger = Some(scene.folder.join("ledger"));
    let patience = Patience { tick_ms: 50, come_back_ms: 100, ..Patience::default() };
    let third = Scene::play("third", Play { ledger, patience, ..play() });
    ends_with(&third, &["lapsed"]);
    let client = third.client();
    client.run_act(&taken_up(&waiting.id));
    let over = denied(&client);
    assert!(over.unanswered && over.headline == "nobody answered in time", "{over:?}");
}

#[test]
fn dos_01_requests_of_one_account_are_limited_and_what_is_too_long_is_not_asked() {
    let scene = Scene::play("many", play());
    let mut act = role("ids");
    act.options.no_wait = true;
    let clients: Vec<Caller> = (0..25).map(|_| scene.client()).collect();
    clients.iter().for_each(|client| client.run_act(&act));
    let answers: Vec<Denied> = clients.iter().map(denied).collect();
    assert_eq!(answers.iter().filter(|answer| answer.unanswered).count(), 20);
    let over = answers.iter().find(|answer| !answer.unanswered).unwrap();
    assert!(over.detail[0].starts_with("too many of your requests wait already"), "{over:?}");
    assert_eq!(ledger_text(&scene.folder.join("ledger")).matches("\"event\":\"asked\"").count(), 20);
}

/// An account at a terminal.
fn at_terminal(uid: u32, name: &str, groups: &[&str]) -> Account {
    let groups = groups.iter().map(|name| Group { gid: Gid(900), name: Some((*name).to_owned()) }).collect();
    let entry = Entry {
        name: name.to_owned(),
        gid: uid,
        home: "/".to_owned(),
        shell: "/bin/sh".to_owned(),
        groups: Fact::Is(groups),
        local: true,
        locked: Fact::Is(false),
    };
    Account { uid, entry: Fact::Is(Some(entry)) }
}

fn told(scene: &Scene) -> (Vec<u32>, String) {
    loop {
        if let Seen::Tell(to, text) = next(&scene.seen) {
            return (to, text);
        }
    }
}

fn with_people() -> Play {
    let unknown = Account { uid: 1004, entry: Fact::Unknown };
    let here = vec![
        at_terminal(1000, "alice", &["sre"]),
        at_terminal(1002, "bob", &[]),
        at_terminal(1005, "alice-adm", &[]),
        unknown,
    ];
    Play { here, ..play() }
}

#[test]
fn approver_at_a_terminal_is_told_and_nobody_else_and_hears_how_it_ends() {
    let scene = Scene::play("told", with_people());
    let client = scene.client();
    let mut act = role("ids");
    act.options.reason = Some("because\n\u{1b}[2J".to_owned());
    client.run_act(&act);
    waits(&client);
    // alice is in the group, and it is her own request; alice-adm is not asked; the fourth is not known.
    let (to, text) = told(&scene);
    assert_eq!(to, [1002]);
    assert!(text.starts_with("jitsudo on web-1: ") && text.contains(" asks for: role ids\n"), "{text}");
    assert!(text.contains("  why: because\\u{a}\\u{1b}[2J\n  jitctl approve "), "{text}");
    client.say(Say::GiveUp);
    let (to, text) = told(&scene);
    assert!(to == [1002] && text.ends_with("it was withdrawn; nothing is left to do\n"), "{text}");
    assert!(!scene.events().contains(&"delivery_failed".to_owned()));
}

#[test]
fn delivery_that_fails_is_recorded_and_the_request_goes_on() {
    let here = vec![at_terminal(1002, "bob", &[]), at_terminal(1003, "carol", &["sre"])];
    let scene = Scene::play("not-told", Play { here, ..play() });
    let (client, _) = waiting(&scene);
    assert_eq!(told(&scene).0, [1002, 1003]);
    ends_with(&scene, &["asked", "delivery_failed"]);
    client.say(Say::GiveUp);
    assert_eq!(denied(&client).headline, "withdrawn");
    let old = Scene::play("older", Play { tells: false, ..play() });
    let (_client, _) = waiting(&old);
    ends_with(&old, &["asked", "delivery_failed"]);
}

#[test]
fn who_has_not_answered_is_reminded_and_others_step_in() {
    let policy = rules(
        "grant = \"role\"\n[allow.approval]\nby = \"bob\"\nremind = \"1s\"\nescalate-after = { after = \"2s\", by = \"carol\" }\n",
    );
    let here = vec![at_terminal(1002, "bob", &[]), at_terminal(1003, "carol", &[])];
    let scene = Scene::play("again", Play { policy: Some(policy), here, ..play() });
    let client = scene.client();
    client.run_act(&role("ids"));
    assert_eq!(waits(&client).asked, ["bob"]);
    // Asked, reminded; then carol is told for the first time, and reminded as well.
    assert_eq!((told(&scene).0, told(&scene).0), (vec![1002], vec![1002]));
    let later = [told(&scene).0, told(&scene).0];
    assert!(later.contains(&vec![1003]) && later.contains(&vec![1002, 1003]), "{later:?}");
    let asked = (0..3).map(|_| waits(&client).asked).find(|asked| asked.len() == 2);
    assert_eq!(asked.unwrap(), ["bob", "carol"]);
    let events = scene.events();
    assert!(events.contains(&"reminded".to_owned()) && events.contains(&"escalated".to_owned()), "{events:?}");
}

#[test]
fn dos_01_bell_rings_so_often_a_minute_for_one_account_and_the_rest_is_on_record() {
    let scene = Scene::play("bell", with_people());
    for _ in 0..9 {
        let (client, _) = waiting(&scene);
        client.say(Say::GiveUp);
        denied(&client);
    }
    for _ in 0..400 {
        let silent = scene.events().iter().filter(|name| *name == "delivery_failed").count();
        // A minute may have begun meanwhile.
        if (1..=3).contains(&silent) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    panic!("{:?}", scene.events());
}

#[test]
fn nothing_is_asked_on_a_ledger_that_is_not_the_signed_one() {
    // The head that was signed is in no ledger.
    let head =
        jitsudo_link::spawner::SignedHead { seq: 1_000, hash: "ab".repeat(32), signed: super::scene::signed("web-1") };
    let scene = Scene::play("rolled-back", Play { memory: Some(Memory::Head(Box::new(head))), ..play() });
    let client = scene.client();
    client.run_act(&role("ids"));
    assert!(matches!(client.hear(), Some(FromDecider::Fault(fault)) if fault.code == FaultCode::Ledger));
    assert!(!scene.events().contains(&"asked".to_owned()));
}

/// The account that says yes here.
const APPROVER: u32 = 60_001;

/// Not a test of its own: says yes to whatever waits for it.
#[test]
fn child_says_yes() {
    if !is_child() {
        return;
    }
    let socket = std::env::current_dir().unwrap().join("socket");
    let id = Caller::connect(&socket).ask_one(Ask::ToApprove)["id"].as_str().unwrap().to_owned();
    let card = Caller::connect(&socket).ask_one(Ask::Card { id: id.clone() });
    let client = Caller::connect(&socket);
    let mut yes = super::scene::act(&[&id, card["digest"].as_str().unwrap()]);
    yes.options.kind = jitsudo_protocol::act::ActKind::Approve;
    client.run_act(&yes);
    assert!(matches!(client.hear(), Some(FromDecider::HandOver { .. })));
}

/// Somebody else approves what waits; only root can become somebody else.
fn somebody_says_yes(scene: &Scene) -> bool {
    use std::os::unix::process::CommandExt as _;
    if super::scene::own() != 0 {
        return false;
    }
    // Where the build lies others may have no way in.
    let copy = scene.folder.join("client");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let status = std::process::Command::new(&copy)
        .args(["--exact", "tests::approvals::child_says_yes", AS_CHILD])
        .current_dir(&*scene.folder)
        .stdout(std::process::Stdio::null())
        .uid(APPROVER)
        .gid(APPROVER)
        .status();
    assert!(status.unwrap().success());
    true
}

fn with_approver() -> Play {
    let policy = rules(&format!("grant = \"role\"\n[allow.approval]\nby = \"#{APPROVER}\"\n"));
    Play { policy: Some(policy), ..play() }
}

/// The next start that is not the conversation with an approver, and what the ledger held at that moment.
fn started(scene: &Scene) -> (Box<jitsudo_link::spawner::Start>, String) {
    loop {
        match next(&scene.seen) {
            Seen::Start(start, _, ledger) if start.yes.is_none() => return (start, ledger),
            _ => {}
        }
    }
}

#[test]
fn approved_request_is_given_once_and_only_when_the_answers_are_durable() {
    let scene = Scene::play("given", with_approver());
    let (client, waiting) = waiting(&scene);
    if !somebody_says_yes(&scene) {
        return;
    }
    let (start, ledger) = started(&scene);
    assert!(start.approved.is_some() && start.session.access.to_string() == waiting.id);
    let at = |name: &str| ledger.find(&format!("\"event\":\"{name}\"")).unwrap_or(usize::MAX);
    assert!(at("asked") < at("approved") && ledger.contains("\"enough\":true"), "{ledger}");
    let told: Vec<bool> =
        (0..3).map_while(|_| client.hear()).map(|said| matches!(said, FromDecider::HandOver { .. })).collect();
    assert!(told.contains(&true), "{told:?}");
    let again = scene.client();
    again.run_act(&taken_up(&waiting.id));
    assert!(matches!(again.hear(), Some(FromDecider::Fault(fault)) if fault.code == FaultCode::NotFound));
}

#[test]
fn answer_of_a_locked_approver_counts_for_nothing() {
    let scene = Scene::play("locked-yes", with_approver());
    let client = scene.client();
    let mut act = role("ids");
    act.options.no_wait = true;
    client.run_act(&act);
    let id = denied(&client).id.unwrap();
    if !somebody_says_yes(&scene) {
        return;
    }
    ends_with(&scene, &["approved"]);
    let order = scene.client();
    order.say(Say::Order(Order::Lock { user: format!("#{APPROVER}"), reason: "left".to_owned() }));
    assert!(matches!(order.hear(), Some(FromDecider::Answer { .. })));
    let client = scene.client();
    client.run_act(&taken_up(&id));
    let answer = denied(&client);
    assert!(answer.detail[0].contains("the answers are not enough"), "{answer:?}");
    // It is told at once, and written as soon as can be.
    ends_with(&scene, &["locked", "decided"]);
    assert!(!scene.events().contains(&"active".to_owned()));
}
