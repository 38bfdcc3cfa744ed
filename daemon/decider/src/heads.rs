//! The ledger's head: having it signed and told, and finding out that this ledger is not the one that was signed.
//!
//! The memory of what was signed is root's, and comes from the spawner when it is ready. A signature is asked for before the event
//! that carries it is written: so an event never changes afterwards, and what cannot be signed is written without a signature.
//!
//! MUSTs
//! 1. Nothing is given while the newest signed head is not known to be in the ledger (`audit_log_04_*`); ending, refusing, recording
//!    go on.
//! 2. Only durable lines are given to be signed: a tail that a crash takes raises no alarm (`head_is_asked_for_*`).
//! 3. A signature that cannot be had is said once, holds nothing up, and is asked for again with the next head (`failing_signature_*`).
//! 4. Root alone acknowledges, with a reason, which is durable before it counts (`acknowledgement_*`).

use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use jitsudo_core::event::{Concern, Event, Signed};
use jitsudo_core::name::Uid;
use jitsudo_ledger::{AppendError, Head, HeadVerdict, Priority, Sealed, check_head};
use jitsudo_link::spawner::{Memory, SignOutcome, SignedHead, ToSpawner, Wanted};
use jitsudo_protocol::client::{Fault, FaultCode};
use jitsudo_sys::nix::sys::eventfd::EventFd;
use jitsudo_sys::syslog::Severity;
use serde_json::{Value, json};

use crate::client::malformed;
use crate::daemon::Daemon;
use crate::words;
use crate::work::{After, Pending, What};

/// Between two heads.
const PUBLISH_MS: u64 = 60_000;
/// How long a signature is waited for: the spawner gives up earlier.
const SIGN_MS: u64 = 90_000;
/// Between two warnings that nothing is given.
const REMIND_MS: u64 = 600_000;
/// Sealed segments that may wait for their signature; those beyond are recorded without one.
const MAX_WAITING: usize = 16;
/// Longest reason, letters.
const MAX_REASON: usize = 1000;

/// What is known of this ledger against what was signed.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Standing {
    /// Nothing to compare with: no spawner yet, or an older one.
    Untold,
    /// It is being looked for.
    Checking,
    /// The newest signed head is in it.
    Sound,
    /// It is not.
    RolledBack { known: u64, found: u64 },
    /// It cannot be told; in words.
    Doubtful(String),
}

/// A signature that was asked for.
#[derive(Debug)]
struct Asked {
    number: u64,
    wanted: Wanted,
    until_ms: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Heads {
    wake: Arc<EventFd>,
    sender: Sender<(u64, Result<HeadVerdict, String>)>,
    receiver: Receiver<(u64, Result<HeadVerdict, String>)>,
    /// Which look the answer must be of.
    look: u64,
    standing: Standing,
    /// The newest head that was signed, as far as known.
    memory: Option<SignedHead>,
    can_sign: bool,
    asked: Option<Asked>,
    /// Segments that wait for their signature.
    waiting: VecDeque<Wanted>,
    trouble: Option<String>,
    remind_ms: u64,
}

impl Heads {
    pub(crate) fn new(wake: Arc<EventFd>) -> Self {
        let (sender, receiver) = channel();
        Self {
            wake,
            sender,
            receiver,
            look: 0,
            standing: Standing::Untold,
            memory: None,
            can_sign: false,
            asked: None,
            waiting: VecDeque::new(),
            trouble: None,
            remind_ms: 0,
        }
    }

    /// True while it is not known whether anything may be given: runs wait for that.
    pub(crate) fn are_being_checked(&self) -> bool {
        self.standing == Standing::Checking
    }

    /// What `jitctl status` says of signatures.
    pub(crate) fn status(&self) -> Value {
        let signed = self.memory.as_ref().map(|head| (&head.signed.key, head.seq, &head.signed.at));
        json!({
            "key": signed.map(|(key, _, _)| key),
            "seq": signed.map(|(_, seq, _)| seq),
            "at": signed.map(|(_, _, at)| at),
            "trouble": self.trouble,
        })
    }

