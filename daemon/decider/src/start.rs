//! How the daemon begins: under systemd with an activated socket, or as the unprivileged child of `--foreground`.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use jitsudo_link::settings::{self, Settings};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::nix::sys::prctl;
use jitsudo_sys::nix::sys::resource::{Resource, getrlimit, setrlimit};
use jitsudo_sys::nix::sys::signal::Signal;
use jitsudo_sys::nix::unistd::{Gid, Uid, getresgid, getresuid, getuid, setgroups, setresgid, setresuid};
use jitsudo_sys::{clock, files, pidfd, signals};

use crate::daemon::{Daemon, Setup, StartError};
use crate::places::{Patience, Places};

/// The account of the decider.
pub(crate) const ACCOUNT: &str = "_jitsudo";
/// The first descriptor that systemd passes (sd_listen_fds(3)).
const FIRST_PASSED: i32 = 3;
/// Where our unit says the id of the boot. Its sandbox has a /proc of its own, and a container's id of the boot is laid over the other:
/// read from there it would be that of the machine below, and the container's reboot would not be one.
const BOOT_VARIABLE: &str = "JITSUDO_BOOT_ID";
/// Descriptors wanted: connections, and room beside them.
const DESCRIPTORS: u64 = 4096;

/// Why the daemon does not begin, or ended badly.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No socket came from systemd.
    NotActivated,
    /// The settings cannot be used.
    Settings(String),
    /// The account of the decider is not there, or cannot be taken.
    Account(String),
    /// One of two programs that need each other ended by itself.
    Ended(&'static str),
    /// Something of the daemon's own.
    Start(StartError),
    /// The system's word, and on what.
    Io {
        /// *cannot* is in front of it.
        what: String,
        /// Why.
        source: io::Error,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotActivated => f.write_str(
                "no socket from systemd: `systemctl start jitsudod.socket`, or run `jitsudod --foreground` as root",
            ),
            Self::Settings(why) => write!(f, "cannot use {}: {why}", jitsudo_link::SETTINGS),
            Self::Account(why) => write!(f, "cannot become {ACCOUNT}: {why}"),
            Self::Ended(which) => write!(f, "{which} ended, and so does the other one"),
            Self::Start(error) => error.fmt(f),
            Self::Io { what, source } => write!(f, "cannot {what}: {source}"),
        }
    }
}

impl Failure {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Serves the socket that systemd passed.
pub(crate) fn activated() -> Result<(), Failure> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    // Not unset afterwards: this process starts no other one.
    if variable("LISTEN_PID") != std::process::id().to_string() || variable("LISTEN_FDS") != "1" {
        return Err(Failure::NotActivated);
    }
    let listener = Channel::from_inherited(FIRST_PASSED).map_err(Failure::io("take the socket from systemd"))?;
    let boot = match hyphenated(&variable(BOOT_VARIABLE)) {
        Some(boot) => boot,
        None => boot_of_kernel()?,
    };
    serve(listener, None, boot)
}

/// Serves the inherited socket as `_jitsudo`, as long as the process that started this one lives.
pub(crate) fn unprivileged() -> Result<(), Failure> {
    let listener =
        Channel::from_inherited(jitsudo_link::INHERITED_FD).map_err(Failure::io("take the inherited socket"))?;
    let parent = u32::try_from(jitsudo_sys::nix::unistd::getppid().as_raw()).unwrap_or(0);
    let parent = pidfd::open(parent).map_err(Failure::io("watch the process that started this one"))?;
    if getuid().is_root() {
        become_unprivileged()?;
    }
    serve(listener, Some(parent), boot_of_kernel()?)
}

fn boot_of_kernel() -> Result<String, Failure> {
    clock::boot_id().map_err(Failure::io("read the id of this boot"))
}

/// systemd's form of a boot id as the kernel writes it; `None` for anything else.
fn hyphenated(id: &str) -> Option<String> {
    let is_id = id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let part = |range: std::ops::Range<usize>| id.get(range);
    is_id.then(|| Some([part(0..8)?, part(8..12)?, part(12..16)?, part(16..20)?, part(20..32)?].join("-"))).flatten()
}

