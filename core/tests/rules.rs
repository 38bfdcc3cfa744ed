//! Conditions, terms and the algorithm, as tables over one policy each.

mod scene;

use jitsudo_bytes::Bytes;
use jitsudo_core::decision::{Cause, Decision};
use jitsudo_core::evaluate::evaluate;
use jitsudo_core::facts::{Fact, Facts};
use jitsudo_core::name::{Gid, Uid};
use jitsudo_core::policy::Policy;
use jitsudo_core::request::{Kind, Request};
use scene::{
    account, alice, allowed, command, denied, facts_for, group, is_allowed, lending, now, policy, program, request,
};

/// One role that everything may be asked of, and an allow whose conditions the caller writes.
fn allow_if(conditions: &str) -> Policy {
    policy(&format!(
        "[roles.r]\nrun = [\"/usr/bin/x <any...>\"]\n[[allow]]\nname = \"a\"\nwho = [\"ALL\"]\nroles = [\"r\"]\nauth = \"none\"\n{conditions}\n"
    ))
}

/// The same with a deny of those conditions.
fn deny_if(conditions: &str) -> Policy {
    policy(&format!(
        "[roles.r]\nrun = [\"/usr/bin/x <any...>\", \"/usr/bin/y <any...>\", \"ALL\"]\nshell = true\n\
         [[allow]]\nname = \"a\"\nwho = [\"ALL\"]\nroles = [\"r\"]\nauth = \"none\"\norigin = [\"terminal\", \"no-terminal\", \"sandbox\", \"unit:cron.service\"]\n[[deny]]\nname = \"d\"\n{conditions}\n"
    ))
}

fn x(policy: &Policy, facts: &Facts) -> Decision {
    let mut facts = facts.clone();
    facts.executable = program("/usr/bin/x");
    evaluate(Some(policy), &facts, &command("/usr/bin/x"), now())
}

#[test]
fn conditions_of_an_allow_hold_only_when_known_and_true() {
    let change = |change: &dyn Fn(&mut Facts)| {
        let mut facts = alice();
        change(&mut facts);
        facts
    };
    let origin = |change: &dyn Fn(&mut jitsudo_core::facts::Origin)| {
        let mut facts = alice();
        if let Fact::Is(origin) = &mut facts.origin {
            change(origin);
        }
        facts
    };
    let plain = alice();
    for (conditions, facts, wanted) in [
        ("hosts = [\"web-*\"]", plain.clone(), true),
        ("hosts = [\"db-*\"]", plain.clone(), false),
        ("hosts = [\"label:prod\"]", plain.clone(), true),
        ("hosts = [\"label:test\"]", plain.clone(), false),
        ("hosts = [\"web-*\"]", change(&|facts| facts.host.clear()), false),
        ("origin = [\"ssh\"]", plain.clone(), true),
        ("origin = [\"console\"]", plain.clone(), false),
        ("origin = [\"ssh:10.0.0.0/8\"]", plain.clone(), true),
        ("origin = [\"ssh:192.0.2.0/24\"]", plain.clone(), false),
        ("origin = [\"ssh:10.0.0.0/8\"]", origin(&|origin| origin.address = Fact::Unknown), false),
        ("origin = [\"ssh\"]", change(&|facts| facts.origin = Fact::Unknown), false),
        ("", change(&|facts| facts.origin = Fact::Unknown), false),
        ("", origin(&|origin| origin.sandbox = true), false),
        ("", origin(&|origin| origin.unit = Some("cron.service".to_owned())), false),
        ("", origin(&|origin| origin.terminal = false), true),
        ("origin = [\"sandbox\"]", origin(&|origin| origin.sandbox = true), true),
        ("origin = [\"terminal\"]", origin(&|origin| origin.sandbox = true), false),
        ("origin = [\"unit:cron.service\"]", origin(&|origin| origin.unit = Some("cron.service".to_owned())), true),
        ("origin = [\"unit:cron\"]", origin(&|origin| origin.unit = Some("cron.service".to_owned())), false),
        (
            "hours = [{ days = \"fri\", start = \"08:00\", stop = \"18:00\", zone = \"Europe/Paris\" }]",
            plain.clone(),
            true,
        ),
        (
            "hours = [{ days = \"sat\", start = \"08:00\", stop = \"18:00\", zone = \"Europe/Paris\" }]",
            plain.clone(),
            false,
        ),
        ("hours = [{ start = \"11:30\", stop = \"18:00\", zone = \"UTC\" }]", plain.clone(), false),
        ("not-before = \"2026-11-20T12:00:00+01:00\"", plain.clone(), false),
        ("not-before = \"2026-11-20T11:59:59+01:00\"", plain.clone(), true),
        ("not-after = \"2026-11-20T12:00:00+01:00\"", plain.clone(), false),
        ("not-after = 2026-11-20T12:00:01+01:00", plain.clone(), true),
        ("except = { who = [\"%oncall\"] }", plain.clone(), false),
        ("except = { who = [\"bob\"] }", plain.clone(), true),
        ("except = [{ who = [\"bob\"] }, { hosts = [\"web-*\"] }]", plain.clone(), false),
        (
            "except = { who = [\"%nobody-here\"] }",
            change(&|facts| facts.requester.process_groups = Fact::Unknown),
            false,
        ),
        ("except = { hosts = [\"web-*\"], except = { who = [\"alice\"] } }", plain.clone(), true),
        ("run = [\"/usr/bin/x\"]", plain.clone(), true),
        ("as = [\"root\"]", plain.clone(), true),
        ("as = [\"bob\"]", plain.clone(), false),
        ("shell = false", plain.clone(), true),
        ("", change(&|facts| facts.target = Fact::Unknown), false),
    ] {
        assert_eq!(is_allowed(&x(&allow_if(conditions), &facts)), wanted, "{conditions} with {facts:?}");
    }
}

