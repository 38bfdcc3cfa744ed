//! Which spooled events are folded in: pure, from what lies there and what the ledger has.
//!
//! MUSTs
//! 1. Only files of root's, only events that spawner, sessions and workers write (`foreign_or_wrong_entries_*`).
//! 2. Each file is folded in once, by its name (`same_file_is_folded_once`).

use std::collections::BTreeSet;

use jitsudo_core::Timestamp;
use jitsudo_core::event::{Entry, Event};
use jitsudo_core::state::State;
use jitsudo_ledger::spool::Listing;

/// An event folded in later than this is marked.
const LATE_MS: i128 = 5_000;
/// Files folded in by one batch: with 64 KiB each they stay below the ledger's limit.
const BATCH: usize = 32;

/// What is to be done about a spool.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Batches to append: names and entries.
    pub(crate) batches: Vec<(Vec<String>, Vec<Entry>)>,
    /// In the ledger already: the spawner may remove them.
    pub(crate) already: Vec<String>,
    /// What is no entry of ours, and why; said once.
    pub(crate) refused: Vec<(String, String)>,
}

/// What the decider remembers of the spool between two looks.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    under_way: BTreeSet<String>,
    refused: BTreeSet<String>,
}

impl Spool {
    /// Decides.
    pub(crate) fn plan(&mut self, listing: Listing, state: &State, root: u32, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let present: BTreeSet<&str> = listing
            .refused
            .iter()
            .map(|(name, _)| name.as_str())
            .chain(listing.entries.iter().map(|spooled| spooled.name.as_str()))
            .collect();
        self.refused.retain(|name| present.contains(name.as_str()));
        let mut refused: Vec<(String, String)> = listing.refused.clone();
        let mut fresh = Vec::new();
        for spooled in &listing.entries {
            if self.under_way.contains(&spooled.name) {
                continue;
            }
            if state.has_folded(&spooled.name) {
                plan.already.push(spooled.name.clone());
                continue;
            }
            match entry(&spooled.name, &spooled.json, spooled.owner, root, now) {
                Ok(entry) => fresh.push((spooled.name.clone(), entry)),
                Err(why) => refused.push((spooled.name.clone(), why)),
            }
        }
        // By time across writers, in which each writer's own order is kept; where boots meet, by name.
        let boot = fresh.first().map(|(_, entry): &(String, Entry)| entry.boot.clone());
        if fresh.iter().all(|(_, entry)| Some(&entry.boot) == boot.as_ref()) {
            fresh.sort_by_key(|(_, entry)| entry.boottime_ms);
        }
        self.under_way.extend(fresh.iter().map(|(name, _)| name.clone()));
        plan.batches = fresh.chunks(BATCH).map(|chunk| chunk.iter().cloned().unzip()).collect();
        plan.refused = refused.into_iter().filter(|(name, _)| self.refused.insert(name.clone())).collect();
        plan
    }

    /// A batch became durable or was refused: its files are no longer under way.
    pub(crate) fn settled(&mut self, names: &[String]) {
        for name in names {
            self.under_way.remove(name);
        }
    }
}

fn entry(name: &str, json: &str, owner: u32, root: u32, now: Timestamp) -> Result<Entry, String> {
    if owner != root {
        return Err(format!("it belongs to uid {owner}, not to root"));
    }
    let mut entry: Entry = serde_json::from_str(json).map_err(|error| error.to_string())?;
    if !may_be_spooled(&entry.event) {
        return Err(format!("{} is not written by spawner, sessions or workers", entry.event.name()));
    }
    entry.spool = Some(name.to_owned());
    entry.late = now.duration_since(entry.wall).as_millis() > LATE_MS;
    Ok(entry)
}

