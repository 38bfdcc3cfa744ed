//! A picture of the host: accounts, members of groups, the files that give rights or start programs, and what runs.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::accounts::{self, Accounts, Members};
use super::places::{self, Files};
use super::running::{self, Running};

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Picture {
    pub(super) accounts: Accounts,
    pub(super) members: Members,
    pub(super) files: Files,
    pub(super) running: Running,
}

/// From when on things count as changed since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Since {
    /// Wall clock, nanoseconds since 1970.
    pub(super) wall_ns: i128,
    /// CLOCK_BOOTTIME, milliseconds.
    pub(super) boottime_ms: u64,
}

/// The kernel writes the time of its last tick into files (inode_set_ctime_current).
const TICK_NS: i128 = 20_000_000;

impl Since {
    /// The wall clock from which on files count as changed, nanoseconds; `now` knows whether that clock was set back meanwhile.
    pub(super) fn by_files(self, now: Self) -> i128 {
        let walls = now.wall_ns - self.wall_ns;
        let boots = (i128::from(now.boottime_ms) - i128::from(self.boottime_ms)) * 1_000_000;
        // A few milliseconds between two looks at two clocks are no step.
        let set_back = Some(boots - walls).filter(|back| *back > 1_000_000_000).unwrap_or(0);
        self.wall_ns - set_back - TICK_NS
    }
}

impl Picture {
    /// Takes one now. What cannot be read is empty in it.
    pub(super) fn take(root: &Path) -> Self {
        let passwd = accounts::read(root, "etc/passwd");
        Self {
            accounts: accounts::accounts(&passwd, &accounts::read(root, "etc/shadow")),
            members: accounts::members(&accounts::read(root, "etc/group")),
            files: places::files(root, &accounts::homes(&passwd)),
            running: running::running(root),
        }
    }
}

/// A map's entries that are not in another one, or are another there; with what they were.
pub(super) fn differing<'a, Key: Ord, Value: PartialEq>(
    before: &'a BTreeMap<Key, Value>,
    now: &'a BTreeMap<Key, Value>,
) -> impl Iterator<Item = (&'a Key, &'a Value, Option<&'a Value>)> {
    now.iter().filter_map(|(key, value)| match before.get(key) {
        Some(was) if was == value => None,
        was => Some((key, value, was)),
    })
}
