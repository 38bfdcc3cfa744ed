//! Has grants taken back by workers, many by one, in the order that has drop-ins wait for no group file. Each that a worker left without an
//! answer gets one of its own: what hangs or dies with one grant keeps no other from its end.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd as _;
use std::path::Path;

use jitsudo_core::id::AccessId;
use jitsudo_core::lends::Effect;
use jitsudo_link::LIBEXEC;
use jitsudo_link::spawner::{self, TakenBack, Undone};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use jitsudo_sys::{child, clock};

/// Milliseconds for one worker.
const PATIENCE_MS: u64 = 60_000;
/// Milliseconds that it may wait for another tool's lock: as long as shadow's own tools wait.
const LOCK_MS: u64 = 18_000;
/// Grants in one order: their ids fit a datagram.
const MAX_IN_ORDER: usize = 1_000;

/// What came of each effect that is noted of a grant.
pub(crate) type Effects = Vec<(Effect, TakenBack)>;

/// Takes back all that is noted of these grants; of each what came of it, or in words why that is not known.
pub(crate) fn undo(ids: &[AccessId]) -> BTreeMap<AccessId, Result<Effects, String>> {
    let mut all = BTreeMap::new();
    for some in ids.chunks(MAX_IN_ORDER) {
        let (answered, _) = by_one_worker(some);
        let left: Vec<&AccessId> = some.iter().filter(|id| !answered.contains_key(*id)).collect();
        all.extend(answered.into_iter().map(|(id, effects)| (id, Ok(effects))));
        for id in left {
            let (mut answered, why) = by_one_worker(std::slice::from_ref(id));
            all.insert(id.clone(), answered.remove(id).ok_or(why));
        }
    }
    all
}

/// What one worker answers until it is done with all; and why nothing more came.
fn by_one_worker(ids: &[AccessId]) -> (BTreeMap<AccessId, Effects>, String) {
    let mut answered = BTreeMap::new();
    let why = order(ids, &mut answered).err().unwrap_or_default();
    (answered, why)
}

fn order(ids: &[AccessId], answered: &mut BTreeMap<AccessId, Effects>) -> Result<(), String> {
    let order = spawner::Effect::UndoGrants { ids: ids.to_vec(), patience_ms: LOCK_MS };
    let text = serde_json::to_vec(&order).map_err(|error| error.to_string())?;
    let (ours, theirs) = Channel::pair().map_err(|error| format!("cannot make a socket: {error}"))?;
    let worker = child::start(&Path::new(LIBEXEC).join("jitsudo-effects"), &[], &theirs)
        .map_err(|error| format!("cannot start jitsudo-effects: {error}"))?;
    drop(theirs);
    let mut wanted: BTreeSet<&AccessId> = ids.iter().collect();
    let outcome =
        ours.send(&text, &[]).map_err(|error| format!("cannot reach jitsudo-effects: {error}")).and_then(|()| {
            let until_ms = clock::boottime_ms().saturating_add(PATIENCE_MS);
            while !wanted.is_empty() {
                let undone = answer(&ours, until_ms)?;
                if wanted.remove(&undone.id) {
                    answered.insert(undone.id, undone.effects);
                }
            }
            Ok(())
        });
    worker.end();
    outcome
}

fn answer(channel: &Channel, until_ms: u64) -> Result<Undone, String> {
    loop {
        let left = until_ms.saturating_sub(clock::boottime_ms());
        let timeout = PollTimeout::from(u16::try_from(left).unwrap_or(u16::MAX));
        match poll(&mut [PollFd::new(channel.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) if left == 0 => return Err("jitsudo-effects took more than a minute".to_owned()),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => break,
            Err(errno) => return Err(format!("cannot wait for jitsudo-effects: {errno}")),
        }
    }
    match channel.receive() {
        Ok(Some(message)) => serde_json::from_slice(&message.bytes)
            .map_err(|error| format!("jitsudo-effects answered nonsense: {error}")),
        Ok(None) | Err(_) => Err("jitsudo-effects ended without an answer".to_owned()),
    }
}
