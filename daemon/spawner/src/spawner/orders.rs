//! The decider's orders: each is read, checked, and handed to whoever carries it out.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::path::Path;

use jitsudo_core::id::AccessId;
use jitsudo_link::SPOOL;
use jitsudo_link::notes::{self, DROP_INS};
use jitsudo_link::spawner::{ApplyOutcome, Effect, FromSpawner, SignOutcome, Start, ToSpawner};
use jitsudo_protocol::act::{Assembler, Progress};
use jitsudo_sys::channel::{Channel, Message};
use jitsudo_sys::clock;

use super::Spawner;
use crate::decider::Arriving;
use crate::effect::{Told, Worker};
use crate::signing;

impl Spawner {
    pub(super) fn order(&mut self, id: u64, message: Message) {
        let connection = message.descriptors.into_iter().next().map(Channel::from_descriptor);
        match serde_json::from_slice::<ToSpawner>(&message.bytes) {
            Ok(ToSpawner::Look { number, about }) => self.look(id, number, about, connection),
            Ok(ToSpawner::Start { number, start, act }) => match (connection, Assembler::begin(*act)) {
                (Some(connection), Ok(progress)) => self.arriving(id, number, *start, connection, progress),
                (None, _) => self.refuse(id, number, &start, "no connection is attached", true),
                (_, Err(error)) => self.refuse(id, number, &start, &error.to_string(), true),
            },
            Ok(ToSpawner::More { number, more }) => {
                let arriving = self.deciders.get_mut(&id).and_then(|decider| decider.arriving.take());
                match arriving {
                    Some(Arriving { number: expected, start, connection, act }) if expected == number => {
                        match act.more(more) {
                            Ok(progress) => self.arriving(id, number, start, connection, progress),
                            Err(error) => self.refuse(id, number, &start, &error.to_string(), true),
                        }
                    }
                    _ => self.cut_off(id, "a part of an act came out of order"),
                }
            }
            Ok(ToSpawner::Apply { number, dry_run, expect }) => self.apply(id, number, dry_run, expect, connection),
            Ok(ToSpawner::Forget { number, all }) => self.forget(id, number, all, connection),
            Ok(ToSpawner::Sign { number, wanted }) => {
                let told = Told { decider: id, number, what: wanted };
                let answer = self.signing.begin(told, &self.host, false, clock::boottime_ms());
                self.signed(answer);
            }
            Ok(ToSpawner::Acknowledge { number, wanted }) => {
                let told = Told { decider: id, number, what: wanted };
                let answer = if connection.is_some_and(|connection| is_roots_request(&connection)) {
                    self.signing.begin(told, &self.host, true, clock::boottime_ms())
                } else {
                    self.refuse_silently("the decider acknowledged a roll-back for somebody who is not root");
                    Some(signing::failed(told, "only root acknowledges".to_owned()))
                };
                self.signed(answer);
            }
            Ok(ToSpawner::EndGrant { number, id: access, cause }) => {
                let known = self.end_grant(&access, cause);
                self.close_what_is_over();
                self.say(id, &FromSpawner::Ending { number, known });
            }
            Ok(ToSpawner::Review { number, id: access }) => self.review(id, number, &access, connection.as_ref()),
            Ok(ToSpawner::Prove { number, handed }) => self.prove(id, number, *handed, connection),
            Ok(ToSpawner::WhoIsHere { number }) => {
                let said = self.telling.who_is_here(id, number, clock::boottime_ms());
                self.say_each(said);
            }
            Ok(ToSpawner::Tell { number, to, text }) => {
                let said = self.telling.tell((id, number), to, text, clock::boottime_ms());
                self.say_each(said);
            }
            Ok(ToSpawner::Lock { uid, user }) => self.lock(uid, user),
            Ok(ToSpawner::Unlock { number, uid }) => self.unlock(id, number, uid, connection.as_ref()),
            Ok(ToSpawner::Known { ids }) => {
                let ids = self.unknown_of(ids);
                if !ids.is_empty() {
                    self.say(id, &FromSpawner::Unknown { ids });
                }
            }
            Ok(ToSpawner::Folded { names }) => {
                for name in names {
                    // A name that cannot be removed is offered again, and folding it again changes nothing.
                    let _ = jitsudo_ledger::spool::remove(Path::new(SPOOL), &name);
                    jitsudo_sys::failpoint::reach("spawner.spool.removed");
                }
            }
            Err(error) => self.cut_off(id, &format!("a message of the decider cannot be read: {error}")),
        }
    }

