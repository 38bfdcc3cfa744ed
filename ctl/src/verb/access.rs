//! What was asked, what waits for an answer, and everything of one access.

use std::collections::BTreeMap;
use std::time::Duration;

use jitsudo_protocol::client::Ask;
use serde_json::Value;

use super::look::{everybodys_for_root, some_of};
use super::{say, say_json, signed};
use crate::arguments::{Requests, Show};
use crate::decider::Decider;
use crate::failure::Failure;
use crate::records::{Asked, Shown, read, read_all};
use crate::screen;
use crate::text::View;

/// Between two looks of `--follow`.
const FOLLOW: Duration = Duration::from_secs(2);

/// What was asked, and what became of it.
pub(super) fn requests(which: &Requests, json: bool, view: &View) -> Result<(), Failure> {
    let mut known = BTreeMap::new();
    let items = asked(which)?;
    if which.follow {
        show_changed(&mut known, &items, which, json, view)?;
    } else if json {
        say_json(&Value::Array(items.clone()))?;
    } else {
        say(&list(&items, which, view)?)?;
    }
    if !which.follow {
        let nothing = if which.to_approve { "nothing waits for your answer" } else { "nothing was asked" };
        return some_of(&items, nothing);
    }
    loop {
        std::thread::sleep(FOLLOW);
        show_changed(&mut known, &asked(which)?, which, json, view)?;
    }
}

fn asked(which: &Requests) -> Result<Vec<Value>, Failure> {
    let ask = |all| Ask::Requests { all };
    match (which.to_approve, which.mine) {
        (true, _) => Decider::connect()?.ask(Ask::ToApprove),
        (false, true) => Decider::connect()?.ask(ask(false)),
        (false, false) => everybodys_for_root(which.all, ask),
    }
}

fn list(items: &[Value], which: &Requests, view: &View) -> Result<String, Failure> {
    if which.to_approve {
        return Ok(items.iter().map(|item| screen::card::line(item, view)).collect());
    }
    Ok(screen::access::list(&read_all::<Asked>(items)?, view))
}

/// What is new, or another than at the last look; with JSON one object a line.
fn show_changed(
    known: &mut BTreeMap<String, Value>,
    items: &[Value],
    which: &Requests,
    json: bool,
    view: &View,
) -> Result<(), Failure> {
    let mut now = BTreeMap::new();
    let mut changed = Vec::new();
    for item in items {
        let id = item.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let told = without_time(item);
        if known.get(&id) != Some(&told) {
            changed.push(item.clone());
        }
        now.insert(id, told);
    }
    *known = now;
    if json {
        return say(&changed.iter().map(|item| format!("{item}\n")).collect::<String>());
    }
    say(&list(&changed, which, view)?)
}

/// That time goes by is no change.
fn without_time(item: &Value) -> Value {
    let mut told = item.clone();
    if let Value::Object(fields) = &mut told {
        fields.remove("left");
    }
    told
}

/// Everything of one access, or the card of what waits for an answer.
pub(super) fn show(what: Show, json: bool, view: &View) -> Result<(), Failure> {
    if what.card {
        return signed::card(what, json);
    }
    let value = Decider::connect()?.ask_one(Ask::Show { id: what.id })?;
    if json {
        return say_json(&value);
    }
    if let Some(card) = value.get("card").filter(|card| !card.is_null()) {
        return say(&screen::card::whole(card, view));
    }
    say(&screen::access::one(&read::<Shown>(value)?, view))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn that_time_goes_by_is_no_change_and_an_answer_is_one() {
        let told = |left: u64, yes: &[&str]| without_time(&json!({"id": "a", "left": left, "yes": yes}));
        assert_eq!(told(9, &[]), told(8, &[]));
        assert_ne!(told(9, &[]), told(9, &["bob"]));
    }
}
