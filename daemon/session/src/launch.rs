//! Terminal, environment, and the step from a decided act to a running command.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use jitsudo_bytes::Bytes;
use jitsudo_core::facts::Executable;
use jitsudo_link::session::Spec;
use jitsudo_protocol::act::{Act, ActKind};
use jitsudo_protocol::client::FaultCode;
use jitsudo_protocol::session::FromSession;
use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::nix::sys::signal::Signal;
use jitsudo_sys::nix::sys::signalfd::SignalFd;
use jitsudo_sys::nix::sys::wait::waitpid;
use jitsudo_sys::nix::unistd::Pid;
use jitsudo_sys::pty::Pty;
use jitsudo_sys::spawn::{self, Plan, StartError, Step};
use jitsudo_sys::terminal::{self, Modes, Size};
use jitsudo_sys::{clock, signals};

use crate::act::Beginning;
use crate::authority::Authority;
use crate::client::Client;
use crate::descriptors::{Descriptors, Standard};
use crate::directory;
use crate::environment;
use crate::failure::{Failure, words_of};
use crate::processes::Processes;
use crate::program;
use crate::relay::Relay;

/// How long a program may take from clone to exec (a network file system that hangs).
const EXEC_MS: u16 = 10_000;
/// What runs a file that is neither a program nor a script that names its interpreter (sudo's, and every shell's).
const SHELL: &str = "/bin/sh";
/// Bits that the caller's umask is joined with.
const UMASK: u32 = 0o022;

/// All that was prepared.
pub(crate) struct Parts<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) executable: &'a Executable,
    pub(crate) told: &'a Beginning,
    pub(crate) act: &'a Act,
    pub(crate) descriptors: Descriptors,
    pub(crate) directory: OwnedFd,
    pub(crate) authority: Authority,
    pub(crate) processes: Processes,
    pub(crate) audit_session: Option<u32>,
    pub(crate) client: &'a Client,
}

/// A running command and what belongs to it.
pub(crate) struct Running {
    /// Its process id and process group.
    pub(crate) pid: i32,
    /// What was executed instead of it, to read it.
    pub(crate) interpreter: Option<&'static str>,
    /// CLOCK_BOOTTIME at its start.
    pub(crate) started_ms: u64,
    pub(crate) kind: ActKind,
    /// `-T` was given: its end is sudo's, which hangs up first.
    pub(crate) timed: bool,
    pub(crate) relay: Option<Relay>,
    pub(crate) processes: Processes,
    pub(crate) authority: Authority,
    pub(crate) audit_session: Option<u32>,
    pub(crate) signals: SignalFd,
}

/// Starts the command.
pub(crate) fn launch(parts: Parts<'_>) -> Result<Running, Failure> {
    let Parts { spec, executable, told, act, descriptors, directory, authority, processes, audit_session, client } =
        parts;
    // Blocked before there is a child, so that no change of it is missed; a blocked SIGTTOU lets it take the foreground.
    let signals = signals::take(&[
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGTSTP,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
        // They mean nothing to a session, and a command that runs as root can send them to its parent.
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
    ])
    .map_err(|error| Failure::trouble("take signals", &error))?;
    let pty = match &descriptors.terminal {
        Some(users) => {
            Some(open_pty(spec, told, users.as_fd()).map_err(|error| Failure::trouble("make a terminal", &error))?)
        }
        None => None,
    };
    jitsudo_sys::failpoint::reach("session.start");
    let (pid, interpreter) =
        start(spec, executable, told, act, &descriptors, &directory, &authority, &processes, client, pty.as_ref())?;
    // The command has its own copies; kept here they would hold pipes open after it. What is no pipe stays (`descriptors`).
    drop((descriptors, directory));
    let (relay, stream) = match pty.map(Relay::new).transpose() {
        Ok(Some((relay, stream))) => (Some(relay), Some(stream)),
        Ok(None) => (None, None),
        Err(error) => {
            processes.kill();
            return Err(Failure::trouble("make the terminal's stream", &error));
        }
    };
    jitsudo_sys::failpoint::reach("session.started");
    client.send(&FromSession::Started { stream: stream.is_some() }, stream);
    Ok(Running {
        pid,
        interpreter,
        started_ms: clock::boottime_ms(),
        kind: act.options.kind,
        timed: act.options.timeout.is_some(),
        relay,
        processes,
        authority,
        audit_session,
        signals,
    })
}

/// The session's terminal: the target's, of the user's size and modes, controlled by this process.
fn open_pty(spec: &Spec, told: &Beginning, users: BorrowedFd<'_>) -> io::Result<Pty> {
    let pty = Pty::open(spec.target.uid.0)?;
    let size =
        Size { rows: told.size.rows, columns: told.size.columns, width: told.size.width, height: told.size.height };
    terminal::set_size(pty.master.as_fd(), size)?;
    // A terminal that was hung up meanwhile gives no modes: then the kernel's defaults do.
    if let Ok(modes) = Modes::of(users) {
        let _ = modes.set(pty.slave.as_fd());
    }
    terminal::make_controlling(pty.slave.as_fd())?;
    Ok(pty)
}

