use super::*;

const HOST: &str = "web-1.example.org";

fn words(line: &[&str]) -> Vec<Vec<u8>> {
    line.iter().map(|word| word.as_bytes().to_vec()).collect()
}
fn asked(line: &[&str]) -> Asked {
    parse(Called::Jitsudo, words(line), HOST).unwrap_or_else(|error| panic!("{line:?}: {error:?}"))
}
fn run(line: &[&str]) -> Run {
    match asked(line) {
        Asked::Run(run) => *run,
        other => panic!("{line:?}: {other:?}"),
    }
}
fn error(line: &[&str]) -> Vec<String> {
    match parse(Called::Jitsudo, words(line), HOST) {
        Err(error) => error.lines().to_vec(),
        Ok(asked) => panic!("{line:?}: {asked:?}"),
    }
}

#[test]
fn command_begins_at_the_first_word_that_is_no_option() {
    let cases: [(&[&str], &[&str]); 8] = [
        (&["ls", "-l"], &["ls", "-l"]),
        (&["-n", "ls", "-u", "x"], &["ls", "-u", "x"]),
        (&["--", "-x", "A=b"], &["-x", "A=b"]),
        (&["-u", "bob", "--", "A=b", "ls"], &["A=b", "ls"]),
        (&["/a=b", "c"], &["/a=b", "c"]),
        (&["=x"], &["=x"]),
        (&["-"], &["-"]),
        (&["-H", "-S", "-n", "/bin/sh", "-c", "x"], &["/bin/sh", "-c", "x"]),
    ];
    for (line, argv) in cases {
        let run = run(line);
        assert_eq!(run.argv, words(argv), "{line:?}");
        assert_eq!(run.kind, ActKind::Command);
    }
}

#[test]
fn values_stand_attached_or_behind_and_bundles_are_taken_apart() {
    for line in [
        &["-ubob", "id"][..],
        &["-u", "bob", "id"],
        &["--user=bob", "id"],
        &["--user", "bob", "id"],
        &["--us", "bob", "id"],
        &["-Hubob", "id"],
        &["-HSu", "bob", "id"],
    ] {
        let run = run(line);
        assert_eq!((run.user.as_deref(), run.argv), (Some("bob"), words(&["id"])), "{line:?}");
    }
    let run = run(&["-nHg", "#27", "-D/srv", "id"]);
    assert!(run.non_interactive);
    assert_eq!((run.group.as_deref(), run.chdir), (Some("#27"), Some(b"/srv".to_vec())));
}

#[test]
fn shells_and_logins_take_words_or_none() {
    assert_eq!(run(&["-s"]).kind, ActKind::Shell);
    assert_eq!(run(&["-s", "echo", "x"]).argv, words(&["echo", "x"]));
    assert_eq!(run(&["-i"]).kind, ActKind::LoginShell);
    assert_eq!((run(&["-iu", "bob"]).kind, run(&["-iubob"]).user.as_deref()), (ActKind::LoginShell, Some("bob")));
    assert_eq!(run(&[]).kind, ActKind::Shell);
    assert_eq!(parse(Called::Sudo, vec![], HOST), Err(UsageError::silent()));
}

#[test]
fn assignments_stand_between_options_until_the_command() {
    let run = run(&["A=b", "-n", "C=", "D=e=f", "env", "G=h"]);
    assert_eq!(run.env_set, words(&["A=b", "C=", "D=e=f"]));
    assert_eq!(run.argv, words(&["env", "G=h"]));
}

#[test]
fn environment_options_add_up() {
    assert_eq!(run(&["-E", "id"]).preserve, words(&["*"]));
    assert_eq!(run(&["--preserve-env", "id"]).preserve, words(&["*"]));
    assert_eq!(run(&["--preserve-env=A,B", "--preserve-env=C", "id"]).preserve, words(&["A", "B", "C"]));
}

#[test]
fn own_options_are_read() {
    let run = run(&[
        "-m",
        "cert renewed",
        "--ticket",
        "OPS-1",
        "--role=docker",
        "--for",
        "1h30m",
        "--break-glass",
        "--no-wait",
        "--status-fd",
        "7",
        "id",
    ]);
    assert_eq!(run.reason.as_deref(), Some("cert renewed"));
    assert_eq!((run.ticket.as_deref(), run.role.as_deref()), (Some("OPS-1"), Some("docker")));
    assert_eq!((run.window, run.break_glass, run.status_fd), (Some(5400), true, Some(7)));
    for bad in ["", "5", "m", "0s", "1x", "-1m", "1h30", "99999999999999999999d"] {
        assert!(!error(&["--for", bad, "id"]).is_empty() || bad.is_empty(), "{bad}");
    }
    assert!(!error(&["--status-fd", "x", "id"]).is_empty());
    assert!(!error(&["--status-fd=-1", "id"]).is_empty());
}

