//! Accounts and members of groups, from the files themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use jitsudo_protocol::digest;
use serde::{Deserialize, Serialize};

/// Largest file of accounts that is looked at, bytes.
const MAX_BYTES: usize = 16 << 20;

/// What counts of an account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) uid: String,
    pub(super) gid: String,
    pub(super) home: String,
    pub(super) shell: String,
    /// The beginning of the password field's SHA-256: whether it is another one, and nothing else.
    pub(super) password: String,
}

/// By name.
pub(super) type Accounts = BTreeMap<String, Account>;
/// Group and member.
pub(super) type Members = BTreeSet<(String, String)>;

/// A file as text; empty where it cannot be read.
pub(super) fn read(root: &Path, name: &str) -> String {
    let bytes = fs::read(root.join(name)).unwrap_or_default();
    String::from_utf8_lossy(bytes.get(..bytes.len().min(MAX_BYTES)).unwrap_or_default()).into_owned()
}

/// Of passwd(5) and shadow(5).
pub(super) fn accounts(passwd: &str, shadow: &str) -> Accounts {
    let passwords: BTreeMap<&str, &str> = shadow.lines().filter_map(|line| line.split_once(':')).collect();
    let account = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, own, uid, gid, _, home, shell] = fields.as_slice() else { return None };
        let password = passwords.get(name).and_then(|rest| rest.split(':').next()).unwrap_or(own);
        let account = Account {
            uid: (*uid).to_owned(),
            gid: (*gid).to_owned(),
            home: (*home).to_owned(),
            shell: (*shell).to_owned(),
            password: digest::of_bytes(password.as_bytes()).chars().take(12).collect(),
        };
        Some(((*name).to_owned(), account))
    };
    passwd.lines().filter_map(account).collect()
}

/// Of group(5).
pub(super) fn members(group: &str) -> Members {
    let of = |line: &str| -> Option<Vec<(String, String)>> {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, _, members] = fields.as_slice() else { return None };
        let members = members.split(',').filter(|member| !member.is_empty());
        Some(members.map(|member| ((*name).to_owned(), member.to_owned())).collect())
    };
    group.lines().filter_map(of).flatten().collect()
}

/// Home directories, each once, with the account that has it.
pub(super) fn homes(passwd: &str) -> BTreeMap<PathBuf, String> {
    let home = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let (name, home) = (fields.first()?, fields.get(5)?);
        (home.starts_with('/') && home.len() > 1).then(|| (PathBuf::from(home), (*name).to_owned()))
    };
    passwd.lines().filter_map(home).collect()
}
