//! The host before and after role grants, compared by workers: one at a time, many grants at once, and nobody waits for it.
//!
//! A picture of the host is begun when a role is asked for. When the grant is over, and a moment later, so that what ends with it has gone, a
//! worker compares and tells in the spool what is not as it was. Pictures lie in `/run/jitsudo/before`: a spawner that begins anew finds
//! there which grants are over and were not compared. A reboot takes them away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use jitsudo_core::Timestamp;
use jitsudo_core::id::AccessId;
use jitsudo_link::BEFORE;
use jitsudo_link::spawner::{Effect, LookedBack, Over, Pictured};
use jitsudo_sys::channel::Channel;

use crate::effect::{Told, Worker};
use crate::judge::Now;

/// How long after the end of a grant the host is looked at: those that end together are compared together, and processes have gone.
const SETTLE_MS: u64 = 2_000;
/// Between two comparisons, at least; each reads every file's status, and so a long one is followed by ten times its length.
const PAUSE_MS: u64 = 5_000;
const PAUSE_FACTOR: u64 = 10;
/// After one that failed.
const RETRY_MS: u64 = 60_000;
/// Most grants of one worker's order.
const MAX_AT_ONCE: usize = 256;

/// What a worker is about.
#[derive(Clone, Debug)]
enum What {
    Before,
    After(Vec<AccessId>),
}

/// What there is to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Compared {
    /// Nothing.
    Nothing,
    /// There is something in the spool.
    Spooled,
    /// It went wrong, in words.
    Trouble(String),
}

/// Pictures to be taken and grants to be compared.
#[derive(Default)]
pub(crate) struct Comparison {
    before: Vec<AccessId>,
    since: Option<Now>,
    /// With when it was closed, where an own hand did that.
    after: BTreeMap<AccessId, Option<Timestamp>>,
    after_from_ms: u64,
    /// Their pictures go with the next comparison.
    forget: Vec<AccessId>,
    worker: Option<Worker<What>>,
    /// When the last comparison began.
    started_ms: u64,
}

impl Comparison {
    /// Finds the grants that ended and were not compared.
    pub(crate) fn load(live: &BTreeSet<&AccessId>, now_ms: u64) -> Self {
        let names = fs::read_dir(BEFORE).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let ids = names.filter_map(|name| name.to_str()?.split('.').next()?.parse::<AccessId>().ok());
        let after = ids.filter(|id| !live.contains(id)).map(|id| (id, None)).collect();
        Self { after, after_from_ms: now_ms.saturating_add(PAUSE_MS), ..Self::default() }
    }

    /// A role is asked for: the host as it is now is what will be compared with.
    pub(crate) fn begin(&mut self, id: &AccessId, now: Now) {
        self.before.push(id.clone());
        self.since.get_or_insert(now);
    }

    /// Nothing came of it.
    pub(crate) fn forget(&mut self, id: &AccessId) {
        self.before.retain(|one| one != id);
        self.forget.push(id.clone());
    }

    /// The grant is over.
    pub(crate) fn end(&mut self, id: AccessId, now: Now) {
        if self.after.is_empty() {
            self.after_from_ms = self.after_from_ms.max(now.boottime_ms.saturating_add(SETTLE_MS));
        }
        self.after.insert(id, Some(now.wall));
    }

    /// Starts a worker where one is due.
    pub(crate) fn start_due(&mut self, host: &str, now_ms: u64) -> Compared {
        if self.worker.is_some() {
            return Compared::Nothing;
        }
        let (order, what) = if let Some(since) = self.since.take() {
            let count = self.before.len().min(MAX_AT_ONCE);
            let ids: Vec<AccessId> = self.before.drain(..count).collect();
            if !self.before.is_empty() {
                self.since = Some(since);
            }
            let order = Effect::Picture { ids, since: since.wall, since_boottime_ms: since.boottime_ms };
            (order, What::Before)
        } else if !self.after.is_empty() && now_ms >= self.after_from_ms {
            self.started_ms = now_ms;
            let over = self.after.iter().take(MAX_AT_ONCE);
            let over: Vec<Over> = over.map(|(id, closed)| Over { id: id.clone(), closed: *closed }).collect();
            let ids = over.iter().map(|over| over.id.clone()).collect();
            let forget = std::mem::take(&mut self.forget);
            (Effect::LookBack { host: host.to_owned(), over, forget }, What::After(ids))
        } else {
            return Compared::Nothing;
        };
        match Worker::start(Told { decider: 0, number: 0, what }, &order, now_ms) {
            Ok(worker) => {
                self.worker = Some(worker);
                Compared::Nothing
            }
            Err(cause) => self.failed(cause, now_ms),
        }
    }

