//! What policy says about time and amount, on real hosts: break-glass and its review, budgets, ends that a rule sets, and accounts that change.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{apply_policy, installed_host};
use jitsudo_tests::{Host, Output, package_file, wait_until};
use serde_json::Value;

fn host(name: &str, policy: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    apply_policy(&host, policy).unwrap();
    host
}

fn user(host: &Host, user: &str, line: &str) -> Output {
    host.sh(line).as_user(user).output().unwrap_or_else(|error| panic!("{error}"))
}

fn alice(host: &Host, line: &str) -> Output {
    user(host, "alice", line)
}

fn log(host: &Host, id: &str) -> Vec<Value> {
    let log = host.run(&["jitctl", "log", id, "--json"]).ok().unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(host: &Host, id: &str) -> Vec<String> {
    log(host, id).iter().map(|line| line["event"].as_str().unwrap().to_owned()).collect()
}

fn is_closed(host: &Host, id: &str) -> bool {
    wait_until(Duration::from_secs(20), || names(host, id).iter().any(|name| name == "closed"))
}

const GLASS: &str = r#"[people.alice]
accounts = ["alice", "alice-adm"]

[roles.everything]
run = ["ALL"]
shell = true

[[allow]]
name = "fire brigade"
who = ["@alice"]
roles = ["everything"]
[allow.break-glass]
window = "1h"
reviewers = ["bob"]
tell = ["carol"]
"#;

/// Opens it for a command with the account's password; what is said.
fn open(host: &Host, account: &str, options: &str, command: &str) -> Output {
    user(host, account, &format!("echo {account}-pw | jitsudo -S -p '' --break-glass {options} {command}"))
}

/// What waits for a review, as this account sees it.
fn waiting(host: &Host, account: &str) -> Vec<String> {
    let output = user(host, account, "jitctl review --json");
    // With nothing to show a second value says so.
    let mut values = serde_json::Deserializer::from_str(&output.stdout).into_iter::<Value>();
    let items = values.next().unwrap_or_else(|| panic!("{}", output.both())).unwrap();
    let ids = items.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned());
    ids.map(|id| id[id.len() - 6..].to_owned()).collect()
}

#[test]
fn break_glass_is_given_once_until_another_person_has_reviewed_it() {
    let host = host("glass", GLASS);
    let closed = alice(&host, "jitsudo id -u");
    assert!(closed.stderr.contains("break-glass is open to you, 1 h"), "{}", closed.both());
    let refused = open(&host, "alice", "", "id -u");
    assert!(refused.status == 1 && refused.stderr.contains("a reason is needed"), "{}", refused.both());
    let unproven = alice(&host, "jitsudo -n --break-glass -m 'db down' id -u");
    assert!(unproven.status == 1 && unproven.stdout.is_empty(), "{}", unproven.both());
    let wrong = alice(&host, "printf 'a\\nb\\nc\\n' | jitsudo -S -p '' --break-glass -m 'db down' id -u");
    assert!(wrong.status == 1 && wrong.stdout.is_empty(), "{}", wrong.both());
    let none = || waiting(&host, "bob").is_empty();
    assert!(wait_until(Duration::from_secs(10), none), "a wrong password is no use: {:?}", waiting(&host, "bob"));
    assert_eq!(open(&host, "alice", "-m 'db down'", "id -u").stdout, "0\n");
    let all = waiting(&host, "bob");
    let [id] = all.as_slice() else { panic!("{all:?}") };
    assert!(is_closed(&host, id));
    let again = || open(&host, "alice", "-m 'db down again'", "id -u");
    // Not by another account of the same person, nor by another daemon's forgetting.
    for meanwhile in ["true", "systemctl restart jitsudod", "systemctl restart jitsudo-spawn"] {
        host.sh(meanwhile).ok().unwrap();
        assert!(wait_until(Duration::from_secs(10), || alice(&host, "jitctl").status == 0));
        for refused in [again(), open(&host, "alice-adm", "-m 'db down'", "id -u")] {
            assert!(refused.status == 1 && refused.stderr.contains("not before a review"), "{}", refused.both());
            assert!(refused.stderr.contains(id) && refused.stderr.contains("bob"), "{}", refused.both());
        }
    }
    // Nobody reviews their own, and strangers learn nothing.
    for (account, status, said) in
        [("alice", 1, "your own use"), ("alice-adm", 1, "your own use"), ("carol", 3, "nothing of that id")]
    {
        let refused = user(&host, account, &format!("jitctl review {id} --note fine"));
        assert!(refused.status == status && refused.stderr.contains(said), "{account}: {}", refused.both());
    }
    assert_eq!(user(&host, "carol", "jitctl review").status, 3);
    assert!(alice(&host, "jitctl review").stdout.contains("another person reviews it"));
    let seen = user(&host, "bob", "jitctl review").stdout;
    assert!(seen.contains(id) && seen.contains("\"db down\"") && seen.contains("fire brigade"), "{seen}");
    assert_eq!(user(&host, "bob", &format!("jitctl review {id}")).status, 2, "a note is needed");
    assert_eq!(
        user(&host, "bob", &format!("jitctl review {id} --note 'INC-7, sound'")).stdout,
        format!("reviewed: {id}\n")
    );
    assert_eq!(user(&host, "bob", &format!("jitctl review {id} --note again")).status, 3);
    let story = host.run(&["jitctl", "log", id]).ok().unwrap();
    for part in ["by break-glass", "BREAK-GLASS, to be reviewed", "reviewed", "by bob: \"INC-7, sound\""] {
        assert!(story.contains(part), "{part} in {story}");
    }
    // Two at once are one use.
    let one = "(echo alice-pw | jitsudo -S -p '' --break-glass -m twice id -u) 2>&1";
    let both = alice(&host, &format!("{one} & {one} & wait")).stdout;
    assert_eq!(both.lines().filter(|line| *line == "0").count(), 1, "{both}");
    assert!(both.contains("not before a review"), "{both}");
    let all = waiting(&host, "bob");
    let [id] = all.as_slice() else { panic!("{all:?}") };
    // A decider that forgets everything is not believed.
    host.sh("systemctl stop jitsudod.socket jitsudod; mv /var/lib/jitsudo/ledger /root/ledger; install -d -o _jitsudo -g _jitsudo -m 700 /var/lib/jitsudo/ledger; systemctl start jitsudod.socket jitsudod").ok().unwrap();
    // No head was signed within its first minute, or the ledger has to be taken as it is.
    host.sh("jitctl audit acknowledge --reason test || true").ok().unwrap();
    let forgotten = again();
    assert!(forgotten.stderr.contains("jitsudo-spawn does not agree"), "{}", forgotten.both());
    host.sh("systemctl stop jitsudod.socket jitsudod; rm -r /var/lib/jitsudo/ledger; mv /root/ledger /var/lib/jitsudo/ledger; systemctl start jitsudod.socket jitsudod").ok().unwrap();
    host.sh("jitctl audit acknowledge --reason test || true").ok().unwrap();
    host.sh(&format!("jitctl review {id} --note 'root looked'")).ok().unwrap();
    // A whole role, and its end.
    let mut terminal = host
        .run(&["jitctl", "request", "everything", "--break-glass", "--reason", "fire", "--for", "10m"])
        .as_user("alice")
        .terminal()
        .unwrap();
    terminal.expect("password for alice: ").unwrap();
    terminal.send("alice-pw\n").unwrap();
    terminal.expect("granted: everything until ").unwrap();
    assert_eq!(alice(&host, "jitsudo id -u; jitsudo id -un").stdout, "0\nroot\n", "under it nothing is asked again");
    let all = waiting(&host, "bob");
    let [id] = all.as_slice() else { panic!("{all:?}") };
    let early = user(&host, "bob", &format!("jitctl review {id} --note early"));
    assert!(early.stderr.contains("it is not over"), "{}", early.both());
    alice(&host, &format!("jitctl release {id}"));
    assert!(is_closed(&host, id));
    assert_eq!(user(&host, "bob", &format!("jitctl review {id} --note sound")).status, 0);
    let alerts = host.sh("journalctl -q --no-pager -o cat -t jitsudod -p alert JITSUDO_BREAK_GLASS=1").ok().unwrap();
    // Every try that the rule gives is told, whether or not it is proven then.
    assert!(alerts.matches("BREAK-GLASS: alice by rule").count() >= 3, "{alerts}");
    assert!(alerts.contains("to be reviewed by bob; tell carol"), "{alerts}");
}

