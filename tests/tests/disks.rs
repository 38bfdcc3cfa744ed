//! The disk under jitsudo's state fills up, and fails, while grants of every kind live and end: rights and processes are gone in time all the same,
//! nothing is given without a record, and every end is on record once there is a disk again.
//!
//! One of every kind and a full disk by default; with `JITSUDO_SWEEP=all` none and fifty, and the failing one, as well.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::path::PathBuf;
use std::time::Duration;

use jitsudo_tests::live::{self, KINDS, Live};
use jitsudo_tests::story::install;
use jitsudo_tests::{DiskFailure, Host, Options, Root, Stopwatch, package_file, wait_until};

fn host(name: &str) -> Host {
    let root = Root::debian("bookworm").unwrap_or_else(|error| panic!("{error}"));
    let options = Options { second_disk: Some(PathBuf::from("/var/lib/jitsudo")), ..Options::default() };
    let host = Host::boot(name, &root, options).unwrap_or_else(|error| panic!("{error}"));
    install(&host, &package_file().unwrap()).unwrap();
    live::prepare(&host, "").unwrap();
    // What the harness itself wrote is to be there after a crash.
    host.sh("sync").ok().unwrap();
    host
}

fn is_closed_each(host: &Host, ids: &[String], what: &str) {
    let open = || {
        let log = host.run(&["jitctl", "log", "--all", "--json", "--limit", "100000"]).ok().unwrap_or_default();
        let is_closed =
            |id: &&String| log.lines().any(|line| line.contains("\"closed\"") && line.contains(id.as_str()));
        ids.iter().filter(|id| !is_closed(id)).count()
    };
    assert!(wait_until(Duration::from_secs(60), || open() == 0), "{what}: {} are not closed", open());
}

#[test]
fn crash_recovery_03_full_or_failing_disk_ends_grants_of_every_kind_in_time() {
    let mut host = host("disks");
    let all = std::env::var("JITSUDO_SWEEP").is_ok_and(|which| which == "all");
    let mut tried = 0;
    for count in if all { vec![0, KINDS, 50] } else { vec![KINDS] } {
        let window = if count > KINDS { "45s" } else { "12s" };
        for what in if all { vec!["full", "failing"] } else { vec!["full"] } {
            let live = Live::make_for(&host, count, window).unwrap_or_else(|error| panic!("{what}: {error}"));
            let watch = Stopwatch::start();
            if what == "full" {
                // The last blocks too.
                host.sh("cd /var/lib/jitsudo; cat /dev/zero > filler; cat /dev/zero > more; true").output().unwrap();
            } else {
                host.fail_disk(DiskFailure::SecondGivesErrors).unwrap();
            }
            let given = || host.sh("timeout 9 jitsudo -n id -un").as_user("carol").output().unwrap();
            let refused = given();
            assert!(refused.stdout.is_empty() && refused.stderr.contains("jitsudo: "), "{what}: {}", refused.both());
            // Notes on the disk that failed cannot be told; those in /run wait for them.
            let keeps = |line: &String| what == "failing" && line.contains("/jitsudo/ends/");
            let left = || live::left(&host).unwrap().into_iter().filter(|line| !keeps(line)).collect::<Vec<_>>();
            assert!(wait_until(Duration::from_secs(70), || left().is_empty()), "{what}: {:?}", left());
            println!("{what} disk: {count} grants of {window} ended within {:?}", watch.elapsed());
            if what == "full" {
                host.sh("rm /var/lib/jitsudo/filler /var/lib/jitsudo/more; sync").ok().unwrap();
            } else {
                host.kill9();
                host.start().unwrap();
            }
            assert!(
                wait_until(Duration::from_secs(60), || live::left(&host).unwrap().is_empty()),
                "{what}: {:?}",
                live::left(&host)
            );
            is_closed_each(&host, &live.ids(), what);
            // That the disk has room again is seen without anything that would have to be recorded.
            let well = || host.run(&["jitctl", "status"]).output().unwrap();
            assert!(wait_until(Duration::from_secs(90), || well().status == 0), "{what}: {}", well().both());
            let next = || host.sh("timeout 9 jitsudo -n id -un").as_user("bob").output().unwrap().stdout == "root\n";
            assert!(wait_until(Duration::from_secs(30), next), "{what}: no recovery");
            live::is_sound(&host).unwrap_or_else(|error| panic!("{what}: {error}"));
            tried += 1;
        }
    }
    println!("{tried} faults");
}
