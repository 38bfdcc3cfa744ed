//! The signatures in a ledger: which seals and heads are signed, by whom, and which prove nothing.
//!
//! MUSTs
//! 1. A signature counts only for the host that its line names, by a key that was given (`head_of_another_host_*`, `head_by_another_key_*`).
//! 2. What it was made of is compared with the chain: the caller does that with [`Signatures::heads`] (`head_with_a_wrong_number_*`).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jitsudo_core::event::{Event, Signed};
use jitsudo_ledger::Head;
use jitsudo_seal::{Covers, PublicKey, Statement};
use serde::Deserialize;

use crate::failure::Failure;

/// This host's public key.
const KEY: &str = "/var/lib/jitsudo/host.pub";
/// The newest head that this host's key signed, root's file.
const MEMORY: &str = "/var/lib/jitsudo/head";

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Signatures {
    /// Sealed segments.
    pub(crate) seals: Count,
    /// Published heads.
    pub(crate) heads_told: Count,
    /// How many each key signed, by fingerprint.
    pub(crate) keys: BTreeMap<String, u64>,
    /// Signed, and no key was at hand to prove it with.
    pub(crate) unproved: u64,
    /// Line that holds it, and why it proves nothing.
    pub(crate) bad: Vec<(u64, String)>,
    /// What was signed: to be found in the chain.
    pub(crate) heads: Vec<Head>,
}

/// Of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Count {
    /// All of them.
    pub(crate) all: u64,
    /// Those with a signature that proves them.
    pub(crate) proved: u64,
    /// The newest without a signature: its line.
    pub(crate) unsigned: Option<u64>,
}

/// A line that carries a signature, or should.
#[derive(Deserialize)]
struct Said {
    host: String,
    #[serde(flatten)]
    event: Event,
}

impl Signatures {
    /// True when no signature is bad.
    pub(crate) fn are_sound(&self) -> bool {
        self.bad.is_empty()
    }

    fn take(&mut self, seq: u64, said: &Said, keys: &[PublicKey]) {
        let (covers, count, number, hash, signed) = match &said.event {
            Event::SegmentSealed { segment, last_seq, head, signed } => {
                (Covers::Segment(segment), &mut self.seals, *last_seq, head, signed)
            }
            Event::HeadPublished { head_seq, head, signed } => {
                (Covers::Head, &mut self.heads_told, *head_seq, head, signed)
            }
            _ => return,
        };
        count.all += 1;
        let Some(signed) = signed else {
            count.unsigned = Some(seq);
            return;
        };
        match prove(&said.host, covers, number, hash, signed, keys) {
            Ok(Some(head)) => {
                count.proved += 1;
                *self.keys.entry(signed.key.clone()).or_default() += 1;
                self.heads.push(head);
            }
            Ok(None) => self.unproved += 1,
            Err(why) => self.bad.push((seq, why)),
        }
    }
}

/// The head that the signature proves; `None` when there is no key to prove it with.
fn prove(
    host: &str,
    covers: Covers<'_>,
    seq: u64,
    hash: &str,
    signed: &Signed,
    keys: &[PublicKey],
) -> Result<Option<Head>, String> {
    if signed.host != host {
        return Err(format!("was signed for host {}, and stands in the ledger of {host}", signed.host));
    }
    if keys.is_empty() {
        return Ok(None);
    }
    let key = keys.iter().find(|key| key.fingerprint() == signed.key);
    let key = key.ok_or_else(|| format!("names a key that is none of those given, {}", signed.key))?;
    let Signed { host, key: name, at, signature } = signed;
    let statement = Statement { host, key: name, covers, seq, hash, at };
    key.prove(&statement, signature).map_err(|error| error.to_string())?;
    let hash = hash.parse().map_err(|_| "names no hash".to_owned())?;
    Ok(Some(Head { seq, hash }))
}

/// Reads the signatures of a ledger.
pub(super) fn of_ledger(directory: &Path, keys: &[PublicKey]) -> io::Result<Signatures> {
    let mut signatures = Signatures::default();
    // A cheap look first: of many lines few carry signatures. Text of peers has its quotes escaped.
    let carries = |bytes: &[u8]| {
        [&b"\"event\":\"head_published\""[..], b"\"event\":\"segment_sealed\""]
            .iter()
            .any(|name| bytes.windows(name.len()).any(|window| window == *name))
    };
    // What is wrong with lines and files is the chain's to say.
    for line in jitsudo_ledger::read(directory, 0, |line| carries(line.bytes()))?.flatten() {
        if let Ok(said) = serde_json::from_slice::<Said>(&line.bytes) {
            signatures.take(line.seq, &said, keys);
        }
    }
    Ok(signatures)
}

/// The keys that were named, or this host's if there is one.
pub(super) fn keys(named: &[PathBuf]) -> Result<Vec<PublicKey>, Failure> {
    let own = Path::new(KEY);
    let paths = if !named.is_empty() {
        named.to_vec()
    } else if own.exists() {
        vec![own.to_owned()]
    } else {
        Vec::new()
    };
    paths.iter().map(|path| key(path)).collect()
}

