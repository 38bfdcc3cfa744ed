//! Proof of identity on real hosts: what is asked, what is remembered and where, and PAM stacks and modules of every kind.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{EVERYTHING, apply_policy, installed_host};
use jitsudo_tests::{Host, Output, Terminal, package_file, push_fault, wait_until};

const PROMPT: &str = "[jitsudo] password for alice: ";
const MODULE: &str = "/lib/x86_64-linux-gnu/security/pam_fault.so";

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    host.unwrap_or_else(|error| panic!("{error}"))
}

/// alice may run everything with this proof, also from a sandbox.
fn rule(host: &Host, auth: &str) {
    let policy = EVERYTHING.replace(
        "auth = \"none\"",
        &format!("auth = \"{auth}\"\norigin = [\"terminal\", \"no-terminal\", \"sandbox\"]"),
    );
    apply_policy(host, &policy).unwrap();
}

fn alice(host: &Host, line: &str) -> Output {
    host.run(&["bash", "-c", line]).as_user("alice").output().unwrap_or_else(|error| panic!("{error}"))
}

/// An interactive shell of alice's on a terminal.
fn shell(host: &Host) -> Terminal {
    let mut terminal =
        host.run(&["bash", "--norc", "--noprofile", "--noediting", "-i"]).as_user("alice").terminal().unwrap();
    terminal.send("PS1='pro''mpt> '; set +o histexpand\n").unwrap();
    terminal.expect("prompt> ").unwrap();
    terminal
}

/// Runs a line that must not ask; what it says.
fn unasked(terminal: &mut Terminal, text: &str) -> String {
    terminal.send(&format!("{text}\n")).unwrap();
    let seen = terminal.expect("prompt> ").unwrap_or_else(|error| panic!("{text}: {error}"));
    assert!(!seen.contains("password"), "{text}: {seen}");
    seen.split_once("\r\n").map(|(_, after)| after.trim_end_matches("prompt> ").to_owned()).unwrap_or_default()
}

/// Runs a line that must ask; what it says after this answer.
fn asked(terminal: &mut Terminal, text: &str, password: &str) -> String {
    terminal.send(&format!("{text}\n")).unwrap();
    terminal.expect(PROMPT).unwrap_or_else(|error| panic!("{text} asked nothing: {error}"));
    terminal.send(&format!("{password}\n")).unwrap();
    let seen = terminal.expect("prompt> ").unwrap_or_else(|error| panic!("{text}: {error}"));
    seen.trim_end_matches("prompt> ").trim_start().to_owned()
}

/// How often the ledger has this event.
fn events(host: &Host, name: &str, part: &str) -> usize {
    let log = host.run(&["jitctl", "log", "--all", "--json"]).ok().unwrap();
    let log = log.replace("\": ", "\":");
    log.matches(&format!("\"event\":\"{name}\"")).count().min(log.matches(part).count())
}

#[test]
fn expiry_clock_05_expiry_clock_06_proof_counts_on_its_terminal_until_it_is_forgotten() {
    let host = host("remembered");
    rule(&host, "cached");
    let (mut one, mut other) = (shell(&host), shell(&host));
    assert_eq!(asked(&mut one, "jitsudo id -u", "alice-pw"), "0\r\n");
    assert_eq!(unasked(&mut one, "jitsudo id -u"), "0\r\n");
    assert_eq!(events(&host, "authenticated", "\"remembered\":true"), 1);
    // Another terminal, and a touched device: nothing of it.
    asked(&mut other, "touch -r /proc/$PPID $(tty); jitsudo id -u", "alice-pw");
    // Something confined on the same terminal has its own.
    asked(&mut one, "setpriv --no-new-privs jitsudo id -u", "alice-pw");
    // -N uses and adds nothing, -k with a command neither uses nor adds.
    assert_eq!(unasked(&mut one, "jitsudo -N id -u"), "0\r\n");
    asked(&mut one, "jitsudo -k id -u", "alice-pw");
    assert_eq!(unasked(&mut one, "jitsudo -n id -u; jitsudo -nv; echo $?"), "0\r\n0\r\n");
    // -k forgets this terminal alone, -K all.
    assert_eq!(unasked(&mut one, "jitsudo -k; echo $?"), "0\r\n");
    asked(&mut one, "jitsudo -N id -u", "alice-pw");
    asked(&mut one, "jitsudo -v; echo $?", "alice-pw");
    assert_eq!(unasked(&mut one, "jitsudo -K; jitsudo -K; echo $?"), "0\r\n");
    for terminal in [&mut one, &mut other] {
        terminal.send("jitsudo -n id -u; echo $?\n").unwrap();
        terminal.expect("jitsudo: a password is required\r\n1\r\n").unwrap();
        terminal.expect("prompt> ").unwrap();
    }
    // A spawner that begins anew remembers nothing.
    asked(&mut one, "jitsudo id -u", "alice-pw");
    host.sh("systemctl restart jitsudo-spawn").ok().unwrap();
    wait_until(Duration::from_secs(10), || host.run(&["jitctl", "status"]).ok().is_ok());
    asked(&mut one, "jitsudo id -u", "alice-pw");
    // A rule that wants a fresh proof never takes an old one.
    rule(&host, "fresh");
    asked(&mut one, "jitsudo id -u", "alice-pw");
    asked(&mut one, "jitsudo id -u", "alice-pw");
}

