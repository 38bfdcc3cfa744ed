//! Programs that own a terminal, under jitsudo called as sudo: vim, less, htop, shells, tmux.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::host_with_jitsudo_as_sudo;
use jitsudo_tests::{Host, Shell, package_file, wait_until};

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| host_with_jitsudo_as_sudo(name, &package));
    host.unwrap_or_else(|error| panic!("{error}"))
}

fn patiently(condition: impl FnMut() -> bool) -> bool {
    wait_until(Duration::from_secs(20), condition)
}

/// The states (`ps`) of the processes whose command line is exactly this.
fn states(host: &Host, command: &str) -> String {
    let output = host.run(&["pgrep", "-f", "-x", command, "-d", ","]).output().unwrap();
    if output.status != 0 {
        return String::new();
    }
    host.run(&["ps", "-o", "stat=", "-p", output.stdout.trim()]).output().unwrap().stdout
}

/// Modes that the shell finds after each program, to be compared with those before.
fn modes(shell: &mut Shell) -> String {
    shell.line("stty -a").unwrap()
}

#[test]
fn vim_edits_a_file_of_root_through_stop_continue_and_resize() {
    let host = host("vim");
    host.write("/root/notes", 0o600, "first line\n").unwrap();
    let mut shell = Shell::that_mends_nothing(&host, "alice").unwrap();
    let before = modes(&mut shell);
    shell.send("sudo vim -Nu NONE /root/notes\n").unwrap();
    shell.expect("first line").unwrap();
    shell.send("osecond line\x1b").unwrap();
    shell.expect("second line").unwrap();

    shell.send("\x1a").unwrap();
    shell.expect("Stopped").unwrap();
    shell.expect(Shell::PROMPT).unwrap();
    assert_eq!(modes(&mut shell), before, "a stopped vim must leave the terminal as it was");
    let vim = "vim -Nu NONE /root/notes";
    assert!(patiently(|| states(&host, vim).starts_with('T')), "vim itself must be stopped: {}", states(&host, vim));
    assert_eq!(shell.line("echo still he''re").unwrap(), "still here\r\n");

    shell.send("fg\n").unwrap();
    shell.expect("second line").unwrap();
    shell.resize(31, 101).unwrap();
    let size = || host.run(&["cat", "/root/size"]).output().unwrap().stdout;
    let followed = patiently(|| {
        shell.send(":call writefile([&lines . 'x' . &columns], '/root/size')\r").unwrap();
        size() == "31x101\n"
    });
    assert!(followed, "{}", size());
    shell.send(":wq\r").unwrap();
    shell.expect(Shell::PROMPT).unwrap();
    assert_eq!(shell.line("echo $?").unwrap(), "0\r\n");
    shell.resize(24, 80).unwrap();
    assert_eq!(modes(&mut shell), before);
    let file = host.sh("cat /root/notes; stat -c '%U %a' /root/notes").ok().unwrap();
    assert_eq!(file, "first line\nsecond line\nroot 600\n");
    // What editors without the right do: write through a pipe, then read what is there now.
    host.write("/etc/motd.mine", 0o644, "by root\n").unwrap();
    shell.send("vim -Nu NONE -n /etc/motd.mine\n").unwrap();
    shell.expect("by root").unwrap();
    shell.send("ccby alice\x1b:w !sudo tee % >/dev/null\r").unwrap();
    assert!(patiently(|| host.sh("cat /etc/motd.mine").output().unwrap().stdout == "by alice\n"), "{}", shell.text());
    shell.expect("(L)oad File").unwrap();
    shell.send("L").unwrap();
    shell.expect("9B").unwrap();
    shell.expect("Press ENTER").unwrap();
    shell.send("\r").unwrap();
    shell.expect("by alice").unwrap();
    shell.send(":q\r").unwrap();
    shell.expect(Shell::PROMPT).unwrap();
    assert_eq!(modes(&mut shell), before);
}

