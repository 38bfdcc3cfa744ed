//! Telling people: who is here, by `jitsudo-facts`, and messages on their terminals, by a worker. One of each at a time; whatever is slow
//! keeps nobody but the next message waiting.
//!
//! MUST: what is not begun is bounded, and what is too much is answered as not told (`too_many_messages_*`).

use std::collections::VecDeque;
use std::path::Path;

use jitsudo_link::LIBEXEC;
use jitsudo_link::facts::{About, Account, Answer, Peer, Question};
use jitsudo_link::spawner::{Effect, FromSpawner, Told as Delivered, Untold};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::child::{self, Child};

use crate::effect::{Told, Worker};

/// Orders that wait.
const MAX_WAITING: usize = 256;
/// Milliseconds for one answer of `jitsudo-facts`.
const PATIENCE_MS: u64 = 5_000;
/// Accounts that are told at once.
const MAX_ACCOUNTS: usize = 64;
/// Bytes of a message.
const MAX_TEXT: usize = 2048;

/// An order: by which decider, and its number.
#[derive(Clone, Debug)]
enum Order {
    Here,
    Tell { to: Vec<u32>, text: String },
}

struct Look {
    told: (u64, u64),
    child: Child,
    channel: Channel,
    until_ms: u64,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Telling {
    waiting: VecDeque<(u64, u64, Order)>,
    look: Option<Look>,
    worker: Option<Worker<()>>,
}

/// What is said to which decider.
pub(crate) type Said = (u64, FromSpawner);

impl Telling {
    /// Who is here?
    pub(crate) fn who_is_here(&mut self, decider: u64, number: u64, now_ms: u64) -> Vec<Said> {
        self.take(decider, number, Order::Here, now_ms)
    }

    /// A message.
    pub(crate) fn tell(&mut self, (decider, number): (u64, u64), to: Vec<u32>, text: String, now_ms: u64) -> Vec<Said> {
        if to.len() > MAX_ACCOUNTS || text.len() > MAX_TEXT {
            return vec![not_told(decider, number, "the message is too long, or for too many")];
        }
        self.take(decider, number, Order::Tell { to, text }, now_ms)
    }

    fn take(&mut self, decider: u64, number: u64, order: Order, now_ms: u64) -> Vec<Said> {
        if self.waiting.len() >= MAX_WAITING {
            return vec![refused(decider, number, &order, "too many messages wait")];
        }
        self.waiting.push_back((decider, number, order));
        self.go_on(now_ms)
    }

    /// Begins what can be begun.
    fn go_on(&mut self, now_ms: u64) -> Vec<Said> {
        let mut said = Vec::new();
        while let Some((decider, number, order)) = self.next() {
            let begun = match &order {
                Order::Here => begin().map(|(child, channel)| {
                    let until_ms = now_ms.saturating_add(PATIENCE_MS);
                    self.look = Some(Look { told: (decider, number), child, channel, until_ms });
                }),
                Order::Tell { to, text } => {
                    let effect = Effect::Tell { to: to.clone(), text: text.clone() };
                    let told = Told { decider, number, what: () };
                    Worker::start(told, &effect, now_ms).map(|worker| self.worker = Some(worker))
                }
            };
            if let Err(cause) = begun {
                said.push(refused(decider, number, &order, &cause));
            }
        }
        said
    }

    /// The first order that something is free for.
    fn next(&mut self) -> Option<(u64, u64, Order)> {
        let can_begin = |order: &Order| match order {
            Order::Here => self.look.is_none(),
            Order::Tell { .. } => self.worker.is_none(),
        };
        let place = self.waiting.iter().position(|(_, _, order)| can_begin(order))?;
        self.waiting.remove(place)
    }

    /// To be waited for: the look's, the worker's.
    pub(crate) fn channels(&self) -> (Option<&Channel>, Option<&Channel>) {
        (self.look.as_ref().map(|look| &look.channel), self.worker.as_ref().map(|worker| &worker.channel))
    }

    /// `jitsudo-facts` answered.
    pub(crate) fn looked(&mut self, now_ms: u64) -> Vec<Said> {
        let Some(Look { told: (decider, number), child, channel, .. }) = self.look.take() else { return Vec::new() };
        let answer = match channel.receive() {
            Ok(Some(message)) => serde_json::from_slice(&message.bytes).ok(),
            Ok(None) | Err(_) => None,
        };
        child.end();
        let accounts = if let Some(Answer::Accounts(accounts)) = answer { accounts } else { Vec::new() };
        let mut said = vec![(decider, here(number, accounts))];
        said.extend(self.go_on(now_ms));
        said
    }

