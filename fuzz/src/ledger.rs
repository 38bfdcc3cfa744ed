//! What a ledger's files may hold after a crash, or after somebody edited them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use jitsudo_ledger::{Body, Disk, Fold, FoldError, Line, Options, Priority, Writer, verify};

/// One line: whatever is changed in an intact one, it is not intact any more.
pub(crate) fn line(bytes: &[u8]) {
    let Ok(line) = Line::parse(bytes) else { return };
    if !line.is_intact() {
        return;
    }
    for place in [0, bytes.len() / 3, bytes.len() / 2, bytes.len().saturating_sub(2)] {
        let mut edited = bytes.to_vec();
        if let Some(byte) = edited.get_mut(place) {
            *byte ^= 1;
        }
        assert!(!Line::parse(&edited).is_ok_and(|line| line.is_intact()), "an edit at {place} goes unseen");
    }
}

/// A segment: verifying ends, and what the writer opens it continues soundly.
pub(crate) fn segment(bytes: &[u8]) {
    let folder = Folder::new();
    let first = folder.0.join("00000001.jsonl");
    std::fs::write(&first, bytes).expect("a folder of our own takes a file");
    let before = verify(&folder.0, &[], 1).expect("a folder of our own can be read");
    let options = Options { seal_bytes: 1 << 20, reserve_bytes: 0, owner: None };
    let Ok(mut opened) = Writer::open(&folder.0, Count, options) else { return };
    let body = Body::new("{\"event\":\"n\"}".to_owned()).expect("it is a body");
    opened.writer.append(&[body], Priority::Ordinary).expect("an opened ledger takes an event");
    opened.writer.sync().expect("a folder of our own can be synced");
    drop(opened);
    let after = verify(&folder.0, &[], 1).expect("a folder of our own can be read");
    assert!(after.is_sound() || !before.is_sound(), "a sound ledger became unsound by an event");
}

/// Counts lines; takes any event.
struct Count;

impl Fold for Count {
    type State = u64;
    fn empty(&self) -> u64 {
        0
    }
    fn restore(&self, snapshot: &[u8]) -> Result<u64, FoldError> {
        serde_json::from_slice(snapshot).map_err(|error| FoldError(error.to_string()))
    }
    fn apply(&self, state: &mut u64, _: &Line<'_>) -> Result<(), FoldError> {
        *state += 1;
        Ok(())
    }
    fn snapshot(&self, state: &u64) -> Result<String, FoldError> {
        Ok(state.to_string())
    }
}

/// A folder that is gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("jitsudo-fuzz-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        Disk::make_dir(&path).expect("the temporary folder takes one of ours");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
