//! `jitctl`: everything of jitsudo but running a command.
//!
//! A verb asks the decider ([`decider`]) or reads files, gets data, and renders it with a pure function ([`screen`]) or as JSON.
//! Nothing that a peer sent reaches a terminal unescaped ([`text`]).
#![forbid(unsafe_code)]

mod arguments;
mod decider;
mod failure;
#[cfg(test)]
mod manual;
mod privileges;
mod records;
mod screen;
mod text;
mod verb;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::text::View;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A help text that nobody reads to its end is no failure.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let json = arguments.json;
    let view = View::of_this_process(std::io::stdout().is_terminal());
    match verb::run(arguments, &view) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure, json),
    }
}

/// Tells a failure on standard error (and as JSON on standard output when asked) and gives the exit status.
fn report(failure: &Failure, json: bool) -> ExitCode {
    if json && let Some(value) = failure.as_json() {
        let _ = writeln!(std::io::stdout(), "{value}");
    }
    let words = failure.words();
    if !words.is_empty() {
        let _ = std::io::stderr().write_all(words.as_bytes());
    }
    ExitCode::from(failure.status())
}