#[test]
fn conditions_of_a_deny_hold_also_when_unknown() {
    let change = |change: &dyn Fn(&mut Facts)| {
        let mut facts = alice();
        change(&mut facts);
        facts
    };
    let plain = alice();
    for (conditions, facts, stops) in [
        ("who = [\"bob\"]", plain.clone(), false),
        ("who = [\"%oncall\"]\nhosts = [\"web-*\"]", plain.clone(), true),
        (
            "who = [\"%contractors\"]",
            change(&|facts| facts.requester.process_groups = Fact::Is([group(9, "contractors")].into())),
            true,
        ),
        ("who = [\"%contractors\"]", change(&|facts| facts.requester.process_groups = Fact::Unknown), true),
        ("who = [\"%contractors\"]", change(&|facts| facts.requester.lent_groups = [Gid(9)].into()), false),
        (
            "origin = [\"ssh:192.0.2.0/24\"]",
            change(&|facts| {
                if let Fact::Is(origin) = &mut facts.origin {
                    origin.address = Fact::Unknown;
                }
            }),
            true,
        ),
        ("origin = [\"sandbox\"]", plain.clone(), false),
        ("run = [\"/usr/bin/x\"]", plain.clone(), true),
        ("run = [\"/usr/bin/y\"]", plain.clone(), false),
        ("run = [\"/usr/bin/y\"]\nexcept = { who = [\"bob\"] }", plain.clone(), false),
        ("run = [\"/usr/bin/x\"]\nexcept = { who = [\"alice\"] }", plain.clone(), false),
        ("run = [\"/usr/bin/x\"]\nexcept = { hosts = [\"db-*\"] }", plain.clone(), true),
        ("hosts = [\"db-*\"]", change(&|facts| facts.host.clear()), true),
    ] {
        assert_eq!(!is_allowed(&x(&deny_if(conditions), &facts)), stops, "{conditions} with {facts:?}");
    }
}

#[test]
fn deny_of_a_program_also_refuses_shells_unless_only_this_path() {
    let wide = deny_if("run = [\"/usr/bin/y\"]");
    let narrow = deny_if("run = [\"/usr/bin/y\"]\nonly-this-path = true");
    let mut facts = alice();
    facts.executable = program("/usr/bin/bash");
    for (request, denied_by_wide) in [
        (request(Kind::Shell), true),
        (request(Kind::LoginShell), true),
        (command("/usr/bin/bash"), true),
        (command("/usr/bin/bash -c y"), true),
        (Request { role: Some("r".to_owned()), ..request(Kind::Role) }, true),
    ] {
        assert_eq!(!is_allowed(&evaluate(Some(&wide), &facts, &request, now())), denied_by_wide, "{request:?}");
        assert!(is_allowed(&evaluate(Some(&narrow), &facts, &request, now())), "{request:?}");
    }
    let mut same = facts_for("/tmp/copy");
    if let Fact::Is(Ok(executable)) = &mut same.executable {
        executable.same_file_as.insert("/usr/bin/y".to_owned());
    }
    let decision = evaluate(Some(&narrow), &same, &command("/tmp/copy"), now());
    assert_eq!(denied(decision).by.as_deref(), Some("d"), "a hard link is the same program");
    assert_eq!(wide.deny_programs(), ["/usr/bin/y"]);
}

