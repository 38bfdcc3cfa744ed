//! Peers that lie, break the protocol, or are not where a person would be: refused by the kernel's word, and nobody else notices.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::path::Path;
use std::time::Duration;

use jitsudo_tests::story::{EVERYTHING, apply_policy, installed_host};
use jitsudo_tests::{Host, Output, package_file, wait_until};

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    apply_policy(&host, EVERYTHING).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/fault/peer.py");
    host.push(Path::new(script), "/opt/peer.py", 0o755).unwrap();
    host
}

fn peer(host: &Host, user: &str, case: &str) -> Output {
    host.run(&["python3", "/opt/peer.py", case]).as_user(user).output().unwrap()
}

fn alice(host: &Host, line: &str) -> Output {
    host.sh(line).as_user("alice").output().unwrap()
}

#[test]
fn messages_out_of_order_oversized_or_wrongly_credentialed_close_that_connection_and_nothing_else() {
    let host = host("liars");
    let daemons = || host.sh("systemctl show -p MainPID,NRestarts jitsudod jitsudo-spawn").ok().unwrap();
    let before = daemons();
    let cases = [
        ("root", "passed", "credentials"), // peer_auth_07
        ("alice", "forked", "credentials"),
        ("alice", "nonce", "nonce"),
        ("alice", "version", "version"),
        ("alice", "field", "malformed"), // cmd_match_13
        ("alice", "uid", "malformed"),   // peer_auth_06
        ("alice", "garbage", "malformed"),
        ("alice", "oversized", "closed"), // dos_05
        ("alice", "descriptors", "malformed"),
        ("alice", "cycle", "closed"), // fd_tty_08
        ("alice", "order", "malformed"),
        ("alice", "half", "closed"),
    ];
    for (user, case, expected) in cases {
        let output = peer(&host, user, case);
        let text = output.both();
        assert!(text.contains(expected), "{case}:\n{text}");
        assert!(text.contains("closed"), "{case} must close the connection:\n{text}");
        assert!(!text.contains("hand_over"), "{case}:\n{text}");
        assert_eq!(alice(&host, "jitsudo id -un").stdout, "root\n", "after {case}");
    }
    assert_eq!(daemons(), before);
    let descriptors = host.sh("ls /proc/$(pidof jitsudod)/fd | wc -l").ok().unwrap();
    assert!(descriptors.trim().parse::<u32>().is_ok_and(|count| count < 40), "descriptors leak: {descriptors}");
    let log = host.run(&["jitctl", "log", "--json", "--all"]).ok().unwrap();
    assert!(!log.contains("\"pid\":0"), "{log}");
}

#[test]
fn peer_auth_11_peers_in_sandboxes_and_services_are_not_people() {
    let host = host("places");
    assert_eq!(alice(&host, "jitsudo id -un").stdout, "root\n");
    let refused = [
        "setpriv --no-new-privs jitsudo id -un",
        "unshare --user --map-root-user jitsudo id -un",
        "unshare --user --map-current-user jitsudo id -un",
        "unshare --user --map-root-user --mount --pid --fork jitsudo id -un",
    ];
    for line in refused {
        let output = alice(&host, line);
        assert_eq!(output.stdout, "", "{line}:\n{}", output.both());
        assert!(output.stderr.contains("jitsudo: "), "{line}:\n{}", output.both());
    }
    let service = host.sh("systemd-run --quiet --wait --pipe --uid=alice jitsudo id -un").output().unwrap();
    assert_eq!(service.stdout, "", "{}", service.both());
    assert!(service.stderr.contains("jitsudo: "), "{}", service.both());
}

#[test]
fn confused_deputy_06_setuid_wrapper_cannot_ask() {
    let host = host("wrapper");
    host.sh("install -m 4755 -o bob /usr/bin/env /opt/env-as-bob").ok().unwrap();
    let output = alice(&host, "/opt/env-as-bob jitsudo id -un");
    assert_eq!(output.stdout, "", "{}", output.both());
    assert!(output.stderr.contains("jitsudo: "), "{}", output.both());
}

