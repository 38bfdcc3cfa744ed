//! Answers that were signed elsewhere: whose key made an SSH signature (`ssh-keygen -Y sign`, PROTOCOL.sshsig), and over exactly which
//! card. Pure: whoever calls brings the card, as it makes it by itself, and the keys, as the policy names them.
//!
//! MUSTs
//! 1. Only a key of the list counts, never the key that a signature brings along (`key_that_nobody_named_*`).
//! 2. A signature is for one card, in one namespace, to the byte (`each_golden_signature_tampered_once_proves_nothing`).
//! 3. A hardware key was touched; where the policy asks for it, it knew its owner as well (`touch_is_really_checked`, `pin_is_*`).
//! 4. RSA is by SHA-2, and by no key that is too short (`weak_key_*`).
//! 5. No bytes make it panic, and what is long is not looked at (`any_text_is_no_signature`, fuzz target `signed`).
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::fmt;

use jitsudo_core::approval::{ApprovalKey, KeyKind, SIGNATURE_NAMESPACE};
use ssh_key::public::KeyData;
use ssh_key::{Fingerprint, HashAlg, PublicKey, SshSig};

/// Longest file that is taken for a signature, bytes: one by an RSA key of 16384 bits has 6 KiB.
pub const MAX_SIGNATURE_BYTES: usize = 8 << 10;
const ARMOUR: (&str, &str) = ("-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----");
/// Letters in a line of the armour, as OpenSSH writes it.
const ARMOUR_COLUMNS: usize = 70;
/// Flags and counter at the end of a hardware key's signature.
const TRAILER_BYTES: usize = 5;
/// PROTOCOL.u2f: somebody touched it.
const TOUCHED: u8 = 1;
/// PROTOCOL.u2f: it knew who did, by a PIN or a finger.
const VERIFIED: u8 = 4;

/// An SSH signature that was read, and of which nothing is believed yet.
#[derive(Clone, Debug)]
pub struct Signature {
    signature: SshSig,
    /// The key that it says made it, encoded.
    key: Vec<u8>,
    line: String,
}

/// Why a signature proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotProved {
    /// It is no SSH signature.
    Malformed,
    /// It was made for something else than approvals.
    OtherNamespace,
    /// The policy names its key for nobody.
    UnknownKey,
    /// Its key may not approve: it is weak, or of another kind.
    UnfitKey,
    /// Its key signed something else than this card.
    OtherCard,
    /// Nobody touched the hardware key.
    NotTouched,
    /// The hardware key did not ask for the PIN, and the policy does.
    NotVerified,
}

impl fmt::Display for NotProved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is no SSH signature",
            Self::OtherNamespace => "it was made for something else than approvals (ssh-keygen -n jitsudo-approval@v1)",
            Self::UnknownKey => "its key is no approval key of anybody here",
            Self::UnfitKey => "its key is weak, or of a kind that does not count",
            Self::OtherCard => {
                "it signs another card: another request, host, answer or limit, or one that has changed since"
            }
            Self::NotTouched => "its hardware key was not touched",
            Self::NotVerified => "its hardware key did not ask for the PIN that the policy wants",
        })
    }
}
impl std::error::Error for NotProved {}

impl Signature {
    /// Reads the file that `ssh-keygen -Y sign` writes, or the base64 of it on one line.
    ///
    /// # Errors
    /// [`NotProved::Malformed`], and [`NotProved::OtherNamespace`].
    pub fn parse(text: &str) -> Result<Self, NotProved> {
        if text.len() > MAX_SIGNATURE_BYTES {
            return Err(NotProved::Malformed);
        }
        let text = text.trim();
        let body = text.strip_prefix(ARMOUR.0).and_then(|text| text.strip_suffix(ARMOUR.1)).unwrap_or(text);
        let line: String = body.split_ascii_whitespace().collect();
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        if line.is_empty() || !line.bytes().all(is_base64) {
            return Err(NotProved::Malformed);
        }
        let bytes = jitsudo_bytes::base64_decode(&line).ok_or(NotProved::Malformed)?;
        let parts = Parts::of(&bytes).ok_or(NotProved::Malformed)?;
        let lines = line.as_bytes().chunks(ARMOUR_COLUMNS).map(String::from_utf8_lossy);
        let body: String = lines.map(|line| format!("{line}\n")).collect();
        let armoured = format!("{}\n{body}{}\n", ARMOUR.0, ARMOUR.1);
        let signature = SshSig::from_pem(&armoured).map_err(|_| NotProved::Malformed)?;
        if parts.namespace != SIGNATURE_NAMESPACE.as_bytes() {
            return Err(NotProved::OtherNamespace);
        }
        Ok(Self { signature, key: parts.key.to_vec(), line })
    }

