//! Who may say yes to what, and what answers add up to: each invariant by itself, and all of them against a naive second opinion.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::allow_attributes, missing_docs, unreachable_pub, reason = "test modules")]

#[path = "approval/oracle.rs"]
mod oracle;
#[path = "approval/people.rs"]
mod people;
mod scene;

use jitsudo_core::approval::{
    ANSWER_BY, Answer, Asking, Case, Moment, NotCounted, Proof, Tally, Unusable, asking, is_as_good_as_root, person_of,
};
use jitsudo_core::decision::{Auth, Decision, Terms};
use jitsudo_core::evaluate::evaluate;
use jitsudo_core::facts::{Fact, Facts};
use jitsudo_core::name::{Gid, Uid};
use jitsudo_core::past::Past;
use jitsudo_core::policy::Policy;
use jitsudo_core::request::{Kind, Request};
use people::{alice, alice_adm, bob, bob_adm, carol, dan, person, runner};
use scene::{allowed, command, now, program, request};

/// alice asks; bob and carol lead, dan is security. The runner is a service that bob and carol run.
const POLICY: &str = r##"
[people.alice]
accounts = ["alice", "alice-adm"]
[people.bob]
accounts = ["bob", "#1012"]
[services.deploy]
accounts = ["runner"]
run-by = ["bob", "carol"]
[teams.leads]
members = ["%leads", "alice-adm"]
[teams.security]
members = ["dan"]
[roles.web]
run = ["/usr/bin/systemctl restart nginx", "/usr/bin/id"]
[[allow]]
name = "web"
who = ["alice", "alice-adm", "runner", "bob"]
roles = ["web"]
"##;

const LEAD: &str = "approval = { by = \"@leads\", count = 1 }\n";

fn policy(terms: &str) -> Policy {
    scene::policy(&format!("{POLICY}{terms}"))
}

fn of(policy: &Policy, requester: &Facts) -> Asking {
    *asking(Some(policy), requester, &command(ACT), &Past::default(), now()).unwrap()
}

const ACT: &str = "/usr/bin/systemctl restart nginx";
const ASKED: u64 = 1_000_000;

/// So many seconds after it was asked, by both clocks.
fn after(seconds: i64) -> Moment {
    let at = now() + jitsudo_core::SignedDuration::from_secs(seconds);
    Moment { at, boottime_ms: ASKED.saturating_add_signed(seconds * 1000) }
}

fn yes(approver: &Facts) -> Answer<'_> {
    Answer { approver, inside: Some(false), proof: Proof::Local(Auth::Fresh), digest: "d", at: after(60) }
}

fn case<'a>(policy: &'a Policy, requester: &'a Facts, asking: &'a Asking) -> Case<'a> {
    Case { policy, requester, asking, digest: "d", since: after(0), powerful: false }
}

/// One answer to alice's request.
fn to_alice(terms: &str, answer: Answer<'_>) -> Result<(), NotCounted> {
    let (policy, alice) = (policy(terms), alice());
    let asking = of(&policy, &alice);
    case(&policy, &alice, &asking).counts(&answer)
}

fn tally(terms: &str, requester: &Facts, approvers: &[&Facts]) -> Tally {
    let policy = policy(terms);
    let asking = of(&policy, requester);
    let answers: Vec<Answer<'_>> = approvers.iter().map(|approver| yes(approver)).collect();
    case(&policy, requester, &asking).tally(&answers)
}

fn is_enough(terms: &str, approvers: &[&Facts]) -> bool {
    tally(terms, &alice(), approvers).enough
}

#[test]
fn one_lead_is_enough_where_one_is_asked_and_nobody_else_is() {
    assert!(is_enough(LEAD, &[&bob()]));
    assert!(!is_enough(LEAD, &[]));
    assert_eq!(to_alice(LEAD, yes(&dan())), Err(NotCounted::NotAsked));
}

