//! The requester's entry in the group file, by shadow's own tools: its locks, gshadow and the caches are theirs to get right.
//!
//! MUSTs
//! 1. Who is added is the account that the grant was given to, by uid; one that was renamed or made anew gets nothing (`look`).
//! 2. Only a group of the group file, and only where NSS means the same one by that name.
//! 3. What was added is found again when account or group are renamed or gone (`identity_nss_02_*`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jitsudo_core::lends::Effect;
use jitsudo_core::name::{Gid, Uid};
use jitsudo_link::notes::{Locked, Note};
use jitsudo_sys::clock;

use crate::accounts::{self, Group};
use crate::lend::{self, Before, Removed};
use crate::tool;

const GPASSWD: &str = "/usr/bin/gpasswd";
const GROUP_LOCK: &str = "/etc/group.lock";
/// Milliseconds for one change, waiting for another tool's lock included.
const PATIENCE_MS: u64 = 18_000;
/// Milliseconds between two tries at a lock that another tool holds.
const STEP_MS: u64 = 200;

/// Looks at account and group; in words why nothing may be lent.
pub(crate) fn look(note: &Note, group_name: &str, all: &[Note]) -> Result<Before, String> {
    let cannot = |why: String| format!("cannot make {} a member of {group_name}: {why}", note.user);
    if group_name.starts_with('-') {
        return Err(cannot("that is no group's name".to_owned()));
    }
    if let Some(odd) = accounts::group_file_is_odd() {
        return Err(cannot(odd));
    }
    let account = accounts::by_uid(note.uid).map_err(cannot)?;
    let account = account.ok_or_else(|| cannot(format!("there is no account with uid {}", note.uid.0)))?;
    if account.name != note.user {
        return Err(cannot(format!("uid {} is {} now", note.uid.0, account.name)));
    }
    let groups = accounts::groups_in_file().map_err(|error| cannot(format!("{}: {error}", accounts::GROUP)))?;
    let mut named = groups.iter().filter(|group| group.name == group_name);
    let (Some(group), None) = (named.next(), named.next()) else {
        return Err(cannot(format!("{} has not exactly one group of that name", accounts::GROUP)));
    };
    let meant = accounts::group_named(group_name).map_err(cannot)?;
    if meant.is_none_or(|meant| meant.gid != group.gid) {
        return Err(cannot(format!("NSS means another group by that name than {}", accounts::GROUP)));
    }
    let is_there = group.members.contains(&note.user) || account.gid == group.gid;
    let effect = Effect::Membership(group_name.to_owned());
    let ours = !is_there || lend::is_lent_already(note, &effect, group.gid, all);
    Ok(Before { ours, is_there, gid: Some(group.gid) })
}

/// Adds the requester, and reads it back from the file and through NSS.
pub(crate) fn add(note: &Note, group_name: &str, lock: Option<&Locked>) -> Result<(), String> {
    let cannot = |why: String| format!("cannot make {} a member of {group_name}: {why}", note.user);
    gpasswd("-a", &note.user, group_name, lock, until()).map_err(cannot)?;
    let groups = accounts::groups_in_file().map_err(|error| cannot(format!("{}: {error}", accounts::GROUP)))?;
    if !groups.iter().any(|group| group.name == group_name && group.members.contains(&note.user)) {
        return Err(cannot(format!("{} does not show it", accounts::GROUP)));
    }
    let seen = accounts::group_named(group_name).map_err(cannot)?;
    if seen.is_some_and(|group| group.members.contains(&note.user)) {
        Ok(())
    } else {
        Err(cannot("NSS does not show it".to_owned()))
    }
}

/// An entry that is to go.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    uid: Uid,
    user: String,
    group: String,
    gid: Option<Gid>,
}

impl Entry {
    pub(crate) fn of(note: &Note, group: &str, gid: Option<Gid>) -> Self {
        Self { uid: note.uid, user: note.user.clone(), group: group.to_owned(), gid }
    }

    /// What the account was called when it was added, and what it is called now.
    fn names<'a>(&'a self, now_called: &'a BTreeMap<Uid, String>) -> impl Iterator<Item = &'a str> {
        let now = now_called.get(&self.uid).filter(|name| **name != self.user);
        std::iter::once(self.user.as_str()).chain(now.map(String::as_str))
    }

    /// The group with the id that was noted, and whatever has the name.
    fn is_in(&self, group: &Group) -> bool {
        group.name == self.group || Some(group.gid) == self.gid
    }
}

