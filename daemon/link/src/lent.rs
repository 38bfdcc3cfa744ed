//! Records of groups that sessions are lent: `lent/ID.n`, one line each, written before the command has them.
//!
//! Facts read them, so that what was lent counts in no decision, and the spawner, which looks at a session's end for processes that took a
//! group along. They lie in `/run`: no process outlives the boot.
//!
//! MUSTs
//! 1. No command is in a lent group before its record is there (the spawner's start).
//! 2. What cannot be read is not taken for nothing (`record_that_cannot_be_read_*`).

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jitsudo_core::id::SessionId;
use jitsudo_core::name::{Gid, Uid};
use serde::{Deserialize, Serialize};

/// Where they lie.
pub const LENT: &str = "/run/jitsudo/lent";
/// Most bytes of one that are read.
const MAX_BYTES: usize = 64 << 10;

/// What one session is lent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lending {
    /// The session.
    pub session: SessionId,
    /// Whom its command runs as.
    pub uid: Uid,
    /// The groups.
    pub gids: Vec<Gid>,
}

/// The records of a host.
#[derive(Clone, Debug)]
pub struct Lendings {
    folder: PathBuf,
}

impl Default for Lendings {
    /// This host's.
    fn default() -> Self {
        Self::in_folder(LENT.as_ref())
    }
}

impl Lendings {
    /// Those in a folder.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Writes one, in the place of the one before.
    ///
    /// # Errors
    /// The system's. The session may not begin then.
    pub fn write(&self, lending: &Lending) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let fresh = self.folder.join(format!(".{}", lending.session));
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let text = serde_json::to_vec(lending)?;
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?.write_all(&text)?;
        fs::rename(&fresh, self.folder.join(lending.session.to_string()))
    }

    /// Removes one: nothing carries its groups any more. One that is gone is fine.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self, session: &SessionId) -> io::Result<()> {
        match fs::remove_file(self.folder.join(session.to_string())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// All of them.
    ///
    /// # Errors
    /// In words what cannot be read: what is lent is not known then.
    pub fn read(&self) -> Result<Vec<Lending>, String> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(format!("cannot read {}: {error}", self.folder.display())),
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| format!("cannot read {}: {error}", self.folder.display()))?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let refused = |why: String| format!("cannot read {}: {why}", entry.path().display());
            let text = match fs::read(entry.path()) {
                Ok(text) => text,
                // Its session ended meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(refused(error.to_string())),
            };
            if text.len() > MAX_BYTES {
                return Err(refused("it is too long".to_owned()));
            }
            let lending: Lending = serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
            if entry.file_name().to_str() != Some(lending.session.to_string().as_str()) {
                return Err(refused("it is about another session".to_owned()));
            }
            all.push(lending);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lendings(name: &str) -> Lendings {
        let folder = std::env::temp_dir().join(format!("jitsudo-lent-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Lendings::in_folder(&folder)
    }

    fn lending() -> Lending {
        Lending {
            session: SessionId::try_from("01jd0000000000000000000000.1".to_owned()).unwrap(),
            uid: Uid(1000),
            gids: vec![Gid(999)],
        }
    }

    #[test]
    fn what_is_lent_is_read_back_until_it_is_removed() {
        let lendings = lendings("round");
        assert_eq!(lendings.read(), Ok(vec![]), "no folder, nothing lent");
        lendings.write(&lending()).unwrap();
        lendings.write(&lending()).unwrap();
        assert_eq!(lendings.read(), Ok(vec![lending()]));
        fs::write(lendings.folder.join(".01jd0000000000000000000000.2"), "half").unwrap();
        assert_eq!(lendings.read(), Ok(vec![lending()]), "what was interrupted is none");
        lendings.remove(&lending().session).unwrap();
        lendings.remove(&lending().session).unwrap();
        assert_eq!(lendings.read(), Ok(vec![]));
        fs::remove_dir_all(&lendings.folder).unwrap();
    }

    #[test]
    fn record_that_cannot_be_read_is_not_taken_for_nothing() {
        let lendings = lendings("garbage");
        lendings.write(&lending()).unwrap();
        let text = serde_json::to_string(&lending()).unwrap();
        for (name, content) in [
            ("01jd0000000000000000000000.1", "{".to_owned()),
            ("01jd0000000000000000000000.1", text.replace("999", "-1")),
            ("01jd0000000000000000000000.1", format!("{text}{}", " ".repeat(MAX_BYTES))),
            ("01jd0000000000000000000000.2", text.clone()),
        ] {
            let path = lendings.folder.join(name);
            fs::write(&path, content).unwrap();
            assert!(lendings.read().unwrap_err().contains(name), "{name}");
            fs::remove_file(&path).unwrap();
        }
        fs::create_dir(lendings.folder.join("folder")).unwrap();
        assert!(lendings.read().is_err());
        fs::remove_dir_all(&lendings.folder).unwrap();
    }
}
