//! The host's accounts and groups: the files as they stand, and what NSS makes of them.
//!
//! MUST 1: bytes of /etc/group and /etc/passwd that make no sense hide no line that does (`damaged_lines_*`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;

use jitsudo_core::name::{Gid, Uid};

use crate::tool;

/// The group file.
pub(crate) const GROUP: &str = "/etc/group";
/// The file beside it.
pub(crate) const GSHADOW: &str = "/etc/gshadow";
const PASSWD: &str = "/etc/passwd";
const GETENT: &str = "/usr/bin/getent";
/// Milliseconds for one question to NSS.
const PATIENCE_MS: u64 = 3_000;

/// A line of the group file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) gid: Gid,
    pub(crate) members: Vec<String>,
}

/// An account, as NSS tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
}

/// The groups of the group file.
pub(crate) fn groups_in_file() -> io::Result<Vec<Group>> {
    Ok(String::from_utf8_lossy(&fs::read(GROUP)?).lines().filter_map(group).collect())
}

/// Members by group in the file that newgrp(1) believes beside; none where there is no such file.
pub(crate) fn members_in_gshadow() -> io::Result<BTreeMap<String, Vec<String>>> {
    let text = match fs::read(GSHADOW) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        other => other?,
    };
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, members) in String::from_utf8_lossy(&text).lines().filter_map(shadow_group) {
        all.entry(name).or_default().extend(members);
    }
    Ok(all)
}

/// The names of the passwd file; of several with one uid, the first.
pub(crate) fn names_in_file() -> BTreeMap<Uid, String> {
    let text = fs::read(PASSWD).unwrap_or_default();
    let mut names = BTreeMap::new();
    for account in String::from_utf8_lossy(&text).lines().filter_map(account) {
        names.entry(account.uid).or_insert(account.name);
    }
    names
}

/// The account of a uid; `None` when there is none. In words why NSS does not say.
pub(crate) fn by_uid(uid: Uid) -> Result<Option<Account>, String> {
    let line = ask("passwd", &uid.0.to_string())?;
    Ok(line.as_deref().and_then(account).filter(|account| account.uid == uid))
}

/// An account by name; `None` when there is none. In words why NSS does not say.
pub(crate) fn account_named(name: &str) -> Result<Option<Account>, String> {
    let line = ask("passwd", name)?;
    Ok(line.as_deref().and_then(account).filter(|account| account.name == name))
}

/// A group by name; `None` when there is none. In words why NSS does not say.
pub(crate) fn group_named(group_name: &str) -> Result<Option<Group>, String> {
    let line = ask("group", group_name)?;
    Ok(line.as_deref().and_then(group).filter(|group| group.name == group_name))
}

