//! Sessions: one kept warm, each started one known by pidfd and group until nothing of it is left.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use jitsudo_core::Timestamp;
use jitsudo_core::event::EndCause;
use jitsudo_core::facts::{Fact, Origin};
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_core::state::Ends;
use jitsudo_link::LIBEXEC;
use jitsudo_link::session::{Authentication, FromSessionToSpawner, SpawnerToSession, Spec};
use jitsudo_protocol::client::FromDecider;
use jitsudo_sys::channel::Channel;
use jitsudo_sys::child::{self, Child};
use jitsudo_sys::nix::libc::{SIGKILL, SIGTERM};
use jitsudo_sys::notify::{self, Notify};

use crate::cgroups::{self, Groups, Supervisor};
use crate::descriptors;
use crate::escapes;
use crate::remembered::WhenSettled;

/// Most sessions of one account but root's: each is a few descriptors and a process here, and all accounts share these.
const MAX_OF_ACCOUNT: usize = 512;
/// Of those, how many may be asked for a password at once: terminals that somebody left at the prompt, and no more. A wrong password costs
/// whoever guesses the stack's delay, but each session has a delay of its own.
const MAX_PROVING_OF_ACCOUNT: usize = 16;

/// A session that lives longer than this, milliseconds, has its channel kept for a spawner that begins anew.
const KEPT_FROM_MS: u64 = 1_000;
/// What the names of kept channels begin with.
const KEPT: &str = "session-";

/// Milliseconds that a session has past its end and grace before its command is killed from here.
const PATIENCE_MS: u64 = 5_000;
/// How long a session may take to answer to a new end, milliseconds.
const ANSWER_MS: u64 = 2_000;

/// A started session.
pub(crate) struct Live {
    pub(crate) session: SessionId,
    /// Whose it is; an adopted one is counted for nobody.
    requester: Option<u32>,
    /// Where its requester came from: what runs inside it comes from there too.
    pub(crate) origin: Fact<Origin>,
    /// Our own child; an adopted one is another spawner's, reaped by init.
    child: Option<Child>,
    pidfd: OwnedFd,
    channel: Option<Channel>,
    /// Its own group, where groups can be made.
    supervisor: Option<Supervisor>,
    released: bool,
    /// What its word that the requester's identity is settled does: taken once.
    when_settled: Option<WhenSettled>,
    /// Its requester has still to prove who they are.
    proving: bool,
    /// When its command is killed here if it is still there, CLOCK_BOOTTIME milliseconds: the session's own deadline came and went.
    until_ms: u64,
    /// What it runs may finish after the end of its grant, until a bound of its own that it keeps by itself.
    finishes: bool,
    /// It was told to end before its time.
    told_to_end: bool,
    /// The audit session that its own login uid made, as far as it is known.
    audit_session: Option<u32>,
    /// When its channel is to be kept, CLOCK_BOOTTIME milliseconds; absent once it is.
    keep_ms: Option<u64>,
    /// It was told of a new end, and has not answered yet.
    offered: Option<Offer>,
}

/// A new end that a session was told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Offer {
    /// How far it may move the end, milliseconds.
    by_ms: u64,
    /// The end that it has as long as it does not answer, wall clock.
    old: Timestamp,
    /// When no answer is waited for any more, CLOCK_BOOTTIME milliseconds; absent once that was told.
    until_ms: Option<u64>,
}

impl Live {
    fn say(&self, word: &SpawnerToSession) -> bool {
        let text = serde_json::to_vec(word).unwrap_or_default();
        self.channel.as_ref().is_some_and(|channel| channel.send(&text, &[]).is_ok())
    }
}

/// A session that waits for its request.
struct Warm {
    child: Child,
    channel: Channel,
    supervisor: Option<Supervisor>,
}

/// What a session said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing that anybody else has to know.
    Nothing,
    /// Nothing more, for now or for good.
    Quiet,
    /// There is something in the spool.
    Spooled,
    /// Who asks has proven it, or has used a proof; and what is to be remembered of that.
    Settled(Option<WhenSettled>),
    /// Who asks for a role may have it.
    Proved,
    /// It ends at this moment from now on, CLOCK_BOOTTIME milliseconds.
    Extended(u64),
}

