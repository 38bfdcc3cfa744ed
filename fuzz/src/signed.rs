//! What anybody hands in as a signature, and what a policy has for a key.

use jitsudo_core::approval::ApprovalKey;
use jitsudo_signed::Signature;

/// The keys that signed the seeds, and what they signed.
const KEYS: [&str; 5] = [
    include_str!("../../signed/tests/golden/ed.pub"),
    include_str!("../../signed/tests/golden/ec.pub"),
    include_str!("../../signed/tests/golden/rsa.pub"),
    include_str!("../../signed/tests/golden/sk-ed25519.pub"),
    include_str!("../../signed/tests/golden/sk-ecdsa.pub"),
];
const CARD: &str = include_str!("../../signed/tests/golden/card");

/// A signature: what is read has one form, and what proves the card proves no other.
pub(crate) fn signed(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = ApprovalKey::parse(text) {
        assert!(key.kind().is_hardware() || !key.needs_pin(), "a plain key with a PIN");
    }
    let Ok(signature) = Signature::parse(text) else { return };
    let again = Signature::parse(signature.line()).expect("what was read can be read again");
    assert_eq!((again.line(), again.fingerprint()), (signature.line(), signature.fingerprint()));
    if signature.prove(KEYS, CARD).is_ok() {
        assert!(signature.prove(KEYS, &CARD.replacen("yes", "no", 1)).is_err(), "a yes is a no");
    }
}
