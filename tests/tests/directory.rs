//! A directory that hangs: bounded time, a clear answer, and nobody else is delayed for longer than their own question.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{EVERYTHING, apply_policy, installed_host};
use jitsudo_tests::{Host, Stopwatch, package_file, push_fault, wait_until};

/// Puts the hanging module in front of groups.
fn add_fault(host: &Host) {
    push_fault(host, "nss_fault.c", "/lib/x86_64-linux-gnu/libnss_fault.so.2").unwrap();
    host.sh("sed -i 's/^group:.*/group: files fault/' /etc/nsswitch.conf").ok().unwrap();
}

#[test]
fn identity_nss_hanging_directory_is_answered_in_time_and_service_resumes() {
    let host = package_file().and_then(|package| installed_host("nss", "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    apply_policy(&host, EVERYTHING).unwrap();
    add_fault(&host);
    // The helpers that are ready read nsswitch.conf before it changed.
    host.sh("systemctl restart jitsudo-spawn").ok().unwrap();
    let works = || host.sh("jitsudo true").as_user("alice").output().is_ok_and(|output| output.status == 0);
    assert!(wait_until(Duration::from_secs(10), works), "not served with the module idle");

    // Logged in before the directory hangs: login itself asks it too.
    let line = "touch /tmp/in; while ! test -e /run/nss-hangs; do sleep 0.1; done; jitsudo id; echo status $?";
    let (output, took) = std::thread::scope(|scope| {
        let session = scope.spawn(|| host.sh(line).as_user("alice").output().unwrap());
        assert!(wait_until(Duration::from_secs(20), || host.sh("test -e /tmp/in").ok().is_ok()));
        host.sh("touch /run/nss-hangs").ok().unwrap();
        let watch = Stopwatch::start();
        let output = session.join().unwrap();
        (output, watch.elapsed())
    });
    assert!(!output.stdout.contains("uid=0"), "a hanging directory must not let anybody in:\n{}", output.both());
    assert!(output.stdout.contains("status 69") || output.stdout.contains("status 1"), "{}", output.both());
    assert!(output.stderr.contains("directory") || output.stderr.contains("NSS"), "{}", output.both());
    // The question has two seconds; the rest is the harness.
    assert!(took < Duration::from_secs(20), "{took:?}");

    host.sh("rm /run/nss-hangs").ok().unwrap();
    assert!(wait_until(Duration::from_secs(15), works), "not served after the directory came back");
}
