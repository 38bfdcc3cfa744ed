//! How commands run on real hosts: descriptors, terminals, job control under bash, signals, deadlines. Names carry the rows of the
//! abuse cases.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{EVERYTHING, apply_policy, installed_host};
use jitsudo_tests::{Host, Output, Terminal, package_file, wait_until};

/// Says the size of its terminal, when it starts and whenever that changes, until it is interrupted.
const WINDOW: &str = r#"#!/usr/bin/python3
import os, signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.signal(signal.SIGWINCH, lambda *_: print("{1} {0}".format(*os.get_terminal_size()), flush=True))
print("rea" "dy", flush=True)
while True:
    signal.pause()
"#;

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    apply_policy(&host, EVERYTHING).unwrap();
    host
}

fn alice(host: &Host, line: &str) -> Output {
    host.run(&["bash", "-c", line]).as_user("alice").output().unwrap_or_else(|error| panic!("{error}"))
}

/// What alice's line says, which must succeed without a word on standard error.
fn says(host: &Host, line: &str) -> String {
    let output = alice(host, line);
    assert_eq!((output.status, output.stderr.as_str()), (0, ""), "{line}\n{}", output.both());
    output.stdout
}

/// An interactive shell of alice's on a terminal.
fn shell(host: &Host) -> Terminal {
    let mut terminal =
        host.run(&["bash", "--norc", "--noprofile", "--noediting", "-i"]).as_user("alice").terminal().unwrap();
    terminal.send("PS1='pro''mpt> '; set +o histexpand\n").unwrap();
    terminal.expect("prompt> ").unwrap();
    terminal
}

/// Types a line and waits for the next prompt; what was written meanwhile.
fn line(terminal: &mut Terminal, text: &str) -> String {
    terminal.send(&format!("{text}\n")).unwrap();
    let seen = terminal.expect("prompt> ").unwrap_or_else(|error| panic!("{text}: {error}"));
    seen.split_once("\r\n").map(|(_, after)| after.trim_end_matches("prompt> ").to_owned()).unwrap_or_default()
}

fn is_running(host: &Host, pattern: &str) -> bool {
    host.run(&["pgrep", "-f", "-x", pattern]).output().unwrap().status == 0
}

fn ends(host: &Host, pattern: &str) {
    let gone = wait_until(Duration::from_secs(20), || !is_running(host, pattern));
    assert!(gone, "{pattern} still runs:\n{}", host.run(&["ps", "axf"]).ok().unwrap());
}

#[test]
fn fd_tty_02_fd_tty_03_exactly_three_descriptors_reach_the_command() {
    let host = host("fds");
    // ls itself has the fourth.
    let many = "for fd in {3..60}; do eval \"exec $fd</etc/passwd\"; done; jitsudo ls /proc/self/fd";
    assert_eq!(says(&host, many), "0\n1\n2\n3\n");
    assert_eq!(says(&host, "jitsudo readlink /proc/self/fd/0 <&-"), "/dev/null\n");
    assert_eq!(
        says(&host, "jitsudo sh -c 'x=$(readlink /proc/$$/fd/1); echo $x >/tmp/one' >&-; cat /tmp/one"),
        "/dev/null\n"
    );
    assert_eq!(says(&host, "jitsudo readlink /proc/self/fd/2 2>&-"), "/dev/null\n");
    assert_eq!(
        says(
            &host,
            "jitsudo sh -c 'x=$(readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2); echo $x >/tmp/all' <&- >&- 2>&-; cat /tmp/all"
        ),
        "/dev/null /dev/null /dev/null\n"
    );
    let directory = alice(&host, "jitsudo cat </tmp");
    assert_eq!((directory.status, directory.stdout.as_str()), (1, ""));
    assert!(directory.stderr.contains("standard input: it is a directory"), "{}", directory.stderr);
    // Bytes, end of file and SIGPIPE are the pipe's own.
    says(
        &host,
        "head -c 104857600 /dev/urandom >/tmp/f; jitsudo cat </tmp/f | cmp - /tmp/f; cat /tmp/f | jitsudo tee /tmp/g >/dev/null; cmp /tmp/f /tmp/g",
    );
    assert_eq!(says(&host, "jitsudo yes | head -n 1; echo ${PIPESTATUS[0]}"), "y\n141\n");
    assert_eq!(says(&host, "printf 'a\\nrest' | (jitsudo head -c 2; cat)"), "a\nrest");
}