#[test]
fn sudo_has_only_its_own_options() {
    for line in [&["-m", "x", "id"][..], &["--reason", "x", "id"], &["--break-glass", "id"], &["--ticket", "x", "id"]] {
        assert!(parse(Called::Sudo, words(line), HOST).is_err(), "{line:?}");
        assert!(parse(Called::Sudoedit, words(line), HOST).is_err(), "{line:?}");
    }
    let role = parse(Called::Sudo, words(&["--role", "x", "id"]), HOST).unwrap_err();
    assert!(!role.with_usage && role.lines()[0].contains("SELinux"), "{role:?}");
}

fn with_settings(called: Called, line: &[&str], environment: &[&str]) -> Run {
    let asked = parse(called, words(line), HOST).unwrap().with_settings(called, &words(environment)).unwrap();
    let Asked::Run(run) = asked else { panic!("{asked:?}") };
    *run
}

#[test]
fn variables_say_what_options_of_sudo_cannot() {
    let environment = ["JITSUDO_ROLE=docker", "JITSUDO_REASON=why", "JITSUDO_TICKET="];
    for called in [Called::Sudo, Called::Sudoedit] {
        let run = with_settings(called, &["x"], &environment);
        assert_eq!((run.role.as_deref(), run.reason.as_deref(), run.ticket), (Some("docker"), Some("why"), None));
    }
    assert_eq!(with_settings(Called::Jitsudo, &["id"], &environment).role, None);
}

#[test]
fn prompt_is_the_options_then_the_variables_then_the_default() {
    let prompt = |called, line: &[&str], environment: &[&str]| {
        let prompt = with_settings(called, line, environment).asking.prompt;
        (String::from_utf8(prompt.template.0).unwrap(), prompt.overrides)
    };
    let variable = ["SUDO_PROMPT=%u? "];
    assert_eq!(prompt(Called::Sudo, &["id"], &[]), ("[sudo] password for %p: ".into(), false));
    assert_eq!(prompt(Called::Sudoedit, &["x"], &[]), ("[sudo] password for %p: ".into(), false));
    assert_eq!(prompt(Called::Jitsudo, &["id"], &[]), ("[jitsudo] password for %p: ".into(), false));
    assert_eq!(prompt(Called::Sudo, &["id"], &variable), ("%u? ".into(), false));
    assert_eq!(prompt(Called::Sudo, &["-p", "pw:", "id"], &variable), ("pw:".into(), true));
    assert_eq!(prompt(Called::Sudo, &["-p", "", "id"], &variable), (String::new(), true));
    let long = "x".repeat(4097);
    assert!(parse(Called::Sudo, words(&["-p", &long, "id"]), HOST).is_err());
    let asked = parse(Called::Sudo, words(&["id"]), HOST).unwrap();
    assert!(asked.with_settings(Called::Sudo, &words(&[&format!("SUDO_PROMPT={long}")])).is_err());
}

#[test]
fn password_comes_from_where_the_options_say() {
    let source = |line: &[&str], environment: &[&str]| with_settings(Called::Sudo, line, environment).asking.source;
    let helper = ["SUDO_ASKPASS=/bin/ask", "DISPLAY=:0"];
    let path = || Some(b"/bin/ask".to_vec());
    assert_eq!(source(&["id"], &[]), Source::Terminal { helper: None });
    assert_eq!(source(&["id"], &helper), Source::Terminal { helper: path() });
    // A helper without a display is none that sudo uses by itself.
    assert_eq!(source(&["id"], &helper[..1]), Source::Terminal { helper: None });
    assert_eq!(source(&["-A", "id"], &helper[..1]), Source::Askpass(path()));
    assert_eq!(source(&["-A", "id"], &["JITSUDO_ASKPASS=/bin/ask"]), Source::Askpass(path()));
    assert_eq!(source(&["-A", "id"], &["SUDO_ASKPASS="]), Source::Askpass(None));
    assert_eq!(source(&["-S", "id"], &helper), Source::Stdin);
    assert!(with_settings(Called::Sudo, &["-B", "id"], &[]).asking.bell);
}

