//! Keys: Ed25519 alone, in OpenSSH's forms.

use std::fmt;

use ssh_key::private::Ed25519Keypair;
use ssh_key::{Algorithm, Fingerprint, HashAlg, LineEnding, PrivateKey, SshSig};

use crate::statement::{NAMESPACE, Statement, UnfitError};

const ARMOUR: (&str, &str) = ("-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----");
/// Letters in a line of the armour, as OpenSSH writes it.
const ARMOUR_COLUMNS: usize = 70;
/// Longest signature that is looked at, letters; one of Ed25519 has 252.
const MAX_SIGNATURE_LETTERS: usize = 4096;

/// A host's key with its secret half. Its memory is wiped when it is dropped.
pub struct HostKey(PrivateKey);

/// The half that everybody may have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicKey(ssh_key::PublicKey);

/// Why a text is no key of a host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyError {
    /// It cannot be read as OpenSSH's form; in words.
    Malformed(String),
    /// It is of another kind than Ed25519.
    Kind(String),
    /// It asks for a passphrase.
    Encrypted,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "it is no key in OpenSSH's form: {why}"),
            Self::Kind(kind) => write!(f, "it is a key of kind {kind}, not ssh-ed25519"),
            Self::Encrypted => f.write_str("it is locked by a passphrase"),
        }
    }
}
impl std::error::Error for KeyError {}

/// Why a signature does not prove a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProofError {
    /// It is no SSH signature.
    Malformed,
    /// It was made by another key.
    OtherKey {
        /// That key's fingerprint.
        by: String,
    },
    /// It was made for something else than ledgers.
    OtherNamespace,
    /// The key signed something else.
    OtherStatement,
    /// Nobody can have signed such a statement.
    Unfit(UnfitError),
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("its signature cannot be read"),
            Self::OtherKey { by } => write!(f, "it was signed by another key, {by}"),
            Self::OtherNamespace => f.write_str("its signature was made for something else"),
            Self::OtherStatement => f.write_str("its signature is of something else than it says"),
            Self::Unfit(error) => error.fmt(f),
        }
    }
}
impl std::error::Error for ProofError {}

impl HostKey {
    /// The key of 32 random bytes; the name stands in both halves as a comment.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32], name: &str) -> Self {
        let mut key = PrivateKey::from(Ed25519Keypair::from_seed(seed));
        key.set_comment(name);
        Self(key)
    }

    /// Reads OpenSSH's private form.
    ///
    /// # Errors
    /// [`KeyError`], by variant.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let key = PrivateKey::from_openssh(text).map_err(|error| KeyError::Malformed(error.to_string()))?;
        if key.is_encrypted() {
            return Err(KeyError::Encrypted);
        }
        only_ed25519(&key.algorithm())?;
        Ok(Self(key))
    }

    /// OpenSSH's private form, not encrypted; the caller wipes it.
    ///
    /// # Errors
    /// [`KeyError::Malformed`], which no key that was made or read here gives.
    pub fn to_text(&self) -> Result<impl AsRef<str> + use<>, KeyError> {
        struct Text<T>(T);
        impl<T: std::ops::Deref<Target = String>> AsRef<str> for Text<T> {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        let text = self.0.to_openssh(LineEnding::LF);
        text.map(Text).map_err(|error| KeyError::Malformed(error.to_string()))
    }

    /// Its other half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key().clone())
    }

    /// Signs: base64 on one line.
    ///
    /// # Errors
    /// [`UnfitError`] for a statement that has no bytes.
    pub fn sign(&self, statement: &Statement<'_>) -> Result<String, UnfitError> {
        let text = statement.text()?;
        let unfit = |_| UnfitError { field: "signature" };
        let signature = self.0.sign(NAMESPACE, HashAlg::Sha512, text.as_bytes()).map_err(unfit)?;
        let armoured = signature.to_pem(LineEnding::LF).map_err(unfit)?;
        Ok(armoured.lines().filter(|line| !line.starts_with("-----")).collect())
    }
}

impl PublicKey {
    /// Reads OpenSSH's public form: `ssh-ed25519 AAAA… comment`.
    ///
    /// # Errors
    /// [`KeyError`], by variant.
    pub fn parse(line: &str) -> Result<Self, KeyError> {
        let key =
            ssh_key::PublicKey::from_openssh(line.trim()).map_err(|error| KeyError::Malformed(error.to_string()))?;
        only_ed25519(&key.algorithm())?;
        Ok(Self(key))
    }

    /// OpenSSH's public form, without a line break.
    ///
    /// # Errors
    /// [`KeyError::Malformed`], which no key that was made or read here gives.
    pub fn to_line(&self) -> Result<String, KeyError> {
        self.0.to_openssh().map_err(|error| KeyError::Malformed(error.to_string()))
    }

