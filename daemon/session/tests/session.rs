//! The real program under a spawner and a client that are played by the test: no cgroup (the session is its descendants' reaper), the
//! machine's own PAM service `other`, root as requester and target. Skipped without root, which PAM's account stage asks for here.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jitsudo_bytes::Bytes;
use jitsudo_core::Timestamp;
use jitsudo_core::decision::{Cwd, Record, RunAs};
use jitsudo_core::event::{EndCause, Ending, Entry, Event};
use jitsudo_core::facts::{Executable, Fact, Requester, Target};
use jitsudo_core::name::{Gid, Uid};
use jitsudo_link::facts::{Peer, Process};
use jitsudo_link::marks::Mark;
use jitsudo_link::session::{Authentication, SpawnerToSession, Spec};
use jitsudo_protocol::act::{Act, ActKind, ActOptions, Remember};
use jitsudo_protocol::client::FaultCode;
use jitsudo_protocol::digest;
use jitsudo_protocol::session::{FromSession, Prompt, Size, ToSession};
use jitsudo_sys::channel::Channel;
use jitsudo_sys::child::{self, Child};
use jitsudo_sys::nix::libc;
use jitsudo_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use jitsudo_sys::nix::unistd::{getgid, getuid};
use jitsudo_sys::pty::Pty;
use jitsudo_sys::terminal::{Modes, OutputProcessing};
use jitsudo_sys::{clock, status};

/// How long anything here may take.
const PATIENCE_MS: u16 = 20_000;

/// A session under test, its client's side, and where its events go.
struct Bench {
    spawner: Channel,
    client: Channel,
    session: Child,
    spool: PathBuf,
    spec: Spec,
    act: Act,
}

