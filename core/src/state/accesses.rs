//! Every access that is not over, and where to find those of an account and those whose end has come: nothing that happens often walks
//! through all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::access::Access;
use crate::id::AccessId;
use crate::name::Uid;

/// By id, with three indexes over the same. A copy shares what neither has changed.
#[derive(Clone, Default, Debug)]
pub(super) struct Accesses {
    by_id: BTreeMap<AccessId, Arc<Access>>,
    /// Nothing was given for these yet.
    pending: BTreeSet<AccessId>,
    /// Live role grants by account.
    roles: BTreeMap<Uid, BTreeSet<AccessId>>,
    /// Live ones by boot and end on its clock.
    ends: BTreeMap<String, BTreeSet<(u64, AccessId)>>,
}

impl Accesses {
    /// All of a snapshot at once; of two with one id the later counts.
    pub(super) fn of_all(all: impl Iterator<Item = Arc<Access>>) -> Self {
        let by_id: BTreeMap<AccessId, Arc<Access>> = all.map(|access| (access.id().clone(), access)).collect();
        let (mut pending, mut roles, mut ends) = (Vec::new(), Vec::new(), BTreeMap::<&str, Vec<_>>::new());
        for (id, access) in &by_id {
            if let Some(given) = access.given().filter(|_| access.is_live()) {
                if given.is_role() {
                    roles.push((access.asked_for().uid, id.clone()));
                }
                ends.entry(&given.ends.boot).or_default().push((given.ends.boottime_ms, id.clone()));
            } else {
                pending.push(id.clone());
            }
        }
        roles.sort_unstable();
        let of_account = |of: &[(Uid, AccessId)]| Some((of.first()?.0, of.iter().map(|(_, id)| id.clone()).collect()));
        let roles = roles.chunk_by(|one, other| one.0 == other.0).filter_map(of_account).collect();
        let ends = ends.into_iter().map(|(boot, ends)| (boot.to_owned(), ends.into_iter().collect())).collect();
        Self { pending: pending.into_iter().collect(), roles, ends, by_id }
    }

    pub(super) fn insert(&mut self, access: Access) {
        let id = access.id().clone();
        self.remove(&id);
        if let Some(given) = access.given().filter(|_| access.is_live()) {
            if given.is_role() {
                self.roles.entry(access.asked_for().uid).or_default().insert(id.clone());
            }
            self.ends.entry(given.ends.boot.clone()).or_default().insert((given.ends.boottime_ms, id.clone()));
        } else {
            self.pending.insert(id.clone());
        }
        self.by_id.insert(id, Arc::new(access));
    }

    pub(super) fn remove(&mut self, id: &AccessId) -> Option<Access> {
        let access = self.by_id.remove(id)?;
        self.pending.remove(id);
        if let Some(given) = access.given() {
            let uid = access.asked_for().uid;
            if let Some(of_account) = self.roles.get_mut(&uid) {
                of_account.remove(id);
                if of_account.is_empty() {
                    self.roles.remove(&uid);
                }
            }
            if let Some(of_boot) = self.ends.get_mut(&given.ends.boot) {
                of_boot.remove(&(given.ends.boottime_ms, id.clone()));
                if of_boot.is_empty() {
                    self.ends.remove(&given.ends.boot);
                }
            }
        }
        Some(Arc::unwrap_or_clone(access))
    }

    /// One of them, for another fold of the same lines to have in common.
    pub(super) fn share(&self, id: &AccessId) -> Option<Arc<Access>> {
        self.by_id.get(id).cloned()
    }

    /// Has one in common with another fold, where it is the same in both.
    pub(super) fn adopt(&mut self, access: &Arc<Access>) {
        if let Some(own) = self.by_id.get_mut(access.id())
            && own == access
        {
            *own = Arc::clone(access);
        }
    }

    pub(super) fn get(&self, id: &AccessId) -> Option<&Access> {
        self.by_id.get(id).map(Arc::as_ref)
    }

    /// By id.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Access> {
        self.by_id.values().map(Arc::as_ref)
    }

    pub(super) fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// Those that nothing was given for yet, by id.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Access> {
        self.pending.iter().filter_map(|id| self.get(id))
    }

    /// Live role grants of an account, by id.
    pub(super) fn roles_of(&self, uid: Uid) -> impl Iterator<Item = &Access> {
        self.roles.get(&uid).into_iter().flatten().filter_map(|id| self.get(id))
    }

    /// Live ones of other boots, and of this one those whose end came by then on its clock.
    pub(super) fn ended_by<'a>(&'a self, boot: &'a str, boottime_ms: u64) -> impl Iterator<Item = &'a Access> {
        let due = move |end: u64, of: &str| of != boot || end <= boottime_ms;
        let found = self
            .ends
            .iter()
            .flat_map(move |(of, ends)| ends.iter().take_while(move |(end, _)| due(*end, of)).map(|(_, id)| id));
        found.filter_map(|id| self.get(id))
    }
}

impl PartialEq for Accesses {
    fn eq(&self, other: &Self) -> bool {
        self.by_id == other.by_id
    }
}
impl Eq for Accesses {}

impl Serialize for Accesses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.by_id.iter().map(|(id, access)| (id, access.as_ref())))
    }
}

impl<'de> Deserialize<'de> for Accesses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Accesses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("accesses by id")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Accesses, A::Error> {
                let mut accesses = Vec::new();
                while let Some((_, access)) = map.next_entry::<AccessId, Access>()? {
                    accesses.push(Arc::new(access));
                }
                Ok(Accesses::of_all(accesses.into_iter()))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
