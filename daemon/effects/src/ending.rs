//! Which roles that are held a policy would end: by the notes, decided as the spawner decides when it is in force.
//!
//! It is told to whoever is asked whether to apply it, and no more: what ends, and when, is the spawner's to decide then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;

use jitsudo_core::Timestamp;
use jitsudo_core::facts::{Fact, Facts, Group, Requester};
use jitsudo_core::held::{Held, has_lapsed, lends_less};
use jitsudo_core::lends::Effect;
use jitsudo_core::name::{Gid, Uid};
use jitsudo_core::policy::Policy;
use jitsudo_link::SETTINGS;
use jitsudo_link::notes::{Note, Notes};
use jitsudo_link::settings;
use jitsudo_link::spawner::WouldEnd;
use jitsudo_sys::{clock, trusted};

use crate::{accounts, tool};

/// Most of them named.
const MAX_NAMED: usize = 100;
/// Most accounts whose groups are asked for; of more only what needs no group is found.
const MAX_ASKED: usize = 200;
const ID: &str = "/usr/bin/id";
/// Milliseconds for one question.
const PATIENCE_MS: u64 = 3_000;

/// Those that end, at most 100, and how many more.
pub(crate) fn under(policy: &Policy) -> (Vec<WouldEnd>, u64) {
    let now = Timestamp::from_nanosecond(clock::now().wall_ns).unwrap_or(Timestamp::UNIX_EPOCH);
    let notes: Vec<Note> = Notes::default()
        .read_all()
        .notes
        .into_iter()
        .filter(|note| note.ending.is_none() && !note.activating)
        .collect();
    let labels = trusted::read(Path::new(SETTINGS), settings::MAX_SETTINGS_BYTES as u64).ok().flatten();
    let labels = labels.and_then(|text| settings::parse(&String::from_utf8(text).ok()?).ok());
    let labels = labels.map(|settings| settings.labels).unwrap_or_default();
    let asked: BTreeMap<Uid, &str> = notes.iter().map(|note| (note.uid, note.user.as_str())).collect();
    let groups: BTreeMap<Uid, BTreeSet<Group>> = asked
        .into_iter()
        .take(MAX_ASKED)
        .filter_map(|(uid, user)| Some((uid, without_lent(groups_of(user)?, uid, &notes))))
        .collect();
    let ends = notes.iter().filter(|note| {
        let known = groups.get(&note.uid).map_or(Fact::Unknown, |groups| Fact::Is(groups.clone()));
        ends(policy, note, &Facts::of_account(note.host.clone(), labels.clone(), requester(note, known)), now)
    });
    let mut all: Vec<WouldEnd> =
        ends.map(|note| WouldEnd { id: note.id.clone(), user: note.user.clone(), role: note.role.clone() }).collect();
    let more = all.len().saturating_sub(MAX_NAMED);
    all.truncate(MAX_NAMED);
    (all, more as u64)
}

fn ends(policy: &Policy, note: &Note, facts: &Facts, now: Timestamp) -> bool {
    let (reason, ticket) = (note.reason.as_deref(), note.ticket.as_deref());
    let held = Held { rule: &note.rule, role: &note.role, reason, ticket };
    let effects = note.effects.iter().map(|noted| &noted.effect);
    has_lapsed(Some(policy), facts, held, now) || lends_less(policy, &note.role, &note.groups, effects)
}

fn requester(note: &Note, groups: Fact<BTreeSet<Group>>) -> Requester {
    Requester {
        uid: note.uid,
        gid: Gid(u32::MAX),
        name: Fact::Is(note.user.clone()),
        groups: groups.clone(),
        process_groups: groups,
        lent_groups: BTreeSet::new(),
        loginuid: Fact::Is(Some(note.uid)),
        login_name: Fact::Is(Some(note.user.clone())),
        login_groups: Fact::Unknown,
        home: Fact::Unknown,
        shell: Fact::Unknown,
    }
}

