//! Each violation is found when it is there, and nothing is found on a sane host.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jitsudo_core::event::{Actor, EndCause, Entry, Event};
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_core::lends::Effect;

use super::host::{DropIn, Group, Note, Process, Seen, accounts, groups, parse_process};
use super::judge::{Kind, Verdict, judge};
use super::log::{Log, Now};

const ID: &str = "01jd0000000000000000000001";
const OTHER: &str = "01jd0000000000000000000002";
/// The grant's end, milliseconds since boot; it began at 0.
const END_MS: u64 = 600_000;

fn id(text: &str) -> AccessId {
    text.parse().unwrap()
}

fn at(ms: u64) -> jiff::Timestamp {
    let start: jiff::Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    start + jiff::SignedDuration::from_millis(i64::try_from(ms).unwrap())
}

struct World {
    seen: Seen,
    log: Log,
}

impl World {
    /// alice holds a role with a membership and sudoers lines, and runs a command under it; everything is on record.
    fn sane() -> Self {
        let now = Now { wall: at(60_000), boottime_ms: 60_000, boot: "b1".into() };
        let note = note(ID);
        let seen = Seen {
            now,
            spawner_since_ms: Some(0),
            accounts: accounts("root:x:0:0::/root:/bin/sh\nalice:x:1001:1001::/home/alice:/bin/bash\n"),
            groups: [
                groups("/etc/group", 2, "adm:x:4:alice\nalice:x:1001:\ndocker:x:999:bob\n"),
                groups("/etc/gshadow", usize::MAX, "adm:*::alice\n"),
            ]
            .concat(),
            drop_ins: vec![drop_in(
                ID,
                "#1001 ALL=(root) NOTAFTER=20261121121000Z TIMEOUT=540 NOPASSWD: /usr/bin/id \"\"\n",
            )],
            notes: vec![(PathBuf::from("/run/jitsudo/ends").join(ID), Ok(note))],
            session_notes: vec![(format!("{ID}.1"), END_MS + 6_000)],
            sessions: vec![(session(ID, 1), BTreeSet::from([42]))],
            strange_groups: Vec::new(),
            processes: vec![process(42, 0, &[4]), process(43, 1001, &[1001, 4])],
            troubles: Vec::new(),
        };
        let mut world = Self { seen, log: Log::default() };
        world.give(ID);
        for effect in [Effect::Membership("adm".into()), Effect::Sudoers(vec!["/usr/bin/id".into()])] {
            world.happens(10, Event::EffectApplied { id: id(ID), effect, ours: true });
        }
        world.happens(11, Event::Active { id: id(ID) });
        world.happens(12, starting(1));
        world
    }

    /// Records a role grant of alice's up to its end.
    fn give(&mut self, grant: &str) {
        let text = format!(
            r#"{{"event":"requested","id":"{grant}","uid":1001,"user":"alice","kind":"role","argv":[],"digest":"d","tty":0,"pid":1}}"#
        );
        self.happens(1, serde_json::from_str(&text).unwrap());
        let text =
            format!(r#"{{"event":"decided","id":"{grant}","allowed":true,"rule":"r","role":"web","policy":"p"}}"#);
        self.happens(2, serde_json::from_str(&text).unwrap());
        self.happens(
            3,
            Event::Activating {
                id: id(grant),
                ends_at: at(END_MS),
                ends_boottime_ms: END_MS,
                processes_end_at: None,
                groups: vec![],
            },
        );
    }

    fn happens(&mut self, ms: u64, event: Event) {
        let actor = Actor { program: "test".into(), uid: None, name: None };
        let (host, boot) = ("h".to_owned(), "b1".to_owned());
        self.log.add(&Entry { host, boot, wall: at(ms), boottime_ms: ms, actor, spool: None, late: false, event });
    }

    fn later(mut self, ms: u64) -> Self {
        self.seen.now.wall = at(ms);
        self.seen.now.boottime_ms = ms;
        self
    }

    fn verdict(&self) -> Verdict {
        judge(&self.seen, &self.log)
    }

    fn kinds(&self) -> Vec<Kind> {
        self.verdict().findings.iter().filter(|finding| !finding.known).map(|finding| finding.kind).collect()
    }

    fn only(&self, kind: Kind, words: &str) {
        let verdict = self.verdict();
        assert!(!verdict.holds() && verdict.findings.iter().all(|one| one.kind == kind), "{verdict:#?}");
        assert!(
            verdict.findings.iter().any(|one| format!("{}: {}", one.what, one.why).contains(words)),
            "{verdict:#?}"
        );
    }
}

fn note(grant: &str) -> Note {
    serde_json::from_str(&format!(
        r#"{{"id":"{grant}","host":"h","uid":1001,"user":"alice","boot":"b1","ends_at":"{}","ends_boottime_ms":{END_MS},
            "effects":[{{"effect":{{"membership":"adm"}},"gid":4,"ours":true,"applied":true}},
                       {{"effect":{{"sudoers":["/usr/bin/id"]}},"ours":true,"applied":true}}]}}"#,
        at(END_MS)
    ))
    .unwrap()
}