    /// The worker is done.
    pub(crate) fn delivered(&mut self, now_ms: u64) -> Vec<Said> {
        let Some(worker) = self.worker.take() else { return Vec::new() };
        let (told, outcome) = worker.outcome::<Delivered>();
        let mut said = vec![match outcome {
            Ok(delivered) => (told.decider, FromSpawner::Told { number: told.number, told: delivered }),
            Err(cause) => not_told(told.decider, told.number, &cause),
        }];
        said.extend(self.go_on(now_ms));
        said
    }

    /// Ends what takes too long.
    pub(crate) fn give_up_the_late(&mut self, now_ms: u64) -> Vec<Said> {
        let mut said = Vec::new();
        if let Some(look) = self.look.take_if(|look| look.until_ms <= now_ms) {
            look.child.end();
            said.push((look.told.0, here(look.told.1, Vec::new())));
        }
        if let Some(worker) = self.worker.take_if(|worker| worker.is_late(now_ms)) {
            let (told, cause) = worker.give_up();
            said.push(not_told(told.decider, told.number, &cause));
        }
        said.extend(self.go_on(now_ms));
        said
    }

    /// When there is something to do, CLOCK_BOOTTIME milliseconds.
    pub(crate) fn next_time(&self) -> Option<u64> {
        self.look.as_ref().map(|look| look.until_ms)
    }
}

/// As many as fit into one datagram.
fn here(number: u64, mut accounts: Vec<Account>) -> FromSpawner {
    loop {
        let message = FromSpawner::Here { number, accounts: accounts.clone() };
        if accounts.is_empty() || crate::decider::fits(&message) {
            return message;
        }
        accounts.truncate(accounts.len() / 2);
    }
}

fn refused(decider: u64, number: u64, order: &Order, cause: &str) -> Said {
    match order {
        Order::Here => (decider, here(number, Vec::new())),
        Order::Tell { .. } => not_told(decider, number, cause),
    }
}

fn not_told(decider: u64, number: u64, cause: &str) -> Said {
    let failed = vec![Untold { uid: 0, to: String::new(), cause: cause.to_owned() }];
    (decider, FromSpawner::Told { number, told: Delivered { terminals: 0, failed } })
}

fn begin() -> Result<(Child, Channel), String> {
    let about = About {
        user: None,
        group: None,
        program: None,
        shell: None,
        words: vec![],
        same_as: vec![],
        subject: None,
        own: false,
        groups: vec![],
        hash: false,
    };
    let question =
        Question { peer: Peer { pid: 0, uid: 0, gid: 0 }, about, accounts: Vec::new(), here: true, proof: None };
    let start = || -> std::io::Result<(Child, Channel)> {
        let (channel, theirs) = Channel::pair()?;
        Ok((child::start(&Path::new(LIBEXEC).join("jitsudo-facts"), &[], &theirs)?, channel))
    };
    let (child, channel) = start().map_err(|error| format!("cannot start jitsudo-facts: {error}"))?;
    let text = serde_json::to_vec(&question).map_err(|error| error.to_string())?;
    channel.send(&text, &[]).map_err(|error| format!("cannot ask jitsudo-facts: {error}"))?;
    Ok((child, channel))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_messages_and_too_long_ones_are_answered_as_not_told() {
        let is_refused = |said: &[Said]| {
            said.iter().any(|(_, message)| matches!(message, FromSpawner::Told { told, .. } if !told.failed.is_empty()))
        };
        let mut telling = Telling::default();
        assert!(is_refused(&telling.tell((1, 1), vec![1000; 65], "x".to_owned(), 0)));
        assert!(is_refused(&telling.tell((1, 1), vec![1000], "x".repeat(2049), 0)));
        let order = || Order::Tell { to: vec![1000], text: "x".to_owned() };
        telling.waiting = (0..MAX_WAITING as u64).map(|number| (1, number, order())).collect();
        assert!(is_refused(&telling.take(1, 999, order(), 0)));
        assert_eq!(telling.waiting.len(), MAX_WAITING);
    }
}
