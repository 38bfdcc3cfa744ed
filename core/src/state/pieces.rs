//! A snapshot read in pieces, so that several hands can: nearly all of it is accesses, and each of these reads by itself.
//!
//! MUST: what is read in pieces is what is read whole, or nothing (`snapshot_in_pieces_is_the_snapshot`): each piece must read to its very end
//! as members of one object, so that a cut in the wrong place reads as nothing.

use std::sync::Arc;

use super::State;
use super::access::Access;
use super::accesses::Accesses;
use crate::id::AccessId;

/// How [`State`] writes itself down begins so: `accesses` is its first field.
const BEGIN: &[u8] = b"{\"accesses\":{";
/// What follows the accesses. No text of theirs holds it: a quotation mark in one is escaped.
const END: &[u8] = b"},\"over\":";
/// Letters of an id.
const ID: usize = 26;

/// A snapshot whose accesses are still to be read, by [`read_piece`].
#[derive(Debug)]
pub struct Pieces<'a> {
    accesses: Vec<&'a [u8]>,
    /// The snapshot as it were with none.
    rest: Vec<u8>,
}

impl<'a> Pieces<'a> {
    /// Cuts a snapshot into so many pieces, or fewer; `None` for one that does not look as [`State`] writes it, which is to be read whole.
    #[must_use]
    pub fn of(snapshot: &'a [u8], count: usize) -> Option<Self> {
        let body = snapshot.strip_prefix(BEGIN)?;
        let end = body.windows(END.len()).rposition(|window| window == END)?;
        let (mut members, after) = body.split_at_checked(end)?;
        let step = members.len() / count.max(1) + 1;
        let mut accesses = Vec::with_capacity(count);
        while let Some(cut) = next_member(members, step) {
            let (piece, others) = members.split_at_checked(cut)?;
            accesses.push(piece);
            members = others.get(1..)?;
        }
        accesses.push(members);
        Some(Self { accesses, rest: [BEGIN, after].concat() })
    }

    /// The pieces, in order.
    #[must_use]
    pub fn accesses(&self) -> &[&'a [u8]] {
        &self.accesses
    }

    /// The state, of all that was read of its pieces; `None` when the rest does not read.
    #[must_use]
    pub fn join(self, accesses: Vec<Vec<Arc<Access>>>) -> Option<State> {
        let mut state: State = serde_json::from_slice(&self.rest).ok()?;
        state.accesses = Accesses::of_all(accesses.into_iter().flatten());
        Some(state)
    }
}

/// The accesses of a piece; `None` when it does not read.
#[must_use]
pub fn read_piece(mut piece: &[u8]) -> Option<Vec<Arc<Access>>> {
    let mut accesses = Vec::new();
    while !piece.is_empty() {
        let (id, rest) = piece.strip_prefix(b"\"")?.split_at_checked(ID)?;
        std::str::from_utf8(id).ok()?.parse::<AccessId>().ok()?;
        let rest = rest.strip_prefix(b"\":")?;
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<Access>();
        accesses.push(Arc::new(values.next()?.ok()?));
        piece = match rest.get(values.byte_offset()..)? {
            [] => break,
            // After a comma there is one more.
            [b',', more @ ..] if !more.is_empty() => more,
            _ => return None,
        };
    }
    Some(accesses)
}

/// The comma behind which the first member at or after a place begins, if there seems to be one.
fn next_member(members: &[u8], from: usize) -> Option<usize> {
    let tail = members.get(from..)?;
    // Behind the end of a value: `,"` the id `":`.
    let is_one = |window: &[u8]| window.starts_with(b"},\"") && window.ends_with(b"\":{");
    tail.windows(3 + ID + 3).position(is_one).map(|place| from + place + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Entry;

    fn state(count: u64) -> State {
        let mut state = State::default();
        for number in 0..count {
            let (id, uid) = (AccessId::new(1_790_000_000_000 + number, [7; 10]), 1000 + number % 7);
            let head = r#""host":"h","boot":"b","wall":"2026-11-21T12:00:00Z","boottime_ms":1000,"actor":{"program":"jitsudod"}"#;
            // A requester may write what looks like the beginning of another access, or like the end of all.
            let odd = r#"},\"01jd0000000000000000000000\":{},\"over\":"#;
            let mut events = vec![
                format!(
                    r#""event":"requested","id":"{id}","uid":{uid},"user":"u","loginuid":{uid},"origin":null,"kind":"role","argv":[],"program":null,
                    "cwd":null,"target":null,"role":"r","reason":"{odd}","ticket":null,"digest":"9c","tty":0,"pid":1"#
                ),
                format!(
                    r#""event":"decided","id":"{id}","allowed":{},"rule":"r","source":"s","role":"r","policy":"9c""#,
                    number % 5 > 0
                ),
            ];
            if number % 3 > 0 {
                let ends = 28_800_000 + number;
                events.push(format!(
                    r#""event":"activating","id":"{id}","ends_at":"2026-11-21T20:00:00Z","ends_boottime_ms":{ends}"#
                ));
                events.push(format!(r#""event":"active","id":"{id}""#));
            }
            for event in events {
                let entry: Entry = serde_json::from_str(&format!("{{{head},{event}}}")).unwrap();
                state.apply(&entry);
            }
        }
        state
    }

    fn by_pieces(snapshot: &[u8], count: usize) -> Option<State> {
        let pieces = Pieces::of(snapshot, count)?;
        let accesses = pieces.accesses().iter().map(|piece| read_piece(piece)).collect::<Option<_>>()?;
        pieces.join(accesses)
    }

    #[test]
    fn snapshot_in_pieces_is_the_snapshot() {
        for accesses in [0, 1, 2, 3, 10, 100] {
            let state = state(accesses);
            let text = serde_json::to_vec(&state).unwrap();
            for count in [0, 1, 2, 3, 7, 1000] {
                let again = by_pieces(&text, count).unwrap();
                assert_eq!(again, state, "{accesses} in {count}");
                // The indexes too.
                for uid in 1000..1007 {
                    let ids = |state: &State| {
                        state.roles_of(crate::name::Uid(uid)).map(|access| access.id().clone()).collect::<Vec<_>>()
                    };
                    assert_eq!(ids(&again), ids(&state));
                }
                let over = |state: &State| {
                    state.ended_by("b", 28_800_050).map(|access| access.id().clone()).collect::<Vec<_>>()
                };
                assert_eq!(over(&again), over(&state));
                assert_eq!(again.accesses.pending_count(), state.accesses.pending_count());
            }
        }
        let text = serde_json::to_vec(&state(100)).unwrap();
        assert!(Pieces::of(&text, 3).unwrap().accesses().len() == 3);
    }

    #[test]
    fn cut_in_a_wrong_place_and_what_is_damaged_reads_as_nothing() {
        let text = serde_json::to_vec(&state(4)).unwrap();
        let body = text.strip_prefix(BEGIN).unwrap();
        let end = body.windows(END.len()).rposition(|window| window == END).unwrap();
        let members = &body[..end];
        let whole = read_piece(members).unwrap();
        for cut in 1..members.len() {
            let (one, other) = members.split_at(cut);
            if let (Some(one), Some(other)) = (read_piece(one), other.get(1..).and_then(read_piece)) {
                assert_eq!([one, other].concat(), whole, "{cut}");
            }
        }
        for damaged in [&b"{}"[..], b"", b"{\"accesses\":{", b"{\"accesses\":{},\"over\":"] {
            assert!(by_pieces(damaged, 2).is_none());
        }
        assert!(read_piece(&[members, b","].concat()).is_none());
    }
}
