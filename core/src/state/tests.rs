//! Tables for the way of one access, properties for any ledger content.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::decision::Record;
use crate::event::{Actor, Concern, EndCause, Ending, Entrance, EntryError, Signed};
use crate::lends::Effect;
use crate::name::Gid;
use crate::request::Kind as Asks;
use crate::residue::{Change, Item, Kind};
use jitsudo_bytes::Bytes;

pub(super) fn id(number: u8) -> AccessId {
    AccessId::new(u64::from(number), [number; 10])
}

fn session(access: u8, number: u32) -> SessionId {
    SessionId { access: id(access), number }
}

pub(super) fn entry(second: i64, event: Event) -> Entry {
    Entry {
        host: "web-1".to_owned(),
        boot: "b1".to_owned(),
        wall: jiff::Timestamp::from_second(1_800_000_000 + second).unwrap(),
        boottime_ms: 1000,
        actor: Actor { program: "jitsudod".to_owned(), uid: None, name: None },
        spool: None,
        late: false,
        event,
    }
}

pub(super) fn requested(access: u8) -> Event {
    Event::Requested {
        id: id(access),
        uid: Uid(1000),
        user: Some("alice".to_owned()),
        loginuid: Some(Uid(1000)),
        origin: None,
        kind: Asks::Command,
        argv: vec!["systemctl".into(), "restart".into(), Bytes(b"ng\xff".to_vec())],
        argv_cut: false,
        program: Some("/usr/bin/systemctl".into()),
        cwd: None,
        target: None,
        role: None,
        reason: None,
        ticket: None,
        digest: "00".repeat(32),
        tty: 0,
        pid: 7,
        break_glass: false,
    }
}

pub(super) fn decided(access: u8, allowed: bool) -> Event {
    Event::Decided {
        id: id(access),
        allowed,
        rule: Some("r".to_owned()),
        source: None,
        role: None,
        policy: "4f".to_owned(),
        denial: None,
        joined: vec![],
        counted: None,
        break_glass: None,
    }
}

pub(super) fn activating(access: u8) -> Event {
    let ends_at = jiff::Timestamp::from_second(1_800_000_600).unwrap();
    Event::Activating { id: id(access), ends_at, ends_boottime_ms: 601_000, processes_end_at: None, groups: vec![] }
}

pub(super) fn starting(access: u8, number: u32) -> Event {
    let (uid, gid, target) = (Uid::ROOT, Gid(0), "root".to_owned());
    Event::SessionStarting {
        session: session(access, number),
        uid,
        gid,
        target,
        record: Record::None,
        groups: vec![],
        chain: vec![],
        under: None,
    }
}

fn exit(access: u8, number: u32, ending: Ending) -> Event {
    let session = session(access, number);
    Event::SessionExit { session, ending, ran_ms: 5, pid: 9, audit_session: None, failed: None, interpreter: None }
}

fn ended(access: u8) -> Event {
    Event::Ended { id: id(access), cause: EndCause::Finished }
}

pub(super) fn fold(events: impl IntoIterator<Item = Event>) -> State {
    let mut state = State::default();
    for (second, event) in (0..).zip(events) {
        state.apply(&entry(second, event));
    }
    state
}

pub(super) fn why(state: &State) -> Vec<Impossible> {
    state.anomalies().map(|anomaly| anomaly.why).collect()
}

#[test]
fn proof_of_identity_is_taken_for_a_known_session_also_late_and_changes_nothing() {
    let proven =
        |number| Event::Authenticated { session: session(1, number), user: "alice".to_owned(), remembered: false };
    let failed = Event::AuthenticationFailed {
        session: session(1, 1),
        user: "alice".to_owned(),
        tries: 3,
        cause: "3 incorrect password attempts".to_owned(),
    };
    let begun = || [requested(1), decided(1, true), activating(1), starting(1, 1)];
    assert_eq!(why(&fold(begun().into_iter().chain([proven(1), failed.clone()]))), []);
    assert_eq!(why(&fold(begun().into_iter().chain([proven(2)]))), [Impossible::UnknownSession]);
    let over = [exit(1, 1, Ending::NotStarted(13)), ended(1), Event::Closed { id: id(1) }, proven(1), failed];
    assert_eq!(why(&fold(begun().into_iter().chain(over))), []);
    assert_eq!(why(&fold([requested(1), proven(1)])), [Impossible::TooEarly]);
}

