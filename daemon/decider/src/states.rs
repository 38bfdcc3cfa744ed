//! How lines add up: core's state.

use std::num::NonZero;
use std::sync::OnceLock;
use std::sync::mpsc::Sender;
use std::thread::available_parallelism;

use jitsudo_core::event::Entry;
use jitsudo_core::state::{Pieces, State, read_piece};
use jitsudo_ledger::{Fold, FoldError, Line};

use crate::ledger::Done;

/// Most threads that read one snapshot.
const MAX_HANDS: usize = 4;
/// A snapshot that is shorter is read by one, bytes.
const LONG_BYTES: usize = 1 << 20;

/// See the module.
#[derive(Default)]
pub(crate) struct States {
    /// Who hears of what lines change: the writer's fold and the daemon's hold each access once.
    pub(crate) folded: OnceLock<Sender<Done>>,
}

impl Fold for States {
    type State = State;

    fn empty(&self) -> State {
        State::default()
    }

    fn restore(&self, snapshot: &[u8]) -> Result<State, FoldError> {
        let hands = available_parallelism().map_or(1, NonZero::get).min(MAX_HANDS);
        if let Some(state) = together(snapshot, hands) {
            return Ok(state);
        }
        serde_json::from_slice(snapshot).map_err(|error| FoldError(error.to_string()))
    }

    fn apply(&self, state: &mut State, line: &Line<'_>) -> Result<(), FoldError> {
        let entry: Entry = serde_json::from_slice(line.bytes()).map_err(|error| FoldError(error.to_string()))?;
        state.apply(&entry);
        if let Some(folded) = self.folded.get()
            && let Some(access) = entry.event.access().and_then(|id| state.share(id))
        {
            // Fails only while the daemon ends.
            let _ = folded.send(Done::Folded(access));
        }
        Ok(())
    }

    fn snapshot(&self, state: &State) -> Result<String, FoldError> {
        serde_json::to_string(state).map_err(|error| FoldError(error.to_string()))
    }
}

/// Reads a long snapshot with several threads; `None` where that cannot be, for whatever reason: it is read by one then, who says why not.
fn together(snapshot: &[u8], hands: usize) -> Option<State> {
    if hands < 2 || snapshot.len() < LONG_BYTES {
        return None;
    }
    let pieces = Pieces::of(snapshot, hands)?;
    let accesses = std::thread::scope(|scope| {
        let begin = |piece| std::thread::Builder::new().spawn_scoped(scope, move || read_piece(piece)).ok();
        // All are begun before the first is waited for.
        let reading: Vec<_> = pieces.accesses().iter().map(|piece| begin(piece)).collect();
        reading.into_iter().map(|thread| thread?.join().ok()?).collect::<Option<Vec<_>>>()
    })?;
    pieces.join(accesses)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state with more accesses than one hand reads.
    fn snapshot() -> (State, String) {
        let text = r#"{"host":"h","boot":"b","wall":"2026-11-21T12:00:00Z","boottime_ms":1,"actor":{"program":"jitsudod"},
            "event":"requested","id":"01jd0000000000000000000000","uid":1,"user":"u","loginuid":1,"origin":null,"kind":"role",
            "argv":["},\"01jd0000000000000000000000\":{"],"program":null,"cwd":null,"target":null,"role":"r","reason":"so that there is more of it","ticket":null,
            "digest":"9c","tty":0,"pid":1}"#;
        let mut state = State::default();
        for number in 0..4_000 {
            let id = format!("01jd00000000000000000{number:05}");
            state.apply(&serde_json::from_str(&text.replacen("01jd0000000000000000000000", &id, 1)).unwrap());
        }
        let text = serde_json::to_string(&state).unwrap();
        (state, text)
    }

    #[test]
    fn long_snapshot_is_read_by_several_as_by_one() {
        let (state, text) = snapshot();
        assert!(text.len() >= LONG_BYTES, "{}", text.len());
        for hands in [2, 3, 4] {
            assert!(together(text.as_bytes(), hands).unwrap() == state, "{hands}");
        }
        assert!(States::default().restore(text.as_bytes()).unwrap() == state);
        let broken = text.replacen("\"digest\":\"9c\"", "\"digest\":9", 1);
        assert!(together(broken.as_bytes(), 2).is_none());
        let error = States::default().restore(broken.as_bytes()).unwrap_err();
        assert!(error.0.contains("expected a string"), "{error}");
    }
}
