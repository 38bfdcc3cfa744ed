//! `-l` beside the real sudo with the same rights: one text, one exit status.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use jitsudo_tests::story::{apply_policy, installed_host};
use jitsudo_tests::{Host, package_file};

/// alice: two commands; carol: everything; bob: nothing.
const POLICY: &str = r#"[roles.nginx]
run = ["/usr/bin/systemctl restart nginx"]
[roles.who]
run = ["/usr/bin/whoami"]
as = ["bob:adm"]
[roles.everything]
run = ["ALL"]
as = ["ALL:ALL"]
[[allow]]
name = "alice looks after nginx"
who = ["alice"]
roles = ["nginx", "who"]
auth = "none"
run-time = "2h"
[[allow]]
name = "carol may do everything"
who = ["carol"]
roles = ["everything"]
auth = "none"
"#;
const SUDOERS: &str = "alice ALL=(root) NOPASSWD: /usr/bin/systemctl restart nginx\n\
alice ALL=(bob:adm) NOPASSWD: /usr/bin/whoami\n\
carol ALL=(ALL:ALL) NOPASSWD: ALL\n";

fn host(suite: &str) -> Host {
    let host = package_file().and_then(|package| installed_host("list", suite, &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    host.sh("useradd -m carol; mkdir /opt/jit; ln -s /usr/bin/jitsudo /opt/jit/sudo").ok().unwrap();
    host.write("/etc/sudoers.d/list", 0o440, SUDOERS).unwrap();
    host
}

/// What it said, without what sudo says of its Defaults, which we do not have.
fn said(host: &Host, user: &str, line: &str) -> (i32, String, String) {
    let command = host.sh(line);
    let output = if user == "root" { command } else { command.as_user(user) }.output().unwrap();
    let mut stdout = output.stdout;
    if stdout.starts_with("Matching Defaults") {
        let (_, rest) = stdout.split_once("\n\n").unwrap();
        stdout = rest.to_owned();
    }
    (output.status, stdout, output.stderr)
}

fn list_has_the_text_of_sudo(suite: &str) {
    let host = host(suite);
    apply_policy(&host, POLICY).unwrap();
    for (user, words) in [
        ("alice", "-l"),
        ("alice", "-n -l"),
        ("alice", "-l -U alice"),
        ("alice", "-l systemctl restart nginx"),
        ("alice", "-l /usr/bin/systemctl restart nginx"),
        ("alice", "-l systemctl stop nginx"),
        ("alice", "-l id"),
        ("alice", "-l no-such-command"),
        ("alice", "-l -u bob -g adm whoami"),
        ("alice", "-l -U bob"),
        ("alice", "-l -U carol"),
        ("carol", "-l"),
        ("carol", "-l -u bob -g adm id -u"),
        ("carol", "-l /usr/bin/id '' 'a b'"),
        ("root", "-l -U bob"),
        ("root", "-l -U alice"),
        ("root", "-l -U carol"),
        ("root", "-l -U no-such-user"),
        ("root", "-l -U alice /usr/bin/systemctl restart nginx"),
        ("root", "-l -U alice id"),
        ("root", "-l -U bob id"),
        ("root", "-l id"),
    ] {
        let (theirs, ours) =
            (said(&host, user, &format!("sudo {words}")), said(&host, user, &format!("/opt/jit/sudo {words}")));
        assert_eq!(ours, theirs, "{user}: sudo {words}");
        let (status, stdout, _) = said(&host, user, &format!("jitsudo {words}"));
        assert_eq!((status, stdout.replace("jitsudo", "sudo")), (theirs.0, theirs.1), "{user}: jitsudo {words}");
    }
    // -u without a command to ask about is no command line of sudo's.
    for line in ["sudo -l -u bob", "/opt/jit/sudo -l -u bob"] {
        let (status, stdout, stderr) = said(&host, "alice", line);
        assert_eq!((status, stdout.as_str()), (1, ""), "{line}");
        assert!(stderr.starts_with("usage: sudo"), "{line}: {stderr}");
    }
    // The long form: sudo's keys, and ours beside them.
    let long = said(&host, "alice", "jitsudo -ll").1;
    for (key, theirs) in [
        ("    RunAsUsers: bob\n", true),
        ("    RunAsGroups: adm\n", true),
        ("    Commands:\n\t/usr/bin/whoami\n", true),
        ("    Role: nginx\n", false),
        ("    Timeout: 7200\n", false),
        ("Sudoers entry: alice looks after nginx\n", false),
    ] {
        assert!(long.contains(key), "{key} is not in\n{long}");
        assert_eq!(said(&host, "alice", "sudo -ll").1.contains(key), theirs, "{key}");
    }
    nothing_for_nobody(&host);
    nothing_was_recorded_as_run(&host);
}

/// Where sudo asks bob for a password to tell him that he has no rights, he is told at once: `jitctl roles` tells it as well.
fn nothing_for_nobody(host: &Host) {
    assert_eq!(said(host, "bob", "sudo -n -l").2, "sudo: a password is required\n");
    let none = (1, String::new(), "Sorry, user bob may not run sudo on list.\n".to_owned());
    assert_eq!(said(host, "bob", "/opt/jit/sudo -n -l"), none);
}

fn nothing_was_recorded_as_run(host: &Host) {
    let log = host.sh("jitctl log --all --json").ok().unwrap();
    assert!(!log.contains("\"requested\"") && !log.contains("\"decided\""), "{log}");
    // And the check can fail: a command is recorded.
    host.sh("jitsudo id").as_user("carol").ok().unwrap();
    assert!(host.sh("jitctl log --all --json").ok().unwrap().contains("\"requested\""));
}

#[test]
fn info_leak_01_bookworm_list_has_the_text_of_sudo() {
    list_has_the_text_of_sudo("bookworm");
}

#[test]
fn info_leak_01_trixie_list_has_the_text_of_sudo() {
    list_has_the_text_of_sudo("trixie");
}
