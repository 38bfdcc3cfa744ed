//! Connections of clients, from accept to close.
//!
//! MUSTs
//! 1. Who connects is settled before anything is read, and counted before anything is kept (`dos_01_*`).
//! 2. A connection's fault closes that connection and nothing else (`tests::peers`).
//! 3. Who sends without end or takes no answers is not read, and delays nobody (`flood_*`, `fd_tty_09_*`).

use std::io;

use jitsudo_core::name::Uid;
use jitsudo_protocol::VERSION;
use jitsudo_protocol::client::{Fault, FaultCode, FromDecider};
use jitsudo_sys::channel::{Channel, ChannelError};
use jitsudo_sys::nix::sys::epoll::{EpollEvent, EpollFlags};

use crate::client::{Client, Phase, Said, Sent, fault, malformed};
use crate::daemon::{Daemon, LISTENER, TURN, watch};
use crate::limits::{Cost, Refusal};

/// Sessions whose first connection is kept to see it close; beyond, our end of it is closed at once.
const MAX_HANDED_OVER: usize = 1024;

impl Daemon {
    /// Takes who waits at the door.
    pub(crate) fn accept(&mut self) {
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

    /// A client says something, takes something, or goes.
    pub(crate) fn client_ready(&mut self, number: u64, flags: EpollFlags) {
        if flags.contains(EpollFlags::EPOLLOUT) {
            let sent = self.clients.get_mut(&number).map(Client::flush);
            self.after_sending(number, sent);
        }
        for _ in 0..TURN {
            let Some(client) = self.clients.get_mut(&number) else { return };
            if client.blocked || client.paused {
                // Who does not take answers, or asks too much, asks nothing more for now; only its going is noticed.
                if flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
                    self.drop_client(number);
                }
                return;
            }
            match client.channel.receive() {
                Ok(Some(message)) => {
                    let bytes = crate::limits::weight(&message.bytes);
                    let (uid, now_ms) = (client.peer.uid, self.moment.boottime_ms);
                    if !self.limits.hold(uid, bytes, now_ms) {
                        return self.refuse(number, crate::words::busy("this account's requests are too large"));
                    }
                    client.held = client.held.saturating_add(bytes);
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
            Said::Run(_) | Said::Ask(_) | Said::Forget { .. } | Said::Order(_) | Said::GiveUp => Cost::Request,
        };
        let paid = self.limits.pay(client.peer.uid, cost, now_ms);
        match said {
            Said::Part => {
                if paid {
                    return;
                }
                self.refuse(number, crate::words::busy("this account sends too much at once"));
            }
            Said::Run(_) | Said::Ask(_) | Said::Forget { .. } | Said::Order(_) if !paid => {
                let fault = crate::words::busy("this account asks more than 100 times a second");
                client.paused = true;
                self.fail(number, fault);
            }
            // Taking away is never too much.
            Said::GiveUp => self.give_up(number),
            Said::Run(act) => {
                client.until_ms = Some(now_ms.saturating_add(self.patience.work_ms));
                self.begin_run(number, act);
            }
            Said::Ask(ask) => {
                client.until_ms = Some(now_ms.saturating_add(self.patience.work_ms));
                self.begin_ask(number, ask);
            }
            Said::Forget { all } => {
                client.until_ms = Some(now_ms.saturating_add(self.patience.work_ms));
                self.begin_forget(number, all);
            }
            Said::Order(order) => {
                client.until_ms = Some(now_ms.saturating_add(self.patience.work_ms));
                self.begin_order(number, order);
            }
        }
    }

    /// Answers a client, which may then ask again.
    pub(crate) fn answer(&mut self, number: u64, messages: &[FromDecider]) {
        let until_ms = self.now_ms().saturating_add(self.patience.idle_ms);
        if let Some(client) = self.clients.get_mut(&number) {
            client.phase = Phase::Open;
            client.until_ms = Some(until_ms);
            self.limits.release(client.peer.uid, std::mem::take(&mut client.held));
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
        self.limits.release(client.peer.uid, std::mem::take(&mut client.held));
        self.handed_over += 1;
        self.limits.leave(client.peer.uid);
    }

    pub(crate) fn say(&mut self, number: u64, message: &FromDecider) {
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
                self.watch_client(number);
            }
        }
    }

    fn watch_client(&self, number: u64) {
        if let Some(client) = self.clients.get(&number) {
            let wanted = match (client.blocked, client.paused) {
                (true, _) => EpollFlags::EPOLLOUT,
                (false, true) => EpollFlags::empty(),
                (false, false) => EpollFlags::EPOLLIN,
            };
            let mut event = EpollEvent::new(wanted, number);
            let _ = self.epoll.modify(&*client.channel, &mut event);
        }
    }

    /// Reads again from those that asked too much.
    pub(crate) fn resume_the_paused(&mut self) {
        let paused: Vec<u64> = self
            .clients
            .iter_mut()
            .filter_map(|(number, client)| std::mem::take(&mut client.paused).then_some(*number))
            .collect();
        paused.into_iter().for_each(|number| self.watch_client(number));
    }

    /// Closes a connection. Our end may be in the spawner's hands too, so epoll is told.
    pub(crate) fn drop_client(&mut self, number: u64) {
        if let Some(client) = self.clients.remove(&number) {
            let _ = self.epoll.delete(&*client.channel);
            self.limits.release(client.peer.uid, client.held);
            // Its act, if facts for it are on their way, is of no more use.
            self.pending.retain(|_, pending| pending.client != number || pending.outlives_its_client());
            self.loads.held.retain(|(waiting, _)| *waiting != number);
            self.waiting.retain(|waiting| waiting.client != number);
            self.client_is_lost(number);
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
}
