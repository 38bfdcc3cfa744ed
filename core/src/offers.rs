//! What a requester may ask for, for `jitctl` and `jitctl roles`.

use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::conditions::{Key, Manner, Setting};
use crate::cover::{Candidate, Cover};
use crate::decision::{Auth, Record};
use crate::evaluate::Verdicts;
use crate::facts::Facts;
use crate::identity::{self, Identity};
use crate::join::Joined;
use crate::past;
use crate::policy::Policy;
use crate::request::Request;
use crate::rule::{Allow, Grants, Role};
use crate::truth::Truth;

/// Whether an offer can be taken up now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opening {
    /// Now.
    Open,
    /// Not now; the hours in words, and when it opens if that is within the next days.
    Closed {
        /// `mon-fri 08:00-18:00 Europe/Paris`.
        hours: String,
        /// The next opening.
        opens_at: Option<jiff::Timestamp>,
    },
}

/// One role that one allow offers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// The role.
    pub role: String,
    /// Its summary, if it has one.
    pub summary: Option<String>,
    /// The allow that offers it.
    pub rule: String,
    /// Longest window, seconds.
    pub window: u64,
    /// Longest time that one command may run, seconds.
    #[serde(default)]
    pub run_time: u64,
    /// Proof of identity needed.
    pub auth: Auth,
    /// What is recorded.
    pub record: Record,
    /// Persons needed; 0 = no approval.
    pub approvals: u32,
    /// Who is asked: names as the policy writes them.
    pub approvers: Vec<String>,
    /// A reason is needed.
    pub reason_needed: bool,
    /// A ticket is needed.
    pub ticket_needed: bool,
    /// Only with `--break-glass`.
    pub break_glass: bool,
    /// Whether it is open now.
    pub opening: Opening,
    /// As whom its commands run: `root`, `postgres`, `ALL`.
    pub run_as: Vec<String>,
    /// Its commands as the policy writes them; `a shell` where it gives one.
    pub commands: Vec<String>,
    /// A rule of this host forbids part of it.
    #[serde(default)]
    pub limited: bool,
    /// By how much a grant of it can be extended.
    #[serde(default)]
    pub extend: Option<Extend>,
}

/// How a rule lets its grants be extended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Extend {
    /// At once, seconds.
    pub each: u64,
    /// In all, seconds.
    pub total: u64,
}

/// An offer with what a listing of commands must know beyond it.
pub(crate) struct Found {
    pub(crate) offer: Offer,
    /// The role's place.
    pub(crate) role: u32,
    /// The allow answers single commands.
    pub(crate) commands: bool,
    /// No deny takes shells and other ways to run anything.
    pub(crate) open_ended: bool,
}

/// Lists what the requester of `facts` may ask for on this host, by role name. Rules of other hosts, of other origins, and those
/// that a deny takes back wholly are left out; closed hours are told.
#[must_use]
pub fn offers(policy: Option<&Policy>, facts: &Facts, now: jiff::Timestamp) -> Vec<Offer> {
    let Some(policy) = policy else { return Vec::new() };
    if identity::is_root_itself(facts) {
        return Vec::new();
    }
    find(policy, facts, now).into_iter().map(|found| found.offer).collect()
}

/// As [`offers`], with more of each.
pub(crate) fn find(policy: &Policy, facts: &Facts, now: jiff::Timestamp) -> Vec<Found> {
    let nothing = crate::duty::nothing_asked();
    let setting = Setting {
        policy,
        facts,
        request: &nothing,
        past: &past::NOTHING,
        only: None,
        now,
        who: Identity::of(policy, facts),
    };
    let mut offers = Vec::new();
    for allow in setting.own_allows().into_iter().filter_map(|place| setting.allow(place)) {
        for place in &allow.roles {
            let Some(role) = policy.role(*place) else { continue };
            let request =
                Request { role: Some(role.name.clone()), break_glass: allow.break_glass.is_some(), ..nothing.clone() };
            let setting = Setting {
                policy,
                facts,
                request: &request,
                past: &past::NOTHING,
                only: None,
                now,
                who: setting.who.clone(),
            };
            offers.extend(offer(&setting, allow, *place, role));
        }
    }
    let key = |found: &Found| (found.offer.role.clone(), found.offer.break_glass, found.offer.rule.clone());
    offers.sort_by_cached_key(key);
    offers
}

