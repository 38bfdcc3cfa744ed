//! The card that an approver reads: the exact act first, everything of others made visible.
//!
//! MUST: nothing of a requester's moves the cursor, hides, or looks like a line of ours (`hostile_words_stay_in_their_place`).

use jitsudo_bytes::Bytes;
use serde_json::Value;

use crate::text::{Tone, View, command, exact, padded, rough, short_id, visible, wrapped};

/// Columns of the labels.
const LABEL: usize = 10;
/// Digits of a digest that are shown; `--json` has all.
const DIGITS: usize = 16;

/// One request that waits, for a list.
pub(crate) fn line(card: &Value, view: &View) -> String {
    let id = short_id(&text(card, "id"));
    let head = format!("{}  {}", text(card, "user"), text(card, "what"));
    let mut parts = vec![format!("{} left", rough(number(card, "left")))];
    parts.extend(Some(names(card, "asked")).filter(|asked| !asked.is_empty()).map(|asked| format!("asked {asked}")));
    parts.extend(Some(names(card, "yes")).filter(|yes| !yes.is_empty()).map(|yes| format!("{yes} said yes")));
    parts.extend(known(card, "reason").map(|reason| format!("\"{reason}\"")));
    parts.extend(known(card, "ticket"));
    let column = id.chars().count() + 2;
    format!("{}  {}\n{}\n", view.paint(Tone::Strong, &id), wrapped(&head, column, 4), crate::text::dotted(&parts, 4))
}

/// The whole card.
pub(crate) fn whole(card: &Value, view: &View) -> String {
    let user = known(card, "user").unwrap_or_else(|| format!("uid {}", number(card, "uid")));
    let head = format!("{user} asks {}on {}:", wish(card), text(card, "host"));
    let mut all = format!("{}\n\n    {}\n\n", wrapped(&head, 0, 0), view.paint(Tone::Strong, &act(card)));
    let mut line = |label: &str, words: &str| {
        all.push_str(&format!("{}{}\n", padded(label, LABEL), wrapped(words, LABEL, LABEL)));
    };
    line("id", &short_id(&text(card, "id")));
    line("why", &known(card, "reason").unwrap_or_else(|| "no reason was given".to_owned()));
    if let Some(ticket) = known(card, "ticket") {
        line("ticket", &ticket);
    }
    line("time", &time(card));
    line("from", &from(card));
    if kind(card) != "role" {
        line("in", &text(card, "cwd"));
    }
    line("rule", &format!("{}  {}", text(card, "rule"), text(card, "source")));
    if let Some(program) = card.get("program").filter(|program| !program.is_null()) {
        line("program", &format!("{}  sha256 {}", text(program, "path"), cut(&text(program, "sha256"))));
        if let Some(interpreter) = known(program, "interpreter") {
            line("run by", &interpreter);
        }
    }
    let variables = names(card, "variables");
    if !variables.is_empty() {
        line("brings", &format!("the variables {variables}"));
    }
    if !names(card, "yes").is_empty() {
        line("said yes", &names(card, "yes"));
    }
    line("digest", &cut(&text(card, "digest")));
    line("not seen", &not_seen(card, !variables.is_empty()));
    all
}

/// To run, as whom.
fn wish(card: &Value) -> String {
    match kind(card).as_str() {
        "role" => "for a role ".to_owned(),
        "edit" => format!("to edit, as {}, ", text(card, "target")),
        _ => format!("to run, as {}, ", text(card, "target")),
    }
}

fn act(card: &Value) -> String {
    match kind(card).as_str() {
        "command" | "edit" => words(card),
        _ => text(card, "what"),
    }
}

fn words(card: &Value) -> String {
    let argv = card.get("argv").and_then(Value::as_array).cloned().unwrap_or_default();
    let words: Vec<Bytes> = argv.into_iter().map(|word| serde_json::from_value(word).unwrap_or_default()).collect();
    command(&words)
}

fn time(card: &Value) -> String {
    let (window, run_time) = (number(card, "window"), number(card, "run_time"));
    let time = match kind(card).as_str() {
        "role" => format!("{} once it is given", exact(window)),
        "shell" | "login_shell" => format!("at most {}", exact(window.min(run_time))),
        _ => format!("at most {} to run", exact(run_time)),
    };
    format!("{time}; answers count for another {}", rough(number(card, "left")))
}

fn from(card: &Value) -> String {
    let origin = card.get("origin").cloned().unwrap_or_default();
    let address = known(&origin, "address").unwrap_or_else(|| "this host".to_owned());
    known(card, "tty").map_or_else(|| address.clone(), |tty| format!("{address} ({tty})"))
}

