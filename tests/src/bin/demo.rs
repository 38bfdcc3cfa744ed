//! The story of the README, played on a throwaway host; each step is checked, and the first that fails ends it.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use jitsudo_tests::story::{apply_policy, first_policy, installed_host, nginx_pid};
use jitsudo_tests::{Error, Host, Output, Stopwatch, package_file};

fn main() -> ExitCode {
    let watch = Stopwatch::start();
    match play() {
        Ok(()) => {
            println!("\nThe host is gone again. The story took {:.0} s.", watch.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("\ndemo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn play() -> Result<(), Error> {
    tell("A fresh Debian host boots, and the package is installed on it.");
    let host = installed_host("web-1", "bookworm", &package_file()?)?;
    println!("web-1 is up, jitsudo {} is installed", host.sh("dpkg-query -Wf '${Version}' jitsudo").ok()?);

    tell("nginx runs there, as on any web server.");
    host.run(&["systemctl", "start", "nginx"]).ok()?;
    let before = nginx_pid(&host)?;
    println!("nginx has pid {before}");
    check(before != "0", "nginx runs", &before)?;

    tell("Nobody may do anything yet: alice is refused.");
    let refused = alice(&host, "jitsudo systemctl restart nginx")?;
    check(refused.status == 1, "alice is refused while there is no rule", &refused.both())?;

    tell("An administrator writes one rule and applies it.");
    println!("{}", indented(first_policy()));
    print!("{}", apply_policy(&host, first_policy())?);

    tell("alice restarts nginx. She proves who she is, as to sudo; it is allowed, so there is nothing more to see.");
    let line = "jitsudo systemctl restart nginx";
    println!("alice@web-1:~$ {line}");
    let mut terminal = host.sh(line).as_user("alice").terminal()?;
    terminal.answer_hidden("[jitsudo] password for alice: ", "alice-pw")?;
    let status = terminal.wait(Duration::from_secs(30))?;
    print!("{}", terminal.text());
    check(status == 0, "alice restarts nginx", &terminal.text())?;
    let after = nginx_pid(&host)?;
    println!("nginx had pid {before}, now it has {after}");
    check(after != before && after != "0", "nginx has another pid", &after)?;

    tell("alice tries something else. She is told what, why, and what would help.");
    let other = alice(&host, "jitsudo systemctl restart ssh")?;
    check(other.status == 1 && other.stderr.contains("not allowed"), "the refusal is explained", &other.both())?;

    tell("The ledger has both: who, what, rule, policy and exit status.");
    let log = root(&host, "jitctl log")?;
    for part in
        ["alice  systemctl restart nginx", "rule \"alice runs the web tier\"", "exit 0", "systemctl restart ssh"]
    {
        check(log.contains(part), &format!("the log says {part}"), &log)?;
    }

    tell("journald has the same, with named fields.");
    let journal = root(&host, "journalctl --quiet --no-pager --output=cat -t jitsudod | tail -n 12")?;
    check(journal.contains("allowed: by rule"), "the journal shows the access", &journal)?;
    check(journal.contains("denied: not_covered"), "the journal shows the refusal", &journal)?;

    tell("The ledger proves that nobody changed it.");
    let verified = root(&host, "jitctl audit verify")?;
    check(verified.contains("events proved"), "the verifier says what it proved", &verified)
}

fn tell(text: &str) {
    println!("\n\x1b[1m{text}\x1b[0m");
}

/// A command of alice's, in a login of hers, with its prompt and everything it wrote.
fn alice(host: &Host, line: &str) -> Result<Output, Error> {
    println!("alice@web-1:~$ {line}");
    let output = host.sh(line).as_user("alice").output()?;
    print!("{}", output.both());
    Ok(output)
}

fn root(host: &Host, line: &str) -> Result<String, Error> {
    println!("root@web-1:~# {line}");
    let output = host.sh(line).ok()?;
    print!("{output}");
    Ok(output)
}

fn check(holds: bool, what: &str, seen: &str) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::TimedOut { what: what.to_owned(), seen: seen.to_owned() }) }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
