//! Answers that were signed elsewhere: who may fetch the card and hand the answer in, whose it is, and what is written of it.
//!
//! Whoever may see a request may carry the card away and the signature back: the one who signed counts, the one who hands it in is recorded.
//!
//! MUSTs
//! 1. Decider and spawner each prove it, by their own policy (`signed_yes_counts_once_both_proved_it`; host test `signed`).
//! 2. An answer that does not count is refused, and the ledger says why (`forged_and_stale_*`; host test `approval_02_approval_05_*`).
//! 3. It counts once: what was answered, used, withdrawn or lapsed takes no answer any more, after a crash neither
//!    (`signed_yes_counts_once_*`; host test `signed`).

use jitsudo_bytes::Bytes;
use jitsudo_core::approval::{NotCounted, Proof, Said, signers};
use jitsudo_core::duty::Duty;
use jitsudo_core::event::SignedAnswer;
use jitsudo_core::facts::Facts;
use jitsudo_core::id::AccessId;
use jitsudo_core::name::Uid;
use jitsudo_core::policy::Policy;
use jitsudo_core::request::{Kind, Request};
use jitsudo_core::state::Access;
use jitsudo_link::approval::{Handed, Request as Bound, Yes, card_of};
use jitsudo_link::facts::{Peer, Proved};
use jitsudo_link::spawner::{ProofOutcome, ToSpawner};
use jitsudo_protocol::client::{Fault, FaultCode};
use jitsudo_signed::{MAX_SIGNATURE_BYTES, NotProved, Signature};
use serde_json::{Value, json};

use super::{BySignature, Given, Waiter, cannot};
use crate::client::{fault, malformed};
use crate::daemon::Daemon;
use crate::record::Asked;
use crate::work::{Pending, What};

/// Longest id that is looked for.
const MAX_ID: usize = 64;
/// Longest reason, letters.
const MAX_REASON: usize = 1000;

/// An answer as it is handed in.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    /// To what, as typed.
    pub(crate) id: String,
    /// What `ssh-keygen -Y sign` wrote.
    pub(crate) signature: String,
    /// It is a no, and why.
    pub(crate) no: Option<String>,
    /// A yes for at most so many seconds.
    pub(crate) window: Option<u64>,
}

/// One that the spawner is proving.
#[derive(Debug)]
pub(crate) struct Handing {
    to: AccessId,
    digest: String,
    signed: SignedAnswer,
    person: String,
    no: Option<String>,
    window: Option<u64>,
    by: Facts,
}

impl Answered {
    /// That it may be looked at, before anything is looked up for it.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        check(&self.id, self.no.as_deref(), self.window)?;
        if self.signature.len() > MAX_SIGNATURE_BYTES {
            return Err(malformed("cannot take the signature: it is longer than 8 KiB"));
        }
        Ok(())
    }

    fn said(&self) -> Said<'_> {
        self.no.as_deref().map_or(Said::Yes(self.window), Said::No)
    }
}

/// Bounds of what a card is asked for with.
pub(crate) fn check(id: &str, no: Option<&str>, window: Option<u64>) -> Result<(), Fault> {
    let is_reason = |reason: &str| !reason.trim().is_empty() && reason.chars().count() <= MAX_REASON;
    if id.len() > MAX_ID || !no.is_none_or(is_reason) || window == Some(0) || (no.is_some() && window.is_some()) {
        let message =
            "cannot take the answer: an id is short, a reason has 1 to 1000 letters, and only a yes has a time";
        return Err(malformed(message));
    }
    Ok(())
}

impl Daemon {
    /// The text that is to be signed.
    pub(crate) fn card_to_sign(&self, id: &str, said: Said<'_>, facts: &Facts) -> Result<Value, Fault> {
        let id = self.visible_one(id, facts).map_err(|what| nothing(id, &what))?;
        let card = self.approvals.waiters.get(&id).map(|waiter| self.text_of(&id, waiter, said));
        match card {
            Some(Ok(card)) => Ok(json!({"id": id, "card": card})),
            Some(Err(why)) => {
                Err(fault(FaultCode::NotSupported, &format!("cannot write the card of {}: {why}", id.short())))
            }
            None => Err(nothing(id.short(), "it waits no more")),
        }
    }

