//! Which groups the processes of a session are lent, by id.
//!
//! MUST: a group that this host does not know for certain is lent to nobody, and nothing is given without it (`group_that_is_not_known_*`).

use std::collections::BTreeSet;

use crate::conditions::Setting;
use crate::cover::Candidate;
use crate::facts::{Fact, Group};
use crate::request::Kind;

impl Setting<'_> {
    /// What the candidate lends to what is asked for; in words which group is not there.
    pub(crate) fn lent(&self, candidate: &Candidate<'_>) -> Result<Vec<Group>, String> {
        let role = || self.parts(Some(candidate.role));
        let names: BTreeSet<&String> = match self.request.kind {
            Kind::Role => role().flat_map(|part| &part.groups).collect(),
            Kind::Edit | Kind::Validate | Kind::Approve => BTreeSet::new(),
            Kind::Command | Kind::Shell | Kind::LoginShell if candidate.part.is_groups_only() => {
                role().filter(|part| part.is_groups_only()).flat_map(|part| &part.groups).collect()
            }
            Kind::Command | Kind::Shell | Kind::LoginShell => candidate.part.groups.iter().collect(),
        };
        let lend = |name: &&String| match self.facts.lendable.get(*name) {
            Some(Fact::Is(Some(gid))) if gid.0 != u32::MAX => Ok(Group { gid: *gid, name: Some((*name).clone()) }),
            Some(Fact::Is(_)) => Err(format!(
                "role {} lends group {name}, which does not exist on {}: ask an administrator",
                candidate.role_name, self.facts.host
            )),
            Some(Fact::Unknown) => {
                Err(format!("role {} lends group {name}, which could not be looked up: try again", candidate.role_name))
            }
            // A spawner of an older version asks nobody.
            None => Err(format!(
                "role {} lends group {name}, which was not looked up: systemctl restart jitsudo-spawn (as root)",
                candidate.role_name
            )),
        };
        names.iter().map(lend).collect()
    }
}
