//! The checker on a real host: silent while everything is given, and loud for each thing that is planted.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::path::Path;
use std::time::Duration;

use jitsudo_tests::story::{apply_policy, installed_host};
use jitsudo_tests::{Host, Output, audit, compared, package_file, violations, wait_until};

/// alice may hold the role.
const POLICY: &str = r#"[roles.web-operator]
run = ["/usr/bin/id -u", "/usr/bin/sleep 4900"]

[[allow]]
name = "alice holds the web tier"
who = ["alice"]
roles = ["web-operator"]
grant = "role"
auth = "none"
"#;
/// A grant that nobody gave.
const NOBODYS: &str = "01jd0000000000000000000001";
const GROUPS: &str = "/sys/fs/cgroup/system.slice/jitsudo-spawn.service";

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    host.push(Path::new(env!("CARGO_BIN_EXE_lend")), "/opt/lend", 0o755).unwrap();
    apply_policy(&host, POLICY).unwrap();
    host
}

fn alice(host: &Host, line: &str) -> Output {
    host.sh(line).as_user("alice").output().unwrap_or_else(|error| panic!("{error}"))
}

/// Plants something, sees exactly these kinds, takes it away, sees nothing.
fn found(host: &Host, plant: &str, kinds: &[&str], repair: &str) {
    host.sh(plant).ok().unwrap_or_else(|error| panic!("{plant}: {error}"));
    let seen = violations(host).unwrap();
    let words = host.run(&["jitctl", "doctor", "--privileges"]).output().unwrap();
    host.sh(repair).ok().unwrap_or_else(|error| panic!("{repair}: {error}"));
    assert_eq!(seen, kinds, "{plant}\n{}", words.both());
    assert_eq!(words.status, 4, "{plant}\n{}", words.both());
    assert!(words.stdout.lines().filter(|line| line.starts_with("bad ")).count() >= 2, "{}", words.stdout);
    audit(host).unwrap_or_else(|error| panic!("after {repair}: {error}"));
}