#[test]
fn access_goes_from_request_to_verified_end() {
    let way = [
        requested(1),
        decided(1, true),
        activating(1),
        starting(1, 1),
        exit(1, 1, Ending::Exited(0)),
        ended(1),
        Event::Closed { id: id(1) },
    ];
    type Is = fn(&Access) -> bool;
    let states: [Is; 7] = [
        |access| matches!(access, Access::Asked(_)),
        |access| matches!(access, Access::Allowed(_)),
        |access| matches!(access, Access::Activating(_)),
        |access| matches!(access, Access::Active(_)),
        |access| matches!(access, Access::Active(_)),
        |access| matches!(access, Access::Ended(_)),
        |access| matches!(access, Access::Closed(_)),
    ];
    let live = [false, false, true, true, true, true, false];
    for (steps, (is, live)) in (1..).zip(states.into_iter().zip(live)) {
        let state = fold(way.iter().take(steps).cloned());
        assert!(is(state.access(&id(1)).unwrap()), "after {steps} events: {state:?}");
        assert_eq!(state.live_accesses().count() == 1, live, "after {steps} events");
        assert_eq!(state.anomaly_count(), 0);
    }
    let state = fold(way);
    assert_eq!(state.session(&session(1, 1)).unwrap().outcome.as_ref().unwrap().ending, Ending::Exited(0));
}

#[test]
fn denied_access_is_over_and_counted() {
    let state = fold([requested(1), decided(1, false), activating(1)]);
    assert!(matches!(state.access(&id(1)), Some(Access::Denied(_))));
    assert_eq!(state.denials(Uid(1000)), 1);
    assert_eq!(state.live_accesses().count(), 0);
    assert_eq!(why(&state), [Impossible::TooLate]);
}

fn role_requested(access: u8) -> Event {
    match requested(access) {
        Event::Requested { id, uid, user, loginuid, origin, cwd, target, reason, ticket, digest, tty, pid, .. } => {
            let (kind, role, argv) = (Asks::Role, Some("web".to_owned()), vec![]);
            Event::Requested {
                id,
                uid,
                user,
                loginuid,
                origin,
                kind,
                argv,
                argv_cut: false,
                program: None,
                cwd,
                target,
                role,
                reason,
                ticket,
                digest,
                tty,
                pid,
                break_glass: false,
            }
        }
        other => other,
    }
}

fn adm() -> Effect {
    Effect::Membership("adm".to_owned())
}

fn extended(access: u8, second: i64) -> Event {
    let ends_at = jiff::Timestamp::from_second(1_800_000_600 + second).unwrap();
    let ends_boottime_ms = 601_000 + second.unsigned_abs() * 1000;
    Event::Extended { id: id(access), ends_at, ends_boottime_ms, rule: None, policy: None, reason: None }
}

fn active_role() -> Vec<Event> {
    vec![role_requested(1), decided(1, true), activating(1), Event::Active { id: id(1) }]
}

#[test]
fn role_is_held_from_active_until_it_ends() {
    let mut events = active_role();
    events.pop();
    assert_eq!(fold(events.clone()).held_by(Uid(1000)).count(), 0, "not before its rights are there");
    let held = fold(active_role());
    assert_eq!(held.held_by(Uid(1000)).count(), 1);
    assert_eq!(held.held_by(Uid(1001)).count(), 0);
    let released =
        fold(active_role().into_iter().chain([Event::Released { id: id(1), by_other: false, reason: None }, ended(1)]));
    assert_eq!(released.held_by(Uid(1000)).count(), 0);
    assert!(why(&released).is_empty());
}

#[test]
fn command_is_never_held_as_a_role() {
    let state = fold([requested(1), decided(1, true), activating(1), Event::Active { id: id(1) }, starting(1, 1)]);
    assert_eq!(why(&state), [Impossible::TooEarly]);
    assert_eq!(state.held_by(Uid(1000)).count(), 0);
}

#[test]
fn what_was_lent_is_known_until_it_is_taken_back() {
    let lent = |state: &State| state.access(&id(1)).unwrap().given().unwrap().lent.clone();
    let mut events = active_role();
    events.insert(3, Event::EffectApplied { id: id(1), effect: adm(), ours: true });
    assert_eq!(lent(&fold(events.clone())), [adm()]);
    events.push(ended(1));
    assert_eq!(lent(&fold(events.clone())), [adm()], "the end alone takes nothing back");
    events.push(Event::EffectUndone { id: id(1), effect: adm(), removed: true });
    assert!(lent(&fold(events)).is_empty());
    let mut not_ours = active_role();
    not_ours.insert(3, Event::EffectApplied { id: id(1), effect: adm(), ours: false });
    assert!(lent(&fold(not_ours)).is_empty());
}