#[test]
fn approval_02_no_account_of_the_requester_counts() {
    // alice-adm is one of the leads, and alice's.
    assert_eq!(to_alice(LEAD, yes(&alice_adm())), Err(NotCounted::OwnRequest));
    assert_eq!(to_alice(LEAD, yes(&alice())), Err(NotCounted::OwnRequest));
    // Another name for the same uid.
    let alias = person(1001, "admin", &["leads"]);
    assert_eq!(to_alice(LEAD, yes(&alias)), Err(NotCounted::OwnRequest));
    // alice became bob: it is she who came in.
    let mut became_bob = bob();
    became_bob.requester.loginuid = Fact::Is(Some(Uid(1001)));
    became_bob.requester.login_name = Fact::Is(Some("alice".to_owned()));
    assert_eq!(to_alice(LEAD, yes(&became_bob)), Err(NotCounted::OwnRequest));
    // bob became alice and asks: his yes is his own.
    let mut bob_as_alice = alice();
    bob_as_alice.requester.loginuid = Fact::Is(Some(Uid(1002)));
    bob_as_alice.requester.login_name = Fact::Is(Some("bob".to_owned()));
    let policy = policy(LEAD);
    let asking = of(&policy, &bob_as_alice);
    let case = case(&policy, &bob_as_alice, &asking);
    assert_eq!(case.counts(&yes(&bob())), Err(NotCounted::OwnRequest));
    assert_eq!(case.counts(&yes(&bob_adm())), Err(NotCounted::OwnRequest), "nor that of his second account");
    assert_eq!(case.counts(&yes(&carol())), Ok(()));
}

#[test]
fn run_by_alone_is_not_enough() {
    let one = |approvers: &[&Facts]| tally(LEAD, &runner(), approvers);
    assert_eq!((one(&[&bob()]).enough, one(&[&bob()]).run_by_alone), (false, true));
    assert!(!one(&[&bob(), &carol()]).enough, "both of them run it");
    let erin = person(1005, "erin", &["leads"]);
    assert!(one(&[&erin]).enough);
    assert!(one(&[&bob(), &erin]).enough);
    let two = "approval = { by = \"@leads\", count = 2 }\n";
    assert!(tally(two, &runner(), &[&bob(), &erin]).enough, "not alone");
    assert!(!one(&[&bob(), &dan()]).enough, "one who is not asked does not make it two");
    assert!(is_enough(LEAD, &[&bob()]), "for a person's own request bob is enough");
}

#[test]
fn approval_05_one_person_counts_once_by_whatever_accounts() {
    let two = "approval = { by = \"@leads\", count = 2 }\n";
    let twice = tally(two, &alice(), &[&bob(), &bob_adm()]);
    assert_eq!(twice.counted, [Ok(()), Err(NotCounted::SamePerson)]);
    assert!(!twice.enough);
    assert!(!is_enough(two, &[&bob(), &bob()]));
    assert!(is_enough(two, &[&bob(), &carol()]));
}

#[test]
fn person_in_two_teams_takes_one_seat() {
    let both = "[allow.approval]\nall = [{ by = \"@leads\" }, { by = [\"@security\", \"bob\"] }]\n";
    assert!(!is_enough(both, &[&bob()]));
    assert!(is_enough(both, &[&bob(), &carol()]), "bob makes room for carol");
    assert!(is_enough(both, &[&bob(), &dan()]));
    assert!(!is_enough(both, &[&carol()]));
}

#[test]
fn person_with_two_accounts_sits_where_either_may() {
    let second = "[allow.approval]\nby = \"#1012\"\n";
    assert!(is_enough(second, &[&bob_adm()]));
    let both = "[allow.approval]\nall = [{ by = \"bob\" }, { by = [\"#1012\", \"carol\"] }]\n";
    assert!(!is_enough(both, &[&bob(), &bob_adm()]), "one person, one seat");
    let late = tally(
        "[allow.approval]\nany = [{ by = \"#1012\" }, { all = [{ by = \"bob\" }, { by = \"dan\" }] }]\n",
        &alice(),
        &[&bob(), &bob_adm()],
    );
    assert_eq!(late.counted, [Ok(()), Err(NotCounted::SamePerson)]);
    assert!(late.enough, "what the second account may give is not lost by the first one's answer");
}

#[test]
fn run_by_names_a_person_by_any_account() {
    // bob runs the service, and #1012 is his as well.
    assert!(!tally(LEAD, &runner(), &[&bob_adm()]).enough);
    assert!(!tally(LEAD, &runner(), &[&bob_adm(), &carol()]).enough);
}

#[test]
fn nested_expression_is_met_by_either_way_and_not_by_half_of_each() {
    let nested = "[allow.approval]\nany = [{ all = [{ by = \"@leads\", count = 2 }, { by = \"@security\" }] }, { by = \"erin\" }]\n";
    let erin = person(1005, "erin", &[]);
    assert!(is_enough(nested, &[&erin]));
    assert!(is_enough(nested, &[&bob(), &carol(), &dan()]));
    assert!(!is_enough(nested, &[&bob(), &dan()]));
    assert!(!is_enough(nested, &[&bob(), &carol()]));
}

