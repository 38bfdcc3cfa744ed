//! Reading for people: lines from a number on, or the newest. Proves nothing, takes no lock, works as any uid that may read.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::{fmt, vec};

use crate::line::{Flaw, Line};
use crate::segment::{self, Next};
use crate::storage;

/// A line with its own bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineBuf {
    /// Its number.
    pub seq: u64,
    /// The JSON object, without the newline.
    pub bytes: Vec<u8>,
}

/// Why a line, or a file, was passed over.
#[derive(Debug)]
pub enum ReadError {
    /// A segment cannot be opened or read.
    Io {
        /// Its file.
        file: String,
        /// The system's word.
        source: io::Error,
    },
    /// A line is none; reading goes on after it.
    Flaw {
        /// Its file.
        file: String,
        /// Line in it, from 1; 0 = the whole file.
        line: u64,
        /// What.
        flaw: Flaw,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { file, source } => write!(f, "cannot read {file}: {source}"),
            Self::Flaw { file, line, flaw } => write!(f, "{file}:{line} {flaw}"),
        }
    }
}
impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Flaw { flaw, .. } => Some(flaw),
        }
    }
}

/// The lines from `from_seq` on that `keep` takes, oldest first, snapshots left out. A last line that is not finished is
/// left out too: it is being written, or torn.
///
/// # Errors
/// When the directory cannot be listed. What is wrong with single files and lines comes as items.
pub fn read<K: FnMut(&Line<'_>) -> bool>(dir: &Path, from_seq: u64, keep: K) -> io::Result<Lines<K>> {
    let numbers = segment::numbers(&storage::names(dir)?);
    // The last segment whose first line is not beyond; those whose first line does not read are read.
    let beyond = numbers.iter().rposition(|number| first_seq(dir, *number).is_none_or(|first| first <= from_seq));
    let numbers = numbers.get(beyond.unwrap_or(0)..).unwrap_or_default().to_vec();
    Ok(Lines { dir: dir.to_owned(), numbers: numbers.into_iter(), current: None, from_seq, keep, buffer: Vec::new() })
}

/// At most `count` of the newest lines that `keep` takes, newest first, snapshots left out. Holds one segment in memory.
///
/// # Errors
/// When the directory cannot be listed. What is wrong with single files and lines is told beside the lines.
pub fn tail(
    dir: &Path,
    count: usize,
    mut keep: impl FnMut(&Line<'_>) -> bool,
) -> io::Result<(Vec<LineBuf>, Vec<ReadError>)> {
    let (mut lines, mut errors) = (Vec::new(), Vec::new());
    for number in segment::numbers(&storage::names(dir)?).into_iter().rev() {
        if lines.len() >= count {
            break;
        }
        let of_one = Lines {
            dir: dir.to_owned(),
            numbers: vec![number].into_iter(),
            current: None,
            from_seq: 0,
            keep: &mut keep,
            buffer: Vec::new(),
        };
        let mut found = Vec::new();
        for item in of_one {
            match item {
                Ok(line) => found.push(line),
                Err(error) => errors.push(error),
            }
        }
        lines.extend(found.into_iter().rev());
    }
    lines.truncate(count);
    Ok((lines, errors))
}

fn first_seq(dir: &Path, number: u32) -> Option<u64> {
    let file = storage::open_to_read(&dir.join(segment::name(number))).ok()?;
    let mut line = Vec::new();
    let next = segment::next_line(&mut BufReader::with_capacity(1 << 16, file), &mut line).ok()?;
    (next == Next::Line).then(|| Line::parse(&line).ok().map(|line| line.seq)).flatten()
}

/// Iterator of [`read()`].
pub struct Lines<K> {
    dir: PathBuf,
    numbers: vec::IntoIter<u32>,
    current: Option<Current>,
    from_seq: u64,
    keep: K,
    buffer: Vec<u8>,
}

struct Current {
    reader: BufReader<File>,
    file: String,
    line: u64,
}

impl<K: FnMut(&Line<'_>) -> bool> Iterator for Lines<K> {
    type Item = Result<LineBuf, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(current) = self.current.as_mut() else {
                let file = segment::name(self.numbers.next()?);
                match storage::open_to_read(&self.dir.join(&file)) {
                    Ok(opened) => {
                        let reader = BufReader::with_capacity(1 << 18, opened);
                        self.current = Some(Current { reader, file, line: 0 });
                        continue;
                    }
                    Err(source) => return Some(Err(ReadError::Io { file, source })),
                }
            };
            current.line += 1;
            let flaw = match segment::next_line(&mut current.reader, &mut self.buffer) {
                Ok(Next::Line) => match Line::parse(&self.buffer) {
                    Ok(line) if line.is_snapshot() || line.seq < self.from_seq || !(self.keep)(&line) => continue,
                    Ok(line) => return Some(Ok(LineBuf { seq: line.seq, bytes: self.buffer.clone() })),
                    Err(flaw) => flaw,
                },
                Ok(Next::End | Next::Unfinished) => {
                    self.current = None;
                    continue;
                }
                Ok(Next::TooLong) => Flaw::TooLong,
                Err(source) => {
                    let file = std::mem::take(&mut current.file);
                    self.current = None;
                    return Some(Err(ReadError::Io { file, source }));
                }
            };
            return Some(Err(ReadError::Flaw { file: current.file.clone(), line: current.line, flaw }));
        }
    }
}
