//! The verbs that ask the decider and show its answer.

use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use jitsudo_bytes::Bytes;
use jitsudo_protocol::client::{Ask, FaultCode};
use serde_json::Value;

use super::{say, say_json};
use crate::arguments::{Explain, Log, Sessions};
use crate::decider::Decider;
use crate::failure::Failure;
use crate::records::{Line, PolicyStatus, Session, Standing, Status, read, read_all};
use crate::screen;
use crate::text::View;

/// Between two looks of `log --follow`.
const FOLLOW: Duration = Duration::from_secs(1);

/// Where do I stand.
pub(super) fn standing(json: bool, view: &View) -> Result<(), Failure> {
    let value = Decider::connect()?.ask_one(Ask::Standing)?;
    if json {
        return say_json(&value);
    }
    say(&screen::standing::screen(&read::<Standing>(value)?, view))
}

/// What may I ask for.
pub(super) fn roles(json: bool, view: &View) -> Result<(), Failure> {
    let items = Decider::connect()?.ask(Ask::Roles)?;
    if json {
        say_json(&Value::Array(items.clone()))?;
    } else {
        say(&screen::roles::list(&read_all(&items)?, view))?;
    }
    some_of(&items, "no rule gives you anything on this host")
}

/// What runs.
pub(super) fn sessions(which: &Sessions, json: bool, view: &View) -> Result<(), Failure> {
    let items = everybodys_for_root(which.all, |all| Ask::Sessions { ended: which.ended, all })?;
    if json {
        say_json(&Value::Array(items.clone()))?;
    } else {
        say(&screen::sessions::list(&read_all::<Session>(&items)?, view))?;
    }
    some_of(&items, if which.ended { "no session is known" } else { "no session is running" })
}

/// What was asked, decided and run.
pub(super) fn log(which: Log, json: bool, view: &View) -> Result<(), Failure> {
    let one_access = which.id.is_some();
    let ask = |after, all| Ask::Log { id: which.id.clone(), user: which.user.clone(), after, limit: which.limit, all };
    let items = everybodys_for_root(which.all, |all| ask(None, all))?;
    show(&items, one_access, json, view)?;
    if !which.follow {
        let what = which.id.as_ref().map_or_else(
            || "nothing is recorded".to_owned(),
            |id| format!("no access {} is recorded", crate::text::visible(id)),
        );
        return some_of(&items, &what);
    }
    let mut after = last(&items).unwrap_or(0);
    loop {
        std::thread::sleep(FOLLOW);
        let items = everybodys_for_root(which.all, |all| ask(Some(after), all))?;
        after = last(&items).unwrap_or(after).max(after);
        show(&items, one_access, json, view)?;
    }
}

fn show(items: &[Value], one_access: bool, json: bool, view: &View) -> Result<(), Failure> {
    if json {
        return say(&items.iter().map(|item| format!("{item}\n")).collect::<String>());
    }
    let lines: Vec<Line> = items.iter().map(Line::of).collect();
    say(&if one_access { screen::log::access(&lines, view) } else { screen::log::list(&lines, view) })
}

fn last(items: &[Value]) -> Option<u64> {
    items.iter().map(|item| Line::of(item).seq).max()
}

/// Health of the daemon.
pub(super) fn status(json: bool, view: &View) -> Result<(), Failure> {
    let value = Decider::connect()?.ask_one(Ask::Status)?;
    let status: Status = read(value.clone())?;
    if json {
        say_json(&value)?;
    } else {
        say(&screen::status::screen(&status, view))?;
    }
    if screen::status::is_well(&status) { Ok(()) } else { Err(Failure::BadCheckSaid) }
}

/// Which policy is in force.
pub(super) fn policy_status(json: bool, view: &View) -> Result<(), Failure> {
    let value = Decider::connect()?.ask_one(Ask::PolicyStatus)?;
    if json {
        return say_json(&value);
    }
    say(&screen::policy::status(&read::<PolicyStatus>(value)?, view))
}

/// How a command would be decided.
pub(super) fn explain(what: Explain, json: bool, view: &View) -> Result<(), Failure> {
    let argv = what.command.into_iter().map(|word| Bytes(word.into_vec())).collect();
    let ask = Ask::Explain { argv, target: what.target, group: what.group, user: what.user };
    let value = Decider::connect()?.ask_one(ask)?;
    if json {
        return say_json(&value);
    }
    say(&screen::explain::screen(&read(value)?, view))
}

/// Root, who may see everything, is shown everybody's without asking for it; root that a person became falls back to the own.
fn everybodys_for_root(asked: bool, ask: impl Fn(bool) -> Ask) -> Result<Vec<Value>, Failure> {
    if asked || !jitsudo_sys::nix::unistd::geteuid().is_root() {
        return Decider::connect()?.ask(ask(asked));
    }
    match Decider::connect()?.ask(ask(true)) {
        Err(Failure::Fault(fault)) if fault.code == FaultCode::Duty => Decider::connect()?.ask(ask(false)),
        other => other,
    }
}

fn some_of(items: &[Value], none: &str) -> Result<(), Failure> {
    if items.is_empty() { Err(Failure::NothingFound(none.to_owned())) } else { Ok(()) }
}
