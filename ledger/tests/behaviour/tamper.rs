//! The verifier against every kind of edit.

use std::fs;

use jitsudo_ledger::{Flaw, Hash, Head, HeadVerdict, check_head, check_heads, verify};

use crate::fixture::{TempDir, append, ledger, open, small, sweeps_all};

fn lines(dir: &TempDir, segment: u32) -> Vec<String> {
    fs::read_to_string(dir.segment(segment)).unwrap().lines().map(str::to_owned).collect()
}

fn put(dir: &TempDir, segment: u32, lines: &[String]) {
    fs::write(dir.segment(segment), lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

#[test]
fn sound_ledger_is_proved_to_its_last_event() {
    let (dir, heads) = ledger(10);
    for threads in [1, 2, 8] {
        let report = verify(dir.path(), &heads, threads).unwrap();
        assert!(report.is_sound(), "{report:?}");
        assert_eq!((report.events, report.head, report.anchor), (10, heads.last().copied(), heads.last().copied()));
        assert!(report.segments >= 3);
    }
}

#[test]
fn audit_log_04_every_flipped_byte_is_found() {
    let (dir, _) = ledger(7);
    let mut flipped = 0;
    for segment in 1..=verify(dir.path(), &[], 1).unwrap().segments as u32 {
        let path = dir.segment(segment);
        let sound = fs::read(&path).unwrap();
        for place in 0..sound.len() {
            let bits: Vec<u8> = match sweeps_all() {
                true => (0..8).map(|bit| 1 << bit).chain([0xff]).collect(),
                false => vec![1 << (place % 8), 0xff],
            };
            for mask in bits {
                let mut bytes = sound.clone();
                bytes[place] ^= mask;
                fs::write(&path, &bytes).unwrap();
                let report = verify(dir.path(), &[], 1).unwrap();
                assert!(!report.is_sound(), "{segment}:{place} xor {mask:#x} was not found");
                flipped += 1;
            }
        }
        fs::write(&path, &sound).unwrap();
    }
    assert!(verify(dir.path(), &[], 1).unwrap().is_sound());
    assert!(flipped > 2000);
}

#[test]
fn audit_log_04_edited_record_is_named() {
    let (dir, _) = ledger(7);
    let mut text = lines(&dir, 2);
    text[2] = text[2].replace("\"n\":", "\"n\":9");
    let seq = verify(dir.path(), &[], 1).unwrap();
    assert!(seq.is_sound());
    put(&dir, 2, &text);
    let report = verify(dir.path(), &[], 2).unwrap();
    let bad = report.bad.unwrap();
    assert_eq!((bad.file.as_str(), bad.line, bad.flaw), ("00000002.jsonl", 3, Flaw::Edited));
    let first: serde_json::Value = serde_json::from_str(&text[0]).unwrap();
    assert_eq!(bad.seq, first["seq"].as_u64().unwrap() + 2);
    assert!(report.events < 7);
}

#[test]
fn audit_log_04_deleted_swapped_doubled_or_moved_record_is_found() {
    let (dir, _) = ledger(10);
    let last = verify(dir.path(), &[], 1).unwrap().segments as u32;
    for segment in 1..=last {
        let sound = lines(&dir, segment);
        for place in 0..sound.len() {
            let is_end = segment == last && place + 1 == sound.len();
            let mut edits: Vec<Vec<String>> = Vec::new();
            if !is_end {
                // The very last one of all is a cut end: only a head finds that.
                let mut deleted = sound.clone();
                deleted.remove(place);
                edits.push(deleted);
            }
            let mut doubled = sound.clone();
            doubled.insert(place, sound[place].clone());
            edits.push(doubled);
            for other in place + 1..sound.len() {
                let mut swapped = sound.clone();
                swapped.swap(place, other);
                edits.push(swapped);
            }
            for edit in edits {
                put(&dir, segment, &edit);
                assert!(!verify(dir.path(), &[], 1).unwrap().is_sound(), "{segment}:{place}");
            }
        }
        put(&dir, segment, &sound);
    }
    assert!(verify(dir.path(), &[], 1).unwrap().is_sound());
}

#[test]
fn audit_log_04_swapped_removed_emptied_or_foreign_file_is_found() {
    let (dir, _) = ledger(10);
    let (first, second, third) = (dir.segment(1), dir.segment(2), dir.segment(3));
    let (one, two) = (fs::read(&first).unwrap(), fs::read(&second).unwrap());
    let bad = || verify(dir.path(), &[], 2).unwrap().bad.unwrap();

    fs::write(&first, &two).unwrap();
    fs::write(&second, &one).unwrap();
    assert_eq!((bad().file.as_str(), bad().line), ("00000001.jsonl", 1));
    fs::write(&first, &one).unwrap();

    fs::remove_file(&second).unwrap();
    assert_eq!((bad().file.as_str(), bad().flaw), ("00000002.jsonl", Flaw::Missing));

    fs::write(&second, b"").unwrap();
    assert_eq!((bad().file.as_str(), bad().flaw), ("00000002.jsonl", Flaw::Snapshot));

    fs::remove_file(&second).unwrap();
    std::os::unix::fs::symlink(&third, &second).unwrap();
    assert!(matches!(bad().flaw, Flaw::Unreadable(_)), "{:?}", bad());
    fs::remove_file(&second).unwrap();

    let (other, _) = ledger(12);
    fs::copy(other.segment(2), &second).unwrap();
    assert!(verify(dir.path(), &[], 2).unwrap().is_sound(), "the same events give the same bytes");
    let strange = TempDir::new();
    append(&mut open(&strange, small()).writer, 101..112);
    fs::copy(strange.segment(2), &second).unwrap();
    assert_eq!((bad().file.as_str(), bad().flaw), ("00000002.jsonl", Flaw::Unchained));

    fs::write(&second, &two).unwrap();
    assert!(verify(dir.path(), &[], 2).unwrap().is_sound());
    fs::remove_file(&first).unwrap();
    assert_eq!((bad().file.as_str(), bad().flaw), ("00000001.jsonl", Flaw::Missing));
}

#[test]
fn audit_log_04_cut_tail_is_found_by_a_head() {
    let (dir, heads) = ledger(10);
    let known = heads[8];
    let old = heads[3];
    let last = verify(dir.path(), &[], 1).unwrap().segments as u32;
    // Cut to before the known head: whole lines and whole files.
    for segment in (1..=last).rev() {
        let text = lines(&dir, segment);
        if text.iter().any(|line| line.contains("\"n\":5}") || line.contains("\"n\":5,")) {
            let kept: Vec<String> = text.into_iter().take_while(|line| !line.contains("\"n\":6,")).collect();
            put(&dir, segment, &kept);
            break;
        }
        fs::remove_file(dir.segment(segment)).unwrap();
    }
    assert!(verify(dir.path(), &[], 1).unwrap().is_sound(), "without a head it cannot be seen");
    let report = verify(dir.path(), &[known, old], 1).unwrap();
    assert!(!report.is_sound() && report.is_rolled_back());
    assert_eq!(report.heads, [(old, HeadVerdict::Agrees), (known, HeadVerdict::Newer)]);
    assert_eq!(report.anchor, Some(old));
    assert_eq!(check_head(dir.path(), &known).unwrap(), HeadVerdict::Newer);
    assert_eq!(check_head(dir.path(), &old).unwrap(), HeadVerdict::Agrees);
}

#[test]
fn audit_log_04_rewritten_history_differs_from_a_head() {
    let (dir, heads) = ledger(10);
    let forged = TempDir::new();
    append(&mut open(&forged, small()).writer, (1..=10).map(|n| if n == 5 { 555 } else { n }));
    let report = verify(forged.path(), &heads, 1).unwrap();
    assert!(report.bad.is_none(), "by itself it is whole");
    assert!(report.is_rolled_back() && !report.is_sound());
    assert_eq!(report.anchor, Some(heads[3]), "they agree up to the edit");
    assert_eq!(check_head(forged.path(), &heads[9]).unwrap(), HeadVerdict::Differs);
    assert_eq!(check_head(dir.path(), &heads[9]).unwrap(), HeadVerdict::Agrees);
    let nonsense = Head { seq: 2, hash: Hash::ZERO };
    assert_eq!(check_head(dir.path(), &nonsense).unwrap(), HeadVerdict::Differs);
}

#[test]
fn audit_log_04_heads_count_together_only_in_one_chain() {
    use HeadVerdict::{Agrees, Differs, Newer, Unreached};
    let (dir, heads) = ledger(10);
    let check = |dir: &TempDir, heads: &[Head]| check_heads(dir.path(), heads).unwrap();
    assert_eq!(check(&dir, &[heads[9], heads[1]]), [Agrees, Agrees], "in the order that was asked for");
    let newer = Head { seq: 1000, hash: Hash::ZERO };
    let other = Head { seq: heads[4].seq, hash: Hash::ZERO };
    assert_eq!(check(&dir, &[newer, heads[2], other]), [Newer, Agrees, Differs]);
    assert_eq!(check(&dir, &[]), []);
    // The newer segments of one ledger after the older ones of another: each is whole, both heads are there, no chain joins them.
    let forged = TempDir::new();
    append(&mut open(&forged, small()).writer, (1..=10).map(|n| if n == 1 { 9 } else { n }));
    assert_eq!(verify(forged.path(), &[], 1).unwrap().segments, verify(dir.path(), &[], 1).unwrap().segments);
    fs::copy(forged.segment(1), dir.segment(1)).unwrap();
    let first = verify(forged.path(), &[], 1).unwrap();
    assert!(first.is_sound());
    let of_the_other = heads[0];
    assert_eq!(check(&dir, &[heads[9]]), [Agrees], "the newest segment alone is read for it");
    assert_eq!(check(&dir, &[of_the_other, heads[9]]), [Unreached, Unreached]);
    // A flaw between them parts them as well.
    let (dir, heads) = ledger(10);
    let mut text = lines(&dir, 2);
    text[1] = text[1].replace("\"n\":", "\"m\":");
    put(&dir, 2, &text);
    assert_eq!(check(&dir, &[heads[0], heads[9]]), [Unreached, Unreached]);
}

#[test]
fn unfinished_end_is_told_apart_from_an_edit() {
    let (dir, heads) = ledger(10);
    let last = dir.segment(verify(dir.path(), &[], 1).unwrap().segments as u32);
    let mut bytes = fs::read(&last).unwrap();
    bytes.extend(b"{\"seq\":99");
    fs::write(&last, &bytes).unwrap();
    let report = verify(dir.path(), &heads, 2).unwrap();
    assert_eq!((report.bad.clone(), report.unfinished, report.events), (None, 9, 10));
    assert!(!report.is_sound());
}

#[test]
fn empty_directory_is_no_sound_ledger() {
    let dir = TempDir::new();
    let report = verify(dir.path(), &[], 2).unwrap();
    assert!(!report.is_sound());
    assert_eq!(report.bad.unwrap().flaw, Flaw::Missing);
    assert!(verify(&dir.path().join("absent"), &[], 2).is_err());
}
