//! From the text of an element to what it matches.

use std::fmt;

use super::glob::{Flat, Place};
use super::{Pattern, Shape};

/// Most ways through the braces of one word.
const MAX_WAYS: usize = 256;
/// Longest word of a pattern, bytes.
const MAX_WORD: usize = 1024;
/// Deepest braces.
const MAX_BRACES: usize = 8;

/// Why a text is no element.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PatternError {
    /// More than 1024 bytes.
    TooLong,
    /// An empty word.
    Empty,
    /// A `{` without `}` or the other way round, or more than 8 deep.
    Braces,
    /// More than 256 combinations.
    TooManyWays,
    /// `[` without `]`, or an empty or backward range.
    Class,
    /// A backslash at the end.
    Backslash,
    /// `<…>` that is no element.
    UnknownElement {
        /// The text between the angle brackets.
        name: String,
    },
    /// `<path:DIR>` with a directory that is not absolute and normalised, or with text before it.
    Path,
    /// `<int:A-B>` that is no range.
    Int,
    /// The regular expression does not compile.
    Regex {
        /// What the regex crate says.
        message: String,
    },
    /// A NUL byte.
    Nul,
    /// A program that is not an absolute path.
    NotAbsolute,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("a word has at most 1024 bytes"),
            Self::Empty => f.write_str("an element cannot be empty"),
            Self::Braces => f.write_str("the braces do not pair, or are more than 8 deep"),
            Self::TooManyWays => f.write_str("the braces make more than 256 words"),
            Self::Class => f.write_str("the brackets `[]` do not pair or hold no range"),
            Self::Backslash => f.write_str("a backslash needs a character after it"),
            Self::UnknownElement { name } => write!(f, "there is no element <{name}>"),
            Self::Path => f.write_str("<path:DIR> is a word of its own with an absolute directory"),
            Self::Int => f.write_str("<int:A-B> needs two numbers, the smaller first"),
            Self::Regex { message } => write!(f, "cannot compile the expression: {message}"),
            Self::Nul => f.write_str("a word cannot hold a NUL byte"),
            Self::NotAbsolute => f.write_str("a program is an absolute path"),
        }
    }
}
impl std::error::Error for PatternError {}

/// Parses one element; the second value is true for `X...`.
pub(super) fn element(text: &str) -> Result<(Shape, bool), PatternError> {
    check(text)?;
    if !text.bytes().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b'<' | b'\\' | b'.')) {
        return Ok((Shape::Words(vec![Flat::Literal(text.as_bytes().to_vec())]), false));
    }
    if text == "..." {
        return Ok((Shape::Rest, false));
    }
    if text == "<any...>" {
        return Ok((Shape::AnyRest, false));
    }
    let (body, many) = match text.strip_suffix("...") {
        Some(body) if !body.is_empty() && !body.ends_with('\\') => (body, true),
        _ => (text, false),
    };
    if body == "*" {
        return Ok((Shape::AnyWord, many));
    }
    if let Some(start) = find_element(body) {
        let (prefix, rest) = body.split_at(start);
        let inner = rest.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
        let Some(inner) = inner else {
            return Err(PatternError::UnknownElement { name: rest.trim_start_matches('<').to_owned() });
        };
        let prefix = match words(prefix, false)?.as_slice() {
            [Flat::Literal(prefix)] => prefix.clone(),
            _ => return Err(PatternError::UnknownElement { name: inner.to_owned() }),
        };
        return typed(inner, prefix).map(|shape| (shape, many));
    }
    Ok((Shape::Words(words(body, false)?), many))
}

fn check(text: &str) -> Result<(), PatternError> {
    match text {
        _ if text.is_empty() => Err(PatternError::Empty),
        _ if text.len() > MAX_WORD => Err(PatternError::TooLong),
        _ if text.contains('\0') => Err(PatternError::Nul),
        _ => Ok(()),
    }
}

/// Where an unescaped `<` begins.
fn find_element(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let found = byte == b'<' && !escaped;
        escaped = byte == b'\\' && !escaped;
        found
    })
}

fn typed(inner: &str, prefix: Vec<u8>) -> Result<Shape, PatternError> {
    match inner.split_once(':') {
        None if inner == "any" && prefix.is_empty() => Ok(Shape::Any),
        None if inner == "secret" => Ok(Shape::Secret(prefix)),
        Some(("path", directory)) => {
            let parts = directory.split('/').skip(1);
            let normal = directory == "/"
                || (directory.starts_with('/') && parts.clone().all(|part| !matches!(part, "" | "." | "..")));
            if !normal || !prefix.is_empty() {
                return Err(PatternError::Path);
            }
            Ok(Shape::Path(directory.as_bytes().to_vec()))
        }
        Some(("int", range)) => {
            let (low, high) = range.split_once('-').ok_or(PatternError::Int)?;
            let number =
                |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
            match (number(low), number(high)) {
                (Some(low), Some(high)) if low <= high => Ok(Shape::Int(prefix, low, high)),
                _ => Err(PatternError::Int),
            }
        }
        Some(("re", expression)) => Ok(Shape::Re(prefix, Pattern::whole(expression)?)),
        _ => Err(PatternError::UnknownElement { name: inner.to_owned() }),
    }
}

