//! Whether what is held may still be held: decided again when another policy is in force, and when accounts changed.
//!
//! MUSTs
//! 1. A grant whose rule does not give it any more ends, and says so (host test `what_is_held_ends_when_its_rule_or_its_requester_does`).
//! 2. So does everything of an account that is not the one that it was (`identity_nss_01_*`, `identity_nss_02_*`).

use std::collections::{BTreeMap, BTreeSet};

use jitsudo_core::decision::Decision;
use jitsudo_core::evaluate::evaluate_by;
use jitsudo_core::event::{EndCause, Event};
use jitsudo_core::facts::{Fact, Facts, Requester};
use jitsudo_core::held::{Held, ends_by, has_lapsed, lends_less};
use jitsudo_core::id::AccessId;
use jitsudo_core::name::{Gid, Uid};
use jitsudo_core::policy::Policy;
use jitsudo_core::request::Request;
use jitsudo_link::ends;
use jitsudo_link::facts::Entry;
use jitsudo_link::spawner::FromSpawner;
use jitsudo_sys::clock;

use super::Spawner;
use crate::accounts::Verdict;
use crate::grants::Grant;
use crate::judge::Now;
use crate::record;

/// A role that somebody asks for, until they have proven who they are.
pub(super) struct Asked {
    pub(super) facts: Facts,
    pub(super) request: Request,
    pub(super) rule: String,
    /// CLOCK_BOOTTIME milliseconds.
    pub(super) start_by_ms: u64,
}

impl Spawner {
    /// Looks at accounts when it is time to.
    pub(super) fn look_at_accounts(&mut self, now_ms: u64) {
        let (running, moved) = (self.sessions.requesters().collect(), self.grants.moved());
        let grants = &self.grants;
        if let Err(cause) = self.accounts.on_time(running, moved, |uid| grants.is_any_of(uid), now_ms) {
            self.refuse_silently(&cause);
        }
    }

    /// Ends what accounts that are gone hold, and what no rule gives any more to those that are there.
    pub(super) fn accounts_answered(&mut self) {
        let grants = &self.grants;
        for (uid, verdict) in self.accounts.answer(|uid| grants.names_of(uid)) {
            match verdict {
                Verdict::There(entry) => self.decide_again(uid, &entry),
                Verdict::Gone(cause) => {
                    let held = self.grants.of(uid).map(|grant| grant.id.clone());
                    let all: BTreeSet<AccessId> = held.chain(self.sessions.accesses_of(uid)).collect();
                    for id in all {
                        if self.end_grant(&id, EndCause::AccountGone) {
                            self.recorder.record(Event::SpawnerRefused { id: Some(id), cause: cause.clone() });
                        }
                    }
                    self.remembered.forget_all(uid);
                    self.say_to_all(&FromSpawner::Spooled);
                }
            }
        }
        self.close_what_is_over();
    }

    fn decide_again(&mut self, uid: u32, entry: &Entry) {
        let moment = clock::now();
        let now = Now { wall: record::wall(moment), boottime_ms: moment.boottime_ms };
        let facts = self.facts_of(uid, entry);
        let policy = self.applied.policy.as_ref();
        let judge = |rule: &str, role: &str| {
            let held = Held { rule, role, reason: None, ticket: None };
            let has_lapsed = has_lapsed(policy, &facts, held, now.wall);
            (has_lapsed, policy.and_then(|policy| ends_by(policy, held, now.wall)))
        };
        // Roles of one rule are judged once: somebody may hold many.
        let mut judged = BTreeMap::new();
        let (mut over, mut shorter) = (Vec::new(), Vec::new());
        for grant in self.grants.of(uid) {
            let (rule, role) = (grant.rule.as_str(), grant.role.as_str());
            let (has_lapsed, end) = *judged.entry((rule, role)).or_insert_with_key(|(rule, role)| judge(rule, role));
            if has_lapsed || policy.is_some_and(|policy| gives_less(policy, grant)) {
                over.push(grant.id.clone());
            } else if let Some(end) = end.filter(|end| *end < grant.ends.at) {
                shorter.push((grant.id.clone(), end));
            }
        }
        over.iter().for_each(|id| _ = self.end_grant(id, EndCause::RuleGone));
        shorter.iter().for_each(|(id, end)| self.grants.shorten(id, *end, now));
    }

    /// What the databases say of an account, with no process behind it: where it would ask from is not known.
    fn facts_of(&self, uid: u32, entry: &Entry) -> Facts {
        let requester = Requester {
            uid: Uid(uid),
            gid: Gid(entry.gid),
            name: Fact::Is(entry.name.clone()),
            // Facts have taken out what was lent: it counts in no decision.
            groups: entry.groups.clone(),
            process_groups: entry.groups.clone(),
            lent_groups: BTreeSet::new(),
            loginuid: Fact::Is(Some(Uid(uid))),
            login_name: Fact::Is(Some(entry.name.clone())),
            login_groups: Fact::Unknown,
            home: Fact::Is(entry.home.clone()),
            shell: Fact::Is(entry.shell.clone()),
        };
        Facts::of_account(self.host.clone(), self.settings.labels.clone(), requester)
    }

    /// Decides again at the moment of activation: a proof may take minutes, and rules, hours and reviews move meanwhile. In words why not.
    pub(super) fn still_gives(&mut self, id: &AccessId, now: Now) -> Result<(), String> {
        let Some(Asked { facts, request, rule, start_by_ms }) = self.asked.remove(id) else { return Ok(()) };
        if now.boottime_ms > start_by_ms {
            return Err("you took longer to prove who you are than the rule waits (start-by)".to_owned());
        }
        let past = self.reviews.past().for_extension_of(id);
        match evaluate_by(self.applied.policy.as_ref(), &facts, &request, &past, &rule, now.wall) {
            Decision::Deny(_) => Err("the rules do not give it any more".to_owned()),
            Decision::Allow(terms) => {
                self.grants.shorten(id, ends::at(&terms, &request, &facts, now.wall), now);
                Ok(())
            }
        }
    }
}

/// The role does not lend any more what was lent for it.
fn gives_less(policy: &Policy, grant: &Grant) -> bool {
    let (groups, noted) = (&grant.groups, &grant.on_host.noted);
    let is_anything = !groups.is_empty() || !noted.is_empty();
    is_anything && lends_less(policy, &grant.role, groups, noted.iter().map(|noted| &noted.effect))
}
