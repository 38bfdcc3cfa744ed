//! What reaches a command's environment.

mod scene;

use jitsudo_bytes::Bytes;
use jitsudo_core::decision::{Cwd, RunAs};
use jitsudo_core::environment::{Inputs, MAX_VARIABLES, build, check_size, is_hostile};
use jitsudo_core::id::AccessId;
use jitsudo_core::name::{Gid, Uid};
use scene::account;

struct Scene {
    caller: Vec<&'static str>,
    assignments: Vec<&'static str>,
    pam: Vec<&'static str>,
    keep: Vec<&'static str>,
    set: Vec<(&'static str, &'static str)>,
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
            root_is_root: false,
            login: false,
        }
    }

    fn build(&self) -> Vec<(String, String)> {
        let bytes = |list: &[&str]| list.iter().map(|entry| Bytes::from(*entry)).collect::<Vec<_>>();
        let (caller, assignments, pam) = (bytes(&self.caller), bytes(&self.assignments), bytes(&self.pam));
        let run_as = RunAs {
            env_keep: self.keep.iter().map(|keep| (*keep).to_owned()).collect(),
            env_set: self.set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            cwd: Cwd::Caller,
            umask: None,
            no_new_privs: false,
            leaves: false,
            safe_chain: true,
            create: false,
        };
        let built = build(&Inputs {
            caller: &caller,
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
        });
        let text = |bytes: Bytes| String::from_utf8_lossy(&bytes.0).into_owned();
        built.into_iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    fn value(&self, name: &str) -> Option<String> {
        let all: Vec<_> = self.build().into_iter().filter(|(own, _)| own == name).collect();
        assert!(all.len() < 2, "{name} twice");
        all.into_iter().next().map(|(_, value)| value)
    }
}

/// Names by which code, configuration or libraries are chosen.
const HOSTILE: &str = "LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT LD_DEBUG LD_DEBUG_OUTPUT LD_BIND_NOW LD_ORIGIN_PATH LD_PROFILE LD_PROFILE_OUTPUT \
LD_SHOW_AUXV LD_USE_LOAD_BIAS LD_DYNAMIC_WEAK LD_POINTER_GUARD LD_HWCAP_MASK LD_ASSUME_KERNEL _RLD_LIST _RLD_ROOT DYLD_INSERT_LIBRARIES \
DYLD_LIBRARY_PATH LDR_PRELOAD LDR_CNTRL LIBPATH SHLIB_PATH GCONV_PATH GETCONF_DIR LOCPATH NLSPATH GLIBC_TUNABLES MALLOC_TRACE MALLOC_CHECK_ \
MALLOC_ARENA_MAX RES_OPTIONS RESOLV_HOST_CONF HOSTALIASES LOCALDOMAIN NIS_PATH TZDIR TMPDIR IFS CDPATH ENV BASH_ENV BASHOPTS SHELLOPTS PS4 \
PROMPT_COMMAND GLOBIGNORE BASH_FUNC_ls BASH_XTRACEFD BASH_LOADABLES_PATH FPATH ZDOTDIR NULLCMD READNULLCMD TMPPREFIX PERL5OPT PERL5LIB PERL5DB \
PERLLIB PERLIO PERLIO_DEBUG PERL_UNICODE PYTHONPATH PYTHONSTARTUP PYTHONHOME PYTHONINSPECT PYTHONUSERBASE PYTHONWARNINGS PYTHONBREAKPOINT \
PYTHONEXECUTABLE PYTHONPLATLIBDIR RUBYLIB RUBYOPT RUBYPATH RUBYSHELL GEM_PATH GEM_HOME BUNDLE_GEMFILE NODE_OPTIONS NODE_PATH NODE_EXTRA_CA_CERTS \
NPM_CONFIG_PREFIX npm_config_prefix JAVA_TOOL_OPTIONS _JAVA_OPTIONS JDK_JAVA_OPTIONS JAVA_OPTS JAVA_HOME CLASSPATH LUA_PATH LUA_CPATH LUA_INIT \
LUA_INIT_5_4 PHPRC PHP_INI_SCAN_DIR TCLLIBPATH R_HOME R_PROFILE R_LIBS ERL_LIBS ERL_AFLAGS OCAMLLIB CAML_LD_LIBRARY_PATH EDITOR VISUAL SUDO_EDITOR \
PAGER MANPAGER GIT_PAGER SYSTEMD_PAGER SYSTEMD_EDITOR SYSTEMD_LESS LESSOPEN LESSCLOSE LESS LESSKEY LESSEDIT BROWSER INPUTRC TERMINFO TERMINFO_DIRS \
TERMCAP TERMPATH KRB5_CONFIG KRB5_KTNAME KRB5_TRACE KRBCONFDIR KRBTKFILE VAR_ACE USR_ACE DLC_ACE AUTHSTATE PATH_LOCALE OPENSSL_CONF OPENSSL_MODULES \
OPENSSL_ENGINES SSL_CERT_FILE SSL_CERT_DIR SSLKEYLOGFILE CURL_HOME CURL_CA_BUNDLE REQUESTS_CA_BUNDLE GIT_SSH_COMMAND GIT_SSH GIT_CONFIG_COUNT \
GIT_CONFIG_GLOBAL GIT_EXEC_PATH GIT_DIR GIT_EDITOR GIT_ASKPASS GIT_PROXY_COMMAND SSH_ASKPASS SSH_AUTH_SOCK RSYNC_RSH CVS_RSH SVN_SSH MAKEFLAGS \
MAKEFILES CC CXX CFLAGS LDFLAGS RUSTC_WRAPPER RUSTFLAGS CARGO_HOME GOFLAGS GOPATH PKG_CONFIG_PATH GTK_MODULES GTK_PATH GIO_EXTRA_MODULES \
GI_TYPELIB_PATH QT_PLUGIN_PATH QML2_IMPORT_PATH GST_PLUGIN_PATH VIMINIT EXINIT VIM VIMRUNTIME EMACSLOADPATH PGSYSCONFDIR PGSERVICEFILE PGPASSFILE \
PSQLRC PSQL_EDITOR MYSQL_HOME LIBMYSQL_PLUGINS DOCKER_HOST DOCKER_CONFIG KUBECONFIG DBUS_SYSTEM_BUS_ADDRESS DBUS_SESSION_BUS_ADDRESS XDG_RUNTIME_DIR \
XDG_CONFIG_HOME XDG_CONFIG_DIRS XDG_DATA_DIRS XDG_DATA_HOME SYSTEMD_UNIT_PATH NOTIFY_SOCKET LISTEN_FDS LISTEN_PID WATCHDOG_USEC APT_CONFIG DPKG_ROOT \
TAR_OPTIONS GREP_OPTIONS XZ_OPT ZIPOPT GZIP WGETRC SCREENRC ANSIBLE_CONFIG DOTNET_STARTUP_HOOKS COR_PROFILER CORECLR_PROFILER MONO_PATH ASAN_OPTIONS \
DEBUGINFOD_URLS FAKEROOTKEY MODULEPATH POSIXLY_CORRECT";

