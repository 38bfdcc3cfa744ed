//! Random facts and requests over the small world of the model.

use std::collections::BTreeSet;

use jitsudo_bytes::Bytes;
use jitsudo_core::facts::{Executable, Fact, Facts, Group, Origin, Requester, Target};
use jitsudo_core::id::AccessId;
use jitsudo_core::name::{Gid, Uid};
use jitsudo_core::past::{Past, Unreviewed, Use};
use jitsudo_core::request::{Kind, Request};

use super::model::{Model, Random};

fn fact<T>(random: &mut Random, value: T) -> Fact<T> {
    if random.one_in(20) { Fact::Unknown } else { Fact::Is(value) }
}

fn groups(random: &mut Random) -> BTreeSet<Group> {
    let all = [(10, "g1"), (11, "g2"), (12, "g3")];
    all.into_iter()
        .filter(|_| random.one_in(2))
        .map(|(gid, name)| Group { gid: Gid(gid), name: Some(name.to_owned()) })
        .collect()
}

fn facts(random: &mut Random) -> Facts {
    let (name, uid) = [("alice", 1001), ("bob", 1002), ("carol", 1003), ("daemon", 1)][random.below(4)];
    let own = random.one_in(4);
    let (user, id) = if own { (name, uid) } else { [("root", 0), ("bob", 1002)][random.below(2)] };
    let target = Target {
        uid: Uid(id),
        name: user.to_owned(),
        gid: Gid(id),
        group: random.maybe(3, |_| "g1".to_owned()),
        groups: vec![],
        home: format!("/home/{user}"),
        shell: "/bin/sh".to_owned(),
    };
    let path = random.pick(&["/usr/bin/x", "/usr/bin/y", "/usr/bin/bash", "/opt/z", "/usr/bin/q"]);
    let executable = Executable {
        path: path.into(),
        chain: vec![],
        writable_by_others: random.maybe(10, |_| Bytes::from("/opt")),
        is_shell: path == "/usr/bin/bash",
        same_file_as: random
            .maybe(10, |random| [random.pick(&["/usr/bin/x", "/usr/bin/y"]).to_owned()].into())
            .unwrap_or_default(),
    };
    let origin = Origin {
        terminal: random.one_in(2),
        sandbox: random.one_in(8),
        unit: random.maybe(8, |random| random.pick(&["u.service", "v.service"]).to_owned()),
        console: {
            let is = random.one_in(2);
            fact(random, is)
        },
        ssh: {
            let is = random.one_in(2);
            fact(random, is)
        },
        address: {
            let is = random.maybe(2, |random| random.pick(&["10.1.1.1", "192.0.2.1"]).parse().unwrap());
            fact(random, is)
        },
    };
    let process = groups(random);
    let listed = if random.one_in(2) { process.clone() } else { groups(random) };
    Facts {
        host: random.pick(&["web-1.example.com", "db-1", "db-1.test.example.org", "web-2", ""]).to_owned(),
        labels: ["prod", "test"].into_iter().filter(|_| random.one_in(3)).map(str::to_owned).collect(),
        requester: Requester {
            uid: Uid(uid),
            gid: Gid(uid),
            name: fact(random, name.to_owned()),
            groups: fact(random, listed),
            process_groups: fact(random, process),
            lent_groups: if random.one_in(6) { [Gid(11)].into() } else { BTreeSet::new() },
            loginuid: Fact::Is(Some(Uid(uid))),
            login_name: Fact::Unknown,
            login_groups: Fact::Unknown,
            home: Fact::Is("/h".to_owned()),
            shell: Fact::Is("/bin/sh".to_owned()),
        },
        origin: fact(random, origin),
        target: if random.one_in(25) { Fact::Is(None) } else { fact(random, Some(target)) },
        executable: fact(random, Ok(executable)),
        rooted_arguments: (1..6).filter(|_| !random.one_in(4)).collect(),
        cwd: fact(random, Bytes::from("/w")),
        lendable: match random.below(8) {
            0 => std::collections::BTreeMap::new(),
            1 => [("docker".to_owned(), Fact::Is(None))].into(),
            _ => [("docker".to_owned(), fact(random, Some(Gid(999))))].into(),
        },
    }
}

