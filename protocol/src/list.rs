//! What `jitsudo -l` is answered: the items of a [`crate::client::FromDecider::Answer`], in this order: [`ListItem::Whose`], then the
//! entries; or for `-l CMD` one of the others.
//!
//! The client makes sudo's text of it: the daemon says what is so, not how it looks.

use jitsudo_bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One item of the answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListItem {
    /// Whose rights these are, and where: always first.
    Whose {
        /// The account.
        user: String,
        /// The host's enrolled name up to its first dot.
        host: String,
    },
    /// Commands that one rule gives by one role.
    Entry(Box<ListEntry>),
    /// `-l CMD`: allowed.
    Allowed {
        /// The program that would run.
        path: Bytes,
    },
    /// `-l CMD`: not allowed; also where there is no such file and no rule names it.
    NotAllowed,
    /// `-l CMD`: a name that is in no directory of the secure path, or a path that a rule would let run.
    NotFound,
    /// `-l CMD`: the account of `-u` does not exist here.
    UnknownTarget,
    /// Another account's rights may not be listed.
    NotYours,
    /// The account asked about does not exist here.
    UnknownUser,
    /// An item of a later version.
    #[serde(other)]
    Unknown,
}

/// Commands that one rule gives by one role, run as the same accounts on the same terms.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ListEntry {
    /// The rule's name: the requester's own, or one that the duty `policy` may read.
    pub rule: String,
    /// The role that it gives.
    pub role: String,
    /// Accounts that the commands may run as; `ALL`.
    pub users: Vec<String>,
    /// Groups for `-g`.
    pub groups: Vec<String>,
    /// What is given.
    pub gives: Vec<Given>,
    /// `none`, `cached` or `fresh`.
    pub auth: String,
    /// `none`, `activity` or `terminal`.
    pub record: String,
    /// Longest window of a shell, a login or a whole role, seconds.
    pub window: u64,
    /// Longest time that one command may run, seconds.
    pub run_time: u64,
    /// Persons whose approval is needed.
    pub approvals: u32,
    /// Who is asked.
    pub approvers: Vec<String>,
    /// A reason is needed.
    pub reason_needed: bool,
    /// A ticket is needed.
    pub ticket_needed: bool,
    /// Only with `--break-glass`.
    pub break_glass: bool,
    /// Not open now: the hours in words.
    pub closed: Option<String>,
    /// A rule of this host forbids part of it.
    pub limited: bool,
}

/// One thing that a role gives.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Given {
    /// A command as the policy writes it; `ALL`.
    Command(String),
    /// `-s`, `-i`, a program of /etc/shells.
    Shell,
    /// A path pattern for `-e`.
    Edit(String),
    /// Any command as oneself with this group, by naming the role.
    WithGroup(String),
    /// What only the whole role gives, in words.
    Other(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_of_another_version_is_read_as_far_as_it_is_known() {
        let text = r#"{"entry":{"rule":"r","colour":"blue","gives":[{"command":"ALL"},"shell"]}}"#;
        let ListItem::Entry(entry) = serde_json::from_str(text).unwrap() else { panic!("an entry") };
        assert_eq!((entry.rule.as_str(), entry.gives.len(), entry.window), ("r", 2, 0));
        assert_eq!(serde_json::from_str::<ListItem>(r#""whisper""#).unwrap(), ListItem::Unknown);
    }

    #[test]
    fn items_come_back_as_they_were() {
        for item in [
            ListItem::Whose { user: "alice".into(), host: "web-1".into() },
            ListItem::Entry(Box::default()),
            ListItem::Allowed { path: Bytes(vec![b'/', 0xff]) },
            ListItem::NotAllowed,
        ] {
            assert_eq!(serde_json::from_value::<ListItem>(serde_json::to_value(&item).unwrap()).unwrap(), item);
        }
    }
}
