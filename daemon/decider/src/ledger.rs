//! The ledger as the decider uses it: batches in, durable or refused out, and the state that they add up to.
//!
//! MUSTs
//! 1. A batch counts only once it is durable; the state follows what is durable (`refused_batch_changes_no_state`).
//! 2. A ledger that does not open refuses to give, and is tried again; it never stops the daemon, but for one that another daemon
//!    writes (`session_end_08_*`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use jitsudo_core::event::{Entry, Event};
use jitsudo_core::state::{Access, State};
use jitsudo_ledger::{
    AppendError, Body, Committer, Cut, Head, OpenError, Options, Priority, Proved, Receipt, Reopened, Sealed, Writer,
};
use jitsudo_sys::nix::sys::eventfd::EventFd;

use crate::states::States;

/// Names a batch that is on its way.
pub(crate) type Ticket = u64;

/// What the ledger's thread has done.
pub(crate) enum Done {
    Batch(Ticket, Result<Receipt, AppendError>),
    /// What the writer's fold made of an access, after the batch that changed it. What it read again after a failure it holds by itself.
    Folded(Arc<Access>),
    Reopened(Result<Reopened, OpenError>),
    /// A disk that was full has room again, or why not.
    Room(Result<(), AppendError>),
}

/// A batch that is durable or refused.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) ticket: Ticket,
    pub(crate) outcome: Result<Written, AppendError>,
}

/// A durable batch.
#[derive(Debug)]
pub(crate) struct Written {
    /// Sequence, entry and JSON of each line.
    pub(crate) lines: Vec<(u64, Entry, String)>,
    /// A segment was sealed before it.
    pub(crate) sealed: Option<Sealed>,
}

/// The ledger.
pub(crate) struct Ledger {
    dir: PathBuf,
    reserve_bytes: u64,
    wake: Arc<EventFd>,
    committer: Option<Committer>,
    sender: Sender<Done>,
    receiver: Receiver<Done>,
    waiting: HashMap<Ticket, Vec<(Entry, String)>>,
    next: Ticket,
    state: State,
    head: Head,
    trouble: Option<AppendError>,
    /// It is being read again, or looked for room; one at a time.
    mending: bool,
    /// Cut from the end, to be recorded.
    cuts: Vec<Cut>,
    /// What opening proved, until somebody asks.
    proved: Option<Proved>,
}

impl Ledger {
    /// Opens the ledger. One that cannot be opened is tried again later.
    ///
    /// # Errors
    /// Another process writes it.
    pub(crate) fn open(dir: &Path, reserve_bytes: u64, wake: Arc<EventFd>) -> Result<Self, OpenError> {
        let (sender, receiver) = channel();
        let mut ledger = Self {
            dir: dir.to_path_buf(),
            reserve_bytes,
            wake,
            committer: None,
            sender,
            receiver,
            waiting: HashMap::new(),
            next: 0,
            state: State::default(),
            head: Head::START,
            trouble: None,
            mending: false,
            cuts: Vec::new(),
            proved: None,
        };
        match ledger.try_open() {
            Err(error @ OpenError::Locked) => return Err(error),
            Err(error) => ledger.trouble = Some(AppendError::Unsure(error.to_string())),
            Ok(()) => {}
        }
        Ok(ledger)
    }

    fn try_open(&mut self) -> Result<(), OpenError> {
        let mut opened = Writer::open(
            &self.dir,
            States::default(),
            Options { reserve_bytes: self.reserve_bytes, ..Options::default() },
        )?;
        let started = |what: &str, source: std::io::Error| OpenError::Io { what: what.to_owned(), source };
        self.state = opened
            .writer
            .state()
            .map_err(|error| started("fold the ledger", std::io::Error::other(error.to_string())))?
            .clone();
        // A copy has all accesses in common with the writer's fold; from here on that tells which it changes.
        let _ = opened.writer.fold().folded.set(self.sender.clone());
        self.head = opened.writer.head();
        self.cuts.extend(opened.cut);
        self.proved = Some(opened.proved);
        let committer = Committer::start(opened.writer).map_err(|error| started("start the ledger's thread", error))?;
        self.committer = Some(committer);
        self.trouble = None;
        Ok(())
    }

    /// Tries what did not work before: opening, reading again after a failed write, or whether a full disk has room again. True when it has
    /// just opened.
    pub(crate) fn mend(&mut self) -> bool {
        if self.committer.is_none() {
            match self.try_open() {
                Ok(()) => return true,
                Err(error) => self.trouble = Some(AppendError::Unsure(error.to_string())),
            }
            return false;
        }
        let (Some(committer), Some(trouble), false) = (&self.committer, &self.trouble, self.mending) else {
            return false;
        };
        let done = self.done();
        if trouble.needs_reopen() {
            committer.reopen(move |outcome| done(Done::Reopened(outcome)));
            self.mending = true;
        } else if *trouble == AppendError::Full {
            committer.look_for_room(move |outcome| done(Done::Room(outcome)));
            self.mending = true;
        }
        false
    }

