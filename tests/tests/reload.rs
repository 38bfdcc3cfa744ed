//! `systemctl reload jitsudod` puts the files of policy.d in force.
#![expect(clippy::panic, reason = "a test that cannot go on must fail")]

use jitsudo_tests::story::{EVERYTHING, apply_policy, installed_host};
use jitsudo_tests::{Host, Output, package_file};

fn ready_host(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    apply_policy(&host, EVERYTHING).unwrap_or_else(|error| panic!("{error}"));
    host
}

fn alice(host: &Host, line: &str) -> Output {
    host.sh(line).as_user("alice").output().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn reload_of_the_unit_applies_the_files_as_root() {
    let host = ready_host("reload");
    host.write("/etc/jitsudo/policy.d/10-web.toml", 0o644, "").unwrap();
    assert_eq!(alice(&host, "jitsudo true").status, 0, "a file that was merely written changes nothing");
    host.run(&["systemctl", "reload", "jitsudod"]).ok().unwrap();
    assert_eq!(alice(&host, "jitsudo true").status, 1);
    host.write("/etc/jitsudo/policy.d/10-web.toml", 0o644, EVERYTHING).unwrap();
    host.run(&["systemctl", "reload", "jitsudod"]).ok().unwrap();
    assert_eq!(alice(&host, "jitsudo true").status, 0);
    host.write("/etc/jitsudo/policy.d/20-bad.toml", 0o644, "[[allow]]\nname = 7\n").unwrap();
    assert_ne!(host.run(&["systemctl", "reload", "jitsudod"]).output().unwrap().status, 0, "errors fail the reload");
    assert_eq!(alice(&host, "jitsudo true").status, 0, "and the policy in force stays");
    assert_eq!(host.run(&["systemctl", "is-active", "jitsudod"]).ok().unwrap(), "active\n");
    let journal = host.run(&["journalctl", "-q", "--no-pager", "-u", "jitsudod"]).ok().unwrap();
    assert!(journal.contains("20-bad.toml"), "{journal}");
    assert_ne!(alice(&host, "systemctl reload jitsudod").status, 0, "who may reload units is systemd's to say: root");
}