#[test]
fn identity_nss_05_only_the_exact_account_matches() {
    let rules = policy(
        "[roles.r]\nrun = [\"/usr/bin/x\"]\n[[allow]]\nname = \"a\"\nwho = [\"alice\", \"#1005\", \"%db\", \"%#77\"]\nroles = [\"r\"]\n",
    );
    let who = |name: &str, uid: u32, groups: &[(u32, &str)]| {
        let mut facts = alice();
        facts.requester.name = Fact::Is(name.to_owned());
        facts.requester.uid = Uid(uid);
        facts.requester.groups = Fact::Is(groups.iter().map(|(gid, name)| group(*gid, name)).collect());
        is_allowed(&x(&rules, &facts))
    };
    assert!(who("alice", 1001, &[]));
    assert!(who("carol", 1005, &[]));
    assert!(who("carol", 1006, &[(5, "db")]));
    assert!(who("carol", 1006, &[(77, "x")]));
    for name in ["ALICE", "alice ", "alic\u{435}", "alice-adm", "0", "#1005", "-alice", "@alice"] {
        assert!(!who(name, 1006, &[]), "{name}");
    }
    assert!(!who("alice", 65534, &[]), "the overflow uid is nobody's");
    assert!(!who("alice", u32::MAX, &[(5, "db")]));
}

#[test]
fn cmd_match_17_groups_are_compared_whole() {
    let rules =
        policy("[roles.r]\nrun = [\"/usr/bin/x\"]\n[[allow]]\nname = \"a\"\nwho = [\"%db-admin\"]\nroles = [\"r\"]\n");
    for (name, wanted) in [("db", false), ("db-admin", true), ("db-admins", false), ("b-admin", false)] {
        let mut facts = alice();
        facts.requester.groups = Fact::Is([group(5, name)].into());
        assert_eq!(is_allowed(&x(&rules, &facts)), wanted, "{name}");
    }
}

#[test]
fn cmd_match_01_no_id_is_never_a_target() {
    let rules = policy(
        "[roles.r]\nrun = [\"ALL\"]\nas = [\"ALL\"]\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"r\"]\n",
    );
    let mut facts = facts_for("/usr/bin/id");
    facts.target = Fact::Is(Some(account("bob", 1002)));
    assert!(is_allowed(&evaluate(Some(&rules), &facts, &command("/usr/bin/id"), now())));
    facts.target = Fact::Is(Some(account("#4294967295", u32::MAX)));
    assert_eq!(denied(evaluate(Some(&rules), &facts, &command("/usr/bin/id"), now())).cause, Cause::UnknownTarget);
    facts.target = Fact::Is(None);
    assert_eq!(denied(evaluate(Some(&rules), &facts, &command("/usr/bin/id"), now())).cause, Cause::UnknownTarget);
}

#[test]
fn as_entries_cover_their_account_and_group_only() {
    for (entry, user, uid, asked_group, group, wanted) in [
        ("postgres", "postgres", 26, false, None, true),
        ("postgres", "root", 0, false, None, false),
        ("postgres", "postgres", 26, true, Some("db"), false),
        ("postgres:db", "postgres", 26, true, Some("db"), true),
        ("postgres:db", "postgres", 26, false, None, false),
        (":db", "alice", 1001, true, Some("db"), true),
        (":db", "root", 0, true, Some("db"), false),
        ("#26", "postgres", 26, false, None, true),
        ("ALL", "bob", 1002, false, None, true),
        ("ALL", "bob", 1002, true, Some("db"), false),
        ("ALL:ALL", "bob", 1002, true, Some("db"), true),
    ] {
        let rules = policy(&format!(
            "[roles.r]\nrun = [\"/usr/bin/x\"]\nas = [\"{entry}\"]\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"r\"]\n"
        ));
        let mut facts = facts_for("/usr/bin/x");
        let mut target = account(user, uid);
        target.group = group.map(str::to_owned);
        facts.target = Fact::Is(Some(target));
        let asked = asked_group.then(|| group.unwrap_or("db").to_owned());
        let request = Request { group: asked, user: Some(user.to_owned()), ..command("/usr/bin/x") };
        assert_eq!(
            is_allowed(&evaluate(Some(&rules), &facts, &request, now())),
            wanted,
            "{entry} for {user} group {group:?}"
        );
    }
}