/// How a session's process ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// It left nothing, or gave what it left to the host.
    Tidy,
    /// It died before its command; the command was killed here.
    Lost,
    /// It died before its command, and the command cannot be killed: tried again.
    Stuck,
}

/// All sessions.
pub(crate) struct Sessions {
    base: Option<PathBuf>,
    warm: Option<Warm>,
    live: Vec<Live>,
    /// Groups that could not be removed yet.
    leftover: Vec<String>,
    /// Sessions' own groups likewise.
    leftover_supervisors: Vec<Supervisor>,
    /// Sessions whose commands could not be killed: tried again.
    stuck: Vec<SessionId>,
}

impl Sessions {
    /// Finds the cgroup, and adopts what an earlier spawner left running, with the channels that were kept of it. The command of a marked
    /// session that is gone is nobody's: it is killed.
    pub(crate) fn prepare(mut kept: BTreeMap<SessionId, Channel>, marked: &BTreeSet<SessionId>) -> Self {
        let base = cgroups::base();
        let mut sessions = Self {
            base,
            warm: None,
            live: Vec::new(),
            leftover: Vec::new(),
            leftover_supervisors: Vec::new(),
            stuck: Vec::new(),
        };
        if let Some(base) = sessions.base.as_deref() {
            let names: BTreeSet<String> = cgroups::left_over(base).into_iter().chain(cgroups::noted()).collect();
            for name in names {
                sessions.adopt(&name, &mut kept, marked);
            }
        }
        let adopted: Vec<_> = sessions.live.iter().filter_map(|live| live.supervisor.clone()).collect();
        let mut supervisors = sessions.base.as_deref().map(Supervisor::left_over).unwrap_or_default();
        supervisors.retain(|supervisor| !adopted.contains(supervisor));
        sessions.leftover_supervisors = supervisors;
        // A note of what is gone would keep a sweep from closing its grant.
        sessions.tidy();
        sessions
    }

    fn adopt(&mut self, name: &str, kept: &mut BTreeMap<SessionId, Channel>, marked: &BTreeSet<SessionId>) {
        let noted = Supervisor::of(name);
        let (supervisor, until_ms) = noted.map_or((None, 0), |(supervisor, until_ms)| (Some(supervisor), until_ms));
        let process = self.base.as_deref().zip(supervisor.as_ref()).and_then(|(base, group)| group.process(base));
        let pidfd = process.and_then(|pid| jitsudo_sys::pidfd::open(pid).ok());
        match (SessionId::try_from(name.to_owned()), pidfd) {
            (Ok(session), Some(pidfd)) => {
                let origin = Fact::Unknown;
                let channel = kept.remove(&session);
                // The session's own process has it; what this program was started with is nobody's of ours.
                let of = |pid: Option<u32>| pid.and_then(|pid| jitsudo_sys::process::audit_session(pid).ok().flatten());
                let audit_session = of(process).filter(|_| of(Some(std::process::id())).is_none());
                self.live.push(Live {
                    session,
                    requester: None,
                    origin,
                    child: None,
                    pidfd,
                    channel,
                    supervisor,
                    released: false,
                    when_settled: None,
                    proving: false,
                    until_ms,
                    finishes: false,
                    told_to_end: false,
                    audit_session,
                    keep_ms: None,
                    offered: None,
                });
            }
            (Ok(session), None) if marked.contains(&session) => {
                let groups = self.base.as_deref().map(|base| Groups::of(base, name));
                if groups.is_some_and(|groups| groups.is_populated() && groups.kill().is_err()) {
                    self.stuck.push(session);
                }
                self.leftover.push(name.to_owned());
            }
            _ => self.leftover.push(name.to_owned()),
        }
    }

    /// False where sessions can only watch their descendants.
    pub(crate) fn has_cgroups(&self) -> bool {
        self.base.is_some()
    }

    /// Starts the next session ahead of its request.
    pub(crate) fn keep_one_warm(&mut self) {
        if let Some(mut warm) = self.warm.take_if(|warm| warm.child.reap()) {
            self.leftover_supervisors.extend(warm.supervisor.take());
        }
        if self.warm.is_none() {
            // Without a warm one the next start makes its own, and says why if it cannot.
            self.warm = self.fresh().ok();
        }
    }

