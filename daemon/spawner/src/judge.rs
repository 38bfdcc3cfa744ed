//! Whether what the decider wants started is what this program would have decided: pure.
//!
//! MUST: whatever the decider claims is compared with the kernel's word, with own facts and with an own evaluation; the first thing
//! that does not agree is the answer (each test here is one lie).

use jitsudo_core::Timestamp;
use jitsudo_core::decision::{Decision, Terms};
use jitsudo_core::evaluate::evaluate_by;
use jitsudo_core::extension::{self, Extension, Span, Wish};
use jitsudo_core::facts::{Executable, Fact, Facts, Group, Target};
use jitsudo_core::held::{Held, under};
use jitsudo_core::past::Past;
use jitsudo_core::request::{Kind, Request};
use jitsudo_link::ends;
use jitsudo_link::facts::Peer;
use jitsudo_link::spawner::Start;
use jitsudo_protocol::act::{Act, ActKind};
use jitsudo_protocol::digest;

use crate::grants::{self, Grant};
use crate::policy::Applied;

/// What a session needs of the judgement.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) terms: Terms,
    pub(crate) target: Target,
    /// What is run as the target; `-e` and `-v` run nothing as it.
    pub(crate) executable: Option<Executable>,
    /// The latest end that its run-time gives it, by both clocks.
    pub(crate) latest: (Timestamp, u64),
}

/// The time at which it is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) wall: Timestamp,
    pub(crate) boottime_ms: u64,
}

/// What this program knows by itself of what was given before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own<'a> {
    /// The role grant that the start's session names, as far as one is held here.
    pub(crate) grant: Option<&'a Grant>,
    /// Break-glass that nobody has reviewed.
    pub(crate) past: &'a Past,
}

/// What the two clocks may have drifted and been rounded apart between decision and start, milliseconds.
const CLOCK_SLACK_MS: u64 = 10;

/// Judges a start; in words what does not agree. By the rule that it names alone: budgets are the decider's to count, and so another rule than
/// the one that would be chosen with all of them unused may be the right one.
pub(crate) fn judge(
    applied: &Applied,
    peer: Peer,
    facts: &Facts,
    act: &Act,
    start: &Start,
    own: Own<'_>,
    now: Now,
) -> Result<Judged, String> {
    let Own { grant, past } = own;
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
    if (request.kind == Kind::Role) != (start.session.number == 0) || (start.held && start.session.number == 0) {
        return Err(format!("session {} is not one for that kind of request", start.session.number));
    }
    if start.extends != act.options.extends.is_some() || (start.extends && start.session.number != 0) {
        return Err("the act and the order do not agree on whether a role is to be extended".to_owned());
    }
    // Neither what is held nor more time for it waits for other people: an approval that came with it would be one for something else.
    if start.approved.is_some() && (start.held || start.extends || request.kind == Kind::Approve) {
        return Err("nothing of that kind is approved".to_owned());
    }
    if request.kind == Kind::Approve || start.yes.is_some() {
        return judge_yes(peer, facts, act, start, now);
    }
    let terms = if start.extends {
        extended(applied, facts, act, start, grant, now)?
    } else if start.held {
        under_grant(applied, facts, &request, grant, now)?
    } else {
        match evaluate_by(applied.policy.as_ref(), facts, &request, past, &start.rule, now.wall) {
            Decision::Allow(terms) => terms,
            Decision::Deny(denial) => {
                let cause = denial.cause;
                return Err(format!("the applied policy does not allow it by rule {:?} ({cause:?})", start.rule));
            }
        }
    };
    if request.kind == Kind::Role && !start.extends {
        may_be_held(applied, &terms)?;
    }
    if terms.rule != start.rule || terms.role != start.role {
        return Err(format!(
            "rule {:?} with role {:?} was named, the applied policy gives it by rule {:?} with role {:?}",
            start.rule, start.role, terms.rule, terms.role
        ));
    }
    if terms.approvals != 0 && start.approved.is_none() {
        return Err("the rule needs approval".to_owned());
    }
    if !start.extends && terms.groups != start.groups {
        return Err(format!(
            "it was written that {} are lent, it would be {}",
            names(&start.groups),
            names(&terms.groups)
        ));
    }
    if !start.extends {
        check_end(&terms, facts, act, start, grant.filter(|_| start.held), now)?;
    }
    let latest = ends::at(&terms, &request, facts, now.wall);
    let latest = (latest, ends::boottime_ms(latest, now.wall, now.boottime_ms));
    let Fact::Is(Some(target)) = &facts.target else {
        return Err("the target account is not known".to_owned());
    };
    if target.uid.0 != start.target {
        return Err(format!("target uid {} was named, it is {}", start.target, target.uid.0));
    }
    let executable = match (act.options.kind, &facts.executable) {
        (ActKind::Edit | ActKind::Validate | ActKind::Role | ActKind::Approve, _) => None,
        (ActKind::Command | ActKind::Shell | ActKind::LoginShell, Fact::Is(Ok(executable))) => Some(executable.clone()),
        (ActKind::Command | ActKind::Shell | ActKind::LoginShell, _) => {
            return Err("the program is not known".to_owned());
        }
    };
    Ok(Judged { terms: *terms, target: target.clone(), executable, latest })
}

