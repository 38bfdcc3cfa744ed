//! What policy says about time and amount, on real hosts: break-glass and its review, budgets, ends that a rule sets, and accounts that change.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{apply_policy, install, installed_host};
use jitsudo_tests::{Host, Options, Output, Root, package_file, wait_until};
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
    // A small disk, which is soon full.
    let root = Root::debian("bookworm").unwrap_or_else(|error| panic!("{error}"));
    let options = Options { disk_bytes: 768 << 20, ..Options::default() };
    let host = Host::boot("glass", &root, options).unwrap_or_else(|error| panic!("{error}"));
    install(&host, &package_file().unwrap()).unwrap();
    apply_policy(&host, GLASS).unwrap();
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
    // The emergency may be a full disk: what any other rule gives is refused there.
    let filled = host.sh("cat /dev/zero > /var/filler; sync; cat /dev/zero >> /var/filler").output().unwrap();
    assert!(filled.stderr.contains("No space left"), "{}", filled.both());
    let full = open(&host, "alice", "-m 'disk full'", "id -u");
    host.sh("rm /var/filler; sync").ok().unwrap();
    assert_eq!((full.status, full.stdout.as_str()), (0, "0\n"), "{}", full.both());
    assert!(again().stderr.contains("not before a review"), "it counts");
    let all = waiting(&host, "bob");
    let [id] = all.as_slice() else { panic!("{all:?}") };
    assert!(is_closed(&host, id));
    assert!(names(&host, id).iter().any(|name| name == "authenticated"), "{:?}", names(&host, id));
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

/// alice holds the role through her group.
const HELD: &str = r#"[roles.tool]
run = ["/usr/bin/sleep <int:1-9999>", "/usr/bin/id -u"]

[[allow]]
name = "on-call holds the tool"
who = ["%oncall"]
roles = ["tool"]
window = "1h"
auth = "none"
"#;

/// Asks for the role and runs a command under it; the grant's id.
fn hold(host: &Host, seconds: u32) -> String {
    let granted =
        alice(host, &format!("jitctl request tool --for 30m; setsid -f jitsudo sleep {seconds} >/dev/null 2>&1"));
    assert!(granted.stdout.starts_with("granted: tool until "), "{}", granted.both());
    assert!(wait_until(Duration::from_secs(10), || runs(host, seconds)), "the command does not run");
    granted.stdout.rsplit_once('(').unwrap().1.trim_end().trim_end_matches(')').to_owned()
}

fn runs(host: &Host, seconds: u32) -> bool {
    host.sh(&format!("pgrep -xf 'sleep {seconds}'")).output().unwrap().status == 0
}

fn cause(host: &Host, id: &str) -> String {
    let log = log(host, id);
    let ended: Vec<_> = log.iter().filter(|line| line["event"] == "ended").collect();
    let [ended] = ended.as_slice() else { panic!("{log:?}") };
    ended["cause"].as_str().unwrap().to_owned()
}

/// Holds the role, does something, and sees it end with this cause and nothing left.
fn ends(host: &Host, what: &str, wanted: &str, something: impl FnOnce()) {
    let id = hold(host, 4730);
    something();
    assert!(wait_until(Duration::from_secs(10), || !runs(host, 4730)), "{what}: the command runs on");
    assert!(is_closed(host, &id), "{what}: {:?}", log(host, &id));
    assert_eq!(cause(host, &id), wanted, "{what}: {:?}", log(host, &id));
    assert_eq!(host.sh("ls /run/jitsudo/ends").ok().unwrap(), "", "{what}");
}

