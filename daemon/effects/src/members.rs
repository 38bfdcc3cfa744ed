//! Takes many members out of the lines of group or gshadow at once: the editor that shadow's vigr(8) is given, which has the locks, writes
//! whole files and flushes the caches.
//!
//! MUSTs
//! 1. What it was not told to take out stays byte for byte, sense or none (`only_what_was_named_goes`).
//! 2. A file that could not be written whole is not put in place: vigr heeds the exit status (`main`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{FileTimes, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use jitsudo_sys::nix::libc;

/// The word that makes `jitsudo-effects` an editor.
pub(crate) const WORD: &str = "take-out-members";
/// The variable that names whom: `GROUP:MEMBER` lines.
pub(crate) const WHOM: &str = "JITSUDO_MEMBERS";
/// The field of the members, in group(5) and in gshadow(5).
const MEMBERS: usize = 3;

/// Members by group.
pub(crate) type Members = BTreeMap<String, BTreeSet<String>>;

/// For [`WHOM`].
pub(crate) fn told<'a>(pairs: impl Iterator<Item = &'a (String, String)>) -> String {
    pairs.map(|(group, member)| format!("{group}:{member}\n")).collect()
}

fn heard(text: &str) -> Members {
    let mut members = Members::new();
    for (group, member) in text.lines().filter_map(|line| line.split_once(':')) {
        members.entry(group.to_owned()).or_default().insert(member.to_owned());
    }
    members
}

/// Edits the file that vigr names, a copy of the real one beside it.
pub(crate) fn main(path: &OsStr) -> ExitCode {
    let whom = heard(&std::env::var(WHOM).unwrap_or_default());
    match edit(Path::new(path), &whom) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // vigr passes it on to who asked.
            let _ = writeln!(io::stderr(), "cannot edit {}: {error}", Path::new(path).display());
            ExitCode::FAILURE
        }
    }
}

fn edit(path: &Path, whom: &Members) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
    let before = file.metadata()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let Some(bytes) = without(&bytes, whom) else { return Ok(()) };
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&bytes)?;
    file.set_len(bytes.len() as u64)?;
    // vigr copied the time of the real file, and takes a copy with the same second for unchanged.
    file.set_times(FileTimes::new().set_modified(later_than(before.mtime())))?;
    file.sync_all()
}

/// The time now, or a second after that one: never in the same second, nor before.
fn later_than(second: i64) -> SystemTime {
    let next = Duration::from_secs(u64::try_from(second.saturating_add(1)).unwrap_or_default());
    let moment = jitsudo_sys::clock::now();
    let now = Duration::from_nanos(u64::try_from(moment.wall_ns).unwrap_or_default());
    SystemTime::UNIX_EPOCH + now.max(next)
}

/// The file without these members; `None` when none of them is in it.
fn without(bytes: &[u8], whom: &Members) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match line_without(line, whom) {
            Some(line) => text.extend(line),
            None => text.extend_from_slice(line),
        }
    }
    (text != bytes).then_some(text)
}

fn line_without(line: &[u8], whom: &Members) -> Option<Vec<u8>> {
    let (line, end) = line.strip_suffix(b"\n").map_or((line, &b""[..]), |line| (line, b"\n"));
    let mut fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    let gone = whom.get(str::from_utf8(fields.first()?).ok()?)?;
    let members = fields.get_mut(MEMBERS)?;
    let is_named = |member: &&[u8]| str::from_utf8(member).is_ok_and(|member| gone.contains(member.trim()));
    let all: Vec<&[u8]> = members.split(|byte| *byte == b',').collect();
    let kept: Vec<&[u8]> = all.iter().filter(|member| !is_named(member)).copied().collect();
    if kept.len() == all.len() {
        return None;
    }
    let kept = kept.join(&b","[..]);
    *members = &kept;
    let mut whole = fields.join(&b":"[..]);
    whole.extend_from_slice(end);
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whom(pairs: &[(&str, &str)]) -> Members {
        let pairs: Vec<_> = pairs.iter().map(|(group, member)| ((*group).to_owned(), (*member).to_owned())).collect();
        heard(&told(pairs.iter()))
    }

    #[test]
    fn only_what_was_named_goes() {
        let odd: &[u8] =
            b"\n+adm:::alice\n-adm:::alice\n#adm:x:4:alice\nadm\n:x:4:alice\n\xff\xfe:x:4:alice\nadm:x:4\n";
        for (before, after) in [
            (&b"adm:x:4:alice"[..], &b"adm:x:4:"[..]),
            (b"adm:x:4:alice,bob\n", b"adm:x:4:bob\n"),
            (b"adm:x:4:bob,alice,carol\n", b"adm:x:4:bob,carol\n"),
            (b"adm:x:4:bob, alice ,alice,carol\n", b"adm:x:4:bob,carol\n"),
            (b"adm:x:4:bob,,alice\r\n", b"adm:x:4:bob,\n"),
            (b"adm:*:alice:alice,bob\n", b"adm:*:alice:bob\n"),
            (b"adm:x:4:alice:junk:alice\n", b"adm:x:4::junk:alice\n"),
            (b"adm:x:4:alice2,\xffalice\nsre:x:1:alice\n", b"adm:x:4:alice2,\xffalice\nsre:x:1:alice\n"),
            (b"adm:x:4:bob\nadm:x:5:alice\n", b"adm:x:4:bob\nadm:x:5:\n"),
            (b"", b""),
        ] {
            let expected = (before != after).then(|| [odd, after].concat());
            let seen = without(&[odd, before].concat(), &whom(&[("adm", "alice"), ("docker", "bob")]));
            assert_eq!(seen, expected, "{}", String::from_utf8_lossy(before));
        }
        assert_eq!(without(b"adm:x:4:alice\n", &Members::new()), None);
    }

    #[test]
    fn file_is_edited_in_place_and_gets_another_second() {
        let folder = crate::tests::folder("members");
        let path = folder.join("group.edit");
        std::fs::write(&path, "adm:x:4:alice,bob\nsre:x:9:alice\n").unwrap();
        let before = std::fs::metadata(&path).unwrap();
        edit(&path, &whom(&[("adm", "alice")])).unwrap();
        let after = std::fs::metadata(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "adm:x:4:bob\nsre:x:9:alice\n");
        assert!(after.mtime() > before.mtime() && after.ino() == before.ino());
        edit(&path, &whom(&[("adm", "alice")])).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mtime(), after.mtime(), "nothing to do");
        let link = folder.join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(edit(&link, &whom(&[("sre", "alice")])).is_err());
    }
}
