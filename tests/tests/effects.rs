//! What role grants change on a host, and that it is gone at their end: the effect worker and the sweep, driven directly.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::path::Path;
use std::time::Duration;

use jitsudo_tests::story::{install, installed_host};
use jitsudo_tests::{Host, Options, Root, Stopwatch, package_file, wait_until};

const ONE: &str = "01jd0000000000000000000001";
const OTHER: &str = "01jd0000000000000000000002";
const ADM: &str = r#"{"membership":"adm"}"#;
const STAFF: &str = r#"{"membership":"staff"}"#;
const ID: &str = r#"{"sudoers":["/usr/bin/id"]}"#;
const OURS: &str = r#"{"done":{"ours":true}}"#;
const NOT_OURS: &str = r#"{"done":{"ours":false}}"#;
const REMOVED: &str = r#"{"done":{"removed":true}}"#;
const NOTHING: &str = r#"{"done":{"removed":false}}"#;
const DAEMONS: &str = "jitsudod.socket jitsudo-spawn.socket jitsudod.service jitsudo-spawn.service";

fn host(name: &str, suite: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, suite, &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    host.push(Path::new(env!("CARGO_BIN_EXE_lend")), "/opt/lend", 0o755).unwrap();
    host
}

/// An order about alice's grant.
fn alice(host: &Host, how: &str, id: &str, seconds: u32, effect: &str) -> String {
    let seconds = seconds.to_string();
    let answer = host.run(&["/opt/lend", how, id, "1001", "alice", &seconds, effect]).limit(Duration::from_secs(90));
    answer.ok().unwrap().trim().to_owned()
}

fn lend(host: &Host, id: &str, effect: &str) -> String {
    alice(host, "apply", id, 3600, effect)
}

fn undo(host: &Host, id: &str, effect: &str) -> String {
    alice(host, "undo", id, 3600, effect)
}

/// The lines of a group in both files.
fn lines(host: &Host, group: &str) -> String {
    host.sh(&format!("grep -h ^{group}: /etc/group /etc/gshadow")).ok().unwrap()
}

fn notes(host: &Host) -> String {
    host.sh("cd /; ls run/jitsudo/ends var/lib/jitsudo/ends | grep -c '^01[^.]*$'")
        .output()
        .unwrap()
        .stdout
        .trim()
        .to_owned()
}

fn sweep(host: &Host, option: &str) -> i32 {
    host.sh(&format!("/usr/libexec/jitsudo/jitsudo-sweep {option}"))
        .limit(Duration::from_secs(90))
        .output()
        .unwrap()
        .status
}

fn spooled(host: &Host) -> String {
    host.sh("cat /var/lib/jitsudo/spool/sweep.* 2>/dev/null").output().unwrap().stdout
}

