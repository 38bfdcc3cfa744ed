//! The applied policy, as root's worker left it: read by descriptor, root's, writable by nobody else.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use jitsudo_core::policy::Policy;
use jitsudo_link::spawner::ApplyOutcome;
use jitsudo_protocol::act::Act;
use jitsudo_protocol::digest;
use jitsudo_sys::nix::fcntl::OFlag;
use jitsudo_sys::nix::sys::eventfd::EventFd;

/// Largest compiled policy, bytes.
const MAX_BYTES: u64 = 512 * 1024 * 1024;

/// The policy in force.
#[derive(Debug, Default)]
pub(crate) struct InForce {
    policy: Option<Arc<Policy>>,
    digest: Option<String>,
    trouble: Option<String>,
}

impl InForce {
    /// The policy; `None` when none was applied or it cannot be read.
    pub(crate) fn policy(&self) -> Option<&Policy> {
        self.policy.as_deref()
    }

    /// The policy, to be kept while another one may come into force.
    pub(crate) fn shared(&self) -> Option<Arc<Policy>> {
        self.policy.clone()
    }

    /// Its digest.
    pub(crate) fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Why there is one that cannot be used.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Loads what is applied now. What cannot be used is no policy, and says so.
    pub(crate) fn load(path: &Path, root: u32) -> Self {
        match read(path, root) {
            Ok(None) => Self::default(),
            Ok(Some(bytes)) => match Policy::from_compiled(&bytes) {
                Ok(policy) => {
                    Self { policy: Some(Arc::new(policy)), digest: Some(digest::of_bytes(&bytes)), trouble: None }
                }
                Err(error) => Self { trouble: Some(error.to_string()), ..Self::default() },
            },
            Err(cause) => Self {
                trouble: Some(format!("cannot use the applied policy {}: {cause}", path.display())),
                ..Self::default()
            },
        }
    }
}

/// Loading a policy takes a while (10^5 rules: about a second), so it is done on a thread, and runs wait until it is there.
#[derive(Debug)]
pub(crate) struct Loads {
    wake: Arc<EventFd>,
    sender: Sender<InForce>,
    receiver: Receiver<InForce>,
    under_way: bool,
    again: bool,
    /// Runs that wait.
    pub(crate) held: Vec<(u64, Box<Act>)>,
    /// Answers that wait: who applied a policy finds it in force.
    pub(crate) outcomes: Vec<(u64, ApplyOutcome)>,
}

impl Loads {
    pub(crate) fn new(wake: Arc<EventFd>) -> Self {
        let (sender, receiver) = channel();
        Self { wake, sender, receiver, under_way: false, again: false, held: Vec::new(), outcomes: Vec::new() }
    }

    /// True while a policy is being loaded.
    pub(crate) fn are_under_way(&self) -> bool {
        self.under_way
    }

    /// Begins to load, or to load again when that is under way: the file may have changed since it was read.
    pub(crate) fn begin(&mut self, path: &Path, root: u32) {
        if std::mem::replace(&mut self.under_way, true) {
            self.again = true;
            return;
        }
        let (path, sender, wake) = (path.to_path_buf(), self.sender.clone(), Arc::clone(&self.wake));
        let load = move || {
            // Both fail only while the daemon ends.
            let _ = sender.send(InForce::load(&path, root));
            let _ = wake.write(1);
        };
        if std::thread::Builder::new().name("policy".to_owned()).spawn(load).is_err() {
            self.under_way = false;
        }
    }

    /// The policy that was loaded, once it is.
    pub(crate) fn finished(&mut self, path: &Path, root: u32) -> Option<InForce> {
        let loaded = self.receiver.try_recv().ok()?;
        self.under_way = false;
        if std::mem::take(&mut self.again) {
            self.begin(path, root);
            return None;
        }
        Some(loaded)
    }
}

fn read(path: &Path, root: u32) -> Result<Option<Vec<u8>>, String> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    if metadata.uid() != root {
        return Err(format!("it belongs to uid {}, not to root", metadata.uid()));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(format!("others can write it (mode {:04o})", metadata.mode() & 0o7777));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("it is longer than {MAX_BYTES} bytes"));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn own() -> u32 {
        jitsudo_sys::nix::unistd::geteuid().as_raw()
    }

    #[test]
    fn file_that_others_write_own_or_link_is_no_policy() {
        let folder = crate::tests::folder("policy");
        let path = folder.join("applied.json");
        assert!(InForce::load(&path, own()).trouble().is_none());
        std::fs::write(&path, b"{").unwrap();
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o660);
        assert!(InForce::load(&path, own()).trouble().unwrap().contains("others can write it (mode 0660)"));
        mode(0o640);
        assert!(InForce::load(&path, own() + 1).trouble().unwrap().contains("not to root"));
        let damaged = InForce::load(&path, own());
        assert!(damaged.policy().is_none() && damaged.trouble().is_some());
        let link = folder.join("link.json");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(InForce::load(&link, own()).trouble().is_some());
        assert!(InForce::load(&folder, own()).trouble().unwrap().contains("not a regular file"));
    }
}