#[test]
fn extension_moves_the_end_of_what_is_active_and_of_nothing_else() {
    let ends = |state: &State| state.access(&id(1)).unwrap().given().unwrap().ends.clone();
    let state = fold(active_role().into_iter().chain([extended(1, 300)]));
    assert_eq!(ends(&state).boottime_ms, 901_000);
    let late = fold(active_role().into_iter().chain([ended(1), extended(1, 300)]));
    assert_eq!((ends(&late).boottime_ms, why(&late)), (601_000, vec![Impossible::TooLate]));
}

#[test]
fn locked_account_is_locked_until_it_is_unlocked() {
    let lock = Event::Locked { uid: Uid(1000), user: None, reason: "left".to_owned() };
    let state = fold([lock.clone()]);
    assert_eq!(state.lock_of(Uid(1000)).unwrap().reason, "left");
    let state = fold([lock, Event::Unlocked { uid: Uid(1000), user: None }]);
    assert!(state.lock_of(Uid(1000)).is_none() && why(&state).is_empty());
}

#[test]
fn each_impossible_event_is_named_and_changes_nothing_else() {
    let table: Vec<(Vec<Event>, Event, Impossible)> = vec![
        (vec![], exit(1, 1, Ending::Exited(0)), Impossible::UnknownAccess),
        (vec![], activating(1), Impossible::UnknownAccess),
        (vec![requested(1)], requested(1), Impossible::Again),
        (vec![requested(1)], activating(1), Impossible::TooEarly),
        (vec![requested(1)], ended(1), Impossible::TooEarly),
        (vec![requested(1), decided(1, true)], decided(1, true), Impossible::Again),
        (vec![requested(1), decided(1, true)], starting(1, 1), Impossible::TooEarly),
        (vec![requested(1), decided(1, true)], exit(1, 1, Ending::Exited(0)), Impossible::TooEarly),
        (vec![requested(1), decided(1, true), activating(1)], activating(1), Impossible::Again),
        (vec![requested(1), decided(1, true), activating(1)], Event::Closed { id: id(1) }, Impossible::TooEarly),
        (
            vec![requested(1), decided(1, true), activating(1)],
            exit(1, 1, Ending::Exited(0)),
            Impossible::UnknownSession,
        ),
        (vec![requested(1), decided(1, true), activating(1), ended(1)], starting(1, 1), Impossible::TooLate),
        (vec![requested(1), decided(1, true), activating(1), ended(1)], ended(1), Impossible::Again),
    ];
    for (before, event, impossible) in table {
        let was = fold(before.clone());
        let state = fold(before.into_iter().chain([event.clone()]));
        assert_eq!(why(&state), [impossible], "{event:?}");
        assert!(was.all().eq(state.all()), "{event:?} changed an access");
    }
}

#[test]
fn end_of_an_access_that_still_has_a_running_session_keeps_it_live_until_closed() {
    let mut state = fold([requested(1), decided(1, true), activating(1), starting(1, 1), ended(1)]);
    assert_eq!(state.live_accesses().count(), 1);
    state.apply(&entry(9, Event::CleanupFailed { id: id(1), cause: "busy".to_owned() }));
    assert_eq!(state.live_accesses().next().unwrap().given().unwrap().unclean.as_deref(), Some("busy"));
    state.apply(&entry(10, Event::Closed { id: id(1) }));
    assert_eq!(state.live_accesses().count(), 0);
}

#[test]
fn last_word_of_a_session_is_taken_after_the_close() {
    let way = [requested(1), decided(1, true), activating(1), starting(1, 1), ended(1), Event::Closed { id: id(1) }];
    let state = fold(way.into_iter().chain([exit(1, 1, Ending::Signalled(9))]));
    assert_eq!(state.session(&session(1, 1)).unwrap().outcome.as_ref().unwrap().ending, Ending::Signalled(9));
    assert_eq!(state.anomaly_count(), 0);
    assert_eq!(state.live_accesses().count(), 0);
}

#[test]
fn failed_activation_is_over_unless_a_command_ran() {
    let failed = Event::ActivationFailed { id: id(1), cause: "no cgroup".to_owned() };
    let begun = [requested(1), decided(1, true), activating(1), starting(1, 1)];
    let state = fold(begun.iter().cloned().chain([failed.clone(), ended(1), Event::Closed { id: id(1) }]));
    assert!(matches!(state.access(&id(1)), Some(Access::Failed(_))));
    assert_eq!(state.anomaly_count(), 0, "{:?}", why(&state));
    let not_started = exit(1, 1, Ending::NotStarted(2));
    let state = fold(begun.iter().cloned().chain([not_started, failed.clone()]));
    assert!(matches!(state.access(&id(1)), Some(Access::Failed(_))));
    let state = fold(begun.into_iter().chain([exit(1, 1, Ending::Exited(0)), failed]));
    assert!(matches!(state.access(&id(1)), Some(Access::Active(_))), "something ran: it must still be cleaned up");
}

