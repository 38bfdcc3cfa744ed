//! `jitsudo-spawn`: the only root code that acts on requests. Single-threaded, no async, small.
//!
//! It starts fact helpers, sessions and effect workers, and trusts the decider with nothing that it can check itself.
//!
//! MUSTs
//! 1. A session is started only for what this program's own evaluation of its own facts under the applied policy allows, as the peer
//!    that the kernel names on that connection, until an end no later than that evaluation gives (`judge`, its tests).
//! 2. Only `_jitsudo` (or root) may give orders here (`decider::accept`).
//! 3. Only uid 0's connection applies a policy (`effect`).
//! 4. One helper that hangs delays nobody else: two seconds a question, a minute an effect (`helpers`, `effect`).
//! 5. Who has to prove their identity is decided here, by proofs that sessions reported on their own sockets (`remembered`, `sessions`).
//! 6. What does not agree is written to the spool and told to the journal here, not through the decider (`record`).

mod accounts;
mod approvals;
mod behind;
mod cgroups;
mod changes;
mod comparison;
mod decider;
mod descriptors;
mod effect;
mod escapes;
mod grants;
mod helpers;
mod judge;
mod locks;
mod logins;
mod looked;
mod policy;
mod record;
mod remembered;
mod reviews;
mod sessions;
mod signing;
mod spawner;
mod telling;
mod used;

use std::process::ExitCode;

fn main() -> ExitCode {
    match spawner::Spawner::prepare().and_then(|mut spawner| spawner.serve()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            // Nobody may be there to read it.
            let _ = writeln!(std::io::stderr(), "jitsudo-spawn: {error}");
            ExitCode::FAILURE
        }
    }
}
