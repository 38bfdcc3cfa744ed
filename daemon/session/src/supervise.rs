//! While the command runs, and until nothing of it is left: one loop over its processes, its terminal, its client and its deadline.
//!
//! MUSTs
//! 1. The status goes to the client at once; the record follows (`session_end_05`).
//! 2. The end comes by whichever clock is first, with nobody's help (`schedule`), and is verified (`session_end_02`).
//! 3. A client that is gone, stopped or flooding changes nothing about the end.

use std::os::fd::AsFd;

use jitsudo_core::Timestamp;
use jitsudo_core::event::{EndCause, Ending, Event};
use jitsudo_link::session::{FromSessionToSpawner, Spec};
use jitsudo_protocol::act::ActKind;
use jitsudo_protocol::session::{FromSession, ToSession};
use jitsudo_sys::nix::libc;
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use jitsudo_sys::nix::sys::signal::{Signal, kill};
use jitsudo_sys::nix::unistd::{Pid, getpgrp};
use jitsudo_sys::terminal::{self, Size};
use jitsudo_sys::{clock, signals, status};

use crate::client::{Client, NoMessage};
use crate::launch::Running;
use crate::mark;
use crate::notice::{self, Called};
use crate::record::{self, Recorder};
use crate::schedule::{Due, Schedule};

/// Longest sleep: the wall clock may be set at any time.
const TICK_MS: u64 = 1000;
/// Sleep while the end is being waited for.
const SHORT_TICK_MS: u64 = 20;
/// How long after the command its own children may take to end before they count as left running.
const SETTLE_MS: u64 = 50;
/// How long after a kill a client may take for what the command wrote last, and for its screen to be put back.
const LAST_WORDS_MS: u64 = 500;
/// How long after a kill something may be left before that is recorded.
const KILL_MS: u64 = 2000;
/// Most names in a record.
const MAX_NAMES: usize = 32;
/// Most messages of the client taken in one turn.
const MESSAGES_A_TURN: usize = 64;
/// Most changes of children taken in one turn: programs that are stopped and continued, or born and orphaned, in a storm must not keep
/// the deadline waiting.
const CHANGES_A_TURN: usize = 256;
/// Signals that a client may pass on.
const PASSED_ON: [i32; 9] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGTSTP,
    libc::SIGCONT,
];

/// How far the end has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// Not begun.
    Open,
    /// TERM was sent; KILL at this moment.
    Asked { cause: EndCause, kill_ms: u64, others: usize },
    /// KILL was sent at this moment.
    Killed { cause: EndCause, at_ms: u64, others: usize, said: bool },
}

/// What a full-screen program keeps from the requester.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    /// How long is left.
    Left,
    /// Until when it may finish.
    Finish,
}

struct Supervisor<'a> {
    spec: &'a Spec,
    client: &'a Client,
    client_here: bool,
    running: Running,
    recorder: &'a mut Recorder,
    schedule: Schedule,
    /// Raw wait status of the command.
    ended: Option<i32>,
    ended_ms: u64,
    /// The process group that had the pty's foreground when the command stopped.
    stopped_foreground: Option<i32>,
    end: End,
    /// The client and the record have the status.
    status_told: bool,
    released: bool,
    /// What is to be said as soon as a full-screen program gives the screen back.
    held: Option<Held>,
    bell_due: bool,
}

/// Supervises the command until nothing of it is left.
pub(crate) fn until_the_end(spec: &Spec, client: &Client, running: Running, recorder: &mut Recorder) {
    let now = clock::now();
    let schedule = Schedule::of(spec, now);
    let mut supervisor = Supervisor {
        spec,
        client,
        client_here: true,
        running,
        recorder,
        schedule,
        ended: None,
        ended_ms: 0,
        stopped_foreground: None,
        end: End::Open,
        status_told: false,
        released: false,
        held: None,
        bell_due: false,
    };
    while !supervisor.is_over() {
        supervisor.turn();
    }
    supervisor.conclude();
}

