//! `jitsudo-effects`: an effect worker, root, started by the spawner for one change to the host.
//!
//! It compiles the files of policy.d and makes them the policy in force, signs lines of the ledger with the host's key, and makes and
//! takes back what role grants change on the host: entries of the group file, drop-ins for sudo. It also compares the host before and after
//! a grant, for what that may have left.
//!
//! MUSTs
//! 1. Only files that root alone can write, in a directory that root alone can write, are read (`files`).
//! 2. The applied policy is replaced whole: temporary file, fsync, rename, fsync of the directory (`place::put`).
//! 3. Whatever is wrong with the new one, the one in force stays (`apply`).
//! 4. Only what stands in the ledger's files, and continues what was signed before, is signed (`sign`).
//! 5. What is lent is noted before and read back after; what is not ours is never taken away (`lend`).

mod accounts;
mod apply;
mod ending;
mod files;
mod gate;
mod group_lock;
mod host;
mod key;
mod lend;
mod members;
mod membership;
mod more;
mod place;
mod residue;
mod sign;
mod sudoers;
mod tell;
#[cfg(test)]
mod tests;
mod tool;

use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::ExitCode;

use jitsudo_link::notes::Notes;
use jitsudo_link::spawner::{ApplyOutcome, Effect};
use jitsudo_link::{INHERITED_FD, LEDGER, STATE};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use jitsudo_sys::nix::sys::prctl;
use jitsudo_sys::nix::sys::signal::Signal;

/// Has the kernel end this worker with whoever gave the order: the next one takes back what was begun, and nothing may be made after
/// that. False when that one is gone already.
fn ends_with_its_spawner(channel: &Channel) -> bool {
    if prctl::set_pdeathsig(Signal::SIGKILL).is_err() {
        return false;
    }
    let mut entry = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
    let hung_up = PollFlags::POLLHUP | PollFlags::POLLERR;
    poll(&mut entry, PollTimeout::ZERO).is_ok()
        && entry.first().and_then(PollFd::revents).is_some_and(|seen| !seen.intersects(hung_up))
}

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    if let [word, path] = words.as_slice()
        && word == members::WORD
    {
        return members::main(path);
    }
    let Ok(channel) = Channel::from_inherited(INHERITED_FD) else {
        return ExitCode::from(2);
    };
    let Ok(Some(message)) = channel.receive() else {
        return ExitCode::FAILURE;
    };
    let order = serde_json::from_slice(&message.bytes);
    if matches!(order, Ok(Effect::ApplyEffect { .. } | Effect::UndoEffect { .. } | Effect::UndoGrants { .. }))
        && !ends_with_its_spawner(&channel)
    {
        return ExitCode::FAILURE;
    }
    let outcome = match order {
        Ok(Effect::ApplyPolicy { dry_run, expect }) => serde_json::to_vec(&apply::apply(dry_run, expect.as_deref())),
        Ok(Effect::Sign { host, wanted, acknowledged }) => {
            serde_json::to_vec(&sign::sign(Path::new(STATE), Path::new(LEDGER), &host, &wanted, acknowledged))
        }
        Ok(Effect::ApplyEffect { note, effect }) => serde_json::to_vec(&lend::apply(&Notes::default(), *note, &effect)),
        Ok(Effect::UndoEffect { note, effect }) => serde_json::to_vec(&lend::undo(&Notes::default(), *note, &effect)),
        Ok(Effect::Picture { ids, since, since_boottime_ms }) => {
            serde_json::to_vec(&residue::before(&ids, (since, since_boottime_ms)))
        }
        Ok(Effect::LookBack { host, over, forget }) => serde_json::to_vec(&residue::after(&host, &over, &forget)),
        Ok(Effect::Tell { to, text }) => serde_json::to_vec(&tell::tell(&to, &text)),
        Ok(Effect::UndoGrants { ids, patience_ms }) => {
            let mut all_told = true;
            lend::undo_grants(&Notes::default(), &ids, patience_ms, |undone| {
                // What cannot be told is taken back all the same.
                all_told &= serde_json::to_vec(&undone).is_ok_and(|text| channel.send(&text, &[]).is_ok());
            });
            return if all_told { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        // All outcomes have this word.
        Err(error) => serde_json::to_vec(&ApplyOutcome::Failed(format!("cannot read the order: {error}"))),
    };
    let sent = outcome.is_ok_and(|text| channel.send(&text, &[]).is_ok());
    if sent { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
