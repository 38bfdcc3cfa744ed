//! What the module returns, one table for all of it (`pam_jitsudo(8)` shows it).

use std::ffi::c_int;

/// A PAM return code (`_pam_types.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub(crate) enum Code {
    /// The daemon said yes.
    Success = 0,
    /// The daemon said no, or anything went wrong.
    PermDenied = 6,
    /// As an authenticator there is nothing to say.
    AuthinfoUnavail = 9,
    /// Not gated.
    Ignore = 25,
}

impl From<Code> for c_int {
    fn from(code: Code) -> Self {
        code as Self
    }
}
