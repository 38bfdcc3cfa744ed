//! The policy language: TOML in, a compiled [`crate::policy::Policy`] or a compiler's diagnostics out.
//!
//! The way through it: `source` (limits, text) → `collect` (which names exist) → `people`, `roles`, `rules` with `conditions` and
//! `terms` (each body against those names) → `check` (the whole) → the compiled content. `supported` says what is not there yet.

mod build;
mod check;
mod collect;
mod conditions;
mod diagnostic;
mod logins;
mod people;
mod reader;
mod roles;
mod rules;
mod source;
mod supported;
mod terms;

pub use diagnostic::Diagnostic;
pub use reader::seconds;

use std::collections::{BTreeMap, HashMap};

use toml::Spanned;
use toml::de::DeTable;

use crate::policy::{COMPILED_VERSION, Content, Policy};
use crate::rule::When;

use build::Build;
use collect::Collected;
use reader::Findings;
use source::{Place, Source};

/// One policy file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceFile {
    /// Full path as shown to people.
    pub name: String,
    /// Its content, unchecked.
    pub bytes: Vec<u8>,
}

/// What the compiler asks of the host that it runs on.
#[derive(Clone, Copy)]
pub struct HostLookup<'a> {
    /// Gives the TZif bytes of an IANA zone.
    pub zone: &'a dyn Fn(&str) -> Option<Vec<u8>>,
    /// Gives a directory with its links resolved, or itself where it does not exist.
    pub resolve_directory: &'a dyn Fn(&str) -> String,
    /// Says where the host gives more to the members of a group than its files: sudoers, administrators of polkit.
    pub group_has_more: &'a dyn Fn(&str) -> Option<String>,
}

/// Which keys and values a compilation lets through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// What this version can do; the rest answers "not supported yet".
    Released,
    /// The whole language, for tests of the evaluator.
    Everything,
}

/// A policy and what the checker wants to be thought over.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The policy.
    pub policy: Policy,
    /// Findings that are no errors.
    pub warnings: Vec<Diagnostic>,
}

/// Compiles for this version: [`compile_with`] with [`Support::Released`].
///
/// # Errors
/// Every mistake found, in order of file and line; warnings included.
pub fn compile(files: &[SourceFile], host: &HostLookup<'_>) -> Result<Compiled, Vec<Diagnostic>> {
    compile_with(files, host, Support::Released)
}

