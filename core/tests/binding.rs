//! The bytes that an approval's digest is made of.
#![expect(clippy::unwrap_used, reason = "tests")]

mod scene;

use jitsudo_bytes::Bytes;
use jitsudo_core::approval::{Binding, File, Program, role_content};
use jitsudo_core::decision::Record;
use jitsudo_core::id::AccessId;
use jitsudo_core::name::{Gid, Uid};
use jitsudo_core::request::Kind;

/// Everything that a binding borrows.
struct Whole {
    id: AccessId,
    argv: Vec<Bytes>,
    path: Bytes,
    interpreter: Bytes,
    cwd: Bytes,
    groups: Vec<Gid>,
    environment: Vec<(Bytes, Bytes)>,
    caps: Vec<String>,
}

impl Whole {
    fn new() -> Self {
        Self {
            id: AccessId::new(1_790_000_000_000, [7; 10]),
            argv: vec!["/usr/local/sbin/deploy".into(), Bytes(b"a\xff".to_vec())],
            path: "/usr/local/sbin/deploy".into(),
            interpreter: "/usr/bin/dash".into(),
            cwd: "/srv".into(),
            groups: vec![Gid(0), Gid(33)],
            environment: vec![("HOME".into(), "/root".into()), ("TERM".into(), "xterm".into())],
            caps: vec!["cap_net_admin".to_owned()],
        }
    }

    fn binding(&self) -> Binding<'_> {
        let file = File { path: &self.path, device: 2049, inode: 131, sha256: [0xaa; 32] };
        let interpreter = File { path: &self.interpreter, device: 2049, inode: 132, sha256: [0xbb; 32] };
        Binding {
            host_key: "SHA256:2YqSE2BqcXjEqPsnyTiMsOSmdLYNwXaPgDyhqVXqhcI",
            boot: "0a1b2c3d-0000-4000-8000-000000000001",
            id: &self.id,
            nonce: [9; 16],
            answer_by: "2026-11-20T12:00:00.000001Z".parse().unwrap(),
            uid: Uid(1001),
            person: Some("alice"),
            loginuid: Some(Uid(1001)),
            kind: Kind::Command,
            argv: &self.argv,
            program: Some(Program { file, interpreter: Some(interpreter) }),
            cwd: Some(&self.cwd),
            target: (Uid(0), Gid(0)),
            groups: &self.groups,
            environment: &self.environment,
            umask: 0o22,
            caps: None,
            role: "deploy",
            role_content: b"content",
            window: 3600,
            run_time: 600,
            record: Record::Activity,
            reason: Some("cert renewed"),
            ticket: None,
        }
    }
}

/// The form as docs/approvals.md tells it, written down a second time.
fn by_hand() -> Vec<u8> {
    let number = |number: u64| number.to_be_bytes().to_vec();
    let string = |bytes: &[u8]| [&number(bytes.len() as u64), bytes].concat();
    let file = |path: &str, inode, byte: u8| {
        [string(path.as_bytes()), number(2049), number(inode), string(&[byte; 32])].concat()
    };
    [
        string(b"jitsudo approval v1"),
        string(b"SHA256:2YqSE2BqcXjEqPsnyTiMsOSmdLYNwXaPgDyhqVXqhcI"),
        string(b"0a1b2c3d-0000-4000-8000-000000000001"),
        string(AccessId::new(1_790_000_000_000, [7; 10]).as_str().as_bytes()),
        string(&[9; 16]),
        number(1_795_176_000_000_001),
        number(1001),
        [number(1), string(b"alice")].concat(),
        [number(1), number(1001)].concat(),
        number(1),
        [number(2), string(b"/usr/local/sbin/deploy"), string(b"a\xff")].concat(),
        [number(1), file("/usr/local/sbin/deploy", 131, 0xaa), number(1), file("/usr/bin/dash", 132, 0xbb)].concat(),
        [number(1), string(b"/srv")].concat(),
        number(0),
        number(0),
        [number(2), number(0), number(33)].concat(),
        [number(2), string(b"HOME"), string(b"/root"), string(b"TERM"), string(b"xterm")].concat(),
        number(0o22),
        number(0),
        string(b"deploy"),
        string(b"content"),
        number(3600),
        number(600),
        number(1),
        [number(1), string(b"cert renewed")].concat(),
        number(0),
    ]
    .concat()
}

#[test]
fn bytes_are_those_of_version_1() {
    let bytes = Whole::new().binding().encode();
    assert_eq!(bytes, by_hand());
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("golden/approval-v1.hex").trim(), "the bytes of a version never change");
}

