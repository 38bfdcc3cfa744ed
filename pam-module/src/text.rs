//! Text of a bounded length, on the stack: for people and for the system log.

use std::fmt;

/// At most `N` bytes; what does not fit is cut.
#[derive(Clone, Debug)]
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; N], length: 0 }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Adds bytes that somebody else wrote: control characters but the newline become question marks.
    pub(crate) fn push_foreign(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let visible = if byte.is_ascii_control() && *byte != b'\n' { b'?' } else { *byte };
            self.push(visible);
        }
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length = self.length.saturating_add(1);
        }
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.push(byte));
        Ok(())
    }
}

/// Bytes that somebody else wrote, as they may stand in a line of a log: visible ASCII, the rest as question marks.
pub(crate) struct Visible<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(256).try_for_each(|byte| {
            let visible = if byte.is_ascii_graphic() { char::from(*byte) } else { '?' };
            fmt::Write::write_char(f, visible)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn text_is_cut_where_it_is_full_and_foreign_bytes_are_tamed() {
        let mut text = Text::<8>::new();
        text.push_foreign(b"a\x1b[2J\nb");
        assert_eq!(text.as_bytes(), b"a?[2J\nb");
        write!(text, "cdef").unwrap();
        assert_eq!(text.as_bytes(), b"a?[2J\nbc");
        assert_eq!(Visible(b"al ice\n\xff").to_string(), "al?ice??");
    }
}
