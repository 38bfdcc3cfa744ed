//! Facts and requests to start from, and a policy from text.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
#![allow(
    clippy::allow_attributes,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "every test binary uses another part"
)]

use std::collections::{BTreeMap, BTreeSet};

use jitsudo_bytes::Bytes;
use jitsudo_core::decision::{Decision, Denial, Terms};
use jitsudo_core::evaluate::evaluate;
use jitsudo_core::facts::{Executable, Fact, Facts, Group, Origin, Requester, Target};
use jitsudo_core::language::{Compiled, Diagnostic, HostLookup, SourceFile, Support, compile_with};
use jitsudo_core::name::{Gid, Uid};
use jitsudo_core::policy::Policy;
use jitsudo_core::request::{Kind, Request};

/// A Friday, 12:00 in Paris.
pub const NOON: &str = "2026-11-20T12:00:00+01:00";

pub fn now() -> jiff::Timestamp {
    at(NOON)
}

pub fn at(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

/// A TZif file without transitions but with a rule for ever: version 2, footer alone counts.
pub fn tzif(rule: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _version in [1, 2] {
        bytes.extend(b"TZif2");
        bytes.extend([0; 15]);
        // isutcnt, isstdcnt, leapcnt, timecnt, typecnt, charcnt
        for count in [0u32, 0, 0, 0, 1, 4] {
            bytes.extend(count.to_be_bytes());
        }
        bytes.extend(3600i32.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(b"CET\0");
    }
    bytes.extend(format!("\n{rule}\n").bytes());
    bytes
}

pub fn zone(name: &str) -> Option<Vec<u8>> {
    match name {
        "Europe/Paris" => Some(tzif("CET-1CEST,M3.5.0,M10.5.0/3")),
        _ => None,
    }
}

pub fn resolve(directory: &str) -> String {
    match directory {
        "/bin" => "/usr/bin".to_owned(),
        "/sbin" => "/usr/sbin".to_owned(),
        other => other.to_owned(),
    }
}

pub fn host() -> HostLookup<'static> {
    HostLookup { zone: &zone, resolve_directory: &resolve, group_has_more: &|_| None }
}

pub fn file(name: &str, text: &str) -> SourceFile {
    SourceFile { name: format!("/etc/jitsudo/policy.d/{name}"), bytes: text.as_bytes().to_vec() }
}

pub fn compile(text: &str) -> Result<Compiled, Vec<Diagnostic>> {
    compile_with(&[file("10-web.toml", text)], &host(), Support::Everything)
}

/// Compiles or prints what the compiler says.
pub fn policy(text: &str) -> Policy {
    let files = [file("10-web.toml", text)];
    match compile_with(&files, &host(), Support::Everything) {
        Ok(compiled) => compiled.policy,
        Err(diagnostics) => {
            let texts: Vec<String> = diagnostics.iter().map(|diagnostic| diagnostic.render(&files, false)).collect();
            panic!("{}", texts.join("\n"))
        }
    }
}

pub fn group(gid: u32, name: &str) -> Group {
    Group { gid: Gid(gid), name: Some(name.to_owned()) }
}

/// alice (uid 1001) of group oncall, on web-1.prod.example.com, on a terminal over ssh from 10.4.1.7, asking for root.
pub fn alice() -> Facts {
    let groups: BTreeSet<Group> = [group(1001, "alice"), group(2000, "oncall")].into();
    Facts {
        host: "web-1.prod.example.com".to_owned(),
        labels: ["prod".to_owned()].into(),
        requester: Requester {
            uid: Uid(1001),
            gid: Gid(1001),
            name: Fact::Is("alice".to_owned()),
            groups: Fact::Is(groups.clone()),
            process_groups: Fact::Is(groups),
            lent_groups: BTreeSet::new(),
            loginuid: Fact::Is(Some(Uid(1001))),
            login_name: Fact::Is(Some("alice".to_owned())),
            login_groups: Fact::Unknown,
            home: Fact::Is("/home/alice".to_owned()),
            shell: Fact::Is("/bin/bash".to_owned()),
        },
        origin: Fact::Is(Origin {
            terminal: true,
            sandbox: false,
            unit: None,
            console: Fact::Is(false),
            ssh: Fact::Is(true),
            address: Fact::Is(Some("10.4.1.7".parse().unwrap())),
        }),
        target: Fact::Is(Some(root())),
        executable: program("/usr/bin/systemctl"),
        rooted_arguments: (1..64).collect(),
        cwd: Fact::Is(Bytes::from("/home/alice")),
        lendable: BTreeMap::new(),
    }
}

/// alice, on a host with this group.
pub fn lending(name: &str, gid: u32) -> Facts {
    Facts { lendable: [(name.to_owned(), Fact::Is(Some(Gid(gid))))].into(), ..alice() }
}

pub fn root() -> Target {
    account("root", 0)
}

pub fn account(name: &str, id: u32) -> Target {
    Target {
        uid: Uid(id),
        name: name.to_owned(),
        gid: Gid(id),
        group: None,
        groups: vec![Gid(id)],
        home: format!("/home/{name}"),
        shell: "/bin/bash".to_owned(),
    }
}

pub fn program(path: &str) -> Fact<Result<Executable, jitsudo_core::facts::NoExecutable>> {
    let is_shell = ["/usr/bin/bash", "/usr/bin/sh"].contains(&path);
    Fact::Is(Ok(Executable {
        path: path.into(),
        chain: Vec::new(),
        writable_by_others: None,
        is_shell,
        same_file_as: BTreeSet::new(),
    }))
}

/// `jitsudo WORDS…`; the program is the first word.
pub fn command(words: &str) -> Request {
    let argv: Vec<Bytes> = words.split(' ').map(Bytes::from).collect();
    Request { argv, ..request(Kind::Command) }
}

pub fn request(kind: Kind) -> Request {
    Request {
        kind,
        argv: Vec::new(),
        role: None,
        user: None,
        group: None,
        reason: None,
        ticket: None,
        window: None,
        timeout: None,
        break_glass: false,
        env_names: Vec::new(),
        cwd: None,
        terminal: true,
    }
}

/// Facts of alice with the program of the words.
pub fn facts_for(words: &str) -> Facts {
    let mut facts = alice();
    facts.executable = program(words.split(' ').next().unwrap());
    facts
}

pub fn decide(policy: &Policy, words: &str) -> Decision {
    evaluate(Some(policy), &facts_for(words), &command(words), now())
}

pub fn allowed(decision: Decision) -> Terms {
    match decision {
        Decision::Allow(terms) => *terms,
        Decision::Deny(denial) => panic!("denied: {denial:?}"),
    }
}

pub fn denied(decision: Decision) -> Denial {
    match decision {
        Decision::Allow(terms) => panic!("allowed: {terms:?}"),
        Decision::Deny(denial) => *denial,
    }
}

pub fn is_allowed(decision: &Decision) -> bool {
    matches!(decision, Decision::Allow(_))
}
