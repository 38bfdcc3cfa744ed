//! The daemon on real sockets, with peers that misbehave and a spawner that is played.

mod approvals;
mod asks;
mod grants;
mod heads;
mod lifecycle;
mod peers;
mod runs;
pub(crate) mod samples;
mod scene;
mod signed;

use std::ops::Deref;
use std::path::{Path, PathBuf};

/// A folder that goes with its test.
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

/// An empty folder of this test's own, writable by its owner alone.
pub(crate) fn folder(name: &str) -> Folder {
    use std::os::unix::fs::DirBuilderExt as _;
    let path = std::env::temp_dir().join(format!("jitsudod-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
    Folder(path)
}