    /// `SHA256:…`, as ssh-keygen -l shows it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// True when it has the same key, whatever the comments say.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0.key_data() == other.0.key_data()
    }

    /// Proves that this key made this statement.
    ///
    /// # Errors
    /// [`ProofError`], by variant.
    pub fn prove(&self, statement: &Statement<'_>, signature: &str) -> Result<(), ProofError> {
        let text = statement.text().map_err(ProofError::Unfit)?;
        let given = armoured(signature)?;
        let signature = SshSig::from_pem(&given).map_err(|_| ProofError::Malformed)?;
        // One signature has one form: the decoder passes over lengths that do not agree.
        if signature.to_pem(LineEnding::LF).as_deref() != Ok(&given) {
            return Err(ProofError::Malformed);
        }
        if signature.public_key() != self.0.key_data() {
            let by = Fingerprint::new(HashAlg::Sha256, signature.public_key()).to_string();
            return Err(ProofError::OtherKey { by });
        }
        if signature.namespace() != NAMESPACE {
            return Err(ProofError::OtherNamespace);
        }
        self.0.verify(NAMESPACE, text.as_bytes(), &signature).map_err(|_| ProofError::OtherStatement)
    }
}

fn only_ed25519(kind: &Algorithm) -> Result<(), KeyError> {
    if *kind == Algorithm::Ed25519 { Ok(()) } else { Err(KeyError::Kind(kind.to_string())) }
}

/// The armour around the one line of base64 that stands in the ledger.
fn armoured(signature: &str) -> Result<String, ProofError> {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    if signature.len() > MAX_SIGNATURE_LETTERS || !signature.as_bytes().iter().all(is_base64) {
        return Err(ProofError::Malformed);
    }
    let lines = signature.as_bytes().chunks(ARMOUR_COLUMNS).map(String::from_utf8_lossy);
    let body: String = lines.map(|line| format!("{line}\n")).collect();
    Ok(format!("{}\n{body}{}\n", ARMOUR.0, ARMOUR.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::Covers;
    use proptest::prelude::*;

    const HASH: &str = "9c1f00000000000000000000000000000000000000000000000000000000abcd";

    fn key(seed: u8) -> HostKey {
        HostKey::from_seed(&[seed; 32], "web-1")
    }

    fn statement(key: &str) -> Statement<'_> {
        Statement { host: "web-1", key, covers: Covers::Head, seq: 812, hash: HASH, at: "2026-10-04T10:15:00Z" }
    }

    #[test]
    fn key_survives_being_written_and_read() {
        let key = key(7);
        let again = HostKey::parse(key.to_text().unwrap().as_ref()).unwrap();
        assert!(again.public().is(&key.public()));
        let line = key.public().to_line().unwrap();
        assert!(line.starts_with("ssh-ed25519 AAAA") && line.ends_with(" web-1") && !line.contains('\n'), "{line}");
        assert_eq!(PublicKey::parse(&format!("{line}\n")).unwrap().fingerprint(), key.public().fingerprint());
        assert!(key.public().fingerprint().starts_with("SHA256:"));
    }

    #[test]
    fn what_is_no_ed25519_key_is_refused() {
        assert!(matches!(HostKey::parse(""), Err(KeyError::Malformed(_))));
        let cut: String = key(1).to_text().unwrap().as_ref().chars().take(200).collect();
        assert!(matches!(HostKey::parse(&cut), Err(KeyError::Malformed(_))));
        let rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7 x";
        assert!(PublicKey::parse(rsa).is_err());
    }

    #[test]
    fn audit_log_04_head_signed_by_another_key_is_named() {
        let (ours, theirs) = (key(1), key(2));
        let name = ours.public().fingerprint();
        let signature = theirs.sign(&statement(&name)).unwrap();
        let error = ours.public().prove(&statement(&name), &signature).unwrap_err();
        assert_eq!(error, ProofError::OtherKey { by: theirs.public().fingerprint() });
    }

    #[test]
    fn changed_statement_proves_nothing() {
        let key = key(1);
        let (name, public) = (key.public().fingerprint(), key.public());
        let sound = statement(&name);
        let signature = key.sign(&sound).unwrap();
        assert_eq!(public.prove(&sound, &signature), Ok(()));
        let hash = HASH.replace('9', "8");
        for other in [
            Statement { host: "web-2", ..sound },
            Statement { seq: 811, ..sound },
            Statement { hash: &hash, ..sound },
            Statement { at: "2026-10-04T10:15:01Z", ..sound },
            Statement { covers: Covers::Segment("00000001.jsonl"), ..sound },
            Statement { key: "SHA256:x", ..sound },
        ] {
            assert_eq!(public.prove(&other, &signature), Err(ProofError::OtherStatement), "{other:?}");
        }
    }

    #[test]
    fn signature_for_something_else_proves_nothing() {
        let key = key(1);
        let name = key.public().fingerprint();
        let text = statement(&name).text().unwrap();
        let signature = key.0.sign("file", HashAlg::Sha512, text.as_bytes()).unwrap().to_pem(LineEnding::LF).unwrap();
        let line: String = signature.lines().filter(|line| !line.starts_with('-')).collect();
        assert_eq!(key.public().prove(&statement(&name), &line), Err(ProofError::OtherNamespace));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn damaged_signature_never_proves_and_never_panics(place in 0usize..252, letter in "[A-Za-z0-9+/=\n]") {
            let key = key(1);
            let name = key.public().fingerprint();
            let signature = key.sign(&statement(&name)).unwrap();
            let mut damaged = signature.clone();
            damaged.replace_range(place..=place, &letter);
            if damaged != signature {
                prop_assert!(key.public().prove(&statement(&name), &damaged).is_err());
            }
        }

        #[test]
        fn any_text_is_no_signature(text in ".{0,400}") {
            let key = key(1);
            prop_assert!(key.public().prove(&statement(&key.public().fingerprint()), &text).is_err());
        }
    }
}
