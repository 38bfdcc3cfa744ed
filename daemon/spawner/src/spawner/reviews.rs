//! Reviews of break-glass: the reviewer is looked at here, by own facts and the applied policy.

use jitsudo_core::id::AccessId;
use jitsudo_core::review::{NoReview, may_review};
use jitsudo_link::spawner::{FromSpawner, ReviewOutcome};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::clock;

use super::Spawner;
use crate::record;

impl Spawner {
    /// Who asks has proven who they are: if it is break-glass, it waits for a review from now on.
    pub(super) fn uses_break_glass(&mut self, id: &AccessId) {
        if let Err(cause) = self.reviews.prove(id) {
            // It counts all the same, until a restart; the ledger has it for good.
            self.refuse_silently(&format!("break-glass {} cannot be noted: {cause}", id.short()));
        }
    }

    pub(super) fn review(&mut self, decider: u64, number: u64, id: &AccessId, connection: Option<&Channel>) {
        let outcome = self.reviewed(id, connection);
        if let ReviewOutcome::Refused(cause) = &outcome {
            self.refuse_silently(&format!("the decider had break-glass {} reviewed: {cause}", id.short()));
        }
        self.say(decider, &FromSpawner::Reviewed { number, outcome });
    }

    fn reviewed(&mut self, id: &AccessId, connection: Option<&Channel>) -> ReviewOutcome {
        let moment = clock::now();
        let look = connection.and_then(|connection| self.looked.take(connection, moment.boottime_ms));
        let Some(look) = look else {
            return ReviewOutcome::Refused("nobody on that connection was looked at".to_owned());
        };
        let Some(one) = self.reviews.past().waiting(id) else { return ReviewOutcome::Done { known: false } };
        let facts = &look.learnt.facts;
        match may_review(self.applied.policy.as_ref(), facts, one, record::wall(moment)) {
            Err(NoReview::Own) => ReviewOutcome::Refused("it is the reviewer's own".to_owned()),
            Err(NoReview::NotTheirs) => ReviewOutcome::Refused("no rule or duty gives it to the reviewer".to_owned()),
            Ok(()) => {
                self.reviews.remove(id);
                ReviewOutcome::Done { known: true }
            }
        }
    }
}
