//! Our own end is the command's: its status, or its signal.

use jitsudo_sys::signals;
use jitsudo_sys::status::{self, Ended};

/// How this program ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// exit(n)
    Code(u8),
    /// By this signal, as the command did.
    Signal(u8),
}

impl End {
    /// As a raw wait status says.
    pub(crate) fn of(raw: i32) -> Self {
        match status::ending(raw) {
            Ended::Exited(code) => Self::Code(code),
            Ended::Signalled(signal) => Self::Signal(signal),
        }
    }

    /// For `--status-fd`.
    pub(crate) fn line(self) -> String {
        match self {
            Self::Code(code) => format!("exited {code}"),
            Self::Signal(signal) => format!("signalled {signal}"),
        }
    }
}

/// Ends.
pub(crate) fn exit(end: End) -> ! {
    match end {
        End::Code(code) => std::process::exit(i32::from(code)),
        End::Signal(signal) => signals::die_by(i32::from(signal)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_status_becomes_our_end() {
        assert_eq!(End::of(77 << 8), End::Code(77));
        assert_eq!(End::of(9), End::Signal(9));
        assert_eq!(End::of(9).line(), "signalled 9");
    }
}
