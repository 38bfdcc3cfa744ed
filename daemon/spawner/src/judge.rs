//! Whether what the decider wants started is what this program would have decided: pure.
//!
//! MUST: whatever the decider claims is compared with the kernel's word, with own facts and with an own evaluation; the first thing
//! that does not agree is the answer (each test here is one lie).

use jitsudo_core::Timestamp;
use jitsudo_core::decision::{Decision, Terms};
use jitsudo_core::evaluate::evaluate;
use jitsudo_core::facts::{Executable, Fact, Facts, Target};
use jitsudo_link::ends;
use jitsudo_link::facts::Peer;
use jitsudo_link::spawner::Start;
use jitsudo_protocol::act::{Act, ActKind};
use jitsudo_protocol::digest;

use crate::policy::Applied;

/// What a session needs of the judgement.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) terms: Terms,
    pub(crate) target: Target,
    /// What is run as the target; `-e` and `-v` run nothing as it.
    pub(crate) executable: Option<Executable>,
}

/// The time at which it is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) wall: Timestamp,
    pub(crate) boottime_ms: u64,
}

/// What the two clocks may have drifted and been rounded apart between decision and start, milliseconds.
const CLOCK_SLACK_MS: u64 = 10;

/// Judges a start; in words what does not agree.
pub(crate) fn judge(
    applied: &Applied,
    peer: Peer,
    facts: &Facts,
    act: &Act,
    start: &Start,
    now: Now,
) -> Result<Judged, String> {
    if start.requester != peer.uid {
        return Err(format!("uid {} was named, the connection is uid {}'s", start.requester, peer.uid));
    }
    if applied.digest.as_deref() != Some(start.policy.as_str()) && applied.digest.is_some() {
        return Err("it was decided under another policy than the applied one".to_owned());
    }
    if digest::of_act(peer.uid, act) != start.digest {
        return Err("the digest is not the act's".to_owned());
    }
    let request = jitsudo_link::ask::request(act);
    let terms = match evaluate(applied.policy.as_ref(), facts, &request, now.wall) {
        Decision::Allow(terms) => terms,
        Decision::Deny(denial) => return Err(format!("the applied policy does not allow it ({:?})", denial.cause)),
    };
    if terms.rule != start.rule || terms.role != start.role {
        return Err(format!(
            "rule {:?} with role {:?} was named, the applied policy gives it by rule {:?} with role {:?}",
            start.rule, start.role, terms.rule, terms.role
        ));
    }
    if terms.approvals != 0 {
        return Err("the rule needs approval".to_owned());
    }
    check_end(&terms, facts, act, start, now)?;
    let Fact::Is(Some(target)) = &facts.target else {
        return Err("the target account is not known".to_owned());
    };
    if target.uid.0 != start.target {
        return Err(format!("target uid {} was named, it is {}", start.target, target.uid.0));
    }
    let executable = match (act.options.kind, &facts.executable) {
        (ActKind::Edit | ActKind::Validate | ActKind::Role, _) => None,
        (ActKind::Command | ActKind::Shell | ActKind::LoginShell, Fact::Is(Ok(executable))) => Some(executable.clone()),
        (ActKind::Command | ActKind::Shell | ActKind::LoginShell, _) => {
            return Err("the program is not known".to_owned());
        }
    };
    Ok(Judged { terms: *terms, target: target.clone(), executable })
}

