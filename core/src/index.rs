//! Finds the rules that can concern a request without looking at the others.
//!
//! MUST: a look-up may give too many rules (each is then judged in full), never too few (`index_and_scan_agree` in tests).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::command::Command;
use crate::policy::Content;
use crate::rule::When;
use crate::subject::Subject;

/// Most (subject, program) pairs of one allow; an allow with more is looked at for every program.
const MAX_PAIRS: usize = 256;

/// The look-up tables of a policy.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    /// Allows by subject and by what their roles give.
    pub(crate) allows: Buckets,
    /// Requires by subject.
    pub(crate) requires: Buckets,
    /// Denies by subject.
    pub(crate) denies: Buckets,
    /// Duties by subject.
    pub(crate) duties: Buckets,
    /// Sets by member.
    pub(crate) sets: Buckets,
}

/// What of an allow is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Gives<'a> {
    /// This literal program.
    Program(&'a [u8]),
    /// Programs by a wildcard, `ALL`, groups.
    AnyProgram,
    /// A shell.
    Shell,
    /// Whatever it gives.
    Anything,
}

/// A hash that is already one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Key(u64);

/// Hands a [`Key`] through.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Through(u64);

impl Hasher for Through {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| mix(hash, u64::from(*byte)));
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

fn mix(hash: u64, value: u64) -> u64 {
    (hash.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95)
}

/// Multiplication carries upwards only; the table reads low bits, so the high ones are folded down.
fn finish(hash: u64) -> Key {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    Key(hash ^ (hash >> 32))
}

fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(mix(seed, 0x9e37), |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let tail = rest.iter().fold(0u64, |tail, byte| (tail << 8) | u64::from(*byte));
    mix(mix(hash, tail), bytes.len() as u64)
}

/// The key of a subject; `None` = rules that name nobody.
pub(crate) fn subject_key(subject: Option<&Subject>) -> Key {
    finish(match subject {
        None => mix(1, 0),
        Some(Subject::User(name)) => hash_bytes(2, name.as_bytes()),
        Some(Subject::Uid(uid)) => mix(3, u64::from(*uid)),
        Some(Subject::Group(name)) => hash_bytes(4, name.as_bytes()),
        Some(Subject::Gid(gid)) => mix(5, u64::from(*gid)),
        Some(Subject::All) => mix(6, 0),
        Some(Subject::Set(set)) => mix(7, u64::from(*set)),
    })
}

/// As [`subject_key`] of `Subject::User`, without a `String`.
pub(crate) fn user_key(name: &str) -> Key {
    finish(hash_bytes(2, name.as_bytes()))
}

/// As [`subject_key`] of `Subject::Group`, without a `String`.
pub(crate) fn group_key(name: &str) -> Key {
    finish(hash_bytes(4, name.as_bytes()))
}

/// What an allow gives, hashed once for all subjects.
pub(crate) fn gives_key(gives: Gives<'_>) -> Key {
    finish(match gives {
        Gives::Program(path) => hash_bytes(11, path),
        Gives::AnyProgram => mix(12, 0),
        Gives::Shell => mix(13, 0),
        Gives::Anything => mix(14, 0),
    })
}

/// Joins a subject with what is given.
pub(crate) fn both(subject: Key, gives: Key) -> Key {
    finish(mix(subject.0, gives.0))
}

/// Rules by key.
#[derive(Clone, Default, Debug)]
pub(crate) struct Buckets {
    ranges: HashMap<Key, (u32, u32), BuildHasherDefault<Through>>,
    places: Vec<u32>,
}

impl Buckets {
    fn build(mut pairs: Vec<(Key, u32)>) -> Self {
        pairs.sort_unstable();
        pairs.dedup();
        let mut ranges: HashMap<Key, (u32, u32), BuildHasherDefault<Through>> = HashMap::default();
        ranges.reserve(pairs.len());
        for (at, (key, _)) in (0u32..).zip(&pairs) {
            ranges.entry(*key).or_insert((at, at)).1 = at + 1;
        }
        Self { ranges, places: pairs.into_iter().map(|(_, place)| place).collect() }
    }

    /// Adds the places of a key.
    pub(crate) fn collect(&self, key: Key, found: &mut Vec<u32>) {
        found.extend_from_slice(self.of(key));
    }

    /// The places of a key, ascending.
    pub(crate) fn of(&self, key: Key) -> &[u32] {
        let range = self
            .ranges
            .get(&key)
            .and_then(|(from, to)| self.places.get(usize::try_from(*from).ok()?..usize::try_from(*to).ok()?));
        range.unwrap_or_default()
    }
}

impl Index {
    pub(crate) fn build(content: &Content, parts: &[Vec<u32>]) -> Self {
        let by_who = |whens: &mut dyn Iterator<Item = &When>| {
            let mut pairs = Vec::new();
            for (place, when) in (0u32..).zip(whens) {
                match &when.who {
                    Some(who) => pairs.extend(who.iter().map(|subject| (subject_key(Some(subject)), place))),
                    None => pairs.push((subject_key(None), place)),
                }
            }
            Buckets::build(pairs)
        };
        let mut members = Vec::new();
        for (place, set) in (0u32..).zip(&content.sets) {
            members.extend(set.members.iter().map(|member| (subject_key(Some(member)), place)));
        }
        Self {
            allows: Buckets::build(allow_pairs(content, parts)),
            requires: by_who(&mut content.requires.iter().map(|rule| &rule.when)),
            denies: by_who(&mut content.denies.iter().map(|rule| &rule.when)),
            duties: by_who(&mut content.duties.iter().map(|rule| &rule.when)),
            sets: Buckets::build(members),
        }
    }
}

fn allow_pairs(content: &Content, parts: &[Vec<u32>]) -> Vec<(Key, u32)> {
    let given: Vec<Vec<Key>> = parts.iter().map(|parts| given_by(content, parts)).collect();
    let mut pairs = Vec::with_capacity(content.allows.len() * 3);
    for (place, allow) in (0u32..).zip(&content.allows) {
        let subjects = allow.when.who.as_deref().unwrap_or_default();
        let roles = allow.roles.iter().filter_map(|role| given.get(usize::try_from(*role).ok()?));
        let keys: Vec<Key> = roles.flatten().copied().collect();
        for subject in subjects {
            let subject = subject_key(Some(subject));
            pairs.push((both(subject, gives_key(Gives::Anything)), place));
            if keys.len().saturating_mul(subjects.len()) > MAX_PAIRS {
                pairs.push((both(subject, gives_key(Gives::AnyProgram)), place));
                pairs.push((both(subject, gives_key(Gives::Shell)), place));
            } else {
                pairs.extend(keys.iter().map(|key| (both(subject, *key), place)));
            }
        }
    }
    pairs
}

fn given_by(content: &Content, parts: &[u32]) -> Vec<Key> {
    let mut keys = Vec::new();
    for role in parts.iter().filter_map(|part| content.roles.get(usize::try_from(*part).ok()?)) {
        if role.shell || role.is_groups_only() {
            keys.push(gives_key(Gives::Shell));
        }
        if role.is_groups_only() {
            keys.push(gives_key(Gives::AnyProgram));
        }
        for command in &role.run {
            match Command::literal_programs(command) {
                Some(programs) => keys.extend(programs.into_iter().map(|path| gives_key(Gives::Program(path)))),
                None => keys.push(gives_key(Gives::AnyProgram)),
            }
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}
