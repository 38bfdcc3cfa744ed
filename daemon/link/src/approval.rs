//! The digest that an approver says yes to: made in one way by the decider, which shows it, and by the spawner, which compares.

use jitsudo_core::approval::Binding;
use jitsudo_protocol::digest;

/// SHA-256 of a request's encoding: 64 hex digits.
#[must_use]
pub fn digest_of(binding: &Binding<'_>) -> String {
    digest::of_bytes(&binding.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_the_documented_bytes_is_the_documented_one() {
        let hex = include_str!("../../../core/tests/golden/approval-v1.hex").trim();
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let digest = digest::of_bytes(&bytes);
        assert!(include_str!("../../../docs/approvals.md").contains(&digest), "{digest}");
    }
}
