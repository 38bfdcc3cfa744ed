//! What accounts without a right learn, reach and pretend: nothing. Names carry the rows of the abuse cases.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{EVERYTHING, apply_policy, installed_host};
use jitsudo_tests::{Host, Output, Stopwatch, not_by_the_next, package_file, wait_until};

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    apply_policy(&host, EVERYTHING).unwrap();
    host
}

fn by(host: &Host, user: &str, line: &str) -> Output {
    host.sh(line).as_user(user).output().unwrap_or_else(|error| panic!("{error}"))
}

fn alice(host: &Host, line: &str) -> Output {
    by(host, "alice", line)
}

/// What stays of an answer when the path, and how it is recorded, are taken out.
fn shape(output: &Output, path: &str) -> String {
    let text = output.both().replace(path, "PATH");
    text.split("; ").next().unwrap_or_default().to_owned()
}

#[test]
fn info_leak_01_04_answers_tell_nothing_of_files_rules_or_people() {
    let host = host("leaks");
    host.sh("mkdir -m 700 /root/x; cp /bin/true /root/x/tool; cp /etc/shadow /root/x/data; mkdir /root/x/folder; mkfifo /root/x/fifo; ln -s /usr/bin/id /root/x/link; install -d -m 700 -o alice /home/alice/own; install -o alice /bin/true /home/alice/own/tool").ok().unwrap();
    for folder in ["/root/x", "/home/alice/own"] {
        for target in ["", "-u alice ", "-u root "] {
            let ask = |name: &str| {
                let path = format!("{folder}/{name}");
                shape(&by(&host, "bob", &format!("jitsudo {target}{path}")), &path)
            };
            let absent = ask("nothing");
            assert!(absent.contains("not allowed: PATH as "), "{absent}");
            for name in ["tool", "data", "folder", "fifo", "link", "folder/below", "tool/below"] {
                assert_eq!(ask(name), absent, "{target}{folder}/{name}");
            }
        }
    }
    let own = by(&host, "bob", "jitctl log --json; jitctl policy explain /root/x/link");
    assert!(!own.stdout.contains("/usr/bin/id"), "{}", own.stdout);
    let answers = "jitctl log --user alice; jitctl log --all; jitctl sessions --all; jitctl policy explain --user alice id; \
                   jitctl policy explain id; jitctl roles; jitctl; jitctl log; jitctl policy status; jitsudo -l -U alice; \
                   jitsudo id; jitsudo -u nobody id; jitsudo -s; jitsudo -i; jitsudo --role everything id; \
                   jitsudo --role no-such-role id; cat /var/lib/jitsudo/*/* /run/jitsudo/sessions/*; journalctl -t jitsudod";
    let said = by(&host, "bob", answers).both();
    let words: Vec<&str> = said.split(|letter: char| !letter.is_alphanumeric()).collect();
    // Whom he asked to be is his own word.
    let of_alice = |line: &&str| line.replace("as alice", "").contains("alice");
    assert_eq!(said.lines().find(of_alice), None, "bob is told of alice");
    assert!(!words.contains(&"panicked") && !said.contains(".rs:") && !said.contains("0x7"), "{said}");
    let roles = by(&host, "bob", "jitsudo --role everything id").both().replace("everything", "no-such-role");
    let none = by(&host, "bob", "jitsudo --role no-such-role id").both();
    assert_eq!(roles.split("; ").next(), none.split("; ").next(), "a role of others sounds like none");
}

