//! Another person says yes: asked, answered, started, refused and forged, on a real host.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{apply_policy, installed_host};
use jitsudo_tests::{Host, Output, Terminal, package_file, wait_until};
use serde_json::Value;

/// bob or carol must say yes to what alice runs.
const POLICY: &str = r#"[people.alice]
accounts = ["alice", "alice-adm"]
[people.bob]
accounts = ["bob"]
[teams.leads]
members = ["bob", "carol", "alice-adm"]

[roles.who]
run = ["/usr/bin/id {-u,-un}", "/usr/local/bin/tool ..."]
env-keep = ["TOOL"]

[[allow]]
name = "two pairs of eyes"
who = ["alice", "carol"]
roles = ["who"]
auth = "none"
[allow.approval]
by = "@leads"
answer-by = "60s"

[roles.own-script]
run = ["/usr/local/bin/inside ..."]
as = ["bob"]

[[allow]]
name = "bob as himself"
who = ["bob"]
roles = ["own-script"]
auth = "none"
"#;

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    host.write("/usr/local/bin/tool", 0o755, "#!/bin/sh\necho one $TOOL\n").unwrap();
    host.write("/usr/local/bin/inside", 0o755, "#!/bin/sh\nexec jitctl approve $1 --digest $2\n").unwrap();
    apply_policy(&host, POLICY).unwrap();
    host
}

fn user(host: &Host, user: &str, line: &str) -> Output {
    host.sh(line).as_user(user).output().unwrap_or_else(|error| panic!("{error}"))
}

/// What waits for this account.
fn listed(host: &Host, account: &str) -> Vec<Value> {
    let output = user(host, account, "jitctl approve --json");
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.both()))
}

/// The card of the first request that waits for this account.
fn card(host: &Host, account: &str) -> Value {
    let mut found = Vec::new();
    assert!(
        wait_until(Duration::from_secs(20), || {
            found = listed(host, account);
            !found.is_empty()
        }),
        "nothing waits for {account}"
    );
    let output = user(host, account, &format!("jitctl approve {} --json", found[0]["id"].as_str().unwrap()));
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.both()))
}

/// Says yes to that card from a terminal, with this password; what is seen there.
fn approve_with(host: &Host, account: &str, card: &Value, password: &str) -> String {
    let (id, digest) = (card["id"].as_str().unwrap(), card["digest"].as_str().unwrap());
    let line = format!("jitctl approve {id} --digest {digest}; echo status=$?=");
    let mut terminal = host.sh(&line).as_user(account).terminal().unwrap();
    terminal.answer_hidden("password for", password).unwrap();
    terminal.expect("status=").unwrap() + &terminal.expect("=").unwrap()
}

fn approve(host: &Host, account: &str, card: &Value) {
    let seen = approve_with(host, account, card, &format!("{account}-pw"));
    assert!(seen.contains("approved") && seen.ends_with("status=0="), "{seen}");
}

/// Says yes where no password is asked for, because it does not come to that.
fn tries(host: &Host, account: &str, card: &Value) -> Output {
    let (id, digest) = (card["id"].as_str().unwrap(), card["digest"].as_str().unwrap());
    user(host, account, &format!("jitctl approve {id} --digest {digest}"))
}

/// Runs as alice, does something with the card meanwhile, and gives what she saw.
fn asks(host: &Host, line: &str, answer: impl FnOnce(&Value)) -> Output {
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| user(host, "alice", line));
        answer(&card(host, "bob"));
        asking.join().unwrap()
    })
}

fn names(host: &Host, id: &str) -> Vec<String> {
    let log = host.run(&["jitctl", "log", id, "--json"]).ok().unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| line["event"].as_str().unwrap().to_owned()).collect()
}

