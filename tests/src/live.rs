//! Grants of every kind that are live on a host while something happens to it, and what must hold after whatever happened.
//!
//! Kinds: a role of commands with one that runs, a role that lends a group with a session in it, a membership, lines for sudo, a role for
//! an admin account with a login over ssh, and a command grant whose command runs. They are held by alice, bob and carol.
//!
//! ```no_run
//! # use jitsudo_tests::{Host, live::{self, Live}};
//! # fn of(host: &Host) -> Result<(), jitsudo_tests::Error> {
//! live::prepare(host, "")?; // once: keys, the policy (with the test's own rules behind it), the gate
//! let live = Live::make(host, 50)?;
//! // a fault, and then
//! println!("{:?}", live::is_sound(host)?);
//! assert_eq!(live.gone(host)?, Vec::<String>::new());
//! live.end(host)?;
//! # Ok(())
//! # }
//! ```

use std::fmt::Write as _;
use std::time::Duration;

use crate::clock::{Deadline, Stopwatch, wait_until};
use crate::error::Error;
use crate::host::Host;
use crate::privileges::audit;
use crate::story::{apply_policy, open_ssh_to_alice};

/// How many kinds there are: so many grants are one of every kind.
pub const KINDS: usize = 6;
/// Most grants that the policy has roles for, all kinds together.
pub const MOST: usize = 60;
/// Those of each kind.
const EACH: usize = MOST / KINDS;
/// The groups that are lent, in no other use on a host.
const GROUPS: [&str; EACH] =
    ["audio", "video", "cdrom", "floppy", "tape", "dialout", "fax", "voice", "plugdev", "games"];
/// For the daemon and for a command. Two seconds are promised, on a machine that has nothing else to do.
const PATIENCE: Duration = Duration::from_secs(10);
const SCRIPT: &str = include_str!("live.sh");

/// The policy that [`prepare`] applies: everything that [`Live::make`] asks for, and that bob may run `id -un` as root.
fn policy(key: &str) -> String {
    let mut roles = String::new();
    let (mut held, mut logins) = (Vec::new(), Vec::new());
    for (number, group) in GROUPS.iter().enumerate() {
        let mut role = |kind: &str, gives: String| {
            let _ = writeln!(roles, "[roles.live-{kind}-{number}]\n{gives}");
            let names = if kind == "login" { &mut logins } else { &mut held };
            names.push(format!("\"live-{kind}-{number}\""));
        };
        role("run", format!("run = [\"/usr/bin/sleep {}\"]", mark(0, number)));
        role("group", format!("groups = [\"{group}\"]"));
        role("membership", format!("membership = [\"{group}\"]"));
        role("sudoers", format!("sudoers = [\"/usr/bin/whoami {number}\"]"));
        role("login", "login = [\"@self\"]".to_owned());
    }
    let commands: Vec<String> = (0..EACH).map(|number| format!("\"/usr/bin/sleep {}\"", mark(5, number))).collect();
    let [held, logins] = [held, logins].map(|names| names.join(", "));
    format!(
        r#"[people.alice]
accounts = ["alice", "alice-adm"]
ssh-keys = ["{key}"]

{roles}
[roles.live-command]
run = [{}]
[roles.live-probe]
run = ["/usr/bin/id -un"]

[[allow]]
name = "live: roles"
who = ["bob", "carol"]
roles = [{held}]
grant = "role"
window = "2h"
auth = "none"
[[allow]]
name = "live: admin accounts"
who = ["@alice"]
roles = [{logins}]
grant = "role"
window = "2h"
auth = "none"
[[allow]]
name = "live: commands"
who = ["bob", "carol"]
roles = ["live-command"]
run-time = "2h"
auth = "none"
[[allow]]
name = "live: the next request"
who = ["bob"]
roles = ["live-probe"]
auth = "none"
"#,
        commands.join(", ")
    )
}

/// The number that the command under a grant sleeps for, and is known by.
fn mark(kind: usize, number: usize) -> usize {
    50_000 + kind * 100 + number
}

/// Makes a host ready: alice's key, the gate before sshd, and a policy that has `rules` behind its own.
///
/// # Errors
/// [`Error::Failed`] with what the host said.
pub fn prepare(host: &Host, rules: &str) -> Result<(), Error> {
    open_ssh_to_alice(host)?;
    let keys = "cp -a /home/alice/.ssh /home/alice-adm/ && chown -R alice-adm: /home/alice-adm/.ssh";
    host.sh(keys).ok()?;
    host.write("/opt/live", 0o755, SCRIPT)?;
    apply(host, rules)?;
    host.sh("jitctl gate enable sshd").ok()?;
    let keep = "rm -rf /root/before; mkdir /root/before; cp -a /etc/group /etc/gshadow /etc/sudoers /etc/sudoers.d /root/before/";
    host.sh(keep).ok().map(drop)
}

/// What is another on the host than before anything was lent: files byte by byte, notes, commands under grants. Nothing, when all is taken back.
///
/// # Errors
/// [`Error::Failed`] when the host cannot be looked at.
pub fn left(host: &Host) -> Result<Vec<String>, Error> {
    let told = host.run(&["/opt/live", "left"]).ok()?;
    Ok(told.lines().map(str::to_owned).collect())
}

/// Applies the policy of [`prepare`] with other rules behind it.
///
/// # Errors
/// [`Error::Failed`] with jitctl's output.
pub fn apply(host: &Host, rules: &str) -> Result<(), Error> {
    let key = host.sh("cut -d' ' -f1,2 /root/.ssh/id_ed25519.pub").ok()?;
    apply_policy(host, &format!("{}\n{rules}", policy(key.trim()))).map(drop)
}

/// Grants that were made, each of a kind.
#[derive(Debug, Default)]
pub struct Live {
    /// Their lines, as the script has them; the full id first.
    made: Vec<String>,
}

