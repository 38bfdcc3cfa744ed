//! `-e`: the files are read for the requester and written back; the editor itself is the client's, without any privilege.
//!
//! [`place`] finds and judges a file, [`replace`] writes it, [`incoming`] takes content from the client.
//!
//! MUSTs
//! 1. A file is named by its place in the decided act, never by a message; each is written at most once (`edit_mode_02_*`).
//! 2. The client gets a sealed copy, never a descriptor of the file itself.
//! 3. Past the end nothing is written (`edit_past_the_end_writes_nothing`).
//! 4. `edited` is durable before a file is replaced, or it is not replaced.

mod incoming;
mod place;
mod replace;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use jitsudo_bytes::Bytes;
use jitsudo_core::event::{EditOutcome, EndCause, Ending, Event};
use jitsudo_core::facts::{Fact, Group};
use jitsudo_link::session::Spec;
use jitsudo_protocol::act::Act;
use jitsudo_protocol::client::{Fault, FaultCode};
use jitsudo_protocol::digest;
use jitsudo_protocol::edit::{Kept, MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, Outcome, Told};
use jitsudo_protocol::session::{FromSession, ToSession};
use jitsudo_sys::identity::Account;
use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::nix::fcntl::{FcntlArg, SealFlag, fcntl};
use jitsudo_sys::nix::libc;
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use jitsudo_sys::nix::sys::memfd::{MFdFlags, memfd_create};
use jitsudo_sys::nix::sys::signal::Signal;
use jitsudo_sys::nix::sys::signalfd::SignalFd;
use jitsudo_sys::nix::sys::stat::fstat;
use jitsudo_sys::{clock, signals};

use crate::authority::Authority;
use crate::client::{Client, NoMessage, Said};
use crate::directory;
use crate::failure::Failure;
use crate::notice;
use crate::record::Recorder;
use crate::schedule::{Due, Schedule};
use incoming::Incoming;
use place::{Place, Refusal, Rights, Seen};

/// Longest sleep: the wall clock may be set at any time.
const TICK_MS: u64 = 1000;
/// Most datagrams of the client taken in one turn.
const DATAGRAMS_A_TURN: usize = 64;

/// Files that are being edited.
pub(crate) struct Editing {
    rights: Rights,
    /// By place in the act; `None` for those that were refused, or came back.
    files: Vec<Option<Opened>>,
    paths: Vec<Bytes>,
    authority: Authority,
    audit_session: Option<u32>,
    started_ms: u64,
    signals: SignalFd,
}

/// A file that the client has a copy of.
struct Opened {
    place: Place,
    /// Digest of what was read.
    before: Option<String>,
}

/// Opens the files of an act and tells the client of each.
pub(crate) fn open(
    spec: &Spec,
    act: &Act,
    authority: Authority,
    audit_session: Option<u32>,
    client: &Client,
) -> Result<Editing, Failure> {
    if act.argv.len() > MAX_FILES {
        let message = format!("cannot edit {} files at once: {MAX_FILES} is the most", act.argv.len());
        return Err(Failure::cannot(FaultCode::NotSupported, message, Errno::E2BIG));
    }
    let signals = signals::take(&[
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGHUP,
        Signal::SIGTSTP,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
    ])
    .map_err(|error| Failure::trouble("take signals", &error))?;
    let rights = rights(spec)?;
    let mut room = MAX_TOTAL_BYTES;
    let mut files = Vec::new();
    for (number, path) in (0u32..).zip(&act.argv) {
        let told = |fresh, refusal: Option<Refusal>| {
            let (refused, hint) = refusal.map_or((None, None), |refusal| (Some(refusal.words), refusal.hint));
            FromSession::Told(Told { number, fresh, refused, hint })
        };
        match opened(&path.0, &rights, &mut room) {
            Ok((opened, copy)) => {
                client.send(&told(copy.is_none(), None), copy);
                files.push(Some(opened));
            }
            Err(refusal) => {
                client.say(&told(false, Some(refusal)));
                files.push(None);
            }
        }
    }
    let paths = act.argv.clone();
    Ok(Editing { rights, files, paths, authority, audit_session, started_ms: clock::boottime_ms(), signals })
}

fn rights(spec: &Spec) -> Result<Rights, Failure> {
    let requester = &spec.requester;
    let known = |fact: &Fact<BTreeSet<Group>>| fact.known().cloned();
    let groups = match (known(&requester.process_groups), known(&requester.groups)) {
        (None, None) => {
            let message = "cannot tell which directories you can write: your groups are not known".to_owned();
            return Err(Failure::cannot(FaultCode::Directory, message, Errno::EACCES));
        }
        // Each of them may give a right to write.
        (one, other) => one.into_iter().chain(other).flatten().map(|group| group.gid.0).collect(),
    };
    let account = Account { uid: requester.uid.0, gid: requester.gid.0, groups };
    Ok(Rights {
        target: directory::target(&spec.target),
        requester: (requester.uid.0 != 0).then_some(account),
        create: spec.run_as.create,
        umask: spec.process.umask | spec.run_as.umask.unwrap_or(0o022),
    })
}