#[test]
fn audit_log_09_clock_set_back_between_restarts_changes_no_order() {
    let way = [requested(1), decided(1, true), activating(1), starting(1, 1), ended(1)];
    let mut state = State::default();
    for (back, event) in (0..).zip(way) {
        state.apply(&entry(-3600 * back, event));
    }
    assert!(matches!(state.access(&id(1)), Some(Access::Ended(_))));
    assert_eq!(state.anomaly_count(), 0);
}

#[test]
fn over_accesses_are_forgotten_beyond_the_bound_live_ones_never() {
    let mut state = fold([requested(1), decided(1, true), activating(1)]);
    for number in 0..(MAX_OVER as u64 + 50) {
        let id = AccessId::new(number + 1000, [3; 10]);
        let Event::Requested { uid, user, loginuid, kind, digest, .. } = requested(1) else { unreachable!() };
        let asked = Event::Requested {
            id: id.clone(),
            uid,
            user,
            loginuid,
            origin: None,
            kind,
            argv: vec![Bytes(vec![b'x'; 100_000])],
            argv_cut: false,
            program: None,
            cwd: None,
            target: None,
            role: None,
            reason: Some("é".repeat(2000)),
            ticket: None,
            digest,
            tty: 0,
            pid: 1,
            break_glass: false,
        };
        state.apply(&entry(1, asked));
        let mut no = decided(1, false);
        if let Event::Decided { id: decided, .. } = &mut no {
            *decided = id;
        }
        state.apply(&entry(1, no));
    }
    assert_eq!(state.all().count(), MAX_OVER + 1);
    assert_eq!(state.live_accesses().count(), 1);
    let bytes = serde_json::to_string(&state).unwrap().len();
    assert!(bytes < 3 << 20, "a snapshot of {bytes} bytes");
}

#[test]
fn requests_that_nobody_decides_are_bounded() {
    let mut state = fold([requested(1), decided(1, true), activating(1)]);
    for number in 0..(MAX_PENDING as u64 + 10) {
        let Event::Requested { uid, kind, digest, .. } = requested(1) else { unreachable!() };
        let id = AccessId::new(number + 1000, [3; 10]);
        let asked = Event::Requested {
            id,
            uid,
            user: None,
            loginuid: None,
            origin: None,
            kind,
            argv: vec![],
            argv_cut: false,
            program: None,
            cwd: None,
            target: None,
            role: None,
            reason: None,
            ticket: None,
            digest,
            tty: 0,
            pid: 1,
            break_glass: false,
        };
        state.apply(&entry(1, asked));
    }
    assert_eq!(state.all().count(), MAX_PENDING + 1);
    assert_eq!(state.anomaly_count(), 10);
    assert_eq!(state.live_accesses().count(), 1);
}

#[test]
fn typed_id_finds_its_access_as_far_as_it_is_unique() {
    let state = fold([requested(1), requested(2)]);
    let one = id(1);
    for text in [one.as_str(), one.short(), &one.as_str()[18..], &one.as_str().to_uppercase()] {
        assert_eq!(state.find(text), Found::One(state.access(&one).unwrap()), "{text}");
    }
    for text in ["", "zz", "zzz", "zzzzzz", "zzzzzzzzzzz", "\u{e9}\u{e9}"] {
        assert_eq!(state.find(text), Found::None, "{text}");
    }
    let mut state = state;
    let twin = AccessId::new(77, [1; 10]);
    let Event::Requested { .. } = requested(1) else { unreachable!() };
    let mut again = entry(1, requested(1));
    if let Event::Requested { id, .. } = &mut again.event {
        *id = twin;
    }
    state.apply(&again);
    assert_eq!(state.find(one.short()), Found::Several(2));
    assert_eq!(state.find(one.as_str()), Found::One(state.access(&one).unwrap()));
}

#[test]
fn policy_in_force_is_the_last_one_applied() {
    let applied = |policy: &str| Event::PolicyApplied {
        policy: policy.to_owned(),
        rules: 2,
        roles: 1,
        files: vec![],
        previous: None,
    };
    let refused = Event::PolicyRefused { cause: "bad".to_owned(), errors: 1 };
    assert_eq!(State::default().policy(), None);
    let state = fold([applied("aa"), applied("bb"), refused]);
    assert_eq!(state.policy().unwrap().digest, "bb");
}

