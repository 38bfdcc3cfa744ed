//! Signs a line of the ledger, and remembers the newest head that was signed.
//!
//! The decider asks, and is not believed: what is signed stands in the ledger's files, in one unbroken chain with what was signed
//! before. So whoever has taken the decider over gets no signature for a history that leaves out what is signed already.
//!
//! MUSTs
//! 1. Only lines that are there, joined to the newest signed head, are signed (`audit_log_04_*`).
//! 2. The memory never goes back, but by root's acknowledgement (`head_older_than_the_memory_*`); it is durable before the
//!    signature is given (`place::put`).
//! 3. A memory that cannot be read is not taken for none (`damaged_memory_*`).

use std::path::Path;

use jitsudo_core::Timestamp;
use jitsudo_core::event::Signed;
use jitsudo_ledger::{Head, HeadVerdict, check_heads};
use jitsudo_link::spawner::{Memory, SignOutcome, SignedHead, Wanted};
use jitsudo_link::{MAX_STATE_BYTES, SIGNED_HEAD};
use jitsudo_seal::{Covers, Statement};
use jitsudo_sys::{clock, trusted};

use crate::{key, place};

/// Why nothing is signed.
enum Not {
    /// The ledger or the order is at fault.
    Refused(String),
    /// The host is.
    Failed(String),
}

/// Signs, for the host whose state is in one folder and whose ledger is in the other.
pub(crate) fn sign(folder: &Path, ledger: &Path, host: &str, wanted: &Wanted, acknowledged: bool) -> SignOutcome {
    match try_to(folder, ledger, host, wanted, acknowledged) {
        Ok(signed) => SignOutcome::Done(Box::new(signed)),
        Err(Not::Refused(cause)) => SignOutcome::Refused(cause),
        Err(Not::Failed(cause)) => SignOutcome::Failed(cause),
    }
}

fn try_to(folder: &Path, ledger: &Path, host: &str, wanted: &Wanted, acknowledged: bool) -> Result<Signed, Not> {
    let memory = folder.join(SIGNED_HEAD);
    let before = if acknowledged { None } else { remembered(&memory)? };
    may_be_signed(ledger, wanted, before.as_ref())?;
    let key = key::of_host(folder, host).map_err(Not::Failed)?;
    let microseconds = i64::try_from(clock::now().wall_ns / 1000).unwrap_or_default();
    let signed = Signed {
        host: host.to_owned(),
        key: key.public().fingerprint(),
        at: Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::UNIX_EPOCH).to_string(),
        signature: String::new(),
    };
    let statement = Statement {
        host,
        key: &signed.key,
        covers: wanted.segment.as_deref().map_or(Covers::Head, Covers::Segment),
        seq: wanted.seq,
        hash: &wanted.hash,
        at: &signed.at,
    };
    let signature = key.sign(&statement).map_err(|error| Not::Failed(error.to_string()))?;
    let signed = Signed { signature, ..signed };
    if wanted.segment.is_none() {
        let head = SignedHead { seq: wanted.seq, hash: wanted.hash.clone(), signed: signed.clone() };
        let mut text = serde_json::to_vec(&head).map_err(|error| Not::Failed(error.to_string()))?;
        text.push(b'\n');
        place::put(&memory, &text, 0o644)
            .map_err(|error| Not::Failed(format!("cannot write {}: {error}", memory.display())))?;
    }
    Ok(signed)
}

fn remembered(path: &Path) -> Result<Option<Head>, Not> {
    let unreadable =
        |why: String| Not::Failed(format!("cannot tell what was signed last by {}: {why}", path.display()));
    let bytes = trusted::read(path, MAX_STATE_BYTES).map_err(|error| unreadable(error.to_string()))?;
    match Memory::read(bytes.as_deref()) {
        Memory::Nothing => Ok(None),
        Memory::Unreadable(why) => Err(unreadable(why)),
        Memory::Head(head) => match head.hash.parse() {
            Ok(hash) => Ok(Some(Head { seq: head.seq, hash })),
            Err(_) => Err(unreadable("it holds no hash".to_owned())),
        },
    }
}