#[test]
fn less_pages_on_either_side_of_a_pipe() {
    let host = host("less");
    host.sh("seq -f 'row %.0f' 2000 >/root/big; chmod 600 /root/big; seq -f 'row %.0f' 2000 >/tmp/big").ok().unwrap();
    let mut shell = Shell::of(&host, "alice").unwrap();
    let before = modes(&mut shell);
    for line in [
        "sudo cat /root/big | less",
        "cat /tmp/big | sudo less",
        "sudo less /root/big",
        "sudo cat /root/big | sudo less",
    ] {
        shell.send(&format!("{line}\n")).unwrap();
        shell.expect("row 23").unwrap_or_else(|error| panic!("{line}: {error}"));
        shell.send("/row 1777\n").unwrap();
        shell.expect("row 1790").unwrap_or_else(|error| panic!("{line}: {error}"));
        shell.send("G").unwrap();
        shell.expect("(END)").unwrap_or_else(|error| panic!("{line}: {error}"));
        shell.send("\x1a").unwrap();
        // less notices a Ctrl-Z that comes while it draws only with the next key, with or without sudo.
        if !wait_until(Duration::from_secs(2), || shell.text().ends_with(Shell::PROMPT)) {
            shell.send("G").unwrap();
        }
        shell.expect(Shell::PROMPT).unwrap_or_else(|error| panic!("{line}: {error}"));
        shell.send("fg\n").unwrap();
        shell.expect("row 2000").unwrap_or_else(|error| panic!("{line}: {error}"));
        shell.expect("(END)").unwrap_or_else(|error| panic!("{line}: {error}"));
        shell.resize(40, 100).unwrap();
        // Drawn for the new size: a key before that would be lost, with or without sudo.
        shell.expect("(END)").unwrap_or_else(|error| panic!("{line}: {error}"));
        shell.send("g").unwrap();
        shell.expect("row 39").unwrap_or_else(|error| panic!("{line}: {error}"));
        shell.send("q").unwrap();
        shell.expect(Shell::PROMPT).unwrap_or_else(|error| panic!("{line}: {error}"));
        shell.resize(24, 80).unwrap();
        assert_eq!(modes(&mut shell), before, "{line}");
        assert_eq!(shell.line("jobs").unwrap(), "", "{line}");
    }
}

#[test]
fn htop_and_top_redraw_follow_the_window_and_give_the_terminal_back() {
    let host = host("top");
    let mut shell = Shell::of(&host, "alice").unwrap();
    let before = modes(&mut shell);
    for (program, mark) in [("htop", "Load average"), ("top", "load average")] {
        shell.send(&format!("sudo {program} -d 1\n")).unwrap();
        shell.expect(mark).unwrap();
        // Once more without a key: it redraws by itself, every line of a new window.
        shell.resize(45, 140).unwrap();
        shell.expect("PID").unwrap();
        assert!(
            patiently(|| shell.text().contains("\x1b[45;") || shell.text().contains("\x1b[45d")),
            "{}",
            shell.text()
        );
        shell.send("q").unwrap();
        shell.expect(Shell::PROMPT).unwrap();
        assert_eq!(shell.line("echo $?").unwrap(), "0\r\n", "{program}");
        shell.resize(24, 80).unwrap();
        assert_eq!(modes(&mut shell), before, "{program}");
    }
}

#[test]
fn shells_of_root_have_job_control_and_may_nest() {
    let host = host("shells");
    let mut shell = Shell::of(&host, "alice").unwrap();
    let before = modes(&mut shell);
    for (line, folder, zero) in [("sudo -i", "/root", "-bash"), ("sudo -s", "/tmp", "/usr/bin/bash")] {
        shell.line("cd /tmp").unwrap();
        shell.send(&format!("{line}\n")).unwrap();
        shell.expect("# ").unwrap_or_else(|error| panic!("{line}: {error}"));
        shell.send("PS1='pro''mpt> '; set +o histexpand\n").unwrap();
        shell.expect(Shell::PROMPT).unwrap();
        let seen =
            shell.line("bind 'set enable-bracketed-paste off'; echo; pwd; echo $0; id -un; echo $SUDO_USER").unwrap();
        assert!(seen.ends_with(&format!("{folder}\r\n{zero}\r\nroot\r\nalice\r\n")), "{line}: {seen:?}");

        // Job control inside.
        shell.send("sleep 2001\n").unwrap();
        assert!(patiently(|| states(&host, "sleep 2001").contains("S+")));
        shell.send("\x1a").unwrap();
        shell.expect("Stopped").unwrap();
        shell.expect(Shell::PROMPT).unwrap();
        shell.send("bg\n").unwrap();
        shell.expect("sleep 2001 &").unwrap();
        shell.expect(Shell::PROMPT).unwrap();
        shell.send("fg\n").unwrap();
        shell.expect("sleep 2001").unwrap();
        // bash prints the line first, then gives the terminal away: a key in between is its own.
        assert!(patiently(|| states(&host, "sleep 2001").contains("S+")));
        shell.send("\x03").unwrap();
        shell.expect(Shell::PROMPT).unwrap();
        assert!(patiently(|| states(&host, "sleep 2001").is_empty()));

        // One inside the other; root needs no rule, and a stop inside comes back to the shell inside.
        let nested = shell.line("sudo -u bob sh -c 'id -un; echo $SUDO_USER'").unwrap();
        assert!(nested.contains("bob\r\nroot\r\n"), "{nested:?}");
        shell.send("sudo sleep 2002\n").unwrap();
        assert!(patiently(|| states(&host, "sleep 2002").contains("S+")));
        shell.send("\x1a").unwrap();
        shell.expect("Stopped").unwrap();
        shell.expect(Shell::PROMPT).unwrap();
        shell.line("kill %1").unwrap();
        assert!(patiently(|| states(&host, "sleep 2002").is_empty()), "{}", states(&host, "sleep 2002"));
        shell.send("exit 7\n").unwrap();
        shell.expect(Shell::PROMPT).unwrap();
        assert_eq!(shell.line("echo $?").unwrap(), "7\r\n", "{line}");
        assert_eq!(modes(&mut shell), before, "{line}");
    }
    // A shell that suspends itself stops the job outside.
    shell.send("sudo -s\n").unwrap();
    shell.expect("# ").unwrap();
    shell.send("suspend\n").unwrap();
    shell.expect("Stopped").unwrap();
    shell.expect(Shell::PROMPT).unwrap();
    shell.send("fg\n").unwrap();
    shell.expect("sudo -s").unwrap();
    shell.send("echo ag''ain; exit\n").unwrap();
    shell.expect("again").unwrap();
    shell.expect(Shell::PROMPT).unwrap();
    assert_eq!(modes(&mut shell), before);
}