    /// Somebody hands an answer in: whether it would count, as far as that can be told without the directory of accounts.
    pub(crate) fn hear_signed(&mut self, client: u64, answered: Answered, facts: &Facts) {
        match self.handing(&answered, facts) {
            Ok(handing) => self.order_proof(client, handing),
            Err((id, why)) => self.deny_signed(client, facts, &id, &why),
        }
    }

    fn handing(&self, answered: &Answered, by: &Facts) -> Result<Handing, (String, String)> {
        let id = self.visible_one(&answered.id, by).map_err(|why| (answered.id.clone(), why))?;
        let fail = |why: String| (id.to_string(), why);
        let waiter = self.approvals.waiters.get(&id).ok_or_else(|| fail("it waits no more".to_owned()))?;
        let card = self.text_of(&id, waiter, answered.said()).map_err(fail)?;
        let policy = self.policy.policy().ok_or_else(|| fail("no policy is in force".to_owned()))?;
        let (signature, person) = prove(policy, &answered.signature, &card).map_err(|why| fail(why.to_string()))?;
        let (key, signature) = (signature.fingerprint(), signature.line().to_owned());
        Ok(Handing {
            digest: waiter.digest.clone(),
            signed: SignedAnswer { key, signature, card },
            person,
            no: answered.no.clone(),
            window: answered.window,
            by: by.clone(),
            to: id,
        })
    }

    fn order_proof(&mut self, client: u64, handing: Handing) {
        if !self.spawner.can_prove() {
            let fault = Fault {
                code: FaultCode::NotSupported,
                message: "cannot take the signature: jitsudo-spawn is away, or of an older version".to_owned(),
                hint: Some("systemctl restart jitsudo-spawn (running commands go on)".to_owned()),
            };
            return self.fail(client, fault);
        }
        let Some(channel) = self.clients.get(&client).map(|client| std::rc::Rc::clone(&client.channel)) else { return };
        let number = self.number();
        let handed = Handed {
            yes: Yes { to: handing.to.clone(), digest: handing.digest.clone() },
            card: handing.signed.card.clone(),
            signature: handing.signed.signature.clone(),
            person: handing.person.clone(),
            no: handing.no.is_some(),
            window: handing.window,
        };
        match self.spawner.order(&ToSpawner::Prove { number, handed: Box::new(handed) }, Some(&channel)) {
            Ok(()) => {
                let until_ms = self.now_ms().saturating_add(self.patience.work_ms);
                let what = What::Prove(Box::new(handing));
                self.pending.insert(number, Pending { client, what, until_ms });
            }
            Err(not_taken) => {
                let fault = self.not_taken(not_taken);
                self.fail(client, fault);
            }
        }
        self.watch_spawner();
    }

    /// The spawner has proven it, or not.
    pub(crate) fn proof_arrived(&mut self, number: u64, outcome: ProofOutcome) {
        if !matches!(self.pending.get(&number), Some(Pending { what: What::Prove(_), .. })) {
            return;
        }
        let Some(Pending { client, what: What::Prove(handing), .. }) = self.pending.remove(&number) else { return };
        let refused = match outcome {
            ProofOutcome::Done(proved) => self.settle_signed(client, &handing, *proved),
            ProofOutcome::Refused(why) => Err(why),
            ProofOutcome::Failed(why) => {
                let message = format!("cannot take the signature: {why}");
                return self.fail(client, fault(FaultCode::Spawner, &message));
            }
        };
        if let Err(why) = refused {
            self.deny_signed(client, &handing.by, handing.to.as_str(), &why);
        }
    }

