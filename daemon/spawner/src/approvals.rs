//! Who said yes to what, by own facts and after a proof that was given here: in memory alone, so that a restart or reboot forgets all of it.
//!
//! The decider says which yes is to be heard; that it was said, by whom, from where and when is this program's own knowledge, and so a
//! decider that lies can at worst use one again that was given for exactly that request.
//!
//! MUSTs
//! 1. A yes counts only once its approver has proven who they are (`yes_counts_after_its_proof`).
//! 2. Each is used once (`yes_is_used_once`).
//! 3. One account's answers push out its own oldest only (`dos_01_answers_*`).

use jitsudo_core::approval::Moment;
use jitsudo_core::facts::Facts;
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_link::approval::Yes;

/// Most answers of one account that are remembered.
const MAX_OF_ACCOUNT: usize = 64;
/// Most of all; the oldest goes.
const MAX: usize = 4096;

/// Somebody's yes.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// To what.
    pub(crate) yes: Yes,
    /// Who, as they were seen on their own connection.
    pub(crate) facts: Facts,
    /// From inside a session; `None` = it cannot be told.
    pub(crate) inside: Option<bool>,
    /// For at most so many seconds.
    pub(crate) window: Option<u64>,
    /// When their proof was complete; before that when it was asked for.
    pub(crate) at: Moment,
    /// It was signed elsewhere.
    pub(crate) signature: Option<BySignature>,
}

/// What was signed, by which key of whose.
#[derive(Clone, Debug)]
pub(crate) struct BySignature {
    /// SHA-256 of the text, hex.
    pub(crate) card: String,
    /// The policy's name for them.
    pub(crate) person: String,
    /// The key, as the policy writes it.
    pub(crate) key: String,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Approvals {
    proving: Vec<(SessionId, Said)>,
    said: Vec<Said>,
}

impl Approvals {
    /// Waits for the proof of who says it.
    pub(crate) fn ask(&mut self, session: SessionId, said: Said) {
        self.proving.push((session, said));
    }

    /// Nothing will come of it any more.
    pub(crate) fn give_up(&mut self, session: &SessionId) {
        self.proving.retain(|(proving, _)| proving != session);
    }

    /// True while that session is to hear somebody's yes.
    pub(crate) fn knows(&self, session: &SessionId) -> bool {
        self.proving.iter().any(|(proving, _)| proving == session)
    }

    /// Who says it has proven who they are: it counts from now on.
    pub(crate) fn proved(&mut self, session: &SessionId, at: Moment) -> bool {
        let Some(place) = self.proving.iter().position(|(proving, _)| proving == session) else { return false };
        let (_, said) = self.proving.remove(place);
        self.remember(Said { at, ..said });
        true
    }

    /// A signature proves who says it: it counts from now on. Handed in again it says nothing new.
    pub(crate) fn signed(&mut self, said: Said) {
        let is_same = |other: &Said| {
            other.signature.is_some() && other.yes == said.yes && other.facts.requester.uid == said.facts.requester.uid
        };
        if !self.said.iter().any(is_same) {
            self.remember(said);
        }
    }

    fn remember(&mut self, said: Said) {
        let uid = said.facts.requester.uid;
        let of_account = self.said.iter().filter(|other| other.facts.requester.uid == uid).count();
        if of_account >= MAX_OF_ACCOUNT
            && let Some(oldest) = self.said.iter().position(|other| other.facts.requester.uid == uid)
        {
            self.said.remove(oldest);
        }
        if self.said.len() >= MAX {
            self.said.remove(0);
        }
        self.said.push(said);
    }

    /// What was said to exactly this.
    pub(crate) fn to<'a>(&'a self, id: &'a AccessId, digest: &'a str) -> impl Iterator<Item = &'a Said> {
        self.said.iter().filter(move |said| said.yes.to == *id && said.yes.digest == digest)
    }

    /// It is being used: nothing of it counts again.
    pub(crate) fn used(&mut self, id: &AccessId) {
        self.said.retain(|said| said.yes.to != *id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_core::name::Uid;

    fn id(number: u8) -> AccessId {
        AccessId::new(u64::from(number), [number; 10])
    }

    fn at(boottime_ms: u64) -> Moment {
        Moment { at: jitsudo_core::Timestamp::UNIX_EPOCH, boottime_ms }
    }

    fn said(yes: Yes, facts: Facts) -> Said {
        Said { yes, facts, inside: Some(false), window: None, at: at(1), signature: None }
    }

    fn say(approvals: &mut Approvals, uid: u32, to: u8, session: u8) {
        let mut facts = crate::judge::tests::facts();
        facts.requester.uid = Uid(uid);
        let yes = Yes { to: id(to), digest: "d".into() };
        let session = SessionId { access: id(session), number: 1 };
        approvals.ask(session.clone(), said(yes, facts));
        assert!(approvals.proved(&session, at(2)));
    }

    #[test]
    fn yes_counts_after_its_proof() {
        let mut approvals = Approvals::default();
        let session = SessionId { access: id(9), number: 1 };
        let yes = Yes { to: id(1), digest: "d".into() };
        let facts = crate::judge::tests::facts();
        approvals.ask(session.clone(), said(yes, facts));
        assert_eq!(approvals.to(&id(1), "d").count(), 0);
        assert!(approvals.knows(&session) && approvals.proved(&session, at(5)));
        assert!(!approvals.proved(&session, at(6)), "once");
        assert_eq!(approvals.to(&id(1), "d").map(|said| said.at.boottime_ms).collect::<Vec<_>>(), [5]);
        assert_eq!((approvals.to(&id(1), "e").count(), approvals.to(&id(2), "d").count()), (0, 0));
    }

    #[test]
    fn signature_that_is_handed_in_twice_is_one_yes_and_never_the_later_one() {
        let mut approvals = Approvals::default();
        let yes = Yes { to: id(1), digest: "d".into() };
        let by = BySignature { card: "c".into(), person: "carol".into(), key: "k".into() };
        let signed =
            |window| Said { window, signature: Some(by.clone()), ..said(yes.clone(), crate::judge::tests::facts()) };
        approvals.signed(signed(None));
        approvals.signed(signed(Some(60)));
        assert_eq!(approvals.to(&id(1), "d").map(|said| said.window).collect::<Vec<_>>(), [None]);
        say(&mut approvals, 0, 1, 9);
        assert_eq!(approvals.to(&id(1), "d").count(), 2, "which of both counts is not told here");
    }

    #[test]
    fn yes_is_used_once() {
        let mut approvals = Approvals::default();
        say(&mut approvals, 1002, 1, 9);
        approvals.used(&id(1));
        assert_eq!(approvals.to(&id(1), "d").count(), 0);
    }

    #[test]
    fn dos_01_answers_of_one_account_push_out_its_own_oldest_only() {
        let mut approvals = Approvals::default();
        say(&mut approvals, 1003, 0, 200);
        for number in 1..=u8::try_from(MAX_OF_ACCOUNT).unwrap() + 1 {
            say(&mut approvals, 1002, number, 100 + number);
        }
        assert_eq!(approvals.to(&id(0), "d").count(), 1);
        assert_eq!((approvals.to(&id(1), "d").count(), approvals.to(&id(2), "d").count()), (0, 1));
    }
}