impl Live {
    /// Makes so many grants, all kinds in turn: 6 are one of every kind. At most [`MOST`]; the host must have none of them yet.
    ///
    /// # Errors
    /// [`Error::Failed`] when one is not given.
    pub fn make(host: &Host, count: usize) -> Result<Self, Error> {
        Self::make_for(host, count, "1h")
    }

    /// The same for another window than an hour, as `--for` has it.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub fn make_for(host: &Host, count: usize, window: &str) -> Result<Self, Error> {
        if count == 0 {
            return Ok(Self::default());
        }
        let lines: Vec<String> = (0..count.min(MOST)).map(|place| line(place % KINDS, place / KINDS)).collect();
        let wanted = lines.join("\n") + "\n";
        let window = format!("WINDOW={window}");
        let made =
            host.run(&["/opt/live", "make"]).env(&window).stdin(wanted).limit(Duration::from_secs(120)).output()?;
        let told: Vec<String> = made.stdout.lines().map(str::to_owned).collect();
        if made.status != 0 || told.len() != lines.len() {
            return Err(Error::Failed { what: "live grants".into(), status: made.status, output: made.both() });
        }
        Ok(Self { made: told })
    }

    /// How many were made.
    #[must_use]
    pub fn count(&self) -> usize {
        self.made.len()
    }

    /// Their ids.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.made.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    }

    /// The ids of those that are live still: noted, not ending, with their change of the host and what runs under them there.
    ///
    /// # Errors
    /// [`Error::Failed`] when the host cannot be looked at.
    pub fn still(&self, host: &Host) -> Result<Vec<String>, Error> {
        let told = host.run(&["/opt/live", "look"]).stdin(self.made.join("\n") + "\n").ok()?;
        Ok(told.lines().map(str::to_owned).collect())
    }

    /// The others, in words: id, kind, who, role.
    ///
    /// # Errors
    /// As [`Self::still`].
    pub fn gone(&self, host: &Host) -> Result<Vec<String>, Error> {
        let still = self.still(host)?;
        let is_gone = |line: &&String| !line.split(' ').next().is_some_and(|id| still.iter().any(|one| one == id));
        Ok(self.made.iter().filter(is_gone).cloned().collect())
    }

    /// Ends all that are live still, and waits until nothing is.
    ///
    /// # Errors
    /// [`Error::Failed`] with what is left.
    pub fn end(self, host: &Host) -> Result<(), Error> {
        if self.made.is_empty() {
            return Ok(());
        }
        let ids = self.still(host)?.join(" ");
        host.sh(&format!("for id in {ids}; do jitctl end $id; done")).limit(Duration::from_secs(120)).ok()?;
        let notes = format!("cd /run/jitsudo/ends && ls {} 2>/dev/null; true", self.ids().join(" "));
        let is_over = || {
            self.still(host).is_ok_and(|still| still.is_empty())
                && host.sh(&notes).ok().is_ok_and(|left| left.is_empty())
        };
        if wait_until(Duration::from_secs(60), is_over) {
            return Ok(());
        }
        let output = format!("{:?}\n{}", self.still(host)?, host.sh(&notes).ok()?);
        Err(Error::Failed { what: "ends of live grants".into(), status: 1, output })
    }
}

/// One grant for the script: kind, who, role, what runs under it, what it changes.
fn line(kind: usize, number: usize) -> String {
    let who = if number.is_multiple_of(2) { "bob" } else { "carol" };
    let (mark, group) = (mark(kind, number), GROUPS.get(number).copied().unwrap_or("-"));
    match kind {
        0 => format!("run {who} live-run-{number} {mark} -"),
        1 => format!("group {who} live-group-{number} {mark} {group}"),
        2 => format!("membership {who} live-membership-{number} - {group}"),
        3 => format!("sudoers {who} live-sudoers-{number} - -"),
        // A login takes half a second of sshd: two are enough.
        4 if number < 2 => format!("login alice live-login-{number} {mark} alice-adm"),
        4 => format!("login alice live-login-{number} - alice-adm"),
        _ => format!("command {who} live-command {mark} -"),
    }
}

/// How long after it was asked a host was whole.
#[derive(Debug, Clone, Copy)]
pub struct Sound {
    /// Until the daemon answered.
    pub answered: Duration,
    /// Until a command ran.
    pub ran: Duration,
}

/// What must hold after every fault: the daemon answers (within two seconds on a machine that is not loaded; the time is for printing),
/// a command of bob's runs, the checker finds nothing that is not given, the chain verifies.
///
/// # Errors
/// [`Error::Failed`] with what does not hold.
pub fn is_sound(host: &Host) -> Result<Sound, Error> {
    let watch = Stopwatch::start();
    let deadline = Deadline::after(PATIENCE);
    let mut said = host.run(&["timeout", "2", "jitctl", "status"]).output()?;
    while said.status != 0 && !deadline.is_over() {
        said = host.run(&["timeout", "2", "jitctl", "status"]).output()?;
    }
    if said.status != 0 {
        return Err(Error::Failed { what: "the daemon's answer".into(), status: said.status, output: said.both() });
    }
    let answered = watch.elapsed();
    let probe = || host.sh("timeout 8 jitsudo -n id -un").as_user("bob").output();
    let mut ran = probe()?;
    while ran.stdout != "root\n" && !deadline.is_over() {
        ran = probe()?;
    }
    if ran.stdout != "root\n" {
        return Err(Error::Failed { what: "the next request".into(), status: ran.status, output: ran.both() });
    }
    let sound = Sound { answered, ran: watch.elapsed() };
    audit(host)?;
    host.run(&["jitctl", "audit", "verify"]).ok()?;
    Ok(sound)
}
