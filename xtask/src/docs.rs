//! Documents keep their word: links lead to files, commands that they show exist.

use std::fs;
use std::path::{Path, PathBuf};

use crate::step::{Failure, cannot, workspace};

const COMMANDS: &[&str] = &["setup", "lint", "package", "test", "demo", "audit-host", "abuse-cases", "fuzz"];

/// Every Markdown file of the repository; the error lists each broken line.
pub(crate) fn check() -> Result<(), Failure> {
    let mut wrong = Vec::new();
    for file in documents(&workspace()) {
        let text = fs::read_to_string(&file).map_err(cannot(format!("read {}", file.display())))?;
        let name = file.strip_prefix(workspace()).unwrap_or(&file).display().to_string();
        let folder = file.parent().unwrap_or(Path::new("."));
        let exists = |target: &str| folder.join(target).exists();
        wrong.extend(broken(&text, &exists).into_iter().map(|(line, what)| format!("{name}:{line}: {what}")));
    }
    let readme = fs::read_to_string(workspace().join("README.md")).unwrap_or_default();
    for command in ["cargo xtask demo", "cargo xtask test"] {
        if !readme.contains(command) {
            wrong.push(format!("README.md: does not name `{command}`"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(format!("documents:\n  {}", wrong.join("\n  ")))) }
}

fn documents(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() && !name.starts_with('.') && !name.starts_with("target") {
            found.extend(documents(&path));
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
    found
}

/// (line, what is wrong): links to files that do not exist, commands of xtask that it does not have.
fn broken(text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<(usize, String)> {
    let mut wrong = Vec::new();
    let mut in_block = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        for rest in
            line.match_indices("cargo xtask ").map(|(at, found)| line.get(at + found.len()..).unwrap_or_default())
        {
            let command =
                rest.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').next().unwrap_or("");
            if !command.is_empty() && !COMMANDS.contains(&command) {
                wrong.push((number, format!("`cargo xtask {command}` does not exist")));
            }
        }
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|_| !in_block) {
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") && !path.starts_with("mailto:") && !exists(path) {
                wrong.push((number, format!("link to {path}, which does not exist")));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_the_repository_keep_their_word() {
        check().unwrap_or_else(|failure| panic!("{failure}"));
    }

    #[test]
    fn broken_links_and_commands_are_found_by_line() {
        let text = "[a](there.md#part)\n[b](gone.md) `cargo xtask fly`\n```\nx[0](y)\n```\n<https://example.org>";
        let found = broken(text, &|path| path == "there.md");
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 2]);
        assert!(broken("[c](https://example.org/x) cargo xtask test --all", &|_| false).is_empty());
    }
}
