//! Appending and sealing on real files.

use std::fs;

use jitsudo_ledger::{AppendError, Body, MAX_BODY_BYTES, Options, Priority, verify};

use crate::fixture::{TempDir, append, body, open, small};

#[test]
fn receipt_names_the_lines_and_the_head_of_its_batch() {
    let dir = TempDir::new();
    let mut writer = open(&dir, Options { reserve_bytes: 0, ..Options::default() }).writer;
    let receipts = writer.append_all(&[&[body(1), body(2)], &[body(3)]], Priority::Ordinary).unwrap();
    assert_eq!((receipts[0].first_seq, receipts[0].last_seq), (2, 3), "1 is the snapshot");
    assert_eq!((receipts[1].first_seq, receipts[1].last_seq), (4, 4));
    assert_eq!(writer.head(), receipts[1].head);
    writer.sync().unwrap();
    let report = verify(dir.path(), &[receipts[0].head, receipts[1].head], 1).unwrap();
    assert!(report.is_sound());
}

#[test]
fn long_segment_is_sealed_and_told_once() {
    let dir = TempDir::new();
    let mut writer = open(&dir, small()).writer;
    let mut sealed = Vec::new();
    let mut last = writer.head();
    for n in 1..=20 {
        let receipt = writer.append(&[body(n)], Priority::Ordinary).unwrap();
        writer.sync().unwrap();
        if let Some(one) = receipt.sealed {
            assert_eq!(one.head, last, "the seal names the last line of the segment");
            sealed.push(one.segment);
        }
        last = receipt.head;
    }
    let expected: Vec<String> = (1..=sealed.len()).map(|number| format!("{number:08}.jsonl")).collect();
    assert_eq!(sealed, expected);
    assert!(sealed.len() >= 3);
    for number in 1..=sealed.len() as u32 {
        let bytes = fs::metadata(dir.segment(number)).unwrap().len();
        assert!((700..1400).contains(&bytes), "{bytes}");
    }
    drop(writer);
    assert_eq!(open(&dir, small()).writer.state().unwrap(), &(1..=20).collect::<Vec<u64>>());
}

#[test]
fn batch_that_cannot_be_is_refused_and_changes_nothing() {
    let dir = TempDir::new();
    let mut writer = open(&dir, small()).writer;
    assert_eq!(writer.append(&[], Priority::Ordinary), Err(AppendError::Unfit));
    let filling = MAX_BODY_BYTES - 30;
    let long = Body::new(format!("{{\"event\":\"n\",\"n\":1,\"p\":\"{}\"}}", "x".repeat(filling))).unwrap();
    let five = vec![long; 5];
    assert_eq!(writer.append(&five, Priority::Essential), Err(AppendError::Unfit));
    writer.append(&five[..3], Priority::Ordinary).unwrap();
    writer.append(&five[..3], Priority::Ordinary).unwrap();
    writer.sync().unwrap();
    assert_eq!(writer.state().unwrap().len(), 6);
}

#[test]
fn reserve_is_as_long_as_asked_and_refilled() {
    let dir = TempDir::new();
    let options = Options { reserve_bytes: 300_000, ..small() };
    let writer = open(&dir, options.clone()).writer;
    assert_eq!(writer.reserve_bytes(), 300_000);
    drop(writer);
    let reserve = dir.path().join("reserve");
    fs::OpenOptions::new().write(true).open(&reserve).unwrap().set_len(5).unwrap();
    let mut opened = open(&dir, options);
    append(&mut opened.writer, [1]);
    assert_eq!(fs::metadata(&reserve).unwrap().len(), 300_000);
    let blocks = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&reserve).unwrap());
    assert!(blocks * 512 >= 290_000, "it holds real space: {blocks} blocks");
}

#[test]
fn files_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = TempDir::new();
    drop(open(&dir, Options { reserve_bytes: 100, ..small() }));
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
    }
}
