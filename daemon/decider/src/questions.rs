//! The questions of `jitctl`: own things without a duty, others' with one, applying a policy for uid 0 alone.
//!
//! MUSTs
//! 1. Every question names nobody: what is own is decided by the kernel's uid of the connection (`peer_auth_08_*`).
//! 2. Others' things need the duty `see`, others' rules the duty `policy` (`question_about_others_*`).

use std::rc::Rc;

use jitsudo_bytes::Bytes;
use jitsudo_core::Timestamp;
use jitsudo_core::approval::Said;
use jitsudo_core::duty::Duty;
use jitsudo_core::event::Event;
use jitsudo_core::explain::Visible;
use jitsudo_core::facts::Facts;
use jitsudo_core::name::Uid;
use jitsudo_core::offers::offers;
use jitsudo_core::request::{Kind, Request};
use jitsudo_ledger::Priority;
use jitsudo_link::facts::About;
use jitsudo_link::spawner::{ApplyOutcome, ToSpawner};
use jitsudo_protocol::client::{Ask, Denied, Fault, FaultCode, FromDecider};
use serde_json::{Value, json};

use crate::accesses;
use crate::answers;
use crate::approvals::signed;
use crate::away::Later;
use crate::client::{fault, malformed};
use crate::daemon::{Daemon, wall};
use crate::locks;
use crate::residue;
use crate::words;
use crate::work::{After, Pending, What};
use crate::worker::{Question, Unclear, Wanted};

/// Long questions that wait or are being answered.
const MAX_ASKING: usize = 16;
/// Of those, one account's.
const MAX_ASKING_OF_ACCOUNT: usize = 2;
/// Most events of one answer.
const MAX_EVENTS: u32 = 100_000;

impl Daemon {
    /// Answers at once, or asks for facts first.
    pub(crate) fn begin_ask(&mut self, client: u64, ask: Ask) {
        let Some(uid) = self.clients.get(&client).map(|client| client.peer.uid) else { return };
        let ask = match ask {
            ask @ (Ask::PolicyApply { .. } | Ask::Acknowledge { .. }) if Uid(uid) == Uid(self.places.root) => {
                let Some(Later::Ask(ask)) = self.unless_soon_back(client, Later::Ask(ask)) else { return };
                ask
            }
            ask => ask,
        };
        match ask {
            Ask::PolicyStatus => {
                let status = self.policy_status();
                self.give_items(client, vec![status]);
            }
            Ask::Status => {
                let mut status = self.status();
                if let Value::Object(fields) = &mut status {
                    fields.insert("locked".to_owned(), Value::Array(self.locks_for(Uid(uid))));
                    let of = Some(Uid(uid)).filter(|uid| *uid != Uid(self.places.root));
                    fields.insert("residue".to_owned(), residue::counts(self.ledger.state(), of));
                }
                self.give_items(client, vec![status]);
            }
            Ask::Sessions { ended, all: false } => {
                let sessions = answers::sessions(self.ledger.state(), Some(Uid(uid)), ended);
                self.give_items(client, sessions);
            }
            Ask::Requests { all: false } => {
                let requests = accesses::requests(self.ledger.state(), Some(Uid(uid)));
                self.give_items(client, requests);
            }
            Ask::Show { ref id } => match accesses::find(self.ledger.state(), id, Some(Uid(uid))) {
                Ok(Some(access)) => {
                    let shown = accesses::show(self.ledger.state(), access, true);
                    self.give_items(client, vec![shown]);
                }
                Ok(None) if Uid(uid) == Uid(self.places.root) => self.show_any(client, ask),
                Ok(None) => self.ask_facts(client, ask),
                Err(fault) => self.fail(client, fault),
            },
            Ask::Grants { all: false } => {
                let grants = answers::grants(self.ledger.state(), Some(Uid(uid)));
                self.give_items(client, grants);
            }
            Ask::Residue { all: false } => {
                let residues = residue::residues(self.ledger.state(), Some(Uid(uid)));
                self.give_items(client, residues);
            }
            Ask::Log { ref id, ref user, limit, .. } => {
                let long = |text: &Option<String>| text.as_ref().is_some_and(|text| text.len() > 256);
                if !(1..=MAX_EVENTS).contains(&limit) || long(id) || long(user) {
                    return self.fail(client, malformed("cannot answer: a limit is from 1 to 100000, a name short"));
                }
                match ask {
                    Ask::Log { all: true, .. } => self.ask_facts(client, ask),
                    own => self.read_log(client, own),
                }
            }
            Ask::CardToSign { ref id, ref no, window } => match signed::check(id, no.as_deref(), window) {
                Ok(()) => self.ask_facts(client, ask),
                Err(fault) => self.fail(client, fault),
            },
            Ask::Explain { ref argv, .. } if argv.is_empty() => {
                self.fail(client, malformed("cannot explain: no command was given"));
            }
            Ask::PolicyApply { dry_run, expect } => self.begin_apply(client, uid, dry_run, expect),
            Ask::Acknowledge { reason } => self.begin_acknowledge(client, uid, &reason),
            Ask::Standing
            | Ask::Roles
            | Ask::Reviews
            | Ask::Sessions { all: true, .. }
            | Ask::Grants { all: true }
            | Ask::Residue { all: true }
            | Ask::Requests { all: true }
            | Ask::ToApprove
            | Ask::Card { .. }
            | Ask::Explain { .. }
            | Ask::List { .. } => self.ask_facts(client, ask),
        }
    }