/// The reason of the last denial in the ledger.
fn last_denial(host: &Host) -> String {
    let log = host.run(&["jitctl", "log", "--all", "--json", "--limit", "60"]).ok().unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut denials = lines.filter(|line| line["event"] == "decided" && line["allowed"] == false);
    denials
        .next_back()
        .map(|line| line["denial"]["detail"][0].as_str().unwrap_or_default().to_owned())
        .unwrap_or_default()
}

#[test]
fn command_that_bob_approves_runs_once_and_what_nobody_approved_does_not() {
    let host = host("approved");
    let mut id = String::new();
    let output = asks(&host, "jitsudo -m because id -u", |card| {
        id = card["id"].as_str().unwrap().to_owned();
        assert_eq!((card["user"].as_str(), card["reason"].as_str()), (Some("alice"), Some("because")));
        assert_eq!(card["argv"], serde_json::json!(["id", "-u"]));
        let shown = user(&host, "bob", &format!("jitctl show {id}")).stdout;
        assert!(shown.starts_with("alice asks to run, as root, on approved:\n\n    id -u\n"), "{shown}");
        approve(&host, "bob", card);
    });
    assert_eq!((output.status, output.stdout.as_str()), (0, "0\n"), "{}", output.both());
    assert!(output.stderr.starts_with("asked @leads for: /usr/bin/id -u as root"), "{}", output.stderr);
    assert!(!output.stderr.contains("waiting"), "a live line without a terminal: {}", output.stderr);
    let events = names(&host, &id);
    assert_eq!(
        events[..7],
        ["requested", "decided", "asked", "approved", "decided", "activating", "session_starting"],
        "{events:?}"
    );
    // Used once.
    let again = user(&host, "alice", &format!("jitsudo -m because --request {id} id -u"));
    assert!(again.status == 1 && again.stderr.contains("nothing of that id of yours waits"), "{}", again.both());
    // A no: 77, with the reason.
    let output = asks(&host, "jitsudo id -un", |card| {
        let said = user(&host, "bob", &format!("jitctl refuse {} --reason 'not today'", card["id"].as_str().unwrap()));
        assert_eq!(said.status, 0, "{}", said.both());
    });
    assert_eq!((output.status, output.stdout.as_str()), (77, ""), "{}", output.both());
    assert!(output.stderr.contains("bob said no: not today"), "{}", output.stderr);
    // Who does not wait is told so.
    let output = user(&host, "alice", "jitsudo -n id -u");
    assert!(output.status == 1 && output.stderr.contains("-n does not wait for people"), "{}", output.both());
    terminal_shows_who_looked_and_hang_up_withdraws(&host);
    later_request_uses_the_approval_with_the_same_act_only(&host);
    approver_hears_on_a_terminal_that_takes_messages(&host);
    role_is_held_once_it_is_approved(&host);
}

/// A terminal of bob's that takes messages, as a login leaves it, and one that does not.
fn bobs_terminals(host: &Host) -> (Terminal, Terminal) {
    let open = |mesg: &str| {
        let mut terminal = host.sh("tty; sleep 600").as_user("bob").terminal().unwrap();
        terminal.expect("/dev/pts/").unwrap();
        let number: String = terminal.expect("\n").unwrap().chars().filter(char::is_ascii_digit).collect();
        host.sh(&format!("chown bob:tty /dev/pts/{number} && chmod {mesg} /dev/pts/{number}")).ok().unwrap();
        terminal
    };
    (open("0620"), open("0600"))
}

fn approver_hears_on_a_terminal_that_takes_messages(host: &Host) {
    let (mut open, closed) = bobs_terminals(host);
    let asked = user(host, "alice", "jitsudo --no-wait -m \"$(printf 'a\\033[2Jb')\" id -u");
    assert_eq!(asked.status, 75, "{}", asked.both());
    open.expect("alice asks for: /usr/bin/id -u as root").unwrap();
    open.expect("why: a\\u{1b}[2Jb").unwrap();
    open.expect("jitctl approve ").unwrap();
    let id = listed(host, "bob")[0]["id"].as_str().unwrap().to_owned();
    user(host, "carol", &format!("jitctl refuse {id} --reason busy"));
    open.expect("carol said no; nothing is left to do").unwrap();
    assert_eq!(closed.text().lines().count(), 1, "{}", closed.text());
    assert!(!open.bytes().contains(&0x1b));
    assert!(!names(host, &id).contains(&"delivery_failed".to_owned()), "{:?}", names(host, &id));
}