    fn fresh(&self) -> std::io::Result<Warm> {
        let (channel, theirs) = Channel::pair()?;
        descriptors::leave_room(&channel)?;
        // Nobody is waited for here: not a session, nor what it leaves behind.
        channel.set_nonblocking(true)?;
        let supervisor = match self.base.as_deref() {
            Some(base) => Some(Supervisor::make(base, jitsudo_sys::clock::boottime_ms())?),
            None => None,
        };
        let group = self.base.as_deref().zip(supervisor.as_ref()).map(|(base, group)| group.path(base));
        let group = group.as_ref().and_then(|path| path.to_str());
        let program = Path::new(LIBEXEC).join("jitsudo-session");
        let child = child::start(&program, group.as_slice(), &theirs).inspect_err(|_| {
            // Nobody went in.
            if let Some((base, supervisor)) = self.base.as_deref().zip(supervisor.as_ref()) {
                supervisor.remove(base);
            }
        })?;
        Ok(Warm { child, channel, supervisor })
    }

    /// Gives a session its spec and the client its session; in words why not.
    pub(crate) fn start(
        &mut self,
        mut spec: Spec,
        origin: Fact<Origin>,
        when_settled: Option<WhenSettled>,
        client: &Channel,
    ) -> Result<u32, String> {
        if self.is_taken(&spec.session) {
            return Err("there is a session of that name already".to_owned());
        }
        if !self.has_room_for(spec.peer.uid) {
            return Err(format!("this account has {MAX_OF_ACCOUNT} sessions already"));
        }
        let proving = spec.authentication == Authentication::Needed;
        if proving && !self.may_be_asked(spec.peer.uid) {
            return Err(format!(
                "this account is asked for its password {MAX_PROVING_OF_ACCOUNT} times at once already"
            ));
        }
        let warm = self.warm.take().filter(|warm| jitsudo_sys::pidfd::is_alive(warm.child.pidfd().as_fd()));
        let warm = match warm {
            Some(warm) => warm,
            None => self.fresh().map_err(|error| format!("cannot start jitsudo-session: {error}"))?,
        };
        let name = spec.session.to_string();
        let groups = self.base.as_deref().map(|base| Groups::of(base, &name));
        if let Some((base, supervisor)) = self.base.as_deref().zip(warm.supervisor.as_ref()) {
            spec.supervisor = Some(supervisor.path(base).to_string_lossy().into_owned());
        }
        let until_ms = spec.ends_boottime_ms.saturating_add(spec.finish_ms).saturating_add(spec.grace_ms);
        let until_ms = until_ms.saturating_add(PATIENCE_MS);
        let finishes = spec.finish_ms > 0;
        let outcome = hand_over(&mut spec, groups.as_ref(), &warm, until_ms, client);
        let Warm { child, channel, supervisor } = warm;
        let pidfd = match outcome.and_then(|()| child.pidfd().try_clone().map_err(|error| error.to_string())) {
            Ok(pidfd) => pidfd,
            Err(cause) => {
                child.end();
                self.leftover_supervisors.extend(supervisor);
                if groups.is_some_and(|groups| !groups.remove()) {
                    self.leftover.push(name);
                }
                return Err(cause);
            }
        };
        let pid = child.pid();
        self.live.push(Live {
            session: spec.session,
            requester: Some(spec.peer.uid),
            origin,
            child: Some(child),
            pidfd,
            channel: Some(channel),
            supervisor,
            released: false,
            when_settled,
            proving,
            until_ms,
            finishes,
            told_to_end: false,
            audit_session: None,
            keep_ms: Some(jitsudo_sys::clock::boottime_ms().saturating_add(KEPT_FROM_MS)),
            offered: None,
        });
        Ok(pid)
    }

    fn has_room_for(&self, uid: u32) -> bool {
        uid == 0 || self.live.iter().filter(|live| live.requester == Some(uid)).count() < MAX_OF_ACCOUNT
    }

    fn may_be_asked(&self, uid: u32) -> bool {
        let proving = self.live.iter().filter(|live| live.proving && live.requester == Some(uid));
        proving.count() < MAX_PROVING_OF_ACCOUNT
    }

    /// True for a name in use: a second session of it would mix up groups, ends and records of both.
    fn is_taken(&self, session: &SessionId) -> bool {
        let name = session.to_string();
        let has_groups = self.base.as_deref().is_some_and(|base| Groups::of(base, &name).path().exists());
        has_groups || self.live.iter().any(|live| live.session == *session)
    }

