//! The host before and after grants, compared by workers: many grants at once, one picture and one comparison at a time.
//!
//! A picture of the host is begun when a role is asked for, and before a shell or break-glass begins: what gives waits for it
//! (`spawner::pictures`), and it waits for no comparison. When the grant is over, and a moment later, so that what ends with it has gone, a
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
/// How long a picture may take, for somebody waits for it.
const PICTURE_MS: u64 = 10_000;

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
    /// Takes a picture of these, until when.
    picturing: Option<(Worker<Vec<AccessId>>, u64)>,
    /// Those that a picture was asked for, and that are not over.
    begun: BTreeSet<AccessId>,
    /// With when it was closed, where an own hand did that.
    after: BTreeMap<AccessId, Option<Timestamp>>,
    after_from_ms: u64,
    /// Their pictures go with the next comparison.
    forget: Vec<AccessId>,
    worker: Option<Worker<Vec<AccessId>>>,
    /// When the last comparison began.
    started_ms: u64,
}

impl Comparison {
    /// Finds the grants that ended and were not compared.
    pub(crate) fn load(live: &BTreeSet<&AccessId>, now_ms: u64) -> Self {
        let names = fs::read_dir(BEFORE).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let ids = names.filter_map(|name| name.to_str()?.split('.').next()?.parse::<AccessId>().ok());
        let (begun, over): (BTreeSet<AccessId>, BTreeSet<AccessId>) = ids.partition(|id| live.contains(id));
        let after = over.into_iter().map(|id| (id, None)).collect();
        Self { begun, after, after_from_ms: now_ms.saturating_add(PAUSE_MS), ..Self::default() }
    }

    /// It is asked for: the host as it is now is what will be compared with.
    pub(crate) fn begin(&mut self, id: &AccessId, now: Now) {
        self.begun.insert(id.clone());
        self.before.push(id.clone());
        self.since.get_or_insert(now);
    }

    /// A picture was asked for, and it is not over.
    pub(crate) fn knows(&self, id: &AccessId) -> bool {
        self.begun.contains(id)
    }

    /// Its picture is still to be taken, or being taken.
    pub(crate) fn is_awaited(&self, id: &AccessId) -> bool {
        let being_taken = self.picturing.as_ref().is_some_and(|(worker, _)| worker.what().contains(id));
        being_taken || self.before.contains(id)
    }

    /// Nothing came of it.
    pub(crate) fn forget(&mut self, id: &AccessId) {
        self.before.retain(|one| one != id);
        if self.begun.remove(id) {
            self.forget.push(id.clone());
        }
    }

    /// The grant is over.
    pub(crate) fn end(&mut self, id: AccessId, now: Now) {
        self.begun.remove(&id);
        if self.after.is_empty() {
            self.after_from_ms = self.after_from_ms.max(now.boottime_ms.saturating_add(SETTLE_MS));
        }
        self.after.insert(id, Some(now.wall));
    }

    /// Starts the workers that are due.
    pub(crate) fn start_due(&mut self, host: &str, now_ms: u64) -> [Compared; 2] {
        [self.start_picture(now_ms), self.start_comparison(host, now_ms)]
    }

    fn start_picture(&mut self, now_ms: u64) -> Compared {
        let Some(since) = self.since.take_if(|_| self.picturing.is_none()) else { return Compared::Nothing };
        let count = self.before.len().min(MAX_AT_ONCE);
        let ids: Vec<AccessId> = self.before.drain(..count).collect();
        if !self.before.is_empty() {
            self.since = Some(since);
        }
        if ids.is_empty() {
            return Compared::Nothing;
        }
        let order = Effect::Picture { ids: ids.clone(), since: since.wall, since_boottime_ms: since.boottime_ms };
        match Worker::start(Told { decider: 0, number: 0, what: ids }, &order, now_ms) {
            Ok(worker) => {
                self.picturing = Some((worker, now_ms.saturating_add(PICTURE_MS)));
                Compared::Nothing
            }
            // The comparison says that there is none.
            Err(cause) => Compared::Trouble(cause),
        }
    }

    fn start_comparison(&mut self, host: &str, now_ms: u64) -> Compared {
        if self.worker.is_some() || self.after.is_empty() || now_ms < self.after_from_ms {
            return Compared::Nothing;
        }
        self.started_ms = now_ms;
        let over = self.after.iter().take(MAX_AT_ONCE);
        let over: Vec<Over> = over.map(|(id, closed)| Over { id: id.clone(), closed: *closed }).collect();
        let ids = over.iter().map(|over| over.id.clone()).collect();
        // A picture that is being taken still is forgotten at the next.
        let being_taken = self.picturing.as_ref().map_or(&[][..], |(worker, _)| worker.what().as_slice());
        let (later, forget) = std::mem::take(&mut self.forget).into_iter().partition(|id| being_taken.contains(id));
        self.forget = later;
        let order = Effect::LookBack { host: host.to_owned(), over, forget };
        match Worker::start(Told { decider: 0, number: 0, what: ids }, &order, now_ms) {
            Ok(worker) => {
                self.worker = Some(worker);
                Compared::Nothing
            }
            Err(cause) => self.failed(cause, now_ms),
        }
    }