fn session(grant: &str, number: u32) -> SessionId {
    SessionId { access: id(grant), number }
}

fn starting(number: u32) -> Event {
    serde_json::from_str(&format!(
        r#"{{"event":"session_starting","session":"{ID}.{number}","uid":0,"gid":0,"target":"root","record":"none","chain":[]}}"#
    ))
    .unwrap()
}

fn drop_in(name: &str, text: &str) -> DropIn {
    DropIn { path: PathBuf::from("/run/jitsudo/sudoers.d").join(name), ours: true, text: Ok(text.to_owned()) }
}

fn process(pid: u32, uid: u32, gids: &[u32]) -> Process {
    Process { pid, name: "sh".into(), uids: vec![uid], gids: gids.iter().copied().collect(), audit_session: None }
}

#[test]
fn sane_host_has_no_finding_at_any_time_of_a_grant() {
    let world = World::sane();
    let verdict = world.verdict();
    assert_eq!((verdict.findings.as_slice(), verdict.grants), ([].as_slice(), 1));
    assert!(verdict.privileges >= 4, "{verdict:?}");
    // The end has two seconds.
    assert!(World::sane().later(END_MS + 1_900).verdict().findings.is_empty());
    // Without the spawner the sweep comes within a minute.
    let mut dead = World::sane().later(END_MS + 60_000);
    dead.seen.spawner_since_ms = None;
    assert!(dead.verdict().findings.is_empty());
    // Nothing is there of a grant that is closed.
    let mut closed = World::sane().later(END_MS + 90_000);
    for effect in [Effect::Membership("adm".into()), Effect::Sudoers(vec!["/usr/bin/id".into()])] {
        closed.happens(END_MS, Event::EffectUndone { id: id(ID), effect, removed: true });
    }
    closed.happens(END_MS, Event::Ended { id: id(ID), cause: EndCause::WindowOver });
    closed.happens(END_MS + 1, Event::Closed { id: id(ID) });
    closed.seen.groups = groups("/etc/group", 2, "adm:x:4:\n");
    (closed.seen.drop_ins, closed.seen.notes, closed.seen.sessions) = Default::default();
    closed.seen.processes = vec![process(43, 1001, &[1001])];
    assert!(closed.verdict().findings.is_empty(), "{:?}", closed.verdict());
}

#[test]
fn entry_that_is_noted_as_ours_without_a_grant_is_found() {
    let mut world = World::sane();
    world.seen.notes.push((OTHER.into(), Ok(Note { uid: 1001, ..note(OTHER) })));
    // Another grant that is live lends the same: the note alone is wrong.
    world.only(Kind::Note, "no durable record gives it");
    let mut world = World::sane();
    world.log = Log::default();
    world.seen.sessions.clear();
    (world.seen.drop_ins, world.seen.processes) = Default::default();
    let verdict = world.verdict();
    let group = |file: &str| verdict.findings.iter().any(|one| one.what == format!("alice in group adm ({file})"));
    assert!(group("/etc/group") && group("/etc/gshadow"), "{verdict:#?}");
}