#[test]
fn entry_round_trips_inside_a_ledger_line() {
    for event in [requested(1), decided(1, false), activating(1), starting(1, 2), exit(1, 2, Ending::NotStarted(13))] {
        let entry = entry(1, event);
        let text = serde_json::to_string(&entry).unwrap();
        assert_eq!(Entry::read(text.as_bytes()).unwrap(), entry);
        let line = format!("{{\"seq\":7,{},\"prev\":\"p\",\"hash\":\"h\"}}", &text[1..text.len() - 1]);
        assert_eq!(Entry::read(line.as_bytes()).unwrap(), entry, "the chain's fields are passed over");
        assert!(text.contains(&format!("\"event\":\"{}\"", entry.event.name())));
    }
}

#[test]
fn crash_recovery_04_event_of_a_newer_version_is_refused_by_name() {
    let text = serde_json::to_string(&entry(1, ended(1))).unwrap().replace("\"ended\"", "\"teleported\"");
    let error = Entry::read(text.as_bytes()).unwrap_err();
    assert!(matches!(&error, EntryError::UnknownEvent { event } if event == "teleported"));
    assert_eq!(
        error.to_string(),
        "cannot read event \"teleported\": this version does not know it, a newer one wrote it"
    );
}

#[test]
fn entry_that_is_malformed_is_refused() {
    let whole = serde_json::to_string(&entry(1, exit(1, 1, Ending::Exited(0)))).unwrap();
    for text in [
        "",
        "{}",
        "[]",
        "null",
        &whole.replace("\"ran_ms\":5", "\"ran_ms\":-5"),
        &whole.replace("\"ran_ms\":5,", ""),
        &whole.replace("\"event\":\"session_exit\",", ""),
        &whole.replace(id(1).as_str(), "no-id"),
        &whole.replace(&format!("{}.1", id(1)), &format!("{}.01", id(1))),
    ] {
        assert!(matches!(Entry::read(text.as_bytes()), Err(EntryError::Malformed(_))), "{text}");
    }
}

#[test]
fn name_of_every_event_is_its_tag() {
    for name in Event::NAMES {
        let text = serde_json::to_string(&entry(1, ended(1))).unwrap().replace("\"ended\"", &format!("\"{name}\""));
        match Entry::read(text.as_bytes()) {
            Ok(entry) => assert_eq!(entry.event.name(), name),
            Err(error) => assert!(matches!(error, EntryError::Malformed(_)), "{name}: {error}"),
        }
    }
}

prop_compose! {
    fn any_entry()(second in -5i64..5, event in any_event(), spool in proptest::option::weighted(0.3, 0u8..6), boot in 0u8..2) -> Entry {
        let mut entry = entry(second, event);
        entry.boot = format!("b{boot}");
        entry.spool = spool.map(|number| format!("s.{number}"));
        entry
    }
}

fn signed() -> Signed {
    Signed { host: "web-1".into(), key: "SHA256:x".into(), at: "2026-10-04T10:15:00Z".into(), signature: "U1NI".into() }
}

#[test]
fn only_an_acknowledgement_ends_a_roll_back() {
    let acknowledged =
        |known| Event::Acknowledged { concern: Concern::RolledBack, known, found: 7, reason: "restored".into() };
    let mut state = State::default();
    // What was not found yet cannot be acknowledged in advance.
    state.apply(&entry(0, acknowledged(812)));
    state.apply(&entry(1, Event::RolledBack { known: 812, found: 640 }));
    state.apply(&entry(2, Event::HeadPublished { head_seq: 900, head: "ab".into(), signed: Some(signed()) }));
    assert_eq!(state.unacknowledged().map(|found| (found.known, found.found)), Some((812, 640)));
    let restored: State = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
    assert_eq!(restored.unacknowledged(), state.unacknowledged());
    state.apply(&entry(3, acknowledged(812)));
    assert_eq!(state.unacknowledged(), None);
    assert!(state.rolled_back().unwrap().acknowledged.is_some());
    state.apply(&entry(4, Event::RolledBack { known: 900, found: 700 }));
    assert_eq!(state.unacknowledged().map(|found| found.known), Some(900), "the next one is another one");
}

