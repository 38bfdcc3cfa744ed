//! `-A`: a helper asks, as the invoking user; the first line of its output is the password.

use std::ffi::OsStr;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::signals;

use super::line::{Line, Place};
use super::{Interruptions, NOTHING, Outcome, Question, outcome};

/// Runs the helper with the prompt as its argument.
pub(super) fn ask(helper: &[u8], prompt: &[u8], patience: Duration, interruptions: &Interruptions<'_>) -> Outcome {
    let shown = helper.escape_ascii();
    if helper.first() != Some(&b'/') {
        return not_run(&format!("unable to run {shown}: its path is not absolute"));
    }
    let mut command = Command::new(OsStr::from_bytes(helper));
    command.arg(OsStr::from_bytes(prompt)).stdout(Stdio::piped());
    // The helper must not begin with the signals blocked that this process reads from a descriptor.
    let started = signals::unblock_in_child(&mut command).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            let cause = error.raw_os_error().map_or("cannot start it", |number| Errno::from_raw(number).desc());
            return not_run(&format!("unable to run {shown}: {cause}"));
        }
    };
    let Some(output) = child.stdout.take() else { return Outcome::Nothing(vec![]) };
    let place = Place { input: output.as_fd(), output: None, is_terminal: false, bell: false, patience };
    // The helper shows the prompt.
    let line = place.ask(&Question { prompt: b"", echo: true }, interruptions);
    drop(output);
    if !matches!(line, Line::Read(_) | Line::End) {
        // It asks for nothing any more. Both fail only when it is gone already.
        let _ = child.kill();
    }
    // One that goes on after its answer keeps nobody waiting.
    let _ = child.try_wait();
    outcome(line)
}

fn not_run(line: &str) -> Outcome {
    Outcome::Nothing(vec![line.to_owned(), NOTHING.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_protocol::session::read_answer;
    use jitsudo_sys::channel::Channel;
    use jitsudo_sys::nix::sys::signal::Signal;
    use std::os::unix::fs::PermissionsExt as _;

    /// What comes of a helper with this script.
    fn helper(script: &str) -> Outcome {
        let folder = std::env::temp_dir().join(format!("jitsudo-askpass-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("ask");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let outcome = run(path.as_os_str().as_bytes());
        std::fs::remove_dir_all(&folder).unwrap();
        outcome
    }

    fn run(path: &[u8]) -> Outcome {
        let (near, _far) = Channel::pair().unwrap();
        let signals = signals::take(&[Signal::SIGUSR1]).unwrap();
        let interruptions = Interruptions { signals: &signals, session: near.as_fd() };
        ask(path, b"[sudo] password for alice: ", Duration::from_secs(20), &interruptions)
    }

    fn lines(outcome: Outcome) -> Vec<String> {
        let Outcome::Nothing(lines) = outcome else { panic!("{outcome:?}") };
        lines
    }

    #[test]
    fn first_line_of_the_helper_is_the_password_and_the_prompt_its_argument() {
        let outcome = helper("test $# = 1 -a \"$1\" = '[sudo] password for alice: ' && echo 'a pw'; echo rest");
        let Outcome::Answer(secret) = outcome else { panic!("{outcome:?}") };
        assert_eq!(read_answer(&secret.datagram()), Some(&b"a pw"[..]));
    }

    #[test]
    fn helper_that_says_nothing_or_cannot_run_is_no_answer_in_sudos_words() {
        assert_eq!(lines(helper("exit 1")), [NOTHING]);
        assert_eq!(lines(run(b"/nonexistent"))[0], "unable to run /nonexistent: No such file or directory");
        assert_eq!(lines(run(b"/etc/passwd")), ["unable to run /etc/passwd: Permission denied", NOTHING]);
        assert_eq!(lines(run(b"ask")), ["unable to run ask: its path is not absolute", NOTHING]);
    }
}
