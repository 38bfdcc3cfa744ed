//! Lives of grants and of what belongs to them, from the request to the end, with a point in each at which a program dies or stops.

use std::time::Duration;

use crate::clock::wait_until;
use crate::error::Error;
use crate::host::Host;
use crate::live::Live;

/// The rules that lives need, beside those of [`crate::live::prepare`].
pub const RULES: &str = r#"[roles.life-host]
run = ["/usr/bin/id -u"]
membership = ["adm"]
sudoers = ["/usr/bin/whoami"]
[roles.life-group]
groups = ["users"]
[roles.life-login]
login = ["@self"]
[roles.life-command]
run = ["/usr/bin/id -g"]
[roles.life-glass]
run = ["/usr/bin/id -G"]

[[allow]]
name = "life: roles"
who = ["alice", "admin"]
roles = ["life-host", "life-group"]
grant = "role"
window = "1h"
auth = "none"
extend = { each = "15m", total = "1h" }
[[allow]]
name = "life: logins"
who = ["@alice"]
roles = ["life-login"]
grant = "role"
window = "1h"
auth = "none"
[[allow]]
name = "life: commands"
who = ["alice"]
roles = ["life-command"]
auth = "none"
[[allow]]
name = "life: emergencies"
who = ["admin"]
roles = ["life-glass"]
[allow.break-glass]
window = "1h"
reviewers = ["bob"]
"#;

/// What is lived through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// A role with commands, a membership and lines for sudo: requested, used, given back.
    Grant,
    /// A role that lends a group to its session.
    Group,
    /// A role for an admin account, and a login over ssh.
    Login,
    /// A command with a grant of its own.
    Command,
    /// More time for a role, and its release.
    Extend,
    /// A role that somebody else ends.
    End,
    /// An account that is locked while it holds a role, and unlocked.
    Lock,
    /// Break-glass, and its review.
    Review,
    /// A grant that leaves something on the host, which is found and acknowledged.
    Residue,
    /// The gate before another service, and its removal.
    Gate,
    /// A policy that is applied.
    Apply,
    /// The sweep that ends everything, with no daemon.
    Sweep,
}

/// What becomes of whoever comes to the point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum There {
    /// It dies, as by kill -9.
    Dies,
    /// It stops, for the power to be cut.
    Stops,
}

const SCRIPT: &str = include_str!("life.sh");

/// Puts the script on a host.
///
/// # Errors
/// [`Error::Failed`] when it cannot be written.
pub fn prepare(host: &Host) -> Result<(), Error> {
    host.write("/opt/life", 0o755, SCRIPT)
}

impl Life {
    fn word(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Lives through it with nobody dying.
    ///
    /// # Errors
    /// As [`crate::HostCommand::output`].
    pub fn plain(self, host: &Host) -> Result<String, Error> {
        host.run(&["/opt/life", &self.word()]).output().map(|told| told.both())
    }

    /// Puts right what a life has left that a power cut ended: a lock, a review that is due, a gate.
    ///
    /// # Errors
    /// [`Error::Failed`] when that cannot be done.
    pub fn put_right(self, host: &Host) -> Result<(), Error> {
        host.run(&["/opt/life", &self.word(), "after"]).limit(Duration::from_secs(120)).ok().map(drop)
    }

    /// Lives through it with a point armed that is passed over `skip` times; what was said.
    ///
    /// # Errors
    /// [`Error::Failed`] when nobody came to the point.
    pub fn with_point(self, host: &Host, point: &str, skip: u32, there: There) -> Result<String, Error> {
        let how = if there == There::Stops { "stop" } else { "" };
        let argv = ["/opt/life", &self.word(), point, &skip.to_string(), how];
        let told = host.run(&argv).limit(Duration::from_secs(120)).output()?;
        let last = if there == There::Stops { "stopped" } else { "died" };
        if told.status == 0 && told.stdout.lines().any(|line| line == last) {
            return Ok(told.both());
        }
        let what = format!("coming to {point} {skip} by {self:?}");
        Err(Error::Failed { what, status: told.status, output: told.both() })
    }
}

/// Ends whatever is held beside the live grants (a requester that died, or whose daemon did, knows of nothing to give back), and waits until
/// they alone are noted.
///
/// # Errors
/// [`Error::Failed`] with what stays.
pub fn tidy(host: &Host, live: &Live) -> Result<(), Error> {
    let ids = live.ids();
    let others = || -> Result<Vec<String>, Error> {
        let noted = host.sh("ls /run/jitsudo/ends | grep ^01; true").ok()?;
        Ok(noted.lines().filter(|id| !ids.iter().any(|one| one == id)).map(str::to_owned).collect())
    };
    // What was given back may still be on its way.
    if wait_until(Duration::from_secs(2), || others().is_ok_and(|left| left.is_empty())) {
        return Ok(());
    }
    host.sh(&format!("for id in {}; do jitctl end $id; done; true", others()?.join(" "))).ok()?;
    if wait_until(Duration::from_secs(10), || others().is_ok_and(|left| left.is_empty())) {
        return Ok(());
    }
    let output = host.sh("cd /run/jitsudo/ends; tail -n +1 01*; jitctl log --all --limit 30").output()?.both();
    Err(Error::Failed { what: format!("the end of {:?}", others()?), status: 1, output })
}