#[test]
fn options_of_the_command_are_kept() {
    let run = run(&["-bP", "-T", "1h30m", "-D", "/srv", "-C3", "-H", "--host=WEB-1", "id"]);
    assert!(run.background && run.preserve_groups);
    assert_eq!((run.timeout, run.chdir.as_deref()), (Some(5400), Some(&b"/srv"[..])));
    assert_eq!(self::run(&["-T0", "id"]).timeout, None);
    assert_eq!(self::run(&["id"]).remember, Remember::Use);
    assert_eq!(self::run(&["-k", "id"]).remember, Remember::Ignore);
    assert_eq!(self::run(&["-N", "id"]).remember, Remember::Keep);
    assert_eq!(self::run(&["-h", HOST, "id"]).argv, words(&["id"]));
}

/// What sudo 1.9.13 and 1.9.16 of Debian do with these, called as alice with `NOPASSWD: ALL`: seen, not read.
/// `usage` = only the usage, `U TEXT` = that text and the usage, `R TEXT` = that text alone.
const AS_SUDO: &[(&[&str], &str)] = &[
    (&[], "usage"),
    (&["-n"], "usage"),
    (&["A=b"], "usage"),
    (&["--"], "usage"),
    (&["-b"], "usage"),
    (&["-x"], "U invalid option -- 'x'"),
    (&["-nx", "id"], "U invalid option -- 'x'"),
    (&["-n-x"], "U invalid option -- '-'"),
    (&["-u"], "U option requires an argument -- 'u'"),
    (&["-Su"], "U option requires an argument -- 'u'"),
    (&["--user"], "U option '--user' requires an argument"),
    (&["--shell=x"], "U option '--shell' doesn't allow an argument"),
    (&["--help=x"], "U option '--help' doesn't allow an argument"),
    (&["--foo"], "U unrecognized option '--foo'"),
    (&["--re"], "U option '--re' is ambiguous; possibilities: '--remove-timestamp' '--reset-timestamp'"),
    (&["--v"], "U option '--v' is ambiguous; possibilities: '--validate' '--version'"),
    (&["--h"], "U option '--h' is ambiguous; possibilities: '--help' '--host'"),
    (&["--ch"], "U option '--ch' is ambiguous; possibilities: '--chdir' '--chroot'"),
    (&["-is"], "U you may not specify both the -i and -s options"),
    (&["-iE"], "U you may not specify both the -i and -E options"),
    (&["-Ei", "true"], "U you may not specify both the -i and -E options"),
    (&["-AS", "id"], "U the -A and -S options may not be used together"),
    (&["-U", "bob", "id"], "U the -U option may only be used with the -l option"),
    (&["-v", "-U", "bob"], "U the -U option may only be used with the -l option"),
    (&["-lv"], ONE),
    (&["-Vl"], ONE),
    (&["-Kv"], ONE),
    (&["-ev"], ONE),
    (&["-K", "-e"], ONE),
    (&["-h", "-V"], ONE),
    (&["-h", "-K"], ONE),
    (&["-Nk", "id"], "U Only one of the -K, -k or -N options may be specified"),
    (&["-NK"], "U Only one of the -K, -k or -N options may be specified"),
    (&["-ls"], "usage"),
    (&["-l", "-i", "id"], "usage"),
    (&["-lE"], "usage"),
    (&["-lH"], "usage"),
    (&["-lP"], "usage"),
    (&["-lb"], "usage"),
    (&["-l", "-u", "bob"], "usage"),
    (&["-l", "-g", "bob"], "usage"),
    (&["-l", "-U", "bob", "-u", "carol"], "usage"),
    (&["-l", "-U", ""], "usage"),
    (&["-vs"], "usage"),
    (&["-vi"], "usage"),
    (&["-vE"], "usage"),
    (&["-vH"], "usage"),
    (&["-vP"], "usage"),
    (&["-vb"], "usage"),
    (&["-v", "id"], "usage"),
    (&["-v", "--", "id"], "usage"),
    (&["-e"], "usage"),
    (&["-ee"], "usage"),
    (&["-es", "x"], "usage"),
    (&["-ei", "x"], "usage"),
    (&["-eb", "x"], "usage"),
    (&["-eH", "x"], "usage"),
    (&["-eP", "x"], "usage"),
    (&["-eE", "x"], "usage"),
    (&["-e", "A=b", "x"], "U you may not specify environment variables in edit mode"),
    (&["-ua", "-ub", "id"], "usage"),
    (&["-u", "", "id"], "usage"),
    (&["--user=", "id"], "usage"),
    (&["-g", "", "id"], "usage"),
    (&["-D", "", "id"], "usage"),
    (&["-R", "", "id"], "usage"),
    (&["-r", "", "id"], "usage"),
    (&["--host=", "id"], "usage"),
    (&["-p", "x", "-p", "y", "id"], "usage"),
    (&["-C4", "-C5", "id"], "usage"),
    (&["-T5", "-T6", "id"], "usage"),
    (&["-K", "id"], "usage"),
    (&["-Kn"], "usage"),
    (&["-K", "-u", "bob"], "usage"),
    (&["-K", "-g", "bob"], "usage"),
    (&["-Ks"], "usage"),
    (&["-Ki"], "usage"),
    (&["-kn"], "usage"),
    (&["-kH"], "usage"),
    (&["-kE"], "usage"),
    (&["-kb"], "usage"),
    (&["-kP"], "usage"),
    (&["-k", "-u", "bob"], "usage"),
    (&["-k", "-g", "bob"], "usage"),
    (&["-V", "x"], "usage"),
    (&["-Vn"], "usage"),
    (&["-Vs"], "usage"),
    (&["-VE"], "usage"),
    (&["-V", "-u", "bob"], "usage"),
    (&["-h", "-n"], "usage"),
    (&["-h", "-i"], "usage"),
    (&["-h", "-E"], "usage"),
    (&["-h", "-u", "bob"], "usage"),
    (&["-C", "2", "id"], CLOSE_FROM),
    (&["-C", "x", "id"], CLOSE_FROM),
    (&["-C", "", "id"], CLOSE_FROM),
    (&["--close-from", "2", "id"], CLOSE_FROM),
    (&["-C", "4", "id"], "R you are not permitted to use the -C option"),
    (&["-R", "/x", "true"], "R you are not permitted to use the -R option with true"),
    (&["-v", "-R", "/"], "R you are not permitted to use the -R option with validate"),
    (&["-l", "-R", "/"], "R you are not permitted to use the -R option with list"),
    (&["-v", "-D", "/"], "R you are not permitted to use the -D option with validate"),
    (&["-l", "-D", "/", "id"], "R you are not permitted to use the -D option with list"),
    (&["-e", "-D", "/", "x"], "R you are not permitted to use the -D option with sudoedit"),
    (&["-T", "x", "true"], "R x: invalid timeout value"),
    (&["-T", "", "true"], "R : invalid timeout value"),
    (&["-T", "-5", "true"], "R -5: timeout value too large"),
    (&["-h", "localhost", "true"], REMOTE),
    (&["-hlocalhost", "true"], REMOTE),
    (&["-hv"], REMOTE_OR_USAGE),
    (&["--host", "db", "true"], REMOTE),
    (&["-v", "-h", "localhost"], REMOTE),
    (&["-h"], "help"),
    (&["--he"], "help"),
    (&["-h", "-S"], "help"),
    (&["-h", "-k"], "help"),
    (&["-h", "A=b"], "help"),
    (&["-V"], "version"),
    (&["--vers"], "version"),
    (&["-Vk"], "version"),
    (&["-V", "A=b"], "version"),
    (&["-k"], "forget"),
    (&["-kA"], "forget"),
    (&["-kS"], "forget"),
    (&["-k", "-p", "x"], "forget"),
    (&["-k", "A=b"], "forget"),
    (&["-k", "-D", "/"], "forget"),
    (&["-k", "-R", "/"], "forget"),
    (&["-k", "-C", "3"], "forget"),
    (&["-k", "-T", "5"], "forget"),
    (&["-k", "-h", "db"], "forget"),
    (&["--reset"], "forget"),
    (&["-K"], "forget all"),
    (&["-kK"], "forget all"),
    (&["-KS"], "forget all"),
    (&["-K", "A=b"], "forget all"),
    (&["-K", "-D", "/"], "forget all"),
    (&["-v"], "validate"),
    (&["-vv"], "validate"),
    (&["-nv"], "validate"),
    (&["-Nnv"], "validate"),
    (&["-kv"], "validate"),
    (&["-vASB"], ASKPASS_AND_STDIN),
    (&["-v", "A=b"], "validate"),
    (&["-v", "-u", "bob"], "validate"),
    (&["-v", "-g", "bob"], "validate"),
    (&["-v", "-C", "3"], "validate"),
    (&["-v", "--preserve-env=A"], "validate"),
    (&["-v", "-h", "web-1"], "validate"),
    (&["-l"], "list"),
    (&["-ll"], "list"),
    (&["-lll"], "list"),
    (&["-l", "--list"], "list"),
    (&["-l", "A=b"], "list"),
    (&["-l", "id"], "list"),
    (&["-l", "-u", "bob", "id"], "list"),
    (&["-l", "-U", "bob", "-u", "alice", "id"], "list"),
    (&["-lkNp", "x"], "U Only one of the -K, -k or -N options may be specified"),
    (&["-lk"], "list"),
    (&["-lN"], "list"),
    (&["-l", "-C", "3"], "list"),
    (&["-h", "web-1", "-l", "id"], "list"),
    (&["-e", "x"], "edit"),
    (&["-e", "--preserve-env=A", "x"], "edit"),
    (&["-e", "--", "A=b"], "edit"),
    (&["-ekN", "x"], "U Only one of the -K, -k or -N options may be specified"),
    (&["-ekn", "x"], "edit"),
    (&["id"], "command"),
    (&["-C", "3", "id"], "command"),
    (&["-A", "id"], "command"),
    (&["-B", "id"], "command"),
    (&["-H", "id"], "command"),
    (&["-P", "id"], "command"),
    (&["-EE", "id"], "command"),
    (&["--preserve-env=", "id"], "command"),
    (&["-p", "", "id"], "command"),
    (&["-h", "web-1", "id"], "command"),
    (&["-h", HOST, "id"], "command"),
    (&["-nSH", "id"], "command"),
    (&["-k", "id"], "command"),
    (&["-"], "command"),
    (&[""], "command"),
    (&["--", "--", "id"], "command"),
    (&["-s"], "shell"),
    (&["-ss"], "shell"),
    (&["-ks"], "shell"),
    (&["-sE", "id"], "shell"),
    (&["-bs", "id"], "shell"),
    (&["-i"], "login shell"),
    (&["-ki"], "login shell"),
    (&["--preserve-env=A", "-i"], "login shell"),
    (&["-i", "A=b", "id"], "login shell"),
];
const ONE: &str = "U Only one of the -e, -h, -i, -K, -l, -s, -v or -V options may be specified";
const CLOSE_FROM: &str = "U the argument to -C must be a number greater than or equal to 3";
const REMOTE: &str = "R a remote host may only be specified when listing privileges.";
/// The real one notices the host before the missing command.
const REMOTE_OR_USAGE: &str = REMOTE;
const ASKPASS_AND_STDIN: &str = "U the -A and -S options may not be used together";

