//! The digest that an approver says yes to: made in one way by the decider, which shows it, and by the spawner, which compares.

use std::collections::BTreeSet;

use jitsudo_bytes::Bytes;
use jitsudo_core::Timestamp;
use jitsudo_core::approval::{Binding, Card, File, Program, Said, person_of, role_content};
use jitsudo_core::decision::{Auth, Cwd, Record, RunAs, Terms};
use jitsudo_core::environment::{self, Inputs};
use jitsudo_core::facts::{Fact, Facts, Target};
use jitsudo_core::id::AccessId;
use jitsudo_core::name::Gid;
use jitsudo_core::policy::Policy;
use jitsudo_core::request::Kind;
use jitsudo_protocol::act::Act;
use jitsudo_protocol::digest;
use serde::{Deserialize, Serialize};

use crate::facts::{Hashed, HashedProgram, Process};

/// Bits that the caller's umask is joined with where no role says otherwise.
const UMASK: u32 = 0o22;

/// How long somebody may take to prove who they are, seconds.
const YES_SECONDS: u64 = 300;

/// What a request is told apart by, beside what it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// Random, made for this request.
    pub nonce: [u8; 16],
    /// Answers count until then.
    pub answer_by: Timestamp,
}

/// The spawner's order to hear an approver's proof: what their yes is to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Yes {
    /// The request.
    pub to: AccessId,
    /// Its digest, hex.
    pub digest: String,
}

/// An answer that was signed elsewhere.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handed {
    /// To what.
    pub yes: Yes,
    /// The text that was signed, as the decider made it.
    pub card: String,
    /// The signature.
    pub signature: String,
    /// Whose it is, by the policy's name for them.
    pub person: String,
    /// It is a no: nothing is remembered.
    pub no: bool,
    /// A yes for at most so many seconds.
    pub window: Option<u64>,
}

/// What is wished for, by whom, on which terms.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The access.
    pub id: &'a AccessId,
    /// Who asks, as whom, from where.
    pub facts: &'a Facts,
    /// What the command would inherit.
    pub process: Option<&'a Process>,
    /// The program's content.
    pub program: Option<&'a HashedProgram>,
    /// What is asked for.
    pub act: &'a Act,
    /// On which terms.
    pub terms: &'a Terms,
}

/// Everything that a request's digest is made of.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Fingerprint of the host's key; empty where there is none yet.
    pub host_key: &'a str,
    /// Boot id.
    pub boot: &'a str,
    /// See there.
    pub seal: &'a Seal,
    /// See there.
    pub wish: Wish<'a>,
    /// By which policy.
    pub policy: &'a Policy,
}

/// Whether the program's content is part of what is said yes to.
#[must_use]
pub fn has_program(act: &Act) -> bool {
    matches!(crate::ask::request(act).kind, Kind::Command | Kind::Shell | Kind::LoginShell)
}

/// SHA-256 of a request's encoding: 64 hex digits. In words what is missing for it.
///
/// # Errors
/// The target, the requester's process or the program's content is not known, or the role is none of the policy.
pub fn digest_of(request: &Request<'_>) -> Result<String, String> {
    let Request { host_key, boot, seal, wish, policy } = *request;
    let Wish { id, facts, process, program, act, terms } = wish;
    let options = &act.options;
    let asked = crate::ask::request(act);
    let runs = has_program(act);
    let Fact::Is(Some(target)) = &facts.target else { return Err("the target account is not known".to_owned()) };
    let program = match program {
        Some(program) if runs => {
            Some(Program { file: file(&program.file), interpreter: program.interpreter.as_ref().map(file) })
        }
        None if runs => return Err("the program's content could not be read".to_owned()),
        Some(_) | None => None,
    };
    let content = role_content(policy, &terms.role).ok_or_else(|| format!("{:?} is no role", terms.role))?;
    let environment = if runs { environment_of(&wish, target) } else { Vec::new() };
    let umask = process.map_or(options.umask, |process| process.umask) | terms.run_as.umask.unwrap_or(UMASK);
    let groups = groups_of(&wish, target)?;
    let binding = Binding {
        host_key,
        boot,
        id,
        nonce: seal.nonce,
        answer_by: seal.answer_by,
        uid: facts.requester.uid,
        person: person_of(policy, facts),
        loginuid: facts.requester.loginuid.known().copied().flatten(),
        kind: asked.kind,
        argv: &act.argv,
        program,
        cwd: options.chdir.as_ref().or(facts.cwd.known()),
        target: (target.uid, target.gid),
        groups: &groups,
        environment: &environment,
        umask,
        caps: None,
        role: &terms.role,
        role_content: &content,
        window: terms.window,
        run_time: options.timeout.map_or(terms.run_time, |asked| asked.min(terms.run_time)),
        record: terms.record,
        reason: options.reason.as_deref(),
        ticket: options.ticket.as_deref(),
    };
    Ok(digest::of_bytes(&binding.encode()))
}

