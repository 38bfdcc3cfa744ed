//! Looks: who is on a connection and what is known of them, found out by helpers.

use std::path::Path;

use jitsudo_link::facts::{About, Answer, Peer};
use jitsudo_link::spawner::{FromSpawner, LookFailure};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::clock;

use super::Spawner;
use crate::decider;
use crate::descriptors;
use crate::helpers::{Asked, Outcome, Why};
use crate::remembered::Key;

impl Spawner {
    pub(super) fn look(&mut self, id: u64, number: u64, about: About, connection: Option<Channel>) {
        if let Err(cause) = self.ask(id, number, about, connection, Why::Look) {
            self.say(id, &FromSpawner::LookFailed { number, cause });
        }
    }

    /// Taking away never waits for facts: everything of an account goes at once, and where the place of a peer cannot be told
    /// everything of it goes as well.
    pub(super) fn forget(&mut self, id: u64, number: u64, all: bool, connection: Option<Channel>) {
        let uid = connection.as_ref().and_then(|connection| connection.peer().ok()).map(|peer| peer.uid);
        let about = about_the_peer();
        if all || self.ask(id, number, about, connection, Why::Forget).is_err() {
            uid.into_iter().for_each(|uid| self.remembered.forget_all(uid));
            self.say(id, &FromSpawner::Forgotten { number });
        }
    }

    pub(super) fn ask(
        &mut self,
        id: u64,
        number: u64,
        about: About,
        connection: Option<Channel>,
        why: Why,
    ) -> Result<(), LookFailure> {
        let Some(connection) = connection else {
            return Err(LookFailure::Refused("no connection is attached".to_owned()));
        };
        // A connection that did not come in by the front door is nobody's request.
        if connection.bound_path().as_deref() != Some(Path::new(jitsudo_protocol::SOCKET)) {
            self.refuse_silently("the decider showed a connection that was not made to its socket");
            return Err(LookFailure::Refused("the connection is not one of jitsudo's socket".to_owned()));
        }
        let (peer, pidfd) = match connection.peer().and_then(|peer| Ok((peer, connection.peer_pidfd()?))) {
            Ok(found) => found,
            Err(error) if descriptors::are_used_up(&error) => {
                let cause = format!("no descriptor is left for the asking process: {error}");
                return Err(LookFailure::Failed(cause));
            }
            Err(_) => return Err(LookFailure::PeerGone),
        };
        let peer = Peer { pid: peer.pid, uid: peer.uid, gid: peer.gid };
        let asked = Asked { decider: id, number, connection, peer, pidfd, about, why };
        let outcomes = self.helpers.ask(Box::new(asked), clock::boottime_ms());
        outcomes.into_iter().for_each(|outcome| self.answer(outcome));
        Ok(())
    }

    pub(super) fn answer(&mut self, (asked, answer): Outcome) {
        let Asked { decider, number, connection, peer, about, why, .. } = *asked;
        let why = match why {
            Why::Prove(_, handed) => return self.proof_answered(decider, number, *handed, answer),
            why @ (Why::Look | Why::Forget) => why,
        };
        if why == Why::Forget {
            let key = match &answer {
                Ok(Answer::Learnt(learnt)) => {
                    let inside = self.sessions.origin_inside(peer.pid);
                    let origin = inside.as_ref().unwrap_or(&learnt.facts.origin);
                    Ok(learnt.process.as_ref().and_then(|process| Key::of(peer.uid, process, origin)))
                }
                Ok(Answer::Refused(_) | Answer::Accounts(_) | Answer::Proved(_)) | Err(_) => Err(()),
            };
            match key {
                Ok(Some(key)) => self.remembered.forget(key),
                // Where nothing is ever remembered there is nothing to forget.
                Ok(None) => {}
                Err(()) => self.remembered.forget_all(peer.uid),
            }
            return self.say(decider, &FromSpawner::Forgotten { number });
        }
        let message = match answer {
            Ok(Answer::Learnt(mut learnt)) => {
                learnt.facts.host.clone_from(&self.host);
                learnt.facts.labels.clone_from(&self.settings.labels);
                if let Some(origin) = self.sessions.origin_inside(peer.pid) {
                    learnt.facts.origin = origin;
                }
                learnt.inside = self.sessions.is_inside(peer.pid);
                let message = FromSpawner::Looked {
                    number,
                    peer,
                    facts: Box::new(learnt.facts.clone()),
                    process: learnt.process.clone().map(Box::new),
                    program: learnt.program.clone().map(Box::new),
                    inside: learnt.inside,
                };
                if !decider::fits(&message) {
                    let cause = "the facts are longer than 64 KiB".to_owned();
                    return self.say(decider, &FromSpawner::LookFailed { number, cause: LookFailure::Failed(cause) });
                }
                if about.subject.is_none() && self.deciders.contains_key(&decider) {
                    self.looked.remember((decider, connection), peer, about, learnt, clock::boottime_ms());
                }
                message
            }
            Ok(Answer::Accounts(_) | Answer::Proved(_)) => {
                let cause = LookFailure::Failed("jitsudo-facts answered another question".to_owned());
                FromSpawner::LookFailed { number, cause }
            }
            Ok(Answer::Refused(cause)) => FromSpawner::LookFailed { number, cause: LookFailure::Refused(cause) },
            Err(cause) => FromSpawner::LookFailed { number, cause },
        };
        self.say(decider, &message);
    }
}

/// Nothing beside who is there.
pub(super) fn about_the_peer() -> About {
    About {
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
    }
}
