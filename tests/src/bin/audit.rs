//! The checker on a throwaway host, after each step of a grant's life and after each of some faults; the first violation ends it.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use jitsudo_tests::story::{apply_policy, installed_host};
use jitsudo_tests::{Error, audit, package_file, wait_until};

const POLICY: &str = r#"[roles.web-operator]
run = ["/usr/bin/id -u", "/usr/bin/sleep 4900"]

[[allow]]
name = "alice holds the web tier"
who = ["alice"]
roles = ["web-operator"]
grant = "role"
auth = "none"
"#;
const REQUEST: &str = "runuser -l alice -c 'jitctl request web-operator --for 10m'";
const COMMAND: &str = "runuser -l alice -c 'jitsudo sleep 4900' >/dev/null 2>&1 & for i in $(seq 100); do pgrep -xf 'sleep 4900' && exit 0; sleep 0.1; done; exit 1";
/// What happens, and how it is done.
const STEPS: &[(&str, &str)] = &[
    ("nothing is given", "true"),
    ("alice holds a role", REQUEST),
    ("a command runs under it", COMMAND),
    ("kill -9 of the decider", "kill -9 $(pidof jitsudod)"),
    ("kill -9 of the spawner", "kill -9 $(pidof jitsudo-spawn)"),
    ("kill -9 of the command's session", "kill -9 $(pidof jitsudo-session)"),
    ("the role is given back", "jitctl end $(ls /run/jitsudo/ends | grep ^01)"),
    ("alice holds it again", REQUEST),
    (
        "the sweep ends everything",
        "systemctl stop jitsudod.socket jitsudod jitsudo-spawn.socket jitsudo-spawn; /usr/libexec/jitsudo/jitsudo-sweep --all; systemctl start jitsudo-spawn.socket jitsudo-spawn jitsudod.socket jitsudod",
    ),
];

fn main() -> ExitCode {
    match play() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\naudit-host: {error}");
            ExitCode::FAILURE
        }
    }
}

fn play() -> Result<(), Error> {
    let host = installed_host("audited", "bookworm", &package_file()?)?;
    apply_policy(&host, POLICY)?;
    for (what, how) in STEPS {
        // A daemon that was just killed is back within seconds; who asks meanwhile is told so.
        let mut done = host.sh(how).output()?;
        wait_until(Duration::from_secs(10), || {
            done.status == 0
                || host.sh(how).output().is_ok_and(|again| {
                    done = again;
                    done.status == 0
                })
        });
        println!("{what}{}", if done.status == 0 { "" } else { ": it failed" });
        print!("{}", host.run(&["jitctl", "doctor", "--privileges"]).output()?.both());
        audit(&host)?;
    }
    host.run(&["jitctl", "audit", "verify"]).ok().map(drop)
}