#[test]
fn entry_that_the_record_lends_and_no_note_names_is_found_past_the_end() {
    let mut world = World::sane().later(END_MS + 2_100);
    world.seen.notes.clear();
    (world.seen.drop_ins, world.seen.processes, world.seen.sessions) = Default::default();
    world.only(Kind::Group, "alice in group adm");
}

#[test]
fn entry_of_an_account_that_was_renamed_is_found_by_its_numbers() {
    let mut world = World::sane().later(END_MS + 2_100);
    world.seen.accounts = accounts("alina:x:1001:1001::/:/bin/sh\n");
    world.seen.groups = groups("/etc/group", 2, "admins:x:4:alina\n");
    assert!(world.kinds().contains(&Kind::Group));
}

#[test]
fn drop_in_without_a_grant_is_found() {
    let mut world = World::sane();
    world.seen.drop_ins.push(drop_in(OTHER, "#1001 ALL=(root) NOTAFTER=20261121121000Z NOPASSWD: ALL\n"));
    world.only(Kind::DropIn, "no durable record gives it");
}

#[test]
fn drop_in_without_an_end_is_found_unless_its_role_accepts_that() {
    let text = "#1001 ALL=(root) NOPASSWD: /usr/bin/id \"\"\n";
    let mut world = World::sane();
    world.seen.drop_ins = vec![drop_in(ID, text)];
    assert!(world.kinds().contains(&Kind::DropIn), "{:?}", world.verdict());
    let accepted = Effect::SudoersWithoutEnd(vec!["/usr/bin/id".into()]);
    for (effect, text, found) in [
        (accepted.clone(), text.to_owned(), false),
        (accepted.clone(), "#1001 ALL=(root) TIMEOUT=540 NOPASSWD: /usr/bin/id \"\"\n".to_owned(), false),
        (accepted, "#1001 ALL=(root) NOPASSWD: ALL\n".to_owned(), true),
    ] {
        let mut world = World::sane();
        if let Ok(note) = &mut world.seen.notes[0].1 {
            note.effects[1].effect = effect.clone();
        }
        let before = Effect::Sudoers(vec!["/usr/bin/id".into()]);
        world.happens(13, Event::EffectUndone { id: id(ID), effect: before, removed: true });
        world.happens(14, Event::EffectApplied { id: id(ID), effect, ours: true });
        world.seen.drop_ins = vec![drop_in(ID, &text)];
        assert_eq!(!world.verdict().findings.is_empty(), found, "{text}: {:?}", world.verdict());
    }
}

#[test]
fn drop_in_that_gives_more_than_its_grant_is_found() {
    for (text, words) in [
        ("#1001 ALL=(root) NOTAFTER=20261121121000Z NOPASSWD: ALL\n", "no record lends \"ALL\""),
        ("#1001 ALL=(root) NOTAFTER=20261121121001Z NOPASSWD: /usr/bin/id \"\"\n", "does not end with its grant"),
        ("#1002 ALL=(root) NOTAFTER=20261121121000Z NOPASSWD: /usr/bin/id \"\"\n", "is of uid 1001, not of uid 1002"),
        ("alice ALL=(ALL) NOPASSWD: ALL\n", "not of the kind that jitsudo writes"),
        ("Defaults !authenticate\n", "not of the kind that jitsudo writes"),
        ("#include /tmp/x\n#1001 ALL=(root) NOPASSWD: ALL\n", "not of the kind that jitsudo writes"),
    ] {
        let mut world = World::sane();
        world.seen.drop_ins = vec![drop_in(ID, text)];
        world.only(Kind::DropIn, words);
    }
    let mut world = World::sane();
    let outside = |name: &str, text: &str| DropIn {
        path: PathBuf::from("/etc/sudoers.d").join(name),
        ours: false,
        text: Ok(text.to_owned()),
    };
    world.seen.drop_ins.push(outside("jitsudo", "# a comment\n@includedir /run/jitsudo/sudoers.d\n"));
    assert!(world.verdict().holds());
    world.seen.drop_ins = vec![outside("jitsudo", "@includedir /run/jitsudo/sudoers.d\nalice ALL=(ALL) ALL\n")];
    world.only(Kind::DropIn, "only `@includedir /run/jitsudo/sudoers.d` belongs there");
    world.seen.drop_ins = vec![outside(ID, "#1001 ALL=(root) NOTAFTER=20261121121000Z NOPASSWD: /usr/bin/id \"\"\n")];
    world.only(Kind::DropIn, "has no place outside of /run");
    world.seen.drop_ins = vec![DropIn { text: Err("owned by uid 1001".into()), ..drop_in(ID, "") }];
    world.only(Kind::DropIn, "owned by uid 1001");
}

