//! The session's own record: one durable file in the spool an event, and a copy in the journal. The spawner is only told that there is
//! something; nothing here needs it, or the decider, to be alive.
//!
//! MUSTs
//! 1. Nothing that takes away waits for a record.
//! 2. An event that could not be written is tried again until the session ends, and then said in the journal.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use jitsudo_core::Timestamp;
use jitsudo_core::event::{Actor, EndCause, Ending, Entry, Event};
use jitsudo_core::facts::Fact;
use jitsudo_core::id::SessionId;
use jitsudo_ledger::spool;
use jitsudo_link::session::{FromSessionToSpawner, SpawnerToSession, Spec};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::clock;
use jitsudo_sys::journal::{self, Journal};

use crate::failure::Failure;

/// The program's name in the journal and in events.
const PROGRAM: &str = "jitsudo-session";

/// Writes a session's events.
pub(crate) struct Recorder {
    host: String,
    boot: String,
    session: SessionId,
    actor: Actor,
    target: String,
    spool: PathBuf,
    written: u64,
    waiting: Vec<(String, String)>,
    journal: Option<Journal>,
    spawner: Channel,
    spawner_gone: bool,
    /// The end of the access is another's to record.
    held: bool,
    /// It is the conversation of an extension.
    extends: bool,
    /// A new end that the spawner told, not taken yet.
    new_end: Option<(Timestamp, u64)>,
    /// The latest end that the run-time gives.
    latest: Option<(Timestamp, u64)>,
    /// How long what runs may go on after its end, milliseconds.
    finish_ms: u64,
}

impl Recorder {
    pub(crate) fn new(spec: &Spec, spawner: Channel) -> Self {
        // A spawner that does not read must not hold a session up.
        let _ = spawner.set_nonblocking(true);
        let name = match &spec.requester.name {
            Fact::Is(name) => Some(name.clone()),
            Fact::Unknown => None,
        };
        Self {
            host: spec.host.clone(),
            boot: clock::boot_id().unwrap_or_default(),
            session: spec.session.clone(),
            actor: Actor { program: PROGRAM.to_owned(), uid: Some(spec.requester.uid), name },
            target: spec.target.name.clone(),
            spool: PathBuf::from(&spec.spool),
            written: 0,
            waiting: Vec::new(),
            journal: Journal::new(Path::new(journal::SOCKET)).ok(),
            spawner,
            spawner_gone: false,
            held: spec.held,
            extends: spec.extends,
            new_end: None,
            latest: spec.latest,
            finish_ms: spec.finish_ms,
        }
    }

