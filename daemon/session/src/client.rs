//! The client's end of the exchange: who is talking, on every message, and answers that never block.
//!
//! MUSTs
//! 1. A message without the kernel's word on its sender, or from another process, account or group than the spawner saw, is refused
//!    (`peer_auth_message_of_another_process_is_refused`).
//! 2. A client that does not read delays nobody: answers wait in a bounded queue.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use jitsudo_link::facts::Peer;
use jitsudo_protocol::edit;
use jitsudo_protocol::session::{FromSession, ToSession};
use jitsudo_sys::channel::{Channel, ChannelError, Credentials, Message};
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use jitsudo_sys::secret::Secret;

/// Most answers that wait for a client that does not read.
const MAX_WAITING: usize = 256;
/// How long the last answer waits for room.
const LAST_ANSWER_MS: u16 = 1000;

/// The connection to the client.
#[derive(Debug)]
pub(crate) struct Client {
    channel: Channel,
    peer: Peer,
    waiting: RefCell<VecDeque<(Vec<u8>, Option<OwnedFd>)>>,
}

/// A datagram after the act, where files may come back.
#[derive(Debug)]
pub(crate) enum Said {
    /// A message.
    Message(ToSession),
    /// A piece of a file.
    Content(Vec<u8>),
}

/// What came while an answer was waited for.
#[derive(Debug)]
pub(crate) enum Told {
    /// An answer's datagram.
    Secret(Secret),
    /// Anything else.
    Message(ToSession),
}

/// Why there is no message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoMessage {
    /// Not yet.
    NotYet,
    /// The client has closed, or its connection broke.
    Gone,
    /// Somebody else sent it.
    Stranger(String),
    /// It cannot be read.
    Malformed(String),
}

impl Client {
    pub(crate) fn new(descriptor: OwnedFd, peer: Peer) -> io::Result<Self> {
        let channel = Channel::from_descriptor(descriptor);
        channel.ask_for_credentials()?;
        channel.set_nonblocking(true)?;
        Ok(Self { channel, peer, waiting: RefCell::default() })
    }

    /// Takes one message with its descriptors.
    pub(crate) fn receive(&self) -> Result<(ToSession, Vec<OwnedFd>), NoMessage> {
        self.take(self.channel.receive())
    }

    /// Takes one message after the act: nothing is passed any more. Descriptors are not even taken, for closing them could wait for ever.
    pub(crate) fn receive_bytes(&self) -> Result<ToSession, NoMessage> {
        self.take(self.channel.receive_bytes()).map(|(told, _)| told)
    }

    /// Takes one message while an answer is waited for; whatever it is, it lies in the one place of a secret.
    pub(crate) fn receive_answer(&self) -> Result<Told, NoMessage> {
        let (secret, sender) = self.arrived(self.channel.receive_secret())?;
        self.check(sender)?;
        // No JSON begins with this byte, and no answer without it.
        if secret.as_bytes().first() == Some(&0) {
            return Ok(Told::Secret(secret));
        }
        read(secret.as_bytes()).map(Told::Message)
    }

    /// As [`Self::receive_bytes`], where content of files may come.
    pub(crate) fn receive_said(&self) -> Result<Said, NoMessage> {
        let message = self.of_the_client(self.channel.receive_bytes())?;
        match edit::read_chunk(&message.bytes) {
            Some(content) => Ok(Said::Content(content.to_vec())),
            None => read(&message.bytes).map(Said::Message),
        }
    }

    fn take(&self, received: Result<Option<Message>, ChannelError>) -> Result<(ToSession, Vec<OwnedFd>), NoMessage> {
        let message = self.of_the_client(received)?;
        Ok((read(&message.bytes)?, message.descriptors))
    }

    fn of_the_client(&self, received: Result<Option<Message>, ChannelError>) -> Result<Message, NoMessage> {
        let message = self.arrived(received)?;
        self.check(message.sender)?;
        Ok(message)
    }

    fn arrived<T>(&self, received: Result<Option<T>, ChannelError>) -> Result<T, NoMessage> {
        match received {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(NoMessage::Gone),
            Err(error) if error.would_block() => Err(NoMessage::NotYet),
            Err(ChannelError::Truncated) => {
                Err(NoMessage::Malformed("a message is too long, or has descriptors".to_owned()))
            }
            Err(ChannelError::Io(_)) => Err(NoMessage::Gone),
        }
    }