    /// The worker's socket.
    pub(crate) fn channel(&self) -> Option<&Channel> {
        self.worker.as_ref().map(|worker| &worker.channel)
    }

    /// The worker has said what it had to say.
    pub(crate) fn outcome(&mut self, now_ms: u64) -> Compared {
        let Some(worker) = self.worker.take() else { return Compared::Nothing };
        if worker.is_about_before() {
            let (_, outcome) = worker.outcome::<Pictured>();
            return match outcome {
                Ok(Pictured::Done) => Compared::Nothing,
                // The comparison says that there is none.
                Ok(Pictured::Failed(cause)) | Err(cause) => Compared::Trouble(cause),
            };
        }
        let (told, outcome) = worker.outcome::<LookedBack>();
        match (outcome, told.what) {
            (Ok(LookedBack::Done { recorded }), What::After(ids)) => {
                self.after.retain(|id, _| !ids.contains(id));
                let took = now_ms.saturating_sub(self.started_ms).saturating_mul(PAUSE_FACTOR);
                self.after_from_ms = now_ms.saturating_add(took.max(PAUSE_MS));
                if recorded > 0 { Compared::Spooled } else { Compared::Nothing }
            }
            (Ok(LookedBack::Done { .. }), What::Before) => Compared::Nothing,
            (Ok(LookedBack::Failed(cause)) | Err(cause), _) => self.failed(cause, now_ms),
        }
    }

    /// Ends a worker that takes too long.
    pub(crate) fn give_up_the_late(&mut self, now_ms: u64) -> Compared {
        match self.worker.take_if(|worker| worker.is_late(now_ms)) {
            None => Compared::Nothing,
            Some(worker) => {
                let (_, cause) = worker.give_up();
                self.failed(cause, now_ms)
            }
        }
    }

    fn failed(&mut self, cause: String, now_ms: u64) -> Compared {
        self.after_from_ms = now_ms.saturating_add(RETRY_MS);
        Compared::Trouble(cause)
    }

    /// When [`Self::start_due`] has something next.
    pub(crate) fn next_due(&self) -> Option<u64> {
        if self.worker.is_some() {
            return None;
        }
        let after = (!self.after.is_empty()).then_some(self.after_from_ms);
        self.since.map(|since| since.boottime_ms).into_iter().chain(after).min()
    }
}

impl Worker<What> {
    fn is_about_before(&self) -> bool {
        matches!(self.what(), What::Before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> AccessId {
        AccessId::new(1, [number; 10])
    }

    fn now(boottime_ms: u64) -> Now {
        Now { wall: jitsudo_core::Timestamp::UNIX_EPOCH, boottime_ms }
    }

    #[test]
    fn pictures_are_due_at_once_and_comparisons_when_things_have_settled() {
        let mut comparison = Comparison::default();
        assert_eq!(comparison.next_due(), None);
        comparison.begin(&id(1), now(500));
        comparison.begin(&id(2), now(600));
        assert_eq!(comparison.next_due(), Some(500), "the first one's time is the picture's");
        comparison.forget(&id(1));
        assert_eq!(comparison.before, [id(2)]);
        (comparison.before, comparison.since) = (Vec::new(), None);
        comparison.end(id(3), now(1_000));
        comparison.end(id(4), now(2_000));
        assert_eq!(comparison.next_due(), Some(3_000), "others that end put nothing off");
        assert_eq!(comparison.start_due("h", 2_999), Compared::Nothing);
        assert!(comparison.worker.is_none());
        comparison.failed("x".to_owned(), 4_000);
        assert_eq!((comparison.next_due(), comparison.after.len()), (Some(64_000), 2), "none is forgotten");
    }
}