    /// Descriptors to wait for: each session's channel (true) and pidfd (false).
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (&SessionId, bool, BorrowedFd<'_>)> {
        self.live.iter().flat_map(|live| {
            let channel = live.channel.as_ref().map(|channel| (&live.session, true, channel.as_fd()));
            channel.into_iter().chain([(&live.session, false, live.pidfd.as_fd())])
        })
    }

    /// Takes a message of a session.
    pub(crate) fn readable(&mut self, session: &SessionId) -> Heard {
        let Some(live) = self.live.iter_mut().find(|live| live.session == *session) else {
            return Heard::Quiet;
        };
        let message = live.channel.as_ref().map(Channel::receive);
        match message {
            Some(Ok(Some(message))) => match serde_json::from_slice(&message.bytes) {
                Ok(FromSessionToSpawner::Spooled) => Heard::Spooled,
                Ok(FromSessionToSpawner::Released) => {
                    live.released = true;
                    Heard::Nothing
                }
                // Once, and for what this start was about: its own words name nobody.
                Ok(FromSessionToSpawner::Authenticated) => {
                    live.proving = false;
                    Heard::Settled(live.when_settled.take())
                }
                Ok(FromSessionToSpawner::Audited(number)) => {
                    live.audit_session = Some(number);
                    Heard::Nothing
                }
                Ok(FromSessionToSpawner::Proved) => Heard::Proved,
                Ok(FromSessionToSpawner::Extended { ends_boottime_ms }) => Heard::Extended(ends_boottime_ms),
                Err(_) => Heard::Nothing,
            },
            // A process that a PAM module left behind may hold the other end for ever.
            Some(Err(error)) if error.would_block() => Heard::Quiet,
            _ => {
                live.channel = None;
                Heard::Quiet
            }
        }
    }

    /// By what is known what a session leaves, once it is gone.
    pub(crate) fn traces_of(&self, session: &SessionId) -> Option<escapes::Gone> {
        let live = self.live.iter().find(|live| live.session == *session)?;
        Some(escapes::Gone {
            // Who is given a role runs nothing.
            audit_session: live.audit_session.filter(|_| session.number != 0),
            released: live.released,
            until_ms: if live.told_to_end { 0 } else { live.until_ms.saturating_sub(PATIENCE_MS) },
        })
    }

    /// Those that have groups here and no process of their own.
    pub(crate) fn left(&self) -> BTreeSet<SessionId> {
        let names = self.base.as_deref().map(cgroups::left_over).unwrap_or_default();
        let sessions = names.into_iter().filter_map(|name| SessionId::try_from(name).ok());
        sessions.filter(|session| !self.is_live(session)).collect()
    }

    /// True for one whose process lives.
    pub(crate) fn is_live(&self, session: &SessionId) -> bool {
        self.live.iter().any(|live| live.session == *session)
    }

    /// Tells in which of our groups a process is; `None` where none can be made.
    pub(crate) fn whereabouts(&self) -> Option<impl Fn(u32) -> Option<String> + use<>> {
        let base = self.base.clone()?;
        Some(move |pid| cgroups::session_of(&base, pid))
    }

    /// A session's process is gone and has said its last: whatever of its command is left goes as well, unless it was given to the host.
    pub(crate) fn ended(&mut self, session: &SessionId) -> Option<Gone> {
        let place = self.live.iter().position(|live| live.session == *session)?;
        let mut live = self.live.swap_remove(place);
        // A session that ends as it should has closed the client's socket by itself.
        let failed = live.child.as_mut().is_some_and(|child| child.reap() && child.has_failed());
        if let Some((base, supervisor)) = self.base.as_deref().zip(live.supervisor.as_ref()).filter(|_| failed) {
            supervisor.kill(base);
        }
        if let Some((base, supervisor)) = self.base.as_deref().zip(live.supervisor.take())
            && !supervisor.remove(base)
        {
            self.leftover_supervisors.push(supervisor);
        }
        let name = live.session.to_string();
        // Who gives a role runs no command that could be found left.
        let mut gone = if session.number == 0 && failed { Gone::Lost } else { Gone::Tidy };
        let Some(groups) = self.base.as_deref().map(|base| Groups::of(base, &name)) else {
            return Some(gone);
        };
        if groups.is_populated() && !live.released {
            gone = if groups.kill().is_ok() { Gone::Lost } else { Gone::Stuck };
            if gone == Gone::Stuck {
                self.stuck.push(session.clone());
            }
        }
        if !groups.remove() {
            self.leftover.push(name);
        }
        Some(gone)
    }

