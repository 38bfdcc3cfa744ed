//! Roles that are held: whose, until when, and what runs under them.

use jitsudo_core::lends::Effect;

use crate::records::Grant;
use crate::text::{Tone, View, counted, dotted, short_id, visible, wrapped};

/// Of what could not be taken back yet.
const AGAIN: &str = "tried again until it is done";

/// A block for each.
pub(crate) fn list(grants: &[Grant], view: &View) -> String {
    grants.iter().map(|grant| block(grant, view)).collect()
}

fn block(grant: &Grant, view: &View) -> String {
    let id = short_id(&grant.id);
    let who = match (&grant.user, grant.uid) {
        (Some(user), _) => visible(user),
        (None, Some(uid)) => format!("#{uid}"),
        (None, None) => "?".to_owned(),
    };
    let head = format!("{who}  role {}", role(grant));
    let column = id.chars().count() + 2;
    let mut parts = vec![stage(grant, view)];
    if let Some(cause) = &grant.not_clean {
        parts.extend([visible(cause), AGAIN.to_owned()]);
    }
    if let Some(sessions) = grant.sessions {
        parts.push(format!("{} running", counted(sessions, "command")));
    }
    for group in grant.groups.iter().filter_map(|group| group.name.as_deref()) {
        parts.push(format!("lends group {}", visible(group)));
    }
    parts.extend(grant.lent.iter().map(lent));
    if let Some(rule) = &grant.rule {
        parts.push(format!("rule \"{}\"", visible(rule)));
    }
    if let Some(reason) = &grant.reason {
        parts.push(format!("\"{}\"", visible(reason)));
    }
    format!("{}  {}\n{}\n", view.paint(Tone::Strong, &id), wrapped(&head, column, 4), dotted(&parts, 4))
}

/// A change to the host, and what it does not do.
pub(crate) fn lent(effect: &Effect) -> String {
    let words = visible(&effect.to_string());
    match effect {
        Effect::Membership(_) => format!("{words} (a shell that runs already does not gain it)"),
        Effect::Sudoers(_) | Effect::SudoersWithoutEnd(_) | Effect::Login(_) => words,
    }
}

/// What its end waits for.
pub(crate) fn not_clean(cause: &str) -> String {
    format!("{}; {AGAIN}", visible(cause))
}

/// Its name.
pub(crate) fn role(grant: &Grant) -> String {
    grant.role.as_deref().map_or_else(|| "?".to_owned(), visible)
}

/// How far it is.
pub(crate) fn stage(grant: &Grant, view: &View) -> String {
    match (grant.stage.as_deref(), grant.ends_at) {
        (Some("activating"), _) => "not given yet".to_owned(),
        (Some("ending"), _) => grant.processes_end_at.map_or_else(
            || "ending".to_owned(),
            |until| format!("ending, what runs may finish: that ends {}", view.until(until)),
        ),
        (_, Some(end)) => format!("ends {}", view.until(end)),
        (_, None) => "active".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::text::tests::view;
    use serde_json::json;

    pub(crate) fn held() -> Grant {
        serde_json::from_value(json!({
            "id": "01k6q9v0zz0000000000k3v9tz", "user": "alice", "uid": 1001, "role": "web-operator", "rule": "web",
            "reason": "roll out", "ends_at": "2026-10-04T12:27:00Z", "stage": "active", "sessions": 2, "later": true,
        }))
        .unwrap()
    }

    #[test]
    fn a_role_that_is_held_says_until_when_and_what_runs() {
        assert_eq!(
            list(&[held()], &view()),
            "k3v9tz  alice  role web-operator\n    ends in 12 min · 2 commands running · rule \"web\" · \"roll out\"\n"
        );
        let group = json!([{"gid": 999, "name": "docker"}, {"gid": 7, "name": null}]);
        let lends = Grant { groups: serde_json::from_value(group).unwrap(), sessions: None, rule: None, ..held() };
        assert!(list(&[lends], &view()).contains("    ends in 12 min · lends group docker · \"roll out\"\n"));
        let lent = json!([{"membership": "adm"}, {"sudoers": ["/usr/bin/id"]}]);
        let lent =
            Grant { lent: serde_json::from_value(lent).unwrap(), sessions: None, rule: None, reason: None, ..held() };
        assert_eq!(
            list(&[lent], &view()),
            "k3v9tz  alice  role web-operator\n    ends in 12 min\n    membership of adm (a shell that runs already does not gain it)\n    1 sudoers line\n"
        );
        let ending = || Grant { stage: Some("ending".into()), sessions: None, rule: None, reason: None, ..held() };
        assert_eq!(list(&[ending()], &view()), "k3v9tz  alice  role web-operator\n    ending\n");
        let cause = "cannot take alice out of adm: the group file is locked by vim (pid 812)";
        let waits = Grant { not_clean: Some(cause.into()), ..ending() };
        assert_eq!(
            list(&[waits], &view()),
            format!("k3v9tz  alice  role web-operator\n    ending\n    {cause}\n    tried again until it is done\n")
        );
        let finishing = Grant {
            processes_end_at: held().ends_at,
            stage: Some("ending".into()),
            sessions: None,
            rule: None,
            reason: None,
            ..held()
        };
        assert_eq!(
            list(&[finishing], &view()),
            "k3v9tz  alice  role web-operator\n    ending, what runs may finish: that ends in 12 min\n"
        );
    }
}