fn bench(name: &str, script: &str) -> Option<Bench> {
    if !getuid().is_root() {
        return None;
    }
    let spool = std::env::temp_dir().join(format!("jitsudo-session-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&spool);
    std::fs::create_dir_all(&spool).unwrap();
    let (spawner, theirs) = Channel::pair().unwrap();
    let session = child::start(Path::new(env!("CARGO_BIN_EXE_jitsudo-session")), &[], &theirs).unwrap();
    drop(theirs);
    let (client, _) = Channel::pair().unwrap();
    let act = act(script);
    let spec = spec(&act, &spool);
    Some(Bench { spawner, client, session, spool, spec, act })
}

fn act(script: &str) -> Act {
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
        cwd: Bytes::from("/usr"),
        umask: 0o22,
        non_interactive: false,
        terminal: false,
    };
    Act { options, argv: ["sh", "-c", script].map(Bytes::from).to_vec(), env: vec![] }
}

fn spec(act: &Act, spool: &Path) -> Spec {
    let now = clock::now();
    Spec {
        session: "01k00000000000000000000000.1".to_owned().try_into().unwrap(),
        host: "web-1".into(),
        digest: digest::of_act(0, act),
        peer: Peer { pid: std::process::id(), uid: 0, gid: getgid().as_raw() },
        requester: Requester {
            uid: Uid(0),
            gid: Gid(0),
            name: Fact::Is("root".into()),
            groups: Fact::Is(BTreeSet::new()),
            process_groups: Fact::Is(BTreeSet::new()),
            lent_groups: BTreeSet::new(),
            loginuid: Fact::Is(None),
            login_name: Fact::Is(None),
            login_groups: Fact::Unknown,
            home: Fact::Is("/root".into()),
            shell: Fact::Is("/bin/sh".into()),
        },
        target: Target {
            uid: Uid(0),
            name: "root".into(),
            gid: Gid(0),
            group: None,
            groups: vec![Gid(0)],
            home: "/root".into(),
            shell: "/bin/sh".into(),
        },
        executable: Some(Executable {
            path: Bytes::from("/bin/sh"),
            chain: vec![],
            writable_by_others: None,
            is_shell: true,
            same_file_as: BTreeSet::new(),
        }),
        authentication: Authentication::NotNeeded,
        remember: jitsudo_protocol::act::Remember::Use,
        remote: None,
        run_as: RunAs {
            env_keep: vec![],
            env_free: false,
            env_set: vec![],
            cwd: Cwd::Caller,
            umask: None,
            no_new_privs: false,
            leaves: false,
            safe_chain: false,
            create: false,
        },
        record: Record::None,
        secret_arguments: vec![],
        lent: vec![],
        ends_at: Timestamp::from_nanosecond(now.wall_ns + 3_600_000_000_000).unwrap(),
        ends_boottime_ms: now.boottime_ms + 3_600_000,
        grace_ms: 300,
        finish_ms: 0,
        warn: vec![300, 60],
        process: Process {
            start_ticks: 0,
            tty: 0,
            tty_name: None,
            nice: 0,
            cpus: vec![],
            limits: vec![(libc::RLIMIT_NOFILE, 512, 4096)],
            hangup_ignored: false,
            umask: 0o22,
            leader: (0, 0),
            audit_session: None,
            mount_namespace: 0,
        },
        cgroup: None,
        supervisor: None,
        pam_service: "other".into(),
        secure_path: "/usr/sbin:/usr/bin:/sbin:/bin".into(),
        spool: spool.to_str().unwrap().into(),
        marks: spool.with_extension("marks").to_str().unwrap().into(),
        held: false,
        start_by_ms: None,
        extends: false,
        latest: None,
    }
}

impl Bench {
    /// Changes the spec before it is told.
    fn with(mut self, change: impl FnOnce(&mut Spec)) -> Self {
        change(&mut self.spec);
        self
    }

    fn ends_in(self, milliseconds: u64) -> Self {
        let now = clock::now();
        self.with(|spec| spec.ends_boottime_ms = now.boottime_ms + milliseconds)
    }

    fn tell_spec(&mut self) {
        let (sessions, clients) = Channel::pair().unwrap();
        clients.ask_for_credentials().unwrap();
        self.spawner.send(&serde_json::to_vec(&self.spec).unwrap(), &[sessions.as_fd()]).unwrap();
        self.client = clients;
    }

    fn tell_act(&self, standard: [BorrowedFd<'_>; 3], terminal: Option<BorrowedFd<'_>>) {
        let cwd = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open("/usr").unwrap();
        let (start, more) = self.act.split();
        assert!(more.is_empty());
        let mut descriptors = standard.to_vec();
        descriptors.push(cwd.as_fd());
        descriptors.extend(terminal);
        let size = Size { rows: 33, columns: 101, width: 0, height: 0 };
        let first = ToSession::Act {
            act: Box::new(start),
            size,
            foreground: terminal.is_some(),
            background: false,
            prompt: Prompt::default(),
            explain_env: false,
        };
        self.client.send(&serde_json::to_vec(&first).unwrap(), &descriptors).unwrap();
    }

    fn say(&self, message: &ToSession) {
        self.client.send(&serde_json::to_vec(message).unwrap(), &[]).unwrap();
    }

    fn hear(&self) -> Option<(FromSession, Option<OwnedFd>)> {
        let mut entry = [PollFd::new(self.client.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut entry, PollTimeout::from(PATIENCE_MS)).unwrap(), 1, "the session says nothing");
        let message = self.client.receive().unwrap()?;
        assert_eq!(message.sender.unwrap().uid, 0);
        Some((serde_json::from_slice(&message.bytes).unwrap(), message.descriptors.into_iter().next()))
    }

    /// Everything up to the status, notices aside.
    fn end(&self) -> FromSession {
        loop {
            match self.hear().expect("an end").0 {
                FromSession::Notice(_) | FromSession::Started { .. } => {}
                end => return end,
            }
        }
    }

    /// Until when what its command left may run, as it is marked.
    fn marked_until_ms(&self) -> Option<u64> {
        let text = std::fs::read_to_string(format!("{}/{}", self.spec.marks, self.spec.session)).ok()?;
        let mark: Mark = serde_json::from_str(&text).unwrap();
        assert!(
            mark.session == self.spec.session && mark.host == "web-1" && mark.ends.boot == clock::boot_id().unwrap()
        );
        Some(mark.ends.boottime_ms)
    }

    /// Waits for the session's own end, and gives its events.
    fn events(mut self) -> Vec<Event> {
        let mut entry = [PollFd::new(self.session.pidfd().as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut entry, PollTimeout::from(PATIENCE_MS)).unwrap(), 1, "the session does not end");
        self.session.reap();
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(&self.spool).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let read = |path: &PathBuf| serde_json::from_str::<Entry>(&std::fs::read_to_string(path).unwrap()).unwrap();
        let entries: Vec<Entry> = files.iter().map(read).collect();
        assert!(entries.iter().all(|entry| entry.actor.program == "jitsudo-session" && entry.host == "web-1"));
        std::fs::remove_dir_all(&self.spool).unwrap();
        let _ = std::fs::remove_dir_all(&self.spec.marks);
        entries.into_iter().map(|entry| entry.event).collect()
    }
}

/// Looks again and again until it is so, for at most ten seconds.
fn soon(mut condition: impl FnMut() -> bool) -> bool {
    (0..2_000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        condition()
    })
}

fn null() -> File {
    File::options().read(true).write(true).open("/dev/null").unwrap()
}

/// Runs a script with pipes; its output and its raw status.
fn run(bench: &mut Bench, input: &[u8]) -> (Vec<u8>, FromSession) {
    let (read_end, mut write_end) = std::io::pipe().unwrap();
    let (mut output, output_end) = std::io::pipe().unwrap();
    bench.tell_spec();
    bench.tell_act([read_end.as_fd(), output_end.as_fd(), null().as_fd()], None);
    drop((read_end, output_end));
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = write_end.write_all(&input);
    });
    let mut all = Vec::new();
    output.read_to_end(&mut all).unwrap();
    writer.join().unwrap();
    (all, bench.end())
}