    /// Its base64 on one line, as it stands in the ledger.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The fingerprint of the key that it says made it, `SHA256:…`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        Fingerprint::new(HashAlg::Sha256, self.signature.public_key()).to_string()
    }

    /// True when it says that this key made it.
    #[must_use]
    pub fn is_by(&self, key: &ApprovalKey) -> bool {
        key.blob() == self.key
    }

    /// Proves that one of these keys, as the policy writes them, signed exactly this card; gives that key.
    ///
    /// # Errors
    /// [`NotProved`], by variant.
    pub fn prove<'a>(&self, keys: impl IntoIterator<Item = &'a str>, card: &str) -> Result<&'a str, NotProved> {
        let mut why = NotProved::UnknownKey;
        for line in keys {
            match ApprovalKey::parse(line) {
                Ok(key) if self.is_by(&key) => return self.prove_by(&key, card).map(|()| line),
                Ok(_) => {}
                // The compiler refuses such keys; a policy that has one all the same says nothing of the others.
                Err(_) if self.is_named_in(line) => why = NotProved::UnfitKey,
                Err(_) => {}
            }
        }
        Err(why)
    }

    fn is_named_in(&self, line: &str) -> bool {
        let mut blobs = line.split_ascii_whitespace().filter_map(jitsudo_bytes::base64_decode);
        blobs.any(|blob| blob == self.key)
    }

    fn prove_by(&self, key: &ApprovalKey, card: &str) -> Result<(), NotProved> {
        let public = as_ssh(key).ok_or(NotProved::UnfitKey)?;
        public.verify(SIGNATURE_NAMESPACE, card.as_bytes(), &self.signature).map_err(|_| NotProved::OtherCard)?;
        if !key.kind().is_hardware() {
            return Ok(());
        }
        // The crate proves that the flags are signed, and takes them whatever they say.
        let bytes = self.signature.signature_bytes();
        let flags = bytes.len().checked_sub(TRAILER_BYTES).and_then(|place| bytes.get(place)).copied().unwrap_or(0);
        if flags & TOUCHED == 0 {
            return Err(NotProved::NotTouched);
        }
        if key.needs_pin() && flags & VERIFIED == 0 {
            return Err(NotProved::NotVerified);
        }
        Ok(())
    }
}

/// The crate's form of it.
fn as_ssh(key: &ApprovalKey) -> Option<PublicKey> {
    let public = PublicKey::from_bytes(key.blob()).ok()?;
    let fits = matches!(
        (key.kind(), public.key_data()),
        (KeyKind::Ed25519, KeyData::Ed25519(_))
            | (KeyKind::Ecdsa, KeyData::Ecdsa(_))
            | (KeyKind::Rsa, KeyData::Rsa(_))
            | (KeyKind::HardwareEd25519, KeyData::SkEd25519(_))
            | (KeyKind::HardwareEcdsa, KeyData::SkEcdsaSha2NistP256(_))
    );
    fits.then_some(public)
}

/// A signature taken apart to the last byte: the crate's decoder passes over lengths that do not agree, and one signature has one form.
struct Parts<'a> {
    key: &'a [u8],
    namespace: &'a [u8],
}

impl<'a> Parts<'a> {
    /// PROTOCOL.sshsig, version 1; `None` for anything else.
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(b"SSHSIG\0\0\0\x01")?;
        let [key, namespace, reserved, _hash, mut signature] = strings(&mut rest)?;
        let [kind, _] = strings(&mut signature)?;
        let trailer = if kind.starts_with(b"sk-") { TRAILER_BYTES } else { 0 };
        let is_whole = rest.is_empty() && reserved.is_empty() && signature.len() == trailer;
        is_whole.then_some(Self { key, namespace })
    }
}

/// So many strings with their lengths in front, RFC 4251 section 5.
fn strings<'a, const COUNT: usize>(rest: &mut &'a [u8]) -> Option<[&'a [u8]; COUNT]> {
    let mut found = [&b""[..]; COUNT];
    for string in &mut found {
        let (length, after) = rest.split_first_chunk::<4>()?;
        (*string, *rest) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    }
    Some(found)
}
