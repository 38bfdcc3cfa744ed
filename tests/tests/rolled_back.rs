//! Signed heads on a real host: a ledger that was put back is found out, a power cut is not taken for that, and root alone says that
//! it may go on.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{EVERYTHING, apply_policy, installed_host};
use jitsudo_tests::{Host, Output, package_file, wait_until};

const LEDGER: &str = "/var/lib/jitsudo/ledger";
const SOON: Duration = Duration::from_secs(20);

fn ready_host(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    apply_policy(&host, EVERYTHING).unwrap_or_else(|error| panic!("{error}"));
    host
}

fn alice(host: &Host, line: &str) -> Output {
    host.sh(line).as_user("alice").output().unwrap_or_else(|error| panic!("{error}"))
}

/// The newest signed line, as root's file remembers it.
fn signed_seq(host: &Host) -> u64 {
    let memory = host.run(&["cat", "/var/lib/jitsudo/head"]).output().unwrap().stdout;
    let number = memory.split("\"seq\":").nth(1).unwrap_or_default();
    number.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default().parse().unwrap_or(0)
}

/// Has the head signed now: a decider that starts signs what its predecessor left, so something is left to it.
fn force_head(host: &Host) -> u64 {
    let before = signed_seq(host);
    assert_eq!(alice(host, "jitsudo true").status, 0);
    host.run(&["systemctl", "restart", "jitsudod.service"]).ok().unwrap();
    assert!(wait_until(SOON, || signed_seq(host) > before), "nothing was signed after {before}: {}", status(host));
    signed_seq(host)
}

fn status(host: &Host) -> String {
    host.run(&["jitctl", "status"]).output().unwrap().both()
}

fn journal(host: &Host, name: &str) -> String {
    host.run(&["journalctl", "-q", "--no-pager", "-o", "cat", "-t", name]).ok().unwrap()
}

#[test]
fn audit_log_04_ledger_that_was_put_back_gives_nothing_until_root_acknowledges() {
    let host = ready_host("older");
    assert_eq!(alice(&host, "jitsudo touch /run/first").status, 0);
    force_head(&host);
    host.sh(&format!(
        "systemctl stop jitsudod.socket jitsudod; cp -a {LEDGER} /root/older; systemctl start jitsudod.socket jitsudod"
    ))
    .ok()
    .unwrap();
    assert_eq!(alice(&host, "jitsudo touch /run/second").status, 0);
    let known = force_head(&host);
    // The other way round as well: root's file is not the decider's to write.
    host.sh("su -s /bin/sh _jitsudo -c 'echo x > /var/lib/jitsudo/head || rm -f /var/lib/jitsudo/head'")
        .output()
        .unwrap();
    assert_eq!(signed_seq(&host), known);
    let put_back = format!(
        "systemctl stop jitsudod.socket jitsudod; rm -rf {LEDGER}; cp -a /root/older {LEDGER}; systemctl start jitsudod.socket jitsudod"
    );
    host.sh(&put_back).ok().unwrap();

    let refused = alice(&host, "jitsudo touch /run/third");
    assert_eq!(refused.status, 69, "{}", refused.both());
    let words = format!("the ledger was rolled back: event {known} was signed");
    assert!(refused.stderr.contains(&words), "{}", refused.stderr);
    assert!(refused.stderr.contains("jitctl audit acknowledge --reason"), "{}", refused.stderr);
    assert_ne!(host.run(&["test", "-e", "/run/third"]).output().unwrap().status, 0);
    let said = host.run(&["jitctl", "status"]).output().unwrap();
    assert!(said.status == 4 && said.stdout.contains(&words), "{}", said.both());
    let log = host.run(&["jitctl", "log", "--all"]).ok().unwrap();
    assert!(log.contains(&format!("rolled back: event {known} was signed")), "{log}");
    for copy in [journal(&host, "jitsudod"), host.run(&["cat", "/var/log/auth.log"]).output().unwrap().stdout] {
        assert!(copy.contains("rolled_back") || copy.contains("rolled back"), "{copy}");
    }
    assert_eq!(host.run(&["jitctl", "audit", "verify"]).output().unwrap().status, 4);

    // It survives a restart of everything.
    host.sh("systemctl restart jitsudo-spawn.service jitsudod.service").ok().unwrap();
    let still = || alice(&host, "jitsudo true").stderr.contains(&words);
    assert!(wait_until(SOON, still), "{}", status(&host));
    let by_alice = alice(&host, "jitctl audit acknowledge --reason 'let me'");
    assert_eq!(by_alice.status, 1, "{}", by_alice.both());
    assert!(by_alice.stderr.contains("only root"), "{}", by_alice.stderr);
    assert!(still());

    let reason = "put back by the test, nothing lost";
    host.run(&["jitctl", "audit", "acknowledge", "--reason", reason]).ok().unwrap();
    assert_eq!(alice(&host, "jitsudo true").status, 0);
    assert!(host.run(&["jitctl", "log", "--all", "--json"]).ok().unwrap().contains(reason));
    assert!(wait_until(SOON, || status(&host).contains("ok    ledger")), "{}", status(&host));
    force_head(&host);
    assert_eq!(alice(&host, "jitsudo true").status, 0, "and after a restart still");
}

