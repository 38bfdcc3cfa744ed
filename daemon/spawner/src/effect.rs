//! Effect workers: one of a kind at a time, a minute each, and signatures not oftener than a ledger needs them.

use std::path::Path;

use jitsudo_link::LIBEXEC;
use jitsudo_link::spawner::Effect;
use jitsudo_sys::channel::Channel;
use jitsudo_sys::child::{self, Child};
use serde::de::DeserializeOwned;

/// Milliseconds for one effect.
const PATIENCE_MS: u64 = 60_000;
/// Signatures that may be asked for at once.
const MAX_SIGNATURES: u64 = 10;
/// Milliseconds until one more may be asked for: one a minute is usual, and one more for each sealed segment.
const SIGNATURE_MS: u64 = 5_000;

/// Who told a worker what.
#[derive(Clone, Debug)]
pub(crate) struct Told<What> {
    /// The decider's connection.
    pub(crate) decider: u64,
    /// Its number of the order.
    pub(crate) number: u64,
    pub(crate) what: What,
}

/// A worker at work.
pub(crate) struct Worker<What> {
    pub(crate) channel: Channel,
    told: Told<What>,
    child: Child,
    until_ms: u64,
}

impl<What> Worker<What> {
    /// Starts a worker on an order; in words why not.
    pub(crate) fn start(told: Told<What>, order: &Effect, now_ms: u64) -> Result<Self, String> {
        let start = || -> std::io::Result<(Child, Channel)> {
            let (ours, theirs) = Channel::pair()?;
            Ok((child::start(&Path::new(LIBEXEC).join("jitsudo-effects"), &[], &theirs)?, ours))
        };
        let (child, channel) = start().map_err(|error| format!("cannot start jitsudo-effects: {error}"))?;
        let text = serde_json::to_vec(order).map_err(|error| error.to_string())?;
        channel.send(&text, &[]).map_err(|error| format!("cannot reach jitsudo-effects: {error}"))?;
        Ok(Self { channel, told, child, until_ms: now_ms + PATIENCE_MS })
    }

    /// Takes the outcome, and reaps the worker; in words why there is none.
    pub(crate) fn outcome<Outcome: DeserializeOwned>(self) -> (Told<What>, Result<Outcome, String>) {
        let outcome = match self.channel.receive() {
            Ok(Some(message)) => serde_json::from_slice(&message.bytes)
                .map_err(|error| format!("jitsudo-effects answered nonsense: {error}")),
            Ok(None) | Err(_) => Err("jitsudo-effects ended without an answer".to_owned()),
        };
        self.child.end();
        (self.told, outcome)
    }

    /// Ends a worker that takes too long; in words what is to be said of that.
    pub(crate) fn give_up(self) -> (Told<What>, String) {
        self.child.end();
        (self.told, "jitsudo-effects took more than a minute".to_owned())
    }

    /// What it was told.
    pub(crate) fn what(&self) -> &What {
        &self.told.what
    }

    /// True when its minute is over.
    pub(crate) fn is_late(&self, now_ms: u64) -> bool {
        self.until_ms <= now_ms
    }
}

/// How many signatures may be asked for now: a decider that went wrong must not keep the host busy.
#[derive(Debug)]
pub(crate) struct Allowance {
    left: u64,
    refilled_ms: u64,
}

impl Allowance {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self { left: MAX_SIGNATURES, refilled_ms: now_ms }
    }

    /// Takes one; false when there is none left.
    pub(crate) fn take(&mut self, now_ms: u64) -> bool {
        let more = now_ms.saturating_sub(self.refilled_ms) / SIGNATURE_MS;
        self.refilled_ms = self.refilled_ms.saturating_add(more.saturating_mul(SIGNATURE_MS));
        self.left = self.left.saturating_add(more).min(MAX_SIGNATURES);
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_rationed_and_come_back() {
        let mut allowance = Allowance::new(1_000);
        assert_eq!((0..100).filter(|_| allowance.take(1_000)).count(), 10);
        assert!(!allowance.take(5_999) && allowance.take(6_000) && !allowance.take(10_999));
        assert!(allowance.take(11_000), "what was too early costs nothing");
        assert_eq!((0..100).filter(|_| allowance.take(10_000_000)).count(), 10);
    }
}
