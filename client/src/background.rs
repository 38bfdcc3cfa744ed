//! `-b`: a child attends to the command; this process ends as soon as the command runs, and until then the two are one job.
//!
//! The child is made before anything else, for it must be the one that connects: a session listens to one process only.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;

use jitsudo_sys::fork::{Forked, fork};
use jitsudo_sys::nix::fcntl::OFlag;
use jitsudo_sys::nix::libc;
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use jitsudo_sys::nix::sys::prctl;
use jitsudo_sys::nix::sys::signal::{Signal, kill};
use jitsudo_sys::nix::sys::signalfd::SignalFd;
use jitsudo_sys::nix::unistd::{Pid, getppid, pipe2};
use jitsudo_sys::{signals, status};

use crate::ending::End;
use crate::say::Voice;

/// Tells the waiting parent that the command runs.
#[derive(Debug)]
pub(crate) struct Starter(File);

impl Starter {
    /// From here on the child is on its own.
    pub(crate) fn started(&self) {
        let _ = prctl::set_pdeathsig(None);
        // A parent that is gone waits for nothing.
        let _ = (&self.0).write_all(b"s");
    }
}

/// Which of the two this is.
pub(crate) enum Side {
    /// Goes on with the request.
    Child(Starter),
    /// Has nothing more to do than to end so.
    Parent(End),
}

/// Makes the child; the parent comes back when the command runs, or when the child is over.
pub(crate) fn divide(voice: &Voice) -> Side {
    let failed = |error: &std::io::Error| {
        voice.complain(&format!("cannot go into the background: {}", crate::say::words(error)));
        Side::Parent(End::Code(1))
    };
    let (reader, writer) = match pipe2(OFlag::O_CLOEXEC) {
        Ok(ends) => ends,
        Err(error) => return failed(&error.into()),
    };
    // Ctrl-C and Ctrl-Z reach both: the child has the terminal to give back, so it decides.
    let watched = [
        Signal::SIGCHLD,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGTSTP,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
    ];
    let signals = match signals::take(&watched) {
        Ok(signals) => signals,
        Err(error) => return failed(&error),
    };
    let own = Pid::this();
    match fork() {
        Err(error) => failed(&error),
        Ok(Forked::Child) => {
            drop((reader, signals));
            let _ = signals::unblock_all();
            // Alone at a prompt it would wait for nobody.
            let _ = prctl::set_pdeathsig(Signal::SIGTERM);
            if getppid() != own {
                return Side::Parent(End::Code(1));
            }
            Side::Child(Starter(writer.into()))
        }
        Ok(Forked::Parent(child)) => {
            drop(writer);
            Side::Parent(wait(child, &mut reader.into(), &signals))
        }
    }
}

fn wait(child: i32, started: &mut File, signals: &SignalFd) -> End {
    let mut listening = true;
    loop {
        let mut entries = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if listening {
            entries.push(PollFd::new(started.as_fd(), PollFlags::POLLIN));
        }
        let _ = poll(&mut entries, PollTimeout::NONE);
        let told = entries.get(1).and_then(PollFd::any).unwrap_or(false);
        drop(entries);
        if told {
            if started.read(&mut [0u8]).is_ok_and(|count| count > 0) {
                return End::Code(0);
            }
            // It ends without a command; its status is still to come.
            listening = false;
        }
        while let Ok(Some(signal)) = signals.read_signal() {
            // These may mean this process alone.
            if let Ok(number) = i32::try_from(signal.ssi_signo)
                && matches!(number, libc::SIGHUP | libc::SIGTERM)
                && let Ok(number) = Signal::try_from(number)
            {
                let _ = kill(Pid::from_raw(child), number);
            }
        }
        while let Some((pid, raw)) = status::next_change() {
            match status::stopped_by(raw) {
                _ if pid != child => {}
                // One job: the shell sees this process.
                Some(signal) => stop_as(signal),
                None => return End::of(raw),
            }
        }
    }
}

fn stop_as(signal: i32) {
    if let Ok(signal) = Signal::try_from(signal) {
        let _ = signals::stop_group(signal);
    }
}