fn exit_of(events: &[Event]) -> &Ending {
    let exit =
        events.iter().find_map(|event| if let Event::SessionExit { ending, .. } = event { Some(ending) } else { None });
    exit.expect("an exit")
}

fn is_closed(events: &[Event], wanted: EndCause) -> bool {
    matches!(&events[events.len() - 2..], [Event::Ended { cause, .. }, Event::Closed { .. }] if *cause == wanted)
}

#[test]
fn command_runs_with_its_pipes_and_everything_is_recorded() {
    let Some(mut bench) = bench("pipes", "cat; pwd; ulimit -n; ulimit -c; umask; exit 7") else { return };
    let (output, end) = run(&mut bench, b"in\n");
    assert_eq!(String::from_utf8(output).unwrap(), "in\n/usr\n512\n0\n0022\n");
    assert_eq!(end, FromSession::Ended(7 << 8));
    assert_eq!(bench.marked_until_ms(), Some(bench.spec.ends_boottime_ms + bench.spec.grace_ms));
    let events = bench.events();
    assert_eq!(*exit_of(&events), Ending::Exited(7));
    assert!(is_closed(&events, EndCause::Finished), "{events:?}");
}

#[test]
fn mark_is_there_before_the_command_and_moves_with_its_end() {
    let Some(bench) = bench("marked", "exec sleep 60") else { return };
    let mut bench = bench.with(|spec| (spec.held, spec.finish_ms) = (true, 3_000));
    let more_ms = bench.spec.finish_ms + bench.spec.grace_ms;
    bench.tell_spec();
    bench.tell_act([null().as_fd(), null().as_fd(), null().as_fd()], None);
    assert!(matches!(bench.hear().unwrap().0, FromSession::Started { .. }));
    let until_ms = bench.spec.ends_boottime_ms;
    assert_eq!(bench.marked_until_ms(), Some(until_ms + more_ms));
    let say = |word: &SpawnerToSession| bench.spawner.send(&serde_json::to_vec(word).unwrap(), &[]).unwrap();
    let ends_at = bench.spec.ends_at + jitsudo_core::SignedDuration::from_secs(100);
    say(&SpawnerToSession::Extend { ends_at, ends_boottime_ms: until_ms + 100_000 });
    let moved = || bench.marked_until_ms() == Some(until_ms + 100_000 + more_ms);
    assert!(soon(moved));
    say(&SpawnerToSession::End(EndCause::GivenBack));
    assert!(matches!(bench.end(), FromSession::Ended(_)));
    assert!(bench.marked_until_ms().unwrap() <= clock::boottime_ms() + more_ms, "what got away has no time left");
    bench.events();
}

