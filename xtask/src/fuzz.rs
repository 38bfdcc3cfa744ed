//! `cargo xtask fuzz`: looks for bytes that break a parser's promise, guided by coverage (libFuzzer).
//!
//! No nightly compiler is needed: the coverage of the stable one is asked for by its LLVM options, and no sanitizer is, since what is
//! looked for are panics. What is found and what is learnt stays under `target/fuzz`, never in the repository.

use std::fs;

use crate::step::{Failure, cannot, cargo, run, target, workspace};

/// How long one target is fuzzed when nothing else is said, seconds.
const SECONDS: u32 = 60;
/// Longest input, bytes: some datagrams.
const MAX_BYTES: u32 = 200_000;

const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions=yes -Coverflow-checks=yes";

/// Fuzzes the target of that name, or all, one after the other.
pub(crate) fn fuzz(words: &[&str]) -> Result<(), Failure> {
    let (name, seconds) = match words {
        [] => (None, SECONDS),
        [name] => (Some(*name), SECONDS),
        [name, "--seconds", seconds] => (Some(*name), seconds.parse().map_err(cannot("read --seconds"))?),
        ["--seconds", seconds] => (None, seconds.parse().map_err(cannot("read --seconds"))?),
        _ => return Err(Failure::new("usage: cargo xtask fuzz [TARGET] [--seconds N]")),
    };
    let seeds = workspace().join("fuzz/seeds");
    let mut targets: Vec<String> = fs::read_dir(&seeds)
        .map_err(cannot("list fuzz/seeds"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|target| name.is_none_or(|name| name == target))
        .collect();
    targets.sort();
    if targets.is_empty() {
        return Err(Failure::new(format!("{} is no target: see fuzz/seeds", name.unwrap_or_default())));
    }
    let folder = target().join("fuzz");
    let triple = "x86_64-unknown-linux-gnu";
    let triple = if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { triple };
    // With a target named, build scripts and macros are built without the coverage.
    let build =
        ["build", "--locked", "--release", "--package", "jitsudo-fuzz", "--features", "guided", "--target", triple];
    run(cargo(&build)
        .env("RUSTFLAGS", COVERAGE)
        .env("CARGO_TARGET_DIR", &folder)
        .env("CARGO_PROFILE_RELEASE_LTO", "off"))?;
    for target in targets {
        let learnt = folder.join("corpus").join(&target);
        fs::create_dir_all(&learnt).map_err(cannot("make a folder for what is learnt"))?;
        let found = folder.join(format!("found-{target}-"));
        let mut fuzzer = std::process::Command::new(folder.join(triple).join("release/fuzz"));
        fuzzer
            .env("JITSUDO_FUZZ", &target)
            .args([format!("-max_total_time={seconds}"), format!("-max_len={MAX_BYTES}"), "-timeout=10".to_owned()])
            .args(["-rss_limit_mb=2048".to_owned(), format!("-artifact_prefix={}", found.display())])
            .args(["-print_final_stats=1", "-verbosity=0"])
            .args([learnt, seeds.join(&target)]);
        run(&mut fuzzer)?;
    }
    Ok(())
}