#[test]
fn session_end_06_status_and_signal_of_the_command_are_the_clients() {
    let host = host("status");
    let statuses = "for n in 0 1 2 69 75 77 126 127 128 255; do jitsudo sh -c \"exit $n\"; echo -n \"$? \"; done";
    assert_eq!(says(&host, statuses).trim(), "0 1 2 69 75 77 126 127 128 255");
    // Without the ones that end nothing: CHLD, CONT, stops, URG, WINCH.
    let signals = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 24 25 26 27 29 30 31 34 64";
    let script = format!(
        "cd /tmp; ulimit -c unlimited; for n in {signals}; do python3 -c '
import os, sys
raw = os.waitstatus_to_exitcode(os.system(\"exec jitsudo sh -c \\\"kill -\" + sys.argv[1] + \" \\\\$\\\\$\\\"\"))
print(-raw, end=\" \")' $n; done; ls /tmp/core* 2>/dev/null || true"
    );
    assert_eq!(says(&host, &script).trim(), signals);
}

#[test]
fn signal_ptrace_08_10_11_what_the_caller_set_does_not_reach_the_command() {
    let host = host("inherit");
    for (line, wanted) in [
        ("ulimit -c unlimited; jitsudo sh -c 'ulimit -c'", "0\n"),
        ("ulimit -n 200; jitsudo sh -c 'ulimit -n'", "200\n"),
        ("ulimit -f 1; jitsudo sh -c 'ulimit -f'", "2\n"),
        ("trap '' PIPE CHLD TERM USR1 INT QUIT; jitsudo grep SigIgn /proc/self/status", "SigIgn:\t0000000000000000\n"),
        ("trap '' HUP; jitsudo grep SigIgn /proc/self/status", "SigIgn:\t0000000000000001\n"),
        ("echo 1000 >/proc/self/oom_score_adj; jitsudo cat /proc/self/oom_score_adj", "0\n"),
        ("umask 0; jitsudo sh -c umask", "0022\n"),
        ("umask 077; jitsudo sh -c umask", "0077\n"),
        ("nice -n 19 jitsudo nice", "19\n"),
        ("chrt --idle 0 jitsudo sh -c 'chrt -p $$ | head -n 1 | cut -d: -f2'", " SCHED_OTHER\n"),
        ("cd /tmp; jitsudo pwd", "/tmp\n"),
        ("mkdir -m 700 -p /tmp/mine; cd /tmp/mine; jitsudo -u bob pwd", "/tmp/mine\n"),
        ("setsid -w jitsudo sh -c 'ps -o tty= -p $$'", "?\n"),
    ] {
        assert_eq!(says(&host, line), wanted, "{line}");
    }
    let mask = "python3 -c 'import os, signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32)); os.execvp(\"jitsudo\", [\"jitsudo\", \"grep\", \"SigBlk\", \"/proc/self/status\"])'";
    assert_eq!(says(&host, mask), "SigBlk:\t0000000000000000\n");
    // no_new_privs is a sandbox to the policy, and this rule is not for one.
    let sandboxed = alice(&host, "setpriv --no-new-privs jitsudo id");
    assert_eq!((sandboxed.status, sandboxed.stdout.as_str()), (1, ""), "{}", sandboxed.both());
    let gone = alice(&host, "mkdir /tmp/gone; cd /tmp/gone; rmdir /tmp/gone; jitsudo pwd");
    assert_eq!((gone.status, gone.stdout.as_str()), (0, "/\n"), "{}", gone.both());
}

#[test]
fn env_01_02_04_10_environment_is_built_from_the_list() {
    let host = host("env");
    let set = "LD_PRELOAD=/x LD_LIBRARY_PATH=/x PYTHONPATH=/x PERL5OPT=-x BASH_ENV=/x ENV=/x IFS=x PS4=x GCONV_PATH=/x \
               GLIBC_TUNABLES=x=y TERM=../../x TERMINFO=/x SUDO_UID=0 SUDO_COMMAND=x HOME=/x USER=x LOGNAME=x MAIL=x SHELL=/x \
               LANG=C.UTF-8 COLORTERM='() { :; }' PATH=/x:/usr/bin:/bin";
    let seen = says(&host, &format!("f() {{ :; }}; export -f f; {set} /usr/bin/jitsudo env"));
    for name in
        ["LD_", "PYTHON", "PERL", "BASH", "ENV=", "IFS", "PS4", "GCONV", "GLIBC", "TERMINFO", "=/x", "()", "=x\n"]
    {
        assert!(!seen.lines().any(|line| format!("{line}\n").contains(name)), "{name} in\n{seen}");
    }
    for line in
        ["HOME=/root", "USER=root", "LOGNAME=root", "LANG=C.UTF-8", "SUDO_USER=alice", "SUDO_COMMAND=/usr/bin/env"]
    {
        assert!(seen.lines().any(|seen| seen == line), "{line} not in\n{seen}");
    }
}

#[test]
fn command_on_a_terminal_gets_keys_sizes_and_stops_like_any_other() {
    let host = host("tty");
    let mut terminal = shell(&host);
    line(&mut terminal, "stty -a >/tmp/before; stty size");
    // The command's terminal is its own, of the same size and modes.
    let own = line(
        &mut terminal,
        "stty intr ^G; stty size; tty; jitsudo sh -c 'stty size; tty; stty -a | grep -o \"intr = ..\"'",
    );
    let seen: Vec<&str> = own.lines().collect();
    assert_eq!((seen.first(), seen.get(2), seen.get(4)), (Some(&"24 80"), Some(&"24 80"), Some(&"intr = ^G")), "{own}");
    assert!(seen.get(1) != seen.get(3) && own.matches("/dev/pts/").count() == 2, "{own}");
    line(&mut terminal, "stty intr ^C");

    // A program in raw mode gets every key.
    terminal
        .send("jitsudo sh -c 'stty raw -echo; printf rea%s dy; dd bs=1 count=4 2>/dev/null | od -An -tx1; stty sane'\n")
        .unwrap();
    terminal.expect("ready").unwrap();
    terminal.send("\x03\x1a\x1c\r").unwrap();
    terminal.expect("03 1a 1c 0d").unwrap();
    terminal.expect("prompt> ").unwrap();

    // A window that is dragged. Not a shell's loop: a shell whose command in the foreground ends well at that moment leaves Ctrl-C to it.
    host.write("/opt/window", 0o755, WINDOW).unwrap();
    terminal.send("jitsudo /opt/window\n").unwrap();
    terminal.expect("ready").unwrap();
    terminal.resize(50, 132).unwrap();
    terminal.expect("50 132").unwrap();
    terminal.send("\x03").unwrap();
    terminal.expect("prompt> ").unwrap();
    assert_eq!(line(&mut terminal, "echo $?"), "130\r\n");
    terminal.resize(24, 80).unwrap();

    // Interrupt.
    terminal.send("jitsudo sleep 1001\n").unwrap();
    assert!(wait_until(Duration::from_secs(10), || is_running(&host, "sleep 1001")));
    terminal.send("\x03").unwrap();
    terminal.expect("prompt> ").unwrap();
    assert_eq!(line(&mut terminal, "echo $?"), "130\r\n");
    ends(&host, "sleep 1001");

    // Modes are the old ones after all that, and echo works.
    line(&mut terminal, "stty -a >/tmp/after");
    assert_eq!(line(&mut terminal, "cmp /tmp/before /tmp/after && echo sa''me"), "same\r\n");
}

#[test]
fn suspend_foreground_background_work_under_bash() {
    let host = host("jobs");
    let mut terminal = shell(&host);
    terminal.send("jitsudo sleep 1002\n").unwrap();
    assert!(wait_until(Duration::from_secs(10), || is_running(&host, "sleep 1002")));
    terminal.send("\x1a").unwrap();
    terminal.expect("Stopped").unwrap();
    terminal.expect("prompt> ").unwrap();
    assert_eq!(line(&mut terminal, "echo he''re; ps -o stat= -C sleep | cut -c1"), "here\r\nT\r\n");
    terminal.send("fg\n").unwrap();
    assert!(wait_until(Duration::from_secs(10), || !host.sh("ps -o stat= -C sleep").ok().unwrap().starts_with('T')));
    terminal.send("\x03").unwrap();
    terminal.expect("prompt> ").unwrap();
    assert_eq!(line(&mut terminal, "echo $?"), "130\r\n");

    // bg: it runs on and still writes.
    terminal.send("jitsudo sh -c 'for n in 1 2 3 4 5 6 7 8 9; do sleep 0.3; echo tick$n; done'\n").unwrap();
    terminal.expect("tick1").unwrap();
    terminal.send("\x1a").unwrap();
    terminal.expect("prompt> ").unwrap();
    terminal.send("bg\n").unwrap();
    terminal.expect("tick9").unwrap();
    line(&mut terminal, "wait");

    // &: no terminal until it asks for one and fg gives it.
    terminal.send("jitsudo sh -c 'echo from-background' &\n").unwrap();
    terminal.expect("from-background\r\n").unwrap();
    line(&mut terminal, "wait");
    terminal.send("jitsudo sh -c 'read x; echo got-$x' &\n").unwrap();
    terminal.expect("prompt> ").unwrap();
    assert!(wait_until(Duration::from_secs(10), || {
        terminal.send("jobs\n").is_ok() && terminal.expect("prompt> ").is_ok_and(|seen| seen.contains("Stopped"))
    }));
    terminal.send("fg\n").unwrap();
    terminal.expect("read x").unwrap();
    assert!(wait_until(Duration::from_secs(10), || host.sh("ps -o stat= -C jitsudo").ok().unwrap().contains('S')));
    terminal.send("abc\n").unwrap();
    terminal.expect("got-abc").unwrap();
    terminal.expect("prompt> ").unwrap();

    // One inside the other: both are stopped and both go on (sudo#1527).
    terminal.send("jitsudo jitsudo sleep 1004\n").unwrap();
    assert!(wait_until(Duration::from_secs(10), || is_running(&host, "sleep 1004")));
    terminal.send("\x1a").unwrap();
    terminal.expect("Stopped").unwrap();
    terminal.expect("prompt> ").unwrap();
    terminal.send("fg\n").unwrap();
    assert!(wait_until(Duration::from_secs(10), || !host.sh("ps -o stat= -C sleep").ok().unwrap().starts_with('T')));
    terminal.send("\x03").unwrap();
    terminal.expect("prompt> ").unwrap();
    assert_eq!(line(&mut terminal, "echo $?"), "130\r\n");
    ends(&host, "sleep 1004");

    // A shell inside has job control of its own; what it suspends is its own affair.
    terminal.send("jitsudo bash --norc --noediting -i\n").unwrap();
    terminal.expect("# ").unwrap();
    terminal.send("sleep 1003\n").unwrap();
    assert!(wait_until(Duration::from_secs(10), || is_running(&host, "sleep 1003")));
    terminal.send("\x1a").unwrap();
    terminal.expect("Stopped").unwrap();
    terminal.send("kill %1; exit\n").unwrap();
    terminal.expect("exit").unwrap();
    terminal.send("\nexit\n").unwrap();
    terminal.expect("prompt> ").unwrap();
    ends(&host, "sleep 1003");
}

#[test]
fn fd_tty_14_pipelines_share_the_terminal() {
    let host = host("pipes");
    let mut terminal = shell(&host);
    assert_eq!(line(&mut terminal, "jitsudo printf 'a\\nb\\n' | cat"), "a\r\nb\r\n");
    assert_eq!(line(&mut terminal, "echo hi | jitsudo cat"), "hi\r\n");
    assert_eq!(line(&mut terminal, "jitsudo seq 3 | jitsudo tac"), "3\r\n2\r\n1\r\n");
    assert_eq!(line(&mut terminal, "echo x | jitsudo tee /dev/stderr | cat"), "x\r\nx\r\n");
    // Neither the terminal's modes nor what is typed ahead is touched by a pipeline that does not ask.
    assert!(terminal.echoes().unwrap());
    terminal.send("jitsudo seq 3 | (read x; sleep 0.5; echo first-$x)\necho typed-a''head\n").unwrap();
    terminal.expect("first-1").unwrap();
    terminal.expect("typed-ahead").unwrap();
    terminal.expect("prompt> ").unwrap();
    // One that asks gets it, although its output is a pipe.
    terminal.send("jitsudo sh -c 'echo ask >&2; read x </dev/tty; echo got-$x' | cat\n").unwrap();
    terminal.expect("ask\r\n").unwrap();
    terminal.send("abc\n").unwrap();
    terminal.expect("got-abc\r\n").unwrap();
    terminal.expect("prompt> ").unwrap();
    // Less reads its keys from the terminal, jitsudo must not.
    terminal.send("jitsudo seq 100 | less\n").unwrap();
    terminal.expect("23").unwrap();
    terminal.send("G").unwrap();
    terminal.expect("(END)").unwrap();
    terminal.send("q").unwrap();
    terminal.expect("prompt> ").unwrap();
    assert!(terminal.echoes().unwrap());
    assert_eq!(line(&mut terminal, "jitsudo sh -c 'exit 3' | true; echo ${PIPESTATUS[0]}"), "3\r\n");
}

#[test]
fn fd_tty_12_client_or_terminal_that_is_gone_takes_the_command_with_it() {
    let host = host("gone");
    for (number, kill) in [(1010, "kill -KILL"), (1011, "kill -HUP"), (1012, "kill -TERM")] {
        let command = format!("sleep {number}");
        let line = format!("jitsudo {command} & sleep 1; {kill} $!; wait $! 2>/dev/null; echo $?");
        let said = alice(&host, &line);
        assert!(["137\n", "129\n", "143\n"].contains(&said.stdout.as_str()), "{line}: {}", said.both());
        ends(&host, &command);
    }
    let mut terminal = shell(&host);
    terminal.send("jitsudo bash -c 'trap \"\" HUP TERM; sleep 1013; sleep 1013'\n").unwrap();
    assert!(wait_until(Duration::from_secs(10), || is_running(&host, "sleep 1013")));
    drop(terminal);
    ends(&host, "sleep 1013");
    let closed = || host.run(&["jitctl", "log", "--json"]).ok().unwrap().matches("\"client_lost\"").count() >= 2;
    assert!(wait_until(Duration::from_secs(20), closed), "{}", host.run(&["jitctl", "log"]).ok().unwrap());
}

#[test]
fn session_end_02_deadline_ends_whatever_hides_and_says_so() {
    let host = host("deadline");
    let policy = EVERYTHING.replace("auth = \"none\"", "auth = \"none\"\nrun-time = \"3s\"");
    apply_policy(&host, &policy).unwrap();
    let script = "trap '' TERM HUP INT; (setsid sh -c 'trap \"\" TERM HUP; exec </dev/null >/dev/null 2>&1; sleep 1020; sleep 1020' &); exec sleep 1021";
    let mut terminal = shell(&host);
    terminal.send(&format!("jitsudo bash -c {}\n", quoted(script))).unwrap();
    terminal.expect("jitsudo: the time is over; this command and ").unwrap();
    terminal.expect("prompt> ").unwrap();
    ends(&host, "sleep 1020");
    ends(&host, "sleep 1021");
    assert!(terminal.echoes().unwrap());
    // What the command leaves is named, runs on, and ends with the grant.
    let left = line(&mut terminal, "jitsudo sh -c 'sleep 1022 >/dev/null 2>&1 & exit 4'; echo status-$?");
    assert!(left.contains("jitsudo: 1 program still runs under this grant and will be ended at "), "{left}");
    assert!(left.contains("(sleep)") && left.ends_with("status-4\r\n"), "{left}");
    ends(&host, "sleep 1022");
    let over = || host.run(&["jitctl", "log", "--json"]).ok().unwrap().matches("window_over").count() >= 2;
    assert!(wait_until(Duration::from_secs(20), over), "{}", host.run(&["jitctl", "log", "--json"]).ok().unwrap());
}

#[test]
fn fd_tty_15_resize_storm_loses_no_output() {
    let host = host("storm");
    let mut terminal = shell(&host);
    terminal.send("jitsudo sh -c 'seq 100000; stty size'\n").unwrap();
    for round in 0..10_000u16 {
        terminal.resize(24, 80 + round % 40).unwrap();
    }
    terminal.resize(30, 90).unwrap();
    terminal.expect("\r\n100000\r\n").unwrap();
    terminal.expect("prompt> ").unwrap();
    let text = terminal.text();
    let mut last = 0u32;
    for number in text.split("\r\n").filter_map(|line| line.parse::<u32>().ok()) {
        assert_eq!(number, last + 1, "output is missing");
        last = number;
    }
    assert_eq!(last, 100_000);
    assert_eq!(line(&mut terminal, "jitsudo stty size"), "30 90\r\n");
}

#[test]
fn root_without_a_daemon_runs_it_itself_and_nobody_else_does() {
    let host = host("rescue");
    host.sh("systemctl stop jitsudod.socket jitsudod.service").ok().unwrap();
    let own = host.sh("cd /usr; FOO=x jitsudo BAR=y sh -c 'id -u; pwd; echo $BAR $PATH; exit 5'").output().unwrap();
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!((own.status, own.stdout.as_str(), own.stderr.as_str()), (5, &*format!("0\n/usr\ny {path}\n"), ""));
    let other = alice(&host, "jitsudo id");
    assert_eq!((other.status, other.stdout.as_str()), (69, ""));
    let wanted = "jitsudo: cannot reach jitsudod at /run/jitsudo/socket: no such file or directory\n  hint: systemctl status jitsudod\n";
    let refused = wanted.replace("no such file or directory", "connection refused");
    assert!([wanted, &refused].contains(&other.stderr.as_str()), "{}", other.stderr);
    // Root for another account needs the daemon, and so does a person who became root.
    assert_eq!(host.sh("jitsudo -u bob id").output().unwrap().status, 69);
    assert_eq!(host.sh("echo 1001 >/proc/self/loginuid; jitsudo id").output().unwrap().status, 69);
    let said =
        || host.sh("journalctl -q --no-pager -t jitsudo").ok().unwrap().contains("root ran by itself: command sh -c");
    assert!(wait_until(Duration::from_secs(10), said));
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