#[test]
fn pipes_carry_every_byte() {
    let Some(mut bench) = bench("bytes", "cat") else { return };
    let input: Vec<u8> = (0..8_000_000u32).map(|n| (n % 253) as u8).collect();
    let (output, end) = run(&mut bench, &input);
    assert!(output == input, "{} bytes of {}", output.len(), input.len());
    assert_eq!(end, FromSession::Ended(0));
    bench.events();
}

#[test]
fn act_of_another_digest_runs_nothing() {
    let Some(bench) = bench("digest", "echo x") else { return };
    let mut bench = bench.with(|spec| spec.digest = "0".repeat(64));
    let (output, end) = run(&mut bench, b"");
    assert!(output.is_empty());
    assert!(matches!(end, FromSession::Failed(_)), "{end:?}");
    let events = bench.events();
    assert!(matches!(&events[0], Event::SpawnerRefused { cause, .. } if cause.contains("not the one")), "{events:?}");
    assert!(matches!(exit_of(&events), Ending::NotStarted(_)));
    assert!(is_closed(&events, EndCause::NotStarted));
}

#[test]
fn remembering_that_was_changed_on_the_way_runs_nothing() {
    let Some(bench) = bench("remember", "echo x") else { return };
    // The client said -k; who passed it on left that out.
    let mut bench = bench.with(|spec| spec.authentication = Authentication::Remembered);
    bench.act.options.remember = Remember::Ignore;
    let (output, end) = run(&mut bench, b"");
    assert!(output.is_empty() && matches!(end, FromSession::Failed(_)), "{end:?}");
    let events = bench.events();
    assert!(matches!(&events[0], Event::SpawnerRefused { cause, .. } if cause.contains("remembered")), "{events:?}");
}

#[test]
fn remembered_proof_is_recorded_and_told_to_the_spawner_once() {
    let Some(bench) = bench("remembered", "echo x") else { return };
    let mut bench = bench.with(|spec| spec.authentication = Authentication::Remembered);
    let (output, end) = run(&mut bench, b"");
    assert_eq!((output.as_slice(), end), (&b"x\n"[..], FromSession::Ended(0)));
    let mut told = 0;
    while let Ok(Some(message)) = bench.spawner.receive() {
        told += usize::from(message.bytes == b"\"authenticated\"");
    }
    assert_eq!(told, 1);
    let events = bench.events();
    assert!(matches!(&events[0], Event::Authenticated { remembered: true, user, .. } if user == "root"), "{events:?}");
}

#[test]
fn proof_only_runs_no_command_and_opens_no_session() {
    let Some(mut bench) = bench("validate", "echo x") else { return };
    bench.act.options.kind = ActKind::Validate;
    bench.act.argv.clear();
    let digest = digest::of_act(0, &bench.act);
    let mut bench = bench.with(|spec| {
        spec.digest = digest;
        spec.executable = None;
        spec.authentication = Authentication::Remembered;
    });
    let (output, end) = run(&mut bench, b"");
    assert_eq!((output.as_slice(), end), (&b""[..], FromSession::Ended(0)));
    let events = bench.events();
    assert!(matches!(&events[0], Event::Authenticated { remembered: true, .. }), "{events:?}");
    assert_eq!(*exit_of(&events), Ending::Exited(0));
    assert!(is_closed(&events, EndCause::Finished), "{events:?}");
}

#[test]
fn dash_n_where_a_proof_is_needed_runs_nothing_and_asks_nothing() {
    let Some(bench) = bench("dash-n", "echo x") else { return };
    let mut bench = bench.with(|spec| spec.authentication = Authentication::Needed);
    bench.act.options.non_interactive = true;
    let (output, end) = run(&mut bench, b"");
    let FromSession::Failed(fault) = end else { panic!("{end:?}") };
    assert_eq!((output.as_slice(), fault.code), (&b""[..], FaultCode::Authentication));
    assert_eq!(fault.message, "a password is required");
    let events = bench.events();
    assert!(matches!(&events[0], Event::AuthenticationFailed { tries: 0, .. }), "{events:?}");
    assert!(matches!(exit_of(&events), Ending::NotStarted(_)) && is_closed(&events, EndCause::NotStarted));
}

