//! The terms of an allow, of a require and of `[defaults]`.

use crate::decision::{Auth, Record};
use crate::pattern::Pattern;
use crate::rule::{Allow, Approval, Approvers, BreakGlass, Budget, Grants, Need, Obligations, Watch};
use crate::subject::Subject;

use super::Support;
use super::build::Build;
use super::reader::{Entry, Table, boolean, duration, list, not_yet, number, one_or_more, text, wrong_type};
use super::supported::{self, Context};

/// Longest reason or ticket that a rule may ask for, characters.
const MAX_REASON: u64 = 1000;
/// Most times at which a requester is warned of the end.
const MAX_WARNINGS: usize = 10;
/// Most persons of one approval.
const MAX_PERSONS: u64 = 20;

/// Keys that only an allow has.
#[derive(Clone, Default)]
pub(super) struct AllowTerms {
    pub(super) shared: Obligations,
    pub(super) grant: Option<Grants>,
    pub(super) start_by: Option<u64>,
    pub(super) extend: Option<(u64, u64)>,
    pub(super) warn: Option<Vec<u64>>,
    pub(super) when_full: Option<bool>,
    pub(super) break_glass: Option<Box<BreakGlass>>,
}

/// Takes the terms that allow and require share.
pub(super) fn shared(build: &mut Build<'_>, table: &mut Table<'_>) -> Obligations {
    let mut terms = Obligations::default();
    let findings = &mut build.findings;
    terms.window = table.take("window").and_then(|entry| duration(&entry, findings));
    terms.run_time = table.take("run-time").and_then(|entry| duration(&entry, findings));
    terms.auth = table.take("auth").and_then(|entry| auth(build, &entry));
    if let Some(entry) = table.take_new(Context::Term, "approval", &mut build.findings) {
        terms.approval = approval(build, &entry).map(Box::new);
    }
    terms.reason = table.take("reason").and_then(|entry| need(build, &entry, false)).map(Box::new);
    terms.ticket = table.take("ticket").and_then(|entry| need(build, &entry, true)).map(Box::new);
    if let Some(entry) = table.take("record") {
        terms.record = record(build, &entry);
    }
    terms.finish = table.take("at-end").and_then(|entry| at_end(build, &entry));
    if let Some(entry) = table.take_new(Context::Term, "budget", &mut build.findings) {
        terms.budget = budget(build, &entry);
    }
    if let Some(entry) = table.take_new(Context::Term, "watch", &mut build.findings) {
        terms.watch = watch(build, &entry);
    }
    terms
}

/// Takes all terms of an allow or of `[defaults]`.
pub(super) fn allow(build: &mut Build<'_>, table: &mut Table<'_>) -> AllowTerms {
    let mut terms = AllowTerms { shared: shared(build, table), ..AllowTerms::default() };
    terms.grant = table.take("grant").and_then(|entry| grant(build, &entry));
    terms.start_by = table.take("start-by").and_then(|entry| duration(&entry, &mut build.findings));
    if let Some(entry) = table.take_new(Context::Term, "extend", &mut build.findings) {
        terms.extend = extend(build, &entry);
    }
    terms.warn = table.take("warn").map(|entry| {
        let entries = list(&entry, &mut build.findings);
        let mut all: Vec<u64> = entries.iter().filter_map(|entry| duration(entry, &mut build.findings)).collect();
        all.sort_unstable();
        all.dedup();
        if all.len() > MAX_WARNINGS {
            let found = format!("{} times", all.len());
            build.findings.error(&entry.place, format!("warn has more than {MAX_WARNINGS} times"), found, None);
        }
        all
    });
    terms.when_full = table.take("when-full").and_then(|entry| boolean(&entry, &mut build.findings));
    if let Some(entry) = table.take_new(Context::Term, "break-glass", &mut build.findings) {
        terms.break_glass = break_glass(build, &entry).map(Box::new);
    }
    terms
}

