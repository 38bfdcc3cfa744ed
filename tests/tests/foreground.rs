//! Without systemd: `jitsudod --foreground` as root serves alone, as in a container, and leaves nothing when it ends.

use std::time::Duration;

use jitsudo_tests::story::{POLICY, installed_host};
use jitsudo_tests::{package_file, wait_until};

/// A root in a mount and pid namespace of its own, with the init of a container: no systemd is reachable from in there. Nobody says when the
/// daemon is ready, as systemd would: its own word is waited for (the socket is there before the spawner has answered).
const CONTAINER: &str = "unshare --mount --pid --fork --mount-proc --kill-child sh -c '\
    mount -t tmpfs tmpfs /run; mkdir -p /run/lock; rm -rf /var/lib/jitsudo; \
    setsid /usr/sbin/jitsudod --foreground & \
    for i in $(seq 100); do jitctl status >/dev/null 2>&1 && break; sleep 0.1; done; \
    jitctl policy apply --yes; ";

#[test]
fn foreground_daemon_serves_without_systemd_and_ends_whole() {
    let host = package_file().and_then(|package| installed_host("box", "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    host.sh("systemctl stop jitsudod.socket jitsudod.service jitsudo-spawn.socket jitsudo-spawn.service").ok().unwrap();
    host.write("/etc/jitsudo/policy.d/10-web.toml", 0o644, POLICY.replace("nginx", "nginx --help")).unwrap();
    let line = format!(
        "{CONTAINER} setpriv --reuid alice --regid alice --init-groups jitsudo systemctl restart nginx --help | head -n 1; \
         setpriv --reuid alice --regid alice --init-groups jitsudo id -un; echo status $?; \
         ps -o user= -C jitsudod; jitctl audit verify'"
    );
    let output = host.sh(&line).limit(Duration::from_secs(60)).output().unwrap();
    assert!(output.stdout.contains("systemctl [OPTIONS...]"), "{}", output.both());
    assert!(output.stdout.contains("status 1"), "{}", output.both());
    assert!(output.stdout.contains("_jitsudo"), "the decider must have given up root:\n{}", output.both());
    assert!(output.stdout.contains("events proved"), "{}", output.both());
    let gone = || host.sh("! pgrep '^jitsudo'").ok().is_ok();
    assert!(wait_until(Duration::from_secs(10), gone), "{}", host.sh("ps ax").ok().unwrap());
}
