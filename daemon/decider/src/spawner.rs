//! The connection to the spawner: orders out, in order; connected again with growing pauses when it is away.

use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;

use jitsudo_link::spawner::{FromSpawner, ToSpawner};
use jitsudo_sys::channel::{Channel, ChannelError, MAX_MESSAGE_BYTES};
use std::os::fd::AsFd as _;

/// Orders that may wait for room.
const MAX_WAITING: usize = 8192;
/// Longest pause between two tries, milliseconds.
const MAX_PAUSE_MS: u64 = 5_000;

/// Why an order was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotTaken {
    /// The spawner is away.
    Away,
    /// Too much waits already.
    Busy,
    /// Longer than a datagram.
    TooLong,
}

/// The connection, or the lack of one.
#[derive(Debug, Default)]
pub(crate) struct Spawner {
    channel: Option<Channel>,
    waiting: VecDeque<(Vec<u8>, Option<Rc<Channel>>)>,
    /// The kernel had no room.
    pub(crate) blocked: bool,
    /// What it said of its policy, once it is ready.
    ready: Option<Option<String>>,
    offers: Offers,
    /// Why it is away.
    cause: String,
    /// Since when, CLOCK_BOOTTIME milliseconds.
    away_since_ms: u64,
    pause_ms: u64,
    next_try_ms: u64,
}

/// What a spawner can do that one of an older version cannot.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offers {
    /// It holds role grants.
    pub(crate) grants: bool,
    /// It keeps the reviews of break-glass.
    pub(crate) reviews: bool,
    /// It extends grants.
    pub(crate) extends: bool,
    /// It changes the host for grants.
    pub(crate) effects: bool,
    /// It tells people on their terminals.
    pub(crate) tells: bool,
    /// It keeps a list of locked accounts.
    pub(crate) locks: bool,
    /// It says which accesses it knows nothing of.
    pub(crate) knows: bool,
    /// It proves answers that were signed elsewhere.
    pub(crate) proves: bool,
}

impl Spawner {
    /// Connects if it is time; true when there is a new connection.
    pub(crate) fn connect_when_due(&mut self, path: &Path, root: u32, now_ms: u64) -> bool {
        if self.channel.is_some() || now_ms < self.next_try_ms {
            return false;
        }
        self.pause_ms = (self.pause_ms * 2).clamp(250, MAX_PAUSE_MS);
        self.next_try_ms = now_ms.saturating_add(self.pause_ms);
        match connect(path, root) {
            Ok(channel) => {
                self.channel = Some(channel);
                true
            }
            Err(cause) => {
                self.cause = cause;
                false
            }
        }
    }

    /// Drops the connection; it is tried again soon.
    pub(crate) fn drop_connection(&mut self, cause: &str, now_ms: u64) {
        if self.ready.take().is_some() {
            self.away_since_ms = now_ms;
        }
        self.channel = None;
        self.waiting.clear();
        self.blocked = false;
        self.cause = cause.to_owned();
        self.next_try_ms = now_ms.saturating_add(self.pause_ms.min(250));
    }

    /// It said that it is ready, and with which policy.
    pub(crate) fn is_now_ready(&mut self, policy: Option<String>, offers: Offers) {
        self.ready = Some(policy);
        self.offers = offers;
        self.pause_ms = 0;
    }

    /// The digest that it said it has; the outer `None` while it is away.
    pub(crate) fn policy(&self) -> Option<&Option<String>> {
        self.ready.as_ref()
    }

    /// It is there, and too old to hold role grants.
    pub(crate) fn is_of_before_grants(&self) -> bool {
        self.ready.is_some() && !self.offers.grants
    }

    /// It was never there before this moment.
    pub(crate) fn begin(&mut self, now_ms: u64) {
        self.away_since_ms = now_ms;
    }

    /// It is away, and has been so for no longer than it takes to begin it anew.
    pub(crate) fn is_soon_back(&self, now_ms: u64, patience_ms: u64) -> bool {
        self.ready.is_none() && now_ms < self.away_since_ms.saturating_add(patience_ms)
    }

    /// It is there, and keeps a list of break-glass that nobody has reviewed.
    pub(crate) fn has_reviews(&self) -> bool {
        self.ready.is_some() && self.offers.reviews
    }

