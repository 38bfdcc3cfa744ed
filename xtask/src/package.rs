//! Builds the programs and the Debian package from ONE list of installed files, `packaging/files.txt`.
//!
//! The same sources give the same bytes: files in sorted order, fixed owners, one time stamp for all.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::installed::{Installed, Source, parse};
use crate::step::{Failure, cannot, cargo, read, run as step, target, workspace};

/// The libraries that control.in names as dependencies, and Debian 12's glibc: nothing newer may be needed.
const LIBRARIES: &[&str] =
    &["libc.so.6", "libm.so.6", "libgcc_s.so.1", "libpam.so.0", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"];
const NEWEST_GLIBC: u32 = 36;
/// Largest PAM module, as it is shipped.
const MAX_MODULE_BYTES: u64 = 400 * 1024;
/// What libpam calls of a module (pam(3)).
const ENTRIES: [&str; 6] = [
    "pam_sm_authenticate",
    "pam_sm_setcred",
    "pam_sm_acct_mgmt",
    "pam_sm_open_session",
    "pam_sm_close_session",
    "pam_sm_chauthtok",
];

/// How the programs are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As they are shipped.
    Release,
    /// Quickly, for tests.
    Dev,
    /// The same, with points at which the daemon's programs die on request (`sys/src/failpoint.rs`); never shipped.
    Failpoints,
}

/// Programs that have such points, or look at clocks that a test may set (`sys/src/clock/steps.rs`).
const WITH_POINTS: &[&str] =
    &["jitctl", "jitsudod", "jitsudo-spawn", "jitsudo-facts", "jitsudo-session", "jitsudo-effects", "jitsudo-sweep"];

impl Profile {
    fn folder(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev | Self::Failpoints => "debug",
        }
    }

    /// Where its package is put: what is for tests alone lies apart from what may be shipped.
    fn place(self) -> &'static str {
        match self {
            Self::Release | Self::Dev => "package",
            Self::Failpoints => "package-failpoints",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev | Self::Failpoints => "dev",
        }
    }
}

/// Builds the package and says where it is.
pub(crate) fn run(profile: Profile) -> Result<PathBuf, Failure> {
    let list = file(&workspace().join("packaging/files.txt"))?;
    let files = parse(&list)?;
    build(&files, profile)?;
    let package = assemble(&files, profile)?;
    println!("package: {}", package.display());
    Ok(package)
}

/// Each program alone, so that no other program's features reach it.
fn build(files: &[Installed], profile: Profile) -> Result<(), Failure> {
    for installed in files {
        let words = ["build", "--locked", "--profile", profile.name(), "--package"];
        match &installed.source {
            Source::Program(name) if profile == Profile::Failpoints && WITH_POINTS.contains(&name.as_str()) => {
                step(cargo(&words).args([name, "--features", "failpoints"]))?;
            }
            Source::Program(name) | Source::Module(name) => step(cargo(&words).arg(name))?,
            // A target must be named, or the flags would reach build scripts and macros too.
            Source::StaticProgram(name) => {
                let triple = triple()?;
                let mut command = cargo(&words);
                step(command.args([name, "--target", &triple]).env("RUSTFLAGS", "-Ctarget-feature=+crt-static"))?;
            }
            Source::File(_) | Source::Manual(_) => {}
        }
    }
    Ok(())
}

