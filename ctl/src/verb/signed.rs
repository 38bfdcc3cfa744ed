//! Answers that are signed elsewhere: the card goes out, the signature comes back. Nothing is proven here: the host does that, twice.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use jitsudo_core::language::seconds;
use jitsudo_protocol::client::{Ask, Order};
use serde_json::Value;

use super::{say, say_json};
use crate::arguments::{Approve, Refuse, Show};
use crate::decider::Decider;
use crate::failure::Failure;
use crate::text::{short_id, visible};

/// Longest signature that the daemon looks at, bytes.
const MAX_SIGNATURE_BYTES: u64 = 8 << 10;

/// Writes the text that is to be signed, byte by byte.
pub(super) fn card(what: Show, json: bool) -> Result<(), Failure> {
    let window = window(what.window.as_deref())?;
    let value = Decider::connect()?.ask_one(Ask::CardToSign { id: what.id, no: what.refuse, window })?;
    if json {
        return say_json(&value);
    }
    say(value.get("card").and_then(Value::as_str).unwrap_or_default())
}

/// Hands a yes in.
pub(super) fn approve(what: &Approve, file: &Path, json: bool) -> Result<(), Failure> {
    let id = what.id.clone().unwrap_or_default();
    let order = Order::ApproveSigned { id, signature: read(file)?, window: window(what.window.as_deref())? };
    let value = Decider::connect()?.order(order)?;
    if json {
        return say_json(&value);
    }
    let enough = value.get("enough").and_then(Value::as_bool).unwrap_or_default();
    let more = if enough { "nothing is left to do" } else { "more are needed" };
    say(&format!("approved by {} ({}); {more}\n", field(&value, "by"), short_id(&field(&value, "id"))))
}

/// Hands a no in.
pub(super) fn refuse(what: Refuse, file: &Path, json: bool) -> Result<(), Failure> {
    let order = Order::Refuse { id: what.id, reason: what.reason, signature: Some(read(file)?) };
    let value = Decider::connect()?.order(order)?;
    if json {
        return say_json(&value);
    }
    say(&format!("refused by {} ({})\n", field(&value, "by"), short_id(&field(&value, "id"))))
}

fn field(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).map(visible).unwrap_or_default()
}

fn window(text: Option<&str>) -> Result<Option<u64>, Failure> {
    let read = |text: &str| {
        let unreadable = || Failure::Usage {
            message: format!("cannot read --for {}: it is no duration", visible(text)),
            hint: Some("a duration is 30m or 1h30m"),
        };
        seconds(text).ok_or_else(unreadable)
    };
    text.map(read).transpose()
}

/// What `ssh-keygen -Y sign` wrote, and no more than a signature can have.
fn read(path: &Path) -> Result<String, Failure> {
    let trouble = |cause| Failure::File { what: format!("read the signature {}", path.display()), cause };
    let text = if path == Path::new("-") { bounded(io::stdin().lock()) } else { File::open(path).and_then(bounded) };
    text.map_err(trouble)
}

fn bounded(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(MAX_SIGNATURE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SIGNATURE_BYTES {
        return Err(io::Error::other("it is longer than 8 KiB, and so no signature"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_read_whole_or_not_at_all() {
        assert_eq!(bounded(&b"abc\n"[..]).unwrap(), "abc\n");
        assert_eq!(bounded(&[b'a'; 8192][..]).unwrap().len(), 8192);
        assert!(bounded(&[b'a'; 8193][..]).is_err());
        assert!(bounded(io::repeat(b'a')).is_err(), "approval_11: it ends");
        assert!(bounded(&[0xff][..]).is_err());
    }

    #[test]
    fn limit_is_read_as_a_duration() {
        assert!(matches!(window(Some("1h30m")), Ok(Some(5400))) && matches!(window(None), Ok(None)));
        for bad in ["", "0s", "10", "x", "-5m"] {
            assert!(matches!(window(Some(bad)), Err(Failure::Usage { .. })), "{bad}");
        }
    }
}
