use super::*;
use jitsudo_core::name::{Gid, Uid};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};

/// An account that no file of any host has.
const UID: u32 = 61_234;
const GID: u32 = 61_999;
/// An audit session that no process of any host has: what has it would be killed.
const UNUSED: u32 = u32::MAX - 64;

fn session(number: u32) -> SessionId {
    SessionId { access: "01jd0000000000000000000000".parse().unwrap(), number }
}

fn lending(number: u32, gids: &[u32]) -> Lending {
    Lending { session: session(number), uid: Uid(UID), gids: gids.iter().map(|gid| Gid(*gid)).collect() }
}

fn marks(folder: &std::path::Path) -> Folder<Mark> {
    Folder::at(&folder.with_extension("marks"))
}

/// What a spawner that begins anew takes up, at 1 ms on boot `b`; session 2 runs, and the grant is held.
fn load(folder: &std::path::Path, found: Vec<Mark>, left: BTreeSet<SessionId>) -> (Escapes, Result<(), String>) {
    let records = (Lendings::in_folder(folder), marks(folder));
    Escapes::load(records, found, |one| *one == session(2), |_| true, left, ("b", 1))
}

fn mark(number: u32, audit_session: Option<u32>, boot: &str, held: bool) -> Mark {
    let ends =
        jitsudo_core::state::Ends { at: jitsudo_core::Timestamp::MAX, boottime_ms: 5_000, boot: boot.to_owned() };
    Mark { session: session(number), host: "h".to_owned(), audit_session, cgroup: None, ends, held }
}

