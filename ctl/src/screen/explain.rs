//! Why a request would be decided as it would be: the decision first, then every rule that was looked at.

use jitsudo_core::decision::{Auth, Decision, Record, Terms};
use jitsudo_core::explain::{Condition, Considered, Explanation, Truth};

use super::event::refusal;
use super::joined;
use crate::text::{Tone, View, counted, dotted, exact, visible, wrapped};

/// The screen of `jitctl policy explain`.
pub(crate) fn screen(explanation: &Explanation, view: &View) -> String {
    let mut text = String::new();
    match &explanation.decision {
        Decision::Allow(terms) => {
            let rule = format!(
                " by rule \"{}\" ({}), role {}",
                visible(&terms.rule),
                visible(&terms.source),
                visible(&terms.role)
            );
            text.push_str(&format!("{}{}\n", view.paint(Tone::Good, "allowed"), wrapped(&rule, 7, 2)));
            text.push_str(&format!("{}\n", dotted(&of_terms(terms, view), 2)));
        }
        Decision::Deny(denial) => {
            text.push_str(&format!("{}: {}\n", view.paint(Tone::Bad, "refused"), refusal(denial)));
            for line in &denial.detail {
                text.push_str(&format!("  {}\n", wrapped(&visible(line), 2, 4)));
            }
        }
    }
    for rule in &explanation.rules {
        text.push_str(&considered(rule, view));
    }
    if explanation.hidden > 0 {
        let hidden = counted(u64::try_from(explanation.hidden).unwrap_or(u64::MAX), "rule");
        let verb = if explanation.hidden == 1 { "is" } else { "are" };
        text.push_str(&format!("{hidden} that {verb} not about you {verb} not shown\n"));
    }
    text
}

fn of_terms(terms: &Terms, view: &View) -> Vec<String> {
    let mut parts = vec![
        format!("window {}", exact(terms.window)),
        format!("at most {} to run", exact(terms.run_time)),
        format!("starts within {}", exact(terms.start_by)),
    ];
    match terms.auth {
        Auth::None => {}
        Auth::Cached => parts.push("password".to_owned()),
        Auth::Fresh => parts.push("fresh password".to_owned()),
    }
    match terms.approvals {
        0 => parts.push("no approval".to_owned()),
        count => parts.push(counted(u64::from(count), "approval")),
    }
    match terms.record {
        Record::None => {}
        Record::Activity => parts.push("activity recorded".to_owned()),
        Record::Terminal => parts.push("terminal recorded".to_owned()),
    }
    if let Some(end) = terms.not_after {
        parts.push(format!("over at {}", view.date_and_time(end)));
    }
    if terms.finish > 0 {
        parts.push(format!("{} to finish", exact(terms.finish)));
    }
    if !terms.joined.is_empty() {
        parts.push(format!("joined by {}", joined(&terms.joined)));
    }
    parts
}

fn considered(rule: &Considered, view: &View) -> String {
    let mark = if rule.matches { view.paint(Tone::Good, "+") } else { " ".to_owned() };
    let head = format!("{} \"{}\" ({})", visible(&rule.verb), visible(&rule.rule), visible(&rule.source));
    let mut text = format!("{mark} {}\n", wrapped(&head, 2, 4));
    for condition in &rule.conditions {
        text.push_str(&of_condition(condition));
    }
    text
}

