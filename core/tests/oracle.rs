//! Random policies and requests: the evaluator agrees with a naive one, and keeps the properties of the language.
//!
//! Every case is named by its seed. `JITSUDO_SWEEP=all` runs 100,000 from a seed that is printed (`JITSUDO_SEED=N` chooses it).
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests"
)]
#![allow(clippy::allow_attributes, missing_docs, unreachable_pub, reason = "test modules")]

#[path = "oracle/model.rs"]
mod model;
#[path = "oracle/naive.rs"]
mod naive;
#[path = "oracle/naive_words.rs"]
mod naive_words;
mod scene;
#[path = "oracle/surroundings.rs"]
mod surroundings;

use std::collections::BTreeSet;

use jitsudo_core::decision::{Auth, Decision, Record, Terms};
use jitsudo_core::evaluate::{evaluate_after, evaluate_by};
use jitsudo_core::facts::{Fact, Facts};
use jitsudo_core::language::{SourceFile, Support, compile_with};
use jitsudo_core::policy::Policy;
use model::{Model, Random};
use naive::{Answer, Naive};
use scene::{file, host};

/// The seeds of a run.
fn seeds(default: u64) -> std::ops::Range<u64> {
    let all = std::env::var("JITSUDO_SWEEP").is_ok_and(|value| value == "all");
    let first: u64 = match std::env::var("JITSUDO_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) if all => std::process::id().into(),
        Err(_) => 1,
    };
    let count = if all { 100_000 } else { default };
    eprintln!("seeds {first}..{}", first + count);
    first..first + count
}

/// Compiles; a model that the checker refuses (an unreachable rule) is no case.
fn compile(model: &Model) -> Option<Policy> {
    compile_files(&[file("a.toml", &model::tables(model).concat())])
}

fn compile_files(files: &[SourceFile]) -> Option<Policy> {
    match compile_with(files, &host(), Support::Everything) {
        Ok(compiled) => Some(compiled.policy),
        Err(diagnostics) => {
            let odd = diagnostics.iter().find(|diagnostic| {
                let expected = ["can never hold", "can never be reached", "refuses everything"];
                diagnostic.is_error && !expected.iter().any(|words| diagnostic.message.contains(words))
            });
            assert!(odd.is_none(), "{}", odd.unwrap().render(files, false));
            None
        }
    }
}

fn short(decision: &Decision) -> Answer {
    match decision {
        Decision::Deny(denial) => Answer::Deny { by: denial.by.clone() },
        Decision::Allow(terms) => Answer::Allow {
            rule: terms.rule.clone(),
            role: terms.role.clone(),
            window: terms.window,
            run_time: terms.run_time,
            auth: terms.auth as usize,
            approvals: terms.approvals,
            record: terms.record as usize,
            not_after: terms.not_after.map(|instant| instant.to_string()),
            joined: terms.joined.clone(),
            safe_chain: terms.run_as.safe_chain,
            secrets: terms.secret_arguments.clone(),
            env_keep: terms.run_as.env_keep.clone(),
        },
    }
}

#[test]
fn policy_09_index_and_scan_agree() {
    let (mut compiled, mut allowed, mut denied) = (0, 0, 0);
    for seed in seeds(2000) {
        let mut random = Random::new(seed);
        let rules = 1 + random.below(6);
        let model = model::model(&mut random, rules);
        let Some(policy) = compile(&model) else { continue };
        let policy = if seed % 2 == 0 { Policy::from_compiled(&policy.to_compiled()).unwrap() } else { policy };
        compiled += 1;
        for _ in 0..8 {
            let (facts, request, before, now) = surroundings::case(&mut random, &model);
            let past = surroundings::past(&before, now);
            let real = evaluate_after(Some(&policy), &facts, &request, &past, now);
            let naive = Naive { model: &model, facts: &facts, request: &request, before: &before, now }.answer();
            assert_eq!(
                short(&real),
                naive,
                "seed {seed}\n{}\n{facts:?}\n{request:?}\n{now}\n{real:?}",
                model::tables(&model).concat()
            );
            assert_eq!(real, evaluate_after(Some(&policy), &facts, &request, &past, now), "deterministic");
            match real {
                Decision::Allow(_) => allowed += 1,
                Decision::Deny(denial) => denied += usize::from(denial.by.is_some()),
            }
        }
    }
    eprintln!("{compiled} policies, {allowed} allowed, {denied} denied by a rule");
    assert!(allowed > compiled / 5 && denied > compiled / 5, "{compiled} {allowed} {denied}");
}