impl Supervisor<'_> {
    fn is_over(&self) -> bool {
        let drained = self.running.relay.is_none();
        self.ended.is_some() && drained && (self.released || self.running.processes.is_empty())
    }

    fn turn(&mut self) {
        let wait_ms = self.attend_to_time();
        let relay = self.running.relay.as_ref();
        let mut client = PollFlags::POLLIN;
        client.set(PollFlags::POLLOUT, self.client.has_waiting());
        let mut entries = vec![PollFd::new(self.running.signals.as_fd(), PollFlags::POLLIN)];
        if self.client_here {
            entries.push(PollFd::new(self.client.as_fd(), client));
        }
        let relay_at = entries.len();
        if let Some(relay) = relay {
            entries.extend(relay.wants().map(|(descriptor, flags)| PollFd::new(descriptor, flags)));
        }
        if let (Some(_), Some(events)) = (self.ended, self.running.processes.events()) {
            entries.push(PollFd::new(events, PollFlags::POLLPRI));
        }
        entries.extend(self.recorder.spawner().map(|spawner| PollFd::new(spawner, PollFlags::POLLIN)));
        // An interrupted or failed wait is a short one: everything below asks anew.
        let _ = poll(&mut entries, PollTimeout::try_from(wait_ms).unwrap_or(PollTimeout::ZERO));
        let came = |place: usize| entries.get(place).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        let (signal, from_client) = (came(0), if self.client_here { came(1) } else { PollFlags::empty() });
        let (pty, stream) = (came(relay_at), came(relay_at + 1));
        drop(entries);
        if let Some(relay) = &mut self.running.relay {
            relay.relay(pty, stream);
        }
        // A window that is over is this session's own deadline where its command may finish after it.
        let is_own = |cause: &EndCause| *cause == EndCause::WindowOver && self.spec.finish_ms > 0;
        if let Some(cause) = self.recorder.told_to_end().filter(|cause| !is_own(cause)) {
            self.mark_over();
            self.begin_end(cause);
        }
        self.take_new_end();
        if !signal.is_empty() {
            self.attend_to_signals();
        }
        if self.ended.is_none() {
            self.attend_to_children();
        }
        if !from_client.is_empty() {
            self.client.flush();
            self.attend_to_client();
        }
        self.attend_to_screen();
        self.attend_to_leftovers();
    }

    /// The role under which it runs was extended. What is ending already ends.
    fn take_new_end(&mut self) {
        if self.end == End::Open
            && let Some(end) = self.recorder.new_end()
        {
            let now = clock::now();
            self.schedule.extend(end, now.wall_ns, now.boottime_ms);
            // Where it cannot be moved, whoever looks while nobody lives ends it at the old time: too early, never too late.
            let _ = mark::write(self.spec, self.running.audit_session, end);
        }
    }

    /// It ends before its time: what got away has none left either.
    fn mark_over(&self) {
        if self.end == End::Open && !self.released {
            let now = clock::now();
            let at = Timestamp::from_nanosecond(now.wall_ns).unwrap_or(Timestamp::UNIX_EPOCH);
            // Where it cannot be noted it is found at the end that it had.
            let _ = mark::write(self.spec, self.running.audit_session, (at, now.boottime_ms));
        }
    }

    /// Deadline, warnings, kill; gives how long nothing is due.
    fn attend_to_time(&mut self) -> u64 {
        let now = clock::now();
        if self.released {
            // Only output is left, and a client that does not read it has until the end as well.
            if self.schedule.due(now.wall_ns, now.boottime_ms) == Due::Over
                && let Some(relay) = &mut self.running.relay
            {
                relay.forget_client();
            }
            return SHORT_TICK_MS;
        }
        match self.end {
            End::Open => match self.schedule.due(now.wall_ns, now.boottime_ms) {
                Due::Over => {
                    self.begin_end(EndCause::WindowOver);
                    0
                }
                Due::Warning(seconds) => {
                    self.warn(Held::Left, notice::left(seconds, self.schedule.ends_at()));
                    0
                }
                Due::Finish => {
                    self.warn(Held::Finish, notice::may_finish(self.schedule.processes_end_at()));
                    0
                }
                Due::Nothing(ms) => {
                    let settling = self.ended.is_some() && !self.status_told;
                    self.recorder.flush();
                    ms.min(if settling { SHORT_TICK_MS } else { TICK_MS })
                }
            },
            End::Asked { cause, kill_ms, others } => {
                if now.boottime_ms < kill_ms {
                    return (kill_ms - now.boottime_ms).min(SHORT_TICK_MS * 5);
                }
                let count = self.running.processes.kill();
                self.end = End::Killed { cause, at_ms: now.boottime_ms, others, said: false };
                self.signalled(count, libc::SIGKILL);
                SHORT_TICK_MS
            }
            End::Killed { cause, at_ms, others, said } => {
                let had_its_time = now.boottime_ms >= at_ms + LAST_WORDS_MS;
                if let (Some(_), Some(relay)) = (self.ended, self.running.relay.as_mut().filter(|_| had_its_time)) {
                    // A client that does not read cannot hold the session open past its end.
                    relay.forget_client();
                }
                if now.boottime_ms >= at_ms + KILL_MS && !self.running.processes.is_empty() {
                    self.running.processes.kill();
                    if !said {
                        let names = self.running.processes.names(MAX_NAMES);
                        let names: Vec<String> = names.iter().map(jitsudo_bytes::Bytes::visible).collect();
                        self.recorder.event(Event::CleanupFailed {
                            id: self.spec.session.access.clone(),
                            cause: format!("still running after SIGKILL: {}", names.join(", ")),
                        });
                    }
                    self.end = End::Killed { cause, at_ms: now.boottime_ms, others, said: true };
                }
                SHORT_TICK_MS
            }
        }
    }

    /// Asks everything to end, now; the record comes after.
    fn begin_end(&mut self, cause: EndCause) {
        if self.end != End::Open {
            return;
        }
        // After -T a shell is told as sudo tells it: interactive ones do not mind SIGTERM.
        if cause == EndCause::ClientLost || (cause == EndCause::WindowOver && self.running.timed) {
            self.hang_up();
        }
        let count = self.running.processes.signal(libc::SIGTERM);
        self.running.processes.signal(libc::SIGCONT);
        let others = usize::try_from(count).unwrap_or(0).saturating_sub(usize::from(self.ended.is_none()));
        let kill_ms = clock::boottime_ms().saturating_add(self.spec.grace_ms);
        self.end = End::Asked { cause, kill_ms, others };
        self.signalled(count, libc::SIGTERM);
    }

    /// What a terminal does that is closed: SIGHUP and SIGCONT to its foreground group, and to the command's.
    fn hang_up(&self) {
        let foreground = self.running.relay.as_ref().and_then(|relay| terminal::foreground(relay.slave()).ok());
        // The command's own gets it below, at once and once: its number means it.
        let others = [getpgrp().as_raw(), self.running.pid];
        for group in foreground.into_iter().filter(|group| !others.contains(group) && *group > 1) {
            self.running.processes.signal_group(group, libc::SIGHUP);
            self.running.processes.signal_group(group, libc::SIGCONT);
        }
        self.signal_command(libc::SIGHUP);
        self.signal_command(libc::SIGCONT);
    }

    fn signalled(&mut self, count: u32, signal: i32) {
        if count > 0 {
            let signal = u8::try_from(signal).unwrap_or(0);
            self.recorder.event(Event::Signalled { session: self.spec.session.clone(), count, signal });
        }
    }

    /// To the command's process group, while its number still means it.
    fn signal_command(&self, signal: i32) {
        if self.ended.is_none() {
            let _ = status::kill_group(self.running.pid, signal);
        }
    }

    /// A signal that the client got. As under sudo the whole group gets it only on a terminal, as a key would reach it; else the command
    /// alone, which knows what to do about its children.
    fn pass_on(&self, signal: i32) {
        if self.running.relay.is_some() {
            return self.signal_command(signal);
        }
        if let (None, Ok(signal)) = (self.ended, Signal::try_from(signal)) {
            let _ = kill(Pid::from_raw(self.running.pid), signal);
        }
    }

    fn attend_to_signals(&mut self) {
        while let Ok(Some(signal)) = self.running.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            // The host goes down, or somebody ends this session by hand: its command goes first.
            if number == libc::SIGTERM || number == libc::SIGINT || number == libc::SIGQUIT {
                self.begin_end(EndCause::Lost);
            }
        }
    }

    fn attend_to_children(&mut self) {
        for (pid, raw) in std::iter::from_fn(status::next_change).take(CHANGES_A_TURN) {
            if pid != self.running.pid {
                continue;
            }
            match status::stopped_by(raw) {
                Some(signal) => self.command_stopped(signal),
                None => {
                    self.command_ended(raw);
                    return;
                }
            }
        }
    }

    fn command_stopped(&mut self, signal: i32) {
        if let Some(relay) = &self.running.relay {
            let group = terminal::foreground(relay.slave()).ok();
            self.stopped_foreground = group.filter(|group| *group != getpgrp().as_raw());
        }
        self.client.say(&FromSession::Stopped(signal));
    }

    fn command_ended(&mut self, raw: i32) {
        self.ended = Some(raw);
        self.ended_ms = clock::boottime_ms();
        if let Some(relay) = &mut self.running.relay {
            // Daemons that it started must not get SIGHUP when this session's leader ends.
            let _ = terminal::set_foreground(relay.slave(), getpgrp().as_raw());
            relay.drain();
            if self.end != End::Open && relay.screen().is_alternate() {
                relay.add(b"\x1b[?1049l\x1b[?25h");
            }
        }
        if let End::Asked { cause, others, .. } | End::Killed { cause, others, .. } = self.end {
            let called = match self.running.kind {
                ActKind::Shell | ActKind::LoginShell => Called::Shell,
                ActKind::Command | ActKind::Edit | ActKind::Validate | ActKind::Role | ActKind::Approve => {
                    Called::Command
                }
            };
            if let Some(line) = notice::over(cause, called, others) {
                self.client.say(&FromSession::Notice(line));
            }
        }
        self.held = None;
        if self.running.processes.is_empty() || self.end != End::Open {
            self.tell_status();
        }
    }

    /// The status to the client, then the record of it.
    fn tell_status(&mut self) {
        let Some(raw) = self.ended else { return };
        self.client.say(&FromSession::Ended(raw));
        let ending = match status::ending(raw) {
            status::Ended::Exited(code) => Ending::Exited(code),
            status::Ended::Signalled(signal) => Ending::Signalled(signal),
        };
        self.recorder.event(Event::SessionExit {
            session: self.spec.session.clone(),
            ending,
            ran_ms: self.ended_ms.saturating_sub(self.running.started_ms),
            pid: u32::try_from(self.running.pid).unwrap_or(0),
            audit_session: self.running.audit_session,
            failed: None,
            interpreter: self.running.interpreter.map(str::to_owned),
        });
        self.status_told = true;
    }

    /// After the command: what of it runs on, once its own children had a moment to end.
    fn attend_to_leftovers(&mut self) {
        if self.ended.is_none() {
            return;
        }
        if self.running.relay.as_ref().is_some_and(|relay| relay.is_drained()) {
            // Closes the pty: programs that run on get an end of file, as after sudo.
            self.running.relay = None;
        }
        if self.status_told {
            // Orphans of ours, where this process is their reaper.
            std::iter::from_fn(status::next_change).take(CHANGES_A_TURN).for_each(drop);
            return;
        }
        let empty = self.running.processes.is_empty();
        if !empty && clock::boottime_ms() < self.ended_ms + SETTLE_MS {
            return;
        }
        let pids = self.running.processes.list();
        if empty || pids.is_empty() {
            return self.tell_status();
        }
        let names = self.running.processes.names(MAX_NAMES);
        let released = self.spec.run_as.leaves;
        if !released && self.end == End::Open {
            self.client.say(&FromSession::Notice(notice::still_running(
                &names,
                pids.len(),
                self.schedule.processes_end_at(),
            )));
        }
        self.tell_status();
        let count = u32::try_from(pids.len()).unwrap_or(u32::MAX);
        self.recorder.event(Event::LeftRunning {
            session: self.spec.session.clone(),
            programs: names,
            count,
            released,
        });
        if released {
            self.released = true;
            if let Err(error) = mark::remove(self.spec) {
                record::say_unattached(&format!("cannot remove the mark of {}: {error}", self.spec.session));
            }
            self.recorder.tell(FromSessionToSpawner::Released);
        }
    }

    fn attend_to_client(&mut self) {
        // A client that floods gets its turn and no more.
        for _ in 0..MESSAGES_A_TURN {
            let told = match self.client.receive_bytes() {
                Ok(told) => told,
                Err(NoMessage::NotYet) => return,
                Err(NoMessage::Gone) => return self.lose_client(None),
                Err(NoMessage::Stranger(cause) | NoMessage::Malformed(cause)) => return self.lose_client(Some(cause)),
            };
            match told {
                ToSession::Resize(size) => {
                    if let Some(relay) = &self.running.relay {
                        let protocol_size = size;
                        relay.resize(Size {
                            rows: protocol_size.rows,
                            columns: protocol_size.columns,
                            width: protocol_size.width,
                            height: protocol_size.height,
                        });
                    }
                }
                ToSession::Continue { foreground } => self.go_on(foreground),
                ToSession::Signal(signal) if PASSED_ON.contains(&signal) => self.pass_on(signal),
                ToSession::Signal(signal) => {
                    return self.lose_client(Some(format!("signal {signal} is none that a client passes on")));
                }
                // Asked late, or answered late: the question is gone, and nothing hangs on it.
                ToSession::NoAnswer => {}
                ToSession::Act { .. } | ToSession::More(_) | ToSession::Returned(_) | ToSession::EditingDone { .. } => {
                    return self.lose_client(Some("the client's messages are out of order".to_owned()));
                }
            }
        }
    }

    /// The client runs again, or gives its terminal to a command that asked for it.
    fn go_on(&mut self, foreground: bool) {
        if self.ended.is_some() {
            return;
        }
        let group = self.stopped_foreground.take().unwrap_or(self.running.pid);
        if let Some(relay) = &self.running.relay {
            let wanted = if foreground { group } else { getpgrp().as_raw() };
            if terminal::set_foreground(relay.slave(), wanted).is_err() && foreground {
                // The group that had it is gone.
                let _ = terminal::set_foreground(relay.slave(), self.running.pid);
            }
        }
        if group != self.running.pid {
            self.running.processes.signal_group(group, libc::SIGCONT);
        }
        self.signal_command(libc::SIGCONT);
    }

    fn lose_client(&mut self, broken: Option<String>) {
        self.client_here = false;
        if let Some(relay) = &mut self.running.relay {
            relay.forget_client();
        }
        if self.ended.is_none() {
            self.begin_end(EndCause::ClientLost);
        }
        if let Some(cause) = broken {
            self.recorder.event(Event::SpawnerRefused { id: Some(self.spec.session.access.clone()), cause });
        }
    }

    /// A line on the requester's terminal, now or when the screen is theirs again; without a terminal, and after the command, nobody is told.
    fn warn(&mut self, what: Held, line: String) {
        let Some(relay) = self.running.relay.as_ref().filter(|_| self.ended.is_none()) else { return };
        if relay.screen().is_alternate() {
            self.held = Some(what);
            self.bell_due = true;
        } else {
            self.client.say(&FromSession::Notice(line));
        }
    }

    fn attend_to_screen(&mut self) {
        let Some(relay) = &mut self.running.relay else { return };
        if self.bell_due && relay.screen().is_at_rest() {
            relay.add(b"\x07");
            self.bell_due = false;
        }
        if relay.screen().is_alternate() {
            return;
        }
        // It says what is true now, not what was when it was due.
        let now = clock::now();
        let line = match self.held.take() {
            None => return,
            Some(Held::Left) => match self.schedule.seconds_left(now.wall_ns, now.boottime_ms) {
                0 => return,
                seconds => notice::left(seconds, self.schedule.ends_at()),
            },
            Some(Held::Finish) => notice::may_finish(self.schedule.processes_end_at()),
        };
        self.client.say(&FromSession::Notice(line));
    }

    /// Nothing is left, or what is left is the host's: PAM is closed, the record is finished.
    fn conclude(self) {
        let cause = match self.end {
            _ if self.released => EndCause::Released,
            End::Open => EndCause::Finished,
            End::Asked { cause, .. } | End::Killed { cause, .. } => cause,
        };
        self.client.flush_patiently();
        self.recorder.ended(cause);
        // PAM's helpers must not begin with our mask, and what waits for us (SIGHUP of the closed pty) must not end us now.
        for signal in
            [libc::SIGHUP, libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU]
        {
            signals::ignore(signal);
        }
        let _ = signals::unblock_all();
        drop(self.running.authority);
        self.recorder.closed();
        self.recorder.finish();
    }
}
