//! What was proved of the ledger, what was not, and the first thing that is wrong.

use jitsudo_ledger::{Head, HeadVerdict, Report};
use serde_json::{Value, json};

use crate::text::{Tone, View, count, counted};

/// Where a head is known from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum From {
    /// `--head`.
    Option,
    /// journald.
    Journal,
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
pub(crate) fn screen(report: &Report, known: &[Known], view: &View) -> String {
    let mut text = format!("{} proved, {}", counted(report.events, "event"), counted(report.segments, "segment"));
    match report.anchor {
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
            if known.is_empty() {
                text.push_str(
                    "  hint: a whole ledger can be exchanged unseen unless a head is known elsewhere: --head SEQ:HASH\n",
                );
            }
        }
    }
    if let Some(head) = report.head {
        text.push_str(&format!("head {}:{}\n", head.seq, head.hash));
    }
    let mut bad = |words: String| text.push_str(&format!("{} {words}\n", view.paint(Tone::Bad, "bad:")));
    if let Some(flaw) = &report.bad {
        bad(crate::text::visible(&flaw.to_string()));
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
pub(crate) fn as_json(report: &Report, known: &[Known]) -> Value {
    let of = |head: Head| json!({"seq": head.seq, "hash": head.hash.to_string()});
    let heads: Vec<Value> = report
        .heads
        .iter()
        .map(|(head, verdict)| {
            let verdict = match verdict {
                HeadVerdict::Agrees => "agrees",
                HeadVerdict::Differs => "differs",
                HeadVerdict::Newer => "newer",
                HeadVerdict::Unreached => "unreached",
            };
            let from = if from(*head, known) == From::Option { "option" } else { "journal" };
            json!({"seq": head.seq, "hash": head.hash.to_string(), "from": from, "verdict": verdict})
        })
        .collect();
    json!({
        "ok": report.is_sound(),
        "events": report.events,
        "segments": report.segments,
        "head": report.head.map(of),
        "anchor": report.anchor.map(of),
        "unfinished": report.unfinished,
        "heads": heads,
        "bad": report.bad.as_ref().map(|bad| json!({
            "file": bad.file, "line": bad.line, "seq": bad.seq, "cause": bad.flaw.to_string(),
        })),
    })
}

fn from(head: Head, known: &[Known]) -> From {
    known.iter().find(|one| one.head == head).map_or(From::Journal, |one| one.from)
}

fn whose(head: Head, known: &[Known]) -> &'static str {
    match from(head, known) {
        From::Option => "you",
        From::Journal => "journald",
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
            screen(&report(), &known, &view()),
            format!(
                "18 204 events proved, 3 segments; agrees with the head journald knew at seq 18 207\n  \
                 3 lines since then agree only with each other\nhead 18210:{}\n",
                Hash::ZERO
            )
        );
        assert_eq!(as_json(&report(), &known)["ok"], true);
    }

    #[test]
    fn audit_log_04_first_bad_record_and_a_rollback_are_named() {
        let mut report = report();
        report.bad = Some(Bad { file: "00000002.jsonl".to_owned(), line: 7, seq: 9000, flaw: Flaw::Edited });
        report.anchor = None;
        report.heads = vec![(head(18_207), HeadVerdict::Unreached), (head(20_000), HeadVerdict::Newer)];
        let known = [Known { head: head(20_000), from: From::Option }];
        let text = screen(&report, &known, &view());
        assert!(text.contains("bad: 00000002.jsonl:7 (event 9000) was changed"), "{text}");
        assert!(text.contains("bad: the head you knew at seq 20 000 is newer than the ledger"), "{text}");
        let value = as_json(&report, &known);
        assert_eq!(
            (&value["ok"], &value["bad"]["seq"], &value["heads"][1]["verdict"]),
            (&json!(false), &json!(9000), &json!("newer"))
        );
        assert_eq!(value["heads"][1]["from"], "option");
    }

    #[test]
    fn without_any_head_the_screen_says_what_is_not_proved() {
        let report = Report { segments: 1, events: 1, head: Some(head(2)), ..Report::default() };
        let text = screen(&report, &[], &view());
        assert!(
            text.starts_with("1 event proved, 1 segment; no head known elsewhere agrees with it\n  hint: "),
            "{text}"
        );
    }
}
