//! One access, and the list of what was asked.

use jiff::Timestamp;
use jitsudo_core::request::Kind;

use super::{ending, event, grants};
use crate::records::{Approval, Asked, Decision, Lock, LookedAt, Residue, Session, Shown, Voice};
use crate::text::{Tone, View, dotted, exact, padded, short_id, visible, wrapped};

/// Columns of the labels of [`one`].
const LABEL: usize = 11;

/// A block for each request.
pub(crate) fn list(all: &[Asked], view: &View) -> String {
    all.iter().map(|asked| block(asked, view)).collect()
}

fn block(asked: &Asked, view: &View) -> String {
    let id = short_id(&asked.id);
    let head = format!("{}  {}", who(asked), what(asked));
    let mut parts = vec![stage(asked, view)];
    parts.extend(asked.at.map(|at| view.date_and_time(at)));
    if let Some(rule) = &asked.rule {
        parts.push(format!("rule \"{}\"", visible(rule)));
    }
    parts.extend(why(asked));
    let column = id.chars().count() + 2;
    format!("{}  {}\n{}\n", view.paint(Tone::Strong, &id), wrapped(&head, column, 4), dotted(&parts, 4))
}

fn who(asked: &Asked) -> String {
    match (&asked.user, asked.uid) {
        (Some(user), _) => visible(user),
        (None, Some(uid)) => format!("#{uid}"),
        (None, None) => "?".to_owned(),
    }
}

/// What was asked for, in words.
fn what(asked: &Asked) -> String {
    let target = asked.target.as_deref().map_or_else(String::new, |target| format!(" as {}", visible(target)));
    format!("{}{target}", event::asked(asked.kind, &asked.argv, asked.role.as_deref()))
}

fn stage(asked: &Asked, view: &View) -> String {
    match (asked.stage.as_str(), asked.ends_at) {
        ("active", Some(end)) => format!("active, ends {}", view.until(end)),
        (stage, _) => visible(stage),
    }
}

fn why(asked: &Asked) -> Vec<String> {
    let reason = asked.reason.iter().map(|reason| format!("\"{}\"", visible(reason)));
    reason.chain(asked.ticket.iter().map(|ticket| visible(ticket))).collect()
}

/// Everything of one access.
pub(crate) fn one(shown: &Shown, view: &View) -> String {
    let asked = &shown.asked;
    let mut text = format!("{}  {}\n", view.paint(Tone::Strong, &short_id(&asked.id)), visible(&asked.id));
    let mut line = |label: &str, words: &str| {
        text.push_str(&format!("{}{}\n", padded(label, LABEL), wrapped(words, LABEL, LABEL)));
    };
    let uid = asked.uid.map_or_else(String::new, |uid| format!(" (uid {uid})"));
    let at = asked.at.map_or_else(String::new, |at| format!("{}  ", view.date_and_time(at)));
    line("asked", &format!("{at}{}{uid}: {}", who(asked), what(asked)));
    let why = why(asked);
    if !why.is_empty() {
        line("why", &why.join(" "));
    }
    if let Some(decision) = &shown.decision {
        line("decided", &decided(decision, asked));
    }
    if let Some(approval) = &shown.approval {
        line("approval", &approved(approval, view));
    }
    if let (Some(since), Some(end)) = (shown.since, asked.ends_at) {
        line("given", &given(shown, since, end, view));
    }
    for group in shown.groups.iter().filter_map(|group| group.name.as_deref()) {
        line("lent", &format!("group {} to what runs under it", visible(group)));
    }
    for effect in &shown.lent {
        line("lent", &grants::lent(effect));
    }
    for effect in &shown.taken_back {
        line("lent", &format!("{}, taken back", visible(&effect.to_string())));
    }
    for session in &shown.sessions {
        line(&label(session), &ran(session, view));
    }
    if let Some(failed) = &shown.failed {
        line("failed", &format!("nothing was given: {}", visible(failed)));
    }
    if let Some(end) = &shown.ended {
        line("ended", &format!("{}  {}", view.date_and_time(end.at), event::end_cause(end.cause)));
    }
    if let Some(cause) = &shown.not_clean {
        line("not clean", &super::grants::not_clean(cause));
    }
    match (shown.closed, asked.stage.as_str()) {
        (Some(at), _) => line("closed", &format!("{}  verified: nothing of it remains", view.date_and_time(at))),
        (None, stage) => line("now", &visible(stage)),
    }
    if let Some(left) = &shown.residue {
        line("residue", &residue(left, view));
    }
    text
}

/// What it may have left, and who has looked at it.
fn residue(left: &Residue, view: &View) -> String {
    let more = left.count.saturating_sub(left.items.len() as u64);
    let mut parts: Vec<String> = left.items.iter().map(super::residue::item).collect();
    if more > 0 {
        parts.push(format!("{} more", more));
    }
    let who = |looked_at: &LookedAt| match (&looked_at.user, looked_at.uid) {
        (Some(user), _) => visible(user),
        (None, Some(uid)) => format!("#{uid}"),
        (None, None) => "?".to_owned(),
    };
    let state = left.acknowledged.as_ref().map_or_else(
        || "nobody has looked at it yet".to_owned(),
        |one| format!("acknowledged by {} {}: \"{}\"", who(one), view.date_and_time(one.at), visible(&one.reason)),
    );
    format!("{}; {state}", parts.join(", "))
}

