//! Answers that were signed elsewhere: whose each is, by own policy and a helper's proof, and whether it still counts when it is used.
//!
//! MUSTs
//! 1. Only keys that the applied policy names for that person count, when it is handed in and when it is used
//!    (`key_that_was_taken_away_meanwhile_counts_no_more`).
//! 2. What was signed is the text that is made here of what is to be started (`card_that_says_something_else_counts_for_nothing`;
//!    host test `lying_decider_has_nothing_started_that_was_not_signed_or_twice`).
//! 3. It is used once in a boot, whatever the decider says (`used`; the same host test).

use jitsudo_core::approval::{Moment, Proof, signers};
use jitsudo_core::facts::Facts;
use jitsudo_core::policy::Policy;
use jitsudo_link::approval::Handed;
use jitsudo_link::facts::{Answer, Proof as Question, Proved};
use jitsudo_link::spawner::{FromSpawner, LookFailure, ProofOutcome};
use jitsudo_protocol::digest;
use jitsudo_sys::channel::Channel;
use jitsudo_sys::clock;

use super::Spawner;
use super::looks::about_the_peer;
use crate::approvals::{BySignature, Said};
use crate::helpers::Why;
use crate::record;

impl Spawner {
    /// Somebody hands it in.
    pub(super) fn prove(&mut self, id: u64, number: u64, handed: Handed, connection: Option<Channel>) {
        let outcome = match self.question_of(&handed) {
            Ok(question) => {
                let why = Why::Prove(Box::new(question), Box::new(handed));
                match self.ask(id, number, about_the_peer(), connection, why) {
                    Ok(()) => return,
                    Err(cause) => failed(cause),
                }
            }
            Err(cause) => ProofOutcome::Refused(cause),
        };
        self.say(id, &FromSpawner::Proved { number, outcome });
    }

    fn question_of(&self, handed: &Handed) -> Result<Question, String> {
        let policy = self.applied.policy.as_ref().ok_or("no policy is applied")?;
        self.used.why_not(&handed.yes.to)?;
        let signer = signers(policy).find(|signer| signer.name == handed.person);
        let signer = signer.ok_or("the applied policy names no keys for that person")?;
        Ok(Question {
            card: handed.card.clone(),
            signature: handed.signature.clone(),
            keys: signer.keys.to_vec(),
            accounts: signer.accounts,
        })
    }

    /// The helper has found out whose it is.
    pub(super) fn proof_answered(&mut self, id: u64, number: u64, handed: Handed, answer: Result<Answer, LookFailure>) {
        let outcome = match answer {
            Ok(Answer::Proved(proved)) => match self.settle_proof(&handed, &proved) {
                Ok(()) => ProofOutcome::Done(proved),
                Err(cause) => ProofOutcome::Refused(cause),
            },
            Ok(Answer::Refused(cause)) => ProofOutcome::Refused(cause),
            Ok(Answer::Learnt(_) | Answer::Accounts(_)) => {
                ProofOutcome::Failed("jitsudo-facts answered another question".to_owned())
            }
            Err(cause) => failed(cause),
        };
        self.say(id, &FromSpawner::Proved { number, outcome });
    }

    fn settle_proof(&mut self, handed: &Handed, proved: &Proved) -> Result<(), String> {
        let policy = self.applied.policy.as_ref();
        if !policy.is_some_and(|policy| is_named(policy, &handed.person, &proved.key)) {
            return Err("the applied policy does not name that key any more".to_owned());
        }
        let moment = clock::now();
        let at = Moment { at: record::wall(moment), boottime_ms: moment.boottime_ms };
        let accounts = proved.accounts.iter().cloned();
        let facts = accounts.map(|one| Facts::of_account(self.host.clone(), self.settings.labels.clone(), one));
        let facts: Vec<Facts> = facts.collect();
        if let Some(uid) = facts.iter().find_map(|facts| self.locks.on(policy, facts)) {
            return Err(format!("who signed it is locked (uid {})", uid.0));
        }
        if handed.no {
            return Ok(());
        }
        for facts in facts {
            self.approvals.signed(Said {
                yes: handed.yes.clone(),
                facts,
                inside: None,
                window: handed.window,
                at,
                signature: Some(BySignature {
                    card: digest::of_bytes(handed.card.as_bytes()),
                    person: handed.person.clone(),
                    key: proved.key.clone(),
                }),
            });
        }
        Ok(())
    }

