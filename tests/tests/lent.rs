//! Roles that change the host while they are held: asked for, seen by `id` and `sudo`, and gone with every end that there is.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{apply_policy, installed_host};
use jitsudo_tests::{Host, Output, SPAWNER, Stopwatch, not_by_the_next, package_file, wait_until};

const POLICY: &str = r#"[roles.logs]
membership = ["adm"]
[roles.more-logs]
membership = ["adm", "staff"]
[roles.ops]
membership = ["staff"]
sudoers = ["/usr/bin/id -u", "/usr/bin/whoami"]
[roles.whole]
membership = ["adm"]
sudoers = ["/usr/bin/whoami"]
run = ["/usr/local/bin/job"]

[[allow]]
name = "lent"
who = ["alice", "bob"]
roles = ["logs", "more-logs", "ops", "whole"]
grant = "role"
window = "1h"
auth = "none"
extend = { each = "15m", total = "1h" }
"#;

/// Leaves one child in a session of its own.
const JOB: &str = "#!/bin/sh\nsetsid sleep 4711 &\nexec sleep 4710\n";

fn host(name: &str, suite: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, suite, &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    host.write("/usr/local/bin/job", 0o755, JOB).unwrap();
    apply_policy(&host, POLICY).unwrap();
    host
}

fn alice(host: &Host, line: &str) -> Output {
    host.sh(line).as_user("alice").limit(Duration::from_secs(120)).output().unwrap_or_else(|error| panic!("{error}"))
}

/// Asks for a role; its id.
fn request(host: &Host, words: &str) -> String {
    let output = alice(host, &format!("jitctl request {words}"));
    assert_eq!((output.status, output.stderr.as_str()), (0, ""), "{words}: {}", output.both());
    id_in(&output)
}

fn id_in(output: &Output) -> String {
    let first = output.stdout.lines().next().unwrap();
    let (_, id) = first.split_once(" (").unwrap_or_else(|| panic!("{}", output.both()));
    id.trim_end_matches(')').to_owned()
}

/// The group line of the host, and both lines of gshadow.
fn group(host: &Host, name: &str) -> String {
    let lines = host.sh(&format!("grep -h ^{name}: /etc/group /etc/gshadow")).ok().unwrap();
    lines.lines().map(|line| line.rsplit(':').next().unwrap()).collect::<Vec<_>>().join("|")
}

fn sudo(host: &Host, line: &str) -> i32 {
    alice(host, &format!("sudo -n {line}")).status
}

/// Nothing of any grant is on the host, nor noted.
fn is_clean(host: &Host) -> bool {
    let left = "cd /; ls -A run/jitsudo/ends run/jitsudo/sudoers.d var/lib/jitsudo/ends 2>/dev/null | grep -v '^$\\|:$\\|^.lock$'";
    let left = host.sh(left).output().unwrap().stdout;
    left.is_empty() && group(host, "adm") == "|" && group(host, "staff") == "|" && sudo(host, "whoami") != 0
}

