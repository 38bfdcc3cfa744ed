//! What a requester reads when no rule covers the request: the nearest own role, and what would help. Never other people's rules.

use crate::conditions::{Key, Manner, Setting};
use crate::cover::Miss;
use crate::decision::{Cause, Denial};
use crate::facts::Fact;
use crate::hours;
use crate::request::Kind;
use crate::rule::{Allow, Role};
use crate::truth::Truth;

/// Most own rules that are looked at for a message.
const MAX_LOOKED_AT: usize = 1000;
/// Most roles named in one line.
const MAX_NAMED: usize = 6;

/// Most variables named in one line.
const MAX_VARIABLES_NAMED: usize = 20;

/// How near a rule came; the greater the nearer.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Near {
    Elsewhere,
    Missed(Miss),
    OtherCondition,
    NotNow,
}

/// Step 5: the cause and words of the nearest own role.
pub(crate) fn nearest(setting: &Setting<'_>) -> Denial {
    let mut places = setting.possible_allows();
    places.extend(setting.own_allows().into_iter().take(MAX_LOOKED_AT));
    let mut best: Option<(Near, Denial)> = None;
    let mut roles: Vec<&str> = Vec::new();
    for allow in places.into_iter().take(2 * MAX_LOOKED_AT).filter_map(|place| setting.allow(place)) {
        if !is_own(setting, allow) {
            continue;
        }
        for role in &allow.roles {
            let Some(name) = setting.policy.role(*role).map(|role| role.name.as_str()) else { continue };
            if allow.break_glass.is_none() && !roles.contains(&name) {
                roles.push(name);
            }
            if !setting.is_right_class(allow) {
                continue;
            }
            let failed = failing(setting, allow, *role);
            for (place, part) in setting.policy.parts_of(*role) {
                let miss = setting.cover(*role, place, part).err();
                let (near, denial) = describe(setting, allow, name, part, &failed, miss);
                if best.as_ref().is_none_or(|(known, _)| near > *known) {
                    best = Some((near, denial));
                }
            }
        }
    }
    let mut denial = match best {
        Some((near, denial)) if near != Near::Elsewhere => denial,
        _ => not_covered(own_roles(&roles)),
    };
    let asked = setting.request.role.as_deref().filter(|asked| !roles.contains(asked));
    if let Some(near) = asked.and_then(|asked| crate::nearest::nearest(asked, roles.iter().copied())) {
        denial.detail.push(format!("did you mean \"{near}\"?"));
    }
    denial.detail.extend(role_to_name(setting, &roles));
    if let Some(hint) = break_glass_hint(setting) {
        denial.detail.push(hint);
    }
    denial
}

/// The own role that lends a group to a program called like it, or like the role, where none was named.
fn role_to_name(setting: &Setting<'_>, roles: &[&str]) -> Option<String> {
    let request = setting.request;
    let named = request.role.is_some() || request.user.is_some() || request.group.is_some();
    let program = request.argv.first().filter(|_| request.kind == Kind::Command && !named)?;
    let program = program.0.rsplit(|byte| *byte == b'/').next()?;
    let lends = |role: &&&str| {
        let parts = setting.parts(setting.policy.role_named(role));
        let mut groups = parts.filter(|part| part.is_groups_only()).flat_map(|part| &part.groups).peekable();
        let called = role.as_bytes() == program && groups.peek().is_some();
        called || groups.any(|group| group.as_bytes() == program)
    };
    let role = roles.iter().filter(lends).min()?;
    Some(format!("role {role} lends its group where it is named: jitsudo --role {role} CMD"))
}

fn not_covered(words: String) -> Denial {
    Denial { cause: Cause::NotCovered, detail: vec![words], by: None }
}

fn own_roles(roles: &[&str]) -> String {
    let mut roles = roles.to_vec();
    roles.sort_unstable();
    match roles.as_slice() {
        [] => "no rule of this host names you".to_owned(),
        [one] => format!("your only role here is {one}"),
        many => {
            let more = if many.len() > MAX_NAMED { ", …" } else { "" };
            format!("your roles here: {}{more}", many.get(..MAX_NAMED.min(many.len())).unwrap_or_default().join(", "))
        }
    }
}

/// True when the rule names the requester; others are never spoken of.
pub(crate) fn is_own(setting: &Setting<'_>, allow: &Allow) -> bool {
    let who = allow.when.who.iter().flatten();
    Truth::any(who.map(|subject| setting.who.is(setting.policy, subject, crate::pattern::Reading::Allow)))
        == Truth::True
}

fn failing(setting: &Setting<'_>, allow: &Allow, role: u32) -> Vec<Key> {
    let mut failed = Vec::new();
    setting.each(&allow.when, Manner::ALLOW, Some(role), &mut |key, truth| {
        if truth != Truth::True {
            failed.push(key);
        }
        true
    });
    failed
}

fn describe(
    setting: &Setting<'_>,
    allow: &Allow,
    role: &str,
    part: &Role,
    failed: &[Key],
    miss: Option<Miss>,
) -> (Near, Denial) {
    let host = &setting.facts.host;
    match miss {
        None => match failed.iter().find(|key| !matches!(key, Key::Hours | Key::NotBefore | Key::NotAfter)) {
            Some(key) => {
                let words = match key {
                    Key::Hosts => format!("your role {role} is not given on {host}"),
                    Key::Origin => format!(
                        "your role {role} is not given from where you are (a sandbox, a service, another network)"
                    ),
                    _ => format!("your role {role} is not given for this"),
                };
                (Near::OtherCondition, not_covered(words))
            }
            None => {
                (Near::NotNow, Denial { cause: Cause::NotNow, detail: vec![opening(setting, allow, role)], by: None })
            }
        },
        Some(miss) => {
            let (cause, words) = missed(setting, role, part, &miss);
            let near = match (&miss, failed.is_empty()) {
                (Miss::Kind | Miss::Program, _) => Near::Elsewhere,
                (_, true) => Near::Missed(miss),
                (_, false) => Near::Elsewhere,
            };
            let mut detail = vec![words];
            if cause == Cause::Environment {
                let names: Vec<String> = setting.env_refused(part).map(|name| shorten(&name.visible())).collect();
                detail.insert(0, shorten_list(&names));
            }
            (near, Denial { cause, detail, by: None })
        }
    }
}

