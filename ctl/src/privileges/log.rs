//! What was given, by the ledger and by what waits in the spool for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use jitsudo_core::event::{EndCause, Entry, Event};
use jitsudo_core::facts::Group;
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_core::lends::Effect;
use jitsudo_core::state::{Access, Given, State};
use jitsudo_ledger::Report;

/// Events that wait for the ledger's writer.
pub(super) const SPOOL: &str = "/var/lib/jitsudo/spool";
/// Largest spooled event taken, bytes.
const MAX_SPOOLED_BYTES: u64 = 64 << 10;

/// Both, added up.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The fold.
    pub(crate) state: State,
    /// What was proved of the ledger's chain.
    pub(crate) report: Report,
    /// Groups that accounts were ever lent, and by which grants.
    pub(crate) lent: BTreeMap<(u32, String), BTreeSet<AccessId>>,
    /// Gids that processes for accounts were ever lent, and by which grants.
    pub(crate) lent_gids: BTreeMap<(u32, u32), BTreeSet<AccessId>>,
    /// Audit sessions that ended commands had on this boot.
    pub(crate) audit_sessions: BTreeMap<u32, (String, SessionId)>,
    /// Until when commands may run that may finish past the end of their grant.
    pub(crate) finish: BTreeMap<SessionId, Timestamp>,
    /// Wall clock of the newest event.
    pub(crate) newest: Option<Timestamp>,
    /// Events that wait in the spool.
    pub(crate) spooled: usize,
    /// What could not be read.
    pub(crate) troubles: Vec<String>,
}

/// What the log says of an access whose rights or processes were seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Support {
    /// It is given, and not over.
    Live,
    /// It is over since so many milliseconds.
    Over(u64),
    /// It is over, and its end is on record as not complete.
    Unclean(String),
    /// It was never given.
    Never,
}

impl Log {
    /// Proves the ledger, reads it whole, then the spool.
    pub(super) fn read(ledger: &Path, spool: &Path) -> Result<Self, String> {
        let cannot = |error: std::io::Error| format!("cannot read the ledger {}: {error}", ledger.display());
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut log = Self { report: jitsudo_ledger::verify(ledger, &[], threads).map_err(cannot)?, ..Self::default() };
        for item in jitsudo_ledger::read(ledger, 0, |_| true).map_err(cannot)? {
            match item.map_err(|error| error.to_string()).and_then(|line| entry(&line.bytes)) {
                Ok(entry) => log.add(&entry),
                Err(why) => log.troubles.push(format!("the ledger: {why}")),
            }
        }
        log.add_spool(spool);
        Ok(log)
    }