    fn check(&self, sender: Option<Credentials>) -> Result<(), NoMessage> {
        let Some(sender) = sender else {
            return Err(NoMessage::Stranger("a message came without its sender's credentials".to_owned()));
        };
        if (sender.pid, sender.uid, sender.gid) != (self.peer.pid, self.peer.uid, self.peer.gid) {
            return Err(NoMessage::Stranger(format!(
                "a message came from process {} (uid {}, gid {}) and not from the client {} (uid {}, gid {})",
                sender.pid, sender.uid, sender.gid, self.peer.pid, self.peer.uid, self.peer.gid
            )));
        }
        Ok(())
    }

    /// Says something, now or when there is room.
    pub(crate) fn say(&self, answer: &FromSession) {
        self.send(answer, None);
    }

    /// Says something with a descriptor.
    pub(crate) fn send(&self, answer: &FromSession, descriptor: Option<OwnedFd>) {
        let Ok(bytes) = serde_json::to_vec(answer) else {
            return;
        };
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() < MAX_WAITING {
            waiting.push_back((bytes, descriptor));
        }
        drop(waiting);
        self.flush();
    }

    /// Says something and waits a moment for room: nothing follows it.
    pub(crate) fn say_last(&self, answer: &FromSession) {
        self.say(answer);
        self.flush_patiently();
    }

    /// Sends what waits, waiting a moment for room.
    pub(crate) fn flush_patiently(&self) {
        if self.has_waiting() {
            let mut entry = [PollFd::new(self.channel.as_fd(), PollFlags::POLLOUT)];
            let _ = poll(&mut entry, PollTimeout::from(LAST_ANSWER_MS));
            self.flush();
        }
    }

    /// Sends what waits, as far as there is room.
    pub(crate) fn flush(&self) {
        let mut waiting = self.waiting.borrow_mut();
        while let Some((bytes, descriptor)) = waiting.front() {
            let attached: Vec<BorrowedFd<'_>> = descriptor.iter().map(AsFd::as_fd).collect();
            match self.channel.send(bytes, &attached) {
                Err(error) if error.would_block() => return,
                // Sent, or nobody will ever read it.
                Ok(()) | Err(_) => waiting.pop_front(),
            };
        }
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }
}

fn read(bytes: &[u8]) -> Result<ToSession, NoMessage> {
    serde_json::from_slice(bytes).map_err(|error| NoMessage::Malformed(format!("a message cannot be read: {error}")))
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_sys::nix::unistd::{getgid, getuid};

    fn own() -> Peer {
        Peer { pid: std::process::id(), uid: getuid().as_raw(), gid: getgid().as_raw() }
    }

    fn pair(peer: Peer) -> (Channel, Client) {
        let (ours, theirs) = Channel::pair().unwrap();
        (theirs, Client::new(ours.into(), peer).unwrap())
    }

    #[test]
    fn message_of_the_client_is_taken() {
        let (far, client) = pair(own());
        assert_eq!(client.receive().unwrap_err(), NoMessage::NotYet);
        far.send(&serde_json::to_vec(&ToSession::Signal(2)).unwrap(), &[]).unwrap();
        assert_eq!(client.receive().unwrap().0, ToSession::Signal(2));
        drop(far);
        assert_eq!(client.receive().unwrap_err(), NoMessage::Gone);
    }

    #[test]
    fn peer_auth_message_of_another_process_is_refused() {
        for peer in [
            Peer { pid: own().pid + 1, ..own() },
            Peer { uid: own().uid + 1, ..own() },
            Peer { gid: own().gid + 1, ..own() },
        ] {
            let (far, client) = pair(peer);
            far.send(&serde_json::to_vec(&ToSession::Signal(2)).unwrap(), &[]).unwrap();
            assert!(matches!(client.receive().unwrap_err(), NoMessage::Stranger(_)));
        }
    }

    #[test]
    fn malformed_message_is_told_from_none() {
        let (far, client) = pair(own());
        for text in ["", "{", "\"whisper\"", "{\"signal\":\"x\"}", "{\"resize\":{\"rows\":1,\"uid\":0}}"] {
            if far.send(text.as_bytes(), &[]).is_ok() && !text.is_empty() {
                assert!(matches!(client.receive().unwrap_err(), NoMessage::Malformed(_)), "{text}");
            } else {
                let _ = client.receive();
            }
        }
    }

    #[test]
    fn dos_client_that_never_reads_does_not_hold_the_session_up() {
        let (_far, client) = pair(own());
        for _ in 0..5000 {
            client.say(&FromSession::Notice("x".repeat(1000)));
        }
        assert!(client.has_waiting());
        assert!(client.waiting.borrow().len() <= MAX_WAITING);
    }
}
