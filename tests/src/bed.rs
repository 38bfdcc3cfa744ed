//! What the hosts of one process share on the machine: names, a folder, a switch; and the proof that nothing stays.
//!
//! Every name begins with `jst-PID`. A process that was killed could not clean up: the next one that boots a host
//! does it, for every `jst-` name whose process is gone. Nothing is ever killed by name; only by cgroup.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use crate::clock::wait_until;
use crate::error::{Error, io};
use crate::tool::tool;

const PREFIX: &str = "jst-";
/// Disks live in memory: an fsync on a busy disk would be most of a test's time.
const FOLDER: &str = "/dev/shm";
/// The switch's address; host N has the same with `N + 10`.
const NETWORK: &str = "10.78.0";

/// Number of hosts of this process that have a place, and the number of the next one.
static PLACES: Mutex<(u32, u32)> = Mutex::new((0, 0));

/// Whether the calling process is root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says what is needed when the calling process is not root.
///
/// # Errors
/// [`Error::NotRoot`].
pub fn require_root() -> Result<(), Error> {
    if is_root() { Ok(()) } else { Err(Error::NotRoot) }
}

/// The package that the host tests install: `$JITSUDO_TEST_PACKAGE`, else the newest in `target/package`.
///
/// # Errors
/// [`Error::Io`] when there is none; `cargo xtask package` builds it.
pub fn package_file() -> Result<PathBuf, Error> {
    if let Some(path) = std::env::var_os("JITSUDO_TEST_PACKAGE") {
        return Ok(PathBuf::from(path));
    }
    let folder = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from)
        .join("package");
    let missing = || format!("find a package in {} (`cargo xtask package` builds it)", folder.display());
    let newest = fs::read_dir(&folder)
        .map_err(io(missing()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .max_by_key(|path| fs::metadata(path).and_then(|data| data.modified()).ok());
    newest.ok_or_else(|| Error::Io { what: missing(), source: std::io::ErrorKind::NotFound.into() })
}

/// A host's share of the machine: its names and its folder. Dropping it removes them.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) cgroup: PathBuf,
    pub(crate) netns: String,
    pub(crate) address: String,
    pub(crate) hosts_file: PathBuf,
}

impl Place {
    /// Takes the next free place of this process and cables it to the switch.
    pub(crate) fn take(name: &str) -> Result<Self, Error> {
        require_root()?;
        let mut places = PLACES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if places.0 == 0 {
            clear_after_the_dead()?;
            make_switch()?;
        }
        let number = places.1;
        let id = format!("{}-{number}", own_prefix());
        let place = Self {
            folder: own_folder().join(number.to_string()),
            cgroup: cgroup2()?.join(&id),
            netns: id,
            address: format!("{NETWORK}.{}", number + 10),
            hosts_file: own_folder().join("hosts"),
        };
        *places = (places.0 + 1, number + 1);
        drop(places);
        // From here on `place` cleans up when a step fails.
        for folder in ["mnt", "root"] {
            let path = place.folder.join(folder);
            fs::create_dir_all(&path).map_err(io(format!("create {}", path.display())))?;
        }
        place.connect(number)?;
        let known = fs::read_to_string(&place.hosts_file).unwrap_or_default();
        let line = format!("{} {name}\n", place.address);
        fs::write(&place.hosts_file, known + &line).map_err(io("write the hosts file"))?;
        Ok(place)
    }

    fn connect(&self, number: u32) -> Result<(), Error> {
        let (netns, switch, cable) = (self.netns.as_str(), switch(), format!("h{number}"));
        let address = format!("{}/24", self.address);
        tool("ip", &["netns", "add", netns])?;
        tool("ip", &["-n", netns, "link", "set", "lo", "up"])?;
        tool("ip", &["-n", &switch, "link", "add", &cable, "type", "veth", "peer", "name", "host0", "netns", netns])?;
        tool("ip", &["-n", &switch, "link", "set", &cable, "master", "jst-br", "up"])?;
        tool("ip", &["-n", netns, "addr", "add", &address, "dev", "host0"])?;
        tool("ip", &["-n", netns, "link", "set", "host0", "up"])?;
        tool("ip", &["-n", netns, "route", "add", "default", "via", &format!("{NETWORK}.1")])?;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        kill_cgroup(&self.cgroup);
        let _ = tool("ip", &["netns", "del", &self.netns]);
        let _ = fs::remove_dir_all(&self.folder);
        let mut places = PLACES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        places.0 = places.0.saturating_sub(1);
        if places.0 == 0 {
            let _ = tool("ip", &["netns", "del", &switch()]);
            let _ = fs::remove_dir_all(own_folder());
        }
    }
}

/// Kills exactly the processes of a cgroup and below, and removes it. Says whether it is gone.
pub(crate) fn kill_cgroup(cgroup: &Path) -> bool {
    if !cgroup.exists() {
        return true;
    }
    let _ = fs::write(cgroup.join("cgroup.kill"), "1");
    wait_until(Duration::from_secs(20), || !is_populated(cgroup));
    wait_until(Duration::from_secs(2), || {
        remove_cgroups(cgroup);
        !cgroup.exists()
    })
}

