//! Which requests were started by an answer that was signed elsewhere: it is used once, also by a decider that forgets or lies. What is signed
//! names the boot, so the list is in `/run` and ends with it.
//!
//! MUSTs
//! 1. It is on the list before anything starts, and is after a restart (`use_is_known_after_a_restart`).
//! 2. Where the list cannot be read or written, no such answer counts (`list_that_cannot_be_used_lets_nothing_through`).

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jitsudo_core::id::AccessId;
use jitsudo_sys::trusted;

/// Where it is.
pub(crate) const USED: &str = "/run/jitsudo/used-answers";
/// Longest list, bytes: 150 000 requests of one boot.
const MAX_BYTES: u64 = 4 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct Used {
    path: PathBuf,
    all: Result<BTreeSet<AccessId>, String>,
}

impl Used {
    pub(crate) fn load(path: &Path) -> Self {
        let all = match trusted::read(path, MAX_BYTES) {
            Ok(text) => read(&text.unwrap_or_default()).ok_or_else(|| format!("{} is damaged", path.display())),
            Err(error) => Err(error.to_string()),
        };
        Self { path: path.to_owned(), all }
    }

    /// In words why no signed answer to this counts any more.
    pub(crate) fn why_not(&self, id: &AccessId) -> Result<(), String> {
        match &self.all {
            Ok(all) if all.contains(id) => Err("what was signed was used already".to_owned()),
            Ok(_) => Ok(()),
            Err(cause) => Err(format!("it cannot be told which signed answers were used: {cause}")),
        }
    }

    /// It is used from now on; in words why it may not be.
    pub(crate) fn add(&mut self, id: &AccessId) -> Result<(), String> {
        self.why_not(id)?;
        let written = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path);
        let written = written.and_then(|mut file| file.write_all(format!("{id}\n").as_bytes()));
        written.map_err(|error| format!("cannot write {}: {error}", self.path.display()))?;
        if let Ok(all) = &mut self.all {
            all.insert(id.clone());
        }
        Ok(())
    }
}

fn read(text: &[u8]) -> Option<BTreeSet<AccessId>> {
    let text = std::str::from_utf8(text).ok()?;
    let whole = text.is_empty() || text.ends_with('\n');
    whole.then(|| text.lines().map(|line| line.parse().ok()).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("jitsudo-used-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    fn id(number: u8) -> AccessId {
        AccessId::new(u64::from(number), [number; 10])
    }

    /// As `load`, of a file that need not be root's.
    fn load(path: &Path) -> Used {
        let text = std::fs::read(path).unwrap_or_default();
        Used { path: path.to_owned(), all: read(&text).ok_or_else(|| "damaged".to_owned()) }
    }

    #[test]
    fn use_is_known_after_a_restart() {
        let path = path("known");
        let mut used = load(&path);
        assert!(used.why_not(&id(1)).is_ok() && used.add(&id(1)).is_ok());
        assert!(used.add(&id(1)).is_err() && used.why_not(&id(2)).is_ok());
        let mut again = load(&path);
        assert!(again.add(&id(1)).unwrap_err().contains("used already"));
        assert!(again.add(&id(2)).is_ok());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn list_that_cannot_be_used_lets_nothing_through() {
        let path = path("damaged");
        for text in [&b"x\n"[..], b"\n", b"\xff\n", &id(1).as_str().as_bytes()[..10], id(1).as_str().as_bytes()] {
            std::fs::write(&path, text).unwrap();
            assert!(load(&path).why_not(&id(2)).is_err() && load(&path).add(&id(2)).is_err(), "{text:?}");
        }
        std::fs::remove_file(&path).unwrap();
        let mut nowhere = load(Path::new("/nonexistent/used"));
        assert!(nowhere.add(&id(2)).is_err());
    }
}
