//! The conditions of a rule: who, where, what, as whom, from where, when.

use jiff::Timestamp;

use crate::command::Command;
use crate::hours::Hours;
use crate::rule::When;
use crate::subject::OriginIs;

use super::build::Build;
use super::reader::{Entry, Table, Text, boolean, list, not_yet, text, texts};
use super::roles::{as_whom, edit};
use super::source::Place;
use super::supported::Context;

/// Deepest `except` inside `except`.
const MAX_EXCEPT: usize = 4;

/// Which conditions a rule may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Of {
    /// An allow: `roles` is read by the caller, since it says what is given.
    Allow,
    /// A require, a deny, and every `except`.
    Any,
    /// A duty: nothing that needs a request.
    Duty,
}

/// Conditions with what checks need of their text.
#[derive(Default)]
pub(super) struct WhenDraft {
    pub(super) when: When,
    /// Where each command of `run` stands.
    pub(super) commands: Vec<Place>,
    pub(super) run: Option<Place>,
    pub(super) not_after: Option<Place>,
    pub(super) who: Option<Place>,
}

/// Takes the conditions of a table.
pub(super) fn read(build: &mut Build<'_>, table: &mut Table<'_>, of: Of, depth: usize) -> WhenDraft {
    let mut draft = WhenDraft::default();
    let when = &mut draft.when;
    if let Some(entry) = table.take("who") {
        let names = texts(&entry, &mut build.findings);
        for name in names.iter().filter(|name| name.value == "ALL") {
            let message = "\"ALL\" means every account with a uid from 1000 to 60000 that this host knows";
            build.findings.warn(
                &name.place,
                message,
                "services and people alike",
                Some("name a group or team".to_owned()),
            );
        }
        when.who = Some(build.subjects(&names));
        draft.who = Some(entry.key);
    }
    if let Some(entry) = table.take("hosts") {
        let names = texts(&entry, &mut build.findings);
        let mut hosts: Vec<_> = names.iter().filter_map(|name| build.host_name(name)).collect();
        hosts.sort_by_key(ToString::to_string);
        when.hosts = Some(hosts);
    }
    if of != Of::Duty {
        read_request(build, table, of, &mut draft);
    }
    let when = &mut draft.when;
    if let Some(entry) = table.take("origin") {
        when.origin = Some(origins(build, &entry));
    }
    if let Some(entry) = table.take("hours") {
        when.hours = hours(build, &entry);
    }
    when.not_before = table.take("not-before").and_then(|entry| instant(build, &entry));
    if let Some(entry) = table.take("not-after") {
        when.not_after = instant(build, &entry);
        draft.not_after = Some(entry.key.clone());
        if let (Some(start), Some(stop)) = (when.not_before, when.not_after)
            && start >= stop
        {
            build.findings.error(&entry.place, "this rule can never hold", "not after its not-before", None);
        }
    }
    if let Some(entry) = table.take("except") {
        let of = if of == Of::Duty { Of::Duty } else { Of::Any };
        draft.when.except = except(build, &entry, of, depth);
    }
    draft
}

fn read_request(build: &mut Build<'_>, table: &mut Table<'_>, of: Of, draft: &mut WhenDraft) {
    let when = &mut draft.when;
    if of == Of::Any
        && let Some(entry) = table.take("roles")
    {
        let names = texts(&entry, &mut build.findings);
        let mut roles: Vec<u32> = names.iter().filter_map(|name| build.role(name)).collect();
        roles.sort_unstable();
        when.roles = Some(roles);
    }
    if let Some(entry) = table.take("run") {
        let mut commands = build.commands(&entry);
        commands.sort_by_key(|(command, _)| Vec::<String>::from(command.clone()));
        let (commands, places): (Vec<Command>, Vec<Place>) = commands.into_iter().unzip();
        when.run = Some(commands);
        draft.commands = places;
        draft.run = Some(entry.key);
    }
    when.as_whom = table.take("as").map(|entry| as_whom(build, &entry));
    when.edit = table.take_new(Context::Condition, "edit", &mut build.findings).map(|entry| edit(build, &entry));
    when.shell = table.take("shell").and_then(|entry| boolean(&entry, &mut build.findings));
    let mut names = |key: &'static str| {
        let entry = table.take(key)?;
        not_yet(Context::Condition, key, &entry.key, &mut build.findings);
        let mut names: Vec<String> = texts(&entry, &mut build.findings).into_iter().map(|text| text.value).collect();
        names.sort();
        Some(names)
    };
    when.groups = names("groups");
    when.membership = names("membership");
    when.sudoers = names("sudoers");
    when.login = names("login");
}

fn origins(build: &mut Build<'_>, entry: &Entry<'_>) -> Vec<OriginIs> {
    let mut all = Vec::new();
    for one in texts(entry, &mut build.findings) {
        match OriginIs::try_from(one.value) {
            Ok(origin) => all.push(origin),
            Err(error) => build.findings.error(&one.place, error.to_string(), "no origin", None),
        }
    }
    all.sort_by_key(ToString::to_string);
    all
}

