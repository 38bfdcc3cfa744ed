//! What was asked and what became of it, in the shapes of docs/json.md: pure.
//!
//! MUST: without the duty `see` nobody learns the name of the rule behind a denial (`info_leak_07_*`), and nobody which ids others have
//! (`find` looks among one account's own).

use jitsudo_bytes::Bytes;
use jitsudo_core::name::Uid;
use jitsudo_core::request::Kind;
use jitsudo_core::state::{Access, Allowed, State};
use jitsudo_protocol::client::{Fault, FaultCode};
use serde_json::{Value, json};

use crate::{answers, residue};

/// Requests listed: the newest.
const MAX_REQUESTS: usize = 100;
/// Longest id that is looked for.
const MAX_ID: usize = 64;

/// The newest requests of one account, or of all, oldest first.
pub(crate) fn requests(state: &State, of: Option<Uid>) -> Vec<Value> {
    let mut all: Vec<&Access> = state
        .all()
        .filter(|access| access.asked_for().kind != Kind::Validate)
        .filter(|access| of.is_none_or(|uid| access.asked_for().uid == uid))
        .collect();
    all.sort_by_key(|access| std::cmp::Reverse(access.asked_for().at));
    all.truncate(MAX_REQUESTS);
    all.into_iter().rev().map(asked).collect()
}

/// The one access that an id means, of one account or of all.
pub(crate) fn find<'a>(state: &'a State, id: &str, of: Option<Uid>) -> Result<Option<&'a Access>, Fault> {
    let shown = || Bytes::from(id).visible();
    if id.len() > MAX_ID {
        return Ok(None);
    }
    let own = state.all().filter(|access| of.is_none_or(|uid| access.asked_for().uid == uid));
    let mut meant = own.filter(|access| access.id().is_meant_by(id));
    match (meant.next(), meant.count()) {
        (one, 0) => Ok(one),
        (_, more) => Err(Fault {
            code: FaultCode::NotFound,
            message: format!("cannot tell which {} is meant: {} ids begin so", shown(), more + 1),
            hint: Some("give more of it; `jitctl requests --json` has whole ids".to_owned()),
        }),
    }
}

/// How far it is, in one word.
fn stage(access: &Access) -> &'static str {
    match access {
        Access::Asked(_) | Access::Allowed(_) | Access::Activating(_) => "waiting",
        Access::Waiting(_) | Access::Approved(_) => "waiting",
        Access::Refused(_) => "refused",
        Access::Lapsed(_) => "lapsed",
        Access::Withdrawn(_) => "withdrawn",
        Access::Denied(_) => "denied",
        Access::Failed(_) => "failed",
        Access::Active(_) => "active",
        Access::Ended(_) => "ending",
        Access::Closed(_) => "closed",
    }
}

fn allowed(access: &Access) -> Option<&Allowed> {
    match access {
        Access::Allowed(allowed) => Some(allowed),
        Access::Failed(failed) => Some(&failed.allowed),
        Access::Waiting(waiting) => Some(&waiting.allowed),
        Access::Approved(approved) => Some(&approved.waiting.allowed),
        Access::Refused(refused) => Some(&refused.waiting.allowed),
        Access::Lapsed(lapsed) => Some(&lapsed.waiting.allowed),
        Access::Asked(_) | Access::Denied(_) | Access::Withdrawn(_) => None,
        Access::Activating(_) | Access::Active(_) | Access::Ended(_) | Access::Closed(_) => {
            access.given().map(|given| &given.allowed)
        }
    }
}

fn asked(access: &Access) -> Value {
    let asked = access.asked_for();
    let allowed = allowed(access);
    json!({
        "id": asked.id,
        "at": asked.at,
        "user": asked.user,
        "uid": asked.uid,
        "kind": asked.kind,
        "argv": asked.argv,
        "target": asked.target,
        "role": allowed.and_then(|allowed| allowed.role.as_ref()).or(asked.role.as_ref()),
        "rule": allowed.and_then(|allowed| allowed.rule.as_ref()),
        "reason": asked.reason,
        "ticket": asked.ticket,
        "ends_at": access.given().map(|given| given.ends.at),
        "stage": stage(access),
    })
}

/// Everything of one access; `own`: for its requester, who has no duty.
pub(crate) fn show(state: &State, access: &Access, own: bool) -> Value {
    let mut shown = asked(access);
    let Value::Object(fields) = &mut shown else { return shown };
    let mut add = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    let first = access.asked_for();
    add("loginuid", json!(first.loginuid));
    add("origin", json!(first.origin));
    add("decision", decision(access, own));
    if let Some(given) = access.given() {
        add("since", json!(given.since));
        add("first_end", json!(given.first_end()));
        add("lent", json!(given.lent));
        add("taken_back", json!(given.taken_back));
        add("groups", json!(given.groups));
        add("not_clean", json!(given.unclean));
    }
    let ended = match access {
        Access::Ended(ended) => Some(ended),
        Access::Closed(closed) => Some(&closed.ended),
        _ => None,
    };
    add("ended", ended.map_or(Value::Null, |ended| json!({"at": ended.at, "cause": ended.cause})));
    add("closed", if let Access::Closed(closed) = access { json!(closed.at) } else { Value::Null });
    add("failed", if let Access::Failed(failed) = access { json!(failed.cause) } else { Value::Null });
    add("approval", approval(access));
    let sessions = access.sessions().map(|session| answers::one_session(access, session)).collect();
    add("sessions", Value::Array(sessions));
    add("residue", residue::of_one(state, access.id()));
    shown
}

