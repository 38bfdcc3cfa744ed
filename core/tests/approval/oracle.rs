//! A second opinion on answers, written from the manual's sentences: it knows humans instead of accounts, writes every way through an
//! expression out, and tries every way of seating people.

use jitsudo_core::past::Past;
use std::collections::BTreeSet;

use proptest::prelude::*;

use jitsudo_core::approval::{Answer, Case, Moment, Proof};
use jitsudo_core::decision::Auth;
use jitsudo_core::facts::{Fact, Facts};
use jitsudo_core::name::{Gid, Uid};
use jitsudo_core::policy::Policy;

use crate::people::person;
use crate::scene::{self, command, now};

/// uid, name, human. The policy knows A by both names, B by a name and a number; C, D and E are known to nobody.
const ACCOUNTS: &[(u32, &str, char)] = &[
    (1101, "a0", 'A'),
    (1102, "a1", 'A'),
    (1103, "b0", 'B'),
    (1104, "b1", 'B'),
    (1105, "c0", 'C'),
    (1106, "d0", 'D'),
    (1107, "e0", 'E'),
    (1110, "s0", 'S'),
    (0, "root", 'R'),
];
const GROUPS: [&str; 3] = ["leads", "security", "ops"];
const SUBJECTS: &[&str] =
    &["a0", "b0", "c0", "d0", "%leads", "%leads", "%security", "@team", "@b", "@svc", "#1102", "#0", "%#2003", "ALL"];
const WHO: &str = r##"
[people.a]
accounts = ["a0", "a1"]
[people.b]
accounts = ["b0", "#1104"]
[services.svc]
accounts = ["s0"]
run-by = ["@a", "%security"]
[teams.team]
members = ["%leads", "@b"]
[roles.web]
run = ["/usr/bin/id"]
[[allow]]
name = "web"
who = ["ALL"]
roles = ["web"]
"##;
/// Seconds for answers.
const ANSWER_BY: i64 = 600;

