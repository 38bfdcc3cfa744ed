//! Effect workers for role grants: what they are asked, what they answer, and what becomes of those that hang or die. Pure of the
//! grants themselves: who asked is told what came of it.
//!
//! MUSTs
//! 1. A grant is in the hands of one worker at a time (`grant_is_in_the_hands_of_one_worker`).
//! 2. A worker that hangs, dies or talks nonsense is an answer too: not done (`worker_that_dies_has_answered`).
//! 3. Nobody waits here: workers are started, heard and killed without (`worker_that_dies_has_answered`).
//! 4. Taking back never waits for what is given (`grant_is_in_the_hands_of_one_worker`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use jitsudo_core::id::AccessId;
use jitsudo_core::lends::Effect;
use jitsudo_link::LIBEXEC;
use jitsudo_link::notes::Note;
use jitsudo_link::spawner::{self, Lent, Undone};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::child::{self, Child};
use jitsudo_sys::nix::libc::SIGKILL;
use jitsudo_sys::pidfd;

/// Effects made at once; the workers themselves take turns at the group file.
const MAX_APPLYING: usize = 4;
/// Workers that take back at once; one of them for what failed before, one for what waits for no lock.
const MAX_UNDOING: usize = 4;
/// Grants in one order: their ids fit a datagram of 64 KiB. Those that end together are taken out of the group file together.
const MAX_IN_ORDER: usize = 2_000;
/// Milliseconds for a worker that makes something.
const APPLY_MS: u64 = 60_000;
/// Milliseconds for another tool's lock at the first try: others' ends must not wait for it.
const FIRST_LOCK_MS: u64 = 2_000;
/// And at a later one: as long as shadow's own tools wait.
const LATER_LOCK_MS: u64 = 18_000;
/// Milliseconds that a worker has beyond that.
const UNDO_MS: u64 = 30_000;
/// Workers that were killed and are not gone yet.
const MAX_DYING: usize = 32;

/// What came of something.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// Of an effect that was to be made.
    OfApply {
        /// For which grant.
        id: AccessId,
        /// Which.
        effect: Effect,
        /// What.
        lent: Lent,
    },
    /// Of the effects of a grant that were to be taken back.
    OfUndo(Undone),
    /// The worker ended without a word on this grant; in words.
    Nothing(AccessId, String),
}

/// Of what kind a grant's changes are that are to be taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Its own files alone: that waits for nobody.
    OwnFiles,
    /// Entries of the group file too, which is everybody's.
    GroupFile,
}

/// What is to be taken back.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// It is not tried before.
    from_ms: u64,
    /// It failed before.
    again: bool,
    kind: Kind,
}

/// What a worker is at.
enum Task {
    Apply {
        id: AccessId,
        effect: Effect,
    },
    /// Without a kind those of both, which failed before.
    Undo {
        ids: BTreeSet<AccessId>,
        kind: Option<Kind>,
    },
}

struct Worker {
    number: u64,
    child: Child,
    channel: Channel,
    task: Task,
    until_ms: u64,
}

impl Worker {
    fn has(&self, id: &AccessId) -> bool {
        match &self.task {
            Task::Apply { id: other, .. } => other == id,
            Task::Undo { ids, .. } => ids.contains(id),
        }
    }

    /// What is left unsaid when it says nothing more.
    fn unsaid(self, why: &str) -> (Child, Vec<Came>) {
        let why = format!("jitsudo-effects {why}");
        let came = match self.task {
            Task::Apply { id, effect } => vec![Came::OfApply { id, effect, lent: Lent::Failed(why) }],
            Task::Undo { ids, .. } => ids.into_iter().map(|id| Came::Nothing(id, why.clone())).collect(),
        };
        (self.child, came)
    }
}

/// All of them.
pub(crate) struct Changes {
    program: PathBuf,
    to_apply: VecDeque<(Box<Note>, Effect)>,
    to_undo: BTreeMap<AccessId, Wanted>,
    workers: Vec<Worker>,
    dying: Vec<Child>,
    next: u64,
}

impl Changes {
    pub(crate) fn new() -> Self {
        Self::by(Path::new(LIBEXEC).join("jitsudo-effects"))
    }

    fn by(program: PathBuf) -> Self {
        Self {
            program,
            to_apply: VecDeque::new(),
            to_undo: BTreeMap::new(),
            workers: Vec::new(),
            dying: Vec::new(),
            next: 0,
        }
    }