fn outcome(called: Called, line: &[&str]) -> String {
    match parse(called, words(line), HOST) {
        Err(error) => match (error.lines(), error.with_usage) {
            ([], true) => "usage".to_owned(),
            ([text], true) => format!("U {text}"),
            ([text], false) => format!("R {text}"),
            other => panic!("{line:?}: {other:?}"),
        },
        Ok(Asked::Help) => "help".to_owned(),
        Ok(Asked::Version) => "version".to_owned(),
        Ok(Asked::Forget { all }) => if all { "forget all" } else { "forget" }.to_owned(),
        Ok(Asked::List(_)) => "list".to_owned(),
        Ok(Asked::Run(run)) => match run.kind {
            ActKind::Command => "command",
            ActKind::Shell => "shell",
            ActKind::LoginShell => "login shell",
            ActKind::Edit => "edit",
            ActKind::Validate => "validate",
            ActKind::Role => "role",
            ActKind::Approve => "approve",
        }
        .to_owned(),
    }
}

#[test]
fn every_line_has_the_outcome_that_sudo_has() {
    for (line, wanted) in AS_SUDO {
        assert_eq!(outcome(Called::Sudo, line), *wanted, "sudo {line:?}");
    }
}

#[test]
fn sudoedit_has_fewer_options_and_one_mode() {
    for (line, wanted) in [
        (&[][..], "usage"),
        (&["-n"], "usage"),
        (&["-k"], "usage"),
        (&["-u", "bob"], "usage"),
        (&["-x"], "U invalid option -- 'x'"),
        (&["-e", "x"], "U invalid option -- 'e'"),
        (&["-l"], "U invalid option -- 'l'"),
        (&["-v"], "U invalid option -- 'v'"),
        (&["-s", "x"], "U invalid option -- 's'"),
        (&["-i", "x"], "U invalid option -- 'i'"),
        (&["-b", "x"], "U invalid option -- 'b'"),
        (&["-E", "x"], "U invalid option -- 'E'"),
        (&["-H", "x"], "U invalid option -- 'H'"),
        (&["--login", "x"], "U unrecognized option '--login'"),
        (&["-K"], ONE),
        (&["A=b", "x"], "U you may not specify environment variables in edit mode"),
        (&["--", "A=b"], "edit"),
        (&["-nu", "bob", "x"], "edit"),
        (&["-h"], "help"),
        (&["-V"], "version"),
    ] {
        assert_eq!(outcome(Called::Sudoedit, line), wanted, "sudoedit {line:?}");
    }
}

