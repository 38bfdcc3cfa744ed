//! What rules cost: latency of one decision at 10 and 100,000 rules, compile and load times, compiled size.
//!
//! `cargo bench -p jitsudo-core --features language --bench policy_scale`
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark prints and reads clocks"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use jitsudo_bytes::Bytes;
use jitsudo_core::decision::Decision;
use jitsudo_core::evaluate::evaluate;
use jitsudo_core::facts::{Executable, Fact, Facts, Group, Origin, Requester, Target};
use jitsudo_core::language::{HostLookup, SourceFile, compile};
use jitsudo_core::name::{Gid, Uid};
use jitsudo_core::policy::Policy;
use jitsudo_core::request::{Kind, Request};

/// Rules per file: below the limit of 10 MiB.
const RULES_PER_FILE: usize = 10_000;

fn file(at: usize, text: String) -> SourceFile {
    SourceFile { name: format!("/etc/jitsudo/policy.d/{at:03}.toml"), bytes: text.into_bytes() }
}

/// N-1 rules of other users, then alice's.
fn others(count: usize) -> Vec<SourceFile> {
    let mut files = vec![file(
        0,
        "[defaults]\nauth = \"none\"\n[roles.web]\nrun = [\"/usr/bin/systemctl {restart,reload} nginx\"]\n".to_owned(),
    )];
    let mut text = String::new();
    for at in 0..count {
        let who = if at + 1 == count { "alice".to_owned() } else { format!("user{at}") };
        write!(text, "[[allow]]\nname = \"rule {at}\"\nwho = [\"{who}\"]\nroles = [\"web\"]\nwindow = \"30m\"\n")
            .unwrap();
        if (at + 1) % RULES_PER_FILE == 0 || at + 1 == count {
            files.push(file(files.len(), std::mem::take(&mut text)));
        }
    }
    files
}

/// N rules of alice's, a role with one command each; the last is asked for.
fn own(count: usize) -> Vec<SourceFile> {
    let mut files = vec![file(0, "[defaults]\nauth = \"none\"\n".to_owned())];
    let mut text = String::new();
    for at in 0..count {
        let program = if at + 1 == count {
            "/usr/bin/systemctl restart nginx".to_owned()
        } else {
            format!("/usr/bin/tool{at} run")
        };
        write!(text, "[roles.r{at}]\nrun = [\"{program}\"]\n[[allow]]\nname = \"rule {at}\"\nwho = [\"alice\"]\nroles = [\"r{at}\"]\n").unwrap();
        if (at + 1) % RULES_PER_FILE == 0 || at + 1 == count {
            files.push(file(files.len(), std::mem::take(&mut text)));
        }
    }
    files
}

fn facts() -> Facts {
    let groups: BTreeSet<Group> = [(1001, "alice"), (2000, "oncall"), (27, "adm")]
        .into_iter()
        .map(|(gid, name)| Group { gid: Gid(gid), name: Some(name.to_owned()) })
        .collect();
    Facts {
        host: "web-1.prod.example.com".to_owned(),
        labels: BTreeSet::new(),
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
            address: Fact::Unknown,
        }),
        target: Fact::Is(Some(Target {
            uid: Uid(0),
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
        cwd: Fact::Is(Bytes::from("/home/alice")),
    }
}

fn request() -> Request {
    Request {
        kind: Kind::Command,
        argv: ["systemctl", "restart", "nginx"].into_iter().map(Bytes::from).collect(),
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

fn time<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let value = work();
    (start.elapsed(), value)
}

/// Median over batches of one decision, in nanoseconds, of two policies measured in turn so that noise hits both.
fn latency(policies: [&Policy; 2]) -> [f64; 2] {
    let (facts, request) = (facts(), request());
    let now = "2026-11-20T12:00:00Z".parse().unwrap();
    let mut samples = [Vec::new(), Vec::new()];
    for _ in 0..400 {
        for (policy, samples) in policies.iter().zip(&mut samples) {
            let (elapsed, ()) = time(|| {
                for _ in 0..250 {
                    let decision = evaluate(Some(black_box(policy)), black_box(&facts), black_box(&request), now);
                    assert!(matches!(black_box(decision), Decision::Allow(_)));
                }
            });
            samples.push(elapsed.as_secs_f64() * 1e9 / 250.0);
        }
    }
    samples.map(|mut samples| {
        samples.sort_by(f64::total_cmp);
        samples.get(samples.len() / 2).copied().unwrap_or_default()
    })
}

fn main() {
    let (zone, resolve) = (|_: &str| None, |directory: &str| directory.to_owned());
    let host = HostLookup { zone: &zone, resolve_directory: &resolve, group_has_more: &|_| None };
    for (shape, make) in
        [("others' rules, then alice's", others as fn(usize) -> Vec<SourceFile>), ("alice's, one command each", own)]
    {
        println!("{shape}");
        let mut policies = Vec::new();
        for count in [10, 10_000, 100_000] {
            let files = make(count);
            let bytes: usize = files.iter().map(|file| file.bytes.len()).sum();
            let (compiling, compiled) = time(|| compile(&files, &host).unwrap());
            let (writing, stored) = time(|| compiled.policy.to_compiled());
            let (loading, policy) = time(|| Policy::from_compiled(&stored).unwrap());
            println!(
                "  {count:>6} rules: {:>6.1} MB of TOML, compile {:>7.1} ms, write {:>6.1} ms, {:>5.1} MB compiled, load {:>6.1} ms",
                bytes as f64 / 1e6,
                compiling.as_secs_f64() * 1e3,
                writing.as_secs_f64() * 1e3,
                stored.len() as f64 / 1e6,
                loading.as_secs_f64() * 1e3,
            );
            policies.push(policy);
        }
        if let [small, _, large] = policies.as_slice() {
            let [few, many] = latency([small, large]);
            println!("  evaluate: {few:.0} ns at 10 rules, {many:.0} ns at 100,000, ratio {:.3}", many / few);
        }
    }
}
