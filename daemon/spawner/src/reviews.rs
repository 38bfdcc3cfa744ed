//! Break-glass that nobody has reviewed, as this program knows it by itself: a decider that forgets gives nobody a second use.
//!
//! A use is listed from the proof of who asks on, and not before: a wrong password is no use. Until then it only counts, so that many at the
//! prompt at once are not many uses. Each has a file; where the disk is full it is in `/run`, which a reboot clears.
//!
//! MUSTs
//! 1. A use counts from its start on, and is on disk from its proof on (`use_counts_from_its_start_and_is_there_after_a_restart`).
//! 2. Only a review by another person takes it away (`spawner::reviews`; host test
//!    `break_glass_is_given_once_until_another_person_has_reviewed_it`).

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jitsudo_core::id::AccessId;
use jitsudo_core::past::{Past, Unreviewed};
use jitsudo_sys::trusted;

/// Largest file taken.
const MAX_BYTES: u64 = 16 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Reviews {
    /// The first one that takes a file has it.
    folders: Vec<PathBuf>,
    past: Past,
    /// Those whose requesters have not proven who they are yet.
    open: Vec<AccessId>,
}

impl Reviews {
    /// Finds what waits; and in words which files cannot be used.
    pub(crate) fn load(folders: Vec<PathBuf>) -> (Self, Vec<String>) {
        let mut reviews = Self { folders, ..Self::default() };
        let mut trouble = Vec::new();
        for entry in reviews.folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(id) = name.parse::<AccessId>() else { continue };
            match read(&entry.path()) {
                Ok(one) if one.id == id => drop(reviews.past.wait_for_review(one)),
                Ok(_) => trouble.push(format!("the note on break-glass {name} is about another one")),
                Err(cause) => trouble.push(format!("the note on break-glass {name} cannot be used: {cause}")),
            }
        }
        (reviews, trouble)
    }

    /// What a decision reads of it.
    pub(crate) fn past(&self) -> &Past {
        &self.past
    }

    /// Something is being started by break-glass.
    pub(crate) fn begin(&mut self, one: Unreviewed) {
        self.open.push(one.id.clone());
        self.past.wait_for_review(one);
    }

    /// Who asks has proven it: from now on it waits for a review. In words why that cannot be kept.
    pub(crate) fn prove(&mut self, id: &AccessId) -> Result<(), String> {
        let Some(place) = self.open.iter().position(|open| open == id) else { return Ok(()) };
        let Some(one) = self.past.waiting(id) else { return Ok(()) };
        let text = serde_json::to_vec(one).map_err(|error| error.to_string())?;
        let mut cause = String::new();
        for folder in &self.folders {
            match write(folder, id.as_str(), &text) {
                Ok(()) => {
                    jitsudo_sys::failpoint::reach("spawner.review.noted");
                    self.open.swap_remove(place);
                    return Ok(());
                }
                Err(error) => cause = error.to_string(),
            }
        }
        Err(cause)
    }

    /// Its session is gone: if nobody had proven anything, it was no use.
    pub(crate) fn end(&mut self, id: &AccessId) {
        if let Some(place) = self.open.iter().position(|open| open == id) {
            self.open.swap_remove(place);
            self.past.review(id);
        }
    }

    /// It was reviewed, or nothing of it was given after all; true when it waited.
    pub(crate) fn remove(&mut self, id: &AccessId) -> bool {
        for folder in &self.folders {
            // One that stays waits again after a restart, and is reviewed once more.
            let _ = fs::remove_file(folder.join(id.as_str()));
        }
        jitsudo_sys::failpoint::reach("spawner.review.gone");
        self.open.retain(|open| open != id);
        self.past.review(id)
    }
}

fn write(folder: &Path, name: &str, text: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let fresh = folder.join(format!(".{name}"));
    // What an interrupted one left.
    let _ = fs::remove_file(&fresh);
    let written = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&fresh, folder.join(name))?;
        fs::File::open(folder)?.sync_all()
    };
    written().inspect_err(|_| {
        let _ = fs::remove_file(&fresh);
    })
}

fn read(path: &Path) -> Result<Unreviewed, String> {
    let text = trusted::read(path, MAX_BYTES).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text.unwrap_or_default()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_core::name::Uid;

    fn one(id: &str) -> Unreviewed {
        Unreviewed {
            id: id.parse().unwrap(),
            rule: "fire".into(),
            uid: Uid(1000),
            user: Some("alice".into()),
            loginuid: Some(Uid(1000)),
            at: "2026-11-21T12:00:00Z".parse().unwrap(),
            proven: false,
        }
    }

    #[test]
    fn use_counts_from_its_start_and_is_there_after_a_restart() {
        let folder = std::env::temp_dir().join(format!("jitsudo-reviews-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        // The first one cannot be made: as on a full disk.
        let folders = vec![PathBuf::from("/proc/none"), folder.clone()];
        let (mut reviews, trouble) = Reviews::load(folders.clone());
        assert!(trouble.is_empty() && reviews.past().is_empty());
        let (first, second) = (one("01jd0000000000000000000000"), one("01jd0000000000000000000001"));
        reviews.begin(first.clone());
        reviews.begin(second.clone());
        assert_eq!(reviews.past().unreviewed().count(), 2);
        // A wrong password is no use.
        reviews.end(&second.id);
        assert_eq!(reviews.prove(&first.id), Ok(()));
        reviews.end(&first.id);
        assert!(reviews.past().waiting(&first.id).is_some() && reviews.past().waiting(&second.id).is_none());
        if jitsudo_sys::nix::unistd::geteuid().is_root() {
            let (mut again, _) = Reviews::load(folders.clone());
            assert_eq!(again.past().unreviewed().collect::<Vec<_>>(), [&first]);
            assert!(again.remove(&first.id) && !again.remove(&first.id));
            assert!(Reviews::load(folders).0.past().is_empty());
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
