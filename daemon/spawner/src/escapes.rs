//! What got away from a session, or kept a group that a grant lent: found by two criteria and no other, and ended.
//!
//! The cgroup of a session is the session's own to empty. Beyond it a process is taken for the session's only by the audit session that
//! the session's own login uid made (su and pam_systemd move a process, and leave that), or by a group that jitsudo lent to its account and
//! that the group file does not give it. One walk through /proc looks for all that has ended, some processes at a time, so that nobody
//! waits for it.
//!
//! MUSTs
//! 1. Nothing is ever killed for running as root, and no unset audit session is looked for (`nothing_is_looked_for_as_root`).
//! 2. A process is held by a pidfd, the criterion is read once more, and only then it is signalled (`Walk::look`).
//! 3. What runs in a session that lends it, or was given to the host, keeps its group (`group_is_kept_where_it_is_lent`).
//! 4. What cannot be read speaks against a kill, and nothing is closed before it was read (`host_that_cannot_be_read_*`).

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd as _;

use jitsudo_core::event::Event;
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_link::folder::Folder;
use jitsudo_link::lent::{Lending, Lendings};
use jitsudo_link::marks::Mark;
use jitsudo_sys::nix::libc::{SIGHUP, SIGKILL, SIGTERM};
use jitsudo_sys::process::{self, Ids};
use jitsudo_sys::{descendants, pidfd};

use self::databases::Databases;

mod databases;

/// Processes looked at in one turn of the loop.
const TURN: usize = 256;
/// Milliseconds between two walks that look for the same.
const SOON_MS: u64 = 100;
/// Milliseconds between two walks for audit sessions alone: commands end all the time.
const PAUSE_MS: u64 = 1_000;
/// Walks that must find no carrier of a group: one that was born behind the first is found by the second.
const CLEAN_WALKS: u8 = 2;
/// How long what a membership let in has to end by itself, milliseconds.
const GRACE_MS: u64 = 1_000;
/// After which time it is told that something does not end, milliseconds.
const PATIENCE_MS: u64 = 3_000;
/// Most records of what got one signal for one session.
const MAX_TOLD: u8 = 4;

/// A session that is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gone {
    /// The audit session that its own login uid made, if it is known.
    pub(crate) audit_session: Option<u32>,
    /// Its programs are the host's.
    pub(crate) released: bool,
    /// Until when what it left may run, CLOCK_BOOTTIME milliseconds.
    pub(crate) until_ms: u64,
}

/// What is looked for on behalf of something that has ended.
#[derive(Debug)]
struct Ended {
    access: AccessId,
    /// The session that it is recorded for; of a membership the conversation in which it was given.
    session: SessionId,
    /// Account and groups that it was lent.
    lent: Option<(u32, Vec<u32>)>,
    audit_session: Option<u32>,
    since_ms: u64,
    /// What only the audit session marks may run until then.
    due_ms: u64,
    /// From when on what is found is killed, not asked to end.
    kill_ms: u64,
    /// When it is looked for next.
    next_ms: u64,
    /// Those that were asked to end.
    asked: BTreeSet<u32>,
    clean: u8,
    /// The signal that was recorded last, and how often.
    told: (i32, u8),
    failed: bool,
}

/// One walk through /proc.
#[derive(Debug)]
struct Walk {
    /// For whom.
    places: BTreeSet<usize>,
    pids: std::vec::IntoIter<u32>,
    /// Account and group file; unread where nobody looks for a group.
    databases: Option<Databases>,
    /// Processes found, with the signal that they got, if any.
    found: BTreeMap<usize, Vec<(String, Option<i32>)>>,
    /// It saw all that there is to see.
    whole: bool,
}

/// In which of our groups a process is: the session's name, or that of a session's own group.
pub(crate) type Inside<'a> = &'a dyn Fn(u32) -> Option<String>;

/// What sessions are lent, and what is looked for of those that have ended.
#[derive(Debug)]
pub(crate) struct Escapes {
    records: Lendings,
    marks: Folder<Mark>,
    /// By session, while it runs and until nothing carries it any more.
    lendings: BTreeMap<SessionId, Lending>,
    /// Sessions whose programs are the host's.
    released: BTreeSet<SessionId>,
    ended: Vec<Ended>,
    walk: Option<Walk>,
    last_ms: u64,
}

