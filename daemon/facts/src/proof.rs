//! Answers that were signed elsewhere: proven for the spawner, which has no cryptography of its own.
//!
//! MUSTs
//! 1. Only the keys of the person who is asked about count (`jitsudo_signed`).
//! 2. An account that is gone, locked or expired answers nothing, and one of which that is not known neither
//!    (`approval_09_account_that_may_be_locked_answers_nothing`).

use jitsudo_core::facts::{Fact, Requester};
use jitsudo_link::facts::{Account, Answer, Proof, Proved};
use jitsudo_signed::Signature;

use crate::{account, entry};

/// Whose it is, or in words why it is nobody's.
pub(crate) fn prove(proof: &Proof) -> Answer {
    let keys = proof.keys.iter().map(String::as_str);
    let key = Signature::parse(&proof.signature).and_then(|signature| signature.prove(keys, &proof.card));
    let key = match key {
        Ok(key) => key.to_owned(),
        Err(why) => return Answer::Refused(why.to_string()),
    };
    let named = proof.accounts.iter().filter_map(|name| account::by_name_or_id(name));
    let accounts: Vec<Requester> = named.filter(|account| is_open(&entry::look(&[account.uid.0]))).collect();
    if accounts.is_empty() {
        return Answer::Refused(
            "its person has no account on this host, or none that is not locked or expired".to_owned(),
        );
    }
    Answer::Proved(Box::new(Proved { key, accounts }))
}

fn is_open(account: &[Account]) -> bool {
    account.iter().all(|account| matches!(&account.entry, Fact::Is(Some(entry)) if entry.locked == Fact::Is(false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn approval_09_account_that_may_be_locked_answers_nothing() {
        let mut accounts = entry::look(&[0]);
        let Fact::Is(Some(root)) = &mut accounts[0].entry else { panic!("no root") };
        root.locked = Fact::Is(false);
        assert!(is_open(&accounts));
        for locked in [Fact::Is(true), Fact::Unknown] {
            let Fact::Is(Some(root)) = &mut accounts[0].entry else { panic!("no root") };
            root.locked = locked;
            assert!(!is_open(&accounts));
        }
        for entry in [Fact::Is(None), Fact::Unknown] {
            accounts[0].entry = entry;
            assert!(!is_open(&accounts));
        }
    }

    #[test]
    fn signature_of_another_key_is_nobodys() {
        let golden = |name: &str| {
            let path = format!("{}/../../signed/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
            std::fs::read_to_string(path).unwrap().trim_end_matches('\r').to_owned()
        };
        let proof = |keys: &[&str], account: &str| Proof {
            card: golden("card"),
            signature: golden("ed.sig"),
            keys: keys.iter().map(|key| golden(key).trim().to_owned()).collect(),
            accounts: vec![account.to_owned()],
        };
        let words = |proof: &Proof| match prove(proof) {
            Answer::Refused(why) => why,
            other => format!("{other:?}"),
        };
        assert!(words(&proof(&["ec.pub", "rsa.pub"], "root")).contains("no approval key"));
        assert!(words(&proof(&["ed.pub"], "no such account")).contains("no account on this host"));
        let other = Proof { card: "another".to_owned(), ..proof(&["ed.pub"], "root") };
        assert!(words(&other).contains("another card"));
    }
}
