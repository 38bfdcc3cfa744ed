//! What was asked, and everything of one access.

use jitsudo_protocol::client::Ask;
use serde_json::Value;

use super::look::{everybodys_for_root, some_of};
use super::{say, say_json};
use crate::arguments::{Requests, Show};
use crate::decider::Decider;
use crate::failure::Failure;
use crate::records::{Asked, Shown, read, read_all};
use crate::screen;
use crate::text::View;

/// What was asked, and what became of it.
pub(super) fn requests(which: &Requests, json: bool, view: &View) -> Result<(), Failure> {
    let ask = |all| Ask::Requests { all };
    let items = if which.mine { Decider::connect()?.ask(ask(false))? } else { everybodys_for_root(which.all, ask)? };
    if json {
        say_json(&Value::Array(items.clone()))?;
    } else {
        say(&screen::access::list(&read_all::<Asked>(&items)?, view))?;
    }
    some_of(&items, "nothing was asked")
}

/// Everything of one access.
pub(super) fn show(what: Show, json: bool, view: &View) -> Result<(), Failure> {
    let value = Decider::connect()?.ask_one(Ask::Show { id: what.id })?;
    if json {
        return say_json(&value);
    }
    say(&screen::access::one(&read::<Shown>(value)?, view))
}