fn not_seen(card: &Value, brings: bool) -> String {
    if kind(card) == "role" {
        return "what is done with it: everything that the role gives, any number of times".to_owned();
    }
    let values = if brings { ", what stands in these variables" } else { "" };
    format!("what it reads, and what the files that it names contain{values}")
}

fn kind(card: &Value) -> String {
    text(card, "kind")
}

/// Text of others, made visible; bytes that are no text too.
fn known(value: &Value, name: &str) -> Option<String> {
    let value = value.get(name).filter(|value| !value.is_null())?;
    match value.as_str() {
        Some(text) => Some(visible(text)),
        None => serde_json::from_value::<Bytes>(value.clone()).ok().map(|bytes| bytes.visible()),
    }
}

fn text(value: &Value, name: &str) -> String {
    known(value, name).unwrap_or_else(|| "?".to_owned())
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn names(value: &Value, name: &str) -> String {
    let all = value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let bytes = |one: &Value| serde_json::from_value::<Bytes>(one.clone()).unwrap_or_default().visible();
    super::joined(&all.iter().map(bytes).collect::<Vec<_>>())
}

fn cut(hex: &str) -> String {
    hex.chars().take(DIGITS).collect::<String>() + "…"
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::text::WIDTH;
    use crate::text::tests::view;
    use serde_json::json;

    fn card() -> Value {
        json!({
            "id": "01k6q9v0zz0000000000k3v9tz", "host": "web-1", "user": "alice", "uid": 1001, "kind": "command",
            "what": "/usr/bin/systemctl restart nginx as root", "role": "web", "reason": "cert renewed, nginx must reload",
            "ticket": "OPS-4711", "asked": ["@leads"], "persons": 1, "yes": [], "left": 290, "digest": "ab".repeat(32),
            "argv": ["systemctl", "restart", "nginx"], "target": "root", "cwd": "/home/alice",
            "program": {"path": "/usr/bin/systemctl", "sha256": "9c".repeat(32), "interpreter": null},
            "variables": ["TERM"], "window": 3600, "run_time": 43_200, "rule": "night changes need a lead",
            "source": "10-web.toml:14", "tty": "pts/3", "origin": {"address": "10.1.4.7"}, "answer_by": "2026-10-04T12:05:00Z",
        })
    }

    #[test]
    fn card_shows_the_exact_act_first_and_what_nobody_sees() {
        let text = whole(&card(), &view());
        assert_eq!(
            text,
            "alice asks to run, as root, on web-1:\n\n    systemctl restart nginx\n\n\
             id        k3v9tz\n\
             why       cert renewed, nginx must reload\n\
             ticket    OPS-4711\n\
             time      at most 12 h to run; answers count for another 4 min\n\
             from      10.1.4.7 (pts/3)\n\
             in        /home/alice\n\
             rule      night changes need a lead  10-web.toml:14\n\
             program   /usr/bin/systemctl  sha256 9c9c9c9c9c9c9c9c…\n\
             brings    the variables TERM\n\
             digest    abababababababab…\n\
             not seen  what it reads, and what the files that it names contain, what stands\n          in these variables\n"
        );
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn hostile_words_stay_in_their_place() {
        let mut hostile = card();
        for name in ["user", "reason", "ticket", "cwd", "host", "rule"] {
            hostile[name] = json!("x\nwhy       all is well\u{1b}[2J\u{202e}");
        }
        hostile["argv"] = json!(["sh", "-c", "a\n\n\n    id\r\u{9b}1A", {"b64": "/w=="}]);
        hostile["variables"] = json!(["A\u{1b}[2J"]);
        let text = whole(&hostile, &view()) + &line(&hostile, &view());
        assert!(!text.chars().any(|one| (one.is_control() && one != '\n') || one == '\u{202e}'), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("why ")).count(), 1, "{text}");
    }

    #[test]
    fn role_is_shown_with_what_it_gives() {
        let mut role = card();
        role["kind"] = json!("role");
        role["what"] = json!("role web");
        let text = whole(&role, &view());
        assert!(text.starts_with("alice asks for a role on web-1:\n\n    role web\n\n"), "{text}");
        assert!(text.contains("not seen  what is done with it"), "{text}");
    }

    #[test]
    fn line_of_a_list_says_who_what_and_how_long() {
        assert_eq!(
            line(&card(), &view()),
            "k3v9tz  alice  /usr/bin/systemctl restart nginx as root\n    4 min left · asked @leads · \"cert renewed, nginx must reload\" · OPS-4711\n"
        );
    }
}