fn assemble(files: &[Installed], profile: Profile) -> Result<PathBuf, Failure> {
    let folder = target().join(profile.place());
    let tree = folder.join(format!("tree-{}", profile.name()));
    if tree.exists() {
        fs::remove_dir_all(&tree).map_err(cannot(format!("empty {}", tree.display())))?;
    }
    for installed in files {
        let from = source_path(&installed.source, profile)?;
        let to = tree.join(installed.destination.trim_start_matches('/'));
        let parent = to.parent().unwrap_or(&tree);
        fs::create_dir_all(parent).map_err(cannot(format!("create {}", parent.display())))?;
        match installed.source {
            Source::Manual(_) => compress(&from, &to)?,
            Source::Program(_) | Source::StaticProgram(_) | Source::Module(_) | Source::File(_) => {
                fs::copy(&from, &to).map_err(cannot(format!("copy {}", from.display()))).map(drop)?;
            }
        }
        fs::set_permissions(&to, Permissions::from_mode(installed.mode)).map_err(cannot("set a file's mode"))?;
    }
    let architecture = read(Command::new("dpkg").arg("--print-architecture"))?.trim().to_owned();
    let version = version()?;
    check_libraries(files, &tree)?;
    check_modules(files, &tree, profile)?;
    write_control(files, &tree, &version, &architecture)?;
    settle(&tree)?;
    let package = folder.join(format!("jitsudo_{version}_{architecture}.deb"));
    // Unpacking is much of a host test's time: packages for tests are not compressed at all.
    let compression: &[&str] = if profile == Profile::Release { &["-Zxz", "-z2"] } else { &["-Znone"] };
    let words = ["--root-owner-group", "--build"];
    read(
        Command::new("dpkg-deb")
            .args(compression)
            .args(words)
            .arg(&tree)
            .arg(&package)
            .env("SOURCE_DATE_EPOCH", epoch()),
    )?;
    Ok(package)
}

/// As Debian has manuals, without name and time, so that the same page gives the same bytes.
fn compress(from: &Path, to: &Path) -> Result<(), Failure> {
    let output = Command::new("gzip").args(["-9n", "--stdout"]).arg(from).output().map_err(cannot("run gzip"))?;
    if !output.status.success() {
        return Err(Failure::new(format!("cannot compress {}: gzip ended with {}", from.display(), output.status)));
    }
    fs::write(to, output.stdout).map_err(cannot(format!("write {}", to.display())))
}

fn write_control(files: &[Installed], tree: &Path, version: &str, architecture: &str) -> Result<(), Failure> {
    let debian = workspace().join("packaging/debian");
    let size: u64 = files.iter().map(|installed| size_of(tree, &installed.destination).div_ceil(1024)).sum();
    let control = file(&debian.join("control.in"))?
        .replace("@VERSION@", version)
        .replace("@ARCHITECTURE@", architecture)
        .replace("@SIZE@", &size.to_string())
        .replace("@GLIBC@", &format!("2.{NEWEST_GLIBC}"));
    let to = tree.join("DEBIAN");
    fs::create_dir_all(&to).map_err(cannot("create DEBIAN"))?;
    write(&to.join("control"), &control, 0o644)?;
    let conffiles = files.iter().filter(|installed| installed.is_conffile);
    let conffiles: String = conffiles.map(|installed| format!("{}\n", installed.destination)).collect();
    write(&to.join("conffiles"), &conffiles, 0o644)?;
    for script in ["postinst", "prerm", "postrm"] {
        write(&to.join(script), &file(&debian.join(script))?, 0o755)?;
    }
    Ok(())
}

/// Every program runs on the oldest Debian that the package names, wherever it was built.
fn check_libraries(files: &[Installed], tree: &Path) -> Result<(), Failure> {
    let is_program =
        |source: &Source| matches!(source, Source::Program(_) | Source::StaticProgram(_) | Source::Module(_));
    for installed in files.iter().filter(|installed| is_program(&installed.source)) {
        let program = tree.join(installed.destination.trim_start_matches('/'));
        let needed = read(Command::new("objdump").arg("--private-headers").arg(&program))?;
        let symbols = read(Command::new("objdump").arg("--dynamic-syms").arg(&program).env("LC_ALL", "C"));
        let is_static = matches!(installed.source, Source::StaticProgram(_));
        // objdump calls it an error when a program has no dynamic symbols.
        let symbols = if is_static { String::new() } else { symbols? };
        let wrong = wrong_libraries(&needed, &symbols, is_static);
        if !wrong.is_empty() {
            return Err(Failure::new(format!("{} needs {}", installed.destination, wrong.join(", "))));
        }
    }
    Ok(())
}

