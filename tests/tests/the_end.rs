//! How a grant's end reaches people and processes, and what it leaves, on real hosts.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{apply_policy, installed_host};
use jitsudo_tests::{Host, Output, package_file, wait_until};

/// Warned of early, so that the test is short.
const WARNED: &str = r#"[roles.web-operator]
run = ["/usr/local/bin/plain", "/usr/local/bin/guest", "/usr/local/bin/owner", "/usr/local/bin/quick"]
shell = true

[[allow]]
name = "alice holds the web tier"
who = ["alice"]
roles = ["web-operator"]
grant = "role"
auth = "none"
warn = ["9s", "4s"]
"#;

const PLAIN: &str = "#!/bin/sh\necho plain runs\nsleep 60 & wait\n";
/// Has the whole screen until three seconds before the end, and gives it back.
const GUEST: &str = "#!/bin/sh\nprintf '\\033[?1049hguest runs'\nsleep 9.5\nprintf '\\033[?1049l'\nsleep 60 & wait\n";
/// Has the whole screen for ever, and minds no SIGTERM.
const OWNER: &str = "#!/bin/sh\ntrap '' TERM\nprintf '\\033[?1049howner runs'\nsleep 60\nsleep 60\n";

fn host(name: &str, policy: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    for (name, script) in [("plain", PLAIN), ("guest", GUEST), ("owner", OWNER)] {
        host.write(&format!("/usr/local/bin/{name}"), 0o755, script).unwrap();
    }
    apply_policy(&host, policy).unwrap();
    host
}

fn user(host: &Host, user: &str, line: &str) -> Output {
    host.sh(line).as_user(user).output().unwrap_or_else(|error| panic!("{error}"))
}

fn alice(host: &Host, line: &str) -> Output {
    user(host, "alice", line)
}

/// Asks for a role; its id.
fn request(host: &Host, words: &str) -> String {
    let output = alice(host, &format!("jitctl request {words}"));
    assert_eq!(output.status, 0, "{}", output.both());
    output.stdout.trim_end().trim_end_matches(')').rsplit_once('(').unwrap().1.to_owned()
}

