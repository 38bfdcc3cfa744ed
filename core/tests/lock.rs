//! Locked accounts.

mod scene;

use std::collections::BTreeMap;

use jitsudo_core::facts::{Fact, Facts};
use jitsudo_core::lock::{Account, is_same_person, of};
use jitsudo_core::name::Uid;
use jitsudo_core::state::Lock;
use scene::alice;

const PEOPLE: &str =
    "[people.alice]\naccounts = [\"alice\", \"alice-adm\", \"#1077\"]\n[people.bob]\naccounts = [\"bob\"]\n";

fn lock(user: &str) -> Lock {
    Lock { at: scene::now(), user: Some(user.to_owned()), reason: "left".to_owned(), by: Some("dan".to_owned()) }
}

fn account(uid: u32, name: &str) -> Account<'_> {
    Account { uid: Uid(uid), name: Some(name) }
}

fn is_locked(facts: &Facts, uid: u32, user: &str) -> bool {
    let policy = scene::policy(PEOPLE);
    let locks = BTreeMap::from([(Uid(uid), lock(user))]);
    of(Some(&policy), facts, locks.iter().map(|(uid, lock)| (*uid, lock))).is_some()
}

#[test]
fn lock_reaches_every_account_of_the_person() {
    assert!(is_locked(&alice(), 1001, "alice"));
    assert!(is_locked(&alice(), 1050, "alice-adm"));
    assert!(is_locked(&alice(), 1077, "anything"));
    assert!(!is_locked(&alice(), 1002, "bob") && !is_locked(&alice(), 1003, "carol"));
    let policy = scene::policy(PEOPLE);
    assert!(is_same_person(Some(&policy), account(1001, "alice"), account(1050, "alice-adm")));
    assert!(!is_same_person(None, account(1001, "alice"), account(1050, "alice-adm")), "no policy knows it");
    assert!(is_same_person(None, account(1001, "alice"), Account { uid: Uid(1001), name: None }));
}

#[test]
fn lock_reaches_who_became_another_account() {
    let mut facts = alice();
    facts.requester.uid = Uid(1002);
    facts.requester.name = Fact::Is("bob".to_owned());
    assert!(is_locked(&facts, 1001, "alice"), "bob's shell, alice's login");
    facts.requester.uid = Uid::ROOT;
    facts.requester.name = Fact::Is("root".to_owned());
    assert!(is_locked(&facts, 1050, "alice-adm"), "root's shell, alice's login");
}

#[test]
fn root_itself_is_not_reached() {
    let mut facts = alice();
    facts.requester.uid = Uid::ROOT;
    facts.requester.name = Fact::Is("root".to_owned());
    facts.requester.loginuid = Fact::Is(None);
    assert!(!is_locked(&facts, 0, "root"));
}
