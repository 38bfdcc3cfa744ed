//! The loop: one thread waits for everybody (epoll(7)) and does one small thing at a time.
//!
//! MUSTs
//! 1. Nothing here waits for a peer, the disk or a directory: what could is a thread's or another process's
//!    (`dos_02_*`, `flood_*`).
//! 2. Who connects is settled before anything is read, and counted before anything is kept (`dos_01_*`).
//! 3. A connection's fault closes that connection and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use jitsudo_core::Timestamp;
use jitsudo_core::id::SessionId;
use jitsudo_core::name::Uid;
use jitsudo_ledger::OpenError;
use jitsudo_link::settings::Settings;
use jitsudo_protocol::VERSION;
use jitsudo_protocol::client::{Fault, FaultCode, FromDecider};
use jitsudo_sys::channel::{Channel, ChannelError};
use jitsudo_sys::clock::{self, Moment};
use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use jitsudo_sys::nix::sys::eventfd::{EfdFlags, EventFd};
use jitsudo_sys::nix::sys::signal::Signal;
use jitsudo_sys::nix::sys::signalfd::SignalFd;
use jitsudo_sys::notify::{Notify, watchdog_interval};
use jitsudo_sys::syslog::Severity;

use crate::client::{Client, Phase, Said, Sent, fault, malformed};
use crate::ledger::{Ledger, Ticket};
use crate::limits::{Cost, Limits, Refusal};
use crate::lines::Told;
use crate::log::Reader;
use crate::outputs::Outputs;
use crate::places::{Patience, Places};
use crate::policy::InForce;
use crate::record::Stamp;
use crate::spawner::Spawner;
use crate::spool::Spool;
use crate::work::{After, Pending};

