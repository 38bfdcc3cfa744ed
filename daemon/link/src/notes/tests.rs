//! Notes on a disk.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

struct Place(Notes);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.ends.parent().unwrap());
    }
}

fn place(name: &str) -> Place {
    let folder = std::env::temp_dir().join(format!("jitsudo-notes-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    make(&folder).unwrap();
    Place(Notes { ends: folder.join("ends"), lasting: folder.join("lasting") })
}

fn note(number: u64) -> Note {
    Note {
        id: AccessId::new(number, [7; 10]),
        host: "web-1".into(),
        uid: Uid(1001),
        user: "alice".into(),
        rule: "r".into(),
        role: "docker".into(),
        reason: None,
        ticket: None,
        groups: Vec::new(),
        boot: "b1".into(),
        ends_at: "2026-01-01T01:00:00Z".parse().unwrap(),
        ends_boottime_ms: 5_000,
        effects: Vec::new(),
        activating: false,
        ending: None,
        ended: false,
        first_end: None,
    }
}

fn noted(effect: Effect, ours: bool) -> Noted {
    Noted { effect, gid: None, ours, applied: true }
}

fn adm() -> Effect {
    Effect::Membership("adm".into())
}

#[test]
fn note_comes_back_as_it_was_written_and_is_roots_alone() {
    let place = place("back");
    let mut one = note(1);
    one.set(noted(Effect::Sudoers(vec!["/usr/bin/id".into()]), true));
    place.0.write(&one).unwrap();
    place.0.write(&note(2)).unwrap();
    let listing = place.0.read_all();
    assert_eq!(listing.notes, [one.clone(), note(2)]);
    assert!(listing.garbage.is_empty(), "{:?}", listing.garbage);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&place.0.ends), mode(&place.0.ends.join(one.id.as_str()))), (0o700, 0o600));
    place.0.remove(&one.id).unwrap();
    place.0.remove(&one.id).unwrap();
    assert_eq!(place.0.read_all().notes, [note(2)]);
}

#[test]
fn effect_that_survives_a_reboot_is_noted_on_disk_until_it_is_forgotten() {
    let place = place("disk");
    let mut one = note(1);
    one.set(noted(Effect::Sudoers(vec!["/usr/bin/id".into()]), true));
    place.0.write(&one).unwrap();
    assert!(!place.0.lasting.join(one.id.as_str()).exists(), "a drop-in is gone with /run");
    one.set(noted(adm(), true));
    place.0.write(&one).unwrap();
    // A reboot.
    fs::remove_dir_all(&place.0.ends).unwrap();
    assert_eq!(place.0.read_all().notes, [one.clone()]);
    one.forget(&adm());
    place.0.write(&one).unwrap();
    assert!(!place.0.lasting.join(one.id.as_str()).exists());
}

#[test]
fn copy_is_set_aside_until_the_note_goes_and_comes_back_after_a_reboot() {
    let place = place("aside");
    let mut one = note(1);
    one.set(noted(adm(), true));
    place.0.write(&one).unwrap();
    let with_entry = one.clone();
    let aside = place.0.lasting.join(format!("{}.undone", one.id));
    one.forget(&adm());
    place.0.write(&one).unwrap();
    // Nobody takes it for a note, and in the same boot it stays where it is.
    assert!(aside.exists() && place.0.read_lasting().notes.is_empty());
    place.0.bring_back(&one.boot);
    assert_eq!((place.0.read_all().notes, place.0.of(&one.id)), (vec![one.clone()], Ok(Some(one.clone()))));
    // The power goes before anybody has recorded it.
    fs::remove_dir_all(&place.0.ends).unwrap();
    assert_eq!(place.0.of(&one.id), Ok(None));
    place.0.bring_back("another boot");
    let listing = place.0.read_all();
    assert!(listing.garbage.is_empty() && listing.notes == [with_entry]);
    place.0.write(&one).unwrap();
    place.0.remove(&one.id).unwrap();
    assert_eq!(fs::read_dir(&place.0.lasting).unwrap().count(), 0);
    // What cannot be read is told by its name.
    fs::write(&aside, "{").unwrap();
    place.0.bring_back(&one.boot);
    assert_eq!(place.0.read_all().garbage.len(), 1);
}

#[test]
fn copy_on_disk_that_is_a_step_ahead_counts() {
    let place = place("ahead");
    let mut one = note(1);
    place.0.write(&one).unwrap();
    one.set(noted(adm(), true));
    put(&place.0.lasting, &one.id, &serde_json::to_vec(&one).unwrap(), true).unwrap();
    assert_eq!(place.0.read_all().notes, [one]);
}

#[test]
fn garbage_hides_no_note_and_is_told() {
    let place = place("garbage");
    place.0.write(&note(1)).unwrap();
    let ends = &place.0.ends;
    fs::write(ends.join(note(2).id.as_str()), "{").unwrap();
    fs::write(ends.join(note(3).id.as_str()), serde_json::to_vec(&note(1)).unwrap()).unwrap();
    fs::write(ends.join(note(4).id.as_str()), vec![b' '; 70_000]).unwrap();
    symlink("/etc/passwd", ends.join(note(5).id.as_str())).unwrap();
    fs::write(ends.join("else"), "").unwrap();
    fs::write(ends.join(".half.new"), "").unwrap();
    let listing = place.0.read_all();
    assert_eq!(listing.notes, [note(1)]);
    assert_eq!(listing.garbage.len(), 5, "{:?}", listing.garbage);
    fs::set_permissions(ends, fs::Permissions::from_mode(0o777)).unwrap();
    let listing = place.0.read_all();
    assert_eq!(
        (listing.notes.len(), listing.garbage.len()),
        (0, 1),
        "whoever can write there could end or keep rights"
    );
}

#[test]
fn each_of_the_three_clocks_ends_a_note() {
    let (before, at) = ("2026-01-01T00:00:00Z".parse().unwrap(), "2026-01-01T01:00:00Z".parse().unwrap());
    assert!(!note(1).is_over(before, 4_999, "b1"));
    assert!(note(1).is_over(before, 5_000, "b1"));
    assert!(note(1).is_over(at, 0, "b1"));
    assert!(note(1).is_over(before, 0, "b2"));
}

#[test]
fn lock_that_is_held_is_waited_for_and_given_up() {
    let place = place("lock");
    let held = place.0.lock(Duration::ZERO).unwrap().unwrap();
    assert!(place.0.lock(Duration::from_millis(50)).unwrap().is_none());
    // A copy that a tool was started with holds it too.
    let copy = held.0.try_clone().unwrap();
    drop(held);
    assert!(place.0.lock(Duration::ZERO).unwrap().is_none());
    drop(copy);
    assert!(place.0.lock(Duration::ZERO).unwrap().is_some());
}