/// Groups by name, those that there are, asked in one question. In words why NSS does not say.
pub(crate) fn groups_named(names: &BTreeSet<String>) -> Result<BTreeMap<String, Group>, String> {
    let mut found = BTreeMap::new();
    if names.is_empty() {
        return Ok(found);
    }
    let arguments: Vec<&str> = ["group"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let ran = tool::run(GETENT, &arguments, Stdio::null(), PATIENCE_MS)?;
    // getent(1): 2 = one of them was not found, and says nothing.
    if !ran.succeeded && !ran.errors.trim().is_empty() {
        return Err(format!("getent group: {}", ran.words()));
    }
    for group in ran.output.lines().filter_map(group).filter(|group| names.contains(&group.name)) {
        found.insert(group.name.clone(), group);
    }
    Ok(found)
}

/// By getent and not in this process: a directory that hangs is left behind.
fn ask(database: &str, key: &str) -> Result<Option<String>, String> {
    let ran = tool::run(GETENT, &[database, key], Stdio::null(), PATIENCE_MS)?;
    // getent(1): 2 = not found.
    match (ran.succeeded, ran.output.lines().next()) {
        (true, Some(line)) => Ok(Some(line.to_owned())),
        (true, None) => Err(format!("getent {database} {key} said nothing")),
        (false, _) if ran.words().is_empty() => Ok(None),
        (false, _) => Err(format!("getent {database} {key}: {}", ran.words())),
    }
}

/// Why the group file is none that may be edited.
pub(crate) fn group_file_is_odd() -> Option<String> {
    is_odd(GROUP)
}

/// The same of gshadow, which need not be there.
pub(crate) fn gshadow_is_odd() -> Option<String> {
    if has_gshadow() { is_odd(GSHADOW) } else { None }
}

/// True where there is a gshadow.
pub(crate) fn has_gshadow() -> bool {
    fs::symlink_metadata(GSHADOW).is_ok()
}

fn is_odd(file: &str) -> Option<String> {
    let metadata = match fs::symlink_metadata(Path::new(file)) {
        Ok(metadata) => metadata,
        Err(error) => return Some(format!("cannot read {file}: {error}")),
    };
    let odd = match &metadata {
        metadata if metadata.is_symlink() => "is a link",
        metadata if !metadata.is_file() => "is no plain file",
        metadata if metadata.nlink() > 1 => "has another name too",
        metadata if metadata.uid() != 0 || metadata.mode() & 0o022 != 0 => "can be written by others than root",
        _ => return None,
    };
    Some(format!("{file} {odd}"))
}

fn group(line: &str) -> Option<Group> {
    let mut fields = line.split(':');
    let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
    let members = members(fields.next().unwrap_or_default());
    Some(Group { name: sound(name)?, gid: Gid(gid.parse().ok()?), members })
}

fn shadow_group(line: &str) -> Option<(String, Vec<String>)> {
    let mut fields = line.split(':');
    Some((sound(fields.next()?)?, members(fields.nth(2)?)))
}

fn members(field: &str) -> Vec<String> {
    field.split(',').map(str::trim).filter(|member| !member.is_empty()).map(str::to_owned).collect()
}

fn account(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    Some(Account { name: sound(name)?, uid: Uid(uid.parse().ok()?), gid: Gid(gid.parse().ok()?) })
}

/// `+` and `-` begin lines of NIS, and would be options to a tool.
fn sound(name: &str) -> Option<String> {
    (!name.is_empty() && !name.starts_with(['+', '-', '#'])).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_lines_hide_no_sound_one() {
        let text = "\n+::\n-x:x:1:\nadm:x:4:alice, bob,\nbad:x:none:\n#c:x:3:\nshort:x\nsre:x:1001\n";
        let groups: Vec<Group> = text.lines().filter_map(group).collect();
        let of = |name: &str, gid, members: &[&str]| Group {
            name: name.to_owned(),
            gid: Gid(gid),
            members: members.iter().map(|&member| member.to_owned()).collect(),
        };
        assert_eq!(groups, [of("adm", 4, &["alice", "bob"]), of("sre", 1001, &[])]);
        assert_eq!(shadow_group("adm:*:root:alice, bob"), Some(("adm".into(), vec!["alice".into(), "bob".into()])));
        assert!(shadow_group("adm:*").is_none() && shadow_group("+:::alice").is_none());
        assert_eq!(account("alice:x:1001:1002::/home/alice:/bin/sh").unwrap().gid, Gid(1002));
        assert!(account("alice:x:minus:1002").is_none() && account("+alice:x:1:1").is_none());
    }

    #[test]
    fn root_is_found_by_nss_and_nobody_by_a_number_that_nobody_has() {
        assert_eq!(by_uid(Uid(0)).unwrap().unwrap().name, "root");
        assert_eq!(names_in_file().get(&Uid(0)).map(String::as_str), Some("root"));
        assert_eq!(by_uid(Uid(3_999_999_999)).unwrap(), None);
        assert_eq!(group_named("root").unwrap().unwrap().gid, Gid(0));
        assert_eq!(group_named("no-such-group").unwrap(), None);
        let names = ["root", "no-such-group"].map(str::to_owned).into();
        assert_eq!(groups_named(&names).unwrap().into_keys().collect::<Vec<_>>(), ["root"]);
    }
}
