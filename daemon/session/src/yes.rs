//! The conversation in which somebody says yes to a request of another: who they are is proven, the spawner notes it and says so.
//!
//! MUST: the approver reads `approved` only after the spawner has said that the yes counts.

use jitsudo_bytes::Bytes;
use jitsudo_core::event::EndCause;
use jitsudo_link::session::{FromSessionToSpawner, SpawnerToSession, Spec};
use jitsudo_protocol::client::FaultCode;
use jitsudo_protocol::session::FromSession;
use jitsudo_sys::clock;
use jitsudo_sys::nix::errno::Errno;

use crate::client::Client;
use crate::failure::Failure;
use crate::record::Recorder;
use crate::role::{ACTIVATION_MS, word};

/// Has the yes noted, and tells whoever said it.
pub(crate) fn settle(_spec: &Spec, client: &Client, recorder: &mut Recorder) {
    recorder.tell(FromSessionToSpawner::Proved);
    match word(recorder, clock::boottime_ms().saturating_add(ACTIVATION_MS)) {
        Some(SpawnerToSession::Approved) => {
            client.say(&FromSession::Output(Bytes::from("approved\n")));
            client.say_last(&FromSession::Ended(0));
        }
        Some(SpawnerToSession::NotActivated(cause)) => client.say_last(&refused(&cause).answer()),
        Some(SpawnerToSession::Activated { .. } | SpawnerToSession::Extend { .. } | SpawnerToSession::End(_)) => {
            client.say_last(&refused("it was ended at once").answer());
        }
        None => client.say_last(&refused("jitsudo-spawn did not say that it counts").answer()),
    }
    recorder.validated();
    recorder.ended(EndCause::Finished);
    recorder.closed();
    recorder.finish();
}

fn refused(cause: &str) -> Failure {
    Failure::cannot(FaultCode::Spawner, format!("cannot say yes to it: {cause}"), Errno::ECANCELED)
        .with_hint("systemctl status jitsudo-spawn")
}
