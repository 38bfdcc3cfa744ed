//! Roles that are held for a window: given, used, given back, ended by others, by time, by a policy and by a reboot, on real hosts.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{apply_policy, installed_host};
use jitsudo_tests::{Host, Output, SPAWNER, Stopwatch, not_by_the_next, package_file, wait_until};

/// alice may hold the role, and run nothing without holding it.
const POLICY: &str = r#"[roles.web-operator]
run = ["/usr/bin/id {-u,-un}", "/usr/local/bin/job"]

[[allow]]
name = "alice holds the web tier"
who = ["alice"]
roles = ["web-operator"]
grant = "role"
window = "1h"
auth = "none"
"#;

/// Leaves one child in a session of its own and one that minds no hang-up.
const JOB: &str = "#!/bin/sh\nsetsid sleep 4711 &\nnohup sleep 4712 >/dev/null 2>&1 &\nexec sleep 4710\n";

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    host.write("/usr/local/bin/job", 0o755, JOB).unwrap();
    apply_policy(&host, POLICY).unwrap();
    host
}

fn user(host: &Host, user: &str, line: &str) -> Output {
    host.sh(line).as_user(user).output().unwrap_or_else(|error| panic!("{error}"))
}

fn alice(host: &Host, line: &str) -> Output {
    user(host, "alice", line)
}

/// Asks for the role; its id.
fn request(host: &Host, options: &str) -> String {
    let output = alice(host, &format!("jitctl request web-operator {options}"));
    assert_eq!((output.status, output.stderr.as_str()), (0, ""), "{}", output.both());
    let told =
        output.stdout.strip_prefix("granted: web-operator until ").unwrap_or_else(|| panic!("{}", output.both()));
    let (until, id) = told.trim_end().split_once(" (").unwrap();
    assert_eq!(until.len(), 5, "{until}");
    id.trim_end_matches(')').to_owned()
}

fn jobs(host: &Host) -> usize {
    host.sh("pgrep -xf 'sleep 471[012]' | wc -l").ok().unwrap().trim().parse().unwrap()
}

fn log(host: &Host, id: &str) -> String {
    host.run(&["jitctl", "log", id, "--json"]).ok().unwrap()
}

fn names(host: &Host, id: &str) -> Vec<String> {
    let log = log(host, id);
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.map(|line| line["event"].as_str().unwrap().to_owned()).collect()
}

fn is_closed(host: &Host, id: &str) -> bool {
    wait_until(Duration::from_secs(20), || names(host, id).last().is_some_and(|name| name == "closed"))
}

fn cause(host: &Host, id: &str) -> String {
    let log = log(host, id);
    let ended = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let ended: Vec<_> = ended.filter(|line| line["event"] == "ended").collect();
    assert_eq!(ended.len(), 1, "{log}");
    ended[0]["cause"].as_str().unwrap().to_owned()
}

/// Runs the job as alice, does something meanwhile, and gives what the client said and how long the end took after that.
fn ends(host: &Host, something: impl FnOnce()) -> (Output, Duration) {
    std::thread::scope(|scope| {
        let client = scope.spawn(|| alice(host, "timeout 60 jitsudo job"));
        assert!(wait_until(Duration::from_secs(10), || jobs(host) == 3), "the job does not run");
        something();
        let watch = Stopwatch::start();
        assert!(wait_until(Duration::from_secs(20), || jobs(host) == 0), "the job runs on");
        let took = watch.elapsed();
        (client.join().unwrap(), took)
    })
}

