//! `-e` on a booted host, beside the real sudoedit where both should do the same.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{apply_policy, installed_host};
use jitsudo_tests::{Host, Output, package_file, wait_until};

/// Files below /etc/t, and new ones in /etc/made; `-u bob` below /etc/t/bob.
const POLICY: &str = r#"[roles.editor]
edit = ["/etc/t/**", "/srv/a/**", "/tmp/s", "/tmp/new", "/dev/null", "/etc/small/*", "/etc/hostname", "/proc/sys/kernel/*"]

[roles.maker]
edit = ["/etc/made/*"]
create = true

[roles.bobs]
edit = ["/etc/t/bob/**", "/etc/t/two"]
as = ["bob"]

[[allow]]
name = "alice edits"
who = ["alice"]
roles = ["editor", "bobs", "maker"]
auth = "none"
"#;

/// What every case finds: files, and editors that need no terminal.
const SCENE: &str = r#"
rm -rf /etc/t /etc/made /srv/a /tmp/s /tmp/new /var/tmp/jitsudo-edit.* /var/tmp/one* /var/tmp/two*
mkdir -p /etc/t/sub /etc/made /etc/t/bob /srv/a/r
echo one > /etc/t/one.conf; echo two > /etc/t/two; echo h > /etc/t/h1; ln /etc/t/h1 /etc/t/h2
ln -s one.conf /etc/t/link; ln -s /etc/t /etc/t/sub/d; mkfifo /etc/t/fifo; : > /etc/t/zero
chown -R alice /srv/a; echo x > /srv/a/x; chown root /srv/a/r; echo y > /srv/a/r/y; echo s > /tmp/s
chown -R bob: /etc/t/bob; echo b > /etc/t/bob/file; chown bob: /etc/t/bob/file
"#;

const EDITORS: &str = r#"
cd /usr/local/bin
printf '#!/bin/sh\nfor f; do echo changed >> "$f"; done\n' > ed-add
printf '#!/bin/sh\nfor f; do stat -c "%%a %%U %%s" "$f"; id -un; done\n' > ed-show
printf '#!/bin/sh\nfor f; do : > "$f"; done\n' > ed-empty
printf '#!/bin/sh\nfor f; do echo z > "$f"; done; exit 3\n' > ed-fail
printf '#!/bin/sh\nkill -TERM $$\n' > ed-killed
printf '#!/bin/sh\nrm "$1"; ln -s /etc/passwd "$1"\n' > ed-link
printf '#!/bin/sh\nrm "$1"\n' > ed-remove
printf '#!/bin/sh\necho changed >> "$1"; touch /tmp/editing; while ! test -e /tmp/go; do sleep 0.05; done\n' > ed-wait
chmod 755 ed-*
"#;

fn host(name: &str, suite: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, suite, &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    apply_policy(&host, POLICY).unwrap();
    host.write("/etc/sudoers.d/alice", 0o440, "alice ALL=(ALL:ALL) NOPASSWD: ALL\n").unwrap();
    host.sh(EDITORS).ok().unwrap();
    host.sh(SCENE).ok().unwrap();
    host
}

fn as_alice(host: &Host, line: &str) -> Output {
    host.sh(line).as_user("alice").output().unwrap()
}

