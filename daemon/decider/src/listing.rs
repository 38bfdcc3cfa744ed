//! `jitsudo -l`: what somebody may run. Own rights need neither duty nor password: `jitctl roles` shows the same.
//!
//! MUSTs
//! 1. Another account's rights need the duty `policy`, judged before anything is looked up for it (`info_leak_01_*`).
//! 2. A command that is not allowed and a file that does not exist have one answer (`info_leak_01_*`).
//! 3. Nothing is recorded as if it had been run (`asking_records_no_request`).

use jitsudo_bytes::Bytes;
use jitsudo_core::Timestamp;
use jitsudo_core::decision::{Auth, Cause, Decision, Record};
use jitsudo_core::duty::Duty;
use jitsudo_core::evaluate::evaluate;
use jitsudo_core::facts::{Fact, Facts, NoExecutable};
use jitsudo_core::listing::{self, Listed};
use jitsudo_core::offers::Opening;
use jitsudo_core::policy::Policy;
use jitsudo_core::request::Request;
use jitsudo_link::spawner::LookFailure;
use jitsudo_protocol::client::Ask;
use jitsudo_protocol::list::{Given, ListEntry, ListItem};
use serde_json::Value;

use crate::daemon::{Daemon, wall};
use crate::questions::request;
use crate::work::What;

/// Things given that one item holds at most, so that it fits a datagram.
const GIVEN_AN_ITEM: usize = 100;
/// Longest name of an account asked about, bytes.
const MAX_NAME_BYTES: usize = 256;

impl Daemon {
    /// The requester's own facts are here: the answer, or whose facts are needed first.
    pub(crate) fn list(&mut self, client: u64, ask: Ask, facts: &Facts) {
        let Ask::List { argv, target, group, user } = &ask else { return };
        let Some(user) = user else {
            return self.give_list(client, argv.clone(), target.clone(), group.clone(), facts);
        };
        let own = facts.requester.name.known() == Some(user) || *user == format!("#{}", facts.requester.uid.0);
        let may = own || self.duties_of(facts).contains(&Duty::Policy);
        if !may || user.len() > MAX_NAME_BYTES {
            let whose = ListItem::Whose { user: name(facts), host: short(&self.host) };
            return self.give_list_items(client, vec![whose, ListItem::NotYours]);
        }
        let subject = (!own).then(|| user.clone());
        let about = self.about(argv, target, group, subject);
        self.look(client, about, What::ExplainOther(ask));
    }

    /// The facts of the account asked about are here; that it may be asked about was judged before.
    pub(crate) fn list_other(&mut self, client: u64, ask: Ask, facts: &Facts) {
        if let Ask::List { argv, target, group, .. } = ask {
            self.give_list(client, argv, target, group, facts);
        }
    }

    /// Facts could not be had: for a listing an account that does not exist is an answer.
    pub(crate) fn is_unknown_user(what: &What, cause: &LookFailure) -> bool {
        matches!((what, cause), (What::ExplainOther(Ask::List { .. }), LookFailure::Refused(_)))
    }

    /// See [`Self::is_unknown_user`].
    pub(crate) fn give_unknown_user(&mut self, client: u64) {
        self.give_list_items(client, vec![ListItem::UnknownUser]);
    }

    fn give_list(
        &mut self,
        client: u64,
        argv: Vec<Bytes>,
        target: Option<String>,
        group: Option<String>,
        facts: &Facts,
    ) {
        if self.lock_of(facts).is_some() {
            let whose = ListItem::Whose { user: name(facts), host: short(&self.host) };
            return self.give_list_items(
                client,
                if argv.is_empty() { vec![whose] } else { vec![whose, ListItem::NotAllowed] },
            );
        }
        let (policy, now) = (self.policy.policy(), wall(self.moment));
        let mut items = vec![ListItem::Whose { user: name(facts), host: short(&self.host) }];
        if argv.is_empty() {
            items.extend(listing::list(policy, facts, now).into_iter().flat_map(entries));
        } else {
            items.extend(command(policy, facts, &request(argv, target, group), now));
        }
        self.give_list_items(client, items);
    }

