//! Why a command was not started: one answer for the client, one entry for the record.

use std::io;

use jitsudo_protocol::client::{Fault, FaultCode};
use jitsudo_protocol::session::FromSession;
use jitsudo_sys::nix::errno::Errno;

/// Why nothing runs.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client said what it must not: recorded as `spawner_refused`.
    Refused {
        /// For programs.
        code: FaultCode,
        /// What was wrong, for the record and the requester.
        cause: String,
    },
    /// It cannot be done.
    Cannot {
        /// For programs.
        code: FaultCode,
        /// *cannot* + verb + object + cause.
        message: String,
        /// The next step.
        hint: Option<String>,
        /// The system's number for it.
        errno: Errno,
    },
    /// The client went away before the command was started.
    ClientGone,
}

impl Failure {
    /// Trouble of our own.
    pub(crate) fn trouble(what: &str, error: &io::Error) -> Self {
        let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        let words = error.raw_os_error().map_or_else(|| error.to_string(), words_of);
        Self::Cannot { code: FaultCode::Internal, message: format!("cannot {what}: {words}"), hint: None, errno }
    }

    /// Something that the requester asked for and cannot have.
    pub(crate) fn cannot(code: FaultCode, message: String, errno: Errno) -> Self {
        Self::Cannot { code, message, hint: None, errno }
    }

    /// Nothing was to run: for the record.
    pub(crate) fn only_explained() -> Self {
        let message = "only its variables were asked for (--explain-env)".to_owned();
        Self::cannot(FaultCode::NotSupported, message, Errno::ECANCELED)
    }

    /// The requester did not prove who they are.
    pub(crate) fn unproven(message: String) -> Self {
        Self::cannot(FaultCode::Authentication, message, Errno::EACCES)
    }

    /// Adds the next step.
    pub(crate) fn with_hint(self, text: &str) -> Self {
        match self {
            Self::Cannot { code, message, errno, .. } => {
                Self::Cannot { code, message, hint: Some(text.to_owned()), errno }
            }
            other => other,
        }
    }

    /// A message that breaks the rules of the exchange.
    pub(crate) fn refused(code: FaultCode, cause: impl Into<String>) -> Self {
        Self::Refused { code, cause: cause.into() }
    }

    /// What the client is told.
    pub(crate) fn answer(&self) -> FromSession {
        let (code, message, hint) = match self {
            Self::Refused { code, cause } => (*code, format!("cannot take the request: {cause}"), None),
            Self::Cannot { code, message, hint, .. } => (*code, message.clone(), hint.clone()),
            Self::ClientGone => (FaultCode::Internal, "cannot answer: the client is gone".to_owned(), None),
        };
        FromSession::Failed(Fault { code, message, hint })
    }

    /// For the record: the number and the words.
    pub(crate) fn entry(&self) -> (i32, String) {
        match self {
            Self::Refused { cause, .. } => (Errno::EPROTO as i32, cause.clone()),
            Self::Cannot { message, errno, .. } => (*errno as i32, message.clone()),
            Self::ClientGone => (Errno::ECONNRESET as i32, "the client went away".to_owned()),
        }
    }
}

/// The system's words for an error number, in lower case.
pub(crate) fn words_of(errno: i32) -> String {
    let words = Errno::from_raw(errno).desc();
    let mut characters = words.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}