fn opened(path: &[u8], rights: &Rights, room: &mut u64) -> Result<(Opened, Option<OwnedFd>), Refusal> {
    let place = place::open(path, rights)?;
    let Some((file, seen)) = &place.found else {
        return Ok((Opened { place, before: None }, None));
    };
    let content = read(file, seen, room)?;
    let before = Some(digest::of_bytes(&content));
    let copy = sealed(&content)?;
    Ok((Opened { place, before }, Some(copy)))
}

/// Reads it whole, and sees that it stayed as it was meanwhile.
fn read(file: &OwnedFd, seen: &Seen, room: &mut u64) -> Result<Vec<u8>, Refusal> {
    let limit = MAX_FILE_BYTES.min(*room);
    if u64::try_from(seen.size).unwrap_or(u64::MAX) > limit {
        return Err(Refusal::new(format!("it is too large: {} MiB can be edited", limit >> 20)));
    }
    let trouble = |error: std::io::Error| Refusal::of(&error);
    let mut content = Vec::new();
    File::from(file.try_clone().map_err(trouble)?).take(limit + 1).read_to_end(&mut content).map_err(trouble)?;
    if Seen::of(&fstat(file)?) != *seen || i64::try_from(content.len()) != Ok(seen.size) {
        return Err(Refusal::new("it was changed while it was read"));
    }
    *room = room.saturating_sub(content.len() as u64);
    Ok(content)
}

