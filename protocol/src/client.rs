//! Between a client (`jitsudo`, `jitctl`) and the decider, on [`crate::SOCKET`].
//!
//! 1. The decider speaks first: [`FromDecider::Hello`] with a nonce.
//! 2. Every message of the client carries that nonce, and the kernel's SCM_CREDENTIALS on it must equal those of the connect.
//! 3. A run ends for this socket with [`FromDecider::HandOver`], which only counts when the kernel says that uid 0 sent it;
//!    the session's socket is attached to it.

use jitsudo_bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::act::{ActMore, ActStart};

/// A datagram from a client.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromClient {
    /// The nonce of the hello.
    pub nonce: String,
    /// The protocol version that the client speaks on this connection, within the hello's bounds; the same in every message.
    pub version: u32,
    /// What it says.
    pub say: Say,
}

/// What a client says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Say {
    /// Run this act; the first of its datagrams.
    Run(Box<ActStart>),
    /// A following datagram of the act.
    More(ActMore),
    /// A question of `jitctl`.
    Ask(Ask),
    /// `-k`, `-K`: what is remembered of an authentication goes. Answered by an empty [`FromDecider::Answer`], also when there was nothing.
    Forget {
        /// `-K`: everything of this account, not only what belongs to this terminal.
        all: bool,
    },
    /// An order of `jitctl`: takes away, and gives nothing back but what a lock took.
    Order(Order),
    /// After a run, while [`FromDecider::Waiting`] was the last word: the requester does not wait any more, and takes the request back.
    GiveUp,
}

/// Orders of `jitctl`. The answer is one item: `{"id": …, "role": …, "cause": …}`, for an acknowledgement `reason` instead of `cause`; of a
/// lock `{"user": …, "uid": …, "ended": …}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Give back an own grant, or end an own command.
    Release {
        /// Its id, or the last six characters of it.
        id: String,
    },
    /// Say no to a request that waits for other people, this one or another asked for.
    Refuse {
        /// Its id, or the last six characters of it.
        id: String,
        /// Why; 1 to 1000 letters. Of a signature: the reason that was signed.
        reason: String,
        /// Somebody signed that elsewhere: what `ssh-keygen -Y sign` wrote, at most 8 KiB. Whoever may see the request hands it in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
    },
    /// Somebody signed a yes elsewhere. Whoever may see the request hands it in.
    ApproveSigned {
        /// The request's id, or the last six characters of it.
        id: String,
        /// What `ssh-keygen -Y sign` wrote, at most 8 KiB.
        signature: String,
        /// For at most so many seconds, as the card that was signed says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<u64>,
    },
    /// The same for anybody's, which for others' needs the duty `end` or uid 0.
    End {
        /// Its id, or the last six characters of it.
        id: String,
        /// Why; at most 1000 letters.
        reason: Option<String>,
    },
    /// Somebody looked at what another's grant may have left. Needs uid 0 or the duty `end` or `review`.
    AcknowledgeResidue {
        /// The grant's id, or the last six characters of it.
        id: String,
        /// What was found or done; 1 to 1000 letters.
        reason: String,
    },
    /// A use of break-glass was looked at: `{"id": …, "reviewed": true}`. By whom its rule names or the duty `review`, never by who used it.
    Review {
        /// Its id, or the last six characters of it.
        id: String,
        /// What was found; 1 to 1000 letters.
        note: String,
    },
    /// Take an own request back that nothing was given for yet.
    Withdraw {
        /// Its id, or the last six characters of it.
        id: String,
    },
    /// Nothing starts for an account and its person, and everything of them ends. Needs the duty `lock` or uid 0.
    Lock {
        /// Its name, or `#UID`.
        user: String,
        /// Why; 1 to 1000 letters.
        reason: String,
    },
    /// That is over. The same duty.
    Unlock {
        /// Its name, or `#UID`.
        user: String,
    },
}

