//! Groups that roles lend to the processes of a session: there, nowhere else, in no decision, and gone at the end.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{apply_policy, installed_host};
use jitsudo_tests::{Host, Output, SPAWNER, Stopwatch, not_by_the_next, package_file, wait_until};

/// alice may use containers; whoever is in the group docker by the databases may read the journal, and nobody who is may play.
const POLICY: &str = r#"[roles.docker]
summary = "Use containers"
groups = ["docker"]
group-grants-more = true
[roles.ghost]
groups = ["ghost"]
[roles.logs]
run = ["/usr/bin/id -u", "/usr/bin/id -Gn"]
groups = ["adm"]
as = ["root", "bob"]
[roles.root]
run = ["/usr/local/bin/flee"]
[roles.members]
run = ["/usr/bin/whoami"]
[roles.games]
run = ["/usr/bin/tty"]

[[allow]]
name = "alice uses containers"
who = ["alice"]
roles = ["docker", "ghost", "logs", "games", "root"]
window = "1h"
auth = "none"

[[allow]]
name = "members of docker"
who = ["%docker"]
roles = ["members"]
auth = "none"

[[deny]]
name = "no games for members of docker"
who = ["%docker"]
roles = ["games"]
"#;

/// A socket that the group docker alone may use, as dockerd's.
const SERVER: &str = "import os, socket
os.umask(0o117)
s = socket.socket(socket.AF_UNIX)
s.bind('/run/docker.sock')
os.chown('/run/docker.sock', 0, 990)
s.listen(64)
open('/run/docker.ready', 'w')
while True:
    s.accept()[0].sendall(b'containers\\n')
";
const CLIENT: &str = "#!/usr/bin/python3
import socket
s = socket.socket(socket.AF_UNIX)
try:
    s.connect('/run/docker.sock')
    print(s.recv(99).decode(), end='')
except PermissionError:
    print('refused')
";

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    host.write("/opt/server.py", 0o644, SERVER).unwrap();
    host.write("/usr/local/bin/docker", 0o755, CLIENT).unwrap();
    host.sh("groupadd --gid 990 docker && systemd-run -q python3 /opt/server.py && until [ -e /run/docker.ready ]; do sleep 0.05; done")
        .ok()
        .unwrap();
    apply_policy(&host, POLICY).unwrap();
    host
}

fn user(host: &Host, user: &str, line: &str) -> Output {
    host.sh(line).as_user(user).output().unwrap_or_else(|error| panic!("{error}"))
}

fn alice(host: &Host, line: &str) -> Output {
    user(host, "alice", line)
}

