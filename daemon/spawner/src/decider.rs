//! A connection of the decider: who may have one, what waits to be sent on it, and the start that is being put together.

use std::collections::VecDeque;

use jitsudo_core::id::AccessId;
use jitsudo_link::spawner::{FromSpawner, Start};
use jitsudo_protocol::act::Assembler;
use jitsudo_sys::channel::{Channel, MAX_MESSAGE_BYTES};

/// Messages that may wait for a decider that does not read; a decider with more is cut off.
const MAX_WAITING: usize = 4096;

/// A start whose act is still arriving.
pub(crate) struct Arriving {
    pub(crate) number: u64,
    pub(crate) start: Start,
    pub(crate) connection: Channel,
    pub(crate) act: Assembler,
}

/// One connection.
pub(crate) struct Decider {
    pub(crate) channel: Channel,
    pub(crate) arriving: Option<Arriving>,
    waiting: VecDeque<Vec<u8>>,
    pub(crate) broken: bool,
}

/// Takes a connection if its peer may give orders: `_jitsudo`, or root.
pub(crate) fn accept(channel: Channel, decider_uid: Option<u32>) -> Option<Decider> {
    let peer = channel.peer().ok()?;
    if peer.uid != 0 && Some(peer.uid) != decider_uid {
        return None;
    }
    channel.set_nonblocking(true).ok()?;
    Some(Decider { channel, arriving: None, waiting: VecDeque::new(), broken: false })
}

impl Decider {
    /// True while a start of this access arrives.
    pub(crate) fn is_sending(&self, access: &AccessId) -> bool {
        self.arriving.as_ref().is_some_and(|arriving| arriving.start.session.access == *access)
    }

    /// Sends a message, or queues it behind those that wait.
    pub(crate) fn say(&mut self, message: &FromSpawner) {
        match serde_json::to_vec(message) {
            Ok(text) if self.waiting.len() < MAX_WAITING => self.waiting.push_back(text),
            _ => self.broken = true,
        }
        self.flush();
    }

    /// Sends what waits, as far as there is room.
    pub(crate) fn flush(&mut self) {
        while let Some(text) = self.waiting.front() {
            match self.channel.send(text, &[]) {
                Ok(()) => {
                    self.waiting.pop_front();
                }
                Err(error) if error.would_block() => return,
                Err(_) => {
                    self.broken = true;
                    return;
                }
            }
        }
    }

    /// True while something waits for room.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

/// True for a message that one datagram can hold. What a requester makes longer is refused by itself: sent, it would break the
/// connection that everybody's requests use.
pub(crate) fn fits(message: &FromSpawner) -> bool {
    serde_json::to_vec(message).is_ok_and(|text| text.len() <= MAX_MESSAGE_BYTES)
}

/// The uid of `_jitsudo`, read from /etc/passwd itself: NSS modules have no business in this process.
pub(crate) fn uid_of_decider(passwd: &str) -> Option<u32> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some("_jitsudo")).then_some(())?;
        fields.nth(1)?.parse().ok().filter(|uid| *uid != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_longer_than_a_datagram_does_not_fit() {
        let refused =
            |length: usize| FromSpawner::StartRefused { number: 1, cause: "x".repeat(length), disagree: true };
        assert!(fits(&refused(1000)));
        assert!(!fits(&refused(MAX_MESSAGE_BYTES)));
        // This is what it would do.
        let (ours, _theirs) = Channel::pair().unwrap();
        let mut decider = Decider { channel: ours, arriving: None, waiting: VecDeque::new(), broken: false };
        decider.say(&refused(MAX_MESSAGE_BYTES));
        assert!(decider.broken);
    }

    #[test]
    fn decider_account_is_found_whole_and_is_never_root() {
        assert_eq!(uid_of_decider("root:x:0:0::/:\n_jitsudo:x:997:997::/:/bin/false\n"), Some(997));
        assert_eq!(uid_of_decider("_jitsudo2:x:997:997::/:\nx_jitsudo:x:1:1::/:\n"), None);
        assert_eq!(uid_of_decider("_jitsudo:x:0:0::/:\n"), None);
        assert_eq!(uid_of_decider("_jitsudo:x\n"), None);
    }
}
