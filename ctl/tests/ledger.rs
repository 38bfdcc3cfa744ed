//! `jitctl audit verify` on real files, beside the way by hand that docs/ledger.md shows.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use jitsudo_ledger::{Body, Fold, FoldError, Line, Options, Priority, Writer};

struct Nothing;
impl Fold for Nothing {
    type State = ();
    fn empty(&self) {}
    fn restore(&self, _: &[u8]) -> Result<(), FoldError> {
        Ok(())
    }
    fn apply(&self, (): &mut (), _: &Line<'_>) -> Result<(), FoldError> {
        Ok(())
    }
    fn snapshot(&self, (): &()) -> Result<String, FoldError> {
        Ok("{}".to_owned())
    }
}

/// A folder that is gone with its test.
struct Folder(PathBuf);
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A ledger of some segments, and its head as `SEQ:HASH`.
fn ledger(name: &str) -> (Folder, String) {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    let options = Options { seal_bytes: 1024, reserve_bytes: 0, ..Options::default() };
    let mut writer = Writer::open(&path, Nothing, options).unwrap().writer;
    let mut head = String::new();
    for number in 0..12 {
        let body = format!(r#"{{"event":"closed","id":"{number:0200}","words":"it's \\ é %s"}}"#);
        let receipt = writer.append(&[Body::new(body).unwrap()], Priority::Ordinary).unwrap();
        writer.sync().unwrap();
        head = format!("{}:{}", receipt.head.seq, receipt.head.hash);
    }
    (Folder(path), head)
}

fn jitctl(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_jitctl")).args(words).output().unwrap()
}

fn verify(folder: &Folder, more: &[&str]) -> (i32, String) {
    let path = folder.0.to_str().unwrap();
    let output = jitctl(&[&["audit", "verify", "--ledger", path], more].concat());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// Replaces bytes in a segment.
fn edit(folder: &Folder, segment: &str, from: &str, to: &str) {
    let path = folder.0.join(segment);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_whole_ledger_is_proved_up_to_a_head_known_elsewhere() {
    let (folder, head) = ledger("whole");
    let (status, text) = verify(&folder, &["--head", &head]);
    assert_eq!(status, 0, "{text}");
    assert!(text.starts_with("12 events proved, "), "{text}");
    assert!(text.contains("; agrees with the head you knew at seq "), "{text}");
    let (status, json) = verify(&folder, &["--json", "--head", &head]);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, &value["ok"], &value["events"]), (0, &true.into(), &12.into()));
    assert_eq!((&value["heads"][0]["verdict"], &value["bad"]), (&"agrees".into(), &serde_json::Value::Null));
}

#[test]
fn audit_log_04_an_edited_line_is_named_and_the_exit_status_is_4() {
    let (folder, _) = ledger("edited");
    edit(&folder, "00000002.jsonl", "it's", "is't");
    let (status, text) = verify(&folder, &[]);
    assert_eq!(status, 4, "{text}");
    assert!(text.contains("bad: 00000002.jsonl:"), "{text}");
}

#[test]
fn audit_log_04_a_cut_end_is_found_by_a_head_known_elsewhere() {
    let (folder, head) = ledger("cut");
    let mut segments: Vec<PathBuf> = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|end| end == "jsonl"));
    segments.sort();
    fs::remove_file(segments.last().unwrap()).unwrap();
    assert_eq!(verify(&folder, &[]).0, 0, "the chain alone cannot know");
    let (status, text) = verify(&folder, &["--head", &head]);
    assert_eq!(status, 4, "{text}");
    assert!(text.contains("is newer than the ledger: it was cut or rolled back"), "{text}");
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let (folder, _) = ledger("pipe");
    let mut child = Command::new(env!("CARGO_BIN_EXE_jitctl"))
        .args(["audit", "verify", "--json", "--ledger", folder.0.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

/// The shell block of docs/ledger.md that holds these words.
fn block_with(words: &str) -> String {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ledger.md");
    let text = fs::read_to_string(document).unwrap();
    let block = text.split("```").find(|block| block.contains(words));
    block.unwrap_or_else(|| panic!("no block with {words}")).to_owned()
}

fn by_hand(folder: &Folder, script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).current_dir(&folder.0).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_way_by_hand_of_the_document_proves_the_same() {
    let (folder, _) = ledger("hand");
    let hashes = by_hand(&folder, &block_with("sha256sum     #").replace("7p", "2p"));
    let (computed, said) = hashes.split_once('\n').unwrap();
    assert_eq!(computed.split(' ').next().unwrap(), said, "{hashes}");
    let chain = block_with("while IFS=");
    assert_eq!(by_hand(&folder, &chain), "");
    edit(&folder, "00000002.jsonl", "it's", "is't");
    assert!(by_hand(&folder, &chain).starts_with("bad: "));
}
