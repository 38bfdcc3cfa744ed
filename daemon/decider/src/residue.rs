//! What grants may have left on the host: shown, and acknowledged by somebody else than whose grant it was.
//!
//! MUSTs
//! 1. Own ones are shown to their requester, others' need the duty `see` (host test `session_end_03_what_reached_another_manager_is_named_until_another_acknowledges_it`).
//! 2. Nobody acknowledges their own, by whichever account (`nobody_acknowledges_what_a_grant_of_their_own_left`, same host test).

use jitsudo_core::event::Event;
use jitsudo_core::facts::Facts;
use jitsudo_core::id::AccessId;
use jitsudo_core::name::Uid;
use jitsudo_core::residue::{NoAcknowledgement, may_acknowledge};
use jitsudo_core::state::{LookedAt, Residue, State};
use jitsudo_ledger::Priority;
use jitsudo_protocol::client::{Fault, FaultCode};
use serde_json::{Value, json};

use crate::client::fault;
use crate::daemon::{Daemon, wall};
use crate::work::After;
use crate::worker::is_meant;

/// Those of one account, or all, by id.
pub(crate) fn residues(state: &State, of: Option<Uid>) -> Vec<Value> {
    let wanted = state.residues().filter(|(_, residue)| of.is_none_or(|uid| residue.uid == Some(uid)));
    wanted.map(|(id, residue)| one(id, residue)).collect()
}

/// After how many grants nobody has looked yet, of one account or of all, and how many nobody ever will here.
pub(crate) fn counts(state: &State, of: Option<Uid>) -> Value {
    let waiting = state.residues().filter(|(_, residue)| of.is_none_or(|uid| residue.uid == Some(uid))).count();
    json!({"waiting": waiting, "forgotten": if of.is_none() { state.residues_forgotten() } else { 0 }})
}

/// What one access may have left, and who looked at it; null when nothing is known.
pub(crate) fn of_one(state: &State, id: &AccessId) -> Value {
    if let Some(residue) = state.residue(id) {
        return one(id, residue);
    }
    let Some(LookedAt { residue, at, uid, by, reason, .. }) = state.looked_at(id) else { return Value::Null };
    let mut value = one(id, residue);
    if let Value::Object(fields) = &mut value {
        let acknowledged = json!({"at": at, "uid": uid, "user": by, "reason": reason});
        fields.insert("acknowledged".to_owned(), acknowledged);
    }
    value
}

fn one(id: &AccessId, residue: &Residue) -> Value {
    json!({
        "id": id,
        "user": residue.user,
        "uid": residue.uid,
        "role": residue.role,
        "at": residue.at,
        "items": residue.items,
        "count": residue.count,
        "remark": residue.remark,
    })
}

impl Daemon {
    /// The facts that the order needed are here.
    pub(crate) fn acknowledge_residue(&mut self, client: u64, id: &str, reason: String, facts: &Facts) {
        let (id, residue) = match self.one_residue(id) {
            Ok(found) => found,
            Err(fault) => return self.fail(client, fault),
        };
        if let Err(why) = may_acknowledge(self.policy.policy(), facts, &residue, wall(self.moment)) {
            let own = residue.uid == Some(facts.requester.uid);
            return self.fail(client, refused(why, own, &id));
        }
        let item = json!({"id": id, "role": residue.role, "reason": reason});
        let requester = &facts.requester;
        let event = Event::ResidueAcknowledged { id, reason };
        let entry = self.stamp().entry_for(Some(requester.uid), requester.name.known().cloned(), event);
        let ticket = self.ledger.append(vec![entry], Priority::Essential);
        self.after.insert(ticket, After::Told { client, item });
    }

    fn one_residue(&self, id: &str) -> Result<(AccessId, Residue), Fault> {
        let mut meant = self.ledger.state().residues().filter(|(one, _)| is_meant(id, one.as_str()));
        let shown = || jitsudo_bytes::Bytes::from(id).visible();
        match (meant.next(), meant.next()) {
            (Some((id, residue)), None) => Ok((id.clone(), residue.clone())),
            (None, _) => Err(not_there(&shown())),
            (Some(_), Some(_)) => Err(fault(
                FaultCode::NotFound,
                &format!("cannot acknowledge {}: more than one begins so, give more of it", shown()),
            )),
        }
    }
}

fn not_there(shown: &str) -> Fault {
    Fault {
        code: FaultCode::NotFound,
        message: format!("cannot acknowledge {shown}: no residue of that id waits"),
        hint: Some("`jitctl residue` shows what does".to_owned()),
    }
}

fn refused(why: NoAcknowledgement, own: bool, id: &AccessId) -> Fault {
    let message = match why {
        NoAcknowledgement::Own => "cannot acknowledge it: it is of a grant of your own".to_owned(),
        // Whether another's is there nobody learns without a duty.
        NoAcknowledgement::NoDuty if !own => return not_there(id.short()),
        NoAcknowledgement::NoDuty => "cannot acknowledge it: that needs the duty `end` or `review`".to_owned(),
    };
    Fault { code: FaultCode::Duty, message, hint: Some("another administrator looks at it and does".to_owned()) }
}