fn of_condition(condition: &Condition) -> String {
    let verdict = match condition.verdict {
        Truth::True => "yes    ",
        Truth::False => "no     ",
        Truth::Unknown => "unknown",
    };
    let words = format!("{}: {}", visible(&condition.key), visible(&condition.words));
    format!("    {verdict}  {}\n", wrapped(&words, 13, 13))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::view;
    use serde_json::json;

    fn shown(value: serde_json::Value) -> String {
        screen(&serde_json::from_value(value).unwrap(), &view())
    }

    #[test]
    fn a_refusal_shows_which_condition_failed() {
        let value = json!({
            "decision": {"deny": {"cause": "not_covered", "detail": ["your role web covers `ls`"], "by": null}},
            "rules": [{"verb": "allow", "rule": "web", "source": "10-web.toml:14", "matches": false, "conditions": [
                {"key": "who", "verdict": "true", "words": "alice is alice"},
                {"key": "origin", "verdict": "unknown", "words": "no login is recorded"},
                {"key": "covers", "verdict": "false", "words": "/bin/rm is not in role web"},
            ]}],
            "hidden": 2,
        });
        assert_eq!(
            shown(value),
            "refused: no rule covers it\n  your role web covers `ls`\n  allow \"web\" (10-web.toml:14)\n    \
             yes      who: alice is alice\n    unknown  origin: no login is recorded\n    \
             no       covers: /bin/rm is not in role web\n2 rules that are not about you are not shown\n"
        );
    }

    #[test]
    fn an_allow_shows_the_terms_with_everything_joined() {
        let value = json!({
            "decision": {"allow": {
                "rule": "web", "source": "10-web.toml:14", "role": "web-operator", "window": 1800, "run_time": 43200,
                "start_by": 300, "auth": "none", "approvals": 0, "record": "none", "when_full": false, "not_after": null,
                "finish": 0, "secret_arguments": [], "joined": ["production"],
                "run_as": {"env_keep": [], "env_set": [], "cwd": "caller", "umask": null, "no_new_privs": false,
                    "leaves": false, "safe_chain": true},
            }},
            "rules": [{"verb": "allow", "rule": "web", "source": "10-web.toml:14", "matches": true, "conditions": []}],
            "hidden": 0,
        });
        assert_eq!(
            shown(value),
            "allowed by rule \"web\" (10-web.toml:14), role web-operator\n  \
             window 30 min · at most 12 h to run · starts within 5 min · no approval\n  joined by production\n\
             + allow \"web\" (10-web.toml:14)\n"
        );
    }

    /// alice on web-1 at a terminal, asking to run systemctl as root.
    fn facts() -> jitsudo_core::facts::Facts {
        serde_json::from_value(json!({
            "host": "web-1", "labels": [],
            "requester": {"uid": 1001, "gid": 1001, "name": {"is": "alice"}, "groups": {"is": []}, "process_groups": {"is": []},
                "lent_groups": [], "loginuid": {"is": 1001}, "login_name": {"is": "alice"}, "login_groups": "unknown",
                "home": {"is": "/home/alice"}, "shell": {"is": "/bin/bash"}},
            "origin": {"is": {"terminal": true, "sandbox": false, "unit": null, "console": {"is": false}, "ssh": {"is": false},
                "address": {"is": null}}},
            "target": {"is": {"uid": 0, "name": "root", "gid": 0, "group": null, "groups": [0], "home": "/root", "shell": "/bin/bash"}},
            "executable": {"is": {"Ok": {"path": "/usr/bin/systemctl", "chain": [], "writable_by_others": null, "is_shell": false,
                "same_file_as": []}}},
            "cwd": {"is": "/home/alice"}, "rooted": [],
        }))
        .unwrap()
    }

    #[test]
    fn what_the_evaluator_really_says_fits_the_screen() {
        use jitsudo_core::language::{HostLookup, SourceFile, compile};
        let text = "[roles.web-operator]\nsummary = \"Look after nginx\"\nrun = [\"/usr/bin/systemctl {restart,reload} nginx\"]\n\
             [[allow]]\nname = \"on-call runs the web tier\"\nwho = [\"alice\"]\nroles = [\"web-operator\"]\nauth = \"none\"\n\
             [[allow]]\nname = \"bob's\"\nwho = [\"bob\"]\nroles = [\"web-operator\"]\nauth = \"none\"\n\
             [[deny]]\nname = \"nobody ssh\"\nrun = [\"/usr/bin/systemctl * ssh\"]\n";
        let files = [SourceFile { name: "10-web.toml".to_owned(), bytes: text.as_bytes().to_vec() }];
        let host =
            HostLookup { zone: &|_| None, resolve_directory: &|path| path.to_owned(), group_has_more: &|_| None };
        let policy = compile(&files, &host).unwrap().policy;
        let ask = |words: &[&str]| {
            let mut request: jitsudo_core::request::Request = serde_json::from_value(json!({
                "kind": "command", "argv": [], "role": null, "user": null, "group": null, "reason": null, "ticket": null,
                "window": null, "break_glass": false, "env_names": [], "cwd": null, "terminal": true,
            }))
            .unwrap();
            request.argv = words.iter().map(|word| jitsudo_bytes::Bytes::from(*word)).collect();
            let visible = jitsudo_core::explain::Visible::Own;
            screen(&jitsudo_core::explain::explain(Some(&policy), &facts(), &request, view().now, visible), &view())
        };
        let allowed = ask(&["systemctl", "restart", "nginx"]);
        assert!(allowed.starts_with("allowed by rule \"on-call runs the web tier\" (10-web.toml:4)"), "{allowed}");
        assert!(allowed.contains("+ allow \"on-call runs the web tier\""), "{allowed}");
        let refused = ask(&["systemctl", "stop", "nginx"]);
        assert!(refused.starts_with("refused: no rule covers it\n"), "{refused}");
        assert!(!refused.contains("bob"), "other people's rules are not shown:\n{refused}");
        let offers = jitsudo_core::offers::offers(Some(&policy), &facts(), view().now);
        let offers = crate::screen::roles::list(&offers, &view());
        assert!(offers.starts_with("web-operator  Look after nginx\n    1 h · no approval · as root · "), "{offers}");
        for screen in [allowed, refused, ask(&["systemctl", "restart", "ssh"]), offers] {
            assert!(screen.lines().all(|line| line.chars().count() <= crate::text::WIDTH), "{screen}");
        }
    }
}
