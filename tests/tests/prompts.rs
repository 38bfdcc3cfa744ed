//! How a password is asked for, on a real terminal and without one: shown for the real sudo first, then for jitsudo called as sudo.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{EVERYTHING, apply_policy, installed_host};
use jitsudo_tests::{Host, Output, Terminal, package_file};

const PROMPT: &str = "[sudo] password for alice: ";
const REAL: &str = "/usr/bin/sudo";
const OURS: &str = "/opt/as/sudo";
const LIMIT: Duration = Duration::from_secs(20);

/// A host where alice may run everything as anybody with her password, by both.
fn host(name: &str) -> Host {
    host_of(name, "bookworm")
}

fn host_of(name: &str, suite: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, suite, &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    apply_policy(&host, &EVERYTHING.replace("auth = \"none\"\n", "")).unwrap();
    host.write("/etc/sudoers.d/alice", 0o440, "alice ALL=(ALL:ALL) ALL\n").unwrap();
    host.sh("mkdir -p /opt/as && ln -s /usr/bin/jitsudo /opt/as/sudo").ok().unwrap();
    host
}

/// Puts both programs to the same test; nothing is remembered from one to the next.
fn both(host: &Host, mut test: impl FnMut(&str)) {
    for program in [REAL, OURS] {
        eprintln!("as {program}:");
        test(program);
        alice(host, &format!("{program} -K"));
    }
}

fn alice(host: &Host, line: &str) -> Output {
    host.run(&["bash", "-c", line]).as_user("alice").output().unwrap_or_else(|error| panic!("{error}"))
}

/// A line of alice's on a terminal of its own.
fn on_terminal(host: &Host, line: &str) -> Terminal {
    host.run(&["bash", "-c", line]).as_user("alice").terminal().unwrap()
}

/// The program ends so, and this is all that the terminal shows.
fn ends(terminal: &mut Terminal, status: i32, text: &str) {
    let ended = terminal.wait(LIMIT).unwrap_or_else(|error| panic!("{error}"));
    // What it wrote last may still be on its way.
    jitsudo_tests::wait_until(LIMIT, || terminal.text().len() >= text.len());
    assert_eq!((ended, terminal.text().as_str()), (status, text));
}

/// Tells a program that asks to stop asking. The real one is deaf for a moment after its prompt, so it is told again.
fn told(program: &str, terminal: &mut Terminal, mut tell: impl FnMut(&mut Terminal)) {
    for _ in 0..if program == REAL { 10 } else { 1 } {
        tell(terminal);
        if terminal.wait(Duration::from_secs(2)).is_ok() {
            return;
        }
    }
}

/// Presses a key at a question, in a shell, until this is seen; only the real one needs it twice.
fn press(program: &str, terminal: &mut Terminal, key: &str, then: &str) {
    let seen = |terminal: &Terminal| terminal.text().matches(then).count();
    let before = seen(terminal);
    for _ in 0..if program == REAL { 10 } else { 1 } {
        terminal.send(key).unwrap();
        if jitsudo_tests::wait_until(Duration::from_secs(3), || seen(terminal) > before) {
            break;
        }
    }
    terminal.expect(then).unwrap();
}

/// An interactive shell of alice's on a terminal.
fn shell(host: &Host) -> Terminal {
    let mut terminal =
        host.run(&["bash", "--norc", "--noprofile", "--noediting", "-i"]).as_user("alice").terminal().unwrap();
    terminal.send("PS1='pro''mpt> '; set +o histexpand\n").unwrap();
    terminal.expect("prompt> ").unwrap();
    terminal
}