    /// What is remembered of an authentication is the spawner's alone: it is only told.
    pub(crate) fn begin_forget(&mut self, client: u64, all: bool) {
        if self.unless_soon_back(client, Later::Forget(all)).is_none() {
            return;
        }
        let number = self.number();
        let Some(channel) = self.clients.get(&client).map(|client| Rc::clone(&client.channel)) else { return };
        match self.spawner.order(&ToSpawner::Forget { number, all }, Some(&channel)) {
            Ok(()) => {
                let until_ms = self.now_ms().saturating_add(self.patience.work_ms);
                self.pending.insert(number, Pending { client, what: What::Forget, until_ms });
            }
            Err(not_taken) => {
                let fault = self.not_taken(not_taken);
                self.fail(client, fault);
            }
        }
        self.watch_spawner();
    }

    /// The spawner remembers nothing of it any more.
    pub(crate) fn forgotten(&mut self, number: u64) {
        if matches!(self.pending.get(&number), Some(Pending { what: What::Forget, .. }))
            && let Some(pending) = self.pending.remove(&number)
        {
            self.give_items(pending.client, Vec::new());
        }
    }

    pub(crate) fn give_items(&mut self, client: u64, items: Vec<Value>) {
        self.answer(client, &answers::parts(items));
    }

    fn ask_facts(&mut self, client: u64, ask: Ask) {
        let about = match &ask {
            // Another's facts only once the own ones showed the duty.
            Ask::Explain { argv, target, group, user: None } | Ask::List { argv, target, group, user: None } => {
                self.about(argv, target, group, None)
            }
            _ => self.about(&[], &None, &None, None),
        };
        self.look(client, about, What::Ask(ask));
    }

    pub(crate) fn about(
        &self,
        argv: &[Bytes],
        user: &Option<String>,
        group: &Option<String>,
        subject: Option<String>,
    ) -> About {
        let same_as =
            if argv.is_empty() { &[] } else { self.policy.policy().map_or(&[][..], |one| one.deny_programs()) };
        let words = argv.iter().enumerate().skip(1).filter(|(_, word)| word.0.first() == Some(&b'/'));
        About {
            user: user.clone(),
            group: group.clone(),
            program: argv.first().cloned(),
            shell: None,
            words: words.take(64).map(|(place, word)| (place, word.clone())).collect(),
            same_as: same_as.to_vec(),
            subject,
            own: false,
            groups: Vec::new(),
            hash: false,
        }
    }

