//! The conversation with jitsudod: hello, the act, and a no or a session.
//!
//! MUSTs
//! 1. The socket is at a fixed path and root's, or nothing is said to it (host test `socket_that_root_does_not_serve_hears_nothing`).
//! 2. A hand-over counts only when the kernel says that uid 0 sent it (`hand_over_of_another_account_does_not_count`).

use std::io;
use std::path::Path;

use jitsudo_protocol::act::Act;
use jitsudo_protocol::client::{Ask, Denied, Fault, FaultCode, FromClient, FromDecider, Say};
use jitsudo_protocol::{MAX_DATAGRAM, VERSION};
use jitsudo_sys::channel::{Channel, ChannelError, Message};
use jitsudo_sys::nix::sys::socket::{setsockopt, sockopt};
use jitsudo_sys::nix::sys::time::TimeVal;

pub(crate) use jitsudo_protocol::SOCKET;

use crate::say::Voice;
use crate::waiting::Live;

/// Seconds for each word on why a session is gone.
const PATIENCE_SECONDS: i64 = 3;
/// Most items of an answer.
const MAX_ITEMS: usize = 100_000;

/// A session that was handed over.
#[derive(Debug)]
pub(crate) struct HandOver {
    /// `ID.1`
    pub(crate) session: String,
    /// The socket to it.
    pub(crate) channel: Channel,
}

/// Why there is no session.
#[derive(Debug)]
pub(crate) enum NoSession {
    /// Nobody listens, or the connection broke before an answer.
    Unreachable(io::Error),
    /// Somebody but root listens: this uid.
    NotOurs(u32),
    /// Not allowed.
    Denied(Denied),
    /// It cannot be done.
    Fault(Fault),
}

/// The exit status for a fault.
pub(crate) fn code_of(code: FaultCode) -> u8 {
    match code {
        FaultCode::Version
        | FaultCode::Busy
        | FaultCode::Ledger
        | FaultCode::Spawner
        | FaultCode::Directory
        | FaultCode::Internal
        | FaultCode::Unknown => 69,
        FaultCode::Malformed
        | FaultCode::Credentials
        | FaultCode::UnknownTarget
        | FaultCode::Program
        | FaultCode::Authentication
        | FaultCode::Duty
        | FaultCode::NotFound
        | FaultCode::Policy
        | FaultCode::NotSupported => 1,
    }
}

/// Asks for the act and waits for the answer, however long people take.
pub(crate) fn ask(act: &Act, voice: &Voice) -> Result<HandOver, NoSession> {
    let mut live = Live::new(voice);
    let mut outcome = connect().and_then(|channel| converse(&channel, act, &mut live));
    while let Err(NoSession::Unreachable(_)) = &outcome
        && let Some(id) = live.comes_back()
    {
        let mut again = act.clone();
        again.options.request = Some(id);
        outcome = connect().and_then(|channel| converse(&channel, &again, &mut live));
    }
    live.end(outcome.is_ok());
    outcome
}

/// Has what is remembered of an authentication forgotten: this terminal's, or with `all` every one of this account's.
pub(crate) fn forget(all: bool) -> Result<(), NoSession> {
    converse_forget(&connect()?, all)
}

fn converse_forget(channel: &Channel, all: bool) -> Result<(), NoSession> {
    let message = FromClient { nonce: hello(channel)?, version: VERSION, say: Say::Forget { all } };
    let bytes = serde_json::to_vec(&message).map_err(|error| NoSession::Unreachable(error.into()))?;
    // The daemon may have refused and closed already: its answer says more than our broken pipe.
    let _ = channel.send(&bytes, &[]);
    loop {
        match read(&next(channel)?)? {
            FromDecider::Answer { .. } => return Ok(()),
            FromDecider::Denied(denied) => return Err(NoSession::Denied(denied)),
            FromDecider::Fault(fault) => return Err(NoSession::Fault(fault)),
            FromDecider::Unknown | FromDecider::Waiting(_) => {}
            FromDecider::HandOver { .. } | FromDecider::Hello { .. } => return Err(unexpected()),
        }
    }
}

/// Says why a session is gone that has not said so itself.
pub(crate) fn say_gone(voice: &Voice, words: &str) {
    if let Some(denied) = locked() {
        return voice.denied(&denied);
    }
    voice.complain(words);
    voice.hint("journalctl -t jitsudo-session");
}