    /// In words why it does not count.
    fn settle_signed(&mut self, client: u64, handing: &Handing, proved: Proved) -> Result<(), String> {
        let waiter = self.approvals.waiters.get(&handing.to).ok_or("it waits no more")?;
        if waiter.digest != handing.digest {
            return Err("it is another request by now".to_owned());
        }
        let at = self.moment_of_now();
        let signature = BySignature { person: handing.person.clone(), key: proved.key };
        if !self.policy.policy().is_some_and(|policy| signature.is_named(policy)) {
            return Err(NotProved::UnknownKey.to_string());
        }
        let mut why = NotCounted::Unknown;
        for account in proved.accounts {
            let facts = Facts::of_account(self.host.clone(), self.settings.labels.clone(), account);
            if self.lock_of(&facts).is_some() {
                return Err("who signed it is locked".to_owned());
            }
            if let Some(reason) = &handing.no {
                if self.with_case(&handing.to, |case, _| case.may_refuse(&facts)) == Some(true) {
                    self.refuse_request(&handing.to, &facts, reason, Some((&handing.by, handing.signed.clone())));
                    self.give_items(
                        client,
                        vec![json!({"id": handing.to, "refused": true, "by": super::name_of(&facts)})],
                    );
                    return Ok(());
                }
                why = NotCounted::NotAsked;
                continue;
            }
            let signed = Some(signature.clone());
            let given =
                Given { facts, inside: None, window: handing.window, at, proof: Proof::Signed, signature: signed };
            match self.would_count(&handing.to, &given, &handing.digest) {
                Some(Ok(())) => {
                    self.take_yes(&handing.to, given, Some((client, &handing.by, handing.signed.clone())));
                    return Ok(());
                }
                Some(Err(not_counted)) => why = not_counted,
                None => {}
            }
        }
        Err(not_counted(why).to_owned())
    }

    fn deny_signed(&mut self, client: u64, by: &Facts, to: &str, why: &str) {
        let Some(peer) = self.clients.get(&client).map(|client| client.peer) else { return };
        let peer = Peer { pid: peer.pid, uid: peer.uid, gid: peer.gid };
        let Some(id) = self.fresh_id() else {
            return self.fail(client, fault(FaultCode::Internal, "cannot make an id: the kernel has no random bytes"));
        };
        let request = request(to);
        let policy = self.policy.digest().unwrap_or_default().to_owned();
        let asked = Asked { id: &id, peer, facts: by, process: None, request: &request, digest: "", policy: &policy };
        let short = to.parse::<AccessId>().map_or_else(|_| to.to_owned(), |id| id.short().to_owned());
        self.deny(client, &asked, &cannot(&format!("the signed answer to {short} does not count: {why}")));
    }

    /// The one request that waits, that an id means, of those that these may see: their own, what they may answer, with the duty `see` all. In
    /// words why there is none.
    fn visible_one(&self, id: &str, facts: &Facts) -> Result<AccessId, String> {
        let uid = facts.requester.uid;
        let all = uid == Uid(self.places.root) || self.duties_of(facts).contains(&Duty::See);
        let own = |waiter: &Waiter| waiter.facts.requester.uid == uid;
        let open = self.approvals.waiters.iter();
        let open = open.filter(|(access, waiter)| all || own(waiter) || self.may_answer(access, facts));
        let mut meant = open.map(|(access, _)| access).filter(|access| access.is_meant_by(id));
        match (meant.next(), meant.next()) {
            (Some(one), None) => Ok(one.clone()),
            (Some(_), _) => Err("more than one waits whose id begins so".to_owned()),
            (None, _) => Err(self.what_became(id, (!all).then_some(uid)).to_owned()),
        }
    }

