//! The compiled policy: what the language compiles to, what the spawner reads, what the evaluator looks things up in.
//!
//! MUST 1: reading never panics and never loops, whatever the bytes (`hostile_bytes_*`).
//! MUST 2: every reference is checked when it is read, so that the evaluator can treat a missing one as "matches nothing given"
//! and still be right (`dangling_references_are_refused`).

use std::fmt;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::index::Index;
use crate::name::Uid;
use crate::rule::{Allow, Deny, DutyRule, NamedSet, Person, Require, Role, Service, When, Zone};
use crate::subject::{HostIs, Subject};

/// The version of the compiled form that this code writes and reads.
pub const COMPILED_VERSION: u32 = 1;
/// Most distinct literal programs that denies may name.
pub const MAX_DENY_PROGRAMS: usize = 256;
/// Deepest `except` inside `except`.
const MAX_EXCEPT: usize = 8;

/// How many of each a policy holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Counts {
    /// `[[allow]]`s.
    pub allows: usize,
    /// `[[require]]`s.
    pub requires: usize,
    /// `[[deny]]`s.
    pub denies: usize,
    /// `[[duty]]`s.
    pub duties: usize,
    /// `[roles.…]`.
    pub roles: usize,
    /// Files that it was compiled from.
    pub files: usize,
}

/// A policy that was checked and compiled.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Content", into = "Content")]
pub struct Policy {
    pub(crate) content: Content,
    /// For each role: itself, then everything that it includes, by name.
    pub(crate) parts: Vec<Vec<u32>>,
    pub(crate) zones: Vec<TimeZone>,
    pub(crate) index: Index,
    deny_programs: Vec<String>,
}

/// What a policy says, every list sorted by name.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Content {
    pub(crate) version: u32,
    pub(crate) files: usize,
    pub(crate) sets: Vec<NamedSet<Subject>>,
    pub(crate) host_sets: Vec<NamedSet<HostIs>>,
    pub(crate) people: Vec<Person>,
    pub(crate) services: Vec<Service>,
    pub(crate) zones: Vec<Zone>,
    pub(crate) roles: Vec<Role>,
    pub(crate) allows: Vec<Allow>,
    pub(crate) requires: Vec<Require>,
    pub(crate) denies: Vec<Deny>,
    pub(crate) duties: Vec<DutyRule>,
}

/// Why bytes are not a compiled policy of this version.
#[derive(Debug)]
pub enum CompiledError {
    /// Not JSON of the expected shape.
    Malformed {
        /// What the reader says.
        message: String,
    },
    /// Written by another version of the compiler.
    Version {
        /// The version found.
        found: u32,
    },
    /// It refers to something that it does not hold.
    Dangling {
        /// What is missing.
        what: String,
    },
}

impl fmt::Display for CompiledError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { message } => write!(f, "cannot read compiled policy: {message}"),
            Self::Version { found } => write!(f, "cannot read compiled policy: version {found} is not known here"),
            Self::Dangling { what } => write!(f, "cannot read compiled policy: {what}"),
        }
    }
}
impl std::error::Error for CompiledError {}

