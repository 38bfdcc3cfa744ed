//! Reviews of break-glass: which uses wait for one, and that one was done. The spawner looks at the reviewer by itself as well, and has a
//! list of its own.
//!
//! MUSTs
//! 1. Nobody reviews their own use, nor one that neither their duty nor its rule gives them (host test `break_glass_is_given_once_until_another_person_has_reviewed_it`).
//! 2. Who may not review an id does not learn whether it exists (the same).
//! 3. A review counts once it is durable (`review_recorded`).

use std::rc::Rc;

use jitsudo_core::event::Event;
use jitsudo_core::facts::Facts;
use jitsudo_core::id::AccessId;
use jitsudo_core::name::Uid;
use jitsudo_core::past::Unreviewed;
use jitsudo_core::review::{NoReview, is_own, may_review};
use jitsudo_core::state::Found;
use jitsudo_ledger::{AppendError, Priority};
use jitsudo_link::spawner::{ReviewOutcome, ToSpawner};
use jitsudo_protocol::client::{Fault, FaultCode};
use serde_json::{Value, json};

use crate::client::fault;
use crate::daemon::{Daemon, wall};
use crate::words;
use crate::work::{After, Pending, What};
use crate::worker::is_meant;

/// A review on its way.
#[derive(Clone, Debug)]
pub(crate) struct Review {
    id: AccessId,
    note: String,
    uid: Uid,
    name: Option<String>,
    /// The ledger has it waiting.
    waits: bool,
}

impl Daemon {
    /// The uses that wait for a review: those that the requester of `facts` may review, and their own.
    pub(crate) fn reviews(&self, facts: &Facts) -> Vec<Value> {
        let (policy, now) = (self.policy.policy(), wall(self.moment));
        let one = |one: &Unreviewed| {
            let own = is_own(policy, facts, one);
            let may = may_review(policy, facts, one, now).is_ok();
            (own || may).then(|| self.one_review(one, own))
        };
        self.ledger.state().past().unreviewed().filter_map(one).collect()
    }

    fn one_review(&self, one: &Unreviewed, own: bool) -> Value {
        let access = self.ledger.state().access(&one.id);
        let asked = access.map(jitsudo_core::state::Access::asked_for);
        let given = access.and_then(jitsudo_core::state::Access::given);
        json!({
            "id": one.id,
            "user": one.user,
            "uid": one.uid,
            "rule": one.rule,
            "role": given.and_then(|given| given.allowed.role.clone()),
            "reason": asked.and_then(|asked| asked.reason.clone()),
            "at": one.at,
            "active": access.is_some_and(jitsudo_core::state::Access::is_live),
            "own": own,
        })
    }

    /// The reviewer's facts are here: who they are decides, and then the spawner says the same.
    pub(crate) fn begin_review(&mut self, client: u64, id: &str, note: String, facts: &Facts) {
        let waiting: Vec<Unreviewed> =
            self.ledger.state().past().unreviewed().filter(|one| is_meant(id, one.id.as_str())).cloned().collect();
        let now = wall(self.moment);
        let may = |one: &Unreviewed| may_review(self.policy.policy(), facts, one, now);
        let mut open = waiting.iter().filter(|one| may(one).is_ok());
        let access = match (open.next(), open.next()) {
            (Some(one), None) => one.id.clone(),
            (Some(_), Some(_)) => {
                let words = format!("cannot review {}: more than one begins so, give more of it", shown(id));
                return self.fail(client, fault(FaultCode::NotFound, &words));
            }
            (None, _) if waiting.iter().any(|one| may(one) == Err(NoReview::Own)) => {
                return self.fail(client, own_use());
            }
            // The spawner may still have what the ledger has reviewed.
            (None, _) => match self.ledger.state().find(id) {
                Found::One(access) if waiting.is_empty() && facts.requester.uid == Uid(self.places.root) => {
                    access.id().clone()
                }
                Found::One(_) | Found::None | Found::Several(_) => return self.fail(client, not_there(id)),
            },
        };
        if self.ledger.state().access(&access).is_some_and(jitsudo_core::state::Access::is_live) {
            let fault = Fault {
                code: FaultCode::NotFound,
                message: format!("cannot review {}: it is not over", access.short()),
                hint: Some(format!("`jitctl end {}` ends it", access.short())),
            };
            return self.fail(client, fault);
        }
        let waits = !waiting.is_empty();
        let (uid, name) = (facts.requester.uid, facts.requester.name.known().cloned());
        self.order_review(client, Review { id: access, note, uid, name, waits });
    }

