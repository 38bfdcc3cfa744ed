//! Runs under a role that is held, and what of a role cannot be held: decided here, and again by the spawner's own table and facts.
//!
//! MUST: only the requester's own grants that are over by none of the three clocks give anything (`command_under_a_held_role_*`).

use jitsudo_core::decision::Terms;
use jitsudo_core::evaluate::ROOT_IS_ROOT;
use jitsudo_core::facts::{Fact, Facts};
use jitsudo_core::held::under;
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_core::lends::{Effect, Lends};
use jitsudo_core::name::Uid;
use jitsudo_core::request::Request;
use jitsudo_core::state::Access;
use jitsudo_ledger::Priority;
use jitsudo_link::ends;
use jitsudo_link::facts::{Peer, Process};
use jitsudo_link::spawner::Start;
use jitsudo_protocol::act::Act;
use jitsudo_protocol::digest;

use crate::daemon::{Daemon, wall};
use crate::orders::held;
use crate::record::Asked;
use crate::words;
use crate::work::{After, Prepared};

/// A start under a role, with its record.
pub(crate) struct HeldStart {
    start: Start,
    entries: Vec<jitsudo_core::event::Entry>,
    priority: Priority,
}

impl Daemon {
    /// True while events of the spool are on their way into the ledger that may say that a role of this account is held.
    pub(crate) fn is_becoming_active(&self, uid: u32) -> bool {
        let waits = self.after.values().any(|after| matches!(after, After::Spool(_)));
        waits && self.ledger.state().roles_of(Uid(uid)).any(|access| matches!(access, Access::Activating(_)))
    }

    /// The start of an act under the role that lasts longest of those that are held and give it.
    pub(crate) fn held_start(
        &mut self,
        peer: Peer,
        facts: &Facts,
        process: Option<&Process>,
        request: &Request,
        act: &Act,
    ) -> Option<HeldStart> {
        let (now, now_ms) = (wall(self.moment), self.now_ms());
        let policy = self.policy.policy()?;
        let Fact::Is(Some(target)) = &facts.target else { return None };
        let current = self
            .ledger
            .state()
            .held_by(Uid(peer.uid))
            .filter(|given| !given.ends.is_over(now, now_ms, &self.boot))
            .filter(|given| given.allowed.asked.user.as_ref() == facts.requester.name.known());
        let giving = current.filter_map(|given| Some((given, under(policy, facts, request, held(given), now)?)));
        let (given, terms) = giving.max_by_key(|(given, _)| given.ends.at)?;
        let until = (given.ends.at, given.ends.boottime_ms);
        let (ends_at, ends_boottime_ms) = ends::under(&terms, request, facts, (now, now_ms), until);
        let id = given.allowed.asked.id.clone();
        let digest = digest::of_act(peer.uid, act);
        let policy = self.policy.digest().unwrap_or_default().to_owned();
        let last = given.sessions.last_key_value().map_or(0, |(number, _)| *number);
        let session = self.next_session(id.clone(), last);
        let groups = terms.groups.clone();
        let asked = Asked { id: &id, peer, facts, process, request, digest: &digest, policy: &policy };
        let entries = asked.under(&self.stamp(), session.clone(), &terms, target, (ends_at, ends_boottime_ms));
        let priority = if terms.when_full { Priority::Essential } else { Priority::Ordinary };
        let start = Start {
            session,
            requester: peer.uid,
            digest,
            policy,
            rule: terms.rule,
            role: terms.role,
            target: target.uid.0,
            ends_at,
            ends_boottime_ms,
            approved: None,
            yes: None,
            held: true,
            groups,
            extends: false,
        };
        Some(HeldStart { start, entries, priority })
    }

    /// Numbers are never given twice, also while the record of the last one is on its way.
    fn next_session(&mut self, access: AccessId, last: u32) -> SessionId {
        let state = self.ledger.state();
        self.numbers.retain(|id, _| state.access(id).is_some_and(Access::is_live));
        let number = self.numbers.entry(access.clone()).or_insert(0);
        *number = last.max(*number).saturating_add(1);
        SessionId { access, number: *number }
    }

    /// Records it, and has it started then.
    pub(crate) fn give_held(&mut self, client: u64, act: Act, held: HeldStart) {
        if let Some(cause) = self.why_nothing_is_given() {
            return self.fail(client, words::untrusted_ledger(&cause));
        }
        let HeldStart { start, entries, priority } = held;
        let ticket = self.ledger.append(entries, priority);
        self.after.insert(ticket, After::Start(Box::new(Prepared { client, act, start, counts: false })));
    }

    /// Why a role that is allowed cannot be held, if so.
    pub(crate) fn cannot_be_held(&self, terms: &Terms) -> Option<String> {
        if terms.rule == ROOT_IS_ROOT {
            return Some("root holds no role: it runs everything without one".to_owned());
        }
        let lends = self.policy.policy().map(|policy| Lends::of(policy, &terms.role)).unwrap_or_default();
        // The gate reads `login` from the table of held roles: nothing is to be made.
        let changes = lends.effects.iter().any(|effect| !matches!(effect, Effect::Login(_)));
        let old = self.spawner.is_of_before_grants() || (changes && self.spawner.is_of_before_effects());
        old.then(|| "jitsudo-spawn is of an older version: systemctl restart jitsudo-spawn (as root)".to_owned())
    }
}
