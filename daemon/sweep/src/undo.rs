//! Has an effect taken back by a worker of its own: one that hangs keeps no other from its end.

use std::os::fd::AsFd as _;
use std::path::Path;

use jitsudo_core::lends::Effect;
use jitsudo_link::LIBEXEC;
use jitsudo_link::notes::Note;
use jitsudo_link::spawner::{self, TakenBack};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use jitsudo_sys::{child, clock};

/// Milliseconds for one effect.
const PATIENCE_MS: u64 = 60_000;

/// Takes an effect back; in words why it may still be there.
pub(crate) fn undo(note: &Note, effect: &Effect) -> Result<(bool, Option<String>), String> {
    let order = spawner::Effect::UndoEffect { note: Box::new(note.clone()), effect: effect.clone() };
    let text = serde_json::to_vec(&order).map_err(|error| error.to_string())?;
    let (ours, theirs) = Channel::pair().map_err(|error| format!("cannot make a socket: {error}"))?;
    let worker = child::start(&Path::new(LIBEXEC).join("jitsudo-effects"), &[], &theirs)
        .map_err(|error| format!("cannot start jitsudo-effects: {error}"))?;
    drop(theirs);
    let answer = ours
        .send(&text, &[])
        .map_err(|error| format!("cannot reach jitsudo-effects: {error}"))
        .and_then(|()| answer(&ours));
    worker.end();
    match answer? {
        TakenBack::Done { removed, remark } => Ok((removed, remark)),
        TakenBack::Failed(cause) => Err(cause),
    }
}

fn answer(channel: &Channel) -> Result<TakenBack, String> {
    let until_ms = clock::boottime_ms().saturating_add(PATIENCE_MS);
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
