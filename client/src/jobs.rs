//! Job control, decided: what happened → what is to be done. Nothing here touches a terminal or a process.
//!
//! The rules are sudo's (exec_pty.c), with the session in its monitor's place: the command has a terminal of its own; this client
//! lends it the user's whenever it is itself in the foreground there, and stops when the command stops.

use jitsudo_sys::nix::libc;

/// What is to be done, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// Keep the terminal's modes and make it raw: keys go to the command.
    Raw,
    /// Give the terminal's modes back, if they were changed.
    Restore,
    /// Tell the session the terminal's size.
    Size,
    /// Tell the session that the command goes on, in the foreground of its terminal or not.
    Continue {
        /// It gets the foreground.
        foreground: bool,
    },
    /// Stop this process group by the signal; then ask [`Jobs::resumed`].
    Stop(i32),
    /// Have the session send a signal to the command.
    Signal(i32),
}

/// The state of the job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Jobs {
    terminal: bool,
    /// The command began in the background of its terminal and has not asked for it yet.
    background: bool,
    raw: bool,
    stopped_by: Option<i32>,
}

impl Jobs {
    /// Before the command: is there a terminal, and does the command begin in its background (input or output is a pipe)?
    pub(crate) fn new(terminal: bool, background: bool) -> Self {
        Self { terminal, background, raw: false, stopped_by: None }
    }

    /// Keys go to the command.
    pub(crate) fn is_raw(&self) -> bool {
        self.raw
    }

    /// The command runs.
    pub(crate) fn started(&mut self, foreground: bool) -> Vec<Action> {
        if self.terminal && foreground && !self.background { self.lend(vec![]) } else { vec![] }
    }

    /// The command was stopped.
    pub(crate) fn stopped(&mut self, signal: i32, foreground: bool) -> Vec<Action> {
        let asks_for_terminal = matches!(signal, libc::SIGTTIN | libc::SIGTTOU);
        if self.terminal && asks_for_terminal && foreground {
            // Also when it has it already: a second TTOU must be answered (sudo-rs#1598).
            return self.lend(vec![Action::Size, Action::Continue { foreground: true }]);
        }
        self.stopped_by = Some(signal);
        vec![Action::Restore, Action::Stop(signal)]
    }

    /// This process runs again after [`Action::Stop`]; `really` is false when the kernel did not stop it (its group is orphaned).
    pub(crate) fn resumed(&mut self, foreground: bool, really: bool) -> Vec<Action> {
        let signal = self.stopped_by.take();
        let asked_for_terminal = matches!(signal, Some(libc::SIGTTIN | libc::SIGTTOU));
        if !really && asked_for_terminal {
            // Nobody can ever give it the terminal: as if that were hung up (the kernel would say EIO).
            return vec![Action::Signal(libc::SIGHUP), Action::Continue { foreground: false }];
        }
        let was_raw = std::mem::take(&mut self.raw);
        if self.terminal && foreground && (was_raw || asked_for_terminal) {
            return self.lend(vec![Action::Size, Action::Continue { foreground: true }]);
        }
        // What was raw before and is in the background now gets the terminal back with the next `fg`.
        self.background = self.background || (self.terminal && !was_raw && foreground);
        vec![Action::Size, Action::Continue { foreground: false }]
    }

    /// SIGCONT came without a stop of ours: `fg` or `bg` by the shell, or after a SIGSTOP from outside.
    pub(crate) fn continued(&mut self, foreground: bool) -> Vec<Action> {
        self.raw = false;
        if self.terminal && foreground && !self.background {
            return self.lend(vec![Action::Size, Action::Continue { foreground: true }]);
        }
        vec![Action::Size, Action::Continue { foreground: false }]
    }

    /// The command is over, or we are.
    pub(crate) fn ended(&mut self) -> Vec<Action> {
        self.raw = false;
        vec![Action::Restore]
    }

    /// The terminal could not be made raw, or is gone.
    pub(crate) fn lost_terminal(&mut self) {
        self.terminal = false;
        self.raw = false;
    }

