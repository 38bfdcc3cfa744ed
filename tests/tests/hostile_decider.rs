//! A broken decider can refuse, and nothing else: each lie to the spawner is refused and recorded, and no command runs.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::path::Path;
use std::time::Duration;

use jitsudo_tests::story::{POLICY, apply_policy, installed_host, nginx_pid};
use jitsudo_tests::{Host, package_file, wait_until};
use ssh_key::PrivateKey;
use ssh_key::private::Ed25519Keypair;

const RULE: &str = "alice runs the web tier";

/// The lies, and a piece of what the spawner says to each.
const LIES: [(&str, &str); 13] = [
    ("uid", "uid 0 was named"),
    ("target", "target uid 33 was named"),
    ("rule", "no such rule"),
    ("role", "no-such-role"),
    ("deadline", "later than the terms give"),
    ("boot-deadline", "later than the terms give"),
    ("digest", "digest"),
    ("argv", "refused"),
    ("grant", "no role grant of that id is held"),
    ("session", "session 0 is not one for that kind"),
    ("foreign", "nobody on that connection was looked at"),
    ("head", "files end before event 1000000"),
    ("acknowledgement", "only root acknowledges"),
];

/// Puts the lying decider in the decider's place, for one client.
fn take_place(host: &Host, lie: &str) {
    let unit = format!(
        "[Service]\nType=simple\nWatchdogSec=0\nRestart=no\nExecStart=\nExecStart=/opt/hostile-decider {lie} '{RULE}' web-operator\n"
    );
    host.write("/etc/systemd/system/jitsudod.service.d/lie.conf", 0o644, unit).unwrap();
    let restart = "systemctl daemon-reload && systemctl reset-failed jitsudod; systemctl restart jitsudod.socket && systemctl restart jitsudod";
    host.sh(restart).ok().unwrap();
}

fn journal(host: &Host, name: &str) -> String {
    host.run(&["journalctl", "-q", "--no-pager", "-o", "cat", "-t", name]).ok().unwrap()
}

