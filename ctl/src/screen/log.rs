//! The log: a block for each access, a line for each event of the host; and all events of one access.

use std::collections::BTreeMap;

use jitsudo_core::event::{EditOutcome, Event};
use jitsudo_core::id::AccessId;

use super::{ending, event};
use crate::records::Line;
use crate::text::{Tone, View, digest, dotted, milliseconds, padded, short_id, visible, wrapped};

/// Columns of `2026-10-04 14:21:58  `.
const TIME_COLUMNS: usize = 21;

/// The events of the ledger, gathered by access, in the order in which each first appears.
pub(crate) fn list(lines: &[Line], view: &View) -> String {
    let mut blocks: Vec<(Option<&AccessId>, Vec<&Line>)> = Vec::new();
    let mut places: BTreeMap<&AccessId, usize> = BTreeMap::new();
    for line in lines {
        let access = line.access();
        let known = access.and_then(|id| places.get(id).copied()).and_then(|place| blocks.get_mut(place));
        if let Some((_, events)) = known {
            events.push(line);
            continue;
        }
        if let Some(id) = access {
            places.insert(id, blocks.len());
        }
        blocks.push((access, vec![line]));
    }
    blocks.iter().map(|(access, events)| block(*access, events, view)).collect()
}

fn block(access: Option<&AccessId>, events: &[&Line], view: &View) -> String {
    let Some(first) = events.first() else { return String::new() };
    let time = first.wall().map_or_else(|| " ".repeat(19), |wall| view.date_and_time(wall));
    let Some(id) = access else {
        let (label, text) = event::words(first, view);
        let label = padded(&label, 8);
        let column = TIME_COLUMNS + label.chars().count() + 2;
        return format!("{time}  {label}  {}\n", wrapped(&text, column, 4));
    };
    let summary = Summary::of(events);
    let head = format!("{}  {}", summary.who, summary.what);
    let body: Vec<String> = summary.parts(view);
    format!(
        "{time}  {}  {}\n{}\n",
        view.paint(Tone::Strong, id.short()),
        wrapped(&head, TIME_COLUMNS + 8, 4),
        dotted(&body, 4),
    )
}

/// What is told of one access in the list.
#[derive(Default)]
struct Summary {
    who: String,
    what: String,
    target: Option<String>,
    role: Option<String>,
    rule: Option<String>,
    policy: Option<String>,
    results: Vec<(bool, String)>,
    reason: Option<String>,
    ended: bool,
}