#[test]
fn info_leak_03_signal_ptrace_02_07_processes_of_others_are_out_of_reach() {
    let host = host("reach");
    let reach = r#"setsid jitsudo sleep 4714 secret-word 2>/dev/null & sleep 0.1
jitsudo sleep 4715 >/dev/null 2>&1 &
for i in $(seq 100); do pgrep -x sleep >/dev/null && break; sleep 0.1; done
for p in $(pidof jitsudod jitsudo-spawn jitsudo-session jitsudo-facts) $(pgrep -u root -x sleep); do
    for f in environ maps mem io stack auxv; do head -c 1 /proc/$p/$f 2>/dev/null && echo "read $f of $p"; done
    ls /proc/$p/fd >/dev/null 2>&1 && echo "fds of $p"
    readlink /proc/$p/exe /proc/$p/cwd
    for s in 0 HUP USR1 TERM STOP KILL RTMAX; do kill -$s $p 2>/dev/null && echo "signal $s to $p"; done
    strace -o /dev/null -p $p 2>&1 | grep -v 'not permitted'
    echo seen >&2
done
kill %2"#;
    let output = alice(&host, reach);
    assert_eq!(output.stdout, "", "{}", output.both());
    let seen = output.stderr.matches("seen").count();
    assert!(seen >= 5, "{seen} processes: {}", output.both());
    // The client waits for the session: its own account may not read it either.
    let client = "jitsudo sleep 4716 & sleep 0.5; head -c 1 /proc/$!/environ 2>&1 | grep -o denied; strace -o /dev/null -p $! 2>&1 | grep -o 'not permitted'; kill $!";
    assert_eq!(alice(&host, client).stdout, "denied\nnot permitted\n");
    assert_eq!(alice(&host, "jitsudo id -un").stdout, "root\n");
}

#[test]
fn identity_nss_01_deleted_and_made_again_account_is_another_and_the_command_still_ends() {
    let host = host("again");
    apply_policy(&host, &EVERYTHING.replace("auth = \"none\"", "auth = \"none\"\nrun-time = \"5s\"")).unwrap();
    let runs = || host.run(&["pgrep", "-x", "-f", "sleep 4720"]).output().unwrap().status == 0;
    std::thread::scope(|scope| {
        let old = scope.spawn(|| alice(&host, "jitsudo sleep 4720"));
        assert!(wait_until(Duration::from_secs(10), runs));
        host.sh("userdel -f alice 2>/dev/null; useradd -m -d /home/alice2 -u 2001 -s /bin/bash alice; useradd -o -u 1001 -m -s /bin/bash namesake").ok().unwrap();
        let new = alice(&host, "id -u; jitctl log --json; jitctl sessions --json");
        assert!(new.stdout.starts_with("2001\n") && !new.stdout.contains("4720"), "{}", new.both());
        let same_uid = by(&host, "namesake", "jitsudo id -un");
        assert_eq!((same_uid.status, same_uid.stdout.as_str()), (1, ""), "{}", same_uid.both());
        assert!(wait_until(Duration::from_secs(12), || !runs()), "the end must not need the account");
        let _ = old.join().unwrap();
    });
    let log = || host.run(&["jitctl", "log", "--json", "--all"]).ok().unwrap();
    assert!(wait_until(Duration::from_secs(10), || log().contains("\"closed\"")), "{}", log());
}

