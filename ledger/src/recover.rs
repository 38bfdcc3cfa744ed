//! From files to state after anything that may have happened.
//!
//! MUSTs
//! 1. A line counts if and only if it is in the file and intact; no acknowledged line is cut, none is made up
//!    (`audit_log_05_cut_at_every_byte_keeps_every_whole_line`, `crash_recovery_03_every_failed_write_and_sync_loses_and_invents_nothing`).
//! 2. Only what a crash can leave is cut: a last line without its newline, or one with bytes that were never written (NUL).
//!    Anything else is refused, by file and line (`crash_recovery_04_file_that_no_crash_explains_is_refused`).
//! 3. What is found is not taken for durable: after a failed fsync the page cache shows bytes that the disk does not have, so the
//!    end of the file is written once more before anything builds on it (`failed_sync_then_restart_builds_only_on_what_is_on_disk`).

use std::io::{self, BufReader};

use crate::error::{OpenError, is_full};
use crate::fold::Fold;
use crate::line::{Flaw, Head, Line};
use crate::proved::Proved;
use crate::reserve::Reserve;
use crate::segment::{self, BEFORE_ALL, Chain, MAX_LINE_BYTES, Next};
use crate::storage::{Storage, StoredFile, Stream, write_all};
use crate::writer::MAX_UNSYNCED_BYTES;

/// Read at first for the last line of a file: most events are shorter.
const LAST_LINE_BYTES: u64 = 16 << 10;

/// What was cut from the end of a segment; the caller records it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The segment's file name.
    pub segment: String,
    /// How many bytes.
    pub bytes: u64,
    /// The file in the same directory that keeps them.
    pub kept: String,
}

/// What recovery found in the newest segment.
pub(crate) struct Recovered<State, File> {
    pub(crate) state: State,
    pub(crate) file: File,
    pub(crate) segment: u32,
    pub(crate) bytes: u64,
    pub(crate) head: Head,
    pub(crate) cut: Option<Cut>,
    pub(crate) proved: Proved,
}

type FoundBy<F, S> = Recovered<<F as Fold>::State, <S as Storage>::File>;

/// Cuts what is torn, folds what is there, and makes it durable. `durable` says how many bytes of a segment this process knows
/// to be durable after one of its own syncs failed: what follows them was never acknowledged and goes.
pub(crate) fn recover<F: Fold, S: Storage>(
    storage: &S,
    fold: &F,
    numbers: &[u32],
    durable: Option<(u32, u64)>,
    reserve: &mut Reserve,
) -> Result<Option<FoundBy<F, S>>, OpenError> {
    let Some(&segment) = numbers.last() else {
        return Ok(None);
    };
    let name = segment::name(segment);
    let file = storage.open(&name).map_err(OpenError::io(format!("open {name}")))?;
    let mut cut = None;
    if let Some((_, bytes)) = durable.filter(|(known, _)| *known == segment) {
        cut = cut_after(storage, &file, &name, bytes, reserve)?;
    }
    let (state, chain, bytes, proved) = scan(fold, &file, &name, segment)?;
    let before = chain.before.unwrap_or(BEFORE_ALL);
    check_predecessor(storage, numbers, segment, before)?;
    cut = cut_after(storage, &file, &name, bytes, reserve)?.or(cut);
    rewrite_end(storage, &file, &name, bytes, reserve)?;
    // The segment's name may be as little on disk as its bytes.
    storage.sync_dir().map_err(OpenError::io("make the ledger directory durable"))?;
    Ok(Some(Recovered { state, file, segment, bytes, head: chain.last, cut, proved }))
}

