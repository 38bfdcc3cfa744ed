//! A request that waits for other people: what it waits for, what was answered, and the one way in which that ends.
//!
//! ```text
//! allowed ─► waiting ─► approved ─► activating
//!              └──────────┴► refused, lapsed, withdrawn, denied (by a new decision)
//! ```
//!
//! The fold keeps the order; whether the answers are enough is [`crate::approval`]'s to say, and is said again when it is activated.
//!
//! MUSTs
//! 1. The first end is the only one, in whatever order events come (`approval_05_waiting_request_ends_once`).
//! 2. Nothing is activated while it waits (`nothing_is_activated_before_enough_said_yes`).
//! 3. An answer to another digest, or a second one of the same account, changes nothing (`approval_01_*`, `approval_05_*`).
//! 4. Whoever answers is given nothing by it (`approving_gives_no_right`).

use serde::{Deserialize, Serialize};

use super::Impossible;
use super::access::{Access, Allowed, Asked, Denied, Ends, clipped};
use crate::approval::{Limits, MAX_ANSWERS, Proof};
use crate::event::{Entry, Event};
use crate::name::Uid;

/// Requests of one account that may wait at once.
pub const MAX_WAITING_OF_ACCOUNT: usize = 20;
/// Requests that may wait at once.
pub const MAX_WAITING: usize = 2000;
/// Names of approvers that are remembered.
const MAX_APPROVERS: usize = 64;

/// No more may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TooManyWait {
    /// Of this account.
    OfAccount,
    /// In all.
    InAll,
}

/// What other people are asked about, and what they said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Waiting {
    /// On whose word it may be asked about.
    pub allowed: Allowed,
    /// Since when.
    pub since: jiff::Timestamp,
    /// The same on CLOCK_BOOTTIME, milliseconds.
    pub since_boottime_ms: u64,
    /// What they are asked to say yes to, hex.
    pub digest: String,
    /// Random bytes in it, hex.
    pub nonce: String,
    /// Who is asked, as the policy writes it.
    pub approvers: Vec<String>,
    /// The fewest persons that can give it.
    pub persons: u32,
    /// Answers count until then.
    pub answer_by: Ends,
    /// Seconds within which it must be used then.
    pub use_by: u64,
    /// Who said yes.
    pub yes: Vec<Yes>,
}

/// Somebody's yes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Yes {
    /// When.
    pub at: jiff::Timestamp,
    /// The same on CLOCK_BOOTTIME, milliseconds.
    pub boottime_ms: u64,
    /// The account.
    pub uid: Uid,
    /// Its name.
    pub user: Option<String>,
    /// The person behind it.
    pub person: Option<String>,
    /// How they proved who they are.
    pub proof: Proof,
    /// What they added.
    pub limits: Limits,
}

/// Enough people said yes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Approved {
    /// To what, and who.
    pub waiting: Waiting,
    /// When the last of them did.
    pub at: jiff::Timestamp,
    /// It must be used before that.
    pub use_by: Ends,
}

/// Somebody said no.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// To what.
    pub waiting: Waiting,
    /// When.
    pub at: jiff::Timestamp,
    /// The account.
    pub uid: Uid,
    /// Its name.
    pub user: Option<String>,
    /// Why, shortened to 512 bytes.
    pub reason: String,
}

/// Its time went by.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lapsed {
    /// What had been asked.
    pub waiting: Waiting,
    /// Enough people had said yes, and nobody used it.
    pub unused: bool,
    /// When.
    pub at: jiff::Timestamp,
}

/// Its requester took it back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Withdrawn {
    /// What had been asked.
    pub asked: Asked,
    /// When.
    pub at: jiff::Timestamp,
}

impl Waiting {
    /// What all who said yes added to it.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.yes.iter().fold(Limits::default(), |limits, yes| limits.and(yes.limits))
    }
}

/// What an event makes of an access, and whether it could be.
type Moved = (Access, Result<(), Impossible>);

impl Access {
    pub(super) fn wait(self, entry: &Entry) -> Moved {
        let Event::Asked { digest, nonce, approvers, persons, answer_by, answer_by_boottime_ms, use_by, .. } =
            &entry.event
        else {
            return (self, Err(Impossible::Again));
        };
        let allowed = match self {
            Self::Allowed(allowed) => allowed,
            early @ Self::Asked(_) => return (early, Err(Impossible::TooEarly)),
            again @ (Self::Waiting(_) | Self::Approved(_)) => return (again, Err(Impossible::Again)),
            late => return (late, Err(Impossible::TooLate)),
        };
        let waiting = Waiting {
            allowed,
            since: entry.wall,
            since_boottime_ms: entry.boottime_ms,
            digest: digest.clone(),
            nonce: nonce.clone(),
            approvers: approvers.iter().take(MAX_APPROVERS).map(|name| clipped(name)).collect(),
            persons: *persons,
            answer_by: Ends { at: *answer_by, boottime_ms: *answer_by_boottime_ms, boot: entry.boot.clone() },
            use_by: *use_by,
            yes: Vec::new(),
        };
        (Self::Waiting(waiting), Ok(()))
    }

