//! Groups that jitsudo itself lent to an account: they count in no decision.
//!
//! A membership that a role grant makes stands in the databases like any other, and a process that a session lent a group carries it like
//! any other. Only jitsudo's own notes tell them apart.
//!
//! MUST: what cannot be read is unknown, so that an allow does not match and a deny does (`notes_that_cannot_be_read_*`).

use std::collections::BTreeSet;

use jitsudo_core::facts::{Fact, Group, Requester};
use jitsudo_core::lends::Effect;
use jitsudo_core::name::{Gid, Uid};
use jitsudo_link::lent::{Lending, Lendings};
use jitsudo_link::notes::{Note, Notes};

/// What the notes say is lent, or in words why that is not known. There may be many notes: they are read
/// once for a question, after the databases: a note is there before what it lends.
pub(crate) type Lent = Result<Known, String>;

/// What the notes say is lent.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Memberships, by account.
    memberships: Vec<(Uid, Gid)>,
    /// Groups of sessions, by whom they run as.
    sessions: Vec<(Uid, Gid)>,
}

/// Fills in what was lent to the requester, and to the person behind uid 0.
pub(crate) fn tell_apart(requester: &mut Requester, known: &Lent) {
    let Ok(known) = known else {
        // Any of them may be one that was lent.
        requester.groups = Fact::Unknown;
        requester.process_groups = Fact::Unknown;
        requester.login_groups = Fact::Unknown;
        return;
    };
    let person = requester.loginuid.known().copied().flatten();
    let is_theirs = |uid: &Uid| *uid == requester.uid || Some(*uid) == person;
    let mut lent: BTreeSet<Gid> =
        known.memberships.iter().filter(|(uid, _)| is_theirs(uid)).map(|(_, gid)| *gid).collect();
    // A group that is the account's own as well counts as that.
    let own = |gid: &Gid| {
        let listed = |groups: &BTreeSet<Group>| groups.iter().any(|group| group.gid == *gid) && !lent.contains(gid);
        requester.groups.known().is_some_and(listed)
    };
    let carried: Vec<Gid> =
        known.sessions.iter().filter(|(uid, gid)| is_theirs(uid) && !own(gid)).map(|(_, gid)| *gid).collect();
    lent.extend(carried);
    requester.lent_groups = lent;
}

/// Reads the notes.
pub(crate) fn read() -> Lent {
    let listing = Notes::default().read_lasting();
    if let Some((path, why)) = listing.garbage.first() {
        return Err(format!("{}: {why}", path.display()));
    }
    let mut known = Known { sessions: of_sessions(&Lendings::default().read()?), ..Known::default() };
    for note in &listing.notes {
        known.memberships.extend(of_note(note)?);
    }
    Ok(known)
}

fn of_sessions(lendings: &[Lending]) -> Vec<(Uid, Gid)> {
    lendings.iter().flat_map(|lending| lending.gids.iter().map(|gid| (lending.uid, *gid))).collect()
}

fn of_note(note: &Note) -> Result<Vec<(Uid, Gid)>, String> {
    let ours = note.effects.iter().filter(|noted| noted.ours);
    let groups = ours.filter_map(|noted| match &noted.effect {
        Effect::Membership(name) => Some((name, noted.gid)),
        Effect::Sudoers(_) | Effect::SudoersWithoutEnd(_) | Effect::Login(_) => None,
    });
    let gid = |(name, gid): (&String, Option<Gid>)| match gid {
        Some(gid) => Ok((note.uid, gid)),
        None => Err(format!("the note on {} does not say which group {name} is", note.id)),
    };
    groups.map(gid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(gid: u32) -> Group {
        Group { gid: Gid(gid), name: None }
    }

    fn alice() -> Requester {
        Requester {
            uid: Uid(1001),
            gid: Gid(1001),
            name: Fact::Is("alice".into()),
            groups: Fact::Is([1001, 27, 999].map(group).into()),
            process_groups: Fact::Is([1001, 27, 4, 5].map(group).into()),
            lent_groups: BTreeSet::new(),
            loginuid: Fact::Is(Some(Uid(1001))),
            login_name: Fact::Unknown,
            login_groups: Fact::Is([27].map(group).into()),
            home: Fact::Unknown,
            shell: Fact::Unknown,
        }
    }

    fn pairs(pairs: &[(u32, u32)]) -> Vec<(Uid, Gid)> {
        pairs.iter().map(|(uid, gid)| (Uid(*uid), Gid(*gid))).collect()
    }

    fn lent(requester: Requester, memberships: &[(u32, u32)], sessions: &[(u32, u32)]) -> Vec<u32> {
        let mut requester = requester;
        tell_apart(&mut requester, &Ok(Known { memberships: pairs(memberships), sessions: pairs(sessions) }));
        requester.lent_groups.into_iter().map(|gid| gid.0).collect()
    }

    #[test]
    fn lent_memberships_and_groups_of_sessions_are_told_from_ones_own() {
        assert_eq!(lent(alice(), &[], &[]), [0; 0]);
        assert_eq!(lent(alice(), &[(1001, 999), (1002, 27)], &[]), [999]);
        assert_eq!(lent(alice(), &[], &[(1001, 4), (1002, 5)]), [4]);
        // Lent although it is their own: their own counts. Lent twice: neither does.
        assert_eq!(lent(alice(), &[], &[(1001, 27)]), [0; 0]);
        assert_eq!(lent(alice(), &[(1001, 999)], &[(1001, 999)]), [999]);
        // Databases that did not answer speak for nothing.
        assert_eq!(lent(Requester { groups: Fact::Unknown, ..alice() }, &[], &[(1001, 27)]), [27]);
    }

    #[test]
    fn membership_lent_to_the_person_behind_root_counts_as_little() {
        let root = Requester { uid: Uid::ROOT, groups: Fact::Is([0].map(group).into()), ..alice() };
        assert_eq!(lent(root, &[(1001, 27), (1002, 4)], &[]), [27]);
    }

    #[test]
    fn notes_that_cannot_be_read_leave_every_group_unknown() {
        let mut requester = alice();
        tell_apart(&mut requester, &Err("damaged".into()));
        assert_eq!((&requester.groups, &requester.process_groups), (&Fact::Unknown, &Fact::Unknown));
        assert_eq!((requester.login_groups, requester.uid), (Fact::Unknown, Uid(1001)));
    }
}
