//! Questions of the host's PAM modules, put to the client, and what comes back.
//!
//! MUSTs
//! 1. Only the client's own process answers (`client`), and only after the question: what came before is dropped
//!    (`answer_ahead_of_its_question_is_dropped`).
//! 2. An answer is one secret that goes to the module; no other copy of it is made here.
//! 3. Who does not answer, gives up or floods ends the asking: no further question is put (`who_gives_up_is_asked_nothing_more`).
//! 4. With `-n` nothing is asked.

use std::cell::{Cell, RefCell};
use std::os::fd::AsFd as _;
use std::rc::Rc;

use jitsudo_bytes::Bytes;
use jitsudo_protocol::client::FaultCode;
use jitsudo_protocol::session::{FromSession, Size, ToSession, read_answer};
use jitsudo_sys::clock;
use jitsudo_sys::nix::libc;
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use jitsudo_sys::pam::Said;
use jitsudo_sys::secret::Secret;

use crate::client::{Client, NoMessage, Told};
use crate::failure::Failure;
use crate::prompt::{Wording, visible};

/// How long an answer is waited for (sudo's `passwd_timeout`).
const ANSWER_MS: u64 = 300_000;
/// Most messages taken while one answer is waited for.
const MAX_MESSAGES: usize = 1000;

/// Why nothing more is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// It may not be: `-n`.
    NotInteractive,
    /// There was no answer, a signal instead of one, or none in time.
    NoAnswer,
    /// The client is gone.
    Gone,
    /// It said what it must not.
    Refused(FaultCode, String),
}

/// The conversation with one client.
pub(crate) struct Dialogue {
    client: Rc<Client>,
    wording: Wording,
    patience_ms: u64,
    stop: RefCell<Option<Stop>>,
    size: Cell<Option<Size>>,
    foreground: Cell<Option<bool>>,
}

impl Dialogue {
    pub(crate) fn new(client: Rc<Client>, wording: Wording, non_interactive: bool) -> Self {
        let stop = RefCell::new(non_interactive.then_some(Stop::NotInteractive));
        let (size, foreground) = (Cell::default(), Cell::default());
        Self { client, wording, patience_ms: ANSWER_MS, stop, size, foreground }
    }

    /// Takes what a module says.
    pub(crate) fn hear(&self, said: Said) -> Option<Secret> {
        match said {
            Said::Info(text) | Said::Error(text) => {
                self.tell(&String::from_utf8_lossy(&visible(text.as_bytes())));
                None
            }
            Said::Question { prompt, echo } => {
                if self.stop.borrow().is_some() {
                    return None;
                }
                match self.ask(&prompt, echo) {
                    Ok(secret) => Some(secret),
                    Err(stop) => {
                        self.stop.replace(Some(stop));
                        None
                    }
                }
            }
        }
    }

    /// A line for the requester.
    pub(crate) fn tell(&self, text: &str) {
        self.client.say(&FromSession::Text(text.to_owned()));
    }