/// What is loaded into sshd and su is small, and shows nothing but what libpam calls.
fn check_modules(files: &[Installed], tree: &Path, profile: Profile) -> Result<(), Failure> {
    for installed in files.iter().filter(|installed| matches!(installed.source, Source::Module(_))) {
        let size = size_of(tree, &installed.destination);
        if profile == Profile::Release && size > MAX_MODULE_BYTES {
            let text = format!("{} has {size} bytes, {MAX_MODULE_BYTES} are allowed", installed.destination);
            return Err(Failure::new(text));
        }
        let module = tree.join(installed.destination.trim_start_matches('/'));
        let symbols = read(Command::new("objdump").arg("--dynamic-syms").arg(&module).env("LC_ALL", "C"))?;
        let wrong = wrong_exports(&symbols);
        if !wrong.is_empty() {
            return Err(Failure::new(format!("{}: exported symbols: {}", installed.destination, wrong.join(", "))));
        }
    }
    Ok(())
}

/// What objdump shows of exported symbols that libpam does not call, and what it calls and does not find.
fn wrong_exports(symbols: &str) -> Vec<String> {
    let exported = symbols.lines().filter(|line| line.contains(" g ") && !line.contains("*UND*"));
    let exported: Vec<&str> = exported.filter_map(|line| line.split_whitespace().last()).collect();
    let stranger = exported.iter().filter(|name| !ENTRIES.contains(name)).map(|name| format!("{name} too much"));
    let missing = ENTRIES.iter().filter(|name| !exported.contains(name)).map(|name| format!("{name} is missing"));
    stranger.chain(missing).collect()
}

/// What objdump shows of libraries and symbol versions that control.in does not promise.
fn wrong_libraries(headers: &str, symbols: &str, is_static: bool) -> Vec<String> {
    let needed = headers.lines().filter_map(|line| line.trim().strip_prefix("NEEDED")).map(str::trim);
    let known = |library: &&str| !is_static && LIBRARIES.contains(library);
    let mut wrong: Vec<String> = needed.filter(|library| !known(library)).map(str::to_owned).collect();
    for line in symbols.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let version = line.split_once("GLIBC_2.").and_then(|(_, rest)| rest.split([')', ' ']).next());
        let minor = version.and_then(|version| version.split('.').next()).and_then(|minor| minor.parse::<u32>().ok());
        // A weak symbol may be missing: the program looks before it calls.
        if minor.is_some_and(|minor| minor > NEWEST_GLIBC) && !words.contains(&"w") {
            wrong.push(format!("{} of glibc 2.{}", words.last().unwrap_or(&""), minor.unwrap_or(0)));
        }
    }
    wrong
}

/// One time stamp for every file and folder, whoever built them and when; folders 0755.
fn settle(tree: &Path) -> Result<(), Failure> {
    read(Command::new("find").arg(tree).args(["-type", "d", "-exec", "chmod", "0755", "{}", "+"]))?;
    let when = format!("@{}", epoch());
    read(Command::new("find").arg(tree).args(["-exec", "touch", "--no-dereference", "--date", &when, "{}", "+"]))
        .map(drop)
}

/// `$SOURCE_DATE_EPOCH`, else the time of the last commit, else a fixed one.
fn epoch() -> String {
    if let Ok(given) = std::env::var("SOURCE_DATE_EPOCH") {
        return given;
    }
    let mut git = Command::new("git");
    let last = read(git.current_dir(workspace()).args(["log", "-1", "--format=%ct"]));
    last.ok().map(|time| time.trim().to_owned()).filter(|time| !time.is_empty()).unwrap_or_else(|| "1767225600".into())
}

fn source_path(source: &Source, profile: Profile) -> Result<PathBuf, Failure> {
    Ok(match source {
        Source::Program(name) => target().join(profile.folder()).join(name),
        Source::StaticProgram(name) => target().join(triple()?).join(profile.folder()).join(name),
        Source::Module(name) => target().join(profile.folder()).join(format!("lib{}.so", name.replace('-', "_"))),
        Source::Manual(name) => workspace().join("man").join(name),
        Source::File(name) => workspace().join("packaging").join(name),
    })
}

fn triple() -> Result<String, Failure> {
    match std::env::consts::ARCH {
        "x86_64" | "aarch64" => Ok(format!("{}-unknown-linux-gnu", std::env::consts::ARCH)),
        other => Err(Failure::new(format!("packages are made on x86_64 and aarch64, this is {other}"))),
    }
}