    /// Hands a batch over; it shows up in [`Ledger::finished`] when it is durable or refused.
    pub(crate) fn append(&mut self, entries: Vec<Entry>, priority: Priority) -> Ticket {
        self.next += 1;
        let ticket = self.next;
        let mut lines = Vec::with_capacity(entries.len());
        let mut bodies = Vec::with_capacity(entries.len());
        let mut unfit = entries.is_empty();
        for entry in entries {
            let json = serde_json::to_string(&entry).unwrap_or_default();
            match Body::new(json.clone()) {
                Ok(body) => bodies.push(body),
                Err(_) => unfit = true,
            }
            lines.push((entry, json));
        }
        let kind = lines.first().map_or("", |(entry, _): &(Entry, String)| entry.event.name());
        jitsudo_sys::failpoint::reach_with("decider.append", kind);
        self.waiting.insert(ticket, lines);
        let done = self.done();
        match &self.committer {
            _ if unfit => done(Done::Batch(ticket, Err(AppendError::Unfit))),
            Some(committer) => committer.submit(bodies, priority, move |outcome| done(Done::Batch(ticket, outcome))),
            None => {
                let trouble = self.trouble.clone().unwrap_or(AppendError::Stopped);
                done(Done::Batch(ticket, Err(trouble)));
            }
        }
        ticket
    }