#[derive(Clone, PartialEq, Debug)]
enum Expr {
    By(Vec<&'static str>, u32),
    All(Vec<Self>),
    Any(Vec<Self>),
}

/// One rule's `approval`.
#[derive(Clone, PartialEq, Debug)]
struct Rule {
    need: Expr,
    /// After so many seconds these too.
    steps_in: Option<(i64, Vec<&'static str>)>,
}

#[derive(Clone, Debug)]
struct Voice {
    account: usize,
    /// Where it came in: an account, nowhere, or nobody knows.
    came_in: Option<Option<usize>>,
    name_known: bool,
    groups: u8,
    lent: u8,
    inside: Option<bool>,
    proof: Proof,
    digest: &'static str,
    wall: i64,
    boot: i64,
}

#[derive(Clone, Debug)]
struct World {
    rules: Vec<Rule>,
    requester: Voice,
    voices: Vec<Voice>,
    powerful: bool,
}

// ---- the real one -------------------------------------------------------------------------------------------------------------------

fn text(expr: &Expr) -> String {
    let list = |parts: &[Expr]| parts.iter().map(|part| format!("{{ {} }}", text(part))).collect::<Vec<_>>().join(", ");
    match expr {
        Expr::By(by, count) => format!("by = {by:?}, count = {count}"),
        Expr::All(parts) => format!("all = [{}]", list(parts)),
        Expr::Any(parts) => format!("any = [{}]", list(parts)),
    }
}

fn policy(rules: &[Rule]) -> Policy {
    let approval = |rule: &Rule| {
        let step = rule.steps_in.as_ref().map_or_else(String::new, |(after, by)| {
            format!(", escalate-after = {{ after = \"{after}s\", by = {by:?} }}")
        });
        format!("approval = {{ {}, answer-by = \"{ANSWER_BY}s\"{step} }}\n", text(&rule.need))
    };
    let mut all = WHO.to_owned();
    all.push_str(&approval(&rules[0]));
    for (place, rule) in rules.iter().enumerate().skip(1) {
        all.push_str(&format!("[[require]]\nname = \"r{place}\"\nhosts = [\"web-*\"]\n{}", approval(rule)));
    }
    scene::policy(&all)
}

fn facts(voice: &Voice) -> Facts {
    let (uid, name, _) = ACCOUNTS[voice.account];
    let names: Vec<&str> = (0..3).filter(|at| voice.groups & (1 << at) != 0).map(|at| GROUPS[at]).collect();
    let mut facts = person(uid, name, &names);
    facts.executable = scene::program("/usr/bin/id");
    let requester = &mut facts.requester;
    requester.lent_groups = (0..3).filter(|at| voice.lent & (1 << at) != 0).map(|at| Gid(2001 + at)).collect();
    if !voice.name_known {
        requester.name = Fact::Unknown;
    }
    (requester.loginuid, requester.login_name) = match voice.came_in {
        None => (Fact::Unknown, Fact::Unknown),
        Some(None) => (Fact::Is(None), Fact::Is(None)),
        Some(Some(at)) => {
            let (uid, name, _) = ACCOUNTS[at];
            (Fact::Is(Some(Uid(uid))), Fact::Is(Some(name.to_owned())))
        }
    };
    facts
}

fn moment(wall: i64, boot: i64) -> Moment {
    let at = now() + jitsudo_core::SignedDuration::from_secs(wall);
    Moment { at, boottime_ms: 1_000_000u64.saturating_add_signed(boot * 1000) }
}

/// Which answers count, whether they are enough, and whether that fails only because all of them run the service.
type Opinion = (Vec<bool>, bool, bool);

fn real(world: &World) -> Opinion {
    let policy = policy(&world.rules);
    let requester = facts(&world.requester);
    let asking =
        jitsudo_core::approval::asking(Some(&policy), &requester, &command("/usr/bin/id"), &Past::default(), now())
            .unwrap();
    let people: Vec<Facts> = world.voices.iter().map(facts).collect();
    let answers: Vec<Answer<'_>> = world
        .voices
        .iter()
        .zip(&people)
        .map(|(voice, approver)| Answer {
            approver,
            inside: voice.inside,
            proof: voice.proof,
            digest: voice.digest,
            at: moment(voice.wall, voice.boot),
        })
        .collect();
    let case = Case {
        policy: &policy,
        requester: &requester,
        asking: &asking,
        digest: "d",
        since: moment(0, 0),
        powerful: world.powerful,
    };
    let tally = case.tally(&answers);
    for (answer, counted) in answers.iter().zip(&tally.counted) {
        if counted.is_ok() {
            assert_eq!(case.counts(answer), Ok(()), "what counts among others counts by itself");
        }
    }
    (tally.counted.iter().map(Result::is_ok).collect(), tally.enough, tally.run_by_alone)
}

// ---- the naive one ------------------------------------------------------------------------------------------------------------------

fn human(account: usize) -> char {
    ACCOUNTS[account].2
}

/// Whether a subject means this voice.
fn means(subject: &str, voice: &Voice) -> bool {
    let (uid, name, human) = ACCOUNTS[voice.account];
    let member = |group: &str| {
        GROUPS.iter().position(|own| *own == group).is_some_and(|at| voice.groups & !voice.lent & (1 << at) != 0)
    };
    match subject {
        "ALL" => (1000..=60000).contains(&uid),
        "@team" => member("leads") || human == 'B',
        "@b" => human == 'B',
        "@svc" => human == 'S',
        "@a" => human == 'A',
        "%#2003" => member("ops"),
        "#1102" => uid == 1102,
        "#0" => uid == 0,
        _ => subject.strip_prefix('%').map_or(subject == name, member),
    }
}

fn subjects(expr: &Expr) -> Vec<&'static str> {
    match expr {
        Expr::By(by, _) => by.clone(),
        Expr::All(parts) | Expr::Any(parts) => parts.iter().flat_map(subjects).collect(),
    }
}

/// Every way through the expression, each a list of seats.
fn ways(expr: &Expr) -> Vec<Vec<Vec<&'static str>>> {
    match expr {
        Expr::By(by, count) => vec![vec![by.clone(); *count as usize]],
        Expr::Any(parts) => parts.iter().flat_map(ways).collect(),
        Expr::All(parts) => parts.iter().fold(vec![Vec::new()], |sofar, part| {
            let more = ways(part);
            sofar.iter().flat_map(|one| more.iter().map(move |two| [one.clone(), two.clone()].concat())).collect()
        }),
    }
}

/// What is asked twice in the same words is asked once, and then both must let somebody step in.
fn joined(rules: &[Rule]) -> Vec<Rule> {
    let mut all: Vec<Rule> = Vec::new();
    for rule in rules {
        match all.iter_mut().find(|other| other.need == rule.need) {
            Some(other) if other.steps_in != rule.steps_in => other.steps_in = None,
            Some(_) => {}
            None => all.push(rule.clone()),
        }
    }
    all
}

fn steps_in(rule: &Rule, voice: &Voice) -> bool {
    rule.steps_in.as_ref().is_some_and(|(after, by)| {
        voice.wall >= *after && voice.boot >= *after && by.iter().any(|subject| means(subject, voice))
    })
}

