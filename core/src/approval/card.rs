//! The card that is signed elsewhere: every line of it readable, and enough of them to know one request from every other.
//!
//! ```text
//! jitsudo approval card v1
//! answer yes
//! host web-1
//! host-key SHA256:2YqSE2BqcXjEqPsnyTiMsOSmdLYNwXaPgDyhqVXqhcI
//! request 01k6q9v0zz0000000000k3v9tz
//! digest 0125…
//! …
//! ```
//!
//! What is to happen is bound by the digest (see [`super::Binding`]), byte by byte; the other lines say it to whoever signs. Host and spawner
//! each make the text by themselves, so that none can have another text signed than what is to happen.
//!
//! MUSTs
//! 1. No two cards that ask for different answers have the same bytes (`every_field_moves_the_card`).
//! 2. Nothing of a requester's begins a line, moves the cursor or hides (`hostile_words_stay_in_their_line`).
//! 3. A card is whole, or there is none (`long_card_is_none`).

use std::fmt;

use jiff::Timestamp;
use jitsudo_bytes::Bytes;

use crate::id::AccessId;
use crate::name::Uid;
use crate::request::Kind;

/// Keeps these signatures apart from every other use of SSH signatures.
pub const SIGNATURE_NAMESPACE: &str = "jitsudo-approval@v1";
/// Longest card, bytes.
pub const MAX_CARD_BYTES: usize = 24 << 10;

/// What is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said<'a> {
    /// Yes, for at most so many seconds where that is said.
    Yes(Option<u64>),
    /// No, and why.
    No(&'a str),
}

/// A card.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Card<'a> {
    /// What is answered.
    pub said: Said<'a>,
    /// The host's name.
    pub host: &'a str,
    /// Fingerprint of its key.
    pub host_key: &'a str,
    /// The access.
    pub id: &'a AccessId,
    /// The request's digest, hex.
    pub digest: &'a str,
    /// Random, made for this request.
    pub nonce: [u8; 16],
    /// Answers count until then.
    pub answer_by: Timestamp,
    /// Requester: uid, name, person.
    pub requester: (Uid, Option<&'a str>, Option<&'a str>),
    /// As whom: uid, name.
    pub target: (Uid, &'a str),
    /// What kind of thing it is.
    pub kind: Kind,
    /// The words of the command, or files; secret ones as their length.
    pub words: &'a [String],
    /// The program and its interpreter: path, SHA-256.
    pub programs: &'a [(&'a Bytes, [u8; 32])],
    /// Where.
    pub cwd: Option<&'a Bytes>,
    /// Variables that the requester brings along, by name; their values are in the digest alone.
    pub variables: &'a [Bytes],
    /// The role that gives it.
    pub role: &'a str,
    /// Seconds that a role, shell or login may last.
    pub window: u64,
    /// Seconds that one command may run.
    pub run_time: u64,
    /// Why.
    pub reason: Option<&'a str>,
    /// Ticket.
    pub ticket: Option<&'a str>,
}

/// It is too long to be signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLongError;

impl fmt::Display for TooLongError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its card is longer than {} KiB", MAX_CARD_BYTES >> 10)
    }
}
impl std::error::Error for TooLongError {}

impl Card<'_> {
    /// The bytes that are signed: lines of `LABEL VALUE`.
    ///
    /// # Errors
    /// [`TooLongError`]: it would not be read whole.
    pub fn text(&self) -> Result<String, TooLongError> {
        // Taken apart whole: a field that is added must be in the text, under another version.
        let Self {
            said,
            host,
            host_key,
            id,
            digest,
            nonce,
            answer_by,
            requester: (uid, name, person),
            target,
            kind,
            words,
            programs,
            cwd,
            variables,
            role,
            window,
            run_time,
            reason,
            ticket,
        } = *self;
        let mut to = Lines("jitsudo approval card v1\n".to_owned());
        match said {
            Said::Yes(_) => to.line("answer", "yes"),
            Said::No(why) => {
                to.line("answer", "no");
                to.line("because", why);
            }
        }
        to.line("host", host);
        to.line("host-key", host_key);
        to.line("request", id.as_str());
        to.line("digest", digest);
        to.line("nonce", &hex(&nonce));
        to.line("until", &answer_by.to_string());
        to.line("requester", &account(uid, name));
        to.optional("person", person);
        to.line("as", &account(target.0, Some(target.1)));
        to.line("kind", kind_name(kind));
        words.iter().for_each(|word| to.line("word", word));
        for ((path, sha256), label) in programs.iter().zip(["program", "run-by"]) {
            to.line(label, &format!("sha256 {} {}", hex(sha256), path.visible()));
        }
        if let Some(cwd) = cwd {
            to.line("in", &cwd.visible());
        }
        variables.iter().for_each(|name| to.line("brings", &name.visible()));
        to.line("role", role);
        to.line("window", &format!("{window} s"));
        to.line("run-time", &format!("{run_time} s"));
        if let Said::Yes(Some(seconds)) = said {
            to.line("at-most", &format!("{seconds} s"));
        }
        to.optional("reason", reason);
        to.optional("ticket", ticket);
        if to.0.len() > MAX_CARD_BYTES { Err(TooLongError) } else { Ok(to.0) }
    }
}

struct Lines(String);

impl Lines {
    fn line(&mut self, label: &str, value: &str) {
        // What is visible already stays as it is: a backslash is a letter like any other, and the digest tells them apart.
        self.0.push_str(&format!("{label} {}\n", Bytes::from(value).visible()));
    }

