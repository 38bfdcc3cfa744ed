//! Manuals format without a warning, by mandoc, which knows mdoc(7) best, and by groff, which shows them on most hosts; what they refer to
//! exists. That they have every option, verb and key is held by tests of the programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::{Failure, cannot, workspace};

/// What is not worth a word: wide lines of our sources.
const FORMATTERS: [&[&str]; 2] =
    [&["mandoc", "-Tlint", "-Wwarning"], &["groff", "-mandoc", "-Tutf8", "-K", "utf8", "-ww", "-z"]];

/// Every page of `man/`; the error lists each line that is wrong.
pub(crate) fn check() -> Result<(), Failure> {
    let mut wrong = Vec::new();
    let mut pages = pages()?;
    pages.sort();
    for page in &pages {
        let text = fs::read_to_string(page).map_err(cannot(format!("read {}", page.display())))?;
        let name = page.file_name().unwrap_or_default().to_string_lossy().into_owned();
        wrong.extend(dangling(&text, &exists).into_iter().map(|what| format!("man/{name}: {what}")));
        // Another page's second name has nothing of its own to be formatted.
        if !text.starts_with(".so ") {
            wrong.extend(complaints(page)?);
        }
    }
    for (unit, page) in named_by_units()? {
        if !exists(&page) {
            wrong.push(format!("packaging/systemd/{unit}: names {page}, which does not exist"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(format!("manuals:\n  {}", wrong.join("\n  ")))) }
}

fn pages() -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(workspace().join("man")).map_err(cannot("read man/"))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

fn exists(page: &str) -> bool {
    workspace().join("man").join(page).is_file()
}

/// What the formatters say.
fn complaints(page: &Path) -> Result<Vec<String>, Failure> {
    let mut said = Vec::new();
    for words in FORMATTERS {
        let [program, options @ ..] = words else { continue };
        let mut command = Command::new(program);
        let output = command.args(options).arg(page).output().map_err(cannot(format!("run {program}")))?;
        let text = [output.stdout, output.stderr].concat();
        said.extend(String::from_utf8_lossy(&text).lines().map(str::to_owned));
        if said.is_empty() && !output.status.success() {
            said.push(format!("{program} {} ended with {}", page.display(), output.status));
        }
    }
    Ok(said)
}

/// Pages of ours that a page refers to and that do not exist.
fn dangling(text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let page = match words.as_slice() {
            [".so", path] => path.rsplit('/').next().unwrap_or_default().to_owned(),
            _ => {
                match words.iter().position(|word| matches!(*word, ".Xr" | "Xr")).map(|at| words.get(at + 1..at + 3)) {
                    Some(Some([name, section])) if name.starts_with("jit") => format!("{name}.{section}"),
                    _ => continue,
                }
            }
        };
        if !exists(&page) {
            wrong.push(format!("refers to {page}, which does not exist"));
        }
    }
    wrong
}

/// (unit, page) for each `Documentation=man:jitsudod(8)`.
fn named_by_units() -> Result<Vec<(String, String)>, Failure> {
    let mut found = Vec::new();
    let folder = workspace().join("packaging/systemd");
    for entry in fs::read_dir(&folder).map_err(cannot(format!("read {}", folder.display())))?.flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.strip_prefix("Documentation=man:"));
        let pages = lines.filter_map(|page| page.strip_suffix(')')?.split_once('('));
        found
            .extend(pages.map(|(name, section)| {
                (entry.file_name().to_string_lossy().into_owned(), format!("{name}.{section}"))
            }));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manuals_of_the_repository_refer_to_pages_that_exist() {
        let pages = pages().unwrap();
        assert!(pages.len() >= 6, "{pages:?}");
        for page in pages {
            let text = fs::read_to_string(&page).unwrap();
            assert_eq!(dangling(&text, &exists), Vec::<String>::new(), "{}", page.display());
        }
        let named = named_by_units().unwrap();
        assert!(named.len() >= 4 && named.iter().all(|(_, page)| exists(page)), "{named:?}");
    }

    #[test]
    fn references_to_pages_that_are_missing_are_found() {
        let text = ".so man8/gone.8\n.Xr jitnone 8 .\n.Xr sudo 8\n.Pq Xr jitgone 5 ;\n.Xr jitctl 8 ,";
        let found = dangling(text, &|page| page == "jitctl.8");
        assert_eq!(found.len(), 3, "{found:?}");
    }
}