type Change = fn(&mut Binding<'_>);

#[test]
fn approval_01_every_field_moves_the_bytes() {
    let (whole, mut other) = (Whole::new(), Whole::new());
    other.id = AccessId::new(1_790_000_000_001, [7; 10]);
    let changes: Vec<Change> = vec![
        |to| to.host_key = "SHA256:x",
        |to| to.boot = "0a1b2c3d-0000-4000-8000-000000000002",
        |to| to.nonce = [8; 16],
        |to| to.answer_by = "2026-11-20T12:00:00.000002Z".parse().unwrap(),
        |to| to.uid = Uid(1002),
        |to| to.person = Some("bob"),
        |to| to.person = None,
        |to| to.loginuid = Some(Uid(0)),
        |to| to.loginuid = None,
        |to| to.kind = Kind::Shell,
        |to| to.kind = Kind::LoginShell,
        |to| to.kind = Kind::Edit,
        |to| to.kind = Kind::Validate,
        |to| to.kind = Kind::Role,
        |to| to.argv = &[],
        |to| to.program = None,
        |to| to.program.as_mut().unwrap().interpreter = None,
        |to| to.program.as_mut().unwrap().file.inode = 7,
        |to| to.program.as_mut().unwrap().file.device = 7,
        |to| to.program.as_mut().unwrap().file.sha256[31] = 0,
        |to| to.program.as_mut().unwrap().interpreter.as_mut().unwrap().sha256[0] = 0,
        |to| to.cwd = None,
        |to| to.target.0 = Uid(33),
        |to| to.target.1 = Gid(33),
        |to| to.groups = &[],
        |to| to.environment = &[],
        |to| to.umask = 0o77,
        |to| to.caps = Some(&[]),
        |to| to.role = "web",
        |to| to.role_content = b"contents",
        |to| to.window = 3601,
        |to| to.run_time = 601,
        |to| to.record = Record::None,
        |to| to.record = Record::Terminal,
        |to| to.reason = None,
        |to| to.reason = Some("cert renewed "),
        |to| to.ticket = Some(""),
    ];
    let mut seen = vec![whole.binding().encode(), other.binding().encode()];
    seen.push(Binding { caps: Some(&whole.caps), ..whole.binding() }.encode());
    for change in changes {
        let mut binding = whole.binding();
        change(&mut binding);
        seen.push(binding.encode());
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

#[test]
fn fields_never_run_into_each_other() {
    let encode = |change: &dyn Fn(&mut Whole)| {
        let mut whole = Whole::new();
        change(&mut whole);
        whole.binding().encode()
    };
    let words = |words: &[&str]| words.iter().map(|word| Bytes::from(*word)).collect::<Vec<_>>();
    let (one, two) = (words(&["ab", "c"]), words(&["a", "bc"]));
    assert_ne!(encode(&|to| to.argv.clone_from(&one)), encode(&|to| to.argv.clone_from(&two)));
    let pair = |name: &str, value: &str| vec![(Bytes::from(name), Bytes::from(value))];
    assert_ne!(encode(&|to| to.environment = pair("A", "BC")), encode(&|to| to.environment = pair("AB", "C")));
    let whole = Whole::new();
    let texts = |reason: Option<&'static str>, ticket: Option<&'static str>| {
        Binding { reason, ticket, ..whole.binding() }.encode()
    };
    assert_ne!(texts(Some("x"), None), texts(None, Some("x")));
    assert_ne!(texts(Some(""), None), texts(None, None));
    let between =
        |role: &'static str, role_content: &'static [u8]| Binding { role, role_content, ..whole.binding() }.encode();
    assert_ne!(between("ab", b"c"), between("a", b"bc"));
}

const ROLES: &str = r#"
[roles.part]
run = ["/usr/bin/nginx -t"]
[roles.web]
summary = "Look after nginx"
includes = ["part"]
run = ["/usr/bin/systemctl {restart,reload} nginx", ["/usr/bin/psql", "-c", "select 1"]]
as = ["root", "postgres:adm"]
edit = ["/etc/nginx/**"]
create = true
groups = ["adm"]
env-keep = ["PGHOST"]
env-set = { A = "b" }
cwd = "home"
umask = "077"
no-new-privs = true
leaves = true
"#;

fn content(text: &str) -> Vec<u8> {
    role_content(&scene::policy(text), "web").unwrap()
}

#[test]
fn approval_01_everything_that_a_role_gives_moves_its_content() {
    let changes = [
        ("nginx -t", "nginx -T"),
        ("includes = [\"part\"]", ""),
        ("{restart,reload} nginx", "restart nginx"),
        ("select 1", "select 2"),
        ("[\"root\", \"postgres:adm\"]", "[\"root\", \"postgres\"]"),
        ("nginx/**", "nginx/*"),
        ("create = true", "create = false"),
        ("groups = [\"adm\"]", "membership = [\"adm\"]"),
        ("nginx -t\"]", "nginx -t\"]\nsudoers = [\"/usr/bin/id\"]"),
        ("groups = [\"adm\"]", "login = [\"@self\"]"),
        ("groups = [\"adm\"]", "pam = [\"sudo\"]"),
        ("groups = [\"adm\"]", ""),
        ("PGHOST", "PGPORT"),
        ("A = \"b\"", "A = \"c\""),
        ("cwd = \"home\"", "cwd = \"any\""),
        ("cwd = \"home\"", "cwd = \"caller\""),
        ("cwd = \"home\"", "cwd = \"/srv\""),
        ("cwd = \"home\"", "caps = [\"cap_net_admin\"]"),
        ("umask = \"077\"", "umask = \"027\""),
        ("umask = \"077\"", "shell = true"),
        ("no-new-privs = true", ""),
        ("leaves = true", ""),
    ];
    let mut seen = vec![content(ROLES)];
    for (from, to) in changes {
        assert!(ROLES.contains(from), "{from}");
        seen.push(content(&ROLES.replace(from, to)));
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

#[test]
fn what_a_role_is_called_in_words_and_where_it_stands_do_not_move_its_content() {
    assert_eq!(content(ROLES), content(&ROLES.replace("Look after nginx", "Something else")));
    assert_eq!(content(ROLES), content(&format!("\n\n{ROLES}")));
    assert_eq!(role_content(&scene::policy(ROLES), "none"), None);
}