    fn give_list_items(&mut self, client: u64, items: Vec<ListItem>) {
        let items: Vec<Value> = items.into_iter().filter_map(|item| serde_json::to_value(item).ok()).collect();
        self.give_items(client, items);
    }
}

/// `-l CMD`: the path, and the entry that it would run by.
fn command(policy: Option<&Policy>, facts: &Facts, request: &Request, now: Timestamp) -> Vec<ListItem> {
    let by = match evaluate(policy, facts, request, now) {
        Decision::Allow(terms) => Some((terms.rule, terms.role)),
        // A reason and a ticket are brought by who runs it, as a password is: their lack here says nothing against it.
        Decision::Deny(denial) if matches!(denial.cause, Cause::ReasonNeeded | Cause::TicketNeeded) => None,
        // Told only to those whom a rule would let run it (`core::evaluate`).
        Decision::Deny(denial) if denial.cause == Cause::Unrunnable(NoExecutable::NotFound) => {
            return vec![ListItem::NotFound];
        }
        Decision::Deny(denial) if denial.cause == Cause::UnknownTarget && request.user.is_some() => {
            return vec![ListItem::UnknownTarget];
        }
        Decision::Deny(_) => return vec![ListItem::NotAllowed],
    };
    let Fact::Is(Ok(executable)) = &facts.executable else { return vec![ListItem::NotAllowed] };
    let same = |listed: &Listed| by.as_ref().is_some_and(|(rule, role)| is_of(listed, rule, role));
    let entries = listing::list(policy, facts, now).into_iter().filter(same).flat_map(entries);
    entries.chain([ListItem::Allowed { path: executable.path.clone() }]).collect()
}

fn is_of(listed: &Listed, rule: &str, role: &str) -> bool {
    listed.offer.rule == rule && listed.offer.role == role
}

/// What the client makes lines of; a long role becomes several.
fn entries(listed: Listed) -> Vec<ListItem> {
    let Listed { offer, users, groups, gives } = listed;
    let gives: Vec<Given> = gives.into_iter().map(given).collect();
    let entry = |gives: &[Given]| ListEntry {
        rule: visible(&offer.rule),
        role: visible(&offer.role),
        users: users.iter().map(|user| visible(user)).collect(),
        groups: groups.iter().map(|group| visible(group)).collect(),
        gives: gives.to_vec(),
        auth: match offer.auth {
            Auth::None => "none",
            Auth::Cached => "cached",
            Auth::Fresh => "fresh",
        }
        .to_owned(),
        record: match offer.record {
            Record::None => "none",
            Record::Activity => "activity",
            Record::Terminal => "terminal",
        }
        .to_owned(),
        window: offer.window,
        run_time: offer.run_time,
        approvals: offer.approvals,
        approvers: offer.approvers.iter().map(|approver| visible(approver)).collect(),
        reason_needed: offer.reason_needed,
        ticket_needed: offer.ticket_needed,
        break_glass: offer.break_glass,
        closed: match &offer.opening {
            Opening::Open => None,
            Opening::Closed { hours, .. } => Some(visible(hours)),
        },
        limited: offer.limited,
    };
    gives.chunks(GIVEN_AN_ITEM).map(|gives| ListItem::Entry(Box::new(entry(gives)))).collect()
}

fn given(given: listing::Given) -> Given {
    match given {
        listing::Given::Command(words) => Given::Command(visible(&words)),
        listing::Given::Shell => Given::Shell,
        listing::Given::Edit(path) => Given::Edit(visible(&path)),
        listing::Given::WithGroup(group) => Given::WithGroup(visible(&group)),
        listing::Given::Other(words) => Given::Other(visible(&words)),
    }
}

fn visible(text: &str) -> String {
    Bytes::from(text).visible()
}

fn name(facts: &Facts) -> String {
    let requester = &facts.requester;
    requester.name.known().map_or_else(|| format!("#{}", requester.uid.0), |name| visible(name))
}

fn short(host: &str) -> String {
    host.split('.').next().unwrap_or_default().to_owned()
}
