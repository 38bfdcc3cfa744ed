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
mod files;
mod gate;
mod host;
mod key;
mod lend;
mod membership;
mod place;
mod residue;
mod sign;
mod sudoers;
#[cfg(test)]
mod tests;
mod tool;

use std::path::Path;
use std::process::ExitCode;

use jitsudo_link::notes::Notes;
use jitsudo_link::spawner::{ApplyOutcome, Effect};
use jitsudo_link::{INHERITED_FD, LEDGER, STATE};
use jitsudo_sys::channel::Channel;

fn main() -> ExitCode {
    let Ok(channel) = Channel::from_inherited(INHERITED_FD) else {
        return ExitCode::from(2);
    };
    let Ok(Some(message)) = channel.receive() else {
        return ExitCode::FAILURE;
    };
    let outcome = match serde_json::from_slice(&message.bytes) {
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
        // All outcomes have this word.
        Err(error) => serde_json::to_vec(&ApplyOutcome::Failed(format!("cannot read the order: {error}"))),
    };
    let sent = outcome.is_ok_and(|text| channel.send(&text, &[]).is_ok());
    if sent { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
