//! Package managers under jitsudo: services that restart, and jitsudo's own package installed from inside a session of it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::host_with_jitsudo_as_sudo;
use jitsudo_tests::{Host, Output, Shell, package_file, wait_until};

const ACTIVE: &str = "systemctl is-active jitsudod.socket jitsudod.service jitsudo-spawn.socket jitsudo-spawn.service";

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| host_with_jitsudo_as_sudo(name, &package));
    host.unwrap_or_else(|error| panic!("{error}"))
}

fn alice(host: &Host, line: &str) -> Output {
    host.sh(line).as_user("alice").output().unwrap_or_else(|error| panic!("{error}"))
}

/// Builds a package in the host, with a service that its scripts start and restart.
fn build_greeter(host: &Host, version: &str) {
    let service = "[Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";
    let control = format!(
        "Package: greeter\nVersion: {version}\nArchitecture: all\nMaintainer: Alice <alice@example.com>\nDescription: a service for tests\n"
    );
    let postinst =
        "#!/bin/sh\nset -e\nsystemctl daemon-reload\nsystemctl --quiet enable greeter\nsystemctl restart greeter\n";
    let prerm = "#!/bin/sh\nset -e\nif [ \"$1\" = remove ]; then systemctl --quiet disable --now greeter; fi\n";
    let tree = format!("/root/greeter-{version}");
    host.write(&format!("{tree}/lib/systemd/system/greeter.service"), 0o644, service).unwrap();
    host.write(&format!("{tree}/DEBIAN/control"), 0o644, control).unwrap();
    host.write(&format!("{tree}/DEBIAN/postinst"), 0o755, postinst).unwrap();
    host.write(&format!("{tree}/DEBIAN/prerm"), 0o755, prerm).unwrap();
    host.run(&["dpkg-deb", "-Znone", "--build", &tree, &format!("/tmp/greeter_{version}.deb")]).ok().unwrap();
}

#[test]
fn apt_installs_upgrades_and_removes_a_package_that_restarts_its_service() {
    let host = host("apt");
    build_greeter(&host, "1");
    build_greeter(&host, "2");
    let pid = || host.sh("systemctl show --property=MainPID --value greeter").ok().unwrap();
    let apt = "sudo DEBIAN_FRONTEND=noninteractive apt-get -y -o APT::Sandbox::User=root";
    let mut last = String::new();
    for version in ["1", "2"] {
        let done = alice(&host, &format!("{apt} install /tmp/greeter_{version}.deb"));
        assert_eq!(done.status, 0, "{}", done.both());
        assert!(done.stdout.contains("Setting up greeter"), "{}", done.both());
        // The service is systemd's: it does not end with the grant.
        assert!(!done.stderr.contains("still run"), "{}", done.stderr);
        let now = pid();
        assert!(now.trim() != "0" && now != last, "{now} {last}");
        last = now;
    }
    // On a terminal apt draws its progress and dpkg has a terminal of its own.
    let mut shell = Shell::of(&host, "alice").unwrap();
    let before = shell.line("stty -a").unwrap();
    shell.send(&format!("{apt} --reinstall install /tmp/greeter_2.deb; echo status-$?\n")).unwrap();
    shell.expect("Setting up greeter").unwrap();
    shell.expect("status-0").unwrap();
    shell.expect(Shell::PROMPT).unwrap();
    assert_eq!(shell.line("stty -a").unwrap(), before);
    let removed = alice(&host, &format!("{apt} remove greeter"));
    assert_eq!(removed.status, 0, "{}", removed.both());
    assert_eq!(host.sh("systemctl is-active greeter").output().unwrap().stdout, "inactive\n");
    let proved = host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
    assert!(proved.contains("events proved"), "{proved}");
}

#[test]
fn jitsudo_package_installed_from_inside_its_own_session_leaves_that_session_alone() {
    let host = host("self");
    host.sh("cp /root/jitsudo.deb /tmp/").ok().unwrap();
    // dpkg replaces the package's /usr/bin/jitsudo under the client that runs.
    let before = host.sh("pidof jitsudod jitsudo-spawn").ok().unwrap();
    for line in [
        "sudo dpkg -i /tmp/jitsudo.deb",
        "sudo apt-get install -y --reinstall -o APT::Sandbox::User=root /tmp/jitsudo.deb",
        "sudo sh -c 'dpkg -i /tmp/jitsudo.deb && sleep 1 && echo still here'",
    ] {
        let done = alice(&host, line);
        assert_eq!(done.status, 0, "{line}\n{}", done.both());
        assert!(done.stdout.contains("Setting up jitsudo"), "{line}\n{}", done.both());
        assert!(!done.both().contains("did not start"), "{line}\n{}", done.both());
        assert_eq!(host.sh(ACTIVE).output().unwrap().stdout, "active\n".repeat(4), "{line}");
        assert_eq!(alice(&host, "sudo id -un").both(), "root\n", "{line}");
    }
    let after = host.sh("pidof jitsudod jitsudo-spawn").ok().unwrap();
    let (first, second) = (before.split(' ').next(), after.split(' ').next());
    assert_ne!(first, second, "the decider is the new one: {before} {after}");

    // A shell of root on a terminal survives as well, and its end is recorded by the daemon that came after.
    let mut shell = Shell::of(&host, "alice").unwrap();
    let modes = shell.line("stty -a").unwrap();
    shell.send("sudo -s\n").unwrap();
    shell.expect("# ").unwrap();
    shell.send("dpkg -i /tmp/jitsudo.deb; echo status-$?\n").unwrap();
    shell.expect("Setting up jitsudo").unwrap();
    shell.expect("status-0").unwrap();
    shell.send("stty size; id -un; sleep 2201\n").unwrap();
    shell.expect("24 80\r\n").unwrap();
    // Until it has the terminal, a key is the shell's own.
    let sleeps = || host.sh("ps -eo stat,args | grep -q '^S+ .*[s]leep 2201'").ok().is_ok();
    assert!(jitsudo_tests::wait_until(std::time::Duration::from_secs(20), sleeps));
    shell.send("\x03").unwrap();
    shell.expect("# ").unwrap();
    shell.send("exit 6\n").unwrap();
    shell.expect(Shell::PROMPT).unwrap();
    assert_eq!(shell.line("echo $?").unwrap(), "6\r\n");
    assert_eq!(shell.line("stty -a").unwrap(), modes);
    let none_left = || host.run(&["jitctl", "sessions"]).output().unwrap().both().contains("no session is running");
    assert!(
        wait_until(Duration::from_secs(20), none_left),
        "{}",
        host.run(&["jitctl", "sessions"]).output().unwrap().both()
    );
    let log = || host.run(&["jitctl", "log", "--json"]).ok().unwrap();
    let ends = |text: &str| (text.matches("\"session_starting\"").count(), text.matches("\"session_exit\"").count());
    let balanced = || {
        let (starts, exits) = ends(&log());
        starts == exits
    };
    assert!(wait_until(Duration::from_secs(20), balanced), "{:?}", ends(&log()));
    let proved = host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
    assert!(proved.contains("events proved"), "{proved}");
    assert_eq!(host.sh("systemctl list-units --failed --no-legend").ok().unwrap(), "");
}
