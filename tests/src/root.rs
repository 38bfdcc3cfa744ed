//! Debian roots: built once by mmdebstrap, kept under a hash of their recipe, never booted directly.
//!
//! A host mounts its root as the read-only layer below a disk of its own, so that any number of hosts share one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, io};
use crate::tool::code;

/// Changed by hand when a root must be rebuilt although its recipe reads the same.
const EPOCH: &str = "1";

const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "dbus",
    "dbus-user-session",
    "libpam-systemd",
    "openssh-server",
    "openssh-client",
    "sudo",
    "rsyslog",
    "polkitd",
    "procps",
    "iproute2",
    "passwd",
    "login",
    "util-linux",
    "python3-minimal",
    "expect",
    "strace",
    "nginx",
    "pamtester",
    "less",
    "logrotate",
    "cron",
    "netcat-openbsd",
    "vim-tiny",
    "acl",
];

const SETUP: &str = include_str!("root-setup.sh");

/// A Debian root that hosts can stand on.
#[derive(Debug, Clone)]
pub struct Root {
    suite: String,
    path: PathBuf,
}

impl Root {
    /// The root of a Debian suite (`bookworm`, `trixie`), built now if the cache does not hold it.
    ///
    /// Two processes that want the same root build it once: the second waits for the first.
    ///
    /// # Errors
    /// [`Error::NotRoot`] without root; [`Error::Failed`] with the end of mmdebstrap's log when it fails.
    pub fn debian(suite: &str) -> Result<Self, Error> {
        if !crate::bed::is_root() {
            return Err(Error::NotRoot);
        }
        let roots = cache_folder().join("roots");
        fs::create_dir_all(&roots).map_err(io(format!("create {}", roots.display())))?;
        let path = roots.join(format!("{suite}-{:016x}", recipe_hash(suite)));
        let root = Self { suite: suite.to_owned(), path };
        if root.path.is_dir() {
            return Ok(root);
        }
        let lock_path = roots.join(format!("{suite}.lock"));
        let lock = fs::File::create(&lock_path).map_err(io(format!("create {}", lock_path.display())))?;
        lock.lock().map_err(io(format!("lock {}", lock_path.display())))?;
        if !root.path.is_dir() {
            root.build()?;
        }
        Ok(root)
    }

    /// The suite it was built from.
    #[must_use]
    pub fn suite(&self) -> &str {
        &self.suite
    }

    /// The folder that holds it; to be read only.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Builds beside the final place and renames, so that a root that exists is a whole one.
    fn build(&self) -> Result<(), Error> {
        eprintln!("building the Debian root {} once; this takes about a minute", self.suite);
        let unfinished = self.path.with_extension("unfinished");
        let setup = self.path.with_extension("setup");
        remove(&unfinished)?;
        fs::write(&setup, SETUP).map_err(io(format!("write {}", setup.display())))?;
        let output = Command::new("mmdebstrap")
            .args(["--quiet", "--variant=minbase", "--aptopt=Acquire::Languages \"none\"", "--dpkgopt=force-unsafe-io"])
            .args(["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*"])
            .args([
                "--dpkgopt=path-exclude=/usr/share/locale/*",
                "--keyring=/usr/share/keyrings/debian-archive-keyring.gpg",
            ])
            // trixie's packages assume a merged /usr before the first of them is unpacked.
            .arg("--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr")
            .arg(format!("--include={}", PACKAGES.join(",")))
            .arg(format!("--customize-hook=sh {} \"$1\"", setup.display()))
            .arg(&self.suite)
            .arg(&unfinished)
            .arg(format!("deb {} {} main", mirror(), self.suite))
            .stdin(Stdio::null())
            .output()
            .map_err(io("run mmdebstrap (`cargo xtask setup` installs it)"))?;
        if !output.status.success() {
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::Failed {
                what: format!("mmdebstrap {}", self.suite),
                status: code(output.status),
                output: last_lines(&log, 30),
            });
        }
        remove(&setup)?;
        fs::rename(&unfinished, &self.path).map_err(io(format!("rename {}", unfinished.display())))
    }
}

/// `$JITSUDO_TEST_CACHE`, by default `/var/tmp/jitsudo-test`.
#[must_use]
pub fn cache_folder() -> PathBuf {
    std::env::var_os("JITSUDO_TEST_CACHE").map_or_else(|| PathBuf::from("/var/tmp/jitsudo-test"), PathBuf::from)
}

/// The last `count` lines of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    lines.get(from..).unwrap_or_default().join("\n")
}

fn remove(path: &Path) -> Result<(), Error> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Io { what: format!("remove {}", path.display()), source: error })
        }
        _ => Ok(()),
    }
}

/// FNV-1a over everything that shapes a root.
fn recipe_hash(suite: &str) -> u64 {
    let recipe = [EPOCH, suite, &PACKAGES.join(","), SETUP].join("\n");
    recipe.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The Debian mirror that the machine itself uses.
fn mirror() -> String {
    let files = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .find_map(|text| mirror_in(&text))
        .unwrap_or_else(|| "http://deb.debian.org/debian".to_owned())
}

fn mirror_in(sources: &str) -> Option<String> {
    sources.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["URIs:", uri, ..] => Some((*uri).to_owned()),
            ["deb", rest @ ..] => rest.iter().find(|word| word.starts_with("http")).map(|uri| (*uri).to_owned()),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirror_is_read_from_both_forms_of_apt_sources() {
        let deb822 = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm";
        assert_eq!(mirror_in(deb822).as_deref(), Some("http://mirror.example/debian"));
        let one_line = "# deb http://old.example x\ndeb [arch=amd64] https://m.example/debian bookworm main";
        assert_eq!(mirror_in(one_line).as_deref(), Some("https://m.example/debian"));
        assert_eq!(mirror_in("# nothing"), None);
    }

    #[test]
    fn another_suite_has_another_recipe() {
        assert_ne!(recipe_hash("bookworm"), recipe_hash("trixie"));
    }

    #[test]
    fn last_lines_are_the_end_of_a_text() {
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
        assert_eq!(last_lines("a", 5), "a");
    }
}