/// On her terminal alice sees who is asked, that bob has looked, and who approved it; bob answers his prompt by a key that he types then.
fn terminal_shows_who_looked_and_hang_up_withdraws(host: &Host) {
    let mut alice = host.sh("jitsudo id -u; echo status=$?=").as_user("alice").terminal().unwrap();
    alice.expect("asked @leads for: ").unwrap();
    alice.expect("left · Ctrl-C withdraws").unwrap();
    let id = listed(host, "bob")[0]["id"].as_str().unwrap().to_owned();
    let mut bob =
        host.sh(&format!("sleep 1; jitctl approve {id} --for 5m; echo status=$?=")).as_user("bob").terminal().unwrap();
    // Typed ahead: it answers nothing.
    bob.send("y\n").unwrap();
    bob.expect("say yes to exactly this? [y/N] ").unwrap();
    alice.expect("bob has seen it").unwrap();
    bob.send("y\n").unwrap();
    bob.answer_hidden("password for", "bob-pw").unwrap();
    bob.expect("status=0=").unwrap();
    alice.expect("approved by bob").unwrap();
    alice.expect("status=0=").unwrap();
    let log = host.run(&["jitctl", "log", &id, "--json"]).ok().unwrap();
    assert!(log.contains("\"limits\":{\"window\":300}"), "{log}");
    // A terminal that is closed.
    let mut alice = host.sh("jitsudo id -u").as_user("alice").terminal().unwrap();
    alice.expect("left · Ctrl-C withdraws").unwrap();
    let id = listed(host, "bob")[0]["id"].as_str().unwrap().to_owned();
    drop(alice);
    assert!(
        wait_until(Duration::from_secs(10), || names(host, &id).contains(&"withdrawn".to_owned())),
        "{:?}",
        names(host, &id)
    );
}

fn later_request_uses_the_approval_with_the_same_act_only(host: &Host) {
    let asked = user(host, "alice", "TOOL=x jitsudo --no-wait tool a");
    assert!(asked.status == 75 && asked.stdout.is_empty(), "{}", asked.both());
    let card = card(host, "bob");
    let id = card["id"].as_str().unwrap();
    assert!(asked.stderr.contains(id), "{}", asked.both());
    assert!(card["variables"].as_array().unwrap().contains(&"TOOL".into()), "{card}");
    approve(host, "bob", &card);
    let other = |line: &str, what: &str| {
        let output = user(host, "alice", line);
        assert!(output.status == 1 && output.stderr.contains(what), "{line}: {}", output.both());
        assert!(!output.stderr.contains("secret"), "{}", output.both());
        assert!(last_denial(host).contains(what), "{}", last_denial(host));
    };
    other(&format!("TOOL=x jitsudo --request {id} tool b"), "the words of the command");
    other(&format!("TOOL=secret jitsudo --request {id} tool a"), "the variable TOOL");
    other(&format!("cd /; TOOL=x jitsudo --request {id} tool a"), "the working directory");
    other(&format!("TOOL=x jitsudo -m why --request {id} tool a"), "the reason");
    let carol = user(host, "carol", &format!("TOOL=x jitsudo --request {id} tool a"));
    assert!(carol.status == 1 && carol.stderr.contains("nothing of that id of yours waits"), "{}", carol.both());
    let used = user(host, "alice", &format!("TOOL=x jitsudo --request {id} tool a"));
    assert_eq!((used.status, used.stdout.as_str()), (0, "one x\n"), "{}", used.both());
    assert_eq!(user(host, "alice", &format!("TOOL=x jitsudo --request {id} tool a")).status, 1);
}