    fn add_spool(&mut self, spool: &Path) {
        let mut waiting = Vec::new();
        for file in std::fs::read_dir(spool).into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            match jitsudo_sys::trusted::read(&file.path(), MAX_SPOOLED_BYTES) {
                // Folded in by the writer meanwhile.
                Ok(None) => {}
                Ok(Some(text)) => match entry(&text) {
                    Ok(mut entry) => {
                        entry.spool = Some(name);
                        waiting.push(entry);
                    }
                    Err(why) => self.troubles.push(format!("the spooled event {name}: {why}")),
                },
                Err(error) => self.troubles.push(error.to_string()),
            }
        }
        self.spooled = waiting.len();
        waiting.sort_by_key(|entry| entry.boottime_ms);
        waiting.iter().for_each(|entry| self.add(entry));
    }

    pub(super) fn add(&mut self, entry: &Entry) {
        self.state.apply(entry);
        self.newest = self.newest.max(Some(entry.wall));
        match &entry.event {
            Event::EffectApplied { id, effect: Effect::Membership(group), ours: true } => {
                if let Some(access) = self.state.access(id) {
                    let key = (access.asked_for().uid.0, group.clone());
                    self.lent.entry(key).or_default().insert(id.clone());
                }
            }
            Event::Activating { id, groups, .. } => self.lend(id, groups),
            Event::SessionStarting { session, under, groups, .. } => {
                self.lend(&session.access, groups);
                let of_grant = self.given(&session.access).filter(|given| !given.is_role());
                let until = of_grant.and_then(Given::processes_end_at);
                if let Some(until) = until.or_else(|| under.as_ref().and_then(|under| under.processes_end_at)) {
                    self.finish.insert(session.clone(), until);
                }
            }
            Event::SessionExit { session, audit_session: Some(audit), .. } => {
                self.audit_sessions.insert(*audit, (entry.boot.clone(), session.clone()));
            }
            _ => {}
        }
    }

    fn lend(&mut self, id: &AccessId, groups: &[Group]) {
        let Some(uid) = self.state.access(id).map(|access| access.asked_for().uid.0) else { return };
        for group in groups {
            self.lent_gids.entry((uid, group.gid.0)).or_default().insert(id.clone());
        }
    }

    /// What was given by an access, where anything was.
    pub(super) fn given(&self, id: &AccessId) -> Option<&Given> {
        self.state.access(id).and_then(Access::given)
    }

    /// Whether an access gives anything now.
    pub(super) fn support(&self, id: &AccessId, now: &Now) -> Support {
        let Some(access) = self.state.access(id) else { return Support::Never };
        let since = |at: Timestamp| milliseconds(now.wall.duration_since(at).as_millis());
        let over = match access {
            Access::Waiting(_) | Access::Approved(_) => return Support::Never,
            Access::Refused(_) | Access::Lapsed(_) | Access::Withdrawn(_) => return Support::Never,
            Access::Failed(failed) => since(failed.at),
            Access::Closed(closed) => since(closed.at),
            Access::Ended(ended) => since(ended.at),
            Access::Activating(given) | Access::Active(given) => match over_for(given, now) {
                None => return Support::Live,
                Some(over) => over,
            },
            // Nothing was given, whatever becomes of it.
            _ => return Support::Never,
        };
        match access.given().and_then(|given| given.unclean.clone()) {
            Some(cause) => Support::Unclean(cause),
            None => Support::Over(over),
        }
    }

    /// Milliseconds since a command should be gone that may finish past the end of its grant: 0 while it may. `None` for one that may not,
    /// and where another cause than the time ended the grant.
    pub(super) fn finishes(&self, session: &SessionId, now: &Now) -> Option<u64> {
        let until = self.finish.get(session)?;
        let given = match self.state.access(&session.access)? {
            Access::Activating(given) | Access::Active(given) => given,
            Access::Ended(ended) if ended.cause == EndCause::WindowOver => &ended.given,
            _ => return None,
        };
        (given.ends.boot == now.boot).then(|| milliseconds(now.wall.duration_since(*until).as_millis()))
    }

    /// True when the host may not be compared with it: it is not whole.
    pub(super) fn flaws(&self) -> Vec<String> {
        let mut flaws: Vec<String> = self.report.bad.iter().map(ToString::to_string).collect();
        if self.report.unfinished > 0 {
            flaws.push(format!("{} bytes of an unfinished line at the end of the ledger", self.report.unfinished));
        }
        flaws.extend(self.troubles.iter().cloned());
        flaws
    }
}

/// When the host was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Now {
    pub(crate) wall: Timestamp,
    pub(crate) boottime_ms: u64,
    pub(crate) boot: String,
}

/// Milliseconds since a grant is over by the clock that was first; `None` while it is not.
fn over_for(given: &Given, now: &Now) -> Option<u64> {
    let ends = &given.ends;
    if ends.boot != now.boot {
        return Some(now.boottime_ms);
    }
    let by_boot = now.boottime_ms.checked_sub(ends.boottime_ms);
    let by_wall = (now.wall >= ends.at).then(|| milliseconds(now.wall.duration_since(ends.at).as_millis()));
    by_boot.max(by_wall)
}

fn milliseconds(number: i128) -> u64 {
    u64::try_from(number.max(0)).unwrap_or(u64::MAX)
}

fn entry(text: &[u8]) -> Result<Entry, String> {
    Entry::read(text).map_err(|error| error.to_string())
}
