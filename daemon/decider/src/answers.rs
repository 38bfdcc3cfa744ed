//! What `jitctl` is answered, in the shapes of docs/json.md: pure.
//!
//! MUST: no part of an answer is longer than a datagram (`every_part_fits_a_datagram`).

use jitsudo_core::name::Uid;
use jitsudo_core::offers::Offer;
use jitsudo_core::state::{Access, PolicyInForce, Session, State};
use jitsudo_protocol::client::FromDecider;
use serde_json::{Value, json};

/// Longest list of items in one part, bytes of JSON.
const MAX_PART_BYTES: usize = 60 * 1024;
/// Sessions that ended and are still listed.
const MAX_ENDED: usize = 100;

/// Splits an answer into its parts.
pub(crate) fn parts(items: Vec<Value>) -> Vec<FromDecider> {
    let mut parts: Vec<Vec<Value>> = vec![Vec::new()];
    let mut room = MAX_PART_BYTES;
    for item in items {
        let item = fitted(item);
        let length = item.to_string().len() + 1;
        if length > room {
            parts.push(Vec::new());
            room = MAX_PART_BYTES;
        }
        room = room.saturating_sub(length);
        if let Some(part) = parts.last_mut() {
            part.push(item);
        }
    }
    let last = parts.len().saturating_sub(1);
    let numbered = parts.into_iter().enumerate();
    numbered.map(|(place, items)| FromDecider::Answer { items, more: place < last }).collect()
}

/// Shortens an item that no part could hold: its longest field loses half, again and again, and `shortened` says which.
fn fitted(mut item: Value) -> Value {
    // Each round halves the longest field: 64 rounds are more than any length needs.
    for _ in 0..64 {
        if item.to_string().len() < MAX_PART_BYTES {
            break;
        }
        let Value::Object(fields) = &mut item else { return Value::Null };
        let longest = fields.iter().max_by_key(|(_, value)| value.to_string().len()).map(|(key, _)| key.clone());
        let Some(key) = longest else { break };
        if let Some(value) = fields.get_mut(&key) {
            halve(value);
        }
        fields.insert("shortened".to_owned(), Value::String(key));
    }
    item
}

