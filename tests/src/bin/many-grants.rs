//! Makes a host on which many roles are held, as daemons leave it that were stopped: accounts, ledger, notes, entries of the group file,
//! drop-ins. `many-grants ACCOUNTS EACH SECONDS KIND…`: of each kind (`run`, `group`, `membership`, `sudoers`) so many for each account, all
//! ending in the same moment, which is printed (nanoseconds since 1970). For measurements; the daemons must be down.
//!
//! The accounts are `many0`, `many1`, …, with uids from 20000, all of group `many`; the roles are `many-KIND`, by the rule `many`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use jitsudo_core::id::AccessId;
use jitsudo_core::lends::Effect;
use jitsudo_core::name::{Gid, Uid};
use jitsudo_core::{SignedDuration, Timestamp};
use jitsudo_ledger::{Body, Fold, FoldError, Line, Options, Priority, Writer};
use jitsudo_link::notes::{Note, Noted, Notes};
use jitsudo_link::{LEDGER, SUDOERS};
use jitsudo_sys::clock;
use serde_json::{Value, json};

/// The first account's uid, and the gid of all.
const FIRST: u64 = 20_000;
/// The group that memberships are lent of, and the one that sessions are lent.
const MEMBERSHIP: &str = "games";
const GROUP: &str = "plugdev";
/// Lines of one batch of the ledger.
const BATCH: usize = 1_000;

/// Adds nothing up: the daemon will. Without a snapshot the newest segment grows on.
struct Blind;

impl Fold for Blind {
    type State = ();

    fn empty(&self) {}

    fn restore(&self, _: &[u8]) -> Result<(), FoldError> {
        Ok(())
    }

    fn apply(&self, (): &mut (), _: &Line<'_>) -> Result<(), FoldError> {
        Ok(())
    }

    fn snapshot(&self, (): &()) -> Result<String, FoldError> {
        Err(FoldError("there is none".to_owned()))
    }
}

fn main() -> ExitCode {
    match make() {
        Ok(end_ns) => {
            println!("{end_ns}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("many-grants: {error}");
            ExitCode::FAILURE
        }
    }
}

/// When they end, the same for all.
struct Ends {
    now: Timestamp,
    now_ms: u64,
    at: Timestamp,
    at_ms: u64,
    boot: String,
}

fn make() -> Result<i128, Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [accounts, each, seconds, kinds @ ..] = words.as_slice() else {
        return Err("ACCOUNTS EACH SECONDS KIND…".into());
    };
    let (accounts, each, seconds): (u64, u64, u32) = (accounts.parse()?, each.parse()?, seconds.parse()?);
    add_accounts(accounts)?;
    let moment = clock::now();
    let now = Timestamp::from_nanosecond(moment.wall_ns).map_err(|error| error.to_string())?;
    let ends = Ends {
        now,
        now_ms: moment.boottime_ms,
        at: now.checked_add(SignedDuration::from_secs(seconds.into())).map_err(|error| error.to_string())?,
        at_ms: moment.boottime_ms + u64::from(seconds) * 1_000,
        boot: clock::boot_id()?,
    };
    let gid = |name: &str| gid_of(name).ok_or_else(|| format!("there is no group {name}"));
    let gids: BTreeMap<&str, u32> = [(MEMBERSHIP, gid(MEMBERSHIP)?), (GROUP, gid(GROUP)?)].into();
    let opened = Writer::open(Path::new(LEDGER), Blind, Options { reserve_bytes: 0, ..Options::default() })?;
    let (mut writer, mut lines, mut members) = (opened.writer, Vec::new(), Vec::new());
    let first = u64::try_from(moment.wall_ns / 1_000_000)?.saturating_sub(accounts * each * kinds.len() as u64);
    fs::create_dir_all(SUDOERS)?;
    let notes = Notes::default();
    // No two runs give the same ids.
    let mut random = [7; 10];
    random.iter_mut().zip(moment.wall_ns.to_le_bytes()).for_each(|(byte, of_now)| *byte = of_now);
    let mut number = 0;
    for account in 0..accounts {
        for kind in kinds.iter().flat_map(|kind| std::iter::repeat_n(kind, usize::try_from(each).unwrap_or(0))) {
            let note = note(AccessId::new(first + number, random), account, kind, &ends, &gids);
            number += 1;
            if kind == "membership" {
                members.push(note.user.clone());
            }
            if kind == "sudoers" {
                let place = Path::new(SUDOERS).join(note.id.as_str());
                fs::write(place, format!("#{} ALL=(root) NOPASSWD: /usr/bin/whoami \"\"\n", note.uid.0))?;
            }
            for event in events(&note, kind, &ends, &gids) {
                lines.push(Body::new(event.to_string())?);
            }
            notes.write(&note)?;
            if lines.len() >= BATCH {
                writer.append(&std::mem::take(&mut lines), Priority::Essential)?;
            }
        }
    }
    if !lines.is_empty() {
        writer.append(&lines, Priority::Essential)?;
    }
    writer.sync()?;
    add_members(&members)?;
    Ok(ends.at.as_nanosecond())
}

