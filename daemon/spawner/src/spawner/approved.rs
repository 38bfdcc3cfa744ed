//! Requests that other people said yes to: heard here, and compared by own facts with what is to be started.

use jitsudo_core::approval::{Answer, Case, Limits, Moment, Proof, asking_by, is_as_good_as_root, may_be_one_person};
use jitsudo_core::decision::{Auth, Terms};
use jitsudo_core::id::SessionId;
use jitsudo_core::name::Uid;
use jitsudo_link::approval::{Request, Seal, Wish, digest_of, fingerprint};
use jitsudo_link::facts::Learnt;
use jitsudo_link::session::SpawnerToSession;
use jitsudo_link::spawner::{FromSpawner, Start};
use jitsudo_link::{HOST_PUBLIC_KEY, STATE};
use jitsudo_protocol::act::Act;
use jitsudo_sys::clock;

use super::Spawner;
use crate::judge::Now;
use crate::record;

impl Spawner {
    /// An approver has proven who they are.
    pub(super) fn said_yes(&mut self, session: &SessionId) {
        let moment = clock::now();
        let at = Moment { at: record::wall(moment), boottime_ms: moment.boottime_ms };
        let word = if self.approvals.proved(session, at) {
            // Before the approver hears of it: what they said yes to may begin.
            self.say_to_all(&FromSpawner::SaidYes { session: session.clone() });
            SpawnerToSession::Approved
        } else {
            SpawnerToSession::NotActivated("too many answers are remembered here".to_owned())
        };
        self.sessions.say(session, &word);
    }

    /// Terms with what the approvers added, if enough of them said yes to exactly this, here; in words why not.
    pub(super) fn approved(
        &self,
        learnt: &Learnt,
        act: &Act,
        (start, seal): (&Start, &Seal),
        terms: Terms,
        now: Now,
    ) -> Result<Terms, String> {
        let Some(policy) = &self.applied.policy else { return Err("no policy is applied".to_owned()) };
        let (facts, id) = (&learnt.facts, &start.session.access);
        let request = jitsudo_link::ask::request(act);
        let past = self.reviews.past();
        let Some(asking) = asking_by(Some(policy), facts, &request, past, &start.rule, now.wall) else {
            return Err("the applied policy asks nobody about it".to_owned());
        };
        let digest = digest_of(&Request {
            host_key: &host_key(),
            boot: self.grants.boot(),
            seal,
            wish: Wish {
                id,
                facts,
                process: learnt.process.as_ref(),
                program: learnt.program.as_ref(),
                act,
                terms: &terms,
            },
            policy,
        })?;
        // When it was asked follows from what the approvers were shown; the decider's word on it is not needed.
        let wait = i64::try_from(asking.answer_by).map(jitsudo_core::SignedDuration::from_secs).unwrap_or_default();
        let since = seal.answer_by.checked_sub(wait).map_err(|error| error.to_string())?;
        let ago = u64::try_from(now.wall.duration_since(since).as_millis()).unwrap_or(0);
        let since = Moment { at: since, boottime_ms: now.boottime_ms.saturating_sub(ago) };
        let said: Vec<_> = self.approvals.to(id, &digest).collect();
        let answers: Vec<Answer<'_>> = said
            .iter()
            .map(|said| Answer {
                approver: &said.facts,
                inside: said.inside,
                proof: Proof::Local(Auth::Fresh),
                digest: &said.yes.digest,
                at: said.at,
            })
            .collect();
        let powerful = self.grants.all().any(|grant| {
            is_as_good_as_root(policy, &grant.role)
                && may_be_one_person(policy, facts, Uid(grant.requester), grant.user.as_deref())
        });
        let case = Case { policy, requester: facts, asking: &asking, digest: &digest, since, powerful };
        let last = said.iter().map(|said| said.at).max_by_key(|at| at.boottime_ms);
        let Some(last) = last else { return Err("nobody said yes to it here".to_owned()) };
        let moment = Moment { at: now.wall, boottime_ms: now.boottime_ms };
        case.may_activate(&answers, last, (&terms, &terms), moment).map_err(|why| format!("{why:?}"))?;
        let limits = said
            .iter()
            .fold(Limits::default(), |limits, said| limits.and(Limits { window: said.window, record: None }));
        Ok(limits.narrow(terms))
    }
}

/// The fingerprint of the host's key; empty before there is one.
fn host_key() -> String {
    let path = std::path::Path::new(STATE).join(HOST_PUBLIC_KEY);
    std::fs::read_to_string(path).ok().as_deref().and_then(fingerprint).unwrap_or_default()
}
