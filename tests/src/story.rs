//! The opening story: a host with jitsudo installed, a policy, and alice who looks after nginx.

use std::path::Path;

use crate::error::Error;
use crate::host::{Host, Options};
use crate::layer::with_package;
use crate::root::Root;

/// What the README says.
pub const README: &str = include_str!("../../README.md");

/// The first policy that the README shows, where it says what to write.
#[must_use]
pub fn first_policy() -> &'static str {
    README.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```")).map_or("", |(policy, _)| policy)
}

/// The README's rule without its password: alice may restart and reload nginx, and is asked for nothing.
pub const POLICY: &str = r#"[roles.web-operator]
summary = "Look after nginx"
run = ["/usr/bin/systemctl {restart,reload} nginx"]

[[allow]]
name = "alice runs the web tier"
who = ["alice"]
roles = ["web-operator"]
auth = "none"
"#;

/// A rule that lets alice run everything, as anybody, without a password: for tests of how commands run.
pub const EVERYTHING: &str = r#"[roles.everything]
run = ["ALL"]
as = ["ALL"]

[[allow]]
name = "alice runs everything"
who = ["alice"]
roles = ["everything"]
auth = "none"
"#;

/// Boots a host that has the package. It was installed there as [`install`] does, once for all hosts.
///
/// # Errors
/// As [`Host::boot`]; [`Error::Failed`] with apt's output when the package does not install.
pub fn installed_host(name: &str, suite: &str, package: &Path) -> Result<Host, Error> {
    Host::boot(name, &with_package(&Root::debian(suite)?, package)?, Options::default())
}

/// Boots a host with the programs that people use under sudo, where alice may run everything and `sudo` is jitsudo.
///
/// The variables `COLOUR` and `DEBIAN_FRONTEND` may be set on the command line.
/// The real one is `sudo.real` there, and lets alice run everything as well.
///
/// # Errors
/// As [`installed_host`] and [`apply_policy`].
pub fn host_with_jitsudo_as_sudo(name: &str, package: &Path) -> Result<Host, Error> {
    let host = Host::boot(name, &with_package(&Root::tools("bookworm")?, package)?, Options::default())?;
    apply_policy(
        &host,
        &EVERYTHING.replace("as = ", "shell = true\nenv-keep = [\"COLOUR\", \"DEBIAN_FRONTEND\"]\nas = "),
    )?;
    host.write("/etc/sudoers.d/alice", 0o440, "alice ALL=(ALL:ALL) NOPASSWD: ALL\n")?;
    // As docs/switching-from-sudo.md has it.
    let divert = "dpkg-divert --quiet --local --rename --divert /usr/bin/sudo.real --add /usr/bin/sudo";
    host.sh(&format!("{divert} && ln -s jitsudo /usr/bin/sudo")).ok()?;
    Ok(host)
}

/// Lets root of the host log in to it over ssh as alice, without a question.
///
/// # Errors
/// [`Error::Failed`] when the keys cannot be made.
pub fn open_ssh_to_alice(host: &Host) -> Result<(), Error> {
    let keys = "install -d -m 700 /root/.ssh; ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
        install -d -o alice -g alice -m 700 /home/alice/.ssh
        install -o alice -g alice -m 600 /root/.ssh/id_ed25519.pub /home/alice/.ssh/authorized_keys
        printf 'Host *\n StrictHostKeyChecking no\n LogLevel QUIET\n' >/root/.ssh/config";
    host.sh(keys).ok().map(drop)
}

/// Installs the package with apt; nothing is downloaded, all it depends on is there.
///
/// # Errors
/// [`Error::Failed`] with apt's output.
pub fn install(host: &Host, package: &Path) -> Result<(), Error> {
    host.push(package, "/root/jitsudo.deb", 0o644)?;
    let apt = ["apt-get", "install", "--yes", "-qq", "-o", "APT::Sandbox::User=root", "/root/jitsudo.deb"];
    host.run(&apt).env("DEBIAN_FRONTEND=noninteractive").ok().map(drop)
}

/// Writes a policy file and applies it.
///
/// # Errors
/// [`Error::Failed`] with jitctl's output.
pub fn apply_policy(host: &Host, policy: &str) -> Result<String, Error> {
    host.write("/etc/jitsudo/policy.d/10-web.toml", 0o644, policy)?;
    host.run(&["jitctl", "policy", "apply", "--yes"]).ok()
}

/// The pid of nginx's first process.
///
/// # Errors
/// [`Error::Failed`] when systemd does not answer.
pub fn nginx_pid(host: &Host) -> Result<String, Error> {
    host.run(&["systemctl", "show", "--property=MainPID", "--value", "nginx"]).ok().map(|pid| pid.trim().to_owned())
}
