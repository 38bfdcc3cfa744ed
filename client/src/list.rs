//! `-l`: the rights, in sudo's text, so that scripts which read that go on working.
//!
//! The short form has what plain `jitsudo CMD` gives now, one line a command; the long one (`-ll`) everything, with the terms.
//! Shapes were taken from sudo 1.9.13 and 1.9.16 (host test `*_list_has_the_text_of_sudo`).

use jitsudo_bytes::Bytes;
use jitsudo_protocol::client::Ask;
use jitsudo_protocol::list::{Given, ListEntry, ListItem};

use crate::decider::{self, NoSession};
use crate::ending::End;
use crate::options::{Called, List};
use crate::say::{self, Voice};

/// What goes where, and the exit status.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Told {
    output: String,
    complaint: String,
    code: u8,
}

/// Asks and prints.
pub(crate) fn list(called: Called, list: &List, voice: &Voice) -> Result<End, NoSession> {
    let ask = Ask::List {
        argv: list.argv.iter().cloned().map(Bytes).collect(),
        target: list.user.clone(),
        group: list.group.clone(),
        user: list.other_user.clone(),
    };
    let items = decider::question(ask)?;
    let items: Vec<ListItem> = items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect();
    let Told { output, complaint, code } = tell(called, list, &items);
    voice.text(&complaint);
    match say::print(&output) {
        End::Code(0) => Ok(End::Code(code)),
        failed => Ok(failed),
    }
}

fn tell(called: Called, list: &List, items: &[ListItem]) -> Told {
    let name = called.name();
    let Some(ListItem::Whose { user, host }) = items.first() else {
        return match items.first() {
            Some(ListItem::UnknownUser) => {
                let asked = Bytes::from(list.other_user.as_deref().unwrap_or_default()).visible();
                no(format!("{name}: unknown user {asked}\n"))
            }
            _ => no(format!("{name}: cannot understand jitsudod: it answered something that is no list\n")),
        };
    };
    let entries: Vec<&ListEntry> = items
        .iter()
        .filter_map(|item| if let ListItem::Entry(entry) = item { Some(entry.as_ref()) } else { None })
        .collect();
    for item in items {
        match item {
            ListItem::NotYours => return no(not_yours(list, user, host)),
            ListItem::NotAllowed => return no(String::new()),
            ListItem::NotFound => {
                let command = list.argv.first().cloned().map(Bytes).unwrap_or_default().visible();
                return no(format!("{name}: {command}: command not found\n"));
            }
            ListItem::UnknownTarget => {
                let asked = Bytes::from(list.user.as_deref().unwrap_or_default()).visible();
                return no(format!("{name}: unknown user {asked}\n"));
            }
            ListItem::Allowed { path } => return Told { output: allowed(list, path, &entries), ..Told::default() },
            ListItem::Whose { .. } | ListItem::Entry(_) | ListItem::UnknownUser | ListItem::Unknown => {}
        }
    }
    if !list.argv.is_empty() {
        return no(format!("{name}: cannot understand jitsudod: it answered something that is no list\n"));
    }
    rights(name, list, user, host, &entries)
}

fn no(complaint: String) -> Told {
    Told { output: String::new(), complaint, code: 1 }
}

/// sudo's words, without a program's name in front, as sudo has it.
fn not_yours(list: &List, user: &str, host: &str) -> String {
    let command: String = list.argv.iter().map(|word| format!(" {}", Bytes(word.clone()).visible())).collect();
    let of = Bytes::from(list.other_user.as_deref().unwrap_or_default()).visible();
    format!("Sorry, user {user} is not allowed to execute 'list{command}' as {of} on {host}.\n")
}

fn allowed(list: &List, path: &Bytes, entries: &[&ListEntry]) -> String {
    let words = std::iter::once(path.clone()).chain(list.argv.iter().skip(1).cloned().map(Bytes));
    let line = words.map(|word| word.visible()).collect::<Vec<_>>().join(" ");
    match entries.first().filter(|_| list.long) {
        Some(entry) => {
            let lines = entries.iter().filter(|other| is_same(entry, other)).flat_map(|entry| lines_of(&entry.gives));
            format!("{}    Matched: {line}\n", block(entry, lines.collect()).trim_start_matches('\n'))
        }
        None => format!("{line}\n"),
    }
}

fn is_same(one: &ListEntry, other: &ListEntry) -> bool {
    (&one.users, &one.groups) == (&other.users, &other.groups)
}