fn decided(decision: &Decision, asked: &Asked) -> String {
    if !decision.allowed {
        let cause = decision.denial.as_ref().map_or_else(|| "not allowed".to_owned(), event::refusal);
        let detail =
            decision.denial.iter().flat_map(|denial| &denial.detail).map(|line| format!("; {}", visible(line)));
        return format!("refused: {cause}{}", detail.collect::<String>());
    }
    let mut words = "allowed".to_owned();
    if let Some(rule) = &asked.rule {
        words.push_str(&format!(" by rule \"{}\"", visible(rule)));
    }
    if let Some(source) = &decision.source {
        words.push_str(&format!(" ({})", visible(source)));
    }
    if let Some(role) = asked.role.as_ref().filter(|_| asked.kind != Kind::Role) {
        words.push_str(&format!(", role {}", visible(role)));
    }
    if let Some(policy) = decision.policy.as_ref().filter(|policy| !policy.is_empty()) {
        words.push_str(&format!(", policy {}", crate::text::digest(policy)));
    }
    words
}

fn approved(approval: &Approval, view: &View) -> String {
    let name = |voice: &Voice| voice.user.as_deref().map_or_else(|| format!("#{}", voice.uid), visible);
    let asked: Vec<String> = approval.asked.iter().map(|name| visible(name)).collect();
    let mut parts = vec![format!("asked {} until {}", super::joined(&asked), view.date_and_time(approval.answer_by))];
    parts.extend(approval.yes.iter().map(|voice| match voice.window {
        Some(window) => format!("{} said yes, for at most {}", name(voice), exact(window)),
        None => format!("{} said yes", name(voice)),
    }));
    parts.extend(
        approval.refused.iter().map(|voice| {
            format!("{} said no: \"{}\"", name(voice), visible(voice.reason.as_deref().unwrap_or_default()))
        }),
    );
    parts.join("; ")
}

fn given(shown: &Shown, since: Timestamp, end: Timestamp, view: &View) -> String {
    let mut words = format!("{} until {}", view.date_and_time(since), view.date_and_time(end));
    if shown.asked.stage == "active" {
        words.push_str(&format!(", ends {}", view.until(end)));
    }
    let more = shown.first_end.map_or(0, |first| end.duration_since(first).as_secs());
    if let Some(more) = u64::try_from(more).ok().filter(|more| *more > 0) {
        words.push_str(&format!(", extended by {}", exact(more)));
    }
    words
}

fn label(session: &Session) -> String {
    let number = session.session.split_once('.').map_or("?", |(_, number)| number);
    format!("session {}", visible(number))
}

fn ran(session: &Session, view: &View) -> String {
    let target = session.target.as_deref().map_or_else(String::new, |target| format!(" as {}", visible(target)));
    let how = match (session.ending, session.ended) {
        (Some(how), _) => ending(how),
        (None, Some(_)) => "ended".to_owned(),
        (None, None) => {
            session.ends_at.map_or_else(|| "runs".to_owned(), |end| format!("runs, ends {}", view.until(end)))
        }
    };
    format!("{}{target}: {how}", super::sessions::what(session))
}

