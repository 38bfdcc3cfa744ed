//! Ansible's own sudo plugin against a host whose sudo is jitsudo, over ssh, with and without pipelining.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::time::Duration;

use jitsudo_tests::story::{apply_policy, host_with_jitsudo_as_sudo, open_ssh_to_alice};
use jitsudo_tests::{Host, package_file};

const PLAYBOOK: &str = r#"- hosts: all
  become: true
  gather_facts: false
  tasks:
    - name: a group
      group: { name: deploy, gid: 2500 }
    - name: an account
      user: { name: deployer, uid: 2500, group: deploy, shell: /bin/sh }
    - name: a folder
      file: { path: /srv/app, state: directory, owner: deployer, group: deploy, mode: "0750" }
    - name: a file of bytes
      copy: { src: /root/play/payload, dest: /srv/app/payload, owner: deployer, mode: "0640" }
    - name: a template
      template: { src: /root/play/app.conf.j2, dest: /etc/app.conf, mode: "0600" }
      vars: { colour: red }
    - name: a line
      lineinfile: { path: /etc/app.conf, line: "last = true" }
    - name: a service
      service: { name: nginx, state: started }
    - name: a command as another account
      become_user: bob
      command: id -un
      register: other
      changed_when: false
    - name: a shell with input
      shell: { cmd: "cat; id -u", stdin: "to the command" }
      register: piped
      changed_when: false
    - name: a failure is a failure
      command: sh -c 'echo out; echo err >&2; exit 3'
      register: broken
      changed_when: false
      failed_when: broken.rc != 3 or broken.stdout != "out" or broken.stderr != "err"
    - name: all of it
      assert: { that: [other.stdout == "bob", piped.stdout == "to the command\n0"] }
"#;

/// The rule of docs/switching-from-sudo.md, with the control node on the host itself.
const POLICY: &str = r#"[roles.automation]
run = ["ALL"]
as = ["ALL"]

[[allow]]
name = "the control node configures this host"
who = ["alice"]
roles = ["automation"]
origin = ["ssh:127.0.0.1/32"]
auth = "none"
"#;

