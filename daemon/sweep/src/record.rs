//! What the sweep did, for the ledger (through the spool) and the journal.

use std::io;
use std::path::Path;

use jitsudo_core::Timestamp;
use jitsudo_core::event::{Actor, Entry, Event};
use jitsudo_link::SPOOL;
use jitsudo_sys::clock;
use jitsudo_sys::journal::{self, Journal};

use crate::over::Now;

/// Writes events and words.
pub(crate) struct Recorder {
    journal: Option<Journal>,
}

/// Both clocks and the boot, now.
pub(crate) fn now() -> Now {
    let moment = clock::now();
    Now {
        // A clock that makes no sense ends everything rather than nothing.
        wall: Timestamp::from_nanosecond(moment.wall_ns).unwrap_or(Timestamp::MAX),
        boottime_ms: moment.boottime_ms,
        boot: clock::boot_id().unwrap_or_default(),
    }
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { journal: Journal::new(Path::new(journal::SOCKET)).ok() }
    }

    /// Records an event once: `part` says which of its access's it is, in the order of the parts. True when it is durable.
    pub(crate) fn record(&self, host: &str, part: &str, event: Event) -> bool {
        let now = now();
        let Some(id) = event.access().cloned() else { return false };
        let entry = Entry {
            host: host.to_owned(),
            boot: now.boot,
            wall: now.wall,
            boottime_ms: now.boottime_ms,
            actor: Actor { program: "jitsudo-sweep".to_owned(), uid: None, name: None },
            spool: None,
            late: false,
            event,
        };
        let Ok(json) = serde_json::to_string(&entry) else { return false };
        let kind = entry.event.name();
        jitsudo_sys::failpoint::reach_with("sweep.record", kind);
        let written = jitsudo_ledger::spool::write(Path::new(SPOOL), &format!("sweep.{id}.{part}"), &json);
        jitsudo_sys::failpoint::reach_with("sweep.recorded", kind);
        match written {
            // Known: an earlier sweep wrote it, or this one met the same again.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => true,
            Ok(()) => {
                self.send("4", &json, &json);
                true
            }
            Err(error) => {
                self.send("3", &format!("{json} (cannot write it to the spool: {error})"), &json);
                false
            }
        }
    }

    /// Says something that is no event.
    pub(crate) fn say(&self, words: &str) {
        self.send("3", words, "");
    }

    fn send(&self, priority: &str, message: &str, json: &str) {
        let mut fields: Vec<(&str, &[u8])> = vec![
            ("MESSAGE", message.as_bytes()),
            ("PRIORITY", priority.as_bytes()),
            ("SYSLOG_IDENTIFIER", b"jitsudo-sweep"),
            ("SYSLOG_FACILITY", b"10"),
        ];
        if !json.is_empty() {
            fields.push(("JITSUDO_JSON", json.as_bytes()));
        }
        // A journal that is away costs only the copy.
        let _ = self.journal.as_ref().map(|journal| journal.send(&fields));
    }
}
