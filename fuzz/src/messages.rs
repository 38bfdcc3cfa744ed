//! Datagrams between programs: from a client (hostile), and among our own (a broken decider is hostile too).

use jitsudo_core::facts::Facts;
use jitsudo_link::facts::{Answer, Question};
use jitsudo_link::session::{FromSessionToSpawner, Spec};
use jitsudo_link::spawner::{Effect, FromSpawner, ToSpawner};
use jitsudo_protocol::act::{Assembler, MAX_LIST_BYTES, Progress};
use jitsudo_protocol::client::{FromClient, FromDecider, Say};
use jitsudo_protocol::digest;
use jitsudo_protocol::session::{FromSession, ToSession, read_answer};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What is accepted is written and read back the same.
fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(bytes).ok()?;
    let again = serde_json::to_vec(&value).expect("what was read can be written");
    let read: T = serde_json::from_slice(&again).expect("what was written can be read");
    assert_eq!(read, value);
    Some(value)
}

/// Datagrams of one client, a line each: an act comes together within its limits or not at all.
pub(crate) fn client(bytes: &[u8]) {
    let mut arriving: Option<Assembler> = None;
    for datagram in bytes.split(|byte| *byte == b'\n') {
        let _ = survives::<FromDecider>(datagram);
        let Some(message) = survives::<FromClient>(datagram) else { continue };
        let progress = match (message.say, arriving.take()) {
            (Say::Run(start), None) => Assembler::begin(*start),
            (Say::More(more), Some(assembler)) => assembler.more(more),
            _ => continue,
        };
        match progress {
            Ok(Progress::More(assembler)) => arriving = Some(assembler),
            Ok(Progress::Whole(act)) => {
                let length = |list: &[jitsudo_bytes::Bytes]| list.iter().map(|one| one.0.len()).sum::<usize>();
                assert!(length(&act.argv) <= MAX_LIST_BYTES && length(&act.env) <= MAX_LIST_BYTES);
                assert!(act.argv.iter().chain(&act.env).all(|one| !one.0.contains(&0)), "a NUL came through");
                let (start, more) = act.split();
                let again = more.into_iter().try_fold(Assembler::begin(start), |progress, more| match progress {
                    Ok(Progress::More(assembler)) => Ok(assembler.more(more)),
                    other => Err(format!("{other:?}")),
                });
                match again {
                    Ok(Ok(Progress::Whole(same))) => {
                        assert_eq!(digest::of_act(1, &same), digest::of_act(1, &act));
                    }
                    other => panic!("an act that was split does not come together: {other:?}"),
                }
            }
            Err(_) => {}
        }
    }
}

/// Datagrams of a session's socket.
pub(crate) fn session(bytes: &[u8]) {
    let message = survives::<ToSession>(bytes);
    assert!(message.is_none() || read_answer(bytes).is_none(), "a message is also an answer");
    let _ = survives::<FromSession>(bytes);
    let _ = survives::<FromSessionToSpawner>(bytes);
}

/// Datagrams of the spawner's sockets.
pub(crate) fn spawner(bytes: &[u8]) {
    let _ = survives::<ToSpawner>(bytes);
    let _ = survives::<FromSpawner>(bytes);
    let _ = survives::<Spec>(bytes);
    let _ = survives::<Question>(bytes);
    let _ = survives::<Answer>(bytes);
    let _ = survives::<Effect>(bytes);
    let _ = survives::<Facts>(bytes);
}
