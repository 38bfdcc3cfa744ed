//! `[roles.…]`

use std::collections::BTreeSet;

use crate::command::Command;
use crate::decision::Cwd;
use crate::lends::sudoers_words;
use crate::rule::Role;
use crate::subject::{AsWhom, PathGlob};

use super::build::Build;
use super::collect::Head;
use super::reader::{Entry, Table, boolean, one_or_more, text, texts};
use super::source::Place;
use super::supported::Context;

/// A role with what checks need of its text.
pub(super) struct RoleDraft {
    pub(super) role: Role,
    pub(super) place: Place,
    /// Where each command stands.
    pub(super) commands: Vec<Place>,
    /// The lines for sudo likewise.
    pub(super) sudoers: Vec<(Command, Place)>,
    /// Where each group and membership that it lends stands.
    pub(super) lent: Vec<(String, Place)>,
    pub(super) group_grants_more: bool,
}

pub(super) fn read(build: &mut Build<'_>, head: &Head<'_>) -> RoleDraft {
    let name = head.name.value.clone();
    let source = build.findings.short_place(&head.name.place);
    let mut draft = RoleDraft {
        role: Role { name, source, ..Role::default() },
        place: head.name.place.clone(),
        commands: Vec::new(),
        sudoers: Vec::new(),
        lent: Vec::new(),
        group_grants_more: false,
    };
    let Some(mut table) = Table::of(&head.entry, "a role", &mut build.findings) else { return draft };
    let role = &mut draft.role;
    role.summary = table.take("summary").and_then(|entry| text(&entry, &mut build.findings)).map(|text| text.value);
    if let Some(entry) = table.take("run") {
        let mut commands = build.commands(&entry);
        commands.sort_by_key(|(command, _)| Vec::<String>::from(command.clone()));
        commands.dedup_by(|(one, _), (other, _)| one == other);
        (role.run, draft.commands) = commands.into_iter().unzip();
    }
    role.shell = table.take("shell").and_then(|entry| boolean(&entry, &mut build.findings)).unwrap_or(false);
    role.as_whom = table.take("as").map(|entry| as_whom(build, &entry)).unwrap_or_default();
    if let Some(entry) = table.take_new(Context::Role, "edit", &mut build.findings) {
        role.edit = edit(build, &entry);
        edit_lint(build, &entry);
    }
    role.create = flag(build, table.take("create"), "create");
    role.groups = names(build, &mut table, "groups", &mut draft.lent);
    role.membership = names(build, &mut table, "membership", &mut draft.lent);
    let lines = sudoers(build, &mut table);
    role.sudoers = lines.iter().map(|(command, _)| command.written()).collect();
    role.sudoers_without_end = without_end(build, &mut table, role);
    role.login = login(build, &mut table, &head.name.value);
    role.pam = names(build, &mut table, "pam", &mut Vec::new());
    how(build, &mut table, role);
    if let Some((_, place)) = lines.first() {
        sudoers_lint(build, role, place);
    }
    draft.sudoers = lines;
    role.includes = includes(build, &mut table);
    draft.group_grants_more =
        table.take("group-grants-more").and_then(|entry| boolean(&entry, &mut build.findings)).unwrap_or(false);
    // By key, not by value: a command that does not parse has its own finding.
    const GIVES: [&str; 9] = ["run", "edit", "includes", "pam", "groups", "membership", "sudoers", "login", "shell"];
    let given = table
        .entries()
        .iter()
        .any(|(key, _)| GIVES.contains(&key.value.as_str()) && (key.value != "shell" || role.shell));
    table.finish(&mut build.findings);
    if !given {
        let hint = Some("give it `run`, `edit`, `shell = true`, `membership`, `sudoers` or `includes`".to_owned());
        build.findings.error(
            &draft.place,
            format!("role \"{}\" gives nothing", role.name),
            "no command, no shell",
            hint,
        );
    }
    draft
}

fn flag(build: &mut Build<'_>, entry: Option<Entry<'_>>, key: &str) -> bool {
    let Some(entry) = entry else { return false };
    super::reader::not_yet(Context::Role, key, &entry.key, &mut build.findings);
    boolean(&entry, &mut build.findings).unwrap_or(false)
}