#[test]
fn prompt_is_exact_and_what_is_typed_is_not_shown() {
    let host = host("prompt");
    both(&host, |program| {
        let mut terminal = on_terminal(&host, &format!("exec {program} -k echo hi"));
        terminal.answer_hidden(PROMPT, "alice-pw").unwrap();
        ends(&mut terminal, 0, &format!("{PROMPT}\r\nhi\r\n"));
        assert!(terminal.echoes().unwrap());
        // Three tries, in sudo's words.
        let mut terminal = on_terminal(&host, &format!("exec {program} -k echo hi"));
        for _ in 0..3 {
            terminal.answer_hidden(PROMPT, "wrong").unwrap();
        }
        let again = "\r\nSorry, try again.\r\n";
        let words = "\r\nsudo: 3 incorrect password attempts\r\n";
        ends(&mut terminal, 1, &format!("{PROMPT}{again}{PROMPT}{again}{PROMPT}{words}"));
        // The terminal's own line editing.
        let mut terminal = on_terminal(&host, &format!("exec {program} -k echo hi"));
        terminal.answer_hidden(PROMPT, "nonsense\x15alice-pX\x7fw").unwrap();
        ends(&mut terminal, 0, &format!("{PROMPT}\r\nhi\r\n"));
    });
    let mut terminal = on_terminal(&host, "exec jitsudo -k echo hi");
    terminal.answer_hidden("[jitsudo] password for alice: ", "alice-pw").unwrap();
    ends(&mut terminal, 0, "[jitsudo] password for alice: \r\nhi\r\n");
}

#[test]
fn templates_and_the_bell_are_sudos() {
    let host = host("template");
    let name = host.name().to_owned();
    both(&host, |program| {
        for (line, shown) in [
            ("-k -p '%h|%p|%U|%u|%%|%x|' -u bob echo hi", format!("{name}|alice|bob|alice|%|%x|")),
            ("-k -B echo hi", format!("\x07{PROMPT}")),
            ("-k -p 'key=abc password:' echo hi", "key=abc password:".to_owned()),
        ] {
            let mut terminal = on_terminal(&host, &format!("exec {program} {line}"));
            terminal.answer_hidden(&shown, "alice-pw").unwrap();
            ends(&mut terminal, 0, &format!("{shown}\r\nhi\r\n"));
        }
        let mut terminal = on_terminal(&host, &format!("SUDO_PROMPT='%u? ' exec {program} -k echo hi"));
        terminal.answer_hidden("alice? ", "alice-pw").unwrap();
        ends(&mut terminal, 0, "alice? \r\nhi\r\n");
    });
}

#[test]
fn end_of_input_and_signals_are_no_answer_and_give_the_terminal_back() {
    let host = host("noanswer");
    both(&host, |program| {
        let asked = || {
            let mut terminal = on_terminal(&host, &format!("exec {program} -k echo hi"));
            terminal.expect(PROMPT).unwrap();
            assert!(jitsudo_tests::wait_until(LIMIT, || !terminal.echoes().unwrap()));
            terminal
        };
        let required = format!("{PROMPT}\r\nsudo: a password is required\r\n");
        for key in ["\x03", "\x1c"] {
            let mut terminal = asked();
            told(program, &mut terminal, |terminal| terminal.send(key).unwrap());
            ends(&mut terminal, 1, &required);
            assert!(terminal.echoes().unwrap());
        }
        for signal in ["TERM", "HUP"] {
            let mut terminal = asked();
            // By root, as whom the real one runs.
            let line = format!("pkill -{signal} -f '^{program} -k echo hi$'");
            told(program, &mut terminal, |_| drop(host.sh(&line).output().unwrap()));
            ends(&mut terminal, 1, &required);
            assert!(terminal.echoes().unwrap());
        }
        let mut terminal = asked();
        terminal.send("\x04").unwrap();
        let nothing = format!("{PROMPT}\r\nsudo: no password was provided\r\nsudo: a password is required\r\n");
        ends(&mut terminal, 1, &nothing);
        let mut terminal = asked();
        terminal.send("wrong\n").unwrap();
        terminal.expect(PROMPT).unwrap();
        assert!(jitsudo_tests::wait_until(LIMIT, || !terminal.echoes().unwrap()));
        terminal.send("\x03").unwrap();
        assert_eq!(terminal.wait(LIMIT).unwrap(), 1);
        terminal.expect("sudo: 1 incorrect password attempt\r\n").unwrap();
    });
}

#[test]
fn ctrl_z_stops_a_question_and_fg_asks_again() {
    let host = host("ctrlz");
    both(&host, |program| {
        let mut terminal = shell(&host);
        terminal.send(&format!("{program} -k echo it''ran\n")).unwrap();
        terminal.expect(PROMPT).unwrap();
        assert!(jitsudo_tests::wait_until(LIMIT, || !terminal.echoes().unwrap()));
        press(program, &mut terminal, "\x1a", "Stopped");
        terminal.expect("prompt> ").unwrap();
        assert!(terminal.echoes().unwrap(), "the shell has its terminal back");
        terminal.send("fg\n").unwrap();
        terminal.answer_hidden(PROMPT, "alice-pw").unwrap();
        terminal.expect("itran").unwrap();
        terminal.expect("prompt> ").unwrap();
        assert!(terminal.echoes().unwrap());
    });
}

