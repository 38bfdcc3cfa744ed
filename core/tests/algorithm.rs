//! Joining, choosing, denying, explaining: the algorithm over small policies.

mod scene;

use jitsudo_bytes::Bytes;
use jitsudo_core::decision::{Auth, Cause, Decision, Record};
use jitsudo_core::duty::{Duty, duties};
use jitsudo_core::evaluate::evaluate;
use jitsudo_core::explain::{Truth, Visible, explain};
use jitsudo_core::facts::{Fact, Facts, NoExecutable};
use jitsudo_core::name::{Gid, Uid};
use jitsudo_core::offers::{Opening, offers};
use jitsudo_core::policy::Policy;
use jitsudo_core::request::{Kind, Request};
use scene::{
    alice, allowed, at, command, compile, decide, denied, facts_for, group, is_allowed, lending, now, policy, program,
    request,
};

/// One role that everything may be asked of, and an allow whose conditions the caller writes.
fn allow_if(conditions: &str) -> Policy {
    policy(&format!(
        "[roles.r]\nrun = [\"/usr/bin/x <any...>\"]\n[[allow]]\nname = \"a\"\nwho = [\"ALL\"]\nroles = [\"r\"]\nauth = \"none\"\n{conditions}\n"
    ))
}

fn x(policy: &Policy, facts: &Facts) -> Decision {
    let mut facts = facts.clone();
    facts.executable = program("/usr/bin/x");
    evaluate(Some(policy), &facts, &command("/usr/bin/x"), now())
}

#[test]
fn requires_join_and_the_strictest_counts() {
    let rules = policy(
        "[teams.lead]\nmembers = [\"%lead\"]\n[roles.r]\nrun = [\"/usr/bin/x\"]\n\
         [[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"r\"]\nauth = \"none\"\nwindow = \"2h\"\nrun-time = \"1h\"\nat-end = { finish = \"2h\" }\n\
         [[require]]\nname = \"one\"\nwindow = \"30m\"\nauth = \"cached\"\nrecord = \"activity\"\nreason = { min-length = 5 }\n\
         [[require]]\nname = \"two\"\nwho = [\"%oncall\"]\nrun-time = \"5m\"\nrecord = \"terminal\"\nreason = { min-length = 10, pattern = \"nginx\" }\nticket = { pattern = \"^OPS-[0-9]+$\" }\napproval = { by = \"@lead\", count = 2 }\nat-end = \"terminate\"\n\
         [[require]]\nname = \"other host\"\nhosts = [\"db-*\"]\nwindow = \"1s\"\n",
    );
    let full = Request {
        reason: Some("reload nginx now".to_owned()),
        ticket: Some("OPS-12".to_owned()),
        ..command("/usr/bin/x")
    };
    let ask = |request: &Request| evaluate(Some(&rules), &facts_for("/usr/bin/x"), request, now());
    let terms = allowed(ask(&full));
    assert_eq!((terms.window, terms.run_time, terms.start_by, terms.finish), (1800, 300, 300, 0));
    assert_eq!((terms.auth, terms.record, terms.approvals), (Auth::Cached, Record::Terminal, 2));
    assert_eq!(terms.joined, ["one", "two"]);
    assert_eq!((terms.rule.as_str(), terms.source.as_str()), ("a", "10-web.toml:5"));
    assert_eq!(allowed(ask(&Request { terminal: false, ..full.clone() })).record, Record::Activity);
    assert_eq!(allowed(ask(&Request { window: Some(60), ..full.clone() })).window, 60);
    for (request, cause) in [
        (Request { reason: None, ..full.clone() }, Cause::ReasonNeeded),
        (Request { reason: Some("nginx".to_owned()), ..full.clone() }, Cause::ReasonNeeded),
        (Request { reason: Some("something else".to_owned()), ..full.clone() }, Cause::ReasonNeeded),
        (Request { ticket: None, ..full.clone() }, Cause::TicketNeeded),
        (Request { ticket: Some("OPS-".to_owned()), ..full.clone() }, Cause::TicketNeeded),
        (Request { window: Some(1801), ..full.clone() }, Cause::WindowTooLong),
    ] {
        assert_eq!(denied(ask(&request)).cause, cause, "{request:?}");
    }
}