fn host(name: &str, policy: &str) -> Host {
    let host = package_file().and_then(|package| host_with_jitsudo_as_sudo(name, &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    apply_policy(&host, policy).unwrap();
    open_ssh_to_alice(&host).unwrap();
    host.write("/root/play/book.yml", 0o644, PLAYBOOK).unwrap();
    host.write("/root/play/app.conf.j2", 0o644, "colour = {{ colour }}\nname = {{ inventory_hostname }}\n").unwrap();
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    host.write("/root/play/payload", 0o644, bytes).unwrap();
    host
}

/// An inventory of this host under several names, each with settings of its own.
fn write_inventory(host: &Host, entries: &[(&str, &str)]) {
    let common = "ansible_host=localhost ansible_user=alice ansible_python_interpreter=/usr/bin/python3";
    let inventory: String = entries.iter().map(|(name, settings)| format!("{name} {common} {settings}\n")).collect();
    host.write("/root/play/hosts", 0o644, inventory).unwrap();
}

/// Plays the book as alice over ssh; the last line: what changed, what failed.
fn play(host: &Host, settings: &str) -> String {
    write_inventory(host, &[("web", settings)]);
    let play = host.sh("cd /root/play; HOME=/root ansible-playbook -i hosts book.yml").limit(Duration::from_secs(180));
    let output = play.output().unwrap();
    assert_eq!(output.status, 0, "{settings}\n{}", output.both());
    assert!(!output.both().contains("WARNING"), "{settings}\n{}", output.both());
    let recap = output.stdout.lines().rfind(|line| line.contains("failed=")).unwrap_or_default();
    recap
        .split_once(": ")
        .map(|(_, counts)| counts.split_whitespace().take(4).collect::<Vec<_>>().join(" "))
        .unwrap_or_default()
}

#[test]
fn ansible_become_works_with_and_without_pipelining() {
    let host = host("ansible", POLICY);
    let by_another_way = host.run(&["sudo", "id"]).as_user("alice").output().unwrap();
    assert_eq!((by_another_way.status, by_another_way.stdout.as_str()), (1, ""), "{}", by_another_way.both());
    // Called as sudo, modules on standard input.
    assert_eq!(play(&host, "ansible_pipelining=true"), "ok=11 changed=7 unreachable=0 failed=0");
    let seen = host.sh("stat -c '%U:%G %a' /srv/app /srv/app/payload; cmp /srv/app/payload /root/play/payload; cat /etc/app.conf; stat -c %a /etc/app.conf; id deployer; systemctl is-active nginx");
    assert_eq!(
        seen.ok().unwrap(),
        "deployer:deploy 750\ndeployer:root 640\ncolour = red\nname = web\nlast = true\n600\n\
         uid=2500(deployer) gid=2500(deploy) groups=2500(deploy)\nactive\n"
    );
    // Called by its own name, modules copied first, a terminal that Ansible's ssh asks for: little is left to change.
    let own = "ansible_pipelining=false ansible_become_exe=jitsudo";
    assert_eq!(play(&host, own), "ok=11 changed=2 unreachable=0 failed=0", "template and line undo each other");
    // What it did is on the record, by name.
    let log = host.run(&["jitctl", "log"]).ok().unwrap();
    assert!(log.contains("alice") && log.contains("BECOME-SUCCESS"), "{log}");
    let proved = host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
    assert!(proved.contains("events proved"), "{proved}");
}

/// Each way to call it, by the name of its host in the inventory.
const WAYS: [(&str, &str); 5] = [
    ("real", "ansible_become_exe=sudo.real ansible_pipelining=true"),
    ("sudo-pipe", "ansible_pipelining=true"),
    ("sudo-copy", "ansible_pipelining=false"),
    ("jitsudo-pipe", "ansible_become_exe=jitsudo ansible_pipelining=true"),
    ("jitsudo-copy", "ansible_become_exe=jitsudo ansible_pipelining=false"),
];

/// Asks who it is in every way at once; a line for each name with what Ansible says.
fn who_am_i(host: &Host, password: &str) -> Vec<String> {
    let entries = WAYS.map(|(name, way)| (name, format!("{way} {password}")));
    let entries: Vec<_> = entries.iter().map(|(name, settings)| (*name, settings.as_str())).collect();
    write_inventory(host, &entries);
    let line = "cd /root/play; HOME=/root ansible all -o -f 5 -i hosts -b -m command -a 'id -un'";
    let output = host.sh(line).limit(Duration::from_secs(180)).output().unwrap();
    let mut lines: Vec<String> = output.stdout.lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines.len(), WAYS.len(), "{}", output.both());
    lines
}

#[test]
fn ansible_become_password_is_asked_for_used_and_refused_as_by_sudo() {
    let asks = POLICY.replace("auth = \"none\"\n", "");
    assert_ne!(asks, POLICY);
    let host = host("password", &asks);
    host.write("/etc/sudoers.d/alice", 0o440, "alice ALL=(ALL:ALL) ALL\n").unwrap();
    // Ansible knows what it was told, in its own words, and the real sudo's are the same.
    for (password, says) in [
        ("", "Missing sudo password"),
        ("ansible_become_password=another-secret", "Incorrect sudo password"),
        ("ansible_become_password=alice-pw", "| (stdout) root"),
    ] {
        for line in who_am_i(&host, password) {
            assert!(line.contains(says), "{says:?} is not in {line}");
        }
    }
    let password = "ansible_become_password=alice-pw";
    let piped = play(&host, &format!("ansible_pipelining=true {password}"));
    assert_eq!(piped, "ok=11 changed=7 unreachable=0 failed=0");
    let copied = play(&host, &format!("ansible_pipelining=false ansible_become_exe=jitsudo {password}"));
    assert_eq!(copied, "ok=11 changed=2 unreachable=0 failed=0", "template and line undo each other");
    let kept =
        "grep -rlE 'alice-pw|another-secret' /var/lib/jitsudo; journalctl -q | grep -cE 'alice-pw|another-secret'";
    assert_eq!(host.sh(kept).output().unwrap().stdout, "0\n");
    let log = host.run(&["jitctl", "log", "--all", "--json"]).ok().unwrap().replace("\": ", "\":");
    let [proved, missing, wrong] =
        ["\"event\":\"authenticated\"", "\"tries\":0", "\"tries\":1"].map(|part| log.matches(part).count());
    assert!(proved > 20, "each task proves anew: {proved}");
    assert_eq!((missing, wrong), (4, 4), "each that did not is on the record once");
}
