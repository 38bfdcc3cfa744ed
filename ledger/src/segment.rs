//! Segments: their names, their lines as a stream, and the rule by which one line follows another.

use std::io::{self, BufRead, Read as _};

use crate::line::{Flaw, Hash, Head, Line};

/// Longest line, newline included. Only snapshots come near it.
pub(crate) const MAX_LINE_BYTES: u64 = 256 << 20;

/// Name of a segment's file.
pub(crate) fn name(number: u32) -> String {
    format!("{number:08}.jsonl")
}

/// Numbers of the segments among some names, ascending.
pub(crate) fn numbers(names: &[String]) -> Vec<u32> {
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| number(name)).collect();
    numbers.sort_unstable();
    numbers
}

fn number(file: &str) -> Option<u32> {
    let digits = file.strip_suffix(".jsonl")?;
    let number = digits.parse().ok()?;
    (number > 0 && name(number) == file).then_some(number)
}

/// What a stream gave next.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// A line, in the buffer without its newline.
    Line,
    /// The stream ends inside a line; the fragment is in the buffer.
    Unfinished,
    /// No newline within [`MAX_LINE_BYTES`].
    TooLong,
    /// The stream ends after a line.
    End,
}

/// Reads the next line into the buffer.
pub(crate) fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Next> {
    line.clear();
    let read = reader.take(MAX_LINE_BYTES).read_until(b'\n', line)? as u64;
    Ok(if line.last() == Some(&b'\n') {
        line.pop();
        Next::Line
    } else if read == 0 {
        Next::End
    } else if read >= MAX_LINE_BYTES {
        Next::TooLong
    } else {
        Next::Unfinished
    })
}

/// The lines of one segment so far: each must follow the one before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    segment: u32,
    /// The hash that the first line names and the number before its own, once it was seen.
    pub(crate) before: Option<Head>,
    /// The last line.
    pub(crate) last: Head,
    /// How many lines.
    pub(crate) lines: u64,
}

impl Chain {
    pub(crate) fn new(segment: u32) -> Self {
        Self { segment, before: None, last: Head::START, lines: 0 }
    }

    /// Proves a line and takes it as the last one.
    pub(crate) fn accept<'a>(&mut self, bytes: &'a [u8]) -> Result<Line<'a>, Flaw> {
        let line = Line::parse(bytes)?;
        if self.before.is_some() {
            let due = self.last.seq.saturating_add(1);
            if !line.is_intact() {
                return Err(Flaw::Edited);
            }
            if line.seq != due {
                return Err(Flaw::Sequence { due });
            }
            if line.prev != self.last.hash {
                return Err(Flaw::Unchained);
            }
            if line.is_snapshot() {
                return Err(Flaw::Snapshot);
            }
        } else {
            if !line.is_intact() {
                return Err(Flaw::Edited);
            }
            if line.snapshot()?.segment != u64::from(self.segment) {
                return Err(Flaw::Snapshot);
            }
            self.before =
                Some(Head { seq: line.seq.checked_sub(1).ok_or(Flaw::Sequence { due: 1 })?, hash: line.prev });
        }
        self.last = line.head();
        self.lines += 1;
        Ok(line)
    }
}

/// What is wrong with a segment's first line as the follower of `last`, the last line of the segment before it.
pub(crate) fn follows(before: Head, last: Head) -> Result<(), Flaw> {
    if before.seq != last.seq {
        return Err(Flaw::Sequence { due: last.seq.saturating_add(1) });
    }
    if before.hash != last.hash { Err(Flaw::Unchained) } else { Ok(()) }
}

/// The first segment follows nothing.
pub(crate) const BEFORE_ALL: Head = Head { seq: 0, hash: Hash::ZERO };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_names_are_segments() {
        let names = [
            "00000002.jsonl",
            "00000001.jsonl",
            "1.jsonl",
            "00000003.jsonl.new",
            "00000000.jsonl",
            "lock",
            "+0000001.jsonl",
        ];
        assert_eq!(numbers(&names.map(str::to_owned)), [1, 2]);
        assert_eq!(number(&name(u32::MAX)), Some(u32::MAX));
    }

    #[test]
    fn stream_gives_lines_then_what_is_unfinished() {
        let mut reader = b"a\n\nbc".as_slice();
        let mut line = Vec::new();
        assert_eq!((next_line(&mut reader, &mut line).unwrap(), line.as_slice()), (Next::Line, b"a".as_slice()));
        assert_eq!((next_line(&mut reader, &mut line).unwrap(), line.as_slice()), (Next::Line, b"".as_slice()));
        assert_eq!((next_line(&mut reader, &mut line).unwrap(), line.as_slice()), (Next::Unfinished, b"bc".as_slice()));
        assert_eq!(next_line(&mut reader, &mut line).unwrap(), Next::End);
    }
}
