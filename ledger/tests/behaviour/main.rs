//! What the ledger holds to: on real files, and on a model of a disk that fails.
//! `JITSUDO_SWEEP=all` widens the sweeps; `JITSUDO_SEED` repeats one.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests: what fails must stop them"
)]

mod commit;
mod faults;
mod faulty;
mod fixture;
mod open;
mod read;
mod spool;
mod tamper;
mod writer;
