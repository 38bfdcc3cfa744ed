//! The proof: every line as written, in order, and up to which head known elsewhere.
//!
//! MUSTs
//! 1. An edited, swapped, removed, doubled or added line or file is found, and the first one named
//!    (`audit_log_04_*`).
//! 2. A cut end and a restored old copy are found as far as a head known elsewhere reaches; what lies after the newest such head
//!    is proved only against itself, and the report says so (`audit_log_04_cut_tail_is_found_by_a_head`).

use std::io::BufReader;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{fmt, io};

use crate::line::{Flaw, Head};
use crate::segment::{self, BEFORE_ALL, Chain, Next};
use crate::storage;

/// The first thing that is not as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bad {
    /// The segment's file name.
    pub file: String,
    /// Line in it, from 1; 0 = the file as a whole.
    pub line: u64,
    /// The number that a line there should have.
    pub seq: u64,
    /// What.
    pub flaw: Flaw,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{} {}", self.file, self.flaw),
            line => write!(f, "{}:{line} (event {}) {}", self.file, self.seq, self.flaw),
        }
    }
}

/// What the ledger says to a head known elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeadVerdict {
    /// That line is there, proved, with that hash.
    Agrees,
    /// That line has another hash: another history was put in its place.
    Differs,
    /// The ledger ends before it: it was cut or rolled back.
    Newer,
    /// Nothing can be said: the proof breaks off before it, or it lies before the oldest segment.
    Unreached,
}

/// What was proved.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Segments there are.
    pub segments: u64,
    /// Events in the unbroken chain from the beginning, snapshots not counted.
    pub events: u64,
    /// Last line of that chain.
    pub head: Option<Head>,
    /// What breaks it.
    pub bad: Option<Bad>,
    /// Bytes after the last whole line: being written at this moment, or torn.
    pub unfinished: u64,
    /// The newest of the given heads that agrees.
    pub anchor: Option<Head>,
    /// Each given head with its verdict, by number.
    pub heads: Vec<(Head, HeadVerdict)>,
}

impl Report {
    /// True when nothing is wrong: no bad line, no unfinished end, every head agrees.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.bad.is_none()
            && self.unfinished == 0
            && self.heads.iter().all(|(_, verdict)| *verdict == HeadVerdict::Agrees)
    }

    /// True when a head known elsewhere is newer than the file or another than the one there: giving must stop until somebody looks.
    #[must_use]
    pub fn is_rolled_back(&self) -> bool {
        self.heads.iter().any(|(_, verdict)| matches!(verdict, HeadVerdict::Newer | HeadVerdict::Differs))
    }
}

/// Proves a ledger on so many threads. Takes no lock: a line that is being written shows as `unfinished` at worst.
///
/// # Errors
/// When the directory cannot be listed.
pub fn verify(dir: &Path, heads: &[Head], threads: usize) -> io::Result<Report> {
    let numbers = segment::numbers(&storage::names(dir)?);
    let mut heads = heads.to_vec();
    heads.sort_unstable();
    let heads = heads.as_slice();
    let next = AtomicUsize::new(0);
    let proofs: Mutex<Vec<(usize, Proof)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, 64) {
            scope.spawn(|| {
                while let Some((index, number)) = take(&numbers, &next) {
                    let proof = prove(dir, number, heads, index + 1 == numbers.len());
                    proofs.lock().unwrap_or_else(PoisonError::into_inner).push((index, proof));
                }
            });
        }
    });
    let mut proofs = proofs.into_inner().unwrap_or_else(PoisonError::into_inner);
    proofs.sort_unstable_by_key(|(index, _)| *index);
    Ok(join(&numbers, proofs.into_iter().map(|(_, proof)| proof).collect(), heads))
}

/// What the ledger says to one head; reads only the segments that can hold it.
///
/// # Errors
/// When the directory cannot be listed.
pub fn check_head(dir: &Path, head: &Head) -> io::Result<HeadVerdict> {
    for number in segment::numbers(&storage::names(dir)?).into_iter().rev() {
        let proof = prove(dir, number, std::slice::from_ref(head), true);
        match proof.chain.before {
            None => return Ok(HeadVerdict::Unreached),
            Some(before) if before.seq >= head.seq => {}
            Some(_) => {
                let verdict = proof.found.first().map(|(_, verdict)| *verdict);
                let absent = if proof.flaw.is_some() { HeadVerdict::Unreached } else { HeadVerdict::Newer };
                return Ok(verdict.unwrap_or(absent));
            }
        }
    }
    Ok(HeadVerdict::Unreached)
}

/// What the ledger says to several heads, each verdict at the place of its head: they count only as lines of ONE unbroken chain, from
/// the first of them to the last. Reads only the segments from the one that holds the first.
///
/// # Errors
/// When the directory cannot be listed.
pub fn check_heads(dir: &Path, heads: &[Head]) -> io::Result<Vec<HeadVerdict>> {
    let lowest = heads.iter().map(|head| head.seq).min().unwrap_or(0);
    let mut sorted = heads.to_vec();
    sorted.sort_unstable();
    let (mut found, mut later): (Vec<(Head, HeadVerdict)>, Option<Proof>) = (Vec::new(), None);
    let mut last = None;
    for number in segment::numbers(&storage::names(dir)?).into_iter().rev() {
        let is_newest = later.is_none();
        let proof = prove(dir, number, &sorted, is_newest);
        let joined = later
            .as_ref()
            .and_then(|later| later.chain.before)
            .is_none_or(|before| segment::follows(before, proof.chain.last).is_ok());
        let Some(before) = proof.chain.before.filter(|_| proof.flaw.is_none() && joined) else {
            // What lies before the break is not joined to what lies after it.
            return Ok(vec![HeadVerdict::Unreached; heads.len()]);
        };
        last.get_or_insert(proof.chain.last);
        found.extend(proof.found.iter().copied());
        later = Some(proof);
        if before.seq < lowest {
            break;
        }
    }
    let last = last.map_or(0, |last| last.seq);
    let verdict = |head: &Head| match found.iter().find(|(one, _)| one == head) {
        Some((_, verdict)) => *verdict,
        None if head.seq > last => HeadVerdict::Newer,
        None => HeadVerdict::Unreached,
    };
    Ok(heads.iter().map(verdict).collect())
}

