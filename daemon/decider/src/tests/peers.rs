//! Peers that misbehave: each loses its own connection and nothing else.

use std::os::fd::AsFd as _;

use jitsudo_protocol::VERSION;
use jitsudo_protocol::client::{Ask, FaultCode, FromClient, FromDecider, Say};
use jitsudo_sys::channel::Channel;

use super::scene::{Caller, Play, Scene, act, hear, own, rules};
use crate::limits::MAX_OF_ACCOUNT;
use crate::places::Patience;

fn scene(name: &str) -> Scene {
    Scene::play(name, Play { policy: Some(rules("")), ..Play::default() })
}

fn still_serves(scene: &Scene) {
    assert_eq!(scene.client().ask_one(Ask::Status)["host"], "web-1");
}

#[test]
fn wrong_nonce_closes_the_connection() {
    let scene = scene("nonce");
    let (client, other) = (scene.client(), scene.client());
    let nonce = other.nonce.clone();
    client.say_with(FromClient { nonce, version: VERSION, say: Say::Ask(Ask::Status) }, &[]);
    assert_eq!(client.fault_and_end().code, FaultCode::Malformed);
    assert_eq!(other.ask_one(Ask::Status)["host"], "web-1");
}

#[test]
fn approval_14_version_outside_the_offered_ones_is_refused() {
    let scene = scene("version");
    for version in [0, VERSION + 1, u32::MAX] {
        let client = scene.client();
        let nonce = client.nonce.clone();
        client.say_with(FromClient { nonce, version, say: Say::Ask(Ask::Status) }, &[]);
        assert_eq!(client.fault_and_end().code, FaultCode::Version);
    }
    still_serves(&scene);
}

#[test]
fn dos_05_oversized_message_closes_the_connection() {
    let scene = scene("oversized");
    let client = scene.client();
    let long = vec![b' '; 100 * 1024];
    jitsudo_sys::nix::sys::socket::send(
        std::os::fd::AsRawFd::as_raw_fd(&client.channel),
        &long,
        jitsudo_sys::nix::sys::socket::MsgFlags::empty(),
    )
    .unwrap();
    assert_eq!(client.fault_and_end().code, FaultCode::Malformed);
    still_serves(&scene);
}

#[test]
fn peer_auth_06_messages_that_are_none_close_the_connection() {
    let scene = scene("malformed");
    for text in [
        "{",
        "null",
        "\u{0}",
        r#"{"nonce":"N","version":1,"say":{"ask":"status"},"uid":0}"#,
        r#"{"nonce":"N","version":1,"say":{"become":"root"}}"#,
        r#"{"nonce":"N","version":1,"say":{"run":{"options":{},"argc":1,"envc":0,"strings":["id"],"open":false}}}"#,
    ] {
        let client = scene.client();
        client.channel.send(text.replace('N', &client.nonce).as_bytes(), &[]).unwrap();
        assert_eq!(client.fault_and_end().code, FaultCode::Malformed, "{text}");
    }
    let deep = "[".repeat(60_000);
    let client = scene.client();
    client.channel.send(deep.as_bytes(), &[]).unwrap();
    assert_eq!(client.fault_and_end().code, FaultCode::Malformed);
    still_serves(&scene);
}

#[test]
fn parts_out_of_order_close_the_connection() {
    let scene = scene("order");
    let (start, more) = act(&["/usr/bin/id", &"x".repeat(40_000)]).split();
    let client = scene.client();
    client.say(Say::More(more[0].clone()));
    assert_eq!(client.fault_and_end().code, FaultCode::Malformed);
    for second in [Say::More(more[1].clone()), Say::Run(Box::new(start.clone())), Say::Ask(Ask::Status)] {
        let client = scene.client();
        client.say(Say::Run(Box::new(start.clone())));
        client.say(second);
        assert_eq!(client.fault_and_end().code, FaultCode::Malformed);
    }
    still_serves(&scene);
}

#[test]
fn attached_descriptors_are_refused() {
    let scene = scene("descriptors");
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = count();
    for _ in 0..50 {
        let client = scene.client();
        let nonce = client.nonce.clone();
        let message = FromClient { nonce, version: VERSION, say: Say::Ask(Ask::Status) };
        client.say_with(message, &[client.channel.as_fd()]);
        assert_eq!(client.fault_and_end().code, FaultCode::Malformed);
    }
    still_serves(&scene);
    // Other tests open some meanwhile; fifty leaked ones would show.
    assert!(count() < before + 45, "fd_tty_08: descriptors leak");
}

#[test]
fn confused_deputy_04_empty_message_closes_the_connection() {
    let scene = scene("empty");
    let client = scene.client();
    client.channel.send(b"", &[]).unwrap();
    assert_eq!(client.hear(), None);
    still_serves(&scene);
}

pub(super) const AS_CHILD: &str = "as-child-of-a-test";

pub(super) fn is_child() -> bool {
    std::env::args().any(|argument| argument == AS_CHILD)
}

/// Not a test of its own: what a child does with a connection that its parent made.
#[test]
fn child_asks_on_a_passed_connection() {
    if !is_child() {
        return;
    }
    let channel = Channel::from_inherited(3).unwrap();
    let Some(FromDecider::Hello { nonce, .. }) = hear(&channel) else { panic!("no hello") };
    Caller { channel, nonce }.say(Say::Ask(Ask::Status));
}

