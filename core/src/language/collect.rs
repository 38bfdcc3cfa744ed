//! Finds every table of every file and gives each name its place, before any body is read.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeTable;

use super::build::Defined;
use super::reader::{Entry, Findings, Table, Text, wrong_type};
use super::source::Place;

/// A named table.
#[derive(Clone)]
pub(super) struct Head<'t> {
    /// `people`, `services`, `teams`, `hosts`, `roles`.
    pub(super) table: &'static str,
    pub(super) name: Text,
    pub(super) entry: Entry<'t>,
}

/// The tables of all files.
#[derive(Default)]
pub(super) struct Collected<'t> {
    pub(super) defaults: Vec<Entry<'t>>,
    pub(super) sets: Vec<Head<'t>>,
    pub(super) hosts: Vec<Head<'t>>,
    pub(super) roles: Vec<Head<'t>>,
    pub(super) allows: Vec<Entry<'t>>,
    pub(super) requires: Vec<Entry<'t>>,
    pub(super) denies: Vec<Entry<'t>>,
    pub(super) duties: Vec<Entry<'t>>,
}

/// Longest name of a role, person, team or rule, bytes.
pub(super) const MAX_NAME: usize = 128;

/// Takes the tables of one file.
pub(super) fn file<'t>(
    file: usize,
    root: &'t Spanned<DeTable<'t>>,
    all: &mut Collected<'t>,
    findings: &mut Findings<'_>,
) {
    let mut tables = Table::of_root(file, root);
    if let Some(entry) = tables.take("defaults") {
        all.defaults.push(entry);
    }
    for kind in ["people", "services", "teams", "hosts", "roles"] {
        let Some(entry) = tables.take(kind) else { continue };
        let Some(named) = Table::of(&entry, kind, findings) else { continue };
        for (name, entry) in named.entries() {
            check_name(&name, findings);
            let head = Head { table: kind, name, entry };
            match kind {
                "hosts" => all.hosts.push(head),
                "roles" => all.roles.push(head),
                _ => all.sets.push(head),
            }
        }
    }
    for (kind, list) in [
        ("allow", &mut all.allows),
        ("require", &mut all.requires),
        ("deny", &mut all.denies),
        ("duty", &mut all.duties),
    ] {
        let Some(entry) = tables.take(kind) else { continue };
        match entry.value.as_array() {
            Some(array) => list.extend(array.iter().map(|value| Entry::of(file, value.span(), value))),
            None => {
                wrong_type(&entry, "an array of tables", findings);
                findings.error(&entry.key, format!("write [[{kind}]]"), "one pair of brackets too few", None);
            }
        }
    }
    tables.finish(findings);
}

fn check_name(name: &Text, findings: &mut Findings<'_>) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let sound = !name.value.is_empty() && name.value.len() <= MAX_NAME && name.value.bytes().all(plain);
    if !sound || name.value.starts_with(['-', '.']) || name.value == "self" {
        let hint = Some("letters, digits, `-`, `_` and `.`, at most 128; not \"self\"".to_owned());
        findings.error(&name.place, format!("{:?} cannot be a name here", name.value), "not a name", hint);
    }
}

/// Sorts heads by name and gives each its place; a second definition is a mistake.
pub(super) fn define(heads: &mut Vec<Head<'_>>, findings: &mut Findings<'_>) -> BTreeMap<String, Defined> {
    heads.sort_by(|one, other| {
        let key = |head: &Head<'_>| (head.name.value.clone(), head.name.place.file, head.name.place.span.start);
        key(one).cmp(&key(other))
    });
    let mut defined: BTreeMap<String, Defined> = BTreeMap::new();
    heads.retain(|head| {
        let Ok(index) = u32::try_from(defined.len()) else { return false };
        match defined.get(&head.name.value) {
            Some(first) => {
                let place: &Place = &first.place;
                let hint = Some(format!("first defined at {}", findings.short_place(place)));
                findings.error(
                    &head.name.place,
                    format!("\"{}\" is defined twice", head.name.value),
                    "defined again",
                    hint,
                );
                false
            }
            None => {
                defined.insert(head.name.value.clone(), Defined { index, place: head.name.place.clone() });
                true
            }
        }
    });
    defined
}
