//! The loop: one thread waits for everybody (epoll(7)) and does one small thing at a time.
//!
//! MUST: nothing here waits for a peer, the disk or a directory: what could is a thread's or another process's (`dos_02_*`).

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use jitsudo_core::Timestamp;
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_core::name::Uid;
use jitsudo_ledger::OpenError;
use jitsudo_link::settings::Settings;
use jitsudo_sys::channel::Channel;
use jitsudo_sys::clock::{self, Moment};
use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use jitsudo_sys::nix::sys::eventfd::{EfdFlags, EventFd};
use jitsudo_sys::nix::sys::signal::Signal;
use jitsudo_sys::nix::sys::signalfd::SignalFd;
use jitsudo_sys::notify::{Notify, watchdog_interval};
use jitsudo_sys::syslog::Severity;

use crate::approvals::Approvals;
use crate::away::Waiting;
use crate::client::Client;
use crate::heads::Heads;
use crate::ledger::{Ledger, Ticket};
use crate::limits::Limits;
use crate::lines::Told;
use crate::orders::Numbers;
use crate::outputs::Outputs;
use crate::places::{Patience, Places};
use crate::policy::{InForce, Loads};
use crate::record::Stamp;
use crate::spawner::Spawner;
use crate::spool::Spool;
use crate::work::{After, Pending};
use crate::worker::Worker;

pub(crate) const LISTENER: u64 = 0;
const WAKE: u64 = 1;
const SIGNALS: u64 = 2;
const SPAWNER: u64 = 3;
/// Clients are counted from here, and no number is used twice.
const FIRST_CLIENT: u64 = 16;
/// Messages taken from one peer before the others have their turn.
pub(crate) const TURN: usize = 16;

/// What the daemon is started with.
pub(crate) struct Setup {
    /// The clients' listening socket.
    pub(crate) listener: Channel,
    /// SIGTERM and SIGHUP, where they are taken.
    pub(crate) signals: Option<SignalFd>,
    /// Where everything is.
    pub(crate) places: Places,
    /// How long anybody is waited for.
    pub(crate) patience: Patience,
    /// jitsudod.toml.
    pub(crate) settings: Settings,
    /// The kernel's nodename.
    pub(crate) nodename: String,
    /// The id of this boot, as the kernel writes it.
    pub(crate) boot: String,
    /// Becomes readable when the daemon is to end: the process that keeps it is gone.
    pub(crate) stop: Option<OwnedFd>,
}

/// The decider.
pub(crate) struct Daemon {
    pub(crate) places: Places,
    pub(crate) patience: Patience,
    pub(crate) settings: Settings,
    pub(crate) host: String,
    pub(crate) boot: String,
    pub(crate) since: Timestamp,
    pub(crate) since_ms: u64,
    pub(crate) moment: Moment,
    pub(crate) notify: Notify,
    pub(crate) epoll: Epoll,
    pub(crate) listener: Channel,
    pub(crate) accepting: bool,
    wake: Arc<EventFd>,
    signals: Option<SignalFd>,
    pub(crate) clients: HashMap<u64, Client>,
    pub(crate) next_client: u64,
    pub(crate) handed_over: usize,
    pub(crate) limits: Limits,
    pub(crate) spawner: Spawner,
    pub(crate) pending: BTreeMap<u64, Pending>,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) next_number: u64,
    pub(crate) policy: InForce,
    pub(crate) loads: Loads,
    pub(crate) ledger: Ledger,
    pub(crate) heads: Heads,
    pub(crate) after: HashMap<Ticket, After>,
    pub(crate) outputs: Outputs,
    pub(crate) worker: Worker,
    /// Clients whose questions the worker has, and their accounts.
    pub(crate) asking: BTreeMap<u64, Uid>,
    pub(crate) spool: Spool,
    pub(crate) gone: BTreeMap<SessionId, u64>,
    /// What waits for other people.
    pub(crate) approvals: Approvals,
    /// Roles that the spawner knows nothing of, and since when that is known.
    pub(crate) unknown: BTreeMap<AccessId, u64>,
    /// The last session's number of each role grant.
    pub(crate) numbers: Numbers,
    /// Locks whose record is not durable yet, and by whom; they hold already.
    pub(crate) locking: BTreeMap<Uid, (jitsudo_core::state::Lock, Uid)>,
    /// What happens from time to time.
    pub(crate) times: Times,
    stop: bool,
    /// Held for its being watched.
    _stop_signal: Option<OwnedFd>,
}