/// Whether a process lives in a cgroup or below it.
pub(crate) fn is_populated(cgroup: &Path) -> bool {
    fs::read_to_string(cgroup.join("cgroup.events")).is_ok_and(|events| events.contains("populated 1"))
}

fn remove_cgroups(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroups(&entry.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}

/// What the hosts of this process have left on the machine; empty after the last one is dropped.
///
/// Looks at cgroups, network namespaces, mounts, loop devices and the disks' folder.
#[must_use]
pub fn leftovers() -> Vec<String> {
    let own = own_prefix();
    let belongs = |text: &str| names_in(text).any(|name| name == own || name.starts_with(&format!("{own}-")));
    everything_named().into_iter().filter(|line| belongs(line)).collect()
}

/// Removes what processes left that are gone. Returns what was found.
///
/// # Errors
/// [`Error::NotRoot`].
pub fn clear_after_the_dead() -> Result<Vec<String>, Error> {
    require_root()?;
    let mut found = Vec::new();
    for line in everything_named() {
        let Some(name) = names_in(&line).next() else { continue };
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).unwrap_or_default();
        // A zombie still has its folder in /proc, but no command line.
        let lives = fs::read(Path::new("/proc").join(pid).join("cmdline")).is_ok_and(|words| !words.is_empty());
        if pid.is_empty() || lives {
            continue;
        }
        if let Some(cgroup) = line.strip_prefix("cgroup ") {
            kill_cgroup(Path::new(cgroup));
        } else if let Some(netns) = line.strip_prefix("netns ") {
            let _ = tool("ip", &["netns", "del", netns]);
        } else if let Some(folder) = line.strip_prefix("folder ") {
            let _ = fs::remove_dir_all(folder);
        }
        found.push(line);
    }
    Ok(found)
}

fn everything_named() -> Vec<String> {
    let listed = |kind: &str, folder: &Path, whole: bool| -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
        names
            .map(|entry| {
                let name = if whole { entry.path().into_os_string() } else { entry.file_name() };
                format!("{kind} {}", name.to_string_lossy())
            })
            .collect()
    };
    // Cgroups first: what they hold keeps the rest busy.
    let mut all = cgroup2().map(|folder| listed("cgroup", &folder, true)).unwrap_or_default();
    all.extend(listed("netns", Path::new("/run/netns"), false));
    all.extend(listed("folder", Path::new(FOLDER), true));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // A network namespace is a mount of its name below /run/netns: listed above already.
    let ours = |line: &&str| line.contains(PREFIX) && !line.contains("/run/netns/");
    all.extend(mounts.lines().filter(ours).map(|line| format!("mount {line}")));
    let loops = tool("losetup", &["--list", "--noheadings", "--output", "NAME,BACK-FILE"]).unwrap_or_default();
    all.extend(loops.lines().filter(|line| line.contains(PREFIX)).map(|line| format!("loop {line}")));
    all
}

/// The `jst-…` words of a line.
fn names_in(line: &str) -> impl Iterator<Item = &str> {
    line.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').filter(|word| word.starts_with(PREFIX))
}

fn own_prefix() -> String {
    format!("{PREFIX}{}", std::process::id())
}

fn own_folder() -> PathBuf {
    Path::new(FOLDER).join(own_prefix())
}

fn switch() -> String {
    format!("{}-sw", own_prefix())
}

/// A bridge in a network namespace of its own: the machine's is never touched.
fn make_switch() -> Result<(), Error> {
    let switch = switch();
    fs::create_dir_all(own_folder()).map_err(io("create the folder of the disks"))?;
    fs::write(own_folder().join("hosts"), "127.0.0.1 localhost\n").map_err(io("write the hosts file"))?;
    tool("ip", &["netns", "add", &switch])?;
    tool("ip", &["-n", &switch, "link", "set", "lo", "up"])?;
    tool("ip", &["-n", &switch, "link", "add", "jst-br", "type", "bridge"])?;
    tool("ip", &["-n", &switch, "addr", "add", &format!("{NETWORK}.1/24"), "dev", "jst-br"])?;
    tool("ip", &["-n", &switch, "link", "set", "jst-br", "up"])?;
    Ok(())
}

/// Where the machine has cgroup2: `/sys/fs/cgroup`, or `unified` below it on a hybrid layout.
fn cgroup2() -> Result<PathBuf, Error> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(io("read /proc/self/mountinfo"))?;
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
    mount.map(PathBuf::from).ok_or(Error::NoCgroup2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_paths_and_tables() {
        let line = "/dev/loop0 /dev/shm/jst-12/0/disk";
        assert_eq!(names_in(line).collect::<Vec<_>>(), ["jst-12"]);
        assert_eq!(names_in("netns jst-12-sw").collect::<Vec<_>>(), ["jst-12-sw"]);
        assert_eq!(names_in("nothing here").count(), 0);
    }
}
