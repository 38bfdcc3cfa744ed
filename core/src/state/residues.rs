//! What grants may have left: until somebody has looked, and for a while after that.
//!
//! MUST: none is forgotten unseen without being counted (`residue_*`).

use serde::{Deserialize, Serialize};

use super::{Access, Impossible, State};
use crate::event::Entry;
use crate::id::AccessId;
use crate::name::Uid;
use crate::residue::Item;

/// Accesses whose residue is remembered with its items, newest first; of others only how much there was.
pub const MAX_WHOLE_RESIDUES: usize = 256;
/// Accesses whose residue waits for somebody to look at it; the oldest beyond is counted, and stands in the ledger.
pub const MAX_RESIDUES: usize = 10_000;
/// Items of one of them.
pub const MAX_RESIDUE_ITEMS: usize = 32;
/// Those that somebody looked at.
pub(super) const MAX_LOOKED_AT: usize = 256;

/// What a grant may have left, as long as nobody has acknowledged it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Residue {
    /// When it was found.
    pub at: jiff::Timestamp,
    /// Whose grant it was.
    pub uid: Option<Uid>,
    /// The audit login uid behind that.
    #[serde(default)]
    pub loginuid: Option<Uid>,
    /// The account's name then.
    pub user: Option<String>,
    /// The role.
    pub role: Option<String>,
    /// What, at most 32, and none where there are many newer ones; the ledger has more.
    pub items: Vec<Item>,
    /// How many there are.
    pub count: u32,
    /// What could not be looked at.
    pub remark: Option<String>,
}

/// Somebody looked at what a grant may have left.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LookedAt {
    /// The access.
    pub id: AccessId,
    /// What they looked at.
    pub residue: Residue,
    /// When.
    pub at: jiff::Timestamp,
    /// Who, by uid.
    pub uid: Option<Uid>,
    /// Who, by the account's name then.
    pub by: Option<String>,
    /// What they said of it.
    pub reason: String,
}

impl State {
    pub(super) fn found_residue(
        &mut self,
        id: &AccessId,
        at: jiff::Timestamp,
        items: &[Item],
        count: u32,
        remark: Option<&String>,
    ) {
        let access = self.access(id);
        let asked = access.map(Access::asked_for);
        let residue = Residue {
            at,
            uid: asked.map(|asked| asked.uid),
            loginuid: asked.and_then(|asked| asked.loginuid),
            user: asked.and_then(|asked| asked.user.clone()),
            role: access.and_then(Access::given).and_then(|given| given.allowed.role.clone()),
            items: items.iter().take(MAX_RESIDUE_ITEMS).cloned().collect(),
            count,
            remark: remark.cloned(),
        };
        self.residues.insert(id.clone(), residue);
        // Ids begin with their time.
        if let Some((_, older)) = self.residues.iter_mut().rev().nth(MAX_WHOLE_RESIDUES) {
            older.items = Vec::new();
            older.remark = None;
        }
        if self.residues.len() > MAX_RESIDUES {
            self.residues.pop_first();
            self.residues_forgotten = self.residues_forgotten.saturating_add(1);
        }
    }

    pub(super) fn look_at_residue(&mut self, id: &AccessId, reason: &str, entry: &Entry) -> Result<(), Impossible> {
        let residue = self.residues.remove(id).ok_or(Impossible::TooLate)?;
        self.looked_at.push(LookedAt {
            id: id.clone(),
            residue,
            at: entry.wall,
            uid: entry.actor.uid,
            by: entry.actor.name.clone(),
            reason: reason.to_owned(),
        });
        Ok(())
    }

    /// What grants may have left and nobody has acknowledged, by id.
    pub fn residues(&self) -> impl Iterator<Item = (&AccessId, &Residue)> {
        self.residues.iter()
    }

    /// What this access may have left, and nobody has acknowledged.
    #[must_use]
    pub fn residue(&self, id: &AccessId) -> Option<&Residue> {
        self.residues.get(id)
    }

    /// That somebody looked at what this access may have left.
    #[must_use]
    pub fn looked_at(&self, id: &AccessId) -> Option<&LookedAt> {
        self.looked_at.iter().rev().find(|looked_at| looked_at.id == *id)
    }

    /// How many were forgotten before anybody looked at them: the ledger has them.
    #[must_use]
    pub fn residues_forgotten(&self) -> u64 {
        self.residues_forgotten
    }
}
