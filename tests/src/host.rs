//! A booted host and what can be done to it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::bed::{Place, is_populated, kill_cgroup};
use crate::clock::wait_until;
use crate::command::HostCommand;
use crate::error::{Error, io};
use crate::root::{Root, last_lines};
use crate::tool::tool;

const BOOT: &str = include_str!("boot.sh");
/// A loaded machine takes several times the usual two seconds.
const BOOT_LIMIT: Duration = Duration::from_secs(90);

/// How a host is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Size of its disk; small ones can be filled.
    pub disk_bytes: u64,
    /// Files and folders of the machine shown read-only inside: (source, path inside).
    pub shown: Vec<(PathBuf, PathBuf)>,
    /// Where a second disk is mounted inside, one that can fail alone ([`Host::fail_disk`]).
    pub second_disk: Option<PathBuf>,
}

/// Size of the second disk: room for the ledger's reserve.
const SECOND_DISK_BYTES: u64 = 256 << 20;

/// How a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFailure {
    /// The second disk answers every call with EIO, as one does whose cable came off.
    SecondGivesErrors,
    /// The first disk has an error in its file system, and the kernel makes it read-only.
    FirstTurnsReadOnly,
}

impl Default for Options {
    fn default() -> Self {
        Self { disk_bytes: 4 << 30, shown: Vec::new(), second_disk: None }
    }
}

/// A Debian host under its own systemd. Dropping it ends its processes and removes its disk and its network.
#[derive(Debug)]
pub struct Host {
    name: String,
    layers: OsString,
    options: Options,
    place: Place,
    container: Option<Child>,
}

impl Host {
    /// Boots a new host from a root; returns when its systemd says that it is up.
    ///
    /// # Errors
    /// [`Error::NotRoot`]; [`Error::NotBooted`] with the end of its console.
    pub fn boot(name: &str, root: &Root, options: Options) -> Result<Self, Error> {
        let place = Place::take(name)?;
        let mut host = Self { name: name.to_owned(), layers: root.layers(), options, place, container: None };
        make_disk(&host.place.folder.join("disk"), host.options.disk_bytes)?;
        if host.options.second_disk.is_some() {
            make_disk(&host.place.folder.join("disk2"), SECOND_DISK_BYTES)?;
        }
        host.start()?;
        Ok(host)
    }

    /// Boots it again, with the disk it has, after [`Self::halt`], [`Self::kill9`] or [`Self::power_cut`].
    ///
    /// # Errors
    /// [`Error::WrongState`] when it is up; [`Error::NotBooted`] with the end of its console.
    pub fn start(&mut self) -> Result<(), Error> {
        if is_populated(&self.place.cgroup) {
            return Err(Error::WrongState { name: self.name.clone(), wanted: "down" });
        }
        fs::create_dir_all(&self.place.cgroup).map_err(io("create a cgroup"))?;
        let console = fs::File::create(self.console()).map_err(io("create a console"))?;
        let shown =
            self.options.shown.iter().map(|(from, to)| format!("--bind-ro={}:{}", from.display(), to.display()));
        let child = Command::new("setsid")
            .args(["sh", "-c", BOOT, "boot"])
            .args(shown)
            .env("CGROUP", &self.place.cgroup)
            .env("DIR", &self.place.folder)
            .env("LOWER", &self.layers)
            .env("NETNS", &self.place.netns)
            .env("NAME", &self.name)
            .env("UUID", machine_id(&self.name))
            .env("HOSTS", &self.place.hosts_file)
            .env("SECOND", self.options.second_disk.clone().unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(console.try_clone().map_err(io("duplicate a console"))?)
            .stderr(console)
            .spawn()
            .map_err(io("start a host"))?;
        self.container = Some(child);
        let mut is_up = false;
        wait_until(BOOT_LIMIT, || {
            is_up = self.is_up();
            is_up || !matches!(self.container.as_mut().map(Child::try_wait), Some(Ok(None)))
        });
        if is_up {
            return Ok(());
        }
        let console = last_lines(&fs::read_to_string(self.console()).unwrap_or_default(), 20);
        self.kill9();
        Err(Error::NotBooted { name: self.name.clone(), console })
    }

    fn is_up(&self) -> bool {
        let Ok(leader) = self.leader() else { return false };
        if !Path::new(&format!("/proc/{leader}/root/run/dbus/system_bus_socket")).exists() {
            return false;
        }
        let asked = self.run(&["systemctl", "is-system-running", "--wait"]).output();
        asked.is_ok_and(|answer| matches!(answer.stdout.trim(), "running" | "degraded"))
    }

    /// Its name, as it knows itself and as other hosts reach it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address on the switch that all hosts of this process share.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.place.address
    }