fn role_is_held_once_it_is_approved(host: &Host) {
    let roles = user(host, "alice", "jitctl roles").stdout;
    assert!(roles.contains("@leads"), "{roles}");
    let output = asks(host, "jitctl request who --for 10m", |card| {
        assert_eq!((card["kind"].as_str(), card["what"].as_str()), (Some("role"), Some("role who")));
        approve(host, "bob", card);
    });
    assert!(output.status == 0 && output.stdout.contains("granted: who"), "{}", output.both());
    // Under it nobody is asked again.
    let run = user(host, "alice", "jitsudo id -u");
    assert_eq!((run.status, run.stdout.as_str(), run.stderr.as_str()), (0, "0\n", ""), "{}", run.both());
}

#[test]
fn approval_02_approval_04_approval_12_forged_and_stale_answers_start_nothing_and_the_ledger_says_why() {
    let host = host("forged");
    let output = asks(&host, "timeout 50 jitsudo tool", |card| {
        let id = card["id"].as_str().unwrap().to_owned();
        let refused = |account: &str, card: &Value, why: &str| {
            let said = tries(&host, account, card);
            assert!(said.status == 1 && said.stderr.contains(why), "{account}: {}", said.both());
            assert!(last_denial(&host).contains(why), "{account}: {}", last_denial(&host));
        };
        // Her own, by either account; nobody's who is not asked; root's.
        refused("alice", card, "your own request");
        refused("alice-adm", card, "your own request");
        refused("admin", card, "nothing of that id waits");
        let root =
            host.sh(&format!("jitctl approve {id} --digest {}", card["digest"].as_str().unwrap())).output().unwrap();
        assert_eq!(root.status, 1, "{}", root.both());
        // Another digest, another id, from inside of a session.
        let mut other = card.clone();
        other["digest"] = "00".repeat(32).into();
        refused("bob", &other, "not what your card shows");
        other["id"] = "01jd0000000000000000000000".into();
        refused("bob", &other, "nothing of that id waits");
        let digest = card["digest"].as_str().unwrap();
        let inside = user(&host, "bob", &format!("jitsudo -u bob /usr/local/bin/inside {id} {digest}"));
        assert!(inside.status == 1 && inside.stderr.contains("from inside of a session"), "{}", inside.both());
        // A wrong password.
        let line = format!("jitctl approve {id} --digest {digest}; echo status=$?=");
        let mut wrong = host.sh(&line).as_user("bob").terminal().unwrap();
        for _ in 0..3 {
            wrong.answer_hidden("password for", "nope").unwrap();
        }
        wrong.expect("status=1=").unwrap();
        assert!(!names(&host, &id).contains(&"approved".to_owned()));
        // The program is another one by now.
        host.write("/usr/local/bin/tool", 0o755, "#!/bin/sh\necho two\n").unwrap();
        approve(&host, "bob", card);
        // Twice.
        refused("bob", card, "nothing of that id waits");
    });
    assert_eq!((output.status, output.stdout.as_str()), (1, ""), "{}", output.both());
    assert!(output.stderr.contains("the program"), "{}", output.stderr);
    stale_answers_count_for_nothing(&host);
    long_words_are_shown_whole_and_harmless_or_not_at_all(&host);
    one_accounts_flood_leaves_room_for_others(&host);
}

