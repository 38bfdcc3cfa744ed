//! The pool of fact helpers: at most four, two seconds a question, replaced when they hang or have answered many.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use jitsudo_link::LIBEXEC;
use jitsudo_link::approval::Handed;
use jitsudo_link::facts::{About, Answer, Peer, Proof, Question};
use jitsudo_link::spawner::LookFailure;
use jitsudo_sys::channel::Channel;
use jitsudo_sys::child::{self, Child};
use jitsudo_sys::nix::libc;
use jitsudo_sys::pidfd;

/// Most helpers at once.
const MAX_HELPERS: usize = 4;
/// Most questions that wait; one more is answered `Busy`.
const MAX_WAITING: usize = 256;
/// Questions of one account that wait; the decider lets it have as many connections at once.
const MAX_WAITING_OF_ACCOUNT: usize = 64;
/// Helpers at work for one account: who asks what takes long leaves some to others.
const MAX_BUSY_OF_ACCOUNT: usize = 2;
/// Helpers that were ended and are not gone yet: one that hangs in a file system may take long even to die.
const MAX_DYING: usize = 32;
/// Milliseconds for one question.
const PATIENCE_MS: u64 = 2_000;
/// Questions that one helper answers before another takes its place, so that NSS modules start afresh now and then.
const MAX_ANSWERS: u32 = 500;

/// A question on its way, and where its answer goes.
pub(crate) struct Asked {
    pub(crate) decider: u64,
    pub(crate) number: u64,
    pub(crate) connection: Channel,
    pub(crate) peer: Peer,
    pub(crate) pidfd: OwnedFd,
    pub(crate) about: About,
    pub(crate) why: Why,
}

/// What the facts are asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// The decider wants to know.
    Look,
    /// The peer's remembered proof is to be forgotten: which one is told by where it is.
    Forget,
    /// The peer hands in what somebody signed elsewhere.
    Prove(Box<Proof>, Box<Handed>),
}

struct Helper {
    id: u64,
    child: Child,
    channel: Channel,
    busy: Option<(Box<Asked>, u64)>,
    answers: u32,
}

/// What came of a question.
pub(crate) type Outcome = (Box<Asked>, Result<Answer, LookFailure>);

/// The pool.
#[derive(Default)]
pub(crate) struct Helpers {
    helpers: Vec<Helper>,
    waiting: VecDeque<Box<Asked>>,
    dying: Vec<Child>,
    next: u64,
}

impl Helpers {
    /// Keeps one helper ready, so that the first question of a while does not wait for an exec.
    pub(crate) fn keep_one_ready(&mut self) {
        if self.helpers.is_empty() {
            // Without one a question answers why there is none.
            let _ = self.add();
        }
    }

    /// Puts a question; gives back what can be answered at once (busy, or no helper to be had).
    pub(crate) fn ask(&mut self, asked: Box<Asked>, now_ms: u64) -> Vec<Outcome> {
        let of_account = self.waiting.iter().filter(|other| other.peer.uid == asked.peer.uid).count();
        if self.waiting.len() >= MAX_WAITING || of_account >= MAX_WAITING_OF_ACCOUNT {
            return vec![(asked, Err(LookFailure::Busy))];
        }
        self.waiting.push_back(asked);
        self.dispatch(now_ms)
    }

