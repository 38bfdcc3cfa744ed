//! Signatures that `ssh-keygen -Y sign` of OpenSSH 9.2 made over `golden/card`, and (sk-…) such as a FIDO key makes, which `ssh-keygen -Y
//! verify` takes: each proves its card, and nothing else.
#![expect(clippy::panic, reason = "a test that cannot go on must fail")]

use std::path::Path;

use jitsudo_signed::{NotProved, Signature};
use proptest::prelude::*;

const GOOD: &[(&str, &str)] = &[
    ("ed", "ed"),
    ("ed", "ed.sha256"),
    ("ec", "ec"),
    ("rsa", "rsa"),
    ("sk-ed25519", "sk-ed25519.touch"),
    ("sk-ed25519", "sk-ed25519.pin"),
    ("sk-ecdsa", "sk-ecdsa.touch"),
    ("sk-ecdsa", "sk-ecdsa.pin"),
];

fn golden(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn key(name: &str) -> String {
    golden(&format!("{name}.pub")).trim().to_owned()
}

fn prove(keys: &[String], signature: &str, card: &str) -> Result<(), NotProved> {
    Signature::parse(signature)?.prove(keys.iter().map(String::as_str), card).map(|_| ())
}

#[test]
fn each_golden_signature_proves_its_card() {
    let card = golden("card");
    let all: Vec<String> = GOOD.iter().map(|(name, _)| key(name)).collect();
    for (name, signature) in GOOD {
        let signature = golden(&format!("{signature}.sig"));
        assert_eq!(prove(&[key(name)], &signature, &card), Ok(()), "{name}");
        assert_eq!(prove(&all, &signature, &card), Ok(()), "{name} among all");
        let read = Signature::parse(&signature).unwrap();
        assert_eq!(prove(&[key(name)], read.line(), &card), Ok(()), "as it stands in the ledger");
        assert!(read.fingerprint().starts_with("SHA256:"));
        let windows = signature.replace('\n', "\r\n");
        assert_eq!(prove(&[key(name)], &windows, &card), Ok(()), "sent through another system");
    }
}

#[test]
fn each_golden_signature_tampered_once_proves_nothing() {
    let card = golden("card");
    for (name, signature) in GOOD {
        let line = Signature::parse(&golden(&format!("{signature}.sig"))).unwrap().line().to_owned();
        let bytes = jitsudo_bytes::base64_decode(&line).unwrap();
        // An RSA key takes its time.
        for place in (0..bytes.len()).step_by(if *name == "rsa" { 23 } else { 1 }) {
            let mut tampered = bytes.clone();
            tampered[place] ^= 1;
            let tampered = jitsudo_bytes::base64_encode(&tampered);
            assert!(prove(&[key(name)], &tampered, &card).is_err(), "{name}: byte {place}");
        }
        for longer in [format!("{line}AAAA"), line[..line.len() - 4].to_owned()] {
            assert!(prove(&[key(name)], &longer, &card).is_err(), "{name}");
        }
    }
}

#[test]
fn each_line_of_a_card_changed_once_is_another_card() {
    let card = golden("card");
    let signature = golden("ed.sig");
    for line in 0..card.lines().count() {
        let changed: String = card
            .lines()
            .enumerate()
            .map(|(at, text)| format!("{text}{}\n", if at == line { "x" } else { "" }))
            .collect();
        assert_eq!(prove(&[key("ed")], &signature, &changed), Err(NotProved::OtherCard), "line {line}");
    }
    assert_eq!(prove(&[key("ed")], &golden("ed.other.sig"), &card), Err(NotProved::OtherCard), "a no is no yes");
    assert_eq!(prove(&[key("ed")], &signature, card.trim_end()), Err(NotProved::OtherCard));
}

#[test]
fn touch_is_really_checked() {
    let card = golden("card");
    for name in ["sk-ed25519", "sk-ecdsa"] {
        let signature = golden(&format!("{name}.no-touch.sig"));
        assert_eq!(prove(&[key(name)], &signature, &card), Err(NotProved::NotTouched), "{name}");
    }
    assert_eq!(prove(&[key("sk-ed25519")], &golden("sk-ed25519.pin-no-touch.sig"), &card), Err(NotProved::NotTouched));
}

#[test]
fn pin_is_asked_for_where_the_policy_does() {
    let card = golden("card");
    for name in ["sk-ed25519", "sk-ecdsa"] {
        let strict = format!("verify-required {}", key(name));
        let (touch, pin) = (golden(&format!("{name}.touch.sig")), golden(&format!("{name}.pin.sig")));
        assert_eq!(prove(std::slice::from_ref(&strict), &touch, &card), Err(NotProved::NotVerified), "{name}");
        assert_eq!(prove(&[strict], &pin, &card), Ok(()), "{name}");
    }
}

#[test]
fn weak_key_proves_nothing_even_where_a_policy_names_it() {
    let card = golden("card");
    assert_eq!(prove(&[key("weak")], &golden("weak.sig"), &card), Err(NotProved::UnfitKey));
    assert_eq!(prove(&[key("weak"), key("rsa")], &golden("rsa.sig"), &card), Ok(()));
}

#[test]
fn key_that_nobody_named_proves_nothing() {
    let card = golden("card");
    assert_eq!(prove(&[key("ec"), key("rsa")], &golden("ed.sig"), &card), Err(NotProved::UnknownKey));
    assert_eq!(prove(&[], &golden("ed.sig"), &card), Err(NotProved::UnknownKey));
}

#[test]
fn signature_for_something_else_proves_nothing() {
    assert_eq!(Signature::parse(&golden("ed.file.sig")).err(), Some(NotProved::OtherNamespace));
}

#[test]
fn what_is_no_signature_is_none() {
    let sound = golden("ed.sig");
    for text in
        ["", "\n", "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n", "AAAA", &key("ed"), &sound[1..]]
    {
        assert_eq!(Signature::parse(text).err(), Some(NotProved::Malformed), "{text:?}");
    }
    let long = format!("{sound}{}", "\n".repeat(jitsudo_signed::MAX_SIGNATURE_BYTES));
    assert_eq!(Signature::parse(&long).err(), Some(NotProved::Malformed));
}

proptest! {
    #[test]
    fn any_text_is_no_signature(text in ".{0,400}") {
        prop_assert!(Signature::parse(&text).is_err());
    }

    #[test]
    fn any_bytes_behind_the_preamble_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let whole = [&b"SSHSIG\0\0\0\x01"[..], &bytes].concat();
        let _ = prove(&[key("ed")], &jitsudo_bytes::base64_encode(&whole), "card");
    }
}