fn key(path: &Path) -> Result<PublicKey, Failure> {
    let trouble = |cause| Failure::File { what: format!("read key {}", path.display()), cause };
    let text = fs::read_to_string(path).map_err(trouble)?;
    PublicKey::parse(&text).map_err(|error| trouble(io::Error::new(io::ErrorKind::InvalidData, error.to_string())))
}

/// The newest head that this host's key signed: root's file, which whoever writes the ledger cannot write. `None` = none yet.
pub(super) fn memory() -> Result<Option<Head>, Failure> {
    #[derive(Deserialize)]
    struct Memory {
        seq: u64,
        hash: String,
    }
    let trouble = |why: String| Failure::File {
        what: format!("read the signed head {MEMORY}"),
        cause: io::Error::new(io::ErrorKind::InvalidData, why),
    };
    let file = jitsudo_sys::trusted::read(Path::new(MEMORY), 16 * 1024).map_err(|error| trouble(error.to_string()))?;
    let Some(bytes) = file else { return Ok(None) };
    let memory: Memory = serde_json::from_slice(&bytes).map_err(|error| trouble(error.to_string()))?;
    let hash = memory.hash.parse().map_err(|_| trouble("it holds no hash".to_owned()))?;
    Ok(Some(Head { seq: memory.seq, hash }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_seal::HostKey;

    const AT: &str = "2026-10-04T10:15:00Z";

    fn key(seed: u8) -> HostKey {
        HostKey::from_seed(&[seed; 32], "web-1")
    }

    fn hash() -> String {
        "9c".repeat(32)
    }

    fn signed(by: &HostKey, host: &str, seq: u64) -> Signed {
        let key = by.public().fingerprint();
        let statement = Statement { host, key: &key, covers: Covers::Head, seq, hash: &hash(), at: AT };
        let signature = by.sign(&statement).unwrap();
        Signed { host: host.to_owned(), key, at: AT.to_owned(), signature }
    }

    fn look(host: &str, head_seq: u64, signed: Option<Signed>, keys: &[PublicKey]) -> Signatures {
        let mut signatures = Signatures::default();
        let said = Said { host: host.to_owned(), event: Event::HeadPublished { head_seq, head: hash(), signed } };
        signatures.take(900, &said, keys);
        signatures
    }

    #[test]
    fn sound_signature_is_counted_by_its_key_and_its_head_is_looked_for() {
        let key = key(1);
        let found = look("web-1", 812, Some(signed(&key, "web-1", 812)), &[key.public()]);
        assert_eq!(found.heads_told, Count { all: 1, proved: 1, unsigned: None });
        assert_eq!((found.keys.get(&key.public().fingerprint()), found.heads[0].seq), (Some(&1), 812));
        assert!(found.are_sound());
    }

    #[test]
    fn unsigned_head_is_named_and_is_no_fault() {
        let found = look("web-1", 812, None, &[key(1).public()]);
        assert_eq!(found.heads_told, Count { all: 1, proved: 0, unsigned: Some(900) });
        assert!(found.are_sound());
    }

    #[test]
    fn audit_log_04_head_of_another_host_proves_nothing_here() {
        let key = key(1);
        let replayed = look("web-1", 812, Some(signed(&key, "web-2", 812)), &[key.public()]);
        assert!(replayed.bad[0].1.contains("was signed for host web-2"), "{replayed:?}");
        let renamed = Signed { host: "web-1".to_owned(), ..signed(&key, "web-2", 812) };
        assert!(!look("web-1", 812, Some(renamed), &[key.public()]).are_sound());
    }

    #[test]
    fn audit_log_04_head_by_another_key_proves_nothing() {
        let (ours, theirs) = (key(1), key(2));
        let found = look("web-1", 812, Some(signed(&theirs, "web-1", 812)), &[ours.public()]);
        assert!(found.bad[0].1.contains("none of those given"), "{found:?}");
        let renamed = Signed { key: ours.public().fingerprint(), ..signed(&theirs, "web-1", 812) };
        assert!(!look("web-1", 812, Some(renamed), &[ours.public()]).are_sound());
        let both = look("web-1", 812, Some(signed(&theirs, "web-1", 812)), &[ours.public(), theirs.public()]);
        assert!(both.are_sound(), "a key that was changed is given beside the new one");
    }

    #[test]
    fn audit_log_04_head_with_a_wrong_number_or_time_proves_nothing() {
        let key = key(1);
        assert!(!look("web-1", 813, Some(signed(&key, "web-1", 812)), &[key.public()]).are_sound());
        let later = Signed { at: "2026-10-04T10:16:00Z".to_owned(), ..signed(&key, "web-1", 812) };
        assert!(!look("web-1", 812, Some(later), &[key.public()]).are_sound());
    }

    #[test]
    fn without_a_key_nothing_is_proved_and_nothing_is_bad() {
        let found = look("web-1", 812, Some(signed(&key(1), "web-1", 812)), &[]);
        assert_eq!((found.unproved, found.heads.len(), found.are_sound()), (1, 0, true));
    }
}
