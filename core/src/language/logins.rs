//! `login` in roles, against the people of the policy.

use crate::gate;
use crate::subject::Subject;

use super::build::Build;
use super::people::Sets;
use super::roles::RoleDraft;

/// A person's own account is entered as `@self`, never by its name: whoever got the role would enter it.
pub(super) fn check(build: &mut Build<'_>, sets: &Sets, roles: &[RoleDraft]) {
    for draft in roles {
        for name in draft.role.login.iter().filter(|name| *name != gate::SELF) {
            let of_person = sets.people.iter().find_map(|person| {
                let set = usize::try_from(person.set).ok().and_then(|place| sets.sets.get(place))?;
                set.members.contains(&Subject::User(name.clone())).then_some(&set.name)
            });
            if let Some(person) = of_person {
                let message = format!("role \"{}\" lets others enter {name}, an account of @{person}", draft.role.name);
                let hint = Some(format!("login = [\"{}\"] is each person's own accounts", gate::SELF));
                build.findings.error(&draft.place, message, "another person's account", hint);
            }
        }
        if draft.role.login.iter().any(|name| name == gate::SELF) && sets.people.iter().all(|one| one.others.is_empty())
        {
            let message = format!("role \"{}\" lets nobody in: no person has a second account", draft.role.name);
            let hint = Some("[people.alice] with accounts = [\"alice\", \"alice-adm\"]".to_owned());
            build.findings.warn(&draft.place, message, "no [people] to say who @self is", hint);
        }
    }
}