/// Questions and orders of `jitctl`. Answers are JSON values whose shapes the manual publishes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Where do I stand: what is active, what waits, what may be asked for.
    Standing,
    /// What may I ask for.
    Roles,
    /// Ledger events, newest last; own ones, or everybody's with the duty `see`.
    Log {
        /// Only this access (whole id or its last six characters).
        id: Option<String>,
        /// Only this account's.
        user: Option<String>,
        /// Only events after this sequence.
        after: Option<u64>,
        /// At most this many, the newest; 1..=100000.
        limit: u32,
        /// Everybody's, which needs the duty `see`.
        all: bool,
        /// Only events at or after this moment, seconds since 1970 UTC.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<i64>,
    },
    /// What was asked, newest last, and what became of it.
    Requests {
        /// Everybody's, which needs the duty `see`.
        all: bool,
    },
    /// Everything that is remembered of one access. Others' need the duty `see`.
    Show {
        /// Its id, or the last six characters of it.
        id: String,
    },
    /// Running sessions (`ended` too when asked).
    Sessions {
        /// Those that ended as well, newest 100.
        ended: bool,
        /// Everybody's, which needs the duty `see`.
        all: bool,
    },
    /// Roles that are held.
    Grants {
        /// Everybody's, which needs the duty `see`.
        all: bool,
    },
    /// What grants may have left and nobody has acknowledged.
    Residue {
        /// Everybody's, which needs the duty `see`.
        all: bool,
    },
    /// Break-glass that waits for a review: own, and what the asker may review.
    Reviews,
    /// The cards of what waits for other people and this account may answer.
    ToApprove,
    /// One of these.
    Card {
        /// Its id, or the last six characters of it.
        id: String,
    },
    /// The text of one that is to be signed elsewhere: `{"id": …, "card": …}`, for whoever may see the request.
    CardToSign {
        /// Its id, or the last six characters of it.
        id: String,
        /// The answer is a no, for this reason: 1 to 1000 letters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        no: Option<String>,
        /// The answer is a yes for at most so many seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<u64>,
    },
    /// Which policy is in force.
    PolicyStatus,
    /// How a request would be decided and why; nothing is recorded but that somebody asked.
    Explain {
        /// The command.
        argv: Vec<Bytes>,
        /// `-u`.
        target: Option<String>,
        /// `-g`.
        group: Option<String>,
        /// As if this account asked (needs the duty `policy`).
        user: Option<String>,
    },
    /// `jitsudo -l`: what may be run, as [`crate::list::ListItem`]s. Nothing runs and no request is recorded.
    List {
        /// `-l CMD`: is this allowed; empty: everything.
        argv: Vec<Bytes>,
        /// `-u`, with a command.
        target: Option<String>,
        /// `-g`, with a command.
        group: Option<String>,
        /// `-U`: this account's rights, which for another's needs the duty `policy`.
        user: Option<String>,
    },
    /// Compile the files of policy.d and, unless `dry_run`, make them the policy in force. uid 0 only.
    PolicyApply {
        /// Only say what would change.
        dry_run: bool,
        /// The digest that a dry run gave: anything else on disk now is refused.
        expect: Option<String>,
    },
    /// Take the ledger as it is, although it lacks what was signed. uid 0 only.
    Acknowledge {
        /// Why; 1 to 1000 letters.
        reason: String,
    },
    /// Health of the daemon: ledger head, outputs, policy digest, versions.
    Status,
}

/// A datagram to a client.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromDecider {
    /// The first message on a connection.
    Hello {
        /// Oldest version understood.
        oldest: u32,
        /// Newest version understood.
        newest: u32,
        /// To be repeated in every message: 32 hex digits.
        nonce: String,
        /// The enrolled name of the host.
        host: String,
    },
    /// Not allowed.
    Denied(Denied),
    /// The daemon cannot do it; nothing was given.
    Fault(Fault),
    /// Other people are asked; the answer comes later. Said again whenever something has changed.
    Waiting(Waiting),
    /// Part of an answer to an `Ask`: JSON items; the client joins the lists of all parts.
    Answer {
        /// Items of the answer; a single value is one item.
        items: Vec<serde_json::Value>,
        /// More parts follow.
        more: bool,
    },
    /// From the spawner, with one socket attached: the session takes over. See [`crate::session`].
    HandOver {
        /// The session, `ID.1`.
        session: String,
    },
    /// A message of a later version.
    #[serde(other)]
    Unknown,
}

