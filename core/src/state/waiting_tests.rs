//! The way of a request that waits for people: each order of events, and what none may do.

use proptest::prelude::*;

use super::tests::{activating, any_event, decided, entry, fold, id, requested, starting, why};
use super::*;
use crate::approval::{Limits, Proof};
use crate::decision::{Auth, Record};
use crate::event::SignedAnswer;

/// Answers count for ten minutes, and what was approved for one.
fn asked(access: u8) -> Event {
    Event::Asked {
        id: id(access),
        digest: "d".to_owned(),
        nonce: "00".repeat(16),
        approvers: vec!["@leads".to_owned()],
        persons: 1,
        answer_by: jiff::Timestamp::from_second(1_800_000_600).unwrap(),
        answer_by_boottime_ms: 601_000,
        use_by: 60,
    }
}

fn approved_by(access: u8, uid: u32, enough: bool) -> Event {
    Event::Approved {
        id: id(access),
        uid: Uid(uid),
        user: Some("bob".to_owned()),
        person: Some("bob".to_owned()),
        digest: "d".to_owned(),
        proof: Proof::Local(Auth::Fresh),
        limits: Limits { window: Some(u64::from(uid)), record: None },
        enough,
        signed: None,
    }
}

fn approved(access: u8) -> Event {
    approved_by(access, 1002, true)
}

fn refused(access: u8) -> Event {
    let reason = "not now".to_owned();
    Event::Refused {
        id: id(access),
        uid: Uid(1003),
        user: None,
        person: None,
        digest: "d".to_owned(),
        reason,
        signed: None,
    }
}

fn withdrawn(access: u8) -> Event {
    Event::Withdrawn { id: id(access) }
}

fn lapsed(access: u8) -> Event {
    Event::Lapsed { id: id(access) }
}

fn waiting(access: u8) -> [Event; 3] {
    [requested(access), decided(access, true), asked(access)]
}

fn after(events: impl IntoIterator<Item = Event>) -> State {
    fold(waiting(1).into_iter().chain(events))
}

/// Anything that may be said of a request that waits.
pub(super) fn any_answer() -> impl Strategy<Value = Event> {
    let access = || 0u8..3;
    prop_oneof![
        3 => access().prop_map(asked),
        4 => (access(), 1002u32..1005, any::<bool>()).prop_map(|(access, uid, enough)| approved_by(access, uid, enough)),
        1 => access().prop_map(|access| match approved(access) {
            Event::Approved { id, uid, user, person, proof, .. } => Event::Approved {
                id, uid, user, person, proof, digest: "other".to_owned(), enough: true,
                limits: Limits { window: None, record: Some(Record::Terminal) },
                signed: Some(Box::new(SignedAnswer { key: "k".into(), signature: "s".into(), card: "c\n".into() })) },
            other => other,
        }),
        2 => access().prop_map(refused),
        1 => access().prop_map(lapsed),
        1 => access().prop_map(withdrawn),
    ]
}

#[test]
fn approved_request_goes_on_as_any_other() {
    let state = after([approved(1), decided(1, true), activating(1), starting(1, 1)]);
    assert_eq!(why(&state), []);
    assert!(matches!(state.access(&id(1)), Some(Access::Active(_))));
    assert_eq!(state.waiting().count(), 0);
}

#[test]
fn nothing_is_activated_before_enough_said_yes() {
    for early in [vec![], vec![approved_by(1, 1002, false)]] {
        let state = after(early.into_iter().chain([activating(1), starting(1, 1)]));
        assert_eq!(why(&state), [Impossible::TooEarly, Impossible::TooEarly]);
        assert_eq!(state.live_accesses().count(), 0);
    }
    let state = fold([requested(1), asked(1)]);
    assert_eq!(why(&state), [Impossible::TooEarly], "nobody is asked what is not allowed");
    let state = fold([requested(1), decided(1, false), asked(1), approved(1), activating(1)]);
    assert_eq!(state.live_accesses().count(), 0, "a yes of people is no yes of the policy");
}

