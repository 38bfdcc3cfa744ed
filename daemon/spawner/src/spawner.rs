//! The loop: waits for deciders, helpers, sessions and workers, and does one thing at a time.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use jitsudo_core::event::{EndCause, Event};
use jitsudo_core::facts::{Fact, Origin};
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_core::state::Ends;
use jitsudo_link::facts::{About, Answer, Peer};
use jitsudo_link::session::{SpawnerToSession, Spec};
use jitsudo_link::settings::{self, Settings};
use jitsudo_link::spawner::{ApplyOutcome, Effect, FromSpawner, LookFailure, SignOutcome, Start, ToSpawner};
use jitsudo_link::{APPLIED_POLICY, SECURE_PATH, SETTINGS, SPOOL};
use jitsudo_protocol::act::{Act, ActKind, Assembler, Progress};
use jitsudo_sys::channel::{Channel, Message};
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use jitsudo_sys::nix::sys::resource::{Resource, getrlimit, setrlimit};
use jitsudo_sys::notify::{Notify, watchdog_interval};
use jitsudo_sys::{clock, trusted};

use crate::decider::{self, Arriving, Decider};
use crate::effect::{Told, Worker};
use crate::grants::{self, Grant, Grants};
use crate::helpers::{Asked, Helpers, Outcome, Why};
use crate::judge::{self, Now};
use crate::looked::Looked;
use crate::policy::{self, Applied};
use crate::record::{self, Recorder};
use crate::remembered::{self, Key, Remembered};
use crate::sessions::{Gone, Heard, Sessions};
use crate::signing::{self, Signing};

/// Most decider connections at once: the one in service, its successor, and some that are closing.
const MAX_DECIDERS: usize = 8;
/// How long nobody is accepted after there was no descriptor for one, milliseconds.
const ACCEPT_PAUSE_MS: u64 = 500;
/// Messages taken from one decider before others get their turn.
const TURN: usize = 16;
/// Descriptors wanted.
const DESCRIPTORS: u64 = 16_384;
/// Longest sleep while a role is held, milliseconds.
const TICK_MS: u64 = 1_000;
/// Milliseconds between TERM and KILL at a session's end.
const GRACE_MS: u64 = 1_000;

/// What a descriptor stands for.
enum Token {
    Listener,
    Decider(u64),
    Helper(u64),
    SessionSays(SessionId),
    SessionEnds(SessionId),
    Worker,
    Signer,
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
    /// Applies a policy; true = a dry run.
    worker: Option<Worker<bool>>,
    signing: Signing,
    applied: Applied,
    settings: Settings,
    host: String,
    recorder: Recorder,
    notify: Notify,
    next_tidy_ms: u64,
    /// Nobody is accepted before this: there was no descriptor for the last who came.
    accept_from_ms: u64,
}