const LISTENER: u64 = 0;
const WAKE: u64 = 1;
const SIGNALS: u64 = 2;
const SPAWNER: u64 = 3;
/// Clients are counted from here, and no number is used twice.
const FIRST_CLIENT: u64 = 16;
/// Messages taken from one peer before the others have their turn.
const TURN: usize = 16;
/// Sessions whose first connection is kept to see it close; beyond, our end of it is closed at once.
const MAX_HANDED_OVER: usize = 1024;

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
    pub(crate) moment: Moment,
    pub(crate) notify: Notify,
    epoll: Epoll,
    listener: Channel,
    accepting: bool,
    wake: Arc<EventFd>,
    signals: Option<SignalFd>,
    pub(crate) clients: HashMap<u64, Client>,
    next_client: u64,
    handed_over: usize,
    pub(crate) limits: Limits,
    pub(crate) spawner: Spawner,
    pub(crate) pending: BTreeMap<u64, Pending>,
    pub(crate) next_number: u64,
    pub(crate) policy: InForce,
    pub(crate) ledger: Ledger,
    pub(crate) after: HashMap<Ticket, After>,
    pub(crate) outputs: Outputs,
    pub(crate) reader: Reader,
    pub(crate) reading: BTreeMap<u64, Uid>,
    pub(crate) spool: Spool,
    pub(crate) gone: BTreeMap<SessionId, u64>,
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
    pub(crate) watchdog_ms: u64,
    pub(crate) watchdog_every_ms: Option<u64>,
    /// Last event that was there when the head was told, our own words about it included.
    pub(crate) published_seq: u64,
    /// Wall clock minus boot clock.
    pub(crate) offset_ms: i128,
    /// The ledger's trouble has been told.
    pub(crate) ledger_trouble_told: bool,
    /// The spawner's absence has been told.
    pub(crate) spawner_away_told: bool,
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
        let Setup { listener, signals, places, patience, settings, nodename, stop } = setup;
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
        let ledger = Ledger::open(&places.ledger, Arc::clone(&wake)).map_err(StartError::Ledger)?;
        let reader = Reader::start(&places.ledger, Arc::clone(&wake))?;
        let moment = clock::now();
        let watchdog = watchdog_interval().and_then(|interval| u64::try_from(interval.as_millis()).ok());
        Ok(Self {
            host: settings.host_or(&nodename),
            policy: InForce::load(&places.policy, places.root),
            places,
            patience,
            settings,
            boot: clock::boot_id()?,
            since: wall(moment),
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
            next_number: 1,
            times: Times {
                offset_ms: offset_ms(moment),
                published_seq: ledger.head().seq,
                watchdog_every_ms: watchdog,
                ..Times::default()
            },
            ledger,
            after: HashMap::new(),
            outputs,
            reader,
            reading: BTreeMap::new(),
            spool: Spool::default(),
            gone: BTreeMap::new(),
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
        self.notify.send("STOPPING=1");
        Ok(())
    }

    fn ready(&mut self, token: u64, flags: EpollFlags) {
        match token {
            LISTENER => self.accept(),
            WAKE => {
                let _ = self.wake.read();
                self.settle_ledger();
                self.settle_log();
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

    fn accept(&mut self) {
        for _ in 0..TURN {
            match self.listener.accept() {
                Ok(channel) => self.welcome(channel),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // No descriptors or memory: the listener would stay readable and spin. It is asked again at the next tick.
                Err(_) => {
                    let _ = self.epoll.delete(&self.listener);
                    self.accepting = false;
                    return;
                }
            }
        }
    }

    /// Accepts again after a pause.
    pub(crate) fn accept_again(&mut self) {
        if !self.accepting {
            self.accepting = watch(&self.epoll, &self.listener, LISTENER).is_ok();
        }
    }

    fn welcome(&mut self, channel: Channel) {
        let Ok(peer) = channel.peer() else { return };
        if let Err(fault) = self.admissible(&channel, peer.pid, peer.uid) {
            // Whether it is read is the peer's business; the connection closes here.
            if let Ok(bytes) = serde_json::to_vec(&FromDecider::Fault(fault)) {
                let _ = channel.send(&bytes, &[]);
            }
            return;
        }
        let number = self.next_client;
        self.next_client += 1;
        let hello = jitsudo_sys::random::hex::<16>().map(|nonce| {
            let hello =
                FromDecider::Hello { oldest: VERSION, newest: VERSION, nonce: nonce.clone(), host: self.host.clone() };
            (nonce, hello)
        });
        let watched = watch(&self.epoll, &channel, number);
        let (Ok((nonce, hello)), Ok(())) = (hello, watched) else {
            self.limits.leave(peer.uid);
            return;
        };
        let until_ms = self.now_ms().saturating_add(self.patience.first_ms);
        self.clients.insert(number, Client::new(channel, peer, nonce, until_ms));
        self.say(number, &hello);
    }

    fn admissible(&mut self, channel: &Channel, pid: u32, uid: u32) -> Result<(), Fault> {
        // pid 0: a process outside our pid namespace. 65534 and 2^32-1: an id that the kernel could not translate.
        if pid == 0 || !Uid(uid).is_account() {
            return Err(fault(FaultCode::Credentials, "cannot tell who asks: the peer is in another namespace"));
        }
        if channel.ask_for_credentials().is_err() {
            return Err(fault(FaultCode::Credentials, "cannot tell who asks"));
        }
        self.limits.admit(uid, self.moment.boottime_ms).map_err(|refusal| match refusal {
            Refusal::Account => fault(FaultCode::Busy, "cannot take the connection: this account has 64 already"),
            Refusal::Full => fault(FaultCode::Busy, "cannot take the connection: too many are open"),
        })
    }

    fn client_ready(&mut self, number: u64, flags: EpollFlags) {
        if flags.contains(EpollFlags::EPOLLOUT) {
            let sent = self.clients.get_mut(&number).map(Client::flush);
            self.after_sending(number, sent);
        }
        for _ in 0..TURN {
            let Some(client) = self.clients.get_mut(&number) else { return };
            if client.blocked {
                // Who does not take answers asks nothing more; only its going is noticed.
                if flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
                    self.drop_client(number);
                }
                return;
            }
            match client.channel.receive() {
                Ok(Some(message)) => {
                    let heard = client.hear(message);
                    self.heard(number, heard);
                }
                Ok(None) => return self.drop_client(number),
                Err(error) if error.would_block() => return,
                Err(ChannelError::Truncated) => {
                    return self.refuse(number, malformed("cannot take the message: it is longer than 64 KiB"));
                }
                Err(ChannelError::Io(_)) => return self.drop_client(number),
            }
        }
    }

    fn heard(&mut self, number: u64, heard: Result<Said, Fault>) {
        let now_ms = self.now_ms();
        let Some(client) = self.clients.get_mut(&number) else { return };
        let said = match heard {
            Ok(said) => said,
            Err(fault) => return self.refuse(number, fault),
        };
        let cost = match said {
            Said::Part => Cost::Datagram,
            Said::Run(_) | Said::Ask(_) => Cost::Request,
        };
        let paid = self.limits.pay(client.peer.uid, cost, now_ms);
        match said {
            Said::Part => {
                if paid {
                    return;
                }
                self.refuse(number, crate::words::busy("this account sends too much at once"));
            }
            Said::Run(_) | Said::Ask(_) if !paid => {
                let fault = crate::words::busy("this account asks more than 100 times a second");
                self.answer(number, &[FromDecider::Fault(fault)]);
            }
            Said::Run(act) => {
                client.until_ms = Some(now_ms.saturating_add(self.patience.work_ms));
                self.begin_run(number, act);
            }
            Said::Ask(ask) => {
                client.until_ms = Some(now_ms.saturating_add(self.patience.work_ms));
                self.begin_ask(number, ask);
            }
        }
    }

    /// Answers a client, which may then ask again.
    pub(crate) fn answer(&mut self, number: u64, messages: &[FromDecider]) {
        let until_ms = self.now_ms().saturating_add(self.patience.idle_ms);
        if let Some(client) = self.clients.get_mut(&number) {
            client.phase = Phase::Open;
            client.until_ms = Some(until_ms);
        }
        for message in messages {
            self.say(number, message);
        }
    }

    /// Answers with a fault; the connection stays.
    pub(crate) fn fail(&mut self, number: u64, fault: Fault) {
        self.answer(number, &[FromDecider::Fault(fault)]);
    }

    /// Says why and closes.
    pub(crate) fn refuse(&mut self, number: u64, fault: Fault) {
        if let Some(client) = self.clients.get_mut(&number) {
            client.closing = true;
        }
        self.say(number, &FromDecider::Fault(fault));
    }

    /// The session has taken over.
    pub(crate) fn hand_over(&mut self, number: u64) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        if self.handed_over >= MAX_HANDED_OVER {
            return self.drop_client(number);
        }
        client.phase = Phase::HandedOver;
        client.until_ms = None;
        self.handed_over += 1;
        self.limits.leave(client.peer.uid);
    }

    fn say(&mut self, number: u64, message: &FromDecider) {
        let sent = self.clients.get_mut(&number).map(|client| client.say(message));
        self.after_sending(number, sent);
    }

    fn after_sending(&mut self, number: u64, sent: Option<Sent>) {
        let Some(client) = self.clients.get(&number) else { return };
        match sent {
            None => {}
            Some(Sent::Gone) => self.drop_client(number),
            Some(Sent::All) if client.closing => self.drop_client(number),
            Some(Sent::All | Sent::Some) => {
                let wanted = if client.blocked { EpollFlags::EPOLLOUT } else { EpollFlags::EPOLLIN };
                let mut event = EpollEvent::new(wanted, number);
                let _ = self.epoll.modify(&*client.channel, &mut event);
            }
        }
    }

    /// Closes a connection. Our end may be in the spawner's hands too, so epoll is told.
    pub(crate) fn drop_client(&mut self, number: u64) {
        if let Some(client) = self.clients.remove(&number) {
            let _ = self.epoll.delete(&*client.channel);
            match client.phase {
                Phase::HandedOver => self.handed_over = self.handed_over.saturating_sub(1),
                Phase::Open | Phase::Arriving(_) | Phase::Served => self.limits.leave(client.peer.uid),
            }
        }
    }

    /// Closes connections whose patience ended.
    pub(crate) fn drop_the_silent(&mut self) {
        let now_ms = self.now_ms();
        let silent = |client: &Client| client.until_ms.is_some_and(|until_ms| until_ms <= now_ms);
        let silent: Vec<u64> =
            self.clients.iter().filter(|(_, client)| silent(client)).map(|(number, _)| *number).collect();
        for number in silent {
            match self.clients.get(&number).map(|client| (&client.phase, client.blocked)) {
                Some((Phase::Served, false)) => {
                    let fault = Fault {
                        code: FaultCode::Spawner,
                        message: "cannot answer: it took too long".to_owned(),
                        hint: Some("systemctl status jitsudo-spawn; jitctl status".to_owned()),
                    };
                    self.refuse(number, fault);
                }
                _ => self.drop_client(number),
            }
        }
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

fn watch(epoll: &Epoll, descriptor: impl AsFd, token: u64) -> Result<(), Errno> {
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
