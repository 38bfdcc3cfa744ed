//! Facts and terms for tests.

use std::collections::BTreeSet;

use jitsudo_bytes::Bytes;
use jitsudo_core::decision::{Auth, Cwd, Record, RunAs, Terms};
use jitsudo_core::facts::{Executable, Fact, Facts, Requester};
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
        rule: "r".into(),
        source: "10.toml:1".into(),
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

pub(crate) fn facts() -> Facts {
    Facts {
        host: String::new(),
        labels: BTreeSet::new(),
        requester: Requester {
            uid: Uid(1000),
            gid: Gid(1000),
            name: Fact::Is("alice".into()),
            groups: Fact::Unknown,
            process_groups: Fact::Unknown,
            lent_groups: BTreeSet::new(),
            loginuid: Fact::Unknown,
            login_name: Fact::Unknown,
            login_groups: Fact::Unknown,
            home: Fact::Unknown,
            shell: Fact::Unknown,
        },
        origin: Fact::Unknown,
        target: Fact::Unknown,
        executable: Fact::Is(Ok(Executable {
            path: Bytes::from("/usr/bin/id"),
            chain: Vec::new(),
            writable_by_others: None,
            is_shell: false,
            same_file_as: BTreeSet::new(),
        })),
        rooted_arguments: BTreeSet::new(),
        lendable: std::collections::BTreeMap::new(),
        cwd: Fact::Unknown,
    }
}
