//! Mounts, by /proc/self/mountinfo (proc(5)): which hold files of this host, and which are somebody else's.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// File systems whose files are this host's own; in any other one nothing is looked for.
const LOCAL: &[&str] = &[
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "zfs", "jfs", "reiserfs", "nilfs2", "tmpfs", "ramfs",
    "overlay", "bind",
];
/// Where container engines keep their roots: what is in those is not this host's.
const CONTAINERS: &[&str] =
    &["/var/lib/docker", "/var/lib/containers", "/var/lib/containerd", "/run/containerd", "/var/snap"];

/// One mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mount {
    /// Where.
    pub(super) point: PathBuf,
    device: String,
    root: String,
    kind: String,
    /// Set-user-ID means nothing there, or nothing can be written.
    harmless: bool,
}

/// Where files with setuid can have come to be, and every mount point: none of those is entered from above.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Local {
    pub(super) roots: Vec<PathBuf>,
    pub(super) points: BTreeSet<PathBuf>,
}

/// The local file systems.
pub(super) fn local() -> Local {
    of(&read())
}

/// Mount points of everything that is not local: looking at them may wait for another host, or mount something.
pub(super) fn foreign() -> Vec<PathBuf> {
    let is_foreign = |mount: &Mount| !LOCAL.contains(&mount.kind.as_str());
    read().into_iter().filter(is_foreign).map(|mount| mount.point).collect()
}

fn read() -> Vec<Mount> {
    fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines().filter_map(mount).collect()
}

fn of(mounts: &[Mount]) -> Local {
    let points = mounts.iter().map(|mount| mount.point.clone()).collect();
    let mut known = BTreeSet::new();
    let wanted = |mount: &&Mount| {
        let contained = CONTAINERS.iter().any(|place| mount.point.starts_with(place));
        !mount.harmless && !contained && LOCAL.contains(&mount.kind.as_str())
    };
    let fresh = |mount: &&Mount| known.insert((mount.device.clone(), mount.root.clone()));
    Local { roots: mounts.iter().filter(wanted).filter(fresh).map(|mount| mount.point.clone()).collect(), points }
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let [_, _, device, root, point, options, ..] = left.as_slice() else { return None };
    let kind = right.split(' ').next()?;
    let harmless = options.split(',').any(|option| matches!(option, "nosuid" | "ro"));
    let (device, root, kind) = ((*device).to_owned(), (*root).to_owned(), kind.to_owned());
    Some(Mount { point: unescaped(point), device, root, kind, harmless })
}

/// Blanks and such are written as `\040`.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let digits = others.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| *first == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = others.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_foreign_file_systems_are_not_entered() {
        let text = "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                    21 20 0:5 / /proc rw,nosuid - proc proc rw\n\
                    22 20 0:40 / /home rw - nfs4 server:/home rw\n\
                    23 20 0:41 / /home/alice/a\\040b rw - fuse.sshfs x rw\n\
                    24 20 8:2 / /data rw - xfs /dev/sda2 rw\n\
                    25 20 8:2 / /srv/again rw - xfs /dev/sda2 rw\n\
                    26 20 0:50 / /tmp rw,nosuid,nodev - tmpfs tmpfs rw\n\
                    27 20 0:60 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw\n\
                    28 20 8:3 / /boot ro - ext4 /dev/sda3 ro\nnonsense\n";
        let mounts: Vec<Mount> = text.lines().filter_map(mount).collect();
        let local = of(&mounts);
        assert_eq!(local.roots, [PathBuf::from("/"), "/data".into()]);
        assert_eq!(local.points.len(), 9);
        assert!(local.points.contains(&PathBuf::from("/home/alice/a b")));
    }
}