    /// Those of which nothing is here: not held, being started, running, or looked for, and no line for sudo.
    fn unknown_of(&self, ids: Vec<AccessId>) -> Vec<AccessId> {
        // With groups and no process.
        let left = self.sessions.left();
        let here = self.sessions.accesses().chain(self.escapes.accesses()).chain(self.logins.accesses());
        // Whatever became of its note.
        let lines = notes::drop_ins(Path::new(DROP_INS));
        let here: BTreeSet<&AccessId> = here.chain(left.iter().map(|session| &session.access)).chain(&lines).collect();
        let is_known = |id: &AccessId| {
            here.contains(id)
                || self.grants.knows(id)
                || self.asked.contains_key(id)
                || self.unpictured.accesses().any(|waiting| waiting == id)
                || self.deciders.values().any(|decider| decider.is_sending(id))
        };
        ids.into_iter().filter(|id| !is_known(id)).collect()
    }

    fn arriving(&mut self, id: u64, number: u64, start: Start, connection: Channel, progress: Progress) {
        match progress {
            Progress::Whole(act) => self.start_pictured(id, number, start, connection, act),
            Progress::More(act) => {
                if let Some(decider) = self.deciders.get_mut(&id) {
                    decider.arriving = Some(Arriving { number, start, connection, act });
                }
            }
        }
    }

    fn apply(&mut self, id: u64, number: u64, dry_run: bool, expect: Option<String>, connection: Option<Channel>) {
        let started = if !connection.is_some_and(|connection| is_roots_request(&connection)) {
            self.refuse_silently("the decider asked to apply a policy for somebody who is not root");
            Err("only root applies a policy".to_owned())
        } else if self.worker.is_some() {
            Err("another policy is being applied at this moment".to_owned())
        } else {
            let told = Told { decider: id, number, what: dry_run };
            Worker::start(told, &Effect::ApplyPolicy { dry_run, expect }, clock::boottime_ms())
        };
        match started {
            Ok(worker) => self.worker = Some(worker),
            Err(cause) => self.say(id, &FromSpawner::Applied { number, outcome: ApplyOutcome::Failed(cause) }),
        }
    }

    pub(super) fn applied(&mut self, told: &Told<bool>, outcome: ApplyOutcome) {
        if !told.what && matches!(outcome, ApplyOutcome::Done(_)) {
            self.load_policy();
        }
        self.say(told.decider, &FromSpawner::Applied { number: told.number, outcome });
    }

    /// Answers an order to sign. A signature also goes to the journal by root's hand, and a ledger that may not be signed is recorded:
    /// neither passes through the decider.
    pub(super) fn signed(&mut self, answer: Option<signing::Answer>) {
        let Some((Told { decider, number, what: wanted }, outcome)) = answer else { return };
        match &outcome {
            SignOutcome::Done(signed) => self.recorder.tell_signed(&wanted, signed),
            SignOutcome::Refused(cause) => {
                self.refuse_silently(&format!("the decider asked to sign event {}: {cause}", wanted.seq));
            }
            SignOutcome::Failed(_) => {}
        }
        self.say(decider, &FromSpawner::Signed { number, outcome });
    }

    fn cut_off(&mut self, id: u64, cause: &str) {
        self.part_with(id);
        self.refuse_silently(cause);
    }
}

/// A connection made to the front door by a process of root's that is still there: not any socket that root has an end of.
pub(super) fn is_roots_request(connection: &Channel) -> bool {
    connection.bound_path().as_deref() == Some(Path::new(jitsudo_protocol::SOCKET))
        && connection.peer().is_ok_and(|peer| peer.uid == 0)
        && connection.peer_pidfd().is_ok_and(|pidfd| jitsudo_sys::pidfd::is_alive(pidfd.as_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_that_is_not_of_the_front_door_is_not_roots_request() {
        // Run as root, both ends have a living peer of uid 0; run as anybody, neither was made to the front door.
        let (one, other) = Channel::pair().unwrap();
        assert!(!is_roots_request(&one) && !is_roots_request(&other));
        let path = std::env::temp_dir().join(format!("jitsudo-apply-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = Channel::listen(&path).unwrap();
        let client = Channel::connect(&path).unwrap();
        let accepted = listener.accept().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!is_roots_request(&client) && !is_roots_request(&accepted));
    }
}
