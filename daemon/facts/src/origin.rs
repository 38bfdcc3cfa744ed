//! Where a request comes from: the kernel's word, and what logind wrote as root. Never a variable of the caller.

use std::net::IpAddr;

use jitsudo_core::facts::{Fact, Origin};

use crate::peer::Seen;

/// The origin of a peer; unknown as a whole when its cgroup or namespaces could not be read.
pub(crate) fn of(seen: &Seen) -> Fact<Origin> {
    let (Fact::Is(foreign), Fact::Is(cgroup)) = (&seen.foreign, &seen.cgroup) else {
        return Fact::Unknown;
    };
    let own = jitsudo_sys::process::read(std::process::id());
    let Ok(own) = own else {
        return Fact::Unknown;
    };
    let confined = (seen.status.no_new_privs && !own.no_new_privs) || seen.status.seccomp_filters > own.seccomp_filters;
    let login = match seen.process.audit_session {
        None => Login { console: Fact::Is(false), ssh: Fact::Is(false), address: Fact::Is(None) },
        Some(session) => std::fs::read_to_string(format!("/run/systemd/sessions/{session}"))
            .map_or(Login::UNKNOWN, |text| recorded(&text)),
    };
    Fact::Is(Origin {
        terminal: seen.process.tty != 0,
        sandbox: *foreign || confined,
        unit: unit(cgroup),
        console: login.console,
        ssh: login.ssh,
        address: login.address,
    })
}

/// The origin that an explanation for another account assumes: a terminal, nothing else known.
pub(crate) fn of_nobody() -> Origin {
    let Login { console, ssh, address } = Login::UNKNOWN;
    Origin { terminal: true, sandbox: false, unit: None, console, ssh, address }
}

/// The system service that a cgroup belongs to: `/system.slice/cron.service/…` is `cron.service`.
fn unit(cgroup: &str) -> Option<String> {
    let mut parts = cgroup.split('/').filter(|part| !part.is_empty());
    if parts.next()? != "system.slice" {
        return None;
    }
    parts.find(|part| part.ends_with(".service")).map(str::to_owned)
}

struct Login {
    console: Fact<bool>,
    ssh: Fact<bool>,
    address: Fact<Option<IpAddr>>,
}

impl Login {
    const UNKNOWN: Self = Self { console: Fact::Unknown, ssh: Fact::Unknown, address: Fact::Unknown };
}

/// Reads logind's own record of a session (root's, 0644 in a root-only writable directory).
fn recorded(text: &str) -> Login {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let remote = match field("REMOTE") {
        Some("1") => true,
        Some("0") => false,
        _ => return Login::UNKNOWN,
    };
    let address = match (remote, field("REMOTE_HOST")) {
        (false, _) => Fact::Is(None),
        (true, Some(host)) => host.parse().map_or(Fact::Unknown, |address| Fact::Is(Some(address))),
        (true, None) => Fact::Unknown,
    };
    let seated = field("SEAT").is_some_and(|seat| !seat.is_empty());
    Login { console: Fact::Is(!remote && seated), ssh: Fact::Is(remote && field("SERVICE") == Some("sshd")), address }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_the_system_are_units_and_logins_are_not() {
        assert_eq!(unit("/system.slice/cron.service").as_deref(), Some("cron.service"));
        assert_eq!(
            unit("/system.slice/system-getty.slice/getty@tty1.service/x").as_deref(),
            Some("getty@tty1.service")
        );
        assert_eq!(unit("/user.slice/user-1000.slice/session-3.scope"), None);
        assert_eq!(unit("/user.slice/user-1000.slice/user@1000.service/app.slice/a.service"), None);
        assert_eq!(unit("/"), None);
    }

    #[test]
    fn peer_auth_12_locality_is_what_logind_recorded() {
        let remote = recorded("REMOTE=1\nREMOTE_HOST=10.1.4.7\nSERVICE=sshd\nSEAT=seat0\n");
        assert_eq!((remote.console, remote.ssh), (Fact::Is(false), Fact::Is(true)));
        assert_eq!(remote.address, Fact::Is(Some("10.1.4.7".parse().unwrap())));
        let named = recorded("REMOTE=1\nREMOTE_HOST=laptop.example.com\nSERVICE=sshd\n");
        assert_eq!(named.address, Fact::Unknown, "a name is not an address");
        let local = recorded("REMOTE=0\nSEAT=seat0\nSERVICE=login\n");
        assert_eq!((local.console, local.ssh), (Fact::Is(true), Fact::Is(false)));
        assert_eq!(recorded("").ssh, Fact::Unknown);
    }
}
