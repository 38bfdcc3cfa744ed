//! The algorithm of the policy language once more, written to be read and not to be fast: no index, every rule every time, its own
//! matcher that tries everything.

use jitsudo_core::facts::{Fact, Facts, Origin};
use jitsudo_core::request::{Kind, Request};

use super::model::{Model, Role, Rule, When, Words};
use super::naive_words::{file_is, word_is, words_are};
use super::surroundings::Before;

/// Safe chain, and the places of secrets.
type Given = (bool, Vec<usize>);
/// Some(true), Some(false), or None = unknown.
type Three = Option<bool>;

fn and(one: Three, other: Three) -> Three {
    match (one, other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}
fn or(all: impl Iterator<Item = Three>) -> Three {
    let all: Vec<Three> = all.collect();
    if all.contains(&Some(true)) {
        Some(true)
    } else if all.contains(&None) {
        None
    } else {
        Some(false)
    }
}

#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    Allow {
        rule: String,
        role: String,
        window: u64,
        run_time: u64,
        auth: usize,
        approvals: u32,
        record: usize,
        not_after: Option<String>,
        joined: Vec<String>,
        safe_chain: bool,
        secrets: Vec<usize>,
        env_keep: Vec<String>,
    },
    Deny {
        by: Option<String>,
    },
}

pub struct Naive<'a> {
    pub model: &'a Model,
    pub facts: &'a Facts,
    pub request: &'a Request,
    pub before: &'a Before,
    pub now: jiff::Timestamp,
}

#[derive(Clone, Copy)]
struct Manner {
    wide: bool,
    anything: bool,
    overlap: bool,
    ordinary: bool,
}

