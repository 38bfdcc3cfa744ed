//! Answers that were signed elsewhere: the card, whose signature counts, what is written, and what is refused. The spawner's own proof is
//! played; the host tests have both.

use jitsudo_core::facts::{Fact, Requester};
use jitsudo_core::name::{Gid, Uid};
use jitsudo_link::facts::Proved;
use jitsudo_link::spawner::ProofOutcome;
use jitsudo_protocol::client::{Ask, Denied, FaultCode, FromDecider, Order, Say};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{HashAlg, LineEnding, PrivateKey};

use super::grants::role;
use super::scene::{Caller, Play, Scene, Seen, ledger_text, next, rules};

const NAMESPACE: &str = "jitsudo-approval@v1";

/// A key of somebody's.
fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

fn line(seed: u8) -> String {
    key(seed).public_key().to_openssh().unwrap()
}

fn sign(seed: u8, namespace: &str, card: &str) -> String {
    key(seed).sign(namespace, HashAlg::Sha512, card.as_bytes()).unwrap().to_pem(LineEnding::LF).unwrap()
}

fn account(uid: u32, name: &str) -> Requester {
    let mut requester = super::samples::facts().requester;
    (requester.uid, requester.gid, requester.name) = (Uid(uid), Gid(uid), Fact::Is(name.to_owned()));
    (requester.loginuid, requester.login_name) = (Fact::Is(Some(Uid(uid))), Fact::Is(Some(name.to_owned())));
    (requester.groups, requester.process_groups) = (Fact::Is([].into()), Fact::Is([].into()));
    requester
}

/// bob must say yes, with key 2; alice asks, and has key 1; carol has key 3.
fn play() -> Play {
    let person = |name: &str, seed: u8| {
        format!("[people.{name}]\naccounts = [\"{name}\"]\napproval-keys = [\"{}\"]\n", line(seed))
    };
    let people = [person("alice", 1), person("bob", 2), person("carol", 3)].concat();
    let policy =
        rules("grant = \"role\"\n[allow.approval]\nby = [\"bob\", \"alice\"]\nanswer-by = \"10m\"\n") + &people;
    let done = |seed: u8, uid: u32, name: &str| {
        let proved = Proved { key: line(seed), accounts: vec![account(uid, name)] };
        (name.to_owned(), ProofOutcome::Done(Box::new(proved)))
    };
    let on_proof = vec![done(1, 1000, "alice"), done(2, 1002, "bob"), done(3, 1003, "carol")];
    let mut play = Play { policy: Some(policy), on_proof, ..Play::default() };
    play.facts.requester.loginuid = Fact::Is(Some(Uid(1000)));
    play
}

fn waiting(scene: &Scene) -> (Caller, String) {
    let client = scene.client();
    client.run_act(&role("ids"));
    match client.hear() {
        Some(FromDecider::Waiting(waiting)) => (client, waiting.id),
        other => panic!("it does not wait but {other:?}"),
    }
}

fn card(scene: &Scene, id: &str, no: Option<&str>, window: Option<u64>) -> String {
    let ask = Ask::CardToSign { id: id.to_owned(), no: no.map(str::to_owned), window };
    scene.client().ask_one(ask)["card"].as_str().unwrap().to_owned()
}

fn hand_in(scene: &Scene, id: &str, signature: &str, window: Option<u64>) -> Option<FromDecider> {
    let client = scene.client();
    client.say(Say::Order(Order::ApproveSigned { id: id.to_owned(), signature: signature.to_owned(), window }));
    client.hear()
}

fn denied(answer: Option<FromDecider>) -> Denied {
    match answer {
        Some(FromDecider::Denied(denied)) => denied,
        other => panic!("no denial but {other:?}"),
    }
}

