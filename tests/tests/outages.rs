//! Parts of the host fail: answers stay clear, nothing is lost, nothing is given without a record.
#![expect(clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{EVERYTHING, apply_policy, install, installed_host};
use jitsudo_tests::{Host, Options, Output, Root, package_file, wait_until};

fn ready_host(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    apply_policy(&host, EVERYTHING).unwrap_or_else(|error| panic!("{error}"));
    host
}

fn alice(host: &Host, line: &str) -> Output {
    host.sh(line).as_user("alice").output().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn unreachable_daemon_is_said_with_the_next_step() {
    let host = ready_host("dead");
    host.sh("systemctl stop jitsudod.socket jitsudod.service").ok().unwrap();
    let output = alice(&host, "jitsudo id");
    assert_eq!(output.status, 69, "{}", output.both());
    assert!(output.stderr.contains("cannot reach jitsudod at /run/jitsudo/socket"), "{}", output.stderr);
    assert!(output.stderr.contains("hint: systemctl status jitsudod"), "{}", output.stderr);
}

#[test]
fn killed_daemons_are_back_for_the_next_request() {
    let host = ready_host("killed");
    for program in ["jitsudod", "jitsudo-spawn", "jitsudod", "jitsudo-spawn"] {
        // What was under way dies with it; who comes after that waits.
        host.sh(&format!("pid=$(pidof {program}); kill -KILL $pid; while test -d /proc/$pid; do :; done"))
            .ok()
            .unwrap();
        let next = alice(&host, "jitsudo true");
        assert_eq!(next.status, 0, "after {program} was killed: {}", next.both());
    }
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn restart_of_the_decider_leaves_a_running_command_and_its_status_alone() {
    let host = ready_host("restart");
    let output = std::thread::scope(|scope| {
        let command = scope.spawn(|| alice(&host, "jitsudo sh -c 'touch /run/started; sleep 3; exit 9'"));
        let is_started = || host.run(&["test", "-e", "/run/started"]).output().unwrap().status == 0;
        assert!(wait_until(Duration::from_secs(10), is_started));
        host.run(&["systemctl", "restart", "jitsudod.service"]).ok().unwrap();
        command.join().unwrap()
    });
    assert_eq!(output.status, 9, "{}", output.both());
    let recorded = || host.run(&["jitctl", "log"]).ok().is_ok_and(|log| log.contains("exit 9"));
    assert!(wait_until(Duration::from_secs(10), recorded), "{}", host.run(&["jitctl", "log"]).ok().unwrap());
}

#[test]
fn requests_go_on_while_syslog_and_journald_are_down() {
    let host = ready_host("logs");
    host.sh("systemctl stop syslog.socket rsyslog.service").ok().unwrap();
    assert_eq!(alice(&host, "jitsudo true").status, 0);
    host.sh("systemctl restart systemd-journald.service").ok().unwrap();
    assert_eq!(alice(&host, "jitsudo true").status, 0);
    host.sh("systemctl stop systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service")
        .output()
        .unwrap();
    assert_eq!(alice(&host, "jitsudo true").status, 0);
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn full_disk_gives_nothing_and_loses_nothing() {
    let root = Root::debian("bookworm").unwrap_or_else(|error| panic!("{error}"));
    let options = Options { disk_bytes: 384 << 20, ..Options::default() };
    let host = Host::boot("full", &root, options).unwrap();
    install(&host, &package_file().unwrap()).unwrap();
    apply_policy(&host, EVERYTHING).unwrap();
    let first = alice(&host, "jitsudo true");
    assert_eq!(first.status, 0, "{}", first.both());
    host.sh("cat /dev/zero > /var/filler; sync").output().unwrap();
    let output = alice(&host, "for i in $(seq 300); do jitsudo touch /run/given-$i || exit; done; exit 99");
    assert_ne!(output.status, 99, "a full disk must stop what needs a record");
    assert!(output.stderr.contains("jitsudo: "), "{}", output.both());
    host.sh("rm /var/filler; sync").ok().unwrap();
    assert!(wait_until(Duration::from_secs(15), || alice(&host, "jitsudo true").status == 0), "no recovery");
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn ledger_keeps_an_access_over_a_power_cut() {
    let mut host = ready_host("power");
    host.sh("sync").ok().unwrap();
    assert_eq!(alice(&host, "jitsudo touch /run/before-the-cut").status, 0);
    host.power_cut().unwrap();
    host.start().unwrap();
    let log = host.run(&["jitctl", "log"]).ok().unwrap();
    assert!(log.contains("touch /run/before-the-cut"), "a command that ran must be on record:\n{log}");
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
    assert_eq!(alice(&host, "jitsudo true").status, 0, "the applied policy must be there after a power cut");
}
