use super::*;
use jitsudo_protocol::session::read_answer;
use jitsudo_sys::channel::Channel;
use jitsudo_sys::nix::unistd::{getuid, pipe};
use jitsudo_sys::pty::Pty;
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(20);
const PROMPT: &[u8] = b"[sudo] password for alice: ";

/// A person in front of a terminal that is nobody's controlling one.
struct Person {
    master: OwnedFd,
    seen: Vec<u8>,
}

impl Person {
    fn new() -> (Self, OwnedFd) {
        let Pty { master, slave, .. } = Pty::open(getuid().as_raw()).unwrap();
        (Self { master, seen: Vec::new() }, slave)
    }
    fn types(&self, text: &[u8]) {
        assert_eq!(write(&self.master, text).unwrap(), text.len());
    }
    fn sees(&mut self, text: &[u8]) {
        let began_ms = clock::boottime_ms();
        while !self.seen.ends_with(text) {
            assert!(clock::boottime_ms() < began_ms + 20_000, "{:?}", String::from_utf8_lossy(&self.seen));
            let mut entries = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut entries, PollTimeout::from(100u16));
            let mut buffer = [0; 256];
            if let Ok(count) = read(&self.master, &mut buffer) {
                self.seen.extend(&buffer[..count]);
            }
        }
    }
    fn echoes(&self) -> bool {
        Modes::of(self.master.as_fd()).unwrap().shows_input()
    }
}

fn place(input: BorrowedFd<'_>, output: BorrowedFd<'_>, is_terminal: bool) -> Line {
    ask(input, output, is_terminal, false, PATIENCE)
}

fn ask(input: BorrowedFd<'_>, output: BorrowedFd<'_>, is_terminal: bool, echo: bool, patience: Duration) -> Line {
    let (near, _far) = Channel::pair().unwrap();
    let signals = signals::take(&[Signal::SIGINT, Signal::SIGTERM]).unwrap();
    let interruptions = Interruptions { signals: &signals, session: near.as_fd() };
    let place = Place { input, output: Some(output), is_terminal, bell: true, patience };
    place.ask(&Question { prompt: PROMPT, echo }, &interruptions)
}

/// Asks on the terminal, in a thread of its own.
fn asked(slave: &OwnedFd) -> JoinHandle<Line> {
    let slave = slave.try_clone().unwrap();
    std::thread::spawn(move || place(slave.as_fd(), slave.as_fd(), true))
}

fn text(line: Line) -> String {
    let Line::Read(secret) = line else { panic!("{line:?}") };
    String::from_utf8(read_answer(&secret.datagram()).unwrap().to_vec()).unwrap()
}

#[test]
fn echo_is_off_while_asked_and_back_afterwards() {
    let (mut person, slave) = Person::new();
    let before = Modes::of(slave.as_fd()).unwrap();
    let line = asked(&slave);
    person.sees(&[b"\x07", PROMPT].concat());
    // Off before the prompt is seen, so whoever sees it can type.
    assert!(!person.echoes());
    person.types(b"alice-pw\n");
    assert_eq!(text(line.join().unwrap()), "alice-pw");
    person.sees(b"\r\n");
    assert_eq!(person.seen, [b"\x07", PROMPT, b"\r\n"].concat());
    assert_eq!(Modes::of(slave.as_fd()).unwrap(), before);
}

#[test]
fn what_was_typed_before_is_dropped_and_what_comes_after_is_left() {
    let (mut person, slave) = Person::new();
    person.types(b"early\n");
    let line = asked(&slave);
    person.sees(PROMPT);
    person.types(b"pw\nnext\n");
    assert_eq!(text(line.join().unwrap()), "pw");
    let mut rest = [0; 16];
    assert_eq!(read(&slave, &mut rest).unwrap(), 5);
    assert_eq!(&rest[..5], b"next\n");
}

#[test]
fn erase_kill_and_end_of_file_are_the_terminals() {
    for (typed, wanted) in [
        (&b"alice-pX\x7fw\n"[..], Some("alice-pw")),
        (b"wrong\x15alice-pw\n", Some("alice-pw")),
        (b"one two\x17\x17pw\n", Some("pw")),
        (b"\n", Some("")),
        (b"pw\x04\x04", Some("pw")),
        (b"\x04", None),
    ] {
        let (mut person, slave) = Person::new();
        let line = asked(&slave);
        person.sees(PROMPT);
        person.types(typed);
        match (line.join().unwrap(), wanted) {
            (Line::End, None) => {}
            (line, Some(wanted)) => assert_eq!(text(line), wanted, "{typed:?}"),
            (line, None) => panic!("{typed:?}: {line:?}"),
        }
        person.sees(b"\r\n");
        assert!(person.echoes());
    }
}

#[test]
fn shown_question_keeps_echo() {
    let (mut person, slave) = Person::new();
    let far = slave.try_clone().unwrap();
    let line = std::thread::spawn(move || ask(far.as_fd(), far.as_fd(), true, true, PATIENCE));
    person.sees(PROMPT);
    person.types(b"123456\n");
    assert_eq!(text(line.join().unwrap()), "123456");
    person.sees(b"123456\r\n");
}

