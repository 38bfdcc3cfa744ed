//! What was learnt of each connection lately: the spawner's own copy, so that a start is judged by facts that the decider never touched.

use std::os::fd::AsFd as _;

use jitsudo_link::facts::{About, Learnt, Peer};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::nix::sys::stat::fstat;

/// Most connections remembered.
const MAX: usize = 1024;
/// Milliseconds that a look holds for a start.
const HOLDS_MS: u64 = 60_000;

/// One look. The connection is held open, so that its inode number stays its own.
pub(crate) struct Look {
    connection: Channel,
    pub(crate) peer: Peer,
    pub(crate) about: About,
    pub(crate) learnt: Box<Learnt>,
    at_ms: u64,
}

/// The looks of the last minute.
#[derive(Default)]
pub(crate) struct Looked(Vec<Look>);

impl Looked {
    /// Remembers a look; an older one of the same connection goes.
    pub(crate) fn remember(&mut self, connection: Channel, peer: Peer, about: About, learnt: Box<Learnt>, now_ms: u64) {
        self.forget(&connection, now_ms);
        if self.0.len() < MAX {
            self.0.push(Look { connection, peer, about, learnt, at_ms: now_ms });
        }
    }

    /// Takes the look of exactly this connection, if it still holds: each serves one start.
    pub(crate) fn take(&mut self, connection: &Channel, now_ms: u64) -> Option<Look> {
        let wanted = socket(connection)?;
        let place = self.0.iter().position(|look| socket(&look.connection) == Some(wanted))?;
        let look = self.0.swap_remove(place);
        (now_ms.saturating_sub(look.at_ms) <= HOLDS_MS).then_some(look)
    }

    /// Drops what is too old, and any look of this connection.
    fn forget(&mut self, connection: &Channel, now_ms: u64) {
        let wanted = socket(connection);
        self.0.retain(|look| now_ms.saturating_sub(look.at_ms) <= HOLDS_MS && socket(&look.connection) != wanted);
    }

    /// Drops what is too old.
    pub(crate) fn tidy(&mut self, now_ms: u64) {
        self.0.retain(|look| now_ms.saturating_sub(look.at_ms) <= HOLDS_MS);
    }
}

/// The inode of a socket in sockfs: the same for every descriptor of one socket, another for every other open one.
fn socket(channel: &Channel) -> Option<u64> {
    fstat(channel.as_fd()).ok().map(|stat| stat.st_ino)
}