#[test]
fn identity_nss_04_07_08_10_11_accounts_are_their_ids_and_odd_ones_are_harmless() {
    let host = host("names");
    // 04: a second name of uid 0 or of one's own.
    apply_policy(&host, &format!("{EVERYTHING}\n[[deny]]\nname = \"nobody is root\"\nas = [\"root\"]\n")).unwrap();
    host.sh("useradd -o -u 0 -M toor; useradd -o -u 1001 -M -d /home/alice -s /bin/bash alice2").ok().unwrap();
    for target in ["root", "toor", "'#0'"] {
        let refused = alice(&host, &format!("jitsudo -u {target} id -un"));
        assert_eq!((refused.status, refused.stdout.as_str()), (1, ""), "{target}: {}", refused.both());
    }
    assert_eq!(alice(&host, "jitsudo -u bob id -un").stdout, "bob\n");
    assert_eq!(by(&host, "alice2", "jitsudo -u bob id -un").stdout, "bob\n");
    let log = host.run(&["jitctl", "log", "--json", "--all"]).ok().unwrap();
    assert!(!log.contains("alice2"), "one uid is one account:\n{log}");

    // 07: what the databases list counts for an allow, that and what the process carries for a deny.
    let group = EVERYTHING.replace("who = [\"alice\"]", "who = [\"%sre\"]");
    apply_policy(&host, &group).unwrap();
    let carries = "setpriv --reuid bob --regid bob --groups $(getent group sre | cut -d: -f3) jitsudo id -un";
    let carried = host.sh(carries).output().unwrap();
    assert_eq!((carried.status, carried.stdout.as_str()), (1, ""), "a group that is only carried: {}", carried.both());
    host.sh("usermod -a -G sre carol").ok().unwrap();
    let listed = host.sh("setpriv --reuid carol --regid carol --clear-groups jitsudo id -un").output().unwrap();
    assert_eq!(listed.stdout, "root\n", "a group that is only listed: {}", listed.both());
    let denied = EVERYTHING.replace("who = [\"alice\"]", "who = [\"ALL\"]");
    apply_policy(&host, &format!("{denied}\n[[deny]]\nname = \"no sre\"\nwho = [\"%sre\"]\n")).unwrap();
    for line in [carries, "setpriv --reuid carol --regid carol --clear-groups jitsudo id -un"] {
        let refused = host.sh(line).output().unwrap();
        assert_eq!((refused.status, refused.stdout.as_str()), (1, ""), "{line}: {}", refused.both());
    }

    // 08: a uid that has no account.
    let nobody = host.sh("setpriv --reuid 4242 --regid 4242 --clear-groups jitsudo id -un").output().unwrap();
    assert_eq!((nobody.status, nobody.stdout.as_str()), (1, ""), "{}", nobody.both());
    assert!(nobody.stderr.contains("uid 4242 has no account on this host"), "{}", nobody.stderr);

    // 10: a name server that does not answer, and a host whose name nobody knows.
    apply_policy(&host, EVERYTHING).unwrap();
    host.sh("sed -i 's/^hosts:.*/hosts: dns/' /etc/nsswitch.conf; echo nameserver 192.0.2.1 > /etc/resolv.conf; hostname unheard-of").ok().unwrap();
    host.sh("systemctl restart jitsudo-spawn jitsudod").ok().unwrap();
    assert!(wait_until(Duration::from_secs(10), || alice(&host, "jitsudo id -un").stdout == "root\n"));
    let watch = Stopwatch::start();
    assert_eq!(alice(&host, "jitsudo id -un").stdout, "root\n");
    let resolver = ("a resolver that asks once", Duration::from_secs(5));
    not_by_the_next("a command beside a name server that does not answer", watch.elapsed(), resolver);
    let resolvers =
        "grep -l -a -E 'getaddrinfo|gethostbyname|getnetgrent|innetgr' /usr/sbin/jitsudod /usr/libexec/jitsudo/*";
    assert_eq!(
        host.sh(resolvers).output().unwrap().stdout,
        "",
        "no program of the daemon may ask for hosts or netgroups"
    );

    // 11: entries that no tool would write.
    apply_policy(&host, &EVERYTHING.replace("run = [\"ALL\"]", "run = [\"ALL\"]\nshell = true")).unwrap();
    let entries = "printf '%s\\n' 'o1:x:3001:1005:a:/:/bin/false' 'o2:x:3002:1005:\\033[2J%n$(id):/tmp:/bin/sh' 'o3:x:3003:1005::/tmp:' 'o4:x:3004:1005::/no/home:/no/shell' >> /etc/passwd";
    host.sh(entries).ok().unwrap();
    for (account, id) in [("o1", 3001), ("o2", 3002), ("o3", 3003), ("o4", 3004)] {
        assert_eq!(alice(&host, &format!("jitsudo -u {account} id -u")).stdout, format!("{id}\n"), "{account}");
    }
    let shells = [("o1", "-i", false), ("o1", "-s", true), ("o2", "-i", true), ("o3", "-i", true), ("o4", "-i", false)];
    for (account, option, works) in shells {
        let shell = alice(&host, &format!("SHELL=/bin/sh jitsudo -u {account} {option} id -u"));
        assert_eq!(shell.stdout.starts_with("300"), works, "{account} {option}: {}", shell.both());
        assert!(works || shell.status != 0, "{account} {option}: {}", shell.both());
    }
    let daemons = host.sh("systemctl show -p NRestarts jitsudod jitsudo-spawn").ok().unwrap();
    assert_eq!(daemons.matches("NRestarts=0").count(), 2, "{daemons}");
}

