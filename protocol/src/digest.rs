//! The digest of an act: SHA-256 over one canonical, versioned, length-prefixed encoding.
//!
//! What a terminal or an impatient caller changes (`terminal`, `non_interactive`, `remember`) is not in it: the act is the same.

use sha2::{Digest as _, Sha256};

use crate::act::{Act, ActKind};

/// Names the encoding, so that no later form can be mistaken for this one.
const VERSION: &[u8] = b"jitsudo act v1";

struct Encoder(Sha256);

impl Encoder {
    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }
    fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }
    fn optional(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            None => self.number(0),
            Some(bytes) => {
                self.number(1);
                self.bytes(bytes);
            }
        }
    }
    fn list<'a>(&mut self, list: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.number(list.len() as u64);
        for bytes in list {
            self.bytes(bytes);
        }
    }
}

/// Digests an act as asked by `requester` (a uid from the kernel): 64 hex digits.
#[must_use]
pub fn of_act(requester: u32, act: &Act) -> String {
    let options = &act.options;
    let mut encoder = Encoder(Sha256::new());
    encoder.bytes(VERSION);
    encoder.number(u64::from(requester));
    encoder.number(match options.kind {
        ActKind::Command => 1,
        ActKind::Shell => 2,
        ActKind::LoginShell => 3,
        ActKind::Edit => 4,
        ActKind::Validate => 5,
        ActKind::Role => 6,
        ActKind::Approve => 7,
    });
    for word in [&options.user, &options.group, &options.role, &options.reason, &options.ticket] {
        encoder.optional(word.as_ref().map(String::as_bytes));
    }
    encoder.optional(options.window.map(u64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
    encoder.number(u64::from(options.break_glass));
    encoder.list(options.env_set.iter().map(|bytes| bytes.0.as_slice()));
    encoder.list(options.preserve.iter().map(|bytes| bytes.0.as_slice()));
    encoder.optional(options.chdir.as_ref().map(|bytes| bytes.0.as_slice()));
    encoder.number(u64::from(options.preserve_groups));
    encoder.optional(options.timeout.map(u64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
    encoder.bytes(&options.cwd.0);
    encoder.number(u64::from(options.umask));
    encoder.list(act.argv.iter().map(|bytes| bytes.0.as_slice()));
    encoder.list(act.env.iter().map(|bytes| bytes.0.as_slice()));
    // Last and only where there is one: the digest of every other act stays what it was.
    if let Some(id) = &options.extends {
        encoder.bytes(id.as_bytes());
    }
    hex(&encoder.0.finalize())
}

/// SHA-256 of some bytes, 64 hex digits.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of what a reader gives; `None` when it gives more than `most` bytes.
///
/// # Errors
/// The reader's own.
pub fn of_reader(reader: &mut impl std::io::Read, most: u64) -> std::io::Result<Option<[u8; 32]>> {
    let (mut digest, mut read) = (Sha256::new(), 0u64);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(Some(digest.finalize().into())),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        read = read.saturating_add(count as u64);
        if read > most {
            return Ok(None);
        }
        digest.update(buffer.get(..count).unwrap_or_default());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::tests::options;
    use jitsudo_bytes::Bytes;

    fn act(argv: &[&str], env: &[&str]) -> Act {
        let list = |strings: &[&str]| strings.iter().map(|text| Bytes::from(*text)).collect();
        Act { options: options(), argv: list(argv), env: list(env) }
    }

    #[test]
    fn approval_01_every_field_moves_the_digest() {
        let base = act(&["a", "b"], &["X=1"]);
        let mut seen = vec![of_act(1000, &base), of_act(1001, &base)];
        let changes: [fn(&mut Act); 22] = [
            |act| act.options.extends = Some("k3v9tz".into()),
            |act| act.options.kind = ActKind::Role,
            |act| act.options.kind = ActKind::Validate,
            |act| act.options.preserve_groups = true,
            |act| act.options.timeout = Some(60),
            |act| act.options.kind = ActKind::Shell,
            |act| act.options.user = Some("bob".into()),
            |act| act.options.group = Some("bob".into()),
            |act| act.options.role = Some("bob".into()),
            |act| act.options.reason = Some("bob".into()),
            |act| act.options.ticket = Some("bob".into()),
            |act| act.options.ticket = Some(String::new()),
            |act| act.options.window = Some(60),
            |act| act.options.break_glass = true,
            |act| act.options.env_set.push(Bytes::from("A=b")),
            |act| act.options.preserve.push(Bytes::from("A=b")),
            |act| act.options.chdir = Some(Bytes::from("/")),
            |act| act.options.cwd = Bytes::from("/tmp"),
            |act| act.options.umask = 0,
            |act| act.argv = vec![Bytes::from("ab")],
            |act| act.argv.push(Bytes::from("X=1")),
            |act| act.env.clear(),
        ];
        for change in changes {
            let mut other = base.clone();
            change(&mut other);
            seen.push(of_act(1000, &other));
        }
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn what_a_reader_gives_is_digested_whole_or_not_at_all() {
        let bytes = vec![7u8; 600_000];
        let digest = of_reader(&mut bytes.as_slice(), 600_000).unwrap().unwrap();
        assert_eq!(hex(&digest), of_bytes(&bytes));
        assert_eq!(of_reader(&mut bytes.as_slice(), 599_999).unwrap(), None);
    }

    #[test]
    fn strings_never_run_into_each_other() {
        assert_ne!(of_act(1, &act(&["ab", "c"], &[])), of_act(1, &act(&["a", "bc"], &[])));
        assert_ne!(of_act(1, &act(&["a", "b"], &[])), of_act(1, &act(&["a"], &["b"])));
    }

    #[test]
    fn terminal_and_impatience_are_not_the_act() {
        let base = act(&["a"], &[]);
        let mut other = base.clone();
        other.options.terminal = true;
        other.options.non_interactive = true;
        assert_eq!(of_act(1, &base), of_act(1, &other));
    }
}
