//! `cargo xtask setup | lint | package | test | demo | audit-host | fuzz | abuse-cases`: the commands of this repository, each with its own set-up.
#![forbid(unsafe_code)]

mod abuse;
mod budget;
mod demo;
mod docs;
mod fuzz;
mod installed;
mod lint;
mod manifests;
mod manuals;
mod package;
mod setup;
mod step;
mod suite;
mod supply;

use std::process::ExitCode;

use step::Failure;

const USAGE: &str = "usage: cargo xtask COMMAND
  setup                       install what tests and packages need (Debian 12 or 13, root)
  lint                        fmt, clippy, licences and sources, manifests, documents, manuals
  package [--profile dev]     write target/package/jitsudo_VERSION_ARCH.deb
  package --failpoints        one for tests alone, whose programs die where they are told to
  test [--all] [--check-times] [FILTER]
                              run everything; --all with long sweeps, --check-times fails over budget
  demo                        boot a throwaway host and play the story with real nginx
  audit-host                  boot a throwaway host and compare its privileges with the record, step by step
  fuzz [TARGET] [--seconds N] look for bytes that break a parser, guided by coverage
  abuse-cases                 write the tests into tests/abuse-cases.md, by their names";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["setup"] => setup::run(),
        ["lint"] => lint::run(),
        ["package"] => package::run(package::Profile::Release).map(drop),
        ["package", "--failpoints"] => package::run(package::Profile::Failpoints).map(drop),
        ["package", "--profile", "dev"] => package::run(package::Profile::Dev).map(drop),
        ["test", options @ ..] => suite::Options::read(options).and_then(|options| suite::run(&options)),
        ["demo"] => demo::run(),
        ["audit-host"] => demo::audit(),
        ["fuzz", options @ ..] => fuzz::fuzz(options),
        ["abuse-cases"] => abuse::write(),
        _ => Err(Failure::new(USAGE)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}