#[test]
fn checker_finds_each_thing_that_is_planted_and_nothing_on_a_sane_host() {
    let host = host("checked");
    audit(&host).unwrap();
    let granted = alice(&host, "jitctl request web-operator --for 10m");
    assert_eq!(granted.status, 0, "{}", granted.both());
    std::thread::scope(|scope| {
        let client = scope.spawn(|| alice(&host, "timeout 50 jitsudo sleep 4900"));
        assert!(wait_until(Duration::from_secs(10), || host.sh("pgrep -xf 'sleep 4900'").ok().is_ok()));
        let sane = compared(&host).unwrap();
        assert!(sane["holds"] == true && sane["findings"].as_array().unwrap().is_empty(), "{sane:#}");
        assert!(sane["grants"] == 1 && sane["privileges"].as_u64().unwrap() >= 2, "{sane:#}");

        // What a grant that nobody gave has put on the host.
        let lend = |how: &str, effect: &str| format!("/opt/lend {how} {NOBODYS} 1001 alice 600 '{effect}'");
        let (adm, id) = (r#"{"membership":"adm"}"#, r#"{"sudoers":["/usr/bin/id"]}"#);
        let forget = format!("rm -f /run/jitsudo/ends/{NOBODYS} /var/lib/jitsudo/ends/{NOBODYS}");
        let undo = |effect: &str| format!("{}; {forget}", lend("undo", effect));
        found(&host, &lend("apply", adm), &["group", "note"], &undo(adm));
        found(&host, &lend("apply", id), &["drop_in", "note"], &undo(id));
        found(&host, &format!("{}; {forget}", lend("apply", id)), &["drop_in"], &undo(id));
        let copy = format!(
            "n=$(ls /run/jitsudo/ends | grep ^01); sed s/$n/{NOBODYS}/ /run/jitsudo/ends/$n > /run/jitsudo/ends/{NOBODYS}"
        );
        found(&host, &copy, &["note"], &forget);
        // alice's own note, with a later end.
        let later = "cd /run/jitsudo/ends; cp 01* /root/note; sed -i 's/\"ends_boottime_ms\":/&9/' 01*";
        found(&host, later, &["note"], "cd /run/jitsudo/ends; cat /root/note > $(ls | grep ^01)");
        // A command that no grant gives, and one under a grant that has no record.
        let plant = |session: &str| {
            format!(
                "mkdir -p {GROUPS}/{session}/cmd; sleep 4901 >/dev/null 2>&1 & echo $! > {GROUPS}/{session}/cmd/cgroup.procs"
            )
        };
        let repair = |session: &str| {
            format!(
                "echo 1 > {GROUPS}/{session}/cmd/cgroup.kill; for i in $(seq 100); do rmdir {GROUPS}/{session}/cmd {GROUPS}/{session} && break; sleep 0.05; done"
            )
        };
        found(&host, &plant(&format!("{NOBODYS}.1")), &["session"], &repair(&format!("{NOBODYS}.1")));
        let own = host.sh("ls /run/jitsudo/ends | grep ^01").ok().unwrap();
        found(&host, &plant(&format!("{}.77", own.trim())), &["session"], &repair(&format!("{}.77", own.trim())));
        found(&host, &plant("foreign"), &["session"], &repair("foreign"));
        // A process that kept the gid of an entry which is gone.
        let keeps = format!(
            "{}; setpriv --reuid 1001 --regid 1001 --groups 1001,4 sleep 4902 >/dev/null 2>&1 & \
             for i in $(seq 100); do pgrep -xf 'sleep 4902' && break; sleep 0.05; done; gpasswd -d alice adm",
            lend("apply", adm)
        );
        found(&host, &keeps, &["note", "process"], &format!("pkill -xf 'sleep 4902'; {}", undo(adm)));
        // Lines of sudo's beside ours.
        let line = "echo 'alice ALL=(ALL) NOPASSWD: ALL' >> /etc/sudoers.d/jitsudo";
        found(&host, line, &["drop_in"], "sed -i /alice/d /etc/sudoers.d/jitsudo");
        host.sh("pkill -xf 'sleep 4900'").ok().unwrap();
        client.join().unwrap();
    });
    assert_eq!(alice(&host, &format!("jitctl release {}", granted_id(&granted))).status, 0);
    audit(&host).unwrap();

    // A grant that is over, and whose processes run on because nobody can end them.
    let short = alice(&host, "jitctl request web-operator --for 4s");
    assert_eq!(short.status, 0, "{}", short.both());
    std::thread::scope(|scope| {
        let client = scope.spawn(|| alice(&host, "timeout 50 jitsudo sleep 4900"));
        assert!(wait_until(Duration::from_secs(10), || host.sh("pgrep -xf 'sleep 4900'").ok().is_ok()));
        host.sh(&format!(
            "kill -STOP $(pidof jitsudo-spawn); for f in {GROUPS}/sup.*/cgroup.freeze; do echo 1 > $f; done"
        ))
        .ok()
        .unwrap();
        let over = || violations(&host).unwrap().contains(&"session".to_owned());
        assert!(wait_until(Duration::from_secs(20), over), "{:#}", compared(&host).unwrap());
        host.sh(&format!(
            "for f in {GROUPS}/sup.*/cgroup.freeze; do echo 0 > $f; done; kill -CONT $(pidof jitsudo-spawn)"
        ))
        .ok()
        .unwrap();
        assert!(wait_until(Duration::from_secs(10), || audit(&host).is_ok()), "{:#}", compared(&host).unwrap());
        client.join().unwrap();
    });
    // A ledger in which a byte is another proves nothing.
    host.sh("systemctl stop jitsudod.socket jitsudod; f=$(ls /var/lib/jitsudo/ledger/*.jsonl | head -1); cp -a $f /root/whole; sed -i '0,/alice/s//alicf/' $f").ok().unwrap();
    assert_eq!(violations(&host).unwrap(), ["ledger"]);
    host.sh(
        "cp -a /root/whole $(ls /var/lib/jitsudo/ledger/*.jsonl | head -1); systemctl start jitsudod.socket jitsudod",
    )
    .ok()
    .unwrap();
    audit(&host).unwrap();
}

fn granted_id(granted: &Output) -> String {
    granted.stdout.trim_end().trim_end_matches(')').rsplit('(').next().unwrap_or_default().to_owned()
}

#[test]
fn doctor_names_what_is_broken_and_what_mends_it() {
    let host = host("doctor");
    let doctor = |user: &str| host.run(&["jitctl", "doctor"]).as_user(user).output().unwrap();
    let well = doctor("root");
    assert!(well.status == 0 && !well.stdout.contains("bad "), "{}", well.both());
    for part in ["daemon", "spawner", "policy", "ledger", "clocks", "sweep", "sudoers", "grants"] {
        assert!(well.stdout.contains(part), "{part}: {}", well.stdout);
    }
    let persons = doctor("alice");
    assert!(persons.status == 0 && !persons.stdout.contains("grants"), "{}", persons.both());
    let refused = host.run(&["jitctl", "doctor", "--privileges"]).as_user("alice").output().unwrap();
    assert!(refused.status == 2 && refused.stderr.contains("only root can read the records"), "{}", refused.both());
    for (trouble, repair, health, words) in [
        (
            "systemctl stop jitsudod.socket jitsudod",
            "systemctl start jitsudod.socket jitsudod",
            "bad",
            "cannot reach jitsudod",
        ),
        ("systemctl stop jitsudo-sweep.timer", "systemctl start jitsudo-sweep.timer", "bad", "its timer does not run"),
        (
            "systemctl -q disable jitsudo-sweep-boot.service",
            "systemctl -q enable jitsudo-sweep-boot.service",
            "bad",
            "not enabled at boot",
        ),
        (
            "mv /etc/sudoers.d/jitsudo /root/",
            "mv /root/jitsudo /etc/sudoers.d/",
            "warn",
            "roles with sudoers lines cannot be given",
        ),
        (
            "cp -r /run/jitsudo/ends /root; echo {} > /run/jitsudo/ends/01jd0000000000000000000009",
            "rm /run/jitsudo/ends/01jd*",
            "bad",
            "1 privilege on this host that no grant gives",
        ),
    ] {
        host.sh(trouble).ok().unwrap();
        let told = doctor("root");
        host.sh(repair).ok().unwrap();
        let text = told.stdout.replace("\n               ", " ");
        let line = text.lines().find(|line| line.starts_with(health) && line.contains(words));
        assert!(line.is_some(), "{trouble}: {}", told.both());
        assert_eq!(told.status, if health == "bad" { 4 } else { 0 }, "{trouble}: {}", told.both());
        let next = line.is_some_and(|line| line.split(words).nth(1).is_some_and(|next| next.len() > 5));
        assert!(next, "{trouble}: no next step in {}", told.stdout);
    }
    assert!(wait_until(Duration::from_secs(10), || doctor("root").status == 0), "{}", doctor("root").both());
}
