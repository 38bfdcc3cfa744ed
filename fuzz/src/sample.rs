//! Alice, and things that she may ask for.

use std::collections::BTreeSet;

use jitsudo_bytes::Bytes;
use jitsudo_core::Timestamp;
use jitsudo_core::facts::{Executable, Fact, Facts, Group, Origin, Requester, Target};
use jitsudo_core::name::{Gid, Uid};
use jitsudo_core::request::{Kind, Request};

/// A fixed moment.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_795_000_000).expect("within the calendar")
}

/// Alice on a terminal of web-1, about to run systemctl as root.
pub(crate) fn facts() -> Facts {
    let group = |gid, name: &str| Group { gid: Gid(gid), name: Some(name.to_owned()) };
    let groups = BTreeSet::from([group(1000, "alice"), group(2000, "oncall")]);
    let origin = Origin {
        terminal: true,
        sandbox: false,
        unit: None,
        console: Fact::Is(false),
        ssh: Fact::Is(false),
        address: Fact::Is(None),
    };
    Facts {
        host: "web-1".to_owned(),
        labels: BTreeSet::from(["prod".to_owned()]),
        requester: Requester {
            uid: Uid(1000),
            gid: Gid(1000),
            name: Fact::Is("alice".to_owned()),
            groups: Fact::Is(groups.clone()),
            process_groups: Fact::Is(groups),
            lent_groups: BTreeSet::new(),
            loginuid: Fact::Is(Some(Uid(1000))),
            login_name: Fact::Is(Some("alice".to_owned())),
            login_groups: Fact::Unknown,
            home: Fact::Is("/home/alice".to_owned()),
            shell: Fact::Is("/bin/bash".to_owned()),
        },
        origin: Fact::Is(origin),
        target: Fact::Is(Some(Target {
            uid: Uid::ROOT,
            name: "root".to_owned(),
            gid: Gid(0),
            group: None,
            groups: vec![Gid(0)],
            home: "/root".to_owned(),
            shell: "/bin/bash".to_owned(),
        })),
        executable: Fact::Is(Ok(Executable {
            path: Bytes::from("/usr/bin/systemctl"),
            chain: Vec::new(),
            writable_by_others: None,
            is_shell: false,
            same_file_as: BTreeSet::new(),
        })),
        rooted_arguments: BTreeSet::new(),
        lendable: std::collections::BTreeMap::new(),
        cwd: Fact::Is(Bytes::from("/")),
    }
}

/// One request of each kind.
pub(crate) fn requests() -> Vec<Request> {
    let words = |words: &[&str]| words.iter().map(|word| Bytes::from(*word)).collect::<Vec<_>>();
    [
        (Kind::Command, words(&["systemctl", "restart", "nginx"])),
        (Kind::Shell, vec![]),
        (Kind::LoginShell, words(&["id"])),
        (Kind::Edit, words(&["/etc/nginx/nginx.conf"])),
        (Kind::Validate, vec![]),
    ]
    .into_iter()
    .map(|(kind, argv)| Request {
        kind,
        argv,
        role: None,
        user: None,
        group: None,
        reason: Some("a reason that is long enough".to_owned()),
        ticket: Some("OPS-4711".to_owned()),
        window: None,
        timeout: None,
        break_glass: false,
        env_names: Vec::new(),
        cwd: None,
        terminal: true,
    })
    .collect()
}