#[test]
fn cmd_match_07_arguments_stay_apart() {
    let rules = policy(
        "[roles.r]\nrun = [\"/bin/cat /var/log/*\"]\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"r\"]\n",
    );
    let ask = |words: &[&str]| {
        let argv = std::iter::once("cat").chain(words.iter().copied()).map(Bytes::from).collect();
        is_allowed(&evaluate(
            Some(&rules),
            &facts_for("/usr/bin/cat"),
            &Request { argv, ..request(Kind::Command) },
            now(),
        ))
    };
    assert!(ask(&["/var/log/x"]));
    assert!(ask(&["/var/log/x y"]));
    assert!(!ask(&["/var/log/x", "/etc/shadow"]));
    assert!(!ask(&["/var/log/../../etc/shadow"]));
    assert!(!ask(&["/var/log/a/b"]));
    assert!(!ask(&[]));
}

#[test]
fn cmd_match_10_the_program_decides_and_not_argv0() {
    let rules =
        policy("[roles.r]\nrun = [\"/usr/bin/true\"]\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"r\"]\n");
    let mut facts = facts_for("/usr/bin/bash");
    assert!(!is_allowed(&evaluate(Some(&rules), &facts, &command("/usr/bin/true"), now())));
    facts.executable = program("/usr/bin/true");
    assert!(is_allowed(&evaluate(Some(&rules), &facts, &command("-bash"), now())));
    facts.executable = Fact::Unknown;
    assert!(!is_allowed(&evaluate(Some(&rules), &facts, &command("/usr/bin/true"), now())));
}

#[test]
fn path_elements_need_directories_of_root_alone() {
    let rules = policy(
        "[roles.r]\nrun = [\"/usr/bin/tail <path:/var/log/nginx>...\"]\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"r\"]\n",
    );
    let mut facts = facts_for("/usr/bin/tail");
    let request = command("tail /var/log/nginx/a /var/log/nginx/b");
    assert!(is_allowed(&evaluate(Some(&rules), &facts, &request, now())));
    facts.rooted_arguments = [1].into();
    assert!(!is_allowed(&evaluate(Some(&rules), &facts, &request, now())));
}

#[test]
fn a_program_that_others_can_write_runs_for_no_rule_that_names_commands() {
    let named = policy("[roles.r]\nrun = [\"/opt/x\"]\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"r\"]\n");
    let all = policy("[roles.r]\nrun = [\"ALL\"]\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"r\"]\n");
    let mut facts = facts_for("/opt/x");
    assert!(allowed(evaluate(Some(&named), &facts, &command("/opt/x"), now())).run_as.safe_chain);
    if let Fact::Is(Ok(executable)) = &mut facts.executable {
        executable.writable_by_others = Some(Bytes::from("/opt"));
    }
    assert_eq!(denied(evaluate(Some(&named), &facts, &command("/opt/x"), now())).cause, Cause::UnsafeProgram);
    assert!(!allowed(evaluate(Some(&all), &facts, &command("/opt/x"), now())).run_as.safe_chain);
}

#[test]
fn shells_are_given_by_shell_alone() {
    let shell = policy("[roles.r]\nshell = true\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"r\"]\n");
    let all = policy("[roles.r]\nrun = [\"ALL\"]\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"r\"]\n");
    let mut facts = alice();
    facts.executable = program("/usr/bin/bash");
    for (request, by_shell, by_all) in [
        (request(Kind::Shell), true, false),
        (request(Kind::LoginShell), true, false),
        (command("/usr/bin/bash"), true, true),
        (command("/usr/bin/bash -x"), false, true),
    ] {
        assert_eq!(is_allowed(&evaluate(Some(&shell), &facts, &request, now())), by_shell, "{request:?}");
        assert_eq!(is_allowed(&evaluate(Some(&all), &facts, &request, now())), by_all, "{request:?}");
    }
}