/// The text that is signed elsewhere for a request of this digest. In words why there is none.
///
/// # Errors
/// The target is not known, or the text would be too long.
pub fn card_of(request: &Request<'_>, host: &str, digest: &str, said: Said<'_>) -> Result<String, String> {
    let Request { host_key, seal, wish, policy, .. } = *request;
    let Wish { id, facts, program, act, terms, .. } = wish;
    let options = &act.options;
    let Fact::Is(Some(target)) = &facts.target else { return Err("the target account is not known".to_owned()) };
    let word = |(place, word): (usize, &Bytes)| {
        let secret = terms.secret_arguments.contains(&place);
        if secret { format!("<secret:{}>", word.0.len()) } else { word.visible() }
    };
    let words: Vec<String> = act.argv.iter().enumerate().map(word).collect();
    let files = program.map(|program| [Some(&program.file), program.interpreter.as_ref()]);
    let programs: Vec<(&Bytes, [u8; 32])> =
        files.into_iter().flatten().flatten().map(|file| (&file.path, file.sha256)).collect();
    let runs = has_program(act);
    let card = Card {
        said,
        host,
        host_key,
        id,
        digest,
        nonce: seal.nonce,
        answer_by: seal.answer_by,
        requester: (facts.requester.uid, facts.requester.name.known().map(String::as_str), person_of(policy, facts)),
        target: (target.uid, &target.name),
        kind: crate::ask::request(act).kind,
        words: &words,
        programs: if runs { &programs } else { &[] },
        cwd: options.chdir.as_ref().or(facts.cwd.known()),
        variables: &if runs { brought(&wish) } else { Vec::new() },
        role: &terms.role,
        window: terms.window,
        run_time: options.timeout.map_or(terms.run_time, |asked| asked.min(terms.run_time)),
        reason: options.reason.as_deref(),
        ticket: options.ticket.as_deref(),
    };
    card.text().map_err(|error| error.to_string())
}

/// The supplementary groups that the session will set, before PAM.
fn groups_of(wish: &Wish<'_>, target: &Target) -> Result<Vec<Gid>, String> {
    let Wish { facts, act, terms, .. } = *wish;
    let own: Vec<Gid> = if act.options.preserve_groups {
        let carried = facts.requester.process_groups.known();
        let carried = carried.ok_or_else(|| "the groups that are to be kept are not known".to_owned())?;
        carried.iter().map(|group| group.gid).collect()
    } else {
        target.groups.clone()
    };
    Ok(own.into_iter().chain(terms.groups.iter().map(|group| group.gid)).collect())
}

/// What differs between two wishes that should be the same, by name and never by value; empty where nothing of the requester's does.
#[must_use]
pub fn differences(was: &Wish<'_>, is: &Wish<'_>) -> Vec<String> {
    let (old, new) = (crate::ask::request(was.act), crate::ask::request(is.act));
    let cwd = |wish: &Wish<'_>| wish.act.options.chdir.clone().or(wish.facts.cwd.known().cloned());
    let umask = |wish: &Wish<'_>| wish.process.map(|process| process.umask);
    let loginuid = |wish: &Wish<'_>| wish.facts.requester.loginuid.clone();
    let parts = [
        ("what kind of thing it is", old.kind != new.kind),
        ("the words of the command", was.act.argv != is.act.argv),
        ("the program", was.program != is.program),
        ("the working directory", cwd(was) != cwd(is)),
        ("the target account", was.facts.target != is.facts.target),
        ("-P", was.act.options.preserve_groups != is.act.options.preserve_groups),
        ("the umask", umask(was) != umask(is) || was.act.options.umask != is.act.options.umask),
        ("who asks", was.facts.requester.uid != is.facts.requester.uid || loginuid(was) != loginuid(is)),
        ("the role", was.terms.role != is.terms.role || old.role != new.role),
        (
            "how long it is for",
            was.terms.window != is.terms.window || was.act.options.timeout != is.act.options.timeout,
        ),
        ("the reason", was.act.options.reason != is.act.options.reason),
        ("the ticket", was.act.options.ticket != is.act.options.ticket),
    ];
    let names = parts.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned());
    names.chain(variables(was, is)).collect()
}

