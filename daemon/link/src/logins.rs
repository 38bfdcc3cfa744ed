//! Notes of logins to gated accounts that a role is held for: `logins/ID.PID`, written before the login is let in.
//!
//! The spawner writes them and ends the logins with their role; `jitsudo-sweep` does when no spawner lives. They lie in `/run`: no
//! login outlives the boot.

use jitsudo_core::id::AccessId;
use jitsudo_core::state::Ends;
use serde::{Deserialize, Serialize};

use crate::LOGINS;
use crate::folder::{Folder, Named};

/// What is noted of one login.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Login {
    /// The access that it belongs to.
    pub id: AccessId,
    /// Enrolled name of the host, for what is recorded of its end.
    #[serde(default)]
    pub host: String,
    /// The account that was entered.
    pub account: String,
    /// Its uid, if the module knew it.
    pub uid: Option<u32>,
    /// The service by which.
    pub service: String,
    /// The end that the role had then. What the role's own note says comes before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<Ends>,
    /// The process that asked.
    pub pid: u32,
    /// When that was started, clock ticks.
    pub start_ticks: u64,
    /// When it asked, clock ticks.
    pub since_ticks: u64,
    /// Its group when it asked.
    pub group: Option<String>,
    /// The scope that logind gave it since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Its audit session when it asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_before: Option<u32>,
    /// The audit session that the login itself made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_session: Option<u32>,
}

impl Named for Login {
    fn name(&self) -> String {
        format!("{}.{}", self.id, self.pid)
    }
}

/// This host's.
#[must_use]
pub fn folder() -> Folder<Login> {
    Folder::at(LOGINS.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn note_of_an_older_spawner_is_read() {
        let text = r#"{"id":"01jd0000000000000000000000","account":"alice-adm","uid":1002,"service":"sshd","pid":4,
            "start_ticks":7,"since_ticks":9,"group":"/system.slice/ssh.service","scope":null}"#;
        let login: Login = serde_json::from_str(text).unwrap();
        assert_eq!((login.name().as_str(), login.ends), ("01jd0000000000000000000000.4", None));
    }
}