/// Parses a word with braces and globs into one flat word for each way through. `deep`: `**` crosses `/`.
pub(crate) fn words(text: &str, deep: bool) -> Result<Vec<Flat>, PatternError> {
    if text.len() > MAX_WORD {
        return Err(PatternError::TooLong);
    }
    let mut ways = Vec::new();
    for way in expand(text.as_bytes())? {
        ways.push(flat(&way, deep)?);
    }
    Ok(ways)
}

/// Expands the innermost-last brace of each text until none is left; bounded by [`MAX_WAYS`] and [`MAX_BRACES`].
fn expand(text: &[u8]) -> Result<Vec<Vec<u8>>, PatternError> {
    let mut done = Vec::new();
    let mut open = vec![text.to_vec()];
    while let Some(word) = open.pop() {
        let Some((start, stop, commas)) = last_brace(&word)? else {
            done.push(word);
            continue;
        };
        let mut from = start + 1;
        let mut choices = Vec::new();
        for comma in commas.into_iter().chain([stop]) {
            choices.push(word.get(from..comma).unwrap_or_default());
            from = comma + 1;
        }
        // The last choice first: the stack turns them round, so the words come in the order written.
        for choice in choices.into_iter().rev() {
            let before = word.get(..start).unwrap_or_default();
            let after = word.get(stop + 1..).unwrap_or_default();
            open.push([before, choice, after].concat());
        }
        if open.len() + done.len() > MAX_WAYS {
            return Err(PatternError::TooManyWays);
        }
    }
    Ok(done)
}

/// The places of a brace pair that holds no other pair, and of its commas.
type Brace = (usize, usize, Vec<usize>);

/// Finds a brace pair that holds no other pair.
fn last_brace(word: &[u8]) -> Result<Option<Brace>, PatternError> {
    let mut open: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut innermost = None;
    let mut escaped = false;
    let mut class = false;
    for (at, byte) in word.iter().enumerate() {
        if escaped {
            escaped = false;
            continue;
        }
        match byte {
            b'\\' => escaped = true,
            b'[' if !class => class = true,
            b']' => class = false,
            b'{' if !class => open.push((at, Vec::new())),
            b',' if !class => {
                if let Some((_, commas)) = open.last_mut() {
                    commas.push(at);
                }
            }
            b'}' if !class => {
                let (start, commas) = open.pop().ok_or(PatternError::Braces)?;
                innermost.get_or_insert((start, at, commas));
            }
            _ => {}
        }
        if open.len() > MAX_BRACES {
            return Err(PatternError::Braces);
        }
    }
    if open.is_empty() { Ok(innermost) } else { Err(PatternError::Braces) }
}

fn flat(word: &[u8], deep: bool) -> Result<Flat, PatternError> {
    let mut places = Vec::with_capacity(word.len());
    let mut at = 0;
    while let Some(byte) = word.get(at) {
        at += 1;
        let place = match byte {
            b'\\' => {
                let next = word.get(at).ok_or(PatternError::Backslash)?;
                at += 1;
                Place::Byte(*next)
            }
            b'?' => Place::One,
            b'*' => {
                let mut place = Place::Star;
                while word.get(at) == Some(&b'*') {
                    at += 1;
                    if deep {
                        place = Place::Deep;
                    }
                }
                place
            }
            b'[' => {
                let (place, next) = class(word, at)?;
                at = next;
                place
            }
            other => Place::Byte(*other),
        };
        places.push(place);
    }
    let literal: Option<Vec<u8>> =
        places.iter().map(|place| if let Place::Byte(byte) = place { Some(*byte) } else { None }).collect();
    Ok(literal.map_or(Flat::Glob(places), Flat::Literal))
}

fn class(word: &[u8], mut at: usize) -> Result<(Place, usize), PatternError> {
    let negated = matches!(word.get(at), Some(b'!' | b'^'));
    if negated {
        at += 1;
    }
    let mut ranges = Vec::new();
    loop {
        let low = *word.get(at).ok_or(PatternError::Class)?;
        if low == b']' && !ranges.is_empty() {
            return Ok((Place::Class { negated, ranges }, at + 1));
        }
        at += 1;
        let high = match (word.get(at), word.get(at + 1)) {
            (Some(b'-'), Some(high)) if *high != b']' => {
                at += 2;
                *high
            }
            _ => low,
        };
        if low > high || low == b']' {
            return Err(PatternError::Class);
        }
        ranges.push((low, high));
    }
}