pub(super) fn any_event() -> impl Strategy<Value = Event> {
    let access = || 0u8..3;
    let number = || 1u32..3;
    let ending = prop_oneof![
        any::<u8>().prop_map(Ending::Exited),
        any::<u8>().prop_map(Ending::Signalled),
        any::<i32>().prop_map(Ending::NotStarted),
    ];
    prop_oneof![
        3 => access().prop_map(requested),
        3 => (access(), proptest::bool::weighted(0.8)).prop_map(|(access, allowed)| decided(access, allowed)),
        3 => access().prop_map(activating),
        1 => access().prop_map(|access| Event::ActivationFailed { id: id(access), cause: "é".repeat(400) }),
        3 => (access(), number()).prop_map(|(access, number)| starting(access, number)),
        3 => (access(), number(), ending).prop_map(|(access, number, ending)| exit(access, number, ending)),
        1 => (access(), number(), any::<u32>()).prop_map(|(access, number, count)| Event::LeftRunning {
            session: session(access, number), programs: vec!["x".into(); 40], count, released: false }),
        1 => (access(), number(), any::<bool>()).prop_map(|(access, number, remembered)| Event::Authenticated {
            session: session(access, number),
            user: "alice".to_owned(),
            remembered,
        }),
        1 => (access(), number(), any::<u32>()).prop_map(|(access, number, tries)| Event::AuthenticationFailed {
            session: session(access, number),
            user: "alice".to_owned(),
            tries,
            cause: "a password is required".to_owned(),
        }),
        1 => (access(), number(), any::<u32>()).prop_map(|(access, number, count)| Event::Signalled {
            session: session(access, number), count, signal: 9 }),
        2 => access().prop_map(|access| Event::LoginOpened { id: id(access), login: Box::new(entrance()) }),
        1 => access().prop_map(|access| Event::LoginClosed {
            id: id(access), account: "alice-adm".to_owned(), pid: 7, killed: 0 }),
        1 => any::<bool>().prop_map(|refused| if refused {
            Event::LoginRefused { login: Box::new(entrance()), cause: "no grant".to_owned() }
        } else {
            Event::RescueUsed { login: Box::new(entrance()) }
        }),
        2 => access().prop_map(ended),
        6 => super::waiting_tests::any_answer(),
        2 => access().prop_map(role_requested),
        2 => access().prop_map(|access| Event::Active { id: id(access) }),
        2 => (access(), any::<bool>()).prop_map(|(access, ours)| Event::EffectApplied { id: id(access), effect: adm(), ours }),
        2 => (access(), any::<bool>()).prop_map(|(access, removed)| Event::EffectUndone {
            id: id(access), effect: adm(), removed }),
        1 => (access(), any::<i32>()).prop_map(|(access, second)| extended(access, i64::from(second))),
        1 => access().prop_map(|access| Event::Released { id: id(access), by_other: false, reason: None }),
        1 => any::<u8>().prop_map(|uid| Event::Locked { uid: Uid(uid.into()), user: None, reason: String::new() }),
        1 => any::<u8>().prop_map(|uid| Event::Unlocked { uid: Uid(uid.into()), user: None }),
        2 => access().prop_map(|access| Event::Closed { id: id(access) }),
        1 => access().prop_map(|access| Event::CleanupFailed { id: id(access), cause: "busy".to_owned() }),
        1 => proptest::option::of(access()).prop_map(|access| Event::SpawnerRefused { id: access.map(id), cause: String::new() }),
        1 => any::<u64>().prop_map(|rules| Event::PolicyApplied {
            policy: "aa".to_owned(), rules, roles: 0, files: vec![], previous: None }),
        1 => any::<u64>().prop_map(|errors| Event::PolicyRefused { cause: String::new(), errors }),
        1 => (any::<u32>(), any::<u64>()).prop_map(|(uid, count)| Event::DenialsCounted { uid: Uid(uid), count, seconds: 60 }),
        1 => (access(), any::<u32>()).prop_map(|(access, count)| Event::Residue {
            id: id(access), items: vec![], count, remark: None }),
        1 => access().prop_map(|access| Event::ResidueAcknowledged { id: id(access), reason: String::new() }),
        1 => any::<i64>().prop_map(|by_ms| Event::ClockStepped { by_ms }),
        1 => any::<u64>().prop_map(|bytes| Event::ChainCut { segment: String::new(), bytes }),
        1 => any::<(u64, u64)>().prop_map(|(known, found)| Event::RolledBack { known, found }),
        1 => any::<(u64, u64)>().prop_map(|(known, found)| Event::Acknowledged {
            concern: Concern::RolledBack, known, found, reason: String::new(),
        }),
        1 => (any::<u64>(), proptest::bool::ANY).prop_map(|(last_seq, by)| Event::SegmentSealed {
            segment: String::new(), last_seq, head: String::new(), signed: by.then(signed) }),
        1 => (any::<u64>(), proptest::bool::ANY).prop_map(|(head_seq, by)| Event::HeadPublished {
            head_seq, head: String::new(), signed: by.then(signed) }),
    ]
}

