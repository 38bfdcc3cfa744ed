//! Starts the command: clone(2) straight into its cgroup, then every step between that and execve(2), each checked and reported.
//!
//! MUSTs
//! 1. Between clone and exec only async-signal-safe calls, no allocation: all is prepared before (`Prepared`).
//! 2. Groups, gid and uid are set in this order and read back; a failure executes nothing (`step_that_fails_is_named_and_nothing_runs`).
//! 3. Nothing but 0, 1 and 2 reaches the program (`fd_tty_02_only_the_standard_descriptors_are_open`).
//! 4. Mask and dispositions are the defaults, whatever the starter had (`signal_ptrace_10_mask_and_dispositions_are_the_defaults`).

use std::ffi::{CString, c_char, c_int, c_long};
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::identity::Account;
use crate::signals;

/// Everything about the program that is to run.
#[derive(Debug)]
pub struct Plan<'a> {
    /// What is executed.
    pub path: CString,
    /// Its arguments, `argv[0]` first.
    pub arguments: Vec<CString>,
    /// Its environment, `NAME=value`.
    pub environment: Vec<CString>,
    /// What become its descriptors 0, 1 and 2; none of them may be 0, 1 or 2 itself.
    pub standard: [BorrowedFd<'a>; 3],
    /// The session's terminal, in whose foreground the program begins.
    pub foreground_of: Option<BorrowedFd<'a>>,
    /// Directory descriptor of the cgroup that it is cloned into.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Working directory.
    pub directory: BorrowedFd<'a>,
    /// As whom.
    pub account: Account,
    /// Resource limits: (RLIMIT_ number, soft, hard).
    pub limits: Vec<(u32, u64, u64)>,
    /// Nice value.
    pub nice: i32,
    /// CPUs; empty = as this process.
    pub cpus: Vec<u32>,
    /// umask.
    pub umask: u32,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// SIGHUP stays ignored (nohup).
    pub hangup_ignored: bool,
}

/// clone3(2); libc's constant overflows its type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What is done between clone and exec.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Step {
    /// Making the process.
    Clone,
    /// Joining the cgroup.
    Cgroup,
    /// Its own process group.
    Group,
    /// Descriptors 0, 1, 2.
    Descriptors,
    /// The terminal's foreground.
    Foreground,
    /// Limits, nice value, CPUs, oom score.
    Limits,
    /// Working directory.
    Directory,
    /// Groups, gid, uid.
    Identity,
    /// no_new_privs.
    NoNewPrivs,
    /// Closing everything else.
    Close,
    /// execve(2).
    Execute,
}

impl Step {
    fn from_number(number: u8) -> Self {
        let all = [
            Self::Clone,
            Self::Cgroup,
            Self::Group,
            Self::Descriptors,
            Self::Foreground,
            Self::Limits,
            Self::Directory,
            Self::Identity,
            Self::NoNewPrivs,
            Self::Close,
        ];
        all.into_iter().find(|step| *step as u8 == number).unwrap_or(Self::Execute)
    }

    /// What was being done, to follow *cannot*.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Clone => "make a process",
            Self::Cgroup => "enter the command's cgroup",
            Self::Group => "make a process group",
            Self::Descriptors => "set up input and output",
            Self::Foreground => "take the terminal's foreground",
            Self::Limits => "set resource limits",
            Self::Directory => "enter the working directory",
            Self::Identity => "become the target user",
            Self::NoNewPrivs => "set no_new_privs",
            Self::Close => "close other descriptors",
            Self::Execute => "execute",
        }
    }
}

/// The program was not executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StartError {
    /// The step that failed.
    pub step: Step,
    /// Why.
    pub errno: Errno,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.step.words(), self.errno.desc())
    }
}
impl std::error::Error for StartError {}

/// A process on its way to exec, or past it. The caller reaps it.
#[derive(Debug)]
pub struct Started {
    /// Its process id, which is its process group as well; means it until it is reaped.
    pub pid: i32,
    report: OwnedFd,
}

