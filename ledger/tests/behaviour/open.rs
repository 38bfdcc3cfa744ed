//! Opening what a crash, an accident or somebody else left.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use jitsudo_ledger::{Flaw, Head, OpenError, Options, Priority, Writer, verify};

use crate::fixture::{Collect, Dice, TempDir, append, body, ledger, open, seed, small};

fn refusal(dir: &TempDir) -> OpenError {
    match Writer::open(dir.path(), Collect, small()) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

fn last_segment(dir: &TempDir) -> u32 {
    verify(dir.path(), &[], 1).unwrap().segments as u32
}

#[test]
fn audit_log_05_cut_at_every_byte_keeps_every_whole_line() {
    let (dir, _) = ledger(8);
    let newest = last_segment(&dir);
    let path = dir.segment(newest);
    let whole = fs::read(&path).unwrap();
    let snapshot = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let before = 8 - (whole.iter().filter(|byte| **byte == b'\n').count() as u64 - 1);
    for cut in snapshot..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let mut opened = open(&dir, small());
        let lines = whole[..cut].iter().filter(|byte| **byte == b'\n').count() as u64 - 1;
        let expected: Vec<u64> = (1..=before + lines).collect();
        assert_eq!(opened.writer.state().unwrap(), &expected, "cut at {cut}");
        let good = whole[..cut].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        match opened.cut.take() {
            None => assert_eq!(good, cut),
            Some(told) => {
                assert_eq!(told.bytes, (cut - good) as u64);
                assert_eq!(fs::read(dir.path().join(&told.kept)).unwrap(), &whole[good..cut], "kept aside");
            }
        }
        // The chain goes on from there.
        append(&mut opened.writer, [100]);
        drop(opened);
        assert!(verify(dir.path(), &[], 1).unwrap().is_sound(), "cut at {cut}");
        // Sealing may have begun another segment.
        let _ = fs::remove_file(dir.segment(newest + 1));
    }
}

#[test]
fn audit_log_05_snapshot_that_is_not_whole_is_refused() {
    let (dir, _) = ledger(8);
    let path = dir.segment(last_segment(&dir));
    let whole = fs::read(&path).unwrap();
    let snapshot = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for cut in 0..snapshot {
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(matches!(refusal(&dir), OpenError::Broken { line: 1, .. }), "cut at {cut}");
        assert_eq!(fs::read(&path).unwrap(), &whole[..cut], "it stays as it was found");
    }
}

#[test]
fn crash_recovery_04_file_that_no_crash_explains_is_refused() {
    let (dir, _) = ledger(8);
    let path = dir.segment(last_segment(&dir));
    let whole = fs::read(&path).unwrap();
    let end = whole.len() - 1;
    for place in 0..end {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        // A line broken in two by an edit is no different.
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(refusal(&dir), OpenError::Broken { .. }), "edit at {place}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "it stays as it was found");
    }
    fs::write(&path, &whole).unwrap();
    open(&dir, small());
}

#[test]
fn crash_recovery_04_empty_or_random_file_is_refused() {
    let mut dice = Dice::new(seed());
    for length in [0, 1, 100, 5000] {
        let (dir, _) = ledger(8);
        let path = dir.segment(last_segment(&dir));
        let bytes: Vec<u8> = (0..length).map(|_| dice.below(256) as u8).collect();
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(refusal(&dir), OpenError::Broken { .. }), "{length} bytes");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn crash_recovery_04_pages_that_were_never_written_are_cut() {
    let dir = TempDir::new();
    let options = Options { reserve_bytes: 0, ..Options::default() };
    append(&mut open(&dir, options.clone()).writer, 1..=5);
    let path = dir.segment(1);
    let whole = fs::read(&path).unwrap();
    let starts: Vec<usize> =
        whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(place, _)| place + 1).collect();
    let mut bytes = whole.clone();
    bytes[starts[3] + 10..starts[4] + 20].fill(0);
    fs::write(&path, &bytes).unwrap();
    let mut opened = open(&dir, options);
    assert_eq!(opened.writer.state().unwrap(), &[1, 2, 3]);
    assert_eq!(opened.cut.unwrap().bytes, (whole.len() - starts[3]) as u64);
}

