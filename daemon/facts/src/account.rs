//! Accounts and groups by NSS. Names are compared as exact bytes; a lookup that fails is unknown, one that finds nothing is nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;

use jitsudo_core::facts::{Fact, Group, Requester, Target};
use jitsudo_core::name::{Gid, Uid};
use jitsudo_link::facts::About;
use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::nix::unistd::{self, User, getgrouplist};
use jitsudo_sys::process::Process;

use crate::{gid, lent, uid};

/// The peer's account.
pub(crate) fn requester(status: &Process, loginuid: Fact<Option<u32>>) -> Requester {
    let [real, ..] = status.uids;
    let [primary, ..] = status.gids;
    let user = User::from_uid(real.into());
    let known = |value: fn(&User) -> String| match &user {
        Ok(Some(user)) => Fact::Is(value(user)),
        _ => Fact::Unknown,
    };
    let carried = status.groups.iter().copied().chain([primary]).map(gid);
    let person = match &loginuid {
        Fact::Is(None) => Ok(None),
        Fact::Is(Some(number)) => User::from_uid((*number).into()).map_err(|_| ()),
        Fact::Unknown => Err(()),
    };
    let login_groups = match &person {
        // Only root acting for a person is judged by that person's groups; nobody else's are asked for.
        Ok(Some(person)) if real == 0 => groups_of(person).map_or(Fact::Unknown, |groups| named(groups.into_iter())),
        _ => Fact::Unknown,
    };
    let mut requester = Requester {
        uid: uid(real),
        gid: gid(primary),
        name: known(|user| user.name.clone()),
        groups: match &user {
            Ok(Some(user)) => groups_of(user).map_or(Fact::Unknown, |groups| named(groups.into_iter())),
            _ => Fact::Unknown,
        },
        process_groups: named(carried),
        lent_groups: BTreeSet::new(),
        loginuid: match loginuid {
            Fact::Is(number) => Fact::Is(number.map(uid)),
            Fact::Unknown => Fact::Unknown,
        },
        login_name: person.map_or(Fact::Unknown, |person| Fact::Is(person.map(|person| person.name))),
        login_groups,
        home: known(|user| user.dir.to_string_lossy().into_owned()),
        shell: known(|user| user.shell.to_string_lossy().into_owned()),
    };
    lent::tell_apart(&mut requester, &lent::read());
    requester
}

/// An account as if it asked: no process is behind it. What was lent to it is still to be told apart.
pub(crate) fn by_name(name: &str) -> Option<Requester> {
    let user = User::from_name(name).ok().flatten()?;
    let groups = groups_of(&user).map_or(Fact::Unknown, |groups| named(groups.into_iter()));
    Some(Requester {
        uid: uid(user.uid.as_raw()),
        gid: gid(user.gid.as_raw()),
        name: Fact::Is(user.name.clone()),
        groups: groups.clone(),
        process_groups: groups,
        lent_groups: BTreeSet::new(),
        loginuid: Fact::Is(Some(uid(user.uid.as_raw()))),
        login_name: Fact::Is(Some(user.name)),
        login_groups: Fact::Unknown,
        home: Fact::Is(user.dir.to_string_lossy().into_owned()),
        shell: Fact::Is(user.shell.to_string_lossy().into_owned()),
    })
}

/// The same, also by `#UID`.
pub(crate) fn by_name_or_id(asked: &str) -> Option<Requester> {
    match number(asked) {
        None => by_name(asked),
        Some(id) => by_name(&User::from_uid(id?.into()).ok().flatten()?.name),
    }
}

/// Every group that the databases list for an account, primary included; `None` when that could not be learnt.
fn groups_of(user: &User) -> Option<Vec<Gid>> {
    let name = CString::new(user.name.as_bytes()).ok()?;
    let groups = getgrouplist(&name, user.gid).ok()?;
    Some(groups.into_iter().map(|group| gid(group.as_raw())).collect())
}

/// Names a set of groups; unknown as a whole when one name could not be asked for.
fn named(groups: impl Iterator<Item = Gid>) -> Fact<BTreeSet<Group>> {
    let mut out = BTreeSet::new();
    for gid in groups {
        match unistd::Group::from_gid(gid.0.into()) {
            Ok(found) => out.insert(Group { gid, name: found.map(|group| group.name) }),
            Err(_) => return Fact::Unknown,
        };
    }
    Fact::Is(out)
}

