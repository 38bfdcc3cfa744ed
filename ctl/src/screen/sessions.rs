//! Sessions: what runs now, until when, by which rule.

use super::ending;
use crate::records::Session;
use crate::text::{Tone, View, command, counted, dotted, short_id, visible, wrapped};

/// A block for each session.
pub(crate) fn list(sessions: &[Session], view: &View) -> String {
    sessions.iter().map(|session| block(session, view)).collect()
}

fn block(session: &Session, view: &View) -> String {
    let id = short_id(&session.session);
    let who = match (&session.user, session.uid) {
        (Some(user), _) => visible(user),
        (None, Some(uid)) => format!("#{uid}"),
        (None, None) => "?".to_owned(),
    };
    let head = format!("{who}  {}", what(session));
    let column = id.chars().count() + 2;
    format!("{}  {}\n{}\n", view.paint(Tone::Strong, &id), wrapped(&head, column, 4), dotted(&parts(session, view), 4))
}

/// What a session runs, in words.
pub(crate) fn what(session: &Session) -> String {
    if session.argv.is_empty() { "a shell".to_owned() } else { command(&session.argv) }
}

fn parts(session: &Session, view: &View) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(ended) = session.ended {
        parts.push(format!("ended {}", view.date_and_time(ended)));
        parts.extend(session.ending.map(ending));
    } else {
        if let Some(started) = session.started {
            parts.push(format!("for {}", view.since(started)));
        }
        if let Some(end) = session.ends_at {
            parts.push(format!("ends {}", view.until(end)));
        }
        if let Some(running) = session.running {
            parts.push(format!("{} running", counted(running, "program")));
        }
    }
    if let Some(target) = &session.target {
        parts.push(format!("as {}", visible(target)));
    }
    parts.extend(session.role.as_deref().map(visible));
    if let Some(rule) = &session.rule {
        parts.push(format!("rule \"{}\"", visible(rule)));
    }
    match session.record {
        Some(jitsudo_core::decision::Record::Activity) => parts.push("activity recorded".to_owned()),
        Some(jitsudo_core::decision::Record::Terminal) => parts.push("terminal recorded".to_owned()),
        Some(jitsudo_core::decision::Record::None) | None => {}
    }
    parts
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::text::tests::view;
    use serde_json::json;

    pub(crate) fn running() -> serde_json::Value {
        json!({
            "session": "01k6q9v0zz0000000000k3v9tz.1", "id": "01k6q9v0zz0000000000k3v9tz", "user": "alice", "uid": 1001,
            "target": "root", "argv": ["tail", "-f", "/var/log/nginx/error.log"], "rule": "web", "role": "web-operator",
            "started": "2026-10-04T12:11:00Z", "ends_at": "2026-10-04T12:27:00Z", "record": "none", "running": 1,
            "ended": null, "ending": null, "of_a_later_version": true,
        })
    }

    fn shown(value: serde_json::Value) -> String {
        list(&[serde_json::from_value(value).unwrap()], &view())
    }

    #[test]
    fn a_running_session_says_until_when_and_by_which_rule() {
        assert_eq!(
            shown(running()),
            "k3v9tz.1  alice  tail -f /var/log/nginx/error.log\n    \
             for 4 min · ends in 12 min · 1 program running · as root · web-operator\n    rule \"web\"\n"
        );
    }

    #[test]
    fn an_ended_session_says_when_and_how() {
        let mut value = running();
        value["ended"] = json!("2026-10-04T12:13:00Z");
        value["ending"] = json!({"signalled": 15});
        value["argv"] = json!([]);
        assert_eq!(
            shown(value),
            "k3v9tz.1  alice  a shell\n    \
             ended 2026-10-04 14:13:00 · killed by TERM · as root · web-operator\n    \
             rule \"web\"\n"
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        assert_eq!(shown(json!({"session": "01k6q9v0zz0000000000k3v9tz.2"})), "k3v9tz.2  ?  a shell\n    \n");
    }
}