#[test]
fn peer_auth_01_name_of_the_clients_socket_means_nothing() {
    let host = host("names");
    let script = "import socket\ns=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET)\ns.bind('\\0;uid=0;pid=1;')\n\
                  s.connect('/run/jitsudo/socket')\nn=s.recv(65536).decode().split('\"nonce\":\"')[1].split('\"')[0]\n\
                  ask='{\"ask\":{\"policy_apply\":{\"dry_run\":false,\"expect\":null}}}'\n\
                  s.send(('{\"nonce\":\"%s\",\"version\":1,\"say\":%s}' % (n,ask)).encode())\n\
                  print(s.recv(65536).decode())\n";
    host.write("/opt/name.py", 0o644, script).unwrap();
    let output = host.run(&["python3", "/opt/name.py"]).as_user("bob").output().unwrap();
    assert!(output.stdout.contains("duty"), "{}", output.both());
}

#[test]
fn peer_auth_14_confused_deputy_01_fd_tty_08_connection_gives_nothing_but_what_it_was_asked_for() {
    let host = host("deputies");
    // One request a connection: the program that came in the asker's place gets nothing on it.
    host.sh("install -m 755 $(readlink -f /usr/bin/python3) /opt/other").ok().unwrap();
    let reused = peer(&host, "alice", "reuse").both();
    assert!(reused.matches("hand_over").count() == 1 && reused.ends_with("closed\n"), "{reused}");
    let log = host.run(&["jitctl", "log", "--json", "--all"]).ok().unwrap();
    assert_eq!(log.matches("\"requested\"").count(), 1, "{log}");

    // A setuid program that connects for somebody else is nobody, whatever it can be made to write.
    host.sh("install -m 4755 $(readlink -f /usr/bin/python3) /opt/deputy").ok().unwrap();
    for (case, said) in
        [("bare", "credentials"), ("half", "closed"), ("order", "credentials"), ("apply", "credentials")]
    {
        let answer = host.run(&["/opt/deputy", "-I", "/opt/peer.py", case]).as_user("bob").output().unwrap().both();
        assert!(answer.contains(said) && answer.contains("closed"), "{case}: {answer}");
        assert!(!answer.contains("hand_over") && !answer.contains("applied"), "{case}: {answer}");
    }

    // Descriptors in flight to nobody.
    let memory =
        || host.sh("grep VmRSS /proc/$(pidof jitsudod)/status | tr -dc 0-9").ok().unwrap().parse::<u64>().unwrap();
    let (pid, before) = (host.sh("pidof jitsudod").ok().unwrap(), memory());
    let cycles = peer(&host, "bob", "cycles").both();
    assert!(cycles.contains("closed"), "{cycles}");
    assert_eq!(host.sh("pidof jitsudod").ok().unwrap(), pid);
    assert!(memory() < before + 4096, "{before} KiB before, {} after", memory());
    let descriptors = host.sh("ls /proc/$(pidof jitsudod)/fd | wc -l").ok().unwrap();
    assert!(descriptors.trim().parse::<u32>().unwrap() < 40, "{descriptors}");
    assert_eq!(alice(&host, "jitsudo id -un").stdout, "root\n");
}

#[test]
fn signal_ptrace_05_dos_07_five_hundred_silent_connections_and_no_descriptors_left_harm_nobody() {
    let host = host("silent");
    let daemons = || host.sh("systemctl show -p MainPID,NRestarts jitsudod jitsudo-spawn").ok().unwrap();
    let before = daemons();
    let hold = |from: &str, to: &str, each: &str| {
        host.run(&["python3", "/opt/peer.py", "held", from, to, each]).limit(Duration::from_secs(50)).output().unwrap()
    };
    std::thread::scope(|scope| {
        let held = scope.spawn(|| hold("2000", "2010", "60"));
        let many = || {
            host.sh("jitctl status --json").output().is_ok_and(|status| {
                status.stdout.contains("\"connections\":5") || status.stdout.contains("\"connections\": 5")
            })
        };
        wait_until(Duration::from_secs(8), many);
        assert_eq!(alice(&host, "jitsudo id -un").stdout, "root\n", "served beside them");
        let held = held.join().unwrap();
        let count: u32 = held.stdout.lines().next().unwrap().parse().unwrap();
        assert!(count >= 500, "{}", held.both());
        assert!(held.stdout.contains("all closed"), "timeouts that fire together: {}", held.both());
    });
    assert_eq!(daemons(), before);
    assert_eq!(alice(&host, "jitsudo id -un").stdout, "root\n");

    // The spawner has no descriptor left: a clear no, and service again with the same process when there are some.
    host.sh("prlimit --pid $(pidof jitsudo-spawn) --nofile=12:").ok().unwrap();
    let refused = alice(&host, "jitsudo id -un");
    assert_eq!((refused.status, refused.stdout.as_str()), (69, ""), "{}", refused.both());
    assert!(
        refused.stderr.contains("Too many open files") || refused.stderr.contains("jitsudo-spawn"),
        "{}",
        refused.stderr
    );
    host.sh("prlimit --pid $(pidof jitsudo-spawn) --nofile=4096:").ok().unwrap();
    let served = || alice(&host, "jitsudo id -un").stdout == "root\n";
    assert!(wait_until(Duration::from_secs(15), served), "no recovery");
    assert_eq!(daemons(), before, "recovery must need no restart");

    // The decider likewise: it waits without turning in circles, and the silent are closed.
    host.write("/etc/systemd/system/jitsudod.service.d/few.conf", 0o644, "[Service]\nLimitNOFILE=40\n").unwrap();
    host.sh("systemctl daemon-reload; systemctl restart jitsudod").ok().unwrap();
    assert!(wait_until(Duration::from_secs(5), served));
    let used = || {
        host.sh("cut -d' ' -f14,15 /proc/$(pidof jitsudod)/stat")
            .ok()
            .unwrap()
            .split_whitespace()
            .filter_map(|ticks| ticks.parse::<u64>().ok())
            .sum::<u64>()
    };
    let (pid, ticks) = (host.sh("pidof jitsudod").ok().unwrap(), used());
    hold("2000", "2001", "50");
    assert!(used() - ticks < 200, "{} ticks of 10 ms in ten seconds of nothing to do", used() - ticks);
    assert!(wait_until(Duration::from_secs(15), served), "no recovery");
    assert_eq!(host.sh("pidof jitsudod").ok().unwrap(), pid);
}

