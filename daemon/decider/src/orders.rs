//! Orders of `jitctl`, which take away, and the end of role grants that no rule gives any more.
//!
//! MUSTs
//! 1. Own things are ended by their requester; others' need the duty `end` or uid 0 (host test `role_is_held_used_and_given_back_and_nothing_of_it_is_left`).
//! 2. The end is ordered first and recorded then (`release_ends_and_is_recorded_with_its_actor`).
//! 3. Without the duty nobody learns whether an id exists (host test `role_is_held_used_and_given_back_and_nothing_of_it_is_left`).

use std::collections::{BTreeSet, HashMap};

use jitsudo_core::duty::Duty;
use jitsudo_core::event::{EndCause, Event};
use jitsudo_core::facts::{Fact, Facts, NoExecutable, Requester};
use jitsudo_core::held::{Held, has_lapsed};
use jitsudo_core::id::AccessId;
use jitsudo_core::name::{Gid, Uid};
use jitsudo_core::state::{Access, Asked, Given};
use jitsudo_ledger::Priority;
use jitsudo_link::spawner::ToSpawner;
use jitsudo_protocol::client::{Fault, FaultCode, Order};
use serde_json::json;

use crate::approvals::signed::Answered;
use crate::client::{fault, malformed};
use crate::daemon::{Daemon, wall};
use crate::locks::wrong_time;
use crate::work::{Pending, What};

/// Longest reason, letters.
const MAX_REASON: usize = 1000;
/// Longest id that is looked for.
const MAX_ID: usize = 64;

/// Who ends an access.
struct By {
    uid: Uid,
    name: Option<String>,
    own: bool,
    reason: Option<String>,
}

impl Daemon {
    /// Does it, or asks for facts first.
    pub(crate) fn begin_order(&mut self, client: u64, order: Order) {
        let Some(uid) = self.clients.get(&client).map(|client| Uid(client.peer.uid)) else { return };
        let (id, reason, others) = match &order {
            Order::Release { id } | Order::Withdraw { id } => (id, None, false),
            Order::End { id, reason } => (id, reason.clone(), true),
            Order::ApproveSigned { .. } | Order::Refuse { signature: Some(_), .. } => {
                if let Some(Err(fault)) = answered(&order).map(|answered| answered.check()) {
                    return self.fail(client, fault);
                }
                let about = self.about(&[], &None, &None, None);
                return self.look(client, about, What::Order(order));
            }
            Order::Refuse { id, reason, signature: None } => {
                if id.len() > MAX_ID || reason.trim().is_empty() || reason.chars().count() > MAX_REASON {
                    let fault = malformed("cannot say no: an id is short, and a reason has 1 to 1000 letters");
                    return self.fail(client, fault);
                }
                let about = self.about(&[], &None, &None, None);
                return self.look(client, about, What::Order(order));
            }
            Order::AcknowledgeResidue { id, reason } => {
                if id.len() > MAX_ID || reason.trim().is_empty() || reason.chars().count() > MAX_REASON {
                    let fault = malformed("cannot acknowledge: an id is short, and a reason has 1 to 1000 letters");
                    return self.fail(client, fault);
                }
                let about = self.about(&[], &None, &None, None);
                return self.look(client, about, What::Order(order));
            }
            Order::Review { id, note } => {
                let letters = note.trim().chars().count();
                if id.len() > MAX_ID || !(1..=MAX_REASON).contains(&letters) {
                    return self.fail(client, malformed("cannot review: a note has 1 to 1000 letters, an id is short"));
                }
                // Who asks decides, also of root: it may be the one who used it.
                let about = self.about(&[], &None, &None, None);
                return self.look(client, about, What::Order(order));
            }
            Order::Lock { .. } | Order::Unlock { .. } => return self.begin_lock(client, uid, order),
        };
        if id.len() > MAX_ID || reason.as_ref().is_some_and(|reason| reason.chars().count() > MAX_REASON) {
            return self
                .fail(client, malformed("cannot end it: an id is short, and a reason has at most 1000 letters"));
        }
        if matches!(order, Order::Withdraw { .. } | Order::End { .. })
            && let Some(waiting) = self.waiting_one(id, Some(uid))
        {
            let item = self.take_back(&waiting, None);
            return self.give_items(client, vec![item]);
        }
        match self.live_one(id, Some(uid)) {
            Ok(Some(asked)) if matches!(order, Order::Withdraw { .. }) => return self.withdraw(client, uid, &asked),
            Ok(Some(asked)) => {
                let by = By { uid, name: asked.user.clone(), own: true, reason };
                return self.end_access(client, &asked, by);
            }
            Err(fault) => return self.fail(client, fault),
            Ok(None) => {}
        }
        if !others {
            return self.fail(client, not_there(id, "of yours"));
        }
        if uid == Uid(self.places.root) {
            let by = By { uid, name: Some("root".to_owned()), own: false, reason };
            return self.end_others(client, id, by);
        }
        let about = self.about(&[], &None, &None, None);
        self.look(client, about, What::Order(order));
    }

