//! Reading for people.

use std::fs;

use jitsudo_ledger::{ReadError, read, tail};

use crate::fixture::{ledger, open, small};

fn numbers(lines: &[jitsudo_ledger::LineBuf]) -> Vec<u64> {
    let of = |line: &jitsudo_ledger::LineBuf| {
        let value: serde_json::Value = serde_json::from_slice(&line.bytes).unwrap();
        value["n"].as_u64().unwrap()
    };
    lines.iter().map(of).collect()
}

#[test]
fn lines_come_in_order_from_any_number_on() {
    let (dir, heads) = ledger(12);
    for (place, head) in heads.iter().enumerate() {
        let lines: Vec<_> = read(dir.path(), head.seq, |_| true).unwrap().map(Result::unwrap).collect();
        assert_eq!(numbers(&lines), (place as u64 + 1..=12).collect::<Vec<u64>>());
        assert_eq!(lines[0].seq, head.seq);
    }
    assert_eq!(read(dir.path(), 10_000, |_| true).unwrap().count(), 0);
    let odd: Vec<_> = read(dir.path(), 0, |line| line.seq % 2 == 1).unwrap().map(Result::unwrap).collect();
    assert!(!odd.is_empty() && odd.iter().all(|line| line.seq % 2 == 1));
}

#[test]
fn newest_come_first_over_segments() {
    let (dir, _) = ledger(12);
    for count in 0..14 {
        let (lines, errors) = tail(dir.path(), count, |_| true).unwrap();
        assert!(errors.is_empty());
        assert_eq!(numbers(&lines), (1..=12).rev().take(count).collect::<Vec<u64>>());
    }
}

#[test]
fn reading_goes_on_beside_the_writer_and_past_bad_lines() {
    let (dir, heads) = ledger(5);
    let held = open(&dir, small());
    assert_eq!(read(dir.path(), 0, |_| true).unwrap().count(), 5, "no lock is needed");
    drop(held);
    let path = dir.segment(1);
    let mut text = fs::read_to_string(&path).unwrap();
    text = text.replacen("\"hash\":\"", "\"hush\":\"", 2);
    fs::write(&path, text).unwrap();
    let items: Vec<_> = read(dir.path(), 0, |_| true).unwrap().collect();
    assert_eq!(items.iter().filter(|item| matches!(item, Err(ReadError::Flaw { .. }))).count(), 2);
    let last = items.last().unwrap().as_ref().unwrap();
    assert_eq!(last.seq, heads[4].seq);
    let (lines, errors) = tail(dir.path(), 100, |_| true).unwrap();
    assert_eq!((numbers(&lines), errors.len()), (vec![5, 4, 3, 2], 2));
}

#[test]
fn torn_tail_is_passed_over_and_links_are_not_followed() {
    let (dir, _) = ledger(2);
    let path = dir.segment(1);
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend(b"{\"seq\":77,\"event\"");
    fs::write(&path, &bytes).unwrap();
    assert_eq!(read(dir.path(), 0, |_| true).unwrap().map(Result::unwrap).count(), 2);
    std::os::unix::fs::symlink("/etc/passwd", dir.segment(2)).unwrap();
    let items: Vec<_> = read(dir.path(), 0, |_| true).unwrap().collect();
    assert!(matches!(items.last(), Some(Err(ReadError::Io { .. }))));
}