    /// Why nothing more is asked, if so.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        self.stop.borrow().clone()
    }

    /// The terminal's size, if it changed meanwhile.
    pub(crate) fn size(&self) -> Option<Size> {
        self.size.get()
    }

    /// Whether the client is in the foreground, if that changed meanwhile.
    pub(crate) fn foreground(&self) -> Option<bool> {
        self.foreground.get()
    }

    fn ask(&self, words: &[u8], echo: bool) -> Result<Secret, Stop> {
        let until_ms = clock::boottime_ms().saturating_add(self.patience_ms);
        let mut taken = 0;
        // Typed for nothing that was asked, or for the question before.
        while let Some(told) = self.take(&mut taken)? {
            match told {
                Told::Secret(_) | Told::Message(ToSession::NoAnswer) => {}
                Told::Message(other) => self.note(&other)?,
            }
        }
        self.client.say(&FromSession::Ask { prompt: Bytes(self.wording.for_question(words)), echo });
        loop {
            while let Some(told) = self.take(&mut taken)? {
                match told {
                    Told::Secret(secret) => return Ok(secret.without_first(1)),
                    Told::Message(ToSession::NoAnswer) => return Err(Stop::NoAnswer),
                    Told::Message(other) => self.note(&other)?,
                }
            }
            let left = until_ms.saturating_sub(clock::boottime_ms());
            if left == 0 {
                return Err(Stop::NoAnswer);
            }
            let room = if self.client.has_waiting() { PollFlags::POLLOUT } else { PollFlags::empty() };
            let mut entry = [PollFd::new(self.client.as_fd(), PollFlags::POLLIN | room)];
            let _ = poll(&mut entry, PollTimeout::try_from(left.min(1000)).unwrap_or(PollTimeout::ZERO));
            self.client.flush();
        }
    }

    /// The next message, if there is one now.
    fn take(&self, taken: &mut usize) -> Result<Option<Told>, Stop> {
        let told = match self.client.receive_answer() {
            Ok(told) => told,
            Err(NoMessage::NotYet) => return Ok(None),
            Err(NoMessage::Gone) => return Err(Stop::Gone),
            Err(NoMessage::Stranger(cause)) => return Err(Stop::Refused(FaultCode::Credentials, cause)),
            Err(NoMessage::Malformed(cause)) => return Err(Stop::Refused(FaultCode::Malformed, cause)),
        };
        *taken += 1;
        if *taken > MAX_MESSAGES {
            return Err(Stop::Refused(
                FaultCode::Malformed,
                "the client sends without end and does not answer".to_owned(),
            ));
        }
        if matches!(&told, Told::Secret(secret) if read_answer(secret.as_bytes()).is_none()) {
            return Err(Stop::Refused(FaultCode::Malformed, "an answer is too long".to_owned()));
        }
        Ok(Some(told))
    }

    fn note(&self, message: &ToSession) -> Result<(), Stop> {
        match message {
            ToSession::Resize(size) => self.size.set(Some(*size)),
            ToSession::Continue { foreground } => self.foreground.set(Some(*foreground)),
            ToSession::Signal(libc::SIGINT | libc::SIGQUIT | libc::SIGTERM | libc::SIGHUP) => {
                return Err(Stop::NoAnswer);
            }
            // There is no command yet that could get another one.
            ToSession::Signal(_) | ToSession::NoAnswer => {}
            ToSession::Act { .. } | ToSession::More(_) | ToSession::Returned(_) | ToSession::EditingDone { .. } => {
                let cause = "the client's messages are out of order".to_owned();
                return Err(Stop::Refused(FaultCode::Malformed, cause));
            }
        }
        Ok(())
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::NotInteractive | Stop::NoAnswer => Self::unproven("a password is required".to_owned()),
            Stop::Gone => Self::ClientGone,
            Stop::Refused(code, cause) => Self::refused(code, cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_link::facts::Peer;
    use jitsudo_protocol::session::answer;
    use jitsudo_sys::channel::Channel;
    use jitsudo_sys::nix::unistd::{getgid, getuid};

    fn scene(non_interactive: bool, patience_ms: u64) -> (Channel, Dialogue) {
        let (ours, theirs) = Channel::pair().unwrap();
        let peer = Peer { pid: std::process::id(), uid: getuid().as_raw(), gid: getgid().as_raw() };
        let client = Rc::new(Client::new(ours.into(), peer).unwrap());
        let mut dialogue = Dialogue::new(client, Wording::plain(), non_interactive);
        dialogue.patience_ms = patience_ms;
        (theirs, dialogue)
    }

    fn question() -> Said {
        Said::Question { prompt: b"Password: ".to_vec(), echo: false }
    }

    fn heard(far: &Channel) -> Vec<FromSession> {
        far.set_nonblocking(true).unwrap();
        let mut all = Vec::new();
        while let Ok(Some(message)) = far.receive() {
            all.push(serde_json::from_slice(&message.bytes).unwrap());
        }
        all
    }

    fn say(far: &Channel, message: &ToSession) {
        far.send(&serde_json::to_vec(message).unwrap(), &[]).unwrap();
    }

    #[test]
    fn question_gets_its_answer() {
        let (far, dialogue) = scene(false, 20_000);
        let given = std::thread::scope(|scope| {
            let far = &far;
            scope.spawn(move || {
                let asked = far.receive().unwrap().unwrap();
                let asked: FromSession = serde_json::from_slice(&asked.bytes).unwrap();
                assert_eq!(asked, FromSession::Ask { prompt: "Password: ".into(), echo: false });
                say(far, &ToSession::Resize(Size { rows: 7, columns: 9, width: 0, height: 0 }));
                far.send(&answer(b"secret"), &[]).unwrap();
            });
            dialogue.hear(question())
        });
        assert_eq!(given.unwrap().as_bytes(), b"secret");
        assert_eq!((dialogue.stopped(), dialogue.size().unwrap().rows), (None, 7));
    }

    #[test]
    fn answer_ahead_of_its_question_is_dropped() {
        let (far, dialogue) = scene(false, 30);
        far.send(&answer(b"early"), &[]).unwrap();
        say(&far, &ToSession::NoAnswer);
        far.send(&answer(b"also early"), &[]).unwrap();
        assert!(dialogue.hear(question()).is_none());
        assert_eq!(dialogue.stopped(), Some(Stop::NoAnswer), "nothing came in time");
    }

    #[test]
    fn who_gives_up_is_asked_nothing_more() {
        for message in [ToSession::Signal(2), ToSession::Signal(15), ToSession::Signal(1)] {
            let (far, dialogue) = scene(false, 20_000);
            say(&far, &message);
            assert!(dialogue.hear(question()).is_none());
            assert!(dialogue.hear(question()).is_none());
            assert_eq!((dialogue.stopped(), heard(&far)), (Some(Stop::NoAnswer), vec![]), "{message:?}");
        }
    }

    #[test]
    fn with_dash_n_nothing_is_asked_and_texts_are_shown() {
        let (far, dialogue) = scene(true, 20_000);
        assert!(dialogue.hear(question()).is_none());
        assert!(dialogue.hear(Said::Error("account \u{1b}[31mlocked".into())).is_none());
        assert_eq!(heard(&far), [FromSession::Text("account ?[31mlocked".into())]);
    }

    #[test]
    fn dos_client_that_floods_strays_or_leaves_ends_the_asking() {
        let refused = |prepare: &dyn Fn(&Channel), patience_ms| {
            let (far, dialogue) = scene(false, patience_ms);
            prepare(&far);
            assert!(dialogue.hear(question()).is_none());
            dialogue.stopped().unwrap()
        };
        let out_of_order = jitsudo_protocol::act::ActMore { number: 1, strings: vec![], open: false };
        assert!(matches!(refused(&|far| say(far, &ToSession::More(out_of_order.clone())), 1), Stop::Refused(..)));
        assert!(matches!(refused(&|far| far.send(&answer(&[b'x'; 512]), &[]).unwrap(), 1), Stop::Refused(..)));
        assert!(matches!(refused(&|far| far.send(b"{", &[]).unwrap(), 1), Stop::Refused(..)));
        assert!(matches!(refused(&|far| far.send(&[b' '; 2000], &[]).unwrap(), 1), Stop::Refused(..)));
        let (far, dialogue) = scene(false, 20_000);
        drop(far);
        assert!(dialogue.hear(question()).is_none());
        assert_eq!(dialogue.stopped(), Some(Stop::Gone));
    }

    #[test]
    fn dos_flood_of_sound_messages_is_bounded() {
        let (far, dialogue) = scene(false, 20_000);
        let flood = std::thread::spawn(move || {
            let resize = serde_json::to_vec(&ToSession::Resize(Size::default())).unwrap();
            for _ in 0..5 * MAX_MESSAGES {
                if far.send(&resize, &[]).is_err() {
                    return;
                }
            }
        });
        assert!(dialogue.hear(question()).is_none());
        assert!(matches!(dialogue.stopped(), Some(Stop::Refused(..))));
        drop(dialogue);
        flood.join().unwrap();
    }
}
