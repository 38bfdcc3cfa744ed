//! How things read: durations, times, escapes, line breaks, colour. Pure but for [`View::of_this_process`].

use jiff::Timestamp;
use jiff::tz::TimeZone;
use jitsudo_bytes::Bytes;

/// Columns of every screen.
pub(crate) const WIDTH: usize = 80;

/// For whom something is rendered, and when.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Now.
    pub(crate) now: Timestamp,
    /// The zone that times are shown in.
    pub(crate) zone: TimeZone,
    /// Colour may be used.
    pub(crate) colour: bool,
}

/// What a colour says; it never says it alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tone {
    /// Fine.
    Good,
    /// Not allowed, broken.
    Bad,
    /// A heading.
    Strong,
}

impl View {
    /// The clock, zone and terminal of this process.
    pub(crate) fn of_this_process(terminal: bool) -> Self {
        let now = Timestamp::from_nanosecond(jitsudo_sys::clock::now().wall_ns).unwrap_or(Timestamp::UNIX_EPOCH);
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { now, zone: TimeZone::system(), colour: terminal && !no_colour && !dumb }
    }

    /// Colours a text, if colours are wanted.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Strong => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// `2026-10-04 14:21:58`, local.
    pub(crate) fn date_and_time(&self, time: Timestamp) -> String {
        time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// `14:21:58`, local.
    pub(crate) fn time(&self, time: Timestamp) -> String {
        time.to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string()
    }

    /// `12 min`, until a time; `now` when it is past.
    pub(crate) fn until(&self, time: Timestamp) -> String {
        let seconds = time.duration_since(self.now).as_secs();
        u64::try_from(seconds).map_or_else(|_| "now".to_owned(), |seconds| format!("in {}", rough(seconds)))
    }

    /// `12 min`, since a time.
    pub(crate) fn since(&self, time: Timestamp) -> String {
        rough(u64::try_from(self.now.duration_since(time).as_secs()).unwrap_or(0))
    }
}

/// A duration to the second: `30 min`, `1 h 30 min`, `1 min 5 s`.
pub(crate) fn exact(seconds: u64) -> String {
    let parts = [(seconds / 86400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let words: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count} {unit}")).collect();
    if words.is_empty() { "0 s".to_owned() } else { words.join(" ") }
}

/// A duration as far as one looks: `40 s`, `12 min`, `9 h 12 min`, `3 d 4 h`.
pub(crate) fn rough(seconds: u64) -> String {
    match seconds {
        0..60 => exact(seconds),
        60..86400 => exact(seconds / 60 * 60),
        _ => exact(seconds / 3600 * 3600),
    }
}

/// Milliseconds: `40 ms`, `1.3 s`, then as [`rough`].
pub(crate) fn milliseconds(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..10_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => rough(ms / 1000),
    }
}

/// `18 204`: digits in groups of three.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `1 rule`, `3 rules`.
pub(crate) fn counted(number: u64, one: &str) -> String {
    format!("{} {one}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Foreign text with everything unprintable escaped, on one line.
pub(crate) fn visible(text: &str) -> String {
    Bytes::from(text).visible()
}

/// The same, but its line breaks stay.
pub(crate) fn visible_lines(text: &str) -> String {
    text.lines().map(visible).collect::<Vec<_>>().join("\n")
}

/// A command line that a shell would read back as these words; unprintable bytes are escaped instead.
pub(crate) fn command(argv: &[Bytes]) -> String {
    argv.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn word(bytes: &Bytes) -> String {
    let text = bytes.visible();
    let plain = |letter: char| letter.is_alphanumeric() || "_-+=./,:@%^~{}[]<>\\".contains(letter);
    let secret = text.starts_with("<secret:");
    if !text.is_empty() && (secret || text.chars().all(plain)) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The first twelve digits of a digest.
pub(crate) fn digest(hex: &str) -> String {
    visible(hex.get(..12).unwrap_or(hex))
}

/// The last six characters of an id, or the whole of something else.
pub(crate) fn short_id(id: &str) -> String {
    let (access, number) = id.split_once('.').map_or((id, None), |(access, number)| (access, Some(number)));
    let short = access.len().checked_sub(6).and_then(|start| access.get(start..)).unwrap_or(access);
    visible(&number.map_or_else(|| short.to_owned(), |number| format!("{short}.{number}")))
}

/// Breaks a text at blanks so that lines have at most [`WIDTH`] columns: the first begins at column `first`, the others are indented
/// by `indent`. A longer word has a line of its own and overflows: it is never cut.
pub(crate) fn wrapped(text: &str, first: usize, indent: usize) -> String {
    fold(text.split(' ').map(str::to_owned), " ", first, indent)
}

/// Breaks a list at its separators, `a · b · c`, likewise.
pub(crate) fn dotted(parts: &[String], indent: usize) -> String {
    let mut lines = fold(parts.iter().cloned(), " · ", indent, indent);
    lines.insert_str(0, &" ".repeat(indent));
    lines
}

fn fold(parts: impl Iterator<Item = String>, separator: &str, first: usize, indent: usize) -> String {
    let mut text = String::new();
    let mut column = first;
    let mut fresh = true;
    for part in parts {
        let width = columns(&part);
        if fresh {
            fresh = false;
        } else if column + separator.chars().count() + width > WIDTH {
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            column = indent;
        } else {
            text.push_str(separator);
            column += separator.chars().count();
        }
        text.push_str(&part);
        column += width;
    }
    text
}

/// Columns of a text: its characters without our own colours.
fn columns(text: &str) -> usize {
    let mut pieces = text.split('\u{1b}');
    let first = pieces.next().map_or(0, |piece| piece.chars().count());
    pieces.fold(first, |sum, piece| sum + piece.split_once('m').map_or(piece, |(_, after)| after).chars().count())
}

/// Pads to a column width, counting characters.
pub(crate) fn padded(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(text.chars().count());
    format!("{text}{}", " ".repeat(missing))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A quarter past two in Paris on 4 October 2026, no colours.
    pub(crate) fn view() -> View {
        View { now: "2026-10-04T12:15:00Z".parse().unwrap(), zone: TimeZone::fixed(jiff::tz::offset(2)), colour: false }
    }

    #[test]
    fn durations_read_like_a_person_says_them() {
        for (seconds, whole, short) in [
            (0, "0 s", "0 s"),
            (40, "40 s", "40 s"),
            (65, "1 min 5 s", "1 min"),
            (1800, "30 min", "30 min"),
            (33_150, "9 h 12 min 30 s", "9 h 12 min"),
            (43_200, "12 h", "12 h"),
            (273_600, "3 d 4 h", "3 d 4 h"),
            (86_460, "1 d 1 min", "1 d"),
        ] {
            assert_eq!((exact(seconds).as_str(), rough(seconds).as_str()), (whole, short), "{seconds}");
        }
        assert_eq!(milliseconds(40), "40 ms");
        assert_eq!(milliseconds(1340), "1.3 s");
        assert_eq!(milliseconds(723_000), "12 min");
    }

    #[test]
    fn times_are_local_and_relative_to_the_given_now() {
        let view = view();
        let end = "2026-10-04T12:27:30Z".parse().unwrap();
        assert_eq!(view.date_and_time(end), "2026-10-04 14:27:30");
        assert_eq!(view.until(end), "in 12 min");
        assert_eq!(view.until("2026-10-04T12:14:00Z".parse().unwrap()), "now");
        assert_eq!(view.since("2026-10-04T12:13:00Z".parse().unwrap()), "2 min");
    }

    #[test]
    fn audit_log_words_of_a_command_cannot_move_the_cursor_or_forge_a_line() {
        let argv = [Bytes::from("printf"), Bytes::from("a b"), Bytes(b"\x1b[2J\n\xff".to_vec()), Bytes::from("it's")];
        assert_eq!(command(&argv), r"printf 'a b' \u{1b}[2J\u{a}\xff 'it'\''s'");
        assert_eq!(command(&[Bytes::from("")]), "''");
        assert_eq!(command(&[Bytes::from("<secret:12>")]), "<secret:12>");
    }

    #[test]
    fn numbers_and_ids_are_short_and_exact() {
        assert_eq!(count(18_204), "18 204");
        assert_eq!(count(100), "100");
        assert_eq!(counted(1, "rule"), "1 rule");
        assert_eq!(short_id("01k6q9v0zz0000000000k3v9tz"), "k3v9tz");
        assert_eq!(short_id("01k6q9v0zz0000000000k3v9tz.2"), "k3v9tz.2");
        assert_eq!(short_id("x"), "x");
    }

    #[test]
    fn lines_break_at_80_columns_and_long_words_are_never_cut() {
        let text = wrapped(&"word ".repeat(30), 10, 4);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("    ")));
        let long = "x".repeat(200);
        assert!(wrapped(&format!("a {long} b"), 0, 2).contains(&long));
    }

    #[test]
    fn colour_is_only_added_where_wanted() {
        let mut view = view();
        assert_eq!(view.paint(Tone::Bad, "no"), "no");
        view.colour = true;
        assert_eq!(view.paint(Tone::Bad, "no"), "\u{1b}[31mno\u{1b}[0m");
        assert_eq!(columns(&view.paint(Tone::Bad, "no")), 2);
    }
}
