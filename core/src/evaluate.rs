//! The decision, by the numbered algorithm of the policy language.
//!
//! MUST 1: default deny; every failure on the way to a yes is a no.
//! MUST 2: the order of files and rules never matters (`order_of_rules_never_matters`).
//! MUST 3: adding a deny or require never turns a no into a yes, never adds a candidate, never weakens one (`adding_a_*`).
//! MUST 4: a fact that becomes unknown never adds a candidate and never removes a joined obligation (`unknown_facts_*`).
//! MUST 5: whether a file exists is told only to those whom a rule would let run it (`info_leak_01_*`).

use std::cmp::Reverse;
use std::collections::BTreeSet;

use jiff::Timestamp;
use jitsudo_bytes::Bytes;

use crate::conditions::{Manner, Setting};
use crate::cover::Candidate;
use crate::decision::{Auth, Cause, Cwd, Decision, Denial, Record, RunAs, Terms};
use crate::facts::{Executable, Fact, Facts, NoExecutable};
use crate::identity::{self, Identity};
use crate::index;
use crate::join::{Joined, RUN_TIME, START_BY, Unmet, WINDOW};
use crate::past::{self, Past};
use crate::pattern::Reading;
use crate::policy::Policy;
use crate::request::{Kind, Request};
use crate::rule::{Deny, Require, When};
use crate::truth::Truth;

/// The built-in rule for uid 0 that no person is behind.
pub const ROOT_IS_ROOT: &str = "root-is-root";

/// Decides a request under the applied policy (`None`: none was ever applied) at `now`, as if nothing had ever been given.
///
/// Total and deterministic: the same four values give the same answer, whatever the order of the policy's files and rules was.
pub fn evaluate(policy: Option<&Policy>, facts: &Facts, request: &Request, now: Timestamp) -> Decision {
    evaluate_after(policy, facts, request, &past::NOTHING, now)
}

/// As [`evaluate`], after what was given before: budgets and unreviewed break-glass count.
pub fn evaluate_after(
    policy: Option<&Policy>,
    facts: &Facts,
    request: &Request,
    past: &Past,
    now: Timestamp,
) -> Decision {
    decide(policy, facts, request, past, None, now)
}

/// As [`evaluate_after`], by this rule alone: whether a choice that somebody else made is one that the policy gives. Of several rules the one
/// that asks least is chosen, so one that was named never asks less.
pub fn evaluate_by(
    policy: Option<&Policy>,
    facts: &Facts,
    request: &Request,
    past: &Past,
    rule: &str,
    now: Timestamp,
) -> Decision {
    decide(policy, facts, request, past, Some(rule), now)
}

fn decide(
    policy: Option<&Policy>,
    facts: &Facts,
    request: &Request,
    past: &Past,
    only: Option<&str>,
    now: Timestamp,
) -> Decision {
    if request.kind == Kind::Approve {
        // Who may answer others is not a right that a rule gives (`crate::approval`), and root has none of it.
        return deny(plain(Cause::NotCovered, "an answer to another's request is no request"));
    }
    if identity::is_root_itself(facts) {
        return match no_target(facts, request).or_else(|| no_program(facts, request)) {
            Some(denial) => deny(denial),
            None if matches!((&facts.target, request.kind), (Fact::Unknown, kind) if kind != Kind::Role) => {
                deny(plain(Cause::UnknownTarget, "the account asked for could not be looked up"))
            }
            None => Decision::Allow(Box::new(root_is_root(request))),
        };
    }
    let Some(policy) = policy else {
        return deny(plain(
            Cause::NoPolicy,
            "this host has no rules yet: an administrator runs `jitctl setup` (as root)",
        ));
    };
    if let Some(denial) = no_target(facts, request) {
        return deny(denial);
    }
    let who = Identity::of(policy, facts);
    if let Some(denial) = no_program(facts, request) {
        let there = as_if_it_were_there(facts, request);
        let setting = Setting { policy, facts: &there, request, past, only, now, who };
        return deny(match choose(&setting) {
            Err(refused @ (Refused::Denied(_) | Refused::NotCovered)) if !is_public(request) => said(&setting, refused),
            Ok(_) | Err(_) => denial,
        });
    }
    let setting = Setting { policy, facts, request, past, only, now, who };
    match choose(&setting) {
        Ok((joined, candidate)) => Decision::Allow(Box::new(joined.terms(&setting, candidate))),
        Err(refused) => deny(said(&setting, refused)),
    }
}

fn said(setting: &Setting<'_>, refused: Refused) -> Denial {
    match refused {
        Refused::Denied(name) => Denial {
            cause: Cause::Denied,
            detail: vec!["a rule of this host forbids this to you; no role of yours changes that".to_owned()],
            by: Some(name),
        },
        Refused::Unmet(unmet) => plain(unmet.cause, &unmet.words),
        Refused::NotCovered => crate::denial::nearest(setting),
    }
}

fn deny(denial: Denial) -> Decision {
    Decision::Deny(Box::new(denial))
}

