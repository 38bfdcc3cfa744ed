//! A package that is installed once, by apt on a booted host; what that changed is kept as a layer that other hosts stand on.
//!
//! apt takes seven times as long as a boot. A host that stands on a layer boots as any host does that has the package already:
//! it has no state of jitsudo's, no journal and no identity from the host that the layer was made on.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::error::{Error, io};
use crate::host::{Host, Options};
use crate::root::{Root, hash, remove};
use crate::story::install;

/// Stops what the package started, and forgets whatever is this host's alone: identity, logs, keys, ledger.
const FORGET: &str = "set -e
    systemctl stop jitsudod.socket jitsudo-spawn.socket jitsudod.service jitsudo-spawn.service jitsudo-sweep.timer
    find /var/lib/jitsudo -type f -delete
    rm -rf /var/log/journal /var/lib/systemd/random-seed
    sync";
/// Below a layer: no file of these.
const NOT_KEPT: &[&str] = &["etc/machine-id", "var/log", "tmp", "var/tmp", "run"];

/// A root with this package installed. It is made when the cache does not hold it; a package that was built anew replaces its layer.
///
/// # Errors
/// [`Error::NotRoot`]; [`Error::Failed`] with apt's output when the package does not install; [`Error::Io`] when there is no package.
pub fn with_package(root: &Root, package: &Path) -> Result<Root, Error> {
    let package = fs::canonicalize(package).map_err(io(format!("find {}", package.display())))?;
    let data = fs::metadata(&package).map_err(io(format!("look at {}", package.display())))?;
    let place = hash(&format!("{}\n{}\n{FORGET}", package.display(), root.path().display()));
    let stamp = hash(&format!("{} {} {} {}", data.ino(), data.len(), data.mtime(), data.mtime_nsec()));
    let name = format!("{}+jitsudo-{place:016x}", root.name());
    Root::cached(&format!("{name}-{stamp:016x}"), root, |path| {
        let roots = path.parent().unwrap_or(path);
        forget_older(roots, &name);
        fs::write(roots.join(format!("{name}.package")), package.as_os_str().as_encoded_bytes())
            .map_err(io(format!("note the package of {name}")))?;
        build(root, &package, path)
    })
}

/// Beside the final place; it is renamed when it is whole.
fn build(root: &Root, package: &Path, path: &Path) -> Result<(), Error> {
    let unfinished = path.with_extension("unfinished");
    remove(&unfinished)?;
    let host = Host::boot("layer", root, Options::default())?;
    install(&host, package)?;
    host.sh(FORGET).ok()?;
    host.copy_changes(&unfinished)?;
    drop(host);
    for name in NOT_KEPT {
        remove(&unfinished.join(name))?;
    }
    fs::rename(&unfinished, path).map_err(io(format!("rename {}", unfinished.display())))
}

/// Layers of packages that stood in the same place and are replaced, or that are gone: whoever tested them is done.
fn forget_older(roots: &Path, name: &str) {
    let entries = || fs::read_dir(roots).into_iter().flatten().flatten().map(|entry| entry.path());
    for noted in entries().filter(|path| path.extension().is_some_and(|end| end == "package")) {
        let package = fs::read(&noted).unwrap_or_default();
        let layer = noted.with_extension("");
        let Some(layer) = layer.file_name().and_then(OsStr::to_str) else { continue };
        if layer != name && Path::new(OsStr::from_bytes(&package)).exists() {
            continue;
        }
        let begins =
            |path: &Path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&format!("{layer}-")));
        // One that cannot be removed costs room alone.
        entries().filter(|path| begins(path)).for_each(|path| drop(remove(&path)));
        let _ = fs::remove_file(&noted);
    }
}
