//! A run: act → facts → decision → durable record → start. Nothing is given before its record and its end are durable.
//!
//! MUSTs
//! 1. `Start` leaves only for a batch that is durable (`crash_recovery_03_*`).
//! 2. Nothing is given on the strength of a ledger that may not be the one that was signed (`heads`).
//! 3. Where other people have to say yes they are asked first ([`crate::approvals`]). Who has to prove their identity is the spawner's to say.
//! 4. Who asks is the kernel's word of this connection; what the spawner says of it must agree (`looked`).

use std::rc::Rc;

use jitsudo_core::decision::{Cause, Decision, Denial, Terms};
use jitsudo_core::evaluate::evaluate_after;
use jitsudo_core::event::{Ending, Event};
use jitsudo_core::facts::{Fact, Facts, Target};
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_core::name::Uid;
use jitsudo_core::request::Kind;
use jitsudo_ledger::{AppendError, Priority};
use jitsudo_link::approval::Seal;
use jitsudo_link::facts::{About, Peer, Process};
use jitsudo_link::spawner::{Start, ToSpawner};
use jitsudo_link::{ask, ends};
use jitsudo_protocol::act::Act;
use jitsudo_protocol::client::{Denied, Fault, FaultCode, FromDecider};
use jitsudo_protocol::digest;
use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::syslog::Severity;

use crate::approvals::Told;
use crate::away::Later;
use crate::client::fault;
use crate::daemon::{Daemon, wall};
use crate::limits;
use crate::record::Asked;
use crate::reviews::older_spawner;
use crate::spawner::NotTaken;
use crate::words::{self, Recorded};
use crate::work::{After, Pending, Prepared, Started, What};

/// How long facts are waited for: two seconds are theirs, the rest is the queue's.
const LOOK_MS: u64 = 10_000;

impl Daemon {
    /// Begins a run.
    pub(crate) fn begin_run(&mut self, client: u64, act: Box<Act>) {
        if self.loads.are_under_way() || self.heads.are_being_checked() {
            // The spawner may have the new policy already, and would not agree with the old one. And a ledger that lacks what was
            // signed gives nothing.
            self.loads.held.push((client, act));
            return;
        }
        let about = ask::about(&act, self.policy.policy());
        self.look(client, about, What::Run(act));
    }

    /// Asks for facts about a connection.
    pub(crate) fn look(&mut self, client: u64, about: About, what: What) {
        let Some(Later::Look(about, what)) = self.unless_soon_back(client, Later::Look(about, what)) else { return };
        let number = self.number();
        let Some(channel) = self.clients.get(&client).map(|client| Rc::clone(&client.channel)) else { return };
        match self.spawner.order(&ToSpawner::Look { number, about }, Some(&channel)) {
            Ok(()) => {
                let until_ms = self.now_ms().saturating_add(LOOK_MS);
                self.pending.insert(number, Pending { client, what, until_ms });
            }
            Err(not_taken) => {
                let fault = self.not_taken(not_taken);
                self.fail(client, fault);
            }
        }
        self.watch_spawner();
    }