    /// Looks for a line in the files, on a thread: a segment is long.
    fn begin_look(&mut self, dir: &Path, head: Head) {
        self.look = self.look.wrapping_add(1);
        self.standing = Standing::Checking;
        let (look, dir) = (self.look, dir.to_path_buf());
        let (sender, wake) = (self.sender.clone(), Arc::clone(&self.wake));
        let check = move || {
            // Both fail only while the daemon ends.
            let _ = sender.send((look, check_head(&dir, &head).map_err(|error| error.to_string())));
            let _ = wake.write(1);
        };
        if let Err(error) = std::thread::Builder::new().name("head".to_owned()).spawn(check) {
            self.standing = Standing::Doubtful(format!("cannot look for the signed head: {error}"));
        }
    }
}

impl Daemon {
    /// Why nothing may be given, if so.
    pub(crate) fn why_nothing_is_given(&self) -> Option<String> {
        match &self.heads.standing {
            Standing::RolledBack { known, found } => Some(words::rolled_back(*known, *found)),
            Standing::Doubtful(cause) => Some(cause.clone()),
            Standing::Untold | Standing::Checking | Standing::Sound => {
                self.ledger.state().unacknowledged().map(|found| words::rolled_back(found.known, found.found))
            }
        }
    }

    /// The spawner is ready and says what was signed.
    pub(crate) fn take_memory(&mut self, memory: Option<Memory>) {
        self.heads.can_sign = memory.is_some();
        if self.heads.trouble.is_some() {
            // It went away over a signature, or could not make one: it is here anew.
            self.have_key_made();
        }
        (self.heads.memory, self.heads.standing) = match memory {
            None => (None, Standing::Untold),
            Some(Memory::Nothing) => {
                // The first head is signed at once: so the host has a key from its first minute.
                self.times.published_seq = 0;
                (None, Standing::Sound)
            }
            Some(Memory::Head(head)) => (Some(*head), Standing::Untold),
            Some(Memory::Unreadable(cause)) => {
                (None, Standing::Doubtful(format!("cannot tell what was signed last: {cause}")))
            }
        };
        self.check_ledger();
        self.warn_if_nothing_is_given();
    }

    /// Compares the ledger with the memory.
    pub(crate) fn check_ledger(&mut self) {
        let Some(known) = &self.heads.memory else { return };
        if !self.ledger.is_open() {
            // Nothing can be recorded, so nothing is given; looked at again when it opens.
            self.heads.standing = Standing::Untold;
            return;
        }
        let Ok(hash) = known.hash.parse() else {
            let cause = "cannot tell what was signed last: the memory holds no hash".to_owned();
            self.heads.standing = Standing::Doubtful(cause);
            return;
        };
        let (known, here) = (Head { seq: known.seq, hash }, self.ledger.head());
        // At a start the newest segment was read and proved a moment ago.
        let proved = self.ledger.take_proved().and_then(|proved| proved.verdict(&known));
        if known == here {
            self.found_signed_head(Ok(HeadVerdict::Agrees));
        } else if known.seq >= here.seq {
            self.found_signed_head(Ok(HeadVerdict::Newer));
        } else if let Some(verdict) = proved {
            self.found_signed_head(Ok(verdict));
        } else {
            self.heads.begin_look(self.ledger.dir(), known);
        }
    }

    /// The thread has found it, or not.
    pub(crate) fn settle_heads(&mut self) {
        while let Ok((look, verdict)) = self.heads.receiver.try_recv() {
            if look == self.heads.look && self.heads.are_being_checked() {
                self.found_signed_head(verdict);
                self.warn_if_nothing_is_given();
            }
        }
    }