#[test]
fn groups_are_lent_to_the_requesters_own_uid_and_by_name() {
    let rules = policy(
        "[roles.docker]\ngroups = [\"docker\"]\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"docker\"]\n",
    );
    let mut facts = facts_for("/usr/bin/docker");
    facts.lendable = lending("docker", 999).lendable;
    facts.target = Fact::Is(Some(account("alice", 1001)));
    let asked = |request: Request, facts: &Facts| {
        is_allowed(&evaluate(Some(&rules), facts, &Request { role: Some("docker".to_owned()), ..request }, now()))
    };
    assert!(asked(command("docker ps"), &facts));
    assert!(asked(request(Kind::Shell), &facts));
    assert!(!asked(Request { user: Some("alice".to_owned()), ..command("docker ps") }, &facts));
    let unnamed = denied(evaluate(Some(&rules), &facts, &command("docker ps"), now()));
    assert_eq!(unnamed.detail[1..], ["role docker lends its group where it is named: jitsudo --role docker CMD"]);
    assert_eq!(denied(evaluate(Some(&rules), &facts, &command("rm x"), now())).detail.len(), 1);
    assert!(
        asked(Request { env_names: vec!["FOO".into()], ..command("docker ps") }, &facts),
        "it is their own account"
    );
    let lent = evaluate(Some(&rules), &facts, &named("docker", command("docker ps")), now());
    assert_eq!(allowed(lent).groups, [group(999, "docker")]);
    facts.target = Fact::Is(Some(scene::root()));
    assert!(!asked(command("docker ps"), &facts));
}

fn named(role: &str, request: Request) -> Request {
    Request { role: Some(role.to_owned()), ..request }
}

#[test]
fn group_that_is_not_known_here_is_not_given_and_nothing_is_without_it() {
    let rules = policy(
        "[roles.docker]\ngroups = [\"docker\"]\n[roles.web]\nrun = [\"/usr/bin/id\"]\ngroups = [\"adm\"]\n[roles.both]\nincludes = [\"docker\", \"web\"]\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"docker\", \"web\", \"both\"]\n",
    );
    let mut own = facts_for("/usr/bin/docker");
    own.target = Fact::Is(Some(account("alice", 1001)));
    let cases = [
        (&own, named("docker", command("docker ps")), "docker"),
        (&own, named("docker", request(Kind::Shell)), "docker"),
        (&own, named("docker", request(Kind::Role)), "docker"),
        (&facts_for("/usr/bin/id"), command("id"), "adm"),
        (&facts_for("/usr/bin/id"), named("both", request(Kind::Role)), "adm"),
    ];
    for (facts, request, group) in cases {
        let found = |one: Option<Fact<Option<Gid>>>| {
            let other = (if group == "adm" { "docker" } else { "adm" }.to_owned(), Fact::Is(Some(Gid(7))));
            let lendable = one.map(|one| (group.to_owned(), one)).into_iter().chain([other]).collect();
            evaluate(Some(&rules), &Facts { lendable, ..facts.clone() }, &request, now())
        };
        assert!(is_allowed(&found(Some(Fact::Is(Some(Gid(4)))))), "{request:?}");
        for unknown in [None, Some(Fact::Unknown), Some(Fact::Is(None)), Some(Fact::Is(Some(Gid(u32::MAX))))] {
            let refused = denied(found(unknown.clone()));
            assert_eq!(refused.cause, Cause::NoGroup, "{unknown:?} {request:?}");
            assert!(refused.detail[0].contains(&format!("lends group {group}, which")), "{:?}", refused.detail);
        }
    }
}

#[test]
fn deny_of_a_program_also_refuses_what_lends_groups() {
    let rules = policy(
        "[roles.docker]\ngroups = [\"docker\"]\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"docker\"]\n[[deny]]\nname = \"d\"\nrun = [\"/usr/bin/rm\"]\n",
    );
    let facts = Facts { target: Fact::Is(Some(account("alice", 1001))), ..lending("docker", 999) };
    for request in [command("systemctl status"), request(Kind::Shell), request(Kind::Role)] {
        let refused = denied(evaluate(Some(&rules), &facts, &named("docker", request.clone()), now()));
        assert_eq!((refused.cause, refused.by.as_deref()), (Cause::Denied, Some("d")), "{request:?}");
    }
}

