//! Events as a ledger or a spool may hold them: any order of them adds up to some state.

use jitsudo_core::event::Entry;
use jitsudo_core::state::State;

/// Entries, a line each.
pub(crate) fn events(bytes: &[u8]) {
    let mut state = State::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(entry) = serde_json::from_slice::<Entry>(line) else { continue };
        state.apply(&entry);
    }
    for access in state.live_accesses() {
        assert!(access.given().is_some(), "{} is live and was never given", access.id());
    }
    let snapshot = serde_json::to_string(&state).expect("a state can be written");
    let restored: State = serde_json::from_str(&snapshot).expect("a snapshot can be read");
    assert_eq!(restored, state);
}
