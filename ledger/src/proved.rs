//! What opening has proved of the newest segment, so that nobody need read it again for that.
//!
//! MUST: a head that it says nothing of is not thereby in the ledger (`head_outside_of_what_was_proved_is_not_judged`).

use crate::line::{Hash, Head};
use crate::segment::Chain;
use crate::verify::HeadVerdict;

/// The lines of the newest segment as they were proved when it was opened, and the line before them.
#[derive(Clone, Default, Debug)]
pub struct Proved {
    /// Number of the first of them.
    first: u64,
    /// In order.
    hashes: Vec<Hash>,
}

impl Proved {
    /// Takes up the line that the chain has just accepted.
    pub(crate) fn follow(&mut self, chain: &Chain) {
        if let (true, Some(before)) = (self.hashes.is_empty(), chain.before) {
            self.first = before.seq;
            self.hashes.push(before.hash);
        }
        self.hashes.push(chain.last.hash);
    }

    /// What the ledger says to a head: as [`crate::check_head`], where that has to read nothing else; `None` elsewhere.
    #[must_use]
    pub fn verdict(&self, head: &Head) -> Option<HeadVerdict> {
        let place = usize::try_from(head.seq.checked_sub(self.first)?).ok()?;
        let hash = self.hashes.get(place)?;
        Some(if *hash == head.hash { HeadVerdict::Agrees } else { HeadVerdict::Differs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_outside_of_what_was_proved_is_not_judged() {
        let hash = |digit: char| -> Hash { String::from(digit).repeat(64).parse().unwrap() };
        let head = |seq, digit| Head { seq, hash: hash(digit) };
        let mut chain = Chain::new(2);
        (chain.before, chain.last) = (Some(head(6, 'a')), head(7, 'b'));
        let mut proved = Proved::default();
        assert_eq!(proved.verdict(&head(0, '0')), None);
        proved.follow(&chain);
        chain.last = head(8, 'c');
        proved.follow(&chain);
        for (seq, digit, wanted) in [
            (5, 'a', None),
            (6, 'a', Some(HeadVerdict::Agrees)),
            (7, 'b', Some(HeadVerdict::Agrees)),
            (8, 'c', Some(HeadVerdict::Agrees)),
            (7, 'c', Some(HeadVerdict::Differs)),
            (9, 'c', None),
            (u64::MAX, 'c', None),
        ] {
            assert_eq!(proved.verdict(&head(seq, digit)), wanted, "{seq} {digit}");
        }
    }
}
