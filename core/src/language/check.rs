//! What only the whole policy shows: cycles, rules that nothing can reach, groups that grant more, programs that run others.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::Command;
use crate::pattern::{Element, Shape};
use crate::policy::MAX_DENY_PROGRAMS;
use crate::rule::{Allow, Deny, Require};

use super::build::Build;
use super::roles::RoleDraft;
use super::rules::Draft;

/// Programs that run others, edit or read any file, when their arguments (or their own commands) are free.
const ESCAPES: &[&str] = &[
    "apt",
    "apt-get",
    "ash",
    "at",
    "awk",
    "bash",
    "busybox",
    "chmod",
    "chown",
    "chroot",
    "cp",
    "crontab",
    "csh",
    "curl",
    "dash",
    "dd",
    "docker",
    "dpkg",
    "ed",
    "emacs",
    "env",
    "ex",
    "find",
    "fish",
    "flock",
    "gawk",
    "gdb",
    "git",
    "install",
    "ip",
    "kubectl",
    "less",
    "lua",
    "make",
    "man",
    "mawk",
    "more",
    "mount",
    "mv",
    "nano",
    "nice",
    "nmap",
    "node",
    "nsenter",
    "perl",
    "php",
    "pico",
    "pip",
    "pip3",
    "podman",
    "psql",
    "python",
    "python3",
    "rpm",
    "rsync",
    "ruby",
    "run-parts",
    "scp",
    "screen",
    "sed",
    "sh",
    "snap",
    "ssh",
    "strace",
    "su",
    "sudo",
    "systemctl",
    "systemd-run",
    "tar",
    "tcpdump",
    "tee",
    "time",
    "timeout",
    "tmux",
    "unshare",
    "vi",
    "vim",
    "visudo",
    "watch",
    "wget",
    "xargs",
    "yum",
    "zip",
    "zsh",
];
/// Those that need no argument for it.
const ALWAYS: &[&str] = &[
    "ash", "bash", "csh", "dash", "ed", "emacs", "ex", "fish", "less", "man", "more", "nano", "pico", "screen", "sh",
    "su", "tmux", "vi", "vim", "visudo", "zsh",
];

pub(super) fn roles(build: &mut Build<'_>, roles: &[RoleDraft]) {
    for (index, draft) in (0u32..).zip(roles) {
        let mut seen = BTreeSet::new();
        let mut open = draft.role.includes.clone();
        while let Some(next) = open.pop() {
            if seen.insert(next)
                && let Some(role) = usize::try_from(next).ok().and_then(|next| roles.get(next))
            {
                open.extend(&role.role.includes);
            }
        }
        if seen.contains(&index) {
            let message = format!("role \"{}\" includes itself", draft.role.name);
            build.findings.error(&draft.place, message, "reached again over `includes`", None);
        }
        for (group, place) in draft.lent.iter().filter(|_| !draft.group_grants_more) {
            if let Some(used) = build.groups_named.get(group) {
                let used = build.findings.short_place(used);
                let message =
                    format!("role \"{}\" lends group {group}, and rules are given to %{group}", draft.role.name);
                let hint = format!("group-grants-more = true says that this is meant ({used})");
                build.findings.error(place, message, "who gets the group gets those rules", Some(hint));
            } else if let Some(used) = (build.host.group_has_more)(group) {
                let message = format!("role \"{}\" lends group {group}, and {used} gives that more", draft.role.name);
                let hint = "group-grants-more = true says that this is meant".to_owned();
                build.findings.error(place, message, "who gets the group gets that too", Some(hint));
            }
        }
        let place = usize::try_from(index).into_iter();
        let parts = seen.iter().filter_map(|part| usize::try_from(*part).ok()).chain(place);
        let parts: Vec<_> = parts.filter_map(|part| roles.get(part)).map(|part| &part.role).collect();
        if parts.iter().any(|part| part.is_groups_only()) && parts.iter().any(|part| part.shell || !part.run.is_empty())
        {
            let message = format!(
                "role \"{}\" lists commands of another account, so its groups are lent to no other command",
                draft.role.name
            );
            let hint = Some("give the groups a role of their own, and both roles to whom needs both".to_owned());
            build.findings.warn(&draft.place, message, "commands here, groups there", hint);
        }
        for (command, place) in &draft.sudoers {
            command_lint(build, command, place);
        }
        for (command, place) in draft.role.run.iter().zip(&draft.commands) {
            command_lint(build, command, place);
        }
    }
}

