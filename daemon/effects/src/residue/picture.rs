//! A picture of the host: accounts, members of groups, the files that give rights or start programs, and what runs.

use std::collections::BTreeMap;
use std::path::Path;

use jitsudo_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::accounts::{self, Accounts, Members};
use super::places::{self, Files};
use super::running::{self, Running};

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Picture {
    /// From when on things count as changed since, wall clock.
    pub(super) since: Timestamp,
    /// The same, CLOCK_BOOTTIME milliseconds.
    pub(super) since_boottime_ms: u64,
    pub(super) accounts: Accounts,
    pub(super) members: Members,
    pub(super) files: Files,
    pub(super) running: Running,
}

/// The kernel writes the time of its last tick into files (inode_set_ctime_current).
const TICK_NS: i128 = 20_000_000;

impl Picture {
    /// Takes one now. What cannot be read is empty in it.
    pub(super) fn take(root: &Path, (since, since_boottime_ms): (Timestamp, u64)) -> Self {
        let passwd = accounts::read(root, "etc/passwd");
        Self {
            since,
            since_boottime_ms,
            accounts: accounts::accounts(&passwd, &accounts::read(root, "etc/shadow")),
            members: accounts::members(&accounts::read(root, "etc/group")),
            files: places::files(root, &accounts::homes(&passwd)),
            running: running::running(root),
        }
    }

    /// The wall clock from which on files count as changed, nanoseconds; `now` knows whether that clock was set back meanwhile.
    pub(super) fn since_ns(&self, now: &Self) -> i128 {
        let walls = now.since.as_nanosecond() - self.since.as_nanosecond();
        let boots = (i128::from(now.since_boottime_ms) - i128::from(self.since_boottime_ms)) * 1_000_000;
        let set_back = (boots - walls).max(0);
        // A few milliseconds between two looks at two clocks are no step.
        let set_back = if set_back > 1_000_000_000 { set_back } else { 0 };
        self.since.as_nanosecond() - set_back - TICK_NS
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
