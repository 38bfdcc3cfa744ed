//! The host is turned upside down while commands run: frozen groups, stopped and killed daemons, folders given away,
//! a full or read-only /run, a kernel that knows less. Ends happen, and nothing runs that is not on record.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{EVERYTHING, apply_policy, installed_host};
use jitsudo_tests::{Host, Output, Stopwatch, package_file, push_fault, wait_until};

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    apply_policy(&host, &EVERYTHING.replace("auth = \"none\"", "auth = \"none\"\nrun-time = \"5s\"")).unwrap();
    host
}

fn alice(host: &Host, line: &str) -> Output {
    host.sh(line).as_user("alice").output().unwrap_or_else(|error| panic!("{error}"))
}

fn runs(host: &Host, command: &str) -> bool {
    host.run(&["pgrep", "-x", "-f", command]).output().unwrap().status == 0
}

fn log(host: &Host) -> String {
    host.run(&["jitctl", "log", "--json", "--all", "--limit", "100000"]).ok().unwrap_or_else(|error| panic!("{error}"))
}

/// Runs `jitsudo COMMAND` as alice, does `trouble` while it runs, and sees it end within `seconds`.
fn ends_in_spite_of(host: &Host, command: &str, seconds: u64, trouble: &str, repair: &str) {
    std::thread::scope(|scope| {
        let client = scope.spawn(|| alice(host, &format!("timeout 30 jitsudo {command}")));
        assert!(wait_until(Duration::from_secs(10), || runs(host, command)), "{command} did not start");
        host.sh(trouble).ok().unwrap();
        let over = wait_until(Duration::from_secs(seconds), || !runs(host, command));
        host.sh(repair).ok().unwrap();
        assert!(over, "{command} ran past its end");
        client.join().unwrap();
    });
    let is_closed = || {
        let log = log(host);
        let id =
            log.lines().find(|line| line.contains("\"requested\"") && line.contains(&command.replace(' ', "\",\"")));
        let id = id.and_then(|line| line.split("\"id\":\"").nth(1)).and_then(|rest| rest.split('"').next());
        id.is_some_and(|id| log.lines().any(|line| line.contains("\"closed\"") && line.contains(id)))
    };
    assert!(wait_until(Duration::from_secs(20), is_closed), "{command} has no end on record:\n{}", log(host));
}

