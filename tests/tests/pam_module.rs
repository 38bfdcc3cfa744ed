//! The PAM module in sshd, su and bare stacks of a booted host, with a daemon in the daemon's place that is away, hangs or lies, and
//! with lists that are missing, cut or somebody else's. Exact return codes: a stack succeeds only with the one that is expected.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{installed_host, open_ssh_to_alice};
use jitsudo_tests::{GATE, Host, Output, Stopwatch, not_by_the_next, package_file, push_fault, wait_until};

const MODULE: &str = "/usr/lib/x86_64-linux-gnu/security/pam_jitsudo.so";
const LIST: &str = "/etc/jitsudo/gated";
const GATED: &str = "# by hand\n0 root\n1002 alice-adm\n1003 bob\nservice sshd\nservice su\nservice gate-ignored\nservice gate-success\n\
                     service gate-denied\nservice gate-rename\nend 9\n";

/// Each stack succeeds with one return code of the module alone.
const STACKS: [(&str, &str); 3] = [
    ("gate-ignored", "[ignore=ignore success=die default=die]"),
    ("gate-success", "[success=ok default=die]"),
    ("gate-denied", "[perm_denied=ignore default=die]"),
];

/// A host with the module in its sshd, su and stacks of our own, nobody who answers, and the list written by hand.
fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    host.sh("systemctl stop jitsudod.socket jitsudod.service jitsudo-spawn.socket jitsudo-spawn.service").ok().unwrap();
    host.write("/root/gate.py", 0o644, include_str!("../fault/gate.py")).unwrap();
    host.write(LIST, 0o644, GATED).unwrap();
    for (name, control) in STACKS {
        let line =
            |kind: &str| format!("{kind} {control} pam_jitsudo.so list-required\n{kind} required pam_permit.so\n");
        host.write(&format!("/etc/pam.d/{name}"), 0o644, ["account", "session"].map(line).concat()).unwrap();
    }
    let account = "account required pam_jitsudo.so list-required session-follows";
    let lines = format!("1i {account}\\nsession required pam_jitsudo.so list-required");
    host.sh(&format!("sed -i '{lines}' /etc/pam.d/sshd /etc/pam.d/su")).ok().unwrap();
    // A second name for uid 0.
    host.sh("echo 'toor:x:0:0::/root:/bin/sh' >>/etc/passwd").ok().unwrap();
    open_ssh_to_alice(&host).unwrap();
    host.sh(
        "cp -a /home/alice/.ssh /home/alice-adm/ && chown -R alice-adm: /home/alice-adm/.ssh; mkdir -p /root/.ssh; \
             cat /root/.ssh/id_ed25519.pub >>/root/.ssh/authorized_keys; sed -i '/LogLevel/d' /root/.ssh/config",
    )
    .ok()
    .unwrap();
    host
}

/// Somebody answers in the daemon's place from now on.
fn answer(host: &Host, mode: &str) {
    let script =
        "kill $(cat /run/gate.pid 2>/dev/null) 2>/dev/null; rm -f /run/answering /run/asked /run/jitsudo/login";
    host.sh(script).output().unwrap();
    host.sh(&format!("setsid python3 /root/gate.py {mode} >/run/gate.log 2>&1 & echo $! >/run/gate.pid")).ok().unwrap();
    let is_up = || host.run(&["test", "-e", "/run/answering"]).output().unwrap().status == 0;
    assert!(wait_until(Duration::from_secs(20), is_up), "{}", host.sh("cat /run/gate.log").ok().unwrap());
}

/// The stacks among ours that succeed: exactly one of them.
fn codes(host: &Host, account: &str, stage: &str) -> String {
    let line = format!(
        "for code in ignored success denied; do pamtester gate-$code '{account}' {stage} >/dev/null 2>&1 && echo $code; done; true"
    );
    host.sh(&line).ok().unwrap().trim().replace('\n', " ")
}

fn ssh(host: &Host, account: &str) -> Output {
    host.run(&["ssh", "-o", "BatchMode=yes", &format!("{account}@localhost"), "id", "-un"]).output().unwrap()
}

const ENTRIES: [&str; 2] = ["acct_mgmt", "open_session"];

