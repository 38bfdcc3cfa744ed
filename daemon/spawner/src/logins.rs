//! Logins to gated accounts that belong to a role that is held: each has a note (`link::logins`), and ends with the role.
//!
//! What belongs to a login is `sys::login`'s to say. While no spawner lives `jitsudo-sweep` does the same by the same notes.
//!
//! MUSTs
//! 1. A login is noted before it is let in (`open`).
//! 2. A restarted spawner finds them again, and ends those whose role it does not hold any more (`Logins::load`).

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use jitsudo_core::event::Event;
use jitsudo_core::id::AccessId;
use jitsudo_core::state::Ends;
use jitsudo_link::folder::{Folder, Named as _};
use jitsudo_link::logins::{self as notes, Login as Note};
use jitsudo_sys::login::{self, Traces};
use jitsudo_sys::nix::libc;
use jitsudo_sys::{pidfd, process};

/// How long the scope of a new login is looked for often, milliseconds.
const YOUNG_MS: u64 = 5_000;
/// Pause between looks while a login is young or ending, milliseconds.
const OFTEN_MS: u64 = 100;
/// Pause between looks at other times, milliseconds.
const SELDOM_MS: u64 = 1_000;

/// One login.
#[derive(Debug)]
struct Login {
    note: Note,
    young_until_ms: u64,
    /// When what is left is killed.
    kill_ms: Option<u64>,
    killed: u32,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Logins {
    notes: Folder<Note>,
    all: Vec<Login>,
    /// When they are looked at next.
    next_ms: u64,
}

impl Logins {
    /// Finds what an earlier spawner noted; and in words what of it nobody can read any more.
    pub(crate) fn load(now_ms: u64) -> (Self, Vec<String>) {
        let notes = notes::folder();
        let listing = notes.read_all();
        // By its number alone no process is signalled: it may be another's by now.
        let told = |(path, why): &(PathBuf, String)| {
            let path = path.display();
            format!("a login under a role may outlast it: its note {path} cannot be read: {why}; see `loginctl`")
        };
        let trouble = listing.garbage.iter().map(told).collect();
        let known = |note| Login { note, young_until_ms: now_ms, kill_ms: None, killed: 0 };
        (Self { notes, all: listing.notes.into_iter().map(known).collect(), next_ms: 0 }, trouble)
    }

    /// The roles that logins belong to.
    pub(crate) fn roles(&self) -> BTreeSet<AccessId> {
        self.all.iter().map(|login| login.note.id.clone()).collect()
    }

    /// A login belongs to a role from now on. False when it cannot be noted: then it must not begin.
    pub(crate) fn open(
        &mut self,
        (id, host, ends): (&AccessId, &str, Option<Ends>),
        (account, uid, service): (&str, Option<u32>, &str),
        (pid, asker): (u32, OwnedFd),
        now_ms: u64,
    ) -> bool {
        let Ok(start_ticks) = process::start_ticks(pid) else { return false };
        let note = Note {
            id: id.clone(),
            host: host.to_owned(),
            account: account.to_owned(),
            uid,
            service: service.to_owned(),
            ends,
            pid,
            start_ticks,
            since_ticks: login::ticks_now(),
            group: login::group_of(pid),
            scope: None,
            audit_before: process::audit_session(pid).ok().flatten(),
            audit_session: None,
        };
        // Alive still: what was read is its own.
        if !pidfd::is_alive(asker.as_fd()) || self.notes.write(&note).is_err() {
            return false;
        }
        jitsudo_sys::failpoint::reach("spawner.login.noted");
        self.all.push(Login { note, young_until_ms: now_ms.saturating_add(YOUNG_MS), kill_ms: None, killed: 0 });
        self.next_ms = 0;
        true
    }

    /// Begins the end of a role's logins: asked first, killed after the grace.
    pub(crate) fn begin_end(&mut self, id: &AccessId, now_ms: u64, grace_ms: u64) {
        for login in self.all.iter_mut().filter(|login| login.note.id == *id && login.kill_ms.is_none()) {
            login.find(&self.notes);
            login.kill_ms = Some(now_ms.saturating_add(grace_ms));
            // A shell minds no TERM, but its terminal's end.
            let _ = login.traces().signal(libc::SIGTERM);
            let _ = login.traces().signal(libc::SIGHUP);
            self.next_ms = 0;
        }
    }

    /// The roles of whose logins anything is left.
    pub(crate) fn accesses(&self) -> impl Iterator<Item = &AccessId> {
        self.all.iter().map(|login| &login.note.id)
    }

    /// Looks after all of them when it is time to; gives what is to be recorded.
    pub(crate) fn on_time(&mut self, now_ms: u64) -> Vec<Event> {
        let mut over = Vec::new();
        if now_ms < self.next_ms {
            return over;
        }
        let notes = &self.notes;
        self.all.retain_mut(|login| {
            login.find(notes);
            if login.kill_ms.is_some_and(|kill_ms| kill_ms <= now_ms) {
                login.killed = login.killed.saturating_add(login.traces().signal(libc::SIGKILL));
            }
            let is_left = !login.traces().targets().is_empty();
            if !is_left {
                let Note { id, account, pid, .. } = &login.note;
                let (id, account, pid) = (id.clone(), account.clone(), *pid);
                over.push(Event::LoginClosed { id, account, pid, killed: login.killed });
                let _ = notes.remove(&login.note.name());
            }
            is_left
        });
        self.next_ms = self.pause_ms(now_ms).map_or(0, |pause| now_ms.saturating_add(pause));
        over
    }

    /// How long nobody has to look, milliseconds; `None` when there is nothing to look after.
    pub(crate) fn pause_ms(&self, now_ms: u64) -> Option<u64> {
        let often = |login: &Login| login.kill_ms.is_some() || login.young_until_ms > now_ms;
        let pause = if self.all.iter().any(often) { OFTEN_MS } else { SELDOM_MS };
        (!self.all.is_empty()).then_some(pause)
    }
}

impl Login {
    fn traces(&self) -> Traces<'_> {
        let Note { uid, pid, start_ticks, since_ticks, audit_before, audit_session, .. } = self.note;
        let (group, scope) = (self.note.group.as_deref(), self.note.scope.as_deref());
        Traces { uid, pid, start_ticks, since_ticks, group, scope, audit_before, audit_session }
    }

    /// logind moves who asked into a scope of its own when the session is opened, after the module has asked; the login uid is written
    /// then too.
    fn find(&mut self, notes: &Folder<Note>) {
        if self.note.scope.is_some() && self.note.audit_session.is_some() {
            return;
        }
        let (scope, audit_session) = self.traces().found_since();
        let scope = self.note.scope.clone().or(scope);
        let audit_session = self.note.audit_session.or(audit_session);
        if (&scope, audit_session) != (&self.note.scope, self.note.audit_session) {
            (self.note.scope, self.note.audit_session) = (scope, audit_session);
            // Without it whoever comes after this spawner looks for it again, while who asked lives.
            let _ = notes.write(&self.note);
        }
    }
}