impl AllowTerms {
    /// Fills what is absent from the directory's `[defaults]`.
    pub(super) fn or(self, defaults: &Self) -> Self {
        let (own, other) = (self.shared, defaults.shared.clone());
        // A break-glass allow asks nobody beforehand; defaults of that kind do not reach it.
        let approval = if self.break_glass.is_some() { own.approval } else { own.approval.or(other.approval) };
        Self {
            shared: Obligations {
                window: own.window.or(other.window),
                run_time: own.run_time.or(other.run_time),
                auth: own.auth.or(other.auth),
                approval,
                reason: own.reason.or(other.reason),
                ticket: own.ticket.or(other.ticket),
                record: own.record.or(other.record),
                finish: own.finish.or(other.finish),
                budget: own.budget.or(other.budget),
                watch: own.watch.or(other.watch),
            },
            grant: self.grant.or(defaults.grant),
            start_by: self.start_by.or(defaults.start_by),
            extend: self.extend.or(defaults.extend),
            warn: self.warn.or_else(|| defaults.warn.clone()),
            when_full: self.when_full.or(defaults.when_full),
            break_glass: self.break_glass.or_else(|| defaults.break_glass.clone()),
        }
    }

    /// Writes them into a rule.
    pub(super) fn put(self, allow: &mut Allow) {
        allow.terms = self.shared;
        allow.grant = self.grant.unwrap_or_default();
        allow.start_by = self.start_by;
        allow.extend = self.extend;
        allow.warn = self.warn;
        allow.when_full = self.when_full.unwrap_or(false);
        allow.break_glass = self.break_glass;
    }
}

fn choice<T: Copy>(build: &mut Build<'_>, entry: &Entry<'_>, choices: &[(&str, T)]) -> Option<T> {
    let text = text(entry, &mut build.findings)?;
    let found = choices.iter().find(|(name, _)| *name == text.value).map(|(_, value)| *value);
    if found.is_none() {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        build.findings.error(
            &text.place,
            format!("{:?} is not known here", text.value),
            format!("expected {}", names.join(", ")),
            None,
        );
    }
    found
}

fn auth(build: &mut Build<'_>, entry: &Entry<'_>) -> Option<Auth> {
    choice(build, entry, &[("none", Auth::None), ("cached", Auth::Cached), ("fresh", Auth::Fresh)])
}

fn record(build: &mut Build<'_>, entry: &Entry<'_>) -> Option<Record> {
    let found = choice(
        build,
        entry,
        &[("none", Record::None), ("activity", Record::Activity), ("terminal", Record::Terminal)],
    )?;
    if build.findings.support == Support::Released && found > supported::RECORD {
        let hint = Some("leave it out: program, arguments and exit status are always kept".to_owned());
        build.findings.error(
            &entry.place,
            "`record` other than \"none\" is not supported yet",
            "a later version brings it",
            hint,
        );
    }
    Some(found)
}

fn grant(build: &mut Build<'_>, entry: &Entry<'_>) -> Option<Grants> {
    let (mut role, mut command) = (false, false);
    for text in one_or_more(entry, &mut build.findings) {
        match text.value.as_str() {
            "role" => role = true,
            "command" => command = true,
            other => {
                build.findings.error(
                    &text.place,
                    format!("{other:?} is no kind of grant"),
                    "expected \"role\", \"command\"",
                    None,
                );
                return None;
            }
        }
    }
    match (role, command) {
        (true, true) => Some(Grants::Both),
        (true, false) => Some(Grants::Role),
        (false, true) => Some(Grants::Command),
        (false, false) => None,
    }
}

