//! What happened before that a decision reads: what was given by rules with a budget, and break-glass that nobody has reviewed.
//!
//! Time is counted as a union: an hour in which two commands ran is one hour. What is still given counts up to its end.
//!
//! MUSTs
//! 1. A person's accounts share one budget and one review (`person_has_one_budget_whatever_the_account`).
//! 2. What is remembered is bounded, and what is put together to keep it so never gives anybody more (`full_memory_never_widens`).
//! 3. Nothing waits for a review in vain: only a review, or that nothing was given, takes it away (`use_waits_until_it_is_reviewed`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::AccessId;
use crate::name::Uid;

mod room;

pub(crate) use room::{Counted, Room};

/// Uses that are remembered for budgets.
pub const MAX_USES: usize = 16_384;
/// Of one rule by one account; the oldest are put together beyond.
pub const MAX_USES_OF_ONE: usize = 128;
/// Uses of break-glass that may wait for a review; beyond, break-glass is not given.
pub const MAX_UNREVIEWED: usize = 4096;

/// Something that was given by a rule with a budget.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Use {
    /// The access; the newest one of those that were put together.
    pub id: AccessId,
    /// The rule that gave it.
    pub rule: String,
    /// The account that counts: behind uid 0 the one that logged in.
    pub uid: Uid,
    /// Its name, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How many accesses.
    pub count: u64,
    /// From when on.
    pub since: Timestamp,
    /// When the newest of them began.
    pub newest: Timestamp,
    /// Its end: the one that came, or the one that is to come.
    pub until: Timestamp,
    /// For how many seconds after its end it may still count.
    pub keep: u64,
}

/// A use of break-glass that nobody has reviewed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unreviewed {
    /// The access.
    pub id: AccessId,
    /// The rule that gave it.
    pub rule: String,
    /// Requester's uid.
    pub uid: Uid,
    /// Requester's account, if it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Audit login uid, if it was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loginuid: Option<Uid>,
    /// When it was given.
    pub at: Timestamp,
    /// The requester has proven who they are: it counts even where nothing ran.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proven: bool,
}

impl Unreviewed {
    /// The accounts that a reviewer must not be of.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = (Uid, Option<&str>)> {
        accounts((self.uid, self.user.as_deref()), self.loginuid.map(|uid| (uid, None)))
    }
}

