//! Signatures of the ledger: the key and all arithmetic are a worker's; here is only the order of things.

use std::io;
use std::path::Path;

use jitsudo_link::spawner::{Effect, Memory, SignOutcome, Wanted};
use jitsudo_link::{MAX_STATE_BYTES, SIGNED_HEAD, STATE};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::trusted::{self, UntrustedError};

use crate::descriptors;
use crate::effect::{Allowance, Told, Worker};

/// What is answered, and to whom.
pub(crate) type Answer = (Told<Wanted>, SignOutcome);

/// The one signature that is being made, and how many more may be.
pub(crate) struct Signing {
    worker: Option<Worker<Wanted>>,
    allowance: Allowance,
}

/// What was signed last, from root's file: a decider that has just connected compares its ledger with that.
///
/// # Errors
/// No descriptor is left to look with: that says nothing of the file, and is over soon.
pub(crate) fn memory() -> io::Result<Memory> {
    match trusted::read(&Path::new(STATE).join(SIGNED_HEAD), MAX_STATE_BYTES) {
        Ok(file) => Ok(Memory::read(file.as_deref())),
        Err(UntrustedError::Io { cause, .. }) if descriptors::are_used_up(&cause) => Err(cause),
        Err(error) => Ok(Memory::Unreadable(error.to_string())),
    }
}

/// An order that nothing came of.
pub(crate) fn failed(told: Told<Wanted>, cause: String) -> Answer {
    (told, SignOutcome::Failed(cause))
}

impl Signing {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self { worker: None, allowance: Allowance::new(now_ms) }
    }

    /// Starts a worker; what is answered at once when none can be had. Only root's acknowledgement is not rationed.
    pub(crate) fn begin(&mut self, told: Told<Wanted>, host: &str, acknowledged: bool, now_ms: u64) -> Option<Answer> {
        if self.worker.is_some() {
            return Some(failed(told, "another signature is being made at this moment".to_owned()));
        }
        if !acknowledged && !self.allowance.take(now_ms) {
            return Some(failed(told, "too many signatures were asked for".to_owned()));
        }
        let order = Effect::Sign { host: host.to_owned(), wanted: told.what.clone(), acknowledged };
        match Worker::start(told.clone(), &order, now_ms) {
            Ok(worker) => {
                self.worker = Some(worker);
                None
            }
            Err(cause) => Some(failed(told, cause)),
        }
    }

    /// What the worker is waited for on.
    pub(crate) fn channel(&self) -> Option<&Channel> {
        self.worker.as_ref().map(|worker| &worker.channel)
    }

    /// The worker has answered, or is gone.
    pub(crate) fn outcome(&mut self) -> Option<Answer> {
        let (told, outcome) = self.worker.take()?.outcome();
        Some((told, outcome.unwrap_or_else(SignOutcome::Failed)))
    }

    /// Gives a worker up that takes too long.
    pub(crate) fn give_up_the_late(&mut self, now_ms: u64) -> Option<Answer> {
        let (told, cause) = self.worker.take_if(|worker| worker.is_late(now_ms))?.give_up();
        Some(failed(told, cause))
    }
}
