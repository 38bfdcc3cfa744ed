//! Inside a test host, as one account: runs scripts, with or without a terminal, and says what it saw of each.
//!
//! One [`Job`] a line on standard input, one [`Seen`] a line on standard output. See `jitsudo_tests::rows`.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, BufRead as _, Read, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jitsudo_tests::rows::{Job, Seen, Step};
use jitsudo_tests::{Deadline, wait_until};
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, Winsize};

fn main() -> io::Result<()> {
    let mut out = io::stdout();
    for line in io::stdin().lock().lines() {
        let job: Job = serde_json::from_str(&line?)?;
        let seen = run(&job).unwrap_or_else(|error| Seen { missing: error.to_string(), ..Seen::default() });
        writeln!(out, "{}", serde_json::to_string(&seen)?)?;
        out.flush()?;
    }
    Ok(())
}

fn run(job: &Job) -> io::Result<Seen> {
    std::env::set_current_dir("/")?;
    let _ = Command::new("rm").args(["-rf", &job.folder]).status();
    fs::create_dir_all(&job.folder)?;
    match &job.keys {
        None => without_terminal(job),
        Some(keys) => with_terminal(job, keys),
    }
}

/// The script in a session of its own. setsid(1) becomes bash: what ends bash is what is seen.
fn command(job: &Job, options: &[&str]) -> Command {
    let mut command = Command::new("setsid");
    command.args(options).arg("bash").current_dir(&job.folder).env_clear().envs(&job.environment);
    match &job.script {
        Some(script) => command.args(["-c", script]),
        None => command.args(["--norc", "--noprofile", "--noediting", "-i"]),
    };
    command
}

fn without_terminal(job: &Job) -> io::Result<Seen> {
    let deadline = Deadline::after(Duration::from_secs(job.limit));
    let mut child = command(job, &[]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (out, err) = (Stream::of(child.stdout.take()), Stream::of(child.stderr.take()));
    let mut seen = Seen::default();
    end(&mut child, &deadline, &mut seen)?;
    // Whoever else holds the pipes belongs to the script.
    wait_until(deadline.left(), || out.is_over() && err.is_over());
    if !(out.is_over() && err.is_over()) {
        seen.missing += "the end of the output; ";
    }
    (seen.stdout, seen.stderr) = (out.text(), err.text());
    Ok(seen)
}

fn with_terminal(job: &Job, keys: &[Step]) -> io::Result<Seen> {
    let deadline = Deadline::after(Duration::from_secs(job.limit));
    let master = File::from(rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?);
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let slave: OwnedFd =
        rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    resize(&master, (24, 80))?;
    let before = modes(&slave)?;
    let mut child = command(job, &["--ctty"])
        .stdin(slave.try_clone()?)
        .stdout(slave.try_clone()?)
        .stderr(slave.try_clone()?)
        .spawn()?;
    let screen = Stream::of(Some(master.try_clone()?));
    let mut person = Person { master: Some(master), screen: &screen, read: 0 };
    let mut seen = Seen::default();
    for step in keys {
        if let Some(missing) = person.act(step, &mut child, &deadline)? {
            seen.missing += &missing;
            break;
        }
    }
    if !seen.missing.is_empty() {
        person.master = None;
    }
    end(&mut child, &deadline, &mut seen)?;
    seen.modes = match (before, modes(&slave)?) {
        // A terminal that was hung up has no modes any more.
        (before, after) if before == after || after.is_empty() => String::new(),
        (before, after) => format!("{before} became {after}"),
    };
    drop(slave);
    // The last one that has the terminal open is gone, or never goes: a program that was left there is the script's.
    if !wait_until(deadline.left().min(Duration::from_secs(3)), || screen.is_over()) {
        seen.missing += "the end of what is written to the terminal; ";
    }
    seen.screen = screen.text();
    Ok(seen)
}

/// Waits for the script's end, or ends it.
fn end(child: &mut Child, deadline: &Deadline, seen: &mut Seen) -> io::Result<()> {
    let mut status = None;
    wait_until(deadline.left(), || {
        status = child.try_wait().ok().flatten();
        status.is_some()
    });
    if status.is_none() {
        seen.missing += "the end of the script; ";
        if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        status = Some(child.wait()?);
    }
    seen.status = status.and_then(|status| status.code()).unwrap_or_default();
    seen.signal = status.and_then(|status| status.signal()).unwrap_or_default();
    Ok(())
}

/// In front of the terminal.
struct Person<'a> {
    master: Option<File>,
    screen: &'a Stream,
    /// Up to here it was read.
    read: usize,
}

