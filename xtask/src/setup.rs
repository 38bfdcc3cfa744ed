//! Installs what is missing, and nothing else; says what is needed where it cannot.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use crate::step::{self, Failure, cargo, has, read};

/// Debian packages: to build (a linker, PAM's headers), to make packages and check manuals, to boot hosts.
const PACKAGES: &[&str] = &[
    "gcc",
    "libc6-dev",
    "libpam0g-dev",
    "dpkg",
    "binutils",
    "gzip",
    "groff-base",
    "mandoc",
    "mmdebstrap",
    "systemd-container",
    "e2fsprogs",
    "xfsprogs",
    "iproute2",
    "util-linux",
    "mount",
    "procps",
    "debian-archive-keyring",
    "ca-certificates",
];

/// Brings the machine to where `test`, `package` and `demo` can run. Quick when nothing is missing.
pub(crate) fn run() -> Result<(), Failure> {
    check_distribution(&fs::read_to_string("/etc/os-release").unwrap_or_default())?;
    let missing = missing_packages()?;
    if !missing.is_empty() {
        need_root(&format!("to install {}", missing.join(" ")))?;
        println!("setup: installing {}", missing.join(" "));
        apt(&["update"])?;
        let mut words = vec!["install", "--yes", "--no-install-recommends"];
        words.extend(&missing);
        apt(&words)?;
    }
    if !has("cargo-nextest") {
        println!("setup: building cargo-nextest once (some minutes)");
        // Unoptimised builds in half the time, and starting processes is all it does.
        step::run(cargo(&["install", "--locked", "--debug", "cargo-nextest"]).env_remove("CARGO_TARGET_DIR"))?;
    }
    Ok(())
}

/// What booting hosts needs beyond the packages.
pub(crate) fn need_root(why: &str) -> Result<(), Failure> {
    let owner = fs::metadata("/proc/self").map(|data| data.uid());
    if owner.is_ok_and(|uid| uid == 0) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "root is needed {why}\nhint: run it in a root shell of a machine that may be changed; `cargo test` runs the tests that need no root"
    )))
}

fn check_distribution(os_release: &str) -> Result<(), Failure> {
    let value = |key: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or("").trim_matches('"').to_owned()
    };
    let (id, version, name) = (value("ID"), value("VERSION_ID"), value("PRETTY_NAME"));
    if id == "debian" && matches!(version.as_str(), "12" | "13") {
        return Ok(());
    }
    Err(Failure::new(format!(
        "Debian 12 or 13 is needed, this is {}\nhint: use a Debian machine or container with root; `cargo test` runs everywhere, and these packages are what is used here: {}",
        if name.is_empty() { "an unknown system" } else { &name },
        PACKAGES.join(" ")
    )))
}

fn missing_packages() -> Result<Vec<&'static str>, Failure> {
    let query = read(Command::new("dpkg-query").args(["--show", "--showformat=${Package} ${db:Status-Status}\n"]))?;
    let installed = |package: &str| query.lines().any(|line| line == format!("{package} installed"));
    Ok(PACKAGES.iter().copied().filter(|package| !installed(package)).collect())
}

fn apt(words: &[&str]) -> Result<(), Failure> {
    step::run(
        Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-qq", "-o", "Dpkg::Use-Pty=0"])
            .args(words),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_distribution_is_told_what_is_needed() {
        let fedora = "ID=fedora\nVERSION_ID=42\nPRETTY_NAME=\"Fedora Linux 42\"";
        let answer = check_distribution(fedora).unwrap_err().to_string();
        assert!(answer.contains("Debian 12 or 13 is needed, this is Fedora Linux 42"), "{answer}");
        assert!(answer.contains("mmdebstrap"), "{answer}");
        assert!(check_distribution("").unwrap_err().to_string().contains("an unknown system"));
        assert!(check_distribution("ID=debian\nVERSION_ID=\"11\"").is_err());
    }

    #[test]
    fn debian_12_and_13_are_accepted() {
        assert!(check_distribution("ID=debian\nVERSION_ID=\"12\"").is_ok());
        assert!(check_distribution("VERSION_ID=\"13\"\nID=debian").is_ok());
    }
}