#[test]
fn what_is_held_ends_when_its_rule_or_its_requester_does() {
    let host = host("eligible", HELD);
    let applied = |policy: &str| drop(apply_policy(&host, policy).unwrap());
    let changed = |from: &str, to: &str| HELD.replace(from, to);
    for (what, policy) in [
        ("a new deny", format!("{HELD}[[deny]]\nname = \"alice is out\"\nwho = [\"alice\"]\nhosts = [\"elig*\"]\n")),
        ("another host", changed("who = ", "hosts = [\"web-*\"]\nwho = ")),
        ("not any more", changed("who = ", "not-after = \"2020-01-01T00:00:00Z\"\nwho = ")),
        ("not yet", changed("who = ", "not-before = \"2099-01-01T00:00:00Z\"\nwho = ")),
        ("another group", changed("%oncall", "%sre")),
        (
            "another role",
            changed("roles = [\"tool\"]", "roles = [\"other\"]")
                .replace("[roles.tool]", "[roles.other]\nrun = [\"/usr/bin/id -un\"]\n[roles.tool]"),
        ),
    ] {
        ends(&host, what, "rule_gone", || applied(&policy));
        applied(HELD);
    }
    // One that still gives it ends nothing; what it says of the end counts.
    let id = hold(&host, 4731);
    applied(&changed(
        "window = \"1h\"",
        "window = \"2h\"\nhours = [{ start = \"00:00\", stop = \"00:01\", days = \"mon\", zone = \"UTC\" }]",
    ));
    assert_eq!(alice(&host, "jitsudo id -u").stdout, "0\n", "hours say when something may start");
    let soon = host.sh("date -u -d '+6 seconds' +%Y-%m-%dT%H:%M:%SZ").ok().unwrap();
    applied(&changed("who = ", &format!("not-after = \"{}\"\nwho = ", soon.trim())));
    assert!(wait_until(Duration::from_secs(20), || !runs(&host, 4731)) && is_closed(&host, &id));
    let ended =
        log(&host, &id).iter().find(|line| line["event"] == "ended").unwrap()["wall"].as_str().unwrap().to_owned();
    let late =
        host.sh(&format!("echo $(( $(date -d {ended} +%s%3N) - $(date -d {} +%s%3N) ))", soon.trim())).ok().unwrap();
    // Over by whichever clock is first: the boot clock's milliseconds are whole ones, the wall clock's are cut.
    assert!((-2..1500).contains(&late.trim().parse::<i64>().unwrap()), "{late} ms after {soon}");
    applied(HELD);
    // Nothing is applied, and the account is not what it was.
    ends(&host, "out of the group", "rule_gone", || drop(host.sh("gpasswd -d alice oncall").ok().unwrap()));
    host.sh("gpasswd -a alice oncall").ok().unwrap();
    ends(&host, "locked", "account_gone", || drop(host.sh("usermod -L alice").ok().unwrap()));
    host.sh("usermod -U alice").ok().unwrap();
    ends(&host, "expired", "account_gone", || drop(host.sh("chage -E 1 alice").ok().unwrap()));
    host.sh("chage -E -1 alice").ok().unwrap();
    ends(&host, "another shell", "account_gone", || drop(host.sh("usermod -s /bin/sh alice").ok().unwrap()));
    host.sh("usermod -s /bin/bash alice").ok().unwrap();
    // A password that is changed is nobody's business.
    let id = hold(&host, 4732);
    host.sh("echo alice:other-pw | chpasswd; useradd -m eve; sleep 3").ok().unwrap();
    assert_eq!(alice(&host, "jitsudo id -u").stdout, "0\n");
    alice(&host, &format!("jitctl release {id}"));
    assert!(is_closed(&host, &id));
}

