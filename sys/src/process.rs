//! What /proc says of another process. The caller holds a pidfd and asks afterwards whether the process is still there.

use std::io;
use std::path::PathBuf;

/// /proc/PID/status and stat of one process (proc(5)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// Real, effective, saved and filesystem uid.
    pub uids: [u32; 4],
    /// Real, effective, saved and filesystem gid.
    pub gids: [u32; 4],
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// umask.
    pub umask: u32,
    /// NoNewPrivs is set.
    pub no_new_privs: bool,
    /// Number of seccomp filters (0 where the kernel does not say).
    pub seccomp_filters: u32,
    /// Bit set of ignored signals; bit 0 is signal 1.
    pub ignored_signals: u64,
    /// CPUs that it may run on.
    pub cpus: Vec<u32>,
    /// Session id.
    pub session: u32,
    /// Device number of the controlling terminal; 0 = none.
    pub tty: u64,
    /// Nice value.
    pub nice: i32,
    /// Start time in clock ticks since boot.
    pub start_ticks: u64,
}

/// Reads a process.
///
/// # Errors
/// It is gone, or /proc is not what proc(5) says (`InvalidData`).
pub fn read(pid: u32) -> io::Result<Process> {
    let status = std::fs::read_to_string(path(pid, "status"))?;
    // comm may hold any byte.
    let stat = std::fs::read(path(pid, "stat"))?;
    parse(&status, &String::from_utf8_lossy(&stat)).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// Whom a process acts as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ids {
    /// Real, effective, saved and filesystem uid.
    pub uids: [u32; 4],
    /// Real, effective, saved and filesystem gid.
    pub gids: [u32; 4],
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// Reads whom a process acts as.
///
/// # Errors
/// It is gone, or /proc is not what proc(5) says (`InvalidData`).
pub fn ids(pid: u32) -> io::Result<Ids> {
    // comm may hold any byte.
    let status = std::fs::read(path(pid, "status"))?;
    parse_ids(&String::from_utf8_lossy(&status)).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// Every process that there is. One that is born meanwhile may be missing.
///
/// # Errors
/// /proc cannot be read.
pub fn all() -> io::Result<Vec<u32>> {
    let entries = std::fs::read_dir("/proc")?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// The audit session of a process; `None` where it has none, or the kernel keeps none.
///
/// # Errors
/// It is gone.
pub fn audit_session(pid: u32) -> io::Result<Option<u32>> {
    let text = std::fs::read_to_string(path(pid, "sessionid"))?;
    Ok(text.trim().parse().ok().filter(|session| *session != u32::MAX))
}

/// The path of a file of a process.
#[must_use]
pub fn path(pid: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

/// The value of a line of /proc/PID/status.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn parse_ids(status: &str) -> Option<Ids> {
    let numbers = |name: &str| -> Option<Vec<u32>> {
        field(status, name)?.split_whitespace().map(|number| number.parse().ok()).collect()
    };
    Some(Ids {
        uids: numbers("Uid")?.try_into().ok()?,
        gids: numbers("Gid")?.try_into().ok()?,
        groups: numbers("Groups")?,
    })
}

fn parse(status: &str, stat: &str) -> Option<Process> {
    let field = |name: &str| field(status, name);
    let Ids { uids, gids, groups } = parse_ids(status)?;
    // The name in parentheses may itself hold parentheses, blanks and newlines: what follows the last one counts.
    let after: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().collect();
    // proc(5) numbers the fields from 1; the third one is the first after the name.
    let number = |place: usize| after.get(place - 3);
    Some(Process {
        uids,
        gids,
        groups,
        umask: u32::from_str_radix(field("Umask")?, 8).ok()?,
        no_new_privs: field("NoNewPrivs")? != "0",
        seccomp_filters: field("Seccomp_filters").map_or(Some(0), |count| count.parse().ok())?,
        ignored_signals: u64::from_str_radix(field("SigIgn")?, 16).ok()?,
        cpus: list(field("Cpus_allowed_list")?)?,
        session: number(6)?.parse().ok()?,
        tty: u64::from(number(7)?.parse::<i32>().ok()?.cast_unsigned()),
        nice: number(19)?.parse().ok()?,
        start_ticks: number(22)?.parse().ok()?,
    })
}

/// Parses `0-3,8` (cpuset(7), "List format").
fn list(text: &str) -> Option<Vec<u32>> {
    let mut out = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last > 65_536 {
            return None;
        }
        out.extend(first..=last);
    }
    Some(out)
}

/// Start time of a process, which with its pid names it for good.
///
/// # Errors
/// It is gone.
pub fn start_ticks(pid: u32) -> io::Result<u64> {
    Ok(read(pid)?.start_ticks)
}

/// Soft and hard limit of another process (prlimit(2), or where that is not allowed /proc/PID/limits); `u64::MAX` = unlimited.
///
/// # Errors
/// It is gone, or may not be asked.
pub fn limit(pid: u32, resource: u32) -> io::Result<(u64, u64)> {
    let number = libc::pid_t::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut value = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a null new limit changes nothing; the old one is written to `value`, which is live and of the right type.
    let outcome = unsafe { libc::prlimit(number, resource, std::ptr::null(), &raw mut value) };
    if outcome == 0 {
        return Ok((value.rlim_cur, value.rlim_max));
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::EPERM) {
        return Err(error);
    }
    // Root in a container without CAP_SYS_RESOURCE; the file shows the same to everybody.
    let text = std::fs::read_to_string(path(pid, "limits"))?;
    parse_limit(&text, resource).ok_or(error)
}

/// The kernel prints one line a resource, in the order of their numbers (proc_pid_limits), columns 26 to 67 being soft and hard limit.
fn parse_limit(text: &str, resource: u32) -> Option<(u64, u64)> {
    let line = text.lines().nth(usize::try_from(resource).ok()?.checked_add(1)?)?;
    let mut numbers = line.get(26..)?.split_whitespace().map(|word| match word {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    });
    Some((numbers.next()??, numbers.next()??))
}

/// Number of RLIMIT_ resources on Linux.
pub const LIMITS: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_reads_as_it_is() {
        let own = read(std::process::id()).unwrap();
        assert_eq!(own.uids[0], nix::unistd::getuid().as_raw());
        assert!(own.start_ticks > 0 && !own.cpus.is_empty());
        let (soft, hard) = limit(std::process::id(), libc::RLIMIT_NOFILE).unwrap();
        assert!(soft <= hard);
    }

    #[test]
    fn limits_of_the_file_are_those_of_the_system_call() {
        let text = std::fs::read_to_string("/proc/self/limits").unwrap();
        for resource in 0..LIMITS {
            let limit = limit(std::process::id(), resource).unwrap();
            assert_eq!(parse_limit(&text, resource), Some(limit), "{resource}");
        }
        assert_eq!(parse_limit(&text, LIMITS), None);
    }

    #[test]
    fn fd_tty_06_process_name_cannot_forge_the_terminal() {
        let status = "Name:\tx\nUmask:\t0022\nUid:\t1\t1\t1\t1\nGid:\t1\t1\t1\t1\nGroups:\t4 5 \nSigIgn:\t0000000000000001\nCpus_allowed_list:\t0-1,4\nNoNewPrivs:\t0\n";
        let stat = "7 (x) 0 34818 S (y)) S 1 7 9 34816 7 0 0 0 0 0 0 0 0 0 20 5 1 0 777 0 0";
        let process = parse(status, stat).unwrap();
        assert_eq!((process.tty, process.session, process.nice, process.start_ticks), (34816, 9, 5, 777));
        assert_eq!(process.cpus, [0, 1, 4]);
        assert_eq!(process.groups, [4, 5]);
    }

    #[test]
    fn damaged_texts_are_no_process() {
        assert_eq!(parse("", ""), None);
        assert_eq!(list("0-99999999"), None);
        assert_eq!(list("a"), None);
    }
}