#[test]
fn session_without_a_live_grant_is_found() {
    let mut world = World::sane();
    world.seen.sessions.push((session(OTHER, 1), BTreeSet::from([50])));
    world.only(Kind::Session, "no durable record gives it");
    let mut world = World::sane();
    world.seen.sessions.push((session(ID, 2), BTreeSet::from([50])));
    world.only(Kind::Session, "no record says that it was started");
    let mut world = World::sane();
    world.seen.strange_groups.push("/sys/fs/cgroup/system.slice/jitsudo-spawn.service/x".into());
    world.only(Kind::Session, "that group is no session's");
}

#[test]
fn grant_that_is_over_with_processes_is_found() {
    let mut world = World::sane().later(END_MS + 2_100);
    let kinds = world.kinds();
    for kind in [Kind::Note, Kind::Group, Kind::DropIn, Kind::Session] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    (world.seen.notes, world.seen.drop_ins, world.seen.processes) = Default::default();
    world.seen.groups.clear();
    world.only(Kind::Session, "its grant is over for 2 s");
    // By the wall clock alone, and by another boot alone.
    world = world.later(60_000);
    world.seen.now.wall = at(END_MS + 2_100);
    world.only(Kind::Session, "its grant is over");
    world.seen.now = Now { boot: "b2".into(), wall: at(60_000), boottime_ms: 60_000 };
    world.only(Kind::Session, "its grant is over");
    // A session has an end of its own.
    let mut world = World::sane();
    let under = r#","under":{"kind":"command","argv":["x"],"program":null,"cwd":null,"digest":"d","policy":"p","tty":0,"pid":1,"ends_at":"2026-11-21T12:00:30Z","ends_boottime_ms":30000}}"#;
    let event = serde_json::to_string(&starting(2)).unwrap();
    world.happens(20, serde_json::from_str(&event.replace("}", "").replace("[]", &format!("[]{under}"))).unwrap());
    world.seen.sessions.push((session(ID, 2), BTreeSet::from([50])));
    world.only(Kind::Session, "its own end was at 2026-11-21T12:00:30Z");
}

#[test]
fn command_that_may_finish_is_found_past_its_own_bound_and_when_its_grant_was_ended() {
    let world = || {
        let mut world = World::sane();
        let under = r#","under":{"kind":"command","argv":["x"],"program":null,"cwd":null,"digest":"d","policy":"p","tty":0,"pid":1,"ends_at":"2026-11-21T12:10:00Z","ends_boottime_ms":600000,"processes_end_at":"2026-11-21T13:00:00Z"}}"#;
        let event = serde_json::to_string(&starting(2)).unwrap();
        world.happens(20, serde_json::from_str(&event.replace('}', "").replace("[]", &format!("[]{under}"))).unwrap());
        world.seen.sessions = vec![(session(ID, 2), BTreeSet::from([50]))];
        world.seen.session_notes = vec![(format!("{ID}.2"), 3_606_000)];
        (world.seen.notes, world.seen.drop_ins, world.seen.processes) = Default::default();
        world.seen.groups.clear();
        world
    };
    assert!(world().later(END_MS + 90_000).verdict().holds(), "{:?}", world().later(END_MS + 90_000).verdict());
    world().later(3_602_100).only(Kind::Session, "it had time to finish until 2 s ago");
    let mut ended = world().later(END_MS);
    ended.happens(60_000, Event::Ended { id: id(ID), cause: EndCause::GivenBack });
    ended.only(Kind::Session, "its grant is over");
}