#[test]
fn the_choice_goes_by_persons_then_auth_then_what_is_needed_then_window() {
    let rule = |name: &str, terms: &str| {
        format!("[[allow]]\nname = \"{name}\"\nwho = [\"alice\"]\nroles = [\"r\"]\n{terms}\n")
    };
    let base = "[teams.t]\nmembers = [\"bob\"]\n[roles.r]\nrun = [\"/usr/bin/x\"]\n";
    let order = [
        rule("z best", "auth = \"none\"\nwindow = \"2h\"\nrecord = \"terminal\""),
        rule("y less recorded", "auth = \"none\"\nwindow = \"2h\""),
        rule("x shorter", "auth = \"none\"\nwindow = \"1h\""),
        rule("w reason", "auth = \"none\"\nreason = { min-length = 1 }\nwindow = \"9h\""),
        rule("v ticket", "auth = \"none\"\nticket = { pattern = \"T\" }\nwindow = \"9h\""),
        rule("u cached", "auth = \"cached\"\nwindow = \"9h\""),
        rule("t person", "auth = \"none\"\nwindow = \"9h\"\napproval = { by = \"@t\" }"),
    ];
    let asked = Request { reason: Some("why".to_owned()), ticket: Some("T".to_owned()), ..command("/usr/bin/x") };
    for first in 0..order.len() {
        let rules = policy(&format!("{base}{}", order[first..].join("")));
        let terms = allowed(evaluate(Some(&rules), &facts_for("/usr/bin/x"), &asked, now()));
        assert!(order[first].contains(&format!("\"{}\"", terms.rule)), "{first}: {}", terms.rule);
    }
}

#[test]
fn proof_of_identity_is_the_strongest_that_any_rule_of_ones_own_asks_for() {
    let rule = |name: &str, who: &str, auth: &str| {
        format!("[[allow]]\nname = \"{name}\"\nwho = [\"{who}\"]\nroles = [\"r\"]\nauth = \"{auth}\"\n")
    };
    let base = "[roles.r]\nrun = [\"/usr/bin/x\"]\n";
    let asked = Request { kind: Kind::Validate, argv: vec![], ..command("/usr/bin/x") };
    let ask = |rules: &[String]| {
        let rules = policy(&format!("{base}{}", rules.concat()));
        evaluate(Some(&rules), &facts_for("/usr/bin/x"), &asked, now())
    };
    let (none, cached, fresh) = (rule("a", "alice", "none"), rule("b", "alice", "cached"), rule("c", "alice", "fresh"));
    assert_eq!(allowed(ask(std::slice::from_ref(&none))).auth, Auth::None);
    assert_eq!(allowed(ask(&[none.clone(), cached.clone()])).auth, Auth::Cached);
    assert_eq!(allowed(ask(&[cached, none.clone(), fresh])).auth, Auth::Fresh);
    assert_eq!(allowed(ask(&[none, rule("d", "bob", "fresh")])).auth, Auth::None, "others' rules say nothing of alice");
    denied(ask(&[rule("d", "bob", "fresh")]));
}

#[test]
fn break_glass_sees_its_own_rules_and_the_three_obligations_alone() {
    let rules = policy(
        "[teams.t]\nmembers = [\"bob\"]\n[roles.r]\nshell = true\n\
         [[allow]]\nname = \"fire\"\nwho = [\"alice\"]\nroles = [\"r\"]\nauth = \"fresh\"\n[allow.break-glass]\nwindow = \"15m\"\nreviewers = \"@t\"\n\
         [[require]]\nname = \"q\"\nwindow = \"1m\"\napproval = { by = \"@t\" }\nrecord = \"terminal\"\nreason = { min-length = 3 }\nticket = { pattern = \"^T\" }\n",
    );
    let ask = |request: &Request| evaluate(Some(&rules), &alice(), request, now());
    let glass = Request { break_glass: true, reason: Some("fire".to_owned()), ..request(Kind::Shell) };
    let terms = allowed(ask(&glass));
    assert_eq!((terms.window, terms.approvals, terms.record, terms.auth), (900, 0, Record::Terminal, Auth::Fresh));
    assert_eq!(denied(ask(&Request { reason: None, ..glass.clone() })).cause, Cause::ReasonNeeded);
    assert_eq!(denied(ask(&Request { ticket: Some("X".to_owned()), ..glass.clone() })).cause, Cause::TicketNeeded);
    assert!(is_allowed(&ask(&Request { ticket: Some("T1".to_owned()), ..glass.clone() })));
    let refused = denied(ask(&Request { break_glass: false, ..glass }));
    assert_eq!(refused.cause, Cause::NotCovered);
    assert!(refused.detail.iter().any(|line| line.contains("--break-glass")), "{:?}", refused.detail);
}

