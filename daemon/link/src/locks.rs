//! Locked accounts as the spawner keeps them, on disk, root's alone: a decider that forgets them, or lies, starts nothing for them.

use jitsudo_core::Timestamp;
use jitsudo_core::name::Uid;
use serde::{Deserialize, Serialize};

use crate::folder::{Folder, Named};

/// Where they lie.
pub const LOCKS: &str = "/var/lib/jitsudo/locks";
/// Most of them told in one message.
pub const MAX_TOLD: usize = 500;

/// One locked account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Locked {
    /// Its uid.
    pub uid: Uid,
    /// Its name then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Since when.
    pub at: Timestamp,
}

impl Locked {
    /// Whose lock a file of this name is, also when nothing in it can be read.
    #[must_use]
    pub fn uid_of(name: &str) -> Option<Uid> {
        let uid = Uid(name.parse().ok()?);
        (uid.0.to_string() == name).then_some(uid)
    }
}

impl Named for Locked {
    fn name(&self) -> String {
        self.uid.0.to_string()
    }
}

/// This host's.
#[must_use]
pub fn folder() -> Folder<Locked> {
    Folder::on_disk(LOCKS.as_ref())
}
