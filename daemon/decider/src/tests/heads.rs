//! Signed heads, and ledgers that are not the ones that were signed.

use std::time::Duration;

use jitsudo_link::spawner::{Memory, SignOutcome, SignedHead};
use jitsudo_protocol::client::{Ask, Fault, FaultCode, FromDecider};

use super::scene::{Play, Scene, Seen, ledger_text, own, rules, signed};
use super::{Folder, folder};

const SOON: Duration = Duration::from_secs(10);

fn allowed() -> Play {
    Play { policy: Some(rules("")), ..Play::default() }
}

/// The ledger of a daemon that gave one command, and its lines as (seq, hash).
fn used_ledger(name: &str) -> (Folder, Vec<(u64, String)>) {
    let mut scene = Scene::play(&format!("{name}-before"), allowed());
    let client = scene.client();
    client.run(&["/usr/bin/id"]);
    assert!(matches!(client.hear(), Some(FromDecider::HandOver { .. })));
    scene.end();
    let kept = folder(name);
    for entry in std::fs::read_dir(scene.folder.join("ledger")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), kept.join(entry.file_name())).unwrap();
    }
    let text = ledger_text(&kept);
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let places = lines.map(|line| (line["seq"].as_u64().unwrap(), line["hash"].as_str().unwrap().to_owned()));
    (kept, places.collect())
}

fn memory(seq: u64, hash: &str) -> Option<Memory> {
    Some(Memory::Head(Box::new(SignedHead { seq, hash: hash.to_owned(), signed: signed("web-1") })))
}

/// What the daemon asks of the spawner next, but for facts.
fn next(scene: &Scene) -> Seen {
    loop {
        match scene.seen.recv_timeout(SOON).unwrap() {
            Seen::Look(_) => {}
            other => return other,
        }
    }
}

