//! The spawner's own events: one spooled file each, and the journal. The decider only folds them in.

use std::path::Path;

use jitsudo_core::Timestamp;
use jitsudo_core::event::{Actor, Entry, Event, Signed};
use jitsudo_core::name::Uid;
use jitsudo_link::spawner::Wanted;
use jitsudo_sys::clock::{self, Moment};
use jitsudo_sys::journal::{self, Journal};

/// Writes the spawner's events.
pub(crate) struct Recorder {
    host: String,
    boot: String,
    journal: Option<Journal>,
    written: u64,
    started_ms: u64,
}

/// The wall clock of a moment.
pub(crate) fn wall(moment: Moment) -> Timestamp {
    Timestamp::from_nanosecond(moment.wall_ns).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl Recorder {
    pub(crate) fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            boot: clock::boot_id().unwrap_or_default(),
            journal: Journal::new(Path::new(journal::SOCKET)).ok(),
            written: 0,
            started_ms: clock::boottime_ms(),
        }
    }

    /// Tells the journal what was signed. It has root's word there, which the decider can neither forge nor take back.
    pub(crate) fn tell_signed(&self, wanted: &Wanted, signed: &Signed) {
        let Some(journal) = &self.journal else { return };
        let what = wanted.segment.as_deref().map_or_else(String::new, |segment| format!(" (end of {segment})"));
        let (seq, key) = (wanted.seq.to_string(), &signed.key);
        let message = format!("signed event {seq} {}{what} by {key}", wanted.hash);
        // A journal that is away costs only the copy.
        let _ = journal.send(&[
            ("MESSAGE", message.as_bytes()),
            ("PRIORITY", b"6"),
            ("SYSLOG_IDENTIFIER", b"jitsudo-spawn"),
            ("SYSLOG_FACILITY", b"10"),
            ("JITSUDO_EVENT", b"head_signed"),
            ("JITSUDO_HEAD_SEQ", seq.as_bytes()),
            ("JITSUDO_HEAD", wanted.hash.as_bytes()),
            ("JITSUDO_HOST", signed.host.as_bytes()),
            ("JITSUDO_KEY", key.as_bytes()),
            ("JITSUDO_SIGNED_AT", signed.at.as_bytes()),
            ("JITSUDO_SIGNATURE", signed.signature.as_bytes()),
        ]);
    }

    /// Says something that is no event.
    pub(crate) fn say(&self, words: &str) {
        let Some(journal) = &self.journal else { return };
        // A journal that is away costs only the words.
        let _ = journal.send(&[
            ("MESSAGE", words.as_bytes()),
            ("PRIORITY", b"4"),
            ("SYSLOG_IDENTIFIER", b"jitsudo-spawn"),
            ("SYSLOG_FACILITY", b"10"),
        ]);
    }

    /// Records an event; true once that is durable. What is over, or was not given, does not wait for it.
    pub(crate) fn record(&mut self, event: Event) -> bool {
        self.write(None, None, event)
    }

    /// The same of what an account caused.
    pub(crate) fn record_for(&mut self, uid: u32, name: Option<String>, event: Event) -> bool {
        self.write(Some(Uid(uid)), name, event)
    }

    fn write(&mut self, uid: Option<Uid>, name: Option<String>, event: Event) -> bool {
        let kind = event.name();
        jitsudo_sys::failpoint::reach_with("spawner.record", kind);
        let moment = clock::now();
        self.written += 1;
        let entry = Entry {
            host: self.host.clone(),
            boot: self.boot.clone(),
            wall: wall(moment),
            boottime_ms: moment.boottime_ms,
            actor: Actor { program: "jitsudo-spawn".to_owned(), uid, name },
            spool: None,
            late: false,
            event,
        };
        let Ok(json) = serde_json::to_string(&entry) else {
            return false;
        };
        let name = format!("spawn.{}.{}.{}", self.boot.get(..8).unwrap_or("noboot"), self.started_ms, self.written);
        let spooled = jitsudo_ledger::spool::write(Path::new(jitsudo_link::SPOOL), &name, &json);
        jitsudo_sys::failpoint::reach_with("spawner.recorded", kind);
        if let Some(journal) = &self.journal {
            let message = match &spooled {
                Ok(()) => json.clone(),
                Err(error) => format!("{json} (cannot write it to the spool: {error})"),
            };
            // The spool has it; a journal that is away costs only the copy.
            let _ = journal.send(&[
                ("MESSAGE", message.as_bytes()),
                ("PRIORITY", b"4"),
                ("SYSLOG_IDENTIFIER", b"jitsudo-spawn"),
                ("SYSLOG_FACILITY", b"10"),
                ("JITSUDO_JSON", json.as_bytes()),
            ]);
        }
        spooled.is_ok()
    }
}
