//! A folder of small notes, one JSON object a file, written whole and read whole.
//!
//! MUSTs
//! 1. A note is there whole or not at all, root's alone (`note_is_read_back_*`).
//! 2. What cannot be read hides no other, and is told (`garbage_*`).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::marker::PhantomData;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::notes;

/// Largest note, bytes.
const MAX_NOTE_BYTES: u64 = 8 * 1024;
/// Most notes read.
const MAX_NOTES: usize = 200_000;

/// A note that says the name of its file.
pub trait Named: Serialize + DeserializeOwned {
    /// Its file's name, which does not begin with a dot.
    fn name(&self) -> String;
}

/// The notes of one kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Folder<T> {
    path: PathBuf,
    durable: bool,
    of: PhantomData<T>,
}

/// What was read.
#[derive(PartialEq, Eq, Debug)]
pub struct Listing<T> {
    /// In the order of their names.
    pub notes: Vec<T>,
    /// Files that hold no note, and why; left where they are.
    pub garbage: Vec<(PathBuf, String)>,
}

impl<T: Named> Folder<T> {
    /// Those at a path; it is made, root's alone, when the first is written.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), durable: false, of: PhantomData }
    }

    /// The same, and what is written or removed is so after a power cut too.
    #[must_use]
    pub fn on_disk(path: &Path) -> Self {
        Self { durable: true, ..Self::at(path) }
    }

    /// Writes a note whole, in the place of the one before.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, note: &T) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let fresh = self.path.join(format!(".{}", note.name()));
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let text = serde_json::to_vec(note)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(&text)?;
        if self.durable {
            file.sync_all()?;
        }
        fs::rename(&fresh, self.path.join(note.name()))?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        if self.durable { File::open(&self.path)?.sync_all() } else { Ok(()) }
    }

    /// Removes the note of a name. One that is gone already is fine.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.sync(),
        }
    }

    /// Reads them all. A folder that is not there holds none; one that others can write is garbage as a whole.
    #[must_use]
    pub fn read_all(&self) -> Listing<T> {
        let mut listing = Listing { notes: Vec::new(), garbage: Vec::new() };
        let names = match notes::may_be_believed(&self.path).and_then(|()| fs::read_dir(&self.path)) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return listing,
            Err(error) => {
                listing.garbage.push((self.path.clone(), error.to_string()));
                return listing;
            }
        };
        let mut names: Vec<_> = names.flatten().map(|entry| entry.file_name()).collect();
        names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
        names.sort();
        if names.len() > MAX_NOTES {
            listing.garbage.push((self.path.clone(), format!("there are more than {MAX_NOTES} notes")));
            names.truncate(MAX_NOTES);
        }
        for name in names {
            let path = self.path.join(&name);
            let read = notes::contents(&path, MAX_NOTE_BYTES).and_then(|bytes| {
                let Some(bytes) = bytes else { return Ok(None) };
                let note: T = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
                let is_its = name.to_str() == Some(note.name().as_str());
                if is_its { Ok(Some(note)) } else { Err("its name is not what is in it".to_owned()) }
            });
            match read {
                Ok(note) => listing.notes.extend(note),
                Err(why) => listing.garbage.push((path, why)),
            }
        }
        listing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[derive(Clone, PartialEq, Eq, Debug, Serialize, serde::Deserialize)]
    struct Note {
        name: String,
        what: u32,
    }

    impl Named for Note {
        fn name(&self) -> String {
            self.name.clone()
        }
    }

    fn note(name: &str, what: u32) -> Note {
        Note { name: name.to_owned(), what }
    }

    fn folder(name: &str) -> Folder<Note> {
        let path = std::env::temp_dir().join(format!("jitsudo-folder-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Folder::at(&path)
    }

    #[test]
    fn note_is_read_back_until_it_is_removed_and_is_its_owners_alone() {
        let folder = folder("round");
        assert_eq!(folder.read_all(), Listing { notes: vec![], garbage: vec![] });
        for note in [note("b", 1), note("a", 2), note("b", 3)] {
            folder.write(&note).unwrap();
        }
        let modes = [&folder.path, &folder.path.join("a")].map(|path| fs::metadata(path).unwrap().permissions().mode());
        assert_eq!(modes.map(|mode| mode & 0o777), [0o700, 0o600]);
        fs::write(folder.path.join(".c"), "half").unwrap();
        let folder = Folder::on_disk(&folder.path);
        folder.write(&note("d", 4)).unwrap();
        folder.remove("d").unwrap();
        assert_eq!(folder.read_all(), Listing { notes: vec![note("a", 2), note("b", 3)], garbage: vec![] });
        folder.remove("b").unwrap();
        folder.remove("b").unwrap();
        assert_eq!(folder.read_all().notes, [note("a", 2)]);
        fs::remove_dir_all(&folder.path).unwrap();
    }

    #[test]
    fn garbage_hides_no_note_and_is_told() {
        let folder = folder("garbage");
        folder.write(&note("a", 1)).unwrap();
        let text = serde_json::to_string(&note("b", 2)).unwrap();
        for (name, content) in
            [("b", "{".to_owned()), ("c", text.clone()), ("b", format!("{text}{}", " ".repeat(9000)))]
        {
            let path = folder.path.join(name);
            fs::write(&path, content).unwrap();
            let listing = folder.read_all();
            assert_eq!((listing.notes, listing.garbage.len()), (vec![note("a", 1)], 1), "{name}");
            fs::remove_file(&path).unwrap();
        }
        fs::create_dir(folder.path.join("d")).unwrap();
        assert_eq!(folder.read_all().garbage.len(), 1);
        fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o777)).unwrap();
        let listing = folder.read_all();
        assert!(listing.notes.is_empty() && listing.garbage.len() == 1);
        fs::remove_dir_all(&folder.path).unwrap();
    }
}
