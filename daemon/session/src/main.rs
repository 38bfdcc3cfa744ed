//! `jitsudo-session`: root, one per command, started ahead of its request and used once. It plays sudo's monitor: PAM, terminal, exec,
//! the command's end at its deadline, and the record of it. It outlives the daemon's restarts.
//!
//! The way of one command, in order: [`act`] (the client tells the act again), [`audit`] (loginuid), [`authority`] (PAM, with
//! [`proof`] and [`dialogue`]), [`descriptors`], [`directory`], [`program`], [`launch`], [`supervise`], and [`record`] throughout. [`edit`] takes the way of `-e`, and
//! [`role`] that of a role, after [`authority`].
//!
//! MUSTs
//! 1. Every message of the client comes from the process that the spawner saw (`client`, tests `peer_*`).
//! 2. The act has the digest that was decided about, or nothing runs (`act_of_another_digest_runs_nothing`).
//! 3. The caller's terminal does not reach the command (`descriptors`, `fd_tty_*`).
//! 4. At the end nothing of the command is left, or it is said by name (`supervise`, `session_end_*`).
//! 5. Taking away waits for no record; the record follows (`record`).
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod act;
mod audit;
mod authority;
mod client;
mod descriptors;
mod dialogue;
mod directory;
mod edit;
mod environment;
mod failure;
mod launch;
mod limits;
mod mark;
mod notice;
mod processes;
mod program;
mod prompt;
mod proof;
mod record;
mod relay;
mod role;
mod schedule;
mod screen;
mod supervise;
mod undisturbed;
mod yes;

use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::rc::Rc;

use jitsudo_core::event::EndCause;
use jitsudo_link::INHERITED_FD;
use jitsudo_link::session::{FromSessionToSpawner, Spec};
use jitsudo_protocol::act::ActKind;
use jitsudo_protocol::client::FaultCode;
use jitsudo_protocol::session::FromSession;
use jitsudo_sys::cgroup::Cgroup;
use jitsudo_sys::channel::Channel;
use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::{clock, files, nix, signals};

use client::Client;
use dialogue::Dialogue;
use failure::Failure;
use processes::Processes;
use prompt::Wording;
use record::Recorder;
use schedule::{Due, Schedule};

fn main() -> ExitCode {
    // Whatever the starter had: a known beginning. Failures here leave the defaults, which are sound as well.
    let _ = files::fill_standard();
    let _ = nix::sys::prctl::set_dumpable(false);
    let _ = nix::sys::prctl::set_name(c"jitsudo-session");
    // The spawner has raised it for its own many sockets; modules that compare limits must see what every service has.
    if let Ok((_, hard)) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE) {
        let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, hard.min(1024), hard);
    }
    signals::reset_all();
    let _ = signals::unblock_all();
    signals::ignore(nix::libc::SIGPIPE);
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    // Moving a process costs the kernel milliseconds: done now, while nobody waits. Where it fails `Home` finds out.
    if let Some(group) = std::env::args_os().nth(1) {
        let _ = std::fs::write(std::path::Path::new(&group).join("cgroup.procs"), "0");
    }
    // The command's terminal becomes this session's: it must lead one. It does already when this fails.
    let _ = nix::unistd::setsid();
    let Ok(spawner) = Channel::from_inherited(INHERITED_FD) else {
        return ExitCode::from(64);
    };
    let _modules = authority::preload();
    match wait_for_task(&spawner) {
        Ok(Some(task)) => {
            carry_out(task, spawner);
            ExitCode::SUCCESS
        }
        // The spawner has closed: this one is not needed.
        Ok(None) => ExitCode::SUCCESS,
        Err(cause) => {
            record::say_unattached(&cause);
            ExitCode::from(70)
        }
    }
}

/// What a session is started for.
struct Task {
    spec: Spec,
    client: OwnedFd,
    cgroup: Option<OwnedFd>,
}

fn wait_for_task(spawner: &Channel) -> Result<Option<Task>, String> {
    let message = spawner.receive().map_err(|error| format!("cannot read a spec: {error}"))?;
    let Some(message) = message else {
        return Ok(None);
    };
    let spec: Spec = serde_json::from_slice(&message.bytes).map_err(|error| format!("cannot read a spec: {error}"))?;
    let mut descriptors = message.descriptors.into_iter();
    match (descriptors.next(), descriptors.next(), descriptors.next(), &spec.cgroup) {
        (Some(client), Some(cgroup), None, Some(_)) => Ok(Some(Task { spec, client, cgroup: Some(cgroup) })),
        (Some(client), None, None, None) => Ok(Some(Task { spec, client, cgroup: None })),
        _ => Err("a spec came with other descriptors than it tells of".to_owned()),
    }
}

fn carry_out(task: Task, spawner: Channel) {
    let Task { spec, client, cgroup } = task;
    let mut recorder = Recorder::new(&spec, spawner);
    let client = match Client::new(client, spec.peer) {
        Ok(client) => Rc::new(client),
        Err(error) => {
            return not_started(&mut recorder, &Failure::trouble("watch the client's socket", &error));
        }
    };
    match start(&spec, &client, cgroup, &mut recorder) {
        Ok(Started::Command(running)) => supervise::until_the_end(&spec, &client, *running, &mut recorder),
        Ok(Started::Editing(editing)) => edit::until_the_end(&spec, &client, *editing, &mut recorder),
        Ok(Started::Explained) => {
            client.say_last(&FromSession::Ended(0));
            drop(client);
            not_started(&mut recorder, &Failure::only_explained());
        }
        Ok(Started::Nothing) => validated(&client, &mut recorder),
        Ok(Started::Role) => role::settle(&spec, &client, &mut recorder),
        Ok(Started::Yes) => yes::settle(&spec, &client, &mut recorder),
        Err(failure) => {
            client.say_last(&failure.answer());
            drop(client);
            not_started(&mut recorder, &failure);
        }
    }
}