/// The version alone, so that a newer file is named as such before its fields are looked at.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Policy {
    /// Reads the compiled form. Never panics, whatever the bytes.
    ///
    /// # Errors
    /// See [`CompiledError`].
    pub fn from_compiled(bytes: &[u8]) -> Result<Self, CompiledError> {
        let content: Content =
            serde_json::from_slice(bytes).map_err(|error| match serde_json::from_slice::<Version>(bytes) {
                Ok(Version { version }) if version != COMPILED_VERSION => CompiledError::Version { found: version },
                _ => CompiledError::Malformed { message: error.to_string() },
            })?;
        Self::try_from(content)
    }

    /// Writes the compiled form: the same bytes for the same policy, whatever the order of files and rules was.
    #[must_use]
    pub fn to_compiled(&self) -> Vec<u8> {
        // Strings, numbers and lists: there is nothing in it that JSON cannot hold.
        serde_json::to_vec(&self.content).unwrap_or_default()
    }

    /// The distinct literal program paths that denies name; facts compares their device and inode with the program's.
    #[must_use]
    pub fn deny_programs(&self) -> &[String] {
        &self.deny_programs
    }

    /// How many of each it holds.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let content = &self.content;
        Counts {
            allows: content.allows.len(),
            requires: content.requires.len(),
            denies: content.denies.len(),
            duties: content.duties.len(),
            roles: content.roles.len(),
            files: content.files,
        }
    }

    /// The role at a place.
    pub(crate) fn role(&self, place: u32) -> Option<&Role> {
        self.content.roles.get(usize::try_from(place).ok()?)
    }

    /// A role with everything that it includes, itself first.
    pub(crate) fn parts_of(&self, place: u32) -> impl Iterator<Item = (u32, &Role)> {
        let parts = usize::try_from(place).ok().and_then(|place| self.parts.get(place));
        parts.into_iter().flatten().filter_map(|part| self.role(*part).map(|role| (*part, role)))
    }

    /// True for the name of a role.
    #[must_use]
    pub fn has_role(&self, name: &str) -> bool {
        self.role_named(name).is_some()
    }

    /// True for a role that lends groups and gives no command, shell or file of another account: what it runs is the requester's own.
    #[must_use]
    pub fn runs_as_oneself(&self, role: &str) -> bool {
        let mut lends = false;
        for (_, part) in self.role_named(role).into_iter().flat_map(|place| self.parts_of(place)) {
            if part.shell || !part.run.is_empty() {
                return false;
            }
            lends |= part.is_groups_only();
        }
        lends
    }

    /// Names of the groups that a command may be lent: by the role that is named, or where none is by any role that lists commands.
    #[must_use]
    pub fn lendable(&self, role: Option<&str>) -> Vec<String> {
        let named = role.and_then(|role| self.role_named(role));
        let all = self.content.roles.iter().filter(|part| role.is_none() && !part.is_groups_only());
        let parts = named.into_iter().flat_map(|place| self.parts_of(place)).map(|(_, part)| part).chain(all);
        let mut groups: Vec<String> = parts.flat_map(|part| part.groups.iter().cloned()).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// The place of the role of this name.
    pub(crate) fn role_named(&self, name: &str) -> Option<u32> {
        let place = self.content.roles.binary_search_by(|role| role.name.as_str().cmp(name)).ok()?;
        u32::try_from(place).ok()
    }

    /// True when a set names this account.
    pub(crate) fn is_account_of(&self, set: u32, uid: Uid, name: Option<&str>) -> bool {
        let set = usize::try_from(set).ok().and_then(|place| self.content.sets.get(place));
        set.is_some_and(|set| {
            set.members.iter().any(|member| match member {
                Subject::Uid(id) => *id == uid.0,
                Subject::User(user) => name == Some(user),
                Subject::Group(_) | Subject::Gid(_) | Subject::Set(_) | Subject::All => false,
            })
        })
    }

    /// True when two accounts are one, or belong to one person.
    pub(crate) fn are_one_person(&self, one: (Uid, Option<&str>), other: (Uid, Option<&str>)) -> bool {
        one.0 == other.0
            || (one.1.is_some() && one.1 == other.1)
            || self.content.people.iter().any(|person| {
                self.is_account_of(person.set, one.0, one.1) && self.is_account_of(person.set, other.0, other.1)
            })
    }

    /// A subject as the policy writes it.
    pub(crate) fn subject_name(&self, subject: &Subject) -> String {
        match subject {
            Subject::Set(place) => {
                let set = usize::try_from(*place).ok().and_then(|place| self.content.sets.get(place));
                set.map_or_else(|| subject.to_string(), |set| format!("@{}", set.name))
            }
            Subject::User(_) | Subject::Uid(_) | Subject::Group(_) | Subject::Gid(_) | Subject::All => {
                subject.to_string()
            }
        }
    }
}

impl TryFrom<Content> for Policy {
    type Error = CompiledError;
    fn try_from(content: Content) -> Result<Self, CompiledError> {
        if content.version != COMPILED_VERSION {
            return Err(CompiledError::Version { found: content.version });
        }
        check(&content)?;
        let mut zones = Vec::new();
        for zone in &content.zones {
            zones.push(read_zone(zone)?);
        }
        let parts = close_includes(&content.roles);
        let mut programs: Vec<String> = content
            .denies
            .iter()
            .flat_map(|deny| deny.when.run.iter().flatten())
            .filter_map(crate::command::Command::literal_programs)
            .flatten()
            .filter_map(|path| std::str::from_utf8(path).ok().map(str::to_owned))
            .collect();
        programs.sort_unstable();
        programs.dedup();
        let index = Index::build(&content, &parts);
        Ok(Self { content, parts, zones, index, deny_programs: programs })
    }
}
impl From<Policy> for Content {
    fn from(policy: Policy) -> Self {
        policy.content
    }
}

fn read_zone(zone: &Zone) -> Result<TimeZone, CompiledError> {
    if zone.tzif.is_empty() {
        return Ok(TimeZone::UTC);
    }
    let bad = || CompiledError::Malformed { message: format!("the rules of zone {:?} do not read", zone.name) };
    let bytes = jitsudo_bytes::base64_decode(&zone.tzif).ok_or_else(bad)?;
    TimeZone::tzif(&zone.name, &bytes).map_err(|_| bad())
}

/// Everything reachable over `includes`; a cycle (which the checker refuses) ends where it began.
fn close_includes(roles: &[Role]) -> Vec<Vec<u32>> {
    let name =
        |place: &u32| usize::try_from(*place).ok().and_then(|place| roles.get(place)).map(|role| role.name.as_str());
    let mut all = Vec::with_capacity(roles.len());
    for place in (0u32..).take(roles.len()) {
        let mut found = vec![place];
        let mut at = 0;
        while let Some(next) = found.get(at).and_then(|part| roles.get(usize::try_from(*part).ok()?)) {
            for include in &next.includes {
                if !found.contains(include) {
                    found.push(*include);
                }
            }
            at += 1;
        }
        if let Some(included) = found.get_mut(1..) {
            included.sort_by_key(name);
        }
        all.push(found);
    }
    all
}

