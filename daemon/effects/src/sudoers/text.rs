//! The text of a drop-in (sudoers(5)).
//!
//! No password is asked for: who asks was settled when the role was given, and so sudo keeps no ticket that would outlive the grant.

use std::fmt::Write as _;

use jitsudo_core::lends::sudoers_words;
use jitsudo_core::name::Uid;
use jitsudo_core::{SignedDuration, Timestamp};
use jitsudo_link::notes::Note;

/// Argument of the probe's line that holds.
pub(super) const PROBE_LIVE: &str = "jitsudo-probe-live";
/// Argument of the probe's line that is past.
pub(super) const PROBE_PAST: &str = "jitsudo-probe-past";
/// Seconds that the probe's lines lie before and after now.
const PROBE_SECONDS: i64 = 600;

/// One command that is lent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Line {
    /// Every command.
    All,
    /// Exactly these words.
    Command(Vec<String>),
}

/// Reads a line of a role; in words why sudoers cannot say it.
pub(super) fn line(written: &str) -> Result<Line, String> {
    Ok(sudoers_words(written)?.map_or(Line::All, Line::Command))
}

/// The whole file.
///
/// `ends_at`: when what runs by it is to end; `end`: when sudo ends the line by itself, where it does.
pub(super) fn drop_in(
    note: &Note,
    lines: &[Line],
    (now, ends_at): (Timestamp, Timestamp),
    end: Option<Timestamp>,
    timeout: bool,
) -> String {
    let end = end.map_or_else(String::new, |end| format!("NOTAFTER={} ", not_after(end)));
    let seconds = ends_at.duration_since(now).as_secs().max(1);
    let limit = if timeout { format!("TIMEOUT={seconds} ") } else { String::new() };
    let mut text = format!("# jitsudo: lent to {} by grant {}; removed at its end\n", comment(&note.user), note.id);
    for line in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "#{} ALL=(root) {end}{limit}NOPASSWD: {}", note.uid.0, command(line));
    }
    text
}

/// Two lines, of which only one may hold.
pub(super) fn probe(uid: Uid, now: Timestamp) -> String {
    let line = |seconds: i64, word: &str| {
        let at = not_after(now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(now));
        format!("#{} ALL=(root) NOTAFTER={at} NOPASSWD: /usr/bin/true {word}\n", uid.0)
    };
    format!("{}{}", line(PROBE_SECONDS, PROBE_LIVE), line(-PROBE_SECONDS, PROBE_PAST))
}

/// One line, and none for the other word.
pub(super) fn probe_without_end(uid: Uid) -> String {
    format!("#{} ALL=(root) NOPASSWD: /usr/bin/true {PROBE_LIVE}\n", uid.0)
}

/// `yyyymmddHHMMSSZ`, the last whole second: in UTC whatever the zone of the host or the user is.
pub(super) fn not_after(at: Timestamp) -> String {
    let text = at.to_string();
    let digits: String = text.chars().take_while(|one| *one != '.').filter(char::is_ascii_digit).collect();
    format!("{digits}Z")
}

fn command(line: &Line) -> String {
    match line {
        Line::All => "ALL".to_owned(),
        // Without it any argument would do.
        Line::Command(words) if words.len() == 1 => format!("{} \"\"", escaped(words)),
        Line::Command(words) => escaped(words),
    }
}

fn escaped(words: &[String]) -> String {
    let mut text = String::new();
    for one in words.join(" ").chars() {
        if matches!(one, ',' | ':' | '=') {
            text.push('\\');
        }
        text.push(one);
    }
    text
}

fn comment(text: &str) -> String {
    text.chars().map(|one| if one.is_ascii_graphic() { one } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> Note {
        serde_json::from_str(
            r#"{"id":"01jd0000000000000000000000","host":"h","uid":1001,"user":"alice","boot":"b",
                "ends_at":"2026-01-01T01:00:00.9Z","ends_boottime_ms":1}"#,
        )
        .unwrap()
    }

    #[test]
    fn sudoers_dropin_02_what_sudoers_reads_otherwise_is_escaped_or_refused() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let lines: Vec<Line> = ["/usr/bin/id", "/usr/bin/x a=b,c :d @e", "ALL"].map(|text| line(text).unwrap()).into();
        let ends_at = note().ends_at;
        let without = drop_in(&note(), &lines[..1], (now, ends_at), None, false);
        assert!(without.ends_with("\n#1001 ALL=(root) NOPASSWD: /usr/bin/id \"\"\n"), "{without}");
        let text = drop_in(&note(), &lines, (now, ends_at), Some(ends_at), true);
        assert_eq!(
            text,
            "# jitsudo: lent to alice by grant 01jd0000000000000000000000; removed at its end\n\
             #1001 ALL=(root) NOTAFTER=20260101010000Z TIMEOUT=3600 NOPASSWD: /usr/bin/id \"\"\n\
             #1001 ALL=(root) NOTAFTER=20260101010000Z TIMEOUT=3600 NOPASSWD: /usr/bin/x a\\=b\\,c \\:d @e\n\
             #1001 ALL=(root) NOTAFTER=20260101010000Z TIMEOUT=3600 NOPASSWD: ALL\n"
        );
        for bad in [
            "",
            " ",
            "id",
            "/usr/bin/",
            "/usr/bin/id ",
            "/usr/bin/id  -u",
            "/usr/bin/*",
            "/usr/bin/i?",
            "/bin/[a]",
            "/bin/id \\",
            "/bin/id \"\"",
            "/bin/id #",
            "/bin/id ^a$",
            "/bin/id !x",
            "/bin/id a\nALL",
            "/bin/id\tx",
            "/bin/id é",
            "ALL, /bin/sh",
            "/bin/id {a,b}",
            "/bin/id <any>",
            "/bin/id 'a'",
            "/bin/id (x)",
            "/bin/id $HOME",
        ] {
            assert!(line(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sudoers_dropin_06_end_is_written_in_utc_and_never_later_than_it_is() {
        for (at, stamp) in [
            ("2026-03-29T01:30:00Z", "20260329013000Z"),
            ("2026-10-25T02:30:59.999999Z", "20261025023059Z"),
            ("2026-10-25T02:30:59+02:00", "20261025003059Z"),
        ] {
            assert_eq!(not_after(at.parse().unwrap()), stamp);
        }
    }
}