/// The outputs without what is random: names of copies.
fn settled(output: &Output) -> (i32, String, String) {
    let settle = |text: &str| {
        let lines = text.lines().map(|line| match line.find("/var/tmp/") {
            Some(place) => format!("{}COPY", &line[..place]),
            None => line.replace("jitsudo -e", "sudoedit").replace("jitsudo: ", "sudoedit: "),
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    (output.status, settle(&output.stdout), settle(&output.stderr))
}

/// The same line with each, on a fresh scene: what was said, and what the files hold.
fn both(host: &Host, line: &str) -> [((i32, String, String), String); 2] {
    ["sudoedit", "jitsudo -e"].map(|program| {
        host.sh(SCENE).ok().unwrap();
        let output = as_alice(host, &line.replace('@', program));
        let state = "cd /etc/t; for f in one.conf two h1 zero ../made/new bob/file; do echo \"$f $(stat -c '%a %U %G' $f 2>/dev/null) $(cat $f 2>/dev/null)\"; done";
        (settled(&output), host.sh(state).ok().unwrap())
    })
}

fn does_what_sudoedit_does(suite: &str) {
    let host = host("sudoedit", suite);
    for line in [
        "EDITOR=ed-add @ /etc/t/one.conf",
        "EDITOR=ed-add @ /etc/t/one.conf /etc/t/two",
        "EDITOR=ed-show @ /etc/t/one.conf /etc/t/two",
        "EDITOR=true @ /etc/t/one.conf",
        "EDITOR=false @ /etc/t/one.conf",
        "EDITOR=ed-killed @ /etc/t/one.conf",
        "echo n | EDITOR=ed-empty @ /etc/t/one.conf",
        "echo y | EDITOR=ed-empty @ /etc/t/one.conf",
        "EDITOR=ed-empty @ /etc/t/two </dev/null",
        "EDITOR=true @ /etc/t/zero",
        "EDITOR=ed-add @ /etc/t/zero",
        "EDITOR=ed-add @ /etc/t/link",
        "EDITOR=ed-add @ /etc/t/fifo",
        "EDITOR=ed-add @ /dev/null",
        "EDITOR=ed-add @ /etc/t/sub",
        "EDITOR=ed-add @ /srv/a/x",
        "EDITOR=ed-add @ /tmp/s",
        "EDITOR=ed-add @ /tmp/new",
        "EDITOR=ed-add @ /etc/made/new",
        "EDITOR=true @ /etc/made/new",
        "EDITOR=ed-add @ /etc/t/nowhere/new",
        "EDITOR='sed -i s/t/T\\ t/' @ /etc/t/two",
        "EDITOR='sh -c \"echo \\\"a b\\\"\"' @ /etc/t/two",
        "EDITOR=no-such VISUAL=ed-show @ /etc/t/two",
        "EDITOR=false VISUAL=true SUDO_EDITOR=ed-add @ /etc/t/two",
        "EDITOR='ed-add -- /etc/passwd' @ /etc/t/two",
        "cd /etc/t; EDITOR=ed-add @ two ./one.conf",
        "cd /etc/t/sub; EDITOR=ed-add @ ../two",
        "EDITOR=ed-add @ -u bob /etc/t/bob/file",
    ] {
        let [sudo, ours] = both(&host, line);
        assert_eq!(ours, sudo, "{line}");
    }
}

#[test]
fn bookworm_edit_does_what_sudoedit_does() {
    does_what_sudoedit_does("bookworm");
}

#[test]
fn trixie_edit_does_what_sudoedit_does() {
    does_what_sudoedit_does("trixie");
}

#[test]
fn edit_keeps_owner_mode_acl_attributes_and_odd_names() {
    let host = host("edit-keep", "bookworm");
    host.sh(
        "cd /etc/t; chown bob:games two; chmod 1654 two; setfacl -m u:alice:r,g:adm:rw two; \
         python3 -c 'import os; os.setxattr(\"two\", \"user.note\", b\"a\\0b\")'; setfacl -d -m u:bob:rwx /etc/t; \
         printf 'n\\n' > \"$(printf 'odd \\377 name')\"; head -c 10000000 /dev/urandom > big; touch -d '2001-01-01' two",
    )
    .ok()
    .unwrap();
    let look = "cd /etc/t; stat -c '%a %u %g' two; getfacl -n two; python3 -c 'import os; print([(n, os.getxattr(\"two\", n)) for n in sorted(os.listxattr(\"two\"))])'";
    let before = host.sh(look).ok().unwrap();
    assert!(before.contains("user.note") && before.contains("user:1001:r--"), "{before}");
    let output = as_alice(&host, "EDITOR=ed-add jitsudo -e /etc/t/two");
    assert_eq!((output.status, output.both().as_str()), (0, ""));
    assert_eq!(host.sh(look).ok().unwrap(), before, "mode, owner, ACL and attributes");
    assert_eq!(host.sh("cat /etc/t/two").ok().unwrap(), "two\nchanged\n");

    let output = as_alice(&host, "EDITOR=ed-add jitsudo -e \"$(printf '/etc/t/odd \\377 name')\"");
    assert_eq!((output.status, output.both().as_str()), (0, ""));
    assert_eq!(host.sh("cat /etc/t/odd*").ok().unwrap(), "n\nchanged\n");

    let grow = "EDITOR='sh -c \"cat \\$0 >> \\$0.2; cat \\$0.2 \\$0.2 > \\$0; rm \\$0.2\"' jitsudo -e /etc/t/big";
    let sum = host.sh("cat /etc/t/big /etc/t/big | sha256sum").ok().unwrap();
    let output = as_alice(&host, grow);
    assert_eq!((output.status, output.both().as_str()), (0, ""));
    assert_eq!(host.sh("sha256sum < /etc/t/big").ok().unwrap(), sum);
    // No copy stays, and nothing beside the files.
    assert_eq!(host.sh("ls -A /var/tmp | grep '^jitsudo-edit'; ls -A /etc/t | grep '^[.]'; :").ok().unwrap(), "");
}

#[test]
fn edit_refuses_what_could_be_moved_by_the_requester() {
    let host = host("edit-refuse", "trixie");
    let said = |line: &str, words: &str| {
        let output = as_alice(&host, line);
        assert_eq!(output.status, 1, "{line}: {}", output.both());
        assert!(output.stderr.contains(words), "{line}: {}", output.both());
    };
    // The real sudoedit takes these three.
    said("EDITOR=ed-add jitsudo -e /etc/t/h1", "hard links");
    said("EDITOR=ed-add jitsudo -e /etc/t/sub/d/two", "editing through symbolic links is not permitted");
    said("EDITOR=ed-add jitsudo -e /srv/a/r/y", "editing files in a writable directory is not permitted");
    said("EDITOR=ed-add jitsudo -e /proc/sys/kernel/hostname", "kernel");
    said("EDITOR=ed-add jitsudo -e /etc/t/sub/d/../two", "name the file without it");
    said("EDITOR=ed-add jitsudo -e /etc/passwd", "lets you edit");
    said("EDITOR=ed-add jitsudo -e /etc/t/new", "No such file or directory");
    said("EDITOR=ed-add jitsudo -e -u bob /etc/t/two", "another account");
    said("EDITOR=ed-link jitsudo -e /etc/t/two", "left unmodified");
    said("EDITOR=ed-remove jitsudo -e /etc/t/two", "left unmodified");
    // One of two: the other one is written, and the status says that not all went well.
    said("EDITOR=ed-add jitsudo -e /etc/t/link /etc/t/one.conf", "editing symbolic links is not permitted");
    assert_eq!(host.sh("cat /etc/t/one.conf /etc/t/two /etc/t/h1").ok().unwrap(), "one\nchanged\ntwo\nh\n");
}

#[test]
fn edit_mode_03_editor_that_fails_changes_nothing_and_the_copy_stays() {
    let host = host("edit-fail", "bookworm");
    let output = as_alice(&host, "EDITOR=ed-fail jitsudo -e /etc/t/two");
    assert_eq!(output.status, 3, "{}", output.both());
    assert!(output.stderr.contains("/etc/t/two left unmodified"), "{}", output.stderr);
    let copy = output.stderr.rsplit("left in ").next().unwrap().trim().to_owned();
    assert_eq!(
        host.sh(&format!("cat {copy}; stat -c '%a %U' {copy} $(dirname {copy})")).ok().unwrap(),
        "z\n600 alice\n700 alice\n"
    );
    assert_eq!(host.sh("cat /etc/t/two").ok().unwrap(), "two\n");
}

/// Begins an edit that waits, does something, lets it go on: what it said.
fn meanwhile(host: &Host, line: &str, act: impl FnOnce()) -> Output {
    host.sh("rm -f /tmp/editing /tmp/go").ok().unwrap();
    std::thread::scope(|scope| {
        let editing = scope.spawn(|| as_alice(host, line));
        let begun = || host.sh("test -e /tmp/editing").ok().is_ok();
        assert!(wait_until(Duration::from_secs(20), begun), "the editor did not begin");
        act();
        host.sh("touch /tmp/go").ok().unwrap();
        editing.join().unwrap()
    })
}

#[test]
fn fs_race_07_file_that_was_changed_meanwhile_is_not_written() {
    let host = host("edit-race", "trixie");
    for (change, words) in [
        ("echo other > /etc/t/two", "it was changed since it was read"),
        ("rm /etc/t/two; ln -s /etc/passwd /etc/t/two", "symbolic"),
        ("rm -f /etc/t/two; mkfifo /etc/t/two", "not a regular file"),
        ("ln /etc/t/two /etc/t/two2", "hard links"),
        ("chmod 777 /etc/t", "writable directory"),
        ("mv /etc/t /etc/t2; mkdir /etc/t; cp /etc/t2/two /etc/t", "directory was replaced"),
    ] {
        host.sh("rm -rf /etc/t2").ok().unwrap();
        host.sh(SCENE).ok().unwrap();
        let after = "stat -c '%F %s' /etc/t/two; stat -c %s /etc/passwd";
        let mut wanted = String::new();
        let output = meanwhile(&host, "EDITOR=ed-wait jitsudo -e /etc/t/two", || {
            host.sh(change).ok().unwrap();
            wanted = host.sh(after).ok().unwrap();
        });
        assert_eq!(output.status, 1, "{change}: {}", output.both());
        assert!(output.stderr.contains(words), "{change}: {}", output.stderr);
        assert!(output.stderr.contains("contents of edit session left in /var/tmp/"), "{}", output.stderr);
        assert_eq!(host.sh(after).ok().unwrap(), wanted, "{change}");
        assert_eq!(host.sh("ls -A /etc/t | grep '^[.]'; :").ok().unwrap(), "", "nothing stays beside it");
    }
}

#[test]
fn edit_mode_05_full_disk_keeps_the_old_content_and_the_copy() {
    let host = host("edit-full", "bookworm");
    host.sh("mkdir /etc/small; mount -t tmpfs -o size=64k,mode=755 none /etc/small; echo old > /etc/small/file")
        .ok()
        .unwrap();
    let output = as_alice(&host, "EDITOR='sh -c \"head -c 200000 /dev/zero > \\$0\"' jitsudo -e /etc/small/file");
    assert_eq!(output.status, 1, "{}", output.both());
    assert!(output.stderr.contains("unable to write to /etc/small/file: No space left on device"), "{}", output.stderr);
    let copy = output.stderr.rsplit("left in ").next().unwrap().trim().to_owned();
    assert_eq!(
        host.sh(&format!("stat -c %s {copy}; cat /etc/small/file; ls -A /etc/small")).ok().unwrap(),
        "200000\nold\nfile\n"
    );
}

#[test]
fn edit_mode_05_nobody_gets_the_rights_that_a_file_lends() {
    let host = host("edit-lends", "bookworm");
    let scene = "cd /etc/t; rm -f tool; cp /usr/bin/true tool; chown bob: tool";
    let look = "cd /etc/t; stat -c %a tool; /usr/sbin/getcap tool; cmp -s tool /usr/bin/true && echo same";
    let capability = "/usr/sbin/setcap cap_net_bind_service+ep tool";
    for (lend, sudos, ours) in [
        (capability, "755\n", "755\ntool cap_net_bind_service=ep\nsame\n"),
        ("chmod 4755 tool", "4755\n", "4755\nsame\n"),
        ("chmod 2755 tool", "2755\n", "2755\nsame\n"),
    ] {
        for (program, left) in [("sudoedit", sudos), ("jitsudo -e", ours)] {
            host.sh(&format!("{scene}; {lend}")).ok().unwrap();
            let output = as_alice(&host, &format!("EDITOR=ed-add {program} /etc/t/tool"));
            assert_eq!(output.status == 0, program == "sudoedit", "{lend}: {}", output.both());
            assert_eq!(host.sh(look).output().unwrap().stdout, left, "{lend}: {program}");
        }
    }
    // As their owner, who could not have set them either.
    host.sh(&format!("{scene}; mv tool bob/tool; cd bob; {capability}")).ok().unwrap();
    let output = as_alice(&host, "EDITOR=ed-add jitsudo -e -u bob /etc/t/bob/tool");
    assert!(output.status == 1 && output.stderr.contains("lends rights"), "{}", output.both());
}

#[test]
fn edit_past_the_end_writes_nothing_and_names_the_copy() {
    let host = host("edit-end", "trixie");
    apply_policy(&host, &POLICY.replace("auth = \"none\"", "auth = \"none\"\nrun-time = \"2s\"")).unwrap();
    let output = meanwhile(&host, "EDITOR=ed-wait jitsudo -e /etc/t/two", || {
        let over =
            || host.sh("journalctl --sync; journalctl -q -o cat -t jitsudo-session | grep -q window_over").ok().is_ok();
        assert!(wait_until(Duration::from_secs(20), over), "the session did not end");
    });
    assert_eq!(output.status, 1, "{}", output.both());
    assert!(output.stderr.contains("unable to write to /etc/t/two: the time is over"), "{}", output.stderr);
    assert!(output.stderr.contains("contents of edit session left in /var/tmp/"), "{}", output.stderr);
    assert_eq!(host.sh("cat /etc/t/two").ok().unwrap(), "two\n");
}

#[test]
fn edit_of_a_killed_client_writes_nothing_and_ends() {
    let host = host("edit-kill", "bookworm");
    let output = meanwhile(&host, "EDITOR=ed-wait jitsudo -e /etc/t/two & wait $!", || {
        host.sh("pkill -KILL -u alice -x jitsudo").ok().unwrap();
        let over =
            || host.sh("journalctl --sync; journalctl -q -o cat -t jitsudo-session | grep -q client_lost").ok().is_ok();
        assert!(wait_until(Duration::from_secs(20), over), "the session did not end");
    });
    assert_eq!(output.status, 137, "{}", output.both());
    assert_eq!(host.sh("cat /etc/t/two").ok().unwrap(), "two\n");
}

#[test]
fn edit_is_recorded_before_and_after_it_is_written() {
    let host = host("edit-record", "trixie");
    let digest =
        |text: &str| host.sh(&format!("printf '{text}' | sha256sum | cut -c1-64")).ok().unwrap().trim().to_owned();
    let (old, new) = (digest("two\\n"), digest("two\\nchanged\\n"));
    assert_eq!(as_alice(&host, "EDITOR=ed-add jitsudo -e /etc/t/two").status, 0);
    let lines =
        || host.sh("cat /var/lib/jitsudo/ledger/*.jsonl | grep '\"event\":\"edited\"'").ok().unwrap_or_default();
    assert!(wait_until(Duration::from_secs(10), || lines().lines().count() == 2), "{}", lines());
    let all = lines();
    let events: Vec<serde_json::Value> = all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (event, outcome) in events.iter().zip(["writing", "written"]) {
        assert_eq!((event["outcome"].as_str(), event["path"].as_str()), (Some(outcome), Some("/etc/t/two")), "{event}");
        assert_eq!((event["before"].as_str(), event["after"].as_str()), (Some(&*old), Some(&*new)), "{event}");
        assert_eq!(event["bytes"], 12);
    }
    let log = host.sh("jitctl log").ok().unwrap();
    assert!(log.contains("/etc/t/two replaced"), "{log}");

    // No record, no edit.
    host.sh("mount -t tmpfs -o ro none /var/lib/jitsudo/spool").ok().unwrap();
    let output = as_alice(&host, "EDITOR=ed-add jitsudo -e /etc/t/two");
    host.sh("umount /var/lib/jitsudo/spool").ok().unwrap();
    assert_eq!(output.status, 1, "{}", output.both());
    assert!(output.stderr.contains("could not be recorded"), "{}", output.both());
    assert_eq!(host.sh("cat /etc/t/two").ok().unwrap(), "two\nchanged\n");
}

#[test]
fn edit_on_a_terminal_stops_and_goes_on_with_its_editor() {
    let host = host("edit-tty", "bookworm");
    let shell = ["bash", "--norc", "--noprofile", "--noediting", "-i"];
    let mut terminal = host.run(&shell).as_user("alice").terminal().unwrap();
    terminal.send("PS1='pro''mpt> '\n").unwrap();
    terminal.expect("prompt> ").unwrap();
    terminal
        .send("EDITOR='sh -c \"echo line >> \\$0; echo up-$((1+1)); read x; echo got-\\$x\"' jitsudo -e /etc/t/two\n")
        .unwrap();
    terminal.expect("up-2").unwrap();
    terminal.send("\x1a").unwrap();
    terminal.expect("Stopped").unwrap();
    terminal.expect("prompt> ").unwrap();
    // The shell waits for its child, not for the editor: one that is still on its way into the stop would take what is typed.
    host.sh(
        "for n in $(seq 200); do ps -eo stat,args | grep -q '^T.*[r]ead x' && exit 0; sleep 0.05; done; ps -ef; exit 1",
    )
    .ok()
    .unwrap();
    terminal.send("echo shell-$((2+3))\n").unwrap();
    terminal.expect("shell-5").unwrap();
    terminal.expect("prompt> ").unwrap();
    assert_eq!(host.sh("cat /etc/t/two").ok().unwrap(), "two\n");
    terminal.send("fg\n").unwrap();
    terminal.expect("jitsudo -e").unwrap();
    terminal.send("word\n").unwrap();
    terminal.expect("got-word").unwrap();
    terminal.expect("prompt> ").unwrap();
    terminal.send("echo status-$?-end\n").unwrap();
    terminal.expect("status-0-end").unwrap();
    terminal.expect("prompt> ").unwrap();
    assert_eq!(host.sh("cat /etc/t/two").ok().unwrap(), "two\nline\n");

    // Ctrl-C ends the editor: nothing is written.
    terminal.send("EDITOR='sh -c \"echo more >> \\$0; echo up-$((2+2)); sleep 60\"' jitsudo -e /etc/t/two\n").unwrap();
    terminal.expect("up-4").unwrap();
    // dash keeps a Ctrl-C to itself when it comes just before it starts something.
    let sleeps = || host.sh("ps -eo stat,args | grep -q '^S+ *[s]leep 60'").ok().is_ok();
    assert!(wait_until(Duration::from_secs(20), sleeps));
    terminal.send("\x03").unwrap();
    terminal.expect("left unmodified").unwrap();
    terminal.expect("prompt> ").unwrap();
    terminal.send("echo status-$?-end\n").unwrap();
    terminal.expect("status-130-end").unwrap();
    assert_eq!(host.sh("cat /etc/t/two").ok().unwrap(), "two\nline\n");
}