#[test]
fn signal_means_no_and_echo_comes_back() {
    let (mut person, slave) = Person::new();
    let terminal = slave.try_clone().unwrap();
    let line = std::thread::spawn(move || {
        let (near, _far) = Channel::pair().unwrap();
        let signals = signals::take(&[Signal::SIGINT]).unwrap();
        // Ctrl-C on a terminal that is not ours sends nothing: it is sent here, and waits until it is read.
        jitsudo_sys::nix::sys::signal::raise(Signal::SIGINT).unwrap();
        let interruptions = Interruptions { signals: &signals, session: near.as_fd() };
        let (input, output) = (terminal.as_fd(), Some(terminal.as_fd()));
        Place { input, output, is_terminal: true, bell: false, patience: PATIENCE }
            .ask(&Question { prompt: PROMPT, echo: false }, &interruptions)
    });
    assert!(matches!(line.join().unwrap(), Line::Cancelled));
    person.sees(&[PROMPT, b"\r\n"].concat());
    assert!(person.echoes());
}

#[test]
fn patience_ends_and_echo_comes_back() {
    let (mut person, slave) = Person::new();
    let patience = Duration::from_millis(50);
    let began_ms = clock::boottime_ms();
    let line = ask(slave.as_fd(), slave.as_fd(), true, false, patience);
    assert!(matches!(line, Line::TimedOut) && clock::boottime_ms() >= began_ms + 50, "{line:?}");
    person.sees(&[b"\x07", PROMPT, b"\r\n"].concat());
    assert!(person.echoes());
}

#[test]
fn pam_15_half_typed_password_never_reaches_whoever_reads_next() {
    let (mut person, slave) = Person::new();
    let far = slave.try_clone().unwrap();
    let line = std::thread::spawn(move || {
        let line = ask(far.as_fd(), far.as_fd(), true, false, Duration::from_millis(300));
        (line, far)
    });
    person.sees(PROMPT);
    person.types(b"alice-p");
    let (line, _far) = line.join().unwrap();
    assert!(matches!(line, Line::TimedOut), "{line:?}");
    person.sees(b"\r\n");
    // A shell that edits its own line takes what the terminal still holds, and shows it.
    let raw = Modes::of(slave.as_fd()).unwrap().raw(jitsudo_sys::terminal::OutputProcessing::Kept);
    raw.set(slave.as_fd()).unwrap();
    let mut entry = [PollFd::new(slave.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut entry, PollTimeout::ZERO), Ok(0), "what was typed is still there");
    assert_eq!(person.seen, [b"\x07", PROMPT, b"\r\n"].concat());
}

#[test]
fn terminal_that_goes_away_is_no_answer() {
    let (mut person, slave) = Person::new();
    let line = asked(&slave);
    person.sees(PROMPT);
    drop(person);
    assert!(matches!(line.join().unwrap(), Line::Unreadable | Line::End));
}

#[test]
fn session_that_speaks_interrupts_the_question() {
    let (mut person, slave) = Person::new();
    let (near, far) = Channel::pair().unwrap();
    let signals = signals::take(&[]).unwrap();
    far.send(b"{}", &[]).unwrap();
    let interruptions = Interruptions { signals: &signals, session: near.as_fd() };
    let (input, output) = (slave.as_fd(), Some(slave.as_fd()));
    let place = Place { input, output, is_terminal: true, bell: false, patience: PATIENCE };
    let line = place.ask(&Question { prompt: PROMPT, echo: false }, &interruptions);
    assert!(matches!(line, Line::SessionSpoke), "{line:?}");
    person.sees(b"\r\n");
    assert!(person.echoes());
}

#[test]
fn standard_input_is_read_up_to_the_newline() {
    for (given, wanted, left) in [
        (&b"pw\nrest\nmore"[..], Some("pw"), &b"rest\nmore"[..]),
        (b"pw", Some("pw"), b""),
        (b"\nrest", Some(""), b"rest"),
        (b"", None, b""),
    ] {
        let (input, writer) = pipe().unwrap();
        let (shown, output) = pipe().unwrap();
        write(&writer, given).unwrap();
        drop(writer);
        match (place(input.as_fd(), output.as_fd(), false), wanted) {
            (Line::End, None) => {}
            (line, Some(wanted)) => assert_eq!(text(line), wanted),
            (line, None) => panic!("{line:?}"),
        }
        let mut rest = [0; 64];
        let count = read(&input, &mut rest).unwrap();
        assert_eq!(&rest[..count], left);
        let count = read(&shown, &mut rest).unwrap();
        // A pipe's prompt has no newline behind it, but before what sudo says about the end.
        let newline: &[u8] = if wanted.is_none() { b"\n" } else { b"" };
        assert_eq!(&rest[..count], [b"\x07", PROMPT, newline].concat());
    }
}

#[test]
fn line_without_end_is_no_line() {
    let zero = std::fs::File::open("/dev/zero").unwrap();
    let (_shown, output) = pipe().unwrap();
    let began_ms = clock::boottime_ms();
    assert!(matches!(place(zero.as_fd(), output.as_fd(), false), Line::Unreadable));
    assert!(clock::boottime_ms() < began_ms + 20_000);
}