    /// Why nothing waits under an id, as far as somebody may know it.
    fn what_became(&self, id: &str, of: Option<Uid>) -> &'static str {
        let seen = self.ledger.state().all().filter(|access| of.is_none_or(|uid| access.asked_for().uid == uid));
        let mut meant = seen.filter(|access| access.id().is_meant_by(id));
        match (meant.next(), meant.next()) {
            // What became of it is being written at this moment.
            (Some(access), None) if access.is_waiting() && self.approvals.settling.contains(access.id()) => {
                "it is over already"
            }
            (Some(access), None) => over(access),
            _ => "nothing of that id waits for an answer here",
        }
    }

    fn text_of(&self, id: &AccessId, waiter: &Waiter, said: Said<'_>) -> Result<String, String> {
        let policy = self.policy.policy().ok_or("no policy is in force")?;
        let (host_key, boot) = (self.host_key(), &self.boot);
        let request = Bound { host_key: &host_key, boot, seal: &waiter.seal, wish: waiter.wish(id), policy };
        card_of(&request, &self.host, &waiter.digest, said)
    }
}

impl BySignature {
    /// The policy has this key for this person, in the same words.
    pub(super) fn is_named(&self, policy: &Policy) -> bool {
        signers(policy).any(|signer| signer.name == self.person && signer.keys.contains(&self.key))
    }
}

/// Whose signature of this card it is, by the policy.
fn prove(policy: &Policy, text: &str, card: &str) -> Result<(Signature, String), NotProved> {
    let signature = Signature::parse(text)?;
    let mut why = NotProved::UnknownKey;
    for signer in signers(policy) {
        match signature.prove(signer.keys.iter().map(String::as_str), card) {
            Ok(_) => return Ok((signature, signer.name.to_owned())),
            Err(NotProved::UnknownKey) => {}
            Err(other) => why = other,
        }
    }
    Err(why)
}

fn over(access: &Access) -> &'static str {
    match access {
        Access::Refused(_) => "somebody said no to it",
        Access::Lapsed(_) => "its time went by",
        Access::Withdrawn(_) => "it was withdrawn",
        Access::Denied(_) => "the rules do not give it",
        Access::Asked(_) | Access::Allowed(_) => "nobody is asked about it",
        // A restart of this program forgets what it was: its requester comes back for it.
        Access::Waiting(_) | Access::Approved(_) => "its requester does not wait at this moment",
        Access::Activating(_) | Access::Active(_) | Access::Failed(_) | Access::Ended(_) | Access::Closed(_) => {
            "its answers were used already"
        }
    }
}

fn nothing(id: &str, what: &str) -> Fault {
    Fault {
        code: FaultCode::NotFound,
        message: format!("cannot show the card of {}: {what}", Bytes::from(id).visible()),
        hint: Some("`jitctl requests` shows your own, `jitctl requests --to-approve` what you may answer".to_owned()),
    }
}

/// How it stands in the ledger that somebody wanted to answer.
fn request(to: &str) -> Request {
    Request {
        kind: Kind::Approve,
        argv: vec![Bytes::from(to)],
        role: None,
        user: None,
        group: None,
        reason: None,
        ticket: None,
        window: None,
        timeout: None,
        break_glass: false,
        env_names: Vec::new(),
        cwd: None,
        terminal: false,
    }
}

/// Why it does not count, for whoever hands it in.
fn not_counted(why: NotCounted) -> &'static str {
    match why {
        NotCounted::AnotherDigest => "it is for another request",
        NotCounted::NotInTime => "the time for answers is over",
        NotCounted::Unknown => "who signed it, or asked, is not known here",
        NotCounted::Root => "root approves nothing",
        NotCounted::Service => "a service approves nothing",
        NotCounted::InsideSession => "it comes from inside of a session of jitsudo",
        NotCounted::TwoPersons => "its key belongs to two people",
        NotCounted::OwnRequest => "who signed it asked for it",
        NotCounted::NotAsked => "who signed it is not asked",
        NotCounted::NotYet => "who signed it is not asked yet",
        NotCounted::WeakProof | NotCounted::NotSigned => "a stronger proof is needed",
        NotCounted::SamePerson => "who signed it said yes already",
    }
}