/// The account that the command is to run as.
pub(crate) fn target(about: &About, requester: &Requester) -> Fact<Option<Target>> {
    let user = match (&about.user, &about.group) {
        (Some(asked), _) => match number(asked) {
            Some(None) => Ok(None),
            Some(Some(id)) => User::from_uid(id.into()),
            None => User::from_name(asked),
        },
        // As sudo: a group alone means the requester with that group.
        (None, Some(_)) => User::from_uid(requester.uid.0.into()),
        (None, None) if about.own => User::from_uid(requester.uid.0.into()),
        (None, None) => User::from_uid(Uid::ROOT.0.into()),
    };
    let user = match user {
        Ok(Some(user)) => user,
        Ok(None) => return Fact::Is(None),
        Err(_) => return Fact::Unknown,
    };
    let Some(groups) = groups_of(&user) else {
        return Fact::Unknown;
    };
    let group = match &about.group {
        None => None,
        Some(asked) => match group(asked) {
            Ok(Some(group)) => Some(group),
            Ok(None) => return Fact::Is(None),
            Err(_) => return Fact::Unknown,
        },
    };
    Fact::Is(Some(Target {
        uid: uid(user.uid.as_raw()),
        name: user.name.clone(),
        gid: group.as_ref().map_or(gid(user.gid.as_raw()), |group| gid(group.gid.as_raw())),
        group: group.map(|group| group.name),
        groups,
        home: user.dir.to_string_lossy().into_owned(),
        shell: if user.shell.as_os_str().is_empty() {
            "/bin/sh".to_owned()
        } else {
            user.shell.to_string_lossy().into_owned()
        },
    }))
}

/// Groups that a role may lend, each by itself: one that cannot be asked for is unknown.
pub(crate) fn lendable(asked: &[String]) -> BTreeMap<String, Fact<Option<Gid>>> {
    let find = |name: &String| match group(name) {
        Ok(found) => Fact::Is(found.map(|group| gid(group.gid.as_raw()))),
        Err(_) => Fact::Unknown,
    };
    asked.iter().map(|name| (name.clone(), find(name))).collect()
}

/// A group by its name, or `#` and its id.
fn group(asked: &str) -> Result<Option<unistd::Group>, Errno> {
    match number(asked) {
        Some(None) => Ok(None),
        Some(Some(id)) => unistd::Group::from_gid(id.into()),
        // A module that finds names in its own way gives no other group.
        None => Ok(unistd::Group::from_name(asked)?.filter(|group| group.name == asked)),
    }
}

/// `#27` → `Some(Some(27))`; `#-1`, `#4294967295`, `#x` → `Some(None)`: nobody; a name → `None`.
fn number(asked: &str) -> Option<Option<u32>> {
    let digits = asked.strip_prefix('#')?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let id = if plain { digits.parse().ok().filter(|id| *id != u32::MAX) } else { None };
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cmd_match_01_ids_out_of_range_are_nobody() {
        for asked in ["#-1", "#4294967295", "#4294967296", "#", "#+0", "#0x0", "# 0", "#99999999999999999999"] {
            assert_eq!(number(asked), Some(None), "{asked}");
        }
        assert_eq!(number("#0"), Some(Some(0)));
        assert_eq!(number("#4294967294"), Some(Some(4_294_967_294)));
        assert_eq!(number("root"), None);
    }

    #[test]
    fn identity_nss_05_names_are_exact() {
        let about = |user: &str| About {
            user: Some(user.to_owned()),
            group: None,
            program: None,
            shell: None,
            words: Vec::new(),
            same_as: Vec::new(),
            subject: None,
            own: false,
            groups: vec![],
            hash: false,
        };
        let own = requester(&jitsudo_sys::process::read(std::process::id()).unwrap(), Fact::Is(None));
        for asked in ["ROOT", "root ", "r\u{43e}\u{43e}t", "0", "-rf", "no such account"] {
            assert_eq!(target(&about(asked), &own), Fact::Is(None), "{asked}");
        }
        assert_eq!(target(&about("root"), &own).known().unwrap().as_ref().unwrap().uid, Uid::ROOT);
        assert_eq!(target(&about("#0"), &own).known().unwrap().as_ref().unwrap().name, "root");
    }
}