    /// The facts that a question needed are here.
    pub(crate) fn answer_ask(&mut self, client: u64, ask: Ask, facts: &Facts) {
        let now = wall(self.moment);
        let policy = self.policy.policy();
        let duties = self.duties_of(facts);
        let locked = self.lock_of(facts).map(|(uid, lock)| locks::item(uid, lock));
        match ask {
            Ask::Standing => {
                let requester = &facts.requester;
                let offers = offers(policy, facts, now);
                let user = requester.name.known().map(String::as_str);
                let digest = self.policy.digest();
                let offers = if locked.is_some() { Vec::new() } else { offers };
                let state = self.ledger.state();
                // Who may acknowledge others' is shown them.
                let all =
                    duties.contains(&Duty::See) && [Duty::End, Duty::Review].iter().any(|duty| duties.contains(duty));
                let residue = residue::residues(state, Some(requester.uid).filter(|_| !all));
                let mut standing = answers::standing(&self.host, requester.uid, user, digest, state, &offers, &residue);
                if let Value::Object(fields) = &mut standing {
                    fields.insert("locked".to_owned(), locked.unwrap_or_default());
                }
                self.give_items(client, vec![standing]);
            }
            Ask::Roles | Ask::Explain { user: None, .. } if locked.is_some() => self.say_locked(client, facts),
            Ask::ToApprove => {
                let cards = self.cards_for(facts);
                self.give_items(client, cards);
            }
            Ask::Card { id } => match self.show_card(&id, facts) {
                Ok(card) => self.give_items(client, card.into_iter().collect()),
                Err(fault) => self.fail(client, fault),
            },
            Ask::CardToSign { .. } if locked.is_some() => self.say_locked(client, facts),
            Ask::CardToSign { id, no, window } => {
                let said = no.as_deref().map_or(Said::Yes(window), Said::No);
                match self.card_to_sign(&id, said, facts) {
                    Ok(card) => self.give_items(client, vec![card]),
                    Err(fault) => self.fail(client, fault),
                }
            }
            Ask::Roles => {
                let offers = offers(policy, facts, now);
                let items = offers.iter().filter_map(|offer| serde_json::to_value(offer).ok()).collect();
                self.give_items(client, items);
            }
            Ask::Reviews => {
                let items = self.reviews(facts);
                self.give_items(client, items);
            }
            Ask::Sessions { ended, all: _ } => {
                if !duties.contains(&Duty::See) {
                    return self.fail(client, duty_fault("others' sessions", "see"));
                }
                let sessions = answers::sessions(self.ledger.state(), None, ended);
                self.give_items(client, sessions);
            }
            Ask::Grants { all: _ } => {
                if !duties.contains(&Duty::See) {
                    return self.fail(client, duty_fault("others' grants", "see"));
                }
                let grants = answers::grants(self.ledger.state(), None);
                self.give_items(client, grants);
            }
            Ask::Residue { all: _ } => {
                if !duties.contains(&Duty::See) {
                    return self.fail(client, duty_fault("what others' grants left", "see"));
                }
                let residues = residue::residues(self.ledger.state(), None);
                self.give_items(client, residues);
            }
            Ask::Requests { all: _ } => {
                if !duties.contains(&Duty::See) {
                    return self.fail(client, duty_fault("others' requests", "see"));
                }
                let requests = accesses::requests(self.ledger.state(), None);
                self.give_items(client, requests);
            }
            Ask::Show { ref id } if let Ok(Some(card)) = self.show_card(id, facts) => {
                // Who may answer it is shown what there is to answer, duty or not.
                let access = accesses::find(self.ledger.state(), id, None).ok().flatten();
                let mut shown =
                    access.map_or_else(|| json!({}), |access| accesses::show(self.ledger.state(), access, true));
                if let Value::Object(fields) = &mut shown {
                    fields.insert("card".to_owned(), card);
                }
                self.give_items(client, vec![shown]);
            }
            Ask::Show { ref id } => {
                if !duties.contains(&Duty::See) {
                    // Whether there is one is not told.
                    let shown = Bytes::from(id.as_str()).visible();
                    let message =
                        format!("cannot show {shown}: nothing of yours has that id; others' need the duty `see`");
                    let hint = Some("`jitctl requests` and `jitctl grants` show your own".to_owned());
                    return self.fail(client, Fault { code: FaultCode::NotFound, message, hint });
                }
                self.show_any(client, ask);
            }
            Ask::Log { .. } => {
                if !duties.contains(&Duty::See) {
                    return self.fail(client, duty_fault("others' events", "see"));
                }
                self.read_log(client, ask);
            }
            Ask::Explain { ref argv, ref target, ref group, user: Some(ref user) } => {
                if !duties.contains(&Duty::Policy) {
                    return self.fail(client, duty_fault("what another account may do", "policy"));
                }
                let about = self.about(argv, target, group, Some(user.clone()));
                self.look(client, about, What::ExplainOther(ask));
            }
            Ask::Explain { argv, target, group, user: None } => {
                let visible = if duties.contains(&Duty::Policy) { Visible::All } else { Visible::Own };
                self.give_explanation(client, facts.clone(), request(argv, target, group), visible);
            }
            Ask::List { .. } => self.list(client, ask, facts),
            Ask::PolicyStatus | Ask::Status | Ask::PolicyApply { .. } | Ask::Acknowledge { .. } => {}
        }
    }