#[test]
fn peer_auth_message_of_another_process_runs_nothing() {
    let Some(bench) = bench("peer", "echo x") else { return };
    let mut bench = bench.with(|spec| spec.peer.pid += 1);
    let (output, end) = run(&mut bench, b"");
    assert!(output.is_empty() && matches!(end, FromSession::Failed(_)), "{end:?}");
    assert!(matches!(&bench.events()[0], Event::SpawnerRefused { .. }));
}

#[test]
fn fd_tty_terminal_that_was_not_announced_is_refused() {
    let Some(mut bench) = bench("stray-tty", "echo x") else { return };
    let pty = Pty::open(0).unwrap();
    bench.tell_spec();
    bench.tell_act([null().as_fd(), pty.slave.as_fd(), null().as_fd()], None);
    assert!(matches!(bench.end(), FromSession::Failed(_)));
    assert!(matches!(exit_of(&bench.events()), Ending::NotStarted(_)));
}

#[test]
fn program_that_cannot_be_executed_is_said_in_words() {
    let Some(bench) = bench("enoent", "x") else { return };
    let mut bench = bench.with(|spec| spec.executable.as_mut().unwrap().path = Bytes::from("/nonexistent/tool"));
    let (_, end) = run(&mut bench, b"");
    let FromSession::Failed(fault) = end else { panic!("{end:?}") };
    assert_eq!(fault.message, "cannot execute /nonexistent/tool: no such file or directory");
    assert_eq!(*exit_of(&bench.events()), Ending::NotStarted(libc::ENOENT));
}

