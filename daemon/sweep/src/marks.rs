//! Commands whose end has passed, by their marks: what is left in the cgroup of one, or carries its audit session, is killed.
//!
//! A session ends its command by itself, and a spawner looks for what got away from it. This is for when neither lives, or hangs.
//!
//! MUSTs
//! 1. A process is held by a pidfd, the criterion is read once more, and only then it is signalled (`Hunt::look`).
//! 2. What is in the groups of other sessions, and the sessions themselves where they have groups, are left alone (`hunted_*`).
//! 3. A mark goes only when nothing carries it any more (`end`).

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use jitsudo_core::event::Event;
use jitsudo_link::folder::{Folder, Named as _};
use jitsudo_link::marks::Mark;
use jitsudo_link::notes::{Note, Notes};
use jitsudo_sys::nix::libc::SIGKILL;
use jitsudo_sys::{login, pidfd, process};

use crate::over::{self, Now, Which};
use crate::record::{self, Recorder};

/// Where cgroups are.
const CGROUPS: &str = "/sys/fs/cgroup";
/// Walks through all processes, until nothing is found.
const WALKS: u32 = 20;
/// Pause between two.
const PAUSE: Duration = Duration::from_millis(50);

/// Kills what is due; false when something of it is left, or a mark could not be read.
pub(crate) fn end(folder: &Folder<Mark>, notes: &Notes, recorder: &Recorder, which: Which) -> bool {
    let listing = folder.read_all();
    for (path, why) in &listing.garbage {
        recorder.say(&format!("cannot read the mark {}: {why}; what it marks may run on", path.display()));
    }
    let is_due = |mark: &Mark| is_due(mark, || notes.of(&mark.session.access), which, &record::now());
    let due: Vec<Mark> = listing.notes.into_iter().filter(is_due).collect();
    let mut hunt = Hunt { by_session: BTreeMap::new(), killed: BTreeMap::new() };
    for (place, mark) in due.iter().enumerate() {
        if let Some(session) = mark.audit_session.filter(|session| *session != u32::MAX) {
            hunt.by_session.insert(session, place);
        }
        kill_group(mark);
    }
    let mut is_whole = true;
    for walk in 0..WALKS {
        let found = hunt.walk(&due);
        is_whole = found.is_some();
        if found == Some(0) || (hunt.by_session.is_empty() && walk > 0) {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    let mut is_clean = listing.garbage.is_empty() && is_whole;
    for (place, mark) in due.iter().enumerate() {
        let Mark { session, host, .. } = mark;
        if let Some(count) = hunt.killed.get(&place) {
            let signal = u8::try_from(SIGKILL).unwrap_or(0);
            let event = Event::Signalled { session: session.clone(), count: *count, signal };
            recorder.record(host, &format!("1.mark.{}", session.number), event);
        }
        if is_populated(mark) || hunt.is_carried(&due, place) {
            recorder.say(&format!("{session}: what it ran is there still after SIGKILL"));
            is_clean = false;
        } else if is_whole && !supervised(mark) {
            // Its session, where that hangs, is what carries it still: then it stays.
            if let Err(error) = folder.remove(&mark.name()) {
                recorder.say(&format!("{session}: cannot remove its mark: {error}"));
            }
        }
    }
    is_clean
}

/// Whether what is marked may not run any more.
fn is_due(mark: &Mark, role: impl Fn() -> Result<Option<Note>, String>, which: Which, now: &Now) -> bool {
    // What may finish after its role has an end of its own, and a role whose note is gone was closed.
    let is_over = || mark.held && matches!(role(), Ok(None));
    which == Which::All || over::has_passed(&mark.ends, now) || is_over()
}

/// One look at all processes.
struct Hunt {
    /// Places of the marks, by audit session.
    by_session: BTreeMap<u32, usize>,
    /// How many were killed, by place.
    killed: BTreeMap<usize, u32>,
}

impl Hunt {
    /// Kills what carries one of the audit sessions; how many did, `None` where processes cannot be listed.
    fn walk(&mut self, due: &[Mark]) -> Option<usize> {
        let pids = if self.by_session.is_empty() { Vec::new() } else { process::all().ok()? };
        Some(pids.into_iter().filter(|pid| self.look(due, *pid)).count())
    }

    fn look(&mut self, due: &[Mark], pid: u32) -> bool {
        if self.place_of(due, pid).is_none() {
            return false;
        }
        // It is held first and judged again: the number may have been given to another meanwhile.
        let Ok(held) = pidfd::open(pid) else { return false };
        let Some(place) = self.place_of(due, pid).filter(|_| pidfd::is_alive(held.as_fd())) else { return false };
        if pidfd::signal(held.as_fd(), SIGKILL).is_ok() {
            let killed = self.killed.entry(place).or_default();
            *killed = killed.saturating_add(1);
        }
        true
    }

    fn place_of(&self, due: &[Mark], pid: u32) -> Option<usize> {
        let place = *self.by_session.get(&process::audit_session(pid).ok()??)?;
        is_hunted(due.get(place)?, &login::group_of(pid)?).then_some(place)
    }

    fn is_carried(&self, due: &[Mark], place: usize) -> bool {
        let pids = if self.by_session.values().any(|one| *one == place) { process::all() } else { Ok(Vec::new()) };
        pids.map_or(true, |pids| {
            let alive = |pid: u32| pidfd::open(pid).is_ok_and(|held| pidfd::is_alive(held.as_fd()));
            pids.into_iter().any(|pid| self.place_of(due, pid) == Some(place) && alive(pid))
        })
    }
}

/// Whether a process in this group, which carries a mark, is to be killed: below the spawner's own group only in the mark's own.
fn is_hunted(mark: &Mark, group: &str) -> bool {
    let path = format!("{CGROUPS}{group}");
    let own = mark.cgroup.as_deref().map(Path::new);
    let base = own.and_then(Path::parent).filter(|base| *base != Path::new(CGROUPS));
    let is_in = |folder: Option<&Path>| folder.is_some_and(|folder| Path::new(&path).starts_with(folder));
    is_in(own) || !is_in(base)
}

/// Kills the command's whole group; a frozen one would keep its dead.
fn kill_group(mark: &Mark) {
    if is_populated(mark)
        && let Some(group) = &mark.cgroup
    {
        // What stays is told.
        let _ = fs::write(Path::new(group).join("cmd/cgroup.freeze"), "0");
        let _ = fs::write(Path::new(group).join("cmd/cgroup.kill"), "1");
    }
}

fn is_populated(mark: &Mark) -> bool {
    let events = mark.cgroup.as_ref().map(|group| fs::read_to_string(Path::new(group).join("cmd/cgroup.events")));
    events.is_some_and(|events| events.is_ok_and(|text| text.lines().any(|line| line == "populated 1")))
}

/// True while its groups are there: whoever is responsible for them has not looked yet.
fn supervised(mark: &Mark) -> bool {
    mark.cgroup.as_ref().is_some_and(|group| Path::new(group).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_core::state::Ends;

    fn mark(held: bool) -> Mark {
        Mark {
            session: jitsudo_core::id::SessionId::try_from("01jd0000000000000000000000.1".to_owned()).unwrap(),
            host: "h".to_owned(),
            audit_session: Some(7),
            cgroup: Some(format!("{CGROUPS}/system.slice/jitsudo-spawn.service/01jd0000000000000000000000.1")),
            ends: Ends { at: "2026-01-01T01:00:00Z".parse().unwrap(), boottime_ms: 60_000, boot: "b1".to_owned() },
            held,
        }
    }

    #[test]
    fn hunted_is_what_left_the_spawners_groups_and_what_is_in_its_own() {
        let base = "/system.slice/jitsudo-spawn.service";
        for (group, wanted) in [
            ("/user.slice/user-1001.slice/session-4.scope".to_owned(), true),
            ("/".to_owned(), true),
            (format!("{base}/01jd0000000000000000000000.1/cmd"), true),
            (format!("{base}/01jd0000000000000000000000.1/cmd/deeper"), true),
            (format!("{base}/01jd0000000000000000000000.10/cmd"), false),
            (format!("{base}/sup.4"), false),
            (base.to_owned(), false),
            (format!("{base}.d/sup.4"), true),
            (format!("/user.slice{base}/sup.4"), true),
        ] {
            assert_eq!(is_hunted(&mark(false), &group), wanted, "{group}");
        }
        assert!(is_hunted(&Mark { cgroup: None, ..mark(false) }, base));
    }

    #[test]
    fn due_is_what_has_passed_and_what_belongs_to_a_role_that_is_closed() {
        let now =
            |boottime_ms| Now { wall: "2026-01-01T00:00:00Z".parse().unwrap(), boottime_ms, boot: "b1".to_owned() };
        let unread = || Err("garbage".to_owned());
        assert!(!is_due(&mark(true), unread, Which::Over, &now(64_999)));
        assert!(is_due(&mark(true), unread, Which::Over, &now(65_000)));
        assert!(is_due(&mark(false), unread, Which::All, &now(1)));
        assert!(is_due(&mark(true), || Ok(None), Which::Over, &now(1)));
        assert!(!is_due(&mark(false), || Ok(None), Which::Over, &now(1)), "a command of its own has no role");
    }
}