/// Refuses references to nowhere and lists that are not sorted by name (a name is looked up by its place).
fn check(content: &Content) -> Result<(), CompiledError> {
    let dangling = |what: String| Err(CompiledError::Dangling { what });
    let sets = content.sets.len();
    let within = |place: u32, length: usize| usize::try_from(place).is_ok_and(|place| place < length);
    let subjects = |list: &[Subject], depth: &str| match list.iter().find(|subject| match subject {
        Subject::Set(place) => !within(*place, sets) || depth == "a set",
        Subject::User(_) | Subject::Uid(_) | Subject::Group(_) | Subject::Gid(_) | Subject::All => false,
    }) {
        Some(subject) => dangling(format!("{subject} in {depth} is nothing")),
        None => Ok(()),
    };
    for set in &content.sets {
        subjects(&set.members, "a set")?;
    }
    for set in &content.host_sets {
        if set.members.iter().any(|member| matches!(member, HostIs::Set(_))) {
            return dangling(format!("host set {:?} holds a set", set.name));
        }
    }
    if !content.roles.is_sorted_by(|one, next| one.name < next.name) {
        return dangling("the roles are not sorted by name".to_owned());
    }
    let roles = content.roles.len();
    for role in &content.roles {
        if !role.includes.iter().all(|include| within(*include, roles)) {
            return dangling(format!("a role that {:?} includes is nothing", role.name));
        }
    }
    for allow in &content.allows {
        if allow.when.who.is_none() || !allow.roles.iter().all(|role| within(*role, roles)) {
            return dangling(format!("allow {:?} names nobody or a role that is nothing", allow.name));
        }
    }
    let whens = content.allows.iter().map(|rule| &rule.when);
    let whens = whens.chain(content.requires.iter().map(|rule| &rule.when));
    let whens = whens.chain(content.denies.iter().map(|rule| &rule.when));
    let whens = whens.chain(content.duties.iter().map(|rule| &rule.when));
    let mut open: Vec<(&When, usize)> = whens.map(|when| (when, 0)).collect();
    while let Some((when, depth)) = open.pop() {
        subjects(when.who.as_deref().unwrap_or_default(), "a rule")?;
        let hosts = when.hosts.iter().flatten().all(|host| match host {
            HostIs::Set(place) => within(*place, content.host_sets.len()),
            HostIs::Name(_) | HostIs::Label(_) => true,
        });
        let roles = when.roles.iter().flatten().all(|role| within(*role, roles));
        let hours = when
            .hours
            .iter()
            .all(|entry| within(entry.zone, content.zones.len()) && entry.stop <= 1440 && entry.start < 1440);
        if !hosts || !roles || !hours || depth > MAX_EXCEPT {
            return dangling("a condition names a host set, role or zone that is nothing".to_owned());
        }
        open.extend(when.except.iter().map(|except| (except, depth + 1)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Content {
        Content {
            version: COMPILED_VERSION,
            files: 0,
            sets: Vec::new(),
            host_sets: Vec::new(),
            people: Vec::new(),
            services: Vec::new(),
            zones: Vec::new(),
            roles: Vec::new(),
            allows: Vec::new(),
            requires: Vec::new(),
            denies: Vec::new(),
            duties: Vec::new(),
        }
    }

    #[test]
    fn policy_04_another_version_is_told_as_such() {
        let error = Policy::from_compiled(br#"{"version":2,"quantum":true}"#).unwrap_err();
        assert_eq!(error.to_string(), "cannot read compiled policy: version 2 is not known here");
        let text = String::from_utf8(serde_json::to_vec(&empty()).unwrap()).unwrap().replace("\"files\"", "\"flies\"");
        assert!(matches!(Policy::from_compiled(text.as_bytes()), Err(CompiledError::Malformed { .. })));
    }

    #[test]
    fn dangling_references_are_refused() {
        let who = Some(vec![Subject::Set(0)]);
        let mut content = empty();
        content.denies.push(Deny { when: When { who, ..When::default() }, ..Deny::default() });
        assert!(matches!(Policy::try_from(content), Err(CompiledError::Dangling { .. })));
        let mut content = empty();
        content.roles.push(Role { name: "a".to_owned(), includes: vec![1], ..Role::default() });
        assert!(matches!(Policy::try_from(content), Err(CompiledError::Dangling { .. })));
    }

    #[test]
    fn hostile_bytes_never_panic() {
        let whole = serde_json::to_vec(&empty()).unwrap();
        for cut in 0..whole.len() {
            assert!(Policy::from_compiled(&whole[..cut]).is_err());
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                let _ = Policy::from_compiled(&bytes);
            }
        }
        assert!(Policy::from_compiled("[".repeat(100_000).as_bytes()).is_err());
    }
}