fn request(random: &mut Random) -> Request {
    let kind = [
        Kind::Command,
        Kind::Command,
        Kind::Command,
        Kind::Shell,
        Kind::LoginShell,
        Kind::Role,
        Kind::Edit,
        Kind::Edit,
        Kind::Validate,
    ][random.below(9)];
    let role = if kind == Kind::Role { 1 } else { 5 };
    let words = ["a", "ab", "-v", "5", "12", "07", "x/y", "/d/e", "/d/../e", "/d", "", "--", "a/../b"];
    let mut argv = vec![Bytes::from("prog")];
    for _ in 0..random.below(5) {
        argv.push(Bytes::from(random.pick(&words)));
    }
    Request {
        kind,
        argv: match kind {
            Kind::Command => argv,
            Kind::Edit => {
                let files =
                    ["/e/a", "/e/a", "/e/b", "/e/c/a", "/e/-a", "/e/../a", "/e//a", "/e/./a", "/e/", "/e", "/x", "a"];
                (0..1 + random.below(2)).map(|_| Bytes::from(random.pick(&files))).collect()
            }
            _ => vec![],
        },
        role: random.maybe(role, |random| random.pick(&["r0", "r1", "r2", "r3", "none"]).to_owned()),
        user: random.maybe(3, |_| "bob".to_owned()),
        group: random.maybe(6, |_| "g1".to_owned()),
        reason: random.maybe(2, |random| random.pick(&["w", "why", "whywhy"]).to_owned()),
        ticket: random.maybe(2, |random| random.pick(&["T1", "T", "X"]).to_owned()),
        window: random.maybe(4, |random| [60, 600, 5000][random.below(3)]),
        timeout: None,
        break_glass: random.one_in(6),
        env_names: if random.one_in(5) {
            vec![Bytes::from(random.pick(&["FOO", "BAR", "LANG", "LD_PRELOAD", "BASH_ENV"]))]
        } else {
            vec![]
        },
        cwd: random.maybe(6, |random| Bytes::from(random.pick(&["/w", "/tmp"]))),
        terminal: random.one_in(2),
    }
}

/// The instants at which requests come: around the hours and ends that occur.
fn now(random: &mut Random) -> jiff::Timestamp {
    random
        .pick(&["2026-11-20T09:30:00Z", "2026-11-20T12:00:00Z", "2026-11-20T23:10:00Z", "2026-12-30T04:00:00Z"])
        .parse()
        .unwrap()
}