fn counts(world: &World, rules: &[Rule], voice: &Voice) -> bool {
    let (Some(came_in), Some(requester_came_in)) = (voice.came_in, world.requester.came_in) else { return false };
    let own: BTreeSet<char> = [Some(voice.account), came_in].into_iter().flatten().map(human).collect();
    let asks: BTreeSet<char> =
        [Some(world.requester.account), requester_came_in].into_iter().flatten().map(human).collect();
    let in_time = voice.boot >= 0 && voice.boot < ANSWER_BY && voice.wall < ANSWER_BY;
    let asked = rules
        .iter()
        .any(|rule| subjects(&rule.need).iter().any(|subject| means(subject, voice)) || steps_in(rule, voice));
    let proven = match voice.proof {
        Proof::Signed => true,
        Proof::Local(proof) => !world.powerful && voice.inside == Some(false) && proof == Auth::Fresh,
    };
    voice.digest == "d"
        && in_time
        && voice.name_known
        && human(voice.account) != 'R'
        && !own.contains(&'S')
        && own.len() == 1
        && own.is_disjoint(&asks)
        && asked
        && proven
}

/// Tries every person, each by all accounts that said yes, on every seat. `done` judges who sits.
fn seat(
    seats: &[(usize, Vec<&'static str>)],
    rules: &[Rule],
    free: &[Vec<&Voice>],
    sitting: &mut Vec<Vec<Voice>>,
    done: &dyn Fn(&[Vec<Voice>]) -> bool,
) -> bool {
    let Some(((rule, by), rest)) = seats.split_first() else { return done(sitting) };
    for (at, person) in free.iter().enumerate() {
        let may_sit = |voice: &&Voice| by.iter().any(|subject| means(subject, voice)) || steps_in(&rules[*rule], voice);
        if person.iter().any(may_sit) {
            let others: Vec<Vec<&Voice>> =
                free.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, one)| one.clone()).collect();
            sitting.push(person.iter().map(|voice| (*voice).clone()).collect());
            if seat(rest, rules, &others, sitting, done) {
                return true;
            }
            sitting.pop();
        }
    }
    false
}

fn naive(world: &World) -> Opinion {
    let rules = joined(&world.rules);
    let mut humans = BTreeSet::new();
    let counted: Vec<bool> =
        world.voices.iter().map(|voice| counts(world, &rules, voice) && humans.insert(human(voice.account))).collect();
    let valid: Vec<&Voice> = world.voices.iter().filter(|voice| counts(world, &rules, voice)).collect();
    let of = |who: char| valid.iter().filter(|voice| human(voice.account) == who).copied().collect::<Vec<_>>();
    let free: Vec<Vec<&Voice>> = humans.iter().map(|who| of(*who)).collect();
    let mut all: Vec<Vec<(usize, Vec<&'static str>)>> = vec![Vec::new()];
    for (at, rule) in rules.iter().enumerate() {
        let more = ways(&rule.need);
        all = all
            .iter()
            .flat_map(|sofar| {
                more.iter().map(move |way| sofar.iter().cloned().chain(way.iter().map(|by| (at, by.clone()))).collect())
            })
            .collect();
    }
    let possible = |done: &dyn Fn(&[Vec<Voice>]) -> bool| {
        all.iter()
            .filter(|seats| seats.len() <= free.len())
            .any(|seats| seat(seats, &rules, &free, &mut Vec::new(), done))
    };
    let is_service = |voice: &Voice| {
        [Some(voice.account), voice.came_in.flatten()].into_iter().flatten().any(|account| human(account) == 'S')
    };
    let runs_it = |voice: &Voice| ["@a", "%security"].iter().any(|subject| means(subject, voice));
    let anybody = possible(&|_| true);
    if is_service(&world.requester) {
        let enough = possible(&|sitting| sitting.iter().flatten().any(|voice| !runs_it(voice)));
        (counted, enough, anybody && !enough)
    } else {
        (counted, anybody, false)
    }
}

// ---- cases --------------------------------------------------------------------------------------------------------------------------

fn some_subjects() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::collection::btree_set(proptest::sample::select(SUBJECTS), 1..4).prop_map(|set| set.into_iter().collect())
}

