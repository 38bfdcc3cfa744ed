//! `policy check`: compiles files here, as whoever asks, without a daemon.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use jitsudo_core::language::{Diagnostic, HostLookup, SourceFile, compile};
use serde_json::{Value, json};

use super::{say, say_json};
use crate::failure::Failure;
use crate::text::{View, counted};

/// Where the policy's files are.
const FILES: &str = "/etc/jitsudo/policy.d";
/// Longest file read, bytes; the compiler has its own, smaller limits.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Checks files and directories of files.
pub(super) fn run(paths: &[PathBuf], json: bool, view: &View) -> Result<(), Failure> {
    let standard = [PathBuf::from(FILES)];
    let mut files = Vec::new();
    for path in if paths.is_empty() { &standard[..] } else { paths } {
        gather(path, &mut files)?;
    }
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    // Whom the host gives more is root's to read: `policy apply` asks.
    let host = HostLookup { zone: &zone, resolve_directory: &resolve_directory, group_has_more: &|_| None };
    let compiled = compile(&files, &host);
    let (findings, counts) = match &compiled {
        Ok(compiled) => (&compiled.warnings, Some(compiled.policy.counts())),
        Err(findings) => (findings, None),
    };
    let rules = counts.map(|counts| counts.allows + counts.requires + counts.denies + counts.duties);
    let (errors, warnings): (Vec<&Diagnostic>, Vec<&Diagnostic>) =
        findings.iter().partition(|finding| finding.is_error);
    if json {
        let list = |findings: &[&Diagnostic]| -> Vec<Value> {
            findings.iter().map(|finding| of_finding(finding, &files)).collect()
        };
        say_json(&json!({
            "ok": compiled.is_ok(), "rules": rules, "roles": counts.map(|counts| counts.roles), "files": names,
            "errors": list(&errors), "warnings": list(&warnings),
        }))?;
    } else {
        let mut text: String =
            findings.iter().map(|finding| format!("{}\n", finding.render(&files, view.colour).trim_end())).collect();
        text.push_str(&summary(
            counts.map(|counts| (rules.unwrap_or(0), counts.roles)),
            errors.len(),
            warnings.len(),
            files.len(),
        ));
        say(&text)?;
    }
    if compiled.is_ok() { Ok(()) } else { Err(Failure::BadCheckSaid) }
}

fn summary(good: Option<(usize, usize)>, errors: usize, warnings: usize, files: usize) -> String {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let files = counted(number(files), "file");
    let warned = if warnings == 0 { String::new() } else { format!(", {}", counted(number(warnings), "warning")) };
    match good {
        Some((rules, roles)) => format!(
            "sound: {} and {} in {files}{warned}\n",
            counted(number(rules), "rule"),
            counted(number(roles), "role")
        ),
        None => format!("{} in {files}{warned}\n", counted(number(errors), "error")),
    }
}

fn of_finding(finding: &Diagnostic, files: &[SourceFile]) -> Value {
    json!({
        "severity": if finding.is_error { "error" } else { "warning" },
        "file": finding.file, "line": finding.line, "column": finding.column, "message": finding.message,
        "hint": finding.hint, "text": finding.render(files, false),
    })
}

/// Reads a file, or the `.toml` files of a directory in the order of their names.
fn gather(path: &Path, files: &mut Vec<SourceFile>) -> Result<(), Failure> {
    let trouble = |cause| Failure::File { what: format!("read policy {}", path.display()), cause };
    if !fs::metadata(path).map_err(trouble)?.is_dir() {
        files.push(SourceFile { name: path.display().to_string(), bytes: content(path).map_err(trouble)? });
        return Ok(());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(trouble)? {
        let path = entry.map_err(trouble)?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(is_policy_file) {
            found.push(path);
        }
    }
    found.sort();
    for path in found {
        let trouble = |cause| Failure::File { what: format!("read policy {}", path.display()), cause };
        // Nobody named it: a fifo among the files would be waited for without end.
        if !fs::metadata(&path).map_err(trouble)?.is_file() {
            return Err(trouble(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
        }
        files.push(SourceFile { name: path.display().to_string(), bytes: content(&path).map_err(trouble)? });
    }
    Ok(())
}

/// True for the names that are read from a directory: `*.toml`, not hidden, no editor's or package tool's leftovers (these end in
/// something else anyway).
fn is_policy_file(name: &str) -> bool {
    name.ends_with(".toml") && !name.starts_with('.')
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is over 64 MiB"));
    }
    Ok(bytes)
}

/// The TZif bytes of an IANA zone on this host.
fn zone(name: &str) -> Option<Vec<u8>> {
    let sound = |letter: char| letter.is_ascii_alphanumeric() || "/_+-".contains(letter);
    if name.is_empty() || name.starts_with('/') || !name.chars().all(sound) {
        return None;
    }
    content(&Path::new("/usr/share/zoneinfo").join(name)).ok()
}

/// A directory with its links resolved, or itself where it does not exist.
fn resolve_directory(path: &str) -> String {
    fs::canonicalize(path)
        .ok()
        .and_then(|found| found.into_os_string().into_string().ok())
        .unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_editors_and_package_tools_are_not_read() {
        for (name, read) in [
            ("10-web.toml", true),
            (".10-web.toml", false),
            ("10-web.toml~", false),
            ("10-web.toml.dpkg-new", false),
            ("10-web.toml.rpmsave", false),
            ("README", false),
        ] {
            assert_eq!(is_policy_file(name), read, "{name}");
        }
    }

    #[test]
    fn zone_names_do_not_leave_their_directory() {
        for name in ["", "/etc/passwd", "../../../etc/passwd", "Europe/../../../etc/passwd", "a\0b"] {
            assert_eq!(zone(name), None, "{name}");
        }
    }

    #[test]
    fn policy_07_fifo_among_the_files_is_refused_and_not_waited_for() {
        let folder = std::env::temp_dir().join(format!("jitctl-check-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        jitsudo_sys::nix::unistd::mkfifo(&folder.join("x\u{1b}[2J.toml"), jitsudo_sys::nix::sys::stat::Mode::S_IRWXU)
            .unwrap();
        let failure = run(std::slice::from_ref(&folder), false, &crate::text::tests::view()).unwrap_err();
        assert!(failure.words().ends_with("/x\\u{1b}[2J.toml: not a regular file\n"), "{}", failure.words());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn missing_policy_directory_is_named_with_its_cause() {
        let failure = run(&[PathBuf::from("/nonexistent/policy.d")], false, &crate::text::tests::view()).unwrap_err();
        assert_eq!(failure.status(), 2);
        assert_eq!(failure.words(), "jitctl: cannot read policy /nonexistent/policy.d: no such file or directory\n");
    }

    #[test]
    fn the_last_line_counts_what_was_found() {
        assert_eq!(summary(Some((3, 1)), 0, 0, 1), "sound: 3 rules and 1 role in 1 file\n");
        assert_eq!(summary(Some((3, 1)), 0, 2, 2), "sound: 3 rules and 1 role in 2 files, 2 warnings\n");
        assert_eq!(summary(None, 1, 1, 2), "1 error in 2 files, 1 warning\n");
    }
}