    /// The next number of a question.
    pub(crate) fn number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        number
    }

    /// Why an order was not taken, for the requester.
    pub(crate) fn not_taken(&self, not_taken: NotTaken) -> Fault {
        match not_taken {
            NotTaken::Away => words::spawner_fault(self.spawner.cause()),
            NotTaken::Busy => words::busy("too many are waiting"),
            NotTaken::TooLong => Fault {
                code: FaultCode::NotSupported,
                message: "cannot take the request: its options, or the programs that denies name, exceed 64 KiB"
                    .to_owned(),
                hint: None,
            },
        }
    }

    /// Fills in what the host's settings say.
    pub(crate) fn complete(&self, facts: &mut Facts) {
        facts.host.clone_from(&self.host);
        facts.labels.clone_from(&self.settings.labels);
    }

    /// Decides about an act.
    pub(crate) fn decide_run(
        &mut self,
        client: u64,
        act: Act,
        peer: Peer,
        facts: &Facts,
        process: Option<&Process>,
        told: Told,
    ) {
        let request = ask::request(&act);
        let now = wall(self.moment);
        let locked = self.lock_denial(facts).map(Box::new);
        let waits = request.kind != Kind::Role || act.options.extends.is_some();
        if locked.is_none() && waits && self.is_becoming_active(peer.uid) {
            // What lies in the spool says that a role of this account is held: it counts in a moment.
            self.loads.held.push((client, Box::new(act)));
            return;
        }
        if act.options.extends.is_some() {
            return self.decide_extension(client, act, peer, facts, process, locked);
        }
        if locked.is_none()
            && let Some(start) = self.held_start(peer, facts, process, &request, &act)
        {
            return self.give_held(client, act, start);
        }
        let Some(id) = self.fresh_id() else {
            return self.fail(client, fault(FaultCode::Internal, "cannot make an id: the kernel has no random bytes"));
        };
        let digest = digest::of_act(peer.uid, &act);
        let policy = self.policy.digest().unwrap_or_default().to_owned();
        let asked = Asked { id: &id, peer, facts, process, request: &request, digest: &digest, policy: &policy };
        if locked.is_none() && request.kind == Kind::Approve {
            return self.hear_yes(client, &asked, act, &told);
        }
        if locked.is_none() && act.options.request.is_some() {
            return self.take_up(client, &asked, act, told);
        }
        let past = self.ledger.state().past();
        let decided = || evaluate_after(self.policy.policy(), facts, &request, past, now);
        let decision = locked.map_or_else(decided, Decision::Deny);
        if let Decision::Allow(terms) = &decision
            && counts(terms)
            && self.is_counting()
        {
            // What is being recorded at this moment may leave nothing for this one.
            self.loads.held.push((client, Box::new(act)));
            return;
        }
        match decision {
            Decision::Deny(denial) if denial.cause == Cause::NoPolicy && self.policy.trouble().is_some() => {
                let fault = Fault {
                    code: FaultCode::Policy,
                    message: "cannot decide: the applied policy cannot be used".to_owned(),
                    hint: Some("jitctl policy apply (as root); journalctl -u jitsudod".to_owned()),
                };
                self.fail(client, fault);
            }
            Decision::Deny(denial) => self.deny(client, &asked, &denial),
            Decision::Allow(terms) if request.kind == Kind::Role && self.cannot_be_held(&terms).is_some() => {
                let detail = self.cannot_be_held(&terms).into_iter().collect();
                self.deny(client, &asked, &Denial { cause: Cause::NotSupported, detail, by: None });
            }
            Decision::Allow(terms) => self.give(client, &asked, &terms, act, told),
        }
    }

    /// A new access's id.
    pub(crate) fn fresh_id(&self) -> Option<AccessId> {
        let random = jitsudo_sys::random::bytes::<10>().ok()?;
        Some(AccessId::new(u64::try_from(wall(self.moment).as_millisecond()).unwrap_or(0), random))
    }

    pub(crate) fn deny(&mut self, client: u64, asked: &Asked<'_>, denial: &Denial) {
        let denied = self.record_denial(asked, denial);
        self.answer(client, &[FromDecider::Denied(denied)]);
    }

    /// Refusing never waits: it is recorded as soon as can be, and says so only where nothing speaks against it.
    pub(crate) fn record_denial(&mut self, asked: &Asked<'_>, denial: &Denial) -> Denied {
        let recorded = match self.limits.denied(asked.peer.uid, self.now_ms()) {
            limits::Denial::Counted => Recorded::Counted,
            limits::Denial::Listed => {
                let entries = asked.denied(&self.stamp(), denial);
                self.ledger.append(entries, Priority::Ordinary);
                if self.ledger.trouble().is_some() { Recorded::Not } else { Recorded::As(asked.id) }
            }
        };
        words::denied(denial, asked.facts, asked.request, recorded)
    }

    fn give(&mut self, client: u64, asked: &Asked<'_>, terms: &Terms, act: Act, told: Told) {
        if let Some(cause) = self.why_nothing_is_given() {
            return self.fail(client, words::untrusted_ledger(&cause));
        }
        if terms.break_glass.is_some() && !self.spawner.has_reviews() {
            return self.fail(client, older_spawner());
        }
        if terms.approvals > 0 {
            return self.ask_people(client, asked, terms, act, told);
        }
        let Fact::Is(Some(target)) = &asked.facts.target else {
            return self.deny(client, asked, &Denial { cause: Cause::UnknownTarget, detail: Vec::new(), by: None });
        };
        self.write_start(client, asked, (terms, target), act, None);
    }

    /// Writes what is given and its end; it is started once that is durable. Of what other people said yes to it is on record already that
    /// it was asked for.
    pub(crate) fn write_start(
        &mut self,
        client: u64,
        asked: &Asked<'_>,
        (terms, target): (&Terms, &Target),
        act: Act,
        approved: Option<Seal>,
    ) {
        let now = wall(self.moment);
        let ends_at = ends::at(terms, asked.request, asked.facts, now);
        let ends_boottime_ms = ends::boottime_ms(ends_at, now, self.now_ms());
        let is_role = asked.request.kind == Kind::Role;
        let entries: Vec<_> = if is_role {
            asked.granted(&self.stamp(), terms, ends_at, ends_boottime_ms).into()
        } else {
            asked.given(&self.stamp(), terms, target, ends_at, ends_boottime_ms)
        };
        // In an emergency the disk may be the emergency.
        let essential = terms.when_full || terms.break_glass.is_some();
        let priority = if essential { Priority::Essential } else { Priority::Ordinary };
        let on_record = usize::from(approved.is_some());
        let ticket = self.ledger.append(entries.into_iter().skip(on_record).collect(), priority);
        let start = Start {
            session: SessionId { access: asked.id.clone(), number: u32::from(!is_role) },
            requester: asked.peer.uid,
            digest: asked.digest.to_owned(),
            policy: asked.policy.to_owned(),
            rule: terms.rule.clone(),
            role: terms.role.clone(),
            target: target.uid.0,
            ends_at,
            ends_boottime_ms,
            approved,
            yes: None,
            held: false,
            groups: terms.groups.clone(),
            extends: false,
        };
        let prepared = Prepared { client, act, start, counts: counts(terms) };
        self.after.insert(ticket, After::Start(Box::new(prepared)));
    }

    /// Something that counts is on its way into the ledger.
    pub(crate) fn is_counting(&self) -> bool {
        self.after.values().any(|after| matches!(after, After::Start(prepared) if prepared.counts))
    }

    /// The record of a start is durable, or is not.
    pub(crate) fn recorded(&mut self, prepared: Prepared, outcome: Result<(), AppendError>) {
        let Prepared { client, act, start, counts: _ } = prepared;
        if let Err(error) = outcome {
            return self.fail(client, words::ledger_fault(&error));
        }
        let started = Started::of(&start);
        let access = self.ledger.state().access(&start.session.access);
        if let Some(denial) = access.and_then(|access| self.denial_of(access.asked_for())) {
            // Locked while the record was on its way.
            let words = denial.detail.join("; ");
            self.not_started(started, &words);
            return self.fail(client, fault(FaultCode::Duty, &format!("cannot give anything: {words}")));
        }
        let Some(channel) = self.clients.get(&client).map(|client| Rc::clone(&client.channel)) else {
            return self.not_started(started, "the client went away before its command was started");
        };
        let number = self.number();
        let (first, more) = act.split();
        let mut orders = vec![ToSpawner::Start { number, start: Box::new(start), act: Box::new(first) }];
        orders.extend(more.into_iter().map(|more| ToSpawner::More { number, more }));
        match self.spawner.orders(&orders, Some(&channel)) {
            Ok(()) => {
                jitsudo_sys::failpoint::reach("decider.start.told");
                let until_ms = self.now_ms().saturating_add(self.patience.work_ms);
                self.pending.insert(number, Pending { client, what: What::Start(started), until_ms });
            }
            Err(not_taken) => {
                let fault = self.not_taken(not_taken);
                self.not_started(started, &fault.message);
                self.fail(client, fault);
            }
        }
        self.watch_spawner();
    }

    /// The spawner did not start it.
    pub(crate) fn start_refused(&mut self, client: u64, started: Started, cause: &str, disagree: bool) {
        let id = &started.session.access;
        let cause = jitsudo_bytes::Bytes::from(cause).visible();
        let fault = Fault {
            code: if disagree { FaultCode::Internal } else { FaultCode::Spawner },
            message: {
                let what = match (started.extends, started.session.number) {
                    (true, _) => "extend the role",
                    (false, 0) => "give the role",
                    (false, _) => "start the command",
                };
                let whose = if disagree { "jitsudo-spawn does not agree: " } else { "" };
                format!("cannot {what}: {whose}{cause}")
            },
            hint: Some(format!("nothing was given; this is recorded as {}", id.short())),
        };
        if disagree {
            self.tell(Severity::Error, &format!("{} the spawner does not agree: {cause}", id.short()));
        }
        self.not_started(started, &cause);
        self.fail(client, fault);
    }

    /// Nothing was started. A role that is held stays held.
    pub(crate) fn not_started(&mut self, started: Started, cause: &str) {
        let Started { session, held, extends } = started;
        if extends {
            // Its end is what it was, and nothing was written of another.
            return;
        }
        let event = if held {
            Event::SessionExit {
                session,
                ending: Ending::NotStarted(Errno::ECANCELED as i32),
                ran_ms: 0,
                pid: 0,
                audit_session: None,
                failed: Some(cause.to_owned()),
                interpreter: None,
            }
        } else {
            Event::ActivationFailed { id: session.access, cause: cause.to_owned() }
        };
        let entry = self.stamp().entry(event);
        self.ledger.append(vec![entry], Priority::Essential);
    }

    /// Facts arrived: whose, and for what.
    pub(crate) fn looked(&mut self, number: u64, peer: Peer, mut facts: Facts, process: Option<&Process>, told: Told) {
        let Some(pending) = self.pending.remove(&number) else { return };
        if let What::Lock(locking) = pending.what {
            // Whom it is about, not who orders it.
            return self.lock_found(pending.client, locking, &facts);
        }
        let Some(client) = self.clients.get(&pending.client) else { return };
        let connected = Peer { pid: client.peer.pid, uid: client.peer.uid, gid: client.peer.gid };
        let other = matches!(pending.what, What::ExplainOther(_));
        if peer != connected || (!other && facts.requester.uid != Uid(connected.uid)) {
            let fault = fault(FaultCode::Internal, "cannot tell who asks: the spawner sees somebody else");
            return self.refuse(pending.client, fault);
        }
        self.complete(&mut facts);
        match pending.what {
            What::Run(act) => self.decide_run(pending.client, *act, peer, &facts, process, told),
            What::Weigh(act) => {
                let told = Told { hashed: true, ..told };
                self.decide_run(pending.client, *act, peer, &facts, process, told);
            }
            What::Activate(id) => self.activate(pending.client, &id, peer, &facts, process, &told),
            What::Ask(ask) => self.answer_ask(pending.client, ask, &facts),
            What::ExplainOther(ask) => self.explain_other(pending.client, ask, &facts),
            What::Order(order) => self.answer_order(pending.client, order, &facts),
            What::Prove(_) => {}
            What::Lock(_) | What::Unlock(_) | What::Start(_) | What::End { .. } | What::Review(_) => {}
            What::Apply { .. } | What::Acknowledge(_) | What::Forget | What::Here { .. } | What::Tell(_) => {}
        }
    }
}

/// What is given on these terms takes from what is given later.
fn counts(terms: &Terms) -> bool {
    terms.counted.is_some() || terms.break_glass.is_some()
}
