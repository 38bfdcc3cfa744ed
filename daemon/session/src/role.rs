//! The conversation in which a role is given: who asks has proven it and may use the account; the spawner makes the grant and says so.
//!
//! MUSTs
//! 1. The requester reads `granted` only after the spawner has said that the role is held (host tests `grants`).
//! 2. What becomes of it once the spawner was told is on record by the spawner's word alone: one that dies may have made the grant, and the
//!    next one holds it then (host test `crash_recovery_01_*`, point `spawner.held.noted`).

use jitsudo_bytes::Bytes;
use jitsudo_link::session::{FromSessionToSpawner, SpawnerToSession, Spec};
use jitsudo_protocol::client::FaultCode;
use jitsudo_protocol::session::FromSession;
use jitsudo_sys::clock;
use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::client::Client;
use crate::failure::Failure;
use crate::notice;
use crate::record::Recorder;

/// How long the spawner may take to make the grant: two changes to the host whose workers hang, and what there is to be taken back.
pub(crate) const ACTIVATION_MS: u64 = 180_000;

/// Has the grant made, and tells its requester.
pub(crate) fn settle(spec: &Spec, client: &Client, recorder: &mut Recorder) {
    jitsudo_sys::failpoint::reach("session.proved");
    recorder.tell(FromSessionToSpawner::Proved);
    jitsudo_sys::failpoint::reach("session.proved.told");
    match word(recorder, clock::boottime_ms().saturating_add(ACTIVATION_MS)) {
        Some(SpawnerToSession::Activated { role, lent }) => {
            let id = spec.session.access.short();
            let line = if spec.extends {
                notice::extended(&role, spec.ends_at, id)
            } else {
                notice::granted(&role, spec.ends_at, id, &lent)
            };
            client.say(&FromSession::Output(Bytes::from(line.as_str())));
            client.say_last(&FromSession::Ended(0));
        }
        Some(SpawnerToSession::Approved) => client.say_last(&refused("it is no role".to_owned()).answer()),
        Some(SpawnerToSession::NotActivated(cause)) => {
            // The spawner has recorded it.
            let failure = if spec.extends { not_extended(&cause) } else { refused(cause) };
            client.say_last(&failure.answer());
        }
        // Nothing runs here that could be extended.
        Some(SpawnerToSession::Extend { .. }) => client.say_last(&refused("it was extended".to_owned()).answer()),
        Some(SpawnerToSession::End(_)) => client.say_last(&refused("it was ended at once".to_owned()).answer()),
        None => {
            let failure = refused("jitsudo-spawn did not say that it is held".to_owned());
            client.say_last(&failure.answer());
        }
    }
    recorder.finish();
}

fn not_extended(cause: &str) -> Failure {
    Failure::cannot(FaultCode::Spawner, format!("cannot extend the role: {cause}"), Errno::ECANCELED)
        .with_hint("`jitctl grants` shows what is held and until when")
}

fn refused(cause: String) -> Failure {
    Failure::cannot(FaultCode::Spawner, format!("cannot give the role: {cause}"), Errno::ECANCELED)
        .with_hint("systemctl status jitsudo-spawn; jitctl grants")
}

/// The spawner's word; `None` when it is gone or silent.
pub(crate) fn word(recorder: &mut Recorder, until_ms: u64) -> Option<SpawnerToSession> {
    loop {
        if let Some(word) = recorder.hear() {
            return Some(word);
        }
        let left = until_ms.saturating_sub(clock::boottime_ms());
        let mut entry = [PollFd::new(recorder.spawner().filter(|_| left > 0)?, PollFlags::POLLIN)];
        // An interrupted wait is a short one.
        let _ = poll(&mut entry, PollTimeout::try_from(left.min(1000)).unwrap_or(PollTimeout::ZERO));
    }
}
