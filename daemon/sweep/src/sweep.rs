//! One pass over the notes.

use std::fs;
use std::path::Path;

use jitsudo_core::event::{EndCause, Event};
use jitsudo_core::id::AccessId;
use jitsudo_core::lends::Effect;
use jitsudo_link::alone::{self, SPAWNER_LOCK};
use jitsudo_link::notes::{self, DROP_INS, Note, Notes};
use jitsudo_link::spawner::TakenBack;
use jitsudo_link::{SESSIONS, SETTINGS, settings};
use jitsudo_protocol::digest;

use crate::over::{self, Which};
use crate::record::{self, Recorder};
use crate::undo::{self, Effects};
use crate::{logins, marks};

/// Ends what is to be ended; true when nothing that should be gone is left, and every note could be read.
pub(crate) fn sweep(notes: &Notes, which: Which) -> bool {
    let recorder = Recorder::new();
    // First, and together: they take a second or two, and a tool that edits the group file may take a minute. The right to log in is
    // gone already, since the gate gives nothing while no spawner answers.
    let logins = logins::end(&jitsudo_link::logins::folder(), notes, &recorder, which);
    let commands = marks::end(&jitsudo_link::marks::folder(), notes, &recorder, which);
    let drop_ins = notes::drop_ins(Path::new(DROP_INS));
    notes.bring_back(&record::now().boot);
    let mut listing = notes.read_all();
    for (path, why) in &listing.garbage {
        let next = "`jitctl doctor --privileges` names it: then take it back, and remove the note";
        recorder
            .say(&format!("cannot read the note {}: {why}; what it lends may be there still: {next}", path.display()));
    }
    let now = record::now();
    // The spawner knows what it gave, whatever became of the notes.
    let spawner_lives = alone::does_spawner_live(Path::new(SPAWNER_LOCK));
    if !spawner_lives {
        for id in notes.unnamed(&listing, &drop_ins) {
            let note = notes::unknown(id, &host(), now.wall, now.boottime_ms, &now.boot);
            match notes.write(&note) {
                Ok(()) => {
                    listing.garbage.retain(|(path, _)| !path.ends_with(note.id.as_str()));
                    listing.notes.push(note);
                }
                Err(error) => recorder.say(&format!("{}: cannot note that it is to end: {error}", note.id)),
            }
        }
    }
    let lost = |note: &Note| (note.ending == Some(EndCause::Lost) && !spawner_lives).then_some(EndCause::Lost);
    let cause = |note: &Note| lost(note).or_else(|| over::cause(note, which, &now));
    let over: Vec<(&Note, EndCause)> =
        listing.notes.iter().filter_map(|note| cause(note).map(|cause| (note, cause))).collect();
    // The rights of all of them first: a record waits for the disk.
    let with_effects = over.iter().filter(|(note, _)| !note.effects.is_empty());
    let mut undone = undo::undo(&with_effects.map(|(note, _)| note.id.clone()).collect::<Vec<_>>());
    let mut is_clean = listing.garbage.is_empty() && logins.of.is_empty() && !logins.unread && commands;
    for (note, cause) in over {
        let taken = undone.remove(&note.id).unwrap_or_else(|| Ok(Vec::new()));
        is_clean &= end(notes, &recorder, (note, cause), taken, logins.of.contains(&note.id));
    }
    is_clean
}

/// This host's enrolled name, for what is recorded of a grant whose note does not say it.
fn host() -> String {
    let text = jitsudo_sys::trusted::read(Path::new(SETTINGS), settings::MAX_SETTINGS_BYTES as u64).ok().flatten();
    let text = text.and_then(|text| String::from_utf8(text).ok()).unwrap_or_default();
    let nodename = jitsudo_sys::nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    settings::parse(&text).map_or_else(|_| nodename.clone(), |settings| settings.host_or(&nodename))
}

/// Says what became of the effects, and closes the grant when nothing of it is left, no login either.
fn end(
    notes: &Notes,
    recorder: &Recorder,
    (note, cause): (&Note, EndCause),
    taken: Result<Effects, String>,
    is_logged_in: bool,
) -> bool {
    let (id, host) = (&note.id, note.host.as_str());
    let mut left = Vec::new();
    let taken = match taken {
        Ok(taken) => taken,
        // Somebody else has ended it meanwhile.
        Err(_) if notes.of(id).is_ok_and(|known| known.is_none()) => return true,
        Err(why) => {
            left.push(why);
            Vec::new()
        }
    };
    for (effect, taken) in taken {
        match taken {
            TakenBack::Done { removed, remark } => {
                jitsudo_sys::failpoint::reach("sweep.undone");
                if let Some(remark) = remark {
                    recorder.say(&format!("{id}: {effect} taken back; {remark}"));
                }
                let part = format!("1.{}", short(&effect));
                recorder.record(host, &part, Event::EffectUndone { id: id.clone(), effect, removed });
            }
            TakenBack::Failed(why) => left.push(why),
        }
    }
    if is_logged_in {
        left.push("a login under it cannot be ended".to_owned());
    }
    if !left.is_empty() {
        let cause = left.join("; ");
        recorder.say(&format!("{id}: {cause}"));
        // One event a boot; the journal has each try.
        let part = format!("2.{}", record::now().boot);
        recorder.record(host, &part, Event::CleanupFailed { id: id.clone(), cause });
        return false;
    }
    let ended = recorder.record(host, "3", Event::Ended { id: id.clone(), cause });
    if has_sessions(id) {
        // They end at their own deadline, and whoever finds them gone closes the grant: the spawner, or a sweep after it.
        if let Ok(Some(left)) = notes.of(id) {
            // Said once; without it the spawner says it again, which changes nothing.
            let _ = notes.write(&Note { ending: left.ending.or(Some(cause)), ended: ended || left.ended, ..left });
            jitsudo_sys::failpoint::reach("sweep.noted");
        }
        return true;
    }
    let closed = ended && recorder.record(host, "4", Event::Closed { id: id.clone() });
    let removed = closed
        && notes
            .remove(id)
            .inspect_err(|error| recorder.say(&format!("{id}: cannot remove its note: {error}")))
            .is_ok();
    jitsudo_sys::failpoint::reach("sweep.forgotten");
    closed && removed
}

/// The same for the same effect, in whichever try it goes.
fn short(effect: &Effect) -> String {
    let json = serde_json::to_vec(effect).unwrap_or_default();
    digest::of_bytes(&json).chars().take(16).collect()
}

/// True while the spawner's folder names a session of this grant: only the spawner strikes it out.
fn has_sessions(id: &AccessId) -> bool {
    let prefix = format!("{id}.");
    let names = fs::read_dir(SESSIONS).into_iter().flatten().flatten();
    names.into_iter().any(|entry| entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_have_names_of_their_own_that_a_spool_takes() {
        let names = ["adm", "Adm", "docker"].map(|group| short(&Effect::Membership(group.to_owned())));
        assert!(names[0] != names[1] && names[1] != names[2]);
        assert_eq!(names[0], short(&Effect::Membership("adm".to_owned())));
        let name = format!("sweep.01jd0000000000000000000000.1.{}", names[0]);
        assert!(jitsudo_ledger::spool::is_name(&name), "{name}");
    }
}
