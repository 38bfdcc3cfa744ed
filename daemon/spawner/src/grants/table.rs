//! The grants that are being set up, held or ending, and where to find those of an account, those whose time has come, and those that are
//! ending: nothing that happens often walks through all of them.

use std::collections::{BTreeMap, BTreeSet};

use jitsudo_core::Timestamp;
use jitsudo_core::id::AccessId;

use super::grant::Grant;
use crate::judge::Now;

/// By id, with indexes over the same.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// This one: a grant of another is over by any clock.
    boot: String,
    by_id: BTreeMap<AccessId, Grant>,
    of_account: BTreeMap<u32, BTreeSet<AccessId>>,
    /// Accounts that got their first one or lost their last since somebody asked.
    moved: BTreeSet<u32>,
    /// Their end has not begun: by the clock that may be set, and by the one that may not.
    by_wall: BTreeSet<(Timestamp, AccessId)>,
    by_boottime: BTreeSet<(u64, AccessId)>,
    /// Whose sessions wait to be told, until when.
    to_tell: BTreeSet<(u64, AccessId)>,
    ending: BTreeSet<AccessId>,
    activating: BTreeSet<AccessId>,
}

impl Table {
    /// What an earlier spawner left.
    pub(super) fn of(grants: impl Iterator<Item = Grant>, boot: &str) -> Self {
        let mut table = Self { boot: boot.to_owned(), ..Self::default() };
        grants.for_each(|grant| table.insert(grant));
        table
    }

    pub(super) fn insert(&mut self, grant: Grant) {
        let id = grant.id.clone();
        self.remove(&id);
        self.index(&grant, true);
        let own = self.of_account.entry(grant.requester).or_default();
        if own.is_empty() {
            self.moved.insert(grant.requester);
        }
        own.insert(id.clone());
        self.by_id.insert(id, grant);
    }

    pub(super) fn remove(&mut self, id: &AccessId) -> Option<Grant> {
        let grant = self.by_id.remove(id)?;
        self.index(&grant, false);
        if let Some(own) = self.of_account.get_mut(&grant.requester) {
            own.remove(id);
            if own.is_empty() {
                self.of_account.remove(&grant.requester);
                self.moved.insert(grant.requester);
            }
        }
        Some(grant)
    }

    /// Changes one, and finds it again by what it is then. Neither its id nor whose it is may change.
    pub(super) fn change<T>(&mut self, id: &AccessId, change: impl FnOnce(&mut Grant) -> T) -> Option<T> {
        let mut grant = self.by_id.remove(id)?;
        self.index(&grant, false);
        let outcome = change(&mut grant);
        self.index(&grant, true);
        self.by_id.insert(id.clone(), grant);
        Some(outcome)
    }

    fn index(&mut self, grant: &Grant, is_there: bool) {
        let id = || grant.id.clone();
        if grant.ending.is_none() && grant.on_host.failed.is_none() {
            put(&mut self.by_wall, (grant.ends.at, id()), is_there);
            let end_ms = if grant.ends.boot == self.boot { grant.ends.boottime_ms } else { 0 };
            put(&mut self.by_boottime, (end_ms, id()), is_there);
        }
        if let Some(by_ms) = grant.on_host.tell_by_ms.filter(|_| !grant.on_host.told) {
            put(&mut self.to_tell, (by_ms, id()), is_there);
        }
        if grant.ending.is_some() {
            put(&mut self.ending, id(), is_there);
        }
        if grant.on_host.activating {
            put(&mut self.activating, id(), is_there);
        }
    }

    pub(super) fn get(&self, id: &AccessId) -> Option<&Grant> {
        self.by_id.get(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.by_id.values()
    }

    pub(super) fn of_account(&self, uid: u32) -> impl Iterator<Item = &Grant> {
        self.of_account.get(&uid).into_iter().flatten().filter_map(|id| self.get(id))
    }

    /// True while an account has one.
    pub(super) fn is_of(&self, uid: u32) -> bool {
        self.of_account.contains_key(&uid)
    }

    /// Accounts of which [`Self::is_of`] may say something else than when this was asked last.
    pub(super) fn moved(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.moved)
    }

