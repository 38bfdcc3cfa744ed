//! What is asked for, with what the caller carries along.

use jitsudo_bytes::Bytes;
use jitsudo_protocol::act::{Act, ActOptions};
use jitsudo_sys::nix::sys::stat::{Mode, umask};
use jitsudo_sys::nix::unistd::getcwd;
use std::os::unix::ffi::OsStringExt as _;

use crate::options::Run;

/// Builds the act. Two of one command line are equal: the session gets it a second time.
pub(crate) fn build(run: &Run, environment: Vec<Vec<u8>>, terminal: bool) -> Act {
    let bytes = |list: &[Vec<u8>]| list.iter().cloned().map(Bytes).collect();
    Act {
        options: ActOptions {
            kind: run.kind,
            user: run.user.clone(),
            group: run.group.clone(),
            role: run.role.clone(),
            reason: run.reason.clone(),
            ticket: run.ticket.clone(),
            window: run.window,
            break_glass: run.break_glass,
            env_set: bytes(&run.env_set),
            preserve: bytes(&run.preserve),
            chdir: run.chdir.clone().map(Bytes),
            preserve_groups: run.preserve_groups,
            timeout: run.timeout,
            extends: run.extends.clone(),
            request: run.request.clone(),
            no_wait: run.no_wait,
            remember: run.remember,
            cwd: working_directory(),
            umask: mask(),
            non_interactive: run.non_interactive,
            terminal,
        },
        argv: bytes(&run.argv),
        env: environment.into_iter().map(Bytes).collect(),
    }
}

/// Empty when there is none that has a path (deleted, or outside of this root: getcwd(3) then begins with `(unreachable)`).
pub(crate) fn working_directory() -> Bytes {
    let path = getcwd().map(|path| path.into_os_string().into_vec()).unwrap_or_default();
    if path.first() == Some(&b'/') { Bytes(path) } else { Bytes::default() }
}

/// umask(2) can only be read by setting it; this program makes no file meanwhile.
fn mask() -> u32 {
    let mask = umask(Mode::empty());
    umask(mask);
    mask.bits()
}
