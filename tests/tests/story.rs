//! The story of the README, as tests: allowed, refused, recorded, proved.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{EVERYTHING, POLICY, README, apply_policy, first_policy, installed_host, nginx_pid};
use jitsudo_tests::{Host, Output, package_file};

fn web_host(name: &str, suite: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, suite, &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    host.run(&["systemctl", "start", "nginx"]).ok().unwrap_or_else(|error| panic!("{error}"));
    host
}

fn alice(host: &Host, line: &str) -> Output {
    host.sh(line).as_user("alice").output().unwrap_or_else(|error| panic!("{error}"))
}

fn story(suite: &str) {
    let host = web_host("web-1", suite);
    let before = nginx_pid(&host).unwrap();

    let no_rules = alice(&host, "jitsudo systemctl restart nginx");
    assert_eq!(no_rules.status, 1, "{}", no_rules.both());
    assert_eq!(nginx_pid(&host).unwrap(), before, "a refused command must not have run");

    apply_policy(&host, POLICY).unwrap();
    let allowed = alice(&host, "jitsudo systemctl restart nginx");
    assert_eq!((allowed.status, allowed.both().as_str()), (0, ""), "allowed: nothing to see");
    let after = nginx_pid(&host).unwrap();
    assert!(after != before && after != "0", "{before} {after}");

    let refused = alice(&host, "jitsudo systemctl restart ssh");
    assert_eq!(refused.status, 1, "{}", refused.both());
    assert_eq!(refused.stdout, "");
    for part in ["not allowed: /usr/bin/systemctl restart ssh as root", "web-operator", "hint:", "recorded"] {
        assert!(refused.stderr.contains(part), "{part:?} is missing in:\n{}", refused.stderr);
    }
    let bob = host.run(&["jitsudo", "systemctl", "restart", "nginx"]).as_user("bob").output().unwrap();
    assert_eq!(bob.status, 1, "{}", bob.both());
    assert!(!bob.stderr.contains("web-operator"), "bob must not be told other people's rules:\n{}", bob.stderr);

    let log = host.run(&["jitctl", "log"]).ok().unwrap();
    for part in ["alice", "systemctl restart nginx", "alice runs the web tier", "systemctl restart ssh", "bob"] {
        assert!(log.contains(part), "{part:?} is missing in:\n{log}");
    }
    // A limit that cuts an access in two still says who asked.
    for limit in 1..12 {
        let log = host.run(&["jitctl", "log", "--limit", &limit.to_string()]).ok().unwrap();
        assert!(!log.contains("  ?  ") && !log.contains("before the first event"), "--limit {limit}:\n{log}");
    }
    let journal = host.run(&["journalctl", "-q", "--no-pager", "-t", "jitsudod"]).ok().unwrap();
    assert!(journal.contains("alice"), "{journal}");
    let verified = host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
    assert!(verified.contains("event") && verified.chars().any(|letter| letter.is_ascii_digit()), "{verified}");
}

#[test]
fn bookworm_alice_restarts_nginx_under_policy_and_nothing_else() {
    story("bookworm");
}

#[test]
fn trixie_alice_restarts_nginx_under_policy_and_nothing_else() {
    story("trixie");
}