fn escapes(name: &str) -> (Escapes, PathBuf) {
    let folder = std::env::temp_dir().join(format!("jitsudo-escapes-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let (escapes, trouble) = load(&folder, Vec::new(), BTreeSet::new());
    assert_eq!(trouble, Ok(()));
    (escapes, folder)
}

fn gone(audit_session: Option<u32>, released: bool) -> Gone {
    Gone { audit_session, released, until_ms: 0 }
}

fn ids(uid: u32, gid: u32, groups: &[u32]) -> Ids {
    Ids { uids: [uid; 4], gids: [gid; 4], groups: groups.to_vec() }
}

/// Goes on until nothing is looked for; how many were signalled with which signal.
fn walk_through(escapes: &mut Escapes, inside: Option<&dyn Fn(u32) -> Option<String>>) -> Vec<(u32, u8)> {
    let mut signalled = Vec::new();
    let mut now_ms = 10_000;
    for _ in 0..10_000 {
        for event in escapes.step(inside, now_ms) {
            if let Event::Signalled { count, signal, .. } = event {
                signalled.push((count, signal));
            }
        }
        if escapes.ended.is_empty() {
            return signalled;
        }
        now_ms += 50;
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("{escapes:?}");
}

fn remains(escapes: &Escapes) -> bool {
    escapes.accesses().any(|access| *access == session(1).access)
}

#[test]
fn group_is_carried_by_its_account_as_primary_or_supplementary_and_by_nobody_else() {
    let lent = (UID, vec![4, GID]);
    let carried = |ids: Ids| carries(&ids, &lent).collect::<Vec<_>>();
    assert_eq!(carried(ids(UID, UID, &[27, GID])), [GID]);
    assert_eq!(carried(ids(UID, GID, &[27])), [GID], "newgrp, and a set-group-ID file");
    assert_eq!(carried(Ids { gids: [UID, GID, GID, GID], ..ids(UID, UID, &[]) }), [GID]);
    assert_eq!(carried(Ids { uids: [UID, 0, 0, 0], ..ids(UID, UID, &[4]) }), [4], "a set-user-ID program of theirs");
    assert_eq!(carried(ids(UID + 1, UID, &[4, GID])), [0; 0]);
    assert_eq!(carried(ids(UID, UID, &[27])), [0; 0]);
}

#[test]
fn nothing_is_looked_for_as_root() {
    let (mut escapes, folder) = escapes("root");
    assert_eq!(carries(&ids(0, 0, &[GID]), &(0, vec![GID])).count(), 0);
    escapes.lend(Lending { uid: Uid::ROOT, ..lending(1, &[GID]) }).unwrap();
    escapes.session_ended(&session(1), gone(Some(u32::MAX), false), 1);
    escapes.session_ended(&session(2), gone(None, false), 1);
    escapes.membership_ended(&session(1).access, 0, GID, 1);
    assert!(escapes.ended.is_empty() && escapes.next().is_none() && !remains(&escapes));
    assert_eq!(escapes.records.read(), Ok(vec![]));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn host_that_cannot_be_read_kills_nobody_and_closes_nothing() {
    let (mut escapes, folder) = escapes("unread");
    escapes.lend(lending(1, &[GID])).unwrap();
    escapes.session_ended(&session(1), gone(None, false), 1);
    for now_ms in [1, 1_000, 2_000, 3_000] {
        let mut walk = escapes.begin(now_ms).unwrap();
        (walk.whole, walk.databases, walk.pids) = (false, None, vec![std::process::id()].into_iter());
        escapes.walk = Some(walk);
        assert!(escapes.step(None, now_ms).is_empty());
    }
    assert!(remains(&escapes));
    // And after a restart it is looked for again.
    let (again, _) = load(&folder, Vec::new(), BTreeSet::new());
    assert!(remains(&again));
    escapes.lend(lending(2, &[GID])).unwrap();
    escapes.records.remove(&session(1)).unwrap();
    let (running, _) = load(&folder, Vec::new(), BTreeSet::new());
    assert!(!remains(&running) && running.lendings.len() == 1);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_is_marked_and_has_no_session_is_looked_for_by_who_begins_anew() {
    let (mut escapes, folder) = escapes("marked");
    let all = [
        mark(1, Some(UNUSED), "b", true),
        mark(2, Some(UNUSED + 1), "b", true),
        mark(3, Some(UNUSED + 2), "a", true),
        mark(4, None, "b", false),
    ];
    for mark in &all {
        escapes.marks.write(mark).unwrap();
    }
    escapes.lend(lending(1, &[61_990])).unwrap();
    // What was left in groups with a mark is no host's; what was left without one is.
    let left = BTreeSet::from([session(1), session(5)]);
    let (again, trouble) = load(&folder, all.to_vec(), left);
    assert_eq!((trouble, again.released.clone()), (Ok(()), BTreeSet::from([session(5)])));
    let found: Vec<_> =
        again.ended.iter().map(|ended| (ended.session.number, ended.audit_session, ended.due_ms)).collect();
    assert_eq!(
        found,
        [(1, Some(UNUSED), 5_000), (3, Some(UNUSED + 2), 0)],
        "until its end, and what is of another boot at once"
    );
    assert!(again.ended[0].lent.is_some(), "by both, and once");
    let marked = |escapes: &Escapes| -> Vec<u32> {
        escapes.marks.read_all().notes.iter().map(|mark| mark.session.number).collect()
    };
    assert_eq!(marked(&again), [1, 2, 3], "nothing is to be looked for of the fourth");
    // A role that is not held any more has no time left.
    let records = (Lendings::in_folder(&folder), marks(&folder));
    let (over, _) = Escapes::load(records, all.to_vec(), |_| false, |_| false, BTreeSet::new(), ("b", 1));
    assert_eq!(over.ended.iter().map(|ended| ended.due_ms).collect::<Vec<_>>(), [0, 0, 0]);
    let mut again = again;
    walk_through(&mut again, Some(&|_| None));
    assert_eq!(marked(&again), [2], "what was looked for is not marked any more");
    std::fs::remove_dir_all(folder.with_extension("marks")).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn files_tell_who_is_in_a_group() {
    let passwd = "root:x:0:0::/:\nalice:x:1001:1001::/:\nalice2:x:1001:7::/:\nbad\n";
    let group = "docker:x:999:bob,alice\nmalice:x:8:malice\nbroken:x:9\nempty:x:10:\nsecond:x:999:carol\n";
    let databases = Databases::parse(passwd, group);
    for (uid, gid, wanted) in
        [(1001, 999, true), (1001, 1001, true), (1001, 7, true), (1001, 8, false), (1001, 9, false), (1001, 10, false)]
    {
        assert_eq!(databases.gives(uid, gid), wanted, "{uid} {gid}");
    }
    assert!(!databases.gives(1002, 999) && !Databases::parse("", "docker:x:999:").gives(1001, 999));
}

/// A process of the account with a group, as root alone can make one.
fn carrier(groups: &[u32]) -> Option<Child> {
    if !jitsudo_sys::nix::unistd::geteuid().is_root() {
        return None;
    }
    let groups = groups.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let (uid, gid) = (UID.to_string(), UID.to_string());
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &uid, "--regid", &gid, "--groups", &groups, "sleep", "60"]);
    let child = command.process_group(0).spawn().unwrap();
    // It is one once setpriv has changed into it.
    let changed = || process::ids(child.id()).is_ok_and(|ids| ids.uids == [UID; 4]);
    assert!((0..1000).any(|_| changed() || {
        std::thread::sleep(std::time::Duration::from_millis(5));
        false
    }));
    Some(child)
}

#[test]
fn group_is_kept_where_it_is_lent_and_nowhere_else() {
    let Some(mut away) = carrier(&[GID]) else { return };
    let [mut lends, mut released, mut other] = [(); 3].map(|()| carrier(&[GID, 61_998]).unwrap());
    let mut without = carrier(&[61_998]).unwrap();
    let (mut escapes, folder) = escapes("kept");
    for number in 1..=3 {
        escapes.lend(lending(number, &[GID])).unwrap();
    }
    escapes.lend(lending(4, &[61_998])).unwrap();
    escapes.session_ended(&session(1), gone(None, false), 9_000);
    escapes.session_ended(&session(3), gone(None, true), 9_000);
    let homes = BTreeMap::from([(lends.id(), 2), (released.id(), 3), (other.id(), 4)]);
    let inside = |pid: u32| homes.get(&pid).map(|number| session(*number).to_string());
    let signalled = walk_through(&mut escapes, Some(&inside));
    assert_eq!(signalled[0], (2, 9), "{signalled:?}");
    assert!(away.wait().is_ok() && other.wait().is_ok());
    for child in [&mut lends, &mut released, &mut without] {
        assert!(child.try_wait().unwrap().is_none());
    }
    assert_eq!(escapes.records.read().unwrap().len(), 3, "what still runs, and what is the host's");
    // Without cgroups nobody is touched while any session lends the group.
    escapes.session_ended(&session(4), gone(None, false), 9_000);
    escapes.lend(lending(5, &[61_998])).unwrap();
    assert_eq!(walk_through(&mut escapes, None), []);
    escapes.session_ended(&session(5), gone(None, false), 9_000);
    walk_through(&mut escapes, None);
    assert!(without.wait().is_ok());
    for child in [&mut lends, &mut released] {
        let _ = child.kill();
        child.wait().unwrap();
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn who_came_in_by_a_membership_is_asked_to_end_before_it_is_killed() {
    let Some(mut polite) = carrier(&[61_997]) else { return };
    let (mut escapes, folder) = escapes("membership");
    escapes.membership_ended(&session(1).access, UID, 61_997, 10_000);
    assert!(remains(&escapes));
    let signalled = walk_through(&mut escapes, Some(&|_| None));
    assert_eq!(signalled[0].1, 15, "{signalled:?}");
    assert!(polite.wait().is_ok());
    let _ = std::fs::remove_dir_all(folder);
}
