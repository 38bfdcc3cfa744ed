//! An environment in the making: each name once, with its value or without, and why.

use std::collections::BTreeMap;
use std::fmt;

use jitsudo_bytes::Bytes;

use super::{Inputs, lists};

/// One variable and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explained {
    /// Its name; of a malformed entry what stands before its first `=`.
    pub name: Bytes,
    /// What the command gets; `None`: dropped, or never there.
    pub value: Option<Bytes>,
    /// Why.
    pub cause: Cause,
}

/// Why a variable is there, or is not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The host's databases and the request say it.
    Base,
    /// The caller's, by the default lists.
    KeptByDefault,
    /// The caller's, by this entry of the role's `env-keep`.
    KeptByRole(String),
    /// The caller's, asked for by `-E`, `--preserve-env=` or `NAME=value` under a rule that can run everything.
    Asked,
    /// A PAM module's.
    Pam,
    /// The role's `env-set`.
    SetByRole,
    /// It chooses code, configuration or libraries.
    Hostile,
    /// No list and no role keeps it.
    NotKept,
    /// Its value is a function, a path or a format where none may stand.
    UnsafeValue,
    /// The host sets it, or nobody does.
    Reserved,
    /// Its name is no plain name.
    NoPlainName,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("base"),
            Self::KeptByDefault => f.write_str("kept: default list"),
            Self::KeptByRole(entry) => write!(f, "kept: role's env-keep {entry}"),
            Self::Asked => f.write_str("kept: asked for"),
            Self::Pam => f.write_str("PAM"),
            Self::SetByRole => f.write_str("set: role's env-set"),
            Self::Hostile => f.write_str("dropped: black list"),
            Self::NotKept => f.write_str("dropped: not kept"),
            Self::UnsafeValue => f.write_str("dropped: unsafe value"),
            Self::Reserved => f.write_str("dropped: set by the host alone"),
            Self::NoPlainName => f.write_str("dropped: no plain name"),
        }
    }
}

/// What has been made so far.
#[derive(Default)]
pub(super) struct Making {
    there: BTreeMap<Vec<u8>, (Vec<u8>, Cause)>,
    dropped: BTreeMap<Vec<u8>, Cause>,
}

impl Making {
    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.there.contains_key(name)
    }

    pub(super) fn set(&mut self, name: &[u8], value: &[u8], cause: Cause) {
        self.there.insert(name.to_vec(), (value.to_vec(), cause));
    }

    /// What is dropped takes nothing away that another source gives.
    pub(super) fn drop(&mut self, name: &[u8], cause: Cause) {
        self.dropped.entry(name.to_vec()).or_insert(cause);
    }

    pub(super) fn judge(&mut self, name: &[u8], value: &[u8], verdict: Result<Cause, Cause>) {
        match verdict {
            Ok(cause) => self.set(name, value, cause),
            Err(cause) => self.drop(name, cause),
        }
    }

    pub(super) fn finish(self) -> Vec<Explained> {
        let Self { there, mut dropped } = self;
        dropped.retain(|name, _| !there.contains_key(name));
        let there = there.into_iter().map(|(name, (value, cause))| Explained {
            name: Bytes(name),
            value: Some(Bytes(value)),
            cause,
        });
        let dropped = dropped.into_iter().map(|(name, cause)| Explained { name: Bytes(name), value: None, cause });
        let mut all: Vec<Explained> = there.chain(dropped).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

/// What of the caller's environment passes.
pub(super) struct Keeper<'a> {
    keep: &'a [String],
    preserve: &'a [Bytes],
    root_is_root: bool,
    /// The rule can run everything: what is asked for passes the black list alone.
    free: bool,
}

impl<'a> Keeper<'a> {
    pub(super) fn of(inputs: &Inputs<'a>) -> Self {
        Self {
            keep: &inputs.run_as.env_keep,
            preserve: inputs.preserve,
            root_is_root: inputs.root_is_root,
            free: inputs.run_as.env_free,
        }
    }

    /// Named by `--preserve-env=`, or meant by `-E`.
    pub(super) fn is_asked(&self, name: &[u8]) -> bool {
        self.preserve.iter().any(|asked| asked.0 == name || asked.0 == b"*")
    }

    pub(super) fn keeps(&self, name: &[u8], value: &[u8], asked: bool) -> Result<Cause, Cause> {
        if lists::is_ours(name) {
            return Err(Cause::Reserved);
        }
        if !lists::is_name(name) {
            return Err(Cause::NoPlainName);
        }
        let everything = self.root_is_root && self.keep.iter().any(|keep| keep == "*");
        let by = if let Some(entry) = lists::is_kept_by(name, self.keep) {
            Cause::KeptByRole(entry.to_owned())
        } else if everything {
            Cause::KeptByRole("*".to_owned())
        } else if lists::is_kept_by_default(name) {
            Cause::KeptByDefault
        } else if lists::is_hostile(name) {
            return Err(Cause::Hostile);
        } else if self.free && asked {
            Cause::Asked
        } else {
            return Err(Cause::NotKept);
        };
        if lists::is_sound(name, value) { Ok(by) } else { Err(Cause::UnsafeValue) }
    }
}

/// PAM's variables fill gaps and pass the same filter.
pub(super) fn by_pam(name: &[u8], value: &[u8]) -> Result<Cause, Cause> {
    if lists::is_ours(name) {
        return Err(Cause::Reserved);
    }
    if lists::is_hostile(name) && !lists::may_come_from_pam(name) {
        return Err(Cause::Hostile);
    }
    match (lists::may_come_from_pam(name), lists::is_sound(name, value)) {
        (true, true) => Ok(Cause::Pam),
        (true, false) => Err(Cause::UnsafeValue),
        (false, _) => Err(Cause::NotKept),
    }
}