#[test]
fn what_a_require_asks_for_is_needed_as_well() {
    let require = format!(
        "{LEAD}[[require]]\nname = \"security too\"\nhosts = [\"web-*\"]\napproval = {{ by = \"@security\", answer-by = \"5m\" }}\n"
    );
    assert!(!is_enough(&require, &[&bob()]));
    assert!(!is_enough(&require, &[&dan()]));
    assert!(is_enough(&require, &[&bob(), &dan()]));
    let policy = policy(&require);
    let asking = of(&policy, &alice());
    assert_eq!((asking.persons(), asking.answer_by), (2, 300));
    assert_eq!(asking.asked(&policy, false), ["@leads", "@security"]);
    let same = format!("{LEAD}[[require]]\nname = \"a lead\"\nhosts = [\"web-*\"]\napproval = {{ by = \"@leads\" }}\n");
    assert!(is_enough(&same, &[&bob()]), "asked for in the same words twice is asked for once");
}

#[test]
fn answer_from_inside_a_session_does_not_count() {
    assert_eq!(to_alice(LEAD, Answer { inside: Some(true), ..yes(&bob()) }), Err(NotCounted::InsideSession));
    assert_eq!(to_alice(LEAD, Answer { inside: None, ..yes(&bob()) }), Err(NotCounted::Unknown));
}

#[test]
fn root_and_services_speak_for_nobody() {
    let everybody = "approval = { by = [\"#0\", \"runner\", \"bob\"] }\n";
    let mut root = person(0, "root", &["leads"]);
    assert_eq!(to_alice(everybody, yes(&root)), Err(NotCounted::Root));
    root.requester.loginuid = Fact::Is(Some(Uid(1002)));
    root.requester.login_name = Fact::Is(Some("bob".to_owned()));
    assert_eq!(to_alice(everybody, yes(&root)), Err(NotCounted::Root), "bob answers as bob");
    assert_eq!(to_alice(everybody, yes(&runner())), Err(NotCounted::Service));
    assert_eq!(to_alice(everybody, yes(&bob())), Ok(()));
}

#[test]
fn who_came_in_as_another_answers_for_nobody() {
    let mut carol_as_bob = bob();
    carol_as_bob.requester.loginuid = Fact::Is(Some(Uid(1003)));
    carol_as_bob.requester.login_name = Fact::Is(Some("carol".to_owned()));
    assert_eq!(to_alice(LEAD, yes(&carol_as_bob)), Err(NotCounted::TwoPersons));
    let mut root_as_bob = bob();
    root_as_bob.requester.loginuid = Fact::Is(Some(Uid::ROOT));
    root_as_bob.requester.login_name = Fact::Is(Some("root".to_owned()));
    assert_eq!(to_alice(LEAD, yes(&root_as_bob)), Err(NotCounted::TwoPersons));
    // His own second account is his, and a host without login uids has none.
    let mut bob_as_second = bob_adm();
    bob_as_second.requester.loginuid = Fact::Is(Some(Uid(1002)));
    bob_as_second.requester.login_name = Fact::Is(Some("bob".to_owned()));
    assert_eq!(to_alice(LEAD, yes(&bob_as_second)), Ok(()));
    let mut unset = bob();
    unset.requester.loginuid = Fact::Is(None);
    assert_eq!(to_alice(LEAD, yes(&unset)), Ok(()));
}

#[test]
fn lent_membership_makes_nobody_an_approver() {
    let mut dan = person(1004, "dan", &["leads"]);
    assert_eq!(to_alice(LEAD, yes(&dan)), Ok(()));
    dan.requester.lent_groups = [Gid(2001)].into();
    assert_eq!(to_alice(LEAD, yes(&dan)), Err(NotCounted::NotAsked));
    // Nor one that only the process carries.
    let mut carried = self::dan();
    carried.requester.process_groups = Fact::Is([scene::group(2001, "leads")].into());
    assert_eq!(to_alice(LEAD, yes(&carried)), Err(NotCounted::NotAsked));
}

#[test]
fn unsigned_answer_to_who_is_as_good_as_root_does_not_count() {
    let (policy, alice, bob) = (policy(LEAD), alice(), bob());
    let asking = of(&policy, &alice);
    let powerful = Case { powerful: true, ..case(&policy, &alice, &asking) };
    assert_eq!(powerful.counts(&yes(&bob)), Err(NotCounted::NotSigned));
    assert_eq!(powerful.counts(&Answer { proof: Proof::Signed, inside: None, ..yes(&bob) }), Ok(()));
}