fn version() -> Result<String, Failure> {
    let manifest = file(&workspace().join("Cargo.toml"))?;
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = \""));
    let version = line.and_then(|rest| rest.split('"').next());
    version.map(str::to_owned).ok_or_else(|| Failure::new("Cargo.toml has no version"))
}

fn size_of(tree: &Path, destination: &str) -> u64 {
    fs::metadata(tree.join(destination.trim_start_matches('/'))).map_or(0, |data| data.len())
}

fn file(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(cannot(format!("read {}", path.display())))
}

fn write(path: &Path, content: &str, mode: u32) -> Result<(), Failure> {
    fs::write(path, content).map_err(cannot(format!("write {}", path.display())))?;
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(cannot(format!("set the mode of {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_symbols_that_debian_12_lacks_are_found() {
        let headers = "  NEEDED               libc.so.6\n  NEEDED               libssl.so.3\n";
        let symbols = "0000  w   DF *UND*  0000 (GLIBC_2.39) pidfd_spawnp\n0000      DF *UND*  0000 (GLIBC_2.38) strlcpy\n\
                       0000      DF *UND*  0000 (GLIBC_2.2.5) read\n";
        assert_eq!(wrong_libraries(headers, symbols, false), ["libssl.so.3", "strlcpy of glibc 2.38"]);
        assert_eq!(wrong_libraries("  NEEDED libc.so.6\n", "", true), ["libc.so.6"]);
    }

    #[test]
    fn symbols_that_libpam_does_not_call_and_missing_ones_are_found() {
        let line = |name: &str| format!("0000000000023100 g    DF .text\t000000000000000b  Base        {name}\n");
        let whole: String = ENTRIES.iter().map(|name| line(name)).collect();
        let undefined = "0000000000000000      DF *UND*\t0000000000000000 (GLIBC_2.2.5) getpwnam_r\n";
        assert_eq!(wrong_exports(&format!("{whole}{undefined}")), [""; 0]);
        assert_eq!(wrong_exports(&format!("{whole}{}", line("rust_eh_personality"))), ["rust_eh_personality too much"]);
        assert_eq!(wrong_exports(&whole.replace("setcred", "other")).len(), 2);
    }

    #[test]
    fn spawner_unit_carries_no_line_that_commands_would_inherit() {
        let unit = file(&workspace().join("packaging/systemd/jitsudo-spawn.service")).unwrap();
        let allowed = [
            "Description",
            "Documentation",
            "Requires",
            "After",
            "StartLimitIntervalSec",
            "Type",
            "NotifyAccess",
            "ExecStartPre",
            "ExecStart",
            "Restart",
            "RestartSec",
            "WatchdogSec",
            "Delegate",
            "TasksMax",
            "OOMPolicy",
            "IgnoreSIGPIPE",
            "KillMode",
            "FileDescriptorStoreMax",
            "WantedBy",
        ];
        for line in unit.lines().filter(|line| line.contains('=') && !line.starts_with('#')) {
            let key = line.split('=').next().unwrap_or_default();
            assert!(allowed.contains(&key), "{line}");
        }
        for line in ["TasksMax=infinity", "OOMPolicy=continue", "IgnoreSIGPIPE=no", "KillMode=process", "Delegate=yes"]
        {
            assert!(unit.lines().any(|other| other == line), "{line}");
        }
    }

    #[test]
    fn decider_unit_sees_its_peers_as_they_are() {
        let unit = file(&workspace().join("packaging/systemd/jitsudod.service")).unwrap();
        for key in ["PrivateUsers", "PrivatePIDs"] {
            assert!(!unit.lines().any(|line| line.starts_with(&format!("{key}="))), "{key}");
        }
        for line in
            ["User=_jitsudo", "CapabilityBoundingSet=", "NoNewPrivileges=yes", "ReadWritePaths=/var/lib/jitsudo/ledger"]
        {
            assert!(unit.lines().any(|other| other == line), "{line}");
        }
    }
}