    /// Whether a yes may be counted now; `card` makes the text of what is to be started.
    pub(super) fn still_counts(
        &self,
        policy: &Policy,
        said: &Said,
        card: impl FnOnce() -> Result<String, String>,
    ) -> bool {
        if self.locks.on(Some(policy), &said.facts).is_some() {
            return false;
        }
        said.signature.as_ref().is_none_or(|signature| signature.still_counts(policy, card))
    }
}

impl BySignature {
    fn still_counts(&self, policy: &Policy, card: impl FnOnce() -> Result<String, String>) -> bool {
        is_named(policy, &self.person, &self.key)
            && card().is_ok_and(|card| digest::of_bytes(card.as_bytes()) == self.card)
    }
}

impl Said {
    /// How its approver proved who they are.
    pub(super) fn proof(&self) -> Proof {
        if self.signature.is_some() { Proof::Signed } else { Proof::Local(jitsudo_core::decision::Auth::Fresh) }
    }
}

/// That the policy has this key for this person, in the same words.
fn is_named(policy: &Policy, person: &str, key: &str) -> bool {
    signers(policy).any(|signer| signer.name == person && signer.keys.iter().any(|one| one == key))
}

fn failed(cause: LookFailure) -> ProofOutcome {
    ProofOutcome::Failed(match cause {
        LookFailure::TimedOut => "the directory of accounts did not answer in time".to_owned(),
        LookFailure::PeerGone => "who handed it in is gone".to_owned(),
        LookFailure::Refused(cause) | LookFailure::Failed(cause) => cause,
        LookFailure::Busy => "too many questions wait".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_core::language::{HostLookup, SourceFile, compile};

    fn policy(text: &str) -> Policy {
        let file = SourceFile { name: "x.toml".to_owned(), bytes: text.as_bytes().to_vec() };
        let host =
            HostLookup { zone: &|_| None, resolve_directory: &|path| path.to_owned(), group_has_more: &|_| None };
        compile(&[file], &host).unwrap_or_else(|_| panic!("{text}")).policy
    }

    fn by(card: &str) -> BySignature {
        let key = include_str!("../../../../signed/tests/golden/ed.pub").trim().to_owned();
        BySignature { card: digest::of_bytes(card.as_bytes()), person: "carol".to_owned(), key }
    }

    fn named(person: &str, key: &str) -> Policy {
        policy(&format!("[people.{person}]\naccounts = [\"carol\"]\napproval-keys = [{key:?}]\n"))
    }

    #[test]
    fn key_that_was_taken_away_meanwhile_counts_no_more() {
        let other = include_str!("../../../../signed/tests/golden/ec.pub").trim();
        let card = || Ok("card".to_owned());
        assert!(by("card").still_counts(&named("carol", &by("").key), card));
        assert!(!by("card").still_counts(&named("carol", other), card));
        assert!(!by("card").still_counts(&named("bob", &by("").key), card), "another's now");
        assert!(!by("card").still_counts(&policy("[people.carol]\naccounts = [\"carol\"]\n"), card));
    }

    #[test]
    fn card_that_says_something_else_counts_for_nothing() {
        let policy = named("carol", &by("").key);
        assert!(!by("card").still_counts(&policy, || Ok("another card".to_owned())));
        assert!(!by("card").still_counts(&policy, || Err("no card".to_owned())));
    }
}
