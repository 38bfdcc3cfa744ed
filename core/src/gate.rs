//! The gate: which accounts are entered only under a role that is held, who is behind a login, and which role lets them in. Pure.
//!
//! MUSTs
//! 1. A person is settled by an account that the policy gives them, or by a key that it lists for them; nothing else (`person_*`).
//! 2. Nobody enters an account that the policy gives to another person (`account_of_another_person_*`).
//! 3. What is not known widens nothing: no person, no login (`login_without_a_person_*`).

use crate::lends::{Effect, Lends};
use crate::name::Uid;
use crate::policy::Policy;
use crate::rule::Person as Keys;
use crate::subject::Subject;

/// `@self` in a role's `login`.
pub(crate) const SELF: &str = "@self";

/// An account that is entered only under a role that is held, as the policy names it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Gated {
    /// By its name.
    Name(String),
    /// By its uid.
    Uid(Uid),
}

/// An account that somebody enters, or comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Account<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its uid, where NSS says it.
    pub uid: Option<Uid>,
}

/// Who is behind a login.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Person<'a> {
    /// A person of the policy, by name.
    Named(&'a str),
    /// An account that the policy gives to nobody.
    Account(Account<'a>),
}

impl std::fmt::Display for Person<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(name) | Self::Account(Account { name, .. }) => f.write_str(name),
        }
    }
}

/// The accounts that no role's `login` leaves open, sorted: those that are named, and for `@self` all accounts of every person but the
/// one that is written first, from which that person asks.
#[must_use]
pub fn accounts(policy: &Policy) -> Vec<Gated> {
    let named = policy.content.roles.iter().flat_map(|role| &role.login);
    let mut all: Vec<Gated> =
        named.clone().filter(|name| *name != SELF).map(|name| Gated::Name(name.clone())).collect();
    if named.clone().any(|name| name == SELF) {
        let others = policy.content.people.iter().flat_map(|person| &person.others);
        all.extend(others.filter_map(|subject| match subject {
            Subject::User(name) => Some(Gated::Name(name.clone())),
            Subject::Uid(uid) => Some(Gated::Uid(Uid(*uid))),
            Subject::Group(_) | Subject::Gid(_) | Subject::All | Subject::Set(_) => None,
        }));
    }
    all.sort();
    all.dedup();
    all
}

/// Who an account belongs to; `None` when the policy gives it to several people, which settles nothing.
#[must_use]
pub fn owner<'a>(policy: &'a Policy, account: Account<'a>) -> Option<Person<'a>> {
    let mut owners = people(policy).filter(|(_, members, _)| members.iter().any(|member| is(member, account)));
    match (owners.next(), owners.next()) {
        (None, _) => Some(Person::Account(account)),
        (Some((name, _, _)), None) => Some(Person::Named(name)),
        (Some(_), Some(_)) => None,
    }
}

/// Whose key this is: type and base64 as `authorized_keys` has them; `None` when it is nobody's or several people's.
#[must_use]
pub fn owner_of_key<'a>(policy: &'a Policy, kind: &str, body: &str) -> Option<Person<'a>> {
    let is_it = |key: &String| {
        let mut words = key.split_ascii_whitespace();
        words.next() == Some(kind) && words.next() == Some(body)
    };
    let mut owners = people(policy).filter(|(_, _, keys)| keys.ssh_keys.iter().any(is_it));
    match (owners.next(), owners.next()) {
        (Some((name, _, _)), None) => Some(Person::Named(name)),
        (None, _) | (Some(_), Some(_)) => None,
    }
}

/// True when whoever holds this role, and is this person, may enter the account.
#[must_use]
pub fn lets_in(policy: &Policy, role: &str, person: Person<'_>, account: Account<'_>) -> bool {
    if is_of_another(policy, person, account) {
        return false;
    }
    let lent = Lends::of(policy, role).effects;
    lent.iter().any(|effect| match effect {
        Effect::Login(accounts) => accounts.iter().any(|name| match (name.as_str(), person) {
            (SELF, Person::Named(person)) => {
                let own = people(policy).find(|(name, _, _)| *name == person);
                own.is_some_and(|(_, _, keys)| keys.others.iter().any(|member| is(member, account)))
            }
            (SELF, Person::Account(_)) => false,
            (name, _) => name == account.name,
        }),
        Effect::Membership(_) | Effect::Sudoers(_) | Effect::SudoersWithoutEnd(_) => false,
    })
}

/// True for an account that the policy gives to a person, and not to this one.
#[must_use]
pub fn is_of_another(policy: &Policy, person: Person<'_>, account: Account<'_>) -> bool {
    match owner(policy, account) {
        Some(Person::Named(owner)) => person != Person::Named(owner),
        Some(Person::Account(_)) => false,
        None => true,
    }
}

/// The roles that would let this person in, by name.
#[must_use]
pub fn roles<'a>(policy: &'a Policy, person: Person<'_>, account: Account<'_>) -> Vec<&'a str> {
    let names = policy.content.roles.iter().map(|role| role.name.as_str());
    names.filter(|role| lets_in(policy, role, person, account)).collect()
}

fn people(policy: &Policy) -> impl Iterator<Item = (&str, &[Subject], &Keys)> {
    policy.content.people.iter().filter_map(|person| {
        let set = usize::try_from(person.set).ok().and_then(|place| policy.content.sets.get(place))?;
        Some((set.name.as_str(), set.members.as_slice(), person))
    })
}

fn is(subject: &Subject, account: Account<'_>) -> bool {
    match subject {
        Subject::User(name) => name == account.name,
        Subject::Uid(uid) => account.uid == Some(Uid(*uid)),
        Subject::Group(_) | Subject::Gid(_) | Subject::All | Subject::Set(_) => false,
    }
}
