//! Licences, sources and yanked crates of everything in `Cargo.lock`, against the lists in `deny.toml`.
//!
//! cargo-deny knows more (advisories), but takes longer to build than everything else here together; it runs where
//! it is installed, this runs always.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::step::{Failure, cannot, cargo, read, workspace};

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The error names every crate that breaks a rule.
pub(crate) fn check() -> Result<(), Failure> {
    let deny = file("deny.toml")?;
    let allowed = list(&deny, "[licenses]", "allow");
    if allowed.is_empty() {
        return Err(Failure::new("deny.toml allows no licence: is it there whole?"));
    }
    let words = ["tree", "--workspace", "--locked", "--edges", "all", "--prefix", "none", "--format", "{p}|{l}|"];
    let tree = read(&mut cargo(&words))?;
    let mut wrong = BTreeSet::new();
    for line in tree.lines() {
        let mut fields = line.split('|');
        if let (Some(name), Some(licence)) = (fields.next(), fields.next())
            && !is_allowed(licence, &allowed)
        {
            wrong.insert(format!("{name}: licence {licence:?} is not in deny.toml"));
        }
    }
    let index = index_folders();
    for locked in packages(&file("Cargo.lock")?) {
        if !locked.source.is_empty() && locked.source != REGISTRY {
            wrong.insert(format!("{} comes from {}", locked.name, locked.source));
        }
        if locked.source == REGISTRY && is_yanked(&index, &locked) {
            wrong.insert(format!("{} {} was yanked", locked.name, locked.version));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("licences and sources:\n  {}", wrong.into_iter().collect::<Vec<_>>().join("\n  "))))
}

/// An SPDX expression of OR, AND, parentheses and WITH: whether a choice among the alternatives is allowed.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    // Old manifests write `MIT/Apache-2.0`.
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut rest = words.as_slice();
    let known = |name: &str| allowed.iter().any(|licence| licence == name);
    let answer = any_of(&mut rest, &known);
    answer && rest.is_empty()
}

fn any_of(rest: &mut &[&str], known: &dyn Fn(&str) -> bool) -> bool {
    let mut answer = all_of(rest, known);
    while let [word, tail @ ..] = *rest
        && *word == "OR"
    {
        *rest = tail;
        answer |= all_of(rest, known);
    }
    answer
}

fn all_of(rest: &mut &[&str], known: &dyn Fn(&str) -> bool) -> bool {
    let mut answer = one(rest, known);
    while let [word, tail @ ..] = *rest
        && *word == "AND"
    {
        *rest = tail;
        answer &= one(rest, known);
    }
    answer
}

fn one(rest: &mut &[&str], known: &dyn Fn(&str) -> bool) -> bool {
    match *rest {
        ["(", tail @ ..] => {
            *rest = tail;
            let answer = any_of(rest, known);
            if let [")", tail @ ..] = *rest {
                *rest = tail;
                return answer;
            }
            false
        }
        // An exception only adds permissions.
        [name, "WITH", _, tail @ ..] | [name, tail @ ..] => {
            *rest = tail;
            known(name)
        }
        [] => false,
    }
}

/// A list of strings of deny.toml: `key` in the section that `header` begins.
fn list(deny: &str, header: &str, key: &str) -> Vec<String> {
    let section = deny.split_once(header).map_or("", |(_, rest)| rest.split("\n[").next().unwrap_or_default());
    let start = section.split_once(&format!("\n{key} = [")).map_or("", |(_, rest)| rest);
    let entries = start.split(']').next().unwrap_or_default();
    entries.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Locked {
    name: String,
    version: String,
    source: String,
}

fn packages(lock: &str) -> Vec<Locked> {
    let field = |block: &str, key: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    let blocks = lock.split("[[package]]").skip(1);
    blocks
        .map(|block| Locked {
            name: field(block, "name"),
            version: field(block, "version"),
            source: field(block, "source"),
        })
        .collect()
}

/// cargo's copies of the registry's index, as the last build refreshed them.
fn index_folders() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let indexes = home.and_then(|home| fs::read_dir(home.join("registry/index")).ok());
    indexes.into_iter().flatten().flatten().map(|entry| entry.path().join(".cache")).collect()
}

fn is_yanked(folders: &[PathBuf], locked: &Locked) -> bool {
    let name = locked.name.to_lowercase();
    let part = |range: std::ops::Range<usize>| name.get(range).unwrap_or_default().to_owned();
    let below = match name.len() {
        1 => PathBuf::from("1"),
        2 => PathBuf::from("2"),
        3 => PathBuf::from("3").join(part(0..1)),
        _ => PathBuf::from(part(0..2)).join(part(2..4)),
    };
    folders.iter().any(|folder| {
        let entry = fs::read(folder.join(&below).join(&name)).unwrap_or_default();
        says_yanked(&String::from_utf8_lossy(&entry), &locked.version)
    })
}

/// An index entry is one JSON object a version, with binary separators in cargo's copy.
fn says_yanked(entry: &str, version: &str) -> bool {
    let wanted = format!("\"vers\":\"{version}\"");
    entry.split('\0').any(|line| line.contains(&wanted) && line.contains("\"yanked\":true"))
}

fn file(name: &str) -> Result<String, Failure> {
    fs::read_to_string(workspace().join(name)).map_err(cannot(format!("read {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions_are_read_as_spdx_has_them() {
        let allowed = ["MIT", "Apache-2.0", "Unicode-3.0"].map(str::to_owned);
        for good in [
            "MIT",
            "GPL-3.0 OR MIT",
            "MIT/Apache-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "", "(MIT", "MIT )", "MIT Apache-2.0"] {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn lists_of_deny_toml_are_read_by_section() {
        let deny = "[graph]\nallow = [\"no\"]\n[licenses]\nallow = [\n  \"MIT\", # why\n  \"Zlib\",\n]\n[sources]\nallow = []\n";
        assert_eq!(list(deny, "[licenses]", "allow"), ["MIT", "Zlib"]);
        assert!(!list(&file("deny.toml").unwrap(), "[licenses]", "allow").is_empty());
    }

    #[test]
    fn git_sources_and_yanked_versions_are_seen() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"git+https://example.org/a\"\n";
        let expected = Locked { name: "a".into(), version: "1.0.0".into(), source: "git+https://example.org/a".into() };
        assert_eq!(packages(lock), [expected]);
        let entry = "x\0{\"vers\":\"1.0.0\",\"yanked\":false}\0{\"vers\":\"1.0.1\",\"yanked\":true}\0";
        assert!(says_yanked(entry, "1.0.1"));
        assert!(!says_yanked(entry, "1.0.0"));
    }
}