impl Spawner {
    /// Takes the inherited listening socket and loads what is in force.
    pub(crate) fn prepare() -> io::Result<Self> {
        let listener = Channel::from_inherited(jitsudo_link::INHERITED_FD).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot take the listening socket on descriptor 3: {error}"))
        })?;
        listener.set_nonblocking(true)?;
        raise_descriptors();
        // Host name and labels choose rules: only root may say them.
        let text = trusted::read(Path::new(SETTINGS), settings::MAX_SETTINGS_BYTES as u64).map_err(io::Error::other)?;
        let text = String::from_utf8(text.unwrap_or_default()).map_err(io::Error::other)?;
        let settings = settings::parse(&text).map_err(|error| io::Error::other(format!("{SETTINGS}: {error}")))?;
        let nodename = jitsudo_sys::nix::unistd::gethostname()?.to_string_lossy().into_owned();
        let host = settings.host_or(&nodename);
        let mut recorder = Recorder::new(&host);
        let boot = clock::boot_id().unwrap_or_default();
        let (grants, trouble) = Grants::load(PathBuf::from(jitsudo_link::notes::ENDS), &host, &boot);
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
            sessions: Sessions::prepare(),
            grants,
            worker: None,
            signing: Signing::new(clock::boottime_ms()),
            applied: Applied::default(),
            settings,
            host,
            recorder,
            notify: Notify::from_environment(),
            next_tidy_ms: 0,
            accept_from_ms: 0,
        };
        spawner.load_policy();
        // What an earlier spawner did not bring to its end; recorded by that one, or once more here.
        for (id, cause) in spawner.grants.ending() {
            spawner.end_sessions(&id, cause);
        }
        Ok(spawner)
    }

    /// A policy that cannot be loaded is none: nobody is allowed anything, and the journal says why.
    fn load_policy(&mut self) {
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
            let ends = self.sessions.next_end().into_iter().chain(self.grants.next_end());
            let next = self.helpers.next_deadline().into_iter().chain(ends).min();
            // The wall clock may be set at any time.
            let longest = if self.grants.is_empty() { 60_000 } else { TICK_MS };
            let due = next.map_or(longest, |until| until.saturating_sub(now).min(longest));
            let pause = if self.accept_from_ms > now { ACCEPT_PAUSE_MS } else { 5_000 };
            let timeout = u16::try_from(u128::from(due.min(pause)).min(watchdog)).unwrap_or(5_000);
            for token in self.wait(PollTimeout::from(timeout))? {
                self.handle(token);
            }
            self.on_time();
            self.deciders.retain(|_, decider| !decider.broken);
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
        if let Some(worker) = &self.worker {
            tokens.push(Token::Worker);
            entries.push(PollFd::new(worker.channel.as_fd(), readable));
        }
        if let Some(channel) = self.signing.channel() {
            tokens.push(Token::Signer);
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
            Token::Worker => {
                if let Some(worker) = self.worker.take() {
                    let (told, outcome) = worker.outcome();
                    self.applied(&told, outcome.unwrap_or_else(ApplyOutcome::Failed));
                }
            }
            Token::Signer => {
                let answer = self.signing.outcome();
                self.signed(answer);
            }
        }
    }

    fn on_time(&mut self) {
        let now = clock::boottime_ms();
        let mut outcomes = self.helpers.expire(now);
        outcomes.extend(self.helpers.dispatch(now));
        outcomes.into_iter().for_each(|outcome| self.answer(outcome));
        if let Some(worker) = self.worker.take_if(|worker| worker.is_late(now)) {
            let (told, cause) = worker.give_up();
            self.applied(&told, ApplyOutcome::Failed(cause));
        }
        let late = self.signing.give_up_the_late(now);
        self.signed(late);
        let moment = clock::now();
        for (id, cause) in self.grants.due(Now { wall: record::wall(moment), boottime_ms: moment.boottime_ms }) {
            self.end_grant(&id, cause);
        }
        self.close_what_is_over();
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
        }
        self.notify.send("WATCHDOG=1");
    }

    fn accept(&mut self) {
        let channel = match self.listener.accept() {
            Ok(channel) => channel,
            Err(error) => {
                // Who came stays in the queue and would wake the loop at once, again and again.
                if has_no_room(&error) {
                    self.accept_from_ms = clock::boottime_ms().saturating_add(ACCEPT_PAUSE_MS);
                }
                return;
            }
        };
        if self.deciders.len() >= MAX_DECIDERS {
            return;
        }
        match decider::accept(channel, self.decider_uid) {
            Some(mut decider) => {
                decider.say(&FromSpawner::Ready {
                    policy: self.applied.digest.clone(),
                    memory: Some(signing::memory()),
                    grants: true,
                });
                self.next_decider += 1;
                self.deciders.insert(self.next_decider, decider);
            }
            None => self.refuse_silently("somebody who is not the decider connected to the spawner's socket"),
        }
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
                    self.deciders.remove(&id);
                    return;
                }
                Err(error) if error.would_block() => return,
                Err(_) => {
                    self.deciders.remove(&id);
                    return;
                }
            }
        }
    }

    fn order(&mut self, id: u64, message: Message) {
        let connection = message.descriptors.into_iter().next().map(Channel::from_descriptor);
        match serde_json::from_slice::<ToSpawner>(&message.bytes) {
            Ok(ToSpawner::Look { number, about }) => self.look(id, number, about, connection),
            Ok(ToSpawner::Start { number, start, act }) => match (connection, Assembler::begin(*act)) {
                (Some(connection), Ok(progress)) => self.arriving(id, number, *start, connection, progress),
                (None, _) => self.refuse(id, number, &start, "no connection is attached", true),
                (_, Err(error)) => self.refuse(id, number, &start, &error.to_string(), true),
            },
            Ok(ToSpawner::More { number, more }) => {
                let arriving = self.deciders.get_mut(&id).and_then(|decider| decider.arriving.take());
                match arriving {
                    Some(Arriving { number: expected, start, connection, act }) if expected == number => {
                        match act.more(more) {
                            Ok(progress) => self.arriving(id, number, start, connection, progress),
                            Err(error) => self.refuse(id, number, &start, &error.to_string(), true),
                        }
                    }
                    _ => self.cut_off(id, "a part of an act came out of order"),
                }
            }
            Ok(ToSpawner::Apply { number, dry_run, expect }) => self.apply(id, number, dry_run, expect, connection),
            Ok(ToSpawner::Forget { number, all }) => self.forget(id, number, all, connection),
            Ok(ToSpawner::Sign { number, wanted }) => {
                let told = Told { decider: id, number, what: wanted };
                let answer = self.signing.begin(told, &self.host, false, clock::boottime_ms());
                self.signed(answer);
            }
            Ok(ToSpawner::Acknowledge { number, wanted }) => {
                let told = Told { decider: id, number, what: wanted };
                let answer = if connection.is_some_and(|connection| is_roots_request(&connection)) {
                    self.signing.begin(told, &self.host, true, clock::boottime_ms())
                } else {
                    self.refuse_silently("the decider acknowledged a roll-back for somebody who is not root");
                    Some(signing::failed(told, "only root acknowledges".to_owned()))
                };
                self.signed(answer);
            }
            Ok(ToSpawner::EndGrant { number, id: access, cause }) => {
                let known = self.end_grant(&access, cause);
                self.close_what_is_over();
                self.say(id, &FromSpawner::Ending { number, known });
            }
            Ok(ToSpawner::Folded { names }) => {
                for name in names {
                    // A name that cannot be removed is offered again, and folding it again changes nothing.
                    let _ = jitsudo_ledger::spool::remove(Path::new(SPOOL), &name);
                }
            }
            Err(error) => self.cut_off(id, &format!("a message of the decider cannot be read: {error}")),
        }
    }

    fn look(&mut self, id: u64, number: u64, about: About, connection: Option<Channel>) {
        if let Err(cause) = self.ask(id, number, about, connection, Why::Look) {
            self.say(id, &FromSpawner::LookFailed { number, cause });
        }
    }

    /// Taking away never waits for facts: everything of an account goes at once, and where the place of a peer cannot be told
    /// everything of it goes as well.
    fn forget(&mut self, id: u64, number: u64, all: bool, connection: Option<Channel>) {
        let uid = connection.as_ref().and_then(|connection| connection.peer().ok()).map(|peer| peer.uid);
        let about = About {
            user: None,
            group: None,
            program: None,
            shell: None,
            words: vec![],
            same_as: vec![],
            subject: None,
        };
        if all || self.ask(id, number, about, connection, Why::Forget).is_err() {
            uid.into_iter().for_each(|uid| self.remembered.forget_all(uid));
            self.say(id, &FromSpawner::Forgotten { number });
        }
    }

    fn ask(
        &mut self,
        id: u64,
        number: u64,
        about: About,
        connection: Option<Channel>,
        why: Why,
    ) -> Result<(), LookFailure> {
        let Some(connection) = connection else {
            return Err(LookFailure::Refused("no connection is attached".to_owned()));
        };
        // A connection that did not come in by the front door is nobody's request.
        if connection.bound_path().as_deref() != Some(Path::new(jitsudo_protocol::SOCKET)) {
            self.refuse_silently("the decider showed a connection that was not made to its socket");
            return Err(LookFailure::Refused("the connection is not one of jitsudo's socket".to_owned()));
        }
        let (peer, pidfd) = match connection.peer().and_then(|peer| Ok((peer, connection.peer_pidfd()?))) {
            Ok(found) => found,
            Err(error) if has_no_room(&error) => {
                let cause = format!("no descriptor is left for the asking process: {error}");
                return Err(LookFailure::Failed(cause));
            }
            Err(_) => return Err(LookFailure::PeerGone),
        };
        let peer = Peer { pid: peer.pid, uid: peer.uid, gid: peer.gid };
        let asked = Asked { decider: id, number, connection, peer, pidfd, about, why };
        let outcomes = self.helpers.ask(Box::new(asked), clock::boottime_ms());
        outcomes.into_iter().for_each(|outcome| self.answer(outcome));
        Ok(())
    }

    fn answer(&mut self, (asked, answer): Outcome) {
        let Asked { decider, number, connection, peer, about, why, .. } = *asked;
        if why == Why::Forget {
            let key = match &answer {
                Ok(Answer::Learnt(learnt)) => {
                    let inside = self.sessions.origin_inside(peer.pid);
                    let origin = inside.as_ref().unwrap_or(&learnt.facts.origin);
                    Ok(learnt.process.as_ref().and_then(|process| Key::of(peer.uid, process, origin)))
                }
                Ok(Answer::Refused(_)) | Err(_) => Err(()),
            };
            match key {
                Ok(Some(key)) => self.remembered.forget(key),
                // Where nothing is ever remembered there is nothing to forget.
                Ok(None) => {}
                Err(()) => self.remembered.forget_all(peer.uid),
            }
            return self.say(decider, &FromSpawner::Forgotten { number });
        }
        let message = match answer {
            Ok(Answer::Learnt(mut learnt)) => {
                learnt.facts.host.clone_from(&self.host);
                learnt.facts.labels.clone_from(&self.settings.labels);
                if let Some(origin) = self.sessions.origin_inside(peer.pid) {
                    learnt.facts.origin = origin;
                }
                let message = FromSpawner::Looked {
                    number,
                    peer,
                    facts: Box::new(learnt.facts.clone()),
                    process: learnt.process.clone().map(Box::new),
                };
                if !decider::fits(&message) {
                    let cause = "the facts are longer than 64 KiB".to_owned();
                    return self.say(decider, &FromSpawner::LookFailed { number, cause: LookFailure::Failed(cause) });
                }
                if about.subject.is_none() {
                    self.looked.remember(connection, peer, about, learnt, clock::boottime_ms());
                }
                message
            }
            Ok(Answer::Refused(cause)) => FromSpawner::LookFailed { number, cause: LookFailure::Refused(cause) },
            Err(cause) => FromSpawner::LookFailed { number, cause },
        };
        self.say(decider, &message);
    }

    fn arriving(&mut self, id: u64, number: u64, start: Start, connection: Channel, progress: Progress) {
        match progress {
            Progress::Whole(act) => self.start(id, number, start, &connection, &act),
            Progress::More(act) => {
                if let Some(decider) = self.deciders.get_mut(&id) {
                    decider.arriving = Some(Arriving { number, start, connection, act });
                }
            }
        }
    }

    fn start(&mut self, id: u64, number: u64, start: Start, connection: &Channel, act: &Act) {
        let moment = clock::now();
        let now = Now { wall: record::wall(moment), boottime_ms: moment.boottime_ms };
        let Some(look) = self.looked.take(connection, now.boottime_ms) else {
            self.refuse(id, number, &start, "nobody on that connection was looked at", true);
            return;
        };
        let about =
            jitsudo_link::ask::about(act, self.applied.policy.as_ref().map_or(&[], |policy| policy.deny_programs()));
        if look.about != about {
            self.refuse(id, number, &start, "the facts that were asked for are not those of the act", true);
            return;
        }
        let facts = &look.learnt.facts;
        let access = &start.session.access;
        if !start.held && self.grants.knows(access) {
            self.refuse(id, number, &start, "that id is a role grant's", true);
            return;
        }
        let grant = self.grants.usable(access, now);
        let judged = match judge::judge(&self.applied, look.peer, facts, act, &start, grant, now) {
            Ok(judged) => judged,
            Err(cause) => {
                self.refuse(id, number, &start, &cause, true);
                return;
            }
        };
        let Some(process) = look.learnt.process else {
            self.refuse(id, number, &start, "the peer's process is not known", true);
            return;
        };
        let (uid, remember) = (look.peer.uid, act.options.remember);
        let key = Key::of(uid, &process, &look.learnt.facts.origin);
        let (authentication, when_settled) =
            self.remembered.needed(judged.terms.auth, uid, remember, key, now.boottime_ms, remembered::is_alive);
        let spec = Spec {
            session: start.session.clone(),
            host: self.host.clone(),
            digest: start.digest.clone(),
            peer: look.peer,
            requester: look.learnt.facts.requester,
            target: judged.target,
            executable: judged.executable,
            authentication,
            remember,
            remote: address(&look.learnt.facts.origin),
            run_as: judged.terms.run_as,
            record: judged.terms.record,
            secret_arguments: judged.terms.secret_arguments,
            ends_at: start.ends_at,
            ends_boottime_ms: start.ends_boottime_ms,
            grace_ms: GRACE_MS,
            process,
            cgroup: None,
            supervisor: None,
            pam_service: if act.options.kind == ActKind::LoginShell { "jitsudo-i" } else { "jitsudo" }.to_owned(),
            secure_path: SECURE_PATH.to_owned(),
            spool: SPOOL.to_owned(),
            held: start.held,
        };
        if act.options.kind == ActKind::Role {
            if !self.grants.has_room_for(uid) {
                let cause = format!("this account holds {} roles already", grants::MAX_OF_ACCOUNT);
                self.refuse(id, number, &start, &cause, false);
                return;
            }
            self.grants.ask(self.grant_of(&start, &spec, act));
        }
        match self.sessions.start(spec, look.learnt.facts.origin, when_settled, connection) {
            Ok(pid) => self.say(id, &FromSpawner::Started { number, pid }),
            Err(cause) => {
                self.grants.give_up(&start.session.access);
                self.refuse(id, number, &start, &cause, false);
            }
        }
    }

    /// The grant that a role request becomes once its requester has proven who they are.
    fn grant_of(&self, start: &Start, spec: &Spec, act: &Act) -> Grant {
        let ends = Ends { at: start.ends_at, boottime_ms: start.ends_boottime_ms, boot: self.grants.boot().to_owned() };
        Grant {
            id: start.session.access.clone(),
            requester: spec.peer.uid,
            user: spec.requester.name.known().cloned(),
            rule: start.rule.clone(),
            role: start.role.clone(),
            reason: act.options.reason.clone(),
            ticket: act.options.ticket.clone(),
            ends,
            ending: None,
        }
    }

    /// Who asks for a role has proven it: it is held from now on, and its session hears so, or why not.
    fn proved(&mut self, session: &SessionId) {
        let id = &session.access;
        let moment = clock::now();
        let now = Now { wall: record::wall(moment), boottime_ms: moment.boottime_ms };
        let activated = match self.grants.activate(id, now) {
            None => Err("nobody asked for it here".to_owned()),
            Some(activated) => activated.map(|grant| grant.role.clone()),
        };
        let activated = activated.and_then(|role| {
            if self.recorder.record(Event::Active { id: id.clone() }) {
                return Ok(role);
            }
            self.grants.close(id);
            Err("it cannot be recorded".to_owned())
        });
        let word = match activated {
            Ok(role) => SpawnerToSession::Activated { role },
            Err(cause) => {
                self.recorder.record(Event::ActivationFailed { id: id.clone(), cause: cause.clone() });
                SpawnerToSession::NotActivated(cause)
            }
        };
        // Before the requester hears of it: a command that follows finds it held.
        self.say_to_all(&FromSpawner::Spooled);
        // A session that is gone has no requester to tell; the grant is theirs all the same, and ends as it would.
        self.sessions.say(session, &word);
    }

    /// Begins the end of a role grant, or of the sessions of another access: rights first, then processes, then the record. False
    /// when there is nothing of that id.
    fn end_grant(&mut self, id: &AccessId, cause: EndCause) -> bool {
        let known = self.grants.knows(id);
        let asked = self.grants.give_up(id);
        if asked {
            let cause = "it was ended before it was given".to_owned();
            self.recorder.record(Event::ActivationFailed { id: id.clone(), cause });
            self.say_to_all(&FromSpawner::Spooled);
        }
        let began = self.grants.begin_end(id, cause);
        let ends = self.end_sessions(id, cause);
        if began {
            self.recorder.record(Event::Ended { id: id.clone(), cause });
            self.say_to_all(&FromSpawner::Spooled);
        }
        known || ends
    }

    fn end_sessions(&mut self, id: &AccessId, cause: EndCause) -> bool {
        self.sessions.end_all(id, cause, clock::boottime_ms(), GRACE_MS)
    }

    /// Role grants that are ending, and of which nothing is left.
    fn close_what_is_over(&mut self) {
        for (id, _) in self.grants.ending() {
            if !self.sessions.remains(&id) {
                self.recorder.record(Event::Closed { id: id.clone() });
                self.grants.close(&id);
                self.say_to_all(&FromSpawner::Spooled);
            }
        }
    }

    fn apply(&mut self, id: u64, number: u64, dry_run: bool, expect: Option<String>, connection: Option<Channel>) {
        let started = if !connection.is_some_and(|connection| is_roots_request(&connection)) {
            self.refuse_silently("the decider asked to apply a policy for somebody who is not root");
            Err("only root applies a policy".to_owned())
        } else if self.worker.is_some() {
            Err("another policy is being applied at this moment".to_owned())
        } else {
            let told = Told { decider: id, number, what: dry_run };
            Worker::start(told, &Effect::ApplyPolicy { dry_run, expect }, clock::boottime_ms())
        };
        match started {
            Ok(worker) => self.worker = Some(worker),
            Err(cause) => self.say(id, &FromSpawner::Applied { number, outcome: ApplyOutcome::Failed(cause) }),
        }
    }

    fn applied(&mut self, told: &Told<bool>, outcome: ApplyOutcome) {
        if !told.what && matches!(outcome, ApplyOutcome::Done(_)) {
            self.load_policy();
        }
        self.say(told.decider, &FromSpawner::Applied { number: told.number, outcome });
    }

    /// Answers an order to sign. A signature also goes to the journal by root's hand, and a ledger that may not be signed is recorded:
    /// neither passes through the decider.
    fn signed(&mut self, answer: Option<signing::Answer>) {
        let Some((Told { decider, number, what: wanted }, outcome)) = answer else { return };
        match &outcome {
            SignOutcome::Done(signed) => self.recorder.tell_signed(&wanted, signed),
            SignOutcome::Refused(cause) => {
                self.refuse_silently(&format!("the decider asked to sign event {}: {cause}", wanted.seq));
            }
            SignOutcome::Failed(_) => {}
        }
        self.say(decider, &FromSpawner::Signed { number, outcome });
    }

    fn heard(&mut self, session: &SessionId, heard: Heard) {
        match heard {
            Heard::Nothing | Heard::Quiet => {}
            Heard::Spooled => self.say_to_all(&FromSpawner::Spooled),
            Heard::Settled(what) => self.remembered.settled(what, clock::boottime_ms()),
            Heard::Proved => self.proved(session),
        }
    }

    fn session_ended(&mut self, session: &SessionId) {
        // What it said last counts.
        loop {
            match self.sessions.readable(session) {
                Heard::Quiet => break,
                heard => self.heard(session, heard),
            }
        }
        let mut gone = self.sessions.ended(session);
        if session.number == 0 && self.grants.give_up(&session.access) {
            // It has said why by itself, unless it crashed.
            if gone == Some(Gone::Lost) {
                let cause = "jitsudo-session is gone without a word".to_owned();
                self.recorder.record(Event::ActivationFailed { id: session.access.clone(), cause });
            }
            gone = gone.map(|_| Gone::Tidy);
        }
        match gone {
            None => return,
            Some(Gone::Tidy) => {}
            // The grant ends by itself, at its own time.
            Some(Gone::Lost) if self.grants.is_held(&session.access) => {}
            Some(Gone::Lost) => {
                self.recorder.record(Event::Ended { id: session.access.clone(), cause: EndCause::Lost });
                self.recorder.record(Event::Closed { id: session.access.clone() });
            }
            Some(Gone::Stuck) => {
                let cause = "processes of the command cannot be killed".to_owned();
                self.recorder.record(Event::CleanupFailed { id: session.access.clone(), cause });
            }
        }
        self.say_to_all(&FromSpawner::Spooled);
        self.say_to_all(&FromSpawner::SessionGone { session: session.clone() });
    }

    fn refuse(&mut self, id: u64, number: u64, start: &Start, cause: &str, disagree: bool) {
        if disagree {
            self.recorder
                .record(Event::SpawnerRefused { id: Some(start.session.access.clone()), cause: cause.to_owned() });
        }
        self.say(id, &FromSpawner::StartRefused { number, cause: cause.to_owned(), disagree });
        if disagree {
            self.say_to_all(&FromSpawner::Spooled);
        }
    }

    fn refuse_silently(&mut self, cause: &str) {
        self.recorder.record(Event::SpawnerRefused { id: None, cause: cause.to_owned() });
        self.say_to_all(&FromSpawner::Spooled);
    }

    fn cut_off(&mut self, id: u64, cause: &str) {
        self.deciders.remove(&id);
        self.refuse_silently(cause);
    }

    fn say(&mut self, id: u64, message: &FromSpawner) {
        if let Some(decider) = self.deciders.get_mut(&id) {
            decider.say(message);
        }
    }

    fn say_to_all(&mut self, message: &FromSpawner) {
        self.deciders.values_mut().for_each(|decider| decider.say(message));
    }
}