#[test]
fn an_effect_that_cannot_be_recorded_is_not_given_and_says_what_would() {
    let rules = policy(
        "[roles.member]\nmembership = [\"docker\"]\n[roles.docker]\ngroups = [\"docker\"]\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"docker\", \"member\"]\n[[require]]\nname = \"q\"\nrecord = \"activity\"\n",
    );
    let ask = |role: &str| {
        let request = Request { role: Some(role.to_owned()), ..request(Kind::Role) };
        evaluate(Some(&rules), &lending("docker", 999), &request, now())
    };
    let refused = denied(ask("member"));
    assert_eq!(refused.cause, Cause::Obligation);
    assert_eq!(
        refused.detail,
        ["membership of docker cannot be recorded; have `run` in role member: only commands can"]
    );
    assert!(is_allowed(&ask("docker")), "its sessions are recorded");
}

#[test]
fn an_effect_that_cannot_keep_to_the_run_time_is_given_no_longer_than_that() {
    let rules = policy(
        "[roles.logs]\nmembership = [\"adm\"]\n[roles.ops]\nsudoers = [\"/usr/bin/id\"]\nrun = [\"/usr/bin/id\"]\n\
         [[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"logs\", \"ops\"]\n\
         [[require]]\nname = \"q\"\nrun-time = \"10m\"\n",
    );
    let ask = |role: &str, window: Option<u64>| {
        let request = Request { role: Some(role.to_owned()), window, ..request(Kind::Role) };
        evaluate(Some(&rules), &alice(), &request, now())
    };
    let refused = denied(ask("logs", None));
    assert_eq!(refused.cause, Cause::Obligation);
    assert_eq!(
        refused.detail,
        [
            "membership of adm cannot end each command after 10 min: ask with --for 10m, or have `run` in role logs: only commands can"
        ]
    );
    let refused = denied(ask("ops", Some(601)));
    assert_eq!(
        refused.detail,
        [
            "sudoers line /usr/bin/id cannot end each command after 10 min: ask with --for 10m, or use jitsudo --role ops CMD"
        ]
    );
    assert_eq!(allowed(ask("ops", Some(600))).window, 600);
}

#[test]
fn hours_with_cut_and_not_after_end_what_they_give() {
    let rules = allow_if(
        "hours = [{ days = \"mon-fri\", start = \"08:00\", stop = \"18:00\", zone = \"Europe/Paris\", cut = true }]\nnot-after = \"2026-11-20T17:00:00+01:00\"",
    );
    assert_eq!(allowed(x(&rules, &alice())).not_after, Some(at("2026-11-20T17:00:00+01:00")));
    let rules = allow_if(
        "hours = [{ days = \"mon-fri\", start = \"08:00\", stop = \"18:00\", zone = \"Europe/Paris\", cut = true }]",
    );
    assert_eq!(allowed(x(&rules, &alice())).not_after, Some(at("2026-11-20T18:00:00+01:00")));
}

#[test]
fn roles_keep_their_own_keys_for_their_own_lists() {
    let rules = policy(
        "[roles.web]\nrun = [\"/usr/bin/x\"]\nenv-keep = [\"A\"]\n[roles.dba]\nincludes = [\"web\"]\nrun = [\"/usr/bin/y\"]\nas = [\"postgres\"]\nenv-keep = [\"B\"]\n\
         [[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"dba\"]\n",
    );
    let terms = allowed(decide(&rules, "/usr/bin/x"));
    assert_eq!((terms.role.as_str(), terms.run_as.env_keep), ("dba", vec!["A".to_owned()]));
    assert!(!is_allowed(&decide(&rules, "/usr/bin/y")), "y runs as postgres, not root");
}