fn events(host: &Host, id: &str) -> Vec<serde_json::Value> {
    let log = host.run(&["jitctl", "log", id, "--json"]).ok().unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn is_closed(host: &Host, id: &str) -> bool {
    wait_until(Duration::from_secs(20), || events(host, id).iter().any(|line| line["event"] == "closed"))
}

#[test]
fn warnings_are_drawn_on_terminals_and_never_into_a_full_screen_program() {
    let host = host("warned", WARNED);
    request(&host, "web-operator --for 12s");
    let open = |what: &str| host.run(&["jitsudo", what]).as_user("alice").terminal().unwrap();
    let (mut plain, mut guest, mut owner) = (open("plain"), open("guest"), open("owner"));
    let quiet = alice(&host, "jitsudo plain");

    plain.expect("plain runs").unwrap();
    plain.expect("\njitsudo: 9 seconds left in this window (ends ").unwrap();
    plain.expect("\njitsudo: 4 seconds left in this window (ends ").unwrap();
    plain.expect("\njitsudo: the time is over; this command and 1 program it started were ended\r\n").unwrap();
    plain.wait(Duration::from_secs(10)).unwrap();

    guest.expect("guest runs").unwrap();
    let meanwhile = guest.expect("\u{1b}[?1049l").unwrap();
    assert!(!meanwhile.contains("left in") && meanwhile.contains('\u{7}'), "{meanwhile:?}");
    let late = guest.expect(" left in this window (ends ").unwrap();
    assert!(["1 second", "2 seconds", "3 seconds"].iter().any(|words| late.contains(words)), "{late:?}");
    let last = guest.expect("\njitsudo: the time is over; this command and 1 program it started were ended").unwrap();
    assert!(!last.contains("left in"), "what is not true any more is not said: {last:?}");

    owner.expect("owner runs").unwrap();
    let meanwhile = owner.expect("\u{1b}[?1049l").unwrap();
    assert!(!meanwhile.contains("jitsudo:"), "{meanwhile:?}");
    owner.expect("\njitsudo: the time is over; this command and 1 program it started were ended").unwrap();

    // Without a terminal there is the command's output, and one line when it is over.
    assert_eq!(quiet.stdout, "plain runs\n");
    let said: Vec<_> = quiet.stderr.lines().filter(|line| line.contains("jitsudo")).collect();
    assert_eq!(said, ["jitsudo: the time is over; this command and 1 program it started were ended"]);

    // The same in a shell and for a single command, whose window is the rule's.
    apply_policy(&host, &WARNED.replace("grant = \"role\"\n", "window = \"5s\"\n")).unwrap();
    let mut shell = host.run(&["jitsudo", "-s"]).as_user("alice").terminal().unwrap();
    shell.expect("\njitsudo: 4 seconds left in this window (ends ").unwrap();
    shell.expect("\njitsudo: the time is over; this shell was ended").unwrap();
}

#[test]
fn command_finishes_by_a_bound_of_its_own_and_nothing_starts_meanwhile() {
    let finish = WARNED.replace("warn = [\"9s\", \"4s\"]", "at-end = { finish = \"1h\" }");
    let require = "[[require]]\nname = \"not for long\"\nroles = [\"web-operator\"]\nat-end = { finish = \"6s\" }\n";
    let host = host("finish", &format!("{finish}{require}"));
    host.write("/usr/local/bin/quick", 0o755, "#!/bin/sh\nsleep 5\necho done\n").unwrap();
    let id = request(&host, "web-operator --for 3s");
    let outputs = std::thread::scope(|scope| {
        let lines = ["jitsudo quick", "jitsudo plain", "jitsudo -s sleep 60", "jitsudo -T 30 plain"];
        let running = lines.map(|line| scope.spawn(|| alice(&host, line)));
        let mut terminal = host.run(&["jitsudo", "plain"]).as_user("alice").terminal().unwrap();
        terminal.expect("\njitsudo: the time is over; this command may finish until ").unwrap();
        // Whoever begins anew does not cut that short.
        host.sh("systemctl restart jitsudo-spawn").ok().unwrap();
        assert!(alice(&host, "jitsudo plain").stderr.starts_with("jitsudo: not allowed: "));
        let grants = host.run(&["jitctl", "grants"]).ok().unwrap();
        assert!(grants.contains(&id) && grants.contains("ending"), "{grants}");
        terminal.expect("\njitsudo: the time is over; this command and 1 program it started were ended").unwrap();
        running.map(|one| one.join().unwrap())
    });
    let [quick, plain, shell, timed] = outputs;
    assert_eq!((quick.status, quick.stdout.as_str(), quick.stderr.as_str()), (0, "done\n", ""));
    let times = |event: &str| -> Vec<f64> {
        let lines = events(&host, &id);
        let of = lines.iter().filter(|line| line["event"] == event);
        of.map(|line| line["boottime_ms"].as_f64().unwrap() / 1000.0).collect()
    };
    for output in [&plain, &shell, &timed] {
        assert!(output.stderr.contains("the time is over; this "), "{}", output.both());
    }
    assert!(is_closed(&host, &id));
    let lines = events(&host, &id);
    let find = |event: &str| lines.iter().find(|line| line["event"] == event).unwrap();
    let until = |value: &serde_json::Value| -> u64 {
        host.sh(&format!("date -d {} +%s", value.as_str().unwrap())).ok().unwrap().trim().parse().unwrap()
    };
    let activating = find("activating");
    let bound = until(&activating["processes_end_at"]);
    assert_eq!(bound - until(&activating["ends_at"]), 6, "the shorter of the two");
    let ended = times("ended");
    let exits = times("session_exit");
    let [shell_and_timed, others] = [exits.iter().filter(|at| **at < ended[0] + 2.0).count(), exits.len()];
    println!("ended at {ended:?}, commands exited at {exits:?}, closed at {:?}", times("closed"));
    assert_eq!((shell_and_timed, others), (2, 5), "the shell and the timed one ended with the window");
    assert!(times("closed")[0] >= ended[0] + 6.0);

    // Who may end it ends it at once, also while it finishes.
    let id = request(&host, "web-operator --for 3s");
    std::thread::scope(|scope| {
        let running = scope.spawn(|| alice(&host, "jitsudo plain"));
        assert!(wait_until(Duration::from_secs(20), || events(&host, &id).iter().any(|line| line["event"] == "ended")));
        let ended = alice(&host, &format!("jitctl release {id}"));
        assert_eq!(ended.status, 0, "{}", ended.both());
        assert!(running.join().unwrap().stderr.contains("the grant was given back; "));
    });
    assert!(is_closed(&host, &id));

    // What a role that starts daemons leaves is the host's, by name; what another one leaves ends with it.
    host.write("/usr/local/bin/plain", 0o755, "#!/bin/sh\nsleep 6300 >/dev/null 2>&1 &\n").unwrap();
    for (leaves, said, left) in [("false", 1, "0"), ("true", 0, "1")] {
        apply_policy(&host, &WARNED.replace("shell = true", &format!("leaves = {leaves}"))).unwrap();
        let id = request(&host, "web-operator --for 10m");
        let output = alice(&host, "jitsudo plain");
        assert_eq!(output.stderr.matches("1 program still runs under this grant and will be ended at ").count(), said);
        alice(&host, &format!("jitctl release {id}"));
        assert!(is_closed(&host, &id));
        assert_eq!(host.sh("pgrep -xf 'sleep 6300' | wc -l").ok().unwrap().trim(), left);
        let lines = events(&host, &id);
        let told = lines.iter().find(|line| line["event"] == "left_running").unwrap();
        assert_eq!((told["released"].to_string().as_str(), &told["programs"][0]), (leaves, &"sleep".into()));
    }
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}