/// When what happens next, CLOCK_BOOTTIME milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub(crate) tick_ms: u64,
    pub(crate) spool_ms: u64,
    pub(crate) mend_ms: u64,
    pub(crate) publish_ms: u64,
    /// When the spawner is asked what it knows; absent once it was.
    pub(crate) ask_known_ms: Option<u64>,
    /// When it is asked again about what is past its end.
    pub(crate) ask_overdue_ms: u64,
    pub(crate) watchdog_ms: u64,
    pub(crate) watchdog_every_ms: Option<u64>,
    /// The tick before this one.
    pub(crate) ticked_ms: u64,
    /// Since when there was a tick whenever one was due: before that nobody's silence was heard.
    pub(crate) awake_ms: u64,
    /// Last event that was there when the head was told, our own words about it included.
    pub(crate) published_seq: u64,
    /// Wall clock minus boot clock.
    pub(crate) offset_ms: i128,
    /// The ledger's trouble has been told.
    pub(crate) ledger_trouble_told: bool,
    /// The spawner's absence has been told.
    pub(crate) spawner_away_told: bool,
    /// That the clients' socket is gone has been told.
    pub(crate) front_gone_told: bool,
}

/// Why the daemon could not begin.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The ledger is another process's.
    Ledger(OpenError),
    /// The system's word.
    Io(io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ledger(error) => error.fmt(f),
            Self::Io(error) => write!(f, "cannot start: {error}"),
        }
    }
}
impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
impl From<Errno> for StartError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

impl Daemon {
    /// Opens what it needs.
    pub(crate) fn prepare(setup: Setup) -> Result<Self, StartError> {
        let Setup { listener, signals, places, patience, settings, nodename, boot, stop } = setup;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        listener.ask_for_credentials()?;
        listener.set_nonblocking(true)?;
        watch(&epoll, &listener, LISTENER)?;
        watch(&epoll, &*wake, WAKE)?;
        if let Some(stop) = &stop {
            watch(&epoll, stop, SIGNALS)?;
        }
        if let Some(signals) = &signals {
            watch(&epoll, signals, SIGNALS)?;
        }
        let outputs = Outputs::start(&places.journal, &places.syslog)?;
        let ledger =
            Ledger::open(&places.ledger, places.reserve_bytes, Arc::clone(&wake)).map_err(StartError::Ledger)?;
        let worker = Worker::start(&places.ledger, Arc::clone(&wake))?;
        let moment = clock::now();
        let watchdog = watchdog_interval().and_then(|interval| u64::try_from(interval.as_millis()).ok());
        Ok(Self {
            host: settings.host_or(&nodename),
            policy: InForce::load(&places.policy, places.root),
            loads: Loads::new(Arc::clone(&wake)),
            heads: Heads::new(Arc::clone(&wake)),
            places,
            patience,
            settings,
            boot,
            since: wall(moment),
            since_ms: moment.boottime_ms,
            notify: Notify::from_environment(),
            epoll,
            listener,
            accepting: true,
            wake,
            signals,
            clients: HashMap::new(),
            next_client: FIRST_CLIENT,
            handed_over: 0,
            limits: Limits::default(),
            spawner: Spawner::default(),
            pending: BTreeMap::new(),
            waiting: Vec::new(),
            next_number: 1,
            times: Times {
                offset_ms: offset_ms(moment),
                published_seq: ledger.head().seq,
                watchdog_every_ms: watchdog,
                ticked_ms: moment.boottime_ms,
                awake_ms: moment.boottime_ms,
                ..Times::default()
            },
            ledger,
            after: HashMap::new(),
            outputs,
            worker,
            asking: BTreeMap::new(),
            spool: Spool::default(),
            gone: BTreeMap::new(),
            approvals: Approvals::default(),
            unknown: BTreeMap::new(),
            numbers: Numbers::new(),
            locking: BTreeMap::new(),
            moment,
            stop: false,
            _stop_signal: stop,
        })
    }

