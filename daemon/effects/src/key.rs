//! The host's key: made once, by root, and from then on only read.
//!
//! MUSTs
//! 1. A key that exists and cannot be used is a fault that is said, never a reason for another key (`key_that_cannot_be_used_*`).
//! 2. The secret half is this account's alone (`key_that_others_can_read_*`); a second one beside a public half is not made
//!    (`lost_key_is_not_replaced_*`).

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use jitsudo_link::{HOST_KEY, HOST_PUBLIC_KEY, MAX_STATE_BYTES};
use jitsudo_seal::{HostKey, PublicKey};
use jitsudo_sys::nix::libc;
use jitsudo_sys::trusted;

use crate::place;

/// The key of the host whose state is in this folder; in words why it cannot be had.
pub(crate) fn of_host(folder: &Path, host: &str) -> Result<HostKey, String> {
    let (secret, public) = (folder.join(HOST_KEY), folder.join(HOST_PUBLIC_KEY));
    let said = read_public(&public)?;
    let key = match read(&secret)? {
        Some(key) => key,
        None if said.is_some() => {
            return Err(format!(
                "the host's key {} is gone, and {} is still there: restore the key, or move the public half away to have a new key made",
                secret.display(),
                public.display()
            ));
        }
        None => {
            make(&secret, host)?;
            read(&secret)?.ok_or_else(|| format!("the host's key {} went away again", secret.display()))?
        }
    };
    match said {
        Some(said) if !said.is(&key.public()) => {
            return Err(format!("{} is not the public half of {}", public.display(), secret.display()));
        }
        Some(_) => {}
        None => {
            let line = key.public().to_line().map_err(|error| error.to_string())?;
            place::put(&public, format!("{line}\n").as_bytes(), 0o644)
                .map_err(|error| format!("cannot write {}: {error}", public.display()))?;
        }
    }
    Ok(key)
}

fn make(path: &Path, host: &str) -> Result<(), String> {
    let cannot = |error: &dyn std::fmt::Display| format!("cannot make the host's key {}: {error}", path.display());
    let seed = jitsudo_sys::random::bytes::<32>().map_err(|error| cannot(&error))?;
    let text = HostKey::from_seed(&seed, host).to_text().map_err(|error| cannot(&error))?;
    match place::put_new(path, text.as_ref().as_bytes()) {
        // Somebody was faster: theirs is the host's.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(cannot(&error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn read(path: &Path) -> Result<Option<HostKey>, String> {
    let cannot = |why: &dyn std::fmt::Display| {
        format!("cannot use the host's key {}: {why}; it is never replaced, restore it", path.display())
    };
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(&error)),
    };
    let metadata = file.metadata().map_err(|error| cannot(&error))?;
    let own = jitsudo_sys::nix::unistd::geteuid().as_raw();
    if !metadata.is_file() || metadata.uid() != own || metadata.mode() & 0o077 != 0 {
        let (uid, mode) = (metadata.uid(), metadata.mode() & 0o7777);
        return Err(cannot(&format!(
            "owned by uid {uid}, mode {mode:04o}, where a plain file of root's alone must be"
        )));
    }
    let mut text = String::new();
    file.take(MAX_STATE_BYTES).read_to_string(&mut text).map_err(|error| cannot(&error))?;
    HostKey::parse(&text).map(Some).map_err(|error| cannot(&error))
}

fn read_public(path: &Path) -> Result<Option<PublicKey>, String> {
    let Some(bytes) = trusted::read(path, MAX_STATE_BYTES).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes);
    PublicKey::parse(&text).map(Some).map_err(|error| format!("cannot use {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::folder;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn key_is_made_once_with_a_public_half_that_everybody_can_read() {
        let folder = folder("key-once");
        let key = of_host(&folder, "web-1").unwrap().public();
        assert_eq!((mode(&folder.join(HOST_KEY)), mode(&folder.join(HOST_PUBLIC_KEY))), (0o600, 0o644));
        assert!(fs::read_to_string(folder.join(HOST_PUBLIC_KEY)).unwrap().ends_with(" web-1\n"));
        assert!(of_host(&folder, "renamed").unwrap().public().is(&key));
        fs::remove_file(folder.join(HOST_PUBLIC_KEY)).unwrap();
        assert!(of_host(&folder, "web-1").unwrap().public().is(&key), "a crash may have come between the two files");
        assert!(folder.join(HOST_PUBLIC_KEY).exists());
        assert_eq!(fs::read_dir(&*folder).unwrap().count(), 2);
    }

    #[test]
    fn key_that_cannot_be_used_is_a_fault_and_stays() {
        let folder = folder("key-damaged");
        let path = folder.join(HOST_KEY);
        for damaged in ["", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "\u{0}"] {
            fs::write(&path, damaged).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let error = of_host(&folder, "h").err().unwrap();
            assert!(error.contains("it is never replaced"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
        }
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert!(of_host(&folder, "h").is_err(), "a link is not followed, and not replaced");
    }

    #[test]
    fn key_that_others_can_read_is_not_used() {
        let folder = folder("key-open");
        of_host(&folder, "h").unwrap();
        for open in [0o640, 0o604, 0o660] {
            fs::set_permissions(folder.join(HOST_KEY), fs::Permissions::from_mode(open)).unwrap();
            let error = of_host(&folder, "h").err().unwrap();
            assert!(error.contains("root's alone"), "{error}");
        }
    }

    #[test]
    fn lost_key_is_not_replaced_while_its_public_half_is_there() {
        let folder = folder("key-lost");
        let before = of_host(&folder, "h").unwrap().public();
        fs::remove_file(folder.join(HOST_KEY)).unwrap();
        assert!(of_host(&folder, "h").err().unwrap().contains("is gone"));
        fs::remove_file(folder.join(HOST_PUBLIC_KEY)).unwrap();
        let after = of_host(&folder, "h").unwrap().public();
        assert!(!after.is(&before));
        fs::write(folder.join(HOST_PUBLIC_KEY), before.to_line().unwrap()).unwrap();
        assert!(of_host(&folder, "h").err().unwrap().contains("is not the public half"));
    }
}
