//! Whether root alone can move what a path names: every directory exists, is reached through no link, and only root writes to it.

use jitsudo_sys::nix::sys::stat::SFlag;
use jitsudo_sys::walk::{self, Step};

/// True for an absolute, normalised path below directories that are root's alone. The last component may be missing.
pub(crate) fn is_rooted(path: &[u8]) -> bool {
    let Some(place) = path.iter().rposition(|byte| *byte == b'/') else {
        return false;
    };
    let (directory, name) = path.split_at(place);
    let name = name.get(1..).unwrap_or_default();
    if path.first() != Some(&b'/') || matches!(name, b"" | b"." | b"..") {
        return false;
    }
    if directory.is_empty() {
        return true;
    }
    match walk::walk(directory) {
        // A path with `..`, `.` or a link on the way comes back as another one.
        Ok(walk) => walk.path == directory && walk.steps.iter().all(is_roots_directory),
        Err(_) => false,
    }
}

fn is_roots_directory(step: &Step) -> bool {
    step.kind() == SFlag::S_IFDIR && step.uid == 0 && step.mode & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cmd_match_07_paths_through_dots_links_and_writable_directories_are_not_rooted() {
        for path in [
            "/usr/../etc/shadow",
            "/usr/./bin/env",
            "/bin/env",
            "/tmp/x",
            "usr/bin/env",
            "/usr/bin/",
            "/usr/bin/..",
            "/usr//bin/env",
            "/no/such",
            "",
        ] {
            assert!(!is_rooted(path.as_bytes()), "{path}");
        }
        for path in ["/usr/bin/env", "/usr/bin/not there yet", "/etc"] {
            assert!(is_rooted(path.as_bytes()), "{path}");
        }
    }
}
