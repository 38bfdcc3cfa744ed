//! What reaches a command's environment.

mod scene;

use jitsudo_bytes::Bytes;
use jitsudo_core::decision::{Cwd, RunAs};
use jitsudo_core::environment::{Inputs, MAX_VARIABLES, build, check_size, explain, is_hostile, not_preserved};
use jitsudo_core::id::AccessId;
use jitsudo_core::name::{Gid, Uid};
use proptest::prelude::*;
use scene::account;

struct Scene {
    caller: Vec<&'static str>,
    assignments: Vec<&'static str>,
    pam: Vec<&'static str>,
    keep: Vec<&'static str>,
    set: Vec<(&'static str, &'static str)>,
    preserve: Vec<&'static str>,
    free: bool,
    root_is_root: bool,
    login: bool,
}

impl Scene {
    fn of(caller: &[&'static str]) -> Self {
        Self {
            caller: caller.to_vec(),
            assignments: vec![],
            pam: vec![],
            keep: vec![],
            set: vec![],
            preserve: vec![],
            free: false,
            root_is_root: false,
            login: false,
        }
    }

    fn build(&self) -> Vec<(String, String)> {
        let text = |bytes: Bytes| String::from_utf8_lossy(&bytes.0).into_owned();
        self.with(|inputs| build(inputs).into_iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    fn cause(&self, name: &str) -> Option<String> {
        let told = self.with(explain);
        told.into_iter().find(|one| one.name == Bytes::from(name)).map(|one| one.cause.to_string())
    }

    fn with<T>(&self, ask: impl FnOnce(&Inputs<'_>) -> T) -> T {
        let bytes = |list: &[&str]| list.iter().map(|entry| Bytes::from(*entry)).collect::<Vec<_>>();
        let (caller, assignments, pam) = (bytes(&self.caller), bytes(&self.assignments), bytes(&self.pam));
        let run_as = RunAs {
            env_keep: self.keep.iter().map(|keep| (*keep).to_owned()).collect(),
            env_free: self.free,
            env_set: self.set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            cwd: Cwd::Caller,
            umask: None,
            no_new_privs: false,
            leaves: false,
            safe_chain: true,
            create: false,
        };
        let preserve = bytes(&self.preserve);
        ask(&Inputs {
            caller: &caller,
            preserve: &preserve,
            assignments: &assignments,
            pam: &pam,
            run_as: &run_as,
            root_is_root: self.root_is_root,
            target: &account("root", 0),
            uid: Uid(1001),
            gid: Gid(1001),
            user: "alice",
            home: "/home/alice",
            command: &[Bytes::from("/usr/bin/id"), Bytes::from("-u")],
            secure_path: "/usr/sbin:/usr/bin",
            tty: Some("/dev/pts/3"),
            login: self.login,
            id: &AccessId::new(1, [7; 10]),
        })
    }

    fn value(&self, name: &str) -> Option<String> {
        let all: Vec<_> = self.build().into_iter().filter(|(own, _)| own == name).collect();
        assert!(all.len() < 2, "{name} twice");
        all.into_iter().next().map(|(_, value)| value)
    }
}

/// Names by which code, configuration or libraries are chosen: the same list that booted hosts are tried with.
const HOSTILE: &str = include_str!("../../tests/data/hostile-variables.txt");

fn hostile() -> Vec<&'static str> {
    HOSTILE.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).collect()
}

#[test]
fn env_01_hostile_variables_pass_neither_by_default_nor_by_a_pattern() {
    assert!(hostile().len() >= 300, "{}", hostile().len());
    for name in hostile() {
        let entry: &'static str = format!("{name}=/tmp/evil").leak();
        assert!(is_hostile(name.as_bytes()), "{name}");
        assert_ne!(Scene::of(&[entry]).value(name).as_deref(), Some("/tmp/evil"), "{name} by default");
        for keep in ["*", &name[..1.min(name.len())], &name[..name.len() - 1]] {
            let pattern: &'static str = format!("{}*", keep.trim_end_matches('*')).leak();
            let mut scene = Scene::of(&[entry]);
            scene.keep = vec![pattern];
            assert_ne!(scene.value(name).as_deref(), Some("/tmp/evil"), "{name} by {pattern}");
            scene.pam = vec![entry];
            scene.assignments = vec![entry];
            assert_ne!(scene.value(name).as_deref(), Some("/tmp/evil"), "{name} by PAM or the command line");
            scene.free = true;
            scene.preserve = vec!["*", name];
            assert_ne!(scene.value(name).as_deref(), Some("/tmp/evil"), "{name} by -E where everything may run");
        }
    }
}

#[test]
fn env_02_functions_are_dropped_even_if_the_name_is_listed() {
    let mut scene = Scene::of(&["BASH_FUNC_x%%=() { id; }", "FOO=() { id; }", "LANG=() { :; }", "SUDO_PS1=() { id; }"]);
    scene.keep = vec!["FOO", "BASH_FUNC_x%%", "*"];
    scene.root_is_root = true;
    for name in ["BASH_FUNC_x%%", "FOO", "LANG", "PS1"] {
        assert_eq!(scene.value(name), None, "{name}");
    }
}

#[test]
fn env_04_term_and_zone_are_no_paths() {
    for (entry, name, wanted) in [
        ("TERM=xterm-256color", "TERM", Some("xterm-256color")),
        ("TERM=../../tmp/x", "TERM", Some("unknown")),
        ("TERM=", "TERM", Some("unknown")),
        ("TERM=a b", "TERM", Some("unknown")),
        ("TERMINFO=/tmp", "TERMINFO", None),
        ("TERMCAP=/etc/shadow", "TERMCAP", None),
        ("TZ=Europe/Paris", "TZ", Some("Europe/Paris")),
        ("TZ=:/usr/share/zoneinfo/UTC", "TZ", Some(":/usr/share/zoneinfo/UTC")),
        ("TZ=/etc/shadow", "TZ", None),
        ("TZ=:/usr/share/zoneinfo/../../../etc/shadow", "TZ", None),
        ("LANG=C.UTF-8", "LANG", Some("C.UTF-8")),
        ("LANG=/tmp/x", "LANG", None),
        ("LC_ALL=%n", "LC_ALL", None),
        ("COLORTERM=truecolor", "COLORTERM", Some("truecolor")),
        ("DISPLAY=:0", "DISPLAY", Some(":0")),
        ("OTHER=x", "OTHER", None),
    ] {
        assert_eq!(Scene::of(&[entry]).value(name).as_deref(), wanted, "{entry}");
    }
}

#[test]
fn env_05_the_first_well_formed_entry_counts_and_malformed_ones_do_not() {
    let mut scene = Scene::of(&["FOO", "=x", "FOO=1", "FOO=2", "A\nB=1", "A B=1", "1A=1", ""]);
    scene.keep = vec!["FOO", "*"];
    assert_eq!(scene.value("FOO").as_deref(), Some("1"));
    let ours = [
        "HOME",
        "JITSUDO_ID",
        "JITSUDO_USER",
        "LOGNAME",
        "MAIL",
        "PATH",
        "SHELL",
        "SUDO_COMMAND",
        "SUDO_GID",
        "SUDO_HOME",
        "SUDO_TTY",
        "SUDO_UID",
        "SUDO_USER",
        "TERM",
        "USER",
    ];
    let names: Vec<String> =
        scene.build().into_iter().map(|(name, _)| name).filter(|name| !ours.contains(&name.as_str())).collect();
    assert_eq!(names, ["FOO"]);
}

#[test]
fn env_07_tunables_are_dropped_from_caller_and_pam() {
    let mut scene = Scene::of(&["GLIBC_TUNABLES=glibc.malloc.mxfast=glibc.malloc.mxfast=A"]);
    scene.pam = vec!["GLIBC_TUNABLES=x"];
    scene.keep = vec!["GLIBC_*"];
    assert_eq!(scene.value("GLIBC_TUNABLES"), None);
}

#[test]
fn env_08_pam_fills_gaps_and_passes_the_same_filter() {
    let mut scene = Scene::of(&["LANG=C"]);
    scene.pam = vec![
        "PATH=/tmp",
        "LD_PRELOAD=/tmp/x",
        "XDG_CONFIG_HOME=/tmp",
        "LANG=de_DE",
        "LC_TIME=en",
        "XDG_SESSION_ID=3",
        "HOME=/tmp",
        "A=() {",
    ];
    assert_eq!(scene.value("PATH").as_deref(), Some("/usr/sbin:/usr/bin"));
    assert_eq!(scene.value("LANG").as_deref(), Some("C"));
    assert_eq!(scene.value("LC_TIME").as_deref(), Some("en"));
    assert_eq!(scene.value("XDG_SESSION_ID").as_deref(), Some("3"));
    assert_eq!(scene.value("HOME").as_deref(), Some("/home/root"));
    assert_eq!((scene.value("LD_PRELOAD"), scene.value("XDG_CONFIG_HOME"), scene.value("A")), (None, None, None));
}

#[test]
fn env_10_names_of_people_come_from_the_databases() {
    let forged = [
        "HOME=/tmp",
        "USER=bob",
        "LOGNAME=bob",
        "MAIL=/tmp",
        "SHELL=/tmp/sh",
        "PATH=/tmp",
        "SUDO_USER=bob",
        "SUDO_UID=0",
        "SUDO_GID=0",
        "SUDO_COMMAND=/bin/true",
        "SUDO_HOME=/tmp",
        "SUDO_TTY=x",
        "JITSUDO_ID=x",
        "JITSUDO_USER=bob",
    ];
    let mut scene = Scene::of(&forged);
    scene.assignments = forged.to_vec();
    scene.pam = forged.to_vec();
    for root_is_root in [false, true] {
        scene.root_is_root = root_is_root;
        scene.keep = vec!["*"];
        for (name, value) in [
            ("HOME", "/home/root"),
            ("USER", "root"),
            ("LOGNAME", "root"),
            ("MAIL", "/var/mail/root"),
            ("SHELL", "/bin/bash"),
            ("PATH", "/usr/sbin:/usr/bin"),
            ("SUDO_USER", "alice"),
            ("SUDO_UID", "1001"),
            ("SUDO_GID", "1001"),
            ("SUDO_COMMAND", "/usr/bin/id -u"),
            ("SUDO_HOME", "/home/alice"),
            ("SUDO_TTY", "/dev/pts/3"),
            ("JITSUDO_USER", "alice"),
        ] {
            assert_eq!(scene.value(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(scene.value("JITSUDO_ID").unwrap().len(), 26);
    }
    scene.keep = vec!["USER", "HOME"];
    assert_eq!(
        (scene.value("USER").as_deref(), scene.value("LOGNAME").as_deref(), scene.value("HOME").as_deref()),
        (Some("alice"), Some("alice"), Some("/home/alice"))
    );
}

#[test]
fn env_11_an_oversized_environment_is_refused() {
    let many: Vec<Bytes> = (0..=MAX_VARIABLES).map(|at| Bytes::from(format!("A{at}=").as_str())).collect();
    assert!(check_size(&many).is_err());
    assert!(check_size(&many[1..]).is_ok());
    assert!(check_size(&[Bytes(vec![b'a'; 4 << 20])]).unwrap_err().to_string().contains("4194304 bytes"));
}

#[test]
fn roles_keep_and_set_what_they_name() {
    let mut scene = Scene::of(&["PGHOST=db", "PGPORT=1", "LD_LIBRARY_PATH=/opt"]);
    scene.keep = vec!["PG*", "LD_LIBRARY_PATH"];
    scene.set = vec![("MODE", "safe"), ("PGPORT", "5432"), ("PATH", "/opt/bin"), ("SUDO_UID", "0")];
    scene.assignments = vec!["PGHOST=other", "X=1"];
    assert_eq!(scene.value("PGHOST").as_deref(), Some("other"));
    assert_eq!(scene.value("PGPORT").as_deref(), Some("5432"), "the role's value wins");
    assert_eq!(scene.value("LD_LIBRARY_PATH").as_deref(), Some("/opt"), "by its exact name");
    assert_eq!((scene.value("MODE").as_deref(), scene.value("X")), (Some("safe"), None));
    assert_eq!(scene.value("SUDO_UID").as_deref(), Some("1001"));
}

#[test]
fn a_login_keeps_what_the_default_lists_keep() {
    let mut scene = Scene::of(&["TERM=xterm", "DISPLAY=:0", "LANG=C", "LS_COLORS=x", "SUDO_PS1=# ", "HOME=/x"]);
    scene.login = true;
    scene.keep = vec!["HOME"];
    for (name, value) in [("TERM", "xterm"), ("DISPLAY", ":0"), ("LANG", "C"), ("LS_COLORS", "x"), ("PS1", "# ")] {
        assert_eq!(scene.value(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(scene.value("HOME").as_deref(), Some("/home/root"));
}

#[test]
fn what_is_asked_for_passes_where_everything_may_run_unless_it_chooses_code() {
    let caller =
        ["_=/usr/bin/jitsudo", "FOO=1", "BAR=2", "LD_PRELOAD=/tmp/x", "BASH_ENV=/tmp/x", "HOME=/tmp", "FN=() { :; }"];
    let mut scene = Scene::of(&caller);
    scene.free = true;
    assert_eq!((scene.value("FOO"), scene.value("BAR")), (None, None), "not asked for");
    scene.preserve = vec!["FOO"];
    assert_eq!((scene.value("FOO").as_deref(), scene.value("BAR")), (Some("1"), None));
    scene.preserve = vec!["*"];
    scene.assignments = vec!["BAR=3", "LD_AUDIT=/tmp/x"];
    assert_eq!((scene.value("FOO").as_deref(), scene.value("BAR").as_deref()), (Some("1"), Some("3")));
    for name in ["LD_PRELOAD", "LD_AUDIT", "BASH_ENV", "FN"] {
        assert_eq!(scene.value(name), None, "{name}");
    }
    assert_eq!(scene.value("HOME").as_deref(), Some("/home/root"));
    let names = scene.with(not_preserved);
    let names: Vec<String> = names.iter().map(Bytes::visible).collect();
    assert_eq!(names, ["BASH_ENV", "FN", "LD_AUDIT", "LD_PRELOAD"]);
    scene.free = false;
    assert_eq!((scene.value("FOO"), scene.value("BAR")), (None, None), "a rule that names commands");
    assert!(scene.with(not_preserved).contains(&Bytes::from("FOO")));
    scene.preserve = vec!["FOO"];
    assert!(scene.with(not_preserved).is_empty(), "only -E says what it dropped");
}

#[test]
fn every_variable_has_its_cause() {
    let mut scene =
        Scene::of(&["LANG=C", "PGHOST=db", "EXACT=1", "LD_PRELOAD=/x", "X=1", "TZ=/etc/x", "SUDO_ASKPASS=/x", "A B=1"]);
    scene.keep = vec!["PG*", "EXACT", "USER"];
    scene.set = vec![("MODE", "safe")];
    scene.pam = vec!["LC_ALL=C", "KRB5_TRACE=/x", "FROM_PAM=1"];
    scene.assignments = vec!["LC_TIME=C", "Y=1"];
    for (name, cause) in [
        ("LANG", "kept: default list"),
        ("LC_TIME", "kept: default list"),
        ("PGHOST", "kept: role's env-keep PG*"),
        ("EXACT", "kept: role's env-keep EXACT"),
        ("USER", "kept: role's env-keep USER"),
        ("LOGNAME", "kept: role's env-keep USER"),
        ("MODE", "set: role's env-set"),
        ("LC_ALL", "PAM"),
        ("HOME", "base"),
        ("TERM", "base"),
        ("SUDO_UID", "base"),
        ("LD_PRELOAD", "dropped: black list"),
        ("KRB5_TRACE", "dropped: black list"),
        ("X", "dropped: not kept"),
        ("Y", "dropped: not kept"),
        ("FROM_PAM", "dropped: not kept"),
        ("TZ", "dropped: unsafe value"),
        ("SUDO_ASKPASS", "dropped: set by the host alone"),
        ("A B", "dropped: no plain name"),
    ] {
        assert_eq!(scene.cause(name).as_deref(), Some(cause), "{name}");
    }
    scene.free = true;
    assert_eq!(scene.cause("Y").as_deref(), Some("kept: asked for"));
}

fn entries() -> impl Strategy<Value = Vec<Bytes>> {
    let names = prop::sample::select(vec![
        "LANG",
        "TZ",
        "TERM",
        "FOO",
        "LD_PRELOAD",
        "HOME",
        "SUDO_PS1",
        "PS1",
        "BASH_FUNC_x%%",
        "",
        "A\nB",
        "LC_ALL",
    ]);
    let known = (names, prop::collection::vec(1u8..=255, 0..6))
        .prop_map(|(name, value)| [name.as_bytes(), b"=", &value].concat());
    let any = prop::collection::vec(any::<u8>(), 0..12);
    prop::collection::vec(prop_oneof![known, any].prop_map(Bytes), 0..30)
}

proptest! {
    #[test]
    fn building_and_explaining_never_disagree(
        caller in entries(), assignments in entries(), pam in entries(), preserve in entries(), free: bool, login: bool, root: bool,
    ) {
        let scene = Scene { free, login, root_is_root: root, keep: vec!["F*", "TZ"], set: vec![("FOO", "1")], ..Scene::of(&[]) };
        scene.with(|inputs| {
            let inputs = Inputs { caller: &caller, assignments: &assignments, pam: &pam, preserve: &preserve, ..*inputs };
            let (built, told) = (build(&inputs), explain(&inputs));
            let kept: Vec<_> = told.iter().filter_map(|one| Some((one.name.clone(), one.value.clone()?))).collect();
            prop_assert_eq!(&built, &kept);
            prop_assert!(told.is_sorted_by(|one, other| one.name < other.name), "each name once, sorted");
            // A cause that says dropped goes with no value, and the other way round.
            for one in &told {
                prop_assert_eq!(one.cause.to_string().starts_with("dropped: "), one.value.is_none());
            }
            // Every variable that came in by any way is spoken of.
            for entry in caller.iter().chain(&assignments).chain(&pam) {
                let name = entry.0.split(|byte| *byte == b'=').next().unwrap_or_default();
                let of_pam_alone = !caller.contains(entry) && !assignments.contains(entry);
                prop_assert!(of_pam_alone || told.iter().any(|one| one.name.0 == name));
            }
            // Nothing that exec cannot carry, nothing twice, no function.
            for (name, value) in &built {
                prop_assert!(!name.0.is_empty() && !name.0.contains(&b'=') && !name.0.contains(&0) && !value.0.contains(&0));
                prop_assert!(!value.0.starts_with(b"()"));
            }
            Ok(())
        })?;
    }
}

#[test]
fn ten_thousand_variables_that_are_no_text_are_no_trouble() {
    let caller: Vec<Bytes> =
        (0..10_000u32).map(|at| Bytes([&b"V\xff"[..], &at.to_be_bytes(), b"=\xfe\x80"].concat())).collect();
    let named: Vec<Bytes> = (0..10_000u32).map(|at| Bytes(format!("F{at}=\u{e9}").into_bytes())).collect();
    let scene = Scene { keep: vec!["F*"], ..Scene::of(&[]) };
    scene.with(|inputs| {
        assert_eq!(build(&Inputs { caller: &caller, ..*inputs }).len(), build(inputs).len());
        assert_eq!(build(&Inputs { caller: &named, ..*inputs }).len(), build(inputs).len() + 10_000);
        assert!(explain(&Inputs { caller: &caller, ..*inputs }).len() >= 10_000);
    });
}
