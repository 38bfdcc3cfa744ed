//! Where do I stand: what is active and what may be asked for.

use super::{access, grants, roles, sessions};
use crate::records::Standing;
use crate::text::{View, counted, padded, short_id, visible, wrapped};

/// The screen of `jitctl` without a verb.
pub(crate) fn screen(standing: &Standing, view: &View) -> String {
    let mut text = String::new();
    if let Some(lock) = &standing.locked {
        let words = format!("{}; nothing is given", access::locked(lock, view));
        text.push_str(&format!("{}{}\n", padded("locked", 11), wrapped(&words, 11, 11)));
    }
    for grant in &standing.grants {
        let id = short_id(&grant.id);
        let mut words = format!("{id}  role {}, {}", grants::role(grant), grants::stage(grant, view));
        if grant.stage.as_deref() == Some("active") {
            words.push_str(&format!(": jitsudo CMD uses it, `jitctl release {id}` gives it back"));
        }
        text.push_str(&format!("{}{}\n", padded("held", 11), wrapped(&words, 11, 11)));
    }
    for session in &standing.active {
        let mut words = format!("{}  {}", short_id(&session.session), sessions::what(session));
        if let Some(target) = &session.target {
            words.push_str(&format!(" as {}", visible(target)));
        }
        if let Some(end) = session.ends_at {
            words.push_str(&format!(", ends {}", view.until(end)));
        }
        if let Some(running) = session.running {
            words.push_str(&format!(", {} running", counted(running, "program")));
        }
        text.push_str(&format!("{}{}\n", padded("active", 11), wrapped(&words, 11, 11)));
    }
    for residue in &standing.residue {
        let id = short_id(&residue.id);
        let things = counted(residue.count, "thing");
        let words =
            format!("{id}  {things} not as before: `jitctl residue` names them, an administrator acknowledges it");
        text.push_str(&format!("{}{}\n", padded("residue", 11), wrapped(&words, 11, 11)));
    }
    if text.is_empty() {
        text.push_str("nothing is active\n");
    }
    if standing.policy.is_none() {
        text.push_str("this host has no rules yet\n  hint: an administrator puts files into /etc/jitsudo/policy.d and runs `jitctl policy apply`\n");
        return text;
    }
    if standing.locked.is_some() {
        return text;
    }
    if standing.offers.is_empty() {
        text.push_str(&format!("no rule gives you anything on {}\n", visible(&standing.host)));
        return text;
    }
    let offers: Vec<String> = standing.offers.iter().map(|offer| roles::short(offer, view)).collect();
    let lead = "you may ask for: ";
    text.push_str(&format!("{lead}{}\n", wrapped(&offers.join(", "), lead.len(), 4)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::grants::tests::held;
    use crate::screen::roles::tests::offer;
    use crate::screen::sessions::tests::running;
    use crate::text::tests::view;

    #[test]
    fn what_is_active_comes_first_then_what_may_be_asked_for() {
        let standing = Standing {
            host: "web-1".to_owned(),
            policy: Some("ab".repeat(32)),
            active: vec![serde_json::from_value(running()).unwrap()],
            grants: vec![held()],
            residue: vec![crate::screen::residue::tests::left()],
            offers: vec![offer("web-operator"), offer("docker")],
            locked: None,
        };
        assert_eq!(
            screen(&standing, &view()),
            "held       k3v9tz  role web-operator, ends in 12 min: jitsudo CMD uses it,\n           \
             `jitctl release k3v9tz` gives it back\n\
             active     k3v9tz.1  tail -f /var/log/nginx/error.log as root, ends in 12 min, 1\n           \
             program running\n\
             residue    k3v9tz  2 things not as before: `jitctl residue` names them, an\n           \
             administrator acknowledges it\nyou may ask for: web-operator (30 min, no approval), docker (30 min, no\n    approval)\n"
        );
    }

    #[test]
    fn a_host_without_rules_says_who_can_change_that() {
        let text = screen(&Standing::default(), &view());
        assert!(text.starts_with("nothing is active\nthis host has no rules yet\n  hint: "), "{text}");
    }

    #[test]
    fn a_person_whom_no_rule_names_is_told_so_and_not_others_rules() {
        let standing = Standing { host: "web-1".to_owned(), policy: Some("ab".repeat(32)), ..Standing::default() };
        assert_eq!(screen(&standing, &view()), "nothing is active\nno rule gives you anything on web-1\n");
    }

    #[test]
    fn who_is_locked_reads_by_whom_and_why() {
        let lock = serde_json::json!({"user": "alice", "uid": 1001, "since": "2026-10-04T12:00:00Z", "by": "dan", "reason": "left"});
        let locked = serde_json::from_value(lock).ok();
        let standing = Standing { policy: Some("ab".repeat(32)), locked, ..Standing::default() };
        assert_eq!(
            screen(&standing, &view()),
            "locked     alice by dan since 2026-10-04 14:00:00: \"left\"; nothing is given\n"
        );
    }
}
