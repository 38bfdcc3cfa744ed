//! What a requester may run, for `jitsudo -l`: the offers, each with what its role's parts give and as whom.

use crate::decision::{Auth, Record};
use crate::evaluate::ROOT_IS_ROOT;
use crate::facts::Facts;
use crate::identity;
use crate::join::{RUN_TIME, WINDOW};
use crate::offers::{self, Found, Offer, Opening};
use crate::policy::Policy;
use crate::rule::Role;
use crate::subject::AsWhom;

/// What one rule gives by one role, run as the same accounts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// The rule, the role and the terms.
    pub offer: Offer,
    /// Accounts, as the policy writes them; `ALL`.
    pub users: Vec<String>,
    /// Groups for `-g`; empty: none may be asked for.
    pub groups: Vec<String>,
    /// What is given.
    pub gives: Vec<Given>,
}

/// One thing that a role gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Given {
    /// A command as the policy writes it; `ALL`.
    Command(String),
    /// `-s`, `-i`, a program of /etc/shells.
    Shell,
    /// A path pattern for `-e`.
    Edit(String),
    /// Any command as oneself with this group, by naming the role.
    WithGroup(String),
    /// What only the whole role gives, in words.
    Other(String),
}

/// Lists what the requester of `facts` may run on this host, by role and rule; closed hours and break-glass are told, not left out.
#[must_use]
pub fn list(policy: Option<&Policy>, facts: &Facts, now: jiff::Timestamp) -> Vec<Listed> {
    if identity::is_root_itself(facts) {
        return vec![root_itself()];
    }
    let Some(policy) = policy else { return Vec::new() };
    let own = facts.requester.name.known().cloned().unwrap_or_else(|| format!("#{}", facts.requester.uid.0));
    let mut listed = Vec::new();
    for found in offers::find(policy, facts, now) {
        for (_, part) in policy.parts_of(found.role) {
            for (users, groups) in as_whom(part, &own) {
                let gives = gives(part, &found);
                if !gives.is_empty() {
                    listed.push(Listed { offer: found.offer.clone(), users, groups, gives });
                }
            }
        }
    }
    listed
}

/// Accounts that may be asked for alone stand together; each pair with a group stands alone, for one does not imply the other.
fn as_whom(part: &Role, own: &str) -> Vec<(Vec<String>, Vec<String>)> {
    if part.is_groups_only() {
        return vec![(vec![own.to_owned()], Vec::new())];
    }
    if part.as_whom.is_empty() {
        return vec![(vec!["root".to_owned()], Vec::new())];
    }
    let user = |entry: &AsWhom| entry.user.as_ref().map_or_else(|| own.to_owned(), ToString::to_string);
    let alone: Vec<String> = part.as_whom.iter().filter(|entry| entry.group.is_none()).map(user).collect();
    let mut all = if alone.is_empty() { Vec::new() } else { vec![(alone, Vec::new())] };
    for entry in &part.as_whom {
        if let Some(group) = &entry.group {
            all.push((vec![user(entry)], vec![group.to_string()]));
        }
    }
    all
}

fn gives(part: &Role, found: &Found) -> Vec<Given> {
    let mut gives: Vec<Given> = Vec::new();
    if found.commands {
        gives.extend(part.run.iter().map(|command| Given::Command(command.written())));
        gives.extend((part.shell && found.open_ended).then_some(Given::Shell));
        gives.extend(part.edit.iter().map(|glob| Given::Edit(glob.to_string())));
    }
    if found.commands && found.open_ended && part.is_groups_only() {
        gives.extend(part.groups.iter().cloned().map(Given::WithGroup));
    }
    if found.open_ended {
        gives.extend(offers::by_whole_role(part).into_iter().map(Given::Other));
    }
    gives
}

fn root_itself() -> Listed {
    let offer = Offer {
        role: ROOT_IS_ROOT.to_owned(),
        summary: None,
        rule: ROOT_IS_ROOT.to_owned(),
        window: WINDOW,
        run_time: RUN_TIME,
        auth: Auth::None,
        record: Record::None,
        approvals: 0,
        approvers: Vec::new(),
        reason_needed: false,
        ticket_needed: false,
        break_glass: false,
        opening: Opening::Open,
        run_as: vec!["ALL".to_owned()],
        commands: vec!["ALL".to_owned()],
        limited: false,
        extend: None,
    };
    let all = || vec!["ALL".to_owned()];
    Listed { offer, users: all(), groups: all(), gives: vec![Given::Command("ALL".to_owned())] }
}
