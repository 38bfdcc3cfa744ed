//! Who has the group file locked: shadow's lock files name a process, and lckpwdf(3) locks another file.

use std::fs::{self, File};
use std::path::Path;

use jitsudo_sys::nix::fcntl::{FcntlArg, fcntl};
use jitsudo_sys::nix::libc;

/// Shadow's, of both files that say who is a member: the holder's process id stands in them.
const LOCKS: [&str; 2] = ["/etc/group.lock", "/etc/gshadow.lock"];
/// The file that lckpwdf(3) locks; gpasswd and usermod hold it beside their own.
const PWD_LOCK: &str = "/etc/.pwd.lock";

/// True while shadow's lock file of the group file is there, or somebody holds the lock that its tools take first.
pub(crate) fn is_there() -> bool {
    LOCKS.first().is_some_and(|lock| Path::new(lock).exists()) || holder_of(Path::new(PWD_LOCK)).is_some()
}

/// In words what is waited for: `the group file is locked by vim (pid 812)`.
pub(crate) fn words() -> String {
    let by = LOCKS.iter().find_map(|lock| named_in(Path::new(lock))).or_else(|| holder_of(Path::new(PWD_LOCK)));
    match by.map(|pid| (pid, called(pid))) {
        Some((pid, Some(name))) => format!("the group file is locked by {name} (pid {pid})"),
        Some((pid, None)) => format!("the group file is locked by pid {pid}"),
        None => "the group file is locked by another tool".to_owned(),
    }
}

/// The process that a lock file names; shadow ends the number with a NUL.
fn named_in(lock: &Path) -> Option<u32> {
    let text = fs::read_to_string(lock).ok()?;
    text.trim_matches(|letter: char| letter == '\0' || letter.is_whitespace()).parse().ok().filter(|pid| *pid > 0)
}

/// The process that holds a lock of fcntl(2) on a file; `None` when nobody does, or it is in another PID namespace.
fn holder_of(file: &Path) -> Option<u32> {
    let file = File::open(file).ok()?;
    let whole = i16::try_from(libc::SEEK_SET).ok()?;
    let mut lock =
        libc::flock { l_type: i16::try_from(libc::F_WRLCK).ok()?, l_whence: whole, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(&file, FcntlArg::F_GETLK(&mut lock)).ok()?;
    let is_held = i32::from(lock.l_type) != libc::F_UNLCK;
    u32::try_from(lock.l_pid).ok().filter(|pid| is_held && *pid > 0)
}

/// A process's name; spaces and all.
fn called(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holder_is_found_by_the_number_in_a_lock_file_and_by_a_lock() {
        let path = std::env::temp_dir().join(format!("jitsudo-lock-{}", std::process::id()));
        for (text, pid) in
            [("812", Some(812)), ("812\0", Some(812)), ("812\n", Some(812)), ("", None), ("0", None), ("x", None)]
        {
            fs::write(&path, text).unwrap();
            assert_eq!(named_in(&path), pid, "{text:?}");
        }
        // One's own lock is none against oneself.
        assert_eq!((holder_of(&path), holder_of(Path::new("/no/such"))), (None, None));
        let script = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()";
        let mut holder = std::process::Command::new("python3")
            .args(["-c", script])
            .arg(&path)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.take().unwrap()), &mut line).unwrap();
        assert_eq!((holder_of(&path), line.as_str()), (Some(holder.id()), "\n"));
        assert!(called(holder.id()).unwrap().starts_with("python"));
        drop(holder.stdin.take());
        holder.wait().unwrap();
        assert_eq!(holder_of(&path), None);
        fs::remove_file(&path).unwrap();
    }
}