fn need(build: &mut Build<'_>, entry: &Entry<'_>, is_ticket: bool) -> Option<Need> {
    let mut table = Table::of(entry, if is_ticket { "ticket" } else { "reason" }, &mut build.findings)?;
    let mut need = Need::default();
    if !is_ticket && let Some(entry) = table.take("min-length") {
        need.min_length = number(&entry, 1, MAX_REASON, &mut build.findings).unwrap_or(1);
    }
    if let Some(entry) = table.take("pattern")
        && let Some(text) = text(&entry, &mut build.findings)
    {
        match Pattern::new(&text.value) {
            Ok(pattern) => need.pattern = Some(pattern),
            Err(error) => build.findings.error(&text.place, error.to_string(), "not a regular expression", None),
        }
    }
    if is_ticket && let Some(entry) = table.take("verify") {
        not_yet(Context::Term, "ticket.verify", &entry.key, &mut build.findings);
        need.verify = text(&entry, &mut build.findings).map(|text| text.value);
    }
    table.finish(&mut build.findings);
    Some(need)
}

fn at_end(build: &mut Build<'_>, entry: &Entry<'_>) -> Option<u64> {
    if entry.value.is_str() {
        return choice(build, entry, &[("terminate", 0)]);
    }
    let mut table = Table::of(entry, "at-end", &mut build.findings)?;
    let finish = table.take("finish").and_then(|entry| duration(&entry, &mut build.findings));
    if table.entries().is_empty() {
        let hint = Some("at-end = \"terminate\" or { finish = \"2h\" }".to_owned());
        build.findings.error(&entry.place, "at-end says nothing", "no finish", hint);
    }
    table.finish(&mut build.findings);
    finish
}

fn named(build: &mut Build<'_>, table: &mut Table<'_>, key: &'static str) -> Option<Vec<Subject>> {
    let entry = table.take(key)?;
    let names = one_or_more(&entry, &mut build.findings);
    Some(build.subjects(&names))
}

fn missing(build: &mut Build<'_>, table: &Table<'_>, what: &str, key: &str) {
    let place = table.header().clone();
    build.findings.error(&place, format!("{what} needs `{key}`"), format!("`{key}` is missing"), None);
}

/// One level of an approval expression; the parser bounds the depth.
fn approvers(build: &mut Build<'_>, table: &mut Table<'_>) -> Option<Approvers> {
    let by = named(build, table, "by");
    let count = table.take("count").and_then(|entry| number(&entry, 1, MAX_PERSONS, &mut build.findings));
    let mut parts = |key: &'static str| {
        let entry = table.take(key)?;
        let mut all = Vec::new();
        for entry in list(&entry, &mut build.findings) {
            let Some(mut inner) = Table::of(&entry, "an approval", &mut build.findings) else { continue };
            all.extend(approvers(build, &mut inner));
            inner.finish(&mut build.findings);
        }
        all.sort_by_key(|part| format!("{part:?}"));
        Some(all)
    };
    let (all, any) = (parts("all"), parts("any"));
    match (by, all, any) {
        (Some(by), None, None) => Some(Approvers::By { by, count: u32::try_from(count.unwrap_or(1)).unwrap_or(1) }),
        (None, Some(all), None) if count.is_none() => Some(Approvers::All(all)),
        (None, None, Some(any)) if count.is_none() => Some(Approvers::Any(any)),
        _ => {
            let place = table.header().clone();
            let hint = Some("write { by = \"@team\", count = 1 }, { all = […] } or { any = […] }".to_owned());
            build.findings.error(&place, "an approval is one of `by`, `all`, `any`", "none or several of them", hint);
            None
        }
    }
}

fn approval(build: &mut Build<'_>, entry: &Entry<'_>) -> Option<Approval> {
    let mut table = Table::of(entry, "an approval", &mut build.findings)?;
    let need = approvers(build, &mut table);
    let findings = &mut build.findings;
    let answer_by = table.take("answer-by").and_then(|entry| duration(&entry, findings));
    let use_by = table.take("use-by").and_then(|entry| duration(&entry, findings));
    let remind = table.take("remind").and_then(|entry| duration(&entry, findings));
    let escalate = table.take("escalate-after").and_then(|entry| {
        let mut inner = Table::of(&entry, "escalate-after", &mut build.findings)?;
        let after = inner.take("after").and_then(|entry| duration(&entry, &mut build.findings));
        let by = named(build, &mut inner, "by");
        if after.is_none() || by.is_none() {
            missing(build, &inner, "escalate-after", if by.is_none() { "by" } else { "after" });
        }
        inner.finish(&mut build.findings);
        Some((after?, by?))
    });
    let auth = table.take("auth").and_then(|entry| auth(build, &entry));
    table.finish(&mut build.findings);
    Some(Approval { need: need?, answer_by, use_by, escalate, remind, auth })
}