/// Parses, checks and compiles files; their order does not matter.
///
/// # Errors
/// Every mistake found, in order of file and line; warnings included.
pub fn compile_with(
    files: &[SourceFile],
    host: &HostLookup<'_>,
    support: Support,
) -> Result<Compiled, Vec<Diagnostic>> {
    let mut ordered: Vec<&SourceFile> = files.iter().collect();
    ordered.sort_by(|one, other| one.name.cmp(&other.name));
    let mut broken = Vec::new();
    if let Some(last) = ordered.get(source::MAX_FILES) {
        broken.push(whole_file(&last.name, format!("a policy has at most {} files", source::MAX_FILES)));
        ordered.truncate(source::MAX_FILES);
    }
    let mut sources: Vec<Source<'_>> = Vec::with_capacity(ordered.len());
    for file in ordered {
        match Source::open(file) {
            Ok(source) if sources.last().is_some_and(|last| last.name == source.name) => {
                broken.push(whole_file(source.name, "the same file is given twice".to_owned()));
            }
            Ok(source) => sources.push(source),
            Err(diagnostic) => broken.push(*diagnostic),
        }
    }
    let mut findings = Findings { sources: &sources, support, all: broken };
    let roots: Vec<(usize, Spanned<DeTable<'_>>)> = sources
        .iter()
        .enumerate()
        .filter_map(|(file, source)| Some((file, parse(file, source.text, &mut findings)?)))
        .collect();
    let mut collected = Collected::default();
    for (file, root) in &roots {
        collect::file(*file, root, &mut collected, &mut findings);
    }
    let (content, mut all) = translate(collected, findings, host, sources.len());
    all.sort_by(|one, other| {
        (&one.file, one.span.start, &one.message).cmp(&(&other.file, other.span.start, &other.message))
    });
    if all.iter().any(|diagnostic| diagnostic.is_error) {
        return Err(all);
    }
    match Policy::try_from(content) {
        Ok(policy) => Ok(Compiled { policy, warnings: all }),
        Err(error) => Err(vec![whole_file("", error.to_string())]),
    }
}

fn whole_file(name: &str, message: String) -> Diagnostic {
    let (file, label) = (name.to_owned(), String::new());
    Diagnostic { is_error: true, file, line: 0, column: 0, span: 0..0, message, label, hint: None }
}

fn parse<'t>(file: usize, text: &'t str, findings: &mut Findings<'_>) -> Option<Spanned<DeTable<'t>>> {
    if let Some((span, message)) = source::newer_toml(text) {
        let hint = Some("the language is TOML 1.0; write a sub-table such as [allow.approval]".to_owned());
        findings.error(&Place { file, span }, message, "not TOML 1.0", hint);
        return None;
    }
    match DeTable::parse(text) {
        Ok(root) => Some(root),
        Err(error) => {
            let span = error.span().unwrap_or(0..0);
            findings.error(&Place { file, span }, error.message().lines().next().unwrap_or_default(), "", None);
            None
        }
    }
}

fn translate<'a>(
    mut collected: Collected<'_>,
    mut findings: Findings<'a>,
    host: &'a HostLookup<'a>,
    files: usize,
) -> (Content, Vec<Diagnostic>) {
    let sets = collect::define(&mut collected.sets, &mut findings);
    let host_sets = collect::define(&mut collected.hosts, &mut findings);
    let roles = collect::define(&mut collected.roles, &mut findings);
    let mut build = Build {
        findings,
        host,
        sets,
        host_sets,
        roles,
        zones: Vec::new(),
        zone_index: HashMap::new(),
        directories: HashMap::new(),
        groups_named: BTreeMap::new(),
    };
    let people = people::read(&mut build, &collected.sets, &collected.hosts);
    let roles: Vec<_> = collected.roles.iter().map(|head| roles::read(&mut build, head)).collect();
    let defaults = rules::defaults(&mut build, &collected.defaults);
    let mut names = HashMap::new();
    let mut allows: Vec<_> =
        collected.allows.iter().filter_map(|entry| rules::allow(&mut build, entry, &defaults, &mut names)).collect();
    let mut requires: Vec<_> =
        collected.requires.iter().filter_map(|entry| rules::require(&mut build, entry, &mut names)).collect();
    let mut denies: Vec<_> =
        collected.denies.iter().filter_map(|entry| rules::deny(&mut build, entry, &mut names)).collect();
    let mut duties: Vec<_> = collected.duties.iter().filter_map(|entry| rules::duty(&mut build, entry)).collect();
    allows.sort_by(|one, other| one.rule.name.cmp(&other.rule.name));
    requires.sort_by(|one, other| one.rule.name.cmp(&other.rule.name));
    denies.sort_by(|one, other| one.rule.name.cmp(&other.rule.name));
    duties.sort_by(|one, other| (&one.rule.name, &one.rule.source).cmp(&(&other.rule.name, &other.rule.source)));
    check::roles(&mut build, &roles);
    logins::check(&mut build, &people, &roles);
    check::allows(&mut build, &allows, &roles, &denies);
    check::denies(&mut build, &denies);
    check::requires(&mut build, &requires);
    let mut content = Content {
        version: COMPILED_VERSION,
        files,
        sets: people.sets,
        host_sets: people.host_sets,
        people: people.people,
        services: people.services,
        zones: build.zones,
        roles: roles.into_iter().map(|draft| draft.role).collect(),
        allows: allows.into_iter().map(|draft| draft.rule).collect(),
        requires: requires.into_iter().map(|draft| draft.rule).collect(),
        denies: denies.into_iter().map(|draft| draft.rule).collect(),
        duties: duties.into_iter().map(|draft| draft.rule).collect(),
    };
    sort_zones(&mut content);
    (content, build.findings.all)
}

/// Gives zones their order by name, so that the order of files leaves no trace.
fn sort_zones(content: &mut Content) {
    let mut order: Vec<(String, u32)> =
        (0u32..).zip(&content.zones).map(|(index, zone)| (zone.name.clone(), index)).collect();
    order.sort();
    let new: HashMap<u32, u32> = (0u32..).zip(&order).map(|(new, (_, old))| (*old, new)).collect();
    content.zones.sort_by(|one, other| one.name.cmp(&other.name));
    fn walk(when: &mut When, new: &HashMap<u32, u32>) {
        for entry in &mut when.hours {
            entry.zone = new.get(&entry.zone).copied().unwrap_or(entry.zone);
        }
        when.hours.sort_by_key(|entry| (entry.zone, entry.days, entry.start, entry.stop, entry.cut));
        for except in &mut when.except {
            walk(except, new);
        }
    }
    content.allows.iter_mut().for_each(|rule| walk(&mut rule.when, &new));
    content.requires.iter_mut().for_each(|rule| walk(&mut rule.when, &new));
    content.denies.iter_mut().for_each(|rule| walk(&mut rule.when, &new));
    content.duties.iter_mut().for_each(|rule| walk(&mut rule.when, &new));
}