/// The accounts that count for a process: behind uid 0 the one that logged in alone, else both.
pub(crate) fn accounts<'a>(
    own: (Uid, Option<&'a str>),
    login: Option<(Uid, Option<&'a str>)>,
) -> impl Iterator<Item = (Uid, Option<&'a str>)> {
    let person = login.filter(|(uid, _)| *uid != Uid::ROOT);
    let own = (own.0 != Uid::ROOT || person.is_none()).then_some(own);
    own.into_iter().chain(person)
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Past {
    /// Oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    uses: Vec<Use>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    unreviewed: BTreeMap<AccessId, Unreviewed>,
}

/// Nothing happened.
pub(crate) static NOTHING: Past = Past { uses: Vec::new(), unreviewed: BTreeMap::new() };

impl Past {
    /// True when nothing counts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uses.is_empty() && self.unreviewed.is_empty()
    }

    /// Uses of break-glass that wait for a review, by id.
    pub fn unreviewed(&self) -> impl Iterator<Item = &Unreviewed> {
        self.unreviewed.values()
    }

    /// One of them.
    #[must_use]
    pub fn waiting(&self, id: &AccessId) -> Option<&Unreviewed> {
        self.unreviewed.get(id)
    }

    /// True when no more may wait: break-glass is not given.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.unreviewed.len() >= MAX_UNREVIEWED
    }

    /// Adds a use of break-glass. False when there is no room: the oldest was dropped.
    pub fn wait_for_review(&mut self, one: Unreviewed) -> bool {
        self.unreviewed.insert(one.id.clone(), one);
        if self.unreviewed.len() <= MAX_UNREVIEWED {
            return true;
        }
        self.unreviewed.pop_first();
        false
    }

    /// It was reviewed, or nothing was given; true when it waited.
    pub fn review(&mut self, id: &AccessId) -> bool {
        self.unreviewed.remove(id).is_some()
    }

    /// Its requester has proven who they are.
    pub(crate) fn prove(&mut self, id: &AccessId) {
        if let Some(one) = self.unreviewed.get_mut(id) {
            one.proven = true;
        }
    }

    /// Adds a use. False when there was no room: the oldest was dropped.
    pub fn count(&mut self, new: Use) -> bool {
        let now = new.newest;
        self.uses.retain(|old| {
            let keep = i64::try_from(old.keep).unwrap_or(i64::MAX);
            now.as_second() <= old.until.as_second().saturating_add(keep)
        });
        let same = |old: &&Use| old.rule == new.rule && old.uid == new.uid;
        let (full, of_one) = (self.uses.len() >= MAX_USES, self.uses.iter().filter(same).count());
        if of_one >= MAX_USES_OF_ONE {
            self.put_together(&new.rule.clone(), new.uid);
        } else if full {
            // Whoever has most gives way first: what is put together counts for more, never for less.
            let most = self.most_crowded();
            match most {
                Some((rule, uid)) => self.put_together(&rule, uid),
                None => {
                    self.uses.remove(0);
                    self.uses.push(new);
                    return false;
                }
            }
        }
        self.uses.push(new);
        true
    }

    fn most_crowded(&self) -> Option<(String, Uid)> {
        let mut counts: BTreeMap<(&str, Uid), usize> = BTreeMap::new();
        self.uses.iter().for_each(|one| *counts.entry((&one.rule, one.uid)).or_default() += 1);
        let most = counts.into_iter().filter(|(_, count)| *count > 1).max_by_key(|(_, count)| *count);
        most.map(|((rule, uid), _)| (rule.to_owned(), uid))
    }

    /// Makes one of the two oldest uses of a rule by an account: as many, counted from the later one on, and the time between them as if it
    /// had been given too.
    fn put_together(&mut self, rule: &str, uid: Uid) {
        let mut of_it = self.uses.iter().enumerate().filter(|(_, one)| one.rule == rule && one.uid == uid);
        let (Some((first, _)), Some((second, _))) = (of_it.next(), of_it.next()) else { return };
        let old = self.uses.remove(first);
        if let Some(kept) = self.uses.get_mut(second - 1) {
            kept.count = kept.count.saturating_add(old.count);
            kept.keep = kept.keep.max(old.keep);
            kept.since = kept.since.min(old.since);
            kept.newest = kept.newest.max(old.newest);
            kept.until = kept.until.max(old.until);
        }
    }

    /// The same as an extension of this access sees it: its time counts, its being one more does not, and it waits for no review.
    #[must_use]
    pub fn for_extension_of(&self, id: &AccessId) -> Self {
        let mut past = self.clone();
        past.uses.iter_mut().filter(|one| one.id == *id).for_each(|one| one.count = one.count.saturating_sub(1));
        past.unreviewed.remove(id);
        past
    }

    /// The end of an access came.
    pub(crate) fn end(&mut self, id: &AccessId, at: Timestamp) {
        for one in self.uses.iter_mut().filter(|one| one.id == *id) {
            one.until = one.until.min(at.max(one.since));
        }
    }

    /// The end of an access moved.
    pub(crate) fn extend(&mut self, id: &AccessId, until: Timestamp) {
        for one in self.uses.iter_mut().filter(|one| one.id == *id) {
            one.until = until;
        }
    }

    /// Nothing was given.
    pub(crate) fn forget(&mut self, id: &AccessId) {
        self.uses.retain(|one| one.id != *id);
        self.unreviewed.remove(id);
    }

    /// Nothing of it ran; a use of break-glass counts all the same once who asked has proven who they are.
    pub(crate) fn nothing_ran(&mut self, id: &AccessId) {
        self.uses.retain(|one| one.id != *id);
        if self.unreviewed.get(id).is_some_and(|one| !one.proven) {
            self.unreviewed.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(number: usize, rule: &str, minute: i64) -> Use {
        let at = |minute: i64| Timestamp::from_second(1_800_000_000 + minute * 60).unwrap();
        Use {
            id: AccessId::new(u64::try_from(number).unwrap(), [1; 10]),
            rule: rule.to_owned(),
            uid: Uid(1000),
            user: None,
            count: 1,
            since: at(minute),
            newest: at(minute),
            until: at(minute + 1),
            keep: 3600 * 24 * 30,
        }
    }

    #[test]
    fn full_memory_never_widens() {
        let mut past = Past::default();
        for number in 0..3 * MAX_USES_OF_ONE {
            assert!(past.count(one(number, "r", i64::try_from(number).unwrap() * 10)));
        }
        assert_eq!(past.uses.len(), MAX_USES_OF_ONE);
        assert_eq!(past.uses.iter().map(|one| one.count).sum::<u64>(), 3 * MAX_USES_OF_ONE as u64, "none is lost");
        let time: i64 = past.uses.iter().map(|one| one.until.as_second() - one.since.as_second()).sum();
        assert!(time >= 60 * 3 * i64::try_from(MAX_USES_OF_ONE).unwrap(), "{time}");
        assert!(past.uses.iter().all(|one| one.since <= one.newest && one.newest < one.until));
        // Whoever has most of all makes room.
        for number in 0..MAX_USES {
            assert!(past.count(one(number, &format!("r{number}"), 5000)) == (number < MAX_USES - 1));
        }
        assert!(past.uses.len() <= MAX_USES);
    }

    #[test]
    fn what_cannot_count_any_more_is_forgotten() {
        let mut past = Past::default();
        past.count(Use { keep: 600, ..one(1, "r", 0) });
        past.count(Use { keep: 600, ..one(2, "r", 5) });
        assert_eq!(past.uses.len(), 2);
        past.count(Use { keep: 600, ..one(3, "r", 12) });
        assert_eq!(past.uses.len(), 2);
    }

    #[test]
    fn waiting_for_a_review_is_bounded_and_says_so() {
        let mut past = Past::default();
        let waiting = |number: usize| Unreviewed {
            id: AccessId::new(number as u64, [1; 10]),
            rule: "r".into(),
            uid: Uid(1000),
            user: None,
            loginuid: None,
            at: Timestamp::UNIX_EPOCH,
            proven: true,
        };
        assert!((0..MAX_UNREVIEWED).all(|number| !past.is_full() && past.wait_for_review(waiting(number))));
        assert!(past.is_full() && !past.wait_for_review(waiting(MAX_UNREVIEWED)));
        assert_eq!(past.unreviewed().count(), MAX_UNREVIEWED);
    }
}