/// Whether somebody's yes may be heard: it gives nothing, and so no rule is looked at; what it is worth is decided when it is used.
fn judge_yes(peer: Peer, facts: &Facts, act: &Act, start: &Start, now: Now) -> Result<Judged, String> {
    let told = (act.options.kind, act.argv.as_slice(), &start.yes);
    let (ActKind::Approve, [to, digest], Some(yes)) = told else {
        return Err("it is no yes to a request".to_owned());
    };
    if to.as_str() != Some(yes.to.as_str()) || digest.as_str() != Some(yes.digest.as_str()) {
        return Err("that yes is to another request".to_owned());
    }
    if start.held || start.session.number != 1 || peer.uid == 0 {
        return Err("nobody may say yes in that way".to_owned());
    }
    let Fact::Is(Some(target)) = &facts.target else {
        return Err("the target account is not known".to_owned());
    };
    let terms = jitsudo_link::approval::terms_of_yes();
    check_end(&terms, facts, act, start, None, now)?;
    let latest = (start.ends_at, start.ends_boottime_ms);
    Ok(Judged { terms, target: target.clone(), executable: None, latest })
}

/// What a role that is held gives: to its requester alone, and by own facts and the applied policy.
fn under_grant(
    applied: &Applied,
    facts: &Facts,
    request: &Request,
    grant: Option<&Grant>,
    now: Now,
) -> Result<Box<Terms>, String> {
    let Some(grant) = grant else {
        return Err("no role grant of that id is held".to_owned());
    };
    let requester = &facts.requester;
    if !grants::is_of(grant, requester.uid.0, requester.name.known().map(String::as_str)) {
        return Err("that role grant is another account's".to_owned());
    }
    let Some(policy) = &applied.policy else {
        return Err("no policy is applied".to_owned());
    };
    let held =
        Held { rule: &grant.rule, role: &grant.role, reason: grant.reason.as_deref(), ticket: grant.ticket.as_deref() };
    under(policy, facts, request, held, now.wall).ok_or_else(|| "the role that is held does not give it".to_owned())
}

fn names(groups: &[Group]) -> String {
    let name = |group: &Group| format!("{} ({})", group.name.as_deref().unwrap_or_default(), group.gid.0);
    if groups.is_empty() { "no groups".to_owned() } else { groups.iter().map(name).collect::<Vec<_>>().join(", ") }
}

/// More time for a role that is held: the requester's own, by own facts and the applied policy, and no more of it than that gives.
fn extended(
    applied: &Applied,
    facts: &Facts,
    act: &Act,
    start: &Start,
    grant: Option<&Grant>,
    now: Now,
) -> Result<Box<Terms>, String> {
    let Some(grant) = grant else {
        return Err("no role grant of that id is held".to_owned());
    };
    let requester = &facts.requester;
    if !grants::is_of(grant, requester.uid.0, requester.name.known().map(String::as_str)) {
        return Err("that role grant is another account's".to_owned());
    }
    if !act.options.extends.as_deref().is_some_and(|text| grant.id.is_meant_by(text)) {
        return Err("the act means another role grant".to_owned());
    }
    let Some(policy) = &applied.policy else {
        return Err("no policy is applied".to_owned());
    };
    let held =
        Held { rule: &grant.rule, role: &grant.role, reason: grant.reason.as_deref(), ticket: grant.ticket.as_deref() };
    let span = Span { ends: &grant.ends, first_end: grant.first_end.unwrap_or(grant.ends.at) };
    let wish = Wish { seconds: act.options.window, reason: act.options.reason.as_deref() };
    let clocks = extension::Now { wall: now.wall, boottime_ms: now.boottime_ms };
    let Extension { terms, ends } = extension::decide(policy, facts, held, span, wish, &Past::default(), clocks)
        .map_err(|denial| format!("the applied policy does not extend it: {}", denial.detail.join("; ")))?;
    if start.ends_at > ends.at || start.ends_boottime_ms > ends.boottime_ms {
        return Err(format!("the end {} is later than the terms give ({})", start.ends_at, ends.at));
    }
    if start.ends_at <= grant.ends.at || start.ends_boottime_ms <= grant.ends.boottime_ms {
        return Err(format!("the end {} is no later than the one that it has", start.ends_at));
    }
    Ok(terms)
}

