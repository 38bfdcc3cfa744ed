//! Why a decision is what it is: every rule with the verdict of each of its conditions.

use serde::{Deserialize, Serialize};

use crate::conditions::{Key, Manner, Setting};
use crate::cover::Miss;
use crate::decision::Decision;
use crate::facts::Facts;
use crate::identity::Identity;
use crate::past;
use crate::pattern::Reading;
use crate::policy::Policy;
use crate::request::Request;
use crate::rule::{Allow, When};
use crate::subject::HostIs;

/// Whose rules an explanation may show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Visible {
    /// Every rule (uid 0, or the duty `policy`).
    All,
    /// Only rules whose `who` names the requester.
    Own,
}

pub use crate::truth::Truth;

/// One condition of a rule and what became of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Condition {
    /// The key, as in the policy.
    pub key: String,
    /// Its verdict.
    pub verdict: Truth,
    /// What was asked of what, in words.
    pub words: String,
}

/// One rule that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Considered {
    /// `allow`, `require` or `deny`.
    pub verb: String,
    /// The rule's name.
    pub rule: String,
    /// Where it stands: `10-web.toml:14`.
    pub source: String,
    /// Each condition given, in the order of the manual; for an allow, `covers` last.
    pub conditions: Vec<Condition>,
    /// The rule takes part: an allow is a candidate, a require is joined, a deny denies.
    pub matches: bool,
}

/// The answer of `jitctl policy explain`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// What `evaluate` answers.
    pub decision: Decision,
    /// Every visible rule: denies, requires, allows, by name.
    pub rules: Vec<Considered>,
    /// Rules that are not shown because they do not name the requester.
    pub hidden: usize,
}

/// Explains the decision on a request. With [`Visible::Own`] the name of a deny that does not name the requester is left out too.
#[must_use]
pub fn explain(
    policy: Option<&Policy>,
    facts: &Facts,
    request: &Request,
    now: jiff::Timestamp,
    visible: Visible,
) -> Explanation {
    let mut decision = crate::evaluate::evaluate(policy, facts, request, now);
    let Some(policy) = policy else { return Explanation { decision, rules: Vec::new(), hidden: 0 } };
    let setting =
        Setting { policy, facts, request, past: &past::NOTHING, only: None, now, who: Identity::of(policy, facts) };
    let (mut rules, mut hidden) = (Vec::new(), 0);
    let named = setting.named_role();
    let content = &policy.content;
    let mut add = |when: &When, considered: &dyn Fn() -> Considered| {
        if visible == Visible::All || names_requester(&setting, when) {
            rules.push(considered());
        } else {
            hidden += 1;
        }
    };
    for deny in &content.denies {
        let manner = Manner::deny(deny.only_this_path);
        add(&deny.when, &|| restriction(&setting, "deny", &deny.name, &deny.source, &deny.when, manner, named));
    }
    for require in &content.requires {
        let (name, source) = (&require.name, &require.source);
        add(&require.when, &|| restriction(&setting, "require", name, source, &require.when, Manner::REQUIRE, named));
    }
    for allow in &content.allows {
        add(&allow.when, &|| allowed(&setting, allow));
    }
    if visible == Visible::Own
        && let Decision::Deny(denial) = &mut decision
    {
        let shown = |name: &String| rules.iter().any(|rule| rule.verb == "deny" && rule.rule == *name);
        denial.by = denial.by.take().filter(shown);
    }
    Explanation { decision, rules, hidden }
}

fn names_requester(setting: &Setting<'_>, when: &When) -> bool {
    let who = when.who.iter().flatten();
    Truth::any(who.map(|subject| setting.who.is(setting.policy, subject, Reading::Allow))) == Truth::True
}

fn restriction(
    setting: &Setting<'_>,
    verb: &str,
    name: &str,
    source: &str,
    when: &When,
    manner: Manner,
    named: Option<u32>,
) -> Considered {
    // What depends on the role is judged for every role that could give the request.
    let roles: Vec<Option<u32>> = if when.reads_role() {
        let given = setting.candidates().into_iter().map(|candidate| Some(candidate.role));
        given.chain([named]).collect()
    } else {
        vec![named]
    };
    let best = roles.into_iter().max_by_key(|role| setting.judge(when, manner, *role)).unwrap_or(named);
    Considered {
        verb: verb.to_owned(),
        rule: name.to_owned(),
        source: source.to_owned(),
        conditions: conditions(setting, when, manner, best),
        matches: setting.judge(when, manner, best) != Truth::False,
    }
}