    /// Has an effect made, as soon as there is a worker for it.
    pub(crate) fn apply(&mut self, note: Note, effect: Effect) {
        self.to_apply.push_back((Box::new(note), effect));
    }

    /// Has all that is noted of a grant taken back, not before a time; what was to be made for it is not any more.
    pub(crate) fn undo(&mut self, id: &AccessId, kind: Kind, from_ms: u64, again: bool) {
        self.make_no_more(id);
        self.to_undo.entry(id.clone()).or_insert(Wanted { from_ms, again, kind });
    }

    /// Nothing more is made for it.
    pub(crate) fn make_no_more(&mut self, id: &AccessId) {
        self.to_apply.retain(|(note, _)| note.id != *id);
    }

    /// True while a worker is at this grant.
    pub(crate) fn is_busy_with(&self, id: &AccessId) -> bool {
        self.workers.iter().any(|worker| worker.has(id))
    }

    /// Starts what can be started.
    pub(crate) fn dispatch(&mut self, now_ms: u64) -> Vec<Came> {
        let mut came = Vec::new();
        // What waits for nobody is not in the hands of who waits for the group file.
        for kind in [Kind::GroupFile, Kind::OwnFiles] {
            if self.has_room_to_undo(kind) {
                self.start_undo(Some(kind), now_ms, &mut came);
            }
        }
        if self.undoing(None) == 0 {
            self.start_undo(None, now_ms, &mut came);
        }
        while self.applying() < MAX_APPLYING
            && let Some(place) = self.to_apply.iter().position(|(note, _)| !self.is_busy_with(&note.id))
            && let Some((note, effect)) = self.to_apply.remove(place)
        {
            let task = Task::Apply { id: note.id.clone(), effect: effect.clone() };
            let order = spawner::Effect::ApplyEffect { note, effect };
            came.extend(self.start(task, &order, now_ms.saturating_add(APPLY_MS)));
        }
        came
    }

    fn start_undo(&mut self, kind: Option<Kind>, now_ms: u64, came: &mut Vec<Came>) {
        let again = kind.is_none();
        let is_due = |(id, wanted): &(&AccessId, &Wanted)| {
            wanted.again == again
                && wanted.from_ms <= now_ms
                && kind.is_none_or(|kind| wanted.kind == kind)
                && !self.is_busy_with(id)
        };
        let due: BTreeSet<AccessId> =
            self.to_undo.iter().filter(is_due).take(MAX_IN_ORDER).map(|(id, _)| id.clone()).collect();
        if due.is_empty() {
            return;
        }
        self.to_undo.retain(|id, _| !due.contains(id));
        let patience_ms = if again { LATER_LOCK_MS } else { FIRST_LOCK_MS };
        let order = spawner::Effect::UndoGrants { ids: due.iter().cloned().collect(), patience_ms };
        let until_ms = now_ms.saturating_add(patience_ms).saturating_add(UNDO_MS);
        came.extend(self.start(Task::Undo { ids: due, kind }, &order, until_ms));
    }

    fn applying(&self) -> usize {
        self.workers.iter().filter(|worker| matches!(worker.task, Task::Apply { .. })).count()
    }

    /// Workers that take back what is of a kind; without one, what failed before.
    fn undoing(&self, kind: Option<Kind>) -> usize {
        self.workers.iter().filter(|worker| matches!(&worker.task, Task::Undo { kind: of, .. } if *of == kind)).count()
    }

    /// Those who wait for the group file leave room.
    fn has_room_to_undo(&self, kind: Kind) -> bool {
        let (waiting, own) = (self.undoing(Some(Kind::GroupFile)), self.undoing(Some(Kind::OwnFiles)));
        match kind {
            Kind::GroupFile => waiting + 2 < MAX_UNDOING,
            Kind::OwnFiles => waiting + own + 1 < MAX_UNDOING,
        }
    }

