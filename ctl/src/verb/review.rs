//! `review`: what waits for one, and that it was done.

use jitsudo_protocol::client::{Ask, Order};
use serde_json::Value;

use super::{say, say_json};
use crate::arguments::Review;
use crate::decider::Decider;
use crate::failure::Failure;
use crate::records::{self, read_all};
use crate::screen;
use crate::text::{View, short_id, visible};

/// Lists, or reviews one.
pub(super) fn run(what: Review, json: bool, view: &View) -> Result<(), Failure> {
    match (what.id, what.note) {
        (Some(id), Some(note)) => review(id, note, json),
        (_, _) => list(json, view),
    }
}

fn list(json: bool, view: &View) -> Result<(), Failure> {
    let items = Decider::connect()?.ask(Ask::Reviews)?;
    if json {
        say_json(&Value::Array(items.clone()))?;
    } else {
        say(&screen::reviews::list(&read_all::<records::Review>(&items)?, view))?;
    }
    super::look::some_of(&items, "nothing waits for a review of yours")
}

fn review(id: String, note: String, json: bool) -> Result<(), Failure> {
    if note.trim().is_empty() {
        let hint = Some("it stands in the ledger for good: what was done, and whether it had to be");
        return Err(Failure::Usage { message: "cannot review without a note".to_owned(), hint });
    }
    let value = Decider::connect()?.order(Order::Review { id, note })?;
    if json {
        return say_json(&value);
    }
    let id = value.get("id").and_then(Value::as_str).map(visible).unwrap_or_default();
    say(&format!("reviewed: {}\n", short_id(&id)))
}
