//! What the daemon's own programs say to each other, and the one mapping from the public protocol to the core.
//!
//! These messages travel on sockets that only root and `_jitsudo` can reach, between programs of one build; they carry the core's
//! types. The spawner still treats the decider as hostile: it checks all that is in [`ToSpawner`] against the kernel, its own facts
//! and the applied policy.
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod alone;
pub mod approval;
pub mod ask;
pub mod ends;
pub mod facts;
pub mod folder;
pub mod lent;
pub mod locks;
pub mod logins;
pub mod marks;
pub mod notes;
#[cfg(test)]
mod samples;
pub mod session;
pub mod settings;
pub mod spawner;
pub mod terminals;

/// Where the spawner listens; mode 0600, owned by `_jitsudo`.
pub const SPAWNER_SOCKET: &str = "/run/jitsudo/spawner";
/// Where break-glass that nobody has reviewed is noted, root's: on disk, and where that takes nothing.
pub const UNREVIEWED: [&str; 2] = ["/var/lib/jitsudo/unreviewed", "/run/jitsudo/unreviewed"];
/// The applied policy in compiled form, root's.
pub const APPLIED_POLICY: &str = "/var/lib/jitsudo/policy/applied.json";
/// Directory of the ledger, `_jitsudo`'s.
pub const LEDGER: &str = "/var/lib/jitsudo/ledger";
/// Directory of spooled events, root's, readable by `_jitsudo`.
pub const SPOOL: &str = "/var/lib/jitsudo/spool";
/// Directory of what is root's: the host's key, the memory of what it signed.
pub const STATE: &str = "/var/lib/jitsudo";
/// The secret half of the host's key, in [`STATE`]: root's alone, made once.
pub const HOST_KEY: &str = "host.key";
/// Its other half, in [`STATE`]: everybody may read it.
pub const HOST_PUBLIC_KEY: &str = "host.pub";
/// The newest head that was signed, in [`STATE`]: root's, so that whoever can write the ledger cannot make it forgotten.
pub const SIGNED_HEAD: &str = "head";
/// Largest file of these three, bytes.
pub const MAX_STATE_BYTES: u64 = 16 * 1024;
/// Where role grants put their drop-ins for sudo: cleared by a reboot. `/etc/sudoers.d/jitsudo` includes it.
pub const SUDOERS: &str = "/run/jitsudo/sudoers.d";
/// Notes of the sessions that run, the spawner's.
pub const SESSIONS: &str = "/run/jitsudo/sessions";
/// Pictures of the host from before role grants, the effect worker's: names `ID.WALL.BOOT` of one file for all grants that began on a host
/// that looked the same.
pub const BEFORE: &str = "/run/jitsudo/before";
/// Notes of logins to gated accounts that a role is held for, the spawner's.
pub const LOGINS: &str = "/run/jitsudo/logins";
/// Where the policy's files are.
pub const POLICY_FILES: &str = "/etc/jitsudo/policy.d";
/// The daemon's settings.
pub const SETTINGS: &str = "/etc/jitsudo/jitsudod.toml";
/// The programs that the spawner starts.
pub const LIBEXEC: &str = "/usr/libexec/jitsudo";
/// Where commands are looked up (never the caller's PATH).
pub const SECURE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The descriptor on which a started helper finds its socket.
pub const INHERITED_FD: i32 = 3;
