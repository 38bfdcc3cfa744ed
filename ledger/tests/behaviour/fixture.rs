//! A fold that remembers every event, a directory that goes away, and small ledgers.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use jitsudo_ledger::{Body, Disk, Fold, FoldError, Head, Line, Opened, Options, Priority, Storage, Writer};

/// The state is the list of all events' numbers `n`.
pub(crate) struct Collect;

impl Fold for Collect {
    type State = Vec<u64>;
    fn empty(&self) -> Vec<u64> {
        Vec::new()
    }
    fn restore(&self, snapshot: &[u8]) -> Result<Vec<u64>, FoldError> {
        serde_json::from_slice(snapshot).map_err(|error| FoldError(error.to_string()))
    }
    fn apply(&self, state: &mut Vec<u64>, line: &Line<'_>) -> Result<(), FoldError> {
        let value: serde_json::Value =
            serde_json::from_slice(line.bytes()).map_err(|error| FoldError(error.to_string()))?;
        if value["event"] != "n" {
            return Err(FoldError(format!("cannot read event {}", value["event"])));
        }
        state.push(value["n"].as_u64().ok_or_else(|| FoldError("no n".to_owned()))?);
        Ok(())
    }
    fn snapshot(&self, state: &Vec<u64>) -> Result<String, FoldError> {
        serde_json::to_string(state).map_err(|error| FoldError(error.to_string()))
    }
}

pub(crate) fn body(n: u64) -> Body {
    Body::new(format!("{{\"event\":\"n\",\"n\":{n}}}")).unwrap()
}

pub(crate) fn small() -> Options {
    Options { seal_bytes: 700, reserve_bytes: 0, owner: None }
}

/// A directory under the temporary one, removed at the end.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("jitsudo-ledger-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        Disk::make_dir(&path).unwrap();
        Self(path)
    }
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
    pub(crate) fn segment(&self, number: u32) -> PathBuf {
        self.0.join(format!("{number:08}.jsonl"))
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn open(dir: &TempDir, options: Options) -> Opened<Collect, Disk> {
    Writer::open(dir.path(), Collect, options).unwrap()
}

pub(crate) fn append<S: Storage>(writer: &mut Writer<Collect, S>, numbers: impl IntoIterator<Item = u64>) -> Vec<Head> {
    let mut heads = Vec::new();
    for n in numbers {
        heads.push(writer.append(&[body(n)], Priority::Ordinary).unwrap().head);
        writer.sync().unwrap();
    }
    heads
}

/// A ledger of `events` events in segments of about three, and the head after each.
pub(crate) fn ledger(events: u64) -> (TempDir, Vec<Head>) {
    let dir = TempDir::new();
    let mut opened = open(&dir, small());
    let heads = append(&mut opened.writer, 1..=events);
    (dir, heads)
}

pub(crate) fn sweeps_all() -> bool {
    std::env::var("JITSUDO_SWEEP").is_ok_and(|value| value == "all")
}

/// The seed of a random sweep, printed so that a failure can be repeated.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("JITSUDO_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or(if sweeps_all() { u64::from(std::process::id()) } else { 1 });
    eprintln!("JITSUDO_SEED={seed}");
    seed
}

/// xorshift64*: enough chance for tests.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % bound.max(1)
    }
}