#[test]
fn approval_05_first_of_two_answers_at_once_wins() {
    let no_first = after([refused(1), approved(1), activating(1)]);
    assert!(matches!(no_first.access(&id(1)), Some(Access::Refused(refused)) if refused.reason == "not now"));
    assert_eq!(why(&no_first), [Impossible::TooLate, Impossible::TooLate]);
    let yes_first = after([approved(1), activating(1), refused(1)]);
    assert!(matches!(yes_first.access(&id(1)), Some(Access::Activating(_))));
    let between = after([approved(1), refused(1), activating(1)]);
    assert!(matches!(between.access(&id(1)), Some(Access::Refused(_))), "until it is given a no takes it back");
}

#[test]
fn approval_05_same_account_twice_is_one_yes() {
    let state = after([approved_by(1, 1002, false), approved_by(1, 1002, true)]);
    assert_eq!(why(&state), [Impossible::Again]);
    assert_eq!(state.waiting().next().unwrap().yes.len(), 1);
    assert!(matches!(state.access(&id(1)), Some(Access::Waiting(_))));
}

#[test]
fn approval_01_yes_to_another_digest_changes_nothing() {
    let other = match approved(1) {
        Event::Approved { id, uid, user, person, proof, limits, .. } => {
            Event::Approved { id, uid, user, person, proof, limits, digest: "e".to_owned(), enough: true, signed: None }
        }
        _ => unreachable!(),
    };
    let state = after([other]);
    assert_eq!(why(&state), [Impossible::AnotherDigest]);
    assert!(state.access(&id(1)).unwrap().waiting().unwrap().yes.is_empty());
}

#[test]
fn approval_04_yes_after_withdrawal_lapse_or_the_time_is_dropped() {
    for end in [withdrawn(1), lapsed(1), refused(1), decided(1, false)] {
        let was = after([end.clone()]);
        let state = after([end, approved(1), activating(1)]);
        assert_eq!(why(&state), [Impossible::TooLate, Impossible::TooLate]);
        assert!(was.all().eq(state.all()));
    }
    for late in [|late: &mut Entry| late.boottime_ms = 601_000, |late: &mut Entry| late.boot = "b2".to_owned()] {
        let mut state = after([]);
        let mut yes = entry(5, approved(1));
        late(&mut yes);
        state.apply(&yes);
        assert_eq!(why(&state), [Impossible::TooLate]);
    }
    let mut state = after([]);
    state.apply(&entry(600, approved(1)));
    assert_eq!(why(&state), [Impossible::TooLate], "by the wall clock as well");
}

#[test]
fn what_was_approved_is_to_be_used_within_its_time_by_both_clocks() {
    let state = after([approved(1)]);
    let Some(Access::Approved(approved)) = state.access(&id(1)) else { panic!("{state:?}") };
    assert_eq!(approved.use_by.boottime_ms, 61_000);
    assert_eq!(approved.use_by.at, jiff::Timestamp::from_second(1_800_000_063).unwrap());
    let unused = after([super::waiting_tests::approved(1), lapsed(1)]);
    assert!(matches!(unused.access(&id(1)), Some(Access::Lapsed(lapsed)) if lapsed.unused));
}

#[test]
fn limits_of_all_who_said_yes_hold() {
    let state = after([approved_by(1, 1003, false), approved_by(1, 1002, false)]);
    assert_eq!(state.waiting().next().unwrap().limits(), Limits { window: Some(1002), record: None });
}

#[test]
fn new_decision_on_what_waits_is_the_one_that_counts() {
    let state = after([approved(1), decided(1, false)]);
    assert!(matches!(state.access(&id(1)), Some(Access::Denied(_))));
    assert_eq!((state.denials(Uid(1000)), why(&state)), (1, vec![]));
    let again = match decided(1, true) {
        Event::Decided { id, allowed, source, role, denial, joined, .. } => Event::Decided {
            id,
            allowed,
            source,
            role,
            denial,
            joined,
            rule: Some("new".to_owned()),
            policy: "5a".to_owned(),
            counted: None,
            break_glass: None,
        },
        _ => unreachable!(),
    };
    let state = after([approved(1), again]);
    let waiting = state.waiting().next().unwrap();
    assert_eq!((waiting.allowed.rule.as_deref(), waiting.allowed.policy.as_str()), (Some("new"), "5a"));
    assert_eq!(waiting.yes.len(), 1);
}

