//! Keys that sign answers, as a policy writes them: which kinds there are, and that each is whole and strong enough.
//!
//! MUSTs
//! 1. A key that is weak, cut, or of a kind that is not verified here is no key at all (`weak_or_damaged_key_is_none`).
//! 2. Nobody's word makes the touch of a hardware key needless (`touch_cannot_be_waived`).

use std::fmt;

/// Fewest bits of an RSA key.
pub const MIN_RSA_BITS: usize = 3072;
/// Most bits of an RSA key: more takes long to verify.
const MAX_RSA_BITS: usize = 16_384;
/// Most keys of one person.
pub const MAX_KEYS: usize = 16;
/// Longest key, bytes of its encoding.
const MAX_KEY_BYTES: usize = 4096;
/// authorized_keys(5)'s word: the key's owner proves to the key who they are, by a PIN or a finger.
const VERIFY_REQUIRED: &str = "verify-required";

/// Kinds of keys whose signatures are verified here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyKind {
    /// `ssh-ed25519`
    Ed25519,
    /// `ecdsa-sha2-nistp256`
    Ecdsa,
    /// `ssh-rsa`, of at least [`MIN_RSA_BITS`].
    Rsa,
    /// `sk-ssh-ed25519@openssh.com`
    HardwareEd25519,
    /// `sk-ecdsa-sha2-nistp256@openssh.com`
    HardwareEcdsa,
}

impl KeyKind {
    /// All of them, with their names.
    const ALL: [(Self, &'static str); 5] = [
        (Self::Ed25519, "ssh-ed25519"),
        (Self::Ecdsa, "ecdsa-sha2-nistp256"),
        (Self::Rsa, "ssh-rsa"),
        (Self::HardwareEd25519, "sk-ssh-ed25519@openssh.com"),
        (Self::HardwareEcdsa, "sk-ecdsa-sha2-nistp256@openssh.com"),
    ];

    /// A FIDO key: it says whether it was touched, and whether it knew who did.
    #[must_use]
    pub const fn is_hardware(self) -> bool {
        matches!(self, Self::HardwareEd25519 | Self::HardwareEcdsa)
    }
}

/// A key that signs answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApprovalKey {
    kind: KeyKind,
    blob: Vec<u8>,
    needs_pin: bool,
}

/// Why a text is no such key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyError {
    /// It has not the form `TYPE BASE64 COMMENT`, or is cut.
    Malformed,
    /// A word in front of it that is not known.
    Option(String),
    /// Signatures of this kind are not verified here.
    Kind(String),
    /// An RSA key of so many bits.
    Weak(usize),
    /// `verify-required` of a key that has no such flag.
    NoFlag,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("it is not a whole public key"),
            Self::Option(word) => write!(f, "{word:?} is no option of such a key"),
            Self::Kind(kind) => write!(f, "signatures of {kind:?} keys are not verified here"),
            Self::Weak(bits) => write!(f, "an RSA key of {bits} bits is not from {MIN_RSA_BITS} to {MAX_RSA_BITS}"),
            Self::NoFlag => write!(f, "{VERIFY_REQUIRED} is for hardware keys (sk-…)"),
        }
    }
}
impl std::error::Error for KeyError {}

impl ApprovalKey {
    /// Reads `[verify-required] TYPE BASE64 [COMMENT]`.
    ///
    /// ```
    /// use jitsudo_core::approval::ApprovalKey;
    /// let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl carol";
    /// assert!(ApprovalKey::parse(line).is_ok_and(|key| !key.kind().is_hardware() && !key.needs_pin()));
    /// assert!(ApprovalKey::parse("ssh-dss AAAA carol").is_err());
    /// ```
    ///
    /// # Errors
    /// [`KeyError`], by variant.
    pub fn parse(line: &str) -> Result<Self, KeyError> {
        let kind_of = |word: &str| KeyKind::ALL.into_iter().find(|(_, name)| *name == word);
        let mut words = line.split_ascii_whitespace();
        let first = words.next().ok_or(KeyError::Malformed)?;
        let needs_pin = first == VERIFY_REQUIRED;
        let name = if needs_pin { words.next().ok_or(KeyError::Malformed)? } else { first };
        let Some((kind, name)) = kind_of(name) else {
            let is_option = words.clone().next().is_some_and(|next| kind_of(next).is_some());
            let word = name.chars().take(64).collect();
            return Err(if is_option { KeyError::Option(word) } else { KeyError::Kind(word) });
        };
        let text = words.next().ok_or(KeyError::Malformed)?;
        if text.len() > MAX_KEY_BYTES.saturating_mul(2) || line.contains(['\n', '\r', '\0']) {
            return Err(KeyError::Malformed);
        }
        let blob = jitsudo_bytes::base64_decode(text).ok_or(KeyError::Malformed)?;
        if needs_pin && !kind.is_hardware() {
            return Err(KeyError::NoFlag);
        }
        check(kind, name, &blob)?;
        Ok(Self { kind, blob, needs_pin })
    }

