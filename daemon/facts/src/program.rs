//! Finds a program as the target would find it, and notes everything on the way that could change it.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use jitsudo_bytes::Bytes;
use jitsudo_core::facts::{Executable, NoExecutable, Seen, Target};
use jitsudo_link::SECURE_PATH;
use jitsudo_link::facts::{Hashed, HashedProgram};
use jitsudo_sys::nix::libc;
use jitsudo_sys::nix::sys::stat::SFlag;
use jitsudo_sys::walk::{self, Step, Walk};

use crate::uid;

/// Interpreters of interpreters that are followed; the kernel itself stops at 4.
const MAX_INTERPRETERS: usize = 4;

/// Largest program whose content is digested: it must be read within the time of one question.
const MAX_PROGRAM_BYTES: u64 = 256 << 20;

/// Finds `asked`: a path as it is (relative ones from `cwd`), a name on the secure path.
pub(crate) fn find(
    asked: &Bytes,
    cwd: Option<&Bytes>,
    target: &Target,
    same_as: &[String],
) -> Result<Executable, NoExecutable> {
    if asked.0.is_empty() {
        return Err(NoExecutable::NotFound);
    }
    if asked.0.contains(&b'/') {
        let path = if asked.0.starts_with(b"/") {
            asked.0.clone()
        } else {
            let cwd = cwd.ok_or(NoExecutable::NotFound)?;
            [cwd.0.as_slice(), b"/", asked.0.as_slice()].concat()
        };
        return examine(&path, target, same_as);
    }
    let mut best = NoExecutable::NotFound;
    for directory in SECURE_PATH.split(':') {
        match examine(&[directory.as_bytes(), b"/", asked.0.as_slice()].concat(), target, same_as) {
            // As a shell: what cannot be executed is passed over, and named only if nothing better comes.
            Err(NoExecutable::NotFound) => {}
            Err(cause) => best = cause,
            Ok(found) => return Ok(found),
        }
    }
    Err(best)
}

/// The content of a program that was found, and of its interpreter; `None` where one cannot be read whole, or is another file by now.
pub(crate) fn hashed(found: &Executable) -> Option<HashedProgram> {
    let (file, walk) = digested(&found.path.0, found)?;
    let interpreter = match interpreter(&walk) {
        Some(path) => Some(digested(&path, found)?.0),
        None => None,
    };
    Some(HashedProgram { file, interpreter })
}

fn digested(path: &[u8], found: &Executable) -> Option<(Hashed, Walk)> {
    let walk = walk::walk(path).ok()?;
    let last = walk.last().ok()?;
    let (device, inode) = (last.device, last.inode);
    let is_same = |seen: &Seen| seen.device == device && seen.inode == inode && seen.ctime_ns == last.ctime_ns;
    if !found.chain.iter().any(is_same) {
        return None;
    }
    let mut file = walk::open(&walk).ok()?;
    let sha256 = jitsudo_protocol::digest::of_reader(&mut file, MAX_PROGRAM_BYTES).ok()??;
    Some((Hashed { path: Bytes(walk.path.clone()), device, inode, sha256 }, walk))
}

fn examine(path: &[u8], target: &Target, same_as: &[String]) -> Result<Executable, NoExecutable> {
    let walk = walk::walk(path).map_err(|error| match (error.kind(), error.raw_os_error()) {
        (ErrorKind::PermissionDenied, _) => NoExecutable::NotExecutable,
        (_, Some(libc::EISDIR)) => NoExecutable::NotRegular,
        _ => NoExecutable::NotFound,
    })?;
    runnable(&walk, target)?;
    let mut chain: Vec<Seen> = walk.steps.iter().map(seen).collect();
    let mut script = interpreter(&walk);
    for _ in 0..MAX_INTERPRETERS {
        let Some(path) = script.take() else { break };
        // An interpreter that is not there is exec's to report; nothing can be planted in its place unseen, since the
        // chain is compared again before exec and a missing path has no place in it.
        let Ok(next) = walk::walk(&path) else { break };
        chain.extend(next.steps.iter().map(seen));
        script = interpreter(&next);
    }
    let last = walk.last().map_err(|_| NoExecutable::NotFound)?;
    Ok(Executable {
        writable_by_others: chain.iter().find(|step| is_open(step, target)).map(|step| step.path.clone()),
        is_shell: is_shell(&walk),
        same_file_as: same_files(last, same_as),
        path: Bytes(walk.path.clone()),
        chain,
    })
}

/// Regular, and executable for the target by its mode (root: by anybody's bit).
fn runnable(walk: &Walk, target: &Target) -> Result<(), NoExecutable> {
    let file = walk.last().map_err(|_| NoExecutable::NotFound)?;
    if file.kind() != SFlag::S_IFREG {
        return Err(NoExecutable::NotRegular);
    }
    let directories = walk.steps.iter().filter(|step| step.kind() == SFlag::S_IFDIR);
    let reachable = directories.into_iter().all(|step| may_execute(step, target) || target.uid.0 == 0);
    if reachable && may_execute(file, target) { Ok(()) } else { Err(NoExecutable::NotExecutable) }
}

fn may_execute(step: &Step, target: &Target) -> bool {
    let bits = if target.uid.0 == 0 {
        0o111
    } else if step.uid == target.uid.0 {
        0o100
    } else if step.gid == target.gid.0 || target.groups.iter().any(|group| group.0 == step.gid) {
        0o010
    } else {
        0o001
    };
    step.mode & bits != 0
}

