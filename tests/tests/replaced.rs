//! What a host's daemons stand on is doubled, removed, replaced or installed anew while grants of every kind live: one daemon wins, sockets come
//! again, an upgrade ends nothing and lengthens nothing, a removal takes everything back.
//!
//! One of every kind by default; with `JITSUDO_SWEEP=all` none and fifty as well.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::live::{self, KINDS, Live};
use jitsudo_tests::story::installed_host;
use jitsudo_tests::{Host, Output, package_file, wait_until};

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    live::prepare(&host, "").unwrap();
    host
}

fn is_whole_sweep() -> bool {
    std::env::var("JITSUDO_SWEEP").is_ok_and(|which| which == "all")
}

fn counts() -> Vec<usize> {
    if is_whole_sweep() { vec![0, KINDS, 50] } else { vec![KINDS] }
}

fn sh(host: &Host, line: &str) -> Output {
    host.sh(line).limit(Duration::from_secs(180)).output().unwrap()
}

fn is_sound(host: &Host, what: &str) {
    let sound = live::is_sound(host).unwrap_or_else(|error| panic!("{what}: {error}"));
    println!("{what}: answered after {:?}, a command ran after {:?}", sound.answered, sound.ran);
}

/// All that was live is, still; and may be entered by its own door.
fn lives_on(host: &Host, live: &Live, what: &str) {
    assert_eq!(live.gone(host).unwrap(), Vec::<String>::new(), "{what}");
    if live.count() > 0 {
        let ssh = || sh(host, "ssh -o BatchMode=yes alice-adm@localhost id -un");
        assert!(wait_until(Duration::from_secs(10), || ssh().stdout == "alice-adm\n"), "{what}: {}", ssh().both());
    }
}

/// Starts the program as systemd would, with a socket of its own, and connects to it.
fn second(program: &str) -> String {
    format!(
        "rm -f /run/second; timeout 15 systemd-socket-activate --seqpacket -l /run/second {program} 2>&1 & \
         while ! [ -S /run/second ]; do sleep 0.05; done; \
         python3 -c 'import socket; s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET); s.connect(\"/run/second\"); s.settimeout(10)\ntry: s.recv(9)\nexcept OSError: pass'; wait"
    )
}

#[test]
fn two_daemons_are_one_and_sockets_that_are_gone_or_replaced_come_again() {
    let host = host("doubled");
    let door = || sh(&host, "stat -c %i /run/jitsudo/login").stdout;
    for count in counts() {
        let live = Live::make(&host, count).unwrap_or_else(|error| panic!("{error}"));
        let (before, pids) = (door(), sh(&host, "pidof jitsudod; pidof jitsudo-spawn").stdout);
        // By hand, and by another socket of systemd's.
        let as_decider = "setpriv --reuid _jitsudo --regid _jitsudo --clear-groups /usr/sbin/jitsudod";
        for (line, said) in [
            (second("/usr/libexec/jitsudo/jitsudo-spawn"), "another jitsudo-spawn runs here already"),
            (second(as_decider), "cannot open the ledger: another process writes it"),
            ("/usr/libexec/jitsudo/jitsudo-spawn".to_owned(), "cannot take the listening socket"),
            (as_decider.to_owned(), "no socket from systemd"),
            ("timeout 20 jitsudod --foreground".to_owned(), "another daemon answers there"),
        ] {
            let tried = sh(&host, &line);
            assert!(tried.both().contains(said), "{line}: {}", tried.both());
            assert_eq!(sh(&host, "pidof jitsudod; pidof jitsudo-spawn").stdout, pids, "{line}");
            assert_eq!(door(), before, "{line}");
        }
        lives_on(&host, &live, "second daemons");
        is_sound(&host, "second daemons");
        // The names of sockets, one by one, all of them, and with their folder.
        for (what, trouble) in [
            ("the clients' socket removed", "rm /run/jitsudo/socket"),
            ("the spawner's socket removed", "rm /run/jitsudo/spawner"),
            ("the gate's socket removed", "rm /run/jitsudo/login"),
            (
                "the gate's socket replaced",
                "rm /run/jitsudo/login; timeout 3 python3 -c 'import socket; s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET); s.bind(\"/run/jitsudo/login\"); s.listen()'; true",
            ),
            ("all sockets removed", "rm /run/jitsudo/socket /run/jitsudo/spawner /run/jitsudo/login"),
        ] {
            if !is_whole_sweep() && !["the gate's socket replaced", "all sockets removed"].contains(&what) {
                continue;
            }
            sh(&host, trouble);
            let there = || {
                sh(&host, "test -S /run/jitsudo/socket -a -S /run/jitsudo/spawner -a -S /run/jitsudo/login").status == 0
            };
            assert!(
                wait_until(Duration::from_secs(10), there),
                "{what}: {}",
                sh(&host, "ls -l /run/jitsudo; systemctl status jitsudo-front.service").both()
            );
            is_sound(&host, what);
            lives_on(&host, &live, what);
        }
        // What was stopped stays stopped.
        sh(&host, "systemctl stop jitsudod.socket jitsudod.service; sleep 1");
        assert_eq!(sh(&host, "systemctl is-active jitsudod.socket").stdout, "inactive\n");
        sh(&host, "systemctl start jitsudod.socket jitsudod.service");
        live.end(&host).unwrap_or_else(|error| panic!("{error}"));
        assert!(
            wait_until(Duration::from_secs(20), || live::left(&host).unwrap().is_empty()),
            "{:?}",
            live::left(&host)
        );
        is_sound(&host, "after the ends");
    }
}