    /// Has the channels of sessions that go on for a while kept.
    pub(crate) fn keep(&mut self, now_ms: u64, notify: &Notify) {
        for live in self.live.iter_mut().filter(|live| live.keep_ms.is_some_and(|from| from <= now_ms)) {
            live.keep_ms = None;
            if let Some(channel) = &live.channel {
                notify.keep(&format!("{KEPT}{}", live.session), channel.as_fd());
            }
        }
    }

    /// Kills what runs past its end because its session hangs; names those sessions. The end does not depend on one process.
    pub(crate) fn enforce(&mut self, now_ms: u64) -> Vec<SessionId> {
        let Some(base) = self.base.as_deref() else {
            return Vec::new();
        };
        let mut killed = Vec::new();
        for live in self.live.iter_mut().filter(|live| live.until_ms <= now_ms && !live.released) {
            let groups = Groups::of(base, &live.session.to_string());
            if groups.is_populated() {
                // Tried again in a second if it cannot be; what is in D state dies when it wakes.
                let _ = groups.kill();
                killed.push(live.session.clone());
            } else if live.told_to_end {
                // It hangs before its command: it would begin it later.
                let _ = jitsudo_sys::pidfd::signal(live.pidfd.as_fd(), SIGKILL);
            }
            live.until_ms = now_ms.saturating_add(PATIENCE_MS);
        }
        killed
    }

    /// The host slept, or this program did: sessions whose time came meanwhile have theirs from now on, as they would have had it.
    pub(crate) fn have_slept(&mut self, now_ms: u64, grace_ms: u64) {
        let until_ms = now_ms.saturating_add(grace_ms).saturating_add(PATIENCE_MS);
        for live in self.live.iter_mut().filter(|live| live.until_ms <= until_ms) {
            live.until_ms = until_ms;
        }
    }

    /// Tells every session of an access to end, now; true when there is one. A session that does not is killed with its command when its
    /// time for that is over.
    pub(crate) fn end_all(&mut self, access: &AccessId, cause: EndCause, now_ms: u64, grace_ms: u64) -> bool {
        let until_ms = now_ms.saturating_add(grace_ms).saturating_add(PATIENCE_MS);
        let mut any = false;
        for live in self.live.iter_mut().filter(|live| live.session.access == *access) {
            any = true;
            // Its own deadline holds, and who was adopted keeps it as well: whether it has time to finish only the session knows.
            if cause == EndCause::WindowOver && (live.finishes || live.requester.is_none()) {
                let _ = live.say(&SpawnerToSession::End(cause));
                continue;
            }
            if !live.released {
                live.until_ms = live.until_ms.min(until_ms);
                live.told_to_end = true;
            }
            let said = live.say(&SpawnerToSession::End(cause));
            // At the prompt it hears nothing, and has nothing that would have to be taken down.
            if !said || live.proving {
                let _ = jitsudo_sys::pidfd::signal(live.pidfd.as_fd(), SIGTERM);
            }
        }
        any
    }