/// The no that a locked account reads: why a session is gone that could not say so, because it waited for its requester. `None` when the
/// account is not locked, or nobody answers in time.
fn locked() -> Option<Denied> {
    let channel = connect().ok()?;
    let patience = TimeVal::new(PATIENCE_SECONDS, 0);
    setsockopt(&channel, sockopt::ReceiveTimeout, &patience).ok()?;
    match converse_question(&channel, Ask::Roles) {
        Err(NoSession::Denied(denied)) => Some(denied),
        _ => None,
    }
}

/// Asks a question and joins the items of all parts of the answer.
pub(crate) fn question(ask: Ask) -> Result<Vec<serde_json::Value>, NoSession> {
    converse_question(&connect()?, ask)
}

fn converse_question(channel: &Channel, ask: Ask) -> Result<Vec<serde_json::Value>, NoSession> {
    let message = FromClient { nonce: hello(channel)?, version: VERSION, say: Say::Ask(ask) };
    let bytes = serde_json::to_vec(&message).map_err(|error| NoSession::Unreachable(error.into()))?;
    if bytes.len() > MAX_DATAGRAM {
        return Err(too_long());
    }
    // As above.
    let _ = channel.send(&bytes, &[]);
    let mut joined = Vec::new();
    loop {
        match read(&next(channel)?)? {
            FromDecider::Answer { items, more } => {
                joined.extend(items);
                if !more {
                    return Ok(joined);
                }
                if joined.len() > MAX_ITEMS {
                    return Err(unexpected());
                }
            }
            FromDecider::Denied(denied) => return Err(NoSession::Denied(denied)),
            FromDecider::Fault(fault) => return Err(NoSession::Fault(fault)),
            FromDecider::Unknown | FromDecider::Waiting(_) => {}
            FromDecider::Hello { .. } | FromDecider::HandOver { .. } => return Err(unexpected()),
        }
    }
}

/// Connects to the daemon, which only root may be.
fn connect() -> Result<Channel, NoSession> {
    let channel = Channel::connect(Path::new(SOCKET)).map_err(NoSession::Unreachable)?;
    match channel.peer().map_err(NoSession::Unreachable)?.uid {
        0 => Ok(channel),
        uid => Err(NoSession::NotOurs(uid)),
    }
}

/// The nonce of the daemon's greeting.
fn hello(channel: &Channel) -> Result<String, NoSession> {
    channel.ask_for_credentials().map_err(NoSession::Unreachable)?;
    match read(&next(channel)?)? {
        FromDecider::Hello { oldest, newest, nonce, .. } if (oldest..=newest).contains(&VERSION) => Ok(nonce),
        FromDecider::Hello { oldest, newest, .. } => {
            let message =
                format!("cannot talk to jitsudod: it speaks versions {oldest} to {newest}, this program {VERSION}");
            let hint = Some("install the jitsudo that belongs to it".to_owned());
            Err(NoSession::Fault(Fault { code: FaultCode::Version, message, hint }))
        }
        FromDecider::Denied(denied) => Err(NoSession::Denied(denied)),
        FromDecider::Fault(fault) => Err(NoSession::Fault(fault)),
        FromDecider::Answer { .. } | FromDecider::HandOver { .. } | FromDecider::Waiting(_) | FromDecider::Unknown => {
            Err(unexpected())
        }
    }
}

fn converse(channel: &Channel, act: &Act, live: &mut Live<'_>) -> Result<HandOver, NoSession> {
    let nonce = hello(channel)?;
    let (start, more) = act.split();
    let parts = std::iter::once(Say::Run(Box::new(start))).chain(more.into_iter().map(Say::More));
    for say in parts {
        let message = FromClient { nonce: nonce.clone(), version: VERSION, say };
        let bytes = serde_json::to_vec(&message).map_err(|error| NoSession::Unreachable(error.into()))?;
        if bytes.len() > MAX_DATAGRAM {
            return Err(too_long());
        }
        // The daemon may have answered and closed already: its answer says more than our broken pipe.
        if channel.send(&bytes, &[]).is_err() {
            break;
        }
    }
    answer(channel, &nonce, live)
}