    /// The spawner's end, to be waited on; `None` once it is gone.
    pub(crate) fn spawner(&self) -> Option<BorrowedFd<'_>> {
        (!self.spawner_gone).then(|| self.spawner.as_fd())
    }

    /// What the spawner said since.
    pub(crate) fn hear(&mut self) -> Option<SpawnerToSession> {
        if self.spawner_gone {
            return None;
        }
        match self.spawner.receive_bytes() {
            // A word of a later version is none that this one could follow.
            Ok(Some(message)) => serde_json::from_slice(&message.bytes).ok(),
            Err(error) if error.would_block() => None,
            // A restarted spawner ends this process by a signal.
            Ok(None) | Err(_) => {
                self.spawner_gone = true;
                None
            }
        }
    }

    /// This is the conversation in which a role is given.
    pub(crate) fn gives_role(&self) -> bool {
        self.session.number == 0
    }

    /// Why the spawner wants this session to end, once it does.
    pub(crate) fn told_to_end(&mut self) -> Option<EndCause> {
        // One word a turn: what else was said waits for the next one.
        match self.hear() {
            Some(SpawnerToSession::End(cause)) => Some(cause),
            Some(SpawnerToSession::Extend { ends_at, ends_boottime_ms }) => {
                self.new_end = Some((ends_at, ends_boottime_ms));
                None
            }
            Some(
                SpawnerToSession::Activated { .. } | SpawnerToSession::NotActivated(_) | SpawnerToSession::Approved,
            )
            | None => None,
        }
    }

    /// The new end that the spawner told, as far as the run-time leaves it. Whoever takes it ends by it: the spawner hears so.
    pub(crate) fn new_end(&mut self) -> Option<(Timestamp, u64)> {
        let (at, boottime_ms) = self.new_end.take()?;
        let (at, boottime_ms) =
            self.latest.map_or((at, boottime_ms), |latest| (at.min(latest.0), boottime_ms.min(latest.1)));
        let gone_ms = boottime_ms.saturating_add(self.finish_ms);
        self.tell(FromSessionToSpawner::Extended { ends_boottime_ms: gone_ms });
        Some((at, boottime_ms))
    }

    /// Records one event.
    pub(crate) fn event(&mut self, event: Event) {
        let kind = event.name();
        let moment = clock::now();
        let microseconds = i64::try_from(moment.wall_ns.div_euclid(1000)).unwrap_or(0);
        let entry = Entry {
            host: self.host.clone(),
            boot: self.boot.clone(),
            wall: Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::UNIX_EPOCH),
            boottime_ms: moment.boottime_ms,
            actor: self.actor.clone(),
            spool: None,
            late: false,
            event,
        };
        let Ok(json) = serde_json::to_string(&entry) else {
            return;
        };
        self.written += 1;
        jitsudo_sys::failpoint::reach_with("session.record", kind);
        self.waiting.push((format!("{}.{}", self.session, self.written), json.clone()));
        self.copy_to_journal(&json, "5");
        self.flush();
        jitsudo_sys::failpoint::reach_with("session.recorded", kind);
    }

    /// Records one event that something waits for; true when it is durable. One that is not is tried again like any other.
    pub(crate) fn event_now(&mut self, event: Event) -> bool {
        self.event(event);
        let name = format!("{}.{}", self.session, self.written);
        !self.waiting.iter().any(|(waiting, _)| *waiting == name)
    }

    /// Tries again what could not be written.
    pub(crate) fn flush(&mut self) {
        let spool = &self.spool;
        let before = self.waiting.len();
        self.waiting.retain(|(name, json)| match spool::write(spool, name, json) {
            Ok(()) => false,
            // It is there: an earlier try succeeded in all but the answer.
            Err(error) => error.kind() != std::io::ErrorKind::AlreadyExists,
        });
        if self.waiting.len() < before {
            self.tell(FromSessionToSpawner::Spooled);
        }
    }

    /// Tells the spawner something; it may be gone.
    pub(crate) fn tell(&self, what: FromSessionToSpawner) {
        if let Ok(bytes) = serde_json::to_vec(&what) {
            let _ = self.spawner.send(&bytes, &[]);
        }
    }

    /// `-v`: nothing was to run.
    pub(crate) fn validated(&mut self) {
        self.event(Event::SessionExit {
            session: self.session.clone(),
            ending: Ending::Exited(0),
            ran_ms: 0,
            pid: 0,
            audit_session: None,
            failed: None,
            interpreter: None,
        });
    }

    /// The command never ran.
    pub(crate) fn not_started(&mut self, failure: &Failure) {
        if let Failure::Refused { cause, .. } = failure {
            self.event(Event::SpawnerRefused { id: Some(self.session.access.clone()), cause: cause.clone() });
        }
        let (errno, words) = failure.entry();
        self.event(Event::SessionExit {
            session: self.session.clone(),
            ending: Ending::NotStarted(errno),
            ran_ms: 0,
            pid: 0,
            audit_session: None,
            failed: Some(words),
            interpreter: None,
        });
    }

    /// The role that was asked for is not given.
    pub(crate) fn not_given(&mut self, failure: &Failure) {
        let id = self.session.access.clone();
        let cause = failure.entry().1;
        if matches!(failure, Failure::Refused { .. }) {
            self.event(Event::SpawnerRefused { id: Some(id.clone()), cause: cause.clone() });
        }
        if self.extends {
            // The role is held as before.
            return;
        }
        self.event(Event::ActivationFailed { id, cause });
    }

    /// The grant is over.
    pub(crate) fn ended(&mut self, cause: EndCause) {
        if self.held {
            return;
        }
        self.event(Event::Ended { id: self.session.access.clone(), cause });
    }

    /// Nothing of it remains.
    pub(crate) fn closed(&mut self) {
        if self.held {
            return;
        }
        self.event(Event::Closed { id: self.session.access.clone() });
    }

    /// A last try, and a word on what could not be kept.
    pub(crate) fn finish(&mut self) {
        self.flush();
        for (_, json) in std::mem::take(&mut self.waiting) {
            self.copy_to_journal(&json, "2");
        }
    }

    fn copy_to_journal(&self, json: &str, priority: &str) {
        let Some(journal) = &self.journal else {
            return;
        };
        let event = serde_json::from_str::<serde_json::Value>(json)
            .ok()
            .and_then(|entry| Some(entry.get("event")?.as_str()?.to_owned()))
            .unwrap_or_default();
        let (id, session) = (self.session.access.to_string(), self.session.to_string());
        let user = self.actor.name.clone().unwrap_or_default();
        let uid = self.actor.uid.map(|uid| uid.0.to_string()).unwrap_or_default();
        let lost = if priority == "2" { "cannot write to the spool: " } else { "" };
        let message = format!("{lost}{event} {} ({user} as {}) {json}", self.session.access.short(), self.target);
        // A copy: the spool has it. A journal that is away costs only this.
        let _ = journal.send(&[
            ("MESSAGE", message.as_bytes()),
            ("PRIORITY", priority.as_bytes()),
            ("SYSLOG_FACILITY", b"10"),
            ("SYSLOG_IDENTIFIER", PROGRAM.as_bytes()),
            ("JITSUDO_EVENT", event.as_bytes()),
            ("JITSUDO_ID", id.as_bytes()),
            ("JITSUDO_SESSION", session.as_bytes()),
            ("JITSUDO_UID", uid.as_bytes()),
            ("JITSUDO_USER", user.as_bytes()),
            ("JITSUDO_TARGET", self.target.as_bytes()),
            ("JITSUDO_JSON", json.as_bytes()),
        ]);
    }
}

/// Says in the journal what went wrong before there was a session to speak of.
pub(crate) fn say_unattached(cause: &str) {
    if let Ok(journal) = Journal::new(Path::new(journal::SOCKET)) {
        let fields: [(&str, &[u8]); 3] =
            [("MESSAGE", cause.as_bytes()), ("PRIORITY", b"3"), ("SYSLOG_IDENTIFIER", PROGRAM.as_bytes())];
        let _ = journal.send(&fields);
    }
}
