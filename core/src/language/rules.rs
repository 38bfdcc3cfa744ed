//! `[defaults]`, `[[allow]]`, `[[require]]`, `[[deny]]`, `[[duty]]`.

use std::collections::{BTreeMap, HashMap};

use crate::duty::Duty;
use crate::rule::{Allow, Deny, DutyRule, Obligations, Require};

use super::build::Build;
use super::collect::MAX_NAME;
use super::conditions::{self, Of, WhenDraft};
use super::reader::{Entry, Table, boolean, text, texts};
use super::source::Place;
use super::terms::{self, AllowTerms};

/// A rule with what checks need of its text.
pub(super) struct Draft<R> {
    pub(super) rule: R,
    pub(super) place: Place,
    pub(super) when: WhenDraft,
}

/// Where each rule's name was written.
pub(super) type RuleNames = HashMap<String, Place>;

/// `[defaults]` by directory. A key that two files of one directory give is a mistake.
pub(super) fn defaults<'a>(build: &mut Build<'a>, entries: &[Entry<'_>]) -> BTreeMap<&'a str, AllowTerms> {
    let mut all: BTreeMap<&'a str, AllowTerms> = BTreeMap::new();
    let mut keys: BTreeMap<(&'a str, String), Place> = BTreeMap::new();
    for entry in entries {
        let sources = build.findings.sources;
        let Some(directory) = sources.get(entry.place.file).map(super::source::Source::directory) else { continue };
        let Some(mut table) = Table::of(entry, "[defaults]", &mut build.findings) else { continue };
        for (key, _) in table.entries() {
            if let Some(first) = keys.insert((directory, key.value.clone()), key.place.clone()) {
                let hint = Some(format!("first given at {}", build.findings.short_place(&first)));
                build.findings.error(
                    &key.place,
                    format!("the default of \"{}\" is given twice", key.value),
                    "given again",
                    hint,
                );
            }
        }
        let read = terms::allow(build, &mut table);
        table.finish(&mut build.findings);
        let known = all.remove(directory).unwrap_or_default();
        all.insert(directory, read.or(&known));
    }
    all
}

/// Takes the required, unique name of a rule.
fn name(build: &mut Build<'_>, table: &mut Table<'_>, kind: &str, names: &mut RuleNames) -> (String, Place) {
    let header = table.header().clone();
    let Some(entry) = table.take("name") else {
        let hint = Some(format!("name = \"what this {kind} is for\""));
        build.findings.error(&header, format!("this {kind} has no name"), "`name` is missing", hint);
        return (build.findings.short_place(&header), header);
    };
    let Some(text) = text(&entry, &mut build.findings) else { return (String::new(), entry.place) };
    if text.value.trim().is_empty()
        || text.value.len() > MAX_NAME
        || text.value.chars().any(char::is_control)
        || text.value == crate::evaluate::ROOT_IS_ROOT
    {
        build.findings.error(
            &text.place,
            format!("{:?} cannot name a rule", text.value),
            "1 to 128 bytes, no control characters",
            None,
        );
    }
    match names.get(&text.value) {
        Some(first) => {
            let hint = Some(format!("first used at {}", build.findings.short_place(first)));
            build.findings.error(&text.place, format!("two rules are called {:?}", text.value), "used again", hint);
        }
        None => {
            names.insert(text.value.clone(), text.place.clone());
        }
    }
    (text.value, text.place)
}

pub(super) fn allow(
    build: &mut Build<'_>,
    entry: &Entry<'_>,
    defaults: &BTreeMap<&str, AllowTerms>,
    names: &mut RuleNames,
) -> Option<Draft<Allow>> {
    let mut table = Table::of(entry, "an allow", &mut build.findings)?;
    let (name, place) = name(build, &mut table, "allow", names);
    let when = conditions::read(build, &mut table, Of::Allow, 0);
    let mut rule = Allow { name, source: build.findings.short_place(&entry.place), ..Allow::default() };
    match table.take("roles") {
        Some(entry) => {
            let named = texts(&entry, &mut build.findings);
            rule.roles = named.iter().filter_map(|name| build.role(name)).collect();
            rule.roles.sort_unstable();
            rule.roles.dedup();
        }
        None => {
            let hint = Some("put the commands into [roles.NAME] and write roles = [\"NAME\"]".to_owned());
            build.findings.error(&place, "this allow gives no role", "`roles` is missing", hint);
        }
    }
    if when.when.who.is_none() {
        let hint = Some("who = [\"alice\"], [\"%group\"] or, for everybody, [\"ALL\"]".to_owned());
        build.findings.error(&place, "this allow names nobody", "`who` is missing", hint);
    }
    let own = terms::allow(build, &mut table);
    table.finish(&mut build.findings);
    let directory = build.findings.sources.get(entry.place.file).map_or("", super::source::Source::directory);
    let terms = match defaults.get(directory) {
        Some(defaults) => own.or(defaults),
        None => own,
    };
    terms.put(&mut rule);
    rule.when = when.when.clone();
    Some(Draft { rule, place, when })
}

pub(super) fn require(build: &mut Build<'_>, entry: &Entry<'_>, names: &mut RuleNames) -> Option<Draft<Require>> {
    let mut table = Table::of(entry, "a require", &mut build.findings)?;
    let (name, place) = name(build, &mut table, "require", names);
    let when = conditions::read(build, &mut table, Of::Any, 0);
    let terms = terms::shared(build, &mut table);
    table.finish(&mut build.findings);
    if terms == Obligations::default() {
        let hint = Some("reason = { min-length = 10 }".to_owned());
        build.findings.error(&place, "this require asks for nothing", "no term", hint);
    }
    let rule = Require { name, source: build.findings.short_place(&entry.place), when: when.when.clone(), terms };
    Some(Draft { rule, place, when })
}

pub(super) fn deny(build: &mut Build<'_>, entry: &Entry<'_>, names: &mut RuleNames) -> Option<Draft<Deny>> {
    let mut table = Table::of(entry, "a deny", &mut build.findings)?;
    let (name, place) = name(build, &mut table, "deny", names);
    let when = conditions::read(build, &mut table, Of::Any, 0);
    let only = table.take("only-this-path");
    let only_this_path = only.as_ref().and_then(|entry| boolean(entry, &mut build.findings)).unwrap_or(false);
    table.finish(&mut build.findings);
    if let Some(entry) = only.filter(|_| only_this_path) {
        let message = "this deny stops one path and no other way to the same end";
        build.findings.warn(&entry.key, message, "shells, copies and other programs are not stopped", None);
    }
    if when.when.is_empty() {
        let hint = Some("give it `who`, `run`, `hosts` or another condition".to_owned());
        build.findings.error(
            &place,
            "this deny refuses everything, so that no rule can be reached",
            "no condition",
            hint,
        );
    }
    let rule = Deny { name, source: build.findings.short_place(&entry.place), when: when.when.clone(), only_this_path };
    Some(Draft { rule, place, when })
}

pub(super) fn duty(build: &mut Build<'_>, entry: &Entry<'_>) -> Option<Draft<DutyRule>> {
    let mut table = Table::of(entry, "a duty", &mut build.findings)?;
    let name = table.take("name").and_then(|entry| text(&entry, &mut build.findings)).map(|text| text.value);
    let when = conditions::read(build, &mut table, Of::Duty, 0);
    let header = table.header().clone();
    let mut may = Vec::new();
    match table.take("may") {
        Some(entry) => {
            for one in texts(&entry, &mut build.findings) {
                let known = [
                    ("see", Duty::See),
                    ("watch", Duty::Watch),
                    ("end", Duty::End),
                    ("lock", Duty::Lock),
                    ("review", Duty::Review),
                    ("policy", Duty::Policy),
                ];
                match known.into_iter().find(|(name, _)| *name == one.value) {
                    Some((_, duty)) => may.push(duty),
                    None => {
                        let hint = crate::nearest::nearest(&one.value, known.iter().map(|(name, _)| *name))
                            .map(|near| format!("did you mean \"{near}\"?"));
                        build.findings.error(
                            &one.place,
                            format!("{:?} is no duty", one.value),
                            "see, watch, end, lock, review, policy",
                            hint,
                        );
                    }
                }
            }
        }
        None => build.findings.error(
            &header,
            "this duty gives nothing",
            "`may` is missing",
            Some("may = [\"see\"]".to_owned()),
        ),
    }
    if when.when.who.is_none() {
        build.findings.error(
            &header,
            "this duty names nobody",
            "`who` is missing",
            Some("who = [\"@team\"]".to_owned()),
        );
    }
    table.finish(&mut build.findings);
    may.sort_unstable();
    may.dedup();
    let source = build.findings.short_place(&entry.place);
    let rule = DutyRule { name: name.unwrap_or_else(|| source.clone()), source, when: when.when.clone(), may };
    Some(Draft { rule, place: header, when })
}
