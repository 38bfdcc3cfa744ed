//! `jitsudod`, the decider: accepts clients, decides, keeps the ledger, tells. It has an account of its own and no capability; it takes
//! no descriptor from a client, calls no NSS and starts no program.
//!
//! One thread waits for everybody (`daemon`); the ledger's disk, the copies to journald and syslog, and questions that take long have
//! a thread each, and wake the loop through one eventfd.
//!
//! The way of a run: `connections` (who is there) → `client` (what is said) → `run` (facts, decision, record, start) → `follow` (what the
//! spawner, the disk and the clock say later).

mod accesses;
mod answers;
mod approvals;
mod away;
mod client;
mod connections;
mod daemon;
mod extend;
mod follow;
mod foreground;
mod front;
mod heads;
mod held;
mod ledger;
mod limits;
mod lines;
mod listing;
mod locks;
mod orders;
mod outputs;
mod places;
mod policy;
mod questions;
mod record;
mod residue;
mod reviews;
mod run;
mod spawner;
mod spool;
mod start;
mod states;
#[cfg(test)]
mod tests;
mod unknown;
mod words;
mod work;
mod worker;

use std::io::Write as _;
use std::process::ExitCode;

const USAGE: &str = "usage: jitsudod [--foreground | --version]
Started by systemd with its socket; with --foreground, as root, it starts jitsudo-spawn as well.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        [] => start::activated(),
        ["--foreground"] => foreground::keep(),
        ["--unprivileged"] => start::unprivileged(),
        ["--version"] => {
            let _ = writeln!(std::io::stdout(), "jitsudod {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        ["--help"] => {
            let _ = writeln!(std::io::stdout(), "{USAGE}");
            Ok(())
        }
        _ => {
            let _ = writeln!(std::io::stderr(), "{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody may be there to read it.
            let _ = writeln!(std::io::stderr(), "jitsudod: {failure}");
            ExitCode::FAILURE
        }
    }
}