impl Escapes {
    /// Takes up what an earlier spawner noted: sessions that are not `running` have ended. What has groups still, no session and no mark is
    /// the host's. A mark of another boot is of nothing that runs. In words what cannot be read.
    pub(crate) fn load(
        (records, marks): (Lendings, Folder<Mark>),
        found: Vec<Mark>,
        running: impl Fn(&SessionId) -> bool,
        held: impl Fn(&AccessId) -> bool,
        mut left: BTreeSet<SessionId>,
        (boot, now_ms): (&str, u64),
    ) -> (Self, Result<(), String>) {
        let (lent, trouble) = match records.read() {
            Ok(lent) => (lent, Ok(())),
            Err(cause) => (Vec::new(), Err(cause)),
        };
        let mut gone = BTreeMap::new();
        for mark in found.into_iter().filter(|mark| !running(&mark.session)) {
            // What ran under a role that is over has no time left.
            let is_over = mark.ends.boot != boot || (mark.held && !held(&mark.session.access));
            let until_ms = if is_over { 0 } else { mark.ends.boottime_ms };
            left.remove(&mark.session);
            gone.insert(mark.session, Gone { audit_session: mark.audit_session, released: false, until_ms });
        }
        let (lendings, ended) = (BTreeMap::new(), Vec::new());
        let mut escapes = Self { records, marks, lendings, released: left, ended, walk: None, last_ms: 0 };
        for lending in lent {
            let session = lending.session.clone();
            escapes.lendings.insert(session.clone(), lending);
            if !running(&session) {
                gone.entry(session).or_insert(Gone { audit_session: None, released: false, until_ms: 0 });
            }
        }
        for (session, gone) in gone {
            escapes.session_ended(&session, gone, now_ms);
        }
        (escapes, trouble)
    }

    /// Notes what a session is lent, before it has it.
    ///
    /// # Errors
    /// The system's: then it may not begin.
    pub(crate) fn lend(&mut self, lending: Lending) -> std::io::Result<()> {
        self.records.write(&lending)?;
        jitsudo_sys::failpoint::reach("spawner.lent.noted");
        self.lendings.insert(lending.session.clone(), lending);
        Ok(())
    }

    /// It did not begin.
    pub(crate) fn not_begun(&mut self, session: &SessionId) {
        self.forget(session);
    }

    /// A session is gone: what it was lent, and what its audit session marks, is looked for, unless its programs are the host's.
    pub(crate) fn session_ended(&mut self, session: &SessionId, gone: Gone, now_ms: u64) {
        if gone.released {
            self.released.insert(session.clone());
            // It removed its mark before it said so, unless that failed.
            let _ = self.marks.remove(&session.to_string());
            return;
        }
        let lent = self.lendings.get(session).map(of).filter(|(uid, _)| *uid != 0);
        if lent.is_none() {
            self.forget(session);
        }
        let audit_session = gone.audit_session.filter(|number| *number != u32::MAX);
        let next_ms = match (&lent, audit_session) {
            (None, None) => {
                let _ = self.marks.remove(&session.to_string());
                return;
            }
            (Some(_), _) => now_ms,
            (None, Some(_)) => now_ms.saturating_add(SOON_MS).max(self.last_ms.saturating_add(PAUSE_MS)),
        };
        self.ended.push(Ended {
            access: session.access.clone(),
            session: session.clone(),
            lent,
            audit_session,
            since_ms: now_ms,
            due_ms: gone.until_ms,
            kill_ms: now_ms,
            next_ms,
            asked: BTreeSet::new(),
            clean: 0,
            told: (0, 0),
            failed: false,
        });
    }

    /// A membership of an account is gone from the group file: who came in by it keeps the group, and is looked for.
    pub(crate) fn membership_ended(&mut self, access: &AccessId, uid: u32, gid: u32, now_ms: u64) {
        if uid == 0 {
            return;
        }
        self.ended.push(Ended {
            access: access.clone(),
            session: SessionId { access: access.clone(), number: 0 },
            lent: Some((uid, vec![gid])),
            audit_session: None,
            since_ms: now_ms,
            due_ms: now_ms,
            kill_ms: now_ms.saturating_add(GRACE_MS),
            next_ms: now_ms,
            asked: BTreeSet::new(),
            clean: 0,
            told: (0, 0),
            failed: false,
        });
    }

    /// The end of an access: what its sessions left may not run any longer.
    pub(crate) fn access_ended(&mut self, access: &AccessId, now_ms: u64) {
        for ended in self.ended.iter_mut().filter(|ended| ended.access == *access && ended.due_ms > now_ms) {
            ended.due_ms = now_ms;
            ended.next_ms = ended.next_ms.min(now_ms);
        }
    }

