//! What an approver reads: the exact act first. Pure.
//!
//! MUSTs
//! 1. Text of peers stays data here; whoever shows it makes it visible (`jitctl`).
//! 2. A card is whole or there is none: nobody says yes to what was cut off (host test `approvals`).

use jitsudo_core::facts::{Fact, Facts};
use jitsudo_core::id::AccessId;
use jitsudo_link::ask;
use serde_json::{Value, json};

use super::{Waiter, name_of};
use crate::words;

/// Longest card, bytes of JSON: it must fit into one datagram.
const MAX_CARD_BYTES: usize = 56 << 10;

/// One line of a list of cards.
pub(super) fn line(id: &AccessId, waiter: &Waiter, asked: &[String], host: &str, left: u64) -> Value {
    let request = ask::request(&waiter.act);
    json!({
        "id": id,
        "host": host,
        "user": waiter.facts.requester.name.known(),
        "uid": waiter.facts.requester.uid,
        "kind": request.kind,
        "what": words::what(&waiter.facts, &request),
        "role": waiter.terms.role,
        "reason": waiter.act.options.reason,
        "ticket": waiter.act.options.ticket,
        "asked": asked,
        "persons": waiter.asking.persons(),
        "yes": waiter.said.iter().map(|given| name_of(&given.facts)).collect::<Vec<_>>(),
        "left": left,
    })
}

/// The card, and in it what belongs to the line.
pub(super) fn whole(id: &AccessId, waiter: &Waiter, asked: &[String], host: &str, left: u64) -> Value {
    let mut card = line(id, waiter, asked, host, left);
    let Value::Object(fields) = &mut card else { return card };
    let mut add = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    let (terms, options) = (&waiter.terms, &waiter.act.options);
    let word = |(place, word): (usize, &jitsudo_bytes::Bytes)| {
        let secret = terms.secret_arguments.contains(&place);
        if secret { json!(format!("<secret:{}>", word.0.len())) } else { json!(word) }
    };
    let program = waiter.program.as_ref().map(|program| {
        json!({
            "path": program.file.path,
            "sha256": program.file.sha256.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
            "interpreter": program.interpreter.as_ref().map(|file| file.path.clone()),
        })
    });
    add("digest", json!(waiter.digest));
    add("argv", Value::Array(waiter.act.argv.iter().enumerate().map(word).collect()));
    add("target", json!(target(&waiter.facts)));
    add("cwd", json!(options.chdir.as_ref().or(waiter.facts.cwd.known())));
    add("program", json!(program));
    add("variables", json!(jitsudo_link::approval::brought(&waiter.wish(id))));
    add("window", json!(terms.window));
    add("run_time", json!(terms.run_time));
    add("rule", json!(terms.rule));
    add("source", json!(terms.source));
    add("tty", json!(waiter.process.as_ref().and_then(|process| process.tty_name.as_ref())));
    add("origin", json!(waiter.facts.origin.known()));
    add("answer_by", json!(waiter.seal.answer_by));
    card
}

/// Whether all of it can be shown.
pub(super) fn fits(card: &Value) -> bool {
    serde_json::to_vec(card).is_ok_and(|bytes| bytes.len() <= MAX_CARD_BYTES)
}

fn target(facts: &Facts) -> Option<String> {
    match &facts.target {
        Fact::Is(Some(target)) => Some(target.name.clone()),
        Fact::Is(None) | Fact::Unknown => None,
    }
}