#[test]
fn script_without_an_interpreter_is_a_shells_where_every_command_is_given_and_recorded_as_such() {
    let file = std::env::temp_dir().join(format!("jitsudo-no-interpreter-{}", std::process::id()));
    std::fs::write(&file, "echo by-sh \"$0\" \"$@\"\n").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = file.to_str().unwrap();
    let ran = |name, safe_chain| {
        let bench = bench(name, "an 'argument'")?;
        let mut bench = bench.with(|spec| {
            spec.executable.as_mut().unwrap().path = Bytes::from(path);
            spec.run_as.safe_chain = safe_chain;
        });
        let (output, end) = run(&mut bench, b"");
        let exit = bench.events().into_iter().find_map(|event| match event {
            Event::SessionExit { ending, interpreter, .. } => Some((ending, interpreter)),
            _ => None,
        });
        Some((String::from_utf8(output).unwrap(), end, exit.unwrap()))
    };
    if let (Some(all), Some(named)) = (ran("read", false), ran("unread", true)) {
        assert_eq!(all.0, format!("by-sh {path} -c an 'argument'\n"));
        assert_eq!(all.2, (Ending::Exited(0), Some("/bin/sh".to_owned())));
        // A rule that names commands gives no shell.
        let FromSession::Failed(fault) = named.1 else { panic!("{:?}", named.1) };
        assert_eq!(fault.message, format!("cannot execute {path}: exec format error"));
        assert!(fault.hint.unwrap().contains("such as #!/bin/sh"));
        assert_eq!((named.0.as_str(), named.2), ("", (Ending::NotStarted(libc::ENOEXEC), None)));
    }
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn session_end_06_signals_come_back_as_they_were() {
    for signal in [1, 2, 6, 9, 11, 13, 15, 31] {
        let Some(mut bench) = bench(&format!("signal-{signal}"), &format!("kill -{signal} $$")) else { return };
        let (_, end) = run(&mut bench, b"");
        assert_eq!(end, FromSession::Ended(signal), "{signal}");
        assert_eq!(*exit_of(&bench.events()), Ending::Signalled(u8::try_from(signal).unwrap()));
    }
}

#[test]
fn session_end_02_deadline_ends_what_hides() {
    let marker = format!("7{:06}", std::process::id());
    let script = format!(
        "trap '' TERM HUP; setsid sh -c 'trap \"\" TERM HUP; (sleep {marker} &) ; sleep {marker}' >/dev/null 2>&1 & sleep {marker}"
    );
    let Some(bench) = bench("deadline", &script) else { return };
    let mut bench = bench.ends_in(700);
    let (_, end) = run(&mut bench, b"");
    // Without a cgroup the kill is not at once: the shell may see its child die and say so (128 + 9) before its own turn.
    assert!(matches!(end, FromSession::Ended(15 | 9 | 0x8900)), "{end:?}");
    let events = bench.events();
    assert!(is_closed(&events, EndCause::WindowOver), "{events:?}");
    let left = std::process::Command::new("pgrep").args(["-f", &format!("sleep {marker}")]).output().unwrap();
    assert!(left.stdout.is_empty(), "{left:?}");
}

#[test]
fn session_end_05_status_comes_at_once_and_what_is_left_ends_at_the_end() {
    let Some(bench) = bench("left", "sleep 98764 >/dev/null 2>&1 & exit 3") else { return };
    let mut bench = bench.ends_in(1500);
    let started = clock::boottime_ms();
    bench.tell_spec();
    bench.tell_act([null().as_fd(), null().as_fd(), null().as_fd()], None);
    assert!(matches!(bench.hear().unwrap().0, FromSession::Started { stream: false }));
    let FromSession::Notice(line) = bench.hear().unwrap().0 else { panic!("no notice") };
    assert!(line.starts_with("1 program still runs under this grant and will be ended at "), "{line}");
    assert!(line.ends_with("(sleep)"), "{line}");
    assert_eq!(bench.hear().unwrap().0, FromSession::Ended(3 << 8));
    assert!(clock::boottime_ms() < started + 1400);
    let events = bench.events();
    assert!(events.iter().any(|event| matches!(event, Event::LeftRunning { count: 1, released: false, .. })));
    assert!(is_closed(&events, EndCause::WindowOver), "{events:?}");
}

#[test]
fn role_that_leaves_programs_gives_them_to_the_host() {
    let Some(bench) = bench("leaves", "sleep 4 >/dev/null 2>&1 & exit 0") else { return };
    let mut bench = bench.with(|spec| spec.run_as.leaves = true);
    let (_, end) = run(&mut bench, b"");
    assert_eq!(end, FromSession::Ended(0));
    let is_unmarked = || bench.marked_until_ms().is_none();
    assert!(soon(is_unmarked), "they are nobody's to look for");
    let events = bench.events();
    assert!(events.iter().any(|event| matches!(event, Event::LeftRunning { released: true, .. })));
    assert!(is_closed(&events, EndCause::Released), "{events:?}");
}

#[test]
fn dos_client_that_does_not_read_cannot_keep_a_released_session_past_its_end() {
    let script = "head -c 600000 /dev/zero & sleep 3 >/dev/null 2>&1 & sleep 0.3; exit 0";
    let Some(bench) = bench("released", script) else { return };
    let mut bench = bench.with(|spec| spec.run_as.leaves = true).ends_in(1500);
    let terminal = on_terminal(&mut bench);
    assert_eq!(bench.end(), FromSession::Ended(0));
    let events = bench.events();
    drop(terminal);
    assert!(events.iter().any(|event| matches!(event, Event::LeftRunning { released: true, .. })));
    assert!(is_closed(&events, EndCause::Released), "{events:?}");
}

#[test]
fn client_that_is_gone_takes_the_command_with_it() {
    let Some(mut bench) = bench("gone", "trap '' HUP; sleep 98765") else { return };
    bench.tell_spec();
    bench.tell_act([null().as_fd(), null().as_fd(), null().as_fd()], None);
    assert!(matches!(bench.hear().unwrap().0, FromSession::Started { .. }));
    bench.client = Channel::pair().unwrap().0;
    let events = bench.events();
    assert!(is_closed(&events, EndCause::ClientLost), "{events:?}");
}

#[test]
fn client_that_breaks_the_rules_is_cut_off_and_recorded() {
    for message in [ToSession::Signal(9), ToSession::Signal(0), ToSession::Signal(-1)] {
        let Some(mut bench) = bench("rules", "sleep 98766") else { return };
        bench.tell_spec();
        bench.tell_act([null().as_fd(), null().as_fd(), null().as_fd()], None);
        assert!(matches!(bench.hear().unwrap().0, FromSession::Started { .. }));
        bench.say(&message);
        let events = bench.events();
        assert!(events.iter().any(|event| matches!(event, Event::SpawnerRefused { .. })));
        assert!(is_closed(&events, EndCause::ClientLost), "{events:?}");
    }
}

#[test]
fn warm_session_whose_spawner_closes_goes_quietly() {
    let Some(mut bench) = bench("warm", "x") else { return };
    bench.spawner = Channel::pair().unwrap().0;
    assert!(bench.events().is_empty());
}

/// A user's terminal, of which the test is the emulator, and a client that relays nothing.
struct OnTerminal {
    users: Pty,
    stream: UnixStream,
    output: Vec<u8>,
}

fn on_terminal(bench: &mut Bench) -> OnTerminal {
    bench.act.options.terminal = true;
    bench.spec.digest = digest::of_act(0, &bench.act);
    bench.tell_spec();
    let users = Pty::open(0).unwrap();
    let modes = Modes::of(users.slave.as_fd()).unwrap();
    modes.raw(OutputProcessing::Kept).set(users.slave.as_fd()).unwrap();
    modes.set(users.slave.as_fd()).unwrap();
    let slave = users.slave.as_fd();
    bench.tell_act([slave, slave, slave], Some(slave));
    let (FromSession::Started { stream: true }, Some(stream)) = bench.hear().unwrap() else { panic!("no stream") };
    let stream = UnixStream::from(stream);
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS.into()))).unwrap();
    OnTerminal { users, stream, output: Vec::new() }
}