    /// The facts that an order needed are here.
    pub(crate) fn answer_order(&mut self, client: u64, order: Order, facts: &Facts) {
        if let Some(denial) = self.lock_denial(facts) {
            // What is left to a locked account is what it needs nobody's leave for.
            let message = format!("cannot do that: {}", denial.detail.join("; "));
            return self.fail(client, fault(FaultCode::Duty, &message));
        }
        if let Some(answered) = answered(&order) {
            return self.hear_signed(client, answered, facts);
        }
        let (id, reason) = match order {
            Order::End { id, reason } => (id, reason),
            Order::AcknowledgeResidue { id, reason } => return self.acknowledge_residue(client, &id, reason, facts),
            Order::Review { id, note } => return self.begin_review(client, &id, note, facts),
            Order::Lock { .. } | Order::Unlock { .. } => return self.answer_lock(client, order, facts),
            Order::Refuse { id, reason, .. } => return self.say_no(client, &id, &reason, facts),
            Order::ApproveSigned { .. } => return,
            Order::Release { .. } | Order::Withdraw { .. } => return,
        };
        if !self.duties_of(facts).contains(&Duty::End) {
            // Whether there is one is not told.
            let shown = jitsudo_bytes::Bytes::from(id.as_str()).visible();
            let fault = Fault {
                code: FaultCode::NotFound,
                message: format!("cannot end {shown}: nothing of yours has that id; others' need the duty `end`"),
                hint: Some("`jitctl grants` and `jitctl sessions` show your own".to_owned()),
            };
            return self.fail(client, fault);
        }
        let by = By { uid: facts.requester.uid, name: facts.requester.name.known().cloned(), own: false, reason };
        self.end_others(client, &id, by);
    }

    /// What was given is given back, not withdrawn: who asked would else not see that it was there for a while.
    fn withdraw(&mut self, client: u64, uid: Uid, asked: &Asked) {
        let waits = self.ledger.state().access(&asked.id).is_some_and(|access| matches!(access, Access::Activating(_)));
        if !waits {
            let id = asked.id.short();
            let message = format!("cannot withdraw {id}: it is given already");
            return self.fail(client, wrong_time(message, &format!("jitctl release {id} gives it back")));
        }
        if self.order_end(client, asked, EndCause::GivenBack) {
            let event = Event::Withdrawn { id: asked.id.clone() };
            let entry = self.stamp().entry_for(Some(uid), asked.user.clone(), event);
            self.ledger.append(vec![entry], Priority::Essential);
        }
    }

    fn say_no(&mut self, client: u64, id: &str, reason: &str, facts: &Facts) {
        match self.answerable(id, facts) {
            Ok(id) => {
                self.refuse_request(&id, facts, reason, None);
                self.give_items(client, vec![json!({"id": id, "refused": true})]);
            }
            Err(fault) => self.fail(client, fault),
        }
    }

    fn end_others(&mut self, client: u64, id: &str, by: By) {
        if let Some(waiting) = self.waiting_one(id, None) {
            let item = self.take_back(&waiting, Some((by.uid, by.name)));
            return self.give_items(client, vec![item]);
        }
        match self.live_one(id, None) {
            Ok(Some(asked)) => self.end_access(client, &asked, by),
            Ok(None) => self.fail(client, not_there(id, "here")),
            Err(fault) => self.fail(client, fault),
        }
    }