    /// Where the kernel keeps its processes, seen from the machine.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        &self.place.cgroup
    }

    /// A command inside, as root unless said otherwise.
    pub fn run(&self, argv: &[&str]) -> HostCommand<'_> {
        HostCommand::new(self, argv.iter().map(|&word| word.to_owned()).collect())
    }

    /// A shell line inside, as root unless said otherwise.
    pub fn sh(&self, line: &str) -> HostCommand<'_> {
        self.run(&["bash", "-c", line])
    }

    /// Writes a file inside, owned by root; its folder is made when missing.
    ///
    /// # Errors
    /// [`Error::Failed`] when the host cannot write it.
    pub fn write(&self, path: &str, mode: u32, content: impl Into<Vec<u8>>) -> Result<(), Error> {
        let script = r#"mkdir -p "$(dirname "$1")" && cat > "$1.new" && chmod "$2" "$1.new" && mv "$1.new" "$1""#;
        self.run(&["sh", "-c", script, "write", path, &format!("{mode:o}")]).stdin(content).ok().map(drop)
    }

    /// Copies a file of the machine into the host, owned by root.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read; as [`Self::write`].
    pub fn push(&self, from: &Path, to: &str, mode: u32) -> Result<(), Error> {
        let content = fs::read(from).map_err(io(format!("read {}", from.display())))?;
        self.write(to, mode, content)
    }

    /// The entries of its journal that `journalctl` finds with these arguments, oldest first.
    ///
    /// # Errors
    /// [`Error::Failed`] when journalctl fails.
    pub fn journal(&self, arguments: &[&str]) -> Result<Vec<serde_json::Value>, Error> {
        let mut argv = vec!["journalctl", "--quiet", "--no-pager", "--output=json", "--all"];
        argv.extend(arguments);
        // journald answers what it has received; what is still in its socket is waited for.
        self.run(&["journalctl", "--sync"]).ok()?;
        let lines = self.run(&argv).ok()?;
        Ok(lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Powers it off in order; kills it when that takes longer than thirty seconds.
    ///
    /// # Errors
    /// [`Error::WrongState`] when it is down already.
    pub fn halt(&mut self) -> Result<(), Error> {
        let leader = self.leader()?;
        // systemd(1): SIGRTMIN+4 starts poweroff.target, also when D-Bus is broken.
        tool("kill", &["-s", "RTMIN+4", &leader.to_string()])?;
        wait_until(Duration::from_secs(30), || !is_populated(&self.place.cgroup));
        self.kill9();
        Ok(())
    }

    /// SIGKILL to every process at once. The disk keeps what was written, synced or not.
    pub fn kill9(&mut self) {
        kill_cgroup(&self.place.cgroup);
        if let Some(mut container) = self.container.take() {
            let _ = container.kill();
            let _ = container.wait();
        }
    }

    /// The power goes: the disk first (what was not synced is lost, the journal not flushed), then every process.
    ///
    /// # Errors
    /// [`Error::WrongState`] when it is down; [`Error::Failed`] when the disk cannot be cut off.
    pub fn power_cut(&mut self) -> Result<(), Error> {
        self.shut_down_disk("mnt")?;
        self.kill9();
        Ok(())
    }

    /// Stops its systemd, as nobody inside can, or lets it go on.
    ///
    /// # Errors
    /// [`Error::WrongState`] when the host is down; [`Error::Failed`] when it cannot be signalled.
    pub fn stop_systemd(&self, stopped: bool) -> Result<(), Error> {
        let signal = if stopped { "-STOP" } else { "-CONT" };
        tool("kill", &[signal, &self.leader()?.to_string()]).map(drop)
    }

    /// A disk fails while the host runs on. It is whole again after [`Self::kill9`] and [`Self::start`].
    ///
    /// # Errors
    /// [`Error::WrongState`] when it is down; [`Error::Failed`] or [`Error::Io`] when the disk cannot be made to fail.
    pub fn fail_disk(&self, how: DiskFailure) -> Result<(), Error> {
        match how {
            DiskFailure::SecondGivesErrors => self.shut_down_disk("mnt2"),
            DiskFailure::FirstTurnsReadOnly => {
                let mount = self.place.folder.join("mnt");
                let asked = ["-n", "-o", "SOURCE", "--mountpoint", &*mount.to_string_lossy()];
                let device = self.beside(&[&["findmnt"], asked.as_slice()].concat())?;
                let name = device.trim().trim_start_matches("/dev/");
                // ext4(5), errors=remount-ro: the kernel believes that it found a broken structure.
                let trigger = Path::new("/sys/fs/ext4").join(name).join("trigger_fs_error");
                fs::write(&trigger, "the test says so").map_err(io(format!("write {}", trigger.display())))
            }
        }
    }

    fn shut_down_disk(&self, mount: &str) -> Result<(), Error> {
        let disk = self.place.folder.join(mount);
        // "shutdown" without -f is EXT4_IOC_SHUTDOWN with NOLOGFLUSH.
        self.beside(&["xfs_io", "-x", "-c", "shutdown", &disk.to_string_lossy()]).map(drop)
    }

    /// Copies what this host has that its root has not, to a folder of the machine.
    ///
    /// # Errors
    /// [`Error::WrongState`] when it is down; [`Error::Failed`] when something cannot be copied.
    pub(crate) fn copy_changes(&self, to: &Path) -> Result<(), Error> {
        let upper = self.place.folder.join("mnt/upper");
        self.beside(&["cp", "--archive", &upper.to_string_lossy(), &to.to_string_lossy()]).map(drop)
    }

    /// A tool of the machine that sees the host's disks.
    fn beside(&self, argv: &[&str]) -> Result<String, Error> {
        let supervisor = self.place.cgroup.join("supervisor/cgroup.procs");
        let pids = fs::read_to_string(supervisor).unwrap_or_default();
        let Some(pid) = pids.lines().next() else { return Err(self.down()) };
        tool("nsenter", &[&["--target", pid, "-m"], argv].concat())
    }

    /// The pid, seen from the machine, of its first process: found in its own cgroup, so it is never another's.
    pub(crate) fn leader(&self) -> Result<u32, Error> {
        let list = self.place.cgroup.join("payload/init.scope/cgroup.procs");
        let pids = fs::read_to_string(list).unwrap_or_default();
        let is_first = |pid: &&str| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let mut inner = status.lines().filter(|line| line.starts_with("NSpid:"));
            inner.next().and_then(|line| line.split_whitespace().last()) == Some("1")
        };
        pids.lines().find(is_first).and_then(|pid| pid.parse().ok()).ok_or_else(|| self.down())
    }

    /// The group of the commands that tests run: no unit of the host's systemd.
    pub(crate) fn command_cgroup(&self) -> Result<PathBuf, Error> {
        let cgroup = self.place.cgroup.join("payload/jst-run");
        fs::create_dir_all(&cgroup).map_err(io("create the commands' cgroup"))?;
        Ok(cgroup)
    }

    fn console(&self) -> PathBuf {
        self.place.folder.join("console")
    }

    fn down(&self) -> Error {
        Error::WrongState { name: self.name.clone(), wanted: "up" }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// An empty file system that turns read-only at its first error, as Debian's installer makes it.
fn make_disk(file: &Path, bytes: u64) -> Result<(), Error> {
    let disk = fs::File::create(file).map_err(io("create a disk"))?;
    disk.set_len(bytes).map_err(io("size a disk"))?;
    let options = ["-q", "-F", "-e", "remount-ro", "-E", "lazy_itable_init=1,nodiscard"];
    tool("mkfs.ext4", &[options.as_slice(), &[&file.to_string_lossy()]].concat()).map(drop)
}

/// A machine id that is the same whenever this name is booted.
fn machine_id(name: &str) -> String {
    let mut id: String = name.bytes().map(|byte| format!("{byte:02x}")).collect::<String>() + &"7".repeat(32);
    id.truncate(32);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_id_has_32_hexadecimal_digits() {
        assert_eq!(machine_id("web-1").len(), 32);
        assert!(machine_id(&"long".repeat(30)).bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
