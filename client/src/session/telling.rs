//! What a session is told first: the act again, and the descriptors that belong to it.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use jitsudo_protocol::act::Act;
use jitsudo_protocol::session::{Size, ToSession};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::nix::fcntl::OFlag;
use jitsudo_sys::nix::unistd::{getpgrp, getpid};
use jitsudo_sys::{files, nix, terminal};

use crate::options::Run;
use crate::tty::Tty;

/// Standard input or output is a pipe, or this is a part of a script's job without job control (sudo#237).
pub(super) fn begins_in_background() -> bool {
    let [input, output, _] = files::standard();
    files::is_pipe(input) || files::is_pipe(output) || (getpgrp() != getpid() && !terminal::is_terminal(input))
}

/// Another standard input than this process's own: in the background a terminal gives nothing but its end.
pub(super) fn input(in_background: bool) -> std::io::Result<Option<std::fs::File>> {
    let [input, ..] = files::standard();
    let wanted = in_background && terminal::is_terminal(input);
    wanted.then(|| std::fs::File::open("/dev/null")).transpose()
}

/// Tells the session the act, with what belongs to it.
pub(crate) fn tell_act(
    channel: &Channel,
    act: &Act,
    run: &Run,
    input: BorrowedFd<'_>,
    tty: Option<&Tty>,
    background: bool,
) -> std::io::Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let open = |path: &std::ffi::CStr| nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty());
    // A directory that cannot be entered any more has an act that says so; something must stand in its place.
    let directory: OwnedFd = open(c".").or_else(|_| open(c"/"))?;
    let [_, output, error] = files::standard();
    let mut descriptors: Vec<BorrowedFd<'_>> = vec![input, output, error, directory.as_fd()];
    descriptors.extend(tty.map(Tty::as_fd));
    let (start, more) = act.split();
    let first = ToSession::Act {
        act: Box::new(start),
        size: tty.map(size_of).unwrap_or_default(),
        foreground: tty.is_some_and(Tty::is_foreground),
        background,
        prompt: run.asking.prompt.clone(),
        explain_env: run.explain_env,
    };
    send(channel, &first, &descriptors)?;
    for part in more {
        send(channel, &ToSession::More(part), &[])?;
    }
    Ok(())
}

/// Sends one message.
pub(super) fn send(channel: &Channel, message: &ToSession, descriptors: &[BorrowedFd<'_>]) -> std::io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    channel.send(&bytes, descriptors).map_err(std::io::Error::other)
}

/// The terminal's size.
pub(super) fn size_of(tty: &Tty) -> Size {
    let size = tty.size();
    Size { rows: size.rows, columns: size.columns, width: size.width, height: size.height }
}
