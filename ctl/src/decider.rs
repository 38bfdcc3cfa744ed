//! A connection to the decider, for one question.
//!
//! MUSTs
//! 1. Whoever listens must be root by SO_PEERCRED, before a byte is sent (`socket_of_another_account_is_not_talked_to`).
//! 2. An answer is bounded in parts and time (`silent_daemon_is_given_up`, `endless_answer_is_given_up`).

use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use jitsudo_protocol::VERSION;
use jitsudo_protocol::client::{Ask, FromClient, FromDecider, Order, Say};
use jitsudo_sys::channel::{Channel, ChannelError};
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;

use crate::failure::{Failure, of_kernel};

/// How long one message of an answer may take; the decider itself gives up after 90 seconds.
const PATIENCE: Duration = Duration::from_secs(100);
/// Most items of one answer, all parts together.
const MAX_ITEMS: usize = 1_000_000;

/// A greeted decider.
#[derive(Debug)]
pub(crate) struct Decider {
    channel: Channel,
    nonce: String,
    version: u32,
    patience: Duration,
}

impl Decider {
    /// Connects to the host's decider.
    pub(crate) fn connect() -> Result<Self, Failure> {
        let path = Path::new(jitsudo_protocol::SOCKET);
        let channel = Channel::connect(path).map_err(|cause| Failure::Unreachable { path: path.to_owned(), cause })?;
        Self::greet(channel, 0, PATIENCE)
    }

    /// Checks who listens and takes the hello.
    fn greet(channel: Channel, listener: u32, patience: Duration) -> Result<Self, Failure> {
        let path = || jitsudo_protocol::SOCKET.into();
        let peer = channel.peer().map_err(|cause| Failure::Unreachable { path: path(), cause })?;
        if peer.uid != listener {
            return Err(Failure::Impostor { path: path(), uid: peer.uid });
        }
        let mut decider = Self { channel, nonce: String::new(), version: VERSION, patience };
        match decider.next()? {
            FromDecider::Hello { oldest, newest, nonce, host: _ } => {
                if !(oldest..=newest).contains(&VERSION) {
                    return Err(Failure::Lost(format!(
                        "it speaks protocol versions {oldest} to {newest}, jitctl speaks {VERSION}"
                    )));
                }
                decider.nonce = nonce;
                Ok(decider)
            }
            other => Err(refusal(other)),
        }
    }

    /// Asks, and joins the items of all parts of the answer.
    pub(crate) fn ask(&self, ask: Ask) -> Result<Vec<Value>, Failure> {
        self.say(Say::Ask(ask))
    }

    /// Gives an order, and says what it is about.
    pub(crate) fn order(&self, order: Order) -> Result<Value, Failure> {
        let empty = || Failure::Lost("the answer is empty".to_owned());
        self.say(Say::Order(order))?.into_iter().next().ok_or_else(empty)
    }

    fn say(&self, say: Say) -> Result<Vec<Value>, Failure> {
        let message = FromClient { nonce: self.nonce.clone(), version: self.version, say };
        let bytes = serde_json::to_vec(&message).map_err(|error| Failure::Lost(error.to_string()))?;
        self.channel.send(&bytes, &[]).map_err(|error| match error {
            ChannelError::Truncated => {
                Failure::Usage { message: "cannot ask: the question is longer than 64 KiB".to_owned(), hint: None }
            }
            ChannelError::Io(error) => Failure::Lost(of_kernel(&error)),
        })?;
        let mut joined = Vec::new();
        loop {
            match self.next()? {
                FromDecider::Answer { items, more } => {
                    joined.extend(items);
                    if !more {
                        return Ok(joined);
                    }
                    if joined.len() > MAX_ITEMS {
                        return Err(Failure::Lost("the answer does not end".to_owned()));
                    }
                }
                other => return Err(refusal(other)),
            }
        }
    }

    /// Asks for one value.
    pub(crate) fn ask_one(&self, ask: Ask) -> Result<Value, Failure> {
        self.ask(ask)?.into_iter().next().ok_or_else(|| Failure::Lost("the answer is empty".to_owned()))
    }