fn answer(channel: &Channel, nonce: &str, live: &mut Live<'_>) -> Result<HandOver, NoSession> {
    loop {
        let message = live.next(channel, nonce)?;
        match read(&message)? {
            FromDecider::Denied(denied) => return Err(NoSession::Denied(denied)),
            FromDecider::Fault(fault) => return Err(NoSession::Fault(fault)),
            FromDecider::HandOver { session } => return take_over(message, session),
            FromDecider::Waiting(waiting) => live.heard(waiting),
            // A later version's news while we wait.
            FromDecider::Unknown => {}
            FromDecider::Hello { .. } | FromDecider::Answer { .. } => return Err(unexpected()),
        }
    }
}

fn take_over(message: Message, session: String) -> Result<HandOver, NoSession> {
    if message.sender.map(|sender| sender.uid) != Some(0) {
        let message = "cannot take the session: it was not root who handed it over".to_owned();
        return Err(NoSession::Fault(Fault { code: FaultCode::Credentials, message, hint: None }));
    }
    let mut descriptors = message.descriptors.into_iter();
    match (descriptors.next(), descriptors.next()) {
        (Some(socket), None) => Ok(HandOver { session, channel: Channel::from_descriptor(socket) }),
        _ => Err(unexpected()),
    }
}

pub(crate) fn next(channel: &Channel) -> Result<Message, NoSession> {
    let received = match channel.receive() {
        // A daemon that answered and closed before it had read all: the kernel says so once, before the answer that lies there (unix(7)).
        Err(ChannelError::Io(error)) if error.kind() == io::ErrorKind::ConnectionReset => channel.receive(),
        other => other,
    };
    match received {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err(NoSession::Unreachable(io::Error::other("it closed the connection without an answer"))),
        Err(ChannelError::Io(error)) => Err(NoSession::Unreachable(error)),
        Err(ChannelError::Truncated) => Err(unexpected()),
    }
}

fn read(message: &Message) -> Result<FromDecider, NoSession> {
    serde_json::from_slice(&message.bytes).map_err(|_| unexpected())
}

fn unexpected() -> NoSession {
    let message = "cannot understand jitsudod: it sent what does not belong here".to_owned();
    NoSession::Fault(Fault { code: FaultCode::Internal, message, hint: Some("journalctl -t jitsudod".to_owned()) })
}

