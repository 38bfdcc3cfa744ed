//! What was learnt of each connection lately: the spawner's own copy, so that a start is judged by facts that the decider never touched.

use std::collections::HashMap;
use std::os::fd::AsFd as _;

use jitsudo_link::facts::{About, Learnt, Peer};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::nix::sys::stat::fstat;

/// Most connections remembered.
const MAX: usize = 1024;
/// Of those, one account's: as many connections as the decider lets it have at once.
const MAX_OF_ACCOUNT: usize = 64;
/// Milliseconds that a look holds for a start.
const HOLDS_MS: u64 = 60_000;

/// One look. The connection is held open, so that its inode number stays its own.
pub(crate) struct Look {
    connection: Channel,
    pub(crate) peer: Peer,
    pub(crate) about: About,
    pub(crate) learnt: Box<Learnt>,
    /// The decider's connection that asked for it.
    decider: u64,
    at_ms: u64,
}

/// The looks of the last minute.
#[derive(Default)]
pub(crate) struct Looked(Vec<Look>);

impl Looked {
    /// Remembers a look; an older one of the same connection goes. Who has too many loses its own oldest, nobody another's.
    pub(crate) fn remember(
        &mut self,
        (decider, connection): (u64, Channel),
        peer: Peer,
        about: About,
        learnt: Box<Learnt>,
        now_ms: u64,
    ) {
        self.forget(&connection, now_ms);
        while let Some(place) = crowded(self.0.iter().map(|look| look.peer.uid), peer.uid) {
            // Not swapped: they lie in the order of their age.
            self.0.remove(place);
        }
        self.0.push(Look { connection, peer, about, learnt, decider, at_ms: now_ms });
    }

    /// Takes the look of exactly this connection, if it still holds: each serves one start.
    pub(crate) fn take(&mut self, connection: &Channel, now_ms: u64) -> Option<Look> {
        let wanted = socket(connection)?;
        let place = self.0.iter().position(|look| socket(&look.connection) == Some(wanted))?;
        let look = self.0.remove(place);
        (now_ms.saturating_sub(look.at_ms) <= HOLDS_MS).then_some(look)
    }

    /// Drops what is too old, and any look of this connection.
    fn forget(&mut self, connection: &Channel, now_ms: u64) {
        let wanted = socket(connection);
        self.0.retain(|look| now_ms.saturating_sub(look.at_ms) <= HOLDS_MS && socket(&look.connection) != wanted);
    }

    /// Drops what a decider asked for that is gone: its clients wait on these connections, and would not see that it is.
    pub(crate) fn forget_all_of(&mut self, decider: u64) {
        self.0.retain(|look| look.decider != decider);
    }

    /// Drops what is too old.
    pub(crate) fn tidy(&mut self, now_ms: u64) {
        self.0.retain(|look| now_ms.saturating_sub(look.at_ms) <= HOLDS_MS);
    }
}

/// Which look has to go before one of `uid` comes, given the accounts of those that there are, oldest first.
fn crowded(accounts: impl Iterator<Item = u32> + Clone, uid: u32) -> Option<usize> {
    let mut counts: HashMap<u32, usize> = HashMap::new();
    accounts.clone().for_each(|account| *counts.entry(account).or_default() += 1);
    let whose = if counts.get(&uid).is_some_and(|count| *count >= MAX_OF_ACCOUNT) {
        uid
    } else if counts.values().sum::<usize>() >= MAX {
        counts.into_iter().max_by_key(|(account, count)| (*count, *account)).map(|(account, _)| account)?
    } else {
        return None;
    };
    accounts.into_iter().position(|account| account == whose)
}

/// The inode of a socket in sockfs: the same for every descriptor of one socket, another for every other open one.
fn socket(channel: &Channel) -> Option<u64> {
    fstat(channel.as_fd()).ok().map(|stat| stat.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dos_01_one_accounts_looks_push_out_its_own_oldest_only() {
        let mut accounts = vec![1001, 1002];
        for _ in 0..10_000 {
            if let Some(place) = crowded(accounts.iter().copied(), 1000) {
                assert_eq!(accounts.remove(place), 1000);
            }
            accounts.push(1000);
        }
        assert_eq!(accounts.len(), MAX_OF_ACCOUNT + 2);
        assert_eq!(crowded(accounts.iter().copied(), 1001), None);
    }

    #[test]
    fn many_accounts_never_push_out_who_has_few() {
        let mut accounts = vec![7];
        for uid in 1000..1024 {
            for _ in 0..MAX_OF_ACCOUNT {
                while let Some(place) = crowded(accounts.iter().copied(), uid) {
                    assert_ne!(accounts.remove(place), 7);
                }
                accounts.push(uid);
            }
        }
        assert_eq!(accounts.len(), MAX);
    }
}
