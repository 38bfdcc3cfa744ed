//! Yes and no to requests of others: the card is shown, and exactly what it shows is answered.
//!
//! MUSTs
//! 1. What was typed before the card was shown answers nothing (host test `approvals`).
//! 2. The yes carries the digest of the card that was shown (host test `approvals`).

use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use jitsudo_protocol::client::{Ask, Order};
use serde_json::Value;

use super::{say, say_json, signed};
use crate::arguments::{Approve, Refuse};
use crate::decider::Decider;
use crate::failure::Failure;
use crate::screen::card;
use crate::text::{View, short_id, visible};

/// The proof of who somebody is, and the way to the session that takes it, are this program's.
const JITSUDO: &str = "/usr/bin/jitsudo";

/// Letters of an id that is given whole.
const WHOLE_ID: usize = 26;

/// Shows what waits, or the card of one request, asks, and says yes; does not return when that could be begun.
pub(super) fn approve(what: &Approve, json: bool, view: &View) -> Result<(), Failure> {
    let Some(id) = &what.id else { return list(json, view) };
    if let Some(file) = &what.signature {
        return signed::approve(what, file, json);
    }
    if let Some(digest) = what.digest.as_ref().filter(|_| id.len() == WHOLE_ID) {
        return Err(say_yes(id, digest, what));
    }
    let card = Decider::connect()?.ask_one(Ask::Card { id: id.clone() })?;
    if json && what.digest.is_none() {
        return say_json(&card);
    }
    let field = |name: &str| card.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let digest = match &what.digest {
        Some(digest) => digest.clone(),
        None => {
            if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
                return Err(Failure::Usage {
                    message: "cannot ask without a terminal whether to say yes".to_owned(),
                    hint: Some("jitctl approve ID --json shows the card, --digest HEX says yes to it"),
                });
            }
            say(&card::whole(&card, view))?;
            if !confirmed()? {
                return Err(Failure::NotConfirmed);
            }
            field("digest")
        }
    };
    Err(say_yes(&field("id"), &digest, what))
}

/// Becomes the program that says it; returns only why not.
fn say_yes(id: &str, digest: &str, what: &Approve) -> Failure {
    let mut command = Command::new(JITSUDO);
    command.arg(format!("--approve={id}:{digest}"));
    if let Some(window) = &what.window {
        command.arg(format!("--for={window}"));
    }
    Failure::File { what: format!("start {JITSUDO}"), cause: command.exec() }
}

fn list(json: bool, view: &View) -> Result<(), Failure> {
    let cards = Decider::connect()?.ask(Ask::ToApprove)?;
    if json {
        return say_json(&Value::Array(cards));
    }
    if cards.is_empty() {
        return say("nothing waits for you\n");
    }
    say(&cards.iter().map(|card| card::line(card, view)).collect::<String>())
}

/// Says no.
pub(super) fn refuse(what: Refuse, json: bool) -> Result<(), Failure> {
    if let Some(file) = what.signature.clone() {
        return signed::refuse(what, &file, json);
    }
    let order = Order::Refuse { id: what.id, reason: what.reason, signature: None };
    let value = Decider::connect()?.order(order)?;
    if json {
        return say_json(&value);
    }
    let id = value.get("id").and_then(Value::as_str).map(visible).unwrap_or_default();
    say(&format!("refused ({})\n", short_id(&id)))
}

fn confirmed() -> Result<bool, Failure> {
    let trouble = |cause| Failure::File { what: "ask on the terminal".to_owned(), cause };
    jitsudo_sys::terminal::drop_input(io::stdin().as_fd()).map_err(trouble)?;
    io::stderr().write_all(b"say yes to exactly this? [y/N] ").map_err(trouble)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(trouble)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