#[test]
fn daemon_that_is_away_or_lies_is_a_denial_for_gated_accounts_and_nothing_for_others() {
    let host = host("faults");
    for stage in ENTRIES {
        assert_eq!(codes(&host, "alice-adm", stage), "denied", "{stage}: no socket");
        assert_eq!(codes(&host, "alice", stage), "ignored", "{stage}: no socket");
    }
    for mode in ["garbage", "version", "kind", "huge", "empty", "shut", "no"] {
        answer(&host, mode);
        for stage in ENTRIES {
            assert_eq!(codes(&host, "alice-adm", stage), "denied", "{stage}: {mode}");
            assert_eq!(codes(&host, "alice", stage), "ignored", "{stage}: {mode}");
        }
        for account in ["root", "toor"] {
            assert_eq!(codes(&host, account, "acct_mgmt"), "denied", "{account}: {mode}");
        }
    }
    answer(&host, "yes");
    for stage in ENTRIES {
        assert_eq!(codes(&host, "alice-adm", stage), "success", "{stage}");
    }
    assert_eq!(codes(&host, "toor", "acct_mgmt"), "success");
    host.sh("rm /run/asked").ok().unwrap();
    assert_eq!(codes(&host, "alice", "acct_mgmt"), "ignored");
    assert_ne!(host.run(&["test", "-e", "/run/asked"]).output().unwrap().status, 0, "nobody is asked about alice");
    // Listening sockets that are not root's, and a socket file without a listener.
    host.sh("kill $(cat /run/gate.pid)").ok().unwrap();
    assert_eq!(codes(&host, "alice-adm", "acct_mgmt"), "denied", "nobody listens");
    host.sh("systemctl stop jitsudo-front.path jitsudo-front.service; chown alice /run/jitsudo; setpriv --reuid=alice --clear-groups sh -c 'rm -f /run/jitsudo/login; exec setsid python3 -c \"\
             import os, socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.bind(\\\"/run/jitsudo/login\\\"); s.listen(9)\n\
             while True: p, _ = s.accept(); p.recv(5000); p.send(bytes.fromhex(\\\"6a6c010201000101020000\\\"))\"' >/dev/null 2>&1 & \
             while ! test -S /run/jitsudo/login; do :; done")
        .ok()
        .unwrap();
    assert_eq!(codes(&host, "alice-adm", "acct_mgmt"), "denied", "a daemon that is not root's");
}

#[test]
fn daemon_that_hangs_keeps_a_gated_account_out_within_five_seconds_and_delays_nobody_else() {
    let host = host("hangs");
    answer(&host, "hang");
    for (mode, script) in [("hang", "true"), ("stopped", "kill -STOP $(cat /run/gate.pid)")] {
        host.sh(script).ok().unwrap();
        let watch = Stopwatch::start();
        let output = host.run(&["pamtester", "gate-denied", "alice-adm", "acct_mgmt"]).output().unwrap();
        let taken = watch.elapsed();
        assert_eq!(output.status, 0, "{mode}: {}", output.both());
        println!("{mode}: refused after {taken:?}");
        assert!(taken > Duration::from_millis(4_500), "{mode}: {taken:?}");
        let watch = Stopwatch::start();
        host.run(&["pamtester", "gate-ignored", "alice", "acct_mgmt"]).ok().unwrap();
        not_by_the_next(mode, watch.elapsed(), GATE);
    }
    let watch = Stopwatch::start();
    assert_eq!(ssh(&host, "alice").stdout, "alice\n");
    not_by_the_next("a login beside the gate", watch.elapsed(), GATE);
    let refused = ssh(&host, "alice-adm");
    assert_eq!(refused.status, 255);
    assert!(refused.stderr.contains("alice-adm cannot be entered: the daemon does not answer"), "{}", refused.stderr);
}

#[test]
fn pam_07_list_that_is_no_list_denies_root_and_its_whole_lines_at_once() {
    let host = host("lists");
    answer(&host, "yes");
    let cut = GATED.split("service").next().unwrap();
    let damages = [
        ("cut", format!("printf '{}' >{LIST}", cut.replace('\n', "\\n"))),
        ("a line changed", format!("sed -i 's/^1003 bob/1003 bob alice-adm/' {LIST}")),
        ("somebody else's", format!("chown alice {LIST}")),
        ("writable by others", format!("chmod 666 {LIST}")),
        ("in a folder that others write", "chmod 777 /etc/jitsudo".to_owned()),
    ];
    for (damage, script) in damages {
        host.sh(&script).ok().unwrap();
        for account in ["root", "toor", "alice-adm"] {
            assert_eq!(codes(&host, account, "acct_mgmt"), "denied", "{damage}: {account}");
        }
        assert_eq!(codes(&host, "alice", "acct_mgmt"), "ignored", "{damage}");
        host.sh("chmod 755 /etc/jitsudo").ok().unwrap();
        host.sh(&format!("rm -rf {LIST}")).ok().unwrap();
        host.write(LIST, 0o644, GATED).unwrap();
        assert_eq!(codes(&host, "alice-adm", "acct_mgmt"), "success", "{damage} and mended");
    }
    // What cannot be read as a list at all names nobody but root. A fifo would hang who waits for it.
    for (damage, script) in [
        ("missing", "rm -rf LIST"),
        ("a fifo", "mkfifo LIST"),
        ("a link", "rm LIST; ln -s /etc/passwd LIST"),
        ("a folder", "rm LIST; mkdir LIST"),
    ] {
        host.sh(&script.replace("LIST", LIST)).ok().unwrap();
        let watch = Stopwatch::start();
        for account in ["root", "toor"] {
            assert_eq!(codes(&host, account, "acct_mgmt"), "denied", "{damage}: {account}");
        }
        assert_eq!(codes(&host, "alice", "acct_mgmt"), "ignored", "{damage}");
        not_by_the_next(damage, watch.elapsed(), GATE);
    }
    let lines = host.journal(&["-t", "pam_jitsudo", "-p", "alert"]).unwrap();
    assert!(lines.len() > 20, "every such login is an alert: {}", lines.len());
    // Without `list-required` a list that was never written gates nobody, and says so.
    host.sh(&format!("rm -rf {LIST}; sed -i 's/ list-required//' /etc/pam.d/gate-*")).ok().unwrap();
    assert_eq!(codes(&host, "root", "acct_mgmt"), "ignored");
}