#[test]
fn root_itself_needs_no_rule_and_a_person_behind_it_does() {
    let rules =
        policy("[roles.r]\nrun = [\"/usr/bin/x\"]\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"r\"]\n");
    let mut facts = facts_for("/usr/bin/x");
    facts.requester.uid = Uid(0);
    facts.requester.name = Fact::Is("root".to_owned());
    for loginuid in [None, Some(Uid(0))] {
        facts.requester.loginuid = Fact::Is(loginuid);
        for policy in [None, Some(&rules)] {
            let terms = allowed(evaluate(policy, &facts, &command("/usr/bin/other"), now()));
            assert_eq!(
                (terms.rule.as_str(), terms.auth, terms.run_as.env_keep),
                ("root-is-root", Auth::None, vec!["*".to_owned()])
            );
        }
    }
    facts.requester.loginuid = Fact::Is(Some(Uid(1001)));
    facts.requester.login_name = Fact::Is(Some("alice".to_owned()));
    assert_eq!(allowed(evaluate(Some(&rules), &facts, &command("/usr/bin/x"), now())).rule, "a");
    assert_eq!(denied(evaluate(None, &facts, &command("/usr/bin/x"), now())).cause, Cause::NoPolicy);
    facts.requester.login_name = Fact::Is(Some("bob".to_owned()));
    assert!(!is_allowed(&evaluate(Some(&rules), &facts, &command("/usr/bin/x"), now())));
    facts.requester.loginuid = Fact::Unknown;
    assert!(!is_allowed(&evaluate(Some(&rules), &facts, &command("/usr/bin/x"), now())));
}

#[test]
fn confused_deputy_root_of_a_container_or_a_confined_service_needs_a_rule_that_says_sandbox() {
    let rules = |origin: &str| {
        policy(&format!(
            "[roles.r]\nrun = [\"/usr/bin/x\"]\n[[allow]]\nname = \"a\"\nwho = [\"root\"]\nroles = [\"r\"]\n{origin}"
        ))
    };
    let mut facts = facts_for("/usr/bin/x");
    facts.requester.uid = Uid(0);
    facts.requester.name = Fact::Is("root".to_owned());
    facts.requester.loginuid = Fact::Is(None);
    let Fact::Is(mut origin) = facts.origin.clone() else { panic!("the scene's origin is known") };
    origin.sandbox = true;
    for origin in [Fact::Is(origin.clone()), Fact::Unknown] {
        facts.origin = origin;
        assert!(!is_allowed(&evaluate(Some(&rules("")), &facts, &command("/usr/bin/x"), now())));
        assert_eq!(denied(evaluate(None, &facts, &command("/usr/bin/x"), now())).cause, Cause::NoPolicy);
        assert!(jitsudo_core::duty::duties(Some(&rules("")), &facts, now()).is_empty());
    }
    facts.origin = Fact::Is(origin);
    let rules = rules("origin = [\"sandbox\"]\n");
    assert_eq!(allowed(evaluate(Some(&rules), &facts, &command("/usr/bin/x"), now())).rule, "a");
}

#[test]
fn a_person_has_all_accounts_and_a_team_all_persons() {
    let rules = policy(
        "[people.alice]\naccounts = [\"alice\", \"alice-adm\"]\n[teams.inner]\nmembers = [\"@alice\"]\n[teams.outer]\nmembers = [\"@inner\", \"%ops\"]\n[roles.r]\nrun = [\"/usr/bin/x\"]\n\
         [[allow]]\nname = \"a\"\nwho = [\"@outer\"]\nroles = [\"r\"]\n",
    );
    for (name, groups, wanted) in [
        ("alice", vec![], true),
        ("alice-adm", vec![], true),
        ("bob", vec![group(7, "ops")], true),
        ("bob", vec![], false),
    ] {
        let mut facts = alice();
        facts.requester.name = Fact::Is(name.to_owned());
        facts.requester.groups = Fact::Is(groups.into_iter().collect());
        assert_eq!(is_allowed(&x(&rules, &facts)), wanted, "{name}");
    }
}