    /// It is there, and keeps a list of locked accounts.
    pub(crate) fn has_locks(&self) -> bool {
        self.ready.is_some() && self.offers.locks
    }

    /// It is there, and too old to keep one.
    pub(crate) fn is_of_before_locks(&self) -> bool {
        self.ready.is_some() && !self.offers.locks
    }

    /// It is there, and can extend a role grant.
    pub(crate) fn can_extend(&self) -> bool {
        self.ready.is_some() && self.offers.extends
    }

    /// It is there, and tells people.
    pub(crate) fn can_tell(&self) -> bool {
        self.ready.is_some() && self.offers.tells
    }

    /// It is there, and says which accesses it knows nothing of.
    pub(crate) fn says_what_it_knows(&self) -> bool {
        self.ready.is_some() && self.offers.knows
    }

    /// It is there, and proves answers that were signed elsewhere.
    pub(crate) fn can_prove(&self) -> bool {
        self.ready.is_some() && self.offers.proves
    }

    /// It is there, and too old to change the host for role grants.
    pub(crate) fn is_of_before_effects(&self) -> bool {
        self.ready.is_some() && !self.offers.effects
    }

    /// Why it is away.
    pub(crate) fn cause(&self) -> &str {
        if self.cause.is_empty() { "not connected yet" } else { &self.cause }
    }

    /// The connection, to be waited on.
    pub(crate) fn channel(&self) -> Option<&Channel> {
        self.channel.as_ref()
    }

    /// Gives an order, with the client's connection attached where it concerns one.
    pub(crate) fn order(&mut self, order: &ToSpawner, client: Option<&Rc<Channel>>) -> Result<(), NotTaken> {
        self.orders(std::slice::from_ref(order), client)
    }

    /// Gives orders that belong together: all of them or none. The connection goes with the first one.
    pub(crate) fn orders(&mut self, orders: &[ToSpawner], client: Option<&Rc<Channel>>) -> Result<(), NotTaken> {
        if self.channel.is_none() || self.ready.is_none() {
            return Err(NotTaken::Away);
        }
        if self.waiting.len().saturating_add(orders.len()) > MAX_WAITING {
            return Err(NotTaken::Busy);
        }
        let mut texts = Vec::with_capacity(orders.len());
        for order in orders {
            let text = serde_json::to_vec(order).map_err(|_| NotTaken::TooLong)?;
            if text.len() > MAX_MESSAGE_BYTES {
                return Err(NotTaken::TooLong);
            }
            texts.push(text);
        }
        let mut client = client.cloned();
        self.waiting.extend(texts.into_iter().map(|text| (text, client.take())));
        self.flush();
        Ok(())
    }

    /// Sends what there is room for. A broken connection shows at the next reading.
    pub(crate) fn flush(&mut self) {
        let Some(channel) = &self.channel else { return };
        self.blocked = false;
        while let Some((text, client)) = self.waiting.front() {
            let sent = match client {
                Some(client) => channel.send(text, &[client.as_fd()]),
                None => channel.send(text, &[]),
            };
            match sent {
                Ok(()) => {
                    self.waiting.pop_front();
                }
                Err(error) => {
                    self.blocked = error.would_block();
                    return;
                }
            }
        }
    }

    /// Takes the next message; `None` when there is none now.
    pub(crate) fn hear(&self) -> Result<Option<FromSpawner>, String> {
        let Some(channel) = &self.channel else { return Ok(None) };
        match channel.receive() {
            Ok(Some(message)) => serde_json::from_slice(&message.bytes)
                .map(Some)
                .map_err(|error| format!("its message cannot be read: {error}")),
            Ok(None) => Err("it closed the connection".to_owned()),
            Err(error) if error.would_block() => Ok(None),
            Err(error @ (ChannelError::Io(_) | ChannelError::Truncated)) => Err(error.to_string()),
        }
    }
}

fn connect(path: &Path, root: u32) -> Result<Channel, String> {
    let channel = Channel::connect(path).map_err(|error| error.to_string())?;
    let peer = channel.peer().map_err(|error| error.to_string())?;
    if peer.uid != root {
        return Err(format!("it belongs to uid {}, not to root", peer.uid));
    }
    channel.set_nonblocking(true).map_err(|error| error.to_string())?;
    Ok(channel)
}