impl Started {
    /// Waits until the program was executed, at most `milliseconds`.
    ///
    /// # Errors
    /// The step that failed (the process has ended or is about to); ETIMEDOUT when it hangs in one.
    pub fn executed(&mut self, milliseconds: u16) -> Result<(), StartError> {
        loop {
            let mut entry = [PollFd::new(self.report.as_fd(), PollFlags::POLLIN)];
            match poll(&mut entry, PollTimeout::from(milliseconds)) {
                Err(Errno::EINTR) => {}
                Ok(0) => return Err(StartError { step: Step::Execute, errno: Errno::ETIMEDOUT }),
                Ok(_) => break,
                Err(errno) => return Err(StartError { step: Step::Execute, errno }),
            }
        }
        let mut report = [0u8; 5];
        let copy = self.report.try_clone().map_err(|_| StartError { step: Step::Execute, errno: Errno::EIO })?;
        match File::from(copy).read_exact(&mut report) {
            // The pipe was closed by exec.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(_) => Err(StartError { step: Step::Execute, errno: Errno::EIO }),
            Ok(()) => {
                let [step, a, b, c, d] = report;
                let errno = Errno::from_raw(i32::from_ne_bytes([a, b, c, d]));
                Err(StartError { step: Step::from_number(step), errno })
            }
        }
    }
}

/// The plan in the form that the child can use without allocating.
struct Prepared {
    path: *const c_char,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    standard: [RawFd; 3],
    foreground_of: RawFd,
    directory: RawFd,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    limits: Vec<(u32, libc::rlimit)>,
    nice: c_int,
    cpus: Option<libc::cpu_set_t>,
    umask: u32,
    no_new_privs: bool,
    hangup_ignored: bool,
    /// Written to when the clone itself could not enter the cgroup.
    group_file: Option<File>,
    report: RawFd,
}

/// Starts the program. This process must have one thread.
///
/// # Errors
/// No process could be made.
pub fn start(plan: &Plan<'_>) -> Result<Started, StartError> {
    let (report, reported) = io::pipe().map_err(clone_failed)?;
    let group_file = match plan.cgroup {
        Some(group) => Some(procs_of(group).map_err(|errno| StartError { step: Step::Cgroup, errno })?),
        None => None,
    };
    let prepared = Prepared {
        path: plan.path.as_ptr(),
        arguments: pointers(&plan.arguments),
        environment: pointers(&plan.environment),
        standard: plan.standard.map(|descriptor| descriptor.as_raw_fd()),
        foreground_of: plan.foreground_of.map_or(-1, |terminal| terminal.as_raw_fd()),
        directory: plan.directory.as_raw_fd(),
        uid: plan.account.uid,
        gid: plan.account.gid,
        groups: plan.account.groups.clone(),
        limits: plan
            .limits
            .iter()
            .map(|(resource, soft, hard)| (*resource, libc::rlimit { rlim_cur: *soft, rlim_max: *hard }))
            .collect(),
        nice: plan.nice,
        cpus: cpu_set(&plan.cpus),
        umask: plan.umask,
        no_new_privs: plan.no_new_privs,
        hangup_ignored: plan.hangup_ignored,
        group_file,
        report: reported.as_raw_fd(),
    };
    let (pid, inside) = match plan.cgroup {
        None => (clone(None), true),
        Some(group) => match clone(Some(group)) {
            // A kernel or filter without clone3, or a cgroup that cannot be entered so: the child enters by itself.
            Err(Errno::ENOSYS | Errno::EPERM | Errno::EINVAL | Errno::E2BIG) => (clone(None), false),
            other => (other, true),
        },
    };
    match pid.map_err(|errno| StartError { step: Step::Clone, errno })? {
        0 => run(&prepared, inside),
        pid => {
            drop(reported);
            // Both sides do it, so that neither has to wait for the other.
            let _ = nix::unistd::setpgid(nix::unistd::Pid::from_raw(pid), nix::unistd::Pid::from_raw(pid));
            Ok(Started { pid, report: report.into() })
        }
    }
}

