//! What is under way: questions to the spawner, and what follows once a batch is durable.

use jitsudo_core::event::EndCause;
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_core::name::Uid;
use jitsudo_link::spawner::{ApplyOutcome, Start, Wanted};
use jitsudo_protocol::act::Act;
use jitsudo_protocol::client::{Ask, Order};
use serde_json::Value;

use crate::approvals::signed::Handing;
use crate::locks::{Locking, Unlocking};

use crate::reviews::Review;

/// What the spawner was asked.
#[derive(Debug)]
pub(crate) struct Pending {
    /// For whom.
    pub(crate) client: u64,
    /// What.
    pub(crate) what: What,
    /// CLOCK_BOOTTIME milliseconds at which no answer is waited for any more.
    pub(crate) until_ms: u64,
}

impl Pending {
    /// What was given, or put in force, is to be heard of even when its client has gone.
    pub(crate) fn outlives_its_client(&self) -> bool {
        match self.what {
            What::Start(_) | What::Apply { .. } | What::Acknowledge(_) => true,
            What::End { .. } | What::Review(_) => true,
            // Taking away does not depend on who ordered it staying there.
            What::Lock(_) | What::Unlock(_) => true,
            What::Here { .. } | What::Tell(_) => true,
            // The spawner counts it from then on.
            What::Prove(_) => true,
            What::Weigh(_) | What::Activate(_) => false,
            What::Run(_) | What::Ask(_) | What::ExplainOther(_) | What::Forget | What::Order(_) => false,
        }
    }
}

/// See [`Pending`].
#[derive(Debug)]
pub(crate) enum What {
    /// Facts, to decide about this act.
    Run(Box<Act>),
    /// Facts with the program's content, to ask other people about this act.
    Weigh(Box<Act>),
    /// The same, to decide again about what they approved.
    Activate(AccessId),
    /// Who is here to be told that this waits.
    Here {
        /// What.
        id: AccessId,
        /// Also those who were told before.
        again: bool,
    },
    /// That people were told something of this.
    Tell(AccessId),
    /// Whose an answer is that was signed elsewhere.
    Prove(Box<Handing>),
    /// Facts, to answer this.
    Ask(Ask),
    /// Facts of another account, after its own showed that it may ask.
    ExplainOther(Ask),
    /// That an authentication is forgotten.
    Forget,
    /// A session.
    Start(Started),
    /// That a use of break-glass was reviewed.
    Review(Review),
    /// That an access ends.
    End {
        /// Which.
        id: AccessId,
        /// Its role, if it is one that is held.
        role: Option<String>,
        /// Why.
        cause: EndCause,
    },
    /// Facts, to see whether this order may be given.
    Order(Order),
    /// Facts of an account that is to be locked.
    Lock(Locking),
    /// That a lock is ended.
    Unlock(Unlocking),
    /// A policy.
    Apply {
        /// Only to see.
        dry_run: bool,
    },
    /// A signature of this head, on root's word.
    Acknowledge(Wanted),
}

/// A session that is being started, as far as its failure has to know it.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    pub(crate) session: SessionId,
    /// Under a role that is held: its end is not that of the access.
    pub(crate) held: bool,
    /// The extension of one: nothing of it is on record yet.
    pub(crate) extends: bool,
}

impl Started {
    pub(crate) fn of(start: &Start) -> Self {
        Self { session: start.session.clone(), held: start.held, extends: start.extends }
    }
}

/// What follows once a batch is durable or refused.
#[derive(Debug)]
pub(crate) enum After {
    /// The session may be started.
    Start(Box<Prepared>),
    /// Other people may be asked.
    Asked(AccessId),
    /// Somebody's yes counts.
    Approved {
        /// To what.
        id: AccessId,
        /// With it, enough people said so.
        enough: bool,
        /// Who handed it in, where it was signed elsewhere.
        handed_by: Option<u64>,
    },
    /// These spool files are in the ledger.
    Spool(Vec<String>),
    /// Accesses are over.
    Lost,
    /// A review counts.
    Reviewed {
        /// Whose.
        client: u64,
        /// Of which access.
        id: AccessId,
    },
    /// Root's acknowledgement counts.
    Acknowledged {
        /// Who gave it.
        client: u64,
    },
    /// This may be told.
    Told {
        /// To whom.
        client: u64,
        /// What.
        item: serde_json::Value,
    },
    /// A lock is on record, which holds already.
    Locked {
        /// Who ordered it.
        client: u64,
        /// The account.
        uid: Uid,
        /// What is answered.
        item: Value,
    },
    /// A lock is over.
    Unlocked {
        /// Who ordered it.
        client: u64,
        /// The account.
        uid: Uid,
        /// What is answered.
        item: Value,
    },
    /// The outcome may be told.
    Applied {
        /// To whom.
        client: u64,
        /// What.
        outcome: ApplyOutcome,
    },
}

/// A start that waits for its record.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) client: u64,
    pub(crate) act: Act,
    pub(crate) start: Start,
    /// A budget or a review counts it: what is like it waits until it does.
    pub(crate) counts: bool,
}
