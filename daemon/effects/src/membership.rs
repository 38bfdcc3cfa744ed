//! The requester's entry in the group file, by shadow's own tools: its locks, gshadow and the caches are theirs to get right.
//!
//! MUSTs
//! 1. Who is added is the account that the grant was given to, by uid; one that was renamed or made anew gets nothing (`look`).
//! 2. Only a group of the group file, and only where NSS means the same one by that name.
//! 3. What was added is found again when account or group are renamed or gone (`identity_nss_02_*`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use jitsudo_core::lends::Effect;
use jitsudo_core::name::{Gid, Uid};
use jitsudo_link::LIBEXEC;
use jitsudo_link::notes::{Locked, Note};
use jitsudo_sys::clock;

use crate::accounts::{self, Group};
use crate::lend::{self, Before, Removed};
use crate::{group_lock, members, tool};

const GPASSWD: &str = "/usr/bin/gpasswd";
const VIGR: &str = "/usr/sbin/vigr";
/// Milliseconds for one change, waiting for another tool's lock included.
const PATIENCE_MS: u64 = 18_000;
/// Longest variable that names entries for one call; execve(2) takes 128 KiB.
const MAX_BYTES: usize = 96 << 10;
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
    let now_called = accounts::names_in_file();
    let before = match Files::read() {
        Ok(files) => files,
        Err(why) => return entries.iter().map(|entry| cannot(entry, &why)).collect(),
    };
    let wanted: Vec<BTreeSet<Pair>> = entries.iter().map(|entry| before.present(entry, &now_called)).collect();
    let all: BTreeSet<Pair> = wanted.iter().flatten().cloned().collect();
    let failed = take_out(&all, lock, until_ms);
    let synced = if all.is_empty() { Ok(()) } else { sync_etc() };
    let after = match Files::read() {
        Ok(files) => files,
        Err(why) => return entries.iter().map(|entry| cannot(entry, &why)).collect(),
    };
    let groups: BTreeSet<String> =
        entries.iter().flat_map(|entry| after.groups_of(entry)).map(|group| group.name.clone()).collect();
    let seen = accounts::groups_named(&groups);
    let outcome = |(entry, wanted): (&Entry, &BTreeSet<Pair>)| {
        if let Some((group, _)) = after.present(entry, &now_called).first() {
            let still = format!("{} or {} still shows it in {group}", accounts::GROUP, accounts::GSHADOW);
            return cannot(entry, wanted.iter().find_map(|pair| failed.get(pair)).unwrap_or(&still));
        }
        if let Err(why) = &synced
            && !wanted.is_empty()
        {
            return cannot(entry, why);
        }
        let mut remarks = Vec::new();
        if let Some(now) = entry.names(&now_called).nth(1) {
            remarks.push(format!("{} is called {now} now", entry.user));
        }
        let groups: Vec<&str> = after.groups_of(entry).map(|group| group.name.as_str()).collect();
        match groups.as_slice() {
            [] => remarks.push(format!("group {} is gone", entry.group)),
            [one] if *one == entry.group => {}
            several => remarks.push(format!("group {} was found as {}", entry.group, several.join(", "))),
        }
        match &seen {
            Ok(seen) => {
                let shows =
                    |group: &&Group| entry.names(&now_called).any(|name| group.members.iter().any(|one| one == name));
                if let Some(group) = groups.iter().filter_map(|group| seen.get(*group)).find(shows) {
                    return cannot(entry, &format!("NSS still shows it in {}", group.name));
                }
            }
            // The files do not have it any more: a directory that is away is no reason to try for ever.
            Err(why) => remarks.push(format!("NSS could not be asked: {why}")),
        }
        Ok(Removed { removed: !wanted.is_empty(), remark: Some(remarks.join("; ")).filter(|text| !text.is_empty()) })
    };
    entries.iter().zip(&wanted).map(outcome).collect()
}

/// Group and member.
type Pair = (String, String);

/// Both files that say who is a member.
struct Files {
    groups: Vec<Group>,
    shadow: BTreeMap<String, Vec<String>>,
}

impl Files {
    fn read() -> Result<Self, String> {
        let unreadable = |file: &str, error: std::io::Error| format!("cannot read {file}: {error}");
        Ok(Self {
            groups: accounts::groups_in_file().map_err(|error| unreadable(accounts::GROUP, error))?,
            shadow: accounts::members_in_gshadow().map_err(|error| unreadable(accounts::GSHADOW, error))?,
        })
    }