fn command_lint(build: &mut Build<'_>, command: &Command, place: &super::source::Place) {
    let Command::One { program, arguments } = command else {
        build.findings.warn(
            place,
            "\"ALL\" is every command, so everything on this host",
            "a role of one program?",
            None,
        );
        return;
    };
    let base = program.as_str().rsplit('/').next().unwrap_or_default();
    if arguments.is_empty() {
        let hint = Some("add `...` for words that are no options, `<any...>` for all".to_owned());
        build.findings.warn(
            place,
            format!("{base} is covered without arguments only"),
            "no further element = no arguments",
            hint,
        );
    }
    let free = |element: &Element| match &element.shape {
        Shape::AnyWord | Shape::Any | Shape::Rest | Shape::AnyRest | Shape::Re(..) => true,
        Shape::Words(_) | Shape::Path(_) | Shape::Int(..) | Shape::Secret(_) => false,
    };
    let escapes = ALWAYS.contains(&base) || (ESCAPES.contains(&base) && arguments.iter().any(free));
    let interpreter = ["python", "perl", "ruby", "lua", "php"].iter().any(|name| base.starts_with(name));
    if escapes || (interpreter && (arguments.is_empty() || arguments.iter().any(free))) {
        let hint = Some("fix its arguments, or give a role that says what it is: shell = true".to_owned());
        build.findings.warn(
            place,
            format!("{base} can start any program or change any file"),
            "as good as a shell",
            hint,
        );
    }
}

/// Rules that no request can reach.
pub(super) fn allows(build: &mut Build<'_>, allows: &[Draft<Allow>], roles: &[RoleDraft], denies: &[Draft<Deny>]) {
    let parts = |role: u32| {
        let mut found: Vec<u32> = vec![role];
        let mut at = 0;
        while let Some(next) = found.get(at).and_then(|next| roles.get(usize::try_from(*next).ok()?)) {
            for include in &next.role.includes {
                if !found.contains(include) {
                    found.push(*include);
                }
            }
            at += 1;
        }
        found
    };
    let mut programs: BTreeMap<u32, Option<BTreeSet<Vec<u8>>>> = BTreeMap::new();
    for draft in allows {
        let rule = &draft.rule;
        let who = rule.when.who.as_deref().unwrap_or_default();
        let covered = rule.when.except.iter().any(|except| takes_all_back(except, who));
        if covered {
            let place = draft.when.who.as_ref().unwrap_or(&draft.place);
            build.findings.error(
                place,
                format!("allow {:?} can never hold", rule.name),
                "all of these are in its `except`",
                None,
            );
        }
        // A deny of the same people without any other condition.
        if let Some(deny) = denies.iter().find(|deny| takes_all_back(&deny.rule.when, who)) {
            let place = draft.when.who.as_ref().unwrap_or(&draft.place);
            let hint = Some(format!("deny {:?} ({}) refuses everything to them", deny.rule.name, deny.rule.source));
            build.findings.error(
                place,
                format!("allow {:?} can never be reached", rule.name),
                "all of these are denied",
                hint,
            );
        }
        let (Some(run), Some(place)) = (&rule.when.run, &draft.when.run) else { continue };
        let given: Vec<Option<BTreeSet<Vec<u8>>>> = rule
            .roles
            .iter()
            .map(|role| {
                let known = programs.entry(*role).or_insert_with(|| {
                    let parts = parts(*role);
                    let commands = parts
                        .iter()
                        .filter_map(|part| roles.get(usize::try_from(*part).ok()?))
                        .flat_map(|role| &role.role.run);
                    let mut all = BTreeSet::new();
                    for command in commands {
                        all.extend(command.literal_programs()?.into_iter().map(<[u8]>::to_vec));
                    }
                    Some(all)
                });
                known.clone()
            })
            .collect();
        let reachable = run.iter().any(|command| match command.literal_programs() {
            None => true,
            Some(wanted) => given
                .iter()
                .any(|given| given.as_ref().is_none_or(|given| wanted.iter().any(|program| given.contains(*program)))),
        });
        if !reachable {
            let hint = Some("`run` in an allow narrows its roles; it gives nothing itself".to_owned());
            build.findings.error(
                place,
                format!("allow {:?} can never hold", rule.name),
                "none of its roles runs any of these",
                hint,
            );
        }
    }
}

/// True for conditions of `who` alone that hold all these subjects.
fn takes_all_back(when: &crate::rule::When, who: &[crate::subject::Subject]) -> bool {
    let only_who = crate::rule::When { who: when.who.clone(), ..crate::rule::When::default() } == *when;
    let inner = when.who.as_deref().unwrap_or_default();
    only_who && !who.is_empty() && who.iter().all(|subject| inner.contains(subject))
}

pub(super) fn denies(build: &mut Build<'_>, denies: &[Draft<Deny>]) {
    let mut programs: BTreeSet<Vec<u8>> = BTreeSet::new();
    for deny in denies {
        for (command, place) in deny.rule.when.run.iter().flatten().zip(&deny.when.commands) {
            let literal = command.literal_programs().unwrap_or_default();
            programs.extend(literal.into_iter().map(<[u8]>::to_vec));
            if programs.len() > MAX_DENY_PROGRAMS {
                let hint = Some("deny by role, or say what is allowed instead".to_owned());
                let message = format!("denies name more than {MAX_DENY_PROGRAMS} programs");
                build.findings.error(place, message, "each is compared by device and inode at every request", hint);
                return;
            }
        }
    }
}

pub(super) fn requires(build: &mut Build<'_>, requires: &[Draft<Require>]) {
    for draft in requires.iter().filter(|draft| draft.rule.when.who.as_ref().is_some_and(Vec::is_empty)) {
        build.findings.error(&draft.place, "this require names nobody", "no one left in `who`", None);
    }
}