/// Folds the sound lines and gives the offset after the last of them, and what they prove.
fn scan<F: Fold, File: StoredFile>(
    fold: &F,
    file: &File,
    name: &str,
    number: u32,
) -> Result<(F::State, Chain, u64, Proved), OpenError> {
    let mut reader = BufReader::with_capacity(1 << 18, Stream { file, offset: 0 });
    let mut buffer = Vec::new();
    let mut chain = Chain::new(number);
    let mut state = None;
    let mut good = 0u64;
    let mut proved = Proved::default();
    loop {
        let at = chain.lines + 1;
        let broken = |flaw| OpenError::Broken { file: name.to_owned(), line: at, flaw };
        let next = segment::next_line(&mut reader, &mut buffer).map_err(OpenError::io(format!("read {name}")))?;
        match next {
            Next::Line => {}
            Next::End | Next::Unfinished => break,
            Next::TooLong => return Err(broken(Flaw::TooLong)),
        }
        let line = match chain.accept(&buffer) {
            Ok(line) => line,
            Err(_) if state.is_some() && buffer.contains(&0) => break,
            Err(flaw) => return Err(broken(flaw)),
        };
        let folded = match state.take() {
            None => fold.restore(line.snapshot().map_err(broken)?.state),
            Some(mut state) => fold.apply(&mut state, &line).map(|()| state),
        };
        state = Some(folded.map_err(|source| OpenError::Fold { file: name.to_owned(), line: at, source })?);
        good += buffer.len() as u64 + 1;
        proved.follow(&chain);
    }
    // A segment is born whole (written, synced, then renamed): without its first line it is no torn file but a damaged one.
    let state = state.ok_or(OpenError::Broken { file: name.to_owned(), line: 1, flaw: Flaw::Snapshot })?;
    Ok((state, chain, good, proved))
}

/// The newest segment must go on where the one before it ends. Older ones are the verifier's matter.
fn check_predecessor(storage: &impl Storage, numbers: &[u32], segment: u32, before: Head) -> Result<(), OpenError> {
    let name = segment::name(segment);
    let Some(&previous) = numbers.iter().rev().nth(1) else {
        // Sealed segments may have been moved to an archive; the first one follows nothing.
        let genuine = segment > 1 || before == BEFORE_ALL;
        let flaw = Flaw::Unchained;
        return if genuine { Ok(()) } else { Err(OpenError::Broken { file: name, line: 1, flaw }) };
    };
    if previous.checked_add(1) != Some(segment) {
        return Err(OpenError::Broken { file: segment::name(segment.saturating_sub(1)), line: 1, flaw: Flaw::Missing });
    }
    let file = segment::name(previous);
    let opened = storage.open(&file).map_err(OpenError::io(format!("open {file}")))?;
    let (next, last) = last_line(&opened).map_err(OpenError::io(format!("read {file}")))?;
    let flaw = match next {
        Next::Line => match Line::parse(&last) {
            Ok(end) if end.is_intact() => {
                return segment::follows(before, end.head()).map_err(|flaw| OpenError::Broken {
                    file: name,
                    line: 1,
                    flaw,
                });
            }
            Ok(_) => Flaw::Edited,
            Err(flaw) => flaw,
        },
        Next::End => Flaw::Malformed,
        Next::Unfinished => Flaw::Unfinished,
        Next::TooLong => Flaw::TooLong,
    };
    let line = count_lines(&opened).map_err(OpenError::io(format!("read {file}")))?;
    Err(OpenError::Broken { file, line, flaw })
}

/// The last line of a file, without its newline, read from the end: what lies before it may be long.
fn last_line(file: &impl StoredFile) -> io::Result<(Next, Vec<u8>)> {
    let mut from = file.size()?;
    let mut tail: Vec<u8> = Vec::new();
    loop {
        let (end, before) = tail.split_last().map_or((None, &[][..]), |(end, before)| (Some(*end), before));
        let start = before.iter().rposition(|byte| *byte == b'\n').map(|place| place + 1);
        match (end, start) {
            (None, _) if from == 0 => return Ok((Next::End, tail)),
            (Some(end), _) if end != b'\n' => return Ok((Next::Unfinished, tail)),
            (Some(_), Some(start)) => return Ok((Next::Line, before.get(start..).unwrap_or_default().to_vec())),
            (Some(_), None) if from == 0 => return Ok((Next::Line, before.to_vec())),
            _ if tail.len() as u64 >= MAX_LINE_BYTES => return Ok((Next::TooLong, tail)),
            _ => {}
        }
        // Twice as much each time: a line as long as a snapshot is not copied again and again.
        let more = (tail.len() as u64).max(LAST_LINE_BYTES).min(from);
        from -= more;
        let mut longer = vec![0; usize::try_from(more).unwrap_or(0)];
        read_exact(file, &mut longer, from)?;
        longer.append(&mut tail);
        tail = longer;
    }
}

fn read_exact(file: &impl StoredFile, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        let read = file.read_at(buffer, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        offset += read as u64;
        buffer = buffer.get_mut(read..).unwrap_or_default();
    }
    Ok(())
}

