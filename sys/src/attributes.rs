//! Extended attributes of an open file (xattr(7)): ACLs, labels, capabilities, and what users put there.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;

/// Largest list and largest value that Linux has (XATTR_LIST_MAX, XATTR_SIZE_MAX), bytes.
const MAX_BYTES: usize = 64 * 1024;
/// Most bytes of all values together: whoever owns a file may give it thousands, each of the largest size.
const MAX_TOTAL_BYTES: usize = 1024 * 1024;

/// One attribute.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Attribute {
    /// Its name with the namespace: `user.x`, `system.posix_acl_access`.
    pub name: CString,
    /// Its value.
    pub value: Vec<u8>,
}

/// Every attribute that this process may see, by name. None where the file system has no attributes.
///
/// # Errors
/// flistxattr(2)'s and fgetxattr(2)'s; E2BIG when all values together have more than 1 MiB.
pub fn of(file: BorrowedFd<'_>) -> io::Result<Vec<Attribute>> {
    let mut list = vec![0u8; MAX_BYTES];
    // SAFETY: the pointer and the length are those of one live, writable buffer.
    let length = unsafe { libc::flistxattr(file.as_raw_fd(), list.as_mut_ptr().cast(), list.len()) };
    match Errno::result(length) {
        Ok(length) => list.truncate(usize::try_from(length).unwrap_or(0)),
        Err(Errno::EOPNOTSUPP) => return Ok(Vec::new()),
        Err(errno) => return Err(errno.into()),
    }
    let mut all = Vec::new();
    let mut total = 0;
    for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = CString::new(name)?;
        match value(file, &name) {
            Ok(value) => {
                total += value.len();
                if total > MAX_TOTAL_BYTES {
                    return Err(Errno::E2BIG.into());
                }
                all.push(Attribute { name, value });
            }
            // Removed between the two calls.
            Err(Errno::ENODATA) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    all.sort();
    Ok(all)
}

fn value(file: BorrowedFd<'_>, name: &CStr) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0u8; MAX_BYTES];
    // SAFETY: a C string, and the pointer and length of one live, writable buffer.
    let length = unsafe { libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(usize::try_from(Errno::result(length)?).unwrap_or(0));
    value.shrink_to_fit();
    Ok(value)
}

/// Sets an attribute, new or not.
///
/// # Errors
/// fsetxattr(2)'s.
pub fn set(file: BorrowedFd<'_>, attribute: &Attribute) -> io::Result<()> {
    let Attribute { name, value } = attribute;
    // SAFETY: a C string, and the pointer and length of one live buffer that is only read.
    let outcome = unsafe { libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(outcome)?;
    Ok(())
}

/// Removes an attribute.
///
/// # Errors
/// fremovexattr(2)'s.
pub fn remove(file: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    // SAFETY: takes an integer and a C string.
    Errno::result(unsafe { libc::fremovexattr(file.as_raw_fd(), name.as_ptr()) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    #[test]
    fn dos_05_attributes_without_end_are_not_read() {
        // Of the usual file systems this one takes large ones.
        let path = std::path::PathBuf::from(format!("/dev/shm/jitsudo-attributes-{}", std::process::id()));
        let Ok(file) = std::fs::File::create(&path) else { return };
        std::fs::remove_file(&path).unwrap();
        let one = |number| Attribute {
            name: CString::new(format!("user.jitsudo-{number}")).unwrap(),
            value: vec![b'x'; MAX_BYTES / 2],
        };
        let taken = (0..40).filter(|number| set(file.as_fd(), &one(*number)).is_ok()).count();
        match of(file.as_fd()) {
            Ok(all) => assert!(taken * MAX_BYTES / 2 <= MAX_TOTAL_BYTES, "{taken} were read: {}", all.len()),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::E2BIG)),
        }
    }

    #[test]
    fn attribute_is_set_listed_and_removed() {
        let path = std::env::temp_dir().join(format!("jitsudo-attributes-{}", std::process::id()));
        let file = std::fs::File::create(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let attribute = Attribute { name: c"user.jitsudo".into(), value: b"a\0b".to_vec() };
        if let Err(error) = set(file.as_fd(), &attribute) {
            // A file system without them has an empty list.
            assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
            return assert_eq!(of(file.as_fd()).unwrap(), []);
        }
        assert!(of(file.as_fd()).unwrap().contains(&attribute));
        remove(file.as_fd(), &attribute.name).unwrap();
        assert!(!of(file.as_fd()).unwrap().contains(&attribute));
    }
}
