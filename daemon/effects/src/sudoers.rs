//! A drop-in for the host's sudo, one file a grant, in a directory that a reboot clears.
//!
//! MUSTs
//! 1. Only what sudo was seen to end by itself is lent: a line whose NOTAFTER is past must give nothing here (`probe`). Where it does not, a
//!    line without an end is lent only for a role that accepts that (`Lack`).
//! 2. No file is put in place that visudo does not take, and none stays that sudo does not read as it was meant (`put`).
//! 3. A line says exactly its command: what sudo could read in another way is refused (`sudoers_dropin_02_*`).

mod text;

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use jitsudo_core::Timestamp;
use jitsudo_core::name::Uid;
use jitsudo_link::SUDOERS;
use jitsudo_link::notes::Note;
use jitsudo_sys::clock;

use crate::accounts;
use crate::lend::Removed;
use crate::tool::{self, Ran};
use text::Line;

const SUDO: &str = "/usr/bin/sudo";
const VISUDO: &str = "/usr/sbin/visudo";
/// Makes sudo read [`SUDOERS`].
const INCLUDED_BY: &str = "/etc/sudoers.d/jitsudo";
/// Whom the probe's lines are for.
const PROBED: &str = "_jitsudo";
/// Milliseconds for one question to sudo or visudo.
const PATIENCE_MS: u64 = 5_000;
/// Milliseconds for all of them.
const ALL_MS: u64 = 30_000;

/// What it means that this host's sudo ends no line by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lack {
    /// Nothing is lent then.
    IsRefused,
    /// It is lent all the same, and jitsudo alone takes it back (`sudoers-without-end`).
    IsAccepted,
}

/// Puts the drop-in in place, and reads it back through sudo.
pub(crate) fn put(note: &Note, lines: &[String], lack: Lack) -> Result<(), String> {
    let cannot = |why: String| format!("cannot lend {} sudoers lines to {}: {why}", lines.len(), note.user);
    let lines = lines.iter().map(|line| text::line(line)).collect::<Result<Vec<_>, _>>().map_err(cannot)?;
    let account = accounts::by_uid(note.uid).map_err(cannot)?;
    if account.is_none_or(|account| account.name != note.user) {
        return Err(cannot(format!("uid {} is not {} now", note.uid.0, note.user)));
    }
    sudo_is_there().and_then(|()| directory_is_sound()).map_err(cannot)?;
    let moment = clock::now();
    let now = Timestamp::from_nanosecond(moment.wall_ns).map_err(|error| cannot(error.to_string()))?;
    // Whichever clock ends it first.
    let by_boot = i64::try_from(note.ends_boottime_ms.saturating_sub(moment.boottime_ms)).unwrap_or(i64::MAX);
    let by_boot = now.checked_add(jitsudo_core::SignedDuration::from_millis(by_boot)).unwrap_or(note.ends_at);
    let ends_at = note.ends_at.min(by_boot);
    let end = match probe(note, now) {
        Ok(()) => Some(ends_at),
        Err(why) if lack == Lack::IsAccepted => {
            probe_without_end(note).map_err(|more| cannot(format!("{why}; {more}")))?;
            None
        }
        Err(why) => return Err(cannot(why)),
    };
    let timed = text::drop_in(note, &lines, (now, ends_at), end, true);
    let place = place(note);
    let written = write_checked(&place, &timed).or_else(|_| {
        // A sudo that does not know TIMEOUT still ends the right; what runs is ended by others.
        write_checked(&place, &text::drop_in(note, &lines, (now, ends_at), end, false))
    });
    written.map_err(cannot)?;
    read_back(note, &lines, end).map_err(cannot)
}

/// Removes it. One that is gone already is fine.
pub(crate) fn remove(note: &Note) -> Result<Removed, String> {
    let place = place(note);
    let failed = |error: io::Error| format!("cannot remove {}: {error}", place.display());
    for leftover in [temporary(&place), probe_place(note)] {
        match fs::remove_file(&leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    let removed = match fs::remove_file(&place) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(failed(error)),
    };
    match fs::symlink_metadata(&place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Removed { removed, remark: None }),
        Ok(_) => Err(format!("{} came back", place.display())),
        Err(error) => Err(failed(error)),
    }
}

/// The drop-in: sudo passes over names with a dot or a tilde in them; an id has neither.
fn place(note: &Note) -> PathBuf {
    Path::new(SUDOERS).join(note.id.as_str())
}

fn probe_place(note: &Note) -> PathBuf {
    Path::new(SUDOERS).join(format!("probe-{}", note.id))
}

/// With a dot: sudo never reads a half-written one.
fn temporary(place: &Path) -> PathBuf {
    place.with_extension("new")
}

fn sudo_is_there() -> Result<(), String> {
    let program = fs::canonicalize(SUDO).map_err(|_| format!("there is no sudo at {SUDO}"))?;
    if program.file_name().is_some_and(|name| name == "jitsudo") {
        return Err(format!("{SUDO} is jitsudo here: lend `run` instead"));
    }
    fs::metadata(VISUDO).map(drop).map_err(|_| format!("there is no visudo at {VISUDO}"))
}