fn except(build: &mut Build<'_>, entry: &Entry<'_>, of: Of, depth: usize) -> Vec<When> {
    if depth >= MAX_EXCEPT {
        build.findings.error(&entry.key, "`except` is nested too deep", "at most 4 levels", None);
        return Vec::new();
    }
    let entries = if entry.value.is_array() { list(entry, &mut build.findings) } else { vec![entry.clone()] };
    let mut all = Vec::new();
    for entry in entries {
        let Some(mut table) = Table::of(&entry, "except", &mut build.findings) else { continue };
        let draft = read(build, &mut table, of, depth + 1);
        if draft.when.is_empty() && table.entries().is_empty() {
            build.findings.error(&entry.place, "this except takes everything back", "no condition", None);
        }
        table.finish(&mut build.findings);
        all.push(draft.when);
    }
    all
}

/// RFC 3339 with an offset, as a string or a TOML datetime.
fn instant(build: &mut Build<'_>, entry: &Entry<'_>) -> Option<Timestamp> {
    let text = match entry.value.as_datetime() {
        Some(datetime) => Text { value: datetime.to_string(), place: entry.place.clone() },
        None => text(entry, &mut build.findings)?,
    };
    let found = text.value.parse::<Timestamp>().ok();
    if found.is_none() {
        let hint = Some("write \"2027-01-01T00:00:00+01:00\"".to_owned());
        build.findings.error(
            &text.place,
            format!("{:?} is no instant", text.value),
            "expected RFC 3339 with an offset",
            hint,
        );
    }
    found
}

fn hours(build: &mut Build<'_>, entry: &Entry<'_>) -> Vec<Hours> {
    let mut all = Vec::new();
    for entry in list(entry, &mut build.findings) {
        let Some(mut table) = Table::of(&entry, "hours", &mut build.findings) else { continue };
        let days = table.take("days").map_or(Some(0x7f), |entry| days(build, &entry));
        let start = table.take("start").and_then(|entry| clock(build, &entry, 1439));
        let stop = table.take("stop").and_then(|entry| clock(build, &entry, 1440));
        let zone = match table.take("zone") {
            Some(entry) => text(&entry, &mut build.findings).and_then(|text| build.zone(&text)),
            None => {
                let hint = Some("zone = \"Europe/Paris\"".to_owned());
                build.findings.error(&entry.place, "hours without a zone", "`zone` is required", hint);
                None
            }
        };
        let cut = table.take("cut").and_then(|entry| boolean(&entry, &mut build.findings)).unwrap_or(false);
        let complete = start.is_some() && stop.is_some();
        let keys = table.entries();
        if !complete
            && !keys.iter().any(|(key, _)| key.value == "start") | !keys.iter().any(|(key, _)| key.value == "stop")
        {
            let hint = Some("start = \"08:00\", stop = \"18:00\"".to_owned());
            build.findings.error(&entry.place, "hours need `start` and `stop`", "from when until when?", hint);
        }
        table.finish(&mut build.findings);
        if let (Some(days), Some(start), Some(stop), Some(zone)) = (days, start, stop, zone) {
            if start == stop {
                let hint = Some("a whole day is 00:00 to 24:00".to_owned());
                build.findings.error(&entry.place, "these hours begin when they end", "start is stop", hint);
            }
            all.push(Hours { days, start, stop, zone, cut });
        }
    }
    all
}

fn clock(build: &mut Build<'_>, entry: &Entry<'_>, most: u16) -> Option<u16> {
    let text = text(entry, &mut build.findings)?;
    let two = |part: &str| {
        if part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit()) { part.parse::<u16>().ok() } else { None }
    };
    let minutes = text.value.split_once(':').and_then(|(hour, minute)| Some((two(hour)?, two(minute)?)));
    let minutes = minutes
        .filter(|(_, minute)| *minute < 60)
        .map(|(hour, minute)| hour * 60 + minute)
        .filter(|minutes| *minutes <= most);
    if minutes.is_none() {
        let hint = Some("write \"08:00\"".to_owned());
        build.findings.error(&text.place, format!("{:?} is no time of day", text.value), "expected HH:MM", hint);
    }
    minutes
}

/// `mon-fri`, `sat,sun`, or a list of such.
fn days(build: &mut Build<'_>, entry: &Entry<'_>) -> Option<u8> {
    const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let mut bits = 0u8;
    for text in super::reader::one_or_more(entry, &mut build.findings) {
        for part in text.value.split(',') {
            let (first, last) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
            let place = |name: &str| NAMES.iter().position(|day| *day == name);
            let (Some(first), Some(last)) = (place(first), place(last)) else {
                let hint = Some("write \"mon-fri\" or \"mon,wed,sun\"".to_owned());
                build.findings.error(
                    &text.place,
                    format!("{part:?} names no day"),
                    "mon tue wed thu fri sat sun",
                    hint,
                );
                return None;
            };
            // `sat-mon` goes over the end of the week.
            let length = (last + 7 - first) % 7;
            for step in 0..=length {
                bits |= 1 << ((first + step) % 7);
            }
        }
    }
    (bits != 0).then_some(bits)
}