const BUDGET: &str = r#"[roles.tool]
run = ["/usr/bin/id -u", "/usr/bin/sleep <int:1-600>"]

[[allow]]
name = "a little a day"
who = ["alice"]
roles = ["tool"]
window = "10m"
auth = "none"
budget = { per = "1d", time = "5m", uses = 4 }
"#;

#[test]
fn budget_shortens_refuses_and_outlives_restarts() {
    let host = host("budget", BUDGET);
    let request = |options: &str| alice(&host, &format!("jitctl request tool {options}"));
    let refused = request("--for 6m");
    assert!(refused.status == 1 && refused.stderr.contains("has left of its budget 5 min"), "{}", refused.both());
    assert!(refused.stderr.contains("ask with --for 5m"), "{}", refused.both());
    // What is not asked for is shortened.
    let granted = request("");
    assert_eq!(granted.status, 0, "{}", granted.both());
    let grants = || -> Value { serde_json::from_str(&alice(&host, "jitctl grants --json").stdout).unwrap() };
    let held = grants()[0].clone();
    let second = |name: &str| format!("$(date -d {} +%s)", held[name].as_str().unwrap());
    let lasts = host.sh(&format!("echo $(( {} - {} ))", second("ends_at"), second("since"))).ok().unwrap();
    assert!((299..=300).contains(&lasts.trim().parse::<i64>().unwrap()), "{held}");
    let id = held["id"].as_str().unwrap().to_owned();
    // Sessions under it are no further uses.
    assert_eq!(
        alice(&host, "jitsudo id -u; jitsudo id -u; jitsudo id -u; jitsudo id -u; jitsudo id -u").stdout,
        "0\n".repeat(5)
    );
    alice(&host, &format!("jitctl release {id}"));
    assert!(is_closed(&host, &id));
    // One that cannot be started is none, and three more are.
    assert_eq!(alice(&host, "jitsudo id -u; jitsudo id -u").stdout, "0\n0\n");
    host.sh("systemctl restart jitsudod jitsudo-spawn").ok().unwrap();
    assert!(wait_until(Duration::from_secs(10), || alice(&host, "jitctl").status == 0));
    assert_eq!(alice(&host, "jitsudo id -u").stdout, "0\n");
    let refused = alice(&host, "jitsudo id -u");
    assert_eq!((refused.status, refused.stdout.as_str()), (1, ""), "{}", refused.both());
    assert!(refused.stderr.contains("the budget is used up"), "{}", refused.both());
    assert!(refused.stderr.contains("4 of 4 uses in 1 d are made; there is room again in "), "{}", refused.both());
    // At once: the last one is given once.
    apply_policy(&host, &BUDGET.replace("uses = 4", "uses = 5")).unwrap();
    let both = alice(&host, "for n in 1 2 3 4 5; do jitsudo id -u 2>&1 & done; wait").stdout;
    assert_eq!(both.lines().filter(|line| *line == "0").count(), 1, "{both}");
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}
