//! Sessions: judged and started, heard, and what is done when one is gone.

use std::net::IpAddr;

use jitsudo_core::approval::Moment;
use jitsudo_core::event::{EndCause, Event};
use jitsudo_core::facts::{Fact, Origin};
use jitsudo_core::id::SessionId;
use jitsudo_core::name::{Gid, Uid};
use jitsudo_core::past::Unreviewed;
use jitsudo_link::facts::About;
use jitsudo_link::lent::Lending;
use jitsudo_link::marks::MARKS;
use jitsudo_link::session::{Authentication, Spec};
use jitsudo_link::spawner::{FromSpawner, Start};
use jitsudo_link::{SECURE_PATH, SPOOL, ends};
use jitsudo_protocol::act::{Act, ActKind};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::clock;

use super::eligible::Asked;
use super::held::now;
use super::{GRACE_MS, Spawner};
use crate::approvals::Said;
use crate::judge::{self, Judged, Now, Own};
use crate::remembered::{self, Key};
use crate::sessions::{Gone, Heard};
use crate::{grants, record};

impl Spawner {
    pub(super) fn start(&mut self, id: u64, number: u64, start: Start, connection: &Channel, act: &Act) {
        let moment = clock::now();
        let now = Now { wall: record::wall(moment), boottime_ms: moment.boottime_ms };
        let Some(look) = self.looked.take(connection, now.boottime_ms) else {
            self.refuse(id, number, &start, "nobody on that connection was looked at", true);
            return;
        };
        let about = jitsudo_link::ask::about(act, self.applied.policy.as_ref());
        let about = About { hash: start.approved.is_some() && jitsudo_link::approval::has_program(act), ..about };
        if look.about != about {
            self.refuse(id, number, &start, "the facts that were asked for are not those of the act", true);
            return;
        }
        let facts = &look.learnt.facts;
        let access = &start.session.access;
        if let Some(uid) = self.locks.on(self.applied.policy.as_ref(), facts) {
            self.refuse(id, number, &start, &format!("its requester is locked (uid {})", uid.0), true);
            return;
        }
        if !start.held && !start.extends && self.grants.knows(access) {
            self.refuse(id, number, &start, "that id is a role grant's", true);
            return;
        }
        let grant = self.grants.usable(access, now);
        let own = Own { grant, past: self.reviews.past() };
        let judged = match judge::judge(&self.applied, look.peer, facts, act, &start, own, now) {
            Ok(judged) => judged,
            Err(cause) => {
                self.refuse(id, number, &start, &cause, true);
                return;
            }
        };
        let judged = match &start.approved {
            Some(seal) if judged.terms.approvals != 0 => {
                let approved = self.approved(&look.learnt, act, (&start, seal), judged.terms, now);
                let narrowed = approved.and_then(|(terms, signed)| {
                    judge::check_end(&terms, facts, act, &start, None, now)?;
                    // Before anything is begun: it is used once, whatever becomes of it.
                    if signed { self.used.add(access).map(|()| terms) } else { Ok(terms) }
                });
                match narrowed {
                    Ok(terms) => Judged { terms, ..judged },
                    Err(cause) => return self.refuse(id, number, &start, &cause, true),
                }
            }
            Some(_) | None => judged,
        };
        self.approvals.used(&start.session.access);
        let yes = start.yes.clone().map(|yes| Said {
            yes,
            facts: facts.clone(),
            inside: look.learnt.inside,
            window: act.options.window,
            at: Moment { at: now.wall, boottime_ms: now.boottime_ms },
            signature: None,
        });
        let Some(process) = look.learnt.process else {
            self.refuse(id, number, &start, "the peer's process is not known", true);
            return;
        };
        let is_role = act.options.kind == ActKind::Role;
        let (uid, remember) = (look.peer.uid, act.options.remember);
        let key = Key::of(uid, &process, &look.learnt.facts.origin);
        let (authentication, when_settled) =
            self.remembered.needed(judged.terms.auth, uid, remember, key, now.boottime_ms, remembered::is_alive);
        let finish = ends::finish(&judged.terms, &jitsudo_link::ask::request(act), &look.learnt.facts);
        // Under a role that is held nothing new is used.
        if judged.terms.break_glass.is_some() && !start.held {
            let requester = &look.learnt.facts.requester;
            self.reviews.begin(Unreviewed {
                id: access.clone(),
                rule: judged.terms.rule.clone(),
                uid: requester.uid,
                user: requester.name.known().cloned(),
                loginuid: requester.loginuid.known().copied().flatten(),
                at: now.wall,
                proven: false,
            });
        }
        let start_by_ms = now.boottime_ms.saturating_add(judged.terms.start_by.saturating_mul(1000));
        let asked = (act.options.kind == ActKind::Role).then(|| Asked {
            facts: look.learnt.facts.clone(),
            request: jitsudo_link::ask::request(act),
            rule: judged.terms.rule.clone(),
            start_by_ms,
        });
        let spec = Spec {
            session: start.session.clone(),
            host: self.host.clone(),
            digest: start.digest.clone(),
            peer: look.peer,
            requester: look.learnt.facts.requester,
            target: judged.target,
            executable: judged.executable,
            authentication,
            remember,
            remote: address(&look.learnt.facts.origin),
            run_as: judged.terms.run_as,
            record: judged.terms.record,
            secret_arguments: judged.terms.secret_arguments,
            ends_at: start.ends_at,
            ends_boottime_ms: start.ends_boottime_ms,
            grace_ms: GRACE_MS,
            finish_ms: finish.saturating_mul(1000),
            warn: judged.terms.warn.clone(),
            process,
            cgroup: None,
            supervisor: None,
            pam_service: if act.options.kind == ActKind::LoginShell { "jitsudo-i" } else { "jitsudo" }.to_owned(),
            secure_path: SECURE_PATH.to_owned(),
            spool: SPOOL.to_owned(),
            marks: MARKS.to_owned(),
            held: start.held,
            lent: if is_role { Vec::new() } else { start.groups.iter().map(|group| group.gid).collect() },
            start_by_ms: Some(start_by_ms),
            latest: start.held.then_some(judged.latest),
            extends: start.extends,
        };
        if start.extends {
            let extension = self.extension_of(&start, act);
            self.grants.ask_more(extension);
        } else if is_role {
            if !self.grants.has_room_for(uid) {
                let cause = format!("this account holds {} roles already", grants::MAX_OF_ACCOUNT);
                self.reviews.end(&start.session.access);
                self.refuse(id, number, &start, &cause, false);
                return;
            }
            self.comparison.begin(&start.session.access, now);
            self.grants.ask(self.grant_of(&start, &spec, act));
            self.asked.extend(asked.map(|asked| (start.session.access.clone(), asked)));
        }
        let lending = lending(&spec);
        if let Some(Err(error)) = lending.map(|lending| self.escapes.lend(lending)) {
            self.grants.give_up(&start.session.access);
            self.reviews.end(&start.session.access);
            let cause = format!("cannot note which groups are lent: {error}");
            self.refuse(id, number, &start, &cause, false);
            return;
        }
        let (access, proves) = (start.session.access.clone(), spec.authentication == Authentication::Needed);
        if let Some(said) = yes {
            self.approvals.ask(start.session.clone(), said);
        }
        match self.sessions.start(spec, look.learnt.facts.origin, when_settled, connection) {
            Ok(pid) => {
                if !proves {
                    self.uses_break_glass(&access);
                }
                jitsudo_sys::failpoint::reach("spawner.session.handed");
                self.say(id, &FromSpawner::Started { number, pid });
            }
            Err(cause) => {
                if start.extends {
                    self.grants.no_more(&start.session.access);
                } else {
                    self.grants.give_up(&start.session.access);
                }
                self.escapes.not_begun(&start.session);
                self.approvals.give_up(&start.session);
                self.asked.remove(&start.session.access);
                self.reviews.end(&start.session.access);
                self.refuse(id, number, &start, &cause, false);
            }
        }
    }

