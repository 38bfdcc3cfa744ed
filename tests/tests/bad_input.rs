//! What people and files get wrong: a clear answer, and daemons that do not notice.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use jitsudo_tests::story::{EVERYTHING, apply_policy, installed_host};
use jitsudo_tests::{Host, package_file};

fn host(name: &str) -> Host {
    package_file()
        .and_then(|package| installed_host(name, "bookworm", &package))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Pids of both daemons and how often systemd started them: the same before and after, or one of them fell.
fn daemons(host: &Host) -> String {
    host.sh("systemctl show -p MainPID,NRestarts jitsudod jitsudo-spawn").ok().unwrap()
}

#[test]
fn commands_that_cannot_run_get_an_answer_and_harm_nothing() {
    let host = host("input");
    apply_policy(&host, EVERYTHING).unwrap();
    assert_eq!(host.run(&["jitsudo", "true"]).as_user("alice").output().unwrap().status, 0);
    let before = daemons(&host);
    let lines = [
        "jitsudo no-such-command",
        "jitsudo /no/such/command",
        "jitsudo /etc/passwd",
        "jitsudo /etc",
        "jitsudo ./no-such-file",
        "jitsudo ''",
        "jitsudo -u no-such-user id",
        "jitsudo -u '#4294967295' id",
        "jitsudo -g no-such-group id",
        "jitsudo --no-such-option id",
        "printf '#!/no/such/interpreter\\n' > x; chmod +x x; jitsudo ./x",
        "jitsudo -D /no/such/folder id",
    ];
    for line in lines {
        let output = host.sh(line).as_user("alice").output().unwrap();
        assert_ne!(output.status, 0, "{line}");
        assert!(output.stderr.contains("jitsudo: ") || output.stderr.contains("usage"), "{line}:\n{}", output.both());
        assert!(!output.stderr.contains("panicked"), "{line}:\n{}", output.stderr);
        assert_eq!(output.stdout, "", "{line}");
    }
    let closed = host.sh("jitsudo id -un <&-").as_user("alice").output().unwrap();
    assert_eq!((closed.status, closed.stdout.as_str()), (0, "root\n"), "{}", closed.both());
    assert_eq!(daemons(&host), before);
}

#[test]
fn policies_that_cannot_be_applied_leave_the_applied_one_in_force() {
    let host = host("policies");
    apply_policy(&host, EVERYTHING).unwrap();
    let file = "/etc/jitsudo/policy.d/50-bad.toml";
    let breaks = [
        ("printf '[[allow]]\\nname = 7\\n'", "wrong type"),
        ("printf '[roles.a]\\nrun = [\"/usr/bin/id\"'", "half written"),
        ("printf '[unknown]\\nkey = 1\\n'", "unknown key"),
        ("printf '\\377\\376'", "not UTF-8"),
        ("head -c 11000000 /dev/zero | tr '\\0' '#'", "11 MB"),
        ("printf '[roles.a]\\nx = {\\n a = 1 }\\n'", "multi-line inline table"),
        ("printf '[[allow]]\\nname = \"b\"\\nwho = [\"@nobody\"]\\nroles = [\"none\"]\\n'", "dangling names"),
    ];
    for (content, what) in breaks {
        host.sh(&format!("{content} > {file}")).ok().unwrap();
        let output = host.run(&["jitctl", "policy", "apply", "--yes"]).output().unwrap();
        assert_ne!(output.status, 0, "{what} was applied:\n{}", output.both());
        assert!(output.both().contains("50-bad.toml"), "{what}: the file must be named:\n{}", output.both());
        assert_eq!(host.run(&["jitsudo", "true"]).as_user("alice").output().unwrap().status, 0, "{what}");
    }
    host.sh(&format!("printf '[roles.c]\\nrun = [\"/usr/bin/id\"]\\n' > {file}; chmod 666 {file}")).ok().unwrap();
    let output = host.run(&["jitctl", "policy", "apply", "--yes"]).output().unwrap();
    assert_ne!(output.status, 0, "a file that others may write was applied:\n{}", output.both());
    assert_eq!(host.run(&["jitsudo", "true"]).as_user("alice").output().unwrap().status, 0);
}

#[test]
fn host_without_a_policy_says_so() {
    let host = host("fresh");
    let output = host.run(&["jitsudo", "id"]).as_user("alice").output().unwrap();
    assert_eq!(output.status, 1);
    assert!(output.stderr.contains("this host has no rules yet"), "{}", output.stderr);
    assert!(output.stderr.contains("hint:"), "{}", output.stderr);
}
