//! The checker: are the privileges on this host a subset of the durable, unexpired, logged grants?
//!
//! It reads the host's own files, groups and processes ([`host`]) and the ledger with what waits in the spool ([`log`]), and compares
//! ([`judge`]). It shares no code with the programs that make and take back: only the fold of the events is the same.
//!
//! MUSTs
//! 1. The host is read before the log: what is given stands in the log before it is there (`look`).
//! 2. A finding that a second look does not confirm was a change between two reads (`look`).
//! 3. What cannot be read is a finding, never a yes (`ledger_that_cannot_be_proved_is_no_yes`).

mod host;
mod judge;
mod log;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

pub(crate) use host::SUDOERS_LINE;
pub(crate) use judge::Verdict;
#[cfg(test)]
pub(crate) use judge::{Finding, Kind};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(300);
/// How often a finding must be there.
const LOOKS: usize = 3;

/// Looks until what is found is found each time.
pub(crate) fn look(ledger: &Path) -> Verdict {
    let mut verdict = once(ledger);
    for _ in 1..LOOKS {
        if verdict.findings.is_empty() {
            break;
        }
        std::thread::sleep(PAUSE);
        let mut again = once(ledger);
        again.findings.retain(|finding| verdict.findings.iter().any(|before| before.is_same_as(finding)));
        verdict = again;
    }
    verdict
}

fn once(ledger: &Path) -> Verdict {
    let seen = host::Seen::of_this_host();
    match log::Log::read(ledger, Path::new(log::SPOOL)) {
        Ok(log) => judge::judge(&seen, &log),
        Err(cause) => Verdict::unreadable(cause),
    }
}
