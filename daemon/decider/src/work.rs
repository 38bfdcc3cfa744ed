//! What is under way: questions to the spawner, and what follows once a batch is durable.

use jitsudo_core::id::AccessId;
use jitsudo_link::spawner::{ApplyOutcome, Start, Wanted};
use jitsudo_protocol::act::Act;
use jitsudo_protocol::client::Ask;

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
            What::Run(_) | What::Ask(_) | What::ExplainOther(_) | What::Forget => false,
        }
    }
}

/// See [`Pending`].
#[derive(Debug)]
pub(crate) enum What {
    /// Facts, to decide about this act.
    Run(Box<Act>),
    /// Facts, to answer this.
    Ask(Ask),
    /// Facts of another account, after its own showed that it may ask.
    ExplainOther(Ask),
    /// That an authentication is forgotten.
    Forget,
    /// A session.
    Start(AccessId),
    /// A policy.
    Apply {
        /// Only to see.
        dry_run: bool,
    },
    /// A signature of this head, on root's word.
    Acknowledge(Wanted),
}

/// What follows once a batch is durable or refused.
#[derive(Debug)]
pub(crate) enum After {
    /// The session may be started.
    Start(Box<Prepared>),
    /// These spool files are in the ledger.
    Spool(Vec<String>),
    /// Accesses are over.
    Lost,
    /// Root's acknowledgement counts.
    Acknowledged {
        /// Who gave it.
        client: u64,
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
}