/// Turns most cases towards what some role gives, so that yes and no are both common.
pub fn aim(random: &mut Random, model: &Model, facts: &mut Facts, request: &mut Request) {
    if random.one_in(4) {
        return;
    }
    request.break_glass &= random.one_in(4);
    let rule = &model.allows[random.below(model.allows.len())];
    request.break_glass |= rule.break_glass && !random.one_in(4);
    let role = model.roles.iter().find(|role| role.name == rule.roles[0]).unwrap();
    if request.role.is_some() {
        request.role = Some(role.name.to_owned());
    }
    if let Fact::Is(origin) = &mut facts.origin {
        origin.sandbox &= random.one_in(3);
        origin.unit = origin.unit.take().filter(|_| random.one_in(3));
    }
    request.env_names.retain(|_| random.one_in(2));
    request.group = request.group.take().filter(|_| random.one_in(2));
    if !random.one_in(3) && role.as_whom.is_empty() {
        let (root, id) = ("root".to_owned(), Uid(0));
        facts.target = Fact::Is(Some(Target {
            name: root,
            uid: id,
            gid: Gid(0),
            group: None,
            groups: vec![],
            home: "/root".to_owned(),
            shell: "/bin/sh".to_owned(),
        }));
    }
    if request.kind == Kind::Command && !role.run.is_empty() {
        let command = &role.run[random.below(role.run.len())];
        let path = match command[0] {
            "ALL" | "/usr/bin/*" => "/usr/bin/q",
            "/usr/bin/{x,bash}" => random.pick(&["/usr/bin/x", "/usr/bin/bash"]),
            path => path,
        };
        if let Fact::Is(Ok(executable)) = &mut facts.executable {
            executable.path = path.into();
            executable.is_shell = path == "/usr/bin/bash";
        }
        request.argv.truncate(1);
        for element in &command[1..] {
            let words: &[&str] = match *element {
                "<int:1-9>" | "[0-9]" => &["5", "7", "07"],
                "<path:/d>" => &["/d/e", "/d/f"],
                "..." | "<any...>" => &["a", "-v"],
                "-v" => &["-v"],
                "{a,-v}" => &["a", "-v"],
                "<any>" => &["-v", "x/y"],
                _ => &["a", "a", "ab"],
            };
            for _ in 0..if element.ends_with("...") { 1 + random.below(2) } else { 1 } {
                request.argv.push(Bytes::from(random.pick(words)));
            }
        }
    }
}

/// Something that was given before: by which rule, to whom, from which to which minute before now (negative: still to come).
#[derive(Clone, Debug)]
pub struct Earlier {
    pub rule: String,
    pub uid: u32,
    pub user: &'static str,
    pub from: i64,
    pub to: i64,
}

/// Whose break-glass waits for a review.
pub type Waiting = (u32, &'static str);

/// What happened before, as plain lists.
#[derive(Clone, Default, Debug)]
pub struct Before {
    pub given: Vec<Earlier>,
    pub waiting: Vec<Waiting>,
}

const ACCOUNTS: [Waiting; 3] = [(1001, "alice"), (1002, "bob"), (1003, "carol")];

fn before(random: &mut Random, model: &Model) -> Before {
    let mut before = Before::default();
    for _ in 0..random.below(5) {
        let (uid, user) = ACCOUNTS[random.below(3)];
        let rule = model.allows[random.below(model.allows.len())].name.clone();
        let from = random.below(240) as i64;
        before.given.push(Earlier { rule, uid, user, from, to: from - 1 - random.below(60) as i64 });
    }
    if random.one_in(3) {
        before.waiting.extend((0..=random.below(2)).map(|_| ACCOUNTS[random.below(3)]));
    }
    before
}

/// The same as the evaluator has it.
pub fn past(before: &Before, now: jiff::Timestamp) -> Past {
    let mut past = Past::default();
    let at = |minutes: i64| now - jiff::SignedDuration::from_mins(minutes);
    let id = |number: usize| AccessId::new(number as u64, [7; 10]);
    for (number, one) in before.given.iter().enumerate() {
        assert!(past.count(Use {
            id: id(number),
            rule: one.rule.clone(),
            uid: Uid(one.uid),
            user: Some(one.user.to_owned()),
            count: 1,
            since: at(one.from),
            newest: at(one.from),
            until: at(one.to),
            keep: 1 << 30,
        }));
    }
    for (number, (uid, user)) in before.waiting.iter().enumerate() {
        let (uid, user) = (Uid(*uid), Some((*user).to_owned()));
        let rule = "any".to_owned();
        past.wait_for_review(Unreviewed { id: id(number), rule, uid, user, loginuid: None, at: now, proven: true });
    }
    past
}

/// A whole case.
pub fn case(random: &mut Random, model: &Model) -> (Facts, Request, Before, jiff::Timestamp) {
    let (mut facts, mut request, now) = (facts(random), request(random), now(random));
    aim(random, model, &mut facts, &mut request);
    (facts, request, before(random, model), now)
}