fn clone_failed(error: io::Error) -> StartError {
    StartError { step: Step::Clone, errno: error.raw_os_error().map_or(Errno::EIO, Errno::from_raw) }
}

fn procs_of(group: BorrowedFd<'_>) -> Result<File, Errno> {
    let flags = nix::fcntl::OFlag::O_WRONLY | nix::fcntl::OFlag::O_CLOEXEC;
    Ok(File::from(nix::fcntl::openat(group, c"cgroup.procs", flags, nix::sys::stat::Mode::empty())?))
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

fn cpu_set(cpus: &[u32]) -> Option<libc::cpu_set_t> {
    if cpus.is_empty() {
        return None;
    }
    // SAFETY: zeroed memory is an empty cpu_set_t.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let most = size_of::<libc::cpu_set_t>() * 8;
    for cpu in cpus.iter().filter_map(|cpu| usize::try_from(*cpu).ok()).filter(|cpu| *cpu < most) {
        // SAFETY: the number is below the size of the set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    Some(set)
}

/// fork(2) by clone3(2), so that the child begins in the cgroup: no moment outside it. Gives 0 in the child.
fn clone(cgroup: Option<BorrowedFd<'_>>) -> Result<i32, Errno> {
    // SAFETY: zeroed memory is a valid clone_args: no flags, the stack shared copy-on-write as by fork.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    if let Some(group) = cgroup {
        arguments.flags = CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(group.as_raw_fd().unsigned_abs());
    } else {
        // SAFETY: the process has one thread (`start` says so), and the child keeps to async-signal-safe calls (`run`).
        return Errno::result(unsafe { libc::fork() });
    }
    // SAFETY: as for fork: no memory is shared, one thread, and the child keeps to async-signal-safe calls.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) };
    i32::try_from(Errno::result(pid)?).map_err(|_| Errno::EOVERFLOW)
}

/// The child. Never returns.
fn run(plan: &Prepared, inside: bool) -> ! {
    let (step, errno) = match steps(plan, inside) {
        Ok(never) => match never {},
        Err(failed) => failed,
    };
    let [a, b, c, d] = (errno as i32).to_ne_bytes();
    let report = [step as u8, a, b, c, d];
    // SAFETY: writes five bytes that are there; a pipe takes them whole. Nothing can be done when it fails.
    unsafe { libc::write(plan.report, report.as_ptr().cast(), report.len()) };
    // SAFETY: ends this process at once, no destructor runs.
    unsafe { libc::_exit(127) }
}

fn check(step: Step, outcome: impl Into<c_long>) -> Result<(), (Step, Errno)> {
    if outcome.into() < 0 { Err((step, Errno::last())) } else { Ok(()) }
}

fn steps(plan: &Prepared, inside: bool) -> Result<std::convert::Infallible, (Step, Errno)> {
    if let (false, Some(file)) = (inside, &plan.group_file) {
        // SAFETY: writes one byte that is there; 0 means the writing process (cgroups(7)).
        let written = unsafe { libc::write(file.as_raw_fd(), c"0".as_ptr().cast(), 1) };
        check(Step::Cgroup, written as c_long)?;
    }
    // SAFETY: setpgid takes integers.
    check(Step::Group, unsafe { libc::setpgid(0, 0) })?;
    for (number, source) in (0..).zip(plan.standard) {
        // SAFETY: dup2 takes integers; the sources are above 2, so none is overwritten before it is used.
        check(Step::Descriptors, unsafe { libc::dup2(source, number) })?;
    }
    if plan.foreground_of >= 0 {
        // SIGTTOU is blocked here as it is in the starter, so the kernel lets a background group do this.
        // SAFETY: takes nothing and cannot fail.
        let own = unsafe { libc::getpid() };
        // SAFETY: tcsetpgrp takes integers.
        check(Step::Foreground, unsafe { libc::tcsetpgrp(plan.foreground_of, own) })?;
    }
    limits(plan)?;
    // SAFETY: umask takes an integer and cannot fail.
    unsafe { libc::umask(plan.umask) };
    // SAFETY: fchdir takes an integer.
    check(Step::Directory, unsafe { libc::fchdir(plan.directory) })?;
    identity(plan)?;
    if plan.no_new_privs {
        // SAFETY: prctl with integers.
        check(Step::NoNewPrivs, unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    }
    // Marked, not closed: the report must outlive a failed exec, and exec closes it with the rest.
    // SAFETY: close_range takes integers.
    let closed = unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) };
    check(Step::Close, closed)?;
    signals::reset_all();
    if plan.hangup_ignored {
        signals::ignore(libc::SIGHUP);
    }
    // SAFETY: zeroed memory is an empty signal set.
    let none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: reads one set, which is there; nobody asks for the old one.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
    // SAFETY: the path is a C string and both lists are null-terminated lists of such, all alive in the plan.
    unsafe { libc::execve(plan.path, plan.arguments.as_ptr(), plan.environment.as_ptr()) };
    Err((Step::Execute, Errno::last()))
}

