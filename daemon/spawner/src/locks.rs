//! Locked accounts, as this program knows them by itself: a decider that forgets one, or was taken over, starts nothing for it.
//!
//! MUSTs
//! 1. A lock counts from the moment it was told, written or not (`lock_counts_at_once_*`).
//! 2. Only root, or somebody with the duty `lock` by own facts, ends one (`spawner::locked`; host test `dos_10_*`).

use std::collections::BTreeMap;

use jitsudo_core::Timestamp;
use jitsudo_core::facts::Facts;
use jitsudo_core::lock::{self, Account};
use jitsudo_core::name::Uid;
use jitsudo_core::policy::Policy;
use jitsudo_core::state::Lock;
use jitsudo_link::folder::{Folder, Named as _};
use jitsudo_link::locks::{Locked, MAX_TOLD};

/// See the module.
#[derive(Debug)]
pub(crate) struct Locks {
    folder: Folder<Locked>,
    all: BTreeMap<Uid, Lock>,
}

impl Locks {
    /// Finds what was locked; and in words which files cannot be read.
    pub(crate) fn load(folder: Folder<Locked>) -> (Self, Vec<String>) {
        let listing = folder.read_all();
        let garbage = listing.garbage.iter();
        let trouble = garbage.map(|(path, why)| format!("cannot read the lock {}: {why}", path.display())).collect();
        let notes = listing.notes.into_iter().map(|one| (one.uid, lock(one.user, one.at)));
        let mut all: BTreeMap<Uid, Lock> = notes.collect();
        // One that cannot be read locks whom its name says: what is damaged gives nothing.
        let named = listing.garbage.iter().filter_map(|(path, _)| Locked::uid_of(path.file_name()?.to_str()?));
        for uid in named.filter(|uid| uid.is_account() && *uid != Uid::ROOT) {
            all.entry(uid).or_insert_with(|| lock(None, Timestamp::UNIX_EPOCH));
        }
        (Self { folder, all }, trouble)
    }

    /// It is locked from now on; in words why that cannot be kept on disk: then it counts until a restart, and the decider tells it again.
    pub(crate) fn add(&mut self, uid: Uid, user: Option<String>, at: Timestamp) -> Result<(), String> {
        if !uid.is_account() || uid == Uid::ROOT || self.all.contains_key(&uid) {
            return Ok(());
        }
        let locked = Locked { uid, user: user.clone(), at };
        self.all.insert(uid, lock(user, at));
        self.folder.write(&locked).map_err(|error| format!("cannot write the lock of uid {}: {error}", uid.0))
    }

    /// It is not locked any more, and is not after a restart; in words why not.
    pub(crate) fn remove(&mut self, uid: Uid) -> Result<(), String> {
        let name = Locked { uid, user: None, at: Timestamp::UNIX_EPOCH }.name();
        self.folder.remove(&name).map_err(|error| format!("cannot remove the lock of uid {}: {error}", uid.0))?;
        self.all.remove(&uid);
        Ok(())
    }

    /// The account by whose lock nothing is given to the requester of these facts.
    pub(crate) fn on(&self, policy: Option<&Policy>, facts: &Facts) -> Option<Uid> {
        lock::of(policy, facts, self.all.iter().map(|(uid, lock)| (*uid, lock))).map(|(uid, _)| uid)
    }

    /// True when this account, or another of its person, is locked.
    pub(crate) fn reach(&self, policy: Option<&Policy>, uid: u32, user: Option<&str>) -> bool {
        let account = Account { uid: Uid(uid), name: user };
        self.all.iter().any(|(uid, lock)| {
            let locked = Account { uid: *uid, name: lock.user.as_deref() };
            lock::is_same_person(policy, locked, account)
        })
    }

    /// What a decider is told of them.
    pub(crate) fn told(&self) -> Vec<Locked> {
        let all = self.all.iter().take(MAX_TOLD);
        all.map(|(uid, lock)| Locked { uid: *uid, user: lock.user.clone(), at: lock.at }).collect()
    }
}

fn lock(user: Option<String>, at: Timestamp) -> Lock {
    Lock { at, user, reason: String::new(), by: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_counts_at_once_and_after_a_restart_until_it_is_removed() {
        let path = std::env::temp_dir().join(format!("jitsudo-locks-{}", std::process::id()));
        let load = || Locks::load(Folder::on_disk(&path)).0;
        let mut locks = load();
        let at = Timestamp::UNIX_EPOCH;
        locks.add(Uid(1001), Some("alice".to_owned()), at).unwrap();
        locks.add(Uid(0), Some("root".to_owned()), at).unwrap();
        locks.add(Uid(u32::MAX), None, at).unwrap();
        for locks in [&locks, &load()] {
            assert!(
                locks.reach(None, 1001, None) && !locks.reach(None, 1002, Some("alice")) && !locks.reach(None, 0, None)
            );
            assert_eq!(locks.told().len(), 1);
        }
        std::fs::write(path.join("1001"), "{").unwrap();
        std::fs::write(path.join("alice"), "{").unwrap();
        let (damaged, trouble) = Locks::load(Folder::on_disk(&path));
        assert!(trouble.len() == 2 && damaged.told().len() == 1 && damaged.reach(None, 1001, None));
        std::fs::remove_file(path.join("alice")).unwrap();
        locks.remove(Uid(1001)).unwrap();
        locks.remove(Uid(1001)).unwrap();
        assert!(!locks.reach(None, 1001, None) && load().told().is_empty());
        // Where nothing can be written it counts all the same.
        std::fs::remove_dir_all(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        let (mut locks, trouble) = Locks::load(Folder::on_disk(&path));
        assert_eq!(trouble.len(), 1);
        assert!(locks.add(Uid(1001), None, at).is_err() && locks.reach(None, 1001, None));
        std::fs::remove_file(&path).unwrap();
    }
}