/// How many lines there are, one that is not finished included.
fn count_lines(file: &impl StoredFile) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(1 << 18, Stream { file, offset: 0 });
    let (mut buffer, mut lines) = (Vec::new(), 0);
    loop {
        match segment::next_line(&mut reader, &mut buffer)? {
            Next::End => return Ok(lines),
            Next::Line => lines += 1,
            Next::Unfinished | Next::TooLong => return Ok(lines + 1),
        }
    }
}

/// Keeps what follows `good` aside and cuts it off.
fn cut_after<S: Storage>(
    storage: &S,
    file: &S::File,
    name: &str,
    good: u64,
    reserve: &mut Reserve,
) -> Result<Option<Cut>, OpenError> {
    let what = || format!("cut the unfinished end of {name}");
    let size = file.size().map_err(OpenError::io(what()))?;
    if size <= good {
        return Ok(None);
    }
    // Named by its place, so that a crash in here leads to the same name again.
    let kept = format!("{name}.{good}.torn");
    despite_full_disk(storage, reserve, || {
        let copy = storage.create(&kept)?;
        let mut block = vec![0; 1 << 20];
        let mut done = 0;
        loop {
            let read = file.read_at(&mut block, good + done)?;
            if read == 0 {
                break;
            }
            write_all(&copy, block.get(..read).unwrap_or_default(), done)?;
            done += read as u64;
        }
        copy.sync()?;
        storage.sync_dir()
    })
    .map_err(OpenError::io(what()))?;
    file.set_size(good).and_then(|()| file.sync()).map_err(OpenError::io(what()))?;
    Ok(Some(Cut { segment: name.to_owned(), bytes: size - good, kept }))
}

/// Writes the end of the file once more, the same bytes: as much as can ever have been waiting for a sync.
fn rewrite_end<S: Storage>(
    storage: &S,
    file: &S::File,
    name: &str,
    size: u64,
    reserve: &mut Reserve,
) -> Result<(), OpenError> {
    let mut offset = size.saturating_sub(MAX_UNSYNCED_BYTES as u64);
    let mut block = vec![0; 1 << 20];
    despite_full_disk(storage, reserve, || {
        loop {
            let read = file.read_at(&mut block, offset)?;
            if read == 0 {
                return file.sync();
            }
            write_all(file, block.get(..read).unwrap_or_default(), offset)?;
            offset += read as u64;
        }
    })
    .map_err(OpenError::io(format!("make the end of {name} durable")))
}

/// Runs an act that can be run again, on the reserve's space if it must.
fn despite_full_disk(
    storage: &impl Storage,
    reserve: &mut Reserve,
    mut act: impl FnMut() -> io::Result<()>,
) -> io::Result<()> {
    loop {
        match act() {
            Err(error) if is_full(&error) && reserve.release(storage, 0) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Disk;

    #[test]
    fn last_line_is_the_same_from_the_end_as_from_the_beginning() {
        let folder = std::env::temp_dir().join(format!("jitsudo-last-line-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let disk = Disk::lock(&folder, None).unwrap();
        let long = |letter: char, bytes: usize| String::from(letter).repeat(bytes);
        let step = usize::try_from(LAST_LINE_BYTES).unwrap();
        for text in [
            String::new(),
            "\n".to_owned(),
            "a".to_owned(),
            "a\n".to_owned(),
            "a\n\n".to_owned(),
            "a\nbc\n".to_owned(),
            "a\nbc".to_owned(),
            format!("a\n{}\n", long('b', step - 2)),
            format!("a\n{}\n", long('b', step - 1)),
            format!("a\n{}\n", long('b', step)),
            format!("{}\n{}\n", long('a', 9 * step), long('b', 5 * step)),
            format!("{}\n", long('a', 9 * step)),
        ] {
            let file = disk.create("text").unwrap();
            write_all(&file, text.as_bytes(), 0).unwrap();
            let (mut reader, mut buffer) = (text.as_bytes(), Vec::new());
            let (mut expected, mut lines) = ((Next::End, Vec::new()), 0);
            loop {
                let next = segment::next_line(&mut reader, &mut buffer).unwrap();
                if next == Next::End {
                    break;
                }
                lines += 1;
                expected = (next, buffer.clone());
            }
            let (next, line) = last_line(&file).unwrap();
            assert_eq!(next, expected.0, "{} bytes", text.len());
            assert!(next != Next::Line || line == expected.1, "{} bytes", text.len());
            assert_eq!(count_lines(&file).unwrap(), lines);
        }
        drop(disk);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