/// Removes what was added, under whatever names accounts and groups have now, many at once, and reads it back: an outcome for each.
pub(crate) fn remove(entries: &[Entry], lock: Option<&Locked>, until_ms: u64) -> Vec<Result<Removed, String>> {
    let cannot = |entry: &Entry, why: &str| Err(format!("cannot take {} out of {}: {why}", entry.user, entry.group));
    let unreadable = |error: std::io::Error| format!("cannot read {}: {error}", accounts::GROUP);
    let now_called = accounts::names_in_file();
    let before = match accounts::groups_in_file().map_err(unreadable) {
        Ok(groups) => groups,
        Err(why) => return entries.iter().map(|entry| cannot(entry, &why)).collect(),
    };
    let wanted: Vec<BTreeSet<(String, String)>> =
        entries.iter().map(|entry| present(entry, &now_called, &before)).collect();
    let all: BTreeSet<(String, String)> = wanted.iter().flatten().cloned().collect();
    let failed = take_out(&all, lock, until_ms);
    let after = match accounts::groups_in_file().map_err(unreadable) {
        Ok(groups) => groups,
        Err(why) => return entries.iter().map(|entry| cannot(entry, &why)).collect(),
    };
    let mut seen = BTreeMap::new();
    let outcome = |(entry, wanted): (&Entry, &BTreeSet<(String, String)>)| {
        if let Some((group, _)) = present(entry, &now_called, &after).first() {
            let still = format!("{} still shows it in {group}", accounts::GROUP);
            return cannot(entry, wanted.iter().find_map(|pair| failed.get(pair)).unwrap_or(&still));
        }
        let mut remarks = Vec::new();
        if let Some(now) = entry.names(&now_called).nth(1) {
            remarks.push(format!("{} is called {now} now", entry.user));
        }
        let groups: Vec<&str> =
            after.iter().filter(|group| entry.is_in(group)).map(|group| group.name.as_str()).collect();
        match groups.as_slice() {
            [] => remarks.push(format!("group {} is gone", entry.group)),
            [one] if *one == entry.group => {}
            several => remarks.push(format!("group {} was found as {}", entry.group, several.join(", "))),
        }
        for group in groups {
            match seen.entry(group.to_owned()).or_insert_with(|| accounts::group_named(group)) {
                Ok(Some(seen)) if entry.names(&now_called).any(|name| seen.members.iter().any(|one| one == name)) => {
                    return cannot(entry, &format!("NSS still shows it in {group}"));
                }
                Ok(_) => {}
                // The file does not have it any more: a directory that is away is no reason to try for ever.
                Err(why) => remarks.push(format!("NSS could not be asked: {why}")),
            }
        }
        Ok(Removed { removed: !wanted.is_empty(), remark: Some(remarks.join("; ")).filter(|text| !text.is_empty()) })
    };
    entries.iter().zip(&wanted).map(outcome).collect()
}

/// The lines that it stands in: group and member.
fn present(entry: &Entry, now_called: &BTreeMap<Uid, String>, groups: &[Group]) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for group in groups.iter().filter(|group| entry.is_in(group)) {
        for name in entry.names(now_called).filter(|name| group.members.iter().any(|member| member == name)) {
            found.insert((group.name.clone(), name.to_owned()));
        }
    }
    found
}

/// Takes each out; why not, for those where that was told.
fn take_out(
    pairs: &BTreeSet<(String, String)>,
    lock: Option<&Locked>,
    until_ms: u64,
) -> BTreeMap<(String, String), String> {
    let mut failed = BTreeMap::new();
    for (group, name) in pairs {
        if let Err(why) = gpasswd("-d", name, group, lock, until_ms) {
            failed.insert((group.clone(), name.clone()), why);
        }
    }
    failed
}

fn until() -> u64 {
    clock::boottime_ms().saturating_add(PATIENCE_MS)
}

/// Tries until another tool's lock is free or the time is over.
fn gpasswd(how: &str, user: &str, group: &str, lock: Option<&Locked>, until_ms: u64) -> Result<(), String> {
    loop {
        let left = until_ms.saturating_sub(clock::boottime_ms());
        let ran = tool::run(GPASSWD, &[how, user, group], lend::held_by_tool(lock), left.max(STEP_MS));
        // shadow's tools wait for the lock themselves, longer than there may be time for.
        let ran = ran.map_err(|why| if is_locked() { format!("{why}: another tool holds the lock") } else { why })?;
        if ran.succeeded {
            return Ok(());
        }
        let is_locked = ran.errors.contains("cannot lock");
        if !is_locked || left <= STEP_MS {
            let hint = if is_locked { ": another tool holds the lock" } else { "" };
            return Err(format!("gpasswd: {}{hint}", ran.words()));
        }
        std::thread::sleep(std::time::Duration::from_millis(STEP_MS));
    }
}

/// The lock file of shadow's tools (lckpwdf(3) has another one beside).
pub(crate) fn is_locked() -> bool {
    Path::new(GROUP_LOCK).exists()
}
