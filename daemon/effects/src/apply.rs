//! Compiles policy.d and puts the result in force.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use jitsudo_core::language::{self, Compiled, Diagnostic, HostLookup, SourceFile};
use jitsudo_core::policy::Policy;
use jitsudo_link::spawner::{Applied, ApplyOutcome};
use jitsudo_link::{APPLIED_POLICY, POLICY_FILES};
use jitsudo_protocol::digest;
use jitsudo_sys::nix::libc;

use crate::{ending, files, gate, host, more, place};

/// Most of a compiler's text that is passed on, bytes.
const MAX_TEXT_BYTES: usize = 24 * 1024;
/// Most names in one of the lists of changes.
const MAX_NAMES: usize = 100;
/// Most file names passed on.
const MAX_FILE_NAMES: usize = 100;

/// Compiles, compares with the one in force and, unless it is a dry run, replaces it.
pub(crate) fn apply(dry_run: bool, expect: Option<&str>) -> ApplyOutcome {
    let sources = match files::read(Path::new(POLICY_FILES)) {
        Ok(sources) => sources,
        Err(error) => return ApplyOutcome::Refused { text: error.to_string(), errors: 1 },
    };
    let groups = more::of_host();
    let group_has_more = |group: &str| groups.get(group).cloned();
    let lookup =
        HostLookup { zone: &host::zone, resolve_directory: &host::resolve_directory, group_has_more: &group_has_more };
    let Compiled { policy, warnings } = match language::compile(&sources, &lookup) {
        Ok(compiled) => compiled,
        Err(diagnostics) => return refused(&diagnostics, &sources),
    };
    let compiled = policy.to_compiled();
    let digest = digest::of_bytes(&compiled);
    if expect.is_some_and(|expect| expect != digest) {
        let text = "the files changed since they were shown: look at them again".to_owned();
        return ApplyOutcome::Refused { text, errors: 1 };
    }
    let (previous, before) = match in_force(Path::new(APPLIED_POLICY)) {
        Ok(in_force) => in_force,
        Err(error) => return ApplyOutcome::Failed(format!("cannot read {APPLIED_POLICY}: {error}")),
    };
    let gated = Path::new(jitsudo_login_wire::GATED);
    let list_before = if dry_run { None } else { Some(gate::put(gated, &policy)) };
    if let Some(Err(cause)) = list_before {
        return ApplyOutcome::Failed(format!("{cause}; the policy before it stays in force"));
    }
    if !dry_run && let Err(error) = place::put(Path::new(APPLIED_POLICY), &compiled, 0o640) {
        list_before.iter().flatten().for_each(|before| gate::put_back(gated, before));
        return ApplyOutcome::Failed(format!(
            "cannot write {APPLIED_POLICY}: {error}; the policy before it stays in force"
        ));
    }
    let counts = policy.counts();
    let (added, removed, changed) = changes(before.as_ref(), &policy);
    let (ends, more_end) = if dry_run { ending::under(&policy) } else { (Vec::new(), 0) };
    ApplyOutcome::Done(Box::new(Applied {
        policy: digest,
        previous,
        rules: (counts.allows + counts.requires + counts.denies + counts.duties) as u64,
        roles: counts.roles as u64,
        files: sources.iter().take(MAX_FILE_NAMES).map(|source| source.name.clone()).collect(),
        warnings: render(&warnings, &sources),
        added,
        removed,
        changed,
        ends,
        more_end,
    }))
}

fn refused(diagnostics: &[Diagnostic], sources: &[SourceFile]) -> ApplyOutcome {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error).count() as u64;
    ApplyOutcome::Refused { text: render(diagnostics, sources), errors }
}

fn render(diagnostics: &[Diagnostic], sources: &[SourceFile]) -> String {
    let mut text = String::new();
    for (count, diagnostic) in diagnostics.iter().enumerate() {
        let next = diagnostic.render(sources, false);
        if text.len() + next.len() > MAX_TEXT_BYTES {
            text.push_str(&format!("… and {} more\n", diagnostics.len() - count));
            break;
        }
        text.push_str(&next);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}

/// The policy in force: its digest, and itself where this version can read it.
fn in_force(path: &Path) -> io::Result<(Option<String>, Option<Policy>)> {
    let mut bytes = Vec::new();
    match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, None)),
        Err(error) => return Err(error),
    };
    Ok((Some(digest::of_bytes(&bytes)), Policy::from_compiled(&bytes).ok()))
}

/// Names of rules that came, went, or say something else now.
fn changes(before: Option<&Policy>, after: &Policy) -> (Vec<String>, Vec<String>, Vec<String>) {
    let rules = |policy: &Policy| -> BTreeMap<String, String> { policy.rule_texts().into_iter().collect() };
    let (before, after) = (before.map(rules).unwrap_or_default(), rules(after));
    let cut = |names: Vec<&String>| names.into_iter().take(MAX_NAMES).cloned().collect::<Vec<String>>();
    let added = after.keys().filter(|name| !before.contains_key(*name)).collect();
    let removed = before.keys().filter(|name| !after.contains_key(*name)).collect();
    let differs = |(name, text): &(&String, &String)| before.get(*name).is_some_and(|old| old != *text);
    let changed = after.iter().filter(differs).map(|(name, _)| name).collect();
    (cut(added), cut(removed), cut(changed))
}
