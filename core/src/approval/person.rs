//! Which human is behind an account: by the policy's `[people]`, by uid, and by where the process came in.
//!
//! MUST: a doubt is read against the answer: two accounts that may be one person's are, for leaving out; an account that may be a service's is.

use crate::facts::{Fact, Facts};
use crate::identity;
use crate::name::Uid;
use crate::policy::Policy;
use crate::subject::Subject;
use crate::truth::Truth;

/// One account of a process.
#[derive(Clone, Copy, Debug)]
struct Account<'a> {
    uid: Uid,
    name: Option<&'a str>,
}

/// The accounts behind a process: the one that it acts as, and the one that it came in by, where that is another.
#[derive(Clone, Debug)]
pub(super) struct Behind<'a> {
    acting: Account<'a>,
    came_in: Option<Account<'a>>,
}

impl<'a> Behind<'a> {
    /// `None` when it is not known where the process came in.
    pub(super) fn of(facts: &'a Facts) -> Option<Self> {
        let requester = &facts.requester;
        let acting = Account { uid: requester.uid, name: requester.name.known().map(String::as_str) };
        let came_in = match requester.loginuid {
            Fact::Unknown => return None,
            Fact::Is(Some(uid)) if uid.is_account() && uid != acting.uid => {
                Some(Account { uid, name: requester.login_name.known().and_then(|name| name.as_deref()) })
            }
            Fact::Is(_) => None,
        };
        acting.uid.is_account().then_some(Self { acting, came_in })
    }

    fn accounts(&self) -> impl Iterator<Item = Account<'a>> {
        [Some(self.acting), self.came_in].into_iter().flatten()
    }

    /// It acts as uid 0.
    pub(super) fn is_root(&self) -> bool {
        self.acting.uid == Uid::ROOT
    }

    /// The names of all its accounts are known.
    pub(super) fn is_named(&self) -> bool {
        self.accounts().all(|account| account.name.is_some())
    }

    /// One of its accounts may be in this set.
    pub(super) fn may_be_in(&self, policy: &Policy, set: u32) -> bool {
        self.accounts().any(|account| is_in(policy, set, account) != Truth::False)
    }

    /// Both may be one human.
    pub(super) fn may_be(&self, other: &Self, policy: &Policy) -> bool {
        let same_uid = self.accounts().any(|one| other.accounts().any(|two| one.uid == two.uid));
        let people = &policy.content.people;
        same_uid
            || people.iter().any(|person| self.may_be_in(policy, person.set) && other.may_be_in(policy, person.set))
    }

    /// An account that this subject names, by itself or in a set, is of a person who may be this one.
    pub(super) fn shares_a_person_with(&self, policy: &Policy, subject: &Subject) -> bool {
        let named: Vec<&Subject> = match subject {
            Subject::Set(place) => {
                let set = usize::try_from(*place).ok().and_then(|place| policy.content.sets.get(place));
                set.into_iter().flat_map(|set| &set.members).collect()
            }
            Subject::User(_) | Subject::Uid(_) | Subject::Group(_) | Subject::Gid(_) | Subject::All => vec![subject],
        };
        let accounts = |set: u32| {
            let set = usize::try_from(set).ok().and_then(|place| policy.content.sets.get(place));
            set.into_iter().flat_map(|set| &set.members)
        };
        let mut own = policy.content.people.iter().filter(|person| self.may_be_in(policy, person.set));
        own.any(|person| accounts(person.set).any(|account| named.contains(&account)))
    }

    /// The account that it acts as and the one that it came in by are certainly one human's.
    pub(super) fn is_one(&self, policy: &Policy) -> bool {
        let Some(came_in) = self.came_in else { return true };
        let holds = |set: u32, account| is_in(policy, set, account) == Truth::True;
        policy.content.people.iter().any(|person| holds(person.set, self.acting) && holds(person.set, came_in))
    }
}

/// People and services have accounts, by name or id, and nothing else.
fn is_in(policy: &Policy, set: u32, account: Account<'_>) -> Truth {
    let set = usize::try_from(set).ok().and_then(|place| policy.content.sets.get(place));
    Truth::any(set.into_iter().flat_map(|set| &set.members).map(|member| match member {
        Subject::User(name) => account.name.map_or(Truth::Unknown, |own| Truth::from(own == name)),
        Subject::Uid(uid) => Truth::from(account.uid.0 == *uid),
        Subject::Group(_) | Subject::Gid(_) | Subject::All | Subject::Set(_) => Truth::False,
    }))
}

/// Whether an account may be of the same human as the process of `facts`; where that is not known, it may.
#[must_use]
pub fn may_be_one_person(policy: &Policy, facts: &Facts, uid: Uid, name: Option<&str>) -> bool {
    let other = Behind { acting: Account { uid, name }, came_in: None };
    Behind::of(facts).is_none_or(|behind| behind.may_be(&other, policy))
}

/// The policy's name for the human whom `facts` are of: by the account that acts, for uid 0 by the one that came in. `None` where the
/// policy has none.
#[must_use]
pub fn person_of<'p>(policy: &'p Policy, facts: &Facts) -> Option<&'p str> {
    if identity::is_root_itself(facts) {
        return None;
    }
    let behind = Behind::of(facts)?;
    let account = if behind.is_root() { behind.came_in? } else { behind.acting };
    let person = policy.content.people.iter().find(|person| is_in(policy, person.set, account) == Truth::True)?;
    let set = usize::try_from(person.set).ok().and_then(|place| policy.content.sets.get(place))?;
    Some(&set.name)
}

/// A person whose signature may count.
#[derive(Clone, Debug)]
pub struct Signer<'p> {
    /// The policy's name for them.
    pub name: &'p str,
    /// Their keys, as the policy writes them.
    pub keys: &'p [String],
    /// Their accounts by name, as the policy writes them; those that it names by uid are `#UID`.
    pub accounts: Vec<String>,
}

/// Everybody for whom the policy names keys.
pub fn signers(policy: &Policy) -> impl Iterator<Item = Signer<'_>> {
    policy.content.people.iter().filter(|person| !person.approval_keys.is_empty()).filter_map(|person| {
        let set = usize::try_from(person.set).ok().and_then(|place| policy.content.sets.get(place))?;
        let accounts = set.members.iter().map(ToString::to_string).collect();
        Some(Signer { name: &set.name, keys: &person.approval_keys, accounts })
    })
}
