//! What a requester reads of their rights, and that it is so.

mod scene;

use jitsudo_core::facts::Fact;
use jitsudo_core::listing::{Given, Listed, list};
use jitsudo_core::name::Uid;
use scene::{alice, decide, facts_for, is_allowed, now, policy};

const ROLES: &str = r#"
[roles.web]
run = ["/usr/bin/systemctl {restart,reload} nginx", "/usr/bin/id"]
edit = ["/etc/nginx/*"]
[roles.dba]
includes = ["web"]
run = ["/usr/bin/psql"]
as = ["postgres", "bob:adm", ":docker"]
[roles.all]
run = ["ALL"]
shell = true
as = ["ALL:ALL"]
[roles.docker]
groups = ["docker"]
[roles.whole]
run = ["/usr/bin/id"]
membership = ["docker"]
"#;

fn with(rules: &str) -> Vec<Listed> {
    list(Some(&policy(&format!("{ROLES}{rules}"))), &alice(), now())
}

fn lines(listed: &[Listed]) -> Vec<String> {
    let line = |one: &Listed| {
        let gives: Vec<String> = one
            .gives
            .iter()
            .map(|given| match given {
                Given::Command(words) => words.clone(),
                Given::Shell => "SHELL".to_owned(),
                Given::Edit(path) => format!("-e {path}"),
                Given::WithGroup(group) => format!("+{group}"),
                Given::Other(words) => format!("whole: {words}"),
            })
            .collect();
        format!("{} ({}:{}) {}", one.offer.role, one.users.join(","), one.groups.join(","), gives.join(" | "))
    };
    listed.iter().map(line).collect()
}

#[test]
fn parts_of_a_role_keep_their_own_accounts() {
    let dba = with("[[allow]]\nname = \"r\"\nwho = [\"alice\"]\nroles = [\"dba\"]\n");
    let mut lines = lines(&dba);
    lines.sort();
    assert_eq!(
        lines,
        [
            "dba (alice:docker) /usr/bin/psql",
            "dba (bob:adm) /usr/bin/psql",
            "dba (postgres:) /usr/bin/psql",
            "dba (root:) /usr/bin/id | /usr/bin/systemctl {restart,reload} nginx | -e /etc/nginx/*",
        ]
    );
}

#[test]
fn rules_of_others_and_of_other_hosts_are_never_listed() {
    assert!(with("[[allow]]\nname = \"r\"\nwho = [\"bob\"]\nroles = [\"all\"]\n").is_empty());
    assert!(with("[[allow]]\nname = \"r\"\nwho = [\"alice\"]\nroles = [\"all\"]\nhosts = [\"db-*\"]\n").is_empty());
    assert!(list(None, &alice(), now()).is_empty());
}

#[test]
fn a_rule_for_whole_roles_gives_no_single_command() {
    let listed = with("[[allow]]\nname = \"r\"\nwho = [\"alice\"]\nroles = [\"whole\"]\ngrant = \"role\"\n");
    assert_eq!(lines(&listed), ["whole (root:) whole: membership of docker"]);
    let both = with("[[allow]]\nname = \"r\"\nwho = [\"alice\"]\nroles = [\"whole\"]\n");
    assert_eq!(lines(&both), ["whole (root:) /usr/bin/id | whole: membership of docker"]);
    let docker = with("[[allow]]\nname = \"r\"\nwho = [\"alice\"]\nroles = [\"docker\"]\n");
    assert_eq!(lines(&docker), ["docker (alice:) +docker"]);
}

#[test]
fn a_deny_of_a_command_limits_a_role_and_takes_its_shells() {
    let allow = "[[allow]]\nname = \"r\"\nwho = [\"alice\"]\nroles = [\"all\"]\n";
    let deny = "[[deny]]\nname = \"d\"\nwho = [\"%oncall\"]\n";
    let free = with(allow);
    assert_eq!(lines(&free), ["all (ALL:ALL) ALL | SHELL"]);
    assert!(!free[0].offer.limited);
    let limited = with(&format!("{allow}{deny}run = [\"/usr/bin/su\"]\n"));
    assert_eq!(lines(&limited), ["all (ALL:ALL) ALL"]);
    assert!(limited[0].offer.limited);
    let shells = with(&format!("{allow}{deny}shell = true\n"));
    assert_eq!(lines(&shells), ["all (ALL:ALL) ALL"]);
    assert!(with(&format!("{allow}{deny}")).is_empty());
    assert!(with(&format!("{allow}{deny}roles = [\"all\"]\n")).is_empty());
}

#[test]
fn what_is_listed_is_what_is_decided() {
    let allow = |role: &str| format!("[[allow]]\nname = \"r-{role}\"\nwho = [\"alice\"]\nroles = [\"{role}\"]\n");
    let denies = [
        "",
        "[[deny]]\nname = \"d\"\nwho = [\"%oncall\"]\nrun = [\"/usr/bin/su\"]\n",
        "[[deny]]\nname = \"d\"\nwho = [\"%oncall\"]\n",
        "[[deny]]\nname = \"d\"\nwho = [\"bob\"]\n",
        "[[deny]]\nname = \"d\"\nwho = [\"%oncall\"]\nroles = [\"web\"]\n",
    ];
    for role in ["web", "all", "whole", "docker"] {
        for deny in denies {
            let policy = policy(&format!("{ROLES}{}{deny}", allow(role)));
            let facts = facts_for("/usr/bin/id");
            let allowed = is_allowed(&decide(&policy, "/usr/bin/id"));
            let names =
                |given: &Given| matches!(given, Given::Command(words) if words == "ALL" || words == "/usr/bin/id");
            let listed = list(Some(&policy), &facts, now()).iter().any(|one| one.gives.iter().any(names));
            assert_eq!(listed, allowed, "{role} {deny}");
        }
    }
}

#[test]
fn root_may_everything_and_a_person_who_became_root_what_the_rules_say() {
    let mut root = alice();
    root.requester.uid = Uid(0);
    root.requester.loginuid = Fact::Is(None);
    let listed = list(None, &root, now());
    assert_eq!(lines(&listed), ["root-is-root (ALL:ALL) ALL"]);
    root.requester.loginuid = Fact::Is(Some(Uid(1001)));
    assert!(list(None, &root, now()).is_empty());
}