#[test]
fn proof_of_the_approver_is_as_strong_as_the_strictest_rule_asks() {
    assert_eq!(to_alice(LEAD, Answer { proof: Proof::Local(Auth::Cached), ..yes(&bob()) }), Err(NotCounted::WeakProof));
    let cached = "approval = { by = \"@leads\", auth = \"cached\" }\n";
    assert_eq!(to_alice(cached, Answer { proof: Proof::Local(Auth::Cached), ..yes(&bob()) }), Ok(()));
    assert_eq!(to_alice(cached, Answer { proof: Proof::Local(Auth::None), ..yes(&bob()) }), Err(NotCounted::WeakProof));
    let both = format!(
        "{cached}[[require]]\nname = \"fresh\"\nhosts = [\"web-*\"]\napproval = {{ by = \"@leads\", auth = \"fresh\" }}\n"
    );
    assert_eq!(
        to_alice(&both, Answer { proof: Proof::Local(Auth::Cached), ..yes(&bob()) }),
        Err(NotCounted::WeakProof)
    );
}

#[test]
fn approval_01_answer_to_another_digest_does_not_count() {
    assert_eq!(to_alice(LEAD, Answer { digest: "e", ..yes(&bob()) }), Err(NotCounted::AnotherDigest));
    assert_eq!(to_alice(LEAD, Answer { digest: "", ..yes(&bob()) }), Err(NotCounted::AnotherDigest));
    let (policy, alice, bob) = (policy(LEAD), alice(), bob());
    let asking = of(&policy, &alice);
    let unbound = Case { digest: "", ..case(&policy, &alice, &asking) };
    assert_eq!(unbound.counts(&Answer { digest: "", ..yes(&bob) }), Err(NotCounted::AnotherDigest));
}

#[test]
fn approval_04_answer_counts_within_its_time_alone() {
    let soon = "approval = { by = \"@leads\", answer-by = \"2m\" }\n";
    assert_eq!(to_alice(soon, Answer { at: after(119), ..yes(&bob()) }), Ok(()));
    assert_eq!(to_alice(soon, Answer { at: after(120), ..yes(&bob()) }), Err(NotCounted::NotInTime));
    assert_eq!(to_alice(soon, Answer { at: after(-1), ..yes(&bob()) }), Err(NotCounted::NotInTime));
    assert_eq!(of(&policy(LEAD), &alice()).answer_by, ANSWER_BY);
}

#[test]
fn expiry_clock_02_clock_that_is_set_never_helps() {
    let soon = "[allow.approval]\nby = \"@leads\"\nanswer-by = \"10m\"\nescalate-after = { after = \"2m\", by = \"@security\" }\n";
    // Forward: the time for answers is over early, and nobody steps in early.
    let forward = Moment { at: after(864_000).at, ..after(60) };
    assert_eq!(to_alice(soon, Answer { at: forward, ..yes(&bob()) }), Err(NotCounted::NotInTime));
    let a_little = Moment { at: after(180).at, ..after(60) };
    assert_eq!(to_alice(soon, Answer { at: a_little, ..yes(&dan()) }), Err(NotCounted::NotYet));
    // Back: the boot clock goes on, and stepping in waits.
    let back = Moment { at: after(-86_400).at, ..after(601) };
    assert_eq!(to_alice(soon, Answer { at: back, ..yes(&bob()) }), Err(NotCounted::NotInTime));
    let back = Moment { at: after(-86_400).at, ..after(300) };
    assert_eq!(to_alice(soon, Answer { at: back, ..yes(&dan()) }), Err(NotCounted::NotYet));
}

