//! Who the requester is to a policy, by the kernel and NSS alone.
//!
//! MUST: nothing here reads the request; memberships that jitsudo lent count nowhere.

use crate::facts::{Fact, Facts, Group};
use crate::index::{self, Key};
use crate::name::Uid;
use crate::pattern::Reading;
use crate::policy::Policy;
use crate::subject::Subject;
use crate::truth::Truth;

/// The ids that `"ALL"` means in `who`.
const PEOPLE: std::ops::RangeInclusive<u32> = 1000..=60000;

/// The account that counts, with what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Identity<'a> {
    uid: Option<u32>,
    name: Option<&'a str>,
    /// By the databases, without what was lent.
    listed: Option<Vec<&'a Group>>,
    /// Carried by the process, without what was lent.
    carried: Option<Vec<&'a Group>>,
    /// Sets that hold it: in the allow reading, in the deny reading.
    sets: [Vec<u32>; 2],
}

/// uid 0 whose loginuid is unset or 0, and not in a sandbox: it needs no rule. A container's root or a confined service is less than
/// root here, and the built-in rule gives it no more than any allow without `origin` does.
pub(crate) fn is_root_itself(facts: &Facts) -> bool {
    is_root_alone(facts) && facts.origin.known().is_some_and(|origin| !origin.sandbox)
}

/// uid 0 with no person behind it.
fn is_root_alone(facts: &Facts) -> bool {
    let requester = &facts.requester;
    requester.uid == Uid::ROOT && matches!(requester.loginuid, Fact::Is(None | Some(Uid::ROOT)))
}

impl<'a> Identity<'a> {
    pub(crate) fn of(policy: &Policy, facts: &'a Facts) -> Self {
        let requester = &facts.requester;
        let without_lent = |groups: &'a Fact<std::collections::BTreeSet<Group>>| {
            groups
                .known()
                .map(|groups| groups.iter().filter(|group| !requester.lent_groups.contains(&group.gid)).collect())
        };
        let carried = without_lent(&requester.process_groups);
        let mut identity = if requester.uid == Uid::ROOT && !is_root_alone(facts) {
            // A person behind uid 0 counts as that person; root's own groups say nothing about them.
            let person = requester.loginuid.known().copied().flatten().filter(|uid| uid.is_account());
            let name = requester.login_name.known().and_then(|name| name.as_deref());
            let listed = without_lent(&requester.login_groups);
            Self { uid: person.map(|uid| uid.0), name, listed, carried, sets: [Vec::new(), Vec::new()] }
        } else {
            let uid = Some(requester.uid).filter(|uid| uid.is_account()).map(|uid| uid.0);
            let name = requester.name.known().map(String::as_str);
            Self { uid, name, listed: without_lent(&requester.groups), carried, sets: [Vec::new(), Vec::new()] }
        };
        if identity.uid.is_none() {
            identity.name = None;
            identity.listed = None;
        }
        let sets = [Reading::Allow, Reading::Deny].map(|reading| {
            let mut found = Vec::new();
            for key in identity.keys(reading) {
                policy.index.sets.collect(key, &mut found);
            }
            found.sort_unstable();
            found.dedup();
            found.retain(|place| {
                let set = usize::try_from(*place).ok().and_then(|place| policy.content.sets.get(place));
                set.is_some_and(|set| {
                    set.members.iter().any(|member| identity.is(policy, member, reading) == Truth::True)
                })
            });
            found
        });
        identity.sets = sets;
        identity
    }

    /// True when every fact that a subject can ask for is known.
    pub(crate) fn is_known(&self) -> bool {
        self.uid.is_some() && self.name.is_some() && self.listed.is_some() && self.carried.is_some()
    }

    /// The keys under which rules that name this account stand, sets included.
    pub(crate) fn keys(&self, reading: Reading) -> Vec<Key> {
        let mut keys = Vec::with_capacity(16);
        if let Some(uid) = self.uid {
            keys.push(index::subject_key(Some(&Subject::Uid(uid))));
            if PEOPLE.contains(&uid) {
                keys.push(index::subject_key(Some(&Subject::All)));
            }
        }
        if let Some(name) = self.name {
            keys.push(index::user_key(name));
        }
        let carried = self.carried.iter().flatten().filter(|_| reading == Reading::Deny);
        for group in self.listed.iter().flatten().chain(carried) {
            keys.push(index::subject_key(Some(&Subject::Gid(group.gid.0))));
            if let Some(name) = &group.name {
                keys.push(index::group_key(name));
            }
        }
        keys.extend(self.sets_in(reading).iter().map(|set| index::subject_key(Some(&Subject::Set(*set)))));
        keys
    }

    /// Whether an account is this one, or another of the same person. What is not known counts as the same: both are asked in order to refuse.
    pub(crate) fn shares_a_person(&self, policy: &Policy, uid: Uid, name: Option<&str>) -> bool {
        let same = self.uid.is_none_or(|own| own == uid.0) || (name.is_some() && self.name == name);
        same || policy.content.people.iter().any(|person| {
            let is_own = || self.is(policy, &Subject::Set(person.set), Reading::Deny) != Truth::False;
            policy.is_account_of(person.set, uid, name) && is_own()
        })
    }

    fn sets_in(&self, reading: Reading) -> &[u32] {
        let [allow, deny] = &self.sets;
        match reading {
            Reading::Allow => allow,
            Reading::Deny => deny,
        }
    }

    /// Whether a subject means this account. Names are compared byte by byte.
    pub(crate) fn is(&self, policy: &Policy, subject: &Subject, reading: Reading) -> Truth {
        let group = |same: &dyn Fn(&Group) -> bool| {
            let of = |groups: &Option<Vec<&'a Group>>| match groups {
                Some(groups) => Truth::from(groups.iter().any(|group| same(group))),
                None => Truth::Unknown,
            };
            match reading {
                Reading::Allow => of(&self.listed),
                Reading::Deny => of(&self.listed).max(of(&self.carried)),
            }
        };
        match subject {
            Subject::User(name) => self.name.map_or(Truth::Unknown, |own| Truth::from(own == name)),
            Subject::Uid(uid) => self.uid.map_or(Truth::Unknown, |own| Truth::from(own == *uid)),
            Subject::Group(name) => group(&|group| group.name.as_ref() == Some(name)),
            Subject::Gid(gid) => group(&|group| group.gid.0 == *gid),
            Subject::All => match (self.uid, self.name) {
                (None, _) => Truth::Unknown,
                (Some(uid), _) if !PEOPLE.contains(&uid) => Truth::False,
                (Some(_), None) => Truth::Unknown,
                (Some(_), Some(_)) => Truth::True,
            },
            Subject::Set(place) => {
                if self.sets_in(reading).contains(place) {
                    return Truth::True;
                }
                if self.is_known() {
                    return Truth::False;
                }
                let set = usize::try_from(*place).ok().and_then(|place| policy.content.sets.get(place));
                // Sets hold no sets, so this goes one level down.
                set.map_or(Truth::Unknown, |set| {
                    Truth::any(set.members.iter().map(|member| match member {
                        Subject::Set(_) => Truth::Unknown,
                        Subject::User(_) | Subject::Uid(_) | Subject::Group(_) | Subject::Gid(_) | Subject::All => {
                            self.is(policy, member, reading)
                        }
                    }))
                })
            }
        }
    }
}