    /// Gives waiting questions to free helpers, starting some if need be.
    pub(crate) fn dispatch(&mut self, now_ms: u64) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while let Some(asked) = self.take_next() {
            let free = self.helpers.iter().position(|helper| helper.busy.is_none());
            let place = match free {
                Some(place) => Ok(place),
                None if self.helpers.len() >= MAX_HELPERS => {
                    self.waiting.push_front(asked);
                    break;
                }
                None => self.add(),
            };
            match place.map(|place| self.helpers.get_mut(place)) {
                Ok(Some(helper)) => match put(&helper.channel, &asked) {
                    Ok(()) => helper.busy = Some((asked, now_ms + PATIENCE_MS)),
                    Err(cause) => {
                        let id = helper.id;
                        self.drop_helper(id);
                        outcomes.push((asked, Err(LookFailure::Failed(cause))));
                    }
                },
                Ok(None) => outcomes.push((asked, Err(LookFailure::Busy))),
                Err(cause) => outcomes.push((asked, Err(LookFailure::Failed(cause)))),
            }
        }
        outcomes
    }

    /// Takes the question that is next by [`fairest`].
    fn take_next(&mut self) -> Option<Box<Asked>> {
        let busy: Vec<u32> =
            self.helpers.iter().filter_map(|helper| helper.busy.as_ref().map(|(asked, _)| asked.peer.uid)).collect();
        let place = fairest(self.waiting.iter().map(|asked| asked.peer.uid), &busy)?;
        self.waiting.remove(place)
    }

    fn add(&mut self) -> Result<usize, String> {
        if self.dying.len() >= MAX_DYING {
            return Err("helpers hang, and cannot be ended: is a file system away?".to_owned());
        }
        let start = || -> std::io::Result<(Child, Channel)> {
            let (ours, theirs) = Channel::pair()?;
            let program = Path::new(LIBEXEC).join("jitsudo-facts");
            Ok((child::start(&program, &[], &theirs)?, ours))
        };
        let (child, channel) = start().map_err(|error| format!("cannot start jitsudo-facts: {error}"))?;
        self.next += 1;
        self.helpers.push(Helper { id: self.next, child, channel, busy: None, answers: 0 });
        Ok(self.helpers.len() - 1)
    }

    /// Channels to wait for, with the helpers' ids.
    pub(crate) fn channels(&self) -> impl Iterator<Item = (u64, &Channel)> {
        self.helpers.iter().map(|helper| (helper.id, &helper.channel))
    }

    /// Takes a helper's answer, or its end.
    pub(crate) fn readable(&mut self, id: u64) -> Option<Outcome> {
        let helper = self.helpers.iter_mut().find(|helper| helper.id == id)?;
        let answer = match helper.channel.receive() {
            Ok(Some(message)) => serde_json::from_slice::<Answer>(&message.bytes)
                .map_err(|error| format!("jitsudo-facts answered nonsense: {error}")),
            Ok(None) | Err(_) => Err("jitsudo-facts ended in the middle of a question".to_owned()),
        };
        helper.answers += 1;
        let asked = helper.busy.take().map(|(asked, _)| asked);
        if answer.is_err() || helper.answers >= MAX_ANSWERS {
            self.drop_helper(id);
        }
        Some((asked?, answer.map_err(LookFailure::Failed)))
    }

    /// Ends the helpers whose time is over; their questions are answered `TimedOut`.
    pub(crate) fn expire(&mut self, now_ms: u64) -> Vec<Outcome> {
        let (late, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.helpers)
            .into_iter()
            .partition(|helper| helper.busy.as_ref().is_some_and(|(_, until)| *until <= now_ms));
        self.helpers = kept;
        let end = |helper: Helper| {
            self.end(helper.child);
            helper.busy.map(|(asked, _)| (asked, Err(LookFailure::TimedOut)))
        };
        let outcomes = late.into_iter().filter_map(end).collect();
        self.dying.retain_mut(|child| !child.reap());
        outcomes
    }

    /// Kills a helper without waiting for its death.
    fn end(&mut self, mut child: Child) {
        // Fails only when it is gone already.
        let _ = pidfd::signal(child.pidfd().as_fd(), libc::SIGKILL);
        if !child.reap() {
            self.dying.push(child);
        }
    }

    /// When the next question's time is over, CLOCK_BOOTTIME milliseconds.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.helpers.iter().filter_map(|helper| helper.busy.as_ref().map(|(_, until)| *until)).min()
    }

    fn drop_helper(&mut self, id: u64) {
        if let Some(place) = self.helpers.iter().position(|helper| helper.id == id) {
            let helper = self.helpers.swap_remove(place);
            self.end(helper.child);
        }
    }
}

/// The place of the next question: of the account that has the fewest helpers at work, the oldest of those, and none of one that has its
/// share.
fn fairest(waiting: impl Iterator<Item = u32>, busy: &[u32]) -> Option<usize> {
    let count = |uid: u32| busy.iter().filter(|other| **other == uid).count();
    let open = waiting.enumerate().map(|(place, uid)| (count(uid), place));
    open.filter(|(count, _)| *count < MAX_BUSY_OF_ACCOUNT).min().map(|(_, place)| place)
}

fn put(channel: &Channel, asked: &Asked) -> Result<(), String> {
    let proof = match &asked.why {
        Why::Prove(proof, _) => Some(proof.clone()),
        Why::Look | Why::Forget => None,
    };
    let question = Question { peer: asked.peer, about: asked.about.clone(), accounts: Vec::new(), here: false, proof };
    let text = serde_json::to_vec(&question).map_err(|error| error.to_string())?;
    channel.send(&text, &[asked.pidfd.as_fd()]).map_err(|error| format!("cannot ask jitsudo-facts: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_whose_questions_take_long_delays_nobody_else() {
        let flood = [1000; 50];
        let waiting = || flood.into_iter().chain([1001]);
        assert_eq!(fairest(waiting(), &[]), Some(0));
        assert_eq!(fairest(waiting(), &[1000]), Some(50), "who has none at work comes first");
        assert_eq!(fairest(waiting(), &[1000, 1000, 1001]), Some(50));
        assert_eq!(fairest(flood.into_iter(), &[1000, 1000]), None, "two helpers stay free for others");
        assert_eq!(fairest([].into_iter(), &[]), None);
    }

    #[test]
    fn helper_that_is_ended_is_not_waited_for() {
        let mut helpers = Helpers::default();
        let (ours, theirs) = Channel::pair().unwrap();
        helpers.end(child::start(Path::new("/bin/sleep"), &["60"], &theirs).unwrap());
        drop(ours);
        while !helpers.dying.is_empty() {
            helpers.expire(0);
        }
    }
}
