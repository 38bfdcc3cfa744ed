//! The disk under the ledger fails: requests are refused in clear words, ends and kills go on, nothing is lost, and
//! the ledger takes records again when the disk is back.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::path::PathBuf;
use std::time::Duration;

use jitsudo_tests::story::{EVERYTHING, apply_policy, install};
use jitsudo_tests::{DiskFailure, Host, Options, Output, Root, package_file, push_fault, wait_until};

fn ready_host(name: &str, options: Options) -> Host {
    let root = Root::debian("bookworm").unwrap_or_else(|error| panic!("{error}"));
    let host = Host::boot(name, &root, options).unwrap_or_else(|error| panic!("{error}"));
    install(&host, &package_file().unwrap()).unwrap();
    apply_policy(&host, &EVERYTHING.replace("auth = \"none\"", "auth = \"none\"\nrun-time = \"6s\"")).unwrap();
    // The test hosts install without fsync: what is on the disk must be the ledger's doing alone from here on.
    host.sh("sync").ok().unwrap();
    host
}

fn alice(host: &Host, line: &str) -> Output {
    host.sh(line).as_user("alice").output().unwrap_or_else(|error| panic!("{error}"))
}

fn runs(host: &Host, command: &str) -> bool {
    host.run(&["pgrep", "-x", "-f", command]).output().unwrap().status == 0
}

fn log(host: &Host) -> String {
    host.run(&["jitctl", "log", "--json", "--all", "--limit", "100000"]).ok().unwrap_or_else(|error| panic!("{error}"))
}

/// Commands run when `fail` breaks the disk: one is killed by its client, one ends at its deadline, and new ones are
/// refused. What the refusal said.
fn refused_while_it_fails(host: &Host, round: u32, fail: impl FnOnce()) -> Output {
    let (killed, ended, before) = (4700 + round * 10, 4701 + round * 10, format!("/run/before-{round}"));
    assert_eq!(alice(host, &format!("jitsudo touch {before}")).status, 0);
    let (killed_line, ended_line) = (format!("sleep {killed}"), format!("sleep {ended}"));
    std::thread::scope(|scope| {
        let one = scope.spawn(|| {
            let line =
                format!("jitsudo {killed_line} & while ! test -e /run/failed; do sleep 0.1; done; kill $!; wait $!");
            alice(host, &line)
        });
        let two = scope.spawn(|| alice(host, &format!("jitsudo {ended_line}")));
        let both_run = || runs(host, &killed_line) && runs(host, &ended_line);
        assert!(wait_until(Duration::from_secs(10), both_run), "the commands did not start");
        fail();
        let refused = alice(host, "jitsudo touch /run/given");
        host.sh("touch /run/failed").ok().unwrap();
        // The kill by its client is at once; the deadline has 6 s, 1 s of grace, and some for the harness.
        assert!(wait_until(Duration::from_secs(4), || !runs(host, &killed_line)), "a kill waited for the ledger");
        assert!(wait_until(Duration::from_secs(15), || !runs(host, &ended_line)), "an end waited for the ledger");
        assert_eq!(one.join().unwrap().status, 143);
        assert_ne!(two.join().unwrap().status, 0);
        assert_eq!(host.sh("rm /run/failed; test -e /run/given").output().unwrap().status, 1, "it ran unrecorded");
        refused
    })
}