fn entrance() -> Entrance {
    Entrance {
        account: "alice-adm".to_owned(),
        account_uid: Some(Uid(1002)),
        service: "sshd".to_owned(),
        person: Some("alice".to_owned()),
        by: None,
        terminal: None,
        remote_host: Some("192.0.2.7".to_owned()),
        remote_user: None,
        pid: 7,
    }
}

#[test]
fn residue_stays_until_somebody_acknowledges_it() {
    let item = || Item { kind: Kind::At, change: Change::New, name: "a00001".into(), detail: None, at: None };
    let residue = |access| Event::Residue { id: id(access), items: vec![item(); 40], count: 40, remark: None };
    let mut state = State::default();
    for event in [requested(1), decided(1, true), activating(1), ended(1), Event::Closed { id: id(1) }, residue(1)] {
        state.apply(&entry(1, event));
    }
    let waiting =
        |state: &State| state.residues().map(|(id, residue)| (id.clone(), residue.clone())).collect::<Vec<_>>();
    let found = waiting(&state);
    assert_eq!(found.len(), 1);
    let (of, residue_of) = &found[0];
    assert_eq!((of, residue_of.items.len(), residue_of.count), (&id(1), 32, 40));
    assert!(residue_of.uid.is_some() && state.anomaly_count() == 0);
    let snapshot: State = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
    assert_eq!(snapshot, state);
    let done = Event::ResidueAcknowledged { id: id(1), reason: "the job is gone".to_owned() };
    state.apply(&entry(1, done.clone()));
    assert!(waiting(&state).is_empty() && state.anomaly_count() == 0);
    state.apply(&entry(1, done));
    assert_eq!(state.anomaly_count(), 1, "nothing to acknowledge");
    let looked_at = state.looked_at(&id(1)).unwrap();
    assert_eq!((looked_at.reason.as_str(), looked_at.residue.count), ("the job is gone", 40));
    assert!(state.residue(&id(1)).is_none() && state.looked_at(&id(2)).is_none());
}

#[test]
fn residue_beyond_what_is_remembered_is_counted_and_never_silently_gone() {
    let item = || Item { kind: Kind::At, change: Change::New, name: "a00001".into(), detail: None, at: None };
    let mut state = State::default();
    let id = |number: usize| AccessId::new(u64::try_from(number).unwrap(), [0; 10]);
    let most = MAX_RESIDUES + 3;
    for number in 0..most {
        let residue = Event::Residue { id: id(number), items: vec![item(); 2], count: 2, remark: Some("r".to_owned()) };
        state.apply(&entry(1, residue));
    }
    assert_eq!((state.residues().count(), state.residues_forgotten()), (MAX_RESIDUES, 3));
    let whole = state.residues().filter(|(_, residue)| residue.items.len() == 2).count();
    assert_eq!(whole, MAX_WHOLE_RESIDUES, "the newest have their items");
    assert!(state.residues().all(|(_, residue)| residue.count == 2), "of the others it is known how much there was");
    assert!(state.residue(&id(2)).is_none() && state.residue(&id(3)).is_some());
    let snapshot: State = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
    assert_eq!(snapshot, state);
}

