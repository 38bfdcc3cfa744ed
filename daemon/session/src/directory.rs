//! The command's working directory: opened by the session itself, as whoever must be able to enter it.
//!
//! MUSTs
//! 1. The caller's directory is opened by its path as the requester, and is the one that the caller passed, on the same mount: a private
//!    mount or a link cannot lead elsewhere (`directory_of_another_place_is_not_entered`).
//! 2. A directory that was asked for and cannot be entered starts nothing; only the caller's own gives way to `/`.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use jitsudo_bytes::Bytes;
use jitsudo_core::decision::Cwd;
use jitsudo_core::facts::{Fact, Group, Requester, Target};
use jitsudo_core::name::Gid;
use jitsudo_link::session::Spec;
use jitsudo_protocol::act::{ActKind, ActOptions};
use jitsudo_protocol::client::FaultCode;
use jitsudo_protocol::session::FromSession;
use jitsudo_sys::files;
use jitsudo_sys::identity::{Account, acting_as};
use jitsudo_sys::nix::errno::Errno;

use crate::client::Client;
use crate::failure::{Failure, words_of};

/// Which directory is wanted, and by whom.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Wish {
    /// The caller's, else `/`.
    Caller,
    /// This one, as the target user; relative to the caller's.
    Path(Bytes),
    /// The target's home; `/` when it may be missing.
    Home { required: bool },
    /// `-D`, where the role lets nobody choose.
    NotAllowed,
}

/// Opens the directory that the command begins in.
pub(crate) fn open(spec: &Spec, options: &ActOptions, passed: &OwnedFd, client: &Client) -> Result<OwnedFd, Failure> {
    let caller = || callers(&requester(&spec.requester), &options.cwd, passed.as_fd());
    let target = with(target(&spec.target), &spec.lent);
    match wish(&spec.run_as.cwd, options) {
        Wish::Caller => caller().or_else(|error| {
            let errno = words_of(error.raw_os_error().unwrap_or(Errno::EIO as i32));
            client.say(&FromSession::Notice(format!("the command starts in /: your working directory: {errno}")));
            root()
        }),
        Wish::Path(path) => {
            let below = if path.0.first() == Some(&b'/') { root() } else { caller().or_else(|_| root()) }?;
            entered(&target, below.as_fd(), &path)
        }
        Wish::Home { required } => match entered(&target, root()?.as_fd(), &Bytes::from(spec.target.home.as_str())) {
            Err(Failure::Cannot { message, .. }) if !required => {
                client.say(&FromSession::Notice(message));
                root()
            }
            other => other,
        },
        Wish::NotAllowed => Err(Failure::cannot(
            FaultCode::NotSupported,
            "cannot change the working directory: the role does not let you choose it".to_owned(),
            Errno::EPERM,
        )),
    }
}

fn wish(role: &Cwd, options: &ActOptions) -> Wish {
    // sudo ignores -D of the directory that the caller is in.
    let asked = options.chdir.as_ref().filter(|asked| **asked != options.cwd);
    match (role, asked) {
        (Cwd::Any, Some(asked)) => Wish::Path(asked.clone()),
        (Cwd::Path(path), Some(asked)) if path == asked => Wish::Path(path.clone()),
        (Cwd::Caller | Cwd::Home | Cwd::Path(_), Some(_)) => Wish::NotAllowed,
        (Cwd::Path(path), None) => Wish::Path(path.clone()),
        (Cwd::Home, None) => Wish::Home { required: true },
        (Cwd::Caller | Cwd::Any, None) if options.kind == ActKind::LoginShell => Wish::Home { required: false },
        (Cwd::Caller | Cwd::Any, None) => Wish::Caller,
    }
}

/// The caller's directory, opened by path as the requester, if it is the one that the caller passed.
fn callers(requester: &Account, path: &Bytes, passed: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    if path.0.first() != Some(&b'/') {
        return Err(io::Error::from_raw_os_error(Errno::ENOENT as i32));
    }
    let name = CString::new(path.0.clone())?;
    let opened = acting_as(requester, || files::open_searchable(files::here(), &name))?;
    if files::place(opened.as_fd())? == files::place(passed)? {
        Ok(opened)
    } else {
        Err(io::Error::from_raw_os_error(Errno::ESTALE as i32))
    }
}

/// A directory that was asked for, opened as the target.
fn entered(target: &Account, at: BorrowedFd<'_>, path: &Bytes) -> Result<OwnedFd, Failure> {
    let opened = CString::new(path.0.clone())
        .map_err(io::Error::from)
        .and_then(|name| acting_as(target, || files::open_searchable(at, &name)));
    opened.map_err(|error| {
        let errno = error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw);
        let message = format!("cannot change to {}: {}", path.visible(), words_of(errno as i32));
        Failure::cannot(FaultCode::Program, message, errno)
    })
}

fn root() -> Result<OwnedFd, Failure> {
    files::open_searchable(files::here(), c"/").map_err(|error| Failure::trouble("open /", &error))
}

fn requester(requester: &Requester) -> Account {
    let gids = |groups: &BTreeSet<Group>| groups.iter().map(|group| group.gid.0).collect();
    let groups = match (&requester.process_groups, &requester.groups) {
        (Fact::Is(groups), _) | (Fact::Unknown, Fact::Is(groups)) => gids(groups),
        (Fact::Unknown, Fact::Unknown) => vec![requester.gid.0],
    };
    Account { uid: requester.uid.0, gid: requester.gid.0, groups }
}

/// The target's ids.
pub(crate) fn target(target: &Target) -> Account {
    Account { uid: target.uid.0, gid: target.gid.0, groups: target.groups.iter().map(|gid| gid.0).collect() }
}

