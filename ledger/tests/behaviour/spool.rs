//! The spool.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;

use jitsudo_ledger::spool;

use crate::fixture::TempDir;

#[test]
fn spooled_entries_come_back_in_order_with_their_mode() {
    let dir = TempDir::new();
    for n in [10, 2, 1] {
        spool::write(dir.path(), &format!("01k.1.{n}"), &format!("{{\"n\":{n}}}")).unwrap();
    }
    let listing = spool::read_dir(dir.path()).unwrap();
    let names: Vec<&str> = listing.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["01k.1.1", "01k.1.2", "01k.1.10"]);
    assert_eq!(listing.entries[0].json, "{\"n\":1}");
    assert!(!listing.more && listing.refused.is_empty());
    let mode = fs::metadata(dir.path().join("01k.1.1")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    for name in names {
        spool::remove(dir.path(), name).unwrap();
        spool::remove(dir.path(), name).unwrap();
    }
    assert!(spool::read_dir(dir.path()).unwrap().entries.is_empty());
}

#[test]
fn spooled_entry_is_whole_or_absent() {
    let dir = TempDir::new();
    // What a writer that died before its rename leaves.
    fs::write(dir.path().join(".new-01k.1.1"), b"{\"n\":").unwrap();
    assert!(spool::read_dir(dir.path()).unwrap().entries.is_empty());
    spool::write(dir.path(), "01k.1.1", "{\"n\":1}").unwrap();
    assert_eq!(spool::read_dir(dir.path()).unwrap().entries.len(), 1);
    let again = spool::write(dir.path(), "01k.1.1", "{\"n\":2}").unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(spool::read_dir(dir.path()).unwrap().entries[0].json, "{\"n\":1}", "never replaced");
}

#[test]
fn spool_listing_refuses_what_is_no_entry() {
    let dir = TempDir::new();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("01k.1.1"), b"{}").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", at("link")).unwrap();
    fs::create_dir(at("dir")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
    fs::write(at("long"), vec![b'x'; 64 * 1024 + 1]).unwrap();
    fs::write(at("most"), vec![b'x'; 64 * 1024]).unwrap();
    fs::write(at("bytes"), [0xff, 0xfe]).unwrap();
    fs::write(at("UPPER"), b"{}").unwrap();
    let listing = spool::read_dir(dir.path()).unwrap();
    let names: Vec<&str> = listing.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["01k.1.1", "most"]);
    let mut refused: Vec<&str> = listing.refused.iter().map(|(name, _)| name.as_str()).collect();
    refused.sort_unstable();
    assert_eq!(refused, ["UPPER", "bytes", "dir", "fifo", "link", "long"]);
}

#[test]
fn spool_that_is_crowded_comes_in_parts() {
    let dir = TempDir::new();
    for n in 0..spool::MAX_LISTED + 5 {
        fs::write(dir.path().join(format!("x.{n}")), b"{}").unwrap();
    }
    let first = spool::read_dir(dir.path()).unwrap();
    assert!(first.more);
    assert_eq!(first.entries.len(), spool::MAX_LISTED);
    for entry in &first.entries {
        spool::remove(dir.path(), &entry.name).unwrap();
    }
    let second = spool::read_dir(dir.path()).unwrap();
    assert_eq!((second.more, second.entries.len()), (false, 5));
}

#[test]
fn bad_name_or_length_is_refused_and_no_spool_is_an_empty_one() {
    let dir = TempDir::new();
    for name in ["", "../x", "a/b", ".new-x", "A"] {
        assert_eq!(spool::write(dir.path(), name, "{}").unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        assert!(spool::remove(dir.path(), name).is_err());
    }
    let long = "x".repeat(64 * 1024 + 1);
    assert!(spool::write(dir.path(), "x", &long).is_err());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert!(spool::read_dir(&dir.path().join("absent")).unwrap().entries.is_empty());
}

#[test]
fn many_entries_share_one_sync_and_each_has_its_own_outcome() {
    let dir = TempDir::new();
    spool::write(dir.path(), "01k.1.2", "{}").unwrap();
    let entries =
        ["01k.1.1", "01k.1.2", "../x", "01k.1.3"].map(|name| (name.to_owned(), format!("{{\"of\":\"{name}\"}}")));
    let mut syncs = 0;
    let outcomes = spool::write_all(dir.path(), &entries, |file| {
        syncs += 1;
        assert!(spool::read_dir(dir.path()).unwrap().entries.len() == 1, "none is there before it is durable");
        file.sync_all()
    });
    let kinds: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().err().map(io::Error::kind)).collect();
    let expected = [None, Some(io::ErrorKind::AlreadyExists), Some(io::ErrorKind::InvalidInput), None];
    assert_eq!((kinds.as_slice(), syncs), (expected.as_slice(), 1));
    let listed = spool::read_dir(dir.path()).unwrap();
    assert_eq!(
        listed.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(),
        ["01k.1.1", "01k.1.2", "01k.1.3"]
    );
    // Without the common one each has its own; nothing half stays, and nothing is replaced.
    let more = ["01k.1.4".to_owned(), "01k.1.5".to_owned()].map(|name| (name, "{}".to_owned()));
    let outcomes = spool::write_all(dir.path(), &more, |_| {
        fs::write(dir.path().join("01k.1.4"), "another's").unwrap();
        Err(io::ErrorKind::Other.into())
    });
    assert_eq!(outcomes[0].as_ref().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert!(outcomes[1].is_ok());
    assert_eq!(fs::read(dir.path().join("01k.1.4")).unwrap(), b"another's");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5);
}