fn missed(setting: &Setting<'_>, role: &str, part: &Role, miss: &Miss) -> (Cause, String) {
    let argv = &setting.request.argv;
    match miss {
        Miss::Kind | Miss::Program => (Cause::NotCovered, format!("your role {role} does not cover this")),
        Miss::File(path) => {
            let globs: Vec<String> = part.edit.iter().take(MAX_NAMED).map(ToString::to_string).collect();
            let more = if part.edit.len() > MAX_NAMED { ", …" } else { "" };
            let words =
                format!("your role {role} lets you edit {}{more}, not {}", globs.join(", "), shorten(&path.visible()));
            (Cause::NotCovered, words)
        }
        Miss::Arguments { words, entry, .. } => {
            let shown = part.run.get(*entry).map(|command| command.shown()).unwrap_or_default();
            let word = argv
                .get(words + 1)
                .map_or_else(|| "so few words".to_owned(), |word| format!("`{}`", shorten(&word.visible())));
            (Cause::NotCovered, format!("your role {role} covers `{shown}`, not {word}"))
        }
        Miss::As => {
            let whom: Vec<String> = part.as_whom.iter().map(ToString::to_string).collect();
            let whom = if whom.is_empty() { "root".to_owned() } else { whom.join(", ") };
            let target = match &setting.facts.target {
                Fact::Is(Some(target)) => target.name.clone(),
                Fact::Is(None) | Fact::Unknown => "another account".to_owned(),
            };
            let group = if setting.request.group.is_some() { " with that group" } else { "" };
            (Cause::NotCovered, format!("your role {role} runs it as {whom}, not as {target}{group}"))
        }
        Miss::Environment(name) => (
            Cause::Environment,
            format!("your role {role} does not let the variable {} through", shorten(&name.visible())),
        ),
        Miss::WorkingDirectory => {
            (Cause::WorkingDirectory, format!("your role {role} does not let you choose the directory (-D)"))
        }
        Miss::Unsafe(path) => (
            Cause::UnsafeProgram,
            format!(
                "{} can be written by others than root, so no rule that names commands runs it",
                shorten(&path.visible())
            ),
        ),
    }
}

/// `role web-operator opens mon-fri 08:00-18:00 Europe/Paris (in 9 h 12 min)`
pub(crate) fn opening(setting: &Setting<'_>, allow: &Allow, role: &str) -> String {
    let when = &allow.when;
    if let Some(end) = when.not_after
        && setting.now >= end
    {
        return format!("role {role} was given to you until {end}");
    }
    if let Some(start) = when.not_before
        && setting.now <= start
    {
        let wait = seconds_between(setting.now, start);
        return format!("role {role} is given to you after {start} (in {})", hours::duration_in_words(wait));
    }
    let words = hours_in_words(setting.policy, allow);
    match hours::opens_at(&when.hours, &setting.policy.zones, setting.now) {
        Some(at) => {
            format!("role {role} opens {words} (in {})", hours::duration_in_words(seconds_between(setting.now, at)))
        }
        None => format!("role {role} opens {words}"),
    }
}

/// All hours of an allow.
pub(crate) fn hours_in_words(policy: &crate::policy::Policy, allow: &Allow) -> String {
    let words = allow.when.hours.iter().map(|entry| {
        let zone = usize::try_from(entry.zone).ok().and_then(|zone| policy.content.zones.get(zone));
        entry.words(zone.map_or("?", |zone| &zone.name))
    });
    words.collect::<Vec<_>>().join(" and ")
}

fn seconds_between(from: jiff::Timestamp, to: jiff::Timestamp) -> u64 {
    u64::try_from(to.as_second().saturating_sub(from.as_second())).unwrap_or(0)
}

/// A break-glass rule that would cover the same request.
fn break_glass_hint(setting: &Setting<'_>) -> Option<String> {
    if setting.request.break_glass {
        return None;
    }
    let request = crate::request::Request { break_glass: true, ..setting.request.clone() };
    let other = Setting {
        policy: setting.policy,
        facts: setting.facts,
        request: &request,
        past: setting.past,
        only: None,
        now: setting.now,
        who: setting.who.clone(),
    };
    let (joined, _) = crate::evaluate::choose_ignoring_reason(&other)?;
    let window = hours::duration_in_words(joined.window());
    let command = if setting.request.kind == Kind::Command { "CMD" } else { "-s" };
    Some(format!("break-glass is open to you, {window}, reviewed afterwards: jitsudo --break-glass -m WHY {command}"))
}

fn shorten_list(names: &[String]) -> String {
    let more = if names.len() > MAX_VARIABLES_NAMED { ", …" } else { "" };
    format!("{}{more}", names.get(..MAX_VARIABLES_NAMED.min(names.len())).unwrap_or_default().join(", "))
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= 64 {
        return text.to_owned();
    }
    text.chars().take(63).chain(['…']).collect()
}
