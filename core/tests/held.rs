//! Commands under a role that is held.

mod scene;

use jitsudo_core::held::{Held, under};
use jitsudo_core::lends::{Effect, Lends};
use jitsudo_core::policy::Policy;
use jitsudo_core::request::{Kind, Request};
use scene::{command, facts_for, now, request};

const RULES: &str = r#"
[roles.web-operator]
run = ["/usr/bin/systemctl {restart,reload} nginx"]
[roles.web-all]
includes = ["web-operator"]
run = ["/usr/bin/nginx -t"]
membership = ["adm"]
[[allow]]
name = "web"
who = ["alice"]
roles = ["web-all"]
auth = "fresh"
reason = { min-length = 5 }
hours = [{ days = "mon", start = "00:00", stop = "00:01", zone = "UTC" }]
[[require]]
name = "noted"
run = ["/usr/bin/nginx ..."]
reason = { min-length = 9 }
"#;

fn policy(more: &str) -> Policy {
    scene::policy(&format!("{RULES}{more}"))
}

const HELD: Held<'static> = Held { rule: "web", role: "web-all", reason: Some("a good reason"), ticket: None };

fn is_given(policy: &Policy, words: &str, held: Held<'_>) -> bool {
    let path = format!("/usr/bin/{words}");
    under(policy, &facts_for(&path), &command(&path), held, now()).is_some()
}

#[test]
fn held_role_gives_only_what_it_covers() {
    let policy = policy("");
    assert!(is_given(&policy, "systemctl restart nginx", HELD), "outside of the hours, which were the grant's");
    assert!(is_given(&policy, "nginx -t", HELD));
    assert!(!is_given(&policy, "systemctl restart ssh", HELD));
    assert!(!is_given(&policy, "id", HELD));
    for kind in [Kind::Shell, Kind::LoginShell, Kind::Edit, Kind::Role, Kind::Validate] {
        let asked = Request { role: Some("web-all".to_owned()), ..request(kind) };
        assert!(under(&policy, &facts_for("/usr/bin/bash"), &asked, HELD, now()).is_none(), "{kind:?}");
    }
}

#[test]
fn held_role_asks_for_no_second_proof_and_has_its_own_reason() {
    let path = "/usr/bin/systemctl restart nginx";
    let terms = under(&policy(""), &facts_for(path), &command(path), HELD, now()).unwrap();
    assert_eq!((terms.auth, terms.approvals), (jitsudo_core::decision::Auth::None, 0));
    assert!(!is_given(&policy(""), "nginx -t", Held { reason: Some("short"), ..HELD }), "a require asks for more");
}

#[test]
fn deny_wins_over_a_held_role() {
    let deny = "[[deny]]\nname = \"no\"\nwho = [\"alice\"]\nrun = [\"/usr/bin/nginx ...\"]\nonly-this-path = true\n";
    assert!(!is_given(&policy(deny), "nginx -t", HELD));
    assert!(is_given(&policy(deny), "systemctl restart nginx", HELD));
}

#[test]
fn held_role_whose_rule_is_gone_gives_nothing() {
    let words = "systemctl restart nginx";
    assert!(!is_given(&policy(""), words, Held { rule: "other", ..HELD }));
    assert!(!is_given(&policy(""), words, Held { role: "web-operator", ..HELD }), "the rule does not give that role");
    assert!(!is_given(&policy(""), words, Held { role: "none", ..HELD }));
    let for_bob = scene::policy(&RULES.replace("\"alice\"", "\"bob\""));
    assert!(!is_given(&for_bob, words, HELD));
    let ended = scene::policy(&RULES.replace("auth = \"fresh\"", "not-after = \"2020-01-01T00:00:00Z\""));
    assert!(!is_given(&ended, words, HELD));
}

#[test]
fn another_role_that_is_asked_for_is_not_the_held_one() {
    let path = "/usr/bin/systemctl restart nginx";
    let asked = |role: &str| Request { role: Some(role.to_owned()), ..command(path) };
    assert!(under(&policy(""), &facts_for(path), &asked("web-all"), HELD, now()).is_some());
    assert!(under(&policy(""), &facts_for(path), &asked("web-operator"), HELD, now()).is_none());
}

#[test]
fn lends_what_the_role_and_its_includes_say() {
    let more = "[roles.more]\nincludes = [\"web-all\"]\ngroups = [\"docker\"]\nmembership = [\"adm\", \"www-data\"]\nsudoers = [\"/usr/bin/id\"]\n";
    let lends = Lends::of(&policy(more), "more");
    assert_eq!(lends.groups, ["docker"]);
    let membership = |group: &str| Effect::Membership(group.to_owned());
    assert_eq!(
        lends.effects,
        [membership("adm"), membership("www-data"), Effect::Sudoers(vec!["/usr/bin/id".to_owned()])]
    );
    assert_eq!(Lends::of(&policy(""), "nobody"), Lends::default());
    // Lines that may lack an end: where everybody who wrote one of them says so.
    let accepts = "sudoers-without-end = true\n";
    let inner = "[roles.inner]\nsudoers = [\"/usr/bin/true\"]\n";
    let outer = "[roles.outer]\nincludes = [\"inner\"]\nsudoers = [\"/usr/bin/id\"]\n";
    let both = || vec!["/usr/bin/id".to_owned(), "/usr/bin/true".to_owned()];
    for (text, wanted) in [
        (format!("{inner}{outer}{accepts}"), Effect::Sudoers(both())),
        (format!("{inner}{accepts}{outer}"), Effect::Sudoers(both())),
        (format!("{inner}{accepts}{outer}{accepts}"), Effect::SudoersWithoutEnd(both())),
    ] {
        assert_eq!(Lends::of(&policy(&text), "outer").effects, [wanted], "{text}");
    }
}
