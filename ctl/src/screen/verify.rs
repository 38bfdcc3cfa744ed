//! What was proved of the ledger, what was not, and the first thing that is wrong.

use jitsudo_ledger::{Head, HeadVerdict, Report};
use serde_json::{Value, json};

use crate::text::{Tone, View, count, counted, visible};
use crate::verb::{Count, Signatures};

/// Bad signatures that are shown one by one.
const MAX_BAD: usize = 10;

/// Where a head is known from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum From {
    /// `--head`.
    Option,
    /// journald.
    Journal,
    /// The host's file of what its key signed last.
    Memory,
    /// A signature in the ledger itself, which says nothing of what was cut off.
    Ledger,
}

/// A head known elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    /// The head.
    pub(crate) head: Head,
    /// Where from.
    pub(crate) from: From,
}

/// The screen of `jitctl audit verify`.
pub(crate) fn screen(report: &Report, known: &[Known], signatures: &Signatures, view: &View) -> String {
    let mut text = format!("{} proved, {}", counted(report.events, "event"), counted(report.segments, "segment"));
    let elsewhere = anchor(report, known);
    match elsewhere {
        Some(anchor) => {
            text.push_str(&format!(
                "; agrees with the head {} knew at seq {}\n",
                whose(anchor, known),
                count(anchor.seq)
            ));
            let after = report.head.map_or(0, |head| head.seq.saturating_sub(anchor.seq));
            if after > 0 {
                text.push_str(&format!("  {} since then agree only with each other\n", counted(after, "line")));
            }
        }
        None => {
            text.push_str("; no head known elsewhere agrees with it\n");
            if known.iter().all(|known| known.from == From::Ledger) {
                text.push_str(
                    "  hint: a whole ledger can be exchanged unseen unless a head is known elsewhere: --head SEQ:HASH\n",
                );
            }
        }
    }
    if let Some(head) = report.head {
        text.push_str(&format!("head {}:{}\n", head.seq, head.hash));
    }
    text.push_str(&signed(signatures));
    let mut bad = |words: String| text.push_str(&format!("{} {words}\n", view.paint(Tone::Bad, "bad:")));
    if let Some(flaw) = &report.bad {
        bad(crate::text::visible(&flaw.to_string()));
    }
    for (seq, why) in signatures.bad.iter().take(MAX_BAD) {
        bad(format!("event {} {}", count(*seq), visible(why)));
    }
    if signatures.bad.len() > MAX_BAD {
        bad(format!("{} signatures in all", count(signatures.bad.len() as u64)));
    }
    if report.unfinished > 0 {
        bad(format!("{} of an unfinished line at the end", counted(report.unfinished, "byte")));
    }
    for (head, verdict) in &report.heads {
        let name = whose(*head, known);
        match verdict {
            HeadVerdict::Agrees => {}
            HeadVerdict::Differs => {
                bad(format!("the head {name} knew at seq {} is another: history was exchanged", count(head.seq)))
            }
            HeadVerdict::Newer => bad(format!(
                "the head {name} knew at seq {} is newer than the ledger: it was cut or rolled back",
                count(head.seq)
            )),
            HeadVerdict::Unreached => {
                bad(format!("the head {name} knew at seq {} is not reached by the proof", count(head.seq)))
            }
        }
    }
    text
}

/// The same as JSON.
pub(crate) fn as_json(report: &Report, known: &[Known], signatures: &Signatures) -> Value {
    let of = |head: Head| json!({"seq": head.seq, "hash": head.hash.to_string()});
    let heads: Vec<Value> = report
        .heads
        .iter()
        .filter(|(head, verdict)| *verdict != HeadVerdict::Agrees || from(*head, known) != From::Ledger)
        .map(|(head, verdict)| {
            let verdict = match verdict {
                HeadVerdict::Agrees => "agrees",
                HeadVerdict::Differs => "differs",
                HeadVerdict::Newer => "newer",
                HeadVerdict::Unreached => "unreached",
            };
            let from = match from(*head, known) {
                From::Option => "option",
                From::Journal => "journal",
                From::Memory => "memory",
                From::Ledger => "ledger",
            };
            json!({"seq": head.seq, "hash": head.hash.to_string(), "from": from, "verdict": verdict})
        })
        .collect();
    json!({
        "ok": report.is_sound() && signatures.are_sound(),
        "events": report.events,
        "segments": report.segments,
        "head": report.head.map(of),
        "anchor": anchor(report, known).map(of),
        "unfinished": report.unfinished,
        "heads": heads,
        "bad": report.bad.as_ref().map(|bad| json!({
            "file": bad.file, "line": bad.line, "seq": bad.seq, "cause": bad.flaw.to_string(),
        })),
        "signatures": {
            "seals": counted_json(signatures.seals),
            "heads": counted_json(signatures.heads_told),
            "keys": signatures.keys,
            "unproved": signatures.unproved,
            "bad": signatures.bad.iter().map(|(seq, why)| json!({"seq": seq, "cause": why})).collect::<Vec<_>>(),
        },
    })
}

fn counted_json(count: Count) -> Value {
    json!({"all": count.all, "signed": count.proved, "unsigned": count.unsigned})
}

/// The newest head known outside the ledger's own folder that agrees.
fn anchor(report: &Report, known: &[Known]) -> Option<Head> {
    let agrees = report.heads.iter().rev().filter(|(_, verdict)| *verdict == HeadVerdict::Agrees);
    agrees.map(|(head, _)| *head).find(|head| from(*head, known) != From::Ledger)
}