    /// Serves until it is told to stop.
    pub(crate) fn serve(&mut self) -> io::Result<()> {
        self.begin();
        let mut events = [EpollEvent::empty(); 128];
        while !self.stop {
            let due = self.times.tick_ms.saturating_sub(self.now_ms()).min(self.patience.tick_ms);
            let timeout = EpollTimeout::from(u16::try_from(due).unwrap_or(u16::MAX));
            let count = match self.epoll.wait(&mut events, timeout) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(errno) => return Err(errno.into()),
            };
            self.moment = clock::now();
            for event in events.iter().take(count) {
                self.ready(event.data(), event.events());
            }
            if self.now_ms() >= self.times.tick_ms {
                self.times.tick_ms = self.now_ms().saturating_add(self.patience.tick_ms);
                self.tick();
            }
        }
        self.end_heads();
        self.notify.send("STOPPING=1");
        Ok(())
    }

    fn ready(&mut self, token: u64, flags: EpollFlags) {
        match token {
            LISTENER => self.accept(),
            WAKE => {
                let _ = self.wake.read();
                self.settle_ledger();
                self.settle_worker();
                self.settle_policy();
                self.settle_heads();
            }
            SIGNALS => self.signalled(),
            SPAWNER => self.spawner_ready(flags),
            client => self.client_ready(client, flags),
        }
    }

    fn signalled(&mut self) {
        let signal = self.signals.as_ref().and_then(|signals| signals.read_signal().ok().flatten());
        let hangup = signal.is_some_and(|signal| i32::try_from(signal.ssi_signo) == Ok(Signal::SIGHUP as i32));
        if hangup {
            self.notify.send("RELOADING=1");
            self.reload_policy();
            self.notify.send("READY=1");
        } else {
            self.stop = true;
        }
    }

    /// Now, by the boot clock.
    pub(crate) fn now_ms(&self) -> u64 {
        self.moment.boottime_ms
    }

    /// What every entry of this moment begins with.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp {
            host: self.host.clone(),
            boot: self.boot.clone(),
            wall: wall(self.moment),
            boottime_ms: self.moment.boottime_ms,
        }
    }

    /// Tells operators about ourselves.
    pub(crate) fn tell(&mut self, severity: Severity, text: &str) {
        self.outputs.tell(Told::health(severity, text));
    }

    /// Connects to the spawner when it is away and it is time to try.
    pub(crate) fn connect_spawner(&mut self) {
        let now_ms = self.now_ms();
        let path = self.places.spawner.clone();
        if self.spawner.connect_when_due(&path, self.places.root, now_ms)
            && let Some(channel) = self.spawner.channel()
            && watch(&self.epoll, channel, SPAWNER).is_err()
        {
            self.spawner.drop_connection("it cannot be waited for", now_ms);
        }
    }

    fn spawner_ready(&mut self, flags: EpollFlags) {
        if flags.contains(EpollFlags::EPOLLOUT) {
            self.spawner.flush();
        }
        for _ in 0..TURN * 4 {
            match self.spawner.hear() {
                Ok(Some(message)) => self.spawner_said(message),
                Ok(None) => break,
                Err(cause) => {
                    self.spawner_lost(&cause);
                    return;
                }
            }
        }
        self.watch_spawner();
    }

    /// Waits for room when there is none.
    pub(crate) fn watch_spawner(&self) {
        if let Some(channel) = self.spawner.channel() {
            let room = if self.spawner.blocked { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
            let mut event = EpollEvent::new(EpollFlags::EPOLLIN | room, SPAWNER);
            let _ = self.epoll.modify(channel, &mut event);
        }
    }
}

pub(crate) fn watch(epoll: &Epoll, descriptor: impl AsFd, token: u64) -> Result<(), Errno> {
    epoll.add(descriptor, EpollEvent::new(EpollFlags::EPOLLIN, token))
}

/// The wall clock of a moment, to the microsecond.
pub(crate) fn wall(moment: Moment) -> Timestamp {
    let microseconds = i64::try_from(moment.wall_ns / 1000).unwrap_or_default();
    Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// How far the wall clock is ahead of the boot clock, milliseconds.
pub(crate) fn offset_ms(moment: Moment) -> i128 {
    moment.wall_ns / 1_000_000 - i128::from(moment.boottime_ms)
}
