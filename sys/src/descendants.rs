//! The descendants of this process, where no cgroup can be made: it is their subreaper (prctl(2), PR_SET_CHILD_SUBREAPER).

use std::collections::{HashMap, HashSet};

/// A live process as /proc/PID/stat shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    parent: u32,
    ended: bool,
}

/// All descendants that have not ended. One that is born during the reading may be missing: ask again until nothing is left.
#[must_use]
pub fn all() -> Vec<u32> {
    of(std::process::id())
}

fn listed() -> HashMap<u32, Entry> {
    let mut entries = HashMap::new();
    let Ok(listing) = std::fs::read_dir("/proc") else { return entries };
    for pid in listing.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
        if let Some(entry) = parse(&String::from_utf8_lossy(&stat)) {
            entries.insert(pid, entry);
        }
    }
    entries
}

/// All descendants of another process that have not ended, nearest kin of [`all`].
#[must_use]
pub fn of(root: u32) -> Vec<u32> {
    below(root, &listed())
}

fn below(root: u32, entries: &HashMap<u32, Entry>) -> Vec<u32> {
    let mut found = HashSet::from([root]);
    loop {
        let before = found.len();
        found.extend(
            entries.iter().filter(|(_, entry)| found.contains(&entry.parent)).map(|(pid, _)| *pid).collect::<Vec<_>>(),
        );
        if found.len() == before {
            break;
        }
    }
    let live = |pid: &u32| entries.get(pid).is_some_and(|entry| !entry.ended);
    found.into_iter().filter(|pid| *pid != root).filter(live).collect()
}

fn parse(stat: &str) -> Option<Entry> {
    let mut after = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let ended = matches!(after.next()?, "Z" | "X" | "x");
    Some(Entry { parent: after.next()?.parse().ok()?, ended })
}

/// The name of a process (its comm, at most 15 bytes), if it is there.
#[must_use]
pub fn name(pid: u32) -> Option<Vec<u8>> {
    let mut name = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    if name.last() == Some(&b'\n') {
        name.pop();
    }
    Some(name)
}

/// Makes this process the parent of its orphaned descendants.
///
/// # Errors
/// prctl(2)'s.
pub fn adopt_orphans() -> std::io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found_through_generations_and_the_ended_are_not() {
        let entry = |parent, ended| Entry { parent, ended };
        let entries = HashMap::from([
            (1, entry(0, false)),
            (5, entry(1, false)),
            (6, entry(5, false)),
            (7, entry(6, true)),
            (8, entry(1, false)),
        ]);
        let mut found = below(5, &entries);
        found.sort_unstable();
        assert_eq!(found, [6]);
        assert_eq!(parse("7 (a) b) R 5 7 9"), Some(entry(5, false)));
        assert_eq!(parse("7"), None);
    }

    #[test]
    fn own_child_is_a_descendant_with_its_name() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(all().contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!all().contains(&child.id()));
        assert_eq!(name(u32::MAX), None);
    }
}