fn too_long() -> NoSession {
    let message = "cannot send the request: its options are too long".to_owned();
    NoSession::Fault(Fault { code: FaultCode::Malformed, message, hint: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_bytes::Bytes;
    use jitsudo_protocol::act::{ActKind, ActOptions, Assembler, Progress};
    use std::os::fd::AsFd as _;

    fn act() -> Act {
        let options = ActOptions {
            kind: ActKind::Command,
            user: None,
            group: None,
            role: None,
            reason: None,
            ticket: None,
            window: None,
            break_glass: false,
            preserve_groups: false,
            timeout: None,
            extends: None,
            request: None,
            no_wait: false,
            remember: jitsudo_protocol::act::Remember::Use,
            env_set: vec![],
            preserve: vec![],
            chdir: None,
            cwd: Bytes::from("/"),
            umask: 0o22,
            non_interactive: false,
            terminal: false,
        };
        Act { options, argv: vec![Bytes(vec![b'x'; 40_000])], env: vec![Bytes::from("A=b")] }
    }

    fn say(channel: &Channel, message: &FromDecider) {
        channel.send(&serde_json::to_vec(message).unwrap(), &[]).unwrap();
    }

    fn greeting(newest: u32) -> FromDecider {
        FromDecider::Hello { oldest: newest, newest, nonce: "n".repeat(32), host: "web-1".into() }
    }

    #[test]
    fn answer_of_a_daemon_that_closed_before_it_had_read_all_is_heard() {
        let (near, far) = Channel::pair().unwrap();
        near.send(b"never read", &[]).unwrap();
        far.send(b"no", &[]).unwrap();
        drop(far);
        assert_eq!(next(&near).unwrap().bytes, b"no");
        assert!(matches!(next(&near), Err(NoSession::Unreachable(_))));
    }

    fn with_daemon(daemon: impl FnOnce(Channel) + Send + 'static) -> Result<HandOver, NoSession> {
        let (near, far) = Channel::pair().unwrap();
        let daemon = std::thread::spawn(move || daemon(far));
        let voice = Voice::new(crate::options::Called::Jitsudo);
        let outcome = converse(&near, &act(), &mut Live::new(&voice));
        drop(near);
        daemon.join().unwrap();
        outcome
    }

    #[test]
    fn act_arrives_whole_with_the_nonce_and_the_answer_is_given() {
        let outcome = with_daemon(|far| {
            say(&far, &greeting(VERSION));
            let mut progress = None;
            let told = loop {
                let message = far.receive().unwrap().unwrap();
                let told: FromClient = serde_json::from_slice(&message.bytes).unwrap();
                assert_eq!((told.nonce, told.version), ("n".repeat(32), VERSION));
                let next = match (told.say, progress.take()) {
                    (Say::Run(start), None) => Assembler::begin(*start).unwrap(),
                    (Say::More(more), Some(Progress::More(assembler))) => assembler.more(more).unwrap(),
                    other => panic!("{other:?}"),
                };
                match next {
                    Progress::Whole(act) => break act,
                    more => progress = Some(more),
                }
            };
            assert_eq!(told, act());
            let denied = Denied {
                headline: "no".into(),
                detail: vec![],
                hint: None,
                id: None,
                by_person: false,
                unanswered: false,
            };
            say(&far, &FromDecider::Denied(denied));
        });
        assert!(matches!(outcome, Err(NoSession::Denied(denied)) if denied.headline == "no"));
    }

    #[test]
    fn forgetting_is_asked_for_and_answered() {
        for (all, is_known) in [(false, true), (true, true), (false, false)] {
            let (near, far) = Channel::pair().unwrap();
            let daemon = std::thread::spawn(move || {
                say(&far, &greeting(VERSION));
                let told: FromClient = serde_json::from_slice(&far.receive().unwrap().unwrap().bytes).unwrap();
                assert_eq!((told.nonce, told.say), ("n".repeat(32), Say::Forget { all }));
                let fault = Fault { code: FaultCode::Spawner, message: "away".into(), hint: None };
                let answer = FromDecider::Answer { items: vec![], more: false };
                say(&far, &if is_known { answer } else { FromDecider::Fault(fault) });
            });
            assert_eq!(converse_forget(&near, all).is_ok(), is_known);
            daemon.join().unwrap();
        }
    }

    #[test]
    fn parts_of_an_answer_are_joined_and_a_fault_is_none() {
        let put_to = |daemon: fn(&Channel)| {
            let (near, far) = Channel::pair().unwrap();
            let daemon = std::thread::spawn(move || {
                say(&far, &greeting(VERSION));
                let told: FromClient = serde_json::from_slice(&far.receive().unwrap().unwrap().bytes).unwrap();
                assert!(matches!(told.say, Say::Ask(Ask::Roles)) && told.nonce == "n".repeat(32));
                daemon(&far);
            });
            let answer = converse_question(&near, Ask::Roles);
            daemon.join().unwrap();
            answer
        };
        let items = put_to(|far| {
            say(far, &FromDecider::Answer { items: vec![1.into(), 2.into()], more: true });
            say(far, &FromDecider::Answer { items: vec![3.into()], more: false });
        });
        assert_eq!(items.unwrap(), [1, 2, 3]);
        assert!(matches!(put_to(|_| {}), Err(NoSession::Unreachable(_))));
        assert!(matches!(
            put_to(|far| say(far, &FromDecider::HandOver { session: "x.1".into() })),
            Err(NoSession::Fault(_))
        ));
    }

    #[test]
    fn hand_over_of_another_account_does_not_count() {
        let (near, _far) = Channel::pair().unwrap();
        let message = |uid| Message {
            bytes: vec![],
            descriptors: vec![near.as_fd().try_clone_to_owned().unwrap()],
            sender: Some(jitsudo_sys::channel::Credentials { pid: 1, uid, gid: 0 }),
        };
        assert!(take_over(message(0), "x.1".into()).is_ok());
        assert!(matches!(take_over(message(997), "x.1".into()), Err(NoSession::Fault(_))));
        let unsigned = Message { sender: None, ..message(0) };
        assert!(matches!(take_over(unsigned, "x.1".into()), Err(NoSession::Fault(_))));
    }

    #[test]
    fn other_version_silence_and_nonsense_are_answers() {
        let outcome = with_daemon(|far| say(&far, &greeting(VERSION + 1)));
        assert!(matches!(outcome, Err(NoSession::Fault(fault)) if fault.code == FaultCode::Version));
        assert!(matches!(with_daemon(drop), Err(NoSession::Unreachable(_))));
        let outcome = with_daemon(|far| far.send(b"{", &[]).unwrap());
        assert!(matches!(outcome, Err(NoSession::Fault(_))));
    }
}