#[test]
fn session_end_09_expiry_clock_09_11_ends_come_in_frozen_groups_with_stopped_daemons_and_in_any_zone() {
    let host = host("ends2");
    let groups = "/sys/fs/cgroup/system.slice/jitsudo-spawn.service";
    let freeze =
        |on: u8, which: &str| format!("for f in {groups}/{which}/cgroup.freeze; do echo {on} > $f; done; true");
    ends_in_spite_of(&host, "sleep 4801", 10, &freeze(1, "*/cmd"), "true");
    let (thaw, all) = (freeze(0, "sup.*"), format!("{}; {}", freeze(1, "*/cmd"), freeze(1, "sup.*")));
    // The session is frozen too: the spawner has patience with it for five seconds.
    ends_in_spite_of(&host, "sleep 4802", 20, &all, &thaw);
    let stop = "kill -STOP $(pidof jitsudod jitsudo-spawn)";
    let resume = "kill -CONT $(pidof jitsudod jitsudo-spawn)";
    ends_in_spite_of(&host, "sleep 4803", 10, stop, resume);
    let zone = "ln -sf /usr/share/zoneinfo/Pacific/Kiritimati /etc/localtime; systemctl restart jitsudod";
    ends_in_spite_of(&host, "sleep 4804", 10, zone, "true");
    let times: Vec<String> = log(&host)
        .split("\"ends_at\":\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next().map(str::to_owned))
        .collect();
    assert!(times.len() == 4 && times.iter().all(|time| time.ends_with('Z')), "{times:?}");
    assert!(times.is_sorted(), "a zone moved an end: {times:?}");
}

#[test]
fn fs_race_12_dos_08_missing_socket_full_run_and_full_folders_of_users_stop_no_end() {
    let host = host("run");
    // Everything that alice may fill is full.
    let fill = "for d in /tmp /var/tmp /dev/shm $XDG_RUNTIME_DIR ~; do head -c 40M /dev/zero > $d/filler 2>/dev/null; \
                for i in $(seq 300); do : > $d/f$i; done; done; true";
    ends_in_spite_of(&host, "sleep 4811", 10, &format!("runuser -l alice -c '{fill}'"), "true");
    assert_eq!(alice(&host, "jitsudo id -un").stdout, "root\n");
    // /run has no room, not even for root.
    let full = "cat /dev/zero > /run/filler 2>/dev/null; true";
    ends_in_spite_of(&host, "sleep 4812", 10, full, "true");
    let tried = alice(&host, "jitsudo id -un");
    assert!(tried.stdout == "root\n" || tried.stderr.starts_with("jitsudo: cannot"), "{}", tried.both());
    host.sh("rm /run/filler").ok().unwrap();
    assert!(wait_until(Duration::from_secs(10), || alice(&host, "jitsudo id -un").stdout == "root\n"));
    // Somebody removes the socket: it comes again, and where systemd does not see to that the daemon notices, says so where the client's
    // hint leads, and still ends what runs.
    ends_in_spite_of(&host, "sleep 4813", 10, "rm /run/jitsudo/socket", "true");
    assert!(wait_until(Duration::from_secs(10), || alice(&host, "jitsudo id -un").stdout == "root\n"));
    host.sh("systemctl stop jitsudo-front.path; rm /run/jitsudo/socket").ok().unwrap();
    let refused = alice(&host, "jitsudo id -un");
    assert!(refused.status == 69 && refused.stderr.contains("hint: systemctl status jitsudod"), "{}", refused.both());
    let told = || {
        host.sh("systemctl status jitsudod")
            .output()
            .unwrap()
            .stdout
            .contains("`systemctl restart jitsudod.socket` makes it again")
    };
    assert!(
        wait_until(Duration::from_secs(10), told),
        "{}",
        host.sh("systemctl status jitsudod").output().unwrap().stdout
    );
    host.sh("systemctl restart jitsudod.socket; systemctl start jitsudo-front.path").ok().unwrap();
    assert!(wait_until(Duration::from_secs(10), || alice(&host, "jitsudo id -un").stdout == "root\n"));
}

#[test]
fn fs_race_04_install_config_02_03_files_are_replaced_whole_and_folders_are_as_installed() {
    let host = host("folders");
    // fs-race-04: whoever reads the policy in force while it is replaced finds a whole one.
    host.write("/opt/read.py", 0o755, "import os\nreads = 0\nwhile not os.path.exists('/run/enough'):\n    text = open('/var/lib/jitsudo/policy/applied.json').read().strip()\n    assert text[0] + text[-1] == '{}', text[:80]\n    reads += 1\nprint('reads', reads > 100)\n").unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| host.run(&["python3", "/opt/read.py"]).output().unwrap());
        for round in 0..15 {
            apply_policy(&host, &EVERYTHING.replace("alice runs", &format!("round {round}: alice runs"))).unwrap();
        }
        host.sh("touch /run/enough").ok().unwrap();
        assert_eq!(reader.join().unwrap().both(), "reads True\n");
    });

    // install-config-02: modes and owners are set again at the start, and an unsafe ledger is not used before.
    let folders = "/run/jitsudo /run/jitsudo/sessions /var/lib/jitsudo /var/lib/jitsudo/ledger /var/lib/jitsudo/policy /var/lib/jitsudo/spool /var/lib/jitsudo/recordings";
    let modes = || host.sh(&format!("stat -c '%n %a %U:%G' {folders}")).ok().unwrap();
    let installed = modes();
    host.sh(&format!("chmod 777 {folders}; systemctl restart jitsudod")).ok().unwrap();
    let refused = alice(&host, "jitsudo id -un");
    assert!(refused.status == 69 && refused.stderr.contains("others can write it (mode 0777)"), "{}", refused.both());
    host.sh(&format!("chown bob:bob {folders}; systemctl restart jitsudo-spawn jitsudod")).ok().unwrap();
    assert_eq!(modes(), installed);
    assert!(wait_until(Duration::from_secs(15), || alice(&host, "jitsudo id -un").stdout == "root\n"));

    // install-config-03: what the sandbox of the decider is worth by systemd's own measure, tenths.
    let measured = host.sh("systemd-analyze security --no-pager jitsudod.service --threshold=10").output().unwrap();
    assert_eq!(measured.status, 0, "the exposure of jitsudod has grown beyond 1.0:\n{}", measured.stdout);
    let loose = host.sh("systemd-analyze security --no-pager jitsudo-spawn.service --threshold=10").output().unwrap();
    assert_ne!(loose.status, 0, "the measure itself must be able to fail");
}

#[test]
fn crash_recovery_01_daemons_killed_at_any_call_give_nothing_that_is_not_on_record() {
    let host = host("killed2");
    for unit in ["jitsudod", "jitsudo-spawn"] {
        let line = "[Service]\nRestartSec=50ms\n";
        host.write(&format!("/etc/systemd/system/{unit}.service.d/soon.conf"), 0o644, line).unwrap();
    }
    host.sh("systemctl daemon-reload").ok().unwrap();
    // strace ends the daemon at the Nth time that it makes any call: within the request that follows, wherever that is.
    let mut ran = 0;
    for daemon in ["jitsudod", "jitsudo-spawn"] {
        for call in 1..=5 {
            let line = format!(
                "strace -f -o /dev/null -e inject=all:signal=KILL:when={call} -p $(pidof {daemon}) 2>/run/traced & \
                 for i in $(seq 100); do grep -q attached /run/traced && break; sleep 0.02; done; \
                 runuser -l alice -c 'timeout 20 jitsudo touch /run/killed-{daemon}-{call}'; kill %1 2>/dev/null; wait"
            );
            host.sh(&line).output().unwrap();
            let served = || alice(&host, "jitsudo id -un").stdout == "root\n";
            assert!(wait_until(Duration::from_secs(20), served), "{daemon} is not back after call {call}");
            if host.sh(&format!("test -e /run/killed-{daemon}-{call}")).ok().is_ok() {
                ran += 1;
                let log = log(&host);
                let id = log.lines().find(|line| {
                    line.contains("\"requested\"") && line.contains(&format!("/run/killed-{daemon}-{call}\""))
                });
                let id = id.unwrap_or_else(|| panic!("{daemon} {call}: it ran without a record:\n{log}"));
                let id = id.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
                let has = |event: &str| log.lines().any(|line| line.contains(event) && line.contains(&id));
                assert!(has("\"activating\"") && has("\"session_starting\""), "{daemon} {call}:\n{log}");
            }
        }
    }
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
    let restarts = host.sh("systemctl show --value -p NRestarts jitsudod jitsudo-spawn").ok().unwrap();
    let restarts: u32 = restarts.split_whitespace().filter_map(|count| count.parse::<u32>().ok()).sum();
    assert!(restarts >= 6 && ran < 10, "the daemons were killed {restarts} times only; {ran} commands ran");
}