#[test]
fn crash_recovery_04_other_format_version_is_refused_by_number() {
    for version in ["0", "2", "18446744073709551615"] {
        let (dir, _) = ledger(1);
        let path = dir.segment(1);
        let text = fs::read_to_string(&path).unwrap();
        let forged = rechained(&text, |line| line.replace("\"format\":1", &format!("\"format\":{version}")));
        fs::write(&path, forged).unwrap();
        match refusal(&dir) {
            OpenError::Broken { flaw: Flaw::Format { found }, .. } => assert_eq!(found.to_string(), version),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn crash_recovery_04_event_that_does_not_fold_is_refused_by_line() {
    let (dir, _) = ledger(1);
    let path = dir.segment(1);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, rechained(&text, |line| line.replace("\"event\":\"n\"", "\"event\":\"newer\""))).unwrap();
    match refusal(&dir) {
        OpenError::Fold { line, source, .. } => {
            assert_eq!(line, 2);
            assert!(source.to_string().contains("newer"), "{source}");
        }
        other => panic!("{other}"),
    }
}

/// Edits every line and chains them anew, as one could who holds no head.
fn rechained(text: &str, edit: impl Fn(&str) -> String) -> String {
    use sha2::{Digest as _, Sha256};
    let mut prev = "0".repeat(64);
    let mut out = String::new();
    for line in text.lines() {
        let line = edit(line);
        let inner = &line[..line.len() - 149];
        let hashed = format!("{inner},\"prev\":\"{prev}\",");
        prev = Sha256::digest(&hashed).iter().map(|byte| format!("{byte:02x}")).collect();
        out += &format!("{hashed}\"hash\":\"{prev}\"}}\n");
    }
    out
}

#[test]
fn crash_recovery_04_symlink_and_fifo_are_refused() {
    let (dir, _) = ledger(8);
    let newest = dir.segment(last_segment(&dir));
    let away = dir.path().join("away");
    fs::rename(&newest, &away).unwrap();
    std::os::unix::fs::symlink(&away, &newest).unwrap();
    assert!(matches!(refusal(&dir), OpenError::Io { .. }));
    fs::remove_file(&newest).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&newest).status().unwrap().success());
    assert!(matches!(refusal(&dir), OpenError::Io { .. }), "and it does not block");
    fs::remove_file(&newest).unwrap();
    fs::rename(&away, &newest).unwrap();
    drop(open(&dir, small()));

    let link = TempDir::new();
    let to = link.path().join("ledger");
    std::os::unix::fs::symlink(dir.path(), &to).unwrap();
    assert!(Writer::open(&to, Collect, small()).is_err(), "nor is the directory reached by a link");
}

#[test]
fn crash_recovery_04_foreign_owner_or_mode_is_refused() {
    let (dir, _) = ledger(3);
    let ours = std::os::unix::fs::MetadataExt::uid(&fs::metadata(dir.path()).unwrap());
    let owned_by = |uid| Options { owner: Some(uid), ..small() };
    assert!(matches!(Writer::open(dir.path(), Collect, owned_by(ours + 1)), Err(OpenError::Io { .. })));
    assert!(Writer::open(dir.path(), Collect, owned_by(ours)).is_ok());
    for path in [dir.path().to_owned(), dir.segment(1)] {
        let sound = fs::metadata(&path).unwrap().permissions();
        for mode in [0o720, 0o702, 0o777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = refusal(&dir);
            assert!(error.to_string().contains("others can write"), "{error}");
        }
        fs::set_permissions(&path, sound).unwrap();
    }
    // Only root can make a file somebody else's; for others the owner asked for above shows the same.
    if std::os::unix::fs::chown(dir.segment(1), Some(ours + 1), None).is_ok() {
        assert!(refusal(&dir).to_string().contains("belongs to uid"), "{}", refusal(&dir));
    }
}

#[test]
fn crash_recovery_04_removed_segments_are_no_new_ledger() {
    let dir = TempDir::new();
    let options = Options { reserve_bytes: 4096, ..small() };
    append(&mut open(&dir, options.clone()).writer, 1..=2);
    fs::remove_file(dir.segment(1)).unwrap();
    assert!(matches!(Writer::open(dir.path(), Collect, options), Err(OpenError::Emptied)));
}

#[test]
fn crash_recovery_04_edited_end_of_the_segment_before_is_refused() {
    let (dir, _) = ledger(8);
    let newest = last_segment(&dir);
    let path = dir.segment(newest - 1);
    let whole = fs::read(&path).unwrap();
    for bytes in [&whole[..whole.len() - 1], &whole[..whole.len() - 250], b""] {
        fs::write(&path, bytes).unwrap();
        assert!(matches!(refusal(&dir), OpenError::Broken { .. }));
    }
    // Moved to an archive with all before it: the newest segment is enough to go on.
    fs::write(&path, &whole).unwrap();
    for number in 1..newest {
        fs::remove_file(dir.segment(number)).unwrap();
    }
    assert_eq!(open(&dir, small()).writer.state().unwrap(), &(1..=8).collect::<Vec<u64>>());
}

#[test]
fn second_writer_is_refused() {
    let dir = TempDir::new();
    let first = open(&dir, small());
    assert!(matches!(refusal(&dir), OpenError::Locked));
    drop(first);
    drop(open(&dir, small()));
}

#[test]
fn audit_log_09_numbers_go_on_over_restarts_without_a_clock() {
    let dir = TempDir::new();
    let mut heads: Vec<Head> = Vec::new();
    for n in 1..=20 {
        let mut opened = open(&dir, small());
        assert_eq!(opened.created, n == 1);
        assert!(opened.cut.is_none());
        let receipt = opened.writer.append(&[body(n)], Priority::Ordinary).unwrap();
        opened.writer.sync().unwrap();
        assert!(heads.last().is_none_or(|last| last.seq < receipt.first_seq));
        heads.push(receipt.head);
    }
    assert!(verify(dir.path(), &heads, 2).unwrap().is_sound());
}

#[test]
fn segment_half_born_at_a_crash_is_forgotten() {
    let (dir, _) = ledger(4);
    let unborn = dir.path().join("00000099.jsonl.new");
    fs::write(&unborn, b"{\"seq\":").unwrap();
    let mut opened = open(&dir, small());
    assert_eq!(opened.writer.state().unwrap(), &[1, 2, 3, 4]);
    assert!(!unborn.exists());
}
