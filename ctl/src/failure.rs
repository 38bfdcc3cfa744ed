//! Why a verb did not do what was asked, in words, as JSON and as an exit status.

use std::io;
use std::path::PathBuf;

use jitsudo_protocol::client::{Denied, Fault, FaultCode};
use serde_json::{Value, json};

use crate::text::{visible, visible_lines};

/// Why nothing, or not all, was done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The daemon's socket cannot be reached.
    Unreachable {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// Somebody who is not root listens there.
    Impostor {
        /// Where.
        path: PathBuf,
        /// Who.
        uid: u32,
    },
    /// The daemon went away, took too long or said something that makes no sense here.
    Lost(String),
    /// Policy says no.
    Denied(Box<Denied>),
    /// The daemon cannot do it.
    Fault(Box<Fault>),
    /// The command line, the terminal or the account is not right for this.
    Usage {
        /// What is wrong.
        message: String,
        /// The next step.
        hint: Option<&'static str>,
    },
    /// There is nothing of what was asked for.
    NothingFound(String),
    /// A check found something bad.
    BadCheck(String),
    /// A check found something bad, and the verb has said what.
    BadCheckSaid,
    /// A file cannot be read.
    File {
        /// Verb and object: `read policy /etc/…`.
        what: String,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The person at the terminal said no.
    NotConfirmed,
    /// Whoever read our output has gone: quiet.
    ClosedPipe,
}

impl Failure {
    /// The exit status.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::ClosedPipe => 0,
            Self::Denied(_) | Self::NotConfirmed => 1,
            Self::Usage { .. } | Self::File { .. } => 2,
            Self::NothingFound(_) => 3,
            Self::BadCheck(_) | Self::BadCheckSaid => 4,
            Self::Unreachable { .. } | Self::Impostor { .. } | Self::Lost(_) => 69,
            Self::Fault(fault) => match fault.code {
                FaultCode::Duty | FaultCode::NotSupported | FaultCode::Authentication => 1,
                // What was typed is too long, or empty where something is needed.
                FaultCode::Malformed => 2,
                FaultCode::NotFound | FaultCode::UnknownTarget | FaultCode::Program => 3,
                FaultCode::Policy => 4,
                FaultCode::Credentials
                | FaultCode::Version
                | FaultCode::Busy
                | FaultCode::Ledger
                | FaultCode::Spawner
                | FaultCode::Directory
                | FaultCode::Internal
                | FaultCode::Unknown => 69,
            },
        }
    }

    /// What stands on standard error, with its last newline; empty when nothing is to be said.
    pub(crate) fn words(&self) -> String {
        let (message, hint) = self.message();
        if message.is_empty() {
            return String::new();
        }
        let mut text = format!("jitctl: {message}\n");
        if let Some(hint) = hint {
            text.push_str(&format!("  hint: {hint}\n"));
        }
        text
    }

    /// The same for programs; `None` when the verb has printed its own JSON, or nobody reads.
    pub(crate) fn as_json(&self) -> Option<Value> {
        if matches!(self, Self::BadCheckSaid | Self::ClosedPipe) {
            return None;
        }
        let (message, hint) = self.message();
        Some(json!({"error": {"code": self.code(), "message": message, "hint": hint}}))
    }

    fn message(&self) -> (String, Option<String>) {
        match self {
            Self::Unreachable { path, cause } => (
                format!("cannot reach jitsudod at {}: {}", path.display(), of_kernel(cause)),
                Some("systemctl status jitsudod".to_owned()),
            ),
            Self::Impostor { path, uid } => (
                format!("cannot trust {}: uid {uid} listens there, not root", path.display()),
                Some("systemctl status jitsudod.socket".to_owned()),
            ),
            Self::Lost(cause) => {
                (format!("cannot get an answer from jitsudod: {cause}"), Some("journalctl -t jitsudod".to_owned()))
            }
            Self::Denied(denied) => {
                let mut text = visible(&denied.headline);
                for line in &denied.detail {
                    text.push_str(&format!("\n  {}", visible(line)));
                }
                (text, denied.hint.as_deref().map(visible))
            }
            Self::Fault(fault) => (visible_lines(&fault.message), fault.hint.as_deref().map(visible)),
            Self::Usage { message, hint } => (message.clone(), hint.map(str::to_owned)),
            Self::NothingFound(what) | Self::BadCheck(what) => (what.clone(), None),
            // Whoever made a file chose its name.
            Self::File { what, cause } => (format!("cannot {}: {}", visible(what), of_kernel(cause)), None),
            Self::NotConfirmed => ("nothing was changed".to_owned(), None),
            Self::BadCheckSaid | Self::ClosedPipe => (String::new(), None),
        }
    }

    fn code(&self) -> Value {
        let word = match self {
            Self::Unreachable { .. } | Self::Impostor { .. } | Self::Lost(_) => "unreachable",
            Self::Denied(_) | Self::NotConfirmed => "denied",
            Self::Usage { .. } | Self::File { .. } => "usage",
            Self::NothingFound(_) => "not_found",
            Self::BadCheck(_) | Self::BadCheckSaid => "bad_check",
            Self::ClosedPipe => "closed",
            Self::Fault(fault) => return serde_json::to_value(fault.code).unwrap_or(Value::Null),
        };
        Value::from(word)
    }
}

/// An error's text without Rust's "(os error N)", in lower case.
pub(crate) fn of_kernel(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(code: FaultCode) -> Failure {
        Failure::Fault(Box::new(Fault { code, message: "cannot see others' log".to_owned(), hint: None }))
    }

    #[test]
    fn absent_daemon_is_named_with_the_next_step() {
        let failure =
            Failure::Unreachable { path: "/run/jitsudo/socket".into(), cause: io::Error::from_raw_os_error(111) };
        assert_eq!(failure.status(), 69);
        assert_eq!(
            failure.words(),
            "jitctl: cannot reach jitsudod at /run/jitsudo/socket: connection refused\n  hint: systemctl status jitsudod\n"
        );
    }

    #[test]
    fn every_fault_has_a_status_and_a_stable_code() {
        for (code, status, word) in [
            (FaultCode::Duty, 1, "duty"),
            (FaultCode::NotFound, 3, "not_found"),
            (FaultCode::UnknownTarget, 3, "unknown_target"),
            (FaultCode::Policy, 4, "policy"),
            (FaultCode::Ledger, 69, "ledger"),
            (FaultCode::Unknown, 69, "unknown"),
        ] {
            assert_eq!(fault(code).status(), status);
            assert_eq!(fault(code).as_json().unwrap()["error"]["code"], word);
        }
    }

    #[test]
    fn denial_shows_detail_and_hint_with_escapes_made_visible() {
        let failure = Failure::Denied(Box::new(Denied {
            headline: "not allowed: \u{1b}[2J".to_owned(),
            detail: vec!["your role web covers `ls`".to_owned()],
            hint: Some("`jitctl roles` shows what you may ask for".to_owned()),
            id: None,
            by_person: false,
            unanswered: false,
        }));
        assert_eq!(
            failure.words(),
            "jitctl: not allowed: \\u{1b}[2J\n  your role web covers `ls`\n  hint: `jitctl roles` shows what you may ask for\n"
        );
    }

    #[test]
    fn closed_pipe_is_quiet_and_no_failure() {
        assert_eq!(
            (Failure::ClosedPipe.status(), Failure::ClosedPipe.words(), Failure::ClosedPipe.as_json()),
            (0, String::new(), None)
        );
    }
}
