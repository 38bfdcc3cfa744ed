//! Proof of identity by the host's PAM stack: who is asked, how often, and what is said and recorded when it fails (sudo's words).
//!
//! MUSTs
//! 1. Three tries at most; with `-n` none, and PAM is not even called.
//! 2. Success and failure are both handed to the recorder before anything follows from them. A spool that cannot take them now holds
//!    nothing up: what starts is durable in the ledger already, and a full disk must not lock out a rule that is marked `when-full`.

use jitsudo_core::event::Event;
use jitsudo_link::session::{Authentication, Spec};
use jitsudo_sys::pam::{PamError, Transaction};

use crate::dialogue::{Dialogue, Stop};
use crate::failure::Failure;
use crate::record::Recorder;

/// Tries at most (sudo's `passwd_tries`).
const TRIES: u32 = 3;

/// Settles who asks, as the spec wants it. `user` is the requester's account.
pub(crate) fn settle(
    spec: &Spec,
    user: &str,
    transaction: &mut Transaction,
    dialogue: &Dialogue,
    recorder: &mut Recorder,
) -> Result<(), Failure> {
    let session = spec.session.clone();
    let remembered = match spec.authentication {
        Authentication::NotNeeded => return Ok(()),
        Authentication::Remembered => true,
        Authentication::Needed => {
            if let Err((tries, failure)) = prove(dialogue, || transaction.authenticate()) {
                let cause = failure.entry().1;
                recorder.event(Event::AuthenticationFailed { session, user: user.to_owned(), tries, cause });
                return Err(failure);
            }
            false
        }
    };
    recorder.event(Event::Authenticated { session, user: user.to_owned(), remembered });
    Ok(())
}

/// Tries until it is proven; else how many wrong proofs were given, and why it ends.
fn prove(dialogue: &Dialogue, mut authenticate: impl FnMut() -> Result<(), PamError>) -> Result<(), (u32, Failure)> {
    if dialogue.stopped().is_some() {
        return Err((0, Stop::NotInteractive.into()));
    }
    let mut wrong = 0;
    loop {
        let Err(error) = authenticate() else { return Ok(()) };
        match dialogue.stopped() {
            Some(stop @ (Stop::Gone | Stop::Refused(..))) => return Err((wrong, stop.into())),
            Some(stop) if wrong == 0 => return Err((0, stop.into())),
            Some(_) => return Err((wrong, incorrect(wrong))),
            None => {}
        }
        if !error.is_not_proven() {
            return Err((wrong, Failure::unproven(format!("cannot check your password: {}", error.text))));
        }
        wrong += 1;
        if wrong >= TRIES || error.is_last_try() {
            return Err((wrong, incorrect(wrong)));
        }
        dialogue.tell("Sorry, try again.");
    }
}

fn incorrect(tries: u32) -> Failure {
    Failure::unproven(format!("{tries} incorrect password attempt{}", if tries == 1 { "" } else { "s" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;
    use crate::prompt::Wording;
    use jitsudo_link::facts::Peer;
    use jitsudo_protocol::session::{FromSession, ToSession};
    use jitsudo_sys::channel::Channel;
    use jitsudo_sys::nix::unistd::{getgid, getuid};
    use jitsudo_sys::pam::Said;
    use std::rc::Rc;

    const AUTH_ERR: i32 = 7;

    fn scene(non_interactive: bool) -> (Channel, Dialogue) {
        let (ours, theirs) = Channel::pair().unwrap();
        let peer = Peer { pid: std::process::id(), uid: getuid().as_raw(), gid: getgid().as_raw() };
        let client = Rc::new(Client::new(ours.into(), peer).unwrap());
        (theirs, Dialogue::new(client, Wording::plain(), non_interactive))
    }

    fn error(code: i32) -> PamError {
        PamError { step: "authenticate", code, text: "Words of PAM".to_owned() }
    }

    /// Codes of the tries, and what comes of them: wrong tries, the message, texts, and how often PAM was called.
    fn tried(codes: &[i32]) -> (Option<(u32, String)>, usize, usize) {
        let (far, dialogue) = scene(false);
        let mut calls = 0;
        let outcome = prove(&dialogue, || {
            calls += 1;
            match codes[calls - 1] {
                0 => Ok(()),
                code => Err(error(code)),
            }
        });
        far.set_nonblocking(true).unwrap();
        let mut texts = 0;
        while let Ok(Some(message)) = far.receive() {
            let said: FromSession = serde_json::from_slice(&message.bytes).unwrap();
            assert_eq!(said, FromSession::Text("Sorry, try again.".into()));
            texts += 1;
        }
        (outcome.err().map(|(wrong, failure)| (wrong, failure.entry().1)), texts, calls)
    }

    #[test]
    fn three_tries_and_sudos_words() {
        let said = |wrong, words: &str| Some((wrong, words.to_owned()));
        assert_eq!(tried(&[0]), (None, 0, 1));
        assert_eq!(tried(&[AUTH_ERR, 0]), (None, 1, 2));
        assert_eq!(tried(&[AUTH_ERR, AUTH_ERR, 0]), (None, 2, 3));
        assert_eq!(tried(&[AUTH_ERR; 5]), (said(3, "3 incorrect password attempts"), 2, 3));
        // PAM_MAXTRIES, then trouble of a module (PAM_SYSTEM_ERR).
        assert_eq!(tried(&[11]), (said(1, "1 incorrect password attempt"), 0, 1));
        assert_eq!(tried(&[AUTH_ERR, 4]), (said(1, "cannot check your password: Words of PAM"), 1, 2));
    }

    #[test]
    fn with_dash_n_pam_is_not_called() {
        let (_far, dialogue) = scene(true);
        let (wrong, failure) = prove(&dialogue, || panic!("called")).unwrap_err();
        assert_eq!((wrong, failure.entry().1.as_str()), (0, "a password is required"));
    }

    #[test]
    fn who_gives_up_hears_what_was_wrong_before() {
        for (before, words) in [(0, "a password is required"), (1, "1 incorrect password attempt")] {
            let (far, dialogue) = scene(false);
            let mut calls = 0;
            let outcome = prove(&dialogue, || {
                calls += 1;
                if calls > before {
                    far.send(&serde_json::to_vec(&ToSession::Signal(2)).unwrap(), &[]).unwrap();
                    assert!(dialogue.hear(Said::Question { prompt: b"Password: ".to_vec(), echo: false }).is_none());
                    // PAM_CONV_ERR becomes PAM_AUTH_ERR or stays, as the module likes.
                    return Err(error(19));
                }
                Err(error(AUTH_ERR))
            });
            let (wrong, failure) = outcome.unwrap_err();
            assert_eq!((wrong, failure.entry().1.as_str()), (before, words));
        }
    }
}
