//! Bytes and build tools: a gibibyte through pipes, make install, git over a pipe.
#![expect(clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::host_with_jitsudo_as_sudo;
use jitsudo_tests::{Host, Output, Stopwatch, package_file};

const BOTH: [&str; 2] = ["sudo.real", "sudo"];

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| host_with_jitsudo_as_sudo(name, &package));
    host.unwrap_or_else(|error| panic!("{error}"))
}

fn alice(host: &Host, line: &str) -> Output {
    let command = host.run(&["bash", "-c", line]).as_user("alice").limit(Duration::from_secs(240));
    command.output().unwrap_or_else(|error| panic!("{error}"))
}

/// What alice's line says, which must succeed without a word on standard error.
fn says(host: &Host, line: &str) -> String {
    let output = alice(host, line);
    assert_eq!((output.status, output.stderr.as_str()), (0, ""), "{line}\n{}", output.both());
    output.stdout
}

/// Bytes that do not repeat for so many mebibytes, the same ones every time, at the speed of a pipe.
const SOURCE: &str = "python3 -c 'import sys
block = bytes(i * 167 % 251 for i in range(1 << 20))
for n in range(int(sys.argv[1])): sys.stdout.buffer.write(n.to_bytes(8, \"big\")); sys.stdout.buffer.write(block[8:])'";

#[test]
fn a_gibibyte_passes_in_and_out_unchanged() {
    let host = host("gib");
    // In and out at once: what arrives is what was sent, in order and whole.
    says(&host, &format!("cmp <({SOURCE} 1024) <({SOURCE} 1024 | sudo cat)"));
    assert_eq!(says(&host, "sudo cat /dev/zero | head -c 1G | wc -c"), "1073741824\n");
    // With a terminal beside the pipes, and through the terminal itself.
    let line = format!("{SOURCE} 64 | sudo cat | md5sum; {SOURCE} 64 | md5sum");
    let script = format!("script -qec {} /dev/null </dev/null | tr -d '\\r'", quoted(&line));
    let sums = says(&host, &script);
    let sums: Vec<&str> = sums.lines().collect();
    assert!(matches!(sums.as_slice(), [one, other] if one == other), "{sums:?}");
}

/// A measurement: prints how long a gibibyte takes under the real sudo and under jitsudo, and judges nothing.
#[test]
#[ignore = "a measurement for `cargo xtask test --all`: it asserts no time"]
fn measure_a_gibibyte_through_pipes() {
    let host = host("speed");
    for line in
        ["SUDO cat /dev/zero | head -c 1G >/dev/null", "head -c 1G /dev/zero | SUDO cat >/dev/null", "SUDO true"]
    {
        for sudo in [BOTH, BOTH].as_flattened() {
            let watch = Stopwatch::start();
            let done = alice(&host, &line.replace("SUDO", sudo));
            assert_eq!(done.both(), "", "{line}");
            println!("{:8.0} ms  {}", watch.elapsed().as_secs_f64() * 1000.0, line.replace("SUDO", sudo));
        }
    }
}

#[test]
fn make_install_writes_as_root_what_alice_has_built() {
    let host = host("make");
    let makefile = "PREFIX = /usr/local\nall: hello\nhello:\n\tprintf '#!/bin/sh\\necho hello\\n' >$@\ninstall: all\n\tinstall -D -m 755 hello $(PREFIX)/bin/hello\n\techo $(MAKELEVEL) $(shell id -un) >$(PREFIX)/by\n";
    host.write("/home/alice/project/Makefile", 0o644, makefile).unwrap();
    host.sh("chown -R alice /home/alice/project").ok().unwrap();
    for sudo in BOTH {
        let line = format!(
            "cd project && make -s && {sudo} make -s install PREFIX=/usr/local/{sudo} && /usr/local/{sudo}/bin/hello"
        );
        assert_eq!(says(&host, &line), "hello\n", "{sudo}");
        // From inside a recipe, with make's jobserver among the descriptors.
        let line = format!(
            "cd project && printf 'i:\\n\\t+{sudo} make -s install PREFIX=/usr/local/{sudo}-j\\n' >j.mk && make -s -j2 -f j.mk i"
        );
        says(&host, &line);
        let seen = host.sh(&format!(
            "stat -c '%U %a' /usr/local/{sudo}/bin/hello; cat /usr/local/{sudo}/by /usr/local/{sudo}-j/by"
        ));
        assert_eq!(seen.ok().unwrap(), "root 755\n0 root\n0 root\n", "{sudo}");
    }
}

#[test]
fn git_clones_and_pushes_over_a_pipe_to_another_account() {
    let host = host("git");
    let setup = "git config --system user.name x; git config --system user.email x@example.com; git config --system init.defaultBranch main
        runuser -l bob -c 'git init -q --bare repository.git && git clone -q repository.git work 2>/dev/null && cd work &&
            head -c 3000000 /dev/urandom >big && git add big && git commit -qm first && git push -q origin main'";
    host.sh(setup).ok().unwrap();
    for sudo in BOTH {
        // git gives the remote command as a word to what stands in ssh's place.
        let ssh = format!("#!/bin/sh\nshift\nexec {sudo} -u bob sh -c \"$*\"\n");
        host.write("/home/alice/over", 0o755, ssh).unwrap();
        let clone = "export GIT_SSH_COMMAND=$HOME/over GIT_SSH_VARIANT=simple; rm -rf mine; git clone -q bob:/home/bob/repository.git mine";
        says(&host, clone);
        let push = format!(
            "export GIT_SSH_COMMAND=$HOME/over GIT_SSH_VARIANT=simple; cd mine && git fsck && echo {sudo} >>note && git add note && git commit -qm second && git push -q && git pull -q"
        );
        alice(&host, &push);
        let pushed = host.sh("runuser -l bob -c 'git -C repository.git show main:note; git -C repository.git fsck'");
        assert!(pushed.ok().unwrap().ends_with(&format!("{sudo}\n")), "{sudo}");
        // The same with nothing but the pipe between them.
        let line = format!(
            "rm -rf other; git -c protocol.ext.allow=always clone -q 'ext::{sudo} -u bob git-upload-pack /home/bob/repository.git' other; cmp other/big mine/big; git -C other log --format=%an -1"
        );
        let cloned = alice(&host, &line);
        assert_eq!((cloned.status, cloned.stdout.as_str()), (0, "x\n"), "{sudo}: {}", cloned.both());
    }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