#[test]
fn wrong_proofs_are_counted_said_as_sudo_does_and_recorded_without_secrets() {
    let host = host("wrong");
    rule(&host, "cached");
    let mut terminal = shell(&host);
    terminal.send("jitsudo id -u; echo status $?\n").unwrap();
    for _ in 0..2 {
        terminal.expect(PROMPT).unwrap();
        terminal.send("geheim-1\n").unwrap();
        terminal.expect("Sorry, try again.\r\n").unwrap();
    }
    terminal.expect(PROMPT).unwrap();
    terminal.send("geheim-1\n").unwrap();
    terminal.expect("jitsudo: 3 incorrect password attempts\r\nstatus 1\r\n").unwrap();
    assert_eq!(events(&host, "authentication_failed", "\"tries\":3"), 1);
    let none = alice(&host, "jitsudo -n id -u");
    assert_eq!((none.status, none.stdout.as_str(), none.stderr.as_str()), (1, "", "jitsudo: a password is required\n"));
    // Without a terminal nothing is remembered.
    let line = "echo alice-pw | jitsudo -S -p '' id -u; jitsudo -n id -u";
    let output = alice(&host, line);
    assert_eq!((output.stdout.as_str(), output.status), ("0\n", 1), "{}", output.both());
    let everywhere = "grep -r -e geheim-1 -e alice-pw /var/lib/jitsudo; journalctl -q | grep -e geheim-1";
    assert_eq!(host.sh(everywhere).output().unwrap().stdout, "");
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn pam_account_stage_refuses_also_where_no_password_is_asked() {
    let host = host("account");
    rule(&host, "none");
    assert_eq!(alice(&host, "jitsudo id -u").stdout, "0\n");
    let line = "touch /tmp/in; while ! test -e /tmp/go; do sleep 0.1; done; jitsudo id -u; jitsudo -v; echo $?";
    let output = std::thread::scope(|scope| {
        // Logged in before: an expired account logs in no more.
        let session = scope.spawn(|| alice(&host, line));
        assert!(wait_until(Duration::from_secs(20), || host.sh("test -e /tmp/in").ok().is_ok()));
        host.sh("chage -E 1 alice; touch /tmp/go").ok().unwrap();
        session.join().unwrap()
    });
    assert_eq!(output.stdout, "1\n", "{}", output.both());
    assert_eq!(output.stderr.matches("cannot use your account alice").count(), 2, "{}", output.both());
}

#[test]
fn pam_modules_of_every_day_do_their_work_after_a_password() {
    let host = host("everyday");
    rule(&host, "fresh");
    // pam_exec sees who asks, from where, in which stage; pam_env and pam_limits set up what the command finds.
    let say = "#!/bin/sh\necho \"$PAM_TYPE $PAM_SERVICE $PAM_USER $PAM_RUSER $PAM_TTY.\" >> /run/stages\n";
    host.write("/opt/say", 0o755, say).unwrap();
    host.write("/opt/no", 0o755, "#!/bin/sh\nexit 1\n").unwrap();
    host.write("/etc/security/limits.d/test.conf", 0o644, "root - nofile 333\n").unwrap();
    host.write("/opt/env", 0o644, "COLORS=blue\n").unwrap();
    let plain = host.run(&["cat", "/etc/pam.d/jitsudo"]).ok().unwrap();
    let lines = "session required pam_env.so readenv=1 envfile=/opt/env user_readenv=0\n";
    let with = |stage: &str, program: &str| format!("{stage} required pam_exec.so {program}\n{plain}{lines}");
    host.write("/etc/pam.d/jitsudo", 0o644, with("session", "/opt/say")).unwrap();
    let mut terminal = shell(&host);
    let seen = asked(&mut terminal, "jitsudo sh -c 'ulimit -n; echo $COLORS; tty'", "alice-pw");
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines.get(..2), Some(["333", "blue"].as_slice()), "{seen}");
    let stages = || host.run(&["cat", "/run/stages"]).output().unwrap().stdout;
    assert!(wait_until(Duration::from_secs(10), || stages().contains("close_session")), "{}", stages());
    for stage in stages().lines() {
        assert!(stage.contains(" jitsudo root alice /dev/pts/"), "{stage}");
    }
    // A stack that says no after the right password is no.
    host.write("/etc/pam.d/jitsudo", 0o644, with("account", "/opt/no")).unwrap();
    let refused = asked(&mut terminal, "jitsudo id -u; echo status $?", "alice-pw");
    assert!(refused.contains("cannot use your account alice") && refused.contains("status 1"), "{refused}");
    host.write("/etc/pam.d/jitsudo", 0o644, plain.as_str()).unwrap();

    // Who fakes a root for themselves in a namespace of their own gets nowhere: root's socket is not root's in there.
    rule(&host, "cached");
    let faked = unasked(&mut terminal, "unshare --user --map-root-user --mount jitsudo id -u; echo status $?");
    assert!(faked.contains("cannot trust /run/jitsudo/socket") && faked.contains("status 69"), "{faked}");

    // A locked password opens nothing, and what was proven before the lock still counts, as with sudo, until it is over.
    asked(&mut terminal, "jitsudo -K; jitsudo -v", "alice-pw");
    host.sh("usermod --lock alice").ok().unwrap();
    let output = alice(&host, "echo alice-pw | jitsudo -S id -u; echo $?");
    assert!(output.stdout == "1\n" && output.stderr.contains("Sorry, try again."), "{}", output.both());
    assert_eq!(unasked(&mut terminal, "jitsudo id -u"), "0\r\n");
}

