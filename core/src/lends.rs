//! What a role grant puts on the host, and what it lends to its sessions.

use serde::{Deserialize, Serialize};

use crate::policy::Policy;

/// One change to the host that a role grant makes when it begins and takes back when it ends.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The requester's entry in the group file.
    Membership(String),
    /// These lines for the requester in a drop-in of the host's sudo.
    Sudoers(Vec<String>),
    /// Leave to enter these gated accounts; `@self` is the accounts of the requester's person but the first. The gate reads it; nothing on
    /// the host changes.
    Login(Vec<String>),
}

impl std::fmt::Display for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Membership(group) => write!(f, "membership of {group}"),
            Self::Sudoers(lines) => write!(f, "{} sudoers lines", lines.len()),
            Self::Login(accounts) => write!(f, "login to {}", accounts.join(", ")),
        }
    }
}

/// What a role gives beyond commands.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Lends {
    /// Groups that the processes of its sessions are in; nothing on the host changes.
    pub groups: Vec<String>,
    /// Changes to the host, in a fixed order.
    pub effects: Vec<Effect>,
}

impl Lends {
    /// Of a role with all that it includes; nothing for a name that is no role.
    #[must_use]
    pub fn of(policy: &Policy, role: &str) -> Self {
        let mut lends = Self::default();
        let (mut sudoers, mut accounts) = (Vec::new(), Vec::new());
        let Some(place) = policy.role_named(role) else { return lends };
        for (_, part) in policy.parts_of(place) {
            lends.groups.extend(part.groups.iter().cloned());
            lends.effects.extend(part.membership.iter().cloned().map(Effect::Membership));
            sudoers.extend(part.sudoers.iter().cloned());
            accounts.extend(part.login.iter().cloned());
        }
        lends.effects.extend(Some(sudoers).filter(|lines| !lines.is_empty()).map(Effect::Sudoers));
        lends.effects.extend(Some(accounts).filter(|accounts| !accounts.is_empty()).map(Effect::Login));
        lends.groups.sort_unstable();
        lends.groups.dedup();
        lends.effects.sort();
        lends.effects.dedup();
        lends
    }
}
