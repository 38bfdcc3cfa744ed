//! What a command sees under jitsudo is what it sees under the real sudo on the same host.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use jitsudo_tests::package_file;
use jitsudo_tests::story::{EVERYTHING, apply_policy, installed_host};

fn a_command_inherits_the_same(suite: &str) {
    let host = package_file().and_then(|package| installed_host("like", suite, &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    apply_policy(&host, EVERYTHING).unwrap();
    host.write("/etc/sudoers.d/alice", 0o440, "alice ALL=(ALL:ALL) NOPASSWD: ALL\n").unwrap();
    // Through sshd, as people come: what a test lets into a container from outside lacks the container's limits.
    host.sh("mkdir -p -m 700 /root/.ssh; ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519; install -d -o alice -g alice -m 700 /home/alice/.ssh; \
             install -o alice -g alice -m 600 /root/.ssh/id_ed25519.pub /home/alice/.ssh/authorized_keys")
        .ok()
        .unwrap();
    let looks = [
        "id",
        "id -un; id -gn; id -Gn",
        "umask",
        "nice",
        "cat /proc/self/oom_score_adj",
        // jitsudo dumps no core of a privileged program; sudo leaves that to the host.
        "grep -v 'core file size' /proc/self/limits",
        "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|SigBlk|Cpus_allowed_list)' /proc/self/status",
        "cut -d' ' -f4- /proc/self/mountinfo | sort",
        "readlink /proc/self/ns/mnt /proc/self/ns/pid /proc/self/ns/net /proc/self/ns/cgroup /proc/self/ns/uts /proc/self/ns/ipc",
        "pwd",
        "cat /proc/self/loginuid",
        "ls -l /proc/self/fd | grep -c .",
        "echo $HOME $LOGNAME $USER $SHELL $PATH $SUDO_UID $SUDO_USER",
    ];
    for look in looks {
        let under = |program: &str| {
            let quoted = look.replace('\'', r"'\''");
            let line = format!("cd /tmp; umask 027; nice -n 5 {program} sh -c '{quoted}'");
            let ssh = ["ssh", "-q", "-o", "StrictHostKeyChecking=no", "alice@localhost", &line];
            let output = host.run(&ssh).output().unwrap();
            assert_eq!((output.status, output.stderr.as_str()), (0, ""), "{line}");
            output.stdout
        };
        assert_eq!(under("jitsudo"), under("sudo"), "{look}");
    }
    // sudo passes on what its caller ignores; a command of jitsudo starts with nothing ignored.
    let ignored = host.sh("jitsudo grep SigIgn /proc/self/status").as_user("alice").ok().unwrap();
    assert_eq!(ignored, "SigIgn:\t0000000000000000\n");
}

#[test]
fn bookworm_command_inherits_what_sudo_lets_it_inherit() {
    a_command_inherits_the_same("bookworm");
}

#[test]
fn trixie_command_inherits_what_sudo_lets_it_inherit() {
    a_command_inherits_the_same("trixie");
}
