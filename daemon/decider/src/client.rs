//! One client: what it may say next, and what waits to be sent to it.
//!
//! MUSTs
//! 1. Every message's SCM_CREDENTIALS equal the connect's SO_PEERCRED, its nonce is this connection's, its version is within bounds and
//!    stays the same (`peer_auth_07_*`, `wrong_nonce_*`, `approval_14_*`).
//! 2. No descriptor is taken from a client (`attached_descriptors_are_refused`).
//! 3. A message out of turn closes this connection and nothing else (`parts_out_of_order_*`).

use std::collections::VecDeque;
use std::rc::Rc;

use jitsudo_protocol::VERSION;
use jitsudo_protocol::act::{Act, Assembler, Progress};
use jitsudo_protocol::client::{Ask, Fault, FaultCode, FromClient, FromDecider, Order, Say};
use jitsudo_sys::channel::{Channel, ChannelError, Credentials, Message};

/// Longest program name and option that are passed on, bytes (PATH_MAX).
const MAX_PATH_BYTES: usize = 4096;

/// How far a client is.
#[derive(Debug)]
pub(crate) enum Phase {
    /// It may ask or begin a run.
    Open,
    /// Its act is arriving.
    Arriving(Box<Assembler>),
    /// It was heard and is being answered; it has nothing to say.
    Served,
    /// Its session took over; only its closing is of interest.
    HandedOver,
}

/// What a client said, as far as there is something to do.
#[derive(Debug)]
pub(crate) enum Said {
    /// More is to come.
    Part,
    /// Run this.
    Run(Box<Act>),
    /// Answer this.
    Ask(Ask),
    /// Forget an authentication, or all of this account.
    Forget {
        /// All.
        all: bool,
    },
    /// Take this away.
    Order(Order),
    /// It does not wait for other people any more.
    GiveUp,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) channel: Rc<Channel>,
    pub(crate) peer: Credentials,
    pub(crate) phase: Phase,
    /// CLOCK_BOOTTIME milliseconds at which patience ends; `None` = never.
    pub(crate) until_ms: Option<u64>,
    /// To be closed once everything is sent.
    pub(crate) closing: bool,
    /// The kernel had no room: wait for it before anything else.
    pub(crate) blocked: bool,
    /// It asked too much: not read before the next tick.
    pub(crate) paused: bool,
    /// Bytes of its act's datagrams, as accounted for.
    pub(crate) held: usize,
    nonce: String,
    version: Option<u32>,
    out: VecDeque<Vec<u8>>,
}

/// What came of sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sent {
    /// Everything.
    All,
    /// Some of it waits for room.
    Some,
    /// The other side is gone.
    Gone,
}

impl Client {
    /// A client that has said nothing yet.
    pub(crate) fn new(channel: Channel, peer: Credentials, nonce: String, until_ms: u64) -> Self {
        Self {
            channel: Rc::new(channel),
            peer,
            phase: Phase::Open,
            until_ms: Some(until_ms),
            closing: false,
            blocked: false,
            paused: false,
            held: 0,
            nonce,
            version: None,
            out: VecDeque::new(),
        }
    }

    /// Takes a message.
    pub(crate) fn hear(&mut self, message: Message) -> Result<Said, Fault> {
        let from_client = check(&message, &self.peer, &self.nonce, self.version)?;
        self.version = Some(from_client.version);
        if let (Phase::Served, Say::GiveUp) = (&self.phase, &from_client.say) {
            return Ok(Said::GiveUp);
        }
        match (std::mem::replace(&mut self.phase, Phase::Served), from_client.say) {
            (Phase::Open, Say::Ask(ask)) => Ok(Said::Ask(ask)),
            (Phase::Open, Say::Forget { all }) => Ok(Said::Forget { all }),
            (Phase::Open, Say::Order(order)) => Ok(Said::Order(order)),
            (Phase::Open, Say::Run(start)) => self.arrived(Assembler::begin(*start)),
            (Phase::Arriving(assembler), Say::More(more)) => self.arrived(assembler.more(more)),
            (Phase::Open, Say::More(_) | Say::GiveUp)
            | (Phase::Arriving(_), Say::Run(_) | Say::Ask(_) | Say::Forget { .. } | Say::Order(_) | Say::GiveUp)
            | (
                Phase::Served | Phase::HandedOver,
                Say::Run(_) | Say::More(_) | Say::Ask(_) | Say::Forget { .. } | Say::Order(_) | Say::GiveUp,
            ) => Err(malformed("cannot take the message: it is out of order")),
        }
    }

    fn arrived(&mut self, progress: Result<Progress, jitsudo_protocol::act::ActError>) -> Result<Said, Fault> {
        match progress {
            Ok(Progress::More(assembler)) => {
                self.phase = Phase::Arriving(Box::new(assembler));
                Ok(Said::Part)
            }
            Ok(Progress::Whole(act)) => {
                let longest = act.argv.first().map_or(0, |name| name.0.len()).max(act.options.cwd.0.len());
                if longest > MAX_PATH_BYTES {
                    return Err(fault(FaultCode::Program, "cannot run the program: file name too long"));
                }
                Ok(Said::Run(Box::new(act)))
            }
            Err(error) => Err(malformed(&error.to_string())),
        }
    }

    /// Queues a message and sends what there is room for.
    pub(crate) fn say(&mut self, message: &FromDecider) -> Sent {
        // Only a value that is too deep or a map with odd keys could fail; there is none in these types.
        if let Ok(bytes) = serde_json::to_vec(message) {
            self.out.push_back(bytes);
        }
        self.flush()
    }

    /// Sends what there is room for.
    pub(crate) fn flush(&mut self) -> Sent {
        while let Some(bytes) = self.out.front() {
            match self.channel.send(bytes, &[]) {
                Ok(()) => {
                    self.out.pop_front();
                }
                Err(error) if error.would_block() => {
                    self.blocked = true;
                    return Sent::Some;
                }
                Err(ChannelError::Io(_) | ChannelError::Truncated) => return Sent::Gone,
            }
        }
        self.blocked = false;
        Sent::All
    }
}

/// The checks that every message passes before it means anything.
fn check(message: &Message, peer: &Credentials, nonce: &str, version: Option<u32>) -> Result<FromClient, Fault> {
    if message.sender.as_ref() != Some(peer) {
        return Err(fault(
            FaultCode::Credentials,
            "cannot take the message: it was sent by another process than the one that connected",
        ));
    }
    if !message.descriptors.is_empty() {
        return Err(malformed("cannot take the message: descriptors are attached"));
    }
    let from_client: FromClient = serde_json::from_slice(&message.bytes)
        .map_err(|error| malformed(&format!("cannot read the message: {error}")))?;
    if from_client.nonce != nonce {
        return Err(malformed("cannot take the message: its nonce is not this connection's"));
    }
    if from_client.version != VERSION || version.is_some_and(|version| version != from_client.version) {
        return Err(Fault {
            code: FaultCode::Version,
            message: format!(
                "cannot take the message: protocol version {} is not {VERSION}, which was offered",
                from_client.version
            ),
            hint: Some("the client and jitsudod are of different releases: install the same one".to_owned()),
        });
    }
    Ok(from_client)
}

/// A fault without a hint.
pub(crate) fn fault(code: FaultCode, message: &str) -> Fault {
    Fault { code, message: message.to_owned(), hint: None }
}

/// A fault after which the connection is closed.
pub(crate) fn malformed(message: &str) -> Fault {
    fault(FaultCode::Malformed, message)
}