fn offer(setting: &Setting<'_>, allow: &Allow, place: u32, role: &Role) -> Option<Found> {
    let mut in_time = true;
    let mut otherwise = true;
    setting.each(&allow.when, Manner::ALLOW, Some(place), &mut |key, truth| {
        match key {
            Key::Hours | Key::NotBefore | Key::NotAfter => in_time &= truth == Truth::True,
            // What a request must be like to be covered says nothing against the offer.
            Key::Run | Key::As | Key::Edit | Key::Shell => {}
            Key::Who
            | Key::Hosts
            | Key::Roles
            | Key::Groups
            | Key::Membership
            | Key::Sudoers
            | Key::Login
            | Key::Origin
            | Key::Except => {
                otherwise &= truth == Truth::True;
            }
        }
        true
    });
    let over = allow.when.not_after.is_some_and(|end| setting.now >= end);
    if !otherwise || over {
        return None;
    }
    let policy = setting.policy;
    let candidate = Candidate { allow, role: place, part: role, role_name: &role.name, cover: Cover::default() };
    let (mut limited, mut open_ended) = (false, true);
    for deny in Verdicts::of(setting, &policy.content.denies, &policy.index.denies).matching(setting, Some(place)) {
        // One that looks at the act leaves the rest of the role to single commands.
        if !deny.when.reads_act() {
            return None;
        }
        limited = true;
        open_ended &= (deny.when.run.is_none() || deny.only_this_path) && deny.when.shell != Some(true);
    }
    let mut joined = Joined::of(&candidate);
    for require in
        Verdicts::of(setting, &policy.content.requires, &policy.index.requires).matching(setting, Some(place))
    {
        joined.join(require, setting.request.break_glass);
    }
    let mut approvers: Vec<String> =
        joined.needs().into_iter().flat_map(|need| need.named()).map(|subject| policy.subject_name(subject)).collect();
    approvers.sort();
    approvers.dedup();
    let mut run_as: Vec<String> = Vec::new();
    let mut commands: Vec<String> = Vec::new();
    for (_, part) in policy.parts_of(place) {
        let shown = |command: &Command| command.written();
        run_as.extend(part.as_whom.iter().map(ToString::to_string));
        if part.as_whom.is_empty() {
            run_as.push(if part.is_groups_only() { "yourself".to_owned() } else { "root".to_owned() });
        }
        commands.extend(part.run.iter().map(shown));
        commands.extend(part.shell.then(|| "a shell".to_owned()));
        commands.extend(part.edit.iter().map(|glob| format!("-e {glob}")));
        commands.extend(part.groups.iter().map(|group| format!("group {group} for the session")));
        commands.extend(by_whole_role(part));
    }
    run_as.sort();
    run_as.dedup();
    let opening = if in_time {
        Opening::Open
    } else {
        let starts = allow.when.not_before.filter(|start| *start > setting.now);
        let opens_at =
            crate::hours::opens_at(&allow.when.hours, &policy.zones, starts.unwrap_or(setting.now)).or(starts);
        Opening::Closed { hours: crate::denial::hours_in_words(policy, allow), opens_at }
    };
    let offer = Offer {
        role: role.name.clone(),
        summary: role.summary.clone(),
        rule: allow.name.clone(),
        window: joined.window(),
        run_time: joined.run_time(),
        auth: joined.auth(),
        record: joined.record(),
        approvals: joined.persons(),
        approvers,
        reason_needed: joined.needs_reason(),
        ticket_needed: joined.needs_ticket(),
        break_glass: allow.break_glass.is_some(),
        opening,
        run_as,
        commands,
        limited,
        extend: allow.extend.map(|(each, total)| Extend { each, total }),
    };
    Some(Found { offer, role: place, commands: allow.grant != Grants::Role, open_ended })
}

/// What a part gives that no single command needs, in words.
pub(crate) fn by_whole_role(part: &Role) -> Vec<String> {
    let membership = part.membership.iter().map(|group| format!("membership of {group}"));
    let sudoers = part.sudoers.iter().map(|line| format!("sudo {line}"));
    let login = part.login.iter().map(|account| format!("login as {account}"));
    membership.chain(sudoers).chain(login).collect()
}
