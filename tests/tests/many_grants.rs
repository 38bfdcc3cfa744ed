//! Many grants at once: all of them end in time, and what they cost. Figures are printed and judge nothing.
//!
//! `cargo xtask test --all` runs the measurements too; docs/performance.md has how to take them alone.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::path::Path;
use std::time::Duration;

use jitsudo_tests::story::{apply_policy, installed_host};
use jitsudo_tests::{Host, audit, package_file, wait_until};

const DAEMONS: &str = "jitsudod.socket jitsudo-spawn.socket jitsudod.service jitsudo-spawn.service";
const POLICY: &str = r#"[roles.many-run]
run = ["/usr/bin/sleep 7000", "/usr/bin/date +%s%N"]
[roles.many-group]
groups = ["plugdev"]
[roles.many-membership]
membership = ["games"]
[roles.many-sudoers]
sudoers = ["/usr/bin/whoami"]
[roles.true]
run = ["/usr/bin/true"]

[[allow]]
name = "many"
who = ["%many"]
roles = ["many-run", "many-group", "many-membership", "many-sudoers"]
grant = "role"
window = "2h"
auth = "none"
[[allow]]
name = "true"
who = ["%many", "alice"]
roles = ["true"]
auth = "none"
"#;

/// A host with the accounts, its daemons down.
fn host(name: &str, accounts: u32) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    host.push(Path::new(env!("CARGO_BIN_EXE_many-grants")), "/opt/many", 0o755).unwrap();
    host.push(Path::new(env!("CARGO_BIN_EXE_watch-ends")), "/opt/watch", 0o755).unwrap();
    apply_policy(&host, POLICY).unwrap();
    host.sh("gpasswd -a bob games").ok().unwrap();
    make(&host, &format!("{accounts} 0 0"));
    host.sh("cp /etc/group /etc/gshadow /root/").ok().unwrap();
    host
}

fn sh(host: &Host, line: &str) -> String {
    host.sh(line).limit(Duration::from_secs(300)).ok().unwrap_or_else(|error| panic!("{error}"))
}

/// Makes grants while the daemons are down; when they end.
fn make(host: &Host, words: &str) -> String {
    sh(host, &format!("systemctl stop {DAEMONS}"));
    let line = format!("/opt/many {words} && chown -R _jitsudo: /var/lib/jitsudo/ledger");
    // A hundred thousand take a program that was built for tests more than a minute.
    let end = host.sh(&line).limit(Duration::from_secs(1_500)).ok().unwrap_or_else(|error| panic!("{error}"));
    end.trim().to_owned()
}

/// Starts the daemons; milliseconds until they ran a command.
fn start(host: &Host, units: &str) -> u128 {
    let line = format!(
        "b=$(date +%s%N); systemctl start {units}
         until runuser -u alice -- jitsudo -n true 2>/dev/null; do sleep 0.005; done; echo $(( ($(date +%s%N) - b) / 1000000 ))"
    );
    sh(host, &line).trim().parse().unwrap()
}

/// A command under each role of commands and each role that lends a group.
fn run_commands(host: &Host, accounts: u32) -> usize {
    let line = format!(
        "started=0; running() {{ pgrep -cxf 'sleep 7000'; }}
         for one in $(seq 20000 {}); do
            for act in '--role many-run' '--role many-group'; do
                setpriv --reuid $one --regid 20000 --clear-groups setsid jitsudo -n $act sleep 7000 </dev/null >/dev/null 2>&1 &
                started=$((started + 1))
            done
            for wait in $(seq 40); do [ $started -gt $(( $(running) + 20 )) ] || break; sleep 0.05; done
         done
         for wait in $(seq 50); do [ $(running) = $started ] && break; sleep 0.1; done
         running; disown -a",
        20_000 + accounts - 1,
    );
    host.sh(&line).limit(Duration::from_secs(300)).output().unwrap().stdout.trim().parse().unwrap_or(0)
}

/// Nothing of theirs is on the host, and what was there before is.
fn is_clean(host: &Host) -> bool {
    let left = "cd /; ls -A run/jitsudo/ends run/jitsudo/sudoers.d run/jitsudo/lent var/lib/jitsudo/ends | grep -v '^$\\|:$\\|^.lock$'";
    host.sh(left).output().unwrap().stdout.is_empty()
        && host.sh("cmp /etc/group /root/group && cmp /etc/gshadow /root/gshadow").output().unwrap().status == 0
        && host.sh("pgrep -xf 'sleep 7000'").output().unwrap().status == 1
}

fn closed(host: &Host) -> usize {
    sh(host, "cat /var/lib/jitsudo/ledger/*.jsonl | grep -c '\"event\":\"closed\"' || true").trim().parse().unwrap()
}

