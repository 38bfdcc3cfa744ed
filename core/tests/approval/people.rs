//! Accounts of the tests, each on its own terminal.

use jitsudo_core::facts::{Fact, Facts, Group};
use jitsudo_core::name::{Gid, Uid};

use crate::scene;

const GROUPS: &[(&str, u32)] = &[("leads", 2001), ("security", 2002), ("ops", 2003)];

/// An account that logged in as itself, in these groups.
pub fn person(uid: u32, name: &str, groups: &[&str]) -> Facts {
    let mut facts = scene::alice();
    let own = scene::group(uid, name);
    let others = GROUPS.iter().filter(|(group, _)| groups.contains(group));
    let groups: std::collections::BTreeSet<Group> =
        others.map(|(group, gid)| scene::group(*gid, group)).chain([own]).collect();
    let requester = &mut facts.requester;
    (requester.uid, requester.gid) = (Uid(uid), Gid(uid));
    requester.name = Fact::Is(name.to_owned());
    (requester.groups, requester.process_groups) = (Fact::Is(groups.clone()), Fact::Is(groups));
    requester.loginuid = Fact::Is(Some(Uid(uid)));
    requester.login_name = Fact::Is(Some(name.to_owned()));
    facts
}

pub fn alice() -> Facts {
    person(1001, "alice", &[])
}
pub fn alice_adm() -> Facts {
    person(1011, "alice-adm", &["leads"])
}
pub fn bob() -> Facts {
    person(1002, "bob", &["leads"])
}
/// The policy knows it by its number.
pub fn bob_adm() -> Facts {
    person(1012, "bob-adm", &["leads"])
}
pub fn carol() -> Facts {
    person(1003, "carol", &["leads"])
}
pub fn dan() -> Facts {
    person(1004, "dan", &["security"])
}
pub fn runner() -> Facts {
    person(1020, "runner", &[])
}