fn serve(listener: Channel, stop: Option<OwnedFd>, boot: String) -> Result<(), Failure> {
    files::fill_standard().map_err(Failure::io("open /dev/null"))?;
    let taken = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
    let signals = signals::take(&taken).map_err(Failure::io("take signals"))?;
    prctl::set_dumpable(false).map_err(|errno| Failure::io("hide from debuggers")(errno.into()))?;
    raise_descriptors();
    let settings = read_settings()?;
    let nodename = jitsudo_sys::nix::unistd::gethostname()
        .map_err(|errno| Failure::io("read the host's name")(errno.into()))?
        .to_string_lossy()
        .into_owned();
    let setup = Setup {
        listener,
        signals: Some(signals),
        places: Places::of_production(),
        patience: Patience::default(),
        settings,
        nodename,
        boot,
        stop,
    };
    let mut daemon = Daemon::prepare(setup).map_err(Failure::Start)?;
    daemon.serve().map_err(Failure::io("wait for clients"))
}

/// Host name and labels choose rules: only root may say them.
fn read_settings() -> Result<Settings, Failure> {
    let path = std::path::Path::new(jitsudo_link::SETTINGS);
    let text = jitsudo_sys::trusted::read(path, settings::MAX_SETTINGS_BYTES as u64)
        .map_err(|error| Failure::Settings(error.to_string()))?;
    let text = String::from_utf8(text.unwrap_or_default()).map_err(|_| Failure::Settings("not UTF-8".to_owned()))?;
    settings::parse(&text).map_err(|error| Failure::Settings(error.to_string()))
}

/// Where it is not allowed the present limit holds, and accepting pauses when it is reached.
fn raise_descriptors() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < DESCRIPTORS
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(DESCRIPTORS), hard);
    }
}

/// Takes the account for good: no group, no capability, no way back.
fn become_unprivileged() -> Result<(), Failure> {
    let refused = |errno: jitsudo_sys::nix::errno::Errno| Failure::Account(errno.desc().to_owned());
    let (uid, gid) = account()?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setgroups(&[]).map_err(refused)?;
    setresgid(gid, gid, gid).map_err(refused)?;
    setresuid(uid, uid, uid).map_err(refused)?;
    let (users, groups) = (getresuid().map_err(refused)?, getresgid().map_err(refused)?);
    let taken = [users.real, users.effective, users.saved].iter().all(|one| *one == uid)
        && [groups.real, groups.effective, groups.saved].iter().all(|one| *one == gid);
    if !taken || uid.is_root() {
        return Err(Failure::Account("the kernel did not take every id".to_owned()));
    }
    prctl::set_no_new_privs().map_err(refused)
}

/// uid and gid of `_jitsudo`, from the file itself: no NSS module runs in these processes.
pub(crate) fn account() -> Result<(u32, u32), Failure> {
    let passwd = fs::read_to_string("/etc/passwd").map_err(|error| Failure::Account(error.to_string()))?;
    find_account(&passwd).ok_or_else(|| {
        Failure::Account(format!("no such account in /etc/passwd; `useradd --system --no-create-home {ACCOUNT}`"))
    })
}

fn find_account(passwd: &str) -> Option<(u32, u32)> {
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = fields.into_iter().find_map(|fields| match fields.as_slice() {
        [name, _, uid, gid, ..] if *name == ACCOUNT => Some((uid.parse().ok()?, gid.parse().ok()?)),
        _ => None,
    });
    found.filter(|(uid, gid)| *uid != 0 && *gid != 0)
}

/// Milliseconds of the boot clock, for pauses.
pub(crate) fn now_ms() -> u64 {
    clock::boottime_ms()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_id_of_systemd_is_written_as_the_kernel_does() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(hyphenated(id).as_deref(), Some("01234567-89ab-cdef-0123-456789abcdef"));
        for other in ["", "0123", "%b", &id.to_uppercase(), &id.replace('9', "g"), &format!("{id}0")] {
            assert_eq!(hyphenated(other), None, "{other}");
        }
    }

    #[test]
    fn account_is_found_whole_and_is_never_root() {
        assert_eq!(find_account("root:x:0:0::/:\n_jitsudo:x:997:996::/:/bin/false\n"), Some((997, 996)));
        for passwd in ["_jitsudo2:x:9:9::/:", "_jitsudo:x:0:9::/:", "_jitsudo:x:9:0::/:", "_jitsudo:x", ""] {
            assert_eq!(find_account(passwd), None, "{passwd}");
        }
    }
}