proptest! {
    #[test]
    fn any_events_fold_to_the_same_state_and_never_panic(entries in proptest::collection::vec(any_entry(), 0..60)) {
        let run = || entries.iter().fold(State::default(), |mut state, entry| { state.apply(entry); state });
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn live_ones_all_have_an_activating(entries in proptest::collection::vec(any_entry(), 0..60)) {
        let mut state = State::default();
        let (mut activated, mut begun) = (BTreeSet::new(), BTreeSet::new());
        for entry in &entries {
            state.apply(entry);
            match &entry.event {
                Event::Activating { id, .. } => { activated.insert(id.clone()); }
                Event::SessionStarting { session, .. } => { begun.insert(session.clone()); }
                _ => {}
            }
            for access in state.live_accesses() {
                prop_assert!(activated.contains(access.id()));
            }
            for session in state.sessions() {
                prop_assert!(begun.contains(&session.id));
            }
        }
    }

    #[test]
    fn exit_of_an_unknown_session_gives_nothing(entries in proptest::collection::vec(any_entry(), 0..40), late in any::<bool>()) {
        let mut state = entries.iter().fold(State::default(), |mut state, entry| { state.apply(entry); state });
        let was = state.clone();
        let mut stray = entry(1, exit(200, 1, Ending::Exited(0)));
        stray.late = late;
        state.apply(&stray);
        prop_assert!(was.all().eq(state.all()));
        prop_assert_eq!(was.anomaly_count() + 1, state.anomaly_count());
    }

    #[test]
    fn same_spool_file_twice_changes_nothing(entries in proptest::collection::vec(any_entry(), 0..40), mut spooled in any_entry()) {
        spooled.spool = Some("once.1".to_owned());
        let mut state = entries.iter().fold(State::default(), |mut state, entry| { state.apply(entry); state });
        prop_assert!(!state.has_folded("once.1"));
        state.apply(&spooled);
        let was = state.clone();
        state.apply(&spooled);
        prop_assert!(state.has_folded("once.1"));
        prop_assert_eq!(was, state);
    }

    #[test]
    fn snapshot_continues_as_the_state_itself(entries in proptest::collection::vec(any_entry(), 0..60), cut in 0usize..60) {
        let mut straight = State::default();
        let mut broken = State::default();
        for (place, entry) in entries.iter().enumerate() {
            if place == cut {
                broken = serde_json::from_str(&serde_json::to_string(&broken).unwrap()).unwrap();
            }
            straight.apply(entry);
            broken.apply(entry);
        }
        prop_assert_eq!(&straight, &broken);
        let text = serde_json::to_string(&straight).unwrap();
        prop_assert!(text.bytes().all(|byte| byte >= 0x20), "a snapshot is one line");
        prop_assert_eq!(text, serde_json::to_string(&broken).unwrap());
    }

    #[test]
    fn any_entry_round_trips_as_json(entry in any_entry()) {
        let text = serde_json::to_string(&entry).unwrap();
        prop_assert_eq!(Entry::read(text.as_bytes()).unwrap(), entry);
    }

    #[test]
    fn any_bytes_read_as_an_entry_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Entry::read(&bytes);
    }
}

/// Allowed by break-glass, and counted for an hour.
fn used(access: u8) -> Vec<Event> {
    let mut decided = decided(access, true);
    if let Event::Decided { counted, break_glass, .. } = &mut decided {
        *counted = Some(3600);
        *break_glass = Some(crate::decision::Glass { reviewers: vec!["@security".into()], tell: vec![] });
    }
    vec![requested(access), decided, activating(access)]
}

fn proven(access: u8) -> Event {
    Event::Authenticated { session: session(access, 1), user: "alice".to_owned(), remembered: false }
}

fn waits(events: impl IntoIterator<Item = Event>) -> usize {
    fold(events).past().unreviewed().count()
}

#[test]
fn use_waits_until_it_is_reviewed() {
    let reviewed = |access| Event::Reviewed { id: id(access), note: "sound".into() };
    let closed = [starting(1, 1), proven(1), exit(1, 1, Ending::Exited(0)), ended(1), Event::Closed { id: id(1) }];
    let way: Vec<Event> = used(1).into_iter().chain(closed).collect();
    for steps in 3..=way.len() {
        assert_eq!(waits(way.iter().take(steps).cloned()), 1, "after {steps} events");
    }
    let state = fold(way.iter().cloned().chain([reviewed(1)]));
    assert_eq!((state.past().unreviewed().count(), state.anomaly_count()), (0, 0));
    assert_eq!(why(&fold(way.iter().cloned().chain([reviewed(1), reviewed(1)]))), [Impossible::TooLate]);
    assert_eq!(why(&fold([reviewed(1)])), [Impossible::TooLate], "nothing is reviewed in advance");
    // Nothing was given: a wrong password, a spawner that refuses. What was proven counts, also where nothing ran.
    let refused = Event::ActivationFailed { id: id(1), cause: "x".into() };
    assert_eq!(waits(used(1).into_iter().chain([refused])), 0);
    let not_started = || [exit(1, 1, Ending::NotStarted(13)), ended(1)];
    assert_eq!(waits(used(1).into_iter().chain([starting(1, 1)]).chain(not_started())), 0);
    assert_eq!(waits(used(1).into_iter().chain([starting(1, 1), proven(1)]).chain(not_started())), 1);
}

#[test]
fn what_counts_survives_a_snapshot_and_ends_with_the_access() {
    let mut state = fold(used(1).into_iter().chain([starting(1, 1), exit(1, 1, Ending::Exited(0))]));
    state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
    state.apply(&entry(30, ended(1)));
    let text = serde_json::to_value(state.past()).unwrap();
    assert_eq!(text["uses"][0]["since"], text["uses"][0]["newest"]);
    assert_eq!(text["uses"][0]["until"], serde_json::to_value(entry(30, ended(1)).wall).unwrap());
    assert_eq!((text["uses"][0]["count"].as_u64(), text["uses"][0]["keep"].as_u64()), (Some(1), Some(3600)));
}
