//! Who is in which group by the host's own files: no NSS module runs in the spawner (passwd(5), group(5)).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

/// The part of the files that tells who is in a group.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Databases {
    /// Names and primary group of each uid.
    accounts: BTreeMap<u32, (BTreeSet<String>, BTreeSet<u32>)>,
    /// Members of each gid.
    members: BTreeMap<u32, BTreeSet<String>>,
}

impl Databases {
    /// Reads both files.
    pub(super) fn read() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/etc/passwd")?, &fs::read_to_string("/etc/group")?))
    }

    pub(super) fn parse(passwd: &str, group: &str) -> Self {
        let mut databases = Self::default();
        for fields in passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()) {
            if let [name, _, uid, gid, ..] = fields.as_slice()
                && let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse())
            {
                let (names, primary) = databases.accounts.entry(uid).or_default();
                names.insert((*name).to_owned());
                primary.insert(gid);
            }
        }
        for fields in group.lines().map(|line| line.split(':').collect::<Vec<_>>()) {
            if let [_, _, gid, members] = fields.as_slice()
                && let Ok(gid) = gid.parse()
            {
                databases.members.entry(gid).or_default().extend(members.split(',').map(|name| name.trim().to_owned()));
            }
        }
        databases
    }

    /// True when the files put the account into the group.
    pub(super) fn gives(&self, uid: u32, gid: u32) -> bool {
        let Some((names, primary)) = self.accounts.get(&uid) else { return false };
        primary.contains(&gid) || self.members.get(&gid).is_some_and(|members| !members.is_disjoint(names))
    }
}
