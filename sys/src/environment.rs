//! The environment of this process as it stands in memory (environ(7)), malformed entries included.

use std::ffi::{CStr, c_char};

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// Most entries read.
const MAX_ENTRIES: usize = 1 << 20;

/// Every entry, `NAME=value` or whatever it is. Call before any thread is started.
#[must_use]
pub fn entries() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    // SAFETY: reads a pointer that libc set before main; nothing changes the environment at that time.
    let list = unsafe { environ };
    if list.is_null() {
        return out;
    }
    for place in 0..MAX_ENTRIES {
        // SAFETY: the list ends with a null pointer, at which this loop ends.
        let place = unsafe { list.add(place) };
        // SAFETY: within the list, as above.
        let entry = unsafe { *place };
        if entry.is_null() {
            break;
        }
        // SAFETY: every entry is a NUL-terminated string.
        out.push(unsafe { CStr::from_ptr(entry) }.to_bytes().to_vec());
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn path_is_among_the_entries() {
        let path = std::env::var("PATH").unwrap();
        assert!(super::entries().contains(&format!("PATH={path}").into_bytes()));
    }
}
