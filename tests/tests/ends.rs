//! The end of a command does not depend on the one process that supervises it.

use std::time::Duration;

use jitsudo_tests::story::{EVERYTHING, apply_policy, installed_host};
use jitsudo_tests::{package_file, wait_until};

#[test]
fn session_end_03_command_ends_although_its_session_is_stopped_or_its_spawner_was_restarted() {
    let host = package_file().and_then(|package| installed_host("ends", "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    apply_policy(&host, &EVERYTHING.replace("auth = \"none\"", "auth = \"none\"\nrun-time = \"4s\"")).unwrap();
    let runs = |seconds: &str| host.sh(&format!("pgrep -x -f 'sleep {seconds}'")).ok().is_ok();
    for (seconds, trouble) in [
        ("4711", "kill -STOP $(cat /sys/fs/cgroup/system.slice/jitsudo-spawn.service/sup.*/cgroup.procs)"),
        (
            "4712",
            "kill -STOP $(cat /sys/fs/cgroup/system.slice/jitsudo-spawn.service/sup.*/cgroup.procs); \
             systemctl restart jitsudo-spawn",
        ),
    ] {
        std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                let line = format!("timeout 30 jitsudo sleep {seconds}");
                host.sh(&line).as_user("alice").limit(Duration::from_secs(40)).output().unwrap()
            });
            assert!(wait_until(Duration::from_secs(10), || runs(seconds)), "{seconds} did not start");
            host.sh(trouble).ok().unwrap();
            // 4 s of its own, 1 s of grace, 5 s of patience with the session, and some for the harness.
            assert!(wait_until(Duration::from_secs(20), || !runs(seconds)), "{seconds} ran past its end");
            host.sh("pkill -CONT -x jitsudo-session; true").ok().unwrap();
            client.join().unwrap();
        });
    }
    let log = || host.run(&["jitctl", "log", "--json", "--all"]).ok().unwrap_or_default();
    assert!(wait_until(Duration::from_secs(15), || log().matches("cleanup_failed").count() >= 2), "{}", log());
}