    /// Whose sessions there are, as far as that is known.
    pub(crate) fn requesters(&self) -> impl Iterator<Item = u32> + '_ {
        self.live.iter().filter_map(|live| live.requester)
    }

    /// The accesses of an account that have sessions.
    pub(crate) fn accesses_of(&self, uid: u32) -> BTreeSet<AccessId> {
        let own = self.live.iter().filter(|live| live.requester == Some(uid));
        own.map(|live| live.session.access.clone()).collect()
    }

    /// Tells every command of an access its new end; those that cannot be told, with the end that they keep.
    pub(crate) fn extend(
        &mut self,
        access: &AccessId,
        ends: &Ends,
        old: &Ends,
        now_ms: u64,
    ) -> Vec<(SessionId, Timestamp)> {
        let word = SpawnerToSession::Extend { ends_at: ends.at, ends_boottime_ms: ends.boottime_ms };
        let by_ms = ends.boottime_ms.saturating_sub(old.boottime_ms);
        let mut deaf = Vec::new();
        let commands = |live: &&mut Live| live.session.access == *access && live.session.number > 0 && !live.released;
        for live in self.live.iter_mut().filter(commands) {
            // What was offered before and not answered is still what it has.
            let (old, before_ms) = live.offered.map_or((old.at, 0), |offer| (offer.old, offer.by_ms));
            let mut until_ms = Some(now_ms.saturating_add(ANSWER_MS));
            if !live.say(&word) {
                deaf.push((live.session.clone(), old));
                until_ms = None;
            }
            live.offered = Some(Offer { by_ms: before_ms.saturating_add(by_ms), old, until_ms });
        }
        deaf
    }

    /// A session answered: it is left alone until then. Never longer than it was told.
    pub(crate) fn extended(&mut self, session: &SessionId, ends_boottime_ms: u64, grace_ms: u64) {
        let Some(live) = self.live.iter_mut().find(|live| live.session == *session) else { return };
        let Some(offer) = live.offered.take() else { return };
        if live.told_to_end {
            return;
        }
        let until_ms = ends_boottime_ms.saturating_add(grace_ms).saturating_add(PATIENCE_MS);
        live.until_ms = until_ms.min(live.until_ms.saturating_add(offer.by_ms)).max(live.until_ms);
        if let Some(supervisor) = &live.supervisor {
            // Without it a restarted spawner would end it at the old time: too early, never too late.
            let _ = supervisor.note(&session.to_string(), live.until_ms);
        }
    }

    /// Sessions that did not answer in time, told once, with the end that they keep.
    pub(crate) fn unanswered(&mut self, now_ms: u64) -> Vec<(SessionId, Timestamp)> {
        let mut silent = Vec::new();
        for live in &mut self.live {
            if let Some(offer) = &mut live.offered
                && offer.until_ms.is_some_and(|until_ms| until_ms <= now_ms)
            {
                offer.until_ms = None;
                silent.push((live.session.clone(), offer.old));
            }
        }
        silent
    }

    /// Says something to a session; false when it does not listen.
    pub(crate) fn say(&self, session: &SessionId, word: &SpawnerToSession) -> bool {
        self.live.iter().find(|live| live.session == *session).is_some_and(|live| live.say(word))
    }

    /// The accesses of which anything may run.
    pub(crate) fn accesses(&self) -> impl Iterator<Item = &AccessId> {
        self.live.iter().map(|live| &live.session).chain(&self.stuck).map(|session| &session.access)
    }

    /// When [`Self::enforce`] or [`Self::keep`] has something to do next.
    pub(crate) fn next_end(&self) -> Option<u64> {
        let ends = self.live.iter().filter(|live| !live.released).map(|live| live.until_ms);
        let answers = self.live.iter().filter_map(|live| live.offered.and_then(|offer| offer.until_ms));
        ends.chain(self.live.iter().filter_map(|live| live.keep_ms)).chain(answers).min()
    }

    /// Tries again to remove the groups that were still in use.
    pub(crate) fn tidy(&mut self) {
        if let Some(base) = self.base.as_deref() {
            self.stuck.retain(|session| {
                let groups = Groups::of(base, &session.to_string());
                // What cannot be killed now is told below, and tried again.
                let _ = groups.kill();
                groups.is_populated()
            });
            self.leftover.retain(|name| !Groups::of(base, name).remove());
            self.leftover_supervisors.retain(|supervisor| !supervisor.remove(base));
        }
    }

    /// Whether a process runs inside of a session; `None` where that cannot be told, as where there are no groups.
    pub(crate) fn is_inside(&self, pid: u32) -> Option<bool> {
        self.base.as_deref().and_then(|_| cgroups::is_inside(pid))
    }

    /// The origin of the session that a process runs inside of.
    pub(crate) fn origin_inside(&self, pid: u32) -> Option<Fact<Origin>> {
        let inside = cgroups::session_of(self.base.as_deref()?, pid)?;
        let live = self.live.iter().find(|live| live.session.to_string() == inside);
        Some(live.map_or(Fact::Unknown, |live| live.origin.clone()))
    }
}

