//! What happened, in the order in which it did: a line an event, all accesses together.

use std::collections::BTreeMap;

use jitsudo_core::event::{Entry, Event};
use jitsudo_core::id::AccessId;

use super::event;
use crate::records::Line;
use crate::text::{Tone, View, padded, visible, wrapped};

/// Columns of the labels.
const LABEL: usize = 12;
/// Columns of `14:21:58  k3v9tz  `.
const BEFORE: usize = 18;

/// The lines in the order in which they happened: by boots, then by the boot clock, which nobody can set. The ledger's own order is that in
/// which they were written, and what a session wrote while the daemon was away comes late there.
pub(crate) fn ordered(mut lines: Vec<Line>) -> Vec<Line> {
    lines.sort_by_key(|line| line.seq);
    let mut boots: BTreeMap<String, usize> = BTreeMap::new();
    for line in &lines {
        if let Ok(entry) = &line.says {
            let next = boots.len();
            boots.entry(entry.boot.clone()).or_insert(next);
        }
    }
    let mut last = (0, 0);
    let mut placed: Vec<((usize, u64), Line)> = Vec::with_capacity(lines.len());
    for line in lines {
        if let Ok(entry) = &line.says {
            last = (boots.get(&entry.boot).copied().unwrap_or_default(), entry.boottime_ms);
        }
        // A line of a later version stays behind the one before it.
        placed.push((last, line));
    }
    placed.sort_by_key(|(place, line)| (*place, line.seq));
    placed.into_iter().map(|(_, line)| line).collect()
}

/// The whole story, a heading for each day.
pub(crate) fn screen(lines: &[Line], view: &View) -> String {
    let (mut text, mut day) = (String::new(), String::new());
    let mut asked_by: BTreeMap<&AccessId, &str> = BTreeMap::new();
    for line in lines {
        if let Ok(Entry { event: Event::Requested { id, user: Some(user), .. }, .. }) = &line.says {
            asked_by.insert(id, user);
        }
        let (date, time) = line.wall().map_or_else(Default::default, |wall| {
            let both = view.date_and_time(wall);
            both.split_once(' ')
                .map_or((both.clone(), String::new()), |(date, time)| (date.to_owned(), time.to_owned()))
        });
        if date != day {
            text.push_str(&format!("{}\n", view.paint(Tone::Strong, &date)));
            day = date;
        }
        let (label, mut words) = event::words(line, view);
        if let Some(by) = actor(line, &asked_by) {
            words.push_str(&format!(" (by {})", visible(by)));
        }
        let id = line.access().map_or("", AccessId::short);
        let label = padded(&label, LABEL);
        let column = BEFORE + label.chars().count();
        text.push_str(&format!(
            "{}  {}  {label}{}\n",
            padded(&time, 8),
            padded(id, 6),
            wrapped(&words, column, column)
        ));
    }
    text
}

/// Who did it, where that is somebody else than who asked, and the words do not say it.
fn actor<'a>(line: &'a Line, asked_by: &BTreeMap<&AccessId, &str>) -> Option<&'a str> {
    let entry = line.says.as_ref().ok()?;
    let says_it = matches!(
        entry.event,
        Event::Requested { .. } | Event::Released { .. } | Event::Locked { .. } | Event::Unlocked { .. }
    );
    let requester = line.access().and_then(|id| asked_by.get(id)).copied();
    entry.actor.name.as_deref().filter(|name| !says_it && Some(*name) != requester)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::WIDTH;
    use crate::text::tests::view;
    use serde_json::{Value, json};

    const ID: &str = "01k6q9v0zz0000000000k3v9tz";

    fn line(seq: u64, boot: &str, ms: u64, mut body: Value) -> Line {
        let wall = jiff::Timestamp::from_second(1_791_123_718 + i64::try_from(ms / 1000).unwrap()).unwrap();
        let head = json!({"seq": seq, "host": "web-1", "boot": boot, "wall": wall.to_string(), "boottime_ms": ms});
        let fields = body.as_object_mut().unwrap();
        fields.extend(head.as_object().unwrap().clone());
        fields.entry("actor").or_insert(json!({"program": "jitsudod"}));
        Line::of(&body)
    }

    fn requested() -> Value {
        json!({"event": "requested", "id": ID, "uid": 1001, "user": "alice", "loginuid": 1001, "origin": null, "kind": "role",
            "argv": [], "program": null, "cwd": null, "target": null, "role": "web-operator", "reason": "roll out",
            "ticket": null, "digest": "d", "tty": 0, "pid": 7, "actor": {"program": "jitsudod", "uid": 1001, "name": "alice"}})
    }

    #[test]
    fn events_stand_in_the_order_in_which_they_happened_with_who_did_them() {
        let dan = json!({"program": "jitsudod", "uid": 1003, "name": "dan"});
        let lines = vec![
            line(1, "b1", 1000, requested()),
            // Written late: the session's last word came after the daemon was back.
            line(5, "b1", 9000, json!({"event": "ended", "id": ID, "cause": "locked"})),
            line(
                3,
                "b1",
                8000,
                json!({"event": "locked", "uid": 1001, "user": "alice", "reason": "left", "actor": dan}),
            ),
            line(4, "b1", 2000, json!({"event": "active", "id": ID})),
            line(
                6,
                "b2",
                10,
                json!({"event": "acknowledged", "concern": "rolled_back", "known": 7, "found": 6, "reason": "x", "actor": dan}),
            ),
            line(7, "b2", 20, json!({"event": "moon_phase"})),
        ];
        let lines = ordered(lines);
        assert_eq!(lines.iter().map(|line| line.seq).collect::<Vec<_>>(), [1, 4, 3, 5, 6, 7]);
        let text = screen(&lines, &view());
        assert_eq!(
            text,
            "2026-10-04\n\
             16:21:59  k3v9tz  asked       alice: role web-operator \"roll out\"\n\
             16:22:00  k3v9tz  active      its rights are there\n\
             16:22:06          locked      alice by dan: nothing starts and everything ends:\n                              \
             \"left\"\n\
             16:22:07  k3v9tz  ended       its requester was locked\n\
             16:21:58          ledger      goes on without the signed event 7: \"x\" (by dan)\n\
             16:21:58          moon_phase  an event of a later version; --json shows it\n"
        );
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }
}