    /// The accesses of which something is looked for, or was found and not ended yet.
    pub(crate) fn accesses(&self) -> impl Iterator<Item = &AccessId> {
        self.ended.iter().map(|ended| &ended.access)
    }

    /// When [`Self::step`] has something to do, CLOCK_BOOTTIME milliseconds.
    pub(crate) fn next(&self) -> Option<u64> {
        if self.walk.is_some() { Some(0) } else { self.ended.iter().map(|ended| ended.next_ms).min() }
    }

    /// Looks at the next processes, and ends those that are found. Without `inside` no groups can be made.
    pub(crate) fn step(&mut self, inside: Option<Inside<'_>>, now_ms: u64) -> Vec<Event> {
        let walk = self.walk.take().or_else(|| self.begin(now_ms));
        let Some(mut walk) = walk else { return Vec::new() };
        for _ in 0..TURN {
            let Some(pid) = walk.pids.next() else {
                return self.conclude(walk, now_ms);
            };
            self.look(&mut walk, pid, inside, now_ms);
        }
        self.walk = Some(walk);
        Vec::new()
    }

    fn begin(&mut self, now_ms: u64) -> Option<Walk> {
        let due = self.ended.iter().enumerate().filter(|(_, ended)| ended.next_ms <= now_ms);
        let places: BTreeSet<usize> = due.map(|(place, _)| place).collect();
        if places.is_empty() {
            return None;
        }
        self.last_ms = now_ms;
        let groups = places.iter().any(|place| self.ended.get(*place).is_some_and(|ended| ended.lent.is_some()));
        let databases = groups.then(Databases::read).transpose();
        let pids = process::all();
        Some(Walk {
            places,
            whole: databases.is_ok() && pids.is_ok(),
            pids: pids.unwrap_or_default().into_iter(),
            databases: databases.unwrap_or_default(),
            found: BTreeMap::new(),
        })
    }

    /// Signals a process if it is one that is looked for.
    fn look(&mut self, walk: &mut Walk, pid: u32, inside: Option<Inside<'_>>, now_ms: u64) {
        if self.matching(walk, pid, inside, now_ms).is_empty() {
            return;
        }
        // It is held first and judged again: the number may have been given to another meanwhile.
        let Ok(held) = pidfd::open(pid) else { return };
        let matching = self.matching(walk, pid, inside, now_ms);
        if !pidfd::is_alive(held.as_fd()) {
            return;
        }
        let name = descendants::name(pid).map(|name| String::from_utf8_lossy(&name).into_owned()).unwrap_or_default();
        for (place, may_run) in matching {
            let Some(ended) = self.ended.get_mut(place) else { continue };
            let signals = match () {
                () if may_run => &[][..],
                () if ended.kill_ms <= now_ms => &[SIGKILL][..],
                () if ended.asked.insert(pid) => &[SIGHUP, SIGTERM][..],
                () => &[][..],
            };
            for signal in signals {
                // One that is gone by itself is no failure; one that cannot be killed is found again.
                let _ = pidfd::signal(held.as_fd(), *signal);
            }
            walk.found.entry(place).or_default().push((name.clone(), signals.last().copied()));
        }
    }

    /// For which entries a process is looked for, and for each whether it may run for now.
    fn matching(&self, walk: &Walk, pid: u32, inside: Option<Inside<'_>>, now_ms: u64) -> Vec<(usize, bool)> {
        let entries: Vec<(usize, &Ended)> =
            walk.places.iter().filter_map(|place| Some((*place, self.ended.get(*place)?))).collect();
        let by_audit = entries.iter().any(|(_, ended)| ended.audit_session.is_some());
        let audit_session = if by_audit { process::audit_session(pid).ok().flatten() } else { None };
        let ids = walk.databases.as_ref().and_then(|_| process::ids(pid).ok());
        let is_marked = |ended: &Ended| audit_session.is_some() && audit_session == ended.audit_session;
        let carried = |ended: &Ended| {
            let both = ids.as_ref().zip(ended.lent.as_ref());
            both.map(|(ids, lent)| carries(ids, lent).collect::<Vec<_>>()).unwrap_or_default()
        };
        let mut home = None;
        let mut found = Vec::new();
        for (place, ended) in entries {
            let (marked, carried) = (is_marked(ended), carried(ended));
            if !marked && carried.is_empty() {
                continue;
            }
            let home: &Option<String> = home.get_or_insert_with(|| inside.and_then(|inside| inside(pid)));
            let uid = ended.lent.as_ref().map_or(0, |(uid, _)| *uid);
            let gives = |gid: u32| walk.databases.as_ref().is_none_or(|databases| databases.gives(uid, gid));
            let lent_there = |gid: u32| self.is_lent_there(home.as_deref(), inside.is_some(), uid, gid);
            let kept = carried.into_iter().any(|gid| !gives(gid) && !lent_there(gid));
            // What is in a session's groups is that session's to end.
            if kept || (marked && home.is_none()) {
                found.push((place, !kept && ended.due_ms > now_ms));
            }
        }
        found
    }