impl Summary {
    fn of(events: &[&Line]) -> Self {
        let mut summary =
            Self { who: "?".to_owned(), what: "(asked before the first event shown)".to_owned(), ..Self::default() };
        for line in events {
            if let Ok(entry) = &line.says {
                summary.take(&entry.event);
            }
        }
        summary
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Requested { uid, user, kind, argv, argv_cut, target, role, reason, ticket, .. } => {
                self.who = user.as_deref().map_or_else(|| format!("#{}", uid.0), visible);
                self.what = event::asked(*kind, argv, role.as_deref());
                if *argv_cut {
                    self.what.push_str(" …");
                }
                self.target = target.as_deref().map(visible);
                let words: Vec<String> = reason
                    .iter()
                    .map(|reason| format!("\"{}\"", visible(reason)))
                    .chain(ticket.iter().map(|t| visible(t)))
                    .collect();
                self.reason = (!words.is_empty()).then(|| words.join(" "));
            }
            Event::Decided { allowed, rule, role, policy, denial, .. } => {
                self.rule = rule.as_deref().map(visible);
                self.role = role.as_deref().map(visible);
                self.policy = (!policy.is_empty()).then(|| digest(policy));
                if !*allowed {
                    let cause = denial.as_ref().map_or_else(|| "not allowed".to_owned(), event::refusal);
                    self.results.push((false, format!("refused: {cause}")));
                }
            }
            Event::SessionStarting { target, .. } => self.target = Some(visible(target)),
            Event::SessionExit { ending: how, ran_ms, failed, .. } => {
                let mut text = format!("{}, {}", ending(*how), milliseconds(*ran_ms));
                if let Some(failed) = failed {
                    text.push_str(&format!(" ({})", visible(failed)));
                }
                self.results.push((matches!(how, jitsudo_core::event::Ending::Exited(0)), text));
            }
            Event::Edited { path, outcome: EditOutcome::Written, .. } => {
                self.results.push((true, format!("{} replaced", path.visible())));
            }
            Event::Edited { path, outcome: EditOutcome::Failed, failed, .. } => {
                let why = failed.as_deref().map_or_else(String::new, visible);
                self.results.push((false, format!("{} not replaced: {why}", path.visible())));
            }
            Event::ActivationFailed { cause, .. } => {
                self.results.push((false, format!("not started: {}", visible(cause))));
            }
            Event::SpawnerRefused { cause, .. } => {
                self.results.push((false, format!("the spawner refused: {}", visible(cause))));
            }
            Event::CleanupFailed { cause, .. } => {
                self.results.push((false, format!("not clean: {}", visible(cause))));
            }
            Event::LeftRunning { count, .. } => {
                self.results
                    .push((true, format!("{} left running", crate::text::counted(u64::from(*count), "program"))));
            }
            Event::Residue { count, .. } => {
                let things = crate::text::counted(u64::from(*count), "thing");
                self.results.push((false, format!("{things} not as before")));
            }
            Event::Ended { cause, .. } => {
                self.ended = true;
                if self.results.is_empty() {
                    self.results.push((false, event::end_cause(*cause).to_owned()));
                }
            }
            Event::Closed { .. } => self.ended = true,
            Event::Refused { uid, user, reason, .. } => {
                let who = user.as_deref().map_or_else(|| format!("#{}", uid.0), visible);
                self.results.push((false, format!("{who} said no: {}", visible(reason))));
            }
            Event::Lapsed { .. } => self.results.push((false, "its time went by".to_owned())),
            Event::Withdrawn { .. } => self.results.push((false, "withdrawn".to_owned())),
            Event::LoginOpened { login, .. } => {
                self.results.push((true, format!("login: {}", visible(&login.to_string()))));
            }
            Event::LoginClosed { .. }
            | Event::Escalated { .. }
            | Event::Reminded { .. }
            | Event::DeliveryFailed { .. }
            | Event::LoginRefused { .. }
            | Event::RescueUsed { .. }
            | Event::Activating { .. }
            | Event::Active { .. }
            | Event::EffectApplied { .. }
            | Event::EffectUndone { .. }
            | Event::Extended { .. }
            | Event::Released { .. }
            | Event::NotExtended { .. }
            | Event::Locked { .. }
            | Event::Unlocked { .. }
            | Event::Asked { .. }
            | Event::Approved { .. }
            | Event::Signalled { .. }
            | Event::Edited { outcome: EditOutcome::Writing | EditOutcome::Unchanged, .. }
            | Event::PolicyApplied { .. }
            | Event::PolicyRefused { .. }
            | Event::DenialsCounted { .. }
            | Event::ClockStepped { .. }
            | Event::ChainCut { .. }
            | Event::RolledBack { .. }
            | Event::Acknowledged { .. }
            | Event::SegmentSealed { .. }
            | Event::ResidueAcknowledged { .. }
            | Event::Authenticated { .. }
            | Event::AuthenticationFailed { .. }
            | Event::Reviewed { .. }
            | Event::HeadPublished { .. } => {}
        }
    }

    fn parts(&self, view: &View) -> Vec<String> {
        let mut parts = Vec::new();
        if let Some(target) = &self.target {
            parts.push(format!("as {target}"));
        }
        parts.extend(self.role.clone());
        if let Some(rule) = &self.rule {
            parts.push(format!("rule \"{rule}\""));
        }
        if let Some(policy) = &self.policy {
            parts.push(format!("policy {policy}"));
        }
        parts.extend(self.reason.clone());
        for (good, text) in &self.results {
            parts.push(if *good { text.clone() } else { view.paint(Tone::Bad, text) });
        }
        if self.results.is_empty() && !self.ended {
            parts.push("not over".to_owned());
        }
        parts
    }
}