fn may_be_signed(ledger: &Path, wanted: &Wanted, before: Option<&Head>) -> Result<(), Not> {
    let refused = |why: String| Err(Not::Refused(why));
    let Ok(hash) = wanted.hash.parse() else { return refused("no hash was named".to_owned()) };
    let head = Head { seq: wanted.seq, hash };
    if let Some(before) = before.filter(|before| wanted.segment.is_none() && before.seq > head.seq) {
        return refused(format!("event {} was signed already, {} is older", before.seq, head.seq));
    }
    let heads: Vec<Head> = std::iter::once(head).chain(before.copied()).collect();
    let verdicts = check_heads(ledger, &heads)
        .map_err(|error| Not::Failed(format!("cannot read the ledger {}: {error}", ledger.display())))?;
    for (head, verdict) in heads.iter().zip(verdicts) {
        let seq = head.seq;
        match verdict {
            HeadVerdict::Agrees => {}
            HeadVerdict::Differs => return refused(format!("event {seq} is another one in the ledger's files")),
            HeadVerdict::Newer => return refused(format!("the ledger's files end before event {seq}")),
            HeadVerdict::Unreached => {
                return refused(format!("no unbroken chain in the ledger's files reaches event {seq}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Folder, folder};
    use jitsudo_ledger::{Body, Fold, FoldError, Line, Options, Priority, Writer};
    use jitsudo_link::HOST_PUBLIC_KEY;
    use jitsudo_seal::PublicKey;
    use std::fs;

    struct Nothing;
    impl Fold for Nothing {
        type State = ();
        fn empty(&self) {}
        fn restore(&self, _: &[u8]) -> Result<(), FoldError> {
            Ok(())
        }
        fn apply(&self, (): &mut (), _: &Line<'_>) -> Result<(), FoldError> {
            Ok(())
        }
        fn snapshot(&self, (): &()) -> Result<String, FoldError> {
            Ok("{}".to_owned())
        }
    }

    /// Adds lines to the ledger beside the state; their heads.
    fn grow(folder: &Folder, words: &[&str]) -> Vec<Head> {
        let dir = folder.join("ledger");
        fs::create_dir_all(&dir).unwrap();
        let options = Options { seal_bytes: 1024, reserve_bytes: 0, ..Options::default() };
        let mut writer = Writer::open(&dir, Nothing, options).unwrap().writer;
        let mut heads = Vec::new();
        for word in words {
            let body = Body::new(format!(r#"{{"word":"{word:>300}"}}"#)).unwrap();
            heads.push(writer.append(&[body], Priority::Ordinary).unwrap().head);
            writer.sync().unwrap();
        }
        heads
    }

    fn order(folder: &Folder, segment: Option<&str>, head: Head, acknowledged: bool) -> SignOutcome {
        let wanted = Wanted { segment: segment.map(str::to_owned), seq: head.seq, hash: head.hash.to_string() };
        sign(folder, &folder.join("ledger"), "web-1", &wanted, acknowledged)
    }

    fn remembers(folder: &Folder) -> Option<u64> {
        remembered(&folder.join(SIGNED_HEAD)).ok().flatten().map(|head| head.seq)
    }

    #[test]
    fn head_is_signed_remembered_and_proved_by_the_public_half() {
        let folder = folder("sign");
        let heads = grow(&folder, &["a", "b"]);
        let SignOutcome::Done(signed) = order(&folder, None, heads[1], false) else { panic!("not signed") };
        let hash = heads[1].hash.to_string();
        let Signed { host, key, at, signature } = &*signed;
        let statement = Statement { host, key, covers: Covers::Head, seq: heads[1].seq, hash: &hash, at };
        let public = PublicKey::parse(&fs::read_to_string(folder.join(HOST_PUBLIC_KEY)).unwrap()).unwrap();
        assert_eq!(public.prove(&statement, signature), Ok(()));
        let Memory::Head(memory) = Memory::read(fs::read(folder.join(SIGNED_HEAD)).ok().as_deref()) else {
            panic!("not remembered")
        };
        assert_eq!((memory.seq, &memory.signed), (heads[1].seq, &*signed));
        assert!(matches!(order(&folder, None, heads[1], false), SignOutcome::Done(_)), "the same once more");
    }

    #[test]
    fn head_older_than_the_memory_is_refused_and_a_segment_leaves_the_memory() {
        let folder = folder("sign-old");
        let heads = grow(&folder, &["a", "b", "c", "d", "e", "f"]);
        assert!(matches!(order(&folder, None, heads[4], false), SignOutcome::Done(_)));
        assert!(matches!(order(&folder, None, heads[1], false), SignOutcome::Refused(why) if why.contains("older")));
        assert!(matches!(order(&folder, Some("00000001.jsonl"), heads[1], false), SignOutcome::Done(_)));
        assert_eq!(remembers(&folder), Some(heads[4].seq));
    }

    #[test]
    fn audit_log_04_history_without_what_was_signed_is_not_signed() {
        let folder = folder("sign-forged");
        let heads = grow(&folder, &["a", "b", "c"]);
        let lie = Head { seq: heads[2].seq, hash: heads[1].hash };
        assert!(matches!(order(&folder, None, lie, false), SignOutcome::Refused(why) if why.contains("another one")));
        let later = Head { seq: 99, ..heads[2] };
        assert!(matches!(order(&folder, None, later, false), SignOutcome::Refused(why) if why.contains("end before")));
        assert!(matches!(order(&folder, None, heads[2], false), SignOutcome::Done(_)));
        // Another history in its place, whole in itself, and longer.
        fs::remove_dir_all(folder.join("ledger")).unwrap();
        let forged = grow(&folder, &["a", "b", "x", "d", "e", "f"]);
        for head in [forged[2], forged[5]] {
            for segment in [None, Some("00000001.jsonl")] {
                assert!(matches!(order(&folder, segment, head, false), SignOutcome::Refused(_)), "{head:?}");
            }
        }
        assert_eq!(remembers(&folder), Some(heads[2].seq));
        assert!(matches!(order(&folder, None, forged[5], true), SignOutcome::Done(_)), "root took responsibility");
        assert_eq!(remembers(&folder), Some(forged[5].seq));
        let nonsense = Wanted { segment: None, seq: 1, hash: "x".to_owned() };
        let outcome = sign(&folder, &folder.join("ledger"), "web-1", &nonsense, true);
        assert!(matches!(outcome, SignOutcome::Refused(_)), "an acknowledgement is no way around the files");
    }

    #[test]
    fn damaged_memory_is_not_taken_for_none() {
        let folder = folder("sign-memory");
        let heads = grow(&folder, &["a"]);
        let memory = folder.join(SIGNED_HEAD);
        fs::write(&memory, "{").unwrap();
        assert!(
            matches!(order(&folder, None, heads[0], false), SignOutcome::Failed(why) if why.contains("cannot tell"))
        );
        assert_eq!(fs::read(&memory).unwrap(), b"{");
        assert!(matches!(order(&folder, None, heads[0], true), SignOutcome::Done(_)));
        assert_eq!(remembers(&folder), Some(heads[0].seq));
    }

    #[test]
    fn name_that_does_not_fit_a_statement_is_said() {
        let folder = folder("sign-name");
        let head = grow(&folder, &["a"])[0];
        let wanted = Wanted { segment: None, seq: head.seq, hash: head.hash.to_string() };
        let outcome = sign(&folder, &folder.join("ledger"), "web 1\nkey x", &wanted, false);
        assert!(matches!(outcome, SignOutcome::Failed(why) if why.contains("its host")));
        assert_eq!(remembers(&folder), None);
    }
}
