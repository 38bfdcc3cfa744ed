//! The story of a grant: asked for, used, and gone at its end with everything that used it; what reached another manager is named.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{apply_policy, install};
use jitsudo_tests::{Host, Options, Output, Root, SPAWNER, Stopwatch, not_by_the_next, package_file, wait_until};
use serde_json::Value;

const POLICY: &str = r#"[people.alice]
accounts = ["alice", "alice-adm"]
[roles.log-reader]
groups = ["adm"]
[roles.root-shell]
shell = true

[[allow]]
name = "alice reads logs and may become root"
who = ["@alice"]
roles = ["log-reader", "root-shell"]
grant = "role"
auth = "none"
[[allow]]
name = "bob becomes root once"
who = ["bob"]
roles = ["root-shell"]
auth = "none"
[[duty]]
who = ["bob", "@alice"]
may = ["see", "end"]
"#;

/// What people start and leave, each in its own way; every one of them is a `sleep` of its own length.
const LEAVES: &str = r#"#!/bin/bash
cd /tmp
tmux -L "story$1" new-session -d "exec sleep ${1}1"
nohup sleep ${1}2 >/dev/null 2>&1 &
setsid sleep ${1}3 &
(sleep ${1}4 &)
(setsid bash -c "trap '' TERM HUP; sleep ${1}5 & wait" >/dev/null 2>&1 &)
until [ "$(pgrep -xf "sleep ${1}[1-5]" | wc -l)" = 5 ]; do sleep 0.1; done
exec sleep ${1}6
"#;

/// What reaches another manager, or outlives any process.
const REACHES: &str = r#"#!/bin/bash
set -e
echo 'sleep 9' | at now + 1 hour 2>/dev/null
systemd-run --quiet --unit=left-behind sleep 9000
cp /bin/true /usr/local/bin/rootly
chmod u+s /usr/local/bin/rootly
echo '* * * * * root true' > /etc/cron.d/left
mkdir -p ~carol/.ssh
echo 'ssh-ed25519 AAAA x' > ~carol/.ssh/authorized_keys
useradd leftover
usermod -aG adm leftover
"#;