#[test]
fn programs_that_a_role_leaves_to_the_host_are_no_finding() {
    let mut world = World::sane();
    world.happens(
        30,
        Event::LeftRunning { session: session(ID, 1), programs: vec!["nginx".into()], count: 1, released: true },
    );
    let mut world = world.later(END_MS + 90_000);
    (world.seen.notes, world.seen.drop_ins, world.seen.processes) = Default::default();
    world.seen.groups.clear();
    assert!(world.verdict().holds(), "{:?}", world.verdict());
}

#[test]
fn process_with_a_lent_gid_is_found_when_nobody_lends_it() {
    let over = || {
        let mut world = World::sane().later(END_MS + 2_100);
        (world.seen.notes, world.seen.drop_ins, world.seen.sessions) = Default::default();
        world.seen.groups = groups("/etc/group", 2, "adm:x:4:\nalice:x:1001:\n");
        world
    };
    over().only(Kind::Process, "process 43 (sh): it has gid 4 of group adm");
    let mut standing = over();
    standing.seen.groups = groups("/etc/group", 2, "adm:x:4:alice\n");
    // The entry itself is another finding, as long as the record lends it.
    assert!(!standing.kinds().contains(&Kind::Process));
    let mut lent = over();
    lent.give(OTHER);
    lent.happens(30, Event::EffectApplied { id: id(OTHER), effect: Effect::Membership("adm".into()), ours: true });
    let text =
        format!(r#"{{"event":"extended","id":"{OTHER}","ends_at":"2026-11-21T13:00:00Z","ends_boottime_ms":3600000}}"#);
    lent.happens(31, Event::Active { id: id(OTHER) });
    lent.happens(32, serde_json::from_str(&text).unwrap());
    assert!(lent.verdict().holds(), "{:?}", lent.verdict());
    let mut others = over();
    others.seen.processes = vec![process(44, 1002, &[4]), process(45, 1001, &[1001, 999])];
    assert!(others.verdict().holds(), "nobody lent these");
}

#[test]
fn process_with_a_gid_that_sessions_were_lent_is_found_outside_of_them() {
    let world = |ms| {
        let mut world = World::sane();
        let groups = r#","groups":[{"gid":999,"name":"docker"}]}"#;
        let event = serde_json::to_string(&starting(2)).unwrap();
        world.happens(20, serde_json::from_str(&event.replace('}', groups)).unwrap());
        let mut world = world.later(ms);
        (world.seen.notes, world.seen.drop_ins, world.seen.sessions) = Default::default();
        world.seen.groups = groups_of_the_host();
        world.seen.processes = vec![process(45, 1001, &[1001, 999]), process(46, 1002, &[999])];
        world
    };
    assert!(world(60_000).verdict().holds(), "{:?}", world(60_000).verdict());
    world(END_MS + 2_100).only(Kind::Process, "process 45 (sh): it has gid 999 of group docker");
}

fn groups_of_the_host() -> Vec<Group> {
    groups("/etc/group", 2, "adm:x:4:\nalice:x:1001:\ndocker:x:999:bob\n")
}

#[test]
fn process_of_an_ended_command_is_found_by_its_audit_session() {
    let mut world = World::sane();
    let exit = format!(
        r#"{{"event":"session_exit","session":"{ID}.1","ending":{{"exited":0}},"ran_ms":5,"pid":42,"audit_session":77}}"#
    );
    world.happens(30, serde_json::from_str(&exit).unwrap());
    world.seen.processes.push(Process { audit_session: Some(77), ..process(60, 0, &[]) });
    assert!(world.verdict().holds(), "the grant is live");
    let mut world = world.later(END_MS + 2_100);
    (world.seen.notes, world.seen.drop_ins, world.seen.sessions) = Default::default();
    world.seen.groups.clear();
    world.seen.processes.retain(|process| process.pid == 60);
    world.only(Kind::Process, "process 60 (sh): its grant is over");
}

#[test]
fn note_that_says_more_than_the_record_is_found() {
    let with = |change: &dyn Fn(&mut Note)| {
        let mut world = World::sane();
        let mut note = note(ID);
        change(&mut note);
        world.seen.notes = vec![(ID.into(), Ok(note))];
        world
    };
    with(&|note| note.ends_at = at(END_MS + 1_000)).only(Kind::Note, "it ends at");
    with(&|note| note.ends_boottime_ms += 1).only(Kind::Note, "it ends at");
    with(&|note| note.boot = "b2".into()).only(Kind::Note, "another boot");
    with(&|note| note.effects[1].effect = Effect::Sudoers(vec!["ALL".into()])).only(Kind::Note, "without a record");
    assert!(with(&|note| note.ends_at = at(1)).verdict().holds(), "less is fine");
    let mut world = World::sane();
    world.seen.notes.push(("/run/jitsudo/ends/x".into(), Err("it is no note".into())));
    world.only(Kind::Note, "it is no note");
    let mut world = World::sane();
    world.seen.session_notes[0].1 = END_MS + 60_000;
    world.only(Kind::Note, "lets the session run 60000 ms past its end");
}

#[test]
fn end_that_is_on_record_as_not_complete_is_told_and_is_no_violation() {
    let mut world = World::sane().later(END_MS + 90_000);
    world.happens(END_MS, Event::Ended { id: id(ID), cause: EndCause::WindowOver });
    world.happens(END_MS + 1, Event::CleanupFailed { id: id(ID), cause: "/etc is read-only".into() });
    let verdict = world.verdict();
    assert!(verdict.holds() && verdict.findings.len() > 2, "{verdict:#?}");
    assert!(verdict.findings.iter().all(|one| one.known && one.why.contains("/etc is read-only")), "{verdict:#?}");
}

#[test]
fn ledger_that_cannot_be_proved_is_no_yes() {
    let mut world = World::sane();
    world.log.troubles.push("the ledger: cannot read event".into());
    world.only(Kind::Ledger, "cannot read event");
    world.log.troubles.clear();
    world.seen.troubles.push("cannot read /etc/group: permission denied".into());
    world.only(Kind::Host, "permission denied");
    let missing = Log::read("/nonexistent/ledger".as_ref(), "/nonexistent/spool".as_ref()).unwrap_err();
    assert!(missing.contains("/nonexistent/ledger"), "{missing}");
    assert!(!Verdict::unreadable(missing).holds());
}

#[test]
fn files_of_the_host_are_read_as_they_are_written() {
    let lines = groups("/etc/group", 2, "adm:x:4:alice,bob\nbroken\nempty:x:5:\n");
    assert_eq!(
        lines[0],
        Group { file: "/etc/group", name: "adm".into(), gid: Some(4), members: vec!["alice".into(), "bob".into()] }
    );
    assert_eq!((lines.len(), lines[1].members.len()), (2, 0));
    let status = "Name:\tsh\nState:\tS (sleeping)\nUid:\t1001\t0\t0\t0\nGid:\t7\t7\t7\t7\nGroups:\t4 24 \n";
    let found = parse_process(5, status, "12\n").unwrap();
    assert_eq!((found.name.as_str(), found.uids, found.audit_session), ("sh", vec![1001, 0, 0, 0], Some(12)));
    assert_eq!(found.gids, BTreeSet::from([4, 7, 24]));
    assert_eq!(parse_process(5, status, "4294967295").unwrap().audit_session, None);
    assert_eq!(parse_process(5, &status.replace("S (sleeping)", "Z (zombie)"), ""), None);
}