#[test]
fn environment_and_directory_must_be_let_through() {
    let rules = policy(
        "[roles.r]\nrun = [\"/usr/bin/x\"]\nenv-keep = [\"PG*\"]\ncwd = \"home\"\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"r\"]\n",
    );
    let ask = |request: Request| evaluate(Some(&rules), &facts_for("/usr/bin/x"), &request, now());
    let with = |name: &str| Request { env_names: vec![Bytes::from(name)], ..command("/usr/bin/x") };
    assert!(is_allowed(&ask(with("PGHOST"))));
    assert!(is_allowed(&ask(with("LANG"))));
    for name in ["PGSERVICEFILE", "LD_PRELOAD", "SUDO_USER", "HOME", "PATH", "A=B", "", "BASH_FUNC_x%%"] {
        assert_eq!(denied(ask(with(name))).cause, Cause::Environment, "{name}");
    }
    let in_directory = |path: &str| Request { cwd: Some(Bytes::from(path)), ..command("/usr/bin/x") };
    assert_eq!(denied(ask(in_directory("/tmp"))).cause, Cause::WorkingDirectory);
    assert!(is_allowed(&ask(in_directory("/home/root"))));
}

#[test]
fn denials_name_the_nearest_own_role_and_nobody_elses() {
    let rules = policy(
        "[roles.web-operator]\nrun = [\"/usr/bin/systemctl {restart,reload} nginx\"]\n[roles.secret]\nrun = [\"/usr/bin/systemctl restart ssh\"]\n\
         [[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"web-operator\"]\n[[allow]]\nname = \"b\"\nwho = [\"bob\"]\nroles = [\"secret\"]\n",
    );
    let refused = denied(decide(&rules, "/usr/bin/systemctl restart ssh"));
    assert_eq!(refused.cause, Cause::NotCovered);
    assert_eq!(refused.detail, ["your role web-operator covers `systemctl {restart,reload} nginx`, not `ssh`"]);
    let refused = denied(decide(&rules, "/usr/bin/id"));
    assert_eq!(refused.detail, ["your only role here is web-operator"]);
    // A slip of the fingers is told by what it was meant to be, wherever that stands in the list.
    for run in [
        "\"/usr/bin/x status a\", \"/usr/bin/x {restart,reload} a\"",
        "\"/usr/bin/x {restart,reload} a\", \"/usr/bin/x status a\"",
    ] {
        let rules =
            policy(&format!("[roles.r]\nrun = [{run}]\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"r\"]\n"));
        let refused = denied(decide(&rules, "/usr/bin/x restrat a"));
        assert_eq!(refused.detail, ["your role r covers `x {restart,reload} a`, not `restrat`"]);
    }
    let rules = policy(
        "[roles.web-operator]\nrun = [\"/usr/bin/x\"]\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"web-operator\"]\nhours = [{ days = \"mon-fri\", start = \"08:00\", stop = \"18:00\", zone = \"Europe/Paris\" }]\n",
    );
    let refused = denied(evaluate(
        Some(&rules),
        &facts_for("/usr/bin/x"),
        &command("/usr/bin/x"),
        at("2026-11-19T22:48:00+01:00"),
    ));
    assert_eq!(refused.cause, Cause::NotNow);
    assert_eq!(refused.detail, ["role web-operator opens mon-fri 08:00-18:00 Europe/Paris (in 9 h 12 min)"]);
    let mut facts = facts_for("/usr/bin/x");
    facts.executable = Fact::Is(Err(NoExecutable::NotFound));
    assert_eq!(
        denied(evaluate(Some(&rules), &facts, &command("x"), now())).cause,
        Cause::Unrunnable(NoExecutable::NotFound)
    );
}

