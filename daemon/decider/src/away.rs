//! The spawner is away for a moment (a start, an upgrade, a crash): who asks meanwhile waits for it instead of being refused.
//!
//! What was asked before it went is not asked again: it may be what the spawner died of.

use jitsudo_link::facts::About;

use crate::daemon::Daemon;
use crate::spawner::NotTaken;
use crate::work::What;

/// A question that the spawner has not heard yet. No more of them than clients.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) client: u64,
    pub(crate) about: About,
    pub(crate) what: What,
}

impl Daemon {
    /// Asks when the spawner is there, or tells the client that it is not.
    pub(crate) fn wait_for_spawner(&mut self, waiting: Waiting) {
        self.waiting.push(waiting);
    }

    /// It is there: what waited is asked.
    pub(crate) fn spawner_is_back(&mut self) {
        for Waiting { client, about, what } in std::mem::take(&mut self.waiting) {
            self.look(client, about, what);
        }
    }

    /// It stays away: who waited is told.
    pub(crate) fn spawner_is_still_away(&mut self, now_ms: u64) {
        if self.spawner.is_soon_back(now_ms, self.patience.spawner_ms) {
            return;
        }
        for Waiting { client, .. } in std::mem::take(&mut self.waiting) {
            let fault = self.not_taken(NotTaken::Away);
            self.fail(client, fault);
        }
    }
}
