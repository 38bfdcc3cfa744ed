//! What grants may have left: shown, and acknowledged.

use jitsudo_protocol::client::{Ask, Order};
use serde_json::Value;

use super::look::{everybodys_for_root, some_of};
use super::{say, say_json};
use crate::arguments::{AcknowledgeResidue, Residue};
use crate::decider::Decider;
use crate::failure::Failure;
use crate::records::{self, read_all};
use crate::screen;
use crate::text::{View, short_id, visible};

/// What waits to be acknowledged.
pub(super) fn show(which: &Residue, json: bool, view: &View) -> Result<(), Failure> {
    let items = everybodys_for_root(which.all, |all| Ask::Residue { all })?;
    if json {
        say_json(&Value::Array(items.clone()))?;
    } else {
        say(&screen::residue::list(&read_all::<records::Residue>(&items)?, view))?;
    }
    some_of(&items, "no residue waits to be looked at")
}

/// Somebody looked at it.
pub(super) fn acknowledge(what: AcknowledgeResidue, json: bool) -> Result<(), Failure> {
    if what.reason.trim().is_empty() {
        let hint = Some("it stands in the ledger for good: what was found, and what was done about it");
        return Err(Failure::Usage { message: "cannot acknowledge without a reason".to_owned(), hint });
    }
    let value = Decider::connect()?.order(Order::AcknowledgeResidue { id: what.id, reason: what.reason })?;
    if json {
        return say_json(&value);
    }
    let id = value.get("id").and_then(Value::as_str).map(visible).unwrap_or_default();
    say(&format!("acknowledged: residue of {}\n", short_id(&id)))
}