fn plain(cause: Cause, words: &str) -> Denial {
    Denial { cause, detail: vec![words.to_owned()], by: None }
}

/// What no rule could change: the account does not exist.
pub(crate) fn no_target(facts: &Facts, request: &Request) -> Option<Denial> {
    if request.kind == Kind::Role {
        return None;
    }
    match &facts.target {
        Fact::Is(None) => {
            let asked = request.user.as_deref().or(request.group.as_deref()).unwrap_or("root");
            Some(plain(Cause::UnknownTarget, &format!("{asked:?} is no account or group here")))
        }
        // The kernel's "no id" as a target would change nothing and so keep uid 0.
        Fact::Is(Some(target)) if target.uid.0 == u32::MAX || target.gid.0 == u32::MAX => {
            Some(plain(Cause::UnknownTarget, "4294967295 is no account or group"))
        }
        Fact::Is(Some(_)) | Fact::Unknown => None,
    }
}

/// Nor this: the program cannot be run.
pub(crate) fn no_program(facts: &Facts, request: &Request) -> Option<Denial> {
    let runs = match request.kind {
        Kind::Command => true,
        Kind::Shell | Kind::LoginShell => !matches!(facts.executable, Fact::Is(Err(NoExecutable::NotAsked))),
        Kind::Edit | Kind::Role | Kind::Validate | Kind::Approve => false,
    };
    match &facts.executable {
        Fact::Is(Err(why)) if runs => {
            Some(Denial { cause: Cause::Unrunnable(why.clone()), detail: Vec::new(), by: None })
        }
        Fact::Is(_) | Fact::Unknown => None,
    }
}

/// A name is looked for on the secure path, which everybody may read.
fn is_public(request: &Request) -> bool {
    request.kind == Kind::Command && request.argv.first().is_none_or(|name| !name.0.contains(&b'/'))
}

/// The same request, had the program been found where it was asked for.
fn as_if_it_were_there(facts: &Facts, request: &Request) -> Facts {
    let asked = request.argv.first().cloned().unwrap_or_default();
    let path = match &facts.cwd {
        Fact::Is(cwd) if !asked.0.starts_with(b"/") => Bytes([cwd.0.as_slice(), b"/", asked.0.as_slice()].concat()),
        Fact::Is(_) | Fact::Unknown => asked,
    };
    let executable = Executable {
        path,
        chain: Vec::new(),
        writable_by_others: None,
        is_shell: request.kind != Kind::Command,
        same_file_as: BTreeSet::new(),
    };
    Facts { executable: Fact::Is(Ok(executable)), ..facts.clone() }
}

fn root_is_root(request: &Request) -> Terms {
    Terms {
        rule: ROOT_IS_ROOT.to_owned(),
        source: "built in".to_owned(),
        role: request.role.clone().unwrap_or_else(|| ROOT_IS_ROOT.to_owned()),
        window: request.window.unwrap_or(WINDOW),
        run_time: RUN_TIME,
        start_by: START_BY,
        auth: Auth::None,
        approvals: 0,
        record: Record::None,
        when_full: true,
        not_after: None,
        finish: 0,
        warn: crate::join::warnings(),
        counted: None,
        break_glass: None,
        run_as: RunAs {
            env_keep: vec!["*".to_owned()],
            env_free: true,
            env_set: Vec::new(),
            cwd: Cwd::Any,
            umask: None,
            no_new_privs: false,
            leaves: false,
            safe_chain: false,
            create: true,
        },
        secret_arguments: Vec::new(),
        joined: Vec::new(),
        groups: Vec::new(),
    }
}

/// Why nothing was chosen.
pub(crate) enum Refused {
    /// This deny took the last candidate, or matched when there was none.
    Denied(String),
    /// The best candidate's terms are not met.
    Unmet(Unmet),
    /// There is no candidate.
    NotCovered,
}

/// Steps 1 to 4.
pub(crate) fn choose<'a>(setting: &Setting<'a>) -> Result<(Joined<'a>, Candidate<'a>), Refused> {
    let candidates = setting.candidates();
    let policy: &'a Policy = setting.policy;
    let denies = Verdicts::of(setting, &policy.content.denies, &policy.index.denies);
    if candidates.is_empty() {
        return Err(denies.first(setting, setting.named_role()).map_or(Refused::NotCovered, Refused::Denied));
    }
    let requires = Verdicts::of(setting, &policy.content.requires, &policy.index.requires);
    let kind = setting.request.kind;
    let mut denied = None;
    let mut best: Option<(Joined<'a>, Candidate<'a>)> = None;
    let mut nearest: Option<(Joined<'a>, Candidate<'a>, Unmet)> = None;
    for candidate in candidates {
        if let Some(name) = denies.first(setting, Some(candidate.role)) {
            denied = denied.min(Some(name.clone())).or(Some(name));
            continue;
        }
        let mut joined = Joined::of(&candidate);
        for require in requires.matching(setting, Some(candidate.role)) {
            joined.join(require, setting.request.break_glass);
        }
        joined.count(setting, &candidate);
        match joined.check(setting, &candidate) {
            Ok(()) => {
                if best.as_ref().is_none_or(|(j, c)| rank(kind, &joined, &candidate) < rank(kind, j, c)) {
                    best = Some((joined, candidate));
                }
            }
            Err(unmet) => {
                if nearest.as_ref().is_none_or(|(j, c, _)| rank(kind, &joined, &candidate) < rank(kind, j, c)) {
                    nearest = Some((joined, candidate, unmet));
                }
            }
        }
    }
    match (best, nearest, denied) {
        (Some(chosen), _, _) => Ok(chosen),
        (None, Some((_, _, unmet)), _) => Err(Refused::Unmet(unmet)),
        (None, None, Some(name)) => Err(Refused::Denied(name)),
        (None, None, None) => Err(Refused::NotCovered),
    }
}