    fn groups_of(&self, entry: &Entry) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| entry.is_in(group))
    }

    /// The lines that an entry stands in. One of the two files alone will do: a tool may have died between them.
    fn present(&self, entry: &Entry, now_called: &BTreeMap<Uid, String>) -> BTreeSet<Pair> {
        let mut found = BTreeSet::new();
        let mut find = |group: &str, members: &[String]| {
            for name in entry.names(now_called).filter(|name| members.iter().any(|member| member == name)) {
                found.insert((group.to_owned(), name.to_owned()));
            }
        };
        let of_gshadow = |name: &str| self.shadow.get(name).map_or(&[][..], Vec::as_slice);
        find(&entry.group, of_gshadow(&entry.group));
        for group in self.groups_of(entry) {
            find(&group.name, &group.members);
            find(&group.name, of_gshadow(&group.name));
        }
        found
    }
}

/// Takes each out; why not, for those where that was told.
fn take_out(pairs: &BTreeSet<Pair>, lock: Option<&Locked>, until_ms: u64) -> BTreeMap<Pair, String> {
    let mut failed = BTreeMap::new();
    // vigr would put a file in the place of a link.
    let is_odd = accounts::group_file_is_odd().or_else(accounts::gshadow_is_odd).is_some();
    if is_odd || !Path::new(VIGR).exists() {
        for (group, name) in pairs {
            if let Err(why) = gpasswd("-d", name, group, lock, until_ms) {
                failed.insert((group.clone(), name.clone()), why);
            }
        }
        return failed;
    }
    for some in batches(pairs) {
        let whom = members::told(some.iter().copied());
        // The group file first: it gives the right.
        let mut edited = vigr(&[], &whom, lock, until_ms);
        if edited.is_ok() && accounts::has_gshadow() {
            edited = vigr(&["-s"], &whom, lock, until_ms);
        }
        if let Err(why) = edited {
            failed.extend(some.into_iter().map(|pair| (pair.clone(), why.clone())));
        }
    }
    failed
}

/// As many as one variable may name.
fn batches(pairs: &BTreeSet<Pair>) -> Vec<Vec<&Pair>> {
    let (mut batches, mut bytes) = (Vec::<Vec<&Pair>>::new(), MAX_BYTES);
    for pair in pairs {
        bytes += pair.0.len() + pair.1.len() + 2;
        match batches.last_mut() {
            Some(batch) if bytes <= MAX_BYTES => batch.push(pair),
            _ => {
                bytes = pair.0.len() + pair.1.len() + 2;
                batches.push(vec![pair]);
            }
        }
    }
    batches
}

/// What is gone must be gone after a power cut too, before its note goes: a tool syncs the file, not its name.
fn sync_etc() -> Result<(), String> {
    File::open("/etc").and_then(|etc| etc.sync_all()).map_err(|error| format!("cannot sync /etc: {error}"))
}

fn until() -> u64 {
    clock::boottime_ms().saturating_add(PATIENCE_MS)
}

fn gpasswd(how: &str, user: &str, group: &str, lock: Option<&Locked>, until_ms: u64) -> Result<(), String> {
    shadow_tool(GPASSWD, &[how, user, group], &[], lock, until_ms)
}

/// Edits one of the two files by [`members`].
fn vigr(how: &[&str], whom: &str, lock: Option<&Locked>, until_ms: u64) -> Result<(), String> {
    let editor = format!("{LIBEXEC}/jitsudo-effects {}", members::WORD);
    shadow_tool(VIGR, how, &[("VISUAL", &editor), (members::WHOM, whom)], lock, until_ms)
}

/// Tries until another tool's lock is free or the time is over.
fn shadow_tool(
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
    lock: Option<&Locked>,
    until_ms: u64,
) -> Result<(), String> {
    loop {
        let left = until_ms.saturating_sub(clock::boottime_ms());
        let ran = tool::run_with(program, arguments, environment, lend::held_by_tool(lock), left.max(STEP_MS));
        // shadow's tools wait for the lock themselves, longer than there may be time for.
        let ran = ran.map_err(|why| if group_lock::is_there() { group_lock::words() } else { why })?;
        if ran.succeeded {
            return Ok(());
        }
        // gpasswd's word for it, and vigr's.
        let is_locked = ran.errors.contains("cannot lock") || ran.errors.contains("Couldn't lock");
        if !is_locked {
            let name = program.rsplit('/').next().unwrap_or(program);
            return Err(format!("{name}: {}", ran.words()));
        }
        if left <= STEP_MS {
            return Err(group_lock::words());
        }
        std::thread::sleep(std::time::Duration::from_millis(STEP_MS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_entries_are_named_in_variables_that_fit() {
        let pairs: BTreeSet<Pair> = (0..5_000).map(|number| (format!("group{number}"), "m".repeat(32))).collect();
        let batches = batches(&pairs);
        assert!(batches.len() > 1 && batches.iter().flatten().copied().eq(&pairs));
        assert!(batches.iter().all(|batch| members::told(batch.iter().copied()).len() <= MAX_BYTES));
        let long = [("g".repeat(MAX_BYTES), "m".to_owned()), ("h".to_owned(), "m".to_owned())].into();
        assert_eq!(super::batches(&long).iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
    }
}
