//! The requester's entry in the group file, by shadow's own tools: its locks, gshadow and the caches are theirs to get right.
//!
//! MUSTs
//! 1. Who is added is the account that the grant was given to, by uid; one that was renamed or made anew gets nothing (`look`).
//! 2. Only a group of the group file, and only where NSS means the same one by that name.
//! 3. What was added is found again when account or group are renamed or gone (`identity_nss_02_*`).

use jitsudo_core::lends::Effect;
use jitsudo_core::name::Gid;
use jitsudo_link::notes::{Locked, Note};
use jitsudo_sys::clock;

use crate::accounts::{self, Group};
use crate::lend::{self, Before, Removed};
use crate::tool;

const GPASSWD: &str = "/usr/bin/gpasswd";
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

/// Removes what was added, under whatever name account and group have now, and reads it back.
pub(crate) fn remove(
    note: &Note,
    group_name: &str,
    gid: Option<Gid>,
    lock: Option<&Locked>,
) -> Result<Removed, String> {
    let cannot = |why: String| format!("cannot take {} out of {group_name}: {why}", note.user);
    let now_called = accounts::name_in_file(note.uid).filter(|name| *name != note.user);
    let names: Vec<&str> = std::iter::once(note.user.as_str()).chain(now_called.as_deref()).collect();
    let until_ms = until();
    let mut removed = false;
    let mut groups = Vec::new();
    for group in entries(group_name, gid).map_err(cannot)? {
        for name in names.iter().filter(|name| group.members.iter().any(|member| member == **name)) {
            gpasswd("-d", name, &group.name, lock, until_ms).map_err(cannot)?;
            removed = true;
        }
        groups.push(group.name);
    }
    for group in entries(group_name, gid).map_err(cannot)? {
        if names.iter().any(|name| group.members.iter().any(|member| member == name)) {
            return Err(cannot(format!("{} still shows it in {}", accounts::GROUP, group.name)));
        }
    }
    let mut remarks = Vec::new();
    if let Some(now) = &now_called {
        remarks.push(format!("{} is called {now} now", note.user));
    }
    match groups.as_slice() {
        [] => remarks.push(format!("group {group_name} is gone")),
        [one] if one == group_name => {}
        several => remarks.push(format!("group {group_name} was found as {}", several.join(", "))),
    }
    for group in &groups {
        match accounts::group_named(group) {
            Ok(Some(seen)) if names.iter().any(|name| seen.members.iter().any(|member| member == name)) => {
                return Err(cannot(format!("NSS still shows it in {group}")));
            }
            Ok(_) => {}
            // The file does not have it any more: a directory that is away is no reason to try for ever.
            Err(why) => remarks.push(format!("NSS could not be asked: {why}")),
        }
    }
    Ok(Removed { removed, remark: Some(remarks.join("; ")).filter(|text| !text.is_empty()) })
}

/// The groups that the entry may stand in: the one with the id that was noted, and whatever has the name.
fn entries(group_name: &str, gid: Option<Gid>) -> Result<Vec<Group>, String> {
    let groups = accounts::groups_in_file().map_err(|error| format!("cannot read {}: {error}", accounts::GROUP))?;
    Ok(groups.into_iter().filter(|group| group.name == group_name || Some(group.gid) == gid).collect())
}

fn until() -> u64 {
    clock::boottime_ms().saturating_add(PATIENCE_MS)
}

/// Tries until another tool's lock is free or the time is over.
fn gpasswd(how: &str, user: &str, group: &str, lock: Option<&Locked>, until_ms: u64) -> Result<(), String> {
    loop {
        let left = until_ms.saturating_sub(clock::boottime_ms());
        let ran = tool::run(GPASSWD, &[how, user, group], lend::held_by_tool(lock), left)?;
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