#[test]
fn readme_followed_by_a_new_user_gives_what_it_shows() {
    // What the README says to do, in its order.
    let steps = README.split_once("## The first policy").unwrap().1.split_once("\n## ").unwrap().0;
    for part in ["`/etc/jitsudo/policy.d/10-web.toml`", "\njitctl policy check\njitctl policy apply\n"] {
        assert!(steps.contains(part), "{part:?} is missing in:\n{steps}");
    }
    let shown = README.split_once("alice@web-1:~$ ").unwrap().1.split_once("```").unwrap().0;
    let (allowed, refused) = shown.split_once("alice@web-1:~$ ").unwrap();

    let host = web_host("web-1", "bookworm");
    let before = nginx_pid(&host).unwrap();
    host.write("/etc/jitsudo/policy.d/10-web.toml", 0o644, first_policy()).unwrap();
    host.run(&["jitctl", "policy", "check"]).ok().unwrap();
    let mut root = host.run(&["jitctl", "policy", "apply"]).terminal().unwrap();
    root.expect("[y/N] ").unwrap();
    root.send("y\n").unwrap();
    assert_eq!(root.wait(Duration::from_secs(30)).unwrap(), 0, "{}", root.text());

    let shell = ["bash", "--norc", "--noprofile", "--noediting", "-i"];
    let mut terminal = host.run(&shell).as_user("alice").terminal().unwrap();
    terminal.send("PS1='alice@web''-1:~$ '\n").unwrap();
    terminal.expect("alice@web-1:~$ ").unwrap();
    let (line, prompt) = allowed.split_once('\n').unwrap();
    terminal.send(&format!("{line}\n")).unwrap();
    terminal.answer_hidden(prompt.trim_end(), "alice-pw").unwrap();
    assert_eq!(terminal.expect("alice@web-1:~$ ").unwrap(), " \r\nalice@web-1:~$ ", "allowed: nothing more to see");
    assert_ne!(nginx_pid(&host).unwrap(), before);
    // Asked once on a terminal.
    terminal.send("jitsudo systemctl reload nginx; echo status $?\n").unwrap();
    assert!(!terminal.expect("status 0\r\nalice@web-1:~$ ").unwrap().contains("password"));
    // And nothing else, in these words; the id is another.
    let (line, words) = refused.split_once('\n').unwrap();
    let (words, id) = words.trim_end().rsplit_once(' ').unwrap();
    assert_eq!(id.len(), 6, "{id}");
    terminal.send(&format!("{line}\n")).unwrap();
    let seen = terminal.expect("alice@web-1:~$ ").unwrap().replace("\r\n", "\n");
    assert!(seen.contains(words), "{seen}\nis not what the README shows:\n{words}");
}

#[test]
fn status_output_and_input_of_the_command_are_its_own() {
    let host = web_host("pipes", "bookworm");
    apply_policy(&host, EVERYTHING).unwrap();
    let lines = [
        ("jitsudo id -un", 0, "root\n", ""),
        ("jitsudo -u bob id -un", 0, "bob\n", ""),
        ("jitsudo sh -c 'exit 42'", 42, "", ""),
        ("echo given | jitsudo cat", 0, "given\n", ""),
        ("jitsudo sh -c 'echo out; echo err >&2'", 0, "out\n", "err\n"),
        ("jitsudo seq 100000 | tail -n 1", 0, "100000\n", ""),
        ("jitsudo head -c 300000 /dev/zero | wc -c", 0, "300000\n", ""),
    ];
    for (line, status, stdout, stderr) in lines {
        let output = alice(&host, line);
        assert_eq!((output.status, output.stdout.as_str(), output.stderr.as_str()), (status, stdout, stderr), "{line}");
    }
    // A signal ends the client too, as it ends sudo; the login that waited for it says so.
    assert_eq!(alice(&host, "jitsudo sh -c 'kill -TERM $$'").status, 143);
}

#[test]
fn terminal_of_the_command_is_a_terminal_of_its_own_with_the_callers_size() {
    let host = web_host("tty", "bookworm");
    apply_policy(&host, EVERYTHING).unwrap();
    let mut terminal = host.run(&["bash", "--norc", "--noediting"]).as_user("alice").terminal().unwrap();
    terminal.resize(41, 99).unwrap();
    terminal.expect("$ ").unwrap();
    terminal.send("jitsudo sh -c 'stty size; tty; id -un'; echo status $?\n").unwrap();
    terminal.expect("41 99").unwrap();
    terminal.expect("/dev/pts/").unwrap();
    terminal.expect("root").unwrap();
    terminal.expect("status 0").unwrap();
    terminal.expect("$ ").unwrap();
    // Ctrl-C reaches the command, and the shell's terminal is usable afterwards.
    terminal.send("jitsudo sh -c 'echo ready; exec sleep 100'\n").unwrap();
    terminal.expect("ready\r\n").unwrap();
    terminal.send("\x03").unwrap();
    terminal.expect("$ ").unwrap();
    terminal.send("echo status $?\n").unwrap();
    terminal.expect("status 130").unwrap();
    terminal.expect("$ ").unwrap();
    assert!(terminal.echoes().unwrap(), "the terminal's modes must be restored");
}