/// What other people were asked and said, as long as nothing was given.
fn approval(access: &Access) -> Value {
    let refused = match access {
        Access::Refused(refused) => {
            json!({"at": refused.at, "user": refused.user, "uid": refused.uid, "reason": refused.reason})
        }
        _ => Value::Null,
    };
    let waiting = match access {
        Access::Refused(refused) => &refused.waiting,
        Access::Lapsed(lapsed) => &lapsed.waiting,
        other => match other.waiting() {
            Some(waiting) => waiting,
            None => return Value::Null,
        },
    };
    let yes = |yes: &jitsudo_core::state::Yes| json!({"at": yes.at, "user": yes.user, "uid": yes.uid, "person": yes.person, "window": yes.limits.window});
    json!({
        "asked": waiting.approvers,
        "persons": waiting.persons,
        "answer_by": waiting.answer_by.at,
        "yes": waiting.yes.iter().map(yes).collect::<Vec<_>>(),
        "refused": refused,
    })
}

fn decision(access: &Access, own: bool) -> Value {
    if let Access::Denied(denied) = access {
        let mut denial = denied.denial.clone();
        if own && let Some(denial) = &mut denial {
            denial.by = None;
        }
        return json!({"allowed": false, "at": denied.at, "policy": denied.policy, "denial": denial});
    }
    allowed(access).map_or(
        Value::Null,
        |allowed| json!({"allowed": true, "at": allowed.at, "policy": allowed.policy, "source": allowed.source}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Asked, Stamp};
    use crate::tests::samples;
    use jitsudo_core::Timestamp;
    use jitsudo_core::decision::{Cause, Denial};
    use jitsudo_core::id::AccessId;
    use jitsudo_link::facts::Peer;

    /// A state with so many requests of uid 1000 that a rule of others denied.
    fn denied(count: u8) -> State {
        let (facts, request) = (samples::facts(), samples::request(&["id"]));
        let mut state = State::default();
        for number in 0..count {
            let id = AccessId::new(u64::from(number), [7; 10]);
            let peer = Peer { pid: 7, uid: 1000, gid: 1000 };
            let asked =
                Asked { id: &id, peer, facts: &facts, process: None, request: &request, digest: "d", policy: "p" };
            let wall = Timestamp::from_second(i64::from(number)).unwrap();
            let stamp = Stamp { host: "h".into(), boot: "b".into(), wall, boottime_ms: 1 };
            let denial = Denial { cause: Cause::Denied, detail: vec!["no".into()], by: Some("secret rule".into()) };
            asked.denied(&stamp, &denial).iter().for_each(|entry| state.apply(entry));
        }
        state
    }

    #[test]
    fn newest_requests_come_last_and_are_bounded() {
        let listed = requests(&denied(120), Some(Uid(1000)));
        assert_eq!(listed.len(), MAX_REQUESTS);
        assert!(listed.first().unwrap()["at"].as_str() < listed.last().unwrap()["at"].as_str());
        assert_eq!((&listed[0]["stage"], &listed[0]["argv"][0]), (&json!("denied"), &json!("id")));
        assert!(requests(&denied(3), Some(Uid(1001))).is_empty());
    }

    #[test]
    fn info_leak_07_own_access_is_shown_without_the_name_of_the_rule_that_denied() {
        let state = denied(1);
        let access = state.all().next().unwrap();
        assert!(!show(&state, access, true).to_string().contains("secret rule"));
        assert!(show(&state, access, false).to_string().contains("secret rule"));
        assert_eq!(show(&state, access, true)["decision"]["denial"]["detail"][0], "no");
    }

    #[test]
    fn id_that_means_several_says_so_and_one_of_others_is_none() {
        let state = denied(2);
        let short = state.all().next().unwrap().id().short().to_owned();
        let fault = find(&state, &short, Some(Uid(1000))).unwrap_err();
        assert!(fault.message.ends_with("2 ids begin so"), "{}", fault.message);
        assert!(find(&state, &short, Some(Uid(1001))).unwrap().is_none());
        assert!(find(&state, &"x".repeat(1000), None).unwrap().is_none());
        let whole = state.all().next().unwrap().id().to_string();
        assert_eq!(find(&state, &whole, None).unwrap().unwrap().id().as_str(), whole);
    }
}
