//! Group commit.

use std::sync::mpsc;

use jitsudo_ledger::{AppendError, Committer, Options, Priority, Writer, read, verify};

use crate::faulty::{Fault, Faulty};
use crate::fixture::{Collect, TempDir, body, open, small};

#[test]
fn every_submitter_is_answered_once_with_its_own_lines() {
    let dir = TempDir::new();
    let committer = Committer::start(open(&dir, Options { seal_bytes: 20_000, ..small() }).writer).unwrap();
    let (answer, answers) = mpsc::channel();
    std::thread::scope(|scope| {
        for submitter in 0..8u64 {
            let (committer, answer) = (&committer, answer.clone());
            scope.spawn(move || {
                for round in 0..50 {
                    let n = submitter * 1000 + round;
                    let answer = answer.clone();
                    let tell = move |outcome| answer.send((n, outcome)).unwrap();
                    committer.submit(vec![body(n), body(n + 100_000)], Priority::Ordinary, tell);
                }
            });
        }
    });
    committer.stop();
    drop(answer);
    let mut told: Vec<(u64, u64)> = Vec::new();
    let mut heads = Vec::new();
    for (n, outcome) in answers {
        let receipt: jitsudo_ledger::Receipt = outcome.unwrap();
        assert_eq!(receipt.last_seq, receipt.first_seq + 1);
        told.extend([(receipt.first_seq, n), (receipt.last_seq, n + 100_000)]);
        heads.push(receipt.head);
    }
    told.sort_unstable();
    assert_eq!(told.len(), 800);
    let written: Vec<(u64, u64)> = read(dir.path(), 0, |_| true)
        .unwrap()
        .map(|line| {
            let line = line.unwrap();
            let value: serde_json::Value = serde_json::from_slice(&line.bytes).unwrap();
            (line.seq, value["n"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(told, written);
    assert!(verify(dir.path(), &heads[..20], 2).unwrap().is_sound());
}

#[test]
fn submitters_that_wait_together_share_a_sync() {
    let disk = Faulty::default();
    let options = Options { reserve_bytes: 0, ..Options::default() };
    let committer = Committer::start(Writer::open_in(disk.clone(), Collect, options).unwrap().writer).unwrap();
    let (opened, gate) = mpsc::channel::<()>();
    let (answer, answers) = mpsc::channel();
    // The first answer holds the thread until all others wait.
    committer.submit(vec![body(0)], Priority::Ordinary, move |_| gate.recv().unwrap());
    for n in 1..=32 {
        let answer = answer.clone();
        committer.submit(vec![body(n)], Priority::Ordinary, move |outcome| answer.send(outcome).unwrap());
    }
    disk.take_counts();
    opened.send(()).unwrap();
    for _ in 1..=32 {
        answers.recv().unwrap().unwrap();
    }
    let counts = disk.take_counts();
    // The first one may not have been taken when the counts were: then it is one more of each, at most.
    assert!(counts.writes <= 2 && counts.syncs <= 2, "{} writes, {} syncs", counts.writes, counts.syncs);
}

#[test]
fn failed_sync_refuses_all_that_waited_and_reopening_goes_on() {
    let disk = Faulty::default();
    let committer = Committer::start(Writer::open_in(disk.clone(), Collect, small()).unwrap().writer).unwrap();
    disk.set_fault(Some(Fault::Sync { nth: 1, reached: true }));
    let ask = |n| {
        let (answer, answers) = mpsc::channel();
        committer.submit(vec![body(n)], Priority::Essential, move |outcome| answer.send(outcome).unwrap());
        answers.recv().unwrap()
    };
    assert!(matches!(ask(1), Err(AppendError::Sync(_))));
    assert!(matches!(ask(2), Err(AppendError::Sync(_))));
    let (answer, answers) = mpsc::channel();
    committer.reopen(move |outcome| answer.send(outcome.unwrap()).unwrap());
    assert_eq!(answers.recv().unwrap().head.seq, 1);
    assert_eq!(ask(3).unwrap().first_seq, 2);
}

#[test]
fn crash_recovery_03_full_disk_takes_only_the_essential_of_a_group() {
    let disk = Faulty::default();
    let options = Options { reserve_bytes: 2 << 20, ..Options::default() };
    let committer = Committer::start(Writer::open_in(disk.clone(), Collect, options).unwrap().writer).unwrap();
    disk.set_capacity(Some(disk.used()));
    let (opened, gate) = mpsc::channel::<()>();
    committer.submit(vec![body(0)], Priority::Ordinary, move |_| gate.recv().unwrap());
    let (answer, answers) = mpsc::channel();
    for (n, priority) in [(1, Priority::Ordinary), (2, Priority::Essential), (3, Priority::Ordinary)] {
        let answer = answer.clone();
        committer.submit(vec![body(n)], priority, move |outcome| answer.send((n, outcome)).unwrap());
    }
    opened.send(()).unwrap();
    drop(answer);
    let outcomes: Vec<(u64, bool)> = answers.iter().map(|(n, outcome)| (n, outcome.is_ok())).collect();
    assert_eq!(outcomes, [(1, false), (2, true), (3, false)]);
}

#[test]
fn ordinary_batches_beyond_the_limit_are_busy() {
    let disk = Faulty::default();
    let options = Options { reserve_bytes: 0, ..Options::default() };
    let committer = Committer::start(Writer::open_in(disk, Collect, options).unwrap().writer).unwrap();
    let (opened, gate) = mpsc::channel::<()>();
    let (reached, held) = mpsc::channel();
    committer.submit(vec![body(0)], Priority::Ordinary, move |_| {
        reached.send(()).unwrap();
        gate.recv().unwrap();
    });
    held.recv().unwrap();
    let (answer, answers) = mpsc::channel();
    for n in 1..=4097 {
        let answer = answer.clone();
        committer.submit(vec![body(n)], Priority::Ordinary, move |outcome| answer.send(outcome).unwrap());
    }
    assert_eq!(answers.recv().unwrap(), Err(AppendError::Busy), "it is answered although the thread is held");
    let essential = answer.clone();
    committer.submit(vec![body(9999)], Priority::Essential, move |outcome| essential.send(outcome).unwrap());
    opened.send(()).unwrap();
    committer.stop();
    drop(answer);
    assert_eq!(answers.iter().filter(Result::is_ok).count(), 4097);
}

#[test]
fn callback_that_panics_stops_nobody_else() {
    let committer = Committer::start(Writer::open_in(Faulty::default(), Collect, small()).unwrap().writer).unwrap();
    committer.submit(vec![body(1)], Priority::Ordinary, |_| panic!("on purpose"));
    let (answer, answers) = mpsc::channel();
    committer.submit(vec![body(2)], Priority::Ordinary, move |outcome| answer.send(outcome).unwrap());
    assert!(answers.recv().unwrap().is_ok());
}
