//! Random bytes from the kernel.

use std::io;

/// Fills an array from getrandom(2).
///
/// # Errors
/// The kernel has none to give (early boot, interrupted).
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut out = [0u8; N];
    let mut filled = 0;
    while filled < N {
        let rest = out.get_mut(filled..).unwrap_or_default();
        // SAFETY: `rest` is a valid, writable slice of exactly the length that is passed.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(got) {
            Ok(got) => filled += got,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(out)
}

/// `N` random bytes as lower-case hex.
///
/// # Errors
/// As [`bytes`].
pub fn hex<const N: usize>() -> io::Result<String> {
    Ok(bytes::<N>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_draws_differ() {
        assert_ne!(super::hex::<16>().unwrap(), super::hex::<16>().unwrap());
    }
}
