//! The audit identity (pam_loginuid(8), proc(5)): a child of a daemon has none, so the requester's is written, once.

use std::fs;

use jitsudo_core::facts::{Fact, Requester};

/// What the kernel shows while nothing is set.
const UNSET: u32 = u32::MAX;

/// Writes the requester's login uid where none is set, and gives the audit session that the kernel made of it; `None` where the
/// kernel keeps none or lets nobody write it (most containers).
pub(crate) fn take_identity(requester: &Requester) -> Option<u32> {
    if read("loginuid") == Some(UNSET) {
        let person = match &requester.loginuid {
            Fact::Is(Some(uid)) if uid.0 != UNSET => *uid,
            Fact::Is(_) | Fact::Unknown => requester.uid,
        };
        // Where it cannot be written the session is found by its cgroup alone; what is read back says so.
        let _ = fs::write("/proc/self/loginuid", person.0.to_string());
    }
    read("sessionid").filter(|session| *session != UNSET)
}

fn read(name: &str) -> Option<u32> {
    fs::read_to_string(format!("/proc/self/{name}")).ok()?.trim().parse().ok()
}