    /// The one live access that an id means, of one account or of all.
    fn live_one(&self, id: &str, of: Option<Uid>) -> Result<Option<Asked>, Fault> {
        // What may finish after the end can be ended before that.
        let is_over = |access: &&Access| matches!(access, Access::Ended(ended) if ended.given.finish == 0);
        let live = self.ledger.state().live_accesses().filter(|access| !is_over(access));
        let mut meant = live
            .map(Access::asked_for)
            .filter(|asked| of.is_none_or(|uid| asked.uid == uid) && asked.id.is_meant_by(id));
        match (meant.next(), meant.next()) {
            (one, None) => Ok(one.cloned()),
            (_, Some(_)) => {
                let shown = jitsudo_bytes::Bytes::from(id).visible();
                Err(fault(
                    FaultCode::NotFound,
                    &format!("cannot end {shown}: more than one begins so, give more of it"),
                ))
            }
        }
    }

    /// The end first, its record then.
    fn end_access(&mut self, client: u64, asked: &Asked, by: By) {
        let cause = if by.own { EndCause::GivenBack } else { EndCause::EndedByOther };
        if !self.order_end(client, asked, cause) {
            return;
        }
        let By { uid, name, own, reason } = by;
        let event = Event::Released { id: asked.id.clone(), by_other: !own, reason };
        let entry = self.stamp().entry_for(Some(uid), name, event);
        self.ledger.append(vec![entry], Priority::Essential);
    }

    pub(crate) fn order_end(&mut self, client: u64, asked: &Asked, cause: EndCause) -> bool {
        if self.spawner.is_of_before_grants() {
            let fault = Fault {
                code: FaultCode::NotSupported,
                message: "cannot end it: jitsudo-spawn is of an older version".to_owned(),
                hint: Some("systemctl restart jitsudo-spawn (running commands go on)".to_owned()),
            };
            self.fail(client, fault);
            return false;
        }
        let number = self.number();
        let order = ToSpawner::EndGrant { number, id: asked.id.clone(), cause };
        let taken = self.spawner.order(&order, None);
        match taken {
            Ok(()) => {
                let until_ms = self.now_ms().saturating_add(self.patience.work_ms);
                let role = asked.role.clone().filter(|_| asked.kind == jitsudo_core::request::Kind::Role);
                let what = What::End { id: asked.id.clone(), role, cause };
                self.pending.insert(number, Pending { client, what, until_ms });
            }
            Err(not_taken) => {
                let fault = self.not_taken(not_taken);
                self.fail(client, fault);
            }
        }
        self.watch_spawner();
        taken.is_ok()
    }

    /// The spawner has begun the end, or knows of nothing to end.
    pub(crate) fn end_has_begun(&mut self, number: u64, known: bool) {
        if !matches!(self.pending.get(&number), Some(Pending { what: What::End { .. }, .. })) {
            return;
        }
        let Some(Pending { client, what: What::End { id, role, cause }, .. }) = self.pending.remove(&number) else {
            return;
        };
        if !known && role.is_some() {
            // Nobody holds it, and so nobody else will say that it is over. Whether what it lent is gone only who looks can say.
            let stamp = self.stamp();
            let given = self.ledger.state().access(&id).and_then(Access::given);
            let close = given.is_none_or(|given| given.lent.is_empty()).then(|| Event::Closed { id: id.clone() });
            let events = [Event::Ended { id: id.clone(), cause: EndCause::Lost }].into_iter().chain(close);
            let entries = events.map(|event| stamp.entry(event)).collect();
            self.ledger.append(entries, Priority::Essential);
        }
        if known || role.is_some() {
            self.give_items(client, vec![json!({"id": id, "role": role, "cause": cause})]);
        } else {
            self.fail(client, not_there(id.short(), "here any more"));
        }
    }

    /// Ends role grants whose rule is gone or does not mean their requester any more. A policy that cannot be read is no word on that:
    /// nothing starts under it anyway.
    pub(crate) fn end_what_lapsed(&mut self) {
        if self.spawner.policy().is_none() || self.spawner.is_of_before_grants() || self.policy.trouble().is_some() {
            return;
        }
        let now = wall(self.moment);
        // An account's roles of one rule are judged once: somebody may hold many.
        let mut judged: HashMap<Judged<'_>, bool> = HashMap::new();
        let mut lapsed: Vec<Asked> = Vec::new();
        for access in self.ledger.state().live_accesses() {
            if let Access::Active(given) = access
                && given.is_role()
                && *judged.entry(Judged::of(given)).or_insert_with_key(|judged| self.is_lapsed(judged, now))
            {
                lapsed.push(given.allowed.asked.clone());
            }
        }
        for asked in lapsed {
            // Nobody waits for the answer: 0 is no client.
            self.order_end(0, &asked, EndCause::RuleGone);
        }
    }

