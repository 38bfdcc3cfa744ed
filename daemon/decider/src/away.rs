//! The spawner is away for a moment (a start, an upgrade, a crash): who asks meanwhile waits for it instead of being refused.
//!
//! MUSTs
//! 1. A run that waited, and what was approved, is held back by everything that holds back one that comes now
//!    (`audit_log_04_exchanged_ledger_*`, `nothing_is_asked_on_a_ledger_*`).
//! 2. What was asked before the spawner went is not asked again: it may be what it died of.

use jitsudo_link::facts::About;
use jitsudo_protocol::client::Ask;

use crate::daemon::Daemon;
use crate::spawner::NotTaken;
use crate::work::What;

/// What the spawner has not heard yet of a client. No more of them than clients.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) client: u64,
    pub(crate) for_what: Later,
}

/// See [`Waiting`].
#[derive(Debug)]
pub(crate) enum Later {
    /// A question about the client.
    Look(About, What),
    /// What root asks that needs no facts.
    Ask(Ask),
    /// That an authentication is forgotten: all of them, or the terminal's.
    Forget(bool),
}

impl Daemon {
    /// Takes what has to wait for the spawner; gives it back when that is there, or will not be there soon.
    pub(crate) fn unless_soon_back(&mut self, client: u64, for_what: Later) -> Option<Later> {
        if !self.spawner.is_soon_back(self.now_ms(), self.patience.spawner_ms) {
            return Some(for_what);
        }
        self.waiting.push(Waiting { client, for_what });
        None
    }

    /// It is there: what waited is done.
    pub(crate) fn spawner_is_back(&mut self) {
        for Waiting { client, for_what } in std::mem::take(&mut self.waiting) {
            match for_what {
                // The ledger may have to be looked at first, now that the spawner has said what it signed.
                Later::Look(_, What::Run(act) | What::Weigh(act)) => self.begin_run(client, act),
                Later::Look(_, What::Activate(id)) => self.begin_activation(&id),
                Later::Look(about, what) => self.look(client, about, what),
                Later::Ask(ask) => self.begin_ask(client, ask),
                Later::Forget(all) => self.begin_forget(client, all),
            }
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