fn log(host: &Host, id: &str) -> Vec<serde_json::Value> {
    let log = host.run(&["jitctl", "log", id, "--json"]).ok().unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn is_nothing_lent(host: &Host) -> bool {
    host.sh("ls -A /run/jitsudo/lent").ok().unwrap().is_empty()
}

/// Asks for the role; its id.
fn request(host: &Host, role: &str) -> String {
    let window = if role.contains("--for") { "" } else { " --for 10m" };
    let output = alice(host, &format!("jitctl request {role}{window}"));
    let told = output.stdout.lines().next().and_then(|line| line.rsplit_once('('));
    let id = told.map(|(_, id)| id.trim_end_matches(')').to_owned());
    id.unwrap_or_else(|| panic!("{}", output.both()))
}

#[test]
fn group_is_there_for_the_sessions_processes_and_nowhere_else() {
    let host = host("groups");
    let before = host.sh("sha256sum /etc/group /etc/gshadow /etc/passwd").ok().unwrap();
    assert_eq!(alice(&host, "docker").stdout, "refused\n");
    let lent = alice(
        &host,
        "jitsudo --role docker docker; jitsudo --role docker id -un; jitsudo --role docker id -Gn; docker",
    );
    assert_eq!(lent.both(), "containers\nalice\nalice docker oncall\nrefused\n");
    // As sudo -u for one's own account: its home, its variables, its shell.
    let inside = "echo 'id -u; echo $HOME $USER $LOGNAME $SUDO_USER; umask; docker' | jitsudo --role docker -s";
    assert_eq!(alice(&host, inside).both(), "1001\n/home/alice alice alice alice\n0022\ncontainers\n");
    assert_eq!(alice(&host, "cd /tmp; FOO=1 jitsudo --role docker FOO=2 sh -c 'pwd; echo $FOO'").both(), "/tmp\n2\n");
    // With -P as well, and a file that alice alone may run.
    assert_eq!(alice(&host, "jitsudo -P --role docker id -Gn").both(), "alice docker oncall\n");
    assert_eq!(
        alice(&host, "printf '#!/bin/sh\\nid -Gn\\n' >mine; chmod 700 mine; jitsudo --role docker ./mine").both(),
        "alice docker oncall\n"
    );
    // Nothing but that: no other account, no role that was not named, nobody else.
    for line in ["-u root", "-u alice", "-g docker", "-i"] {
        let refused = alice(&host, &format!("jitsudo --role docker {line} id"));
        assert!(refused.status == 1 && refused.stderr.contains("not allowed"), "{line}: {}", refused.both());
    }
    assert!(alice(&host, "jitsudo docker").stderr.contains("not allowed"));
    assert!(user(&host, "bob", "jitsudo --role docker docker").stderr.contains("not allowed"));
    // Commands of a role that lists them are in the group, as whomever they run.
    assert_eq!(
        alice(&host, "jitsudo id -Gn; jitsudo -u bob id -Gn; jitsudo --role logs -u bob id -Gn").both(),
        "root adm\nbob adm\nbob adm\n"
    );
    // A group that is not there is not given, and says so.
    let ghost = "role ghost lends group ghost, which does not exist on groups: ask an administrator";
    for line in ["jitsudo --role ghost id", "jitctl request ghost"] {
        let refused = alice(&host, line);
        assert!(refused.status == 1 && refused.stderr.contains(ghost), "{}", refused.both());
    }
    // It is told before, meanwhile and afterwards.
    let roles = alice(&host, "jitctl roles").stdout;
    assert!(roles.contains("group docker for the session") && roles.contains("as yourself"), "{roles}");
    let listed = alice(&host, "jitsudo -l").stdout;
    assert!(listed.contains("docker"), "{listed}");
    let id = request(&host, "docker");
    let grants = alice(&host, "jitctl grants").stdout;
    assert!(grants.contains("role docker") && grants.contains("lends group docker"), "{grants}");
    assert_eq!(alice(&host, "jitsudo --role docker docker; jitsudo docker").stdout, "containers\n");
    assert!(
        alice(&host, &format!("jitctl log {id}"))
            .stdout
            .contains("docker starts as alice (uid 1001) with group docker")
    );
    let group = serde_json::json!([{"gid": 990, "name": "docker"}]);
    let events = log(&host, &id);
    let groups = |name: &str| events.iter().find(|event| event["event"] == name).map(|event| event["groups"].clone());
    assert_eq!((groups("activating"), groups("session_starting")), (Some(group.clone()), Some(group)));
    assert_eq!(alice(&host, &format!("jitctl release {id}")).status, 0);
    assert_eq!(host.sh("sha256sum /etc/group /etc/gshadow /etc/passwd").ok().unwrap(), before);
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn what_was_lent_counts_in_no_decision() {
    let host = host("groups-lent");
    // A rule for members, a deny for members, and -P: inside the session, and under a group that it took for its own.
    let asks = "jitsudo whoami; jitsudo tty </dev/null; jitsudo -P id -Gn";
    let outside = alice(&host, asks).both();
    assert!(
        outside.starts_with("not a tty\nroot adm oncall alice\njitsudo: not allowed: /usr/bin/whoami as root"),
        "{outside}"
    );
    let hint = |text: String| text.lines().filter(|line| !line.contains("hint")).collect::<Vec<_>>().join("\n");
    for inside in ["sh -c", "sg docker -c", "setsid -w sh -c"] {
        let inside = alice(&host, &format!("jitsudo --role docker {inside} '{asks}; docker'"));
        let (both, outside) = (hint(inside.both()), hint(outside.replace("alice\n", "alice\ncontainers\n")));
        assert_eq!(both, outside);
    }
    // Who is a member for good is one, inside and outside, also where it was lent as well.
    host.sh("gpasswd -a alice docker").ok().unwrap();
    for line in [asks.to_owned(), format!("jitsudo --role docker sh -c '{asks}'")] {
        let member = alice(&host, &line);
        assert!(member.stdout.starts_with("root\nroot adm docker oncall alice\n"), "{line}: {}", member.both());
        assert!(member.stderr.contains("not allowed: /usr/bin/tty"), "{line}: {}", member.both());
    }
    host.sh("gpasswd -d alice docker").ok().unwrap();
    // What cannot be read is unknown: a deny matches, an allow for a group does not, and -P has nothing to keep.
    host.sh("mkdir -p /run/jitsudo/lent/damaged").ok().unwrap();
    let unknown = alice(&host, asks).stderr;
    assert!(
        unknown.contains("not allowed: /usr/bin/whoami") && unknown.contains("not allowed: /usr/bin/tty"),
        "{unknown}"
    );
    assert!(unknown.contains("your groups are not known, and -P keeps them"), "{unknown}");
    host.sh("rmdir /run/jitsudo/lent/damaged").ok().unwrap();
    assert!(wait_until(Duration::from_secs(5), || is_nothing_lent(&host)));
}

/// Everything that a session can leave: in other sessions and process groups, twice forked, with the group as its own, and by a file.
const LEAVE: &str = "#!/bin/sh
cp /usr/bin/sleep /home/alice/kept && chgrp docker /home/alice/kept && chmod 2755 /home/alice/kept
exec >/dev/null 2>&1
setsid sleep 4721 &
nohup sleep 4721 &
sg docker -c 'setsid sleep 4721' &
/home/alice/kept 4721 &
python3 -c \"import os, time; os.fork() or os.setsid() or os.fork() or os.execvp('sleep', ['sleep', '4721'])\" &
sleep 4722 &
exec sleep 4720
";

fn count(host: &Host, pattern: &str) -> usize {
    host.sh(&format!("pgrep -xf '{pattern}' | wc -l")).ok().unwrap().trim().parse().unwrap()
}

/// Takes the processes of that command line out of their cgroup, as root alone can.
fn take_out(host: &Host, pattern: &str) {
    let line = format!(
        "mkdir -p /sys/fs/cgroup/away; for pid in $(pgrep -xf '{pattern}'); do echo $pid >/sys/fs/cgroup/away/cgroup.procs; done"
    );
    host.sh(&line).ok().unwrap();
}

/// The services that run, with their processes; ours are restarted here.
fn services(host: &Host) -> String {
    let running = "systemctl list-units --type=service --state=running --plain --no-legend | cut -d' ' -f1";
    host.sh(&format!("systemctl show --property=Id,MainPID $({running} | grep -v '^user@\\|^run-\\|^jitsudo')"))
        .ok()
        .unwrap()
}

#[test]
fn group_grant_04_nothing_keeps_the_group_past_the_end() {
    let host = host("groups-end");
    host.write("/usr/local/bin/leave", 0o755, LEAVE).unwrap();
    let before = services(&host);
    for restart in ["true", "systemctl restart jitsudo-spawn", "systemctl restart jitsudo-spawn jitsudod"] {
        let id = request(&host, "docker");
        std::thread::scope(|scope| {
            let client = scope.spawn(|| alice(&host, "timeout 50 jitsudo --role docker leave"));
            let runs = || (count(&host, "sleep 472[012]"), count(&host, "/home/alice/kept 4721"));
            assert!(wait_until(Duration::from_secs(15), || runs() == (6, 1)), "{:?}", runs());
            // One is out of reach of the cgroup, one has the group by the file alone, one never had it.
            take_out(&host, "sleep 4722");
            alice(&host, "exec >/dev/null 2>&1; setsid -f /home/alice/kept 4723; setsid -f sleep 4724");
            assert!(host.sh("ls /run/jitsudo/lent").ok().unwrap().contains(".1\n"));
            host.sh(restart).ok().unwrap();
            assert!(wait_until(Duration::from_secs(10), || alice(&host, "jitctl grants").stdout.contains(&id)));
            assert_eq!(alice(&host, &format!("jitctl release {id}")).status, 0);
            let watch = Stopwatch::start();
            let left = || count(&host, "(sleep|/home/alice/kept) 472[0-3]");
            assert!(wait_until(Duration::from_secs(10), || left() == 0), "{} left after {restart}", left());
            let took = watch.elapsed();
            not_by_the_next(restart, took, SPAWNER);
            client.join().unwrap();
        });
        assert!(wait_until(Duration::from_secs(10), || {
            log(&host, &id).last().is_some_and(|event| event["event"] == "closed")
        }));
        assert!(log(&host, &id).iter().any(|event| event["event"] == "signalled" && event["signal"] == 9));
        assert!(is_nothing_lent(&host));
        assert_eq!(alice(&host, "docker").stdout, "refused\n");
        // What is hers is left alone, and so is everybody else's.
        assert_eq!(count(&host, "sleep 4724"), 1);
        host.sh("pkill -xf 'sleep 4724'").ok().unwrap();
    }
    assert_eq!(services(&host), before);
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

/// Leaves the session's cgroup, as root can, and starts something by the host's own manager.
const FLEE: &str = "#!/bin/sh
exec >/dev/null 2>&1
mkdir -p /sys/fs/cgroup/fled
(echo 0 >/sys/fs/cgroup/fled/cgroup.procs; exec setsid sleep 4731) &
systemd-run -q sleep 4732
exec sleep $1
";

#[test]
fn session_end_03_who_left_the_cgroup_ends_with_the_session_and_the_hosts_own_do_not() {
    let host = host("groups-fled");
    host.write("/usr/local/bin/flee", 0o755, FLEE).unwrap();
    apply_policy(&host, &POLICY.replace("/usr/local/bin/flee", "/usr/local/bin/flee <int:0-9999>")).unwrap();
    let before = services(&host);
    let fled = || count(&host, "sleep 4731");
    for restart in ["true", "systemctl restart jitsudo-spawn"] {
        let id = request(&host, "root");
        std::thread::scope(|scope| {
            let client = scope.spawn(|| alice(&host, "timeout 50 jitsudo flee 4730"));
            let runs = || count(&host, "(/usr/bin/)?sleep 473[0-2]");
            assert!(wait_until(Duration::from_secs(15), || runs() == 3), "{}", host.sh("ps -ef").ok().unwrap());
            host.sh(restart).ok().unwrap();
            assert!(wait_until(Duration::from_secs(10), || alice(&host, "jitctl grants").stdout.contains(&id)));
            assert_eq!(fled(), 1);
            assert_eq!(alice(&host, &format!("jitctl release {id}")).status, 0);
            let watch = Stopwatch::start();
            assert!(wait_until(Duration::from_secs(10), || fled() == 0), "after {restart}");
            not_by_the_next(restart, watch.elapsed(), SPAWNER);
            client.join().unwrap();
        });
        assert_eq!(count(&host, "(/usr/bin/)?sleep 4732"), 1, "the host's own runs on");
        host.sh("pkill -xf '(/usr/bin/)?sleep 4732'").ok().unwrap();
        assert!(wait_until(Duration::from_secs(10), || {
            log(&host, &id).last().is_some_and(|event| event["event"] == "closed")
        }));
    }
    // Its command is over, and what it left may run as long as the role is held.
    let id = request(&host, "root");
    assert_eq!(alice(&host, "jitsudo flee 0").both(), "");
    host.sh("sleep 2.5").ok().unwrap();
    assert_eq!(fled(), 1);
    assert_eq!(alice(&host, &format!("jitctl release {id}")).status, 0);
    assert!(wait_until(Duration::from_secs(3), || fled() == 0));
    host.sh("pkill -xf '(/usr/bin/)?sleep 4732'").ok().unwrap();
    nobody_looked(&host);
    assert_eq!(services(&host), before);
}

/// The session is gone before anybody could look for what left its cgroup: the spawner that comes next does, and without one the sweep.
fn nobody_looked(host: &Host) {
    let fled = || count(host, "sleep 4731");
    let marks = || host.sh("ls /run/jitsudo/marks").ok().unwrap();
    let (spawner, all) =
        ("jitsudo-spawn.socket jitsudo-spawn", "jitsudod.socket jitsudod jitsudo-spawn.socket jitsudo-spawn");
    let flee = |id: &str, units: &str, meanwhile: &str| {
        std::thread::scope(|scope| {
            let client = scope.spawn(|| alice(host, "timeout 50 jitsudo flee 4"));
            assert!(
                wait_until(Duration::from_secs(10), || count(host, "(/usr/bin/)?sleep 4") == 1),
                "{id} runs nothing"
            );
            assert!(marks().contains(id), "{}", marks());
            host.sh(&format!("systemctl stop {units}; {meanwhile}")).ok().unwrap();
            client.join().unwrap();
        });
        assert_eq!((count(host, "(/usr/bin/)?sleep 4"), fled()), (0, 1), "{id}");
    };
    let id = request(host, "root");
    flee(&id, spawner, "true");
    host.sh(&format!("systemctl start {spawner}; sleep 1.5")).ok().unwrap();
    assert_eq!((fled(), marks().contains(&id)), (1, true), "until the end of its role it may run");
    assert!(wait_until(Duration::from_secs(10), || alice(host, &format!("jitctl release {id}")).status == 0));
    assert!(wait_until(Duration::from_secs(3), || fled() == 0), "{}", marks());
    assert!(wait_until(Duration::from_secs(3), || marks().is_empty()), "{}", marks());

    // No daemon.
    let id = request(host, "root --for 8s");
    let services = || host.sh("pgrep -xf '(/usr/bin/)?sleep 4732'; pgrep -x cron").ok().unwrap();
    flee(&id, all, "sleep 4; /usr/libexec/jitsudo/jitsudo-sweep");
    let kept = services();
    let own =
        host.sh("setsid sh -c 'exec sleep 4733' >/dev/null 2>&1 & sleep 0.2; pgrep -xf 'sleep 4733'").ok().unwrap();
    let watch = Stopwatch::start();
    let sweep = || host.sh("/usr/libexec/jitsudo/jitsudo-sweep").output().unwrap().status;
    assert!(wait_until(Duration::from_secs(15), || sweep() == 0 && fled() == 0), "{}", marks());
    println!("what fled was gone {:?} after its command", watch.elapsed());
    assert_eq!(services(), kept, "the host's own run on");
    assert_eq!(host.sh("pgrep -xf 'sleep 4733'").ok().unwrap(), own);
    let told = host.sh("cat /var/lib/jitsudo/spool/sweep.*").ok().unwrap();
    assert!(told.contains("\"signalled\"") && told.contains("\"window_over\""), "{told}");
    host.sh(&format!("systemctl start {all}; pkill -xf 'sleep 4733'")).ok().unwrap();
    assert!(wait_until(Duration::from_secs(10), || marks().is_empty()), "{}", marks());
    assert!(wait_until(Duration::from_secs(10), || log(host, &id).iter().any(|event| event["event"] == "closed")));
    host.sh("pkill -xf '(/usr/bin/)?sleep 4732'").ok().unwrap();
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn group_grant_04_login_that_a_membership_let_in_ends_with_it_and_counts_for_nothing() {
    let host = host("groups-member");
    let rules = "[roles.member]\nmembership = [\"staff\"]\ngroup-grants-more = true\n
        [roles.first]\nrun = [\"/usr/bin/id -u\"]\n[roles.second]\nrun = [\"/usr/bin/tty\"]\n
        [[allow]]\nname = \"joins\"\nwho = [\"alice\"]\nroles = [\"member\", \"second\"]\nauth = \"none\"\n
        [[allow]]\nname = \"staff\"\nwho = [\"%staff\"]\nroles = [\"first\"]\nauth = \"none\"\n
        [[deny]]\nname = \"no staff\"\nwho = [\"%staff\"]\nroles = [\"second\"]\n";
    apply_policy(&host, rules).unwrap();
    alice(&host, "exec >/dev/null 2>&1; setsid -f sleep 4742");
    let id = request(&host, "member");
    alice(
        &host,
        "exec >/dev/null 2>&1; setsid -f sleep 4741; setsid -f sh -c 'trap : TERM HUP; while :; do sleep 4743; done'",
    );
    assert!(alice(&host, "id -Gn").stdout.contains("staff"));
    // By the files she is in it; to jitsudo she is not.
    let asked = alice(&host, "jitsudo id -u; jitsudo tty </dev/null");
    assert!(asked.stderr.contains("not allowed: /usr/bin/id") && asked.stdout == "not a tty\n", "{}", asked.both());
    // Nor does what she holds stay by it, when its rule is for those in the group from now on.
    let kept = |who: &str| {
        format!(
            "{rules}[[allow]]\nname = \"kept\"\nwho = [\"{who}\"]\nroles = [\"first\"]\ngrant = \"role\"\nauth = \"none\"\n"
        )
    };
    apply_policy(&host, &kept("alice")).unwrap();
    let by_rule = request(&host, "first");
    assert_eq!(alice(&host, "jitsudo --role first id -u").stdout, "0\n");
    // Whoever is asked whether to apply it is told so before.
    host.write("/etc/jitsudo/policy.d/10-web.toml", 0o644, kept("%staff")).unwrap();
    let change = host.run(&["jitctl", "policy", "apply", "--dry-run"]).ok().unwrap();
    let ends: Vec<&str> = change.lines().filter(|line| line.contains("ends: ")).collect();
    assert_eq!(ends, [format!("  ends: {by_rule}  alice  role first")], "{change}");
    assert_eq!(alice(&host, "jitsudo --role first id -u").stdout, "0\n", "nothing was changed");
    apply_policy(&host, &kept("%staff")).unwrap();
    let ended = || log(&host, &by_rule).into_iter().find(|event| event["event"] == "ended");
    assert!(wait_until(Duration::from_secs(15), || ended().is_some()), "{:?}", log(&host, &by_rule));
    assert_eq!(ended().unwrap()["cause"], "rule_gone");
    assert!(alice(&host, "id -Gn alice").stdout.contains("staff"), "by the files she is in it still");
    assert_eq!(alice(&host, &format!("jitctl release {id}")).status, 0);
    let watch = Stopwatch::start();
    assert!(wait_until(Duration::from_secs(15), || count(&host, "sleep 474[13]") == 0));
    not_by_the_next("by a group that is in the files", watch.elapsed(), SPAWNER);
    assert!(wait_until(Duration::from_secs(10), || log(&host, &id)
        .last()
        .is_some_and(|event| event["event"] == "closed")));
    let signals: Vec<_> = log(&host, &id)
        .iter()
        .filter(|event| event["event"] == "signalled")
        .map(|event| event["signal"].clone())
        .collect();
    assert_eq!((signals.first(), signals.last()), (Some(&15.into()), Some(&9.into())));
    assert_eq!(count(&host, "sleep 4742"), 1, "a login of before keeps nothing, and is left alone");
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}
