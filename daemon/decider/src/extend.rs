//! More time for a role that is held: decided here, and again by the spawner, as a start is. Nothing is written before: who asks has still to
//! prove it, and the spawner records the new end, durably, before it moves anything.
//!
//! MUSTs
//! 1. Only the requester's own role that is not over (host test `extension_moves_*`).
//! 2. The new end is the evaluation's (`core::extension`), never the client's word (`extension_is_started_with_the_new_end_*`).

use jitsudo_core::decision::{Cause, Denial};
use jitsudo_core::extension::{self, Now, Span, Wish};
use jitsudo_core::facts::{Fact, Facts};
use jitsudo_core::id::SessionId;
use jitsudo_core::name::Uid;
use jitsudo_core::request::Kind;
use jitsudo_core::state::Given;
use jitsudo_link::facts::{Peer, Process};
use jitsudo_link::spawner::Start;
use jitsudo_protocol::act::Act;
use jitsudo_protocol::client::{Fault, FaultCode, FromDecider};
use jitsudo_protocol::digest;

use crate::accesses;
use crate::client::{fault, malformed};
use crate::daemon::{Daemon, wall};
use crate::orders::held;
use crate::record::Asked;
use crate::words;
use crate::work::Prepared;

impl Daemon {
    /// Decides about an extension; `asked` is recorded if it is denied.
    pub(crate) fn decide_extension(
        &mut self,
        client: u64,
        act: Act,
        peer: Peer,
        facts: &Facts,
        process: Option<&Process>,
        locked: Option<Box<Denial>>,
    ) {
        let mut request = jitsudo_link::ask::request(&act);
        let Some(text) = act.options.extends.clone().filter(|_| request.kind == Kind::Role) else {
            return self.fail(client, malformed("cannot extend: only a role is extended"));
        };
        let (id, role, outcome) = match self.extension(&text, peer, facts, &act) {
            Ok(found) => found,
            Err(fault) => return self.fail(client, fault),
        };
        let outcome = locked.map_or(outcome, Err);
        let outcome = outcome.and_then(|start| match start.1 {
            0 => Ok(start.0),
            _ => Err(Box::new(Denial {
                cause: Cause::NotSupported,
                detail: vec!["the rule needs approval".to_owned()],
                by: None,
            })),
        });
        match outcome {
            Ok(start) => self.recorded(Prepared { client, act, start, counts: false }, Ok(())),
            Err(denial) => {
                let Some(fresh) = self.fresh_id() else {
                    let words = "cannot make an id: the kernel has no random bytes";
                    return self.fail(client, fault(FaultCode::Internal, words));
                };
                let digest = digest::of_act(peer.uid, &act);
                let policy = self.policy.digest().unwrap_or_default().to_owned();
                request.role = Some(role.clone());
                let asked =
                    Asked { id: &fresh, peer, facts, process, request: &request, digest: &digest, policy: &policy };
                let mut denied = self.record_denial(&asked, &denial);
                denied.headline =
                    format!("not extended: role {} ({id})", jitsudo_bytes::Bytes::from(role.as_str()).visible());
                self.answer(client, &[FromDecider::Denied(denied)]);
            }
        }
    }

    /// The id and the role that are meant, and either the start with the persons that it needs, or why not.
    #[expect(clippy::type_complexity, reason = "one caller, which takes it apart at once")]
    fn extension(
        &self,
        text: &str,
        peer: Peer,
        facts: &Facts,
        act: &Act,
    ) -> Result<(String, String, Result<(Start, u32), Box<Denial>>), Fault> {
        let state = self.ledger.state();
        let shown = jitsudo_bytes::Bytes::from(text).visible();
        let nothing = |what: &str| Fault {
            code: FaultCode::NotFound,
            message: format!("cannot extend {shown}: {what}"),
            hint: Some("`jitctl grants` shows what you hold; `jitctl request ROLE` asks anew".to_owned()),
        };
        let access = accesses::find(state, text, Some(Uid(peer.uid)))?;
        let access = access.ok_or_else(|| nothing("you hold nothing of that id"))?;
        let (now, now_ms) = (wall(self.moment), self.now_ms());
        let given = state.held_by(Uid(peer.uid)).find(|given| given.allowed.asked.id == *access.id());
        let given: &Given = match given {
            Some(given) if given.ends.is_over(now, now_ms, &self.boot) => return Err(nothing("it is over")),
            Some(given) => given,
            None if access.asked_for().kind != Kind::Role => {
                return Err(nothing("it is a single command; only roles are extended"));
            }
            None if access.is_live() => return Err(nothing("it is not held, or ending already")),
            None => return Err(nothing("it is over")),
        };
        if given.allowed.asked.user.as_ref() != facts.requester.name.known() {
            return Err(nothing("it is another account's"));
        }
        if !self.spawner.can_extend() {
            return Err(Fault {
                code: FaultCode::NotSupported,
                message: "cannot extend: jitsudo-spawn is of an older version".to_owned(),
                hint: Some("systemctl restart jitsudo-spawn (running commands go on)".to_owned()),
            });
        }
        if let Some(cause) = self.why_nothing_is_given() {
            return Err(words::untrusted_ledger(&cause));
        }
        if let Some(trouble) = self.ledger.trouble() {
            return Err(words::ledger_fault(trouble));
        }
        let (Some(policy), Fact::Is(Some(target))) = (self.policy.policy(), &facts.target) else {
            return Err(fault(FaultCode::Policy, "cannot extend: no policy is in force"));
        };
        let held = held(given);
        let span = Span { ends: &given.ends, first_end: given.first_end() };
        let wish = Wish { seconds: act.options.window, reason: act.options.reason.as_deref() };
        let clocks = Now { wall: now, boottime_ms: now_ms };
        let decided = extension::decide(policy, facts, held, span, wish, state.past(), clocks);
        let id = access.id();
        let start = decided.map(|extension| {
            let start = Start {
                session: SessionId { access: id.clone(), number: 0 },
                requester: peer.uid,
                digest: digest::of_act(peer.uid, act),
                policy: self.policy.digest().unwrap_or_default().to_owned(),
                rule: held.rule.to_owned(),
                role: held.role.to_owned(),
                target: target.uid.0,
                ends_at: extension.ends.at,
                ends_boottime_ms: extension.ends.boottime_ms,
                approved: None,
                yes: None,
                held: false,
                groups: Vec::new(),
                extends: true,
            };
            (start, extension.terms.approvals)
        });
        Ok((id.short().to_owned(), held.role.to_owned(), start))
    }
}
