use super::*;

fn words(line: &[&str]) -> Vec<Vec<u8>> {
    line.iter().map(|word| word.as_bytes().to_vec()).collect()
}
fn asked(line: &[&str]) -> Asked {
    parse(Called::Jitsudo, words(line)).unwrap_or_else(|error| panic!("{line:?}: {error:?}"))
}
fn run(line: &[&str]) -> Run {
    match asked(line) {
        Asked::Run(run) => *run,
        other => panic!("{line:?}: {other:?}"),
    }
}
fn error(line: &[&str]) -> Vec<String> {
    match parse(Called::Jitsudo, words(line)) {
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
    assert_eq!(parse(Called::Sudo, vec![]), Err(UsageError::silent()));
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
        assert!(parse(Called::Sudo, words(line)).is_err(), "{line:?}");
    }
    let asked = parse(Called::Sudo, words(&["--role", "x", "id"])).unwrap();
    assert_eq!(asked, Asked::NotYet("--role".to_owned()));
    let environment = words(&["JITSUDO_ROLE=docker", "JITSUDO_REASON=why", "JITSUDO_TICKET="]);
    let given = parse(Called::Sudo, words(&["id"])).unwrap().with_settings(Called::Sudo, &environment);
    let Asked::Run(run) = given else { panic!("{given:?}") };
    assert_eq!((run.role.as_deref(), run.reason.as_deref(), run.ticket), (Some("docker"), Some("why"), None));
    let given = parse(Called::Jitsudo, words(&["id"])).unwrap().with_settings(Called::Jitsudo, &environment);
    let Asked::Run(run) = given else { panic!("{given:?}") };
    assert_eq!(run.role, None);
}

#[test]
fn options_without_effect_here_are_accepted() {
    let plain = run(&["id"]);
    for option in [&["-A"][..], &["-B"], &["-H"], &["-k"], &["-N"], &["-S"], &["-p", ""], &["-p", "x"]] {
        let line: Vec<&str> = option.iter().copied().chain(["id"]).collect();
        assert_eq!(run(&line), plain, "{option:?}");
    }
}

#[test]
fn modes_that_are_not_there_yet_say_so() {
    for (line, what) in [
        (&["-l"][..], "-l"),
        (&["-ll"], "-ll"),
        (&["-l", "id"], "-l"),
        (&["-l", "-U", "bob"], "-l"),
        (&["-v"], "-v"),
        (&["-nv"], "-v"),
        (&["-b", "id"], "-b"),
        (&["-P", "id"], "-P"),
        (&["-C", "4", "id"], "-C"),
        (&["-T10", "id"], "-T"),
        (&["-R", "/x", "id"], "-R"),
        (&["--chroot=/x", "id"], "--chroot"),
        (&["-h", "db", "id"], "-h HOST"),
        (&["-hdb", "id"], "-h HOST"),
        (&["-r", "x", "id"], "-r"),
    ] {
        assert_eq!(asked(line), Asked::NotYet(what.to_owned()), "{line:?}");
    }
}

#[test]
fn help_version_and_tickets() {
    assert_eq!(asked(&["-h"]), Asked::Help);
    assert_eq!(asked(&["--help"]), Asked::Help);
    assert_eq!(asked(&["-V"]), Asked::Version);
    assert_eq!(asked(&["-k"]), Asked::ForgetAuthentication);
    assert_eq!(asked(&["-K"]), Asked::ForgetAuthentication);
    assert_eq!(run(&["-k", "id"]).argv, words(&["id"]));
}

#[test]
fn edit_takes_files_and_no_environment() {
    assert_eq!(run(&["-e", "/etc/hosts"]).kind, ActKind::Edit);
    let edit = parse(Called::Sudoedit, words(&["/etc/hosts"])).unwrap();
    assert!(matches!(edit, Asked::Run(run) if run.kind == ActKind::Edit));
    let line = "you may not specify environment variables in edit mode";
    assert_eq!(error(&["-e", "A=b", "/etc/hosts"]), [line]);
    assert_eq!(error(&["-eE", "/etc/hosts"]), [line]);
    for bad in [&["-e"][..], &["-es", "x"], &["-ei", "x"], &["-eb", "x"], &["-eH", "x"], &["-eP", "x"]] {
        error(bad);
    }
}

#[test]
fn usage_errors_have_sudo_texts() {
    for (line, text) in [
        (&["-x"][..], "invalid option -- 'x'"),
        (&["-nx", "id"], "invalid option -- 'x'"),
        (&["-u"], "option requires an argument -- 'u'"),
        (&["--user"], "option '--user' requires an argument"),
        (&["--shell=x"], "option '--shell' doesn't allow an argument"),
        (&["--foo"], "unrecognized option '--foo'"),
        (&["--re"], "option '--re' is ambiguous; possibilities: '--remove-timestamp' '--reset-timestamp' '--reason'"),
        (&["-is"], "you may not specify both the -i and -s options"),
        (&["-iE"], "you may not specify both the -i and -E options"),
        (&["-AS", "id"], "the -A and -S options may not be used together"),
        (&["-U", "bob", "id"], "the -U option may only be used with the -l option"),
        (&["-lv"], ONE_MODE),
        (&["-Vl"], ONE_MODE),
        (&["-Kv"], ONE_MODE),
        (&["-ls"], ONE_MODE),
    ] {
        assert_eq!(error(line), [text], "{line:?}");
    }
}

#[test]
fn repeated_and_empty_values_are_refused() {
    for line in [
        &["-ua", "-ub", "id"][..],
        &["-u", "", "id"],
        &["--user=", "id"],
        &["-g", "", "id"],
        &["-D", "", "id"],
        &["-p", "x", "-p", "y", "id"],
        &["--reason", "", "id"],
        &["-Nk", "id"],
        &["-K", "id"],
        &["-v", "id"],
    ] {
        assert_eq!(error(line), Vec::<String>::new(), "{line:?}");
    }
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
            let _ = parse(called, words(&line));
        }
    }
}