fn rights(name: &str, list: &List, user: &str, host: &str, entries: &[&ListEntry]) -> Told {
    let now: Vec<&&ListEntry> = entries.iter().filter(|entry| entry.closed.is_none() && !entry.break_glass).collect();
    let lines: Vec<String> = now.iter().flat_map(|entry| short(entry)).collect();
    let shown = if list.long { !entries.is_empty() } else { !lines.is_empty() };
    if !shown {
        // sudo: who asks for their own and has none fails; another's emptiness is an answer like any.
        return match list.other_user {
            Some(_) => {
                Told { output: format!("User {user} is not allowed to run {name} on {host}.\n"), ..Told::default() }
            }
            None => no(format!("Sorry, user {user} may not run {name} on {host}.\n{}", later(name, entries))),
        };
    }
    let mut output = format!("User {user} may run the following commands on {host}:\n");
    if list.long {
        output.extend(entries.iter().map(|entry| block(entry, lines_of(&entry.gives))));
    } else {
        output.extend(lines);
    }
    Told { output, ..Told::default() }
}

/// What the short form leaves out is at least hinted at.
fn later(name: &str, entries: &[&ListEntry]) -> String {
    if entries.is_empty() {
        return String::new();
    }
    format!("  hint: `{name} -ll` shows what opens later, and what only --break-glass or a whole role gives\n")
}

/// `    (root) NOPASSWD: /usr/bin/id`, a line for each command.
fn short(entry: &ListEntry) -> Vec<String> {
    let whom = match entry.groups.as_slice() {
        [] => entry.users.join(", "),
        groups => format!("{} : {}", entry.users.join(", "), groups.join(", ")),
    };
    let mut tags = String::new();
    if entry.auth == "none" {
        tags.push_str("NOPASSWD: ");
    }
    if entry.record == "terminal" {
        tags.push_str("LOG_OUTPUT: ");
    }
    let one = |given: &Given| Some(format!("    ({whom}) {tags}{}\n", in_words(given, false)?));
    entry.gives.iter().filter_map(one).collect()
}

/// sudo's word for it where it has one; `None`: not for the short form.
fn in_words(given: &Given, long: bool) -> Option<String> {
    match given {
        Given::Command(words) => Some(words.clone()),
        Given::Shell => Some("a shell (-s, -i)".to_owned()),
        Given::Edit(path) => Some(format!("sudoedit {path}")),
        Given::WithGroup(group) => Some(format!("any command with group {group} (--role)")),
        Given::Other(words) => long.then(|| format!("{words} (the whole role)")),
    }
}

fn lines_of(gives: &[Given]) -> Vec<String> {
    gives.iter().filter_map(|given| in_words(given, true)).collect()
}

/// The long form of one entry.
fn block(entry: &ListEntry, commands: Vec<String>) -> String {
    let mut text = format!("\nSudoers entry: {}\n", entry.rule);
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("    {name}: {value}\n"));
        }
    };
    line("Role", &entry.role);
    line("RunAsUsers", &entry.users.join(", "));
    line("RunAsGroups", &entry.groups.join(", "));
    let mut options = vec![if entry.auth == "none" { "!authenticate" } else { "authenticate" }];
    if entry.record == "terminal" {
        options.push("log_output");
    }
    line("Options", &options.join(", "));
    line("Timeout", &entry.run_time.to_string());
    line("Window", &duration(entry.window));
    line("Needs", &needs(entry).join(", "));
    line("Recorded", if entry.record == "none" { "" } else { &entry.record });
    line("Closed", entry.closed.as_deref().map(|hours| format!("now; opens {hours}")).as_deref().unwrap_or_default());
    line("Limited", if entry.limited { "a rule of this host forbids part of it" } else { "" });
    text.push_str("    Commands:\n");
    text.extend(commands.iter().map(|command| format!("\t{command}\n")));
    text
}

fn needs(entry: &ListEntry) -> Vec<String> {
    let mut needs = Vec::new();
    match entry.auth.as_str() {
        "none" => {}
        "fresh" => needs.push("fresh password".to_owned()),
        _ => needs.push("password".to_owned()),
    }
    if entry.reason_needed {
        needs.push("reason (-m)".to_owned());
    }
    if entry.ticket_needed {
        needs.push("ticket (--ticket)".to_owned());
    }
    if entry.approvals > 0 {
        let of = if entry.approvers.is_empty() { String::new() } else { format!(" of {}", entry.approvers.join(", ")) };
        needs.push(format!("approval by {}{of}", entry.approvals));
    }
    if entry.break_glass {
        needs.push("--break-glass".to_owned());
    }
    needs
}

/// `1 h 30 min`, `45 s`.
fn duration(seconds: u64) -> String {
    let parts = [(seconds / 3600, "h"), (seconds % 3600 / 60, "min"), (seconds % 60, "s")];
    let words: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number} {unit}")).collect();
    if words.is_empty() { "0 s".to_owned() } else { words.join(" ") }
}

#[cfg(test)]
mod tests;