#[test]
fn jitsudo_differs_from_sudo_by_its_own_options_and_its_shell() {
    for (line, wanted) in AS_SUDO {
        // With no command at all it gives a shell, where a role has one; --re fits --reason too.
        let own = matches!(line, [] | ["-n" | "A=b" | "--" | "-b" | "--re"]);
        assert_eq!(outcome(Called::Jitsudo, line) == *wanted, !own, "jitsudo {line:?}");
    }
    assert_eq!(outcome(Called::Jitsudo, &[]), "shell");
}

#[test]
fn list_is_read_whole() {
    let asked = asked(&["-ll", "-U", "bob", "-u", "carol", "-n", "id", "-x"]);
    let Asked::List(list) = asked else { panic!("{asked:?}") };
    assert!(list.long && list.non_interactive);
    assert_eq!((list.user.as_deref(), list.other_user.as_deref(), list.group), (Some("carol"), Some("bob"), None));
    assert_eq!(list.argv, words(&["id", "-x"]));
    let other = parse(Called::Sudo, words(&["-l", "-h", "db"]), HOST).unwrap_err();
    assert_eq!(other.lines(), ["cannot list privileges for db: only this host's are known here"]);
}

#[test]
fn names_decide_who_is_called() {
    for (name, called) in [
        (&b"/usr/bin/jitsudo"[..], Called::Jitsudo),
        (b"sudo", Called::Sudo),
        (b"/bin/sudo", Called::Sudo),
        (b"sudoedit", Called::Sudoedit),
        (b"jitsudoedit", Called::Sudoedit),
        (b"", Called::Jitsudo),
        (b"%n%n%s", Called::Jitsudo),
    ] {
        assert_eq!(Called::by(name), called);
    }
}

