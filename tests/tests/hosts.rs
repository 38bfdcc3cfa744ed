//! The test hosts themselves: what every other host test relies on.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::{Host, Options, Root, leftovers, wait_until};

fn boot(name: &str, suite: &str) -> Host {
    let root = Root::debian(suite).unwrap_or_else(|error| panic!("{error}"));
    Host::boot(name, &root, Options::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn machine_network() -> String {
    let output = std::process::Command::new("ip").args(["-o", "link"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| line.split(" mtu").next().unwrap().to_owned() + "\n")
        .collect()
}

fn commands_keep_status_input_and_output(host: &Host) {
    assert_eq!(host.sh("exit 7").output().unwrap().status, 7);
    assert_eq!(host.sh("kill -9 $$").output().unwrap().status, 137);
    assert_eq!(host.run(&["/nonexistent"]).output().unwrap().status, 127);
    let output = host.sh("cat; echo to stderr >&2").stdin("given\n").output().unwrap();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("given\n", "to stderr\n"));
    assert_eq!(host.run(&["sleep", "30"]).limit(Duration::from_secs(1)).output().unwrap().status, 124);
    host.write("/etc/deep/er/file", 0o640, "it's\n").unwrap();
    assert_eq!(host.run(&["stat", "-c", "%a %U", "/etc/deep/er/file"]).ok().unwrap(), "640 root\n");
    let failed = host.sh("systemctl list-units --failed --no-legend").ok().unwrap();
    assert_eq!(failed, "", "no unit of a fresh host may have failed");
    host.sh("logger -t jst hello").ok().unwrap();
    let entries = host.journal(&["-t", "jst"]).unwrap();
    assert_eq!(entries.first().and_then(|entry| entry.get("MESSAGE")).and_then(|text| text.as_str()), Some("hello"));
}

fn root_commands_are_nobodys_and_in_no_unit(host: &Host) {
    let seen = host.sh("cat /proc/self/loginuid; echo; grep ^0:: /proc/self/cgroup").ok().unwrap();
    assert_eq!(seen, "4294967295\n0::/jst-run\n");
}

fn a_user_is_logged_in(host: &Host) {
    let look = "id -un; cat /proc/self/loginuid; echo; grep ^0:: /proc/self/cgroup; pwd; test -t 0 && echo tty";
    let seen = host.sh(look).as_user("alice").output().unwrap().stdout;
    let lines: Vec<&str> = seen.lines().collect();
    let [name, login, cgroup, home] = lines.as_slice() else { panic!("{seen}") };
    assert_eq!((*name, *login, *home), ("alice", "1001", "/home/alice"));
    assert!(cgroup.contains("user-1001.slice/session-"), "{cgroup}");
    let given = host.sh("echo $GIVEN; exit 3").as_user("alice").env("GIVEN=a 'b'").output().unwrap();
    assert_eq!((given.status, given.stdout.as_str()), (3, "a 'b'\n"));
    assert_eq!(host.run(&["id", "-Gn", "admin"]).ok().unwrap(), "admin sudo\n");
}

fn a_terminal_is_a_login_too(host: &Host) {
    // Without line editing: what is typed early is not swallowed by the editor's own set-up.
    let mut terminal = host.run(&["bash", "--norc", "--noediting"]).as_user("alice").terminal().unwrap();
    terminal.expect("$ ").unwrap();
    terminal.send("echo login $(cat /proc/self/loginuid) on $(tty)\n").unwrap();
    let seen = terminal.expect("on /dev/pts/").unwrap();
    assert!(seen.contains("login 1001 "), "{seen}");
    terminal.expect("$ ").unwrap();
    terminal.resize(33, 101).unwrap();
    terminal.send("stty size\n").unwrap();
    terminal.expect("33 101").unwrap();
    terminal.expect("$ ").unwrap();
    // Job control, as on a real terminal.
    let in_foreground = || host.run(&["ps", "-C", "sleep", "-o", "stat="]).output().unwrap().stdout.contains("S+");
    terminal.send("sleep 100\n").unwrap();
    assert!(wait_until(Duration::from_secs(10), in_foreground));
    terminal.send("\x1a").unwrap();
    terminal.expect("Stopped").unwrap();
    terminal.expect("$ ").unwrap();
    terminal.send("fg\n").unwrap();
    assert!(wait_until(Duration::from_secs(10), in_foreground));
    terminal.send("\x03").unwrap();
    terminal.expect("$ ").unwrap();
    terminal.send("exit 5\n").unwrap();
    assert_eq!(terminal.wait(Duration::from_secs(10)).unwrap(), 5);
    // The harness answers as fast as it can; the real sudo must get every letter.
    let mut sudo = host.run(&["sudo", "id", "-un"]).as_user("admin").terminal().unwrap();
    sudo.answer_hidden("password for admin:", "admin-pw").unwrap();
    sudo.expect("root").unwrap();
    assert_eq!(sudo.wait(Duration::from_secs(10)).unwrap(), 0);
}

fn a_hung_up_terminal_ends_its_shell(host: &Host) {
    let mut terminal = host.run(&["bash"]).as_user("bob").terminal().unwrap();
    terminal.expect("$ ").unwrap();
    terminal.send("sleep 4711\n").unwrap();
    let sleeps = || host.run(&["pgrep", "-f", "^sleep 4711"]).output().unwrap().status == 0;
    assert!(wait_until(Duration::from_secs(10), sleeps));
    drop(terminal);
    assert!(wait_until(Duration::from_secs(10), || !sleeps()));
}

fn everything_of_a_host(suite: &str) {
    let network = machine_network();
    {
        let host = boot("one", suite);
        commands_keep_status_input_and_output(&host);
        root_commands_are_nobodys_and_in_no_unit(&host);
        a_user_is_logged_in(&host);
        a_terminal_is_a_login_too(&host);
        a_hung_up_terminal_ends_its_shell(&host);
        assert_ne!(leftovers(), Vec::<String>::new(), "a running host must be visible to the check itself");
    }
    assert_eq!(leftovers(), Vec::<String>::new());
    assert_eq!(machine_network(), network);
}

#[test]
fn bookworm_host_runs_commands_as_root_and_as_people_and_leaves_no_trace() {
    everything_of_a_host("bookworm");
}

#[test]
fn trixie_host_runs_commands_as_root_and_as_people_and_leaves_no_trace() {
    everything_of_a_host("trixie");
}

#[test]
fn power_cut_keeps_what_was_synced_and_loses_the_rest() {
    let mut host = boot("cut", "bookworm");
    host.sh("echo kept > /root/synced; sync /root/synced /root; echo lost > /root/unsynced").ok().unwrap();
    host.power_cut().unwrap();
    assert!(host.run(&["true"]).output().is_err(), "a host without power must not answer");
    host.start().unwrap();
    assert_eq!(host.sh("cat /root/synced").ok().unwrap(), "kept\n");
    assert_eq!(host.sh("cat /root/unsynced 2>/dev/null").output().unwrap().stdout, "");
    // SIGKILL alone takes no data: the kernel still writes it.
    host.sh("echo kept > /root/killed").ok().unwrap();
    host.kill9();
    host.start().unwrap();
    assert_eq!(host.sh("cat /root/killed").ok().unwrap(), "kept\n");
    host.halt().unwrap();
    host.start().unwrap();
    assert!(host.start().is_err(), "a host that is up must not be booted twice");
    let boots = host.sh("journalctl --quiet --list-boots | wc -l").ok().unwrap();
    assert!(boots.trim().parse::<u32>().unwrap() >= 3, "{boots}");
}

#[test]
fn two_hosts_reach_each_other_by_name_and_end_alone() {
    let root = Root::debian("bookworm").expect("a root");
    let mut first = Host::boot("left", &root, Options::default()).unwrap();
    let second = Host::boot("right", &root, Options::default()).unwrap();
    second.sh("nc -z -w 5 left 22").ok().unwrap();
    first.sh("nc -z -w 5 right 22").ok().unwrap();
    assert_ne!(first.address(), second.address());
    first.kill9();
    assert_eq!(second.sh("hostname").ok().unwrap(), "right\n");
    drop(first);
    drop(second);
    assert_eq!(leftovers(), Vec::<String>::new());
}

#[test]
fn small_disk_can_be_filled() {
    let root = Root::debian("bookworm").unwrap();
    let host = Host::boot("full", &root, Options { disk_bytes: 64 << 20, ..Options::default() }).unwrap();
    let output = host.sh("cat /dev/zero > /var/filler").output().unwrap();
    assert!(output.stderr.contains("No space left"), "{}", output.stderr);
}