/// Three descriptors a session, one for each look: the usual soft limit of 1024 would be the limit of sessions. Where it may not be
/// raised the present one holds. Commands get their requester's limits, never these.
fn raise_descriptors() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < DESCRIPTORS
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(DESCRIPTORS), hard);
    }
}

/// True where the process or the host has no descriptor or memory left: nothing is wrong with whoever came.
fn has_no_room(error: &io::Error) -> bool {
    use jitsudo_sys::nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    error.raw_os_error().is_some_and(|errno| [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(&errno))
}

/// The address that a login came from, where root recorded one.
fn address(origin: &Fact<Origin>) -> Option<IpAddr> {
    let Fact::Is(Origin { address: Fact::Is(address), .. }) = origin else { return None };
    *address
}

/// A connection made to the front door by a process of root's that is still there: not any socket that root has an end of.
fn is_roots_request(connection: &Channel) -> bool {
    connection.bound_path().as_deref() == Some(Path::new(jitsudo_protocol::SOCKET))
        && connection.peer().is_ok_and(|peer| peer.uid == 0)
        && connection.peer_pidfd().is_ok_and(|pidfd| jitsudo_sys::pidfd::is_alive(pidfd.as_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_that_is_not_of_the_front_door_is_not_roots_request() {
        // Run as root, both ends have a living peer of uid 0; run as anybody, neither was made to the front door.
        let (one, other) = Channel::pair().unwrap();
        assert!(!is_roots_request(&one) && !is_roots_request(&other));
        let path = std::env::temp_dir().join(format!("jitsudo-apply-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = Channel::listen(&path).unwrap();
        let client = Channel::connect(&path).unwrap();
        let accepted = listener.accept().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!is_roots_request(&client) && !is_roots_request(&accepted));
    }
}