/// As [`choose`] for a hint: with a reason and ticket that would do.
pub(crate) fn choose_ignoring_reason<'a>(setting: &Setting<'a>) -> Option<(Joined<'a>, Candidate<'a>)> {
    let policy: &'a Policy = setting.policy;
    let candidates = setting.candidates();
    let denies = Verdicts::of(setting, &policy.content.denies, &policy.index.denies);
    let open = candidates.into_iter().filter(|candidate| denies.first(setting, Some(candidate.role)).is_none());
    let joined = open.filter_map(|candidate| {
        let mut joined = Joined::of(&candidate);
        joined.count(setting, &candidate);
        joined.is_open().then_some((joined, candidate))
    });
    let kind = setting.request.kind;
    joined.min_by(|(j, c), (other_j, other_c)| rank(kind, j, c).cmp(&rank(kind, other_j, other_c)))
}

/// Step 4 as a value to compare: the smaller is preferred.
type Rank<'a> =
    (Reverse<Option<Auth>>, u32, Auth, bool, bool, Reverse<u64>, Reverse<Record>, &'a str, &'a str, &'a str);

fn rank<'a>(kind: Kind, joined: &Joined<'_>, candidate: &Candidate<'a>) -> Rank<'a> {
    // `-v` proves who somebody is for everything that they may ask for: the strongest proof comes first.
    let strongest = (kind == Kind::Validate).then(|| joined.auth());
    (
        Reverse(strongest),
        joined.persons(),
        joined.auth(),
        joined.needs_ticket(),
        joined.needs_reason(),
        Reverse(joined.window()),
        Reverse(joined.record()),
        &candidate.allow.name,
        candidate.role_name,
        &candidate.part.name,
    )
}

/// A deny or a require.
pub(crate) trait Restricts {
    fn when(&self) -> &When;
    fn manner(&self) -> Manner;
    fn name(&self) -> &str;
}
impl Restricts for Deny {
    fn when(&self) -> &When {
        &self.when
    }
    fn manner(&self) -> Manner {
        Manner::deny(self.only_this_path)
    }
    fn name(&self) -> &str {
        &self.name
    }
}
impl Restricts for Require {
    fn when(&self) -> &When {
        &self.when
    }
    fn manner(&self) -> Manner {
        Manner::REQUIRE
    }
    fn name(&self) -> &str {
        &self.name
    }
}

/// The denies or requires that match, judged once; those that read the candidate's role are judged for each.
pub(crate) struct Verdicts<'a, R> {
    settled: Vec<&'a R>,
    by_role: Vec<&'a R>,
}

impl<'a, R: Restricts> Verdicts<'a, R> {
    pub(crate) fn of(setting: &Setting<'_>, rules: &'a [R], index: &index::Buckets) -> Self {
        let mut verdicts = Self { settled: Vec::new(), by_role: Vec::new() };
        let mut take = |rule: &'a R| {
            let when = rule.when();
            if when.reads_role() || setting.request.kind == Kind::Role {
                verdicts.by_role.push(rule);
            } else if setting.judge(when, rule.manner(), None) != Truth::False {
                verdicts.settled.push(rule);
            }
        };
        if setting.who.is_known() {
            let mut places = Vec::new();
            index.collect(index::subject_key(None), &mut places);
            for key in setting.who.keys(Reading::Deny) {
                index.collect(key, &mut places);
            }
            places.sort_unstable();
            places.dedup();
            places.into_iter().filter_map(|place| rules.get(usize::try_from(place).ok()?)).for_each(&mut take);
        } else {
            // Whom a rule names cannot be told: every one may match.
            rules.iter().for_each(&mut take);
        }
        verdicts
    }

    pub(crate) fn matching<'s>(
        &'s self,
        setting: &'s Setting<'_>,
        role: Option<u32>,
    ) -> impl Iterator<Item = &'a R> + 's {
        let by_role =
            self.by_role.iter().filter(move |rule| setting.judge(rule.when(), rule.manner(), role) != Truth::False);
        self.settled.iter().chain(by_role).copied()
    }

    /// The matching rule that comes first by name.
    pub(crate) fn first(&self, setting: &Setting<'_>, role: Option<u32>) -> Option<String> {
        self.matching(setting, role).map(|rule| rule.name()).min().map(str::to_owned)
    }
}
