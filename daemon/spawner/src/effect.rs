//! Effect workers: one at a time, a minute each.

use std::path::Path;

use jitsudo_link::LIBEXEC;
use jitsudo_link::spawner::{ApplyOutcome, Effect};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::child::{self, Child};

/// Milliseconds for one effect.
const PATIENCE_MS: u64 = 60_000;

/// A worker at work, and where its outcome goes.
pub(crate) struct Worker {
    pub(crate) decider: u64,
    pub(crate) number: u64,
    pub(crate) dry_run: bool,
    pub(crate) channel: Channel,
    child: Child,
    until_ms: u64,
}

impl Worker {
    /// Starts a worker on an order; in words why not.
    pub(crate) fn start(
        decider: u64,
        number: u64,
        dry_run: bool,
        expect: Option<String>,
        now_ms: u64,
    ) -> Result<Self, String> {
        let start = || -> std::io::Result<(Child, Channel)> {
            let (ours, theirs) = Channel::pair()?;
            Ok((child::start(&Path::new(LIBEXEC).join("jitsudo-effects"), &[], &theirs)?, ours))
        };
        let (child, channel) = start().map_err(|error| format!("cannot start jitsudo-effects: {error}"))?;
        let text = serde_json::to_vec(&Effect::ApplyPolicy { dry_run, expect }).map_err(|error| error.to_string())?;
        channel.send(&text, &[]).map_err(|error| format!("cannot reach jitsudo-effects: {error}"))?;
        Ok(Self { decider, number, dry_run, channel, child, until_ms: now_ms + PATIENCE_MS })
    }

    /// Takes the outcome, and reaps the worker.
    pub(crate) fn outcome(self) -> ApplyOutcome {
        let outcome = match self.channel.receive() {
            Ok(Some(message)) => serde_json::from_slice(&message.bytes)
                .unwrap_or_else(|error| ApplyOutcome::Failed(format!("jitsudo-effects answered nonsense: {error}"))),
            Ok(None) | Err(_) => ApplyOutcome::Failed("jitsudo-effects ended without an answer".to_owned()),
        };
        self.child.end();
        outcome
    }

    /// Ends a worker that takes too long.
    pub(crate) fn give_up(self) -> ApplyOutcome {
        self.child.end();
        ApplyOutcome::Failed("jitsudo-effects took more than a minute".to_owned())
    }

    /// True when its minute is over.
    pub(crate) fn is_late(&self, now_ms: u64) -> bool {
        self.until_ms <= now_ms
    }
}