#[test]
fn role_that_only_lends_groups_runs_as_its_requester() {
    let rules = policy(
        "[roles.docker]\ngroups = [\"docker\"]\nedit = [\"/etc/docker/daemon.json\"]\n[roles.kvm]\ngroups = [\"kvm\"]\nincludes = [\"docker\"]\n[roles.web]\nrun = [\"/usr/bin/id\"]\ngroups = [\"adm\"]\n[roles.mixed]\nincludes = [\"web\", \"docker\"]\n",
    );
    let own = ["docker", "kvm", "web", "mixed", "none"].map(|role| rules.runs_as_oneself(role));
    assert_eq!(own, [true, true, false, false, false]);
    assert_eq!(rules.lendable(Some("kvm")), ["docker", "kvm"]);
    assert_eq!(rules.lendable(Some("none")), Vec::<String>::new());
    assert_eq!(rules.lendable(None), ["adm"], "roles without commands are named");
}

#[test]
fn files_to_edit_are_covered_in_their_one_plain_spelling_only() {
    let rules = |role: &str, more: &str| {
        policy(&format!(
            "[roles.e]\nedit = [\"/etc/nginx/**\", \"/etc/motd\"]\n{role}\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"e\"]\n\
             auth = \"none\"\n{more}\n"
        ))
    };
    let ask = |policy: &Policy, files: &[&str]| {
        let argv = files.iter().map(|file| Bytes::from(*file)).collect();
        let asked = Request { kind: Kind::Edit, argv, ..request(Kind::Edit) };
        evaluate(Some(policy), &alice(), &asked, now())
    };
    let plain = rules("", "");
    for (files, wanted) in [
        (&["/etc/nginx/nginx.conf"][..], true),
        (&["/etc/nginx/a/b/c"], true),
        (&["/etc/nginx/a", "/etc/motd"], true),
        (&["/etc/nginx/a", "/etc/passwd"], false),
        (&["/etc/nginx"], false),
        (&["/etc/nginx/"], false),
        (&["/etc/nginx/../passwd"], false),
        (&["/etc/nginx/./a"], false),
        (&["/etc/nginx//a"], false),
        (&["/etc//motd"], false),
        (&["etc/motd"], false),
        (&["motd"], false),
        (&[], false),
    ] {
        assert_eq!(is_allowed(&ask(&plain, files)), wanted, "{files:?}");
    }
    let Decision::Allow(terms) = ask(&plain, &["/etc/motd"]) else { panic!("not allowed") };
    assert!(!terms.run_as.create);
    let Decision::Allow(terms) = ask(&rules("create = true", ""), &["/etc/motd"]) else { panic!("not allowed") };
    assert!(terms.run_as.create);
    let Decision::Deny(denial) = ask(&plain, &["/etc/passwd"]) else { panic!("allowed") };
    assert_eq!(denial.detail[0], "your role e lets you edit /etc/motd, /etc/nginx/**, not /etc/passwd");
    // ALL is every command, and no file.
    let all = policy(
        "[roles.e]\nrun = [\"ALL\"]\nshell = true\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"e\"]\nauth = \"none\"\n",
    );
    assert!(!is_allowed(&ask(&all, &["/etc/motd"])));

    let denied = rules("", "[[deny]]\nname = \"d\"\nedit = [\"/etc/nginx/tls/*\"]\n");
    assert!(is_allowed(&ask(&denied, &["/etc/nginx/a"])));
    assert!(!is_allowed(&ask(&denied, &["/etc/nginx/tls/key"])));
    assert!(!is_allowed(&ask(&denied, &["/etc/nginx/tls/a/key"])), "in a deny a wildcard takes more");
    assert!(!is_allowed(&ask(&denied, &["/etc/nginx/a", "/etc/nginx/tls/key"])), "one file of several will do");
    let narrowed = rules("", "edit = [\"/etc/nginx/*.conf\"]");
    assert!(is_allowed(&ask(&narrowed, &["/etc/nginx/a.conf"])));
    assert!(!is_allowed(&ask(&narrowed, &["/etc/nginx/a.conf", "/etc/nginx/b"])));
}