    fn lend(&mut self, then: Vec<Action>) -> Vec<Action> {
        self.raw = true;
        self.background = false;
        let mut actions = vec![Action::Raw];
        actions.extend(then);
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Action::{Continue, Raw, Restore, Signal, Size, Stop};

    const TSTP: i32 = libc::SIGTSTP;
    const TTIN: i32 = libc::SIGTTIN;
    const TTOU: i32 = libc::SIGTTOU;
    const GO: Continue_ = Continue_;
    struct Continue_;
    impl Continue_ {
        fn on(&self, foreground: bool) -> Action {
            Continue { foreground }
        }
    }

    #[test]
    fn command_in_the_foreground_has_the_terminal_from_the_start() {
        let mut jobs = Jobs::new(true, false);
        assert_eq!(jobs.started(true), [Raw]);
        assert!(jobs.is_raw());
        assert_eq!(jobs.ended(), [Restore]);
    }

    #[test]
    fn command_without_terminal_in_background_or_in_a_pipeline_leaves_it_alone() {
        assert_eq!(Jobs::new(false, false).started(true), []);
        assert_eq!(Jobs::new(true, false).started(false), []);
        assert_eq!(Jobs::new(true, true).started(true), []);
    }

    #[test]
    fn pipeline_gets_the_terminal_when_it_asks() {
        let mut jobs = Jobs::new(true, true);
        jobs.started(true);
        assert_eq!(jobs.stopped(TTIN, true), [Raw, Size, GO.on(true)]);
        assert_eq!(jobs.stopped(TTOU, true), [Raw, Size, GO.on(true)]);
    }

    #[test]
    fn suspended_job_gives_the_terminal_back_and_fg_takes_it_again() {
        let mut jobs = Jobs::new(true, false);
        jobs.started(true);
        assert_eq!(jobs.stopped(TSTP, true), [Restore, Stop(TSTP)]);
        assert_eq!(jobs.resumed(true, true), [Raw, Size, GO.on(true)]);
    }

    #[test]
    fn bg_runs_on_without_the_terminal_and_a_later_fg_gives_it() {
        let mut jobs = Jobs::new(true, false);
        jobs.started(true);
        jobs.stopped(TSTP, true);
        assert_eq!(jobs.resumed(false, true), [Size, GO.on(false)]);
        assert!(!jobs.is_raw());
        assert_eq!(jobs.continued(true), [Raw, Size, GO.on(true)]);
    }

    #[test]
    fn background_job_that_wants_input_stops_like_any_other() {
        let mut jobs = Jobs::new(true, false);
        jobs.started(false);
        assert_eq!(jobs.stopped(TTIN, false), [Restore, Stop(TTIN)]);
        assert_eq!(jobs.resumed(true, true), [Raw, Size, GO.on(true)]);
    }

    #[test]
    fn ampersand_then_fg_gives_the_terminal() {
        let mut jobs = Jobs::new(true, false);
        assert_eq!(jobs.started(false), []);
        assert_eq!(jobs.continued(true), [Raw, Size, GO.on(true)]);
    }

    #[test]
    fn suspended_pipeline_that_never_asked_stays_without_the_terminal() {
        let mut jobs = Jobs::new(true, true);
        jobs.started(true);
        assert_eq!(jobs.stopped(TSTP, true), [Restore, Stop(TSTP)]);
        assert_eq!(jobs.resumed(true, true), [Size, GO.on(false)]);
        assert_eq!(jobs.continued(true), [Size, GO.on(false)]);
        assert_eq!(jobs.stopped(TTIN, true), [Raw, Size, GO.on(true)]);
    }

    #[test]
    fn orphaned_group_does_not_spin() {
        let mut jobs = Jobs::new(true, false);
        jobs.started(false);
        jobs.stopped(TTIN, false);
        assert_eq!(jobs.resumed(false, false), [Signal(libc::SIGHUP), GO.on(false)]);
        // A stop that the kernel discards is no stop: the command goes on as it was.
        let mut jobs = Jobs::new(true, false);
        jobs.started(true);
        jobs.stopped(TSTP, true);
        assert_eq!(jobs.resumed(true, false), [Raw, Size, GO.on(true)]);
    }

    #[test]
    fn without_a_terminal_stops_and_goes_on() {
        let mut jobs = Jobs::new(false, false);
        assert_eq!(jobs.stopped(TSTP, false), [Restore, Stop(TSTP)]);
        assert_eq!(jobs.resumed(false, true), [Size, GO.on(false)]);
        assert_eq!(jobs.continued(false), [Size, GO.on(false)]);
    }
}
