//! What is on the host: read from files, cgroups and /proc, and judged by nobody here.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_core::lends::Effect;
use jitsudo_sys::clock;
use serde::Deserialize;

use super::log::Now;

/// Notes of role grants, of this boot and lasting.
const NOTES: [&str; 2] = ["/run/jitsudo/ends", "/var/lib/jitsudo/ends"];
/// Notes of sessions.
const SESSIONS: &str = "/run/jitsudo/sessions";
/// Where a role's drop-ins for sudo lie.
const DROP_INS: &str = "/run/jitsudo/sudoers.d";
/// Where sudo's own lie.
const SUDOERS: &str = "/etc/sudoers.d";
/// The one file of jitsudo's among those.
const OURS: &str = "jitsudo";
/// The one line in it.
pub(crate) const SUDOERS_LINE: &str = "@includedir /run/jitsudo/sudoers.d";
/// What every drop-in of jitsudo's says.
const MARK: &str = "jitsudo: lent to";
/// The spawner.
const SPAWNER: &str = "/usr/libexec/jitsudo/jitsudo-spawn";
/// Its group under systemd, where no spawner runs that could be asked.
const UNIT: &str = "/system.slice/jitsudo-spawn.service";
/// Largest file read, bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Groups below groups.
const DEPTH: u32 = 16;

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) now: Now,
    /// When the spawner that runs was started, CLOCK_BOOTTIME milliseconds; `None` when none runs.
    pub(crate) spawner_since_ms: Option<u64>,
    /// passwd: name, uid, gid.
    pub(crate) accounts: Vec<(String, u32, u32)>,
    /// group, then gshadow: lines of both.
    pub(crate) groups: Vec<Group>,
    pub(crate) drop_ins: Vec<DropIn>,
    pub(crate) notes: Vec<(PathBuf, Result<Note, String>)>,
    /// Name, and until when its command may run at most, CLOCK_BOOTTIME milliseconds.
    pub(crate) session_notes: Vec<(String, u64)>,
    /// Groups of sessions with processes in them.
    pub(crate) sessions: Vec<(SessionId, BTreeSet<u32>)>,
    /// Other groups below the spawner's with processes in them that are no session's own.
    pub(crate) strange_groups: Vec<PathBuf>,
    pub(crate) processes: Vec<Process>,
    /// What could not be read.
    pub(crate) troubles: Vec<String>,
}

/// A group's line in one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Group {
    pub(crate) file: &'static str,
    pub(crate) name: String,
    /// group(5) alone has it.
    pub(crate) gid: Option<u32>,
    pub(crate) members: Vec<String>,
}

/// A file that sudo reads, or would.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DropIn {
    pub(crate) path: PathBuf,
    /// In the folder that is only jitsudo's.
    pub(crate) ours: bool,
    pub(crate) text: Result<String, String>,
}

/// A note of a role grant, as far as the checker reads it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub(crate) struct Note {
    pub(crate) id: AccessId,
    pub(crate) uid: u32,
    #[serde(default)]
    pub(crate) user: String,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    pub(crate) boot: String,
    pub(crate) ends_at: Timestamp,
    pub(crate) ends_boottime_ms: u64,
    #[serde(default)]
    pub(crate) effects: Vec<Noted>,
}

/// One effect in it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub(crate) struct Noted {
    pub(crate) effect: Effect,
    #[serde(default)]
    pub(crate) gid: Option<u32>,
    pub(crate) ours: bool,
    pub(crate) applied: bool,
}

/// A process with groups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) name: String,
    pub(crate) uids: Vec<u32>,
    /// Its four gids and the supplementary ones.
    pub(crate) gids: BTreeSet<u32>,
    /// The audit session, where it has one.
    pub(crate) audit_session: Option<u32>,
}

impl Seen {
    pub(super) fn of_this_host() -> Self {
        let moment = clock::now();
        let mut troubles = Vec::new();
        let spawner = spawner();
        let (sessions, strange_groups) = sessions(spawner.as_ref().map(|(pid, _)| *pid));
        Self {
            now: Now {
                wall: Timestamp::from_nanosecond(moment.wall_ns).unwrap_or(Timestamp::MAX),
                boottime_ms: moment.boottime_ms,
                boot: clock::boot_id().unwrap_or_default(),
            },
            spawner_since_ms: spawner.and_then(|(_, since)| since),
            accounts: accounts(&text("/etc/passwd", &mut troubles)),
            groups: [("/etc/group", 2), ("/etc/gshadow", usize::MAX)]
                .into_iter()
                .flat_map(|(file, gid)| groups(file, gid, &text(file, &mut troubles)))
                .collect(),
            drop_ins: drop_ins(),
            notes: NOTES.into_iter().flat_map(|folder| notes(Path::new(folder))).collect(),
            session_notes: session_notes(),
            sessions,
            strange_groups,
            processes: processes(),
            troubles,
        }
    }
}

fn text(path: &str, troubles: &mut Vec<String>) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| {
        // Not every host has gshadow.
        if error.kind() != io::ErrorKind::NotFound {
            troubles.push(format!("cannot read {path}: {error}"));
        }
        String::new()
    })
}

pub(super) fn accounts(passwd: &str) -> Vec<(String, u32, u32)> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        Some(((*fields.first()?).to_owned(), fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    passwd.lines().filter_map(line).collect()
}

/// Lines of group(5) and gshadow(5): the members are the last field of both; administrators of a group are not in it.
pub(super) fn groups(file: &'static str, gid: usize, text: &str) -> Vec<Group> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let members = fields.get(3)?.split(',').filter(|member| !member.is_empty());
        Some(Group {
            file,
            name: (*fields.first()?).to_owned(),
            gid: fields.get(gid).and_then(|number| number.parse().ok()),
            members: members.map(str::to_owned).collect(),
        })
    };
    text.lines().filter_map(line).collect()
}

