//! `jitsudo-facts`: answers the spawner's questions about a peer, its account, the target and the program.
//!
//! It runs NSS modules and reads what users can influence, so it is a process of its own: the spawner gives it two seconds a question
//! and ends it when they are over. It never acts on anything.
//!
//! MUSTs
//! 1. What is read of a process counts only if its pidfd says afterwards that it was there all the time (`peer::learn`).
//! 2. A set of groups is complete or unknown, never cut (`account::groups_of`).
//! 3. Whose a signature is says a key of that person's alone (`proof`).
//! 4. A peer whose real, effective, saved or filesystem ids differ is refused (`peer_auth_03`, `confused_deputy_06`).

mod account;
mod entry;
mod here;
mod lent;
mod origin;
mod peer;
mod program;
mod proof;
mod rooted;

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use jitsudo_core::facts::{Fact, Facts, NoExecutable, Requester};
use jitsudo_core::name::{Gid, Uid};
use jitsudo_link::INHERITED_FD;
use jitsudo_link::facts::{About, Answer, Learnt, Question, WhichShell};
use jitsudo_sys::channel::Channel;

fn main() -> ExitCode {
    let Ok(channel) = Channel::from_inherited(INHERITED_FD) else {
        return ExitCode::from(2);
    };
    loop {
        let message = match channel.receive() {
            Ok(Some(message)) => message,
            Ok(None) => return ExitCode::SUCCESS,
            Err(_) => return ExitCode::FAILURE,
        };
        jitsudo_sys::failpoint::reach("facts.asked");
        let answer = match (serde_json::from_slice::<Question>(&message.bytes), message.descriptors.into_iter().next())
        {
            (Ok(question), pidfd) => answer(&question, pidfd.as_ref()),
            (Err(error), _) => Answer::Refused(format!("cannot read the question: {error}")),
        };
        let Ok(text) = serde_json::to_vec(&answer) else {
            return ExitCode::FAILURE;
        };
        jitsudo_sys::failpoint::reach("facts.found");
        if channel.send(&text, &[]).is_err() {
            return ExitCode::FAILURE;
        }
    }
}

fn answer(question: &Question, pidfd: Option<&OwnedFd>) -> Answer {
    if question.here {
        return Answer::Accounts(entry::look(&here::at_terminals()));
    }
    if let Some(question) = &question.proof {
        return proof::prove(question);
    }
    if !question.accounts.is_empty() {
        return Answer::Accounts(entry::look(&question.accounts));
    }
    let about = &question.about;
    match (&about.subject, pidfd) {
        (Some(subject), _) => match account::by_name(subject) {
            Some(mut requester) => {
                lent::tell_apart(&mut requester, &lent::read());
                learnt(about, requester, None)
            }
            None => Answer::Refused(format!("there is no account {subject} on this host")),
        },
        (None, Some(pidfd)) => match peer::learn(question.peer, pidfd.as_fd()) {
            Ok(seen) => {
                let requester = account::requester(&seen.status, seen.loginuid.clone());
                if requester.name == Fact::Unknown {
                    return Answer::Refused(format!("uid {} has no account on this host", requester.uid.0));
                }
                learnt(about, requester, Some(seen))
            }
            Err(cause) => Answer::Refused(cause),
        },
        (None, None) => Answer::Refused("the peer is gone".to_owned()),
    }
}

fn learnt(about: &About, requester: Requester, seen: Option<peer::Seen>) -> Answer {
    let target = account::target(about, &requester);
    let cwd = seen.as_ref().map_or(Fact::Unknown, |seen| seen.cwd.clone());
    let asked = match about.shell {
        Some(WhichShell::Requester) => requester.shell.known().map(|shell| shell.as_str().into()),
        Some(WhichShell::Target) => target.known().and_then(Option::as_ref).map(|target| target.shell.as_str().into()),
        None => about.program.clone(),
    };
    let executable = match (&target, asked) {
        (Fact::Is(Some(target)), Some(asked)) => Fact::Is(program::find(&asked, cwd.known(), target, &about.same_as)),
        (_, None) => Fact::Is(Err(NoExecutable::NotAsked)),
        (Fact::Is(None) | Fact::Unknown, Some(_)) => Fact::Unknown,
    };
    let origin = match &seen {
        Some(seen) => origin::of(seen),
        None => Fact::Is(origin::of_nobody()),
    };
    let facts = Facts {
        host: String::new(),
        labels: std::collections::BTreeSet::new(),
        requester,
        origin,
        target,
        executable,
        rooted_arguments: about
            .words
            .iter()
            .filter(|(_, word)| rooted::is_rooted(&word.0))
            .map(|(index, _)| *index)
            .collect(),
        cwd,
        lendable: account::lendable(&about.groups),
    };
    let program = facts.executable.known().and_then(|found| found.as_ref().ok()).filter(|_| about.hash);
    let program = program.and_then(program::hashed);
    Answer::Learnt(Box::new(Learnt { facts, process: seen.map(|seen| seen.process), program, inside: None }))
}

/// Newtypes for what comes as a bare number from the kernel.
fn uid(number: u32) -> Uid {
    Uid(number)
}
fn gid(number: u32) -> Gid {
    Gid(number)
}
