//! Gives one order to an effect worker, as the spawner does: `lend apply|undo ID UID USER SECONDS EFFECT`, the effect as JSON, the
//! grant over in so many seconds. Prints the answer as JSON. `lend undo-all ID…` has all that is noted of these grants taken back by one worker.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use jitsudo_core::name::Uid;
use jitsudo_core::{SignedDuration, Timestamp};
use jitsudo_link::LIBEXEC;
use jitsudo_link::notes::Note;
use jitsudo_link::spawner::Effect;
use jitsudo_sys::channel::Channel;
use jitsudo_sys::{child, clock};

fn main() -> ExitCode {
    match order() {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("lend: broken: {error}");
            ExitCode::FAILURE
        }
    }
}

fn order() -> Result<String, Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some((how, ids)) = words.split_first()
        && how == "undo-all"
    {
        let ids = ids.iter().map(|id| id.parse()).collect::<Result<Vec<_>, _>>()?;
        return say(&Effect::UndoGrants { patience_ms: 18_000, ids: ids.clone() }, ids.len());
    }
    let [how, id, uid, user, seconds, effect] = words.as_slice() else { return Err("six words are needed".into()) };
    let seconds: u32 = seconds.parse()?;
    let moment = clock::now();
    let ends_at = Timestamp::from_nanosecond(moment.wall_ns)
        .and_then(|now| now.checked_add(SignedDuration::from_secs(seconds.into())))
        .map_err(|error| error.to_string())?;
    let note = Box::new(Note {
        id: id.parse()?,
        host: "web-1".to_owned(),
        uid: Uid(uid.parse()?),
        user: user.clone(),
        rule: "r".to_owned(),
        role: "r".to_owned(),
        reason: None,
        ticket: None,
        groups: Vec::new(),
        boot: clock::boot_id()?,
        ends_at,
        ends_boottime_ms: moment.boottime_ms + u64::from(seconds) * 1000,
        effects: Vec::new(),
        activating: false,
        ending: None,
        ended: false,
        first_end: None,
    });
    let effect = serde_json::from_str(effect)?;
    let order = match how.as_str() {
        "apply" => Effect::ApplyEffect { note, effect },
        "undo" => Effect::UndoEffect { note, effect },
        other => return Err(format!("cannot {other}").into()),
    };
    say(&order, 1)
}

/// Gives the order to a worker; so many answers of it.
fn say(order: &Effect, answers: usize) -> Result<String, Box<dyn Error>> {
    let (ours, theirs) = Channel::pair()?;
    let worker = child::start(&Path::new(LIBEXEC).join("jitsudo-effects"), &[], &theirs)?;
    drop(theirs);
    ours.send(&serde_json::to_vec(order)?, &[])?;
    let mut all = Vec::new();
    for _ in 0..answers {
        all.push(String::from_utf8(ours.receive()?.ok_or("no answer")?.bytes)?);
    }
    worker.end();
    Ok(all.join("\n"))
}
