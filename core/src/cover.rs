//! Which allows cover the whole of a request: kind, act, target, environment, working directory.
//!
//! MUST: an allow covers only what is known; a program that others can write is never run for a rule that names commands.

use crate::decision::Cwd;
use crate::environment;
use crate::facts::{Executable, Fact};
use crate::index::{self, Gives};
use crate::pattern::Reading;
use crate::request::Kind;
use crate::rule::{Allow, Grants, Role};
use crate::truth::Truth;

use crate::conditions::{Manner, Setting};

/// An allow with the role, and the part of it, that would give the request.
#[derive(Clone, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) allow: &'a Allow,
    pub(crate) role: u32,
    pub(crate) part: &'a Role,
    pub(crate) role_name: &'a str,
    pub(crate) cover: Cover,
}

/// What covering found out.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Cover {
    /// The rule names commands, so the program's whole way must be out of others' reach.
    pub(crate) safe_chain: bool,
    /// Places in argv that `<secret>` matched.
    pub(crate) secrets: Vec<usize>,
}

/// The first thing that a role does not cover, ordered: the later, the nearer it was.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Miss {
    /// Not this kind of request, or not this role.
    Kind,
    /// Another program, or none that is known.
    Program,
    /// This file is none that it lets edit.
    File(jitsudo_bytes::Bytes),
    /// This program with other arguments: how many words the nearest entry covers, how much the next one is like what it wants, and the
    /// entry's place.
    Arguments { words: usize, alike: usize, entry: usize },
    /// As somebody else.
    As,
    /// A variable that the role does not let through.
    Environment(jitsudo_bytes::Bytes),
    /// A working directory that it does not let through.
    WorkingDirectory,
    /// The program can be written by others.
    Unsafe(jitsudo_bytes::Bytes),
}

impl<'a> Setting<'a> {
    /// The allows that could cover the request, by place.
    pub(crate) fn possible_allows(&self) -> Vec<u32> {
        let mut gives = Vec::with_capacity(3);
        match self.request.kind {
            Kind::Command => {
                if let Fact::Is(Ok(executable)) = &self.facts.executable {
                    gives.push(index::gives_key(Gives::Program(&executable.path.0)));
                    gives.push(index::gives_key(Gives::AnyProgram));
                    if executable.is_shell && self.request.argv.len() == 1 {
                        gives.push(index::gives_key(Gives::Shell));
                    }
                }
            }
            Kind::Shell | Kind::LoginShell => gives.push(index::gives_key(Gives::Shell)),
            Kind::Edit | Kind::Role | Kind::Validate | Kind::Approve => gives.push(index::gives_key(Gives::Anything)),
        }
        self.allows_giving(&gives)
    }

    /// Every allow that names the requester, by place.
    pub(crate) fn own_allows(&self) -> Vec<u32> {
        self.allows_giving(&[index::gives_key(Gives::Anything)])
    }

