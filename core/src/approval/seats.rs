//! Whether some people can take all seats of an approval expression, each person one seat at most.
//!
//! A matching between seats and people, searched over the choices of each `any`. Bounded: what takes too long to see is a no.

use crate::rule::Approvers;
use crate::subject::Subject;

/// Most seats and choices that are tried.
const MAX_STEPS: u32 = 100_000;

/// An expression with, at each leaf, who of at most 64 people may sit there: bit n stands for the n-th.
#[derive(Clone, Debug)]
pub(super) enum Demand {
    Seats { count: u32, who: u64 },
    All(Vec<Self>),
    Any(Vec<Self>),
}

impl Demand {
    pub(super) fn of(need: &Approvers, who: &dyn Fn(&[Subject]) -> u64) -> Self {
        match need {
            Approvers::By { by, count } => Self::Seats { count: *count, who: who(by) },
            Approvers::All(parts) => Self::All(parts.iter().map(|part| Self::of(part, who)).collect()),
            Approvers::Any(parts) => Self::Any(parts.iter().map(|part| Self::of(part, who)).collect()),
        }
    }
}

/// One seat: who may sit there, and who does.
#[derive(Clone, Copy, Debug)]
struct Seat {
    who: u64,
    taken_by: u32,
}

/// The seats that are taken so far.
#[derive(Clone, Debug)]
pub(super) struct Seats(Vec<Seat>);

impl Seats {
    /// True when all demands can be met at once; with `among`, by people of whom at least one is of those.
    pub(super) fn can_be_taken(demands: &[Demand], among: Option<u64>) -> bool {
        let mut steps = MAX_STEPS;
        search(demands.iter().collect(), Vec::new(), Self(Vec::new()), among, &mut steps)
    }

    /// Seats one more person, moving others where that helps.
    fn add(&mut self, who: u64) -> bool {
        self.0.push(Seat { who, taken_by: u32::MAX });
        let last = self.0.len().saturating_sub(1);
        let mut tried = 0;
        if self.find_for(last, &mut tried) {
            return true;
        }
        self.0.pop();
        false
    }

    /// An augmenting path: a person for this seat, whose own seat finds another one.
    fn find_for(&mut self, place: usize, tried: &mut u64) -> bool {
        let Some(seat) = self.0.get(place).copied() else { return false };
        for person in 0..u64::BITS {
            let bit = 1u64 << person;
            if seat.who & bit == 0 || *tried & bit != 0 {
                continue;
            }
            *tried |= bit;
            let holder = self.0.iter().position(|other| other.taken_by == person);
            if holder.is_none_or(|holder| self.find_for(holder, tried)) {
                if let Some(seat) = self.0.get_mut(place) {
                    seat.taken_by = person;
                }
                return true;
            }
        }
        false
    }

    /// Whoever of these may sit on a taken seat can have it: whoever sits there makes room.
    fn has_room_for_one_of(&self, among: u64) -> bool {
        self.0.iter().any(|seat| seat.who & among != 0)
    }
}

/// Seats first, choices after: what cannot be met is seen before anything is tried.
fn search<'d>(
    mut open: Vec<&'d Demand>,
    mut choices: Vec<&'d [Demand]>,
    mut seats: Seats,
    among: Option<u64>,
    steps: &mut u32,
) -> bool {
    while let Some(demand) = open.pop() {
        let Some(left) = steps.checked_sub(1) else { return false };
        *steps = left;
        match demand {
            Demand::Seats { count, who } => {
                for _ in 0..*count {
                    if !seats.add(*who) {
                        return false;
                    }
                }
            }
            Demand::All(parts) => open.extend(parts),
            Demand::Any(parts) => choices.push(parts),
        }
    }
    match choices.pop() {
        Some(parts) => parts.iter().any(|part| search(vec![part], choices.clone(), seats.clone(), among, steps)),
        None => among.is_none_or(|among| seats.has_room_for_one_of(among)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(count: u32, who: u64) -> Demand {
        Demand::Seats { count, who }
    }

    #[test]
    fn person_who_fits_everywhere_makes_room_for_the_one_who_does_not() {
        // The first person fits both seats, the second only the first one.
        assert!(Seats::can_be_taken(&[seats(1, 0b11), seats(1, 0b01)], None));
        assert!(!Seats::can_be_taken(&[seats(1, 0b01), seats(1, 0b01)], None));
        assert!(Seats::can_be_taken(&[seats(2, 0b111), seats(1, 0b001)], None));
    }

    #[test]
    fn choice_that_takes_a_needed_person_is_given_up_for_another() {
        let any = Demand::Any(vec![seats(1, 0b01), seats(1, 0b10)]);
        assert!(Seats::can_be_taken(&[seats(1, 0b01), any.clone()], None));
        assert!(Seats::can_be_taken(&[any.clone(), seats(1, 0b01)], None));
        assert!(!Seats::can_be_taken(&[any.clone(), any, seats(1, 0b01)], None), "three seats, two people");
    }

    #[test]
    fn one_of_those_must_sit_on_a_seat_that_is_needed() {
        let any = Demand::Any(vec![seats(1, 0b001), Demand::All(vec![seats(1, 0b010), seats(1, 0b100)])]);
        assert!(Seats::can_be_taken(std::slice::from_ref(&any), Some(0b010)), "the other way");
        let stuck = Demand::Any(vec![seats(1, 0b001), Demand::All(vec![seats(1, 0b010), seats(1, 0)])]);
        assert!(!Seats::can_be_taken(&[stuck], Some(0b010)), "a seat that nothing comes of");
    }

    #[test]
    fn empty_any_is_never_met_and_empty_all_always() {
        assert!(!Seats::can_be_taken(&[Demand::Any(Vec::new())], None));
        assert!(Seats::can_be_taken(&[Demand::All(Vec::new())], None));
        assert!(!Seats::can_be_taken(&[Demand::All(Vec::new())], Some(1)));
    }

    #[test]
    fn approval_08_expression_that_takes_too_long_is_a_no() {
        // Twenty seats, each in four ways, ten people: 4^10 ways to fail. Bounded by steps, not by patience.
        let any = Demand::Any(vec![seats(1, 0x3ff); 4]);
        assert!(!Seats::can_be_taken(&vec![any.clone(); 20], None));
        assert!(Seats::can_be_taken(&vec![any; 10], None));
    }
}
