//! The life of a grant between its beginning and its end, on real hosts: extended, withdrawn, locked, looked at, and what is wrong input.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{apply_policy, installed_host};
use jitsudo_tests::{Host, Output, SPAWNER, Stopwatch, not_by_the_next, package_file, wait_until};
use serde_json::Value;

/// alice may hold the role and extend it; alice-adm is hers; bob locks, carol sees.
const POLICY: &str = r#"[people.alice]
accounts = ["alice", "alice-adm"]

[roles.web-operator]
run = ["/usr/bin/id {-u,-un}", "/usr/local/bin/job"]

[[allow]]
name = "alice holds the web tier"
who = ["@alice"]
roles = ["web-operator"]
grant = "role"
window = "1h"
auth = "none"
extend = { each = "10s", total = "15s" }

[[duty]]
who = ["bob"]
may = ["lock"]

[[duty]]
who = ["carol"]
may = ["see"]
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
fn request(host: &Host, who: &str, options: &str) -> String {
    let output = user(host, who, &format!("jitctl request web-operator {options}"));
    let told =
        output.stdout.strip_prefix("granted: web-operator until ").unwrap_or_else(|| panic!("{}", output.both()));
    told.trim_end().split_once(" (").unwrap().1.trim_end_matches(')').to_owned()
}

fn jobs(host: &Host) -> usize {
    host.sh("pgrep -xf 'sleep 471[012]' | wc -l").ok().unwrap().trim().parse().unwrap()
}

fn job_runs(host: &Host) -> bool {
    wait_until(Duration::from_secs(10), || jobs(host) == 3)
}

