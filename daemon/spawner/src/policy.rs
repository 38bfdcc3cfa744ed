//! The applied policy, as root's effect worker left it.

use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use jitsudo_core::policy::Policy;
use jitsudo_sys::nix::libc;

/// Largest compiled policy, bytes.
const MAX_BYTES: u64 = 512 * 1024 * 1024;

/// The policy in force here.
#[derive(Default)]
pub(crate) struct Applied {
    /// It, or that none was applied.
    pub(crate) policy: Option<Policy>,
    /// SHA-256 of the compiled bytes, hex.
    pub(crate) digest: Option<String>,
}

/// Loads the file; absent = none applied.
///
/// # Errors
/// In words: it is not root's, or others may write it, or it is no compiled policy.
pub(crate) fn load(path: &Path) -> Result<Applied, String> {
    let what = path.display();
    let mut file =
        match std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Applied::default()),
            Err(error) => return Err(format!("cannot open the applied policy {what}: {error}")),
        };
    let metadata = file.metadata().map_err(|error| format!("cannot look at the applied policy {what}: {error}"))?;
    if !metadata.is_file() || metadata.uid() != 0 || metadata.mode() & 0o022 != 0 || metadata.len() > MAX_BYTES {
        return Err(format!("cannot use the applied policy {what}: it is not a plain file that root alone can write"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| format!("cannot read the applied policy {what}: {error}"))?;
    let policy = Policy::from_compiled(&bytes).map_err(|error| format!("{what}: {error}"))?;
    Ok(Applied { policy: Some(policy), digest: Some(jitsudo_protocol::digest::of_bytes(&bytes)) })
}
