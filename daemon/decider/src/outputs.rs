//! Copies of every event to journald and syslog, off the request path: a thread, two bounded backlogs.
//!
//! MUST: while either is away requests go on, the other one is told once, and once more when it is back
//! (`audit_log_08_*`). What does not fit is dropped and counted, oldest first.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use jitsudo_sys::journal::Journal;
use jitsudo_sys::syslog::{Severity, Syslog};

use crate::lines::Told;

/// Entries that may wait to be picked up by the thread.
const MAX_QUEUE: usize = 4096;
/// Entries that may wait for one way to come back.
const MAX_BACKLOG: usize = 4096;
/// Pause between two tries while something waits.
const RETRY: Duration = Duration::from_millis(200);
/// Where journald takes syslog lines itself, as /dev/log leads there.
const JOURNALS_OWN: &str = "/run/systemd/journal";
/// Where a syslog daemon beside journald listens.
const BEHIND_JOURNAL: &str = "/run/systemd/journal/syslog";

/// What `jitctl status` says of a way.
#[derive(Debug, Default)]
struct Health {
    away: AtomicBool,
    lost: AtomicU64,
}

/// The ways out.
#[derive(Debug)]
pub(crate) struct Outputs {
    sender: Option<SyncSender<Told>>,
    journal: Arc<Health>,
    syslog: Arc<Health>,
    /// Dropped before they reached the thread.
    dropped: u64,
    thread: Option<JoinHandle<()>>,
}

impl Outputs {
    /// Starts the thread.
    pub(crate) fn start(journal: &Path, syslog: &Path) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(MAX_QUEUE);
        let (journal_health, syslog_health) = (Arc::new(Health::default()), Arc::new(Health::default()));
        let healths = (Arc::clone(&journal_health), Arc::clone(&syslog_health));
        let journal = Journal::new(journal)?;
        let syslog = syslog.to_path_buf();
        let thread = std::thread::Builder::new().name("outputs".to_owned()).spawn(move || {
            let mut syslog = SyslogWay::new(syslog);
            let mut ways = [
                Way::new("journald", healths.0, Box::new(move |told| to_journal(&journal, told))),
                Way::new("syslog", healths.1, Box::new(move |told| syslog.send(told))),
            ];
            work(&receiver, &mut ways);
        })?;
        Ok(Self {
            sender: Some(sender),
            journal: journal_health,
            syslog: syslog_health,
            dropped: 0,
            thread: Some(thread),
        })
    }

    /// Tells, or counts when the thread is behind. Never waits.
    pub(crate) fn tell(&mut self, told: Told) {
        if self.sender.as_ref().is_none_or(|sender| sender.try_send(told).is_err()) {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// (journald, syslog): up?
    pub(crate) fn are_up(&self) -> (bool, bool) {
        (!self.journal.away.load(Ordering::Relaxed), !self.syslog.away.load(Ordering::Relaxed))
    }

    /// Copies that were dropped.
    pub(crate) fn lost(&self) -> u64 {
        let lost = self.journal.lost.load(Ordering::Relaxed) + self.syslog.lost.load(Ordering::Relaxed);
        lost.saturating_add(self.dropped)
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // What can be sent is sent; the thread ends with the queue.
            let _ = thread.join();
        }
    }
}

type Send = Box<dyn FnMut(&Told) -> io::Result<()>>;

struct Way {
    name: &'static str,
    send: Send,
    backlog: VecDeque<Rc<Told>>,
    health: Arc<Health>,
    away: bool,
    lost: u64,
}

impl Way {
    fn new(name: &'static str, health: Arc<Health>, send: Send) -> Self {
        Self { name, send, backlog: VecDeque::new(), health, away: false, lost: 0 }
    }

    fn push(&mut self, told: Rc<Told>) {
        if self.backlog.len() >= MAX_BACKLOG {
            self.backlog.pop_front();
            self.lost = self.lost.saturating_add(1);
            self.health.lost.fetch_add(1, Ordering::Relaxed);
        }
        self.backlog.push_back(told);
    }

    /// Sends what waits; a change between here and away is returned as what to say of it.
    fn flush(&mut self) -> Option<String> {
        let late = self.backlog.len();
        while let Some(told) = self.backlog.front() {
            match (self.send)(told) {
                Ok(()) => {
                    self.backlog.pop_front();
                }
                Err(error) => {
                    let first = !std::mem::replace(&mut self.away, true);
                    self.health.away.store(true, Ordering::Relaxed);
                    return first.then(|| {
                        format!("{} does not take events ({error}); requests go on, the ledger is complete", self.name)
                    });
                }
            }
        }
        if !std::mem::replace(&mut self.away, false) {
            return None;
        }
        self.health.away.store(false, Ordering::Relaxed);
        let lost = std::mem::take(&mut self.lost);
        Some(format!("{} takes events again: {late} were late, {lost} are only in the ledger", self.name))
    }
}

