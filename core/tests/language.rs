//! What the compiler says to mistakes: golden texts, and the whole example of the manual.
//!
//! `JITSUDO_BLESS=1` writes the golden file anew; read the difference before you commit it.

mod scene;

use std::collections::BTreeMap;

use jitsudo_core::decision::Auth;
use jitsudo_core::evaluate::evaluate;
use jitsudo_core::language::{SourceFile, Support, compile, compile_with};
use scene::{compile as compile_everything, file, host, policy};

const ROLE: &str = "[roles.r]\nrun = [\"/usr/bin/id -u\"]\n";

/// Mistakes by name: the text of the second file; the first defines role `r`.
fn mistakes() -> Vec<(&'static str, String)> {
    let rule =
        |body: &str| format!("[[allow]]\nname = \"a\"\nwho = [\"alice\"]\nroles = [\"r\"]\nauth = \"none\"\n{body}\n");
    let plain = |text: &str| text.to_owned();
    vec![
        ("policy_05_misspelt_table", plain("[[alow]]\nname = \"a\"\n")),
        ("policy_05_misspelt_key", rule("windw = \"1h\"")),
        ("policy_05_duplicate_key", rule("window = \"1h\"\nwindow = \"2h\"")),
        ("policy_05_wrong_type", rule("window = 30")),
        ("policy_04_not_supported_yet", rule("[allow.watch]\nby = \"bob\"")),
        ("policy_04_record_not_supported_yet", rule("record = \"terminal\"")),
        ("policy_04_role_key_not_supported_yet", plain("[roles.d]\npam = [\"sudo\"]\n")),
        ("dangling_role", rule("").replace("roles = [\"r\"]", "roles = [\"r\", \"dba\"]")),
        (
            "dangling_role_with_a_near_one",
            plain("[roles.db-admin]\nshell = true\n[roles.x]\nincludes = [\"db-admim\"]\n"),
        ),
        ("dangling_team", rule("").replace("alice", "@lead")),
        ("dangling_host_set", rule("hosts = [\"@prod\"]")),
        ("empty_list", rule("hosts = []")),
        ("number_as_a_name", rule("").replace("alice", "1002")),
        ("uid_minus_one", rule("").replace("alice", "#4294967295")),
        ("team_holds_itself", plain("[teams.a]\nmembers = [\"@b\"]\n[teams.b]\nmembers = [\"@a\"]\n")),
        ("role_includes_itself", plain("[roles.s]\nincludes = [\"s\"]\n")),
        ("role_defined_twice", plain("[roles.r]\nshell = true\n")),
        ("rule_named_twice", rule("") + &rule("")),
        ("allow_without_who", rule("").replace("who = [\"alice\"]\n", "")),
        ("allow_taken_back_by_its_except", rule("except = { who = [\"alice\"] }")),
        ("allow_that_a_deny_takes_back", rule("") + "[[deny]]\nname = \"d\"\nwho = [\"alice\"]\n"),
        ("deny_of_everything", plain("[[deny]]\nname = \"d\"\n")),
        ("allow_for_a_program_that_no_role_runs", rule("run = [\"/usr/bin/other\"]")),
        ("never_in_time", rule("not-before = \"2027-01-01T00:00:00Z\"\nnot-after = \"2026-01-01T00:00:00Z\"")),
        ("hours_without_zone", rule("hours = [{ start = \"08:00\", stop = \"18:00\" }]")),
        ("unknown_zone", rule("hours = [{ start = \"08:00\", stop = \"18:00\", zone = \"Europe/Pariss\" }]")),
        ("instant_without_offset", rule("not-after = \"2027-01-01T00:00:00\"")),
        ("cmd_match_11_program_without_path", plain("[roles.x]\nrun = [\"edit /etc/hosts\"]\n")),
        ("fs_race_09_wildcard_where_users_make_files", plain("[roles.x]\nedit = [\"/home/*/x\", \"/etc/x\"]\n")),
        ("unknown_element", plain("[roles.x]\nrun = [\"/usr/bin/x <number>\"]\n")),
        ("dos_11_bad_regex", plain("[roles.x]\nrun = [[\"/usr/bin/x\", \"<re:a)|(b>\"]]\n")),
        ("multi_line_inline_table", rule("reason = {\n  min-length = 1 }")),
        ("toml_syntax", plain("[roles.x\nshell = true\n")),
        ("control_characters_are_shown_escaped", rule("\"win\\u001b[2Jdow\" = 1")),
    ]
}

