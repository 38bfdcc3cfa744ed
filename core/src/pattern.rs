//! One word of a policy against one word of a command: literals, `{a,b}`, `*?[]`, `<int:…>` and the other elements.
//!
//! MUST 1: in the allow reading no wildcard matches a word that begins with `-` (`cmd_match_07_*`, `each_element_*`).
//! MUST 2: in the allow reading `*`, `?`, `[]` match no `/` and no `..` on the way (`cmd_match_07_*`).
//! MUST 3: time is linear in pattern times word, nothing recurses on input (`dos_11_*`).

mod glob;
mod parse;

pub(crate) use glob::{Flat, Slash};
pub use parse::PatternError;
pub(crate) use parse::words;

use regex_lite::Regex;

/// Which way an element errs. An allow gives less in doubt; a deny and a require take more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reading {
    /// Roles, allows, and the `except` of a deny or require.
    Allow,
    /// Denies, requires, and the `except` of an allow.
    Deny,
}

/// A regular expression that is kept as text and compiled when read.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Pattern {
    text: String,
    regex: Regex,
}

/// Bound on the compiled size of one regular expression, bytes.
const REGEX_BYTES: usize = 256 * 1024;

impl Pattern {
    /// Compiles an expression that is searched for.
    pub(crate) fn new(text: &str) -> Result<Self, PatternError> {
        let regex = regex_lite::RegexBuilder::new(text)
            .size_limit(REGEX_BYTES)
            .nest_limit(50)
            .build()
            .map_err(|error| PatternError::Regex { message: error.to_string() })?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// Compiles an expression that must match a whole word.
    pub(crate) fn whole(text: &str) -> Result<Self, PatternError> {
        // Alone first, so that `a)|(b` cannot close the group that anchors it.
        Self::new(text)?;
        Self::new(&format!("^(?:{text})$"))
    }

    /// True when it occurs in the text.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The expression.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;
    fn try_from(text: String) -> Result<Self, PatternError> {
        Self::new(&text)
    }
}
impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// What an element matches.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Shape {
    /// Literals and globs, one for each way through the braces.
    Words(Vec<Flat>),
    /// A lone `*`: any one word.
    AnyWord,
    /// `<any>`: any one word, a leading `-` included.
    Any,
    /// `<path:DIR>`.
    Path(Vec<u8>),
    /// `<int:A-B>`, both inclusive.
    Int(Vec<u8>, u64, u64),
    /// `<re:…>`, anchored.
    Re(Vec<u8>, Pattern),
    /// `<secret>`.
    Secret(Vec<u8>),
    /// A lone `...`: any rest.
    Rest,
    /// `<any...>`: any rest, options included.
    AnyRest,
}

/// One element of a command pattern.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Element {
    text: String,
    /// What it matches.
    pub(crate) shape: Shape,
    /// One or more of it (`X...`).
    pub(crate) many: bool,
}

impl TryFrom<String> for Element {
    type Error = PatternError;
    fn try_from(text: String) -> Result<Self, PatternError> {
        let (shape, many) = parse::element(&text)?;
        Ok(Self { text, shape, many })
    }
}
impl From<Element> for String {
    fn from(element: Element) -> Self {
        element.text
    }
}

impl Element {
    /// As the policy writes it.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// True when no wildcard is in it.
    #[cfg(feature = "language")]
    pub(crate) fn is_literal(&self) -> bool {
        !self.many
            && matches!(&self.shape, Shape::Words(words) if words.iter().all(|word| matches!(word, Flat::Literal(_))))
    }

    /// True when it can match no word, or any number of words.
    pub(crate) fn is_rest(&self) -> bool {
        matches!(self.shape, Shape::Rest | Shape::AnyRest)
    }

    /// True when it matches this one word. `rooted`: root alone can change the directories on the way to it.
    pub(crate) fn covers(&self, word: &[u8], rooted: bool, reading: Reading) -> bool {
        let dash = reading == Reading::Allow && word.first() == Some(&b'-');
        match &self.shape {
            Shape::Words(words) => words.iter().any(|flat| flat.covers(word, reading)),
            Shape::AnyWord | Shape::Rest => !dash,
            Shape::Any | Shape::AnyRest => true,
            Shape::Path(directory) => path_is_below(word, directory, rooted, reading),
            Shape::Int(prefix, low, high) => {
                word.strip_prefix(prefix.as_slice()).is_some_and(|rest| int_is_within(rest, *low, *high, reading))
            }
            Shape::Re(prefix, pattern) => word.strip_prefix(prefix.as_slice()).is_some_and(|rest| {
                let dash = dash && prefix.is_empty();
                match std::str::from_utf8(rest) {
                    Ok(text) => !dash && pattern.is_in(text),
                    // The expression cannot be asked about bytes that are no text: unknown.
                    Err(_) => reading == Reading::Deny,
                }
            }),
            Shape::Secret(prefix) => word.starts_with(prefix) && !(dash && prefix.is_empty()),
        }
    }

    /// True when a word that it matches is to be recorded as its length.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self.shape, Shape::Secret(_))
    }
}

/// `<int:A-B>`: digits without a leading zero; a deny also reads `+7` and `007`.
fn int_is_within(word: &[u8], low: u64, high: u64, reading: Reading) -> bool {
    let digits = match reading {
        Reading::Allow => word,
        Reading::Deny => word.strip_prefix(b"+").unwrap_or(word),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    if reading == Reading::Allow && digits.len() > 1 && digits.first() == Some(&b'0') {
        return false;
    }
    let value = digits.iter().try_fold(0u64, |value, digit| {
        value.checked_mul(10).and_then(|value| value.checked_add(u64::from(digit.wrapping_sub(b'0'))))
    });
    value.is_some_and(|value| (low..=high).contains(&value))
}

/// `<path:DIR>`: absolute, normalised, strictly below. A deny takes every word that could lead there.
fn path_is_below(word: &[u8], directory: &[u8], rooted: bool, reading: Reading) -> bool {
    let parts = || word.split(|byte| *byte == b'/').skip(1);
    let below = || match word.strip_prefix(directory) {
        Some(_) if directory == b"/" => word.len() > 1,
        Some(rest) => rest.first() == Some(&b'/') && rest.len() > 1,
        None => false,
    };
    match reading {
        Reading::Allow => {
            let normal = word.first() == Some(&b'/') && parts().all(|part| !matches!(part, b"" | b"." | b".."));
            normal && rooted && below() && !word.contains(&0)
        }
        Reading::Deny => {
            let plain = word.first() == Some(&b'/') && parts().all(|part| !matches!(part, b"" | b"." | b".."));
            !plain || word == directory || below()
        }
    }
}