    pub(super) fn approve(self, entry: &Entry) -> Moved {
        let Event::Approved { uid, user, person, digest, proof, limits, enough, .. } = &entry.event else {
            return (self, Err(Impossible::Again));
        };
        let mut waiting = match self {
            Self::Waiting(waiting) => waiting,
            early @ (Self::Asked(_) | Self::Allowed(_)) => return (early, Err(Impossible::TooEarly)),
            late => return (late, Err(Impossible::TooLate)),
        };
        let why = if *digest != waiting.digest {
            Some(Impossible::AnotherDigest)
        } else if waiting.answer_by.is_over(entry.wall, entry.boottime_ms, &entry.boot) {
            Some(Impossible::TooLate)
        } else if waiting.yes.iter().any(|yes| yes.uid == *uid) {
            Some(Impossible::Again)
        } else if waiting.yes.len() >= MAX_ANSWERS {
            Some(Impossible::TooMany)
        } else {
            None
        };
        if let Some(why) = why {
            return (Self::Waiting(waiting), Err(why));
        }
        waiting.yes.push(Yes {
            at: entry.wall,
            boottime_ms: entry.boottime_ms,
            uid: *uid,
            user: user.clone(),
            person: person.clone(),
            proof: *proof,
            limits: *limits,
        });
        if !*enough {
            return (Self::Waiting(waiting), Ok(()));
        }
        let until = i64::try_from(waiting.use_by).map(jiff::SignedDuration::from_secs);
        let at = until.ok().and_then(|until| entry.wall.checked_add(until).ok()).unwrap_or(jiff::Timestamp::MAX);
        let boottime_ms = entry.boottime_ms.saturating_add(waiting.use_by.saturating_mul(1000));
        let use_by = Ends { at, boottime_ms, boot: entry.boot.clone() };
        (Self::Approved(Approved { waiting, at: entry.wall, use_by }), Ok(()))
    }

    /// A no counts until something is given, also after enough said yes: taking away is never too early.
    pub(super) fn refuse(self, entry: &Entry) -> Moved {
        let Event::Refused { uid, user, reason, .. } = &entry.event else {
            return (self, Err(Impossible::Again));
        };
        match self {
            Self::Waiting(waiting) | Self::Approved(Approved { waiting, .. }) => {
                let (user, reason) = (user.clone(), clipped(reason));
                (Self::Refused(Refused { waiting, at: entry.wall, uid: *uid, user, reason }), Ok(()))
            }
            early @ (Self::Asked(_) | Self::Allowed(_)) => (early, Err(Impossible::TooEarly)),
            late => (late, Err(Impossible::TooLate)),
        }
    }

    pub(super) fn lapse(self, at: jiff::Timestamp) -> Moved {
        match self {
            Self::Waiting(waiting) => (Self::Lapsed(Lapsed { waiting, unused: false, at }), Ok(())),
            Self::Approved(Approved { waiting, .. }) => (Self::Lapsed(Lapsed { waiting, unused: true, at }), Ok(())),
            early @ (Self::Asked(_) | Self::Allowed(_)) => (early, Err(Impossible::TooEarly)),
            late => (late, Err(Impossible::TooLate)),
        }
    }

    pub(super) fn withdraw(self, at: jiff::Timestamp) -> Moved {
        match self {
            Self::Asked(asked)
            | Self::Allowed(Allowed { asked, .. })
            | Self::Waiting(Waiting { allowed: Allowed { asked, .. }, .. })
            | Self::Approved(Approved { waiting: Waiting { allowed: Allowed { asked, .. }, .. }, .. }) => {
                (Self::Withdrawn(Withdrawn { asked, at }), Ok(()))
            }
            // It waits for the proof of who asks: that nothing came of it says the spawner.
            activating @ Self::Activating(_) => (activating, Ok(())),
            late => (late, Err(Impossible::TooLate)),
        }
    }

    /// A decision on what waits: it goes on by the new one's word, or is denied.
    pub(super) fn decide_again(self, entry: &Entry) -> Self {
        let Event::Decided { allowed, rule, source, role, policy, denial, counted, break_glass, .. } = &entry.event
        else {
            return self;
        };
        let by = |was: Allowed| Allowed {
            asked: was.asked,
            at: entry.wall,
            rule: rule.clone(),
            source: source.clone(),
            role: role.clone(),
            policy: policy.clone(),
            counted: *counted,
            break_glass: break_glass.is_some(),
        };
        let no = |was: Allowed| {
            Self::Denied(Denied { asked: was.asked, at: entry.wall, policy: policy.clone(), denial: denial.clone() })
        };
        match self {
            Self::Waiting(Waiting { allowed: was, .. }) if !*allowed => no(was),
            Self::Approved(Approved { waiting: Waiting { allowed: was, .. }, .. }) if !*allowed => no(was),
            Self::Waiting(waiting) => Self::Waiting(Waiting { allowed: by(waiting.allowed), ..waiting }),
            Self::Approved(approved) => {
                let waiting = Waiting { allowed: by(approved.waiting.allowed), ..approved.waiting };
                Self::Approved(Approved { waiting, ..approved })
            }
            other => other,
        }
    }
}
