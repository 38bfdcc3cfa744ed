//! The act, told by the client a second time: it must be the one that was decided about.
//!
//! MUSTs
//! 1. Whole within ten seconds, in order, within the limits of the protocol, or nothing runs (`slow_or_disordered_act_runs_nothing`).
//! 2. Its digest is the spec's, and what it says of remembered proofs, or nothing runs (`act_of_another_digest_runs_nothing`,
//!    `remembering_that_was_changed_on_the_way_runs_nothing`).

use std::os::fd::{AsFd, OwnedFd};

use jitsudo_link::session::Spec;
use jitsudo_protocol::act::{Act, Assembler, Progress};
use jitsudo_protocol::client::FaultCode;
use jitsudo_protocol::digest;
use jitsudo_protocol::session::{Prompt, Size, ToSession};
use jitsudo_sys::clock;
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::client::{Client, NoMessage};
use crate::failure::Failure;

/// How long the client has to tell its act.
const DEADLINE_MS: u64 = 10_000;

/// What the client says of its terminal at the beginning.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Beginning {
    /// The terminal's size.
    pub(crate) size: Size,
    /// The client is in its terminal's foreground.
    pub(crate) foreground: bool,
    /// The command begins in the background of its pty.
    pub(crate) background: bool,
    /// How it wants its user to be asked for a password.
    pub(crate) prompt: Prompt,
    /// Nothing runs; the variables are told.
    pub(crate) explain_env: bool,
}

/// The act with what came along.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) act: Act,
    pub(crate) beginning: Beginning,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Receives the act and compares it with what was decided about.
pub(crate) fn receive(spec: &Spec, client: &Client) -> Result<Told, Failure> {
    let told = assemble(client, clock::boottime_ms() + DEADLINE_MS)?;
    if digest::of_act(spec.requester.uid.0, &told.act) != spec.digest {
        return Err(Failure::refused(
            FaultCode::Malformed,
            "the act that the client told the session is not the one that was decided about",
        ));
    }
    // Not in the digest, and the decider had it in its hands: `-k` must not get lost on the way.
    if told.act.options.remember != spec.remember {
        return Err(Failure::refused(
            FaultCode::Malformed,
            "the client asks for something else of remembered proofs than what was decided about",
        ));
    }
    Ok(told)
}

fn assemble(client: &Client, deadline_ms: u64) -> Result<Told, Failure> {
    let (first, descriptors) = next(client, deadline_ms)?;
    let ToSession::Act { act, size, foreground, background, prompt, explain_env } = first else {
        return Err(out_of_order());
    };
    let beginning = Beginning { size, foreground, background, prompt, explain_env };
    let mut progress = Assembler::begin(*act).map_err(malformed)?;
    loop {
        let assembler = match progress {
            Progress::Whole(act) => return Ok(Told { act, beginning, descriptors }),
            Progress::More(assembler) => assembler,
        };
        let (ToSession::More(more), attached) = next(client, deadline_ms)? else {
            return Err(out_of_order());
        };
        if !attached.is_empty() {
            return Err(Failure::refused(FaultCode::Malformed, "descriptors came with a later part of the act"));
        }
        progress = assembler.more(more).map_err(malformed)?;
    }
}

fn next(client: &Client, deadline_ms: u64) -> Result<(ToSession, Vec<OwnedFd>), Failure> {
    loop {
        match client.receive() {
            Ok(message) => return Ok(message),
            Err(NoMessage::NotYet) => {}
            Err(NoMessage::Gone) => return Err(Failure::ClientGone),
            Err(NoMessage::Stranger(cause)) => return Err(Failure::refused(FaultCode::Credentials, cause)),
            Err(NoMessage::Malformed(cause)) => return Err(Failure::refused(FaultCode::Malformed, cause)),
        }
        let left = deadline_ms.saturating_sub(clock::boottime_ms());
        if left == 0 {
            return Err(Failure::refused(FaultCode::Malformed, "the client did not tell its act in time"));
        }
        let mut entry = [PollFd::new(client.as_fd(), PollFlags::POLLIN)];
        // An interrupted wait is a short one.
        let _ = poll(&mut entry, PollTimeout::try_from(left.min(1000)).unwrap_or(PollTimeout::ZERO));
    }
}

fn out_of_order() -> Failure {
    Failure::refused(FaultCode::Malformed, "the client's messages are out of order")
}

fn malformed(error: jitsudo_protocol::act::ActError) -> Failure {
    Failure::refused(FaultCode::Malformed, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_bytes::Bytes;
    use jitsudo_link::facts::Peer;
    use jitsudo_protocol::act::{ActKind, ActOptions};
    use jitsudo_sys::channel::Channel;
    use jitsudo_sys::nix::unistd::{getgid, getuid};

    fn pair() -> (Channel, Client) {
        let (ours, theirs) = Channel::pair().unwrap();
        let peer = Peer { pid: std::process::id(), uid: getuid().as_raw(), gid: getgid().as_raw() };
        (theirs, Client::new(ours.into(), peer).unwrap())
    }

    fn act() -> Act {
        let options = ActOptions {
            kind: ActKind::Command,
            user: None,
            group: None,
            role: None,
            reason: None,
            ticket: None,
            window: None,
            break_glass: false,
            preserve_groups: false,
            timeout: None,
            extends: None,
            request: None,
            no_wait: false,
            remember: jitsudo_protocol::act::Remember::Use,
            env_set: vec![],
            preserve: vec![],
            chdir: None,
            cwd: Bytes::from("/"),
            umask: 0o22,
            non_interactive: false,
            terminal: false,
        };
        Act { options, argv: vec![Bytes(vec![b'x'; 30_000]), Bytes::from("y")], env: vec![] }
    }

    fn messages(act: &Act) -> Vec<ToSession> {
        let (start, more) = act.split();
        let first = ToSession::Act {
            act: Box::new(start),
            size: Size::default(),
            foreground: true,
            background: false,
            prompt: Prompt::default(),
            explain_env: false,
        };
        std::iter::once(first).chain(more.into_iter().map(ToSession::More)).collect()
    }

    fn say(far: &Channel, message: &ToSession) {
        far.send(&serde_json::to_vec(message).unwrap(), &[]).unwrap();
    }

    #[test]
    fn act_in_several_messages_arrives_whole() {
        let (far, client) = pair();
        messages(&act()).iter().for_each(|message| say(&far, message));
        let told = assemble(&client, clock::boottime_ms() + 1000).unwrap();
        assert_eq!(told.act, act());
        assert!(told.beginning.foreground && !told.beginning.background);
    }

    #[test]
    fn slow_or_disordered_act_runs_nothing() {
        let refused = |prepare: &dyn Fn(&Channel)| {
            let (far, client) = pair();
            prepare(&far);
            let failure = assemble(&client, clock::boottime_ms() + 30).unwrap_err();
            assert!(matches!(failure, Failure::Refused { .. }), "{failure:?}");
        };
        refused(&|_| {});
        refused(&|far| say(far, &messages(&act())[0]));
        refused(&|far| say(far, &messages(&act())[1]));
        refused(&|far| say(far, &ToSession::Resize(Size::default())));
        refused(&|far| {
            say(far, &messages(&act())[0]);
            say(far, &messages(&act())[2]);
        });
        refused(&|far| {
            say(far, &messages(&act())[0]);
            let bytes = serde_json::to_vec(&messages(&act())[1]).unwrap();
            far.send(&bytes, &[far.as_fd()]).unwrap();
        });
        let (far, client) = pair();
        drop(far);
        assert!(matches!(assemble(&client, clock::boottime_ms() + 30), Err(Failure::ClientGone)));
    }
}