#[test]
fn one_account_fills_its_own_share_and_nobody_elses() {
    let mut state = State::default();
    for number in 0..MAX_WAITING_OF_ACCOUNT {
        assert_eq!(state.may_wait(Uid(1000)), Ok(()));
        let number = u8::try_from(number).unwrap();
        for event in waiting(number) {
            state.apply(&entry(1, event));
        }
    }
    assert_eq!(state.may_wait(Uid(1000)), Err(TooManyWait::OfAccount));
    assert_eq!(state.may_wait(Uid(1001)), Ok(()));
    state.apply(&entry(2, withdrawn(0)));
    assert_eq!(state.may_wait(Uid(1000)), Ok(()), "what is over makes room");
}

#[test]
fn approval_08_flood_of_others_never_drops_what_people_are_asked_about() {
    let mut state = fold(waiting(0));
    for number in 0..=MAX_PENDING {
        let mut other = entry(1, requested(1));
        if let Event::Requested { id, .. } = &mut other.event {
            *id = AccessId::new(10 + number as u64, [1; 10]);
        }
        state.apply(&other);
    }
    assert!(state.access(&id(0)).unwrap().is_waiting());
    assert!(state.anomaly_count() > 0);
}

/// The way in which a request that waited has ended, if it has.
fn end(access: Option<&Access>) -> Option<&'static str> {
    match access? {
        Access::Refused(_) => Some("refused"),
        Access::Lapsed(_) => Some("lapsed"),
        Access::Withdrawn(_) => Some("withdrawn"),
        Access::Denied(_) => Some("denied"),
        Access::Failed(_) => Some("failed"),
        Access::Activating(_) | Access::Active(_) | Access::Ended(_) | Access::Closed(_) => Some("given"),
        Access::Asked(_) | Access::Allowed(_) | Access::Waiting(_) | Access::Approved(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn approval_05_waiting_request_ends_once(
        events in proptest::collection::vec((any_event(), -2i64..700), 0..80),
    ) {
        let mut state = State::default();
        let mut ends: std::collections::BTreeMap<AccessId, &'static str> = std::collections::BTreeMap::new();
        for (event, second) in events {
            state.apply(&entry(second, event));
            for access in state.all() {
                let Some(now) = end(Some(access)) else {
                    prop_assert!(!ends.contains_key(access.id()), "{} waits again", access.id());
                    continue;
                };
                let was = *ends.entry(access.id().clone()).or_insert(now);
                // What was given may turn out not to have been: nothing ran.
                prop_assert!(was == now || (was, now) == ("given", "failed"), "{was} became {now}");
            }
        }
    }

    #[test]
    fn nothing_live_has_skipped_its_answers(events in proptest::collection::vec(any_event(), 0..80)) {
        let mut state = State::default();
        let mut open = std::collections::BTreeSet::new();
        for event in events {
            let enough = matches!(&event, Event::Approved { enough: true, .. });
            let id = event.access().cloned();
            state.apply(&entry(0, event));
            let Some(access) = id.as_ref().and_then(|id| state.access(id)) else { continue };
            match access {
                Access::Waiting(_) => { open.insert(access.id().clone()); }
                Access::Approved(_) if enough => { open.remove(access.id()); }
                _ => {}
            }
            for live in state.live_accesses() {
                prop_assert!(!open.contains(live.id()), "{} is live and nobody said enough", live.id());
            }
        }
    }

    #[test]
    fn approving_gives_no_right(events in proptest::collection::vec(any_event(), 0..80)) {
        let says_yes = |event: &Event| matches!(event, Event::Approved { .. } | Event::Refused { .. });
        let mut state = State::default();
        for event in events {
            let before = (state.live_accesses().count(), held(&state));
            let answers = says_yes(&event);
            state.apply(&entry(0, event));
            if answers {
                prop_assert_eq!(before, (state.live_accesses().count(), held(&state)));
            }
        }
    }
}

/// Roles that anybody holds.
fn held(state: &State) -> Vec<AccessId> {
    let uids = (1000..1010).map(Uid);
    uids.flat_map(|uid| state.held_by(uid).map(|given| given.allowed.asked.id.clone()).collect::<Vec<_>>()).collect()
}
