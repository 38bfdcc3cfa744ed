//! `cargo xtask test`: one command, its own set-up, everything.

use std::path::Path;
use std::process::Command;

use crate::budget::Stages;
use crate::package::{self, Profile};
use crate::setup;
use crate::step::{Failure, cargo, run as step, target, workspace};

/// The suites that hosts are booted from.
const SUITES: &[&str] = &["bookworm", "trixie"];
/// The root with the programs that people use under sudo.
const TOOLS: &[&str] = &["bookworm-tools"];

/// What to run, and how strictly.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    all: bool,
    check_times: bool,
    filter: Option<String>,
}

impl Options {
    /// Reads the words after `cargo xtask test`.
    pub(crate) fn read(words: &[&str]) -> Result<Self, Failure> {
        let mut options = Self::default();
        for word in words {
            match *word {
                "--all" => options.all = true,
                "--check-times" => options.check_times = true,
                other if other.starts_with('-') => return Err(Failure::new(format!("test: unknown option {other}"))),
                other => options.filter = Some(other.to_owned()),
            }
        }
        Ok(options)
    }
}

/// Sets up, builds, runs the unit tests, then the host tests; prints where the time went, also when tests failed.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    setup::need_root("to boot test hosts")?;
    let mut stages = Stages::read()?;
    let done = run_stages(options, &mut stages);
    println!("\n{}", stages.table());
    done?;
    stages.finished();
    if options.check_times { stages.check() } else { Ok(()) }
}

fn run_stages(options: &Options, stages: &mut Stages) -> Result<(), Failure> {
    stages.time("setup", setup::run)?;
    let seed = if options.all { Some(seed()) } else { None };
    if let Some(seed) = &seed {
        println!("long sweeps with seed {seed} (JITSUDO_SEED={seed} repeats them)");
    }
    stages
        .time("build", || step(&mut cargo(&["test", "--locked", "--no-run", "--workspace", "--features", FEATURES])))?;
    stages.time("roots", || build_roots(SUITES))?;
    stages.time("tools root", || build_roots(TOOLS))?;
    let filter = options.filter.as_deref();
    // A failure in one kind of test must not hide the other kind.
    let unit = stages
        .time("unit tests", || step(nextest("not package(jitsudo-tests)", filter, seed.as_deref()).args(threads(2))));
    let (package, failpoints) =
        stages.time("package", || Ok((package::run(Profile::Release)?, package::run(Profile::Failpoints)?)))?;
    let hosts = stages.time("host tests", || {
        let mut command = nextest("package(jitsudo-tests)", filter, seed.as_deref());
        command.env("JITSUDO_TEST_FAILPOINTS", &failpoints);
        step(command.args(threads(4)).env("JITSUDO_TEST_PACKAGE", &package))
    });
    let measured = if options.all { measure(filter, &package) } else { Ok(()) };
    step(&mut bed(&["clear"]))?;
    unit.and(hosts).and(measured)
}

/// Runs the measurements on hosts, one at a time, and shows what they print. They judge no time.
fn measure(filter: Option<&str>, package: &Path) -> Result<(), Failure> {
    let mut command = nextest("package(jitsudo-tests) & test(/^measure_/)", filter, None);
    command.args(["--run-ignored", "only", "--success-output", "immediate", "--test-threads", "1"]);
    step(command.env("JITSUDO_TEST_PACKAGE", package))
}

/// Builds the roots of the test hosts where the cache does not hold them.
fn build_roots(roots: &[&str]) -> Result<(), Failure> {
    step(bed(&["roots"]).args(roots))
}

/// The test bed's program, which the build stage has left there.
fn bed(words: &[&str]) -> Command {
    let mut command = Command::new(target().join("debug/bed"));
    command.current_dir(workspace()).args(words);
    command
}

const FEATURES: &str = "jitsudo-core/language";

/// The tests of a filter expression. Always the whole workspace with the same features, so that the builds of the
/// stage before serve here too.
fn nextest(which: &str, filter: Option<&str>, seed: Option<&str>) -> Command {
    // A filter may name tests of one kind only.
    let none = if filter.is_some() { "pass" } else { "fail" };
    let mut command = cargo(&["nextest", "run", "--locked", "--no-fail-fast", "--status-level", "fail"]);
    command.args(["--no-tests", none]);
    command.args(["--workspace", "--features", FEATURES, "--filterset", which]).args(filter);
    if let Some(seed) = seed {
        command
            .args(["--profile", "sweep"])
            .env("JITSUDO_SWEEP", "all")
            .env("JITSUDO_SEED", seed)
            .env("PROPTEST_RNG_SEED", seed);
    }
    command
}

/// Hosts wait more than they work: more of them than processors.
fn threads(per_two_processors: usize) -> [String; 2] {
    let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    ["--test-threads".to_owned(), (processors * per_two_processors / 2).max(1).to_string()]
}

/// `$JITSUDO_SEED`, else a new one.
fn seed() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    std::env::var("JITSUDO_SEED").unwrap_or_else(|_| RandomState::new().hash_one("seed").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let all = Options::read(&["--all", "ledger"]).unwrap();
        assert_eq!(all, Options { all: true, check_times: false, filter: Some("ledger".into()) });
        assert!(Options::read(&["--fast"]).is_err());
    }
}