    fn order_review(&mut self, client: u64, review: Review) {
        if !self.spawner.has_reviews() {
            return self.fail(client, older_spawner());
        }
        let number = self.number();
        let Some(channel) = self.clients.get(&client).map(|client| Rc::clone(&client.channel)) else { return };
        match self.spawner.order(&ToSpawner::Review { number, id: review.id.clone() }, Some(&channel)) {
            Ok(()) => {
                let until_ms = self.now_ms().saturating_add(self.patience.work_ms);
                self.pending.insert(number, Pending { client, what: What::Review(review), until_ms });
            }
            Err(not_taken) => {
                let fault = self.not_taken(not_taken);
                self.fail(client, fault);
            }
        }
        self.watch_spawner();
    }

    /// The spawner has looked at the reviewer.
    pub(crate) fn reviewed(&mut self, number: u64, outcome: ReviewOutcome) {
        if !matches!(self.pending.get(&number), Some(Pending { what: What::Review(_), .. })) {
            return;
        }
        let Some(Pending { client, what: What::Review(review), .. }) = self.pending.remove(&number) else { return };
        match outcome {
            ReviewOutcome::Refused(cause) => {
                let words = format!("cannot review: jitsudo-spawn does not agree: {cause}");
                self.fail(client, fault(FaultCode::Internal, &words));
            }
            ReviewOutcome::Done { known: false } if !review.waits => self.fail(client, not_there(review.id.short())),
            ReviewOutcome::Done { .. } if !review.waits => self.tell_reviewed(client, &review.id),
            ReviewOutcome::Done { .. } => {
                let Review { id, note, uid, name, .. } = review;
                let entry = self.stamp().entry_for(Some(uid), name, Event::Reviewed { id: id.clone(), note });
                let ticket = self.ledger.append(vec![entry], Priority::Essential);
                self.after.insert(ticket, After::Reviewed { client, id });
            }
        }
    }

    /// It is durable, or is not.
    pub(crate) fn review_recorded(&mut self, client: u64, id: &AccessId, outcome: Result<(), AppendError>) {
        match outcome {
            Ok(()) => self.tell_reviewed(client, id),
            Err(error) => self.fail(client, words::ledger_fault(&error)),
        }
    }

    fn tell_reviewed(&mut self, client: u64, id: &AccessId) {
        self.give_items(client, vec![json!({"id": id, "reviewed": true})]);
    }
}

/// Break-glass and its reviews need a spawner that keeps its own list of them.
pub(crate) fn older_spawner() -> Fault {
    Fault {
        code: FaultCode::NotSupported,
        message: "cannot do it: jitsudo-spawn is of an older version".to_owned(),
        hint: Some("systemctl restart jitsudo-spawn (running commands go on)".to_owned()),
    }
}

fn own_use() -> Fault {
    Fault {
        code: FaultCode::Duty,
        message: "cannot review: it is your own use, and another person looks at it".to_owned(),
        hint: None,
    }
}

fn not_there(id: &str) -> Fault {
    Fault {
        code: FaultCode::NotFound,
        message: format!("cannot review {}: nothing of that id waits for a review of yours", shown(id)),
        hint: Some("`jitctl review` shows what waits".to_owned()),
    }
}

fn shown(id: &str) -> String {
    jitsudo_bytes::Bytes::from(id).visible()
}
