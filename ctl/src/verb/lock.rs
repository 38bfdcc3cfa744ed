//! Accounts are locked and unlocked.

use jitsudo_protocol::client::Order;
use serde_json::Value;

use super::{say, say_json};
use crate::arguments::{Lock, Unlock};
use crate::decider::Decider;
use crate::failure::Failure;
use crate::text::visible;

/// Locks.
pub(super) fn lock(what: Lock, json: bool) -> Result<(), Failure> {
    if what.reason.trim().is_empty() {
        let message = "cannot lock: a reason is needed".to_owned();
        return Err(Failure::Usage { message, hint: Some("jitctl lock ACCOUNT --reason TEXT") });
    }
    let value = Decider::connect()?.order(Order::Lock { user: what.account, reason: what.reason })?;
    if json {
        return say_json(&value);
    }
    let ended = value.get("ended").and_then(Value::as_u64).unwrap_or(0);
    let again = if value.get("again").and_then(Value::as_bool) == Some(true) { " already" } else { "" };
    let ends = match ended {
        0 => "nothing of it was running".to_owned(),
        1 => "1 grant or command is ending".to_owned(),
        many => format!("{many} grants and commands are ending"),
    };
    say(&format!("{} is locked{again}: {ends}\n", account(&value)))
}

/// Unlocks.
pub(super) fn unlock(what: Unlock, json: bool) -> Result<(), Failure> {
    let value = Decider::connect()?.order(Order::Unlock { user: what.account })?;
    if json {
        return say_json(&value);
    }
    say(&format!("{} is unlocked\n", account(&value)))
}

fn account(value: &Value) -> String {
    let uid = || format!("uid {}", value.get("uid").and_then(Value::as_u64).unwrap_or_default());
    value.get("user").and_then(Value::as_str).map_or_else(uid, visible)
}
