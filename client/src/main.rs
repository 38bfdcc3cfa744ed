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
mod cooked;
mod decider;
mod ending;
mod jobs;
mod options;
mod rescue;
mod say;
mod session;
mod tty;
mod usage;

use std::os::unix::ffi::OsStringExt;

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
    let voice = Voice::new(called);
    ending::exit(run(called, words.collect(), environment, &voice))
}

fn run(called: Called, words: Vec<Vec<u8>>, environment: Vec<Vec<u8>>, voice: &Voice) -> End {
    let asked = match options::parse(called, words) {
        Ok(asked) => asked.with_settings(called, &environment),
        Err(error) => {
            error.lines().iter().for_each(|line| voice.complain(line));
            voice.text(&usage::short(called));
            return End::Code(1);
        }
    };
    match asked {
        Asked::Help => say::print(&usage::long(called)),
        Asked::Version => say::print(&format!("jitsudo version {}\n", env!("CARGO_PKG_VERSION"))),
        Asked::ForgetAuthentication => End::Code(0),
        Asked::NotYet(what) => {
            voice.complain(&format!("{what} is not supported yet"));
            End::Code(1)
        }
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
    let tty = tty::Tty::open();
    let act = act::build(run, environment, tty.is_some());
    match decider::ask(&act) {
        Ok(channel) => session::attend(channel, &act, tty, voice, status.as_ref()),
        Err(NoSession::Unreachable(error)) => {
            if let Some(end) = rescue::run_as_root(run, voice) {
                return end;
            }
            voice.unreachable(&error);
            tell(status.as_ref(), "unreachable");
            called.code(69)
        }
        Err(NoSession::NotOurs(uid)) => {
            voice.complain(&format!("cannot trust {}: uid {uid} listens there, not root", decider::SOCKET));
            voice.hint("systemctl restart jitsudod.socket (as root), after a look at who owns /run/jitsudo");
            tell(status.as_ref(), "unreachable");
            called.code(69)
        }
        Err(NoSession::Denied(denied)) => {
            voice.denied(&denied);
            tell(status.as_ref(), if denied.by_person { "refused" } else { "denied" });
            called.code(if denied.by_person { 77 } else { 1 })
        }
        Err(NoSession::Fault(fault)) => {
            voice.fault(&fault);
            tell(status.as_ref(), "failed");
            called.code(decider::code_of(fault.code))
        }
    }
}

fn tell(status: Option<&say::StatusFd>, line: &str) {
    if let Some(status) = status {
        status.line(line);
    }
}