    fn optional(&mut self, label: &str, value: Option<&str>) {
        value.into_iter().for_each(|value| self.line(label, value));
    }
}

fn account(uid: Uid, name: Option<&str>) -> String {
    name.map_or_else(|| format!("uid {}", uid.0), |name| format!("uid {} {name}", uid.0))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Stable words.
const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Command => "command",
        Kind::Shell => "shell",
        Kind::LoginShell => "login shell",
        Kind::Edit => "edit",
        Kind::Validate => "validate",
        Kind::Role => "role",
        Kind::Approve => "approve",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with<T>(look: impl FnOnce(Card<'_>) -> T) -> T {
        let id = AccessId::new(1_759_572_300_000, [7; 10]);
        let words = ["systemctl".to_owned(), "restart".to_owned(), "nginx".to_owned()];
        let (path, cwd, variables) = ("/usr/bin/systemctl".into(), "/home/alice".into(), ["TERM".into()]);
        let programs = [(&path, [0x9c; 32])];
        look(Card {
            said: Said::Yes(None),
            host: "web-1",
            host_key: "SHA256:x",
            id: &id,
            digest: "ab",
            nonce: [1; 16],
            answer_by: Timestamp::from_second(1_759_572_300).unwrap(),
            requester: (Uid(1001), Some("alice"), Some("alice")),
            target: (Uid(0), "root"),
            kind: Kind::Command,
            words: &words,
            programs: &programs,
            cwd: Some(&cwd),
            variables: &variables,
            role: "web",
            window: 3600,
            run_time: 43_200,
            reason: Some("cert renewed"),
            ticket: Some("OPS-4711"),
        })
    }

    #[test]
    fn card_says_all_of_it_in_words() {
        let text = with(|card| card.text()).unwrap();
        assert_eq!(
            text,
            format!(
                "jitsudo approval card v1\nanswer yes\nhost web-1\nhost-key SHA256:x\nrequest {}\ndigest ab\nnonce {}\n\
                 until 2025-10-04T10:05:00Z\nrequester uid 1001 alice\nperson alice\nas uid 0 root\nkind command\n\
                 word systemctl\nword restart\nword nginx\nprogram sha256 {} /usr/bin/systemctl\nin /home/alice\n\
                 brings TERM\nrole web\nwindow 3600 s\nrun-time 43200 s\nreason cert renewed\nticket OPS-4711\n",
                AccessId::new(1_759_572_300_000, [7; 10]),
                "01".repeat(16),
                "9c".repeat(32)
            )
        );
    }

    #[test]
    fn every_field_moves_the_card() {
        let (other_id, other_path) = (AccessId::new(1, [1; 10]), Bytes::from("/x"));
        let (words, variables) = ([String::new()], [Bytes::from("X")]);
        let programs = [(&other_path, [0x9c; 32])];
        with(|card| {
            let all = [
                card,
                Card { said: Said::Yes(Some(60)), ..card },
                Card { said: Said::Yes(Some(61)), ..card },
                Card { said: Said::No("x"), ..card },
                Card { said: Said::No("y"), ..card },
                Card { host: "web-2", ..card },
                Card { host_key: "SHA256:y", ..card },
                Card { id: &other_id, ..card },
                Card { digest: "ac", ..card },
                Card { nonce: [2; 16], ..card },
                Card { answer_by: Timestamp::UNIX_EPOCH, ..card },
                Card { requester: (Uid(1002), Some("alice"), Some("alice")), ..card },
                Card { requester: (Uid(1001), None, Some("alice")), ..card },
                Card { requester: (Uid(1001), Some("alice"), None), ..card },
                Card { target: (Uid(1), "root"), ..card },
                Card { target: (Uid(0), "toor"), ..card },
                Card { kind: Kind::Shell, ..card },
                Card { words: &words, ..card },
                Card { programs: &programs, ..card },
                Card { programs: &[], ..card },
                Card { cwd: None, ..card },
                Card { variables: &variables, ..card },
                Card { role: "x", ..card },
                Card { window: 1, ..card },
                Card { run_time: 1, ..card },
                Card { reason: None, ..card },
                Card { ticket: None, ..card },
            ];
            let texts: std::collections::BTreeSet<String> = all.iter().map(|card| card.text().unwrap()).collect();
            assert_eq!(texts.len(), all.len());
        });
    }

    #[test]
    fn long_card_is_none() {
        with(|card| {
            let words = vec!["x".repeat(1000); 30];
            assert_eq!(Card { words: &words, ..card }.text(), Err(TooLongError));
        });
    }

    proptest! {
        #[test]
        fn hostile_words_stay_in_their_line(text in "(\\PC|[\n\r\u{1b}\u{202e}\u{85}\u{2028}]|answer yes){0,12}") {
            with(|card| {
                let words = [text.clone()];
                let bytes = Bytes::from(text.as_str());
                let hostile = Card {
                    words: &words, reason: Some(&text), ticket: Some(&text), cwd: Some(&bytes), variables: std::slice::from_ref(&bytes),
                    requester: (Uid(1), Some(&text), Some(&text)), host: &text, role: &text, ..card
                };
                let shown = hostile.text().unwrap();
                prop_assert_eq!(shown.lines().count(), 21);
                prop_assert_eq!(shown.lines().filter(|line| line.starts_with("answer ")).count(), 1);
                prop_assert!(shown.chars().all(|one| one == '\n' || jitsudo_bytes::is_plain(one)));
                Ok(())
            })?;
        }
    }
}
