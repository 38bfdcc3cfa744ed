//! The workspace's manifests hold the direction of its crates, who may name tokio, where unsafe code may stand, and
//! how many crates the small programs may carry.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::step::{Failure, cannot, cargo, read, workspace};

/// Each crate, and the crates of this workspace that it may name.
const DIRECTION: &[(&str, &[&str])] = &[
    ("bytes", &[]),
    ("core", &["jitsudo-bytes"]),
    ("protocol", &["jitsudo-bytes"]),
    // Inside sshd and su: nothing beside itself.
    ("login-wire", &[]),
    ("ledger", &[]),
    ("seal", &[]),
    // Apart from seal, which needs one kind of key and is in programs that should carry no other.
    ("signed", &["jitsudo-bytes", "jitsudo-core"]),
    ("sys", &[]),
    ("client", &["jitsudo-bytes", "jitsudo-protocol", "jitsudo-sys"]),
    (
        "ctl",
        &[
            "jitsudo-bytes",
            "jitsudo-core",
            "jitsudo-ledger",
            "jitsudo-login-wire",
            "jitsudo-protocol",
            "jitsudo-seal",
            "jitsudo-sys",
        ],
    ),
    // Inside sshd and su too.
    ("pam-module", &["jitsudo-login-wire"]),
    ("daemon/link", &["jitsudo-bytes", "jitsudo-core", "jitsudo-protocol"]),
    ("daemon/decider", PROVING),
    ("daemon/spawner", DAEMON),
    // Proves for the spawner, which has no cryptography.
    ("daemon/facts", PROVING),
    ("daemon/session", DAEMON),
    // Alone among the daemon's programs it holds the host's key.
    (
        "daemon/effects",
        &[
            "jitsudo-bytes",
            "jitsudo-core",
            "jitsudo-ledger",
            "jitsudo-link",
            "jitsudo-login-wire",
            "jitsudo-protocol",
            "jitsudo-seal",
            "jitsudo-sys",
        ],
    ),
    // No NSS, no policy: it must run where nothing else does.
    ("daemon/sweep", DAEMON),
    // The lying decider of the tests speaks to the spawner as the real one does.
    ("tests", &["jitsudo-core", "jitsudo-ledger", "jitsudo-link", "jitsudo-protocol", "jitsudo-sys"]),
    (
        "fuzz",
        &[
            "jitsudo-bytes",
            "jitsudo-core",
            "jitsudo-ledger",
            "jitsudo-link",
            "jitsudo-login-wire",
            "jitsudo-protocol",
            "jitsudo-signed",
        ],
    ),
    ("xtask", &[]),
];

const PROVING: &[&str] = &[
    "jitsudo-bytes",
    "jitsudo-core",
    "jitsudo-ledger",
    "jitsudo-link",
    "jitsudo-login-wire",
    "jitsudo-protocol",
    "jitsudo-signed",
    "jitsudo-sys",
];

const DAEMON: &[&str] = &[
    "jitsudo-bytes",
    "jitsudo-core",
    "jitsudo-ledger",
    "jitsudo-link",
    "jitsudo-login-wire",
    "jitsudo-protocol",
    "jitsudo-sys",
];

/// Crates that only one member may name.
const ONLY: &[(&str, &str)] = &[("tokio", "daemon/decider"), ("zbus", "daemon/decider")];

/// Where unsafe code may stand.
const UNSAFE: &[&str] = &["sys/src", "pam-module/src/ffi.rs"];

/// Programs, and how many crates (themselves and the workspace's included) they may be made of.
const SIZES: &[(&str, usize)] = &[("jitsudo", 25), ("jitsudo-spawn", 30), ("jitsudo-sweep", 30), ("pam-jitsudo", 4)];

/// All of it; the error lists every line that breaks a rule.
pub(crate) fn check() -> Result<(), Failure> {
    let mut wrong = Vec::new();
    for member in members()? {
        let manifest = text(&workspace().join(&member).join("Cargo.toml"))?;
        wrong.extend(check_manifest(&member, &manifest));
        for file in sources(&workspace().join(&member)) {
            let name = file.strip_prefix(workspace()).unwrap_or(&file).display().to_string();
            wrong.extend(check_source(&name, &text(&file)?));
        }
    }
    for (program, most) in SIZES {
        let count = crates_of(program)?;
        if count > *most {
            wrong.push(format!("{program} is made of {count} crates, {most} are allowed"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(format!("manifests:\n  {}", wrong.join("\n  ")))) }
}

fn check_manifest(member: &str, manifest: &str) -> Vec<String> {
    let Some((_, allowed)) = DIRECTION.iter().find(|(name, _)| *name == member) else {
        return vec![format!("{member} has no line in the table of directions")];
    };
    let mut wrong = Vec::new();
    for (section, name) in dependencies(manifest) {
        let is_ours = name.starts_with("jitsudo") || DIRECTION.iter().any(|(member, _)| *member == name);
        // Tests of a crate may use more than the crate, but never what lies above it.
        if is_ours && !allowed.contains(&name.as_str()) {
            wrong.push(format!("{member} must not name {name} ({section})"));
        }
        if ONLY.iter().any(|(only, owner)| *only == name && *owner != member) {
            wrong.push(format!("{member} must not name {name}: only the decider may"));
        }
    }
    // Only sys has a table of its own: the workspace's, but for unsafe code.
    let lints = if member == "sys" { "[lints.clippy]" } else { "[lints]\nworkspace = true" };
    if !manifest.contains(lints) {
        wrong.push(format!("{member} does not take the workspace's lints"));
    }
    wrong
}

/// (section, name) of every dependency of a manifest.
fn dependencies(manifest: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut section = String::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']').to_owned();
            // [dependencies.NAME] is the long form.
            if let Some((section, name)) =
                section.rsplit_once('.').filter(|(section, _)| section.ends_with("dependencies"))
            {
                found.push((section.to_owned(), name.to_owned()));
            }
        } else if section.ends_with("dependencies")
            && !line.starts_with('#')
            && let Some((name, _)) = line.split_once('=')
        {
            let name = name.trim().split('.').next().unwrap_or_default().trim_matches('"');
            found.push((section.clone(), name.to_owned()));
        }
    }
    found
}

