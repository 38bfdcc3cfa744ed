//! Accounts as the databases have them now, for whoever holds a role: named by uid, because that is what was recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use jitsudo_core::facts::{Fact, Group, Requester};
use jitsudo_link::facts::{Account, Entry};
use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::nix::unistd::User;

use crate::{account, lent};

/// Seconds of a day, in which shadow(5) counts.
const DAY: i64 = 86_400;

/// What is known of these accounts.
pub(crate) fn look(uids: &[u32]) -> Vec<Account> {
    let passwd = fs::read("/etc/passwd").unwrap_or_default();
    let shadow = fs::read("/etc/shadow").ok();
    let days = jitsudo_sys::clock::now().wall_ns / 1_000_000_000 / i128::from(DAY);
    let users: Vec<_> = uids.iter().map(|uid| (*uid, User::from_uid((*uid).into()))).collect();
    let mut requesters: BTreeMap<u32, Option<Requester>> = BTreeMap::new();
    for (uid, user) in &users {
        requesters.insert(*uid, user.as_ref().ok().and_then(|user| account::by_name(&user.as_ref()?.name)));
    }
    let lent = lent::read();
    requesters.values_mut().flatten().for_each(|requester| lent::tell_apart(requester, &lent));
    let entry = |uid: u32, user: Result<Option<User>, Errno>| match user {
        Err(_) => Fact::Unknown,
        Ok(None) => Fact::Is(None),
        Ok(Some(user)) => Fact::Is(Some(Entry {
            gid: user.gid.as_raw(),
            home: user.dir.to_string_lossy().into_owned(),
            shell: user.shell.to_string_lossy().into_owned(),
            groups: requesters.get(&uid).and_then(Option::as_ref).map_or(Fact::Unknown, groups),
            local: line_of(&passwd, &user.name).is_some(),
            locked: shadow.as_deref().map_or(Fact::Unknown, |shadow| Fact::Is(is_locked(shadow, &user.name, days))),
            name: user.name,
        })),
    };
    users.into_iter().map(|(uid, user)| Account { uid, entry: entry(uid, user) }).collect()
}

/// Without what jitsudo lent itself, which counts nowhere.
fn groups(requester: &Requester) -> Fact<BTreeSet<Group>> {
    let lent = &requester.lent_groups;
    match &requester.groups {
        Fact::Is(groups) => Fact::Is(groups.iter().filter(|group| !lent.contains(&group.gid)).cloned().collect()),
        Fact::Unknown => Fact::Unknown,
    }
}

/// The fields of an account in passwd(5) or shadow(5).
fn line_of<'a>(file: &'a [u8], name: &str) -> Option<Vec<&'a [u8]>> {
    let mut lines = file.split(|byte| *byte == b'\n');
    let line = lines.find(|line| line.split(|byte| *byte == b':').next() == Some(name.as_bytes()))?;
    Some(line.split(|byte| *byte == b':').collect())
}

/// Its password begins with `!` (usermod -L), or the day on which it expires has come. An account that shadow(5) does not have is another
/// database's to lock.
fn is_locked(shadow: &[u8], name: &str, today: i128) -> bool {
    let Some(fields) = line_of(shadow, name) else { return false };
    let password = fields.get(1).copied().unwrap_or_default();
    let expires = fields.get(7).and_then(|field| std::str::from_utf8(field).ok()?.parse::<i128>().ok());
    password.starts_with(b"!") || expires.is_some_and(|day| day <= today)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_and_expired_accounts_are_told_and_no_other() {
        let shadow = b"root:*:19000:0:99999:7:::\nalice:$y$j9T$x:19000:0:99999:7:::\nbob:!$y$x:19000:0:99999:7:::\n\
            carol:$y$x:19000:0:99999:7::20000:\nadmin:!:1::::::\n";
        for (name, today, locked) in [
            ("root", 20_000, false),
            ("alice", 20_000, false),
            ("ali", 20_000, false),
            ("bob", 20_000, true),
            ("carol", 19_999, false),
            ("carol", 20_000, true),
            ("admin", 20_000, true),
            ("alice-adm", 20_000, false),
        ] {
            assert_eq!(is_locked(shadow, name, today), locked, "{name} {today}");
        }
        assert_eq!(line_of(b"x:1\n", "y"), None);
    }

    #[test]
    fn roots_entry_is_there_and_another_uid_is_nobodys() {
        let accounts = look(&[0, 4_294_967_000]);
        let Fact::Is(Some(root)) = &accounts[0].entry else { panic!("{accounts:?}") };
        assert_eq!((root.name.as_str(), root.gid, root.local), ("root", 0, true));
        assert_eq!(accounts[1].entry, Fact::Is(None));
    }
}
