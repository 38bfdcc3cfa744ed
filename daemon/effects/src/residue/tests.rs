use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

/// A small host in a folder of its own.
fn host(name: &str) -> PathBuf {
    let root = std::env::temp_dir().join(format!("jitsudo-residue-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    for (path, text) in [
        ("etc/passwd", "root:x:0:0::/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/bash\nbroken\n"),
        ("etc/shadow", "root:*:1::::::\nalice:$y$1:1::::::\n"),
        ("etc/group", "root:x:0:\nadm:x:4:\nsudo:x:27:bob,\n:::\n"),
        ("etc/sudoers", "root ALL=(ALL) ALL\n"),
        ("etc/sudoers.d/README", "#\n"),
        ("etc/crontab", "#\n"),
        ("home/alice/.ssh/authorized_keys", "ssh-ed25519 A alice\n"),
        ("etc/systemd/system/own.service", "[Service]\n"),
    ] {
        write(&root, path, text);
    }
    root
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn picture(root: &Path) -> Picture {
    Picture::take(root)
}

fn told(root: &Path, before: &Picture, lent: &Members) -> Vec<String> {
    let mut items = compare::compare(before, &picture(root), lent);
    items.sort();
    let prefix = format!("{}/", root.display());
    let word = |item: &Item| {
        let change = match item.change {
            Change::New => "new",
            Change::Changed => "changed",
            Change::Gone => "gone",
        };
        let name = item.name.visible().replace(&prefix, "");
        let detail = item.detail.clone().filter(|_| matches!(item.kind, Kind::Member | Kind::Account));
        format!(
            "{change} {} {name}{}",
            item.kind.words(),
            detail.map(|detail| format!(" ({detail})")).unwrap_or_default()
        )
    };
    items.iter().map(word).collect()
}

#[test]
fn each_kind_of_change_is_told_and_nothing_else() {
    let root = host("kinds");
    let before = picture(&root);
    let again: Picture = serde_json::from_str(&serde_json::to_string(&before).unwrap()).unwrap();
    assert_eq!(again, before, "a picture is read as it was written");
    assert_eq!(told(&root, &before, &Members::new()), [""; 0]);

    write(
        &root,
        "etc/passwd",
        "root:x:0:0::/root:/bin/bash\nalice:x:0:1000::/home/alice:/bin/bash\nalice-adm:x:1001:1001::/home/m:/bin/sh\n",
    );
    write(&root, "etc/shadow", "root:$y$2:1::::::\nalice:$y$1:1::::::\n");
    write(&root, "etc/group", "root:x:0:\nadm:x:4:alice\nsudo:x:27:bob,alice-adm\n");
    write(&root, "etc/sudoers.d/extra", "alice-adm ALL=(ALL) NOPASSWD: ALL\n");
    fs::remove_file(root.join("etc/sudoers.d/README")).unwrap();
    write(&root, "home/alice/.ssh/authorized_keys", "ssh-ed25519 A alice\nssh-ed25519 B alice-adm\n");
    write(&root, "home/m/.ssh/authorized_keys", "ssh-ed25519 B alice-adm\n");
    write(&root, "etc/systemd/system/evil.service", "[Service]\n");
    fs::create_dir_all(root.join("etc/systemd/system/multi-user.target.wants")).unwrap();
    symlink("/x", root.join("etc/systemd/system/multi-user.target.wants/evil.service")).unwrap();
    write(&root, "run/systemd/transient/run-u7.service", "[Service]\n");
    write(&root, "run/systemd/transient/session-9.scope", "[Scope]\n");
    write(&root, "etc/cron.d/evil", "* * * * * root x\n");
    write(&root, "var/spool/cron/crontabs/root", "* * * * * x\n");
    write(&root, "var/spool/cron/atjobs/a0000101", "#!/bin/sh\n");
    write(&root, "var/spool/cron/atjobs/.SEQ", "1\n");
    assert_eq!(
        told(&root, &before, &Members::from([("adm".into(), "alice".into())])),
        [
            "new sudoers file etc/sudoers.d/extra",
            "gone sudoers file etc/sudoers.d/README",
            "new group member alice-adm (in sudo)",
            "new account alice-adm (uid 1001)",
            "changed account alice (uid 0, was 1000)",
            "changed account root (password)",
            "new authorized keys home/m/.ssh/authorized_keys",
            "changed authorized keys home/alice/.ssh/authorized_keys",
            "new unit etc/systemd/system/evil.service",
            "new unit etc/systemd/system/multi-user.target.wants/evil.service",
            "new unit run/systemd/transient/run-u7.service",
            "new cron etc/cron.d/evil",
            "new cron var/spool/cron/crontabs/root",
            "new at job var/spool/cron/atjobs/a0000101",
        ]
    );
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn what_a_live_grant_lends_is_no_residue() {
    let root = host("lent");
    let before = picture(&root);
    write(&root, "etc/group", "root:x:0:\nadm:x:4:alice,carol\nsudo:x:27:\n");
    let lent = Members::from([("adm".into(), "alice".into())]);
    // Whom others took out is no right that is left.
    assert_eq!(told(&root, &before, &lent), ["new group member carol (in adm)"]);
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn setid_files_are_told_by_when_they_changed_and_bounds_are_said() {
    let root = host("setid");
    let mode = |path: &str, mode: u32| fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    write(&root, "usr/bin/suid", "x");
    write(&root, "usr/bin/plain", "x");
    write(&root, "mnt/far/suid", "x");
    for path in ["usr/bin/suid", "mnt/far/suid"] {
        mode(path, 0o4755);
    }
    symlink(root.join("usr/bin/suid"), root.join("usr/bin/link")).unwrap();
    let local = mounts::Local { roots: vec![root.clone()], points: [root.join("mnt/far")].into() };
    let all = |since: i128, most: u64| setid::changed_since(&local, since, 10_000, most);
    let (found, remark) = all(0, 1_000_000);
    assert_eq!((found.len(), remark), (1, None), "neither the link nor what is mounted");
    let items: Vec<Item> = setid::since(&found, 0).collect();
    assert!(items[0].name.visible().ends_with("/usr/bin/suid"), "{items:?}");
    assert!(items[0].detail.as_deref().unwrap().starts_with("setuid, uid "), "{items:?}");
    let later = i128::from(u32::MAX) * 1_000_000_000;
    assert_eq!((all(later, 1_000_000).0.len(), setid::since(&found, later).count()), (0, 0));
    let (_, remark) = all(0, 3);
    assert!(remark.unwrap().contains("not all files were looked at"));
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn what_changed_after_the_grant_is_anothers() {
    let at = |second: i64| Some(Timestamp::from_second(second).unwrap());
    let item = |at| Item { kind: Kind::Cron, change: Change::New, name: "x".into(), detail: None, at };
    assert!(is_later(&item(at(103)), at(100)));
    for (changed, closed) in [(at(99), at(100)), (at(102), at(100)), (None, at(100)), (at(103), None)] {
        assert!(!is_later(&item(changed), closed), "{changed:?} {closed:?}");
    }
}

#[test]
fn clock_that_was_set_back_hides_nothing() {
    let at = |second: i128, boottime_ms: u64| Since { wall_ns: second * 1_000_000_000, boottime_ms };
    let since = |now: Since| at(10_000, 1000).by_files(now).div_euclid(1_000_000_000);
    assert_eq!(since(at(10_060, 61_000)), 9_999, "a tick before");
    assert_eq!(since(at(6_400, 61_000)), 6_339);
    assert_eq!(since(at(99_999, 61_000)), 9_999);
}

#[test]
fn picture_is_kept_once_for_all_that_look_the_same_and_found_by_each() {
    let root = host("kept");
    let folder = root.join("before");
    let ids: Vec<AccessId> = (1..=3).map(|number| AccessId::new(1, [number; 10])).collect();
    let first = picture(&root);
    let since = |boottime_ms: u64| Since { wall_ns: 7_000_000_000, boottime_ms };
    kept::keep(&folder, &ids[..2], since(1), &first).unwrap();
    kept::keep(&folder, &ids[..2], since(1), &first).unwrap();
    write(&root, "etc/crontab", "# another\n");
    let second = picture(&root);
    kept::keep(&folder, &ids[2..], since(2), &second).unwrap();
    let names = kept::names(&folder);
    assert_eq!(names.keys().cloned().collect::<Vec<_>>(), ids);
    assert!(names[&ids[0]].since == since(1) && names[&ids[2]].since == since(2));
    assert!(
        names[&ids[1]].read(&folder).as_ref() == Ok(&first) && names[&ids[2]].read(&folder).as_ref() == Ok(&second)
    );
    let files = || {
        kept::tidy(&folder);
        fs::read_dir(&folder).unwrap().count()
    };
    assert_eq!(files(), 5, "three names, two pictures");
    names[&ids[2]].forget(&folder);
    names[&ids[0]].forget(&folder);
    assert_eq!(files(), 2, "one name and its picture");
    assert!(names[&ids[2]].read(&folder).unwrap_err().contains("gone"));
    names[&ids[1]].forget(&folder);
    assert_eq!(files(), 0);
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn nothing_found_is_nothing_told_and_much_is_cut() {
    let id = AccessId::new(1, [1; 10]);
    assert_eq!(event(&id, Vec::new(), None), None);
    let item = |number: usize| Item {
        kind: Kind::Cron,
        change: Change::New,
        name: format!("{number}").as_str().into(),
        detail: None,
        at: None,
    };
    let Some(Event::Residue { items, count, .. }) = event(&id, (0..150).chain(0..3).map(item).collect(), None) else {
        panic!("it is told");
    };
    assert_eq!((items.len(), count), (100, 150));
}