    /// Which kind.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The key as RFC 4253 and PROTOCOL.u2f encode it: what identifies it, without options and comment.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The policy asks for its owner's PIN (or finger) with each signature.
    #[must_use]
    pub const fn needs_pin(&self) -> bool {
        self.needs_pin
    }
}

/// That the encoding is that of a whole key of this kind and no more.
fn check(kind: KeyKind, name: &str, blob: &[u8]) -> Result<(), KeyError> {
    let mut rest = Reader(blob);
    let is = |found: &[u8], wanted: &[u8]| if found == wanted { Ok(()) } else { Err(KeyError::Malformed) };
    if blob.len() > MAX_KEY_BYTES {
        return Err(KeyError::Malformed);
    }
    is(rest.string()?, name.as_bytes())?;
    let mut weak = None;
    match kind {
        KeyKind::Ed25519 | KeyKind::HardwareEd25519 => {
            if rest.string()?.len() != 32 {
                return Err(KeyError::Malformed);
            }
        }
        KeyKind::Ecdsa | KeyKind::HardwareEcdsa => {
            is(rest.string()?, b"nistp256")?;
            if !matches!(rest.string()?, [4, point @ ..] if point.len() == 64) {
                return Err(KeyError::Malformed);
            }
        }
        KeyKind::Rsa => {
            rest.string()?;
            let bits = bits(rest.string()?)?;
            weak = (!(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits)).then_some(bits);
        }
    }
    if kind.is_hardware() && rest.string()?.is_empty() {
        return Err(KeyError::Malformed);
    }
    is(rest.0, b"")?;
    weak.map_or(Ok(()), |bits| Err(KeyError::Weak(bits)))
}

/// Bits of a positive number in RFC 4251's form.
fn bits(number: &[u8]) -> Result<usize, KeyError> {
    let number = match number {
        [0, rest @ ..] if rest.first().is_some_and(|byte| *byte >= 0x80) => rest,
        [first, ..] if (1..0x80).contains(first) => number,
        _ => return Err(KeyError::Malformed),
    };
    let leading = number.first().map_or(0, |first| first.leading_zeros());
    Ok((number.len() * 8).saturating_sub(usize::try_from(leading).unwrap_or(0)))
}

