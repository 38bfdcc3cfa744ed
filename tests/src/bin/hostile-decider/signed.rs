//! Lies about answers that were signed elsewhere. This decider has a key of carol's, as if she had signed whatever it likes: what is left to the
//! spawner is that she signed just what is started, for now, and once.

use std::path::Path;

use jitsudo_core::approval::Said;
use jitsudo_core::decision::{Decision, Terms};
use jitsudo_core::evaluate::evaluate_after;
use jitsudo_core::facts::Facts;
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_core::past::Past;
use jitsudo_core::policy::Policy;
use jitsudo_core::{SignedDuration, Timestamp};
use jitsudo_link::approval::{Handed, Request, Seal, Wish, Yes, card_of, digest_of, fingerprint};
use jitsudo_link::facts::{About, HashedProgram, Process};
use jitsudo_link::spawner::{FromSpawner, ProofOutcome, Start, ToSpawner};
use jitsudo_link::{APPLIED_POLICY, HOST_PUBLIC_KEY, STATE, ask};
use jitsudo_protocol::act::Act;
use jitsudo_protocol::digest;
use jitsudo_sys::channel::Channel;
use jitsudo_sys::{clock, random};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{HashAlg, LineEnding, PrivateKey};

use super::{Outcome, hear, say};

/// `answer-by` of the rule, seconds.
const ANSWER_BY: i64 = 600;

struct Looked {
    uid: u32,
    facts: Facts,
    process: Option<Process>,
    program: Option<HashedProgram>,
}

pub(super) fn lie(
    lie: &str,
    spawner: &Channel,
    client: &Channel,
    act: &Act,
    (digest_of_policy, rule, role): (String, String, String),
) -> Outcome<String> {
    let policy = Policy::from_compiled(&std::fs::read(APPLIED_POLICY)?)?;
    let looked = look(spawner, client, act, &policy)?;
    let moment = clock::now();
    let wall = Timestamp::from_nanosecond(moment.wall_ns).map_err(|error| error.to_string())?;
    let Decision::Allow(terms) =
        evaluate_after(Some(&policy), &looked.facts, &ask::request(act), &Past::default(), wall)
    else {
        return Err("the policy gives nothing".into());
    };
    let left = if lie == "signed-late" { -1 } else { ANSWER_BY - 1 };
    let seal = Seal { nonce: random::bytes()?, answer_by: wall + SignedDuration::from_secs(left) };
    let id = AccessId::new(u64::try_from(moment.wall_ns / 1_000_000)?, random::bytes()?);
    let (digest, card) = texts(&policy, &looked, act, (&terms, &seal, &id))?;
    let target = looked.facts.target.known().and_then(Option::as_ref).ok_or("no target")?.uid.0;
    let start = Start {
        session: SessionId { access: id.clone(), number: 1 },
        requester: looked.uid,
        digest: digest::of_act(looked.uid, act),
        policy: digest_of_policy,
        rule,
        role,
        target,
        ends_at: wall + SignedDuration::from_secs(60),
        ends_boottime_ms: moment.boottime_ms + 60_000,
        approved: Some(seal),
        yes: None,
        held: false,
        groups: Vec::new(),
        extends: false,
    };
    let card = if lie == "signed-card" { card.replace("word restart", "word reload") } else { card };
    let handed = Handed {
        yes: Yes { to: id, digest },
        signature: sign(if lie == "signed-key" { 6 } else { 5 }, &card)?,
        card,
        person: if lie == "signed-person" { "bob" } else { "carol" }.to_owned(),
        no: lie == "signed-no",
        window: None,
    };
    let proved = if lie == "unsigned" { String::new() } else { prove(spawner, client, &handed)? };
    let said = order(spawner, client, &start, act)?;
    if lie != "signed-twice" {
        return Ok(format!("{proved}{said}"));
    }
    look(spawner, client, act, &policy)?;
    let again = prove(spawner, client, &handed)?;
    Ok(format!("{said}; {again}{}", order(spawner, client, &start, act)?))
}

fn look(spawner: &Channel, client: &Channel, act: &Act, policy: &Policy) -> Outcome<Looked> {
    let about = About { hash: true, ..ask::about(act, Some(policy)) };
    say(spawner, &ToSpawner::Look { number: 1, about }, Some(client))?;
    loop {
        match hear(spawner)? {
            FromSpawner::Looked { peer, facts, process, program, .. } => {
                let (process, program) = (process.map(|one| *one), program.map(|one| *one));
                return Ok(Looked { uid: peer.uid, facts: *facts, process, program });
            }
            FromSpawner::Spooled | FromSpawner::SessionGone { .. } => {}
            other => return Err(format!("not looked at: {other:?}").into()),
        }
    }
}

/// The digest and the card, made as an honest decider makes them.
fn texts(
    policy: &Policy,
    looked: &Looked,
    act: &Act,
    (terms, seal, id): (&Terms, &Seal, &AccessId),
) -> Outcome<(String, String)> {
    let key = std::fs::read_to_string(Path::new(STATE).join(HOST_PUBLIC_KEY))?;
    let host_key = fingerprint(&key).ok_or("no key of the host")?;
    // As in the real one's unit: the id in /proc is another's there.
    let boot = std::env::var("JITSUDO_BOOT_ID")?;
    let part = |from: usize, to: usize| boot.get(from..to).unwrap_or_default();
    let boot = [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-");
    let (process, program) = (looked.process.as_ref(), looked.program.as_ref());
    let wish = Wish { id, facts: &looked.facts, process, program, act, terms };
    let request = Request { host_key: &host_key, boot: &boot, seal, wish, policy };
    let digest = digest_of(&request)?;
    let card = card_of(&request, &looked.facts.host, &digest, Said::Yes(None))?;
    Ok((digest, card))
}

fn sign(seed: u8, card: &str) -> Outcome<String> {
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]));
    let signature = key.sign("jitsudo-approval@v1", HashAlg::Sha512, card.as_bytes());
    Ok(signature.and_then(|signature| signature.to_pem(LineEnding::LF)).map_err(|error| error.to_string())?)
}

/// Nothing where it is proven, else what the spawner says.
fn prove(spawner: &Channel, client: &Channel, handed: &Handed) -> Outcome<String> {
    say(spawner, &ToSpawner::Prove { number: 3, handed: Box::new(handed.clone()) }, Some(client))?;
    loop {
        match hear(spawner)? {
            FromSpawner::Proved { outcome: ProofOutcome::Done(_), .. } => return Ok(String::new()),
            FromSpawner::Proved { outcome: ProofOutcome::Refused(cause) | ProofOutcome::Failed(cause), .. } => {
                return Ok(format!("not proven: {cause}; "));
            }
            FromSpawner::Spooled | FromSpawner::SessionGone { .. } => {}
            other => return Err(format!("unexpected {other:?}").into()),
        }
    }
}

fn order(spawner: &Channel, client: &Channel, start: &Start, act: &Act) -> Outcome<String> {
    let (first, more) = act.clone().split();
    let order = ToSpawner::Start { number: 2, start: Box::new(start.clone()), act: Box::new(first) };
    say(spawner, &order, Some(client))?;
    for more in more {
        say(spawner, &ToSpawner::More { number: 2, more }, None)?;
    }
    loop {
        match hear(spawner)? {
            FromSpawner::Started { .. } => return Ok("started".to_owned()),
            FromSpawner::StartRefused { cause, .. } => return Ok(format!("refused: {cause}")),
            FromSpawner::Spooled | FromSpawner::SessionGone { .. } => {}
            other => return Err(format!("unexpected {other:?}").into()),
        }
    }
}