fn expr() -> impl Strategy<Value = Expr> {
    let leaf = (some_subjects(), 1u32..3).prop_map(|(by, count)| Expr::By(by, count));
    leaf.prop_recursive(3, 6, 3, |inner| {
        let parts = || {
            proptest::collection::vec(inner.clone(), 1..4).prop_map(|mut parts| {
                parts.sort_by_key(|part| format!("{part:?}"));
                parts
            })
        };
        prop_oneof![parts().prop_map(Expr::All), parts().prop_map(Expr::Any)]
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let step = (prop_oneof![Just(120i64), Just(300)], some_subjects());
    (expr(), proptest::option::weighted(0.4, step)).prop_map(|(need, steps_in)| Rule { need, steps_in })
}

fn voice() -> impl Strategy<Value = Voice> {
    let account = || 0..ACCOUNTS.len();
    let proof = prop_oneof![8 => Just(Proof::Local(Auth::Fresh)), 1 => Just(Proof::Local(Auth::Cached)), 3 => Just(Proof::Signed)];
    // Mostly somebody who may count, now and then not.
    let came_in = prop_oneof![
        16 => Just(0u8), 2 => Just(1), 2 => Just(2), 1 => Just(3)
    ];
    (
        (account(), account(), came_in),
        (0u8..8, prop_oneof![6 => Just(0u8), 1 => 0u8..8]),
        prop_oneof![10 => Just(Some(false)), 1 => Just(Some(true)), 1 => Just(None)],
        proof,
        prop_oneof![12 => Just("d"), 1 => Just("e")],
        prop_oneof![8 => (0i64..400).prop_map(|at| (at, at)), 1 => (-100i64..700, -100i64..700)],
        proptest::bool::weighted(0.95),
    )
        .prop_map(
            |((account, other, came_in), (groups, lent), inside, proof, digest, (wall, boot), name_known)| Voice {
                account,
                came_in: match came_in {
                    0 => Some(Some(account)),
                    1 => Some(Some(other)),
                    2 => Some(None),
                    _ => None,
                },
                name_known,
                groups,
                lent,
                inside,
                proof,
                digest,
                wall,
                boot,
            },
        )
}

fn world() -> impl Strategy<Value = World> {
    let requester = voice().prop_map(|voice| Voice {
        account: if human(voice.account) == 'R' { 0 } else { voice.account },
        came_in: voice.came_in.map(|came_in| came_in.filter(|at| human(*at) != 'R')),
        name_known: true,
        ..voice
    });
    let rules = (rule(), proptest::option::weighted(0.4, rule()), proptest::option::weighted(0.15, Just(())));
    let rules = rules.prop_map(|(one, two, again)| {
        // Now and then the same words with another step.
        let same = again.map(|()| Rule { steps_in: None, ..one.clone() });
        [Some(one), two, same].into_iter().flatten().collect()
    });
    (rules, requester, proptest::collection::vec(voice(), 0..7), proptest::bool::weighted(0.1))
        .prop_map(|(rules, requester, voices, powerful)| World { rules, requester, voices, powerful })
}

/// `JITSUDO_SWEEP=all` tries more.
fn cases(few: u32) -> ProptestConfig {
    let all = std::env::var("JITSUDO_SWEEP").is_ok_and(|value| value == "all");
    ProptestConfig::with_cases(if all { 50_000 } else { few })
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn approval_05_answers_add_up_as_a_naive_count_does(world in world()) {
        prop_assert_eq!(real(&world), naive(&world));
    }

    #[test]
    fn more_answers_never_hurt(world in world(), more in voice()) {
        let before = real(&world);
        let mut with = world;
        with.voices.push(more);
        let after = real(&with);
        prop_assert!(!before.1 || after.1, "an answer took a yes back");
        prop_assert_eq!(&before.0[..], &after.0[..before.0.len()], "an answer took another one's weight");
    }

    #[test]
    fn unknown_facts_never_help(world in world(), which in any::<proptest::sample::Index>(), what in 0u8..4) {
        let before = real(&world);
        let mut with = world;
        let voices = with.voices.len();
        if what == 3 {
            with.requester.came_in = None;
        } else if voices > 0 {
            let voice = &mut with.voices[which.index(voices)];
            match what {
                0 => voice.came_in = None,
                1 => voice.name_known = false,
                _ => voice.inside = None,
            }
        }
        prop_assert!(before.1 || !real(&with).1, "not knowing made it enough");
    }

    #[test]
    fn approval_02_requester_and_their_accounts_alone_are_never_enough(world in world()) {
        let mut own = world;
        let humans: Vec<char> =
            [Some(own.requester.account), own.requester.came_in.flatten()].into_iter().flatten().map(human).collect();
        own.voices.retain(|voice| {
            humans.contains(&human(voice.account)) || voice.came_in.flatten().is_some_and(|at| humans.contains(&human(at)))
        });
        prop_assert!(!real(&own).1);
    }
}

/// The cases are no empty ones: enough of them are enough, and enough of them are not for each reason.
#[test]
fn cases_are_of_every_kind() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut enough, mut alone, mut counted, mut voices) = (0, 0, 0, 0);
    for _ in 0..1500 {
        let world = world().new_tree(&mut runner).unwrap().current();
        let opinion = naive(&world);
        enough += usize::from(opinion.1);
        alone += usize::from(opinion.2);
        counted += opinion.0.iter().filter(|counts| **counts).count();
        voices += opinion.0.len();
    }
    eprintln!("{enough} enough, {alone} by run-by alone, {counted} of {voices} answers count");
    assert!(enough > 100 && alone > 5 && counted > voices / 10 && counted < voices / 2);
}