fn log(host: &Host, id: &str) -> Vec<serde_json::Value> {
    let log = host.run(&["jitctl", "log", id, "--json"]).ok().unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(host: &Host, id: &str) -> Vec<String> {
    log(host, id).iter().map(|line| line["event"].as_str().unwrap().to_owned()).collect()
}

fn is_closed(host: &Host, id: &str) -> bool {
    wait_until(Duration::from_secs(20), || names(host, id).last().is_some_and(|name| name == "closed"))
}

fn cause(host: &Host, id: &str) -> String {
    let log = log(host, id);
    let ended: Vec<_> = log.iter().filter(|line| line["event"] == "ended").collect();
    assert_eq!(ended.len(), 1, "{log:?}");
    ended[0]["cause"].as_str().unwrap().to_owned()
}

fn comes_and_goes(suite: &str) {
    let host = host("lent", suite);
    let asked = alice(&host, "jitctl request ops --for 10m -m 'roll out'");
    assert_eq!(asked.status, 0, "{}", asked.both());
    for said in ["granted: ops until ", "you are in group staff", "newgrp staff", "sudo now gives: /usr/bin/id -u"] {
        assert!(asked.stdout.contains(said), "{said} in {}", asked.both());
    }
    let id = id_in(&asked);
    assert_eq!(group(&host, "staff"), "alice|alice");
    assert!(host.run(&["id", "-nG", "alice"]).ok().unwrap().contains("staff"), "a new login has it");
    assert_eq!(alice(&host, "sudo -n id -u").stdout, "0\n");
    let listed = alice(&host, "sudo -n -l").stdout;
    assert!(listed.contains("NOTAFTER=") && listed.contains("/usr/bin/whoami"), "{listed}");
    assert_ne!(sudo(&host, "id"), 0, "what was not lent");
    // More time: sudo, which knows the end by itself, hears of it.
    let not_after =
        || alice(&host, "sudo -n -l").stdout.lines().find(|line| line.contains("NOTAFTER=")).map(str::to_owned);
    let before = not_after();
    let extended = alice(&host, &format!("jitctl extend {id} --for 10m"));
    assert_eq!(extended.status, 0, "{}", extended.both());
    assert!(wait_until(Duration::from_secs(10), || not_after().is_some() && not_after() != before), "{before:?}");
    assert_eq!(alice(&host, "sudo -n id -u").stdout, "0\n");
    let watch = Stopwatch::start();
    let released = alice(&host, &format!("jitctl release {id}"));
    assert_eq!(released.status, 0, "{}", released.both());
    assert!(wait_until(Duration::from_secs(10), || group(&host, "staff") == "|" && sudo(&host, "whoami") != 0));
    not_by_the_next(&format!("{suite}: `jitctl release`"), watch.elapsed(), SPAWNER);
    assert!(is_closed(&host, &id) && cause(&host, &id) == "given_back");
    assert_eq!(
        names(&host, &id),
        [
            "requested",
            "decided",
            "activating",
            "effect_applied",
            "effect_applied",
            "active",
            "extended",
            "released",
            "effect_undone",
            "effect_undone",
            "ended",
            "closed"
        ]
    );
    assert!(is_clean(&host));
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn bookworm_role_that_changes_the_host_comes_and_goes() {
    comes_and_goes("bookworm");
}

#[test]
fn trixie_role_that_changes_the_host_comes_and_goes() {
    comes_and_goes("trixie");
}

#[test]
fn group_grant_02_what_the_host_had_stays_and_what_two_grants_share_goes_with_the_last() {
    let host = host("lent-shared", "bookworm");
    host.run(&["gpasswd", "-a", "alice", "adm"]).ok().unwrap();
    let id = request(&host, "logs");
    assert!(host.sh(&format!("grep -q '\"ours\":false' /run/jitsudo/ends/*{id}")).ok().is_ok());
    alice(&host, &format!("jitctl release {id}"));
    assert!(is_closed(&host, &id));
    assert_eq!(group(&host, "adm"), "alice|alice", "what the administrator gave stays");
    host.run(&["gpasswd", "-d", "alice", "adm"]).ok().unwrap();

    let one = request(&host, "logs --for 10m");
    let other = request(&host, "more-logs --for 20m");
    assert_eq!((group(&host, "adm"), group(&host, "staff")), ("alice|alice".to_owned(), "alice|alice".to_owned()));
    // A sweep beside what is live touches nothing.
    host.run(&["systemctl", "start", "jitsudo-sweep.service"]).ok().unwrap();
    assert_eq!(group(&host, "adm"), "alice|alice");
    alice(&host, &format!("jitctl release {one}"));
    assert!(is_closed(&host, &one));
    assert_eq!(group(&host, "adm"), "alice|alice", "the other grant has it still");
    // Another's is another's.
    let bob = host.sh("jitctl request logs").as_user("bob").output().unwrap();
    assert_eq!(group(&host, "adm"), "alice,bob|alice,bob", "{}", bob.both());
    alice(&host, &format!("jitctl release {other}"));
    assert!(is_closed(&host, &other));
    assert_eq!((group(&host, "adm"), group(&host, "staff")), ("bob|bob".to_owned(), "|".to_owned()));
    host.run(&["jitctl", "end", &id_in(&bob)]).ok().unwrap();
    assert!(wait_until(Duration::from_secs(20), || is_clean(&host)));
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

fn jobs(host: &Host) -> usize {
    host.sh("pgrep -xf 'sleep 471[01]' | wc -l").ok().unwrap().trim().parse().unwrap()
}

/// Holds the role, runs the job under it, does something, and waits until all is gone; how long that took.
fn ends(host: &Host, window: &str, something: impl FnOnce(&str)) -> (String, Duration) {
    let id = request(host, &format!("whole --for {window}"));
    std::thread::scope(|scope| {
        let client = scope.spawn(|| alice(host, "timeout 100 jitsudo job"));
        assert!(wait_until(Duration::from_secs(10), || jobs(host) == 2), "the job does not run");
        assert_eq!((group(host, "adm").as_str(), sudo(host, "whoami")), ("alice|alice", 0));
        something(&id);
        let watch = Stopwatch::start();
        let gone = || group(host, "adm") == "|" && sudo(host, "whoami") != 0 && jobs(host) == 0;
        assert!(wait_until(Duration::from_secs(80), gone), "{}", host.sh("journalctl -t jitsudo-spawn").ok().unwrap());
        let took = watch.elapsed();
        client.join().unwrap();
        (id, took)
    })
}

/// Waits on the host until the end of its only grant.
const TILL_ITS_END: &str = "e=$(date -d \"$(grep -oh '[0-9-]*T[0-9:.]*Z' /run/jitsudo/ends/01*)\" +%s%N); \
    sleep $(( e/1000000 - $(date +%s%3N) ))e-3";

#[test]
fn every_end_takes_everything_back_whoever_lives() {
    let host = host("lent-ends", "bookworm");
    let (id, took) = ends(&host, "10m", |id| drop(host.run(&["jitctl", "end", id]).ok().unwrap()));
    not_by_the_next("ended by another", took, SPAWNER);
    assert!(is_closed(&host, &id) && cause(&host, &id) == "ended_by_other");
    for meanwhile in [
        "true",
        "systemctl restart jitsudo-spawn jitsudod",
        "kill -9 $(pidof jitsudo-spawn) $(pidof jitsudod)",
        "systemctl stop jitsudod.socket jitsudod",
    ] {
        let (id, took) = ends(&host, "10s", |_| {
            host.sh(meanwhile).ok().unwrap();
            host.sh(TILL_ITS_END).ok().unwrap();
        });
        not_by_the_next(&format!("window over after `{meanwhile}`"), took, SPAWNER);
        host.sh("systemctl start jitsudod.socket jitsudod").ok().unwrap();
        assert!(is_closed(&host, &id), "{meanwhile}: {:?}", log(&host, &id));
        assert_eq!(cause(&host, &id), "window_over", "{meanwhile}");
        assert!(is_clean(&host), "{meanwhile}");
    }
    // A rule that goes takes it along.
    let (id, _) = ends(&host, "10m", |_| drop(apply_policy(&host, &POLICY.replace("\"whole\"]", "\"ops\"]")).unwrap()));
    assert!(is_closed(&host, &id) && cause(&host, &id) == "rule_gone" && is_clean(&host));
    apply_policy(&host, POLICY).unwrap();
    // What nobody lives to end the sweep ends.
    let units = "jitsudod.socket jitsudod jitsudo-spawn.socket jitsudo-spawn";
    let (id, took) =
        ends(&host, "5s", |_| drop(host.sh(&format!("systemctl stop {units}; {TILL_ITS_END}")).ok().unwrap()));
    println!("window over, no daemon: gone after {took:?}");
    assert!(took < Duration::from_secs(62), "{took:?}");
    host.sh(&format!("systemctl start {units}")).ok().unwrap();
    assert!(is_closed(&host, &id), "{:?}", log(&host, &id));
    assert!(wait_until(Duration::from_secs(10), || is_clean(&host)));
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn reboot_takes_everything_back_and_closes_only_what_is_verified() {
    let mut host = host("lent-reboot", "bookworm");
    let id = request(&host, "whole --for 1h");
    host.sh("sync").ok().unwrap();
    host.power_cut().unwrap();
    host.start().unwrap();
    assert_eq!(group(&host, "adm"), "|", "before anybody can log in");
    assert!(wait_until(Duration::from_secs(20), || host.run(&["jitctl", "status"]).output().unwrap().status == 0));
    assert!(is_closed(&host, &id) && is_clean(&host));
    let names = names(&host, &id);
    let place = |name: &str| names.iter().position(|one| one == name).unwrap_or_else(|| panic!("{name} in {names:?}"));
    assert!(place("effect_undone") < place("closed"), "{names:?}");
    assert_eq!(alice(&host, "jitctl grants").status, 3);
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn group_grant_01_group_file_that_is_locked_at_the_end_is_tried_again_and_said() {
    let host = host("lent-locked", "bookworm");
    let (id, other) = (request(&host, "whole --for 10m"), request(&host, "ops --for 10m"));
    // As vipw and usermod do: the lock file names a living process.
    host.sh("setsid sleep 600 >/dev/null 2>&1 & echo -n $! > /etc/group.lock").ok().unwrap();
    alice(&host, &format!("jitctl release {id}"));
    assert!(wait_until(Duration::from_secs(3), || sudo(&host, "whoami") == 0), "the other grant gives it still");
    let shouted = || names(&host, &id).iter().any(|name| name == "cleanup_failed");
    assert!(wait_until(Duration::from_secs(10), shouted), "{:?}", log(&host, &id));
    let said = log(&host, &id).iter().find(|line| line["event"] == "cleanup_failed").unwrap()["cause"].to_string();
    assert!(
        said.contains("cannot take alice out of adm") && said.contains("the group file is locked by sleep (pid "),
        "{said}"
    );
    // Everybody whom it concerns reads what it waits for.
    let words = "cannot take alice out of adm: the group file is locked by sleep (pid ";
    let listed = alice(&host, "jitctl grants").stdout;
    assert!(listed.contains("ending") && listed.contains(words), "{listed}");
    let flat = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown = flat(alice(&host, &format!("jitctl show {id}")).stdout);
    assert!(shown.contains(words) && shown.contains("tried again until it is done"), "{shown}");
    let doctor = flat(host.run(&["jitctl", "doctor"]).output().unwrap().stdout);
    assert!(doctor.contains("could not be taken back yet: ") && doctor.contains(words), "{doctor}");
    // Nobody waits for that: not what goes by itself, nor what is asked for beside.
    let watch = Stopwatch::start();
    alice(&host, &format!("jitctl release {other}"));
    assert!(wait_until(Duration::from_secs(3), || sudo(&host, "whoami") != 0), "a drop-in waits for no group file");
    println!("drop-in beside a locked group file: gone after {:?}", watch.elapsed());
    // A role that needs the file is refused, and nothing of it stays.
    let refused = host.sh("jitctl request more-logs").as_user("bob").limit(Duration::from_secs(120)).output().unwrap();
    assert_eq!(refused.status, 1, "{}", refused.both());
    assert!(refused.stderr.contains("the group file is locked by sleep (pid "), "{}", refused.both());
    assert_eq!(group(&host, "adm"), "alice|alice", "no write without the lock");
    let count = names(&host, &id).iter().filter(|name| *name == "cleanup_failed").count();
    assert_eq!(count, 1, "said once and then rarely");
    let watch = Stopwatch::start();
    host.run(&["rm", "/etc/group.lock"]).ok().unwrap();
    assert!(wait_until(Duration::from_secs(40), || is_clean(&host)), "{:?}", log(&host, &id));
    println!("gone {:?} after the group file is free", watch.elapsed());
    assert!(is_closed(&host, &id) && is_closed(&host, &other));
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn role_that_cannot_be_made_whole_is_not_given_and_leaves_nothing() {
    let host = host("lent-not", "bookworm");
    // The membership can be made, and the drop-in cannot.
    host.run(&["mv", "/etc/sudoers.d/jitsudo", "/root/"]).ok().unwrap();
    let refused = alice(&host, "jitctl request ops");
    assert_eq!(refused.status, 1, "{}", refused.both());
    assert!(refused.stderr.contains("/etc/sudoers.d/jitsudo must include it"), "{}", refused.both());
    assert!(wait_until(Duration::from_secs(10), || is_clean(&host)));
    let log = host.run(&["jitctl", "log", "--json"]).ok().unwrap();
    assert!(log.contains("activation_failed") && !log.contains("\"active\""), "{log}");
    host.run(&["mv", "/root/jitsudo", "/etc/sudoers.d/"]).ok().unwrap();
    // A group that vanished, an obligation that cannot be kept, and groups that give more.
    apply_policy(&host, &POLICY.replace("\"adm\"", "\"gone\"")).unwrap();
    let refused = alice(&host, "jitctl request logs");
    assert!(
        refused.status == 1 && refused.stderr.contains("has not exactly one group of that name"),
        "{}",
        refused.both()
    );
    apply_policy(&host, &format!("{POLICY}run-time = \"10m\"\n")).unwrap();
    let refused = alice(&host, "jitctl request logs");
    assert!(refused.status == 1 && refused.stderr.contains("ask with --for 10m"), "{}", refused.both());
    let id = request(&host, "logs --for 10m");
    alice(&host, &format!("jitctl release {id}"));
    assert!(is_closed(&host, &id));
    let error = apply_policy(&host, &POLICY.replace("\"adm\"", "\"sudo\"")).unwrap_err().to_string();
    assert!(error.contains("lends group sudo, and /etc/sudoers gives that more"), "{error}");
    assert!(wait_until(Duration::from_secs(10), || is_clean(&host)));
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn crash_recovery_worker_or_spawner_that_dies_while_a_role_is_made_leaves_nothing() {
    let host = host("lent-crash", "bookworm");
    // getent hangs: a worker is caught in the middle.
    host.sh("mv /usr/bin/getent /usr/bin/getent.real").ok().unwrap();
    let slow = "#!/bin/sh\n[ -e /run/slow ] && sleep 2\nexec /usr/bin/getent.real \"$@\"\n";
    host.write("/usr/bin/getent", 0o755, slow).unwrap();
    for (role, victim) in
        [("logs", "jitsudo-effects"), ("ops", "jitsudo-effects"), ("logs", "jitsudo-spawn"), ("ops", "jitsudo-spawn")]
    {
        host.sh("touch /run/slow").ok().unwrap();
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| alice(&host, &format!("jitctl request {role}")));
            // The worker that waits for it is its parent.
            let caught = "pgrep -oP \"$(pidof jitsudo-effects | tr ' ' ,)\" -f '[/]usr/bin/getent passwd 1001'";
            let at_work = || host.sh(caught).output().unwrap().status == 0;
            assert!(wait_until(Duration::from_secs(10), at_work), "no worker");
            let victim = match victim {
                "jitsudo-effects" => format!("$(ps -o ppid= -p $({caught}))"),
                other => format!("$(pidof {other})"),
            };
            host.sh(&format!("kill -9 {victim}; rm /run/slow")).ok().unwrap();
            let asked = asked.join().unwrap();
            assert_eq!(asked.status, 1, "{role}, {victim}: {}", asked.both());
        });
        assert!(wait_until(Duration::from_secs(30), || is_clean(&host)), "{role}, {victim}");
        let status = || host.run(&["jitctl", "status"]).output().unwrap();
        assert!(wait_until(Duration::from_secs(30), || status().status == 0), "{role}, {victim}: {}", status().both());
        let id = request(&host, role);
        alice(&host, &format!("jitctl release {id}"));
        assert!(is_closed(&host, &id) && is_clean(&host), "the next one works");
    }
    assert_eq!(alice(&host, "jitctl grants").status, 3);
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}
