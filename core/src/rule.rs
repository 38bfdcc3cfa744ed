//! The parts of a compiled policy: roles, conditions, terms and the three verbs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::decision::{Auth, Cwd, Record};
use crate::duty::Duty;
use crate::hours::Hours;
use crate::pattern::Pattern;
use crate::subject::{AsWhom, HostIs, OriginIs, PathGlob, Subject};

/// For `skip_serializing_if`: a value that reading would fill in anyway is not written.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A person, service, team or host set.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedSet<T> {
    /// `@name` in the policy.
    pub(crate) name: String,
    /// Its members; never another set.
    pub(crate) members: Vec<T>,
}

/// What a policy says of one person beyond the accounts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Person {
    /// Place of the set of accounts.
    pub(crate) set: u32,
    /// The accounts but the one that is written first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) others: Vec<Subject>,
    /// Public keys behind `ssh root@host`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) ssh_keys: Vec<String>,
    /// Public keys that sign approvals.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) approval_keys: Vec<String>,
}

/// What a policy says of one service beyond the accounts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    /// Place of the set of accounts.
    pub(crate) set: u32,
    /// These alone cannot approve its requests.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) run_by: Vec<Subject>,
}

/// A time zone with its rules, so that the evaluator reads no files.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Zone {
    /// IANA name.
    pub(crate) name: String,
    /// TZif bytes, base64; empty for UTC.
    pub(crate) tzif: String,
}

/// `[roles.NAME]`
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) source: String,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) summary: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) run: Vec<Command>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) shell: bool,
    #[serde(rename = "as", skip_serializing_if = "is_default")]
    pub(crate) as_whom: Vec<AsWhom>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) edit: Vec<PathGlob>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) create: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) groups: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) membership: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) sudoers: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) sudoers_without_end: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) login: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) pam: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) env_keep: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) env_set: Vec<(String, String)>,
    /// `None`: the caller's.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) cwd: Option<Cwd>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) umask: Option<u32>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) caps: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) no_new_privs: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) leaves: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) includes: Vec<u32>,
}

impl Role {
    /// True when what it gives by itself can run anything: `ALL`, a shell, a login, a group, a sudoers line.
    pub(crate) fn can_run_anything(&self) -> bool {
        self.shell
            || !(self.groups.is_empty()
                && self.membership.is_empty()
                && self.sudoers.is_empty()
                && self.login.is_empty())
            || !self.pam.is_empty()
            || self.run.contains(&Command::All)
    }

    /// True when it gives every command or a shell: a variable adds nothing to that.
    pub(crate) fn can_run_every_command(&self) -> bool {
        self.shell || self.run.contains(&Command::All) || self.is_groups_only()
    }

    /// True when it lends groups to a session and lists no commands: then any command runs, as the requester's own uid.
    pub(crate) fn is_groups_only(&self) -> bool {
        !self.groups.is_empty() && self.run.is_empty() && !self.shell
    }
}

/// Conditions; all that are given must hold.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct When {
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) who: Option<Vec<Subject>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) hosts: Option<Vec<HostIs>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) roles: Option<Vec<u32>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) run: Option<Vec<Command>>,
    #[serde(rename = "as", skip_serializing_if = "is_default")]
    pub(crate) as_whom: Option<Vec<AsWhom>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) edit: Option<Vec<PathGlob>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) shell: Option<bool>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) groups: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) membership: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) sudoers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) login: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) origin: Option<Vec<OriginIs>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) hours: Vec<Hours>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) not_before: Option<Timestamp>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) not_after: Option<Timestamp>,
    /// Any of these takes the rule back.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) except: Vec<Self>,
}

impl When {
    /// True when it holds a condition that depends on which role would give the request.
    pub(crate) fn reads_role(&self) -> bool {
        let own = self.roles.is_some()
            || self.groups.is_some()
            || self.membership.is_some()
            || self.sudoers.is_some()
            || self.login.is_some();
        own || self.except.iter().any(Self::reads_role)
    }

    /// True when it holds a condition that depends on what is to run, or as whom.
    pub(crate) fn reads_act(&self) -> bool {
        let own = self.run.is_some() || self.as_whom.is_some() || self.edit.is_some() || self.shell.is_some();
        own || self.except.iter().any(Self::reads_act)
    }

    /// True when nothing is given.
    #[cfg(feature = "language")]
    pub(crate) fn is_empty(&self) -> bool {
        is_default(self)
    }
}

/// An approval expression.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Approvers {
    /// So many persons of these.
    By {
        /// Who may approve.
        by: Vec<Subject>,
        /// How many of them.
        count: u32,
    },
    /// Every one of these.
    All(Vec<Self>),
    /// One of these.
    Any(Vec<Self>),
}

impl Approvers {
    /// The fewest persons that can satisfy it; one person counts once.
    pub(crate) fn persons(&self) -> u32 {
        match self {
            Self::By { count, .. } => *count,
            Self::All(parts) => parts.iter().map(Self::persons).fold(0, u32::saturating_add),
            Self::Any(parts) => parts.iter().map(Self::persons).min().unwrap_or(u32::MAX),
        }
    }

    /// Everybody named in it.
    pub(crate) fn named(&self) -> Vec<&Subject> {
        match self {
            Self::By { by, .. } => by.iter().collect(),
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::named).collect(),
        }
    }
}

/// `approval`, times in seconds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Approval {
    pub(crate) need: Approvers,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) answer_by: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) use_by: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) escalate: Option<(u64, Vec<Subject>)>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) remind: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) auth: Option<Auth>,
}

/// `reason` or `ticket`: needed, and of which form.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Need {
    /// Characters.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) min_length: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) pattern: Option<Pattern>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) verify: Option<String>,
}

/// `budget`, times in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Budget {
    pub(crate) per: u64,
    pub(crate) time: Option<u64>,
    pub(crate) uses: Option<u64>,
}

/// `watch`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Watch {
    pub(crate) by: Vec<Subject>,
    /// Seconds.
    pub(crate) pause_for: u64,
}

/// The terms that both an allow gives and a require joins.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Obligations {
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) window: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) run_time: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) auth: Option<Auth>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) approval: Option<Box<Approval>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) reason: Option<Box<Need>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) ticket: Option<Box<Need>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) record: Option<Record>,
    /// `at-end`: seconds of grace; 0 = terminate.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) finish: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) budget: Option<Budget>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) watch: Option<Watch>,
}

/// `grant`: which kinds of request an allow answers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Grants {
    #[default]
    Both,
    Role,
    Command,
}

/// `break-glass`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BreakGlass {
    /// Seconds.
    pub(crate) window: u64,
    pub(crate) uses: u64,
    pub(crate) reviewers: Vec<Subject>,
    pub(crate) tell: Vec<Subject>,
    pub(crate) auth: Option<Auth>,
}

/// `[[allow]]`
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Allow {
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) when: When,
    pub(crate) roles: Vec<u32>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) terms: Obligations,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) grant: Grants,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) start_by: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) extend: Option<(u64, u64)>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) warn: Option<Vec<u64>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) when_full: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) break_glass: Option<Box<BreakGlass>>,
}

/// `[[require]]`
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Require {
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) when: When,
    pub(crate) terms: Obligations,
}

/// `[[deny]]`
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Deny {
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) when: When,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) only_this_path: bool,
}

/// `[[duty]]`
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DutyRule {
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) when: When,
    pub(crate) may: Vec<Duty>,
}