#[test]
fn audit_log_04_seals_and_heads_are_proved_by_the_hosts_key_and_by_ssh_keygen() {
    let host = ready_host("signed");
    assert_eq!(alice(&host, "jitsudo true").status, 0);
    force_head(&host);
    let places = host.run(&[
        "stat",
        "-c",
        "%n %U %a",
        "/var/lib/jitsudo/host.key",
        "/var/lib/jitsudo/host.pub",
        "/var/lib/jitsudo/head",
    ]);
    assert_eq!(
        places.ok().unwrap(),
        "/var/lib/jitsudo/host.key root 600\n/var/lib/jitsudo/host.pub root 644\n/var/lib/jitsudo/head root 644\n"
    );
    let fingerprint = host.sh("ssh-keygen -lf /var/lib/jitsudo/host.pub | cut -d' ' -f2").ok().unwrap();
    let fingerprint = fingerprint.trim();
    assert!(status(&host).contains(fingerprint), "{}", status(&host));
    let proved = host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
    assert!(proved.contains(&format!("by {fingerprint}")) && proved.contains("published head"), "{proved}");
    for name in ["jitsudod", "jitsudo-spawn"] {
        // A copy: it follows the signature.
        assert!(wait_until(SOON, || journal(&host, name).contains(fingerprint)), "{name}");
    }

    // The way of docs/ledger.md, with nothing of ours.
    let document = include_str!("../../docs/ledger.md");
    let script = document.split("```").find(|block| block.contains("ssh-keygen -Y verify")).unwrap();
    let by_hand = host.sh(&format!("cd {LEDGER}\n{script}")).output().unwrap();
    assert!(by_hand.stdout.contains("Good \"jitsudo-ledger@v1\" signature"), "{}", by_hand.both());

    // Another key proves nothing.
    host.sh("ssh-keygen -q -t ed25519 -N '' -f /root/other").ok().unwrap();
    let other = host.run(&["jitctl", "audit", "verify", "--key", "/root/other.pub"]).output().unwrap();
    assert!(other.status == 4 && other.stdout.contains("none of those given"), "{}", other.both());

    // A key that cannot be used is said, never replaced, and holds nothing up.
    host.sh("echo damaged > /var/lib/jitsudo/host.key").ok().unwrap();
    assert_eq!(alice(&host, "jitsudo true").status, 0);
    host.run(&["systemctl", "restart", "jitsudod.service"]).ok().unwrap();
    let said = || status(&host).contains("bad   host key the head is not signed: cannot use the host's key");
    assert!(wait_until(SOON, said), "{}", status(&host));
    assert_eq!(alice(&host, "jitsudo true").status, 0);
    assert_eq!(host.run(&["cat", "/var/lib/jitsudo/host.key"]).ok().unwrap(), "damaged\n");
    let unsigned = host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
    assert!(unsigned.contains("the last head without a signature"), "{unsigned}");
}

#[test]
fn crash_recovery_04_power_cut_and_reboot_are_not_taken_for_a_rolled_back_ledger() {
    let mut host = ready_host("cut-off");
    // The package itself was not yet on the disk for good.
    host.sh("sync").ok().unwrap();
    for round in 0..2 {
        assert_eq!(alice(&host, &format!("jitsudo touch /run/round-{round}")).status, 0);
        force_head(&host);
        assert_eq!(alice(&host, "jitsudo true").status, 0);
        host.power_cut().unwrap();
        host.start().unwrap();
        assert_eq!(alice(&host, "jitsudo true").status, 0, "{}", status(&host));
    }
    host.sh("systemctl kill -s KILL jitsudod jitsudo-spawn").output().unwrap();
    assert!(wait_until(SOON, || alice(&host, "jitsudo true").status == 0), "{}", status(&host));
    let log = host.run(&["jitctl", "log", "--all", "--json"]).ok().unwrap();
    assert!(!log.contains("rolled_back"), "{log}");
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}
