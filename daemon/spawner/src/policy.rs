//! The applied policy, as root's effect worker left it.

use std::path::Path;

use jitsudo_core::policy::Policy;
use jitsudo_sys::trusted;

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
    let Some(bytes) = trusted::read(path, MAX_BYTES).map_err(|error| error.to_string())? else {
        return Ok(Applied::default());
    };
    let policy = Policy::from_compiled(&bytes).map_err(|error| format!("{what}: {error}"))?;
    Ok(Applied { policy: Some(policy), digest: Some(jitsudo_protocol::digest::of_bytes(&bytes)) })
}