fn gid_of(name: &str) -> Option<u32> {
    let text = fs::read_to_string("/etc/group").ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":x:")?.split(':').next()?.parse().ok())
}

fn append(path: &str, text: &str) -> Result<(), Box<dyn Error>> {
    fs::write(path, fs::read_to_string(path)? + text).map_err(Into::into)
}

fn add_accounts(accounts: u64) -> Result<(), Box<dyn Error>> {
    if gid_of("many").is_some() {
        return Ok(());
    }
    let (mut passwd, mut shadow) = (String::new(), String::new());
    for account in 0..accounts {
        writeln!(passwd, "many{account}:x:{}:{FIRST}::/:/bin/sh", FIRST + account)?;
        writeln!(shadow, "many{account}:*:20000:0:99999:7:::")?;
    }
    append("/etc/passwd", &passwd)?;
    append("/etc/shadow", &shadow)?;
    append("/etc/group", &format!("many:x:{FIRST}:\n"))?;
    append("/etc/gshadow", "many:!::\n")
}

/// As gpasswd does, in both files.
fn add_members(members: &[String]) -> Result<(), Box<dyn Error>> {
    for path in ["/etc/group", "/etc/gshadow"] {
        let mut text = String::new();
        for line in fs::read_to_string(path)?.lines() {
            let is_it = line.starts_with(&format!("{MEMBERSHIP}:")) && !members.is_empty();
            let comma = if is_it && !line.ends_with(':') { "," } else { "" };
            let more = if is_it { members.join(",") } else { String::new() };
            writeln!(text, "{line}{comma}{more}")?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}

fn note(id: AccessId, account: u64, kind: &str, ends: &Ends, gids: &BTreeMap<&str, u32>) -> Note {
    let effect = match kind {
        "membership" => Some((Effect::Membership(MEMBERSHIP.to_owned()), gids.get(MEMBERSHIP).map(|gid| Gid(*gid)))),
        "sudoers" => Some((Effect::Sudoers(vec!["/usr/bin/whoami".to_owned()]), None)),
        _ => None,
    };
    Note {
        id,
        host: "web-1".to_owned(),
        uid: Uid(u32::try_from(FIRST + account).unwrap_or(0)),
        user: format!("many{account}"),
        rule: "many".to_owned(),
        role: format!("many-{kind}"),
        reason: Some("cert renewed, nginx must reload".to_owned()),
        ticket: Some("OPS-4711".to_owned()),
        groups: (kind == "group").then(|| GROUP.to_owned()).into_iter().collect(),
        boot: ends.boot.clone(),
        ends_at: ends.at,
        ends_boottime_ms: ends.at_ms,
        effects: effect.into_iter().map(|(effect, gid)| Noted { effect, gid, ours: true, applied: true }).collect(),
        activating: false,
        ending: None,
        ended: false,
        first_end: None,
    }
}

/// Its whole life until now, as the ledger has it.
fn events(note: &Note, kind: &str, ends: &Ends, gids: &BTreeMap<&str, u32>) -> Vec<Value> {
    let (id, digest) = (&note.id, "9c".repeat(32));
    let groups: Vec<Value> = match kind {
        "group" => vec![json!({"gid": gids.get(GROUP), "name": GROUP})],
        _ => Vec::new(),
    };
    let mut events = vec![
        json!({"event": "requested", "id": id, "uid": note.uid, "user": note.user, "loginuid": note.uid, "origin": null, "kind": "role",
            "argv": [], "program": null, "cwd": null, "target": null, "role": note.role, "reason": note.reason, "ticket": note.ticket,
            "digest": digest, "tty": 34816, "pid": 4711}),
        json!({"event": "decided", "id": id, "allowed": true, "rule": note.rule, "source": "policy.d/10-web.toml:14", "role": note.role,
            "policy": digest}),
        json!({"event": "activating", "id": id, "ends_at": ends.at, "ends_boottime_ms": ends.at_ms, "groups": groups}),
    ];
    events.extend(
        note.effects
            .iter()
            .map(|noted| json!({"event": "effect_applied", "id": id, "effect": noted.effect, "ours": true})),
    );
    events.push(json!({"event": "active", "id": id}));
    for event in &mut events {
        let head = json!({"host": "web-1", "boot": ends.boot, "wall": ends.now, "boottime_ms": ends.now_ms,
            "actor": {"program": "jitsudod"}});
        if let (Some(event), Value::Object(head)) = (event.as_object_mut(), head) {
            event.extend(head);
        }
    }
    events
}