/// A lock in words: who, by whom, since when, why.
pub(crate) fn locked(lock: &Lock, view: &View) -> String {
    let who = lock.user.as_deref().map_or_else(|| format!("uid {}", lock.uid), visible);
    let by = lock.by.as_deref().map_or_else(String::new, |by| format!(" by {}", visible(by)));
    let since = view.date_and_time(lock.since);
    format!("{who}{by} since {since}: \"{}\"", visible(&lock.reason))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::text::WIDTH;
    use crate::text::tests::view;
    use serde_json::{Value, json};

    fn role() -> Value {
        json!({
            "id": "01k6q9v0zz0000000000k3v9tz", "at": "2026-10-04T12:00:00Z", "user": "alice", "uid": 1001, "kind": "role",
            "argv": [], "target": null, "role": "web-operator", "rule": "web", "reason": "roll out", "ticket": "OPS-1",
            "ends_at": "2026-10-04T12:27:00Z", "stage": "active", "later": true,
        })
    }

    fn everything() -> Value {
        let mut value = role();
        let more = json!({
            "decision": {"allowed": true, "at": "2026-10-04T12:00:00Z", "policy": "ab".repeat(32), "source": "10-web.toml:3"},
            "since": "2026-10-04T12:00:00Z", "first_end": "2026-10-04T12:12:00Z", "lent": [{"membership": "adm"}],
            "not_clean": null, "ended": null, "closed": null, "failed": null,
            "sessions": [{"session": "01k6q9v0zz0000000000k3v9tz.1", "argv": ["id", "-u"], "target": "root", "ending": {"exited": 0}},
                {"session": "01k6q9v0zz0000000000k3v9tz.2", "argv": ["job"], "target": "root", "ends_at": "2026-10-04T12:27:00Z"}],
        });
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        value
    }

    #[test]
    fn a_request_says_what_became_of_it() {
        let asked = |value| serde_json::from_value::<Asked>(value).unwrap();
        assert_eq!(
            list(&[asked(role())], &view()),
            "k3v9tz  alice  role web-operator\n    active, ends in 12 min · 2026-10-04 14:00:00 · rule \"web\" · \"roll out\"\n    OPS-1\n"
        );
        let denied = json!({"id": "01k6q9v0zz0000000000k3v9tz", "kind": "command", "argv": ["id"], "target": "bob", "stage": "denied"});
        assert_eq!(list(&[asked(denied)], &view()), "k3v9tz  ?  id as bob\n    denied\n");
    }

    #[test]
    fn everything_of_an_access_stands_on_one_screen() {
        let text = one(&serde_json::from_value(everything()).unwrap(), &view());
        assert_eq!(
            text,
            "k3v9tz  01k6q9v0zz0000000000k3v9tz\n\
             asked      2026-10-04 14:00:00  alice (uid 1001): role web-operator\n\
             why        \"roll out\" OPS-1\n\
             decided    allowed by rule \"web\" (10-web.toml:3), policy abababababab\n\
             given      2026-10-04 14:00:00 until 2026-10-04 14:27:00, ends in 12 min,\n           extended by 15 min\n\
             lent       membership of adm (a shell that runs already does not gain it)\n\
             session 1  id -u as root: exit 0\n\
             session 2  job as root: runs, ends in 12 min\n\
             now        active\n"
        );
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn what_is_over_says_why_and_what_it_lent_and_left() {
        let mut value = everything();
        value["ended"] = json!({"at": "2026-10-04T12:10:00Z", "cause": "given_back"});
        value["closed"] = json!("2026-10-04T12:10:01Z");
        (value["lent"], value["taken_back"]) = (json!([]), json!([{"membership": "adm"}]));
        value["groups"] = json!([{"gid": 999, "name": "docker"}]);
        value["stage"] = json!("closed");
        let text = one(&serde_json::from_value(value.clone()).unwrap(), &view());
        assert!(text.contains("ended      2026-10-04 14:10:00  its requester gave it back\n"), "{text}");
        assert!(
            text.contains("lent       group docker to what runs under it\nlent       membership of adm, taken back\n"),
            "{text}"
        );
        assert!(text.ends_with("closed     2026-10-04 14:10:01  verified: nothing of it remains\n"), "{text}");
        value["residue"] = json!({"id": "01k6q9v0zz0000000000k3v9tz", "count": 3,
            "items": [{"kind": "at", "change": "new", "name": "/var/spool/cron/atjobs/a00001", "detail": "root's"}]});
        let text = one(&serde_json::from_value(value.clone()).unwrap(), &view());
        let named = "residue    new: at job /var/spool/cron/atjobs/a00001 (root's), 2 more; nobody\n           has looked at it yet\n";
        assert!(text.ends_with(named), "{text}");
        value["residue"]["acknowledged"] = json!({"at": "2026-10-04T12:11:00Z", "user": "bob", "reason": "removed"});
        let text = one(&serde_json::from_value(value).unwrap(), &view());
        assert!(text.contains("acknowledged by bob 2026-10-04 14:11:00: \"removed\""), "{text}");
    }

    #[test]
    fn a_denial_names_its_cause_and_hostile_words_stay_on_their_line() {
        let mut value = role();
        value["reason"] = json!("a\nnow        active\u{1b}[2J");
        value["stage"] = json!("denied");
        value["decision"] =
            json!({"allowed": false, "policy": "", "denial": {"cause": "denied", "detail": ["no\n"], "by": null}});
        let text = one(&serde_json::from_value(value).unwrap(), &view());
        assert!(text.contains("decided    refused: a rule forbids it; no\\u{a}\n"), "{text}");
        assert!(!text.contains('\u{1b}') && text.lines().count() == 5, "{text}");
    }

    #[test]
    fn what_others_were_asked_and_said_is_shown() {
        let mut value = role();
        value["approval"] = json!({
            "asked": ["@leads"], "persons": 1, "answer_by": "2026-10-04T13:00:00Z",
            "yes": [{"at": "2026-10-04T12:00:00Z", "uid": 1002, "user": "bob", "person": null, "window": 600}],
            "refused": {"at": "2026-10-04T12:01:00Z", "uid": 1003, "user": null, "reason": "no\n"},
        });
        let text = one(&serde_json::from_value(value).unwrap(), &view());
        let expected = "approval   asked @leads until 2026-10-04 15:00:00; bob said yes, for at most 10\n           min; #1003 said no: \"no\\u{a}\"\n";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn a_lock_says_whom_by_whom_since_when_and_why() {
        let lock = json!({"user": "bob", "uid": 1002, "since": "2026-10-04T12:00:00Z", "by": "dan", "reason": "left"});
        assert_eq!(
            locked(&serde_json::from_value(lock).unwrap(), &view()),
            "bob by dan since 2026-10-04 14:00:00: \"left\""
        );
    }
}