fn work(receiver: &Receiver<Told>, ways: &mut [Way; 2]) {
    loop {
        let waiting = ways.iter().any(|way| !way.backlog.is_empty());
        let told = if waiting {
            match receiver.recv_timeout(RETRY) {
                Ok(told) => Some(told),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        } else {
            match receiver.recv() {
                Ok(told) => Some(told),
                Err(_) => return,
            }
        };
        if let Some(told) = told {
            let told = Rc::new(told);
            ways.iter_mut().for_each(|way| way.push(Rc::clone(&told)));
        }
        settle(ways);
    }
}

fn settle(ways: &mut [Way; 2]) {
    let changes: Vec<_> = ways.iter_mut().map(Way::flush).collect();
    for (changed, change) in changes.into_iter().enumerate() {
        let Some(text) = change else { continue };
        let told = Rc::new(Told::health(Severity::Warning, &text));
        for (place, way) in ways.iter_mut().enumerate() {
            // One that has just gone away is not told of itself; one that is back is.
            if place != changed || !way.away {
                way.push(Rc::clone(&told));
                // What this second sending finds out is said at the next round.
                if !way.away {
                    while let Some(told) = way.backlog.front() {
                        if (way.send)(told).is_err() {
                            break;
                        }
                        way.backlog.pop_front();
                    }
                }
            }
        }
    }
}

fn to_journal(journal: &Journal, told: &Told) -> io::Result<()> {
    let priority = (told.severity as u8).to_string();
    let mut fields: Vec<(&str, &[u8])> = vec![
        ("MESSAGE", told.message.as_bytes()),
        ("PRIORITY", priority.as_bytes()),
        ("SYSLOG_FACILITY", b"10"),
        ("SYSLOG_IDENTIFIER", b"jitsudod"),
    ];
    fields.extend(told.fields.iter().map(|(name, value)| (*name, value.as_bytes())));
    journal.send(&fields)
}

/// Where syslog lines go. Where /dev/log is journald's own, journald has the event already, with fields: the line goes to the
/// syslog daemon behind it, if there is one, so that either can be away without the other.
struct SyslogWay {
    wanted: PathBuf,
    path: PathBuf,
    syslog: Option<Syslog>,
}

impl SyslogWay {
    fn new(wanted: PathBuf) -> Self {
        Self { path: PathBuf::new(), wanted, syslog: None }
    }

    fn send(&mut self, told: &Told) -> io::Result<()> {
        let path = match std::fs::canonicalize(&self.wanted) {
            Ok(path) if path.starts_with(JOURNALS_OWN) => {
                if !Path::new(BEHIND_JOURNAL).exists() {
                    return Ok(());
                }
                PathBuf::from(BEHIND_JOURNAL)
            }
            Ok(_) | Err(_) => self.wanted.clone(),
        };
        if path != self.path {
            self.path = path;
            self.syslog = None;
        }
        self.syslog.get_or_insert_with(|| Syslog::new(&self.path, "jitsudod")).send(told.severity, &told.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    fn take(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut buffer = vec![0u8; 65_536];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    fn nothing_more(socket: &UnixDatagram) {
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0u8; 10];
        assert!(socket.recv(&mut buffer).is_err());
        socket.set_nonblocking(false).unwrap();
    }

    #[test]
    fn audit_log_08_absent_syslog_is_said_once_and_its_return_once() {
        let folder = crate::tests::folder("outputs");
        let (journal_path, syslog_path) = (folder.join("journal"), folder.join("log"));
        let journal = UnixDatagram::bind(&journal_path).unwrap();
        let mut outputs = Outputs::start(&journal_path, &syslog_path).unwrap();
        let tell = |outputs: &mut Outputs, text: &str| outputs.tell(Told::health(Severity::Info, text));
        tell(&mut outputs, "one");
        assert!(take(&journal).starts_with("MESSAGE=one\n"));
        assert!(take(&journal).starts_with("MESSAGE=syslog does not take events"));
        tell(&mut outputs, "two");
        assert!(take(&journal).starts_with("MESSAGE=two\n"));
        assert_eq!(outputs.are_up(), (true, false));
        let syslog = UnixDatagram::bind(&syslog_path).unwrap();
        assert!(take(&syslog).ends_with(": one"));
        assert!(take(&syslog).ends_with(": two"));
        assert!(take(&syslog).contains("syslog takes events again: 2 were late, 0 are only in the ledger"));
        assert!(take(&journal).contains("syslog takes events again"));
        assert_eq!(outputs.are_up(), (true, true));
        tell(&mut outputs, "three");
        drop(outputs);
        assert!(take(&journal).starts_with("MESSAGE=three\n"));
        nothing_more(&journal);
    }

    #[test]
    fn audit_log_08_backlog_is_bounded_and_drops_are_counted() {
        let health = Arc::new(Health::default());
        let mut way = Way::new("x", health, Box::new(|_| Err(io::ErrorKind::NotFound.into())));
        for _ in 0..MAX_BACKLOG + 10 {
            way.push(Rc::new(Told::health(Severity::Info, "x")));
        }
        assert_eq!((way.backlog.len(), way.health.lost.load(Ordering::Relaxed)), (MAX_BACKLOG, 10));
        assert!(way.flush().is_some());
        assert!(way.flush().is_none());
    }
}