    fn allows_giving(&self, gives: &[index::Key]) -> Vec<u32> {
        let mut found = Vec::new();
        for subject in self.who.keys(Reading::Allow) {
            for given in gives {
                self.policy.index.allows.collect(index::both(subject, *given), &mut found);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The allow at a place.
    pub(crate) fn allow(&self, place: u32) -> Option<&'a Allow> {
        self.policy.content.allows.get(usize::try_from(place).ok()?)
    }

    /// Step 1: every allow that holds and covers the request, once for each role part that does.
    pub(crate) fn candidates(&self) -> Vec<Candidate<'a>> {
        let mut found = Vec::new();
        for place in self.possible_allows() {
            if let Some(allow) = self.allow(place) {
                self.candidates_of(allow, &mut found);
            }
        }
        found
    }

    /// What one allow gives of the request.
    pub(crate) fn candidates_of(&self, allow: &'a Allow, found: &mut Vec<Candidate<'a>>) {
        if !self.is_right_class(allow) || self.only.is_some_and(|only| only != allow.name) {
            return;
        }
        for role in &allow.roles {
            let policy: &'a crate::policy::Policy = self.policy;
            let Some(role_name) = policy.role(*role).map(|role| role.name.as_str()) else { continue };
            let mut judged = false;
            for (place, part) in policy.parts_of(*role) {
                let Ok(cover) = self.cover(*role, place, part) else { continue };
                // The conditions read the role, not the part.
                if !judged && self.judge(&allow.when, Manner::ALLOW, Some(*role)) != Truth::True {
                    break;
                }
                judged = true;
                found.push(Candidate { allow, role: *role, part, role_name, cover });
            }
        }
    }

    /// Break-glass requests see break-glass allows alone, others never; `grant` may leave a kind out.
    pub(crate) fn is_right_class(&self, allow: &Allow) -> bool {
        let granted = match allow.grant {
            Grants::Both => true,
            Grants::Role => self.request.kind == Kind::Role,
            Grants::Command => self.request.kind != Kind::Role,
        };
        granted && self.request.break_glass == allow.break_glass.is_some()
    }

    /// Whether one part of a role covers the request.
    pub(crate) fn cover(&self, role: u32, place: u32, part: &Role) -> Result<Cover, Miss> {
        let request = self.request;
        if request.role.is_some() && self.named_role() != Some(role) {
            return Err(Miss::Kind);
        }
        if request.kind == Kind::Role {
            let whole = request.role.is_some() && role == place;
            return if whole { Ok(Cover::default()) } else { Err(Miss::Kind) };
        }
        if request.kind == Kind::Validate {
            // Whatever the role gives: nothing of it is used. An account that was asked for must be there all the same.
            return if matches!(self.facts.target, Fact::Is(Some(_))) { Ok(Cover::default()) } else { Err(Miss::As) };
        }
        let cover = self.cover_act(role, part)?;
        self.cover_surroundings(part)?;
        if cover.safe_chain
            && let Fact::Is(Ok(Executable { writable_by_others: Some(path), .. })) = &self.facts.executable
        {
            return Err(Miss::Unsafe(path.clone()));
        }
        Ok(cover)
    }

    fn cover_act(&self, role: u32, part: &Role) -> Result<Cover, Miss> {
        if part.is_groups_only() && self.request.kind != Kind::Edit {
            return self.cover_with_groups(role);
        }
        if part.shell && self.shell(None) == Truth::True {
            return self.cover_target(part).map(|()| Cover::default());
        }
        match self.request.kind {
            Kind::Shell | Kind::LoginShell | Kind::Role | Kind::Validate | Kind::Approve => Err(Miss::Kind),
            Kind::Edit => {
                let argv = &self.request.argv;
                let is = |path: &&jitsudo_bytes::Bytes| {
                    is_plain(&path.0)
                        && part
                            .edit
                            .iter()
                            .any(|glob| glob.0.ways.iter().any(|way| way.covers(&path.0, Reading::Allow)))
                };
                if part.edit.is_empty() || argv.is_empty() {
                    return Err(Miss::Kind);
                }
                if let Some(path) = argv.iter().find(|path| !is(path)) {
                    return Err(Miss::File(path.clone()));
                }
                self.cover_target(part).map(|()| Cover::default())
            }
            Kind::Command => {
                let cover = self.cover_command(part)?;
                self.cover_target(part).map(|()| cover)
            }
        }
    }

    fn cover_command(&self, part: &Role) -> Result<Cover, Miss> {
        let Fact::Is(Ok(executable)) = &self.facts.executable else { return Err(Miss::Program) };
        let (argv, rooted) = (&self.request.argv, &self.facts.rooted_arguments);
        let mut best = Miss::Program;
        let mut all = false;
        let mut named: Option<Cover> = None;
        for (entry, command) in part.run.iter().enumerate() {
            if *command == crate::command::Command::All {
                all = true;
            } else if let Some(secrets) = command.covers(executable, argv, rooted, Reading::Allow) {
                // What any covering entry calls a secret is one: the order of entries must not matter.
                let cover = named.get_or_insert_with(|| Cover { safe_chain: true, secrets: Vec::new() });
                cover.secrets.extend(secrets);
            } else if command.names_program(executable, Reading::Allow) {
                let words = command.covered_words(argv, rooted);
                let near = (words, command.likeness(words, argv));
                if !matches!(&best, Miss::Arguments { words, alike, .. } if (*words, *alike) >= near) {
                    best = Miss::Arguments { words, alike: near.1, entry };
                }
            }
        }
        match named {
            Some(mut cover) => {
                cover.secrets.sort_unstable();
                cover.secrets.dedup();
                cover.safe_chain = !all;
                Ok(cover)
            }
            None if all => Ok(Cover::default()),
            None => Err(best),
        }
    }

    /// A role that lends groups: any command, `-s`, no command, as the requester's own uid; never with `-u` or `-g`.
    fn cover_with_groups(&self, role: u32) -> Result<Cover, Miss> {
        let request = self.request;
        if !matches!(request.kind, Kind::Command | Kind::Shell) || self.named_role() != Some(role) {
            return Err(Miss::Kind);
        }
        let own = matches!(&self.facts.target, Fact::Is(Some(target)) if target.uid == self.facts.requester.uid);
        let known = request.kind == Kind::Shell || matches!(&self.facts.executable, Fact::Is(Ok(_)));
        match own && known && request.user.is_none() && request.group.is_none() {
            true => Ok(Cover::default()),
            false => Err(Miss::As),
        }
    }

    fn cover_target(&self, part: &Role) -> Result<(), Miss> {
        let Fact::Is(Some(target)) = &self.facts.target else { return Err(Miss::As) };
        let covered = if part.as_whom.is_empty() {
            target.uid.0 == 0 && self.request.group.is_none()
        } else {
            part.as_whom.iter().any(|entry| self.is_as(entry, Reading::Allow))
        };
        if covered { Ok(()) } else { Err(Miss::As) }
    }

    /// Variables that the command line asks for and the part does not let through.
    pub(crate) fn env_refused(&self, part: &Role) -> impl Iterator<Item = &'a jitsudo_bytes::Bytes> {
        let free = part.can_run_every_command();
        self.request.env_names.iter().filter(move |name| !environment::may_pass(&name.0, &part.env_keep, free))
    }

    fn cover_surroundings(&self, part: &Role) -> Result<(), Miss> {
        if let Some(name) = self.env_refused(part).next() {
            return Err(Miss::Environment(name.clone()));
        }
        let Some(asked) = &self.request.cwd else { return Ok(()) };
        let target_home = || self.facts.target.known().and_then(Option::as_ref).map(|target| target.home.as_bytes());
        let free = match part.cwd.as_ref().unwrap_or(&Cwd::Caller) {
            Cwd::Any => true,
            Cwd::Path(path) => path == asked,
            Cwd::Home => target_home() == Some(&asked.0),
            Cwd::Caller => self.facts.cwd.known() == Some(asked),
        };
        if free { Ok(()) } else { Err(Miss::WorkingDirectory) }
    }
}

/// Absolute and without an empty component, `.` or `..`: any other spelling could be compared with one rule and mean what another says.
fn is_plain(path: &[u8]) -> bool {
    let mut parts = path.split(|byte| *byte == b'/');
    parts.next() == Some(b"") && parts.all(|part| !matches!(part, b"" | b"." | b".."))
}