#[test]
fn background_job_stops_and_asks_after_fg() {
    let host = host("bgask");
    both(&host, |program| {
        let mut terminal = shell(&host);
        terminal.send(&format!("{program} -k echo it''ran & sleep 1; jobs\n")).unwrap();
        terminal.expect("Stopped").unwrap();
        terminal.expect("prompt> ").unwrap();
        // The shell's own line is shown as it is typed, and not taken for a password.
        terminal.send("echo still he''re\n").unwrap();
        terminal.expect("still here").unwrap();
        terminal.expect("prompt> ").unwrap();
        terminal.send("fg\n").unwrap();
        terminal.answer_hidden(PROMPT, "alice-pw").unwrap();
        terminal.expect("itran").unwrap();
        terminal.expect("prompt> ").unwrap();
    });
}

#[test]
fn what_was_typed_before_the_question_is_no_password() {
    let host = host("ahead");
    // sudo 1.9.13 takes it: this one is stricter.
    let mut terminal = on_terminal(&host, "sleep 1; exec /opt/as/sudo -k echo hi");
    terminal.send("alice-pw\n").unwrap();
    terminal.expect(PROMPT).unwrap();
    terminal.send("wrong\n").unwrap();
    terminal.expect("Sorry, try again.").unwrap();
    terminal.answer_hidden(PROMPT, "alice-pw").unwrap();
    terminal.expect("hi").unwrap();
    assert_eq!(terminal.wait(LIMIT).unwrap(), 0);
}

#[test]
fn standard_input_gives_one_line_and_the_rest_is_the_commands() {
    let host = host("stdin");
    both(&host, |program| {
        for (line, status, out, error) in [
            ("printf 'alice-pw\\nrest\\nmore' | SUDO -k -S cat", 0, "rest\nmore", PROMPT.to_owned()),
            ("printf 'alice-pw\\nrest\\n' >/tmp/f; SUDO -k -S cat </tmp/f", 0, "rest\n", PROMPT.to_owned()),
            ("printf 'alice-pw' | SUDO -k -S cat", 0, "", PROMPT.to_owned()),
            (
                "printf 'x\\nalice-pw\\nmore' | SUDO -k -S cat",
                0,
                "more",
                format!("{PROMPT}Sorry, try again.\n{PROMPT}"),
            ),
            (
                "SUDO -k -S cat </dev/null",
                1,
                "",
                format!("{PROMPT}\nsudo: no password was provided\nsudo: a password is required\n"),
            ),
            (
                "echo x | SUDO -k -S cat",
                1,
                "",
                format!(
                    "{PROMPT}Sorry, try again.\n{PROMPT}\nsudo: no password was provided\nsudo: 1 incorrect password attempt\n"
                ),
            ),
            ("echo alice-pw | SUDO -k -S -p 'pw:' cat", 0, "", "pw:".to_owned()),
            ("echo alice-pw | SUDO -k -nS cat", 1, "", "sudo: a password is required\n".to_owned()),
        ] {
            let line = line.replace("SUDO", program);
            let output = alice(&host, &format!("cd /tmp; {line}"));
            assert_eq!((output.status, output.stdout.as_str(), output.stderr), (status, out, error), "{line}");
        }
    });
}