    fn done(&self) -> impl FnOnce(Done) + Send + 'static {
        let (sender, wake) = (self.sender.clone(), Arc::clone(&self.wake));
        move |done| {
            // Both fail only while the daemon ends.
            let _ = sender.send(done);
            let _ = wake.write(1);
        }
    }

    /// What became durable, or was refused, since the last call.
    pub(crate) fn finished(&mut self) -> Vec<Finished> {
        let mut finished = Vec::new();
        while let Ok(done) = self.receiver.try_recv() {
            match done {
                Done::Batch(ticket, outcome) => {
                    let lines = self.waiting.remove(&ticket).unwrap_or_default();
                    let kind = lines.first().map_or("", |(entry, _)| entry.event.name());
                    jitsudo_sys::failpoint::reach_with("decider.durable", kind);
                    finished.push(Finished { ticket, outcome: self.settle(lines, outcome) });
                }
                Done::Folded(access) => self.state.adopt(&access),
                Done::Reopened(outcome) => {
                    self.mending = false;
                    match outcome {
                        Ok(reopened) => {
                            self.head = reopened.head;
                            self.cuts.extend(reopened.cut);
                            self.trouble = None;
                        }
                        Err(error) => self.trouble = Some(AppendError::Unsure(error.to_string())),
                    }
                }
                Done::Room(outcome) => {
                    self.mending = false;
                    self.trouble = outcome.err();
                }
            }
        }
        finished
    }

    fn settle(
        &mut self,
        lines: Vec<(Entry, String)>,
        outcome: Result<Receipt, AppendError>,
    ) -> Result<Written, AppendError> {
        let receipt = match outcome {
            Ok(receipt) => receipt,
            Err(error) => {
                // Busy and unfit batches say nothing of the ledger.
                if !matches!(error, AppendError::Busy | AppendError::Unfit) {
                    self.trouble = Some(error.clone());
                }
                return Err(error);
            }
        };
        self.trouble = None;
        self.head = receipt.head;
        lines.iter().for_each(|(entry, _)| self.state.apply(entry));
        let numbered = (receipt.first_seq..).zip(lines).map(|(seq, (entry, json))| (seq, entry, json));
        Ok(Written { lines: numbered.collect(), sealed: receipt.sealed })
    }

    /// What the durable events add up to.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The last durable line.
    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// What was proved when it was opened, once: whoever asks later has the files read again.
    pub(crate) fn take_proved(&mut self) -> Option<Proved> {
        self.proved.take()
    }

    /// False while it could not be opened at all: its head is not known then.
    pub(crate) fn is_open(&self) -> bool {
        self.committer.is_some()
    }

    /// Why nothing can be recorded now.
    pub(crate) fn trouble(&self) -> Option<&AppendError> {
        self.trouble.as_ref()
    }

    /// Where its files are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What was cut from the end and is not recorded yet, as events.
    pub(crate) fn take_cuts(&mut self) -> Vec<Event> {
        let cuts = std::mem::take(&mut self.cuts).into_iter();
        cuts.map(|cut| Event::ChainCut { segment: cut.segment, bytes: cut.bytes }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Stamp;
    use jitsudo_core::Timestamp;

    fn wake() -> Arc<EventFd> {
        Arc::new(EventFd::new().unwrap())
    }

    fn entry(by_ms: i64) -> Entry {
        let stamp = Stamp { host: "h".into(), boot: "b".into(), wall: Timestamp::UNIX_EPOCH, boottime_ms: 1 };
        stamp.entry(Event::HeadPublished { head_seq: 1, head: by_ms.to_string(), signed: None })
    }

    fn wait(ledger: &mut Ledger) -> Vec<Finished> {
        ledger.wake.read().unwrap();
        ledger.finished()
    }

    #[test]
    fn durable_batches_add_up_and_survive_a_restart() {
        let dir = crate::tests::folder("ledger");
        let mut ledger = Ledger::open(&dir, 0, wake()).unwrap();
        let ticket = ledger.append(vec![entry(1), entry(2)], Priority::Ordinary);
        let finished = wait(&mut ledger);
        assert_eq!(finished[0].ticket, ticket);
        let written = finished[0].outcome.as_ref().unwrap();
        let first = written.lines[0].0;
        assert_eq!(written.lines[1].0, first + 1);
        let (state, head) = (ledger.state().clone(), ledger.head());
        drop(ledger);
        let ledger = Ledger::open(&dir, 0, wake()).unwrap();
        assert_eq!((ledger.state(), ledger.head()), (&state, head));
        assert_eq!(ledger.state().published().unwrap().head, "2");
    }

    #[test]
    fn both_folds_hold_an_access_once() {
        let dir = crate::tests::folder("ledger-shared");
        let mut ledger = Ledger::open(&dir, 0, wake()).unwrap();
        let text = r#"{"host":"h","boot":"b","wall":"2026-11-21T12:00:00Z","boottime_ms":1,"actor":{"program":"jitsudod"},
            "event":"requested","id":"01jd0000000000000000000000","uid":1,"user":"u","loginuid":1,"origin":null,"kind":"role","argv":[],
            "program":null,"cwd":null,"target":null,"role":"r","reason":null,"ticket":null,"digest":"9c","tty":0,"pid":1}"#;
        let asked: Entry = serde_json::from_str(text).unwrap();
        let id = asked.event.access().unwrap().clone();
        // Ours, the writer's, and the one in hand.
        let holders = |ledger: &Ledger| Arc::strong_count(&ledger.state().share(&id).unwrap());
        ledger.append(vec![asked], Priority::Ordinary);
        wait(&mut ledger);
        // The writer folds when nobody waits for it: before the next batch at the latest.
        ledger.append(vec![entry(1)], Priority::Ordinary);
        wait(&mut ledger);
        assert_eq!(holders(&ledger), 3);
        drop(ledger);
        let ledger = Ledger::open(&dir, 0, wake()).unwrap();
        assert_eq!(holders(&ledger), 3, "and after a start");
    }

    #[test]
    fn session_end_08_second_daemon_finds_the_ledger_locked() {
        let dir = crate::tests::folder("ledger-locked");
        let _first = Ledger::open(&dir, 0, wake()).unwrap();
        assert!(matches!(Ledger::open(&dir, 0, wake()), Err(OpenError::Locked)));
    }

    #[test]
    fn crash_recovery_03_ledger_that_does_not_open_refuses_and_is_tried_again() {
        let folder = crate::tests::folder("ledger-late");
        let dir = folder.join("later");
        let mut ledger = Ledger::open(&dir, 0, wake()).unwrap();
        ledger.append(vec![entry(1)], Priority::Essential);
        assert!(wait(&mut ledger)[0].outcome.is_err());
        assert!(!ledger.mend() && ledger.trouble().is_some());
        std::fs::DirBuilder::new().create(&dir).unwrap();
        assert!(ledger.mend() && ledger.trouble().is_none());
        ledger.append(vec![entry(1)], Priority::Essential);
        assert!(wait(&mut ledger)[0].outcome.is_ok());
    }

    #[test]
    fn crash_recovery_03_disk_that_was_full_is_looked_at_again_without_a_record() {
        let dir = crate::tests::folder("ledger-full");
        let mut ledger = Ledger::open(&dir, 0, wake()).unwrap();
        let head = ledger.head();
        ledger.trouble = Some(AppendError::Full);
        assert!(!ledger.mend() && ledger.trouble().is_some(), "not before it was looked at");
        assert!(wait(&mut ledger).is_empty());
        assert_eq!((ledger.trouble(), ledger.head()), (None, head), "room, and no line");
        // One that is full still stays so.
        ledger.trouble = Some(AppendError::Full);
        ledger.mend();
        let done = ledger.done();
        ledger.wake.read().unwrap();
        done(Done::Room(Err(AppendError::Full)));
        ledger.finished();
        assert_eq!(ledger.trouble(), Some(&AppendError::Full));
    }

    #[test]
    fn refused_batch_changes_no_state() {
        let dir = crate::tests::folder("ledger-refused");
        let mut ledger = Ledger::open(&dir, 0, wake()).unwrap();
        let before = ledger.state().clone();
        ledger.append(Vec::new(), Priority::Ordinary);
        assert!(matches!(wait(&mut ledger)[0].outcome, Err(AppendError::Unfit)));
        assert_eq!(ledger.state(), &before);
        assert!(ledger.trouble().is_none());
    }
}
