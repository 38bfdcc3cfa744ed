//! What a grant may have left on the host: found by comparing the host before and after it, told to people, never proof of anything.

use jitsudo_bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::duty::{Duty, duties};
use crate::facts::{Fact, Facts};
use crate::name::Uid;
use crate::policy::Policy;
use crate::state::Residue;

/// What kind of thing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A file that runs as its owner or its group.
    Setid,
    /// A file that sudo reads.
    Sudoers,
    /// Who is in a group.
    Member,
    /// An account of the host.
    Account,
    /// Keys that log in.
    AuthorizedKeys,
    /// A unit of systemd, transient ones too, or an init script.
    Unit,
    /// A table or script of cron.
    Cron,
    /// A job of at.
    At,
    /// Something that runs under another manager than jitsudo: a service, a container, a job.
    Process,
    /// A kind of a later version.
    #[serde(other)]
    Other,
}

impl Kind {
    /// In a sentence.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Setid => "setuid or setgid file",
            Self::Sudoers => "sudoers file",
            Self::Member => "group member",
            Self::Account => "account",
            Self::AuthorizedKeys => "authorized keys",
            Self::Unit => "unit",
            Self::Cron => "cron",
            Self::At => "at job",
            Self::Process => "running",
            Self::Other => "other",
        }
    }
}

/// What happened to it while the grant lasted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was not there before.
    New,
    /// It was another one.
    Changed,
    /// It is not there any more.
    Gone,
}

/// One thing that is not as it was before a grant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Kind.
    pub kind: Kind,
    /// What happened to it while the grant lasted, by whomever.
    pub change: Change,
    /// Its path or name.
    pub name: Bytes,
    /// What of it, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// When, where that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub at: Option<jiff::Timestamp>,
}

/// Why somebody may not acknowledge a residue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoAcknowledgement {
    /// It is of their own grant, or that cannot be told.
    Own,
    /// They are neither root nor have the duty `end` or `review`.
    NoDuty,
}

/// Whether the requester of `facts` may acknowledge this at `now`: nobody does for a grant of their own, by whichever account.
///
/// # Errors
/// [`NoAcknowledgement`] says why not.
pub fn may_acknowledge(
    policy: Option<&Policy>,
    facts: &Facts,
    residue: &Residue,
    now: jiff::Timestamp,
) -> Result<(), NoAcknowledgement> {
    let duties = duties(policy, facts, now);
    if !duties.contains(&Duty::End) && !duties.contains(&Duty::Review) {
        return Err(NoAcknowledgement::NoDuty);
    }
    if is_own(policy, facts, residue) { Err(NoAcknowledgement::Own) } else { Ok(()) }
}

fn is_own(policy: Option<&Policy>, facts: &Facts, residue: &Residue) -> bool {
    let requester = &facts.requester;
    let login = match &requester.loginuid {
        // Who it is cannot be told.
        Fact::Unknown => return true,
        Fact::Is(login) => login.map(|uid| (uid, requester.login_name.known().and_then(Option::as_deref))),
    };
    let own = [Some((requester.uid, requester.name.known().map(String::as_str))), login];
    let of = [residue.uid.map(|uid| (uid, residue.user.as_deref())), residue.loginuid.map(|uid| (uid, None))];
    let is_account = |uid: Uid| uid != Uid::ROOT && uid.is_account();
    let mut pairs = own.iter().flatten().flat_map(|one| of.iter().flatten().map(move |other| (*one, *other)));
    pairs.any(|(one, other)| {
        let same = || policy.map_or(one.0 == other.0, |policy| policy.are_one_person(one, other));
        is_account(one.0) && is_account(other.0) && same()
    })
}