fn directory_is_sound() -> Result<(), String> {
    let unsound = |why: String| format!("{SUDOERS}: {why}");
    match fs::DirBuilder::new().create(SUDOERS) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(unsound(error.to_string())),
    }
    let metadata = fs::symlink_metadata(SUDOERS).map_err(|error| unsound(error.to_string()))?;
    if !metadata.is_dir() || metadata.uid() != 0 || (metadata.mode() & 0o022 != 0) {
        return Err(unsound("it must be a directory that root alone can write".to_owned()));
    }
    fs::set_permissions(SUDOERS, Permissions::from_mode(0o700)).map_err(|error| unsound(error.to_string()))
}

/// Shows that this sudo reads the directory, and that it ends a line by its NOTAFTER. For that moment the decider's account, which
/// has no other right and starts no program, may run `true` with words that nobody would give it.
fn probe(note: &Note, now: Timestamp) -> Result<(), String> {
    let both = "this sudo does not end a line by NOTAFTER, or lets everybody run everything";
    probe_with(note, |uid| text::probe(uid, now), both)
}

/// Shows that this sudo reads the directory, and gives nothing that does not stand there.
fn probe_without_end(note: &Note) -> Result<(), String> {
    probe_with(note, text::probe_without_end, "this sudo lets everybody run everything")
}

/// What gives one of two words, and in words what it means when both are given.
fn probe_with(note: &Note, lines: impl Fn(Uid) -> String, both: &str) -> Result<(), String> {
    let account = accounts::account_named(PROBED)?.ok_or_else(|| format!("there is no account {PROBED}"))?;
    let place = probe_place(note);
    let outcome = write_checked(&place, &lines(account.uid)).and_then(|()| {
        let asked = |word: &str| allows(PROBED, &["/usr/bin/true", word]);
        match (asked(text::PROBE_LIVE)?, asked(text::PROBE_PAST)?) {
            (true, false) => Ok(()),
            (false, _) => Err(format!("sudo does not read {SUDOERS}: {INCLUDED_BY} must include it")),
            (true, true) => Err(both.to_owned()),
        }
    });
    match fs::remove_file(&place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", place.display()))
        }
        _ => outcome,
    }
}

/// Every line that can be asked about is asked about, and the list must name the end, where there is one.
fn read_back(note: &Note, lines: &[Line], end: Option<Timestamp>) -> Result<(), String> {
    let listed = sudo(&["-l", "-U", &note.user])?;
    if !end.map_or_else(|| listed.succeeded, |end| listed.output.contains(&text::not_after(end))) {
        return Err(format!("sudo does not list it: {}", listed.words()));
    }
    let until_ms = clock::boottime_ms().saturating_add(ALL_MS);
    for line in lines {
        let words: Vec<&str> = match line {
            Line::All => vec!["/usr/bin/true", "jitsudo-asks"],
            Line::Command(words) => words.iter().map(String::as_str).collect(),
        };
        let is_here = words.first().is_some_and(|program| fs::metadata(program).is_ok_and(|found| found.is_file()));
        if is_here && !allows(&note.user, &words)? {
            return Err(format!("sudo does not allow {}: another line of sudoers comes after it", words.join(" ")));
        }
        if clock::boottime_ms() > until_ms {
            return Err("asking sudo about each line takes too long".to_owned());
        }
    }
    Ok(())
}

fn allows(user: &str, words: &[&str]) -> Result<bool, String> {
    let mut arguments = vec!["-l", "-U", user, "--"];
    arguments.extend(words);
    sudo(&arguments).map(|ran| ran.succeeded)
}

fn sudo(arguments: &[&str]) -> Result<Ran, String> {
    let mut all = vec!["-n"];
    all.extend(arguments);
    tool::run(SUDO, &all, Stdio::null(), PATIENCE_MS)
}

/// Written beside, checked by visudo, renamed: sudo sees a whole file or none.
fn write_checked(place: &Path, text: &str) -> Result<(), String> {
    let temporary = temporary(place);
    let failed = |error: io::Error| format!("cannot write {}: {error}", place.display());
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        // Whatever the umask is.
        file.set_permissions(Permissions::from_mode(0o440))
    };
    let checked = write().map_err(failed).and_then(|()| {
        let ran = tool::run(VISUDO, &["-cf", &temporary.to_string_lossy()], Stdio::null(), PATIENCE_MS)?;
        if ran.succeeded { Ok(()) } else { Err(format!("visudo does not take it: {}", ran.words())) }
    });
    jitsudo_sys::failpoint::reach("effects.sudoers.written");
    checked.and_then(|()| fs::rename(&temporary, place).map_err(failed)).inspect_err(|_| {
        // Its name has a dot: sudo passes over a leftover.
        let _ = fs::remove_file(&temporary);
    })
}