    fn next(&self) -> Result<FromDecider, Failure> {
        let mut wanted = [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(self.patience).unwrap_or(PollTimeout::MAX);
        match poll(&mut wanted, timeout) {
            Ok(0) => return Err(Failure::Lost(format!("no word in {} s", self.patience.as_secs()))),
            Ok(_) => {}
            Err(errno) => return Err(Failure::Lost(of_kernel(&errno.into()))),
        }
        match self.channel.receive() {
            Ok(Some(message)) => serde_json::from_slice(&message.bytes)
                .map_err(|error| Failure::Lost(format!("its message cannot be read: {error}"))),
            Ok(None) => Err(Failure::Lost("it closed the connection".to_owned())),
            Err(ChannelError::Truncated) => Err(Failure::Lost("its message is too long".to_owned())),
            Err(ChannelError::Io(error)) => Err(Failure::Lost(of_kernel(&error))),
        }
    }
}

/// What a message that is no answer means.
fn refusal(message: FromDecider) -> Failure {
    match message {
        FromDecider::Denied(denied) => Failure::Denied(Box::new(denied)),
        FromDecider::Fault(fault) => Failure::Fault(Box::new(fault)),
        FromDecider::Hello { .. }
        | FromDecider::Answer { .. }
        | FromDecider::HandOver { .. }
        | FromDecider::Waiting(_)
        | FromDecider::Unknown => Failure::Lost("it said something else than an answer".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_protocol::client::{Fault, FaultCode};
    use serde_json::json;

    const HELLO: &str = r#"{"hello":{"oldest":1,"newest":1,"nonce":"abc","host":"web-1"}}"#;
    const SOON: Duration = Duration::from_millis(50);

    /// A decider that says these messages and then closes, and what it heard.
    fn talk(messages: &[String]) -> (Result<Vec<Value>, Failure>, Option<String>) {
        let (ours, theirs) = Channel::pair().unwrap();
        let own = theirs.peer().unwrap().uid;
        for message in messages {
            theirs.send(message.as_bytes(), &[]).unwrap();
        }
        let result = Decider::greet(ours, own, SOON).and_then(|decider| decider.ask(Ask::Standing));
        theirs.set_nonblocking(true).unwrap();
        let heard = theirs.receive().ok().flatten().map(|message| String::from_utf8(message.bytes).unwrap());
        (result, heard)
    }

    fn answer(items: Value, more: bool) -> String {
        json!({"answer": {"items": items, "more": more}}).to_string()
    }

    #[test]
    fn parts_of_an_answer_are_joined_and_the_nonce_is_repeated() {
        let (result, heard) = talk(&[HELLO.to_owned(), answer(json!([1, 2]), true), answer(json!([3]), false)]);
        assert_eq!(result.unwrap(), [json!(1), json!(2), json!(3)]);
        assert_eq!(heard.unwrap(), r#"{"nonce":"abc","version":1,"say":{"ask":"standing"}}"#);
    }

    #[test]
    fn socket_of_another_account_is_not_talked_to() {
        let (ours, theirs) = Channel::pair().unwrap();
        let own = theirs.peer().unwrap().uid;
        let failure = Decider::greet(ours, own + 1, SOON).unwrap_err();
        assert!(matches!(failure, Failure::Impostor { uid, .. } if uid == own));
        theirs.set_nonblocking(true).unwrap();
        assert!(theirs.receive().unwrap().is_none(), "nothing was sent before the close");
    }

    #[test]
    fn silent_daemon_is_given_up() {
        let (result, _) = talk(&[HELLO.to_owned()]);
        assert_eq!(result.unwrap_err().status(), 69);
        assert!(matches!(talk(&[]).0.unwrap_err(), Failure::Lost(cause) if cause.starts_with("no word")));
    }

    #[test]
    fn endless_answer_is_given_up() {
        let (ours, theirs) = Channel::pair().unwrap();
        let own = theirs.peer().unwrap().uid;
        let flood = std::thread::spawn(move || {
            let part = answer(Value::Array(vec![json!(0); 20_000]), true);
            theirs.send(HELLO.as_bytes(), &[]).unwrap();
            while theirs.send(part.as_bytes(), &[]).is_ok() {}
        });
        let decider = Decider::greet(ours, own, Duration::from_secs(20)).unwrap();
        let failure = decider.ask(Ask::Standing).unwrap_err();
        drop(decider);
        flood.join().unwrap();
        assert!(matches!(failure, Failure::Lost(cause) if cause.contains("does not end")));
    }

    #[test]
    fn fault_garbage_and_a_later_version_are_told_apart() {
        let fault = Fault { code: FaultCode::Duty, message: "cannot show others' log".to_owned(), hint: None };
        let message = serde_json::to_string(&FromDecider::Fault(fault)).unwrap();
        assert_eq!(talk(&[HELLO.to_owned(), message.clone()]).0.unwrap_err().status(), 1);
        assert_eq!(talk(&[message]).0.unwrap_err().status(), 1, "a fault instead of a hello");
        assert_eq!(talk(&[HELLO.to_owned(), "{".to_owned()]).0.unwrap_err().status(), 69);
        assert_eq!(
            talk(&[HELLO.replace(":1,", ":7,").replace("\"newest\":1", "\"newest\":8")]).0.unwrap_err().status(),
            69
        );
        assert_eq!(talk(&[HELLO.to_owned(), "\"later\"".to_owned()]).0.unwrap_err().status(), 69);
    }
}
