//! jitsudo-policy(5) has every key of the language, and no other. What the language knows is what its own errors say: "known here: …".
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::collections::BTreeSet;

use jitsudo_core::language::{HostLookup, SourceFile, compile};

/// A key of no table, far from every other, so that no other is suggested.
const STRANGER: &str = "qqqqqqqqqqqqqqqq";

/// A stranger in each table that this version reads.
const TABLES: &[(&str, &str)] = &[
    ("a policy file", "qqqqqqqqqqqqqqqq = 1"),
    ("[defaults]", "[defaults]\nqqqqqqqqqqqqqqqq = 1"),
    ("a person", "[people.alice]\nqqqqqqqqqqqqqqqq = 1"),
    ("a service", "[services.backup]\nqqqqqqqqqqqqqqqq = 1"),
    ("a team", "[teams.web]\nqqqqqqqqqqqqqqqq = 1"),
    ("a host set", "[hosts.prod]\nqqqqqqqqqqqqqqqq = 1"),
    ("a role", "[roles.web]\nqqqqqqqqqqqqqqqq = 1"),
    ("an allow", "[[allow]]\nqqqqqqqqqqqqqqqq = 1"),
    ("a require", "[[require]]\nqqqqqqqqqqqqqqqq = 1"),
    ("a deny", "[[deny]]\nqqqqqqqqqqqqqqqq = 1"),
    ("a duty", "[[duty]]\nqqqqqqqqqqqqqqqq = 1"),
    ("except", "[[deny]]\nexcept = { qqqqqqqqqqqqqqqq = 1 }"),
    ("hours", "[[deny]]\nhours = [{ qqqqqqqqqqqqqqqq = 1 }]"),
    ("reason", "[defaults]\nreason = { qqqqqqqqqqqqqqqq = 1 }"),
    ("ticket", "[defaults]\nticket = { qqqqqqqqqqqqqqqq = 1 }"),
    ("an approval", "[defaults]\napproval = { by = \"a\", qqqqqqqqqqqqqqqq = 1 }"),
    ("budget", "[defaults]\nbudget = { qqqqqqqqqqqqqqqq = 1 }"),
    ("break-glass", "[defaults]\nbreak-glass = { qqqqqqqqqqqqqqqq = 1 }"),
    ("at-end", "[defaults]\nat-end = { qqqqqqqqqqqqqqqq = 1 }"),
    ("extend", "[defaults]\nextend = { qqqqqqqqqqqqqqqq = 1 }"),
];

fn errors(text: &str) -> Vec<(String, Option<String>)> {
    let host = HostLookup { zone: &|_| None, resolve_directory: &|path| path.to_owned(), group_has_more: &|_| None };
    let file = SourceFile { name: "/etc/jitsudo/policy.d/10.toml".into(), bytes: text.as_bytes().to_vec() };
    let found = compile(&[file], &host).err().unwrap_or_default();
    found.into_iter().map(|finding| (finding.message, finding.hint)).collect()
}

/// Every key of every table, those of a later version too.
fn known() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (table, text) in TABLES {
        let message = format!("unknown key \"{STRANGER}\" in {table}");
        let finding = errors(text).into_iter().find(|(found, _)| *found == message);
        let hint = finding.unwrap_or_else(|| panic!("{table}: {:?}", errors(text))).1.unwrap();
        all.extend(hint.strip_prefix("known here: ").unwrap().split(", ").map(str::to_owned));
    }
    all
}

/// The keys in the lines `.It Ic env-keep`, `.It Ic start , stop`, `.It Ic window No *`.
fn described(page: &str) -> BTreeSet<String> {
    let heads = page.lines().filter_map(|line| line.strip_prefix(".It Ic "));
    let words = heads.flat_map(|head| head.split_whitespace().take_while(|word| *word != "No"));
    words.filter(|word| *word != ",").map(str::to_owned).collect()
}

#[test]
fn manual_describes_every_key_and_no_other() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../man/jitsudo-policy.5");
    let page = std::fs::read_to_string(page).unwrap();
    // A key that answers "not supported yet" is named there, and described when it does something.
    let (_, later) = page.split_once(".Sh NOT SUPPORTED YET\n").unwrap();
    let later = later.split(".Sh ").next().unwrap();
    let named = later.lines().filter_map(|line| line.strip_prefix(".Ic "));
    let named: BTreeSet<String> =
        named.flat_map(|line| line.split_whitespace()).filter(|word| *word != ",").map(str::to_owned).collect();
    let is_later = |key: &str| {
        let texts = [
            "[roles.web]\n* = 1",
            "[defaults]\n* = 1",
            "[[deny]]\n* = 1",
            "[defaults]\nticket = { * = 1 }",
            "[defaults]\napproval = { * = 1 }",
        ];
        let messages = ["", "ticket.", "approval."].map(|table| format!("`{table}{key}` is not supported yet"));
        texts.iter().any(|text| errors(&text.replace('*', key)).iter().any(|(found, _)| messages.contains(found)))
    };
    let (later, now): (BTreeSet<String>, BTreeSet<String>) = known().into_iter().partition(|key| is_later(key));
    assert_eq!(described(&page), now, "described on the left, known on the right");
    assert_eq!(named, later, "named as not supported on the left, answered so on the right");
}