/// Strings with their length in front, RFC 4251 section 5.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn string(&mut self) -> Result<&'a [u8], KeyError> {
        let (length, rest) = self.0.split_first_chunk::<4>().ok_or(KeyError::Malformed)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| KeyError::Malformed)?;
        let (string, rest) = rest.split_at_checked(length).ok_or(KeyError::Malformed)?;
        self.0 = rest;
        Ok(string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(strings: &[&[u8]]) -> String {
        let length = |string: &[u8]| u32::try_from(string.len()).unwrap().to_be_bytes();
        let bytes: Vec<u8> = strings.iter().flat_map(|string| [&length(string), *string].concat()).collect();
        jitsudo_bytes::base64_encode(&bytes)
    }

    fn rsa(bits: usize) -> String {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] = 0xff >> (modulus.len() * 8 - bits);
        if modulus[0] >= 0x80 {
            modulus.insert(0, 0);
        }
        format!("ssh-rsa {} carol", encoded(&[b"ssh-rsa", &[1, 0, 1], &modulus]))
    }

    #[test]
    fn each_kind_is_read() {
        let point = [&[4u8][..], &[7; 64]].concat();
        let (ed, ec) = ("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com");
        let plain_ec = "ecdsa-sha2-nistp256";
        for (kind, name, blob) in [
            (KeyKind::Ed25519, "ssh-ed25519", encoded(&[b"ssh-ed25519", &[7; 32]])),
            (KeyKind::Ecdsa, plain_ec, encoded(&[plain_ec.as_bytes(), b"nistp256", &point])),
            (KeyKind::HardwareEd25519, ed, encoded(&[ed.as_bytes(), &[7; 32], b"ssh:"])),
            (KeyKind::HardwareEcdsa, ec, encoded(&[ec.as_bytes(), b"nistp256", &point, b"ssh:"])),
        ] {
            let key = ApprovalKey::parse(&format!("{name} {blob}")).unwrap();
            assert_eq!((key.kind(), key.needs_pin()), (kind, false));
            let pin = ApprovalKey::parse(&format!("verify-required {name} {blob} a comment"));
            if kind.is_hardware() {
                assert!(pin.is_ok_and(|pin| pin.needs_pin() && pin.blob() == key.blob()));
            } else {
                assert_eq!(pin, Err(KeyError::NoFlag));
            }
        }
        for bits in [3072, 4096, 3073, 16_384] {
            assert_eq!(ApprovalKey::parse(&rsa(bits)).unwrap().kind(), KeyKind::Rsa, "{bits}");
        }
    }

    #[test]
    fn weak_or_damaged_key_is_none() {
        for bits in [1024, 2048, 3071, 16_385] {
            assert_eq!(ApprovalKey::parse(&rsa(bits)), Err(KeyError::Weak(bits)));
        }
        let ed = |strings: &[&[u8]]| format!("ssh-ed25519 {}", encoded(strings));
        for text in [
            "".to_owned(),
            "ssh-ed25519".to_owned(),
            "ssh-ed25519 AAAA".to_owned(),
            ed(&[b"ssh-ed25519", &[7; 31]]),
            ed(&[b"ssh-ed25519", &[7; 32], b"more"]),
            ed(&[b"ssh-rsa", &[7; 32]]),
            format!("{}\nssh-ed25519 AAAA", ed(&[b"ssh-ed25519", &[7; 32]])),
            format!("ssh-rsa {}", encoded(&[b"ssh-rsa", &[1, 0, 1], &[]])),
            format!("ssh-rsa {}", encoded(&[b"ssh-rsa", &[1, 0, 1], &[0x80; 512]])),
        ] {
            assert_eq!(ApprovalKey::parse(&text), Err(KeyError::Malformed), "{text}");
        }
        assert!(matches!(ApprovalKey::parse("ssh-dss AAAA"), Err(KeyError::Kind(_))));
        assert!(matches!(ApprovalKey::parse("ecdsa-sha2-nistp384 AAAA"), Err(KeyError::Kind(_))));
        assert!(matches!(ApprovalKey::parse("ssh-ed25519-cert-v01@openssh.com AAAA"), Err(KeyError::Kind(_))));
    }

    #[test]
    fn touch_cannot_be_waived() {
        let name = "sk-ssh-ed25519@openssh.com";
        let line = format!("no-touch-required {name} {}", encoded(&[name.as_bytes(), &[7; 32], b"ssh:"]));
        assert_eq!(ApprovalKey::parse(&line), Err(KeyError::Option("no-touch-required".to_owned())));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(verify-required )?(ssh-rsa|ssh-ed25519|sk-ssh-ed25519@openssh.com|x) [A-Za-z0-9+/=]{0,80}.{0,9}") {
            let _ = ApprovalKey::parse(&text);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..120), cut in 0usize..60) {
            let mut whole = [&[0u8, 0, 0, 11][..], b"ssh-ed25519", &bytes].concat();
            whole.truncate(whole.len().saturating_sub(cut));
            let _ = ApprovalKey::parse(&format!("ssh-ed25519 {}", jitsudo_bytes::base64_encode(&whole)));
        }
    }
}
