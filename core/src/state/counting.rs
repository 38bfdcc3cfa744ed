//! What of an access counts later: against a budget, and until it is reviewed.

use super::{Access, Impossible, State};
use crate::event::{Ending, Entry, Event};
use crate::id::AccessId;
use crate::past::{Unreviewed, Use, accounts};

impl State {
    /// Counts an event that was taken.
    pub(super) fn count(&mut self, entry: &Entry) -> Result<(), Impossible> {
        match &entry.event {
            Event::Activating { id, .. } => self.begin_to_count(id),
            Event::Extended { id, ends_at, .. } => {
                self.past.extend(id, *ends_at);
                Ok(())
            }
            Event::Authenticated { session, .. } => {
                self.past.prove(&session.access);
                Ok(())
            }
            Event::ActivationFailed { id, .. } => {
                self.past.forget(id);
                Ok(())
            }
            Event::Ended { id, .. } => {
                if self.access(id).is_some_and(has_run_nothing) {
                    self.past.nothing_ran(id);
                }
                self.past.end(id, entry.wall);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begin_to_count(&mut self, id: &AccessId) -> Result<(), Impossible> {
        let Some(given) = self.accesses.get(id).and_then(Access::given) else { return Ok(()) };
        let (allowed, asked) = (&given.allowed, &given.allowed.asked);
        let rule = allowed.rule.clone().unwrap_or_default();
        let own = (asked.uid, asked.user.as_deref());
        let mut has_room = true;
        if let Some(keep) = allowed.counted {
            let account = accounts(own, asked.loginuid.filter(|_| asked.uid.0 == 0).map(|uid| (uid, None))).next();
            let (uid, user) = account.unwrap_or(own);
            let new = Use {
                id: id.clone(),
                rule: rule.clone(),
                uid,
                user: user.map(str::to_owned),
                count: 1,
                since: given.since,
                newest: given.since,
                until: given.ends.at.max(given.since),
                keep,
            };
            has_room &= self.past.count(new);
        }
        if allowed.break_glass {
            has_room &= self.past.wait_for_review(Unreviewed {
                id: id.clone(),
                rule,
                uid: asked.uid,
                user: asked.user.clone(),
                loginuid: asked.loginuid,
                at: given.since,
                proven: false,
            });
        }
        if has_room { Ok(()) } else { Err(Impossible::TooMany) }
    }
}

/// A command that could not be started is no use of what would have given it.
fn has_run_nothing(access: &Access) -> bool {
    let is_role = access.given().is_some_and(super::Given::is_role);
    let mut sessions = access.sessions().peekable();
    !is_role
        && sessions.peek().is_some()
        && sessions.all(|session| {
            session.outcome.as_ref().is_some_and(|outcome| matches!(outcome.ending, Ending::NotStarted(_)))
        })
}