#[test]
fn who_steps_in_counts_from_then_on_and_in_the_seats_of_that_rule_alone() {
    let rule =
        "[allow.approval]\nby = \"@leads\"\ncount = 2\nescalate-after = { after = \"5m\", by = \"@security\" }\n";
    let (with_require, alice, bob, dan) = (
        format!("{rule}[[require]]\nname = \"erin\"\nhosts = [\"web-*\"]\napproval = {{ by = \"erin\" }}\n"),
        alice(),
        bob(),
        dan(),
    );
    let policy_of = policy(rule);
    let asking = of(&policy_of, &alice);
    let case_of = case(&policy_of, &alice, &asking);
    assert_eq!(case_of.counts(&Answer { at: after(299), ..yes(&dan) }), Err(NotCounted::NotYet));
    assert!(case_of.tally(&[yes(&bob), Answer { at: after(300), ..yes(&dan) }]).enough);
    assert_eq!(asking.asked(&policy_of, true), ["@leads", "@security"]);
    assert_eq!((asking.escalated(after(0), after(299)), asking.escalated(after(0), after(300))), (0, 1));
    let policy_of = policy(&with_require);
    let asking = of(&policy_of, &alice);
    let late = |approver| Answer { at: after(300), ..yes(approver) };
    let carol = carol();
    assert!(
        !case(&policy_of, &alice, &asking).tally(&[late(&bob), late(&carol), late(&dan)]).enough,
        "erin's seat is hers"
    );
    let same_words = format!(
        "{rule}[[require]]\nname = \"strict\"\nhosts = [\"web-*\"]\napproval = {{ by = \"@leads\", count = 2 }}\n"
    );
    let policy_of = policy(&same_words);
    let asking = of(&policy_of, &alice);
    assert_eq!(
        case(&policy_of, &alice, &asking).counts(&late(&dan)),
        Err(NotCounted::NotAsked),
        "both rules must let him"
    );
}

#[test]
fn reminders_and_the_next_look_follow_the_rule() {
    let rule = "[allow.approval]\nby = \"@leads\"\nanswer-by = \"10m\"\nremind = \"4m\"\nuse-by = \"1m\"\nescalate-after = { after = \"5m\", by = \"@security\" }\n";
    let asking = of(&policy(rule), &alice());
    let due = |seconds| asking.reminders(after(0), after(seconds));
    assert_eq!([due(0), due(239), due(240), due(599)], [0, 0, 1, 2]);
    let next = |seconds| asking.next_ms(after(0), after(seconds));
    assert_eq!([next(0), next(240), next(300), next(480)], [Some(240_000), Some(60_000), Some(180_000), Some(120_000)]);
    assert_eq!(next(600), None);
    assert!(asking.is_over(after(0), after(600)) && !asking.is_over(after(0), after(599)));
    assert!(asking.use_is_over(after(0), after(60)) && !asking.use_is_over(after(0), after(59)));
    assert!(asking.use_is_over(after(0), after(-1)), "not before it was approved");
    assert_eq!(of(&policy(LEAD), &alice()).use_by, 300, "as long as anything may wait for its start");
}

#[test]
fn nothing_is_asked_where_no_rule_asks_and_of_root_itself() {
    let nobody = policy("");
    assert!(asking(Some(&nobody), &alice(), &command(ACT), &Past::default(), now()).is_none());
    let policy = policy(LEAD);
    let mut root = person(0, "root", &[]);
    root.requester.loginuid = Fact::Is(None);
    assert!(asking(Some(&policy), &root, &command(ACT), &Past::default(), now()).is_none());
    assert!(asking(None, &alice(), &command(ACT), &Past::default(), now()).is_none());
    assert!(
        asking(Some(&policy), &alice(), &request(Kind::Validate), &Past::default(), now()).is_none(),
        "proving who one is needs nobody"
    );
}

#[test]
fn approval_09_approver_who_is_none_any_more_does_not_count_at_activation() {
    let (before, alice, mut bob) = (policy(LEAD), alice(), bob());
    let asking_before = of(&before, &alice);
    let answers = [yes(&bob)];
    let terms = terms(&before, &alice);
    let activate = |case: Case<'_>, answers: &[Answer<'_>], again: &Terms, at| {
        case.may_activate(answers, after(60), (&terms, again), after(at))
    };
    assert_eq!(activate(case(&before, &alice, &asking_before), &answers, &terms, 90), Ok(()));
    assert_eq!(activate(case(&before, &alice, &asking_before), &answers, &terms, 360), Err(Unusable::Lapsed));
    // The policy of then asks others.
    let other = policy("approval = { by = \"@security\" }\n");
    let asking_now = of(&other, &alice);
    assert_eq!(activate(case(&other, &alice, &asking_now), &answers, &terms, 90), Err(Unusable::NotEnough));
    // It asks nobody: nothing is missing.
    let more = policy("approval = { by = \"@leads\", count = 2 }\n");
    let asking_now = of(&more, &alice);
    assert_eq!(activate(case(&more, &alice, &asking_now), &answers, &terms, 90), Err(Unusable::NotEnough));
    let looser = Terms { window: terms.window + 1, ..terms.clone() };
    assert_eq!(
        activate(case(&before, &alice, &asking_before), &answers, &looser, 90),
        Err(Unusable::Looser(vec!["window"]))
    );
    // He left the group.
    bob.requester.groups = Fact::Is([scene::group(1002, "bob")].into());
    assert_eq!(activate(case(&before, &alice, &asking_before), &[yes(&bob)], &terms, 90), Err(Unusable::NotEnough));
}

