//! `jitsudo`: run one command under a policy, for a window, on the record. It has no privilege of its own.
//!
//! The way of one command: [`options`] (sudo's command line), [`act`] (what is asked for), [`decider`] (yes or no), [`session`] (the
//! terminal, job control, the status), [`ending`] (our own end is the command's). [`rescue`] is for root while there is no daemon.
//!
//! MUSTs
//! 1. Nobody but root is believed: not the socket, not the hand-over, not the session (`decider`, `session`).
//! 2. The terminal is given back as it was, on every way out (`tty`).
//! 3. No name service, no locale: this program is static.
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod act;
mod background;
mod cooked;
mod decider;
mod edit;
mod ending;
mod jobs;
mod list;
#[cfg(test)]
mod manual;
mod options;
mod prompt;
mod rescue;
mod say;
mod session;
mod tty;
mod usage;
mod waiting;

use std::os::unix::ffi::OsStringExt;

use jitsudo_protocol::act::ActKind;
use jitsudo_protocol::client::FaultCode;
use jitsudo_sys::nix::libc;
use jitsudo_sys::{environment, files, nix, signals};

use decider::NoSession;
use ending::End;
use options::{Asked, Called, Run};
use say::Voice;

fn main() {
    // A closed 0, 1 or 2 must not become a socket of ours. Without /dev/null there is nothing to be done about it.
    let _ = files::fill_standard();
    let environment = environment::entries();
    let _ = nix::sys::prctl::set_dumpable(false);
    // Whoever started this may ignore it; a signal that is ignored is never told.
    signals::reset(libc::SIGCHLD);
    let mut words = std::env::args_os().map(OsStringExt::into_vec);
    let called = Called::by(&words.next().unwrap_or_default());
    let words: Vec<Vec<u8>> = words.collect();
    let voice = if is_request(called, &words) { Voice::of_jitctl() } else { Voice::new(called) };
    ending::exit(run(called, words, environment, &voice))
}

/// What `jitctl request`, `jitctl extend` and `jitctl approve` start this program with.
fn is_request(called: Called, words: &[Vec<u8>]) -> bool {
    let first = words.first().map(Vec::as_slice);
    called == Called::Jitsudo && matches!(first, Some(b"--want-role" | b"--extend" | b"--approve"))
}

fn run(called: Called, words: Vec<Vec<u8>>, environment: Vec<Vec<u8>>, voice: &Voice) -> End {
    let request = is_request(called, &words);
    let extends = words.first().is_some_and(|word| word == b"--extend");
    let asked = options::parse(called, words, &host_name());
    let asked = match asked.and_then(|asked| asked.with_settings(called, &environment)) {
        Ok(asked) => asked,
        Err(error) => {
            error.lines().iter().for_each(|line| voice.complain(line));
            if request {
                voice.hint(if extends { "jitctl extend --help" } else { "jitctl request --help" });
                return End::Code(2);
            }
            if error.with_usage {
                voice.text(&usage::short(called));
            }
            return End::Code(1);
        }
    };
    match asked {
        Asked::Help => say::print(&usage::long(called)),
        Asked::Version => say::print(&format!("jitsudo version {}\n", env!("CARGO_PKG_VERSION"))),
        Asked::Forget { all } => forget(called, all, voice),
        Asked::List(asked) => match list::list(called, &asked, voice) {
            Ok(end) => end,
            Err(error) => no_session(called, &error, voice, None),
        },
        Asked::Run(run) => elevate(called, &run, environment, voice),
    }
}

fn elevate(called: Called, run: &Run, environment: Vec<Vec<u8>>, voice: &Voice) -> End {
    let status = match run.status_fd.map(say::StatusFd::open).transpose() {
        Ok(status) => status,
        Err(error) => {
            voice.complain(&format!("cannot write to --status-fd: {}", say::words(&error)));
            return End::Code(1);
        }
    };
    let starter = match run.background.then(|| background::divide(voice)) {
        None => None,
        Some(background::Side::Child(starter)) => Some(starter),
        Some(background::Side::Parent(end)) => return end,
    };
    let tty = tty::Tty::open();
    let editing = match run.kind {
        ActKind::Edit => match edit::prepare(run, &act::working_directory().0, &environment, voice) {
            Some(plan) => Some(plan),
            None => {
                if let Some(status) = &status {
                    status.line("failed");
                }
                return End::Code(1);
            }
        },
        ActKind::Command
        | ActKind::Shell
        | ActKind::LoginShell
        | ActKind::Validate
        | ActKind::Role
        | ActKind::Approve => None,
    };
    let run = editing.as_ref().map_or(run, |plan| &plan.run);
    let act = act::build(run, environment, tty.is_some());
    match decider::ask(&act, voice) {
        Ok(channel) => match &editing {
            Some(plan) => edit::attend(channel, &act, plan, tty.as_ref(), voice, status.as_ref()),
            None => {
                let call = session::Call { act: &act, run, tty, voice, status: status.as_ref(), starter };
                session::attend(channel, call)
            }
        },
        // `jitctl extend`: what every verb of it says where there is nothing of that id.
        Err(NoSession::Fault(fault)) if run.extends.is_some() && fault.code == FaultCode::NotFound => {
            voice.fault(&fault);
            End::Code(3)
        }
        Err(error) => {
            // Whoever only asks must not find the command run.
            if !run.explain_env
                && matches!(error, NoSession::Unreachable(_))
                && let Some(end) = rescue::run_as_root(run, voice, status.as_ref(), starter.as_ref())
            {
                return end;
            }
            no_session(called, &error, voice, status.as_ref())
        }
    }
}

fn forget(called: Called, all: bool, voice: &Voice) -> End {
    match decider::forget(all) {
        Ok(()) => End::Code(0),
        Err(error) => no_session(called, &error, voice, None),
    }
}

/// Says why there is none.
fn no_session(called: Called, error: &NoSession, voice: &Voice, status: Option<&say::StatusFd>) -> End {
    let (line, code) = match error {
        NoSession::Unreachable(error) => {
            voice.unreachable(error);
            ("unreachable", 69)
        }
        NoSession::NotOurs(uid) => {
            voice.complain(&format!("cannot trust {}: uid {uid} listens there, not root", decider::SOCKET));
            voice.hint("systemctl restart jitsudod.socket (as root), after a look at who owns /run/jitsudo");
            ("unreachable", 69)
        }
        NoSession::Denied(denied) => {
            voice.denied(denied);
            match (denied.by_person, denied.unanswered) {
                (true, _) => ("refused", 77),
                (false, true) => ("unanswered", 75),
                (false, false) => ("denied", 1),
            }
        }
        NoSession::Fault(fault) => {
            voice.fault(fault);
            ("failed", decider::code_of(fault.code))
        }
    };
    if let Some(status) = status {
        status.line(line);
    }
    called.code(code)
}

/// The kernel's word for this host; empty when it has none that is text.
fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}