fn events(host: &Host, id: &str) -> Vec<Value> {
    let log = host.run(&["jitctl", "log", id, "--json"]).ok().unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(host: &Host, id: &str) -> Vec<String> {
    events(host, id).iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}

fn count(host: &Host, id: &str, name: &str) -> usize {
    names(host, id).iter().filter(|one| *one == name).count()
}

fn is_closed(host: &Host, id: &str) -> bool {
    wait_until(Duration::from_secs(20), || names(host, id).last().is_some_and(|name| name == "closed"))
}

/// How many events there are; the head is told every minute, which is nobody's doing.
fn recorded(host: &Host) -> usize {
    let log = host.run(&["jitctl", "log", "--all", "--json"]).ok().unwrap();
    log.lines().filter(|line| !line.contains("head_published")).count()
}

/// Waits on the host until the end that the grant's note names.
fn wait_for_noted_end(host: &Host, id: &str) {
    let left = format!(
        "e=$(date -d \"$(grep -o '\"ends_at\":\"[^\"]*' /run/jitsudo/ends/*{id} | cut -d'\"' -f4)\" +%s%3N); \
         n=$(date +%s%3N); [ $e -le $n ] || sleep $((e - n))e-3"
    );
    host.sh(&left).ok().unwrap();
}

#[test]
fn extension_moves_the_role_and_what_runs_under_it_within_its_caps() {
    let host = host("extend");
    let id = request(&host, "alice", "--for 8s -m 'roll out'");
    let (client, took) = std::thread::scope(|scope| {
        let client = scope.spawn(|| alice(&host, "timeout 60 jitsudo job"));
        assert!(job_runs(&host));
        let extended = alice(&host, &format!("jitctl extend {id} --for 10s -m 'takes longer'"));
        assert!(extended.stdout.starts_with("extended: web-operator until "), "{}", extended.both());
        assert!(extended.stdout.ends_with(&format!(" ({id})\n")) && extended.status == 0, "{}", extended.both());
        // More than there is in all, and more than at once.
        let over = alice(&host, &format!("jitctl extend {id} --for 9s"));
        assert!(
            over.status == 1 && over.stderr.contains("at most 15 s in all, and 5 s of that is left"),
            "{}",
            over.both()
        );
        let over = alice(&host, &format!("jitctl extend {id} --for 11s"));
        assert!(
            over.status == 1 && over.stderr.contains("at most 10 s at once: ask with --for 10s"),
            "{}",
            over.both()
        );
        assert!(over.stderr.starts_with(&format!("jitctl: not extended: role web-operator ({id})")), "{}", over.both());
        // A second after its start a session is one that the next spawner reaches.
        std::thread::sleep(Duration::from_millis(1200));
        // A spawner that begins anew finds the extension, and reaches the command that runs.
        host.sh("systemctl restart jitsudo-spawn").ok().unwrap();
        let rest = || alice(&host, &format!("jitctl extend {id}")).status == 0;
        assert!(wait_until(Duration::from_secs(10), rest), "{}", alice(&host, "jitctl grants").both());
        let shown: Value = serde_json::from_str(&alice(&host, &format!("jitctl show {id} --json")).stdout).unwrap();
        let words = alice(&host, &format!("jitctl show {id}")).stdout;
        assert!(words.contains("by 15 s"), "{words}");
        assert_eq!(shown["sessions"][0]["ends_at"], shown["ends_at"], "what runs goes on as long: {shown}");
        wait_for_noted_end(&host, &id);
        let watch = Stopwatch::start();
        assert!(wait_until(Duration::from_secs(20), || jobs(&host) == 0), "the job runs on");
        (client.join().unwrap(), watch.elapsed())
    });
    not_by_the_next("what ran", took, SPAWNER);
    assert!(client.stderr.contains("the time is over; "), "{}", client.both());
    assert!(is_closed(&host, &id), "{:?}", names(&host, &id));
    let all = events(&host, &id);
    let moment = |event: &Value| event["boottime_ms"].as_u64().unwrap();
    let one = |name: &str| all.iter().find(|event| event["event"] == name).unwrap();
    let lasted = moment(one("ended")) - moment(one("activating"));
    assert!((23_000..25_500).contains(&lasted), "8 s, 10 s and 5 s: {lasted} ms");
    let extended = one("extended");
    assert_eq!((&extended["reason"], &extended["actor"]["name"]), (&"takes longer".into(), &"alice".into()));
    assert_eq!(extended["rule"], "alice holds the web tier");
    assert_eq!((count(&host, &id, "extended"), count(&host, &id, "not_extended")), (2, 0));
    // After the end, another's, and what is none.
    let before = recorded(&host);
    for (who, what, said) in [
        ("alice", id.as_str(), "it is over"),
        ("bob", id.as_str(), "you hold nothing of that id"),
        ("alice", "zzzzzz", "you hold nothing of that id"),
    ] {
        let refused = user(&host, who, &format!("jitctl extend {what}"));
        assert!(refused.status == 3 && refused.stderr.contains(said), "{who}: {}", refused.both());
    }
    assert_eq!(recorded(&host), before, "nothing was changed");
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn extension_asks_for_the_rules_proof_and_a_session_that_is_deaf_ends_at_the_old_time() {
    let host = host("extend-proof");
    apply_policy(&host, &POLICY.replace("auth = \"none\"", "auth = \"fresh\"")).unwrap();
    let ask = |words: &[&str]| {
        let mut terminal = host.run(words).as_user("alice").terminal().unwrap();
        terminal.expect("[jitsudo] password for alice: ").unwrap();
        terminal.send("alice-pw\n").unwrap();
        terminal
    };
    let mut granted = ask(&["jitctl", "request", "web-operator", "--for", "20s"]);
    granted.expect("granted: web-operator until ").unwrap();
    let held: Value = serde_json::from_str(&alice(&host, "jitctl grants --json").stdout).unwrap();
    let id = held[0]["id"].as_str().unwrap().to_owned();
    // Without a proof nothing moves, and the role is held as before.
    let none = alice(&host, &format!("setsid -w jitctl extend {id} </dev/null"));
    assert!(none.status == 1 && none.stderr.starts_with("jitctl: "), "{}", none.both());
    assert_eq!(alice(&host, "jitctl grants --json").stdout, serde_json::to_string_pretty(&held).unwrap() + "\n");
    assert_eq!(count(&host, &id, "activation_failed"), 0, "{:?}", names(&host, &id));
    assert_eq!(count(&host, &id, "extended"), 0);
    let (client, left) = std::thread::scope(|scope| {
        let client = scope.spawn(|| alice(&host, "timeout 90 jitsudo job"));
        assert!(job_runs(&host));
        let session = "ps -o ppid= -p $(pgrep -xf 'sleep 4710') | tr -d ' '";
        host.sh(&format!("kill -STOP $({session})")).ok().unwrap();
        let watch = Stopwatch::start();
        let mut extended = ask(&["jitctl", "extend", &id, "--for", "10s"]);
        extended.expect("extended: web-operator until ").unwrap();
        let told = || count(&host, &id, "not_extended") == 1;
        assert!(wait_until(Duration::from_secs(10), told), "{:?}", names(&host, &id));
        // The spawner ends what its session does not end, at the old time and not at the new one.
        let gone = || jobs(&host) == 0;
        assert!(wait_until(Duration::from_secs(40), gone), "the job runs on");
        let left = watch.elapsed();
        host.sh("pkill -CONT jitsudo-session || true").ok().unwrap();
        (client.join().unwrap(), left)
    });
    assert!(left.as_secs() <= 28, "20 s, a second of grace, five of patience: {left:?}");
    assert_ne!(client.status, 0);
    assert!(alice(&host, "jitctl grants").status == 0 || is_closed(&host, &id));
    assert!(is_closed(&host, &id));
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn dos_10_lock_needs_its_duty_ends_all_of_a_person_and_holds_over_restart_and_reboot() {
    let mut host = host("lock");
    let id = request(&host, "alice", "--for 10m");
    let other = request(&host, "alice-adm", "--for 10m");
    let locked_words = "alice is locked by bob since ";
    // Who has no duty cannot, and root itself is nobody's to lock.
    let before = recorded(&host);
    for (who, line, status, said) in [
        ("carol", "jitctl lock alice -m spite", 1, "that needs the duty `lock`, or root"),
        ("alice", "jitctl lock bob -m spite", 1, "that needs the duty `lock`, or root"),
        ("alice", "jitctl unlock alice", 1, "that needs the duty `lock`, or root"),
        ("bob", "jitctl lock root -m no", 1, "cannot lock root: uid 0 needs no rule"),
        ("bob", "jitctl lock '#0' -m no", 1, "cannot lock root: uid 0 needs no rule"),
        ("bob", "jitctl lock nobody-here -m no", 3, "cannot lock nobody-here: no such account here"),
        ("bob", "jitctl lock alice -m ' '", 2, "a reason is needed"),
        ("bob", "jitctl unlock alice", 3, "cannot unlock alice: it is not locked"),
    ] {
        let refused = user(&host, who, line);
        assert!(refused.status == status && refused.stderr.contains(said), "{who}: {line}: {}", refused.both());
    }
    assert_eq!(recorded(&host), before, "nothing was changed");
    let (client, took) = std::thread::scope(|scope| {
        let client = scope.spawn(|| alice(&host, "timeout 60 jitsudo job"));
        assert!(job_runs(&host));
        let locked = user(&host, "bob", "jitctl lock alice --reason 'laptop was stolen'");
        assert_eq!(locked.stdout, "alice is locked: 2 grants and commands are ending\n", "{}", locked.both());
        let watch = Stopwatch::start();
        assert!(wait_until(Duration::from_secs(20), || jobs(&host) == 0), "the job runs on");
        (client.join().unwrap(), watch.elapsed())
    });
    not_by_the_next("what ran", took, SPAWNER);
    assert!(client.stderr.contains("your account was locked; "), "{}", client.both());
    for id in [&id, &other] {
        assert!(is_closed(&host, id), "{:?}", names(&host, id));
        let all = events(&host, id);
        assert!(all.iter().any(|event| event["event"] == "ended" && event["cause"] == "locked"), "{all:?}");
    }
    let is_locked = |host: &Host| {
        for who in ["alice", "alice-adm"] {
            for line in ["jitsudo id -u", "jitctl request web-operator", "jitctl roles", "jitctl policy explain id"] {
                let denied = user(host, who, line);
                assert!(denied.status == 1 && denied.stderr.contains(locked_words), "{who}: {line}: {}", denied.both());
                assert!(denied.stderr.contains("laptop was stolen"), "{}", denied.both());
            }
            assert!(!user(host, who, "jitsudo -l").stdout.contains("/usr/bin/id"));
        }
        assert!(alice(host, "jitctl").stdout.starts_with("locked     alice by bob since "));
        let status = host.run(&["jitctl", "status"]).ok().unwrap();
        assert!(status.contains("alice by bob since ") && status.contains("laptop was stolen"), "{status}");
        assert!(!user(host, "carol", "jitctl status").stdout.contains("alice"), "nobody else's business");
        // Others go on.
        assert_eq!(host.run(&["jitsudo", "id", "-u"]).ok().unwrap(), "0\n");
    };
    is_locked(&host);
    host.sh("systemctl restart jitsudod jitsudo-spawn").ok().unwrap();
    is_locked(&host);
    host.sh("sync").ok().unwrap();
    host.power_cut().unwrap();
    host.start().unwrap();
    let well = || host.run(&["jitctl", "status"]).output().unwrap().status == 0;
    assert!(wait_until(Duration::from_secs(20), well));
    is_locked(&host);
    // Once more changes nothing; the story says who did it.
    let before = recorded(&host);
    assert!(user(&host, "bob", "jitctl lock alice -m again").stdout.starts_with("alice is locked already: "));
    assert_eq!(recorded(&host), before);
    let story = host.run(&["jitctl", "timeline", "--user", "alice"]).ok().unwrap();
    for part in ["locked      alice by bob: ", "ended       its requester was locked", "job starts as root"] {
        assert!(story.contains(part), "{part} in {story}");
    }
    assert_eq!(user(&host, "bob", "jitctl unlock alice").stdout, "alice is unlocked\n");
    let id = request(&host, "alice", "--for 5m");
    assert_eq!(alice(&host, "jitsudo id -u").stdout, "0\n");
    assert_eq!(alice(&host, &format!("jitctl release {id}")).status, 0);
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn request_that_waits_is_seen_withdrawn_and_locked_out() {
    let host = host("withdraw");
    apply_policy(&host, &POLICY.replace("auth = \"none\"", "auth = \"fresh\"")).unwrap();
    let waiting = || {
        let mut terminal =
            host.run(&["jitctl", "request", "web-operator", "-m", "why"]).as_user("alice").terminal().unwrap();
        terminal.expect("[jitsudo] password for alice: ").unwrap();
        let asked: Value = serde_json::from_str(&alice(&host, "jitctl requests --json").stdout).unwrap();
        let last = asked.as_array().unwrap().last().unwrap().clone();
        assert_eq!((&last["stage"], &last["role"]), (&"waiting".into(), &"web-operator".into()), "{last}");
        (terminal, last["id"].as_str().unwrap().to_owned())
    };
    let (mut terminal, id) = waiting();
    assert_eq!(user(&host, "bob", &format!("jitctl withdraw {id}")).status, 3, "another's");
    let withdrawn = alice(&host, &format!("jitctl withdraw {id}"));
    let short = &id[20..];
    assert_eq!(
        withdrawn.stdout,
        format!("the request for role web-operator is withdrawn ({short})\n"),
        "{}",
        withdrawn.both()
    );
    let over = || names(&host, &id).contains(&"activation_failed".to_owned());
    assert!(wait_until(Duration::from_secs(10), over), "{:?}", names(&host, &id));
    assert_eq!(count(&host, &id, "withdrawn"), 1);
    terminal.send("alice-pw\n").unwrap();
    let told = terminal.expect("cannot give the role").or_else(|_| terminal.expect("ended"));
    drop(told);
    assert_eq!(alice(&host, "jitctl grants").status, 3, "the proof came too late");
    // One that is locked while it waits gets nothing either, and its session does not wait for ever.
    let (mut terminal, id) = waiting();
    let watch = Stopwatch::start();
    host.run(&["jitctl", "lock", "alice", "--reason", "left"]).ok().unwrap();
    let asking = || host.sh("ls /sys/fs/cgroup/system.slice/jitsudo-spawn.service | grep -c '\\.0$'").output().unwrap();
    assert!(wait_until(Duration::from_secs(10), || asking().stdout.trim() == "0"), "{}", asking().both());
    let status = terminal.wait(Duration::from_secs(10)).unwrap();
    println!("locked at the prompt: gone after {:?}, status {status}: {}", watch.elapsed(), terminal.text());
    assert_ne!(status, 0);
    not_by_the_next("locked at the prompt", watch.elapsed(), SPAWNER);
    for words in ["alice is locked by root since ", "\"left\"", "jitctl unlock ACCOUNT"] {
        assert!(terminal.text().contains(words), "{words}: {}", terminal.text());
    }
    assert!(names(&host, &id).contains(&"activation_failed".to_owned()));
    host.run(&["jitctl", "unlock", "alice"]).ok().unwrap();
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn one_access_is_told_from_wish_to_verified_end_to_whom_it_concerns() {
    let host = host("looks");
    let id = request(&host, "alice", "--for 10m -m 'roll out' --ticket OPS-1");
    assert_eq!(alice(&host, "jitsudo id -u").stdout, "0\n");
    assert_eq!(user(&host, "bob", "jitsudo id -u").status, 1);
    let held = alice(&host, &format!("jitctl show {id}")).stdout;
    for part in [
        "role web-operator",
        "\"roll out\" OPS-1",
        "allowed by rule \"alice holds",
        "session 1  id -u as root: exit 0",
        "now        active",
    ] {
        assert!(held.contains(part), "{part} in {held}");
    }
    assert!(alice(&host, "jitctl roles").stdout.contains("extended by 10 s at once, 15 s in all"));
    alice(&host, &format!("jitctl release {id}"));
    assert!(is_closed(&host, &id));
    let over = alice(&host, &format!("jitctl show {id}")).stdout;
    assert!(over.contains("its requester gave it back") && over.contains("verified: nothing of it remains"), "{over}");
    let requests = alice(&host, "jitctl requests").stdout;
    assert!(requests.contains(&id) && requests.contains("closed · ") && !requests.contains("bob"), "{requests}");
    // In the order in which it happened.
    let story = alice(&host, &format!("jitctl timeline {id}")).stdout;
    let places: Vec<usize> =
        ["asked", "decided", "activating", "active  ", "starts as root", "exit 0 after", "released", "ended", "closed"]
            .iter()
            .map(|part| story.find(part).unwrap_or_else(|| panic!("{part} in {story}")))
            .collect();
    assert!(places.is_sorted(), "{story}");
    assert!(story.lines().all(|line| line.chars().count() <= 80), "{story}");
    let told = alice(&host, "jitctl timeline --since 1h --json").stdout;
    let clocks: Vec<u64> = told
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["boottime_ms"].as_u64().unwrap())
        .collect();
    assert!(clocks.len() > 8 && clocks.is_sorted(), "{told}");
    assert_eq!(alice(&host, "jitctl timeline --since 2020-01-01").status, 0);
    assert_eq!(alice(&host, "jitctl timeline --since 2099-01-01").status, 3);
    assert_eq!(alice(&host, "jitctl timeline --since nan").status, 2);
    // Others' by the duty alone.
    for line in [
        format!("jitctl show {id}"),
        format!("jitctl timeline {id}"),
        "jitctl requests --all".to_owned(),
        "jitctl timeline --user alice".to_owned(),
    ] {
        let refused = user(&host, "bob", &line);
        // Whether there is one is not told.
        let status = if line.ends_with(id.as_str()) { 3 } else { 1 };
        assert!(refused.status == status && refused.stderr.contains("the duty `see`"), "{line}: {}", refused.both());
        let seen = user(&host, "carol", &line);
        assert!(seen.status == 0 && seen.stdout.contains("alice"), "{line}: {}", seen.both());
    }
    assert!(!user(&host, "bob", "jitctl requests").stdout.contains("alice"));
    let all = host.run(&["jitctl", "timeline", "--all"]).ok().unwrap();
    assert!(all.contains("policy      ") && all.contains("refused: no rule covers it"), "{all}");
}

#[test]
fn peer_auth_08_expiry_clock_08_wrong_input_is_told_in_words_and_changes_nothing() {
    let host = host("bad-life");
    let id = request(&host, "alice", "--for 10m");
    let grants = alice(&host, "jitctl grants --json").stdout;
    let before = recorded(&host);
    let notes = || host.sh("cat /run/jitsudo/ends/*").ok().unwrap();
    let noted = notes();
    let extend = |by: &str| format!("jitctl extend {id} --for {by}");
    let ask = |by: &str| format!("jitctl request web-operator --for {by}");
    for (who, line, status, said) in [
        ("alice", ask("0"), 2, "cannot read --for"),
        ("alice", ask("-5m"), 2, "cannot read --for"),
        ("alice", ask("nan"), 2, "cannot read --for"),
        ("alice", extend("0"), 2, "cannot read --for"),
        ("alice", extend("-5m"), 2, "cannot read --for"),
        ("alice", extend("nan"), 2, "cannot read --for"),
        ("alice", extend("99999999999999999999h"), 2, "cannot read --for"),
        ("alice", "jitctl extend ''".to_owned(), 2, "a value is required"),
        ("alice", format!("jitctl extend {id} --ticket X"), 2, "unexpected argument"),
        ("alice", format!("jitsudo --extend {id} id"), 2, "a role is extended with --for and -m alone"),
        ("bob", format!("jitctl release {id}"), 3, "others' need `jitctl end ID` and the duty `end`"),
        ("bob", format!("jitctl end {id}"), 3, "nothing of yours has that id; others' need the duty `end`"),
        ("bob", format!("jitctl timeline {id}"), 3, "nothing of yours has that id; others' need the duty `see`"),
        ("bob", format!("jitctl extend {id}"), 3, "you hold nothing of that id"),
        ("bob", format!("jitctl withdraw {id}"), 3, "nothing of that id"),
        ("alice", format!("jitctl withdraw {id}"), 3, "it is given already"),
        ("alice", "jitctl show zzzzzz".to_owned(), 3, "the duty `see`"),
        ("carol", "jitctl show zzzzzz".to_owned(), 3, "nothing of that id is remembered"),
        ("alice", "jitctl release 0".to_owned(), 3, "nothing of that id"),
    ] {
        let refused = user(&host, who, &line);
        assert!(refused.status == status && refused.stderr.contains(said), "{who}: {line}: {}", refused.both());
        assert!(refused.stdout.is_empty(), "{who}: {line}: {}", refused.both());
    }
    assert_eq!((recorded(&host), notes()), (before, noted.clone()), "nothing was changed");
    // These are asked, denied and recorded, and change nothing else. A group and an account that vanished: the role is there still.
    let vanished = "[roles.vanished]\ngroups = [\"vanished\"]\n\n";
    let two = POLICY.replace("[\"web-operator\"]", "[\"web-operator\", \"vanished\"]");
    host.sh("groupadd vanished").ok().unwrap();
    apply_policy(&host, &format!("{vanished}{two}")).unwrap();
    host.sh("groupdel vanished").ok().unwrap();
    for (line, said) in [
        (ask("1000000000h"), "ask with --for 1h"),
        (extend("1000000000h"), "is extended by at most 10 s at once: ask with --for 10s"),
        ("jitctl request web-operater".to_owned(), "did you mean \"web-operator\"?"),
        ("jitctl request vanished".to_owned(), "group vanished"),
    ] {
        let refused = alice(&host, &line);
        assert!(refused.status == 1 && refused.stderr.contains(said), "{line}: {}", refused.both());
    }
    apply_policy(&host, &POLICY.replace("extend = { each = \"10s\", total = \"15s\" }\n", "")).unwrap();
    let refused = alice(&host, &format!("jitctl extend {id}"));
    let said = "rule \"alice holds the web tier\", which gave role web-operator, extends nothing";
    assert!(refused.status == 1 && refused.stderr.contains(said), "{}", refused.both());
    assert_eq!((alice(&host, "jitctl grants --json").stdout, notes()), (grants, noted), "nothing was changed");
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
    exit_status_of_every_verb_says_what_became_of_it(&host, &id);
    // After the end there is nothing to extend or to end, and nothing of it comes back.
    alice(&host, &format!("jitctl release {id}"));
    assert!(is_closed(&host, &id), "{:?}", names(&host, &id));
    let before = recorded(&host);
    for (line, said) in [
        (format!("jitctl extend {id}"), "it is over"),
        (format!("jitctl release {id}"), "nothing of that id is active"),
        (format!("jitctl end {id}"), "others' need the duty `end`"),
        (format!("jitctl withdraw {id}"), "nothing of that id"),
    ] {
        let refused = alice(&host, &line);
        assert!(refused.status == 3 && refused.stderr.contains(said), "{line}: {}", refused.both());
    }
    assert_eq!((recorded(&host), host.sh("ls -A /run/jitsudo/ends").ok().unwrap()), (before, String::new()));
    // Who has no account any more is told so, and has nothing.
    let nobody =
        host.sh("setpriv --reuid=4242 --regid=4242 --clear-groups jitctl request web-operator").output().unwrap();
    assert!(nobody.status != 0 && nobody.stderr.contains("uid 4242 has no account on this host"), "{}", nobody.both());
    assert_eq!(host.sh("ls -A /run/jitsudo/ends").ok().unwrap(), "");
}

/// 0 done, 1 refused, 2 usage, 3 nothing found, 4 bad check, 69 no daemon.
fn exit_status_of_every_verb_says_what_became_of_it(host: &Host, id: &str) {
    let told = |who: &str, words: &str, status: i32| {
        let output = user(host, who, &format!("jitctl {words}"));
        assert_eq!(output.status, status, "{who}: jitctl {words}: {}", output.both());
        assert!(
            status == 0 || status == 4 || output.stderr.starts_with("jitctl: ") || status == 2,
            "{}",
            output.both()
        );
    };
    let ways = "grants,sessions,requests,roles,timeline,log,status";
    ways.split(',').for_each(|words| {
        told(
            "carol",
            &format!("{words}{}", if words == "roles" || words == "status" { "" } else { " --all" }),
            if matches!(words, "sessions" | "roles") { 3 } else { 0 },
        )
    });
    for words in ["show ID", "timeline ID", "log ID"] {
        told("alice", &words.replace("ID", id), 0);
    }
    // Of an unknown id, or an account that is none.
    for words in [
        "show zzzzzz",
        "timeline zzzzzz",
        "log zzzzzz",
        "end zzzzzz",
        "release zzzzzz",
        "withdraw zzzzzz",
        "review zzzzzz --note x",
        "residue acknowledge zzzzzz --reason x",
        "lock no-such-account --reason x",
        "unlock carol",
    ] {
        told("root", words, 3);
    }
    for words in [
        "show zzzzzz",
        "timeline zzzzzz",
        "end zzzzzz",
        "extend zzzzzz",
        "release zzzzzz",
        "withdraw zzzzzz",
        "review zzzzzz --note x",
        "residue acknowledge zzzzzz --reason x",
        "log zzzzzz",
        "residue",
        "review",
    ] {
        told("alice", words, 3);
    }
    // Without the duty.
    for words in [
        "lock carol --reason x",
        "unlock carol",
        "grants --all",
        "sessions --all",
        "residue --all",
        "audit acknowledge --reason x",
    ] {
        told("alice", words, 1);
    }
    let long = "x".repeat(300);
    for words in [
        "show",
        "extend",
        "release",
        "withdraw",
        "end",
        "lock bob",
        "lock bob --reason ''",
        "unlock",
        "review zzzzzz --note ''",
        "residue acknowledge zzzzzz",
        "no-such-verb",
        "timeline --since nan",
        &format!("lock {long} --reason x"),
        &format!("release {long}"),
    ] {
        told("root", words, 2);
    }
    told("root", "policy check /etc/passwd", 4);
    host.sh("systemctl stop jitsudod.socket jitsudod").ok().unwrap();
    for words in [
        "",
        "grants",
        "sessions",
        "requests",
        "roles",
        "status",
        "show zzzzzz",
        "extend zzzzzz",
        "request web-operator",
        "release zzzzzz",
        "withdraw zzzzzz",
        "end zzzzzz",
        "lock bob --reason x",
        "unlock bob",
        "review",
        "review zzzzzz --note x",
        "residue",
        "residue acknowledge zzzzzz --reason x",
        "timeline zzzzzz",
        "log zzzzzz",
    ] {
        let output = user(host, "alice", &format!("jitctl {words}"));
        assert_eq!(output.status, 69, "jitctl {words}: {}", output.both());
    }
    told("root", "doctor", 4);
    host.sh("systemctl start jitsudod.socket jitsudod").ok().unwrap();
}