/// Only a role of the applied policy is held.
fn may_be_held(applied: &Applied, terms: &Terms) -> Result<(), String> {
    let Some(policy) = &applied.policy else {
        return Err("no policy is applied".to_owned());
    };
    if !policy.has_role(&terms.role) {
        return Err(format!("{:?} is no role", terms.role));
    }
    Ok(())
}

/// The end must be one that the terms give from now on, and still to come, by both clocks.
pub(crate) fn check_end(
    terms: &Terms,
    facts: &Facts,
    act: &Act,
    start: &Start,
    grant: Option<&Grant>,
    now: Now,
) -> Result<(), String> {
    let request = jitsudo_link::ask::request(act);
    let mut latest = ends::at(terms, &request, facts, now.wall);
    let mut latest_boottime = ends::boottime_ms(latest, now.wall, now.boottime_ms) + CLOCK_SLACK_MS;
    if let Some((at, boottime_ms)) = grant.map(grants::until) {
        latest = latest.min(at);
        latest_boottime = latest_boottime.min(boottime_ms);
    }
    if start.ends_at > latest || start.ends_boottime_ms > latest_boottime {
        return Err(format!("the end {} is later than the terms give ({latest})", start.ends_at));
    }
    if start.ends_at <= now.wall || start.ends_boottime_ms <= now.boottime_ms {
        return Err(format!("the end {} is over", start.ends_at));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use jitsudo_bytes::Bytes;
    use jitsudo_core::facts::{Origin, Requester};
    use jitsudo_core::name::{Gid, Uid};
    use jitsudo_protocol::act::ActOptions;
    use std::collections::BTreeSet;

    fn group(gid: u32, name: &str) -> BTreeSet<Group> {
        BTreeSet::from([Group { gid: Gid(gid), name: Some(name.into()) }])
    }

    /// uid 0 without a login uid: the one rule that needs no policy file.
    pub(crate) fn facts() -> Facts {
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
            lendable: std::collections::BTreeMap::new(),
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
                extends: None,
                request: None,
                no_wait: false,
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
            approved: None,
            yes: None,
            held: false,
            groups: Vec::new(),
            extends: false,
        }
    }

    fn terms_of_root() -> Terms {
        match jitsudo_core::evaluate::evaluate(None, &facts(), &jitsudo_link::ask::request(&act()), now().wall) {
            Decision::Allow(terms) => *terms,
            Decision::Deny(denial) => panic!("root is root: {denial:?}"),
        }
    }

    fn judged(change: impl FnOnce(&mut Start, &mut Act, &mut Facts, &mut Peer)) -> Result<Judged, String> {
        let (mut start, mut act, mut facts, mut peer) = (start(), act(), facts(), root());
        change(&mut start, &mut act, &mut facts, &mut peer);
        judge(&Applied::default(), peer, &facts, &act, &start, Own { grant: None, past: &Past::default() }, now())
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

    /// Somebody says yes; `change` is the lie.
    fn judged_yes(change: impl FnOnce(&mut Start, &mut Act, &mut Peer)) -> Result<Judged, String> {
        let (mut start, mut act, mut facts, mut peer) = (start(), act(), facts(), root());
        facts.requester.uid = Uid(1002);
        (peer.uid, start.requester) = (1002, 1002);
        let to = jitsudo_core::id::AccessId::new(7, [7; 10]);
        act.options.kind = ActKind::Approve;
        act.argv = vec![Bytes::from(to.as_str()), Bytes::from("d1")];
        start.yes = Some(jitsudo_link::approval::Yes { to, digest: "d1".into() });
        change(&mut start, &mut act, &mut peer);
        start.digest = digest::of_act(peer.uid, &act);
        judge(&Applied::default(), peer, &facts, &act, &start, Own { grant: None, past: &Past::default() }, now())
    }

    #[test]
    fn yes_is_heard_by_no_rule_and_after_a_fresh_proof() {
        let judged = judged_yes(|_, _, _| {}).unwrap();
        assert_eq!((judged.terms.auth, judged.executable), (jitsudo_core::decision::Auth::Fresh, None));
    }

    #[test]
    fn approval_12_every_lie_about_a_yes_is_refused() {
        type Lie = fn(&mut Start, &mut Act, &mut Peer);
        let lies: [(&str, Lie); 8] = [
            ("no yes", |start, _, _| start.yes = None),
            ("no yes", |_, act, _| act.options.kind = ActKind::Command),
            ("no yes", |_, act, _| act.argv.push(Bytes::from("more"))),
            ("another request", |_, act, _| act.argv[1] = Bytes::from("d2")),
            ("another request", |_, act, _| act.argv[0] = Bytes::from("01jd0000000000000000000001")),
            ("in that way", |start, _, _| start.held = true),
            ("in that way", |_, _, peer| peer.uid = 0),
            ("later", |start, _, _| start.ends_boottime_ms = NOW_MS + 3_600_000),
        ];
        for (wanted, lie) in lies {
            let error = judged_yes(|start, act, peer| {
                lie(start, act, peer);
                start.requester = peer.uid;
            })
            .unwrap_err();
            assert!(error.contains(wanted), "{wanted}: {error}");
        }
    }

    const HELD: &str = "[roles.web-operator]\nrun = [\"/usr/bin/id\"]\n[roles.other]\nrun = [\"/usr/bin/env\"]\n\
        [[allow]]\nname = \"web\"\nwho = [\"#1000\"]\nroles = [\"web-operator\"]\ngrant = \"role\"\nauth = \"none\"\n";

    fn applied(text: &str) -> Applied {
        use jitsudo_core::language::{HostLookup, SourceFile, compile};
        let files = [SourceFile { name: "10.toml".into(), bytes: text.as_bytes().to_vec() }];
        let host =
            HostLookup { zone: &|_| None, resolve_directory: &|path| path.to_owned(), group_has_more: &|_| None };
        let compiled = compile(&files, &host)
            .unwrap_or_else(|errors| panic!("{}", errors[errors.len() - 1].render(&files, false)));
        Applied { policy: Some(compiled.policy), digest: Some("p".into()) }
    }

    /// alice runs `id` under the role that she holds until 12:30; `change` is the lie.
    fn judged_held(
        policy: &str,
        change: impl FnOnce(&mut Start, &mut Act, &mut Facts, &mut Option<Grant>),
    ) -> Result<Judged, String> {
        let (mut start, mut act, mut facts) = (start(), act(), facts());
        facts.requester.uid = Uid(1000);
        facts.requester.name = Fact::Is("alice".into());
        facts.requester.loginuid = Fact::Is(Some(Uid(1000)));
        start.requester = 1000;
        start.policy = "p".into();
        (start.rule, start.role) = ("web".into(), "web-operator".into());
        start.held = true;
        let mut grant = Some(crate::grants::tests::grant());
        start.ends_at = "2026-11-21T12:30:00Z".parse().unwrap();
        start.ends_boottime_ms = 1_800_000;
        change(&mut start, &mut act, &mut facts, &mut grant);
        start.digest = digest::of_act(1000, &act);
        let peer = Peer { pid: 7, uid: 1000, gid: 1000 };
        judge(
            &applied(policy),
            peer,
            &facts,
            &act,
            &start,
            Own { grant: grant.as_ref(), past: &Past::default() },
            now(),
        )
    }

    #[test]
    fn what_a_held_role_gives_is_started_until_its_end() {
        assert_eq!(judged_held(HELD, |_, _, _, _| {}).unwrap().terms.role, "web-operator");
    }

    const LENDS: &str = "[roles.docker]\ngroups = [\"docker\"]\n[[allow]]\nname = \"web\"\nwho = [\"#1000\"]\n\
        roles = [\"docker\"]\nauth = \"none\"\n";

    /// alice runs `id` in a group, under the role that she holds until 12:30 or by itself.
    fn judged_lent(held: bool, change: &dyn Fn(&mut Start, &mut Facts)) -> Result<Judged, String> {
        judged_held(LENDS, |start, act, facts, grant| {
            act.options.role = Some("docker".into());
            start.role = "docker".into();
            start.held = held;
            start.ends_at = "2026-11-21T12:10:00Z".parse().unwrap();
            start.ends_boottime_ms = NOW_MS + 600_000;
            grant.as_mut().unwrap().role = "docker".into();
            start.groups = vec![Group { gid: Gid(999), name: Some("docker".into()) }];
            start.target = 1000;
            facts.lendable = [("docker".to_owned(), Fact::Is(Some(Gid(999))))].into();
            if let Fact::Is(Some(target)) = &mut facts.target {
                (target.uid, target.name) = (Uid(1000), "alice".into());
            }
            change(start, facts);
        })
    }

    #[test]
    fn group_is_lent_only_as_it_was_written_and_as_this_host_has_it() {
        let group = |gid, name: &str| Group { gid: Gid(gid), name: Some(name.into()) };
        for held in [false, true] {
            assert_eq!(judged_lent(held, &|_, _| {}).unwrap().terms.groups, [group(999, "docker")]);
            let refused = |wanted: &str, change: &dyn Fn(&mut Start, &mut Facts)| {
                let error = judged_lent(held, change).unwrap_err();
                assert!(error.contains(wanted), "{wanted}: {error}");
            };
            let lies = [vec![], vec![group(0, "docker")], vec![group(999, "docker"), group(0, "root")]];
            for lie in lies {
                refused("are lent, it would be docker (999)", &|start, _| start.groups.clone_from(&lie));
            }
            refused("it would be docker (27)", &|_, facts| {
                facts.lendable = [("docker".to_owned(), Fact::Is(Some(Gid(27))))].into();
            });
            let none = if held { "does not give it" } else { "NoGroup" };
            for gone in [Fact::Is(None), Fact::Unknown] {
                refused(none, &|_, facts| facts.lendable = [("docker".to_owned(), gone.clone())].into());
            }
            refused(none, &|_, facts| facts.lendable.clear());
        }
    }

    type Lie = dyn Fn(&mut Start, &mut Act, &mut Facts, &mut Option<Grant>);

    #[test]
    fn every_lie_about_a_held_role_is_refused() {
        let refused = |wanted: &str, policy: &str, change: &Lie| {
            let error = judged_held(policy, change).unwrap_err();
            assert!(error.contains(wanted), "{wanted}: {error}");
        };
        refused("no role grant of that id", HELD, &|_, _, _, grant| *grant = None);
        refused("another account's", HELD, &|_, _, facts, _| facts.requester.uid = Uid(1001));
        refused("another account's", HELD, &|_, _, facts, _| facts.requester.name = Fact::Is("bob".into()));
        refused("does not give it", HELD, &|_, _, _, grant| grant.as_mut().unwrap().role = "other".into());
        refused("\"mine\"", HELD, &|start, _, _, _| start.rule = "mine".into());
        refused("\"other\"", HELD, &|start, _, _, _| start.role = "other".into());
        refused("later", HELD, &|start, _, _, _| start.ends_at = "2026-11-21T12:30:01Z".parse().unwrap());
        refused("later", HELD, &|start, _, _, _| start.ends_boottime_ms = 1_800_001);
        refused("does not give it", &HELD.replace("\"web\"", "\"gone\""), &|_, _, _, _| {});
        refused("does not give it", &HELD.replace("#1000", "#1001"), &|_, _, _, _| {});
        refused(
            "does not give it",
            &format!("{HELD}[[deny]]\nname = \"d\"\nwho = [\"#1000\"]\nhosts = [\"web-*\"]\n"),
            &|_, _, _, _| {},
        );
        refused("does not allow it", HELD, &|start, _, _, _| start.held = false);
        refused("not one for that kind", HELD, &|start, _, _, _| start.session.number = 0);
        refused("not one for that kind", HELD, &|_, act, _, _| act.options.kind = ActKind::Role);
    }
}