#[test]
fn session_end_many_grants_of_every_kind_that_end_in_one_second_are_all_gone() {
    let accounts = 25;
    let host = host("many", accounts);
    let end = make(&host, &format!("{accounts} 1 16 run group membership sudoers"));
    println!("ready after {} ms", start(&host, DAEMONS));
    assert!(sh(&host, "getent group games").contains("bob,many0,many1,"));
    let before = run_commands(&host, accounts);
    println!("{before} commands run");
    assert!(before >= 40, "of 50 there are {before}");
    println!("{}", sh(&host, &format!("/opt/watch watch {end} 20")));
    assert!(
        wait_until(Duration::from_secs(20), || is_clean(&host)),
        "{}",
        sh(&host, "journalctl -t jitsudo-spawn | tail -n 30")
    );
    assert!(wait_until(Duration::from_secs(20), || closed(&host) >= 100), "{} of 100 are closed", closed(&host));
    assert_eq!(sh(&host, "getent group games").trim().rsplit(':').next().unwrap(), "bob");
    audit(&host).unwrap();
    sh(&host, "jitctl audit verify");
}

#[test]
#[ignore = "a measurement: `cargo xtask test --all` runs and shows it"]
fn measure_ends_of_a_thousand_grants_in_one_second() {
    let host = host("ends", 1_000);
    println!("load {}", sh(&host, "cat /proc/loadavg").trim());
    let end = make(&host, "250 1 90 run group membership sudoers");
    println!("ready after {} ms", start(&host, DAEMONS));
    println!("1000 grants, 250 of each kind: {} commands run", run_commands(&host, 250));
    println!("{}", sh(&host, &format!("/opt/watch watch {end} 60")));
    assert!(wait_until(Duration::from_secs(60), || is_clean(&host)));

    let end = make(&host, "1000 1 20 membership sudoers");
    println!("2000 grants, 1000 memberships and 1000 drop-ins: ready after {} ms", start(&host, DAEMONS));
    println!("{}", sh(&host, &format!("/opt/watch watch {end} 60")));
    assert!(wait_until(Duration::from_secs(60), || is_clean(&host)));

    let end = make(&host, "1000 1 20 membership sudoers");
    println!("the same, both daemons killed: ready after {} ms", start(&host, DAEMONS));
    sh(
        &host,
        "systemctl stop jitsudod.socket jitsudo-spawn.socket; kill -9 $(pidof jitsudod) $(pidof jitsudo-spawn); systemctl stop jitsudod jitsudo-spawn",
    );
    println!("{}", sh(&host, &format!("/opt/watch watch {end} 90")));
    sh(&host, &format!("systemctl start {DAEMONS}"));
    assert!(wait_until(Duration::from_secs(60), || is_clean(&host)));
    audit(&host).unwrap();
    println!("load {}", sh(&host, "cat /proc/loadavg").trim());
}

/// Hundredths of a second of a processor, and MiB resident, of a daemon.
fn used(host: &Host, daemon: &str) -> (u64, u64) {
    let line = format!("p=$(pidof {daemon}); cut -d' ' -f14,15 /proc/$p/stat; grep VmRSS /proc/$p/status | tr -dc 0-9");
    let text = sh(host, &line);
    let numbers: Vec<u64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    (numbers.iter().take(2).sum(), numbers.last().unwrap_or(&0) / 1024)
}

#[test]
#[ignore = "a measurement: `cargo xtask test --all` runs and shows it"]
fn measure_a_hundred_thousand_live_grants() {
    let host = host("live", 2_000);
    for each in [0, 50] {
        println!("load {}", sh(&host, "cat /proc/loadavg").trim());
        let count = 2_000 * each;
        make(&host, &format!("2000 {each} 7200 run"));
        println!("{count} grants: both started, and a command run, after {} ms", start(&host, DAEMONS));
        for daemon in ["jitsudod", "jitsudo-spawn"] {
            let (mut took, mut processor) = (Vec::new(), Vec::new());
            for _ in 0..5 {
                sh(&host, &format!("systemctl stop {daemon}.service"));
                took.push(start(&host, &format!("{daemon}.service")));
                processor.push(used(&host, daemon).0 * 10);
            }
            println!(
                "{count} grants: {daemon} started, and a command run, after {took:?} ms, of a processor {processor:?} ms"
            );
        }
        // Nothing is waited for: this is the time that is measured.
        let before = ["jitsudod", "jitsudo-spawn"].map(|daemon| (daemon, used(&host, daemon)));
        std::thread::sleep(Duration::from_secs(20));
        for (daemon, (ticks, _)) in before {
            let after = used(&host, daemon);
            println!(
                "{count} grants: {daemon} has {} MiB resident and uses {} ms of a processor in 20 s",
                after.1,
                (after.0 - ticks) * 10
            );
        }
        println!("{}", sh(&host, "/opt/watch time 50 20000:20000"));
    }
}

#[test]
#[ignore = "a measurement: `cargo xtask test --all` runs and shows it"]
fn measure_a_command_of_who_holds_no_grant_or_one_or_a_hundred() {
    let host = host("overhead", 3);
    make(&host, "2 1 7200 run");
    make(&host, "1 99 7200 run");
    start(&host, DAEMONS);
    println!("load {}", sh(&host, "cat /proc/loadavg").trim());
    println!("uid 20002 holds no grant, 20001 one, 20000 a hundred");
    println!(
        "{}",
        sh(
            &host,
            "/opt/watch time 20 20000:20000 20001:20000 20002:20000 >/dev/null; /opt/watch time 300 20000:20000 20001:20000 20002:20000"
        )
    );
}