/// Refused, told, and in the ledger by these words.
fn refused(scene: &Scene, id: &str, (signature, window): (&str, Option<u64>), why: &str) {
    let denied = denied(hand_in(scene, id, signature, window));
    assert!(denied.headline == "not approved" && denied.detail[0].contains(why), "{why}: {denied:?}");
    let record = denied.id.unwrap();
    for _ in 0..400 {
        let ledger = ledger_text(&scene.folder.join("ledger"));
        if ledger.lines().any(|line| line.contains(&record) && line.contains(why) && line.contains("\"allowed\":false"))
        {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    panic!("not in the ledger: {why}");
}

#[test]
fn signed_yes_counts_once_both_proved_it_and_who_handed_it_in_is_on_record() {
    let scene = Scene::play("signed", play());
    let (client, id) = waiting(&scene);
    let card = card(&scene, &id, None, Some(600));
    for expected in ["answer yes\n", "host web-1\n", "requester uid ", "role ids\n", "at-most 600 s\n", "\nnonce "] {
        assert!(card.contains(expected), "{expected}: {card}");
    }
    let signature = sign(2, NAMESPACE, &card);
    let answer = hand_in(&scene, &id, &signature, Some(600));
    let Some(FromDecider::Answer { items, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!((&items[0]["by"], &items[0]["enough"]), (&"bob".into(), &true.into()));
    let (start, ledger) = loop {
        if let Seen::Start(start, _, ledger) = next(&scene.seen) {
            break (start, ledger);
        }
    };
    // Ledger first: who signed, with what, and who handed it in.
    assert!(start.approved.is_some());
    let approved = ledger.lines().find(|line| line.contains("\"event\":\"approved\"")).unwrap();
    let approved: serde_json::Value = serde_json::from_str(approved).unwrap();
    assert_eq!((&approved["user"], &approved["proof"]), (&"bob".into(), &"signed".into()));
    assert_eq!(approved["signed"]["card"], card.as_str());
    assert_eq!(approved["limits"]["window"], 600);
    assert_ne!(approved["actor"]["uid"], 1002);
    while let Some(answer) = client.hear() {
        if matches!(answer, FromDecider::HandOver { .. }) {
            break;
        }
    }
    refused(&scene, &id, (&signature, Some(600)), "its answers were used already");
}

#[test]
fn forged_and_stale_signatures_are_refused_and_the_ledger_says_why() {
    let scene = Scene::play("forged", play());
    let (client, id) = waiting(&scene);
    let yes = card(&scene, &id, None, None);
    let no = card(&scene, &id, Some("busy"), None);
    let by_bob = sign(2, NAMESPACE, &yes);
    refused(&scene, &id, ("x", None), "no SSH signature");
    refused(&scene, &id, (&sign(2, "file", &yes), None), "made for something else");
    refused(&scene, &id, (&sign(9, NAMESPACE, &yes), None), "no approval key of anybody");
    refused(&scene, &id, (&sign(2, NAMESPACE, &no), None), "signs another card");
    refused(&scene, &id, (&by_bob, Some(60)), "signs another card");
    for (line, other) in [("host web-1", "host web-2"), ("role ids", "role all"), ("until 2", "until 3")] {
        assert!(yes.contains(line));
        refused(&scene, &id, (&sign(2, NAMESPACE, &yes.replace(line, other)), None), "signs another card");
    }
    refused(&scene, &id, (&sign(1, NAMESPACE, &yes), None), "who signed it asked for it");
    refused(&scene, &id, (&sign(3, NAMESPACE, &yes), None), "who signed it is not asked");
    let (_other, second) = waiting(&scene);
    refused(&scene, &second, (&by_bob, None), "signs another card");
    refused(&scene, "01jd0000000000000000000000", (&by_bob, None), "nothing of that id");
    client.say(Say::GiveUp);
    while let Some(answer) = client.hear() {
        if matches!(answer, FromDecider::Denied(_)) {
            break;
        }
    }
    // What became of it is known once that is written.
    let stage = || scene.client().ask_one(Ask::Show { id: id.clone() })["stage"].as_str().map(str::to_owned);
    for _ in 0..400 {
        if stage().as_deref() == Some("withdrawn") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    refused(&scene, &id, (&by_bob, None), "it was withdrawn");
    assert!(!scene.events().contains(&"approved".to_owned()), "{:?}", scene.events());
}

#[test]
fn spawner_that_proves_nothing_has_the_last_word() {
    let on_proof = vec![("bob".to_owned(), ProofOutcome::Refused("what was signed was used already".to_owned()))];
    let scene = Scene::play("disagree", Play { on_proof, ..play() });
    let (_client, id) = waiting(&scene);
    let signature = sign(2, NAMESPACE, &card(&scene, &id, None, None));
    refused(&scene, &id, (&signature, None), "used already");
    let old = Scene::play("older-prover", Play { on_proof: Vec::new(), ..play() });
    let (_client, id) = waiting(&old);
    let signature = sign(2, NAMESPACE, &card(&old, &id, None, None));
    let answer = hand_in(&old, &id, &signature, None);
    assert!(matches!(answer, Some(FromDecider::Fault(fault)) if fault.code == FaultCode::NotSupported));
    assert!(!old.events().contains(&"approved".to_owned()));
}

#[test]
fn signed_no_ends_it_for_the_reason_that_was_signed() {
    let scene = Scene::play("signed-no", play());
    let (client, id) = waiting(&scene);
    let signature = sign(2, NAMESPACE, &card(&scene, &id, Some("not today"), None));
    let refuse = |reason: &str| {
        let caller = scene.client();
        let (reason, signature) = (reason.to_owned(), Some(signature.clone()));
        caller.say(Say::Order(Order::Refuse { id: id.clone(), reason, signature }));
        caller.hear()
    };
    assert!(denied(refuse("another reason")).detail[0].contains("signs another card"));
    let answer = refuse("not today");
    assert!(matches!(answer, Some(FromDecider::Answer { items, .. }) if items[0]["by"] == "bob"));
    let over = denied(client.hear());
    assert!(over.by_person && over.headline == "bob said no: not today", "{over:?}");
}

#[test]
fn approval_11_long_or_odd_answers_are_turned_away_unread() {
    let scene = Scene::play("long-answer", play());
    let (_client, id) = waiting(&scene);
    let faulty = |answer: Option<FromDecider>| {
        assert!(matches!(&answer, Some(FromDecider::Fault(fault)) if fault.code == FaultCode::Malformed), "{answer:?}");
    };
    faulty(hand_in(&scene, &id, &"A".repeat(9000), None));
    faulty(hand_in(&scene, &"x".repeat(65), "A", None));
    faulty(hand_in(&scene, &id, "A", Some(0)));
}