/// The variables that the command would get from its requester, by name.
#[must_use]
pub fn brought(wish: &Wish<'_>) -> Vec<Bytes> {
    let Fact::Is(Some(target)) = &wish.facts.target else { return Vec::new() };
    let theirs: BTreeSet<&[u8]> =
        wish.act.env.iter().chain(&wish.act.options.env_set).map(|one| one.0.as_slice()).collect();
    let is_theirs =
        |(name, value): &(Bytes, Bytes)| theirs.contains([&name.0, b"=".as_slice(), &value.0].concat().as_slice());
    environment_of(wish, target).into_iter().filter(is_theirs).map(|(name, _)| name).collect()
}

/// Variables that are not the same in both, by name: at most sixteen.
fn variables(was: &Wish<'_>, is: &Wish<'_>) -> Vec<String> {
    let (Fact::Is(Some(old)), Fact::Is(Some(new))) = (&was.facts.target, &is.facts.target) else { return Vec::new() };
    let (old, new) = (environment_of(was, old), environment_of(is, new));
    let only = |one: &[(Bytes, Bytes)], other: &[(Bytes, Bytes)]| -> BTreeSet<Bytes> {
        one.iter().filter(|variable| !other.contains(variable)).map(|(name, _)| name.clone()).collect()
    };
    let names: BTreeSet<Bytes> = only(&old, &new).into_iter().chain(only(&new, &old)).collect();
    names.into_iter().take(16).map(|name| format!("the variable {}", name.visible())).collect()
}

fn file(hashed: &Hashed) -> File<'_> {
    File { path: &hashed.path, device: hashed.device, inode: hashed.inode, sha256: hashed.sha256 }
}

/// The variables as the session will make them, without what only its PAM stack and its terminal add.
fn environment_of(wish: &Wish<'_>, target: &Target) -> Vec<(Bytes, Bytes)> {
    let Wish { id, facts, act, terms, .. } = *wish;
    let known = |fact: &Fact<String>| fact.known().cloned().unwrap_or_default();
    let (user, home) = (known(&facts.requester.name), known(&facts.requester.home));
    let path = facts.executable.known().and_then(|found| found.as_ref().ok()).map(|found| found.path.clone());
    let command: Vec<Bytes> = path.into_iter().chain(act.argv.iter().skip(1).cloned()).collect();
    environment::build(&Inputs {
        caller: &act.env,
        assignments: &act.options.env_set,
        preserve: &act.options.preserve,
        pam: &[],
        run_as: &terms.run_as,
        root_is_root: false,
        target,
        uid: facts.requester.uid,
        gid: facts.requester.gid,
        user: &user,
        home: &home,
        command: &command,
        secure_path: crate::SECURE_PATH,
        tty: None,
        login: asked_login(act),
        id,
    })
}

fn asked_login(act: &Act) -> bool {
    act.options.kind == jitsudo_protocol::act::ActKind::LoginShell
}

/// The terms of the conversation in which somebody says yes: a fresh proof, five minutes for it, and nothing else.
#[must_use]
pub fn terms_of_yes() -> Terms {
    Terms {
        rule: "built in".to_owned(),
        source: "built in".to_owned(),
        role: "approver".to_owned(),
        window: YES_SECONDS,
        run_time: YES_SECONDS,
        start_by: YES_SECONDS,
        auth: Auth::Fresh,
        approvals: 0,
        record: Record::None,
        when_full: false,
        not_after: None,
        finish: 0,
        warn: Vec::new(),
        run_as: RunAs {
            env_keep: Vec::new(),
            env_free: false,
            env_set: Vec::new(),
            cwd: Cwd::Home,
            umask: None,
            no_new_privs: true,
            leaves: false,
            safe_chain: true,
            create: false,
        },
        secret_arguments: Vec::new(),
        joined: Vec::new(),
        groups: Vec::new(),
        break_glass: None,
        counted: None,
    }
}

/// The fingerprint of a public key as it stands in its file, `SHA256:…`; `None` for what is none.
#[must_use]
pub fn fingerprint(public_key: &str) -> Option<String> {
    let blob = jitsudo_bytes::base64_decode(public_key.split_ascii_whitespace().nth(1)?)?;
    let digest = digest::of_reader(&mut blob.as_slice(), blob.len() as u64).ok()??;
    Some(format!("SHA256:{}", jitsudo_bytes::base64_encode(&digest).trim_end_matches('=')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_the_documented_bytes_is_the_documented_one() {
        let hex = include_str!("../../../core/tests/golden/approval-v1.hex").trim();
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let digest = digest::of_bytes(&bytes);
        assert!(include_str!("../../../docs/approvals.md").contains(&digest), "{digest}");
    }

    #[test]
    fn fingerprint_is_that_of_ssh_keygen() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl github";
        assert_eq!(fingerprint(key).as_deref(), Some("SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"));
        assert_eq!(fingerprint("ssh-ed25519"), None);
    }
}