#[test]
fn info_leak_01_only_who_may_run_a_path_learns_that_it_is_not_there() {
    let rules = policy(
        "[roles.x]\nrun = [\"/opt/x a\"]\n[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"x\"]\n\
         [roles.all]\nrun = [\"ALL\"]\n[[allow]]\nname = \"b\"\nwho = [\"bob\"]\nroles = [\"all\"]\n\
         [[deny]]\nname = \"d\"\nwho = [\"carol\"]\n",
    );
    let ask = |who: &str, words: &str, found: Fact<Result<_, NoExecutable>>| {
        let mut facts = alice();
        facts.requester.name = Fact::Is(who.to_owned());
        facts.executable = found;
        denied(evaluate(Some(&rules), &facts, &command(words), now()))
    };
    let why = [NoExecutable::NotFound, NoExecutable::NotExecutable, NoExecutable::NotRegular];
    for why in why {
        let absent = || Fact::Is(Err(why.clone()));
        for who in ["alice", "carol", "dave"] {
            for words in ["/root/secret/x", "./secret", "/opt/y a", "../../root/x"] {
                assert_eq!(ask(who, words, absent()), ask(who, words, program("/root/secret/x")), "{who} {words}");
            }
        }
        let told = Cause::Unrunnable(why.clone());
        assert_eq!(ask("alice", "/opt/x a", absent()).cause, told);
        assert_eq!(ask("bob", "/root/secret/x", absent()).cause, told);
        assert_eq!(ask("bob", "./x", absent()).cause, told);
        // A name is looked for where everybody may look.
        assert_eq!(ask("dave", "x", absent()).cause, told);
    }
    assert_eq!(
        ask("alice", "/opt/x b", Fact::Is(Err(NoExecutable::NotFound))),
        ask("alice", "/opt/x b", program("/opt/x"))
    );
}

#[test]
fn duties_are_given_like_allows() {
    let rules = policy(
        "[teams.sec]\nmembers = [\"%security\"]\n[[duty]]\nwho = [\"@sec\"]\nmay = [\"see\", \"policy\"]\n[[duty]]\nwho = [\"alice\"]\nmay = [\"end\"]\nhours = [{ days = \"fri\", start = \"08:00\", stop = \"18:00\", zone = \"UTC\" }]\n",
    );
    let mut facts = alice();
    assert_eq!(duties(Some(&rules), &facts, now()), [Duty::End].into());
    assert!(duties(Some(&rules), &facts, at("2026-11-21T12:00:00Z")).is_empty());
    facts.requester.groups = Fact::Is([group(5, "security")].into());
    assert_eq!(duties(Some(&rules), &facts, now()), [Duty::See, Duty::End, Duty::Policy].into());
    facts.requester.lent_groups = [Gid(5)].into();
    assert_eq!(duties(Some(&rules), &facts, now()), [Duty::End].into(), "a lent group gives no duty");
    facts.origin = Fact::Unknown;
    assert!(duties(Some(&rules), &facts, now()).is_empty());
    facts.requester.uid = Uid(0);
    facts.requester.loginuid = Fact::Is(None);
    assert!(duties(None, &facts, now()).is_empty(), "root of nobody knows where has no duty");
    facts.origin = alice().origin;
    assert_eq!(duties(None, &facts, now()).len(), 6);
}

