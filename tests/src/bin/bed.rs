//! `bed roots SUITE…` builds the roots of the test hosts (`SUITE-tools`: with the programs that people use under sudo);
//! `bed clear` removes what killed tests left.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use jitsudo_tests::{Error, Root, Stopwatch};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["roots", suites @ ..] if !suites.is_empty() => roots(suites),
        ["clear"] => clear(),
        _ => {
            eprintln!("usage: bed roots SUITE… | bed clear");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Builds them side by side.
fn roots(suites: &[&str]) -> Result<(), Error> {
    std::thread::scope(|scope| {
        let builders: Vec<_> = suites.iter().map(|suite| scope.spawn(|| root(suite))).collect();
        builders.into_iter().try_for_each(|builder| builder.join().unwrap_or(Ok(())))
    })
}

fn root(suite: &str) -> Result<(), Error> {
    let watch = Stopwatch::start();
    let root = suite.strip_suffix("-tools").map_or_else(|| Root::debian(suite), Root::tools)?;
    println!("root {} in {:.1} s: {}", root.name(), watch.elapsed().as_secs_f64(), root.path().display());
    Ok(())
}

fn clear() -> Result<(), Error> {
    for line in jitsudo_tests::clear_after_the_dead()? {
        println!("removed what a killed test left: {line}");
    }
    Ok(())
}