fn host(name: &str) -> Host {
    let made = || {
        let host = Host::boot(name, &Root::tools("bookworm")?, Options::default())?;
        install(&host, &package_file()?)?;
        host.write("/usr/local/bin/leaves", 0o755, LEAVES)?;
        host.write("/usr/local/bin/reaches", 0o755, REACHES)?;
        apply_policy(&host, POLICY)?;
        Ok(host)
    };
    made().unwrap_or_else(|error: jitsudo_tests::Error| panic!("{error}"))
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

fn count(host: &Host, pattern: &str) -> usize {
    host.sh(&format!("pgrep -xf '{pattern}' | wc -l")).ok().unwrap().trim().parse().unwrap()
}

fn events(host: &Host, id: &str) -> Vec<Value> {
    let log = host.run(&["jitctl", "log", id, "--json"]).ok().unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn event(host: &Host, id: &str, name: &str) -> Option<Value> {
    events(host, id).into_iter().find(|line| line["event"] == name)
}

/// Until the boot clock is at the end of a grant.
fn wait_for_its_end(host: &Host, id: &str) {
    let ends = event(host, id, "activating").unwrap()["ends_boottime_ms"].as_u64().unwrap();
    let line =
        format!("left=$(( {ends} - $(cut -d' ' -f1 /proc/uptime | tr -d .)0 )); [ $left -le 0 ] || sleep ${{left}}e-3");
    host.sh(&line).ok().unwrap();
}

#[test]
fn session_end_03_what_reached_another_manager_is_named_until_another_acknowledges_it() {
    let host = host("story-grant");
    let readers = request(&host, "log-reader --for 60s -m 'who was it'");
    let shell = request(&host, "root-shell --for 60s");
    host.sh("chgrp adm /etc/machine-id; chmod 640 /etc/machine-id").ok().unwrap();
    assert_ne!(alice(&host, "cat /etc/machine-id").status, 0, "this shell does not have it");
    assert_eq!(alice(&host, "jitsudo --role log-reader cat /etc/machine-id").status, 0);
    let sessions = std::thread::scope(|scope| {
        let as_reader = scope.spawn(|| alice(&host, "jitsudo --role log-reader leaves 61"));
        let as_root = scope.spawn(|| alice(&host, "jitsudo --role root-shell -s bash -c 'reaches && leaves 62'"));
        let both = || count(&host, "sleep 6[12][1-6]") == 12;
        assert!(wait_until(Duration::from_secs(20), both), "not all of it runs: {}", count(&host, "sleep 6[12][1-6]"));
        assert_eq!(host.sh("pgrep -x tmux:.server | wc -l").ok().unwrap().trim(), "2");
        while_it_lasts(&host, &readers, &shell);
        assert_eq!(count(&host, "sleep 6[12][1-6]"), 12, "until the end all of it runs");
        wait_for_its_end(&host, &readers);
        let watch = Stopwatch::start();
        wait_for_its_end(&host, &shell);
        assert!(wait_until(Duration::from_secs(20), || count(&host, "sleep 6[12][1-6]") == 0), "something runs on");
        println!(
            "tmux servers, nohup jobs, sessions of their own and double forks were gone {:?} after the first end",
            watch.elapsed()
        );
        assert_eq!(host.sh("pgrep -x tmux:.server | wc -l").ok().unwrap().trim(), "0");
        [as_reader, as_root].map(|one| one.join().unwrap())
    });
    for (id, output) in [&readers, &shell].into_iter().zip(&sessions) {
        assert!(output.stderr.contains("jitsudo: the time is over; this "), "{}", output.both());
        assert!(
            wait_until(Duration::from_secs(20), || event(&host, id, "closed").is_some()),
            "{:?}",
            events(&host, id)
        );
        let at = |name: &str| event(&host, id, name).unwrap()["boottime_ms"].as_u64().unwrap();
        let ends = event(&host, id, "activating").unwrap()["ends_boottime_ms"].as_u64().unwrap();
        not_by_the_next("closed after its end", Duration::from_millis(at("closed") - ends), SPAWNER);
    }

    // What reached another manager runs on, and is named.
    assert_eq!(count(&host, "[a-z/]*sleep 9000"), 1, "nothing is killed for running as root");
    assert!(wait_until(Duration::from_secs(60), || event(&host, &shell, "residue").is_some()), "no residue is told");
    let residue = event(&host, &shell, "residue").unwrap();
    let items = residue["items"].as_array().unwrap();
    let found: Vec<String> = items
        .iter()
        .map(|item| {
            format!(
                "{} {} {}",
                item["change"].as_str().unwrap(),
                item["kind"].as_str().unwrap(),
                item["name"].as_str().unwrap()
            )
        })
        .collect();
    println!("{found:#?}");
    for wanted in [
        "new setid /usr/local/bin/rootly",
        "new unit /run/systemd/transient/left-behind.service",
        "new at /var/spool/cron/atjobs/a00001",
        "new cron /etc/cron.d/left",
        "new authorized_keys /home/carol/.ssh/authorized_keys",
        "new account leftover",
        "new member leftover",
    ] {
        assert_eq!(found.iter().filter(|found| found.starts_with(wanted)).count(), 1, "{wanted} in {found:?}");
    }
    assert_eq!(found.len(), 7, "and nothing else: {found:#?}");
    // It says what changed while the grant lasted, whoever did it: both lasted at the same time.
    assert_eq!(event(&host, &readers, "residue").unwrap()["items"], residue["items"]);

    // Shown until somebody else acknowledges it.
    let doctor = host.run(&["jitctl", "doctor"]).ok().unwrap();
    assert!(doctor.contains("nobody has looked at what 2 grants may have left"), "{doctor}");
    let told = alice(&host, &format!("jitctl show {shell}")).stdout;
    assert!(told.contains("residue ") && told.contains("nobody"), "{told}");
    let screen = alice(&host, "jitctl").stdout;
    assert!(screen.contains(&shell) && screen.contains("7 things not as before"), "{screen}");
    let list = host.run(&["jitctl", "residue"]).ok().unwrap();
    assert!(list.contains("new: at job /var/spool/cron/atjobs/a00001") && list.contains("no proof"), "{list}");
    assert_eq!(user(&host, "carol", "jitctl residue").status, 3);
    assert_eq!(user(&host, "carol", "jitctl residue --all").status, 1);
    let acknowledge =
        |who: &str| user(&host, who, &format!("jitctl residue acknowledge {shell} --reason 'job removed'"));
    assert_eq!(acknowledge("carol").status, 3, "whether there is one is not told");
    for own in ["alice", "alice-adm"] {
        let refused = acknowledge(own);
        assert!(refused.status == 1 && refused.stderr.contains("of a grant of your own"), "{own}: {}", refused.both());
    }
    let none = user(&host, "bob", &format!("jitctl residue acknowledge {shell} --reason ''"));
    assert_eq!(none.status, 2, "{}", none.both());
    let done = acknowledge("bob");
    assert_eq!(
        (done.status, done.stdout.as_str()),
        (0, format!("acknowledged: residue of {shell}\n").as_str()),
        "{}",
        done.both()
    );
    assert_eq!(acknowledge("bob").status, 3);
    assert!(!host.run(&["jitctl", "residue"]).ok().unwrap().contains(&shell));
    host.run(&["jitctl", "residue", "acknowledge", &readers, "-m", "the same"]).ok().unwrap();
    assert_eq!(host.run(&["jitctl", "residue"]).output().unwrap().status, 3);
    let told = alice(&host, &format!("jitctl show {shell}")).stdout.replace("\n           ", " ");
    assert!(told.contains("acknowledged by bob") && told.contains("\"job removed\""), "{told}");
    assert!(!host.run(&["jitctl", "doctor"]).ok().unwrap().contains("nobody has looked"));
    // The whole story, in its order.
    let story = alice(&host, &format!("jitctl timeline {shell}")).stdout;
    println!("{story}");
    let one_line = story.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rest = one_line.as_str();
    for part in [
        "asked alice: role root-shell",
        "decided allowed",
        "active",
        "session 1 a shell: bash -c",
        "ended the time is over",
        "closed verified",
        "residue",
        "at job /var/spool/cron/atjobs/a00001",
        "acknowledged by bob: \"job removed\"",
    ] {
        rest = rest.split_once(part).unwrap_or_else(|| panic!("{part} in {story}")).1;
    }
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

/// What the screens say of both while they are held.
fn while_it_lasts(host: &Host, readers: &str, shell: &str) {
    let grants = alice(host, "jitctl grants").stdout;
    for part in [readers, shell, "role log-reader", "lends group adm", "1 command running", "ends in "] {
        assert!(grants.contains(part), "{part} in {grants}");
    }
    let shown = alice(host, &format!("jitctl show {readers}")).stdout;
    assert!(shown.contains("lent       group adm to what runs under it\n"), "{shown}");
    assert!(shown.contains("now        active\n") && !shown.contains("residue"), "{shown}");
    // Requested for a minute, no longer.
    let given = event(host, readers, "activating").unwrap();
    let at = |field: &str| given[field].as_str().unwrap().parse::<jitsudo_core::Timestamp>().unwrap();
    assert_eq!(at("ends_at").duration_since(at("wall")).as_secs(), 60, "{given}");
}

#[test]
fn nothing_is_killed_for_running_as_root_or_as_the_requester() {
    let host = host("forty");
    let services = "for i in $(seq 40); do \
                    [ $((i % 4)) = 0 ] && as='-p User=alice' || as=; \
                    systemd-run --quiet --unit=kept$i $as sleep 7000; done";
    host.sh(services).ok().unwrap();
    let pids = || host.sh("for i in $(seq 40); do systemctl show -P MainPID kept$i; done").ok().unwrap();
    let before = pids();
    assert_eq!(before.lines().filter(|pid| *pid != "0").count(), 40, "{before}");
    // A shell may run under the role of another loop, which gives it back.
    let grants = "for i in $(seq 25); do \
                  id=$(jitctl request root-shell --for 10m | sed 's/.*(\\(.*\\))/\\1/'); \
                  jitsudo -s bash -c 'sleep 6500 & true' 2>/tmp/said.$$ || grep -q 'given back' /tmp/said.$$ || { cat /tmp/said.$$; exit 1; }; \
                  jitctl release $id >/dev/null || exit 2; done";
    let watch = Stopwatch::start();
    std::thread::scope(|scope| {
        let loops = [(); 4]
            .map(|()| scope.spawn(|| host.sh(grants).as_user("alice").limit(Duration::from_secs(170)).ok().map(drop)));
        loops.into_iter().for_each(|one| one.join().unwrap().unwrap());
    });
    println!("100 root grants began and ended in {:?}", watch.elapsed());
    assert!(wait_until(Duration::from_secs(20), || count(&host, "sleep 6500") == 0), "what was left is gone");
    let closed = || host.run(&["jitctl", "grants", "--all"]).output().unwrap().status == 3;
    assert!(wait_until(Duration::from_secs(20), closed));
    assert_eq!(pids(), before, "all 40 run with the same pids");
    // All are compared with the host before them.
    let compared = || host.sh("ls -A /run/jitsudo/before").ok().unwrap().is_empty();
    assert!(wait_until(Duration::from_secs(60), compared));
    assert_eq!(host.run(&["jitctl", "residue"]).output().unwrap().status, 3, "nothing to tell");
    // One that leaves something, and a spawner that begins anew before that was looked for.
    let last = request(&host, "root-shell --for 10m");
    assert_eq!(alice(&host, "jitsudo -s cp /bin/true /etc/cron.daily/left").status, 0);
    alice(&host, &format!("jitctl release {last}"));
    assert!(wait_until(Duration::from_secs(20), || event(&host, &last, "closed").is_some()));
    // A shell without a role that is held, which does it first of all: the picture was there before.
    assert_eq!(user(&host, "bob", "jitsudo -s cp /bin/true /etc/cron.daily/single").status, 0);
    host.sh("systemctl restart jitsudo-spawn").ok().unwrap();
    assert!(wait_until(Duration::from_secs(60), compared));
    assert!(wait_until(Duration::from_secs(20), || event(&host, &last, "residue").is_some()));
    let listed = || -> Value {
        serde_json::from_str(&host.run(&["jitctl", "residue", "--json"]).output().unwrap().stdout).unwrap()
    };
    assert!(wait_until(Duration::from_secs(20), || listed().as_array().unwrap().len() == 2), "{:#}", listed());
    // What came within two seconds after an end is named with it.
    for (who, names) in
        [("alice", &["/etc/cron.daily/left", "/etc/cron.daily/single"][..]), ("bob", &["/etc/cron.daily/single"])]
    {
        let residue = listed();
        let one = residue.as_array().unwrap().iter().find(|one| one["user"] == who).unwrap();
        let found: Vec<&str> =
            one["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
        assert!(found[0] == names[0] && found.iter().all(|name| names.contains(name)), "{one:#}");
    }
    let spent = "journalctl -q -u jitsudo-spawn -o cat | grep -c 'cannot compare'";
    assert_eq!(host.sh(spent).output().unwrap().stdout.trim(), "0");
}
