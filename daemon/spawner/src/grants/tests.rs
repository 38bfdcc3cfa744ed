use std::fs;
use std::path::{Path, PathBuf};

use jitsudo_link::notes::Noted;

use super::*;

pub(crate) fn grant() -> Grant {
    Grant {
        id: "01jd0000000000000000000000".parse().unwrap(),
        requester: 1000,
        user: Some("alice".into()),
        rule: "web".into(),
        role: "web-operator".into(),
        reason: None,
        ticket: None,
        groups: vec!["docker".into()],
        ends: Ends { at: "2026-11-21T12:30:00Z".parse().unwrap(), boottime_ms: 1_800_000, boot: "b1".into() },
        first_end: None,
        ending: None,
        on_host: OnHost::default(),
    }
}

pub(crate) fn note() -> Note {
    note_of(&grant(), "h")
}

pub(super) fn at(wall: &str, boottime_ms: u64) -> Now {
    Now { wall: wall.parse().unwrap(), boottime_ms }
}

pub(super) fn early() -> Now {
    at("2026-11-21T12:00:00Z", 1000)
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("jitsudo-grants-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("ends")).unwrap();
    folder
}

fn load(folder: &Path, boot: &str) -> (Grants, Vec<String>) {
    let notes = Notes { ends: folder.join("ends"), lasting: folder.join("lasting") };
    Grants::load(notes, &folder.join("sudoers.d"), "h", boot, early())
}

/// Those that are ending, and why.
fn ending(grants: &Grants) -> Vec<(AccessId, EndCause)> {
    grants.ending().filter_map(|grant| Some((grant.id.clone(), grant.ending?))).collect()
}

fn held(name: &str) -> (Grants, PathBuf) {
    let folder = folder(name);
    let (mut grants, trouble) = load(&folder, "b1");
    assert!(trouble.is_empty() && grants.is_empty());
    grants.ask(grant());
    assert!(grants.usable(&grant().id, early()).is_none(), "not before the proof");
    grants.begin(&grant().id, early()).unwrap().unwrap();
    assert!(grants.usable(&grant().id, early()).is_none(), "not before the host is changed for it");
    assert_eq!(grants.is_set_up(&grant().id).unwrap().role, "web-operator");
    (grants, folder)
}

#[test]
fn grant_without_a_note_is_none() {
    let (mut grants, _) = load(Path::new("/nonexistent/jitsudo"), "b1");
    grants.ask(grant());
    assert!(grants.begin(&grant().id, early()).unwrap().unwrap_err().contains("cannot be written"));
    assert!(!grants.knows(&grant().id) && grants.begin(&grant().id, early()).is_none());
    assert!(grants.is_set_up(&grant().id).is_err());
}

#[test]
fn grant_is_over_by_whichever_clock_is_first() {
    let (grants, folder) = held("clocks");
    let id = grant().id;
    assert!(grants.usable(&id, early()).is_some() && grants.due(early()).is_empty());
    for over in [at("2026-11-21T12:30:00Z", 1000), at("2020-01-01T00:00:00Z", 1_800_000)] {
        assert!(grants.usable(&id, over).is_none());
        assert_eq!(grants.due(over), [(id.clone(), EndCause::WindowOver)]);
    }
    assert_eq!(grants.next_end(), Some(1_800_000));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn restart_keeps_ends_and_endings() {
    let (mut grants, folder) = held("restart");
    let id = grant().id;
    fs::write(folder.join("ends/01jd0000000000000000000001"), "{").unwrap();
    let (again, trouble) = load(&folder, "b1");
    let found = Grant { on_host: OnHost { found: true, ..OnHost::default() }, ..grant() };
    assert_eq!((again.held.get(&id), again.held.iter().count(), trouble.len()), (Some(&found), 2, 1));
    // What nobody can read is over, whatever it was.
    let lost: AccessId = "01jd0000000000000000000001".parse().unwrap();
    assert_eq!((ending(&again), again.usable(&lost, early())), (vec![(lost, EndCause::Lost)], None));
    fs::remove_file(folder.join("ends/01jd0000000000000000000001")).unwrap();
    let (rebooted, _) = load(&folder, "b2");
    assert!(rebooted.usable(&id, early()).is_none());
    assert_eq!(rebooted.due(early()), [(id.clone(), EndCause::Rebooted)]);
    let later = Ends { boottime_ms: 2_000_000, ..grant().ends };
    grants.extend(&id, &later).unwrap();
    grants.extend(&id, &Ends { boottime_ms: 2_100_000, ..later.clone() }).unwrap();
    let (again, _) = load(&folder, "b1");
    assert_eq!(again.held.get(&id).unwrap().ends.boottime_ms, 2_100_000, "an extension is kept as well");
    assert_eq!(again.held.get(&id).unwrap().first_end, Some(grant().ends.at), "and what it began with");
    assert!(grants.begin_end(&id, EndCause::GivenBack) && !grants.begin_end(&id, EndCause::Locked));
    assert!(grants.usable(&id, early()).is_none() && grants.due(at("2026-11-21T13:00:00Z", 1)).is_empty());
    let (again, _) = load(&folder, "b1");
    assert_eq!(again.ending().map(|grant| grant.ending).collect::<Vec<_>>(), [Some(EndCause::GivenBack)]);
    assert!(grants.extend(&id, &later).is_err(), "what is ending is not extended");
    grants.close(&id);
    assert!(!grants.knows(&id) && !folder.join("ends").join(id.as_str()).exists());
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn grant_that_was_being_set_up_is_not_held_after_a_restart() {
    let folder = folder("set-up");
    let (mut grants, _) = load(&folder, "b1");
    let adm = Effect::Membership("adm".to_owned());
    let on_host = OnHost { to_make: vec![adm.clone()], ..OnHost::default() };
    grants.ask(Grant { on_host, ..grant() });
    grants.begin(&grant().id, early()).unwrap().unwrap();
    let (mut note, effect) = grants.next_effect(&grant().id).unwrap();
    assert!(note.activating && effect == adm && grants.next_effect(&grant().id).is_none());
    // As a worker notes it; and the spawner is gone.
    note.set(Noted { effect: adm, gid: None, ours: true, applied: true });
    grants.notes.write(&note).unwrap();
    let (again, _) = load(&folder, "b1");
    assert_eq!((again.activating(), again.usable(&grant().id, early())), (vec![grant().id], None));
    assert_eq!(again.find(&grant().id).unwrap().lent().len(), 1, "it knows what to take back");
    // After a boot the copy on disk says the same.
    fs::remove_dir_all(folder.join("ends")).unwrap();
    let (rebooted, _) = load(&folder, "b2");
    assert_eq!((rebooted.activating().len(), rebooted.find(&grant().id).unwrap().lent().len()), (1, 1));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn crash_recovery_04_what_a_note_no_longer_says_is_over_and_what_it_lent_is_known_by_its_copy_or_its_name() {
    let (mut grants, folder) = held("lost-notes");
    let id = grant().id;
    // An entry of the group file: a copy is on disk.
    let adm = Effect::Membership("adm".to_owned());
    let mut note = note();
    note.set(Noted { effect: adm.clone(), gid: None, ours: true, applied: true });
    grants.notes.write(&note).unwrap();
    let path = folder.join("ends").join(id.as_str());
    let whole = fs::read(&path).unwrap();
    for damaged in [&whole[..0], &whole[..20], &whole[..whole.len() - 1]] {
        fs::write(&path, damaged).unwrap();
        let (again, trouble) = load(&folder, "b1");
        assert_eq!((ending(&again), trouble.len()), (vec![(id.clone(), EndCause::Lost)], 1));
        assert_eq!(again.held.get(&id).unwrap().lent(), std::slice::from_ref(&adm));
        assert_eq!(again.notes.of(&id).unwrap().unwrap().effects.len(), 1, "a worker reads the copy");
    }
    // Both copies: nobody knows whose entry it is, and nobody forgets that.
    fs::write(folder.join("lasting").join(id.as_str()), "{").unwrap();
    let (again, trouble) = load(&folder, "b1");
    assert_eq!((again.held.iter().count(), trouble.len()), (0, 2));
    // A drop-in that no note names.
    grants.close(&id);
    fs::create_dir_all(folder.join("sudoers.d")).unwrap();
    fs::write(folder.join("sudoers.d").join(id.as_str()), "").unwrap();
    let (again, _) = load(&folder, "b1");
    assert_eq!(ending(&again), [(id.clone(), EndCause::Lost)]);
    assert_eq!(again.held.get(&id).unwrap().lent(), [Effect::Sudoers(vec![])]);
    fs::remove_dir_all(folder).unwrap();
}
