//! What a role grant puts on the host, and what it lends to its sessions.

use serde::{Deserialize, Serialize};

use crate::policy::Policy;

/// One change to the host that a role grant makes when it begins and takes back when it ends.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The requester's entry in the group file.
    Membership(String),
    /// These lines for the requester in a drop-in of the host's sudo.
    Sudoers(Vec<String>),
    /// The same where the role accepts lines that stay until jitsudo takes them away, on a host whose sudo ends none by itself.
    SudoersWithoutEnd(Vec<String>),
    /// Leave to enter these gated accounts; `@self` is the accounts of the requester's person but the first. The gate reads it; nothing on
    /// the host changes.
    Login(Vec<String>),
}

impl Effect {
    /// True for what is on disk, where a reboot leaves it.
    #[must_use]
    pub fn outlives_boot(&self) -> bool {
        match self {
            Self::Membership(_) => true,
            Self::Sudoers(_) | Self::SudoersWithoutEnd(_) | Self::Login(_) => false,
        }
    }

    /// The lines of a drop-in for sudo; `None` for another effect.
    #[must_use]
    pub fn sudoers_lines(&self) -> Option<&[String]> {
        match self {
            Self::Sudoers(lines) | Self::SudoersWithoutEnd(lines) => Some(lines),
            Self::Membership(_) | Self::Login(_) => None,
        }
    }
}

impl std::fmt::Display for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Membership(group) => write!(f, "membership of {group}"),
            Self::Sudoers(lines) if lines.len() == 1 => f.write_str("1 sudoers line"),
            Self::Sudoers(lines) => write!(f, "{} sudoers lines", lines.len()),
            Self::SudoersWithoutEnd(lines) => {
                let lines = if lines.len() == 1 {
                    "1 sudoers line".to_owned()
                } else {
                    format!("{} sudoers lines", lines.len())
                };
                write!(f, "{lines}, which only jitsudo ends where sudo ends none by itself")
            }
            Self::Login(accounts) => write!(f, "login to {}", accounts.join(", ")),
        }
    }
}

/// The words of a sudoers line of a role; `None` = every command. In words why sudo would not read it as it is meant.
///
/// ```
/// use jitsudo_core::lends::sudoers_words;
/// assert_eq!(sudoers_words("/usr/bin/id -u"), Ok(Some(vec!["/usr/bin/id".to_owned(), "-u".to_owned()])));
/// assert_eq!(sudoers_words("ALL"), Ok(None));
/// assert!(sudoers_words("/usr/bin/systemctl {start,stop} nginx").is_err());
/// ```
///
/// # Errors
/// No whole path of a program at its beginning, an empty word, or a character that sudoers(5) reads as a wildcard, an expression, a
/// quote, a comment or an escape.
pub fn sudoers_words(written: &str) -> Result<Option<Vec<String>>, String> {
    if written == "ALL" {
        return Ok(None);
    }
    let cannot = |why: &str| Err(format!("sudoers cannot say {written:?}: {why}"));
    let words: Vec<String> = written.split(' ').map(str::to_owned).collect();
    match words.first() {
        Some(program) if program.starts_with('/') && !program.ends_with('/') => {}
        _ => return cannot("a command begins with the whole path of a program"),
    }
    if words.iter().any(String::is_empty) {
        return cannot("an empty word, or two spaces");
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@%,:=~ ".contains(&byte);
    match written.bytes().find(|byte| !is_plain(*byte)) {
        Some(odd) => cannot(&format!("{:?} means something else there", char::from(odd))),
        None => Ok(Some(words)),
    }
}

/// What a role gives beyond commands.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Lends {
    /// Groups that the processes of its sessions are in; nothing on the host changes.
    pub groups: Vec<String>,
    /// Changes to the host, in a fixed order.
    pub effects: Vec<Effect>,
}

impl Lends {
    /// Of a role with all that it includes; nothing for a name that is no role.
    #[must_use]
    pub fn of(policy: &Policy, role: &str) -> Self {
        let mut lends = Self::default();
        let (mut sudoers, mut accounts): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        let mut without_end = true;
        let Some(place) = policy.role_named(role) else { return lends };
        for (_, part) in policy.parts_of(place) {
            lends.groups.extend(part.groups.iter().cloned());
            lends.effects.extend(part.membership.iter().cloned().map(Effect::Membership));
            sudoers.extend(part.sudoers.iter().cloned());
            // They are one drop-in: whoever wrote any of them has to accept it.
            without_end &= part.sudoers.is_empty() || part.sudoers_without_end;
            accounts.extend(part.login.iter().cloned());
        }
        sudoers.sort_unstable();
        sudoers.dedup();
        let kind = if without_end { Effect::SudoersWithoutEnd } else { Effect::Sudoers };
        lends.effects.extend(Some(sudoers).filter(|lines| !lines.is_empty()).map(kind));
        lends.effects.extend(Some(accounts).filter(|accounts| !accounts.is_empty()).map(Effect::Login));
        lends.groups.sort_unstable();
        lends.groups.dedup();
        lends.effects.sort();
        lends.effects.dedup();
        lends
    }
}