fn check_source(name: &str, source: &str) -> Option<String> {
    if UNSAFE.iter().any(|place| name.starts_with(place)) {
        return None;
    }
    let lifted = ["expect", "allow"].map(|how| format!("{how}({}", "unsafe_code"));
    let is_lifted = lifted.iter().any(|text| source.contains(text.as_str()));
    is_lifted.then(|| format!("{name} lifts the lint against unsafe code: only sys may"))
}

/// Members of the workspace, as its manifest lists them.
pub(crate) fn members() -> Result<Vec<String>, Failure> {
    let manifest = text(&workspace().join("Cargo.toml"))?;
    let list = manifest.split_once("\nmembers = [").and_then(|(_, rest)| rest.split_once(']')).map(|(list, _)| list);
    let list = list.ok_or_else(|| Failure::new("Cargo.toml has no list of members"))?;
    Ok(list.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

/// How many crates a program is made of, itself included.
fn crates_of(program: &str) -> Result<usize, Failure> {
    let words = [
        "tree",
        "--locked",
        "--package",
        program,
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let tree = read(&mut cargo(&words))?;
    // A crate met again is marked (*). Proc macros run at build time and are not in the program.
    let lines = tree.lines().map(|line| line.trim_end_matches(" (*)"));
    Ok(lines.filter(|line| !line.is_empty()).collect::<BTreeSet<_>>().len())
}

/// Every Rust file of a member, members below it left out.
pub(crate) fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.join("Cargo.toml").exists() && entry.file_name() != "target" {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn text(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(cannot(format!("read {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workspace_keeps_its_direction_its_unsafe_code_and_its_sizes() {
        check().unwrap_or_else(|failure| panic!("{failure}"));
    }

    #[test]
    fn every_member_has_a_direction_and_every_direction_a_member() {
        let members: BTreeSet<String> = members().unwrap().into_iter().collect();
        let table: BTreeSet<String> = DIRECTION.iter().map(|(member, _)| (*member).to_owned()).collect();
        assert_eq!(members, table);
    }

    #[test]
    fn crate_that_names_one_above_it_is_found() {
        let manifest = "[lints]\nworkspace = true\n[dependencies]\njitsudo-core.workspace = true\n";
        assert_eq!(check_manifest("protocol", manifest), ["protocol must not name jitsudo-core (dependencies)"]);
        let long = "[lints]\nworkspace = true\n[dependencies.jitsudo-core]\nworkspace = true\n";
        assert_eq!(check_manifest("ledger", long).len(), 1);
        let tests = "[lints]\nworkspace = true\n[dev-dependencies]\njitsudo-sys = { workspace = true }\n";
        assert_eq!(check_manifest("core", tests), ["core must not name jitsudo-sys (dev-dependencies)"]);
        assert_eq!(
            check_manifest("client", "[lints]\nworkspace = true\n[dependencies]\njitsudo-sys.workspace = true"),
            [""; 0]
        );
    }

    #[test]
    fn only_the_decider_names_tokio() {
        let manifest = "[lints]\nworkspace = true\n[dependencies]\ntokio = { workspace = true }\n";
        assert_eq!(check_manifest("daemon/spawner", manifest).len(), 1);
        assert_eq!(check_manifest("daemon/decider", manifest), [""; 0]);
    }

    #[test]
    fn missing_lints_and_unknown_members_are_found() {
        assert_eq!(check_manifest("core", "[dependencies]\n"), ["core does not take the workspace's lints"]);
        assert_eq!(check_manifest("elsewhere", "").len(), 1);
    }

    #[test]
    fn lint_against_unsafe_code_may_be_lifted_only_in_sys() {
        let source = format!("#![expect({}, reason = \"\")]", "unsafe_code");
        assert!(check_source("client/src/main.rs", &source).is_some());
        assert!(check_source("sys/src/pty.rs", &source).is_none());
        assert!(check_source("client/src/main.rs", "fn main() {}").is_none());
    }
}