/// After it was withdrawn, lapsed, taken by a lock; and after the spawner was killed between the yes and its use.
fn stale_answers_count_for_nothing(host: &Host) {
    let mut late = Value::Null;
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| user(host, "alice", "timeout -s INT 4 jitsudo id -u"));
        late = card(host, "bob");
        asking.join().unwrap();
    });
    let id = late["id"].as_str().unwrap().to_owned();
    assert!(wait_until(Duration::from_secs(10), || names(host, &id).contains(&"withdrawn".to_owned())));
    let said = tries(host, "bob", &late);
    assert!(said.status == 1 && last_denial(host).contains("nothing of that id waits"), "{}", said.both());
    assert!(!names(host, &id).contains(&"session_starting".to_owned()));
    // Its requester's team mate may not take it up either; and what the requester holds in memory only is gone with the spawner.
    assert_eq!(user(host, "alice", "jitsudo --no-wait id -u").status, 75);
    let kept = card(host, "bob");
    let id = kept["id"].as_str().unwrap();
    approve(host, "bob", &kept);
    host.sh("systemctl kill -s KILL jitsudo-spawn && systemctl restart jitsudo-spawn").ok().unwrap();
    let mut output = user(host, "alice", &format!("jitsudo --request {id} id -u"));
    wait_until(Duration::from_secs(10), || {
        if output.status == 69 && !output.stderr.contains("nobody said yes") {
            output = user(host, "alice", &format!("jitsudo --request {id} id -u"));
            return false;
        }
        true
    });
    assert!(output.status != 0 && output.stdout.is_empty(), "{}", output.both());
    assert!(output.stderr.contains("nobody said yes to it here"), "{}", output.both());
    assert!(!names(host, id).contains(&"session_exit".to_owned()));
    let refused = host.run(&["jitctl", "log", "--all", "--json", "--limit", "40"]).ok().unwrap();
    assert!(refused.contains("spawner_refused") && refused.contains("nobody said yes"), "{refused}");
    // Nobody answers in time; that ends it for whoever waits and for whoever comes back.
    apply_policy(host, &POLICY.replace("answer-by = \"60s\"", "answer-by = \"3s\"")).unwrap();
    let output = user(host, "alice", "jitsudo id -u");
    assert!(output.status == 75 && output.stderr.contains("nobody answered in time"), "{}", output.both());
    apply_policy(host, POLICY).unwrap();
}

fn long_words_are_shown_whole_and_harmless_or_not_at_all(host: &Host) {
    let asked = user(
        host,
        "alice",
        "jitsudo --no-wait tool \"$(head -c 2000 /dev/zero | tr '\\0' '\\033')\" \"$(printf 'a\\n    id\\n')\"",
    );
    assert_eq!(asked.status, 75, "{}", asked.both());
    let card = card(host, "bob");
    let id = card["id"].as_str().unwrap();
    let shown = user(host, "bob", &format!("jitctl show {id}")).stdout;
    assert_eq!(shown.matches("\\u{1b}").count(), 2000, "{} bytes", shown.len());
    assert!(
        !shown.contains('\u{1b}') && shown.lines().filter(|line| line.starts_with("    id")).count() == 0,
        "{shown}"
    );
    assert_eq!(user(host, "alice", &format!("jitctl withdraw {id}")).status, 0);
    let asked = user(host, "alice", "jitsudo --no-wait tool \"$(head -c 65536 /dev/zero | tr '\\0' '\\033')\"");
    assert!(asked.status == 1 && asked.stderr.contains("too long to be shown whole"), "{}", asked.both());
}

fn one_accounts_flood_leaves_room_for_others(host: &Host) {
    let flood = user(
        host,
        "alice",
        "for i in $(seq 40); do jitsudo --no-wait id -u; echo $?; done 2>/dev/null | sort | uniq -c",
    );
    let counts: Vec<&str> = flood.stdout.split_whitespace().collect();
    assert_eq!(counts, ["20", "1", "20", "75"], "{}", flood.both());
    let carol = user(host, "carol", "jitsudo --no-wait id -u");
    assert_eq!(carol.status, 75, "{}", carol.both());
    // A lock takes all of hers back.
    host.run(&["jitctl", "lock", "alice", "--reason", "flood"]).ok().unwrap();
    let left = listed(host, "bob");
    assert!(left.len() == 1 && left[0]["user"] == "carol", "{left:?}");
}
