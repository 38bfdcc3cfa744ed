//! What is not as it was: pure.

use jitsudo_bytes::Bytes;
use jitsudo_core::Timestamp;
use jitsudo_core::residue::{Change, Item, Kind};

use super::accounts::{Account, Members};
use super::picture::{Picture, differing};
use super::places::Seen;

/// Everything that differs, but for entries of groups that live grants own.
pub(super) fn compare(before: &Picture, now: &Picture, lent: &Members) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    items.extend(accounts(before, now));
    items.extend(members(before, now, lent));
    items.extend(files(before, now));
    items.extend(running(before, now, &items));
    items
}

fn plain(kind: Kind, change: Change, name: &str, detail: Option<String>) -> Item {
    Item { kind, change, name: Bytes::from(name), detail, at: None }
}

fn accounts(before: &Picture, now: &Picture) -> Vec<Item> {
    differing(&before.accounts, &now.accounts)
        .map(|(name, account, was)| match was {
            None => plain(Kind::Account, Change::New, name, Some(format!("uid {}", account.uid))),
            Some(was) => plain(Kind::Account, Change::Changed, name, Some(what_changed(was, account))),
        })
        .collect()
}

fn what_changed(was: &Account, now: &Account) -> String {
    let uid = (was.uid != now.uid).then(|| format!("uid {}, was {}", now.uid, was.uid));
    let gid = (was.gid != now.gid).then(|| format!("gid {}, was {}", now.gid, was.gid));
    let home = (was.home != now.home).then(|| "home".to_owned());
    let shell = (was.shell != now.shell).then(|| "shell".to_owned());
    let password = (was.password != now.password).then(|| "password".to_owned());
    [uid, gid, home, shell, password].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn members<'a>(before: &'a Picture, now: &'a Picture, lent: &'a Members) -> impl Iterator<Item = Item> {
    let fresh = now.members.difference(&before.members).filter(|entry| !lent.contains(entry));
    fresh.map(|(group, member)| plain(Kind::Member, Change::New, member, Some(format!("in {group}"))))
}

fn files(before: &Picture, now: &Picture) -> Vec<Item> {
    let (was, is) = (&before.files.0, &now.files.0);
    let new = differing(was, is).map(|(path, seen, was)| {
        let change = if was.is_some() { Change::Changed } else { Change::New };
        item(path, seen, change, Timestamp::from_nanosecond(i128::from(seen.ctime_ns)).ok(), &now.accounts)
    });
    // What forbids something stands in such a file too.
    let lost = was.iter().filter(|(path, seen)| seen.kind == Kind::Sudoers && !is.contains_key(*path));
    new.chain(lost.map(|(path, seen)| item(path, seen, Change::Gone, None, &now.accounts))).collect()
}

fn item(path: &[u8], seen: &Seen, change: Change, at: Option<Timestamp>, accounts: &super::accounts::Accounts) -> Item {
    let uid = seen.uid.to_string();
    let owner = accounts.iter().find(|(_, account)| account.uid == uid).map(|(name, _)| name.clone());
    let owner = owner.unwrap_or_else(|| format!("#{uid}"));
    Item { kind: seen.kind, change, name: Bytes(path.to_vec()), detail: Some(format!("{owner}'s")), at }
}

fn running(before: &Picture, now: &Picture, known: &[Item]) -> Vec<Item> {
    // The file of a transient unit says the same.
    let is_known = |group: &str| {
        let name = group.rsplit('/').next().unwrap_or(group).as_bytes();
        known
            .iter()
            .any(|item| item.kind == Kind::Unit && item.name.0.rsplit(|byte| *byte == b'/').next() == Some(name))
    };
    let groups = now.running.groups.difference(&before.running.groups).filter(|group| !is_known(group));
    let groups = groups.map(|group| plain(Kind::Process, Change::New, group, None));
    let jobs = now.running.jobs.difference(&before.running.jobs).map(|job| {
        plain(Kind::Process, Change::New, &job.name, Some(format!("pid {}, started by {}", job.pid, job.service)))
    });
    groups.chain(jobs).collect()
}
