//! Accounts that are entered only under a role that is held: over ssh, by su and at a terminal of booted hosts, with the daemons at work,
//! stopped and killed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{apply_policy, installed_host, open_ssh_to_alice};
use jitsudo_tests::{GATE, Host, Output, SPAWNER, Stopwatch, not_by_the_next, package_file, wait_until};

/// alice and bob have admin accounts; alice may ask for hers, and for root's.
const POLICY: &str = r#"[people.alice]
accounts = ["alice", "alice-adm"]
ssh-keys = ["KEY"]
[people.bob]
accounts = ["bob"]

[roles.own-admin]
login = ["@self"]
[roles.root-login]
login = ["root"]

[[allow]]
name = "admin accounts on request"
who = ["@alice"]
roles = ["own-admin", "root-login"]
window = "1h"
auth = "none"
"#;

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    open_ssh_to_alice(&host).unwrap();
    // The same key opens all three accounts: who it belongs to is the policy's word.
    host.sh("cp -a /home/alice/.ssh /home/alice-adm/ && chown -R alice-adm: /home/alice-adm/.ssh; sed -i '/LogLevel/d' /root/.ssh/config; \
             cat /root/.ssh/id_ed25519.pub >>/root/.ssh/authorized_keys")
        .ok()
        .unwrap();
    let key = host.sh("cut -d' ' -f1,2 /root/.ssh/id_ed25519.pub").ok().unwrap();
    apply_policy(&host, &POLICY.replace("KEY", key.trim())).unwrap();
    host.sh("jitctl gate enable sshd su").ok().unwrap();
    host
}

fn ssh(host: &Host, account: &str) -> Output {
    host.run(&["ssh", "-o", "BatchMode=yes", &format!("{account}@localhost"), "id", "-un"]).output().unwrap()
}

fn alice(host: &Host, line: &str) -> String {
    let output = host.sh(line).as_user("alice").output().unwrap();
    assert_eq!(output.status, 0, "{line}: {}", output.both());
    output.stdout
}

/// alice gives back what she holds.
fn release(host: &Host) -> bool {
    let line = "jitctl release $(jitctl grants --json | grep -o '\"id\": *\"[^\"]*' | head -n 1 | grep -o '[^\"]*$')";
    host.sh(line).as_user("alice").output().unwrap().status == 0
}

fn patiently(condition: impl FnMut() -> bool) -> bool {
    wait_until(Duration::from_secs(20), condition)
}

fn is_running(host: &Host, command: &str) -> bool {
    host.run(&["pgrep", "-f", "-x", command]).output().unwrap().status == 0
}

fn su(host: &Host, from: &str, account: &str, password: &str) -> (i32, String) {
    let mut terminal = host.run(&["su", account, "-c", "echo entered as $(id -un)"]).as_user(from).terminal().unwrap();
    terminal.answer_hidden("Password: ", password).unwrap();
    let status = terminal.wait(Duration::from_secs(30)).unwrap();
    (status, terminal.text())
}