/// How much is signed, by whom; nothing for a ledger that has nothing to sign.
fn signed(signatures: &Signatures) -> String {
    let (seals, heads) = (signatures.seals, signatures.heads_told);
    if seals.all + heads.all == 0 {
        return String::new();
    }
    let of = |part: Count, what: &str| format!("{} of {}", count(part.proved), counted(part.all, what));
    let mut text = format!("signed: {}, {}", of(heads, "published head"), of(seals, "sealed segment"));
    for (key, number) in &signatures.keys {
        text.push_str(&format!("\n  {} by {}", count(*number), visible(key)));
    }
    text.push('\n');
    for (part, what) in [(heads, "head"), (seals, "seal")] {
        if let Some(seq) = part.unsigned {
            text.push_str(&format!("  the last {what} without a signature: event {}\n", count(seq)));
        }
    }
    if signatures.unproved > 0 {
        let number = counted(signatures.unproved, "signature");
        text.push_str(&format!("  hint: {number} not looked at, no public key is at hand: --key FILE\n"));
    }
    text
}

fn from(head: Head, known: &[Known]) -> From {
    // Several may know it: whoever comes first is named, the ledger itself last.
    known.iter().find(|one| one.head == head).map_or(From::Ledger, |one| one.from)
}

fn whose(head: Head, known: &[Known]) -> &'static str {
    match from(head, known) {
        From::Option => "you",
        From::Journal => "journald",
        From::Memory => "the host's key",
        From::Ledger => "a signature in it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::view;
    use jitsudo_ledger::{Bad, Flaw, Hash};

    fn head(seq: u64) -> Head {
        Head { seq, hash: Hash::ZERO }
    }

    fn report() -> Report {
        Report {
            segments: 3,
            events: 18_204,
            head: Some(head(18_210)),
            anchor: Some(head(18_207)),
            heads: vec![(head(18_207), HeadVerdict::Agrees)],
            ..Report::default()
        }
    }

    #[test]
    fn a_sound_ledger_says_how_much_and_since_when_nobody_else_knows() {
        let known = [Known { head: head(18_207), from: From::Journal }];
        assert_eq!(
            screen(&report(), &known, &Signatures::default(), &view()),
            format!(
                "18 204 events proved, 3 segments; agrees with the head journald knew at seq 18 207\n  \
                 3 lines since then agree only with each other\nhead 18210:{}\n",
                Hash::ZERO
            )
        );
        assert_eq!(as_json(&report(), &known, &Signatures::default())["ok"], true);
    }

    #[test]
    fn audit_log_04_first_bad_record_and_a_rollback_are_named() {
        let mut report = report();
        report.bad = Some(Bad { file: "00000002.jsonl".to_owned(), line: 7, seq: 9000, flaw: Flaw::Edited });
        report.anchor = None;
        report.heads = vec![(head(18_207), HeadVerdict::Unreached), (head(20_000), HeadVerdict::Newer)];
        let known = [Known { head: head(20_000), from: From::Option }];
        let text = screen(&report, &known, &Signatures::default(), &view());
        assert!(text.contains("bad: 00000002.jsonl:7 (event 9000) was changed"), "{text}");
        assert!(text.contains("bad: the head you knew at seq 20 000 is newer than the ledger"), "{text}");
        let value = as_json(&report, &known, &Signatures::default());
        assert_eq!(
            (&value["ok"], &value["bad"]["seq"], &value["heads"][1]["verdict"]),
            (&json!(false), &json!(9000), &json!("newer"))
        );
        assert_eq!(value["heads"][1]["from"], "option");
    }

    #[test]
    fn without_any_head_the_screen_says_what_is_not_proved() {
        let report = Report { segments: 1, events: 1, head: Some(head(2)), ..Report::default() };
        let text = screen(&report, &[], &Signatures::default(), &view());
        assert!(
            text.starts_with("1 event proved, 1 segment; no head known elsewhere agrees with it\n  hint: "),
            "{text}"
        );
    }

    #[test]
    fn signatures_are_counted_and_a_bad_one_is_named() {
        let mut signatures = Signatures {
            seals: Count { all: 2, proved: 2, unsigned: None },
            heads_told: Count { all: 31, proved: 29, unsigned: Some(640) },
            unproved: 1,
            ..Signatures::default()
        };
        signatures.keys.insert("SHA256:x".to_owned(), 31);
        let known = [Known { head: head(18_207), from: From::Memory }];
        let text = screen(&report(), &known, &signatures, &view());
        assert!(text.contains("agrees with the head the host's key knew at seq 18 207"), "{text}");
        let words = "signed: 29 of 31 published heads, 2 of 2 sealed segments\n  31 by SHA256:x\n  the last head without a signature: event 640\n";
        assert!(text.contains(words), "{text}");
        assert!(text.contains("1 signature not looked at, no public key is at hand: --key FILE"), "{text}");
        assert_eq!(as_json(&report(), &known, &signatures)["ok"], true);
        signatures.bad.push((812, "was signed by another key".to_owned()));
        let text = screen(&report(), &known, &signatures, &view());
        assert!(text.contains("bad: event 812 was signed by another key"), "{text}");
        let value = as_json(&report(), &known, &signatures);
        assert_eq!((&value["ok"], &value["signatures"]["bad"][0]["seq"]), (&json!(false), &json!(812)));
        assert_eq!(value["signatures"]["heads"], json!({"all": 31, "signed": 29, "unsigned": 640}));
    }

    #[test]
    fn what_the_ledger_says_of_itself_is_no_head_known_elsewhere() {
        let known = [Known { head: head(18_207), from: From::Ledger }];
        let text = screen(&report(), &known, &Signatures::default(), &view());
        assert!(text.contains("no head known elsewhere agrees with it\n  hint: "), "{text}");
        assert_eq!(as_json(&report(), &known, &Signatures::default())["anchor"], Value::Null);
    }
}
