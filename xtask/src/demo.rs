//! `cargo xtask demo`: the story of the README; `cargo xtask audit-host`: the checker of privileges; each on a throwaway host.

use crate::package::{self, Profile};
use crate::setup;
use crate::step::{Failure, cargo, run as step};

/// Lets the checker look at a throwaway host, step by step.
pub(crate) fn audit() -> Result<(), Failure> {
    setup::need_root("to boot a throwaway host")?;
    setup::run()?;
    let package = package::run(Profile::Dev)?;
    println!("on a host of your own: jitctl doctor --privileges (as root)");
    let words = ["run", "--quiet", "--locked", "--package", "jitsudo-tests", "--bin", "audit"];
    step(cargo(&words).env("JITSUDO_TEST_PACKAGE", package))
}

/// Sets up, builds, packages and lets the `demo` program of the test harness play the story.
pub(crate) fn run() -> Result<(), Failure> {
    setup::need_root("to boot a throwaway host")?;
    println!("1/3  what this machine needs (only what is missing is installed)");
    setup::run()?;
    println!("2/3  building the programs and the package (the first time takes some minutes)");
    let package = package::run(Profile::Release)?;
    println!("3/3  a throwaway Debian host (its root is built once, about a minute)");
    let words = ["run", "--quiet", "--locked", "--package", "jitsudo-tests", "--bin", "demo"];
    step(cargo(&words).env("JITSUDO_TEST_PACKAGE", package))
}
