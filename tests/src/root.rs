//! Debian roots: built once by mmdebstrap, kept under a hash of their recipe, never booted directly.
//!
//! A host mounts its root as the read-only layer below a disk of its own, so that any number of hosts share one. A root may itself be
//! a layer upon another.
//! A tools root is a copy of a root with more packages in it: the hosts of most tests do without them.

use std::ffi::OsString;
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

/// What tests with real programs need beyond [`PACKAGES`].
const TOOLS: &[&str] = &["vim", "htop", "tmux", "git", "make", "bash-completion", "zsh", "fish", "ansible-core", "at"];

const SETUP: &str = include_str!("root-setup.sh");
const TOOLS_SETUP: &str = include_str!("root-tools.sh");

/// A Debian root that hosts can stand on.
#[derive(Debug, Clone)]
pub struct Root {
    name: String,
    path: PathBuf,
    /// What lies below it, when it is a layer.
    below: Option<PathBuf>,
}

impl Root {
    /// The root of a Debian suite (`bookworm`, `trixie`), built now if the cache does not hold it.
    ///
    /// Two processes that want the same root build it once: the second waits for the first.
    ///
    /// # Errors
    /// [`Error::NotRoot`] without root; [`Error::Failed`] with the end of mmdebstrap's log when it fails.
    pub fn debian(suite: &str) -> Result<Self, Error> {
        Self::kept(format!("{suite}-{:016x}", hash(&base_recipe(suite))), suite, None, Self::build)
    }

    /// The same with the programs that people use under sudo: vim, htop, tmux, git, make, other shells, Ansible.
    ///
    /// # Errors
    /// As [`Self::debian`]; [`Error::Failed`] with the end of apt's log when the packages do not install.
    pub fn tools(suite: &str) -> Result<Self, Error> {
        let base = Self::debian(suite)?;
        let recipe = [&base_recipe(suite), &TOOLS.join(","), TOOLS_SETUP].join("\n");
        let name = format!("{suite}-tools");
        Self::kept(format!("{name}-{:016x}", hash(&recipe)), &name, None, |root| root.build_tools(&base))
    }

    /// A layer upon a root, which `build` makes at the path it is given when the cache does not hold it.
    pub(crate) fn cached(
        file: &str,
        below: &Self,
        build: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        Self::kept(file.to_owned(), &below.name, Some(below.path.clone()), |root| build(&root.path))
    }

    /// The root in this file of the cache, built by `build` when the cache does not hold it.
    fn kept(
        file: String,
        name: &str,
        below: Option<PathBuf>,
        build: impl FnOnce(&Self) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        if !crate::bed::is_root() {
            return Err(Error::NotRoot);
        }
        let roots = cache_folder().join("roots");
        fs::create_dir_all(&roots).map_err(io(format!("create {}", roots.display())))?;
        let root = Self { name: name.to_owned(), path: roots.join(&file), below };
        if root.path.is_dir() {
            return Ok(root);
        }
        let kind = if root.below.is_some() { "layer" } else { "root" };
        let lock_path = roots.join(format!("{name}.{kind}.lock"));
        let lock = fs::File::create(&lock_path).map_err(io(format!("create {}", lock_path.display())))?;
        lock.lock().map_err(io(format!("lock {}", lock_path.display())))?;
        if !root.path.is_dir() {
            build(&root)?;
        }
        Ok(root)
    }

    /// The suite it was built from, with `-tools` behind it for [`Self::tools`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder that holds it; to be read only.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a host mounts below its own disk, as overlayfs has it: the uppermost first.
    pub(crate) fn layers(&self) -> OsString {
        let mut layers = self.path.clone().into_os_string();
        if let Some(below) = &self.below {
            layers.push(":");
            layers.push(below);
        }
        layers
    }

    /// Builds beside the final place and renames, so that a root that exists is a whole one.
    fn build(&self) -> Result<(), Error> {
        eprintln!("building the Debian root {} once; this takes about a minute", self.name);
        let unfinished = self.path.with_extension("unfinished");
        let setup = self.path.with_extension("setup");
        remove(&unfinished)?;
        fs::write(&setup, SETUP).map_err(io(format!("write {}", setup.display())))?;
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap
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
            .arg(&self.name)
            .arg(&unfinished)
            .arg(format!("deb {} {} main", mirror(), self.name));
        run_builder(&mut mmdebstrap, &format!("mmdebstrap {}", self.name))?;
        remove(&setup)?;
        fs::rename(&unfinished, &self.path).map_err(io(format!("rename {}", unfinished.display())))
    }

    /// Copies the base and installs into the copy: seconds, where building anew takes most of a minute.
    fn build_tools(&self, base: &Self) -> Result<(), Error> {
        eprintln!("building the Debian root {} once; this takes about 20 seconds", self.name);
        let unfinished = self.path.with_extension("unfinished");
        remove(&unfinished)?;
        let copied = Command::new("cp").args(["-a", "--reflink=auto"]).arg(base.path()).arg(&unfinished).output();
        let copied = copied.map_err(io("run cp"))?;
        if !copied.status.success() {
            let output = String::from_utf8_lossy(&copied.stderr).into_owned();
            return Err(Error::Failed { what: "copy of a root".into(), status: code(copied.status), output });
        }
        let mut install = Command::new("sh");
        install.args(["-c", TOOLS_SETUP, "root-tools"]).arg(&unfinished).args(TOOLS);
        run_builder(&mut install, &format!("packages of the root {}", self.name))?;
        fs::rename(&unfinished, &self.path).map_err(io(format!("rename {}", unfinished.display())))
    }
}

/// Runs a builder, which must succeed; the end of what it said otherwise.
fn run_builder(command: &mut Command, what: &str) -> Result<(), Error> {
    let needed = io(format!("run {} (`cargo xtask setup` installs it)", command.get_program().to_string_lossy()));
    let output = command.stdin(Stdio::null()).output().map_err(needed)?;
    if output.status.success() {
        return Ok(());
    }
    let log = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(Error::Failed { what: what.to_owned(), status: code(output.status), output: last_lines(&log, 30) })
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

pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Io { what: format!("remove {}", path.display()), source: error })
        }
        _ => Ok(()),
    }
}

/// Everything that shapes a root.
fn base_recipe(suite: &str) -> String {
    [EPOCH, suite, &PACKAGES.join(","), SETUP].join("\n")
}

/// FNV-1a over a recipe.
pub(crate) fn hash(recipe: &str) -> u64 {
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
        assert_ne!(hash(&base_recipe("bookworm")), hash(&base_recipe("trixie")));
    }

    #[test]
    fn last_lines_are_the_end_of_a_text() {
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
        assert_eq!(last_lines("a", 5), "a");
    }
}
