//! A mistake in a policy file, shown as a compiler shows it.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::SourceFile;

/// Longest line that is shown, bytes; a longer one is cut around the mistake.
const MAX_LINE: usize = 400;

/// One finding with its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// False for a warning.
    pub is_error: bool,
    /// The file's name as given.
    pub file: String,
    /// Counts from 1; 0 = the whole file.
    pub line: usize,
    /// In characters, counts from 1; 0 = the whole file.
    pub column: usize,
    /// Bytes of the file that are underlined.
    pub span: std::ops::Range<usize>,
    /// The headline.
    pub message: String,
    /// Words under the underlined text.
    pub label: String,
    /// What would help.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Gives the text for a terminal (`color`) or a log: headline, place, the line underlined, hint.
    #[must_use]
    pub fn render(&self, files: &[SourceFile], color: bool) -> String {
        let level = if self.is_error { Level::ERROR } else { Level::WARNING };
        let text = files.iter().find(|file| file.name == self.file).map(|file| String::from_utf8_lossy(&file.bytes));
        let message = visible(&self.message);
        let label = visible(&self.label);
        let hint = self.hint.as_deref().map(visible);
        let file = visible(&self.file);
        let mut group = Group::with_title(level.primary_title(message.as_str()));
        let shown = text.as_deref().filter(|_| self.line > 0).and_then(|text| self.line_of(text));
        match &shown {
            Some((line, span)) => {
                let mark = AnnotationKind::Primary.span(span.clone());
                let mark = if label.is_empty() { mark } else { mark.label(label.as_str()) };
                group = group
                    .element(Snippet::source(line.as_str()).line_start(self.line).path(file.as_str()).annotation(mark));
            }
            None => group = group.element(annotate_snippets::Origin::path(file.as_str())),
        }
        if let Some(hint) = &hint {
            group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }

    /// The line that holds the beginning of the span, with the span in it.
    fn line_of(&self, text: &str) -> Option<(String, std::ops::Range<usize>)> {
        let before = text.get(..self.span.start)?;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = text.get(start..)?.split('\n').next()?.trim_end_matches('\r');
        let from = (self.span.start - start).min(line.len());
        let to = self.span.end.saturating_sub(start).clamp(from, line.len());
        if line.len() <= MAX_LINE {
            return Some((harmless(line), from..to.max(from)));
        }
        let cut = (from..).find(|at| line.is_char_boundary(*at))?;
        let end = (cut + MAX_LINE.min(line.len() - cut)..=line.len()).find(|at| line.is_char_boundary(*at))?;
        let part = line.get(cut..end)?;
        Some((harmless(part), 0..(to - from).min(part.len())))
    }
}

/// Text of a file must not move the cursor of whoever reads about it.
fn visible(text: &str) -> String {
    jitsudo_bytes::Bytes::from(text).visible()
}

/// A line of a file, byte for byte as long as it was, so that what is underlined stays. The renderer shows ASCII's controls as pictures;
/// those beyond (U+009B begins a sequence as ESC [ does) and what hides or reorders text are replaced here.
fn harmless(line: &str) -> String {
    let shown = |character: char| match character.len_utf8() {
        _ if character.is_ascii() || jitsudo_bytes::is_plain(character) => character,
        2 => '\u{bf}',
        3 => '\u{fffd}',
        _ => '\u{1fbc4}',
    };
    line.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audit_log_01_neither_name_nor_line_of_a_file_moves_the_cursor() {
        let line = "a = \u{1b}[2J \u{9b}31m \u{202e} \u{200b} \u{e0041} \u{7f} x = \t\n";
        let name = "p\u{1b}[2J\n.toml".to_owned();
        let files = [SourceFile { name: name.clone(), bytes: line.into() }];
        let at = line.find('x').unwrap();
        for line in [0, 1] {
            let diagnostic = Diagnostic {
                is_error: true,
                file: name.clone(),
                line,
                column: 1,
                span: at..at + 1,
                message: "no".to_owned(),
                label: String::new(),
                hint: None,
            };
            let text = diagnostic.render(&files, false);
            let odd = |letter: &char| *letter != '\n' && !jitsudo_bytes::is_plain(*letter);
            assert_eq!(text.chars().find(odd), None, "{text:?}");
            assert!(text.contains("p\\u{1b}[2J\\u{a}.toml"), "{text}");
        }
    }
}