/// What was begun.
enum Started {
    /// A command runs.
    Command(Box<launch::Running>),
    /// `-e`: the client has copies of files.
    Editing(Box<edit::Editing>),
    /// `--explain-env`: nothing, what there would be was told.
    Explained,
    /// `-v`: there was nothing to begin.
    Nothing,
    /// Somebody says yes to a request of another, and has proven who they are.
    Yes,
    /// A role was asked for, and nothing that PAM knows speaks against it.
    Role,
}

/// Everything up to the running command. What was set up is undone when something fails (PAM by
/// its own `Drop`).
fn start(
    spec: &Spec,
    client: &Rc<Client>,
    cgroup: Option<OwnedFd>,
    recorder: &mut Recorder,
) -> Result<Started, Failure> {
    let processes = match cgroup {
        Some(directory) => Processes::Cgroup(
            Cgroup::from_directory(directory).map_err(|error| Failure::trouble("open the command's cgroup", &error))?,
        ),
        None => {
            jitsudo_sys::descendants::adopt_orphans()
                .map_err(|error| Failure::trouble("become the parent of orphans", &error))?;
            Processes::Descendants
        }
    };
    let mut told = act::receive(spec, client)?;
    let descriptors = descriptors::sort(told.descriptors, told.act.options.terminal)?;
    let home = processes::Home::of(spec)?;
    let audit_session = audit::take_identity(&spec.requester);
    if let Some(audit_session) = audit_session {
        recorder.tell(FromSessionToSpawner::Audited(audit_session));
    }
    let wording = Wording::of(&told.beginning.prompt, spec, authority::requester(spec)?);
    let dialogue = Rc::new(Dialogue::new(Rc::clone(client), wording, told.act.options.non_interactive));
    let admitted = authority::admit(spec, Rc::clone(&dialogue), recorder)?;
    if told.act.options.kind == ActKind::Validate {
        return Ok(Started::Nothing);
    }
    if told.act.options.kind == ActKind::Approve {
        return Ok(Started::Yes);
    }
    if (told.act.options.kind == ActKind::Role) != (spec.session.number == 0) {
        return Err(Failure::refused(FaultCode::Internal, "the session is not one for that kind of request"));
    }
    if told.act.options.kind == ActKind::Role {
        return Ok(Started::Role);
    }
    // Before anything of it runs: PAM's own helpers too.
    mark::write(spec, audit_session, (spec.ends_at, spec.ends_boottime_ms))
        .map_err(|error| Failure::trouble("note by what the command is found", &error))?;
    jitsudo_sys::failpoint::reach("session.marked");
    let authority = admitted.open(spec, &told.act.options)?;
    home.come_back()?;
    told.beginning.size = dialogue.size().unwrap_or(told.beginning.size);
    told.beginning.foreground = dialogue.foreground().unwrap_or(told.beginning.foreground);
    let now = clock::now();
    let mut schedule = Schedule::of(spec, now);
    if matches!(schedule.due(now.wall_ns, now.boottime_ms), Due::Over | Due::Finish) {
        let words = "cannot start the command: its time was over before you had proven who you are".to_owned();
        return Err(Failure::cannot(FaultCode::Authentication, words, Errno::ETIMEDOUT));
    }
    if spec.start_by_ms.is_some_and(|start_by_ms| now.boottime_ms > start_by_ms) {
        let words = "cannot start the command: you took longer to prove who you are than the rule waits (start-by)";
        return Err(Failure::cannot(FaultCode::Authentication, words.to_owned(), Errno::ETIMEDOUT));
    }
    if recorder.told_to_end().is_some() {
        let words = "cannot start the command: its grant was ended before it began".to_owned();
        return Err(Failure::cannot(FaultCode::NotFound, words, Errno::ECANCELED));
    }
    if told.act.options.kind == ActKind::Edit {
        return edit::open(spec, &told.act, authority, audit_session, client).map(Box::new).map(Started::Editing);
    }
    let Some(executable) = &spec.executable else {
        return Err(Failure::refused(FaultCode::NotSupported, "nothing was found that could run"));
    };
    if told.beginning.explain_env {
        return environment::explain(spec, executable, &told.act, &authority, client).map(|()| Started::Explained);
    }
    let directory = directory::open(spec, &told.act.options, &descriptors.directory, client)?;
    let running = launch::launch(launch::Parts {
        spec,
        executable,
        told: &told.beginning,
        act: &told.act,
        descriptors,
        directory,
        authority,
        processes,
        audit_session,
        client,
    })?;
    Ok(Started::Command(Box::new(running)))
}

/// `-v`: nothing was to run, and so nothing is left.
fn validated(client: &Client, recorder: &mut Recorder) {
    client.say_last(&FromSession::Ended(0));
    recorder.validated();
    recorder.ended(EndCause::Finished);
    recorder.closed();
    recorder.finish();
}

fn not_started(recorder: &mut Recorder, failure: &Failure) {
    if recorder.gives_role() {
        recorder.not_given(failure);
        return recorder.finish();
    }
    recorder.not_started(failure);
    let cause = if matches!(failure, Failure::ClientGone) { EndCause::ClientLost } else { EndCause::NotStarted };
    recorder.ended(cause);
    recorder.closed();
    recorder.finish();
}