#[test]
fn mistakes_read_like_a_compilers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/diagnostics.txt");
    let mut texts = String::new();
    for (name, text) in mistakes() {
        let files = [file("10-roles.toml", ROLE), file("20-rules.toml", &text)];
        let diagnostics = compile(&files, &host()).expect_err(name);
        assert!(diagnostics.iter().any(|diagnostic| diagnostic.is_error && (diagnostic.line > 0)), "{name}");
        texts.push_str(&format!("=== {name}\n"));
        for diagnostic in diagnostics.iter().filter(|diagnostic| diagnostic.is_error) {
            texts.push_str(&diagnostic.render(&files, false));
            texts.push('\n');
        }
    }
    if std::env::var_os("JITSUDO_BLESS").is_some() {
        std::fs::write(path, &texts).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    for (one, other) in golden.split("=== ").zip(texts.split("=== ")) {
        assert_eq!(one, other);
    }
    assert_eq!(golden, texts);
    assert!(!texts.contains('\u{1b}'), "no control character reaches the terminal");
}

#[test]
fn colour_is_only_decoration() {
    let files = [file("10-roles.toml", ROLE), file("20-rules.toml", "[[alow]]\n")];
    let diagnostics = compile(&files, &host()).unwrap_err();
    assert!(diagnostics[0].render(&files, true).contains("\u{1b}["));
    assert_eq!((diagnostics[0].line, diagnostics[0].column), (1, 3));
    assert_eq!(diagnostics[0].hint.as_deref(), Some("did you mean \"allow\"?"));
}

#[test]
fn the_whole_example_of_the_manual_compiles() {
    let text = include_str!("golden/whole-example.toml");
    let policy = policy(text);
    let counts = policy.counts();
    assert_eq!(
        (counts.allows, counts.requires, counts.denies, counts.duties, counts.roles, counts.files),
        (3, 1, 1, 1, 5, 1)
    );
    let refused = compile(&[file("10-web.toml", text)], &host()).unwrap_err();
    assert!(refused.iter().any(|diagnostic| diagnostic.message.contains("`record`")));
}

