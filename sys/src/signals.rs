//! Signals: dispositions, masks, and dying of one (signal(7)).

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The largest signal number of Linux.
pub const MAX_SIGNAL: i32 = 64;

/// True when this process ignores the signal.
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action asks only for the old one, for which there is room.
    let outcome = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeroed memory is a valid sigaction, whether or not the call filled it.
    let action = unsafe { action.assume_init() };
    outcome == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Gives every signal its default disposition, those too that libc keeps to itself (32 and 33 can arrive ignored by inheritance).
/// Async-signal-safe.
pub fn reset_all() {
    // The kernel's own structure is all zero for the default, whatever its layout; eight words are more than it has anywhere.
    let default = [0u64; 8];
    for signal in 1..=MAX_SIGNAL {
        // SAFETY: reads one kernel sigaction, for which there is more than room; nobody asks for the old one. 8 = bytes of a mask.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u64>(), 8) };
    }
}

/// Gives one signal its default disposition; KILL and STOP have no other. Async-signal-safe.
pub fn reset(signal: i32) {
    set_disposition(signal, libc::SIG_DFL);
}

/// Ignores one signal. Async-signal-safe.
pub fn ignore(signal: i32) {
    set_disposition(signal, libc::SIG_IGN);
}

fn set_disposition(signal: i32, disposition: libc::sighandler_t) {
    // SAFETY: zeroed memory is a valid sigaction (no flags, empty mask).
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = disposition;
    // SAFETY: the action is valid; nobody asks for the old one.
    unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
}

/// Blocks these signals and makes a descriptor that reads them; every other signal is unblocked.
///
/// # Errors
/// sigprocmask(2)'s, signalfd(2)'s.
pub fn take(signals: &[Signal]) -> io::Result<SignalFd> {
    let set: SigSet = signals.iter().copied().collect();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&set), None)?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Unblocks everything.
///
/// # Errors
/// sigprocmask(2)'s.
pub fn unblock_all() -> io::Result<()> {
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

/// Has a program that is to be started begin with no signal blocked, while this process keeps its own mask all the time: a signal that
/// arrives meanwhile is read where the others are, and kills nobody.
pub fn unblock_in_child(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec the closure makes one system call, sigprocmask(2), on its own stack: it is async-signal-safe and allocates
    // nothing (its error is a number).
    unsafe { command.pre_exec(unblock_all) }
}

/// Stops this process and its group by `signal`, which the caller may have blocked; returns when it runs again, or at once where the
/// kernel discards terminal stops (the group is orphaned).
///
/// # Errors
/// kill(2)'s.
pub fn stop_group(signal: Signal) -> io::Result<()> {
    reset(signal as i32);
    let mut set = SigSet::empty();
    set.add(signal);
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, None, Some(&mut before))?;
    nix::sys::signal::killpg(nix::unistd::getpgrp(), signal)?;
    sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&set), None)?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    Ok(())
}

/// Ends this process by the signal that ended the command, without a core file; where that does not end it, by exit(128 + n).
pub fn die_by(signal: i32) -> ! {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads one rlimit, which is there.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    reset(signal);
    // Without a core limit's help: a core_pattern that pipes ignores the limit, a process that is not dumpable makes none.
    let _ = nix::sys::prctl::set_dumpable(false);
    // SAFETY: takes nothing and cannot fail.
    let own = unsafe { libc::getpid() };
    // SAFETY: kill(2) takes two integers.
    unsafe { libc::kill(own, signal) };
    let _ = unblock_all();
    std::process::exit(128 + signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_begins_unblocked_and_the_own_mask_stays() {
        let mask = || {
            let mut mask = SigSet::empty();
            sigprocmask(SigmaskHow::SIG_BLOCK, None, Some(&mut mask)).unwrap();
            mask
        };
        // One that is pending all the time would kill this process, were it ever unblocked here.
        let taken = take(&[Signal::SIGUSR1]).unwrap();
        nix::sys::signal::raise(Signal::SIGUSR1).unwrap();
        let mut shows = Command::new("grep");
        shows.args(["-h", "SigBlk", "/proc/self/status"]);
        let inherited = String::from_utf8(shows.output().unwrap().stdout).unwrap();
        assert!(inherited.ends_with("0200\n"), "{inherited}");
        let unblocked = String::from_utf8(unblock_in_child(&mut shows).output().unwrap().stdout).unwrap();
        assert!(unblocked.ends_with("0000000000000000\n"), "{unblocked}");
        assert!(mask().contains(Signal::SIGUSR1));
        assert_eq!(taken.read_signal().unwrap().map(|signal| signal.ssi_signo), Some(Signal::SIGUSR1 as u32));
    }

    #[test]
    fn ignored_and_reset_dispositions_are_seen() {
        assert!(!is_ignored(libc::SIGUSR2));
        ignore(libc::SIGUSR2);
        assert!(is_ignored(libc::SIGUSR2));
        reset(libc::SIGUSR2);
        assert!(!is_ignored(libc::SIGUSR2));
    }
}
