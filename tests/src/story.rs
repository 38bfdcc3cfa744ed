//! The opening story: a host with jitsudo installed, a policy, and alice who looks after nginx.

use std::path::Path;

use crate::error::Error;
use crate::host::{Host, Options};
use crate::root::Root;

/// The rule of the story: alice may restart and reload nginx, and is asked for no password.
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

/// Boots a host and installs the package there, as an administrator does.
///
/// # Errors
/// As [`Host::boot`]; [`Error::Failed`] with apt's output when the package does not install.
pub fn installed_host(name: &str, suite: &str, package: &Path) -> Result<Host, Error> {
    let host = Host::boot(name, &Root::debian(suite)?, Options::default())?;
    install(&host, package)?;
    Ok(host)
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