    fn start(&mut self, task: Task, order: &spawner::Effect, until_ms: u64) -> Vec<Came> {
        let begin = || -> Result<(Child, Channel), String> {
            let text = serde_json::to_vec(order).map_err(|error| error.to_string())?;
            if self.dying.len() >= MAX_DYING {
                return Err("its workers hang, and cannot be ended: is a file system away?".to_owned());
            }
            let (ours, theirs) = Channel::pair().map_err(|error| format!("cannot be given a socket: {error}"))?;
            let child =
                child::start(&self.program, &[], &theirs).map_err(|error| format!("cannot be started: {error}"))?;
            let sent = ours.send(&text, &[]).map_err(|error| error.to_string());
            match sent.and_then(|()| ours.set_nonblocking(true).map_err(|error| error.to_string())) {
                Ok(()) => Ok((child, ours)),
                Err(error) => {
                    child.end();
                    Err(format!("cannot be reached: {error}"))
                }
            }
        };
        match begin() {
            Ok((child, channel)) => {
                self.next += 1;
                self.workers.push(Worker { number: self.next, child, channel, task, until_ms });
                Vec::new()
            }
            Err(why) => match task {
                Task::Apply { id, effect } => {
                    vec![Came::OfApply { id, effect, lent: Lent::Failed(format!("jitsudo-effects {why}")) }]
                }
                Task::Undo { ids, .. } => {
                    ids.into_iter().map(|id| Came::Nothing(id, format!("jitsudo-effects {why}"))).collect()
                }
            },
        }
    }

    /// Channels to wait for, with the workers' numbers.
    pub(crate) fn channels(&self) -> impl Iterator<Item = (u64, &Channel)> {
        self.workers.iter().map(|worker| (worker.number, &worker.channel))
    }

    /// Takes all that a worker has said so far.
    pub(crate) fn readable(&mut self, number: u64) -> Vec<Came> {
        let mut came = Vec::new();
        let Some(place) = self.workers.iter().position(|worker| worker.number == number) else { return came };
        loop {
            let Some(worker) = self.workers.get_mut(place) else { return came };
            let message = match worker.channel.receive() {
                Ok(Some(message)) => message,
                Err(error) if error.would_block() => return came,
                Ok(None) | Err(_) => break,
            };
            match &mut worker.task {
                Task::Apply { id, effect } => {
                    let Ok(lent) = serde_json::from_slice(&message.bytes) else { break };
                    came.push(Came::OfApply { id: id.clone(), effect: effect.clone(), lent });
                    let worker = self.workers.swap_remove(place);
                    self.end(worker.child);
                    return came;
                }
                Task::Undo { ids, .. } => {
                    let Ok(undone) = serde_json::from_slice::<Undone>(&message.bytes) else { break };
                    // Nobody is answered for whom nobody asked.
                    if ids.remove(&undone.id) {
                        came.push(Came::OfUndo(undone));
                    }
                }
            }
        }
        let (child, unsaid) = self.workers.swap_remove(place).unsaid("ended without an answer");
        self.end(child);
        came.extend(unsaid);
        came
    }

    /// Ends the workers whose time is over.
    pub(crate) fn expire(&mut self, now_ms: u64) -> Vec<Came> {
        let mut came = Vec::new();
        while let Some(place) = self.workers.iter().position(|worker| worker.until_ms <= now_ms) {
            let (child, unsaid) = self.workers.swap_remove(place).unsaid("took too long");
            self.end(child);
            came.extend(unsaid);
        }
        self.dying.retain_mut(|child| !child.reap());
        came
    }

    /// When there is something to do next, CLOCK_BOOTTIME milliseconds; what waits for a worker is woken by that one's end.
    pub(crate) fn next_time(&self, now_ms: u64) -> Option<u64> {
        let late = self.workers.iter().map(|worker| worker.until_ms);
        late.chain(self.to_undo.values().map(|wanted| wanted.from_ms).filter(|from_ms| *from_ms > now_ms)).min()
    }

