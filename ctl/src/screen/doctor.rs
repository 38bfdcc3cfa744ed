//! What the doctor found: a line each, with the command that mends it.

use serde_json::{Value, json};

use crate::privileges::Verdict;
use crate::text::{Tone, View, counted, padded, short_id, visible, wrapped};

/// Column at which a check's words begin.
const COLUMN: usize = 15;

/// How something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Health {
    /// As it should be.
    Ok,
    /// It works, but not all of it, or not for long.
    Warn,
    /// Broken.
    Bad,
}

impl Health {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) health: Health,
    pub(crate) words: String,
    /// The command that mends it, or shows more.
    pub(crate) next: Option<&'static str>,
}

impl Check {
    pub(crate) fn ok(name: &'static str, words: String) -> Self {
        Self { name, health: Health::Ok, words, next: None }
    }

    pub(crate) fn warn(name: &'static str, words: String, next: &'static str) -> Self {
        Self { name, health: Health::Warn, words, next: Some(next) }
    }

    pub(crate) fn bad(name: &'static str, words: String, next: &'static str) -> Self {
        Self { name, health: Health::Bad, words, next: Some(next) }
    }
}

/// The screen of `jitctl doctor`.
pub(crate) fn screen(checks: &[Check], view: &View) -> String {
    let mut text = String::new();
    for check in checks {
        let words = wrapped(&visible(&check.words), COLUMN, COLUMN);
        text.push_str(&format!("{}  {}{words}\n", mark(check.health, view), padded(check.name, 9)));
        if let Some(next) = check.next {
            text.push_str(&format!("{}{next}\n", " ".repeat(COLUMN)));
        }
    }
    text
}

fn mark(health: Health, view: &View) -> String {
    let word = padded(health.word(), 4);
    match health {
        Health::Ok => view.paint(Tone::Good, &word),
        Health::Warn => view.paint(Tone::Strong, &word),
        Health::Bad => view.paint(Tone::Bad, &word),
    }
}

/// The same as JSON.
pub(crate) fn as_json(checks: &[Check]) -> Value {
    let well = !checks.iter().any(|check| check.health == Health::Bad);
    let checks = checks.iter().map(
        |check| json!({"name": check.name, "health": check.health.word(), "words": check.words, "next": check.next}),
    );
    json!({"well": well, "checks": checks.collect::<Vec<_>>()})
}

/// The screen of `jitctl doctor --privileges`.
pub(crate) fn privileges_screen(verdict: &Verdict, view: &View) -> String {
    let mut text = String::new();
    for finding in &verdict.findings {
        let health = if finding.known { Health::Warn } else { Health::Bad };
        let grant = finding.grant.as_ref().map_or_else(String::new, |id| format!(" ({})", short_id(id.as_str())));
        let words = format!("{}{grant}: {}", visible(&finding.what), visible(&finding.why));
        text.push_str(&format!("{}  {}\n", mark(health, view), wrapped(&words, 6, 6)));
    }
    let compared = format!(
        "{} compared with {} of {} proved",
        counted(verdict.privileges, "privilege"),
        counted(verdict.grants, "live grant"),
        counted(verdict.events, "event"),
    );
    let all = if verdict.findings.is_empty() {
        Health::Ok
    } else if verdict.holds() {
        Health::Warn
    } else {
        Health::Bad
    };
    text.push_str(&format!("{}  {compared}\n", mark(all, view)));
    text
}

/// The same as JSON.
pub(crate) fn privileges_as_json(verdict: &Verdict) -> Value {
    let findings = verdict.findings.iter().map(|finding| {
        json!({"kind": finding.kind.name(), "grant": finding.grant.as_ref().map(ToString::to_string),
            "what": finding.what, "why": finding.why, "known": finding.known})
    });
    json!({
        "holds": verdict.holds(),
        "grants": verdict.grants,
        "privileges": verdict.privileges,
        "events": verdict.events,
        "spooled": verdict.spooled,
        "findings": findings.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privileges::{Finding, Kind};
    use crate::text::tests::view;

    #[test]
    fn each_check_is_a_line_and_a_bad_one_says_what_mends_it() {
        let checks = [
            Check::ok("ledger", "18 204 events proved".to_owned()),
            Check::warn("policy", "none was applied".to_owned(), "jitctl policy apply"),
            Check::bad("sweep", "its timer does not run".to_owned(), "systemctl start jitsudo-sweep.timer"),
        ];
        assert_eq!(
            screen(&checks, &view()),
            "ok    ledger   18 204 events proved\nwarn  policy   none was applied\n               jitctl policy apply\n\
             bad   sweep    its timer does not run\n               systemctl start jitsudo-sweep.timer\n"
        );
        assert_eq!(as_json(&checks)["well"], false);
        assert_eq!(as_json(&checks[..2])["checks"][1]["health"], "warn");
    }

    #[test]
    fn privilege_that_nobody_gave_is_named_with_its_grant() {
        let finding = |known| Finding {
            kind: Kind::Group,
            grant: Some("01jd0000000000000000k3v9tz".parse().unwrap()),
            what: "alice in group adm (/etc/group)".to_owned(),
            why: "its grant is over for 70 s".to_owned(),
            known,
        };
        let verdict = |findings| Verdict { grants: 1, privileges: 4, events: 1200, spooled: 0, findings };
        assert_eq!(
            privileges_screen(&verdict(vec![finding(false)]), &view()),
            "bad   alice in group adm (/etc/group) (k3v9tz): its grant is over for 70 s\n\
             bad   4 privileges compared with 1 live grant of 1 200 events proved\n"
        );
        assert!(privileges_screen(&verdict(vec![finding(true)]), &view()).starts_with("warn  alice in group adm"));
        assert!(privileges_screen(&verdict(Vec::new()), &view()).starts_with("ok    4 privileges compared"));
        let json = privileges_as_json(&verdict(vec![finding(false)]));
        assert_eq!((&json["holds"], &json["findings"][0]["kind"]), (&json!(false), &json!("group")));
    }
}