fn terms(policy: &Policy, facts: &Facts) -> Terms {
    allowed(evaluate(Some(policy), facts, &command(ACT), now()))
}

#[test]
fn approving_changes_no_decision_about_the_approver() {
    // The evaluator takes no answers: whoever may approve may not run what they approve.
    let policy = policy(LEAD);
    let decision = evaluate(Some(&policy), &dan(), &command(ACT), now());
    assert!(matches!(decision, Decision::Deny(_)));
    let own = asking(Some(&policy), &bob(), &command(ACT), &Past::default(), now());
    assert!(own.is_some(), "an approver's own request waits for another one");
    assert_eq!(case(&policy, &bob(), &own.unwrap()).counts(&yes(&bob())), Err(NotCounted::OwnRequest));
}

#[test]
fn no_is_taken_of_whoever_may_be_asked_and_of_nobody_else() {
    let rule = "[allow.approval]\nby = \"@leads\"\nescalate-after = { after = \"5m\", by = \"@security\" }\n";
    let (policy, alice) = (policy(rule), alice());
    let asking = of(&policy, &alice);
    let case = case(&policy, &alice, &asking);
    assert!(case.may_refuse(&bob()) && case.may_refuse(&dan()));
    assert!(!case.may_refuse(&alice_adm()) && !case.may_refuse(&person(1005, "erin", &[])));
}

#[test]
fn more_answers_than_are_looked_at_count_for_nothing() {
    let people: Vec<Facts> = (0..70).map(|n| person(3000 + n, &format!("p{n}"), &["leads"])).collect();
    let tally = tally("approval = { by = \"@leads\", count = 20 }\n", &alice(), &people.iter().collect::<Vec<_>>());
    assert!(tally.enough);
    assert_eq!(tally.counted.len(), 70);
    assert!(tally.counted[64..].iter().all(Result::is_err));
}

#[test]
fn person_is_the_policys_and_for_uid_0_whoever_came_in() {
    let policy = policy("");
    assert_eq!(person_of(&policy, &alice_adm()), Some("alice"));
    assert_eq!(person_of(&policy, &carol()), None);
    let mut root = person(0, "root", &[]);
    root.requester.loginuid = Fact::Is(Some(Uid(1012)));
    assert_eq!(person_of(&policy, &root), Some("bob"));
    root.requester.loginuid = Fact::Is(None);
    assert_eq!(person_of(&policy, &root), None);
}

#[test]
fn role_that_can_do_anything_as_root_is_as_good_as_root() {
    let roles = r#"
[roles.shell]
shell = true
[roles.postgres-shell]
shell = true
as = ["postgres"]
[roles.all]
run = ["ALL"]
[roles.docker]
groups = ["docker"]
[roles.adm]
membership = ["adm"]
[roles.sudoers]
sudoers = ["/usr/bin/id"]
[roles.nginx-files]
edit = ["/etc/nginx/**"]
[roles.any-file]
edit = ["/etc/**"]
[roles.units]
edit = ["/etc/systemd/system/*.service"]
[roles.includes-all]
includes = ["all"]
run = ["/usr/bin/id"]
"#;
    let policy = scene::policy(roles);
    for role in ["shell", "all", "docker", "adm", "sudoers", "any-file", "units", "includes-all", "none"] {
        assert!(is_as_good_as_root(&policy, role), "{role}");
    }
    for role in ["postgres-shell", "nginx-files"] {
        assert!(!is_as_good_as_root(&policy, role), "{role}");
    }
}

#[test]
fn role_request_waits_for_people_as_a_command_does() {
    let policy = policy(LEAD);
    let asked = Request { role: Some("web".to_owned()), ..request(Kind::Role) };
    assert!(asking(Some(&policy), &alice(), &asked, &Past::default(), now()).is_some());
    let mut facts = alice();
    facts.executable = program("/usr/bin/id");
    assert!(asking(Some(&policy), &facts, &command("/usr/bin/id"), &Past::default(), now()).is_some());
}