    fn is_lapsed(&self, judged: &Judged<'_>, now: jitsudo_core::Timestamp) -> bool {
        let held = Held { rule: judged.rule, role: judged.role, reason: None, ticket: None };
        has_lapsed(self.policy.policy(), &self.facts_of(judged), held, now)
    }

    /// What the ledger knows of a requester; everything else is unknown.
    fn facts_of(&self, asked: &Judged<'_>) -> Facts {
        let known = |name: Option<&str>| name.map_or(Fact::Unknown, |name| Fact::Is(name.to_owned()));
        let mut facts = Facts {
            host: String::new(),
            labels: BTreeSet::new(),
            requester: Requester {
                uid: asked.uid,
                gid: Gid(u32::MAX),
                name: known(asked.user),
                groups: Fact::Unknown,
                process_groups: Fact::Unknown,
                lent_groups: BTreeSet::new(),
                loginuid: asked.loginuid.map_or(Fact::Unknown, |uid| Fact::Is(Some(uid))),
                login_name: Fact::Unknown,
                login_groups: Fact::Unknown,
                home: Fact::Unknown,
                shell: Fact::Unknown,
            },
            origin: Fact::Unknown,
            target: Fact::Unknown,
            executable: Fact::Is(Err(NoExecutable::NotAsked)),
            rooted_arguments: BTreeSet::new(),
            lendable: std::collections::BTreeMap::new(),
            cwd: Fact::Unknown,
        };
        self.complete(&mut facts);
        facts
    }
}

/// The signed answer that an order hands in, if it does.
fn answered(order: &Order) -> Option<Answered> {
    match order.clone() {
        Order::ApproveSigned { id, signature, window } => Some(Answered { id, signature, no: None, window }),
        Order::Refuse { id, reason, signature: Some(signature) } => {
            Some(Answered { id, signature, no: Some(reason), window: None })
        }
        Order::Release { .. }
        | Order::Refuse { signature: None, .. }
        | Order::End { .. }
        | Order::AcknowledgeResidue { .. }
        | Order::Review { .. }
        | Order::Withdraw { .. }
        | Order::Lock { .. }
        | Order::Unlock { .. } => None,
    }
}

/// What of a role that is held says whether its rule still gives it.
#[derive(PartialEq, Eq, Hash)]
struct Judged<'a> {
    uid: Uid,
    user: Option<&'a str>,
    loginuid: Option<Uid>,
    rule: &'a str,
    role: &'a str,
}

impl<'a> Judged<'a> {
    fn of(given: &'a Given) -> Self {
        let (asked, held) = (&given.allowed.asked, held(given));
        Self { uid: asked.uid, user: asked.user.as_deref(), loginuid: asked.loginuid, rule: held.rule, role: held.role }
    }
}

/// A grant as the evaluation of what it gives sees it.
pub(crate) fn held(given: &Given) -> Held<'_> {
    let allowed = &given.allowed;
    Held {
        rule: allowed.rule.as_deref().unwrap_or_default(),
        role: allowed.role.as_deref().unwrap_or_default(),
        reason: allowed.asked.reason.as_deref(),
        ticket: allowed.asked.ticket.as_deref(),
    }
}

fn not_there(id: &str, whose: &str) -> Fault {
    let shown = jitsudo_bytes::Bytes::from(id).visible();
    Fault {
        code: FaultCode::NotFound,
        message: format!("cannot end {shown}: nothing of that id is active {whose}"),
        hint: Some(
            "`jitctl grants` and `jitctl sessions` show what is; others' need `jitctl end ID` and the duty `end`"
                .to_owned(),
        ),
    }
}

/// The id of an access, for a session's number to be counted under.
pub(crate) type Numbers = std::collections::BTreeMap<AccessId, u32>;