/// Every event of one access, a line each.
pub(crate) fn access(lines: &[Line], view: &View) -> String {
    let mut text = String::new();
    if let Some(id) = lines.iter().find_map(Line::access) {
        let date = lines.first().and_then(Line::wall).map(|wall| view.date_and_time(wall));
        let short = view.paint(Tone::Strong, &short_id(id.as_str()));
        text.push_str(&format!("{short}  {id}  {}\n", date.unwrap_or_default()));
    }
    for line in lines {
        let time = line.wall().map_or_else(|| " ".repeat(8), |wall| view.time(wall));
        let (label, words) = event::words(line, view);
        let label = padded(&label, 10);
        text.push_str(&format!("{time}  {label}  {}\n", wrapped(&words, 10 + label.chars().count() + 2, 22)));
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::text::WIDTH;
    use crate::text::tests::view;
    use serde_json::{Value, json};

    const ID: &str = "01k6q9v0zz0000000000k3v9tz";

    /// A ledger line as the decider gives it.
    pub(crate) fn line(seq: u64, second: u32, event: Value) -> Line {
        let mut value = json!({
            "seq": seq, "host": "web-1", "boot": "b", "wall": format!("2026-10-04T12:21:{second:02}.000001Z"),
            "boottime_ms": 1, "actor": {"program": "jitsudod"}, "prev": "0", "hash": "1",
        });
        let (Value::Object(to), Value::Object(from)) = (&mut value, event) else { panic!("objects") };
        to.extend(from);
        Line::of(&value)
    }

    fn requested(argv: Value) -> Value {
        json!({
            "event": "requested", "id": ID, "uid": 1001, "user": "alice", "loginuid": 1001, "origin": null, "kind": "command",
            "argv": argv, "program": "/usr/bin/systemctl", "cwd": "/home/alice", "target": null, "role": null,
            "reason": null, "ticket": null, "digest": "ab", "tty": 34816, "pid": 7,
        })
    }

    fn allowed() -> Vec<Line> {
        let policy = "4f2a91c03d2e".to_owned() + &"0".repeat(52);
        vec![
            line(2, 58, requested(json!(["systemctl", "restart", "nginx"]))),
            line(
                3,
                58,
                json!({"event": "decided", "id": ID, "allowed": true, "rule": "on-call runs the web tier",
                "source": "10-web.toml:14", "role": "web-operator", "policy": policy}),
            ),
            line(
                4,
                58,
                json!({"event": "activating", "id": ID, "ends_at": "2026-10-05T00:21:58Z", "ends_boottime_ms": 9}),
            ),
            line(
                5,
                58,
                json!({"event": "session_starting", "session": format!("{ID}.1"), "uid": 0, "gid": 0,
                "target": "root", "record": "none", "chain": []}),
            ),
            line(
                6,
                59,
                json!({"event": "session_exit", "session": format!("{ID}.1"), "ending": {"exited": 0},
                "ran_ms": 40, "pid": 4711, "audit_session": 3}),
            ),
            line(7, 59, json!({"event": "ended", "id": ID, "cause": "finished"})),
            line(8, 59, json!({"event": "closed", "id": ID})),
        ]
    }

    #[test]
    fn an_access_is_one_block_with_rule_policy_and_status() {
        assert_eq!(
            list(&allowed(), &view()),
            "2026-10-04 14:21:58  k3v9tz  alice  systemctl restart nginx\n    \
             as root · web-operator · rule \"on-call runs the web tier\"\n    policy 4f2a91c03d2e · exit 0, 40 ms\n"
        );
    }

    #[test]
    fn answers_of_people_are_lines_of_the_timeline() {
        let yes = |second: u32, who: &str, enough: bool| {
            line(
                4,
                second,
                json!({"event": "approved", "id": ID, "uid": 1002, "user": who, "digest": "ab",
                "proof": {"local": "fresh"}, "limits": {"window": 600}, "enough": enough}),
            )
        };
        let asked = json!({"event": "asked", "id": ID, "digest": "ab", "nonce": "00", "approvers": ["@leads", "@security"],
            "persons": 2, "answer_by": "2026-10-04T12:41:58Z", "answer_by_boottime_ms": 9, "use_by": 300});
        let no = json!({"event": "refused", "id": ID, "uid": 1003, "user": null, "digest": "ab", "reason": "not\nnow"});
        let lines = [line(3, 1, asked), yes(4, "bo\u{202e}b", false), line(5, 5, no.clone())];
        let text = access(&lines, &view());
        assert_eq!(
            text,
            "k3v9tz  01k6q9v0zz0000000000k3v9tz  2026-10-04 14:21:01\n\
             14:21:01  waiting     for 2 approvals of @leads, @security, until 2026-10-04\n                      14:41:58\n\
             14:21:04  approved    by bo\\u{202e}b (fresh proof on this host), at most 10 min;\n                      more are needed\n\
             14:21:05  refused     by #1003: \"not\\u{a}now\"\n"
        );
        assert!(
            list(&[line(2, 1, requested(json!(["id"]))), line(5, 5, no)], &view())
                .contains("#1003 said no: not\\u{a}now")
        );
    }

    #[test]
    fn a_refusal_names_its_cause() {
        let lines = [
            line(2, 1, requested(json!(["systemctl", "restart", "ssh"]))),
            line(
                3,
                1,
                json!({"event": "decided", "id": ID, "allowed": false, "policy": "ab".repeat(32),
                "denial": {"cause": "not_covered", "detail": [], "by": null}}),
            ),
        ];
        assert_eq!(
            list(&lines, &view()),
            "2026-10-04 14:21:01  k3v9tz  alice  systemctl restart ssh\n    policy abababababab · refused: no rule covers it\n"
        );
    }

    #[test]
    fn all_events_of_an_access_read_as_a_timeline() {
        assert_eq!(
            access(&allowed(), &view()),
            "k3v9tz  01k6q9v0zz0000000000k3v9tz  2026-10-04 14:21:58\n\
             14:21:58  asked       alice: systemctl restart nginx\n\
             14:21:58  decided     allowed by rule \"on-call runs the web tier\"\n                      \
             (10-web.toml:14), role web-operator, policy 4f2a91c03d2e\n\
             14:21:58  activating  until 2026-10-05 02:21:58\n\
             14:21:58  session 1   starts as root (uid 0)\n\
             14:21:59  session 1   exit 0 after 40 ms, pid 4711\n\
             14:21:59  ended       the command is over\n\
             14:21:59  closed      verified: nothing of it remains\n"
        );
    }

    #[test]
    fn hostile_words_stay_on_their_line_and_screens_keep_their_width() {
        let mut hostile = requested(json!(["x\u{1b}[2J\n2026-10-04 00:00:00  aaaaaa  root  exit 0", {"b64": "/w=="}]));
        hostile["user"] = json!("ali\u{202e}ce");
        hostile["reason"] = json!("a\nb");
        let text = list(&[line(1, 1, hostile.clone())], &view());
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("    ")), "{text}");
        let text = access(&[line(1, 1, hostile)], &view());
        assert!(text.lines().skip(2).all(|line| line.starts_with("      ")), "{text}");
        let wide = list(&[line(1, 1, requested(json!(vec!["word"; 60])))], &view());
        assert!(wide.lines().all(|line| line.chars().count() <= WIDTH), "{wide}");
    }

    #[test]
    fn events_of_the_host_and_of_a_later_version_have_a_line_each() {
        let lines = [
            line(
                1,
                1,
                json!({"event": "policy_applied", "policy": "cd".repeat(32), "rules": 3, "roles": 1,
                "files": ["10-web.toml"], "previous": null}),
            ),
            line(2, 2, json!({"event": "clock_stepped", "by_ms": -61000})),
            line(3, 3, json!({"event": "moon_phase", "phase": 3})),
            line(4, 4, json!({"event": "spawner_refused", "id": null, "cause": "another uid"})),
        ];
        assert_eq!(
            list(&lines, &view()),
            "2026-10-04 14:21:01  policy    cdcdcdcdcdcd applied: 3 rules and 1 role from 1\n    file; before it none\n\
             2026-10-04 14:21:02  clock     set back by 1 min\n\
             2026-10-04 14:21:03  moon_phase  an event of a later version; --json shows it\n\
             2026-10-04 14:21:04  spawner   refused: another uid\n"
        );
    }
}
