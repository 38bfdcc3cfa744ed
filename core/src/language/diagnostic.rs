//! A mistake in a policy file, shown as a compiler shows it.

use super::SourceFile;

/// One finding with its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// False for a warning.
    pub is_error: bool,
    /// The file's name as given.
    pub file: String,
    /// Counts from 1; 0 = the whole file.
    pub line: usize,
    /// In characters, counts from 1.
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
    /// Gives the text for a terminal (`color`) or a log.
    #[must_use]
    pub fn render(&self, files: &[SourceFile], color: bool) -> String {
        let _ = (files, color);
        self.message.clone()
    }
}
