//! Requests that other people said yes to: heard here, and compared by own facts with what is to be started.

use jitsudo_core::approval::{
    Answer, Case, Limits, Moment, Said as Asked, asking_by, is_as_good_as_root, may_be_one_person,
};
use jitsudo_core::decision::Terms;
use jitsudo_core::id::SessionId;
use jitsudo_core::name::Uid;
use jitsudo_link::approval::{Request, Seal, Wish, card_of, digest_of, fingerprint};
use jitsudo_link::facts::Learnt;
use jitsudo_link::session::SpawnerToSession;
use jitsudo_link::spawner::{FromSpawner, Start};
use jitsudo_link::{HOST_PUBLIC_KEY, STATE};
use jitsudo_protocol::act::Act;
use jitsudo_sys::clock;

use super::Spawner;
use crate::approvals::Said;
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

    /// Terms with what the approvers added, and whether one of them signed, if enough of them said yes to exactly this, here; in words why
    /// not.
    pub(super) fn approved(
        &self,
        learnt: &Learnt,
        act: &Act,
        (start, seal): (&Start, &Seal),
        terms: Terms,
        now: Now,
    ) -> Result<(Terms, bool), String> {
        let Some(policy) = &self.applied.policy else { return Err("no policy is applied".to_owned()) };
        let (facts, id) = (&learnt.facts, &start.session.access);
        let wanted = jitsudo_link::ask::request(act);
        let past = self.reviews.past();
        let Some(asking) = asking_by(Some(policy), facts, &wanted, past, &start.rule, now.wall) else {
            return Err("the applied policy asks nobody about it".to_owned());
        };
        let host_key = host_key();
        let request = Request {
            host_key: &host_key,
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
        };
        let digest = digest_of(&request)?;
        // When it was asked follows from what the approvers were shown; the decider's word on it is not needed.
        let wait = i64::try_from(asking.answer_by).map(jitsudo_core::SignedDuration::from_secs).unwrap_or_default();
        let since = seal.answer_by.checked_sub(wait).map_err(|error| error.to_string())?;
        let ago = u64::try_from(now.wall.duration_since(since).as_millis()).unwrap_or(0);
        let since = Moment { at: since, boottime_ms: now.boottime_ms.saturating_sub(ago) };
        let card = |said: &Said| card_of(&request, &self.host, &digest, Asked::Yes(said.window));
        let said: Vec<&Said> =
            self.approvals.to(id, &digest).filter(|said| self.still_counts(policy, said, || card(said))).collect();
        let answers: Vec<Answer<'_>> = said
            .iter()
            .map(|said| Answer {
                approver: &said.facts,
                inside: said.inside,
                proof: said.proof(),
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
        // Those that count, as the decider counts them: the first of each person.
        let counted = case.tally(&answers).counted;
        let counting = || said.iter().zip(&counted).filter(|(_, counts)| counts.is_ok()).map(|(said, _)| said);
        let limits = counting().map(|said| Limits { window: said.window, record: None });
        let narrowed = limits.fold(Limits::default(), Limits::and).narrow(terms);
        // The first to count may be a person's local yes: what was signed beside it is used as well.
        let signed = said.iter().any(|said| said.signature.is_some());
        Ok((narrowed, signed))
    }
}

/// The fingerprint of the host's key; empty before there is one.
fn host_key() -> String {
    let path = std::path::Path::new(STATE).join(HOST_PUBLIC_KEY);
    std::fs::read_to_string(path).ok().as_deref().and_then(fingerprint).unwrap_or_default()
}