#[test]
fn peer_auth_07_passed_connection_used_by_a_child_is_refused() {
    let scene = scene("passed");
    let channel = Channel::connect(&scene.folder.join("socket")).unwrap();
    let own = std::env::current_exe().unwrap();
    let name = "tests::peers::child_asks_on_a_passed_connection";
    let mut child = jitsudo_sys::child::start(&own, &["--exact", name, AS_CHILD], &channel).unwrap();
    while !child.reap() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let Some(FromDecider::Fault(fault)) = hear(&channel) else { panic!("no fault") };
    assert_eq!(fault.code, FaultCode::Credentials);
    assert_eq!(hear(&channel), None);
    still_serves(&scene);
}

#[test]
fn peer_auth_04_peers_that_vanish_at_any_moment_change_nothing() {
    let scene = scene("vanish");
    let (start, _more) = act(&["/usr/bin/id", &"x".repeat(40_000)]).split();
    for round in 0..100u64 {
        let client = scene.client();
        match round % 3 {
            0 => client.say(Say::Run(Box::new(start.clone()))),
            1 => client.run(&["/usr/bin/id"]),
            _ => client.say(Say::Ask(Ask::Standing)),
        }
        std::thread::sleep(std::time::Duration::from_micros(round * 20));
    }
    still_serves(&scene);
}

/// Not a test of its own: another account's client.
#[test]
fn child_asks_as_another_account() {
    if !is_child() {
        return;
    }
    let socket = std::env::current_dir().unwrap().join("socket");
    for _ in 0..3 {
        assert_eq!(Caller::connect(&socket).ask_one(Ask::Status)["host"], "web-1");
    }
}

#[test]
fn dos_01_connections_beyond_the_share_are_refused_and_others_are_served() {
    let scene = scene("share");
    let held: Vec<_> = (0..MAX_OF_ACCOUNT).map(|_| scene.client()).collect();
    for _ in 0..40 {
        let channel = Channel::connect(&scene.folder.join("socket")).unwrap();
        let Some(FromDecider::Fault(fault)) = hear(&channel) else { panic!("no fault") };
        assert_eq!(fault.code, FaultCode::Busy);
        assert_eq!(hear(&channel), None);
    }
    assert_eq!(held[5].ask_one(Ask::Status)["connections"], 64);
    if own() == 0 {
        use std::os::unix::process::CommandExt as _;
        // Where the build lies others may have no way in.
        let copy = scene.folder.join("client");
        std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        let name = "tests::peers::child_asks_as_another_account";
        let status = std::process::Command::new(&copy)
            .args(["--exact", name, AS_CHILD])
            .current_dir(&*scene.folder)
            .stdout(std::process::Stdio::null())
            .uid(60_001)
            .gid(60_001)
            .status()
            .unwrap();
        assert!(status.success());
    }
    drop(held);
    for _ in 0..1000 {
        let channel = Channel::connect(&scene.folder.join("socket")).unwrap();
        if matches!(hear(&channel), Some(FromDecider::Hello { .. })) {
            return;
        }
    }
    panic!("places are not given back");
}

#[test]
fn dos_02_silent_and_half_said_connections_are_closed_and_delay_nobody() {
    let patience = Patience { first_ms: 300, tick_ms: 50, ..Patience::default() };
    let scene = Scene::play("loris", Play { policy: Some(rules("")), patience, ..Play::default() });
    let silent = scene.client();
    let half = scene.client();
    half.say(Say::Run(Box::new(act(&["/usr/bin/id", &"x".repeat(40_000)]).split().0)));
    still_serves(&scene);
    assert_eq!(silent.hear(), None);
    assert_eq!(half.hear(), None);
    still_serves(&scene);
}

#[test]
fn flood_of_questions_is_told_busy_and_keeps_its_connection() {
    let scene = scene("flood");
    let client = scene.client();
    let outcomes: Vec<_> = (0..400).map(|_| client.ask(Ask::PolicyStatus)).collect();
    let busy = outcomes.iter().filter(|outcome| outcome.as_ref().is_err_and(|fault| fault.code == FaultCode::Busy));
    assert!(busy.count() > 20);
    assert!(outcomes.iter().filter(|outcome| outcome.is_ok()).count() >= 150);
}

#[test]
fn fd_tty_09_client_that_never_reads_delays_nobody() {
    let patience = Patience { idle_ms: 500, tick_ms: 50, ..Patience::default() };
    let scene = Scene::play("deaf", Play { policy: Some(rules("")), patience, ..Play::default() });
    let deaf: Vec<_> = (0..3).map(|_| scene.client()).collect();
    for client in &deaf {
        client.channel.set_nonblocking(true).unwrap();
        for _ in 0..60 {
            let nonce = client.nonce.clone();
            let message = FromClient { nonce, version: VERSION, say: Say::Ask(Ask::Status) };
            if client.channel.send(&serde_json::to_vec(&message).unwrap(), &[]).is_err() {
                break;
            }
        }
    }
    std::thread::sleep(std::time::Duration::from_millis(700));
    still_serves(&scene);
}

#[test]
fn spawner_that_never_answers_is_a_fault_for_who_asked() {
    let patience = Patience { work_ms: 400, tick_ms: 50, ..Patience::default() };
    let play = Play { policy: Some(rules("")), patience, answers_looks: false, ..Play::default() };
    let scene = Scene::play("hanging", play);
    let client = scene.client();
    client.run(&["/usr/bin/id"]);
    still_serves(&scene);
    assert_eq!(client.fault_and_end().code, FaultCode::Spawner);
}
