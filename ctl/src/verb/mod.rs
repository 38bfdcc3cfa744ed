//! The verbs: each asks or reads, and prints.

mod access;
mod acknowledge;
mod answer;
mod apply;
mod check;
mod doctor;
mod gate;
mod grant;
mod lock;
mod look;
mod residue;
mod review;
mod signatures;
mod signed;
mod timeline;
mod verify;

use std::io::{self, Write as _};

use serde_json::Value;

use crate::arguments::{Arguments, Audit, Policy, Residue, ResidueVerb, Verb};
use crate::failure::Failure;
use crate::text::View;

pub(crate) use signatures::{Count, Signatures};

/// Does what the command line says.
pub(crate) fn run(arguments: Arguments, view: &View) -> Result<(), Failure> {
    let json = arguments.json;
    match arguments.verb {
        None => look::standing(json, view),
        Some(Verb::Request(what)) => grant::request(what, json),
        Some(Verb::Extend(what)) => grant::extend(what, json),
        Some(Verb::Approve(what)) => answer::approve(&what, json, view),
        Some(Verb::Refuse(what)) => answer::refuse(what, json),
        Some(Verb::Release(what)) => grant::release(what, json),
        Some(Verb::Withdraw(what)) => grant::withdraw(what, json),
        Some(Verb::Lock(what)) => lock::lock(what, json),
        Some(Verb::Unlock(what)) => lock::unlock(what, json),
        Some(Verb::Requests(which)) => access::requests(&which, json, view),
        Some(Verb::Show(what)) => access::show(what, json, view),
        Some(Verb::Timeline(which)) => timeline::run(which, json, view),
        Some(Verb::End(what)) => grant::end(what, json),
        Some(Verb::Grants(which)) => look::grants(&which, json, view),
        Some(Verb::Residue(Residue { what: Some(ResidueVerb::Acknowledge(what)), .. })) => {
            residue::acknowledge(what, json)
        }
        Some(Verb::Residue(which)) => residue::show(&which, json, view),
        Some(Verb::Review(what)) => review::run(what, json, view),
        Some(Verb::Roles) => look::roles(json, view),
        Some(Verb::Log(log)) => look::log(log, json, view),
        Some(Verb::Sessions(sessions)) => look::sessions(&sessions, json, view),
        Some(Verb::Doctor(what)) => doctor::run(&what, json, view),
        Some(Verb::Gate(what)) => gate::run(&what, json),
        Some(Verb::Status) => look::status(json, view),
        Some(Verb::Audit(Audit::Verify(what))) => verify::run(&what, json, view),
        Some(Verb::Audit(Audit::Acknowledge(what))) => acknowledge::run(what, json),
        Some(Verb::Policy(Policy::Check(what))) => check::run(&what.paths, json, view),
        Some(Verb::Policy(Policy::Apply(how))) => apply::run(&how, json),
        Some(Verb::Policy(Policy::Explain(what))) => look::explain(what, json, view),
        Some(Verb::Policy(Policy::Status)) => look::policy_status(json, view),
    }
}

/// Writes to standard output; whoever stopped reading is no failure.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|cause| match cause.kind() {
        io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
        _ => Failure::File { what: "write to standard output".to_owned(), cause },
    })
}

/// Writes one JSON value, indented for people, with its newline.
fn say_json(value: &Value) -> Result<(), Failure> {
    say(&format!("{value:#}\n"))
}