/// As the databases have them; `None` when they do not say.
fn groups_of(user: &str) -> Option<BTreeSet<Group>> {
    let ran = tool::run(ID, &["-G", "--", user], Stdio::null(), PATIENCE_MS).ok().filter(|ran| ran.succeeded)?;
    let gids: BTreeSet<Gid> =
        ran.output.split_whitespace().map(|gid| gid.parse().map(Gid).ok()).collect::<Option<_>>()?;
    let files = accounts::groups_in_file().ok()?;
    let name = |gid: Gid| files.iter().find(|group| group.gid == gid).map(|group| group.name.clone());
    // One that only a directory knows has a name that is not known here: then nothing is said of any.
    gids.into_iter().map(|gid| name(gid).map(|name| Group { gid, name: Some(name) })).collect()
}

/// What jitsudo lent itself counts in no decision.
fn without_lent(groups: BTreeSet<Group>, uid: Uid, notes: &[Note]) -> BTreeSet<Group> {
    let effects = notes.iter().filter(|note| note.uid == uid).flat_map(|note| &note.effects);
    let lent: BTreeSet<Gid> = effects
        .filter(|noted| noted.ours && matches!(noted.effect, Effect::Membership(_)))
        .filter_map(|noted| noted.gid)
        .collect();
    groups.into_iter().filter(|group| !lent.contains(&group.gid)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_core::language::{HostLookup, SourceFile, compile};

    fn policy(rules: &str) -> Policy {
        let name = "10-test.toml".to_owned();
        let text = format!("[roles.logs]\nrun = [\"/usr/bin/id\"]\nmembership = [\"adm\"]\n{rules}");
        let lookup = HostLookup { zone: &|_| None, resolve_directory: &str::to_owned, group_has_more: &|_| None };
        compile(&[SourceFile { name, bytes: text.into() }], &lookup).unwrap().policy
    }

    fn note(effect: Option<Effect>) -> Note {
        let text = r#"{"id":"01jd0000000000000000000000","host":"web-1","uid":1001,"user":"alice","rule":"r","role":"logs",
            "boot":"b","ends_at":"2026-01-01T01:00:00Z","ends_boottime_ms":1}"#;
        let mut note: Note = serde_json::from_str(text).unwrap();
        let noted = |effect| jitsudo_link::notes::Noted { effect, gid: Some(Gid(4)), ours: true, applied: true };
        note.effects.extend(effect.map(noted));
        note
    }

    #[test]
    fn role_ends_whose_rule_is_gone_or_means_others_or_lends_less() {
        let rule = |who: &str| format!("[[allow]]\nname = \"r\"\nwho = [\"{who}\"]\nroles = [\"logs\"]\n");
        let groups = |names: &[&str]| -> Fact<BTreeSet<Group>> {
            let group = |(gid, name): (u32, &&str)| Group { gid: Gid(gid), name: Some((*name).to_owned()) };
            Fact::Is((0..).zip(names).map(group).collect())
        };
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        for (rules, known, effect, wanted) in [
            (rule("alice"), Fact::Unknown, None, false),
            (rule("bob"), Fact::Unknown, None, true),
            (String::new(), groups(&[]), None, true),
            (rule("%ops"), groups(&["ops"]), None, false),
            (rule("%ops"), groups(&["adm"]), None, true),
            (rule("%ops"), Fact::Unknown, None, false),
            (rule("alice"), groups(&[]), Some(Effect::Membership("adm".to_owned())), false),
            (rule("alice"), groups(&[]), Some(Effect::Membership("staff".to_owned())), true),
        ] {
            let note = note(effect.clone());
            let facts = Facts::of_account("web-1".to_owned(), BTreeSet::new(), requester(&note, known.clone()));
            assert_eq!(ends(&policy(&rules), &note, &facts, now), wanted, "{rules} {known:?} {effect:?}");
        }
    }

    #[test]
    fn what_was_lent_counts_for_nothing() {
        let groups =
            |gids: &[u32]| gids.iter().map(|gid| Group { gid: Gid(*gid), name: None }).collect::<BTreeSet<_>>();
        let notes = [note(Some(Effect::Membership("adm".to_owned())))];
        assert_eq!(without_lent(groups(&[4, 5]), Uid(1001), &notes), groups(&[5]));
        assert_eq!(without_lent(groups(&[4, 5]), Uid(1002), &notes), groups(&[4, 5]));
    }
}