    /// Those whose end has not begun though one of the two clocks is past it, by id.
    pub(super) fn due(&self, now: Now) -> BTreeSet<&AccessId> {
        let by_wall = self.by_wall.iter().take_while(|(at, _)| *at <= now.wall).map(|(_, id)| id);
        let by_boottime = self.by_boottime.iter().take_while(|(at_ms, _)| *at_ms <= now.boottime_ms);
        by_wall.chain(by_boottime.map(|(_, id)| id)).collect()
    }

    /// Those whose sessions are to be told by now.
    pub(super) fn to_tell(&self, now_ms: u64) -> impl Iterator<Item = &AccessId> {
        self.to_tell.iter().take_while(move |(by_ms, _)| *by_ms <= now_ms).map(|(_, id)| id)
    }

    /// When the clock that nobody sets has something for [`Self::due`] or [`Self::to_tell`] next.
    pub(super) fn next(&self) -> Option<u64> {
        let firsts = [self.by_boottime.first(), self.to_tell.first()];
        firsts.into_iter().flatten().map(|(at_ms, _)| *at_ms).min()
    }

    pub(super) fn ending(&self) -> impl Iterator<Item = &Grant> {
        self.ending.iter().filter_map(|id| self.get(id))
    }

    pub(super) fn activating(&self) -> impl Iterator<Item = &AccessId> {
        self.activating.iter()
    }
}

fn put<T: Ord>(index: &mut BTreeSet<T>, entry: T, is_there: bool) {
    if is_there {
        index.insert(entry);
    } else {
        index.remove(&entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::tests::{at, early, grant};
    use jitsudo_core::event::EndCause;

    fn number(number: u64) -> Grant {
        Grant { id: AccessId::new(number, [0; 10]), ..grant() }
    }

    #[test]
    fn grant_is_found_by_what_it_is_now_and_by_nothing_that_it_was() {
        let mut table = Table::of((0..3).map(number), "b1");
        let ids: Vec<AccessId> = table.iter().map(|grant| grant.id.clone()).collect();
        let [one, other, last] = ids.as_slice() else { panic!("{ids:?}") };
        assert_eq!((table.next(), table.of_account(1000).count()), (Some(1_800_000), 3));
        assert_eq!((table.moved(), table.is_of(1000), table.is_of(1001)), ([1000].into(), true, false));
        table.change(one, |grant| grant.ends.boottime_ms = 5_000);
        assert_eq!((table.next(), table.due(Now { boottime_ms: 5_000, ..early() }).len()), (Some(5_000), 1));
        assert_eq!(table.due(at("2026-11-21T12:30:00Z", 0)).len(), 3);
        table.change(one, |grant| grant.ending = Some(EndCause::GivenBack));
        table.change(other, |grant| grant.on_host.failed = Some("x".into()));
        table.change(last, |grant| (grant.on_host.activating, grant.on_host.tell_by_ms) = (true, Some(7)));
        assert_eq!(table.due(at("2027-11-21T12:30:00Z", u64::MAX)).into_iter().collect::<Vec<_>>(), [last]);
        assert_eq!((table.ending().count(), table.activating().count(), table.next()), (1, 1, Some(7)));
        assert_eq!((table.to_tell(6).count(), table.to_tell(7).count()), (0, 1));
        table.change(last, |grant| (grant.on_host.activating, grant.on_host.told) = (false, true));
        assert_eq!((table.to_tell(7).count(), table.activating().count(), table.next()), (0, 0, Some(1_800_000)));
        ids.iter().for_each(|id| assert!(table.remove(id).is_some() && table.change(id, |_| ()).is_none()));
        assert_eq!((table.moved(), table.moved(), table.is_of(1000)), ([1000].into(), BTreeSet::new(), false));
        let Table { boot: _, moved: _, by_id, of_account, by_wall, by_boottime, to_tell, ending, activating } = table;
        assert!(by_id.is_empty() && of_account.is_empty() && by_wall.is_empty() && by_boottime.is_empty());
        assert!(to_tell.is_empty() && ending.is_empty() && activating.is_empty());
    }

    #[test]
    fn grant_of_another_boot_is_due_at_once() {
        assert_eq!(Table::of([number(1)].into_iter(), "b2").due(early()).len(), 1);
        assert_eq!(Table::of([number(1)].into_iter(), "b1").due(early()).len(), 0);
    }
}
