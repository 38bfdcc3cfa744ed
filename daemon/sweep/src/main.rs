//! `jitsudo-sweep`: ends on the host what is over, and needs no daemon, no D-Bus and no directory for it.
//!
//! A timer starts it every 50 s, a unit at boot before anybody can log in, and the package when it is removed (`--all`: what is not
//! over too). It reads the notes of role grants, has each effect of a grant that is over taken back by an effect worker, and
//! records that through the spool.
//!
//! MUSTs
//! 1. A grant is over by any of three clocks, or its note is of another boot (`over`).
//! 2. What cannot be taken back keeps its note, is said, and is tried again by the next sweep (`sweep`).
//! 3. Taking back waits for no record; a note goes only after the record of its end is durable (`sweep`).
//! 4. Recording twice changes nothing: a spooled event has the same name each time (`record`).

mod logins;
mod marks;
mod over;
mod record;
mod sweep;
mod undo;

use std::process::ExitCode;

use jitsudo_link::notes::Notes;

use over::Which;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let which = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Which::Over,
        ["--all"] => Which::All,
        _ => {
            use std::io::Write as _;
            // Nobody may be there to read it.
            let _ = writeln!(std::io::stderr(), "usage: jitsudo-sweep [--all]");
            return ExitCode::from(2);
        }
    };
    if sweep::sweep(&Notes::default(), which) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