#[test]
fn lying_decider_is_refused_and_recorded_and_nothing_runs() {
    let host = package_file().and_then(|package| installed_host("liar", "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    host.run(&["systemctl", "start", "nginx"]).ok().unwrap();
    apply_policy(&host, POLICY).unwrap();
    host.push(Path::new(env!("CARGO_BIN_EXE_hostile-decider")), "/opt/hostile-decider", 0o755).unwrap();
    let before = nginx_pid(&host).unwrap();

    for (lie, expected) in LIES {
        take_place(&host, lie);
        let client = host.sh("timeout 10 jitsudo systemctl restart nginx").as_user("alice").output().unwrap();
        assert_ne!(client.status, 0, "{lie}: {}", client.both());
        let said = format!("hostile-decider {lie}: ");
        let answered = wait_until(Duration::from_secs(10), || journal(&host, "hostile-decider").contains(&said));
        let text = journal(&host, "hostile-decider");
        assert!(answered, "{lie} was not answered:\n{text}");
        // The foreign connection waits on the socket and starts a second, idle liar: any line of this lie may be the answer.
        let refused = |line: &str| line.starts_with(&said) && line.contains("refused") && line.contains(expected);
        assert!(text.lines().any(refused), "{text}");
        let recorded = journal(&host, "jitsudo-spawn");
        assert!(recorded.contains("spawner_refused"), "{lie}: {recorded}");
        assert_eq!(nginx_pid(&host).unwrap(), before, "{lie}: a command ran");
    }

    // What the policy would give but the client did not ask for is found out by the session.
    take_place(&host, "allowed-argv");
    let client = host.sh("timeout 15 jitsudo systemctl restart nginx").as_user("alice").output().unwrap();
    assert_ne!(client.status, 0, "{}", client.both());
    assert!(wait_until(Duration::from_secs(10), || journal(&host, "jitsudo-session").contains("spawner_refused")));
    assert_eq!(nginx_pid(&host).unwrap(), before);

    // The same program without a lie is served: what was refused above was the lie.
    take_place(&host, "none");
    let client = host.sh("timeout 15 jitsudo systemctl restart nginx").as_user("alice").output().unwrap();
    assert_eq!(client.status, 0, "{}", client.both());
    assert_ne!(nginx_pid(&host).unwrap(), before);

    // Who was locked while the decider was honest stays locked for one that is not, and is not unlocked by its word.
    let honest =
        "rm /etc/systemd/system/jitsudod.service.d/lie.conf; systemctl daemon-reload; systemctl restart jitsudod";
    host.sh(honest).ok().unwrap();
    let locked = || host.run(&["jitctl", "lock", "alice", "--reason", "left"]).output().unwrap().status == 0;
    assert!(wait_until(Duration::from_secs(10), locked));
    let before = nginx_pid(&host).unwrap();
    for (lie, expected) in [("unlock", "no duty `lock`"), ("none", "its requester is locked (uid 1001)")] {
        take_place(&host, lie);
        let client = host.sh("timeout 10 jitsudo systemctl restart nginx").as_user("alice").output().unwrap();
        assert_ne!(client.status, 0, "{lie}: {}", client.both());
        let refused = || journal(&host, "jitsudo-spawn").contains(expected);
        assert!(wait_until(Duration::from_secs(10), refused), "{lie}: {}", journal(&host, "jitsudo-spawn"));
        assert_eq!(nginx_pid(&host).unwrap(), before, "{lie}: a command ran");
    }
    // Back with the honest decider, the refusals are in the ledger.
    host.sh(honest).ok().unwrap();
    let unlocked = || host.run(&["jitctl", "unlock", "alice"]).output().unwrap().status == 0;
    assert!(wait_until(Duration::from_secs(10), unlocked));
    let client = host.sh("timeout 15 jitsudo systemctl restart nginx").as_user("alice").output().unwrap();
    assert_eq!(client.status, 0, "{}", client.both());
    let in_ledger = || {
        let log = host.run(&["jitctl", "log", "--all", "--json", "--limit", "1000"]).ok().unwrap_or_default();
        log.matches("spawner_refused").count() >= LIES.len()
    };
    assert!(
        wait_until(Duration::from_secs(15), in_ledger),
        "{}",
        host.run(&["jitctl", "log", "--all", "--json"]).ok().unwrap()
    );
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

/// carol must say yes, by the key that the lying decider has.
fn signed_policy() -> String {
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[5; 32])).public_key().to_openssh().unwrap();
    let approval = "[allow.approval]\nby = [\"carol\"]\nanswer-by = \"10m\"\n";
    format!("[people.carol]\naccounts = [\"carol\"]\napproval-keys = [\"{key}\"]\n{POLICY}{approval}")
}

/// Lies about what was signed elsewhere, and what comes of each.
const SIGNED_LIES: [(&str, &str); 7] = [
    ("unsigned", "refused: nobody said yes to it here"),
    ("signed-card", "refused: nobody said yes to it here"),
    ("signed-no", "refused: nobody said yes to it here"),
    ("signed-key", "not proven: its key is no approval key of anybody here; refused: nobody said yes to it here"),
    ("signed-person", "not proven: the applied policy names no keys for that person; refused: nobody said yes"),
    ("signed-late", "refused: NotEnough"),
    ("signed-twice", "started; not proven: what was signed was used already; refused: nobody said yes to it here"),
];

#[test]
fn lying_decider_has_nothing_started_that_was_not_signed_or_twice() {
    let host = package_file().and_then(|package| installed_host("signer", "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    host.run(&["systemctl", "start", "nginx"]).ok().unwrap();
    apply_policy(&host, &signed_policy()).unwrap();
    // The host's key is made with the first question.
    let asked = host.sh("jitsudo --no-wait systemctl restart nginx").as_user("alice").output().unwrap();
    assert_eq!(asked.status, 75, "{}", asked.both());
    host.push(Path::new(env!("CARGO_BIN_EXE_hostile-decider")), "/opt/hostile-decider", 0o755).unwrap();
    for (lie, expected) in SIGNED_LIES {
        let before = nginx_pid(&host).unwrap();
        take_place(&host, lie);
        let client = host.sh("timeout 15 jitsudo systemctl restart nginx").as_user("alice").output().unwrap();
        let said = format!("hostile-decider {lie}: ");
        let answered = wait_until(Duration::from_secs(20), || journal(&host, "hostile-decider").contains(&said));
        let text = journal(&host, "hostile-decider");
        assert!(answered && text.contains(&format!("{said}{expected}")), "{lie}: {}\n{text}", client.both());
        let (ran, once) = (nginx_pid(&host).unwrap() != before, expected.starts_with("started"));
        assert_eq!((ran, client.status == 0), (once, once), "{lie}: {}", client.both());
    }
}
