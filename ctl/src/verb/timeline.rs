//! The story of one access, of one account, or of the host.

use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, Timestamp};
use jitsudo_protocol::client::{Ask, FaultCode};
use serde_json::Value;

use super::look::{everybodys_for_root, some_of};
use super::say;
use crate::arguments::Timeline;
use crate::decider::Decider;
use crate::failure::Failure;
use crate::records::Line;
use crate::screen;
use crate::text::{View, visible};

/// Most events of one story.
const MAX_EVENTS: u32 = 100_000;

/// Tells it.
pub(super) fn run(which: Timeline, json: bool, view: &View) -> Result<(), Failure> {
    let since = match &which.since {
        None => None,
        Some(text) => Some(moment(text, view).ok_or_else(|| Failure::Usage {
            message: format!("cannot read --since {text:?}: 2h, 14:30, 2026-10-04 or 2026-10-04T14:30 is due"),
            hint: None,
        })?),
    };
    let ask = |all| Ask::Log {
        id: which.id.clone(),
        user: which.user.clone(),
        after: None,
        limit: MAX_EVENTS,
        all,
        since: since.map(Timestamp::as_second),
    };
    let items = match (&which.user, &which.id) {
        // Another's, or the own: who has no duty has the own name alone.
        (Some(_), _) | (None, Some(_)) => match Decider::connect()?.ask(ask(true)) {
            Err(Failure::Fault(fault)) if fault.code == FaultCode::Duty => {
                let own = Decider::connect()?.ask(ask(false))?;
                match &which.id {
                    // As `show` says it: whether there is one is not told.
                    Some(id) if own.is_empty() => {
                        let id = visible(id);
                        let what =
                            format!("cannot show {id}: nothing of yours has that id; others' need the duty `see`");
                        return Err(Failure::NothingFound(what));
                    }
                    None if own.is_empty() => return Err(Failure::Fault(fault)),
                    Some(_) | None => own,
                }
            }
            other => other?,
        },
        (None, None) => everybodys_for_root(which.all, ask)?,
    };
    let lines = screen::timeline::ordered(items.iter().map(Line::of).collect());
    if json {
        let by_seq: std::collections::BTreeMap<u64, &Value> =
            items.iter().map(|item| (Line::of(item).seq, item)).collect();
        let told = lines.iter().filter_map(|line| by_seq.get(&line.seq));
        say(&told.map(|item| format!("{item}\n")).collect::<String>())?;
    } else if which.id.is_some() {
        say(&screen::log::access(&lines, view))?;
    } else {
        say(&screen::timeline::screen(&lines, view))?;
    }
    let none = match (&which.id, &which.user) {
        (Some(id), _) => format!("no access {} is recorded", visible(id)),
        (None, Some(user)) => format!("nothing of {} is recorded", visible(user)),
        (None, None) => "nothing is recorded".to_owned(),
    };
    some_of(&items, &none)
}

/// A moment as people say it: so long ago, today at, on that day, on that day at.
fn moment(text: &str, view: &View) -> Option<Timestamp> {
    let zone = &view.zone;
    if let Ok(ago) = text.parse::<SignedDuration>() {
        return view.now.checked_sub(ago).ok().filter(|_| !ago.is_negative());
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let local = |at: DateTime| at.to_zoned(zone.clone()).ok().map(|at| at.timestamp());
    if let Ok(at) = text.parse::<Date>()
        && text.len() == 10
    {
        return local(at.to_datetime(Time::midnight()));
    }
    if let Ok(at) = text.parse::<DateTime>() {
        return local(at);
    }
    let today = view.now.to_zoned(zone.clone()).date();
    text.parse::<Time>().ok().and_then(|time| local(today.to_datetime(time)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::view;

    #[test]
    fn moments_are_read_as_people_say_them() {
        for (text, at) in [
            ("2h", "2026-10-04T10:15:00Z"),
            ("1h30m", "2026-10-04T10:45:00Z"),
            ("14:00", "2026-10-04T12:00:00Z"),
            ("2026-10-03", "2026-10-02T22:00:00Z"),
            ("2026-10-03T08:00", "2026-10-03T06:00:00Z"),
            ("2026-10-03T08:00:00Z", "2026-10-03T08:00:00Z"),
        ] {
            assert_eq!(moment(text, &view()).map(|at| at.to_string()).as_deref(), Some(at), "{text}");
        }
        for text in ["", "nan", "-2h", "soon", "25:00", "2026-13-01", "1000000000h"] {
            assert_eq!(moment(text, &view()), None, "{text}");
        }
    }
}