    /// The sockets of the workers: of the one at a picture, of the one at a comparison.
    pub(crate) fn channels(&self) -> [Option<&Channel>; 2] {
        [self.picturing.as_ref().map(|(worker, _)| &worker.channel), self.worker.as_ref().map(|worker| &worker.channel)]
    }

    /// The picture is taken, or cannot be.
    pub(crate) fn pictured(&mut self) -> Compared {
        let Some((worker, _)) = self.picturing.take() else { return Compared::Nothing };
        match worker.outcome::<Pictured>().1 {
            Ok(Pictured::Done) => Compared::Nothing,
            Ok(Pictured::Failed(cause)) | Err(cause) => Compared::Trouble(cause),
        }
    }

    /// The comparison is done, or cannot be.
    pub(crate) fn outcome(&mut self, now_ms: u64) -> Compared {
        let Some(worker) = self.worker.take() else { return Compared::Nothing };
        let (told, outcome) = worker.outcome::<LookedBack>();
        match outcome {
            Ok(LookedBack::Done { recorded }) => {
                self.after.retain(|id, _| !told.what.contains(id));
                let took = now_ms.saturating_sub(self.started_ms).saturating_mul(PAUSE_FACTOR);
                self.after_from_ms = now_ms.saturating_add(took.max(PAUSE_MS));
                if recorded > 0 { Compared::Spooled } else { Compared::Nothing }
            }
            Ok(LookedBack::Failed(cause)) | Err(cause) => self.failed(cause, now_ms),
        }
    }

    /// Ends workers that take too long.
    pub(crate) fn give_up_the_late(&mut self, now_ms: u64) -> [Compared; 2] {
        let picture = match self.picturing.take_if(|(_, until_ms)| *until_ms <= now_ms) {
            None => Compared::Nothing,
            Some((worker, _)) => {
                worker.give_up();
                Compared::Trouble(format!("a picture took more than {} s", PICTURE_MS / 1000))
            }
        };
        let comparison = match self.worker.take_if(|worker| worker.is_late(now_ms)) {
            None => Compared::Nothing,
            Some(worker) => {
                let (_, cause) = worker.give_up();
                self.failed(cause, now_ms)
            }
        };
        [picture, comparison]
    }

    fn failed(&mut self, cause: String, now_ms: u64) -> Compared {
        self.after_from_ms = now_ms.saturating_add(RETRY_MS);
        Compared::Trouble(cause)
    }

    /// When there is something to do next.
    pub(crate) fn next_due(&self) -> Option<u64> {
        let picture = match &self.picturing {
            Some((_, until_ms)) => Some(*until_ms),
            None => self.since.map(|since| since.boottime_ms),
        };
        let after = (self.worker.is_none() && !self.after.is_empty()).then_some(self.after_from_ms);
        picture.into_iter().chain(after).min()
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
    fn what_gives_waits_for_its_picture_and_for_no_comparison() {
        let mut comparison = Comparison::default();
        comparison.end(id(7), now(1_000));
        for number in 0..=u8::MAX {
            comparison.begin(&id(number), now(2_000));
        }
        comparison.before.push(AccessId::new(2, [0; 10]));
        assert!((0..=u8::MAX).all(|number| comparison.is_awaited(&id(number))));
        // There is no such worker here: then it is gone on without, and the comparison says that there is none.
        let [picture, compared] = comparison.start_due("h", 5_000);
        assert!(matches!((picture, compared), (Compared::Trouble(_), Compared::Trouble(_))));
        assert!(!(0..=u8::MAX).any(|number| comparison.is_awaited(&id(number))) && comparison.knows(&id(1)));
        assert!(comparison.is_awaited(&AccessId::new(2, [0; 10])), "as many as one order may name");
        assert_eq!(comparison.next_due(), Some(2_000), "the next picture is due at once");
    }

    #[test]
    fn pictures_are_due_at_once_and_comparisons_when_things_have_settled() {
        let mut comparison = Comparison::default();
        assert_eq!(comparison.next_due(), None);
        comparison.begin(&id(1), now(500));
        comparison.begin(&id(2), now(600));
        assert_eq!(comparison.next_due(), Some(500), "the first one's time is the picture's");
        assert!(comparison.is_awaited(&id(1)) && comparison.knows(&id(1)));
        comparison.forget(&id(1));
        comparison.forget(&id(9));
        assert_eq!(
            (&comparison.before, &comparison.forget),
            (&vec![id(2)], &vec![id(1)]),
            "what never was is not forgotten"
        );
        assert!(!comparison.is_awaited(&id(1)) && !comparison.knows(&id(1)));
        (comparison.before, comparison.since) = (Vec::new(), None);
        comparison.end(id(3), now(1_000));
        comparison.end(id(4), now(2_000));
        assert_eq!(comparison.next_due(), Some(3_000), "others that end put nothing off");
        assert_eq!(comparison.start_due("h", 2_999), [Compared::Nothing, Compared::Nothing]);
        assert!(comparison.worker.is_none());
        comparison.failed("x".to_owned(), 4_000);
        assert_eq!((comparison.next_due(), comparison.after.len()), (Some(64_000), 2), "none is forgotten");
    }
}
