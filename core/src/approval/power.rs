//! Which roles are as good as root on the host: whoever holds one could act as any local account, and so make up its answers.

use crate::pattern::Reading;
use crate::policy::Policy;
use crate::rule::Role;
use crate::subject::Whom;

/// Files of which each decides who may do what: whoever may edit one of them as root is root.
const DECIDING: &[&str] = &[
    "/etc/passwd",
    "/etc/shadow",
    "/etc/group",
    "/etc/gshadow",
    "/etc/sudoers",
    "/etc/sudoers.d/x",
    "/etc/doas.conf",
    "/etc/pam.conf",
    "/etc/pam.d/sudo",
    "/etc/pam.d/su",
    "/etc/security/access.conf",
    "/etc/nsswitch.conf",
    "/etc/ld.so.preload",
    "/etc/ld.so.conf.d/x.conf",
    "/etc/crontab",
    "/etc/cron.d/x",
    "/etc/cron.daily/x",
    "/etc/profile",
    "/etc/profile.d/x.sh",
    "/etc/systemd/system/x.service",
    "/etc/polkit-1/rules.d/x.rules",
    "/etc/ssh/sshd_config",
    "/etc/ssh/sshd_config.d/x.conf",
    "/etc/jitsudo/policy.d/x.toml",
    "/etc/jitsudo/jitsudod.toml",
    "/root/.ssh/authorized_keys",
    "/root/.bashrc",
    "/root/.profile",
    "/usr/bin/x",
    "/usr/sbin/x",
    "/usr/local/bin/x",
    "/usr/local/sbin/x",
    "/usr/libexec/jitsudo/x",
    "/var/spool/cron/crontabs/root",
];

/// True for a role that says of itself that it can do anything as root (a shell, every command, a group, a membership, sudoers lines, a
/// login) or edits a file that decides who may do what; and for a name that is no role of this policy. A single command that can be
/// talked into more is not seen: the checker warns of those.
#[must_use]
pub fn is_as_good_as_root(policy: &Policy, role: &str) -> bool {
    let Some(place) = policy.role_named(role) else { return true };
    policy.parts_of(place).any(|(_, part)| {
        let lends = !(part.groups.is_empty()
            && part.membership.is_empty()
            && part.sudoers.is_empty()
            && part.login.is_empty()
            && part.pam.is_empty());
        lends || (may_be_root(part) && (part.can_run_anything() || edits_what_decides(part)))
    })
}

fn may_be_root(part: &Role) -> bool {
    let is_root = |whom: &Whom| match whom {
        Whom::All => true,
        Whom::Name(name) => name == "root",
        Whom::Id(id) => *id == 0,
    };
    part.as_whom.is_empty() || part.as_whom.iter().any(|whom| whom.user.iter().chain(&whom.group).any(is_root))
}

fn edits_what_decides(part: &Role) -> bool {
    let mut ways = part.edit.iter().flat_map(|glob| &glob.0.ways);
    ways.any(|way| DECIDING.iter().any(|path| way.covers(path.as_bytes(), Reading::Deny)))
}