/// Puts a module first into a stage of the service.
fn stack(host: &Host, stage: &str, word: &str) {
    let common = "@include common-auth\n@include common-account\nsession required pam_limits.so\n@include common-session-noninteractive\n";
    host.write("/etc/pam.d/jitsudo", 0o644, format!("{stage} required pam_fault.so {word}\n{common}")).unwrap();
}

#[test]
fn pam_05_pam_module_that_misbehaves_costs_that_one_request() {
    let host = host("misbehaves");
    rule(&host, "none");
    push_fault(&host, "pam_fault.c", MODULE).unwrap();
    for (stage, word) in [
        ("account", "crash"),
        ("account", "exit"),
        ("account", "close"),
        ("account", "uid"),
        ("account", "rename"),
        ("account", "stay"),
        ("session", "crash"),
        ("session", "exit"),
        ("session", "close"),
    ] {
        stack(&host, stage, word);
        let output = alice(&host, "jitsudo id -u; echo $?");
        assert!(
            !output.stdout.starts_with('0') && !output.stdout.ends_with("\n0\n"),
            "{stage} {word}: {}",
            output.both()
        );
        assert!(output.stderr.starts_with("jitsudo: "), "{stage} {word}: {}", output.both());
    }
    // A fork that comes back is one request still, run once.
    stack(&host, "account", "fork");
    assert_eq!(alice(&host, "jitsudo sh -c 'echo x >>/root/runs; id -u'").stdout, "0\n");
    assert_eq!(host.sh("cat /root/runs").ok().unwrap(), "x\n");
    stack(&host, "account", "nothing");
    assert_eq!(alice(&host, "jitsudo id -u").stdout, "0\n");
    let closed = || events(&host, "closed", "\"event\"") == events(&host, "activating", "\"event\"");
    assert!(wait_until(Duration::from_secs(20), closed), "an access stays open");
    let only_the_warm_one = || host.run(&["pgrep", "-cx", "jitsudo-session"]).ok().is_ok_and(|count| count == "1\n");
    assert!(wait_until(Duration::from_secs(20), only_the_warm_one), "{}", host.run(&["ps", "axf"]).ok().unwrap());
}

#[test]
fn pam_module_that_hangs_is_ended_and_delays_nobody() {
    let host = host("hangs");
    rule(&host, "none");
    push_fault(&host, "pam_fault.c", MODULE).unwrap();
    stack(&host, "account", "hang");
    let limit = Duration::from_secs(150);
    let output = std::thread::scope(|scope| {
        let hanging =
            scope.spawn(|| host.run(&["jitsudo", "id", "-u"]).as_user("alice").limit(limit).output().unwrap());
        assert!(wait_until(Duration::from_secs(20), || events(&host, "session_starting", "\"event\"") > 0));
        stack(&host, "account", "nothing");
        assert_eq!(alice(&host, "jitsudo id -u").stdout, "0\n", "others are served meanwhile");
        hanging.join().unwrap()
    });
    assert!(output.status != 0 && output.status != 124 && output.stdout.is_empty(), "{}", output.both());
}

#[test]
fn pam_two_questions_show_their_own_words_and_denials_are_counted() {
    let host = host("questions");
    rule(&host, "fresh");
    push_fault(&host, "pam_fault.c", MODULE).unwrap();
    host.write(
        "/etc/pam.d/jitsudo",
        0o644,
        "auth required pam_fault.so two\naccount required pam_permit.so\nsession required pam_permit.so\n",
    )
    .unwrap();
    let mut terminal = shell(&host);
    terminal.send("jitsudo id -u\n").unwrap();
    terminal.expect(PROMPT).unwrap();
    terminal.send("secret\n").unwrap();
    terminal.expect("Verification code: ").unwrap();
    terminal.send("424242\n").unwrap();
    terminal.expect("\r\n0\r\n").unwrap();
    terminal.expect("prompt> ").unwrap();
    host.write(
        "/etc/pam.d/jitsudo",
        0o644,
        "auth required pam_deny.so\naccount required pam_permit.so\nsession required pam_permit.so\n",
    )
    .unwrap();
    let denied = alice(&host, "jitsudo id -u");
    assert_eq!((denied.status, denied.stdout.as_str()), (1, ""), "{}", denied.both());
    assert!(denied.stderr.ends_with("jitsudo: 3 incorrect password attempts\n"), "{}", denied.both());
}