    fn found_signed_head(&mut self, verdict: Result<HeadVerdict, String>) {
        let known = self.heads.memory.as_ref().map_or(0, |head| head.seq);
        self.heads.standing = match verdict {
            Ok(HeadVerdict::Agrees) => {
                // What came after it, but for our own word on it, is to be signed too.
                self.times.published_seq = self.times.published_seq.min(known.saturating_add(1));
                Standing::Sound
            }
            Ok(HeadVerdict::Newer | HeadVerdict::Differs) => {
                let found = self.ledger.head().seq;
                if self.ledger.state().unacknowledged().is_none_or(|before| before.known != known) {
                    let entry = self.stamp().entry(Event::RolledBack { known, found });
                    self.ledger.append(vec![entry], Priority::Essential);
                }
                Standing::RolledBack { known, found }
            }
            Ok(HeadVerdict::Unreached) => {
                Standing::Doubtful(format!("event {known} was signed, and the ledger's files do not prove it"))
            }
            Err(cause) => Standing::Doubtful(format!("cannot look for the signed event {known}: {cause}")),
        };
        self.resume_held();
    }

    fn warn_if_nothing_is_given(&mut self) {
        if let Some(cause) = self.why_nothing_is_given() {
            self.heads.remind_ms = self.now_ms().saturating_add(REMIND_MS);
            let text = format!("{cause}; nothing is given until root acknowledges it (jitctl audit acknowledge)");
            self.tell(Severity::Alert, &text);
        }
    }

    /// What the clock asks for: a reminder, another look after trouble, a signature that is not waited for any more, the next head.
    pub(crate) fn tend_heads(&mut self, now_ms: u64) {
        if now_ms >= self.heads.remind_ms && !self.heads.are_being_checked() {
            self.warn_if_nothing_is_given();
        }
        if self.heads.asked.as_ref().is_some_and(|asked| asked.until_ms <= now_ms) {
            self.settle_signature(Err("jitsudo-spawn did not answer".to_owned()));
        }
        self.publish_head(now_ms);
    }

    /// Tries again what could not be told.
    pub(crate) fn look_again(&mut self) {
        if matches!(self.heads.standing, Standing::Doubtful(_)) {
            self.check_ledger();
        }
    }

    /// The spawner is away: what it was asked for is recorded without a signature.
    pub(crate) fn heads_without_spawner(&mut self) {
        self.heads.can_sign = false;
        if self.heads.asked.is_some() {
            self.settle_signature(Err("jitsudo-spawn went away".to_owned()));
        }
        if self.heads.are_being_checked() {
            self.heads.standing = Standing::Untold;
            self.resume_held();
        }
    }

    /// Has the newest head signed soon, with which a host that has no key yet gets one; false where that cannot be had.
    pub(crate) fn have_key_made(&mut self) -> bool {
        let seq = self.ledger.head().seq;
        self.times.publish_ms = 0;
        self.times.published_seq = self.times.published_seq.min(seq.saturating_sub(1));
        self.heads.can_sign && self.heads.trouble.is_none() && seq > 0
    }

    fn publish_head(&mut self, now_ms: u64) {
        let head = self.ledger.head();
        if now_ms < self.times.publish_ms || head.seq <= self.times.published_seq || self.ledger.trouble().is_some() {
            return;
        }
        if self.heads.asked.is_some() || self.heads.are_being_checked() {
            return;
        }
        self.times.publish_ms = now_ms.saturating_add(PUBLISH_MS);
        // Our own word on it is one event more, and no activity.
        self.times.published_seq = head.seq.saturating_add(1);
        self.have_signed(Wanted { segment: None, seq: head.seq, hash: head.hash.to_string() });
    }

    /// A segment was sealed: its last line is to be signed.
    pub(crate) fn segment_sealed(&mut self, sealed: Sealed) {
        let Sealed { segment, head } = sealed;
        let wanted = Wanted { segment: Some(segment), seq: head.seq, hash: head.hash.to_string() };
        if self.heads.asked.is_none() {
            self.have_signed(wanted);
        } else if self.heads.waiting.len() < MAX_WAITING {
            self.heads.waiting.push_back(wanted);
        } else {
            self.record_signature(&wanted, None);
        }
    }