#[test]
fn rescue_account_enters_whatever_is_broken_and_loudly() {
    let host = host("rescue");
    host.sh("sed -i 's/list-required/list-required rescue=root/' /etc/pam.d/gate-* /etc/pam.d/sshd").ok().unwrap();
    for script in ["true", "rm /etc/jitsudo/gated", "echo x >/etc/jitsudo/gated"] {
        host.sh(script).ok().unwrap();
        assert_eq!(codes(&host, "root", "acct_mgmt"), "ignored", "{script}");
        assert_eq!(codes(&host, "toor", "acct_mgmt"), "denied", "{script}: the rescue account is meant by name");
    }
    assert_eq!(ssh(&host, "root").stdout, "root\n");
    let lines = host.journal(&["-t", "pam_jitsudo", "-p", "alert"]).unwrap();
    let is_rescue = |line: &serde_json::Value| {
        line["MESSAGE"].as_str().is_some_and(|text| text.contains("rescue account root enters"))
    };
    assert!(lines.iter().any(is_rescue), "{lines:?}");
}

#[test]
fn pam_02_alone_or_sufficient_it_never_authenticates_anybody() {
    let host = host("alone");
    answer(&host, "yes");
    for stack in [
        "auth sufficient pam_jitsudo.so\n",
        "auth required pam_jitsudo.so\n",
        "auth [default=ok] pam_jitsudo.so\nauth required pam_deny.so\n",
    ] {
        for service in ["sshd", "su", "gate-success"] {
            host.write(&format!("/etc/pam.d/{service}"), 0o644, stack).unwrap();
            let output = host.run(&["pamtester", service, "alice-adm", "authenticate"]).stdin("x\n").output().unwrap();
            assert_ne!(output.status, 0, "{service}: {stack}: {}", output.both());
        }
    }
    let exact = "auth [authinfo_unavail=ignore default=die] pam_jitsudo.so\nauth required pam_permit.so\n\
                 password [ignore=ignore default=die] pam_jitsudo.so\npassword required pam_permit.so\n";
    host.write("/etc/pam.d/gate-success", 0o644, exact).unwrap();
    host.run(&["pamtester", "gate-success", "alice-adm", "authenticate"]).ok().unwrap();
    host.run(&["pamtester", "gate-success", "alice-adm", "chauthtok"]).ok().unwrap();
    assert_ne!(host.run(&["test", "-e", "/run/asked"]).output().unwrap().status, 0, "nothing is asked");
}

