//! Groups that roles lend to the processes of a session: there, nowhere else, in no decision, and gone at the end.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use jitsudo_tests::story::{apply_policy, installed_host};
use jitsudo_tests::{Host, Output, package_file};

/// alice may use containers; whoever is in the group docker by the databases may read the journal, and nobody who is may play.
const POLICY: &str = r#"[roles.docker]
summary = "Use containers"
groups = ["docker"]
group-grants-more = true
[roles.ghost]
groups = ["ghost"]
[roles.logs]
run = ["/usr/bin/id -u", "/usr/bin/id -Gn"]
groups = ["adm"]
as = ["root", "bob"]
[roles.members]
run = ["/usr/bin/whoami"]
[roles.games]
run = ["/usr/bin/tty"]

[[allow]]
name = "alice uses containers"
who = ["alice"]
roles = ["docker", "ghost", "logs", "games"]
window = "1h"
auth = "none"

[[allow]]
name = "members of docker"
who = ["%docker"]
roles = ["members"]
auth = "none"

[[deny]]
name = "no games for members of docker"
who = ["%docker"]
roles = ["games"]
"#;

/// A socket that the group docker alone may use, as dockerd's.
const SERVER: &str = "import os, socket
os.umask(0o117)
s = socket.socket(socket.AF_UNIX)
s.bind('/run/docker.sock')
os.chown('/run/docker.sock', 0, 990)
s.listen(64)
open('/run/docker.ready', 'w')
while True:
    s.accept()[0].sendall(b'containers\\n')
";
const CLIENT: &str = "#!/usr/bin/python3
import socket
s = socket.socket(socket.AF_UNIX)
try:
    s.connect('/run/docker.sock')
    print(s.recv(99).decode(), end='')
except PermissionError:
    print('refused')
";

fn host(name: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    host.write("/opt/server.py", 0o644, SERVER).unwrap();
    host.write("/usr/local/bin/docker", 0o755, CLIENT).unwrap();
    host.sh("groupadd --gid 990 docker && systemd-run -q python3 /opt/server.py && until [ -e /run/docker.ready ]; do sleep 0.05; done")
        .ok()
        .unwrap();
    apply_policy(&host, POLICY).unwrap();
    host
}

fn user(host: &Host, user: &str, line: &str) -> Output {
    host.sh(line).as_user(user).output().unwrap_or_else(|error| panic!("{error}"))
}

fn alice(host: &Host, line: &str) -> Output {
    user(host, "alice", line)
}

fn log(host: &Host, id: &str) -> Vec<serde_json::Value> {
    let log = host.run(&["jitctl", "log", id, "--json"]).ok().unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Asks for the role; its id.
fn request(host: &Host, role: &str) -> String {
    let output = alice(host, &format!("jitctl request {role} --for 10m"));
    let id = output.stdout.trim_end().rsplit_once('(').map(|(_, id)| id.trim_end_matches(')').to_owned());
    id.unwrap_or_else(|| panic!("{}", output.both()))
}

#[test]
fn group_is_there_for_the_sessions_processes_and_nowhere_else() {
    let host = host("groups");
    let before = host.sh("sha256sum /etc/group /etc/gshadow /etc/passwd").ok().unwrap();
    assert_eq!(alice(&host, "docker").stdout, "refused\n");
    let lent = alice(
        &host,
        "jitsudo --role docker docker; jitsudo --role docker id -un; jitsudo --role docker id -Gn; docker",
    );
    assert_eq!(lent.both(), "containers\nalice\nalice docker oncall\nrefused\n");
    // As sudo -u for one's own account: its home, its variables, its shell.
    let inside = "echo 'id -u; echo $HOME $USER $LOGNAME $SUDO_USER; umask; docker' | jitsudo --role docker -s";
    assert_eq!(alice(&host, inside).both(), "1001\n/home/alice alice alice alice\n0022\ncontainers\n");
    assert_eq!(alice(&host, "cd /tmp; FOO=1 jitsudo --role docker FOO=2 sh -c 'pwd; echo $FOO'").both(), "/tmp\n2\n");
    // With -P as well, and a file that alice alone may run.
    assert_eq!(alice(&host, "jitsudo -P --role docker id -Gn").both(), "alice docker oncall\n");
    assert_eq!(
        alice(&host, "printf '#!/bin/sh\\nid -Gn\\n' >mine; chmod 700 mine; jitsudo --role docker ./mine").both(),
        "alice docker oncall\n"
    );
    // Nothing but that: no other account, no role that was not named, nobody else.
    for line in ["-u root", "-u alice", "-g docker", "-i"] {
        let refused = alice(&host, &format!("jitsudo --role docker {line} id"));
        assert!(refused.status == 1 && refused.stderr.contains("not allowed"), "{line}: {}", refused.both());
    }
    assert!(alice(&host, "jitsudo docker").stderr.contains("not allowed"));
    assert!(user(&host, "bob", "jitsudo --role docker docker").stderr.contains("not allowed"));
    // Commands of a role that lists them are in the group, as whomever they run.
    assert_eq!(
        alice(&host, "jitsudo id -Gn; jitsudo -u bob id -Gn; jitsudo --role logs -u bob id -Gn").both(),
        "root adm\nbob adm\nbob adm\n"
    );
    // A group that is not there is not given, and says so.
    let ghost = "role ghost lends group ghost, which does not exist on groups: ask an administrator";
    for line in ["jitsudo --role ghost id", "jitctl request ghost"] {
        let refused = alice(&host, line);
        assert!(refused.status == 1 && refused.stderr.contains(ghost), "{}", refused.both());
    }
    // It is told before, meanwhile and afterwards.
    let roles = alice(&host, "jitctl roles").stdout;
    assert!(roles.contains("group docker for the session") && roles.contains("as yourself"), "{roles}");
    let listed = alice(&host, "jitsudo -l").stdout;
    assert!(listed.contains("docker"), "{listed}");
    let id = request(&host, "docker");
    let grants = alice(&host, "jitctl grants").stdout;
    assert!(grants.contains("role docker") && grants.contains("lends group docker"), "{grants}");
    assert_eq!(alice(&host, "jitsudo --role docker docker; jitsudo docker").stdout, "containers\n");
    assert!(
        alice(&host, &format!("jitctl log {id}"))
            .stdout
            .contains("docker starts as alice (uid 1001) with group docker")
    );
    let group = serde_json::json!([{"gid": 990, "name": "docker"}]);
    let events = log(&host, &id);
    let groups = |name: &str| events.iter().find(|event| event["event"] == name).map(|event| event["groups"].clone());
    assert_eq!((groups("activating"), groups("session_starting")), (Some(group.clone()), Some(group)));
    assert_eq!(alice(&host, &format!("jitctl release {id}")).status, 0);
    assert_eq!(host.sh("sha256sum /etc/group /etc/gshadow /etc/passwd").ok().unwrap(), before);
    host.run(&["jitctl", "audit", "verify"]).ok().unwrap();
}
