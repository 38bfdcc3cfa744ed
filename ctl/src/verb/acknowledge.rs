//! `audit acknowledge`: root's word that a ledger which lacks what was signed may go on.

use jitsudo_protocol::client::Ask;
use serde_json::Value;

use super::{say, say_json};
use crate::arguments::Acknowledge;
use crate::decider::Decider;
use crate::failure::Failure;
use crate::text::{count, digest};

/// Gives the word.
pub(super) fn run(what: Acknowledge, json: bool) -> Result<(), Failure> {
    if what.reason.trim().is_empty() {
        let hint = Some("it stands in the ledger for good: what happened, who looked, what was found");
        return Err(Failure::Usage { message: "cannot acknowledge without a reason".to_owned(), hint });
    }
    let value = Decider::connect()?.ask_one(Ask::Acknowledge { reason: what.reason })?;
    if json {
        return say_json(&value);
    }
    let head = value.get("acknowledged");
    let seq = head.and_then(|head| head.get("seq")).and_then(Value::as_u64).unwrap_or(0);
    let hash = head.and_then(|head| head.get("hash")).and_then(Value::as_str).unwrap_or_default();
    say(&format!("acknowledged: the ledger goes on from event {}, {}\n", count(seq), digest(hash)))
}
