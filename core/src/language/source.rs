//! Files as text: limits, places, and what TOML 1.0 does not have.

use std::ops::Range;

use super::{Diagnostic, SourceFile};

/// Largest file, bytes.
const MAX_FILE: usize = 10 * 1024 * 1024;
/// Most files of a policy.
pub(super) const MAX_FILES: usize = 10_000;

/// A place in one of the files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) span: Range<usize>,
}

/// A file that is text of a bearable size.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    /// Refuses what is too large or no text, before anything is parsed.
    pub(super) fn open(file: &'a SourceFile) -> Result<Self, Box<Diagnostic>> {
        let whole = |message: String, hint: &str| {
            Box::new(Diagnostic {
                is_error: true,
                file: file.name.clone(),
                line: 0,
                column: 0,
                span: 0..0,
                message,
                label: String::new(),
                hint: Some(hint.to_owned()),
            })
        };
        if file.bytes.len() > MAX_FILE {
            return Err(whole(
                format!("the file has {} bytes", file.bytes.len()),
                "a policy file has at most 10 MiB: split it",
            ));
        }
        let text = match std::str::from_utf8(&file.bytes) {
            Ok(text) => text,
            Err(error) => {
                let good = file.bytes.get(..error.valid_up_to()).unwrap_or_default();
                let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
                let message = format!("the file is not UTF-8 (line {line}, byte {})", error.valid_up_to());
                return Err(whole(message, "save it as UTF-8"));
            }
        };
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Ok(Self { name: &file.name, text, lines: std::iter::once(0).chain(breaks).collect() })
    }

    /// Line and column of a byte, both counted from 1.
    pub(super) fn line_and_column(&self, at: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= at).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start..at).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// `10-web.toml:14`
    pub(super) fn short_place(&self, at: usize) -> String {
        let name = self.name.rsplit('/').next().unwrap_or(self.name);
        format!("{name}:{}", self.line_and_column(at).0)
    }

    /// The directory, for `[defaults]`.
    pub(super) fn directory(&self) -> &'a str {
        self.name.rsplit_once('/').map_or("", |(directory, _)| directory)
    }
}

/// Finds what the parser takes as TOML 1.1 and the language refuses: line breaks and trailing commas in inline tables, `\e`, `\x`.
pub(super) fn newer_toml(text: &str) -> Option<(Range<usize>, &'static str)> {
    let bytes = text.as_bytes();
    let mut open: Vec<(u8, usize)> = Vec::new();
    let mut last = b' ';
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'#' => {
                at += bytes.get(at..).unwrap_or_default().iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
                continue;
            }
            b'"' | b'\'' => match skip_string(bytes, at) {
                Ok(end) => {
                    last = b'"';
                    at = end;
                    continue;
                }
                Err(escape) => return Some((escape..escape + 2, "the escapes \\e and \\x are TOML 1.1")),
            },
            b'\n' => {
                if let Some((b'{', start)) = open.last() {
                    return Some((*start..*start + 1, "an inline table stays on one line"));
                }
            }
            b'{' | b'[' => open.push((*byte, at)),
            b'}' if last == b',' => return Some((at..at + 1, "an inline table has no comma at its end")),
            b'}' | b']' => {
                open.pop();
            }
            _ => {}
        }
        if !byte.is_ascii_whitespace() {
            last = *byte;
        }
        at += 1;
    }
    None
}

/// Gives the byte after the string that begins here, or where an escape stands that TOML 1.0 does not have.
fn skip_string(bytes: &[u8], start: usize) -> Result<usize, usize> {
    let quote = bytes.get(start).copied().unwrap_or(b'"');
    let long = bytes.get(start..start + 3).is_some_and(|three| three.iter().all(|byte| *byte == quote));
    let width = if long { 3 } else { 1 };
    let mut at = start + width;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'\\' && quote == b'"' {
            if matches!(bytes.get(at + 1), Some(b'e' | b'x')) {
                return Err(at);
            }
            at += 2;
            continue;
        }
        if *byte == b'\n' && !long {
            return Ok(at);
        }
        if *byte == quote
            && (!long || bytes.get(at..at + 3).is_some_and(|three| three.iter().all(|byte| *byte == quote)))
        {
            at += width;
            // Up to two quotes may stand before the closing three.
            while long && bytes.get(at) == Some(&quote) {
                at += 1;
            }
            return Ok(at);
        }
        at += 1;
    }
    Ok(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_of_a_newer_version_is_found_and_older_is_not() {
        for (text, refused) in [
            ("a = { b = 1,\n c = 2 }", true),
            ("a = {\n}", true),
            ("a = { b = 1, }", true),
            ("a = \"\\e\"", true),
            ("a = \"\\x41\"", true),
            ("a = '\\e'", false),
            ("a = { b = [\n1,\n] }", false),
            ("a = { b = \"\"\"\n\"\"\" }", false),
            ("a = { b = 1 } # {\nc = 2", false),
            ("a = \"{\"\nb = 1", false),
            ("a = [\n 1, # }\n]\n[b]\nc = '''\n{\n'''\n", false),
            ("a = \"\\\\e\"", false),
        ] {
            assert_eq!(newer_toml(text).is_some(), refused, "{text:?}");
        }
    }
}