    /// Who may see everything is shown any access.
    fn show_any(&mut self, client: u64, ask: Ask) {
        let Ask::Show { id } = ask else { return };
        match accesses::find(self.ledger.state(), &id, None) {
            Ok(Some(access)) => {
                let shown = accesses::show(self.ledger.state(), access, false);
                self.give_items(client, vec![shown]);
            }
            Ok(None) => {
                let shown = Bytes::from(id.as_str()).visible();
                let message = format!("cannot show {shown}: nothing of that id is remembered");
                let hint = format!("`jitctl timeline {shown}` reads the whole ledger");
                self.fail(client, Fault { code: FaultCode::NotFound, message, hint: Some(hint) });
            }
            Err(fault) => self.fail(client, fault),
        }
    }

    /// What somebody may ask for, while they are locked.
    fn say_locked(&mut self, client: u64, facts: &Facts) {
        let Some(denial) = self.lock_denial(facts) else { return };
        let denied = Denied {
            headline: "locked: nothing is given to this account".to_owned(),
            detail: denial.detail,
            hint: Some("who has the duty `lock`, or root, lifts it: jitctl unlock ACCOUNT".to_owned()),
            id: None,
            by_person: false,
            unanswered: false,
        };
        self.answer(client, &[FromDecider::Denied(denied)]);
    }

    /// The other account's facts are here; the duty was checked before they were asked for.
    pub(crate) fn explain_other(&mut self, client: u64, ask: Ask, facts: &Facts) {
        if self.lock_of(facts).is_some() {
            return self.say_locked(client, facts);
        }
        match ask {
            Ask::Explain { argv, target, group, .. } => {
                self.give_explanation(client, facts.clone(), request(argv, target, group), Visible::All);
            }
            other => self.list_other(client, other, facts),
        }
    }

    fn give_explanation(&mut self, client: u64, facts: Facts, request: Request, visible: Visible) {
        let (policy, now) = (self.policy.shared(), wall(self.moment));
        self.ask_worker(client, Question::Explain(Box::new(Unclear { policy, facts, request, now, visible })));
    }

    fn read_log(&mut self, client: u64, ask: Ask) {
        let Ask::Log { id, user, after, limit, all, since } = ask else { return };
        let Some(uid) = self.clients.get(&client).map(|client| Uid(client.peer.uid)) else { return };
        let of_uid = self.ledger.state().all().filter(|access| !all && access.asked_for().uid == uid);
        let wanted = Wanted {
            uid: (!all).then_some(uid.0),
            own: of_uid.map(|access| access.id().to_string()).collect(),
            id,
            user,
            after,
            since: since.and_then(|since| Timestamp::from_second(since).ok()),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        };
        self.ask_worker(client, Question::Log(wanted));
    }

    fn ask_worker(&mut self, client: u64, question: Question) {
        let Some(uid) = self.clients.get(&client).map(|client| Uid(client.peer.uid)) else { return };
        let of_account = self.asking.values().filter(|other| **other == uid).count();
        if self.asking.len() >= MAX_ASKING || of_account >= MAX_ASKING_OF_ACCOUNT {
            return self.fail(client, words::busy("other long questions are being answered"));
        }
        if self.worker.ask(client, question) {
            self.asking.insert(client, uid);
        } else {
            self.fail(client, fault(FaultCode::Internal, "cannot answer: the thread for questions is gone"));
        }
    }

    /// What the worker found out is told.
    pub(crate) fn settle_worker(&mut self) {
        for (client, answer) in self.worker.answered() {
            self.asking.remove(&client);
            self.answer(client, &answer);
        }
    }

    fn begin_apply(&mut self, client: u64, uid: u32, dry_run: bool, expect: Option<String>) {
        if uid != self.places.root {
            let fault = Fault {
                code: FaultCode::Duty,
                message: "cannot apply a policy: only root does".to_owned(),
                hint: Some("`jitctl policy check` needs no right".to_owned()),
            };
            return self.fail(client, fault);
        }
        let Some(channel) = self.clients.get(&client).map(|client| Rc::clone(&client.channel)) else { return };
        let number = self.number();
        match self.spawner.order(&ToSpawner::Apply { number, dry_run, expect }, Some(&channel)) {
            Ok(()) => {
                let until_ms = self.now_ms().saturating_add(self.patience.work_ms);
                self.pending.insert(number, Pending { client, what: What::Apply { dry_run }, until_ms });
            }
            Err(not_taken) => {
                let fault = self.not_taken(not_taken);
                self.fail(client, fault);
            }
        }
        self.watch_spawner();
    }