/// The same in these groups as well.
fn with(account: Account, lent: &[Gid]) -> Account {
    let mut groups = account.groups;
    groups.extend(lent.iter().map(|gid| gid.0));
    groups.sort_unstable();
    groups.dedup();
    Account { groups, ..account }
}

/// What the command runs as: the target, with `-P` in the requester's supplementary groups, and in those that it is lent. What another
/// grant lent to the requester ends with that one and is not passed on.
pub(crate) fn command(
    target_of: &Target,
    requester: &Requester,
    options: &ActOptions,
    lent: &[Gid],
) -> Result<Account, Failure> {
    let account = target(target_of);
    if !options.preserve_groups {
        return Ok(with(account, lent));
    }
    let Fact::Is(groups) = &requester.process_groups else {
        return Err(Failure::refused(FaultCode::Directory, "your groups are not known, and -P keeps them"));
    };
    let own = groups.iter().map(|group| group.gid).filter(|gid| !requester.lent_groups.contains(gid));
    Ok(with(Account { groups: own.map(|gid| gid.0).collect(), ..account }, lent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jitsudo_core::name::Uid;

    fn options(kind: ActKind, chdir: Option<&str>) -> ActOptions {
        ActOptions {
            kind,
            user: None,
            group: None,
            role: None,
            reason: None,
            ticket: None,
            window: None,
            break_glass: false,
            preserve_groups: false,
            timeout: None,
            extends: None,
            request: None,
            no_wait: false,
            remember: jitsudo_protocol::act::Remember::Use,
            env_set: vec![],
            preserve: vec![],
            chdir: chdir.map(Bytes::from),
            cwd: Bytes::from("/home/alice"),
            umask: 0o22,
            non_interactive: false,
            terminal: false,
        }
    }

    #[test]
    fn wishes_follow_role_and_option() {
        let command = |role: &Cwd, chdir| wish(role, &options(ActKind::Command, chdir));
        let srv = || Cwd::Path(Bytes::from("/srv"));
        assert_eq!(command(&Cwd::Caller, None), Wish::Caller);
        assert_eq!(command(&Cwd::Caller, Some("/home/alice")), Wish::Caller);
        assert_eq!(command(&Cwd::Caller, Some("/srv")), Wish::NotAllowed);
        assert_eq!(command(&Cwd::Any, Some("/srv")), Wish::Path(Bytes::from("/srv")));
        assert_eq!(command(&Cwd::Any, None), Wish::Caller);
        assert_eq!(command(&srv(), None), Wish::Path(Bytes::from("/srv")));
        assert_eq!(command(&srv(), Some("/srv")), Wish::Path(Bytes::from("/srv")));
        assert_eq!(command(&srv(), Some("/etc")), Wish::NotAllowed);
        assert_eq!(command(&Cwd::Home, None), Wish::Home { required: true });
        assert_eq!(wish(&Cwd::Caller, &options(ActKind::LoginShell, None)), Wish::Home { required: false });
    }

    #[test]
    fn directory_of_another_place_is_not_entered() {
        if !jitsudo_sys::nix::unistd::getuid().is_root() {
            return;
        }
        let alice = Account { uid: 60_001, gid: 60_001, groups: vec![] };
        let usr = files::open_searchable(files::here(), c"/usr").unwrap();
        callers(&alice, &Bytes::from("/usr"), usr.as_fd()).unwrap();
        let error = callers(&alice, &Bytes::from("/etc"), usr.as_fd()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::ESTALE as i32));
        let error = callers(&alice, &Bytes::from("/root/"), usr.as_fd()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::EACCES as i32));
        assert!(callers(&alice, &Bytes::from("usr"), usr.as_fd()).is_err());
        assert!(callers(&alice, &Bytes::from(""), usr.as_fd()).is_err());
    }

    #[test]
    fn groups_of_the_requester_are_kept_only_when_asked_for_and_known_and_never_lent_ones() {
        let group = |gid| Group { gid: Gid(gid), name: None };
        let requester = |process_groups| Requester {
            uid: Uid(1001),
            gid: Gid(1001),
            name: Fact::Unknown,
            groups: Fact::Unknown,
            process_groups,
            lent_groups: BTreeSet::from([Gid(999)]),
            loginuid: Fact::Unknown,
            login_name: Fact::Unknown,
            login_groups: Fact::Unknown,
            home: Fact::Unknown,
            shell: Fact::Unknown,
        };
        let known = requester(Fact::Is([1000, 1001, 999].map(group).into()));
        let plain = options(ActKind::Command, None);
        let kept = ActOptions { preserve_groups: true, ..plain.clone() };
        let root = Target {
            uid: Uid(0),
            gid: Gid(0),
            name: "root".to_owned(),
            group: None,
            home: "/root".to_owned(),
            shell: "/bin/bash".to_owned(),
            groups: vec![Gid(0)],
        };
        let lent = |requester: &Requester, options, lent: &[Gid]| {
            command(&root, requester, options, lent).map(|account| account.groups)
        };
        let groups = |requester: &Requester, options| lent(requester, options, &[]);
        assert_eq!(groups(&known, &plain).unwrap(), [0]);
        assert_eq!(groups(&known, &kept).unwrap(), [1000, 1001]);
        assert_eq!(groups(&requester(Fact::Unknown), &plain).unwrap(), [0]);
        assert!(groups(&requester(Fact::Unknown), &kept).is_err());
        // What this grant lends is there either way, once.
        assert_eq!(lent(&known, &plain, &[Gid(999), Gid(0)]).unwrap(), [0, 999]);
        assert_eq!(lent(&known, &kept, &[Gid(999)]).unwrap(), [999, 1000, 1001]);
    }
}