fn allowed(setting: &Setting<'_>, allow: &Allow) -> Considered {
    let role = allow.roles.iter().copied().find(|role| covers(setting, *role).is_ok()).or(allow.roles.first().copied());
    let mut conditions = conditions(setting, &allow.when, Manner::ALLOW, role);
    let (verdict, words) = match (setting.is_right_class(allow), role.map(|role| covers(setting, role))) {
        (false, _) if setting.request.break_glass => (false, "this is no break-glass rule".to_owned()),
        (false, _) => (false, "this rule needs --break-glass, or does not grant this kind of request".to_owned()),
        (true, Some(Ok(words) | Err(words))) => (role.is_some_and(|role| covers(setting, role).is_ok()), words),
        (true, None) => (false, "it gives no role".to_owned()),
    };
    let holds = conditions.iter().all(|condition| condition.verdict == Truth::True);
    conditions.push(Condition { key: "covers".to_owned(), verdict: Truth::from(verdict), words });
    Considered {
        verb: "allow".to_owned(),
        rule: allow.name.clone(),
        source: allow.source.clone(),
        conditions,
        matches: holds && verdict,
    }
}

/// Whether a role covers the request, and what of it, in words.
fn covers(setting: &Setting<'_>, role: u32) -> Result<String, String> {
    let name = setting.policy.role(role).map_or("?", |role| role.name.as_str());
    let mut nearest: Option<Miss> = None;
    for (place, part) in setting.policy.parts_of(role) {
        match setting.cover(role, place, part) {
            Ok(_) if role == place => return Ok(format!("role {name} covers it")),
            Ok(_) => return Ok(format!("role {name} covers it by {}", part.name)),
            Err(miss) => nearest = nearest.max(Some(miss)),
        }
    }
    Err(match nearest {
        None | Some(Miss::Kind) => format!("role {name} gives nothing of this kind"),
        Some(Miss::Program) => format!("role {name} does not name this program"),
        Some(Miss::Arguments { .. }) => format!("role {name} names this program with other arguments"),
        Some(Miss::As) => format!("role {name} runs it as another account"),
        Some(Miss::Environment(name_asked)) => {
            format!("role {name} does not keep the variable {}", name_asked.visible())
        }
        Some(Miss::WorkingDirectory) => format!("role {name} does not let the directory be chosen"),
        Some(Miss::File(path)) => format!("does not let edit {}", path.visible()),
        Some(Miss::Unsafe(path)) => format!("{} can be written by others", path.visible()),
    })
}

fn conditions(setting: &Setting<'_>, when: &When, manner: Manner, role: Option<u32>) -> Vec<Condition> {
    let mut all = Vec::new();
    setting.each(when, manner, role, &mut |key, verdict| {
        let (key, words) = words(setting, when, key);
        all.push(Condition { key: key.to_owned(), verdict, words });
        true
    });
    all
}

fn list<T: ToString>(values: Option<&Vec<T>>) -> String {
    values.into_iter().flatten().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A condition's key and what was asked.
fn words(setting: &Setting<'_>, when: &When, key: Key) -> (&'static str, String) {
    let policy = setting.policy;
    let role_name = |place: &u32| policy.role(*place).map_or_else(|| place.to_string(), |role| role.name.clone());
    match key {
        Key::Who => {
            let names: Vec<String> = when.who.iter().flatten().map(|subject| policy.subject_name(subject)).collect();
            ("who", names.join(", "))
        }
        Key::Hosts => {
            let names = when.hosts.iter().flatten().map(|host| match host {
                HostIs::Set(place) => {
                    let set = usize::try_from(*place).ok().and_then(|place| policy.content.host_sets.get(place));
                    set.map_or_else(|| host.to_string(), |set| format!("@{}", set.name))
                }
                HostIs::Name(_) | HostIs::Label(_) => host.to_string(),
            });
            ("hosts", format!("{} (this is {})", names.collect::<Vec<_>>().join(", "), setting.facts.host))
        }
        Key::Roles => ("roles", when.roles.iter().flatten().map(role_name).collect::<Vec<_>>().join(", ")),
        Key::Run => {
            ("run", when.run.iter().flatten().map(crate::command::Command::written).collect::<Vec<_>>().join("; "))
        }
        Key::As => ("as", list(when.as_whom.as_ref())),
        Key::Edit => ("edit", list(when.edit.as_ref())),
        Key::Shell => ("shell", when.shell.map(|shell| shell.to_string()).unwrap_or_default()),
        Key::Groups => ("groups", list(when.groups.as_ref())),
        Key::Membership => ("membership", list(when.membership.as_ref())),
        Key::Sudoers => ("sudoers", list(when.sudoers.as_ref())),
        Key::Login => ("login", list(when.login.as_ref())),
        Key::Origin => match &when.origin {
            Some(origins) => ("origin", list(Some(origins))),
            None => ("origin", "no sandbox and no service (the default)".to_owned()),
        },
        Key::Hours => {
            let words = when.hours.iter().map(|entry| {
                let zone = usize::try_from(entry.zone).ok().and_then(|zone| policy.content.zones.get(zone));
                entry.words(zone.map_or("?", |zone| &zone.name))
            });
            ("hours", words.collect::<Vec<_>>().join(" and "))
        }
        Key::NotBefore => ("not-before", when.not_before.map(|instant| instant.to_string()).unwrap_or_default()),
        Key::NotAfter => ("not-after", when.not_after.map(|instant| instant.to_string()).unwrap_or_default()),
        Key::Except => ("except", "none of its exceptions holds".to_owned()),
    }
}