#[expect(clippy::too_many_arguments, reason = "one call, all of it needed: a struct would only repeat Parts")]
fn start(
    spec: &Spec,
    executable: &Executable,
    told: &Beginning,
    act: &Act,
    descriptors: &Descriptors,
    directory: &OwnedFd,
    authority: &Authority,
    processes: &Processes,
    client: &Client,
    pty: Option<&Pty>,
) -> Result<(i32, Option<&'static str>), Failure> {
    let arguments = program::arguments(executable, act);
    let variables = environment::of(spec, executable, act, authority, client);
    let path = std::ffi::CString::new(executable.path.0.clone())
        .map_err(|_| Failure::refused(FaultCode::Malformed, "a NUL byte in the program's path"))?;
    let [input, output, error] = &descriptors.standard;
    let standard = [of(input, pty)?, of(output, pty)?, of(error, pty)?];
    let in_foreground = told.foreground && !told.background;
    let mut plan = Plan {
        path,
        arguments: program::c_strings(arguments.into_iter().map(|word| word.0))?,
        environment: program::c_strings(variables)?,
        standard,
        foreground_of: pty.filter(|_| in_foreground).map(|pty| pty.slave.as_fd()),
        cgroup: processes.directory(),
        directory: directory.as_fd(),
        account: directory::command(&spec.target, &spec.requester, &act.options, &spec.lent)?,
        limits: authority.limits.clone(),
        nice: authority.nice,
        cpus: spec.process.cpus.clone(),
        umask: spec.process.umask | spec.run_as.umask.unwrap_or(UMASK),
        no_new_privs: spec.run_as.no_new_privs,
        hangup_ignored: spec.process.hangup_ignored,
    };
    let now = clock::now();
    if now.boottime_ms >= spec.ends_boottime_ms || now.wall_ns >= spec.ends_at.as_nanosecond() {
        let message = "cannot start: the time was over before the command began".to_owned();
        return Err(Failure::cannot(FaultCode::Busy, message, Errno::ETIME));
    }
    // Last of all, so that little time is left for a change.
    program::verify(executable, spec.run_as.safe_chain)?;
    let (executed, path, interpreter) = match execute(&plan) {
        Err(error) if may_be_read_by_a_shell(spec, act, error) => {
            let words =
                [Bytes::from("sh"), executable.path.clone()].into_iter().chain(act.argv.iter().skip(1).cloned());
            plan.arguments = program::c_strings(words.map(|word| word.0))?;
            plan.path = c"/bin/sh".into();
            (execute(&plan), Bytes::from(SHELL), Some(SHELL))
        }
        executed => (executed, executable.path.clone(), None),
    };
    match executed {
        Ok(pid) => Ok((pid, interpreter)),
        Err(error) => {
            processes.kill();
            Err(not_executed(&path, error))
        }
    }
}

/// Leaves the cgroup as it is where this fails: what is cloned into one after cgroup.kill may be killed as well (seen on Linux 6.18).
fn execute(plan: &Plan<'_>) -> Result<i32, StartError> {
    let mut started = spawn::start(plan)?;
    started.executed(EXEC_MS).inspect_err(|error| {
        let pid = Pid::from_raw(started.pid);
        let _ = jitsudo_sys::nix::sys::signal::kill(pid, Signal::SIGKILL);
        if error.errno != Errno::ETIMEDOUT {
            // A process that hangs in the kernel would hang this one as well.
            let _ = waitpid(pid, None);
        }
    })?;
    Ok(started.pid)
}

/// The kernel knows no way to run it, and the rule gives every command, so a shell as well. A rule that names commands does not give one.
fn may_be_read_by_a_shell(spec: &Spec, act: &Act, error: StartError) -> bool {
    (error.step, error.errno) == (Step::Execute, Errno::ENOEXEC)
        && !spec.run_as.safe_chain
        && act.options.kind == ActKind::Command
}

fn of<'a>(standard: &'a Standard, pty: Option<&'a Pty>) -> Result<BorrowedFd<'a>, Failure> {
    match (standard, pty) {
        (Standard::Pipe(descriptor), _) => Ok(descriptor.as_fd()),
        (Standard::Kept(descriptor), _) => Ok(descriptor.as_fd()),
        (Standard::Terminal, Some(pty)) => Ok(pty.slave.as_fd()),
        (Standard::Terminal, None) => Err(Failure::refused(FaultCode::Malformed, "a terminal without a terminal")),
    }
}

fn not_executed(path: &Bytes, error: StartError) -> Failure {
    let path = path.visible();
    let words = words_of(error.errno as i32);
    if error.step != Step::Execute {
        return Failure::cannot(FaultCode::Internal, format!("cannot {}: {words}", error.step.words()), error.errno);
    }
    let failure = Failure::cannot(FaultCode::Program, format!("cannot execute {path}: {words}"), error.errno);
    match error.errno {
        Errno::ENOEXEC => {
            failure.with_hint("it is no program, and no script with a #! line: begin it with one, such as #!/bin/sh")
        }
        Errno::ENOENT => failure.with_hint("its interpreter (the #! line, or the dynamic loader) does not exist"),
        Errno::EACCES => failure.with_hint("the target user may not execute it, or its file system is mounted noexec"),
        Errno::E2BIG => failure.with_hint("its arguments and environment are too long for the kernel"),
        _ => failure,
    }
}
