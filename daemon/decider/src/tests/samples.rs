//! Facts, requests and terms.

use std::collections::BTreeSet;

use jitsudo_bytes::Bytes;
use jitsudo_core::decision::{Auth, Cwd, Record, RunAs, Terms};
use jitsudo_core::facts::{Executable, Fact, Facts, Group, Origin, Requester, Target};
use jitsudo_core::name::{Gid, Uid};
use jitsudo_core::request::{Kind, Request};

pub(crate) fn request(argv: &[&str]) -> Request {
    Request {
        kind: Kind::Command,
        argv: argv.iter().map(|word| Bytes::from(*word)).collect(),
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
        terminal: false,
    }
}

pub(crate) fn terms() -> Terms {
    Terms {
        rule: "on-call runs the web tier".into(),
        source: "10-web.toml:14".into(),
        role: "web-operator".into(),
        window: 3600,
        run_time: 43_200,
        start_by: 300,
        auth: Auth::None,
        approvals: 0,
        record: Record::None,
        when_full: false,
        not_after: None,
        finish: 0,
        warn: vec![300, 60],
        counted: None,
        break_glass: None,
        run_as: RunAs {
            env_keep: Vec::new(),
            env_free: false,
            env_set: Vec::new(),
            cwd: Cwd::Caller,
            umask: None,
            no_new_privs: false,
            leaves: false,
            safe_chain: true,
            create: false,
        },
        secret_arguments: Vec::new(),
        joined: Vec::new(),
        groups: Vec::new(),
    }
}

/// alice at a terminal, who asks for `/usr/bin/id` as root.
pub(crate) fn facts() -> Facts {
    let groups = BTreeSet::from([Group { gid: Gid(1000), name: Some("alice".into()) }]);
    Facts {
        host: "web-1".into(),
        labels: BTreeSet::new(),
        requester: Requester {
            uid: Uid(1000),
            gid: Gid(1000),
            name: Fact::Is("alice".into()),
            groups: Fact::Is(groups.clone()),
            process_groups: Fact::Is(groups),
            lent_groups: BTreeSet::new(),
            loginuid: Fact::Is(Some(Uid(1000))),
            login_name: Fact::Is(Some("alice".into())),
            login_groups: Fact::Unknown,
            home: Fact::Is("/home/alice".into()),
            shell: Fact::Is("/bin/bash".into()),
        },
        origin: Fact::Is(Origin {
            terminal: true,
            sandbox: false,
            unit: None,
            console: Fact::Is(false),
            ssh: Fact::Is(false),
            address: Fact::Is(None),
        }),
        target: Fact::Is(Some(Target {
            uid: Uid::ROOT,
            name: "root".into(),
            gid: Gid(0),
            group: None,
            groups: vec![Gid(0)],
            home: "/root".into(),
            shell: "/bin/bash".into(),
        })),
        executable: Fact::Is(Ok(Executable {
            path: Bytes::from("/usr/bin/id"),
            chain: Vec::new(),
            writable_by_others: None,
            is_shell: false,
            same_file_as: BTreeSet::new(),
        })),
        rooted_arguments: BTreeSet::new(),
        lendable: std::collections::BTreeMap::new(),
        cwd: Fact::Is(Bytes::from("/home/alice")),
    }
}

/// Makes it another program.
pub(crate) fn program(facts: &mut Facts, path: &str) {
    if let Fact::Is(Ok(executable)) = &mut facts.executable {
        executable.path = Bytes::from(path);
    }
}