/// Waits until the ledger holds these words.
fn recorded(scene: &Scene, words: &str) -> String {
    for _ in 0..1000 {
        let text = ledger_text(&scene.folder.join("ledger"));
        if text.contains(words) {
            return text;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{words} was not recorded");
}

fn refused_run(scene: &Scene) -> Fault {
    let client = scene.client();
    client.run(&["/usr/bin/id"]);
    match client.hear() {
        Some(FromDecider::Fault(fault)) => fault,
        other => panic!("no fault but {other:?}"),
    }
}

fn is_given(scene: &Scene) -> bool {
    let client = scene.client();
    client.run(&["/usr/bin/id"]);
    matches!(client.hear(), Some(FromDecider::HandOver { .. }))
}

fn acknowledge(scene: &Scene, reason: &str) -> Result<Vec<serde_json::Value>, Fault> {
    scene.client().ask(Ask::Acknowledge { reason: reason.to_owned() })
}

#[test]
fn first_head_is_signed_at_once_and_told_with_its_signature() {
    let scene = Scene::play("first-head", Play { memory: Some(Memory::Nothing), ..allowed() });
    let Seen::Sign(wanted, _) = next(&scene) else { panic!("nothing to sign") };
    assert_eq!((wanted.seq, wanted.segment), (1, None));
    let text = recorded(&scene, "\"event\":\"head_published\"");
    assert!(text.contains("\"signed\":{\"host\":\"web-1\",\"key\":\"SHA256:x\""), "{text}");
    let status = scene.client().ask_one(Ask::Status);
    assert_eq!(status["ledger"]["signed"]["seq"], 1);
    assert_eq!(
        (&status["ledger"]["sound"], &status["ledger"]["rolled_back"]),
        (&true.into(), &serde_json::Value::Null)
    );
}

#[test]
fn head_is_asked_for_when_it_is_durable_and_known_ones_are_found_in_the_files() {
    let (ledger, lines) = used_ledger("durable-head");
    let (seq, hash) = &lines[1];
    let play = Play { memory: memory(*seq, hash), ledger: Some(ledger.to_path_buf()), ..allowed() };
    let scene = Scene::play("durable", play);
    let Seen::Sign(wanted, text) = next(&scene) else { panic!("nothing to sign") };
    assert!(wanted.seq > *seq && text.contains(&wanted.hash), "it stands in the file already");
    assert!(is_given(&scene));
}

/// A ledger whose segment is long enough to be sealed before its next line.
fn long_ledger(name: &str) -> Folder {
    let dir = folder(name);
    let wake = std::sync::Arc::new(jitsudo_sys::nix::sys::eventfd::EventFd::new().unwrap());
    let mut ledger = crate::ledger::Ledger::open(&dir, 0, std::sync::Arc::clone(&wake)).unwrap();
    let stamp = crate::record::Stamp {
        host: "web-1".into(),
        boot: "b".into(),
        wall: jitsudo_core::Timestamp::UNIX_EPOCH,
        boottime_ms: 1,
    };
    for _ in 0..17 {
        let event = jitsudo_core::event::Event::PolicyRefused { cause: "x".repeat(1_000_000), errors: 1 };
        ledger.append(vec![stamp.entry(event)], jitsudo_ledger::Priority::Ordinary);
        wake.read().unwrap();
        assert!(ledger.finished().iter().all(|finished| finished.outcome.is_ok()));
    }
    dir
}

#[test]
fn sealed_segment_is_signed_by_its_name() {
    let ledger = long_ledger("long-ledger");
    let play = Play { memory: Some(Memory::Nothing), ledger: Some(ledger.to_path_buf()), ..allowed() };
    let scene = Scene::play("sealed", play);
    let Seen::Sign(head, _) = next(&scene) else { panic!("nothing to sign") };
    assert_eq!(head.segment, None);
    let Seen::Sign(seal, _) = next(&scene) else { panic!("no seal to sign") };
    assert_eq!((seal.segment.as_deref(), seal.seq, seal.hash), (Some("00000001.jsonl"), head.seq, head.hash));
    let text = recorded(&scene, "\"event\":\"segment_sealed\"");
    let line = text.lines().find(|line| line.contains("segment_sealed")).unwrap();
    assert!(line.contains("\"signed\":{\"host\":\"web-1\""), "{line}");
}

#[test]
fn older_spawner_is_not_asked_and_heads_go_unsigned() {
    let scene = Scene::play("older-spawner", allowed());
    assert!(is_given(&scene));
    let text = recorded(&scene, "\"event\":\"head_published\"");
    assert!(!text.contains("\"signed\""), "{text}");
    assert!(matches!(next(&scene), Seen::Start(..)) && scene.seen.try_recv().is_err());
}

#[test]
fn failing_signature_is_said_once_and_holds_nothing_up() {
    let trouble = SignOutcome::Failed("the host's key is gone".into());
    let scene = Scene::play("unsigned", Play { memory: Some(Memory::Nothing), on_sign: trouble, ..allowed() });
    assert!(matches!(next(&scene), Seen::Sign(..)));
    let text = recorded(&scene, "\"event\":\"head_published\"");
    assert!(!text.contains("\"signed\""), "{text}");
    assert!(is_given(&scene));
    assert_eq!(scene.client().ask_one(Ask::Status)["ledger"]["signed"]["trouble"], "the host's key is gone");
    scene.journal.set_nonblocking(true).unwrap();
    let (mut told, mut buffer) = (0, vec![0u8; 65_536]);
    while let Ok(length) = scene.journal.recv(&mut buffer) {
        told +=
            usize::from(String::from_utf8_lossy(&buffer[..length]).contains("is not signed: the host's key is gone"));
    }
    assert_eq!(told, 1);
}

#[test]
fn signature_for_another_host_is_not_ours() {
    let other = SignOutcome::Done(Box::new(signed("web-2")));
    let scene = Scene::play("other-host", Play { memory: Some(Memory::Nothing), on_sign: other, ..allowed() });
    let text = recorded(&scene, "\"event\":\"head_published\"");
    assert!(!text.contains("\"signed\""), "{text}");
}

#[test]
fn audit_log_04_older_ledger_gives_nothing_until_root_acknowledges() {
    let (ledger, lines) = used_ledger("older-ledger");
    let last = lines.last().unwrap().0;
    let play = Play { memory: memory(last + 100, &"ab".repeat(32)), ledger: Some(ledger.to_path_buf()), ..allowed() };
    let scene = Scene::play("older", play);
    let fault = refused_run(&scene);
    assert_eq!(fault.code, FaultCode::Ledger);
    let message = format!(
        "cannot give anything: the ledger was rolled back: event {} was signed, the last one here is {last}",
        last + 100
    );
    assert_eq!(fault.message, message);
    assert!(fault.hint.unwrap().contains("jitctl audit acknowledge"));
    recorded(&scene, "\"event\":\"rolled_back\"");
    let mut status = scene.client().ask_one(Ask::Status);
    while status["ledger"]["rolled_back"]["known"] != last + 100 {
        // On the disk, and not folded yet; a test that waits for ever is ended by its runner.
        status = scene.client().ask_one(Ask::Status);
    }
    assert_eq!(status["ledger"]["sound"], false);
    assert!(status["ledger"]["cause"].as_str().unwrap().contains("rolled back"));

    assert_eq!(acknowledge(&scene, " \n").unwrap_err().code, FaultCode::Malformed, "a reason is needed");
    let answer = acknowledge(&scene, "restored from the backup of monday").unwrap();
    loop {
        match next(&scene) {
            Seen::Acknowledge(wanted, uid, text) => {
                assert!(uid == own() && text.contains("\"event\":\"acknowledged\"") && text.contains(&wanted.hash));
                assert_eq!(answer[0]["acknowledged"]["seq"], wanted.seq);
                break;
            }
            Seen::Start(..) | Seen::Sign(..) => panic!("something was given or signed before the acknowledgement"),
            _ => {}
        }
    }
    assert!(is_given(&scene));
    assert_eq!(acknowledge(&scene, "again").unwrap_err().code, FaultCode::NotFound);
    let text = recorded(&scene, "restored from the backup of monday");
    assert_eq!(text.matches("\"event\":\"rolled_back\"").count(), 1);
}

#[test]
fn refusing_and_recording_go_on_while_nothing_is_given() {
    let (ledger, lines) = used_ledger("go-on");
    let mut play = Play {
        memory: memory(lines.len() as u64 + 100, &"ab".repeat(32)),
        ledger: Some(ledger.to_path_buf()),
        ..allowed()
    };
    super::samples::program(&mut play.facts, "/usr/bin/systemctl");
    let scene = Scene::play("goes-on", play);
    let client = scene.client();
    client.run(&["systemctl", "restart", "ssh"]);
    assert!(matches!(client.hear(), Some(FromDecider::Denied(_))));
    recorded(&scene, "\"allowed\":false");
}

#[test]
fn audit_log_04_exchanged_ledger_of_the_same_length_gives_nothing() {
    let (ledger, lines) = used_ledger("exchanged");
    for place in [lines.len() - 1, 0] {
        let play =
            Play { memory: memory(lines[place].0, &"ab".repeat(32)), ledger: Some(ledger.to_path_buf()), ..allowed() };
        let scene = Scene::play(&format!("exchanged-{place}"), play);
        assert!(refused_run(&scene).message.contains("and is another one here"));
    }
}

#[test]
fn roll_back_outlives_a_restart_and_a_memory_that_agrees() {
    let (ledger, lines) = used_ledger("outlives");
    let play = Play { memory: memory(lines[0].0, &"ab".repeat(32)), ledger: Some(ledger.to_path_buf()), ..allowed() };
    let mut scene = Scene::play("outlives-first", play);
    recorded(&scene, "\"event\":\"rolled_back\"");
    scene.end();
    let ledger = scene.folder.join("ledger");
    let play = Play { memory: memory(lines[0].0, &lines[0].1), ledger: Some(ledger), ..allowed() };
    let scene = Scene::play("outlives-second", play);
    assert!(refused_run(&scene).message.contains("another one here"));
    acknowledge(&scene, "looked at").unwrap();
    assert!(is_given(&scene));
}

#[test]
fn memory_that_cannot_be_read_gives_nothing_and_is_acknowledged_too() {
    let memory = Some(Memory::Unreadable("owned by uid 7".into()));
    let scene = Scene::play("unreadable", Play { memory, ..allowed() });
    assert!(refused_run(&scene).message.contains("cannot tell what was signed last: owned by uid 7"));
    acknowledge(&scene, "looked at").unwrap();
    assert!(is_given(&scene));
}

#[test]
fn acknowledgement_that_cannot_be_signed_gives_nothing() {
    let memory = Some(Memory::Unreadable("damaged".into()));
    let on_sign = SignOutcome::Failed("read-only file system".into());
    let scene = Scene::play("unsigned-word", Play { memory, on_sign, ..allowed() });
    let fault = acknowledge(&scene, "looked at").unwrap_err();
    assert!(fault.message.contains("read-only file system") && fault.hint.unwrap().contains("acknowledge again"));
    assert_eq!(refused_run(&scene).code, FaultCode::Ledger);
}

#[test]
fn peer_auth_08_only_root_acknowledges() {
    let scene = Scene::play("acknowledge-other", Play { root: own() + 1, has_spawner: false, ..Play::default() });
    assert_eq!(acknowledge(&scene, "let me").unwrap_err().code, FaultCode::Duty);
}
