//! Output of a pty written to a terminal that processes output as well: the pty has made `\r\n` of `\n` and the terminal would do it
//! once more. Only the first one counts.

/// Takes the carriage returns out that the terminal puts in again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cooked {
    held: bool,
}

impl Cooked {
    /// Takes `\r` out before `\n`; a last `\r` is held back until what follows it is known.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + 1);
        for byte in bytes {
            if std::mem::take(&mut self.held) && *byte != b'\n' {
                out.push(b'\r');
            }
            if *byte == b'\r' {
                self.held = true;
            } else {
                out.push(*byte);
            }
        }
        out
    }

    /// What is held back, when nothing follows or the terminal no longer processes output.
    pub(crate) fn rest(&mut self) -> &'static [u8] {
        if std::mem::take(&mut self.held) { b"\r" } else { b"" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carriage_returns_before_newlines_go_however_the_output_is_cut() {
        let output = b"a\r\nb\rc\r\r\n\r";
        for cut in 0..=output.len() {
            let mut cooked = Cooked::default();
            let mut out = cooked.pass(&output[..cut]);
            out.extend(cooked.pass(&output[cut..]));
            out.extend(cooked.rest());
            assert_eq!(out, b"a\nb\rc\r\n\r", "{cut}");
        }
    }
}