impl Person<'_> {
    /// Does one step; what did not come, if it is not done in time.
    fn act(&mut self, step: &Step, child: &mut Child, deadline: &Deadline) -> io::Result<Option<String>> {
        let mut found = None;
        let mut ended = None;
        wait_until(deadline.left(), || {
            // What was written just before the script's end may still be on its way.
            if ended.is_none() && !matches!(child.try_wait(), Ok(None)) {
                ended = Some(Deadline::after(Duration::from_millis(300)));
            }
            found = self.screen.find(step.at.as_bytes(), self.read);
            found.is_some() || ended.as_ref().is_some_and(Deadline::is_over)
        });
        let Some(found) = found else { return Ok(Some(format!("{:?} on the terminal; ", step.at))) };
        self.read = found;
        let Some(master) = &mut self.master else { return Ok(Some("a terminal; ".to_owned())) };
        if step.quiet || step.echo {
            let echoes =
                || rustix::termios::tcgetattr(&*master).is_ok_and(|modes| modes.local_modes.contains(LocalModes::ECHO));
            if !wait_until(deadline.left(), || echoes() == step.echo) {
                return Ok(Some(format!("a terminal {} echo; ", if step.echo { "with" } else { "without" })));
            }
        }
        if step.quiet {
            // The real sudo turns echo off first and catches signals then: a Ctrl-C in between is lost.
            let settled = Deadline::after(Duration::from_millis(100));
            wait_until(settled.left(), || settled.is_over());
        }
        if let Some(size) = step.resize {
            resize(master, size)?;
        }
        master.write_all(step.send.as_bytes())?;
        if step.hangup {
            self.master = None;
            self.screen.close();
        }
        Ok(None)
    }
}

fn resize(master: &File, (rows, columns): (u16, u16)) -> io::Result<()> {
    Ok(rustix::termios::tcsetwinsize(master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?)
}

fn modes(slave: &OwnedFd) -> io::Result<String> {
    let output = Command::new("stty").arg("-g").stdin(slave.as_fd().try_clone_to_owned()?).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What is read from one end, by a thread of its own.
#[derive(Clone, Default)]
struct Stream(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    is_over: bool,
    close: bool,
}

impl Stream {
    fn of(source: Option<impl Read + std::os::fd::AsFd + Send + 'static>) -> Self {
        let stream = Self::default();
        let filled = stream.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            let glance = rustix::event::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            if let Some(mut source) = source {
                loop {
                    let mut ends = [rustix::event::PollFd::new(&source, rustix::event::PollFlags::IN)];
                    let ready = rustix::event::poll(&mut ends, Some(&glance));
                    if filled.lock(|content| content.close) {
                        break;
                    }
                    if !matches!(ready, Ok(1..)) {
                        continue;
                    }
                    // EIO at a terminal: nobody has it open any more.
                    let Ok(count @ 1..) = source.read(&mut buffer) else { break };
                    filled.lock(|content| content.bytes.extend(buffer.iter().take(count)));
                }
            }
            filled.lock(|content| content.is_over = true);
        });
        stream
    }

    fn lock<T>(&self, look: impl FnOnce(&mut Content) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_over(&self) -> bool {
        self.lock(|content| content.is_over)
    }

    fn close(&self) {
        self.lock(|content| content.close = true);
        wait_until(Duration::from_secs(1), || self.is_over());
    }

    /// Where the text ends that is looked for.
    fn find(&self, text: &[u8], from: usize) -> Option<usize> {
        self.lock(|content| {
            let fresh = content.bytes.get(from..).unwrap_or_default();
            let at = if text.is_empty() { Some(0) } else { fresh.windows(text.len()).position(|part| part == text) };
            at.map(|at| from + at + text.len())
        })
    }

    fn text(&self) -> String {
        self.lock(|content| visible(&content.bytes))
    }
}

/// As text: line ends and tabs as they are, a carriage return before a line end as `\r`, all else that is not
/// printable as `\xNN`.
fn visible(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\n' | '\t' => text.push(letter),
                '\r' => text.push_str("\\r"),
                letter if letter.is_control() => text.push_str(&format!("\\x{:02x}", u32::from(letter))),
                letter => text.push(letter),
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}
