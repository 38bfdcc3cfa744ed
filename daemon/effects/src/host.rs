//! What the compiler asks of this host.

use std::path::Path;

/// Largest zone file taken, bytes; the largest of IANA's is about 4 KiB.
const MAX_ZONE_BYTES: usize = 256 * 1024;

/// The TZif bytes of an IANA zone, from the system's database.
pub(crate) fn zone(name: &str) -> Option<Vec<u8>> {
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+'))
    };
    if !name.split('/').all(plain) {
        return None;
    }
    let bytes = std::fs::read(Path::new("/usr/share/zoneinfo").join(name)).ok()?;
    (bytes.starts_with(b"TZif") && bytes.len() <= MAX_ZONE_BYTES).then_some(bytes)
}

/// A directory with its links resolved, or itself where it does not exist here.
pub(crate) fn resolve_directory(path: &str) -> String {
    let resolved = Path::new(path).canonicalize().ok();
    resolved.and_then(|path| path.into_os_string().into_string().ok()).unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_do_not_lead_out_of_the_database() {
        for name in ["../../etc/passwd", "/etc/passwd", "", "Europe/../../../etc/passwd", "no/such"] {
            assert_eq!(zone(name), None, "{name}");
        }
    }

    #[test]
    fn directories_resolve_and_missing_ones_stay() {
        assert_eq!(resolve_directory("/usr/./bin/../bin"), "/usr/bin");
        assert_eq!(resolve_directory("/no/such/place"), "/no/such/place");
    }
}