#[test]
fn without_a_terminal_a_helper_asks_or_nobody() {
    let host = host("askpass");
    host.write(
        "/usr/local/bin/ask",
        0o755,
        "#!/bin/sh\necho \"$(id -un) $# <$1>\" >&2; echo alice-pw; { echo rest; } 2>/dev/null\n",
    )
    .unwrap();
    host.write("/usr/local/bin/ask-nobody", 0o755, "#!/bin/sh\nexit 1\n").unwrap();
    let nothing = "sudo: no password was provided\nsudo: a password is required\n";
    let terminal = "sudo: a terminal is required to read the password; either use the -S option to read from standard input \
                    or configure an askpass helper\nsudo: a password is required\n";
    both(&host, |program| {
        for (line, status, error) in [
            ("setsid -w SUDO -k id -u </dev/null", 1, terminal.to_owned()),
            ("setsid -w SUDO -k -v </dev/null", 1, terminal.to_owned()),
            ("setsid -w SUDO -k -n id -u </dev/null", 1, "sudo: a password is required\n".to_owned()),
            ("SUDO -k -A id -u", 1, "sudo: no askpass program specified, try setting SUDO_ASKPASS\n".to_owned()),
            ("SUDO_ASKPASS=/usr/local/bin/ask SUDO -k -A id -u", 0, format!("alice 1 <{PROMPT}>\n")),
            ("SUDO_ASKPASS=/usr/local/bin/ask-nobody SUDO -k -A id -u", 1, nothing.to_owned()),
            (
                "SUDO_ASKPASS=/nosuch SUDO -k -A id -u",
                1,
                format!("sudo: unable to run /nosuch: No such file or directory\n{nothing}"),
            ),
            (
                "SUDO_ASKPASS=/etc/passwd SUDO -k -A id -u",
                1,
                format!("sudo: unable to run /etc/passwd: Permission denied\n{nothing}"),
            ),
            // By itself it is used where there is a display to ask on, and only there.
            ("SUDO_ASKPASS=/usr/local/bin/ask setsid -w SUDO -k id -u </dev/null", 1, terminal.to_owned()),
            (
                "DISPLAY=:0 SUDO_ASKPASS=/usr/local/bin/ask setsid -w SUDO -k id -u </dev/null",
                0,
                format!("alice 1 <{PROMPT}>\n"),
            ),
        ] {
            let line = line.replace(" SUDO ", &format!(" {program} "));
            let line = line.strip_prefix("SUDO ").map_or(line.clone(), |rest| format!("{program} {rest}"));
            let output = alice(&host, &line);
            let out = if status == 0 { "0\n" } else { "" };
            assert_eq!((output.status, output.stdout.as_str(), output.stderr), (status, out, error), "{line}");
        }
    });
}

#[test]
fn modes_of_the_terminal_are_what_they_were_on_every_way_out() {
    let host = host("modes");
    both(&host, |program| {
        let mut terminal = shell(&host);
        terminal.send("before=$(stty -g)\n").unwrap();
        terminal.expect("prompt> ").unwrap();
        for (typed, then) in [("alice-pw\n", "\nhi"), ("\x03", "required"), ("\x04", "required")] {
            terminal.send(&format!("{program} -k echo h''i\n")).unwrap();
            terminal.expect(PROMPT).unwrap();
            assert!(jitsudo_tests::wait_until(LIMIT, || !terminal.echoes().unwrap()));
            press(program, &mut terminal, typed, then);
            terminal.expect("prompt> ").unwrap();
            terminal.send("test \"$(stty -g)\" = \"$before\" && echo sa''me\n").unwrap();
            terminal.expect("same").unwrap();
            terminal.expect("prompt> ").unwrap();
        }
    });
}

#[test]
fn background_asks_first_and_then_lets_go() {
    // Under Debian 12's sudo the command does not come to the end of such an input.
    let host = host_of("behind", "trixie");
    both(&host, |program| {
        let line = format!("{program} -k -b sh -c 'sleep 1; cat; echo $? >/tmp/be''hind'; echo st=$?; sleep 20");
        host.sh("rm -f /tmp/behind").ok().unwrap();
        let mut terminal = on_terminal(&host, &line);
        terminal.answer_hidden(PROMPT, "alice-pw").unwrap();
        terminal.expect("st=0").unwrap();
        let ended = jitsudo_tests::wait_until(LIMIT, || host.sh("cat /tmp/behind").output().unwrap().stdout == "0\n");
        assert!(ended, "the command's input is at its end at once");
        let mut terminal = on_terminal(&host, &format!("exec {program} -k -b true"));
        terminal.expect(PROMPT).unwrap();
        assert!(jitsudo_tests::wait_until(LIMIT, || !terminal.echoes().unwrap()));
        told(program, &mut terminal, |terminal| terminal.send("\x03").unwrap());
        assert_eq!(terminal.wait(LIMIT).unwrap(), 1);
        terminal.expect("\r\nsudo: a password is required\r\n").unwrap();
        assert!(terminal.echoes().unwrap());
    });
}
