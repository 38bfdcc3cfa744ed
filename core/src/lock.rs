//! Locks: nothing may start for a locked account, nor for another account of the same person.
//!
//! MUSTs
//! 1. A lock reaches every account of the person that the policy knows, and nobody else (`lock_reaches_every_account_of_the_person`).
//! 2. Whoever became another account is reached by where they came from (`lock_reaches_who_became_another_account`).
//! 3. Root itself is not reached: the host must stay in somebody's hands (`root_itself_is_not_reached`).

use crate::facts::{Fact, Facts};
use crate::identity;
use crate::name::Uid;
use crate::policy::Policy;
use crate::state::Lock;
use crate::subject::Subject;

/// An account, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Account<'a> {
    /// Its uid.
    pub uid: Uid,
    /// Its name.
    pub name: Option<&'a str>,
}

/// True for one account, and for two that the policy says are one person's.
#[must_use]
pub fn is_same_person(policy: Option<&Policy>, one: Account<'_>, other: Account<'_>) -> bool {
    if one.uid == other.uid {
        return true;
    }
    let Some(content) = policy.map(|policy| &policy.content) else { return false };
    content.people.iter().any(|person| {
        let set = usize::try_from(person.set).ok().and_then(|place| content.sets.get(place));
        set.is_some_and(|set| is_in(&set.members, one) && is_in(&set.members, other))
    })
}

fn is_in(members: &[Subject], account: Account<'_>) -> bool {
    members.iter().any(|member| match member {
        Subject::User(name) => account.name == Some(name.as_str()),
        Subject::Uid(uid) => account.uid.0 == *uid,
        Subject::Group(_) | Subject::Gid(_) | Subject::All | Subject::Set(_) => false,
    })
}

/// The lock that the requester of `facts` is under, if any, with the account that was locked.
#[must_use]
pub fn of<'a>(
    policy: Option<&Policy>,
    facts: &Facts,
    locks: impl Iterator<Item = (Uid, &'a Lock)>,
) -> Option<(Uid, &'a Lock)> {
    if identity::is_root_itself(facts) {
        return None;
    }
    let requester = &facts.requester;
    let own = Account { uid: requester.uid, name: requester.name.known().map(String::as_str) };
    let came_from = match requester.loginuid {
        Fact::Is(Some(uid)) if uid.is_account() => {
            Some(Account { uid, name: requester.login_name.known().and_then(|name| name.as_deref()) })
        }
        Fact::Is(_) | Fact::Unknown => None,
    };
    let accounts = [Some(own), came_from];
    locks.into_iter().find(|(uid, lock)| {
        let locked = Account { uid: *uid, name: lock.user.as_deref() };
        accounts.iter().flatten().any(|account| is_same_person(policy, locked, *account))
    })
}