/// `as`, in a role or as a condition.
pub(super) fn as_whom(build: &mut Build<'_>, entry: &Entry<'_>) -> Vec<AsWhom> {
    let mut all = Vec::new();
    for one in one_or_more(entry, &mut build.findings) {
        match AsWhom::try_from(one.value) {
            Ok(whom) => all.push(whom),
            Err(error) => {
                let hint = Some("write \"user\", \"user:group\", \":group\", \"#1002\" or \"ALL\"".to_owned());
                build.findings.error(&one.place, error.to_string(), "no account", hint);
            }
        }
    }
    all.sort_by_key(ToString::to_string);
    all.dedup();
    all
}

/// `edit`, in a role or as a condition.
pub(super) fn edit(build: &mut Build<'_>, entry: &Entry<'_>) -> Vec<PathGlob> {
    let mut all = Vec::new();
    for one in texts(entry, &mut build.findings) {
        match PathGlob::try_from(one.value) {
            Ok(glob) => all.push(glob),
            Err(error) => build.findings.error(&one.place, error.to_string(), "no path", None),
        }
    }
    all.sort_by_key(ToString::to_string);
    all
}

/// Where users make files and directories themselves: a wildcard there names what they put in its place (CVE-2015-5602).
const USERS_OWN: [&str; 6] = ["/home/", "/tmp/", "/var/tmp/", "/dev/shm/", "/run/user/", "/run/lock/"];
/// Files that decide who is root.
const ROOTS_KEYS: [&str; 8] = [
    "/etc/passwd",
    "/etc/shadow",
    "/etc/sudoers",
    "/etc/sudoers.d/x",
    "/etc/crontab",
    "/etc/jitsudo/policy.d/x.toml",
    "/etc/pam.d/su",
    "/root/.ssh/authorized_keys",
];

/// A role's `edit` alone: as a condition a wide pattern takes more, or narrows.
fn edit_lint(build: &mut Build<'_>, entry: &Entry<'_>) {
    let mut quiet = super::reader::Findings { sources: &[], support: build.findings.support, all: Vec::new() };
    for one in texts(entry, &mut quiet) {
        let wild = one.value.find(['*', '?', '[', '{']);
        let literal = one.value.get(..wild.unwrap_or(one.value.len())).unwrap_or_default();
        if wild.is_some() && USERS_OWN.iter().any(|own| literal.starts_with(own)) {
            let hint = Some("name the file, or keep it where only the target can make directories".to_owned());
            build.findings.error(
                &one.place,
                format!("{:?} covers what users put there themselves", one.value),
                "a wildcard below a directory of users",
                hint,
            );
        }
        let Ok(glob) = PathGlob::try_from(one.value.clone()) else { continue };
        let covers =
            |path: &&&str| glob.0.ways.iter().any(|way| way.covers(path.as_bytes(), crate::pattern::Reading::Allow));
        if let Some(key) = ROOTS_KEYS.iter().find(covers) {
            let hint = Some("name the directory that is meant".to_owned());
            build.findings.warn(&one.place, format!("who edits {key} is root"), "as good as a shell", hint);
        }
    }
}

fn names(
    build: &mut Build<'_>,
    table: &mut Table<'_>,
    key: &'static str,
    places: &mut Vec<(String, Place)>,
) -> Vec<String> {
    let Some(entry) = table.take_new(Context::Role, key, &mut build.findings) else { return Vec::new() };
    let mut all: Vec<String> = Vec::new();
    for one in texts(&entry, &mut build.findings) {
        // The group file is edited by name.
        let by_id = key == "groups";
        let id = by_id && one.value.strip_prefix('#').is_some_and(|number| crate::subject::id(number).is_some());
        let sound = if key == "pam" { one.value == "sudo" } else { id || crate::subject::is_account_name(&one.value) };
        if !sound {
            let hint = if key == "pam" {
                "pam = [\"sudo\"]".to_owned()
            } else {
                "write the group's name, without `%`".to_owned()
            };
            build.findings.error(&one.place, format!("{:?} cannot stand in {key}", one.value), "no name", Some(hint));
        }
        places.push((one.value.clone(), one.place));
        all.push(one.value);
    }
    all.sort();
    all.dedup();
    all
}

