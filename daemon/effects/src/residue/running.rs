//! What runs under other managers than jitsudo: services, containers, and the jobs of at and cron.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Most groups that are looked at.
const MAX_GROUPS: usize = 20_000;
/// Services whose processes are jobs of somebody's.
const JOBS_OF: [&str; 3] = ["atd.service", "cron.service", "crond.service"];
/// Names of groups that container engines give.
const ENGINES: [&str; 9] =
    ["docker", "libpod", "crio", "kubepods", "containerd", "lxc", "machine", "buildkit", "podman"];

/// What runs.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(super) struct Running {
    /// Services, scopes and containers, by the paths of their groups.
    pub(super) groups: BTreeSet<String>,
    /// Processes of at and cron.
    pub(super) jobs: BTreeSet<Job>,
}

/// One process.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// Of which service.
    pub(super) service: String,
    pub(super) pid: u32,
    /// In clock ticks since boot: with the number it is one process.
    pub(super) started: u64,
    /// Its name.
    pub(super) name: String,
}

/// Looks at all groups.
pub(super) fn running(root: &Path) -> Running {
    let mut running = Running::default();
    // A host that keeps both kinds has the newer one there.
    for place in ["sys/fs/cgroup", "sys/fs/cgroup/unified"] {
        let base = root.join(place);
        if base.join("cgroup.controllers").exists() {
            look(&mut running, root, &base, &base);
            break;
        }
    }
    running
}

fn look(running: &mut Running, root: &Path, base: &Path, top: &Path) {
    let mut folders = vec![top.to_path_buf()];
    let mut looked = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            looked += 1;
            if looked > MAX_GROUPS * 50 || running.groups.len() > MAX_GROUPS {
                return;
            }
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if JOBS_OF.contains(&name.as_str()) {
                jobs(running, root, &path, &name);
            }
            // People's own sessions come and go, and ours are told elsewhere.
            if name == "user.slice" || name.starts_with("jitsudo") || !is_populated(&path) {
                continue;
            }
            let is_unit = name.ends_with(".service") || name.ends_with(".scope");
            let shown = path.strip_prefix(base).unwrap_or(&path).to_string_lossy().into_owned();
            let is_container = !is_unit && is_of_engine(&shown) && has_processes(&path);
            if is_unit || is_container {
                running.groups.insert(format!("/{shown}"));
            }
            if !is_unit && !is_container {
                folders.push(path);
            }
        }
    }
}

fn is_of_engine(path: &str) -> bool {
    path.split('/').any(|part| ENGINES.iter().any(|engine| part.starts_with(engine)))
}

fn is_populated(group: &Path) -> bool {
    let events = fs::read_to_string(group.join("cgroup.events")).unwrap_or_default();
    events.lines().any(|line| line == "populated 1")
}

fn has_processes(group: &Path) -> bool {
    fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|text| !text.trim().is_empty())
}

fn jobs(running: &mut Running, root: &Path, group: &Path, service: &str) {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in text.lines().filter_map(|line| line.parse().ok()) {
        if let Some((name, started)) = process(&root.join("proc").join(format!("{pid}/stat"))) {
            running.jobs.insert(Job { service: service.to_owned(), pid, started, name });
        }
    }
}

/// Name and start of a process (proc(5): fields 2 and 22).
fn process(stat: &PathBuf) -> Option<(String, u64)> {
    let text = String::from_utf8_lossy(&fs::read(stat).ok()?).into_owned();
    let (left, right) = (text.find('(')?, text.rfind(')')?);
    let name = text.get(left + 1..right)?.to_owned();
    let started = text.get(right + 2..)?.split(' ').nth(19)?.parse().ok()?;
    Some((name, started))
}