fn may_be_spooled(event: &Event) -> bool {
    match event {
        Event::ActivationFailed { .. }
        | Event::Authenticated { .. }
        | Event::AuthenticationFailed { .. }
        | Event::SessionExit { .. }
        | Event::LeftRunning { .. }
        | Event::Signalled { .. }
        | Event::LoginOpened { .. }
        | Event::LoginClosed { .. }
        | Event::LoginRefused { .. }
        | Event::RescueUsed { .. }
        | Event::Edited { .. }
        | Event::Extended { .. }
        | Event::NotExtended { .. }
        | Event::Ended { .. }
        | Event::Closed { .. }
        | Event::Active { .. }
        | Event::EffectApplied { .. }
        | Event::EffectUndone { .. }
        | Event::CleanupFailed { .. }
        | Event::SpawnerRefused { .. }
        | Event::Residue { .. } => true,
        Event::Requested { .. }
        | Event::Decided { .. }
        | Event::Activating { .. }
        | Event::SessionStarting { .. }
        | Event::Released { .. }
        | Event::Locked { .. }
        | Event::Unlocked { .. }
        | Event::Asked { .. }
        | Event::Approved { .. }
        | Event::Refused { .. }
        | Event::Lapsed { .. }
        | Event::Withdrawn { .. }
        | Event::Escalated { .. }
        | Event::Reminded { .. }
        | Event::DeliveryFailed { .. }
        | Event::PolicyApplied { .. }
        | Event::PolicyRefused { .. }
        | Event::DenialsCounted { .. }
        | Event::ClockStepped { .. }
        | Event::ChainCut { .. }
        | Event::RolledBack { .. }
        | Event::Acknowledged { .. }
        | Event::SegmentSealed { .. }
        | Event::HeadPublished { .. }
        | Event::ResidueAcknowledged { .. }
        | Event::Reviewed { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Stamp;
    use jitsudo_ledger::spool::Spooled;

    const NAME: &str = "01jd0000000000000000000000.1.1";

    fn stamp() -> Stamp {
        Stamp { host: "h".into(), boot: "b".into(), wall: Timestamp::UNIX_EPOCH, boottime_ms: 1 }
    }

    fn closed() -> Entry {
        stamp().entry(Event::Closed { id: "01jd0000000000000000000000".parse().unwrap() })
    }

    fn listing(json: &str, owner: u32) -> Listing {
        let entries = vec![Spooled { name: NAME.into(), json: json.into(), owner }];
        Listing { entries, refused: Vec::new(), more: false }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn same_file_is_folded_once() {
        let json = serde_json::to_string(&closed()).unwrap();
        let (mut spool, mut state) = (Spool::default(), State::default());
        let plan = spool.plan(listing(&json, 0), &state, 0, at(1));
        let (names, entries) = plan.batches[0].clone();
        assert_eq!((names.as_slice(), entries[0].spool.as_deref()), ([NAME.to_owned()].as_slice(), Some(NAME)));
        assert!(!entries[0].late);
        assert_eq!(spool.plan(listing(&json, 0), &state, 0, at(1)), Plan::default(), "it is under way");
        state.apply(&entries[0]);
        spool.settled(&names);
        let plan = spool.plan(listing(&json, 0), &state, 0, at(1));
        assert_eq!((plan.already, plan.batches.len()), (vec![NAME.to_owned()], 0));
    }

    #[test]
    fn refused_batch_is_tried_again() {
        let json = serde_json::to_string(&closed()).unwrap();
        let (mut spool, state) = (Spool::default(), State::default());
        let names = spool.plan(listing(&json, 0), &state, 0, at(1)).batches.remove(0).0;
        spool.settled(&names);
        assert_eq!(spool.plan(listing(&json, 0), &state, 0, at(1)).batches.len(), 1);
    }

    #[test]
    fn event_of_long_ago_is_late() {
        let json = serde_json::to_string(&closed()).unwrap();
        let plan = Spool::default().plan(listing(&json, 0), &State::default(), 0, at(6));
        assert!(plan.batches[0].1[0].late);
    }

    #[test]
    fn foreign_or_wrong_entries_are_refused_once() {
        let forged = stamp().entry(Event::PolicyApplied {
            policy: "p".into(),
            rules: 1,
            roles: 1,
            files: Vec::new(),
            previous: None,
        });
        let sound = serde_json::to_string(&closed()).unwrap();
        let forged = serde_json::to_string(&forged).unwrap();
        for (json, owner) in [(sound.as_str(), 1000), (forged.as_str(), 0), ("{", 0), ("{}", 0)] {
            let mut spool = Spool::default();
            let plan = spool.plan(listing(json, owner), &State::default(), 0, at(1));
            assert_eq!((plan.refused.len(), plan.batches.len()), (1, 0), "{json}");
            let again = spool.plan(listing(json, owner), &State::default(), 0, at(1));
            assert_eq!(again.refused.len(), 0, "{json}");
        }
    }
}