fn take(numbers: &[u32], next: &AtomicUsize) -> Option<(usize, u32)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    numbers.get(index).map(|number| (index, *number))
}

/// What one segment proves by itself.
struct Proof {
    chain: Chain,
    /// Line and flaw of the first bad one.
    flaw: Option<(u64, Flaw)>,
    unfinished: u64,
    /// Heads whose lines are in it.
    found: Vec<(Head, HeadVerdict)>,
}

fn prove(dir: &Path, number: u32, heads: &[Head], is_newest: bool) -> Proof {
    let mut proof = prove_once(dir, number, heads, is_newest);
    for _ in 0..2 {
        // Perhaps a line was only half written when it was read: by now it is whole.
        if proof.unfinished > 0 {
            proof = prove_once(dir, number, heads, is_newest);
        }
    }
    proof
}

fn prove_once(dir: &Path, number: u32, heads: &[Head], is_newest: bool) -> Proof {
    let mut proof = Proof { chain: Chain::new(number), flaw: None, unfinished: 0, found: Vec::new() };
    let flaw = match storage::open_to_read(&dir.join(segment::name(number))) {
        Ok(file) => walk(&mut proof, BufReader::with_capacity(1 << 20, file), heads, is_newest),
        Err(error) => {
            proof.flaw = Some((0, Flaw::Unreadable(error.to_string())));
            return proof;
        }
    };
    proof.flaw = flaw.map(|flaw| (proof.chain.lines + 1, flaw));
    proof
}

fn walk(proof: &mut Proof, mut reader: impl io::BufRead, heads: &[Head], is_newest: bool) -> Option<Flaw> {
    let mut buffer = Vec::with_capacity(1 << 16);
    loop {
        match segment::next_line(&mut reader, &mut buffer) {
            Ok(Next::Line) => {}
            Ok(Next::End) => return (proof.chain.lines == 0).then_some(Flaw::Snapshot),
            Ok(Next::Unfinished) if is_newest && proof.chain.lines > 0 => {
                proof.unfinished = buffer.len() as u64;
                return None;
            }
            Ok(Next::Unfinished) => return Some(Flaw::Unfinished),
            Ok(Next::TooLong) => return Some(Flaw::TooLong),
            Err(error) => return Some(Flaw::Unreadable(error.to_string())),
        }
        let line = match proof.chain.accept(&buffer) {
            Ok(line) => line,
            Err(flaw) => return Some(flaw),
        };
        for head in of_line(heads, line.seq) {
            let verdict = if head.hash == line.hash { HeadVerdict::Agrees } else { HeadVerdict::Differs };
            proof.found.push((*head, verdict));
        }
    }
}

/// The heads of one line, from many that are in order: a ledger holds a signed head for every minute of its activity.
fn of_line(heads: &[Head], seq: u64) -> impl Iterator<Item = &Head> {
    let first = heads.partition_point(|head| head.seq < seq);
    heads.get(first..).unwrap_or_default().iter().take_while(move |head| head.seq == seq)
}

/// Joins the segments' proofs into one, up to the first break.
fn join(numbers: &[u32], proofs: Vec<Proof>, heads: &[Head]) -> Report {
    let mut report = Report { segments: numbers.len() as u64, ..Report::default() };
    let mut found = Vec::new();
    let mut last = BEFORE_ALL;
    for ((number, due), proof) in numbers.iter().copied().zip(1u32..).zip(proofs) {
        let bad = |line, flaw| Some(Bad { file: segment::name(number), line, seq: last.seq.saturating_add(1), flaw });
        if number != due {
            report.bad =
                Some(Bad { file: segment::name(due), line: 0, seq: last.seq.saturating_add(1), flaw: Flaw::Missing });
            break;
        }
        if let Some(before) = proof.chain.before {
            if let Err(flaw) = segment::follows(before, last) {
                report.bad = bad(1, flaw);
                break;
            }
            last = proof.chain.last;
            report.head = Some(last);
            report.events += proof.chain.lines.saturating_sub(1);
            found.extend(proof.found);
        }
        if let Some((line, flaw)) = proof.flaw {
            report.bad = Some(Bad { file: segment::name(number), line, seq: last.seq.saturating_add(1), flaw });
            break;
        }
        report.unfinished = proof.unfinished;
    }
    if numbers.is_empty() {
        report.bad = Some(Bad { file: segment::name(1), line: 0, seq: 1, flaw: Flaw::Missing });
    }
    let absent = |head: &Head| match report.bad {
        None if head.seq > last.seq => HeadVerdict::Newer,
        _ => HeadVerdict::Unreached,
    };
    found.sort_unstable_by_key(|(head, _)| *head);
    let verdict = |head: &Head| {
        let place = found.binary_search_by_key(head, |(one, _)| *one).ok().and_then(|place| found.get(place));
        place.map_or_else(|| absent(head), |(_, verdict)| *verdict)
    };
    report.heads = heads.iter().map(|head| (*head, verdict(head))).collect();
    report.heads.sort_unstable_by_key(|(head, _)| *head);
    report.anchor =
        report.heads.iter().rev().find(|(_, verdict)| *verdict == HeadVerdict::Agrees).map(|(head, _)| *head);
    report
}