/// The module of the package for tests, where the one that is tried is a release's.
fn module_for_tests() -> Option<Vec<u8>> {
    let package = std::env::var_os("JITSUDO_TEST_FAILPOINTS")?;
    let script = format!("dpkg-deb --fsys-tarfile \"$1\" | tar -xO .{MODULE}");
    let output = std::process::Command::new("sh").args(["-c", &script, "sh"]).arg(package).output().unwrap();
    assert!(output.status.success() && !output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

#[test]
fn pam_05_pam_10_odd_callers_are_denied_and_a_panic_too() {
    let host = host("odd");
    push_fault(&host, "pam_fault.c", "/lib/x86_64-linux-gnu/security/pam_fault.so").unwrap();
    answer(&host, "yes");
    // pamtester gives neither terminal nor host nor remote user; names that are none are nobody's.
    let long = "a".repeat(10_000);
    for account in ["", long.as_str()] {
        assert_eq!(codes(&host, account, "acct_mgmt"), "denied", "{} bytes", account.len());
    }
    assert_eq!(codes(&host, "no-such-account", "acct_mgmt"), "ignored");
    // The account changes between its check and the session.
    let rename = "account required pam_jitsudo.so\nsession required pam_fault.so rename\n\
                  session [perm_denied=ignore default=die] pam_jitsudo.so\nsession required pam_permit.so\n";
    host.write("/etc/pam.d/gate-rename", 0o644, rename).unwrap();
    host.run(&["pamtester", "gate-rename", "alice-adm", "acct_mgmt", "open_session"]).ok().unwrap();
    host.write("/etc/pam.d/gate-rename", 0o644, rename.replace("perm_denied=ignore", "success=ok")).unwrap();
    let kept = host.run(&["pamtester", "gate-rename", "alice-adm", "acct_mgmt", "open_session"]).output().unwrap();
    assert_ne!(kept.status, 0, "{}", kept.both());
    // A panic inside, which only the builds for tests have a word for.
    if let Some(module) = module_for_tests() {
        host.write(MODULE, 0o644, module).unwrap();
    }
    host.sh("sed -i 's/list-required/list-required panic/' /etc/pam.d/gate-*").ok().unwrap();
    for stage in ENTRIES {
        assert_eq!(codes(&host, "alice", stage), "denied", "{stage}: a panic");
    }
}

#[test]
fn pam_09_two_hundred_logins_at_once_have_their_own_answers() {
    let host = host("many");
    answer(&host, "by-name");
    let line = "for n in $(seq 100); do
            { pamtester gate-success alice-adm acct_mgmt >/dev/null 2>&1 || echo alice-adm $n; } &
            { pamtester gate-denied bob acct_mgmt >/dev/null 2>&1 || echo bob $n; } &
        done; wait";
    assert_eq!(host.sh(line).ok().unwrap(), "");
}

#[test]
fn pam_03_login_over_ssh_is_settled_by_its_key_and_inherits_no_descriptor() {
    let host = host("ssh");
    answer(&host, "no");
    let refused = ssh(&host, "alice-adm");
    assert_eq!((refused.status, refused.stdout.as_str()), (255, ""), "{}", refused.both());
    assert!(refused.stderr.contains("no active grant of yours lets you in"), "{}", refused.stderr);
    answer(&host, "yes");
    assert_eq!(ssh(&host, "alice-adm").stdout, "alice-adm\n");
    // sshd tells the key only when the session is opened: asked twice, the second time with the key.
    let asked = host.sh("cat /run/asked").ok().unwrap();
    let key: String = "publickey ssh-ed25519 ".bytes().map(|byte| format!("{byte:02x}")).collect();
    let with_key: Vec<bool> = asked.lines().map(|line| line.contains(&key)).collect();
    assert_eq!(with_key, [false, true], "{asked}");
    let descriptors = |account: &str| host.sh(&format!("ssh {account}@localhost 'ls /proc/self/fd'")).ok().unwrap();
    assert_eq!(descriptors("alice-adm").replace("welcome\n", ""), descriptors("alice"));
    // The real uid 0 goes on as it always could; alice is asked about.
    assert_eq!(host.run(&["su", "alice-adm", "-c", "id -un"]).ok().unwrap(), "alice-adm\n");
    answer(&host, "no");
    assert_eq!(host.run(&["su", "alice-adm", "-c", "id -un"]).ok().unwrap(), "alice-adm\n");
    let mut terminal = host.run(&["su", "alice-adm", "-c", "id -un"]).as_user("alice").terminal().unwrap();
    terminal.answer_hidden("Password: ", "alice-adm-pw\n").unwrap();
    terminal.expect("no active grant of yours lets you in").unwrap();
    assert_ne!(terminal.wait(Duration::from_secs(20)).unwrap(), 0);
    let caller: String = "alice".bytes().map(|byte| format!("{byte:02x}")).collect();
    let asked = host.sh("cat /run/asked").ok().unwrap();
    assert!(asked.contains(&format!("060004000003e9070005{caller}08")), "by its real uid: {asked}");
}

#[test]
fn module_shows_six_functions_and_needs_what_every_host_has() {
    let host = host("symbols");
    let needed = host.sh(&format!("ldd {MODULE}")).ok().unwrap();
    for library in needed.lines().filter_map(|line| line.split_whitespace().next()) {
        let known =
            ["linux-vdso", "libpam.so.0", "libgcc_s.so.1", "libc.so.6", "/lib64/ld-linux", "libaudit", "libcap-ng"];
        assert!(known.iter().any(|known| library.starts_with(known)), "{library}");
    }
    // Loaded and unloaded again and again, in 32 MB.
    let loads = "ulimit -v 32768; for n in $(seq 50); do pamtester gate-ignored alice acct_mgmt >/dev/null 2>&1 || echo $n; done";
    assert_eq!(host.sh(loads).ok().unwrap(), "");
}