/// What a request waits for, as its requester reads it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Waiting {
    /// The access.
    pub id: String,
    /// What was asked for, in words.
    pub what: String,
    /// Who is asked, as the policy writes it.
    pub asked: Vec<String>,
    /// How many persons must say yes at least.
    pub persons: u32,
    /// Who did.
    pub yes: Vec<String>,
    /// Who has looked at what is asked.
    #[serde(default)]
    pub seen: Vec<String>,
    /// Seconds left for answers.
    pub left: u64,
}

/// A denial as the requester reads it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Denied {
    /// `not allowed`, `not now`, … without the program's name in front.
    pub headline: String,
    /// Lines below it.
    pub detail: Vec<String>,
    /// The next step, with the record's id in it.
    pub hint: Option<String>,
    /// The access under which it is recorded; absent when it was only counted.
    pub id: Option<String>,
    /// A person refused (exit status 77) rather than policy (1).
    pub by_person: bool,
    /// Nobody answered in time (exit status 75).
    #[serde(default)]
    pub unanswered: bool,
}

/// The daemon's own trouble.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// What kind, for programs.
    pub code: FaultCode,
    /// *cannot* + verb + object + cause.
    pub message: String,
    /// The next step.
    pub hint: Option<String>,
}

/// Kinds of trouble. Stable words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// A message that cannot be read, is out of order or over a limit; the connection is closed.
    Malformed,
    /// A message whose sender is not the one who connected; the connection is closed.
    Credentials,
    /// No common protocol version.
    Version,
    /// Too many connections or requests of this account, or in all.
    Busy,
    /// The ledger cannot take a durable record.
    Ledger,
    /// The spawner is away or did not answer.
    Spawner,
    /// NSS or another directory did not answer in time.
    Directory,
    /// The asked account or group does not exist here.
    UnknownTarget,
    /// The program does not exist or cannot be executed.
    Program,
    /// The requester did not prove who they are, or must and was not to be asked (`-n`).
    Authentication,
    /// The question needs a duty or uid 0.
    Duty,
    /// Nothing of that name or id.
    NotFound,
    /// The policy has errors; the message is the compiler's.
    Policy,
    /// Known, and not in this version.
    NotSupported,
    /// Anything else: a bug; the ledger or journal says more.
    Internal,
    /// A code of a later version.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cmd_match_13_unknown_field_is_an_error() {
        let chroot = r#"{"nonce":"n","version":1,"say":{"ask":"standing"},"root":"/tmp"}"#;
        assert!(serde_json::from_str::<FromClient>(chroot).is_err());
        let sound = r#"{"nonce":"n","version":1,"say":{"ask":"standing"}}"#;
        assert_eq!(serde_json::from_str::<FromClient>(sound).unwrap().say, Say::Ask(Ask::Standing));
    }

    #[test]
    fn peer_auth_06_no_field_of_a_run_names_the_requester() {
        let uid = r#"{"nonce":"n","version":1,"say":{"run":{"options":{},"argc":0,"envc":0,"strings":[],"open":false,"uid":0}}}"#;
        let error = serde_json::from_str::<FromClient>(uid).unwrap_err().to_string();
        assert!(error.contains("missing field") || error.contains("unknown field"), "{error}");
    }

    #[test]
    fn forgetting_names_nobody() {
        let text = r#"{"nonce":"n","version":1,"say":{"forget":{"all":true}}}"#;
        assert_eq!(serde_json::from_str::<FromClient>(text).unwrap().say, Say::Forget { all: true });
        let another = r#"{"nonce":"n","version":1,"say":{"forget":{"all":true,"uid":0}}}"#;
        assert!(serde_json::from_str::<FromClient>(another).is_err());
    }

    #[test]
    fn a_message_of_a_later_version_is_unknown_not_an_error() {
        assert_eq!(serde_json::from_str::<FromDecider>(r#""whisper""#).unwrap(), FromDecider::Unknown);
    }
}