    /// Whether a process may have a group because of the session that it is in.
    fn is_lent_there(&self, home: Option<&str>, groups_are_made: bool, uid: u32, gid: u32) -> bool {
        let lends = |lending: &Lending| lending.uid.0 == uid && lending.gids.iter().any(|one| one.0 == gid);
        if !groups_are_made {
            // Whose it is cannot be told: it is left while any session that runs lends this.
            let has_ended = |session: &SessionId| self.ended.iter().any(|ended| ended.session == *session);
            return self.lendings.iter().any(|(session, lending)| lends(lending) && !has_ended(session));
        }
        let Some(Ok(session)) = home.map(|home| SessionId::try_from(home.to_owned())) else { return false };
        self.released.contains(&session) || self.lendings.get(&session).is_some_and(lends)
    }

    /// A walk is over: what it found is told, what it did not find any more is done.
    fn conclude(&mut self, walk: Walk, now_ms: u64) -> Vec<Event> {
        let mut events = Vec::new();
        let mut done = BTreeSet::new();
        for place in walk.places {
            let Some(ended) = self.ended.get_mut(place) else { continue };
            ended.next_ms = now_ms.saturating_add(SOON_MS);
            let Some(found) = walk.found.get(&place) else {
                ended.clean = if walk.whole { ended.clean.saturating_add(1) } else { 0 };
                if ended.clean >= if ended.lent.is_some() { CLEAN_WALKS } else { 1 } {
                    done.insert(place);
                }
                continue;
            };
            ended.clean = 0;
            let signal = found.iter().filter_map(|(_, signal)| *signal).max_by_key(|signal| *signal == SIGKILL);
            if let Some(signal) = signal.filter(|signal| *signal != ended.told.0 || ended.told.1 < MAX_TOLD) {
                let before = if signal == ended.told.0 { ended.told.1 } else { 0 };
                ended.told = (signal, before + 1);
                let count = found.iter().filter(|(_, signal)| signal.is_some()).count();
                events.push(Event::Signalled {
                    session: ended.session.clone(),
                    count: u32::try_from(count).unwrap_or(u32::MAX),
                    signal: u8::try_from(signal).unwrap_or(0),
                });
            } else if ended.due_ms > now_ms {
                ended.next_ms = ended.due_ms;
            }
            let late = now_ms >= ended.since_ms.max(ended.due_ms).saturating_add(PATIENCE_MS);
            if late && !ended.failed && signal == Some(SIGKILL) {
                ended.failed = true;
                let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
                let cause = format!("still running after SIGKILL: {}", names.join(", "));
                events.push(Event::CleanupFailed { id: ended.access.clone(), cause });
            }
        }
        let mut place = 0..;
        let (over, open) = std::mem::take(&mut self.ended)
            .into_iter()
            .partition(|_| place.next().is_some_and(|place| done.contains(&place)));
        self.ended = open;
        let over: Vec<Ended> = over;
        for ended in &over {
            self.forget(&ended.session);
            // One that stays is looked for once more by whoever begins anew.
            let _ = self.marks.remove(&ended.session.to_string());
        }
        events
    }

    fn forget(&mut self, session: &SessionId) {
        if self.lendings.remove(session).is_some() {
            // One that stays says that something is lent which nobody has, until the next start looks for it once more.
            let _ = self.records.remove(session);
        }
    }
}

fn of(lending: &Lending) -> (u32, Vec<u32>) {
    (lending.uid.0, lending.gids.iter().map(|gid| gid.0).collect())
}

/// The groups that a process of this account has of those that were lent to it.
fn carries<'a>(ids: &'a Ids, lent: &'a (u32, Vec<u32>)) -> impl Iterator<Item = u32> + 'a {
    let [real, ..] = ids.uids;
    let has = |gid: &&u32| ids.gids.contains(*gid) || ids.groups.contains(*gid);
    lent.1.iter().filter(move |_| real == lent.0 && real != 0).filter(has).copied()
}

#[cfg(test)]
mod tests;