impl OnTerminal {
    fn expect(&mut self, text: &str) {
        let mut buffer = [0u8; 4096];
        while !self.output.windows(text.len()).any(|part| part == text.as_bytes()) {
            let count = self.stream.read(&mut buffer).unwrap_or(0);
            assert!(count > 0, "{text:?} is not in {:?}", String::from_utf8_lossy(&self.output));
            self.output.extend_from_slice(&buffer[..count]);
        }
        self.output.clear();
    }
    fn type_in(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }
    fn rest(mut self) -> String {
        let _ = self.stream.read_to_end(&mut self.output);
        drop(self.users);
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

#[test]
fn command_on_a_terminal_has_its_own_of_the_same_size() {
    let Some(mut bench) = bench(
        "pty",
        "stty size; tty; ls -l /proc/self/fd >/dev/null; test -t 0 && test -t 1 && echo both; exec 3</dev/tty && echo ctty",
    ) else {
        return;
    };
    let terminal = on_terminal(&mut bench);
    let users = terminal.users.name.clone();
    assert_eq!(bench.end(), FromSession::Ended(0));
    let said = terminal.rest();
    assert!(said.starts_with("33 101\r\n/dev/pts/"), "{said:?}");
    assert!(said.contains("both\r\n") && said.contains("ctty\r\n"), "{said:?}");
    assert!(!said.contains(&format!("{users}\r\n")), "the caller's own terminal reached the command: {said:?}");
    bench.events();
}

#[test]
fn fd_tty_15_resize_reaches_the_command_and_loses_no_output() {
    let script = "trap 'stty size' WINCH; echo ready; while :; do read line && break; done; stty size; seq 5000";
    let Some(mut bench) = bench("resize", script) else { return };
    let mut terminal = on_terminal(&mut bench);
    terminal.expect("ready\r\n");
    for columns in 1..2000u16 {
        bench.say(&ToSession::Resize(Size { rows: 50, columns, width: 0, height: 0 }));
    }
    terminal.expect("50 1999\r\n");
    terminal.type_in("\n");
    assert_eq!(bench.end(), FromSession::Ended(0));
    let said = terminal.rest();
    assert!(said.ends_with("\r\n4999\r\n5000\r\n"), "{}", &said[said.len().saturating_sub(60)..]);
    bench.events();
}

#[test]
fn interrupt_and_suspend_keys_act_on_the_command() {
    let Some(mut bench) = bench("keys", "echo ready; exec sleep 98767") else { return };
    let mut terminal = on_terminal(&mut bench);
    terminal.expect("ready\r\n");
    terminal.type_in("\x1a");
    assert_eq!(bench.hear().unwrap().0, FromSession::Stopped(libc::SIGTSTP));
    bench.say(&ToSession::Continue { foreground: true });
    // Not before it runs again: a stopped program takes no interrupt.
    std::thread::sleep(Duration::from_millis(50));
    terminal.type_in("\x03");
    assert_eq!(bench.end(), FromSession::Ended(libc::SIGINT));
    bench.events();
}

#[test]
fn background_command_that_wants_the_terminal_stops_and_gets_it() {
    let Some(mut bench) = bench("background", "echo ready; read line; echo got $line") else { return };
    bench.act.options.terminal = true;
    bench.spec.digest = digest::of_act(0, &bench.act);
    bench.tell_spec();
    let users = Pty::open(0).unwrap();
    let slave = users.slave.as_fd();
    let cwd = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open("/usr").unwrap();
    let (start, _) = bench.act.split();
    let first = ToSession::Act {
        act: Box::new(start),
        size: Size::default(),
        foreground: true,
        background: true,
        prompt: Prompt::default(),
        explain_env: false,
    };
    bench.client.send(&serde_json::to_vec(&first).unwrap(), &[slave, slave, slave, cwd.as_fd(), slave]).unwrap();
    let (_, Some(stream)) = bench.hear().unwrap() else { panic!("no stream") };
    let stream = UnixStream::from(stream);
    stream.set_nonblocking(false).unwrap();
    let mut terminal = OnTerminal { users, stream, output: vec![] };
    terminal.expect("ready\r\n");
    assert_eq!(bench.hear().unwrap().0, FromSession::Stopped(libc::SIGTTIN));
    bench.say(&ToSession::Continue { foreground: true });
    terminal.type_in("abc\n");
    assert_eq!(bench.end(), FromSession::Ended(0));
    assert!(terminal.rest().ends_with("got abc\r\n"));
    bench.events();
}

#[test]
fn fd_tty_12_closed_terminal_hangs_up_on_a_shell() {
    let Some(mut bench) = bench(
        "hangup",
        "trap '' TERM; trap 'echo hup >\"$OUT\"; exit 5' HUP; echo ready; while :; do sleep 0.05; done",
    ) else {
        return;
    };
    let out = bench.spool.with_extension("out");
    let script = format!("OUT={}; {}", out.display(), bench.act.argv[2].as_str().unwrap());
    bench.act.argv[2] = Bytes::from(script.as_str());
    let mut terminal = on_terminal(&mut bench);
    terminal.expect("ready\r\n");
    drop(terminal);
    bench.client = Channel::pair().unwrap().0;
    let events = bench.events();
    assert_eq!(*exit_of(&events), Ending::Exited(5));
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "hup\n");
    std::fs::remove_file(&out).unwrap();
    assert!(is_closed(&events, EndCause::ClientLost));
}

#[test]
fn output_before_the_end_is_never_lost() {
    let Some(mut bench) = bench("drain", "seq 200000") else { return };
    let terminal = on_terminal(&mut bench);
    let reader = std::thread::spawn(move || terminal.rest());
    assert_eq!(bench.end(), FromSession::Ended(0));
    let said = reader.join().unwrap();
    assert_eq!(said.lines().count(), 200_000);
    assert!(said.ends_with("\r\n200000\r\n"));
    bench.events();
}

#[test]
fn stopped_command_is_ended_too() {
    let Some(bench) = bench("stopped", "kill -STOP $$") else { return };
    let mut bench = bench.ends_in(600);
    bench.tell_spec();
    bench.tell_act([null().as_fd(), null().as_fd(), null().as_fd()], None);
    assert_eq!(bench.end(), FromSession::Stopped(libc::SIGSTOP));
    let FromSession::Ended(raw) = bench.end() else { panic!("no end") };
    assert_eq!(status::ending(raw), status::Ended::Signalled(15));
    assert!(is_closed(&bench.events(), EndCause::WindowOver));
}
