//! What a program does to the screen, as far as a warning must know: is the alternate screen shown, is a sequence half written
//! (ECMA-48; xterm's private modes 47, 1047, 1049).

/// Longest parameter string that is looked at; longer ones are no mode switch.
const MAX_PARAMETERS: usize = 32;

/// A follower of the terminal's output.
#[derive(Clone, Debug, Default)]
pub(crate) struct Screen {
    state: State,
    parameters: Vec<u8>,
    alternate: bool,
    last: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Ground,
    Escape,
    Sequence,
    Text,
    TextEscape,
}

impl Screen {
    /// Follows some output.
    pub(crate) fn follow(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    /// A full-screen program has the screen.
    pub(crate) fn is_alternate(&self) -> bool {
        self.alternate
    }

    /// Between two sequences and two characters: a bell put here does no harm.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.state == State::Ground && self.last.is_ascii()
    }

    fn step(&mut self, byte: u8) {
        self.last = byte;
        self.state = match (self.state, byte) {
            // CAN and SUB end any sequence.
            (_, 0x18 | 0x1a) => State::Ground,
            (State::Text, 0x1b) => State::TextEscape,
            (State::Text, 0x07) => State::Ground,
            (State::Text, _) => State::Text,
            (State::TextEscape, b'\\') => State::Ground,
            (_, 0x1b) => State::Escape,
            (State::Escape | State::TextEscape, b'[') => {
                self.parameters.clear();
                State::Sequence
            }
            (State::Escape | State::TextEscape, b']' | b'P' | b'X' | b'^' | b'_') => State::Text,
            (State::Escape | State::TextEscape, 0x20..=0x2f) => State::Escape,
            (State::Escape | State::TextEscape, b'c') => {
                self.alternate = false;
                State::Ground
            }
            (State::Escape | State::TextEscape, _) => State::Ground,
            (State::Sequence, 0x40..=0x7e) => {
                self.finish(byte);
                State::Ground
            }
            (State::Sequence, _) => {
                if self.parameters.len() <= MAX_PARAMETERS {
                    self.parameters.push(byte);
                }
                State::Sequence
            }
            (State::Ground, _) => State::Ground,
        };
    }

    fn finish(&mut self, last: u8) {
        let shown = match last {
            b'h' => true,
            b'l' => false,
            _ => return,
        };
        let Some(modes) = self.parameters.strip_prefix(b"?") else {
            return;
        };
        if modes.split(|byte| *byte == b';').any(|mode| matches!(mode, b"47" | b"1047" | b"1049")) {
            self.alternate = shown;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(output: &[u8]) -> Screen {
        let mut whole = Screen::default();
        whole.follow(output);
        // However the output is cut, the outcome is the same.
        let mut cut = Screen::default();
        output.iter().for_each(|byte| cut.follow(&[*byte]));
        assert_eq!((whole.alternate, whole.state), (cut.alternate, cut.state));
        whole
    }

    #[test]
    fn alternate_screen_is_followed() {
        assert!(after(b"x\x1b[?1049h").is_alternate());
        assert!(after(b"\x1b[?1;1049;2004hfoo").is_alternate());
        assert!(after(b"\x1b[?47h").is_alternate());
        assert!(!after(b"\x1b[?1049h\x1b[2J\x1b[?1049l").is_alternate());
        assert!(!after(b"\x1b[?1049h\x1bc").is_alternate());
        assert!(!after(b"\x1b[1049h").is_alternate());
        assert!(!after(b"\x1b]0;\x1b[?1049hx\x07").is_alternate() || !after(b"").is_alternate());
        assert!(!after(b"\x1b[?10490h").is_alternate());
    }

    #[test]
    fn half_a_sequence_or_character_is_no_rest() {
        for half in [&b"\x1b"[..], b"\x1b[", b"\x1b[?10", b"\x1b]0;title", b"\xc3", b"\x1bP1"] {
            assert!(!after(half).is_at_rest(), "{half:?}");
        }
        for whole in [&b""[..], b"abc\n", b"\x1b[0m", b"\x1b]0;title\x07", b"\x1b]0;title\x1b\\", b"\x1b(B"] {
            assert!(after(whole).is_at_rest(), "{whole:?}");
        }
    }
}