fn membership_comes_and_goes(suite: &str) {
    let host = host("member", suite);
    let (group, gshadow) = ("adm:x:4:", "adm:*::");
    let (without, with) = (format!("{group}\n{gshadow}\n"), format!("{group}alice\n{gshadow}alice\n"));
    assert_eq!(lines(&host, "adm"), without);
    assert_eq!(lend(&host, ONE, ADM), OURS);
    assert_eq!(lines(&host, "adm"), with);
    assert!(host.run(&["id", "-nG", "alice"]).ok().unwrap().contains("adm"), "a new login must have it");
    assert_eq!(notes(&host), "2", "in /run and on disk");
    assert_eq!(lend(&host, ONE, ADM), OURS, "lending twice is lending once");
    assert_eq!(undo(&host, ONE, ADM), REMOVED);
    assert_eq!(lines(&host, "adm"), without);
    assert_eq!(undo(&host, ONE, ADM), NOTHING, "what is gone is fine");
    assert_eq!(notes(&host), "1", "on disk it is set aside until it is on record");

    // Two at once, by two workers.
    let line = format!(
        "/opt/lend apply {ONE} 1001 alice 3600 '{ADM}' & /opt/lend apply {OTHER} 1001 alice 3600 '{STAFF}'; wait"
    );
    assert_eq!(host.sh(&line).ok().unwrap(), format!("{OURS}\n{OURS}\n"));
    let groups = host.run(&["id", "-nG", "alice"]).ok().unwrap();
    assert!(groups.contains("adm") && groups.contains("staff"), "{groups}");
    assert_eq!((undo(&host, ONE, ADM), undo(&host, OTHER, STAFF)), (REMOVED.to_owned(), REMOVED.to_owned()));

    many_memberships_go_at_once_and_nothing_else_changes(&host);

    let unknown = lend(&host, ONE, r#"{"membership":"nosuch"}"#);
    assert!(unknown.contains("has not exactly one group of that name"), "{unknown}");
    let login = lend(&host, ONE, r#"{"login":["@self"]}"#);
    assert!(login.contains("not supported yet"), "{login}");
}

fn many_memberships_go_at_once_and_nothing_else_changes(host: &Host) {
    // A tool died between the two files.
    assert_eq!(lend(host, ONE, ADM), OURS);
    host.sh("sed -i s/^adm:.*/adm:x:4:/ /etc/group").ok().unwrap();
    assert_eq!(undo(host, ONE, ADM), REMOVED);
    assert_eq!(lines(host, "adm"), "adm:x:4:\nadm:*::\n", "newgrp believes gshadow");
    // Lines of others, of NIS, and some that make no sense.
    let odd = r"printf '\n#alice\nodd:x\n\xff:x:9:alice\nadm2:x:99999:alice\n+nis:::\n' >>/etc/group; gpasswd -a bob adm; \
        gpasswd -a alice sre; cp /etc/group /etc/gshadow /root/; journalctl --sync";
    host.sh(odd).ok().unwrap();
    let edits =
        || host.sh("journalctl --sync; journalctl -qt vigr | wc -l").ok().unwrap().trim().parse::<u32>().unwrap();
    let before = edits();
    let groups = ["adm", "staff", "audio", "video", "games"];
    let ids: Vec<String> = (1..=10).map(|number| format!("01jd00000000000000000001{number:02}")).collect();
    for ((place, id), group) in ids.iter().enumerate().zip(groups.iter().cycle()) {
        let (uid, user) = if place < 5 { ("1001", "alice") } else { ("1003", "bob") };
        let effect = format!(r#"{{"membership":"{group}"}}"#);
        let answer = host.run(&["/opt/lend", "apply", id, uid, user, "3600", &effect]).ok().unwrap();
        assert_eq!(answer.trim(), if place == 5 { NOT_OURS } else { OURS }, "{id}");
    }
    assert!(lines(host, "audio").contains("alice,bob\n"));
    let mut order = vec!["/opt/lend", "undo-all"];
    order.extend(ids.iter().map(String::as_str));
    let watch = Stopwatch::start();
    let answers = host.run(&order).ok().unwrap();
    println!("{} memberships were gone after {:?}", ids.len(), watch.elapsed());
    assert_eq!((answers.matches(r#""removed":true"#).count(), answers.matches(r#""removed":false"#).count()), (9, 1));
    host.sh("cmp /etc/group /root/group && cmp /etc/gshadow /root/gshadow").ok().unwrap();
    assert_eq!(host.sh("stat -c '%a %U:%G' /etc/group /etc/gshadow").ok().unwrap(), "644 root:root\n640 root:shadow\n");
    assert_eq!(edits() - before, 2, "one call for each file");
    host.sh("gpasswd -d bob adm; gpasswd -d alice sre").ok().unwrap();
}

#[test]
fn bookworm_membership_comes_and_goes() {
    membership_comes_and_goes("bookworm");
}

#[test]
fn trixie_membership_comes_and_goes() {
    membership_comes_and_goes("trixie");
}

#[test]
fn group_grant_02_membership_that_was_there_stays_and_a_shared_one_goes_with_its_last_owner() {
    let host = host("owners", "bookworm");
    host.run(&["gpasswd", "-a", "alice", "adm"]).ok().unwrap();
    assert_eq!(lend(&host, ONE, ADM), NOT_OURS);
    assert_eq!(undo(&host, ONE, ADM), NOTHING);
    assert!(lines(&host, "adm").starts_with("adm:x:4:alice\n"), "what the administrator gave must stay");

    assert_eq!(lend(&host, ONE, STAFF), OURS);
    assert_eq!(lend(&host, OTHER, STAFF), OURS, "it is there by a grant: the second one owns it too");
    let first = undo(&host, ONE, STAFF);
    assert!(first.contains(r#""removed":false"#) && first.contains(OTHER), "{first}");
    assert!(lines(&host, "staff").contains(":alice\n"), "the other grant is live");
    assert_eq!(undo(&host, OTHER, STAFF), REMOVED);
    assert!(!lines(&host, "staff").contains("alice"));

    // A grant that is over keeps nothing.
    assert_eq!(alice(&host, "apply", OTHER, 1, STAFF), OURS);
    assert_eq!(lend(&host, ONE, STAFF), OURS);
    assert!(wait_until(Duration::from_secs(10), || other_is_over(&host)));
    assert_eq!(undo(&host, ONE, STAFF), REMOVED);
    assert!(!lines(&host, "staff").contains("alice"));
}

/// True when the clock is past what OTHER was lent for.
fn other_is_over(host: &Host) -> bool {
    let line = format!(
        "grep -o 'ends_boottime_ms\":[0-9]*' /run/jitsudo/ends/{OTHER} | cut -d: -f2; cut -d' ' -f1 /proc/uptime"
    );
    let text = host.sh(&line).ok().unwrap();
    let mut numbers = text.lines().map(|line| line.parse::<f64>().unwrap());
    numbers.next().unwrap() < numbers.next().unwrap() * 1000.0
}

#[test]
fn identity_nss_02_renamed_and_lost_accounts_and_groups_keep_nothing() {
    let host = host("renamed", "bookworm");
    assert_eq!(lend(&host, ONE, ADM), OURS);
    host.sh("loginctl terminate-user alice 2>/dev/null; usermod -l alina alice && groupmod -n admins adm")
        .ok()
        .unwrap();
    assert!(lines(&host, "admins").contains("alina"), "usermod renames the entry");
    let refused = lend(&host, OTHER, STAFF);
    assert!(refused.contains("uid 1001 is alina now"), "{refused}");
    let undone = undo(&host, ONE, ADM);
    assert!(undone.contains(r#""removed":true"#) && undone.contains("alice is called alina now"), "{undone}");
    assert!(undone.contains("found as admins"), "{undone}");
    assert!(!lines(&host, "admins").contains("ali"));

    host.sh("usermod -l alice alina").ok().unwrap();
    assert_eq!(lend(&host, ONE, STAFF), OURS);
    host.sh("groupdel staff; userdel -f alice").ok().unwrap();
    let undone = undo(&host, ONE, STAFF);
    assert!(undone.contains(r#""removed":false"#) && undone.contains("group staff is gone"), "{undone}");
    let refused = lend(&host, OTHER, r#"{"membership":"sre"}"#);
    assert!(refused.contains("there is no account with uid 1001"), "{refused}");
    // Somebody else has the name now.
    host.sh("useradd -u 1500 alice").ok().unwrap();
    assert!(lend(&host, OTHER, r#"{"membership":"sre"}"#).contains("there is no account with uid 1001"));
    host.sh("userdel alice; useradd -u 1001 eve").ok().unwrap();
    assert!(lend(&host, OTHER, r#"{"membership":"sre"}"#).contains("uid 1001 is eve now"));
}

#[test]
fn group_grant_01_group_file_that_another_tool_has_locked_is_waited_for_and_given_up() {
    let host = host("locked", "bookworm");
    // As vipw and usermod do: the lock file names a living process.
    host.sh("setsid sleep 600 >/dev/null 2>&1 & echo -n $! > /etc/group.lock").ok().unwrap();
    let refused = lend(&host, ONE, ADM);
    assert!(refused.contains("the group file is locked by sleep (pid "), "{refused}");
    assert_eq!(lines(&host, "adm"), "adm:x:4:\nadm:*::\n", "no write without the lock");
    host.run(&["rm", "/etc/group.lock"]).ok().unwrap();
    assert_eq!(lend(&host, ONE, ADM), OURS);
    // Free again after a while: waited for.
    host.sh("(setsid sh -c 'echo -n $$ > /etc/group.lock; sleep 2; rm /etc/group.lock' >/dev/null 2>&1 &) ; sleep 0.3")
        .ok()
        .unwrap();
    assert_eq!(undo(&host, ONE, ADM), REMOVED);
}

#[test]
fn fs_race_10_group_file_that_is_a_link_or_has_two_names_is_not_edited() {
    let host = host("odd-file", "bookworm");
    host.sh("ln /etc/group /etc/group.twin").ok().unwrap();
    let refused = lend(&host, ONE, ADM);
    assert!(refused.contains("/etc/group has another name too"), "{refused}");
    host.sh("rm /etc/group.twin; mv /etc/group /etc/group.real; ln -s group.real /etc/group").ok().unwrap();
    let refused = lend(&host, ONE, ADM);
    assert!(refused.contains("/etc/group is a link"), "{refused}");
    host.sh("mv /etc/group.real /etc/group").ok().unwrap();
    // The host's root is an overlay: the rename works there, and is read back.
    assert_eq!(host.sh("stat -f -c %T /etc").ok().unwrap(), "overlayfs\n");
    assert_eq!(lend(&host, ONE, ADM), OURS);
}

fn sudo_lends_exactly_that(suite: &str) {
    let host = host("drop-in", suite);
    let sudo = |line: &str| host.sh(&format!("sudo -n {line}")).as_user("alice").output().unwrap();
    assert_ne!(sudo("id").status, 0);
    let effect = r#"{"sudoers":["/usr/bin/id -u","/usr/bin/echo a,b c:d e=f @g","/usr/bin/whoami"]}"#;
    assert_eq!(lend(&host, ONE, effect), OURS);
    assert_eq!(sudo("id -u").stdout, "0\n");
    assert_eq!(sudo("echo a,b c:d e=f @g").stdout, "a,b c:d e=f @g\n");
    assert_eq!(sudo("whoami").stdout, "root\n");
    for other in [
        "id",
        "id -g",
        "whoami --version",
        "echo a",
        "echo a b",
        "true",
        "-s",
        "-u bob whoami",
        "true jitsudo-probe-live",
    ] {
        assert_ne!(sudo(other).status, 0, "sudo {other} was not lent");
    }
    let file = format!("/run/jitsudo/sudoers.d/{ONE}");
    assert_eq!(host.run(&["stat", "-c", "%a %U:%G", &file]).ok().unwrap(), "440 root:root\n");
    assert_eq!(host.run(&["ls", "-A", "/run/jitsudo/sudoers.d"]).ok().unwrap().trim(), ONE);
    assert_eq!(host.sh("sudo -n whoami").as_user("bob").output().unwrap().status, 1, "it is alice's alone");
    assert_eq!(undo(&host, ONE, effect), REMOVED);
    assert_ne!(sudo("id -u").status, 0, "no ticket may outlive it");
    assert_eq!(undo(&host, ONE, effect), NOTHING);
    assert_eq!(host.run(&["visudo", "-c"]).output().unwrap().status, 0);
    // The directory that is included may be away.
    host.run(&["rm", "-r", "/run/jitsudo/sudoers.d"]).ok().unwrap();
    assert_eq!(host.sh("visudo -c && sudo -n true").output().unwrap().status, 0);
}

#[test]
fn sudoers_dropin_02_03_08_sudo_lends_exactly_that_and_keeps_no_ticket_on_bookworm() {
    sudo_lends_exactly_that("bookworm");
}

#[test]
fn sudoers_dropin_02_03_08_sudo_lends_exactly_that_and_keeps_no_ticket_on_trixie() {
    sudo_lends_exactly_that("trixie");
}

fn sudo_ends_by_itself(suite: &str) {
    let host = host("not-after", suite);
    host.sh(&format!("systemctl stop jitsudo-sweep.timer {DAEMONS}")).ok().unwrap();
    host.sh("ln -sf /usr/share/zoneinfo/Pacific/Kiritimati /etc/localtime; echo 'export TZ=America/Adak' >> /home/alice/.bashrc").ok().unwrap();
    let effect = r#"{"sudoers":["/usr/bin/whoami","/usr/bin/sleep 60"]}"#;
    assert_eq!(alice(&host, "apply", ONE, 6, effect), OURS);
    let sudo = |line: &str| host.sh(&format!("TZ=America/Adak sudo -n {line}")).as_user("alice").output().unwrap();
    assert_eq!(sudo("whoami").stdout, "root\n");
    let clock = Stopwatch::start();
    assert_ne!(sudo("sleep 60").status, 0, "sudo ends by TIMEOUT what it started");
    assert!(clock.elapsed() < Duration::from_secs(30), "by TIMEOUT, not by its own end: {:?}", clock.elapsed());
    assert!(wait_until(Duration::from_secs(10), || sudo("whoami").status != 0), "sudo ends the right by NOTAFTER");
    let file = format!("/run/jitsudo/sudoers.d/{ONE}");
    host.run(&["test", "-e", &file]).ok().unwrap();
}

#[test]
fn sudoers_dropin_06_sudo_itself_ends_a_right_when_no_daemon_lives_on_bookworm() {
    sudo_ends_by_itself("bookworm");
}

#[test]
fn sudoers_dropin_06_sudo_itself_ends_a_right_when_no_daemon_lives_on_trixie() {
    sudo_ends_by_itself("trixie");
}

#[test]
fn sudoers_dropin_03_05_11_what_sudo_would_not_honour_is_refused() {
    let host = host("unsafe", "bookworm");
    // Nothing puts a folder right meanwhile.
    host.sh("systemctl stop jitsudo-front.path jitsudo-front.service").ok().unwrap();
    // Another's umask, and visudo in an administrator's hands, change nothing.
    host.sh("setsid flock /etc/sudoers sleep 600 >/dev/null 2>&1 &").ok().unwrap();
    for umask in ["000", "077"] {
        let line = format!("umask {umask}; /opt/lend apply {ONE} 1001 alice 3600 '{ID}'");
        assert_eq!(host.sh(&line).ok().unwrap().trim(), OURS);
        assert_eq!(
            host.sh(&format!("stat -c %a /run/jitsudo/sudoers.d/{ONE} /run/jitsudo/ends/{ONE}")).ok().unwrap(),
            "440\n600\n"
        );
    }
    assert_eq!(undo(&host, ONE, ID), REMOVED);
    let refused = |what: &str| {
        let answer = lend(&host, ONE, ID);
        assert!(answer.starts_with(r#"{"failed":"#) && answer.contains(what), "{answer}");
        assert_eq!(
            host.run(&["ls", "-A", "/run/jitsudo/sudoers.d"]).output().unwrap().stdout,
            "",
            "nothing may be left"
        );
    };
    host.run(&["chmod", "777", "/run/jitsudo/sudoers.d"]).ok().unwrap();
    refused("root alone can write");
    host.run(&["chmod", "700", "/run/jitsudo/sudoers.d"]).ok().unwrap();
    // sudo reads nothing from a directory that others can write.
    host.run(&["chmod", "777", "/etc/sudoers.d"]).ok().unwrap();
    refused("/etc/sudoers.d/jitsudo must include it");
    host.run(&["chmod", "755", "/etc/sudoers.d"]).ok().unwrap();
    // A line that comes later takes it back: sudo's last match wins.
    host.write("/etc/sudoers.d/zz", 0o440, "alice ALL=(root) !/usr/bin/id\n").unwrap();
    refused("another line of sudoers comes after it");
    host.run(&["rm", "/etc/sudoers.d/zz"]).ok().unwrap();
    where_sudo_knows_no_not_after(&host);
    host.run(&["mv", "/etc/sudoers.d/jitsudo", "/root/"]).ok().unwrap();
    refused("/etc/sudoers.d/jitsudo must include it");
    host.run(&["mv", "/usr/bin/sudo", "/usr/bin/sudo.away"]).ok().unwrap();
    refused("there is no sudo at /usr/bin/sudo");
    host.run(&["ln", "-s", "jitsudo", "/usr/bin/sudo"]).ok().unwrap();
    refused("/usr/bin/sudo is jitsudo here");
    // One that knows no NOTAFTER, and one that passes over it.
    let old = "#!/bin/sh\nfor one; do :; done\nexit 0\n";
    host.sh("rm /usr/bin/sudo").ok().unwrap();
    host.write("/usr/bin/sudo", 0o755, old).unwrap();
    refused("does not end a line by NOTAFTER");
    host.write("/usr/sbin/visudo", 0o755, "#!/bin/sh\necho 'syntax error near NOTAFTER' >&2; exit 1\n").unwrap();
    refused("visudo does not take it: syntax error near NOTAFTER");
}

/// An older sudo, which knows no NOTAFTER: a role has to accept lines without an end, and everybody is told.
fn where_sudo_knows_no_not_after(host: &Host) {
    let old = "#!/bin/sh\ngrep -q NOTAFTER \"$2\" && { echo 'syntax error near NOTAFTER' >&2; exit 1; }\nexec /usr/sbin/visudo.real \"$@\"\n";
    // The note of what was driven directly until here has no record.
    host.sh(&format!("rm -f /run/jitsudo/ends/{ONE}; mv /usr/sbin/visudo /usr/sbin/visudo.real")).ok().unwrap();
    host.write("/usr/sbin/visudo", 0o755, old).unwrap();
    let drop_ins = || host.run(&["ls", "-A", "/run/jitsudo/sudoers.d"]).output().unwrap().stdout;
    let policy = |more: &str| {
        format!(
            "[roles.ids]\nsudoers = [\"/usr/bin/id -u\"]\n{more}\n[[allow]]\nname = \"ids\"\nwho = [\"alice\"]\nroles = [\"ids\"]\nauth = \"none\"\n"
        )
    };
    let alice = |line: &str| host.sh(line).as_user("alice").output().unwrap();
    host.write("/etc/jitsudo/policy.d/10-ids.toml", 0o644, policy("")).unwrap();
    host.run(&["jitctl", "policy", "apply", "--yes"]).ok().unwrap();
    let refused = alice("jitctl request ids");
    assert!(refused.status != 0 && refused.stderr.contains("syntax error near NOTAFTER"), "{}", refused.both());
    assert_eq!(drop_ins(), "");
    host.write("/etc/jitsudo/policy.d/10-ids.toml", 0o644, policy("sudoers-without-end = true")).unwrap();
    let applied = host.run(&["jitctl", "policy", "apply", "--yes"]).ok().unwrap();
    assert!(applied.contains("have no end of their own where sudo knows no NOTAFTER"), "{applied}");
    let given = alice("jitctl request ids --for 10m");
    for part in [
        "sudo now gives: /usr/bin/id -u",
        "where sudo itself ends no line, it gives them until jitsudo takes them back",
    ] {
        assert!(given.stdout.contains(part), "{}", given.both());
    }
    assert_eq!(alice("sudo -n id -u").stdout, "0\n");
    assert_ne!(alice("sudo -n id").status, 0, "what was not lent");
    let id = drop_ins().trim().to_owned();
    let text = host.sh(&format!("cat /run/jitsudo/sudoers.d/{id}")).ok().unwrap();
    assert!(!text.contains("NOTAFTER") && text.contains("NOPASSWD: /usr/bin/id -u"), "{text}");
    let doctor = host.run(&["jitctl", "doctor"]).ok().unwrap().replace("\n               ", " ");
    assert!(doctor.contains("1 drop-in of sudo without an end of its own here"), "{doctor}");
    host.run(&["jitctl", "doctor", "--privileges"]).ok().unwrap();
    let shown = alice(&format!("jitctl show {id}")).stdout.replace("\n           ", " ");
    assert!(shown.contains("1 sudoers line, which only jitsudo ends where sudo ends none by itself"), "{shown}");
    // Nobody lives: the sweep takes it back.
    host.sh(&format!("systemctl stop jitsudo-sweep.timer {DAEMONS}")).ok().unwrap();
    assert_eq!(sweep(host, "--all"), 0);
    assert_ne!(alice("sudo -n id -u").status, 0);
    assert_eq!(drop_ins(), "");
    host.sh(&format!("systemctl start jitsudo-sweep.timer {DAEMONS}; rm /etc/jitsudo/policy.d/10-ids.toml; mv /usr/sbin/visudo.real /usr/sbin/visudo"))
        .ok()
        .unwrap();
}

#[test]
fn crash_recovery_04_sweep_ends_what_is_over_when_no_daemon_lives_and_the_ledger_learns_of_it() {
    let host = host("swept", "bookworm");
    host.sh(&format!("systemctl stop {DAEMONS}")).ok().unwrap();
    assert_eq!(lend(&host, OTHER, STAFF), OURS);
    assert_eq!(alice(&host, "apply", ONE, 2, ADM), OURS);
    assert_eq!(alice(&host, "apply", ONE, 2, ID), OURS);
    for folder in ["/run/jitsudo/ends", "/var/lib/jitsudo/ends"] {
        host.write(&format!("{folder}/01jd0000000000000000000009"), 0o600, "{").unwrap();
    }
    // What nobody can read, and what no note names: with no spawner that knows better it goes.
    host.write("/run/jitsudo/ends/01jd0000000000000000000008", 0o600, "{").unwrap();
    for number in [7, 8] {
        let line = "#1001 ALL=(root) NOPASSWD: /usr/bin/id\n";
        host.write(&format!("/run/jitsudo/sudoers.d/01jd000000000000000000000{number}"), 0o440, line).unwrap();
    }
    assert_eq!(sweep(&host, ""), 1, "a note that cannot be read must be told");
    let drop_ins = host.run(&["ls", "/run/jitsudo/sudoers.d"]).ok().unwrap();
    assert_eq!(drop_ins, format!("{ONE}\n"), "{}", spooled(&host));
    assert_eq!(spooled(&host).matches("\"lost\"").count(), 2, "{}", spooled(&host));
    assert!(lines(&host, "adm").contains("alice"), "the spawner has five seconds first");
    // By the timer alone: 61 s and what the machine needs.
    let gone = wait_until(Duration::from_secs(75), || !lines(&host, "adm").contains("alice"));
    assert!(gone, "{}", host.sh("systemctl list-timers; journalctl -t jitsudo-sweep").ok().unwrap());
    assert!(
        wait_until(Duration::from_secs(10), || spooled(&host).matches("\"closed\"").count() == 3),
        "{}",
        spooled(&host)
    );
    assert_eq!(host.sh("sudo -n id").as_user("alice").output().unwrap().status, 1);
    assert!(lines(&host, "staff").contains("alice"), "what is not over stays");
    let told = spooled(&host);
    let count = |event: &str| told.matches(&format!("\"event\":\"{event}\"")).count();
    assert_eq!((count("effect_undone"), count("ended"), count("closed")), (4, 3, 3), "{told}");
    assert!(told.contains("\"window_over\"") && told.contains("\"program\":\"jitsudo-sweep\""), "{told}");
    let said = host.run(&["journalctl", "-q", "-o", "cat", "-t", "jitsudo-sweep"]).ok().unwrap();
    assert!(said.contains("cannot read the note /run/jitsudo/ends/01jd0000000000000000000009"), "{said}");
    host.sh(&format!("systemctl start {DAEMONS}")).ok().unwrap();
    let ledger = || host.sh("cat /var/lib/jitsudo/ledger/*.jsonl").ok().unwrap();
    assert!(wait_until(Duration::from_secs(20), || ledger().contains(&format!("sweep.{ONE}.4"))), "{}", ledger());
}

#[test]
fn expiry_clock_12_reboot_takes_everything_back_before_a_login() {
    let mut host = host("reboot", "bookworm");
    assert_eq!(lend(&host, ONE, ADM), OURS);
    assert_eq!(lend(&host, ONE, ID), OURS);
    // What was not synced is lost: the note on disk was.
    host.sh("sync -f /etc/group").ok().unwrap();
    host.power_cut().unwrap();
    host.start().unwrap();
    assert_eq!(lines(&host, "adm"), "adm:x:4:\nadm:*::\n");
    assert_eq!(host.sh("sudo -n id").as_user("alice").output().unwrap().status, 1);
    assert_eq!(notes(&host), "0");
    // In the order of events, and by its own unit.
    let stamp = |unit: &str, what: &str| -> u64 {
        let text = host.run(&["systemctl", "show", "--value", "-p", what, unit]).ok().unwrap();
        text.trim().parse().unwrap()
    };
    let swept = stamp("jitsudo-sweep-boot.service", "InactiveEnterTimestampMonotonic");
    assert!(swept > 0, "the boot unit must have run");
    for unit in ["ssh.service", "cron.service", "systemd-user-sessions.service", "sysinit.target"] {
        let let_in = stamp(unit, "ActiveEnterTimestampMonotonic");
        assert!(let_in > swept, "{unit} was up {let_in}, swept {swept}");
    }
    let ledger = || host.sh("cat /var/lib/jitsudo/ledger/*.jsonl").ok().unwrap();
    assert!(wait_until(Duration::from_secs(20), || ledger().contains("\"rebooted\"")), "{}", ledger());
}

#[test]
fn sudoers_dropin_12_group_file_that_cannot_be_written_at_the_end_is_tried_again_and_said() {
    let host = host("read-only", "bookworm");
    host.sh(&format!("systemctl stop jitsudo-sweep.timer {DAEMONS}")).ok().unwrap();
    assert_eq!(lend(&host, ONE, ADM), OURS);
    assert_eq!(lend(&host, ONE, ID), OURS);
    host.sh("mount --bind /etc /etc && mount -o remount,bind,ro /etc").ok().unwrap();
    assert_eq!(sweep(&host, "--all"), 1);
    assert!(lines(&host, "adm").contains("alice"));
    assert_eq!(host.sh("sudo -n id").as_user("alice").output().unwrap().status, 1, "what can go goes");
    assert_eq!(notes(&host), "2", "what is left must not be forgotten");
    let told = spooled(&host);
    assert!(told.contains("cleanup_failed") && told.contains("cannot take alice out of adm"), "{told}");
    assert!(!told.contains("\"closed\""), "{told}");
    assert_eq!(sweep(&host, "--all"), 1);
    assert_eq!(spooled(&host), told, "the same again is no news");
    host.run(&["umount", "/etc"]).ok().unwrap();
    assert_eq!(sweep(&host, "--all"), 0);
    assert!(!lines(&host, "adm").contains("alice"));
    assert_eq!(notes(&host), "0");
    assert!(spooled(&host).contains("\"closed\""));
}

#[test]
fn crash_recovery_07_package_that_is_removed_takes_with_it_what_was_lent() {
    let host = host("leaves", "bookworm");
    assert_eq!(lend(&host, ONE, ADM), OURS);
    assert_eq!(lend(&host, ONE, ID), OURS);
    host.sh("DEBIAN_FRONTEND=noninteractive apt-get remove -y -qq jitsudo").ok().unwrap();
    assert_eq!(lines(&host, "adm"), "adm:x:4:\nadm:*::\n");
    assert_eq!(host.sh("sudo -n id").as_user("alice").output().unwrap().status, 1);
    let left = host.sh("find /etc/sudoers.d /etc/systemd /usr/lib/systemd -name '*jitsudo*'").ok().unwrap();
    assert_eq!(left, "", "no line of ours stays in sudoers, and no unit is wanted");
    assert_eq!(host.run(&["visudo", "-c"]).output().unwrap().status, 0);
    let record = host.sh("cat /var/lib/jitsudo/ledger/*.jsonl /var/lib/jitsudo/spool/* 2>/dev/null").output().unwrap();
    assert!(
        record.stdout.contains("\"effect_undone\"") && record.stdout.contains("ended_by_other"),
        "{}",
        record.stdout
    );
}

#[test]
fn package_installs_beside_a_host_without_sudo() {
    let host = Host::boot("sudoless", &Root::debian("bookworm").unwrap(), Options::default()).unwrap();
    host.sh("SUDO_FORCE_REMOVE=yes DEBIAN_FRONTEND=noninteractive apt-get purge -y -qq sudo").ok().unwrap();
    install(&host, &package_file().unwrap()).unwrap();
    host.push(Path::new(env!("CARGO_BIN_EXE_lend")), "/opt/lend", 0o755).unwrap();
    let refused = lend(&host, ONE, ID);
    assert!(refused.contains("there is no sudo at /usr/bin/sudo"), "{refused}");
    assert_eq!(lend(&host, ONE, ADM), OURS, "membership needs none");
}
