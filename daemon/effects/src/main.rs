//! `jitsudo-effects`: an effect worker, root, started by the spawner for one change to the host.
//!
//! In this version it knows two effects: compiling the files of policy.d and making them the policy in force, and signing a line of
//! the ledger with the host's key.
//!
//! MUSTs
//! 1. Only files that root alone can write, in a directory that root alone can write, are read (`files`).
//! 2. The applied policy is replaced whole: temporary file, fsync, rename, fsync of the directory (`place::put`).
//! 3. Whatever is wrong with the new one, the one in force stays (`apply`).
//! 4. Only what stands in the ledger's files, and continues what was signed before, is signed (`sign`).

mod apply;
mod files;
mod host;
mod key;
mod place;
mod sign;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::process::ExitCode;

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
        // Both outcomes have this word.
        Err(error) => serde_json::to_vec(&ApplyOutcome::Failed(format!("cannot read the order: {error}"))),
    };
    let sent = outcome.is_ok_and(|text| channel.send(&text, &[]).is_ok());
    if sent { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
