//! A decider that lies: takes the decider's place on a test host, serves one client, and asks the spawner for what the policy does not
//! give. Prints what the spawner said. `hostile-decider LIE RULE ROLE`; the listening socket is inherited as descriptor 3.

use std::error::Error;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::ExitCode;

use jitsudo_core::Timestamp;
use jitsudo_core::id::{AccessId, SessionId};
use jitsudo_link::spawner::{FromSpawner, SignOutcome, Start, ToSpawner, Wanted};
use jitsudo_protocol::act::{Act, Assembler, Progress};
use jitsudo_protocol::client::{FromClient, FromDecider, Say};
use jitsudo_protocol::digest;
use jitsudo_sys::channel::Channel;
use jitsudo_sys::{clock, random};

mod signed;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().unwrap_or_default();
    let (lie, rule, role) = (next(), next(), next());
    match serve(&lie, rule, role) {
        Ok(said) => {
            println!("hostile-decider {lie}: {said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("hostile-decider {lie}: broken: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(lie: &str, rule: String, role: String) -> Outcome<String> {
    let listener = Channel::from_inherited(jitsudo_link::INHERITED_FD)?;
    listener.set_nonblocking(false)?;
    let spawner = Channel::connect(Path::new(jitsudo_link::SPAWNER_SOCKET))?;
    let FromSpawner::Ready { policy, .. } = hear(&spawner)? else { return Err("no Ready".into()) };
    let client = listener.accept()?;
    client.set_nonblocking(false)?;
    let act = take_act(&client)?;
    // Neither needs an act: a head that no ledger holds, and root's word from somebody who is not root.
    let forged = || Wanted { segment: None, seq: 1_000_000, hash: "ab".repeat(32) };
    match lie {
        "head" => {
            say(&spawner, &ToSpawner::Sign { number: 1, wanted: forged() }, None)?;
            return hear_signed(&spawner);
        }
        "acknowledgement" => {
            say(&spawner, &ToSpawner::Acknowledge { number: 1, wanted: forged() }, Some(&client))?;
            return hear_signed(&spawner);
        }
        _ => {}
    }

    if lie.contains("signed") {
        return signed::lie(lie, &spawner, &client, &act, (policy.unwrap_or_default(), rule, role));
    }
    let about = jitsudo_link::ask::about(&act, None);
    say(&spawner, &ToSpawner::Look { number: 1, about }, Some(&client))?;
    let FromSpawner::Looked { peer, facts, .. } = hear(&spawner)? else { return Err("not looked at".into()) };
    let target = facts.target.known().and_then(Option::as_ref).ok_or("no target")?.uid.0;

    if lie == "unlock" {
        say(&spawner, &ToSpawner::Unlock { number: 2, uid: facts.requester.uid }, Some(&client))?;
        loop {
            if let FromSpawner::Unlocked { refused, .. } = hear(&spawner)? {
                return Ok(refused.map_or_else(|| "done".to_owned(), |cause| format!("refused: {cause}")));
            }
        }
    }

    let moment = clock::now();
    let wall = Timestamp::from_nanosecond(moment.wall_ns).map_err(|error| error.to_string())?;
    let milliseconds = u64::try_from(moment.wall_ns / 1_000_000)?;
    let mut told = act;
    let mut start = Start {
        session: SessionId { access: AccessId::new(milliseconds, random::bytes()?), number: 1 },
        requester: peer.uid,
        digest: digest::of_act(peer.uid, &told),
        policy: policy.unwrap_or_default(),
        rule,
        role,
        target,
        ends_at: wall + jitsudo_core::SignedDuration::from_secs(60),
        ends_boottime_ms: moment.boottime_ms + 60_000,
        approved: None,
        yes: None,
        held: false,
        groups: Vec::new(),
        extends: false,
    };
    let mut foreign = None;
    match lie {
        "none" => {}
        "uid" => start.requester = 0,
        "target" => start.target = 33,
        "rule" => start.rule = "no such rule".to_owned(),
        "role" => start.role = "no-such-role".to_owned(),
        "deadline" => start.ends_at = wall + jitsudo_core::SignedDuration::from_hours(24 * 365),
        "boot-deadline" => start.ends_boottime_ms = u64::MAX,
        "digest" => start.digest = digest::of_bytes(b"another act"),
        // Neither the policy nor the client said this.
        "argv" => {
            told.argv = vec!["/usr/bin/id".into()];
            start.digest = digest::of_act(peer.uid, &told);
        }
        // The policy would give this, but the client asked for something else: the session finds out.
        "allowed-argv" => {
            for word in told.argv.iter_mut().filter(|word| word.as_str() == Some("restart")) {
                *word = "reload".into();
            }
            start.digest = digest::of_act(peer.uid, &told);
        }
        // Nobody holds a role of that id; and a command is no conversation about one.
        "grant" => start.held = true,
        "session" => start.session.number = 0,
        "foreign" => foreign = Some(Channel::connect(Path::new(jitsudo_protocol::SOCKET))?),
        other => return Err(format!("there is no lie {other:?}").into()),
    }
    let (first, more) = told.split();
    let connection = foreign.as_ref().unwrap_or(&client);
    let order = ToSpawner::Start { number: 2, start: Box::new(start), act: Box::new(first) };
    say(&spawner, &order, Some(connection))?;
    for more in more {
        say(&spawner, &ToSpawner::More { number: 2, more }, None)?;
    }
    loop {
        match hear(&spawner)? {
            FromSpawner::Started { .. } => return Ok("started".to_owned()),
            FromSpawner::StartRefused { cause, disagree, .. } => {
                let word = if disagree { "refused" } else { "failed" };
                return Ok(format!("{word}: {cause}"));
            }
            FromSpawner::Spooled | FromSpawner::SessionGone { .. } => {}
            other => return Err(format!("unexpected {other:?}").into()),
        }
    }
}

fn hear_signed(spawner: &Channel) -> Outcome<String> {
    loop {
        match hear(spawner)? {
            FromSpawner::Signed { outcome: SignOutcome::Done(_), .. } => return Ok("signed".to_owned()),
            FromSpawner::Signed { outcome: SignOutcome::Refused(cause) | SignOutcome::Failed(cause), .. } => {
                return Ok(format!("refused: {cause}"));
            }
            FromSpawner::Spooled | FromSpawner::SessionGone { .. } => {}
            other => return Err(format!("unexpected {other:?}").into()),
        }
    }
}

fn take_act(client: &Channel) -> Outcome<Act> {
    let hello = FromDecider::Hello { oldest: 1, newest: 1, nonce: random::hex::<16>()?, host: "web-1".to_owned() };
    client.send(&serde_json::to_vec(&hello)?, &[])?;
    let mut progress = None;
    loop {
        let message = client.receive()?.ok_or("the client left")?;
        let said: FromClient = serde_json::from_slice(&message.bytes)?;
        let next = match (said.say, progress.take()) {
            (Say::Run(start), None) => Assembler::begin(*start)?,
            (Say::More(more), Some(assembler)) => Assembler::more(assembler, more)?,
            _ => return Err("the client said something else".into()),
        };
        match next {
            Progress::Whole(act) => return Ok(act),
            Progress::More(assembler) => progress = Some(assembler),
        }
    }
}

fn say(spawner: &Channel, message: &ToSpawner, connection: Option<&Channel>) -> Outcome<()> {
    let attached: Vec<_> = connection.iter().map(|connection| connection.as_fd()).collect();
    Ok(spawner.send(&serde_json::to_vec(message)?, &attached)?)
}

fn hear(spawner: &Channel) -> Outcome<FromSpawner> {
    let message = spawner.receive()?.ok_or("the spawner closed the connection")?;
    Ok(serde_json::from_slice(&message.bytes)?)
}