#[test]
fn any_words_are_answered_without_a_panic() {
    // A small generator of its own: the same words every time.
    let pieces = [
        "-",
        "--",
        "-u",
        "-ubob",
        "=",
        "A=b",
        "\u{7f}",
        "-EHn",
        "--preserve-env=",
        "--us",
        "-h",
        "x",
        "",
        "-mé",
        "--for=1m",
        "-\u{ff}",
    ];
    let mut state = 1u32;
    for _ in 0..20_000 {
        let line: Vec<&str> = (0..5)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                pieces[(state >> 16) as usize % pieces.len()]
            })
            .collect();
        for called in [Called::Jitsudo, Called::Sudo, Called::Sudoedit] {
            let _ = parse(called, words(&line), HOST);
        }
    }
}

#[test]
fn explaining_the_environment_is_ours_and_goes_with_running_alone() {
    assert!(run(&["--explain-env", "-u", "bob", "id"]).explain_env);
    assert!(run(&["--explain-env", "-i"]).explain_env && !run(&["-i"]).explain_env);
    for mode in ["-l", "-v", "-e", "-K", "-b"] {
        let line = [mode, "--explain-env", "x"];
        assert!(parse(Called::Jitsudo, words(&line), HOST).is_err(), "{mode}");
    }
    assert!(parse(Called::Sudo, words(&["--explain-env", "id"]), HOST).is_err());
}