fn limits(plan: &Prepared) -> Result<(), (Step, Errno)> {
    for (resource, limit) in &plan.limits {
        // SAFETY: reads one rlimit, which is there.
        if unsafe { libc::setrlimit(*resource, limit) } == 0 {
            continue;
        }
        if Errno::last() != Errno::EPERM {
            return Err((Step::Limits, Errno::last()));
        }
        // Root in a container without CAP_SYS_RESOURCE: as much of it as this process has itself.
        let mut own = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: there is room for one rlimit.
        check(Step::Limits, unsafe { libc::getrlimit(*resource, &raw mut own) })?;
        let hard = limit.rlim_max.min(own.rlim_max);
        let less = libc::rlimit { rlim_cur: limit.rlim_cur.min(hard), rlim_max: hard };
        // SAFETY: reads one rlimit, which is there.
        check(Step::Limits, unsafe { libc::setrlimit(*resource, &raw const less) })?;
    }
    // A nice value below this process's own is given where that is allowed (CAP_SYS_NICE).
    // SAFETY: setpriority takes integers.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, plan.nice) };
    if let Some(cpus) = &plan.cpus {
        // CPUs that were taken away since (cpuset, hot plug) leave none: the program then runs where this one may.
        // SAFETY: reads one cpu_set_t, which is there.
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), cpus) };
    }
    // 0 whatever the starter has; where /proc is read-only it stays as inherited.
    // SAFETY: a constant path.
    let score = unsafe { libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
    if score >= 0 {
        // SAFETY: writes one byte that is there.
        unsafe { libc::write(score, c"0".as_ptr().cast(), 1) };
    }
    Ok(())
}

fn identity(plan: &Prepared) -> Result<(), (Step, Errno)> {
    // The raw calls: libc's wrappers would look for other threads, of which there are none.
    // SAFETY: pointer and length are those of one live list of gid_t.
    check(Step::Identity, unsafe { libc::syscall(libc::SYS_setgroups, plan.groups.len(), plan.groups.as_ptr()) })?;
    // SAFETY: takes integers.
    check(Step::Identity, unsafe { libc::syscall(libc::SYS_setresgid, plan.gid, plan.gid, plan.gid) })?;
    // SAFETY: takes integers.
    check(Step::Identity, unsafe { libc::syscall(libc::SYS_setresuid, plan.uid, plan.uid, plan.uid) })?;
    let mut ids = [u32::MAX; 3];
    let [real, effective, saved] = &mut ids;
    // SAFETY: three valid places for one uid_t each.
    check(Step::Identity, unsafe { libc::getresuid(real, effective, saved) })?;
    if ids != [plan.uid; 3] {
        return Err((Step::Identity, Errno::EPERM));
    }
    let [real, effective, saved] = &mut ids;
    // SAFETY: as above.
    check(Step::Identity, unsafe { libc::getresgid(real, effective, saved) })?;
    if ids != [plan.gid; 3] {
        return Err((Step::Identity, Errno::EPERM));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
