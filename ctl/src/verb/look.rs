//! The verbs that ask the decider and show its answer.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use jitsudo_bytes::Bytes;
use jitsudo_core::event::Event;
use jitsudo_protocol::client::{Ask, FaultCode};
use serde_json::Value;

use super::{say, say_json};
use crate::arguments::{Explain, Grants, Log, Sessions};
use crate::decider::Decider;
use crate::failure::Failure;
use crate::records::{Grant, Line, PolicyStatus, Session, Standing, Status, read, read_all};
use crate::screen;
use crate::text::View;

/// Between two looks of `log --follow`.
const FOLLOW: Duration = Duration::from_secs(1);
/// Most accesses whose beginning is asked for after a list that does not have it.
const MAX_BEGINNINGS: usize = 20;

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

/// Which roles are held.
pub(super) fn grants(which: &Grants, json: bool, view: &View) -> Result<(), Failure> {
    let items = everybodys_for_root(which.all, |all| Ask::Grants { all })?;
    if json {
        say_json(&Value::Array(items.clone()))?;
    } else {
        say(&screen::grants::list(&read_all::<Grant>(&items)?, view))?;
    }
    some_of(&items, "no role is held")
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
    let ask = |after, all| Ask::Log {
        id: which.id.clone(),
        user: which.user.clone(),
        after,
        limit: which.limit,
        all,
        since: None,
    };
    let beginning = |id: &str| {
        let ask = |all| Ask::Log { id: Some(id.to_owned()), user: None, after: None, limit: 1000, all, since: None };
        everybodys_for_root(which.all, ask)
    };
    let items = everybodys_for_root(which.all, |all| ask(None, all))?;
    let complete =
        |items: &[Value]| if json || one_access { items.to_vec() } else { with_beginnings(items, beginning) };
    show(&complete(&items), one_access, json, view)?;
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
        show(&complete(&items), one_access, json, view)?;
    }
}

/// The list, and before it what happened earlier in accesses that it has only the end of: a limit cuts anywhere.
fn with_beginnings(items: &[Value], beginning: impl Fn(&str) -> Result<Vec<Value>, Failure>) -> Vec<Value> {
    let lines: Vec<Line> = items.iter().map(Line::of).collect();
    let Some(first) = lines.first().map(|line| line.seq) else { return Vec::new() };
    let mut known = BTreeSet::new();
    let cut = lines.iter().filter(|line| {
        let begins = line.says.as_ref().is_ok_and(|entry| matches!(entry.event, Event::Requested { .. }));
        line.access().is_some_and(|id| known.insert(id.clone())) && !begins
    });
    // What cannot be had stays unsaid, as the list says.
    let asked = cut.take(MAX_BEGINNINGS).filter_map(|line| beginning(line.access()?.as_str()).ok());
    let mut all: Vec<Value> = asked.flatten().filter(|item| Line::of(item).seq < first).collect();
    all.sort_by_key(|item| Line::of(item).seq);
    all.extend_from_slice(items);
    all
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
pub(super) fn everybodys_for_root(asked: bool, ask: impl Fn(bool) -> Ask) -> Result<Vec<Value>, Failure> {
    if asked || !jitsudo_sys::nix::unistd::geteuid().is_root() {
        return Decider::connect()?.ask(ask(asked));
    }
    match Decider::connect()?.ask(ask(true)) {
        Err(Failure::Fault(fault)) if fault.code == FaultCode::Duty => Decider::connect()?.ask(ask(false)),
        other => other,
    }
}

pub(super) fn some_of(items: &[Value], none: &str) -> Result<(), Failure> {
    if items.is_empty() { Err(Failure::NothingFound(none.to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(seq: u64, event: &str) -> Value {
        let text = format!(
            r#"{{"seq":{seq},"host":"web-1","boot":"b","wall":"2026-10-04T12:21:0{seq}Z","boottime_ms":1,"actor":{{"program":"jitsudod"}},{event}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn list_that_a_limit_cut_says_who_asked() {
        let whole = [
            item(1, r#""event":"policy_applied","policy":"d1","rules":1,"roles":1,"files":[],"previous":null"#),
            item(2, r#""event":"ended","id":"01jd000000000000000000aaaa","cause":"finished""#),
            item(3, r#""event":"closed","id":"01jd000000000000000000aaaa""#),
        ];
        let [_, _, shown] = &whole;
        let asked = std::cell::Cell::new(0);
        let complete = with_beginnings(std::slice::from_ref(shown), |id| {
            assert_eq!(id, "01jd000000000000000000aaaa");
            asked.set(asked.get() + 1);
            Ok(whole.get(1..).unwrap().to_vec())
        });
        // What is shown already is not shown twice.
        assert_eq!((complete.as_slice(), asked.get()), (&whole[1..], 1));
        // A failure leaves the list as it is.
        let alone = with_beginnings(std::slice::from_ref(shown), |_| Err(Failure::BadCheckSaid));
        assert_eq!(alone, std::slice::from_ref(shown));
        // Events of the host have no beginning.
        let host = with_beginnings(&whole[..1], |_| panic!("nothing is to be asked"));
        assert_eq!(host, whole[..1]);
    }
}