#[test]
fn policy_08_files_that_are_no_policy_are_refused_before_they_are_parsed() {
    let refuse = |bytes: Vec<u8>| {
        let files = [SourceFile { name: "/etc/jitsudo/policy.d/x.toml".to_owned(), bytes }];
        let diagnostics = compile(&files, &host()).unwrap_err();
        diagnostics.iter().map(|diagnostic| diagnostic.render(&files, false)).collect::<Vec<_>>().join("\n")
    };
    assert!(refuse(vec![b'#'; 11 * 1024 * 1024]).contains("10 MiB"));
    assert!(refuse(b"a = \"\xff\"".to_vec()).contains("not UTF-8 (line 1, byte 5)"));
    assert!(refuse(format!("a = {}1{}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes()).contains("error"));
    assert!(refuse(format!("{} = 1", "a.".repeat(100_000) + "a").into_bytes()).contains("error"));
    assert!(refuse(format!("[roles.x]\numask = {}", "9".repeat(100_000)).into_bytes()).contains("error"));
    assert!(refuse(b"[roles.x]\numask = nan\n[defaults]\nwindow = 99999999999999999999\n".to_vec()).contains("error"));
    assert!(refuse(vec![0; 100]).contains("error"));
}

#[test]
fn order_of_files_and_rules_leaves_no_trace() {
    let roles = "[roles.r]\nrun = [\"/usr/bin/y\", \"/usr/bin/x\"]\n[roles.q]\nshell = true\n";
    let allow = |name: &str, zone: &str| {
        format!(
            "[[allow]]\nname = \"{name}\"\nwho = [\"bob\", \"alice\"]\nroles = [\"r\", \"q\"]\nhours = [{{ start = \"08:00\", stop = \"18:00\", zone = \"{zone}\" }}]\n"
        )
    };
    let compiled =
        |files: &[SourceFile]| compile_with(files, &host(), Support::Everything).unwrap().policy.to_compiled();
    let (one, two) = (file("1.toml", roles), file("2.toml", &allow("a", "UTC")));
    let three = file("3.toml", &allow("b", "Europe/Paris"));
    let bytes = compiled(&[one.clone(), two.clone(), three.clone()]);
    assert_eq!(bytes, compiled(&[three, two, one]));
    let again = jitsudo_core::policy::Policy::from_compiled(&bytes).unwrap();
    assert_eq!(again.to_compiled(), bytes, "reading and writing changes nothing");
}

#[test]
fn defaults_fill_what_the_allows_of_their_directory_leave_out() {
    let rules = "[[allow]]\nname = \"NAME\"\nwho = [\"alice\"]\nroles = [\"r\"]\n";
    let other =
        SourceFile { name: "/etc/jitsudo/other/1.toml".to_owned(), bytes: rules.replace("NAME", "b").into_bytes() };
    let role = file("1.toml", "[roles.r]\nrun = [\"/usr/bin/x\"]\n");
    let defaults = file("2.toml", "[defaults]\nauth = \"none\"\n");
    let own = file("3.toml", &rules.replace("NAME", "a"));
    let auth = |files: &[SourceFile]| {
        let policy = compile(files, &host()).unwrap().policy;
        scene::allowed(evaluate(
            Some(&policy),
            &scene::facts_for("/usr/bin/x"),
            &scene::command("/usr/bin/x"),
            scene::now(),
        ))
        .auth
    };
    assert_eq!(auth(&[role.clone(), defaults.clone(), own.clone()]), Auth::None);
    assert_eq!(auth(&[role.clone(), own]), Auth::Cached, "who says nothing wants a password");
    assert_eq!(auth(&[role, defaults, other]), Auth::Cached, "the defaults are another directory's");
    let twice = [file("1.toml", "[defaults]\nwindow = \"1h\"\n"), file("2.toml", "[defaults]\nwindow = \"2h\"\n")];
    assert!(compile(&twice, &host()).unwrap_err()[0].message.contains("given twice"));
}

#[test]
fn policy_12_programs_that_start_others_are_warned_about() {
    let mut found = BTreeMap::new();
    for run in [
        "/usr/bin/vim /etc/hosts",
        "/usr/bin/less /var/log/syslog",
        "/usr/bin/tar ...",
        "/usr/bin/find <any...>",
        "/usr/bin/systemctl *",
        "/usr/bin/docker run *",
        "/usr/bin/pip install *",
        "/usr/bin/git *",
        "/usr/bin/python3.11 *",
        "/usr/bin/systemctl restart nginx",
        "/usr/bin/journalctl -u nginx",
    ] {
        let compiled = compile_everything(&format!("[roles.r]\nrun = [\"{run}\"]\n")).unwrap();
        found.insert(run, compiled.warnings.iter().any(|warning| warning.label == "as good as a shell"));
    }
    let quiet: Vec<_> = found.iter().filter(|(_, warned)| !**warned).map(|(run, _)| *run).collect();
    assert_eq!(quiet, ["/usr/bin/journalctl -u nginx", "/usr/bin/systemctl restart nginx"]);
}

#[test]
fn whole_grammar_reads() {
    let text = r##"
[defaults]
auth = "cached"
warn = ["5m", "1m"]
[people.bob]
accounts = ["bob", "#1002"]
[teams.lead]
members = ["%lead", "@bob", "%#27"]
[teams.all]
members = ["@lead", "ALL"]
[hosts.prod]
members = ["label:prod", "db-[0-9]*"]
[roles.a]
run = ["/usr/bin/x {,-v} [a-z]? <secret>", ["/usr/bin/y", "a b"]]
as = ["postgres", "postgres:db", ":db", "#26", "ALL:ALL"]
edit = ["/etc/x/**"]
create = true
env-keep = ["PGHOST", "LC_*"]
env-set = { A = "1", B = "" }
cwd = "/srv"
umask = "027"
caps = ["cap_net_admin"]
no-new-privs = true
leaves = true
[roles.b]
groups = ["docker"]
membership = ["adm"]
group-grants-more = true
[roles.c]
sudoers = ["/usr/bin/id -u"]
sudoers-without-end = true
login = ["@self"]
pam = ["sudo"]
[[allow]]
name = "all terms"
who = ["@all", "%oncall", "#1001"]
hosts = ["@prod", "*.example.com"]
roles = ["a", "b", "c"]
origin = ["terminal", "no-terminal", "console", "ssh", "ssh:10.0.0.0/8", "ssh:2001:db8::/32", "unit:cron.service", "sandbox"]
as = ["postgres"]
edit = ["/etc/**"]
shell = false
groups = ["docker"]
membership = ["adm"]
sudoers = ["/usr/bin/id -u"]
login = ["@self"]
grant = ["role", "command"]
window = "1h30m"
run-time = "2d"
start-by = "5m"
reason = { min-length = 10, pattern = "." }
ticket = { pattern = "^OPS-", verify = "jira" }
record = "activity"
at-end = { finish = "2h" }
budget = { per = "1d", time = "2h", uses = 3 }
extend = { each = "15m", total = "1h" }
watch = { by = "@lead", pause-for = "1m" }
when-full = true
hours = [{ days = ["mon-fri", "sun"], start = "22:00", stop = "06:00", zone = "UTC", cut = true }]
not-before = 2026-01-01T00:00:00Z
not-after = "2028-01-01T00:00:00+01:00"
except = [{ who = ["bob"], except = { hosts = ["web-1"] } }, { origin = ["sandbox"] }]
[allow.approval]
any = [{ all = [{ by = "@lead", count = 1 }, { by = ["bob"], count = 1 }] }, { by = "%sre", count = 2 }]
answer-by = "20m"
use-by = "1h"
remind = "5m"
auth = "fresh"
escalate-after = { after = "10m", by = "@all" }
[[require]]
name = "all obligations"
run = ["/usr/bin/x ..."]
roles = ["a"]
auth = "fresh"
at-end = "terminate"
[require.approval]
by = "@lead"
[[deny]]
name = "one path"
run = ["/usr/bin/x"]
only-this-path = true
[[duty]]
name = "named"
who = ["@lead"]
may = ["see", "watch", "end", "lock", "review", "policy"]
hosts = ["@prod"]
"##;
    let policy = policy(text);
    let again = jitsudo_core::policy::Policy::from_compiled(&policy.to_compiled()).unwrap();
    assert_eq!(again.to_compiled(), policy.to_compiled());
}

const PLAIN: &str = include_str!("../../signed/tests/golden/ed.pub");
const OTHER: &str = include_str!("../../signed/tests/golden/ec.pub");
const WEAK: &str = include_str!("../../signed/tests/golden/weak.pub");
const HARDWARE: &str = include_str!("../../signed/tests/golden/sk-ed25519.pub");

/// The first complaint about people with these keys that log in, and that approve.
fn complaint(people: &[(&str, &[&str], &[&str])]) -> Option<String> {
    let list = |keys: &[&str]| keys.iter().map(|key| format!("{:?}, ", key.trim())).collect::<String>();
    let person = |(name, ssh, approval): &(&str, &[&str], &[&str])| {
        format!(
            "[people.{name}]\naccounts = [{name:?}]\nssh-keys = [{}]\napproval-keys = [{}]\n",
            list(ssh),
            list(approval)
        )
    };
    let text = people
        .iter()
        .map(person)
        .collect::<String>()
        .replace("ssh-keys = []\n", "")
        .replace("approval-keys = []\n", "");
    compile_everything(&text).err()?.first().map(|first| format!("{}: {}", first.message, first.label))
}

#[test]
fn a_key_that_logs_in_cannot_also_approve() {
    let same = PLAIN.replace("carol", "another comment");
    let complains = |people: &[(&str, &[&str], &[&str])]| complaint(people).unwrap_or_default();
    let both = "a key cannot both log in and approve: also in ssh-keys";
    assert_eq!(complains(&[("alice", &[PLAIN], &[&same])]), both);
    assert_eq!(complains(&[("alice", &[PLAIN], &[]), ("bob", &[], &[&same])]), both, "another's key as well");
    assert_eq!(complaint(&[("alice", &[PLAIN], &[OTHER])]), None);
    assert_eq!(complaint(&[("alice", &[HARDWARE], &[HARDWARE])]), None, "it is touched each time");
}

#[test]
fn a_key_that_is_weak_or_whose_owner_is_not_certain_approves_nothing() {
    let complains = |people: &[(&str, &[&str], &[&str])]| complaint(people).unwrap_or_default();
    assert!(complains(&[("alice", &[], &[WEAK])]).contains("2048 bits"));
    assert!(complains(&[("alice", &[], &["ssh-ed25519 AAAA"])]).contains("not a whole public key"));
    assert!(complains(&[("alice", &[], &["ssh-dss AAAAB3NzaC1kc3M="])]).contains("are not verified here"));
    assert!(complains(&[("alice", &[], &[&format!("no-touch-required {HARDWARE}")])]).contains("no option"));
    assert!(complains(&[("alice", &[], &[&format!("verify-required {PLAIN}")])]).contains("hardware keys"));
    assert_eq!(complaint(&[("alice", &[], &[&format!("verify-required {HARDWARE}")])]), None);
    assert!(complains(&[("alice", &[], &[PLAIN]), ("bob", &[], &[PLAIN])]).starts_with("two people"));
    assert!(complains(&[("alice", &[], &[PLAIN; 17])]).starts_with("a person has at most 16"));
}

#[test]
fn sudoers_lines_without_an_end_are_meant_and_warned_of() {
    let compiled = |role: &str| compile_everything(&format!("[roles.r]\n{role}\n"));
    let lines = "sudoers = [\"/usr/bin/id\"]";
    let warned = |role: &str| {
        let warnings = compiled(role).unwrap().warnings;
        warnings.iter().any(|warning| warning.message.contains("have no end of their own where sudo knows no NOTAFTER"))
    };
    assert!(warned(&format!("{lines}\nsudoers-without-end = true")));
    assert!(!warned(&format!("{lines}\nsudoers-without-end = false")) && !warned(lines));
    assert!(compiled("run = [\"/usr/bin/id\"]\nsudoers-without-end = true").is_err(), "there are none");
}

#[test]
fn lent_groups_that_rules_name_need_to_be_meant() {
    let text = |more: &str| {
        format!(
            "[roles.d]\n{more}\n[roles.r]\nshell = true\n[[allow]]\nname = \"a\"\nwho = [\"%docker\", \"%#27\"]\nroles = [\"r\"]\n"
        )
    };
    for lent in ["membership = [\"docker\"]", "groups = [\"docker\"]", "groups = [\"adm\", \"#27\"]"] {
        assert!(compile_everything(&text(lent)).is_err(), "{lent}");
        assert!(compile_everything(&text(&format!("{lent}\ngroup-grants-more = true"))).is_ok(), "{lent}");
    }
    assert!(compile_everything(&text("groups = [\"adm\"]")).is_ok());
}

#[test]
fn role_that_lists_commands_and_lends_groups_to_others_is_warned_of() {
    let warned = |text: &str| {
        let compiled = compile_everything(text).unwrap_or_else(|_| panic!("{text}"));
        compiled.warnings.iter().any(|one| one.message.contains("lent to no other command"))
    };
    let docker = "[roles.docker]\ngroups = [\"docker\"]\n";
    assert!(warned(&format!("{docker}[roles.web]\nincludes = [\"docker\"]\nrun = [\"/usr/bin/id -u\"]\n")));
    assert!(!warned(&format!("{docker}[roles.web]\nincludes = [\"docker\"]\ngroups = [\"adm\"]\n")));
    assert!(!warned("[roles.web]\ngroups = [\"adm\"]\nrun = [\"/usr/bin/id -u\"]\n"));
}

#[test]
fn hostile_files_never_panic_the_compiler() {
    let whole = include_str!("golden/whole-example.toml");
    for cut in (0..whole.len()).filter(|cut| whole.is_char_boundary(*cut)).step_by(7) {
        let _ = compile_everything(&whole[..cut]);
    }
    for at in (0..whole.len()).step_by(11) {
        let mut bytes = whole.as_bytes().to_vec();
        bytes[at] ^= 0x15;
        let files = [SourceFile { name: "x.toml".to_owned(), bytes }];
        if let Err(diagnostics) = compile_with(&files, &host(), Support::Everything) {
            diagnostics.iter().for_each(|diagnostic| assert!(!diagnostic.render(&files, true).is_empty()));
        }
    }
}

#[test]
fn fs_race_09_pattern_for_what_users_make_themselves_is_refused() {
    let messages = |glob: &str| {
        let text = format!("[roles.x]\nedit = [\"{glob}\"]\n");
        let refused = compile(&[file("10.toml", &text)], &host());
        refused
            .err()
            .unwrap_or_default()
            .into_iter()
            .filter(|one| one.is_error)
            .map(|one| one.message)
            .collect::<Vec<_>>()
    };
    for glob in ["/home/*/x", "/home/alice/**", "/tmp/*", "/var/tmp/a?", "/run/user/1001/{a,b}", "/dev/shm/[a-z]"] {
        assert!(messages(glob).iter().any(|message| message.contains("users put there")), "{glob}");
    }
    for glob in ["/home/alice/.profile", "/etc/nginx/**", "/srv/home/*"] {
        assert_eq!(messages(glob), Vec::<String>::new(), "{glob}");
    }
}
