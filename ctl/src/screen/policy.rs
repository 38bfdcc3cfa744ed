//! The policy in force, and what an apply would change.

use crate::records::{Applied, PolicyStatus};
use crate::text::{View, counted, digest, short_id, visible, visible_lines, wrapped};

/// The screen of `jitctl policy status`.
pub(crate) fn status(status: &PolicyStatus, view: &View) -> String {
    if let Some(trouble) = &status.trouble {
        return format!("{}\n  hint: jitctl policy apply\n", visible(trouble));
    }
    let Some(policy) = &status.policy else {
        return "no policy is applied: nobody is allowed anything but root\n  hint: jitctl policy apply\n".to_owned();
    };
    let mut text = format!("policy   {}\n", visible(policy));
    if let (Some(rules), Some(roles)) = (status.rules, status.roles) {
        text.push_str(&format!("rules    {}, {}\n", counted(rules, "rule"), counted(roles, "role")));
    }
    if !status.files.is_empty() {
        let files: Vec<String> = status.files.iter().map(|file| visible(file)).collect();
        text.push_str(&format!("files    {}\n", wrapped(&files.join(", "), 9, 9)));
    }
    if let Some(when) = status.applied_at {
        text.push_str(&format!("applied  {}", view.date_and_time(when)));
        if let Some(who) = &status.applied_by {
            text.push_str(&format!(" by {}", visible(who)));
        }
        text.push('\n');
    }
    text
}

/// What an apply would put in force.
pub(crate) fn change(applied: &Applied) -> String {
    let before = applied.previous.as_deref().map_or_else(|| "none".to_owned(), digest);
    let summary = format!(
        "policy {} (in force now: {before}): {} and {} from {}",
        digest(&applied.policy),
        counted(applied.rules, "rule"),
        counted(applied.roles, "role"),
        counted(applied.files.len() as u64, "file"),
    );
    let mut text = format!("{}\n", wrapped(&summary, 0, 2));
    for (sign, names) in [("+", &applied.added), ("-", &applied.removed), ("~", &applied.changed)] {
        for name in names {
            text.push_str(&format!("  {sign} {}\n", visible(name)));
        }
    }
    if applied.added.is_empty() && applied.removed.is_empty() && applied.changed.is_empty() {
        text.push_str("  = nothing changes\n");
    }
    for ending in &applied.ends {
        let (id, user, role) = (short_id(&ending.id), visible(&ending.user), visible(&ending.role));
        text.push_str(&format!("  ends: {id}  {user}  role {role}\n"));
    }
    if applied.more_end > 0 {
        text.push_str(&format!("  ends: {} more\n", counted(applied.more_end, "role")));
    }
    if !applied.warnings.is_empty() {
        text.push_str(&visible_lines(&applied.warnings));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::WouldEnd;
    use crate::text::tests::view;

    #[test]
    fn a_change_says_which_rules_come_go_and_differ() {
        let applied = Applied {
            policy: "4f2a91c03d2e".to_owned() + &"0".repeat(52),
            rules: 3,
            roles: 1,
            files: vec!["10-web.toml".to_owned()],
            added: vec!["allow on-call runs the web tier".to_owned()],
            removed: vec!["old\u{1b}[2J".to_owned()],
            changed: vec!["nights".to_owned()],
            warnings: "warning: x\n  = hint: y".to_owned(),
            ends: vec![WouldEnd {
                id: "01k6q9v0zz0000000000k3v9tz".to_owned(),
                user: "alice".to_owned(),
                role: "docker".to_owned(),
            }],
            more_end: 2,
            ..Applied::default()
        };
        assert_eq!(
            change(&applied),
            "policy 4f2a91c03d2e (in force now: none): 3 rules and 1 role from 1 file\n  + allow on-call runs the web tier\n  \
             - old\\u{1b}[2J\n  ~ nights\n  ends: k3v9tz  alice  role docker\n  ends: 2 roles more\nwarning: x\n  = hint: y\n"
        );
    }

    #[test]
    fn status_tells_digest_files_and_who_applied_it() {
        let shown = PolicyStatus {
            policy: Some("ab".repeat(32)),
            rules: Some(1),
            roles: Some(2),
            files: vec!["/etc/jitsudo/policy.d/10-web.toml".to_owned()],
            applied_at: Some("2026-10-04T12:00:00Z".parse().unwrap()),
            applied_by: Some("root".to_owned()),
            trouble: None,
        };
        assert_eq!(
            status(&shown, &view()),
            format!(
                "policy   {}\nrules    1 rule, 2 roles\nfiles    /etc/jitsudo/policy.d/10-web.toml\napplied  2026-10-04 14:00:00 by root\n",
                "ab".repeat(32)
            )
        );
        let broken = PolicyStatus { trouble: Some("cannot use it: \u{7}".to_owned()), ..PolicyStatus::default() };
        assert_eq!(status(&broken, &view()), "cannot use it: \\u{7}\n  hint: jitctl policy apply\n");
        assert!(status(&PolicyStatus::default(), &view()).starts_with("no policy is applied"));
    }
}
