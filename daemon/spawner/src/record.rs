//! The spawner's own events: one spooled file each, and the journal. The decider only folds them in.

use std::fs::File;
use std::io;
use std::path::Path;

use jitsudo_core::Timestamp;
use jitsudo_core::event::{Actor, Entry, Event, Signed};
use jitsudo_core::name::Uid;
use jitsudo_link::spawner::Wanted;
use jitsudo_sys::clock::{self, Moment};
use jitsudo_sys::journal::{self, Journal};

/// From so many on, events share a sync of the whole file system; a few are synced one by one, which waits for nobody else's files.
const MANY: usize = 8;

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

    /// Records many events with one sync for all; for each true once that is durable.
    pub(crate) fn record_all(&mut self, events: Vec<Event>) -> Vec<bool> {
        if events.len() < MANY {
            return events.into_iter().map(|event| self.record(event)).collect();
        }
        let named: Vec<_> = events.into_iter().map(|event| (event.name(), self.entry(None, None, event))).collect();
        let entries: Vec<_> = named.iter().filter_map(|(_, entry)| entry.clone()).collect();
        let sync = |file: &File| jitsudo_sys::nix::unistd::syncfs(file).map_err(io::Error::from);
        let mut spooled = jitsudo_ledger::spool::write_all(Path::new(jitsudo_link::SPOOL), &entries, sync).into_iter();
        let mut tell = |(kind, entry): (&'static str, Option<(String, String)>)| {
            jitsudo_sys::failpoint::reach_with("spawner.recorded", kind);
            let Some((_, json)) = entry else { return false };
            let spooled = spooled.next().unwrap_or_else(|| Err(io::ErrorKind::Other.into()));
            self.tell(&json, &spooled);
            spooled.is_ok()
        };
        named.into_iter().map(&mut tell).collect()
    }

    fn write(&mut self, uid: Option<Uid>, name: Option<String>, event: Event) -> bool {
        let kind = event.name();
        let Some((name, json)) = self.entry(uid, name, event) else { return false };
        let spooled = jitsudo_ledger::spool::write(Path::new(jitsudo_link::SPOOL), &name, &json);
        jitsudo_sys::failpoint::reach_with("spawner.recorded", kind);
        self.tell(&json, &spooled);
        spooled.is_ok()
    }

    /// Name and text of the next entry.
    fn entry(&mut self, uid: Option<Uid>, name: Option<String>, event: Event) -> Option<(String, String)> {
        jitsudo_sys::failpoint::reach_with("spawner.record", event.name());
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
        let json = serde_json::to_string(&entry).ok()?;
        Some((format!("spawn.{}.{}.{}", self.boot.get(..8).unwrap_or("noboot"), self.started_ms, self.written), json))
    }

    fn tell(&self, json: &str, spooled: &io::Result<()>) {
        let Some(journal) = &self.journal else { return };
        let message = match spooled {
            Ok(()) => json.to_owned(),
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
}
