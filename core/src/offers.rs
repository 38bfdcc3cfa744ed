//! What a requester may ask for, for `jitctl` and `jitctl roles`.

use serde::{Deserialize, Serialize};

use crate::decision::{Auth, Record};
use crate::facts::Facts;
use crate::policy::Policy;

/// Whether an offer can be taken up now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opening {
    /// Now.
    Open,
    /// Not now; the hours in words, and when it opens if that is within the next days.
    Closed {
        /// `mon-fri 08:00-18:00 Europe/Paris`.
        hours: String,
        /// The next opening.
        opens_at: Option<jiff::Timestamp>,
    },
}

/// One role that one allow offers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// The role.
    pub role: String,
    /// Its summary, if it has one.
    pub summary: Option<String>,
    /// The allow that offers it.
    pub rule: String,
    /// Longest window, seconds.
    pub window: u64,
    /// Proof of identity needed.
    pub auth: Auth,
    /// What is recorded.
    pub record: Record,
    /// Persons needed; 0 = no approval.
    pub approvals: u32,
    /// Who is asked: names as the policy writes them.
    pub approvers: Vec<String>,
    /// A reason is needed.
    pub reason_needed: bool,
    /// A ticket is needed.
    pub ticket_needed: bool,
    /// Only with `--break-glass`.
    pub break_glass: bool,
    /// Whether it is open now.
    pub opening: Opening,
    /// As whom its commands run: `root`, `postgres`, `ALL`.
    pub run_as: Vec<String>,
    /// Its commands as the policy writes them; `a shell` where it gives one.
    pub commands: Vec<String>,
}

/// Lists what the requester of `facts` may ask for on this host, by role name.
#[must_use]
pub fn offers(policy: Option<&Policy>, facts: &Facts, now: jiff::Timestamp) -> Vec<Offer> {
    let _ = (policy, facts, now);
    Vec::new()
}