fn is_clear_refusal(refused: &Output) {
    assert_eq!((refused.status, refused.stdout.as_str()), (69, ""), "{}", refused.both());
    assert!(refused.stderr.starts_with("jitsudo: cannot record the request: "), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: nothing is given without a record: "), "{}", refused.stderr);
}

/// Everything that ran is on record, with its end, and the chain holds.
fn nothing_is_lost(host: &Host, round: u32) {
    let recovered = wait_until(Duration::from_secs(20), || alice(host, "jitsudo id -un").stdout == "root\n");
    assert!(recovered, "no recovery:\n{}", host.run(&["journalctl", "-u", "jitsudod", "-n", "30"]).ok().unwrap());
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
    let words = [format!("/run/before-{round}"), (4700 + round * 10).to_string(), (4701 + round * 10).to_string()];
    for word in words {
        let text = log(host);
        let request = text.lines().find(|line| line.contains("\"requested\"") && line.contains(&word));
        let request: serde_json::Value =
            serde_json::from_str(request.unwrap_or_else(|| panic!("{word}:\n{text}"))).unwrap();
        let id = request.get("id").and_then(|id| id.as_str()).unwrap().to_owned();
        let closed = || log(host).lines().any(|line| line.contains("\"closed\"") && line.contains(&id));
        assert!(wait_until(Duration::from_secs(15), closed), "{word} has no end on record:\n{}", log(host));
    }
}

#[test]
fn crash_recovery_03_ledger_that_gives_errors_refuses_and_recovers_in_place() {
    let host = ready_host("faulty", Options::default());
    push_fault(&host, "disk_fault.c", "/opt/disk_fault.so").unwrap();
    let unit = "[Service]\nEnvironment=LD_PRELOAD=/opt/disk_fault.so\n";
    host.write("/etc/systemd/system/jitsudod.service.d/fault.conf", 0o644, unit).unwrap();
    host.sh("systemctl daemon-reload && systemctl restart jitsudod").ok().unwrap();
    let pid = || host.run(&["systemctl", "show", "-p", "MainPID,NRestarts", "jitsudod"]).ok().unwrap();
    let before = pid();
    // EIO is 5, EROFS 30 (errno(3)).
    for (round, (order, said)) in (0..).zip([
        ("write 5", "Input/output error"),
        ("sync 5", "Input/output error"),
        ("write open 30", "Read-only file system"),
    ]) {
        let refused = refused_while_it_fails(&host, round, || host.write("/run/disk-fails", 0o644, order).unwrap());
        is_clear_refusal(&refused);
        assert!(refused.stderr.contains(said), "{order}: {}", refused.stderr);
        // Refused as long as it lasts, also after the daemon tried to mend it.
        let still = alice(&host, "sleep 6; jitsudo touch /run/given");
        is_clear_refusal(&still);
        let status = host.run(&["jitctl", "status"]).output().unwrap();
        assert!(status.both().contains(said), "{order}: status must say it:\n{}", status.both());
        host.sh("rm /run/disk-fails").ok().unwrap();
        nothing_is_lost(&host, round);
        assert_eq!(host.sh("test -e /run/given").output().unwrap().status, 1);
    }
    assert_eq!(pid(), before, "the daemon must live through it");
    let alerts = host.run(&["journalctl", "-q", "--no-pager", "-o", "cat", "-t", "jitsudod"]).ok().unwrap();
    assert!(alerts.contains("nothing is given until that is mended"), "{alerts}");
    assert!(alerts.contains("the ledger takes records again"), "{alerts}");
}

#[test]
fn crash_recovery_03_file_system_that_is_gone_refuses_and_the_next_boot_has_everything() {
    let mut host =
        ready_host("eio", Options { second_disk: Some(PathBuf::from("/var/lib/jitsudo")), ..Options::default() });
    let refused = refused_while_it_fails(&host, 0, || host.fail_disk(DiskFailure::SecondGivesErrors).unwrap());
    is_clear_refusal(&refused);
    host.kill9();
    host.start().unwrap();
    nothing_is_lost(&host, 0);
}

#[test]
fn crash_recovery_03_root_that_turned_read_only_refuses_and_the_next_boot_has_everything() {
    let mut host = ready_host("erofs", Options::default());
    let refused = refused_while_it_fails(&host, 0, || host.fail_disk(DiskFailure::FirstTurnsReadOnly).unwrap());
    is_clear_refusal(&refused);
    assert!(refused.stderr.contains("Read-only file system"), "{}", refused.stderr);
    host.kill9();
    host.start().unwrap();
    nothing_is_lost(&host, 0);
}
