//! `doctor`: does everything that jitsudo needs stand, and are the privileges on this host exactly those that were given?

use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use jitsudo_protocol::client::Ask;

use super::{say, say_json};
use crate::arguments::Doctor;
use crate::decider::Decider;
use crate::failure::Failure;
use crate::privileges::{self, SUDOERS_LINE};
use crate::records::{ResidueCounts, Status, read};
use crate::screen::doctor::{Check, Health, as_json, privileges_as_json, privileges_screen, screen};
use crate::text::{View, counted, digest, exact};

const LEDGER: &str = "/var/lib/jitsudo/ledger";
const SPOOL: &str = "/var/lib/jitsudo/spool";
const DROP_INS: &str = "/run/jitsudo/sudoers.d";
const SUDO: &str = "/usr/bin/sudo";
const SUDOERS: &str = "/etc/sudoers";
const OUR_SUDOERS: &str = "/etc/sudoers.d/jitsudo";

/// Looks.
pub(super) fn run(what: &Doctor, json: bool, view: &View) -> Result<(), Failure> {
    let is_root = jitsudo_sys::nix::unistd::geteuid().is_root();
    if what.privileges {
        if !is_root {
            return Err(Failure::Usage {
                message: "cannot compare the privileges of this host: only root can read the records".to_owned(),
                hint: Some("jitsudo jitctl doctor --privileges, where a rule gives it"),
            });
        }
        let verdict = privileges::look(Path::new(LEDGER));
        if json {
            say_json(&privileges_as_json(&verdict))?;
        } else {
            say(&privileges_screen(&verdict, view))?;
        }
        return if verdict.holds() { Ok(()) } else { Err(Failure::BadCheckSaid) };
    }
    let mut checks = daemon(view);
    if is_root {
        checks.push(ledger());
        checks.extend(spool());
        checks.push(clocks(view.now));
    }
    checks.push(sweep());
    checks.push(sudoers(is_root));
    if is_root {
        checks.push(compared());
    }
    if json {
        say_json(&as_json(&checks))?;
    } else {
        say(&screen(&checks, view))?;
    }
    if checks.iter().any(|check| check.health == Health::Bad) { Err(Failure::BadCheckSaid) } else { Ok(()) }
}

/// What the daemon says of itself.
fn daemon(view: &View) -> Vec<Check> {
    let asked = Decider::connect().and_then(|decider| decider.ask_one(Ask::Status)).and_then(read::<Status>);
    let status = match asked {
        Ok(status) => status,
        Err(failure) => {
            let words = failure.words();
            let words = words.lines().next().unwrap_or_default().trim_start_matches("jitctl: ").to_owned();
            return vec![Check::bad("daemon", words, "systemctl status jitsudod.socket jitsudod")];
        }
    };
    let since = status.since.map_or_else(String::new, |since| format!(", up for {}", view.since(since)));
    let mut checks = vec![Check::ok("daemon", format!("jitsudod {}{since}", status.version))];
    checks.push(if status.spawner.connected {
        Check::ok("spawner", "connected".to_owned())
    } else {
        Check::bad("spawner", "not connected: nothing can be started".to_owned(), "systemctl status jitsudo-spawn")
    });
    checks.push(match (&status.policy_trouble, &status.policy) {
        (Some(trouble), _) => Check::bad("policy", trouble.clone(), "jitctl policy apply"),
        (None, Some(policy)) => Check::ok("policy", digest(policy)),
        (None, None) => {
            Check::warn("policy", "none was applied: nobody is allowed anything".to_owned(), "jitctl policy apply")
        }
    });
    if !status.ledger.sound {
        let cause = status.ledger.cause.clone().unwrap_or_else(|| "not sound".to_owned());
        checks.push(Check::bad("record", cause, "jitctl audit verify"));
    }
    if let Some(trouble) = &status.ledger.signed.trouble {
        checks.push(Check::warn("key", format!("the head is not signed: {trouble}"), "journalctl -t jitsudo-spawn"));
    }
    checks.extend(residue(&status.residue));
    checks
}

/// What grants may have left and nobody has looked at.
fn residue(counts: &ResidueCounts) -> Option<Check> {
    if counts.forgotten > 0 {
        let words = format!("{} of residue dropped before anybody looked", counted(counts.forgotten, "list"));
        return Some(Check::warn("residue", words, "jitctl log --json"));
    }
    (counts.waiting > 0).then(|| {
        let grants = counted(counts.waiting, "grant");
        Check::warn("residue", format!("nobody has looked at what {grants} may have left"), "jitctl residue")
    })
}

fn ledger() -> Check {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    match jitsudo_ledger::verify(Path::new(LEDGER), &[], threads) {
        Err(error) => Check::bad("ledger", crate::failure::of_kernel(&error), "systemctl status jitsudod"),
        Ok(report) => match &report.bad {
            Some(flaw) => Check::bad("ledger", flaw.to_string(), "jitctl audit verify"),
            None => Check::ok("ledger", format!("{} proved", counted(report.events, "event"))),
        },
    }
}

