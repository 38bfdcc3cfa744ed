//! Roles: asked for by the program that asks for commands too, given back and ended by an order to the decider.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use jitsudo_protocol::client::Order;
use serde_json::Value;

use super::{say, say_json};
use crate::arguments::{End, Extend, Release, Request, Withdraw};
use crate::decider::Decider;
use crate::failure::Failure;
use crate::text::{short_id, visible};

/// Prompts, waiting and the way to a session are this program's.
const JITSUDO: &str = "/usr/bin/jitsudo";

/// Asks for a role; does not return when that could be begun.
pub(super) fn request(what: Request, json: bool) -> Result<(), Failure> {
    if json {
        let message = "cannot ask as JSON: a password may have to be asked for".to_owned();
        return Err(Failure::Usage { message, hint: Some("jitctl request ROLE, then: jitctl grants --json") });
    }
    let mut command = Command::new(JITSUDO);
    command.args(["--want-role", &what.role]);
    for (option, value) in [("--for", what.window), ("--reason", what.reason), ("--ticket", what.ticket)] {
        if let Some(value) = value {
            command.arg(format!("{option}={value}"));
        }
    }
    if what.break_glass {
        command.arg("--break-glass");
    }
    if what.no_wait {
        command.arg("--no-wait");
    }
    if let Some(id) = what.use_id {
        command.arg(format!("--request={id}"));
    }
    Err(Failure::File { what: format!("start {JITSUDO}"), cause: command.exec() })
}

/// Asks for more time; does not return when that could be begun.
pub(super) fn extend(what: Extend, json: bool) -> Result<(), Failure> {
    if json {
        let message = "cannot extend as JSON: a password may have to be asked for".to_owned();
        return Err(Failure::Usage { message, hint: Some("jitctl extend ID, then: jitctl grants --json") });
    }
    let mut command = Command::new(JITSUDO);
    command.args(["--extend", &what.id]);
    for (option, value) in [("--for", what.window), ("--reason", what.reason)] {
        if let Some(value) = value {
            command.arg(format!("{option}={value}"));
        }
    }
    Err(Failure::File { what: format!("start {JITSUDO}"), cause: command.exec() })
}

/// Takes a request back.
pub(super) fn withdraw(what: Withdraw, json: bool) -> Result<(), Failure> {
    let value = Decider::connect()?.order(Order::Withdraw { id: what.id })?;
    if json {
        return say_json(&value);
    }
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(visible);
    let what = text("role").map_or_else(|| "the request".to_owned(), |role| format!("the request for role {role}"));
    say(&format!("{what} is withdrawn ({})\n", short_id(&text("id").unwrap_or_default())))
}

/// Gives back.
pub(super) fn release(what: Release, json: bool) -> Result<(), Failure> {
    order(Order::Release { id: what.id }, json)
}

/// Ends.
pub(super) fn end(what: End, json: bool) -> Result<(), Failure> {
    order(Order::End { id: what.id, reason: what.reason }, json)
}

fn order(order: Order, json: bool) -> Result<(), Failure> {
    let value = Decider::connect()?.order(order)?;
    if json {
        return say_json(&value);
    }
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(visible);
    let id = text("id").unwrap_or_default();
    let what = text("role").map_or_else(|| "what runs".to_owned(), |role| format!("role {role}"));
    say(&format!("{what} is ending ({})\n", short_id(&id)))
}