    fn have_signed(&mut self, wanted: Wanted) {
        if !self.heads.can_sign || self.why_nothing_is_given().is_some() {
            return self.record_signature(&wanted, None);
        }
        let number = self.number();
        let ordered = self.spawner.order(&ToSpawner::Sign { number, wanted: wanted.clone() }, None);
        let until_ms = self.now_ms().saturating_add(SIGN_MS);
        self.heads.asked = Some(Asked { number, wanted, until_ms });
        if let Err(not_taken) = ordered {
            let cause = self.not_taken(not_taken).message;
            self.settle_signature(Err(cause));
        }
        self.watch_spawner();
    }

    /// The spawner's answer to a request for a signature.
    pub(crate) fn signature_arrived(&mut self, number: u64, outcome: SignOutcome) {
        if let Some(pending) = self.pending.remove(&number) {
            if let What::Acknowledge(head) = pending.what {
                self.acknowledgement_signed(pending.client, head, outcome);
            }
            return;
        }
        if self.heads.asked.as_ref().is_none_or(|asked| asked.number != number) {
            return;
        }
        let refused = matches!(outcome, SignOutcome::Refused(_));
        let signature = self.own(outcome);
        self.settle_signature(signature);
        if refused {
            // Somebody may have changed the files under us.
            self.check_ledger();
            self.warn_if_nothing_is_given();
        }
    }

    /// A signature for this very host, or why there is none.
    fn own(&self, outcome: SignOutcome) -> Result<Signed, String> {
        match outcome {
            SignOutcome::Done(signed) if signed.host == self.host => Ok(*signed),
            SignOutcome::Done(signed) => Err(format!(
                "jitsudo-spawn signs for host {}, this one is {}: restart jitsudo-spawn after a change of name",
                signed.host, self.host
            )),
            SignOutcome::Refused(cause) | SignOutcome::Failed(cause) => Err(cause),
        }
    }

    fn settle_signature(&mut self, signature: Result<Signed, String>) {
        let Some(Asked { wanted, .. }) = self.heads.asked.take() else { return };
        match signature {
            Ok(signed) => {
                if self.heads.trouble.take().is_some() {
                    self.tell(Severity::Notice, "the ledger's head is signed again");
                }
                if wanted.segment.is_none() {
                    self.remember(&wanted, &signed);
                }
                self.record_signature(&wanted, Some(signed));
            }
            Err(cause) => {
                if self.heads.trouble.replace(cause.clone()).is_none() {
                    let text = format!(
                        "the ledger's head is not signed: {cause}; requests go on, it is tried again with the next head"
                    );
                    self.tell(Severity::Error, &text);
                }
                self.record_signature(&wanted, None);
            }
        }
        if let Some(next) = self.heads.waiting.pop_front() {
            self.have_signed(next);
        }
        // What waits for this host's key.
        self.resume_held();
    }

    fn remember(&mut self, wanted: &Wanted, signed: &Signed) {
        self.heads.memory = Some(SignedHead { seq: wanted.seq, hash: wanted.hash.clone(), signed: signed.clone() });
    }

    fn record_signature(&mut self, wanted: &Wanted, signed: Option<Signed>) {
        let (priority, event) = match wanted.segment.clone() {
            Some(segment) => {
                let head = wanted.hash.clone();
                (Priority::Essential, Event::SegmentSealed { segment, last_seq: wanted.seq, head, signed })
            }
            None => {
                let head = wanted.hash.clone();
                (Priority::Ordinary, Event::HeadPublished { head_seq: wanted.seq, head, signed })
            }
        };
        let entry = self.stamp().entry(event);
        self.ledger.append(vec![entry], priority);
    }

