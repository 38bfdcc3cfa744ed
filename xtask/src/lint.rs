//! Everything that can be said about a change without running it.

use crate::budget::Stages;
use crate::step::{Failure, cargo, has, run as step};
use crate::{abuse, docs, manifests, manuals, setup, supply};

/// Formatting, clippy, licences and sources, manifests, documents, manuals; stops at the first that fails.
pub(crate) fn run() -> Result<(), Failure> {
    let mut stages = Stages::read()?;
    stages.time("setup", setup::run)?;
    stages.time("lint", || {
        step(&mut cargo(&["fmt", "--all", "--check"]))?;
        step(&mut cargo(&[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "--deny",
            "warnings",
        ]))?;
        if has("cargo-deny") {
            step(&mut cargo(&["deny", "--log-level", "error", "check", "licenses", "sources", "bans"]))?;
        }
        supply::check()?;
        manifests::check()?;
        abuse::check()?;
        docs::check()?;
        manuals::check()
    })?;
    println!("lint: all well\n{}", stages.table());
    Ok(())
}
