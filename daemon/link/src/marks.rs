//! Marks of commands: `marks/ID.n`, by which what a command started is found when its session is gone and nobody has looked.
//!
//! The session writes its own before its command exists, moves the end when its role is extended, and removes it when its programs become
//! the host's. The spawner removes it once it has looked; a spawner that begins anew looks for what is marked and has no session, and
//! `jitsudo-sweep` does when no spawner lives. They lie in `/run`: no process outlives the boot.

use jitsudo_core::id::SessionId;
use jitsudo_core::state::Ends;
use serde::{Deserialize, Serialize};

use crate::folder::{Folder, Named};

/// Where they lie.
pub const MARKS: &str = "/run/jitsudo/marks";

/// The mark of one command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mark {
    /// Its session.
    pub session: SessionId,
    /// Enrolled name of the host, for what is recorded.
    pub host: String,
    /// The audit session that the session's own login uid made, where one could be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_session: Option<u32>,
    /// The session's cgroup, an absolute path; its command is in `cmd` below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// When nothing of it may run any more.
    pub ends: Ends,
    /// It runs under a role that is held, and ends with that.
    #[serde(default)]
    pub held: bool,
}

impl Named for Mark {
    fn name(&self) -> String {
        self.session.to_string()
    }
}

/// This host's.
#[must_use]
pub fn folder() -> Folder<Mark> {
    Folder::at(MARKS.as_ref())
}