    /// The spawner's worker is done. What it put in force is in force here from now on.
    pub(crate) fn applied(&mut self, number: u64, outcome: ApplyOutcome) {
        let Some(pending) = self.pending.remove(&number) else {
            // Nobody waits any more, but the policy may be another one now.
            return self.reload_policy();
        };
        let What::Apply { dry_run } = pending.what else { return };
        let event = match &outcome {
            ApplyOutcome::Done(applied) if !dry_run => {
                self.reload_policy();
                Some(Event::PolicyApplied {
                    policy: applied.policy.clone(),
                    rules: applied.rules,
                    roles: applied.roles,
                    files: applied.files.clone(),
                    previous: applied.previous.clone(),
                })
            }
            ApplyOutcome::Refused { text, errors } if !dry_run => {
                let cause = text.lines().next().unwrap_or_default().chars().take(500).collect();
                Some(Event::PolicyRefused { cause, errors: *errors })
            }
            ApplyOutcome::Done(_) | ApplyOutcome::Refused { .. } | ApplyOutcome::Failed(_) => None,
        };
        match event {
            Some(event) => {
                let entry = self.stamp().entry_for(Some(Uid(self.places.root)), Some("root".to_owned()), event);
                let ticket = self.ledger.append(vec![entry], Priority::Essential);
                self.after.insert(ticket, After::Applied { client: pending.client, outcome });
            }
            None => self.tell_applied(pending.client, &outcome, !dry_run),
        }
    }

    /// Tells the outcome of an apply.
    pub(crate) fn tell_applied(&mut self, client: u64, outcome: &ApplyOutcome, in_force: bool) {
        let mut item = serde_json::to_value(outcome).unwrap_or_default();
        if let Some(Value::Object(done)) = item.get_mut("done") {
            done.insert("applied".to_owned(), Value::Bool(in_force));
        }
        self.give_items(client, vec![item]);
    }

    fn policy_status(&self) -> Value {
        let counts = self.policy.policy().map(|policy| policy.counts()).unwrap_or_default();
        let rules = counts.allows + counts.requires + counts.denies + counts.duties;
        let mut status = answers::policy_status(
            self.policy.digest(),
            rules as u64,
            counts.roles as u64,
            self.ledger.state().policy(),
        );
        if let (Some(trouble), Value::Object(fields)) = (self.policy.trouble(), &mut status) {
            fields.insert("trouble".to_owned(), Value::String(trouble.to_owned()));
        }
        status
    }

    fn status(&self) -> Value {
        let state = self.ledger.state();
        let running = |access: &&jitsudo_core::state::Access| {
            access.sessions().any(|session| answers::is_running(access, session))
        };
        let segments = std::fs::read_dir(self.ledger.dir()).map_or(0, |entries| {
            entries.flatten().filter(|entry| entry.file_name().to_string_lossy().ends_with(".jsonl")).count()
        });
        let (journald, syslog) = self.outputs.are_up();
        let up = |up: bool| if up { "up" } else { "down" };
        let head = self.ledger.head();
        let untrusted = || self.why_nothing_is_given().map(|cause| format!("{cause}; nothing is given"));
        let trouble = self.ledger.trouble().map(ToString::to_string).or_else(untrusted);
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "host": self.host,
            "enrolled": self.settings.host.is_some(),
            "boot": self.boot,
            "since": self.since,
            "policy": self.policy.digest(),
            "policy_trouble": self.policy.trouble(),
            "spawner": {
                "connected": self.spawner.policy().is_some(),
                "policy": self.spawner.policy().cloned().flatten(),
            },
            "ledger": {
                "seq": head.seq,
                "hash": head.hash.to_string(),
                "segments": segments,
                "sound": trouble.is_none(),
                "cause": trouble,
                "rolled_back": state.unacknowledged(),
                "signed": self.heads.status(),
            },
            "outputs": {"journald": up(journald), "syslog": up(syslog), "lost": self.outputs.lost()},
            "sessions": state.live_accesses().filter(running).count(),
            "connections": self.limits.connections(),
        })
    }
}

/// A request to run a command, as a question about it has it.
pub(crate) fn request(argv: Vec<Bytes>, user: Option<String>, group: Option<String>) -> Request {
    Request {
        kind: Kind::Command,
        argv,
        role: None,
        user,
        group,
        reason: None,
        ticket: None,
        window: None,
        timeout: None,
        break_glass: false,
        env_names: Vec::new(),
        cwd: None,
        terminal: true,
    }
}

fn duty_fault(what: &str, duty: &str) -> Fault {
    Fault {
        code: FaultCode::Duty,
        message: format!("cannot show {what}: that needs the duty `{duty}`"),
        hint: Some("without --all, or another account's name, it shows your own".to_owned()),
    }
}
