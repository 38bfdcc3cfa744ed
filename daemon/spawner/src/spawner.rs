//! The loop: waits for deciders, helpers, sessions and workers, and does one thing at a time.

mod approved;
mod door;
mod eligible;
mod extend;
mod held;
mod lend;
mod locked;
mod looks;
mod orders;
mod pictures;
mod proof;
mod reviews;
mod starts;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use jitsudo_core::event::Event;
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_link::alone::{self, Alone, SPAWNER_LOCK};
use jitsudo_link::lent::Lendings;
use jitsudo_link::notes::{DROP_INS, Notes};
use jitsudo_link::settings::{self, Settings};
use jitsudo_link::spawner::{ApplyOutcome, FromSpawner};
use jitsudo_link::{APPLIED_POLICY, SETTINGS};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use jitsudo_sys::notify::{Notify, watchdog_interval};
use jitsudo_sys::{clock, trusted};

use crate::accounts::Accounts;
use crate::approvals::Approvals;
use crate::changes::Changes;
use crate::comparison::Comparison;
use crate::decider::{self, Decider};
use crate::descriptors;
use crate::effect::Worker;
use crate::escapes::Escapes;
use crate::grants::Grants;
use crate::helpers::Helpers;
use crate::judge::Now;
use crate::locks::Locks;
use crate::logins::Logins;
use crate::looked::Looked;
use crate::policy::{self, Applied};
use crate::record::{self, Recorder};
use crate::remembered::{self, Remembered};
use crate::reviews::Reviews;
use crate::sessions::{self, Sessions};
use crate::signing::{self, Signing};
use crate::telling::Telling;
use crate::used::{self, Used};
use door::Door;
use pictures::Unpictured;

/// Most decider connections at once: the one in service, its successor, and some that are closing.
const MAX_DECIDERS: usize = 8;
/// How long nobody is accepted after there was no descriptor for one, milliseconds.
const ACCEPT_PAUSE_MS: u64 = 500;
/// Messages taken from one decider before others get their turn.
const TURN: usize = 16;
/// Entries that the spool takes on a full disk: the ends of what runs, and break-glass.
const SPOOL_RESERVE: usize = 64;
/// Longest sleep while a role is held, milliseconds.
const TICK_MS: u64 = 1_000;
/// A turn of the loop that comes later than this, milliseconds, was slept through, by the host or by this program.
const ASLEEP_MS: u64 = 10_000;
/// Milliseconds between TERM and KILL at a session's end.
const GRACE_MS: u64 = 1_000;

/// What a descriptor stands for.
enum Token {
    Listener,
    Decider(u64),
    Helper(u64),
    SessionSays(SessionId),
    SessionEnds(SessionId),
    Accounts,
    Worker,
    Signer,
    Picture,
    Comparer,
    Door,
    AtDoor(u64),
    Lender(u64),
    Here,
    Teller,
}

/// The spawner's whole state.
pub(crate) struct Spawner {
    listener: Channel,
    decider_uid: Option<u32>,
    deciders: BTreeMap<u64, Decider>,
    next_decider: u64,
    helpers: Helpers,
    looked: Looked,
    remembered: Remembered,
    sessions: Sessions,
    grants: Grants,
    escapes: Escapes,
    door: Door,
    logins: Logins,
    approvals: Approvals,
    used: Used,
    telling: Telling,
    reviews: Reviews,
    locks: Locks,
    accounts: Accounts,
    /// Roles that wait for the proof of who asks.
    asked: BTreeMap<AccessId, eligible::Asked>,
    changes: Changes,
    /// Applies a policy; true = a dry run.
    worker: Option<Worker<bool>>,
    signing: Signing,
    comparison: Comparison,
    unpictured: Unpictured,
    applied: Applied,
    settings: Settings,
    host: String,
    recorder: Recorder,
    notify: Notify,
    next_tidy_ms: u64,
    /// Nobody is accepted before this: there was no descriptor for the last who came.
    accept_from_ms: u64,
    /// The turn before this one.
    turned_ms: u64,
    /// No other spawner is started beside this one.
    _alone: Option<Alone>,
}

