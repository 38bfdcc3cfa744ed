//! One spawner a host: two would end and adopt each other's sessions, and the second would take the gate's door from the first.
//!
//! MUST: the second says so and ends before it touches anything (host test `two_daemons_*`).

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

/// Locked as long as a spawner lives; the file stays.
pub const SPAWNER_LOCK: &str = "/run/jitsudo/spawner.lock";
/// How long a predecessor may take to be gone: it was told to end, or killed, before this one was started.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries.
const STEP: Duration = Duration::from_millis(20);

/// Free when this is dropped, or its process is gone.
#[derive(Debug)]
pub struct Alone(#[expect(dead_code, reason = "it is held, not looked at")] File);

/// Waits a little for whoever was here before.
///
/// # Errors
/// Somebody stays; or the system's, when there can be no lock.
pub fn be(path: &Path) -> io::Result<Alone> {
    be_within(path, PATIENCE)
}

/// True while a spawner holds the lock; false where there is none, or none can be made.
#[must_use]
pub fn does_spawner_live(path: &Path) -> bool {
    let held = |file: File| matches!(file.try_lock(), Err(TryLockError::WouldBlock));
    OpenOptions::new().read(true).open(path).is_ok_and(held)
}

fn be_within(path: &Path, patience: Duration) -> io::Result<Alone> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Alone(file)),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if waited >= patience => {
                let words = "another jitsudo-spawn runs here already: see `systemctl status jitsudo-spawn`";
                return Err(io::Error::new(io::ErrorKind::WouldBlock, words));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(STEP),
        }
        waited += STEP;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_one_is_refused_until_the_first_is_gone() {
        let path = std::env::temp_dir().join(format!("jitsudo-alone-{}", std::process::id()));
        let first = be_within(&path, Duration::ZERO).unwrap();
        let refused = be_within(&path, Duration::ZERO).unwrap_err();
        assert!(refused.kind() == io::ErrorKind::WouldBlock && refused.to_string().contains("runs here already"));
        assert!(does_spawner_live(&path));
        drop(first);
        assert!(!does_spawner_live(&path));
        be_within(&path, Duration::ZERO).unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