    /// Kills without waiting for the death; a worker that is done dies of nothing.
    fn end(&mut self, mut child: Child) {
        let _ = pidfd::signal(child.pidfd().as_fd(), SIGKILL);
        if !child.reap() {
            self.dying.push(child);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::tests::{grant, note};

    fn script(name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = std::env::temp_dir().join(format!("jitsudo-changes-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn adm() -> Effect {
        Effect::Membership("adm".to_owned())
    }

    impl Changes {
        fn end_all(&mut self) {
            std::mem::take(&mut self.workers).into_iter().for_each(|worker| worker.child.end());
        }
    }

    fn all(changes: &mut Changes) -> Vec<Came> {
        let mut came = Vec::new();
        loop {
            let Some(number) = changes.channels().next().map(|(number, _)| number) else { break };
            came.extend(changes.readable(number));
        }
        came
    }

    #[test]
    fn worker_that_dies_has_answered() {
        let program = script("dies", "#!/bin/sh\nexit 1\n");
        let mut changes = Changes::by(program.clone());
        changes.apply(note(), adm());
        assert_eq!(changes.dispatch(0), []);
        let came = all(&mut changes);
        assert!(
            matches!(came.as_slice(), [Came::OfApply { lent: Lent::Failed(why), .. }] if why.contains("without an answer"))
        );
        changes.undo(&grant().id, Kind::GroupFile, 0, false);
        assert_eq!(changes.dispatch(0), []);
        assert!(matches!(all(&mut changes).as_slice(), [Came::Nothing(id, _)] if *id == grant().id));
        // One that says what nobody can read, and one that cannot be started.
        std::fs::write(&program, "#!/bin/sh\nprintf nonsense >&3\nexec sleep 60\n").unwrap();
        changes.apply(note(), adm());
        changes.dispatch(0);
        assert!(matches!(all(&mut changes).as_slice(), [Came::OfApply { lent: Lent::Failed(_), .. }]));
        std::fs::remove_file(&program).unwrap();
        changes.undo(&grant().id, Kind::GroupFile, 0, false);
        let came = changes.dispatch(0);
        assert!(matches!(came.as_slice(), [Came::Nothing(_, why)] if why.contains("cannot be started")), "{came:?}");
    }

    #[test]
    fn grant_is_in_the_hands_of_one_worker() {
        let program = script("hangs", "#!/bin/sh\nexec sleep 60\n");
        let mut changes = Changes::by(program.clone());
        changes.apply(note(), adm());
        assert_eq!(changes.dispatch(0), []);
        changes.undo(&grant().id, Kind::GroupFile, 0, false);
        changes.undo(&grant().id, Kind::GroupFile, 0, false);
        assert_eq!((changes.dispatch(0), changes.workers.len()), (vec![], 1), "not while it is being made");
        assert!(changes.is_busy_with(&grant().id));
        assert_eq!(changes.expire(APPLY_MS - 1), []);
        let came = changes.expire(APPLY_MS);
        assert!(matches!(came.as_slice(), [Came::OfApply { lent: Lent::Failed(why), .. }] if why.contains("too long")));
        assert_eq!((changes.dispatch(APPLY_MS), changes.workers.len()), (vec![], 1));
        // As many as may be made at once keep nobody from taking back.
        for number in 1..20 {
            let id = AccessId::new(number, [1; 10]);
            changes.apply(Note { id: id.clone(), ..note() }, adm());
        }
        changes.dispatch(APPLY_MS);
        assert_eq!(changes.workers.len(), 1 + MAX_APPLYING);
        changes.undo(&AccessId::new(19, [1; 10]), Kind::GroupFile, 0, false);
        changes.dispatch(APPLY_MS);
        assert_eq!(changes.workers.len(), 2 + MAX_APPLYING);
        assert_eq!(changes.to_apply.len(), 19 - MAX_APPLYING - 1, "what is taken back is not made any more");
        changes.end_all();
        std::fs::remove_file(&program).unwrap();
    }

    #[test]
    fn what_waits_for_the_group_file_keeps_nothing_else_waiting() {
        let program = script("waits", "#!/bin/sh\nexec sleep 60\n");
        let mut changes = Changes::by(program.clone());
        let id = |number| AccessId::new(number, [2; 10]);
        let in_hands = |changes: &Changes| {
            changes
                .workers
                .iter()
                .map(|worker| match &worker.task {
                    Task::Undo { ids, .. } => ids.len(),
                    Task::Apply { .. } => 0,
                })
                .collect::<Vec<_>>()
        };
        for number in 0..300 {
            let kind = if number % 3 == 0 { Kind::OwnFiles } else { Kind::GroupFile };
            changes.undo(&id(number), kind, 0, false);
        }
        assert_eq!(changes.dispatch(0), []);
        assert_eq!(in_hands(&changes), [200, 100], "all of a kind in one pair of hands");
        for number in 300..310 {
            changes.undo(&id(number), Kind::GroupFile, 0, false);
            changes.dispatch(0);
        }
        assert_eq!(in_hands(&changes), [200, 100, 1]);
        changes.end_all();
        changes.undo(&id(400), Kind::GroupFile, 0, false);
        changes.undo(&id(401), Kind::OwnFiles, 0, false);
        changes.undo(&id(402), Kind::OwnFiles, 0, true);
        changes.undo(&id(403), Kind::GroupFile, 0, true);
        changes.dispatch(0);
        assert_eq!(in_hands(&changes), [10, 1, 2], "what failed before is tried by one");
        changes.end_all();
        std::fs::remove_file(&program).unwrap();
    }
}