/// Events that wait for a writer that does not come.
fn spool() -> Option<Check> {
    let names = std::fs::read_dir(SPOOL).into_iter().flatten().flatten();
    let waiting = names.filter(|name| !name.file_name().as_encoded_bytes().starts_with(b"."));
    let old = waiting.filter_map(|file| file.metadata().ok()?.modified().ok()).filter(|at| {
        let now = jitsudo_sys::clock::now().wall_ns;
        let at = at.duration_since(std::time::UNIX_EPOCH).map_or(0, |at| i128::try_from(at.as_nanos()).unwrap_or(0));
        now.saturating_sub(at) > 60_000_000_000
    });
    let count = old.count() as u64;
    (count > 0).then(|| {
        let words = format!("{} of sessions and ends wait for more than a minute", counted(count, "event"));
        Check::warn("spool", words, "systemctl status jitsudod")
    })
}

/// A clock that was set back makes no grant longer, but records that lie in the future.
fn clocks(now: Timestamp) -> Check {
    let newest = jitsudo_ledger::tail(Path::new(LEDGER), 1, |_| true).ok();
    let newest = newest.and_then(|(lines, _)| jitsudo_core::event::Entry::read(&lines.first()?.bytes).ok());
    match newest.map(|entry| now.duration_since(entry.wall).as_secs()) {
        Some(ahead) if ahead < -1 => {
            let words = format!("the wall clock is {} behind the newest record", exact(ahead.unsigned_abs()));
            Check::bad("clocks", words, "timedatectl")
        }
        _ => Check::ok("clocks", "not behind the records".to_owned()),
    }
}

/// Who ends what is over when no daemon lives.
fn sweep() -> Check {
    let says = |words: &[&str]| {
        let output = Command::new("/usr/bin/systemctl").args(words).stdin(Stdio::null()).stderr(Stdio::null()).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let next = "systemctl enable --now jitsudo-sweep.timer jitsudo-sweep-boot.service";
    if says(&["is-active", "jitsudo-sweep.timer"]) != "active" {
        return Check::bad("sweep", "its timer does not run: a dead daemon would end nothing".to_owned(), next);
    }
    if says(&["is-enabled", "jitsudo-sweep-boot.service"]) != "enabled" {
        return Check::bad("sweep", "it is not enabled at boot".to_owned(), next);
    }
    Check::ok("sweep", "its timer runs, and it runs at boot".to_owned())
}

fn sudoers(is_root: bool) -> Check {
    if !Path::new(SUDO).exists() {
        return Check::ok("sudoers", "there is no sudo here".to_owned());
    }
    let next = "install -m 0440 /usr/share/jitsudo/sudoers /etc/sudoers.d/jitsudo";
    if !Path::new(OUR_SUDOERS).exists() && is_root {
        let words = format!("{OUR_SUDOERS} is gone: roles with sudoers lines cannot be given");
        return Check::warn("sudoers", words, next);
    }
    if !is_root {
        return Check::ok("sudoers", "only root can read them".to_owned());
    }
    let ours = std::fs::read_to_string(OUR_SUDOERS).unwrap_or_default();
    if !ours.lines().any(|line| line.trim() == SUDOERS_LINE) {
        return Check::warn("sudoers", format!("{OUR_SUDOERS} does not say {SUDOERS_LINE}"), next);
    }
    let main = std::fs::read_to_string(SUDOERS).unwrap_or_default();
    let reads = |line: &str| matches!(line.trim(), "@includedir /etc/sudoers.d" | "#includedir /etc/sudoers.d");
    if main.lines().any(reads) && without_end() > 0 {
        let lines = counted(without_end(), "drop-in");
        let words =
            format!("{lines} of sudo without an end of its own here: only jitsudo takes it back (sudoers-without-end)");
        Check::warn("sudoers", words, "jitctl grants --all")
    } else if main.lines().any(reads) {
        Check::ok("sudoers", format!("{SUDOERS_LINE} is read"))
    } else {
        Check::warn("sudoers", format!("{SUDOERS} does not include /etc/sudoers.d"), "visudo")
    }
}

/// Drop-ins that are there now, and that sudo does not end by itself.
fn without_end() -> u64 {
    let files = std::fs::read_dir(DROP_INS).into_iter().flatten().flatten();
    let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
    let lacks = |text: &String| text.lines().any(|line| line.contains("NOPASSWD: ") && !line.contains("NOTAFTER="));
    texts.filter(lacks).count() as u64
}

fn compared() -> Check {
    let verdict = privileges::look(Path::new(LEDGER));
    let (known, unknown): (Vec<_>, Vec<_>) = verdict.findings.iter().partition(|finding| finding.known);
    if !unknown.is_empty() {
        let words = format!("{} on this host that no grant gives", counted(unknown.len() as u64, "privilege"));
        return Check::bad("grants", words, "jitctl doctor --privileges");
    }
    if let Some(first) = known.first() {
        let words = format!("{} could not be taken back yet: {}", counted(known.len() as u64, "privilege"), first.why);
        return Check::warn("grants", words, "jitctl doctor --privileges");
    }
    let words = format!("{}, nothing on this host beyond them", counted(verdict.grants, "live grant"));
    Check::ok("grants", words)
}