/// Listens where jitsudod would, and writes down what it is told.
const IMPOSTOR: &str = r#"
import os, socket
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind("/run/jitsudo/socket")
os.chmod("/run/jitsudo/socket", 0o666)
listener.listen(16)
with open("/tmp/pid", "w") as own:
    own.write(str(os.getpid()))
while True:
    peer, _ = listener.accept()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    hello = '{"hello":{"oldest":1,"newest":1,"nonce":"%s","host":"web-1"}}' % ("0" * 32)
    try:
        peer.send(hello.encode())
        told = len(peer.recv(65536))
    except OSError:
        told = 0
    with open("/tmp/heard", "a") as heard:
        heard.write("%d\n" % told)
"#;

#[test]
fn socket_that_root_does_not_serve_hears_nothing() {
    let host = host("impostor");
    // Who makes sockets again would take the folder back at once.
    host.sh("systemctl stop jitsudo-front.path jitsudo-front.service && systemctl stop jitsudod.socket jitsudod.service && chown bob /run/jitsudo && rm -f /run/jitsudo/socket")
        .ok()
        .unwrap();
    host.write("/opt/impostor.py", 0o755, IMPOSTOR).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            host.run(&["python3", "/opt/impostor.py"]).as_user("bob").limit(Duration::from_secs(30)).output()
        });
        assert!(wait_until(Duration::from_secs(10), || host.sh("test -s /tmp/pid").ok().is_ok()));
        let said = "cannot trust /run/jitsudo/socket: uid 1003 listens there, not root\n";
        let secret = "echo secret | jitsudo FOO=secret sh -c 'cat; id' secret";
        // Root, too: it is not "no daemon", for which root would run the command itself.
        let asked = [alice(&host, secret), host.sh(secret).output().unwrap()];
        for output in &asked {
            assert_eq!((output.status, output.stdout.as_str()), (69, ""), "{}", output.both());
            assert!(output.stderr.starts_with(&format!("jitsudo: {said}  hint: ")), "{}", output.stderr);
        }
        let asked = alice(&host, "jitctl; jitctl log");
        assert_eq!((asked.status, asked.stdout.as_str()), (69, ""), "{}", asked.both());
        assert_eq!(asked.stderr.matches(said).count(), 2, "{}", asked.stderr);
        let heard = || host.sh("cat /tmp/heard").ok().unwrap();
        assert!(wait_until(Duration::from_secs(5), || heard() == "0\n".repeat(4)), "{}", heard());
        host.sh("kill -KILL $(cat /tmp/pid)").ok().unwrap();
    });
    // What the hint says.
    host.sh("chown root /run/jitsudo; systemctl restart jitsudod.socket; systemctl start jitsudo-front.path")
        .ok()
        .unwrap();
    assert_eq!(alice(&host, "jitsudo id -un").stdout, "root\n");
}