#[test]
fn order_of_rules_never_matters() {
    for seed in seeds(300) {
        let mut random = Random::new(seed);
        let model = model::model(&mut random, 4);
        let tables = model::tables(&model);
        let Some(policy) = compile(&model) else { continue };
        let mut shuffled = tables.clone();
        for at in (1..shuffled.len()).rev() {
            shuffled.swap(at, random.below(at + 1));
        }
        let half = random.below(shuffled.len());
        let files = [file("z.toml", &shuffled[..half].concat()), file("b.toml", &shuffled[half..].concat())];
        let other = compile_files(&files).unwrap();
        for _ in 0..8 {
            let (facts, request, before, now) = surroundings::case(&mut random, &model);
            let past = surroundings::past(&before, now);
            let one = evaluate_after(Some(&policy), &facts, &request, &past, now);
            let two = evaluate_after(Some(&other), &facts, &request, &past, now);
            assert_eq!(short(&one), short(&two), "seed {seed}");
        }
    }
}

/// No term of `after` is weaker than in `before`.
fn is_no_weaker(before: &Terms, after: &Terms) -> bool {
    let names = |terms: &Terms| terms.joined.iter().cloned().collect::<BTreeSet<_>>();
    after.window <= before.window
        && after.run_time <= before.run_time
        && after.auth >= before.auth
        && after.approvals >= before.approvals
        && after.record >= before.record
        && after.finish <= before.finish
        && names(after).is_superset(&names(before))
}

#[test]
fn adding_a_deny_or_require_never_gives_and_never_weakens() {
    let mut stricter = 0;
    for seed in seeds(800) {
        let mut random = Random::new(seed);
        // One rule, one role that includes nothing: the choice cannot move, so the terms are those of the one candidate.
        let single = random.one_in(2);
        let rules = if single { 1 } else { 4 };
        let mut model = model::model(&mut random, rules);
        if single {
            model.roles.iter_mut().for_each(|role| role.includes.clear());
            model.allows[0].roles.truncate(1);
        }
        let mut more = model.clone();
        if random.one_in(2) {
            more.denies.push(model::restriction(&mut random, "more".to_owned()));
        } else {
            more.requires.push(model::restriction(&mut random, "more".to_owned()));
        }
        let (Some(policy), Some(other)) = (compile(&model), compile(&more)) else { continue };
        for _ in 0..8 {
            let (facts, request, before, now) = surroundings::case(&mut random, &model);
            let past = surroundings::past(&before, now);
            let earlier = evaluate_after(Some(&policy), &facts, &request, &past, now);
            let after = evaluate_after(Some(&other), &facts, &request, &past, now);
            match (earlier, after) {
                (Decision::Deny(_), Decision::Allow(terms)) => panic!("seed {seed}: a no became {terms:?}"),
                (Decision::Allow(before), Decision::Allow(after)) if single => {
                    assert!(is_no_weaker(&before, &after), "seed {seed}: {before:?} {after:?}");
                    stricter += usize::from(before != after);
                }
                _ => {}
            }
        }
    }
    assert!(stricter > 5, "{stricter}");
}

/// One fact replaced by unknown.
fn forget(facts: &Facts, which: usize) -> Facts {
    let mut facts = facts.clone();
    match which {
        0 => facts.requester.name = Fact::Unknown,
        1 => facts.requester.groups = Fact::Unknown,
        2 => facts.requester.process_groups = Fact::Unknown,
        3 => facts.origin = Fact::Unknown,
        4 => facts.target = Fact::Unknown,
        5 => facts.executable = Fact::Unknown,
        6 => facts.cwd = Fact::Unknown,
        7 => facts.host.clear(),
        8 => facts.rooted_arguments.clear(),
        12 => drop(facts.lendable.insert("docker".to_owned(), Fact::Unknown)),
        other => {
            if let Fact::Is(origin) = &mut facts.origin {
                match other {
                    9 => origin.console = Fact::Unknown,
                    10 => origin.ssh = Fact::Unknown,
                    _ => origin.address = Fact::Unknown,
                }
            }
        }
    }
    facts
}

