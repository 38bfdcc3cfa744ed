//! `jitsudo-effects`: an effect worker, root, started by the spawner for one change to the host.
//!
//! In this version it knows one effect: compiling the files of policy.d and making them the policy in force.
//!
//! MUSTs
//! 1. Only files that root alone can write, in a directory that root alone can write, are read (`files`).
//! 2. The applied policy is replaced whole: temporary file, fsync, rename, fsync of the directory (`apply::put`).
//! 3. Whatever is wrong with the new one, the one in force stays (`apply`).

mod apply;
mod files;
mod host;

use std::process::ExitCode;

use jitsudo_link::INHERITED_FD;
use jitsudo_link::spawner::{ApplyOutcome, Effect};
use jitsudo_sys::channel::Channel;

fn main() -> ExitCode {
    let Ok(channel) = Channel::from_inherited(INHERITED_FD) else {
        return ExitCode::from(2);
    };
    let Ok(Some(message)) = channel.receive() else {
        return ExitCode::FAILURE;
    };
    let outcome = match serde_json::from_slice(&message.bytes) {
        Ok(Effect::ApplyPolicy { dry_run, expect }) => apply::apply(dry_run, expect.as_deref()),
        Err(error) => ApplyOutcome::Failed(format!("cannot read the order: {error}")),
    };
    let sent = serde_json::to_vec(&outcome).is_ok_and(|text| channel.send(&text, &[]).is_ok());
    if sent { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