#[test]
fn install_config_07_kernel_that_has_no_pidfd_of_peers_is_served_and_guards_as_well() {
    let host = host("older");
    push_fault(&host, "kernel_fault.c", "/opt/kernel_fault.so").unwrap();
    for unit in ["jitsudod", "jitsudo-spawn"] {
        let line = "[Service]\nEnvironment=LD_PRELOAD=/opt/kernel_fault.so\n";
        host.write(&format!("/etc/systemd/system/{unit}.service.d/older.conf"), 0o644, line).unwrap();
    }
    host.sh("systemctl daemon-reload; systemctl restart jitsudo-spawn jitsudod").ok().unwrap();
    assert!(wait_until(Duration::from_secs(10), || alice(&host, "jitsudo id -un").stdout == "root\n"));
    host.run(&["test", "-e", "/run/asked-for-pidfd"]).ok().unwrap();
    assert!(!alice(&host, "jitsudo env").stdout.contains("LD_PRELOAD"));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/fault/peer.py");
    host.push(std::path::Path::new(script), "/opt/peer.py", 0o755).unwrap();
    for (user, case) in [("root", "passed"), ("alice", "forked")] {
        let answer = host.run(&["python3", "/opt/peer.py", case]).as_user(user).output().unwrap().both();
        assert!(answer.contains("credentials") && !answer.contains("hand_over"), "{case}: {answer}");
    }
    let sandboxed = alice(&host, "setpriv --no-new-privs jitsudo id");
    assert_eq!((sandboxed.status, sandboxed.stdout.as_str()), (1, ""), "{}", sandboxed.both());
    ends_in_spite_of(&host, "sleep 4821", 10, "true", "true");
}

#[test]
fn fd_tty_11_file_that_never_answers_holds_up_its_own_command_alone() {
    let host = host("silent");
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/fault/silent_fuse.py");
    host.push(std::path::Path::new(server), "/opt/silent.py", 0o755).unwrap();
    let daemons = || host.sh("systemctl show -p MainPID,NRestarts jitsudod jitsudo-spawn").ok().unwrap();
    let before = daemons();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            host.sh("echo $$ > /run/silent.pid; exec python3 /opt/silent.py").limit(Duration::from_secs(50)).output()
        });
        let mounted = || host.sh("stat /mnt/file").ok().is_ok();
        assert!(wait_until(Duration::from_secs(10), mounted), "no file system");
        let others = |when: &str| {
            let watch = Stopwatch::start();
            assert_eq!(alice(&host, "jitsudo id -un").stdout, "root\n", "{when}");
            assert!(watch.elapsed() < Duration::from_secs(8), "{when}: {:?}", watch.elapsed());
        };
        // The command waits for the file; the session waits for a word about it.
        let reads = scope.spawn(|| alice(&host, "timeout -s KILL 40 jitsudo cat < /mnt/file"));
        assert!(wait_until(Duration::from_secs(10), || runs(&host, "cat")), "no command");
        others("beside a read");
        let stats = scope.spawn(|| alice(&host, "exec 9< /mnt/file; touch /tmp/open; while ! test -e /run/stat-hangs; do sleep 0.1; done; timeout -s KILL 40 jitsudo id <&9"));
        assert!(wait_until(Duration::from_secs(10), || host.sh("test -e /tmp/open").ok().is_ok()));
        host.sh("touch /run/stat-hangs").ok().unwrap();
        assert!(wait_until(Duration::from_secs(10), || runs(&host, "jitsudo id")), "no client");
        others("beside a stat");
        // Past their ends, which a process that waits in the kernel cannot take notice of.
        assert!(wait_until(Duration::from_secs(20), || log(&host).contains("cleanup_failed")) || !runs(&host, "cat"));
        others("past the end");
        host.sh("kill -KILL $(cat /run/silent.pid); umount -l /mnt").ok().unwrap();
        for client in [reads, stats] {
            let output = client.join().unwrap();
            assert!(output.status != 0 && output.stdout.is_empty(), "{}", output.both());
        }
    });
    assert!(wait_until(Duration::from_secs(10), || !runs(&host, "cat")), "it outlived the file system");
    assert_eq!(daemons(), before);
}