fn sealed(content: &[u8]) -> Result<OwnedFd, Refusal> {
    let mut copy: File = memfd_create(c"jitsudo-edit", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?.into();
    copy.write_all(content).map_err(|error| Refusal::of(&error))?;
    let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(copy.into())
}

/// Why it is over.
enum Over {
    /// The client has said so.
    Done { failed: bool },
    /// Something else, in words.
    Cut { cause: EndCause, words: &'static str },
}

struct Editor<'a> {
    spec: &'a Spec,
    client: &'a Client,
    editing: Editing,
    recorder: &'a mut Recorder,
    schedule: Schedule,
    incoming: Option<Incoming>,
    failed: bool,
}

/// Takes back what the client returns, until it is done or the time is over.
pub(crate) fn until_the_end(spec: &Spec, client: &Client, editing: Editing, recorder: &mut Recorder) {
    let now = clock::now();
    let schedule = Schedule::of(spec, now);
    let mut editor = Editor { spec, client, editing, recorder, schedule, incoming: None, failed: false };
    let over = loop {
        if let Some(over) = editor.turn() {
            break over;
        }
    };
    editor.conclude(&over);
}

impl Editor<'_> {
    fn turn(&mut self) -> Option<Over> {
        let now = clock::now();
        let wait_ms = match self.schedule.due(now.wall_ns, now.boottime_ms) {
            Due::Over | Due::Finish => {
                return Some(Over::Cut { cause: EndCause::WindowOver, words: "the time is over" });
            }
            Due::Warning(seconds) => {
                self.client.say(&FromSession::Notice(notice::left(seconds, self.schedule.ends_at())));
                0
            }
            Due::Nothing(ms) => ms.min(TICK_MS),
        };
        self.recorder.flush();
        let mut wanted = PollFlags::POLLIN;
        wanted.set(PollFlags::POLLOUT, self.client.has_waiting());
        let mut entries = vec![
            PollFd::new(self.editing.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.client.as_fd(), wanted),
        ];
        entries.extend(self.recorder.spawner().map(|spawner| PollFd::new(spawner, PollFlags::POLLIN)));
        // An interrupted or failed wait is a short one.
        let _ = poll(&mut entries, PollTimeout::try_from(wait_ms).unwrap_or(PollTimeout::ZERO));
        drop(entries);
        self.client.flush();
        if let Some(cause) = self.recorder.told_to_end() {
            return Some(Over::Cut { cause, words: "the grant was ended" });
        }
        if let Some(end) = self.recorder.new_end() {
            let now = clock::now();
            self.schedule.extend(end, now.wall_ns, now.boottime_ms);
        }
        while let Ok(Some(signal)) = self.editing.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            if [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT].contains(&number) {
                return Some(Over::Cut { cause: EndCause::Lost, words: "the session was ended" });
            }
        }
        self.attend_to_client()
    }

    fn attend_to_client(&mut self) -> Option<Over> {
        const GONE: Over = Over::Cut { cause: EndCause::ClientLost, words: "the client went away" };
        for _ in 0..DATAGRAMS_A_TURN {
            let said = match self.client.receive_said() {
                Ok(said) => said,
                Err(NoMessage::NotYet) => return None,
                Err(NoMessage::Gone) => return Some(GONE),
                Err(NoMessage::Stranger(cause) | NoMessage::Malformed(cause)) => return Some(self.refuse(cause)),
            };
            let taken = match said {
                Said::Message(ToSession::EditingDone { failed }) if self.incoming.is_none() => {
                    return Some(Over::Done { failed });
                }
                Said::Message(ToSession::Returned(returned)) if self.incoming.is_none() => {
                    Incoming::begin(returned, &self.editing.files).map(|incoming| self.incoming = Some(incoming))
                }
                Said::Content(bytes) => match &mut self.incoming {
                    Some(incoming) => incoming.take(&bytes),
                    None => Err("content came that was not announced"),
                },
                // What a client says of its terminal changes nothing here: the editor is its own.
                Said::Message(
                    ToSession::Resize(_) | ToSession::Continue { .. } | ToSession::Signal(_) | ToSession::NoAnswer,
                ) => Ok(()),
                Said::Message(
                    ToSession::Act { .. } | ToSession::More(_) | ToSession::Returned(_) | ToSession::EditingDone { .. },
                ) => Err("the client's messages are out of order"),
            };
            if let Err(cause) = taken {
                return Some(self.refuse(cause.to_owned()));
            }
            if let Some(incoming) = self.incoming.take_if(|incoming| incoming.is_whole()) {
                self.take_back(incoming);
            }
        }
        None
    }

    fn refuse(&mut self, cause: String) -> Over {
        self.recorder.event(Event::SpawnerRefused { id: Some(self.spec.session.access.clone()), cause });
        Over::Cut { cause: EndCause::ClientLost, words: "the client broke the rules of the exchange" }
    }

    /// One returned file: written, or not; the record first, the answer last.
    fn take_back(&mut self, incoming: Incoming) {
        let (number, content) = incoming.into_parts();
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        let opened = self.editing.files.get_mut(place).and_then(Option::take);
        let (Some(opened), Some(path)) = (opened, self.editing.paths.get(place).cloned()) else { return };
        let after = digest::of_bytes(&content);
        let (session, before) = (self.spec.session.clone(), opened.before.clone());
        let bytes = content.len() as u64;
        let edited = |outcome, failed| Event::Edited {
            session: session.clone(),
            path: path.clone(),
            outcome,
            before: before.clone(),
            after: Some(after.clone()),
            bytes,
            failed,
        };
        let outcome = if before.as_ref() == Some(&after) || (before.is_none() && content.is_empty()) {
            self.recorder.event(edited(EditOutcome::Unchanged, None));
            Outcome::Unchanged
        } else {
            let (schedule, recorder) = (&self.schedule, &mut *self.recorder);
            let record = || {
                in_time(schedule)?;
                if recorder.event_now(edited(EditOutcome::Writing, None)) {
                    Ok(())
                } else {
                    Err(Refusal::new("it could not be recorded before"))
                }
            };
            let written = in_time(schedule)
                .and_then(|()| replace::write(&path.0, &opened.place, &content, &self.editing.rights, record));
            match written {
                Ok(durable) => {
                    let doubt = durable.err().map(|refusal| format!("its directory was not synced: {}", refusal.words));
                    self.recorder.event(edited(EditOutcome::Written, doubt));
                    Outcome::Written
                }
                Err(refusal) => {
                    self.failed = true;
                    self.recorder.event(edited(EditOutcome::Failed, Some(refusal.words.clone())));
                    Outcome::Refused(refusal.words)
                }
            }
        };
        self.client.say(&FromSession::Kept(Kept { number, outcome }));
    }

    fn conclude(self, over: &Over) {
        let code = match over {
            Over::Done { failed } => u8::from(*failed || self.failed),
            Over::Cut { .. } => 1,
        };
        let (cause, words) = match over {
            Over::Done { .. } => {
                self.client.say_last(&FromSession::Ended(i32::from(code) << 8));
                (EndCause::Finished, None)
            }
            Over::Cut { cause, words } => {
                let message = format!("{words}: nothing more is written");
                self.client.say_last(&FromSession::Failed(Fault { code: FaultCode::Busy, message, hint: None }));
                (*cause, Some((*words).to_owned()))
            }
        };
        self.recorder.event(Event::SessionExit {
            session: self.spec.session.clone(),
            ending: Ending::Exited(code),
            ran_ms: clock::boottime_ms().saturating_sub(self.editing.started_ms),
            pid: 0,
            audit_session: self.editing.audit_session,
            failed: words,
            interpreter: None,
        });
        self.recorder.ended(cause);
        // PAM's helpers must not begin with our mask.
        for signal in [libc::SIGHUP, libc::SIGTERM, libc::SIGINT, libc::SIGQUIT] {
            signals::ignore(signal);
        }
        let _ = signals::unblock_all();
        drop(self.editing.authority);
        self.recorder.closed();
        self.recorder.finish();
    }
}

fn in_time(schedule: &Schedule) -> Result<(), Refusal> {
    let now = clock::now();
    if schedule.is_over(now.wall_ns, now.boottime_ms) {
        return Err(Refusal::new("the time is over"));
    }
    Ok(())
}
