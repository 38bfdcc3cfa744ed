//! The variables of a command: beside the real sudo, and against three hundred hostile ones.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::collections::BTreeMap;

use jitsudo_tests::story::{apply_policy, installed_host};
use jitsudo_tests::{Host, package_file};

/// carol runs everything, dave one command with two variables of his own.
const POLICY: &str = r#"[roles.everything]
run = ["ALL"]
shell = true
as = ["ALL", "ALL:ALL"]
[roles.variables]
run = ["/usr/bin/env", "/usr/bin/id"]
env-keep = ["PG*", "EXACT"]
env-set = { MODE = "safe" }
[[allow]]
name = "carol runs everything"
who = ["carol"]
roles = ["everything"]
auth = "none"
[[allow]]
name = "dave looks"
who = ["dave"]
roles = ["variables"]
auth = "none"
"#;
const SUDOERS: &str = "carol ALL=(ALL:ALL) NOPASSWD: ALL\ndave ALL=(root) NOPASSWD: /usr/bin/env, /usr/bin/id\n";
const HOSTILE: &str = include_str!("../data/hostile-variables.txt");
/// Stands in every hostile value.
const MARK: &str = "hostile-value";

fn host(name: &str, suite: &str) -> Host {
    let host = package_file().and_then(|package| installed_host(name, suite, &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    host.sh("useradd -m -s /bin/bash carol; useradd -m -s /bin/bash dave; mkdir /opt/jit; ln -s /usr/bin/jitsudo /opt/jit/sudo; \
             useradd -m -s /usr/bin/env showenv")
        .ok()
        .unwrap();
    host.write("/etc/sudoers.d/environment", 0o440, SUDOERS).unwrap();
    apply_policy(&host, POLICY).unwrap();
    host
}

fn variables(host: &Host, user: &str, line: &str) -> BTreeMap<String, String> {
    let output = host.sh(line).as_user(user).output().unwrap();
    assert_eq!(output.status, 0, "{line}\n{}", output.both());
    let entries = output.stdout.split(['\0', '\n']).filter_map(|entry| entry.split_once('='));
    entries.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What is there beyond sudo's: ours, and what later versions of sudo have as well.
const MORE: [&str; 4] = ["JITSUDO_ID", "JITSUDO_USER", "SUDO_HOME", "SUDO_TTY"];

fn as_sudo(host: &Host, set: &str, words: &str) {
    let mut ours = variables(host, "carol", &format!("{set} jitsudo {words}"));
    let theirs = variables(host, "carol", &format!("{set} sudo {words}"));
    assert_eq!(ours.get("JITSUDO_USER").map(String::as_str), Some("carol"), "{words}");
    assert_eq!(ours.get("JITSUDO_ID").map(String::len), Some(26), "{words}");
    assert_eq!(ours.get("SUDO_HOME").map(String::as_str), Some("/home/carol"), "{words}");
    for name in MORE {
        if !theirs.contains_key(name) {
            ours.remove(name);
        }
    }
    // Directories are resolved before a rule is looked for: /bin is a link.
    if let Some(command) = ours.get_mut("SUDO_COMMAND") {
        *command = command.replace("/usr/bin/bash", "/bin/bash");
    }
    assert_eq!(ours, theirs, "{set} jitsudo {words}");
}

fn variables_are_those_of_sudo(suite: &str) {
    let host = host("variables", suite);
    let caller = "TZ=Europe/Paris LC_ALL=C LANG=/x/y LANGUAGE=a%b DISPLAY=:1 PS1=x PS2=y XDG_CURRENT_DESKTOP=z FOO=1 TERM=dumb COLORTERM=1 \
                  LINGUAS=d LS_COLORS=1 HOSTNAME=h KRB5CCNAME=/tmp/x XAUTHORITY=/tmp/xa COLORS=/c DPKG_COLORS=always MAIL=/x SHELL=/usr/bin/env \
                  USER=bob LOGNAME=bob SUDO_USER=bob SUDO_UID=0 SUDO_COMMAND=x SUDO_GID=0 HOME=/tmp PERL5LIB=/x FN='() { :; }'";
    for set in [caller, "TERM=xterm", "SUDO_PS1=new PS1=old", "TERM=dumb LC_TIME='() { :; }' LC_NAME=a/b"] {
        for words in ["env", "-u bob env", "-u showenv -g adm env", "-i -u showenv", "-H env", "FOO=bar LANG=C env"] {
            as_sudo(&host, set, words);
        }
    }
    as_sudo(&host, &caller.replace("SHELL=/usr/bin/env", "SHELL=/bin/bash"), "-s env");
    as_sudo(&host, "env -u TERM", "env");
    for zone in [
        "UTC",
        ":UTC",
        "/usr/share/zoneinfo/UTC",
        "/etc/passwd",
        ":/etc/passwd",
        "../x",
        "a/../b",
        "a b",
        "",
        "CET-1CEST,M3.5.0,M10.5.0/3",
    ] {
        as_sudo(&host, &format!("TZ='{zone}'"), "env");
    }
    // SUDO_COMMAND is cut at the same place.
    for length in [10, 4000, 4090, 5000] {
        let line =
            |program: &str| format!("{program} sh -c 'printf %s \"$SUDO_COMMAND\" | wc -c' {}", "x".repeat(length));
        let count = |program: &str| host.sh(&line(program)).as_user("carol").ok().unwrap();
        assert_eq!(count("jitsudo"), count("sudo"), "{length}");
    }
    command_line_is_refused_as_sudo_refuses_it(&host);
    preserving_all_goes_on_and_names_what_it_dropped(&host);
    explaining_tells_the_same_and_runs_nothing(&host);
}

/// The first line and the status; what stands below it is ours.
fn command_line_is_refused_as_sudo_refuses_it(host: &Host) {
    for words in ["FOO=bar ZED=1 id", "LD_PRELOAD=/tmp/x id", "--preserve-env=HOME id"] {
        let first = |program: &str| {
            let output = host.sh(&format!("{program} {words}")).as_user("dave").output().unwrap();
            (output.status, output.stdout, output.stderr.lines().next().unwrap_or_default().to_owned())
        };
        let theirs = first("sudo");
        assert!(theirs.2.starts_with("sudo: sorry, you are not allowed to set"), "{theirs:?}");
        assert_eq!(first("/opt/jit/sudo"), theirs, "{words}");
        let (status, _, line) = first("jitsudo");
        assert_eq!((status, line.replace("jitsudo", "sudo")), (theirs.0, theirs.2), "{words}");
    }
    // Where everything may be run sudo lets through even what loads code; we do not.
    let output = host.sh("jitsudo LD_PRELOAD=/tmp/x id").as_user("carol").output().unwrap();
    assert_eq!(output.status, 1, "{}", output.both());
    assert!(output.stderr.contains("environment variables: LD_PRELOAD"), "{}", output.stderr);
    let kept = variables(host, "dave", "jitsudo PGHOST=db EXACT=1 LC_TIME=C env");
    for (name, value) in [("PGHOST", "db"), ("EXACT", "1"), ("LC_TIME", "C"), ("MODE", "safe")] {
        assert_eq!(kept.get(name).map(String::as_str), Some(value), "{name}");
    }
}

fn preserving_all_goes_on_and_names_what_it_dropped(host: &Host) {
    let line = "env -i PATH=/usr/bin:/bin FOO=secret-value PGHOST=db LANG=C LD_AUDIT=secret-value jitsudo -E env";
    let named = host.sh(line).as_user("dave").output().unwrap();
    assert_eq!(named.stderr, "jitsudo: not kept of your environment: FOO, LD_AUDIT\n", "{}", named.stdout);
    assert!(named.status == 0 && named.stdout.contains("PGHOST=db\n") && !named.both().contains("secret-value"));
    let free = host.sh(line).as_user("carol").output().unwrap();
    assert_eq!(free.stderr, "jitsudo: not kept of your environment: LD_AUDIT\n", "{}", free.stdout);
    assert!(free.stdout.contains("FOO=secret-value\n") && free.stdout.contains("PGHOST=db\n"));
    // Not asked for, not kept, and not spoken of.
    let plain = host.sh(&line.replace(" -E", "")).as_user("carol").output().unwrap();
    assert!(plain.stderr.is_empty() && !plain.stdout.contains("FOO="), "{}", plain.both());
    let one = variables(host, "carol", "FOO=1 BAR=2 jitsudo --preserve-env=FOO env");
    assert_eq!((one.get("FOO").map(String::as_str), one.get("BAR")), (Some("1"), None));
}

fn explaining_tells_the_same_and_runs_nothing(host: &Host) {
    let set = "FOO=1 LANG=C TZ=/etc/passwd PGHOST=db LD_PRELOAD=";
    let told = host.sh(&format!("{set} jitsudo --explain-env env")).as_user("dave").output().unwrap();
    assert_eq!((told.status, told.stderr.as_str()), (0, ""), "{}", told.stdout);
    for line in [
        "LANG=C   kept: default list",
        "PGHOST=db   kept: role's env-keep PG*",
        "MODE=safe   set: role's env-set",
        "HOME=/root   base",
        "SUDO_COMMAND=/usr/bin/env   base",
        "FOO   dropped: not kept",
        "LD_PRELOAD   dropped: black list",
        "TZ   dropped: unsafe value",
    ] {
        assert!(told.stdout.lines().any(|own| own == line), "{line}\nis not in\n{}", told.stdout);
    }
    assert!(told.stdout.lines().is_sorted_by_key(|line| line.split(['=', ' ']).next().unwrap().to_owned()));
    // What is told is what there is.
    let there = variables(host, "dave", &format!("{set} jitsudo env"));
    let said: BTreeMap<String, String> = told
        .stdout
        .lines()
        .filter(|line| !line.contains("   dropped: "))
        .map(|line| line.rsplit_once("   ").unwrap().0.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let without_id = |mut all: BTreeMap<String, String>| (all.remove("JITSUDO_ID").is_some(), all);
    assert_eq!(without_id(said), without_id(there));
    host.sh("jitsudo --explain-env touch /root/ran").as_user("carol").ok().unwrap();
    assert_eq!(host.sh("ls /root/ran").output().unwrap().status, 2);
    let log = host.sh("jitctl log --all").ok().unwrap();
    assert!(
        log.contains("only its variables were asked for (--explain-env)") || log.contains("never started"),
        "{log}"
    );
    let json = host.sh("jitctl log --all --json").ok().unwrap();
    assert!(json.contains("only its variables were asked for (--explain-env)"), "{json}");
    assert_eq!(host.sh("jitctl sessions --all --json").output().unwrap().status, 3, "none is running");
    // Asking needs the same right as running.
    assert_eq!(host.sh("jitsudo --explain-env ls").as_user("dave").output().unwrap().status, 1);
}

fn hostile_variables_never_reach_a_command(suite: &str) {
    let host = host("hostile", suite);
    let names: Vec<&str> =
        HOSTILE.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).collect();
    assert!(names.len() >= 200);
    let mut entries: Vec<String> = names.iter().map(|name| format!("{name}=/tmp/{MARK}")).collect();
    // Functions, and a value like one under a name that is kept.
    for name in ["BASH_FUNC_ls%%", "BASH_FUNC_env%%", "BASH_FUNC_x()", "FN", "LC_NAME", "TERM"] {
        entries.push(format!("{name}=() {{ :; }}; echo {MARK}"));
    }
    entries.push(format!("TZ=/tmp/{MARK}"));
    entries.push(format!("LANG=../../tmp/{MARK}"));
    let count = entries.len();
    host.write("/usr/local/share/hostile", 0o644, entries.join("\0") + "\0").unwrap();
    host.write(
        "/usr/local/bin/with-hostile",
        0o755,
        "#!/bin/bash\nmapfile -d '' -t all < /usr/local/share/hostile\n[ \"$1\" = --plain ] && shift && all=(\"${all[@]/#LD_TRACE*/X=1}\")\nexec env \"${all[@]}\" \"$@\"\n",
    )
    .unwrap();
    // The check can fail: without jitsudo they are all there (but for the one that makes the loader print and run nothing).
    let plain = host.sh("with-hostile --plain /usr/bin/env -0").as_user("carol").ok().unwrap();
    assert!(plain.matches(MARK).count() >= count - 5, "{} of {count}", plain.matches(MARK).count());
    for program in ["/usr/bin/jitsudo", "/opt/jit/sudo"] {
        for words in [
            "env -0",
            "-E env -0",
            "-i env -0",
            "-s env -0",
            "-E -s env -0",
            "-u bob -E env -0",
            "-u bob -i env -0",
            "-u showenv -i",
            "-H -E bash -c 'env -0'",
            "-E sh -c 'env -0'",
        ] {
            let line = format!("with-hostile {program} {words}");
            let output = host.sh(&line).as_user("carol").output().unwrap();
            assert_eq!(output.status, 0, "{line}\n{}", output.both());
            assert!(output.stdout.contains("SUDO_USER=carol"), "{line}\n{}", output.stdout);
            let reached: Vec<&str> = output.stdout.split('\0').filter(|entry| entry.contains(MARK)).collect();
            assert!(reached.is_empty(), "{line}\n{reached:?}");
            assert!(!output.stderr.contains(MARK), "{line}: names, never values\n{}", output.stderr);
        }
    }
    // Nor by name on the command line, though everything may be run.
    for name in ["LD_PRELOAD", "BASH_ENV", "PYTHONPATH", "NOTIFY_SOCKET", "GIT_SSH_COMMAND"] {
        for words in [format!("{name}=/tmp/{MARK} env"), format!("--preserve-env={name} env")] {
            let output = host.sh(&format!("with-hostile jitsudo {words}")).as_user("carol").output().unwrap();
            assert_eq!((output.status, output.stdout.as_str()), (1, ""), "{words}\n{}", output.stderr);
        }
    }
    assert_eq!(host.sh("systemctl is-active jitsudod jitsudo-spawn").ok().unwrap(), "active\nactive\n");
}

#[test]
fn env_10_bookworm_variables_are_those_of_sudo() {
    variables_are_those_of_sudo("bookworm");
}

#[test]
fn env_10_trixie_variables_are_those_of_sudo() {
    variables_are_those_of_sudo("trixie");
}

#[test]
fn env_01_02_04_07_bookworm_hostile_variables_never_reach_a_command() {
    hostile_variables_never_reach_a_command("bookworm");
}

#[test]
fn env_01_02_04_07_trixie_hostile_variables_never_reach_a_command() {
    hostile_variables_never_reach_a_command("trixie");
}
