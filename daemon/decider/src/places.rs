//! Where everything is, and how long anybody is waited for: fixed in production, elsewhere in tests.

use std::path::PathBuf;

/// Paths and the account whose word counts as root's.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// Where the spawner listens.
    pub(crate) spawner: PathBuf,
    /// The applied policy.
    pub(crate) policy: PathBuf,
    /// The ledger's directory.
    pub(crate) ledger: PathBuf,
    /// Bytes that the ledger keeps for endings on a full disk.
    pub(crate) reserve_bytes: u64,
    /// The spool's directory.
    pub(crate) spool: PathBuf,
    /// journald's socket.
    pub(crate) journal: PathBuf,
    /// The local syslog's socket.
    pub(crate) syslog: PathBuf,
    /// The public half of the host's key.
    pub(crate) host_key: PathBuf,
    /// The owner of policy and spool, and whom the spawner runs as: 0.
    pub(crate) root: u32,
}

impl Places {
    /// Those of design section 14.
    pub(crate) fn of_production() -> Self {
        Self {
            spawner: jitsudo_link::SPAWNER_SOCKET.into(),
            policy: jitsudo_link::APPLIED_POLICY.into(),
            ledger: jitsudo_link::LEDGER.into(),
            reserve_bytes: jitsudo_ledger::Options::default().reserve_bytes,
            spool: jitsudo_link::SPOOL.into(),
            journal: jitsudo_sys::journal::SOCKET.into(),
            syslog: jitsudo_sys::syslog::SOCKET.into(),
            host_key: PathBuf::from(jitsudo_link::STATE).join(jitsudo_link::HOST_PUBLIC_KEY),
            root: 0,
        }
    }
}

/// How long anybody is waited for, milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the first message of a client, and for the rest of a request that began.
    pub(crate) first_ms: u64,
    /// For the next message of a client, or for its taking an answer.
    pub(crate) idle_ms: u64,
    /// For all that a request needs.
    pub(crate) work_ms: u64,
    /// For the last word of a session whose process is gone.
    pub(crate) last_word_ms: u64,
    /// For a spawner that is away, before who asks is told.
    pub(crate) spawner_ms: u64,
    /// For a client that waited for other people and whose connection was lost.
    pub(crate) come_back_ms: u64,
    /// Between looks at the clock, the spool, the spawner.
    pub(crate) tick_ms: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_ms: 10_000,
            idle_ms: 30_000,
            work_ms: 90_000,
            last_word_ms: 10_000,
            spawner_ms: 3_000,
            come_back_ms: 30_000,
            tick_ms: 1_000,
        }
    }
}