fn drop_ins() -> Vec<DropIn> {
    let mut found = Vec::new();
    for (folder, ours) in [(DROP_INS, true), (SUDOERS, false)] {
        for (name, path) in files(Path::new(folder)) {
            // sudoers(5): such names are passed over.
            if name.contains('.') || name.ends_with('~') {
                continue;
            }
            let text = read(&path);
            let is_marked = text.as_ref().is_ok_and(|text| text.contains(MARK));
            if ours || name == OURS || is_marked || name.parse::<AccessId>().is_ok() {
                found.push(DropIn { path, ours, text });
            }
        }
    }
    found
}

fn notes(folder: &Path) -> Vec<(PathBuf, Result<Note, String>)> {
    // What was taken back and is to be recorded is set aside.
    let is_note = |name: &str| !name.starts_with('.') && !name.ends_with(".undone");
    let named = files(folder).into_iter().filter(|(name, _)| is_note(name));
    let note = |name: String, path: &Path| {
        let note: Note = serde_json::from_str(&read(path)?).map_err(|error| error.to_string())?;
        if note.id.as_str() == name { Ok(note) } else { Err("its name is not the id in it".to_owned()) }
    };
    named
        .map(|(name, path)| {
            let note = note(name, &path);
            (path, note)
        })
        // Removed between the two reads.
        .filter(|(path, _)| path.symlink_metadata().is_ok())
        .collect()
}

fn session_notes() -> Vec<(String, u64)> {
    let note = |name: String, path: &Path| {
        let text = read(path).ok()?;
        Some((name, text.split_whitespace().nth(1)?.parse().ok()?))
    };
    files(Path::new(SESSIONS)).into_iter().filter_map(|(name, path)| note(name, &path)).collect()
}

fn files(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect()
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = jitsudo_sys::trusted::read(path, MAX_BYTES).map_err(|error| error.to_string())?;
    String::from_utf8(bytes.unwrap_or_default()).map_err(|_| "it is not text".to_owned())
}

/// The spawner's process and when it was started.
fn spawner() -> Option<(u32, Option<u64>)> {
    let runs = |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| is_program(&exe, SPAWNER));
    let pid = pids().into_iter().find(runs)?;
    Some((pid, started_ms(pid)))
}

/// An upgrade replaces the file under the running program.
fn is_program(exe: &Path, program: &str) -> bool {
    exe.to_str().is_some_and(|exe| exe.trim_end_matches(" (deleted)") == program)
}

/// proc(5): field 22 of stat, in hundredths of a second on every Linux.
fn started_ms(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(19)?.parse::<u64>().ok().map(|ticks| ticks.saturating_mul(10))
}

fn pids() -> Vec<u32> {
    files(Path::new("/proc")).into_iter().filter_map(|(name, _)| name.parse().ok()).collect()
}

/// The groups below the spawner's that have processes: those of sessions, and those that are nobody's.
fn sessions(spawner: Option<u32>) -> (Vec<(SessionId, BTreeSet<u32>)>, Vec<PathBuf>) {
    let own = spawner.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/cgroup")).ok());
    let own = own.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("0::"))).unwrap_or(UNIT);
    let (mut sessions, mut strange) = (Vec::new(), Vec::new());
    for mount in cgroup2() {
        for (name, path) in files(&mount.join(own.trim_start_matches('/'))) {
            let pids = below(&path, DEPTH);
            if pids.is_empty() {
                continue;
            }
            match SessionId::try_from(name.clone()) {
                Ok(session) => sessions.push((session, pids)),
                Err(_) if name.starts_with("sup.") => {}
                Err(_) => strange.push(path),
            }
        }
    }
    (sessions, strange)
}

fn cgroup2() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = mounts.lines().filter(|line| line.contains(" - cgroup2 "));
    let mut points: Vec<PathBuf> = mounts.filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect();
    points.truncate(1);
    points
}

/// Processes in a group and in those below it.
fn below(group: &Path, depth: u32) -> BTreeSet<u32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut pids: BTreeSet<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    if depth > 0 {
        let groups = files(group).into_iter().filter(|(_, path)| path.is_dir());
        pids.extend(groups.flat_map(|(_, path)| below(&path, depth - 1)));
    }
    pids
}

fn processes() -> Vec<Process> {
    let process = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let audit = fs::read_to_string(format!("/proc/{pid}/sessionid")).unwrap_or_default();
        parse_process(pid, &status, &audit)
    };
    pids().into_iter().filter_map(process).collect()
}

/// From status and sessionid of proc(5); none for a process that has ended and waits for its parent.
pub(super) fn parse_process(pid: u32, status: &str, audit: &str) -> Option<Process> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let numbers = |name: &str| -> Vec<u32> {
        field(name).unwrap_or_default().split_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    if field("State:").is_some_and(|state| state.starts_with('Z')) {
        return None;
    }
    let gids = numbers("Gid:").into_iter().chain(numbers("Groups:")).collect();
    let audit_session = audit.trim().parse().ok().filter(|session| ![0, u32::MAX].contains(session));
    Some(Process { pid, name: field("Name:")?.to_owned(), uids: numbers("Uid:"), gids, audit_session })
}