#[test]
fn admin_account_is_entered_while_its_person_holds_a_role_and_left_when_that_ends() {
    let host = host("gate");
    let list = host.sh("cat /etc/jitsudo/gated; stat -c '%a %U' /etc/jitsudo/gated").ok().unwrap();
    assert!(
        list.contains("\n0 root\n") && list.contains("\n1002 alice-adm\n") && list.ends_with("644 root\n"),
        "{list}"
    );
    let refused = ssh(&host, "alice-adm");
    assert_eq!((refused.status, refused.stdout.as_str()), (255, ""), "{}", refused.both());
    assert!(refused.stderr.contains("alice-adm is entered only while you hold a role for it"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: jitctl request own-admin"), "{}", refused.stderr);
    assert_eq!(ssh(&host, "alice").stdout, "alice\n");
    let (status, text) = su(&host, "alice", "alice-adm", "alice-adm-pw\n");
    assert!(status != 0 && text.contains("hint: jitctl request own-admin"), "{text}");

    alice(&host, "jitctl request own-admin");
    assert_eq!(ssh(&host, "alice-adm").stdout, "alice-adm\n");
    let (status, text) = su(&host, "alice", "alice-adm", "alice-adm-pw\n");
    assert!(status == 0 && text.contains("entered as alice-adm"), "{text}");
    // bob knows the password, and is not alice.
    let (status, text) = su(&host, "bob", "alice-adm", "alice-adm-pw\n");
    assert!(status != 0 && text.contains("alice-adm is no account of yours"), "{text}");
    // Her key opens root's door only under a role for root.
    assert_eq!(ssh(&host, "root").status, 255);

    // What runs in her logins ends with the role: a shell, what was put into the background, what left the session.
    let leaver = "sh -c 'setsid sleep 4801 >/dev/null 2>&1 & nohup sleep 4802 >/dev/null 2>&1 & exec sleep 4803'";
    let mut over_ssh = host.run(&["ssh", "-tt", "alice-adm@localhost", leaver]).terminal().unwrap();
    let mut by_su = host.run(&["su", "alice-adm", "-c", "sleep 4804"]).as_user("alice").terminal().unwrap();
    by_su.answer_hidden("Password: ", "alice-adm-pw\n").unwrap();
    let all = ["sleep 4801", "sleep 4802", "sleep 4803", "sleep 4804"];
    assert!(patiently(|| all.iter().all(|command| is_running(&host, command))));
    assert_eq!(ssh(&host, "alice").stdout, "alice\n");
    let watch = Stopwatch::start();
    assert!(release(&host));
    assert!(patiently(|| !all.iter().any(|command| is_running(&host, command))));
    not_by_the_next("logins under a role", watch.elapsed(), SPAWNER);
    assert_ne!(over_ssh.wait(Duration::from_secs(20)).unwrap(), 0);
    assert_ne!(by_su.wait(Duration::from_secs(20)).unwrap(), 0);
    assert_eq!(ssh(&host, "alice-adm").status, 255, "after the end");
    let (status, _) = su(&host, "alice", "alice-adm", "alice-adm-pw\n");
    assert_ne!(status, 0, "after the end");
    let log = || host.run(&["jitctl", "log", "--json"]).ok().unwrap_or_default();
    assert!(patiently(|| log().contains("\"login_closed\"")), "{}", log());
    let log = log();
    for event in ["login_opened", "login_refused", "login_closed", "closed"] {
        assert!(log.contains(&format!("\"{event}\"")), "{event}: {log}");
    }
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}

#[test]
fn pam_13_root_over_ssh_is_the_person_whose_key_it_is_and_cron_goes_on() {
    let host = host("root");
    assert_eq!(ssh(&host, "root").status, 255, "nobody holds it");
    alice(&host, "jitctl request root-login");
    assert_eq!(ssh(&host, "root").stdout, "root\n");
    let opened = || host.run(&["jitctl", "log", "--json"]).ok().unwrap_or_default();
    assert!(patiently(|| opened().contains("\"login_opened\"")), "{}", opened());
    let line = opened().lines().find(|line| line.contains("\"login_opened\"")).unwrap_or_default().to_owned();
    assert!(line.contains("\"person\":\"alice\"") && line.contains("\"account\":\"root\""), "{line}");
    assert!(release(&host));
    assert_eq!(ssh(&host, "root").status, 255, "after the end");
    // Another key in root's file is nobody's.
    host.sh(
        "ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/other; cat /root/.ssh/other.pub >>/root/.ssh/authorized_keys",
    )
    .ok()
    .unwrap();
    alice(&host, "jitctl request root-login");
    let other = host
        .run(&["ssh", "-i", "/root/.ssh/other", "-o", "IdentitiesOnly=yes", "root@localhost", "id"])
        .output()
        .unwrap();
    assert_ne!(other.status, 0, "{}", other.both());
    assert!(!other.stdout.contains("uid=0"), "{}", other.both());
    // The gate is no business of cron's, of root's own su, and of the user managers.
    host.write("/etc/cron.d/gate", 0o644, "* * * * * root id -un >/run/cron-ran\n").unwrap();
    assert_eq!(host.run(&["su", "alice-adm", "-c", "id -un"]).ok().unwrap(), "alice-adm\n");
    // Logins under a role, one of them moved out of its scope as root can, and nobody who would end them.
    assert!(release(&host));
    alice(&host, "jitctl request root-login --for 8s");
    let fled = "mkdir -p /sys/fs/cgroup/fled; (echo 0 >/sys/fs/cgroup/fled/cgroup.procs; exec setsid sleep 4821 >/dev/null 2>&1) & \
                nohup sleep 4822 >/dev/null 2>&1 & exec sleep 4823";
    let mut under_it = host.run(&["ssh", "-tt", "root@localhost", fled]).terminal().unwrap();
    let mut beside_it = host.run(&["ssh", "-tt", "alice@localhost", "sleep 4824"]).terminal().unwrap();
    host.sh("systemd-run -q sleep 4825").ok().unwrap();
    let all = ["sleep 4821", "sleep 4822", "sleep 4823", "sleep 4824", "/usr/bin/sleep 4825"];
    assert!(patiently(|| all.iter().all(|command| is_running(&host, command))));
    let ends_ms: u64 = {
        let line = "jitctl log --json | grep '\"activating\"' | tail -n 1 | grep -o '\"ends_boottime_ms\":[0-9]*' | grep -o '[0-9]*$'";
        host.sh(line).ok().unwrap().trim().parse().unwrap()
    };
    host.sh("systemctl stop jitsudod.socket jitsudod.service jitsudo-spawn.socket jitsudo-spawn.service; systemctl start user@1002").ok().unwrap();
    assert!(all.iter().all(|command| is_running(&host, command)), "until the end they run");
    let (under, kept) = all.split_at(3);
    let gone = || !under.iter().any(|command| is_running(&host, command));
    assert!(
        wait_until(Duration::from_secs(75), gone),
        "{}",
        host.sh("journalctl -t jitsudo-sweep; ps -ef").ok().unwrap()
    );
    let uptime = host.sh("cut -d' ' -f1 /proc/uptime | tr -d .").ok().unwrap();
    let late_ms = uptime.trim().parse::<u64>().unwrap() * 10 - ends_ms;
    println!("logins without a daemon were gone {late_ms} ms after the end");
    assert!(late_ms < 62_000, "{late_ms}");
    assert_ne!(under_it.wait(Duration::from_secs(20)).unwrap(), 0);
    assert!(kept.iter().all(|command| is_running(&host, command)), "the host's own, and other logins");
    assert!(patiently(|| host.sh("ls /run/jitsudo/logins").ok().unwrap().is_empty()));
    let told = host.sh("cat /var/lib/jitsudo/spool/sweep.*").ok().unwrap();
    assert!(told.contains("\"login_closed\"") && told.contains("\"closed\""), "{told}");
    host.sh("pkill -xf 'sleep 4824'").ok().unwrap();
    beside_it.wait(Duration::from_secs(20)).unwrap();
    let ran = || host.run(&["cat", "/run/cron-ran"]).output().unwrap().stdout == "root\n";
    assert!(wait_until(Duration::from_secs(75), ran));
}

#[test]
fn daemons_that_are_stopped_or_killed_keep_gated_accounts_out_and_nobody_else() {
    let host = host("dead");
    alice(&host, "jitctl request own-admin");
    assert_eq!(ssh(&host, "alice-adm").stdout, "alice-adm\n");
    let (start, stop) = (
        "systemctl start jitsudo-spawn.socket jitsudod.socket jitsudo-spawn jitsudod",
        "systemctl stop jitsudod.socket jitsudod",
    );
    host.sh(stop).ok().unwrap();
    let refused = ssh(&host, "alice-adm");
    assert!(refused.stderr.contains("while jitsudod is not running"), "{}", refused.both());
    host.sh(start).ok().unwrap();
    assert!(patiently(|| ssh(&host, "alice-adm").stdout == "alice-adm\n"), "the role is held still");
    host.sh("systemctl stop jitsudo-spawn.socket jitsudo-spawn").ok().unwrap();
    let watch = Stopwatch::start();
    assert_eq!(ssh(&host, "alice").stdout, "alice\n");
    not_by_the_next("a login beside the gate", watch.elapsed(), GATE);
    let refused = ssh(&host, "alice-adm");
    assert!(refused.stderr.contains("the daemon does not answer: it is not running"), "{}", refused.both());
    host.sh(start).ok().unwrap();
    assert!(patiently(|| ssh(&host, "alice-adm").stdout == "alice-adm\n"));
    host.sh("kill -STOP $(pidof jitsudo-spawn)").ok().unwrap();
    let watch = Stopwatch::start();
    assert_eq!(ssh(&host, "alice-adm").status, 255);
    println!("a gated login was refused after {:?}", watch.elapsed());
    host.sh("kill -CONT $(pidof jitsudo-spawn)").ok().unwrap();
    // A login outlives a restart of the spawner, and ends with its role all the same.
    let mut shell = host.run(&["ssh", "-tt", "alice-adm@localhost", "sleep 4811"]).terminal().unwrap();
    assert!(patiently(|| is_running(&host, "sleep 4811")));
    host.sh("systemctl restart jitsudo-spawn").ok().unwrap();
    assert!(is_running(&host, "sleep 4811"));
    assert!(patiently(|| release(&host)));
    assert!(patiently(|| !is_running(&host, "sleep 4811")));
    assert_ne!(shell.wait(Duration::from_secs(20)).unwrap(), 0);
}

#[test]
fn crash_recovery_07_gate_stands_only_where_root_put_it_and_goes_with_the_package() {
    let host = host("verb");
    let before = host.sh("cat /etc/pam.d/cron /etc/pam.d/common-account /etc/pam.d/login").ok().unwrap();
    let refused = |line: &str, user: Option<&str>| {
        let command = host.sh(line);
        let output = user.map_or_else(|| host.sh(line), |user| command.as_user(user)).output().unwrap();
        assert_eq!(output.status, 2, "{line}: {}", output.both());
        output.stderr
    };
    assert!(refused("jitctl gate enable login", Some("alice")).contains("only root edits PAM's files"));
    for service in ["cron", "common-account", "systemd-user", "jitsudo", "../shadow"] {
        assert!(refused(&format!("jitctl gate enable {service}"), None).contains("cannot gate"), "{service}");
    }
    assert_eq!(host.sh("cat /etc/pam.d/cron /etc/pam.d/common-account /etc/pam.d/login").ok().unwrap(), before);
    let shown = host.sh("jitctl gate enable login").ok().unwrap();
    assert!(shown.contains("+account required pam_jitsudo.so list-required session-follows rescue=root"), "{shown}");
    assert_eq!(host.sh("jitctl gate enable login").ok().unwrap(), "/etc/pam.d/login: nothing to change\n");
    let status = host.sh("jitctl gate status").ok().unwrap();
    assert!(status.contains("sshd           gated\n"), "{status}");
    assert!(status.contains("login          gated, root enters without a grant\n"), "{status}");
    assert!(status.contains("sudo           open\n"), "{status}");
    // Root at the console, whatever is decided; on the record.
    host.sh("pamtester login root acct_mgmt open_session close_session").output().unwrap();
    let log = || host.run(&["jitctl", "log", "--all", "--json"]).ok().unwrap_or_default();
    assert!(patiently(|| log().contains("\"rescue_used\"")), "{}", log());
    assert_eq!(ssh(&host, "alice-adm").status, 255);
    let kept = host
        .sh("jitctl gate disable login; cat /etc/pam.d/cron /etc/pam.d/common-account /etc/pam.d/login")
        .ok()
        .unwrap();
    assert!(kept.ends_with(&before), "{kept}");
    host.sh("apt-get remove --yes -qq jitsudo").env("DEBIAN_FRONTEND=noninteractive").ok().unwrap();
    assert_eq!(host.sh("grep -l pam_jitsudo /etc/pam.d/* || true").ok().unwrap(), "");
    assert_eq!(ssh(&host, "alice-adm").stdout, "alice-adm\n");
}