    pub(super) fn refuse(&mut self, id: u64, number: u64, start: &Start, cause: &str, disagree: bool) {
        if disagree {
            self.recorder
                .record(Event::SpawnerRefused { id: Some(start.session.access.clone()), cause: cause.to_owned() });
        }
        if start.session.number > 0 && !start.held {
            self.comparison.forget(&start.session.access);
        }
        self.say(id, &FromSpawner::StartRefused { number, cause: cause.to_owned(), disagree });
        if disagree {
            self.say_to_all(&FromSpawner::Spooled);
        }
    }

    pub(super) fn heard(&mut self, session: &SessionId, heard: Heard) {
        match heard {
            Heard::Nothing | Heard::Quiet => {}
            Heard::Spooled => self.say_to_all(&FromSpawner::Spooled),
            Heard::Settled(what) => {
                what.into_iter().for_each(|what| self.remembered.settled(what, clock::boottime_ms()));
                self.uses_break_glass(&session.access);
            }
            Heard::Proved if self.approvals.knows(session) => self.said_yes(session),
            Heard::Proved => self.proved(session),
            Heard::Extended(ends_boottime_ms) => self.session_has_new_end(session, ends_boottime_ms),
        }
    }

    pub(super) fn session_ended(&mut self, session: &SessionId) {
        // What it said last counts.
        loop {
            match self.sessions.readable(session) {
                Heard::Quiet => break,
                heard => self.heard(session, heard),
            }
        }
        let traces = self.sessions.traces_of(session);
        self.approvals.give_up(session);
        let mut gone = self.sessions.ended(session);
        self.reviews.end(&session.access);
        self.asked.remove(&session.access);
        if session.number > 0 && !self.grants.is_held(&session.access) && self.comparison.knows(&session.access) {
            self.comparison.end(session.access.clone(), now());
        }
        if let Some(traces) = traces {
            self.escapes.session_ended(session, traces, clock::boottime_ms());
        }
        if session.number == 0 {
            self.grants.no_more(&session.access);
            // It has said why by itself, unless it crashed.
            if self.grants.give_up(&session.access) && gone == Some(Gone::Lost) {
                let cause = "jitsudo-session is gone without a word".to_owned();
                self.recorder.record(Event::ActivationFailed { id: session.access.clone(), cause });
            }
            gone = gone.map(|_| Gone::Tidy);
        } else if session.number == 0 && self.grants.is_activating(&session.access) {
            self.fail_to_activate(&session.access, "its requester did not wait for it");
        }
        match gone {
            None => return,
            Some(Gone::Tidy) => {}
            // The grant ends by itself, at its own time.
            Some(Gone::Lost) if self.grants.is_held(&session.access) => {}
            Some(Gone::Lost) => {
                self.recorder.record(Event::Ended { id: session.access.clone(), cause: EndCause::Lost });
                self.recorder.record(Event::Closed { id: session.access.clone() });
            }
            Some(Gone::Stuck) => {
                let cause = "processes of the command cannot be killed".to_owned();
                self.recorder.record(Event::CleanupFailed { id: session.access.clone(), cause });
            }
        }
        self.say_to_all(&FromSpawner::Spooled);
        self.say_to_all(&FromSpawner::SessionGone { session: session.clone() });
    }
}

/// What a session is lent that its account has not by itself, by the databases or by its login (pam_group). Root needs no group, and
/// nothing of root's is ever looked for.
fn lending(spec: &Spec) -> Option<Lending> {
    let carried = spec.requester.process_groups.known().filter(|_| spec.requester.uid == spec.target.uid);
    let own = |gid: &Gid| {
        let carries = carried.is_some_and(|groups| groups.iter().any(|group| group.gid == *gid));
        (carries || spec.target.groups.contains(gid)) && !spec.requester.lent_groups.contains(gid)
    };
    let gids: Vec<Gid> = spec.lent.iter().copied().filter(|gid| !own(gid)).collect();
    let noted = !gids.is_empty() && spec.target.uid != Uid::ROOT;
    noted.then(|| Lending { session: spec.session.clone(), uid: spec.target.uid, gids })
}

/// The address that a login came from, where root recorded one.
fn address(origin: &Fact<Origin>) -> Option<IpAddr> {
    let Fact::Is(Origin { address: Fact::Is(address), .. }) = origin else { return None };
    *address
}
