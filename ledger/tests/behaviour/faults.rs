//! Every write and sync fails once, the power fails anywhere: nothing acknowledged is lost, nothing is made up.

use jitsudo_ledger::{AppendError, Body, Options, Priority, Writer, verify};
use proptest::prelude::*;

use crate::faulty::{Counts, Fault, Faulty};
use crate::fixture::{Collect, Dice, TempDir, body, seed, small, sweeps_all};

/// What a caller knows: what it tried, what it was told is durable.
#[derive(Default)]
struct Caller {
    tried: Vec<u64>,
    acknowledged: Vec<u64>,
}

impl Caller {
    /// Writes some batches, one to three a sync; after a failure reads the file again and goes on.
    fn write(&mut self, writer: &mut Writer<Collect, Faulty>, groups: usize) {
        for group in 0..groups {
            let mut waiting = Vec::new();
            let mut outcome = Ok(());
            for _ in 0..=group % 3 {
                let first = self.tried.len() as u64 + 1;
                let numbers: Vec<u64> = (first..first + 2).collect();
                let bodies: Vec<Body> = numbers.iter().map(|n| body(*n)).collect();
                self.tried.extend(&numbers);
                outcome = writer.append(&bodies, Priority::Ordinary).map(|_| ());
                if outcome.is_err() {
                    break;
                }
                waiting.extend(numbers);
            }
            match outcome.and_then(|()| writer.sync()).and_then(|()| writer.fold_written()) {
                Ok(()) => self.acknowledged.extend(waiting),
                Err(error) if error.needs_reopen() => {
                    // A second fault is not injected, so the second try succeeds at the latest.
                    writer.reopen().or_else(|_| writer.reopen()).unwrap();
                }
                // What was written before stays, and is not acknowledged.
                Err(AppendError::Full) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }

    /// Everything acknowledged is there, in order, once; everything there was tried.
    fn check(&self, found: &[u64], context: &str) {
        assert!(found.is_sorted_by(|one, next| one < next), "{context}: out of order or twice: {found:?}");
        for n in &self.acknowledged {
            assert!(found.contains(n), "{context}: {n} was acknowledged and is lost: {found:?}");
        }
        for n in found {
            assert!(self.tried.contains(n), "{context}: {n} is invented");
        }
    }
}

fn open(disk: &Faulty) -> Writer<Collect, Faulty> {
    Writer::open_in(disk.clone(), Collect, small()).unwrap().writer
}

/// The verifier finds nothing wrong with what stands on the disk now.
fn prove(disk: &Faulty, context: &str) {
    let dir = TempDir::new();
    disk.lay_out(dir.path());
    let report = verify(dir.path(), &[], 1).unwrap();
    assert!(report.is_sound(), "{context}: {:?}", report.bad);
}

const GROUPS: usize = 6;

fn run_with(fault: Fault, crash_seed: u64, restart_first: bool) {
    let context = format!("{fault:?}, crash {crash_seed}, restart {restart_first}");
    let disk = Faulty::default();
    let mut writer = open(&disk);
    let mut caller = Caller::default();
    disk.set_fault(Some(fault));
    caller.write(&mut writer, GROUPS);
    drop(writer);
    disk.set_fault(None);
    let mut dice = Dice::new(crash_seed);
    if restart_first {
        // The process alone is new: it finds what the cache shows.
        let mut writer = open(&disk);
        caller.check(writer.state().unwrap(), &context);
        caller.write(&mut writer, 1);
    }
    disk.crash(&mut dice);
    let mut writer = open(&disk);
    caller.check(writer.state().unwrap(), &context);
    caller.write(&mut writer, 2);
    caller.check(writer.state().unwrap(), &context);
    prove(&disk, &context);
}

fn counts() -> Counts {
    let disk = Faulty::default();
    let mut writer = open(&disk);
    disk.take_counts();
    Caller::default().write(&mut writer, GROUPS);
    disk.take_counts()
}

#[test]
fn crash_recovery_03_every_failed_write_and_sync_loses_and_invents_nothing() {
    let counts = counts();
    assert!(counts.renames >= 3, "the run seals segments");
    let mut faults = Vec::new();
    for nth in 1..=counts.writes {
        faults.extend([Fault::Write { nth, part: false }, Fault::Write { nth, part: true }]);
        faults.extend([Fault::Short { nth }, Fault::Full { nth }]);
    }
    for nth in 1..=counts.syncs {
        faults.extend([Fault::Sync { nth, reached: false }, Fault::Sync { nth, reached: true }]);
    }
    faults.extend((1..=counts.dir_syncs).map(|nth| Fault::SyncDir { nth }));
    for nth in 1..=counts.renames {
        faults.extend([Fault::Rename { nth, done: false }, Fault::Rename { nth, done: true }]);
    }
    faults.extend((1..=counts.sizes + 3).map(|nth| Fault::Size { nth }));
    let crashes = if sweeps_all() { 200 } else { 6 };
    let first = seed();
    for fault in faults {
        for crash in first..first + crashes {
            run_with(fault, crash, crash % 2 == 0);
        }
    }
}

#[test]
fn crash_recovery_03_failed_sync_poisons_until_reopened() {
    let disk = Faulty::default();
    let mut writer = open(&disk);
    disk.set_fault(Some(Fault::Sync { nth: 1, reached: false }));
    writer.append(&[body(1)], Priority::Ordinary).unwrap();
    let failure = writer.sync().unwrap_err();
    assert!(matches!(failure, AppendError::Sync(_)));
    for priority in [Priority::Ordinary, Priority::Essential] {
        assert_eq!(writer.append(&[body(2)], priority), Err(failure.clone()));
    }
    assert_eq!(writer.sync(), Err(failure), "a second sync that succeeds proves nothing");
    let found = writer.reopen().unwrap();
    assert_eq!(found.head.seq, 1, "what was never acknowledged is cut");
    assert!(found.cut.is_some());
    writer.append(&[body(2)], Priority::Ordinary).unwrap();
    writer.sync().unwrap();
    assert_eq!(writer.state().unwrap(), &[2]);
}

#[test]
fn failed_sync_then_restart_builds_only_on_what_is_on_disk() {
    // The new process cannot know of the failure, and reads from the cache what the disk does not have.
    let disk = Faulty::default();
    let mut writer = open(&disk);
    disk.set_fault(Some(Fault::Sync { nth: 1, reached: false }));
    writer.append(&[body(1)], Priority::Ordinary).unwrap();
    writer.sync().unwrap_err();
    drop(writer);
    disk.set_fault(None);
    let mut writer = open(&disk);
    writer.append(&[body(2)], Priority::Ordinary).unwrap();
    writer.sync().unwrap();
    drop(writer);
    // Nothing pends, so the crash takes only what never was durable.
    disk.crash(&mut Dice::new(1));
    assert_eq!(open(&disk).state().unwrap(), &[1, 2]);
}

#[test]
fn append_is_one_write_and_sync_one_fdatasync() {
    let disk = Faulty::default();
    let options = Options { reserve_bytes: 0, ..Options::default() };
    let mut writer = Writer::open_in(disk.clone(), Collect, options).unwrap().writer;
    disk.take_counts();
    writer.append_all(&[&[body(1), body(2)], &[body(3)]], Priority::Ordinary).unwrap();
    writer.sync().unwrap();
    writer.sync().unwrap();
    let counts = disk.take_counts();
    assert_eq!((counts.writes, counts.syncs, counts.sizes), (1, 1, 0));
}

#[test]
fn crash_recovery_03_full_disk_records_endings_and_refuses_the_rest() {
    let disk = Faulty::default();
    let options = Options { seal_bytes: 4 << 20, reserve_bytes: 3 << 20, owner: None };
    let mut writer = Writer::open_in(disk.clone(), Collect, options.clone()).unwrap().writer;
    assert_eq!(writer.reserve_bytes(), 3 << 20);
    disk.set_capacity(Some(disk.used() + 100));
    assert_eq!(writer.append(&[body(1)], Priority::Ordinary), Err(AppendError::Full));
    writer.append(&[body(2)], Priority::Essential).unwrap();
    writer.sync().unwrap();
    assert!(writer.reserve_bytes() < 3 << 20);
    assert_eq!(
        writer.append(&[body(3)], Priority::Ordinary),
        Err(AppendError::Full),
        "what the reserve gave is not for ordinary lines"
    );
    writer.append(&[body(4)], Priority::Essential).unwrap();
    writer.sync().unwrap();
    drop(writer);
    // A restart on the full disk changes none of it.
    let mut writer = Writer::open_in(disk.clone(), Collect, options).unwrap().writer;
    assert_eq!(writer.state().unwrap(), &[2, 4]);
    assert_eq!(writer.append(&[body(5)], Priority::Ordinary), Err(AppendError::Full));
    disk.set_capacity(None);
    writer.append(&[body(6)], Priority::Ordinary).unwrap();
    writer.sync().unwrap();
    assert_eq!(writer.reserve_bytes(), 3 << 20, "space is back: the reserve is whole again");
    assert_eq!(writer.state().unwrap(), &[2, 4, 6]);
    prove(&disk, "after a full disk");
}

#[test]
fn crash_recovery_03_room_is_seen_when_it_is_there_again_and_no_line_is_written_for_that() {
    for reserve_bytes in [0, 1 << 20] {
        let disk = Faulty::default();
        let options = Options { seal_bytes: 4 << 20, reserve_bytes, owner: None };
        let mut writer = Writer::open_in(disk.clone(), Collect, options).unwrap().writer;
        let used = disk.used();
        disk.set_capacity(Some(used + 10));
        assert_eq!(writer.append(&[body(1)], Priority::Ordinary), Err(AppendError::Full));
        assert_eq!(writer.look_for_room(), Err(AppendError::Full), "the reserve is whole and there is no room");
        assert_eq!(disk.used(), used, "what was tried is given back");
        disk.set_capacity(None);
        let head = writer.head();
        writer.look_for_room().unwrap();
        assert_eq!((writer.head(), writer.reserve_bytes(), disk.used()), (head, reserve_bytes, used));
        writer.append(&[body(2)], Priority::Ordinary).unwrap();
        writer.sync().unwrap();
        assert_eq!(writer.state().unwrap(), &[2]);
        prove(&disk, "after a full disk");
    }
}

#[test]
fn crash_recovery_03_reserve_used_up_refuses_and_loses_nothing() {
    let disk = Faulty::default();
    let options = Options { seal_bytes: 64 << 20, reserve_bytes: 1 << 20, owner: None };
    let mut writer = Writer::open_in(disk.clone(), Collect, options.clone()).unwrap().writer;
    disk.set_capacity(Some(disk.used() + 10));
    let padding = "x".repeat(100_000);
    let mut taken = Vec::new();
    for n in 1..20 {
        let body = Body::new(format!("{{\"event\":\"n\",\"n\":{n},\"pad\":\"{padding}\"}}")).unwrap();
        match writer.append(&[body], Priority::Essential).and_then(|_| writer.sync()) {
            Ok(()) => taken.push(n),
            Err(error) => assert_eq!(error, AppendError::Full),
        }
    }
    assert!((5..=10).contains(&taken.len()), "{taken:?}");
    drop(writer);
    let mut writer = Writer::open_in(disk, Collect, options).unwrap().writer;
    assert_eq!(writer.state().unwrap(), &taken);
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    Fail(Fault),
    Restart,
    Crash(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let fault = (1u64..4, any::<bool>(), 0..7u8).prop_map(|(nth, flag, kind)| match kind {
        0 => Fault::Write { nth, part: flag },
        1 => Fault::Short { nth },
        2 => Fault::Full { nth },
        3 => Fault::SyncDir { nth },
        4 => Fault::Rename { nth, done: flag },
        5 => Fault::Size { nth },
        _ => Fault::Sync { nth, reached: flag },
    });
    prop_oneof![
        4 => (1usize..5).prop_map(Step::Write),
        2 => fault.prop_map(Step::Fail),
        1 => Just(Step::Restart),
        2 => any::<u64>().prop_map(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if sweeps_all() { 20_000 } else { 200 }, ..ProptestConfig::default() })]
    #[test]
    fn audit_log_05_any_way_of_failing_loses_and_invents_nothing(steps in proptest::collection::vec(step(), 1..14)) {
        let disk = Faulty::default();
        let mut caller = Caller::default();
        let mut writer = Some(open(&disk));
        for step in steps {
            match step {
                Step::Write(batches) => {
                    let writer = writer.get_or_insert_with(|| open(&disk));
                    caller.write(writer, batches);
                }
                Step::Fail(fault) => {
                    writer.get_or_insert_with(|| open(&disk));
                    disk.set_fault(Some(fault));
                }
                Step::Restart | Step::Crash(_) => {
                    writer = None;
                    disk.set_fault(None);
                    if let Step::Crash(seed) = step {
                        disk.crash(&mut Dice::new(seed));
                    }
                    let found = writer.insert(open(&disk));
                    caller.check(found.state().unwrap(), "after a step");
                }
            }
        }
        drop(writer);
        disk.set_fault(None);
        disk.crash(&mut Dice::new(7));
        let mut writer = open(&disk);
        caller.check(writer.state().unwrap(), "at the end");
        prove(&disk, "at the end");
    }
}