#[test]
fn cmd_match_20_21_fs_race_06_words_options_and_folders_are_data() {
    let host = host("data");
    // 20: nothing is a format.
    let name = "%n%n%s%p";
    let lines = [
        format!("jitsudo printf '%s' '{name}'"),
        format!("cp /usr/bin/jitsudo '/tmp/{name}'; '/tmp/{name}' echo -n '{name}'"),
        format!("(exec -a '{name}' jitsudo echo -n '{name}')"),
        format!("jitsudo -p '{name}' --reason '{name}' --ticket '{name}' echo -n '{name}'"),
        format!("jitsudo FOO='{name}' echo -n '{name}'"),
    ];
    for line in &lines {
        let output = alice(&host, line);
        assert!(output.stdout == name || output.status == 1, "{line}: {}", output.both());
        assert!(output.status != 139 && !output.stderr.contains("(nil)"), "{line}: {}", output.both());
    }
    for line in [format!("jitsudo '{name}'"), format!("jitsudo -u '{name}' id"), format!("jitsudo -g '{name}' id")] {
        let output = alice(&host, &line);
        assert!(output.status == 1 && output.stderr.contains(name), "{line}: {}", output.both());
    }
    let log = host.run(&["jitctl", "log"]).ok().unwrap();
    assert!(log.contains(&format!("\"{name}\"")), "{log}");

    // 21: a folder that is named twice, empty, missing, unreadable: a no each time, and nothing is kept of it.
    let chosen = EVERYTHING.replace("as = [\"ALL\"]", "as = [\"ALL\"]\ncwd = \"any\"");
    apply_policy(&host, &chosen).unwrap();
    let twice = chosen.replace("cwd = \"any\"", "cwd = \"any\"\ncwd = \"/\"");
    assert!(apply_policy(&host, &twice).is_err(), "a key that stands twice was applied");
    apply_policy(&host, &chosen).unwrap();
    assert_eq!(alice(&host, "jitsudo -D /usr pwd").stdout, "/usr\n");
    let descriptors =
        || host.sh("for p in $(pidof jitsudod jitsudo-spawn); do ls /proc/$p/fd; done | wc -l").ok().unwrap();
    let before = descriptors();
    let rounds = "for i in $(seq 60); do for d in '' /no/such /etc/passwd /root/.bashrc '%n'; do jitsudo -D \"$d\" pwd && echo ran; done; done 2>/dev/null";
    assert_eq!(alice(&host, rounds).stdout, "");
    let count = |text: String| text.trim().parse::<u32>().unwrap();
    let settled = || count(descriptors()) <= count(before.clone()) + 3;
    assert!(wait_until(Duration::from_secs(70), settled), "{before} descriptors before, {} after", descriptors());

    // fs-race-06: what lies in the caller's folder is not ours, and no program of ours stands in it.
    let planted = "mkdir /tmp/p; cd /tmp/p; for n in id sudoers libc.so.6 ld.so.preload .gdbinit .profile jitsudo-session; do printf '#!/bin/sh\\necho PLANTED\\n' > $n; chmod +x $n; done; ";
    for line in ["jitsudo id -un", "PATH=.:/tmp/p:$PATH jitsudo id -un", "LD_LIBRARY_PATH=. /usr/bin/jitsudo id -un"] {
        assert_eq!(alice(&host, &format!("{planted}{line}")).stdout, "root\n", "{line}");
    }
    let folders = "cd /tmp; jitsudo sleep 4730 & sleep 0.5; for p in $(jitsudo pidof jitsudod jitsudo-spawn jitsudo-session jitsudo-facts); do jitsudo readlink /proc/$p/cwd; done | sort | uniq; kill %1";
    assert_eq!(alice(&host, folders).stdout, "/\n");
}