#[test]
fn unknown_facts_never_give_and_never_take_an_obligation_away() {
    for seed in seeds(400) {
        let mut random = Random::new(seed);
        let single = random.one_in(2);
        let rules = if single { 1 } else { 4 };
        let mut model = model::model(&mut random, rules);
        if single {
            model.roles.iter_mut().for_each(|role| role.includes.clear());
            model.allows[0].roles.truncate(1);
        }
        let Some(policy) = compile(&model) else { continue };
        for _ in 0..6 {
            let (facts, request, before, now) = surroundings::case(&mut random, &model);
            let past = surroundings::past(&before, now);
            let earlier = evaluate_after(Some(&policy), &facts, &request, &past, now);
            for which in 0..13 {
                let after = evaluate_after(Some(&policy), &forget(&facts, which), &request, &past, now);
                match (&earlier, after) {
                    (Decision::Deny(_), Decision::Allow(terms)) => {
                        panic!("seed {seed}, fact {which}: a no became {terms:?}")
                    }
                    (Decision::Allow(before), Decision::Allow(after)) if single => {
                        assert!(is_no_weaker(before, &after), "seed {seed}, fact {which}: {before:?} {after:?}");
                    }
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn more_that_was_given_before_never_gives_and_never_weakens() {
    let (mut fewer, mut shorter) = (0, 0);
    for seed in seeds(400) {
        let mut random = Random::new(seed);
        let mut model = model::model(&mut random, 1);
        model.roles.iter_mut().for_each(|role| role.includes.clear());
        model.allows[0].roles.truncate(1);
        model.allows[0].terms.budget.get_or_insert((180, Some(50), Some(3)));
        let Some(policy) = compile(&model) else { continue };
        for _ in 0..24 {
            let (facts, request, mut before, now) = surroundings::case(&mut random, &model);
            let own = facts.requester.uid.0;
            before.given.iter_mut().for_each(|one| one.uid = own);
            let decide = |before: &surroundings::Before| {
                evaluate_after(Some(&policy), &facts, &request, &surroundings::past(before, now), now)
            };
            let with_all = decide(&before);
            let mut less = before.clone();
            if random.one_in(2) {
                less.given.pop();
            } else {
                less.waiting.pop();
            }
            match (decide(&less), with_all) {
                (Decision::Deny(_), Decision::Allow(terms)) => panic!("seed {seed}: a no became {terms:?}"),
                (Decision::Allow(_), Decision::Deny(_)) => fewer += 1,
                (Decision::Allow(without), Decision::Allow(with)) => {
                    assert!(is_no_weaker(&without, &with), "seed {seed}: {without:?} {with:?}");
                    shorter += usize::from(with.window < without.window);
                }
                (Decision::Deny(_), Decision::Deny(_)) => {}
            }
        }
    }
    assert!(fewer > 5 && shorter > 5, "{fewer} {shorter}");
}

#[test]
fn rule_that_was_chosen_gives_it_by_itself_and_without_the_budgets_no_less() {
    for seed in seeds(400) {
        let mut random = Random::new(seed);
        let model = model::model(&mut random, 5);
        let Some(policy) = compile(&model) else { continue };
        for _ in 0..8 {
            let (facts, request, before, now) = surroundings::case(&mut random, &model);
            let past = surroundings::past(&before, now);
            let Decision::Allow(terms) = evaluate_after(Some(&policy), &facts, &request, &past, now) else { continue };
            let by_it = evaluate_by(Some(&policy), &facts, &request, &past, &terms.rule, now);
            assert_eq!(by_it, Decision::Allow(terms.clone()), "seed {seed}");
            // As the spawner judges it: it knows of reviews, and not of budgets.
            let waiting = surroundings::Before { given: vec![], ..before };
            let waiting = surroundings::past(&waiting, now);
            let Decision::Allow(known) = evaluate_by(Some(&policy), &facts, &request, &waiting, &terms.rule, now)
            else {
                panic!("seed {seed}: the spawner would not agree");
            };
            assert!(is_no_weaker(&known, &terms), "seed {seed}: {known:?} {terms:?}");
        }
    }
}

#[test]
fn no_name_in_the_message_has_any_influence_on_who_asks() {
    // The request has no field that names the requester; what it names is the target, as text, and the target is a fact.
    for seed in seeds(200) {
        let mut random = Random::new(seed);
        let model = model::model(&mut random, 4);
        let Some(policy) = compile(&model) else { continue };
        let (facts, request, before, now) = surroundings::case(&mut random, &model);
        let past = surroundings::past(&before, now);
        if request.user.is_some() {
            let other = jitsudo_core::request::Request { user: Some("alice".to_owned()), ..request.clone() };
            let decide = |request| short(&evaluate_after(Some(&policy), &facts, request, &past, now));
            assert_eq!(decide(&request), decide(&other), "seed {seed}");
        }
    }
}

#[test]
fn every_order_of_auth_and_record_is_as_the_language_says() {
    assert!(Auth::None < Auth::Cached && Auth::Cached < Auth::Fresh);
    assert!(Record::None < Record::Activity && Record::Activity < Record::Terminal);
}
