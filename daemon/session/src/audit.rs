//! The audit identity (pam_loginuid(8), proc(5)): a child of a daemon has none, so the requester's is written, once.

use std::fs;

use jitsudo_core::facts::{Fact, Requester};

/// What the kernel shows while nothing is set.
const UNSET: u32 = u32::MAX;

/// Writes the requester's login uid where none is set, and gives the audit session that the kernel made of it; `None` where the
/// kernel keeps none, lets nobody write it (most containers), or has one already: that is the session of whoever started the daemon,
/// and what is found by it is not ours.
pub(crate) fn take_identity(requester: &Requester) -> Option<u32> {
    if read("loginuid") != Some(UNSET) {
        return None;
    }
    let person = match &requester.loginuid {
        Fact::Is(Some(uid)) if uid.0 != UNSET => *uid,
        Fact::Is(_) | Fact::Unknown => requester.uid,
    };
    // Where it cannot be written the session is found by its cgroup alone; what is read back says so.
    fs::write("/proc/self/loginuid", person.0.to_string()).ok()?;
    if read("loginuid") != Some(person.0) {
        return None;
    }
    read("sessionid").filter(|session| *session != UNSET)
}

fn read(name: &str) -> Option<u32> {
    fs::read_to_string(format!("/proc/self/{name}")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_core::name::{Gid, Uid};
    use std::collections::BTreeSet;

    #[test]
    fn session_end_login_of_whoever_started_the_daemon_is_not_ours() {
        let requester = Requester {
            uid: Uid(60_001),
            gid: Gid(60_001),
            name: Fact::Unknown,
            groups: Fact::Unknown,
            process_groups: Fact::Unknown,
            lent_groups: BTreeSet::new(),
            loginuid: Fact::Is(None),
            login_name: Fact::Unknown,
            login_groups: Fact::Unknown,
            home: Fact::Unknown,
            shell: Fact::Unknown,
        };
        // Unprivileged, or in most containers, nobody can write it: then there is none of ours either.
        let _ = fs::write("/proc/self/loginuid", "0");
        if read("loginuid") == Some(0) {
            assert!(read("sessionid").is_some_and(|session| session != UNSET));
            assert_eq!(take_identity(&requester), None);
        }
    }
}