impl Spawner {
    /// Takes the inherited listening socket and loads what is in force.
    pub(crate) fn prepare() -> io::Result<Self> {
        let listener = Channel::from_inherited(jitsudo_link::INHERITED_FD).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot take the listening socket on descriptor 3: {error}"))
        })?;
        listener.set_nonblocking(true)?;
        // Where there can be no lock at all (a full /run) ends are worth more than a second one is a danger.
        let alone = match alone::be(Path::new(SPAWNER_LOCK)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
            other => other.ok(),
        };
        descriptors::raise();
        // Host name and labels choose rules: only root may say them.
        let text = trusted::read(Path::new(SETTINGS), settings::MAX_SETTINGS_BYTES as u64).map_err(io::Error::other)?;
        let text = String::from_utf8(text.unwrap_or_default()).map_err(io::Error::other)?;
        let settings = settings::parse(&text).map_err(|error| io::Error::other(format!("{SETTINGS}: {error}")))?;
        let nodename = jitsudo_sys::nix::unistd::gethostname()?.to_string_lossy().into_owned();
        let host = settings.host_or(&nodename);
        let mut recorder = Recorder::new(&host);
        let boot = clock::boot_id().unwrap_or_default();
        let moment = clock::now();
        let now = Now { wall: record::wall(moment), boottime_ms: moment.boottime_ms };
        let (grants, mut trouble) = Grants::load(Notes::default(), Path::new(DROP_INS), &host, &boot, now);
        let (logins, more) = Logins::load(now.boottime_ms);
        trouble.extend(more);
        let (reviews, more) = Reviews::load(jitsudo_link::UNREVIEWED.map(PathBuf::from).into());
        trouble.extend(more);
        for cause in trouble {
            recorder.record(Event::SpawnerRefused { id: None, cause });
        }
        let marks = jitsudo_link::marks::folder();
        let marked = marks.read_all();
        for (path, why) in &marked.garbage {
            let cause = format!("cannot read the mark {}: {why}; what it marks may run on", path.display());
            recorder.record(Event::SpawnerRefused { id: None, cause });
        }
        let names = marked.notes.iter().map(|mark| mark.session.clone()).collect();
        let sessions = Sessions::prepare(sessions::kept_channels(), &names);
        let comparison = Comparison::load(&grants.ids().chain(sessions.accesses()).collect(), clock::boottime_ms());
        let (escapes, trouble) = Escapes::load(
            (Lendings::default(), marks),
            marked.notes,
            |session| sessions.is_live(session),
            |access| grants.is_held(access),
            sessions.left(),
            (&boot, clock::boottime_ms()),
        );
        if let Err(cause) = trouble {
            recorder.record(Event::SpawnerRefused { id: None, cause });
        }
        let (door, shut) = Door::open(Path::new(jitsudo_login_wire::SOCKET));
        if let Some(cause) = shut {
            recorder.record(Event::SpawnerRefused { id: None, cause });
        }
        let (locks, trouble) = Locks::load(jitsudo_link::locks::folder());
        for cause in trouble {
            recorder.record(Event::SpawnerRefused { id: None, cause });
        }
        let mut spawner = Self {
            listener,
            decider_uid: decider::uid_of_decider(&std::fs::read_to_string("/etc/passwd").unwrap_or_default()),
            deciders: BTreeMap::new(),
            next_decider: 0,
            helpers: Helpers::default(),
            looked: Looked::default(),
            remembered: Remembered::default(),
            sessions,
            grants,
            escapes,
            door,
            logins,
            approvals: Approvals::default(),
            used: Used::load(Path::new(used::USED)),
            telling: Telling::default(),
            reviews,
            locks,
            accounts: Accounts::default(),
            asked: BTreeMap::new(),
            changes: Changes::new(),
            worker: None,
            signing: Signing::new(clock::boottime_ms()),
            comparison,
            unpictured: Unpictured::default(),
            applied: Applied::default(),
            settings,
            host,
            recorder,
            notify: Notify::from_environment(),
            next_tidy_ms: 0,
            accept_from_ms: 0,
            turned_ms: clock::boottime_ms(),
            _alone: alone,
        };
        spawner.load_policy();
        spawner.take_up_grants();
        for id in spawner.logins.roles() {
            if spawner.grants.find(&id).is_none_or(|grant| grant.ending.is_some()) {
                spawner.logins.begin_end(&id, clock::boottime_ms(), GRACE_MS);
            }
        }
        Ok(spawner)
    }

    /// A policy that cannot be loaded is none: nobody is allowed anything, and the journal says why.
    fn load_policy(&mut self) {
        self.accounts.look_soon();
        match policy::load(Path::new(APPLIED_POLICY)) {
            Ok(applied) => self.applied = applied,
            Err(cause) => {
                self.applied = Applied::default();
                self.recorder.record(Event::SpawnerRefused { id: None, cause });
            }
        }
    }

    /// Serves until the system ends it.
    pub(crate) fn serve(&mut self) -> io::Result<()> {
        let cgroups =
            if self.sessions.has_cgroups() { "" } else { "; no cgroup can be made here: only `run` is given" };
        self.notify.send(&format!("READY=1\nSTATUS=Ready{cgroups}"));
        let watchdog = watchdog_interval().map_or(60_000, |interval| interval.as_millis());
        loop {
            self.helpers.keep_one_ready();
            self.sessions.keep_one_warm();
            let now = clock::boottime_ms();
            let ends =
                self.sessions.next_end().into_iter().chain(self.grants.next_end()).chain(self.comparison.next_due());
            let ends = ends.chain(self.changes.next_time(now));
            let next = self
                .helpers
                .next_deadline()
                .into_iter()
                .chain(ends)
                .chain(self.accounts.next())
                .chain(self.escapes.next())
                .chain(self.telling.next_time())
                .min();
            // The wall clock may be set at any time.
            let is_idle = self.grants.is_empty() && self.sessions.requesters().next().is_none();
            let longest = if is_idle { 60_000 } else { TICK_MS };
            let longest = self.logins.pause_ms(now).map_or(longest, |pause| pause.min(longest));
            let due = next.map_or(longest, |until| until.saturating_sub(now).min(longest));
            let pause = if self.accept_from_ms > now { ACCEPT_PAUSE_MS } else { 5_000 };
            let timeout = u16::try_from(u128::from(due.min(pause)).min(watchdog)).unwrap_or(5_000);
            for token in self.wait(PollTimeout::from(timeout))? {
                // Many sessions may have something to say at the moment at which rights are to go: those go first.
                self.end_what_is_over(held::now());
                self.handle(token);
            }
            self.on_time();
            let broken: Vec<u64> =
                self.deciders.iter().filter(|(_, decider)| decider.broken).map(|(id, _)| *id).collect();
            broken.into_iter().for_each(|id| self.part_with(id));
        }
    }

    fn wait(&self, timeout: PollTimeout) -> io::Result<Vec<Token>> {
        let readable = PollFlags::POLLIN;
        let (mut tokens, mut entries) = (Vec::new(), Vec::new());
        if clock::boottime_ms() >= self.accept_from_ms {
            tokens.push(Token::Listener);
            entries.push(PollFd::new(self.listener.as_fd(), readable));
        }
        for (id, decider) in &self.deciders {
            let flags = if decider.is_waiting() { readable | PollFlags::POLLOUT } else { readable };
            tokens.push(Token::Decider(*id));
            entries.push(PollFd::new(decider.channel.as_fd(), flags));
        }
        for (id, channel) in self.helpers.channels() {
            tokens.push(Token::Helper(id));
            entries.push(PollFd::new(channel.as_fd(), readable));
        }
        for (session, says, descriptor) in self.sessions.descriptors() {
            let session = session.clone();
            tokens.push(if says { Token::SessionSays(session) } else { Token::SessionEnds(session) });
            entries.push(PollFd::new(descriptor, readable));
        }
        if let Some(channel) = self.accounts.channel() {
            tokens.push(Token::Accounts);
            entries.push(PollFd::new(channel.as_fd(), readable));
        }
        if let Some(worker) = &self.worker {
            tokens.push(Token::Worker);
            entries.push(PollFd::new(worker.channel.as_fd(), readable));
        }
        if let Some(channel) = self.signing.channel() {
            tokens.push(Token::Signer);
            entries.push(PollFd::new(channel.as_fd(), readable));
        }
        for (token, channel) in [Token::Picture, Token::Comparer].into_iter().zip(self.comparison.channels()) {
            if let Some(channel) = channel {
                tokens.push(token);
                entries.push(PollFd::new(channel.as_fd(), readable));
            }
        }
        if let Some(listener) = &self.door.listener {
            tokens.push(Token::Door);
            entries.push(PollFd::new(listener.as_fd(), readable));
        }
        for (number, (channel, _)) in &self.door.asking {
            tokens.push(Token::AtDoor(*number));
            entries.push(PollFd::new(channel.as_fd(), readable));
        }
        let (looks, tells) = self.telling.channels();
        for (token, channel) in [(Token::Here, looks), (Token::Teller, tells)] {
            if let Some(channel) = channel {
                tokens.push(token);
                entries.push(PollFd::new(channel.as_fd(), readable));
            }
        }
        for (number, channel) in self.changes.channels() {
            tokens.push(Token::Lender(number));
            entries.push(PollFd::new(channel.as_fd(), readable));
        }
        match poll(&mut entries, timeout) {
            Ok(_) | Err(jitsudo_sys::nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready = entries.iter().map(|entry| entry.any().unwrap_or(false));
        Ok(tokens.into_iter().zip(ready).filter_map(|(token, ready)| ready.then_some(token)).collect())
    }

    fn handle(&mut self, token: Token) {
        match token {
            Token::Listener => self.accept(),
            Token::Decider(id) => self.decider_ready(id),
            Token::Helper(id) => {
                if let Some(outcome) = self.helpers.readable(id) {
                    self.answer(outcome);
                }
                let outcomes = self.helpers.dispatch(clock::boottime_ms());
                outcomes.into_iter().for_each(|outcome| self.answer(outcome));
            }
            Token::SessionSays(session) => {
                let heard = self.sessions.readable(&session);
                self.heard(&session, heard);
            }
            Token::SessionEnds(session) => self.session_ended(&session),
            Token::Accounts => self.accounts_answered(),
            Token::Worker => {
                if let Some(worker) = self.worker.take() {
                    let (told, outcome) = worker.outcome();
                    self.applied(&told, outcome.unwrap_or_else(ApplyOutcome::Failed));
                }
            }
            Token::Picture => self.picture_taken(),
            Token::Comparer => self.host_compared(),
            Token::Door => self.open_door(),
            Token::AtDoor(number) => self.asked_at_door(number),
            Token::Signer => {
                let answer = self.signing.outcome();
                self.signed(answer);
            }
            Token::Here => {
                let said = self.telling.looked(clock::boottime_ms());
                self.say_each(said);
            }
            Token::Teller => {
                let said = self.telling.delivered(clock::boottime_ms());
                self.say_each(said);
            }
            Token::Lender(number) => {
                let came = self.changes.readable(number);
                self.came(came);
            }
        }
    }

    fn on_time(&mut self) {
        let now = clock::boottime_ms();
        if now.saturating_sub(std::mem::replace(&mut self.turned_ms, now)) > ASLEEP_MS {
            self.sessions.have_slept(now, GRACE_MS);
        }
        let mut outcomes = self.helpers.expire(now);
        outcomes.extend(self.helpers.dispatch(now));
        outcomes.into_iter().for_each(|outcome| self.answer(outcome));
        if let Some(worker) = self.worker.take_if(|worker| worker.is_late(now)) {
            let (told, cause) = worker.give_up();
            self.applied(&told, ApplyOutcome::Failed(cause));
        }
        let late = self.signing.give_up_the_late(now);
        self.signed(late);
        let late = self.telling.give_up_the_late(now);
        self.say_each(late);
        let moment = clock::now();
        self.end_what_is_over(Now { wall: record::wall(moment), boottime_ms: moment.boottime_ms });
        self.lend_on_time(now);
        self.look_for_escapes(now);
        self.door_on_time(now);
        self.close_what_is_over();
        self.compare_the_host(Now { wall: record::wall(moment), boottime_ms: now });
        self.give_up_on_the_silent(now);
        self.sessions.keep(now, &self.notify);
        self.look_at_accounts(now);
        for session in self.sessions.enforce(now) {
            let cause = format!("session {session} ran past its end without ending its command: killed by the spawner");
            self.recorder.record(Event::CleanupFailed { id: session.access, cause });
            self.say_to_all(&FromSpawner::Spooled);
        }
        if now >= self.next_tidy_ms {
            self.next_tidy_ms = now + 10_000;
            self.looked.tidy(now);
            self.remembered.tidy(now, remembered::is_alive);
            self.sessions.tidy();
            self.keep_spool_reserve();
        }
        self.notify.send("WATCHDOG=1");
    }

    /// A full disk has none to give; what is there stays.
    fn keep_spool_reserve(&mut self) {
        let _ = jitsudo_ledger::spool::keep_reserve(Path::new(jitsudo_link::SPOOL), SPOOL_RESERVE);
    }

    fn accept(&mut self) {
        let channel = match self.listener.accept() {
            Ok(channel) => channel,
            Err(error) => {
                // Who came stays in the queue and would wake the loop at once, again and again.
                if descriptors::are_used_up(&error) {
                    self.accept_from_ms = clock::boottime_ms().saturating_add(ACCEPT_PAUSE_MS);
                }
                return;
            }
        };
        if self.deciders.len() >= MAX_DECIDERS {
            return;
        }
        let Ok(memory) = signing::memory() else {
            // It comes again; told that nobody knows what was signed it would give nothing until root has looked.
            self.accept_from_ms = clock::boottime_ms().saturating_add(ACCEPT_PAUSE_MS);
            return;
        };
        match decider::accept(channel, self.decider_uid) {
            Some(mut decider) => {
                decider.say(&FromSpawner::Ready {
                    policy: self.applied.digest.clone(),
                    memory: Some(memory),
                    grants: true,
                    reviews: true,
                    extends: true,
                    effects: true,
                    tells: true,
                    locks: Some(self.locks.told()),
                    knows: true,
                    proves: true,
                });
                self.next_decider += 1;
                self.deciders.insert(self.next_decider, decider);
            }
            None => self.refuse_silently("somebody who is not the decider connected to the spawner's socket"),
        }
    }

    /// A decider is gone, or is to go.
    pub(super) fn part_with(&mut self, id: u64) {
        self.deciders.remove(&id);
        self.looked.forget_all_of(id);
        self.forget_unpictured_of(id);
    }

    fn decider_ready(&mut self, id: u64) {
        if let Some(decider) = self.deciders.get_mut(&id) {
            decider.flush();
        }
        for _ in 0..TURN {
            let Some(decider) = self.deciders.get_mut(&id) else {
                return;
            };
            match decider.channel.receive() {
                Ok(Some(message)) => self.order(id, message),
                Ok(None) => {
                    self.part_with(id);
                    return;
                }
                Err(error) if error.would_block() => return,
                Err(_) => {
                    self.part_with(id);
                    return;
                }
            }
        }
    }

    fn refuse_silently(&mut self, cause: &str) {
        self.recorder.record(Event::SpawnerRefused { id: None, cause: cause.to_owned() });
        self.say_to_all(&FromSpawner::Spooled);
    }

    fn say(&mut self, id: u64, message: &FromSpawner) {
        if let Some(decider) = self.deciders.get_mut(&id) {
            decider.say(message);
        }
    }

    fn say_each(&mut self, said: Vec<(u64, FromSpawner)>) {
        said.iter().for_each(|(id, message)| self.say(*id, message));
    }

    fn say_to_all(&mut self, message: &FromSpawner) {
        self.deciders.values_mut().for_each(|decider| decider.say(message));
    }
}