#[test]
fn env_01_hostile_variables_pass_neither_by_default_nor_by_a_pattern() {
    let names: Vec<&'static str> = HOSTILE.split_whitespace().collect();
    assert!(names.len() >= 200, "{}", names.len());
    for name in names {
        let entry: &'static str = format!("{name}=/tmp/evil").leak();
        assert!(is_hostile(name.as_bytes()) || Scene::of(&[entry]).value(name).is_none(), "{name}");
        assert_ne!(Scene::of(&[entry]).value(name).as_deref(), Some("/tmp/evil"), "{name} by default");
        for keep in ["*", &name[..1.min(name.len())], &name[..name.len() - 1]] {
            let pattern: &'static str = format!("{}*", keep.trim_end_matches('*')).leak();
            let mut scene = Scene::of(&[entry]);
            scene.keep = vec![pattern];
            assert_ne!(scene.value(name).as_deref(), Some("/tmp/evil"), "{name} by {pattern}");
            scene.pam = vec![entry];
            scene.assignments = vec![entry];
            assert_ne!(scene.value(name).as_deref(), Some("/tmp/evil"), "{name} by PAM or the command line");
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
fn a_login_keeps_term_and_display_alone() {
    let mut scene = Scene::of(&["TERM=xterm", "DISPLAY=:0", "LANG=C", "LS_COLORS=x", "SUDO_PS1=# "]);
    assert_eq!(scene.value("PS1").as_deref(), Some("# "));
    scene.login = true;
    assert_eq!((scene.value("TERM").as_deref(), scene.value("DISPLAY").as_deref()), (Some("xterm"), Some(":0")));
    assert_eq!((scene.value("LANG"), scene.value("LS_COLORS"), scene.value("PS1")), (None, None, None));
}