#[test]
fn role_is_held_used_and_given_back_and_nothing_of_it_is_left() {
    let host = host("held");
    assert!(alice(&host, "jitsudo id -u").stderr.starts_with("jitsudo: not allowed: "));
    let id = request(&host, "--for 10m -m 'roll out' --ticket OPS-1");
    assert_eq!(alice(&host, "jitsudo id -u; jitsudo -u bob id -un").stdout, "0\n", "as root alone");
    assert_eq!(alice(&host, "jitsudo id -u").stdout, "0\n");
    assert!(alice(&host, "jitsudo cat /etc/shadow").stderr.starts_with("jitsudo: not allowed: "));
    let grants = alice(&host, "jitctl grants").stdout;
    assert!(grants.contains(&id) && grants.contains("role web-operator") && grants.contains("ends in "), "{grants}");
    assert!(alice(&host, "jitctl").stdout.contains(&format!("`jitctl release {id}` gives it back")));
    // Nobody else has anything of it.
    assert!(user(&host, "bob", "jitsudo id -u").stderr.starts_with("jitsudo: not allowed: "));
    assert_eq!(user(&host, "bob", "jitctl grants").status, 3);
    assert_eq!(user(&host, "bob", &format!("jitctl release {id}")).status, 3);
    let refused = user(&host, "bob", &format!("jitctl end {id}"));
    assert!(refused.status == 3 && refused.stderr.contains("the duty `end`"), "{}", refused.both());
    assert_eq!(user(&host, "bob", "jitctl grants --all").status, 1);
    // Neither daemon's restart gives or takes anything.
    for unit in ["jitsudod", "jitsudo-spawn", "jitsudod jitsudo-spawn"] {
        host.sh(&format!("systemctl restart {unit}")).ok().unwrap();
        let works = || alice(&host, "jitsudo id -u").stdout == "0\n";
        assert!(wait_until(Duration::from_secs(10), works), "after a restart of {unit}");
    }
    let (client, took) = ends(&host, || {
        let released = alice(&host, &format!("jitctl release {id}"));
        assert_eq!(released.stdout, format!("role web-operator is ending ({id})\n"), "{}", released.both());
    });
    not_by_the_next("what ran", took, SPAWNER);
    assert!(client.stderr.contains("the grant was given back; this command and 2 programs it started were ended"));
    assert!(alice(&host, "jitsudo id -u").stderr.starts_with("jitsudo: not allowed: "));
    assert!(is_closed(&host, &id) && cause(&host, &id) == "given_back");
    assert_eq!(host.sh("ls -A /run/jitsudo/ends").ok().unwrap(), "");
    assert_eq!(alice(&host, &format!("jitctl release {id}")).status, 3);
    let story = alice(&host, &format!("jitctl log {id}")).stdout;
    for part in ["web-operator", "\"roll out\"", "OPS-1", "id -u starts as root", "job starts as root", "given back"] {
        assert!(story.contains(part), "{part} in {story}");
    }
    let names = names(&host, &id);
    assert_eq!(names[..4], ["requested", "decided", "activating", "active"], "{names:?}");
    assert_eq!(names.iter().filter(|name| *name == "session_starting").count(), 6, "{names:?}");
    assert_eq!(names.iter().filter(|name| *name == "session_exit").count(), 6, "{names:?}");
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn window_that_is_over_ends_what_runs_with_and_without_the_daemons_that_gave_it() {
    let host = host("held-over");
    for meanwhile in [
        "true",
        "systemctl restart jitsudo-spawn",
        "kill -9 $(pidof jitsudo-spawn)",
        "systemctl stop jitsudod.socket jitsudod",
    ] {
        let id = request(&host, "--for 8s");
        let (client, took) = ends(&host, || {
            host.sh(meanwhile).ok().unwrap();
            let note = format!("ls /run/jitsudo/ends | grep -q {id}");
            assert!(host.sh(&note).ok().is_ok(), "{meanwhile}");
            let left = "e=$(date -d \"$(grep -o '[0-9-]*T[0-9:.]*Z' /run/jitsudo/ends/*)\" +%s%N); sleep $(( e/1000000 - $(date +%s%3N) ))e-3";
            host.sh(left).ok().unwrap();
        });
        not_by_the_next(meanwhile, took, SPAWNER);
        assert!(client.stderr.contains("the time is over; "), "{meanwhile}: {}", client.both());
        assert!(wait_until(Duration::from_secs(10), || host.sh("ls -A /run/jitsudo/ends").ok().unwrap().is_empty()));
        host.sh("systemctl start jitsudod.socket jitsudod").ok().unwrap();
        assert!(is_closed(&host, &id), "{meanwhile}: {}", log(&host, &id));
        assert_eq!(cause(&host, &id), "window_over", "{meanwhile}");
        assert!(alice(&host, "jitsudo id -u").stderr.starts_with("jitsudo: not allowed: "));
    }
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn root_ends_a_role_and_a_command_and_a_rule_that_goes_ends_what_it_gave() {
    let host = host("held-ended");
    let id = request(&host, "--for 10m");
    let (client, took) = ends(&host, || {
        host.run(&["jitctl", "end", &id, "-m", "incident"]).ok().unwrap();
    });
    not_by_the_next("what ran", took, SPAWNER);
    assert!(client.stderr.contains("the grant was ended by another; "), "{}", client.both());
    assert!(is_closed(&host, &id) && cause(&host, &id) == "ended_by_other");
    assert!(host.run(&["jitctl", "log", &id]).ok().unwrap().contains("ended before its time by root: \"incident\""));
    // A rule that is gone, or means another.
    for policy in [POLICY.replace("alice holds", "alice held"), POLICY.replace("who = [\"alice\"]", "who = [\"bob\"]")]
    {
        apply_policy(&host, POLICY).unwrap();
        let id = request(&host, "--for 10m");
        let (client, _) = ends(&host, || drop(apply_policy(&host, &policy).unwrap()));
        assert!(client.stderr.contains("the rules do not give it any more; "), "{}", client.both());
        assert!(is_closed(&host, &id) && cause(&host, &id) == "rule_gone");
    }
    // A policy that still gives it ends nothing.
    apply_policy(&host, POLICY).unwrap();
    let id = request(&host, "--for 10m");
    apply_policy(&host, &POLICY.replace("window = \"1h\"", "window = \"2h\"")).unwrap();
    assert_eq!(alice(&host, "jitsudo id -u").stdout, "0\n");
    assert!(alice(&host, "jitctl grants").stdout.contains(&id));
    // A single command ends by the same order.
    apply_policy(&host, &POLICY.replace("grant = \"role\"\n", "")).unwrap();
    alice(&host, &format!("jitctl release {id}"));
    assert!(is_closed(&host, &id));
    // So it does by a spawner that did not start it: the way to the session outlives the one that did.
    for killed in [false, true] {
        let (client, _) = ends(&host, || {
            let sessions = alice(&host, "jitctl sessions --json").stdout;
            let sessions: serde_json::Value = serde_json::from_str(&sessions).unwrap();
            let id = sessions[0]["id"].as_str().unwrap();
            let kept = || host.sh("systemctl show -P NFileDescriptorStore jitsudo-spawn").ok().unwrap() == "1\n";
            if killed {
                assert!(wait_until(Duration::from_secs(10), kept), "the channel is not kept");
                host.sh("kill -KILL $(pidof jitsudo-spawn)").ok().unwrap();
            }
            assert!(wait_until(Duration::from_secs(10), || alice(&host, &format!("jitctl release {id}")).status == 0));
        });
        assert!(client.stderr.contains("the grant was given back; "), "{killed}: {}", client.both());
    }
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn reboot_ends_every_role_and_says_so() {
    let mut host = host("held-reboot");
    let id = request(&host, "--for 1h");
    assert_eq!(alice(&host, "jitsudo id -u").stdout, "0\n");
    // The package itself was not yet on the disk for good.
    host.sh("sync").ok().unwrap();
    host.power_cut().unwrap();
    host.start().unwrap();
    let status = || host.run(&["jitctl", "status"]).output().unwrap();
    assert!(wait_until(Duration::from_secs(20), || status().status == 0), "{}", status().both());
    assert!(alice(&host, "jitsudo id -u").stderr.starts_with("jitsudo: not allowed: "));
    assert_eq!(alice(&host, "jitctl grants").status, 3);
    assert!(is_closed(&host, &id) && cause(&host, &id) == "rebooted");
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn role_that_cannot_be_given_is_refused_in_words_and_nothing_changes() {
    let host = host("held-not");
    for (words, status, said) in [
        ("web-operator --for 0", 2, "cannot read --for"),
        ("web-operator --for -5m", 2, "cannot read --for"),
        ("web-operator --for 1000000000h", 1, "not for that long"),
        ("web-operator --for nan", 2, "cannot read --for"),
        ("web-operator --for 2h", 1, "not for that long"),
        ("no-such-role", 1, "not allowed: role no-such-role"),
        ("''", 2, "a value is required"),
        ("web-operator id", 2, "unexpected argument"),
    ] {
        let output = alice(&host, &format!("jitctl request {words}"));
        assert_eq!(output.status, status, "{words}: {}", output.both());
        assert!(output.stderr.contains(said) && output.stdout.is_empty(), "{words}: {}", output.both());
        assert!(!output.stderr.contains("jitsudo:"), "{words}: {}", output.both());
    }
    let root = host.run(&["jitctl", "request", "web-operator"]).output().unwrap();
    assert!(root.status == 1 && root.stderr.contains("root holds no role"), "{}", root.both());
    assert_eq!(user(&host, "bob", "jitctl request web-operator").status, 1);
    // The hidden option is no other way in.
    assert_eq!(alice(&host, "jitsudo --want-role web-operator id").status, 2);
    assert_eq!(alice(&host, "jitctl grants").status, 3);
    assert_eq!(host.sh("ls -A /run/jitsudo/ends").ok().unwrap(), "");
    // A proof that the rule asks for is asked for, once, and not with every command.
    apply_policy(&host, &POLICY.replace("auth = \"none\"", "auth = \"fresh\"")).unwrap();
    let none = alice(&host, "setsid -w jitctl request web-operator </dev/null");
    assert!(none.status == 1 && none.stderr.starts_with("jitctl: "), "{}", none.both());
    assert_eq!(alice(&host, "jitctl grants").status, 3);
    let mut terminal =
        host.run(&["jitctl", "request", "web-operator", "--for", "5m"]).as_user("alice").terminal().unwrap();
    terminal.expect("[jitsudo] password for alice: ").unwrap();
    terminal.send("alice-pw\n").unwrap();
    terminal.expect("granted: web-operator until ").unwrap();
    assert_eq!(alice(&host, "jitsudo -n id -u").stdout, "0\n");
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}