#[test]
fn identity_nss_01_02_renamed_deleted_and_remade_accounts_hold_nothing() {
    let host = host("remade", HELD);
    let gone = |what: &str, command: &str| {
        let id = hold(&host, 4733);
        host.sh(command).ok().unwrap();
        assert!(wait_until(Duration::from_secs(10), || !runs(&host, 4733)), "{what}: the command runs on");
        assert!(is_closed(&host, &id) && cause(&host, &id) == "account_gone", "{what}: {:?}", log(&host, &id));
        assert_eq!(host.sh("ls /run/jitsudo/ends").ok().unwrap(), "", "{what}");
    };
    // As vipw does, with whatever of alice runs.
    gone("renamed", "sed -i s/^alice:/alina:/ /etc/passwd /etc/shadow; sed -i s/,alice/,alina/ /etc/group");
    host.sh("sed -i s/^alina:/alice:/ /etc/passwd /etc/shadow; sed -i s/,alina/,alice/ /etc/group").ok().unwrap();
    // A single command too: its requester is nobody any more.
    apply_policy(&host, &HELD.replace("%oncall", "#1001")).unwrap();
    gone(
        "another home",
        "usermod -d /home/other alice 2>/dev/null || sed -i 's,/home/alice:,/home/other:,' /etc/passwd",
    );
    host.sh("sed -i 's,/home/other:,/home/alice:,' /etc/passwd").ok().unwrap();
    let single = alice(&host, "setsid -f jitsudo sleep 4734 >/dev/null 2>&1");
    assert!(wait_until(Duration::from_secs(10), || runs(&host, 4734)), "{}", single.both());
    // Looked at once, as the one that it is.
    host.sh("sleep 2").ok().unwrap();
    host.sh("userdel -f alice 2>/dev/null; useradd -u 1001 -o -M -d /home/eve -s /bin/bash eve").ok().unwrap();
    assert!(
        wait_until(Duration::from_secs(10), || !runs(&host, 4734)),
        "the command of an account that is gone runs on"
    );
    let eve = user(&host, "eve", "jitctl grants");
    assert_eq!(eve.status, 3, "{}", eve.both());
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn ends_that_a_rule_sets_are_the_earliest_and_a_slow_proof_is_too_late() {
    let host = host("earliest", HELD);
    let ends_at = |policy: &str, request: &str| {
        apply_policy(&host, policy).unwrap();
        let granted = alice(&host, request);
        assert_eq!(granted.status, 0, "{}", granted.both());
        let grants: Value = serde_json::from_str(&alice(&host, "jitctl grants --json").stdout).unwrap();
        let end = grants[0]["ends_at"].as_str().unwrap().to_owned();
        alice(&host, &format!("jitctl release {}", grants[0]["id"].as_str().unwrap()));
        assert!(is_closed(&host, grants[0]["id"].as_str().unwrap()));
        host.sh(&format!("date -d {end} +%s")).ok().unwrap().trim().parse::<i64>().unwrap()
    };
    let at = |when: &str| host.sh(&format!("date -d '{when}' +%s")).ok().unwrap().trim().parse::<i64>().unwrap();
    let minute = host.sh("date -u -d '+20 minutes' +%H:%M").ok().unwrap();
    let stop = at(&format!("{} UTC", minute.trim()));
    let cut =
        format!("hours = [{{ start = \"00:00\", stop = \"{}\", zone = \"UTC\", cut = true }}]\nwho = ", minute.trim());
    assert!((at("+19 minutes")..=at("+20 minutes")).contains(&stop), "this test does not run at midnight");
    assert_eq!(ends_at(&HELD.replace("who = ", &cut), "jitctl request tool --for 50m"), stop);
    let whole = ends_at(&HELD.replace("who = ", &cut.replace("true", "false")), "jitctl request tool --for 50m");
    assert!((at("+49 minutes")..=at("+50 minutes")).contains(&whole), "hours without cut end nothing");
    let after = host.sh("date -u -d '+10 minutes' +%Y-%m-%dT%H:%M:%SZ").ok().unwrap();
    let both = format!("not-after = \"{}\"\n{cut}", after.trim());
    assert_eq!(ends_at(&HELD.replace("who = ", &both), "jitctl request tool --for 50m"), at(after.trim()));
    // Who asks has so long to prove it.
    apply_policy(&host, &HELD.replace("auth = \"none\"", "auth = \"fresh\"\nstart-by = \"2s\"")).unwrap();
    for line in ["jitsudo id -u", "jitctl request tool"] {
        let mut terminal =
            host.run(&["bash", "-c", &format!("{line}; echo status $?")]).as_user("alice").terminal().unwrap();
        terminal.expect("password for alice: ").unwrap();
        host.sh("sleep 3").ok().unwrap();
        terminal.send("alice-pw\n").unwrap();
        let said = terminal.expect("status 1").unwrap();
        assert!(said.contains("start-by"), "{line}: {said}");
    }
    assert_eq!(alice(&host, "jitctl grants").status, 3);
}