/// The channels that the manager kept while there was no spawner.
pub(crate) fn kept_channels() -> BTreeMap<SessionId, Channel> {
    let named = notify::passed().into_iter().filter_map(|(number, name)| {
        let session = SessionId::try_from(name.strip_prefix(KEPT)?.to_owned()).ok()?;
        Some((session, Channel::from_inherited(number).ok()?))
    });
    named.collect()
}

/// Groups, spec, and the client's end of the pair, in this order: the client gets its session only when that can take it.
fn hand_over(
    spec: &mut Spec,
    groups: Option<&Groups>,
    warm: &Warm,
    until_ms: u64,
    client: &Channel,
) -> Result<(), String> {
    let command_group = match groups.zip(warm.supervisor.as_ref()) {
        Some((groups, supervisor)) => {
            let made = groups
                .make(supervisor, until_ms)
                .map_err(|error| format!("cannot make the session's cgroup: {error}"))?;
            jitsudo_sys::failpoint::reach("spawner.session.grouped");
            spec.cgroup = Some(groups.path().to_string_lossy().into_owned());
            Some(made)
        }
        None => None,
    };
    let pair = Channel::pair().and_then(|pair| descriptors::leave_room(&pair.1).map(|()| pair));
    let (sessions_end, clients_end) = pair.map_err(|error| format!("cannot make a socket pair: {error}"))?;
    // Before either end is used: every message on them says who sent it.
    let asked = sessions_end.ask_for_credentials().and_then(|()| clients_end.ask_for_credentials());
    asked.map_err(|error| format!("cannot ask for credentials: {error}"))?;
    let text = serde_json::to_vec(spec).map_err(|error| error.to_string())?;
    let mut attached = vec![sessions_end.as_fd()];
    attached.extend(command_group.as_ref().map(|group| group.as_fd()));
    warm.channel.send(&text, &attached).map_err(|error| format!("cannot reach jitsudo-session: {error}"))?;
    jitsudo_sys::failpoint::reach("spawner.session.told");
    let message = FromDecider::HandOver { session: spec.session.to_string() };
    let text = serde_json::to_vec(&message).map_err(|error| error.to_string())?;
    client.send_now(&text, &[clients_end.as_fd()]).map_err(|error| format!("cannot reach the client: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_a_session_is_taken_while_it_lives_or_its_groups_do() {
        let base = std::env::temp_dir().join(format!("jitsudo-sessions-{}", std::process::id()));
        let [live, left, free] =
            [1, 2, 3].map(|number| SessionId::try_from(format!("01jd0000000000000000000000.{number}")).unwrap());
        std::fs::create_dir_all(base.join(left.to_string())).unwrap();
        let lives = Live {
            session: live.clone(),
            requester: None,
            origin: Fact::Unknown,
            child: None,
            pidfd: jitsudo_sys::pidfd::open(std::process::id()).unwrap(),
            channel: None,
            supervisor: None,
            released: false,
            when_settled: None,
            proving: false,
            until_ms: 0,
            finishes: false,
            told_to_end: false,
            audit_session: None,
            keep_ms: None,
            offered: None,
        };
        let sessions = Sessions {
            base: Some(base.clone()),
            warm: None,
            live: vec![lives],
            leftover: Vec::new(),
            leftover_supervisors: Vec::new(),
            stuck: Vec::new(),
        };
        assert!(sessions.is_taken(&live) && sessions.is_taken(&left) && !sessions.is_taken(&free));
        std::fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn dos_01_one_account_has_its_share_of_sessions() {
        let one = |number: usize| Live {
            session: SessionId::try_from(format!("01jd0000000000000000000000.{}", number + 1)).unwrap(),
            requester: Some(1000),
            origin: Fact::Unknown,
            child: None,
            pidfd: std::fs::File::open("/dev/null").unwrap().into(),
            channel: None,
            supervisor: None,
            released: false,
            when_settled: None,
            proving: false,
            until_ms: 0,
            finishes: false,
            told_to_end: false,
            audit_session: None,
            keep_ms: None,
            offered: None,
        };
        let mut sessions = Sessions {
            base: None,
            warm: None,
            live: (1..MAX_OF_ACCOUNT).map(one).collect(),
            leftover: Vec::new(),
            leftover_supervisors: Vec::new(),
            stuck: Vec::new(),
        };
        assert!(sessions.has_room_for(1000));
        sessions.live.push(one(0));
        assert!(!sessions.has_room_for(1000));
        assert!(sessions.has_room_for(1001) && sessions.has_room_for(0));
    }

    #[test]
    fn dos_04_one_account_is_asked_for_few_passwords_at_once() {
        let (ours, theirs) = Channel::pair().unwrap();
        let mut ours = Some(ours);
        let mut one = |number: usize| Live {
            session: SessionId::try_from(format!("01jd0000000000000000000000.{}", number + 1)).unwrap(),
            requester: Some(1000),
            origin: Fact::Unknown,
            child: None,
            pidfd: std::fs::File::open("/dev/null").unwrap().into(),
            channel: ours.take(),
            supervisor: None,
            released: false,
            when_settled: None,
            proving: true,
            until_ms: 0,
            finishes: false,
            told_to_end: false,
            audit_session: None,
            keep_ms: None,
            offered: None,
        };
        let live = (0..MAX_PROVING_OF_ACCOUNT).map(&mut one).collect();
        let mut sessions = Sessions {
            base: None,
            warm: None,
            live,
            leftover: Vec::new(),
            leftover_supervisors: Vec::new(),
            stuck: Vec::new(),
        };
        assert!(!sessions.may_be_asked(1000) && sessions.may_be_asked(1001));
        // Who has proven it makes room, whether or not that is remembered.
        theirs.send(&serde_json::to_vec(&FromSessionToSpawner::Authenticated).unwrap(), &[]).unwrap();
        let first = sessions.live[0].session.clone();
        assert_eq!(sessions.readable(&first), Heard::Settled(None));
        assert!(sessions.may_be_asked(1000));
    }

    #[test]
    fn session_that_does_not_answer_keeps_its_old_end_and_is_told_once() {
        let (ours, theirs) = Channel::pair().unwrap();
        let live = |number: u32, channel: Option<Channel>| Live {
            session: SessionId::try_from(format!("01jd0000000000000000000000.{number}")).unwrap(),
            requester: Some(1000),
            origin: Fact::Unknown,
            child: None,
            pidfd: std::fs::File::open("/dev/null").unwrap().into(),
            channel,
            supervisor: None,
            released: false,
            when_settled: None,
            proving: false,
            until_ms: 100_000,
            told_to_end: false,
            keep_ms: None,
            offered: None,
            finishes: false,
            audit_session: None,
        };
        let mut sessions = Sessions {
            base: None,
            warm: None,
            live: vec![live(1, Some(ours)), live(2, None)],
            leftover: Vec::new(),
            leftover_supervisors: Vec::new(),
            stuck: Vec::new(),
        };
        let ends = |minute: u32| Ends {
            at: format!("2026-11-21T12:{minute:02}:00Z").parse().unwrap(),
            boottime_ms: u64::from(minute) * 60_000,
            boot: "b".into(),
        };
        let [one, two] = [0, 1].map(|place: usize| sessions.live[place].session.clone());
        let access = one.access.clone();
        // One that cannot be told is told of at once; the other has its time.
        assert_eq!(sessions.extend(&access, &ends(40), &ends(30), 0), [(two.clone(), ends(30).at)]);
        assert!(sessions.unanswered(ANSWER_MS - 1).is_empty());
        assert_eq!(sessions.unanswered(ANSWER_MS), [(one.clone(), ends(30).at)]);
        assert!(sessions.unanswered(u64::MAX).is_empty());
        assert_eq!(sessions.live[0].until_ms, 100_000);
        // A late answer counts, but never for longer than what was offered.
        let word = SpawnerToSession::Extend { ends_at: ends(40).at, ends_boottime_ms: ends(40).boottime_ms };
        assert_eq!(theirs.receive().unwrap().unwrap().bytes, serde_json::to_vec(&word).unwrap());
        sessions.extended(&one, u64::MAX, 1000);
        assert_eq!(sessions.live[0].until_ms, 100_000 + 600_000);
        // What was not offered is not taken.
        sessions.extended(&one, u64::MAX, 1000);
        sessions.live[1].offered = None;
        sessions.extended(&two, u64::MAX, 1000);
        assert_eq!((sessions.live[0].until_ms, sessions.live[1].until_ms), (700_000, 100_000));
    }
}
