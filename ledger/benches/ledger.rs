//! Figures of the ledger: append against a bare append + fdatasync, group commit, verification.
//!
//! `cargo bench -p jitsudo-ledger` prints them. `JITSUDO_BENCH_DIR` names the file system (default: `/var/tmp`, which unlike
//! `/tmp` is seldom a tmpfs); `JITSUDO_BENCH_EVENTS` the events to verify (default: 1 000 000).
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark measures time and stops at what fails"
)]

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use jitsudo_ledger::{Body, Committer, Disk, Fold, FoldError, Line, Options, Priority, Writer, verify};

const LINE_BYTES: usize = 700;

/// Counts lines: the cost of the caller's own fold is not the ledger's.
struct Count;

impl Fold for Count {
    type State = u64;
    fn empty(&self) -> u64 {
        0
    }
    fn restore(&self, snapshot: &[u8]) -> Result<u64, FoldError> {
        String::from_utf8_lossy(snapshot).parse().map_err(|_| FoldError("no number".to_owned()))
    }
    fn apply(&self, state: &mut u64, _: &Line<'_>) -> Result<(), FoldError> {
        *state += 1;
        Ok(())
    }
    fn snapshot(&self, state: &u64) -> Result<String, FoldError> {
        Ok(state.to_string())
    }
}

/// A body that makes a line of about [`LINE_BYTES`].
fn body(n: u64) -> Body {
    let head = format!("{{\"event\":\"session_exit\",\"n\":{n},\"pad\":\"");
    let pad = LINE_BYTES.saturating_sub(head.len() + 2 + 149 + 14);
    Body::new(format!("{head}{}\"}}", "x".repeat(pad))).unwrap()
}

fn main() {
    let base = std::env::var_os("JITSUDO_BENCH_DIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let dir = base.join(format!("jitsudo-ledger-bench-{}", std::process::id()));
    Disk::make_dir(&dir).unwrap();
    append(&dir);
    group_commit(&dir);
    verification(&dir);
    std::fs::remove_dir_all(&dir).unwrap();
}

fn options() -> Options {
    Options { reserve_bytes: 0, ..Options::default() }
}

fn fresh(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    Disk::make_dir(&path).unwrap();
    path
}

/// One caller, one batch at a time, in turn with the bare file so that both see the same disk.
fn append(dir: &Path) {
    let mut writer = Writer::open(&fresh(dir, "append"), Count, options()).unwrap().writer;
    let bare: File = OpenOptions::new().append(true).create(true).open(dir.join("bare")).unwrap();
    let mut line = vec![b'x'; LINE_BYTES];
    line.pop();
    line.push(b'\n');
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for n in 0..3000 {
        let body = body(n);
        let started = Instant::now();
        writer.append(std::slice::from_ref(&body), Priority::Ordinary).unwrap();
        writer.sync().unwrap();
        ours.push(started.elapsed());
        writer.fold_written().unwrap();
        let started = Instant::now();
        (&bare).write_all(&line).unwrap();
        bare.sync_data().unwrap();
        theirs.push(started.elapsed());
    }
    let (ours, theirs) = (sorted(ours), sorted(theirs));
    println!(
        "append + sync, one {LINE_BYTES}-byte line    p50 {:>8.3} ms  p99 {:>8.3} ms",
        at(&ours, 50),
        at(&ours, 99)
    );
    println!("bare append + fdatasync            p50 {:>8.3} ms  p99 {:>8.3} ms", at(&theirs, 50), at(&theirs, 99));
    println!("ratio of the medians               {:.2} (at most 1.3)", at(&ours, 50) / at(&theirs, 50));
}

/// 32 callers that each wait for their answer.
fn group_commit(dir: &Path) {
    const SUBMITTERS: u64 = 32;
    const EACH: u64 = 300;
    let writer = Writer::open(&fresh(dir, "group"), Count, options()).unwrap().writer;
    let committer = Committer::start(writer).unwrap();
    let started = Instant::now();
    let mut waits = Vec::new();
    std::thread::scope(|scope| {
        let submitters: Vec<_> = (0..SUBMITTERS).map(|_| scope.spawn(|| submitter(&committer, EACH))).collect();
        for submitter in submitters {
            waits.extend(submitter.join().unwrap());
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    let waits = sorted(waits);
    let rate = waits.len() as f64 / seconds;
    println!(
        "group commit, {SUBMITTERS} submitters         {rate:>8.0} /s   p50 {:>8.3} ms  p99 {:>8.3} ms",
        at(&waits, 50),
        at(&waits, 99)
    );
}

fn submitter(committer: &Committer, count: u64) -> Vec<Duration> {
    let (answer, answers) = mpsc::channel();
    let mut waits = Vec::new();
    for n in 0..count {
        let body = body(n);
        let answer = answer.clone();
        let started = Instant::now();
        committer.submit(vec![body], Priority::Ordinary, move |outcome| answer.send(outcome).unwrap());
        answers.recv().unwrap().unwrap();
        waits.push(started.elapsed());
    }
    waits
}

fn verification(dir: &Path) {
    let events: u64 = std::env::var("JITSUDO_BENCH_EVENTS").map_or(1_000_000, |text| text.parse().unwrap());
    let path = fresh(dir, "verify");
    let mut writer = Writer::open(&path, Count, options()).unwrap().writer;
    let mut batch = Vec::new();
    for n in 0..events {
        batch.push(body(n));
        if batch.len() == 2000 || n + 1 == events {
            writer.append(&batch, Priority::Ordinary).unwrap();
            writer.fold_written().unwrap();
            batch.clear();
        }
    }
    writer.sync().unwrap();
    let bytes: u64 = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    for threads in [1, 2] {
        let started = Instant::now();
        let report = verify(&path, &[writer.head()], threads).unwrap();
        let seconds = started.elapsed().as_secs_f64();
        assert!(report.is_sound() && report.events == events, "{report:?}");
        println!("verify {events} events of {} bytes, {threads} thread(s)  {seconds:.2} s", bytes / events.max(1));
    }
    println!(
        "SHA instructions: {}",
        if has_sha_instructions() { "yes" } else { "no (the target of 3 s on 2 cores assumes them)" }
    );
}

fn has_sha_instructions() -> bool {
    std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains(" sha_ni") || text.contains(" sha2"))
}

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort_unstable();
    times
}

/// A percentile in milliseconds.
fn at(sorted: &[Duration], percent: usize) -> f64 {
    sorted.get(sorted.len() * percent / 100).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}