#[test]
fn crash_recovery_06_upgrade_and_restarts_end_nothing_and_lengthen_nothing() {
    let host = host("upgraded");
    // The same programs as a newer version; apt would not look at an equal one.
    host.push(&package_file().unwrap(), "/root/jitsudo.deb", 0o644).unwrap();
    let newer = "cd /root; rm -rf new; dpkg-deb -R jitsudo.deb new && sed -i 's/^Version: .*/&.1/' new/DEBIAN/control && dpkg-deb -Znone --root-owner-group -b new newer.deb >/dev/null";
    host.sh(newer).limit(Duration::from_secs(120)).ok().unwrap();
    let install = |which: &str| {
        format!(
            "DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --allow-downgrades --reinstall -o APT::Sandbox::User=root /root/{which}"
        )
    };
    for count in counts() {
        let live = Live::make(&host, count).unwrap_or_else(|error| panic!("{error}"));
        let ends = || {
            sh(&host, "cd /run/jitsudo/ends; grep -ho '\"id\":\"[^\"]*\\|\"ends_[^,]*' 01* 2>/dev/null; grep -ho 'NOTAFTER=[0-9Z]*' ../sudoers.d/* 2>/dev/null").stdout
        };
        let before = ends();
        assert!(count == 0 || before.contains("NOTAFTER="), "{before}");
        for (what, line) in [
            ("an upgrade", install("newer.deb")),
            ("a downgrade", install("jitsudo.deb")),
            ("a restart of both", "systemctl restart jitsudo-spawn jitsudod".to_owned()),
        ] {
            let done = sh(&host, &line);
            assert_eq!(done.status, 0, "{what}: {}", done.both());
            is_sound(&host, what);
            lives_on(&host, &live, what);
            assert_eq!(ends(), before, "{what} moved an end");
        }
        live.end(&host).unwrap_or_else(|error| panic!("{error}"));
        assert!(
            wait_until(Duration::from_secs(20), || live::left(&host).unwrap().is_empty()),
            "{:?}",
            live::left(&host)
        );
    }
}

#[test]
fn crash_recovery_07_removal_takes_every_kind_of_grant_back_or_does_not_happen() {
    let host = host("removed");
    let apt = |verb: &str| format!("DEBIAN_FRONTEND=noninteractive apt-get {verb} -y -qq jitsudo");
    let pam = "cat /etc/pam.d/sshd";
    host.sh("jitctl gate disable sshd").ok().unwrap();
    let without = host.sh(pam).ok().unwrap();
    host.sh("jitctl gate enable sshd").ok().unwrap();
    // One is refused first, and one meets them all.
    let removals: &[(usize, &str)] = if is_whole_sweep() {
        &[(0, "remove"), (0, "purge"), (KINDS, "remove"), (KINDS, "purge"), (50, "remove"), (50, "purge")]
    } else {
        &[(3, "remove"), (KINDS, "purge")]
    };
    for (count, verb) in removals.iter().copied() {
        let live = Live::make(&host, count).unwrap_or_else(|error| panic!("{error}"));
        if count > 0 && verb == "remove" {
            // An entry that cannot be taken back would stay for ever: the package does too, and so do its daemons.
            host.sh("chattr +i /etc/group").ok().unwrap();
            let refused = sh(&host, &apt(verb));
            host.sh("chattr -i /etc/group").ok().unwrap();
            assert!(
                refused.status != 0 && refused.both().contains("something that was lent is still there"),
                "{}",
                refused.both()
            );
            assert_eq!(
                sh(&host, "dpkg-query -W -f '${Status}' jitsudo").stdout.split(' ').next_back(),
                Some("installed")
            );
            is_sound(&host, "a removal that did not happen");
        }
        let done = sh(&host, &apt(verb));
        assert_eq!(done.status, 0, "{verb}: {}", done.both());
        // No drop-in line of the package either: what was kept to compare with had it.
        let left: Vec<String> = live::left(&host)
            .unwrap()
            .into_iter()
            .filter(|line| !line.contains("Only in root/before/sudoers.d: jitsudo"))
            .collect();
        assert_eq!(left, Vec::<String>::new(), "{verb} with {count} live grants");
        assert_eq!(sh(&host, "pgrep -a jitsudo").stdout, "", "{verb}");
        assert_eq!(host.sh(pam).ok().unwrap(), without);
        assert_eq!(sh(&host, "ssh -o BatchMode=yes alice-adm@localhost id -un").stdout, "alice-adm\n", "logins go on");
        // Each end is on record, and the chain holds for the next one who installs it.
        host.sh(&format!(
            "{} >/dev/null 2>&1",
            apt("install").replace("-qq jitsudo", "-qq -o APT::Sandbox::User=root /root/jitsudo.deb")
        ))
        .limit(Duration::from_secs(120))
        .ok()
        .unwrap_or_else(|error| panic!("{error}"));
        live::prepare(&host, "").unwrap();
        let open = || {
            let log = host.run(&["jitctl", "log", "--all", "--json", "--limit", "100000"]).ok().unwrap_or_default();
            live.ids()
                .into_iter()
                .filter(|id| !log.lines().any(|line| line.contains("\"closed\"") && line.contains(id.as_str())))
                .collect::<Vec<_>>()
        };
        assert!(wait_until(Duration::from_secs(20), || open().is_empty()), "{verb}: {:?} are not closed", open());
        is_sound(&host, verb);
        println!("{verb} with {count} live grants: nothing is left");
    }
}