/// Lines that sudo reads exactly as they are meant, each with its place.
fn sudoers(build: &mut Build<'_>, table: &mut Table<'_>) -> Vec<(Command, Place)> {
    let Some(entry) = table.take_new(Context::Role, "sudoers", &mut build.findings) else { return Vec::new() };
    let mut commands = build.commands(&entry);
    for (command, place) in &commands {
        let Command::One { program, arguments } = command else { continue };
        let literal = program.is_literal() && arguments.iter().all(crate::pattern::Element::is_literal);
        let written = command.written();
        let words = if literal { sudoers_words(&written) } else { Err("patterns do not translate".to_owned()) };
        let blank = words.as_ref().is_ok_and(|words| words.as_ref().is_some_and(|w| w.len() != arguments.len() + 1));
        let (message, label, hint) = match words {
            Err(_) if !literal || written.contains(['{', '}']) => (
                "patterns do not translate to sudoers".to_owned(),
                "not literal",
                "list every command, or give it by `run`",
            ),
            Err(why) => (why, "sudo reads it otherwise", "give it by `run`"),
            Ok(_) if blank => (
                "sudo cannot tell a word with a blank from two words".to_owned(),
                "a blank within a word",
                "give it by `run`",
            ),
            Ok(_) => continue,
        };
        build.findings.error(place, message, label, Some(hint.to_owned()));
    }
    commands.sort_by_key(|(command, _)| command.written());
    commands.dedup_by(|(one, _), (other, _)| one == other);
    commands
}

/// `sudoers-without-end = true`, which is told: what nobody lives to take away stays.
fn without_end(build: &mut Build<'_>, table: &mut Table<'_>, role: &Role) -> bool {
    let Some(entry) = table.take("sudoers-without-end") else { return false };
    let accepted = boolean(&entry, &mut build.findings).unwrap_or(false);
    if accepted && role.sudoers.is_empty() {
        let hint = Some("give it `sudoers`, or leave this out".to_owned());
        build.findings.error(
            &entry.place,
            "there are no sudoers lines that could lack an end".to_owned(),
            "no `sudoers`",
            hint,
        );
    } else if accepted {
        let message =
            format!("sudoers lines of role \"{}\" have no end of their own where sudo knows no NOTAFTER", role.name);
        let hint = "jitsudo takes them back at the end, its sweep within 61 s, a reboot at once; nothing else does";
        build.findings.warn(&entry.place, message, "stays until it is removed", Some(hint.to_owned()));
    }
    accepted
}

/// sudo's lines run as root and keep to sudo's own ways: what the role says of `as` and the like would not hold for them.
fn sudoers_lint(build: &mut Build<'_>, role: &Role, place: &Place) {
    let is_root = |whom: &AsWhom| whom.to_string() == "root" || whom.to_string() == "ALL";
    let odd = if !role.as_whom.is_empty() && !role.as_whom.iter().any(is_root) {
        "`as` does not name root"
    } else if role.no_new_privs {
        "`no-new-privs` is not sudo's to keep"
    } else if role.umask.is_some() {
        "`umask` is not sudo's to keep"
    } else {
        return;
    };
    let hint = "give these by `run`, or the sudoers lines by a role of their own that this one includes";
    build.findings.error(
        place,
        format!("sudoers lines of role \"{}\" run as root, by sudo's own settings", role.name),
        odd,
        Some(hint.to_owned()),
    );
}

fn login(build: &mut Build<'_>, table: &mut Table<'_>, role: &str) -> Vec<String> {
    let Some(entry) = table.take_new(Context::Role, "login", &mut build.findings) else { return Vec::new() };
    let mut all = Vec::new();
    for one in texts(&entry, &mut build.findings) {
        let sound = one.value == "@self" || crate::subject::is_account_name(&one.value);
        if !sound {
            build.findings.error(
                &one.place,
                format!("{:?} in role {role} is no account", one.value),
                "no account",
                Some("write an account or \"@self\"".to_owned()),
            );
        }
        all.push(one.value);
    }
    all.sort();
    all
}