#[test]
fn offers_tell_terms_hours_and_who_is_asked() {
    let rules = policy(
        "[teams.lead]\nmembers = [\"bob\"]\n[roles.a]\nsummary = \"Look after nginx\"\nrun = [\"/usr/bin/x\"]\n[roles.b]\nshell = true\nas = [\"postgres\"]\n\
         [[allow]]\nname = \"1\"\nwho = [\"alice\"]\nroles = [\"a\", \"b\"]\nauth = \"none\"\nwindow = \"30m\"\n\
         [[allow]]\nname = \"2\"\nwho = [\"alice\"]\nroles = [\"a\"]\nhours = [{ days = \"sat\", start = \"08:00\", stop = \"18:00\", zone = \"Europe/Paris\" }]\n\
         [[allow]]\nname = \"3\"\nwho = [\"bob\"]\nroles = [\"a\"]\n[[allow]]\nname = \"4\"\nwho = [\"alice\"]\nroles = [\"a\"]\nhosts = [\"db-*\"]\n\
         [[require]]\nname = \"q\"\nroles = [\"b\"]\napproval = { by = \"@lead\" }\n",
    );
    let offers = offers(Some(&rules), &alice(), now());
    let short: Vec<_> = offers
        .iter()
        .map(|offer| (offer.role.as_str(), offer.rule.as_str(), offer.approvals, offer.approvers.join(",")))
        .collect();
    assert_eq!(short, [("a", "1", 0, String::new()), ("a", "2", 0, String::new()), ("b", "1", 1, "@lead".to_owned())]);
    assert_eq!(offers[0].opening, Opening::Open);
    assert_eq!(
        offers[1].opening,
        Opening::Closed {
            hours: "sat 08:00-18:00 Europe/Paris".to_owned(),
            opens_at: Some(at("2026-11-21T08:00:00+01:00"))
        }
    );
    assert_eq!(
        (offers[0].commands.as_slice(), offers[2].commands.as_slice()),
        (&["/usr/bin/x".to_owned()][..], &["a shell".to_owned()][..])
    );
    assert_eq!(offers[2].run_as, ["postgres"]);
}

#[test]
fn explanations_show_own_rules_without_the_policy_duty() {
    let rules = policy(
        "[roles.r]\nrun = [\"/usr/bin/x\"]\n[[allow]]\nname = \"mine\"\nwho = [\"alice\"]\nhosts = [\"db-*\"]\nroles = [\"r\"]\n[[allow]]\nname = \"other\"\nwho = [\"bob\"]\nroles = [\"r\"]\n[[deny]]\nname = \"everyone\"\nhosts = [\"web-*\"]\n",
    );
    let explained = |visible| explain(Some(&rules), &facts_for("/usr/bin/x"), &command("/usr/bin/x"), now(), visible);
    let all = explained(Visible::All);
    assert_eq!(all.rules.iter().map(|rule| rule.rule.as_str()).collect::<Vec<_>>(), ["everyone", "mine", "other"]);
    assert!(all.rules[0].matches && !all.rules[1].matches);
    let hosts = all.rules[1].conditions.iter().find(|condition| condition.key == "hosts").unwrap();
    assert_eq!(hosts.verdict, Truth::False);
    let own = explained(Visible::Own);
    assert_eq!(own.rules.iter().map(|rule| rule.rule.as_str()).collect::<Vec<_>>(), ["mine"]);
    assert_eq!(own.hidden, 2);
    assert_eq!(denied(own.decision).by, None);
    assert_eq!(denied(all.decision).by.as_deref(), Some("everyone"));
}

#[test]
fn policy_09_order_of_allow_and_deny_does_not_matter() {
    let allow = "[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"r\"]\n";
    let deny = "[[deny]]\nname = \"d\"\nrun = [\"/usr/bin/*\"]\nwho = [\"%oncall\"]\n";
    let role = "[roles.r]\nrun = [\"/usr/bin/x\"]\n";
    for parts in [[role, allow, deny], [deny, allow, role], [allow, role, deny]] {
        assert!(!is_allowed(&decide(&policy(&parts.concat()), "/usr/bin/x")));
    }
}

#[test]
fn policy_14_exceptions_in_exceptions_turn_round_each_time() {
    let decide = |except: &str| is_allowed(&x(&allow_if(except), &alice()));
    assert!(decide(""));
    assert!(!decide("except = { who = [\"alice\"] }"));
    assert!(decide("except = { hosts = [\"web-*\"], except = { who = [\"alice\"] } }"));
    assert!(!decide(
        "except = { hosts = [\"web-*\"], except = { who = [\"alice\"], except = { labels = [] } } }"
            .replace(", except = { labels = [] }", ", except = { who = [\"%oncall\"] }")
            .as_str()
    ));
}

#[test]
fn ask_for_everything_is_warned_about() {
    let compiled = compile(
        "[roles.r]\nrun = [\"ALL\"]\nas = [\"ALL\"]\n[[allow]]\nname = \"a\"\nwho = [\"ALL\"]\nroles = [\"r\"]\n",
    )
    .unwrap();
    assert!(compiled.warnings.len() >= 2, "{:?}", compiled.warnings);
}
