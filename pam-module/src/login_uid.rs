//! Who logged in, by the kernel: `/proc/self/loginuid`, which a program cannot change once a login has set it.

use std::fs::File;
use std::io::Read as _;

/// What it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LoginUid {
    /// This account.
    Is(u32),
    /// Nobody: a service, or a host that sets none.
    Nobody,
    /// /proc does not say.
    Unknown,
}

/// The login uid of this process.
pub(crate) fn login_uid() -> LoginUid {
    let mut text = [0u8; 32];
    let read = File::open("/proc/self/loginuid").and_then(|mut file| file.read(&mut text));
    let number = read.ok().and_then(|length| std::str::from_utf8(text.get(..length)?).ok()?.trim().parse().ok());
    match number {
        Some(u32::MAX) => LoginUid::Nobody,
        Some(uid) => LoginUid::Is(uid),
        None => LoginUid::Unknown,
    }
}