/// `env-keep`, `env-set`, `cwd`, `umask`, `caps`, `no-new-privs`, `leaves`.
fn how(build: &mut Build<'_>, table: &mut Table<'_>, role: &mut Role) {
    if let Some(entry) = table.take("env-keep") {
        role.env_keep = env_keep(build, &entry);
    }
    if let Some(entry) = table.take("env-set") {
        role.env_set = env_set(build, &entry);
    }
    if let Some(entry) = table.take("cwd")
        && let Some(text) = text(&entry, &mut build.findings)
    {
        role.cwd = match text.value.as_str() {
            "caller" => Some(Cwd::Caller),
            "home" => Some(Cwd::Home),
            "any" => Some(Cwd::Any),
            path if path.starts_with('/') && !path.split('/').any(|part| part == "..") => Some(Cwd::Path(path.into())),
            other => {
                let hint = Some("write \"caller\", \"home\", \"any\" or an absolute path".to_owned());
                build.findings.error(&text.place, format!("{other:?} is no working directory"), "not absolute", hint);
                None
            }
        };
    }
    if let Some(entry) = table.take("umask")
        && let Some(text) = text(&entry, &mut build.findings)
    {
        role.umask = u32::from_str_radix(&text.value, 8).ok().filter(|mask| *mask <= 0o777 && text.value.len() >= 3);
        if role.umask.is_none() {
            let hint = Some("write it in octal: \"027\"".to_owned());
            build.findings.error(
                &text.place,
                format!("{:?} is no umask", text.value),
                "not three or four octal digits",
                hint,
            );
        }
    }
    if let Some(entry) = table.take_new(Context::Role, "caps", &mut build.findings) {
        role.caps = Some(texts(&entry, &mut build.findings).into_iter().map(|text| text.value).collect());
    }
    role.no_new_privs =
        table.take("no-new-privs").and_then(|entry| boolean(&entry, &mut build.findings)).unwrap_or(false);
    role.leaves = table.take("leaves").and_then(|entry| boolean(&entry, &mut build.findings)).unwrap_or(false);
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn env_keep(build: &mut Build<'_>, entry: &Entry<'_>) -> Vec<String> {
    let mut all = Vec::new();
    for one in texts(entry, &mut build.findings) {
        let stem = one.value.strip_suffix('*').unwrap_or(&one.value);
        if !(is_variable(stem) || one.value == "*") {
            let hint = Some("write a name, or a name with `*` at its end".to_owned());
            build.findings.error(&one.place, format!("{:?} is no variable", one.value), "not a name", hint);
        } else if crate::environment::is_hostile(one.value.as_bytes()) {
            let label = "chooses code that runs";
            build.findings.warn(
                &one.place,
                format!("keeping {} lets the caller take over the command", one.value),
                label,
                None,
            );
        }
        all.push(one.value);
    }
    all.sort();
    all.dedup();
    all
}

fn env_set(build: &mut Build<'_>, entry: &Entry<'_>) -> Vec<(String, String)> {
    let Some(table) = Table::of(entry, "env-set", &mut build.findings) else { return Vec::new() };
    let mut all = Vec::new();
    for (name, value) in table.entries() {
        if !is_variable(&name.value) {
            build.findings.error(&name.place, format!("{:?} is no variable", name.value), "not a name", None);
        }
        if let Some(text) = text(&value, &mut build.findings) {
            if text.value.contains('\0') || text.value.starts_with("()") {
                build.findings.error(&text.place, "this value cannot be set", "holds NUL or a function", None);
            }
            all.push((name.value, text.value));
        }
    }
    all.sort();
    all
}

fn includes(build: &mut Build<'_>, table: &mut Table<'_>) -> Vec<u32> {
    let Some(entry) = table.take("includes") else { return Vec::new() };
    let names = texts(&entry, &mut build.findings);
    let all: BTreeSet<u32> = names.iter().filter_map(|name| build.role(name)).collect();
    all.into_iter().collect()
}