/// The end must be one that the terms give from now on, and still to come, by both clocks.
fn check_end(terms: &Terms, facts: &Facts, act: &Act, start: &Start, now: Now) -> Result<(), String> {
    let request = jitsudo_link::ask::request(act);
    let latest = ends::at(terms, &request, facts, now.wall);
    let latest_boottime = ends::boottime_ms(latest, now.wall, now.boottime_ms) + CLOCK_SLACK_MS;
    if start.ends_at > latest || start.ends_boottime_ms > latest_boottime {
        return Err(format!("the end {} is later than the terms give ({latest})", start.ends_at));
    }
    if start.ends_at <= now.wall || start.ends_boottime_ms <= now.boottime_ms {
        return Err(format!("the end {} is over", start.ends_at));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_bytes::Bytes;
    use jitsudo_core::facts::{Group, Origin, Requester};
    use jitsudo_core::name::{Gid, Uid};
    use jitsudo_protocol::act::ActOptions;
    use std::collections::BTreeSet;

    fn group(gid: u32, name: &str) -> BTreeSet<Group> {
        BTreeSet::from([Group { gid: Gid(gid), name: Some(name.into()) }])
    }

    /// uid 0 without a login uid: the one rule that needs no policy file.
    fn facts() -> Facts {
        Facts {
            host: "web-1".into(),
            labels: BTreeSet::new(),
            requester: Requester {
                uid: Uid::ROOT,
                gid: Gid(0),
                name: Fact::Is("root".into()),
                groups: Fact::Is(group(0, "root")),
                process_groups: Fact::Is(group(0, "root")),
                lent_groups: BTreeSet::new(),
                loginuid: Fact::Is(None),
                login_name: Fact::Is(None),
                login_groups: Fact::Unknown,
                home: Fact::Is("/root".into()),
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
            cwd: Fact::Is(Bytes::from("/")),
        }
    }

    fn act() -> Act {
        Act {
            options: ActOptions {
                kind: ActKind::Command,
                user: None,
                group: None,
                role: None,
                reason: None,
                ticket: None,
                window: None,
                break_glass: false,
                preserve_groups: false,
                timeout: None,
                remember: jitsudo_protocol::act::Remember::Use,
                env_set: Vec::new(),
                preserve: Vec::new(),
                chdir: None,
                cwd: Bytes::from("/"),
                umask: 0o22,
                non_interactive: false,
                terminal: false,
            },
            argv: vec![Bytes::from("/usr/bin/id")],
            env: Vec::new(),
        }
    }

    const NOW_MS: u64 = 1_000_000;

    fn now() -> Now {
        Now { wall: "2026-11-21T12:00:00Z".parse().unwrap(), boottime_ms: NOW_MS }
    }

    fn root() -> Peer {
        Peer { pid: 7, uid: 0, gid: 0 }
    }

    fn start() -> Start {
        Start {
            session: "01jd0000000000000000000000.1".to_owned().try_into().unwrap(),
            requester: 0,
            digest: digest::of_act(0, &act()),
            policy: String::new(),
            rule: "root-is-root".into(),
            role: terms_of_root().role,
            target: 0,
            ends_at: "2026-11-21T12:00:10Z".parse().unwrap(),
            ends_boottime_ms: NOW_MS + 10_000,
        }
    }

    fn terms_of_root() -> Terms {
        match evaluate(None, &facts(), &jitsudo_link::ask::request(&act()), now().wall) {
            Decision::Allow(terms) => *terms,
            Decision::Deny(denial) => panic!("root is root: {denial:?}"),
        }
    }

    fn judged(change: impl FnOnce(&mut Start, &mut Act, &mut Facts, &mut Peer)) -> Result<Judged, String> {
        let (mut start, mut act, mut facts, mut peer) = (start(), act(), facts(), root());
        change(&mut start, &mut act, &mut facts, &mut peer);
        judge(&Applied::default(), peer, &facts, &act, &start, now())
    }

    #[test]
    fn what_agrees_is_started() {
        let judged = judged(|_, _, _, _| {}).unwrap();
        assert_eq!(judged.executable.unwrap().path, Bytes::from("/usr/bin/id"));
    }

    #[test]
    fn another_uid_is_refused() {
        assert!(judged(|start, _, _, _| start.requester = 1000).unwrap_err().contains("the connection is uid 0's"));
        assert!(judged(|_, _, _, peer| peer.uid = 1000).unwrap_err().contains("the connection is uid 1000's"));
    }

    #[test]
    fn another_argv_is_refused() {
        let error = judged(|_, act, _, _| act.argv.push(Bytes::from("-u"))).unwrap_err();
        assert!(error.contains("digest"), "{error}");
    }

    #[test]
    fn an_unknown_rule_or_role_is_refused() {
        assert!(judged(|start, _, _, _| start.rule = "mine".into()).unwrap_err().contains("\"mine\""));
        assert!(judged(|start, _, _, _| start.role = "mine".into()).unwrap_err().contains("\"mine\""));
    }

    #[test]
    fn a_longer_deadline_is_refused_by_either_clock() {
        let late = "2027-11-21T12:00:00Z".parse().unwrap();
        assert!(judged(|start, _, _, _| start.ends_at = late).unwrap_err().contains("later"));
        assert!(judged(|start, _, _, _| start.ends_boottime_ms = u64::MAX).unwrap_err().contains("later"));
        assert!(judged(|start, _, _, _| start.ends_boottime_ms = NOW_MS).unwrap_err().contains("over"));
    }

    #[test]
    fn another_target_is_refused() {
        assert!(judged(|start, _, _, _| start.target = 33).unwrap_err().contains("target uid 33"));
    }

    #[test]
    fn nobody_else_is_allowed_anything_without_a_policy() {
        let error = judged(|start, act, facts, peer| {
            facts.requester.uid = Uid(1000);
            facts.requester.loginuid = Fact::Is(Some(Uid(1000)));
            peer.uid = 1000;
            start.requester = 1000;
            start.digest = digest::of_act(1000, act);
        });
        assert!(error.unwrap_err().contains("does not allow"));
    }
}