fn halve(value: &mut Value) {
    match value {
        Value::Array(list) if list.len() > 1 => list.truncate(list.len() / 2),
        Value::Array(list) => list.iter_mut().for_each(halve),
        Value::String(text) => {
            let mut half = text.len() / 2;
            while !text.is_char_boundary(half) {
                half -= 1;
            }
            text.truncate(half);
        }
        Value::Object(fields) => {
            let longest = fields.iter().max_by_key(|(_, value)| value.to_string().len()).map(|(key, _)| key.clone());
            if let Some(value) = longest.and_then(|key| fields.get_mut(&key)) {
                halve(value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => *value = Value::Null,
    }
}

/// Sessions, oldest first: those of one account, or all; running ones, or the newest ended ones as well.
pub(crate) fn sessions(state: &State, of: Option<Uid>, ended: bool) -> Vec<Value> {
    let accesses = state.all().filter(|access| of.is_none_or(|uid| access.asked_for().uid == uid));
    let all = accesses.flat_map(|access| access.sessions().map(move |session| (access, session)));
    let (mut running, mut over): (Vec<_>, Vec<_>) = all.partition(|(access, session)| is_running(access, session));
    if ended {
        over.sort_by_key(|(_, session)| std::cmp::Reverse(session.since));
        over.truncate(MAX_ENDED);
        running.append(&mut over);
    }
    running.sort_by_key(|(_, session)| session.since);
    running.into_iter().map(|(access, session)| one_session(access, session)).collect()
}

/// Running, as far as the ledger knows.
pub(crate) fn is_running(access: &Access, session: &Session) -> bool {
    matches!(access, Access::Activating(_) | Access::Active(_)) && session.outcome.is_none()
}

pub(crate) fn one_session(access: &Access, session: &Session) -> Value {
    let asked = access.asked_for();
    let given = access.given();
    let ended = session.outcome.as_ref().map(|outcome| outcome.at).or(match access {
        Access::Ended(ended) => Some(ended.at),
        Access::Closed(closed) => Some(closed.ended.at),
        Access::Failed(failed) => Some(failed.at),
        Access::Asked(_) | Access::Allowed(_) | Access::Denied(_) | Access::Activating(_) | Access::Active(_) => None,
        Access::Waiting(_) | Access::Approved(_) | Access::Refused(_) | Access::Lapsed(_) | Access::Withdrawn(_) => {
            None
        }
    });
    json!({
        "session": session.id.to_string(),
        "id": asked.id.to_string(),
        "user": asked.user,
        "uid": asked.uid,
        "target": session.target,
        "argv": session.argv.as_ref().unwrap_or(&asked.argv),
        "rule": given.and_then(|given| given.allowed.rule.clone()),
        "role": given.and_then(|given| given.allowed.role.clone()),
        "started": session.since,
        "ends_at": session.ends_at.or(given.map(|given| given.ends.at)),
        "record": session.record,
        "running": null,
        "ended": ended,
        "ending": session.outcome.as_ref().map(|outcome| outcome.ending),
    })
}

/// Roles that are held, or whose end is not verified yet, by id: of one account, or all.
pub(crate) fn grants(state: &State, of: Option<Uid>) -> Vec<Value> {
    let live = state.live_accesses().filter(|access| of.is_none_or(|uid| access.asked_for().uid == uid));
    live.filter_map(|access| Some((access, access.given().filter(|given| given.is_role())?)))
        .map(|(access, given)| {
            let asked = access.asked_for();
            let stage = match access {
                Access::Active(_) => "active",
                Access::Activating(_) => "activating",
                _ => "ending",
            };
            json!({
                "id": asked.id,
                "user": asked.user,
                "uid": asked.uid,
                "role": given.allowed.role,
                "groups": given.groups,
                "lent": given.lent,
                "rule": given.allowed.rule,
                "reason": asked.reason,
                "ticket": asked.ticket,
                "since": given.since,
                "ends_at": given.ends.at,
                "processes_end_at": given.processes_end_at(),
                "stage": stage,
                "not_clean": given.unclean,
                "sessions": access.sessions().filter(|session| is_running(access, session)).count(),
            })
        })
        .collect()
}

/// Where somebody stands.
pub(crate) fn standing(
    host: &str,
    uid: Uid,
    user: Option<&str>,
    policy: Option<&str>,
    state: &State,
    offers: &[Offer],
    residue: &[Value],
) -> Value {
    json!({
        "host": host,
        "user": user,
        "uid": uid,
        "policy": policy,
        "active": sessions(state, Some(uid), false),
        "grants": grants(state, Some(uid)),
        "residue": residue,
        "waiting": [],
        "offers": offers,
    })
}

/// The policy in force. `since` is the ledger's word on it, which counts only for the same digest.
pub(crate) fn policy_status(digest: Option<&str>, rules: u64, roles: u64, since: Option<&PolicyInForce>) -> Value {
    let recorded = since.filter(|recorded| Some(recorded.digest.as_str()) == digest);
    json!({
        "policy": digest,
        "rules": rules,
        "roles": roles,
        "files": recorded.map(|recorded| recorded.files.clone()).unwrap_or_default(),
        "applied_at": recorded.map(|recorded| recorded.since),
        "applied_by": recorded.map(|_| "root"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(items: Vec<Value>) -> Vec<usize> {
        parts(items).iter().map(|part| serde_json::to_vec(part).unwrap().len()).collect()
    }

    #[test]
    fn every_part_fits_a_datagram() {
        let small: Vec<_> = (0..5000).map(|number| json!({"seq": number, "text": "x".repeat(100)})).collect();
        let large = json!({"seq": 1, "argv": vec!["x".repeat(4096); 64], "event": "requested"});
        let one_word = json!({"text": "é".repeat(1_000_000)});
        let deep = json!({"done": {"warnings": "w".repeat(100_000), "added": vec!["r"; 50_000]}});
        for items in [small, vec![large, one_word, deep], vec![], vec![json!("x".repeat(100_000))]] {
            let lengths = lengths(items);
            assert!(lengths.iter().all(|length| *length < jitsudo_protocol::MAX_DATAGRAM), "{lengths:?}");
        }
    }

    #[test]
    fn shortened_item_says_so_and_keeps_its_small_fields() {
        let FromDecider::Answer { items, more: false } =
            parts(vec![json!({"seq": 7, "argv": vec!["x"; 90_000]})]).remove(0)
        else {
            panic!("one part");
        };
        assert_eq!((&items[0]["seq"], &items[0]["shortened"]), (&json!(7), &json!("argv")));
    }

    #[test]
    fn empty_answer_is_one_empty_part() {
        assert_eq!(parts(Vec::new()), [FromDecider::Answer { items: Vec::new(), more: false }]);
    }

    #[test]
    fn policy_of_another_digest_has_no_date() {
        let recorded = PolicyInForce {
            digest: "a".into(),
            since: jitsudo_core::Timestamp::UNIX_EPOCH,
            rules: 1,
            roles: 1,
            files: vec!["10.toml".into()],
        };
        assert_eq!(policy_status(Some("b"), 1, 1, Some(&recorded))["applied_at"], Value::Null);
        assert_eq!(policy_status(Some("a"), 1, 1, Some(&recorded))["files"], json!(["10.toml"]));
    }
}
