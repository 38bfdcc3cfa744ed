//! The words of a question for a password: sudo's template, and when a module's own words are better (sudo(8) `-p`, sudoers(5)
//! `passprompt_override`).

use jitsudo_link::session::Spec;
use jitsudo_protocol::session::Prompt;

/// Longest question that is sent, bytes.
const MAX_QUESTION_BYTES: usize = 4096;

/// How to ask, filled in.
#[derive(Debug)]
pub(crate) struct Wording {
    own: Vec<u8>,
    overrides: bool,
}

impl Wording {
    /// Fills in what the client asked for; the names are the spawner's. `requester` is whose password is asked for as well.
    pub(crate) fn of(prompt: &Prompt, spec: &Spec, requester: &str) -> Self {
        let short = spec.host.split('.').next().unwrap_or_default();
        let own = fill(&prompt.template.0, |letter| match letter {
            b'H' => Some(&spec.host),
            b'h' => Some(short),
            b'U' => Some(&spec.target.name),
            b'u' | b'p' => Some(requester),
            _ => None,
        });
        Self { own, overrides: prompt.overrides }
    }

    /// A module's own words, always.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { own: Vec::new(), overrides: false }
    }

    /// What is asked where a module asks `words`: its own words are kept where they ask for more than the password.
    pub(crate) fn for_question(&self, words: &[u8]) -> Vec<u8> {
        let keeps = !self.overrides && (self.own.is_empty() || is_plain(&self.own) || !self.is_for_password(words));
        let mut chosen = if keeps { visible(words) } else { self.own.clone() };
        chosen.truncate(MAX_QUESTION_BYTES);
        chosen
    }

    fn is_for_password(&self, words: &[u8]) -> bool {
        // `alice's Password:` is what some modules ask; whose it is was settled before.
        let rest = words.iter().rposition(|byte| *byte == b'\'').and_then(|quote| words.get(quote..));
        is_plain(words) || rest.and_then(|rest| rest.strip_prefix(b"'s ")).is_some_and(is_plain)
    }
}

/// `Password:`, with or without a blank.
fn is_plain(words: &[u8]) -> bool {
    words.strip_suffix(b" ").unwrap_or(words) == b"Password:"
}

fn fill<'a>(template: &[u8], value: impl Fn(u8) -> Option<&'a str>) -> Vec<u8> {
    let mut filled = Vec::with_capacity(template.len());
    let mut bytes = template.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            filled.push(byte);
            continue;
        }
        match bytes.peek().copied() {
            Some(b'%') => {
                filled.push(b'%');
                bytes.next();
            }
            Some(letter) if value(letter).is_some() => {
                filled.extend_from_slice(&visible(value(letter).unwrap_or_default().as_bytes()));
                bytes.next();
            }
            // Any other letter is no escape: both stay, as with sudo.
            _ => filled.push(byte),
        }
        if filled.len() > MAX_QUESTION_BYTES {
            break;
        }
    }
    filled
}

/// A module's words without what could move a cursor; lines stay lines.
pub(crate) fn visible(words: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(words);
    let shown = |one: char| if one.is_control() && one != '\t' && one != '\n' { '?' } else { one };
    text.chars().map(shown).collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> String {
        let names = |letter| match letter {
            b'H' => Some("web-1.example.com"),
            b'h' => Some("web-1"),
            b'U' => Some("post\u{1b}gres"),
            b'u' | b'p' => Some("alice"),
            _ => None,
        };
        String::from_utf8(fill(template.as_bytes(), names)).unwrap()
    }

    #[test]
    fn template_is_filled_in_as_sudo_does() {
        for (template, prompt) in [
            ("[jitsudo] password for %p: ", "[jitsudo] password for alice: "),
            ("%u@%h -> %U@%H", "alice@web-1 -> post?gres@web-1.example.com"),
            ("100%% %x %", "100% %x %"),
            ("%%u", "%u"),
            ("", ""),
            ("%H", "web-1.example.com"),
        ] {
            assert_eq!(filled(template), prompt, "{template}");
        }
        assert!(filled(&"%H".repeat(100_000)).len() < MAX_QUESTION_BYTES + 100);
    }

    fn asked(own: &str, overrides: bool, words: &str) -> String {
        let wording = Wording { own: own.as_bytes().to_vec(), overrides };
        String::from_utf8(wording.for_question(words.as_bytes())).unwrap()
    }

    #[test]
    fn own_words_replace_plain_questions_for_a_password_only() {
        let own = "[jitsudo] password for alice: ";
        for words in ["Password:", "Password: ", "alice's Password: ", "alice's Password:"] {
            assert_eq!(asked(own, false, words), own, "{words}");
        }
        for words in
            ["Verification code: ", "Password for the vault: ", "password:", "Password:  ", "New Password: ", ""]
        {
            assert_eq!(asked(own, false, words), words);
            assert_eq!(asked(own, true, words), own, "{words}");
        }
        assert_eq!(asked("Password: ", false, "alice's Password: "), "alice's Password: ", "sudo's rule a");
        assert_eq!(asked("", false, "Password: "), "Password: ");
        assert_eq!(asked("", true, "Password: "), "", "-p '' asks without a word");
    }

    #[test]
    fn words_of_a_module_move_no_cursor_and_may_have_lines() {
        assert_eq!(asked("x", false, "1. push\n2. \u{1b}[2Jcode: "), "1. push\n2. ?[2Jcode: ");
        assert_eq!(asked("x", false, &"y".repeat(10_000)).len(), MAX_QUESTION_BYTES);
    }
}