/// True when somebody but root or the target could change it. A link's own mode means nothing; its directory's does.
fn is_open(step: &Seen, target: &Target) -> bool {
    let foreign_owner = step.uid != uid(0) && step.uid != target.uid;
    let link = step.mode & SFlag::S_IFMT.bits() == SFlag::S_IFLNK.bits();
    foreign_owner || (!link && step.mode & 0o022 != 0)
}

fn seen(step: &Step) -> Seen {
    Seen {
        path: Bytes(step.path.clone()),
        device: step.device,
        inode: step.inode,
        ctime_ns: step.ctime_ns,
        uid: uid(step.uid),
        mode: step.mode,
    }
}

/// The interpreter that a script's first line names, when it is an absolute path.
fn interpreter(walk: &Walk) -> Option<Vec<u8>> {
    let beginning = walk::read_beginning(walk, 256).ok()?;
    let line = beginning.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = line.trim_ascii_start();
    let path = line.split(|byte| *byte == b' ' || *byte == b'\t').next()?;
    path.starts_with(b"/").then(|| path.to_vec())
}

fn is_shell(walk: &Walk) -> bool {
    let Ok(text) = std::fs::read_to_string("/etc/shells") else {
        return false;
    };
    let Ok(last) = walk.last() else {
        return false;
    };
    let listed = text.lines().map(str::trim).filter(|line| line.starts_with('/'));
    listed
        .into_iter()
        .any(|line| line.as_bytes() == walk.path || walk::identity(line.as_ref()) == Some((last.device, last.inode)))
}

fn same_files(last: &Step, same_as: &[String]) -> BTreeSet<String> {
    let same = |path: &&String| walk::identity(path.as_str().as_ref()) == Some((last.device, last.inode));
    same_as.iter().filter(same).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_core::name::{Gid, Uid};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;

    fn root() -> Target {
        Target {
            uid: Uid::ROOT,
            name: "root".into(),
            gid: Gid(0),
            group: None,
            groups: vec![Gid(0)],
            home: "/root".into(),
            shell: "/bin/bash".into(),
        }
    }

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("jitsudo-program-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        path.canonicalize().unwrap()
    }

    fn ask(path: &std::path::Path) -> Result<Executable, NoExecutable> {
        find(&Bytes::from(path.to_str().unwrap()), None, &root(), &[])
    }

    #[test]
    fn cmd_match_04_names_are_found_on_the_secure_path_only() {
        let found = find(&Bytes::from("env"), Some(&Bytes::from("/tmp")), &root(), &[]).unwrap();
        assert_eq!(found.path, Bytes::from("/usr/bin/env"));
        assert_eq!(found.writable_by_others, None);
        assert_eq!(find(&Bytes::from(""), None, &root(), &[]), Err(NoExecutable::NotFound));
        assert_eq!(find(&Bytes::from("no-such-program"), None, &root(), &[]), Err(NoExecutable::NotFound));
    }

    #[test]
    fn confused_deputy_07_script_in_a_writable_directory_is_named() {
        let folder = folder("writable");
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        let script = folder.join("x.sh");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        // The first such element on the way: the world-writable temporary directory, or the folder itself.
        assert!(ask(&script).unwrap().writable_by_others.is_some());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn cmd_match_15_interpreter_is_part_of_the_chain() {
        let folder = folder("interpreter");
        let script = folder.join("x.sh");
        std::fs::write(&script, "#! /bin/sh -e\n").unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let chain = ask(&script).unwrap().chain;
        assert!(chain.iter().any(|step| step.path == Bytes::from("/usr/bin/sh")), "{chain:?}");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn cmd_match_23_directories_fifos_devices_and_files_without_x_are_not_programs() {
        let folder = folder("kinds");
        jitsudo_sys::nix::unistd::mkfifo(
            &folder.join("fifo"),
            jitsudo_sys::nix::sys::stat::Mode::from_bits_truncate(0o777),
        )
        .unwrap();
        std::fs::write(folder.join("plain"), "x").unwrap();
        assert_eq!(ask(&folder), Err(NoExecutable::NotRegular));
        assert_eq!(ask(&folder.join("fifo")), Err(NoExecutable::NotRegular));
        assert_eq!(ask("/dev/null".as_ref()), Err(NoExecutable::NotRegular));
        assert_eq!(ask(&folder.join("plain")), Err(NoExecutable::NotExecutable));
        assert_eq!(ask(&folder.join("none")), Err(NoExecutable::NotFound));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn links_keep_their_name_and_the_same_file_is_recognised() {
        let folder = folder("links");
        symlink("/usr/bin/env", folder.join("tool")).unwrap();
        let asked = folder.join("tool");
        let found =
            find(&Bytes::from(asked.to_str().unwrap()), None, &root(), &["/bin/env".to_owned(), "/bin/ls".to_owned()])
                .unwrap();
        assert_eq!(found.path, Bytes::from(asked.to_str().unwrap()));
        assert_eq!(found.same_file_as.into_iter().collect::<Vec<_>>(), ["/bin/env"]);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn program_of_another_account_only_is_not_executable_for_the_target() {
        let mut other = root();
        other.uid = Uid(4711);
        other.gid = Gid(4711);
        other.groups = vec![Gid(4711)];
        let folder = folder("private");
        let tool = folder.join("tool");
        std::fs::write(&tool, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(find(&Bytes::from(tool.to_str().unwrap()), None, &other, &[]), Err(NoExecutable::NotExecutable));
        assert!(ask(&tool).is_ok());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
