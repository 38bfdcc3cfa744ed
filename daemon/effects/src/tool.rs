//! Runs the host's own tools: a fixed environment, a bounded time, their words kept for the message.

use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::thread;

use jitsudo_sys::nix::errno::Errno;
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use jitsudo_sys::{clock, pidfd};

/// Most bytes of each output that are kept.
const MAX_OUTPUT_BYTES: u64 = 1 << 20;
/// Most bytes of what a tool said that are passed on.
const MAX_WORDS_BYTES: usize = 400;

/// What a tool did.
#[derive(Debug)]
pub(crate) struct Ran {
    /// It exited with 0.
    pub(crate) succeeded: bool,
    /// Its output.
    pub(crate) output: String,
    /// Its errors.
    pub(crate) errors: String,
}

impl Ran {
    /// What it said, for a message: one line.
    pub(crate) fn words(&self) -> String {
        let text = if self.errors.trim().is_empty() { &self.output } else { &self.errors };
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        words.chars().take(MAX_WORDS_BYTES).collect()
    }
}

/// Runs a tool to its end, or kills it when `patience_ms` are over; in words why it did not end by itself.
///
/// `input` becomes its standard input: a file that it is to keep open, for its lock.
pub(crate) fn run(program: &str, arguments: &[&str], input: Stdio, patience_ms: u64) -> Result<Ran, String> {
    run_with(program, arguments, &[], input, patience_ms)
}

/// The same with more variables than a path and a language.
pub(crate) fn run_with(
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
    input: Stdio,
    patience_ms: u64,
) -> Result<Ran, String> {
    let until_ms = clock::boottime_ms().saturating_add(patience_ms);
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    command.envs(environment.iter().copied());
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir("/");
    let mut child = command.spawn().map_err(|error| format!("cannot start {program}: {error}"))?;
    let output = child.stdout.take().map(|pipe| thread::spawn(move || read(pipe)));
    let errors = child.stderr.take().map(|pipe| thread::spawn(move || read(pipe)));
    let ended = wait(&child, until_ms);
    if !matches!(ended, Ok(true)) {
        // It is ours and not reaped: the number means it.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| format!("cannot wait for {program}: {error}"))?;
    match ended {
        Ok(true) => {}
        Ok(false) => return Err(format!("{program} took longer than {} s", patience_ms / 1000)),
        Err(error) => return Err(format!("cannot wait for {program}: {error}")),
    }
    let text = |reader: Option<thread::JoinHandle<String>>| reader.and_then(|reader| reader.join().ok());
    Ok(Ran {
        succeeded: status.success(),
        output: text(output).unwrap_or_default(),
        errors: text(errors).unwrap_or_default(),
    })
}

fn read(pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    // What was read before an error is what there is to say.
    let _ = pipe.take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// True when it has ended, false when its time is over.
fn wait(child: &Child, until_ms: u64) -> io::Result<bool> {
    // Not reaped before `run` does it, so its number still means it.
    let descriptor = pidfd::open(child.id())?;
    loop {
        let left = until_ms.saturating_sub(clock::boottime_ms());
        let timeout = PollTimeout::from(u16::try_from(left).unwrap_or(u16::MAX));
        let mut entry = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
        match poll(&mut entry, timeout) {
            Ok(0) if left == 0 => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tool_that_hangs_is_ended_and_one_that_fails_is_heard() {
        let hung = run("/bin/sleep", &["60"], Stdio::null(), 50).unwrap_err();
        assert!(hung.contains("took longer"), "{hung}");
        let ran = run("/bin/sh", &["-c", "echo out; echo no  good >&2; exit 3"], Stdio::null(), 10_000).unwrap();
        assert!(!ran.succeeded);
        assert_eq!((ran.output.as_str(), ran.words().as_str()), ("out\n", "no good"));
        assert!(run("/no/such/tool", &[], Stdio::null(), 100).unwrap_err().contains("cannot start"));
    }

    #[test]
    fn tool_that_says_much_does_not_block() {
        let ran = run("/bin/sh", &["-c", "head -c 300000 /dev/zero"], Stdio::null(), 10_000).unwrap();
        assert_eq!(ran.output.len(), 300_000);
    }
}
