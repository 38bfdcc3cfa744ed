//! Options of sudo's that change how a command runs: shown for the real sudo first, then for jitsudo called as sudo.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{EVERYTHING, apply_policy, installed_host};
use jitsudo_tests::{Host, Output, package_file, wait_until};

const LIMIT: Duration = Duration::from_secs(20);

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    apply_policy(&host, EVERYTHING).unwrap();
    let sudoers = "Defaults user_command_timeouts\nalice ALL=(ALL:ALL) NOPASSWD: ALL\n";
    host.write("/etc/sudoers.d/alice", 0o440, sudoers).unwrap();
    host.sh("mkdir -p /opt/as && ln -s /usr/bin/jitsudo /opt/as/sudo").ok().unwrap();
    host
}

fn both(mut test: impl FnMut(&str)) {
    for program in ["/usr/bin/sudo", "/opt/as/sudo"] {
        eprintln!("as {program}:");
        test(program);
    }
}

fn alice(host: &Host, line: &str) -> Output {
    host.run(&["bash", "-c", line]).as_user("alice").output().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn groups_of_the_caller_are_kept_with_dash_p_alone() {
    let host = host("groups");
    both(|program| {
        for (line, wanted) in [
            ("id -G", "0\n".to_owned()),
            ("-P id -G", format!("0 {}", alice(&host, "id -G | tr ' ' '\\n' | sort -n | paste -sd ' '").stdout)),
            ("-P -u bob id -un", "bob\n".to_owned()),
        ] {
            let output = alice(&host, &format!("{program} {line}"));
            assert_eq!((output.status, output.stdout, output.stderr.as_str()), (0, wanted, ""), "{line}");
        }
    });
}

#[test]
fn command_ends_at_its_timeout_as_one_that_was_hung_up_on() {
    let host = host("timeout");
    both(|program| {
        for line in ["-T 1 sleep 30", "-T 1s sh -c 'trap \"\" TERM; exec sleep 30'"] {
            let output = alice(&host, &format!("exec {program} {line}"));
            assert_eq!((output.status, output.stdout.as_str()), (129, ""), "{line}: {}", output.stderr);
        }
        let in_time = alice(&host, &format!("{program} -T 1h30m id -u; {program} -T 0 id -u"));
        assert_eq!((in_time.status, in_time.stdout.as_str(), in_time.stderr.as_str()), (0, "0\n0\n", ""));
    });
    let said = alice(&host, "/opt/as/sudo -T 1 sleep 30").stderr;
    assert!(said.starts_with("sudo: the time is over; this command was ended\n"), "{said}");
}

#[test]
fn background_command_outlives_its_caller_and_its_status_is_nobodys() {
    let host = host("behind");
    both(|program| {
        host.sh("rm -f /tmp/done").ok().unwrap();
        let line = format!(
            "{program} -b sh -c 'sleep 1; cat; echo done >/tmp/done; exit 7'; echo $?; test -e /tmp/done; echo $?"
        );
        let output = alice(&host, &format!("echo piped | ({line}) 2>&1"));
        // What is no terminal stays the command's input.
        assert!(output.stdout.starts_with("0\n1\n"), "{}", output.stdout);
        assert!(wait_until(LIMIT, || host.run(&["test", "-s", "/tmp/done"]).output().unwrap().status == 0));
        let bad = alice(&host, &format!("{program} -b nosuch"));
        assert_eq!(bad.status, 1);
        assert!(bad.stderr.starts_with("sudo: nosuch: command not found\n"), "{}", bad.stderr);
    });
}

#[test]
fn rescue_tells_the_status_descriptor() {
    let host = host("rescue");
    host.sh("systemctl stop jitsudod.socket jitsudod.service").ok().unwrap();
    let output = host.sh("jitsudo --status-fd 7 id -u 7>/tmp/status; cat /tmp/status").ok().unwrap();
    assert_eq!(output, "0\nrescue\n");
    // Nobody would keep the time of a command that root runs itself.
    let timed = host.sh("jitsudo -T 10 id -u").output().unwrap();
    assert_eq!((timed.status, timed.stdout.as_str()), (69, ""));
    assert!(timed.stderr.contains("cannot reach jitsudod"), "{}", timed.stderr);
}