    /// Records what is still waiting for a signature when the daemon ends.
    pub(crate) fn end_heads(&mut self) {
        let asked = self.heads.asked.take().map(|asked| asked.wanted);
        let left: Vec<Wanted> = asked.into_iter().chain(std::mem::take(&mut self.heads.waiting)).collect();
        for wanted in left.iter().filter(|wanted| wanted.segment.is_some()) {
            self.record_signature(wanted, None);
        }
    }

    /// Root says that it may go on.
    pub(crate) fn begin_acknowledge(&mut self, client: u64, uid: u32, reason: &str) {
        let reason = reason.trim();
        if uid != self.places.root {
            let fault = Fault {
                code: FaultCode::Duty,
                message: "cannot acknowledge: only root does".to_owned(),
                hint: Some("`jitctl status` says what is wrong".to_owned()),
            };
            return self.fail(client, fault);
        }
        if reason.is_empty() || reason.chars().count() > MAX_REASON {
            return self.fail(client, malformed("cannot acknowledge: a reason of at most 1000 letters is needed"));
        }
        if self.why_nothing_is_given().is_none() {
            let message = "nothing waits to be acknowledged".to_owned();
            return self.fail(client, Fault { code: FaultCode::NotFound, message, hint: None });
        }
        if !self.heads.can_sign {
            return self.fail(client, words::spawner_fault(self.spawner.cause()));
        }
        let found = self.ledger.head().seq;
        let known = match &self.heads.standing {
            Standing::RolledBack { known, .. } => *known,
            _ => self.ledger.state().unacknowledged().map_or(0, |found| found.known),
        };
        let event = Event::Acknowledged { concern: Concern::RolledBack, known, found, reason: reason.to_owned() };
        let entry = self.stamp().entry_for(Some(Uid(self.places.root)), Some("root".to_owned()), event);
        let ticket = self.ledger.append(vec![entry], Priority::Essential);
        self.after.insert(ticket, After::Acknowledged { client });
    }

    /// The acknowledgement is durable, or is not: from this head on the memory begins again.
    pub(crate) fn acknowledgement_recorded(&mut self, client: u64, outcome: Result<(), AppendError>) {
        if let Err(error) = outcome {
            return self.fail(client, words::ledger_fault(&error));
        }
        // Gone before it was heard: root asks again.
        let Some(channel) = self.clients.get(&client).map(|client| Rc::clone(&client.channel)) else { return };
        let head = self.ledger.head();
        let wanted = Wanted { segment: None, seq: head.seq, hash: head.hash.to_string() };
        let number = self.number();
        match self.spawner.order(&ToSpawner::Acknowledge { number, wanted: wanted.clone() }, Some(&channel)) {
            Ok(()) => {
                let until_ms = self.now_ms().saturating_add(self.patience.work_ms);
                self.pending.insert(number, Pending { client, what: What::Acknowledge(wanted), until_ms });
            }
            Err(not_taken) => {
                let fault = self.not_taken(not_taken);
                self.fail(client, fault);
            }
        }
        self.watch_spawner();
    }

    fn acknowledgement_signed(&mut self, client: u64, head: Wanted, outcome: SignOutcome) {
        match self.own(outcome) {
            Ok(signed) => {
                self.heads.standing = Standing::Sound;
                self.heads.trouble = None;
                self.remember(&head, &signed);
                self.times.published_seq = head.seq.saturating_add(1);
                self.record_signature(&head, Some(signed));
                self.tell(Severity::Warning, "root acknowledged the ledger as it is: requests are given again");
                let items = [json!({"acknowledged": {"seq": head.seq, "hash": head.hash}})];
                self.answer(client, &crate::answers::parts(items.to_vec()));
            }
            Err(cause) => {
                let fault = Fault {
                    code: FaultCode::Spawner,
                    message: format!(
                        "cannot sign the ledger's head: {}",
                        jitsudo_bytes::Bytes::from(cause.as_str()).visible()
                    ),
                    hint: Some(
                        "the acknowledgement is recorded, and nothing is given yet: mend that, and acknowledge again"
                            .to_owned(),
                    ),
                };
                self.fail(client, fault);
            }
        }
    }
}
