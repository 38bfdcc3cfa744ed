//! Numbers of accounts and groups, as types that cannot be swapped.

use serde::{Deserialize, Serialize};

/// A user id. 2^32-1 is "no id" to the kernel and never stands for an account.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uid(pub u32);

/// A group id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Gid(pub u32);

impl Uid {
    /// The superuser.
    pub const ROOT: Self = Self(0);

    /// True for ids that can belong to an account: neither 2^32-1 ("unset") nor 65534 (the overflow id of user namespaces).
    #[must_use]
    pub fn is_account(self) -> bool {
        self.0 != u32::MAX && self.0 != 65534
    }
}
