//! `audit verify`: proves the ledger's files, and compares them with the heads that others know.
//!
//! MUST: a head counts only from `--head`, or from journald when the kernel's word on the writer (`_UID`) is the ledger's owner or
//! root: everybody may write to journald (`head_in_the_journal_by_somebody_else_is_not_believed`).

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jitsudo_ledger::{Head, verify};
use serde_json::Value;

use super::{say, say_json};
use crate::arguments::{self, Verify};
use crate::failure::Failure;
use crate::screen::verify::{From, Known, as_json, screen};
use crate::text::View;
use crate::verb::signatures;

/// This host's ledger.
const LEDGER: &str = "/var/lib/jitsudo/ledger";
/// Heads taken from the journal, the newest: each is compared with every line.
const JOURNAL_HEADS: &str = "32";

/// Verifies.
pub(super) fn run(what: &Verify, json: bool, view: &View) -> Result<(), Failure> {
    let directory = what.ledger.clone().unwrap_or_else(|| PathBuf::from(LEDGER));
    let trouble = |cause| Failure::File { what: format!("read the ledger {}", directory.display()), cause };
    let owner = std::fs::metadata(&directory).map_err(trouble)?.uid();
    let mut known: Vec<Known> =
        what.head.iter().filter_map(of_option).map(|head| Known { head, from: From::Option }).collect();
    if what.ledger.is_none() {
        known.extend(journal(owner).into_iter().map(|head| Known { head, from: From::Journal }));
        known.extend(signatures::memory()?.map(|head| Known { head, from: From::Memory }));
    }
    let signatures = signatures::of_ledger(&directory, &signatures::keys(&what.key)?).map_err(trouble)?;
    known.extend(signatures.heads.iter().map(|head| Known { head: *head, from: From::Ledger }));
    let heads: Vec<Head> = known.iter().map(|known| known.head).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let report = verify(Path::new(&directory), &heads, threads).map_err(trouble)?;
    if json {
        say_json(&as_json(&report, &known, &signatures))?;
    } else {
        say(&screen(&report, &known, &signatures, view))?;
    }
    if report.is_sound() && signatures.are_sound() { Ok(()) } else { Err(Failure::BadCheckSaid) }
}

fn of_option(head: &arguments::Head) -> Option<Head> {
    Some(Head { seq: head.seq, hash: head.hash.parse().ok()? })
}

/// The newest heads that journald holds; none when there is no journald or it says nothing.
fn journal(owner: u32) -> Vec<Head> {
    let output = Command::new("/usr/bin/journalctl")
        .args(["--output=json", "--no-pager", "--quiet", "--reverse", "--lines", JOURNAL_HEADS])
        .args(["JITSUDO_EVENT=head_published", "JITSUDO_EVENT=head_signed", &format!("_UID={owner}"), "_UID=0"])
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    output.map_or_else(|_| Vec::new(), |output| heads_of(&String::from_utf8_lossy(&output.stdout), owner))
}

fn heads_of(journal: &str, owner: u32) -> Vec<Head> {
    journal.lines().filter_map(|line| head_of(&serde_json::from_str(line).ok()?, owner)).collect()
}

fn head_of(record: &Value, owner: u32) -> Option<Head> {
    let field = |name: &str| record.get(name).and_then(Value::as_str);
    let writer: u32 = field("_UID")?.parse().ok()?;
    if writer != owner && writer != 0 {
        return None;
    }
    match field("JITSUDO_EVENT")? {
        "head_published" => {}
        // The spawner's own word on what it had signed: root's alone.
        "head_signed" if writer == 0 => {}
        _ => return None,
    }
    let named =
        || Some(Head { seq: field("JITSUDO_HEAD_SEQ")?.parse().ok()?, hash: field("JITSUDO_HEAD")?.parse().ok()? });
    named().or_else(|| {
        let event: Value = serde_json::from_str(field("JITSUDO_JSON")?).ok()?;
        Some(Head { seq: event.get("head_seq")?.as_u64()?, hash: event.get("head")?.as_str()?.parse().ok()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(uid: &str, seq: &str) -> String {
        json!({"_UID": uid, "JITSUDO_EVENT": "head_published", "JITSUDO_HEAD_SEQ": seq, "JITSUDO_HEAD": "ab".repeat(32)})
            .to_string()
    }

    #[test]
    fn heads_of_the_journal_are_read_and_garbage_is_passed_over() {
        let journal = format!("{}\nnot json\n{{}}\n{}\n{}", record("998", "7"), record("998", "x"), record("0", "9"));
        let whole = json!({"_UID": "998", "JITSUDO_EVENT": "head_published",
            "JITSUDO_JSON": json!({"event": "head_published", "head_seq": 11, "head": "cd".repeat(32)}).to_string()});
        assert_eq!(head_of(&whole, 998).unwrap().seq, 11);
        let seqs: Vec<u64> = heads_of(&journal, 998).iter().map(|head| head.seq).collect();
        assert_eq!(seqs, [7, 9]);
    }

    #[test]
    fn head_in_the_journal_by_somebody_else_is_not_believed() {
        assert_eq!(heads_of(&record("1001", "7"), 998), []);
        let nobody =
            json!({"JITSUDO_EVENT": "head_published", "JITSUDO_HEAD_SEQ": "7", "JITSUDO_HEAD": "ab".repeat(32)});
        assert_eq!(head_of(&nobody, 998), None);
    }

    #[test]
    fn signed_head_in_the_journal_is_roots_word_alone() {
        let of = |uid: &str| record(uid, "7").replace("head_published", "head_signed");
        assert_eq!(heads_of(&of("0"), 998).len(), 1);
        assert_eq!(heads_of(&of("998"), 998), []);
    }

    #[test]
    fn missing_ledger_is_named() {
        let what = Verify { head: Vec::new(), ledger: Some("/nonexistent/ledger".into()), key: Vec::new() };
        let failure = run(&what, false, &crate::text::tests::view()).unwrap_err();
        assert!(failure.words().starts_with("jitctl: cannot read the ledger /nonexistent/ledger: no such file"));
    }
}
