//! Who calls it and how: over ssh with and without a terminal, in the background, from scripts, with odd descriptors and signals, and
//! callers that are gone. Everything is first shown for the real sudo on the same host.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{host_with_jitsudo_as_sudo, open_ssh_to_alice};
use jitsudo_tests::{Host, HostCommand, Shell, package_file, wait_until};

const BOTH: [&str; 2] = ["sudo.real", "sudo"];

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| host_with_jitsudo_as_sudo(name, &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    open_ssh_to_alice(&host).unwrap();
    host.sh("ssh -M -S /root/.ssh/shared -fN alice@localhost </dev/null >/dev/null 2>&1").ok().unwrap();
    host
}

fn patiently(condition: impl FnMut() -> bool) -> bool {
    wait_until(Duration::from_secs(20), condition)
}

fn is_running(host: &Host, command: &str) -> bool {
    host.run(&["pgrep", "-f", "-x", command]).output().unwrap().status == 0
}

/// A line of alice's through sshd, without a terminal, over a connection that is there already.
fn ssh<'a>(host: &'a Host, line: &str) -> HostCommand<'a> {
    host.run(&["ssh", "-T", "-S", "/root/.ssh/shared", "alice@localhost", line])
}

/// Both sudos answer alike to each of these lines with `SUDO` in it: status, output, errors.
///
/// Each line has a bash of its own; all of them have one connection.
fn are_alike(host: &Host, lines: &[&str]) {
    let [real, ours] = BOTH.map(|sudo| {
        let script: String = lines
            .iter()
            .map(|line| format!("bash -c {} </dev/null 2>err; echo status $?; cat err; printf '\\0'\n", quoted(line)))
            .collect();
        host.write("/tmp/script", 0o644, script.replace("SUDO", sudo)).unwrap();
        ssh(host, "sh /tmp/script").ok().unwrap()
    });
    for ((line, real), ours) in lines.iter().zip(real.split('\0')).zip(ours.split('\0')) {
        assert_eq!(ours, real, "{line}");
        assert!(real.contains("status "), "{line}: {real}");
    }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[test]
fn ssh_without_a_terminal_keeps_streams_and_status_apart() {
    let host = host("ssh");
    are_alike(
        &host,
        &[
            "SUDO id -un",
            "SUDO sh -c 'echo out; echo err >&2; exit 3'",
            "SUDO sh -c 'exit 0' && echo yes",
            "SUDO tty; echo $?",
            "SUDO ps -o tty= -p self 2>/dev/null; SUDO sh -c 'ps -o tty= -p $$'",
            "(SUDO sh -c 'kill -USR1 $$'; exit $?) 2>/dev/null; echo $?",
            "SUDO -u bob sh -c 'id -un; pwd; echo $HOME'",
            "SUDO -n true; echo $?",
            "SUDO -- echo -n x",
            "SUDO COLOUR=red sh -c 'echo $COLOUR'",
            "SUDO -i pwd",
            "SUDO -i -u bob echo '$HOME' '\"a b\"'",
            "SUDO -s echo '$HOME'",
            "SUDO no-such-program >/dev/null 2>&1; echo $?",
            "seq 10000 | SUDO sort -n | SUDO tail -n 1",
            "SUDO cat </etc/shadow 2>/dev/null; echo $?",
            "SUDO cat /etc/shadow >/dev/null; echo $?",
        ],
    );
    // Input arrives whole, and nothing of what is behind the command's share is taken.
    for sudo in BOTH {
        let line = format!("{sudo} head -c 5 >/dev/null; cat");
        assert_eq!(ssh(&host, &line).stdin("12345rest").ok().unwrap(), "rest", "{sudo}");
        let whole = ssh(&host, &format!("{sudo} wc -c")).stdin(vec![b'x'; 3_000_000]);
        assert_eq!(whole.ok().unwrap().trim(), "3000000", "{sudo}");
    }
}

#[test]
fn ssh_with_a_terminal_prompts_sizes_and_interrupts() {
    let host = host("ssht");
    for (number, sudo) in [(2101, "sudo.real"), (2102, "sudo")] {
        let remote = host.run(&["ssh", "-tt", "alice@localhost", "bash --norc --noprofile --noediting -i"]);
        let mut shell = Shell::on(remote.terminal().unwrap()).unwrap();
        let before = shell.line("stty -a").unwrap();
        assert_eq!(shell.line(&format!("{sudo} stty size")).unwrap(), "24 80\r\n");
        assert!(shell.line(&format!("{sudo} tty")).unwrap().starts_with("/dev/pts/"));
        shell.send(&format!("{sudo} sh -c 'read answer; echo got-$answer'\n")).unwrap();
        shell.send("an answer\n").unwrap();
        shell.expect("got-an answer").unwrap();
        shell.expect(Shell::PROMPT).unwrap();
        let mut interrupted = || {
            shell.send(&format!("{sudo} sleep {number}\n")).unwrap();
            let command = format!("sleep {number}");
            assert!(patiently(|| is_running(&host, &command)), "{sudo}");
            shell.resize(33, 99).unwrap();
            shell.send("\x03").unwrap();
            shell.expect(Shell::PROMPT).unwrap()
        };
        let mut seen = interrupted();
        // The real one's monitor, when it has not yet seen that the command began, takes its end for a failed start.
        while sudo == "sudo.real" && seen.contains("unable to execute") {
            seen = interrupted();
        }
        let after = shell.line(&format!("echo $?; {sudo} stty size")).unwrap();
        assert_eq!(after, "130\r\n33 99\r\n", "{sudo}: {seen:?}");
        shell.resize(24, 80).unwrap();
        assert_eq!(shell.line("stty -a").unwrap(), before, "{sudo}");
        // One command with a terminal, as `ssh -t host sudo …`.
        let output = host.run(&["ssh", "-tt", "alice@localhost", &format!("{sudo} sh -c 'id -un; exit 5'")]);
        let mut terminal = output.terminal().unwrap();
        terminal.expect("root\r\n").unwrap();
        assert_eq!(terminal.wait(Duration::from_secs(20)).unwrap(), 5, "{sudo}");
    }
}

#[test]
fn connection_that_is_cut_takes_the_command_with_it_unless_it_is_shielded() {
    let host = host("cut");
    for (number, sudo) in [(2111, "sudo.real"), (2112, "sudo")] {
        let (plain, shielded) = (format!("sleep {number}"), format!("sleep {number}9"));
        let line = format!("nohup {sudo} {shielded} >/dev/null 2>&1 & {sudo} {plain}");
        let terminal = host.run(&["ssh", "-tt", "alice@localhost", &line]).terminal().unwrap();
        assert!(patiently(|| is_running(&host, &plain) && is_running(&host, &shielded)), "{sudo}");
        // The network goes: sshd's processes of this login end without a word to anybody.
        host.sh("pkill -KILL -u alice sshd; pkill -KILL -f '^sshd: alice'").output().unwrap();
        assert!(patiently(|| !is_running(&host, &plain)), "{sudo}: a lost terminal must end its command");
        drop(terminal);
        assert!(is_running(&host, &shielded), "{sudo}: nohup shields from the hang-up");
        host.run(&["pkill", "-f", "-x", &shielded]).ok().unwrap();
    }
}

#[test]
fn background_scripts_and_odd_descriptors_are_as_under_sudo() {
    let host = host("odd");
    are_alike(
        &host,
        &[
            // Scripts without job control.
            "printf 'SUDO true\\nSUDO id -un\\nwait\\nSUDO sh -c \"exit 9\"\\n' >s.sh; sh s.sh; echo $?",
            "sh -c 'SUDO id -un & wait'",
            "sh -c 'for i in 1 2 3; do SUDO sh -c \"echo $i\" & done; wait' | sort",
            "nohup SUDO sh -c 'echo out; grep SigIgn /proc/self/status | tail -c 2' </dev/null 2>/dev/null",
            "echo in | while read x; do SUDO echo $x; done",
            "printf 'a\\nb\\nc\\n' | while read x; do SUDO echo $x </dev/null; done",
            "x=$(SUDO id -u); echo \"[$x]\"",
            "SUDO cat <<< here | SUDO tr a-z A-Z",
            "SUDO sh -c 'cat; echo done' < <(echo in)",
            "diff <(SUDO cat /etc/debian_version) /etc/debian_version && echo same",
            "echo x | SUDO tee /root/a | SUDO tee /root/b; SUDO cat /root/a /root/b",
            "timeout 1 SUDO sleep 100; echo $?",
            "SUDO timeout 1 sleep 100; echo $?",
            // Descriptors.
            "SUDO sh -c 'echo lost >&2; exit 0' 2>&-; echo $?",
            "SUDO sh -c 'exit 4' <&- >&- 2>&-; echo $?",
            "exec 7</etc/passwd 8>/dev/null; SUDO sh -c 'ls /proc/$$/fd' | grep -c '[78]'",
            "SUDO cat /dev/zero | head -c 5 | od -An -tx1; echo ${PIPESTATUS[0]}",
            "SUDO sh -c 'exec >/dev/full; echo x' 2>/dev/null; echo $?",
            "flock /tmp/lock SUDO id -un",
            // Long lists: a glob of a big folder, and what xargs hands over.
            "SUDO echo $(seq 60000) | md5sum",
            "seq 60000 | xargs SUDO echo | tr ' ' '\\n' | md5sum",
            "for n in $(seq 900); do export V$n=$n-$n-$n; done; SUDO id -un",
            // Signals that the caller ignores or has blocked.
            "python3 -c 'import signal, subprocess; signal.signal(signal.SIGCHLD, signal.SIG_IGN); p = subprocess.Popen([\"SUDO\", \"sh\", \"-c\", \"sleep 0.2; echo ran\"]); p.wait()'",
            "trap '' CHLD PIPE TERM; SUDO sh -c 'true; false'; echo $?",
            "python3 -c 'import os, signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32)); os.execvp(\"SUDO\", [\"SUDO\", \"sh\", \"-c\", \"exit 6\"])'; echo $?",
            "env -i /usr/bin/SUDO sh -c 'echo $USER $PATH'",
            "setsid -w SUDO id -un",
            "cd /; SUDO -u bob pwd",
            "ulimit -n 64; SUDO sh -c 'ulimit -n'",
            "SUDO xargs -n 1 echo <<< 'a b'",
            "find /etc/debian_version -exec SUDO echo {} \\;",
            "yes | head -n 3 | xargs -I{} SUDO echo {}",
        ],
    );
    // A command that ignores what its client passes on is still ended with a client that is killed.
    for (number, sudo) in [(2121, "sudo.real"), (2122, "sudo")] {
        let command = format!("sleep {number}");
        ssh(&host, &format!("nohup {sudo} {command} >/dev/null 2>&1 </dev/null & sleep 0.1")).ok().unwrap();
        assert!(patiently(|| is_running(&host, &command)), "{sudo}: & over ssh must outlive the login");
        host.run(&["pkill", "-KILL", "-f", "-x", &format!("{sudo} {command}")]).ok().unwrap();
        if sudo == "sudo" {
            // The real one leaves it behind when there is no terminal.
            assert!(patiently(|| !is_running(&host, &command)), "a killed client must take its command with it");
        }
        host.run(&["pkill", "-f", "-x", &command]).output().unwrap();
    }
}
