//! What the tests share.

use std::ops::Deref;
use std::path::{Path, PathBuf};

/// A folder that is gone with its test.
pub(crate) struct Folder(PathBuf);

impl Deref for Folder {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.0
    }
}
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn folder(name: &str) -> Folder {
    let path = std::env::temp_dir().join(format!("jitsudo-effects-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    Folder(path)
}