impl Naive<'_> {
    fn role(&self, name: &str) -> &Role {
        self.model.roles.iter().find(|role| role.name == name).unwrap()
    }

    /// The role and all that it includes.
    fn parts(&self, name: &str) -> Vec<&Role> {
        let mut found = vec![self.role(name)];
        let mut at = 0;
        while at < found.len() {
            for include in found[at].includes.clone() {
                if !found.iter().any(|role| role.name == include) {
                    found.push(self.role(include));
                }
            }
            at += 1;
        }
        found
    }

    fn is_who(&self, who: &str, wide: bool) -> Three {
        let requester = &self.facts.requester;
        let name = requester.name.known().cloned();
        let group = |test: &dyn Fn(u32, &str) -> bool| {
            let within = |groups: &Fact<std::collections::BTreeSet<jitsudo_core::facts::Group>>| {
                groups.known().map(|groups| {
                    groups
                        .iter()
                        .filter(|group| !requester.lent_groups.contains(&group.gid))
                        .any(|group| test(group.gid.0, group.name.as_deref().unwrap_or("")))
                })
            };
            if wide {
                or([within(&requester.groups), within(&requester.process_groups)].into_iter())
            } else {
                within(&requester.groups)
            }
        };
        match who {
            "alice" | "bob" => name.map(|name| name == who),
            "#1001" => Some(requester.uid.0 == 1001),
            "#1003" => Some(requester.uid.0 == 1003),
            "%g1" => group(&|_, name| name == "g1"),
            "%g2" => group(&|_, name| name == "g2"),
            "%#11" => group(&|gid, _| gid == 11),
            "@person" => or(["bob", "#1003"].iter().map(|who| self.is_who(who, wide))),
            "@team" => or(["bob", "#1003", "%g2"].iter().map(|who| self.is_who(who, wide))),
            "ALL" if !(1000..=60000).contains(&requester.uid.0) => Some(false),
            "ALL" => name.map(|_| true),
            other => panic!("{other}"),
        }
    }

    fn is_host(&self, host: &str) -> Three {
        let name = self.facts.host.as_str();
        if name.is_empty() {
            return None;
        }
        let first = name.split('.').next().unwrap();
        Some(match host {
            "web-*" => first.starts_with("web-"),
            "db-1" => first == "db-1",
            "*.example.com" => name.ends_with(".example.com"),
            "label:prod" => self.facts.labels.contains("prod"),
            "@set" => first.starts_with("db-") || self.facts.labels.contains("test"),
            other => panic!("{other}"),
        })
    }

    fn is_origin(&self, origins: &Words, wide: bool) -> Three {
        let Fact::Is(origin) = &self.facts.origin else { return None };
        let unit = origin.unit.as_ref().map(|unit| format!("unit:{unit}"));
        let missing = (origin.sandbox && !origins.contains(&"sandbox"))
            || unit.as_ref().is_some_and(|unit| !origins.contains(&unit.as_str()));
        if !wide && missing {
            return Some(false);
        }
        or(origins.iter().map(|wanted| match *wanted {
            "terminal" => Some(origin.terminal),
            "no-terminal" => Some(!origin.terminal),
            "sandbox" => Some(origin.sandbox),
            "console" => origin.console.known().copied(),
            "ssh" => origin.ssh.known().copied(),
            "ssh:10.0.0.0/8" => and(origin.ssh.known().copied(), address(origin)),
            other => Some(unit.as_deref() == Some(other)),
        }))
    }

    fn command_is(&self, words: &Words, wide: bool) -> Three {
        let Fact::Is(executable) = &self.facts.executable else { return None };
        let Ok(executable) = executable else { return Some(false) };
        if *words == ["ALL"] {
            return Some(true);
        }
        let program = word_is(words[0], &executable.path.0, true, wide)
            || (wide
                && ["/usr/bin/x", "/usr/bin/y", "/usr/bin/bash", "/opt/z"].iter().any(|path| {
                    executable.same_file_as.contains(*path)
                        && (words[0] == *path || (words[0] == "/usr/bin/{x,bash}" && path.ends_with(['x', 'h'])))
                }));
        if !program {
            return Some(false);
        }
        if words.len() == 1 && wide {
            return Some(true);
        }
        let argv: Vec<(usize, &[u8])> =
            self.request.argv.iter().enumerate().skip(1).map(|(at, word)| (at, word.0.as_slice())).collect();
        Some(words_are(&words[1..], &argv, &|at| self.facts.rooted_arguments.contains(&at), wide))
    }

    fn anything(&self, role: &Role) -> bool {
        role.shell || role.groups || role.run.contains(&vec!["ALL"])
    }

    fn is_run(&self, run: &[Words], manner: Manner, role: Option<&str>) -> Three {
        match self.request.kind {
            Kind::Command => {
                let matches = or(run.iter().map(|words| self.command_is(words, manner.wide)));
                let Fact::Is(executable) = &self.facts.executable else { return None };
                let shell = executable.as_ref().is_ok_and(|executable| executable.is_shell);
                let lends = executable.is_ok()
                    && self.request.role.as_deref().is_some_and(|name| {
                        self.model.roles.iter().any(|role| role.name == name)
                            && self.parts(name).iter().any(|role| role.groups)
                    });
                if manner.anything && (shell || lends) { Some(true) } else { matches }
            }
            Kind::Shell | Kind::LoginShell => Some(manner.anything || (manner.wide && run.contains(&vec!["ALL"]))),
            Kind::Edit | Kind::Validate | Kind::Approve => Some(false),
            Kind::Role => {
                let Some(role) = role else { return Some(false) };
                let parts = self.parts(role);
                if manner.anything && parts.iter().any(|role| self.anything(role)) {
                    Some(true)
                } else if manner.overlap && parts.iter().any(|role| !role.run.is_empty() || self.anything(role)) {
                    None
                } else {
                    Some(false)
                }
            }
        }
    }

    fn target_is(&self, entry: &str, wide: bool) -> bool {
        let Fact::Is(Some(target)) = &self.facts.target else { return false };
        let asked = self.request.group.is_some();
        let g1 = asked && target.group.as_deref() == Some("g1");
        match entry {
            "root" => target.uid.0 == 0 && (wide || !asked),
            "bob" => target.name == "bob" && (wide || !asked),
            "ALL" => wide || !asked,
            "ALL:ALL" => true,
            "bob:g1" => target.name == "bob" && g1,
            ":g1" => (wide || target.uid == self.facts.requester.uid) && g1,
            other => panic!("{other}"),
        }
    }

    fn is_as(&self, list: &Words, manner: Manner, role: Option<&str>) -> Three {
        if self.request.kind == Kind::Role {
            let Some(role) = role else { return Some(false) };
            let parts = self.parts(role);
            let given: Vec<&str> = parts
                .iter()
                .flat_map(|role| if role.as_whom.is_empty() { vec!["root"] } else { role.as_whom.clone() })
                .collect();
            let user = |entry: &str| entry.split(':').next().unwrap().to_owned();
            let all = list.iter().any(|entry| user(entry) == "ALL");
            return Some(if manner.wide {
                given.iter().any(|one| {
                    all || list.contains(one) || user(one) == "ALL" || list.iter().any(|entry| user(entry) == user(one))
                })
            } else {
                given.iter().all(|one| all || list.contains(one))
            });
        }
        match &self.facts.target {
            Fact::Unknown => None,
            Fact::Is(None) => Some(false),
            Fact::Is(Some(_)) => Some(list.iter().any(|entry| self.target_is(entry, manner.wide))),
        }
    }

    fn is_shell(&self, role: Option<&str>) -> Three {
        match self.request.kind {
            Kind::Shell | Kind::LoginShell => Some(true),
            Kind::Edit | Kind::Validate | Kind::Approve => Some(false),
            Kind::Role => Some(role.is_some_and(|role| self.parts(role).iter().any(|role| role.shell))),
            Kind::Command => match &self.facts.executable {
                Fact::Unknown => None,
                Fact::Is(found) => {
                    Some(found.as_ref().is_ok_and(|executable| executable.is_shell) && self.request.argv.len() == 1)
                }
            },
        }
    }

    fn holds(&self, when: &When, manner: Manner, role: Option<&str>) -> Three {
        let mut all = Some(true);
        let mut also = |three: Three| all = and(all, three);
        if let Some(who) = &when.who {
            also(or(who.iter().map(|who| self.is_who(who, manner.wide))));
        }
        if let Some(hosts) = &when.hosts {
            also(or(hosts.iter().map(|host| self.is_host(host))));
        }
        if let Some(roles) = &when.roles {
            also(Some(role.is_some_and(|role| {
                if manner.wide {
                    self.parts(role).iter().any(|role| roles.contains(&role.name))
                } else {
                    roles.contains(&role)
                }
            })));
        }
        if let Some(run) = &when.run {
            also(self.is_run(run, manner, role));
        }
        if let Some(list) = &when.as_whom {
            also(self.is_as(list, manner, role));
        }
        if let Some(globs) = &when.edit {
            also(self.is_edit(globs, manner, role));
        }
        if let Some(shell) = when.shell {
            also(self.is_shell(role).map(|is| is == shell));
        }
        match &when.origin {
            Some(origins) => also(self.is_origin(origins, manner.wide)),
            None if manner.ordinary => {
                also(self.facts.origin.known().map(|origin| !origin.sandbox && origin.unit.is_none()))
            }
            None => {}
        }
        if let Some((start, stop, _)) = when.hours {
            let hour = u32::try_from(self.now.as_second().rem_euclid(86_400) / 3600).unwrap();
            also(Some((start..stop).contains(&hour)));
        }
        if let Some(instant) = when.not_after {
            also(Some(self.now < instant.parse().unwrap()));
        }
        if let Some(except) = &when.except {
            let turned = Manner { wide: !manner.wide, anything: !manner.wide, overlap: !manner.wide, ordinary: false };
            also(self.holds(except, turned, role).map(|holds| !holds));
        }
        all
    }

    fn is_edit(&self, globs: &Words, manner: Manner, role: Option<&str>) -> Three {
        let is = |path: &jitsudo_bytes::Bytes| globs.iter().any(|glob| file_is(glob, &path.0, manner.wide));
        let argv = &self.request.argv;
        match self.request.kind {
            Kind::Edit if manner.wide => Some(argv.iter().any(is)),
            Kind::Edit => Some(argv.iter().all(is)),
            Kind::Role if manner.overlap => {
                let edits = role.is_some_and(|role| self.parts(role).iter().any(|role| !role.edit.is_empty()));
                if edits { None } else { Some(false) }
            }
            _ => Some(false),
        }
    }

    /// Some((safe chain, secrets)) when the part gives the request.
    fn gives(&self, role: &str, part: &Role) -> Option<Given> {
        let request = self.request;
        if request.role.as_deref().is_some_and(|name| name != role) {
            return None;
        }
        if request.kind == Kind::Role {
            return (request.role.is_some() && role == part.name).then_some((false, Vec::new()));
        }
        if request.kind == Kind::Validate {
            return matches!(self.facts.target, Fact::Is(Some(_))).then_some((false, Vec::new()));
        }
        let env = request.env_names.iter().all(|name| match name.as_str() {
            Some("FOO" | "BAR") => {
                !part.env_keep.is_empty() || part.shell || part.groups || part.run.contains(&vec!["ALL"])
            }
            Some("LANG") => true,
            _ => false,
        });
        let cwd = request.cwd.as_ref().is_none_or(|cwd| part.any_cwd || self.facts.cwd.known() == Some(cwd));
        if !env || !cwd {
            return None;
        }
        if part.groups && request.kind != Kind::Edit {
            let own = matches!(&self.facts.target, Fact::Is(Some(target)) if target.uid == self.facts.requester.uid);
            let known = request.kind == Kind::Shell
                || (request.kind == Kind::Command && matches!(&self.facts.executable, Fact::Is(Ok(_))));
            let covered = own && known && request.role.is_some() && request.user.is_none() && request.group.is_none();
            return covered.then_some((false, Vec::new()));
        }
        let Fact::Is(Some(_)) = &self.facts.target else { return None };
        let root = vec!["root"];
        let whom = if part.as_whom.is_empty() { &root } else { &part.as_whom };
        if !whom.iter().any(|entry| self.target_is(entry, false)) {
            return None;
        }
        if part.shell && self.is_shell(None) == Some(true) {
            return Some((false, Vec::new()));
        }
        if request.kind == Kind::Edit {
            let plain = |path: &[u8]| {
                let text = String::from_utf8_lossy(path);
                text.starts_with('/')
                    && !text.ends_with('/')
                    && !["//", "/./", "/../"].iter().any(|odd| text.contains(odd))
            };
            let given = request
                .argv
                .iter()
                .all(|path| plain(&path.0) && part.edit.iter().any(|glob| file_is(glob, &path.0, false)));
            return given.then_some((false, Vec::new()));
        }
        if request.kind != Kind::Command {
            return None;
        }
        let Fact::Is(Ok(executable)) = &self.facts.executable else { return None };
        let covering: Vec<&Words> =
            part.run.iter().filter(|words| self.command_is(words, false) == Some(true)).collect();
        let all = part.run.contains(&vec!["ALL"]);
        if covering.is_empty() {
            return None;
        }
        let safe = !all;
        if safe && executable.writable_by_others.is_some() {
            return None;
        }
        Some((safe, self.secrets(&covering)))
    }

    /// bob and carol (#1003) are one person; a name that is not known may be bob's.
    fn is_same_person(&self, uid: u32, user: &str) -> bool {
        let requester = &self.facts.requester;
        let own = requester.name.known().map(String::as_str);
        let may_be_person = requester.uid.0 == 1003 || own.is_none_or(|own| own == "bob");
        requester.uid.0 == uid || own == Some(user) || (may_be_person && (user == "bob" || uid == 1003))
    }

    /// Seconds that a budget of a rule leaves: None = nothing, Some(None) = as many as one likes.
    fn left(&self, rule: &str, (per, time, uses): (u64, Option<u64>, Option<u64>)) -> Option<Option<u64>> {
        let own = self.before.given.iter().filter(|one| one.rule == rule && self.is_same_person(one.uid, one.user));
        let own: Vec<_> = own.collect();
        let per = per as i64;
        let count = own.iter().filter(|one| one.from < per).count() as u64;
        if uses.is_some_and(|uses| count >= uses) {
            return None;
        }
        let Some(time) = time else { return Some(None) };
        // Minute by minute, as minutes before now: minute m lasts from m to m - 1.
        let is_given = |minute: i64| own.iter().any(|one| one.from >= minute && one.to < minute);
        let used = (-100..=per).filter(|minute| is_given(*minute)).count() as u64;
        let running = (0..100i64).take_while(|ahead| is_given(-ahead)).count() as u64;
        let left = (time + running).saturating_sub(used);
        (left > 0).then_some(Some(left * 60))
    }

    /// Where <secret> can stand when the words before it are covered by the elements before it.
    fn secrets(&self, covering: &[&Words]) -> Vec<usize> {
        let argv: Vec<(usize, &[u8])> =
            self.request.argv.iter().enumerate().skip(1).map(|(at, word)| (at, word.0.as_slice())).collect();
        let rooted = |at: usize| self.facts.rooted_arguments.contains(&at);
        let mut found = Vec::new();
        for words in covering {
            for (place, element) in words.iter().enumerate().skip(1) {
                for (at, word) in &argv {
                    let before = words_are(&words[1..place], &argv[..at - 1], &rooted, false);
                    if *element == "<secret>" && !word.starts_with(b"-") && before {
                        found.push(*at);
                    }
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    pub fn answer(&self) -> Answer {
        let request = self.request;
        let no = |by: Option<String>| Answer::Deny { by };
        if request.kind != Kind::Role && matches!(self.facts.target, Fact::Is(None)) {
            return no(None);
        }
        let allow = Manner { wide: false, anything: false, overlap: false, ordinary: true };
        let require = Manner { wide: true, anything: false, overlap: true, ordinary: false };
        let denies = |role: Option<&str>| {
            let names = self.model.denies.iter().filter(|rule| {
                let manner = Manner { wide: true, anything: !rule.only_this_path, overlap: false, ordinary: false };
                self.holds(&rule.when, manner, role) != Some(false)
            });
            names.map(|rule| rule.name.clone()).min()
        };
        let mut candidates: Vec<(&Rule, &str, &Role, Given)> = Vec::new();
        for rule in &self.model.allows {
            for role in &rule.roles {
                for part in self.parts(role) {
                    if rule.break_glass == request.break_glass
                        && self.holds(&rule.when, allow, Some(role)) == Some(true)
                        && let Some(given) = self.gives(role, part)
                    {
                        candidates.push((rule, role, part, given));
                    }
                }
            }
        }
        if candidates.is_empty() {
            let named = request.role.as_deref().filter(|name| self.model.roles.iter().any(|role| role.name == *name));
            return no(denies(named));
        }
        let mut denied: Vec<String> = Vec::new();
        let mut unmet = false;
        let mut answers = Vec::new();
        for (rule, role, part, (safe_chain, secrets)) in candidates {
            if let Some(name) = denies(Some(role)) {
                denied.push(name);
                continue;
            }
            let joined: Vec<&Rule> = self
                .model
                .requires
                .iter()
                .filter(|rule| self.holds(&rule.when, require, Some(role)) != Some(false))
                .collect();
            let glass = rule.break_glass;
            let all: Vec<&Rule> = std::iter::once(rule).chain(if glass { vec![] } else { joined.clone() }).collect();
            let own_and_joined: Vec<&Rule> = std::iter::once(rule).chain(joined.clone()).collect();
            let window = if glass {
                420
            } else {
                all.iter()
                    .enumerate()
                    .map(|(at, rule)| rule.terms.window.unwrap_or(if at == 0 { 3600 } else { u64::MAX }))
                    .min()
                    .unwrap()
            };
            let budgets: Vec<_> =
                all.iter().filter_map(|one| one.terms.budget).map(|budget| self.left(&rule.name, budget)).collect();
            let left = budgets.iter().map(|left| left.unwrap_or(Some(0)).unwrap_or(u64::MAX)).min().unwrap_or(u64::MAX);
            let window = window.min(left);
            let waits = self.before.waiting.iter().filter(|(uid, user)| self.is_same_person(*uid, user)).count() as u64;
            let closed = budgets.iter().any(Option::is_none) || (glass && waits >= rule.uses);
            let run_time = all
                .iter()
                .enumerate()
                .map(|(at, rule)| rule.terms.run_time.unwrap_or(if at == 0 { 43_200 } else { u64::MAX }))
                .min()
                .unwrap()
                .min(left);
            let auth =
                all.iter().enumerate().map(|(at, rule)| rule.terms.auth.unwrap_or(usize::from(at == 0))).max().unwrap();
            let auth = if glass { 2 } else { auth };
            let mut counts: Vec<u32> = all.iter().filter_map(|rule| rule.terms.approvals).collect();
            counts.sort_unstable();
            counts.dedup();
            let approvals: u32 = if glass { 0 } else { counts.iter().sum() };
            let record = own_and_joined.iter().map(|rule| rule.terms.record.unwrap_or(0)).max().unwrap();
            let reason = own_and_joined.iter().filter_map(|rule| rule.terms.reason).chain(glass.then_some(1)).max();
            let ticket = all.iter().any(|rule| rule.terms.ticket);
            let form = own_and_joined.iter().any(|rule| rule.terms.ticket);
            let reason_ok =
                reason.is_none_or(|length| request.reason.as_ref().is_some_and(|reason| reason.len() as u64 >= length));
            let sound = |ticket: &String| {
                ticket
                    .strip_prefix('T')
                    .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
            };
            let ticket_ok = match &request.ticket {
                None => !ticket,
                Some(given) => !form || sound(given),
            };
            let window_ok = request.window.is_none_or(|asked| asked <= window);
            let lends = match request.kind {
                Kind::Role => self.parts(role).iter().any(|role| role.groups),
                Kind::Command | Kind::Shell | Kind::LoginShell => part.groups,
                Kind::Edit | Kind::Validate | Kind::Approve => false,
            };
            let there = matches!(self.facts.lendable.get("docker"), Some(Fact::Is(Some(_))));
            let proof_only = request.kind == Kind::Validate;
            if !(proof_only || !closed && reason_ok && ticket_ok && window_ok && (there || !lends)) {
                unmet = true;
                continue;
            }
            let mut names: Vec<String> = joined.iter().map(|rule| rule.name.clone()).collect();
            names.sort();
            let day = self.now.as_second().div_euclid(86_400) * 86_400;
            let cut = rule.when.hours.filter(|(_, _, cut)| *cut).map(|(start, stop, _)| {
                // A day that is open round the clock joins the next, as far as is looked ahead.
                let days = if (start, stop) == (0, 24) { return None } else { day };
                Some(jiff::Timestamp::from_second(days + i64::from(stop) * 3600).unwrap())
            });
            let ends = [cut.flatten(), rule.when.not_after.map(|instant| instant.parse().unwrap())];
            let not_after = ends.into_iter().flatten().min().map(|instant: jiff::Timestamp| instant.to_string());
            // `-v`: the strongest proof that any of the rules asks for.
            let strongest = (request.kind == Kind::Validate).then_some(auth);
            let rank = (
                std::cmp::Reverse(strongest),
                approvals,
                auth,
                ticket,
                reason.is_some(),
                std::cmp::Reverse(window),
                std::cmp::Reverse(record),
                rule.name.clone(),
                *role_of(&role),
                part.name,
            );
            let answer = Answer::Allow {
                rule: rule.name.clone(),
                role: role.to_owned(),
                window: request.window.unwrap_or(window).min(window),
                run_time,
                auth,
                approvals: if proof_only { 0 } else { approvals },
                record: if record == 2 && !request.terminal { 1 } else { record },
                not_after,
                joined: names,
                safe_chain,
                secrets,
                env_keep: {
                    let mut keep: Vec<String> = part.env_keep.iter().map(|name| (*name).to_owned()).collect();
                    keep.sort();
                    keep
                },
            };
            answers.push((rank, answer));
        }
        answers.sort_by(|one, other| one.0.cmp(&other.0));
        match answers.into_iter().next() {
            Some((_, answer)) => answer,
            None if unmet => no(None),
            None => no(denied.into_iter().min()),
        }
    }
}

fn role_of<'a, 'b>(role: &'b &'a str) -> &'b &'a str {
    role
}

fn address(origin: &Origin) -> Three {
    match &origin.address {
        Fact::Is(Some(std::net::IpAddr::V4(address))) => Some(address.octets()[0] == 10),
        Fact::Is(Some(_)) => Some(false),
        _ => None,
    }
}