#[test]
fn tmux_pane_with_a_command_of_root_survives_detaching_and_ends_with_its_session() {
    let host = host("tmux");
    let mut shell = Shell::of(&host, "alice").unwrap();
    shell.send("tmux -f /dev/null new-session -s work 'sudo bash --norc'\n").unwrap();
    shell.expect("# ").unwrap();
    shell.send("echo pane of $(id -un)\n").unwrap();
    shell.expect("pane of root").unwrap();
    shell.send("sleep 2003 & stty size\n").unwrap();
    shell.expect("23 80").unwrap();
    // Detach, attach with another size: the command's terminal follows.
    shell.send("\x02d").unwrap();
    shell.expect("[detached").unwrap();
    shell.expect(Shell::PROMPT).unwrap();
    assert!(states(&host, "sleep 2003").contains('S'), "a detached session must run on");
    shell.resize(35, 110).unwrap();
    shell.send("tmux attach -t work\n").unwrap();
    assert!(patiently(|| {
        shell.send("stty size\n").unwrap();
        shell.expect("34 110").is_ok()
    }));
    shell.send("\x02d").unwrap();
    shell.expect("[detached").unwrap();
    shell.expect(Shell::PROMPT).unwrap();
    shell.line("tmux kill-session -t work").unwrap();
    assert!(patiently(|| states(&host, "sleep 2003").is_empty() && states(&host, "bash --norc").is_empty()));
    let over = || host.run(&["jitctl", "sessions"]).output().unwrap().both();
    assert!(patiently(|| over().contains("no session is running")), "{}", over());
}

#[test]
fn terminal_that_belongs_to_another_account_and_to_no_session_of_ours_is_relayed() {
    let host = host("borrowed");
    // su leaves the terminal to root; setsid gives up the control of it: the descriptor is all that alice has.
    let su = ["su", "alice", "-s", "/bin/bash", "--", "--norc", "--noprofile", "--noediting", "-i"];
    let mut shell = Shell::on(host.run(&su).terminal().unwrap()).unwrap();
    assert_eq!(
        shell.line("id -un; stat -c %U $(tty); setsid -w cat /dev/tty $(tty) 2>&1 | wc -l").unwrap(),
        "alice\r\nroot\r\n2\r\n"
    );
    let own = shell.line("tty").unwrap();
    let before = modes(&mut shell);
    let all: String = (1..=30_000).map(|number| format!("{number}\r\n")).collect();
    for sudo in ["sudo.real", "sudo"] {
        let seen = shell.line(&format!("setsid -w {sudo} tty")).unwrap();
        assert!(seen.starts_with("/dev/pts/"), "{sudo}: {seen}");
        // The real one gives the caller's terminal away, jitsudo never does.
        assert_eq!(seen == own, sudo == "sudo.real", "{sudo}: {seen}");
        assert_eq!(shell.line(&format!("setsid -w {sudo} stty size")).unwrap(), "24 80\r\n", "{sudo}");
        assert_eq!(shell.line(&format!("setsid -w {sudo} sh -c 'exit 7'; echo $?")).unwrap(), "7\r\n", "{sudo}");
        assert!(shell.line(&format!("setsid -w {sudo} seq 30000")).unwrap() == all, "{sudo}: not all was written");
        shell.send(&format!("setsid -w {sudo} sh -c 'read answer; echo got-$answer'\n")).unwrap();
        shell.send("an answer\n").unwrap();
        shell.expect("got-an answer\r\n").unwrap_or_else(|error| panic!("{sudo}: {error}"));
        shell.expect(Shell::PROMPT).unwrap();
        assert_eq!(modes(&mut shell), before, "{sudo}");
    }
}