fn budget(build: &mut Build<'_>, entry: &Entry<'_>) -> Option<Budget> {
    let mut table = Table::of(entry, "budget", &mut build.findings)?;
    let per = table.take("per").and_then(|entry| duration(&entry, &mut build.findings));
    let time = table.take("time").and_then(|entry| duration(&entry, &mut build.findings));
    let uses = table.take("uses").and_then(|entry| number(&entry, 1, 1_000_000, &mut build.findings));
    if per.is_none() || (time.is_none() && uses.is_none()) {
        missing(build, &table, "a budget", if per.is_none() { "per" } else { "time` or `uses" });
    }
    table.finish(&mut build.findings);
    Some(Budget { per: per?, time, uses })
}

fn extend(build: &mut Build<'_>, entry: &Entry<'_>) -> Option<(u64, u64)> {
    let mut table = Table::of(entry, "extend", &mut build.findings)?;
    let each = table.take("each").and_then(|entry| duration(&entry, &mut build.findings));
    let total = table.take("total").and_then(|entry| duration(&entry, &mut build.findings));
    if each.is_none() || total.is_none() {
        missing(build, &table, "extend", if each.is_none() { "each" } else { "total" });
    }
    table.finish(&mut build.findings);
    if let (Some(each), Some(total)) = (each, total)
        && each > total
    {
        let hint = Some("each = \"15m\", total = \"1h\"".to_owned());
        build.findings.error(&entry.place, "one extension is longer than all of them together", "each > total", hint);
    }
    Some((each?, total?))
}

fn watch(build: &mut Build<'_>, entry: &Entry<'_>) -> Option<Watch> {
    let mut table = Table::of(entry, "watch", &mut build.findings)?;
    let by = named(build, &mut table, "by");
    let pause_for = table.take("pause-for").and_then(|entry| duration(&entry, &mut build.findings));
    if by.is_none() {
        missing(build, &table, "watch", "by");
    }
    table.finish(&mut build.findings);
    Some(Watch { by: by?, pause_for: pause_for.unwrap_or(0) })
}

/// It can be written, for whoever reads the rule, and is always the same.
fn auth_of_break_glass(build: &mut Build<'_>, entry: &Entry<'_>) -> Option<Auth> {
    let found = auth(build, entry);
    if found.is_some_and(|auth| auth != Auth::Fresh) {
        let hint = Some("leave it out: break-glass always asks for a proof now".to_owned());
        build.findings.error(&entry.place, "break-glass without a fresh proof", "only \"fresh\"", hint);
    }
    found
}

fn break_glass(build: &mut Build<'_>, entry: &Entry<'_>) -> Option<BreakGlass> {
    if !entry.value.is_table() {
        wrong_type(entry, "a table", &mut build.findings);
        return None;
    }
    let mut table = Table::of(entry, "break-glass", &mut build.findings)?;
    let window = table.take("window").and_then(|entry| duration(&entry, &mut build.findings));
    let uses = table.take("uses").and_then(|entry| number(&entry, 1, 1000, &mut build.findings));
    let reviewers = named(build, &mut table, "reviewers");
    let tell = named(build, &mut table, "tell").unwrap_or_default();
    let auth = table.take("auth").and_then(|entry| auth_of_break_glass(build, &entry));
    if window.is_none() || reviewers.is_none() {
        missing(build, &table, "break-glass", if window.is_none() { "window" } else { "reviewers" });
    }
    table.finish(&mut build.findings);
    Some(BreakGlass { window: window?, uses: uses.unwrap_or(1), reviewers: reviewers?, tell, auth })
}
